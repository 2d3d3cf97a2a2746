/* Option tables: defaults, types, ranges, and messages that help. */
#include "check.h"

#include "carnot/nearest.h"
#include "carnot/option.h"

struct settings {
    bool flag;
    int64_t count;
    double rate, limit;
    const char *name, *path;
    int form;
    struct cn_reals betas;
    struct cn_texts stop;
    const struct cn_json *extra;
};

#define AT(field) .offset = offsetof(struct settings, field)
static const struct cn_option table[] = {
    {.name = "flag", .kind = CN_OPTION_BOOL, AT(flag), .fallback = "true"},
    {.name = "count",
     .kind = CN_OPTION_INT,
     AT(count),
     .fallback = "8",
     .minimum = 1,
     .maximum = 64},
    {.name = "clip_low",
     .kind = CN_OPTION_REAL,
     AT(rate),
     .fallback = "0.2",
     .minimum = 0,
     .maximum = 1,
     .unit = "ratio"},
    {.name = "limit",
     .kind = CN_OPTION_REAL,
     AT(limit),
     .fallback = "null",
     .nullable = true,
     .minimum = 0,
     .maximum = INFINITY},
    {.name = "name", .kind = CN_OPTION_TEXT, AT(name), .fallback = "\"auto\""},
    {.name = "path", .kind = CN_OPTION_TEXT, AT(path), .fallback = "null", .nullable = true},
    {.name = "form",
     .kind = CN_OPTION_CHOICE,
     AT(form),
     .fallback = "\"paper\"",
     .choices = "paper released micro"},
    {.name = "betas",
     .kind = CN_OPTION_REALS,
     AT(betas),
     .fallback = "[0.9, 0.999]",
     .minimum = 0,
     .maximum = 1},
    {.name = "stop", .kind = CN_OPTION_TEXTS, AT(stop), .fallback = "[]"},
    {.name = "extra", .kind = CN_OPTION_JSON, AT(extra), .fallback = "null", .nullable = true},
    {0},
};

static struct cn_arena arena;
static const char *const ignore[] = {"type", "weight", NULL};

static enum cn_status read_settings(const char *text, struct settings *out)
{
    struct cn_json *object = NULL;
    CN_TRY(cn_json_parse(cn_text(text), "t", &object));
    enum cn_status status = cn_option_read(table, object, "part.sub", ignore, &arena, out);
    cn_json_close(object);
    return status;
}

TEST(an_absent_object_gives_the_defaults)
{
    struct settings s = {0};
    CHECK_OK(cn_option_read(table, NULL, "part", NULL, &arena, &s));
    CHECK(s.flag);
    CHECK_INT(s.count, 8);
    CHECK_NEAR(s.rate, 0.2, 0);
    CHECK(isnan(s.limit));
    CHECK_TEXT(s.name, "auto");
    CHECK(!s.path);
    CHECK_INT(s.form, 0);
    CHECK_INT(s.betas.count, 2);
    CHECK_NEAR(s.betas.value[1], 0.999, 0);
    CHECK_INT(s.stop.count, 0);
    CHECK(!s.extra);
    cn_arena_free(&arena);
}

TEST(given_members_replace_defaults_and_ignored_ones_are_left_alone)
{
    struct settings s = {0};
    CHECK_OK(read_settings(
        "{\"type\":\"x\",\"weight\":2,\"flag\":false,\"count\":64,\"clip_low\":1,\"limit\":3,"
        "\"name\":\"n\",\"path\":\"p\",\"form\":\"micro\",\"betas\":[0.5],\"stop\":[\"a\",\"b\"]}",
        &s));
    CHECK(!s.flag);
    CHECK_INT(s.count, 64);
    CHECK_NEAR(s.rate, 1, 0);
    CHECK_NEAR(s.limit, 3, 0);
    CHECK_TEXT(s.name, "n");
    CHECK_TEXT(s.path, "p");
    CHECK_INT(s.form, 2);
    CHECK_INT(s.betas.count, 1);
    CHECK_INT(s.stop.count, 2);
    CHECK_TEXT(s.stop.value[1], "b");
    cn_arena_free(&arena);
}

TEST(null_means_none_where_it_is_allowed_and_the_default_elsewhere)
{
    struct settings s = {0};
    CHECK_OK(read_settings("{\"count\":null,\"limit\":null,\"path\":null,\"name\":null}", &s));
    CHECK_INT(s.count, 8);
    CHECK(isnan(s.limit));
    CHECK(!s.path);
    CHECK_TEXT(s.name, "auto");
    cn_arena_free(&arena);
}

TEST(bad_members_are_refused_with_path_value_and_what_is_allowed)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"{\"clip_lo\":0.2}", "part.sub.clip_lo: unknown key; nearest is \"clip_low\""},
        {"{\"wieght\":0.2}", "nearest is \"weight\""},
        {"{\"zzzzzzzz\":0.2}", "part.sub.zzzzzzzz: unknown key"},
        {"{\"clip_low\":1.5}", "part.sub.clip_low = 1.5: expected a number from 0 to 1 ratio"},
        {"{\"clip_low\":\"0.5\"}", "part.sub.clip_low = \"0.5\": expected a number"},
        {"{\"count\":0}", "part.sub.count = 0: expected a whole number from 1 to 64"},
        {"{\"count\":1.5}", "part.sub.count = 1.5: expected a whole number"},
        {"{\"limit\":-1}", "part.sub.limit = -1: expected a number from 0 up or null"},
        {"{\"flag\":1}", "part.sub.flag = 1: expected true or false"},
        {"{\"form\":\"relaesed\"}",
         "expected one of paper, released, micro; nearest is \"released\""},
        {"{\"form\":1}", "expected one of"},
        {"{\"betas\":[2]}", "expected a list of numbers from 0 to 1"},
        {"{\"betas\":0.5}", "expected a list of numbers"},
        {"{\"stop\":[1]}", "expected a list of texts"},
        {"{\"name\":\"a\\u0000\"}", "expected a text"},
        {"[1]", "part.sub: expected an object"},
    };
    struct settings s = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        int before = check_failures;
        CHECK_FAILS(read_settings(cases[i].text, &s), CN_ERR_CONFIG, cases[i].part);
        if (check_failures != before) printf("  in case %zu: %s\n", i, cases[i].text);
    }
    cn_arena_free(&arena);
}

TEST(a_value_can_be_checked_without_being_stored)
{
    struct cn_json *object = NULL;
    CHECK_OK(cn_json_parse(cn_text("{\"betas\":[0.1],\"stop\":[\"x\"],\"count\":99,\"name\":null}"),
                           "t", &object));
    CHECK_OK(cn_option_check(cn_option_find(table, "betas"), cn_json_get(object, "betas"), "p"));
    CHECK_OK(cn_option_check(cn_option_find(table, "stop"), cn_json_get(object, "stop"), "p"));
    CHECK_OK(cn_option_check(cn_option_find(table, "name"), cn_json_get(object, "name"), "p"));
    CHECK_FAILS(cn_option_check(cn_option_find(table, "count"), cn_json_get(object, "count"), ""),
                CN_ERR_CONFIG, "count = 99");
    CHECK(!cn_option_find(NULL, "x"));
    cn_json_close(object);
}

TEST(the_nearest_word_is_found_and_nothing_is_made_up)
{
    static const char *const words[] = {"clip_low", "clip_high", "lr",
                                        "samples",  "steps",     "max_tokens"};
    static const struct {
        const char *word, *best;
    } cases[] = {
        {"clip_hihg", "clip_high"}, {"q", NULL},       {"rl", "lr"},
        {"sample", "samples"},      {"step", "steps"}, {"tokens", "max_tokens"},
        {"banana", NULL},           {"", NULL},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_nearest nearest = {.word = cases[i].word};
        for (size_t w = 0; w < sizeof words / sizeof *words; w++)
            cn_nearest_offer(&nearest, words[w]);
        const char *found = cn_nearest_found(&nearest);
        if (cases[i].best)
            CHECK_TEXT(found, cases[i].best);
        else if (found)
            CHECK_FAILED("\"%s\" gave \"%s\", expected nothing", cases[i].word, found);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
