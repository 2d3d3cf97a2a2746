/* Configurations: merging, short forms, origins, and what is refused. */
#include "check.h"

#include "trainer/core/config.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- a schema with every form of section --------------------------------- */

#define ROW(word, type, text, ...)                                                                 \
    {                                                                                              \
        .name = word, .kind = CN_OPTION_##type, .fallback = text, __VA_ARGS__                      \
    }
#define UNIT .minimum = 0, .maximum = 1

static const struct cn_option optimizer[] = {
    ROW("lr", REAL, "1e-6", UNIT),
    ROW("betas", REALS, "[0.9, 0.999]", UNIT),
    ROW("name", TEXT, "\"adamw\"", 0),
    ROW("limit", REAL, "null", .nullable = true),
    ROW("stop", TEXTS, "[]", 0),
    ROW("init", JSON, "null", .nullable = true),
    ROW("steps", INT, "10", .minimum = 1, .maximum = 100, .safe_on_resume = true),
    {0}};
static const struct cn_option clip[] = {
    ROW("clip_low", REAL, "0.2", UNIT), ROW("clip_high", REAL, "0.2", UNIT), {0}};
static const struct cn_option wide[] = {ROW("clip_high", REAL, "0.9", UNIT), {0}};
static const struct cn_option soft[] = {ROW("tau", REAL, "1", UNIT), {0}};
static const struct cn_option coef[] = {ROW("coef", REAL, "0.1", UNIT), {0}};
static const struct cn_option coef_low[] = {
    ROW("coef", REAL, "0.1", UNIT), ROW("clip_low", REAL, "0", UNIT), {0}};
static const struct cn_option row_options[] = {
    ROW("anchor", CHOICE, "\"old\"", .choices = "old sampled"), {0}};
static const struct cn_option weight[] = {ROW("weight", REAL, "1", .minimum = -9, .maximum = 9),
                                          {0}};
static const struct cn_option names[] = {
    ROW("methods", TEXTS, "[]", 0), ROW("shadow", TEXTS, "[]", 0), {0}};

static const struct config_entry rows[] = {{"alpha", "", NULL, NULL}, {"beta", "", NULL, NULL}};
static const struct config_entry surrogates[] = {
    {"hard", "", NULL, clip}, {"soft", "", NULL, soft}, {"wide", "", NULL, wide}};
static const struct config_entry kls[] = {
    {"none", "", NULL, NULL}, {"k3", "", NULL, coef}, {"k1", "", NULL, coef_low}};
static const struct config_entry shapings[] = {{"overlong", "", NULL, coef}};
static const struct config_entry rewards[] = {{"exact", "", NULL, coef},
                                              {"length", "", NULL, soft}};
static const struct config_entry methods[] = {{"bonus", "", NULL, coef}, {"steer", "", NULL, soft}};

#define OF(table) .entries = table, .n_entries = sizeof table / sizeof *table
static const struct config_section sections[] = {
    {.path = "optimizer", .form = CONFIG_TABLE, .options = optimizer},
    {.path = "algorithm",
     .form = CONFIG_PICK,
     .options = row_options,
     OF(rows),
     .fallback = "alpha"},
    {.path = "algorithm.surrogate", .form = CONFIG_PICK, OF(surrogates), .fallback = "hard"},
    {.path = "algorithm.kl", .form = CONFIG_PICK, OF(kls), .fallback = "none"},
    {.path = "algorithm.shaping", .form = CONFIG_LIST, OF(shapings)},
    {.path = "entropy", .form = CONFIG_NAMED, .options = names, OF(methods)},
    {.path = "env", .form = CONFIG_PICK, OF(surrogates)},
    {.path = "rewards", .form = CONFIG_LIST, .options = weight, OF(rewards), .fallback = "exact"},
};

static const char *preset(const char *row, const char *path)
{
    if (strcmp(row, "beta") != 0) return NULL;
    if (strcmp(path, "surrogate.clip_high") == 0) return "0.28";
    if (strcmp(path, "kl") == 0) return "k3";
    if (strcmp(path, "anchor") == 0) return "\"sampled\"";
    return strcmp(path, "shaping") == 0 ? "[{\"type\":\"overlong\"}]" : NULL;
}

static const struct config_schema schema = {sections, sizeof sections / sizeof *sections,
                                            "algorithm", preset};

/* ---- helpers ------------------------------------------------------------- */

/* Writes a file `name` in the current folder. */
static void write_file(const char *name, const char *text)
{
    FILE *file = fopen(name, "w");
    if (!file || fputs(text, file) < 0) CHECK_FAILED("cannot write %s", name);
    if (file) fclose(file);
}

/* Opens up to six arguments; an argument that starts with '{' is put into a file first: f0.json,
 * f1.json ... */
static enum cn_status open_config(struct config **out, const char *const *given)
{
    static char file_names[6][24];
    const char *arguments[6];
    size_t count = 0;
    for (; given[count]; count++) {
        arguments[count] = given[count];
        if (given[count][0] != '{' && given[count][0] != '/') continue;
        snprintf(file_names[count], sizeof file_names[count], "f%zu.json", count);
        write_file(file_names[count], given[count]);
        arguments[count] = file_names[count];
    }
    enum cn_status status = config_open(&schema, arguments, count, out);
    for (size_t i = 0; i < 6; i++)
        if (file_names[i][0]) unlink(file_names[i]);
    return status;
}
#define GIVEN(...) ((const char *const[]){__VA_ARGS__, NULL})

static void expect_tree(const char *const *given, const char *expected)
{
    struct config *config = NULL;
    struct cn_str text = {0};
    CHECK_OK(open_config(&config, given));
    CHECK_OK(cn_json_print(config_root(config), false, &text));
    CHECK_TEXT(text.data, expected);
    cn_str_free(&text);
    config_close(config);
}

static void expect_failure(const char *const *given, const char *part)
{
    struct config *config = NULL;
    CHECK_FAILS(open_config(&config, given), CN_ERR_CONFIG, part);
}

struct lookup {
    const char *path;
    char value[80], where[80];
    enum config_source source;
};

static enum cn_status look(void *self, const struct config_value *value)
{
    struct lookup *lookup = self;
    if (strcmp(value->path, lookup->path) != 0) return CN_OK;
    struct cn_str text = {0};
    CN_TRY(cn_json_print(value->value, false, &text));
    snprintf(lookup->value, sizeof lookup->value, "%s", text.data);
    snprintf(lookup->where, sizeof lookup->where, "%s", value->where);
    lookup->source = value->source;
    cn_str_free(&text);
    return CN_OK;
}

static void expect_value(const char *const *given, const char *path, const char *value,
                         const char *where)
{
    struct config *config = NULL;
    struct lookup lookup = {.path = path};
    CHECK_OK(open_config(&config, given));
    CHECK_OK(config_each(config, look, &lookup));
    CHECK_TEXT(lookup.value, value);
    CHECK_TEXT(lookup.where, where);
    config_close(config);
}

/* ---- merging ------------------------------------------------------------- */

TEST(later_files_win_objects_merge_and_lists_are_replaced)
{
    expect_tree(GIVEN("{\"optimizer\":{\"lr\":0.1,\"betas\":[0.1,0.2]}}",
                      "{\"optimizer\":{\"betas\":[0.5],\"steps\":5}}"),
                "{\"optimizer\":{\"lr\":0.1,\"betas\":[0.5],\"steps\":5}}");
}

TEST(overrides_are_accepted_in_three_spellings_and_later_wins)
{
    expect_tree(GIVEN("{\"optimizer\":{\"lr\":0.1}}", "optimizer.lr=0.2", "--optimizer.steps", "7",
                      "--optimizer.limit=3"),
                "{\"optimizer\":{\"lr\":0.2,\"steps\":7,\"limit\":3}}");
    expect_tree(GIVEN("optimizer.lr=0.2", "{\"optimizer\":{\"lr\":0.1}}"),
                "{\"optimizer\":{\"lr\":0.1}}");
}

TEST(a_text_for_a_section_that_picks_sets_its_type)
{
    expect_tree(GIVEN("{\"algorithm\":\"beta\",\"env\":\"soft\"}", "algorithm.surrogate=soft"),
                "{\"algorithm\":{\"type\":\"beta\",\"surrogate\":{\"type\":\"soft\"}},\"env\":{"
                "\"type\":\"soft\"}}");
    expect_tree(GIVEN("{\"algorithm\":{\"surrogate\":{\"clip_low\":0.1}}}", "algorithm=beta"),
                "{\"algorithm\":{\"surrogate\":{\"clip_low\":0.1},\"type\":\"beta\"}}");
}

TEST(a_text_for_a_section_of_names_sets_the_list)
{
    expect_tree(GIVEN("entropy=steer"), "{\"entropy\":{\"methods\":[\"steer\"]}}");
    expect_tree(GIVEN("{\"entropy\":[\"steer\",\"bonus\"]}", "entropy=none"),
                "{\"entropy\":{\"methods\":[]}}");
    expect_tree(GIVEN("{\"entropy\":{\"type\":\"bonus\",\"bonus\":{\"coef\":1}}}"),
                "{\"entropy\":{\"bonus\":{\"coef\":1},\"methods\":[\"bonus\"]}}");
    expect_tree(GIVEN("entropy.methods=bonus"), "{\"entropy\":{\"methods\":[\"bonus\"]}}");
    expect_tree(GIVEN("{\"entropy\":{\"methods\":[{\"type\":\"bonus\",\"coef\":0.5},\"steer\"]}}"),
                "{\"entropy\":{\"methods\":[\"bonus\",\"steer\"],\"bonus\":{\"coef\":0.5}}}");
}

TEST(lists_of_picks_take_texts_and_objects_and_indices)
{
    expect_tree(GIVEN("{\"rewards\":[\"exact\",{\"type\":\"length\"}]}", "rewards.1.weight=0.5",
                      "rewards.2=exact"),
                "{\"rewards\":[{\"type\":\"exact\"},{\"type\":\"length\",\"weight\":0.5},{\"type\":"
                "\"exact\"}]}");
    expect_tree(GIVEN("rewards=none", "algorithm.shaping=none"),
                "{\"rewards\":[],\"algorithm\":{\"shaping\":[]}}");
    expect_tree(GIVEN("rewards=exact"), "{\"rewards\":[{\"type\":\"exact\"}]}");
    expect_tree(GIVEN("optimizer.betas=[0.1,0.2]", "optimizer.betas.1=0.3"),
                "{\"optimizer\":{\"betas\":[0.1,0.3]}}");
    expect_failure(GIVEN("rewards=exact", "rewards.3.weight=1"), "the list has 1 items");
}

TEST(null_clears_and_is_a_value_where_it_may_be)
{
    expect_tree(GIVEN("{\"optimizer\":{\"lr\":0.1,\"limit\":3}}", "optimizer.lr=null",
                      "optimizer.limit=null"),
                "{\"optimizer\":{\"limit\":null}}");
    expect_tree(
        GIVEN("{\"env\":\"soft\",\"rewards\":[\"exact\"]}", "{\"env\":null}", "rewards=null"),
        "{}");
    expect_tree(GIVEN("optimizer.init={\"a\":null}"), "{\"optimizer\":{\"init\":{\"a\":null}}}");
}

TEST(values_of_overrides_are_json_or_text)
{
    expect_tree(
        GIVEN("optimizer.name=007", "optimizer.stop=5", "optimizer.init.deep.key=[1, \"x\"]"),
        "{\"optimizer\":{\"name\":\"007\",\"stop\":[\"5\"],\"init\":{\"deep\":{\"key\":[1,\"x\"]}}}"
        "}");
    expect_tree(GIVEN("optimizer.name=\"a b\"", "optimizer.name=a=b"),
                "{\"optimizer\":{\"name\":\"a=b\"}}");
    expect_tree(GIVEN("optimizer.betas=0.5"), "{\"optimizer\":{\"betas\":[0.5]}}");
    expect_failure(GIVEN("optimizer.betas=[0.5"),
                   "command line: optimizer.betas:1:1: '[' is never closed");
    expect_failure(GIVEN("--optimizer.lr"), "--optimizer.lr needs a value");
    expect_failure(GIVEN("optimizer.name.x=1", "optimizer.name=y", "optimizer.name.x=1"),
                   "no part \"x\"");
}

TEST(a_short_key_goes_to_the_one_chosen_entry_that_has_it)
{
    expect_tree(GIVEN("algorithm.clip_high=0.3"),
                "{\"algorithm\":{\"surrogate\":{\"clip_high\":0.3}}}");
    expect_tree(GIVEN("algorithm.coef=0.3", "algorithm=beta"),
                "{\"algorithm\":{\"type\":\"beta\",\"kl\":{\"coef\":0.3}}}");
    expect_tree(GIVEN("algorithm.surrogate.clip_high=0.3", "algorithm.clip_high=0.4"),
                "{\"algorithm\":{\"surrogate\":{\"clip_high\":0.4}}}");
    expect_tree(GIVEN("algorithm.clip_high=0.4", "algorithm.surrogate.clip_high=0.3"),
                "{\"algorithm\":{\"surrogate\":{\"clip_high\":0.3}}}");
    expect_failure(GIVEN("algorithm.clip_low=0.3", "algorithm.kl=k1"),
                   "say which: algorithm.surrogate.clip_low, algorithm.kl.clip_low");
    expect_failure(GIVEN("algorithm.tau=0.3"), "command line: algorithm.surrogate.tau: the chosen "
                                               "algorithm.surrogate \"hard\" does not read it");
}

/* ---- what is refused ----------------------------------------------------- */

TEST(unknown_keys_are_refused_with_their_place_and_the_nearest_one)
{
    expect_failure(GIVEN("{\n\"optimizer\":{\n\"rl\": 1}}"),
                   "f0.json:3: optimizer.rl: unknown key; nearest is \"optimizer.lr\"");
    expect_failure(GIVEN("{\"optimiser\":{\"lr\":1}}"),
                   "f0.json:1: optimiser: unknown key; nearest is \"optimizer\"");
    expect_failure(GIVEN("lr=1"), "command line: lr: unknown key; nearest is \"optimizer.lr\"");
    expect_failure(GIVEN("algorithm.surogate.clip_high=1"), "nearest is \"algorithm.surrogate\"");
    expect_failure(GIVEN("algorithm.surrogate.clip_hihg=1"),
                   "nearest is \"algorithm.surrogate.clip_high\"");
    expect_failure(GIVEN("{\"entropy\":{\"bonsu\":{}}}"), "nearest is \"entropy.bonus\"");
    expect_failure(GIVEN("rewards=exact", "rewards.0.wieght=1"),
                   "rewards.0.wieght: unknown key; nearest is \"rewards.0.weight\"");
    expect_failure(GIVEN("{\"optimizer\":{\"a.b\":1}}"), "has a dot");
}

TEST(unknown_entries_are_refused_with_the_known_ones)
{
    expect_failure(GIVEN("algorithm=betta"), "algorithm.type = \"betta\": there is no such entry; "
                                             "nearest is \"beta\"; known are alpha, beta");
    expect_failure(GIVEN("entropy=[\"bonus\",\"stear\"]"),
                   "entropy.methods = \"stear\": there is no such entry; nearest is \"steer\"");
    expect_failure(GIVEN("rewards=nothing"), "rewards.0.type = \"nothing\"");
    expect_failure(GIVEN("{\"algorithm\":{\"type\":3}}"),
                   "algorithm.type: expected the name of a type");
    expect_failure(GIVEN("{\"env\":{\"tau\":1}}"), "env.type is missing");
    expect_failure(GIVEN("{\"rewards\":[{\"weight\":1}]}"), "rewards.0.type is missing");
}

TEST(wrong_types_and_ranges_are_refused_with_file_path_and_what_is_allowed)
{
    expect_failure(GIVEN("{\"optimizer\":{\"lr\":2}}"),
                   "f0.json:1: optimizer.lr = 2: expected a number from 0 to 1");
    expect_failure(GIVEN("optimizer.steps=1.5"),
                   "command line: optimizer.steps = 1.5: expected a whole number from 1 to 100");
    expect_failure(GIVEN("algorithm.anchor=odl"),
                   "expected one of old, sampled; nearest is \"old\"");
    expect_failure(GIVEN("{\"optimizer\":3}"), "optimizer: expected an object");
    expect_failure(GIVEN("{\"rewards\":3}"), "rewards: expected a list");
    expect_failure(GIVEN("{\"rewards\":[3]}"), "rewards.0: expected an object");
    expect_failure(GIVEN("{\"algorithm\":{\"kl\":3}}"),
                   "algorithm.kl: expected an object or the name of a type");
}

TEST(files_that_cannot_be_read_are_refused)
{
    expect_failure(GIVEN("nowhere.json"), "nowhere.json");
    expect_failure(GIVEN("{\"a\":"), "f0.json:1:6");
    expect_failure(GIVEN("{\"optimizer\":{\"lr\":1,\"lr\":2}}"), "\"lr\" occurs twice");
    expect_failure(GIVEN("//\n[1]"), "f0.json: a configuration is a JSON object");
}

TEST(keys_that_the_chosen_rows_ignore_fail_from_the_command_line_and_are_dropped_from_files)
{
    expect_failure(GIVEN("algorithm.kl.coef=0.5"),
                   "command line: algorithm.kl.coef: the chosen algorithm.kl \"none\" does not "
                   "read it (k3 does)");
    expect_failure(GIVEN("entropy=steer", "entropy.bonus.coef=0.5"),
                   "command line: entropy.bonus: entropy does not name bonus");
    expect_tree(
        GIVEN("{\"algorithm\":{\"kl\":{\"coef\":0.5}},\"entropy\":{\"bonus\":{\"coef\":0.1}}}",
              "entropy=steer"),
        "{\"algorithm\":{\"kl\":{}},\"entropy\":{\"methods\":[\"steer\"]}}");
    expect_tree(GIVEN("entropy.shadow=bonus", "entropy.bonus.coef=0.5"),
                "{\"entropy\":{\"shadow\":[\"bonus\"],\"bonus\":{\"coef\":0.5}}}");
    expect_tree(GIVEN("algorithm.kl.coef=0.5", "algorithm.kl=k3"),
                "{\"algorithm\":{\"kl\":{\"coef\":0.5,\"type\":\"k3\"}}}");
}

/* ---- what is resolved ---------------------------------------------------- */

TEST(every_value_knows_where_it_came_from)
{
    expect_value(GIVEN("{}"), "optimizer.lr", "1e-06", "default");
    expect_value(GIVEN("{\n\"optimizer\":{\n\n\"lr\":0.5}}"), "optimizer.lr", "0.5", "f0.json:4");
    expect_value(GIVEN("{\"optimizer\":{\"lr\":0.5}}", "optimizer.lr=0.25"), "optimizer.lr", "0.25",
                 "command line");
    expect_value(GIVEN("algorithm=beta"), "algorithm.surrogate.clip_high", "0.28", "preset beta");
    expect_value(GIVEN("algorithm=beta"), "algorithm.kl.type", "\"k3\"", "preset beta");
    expect_value(GIVEN("algorithm=beta"), "algorithm.anchor", "\"sampled\"", "preset beta");
    /* a preset's option belongs to the entry that the preset picks */
    expect_value(GIVEN("algorithm=beta", "algorithm.surrogate=wide"),
                 "algorithm.surrogate.clip_high", "0.9", "default");
    expect_value(GIVEN("{}"), "rewards.0.type", "\"exact\"", "default");
    expect_value(GIVEN("algorithm=beta"), "algorithm.shaping.0.coef", "0.1", "default");
    expect_value(GIVEN("algorithm=alpha"), "algorithm.surrogate.clip_high", "0.2", "default");
    expect_value(GIVEN("{\"algorithm\":{\"clip_high\":0.5}}"), "algorithm.surrogate.clip_high",
                 "0.5", "f0.json:1");
    expect_value(GIVEN("{\"rewards\":[\"exact\",\n\"length\"]}"), "rewards.1.type", "\"length\"",
                 "f0.json:2");
    expect_value(GIVEN("{\"rewards\":[\"exact\"]}"), "rewards.0.weight", "1", "default");
}

TEST(the_resolved_tree_read_again_is_the_same)
{
    static const char *const given[] = {
        "{\"algorithm\":\"beta\",\"rewards\":[\"exact\"],\"entropy\":\"bonus\"}",
        "optimizer.limit=5", "algorithm.coef=0.5", "entropy.shadow=steer", NULL};
    struct config *config = NULL, *again = NULL;
    struct cn_str first = {0}, second = {0};
    CHECK_OK(open_config(&config, given));
    CHECK_OK(config_print_resolved(config, &first));
    CHECK_OK(open_config(&again, GIVEN(first.data)));
    CHECK_OK(config_print_resolved(again, &second));
    CHECK_TEXT(second.data, first.data);
    CHECK(strstr(first.data, "\"clip_high\": 0.28") != NULL);
    CHECK(strstr(first.data, "\"tau\": 1") != NULL);
    cn_str_free(&first);
    cn_str_free(&second);
    config_close(config);
    config_close(again);
}

TEST(changes_list_what_differs_and_nothing_else)
{
    struct config *config = NULL;
    struct cn_str text = {0};
    CHECK_OK(open_config(&config, GIVEN("{\"optimizer\":{\"lr\":0.5,\"steps\":10}}",
                                        "algorithm=beta", "algorithm.clip_high=0.3")));
    CHECK_OK(config_print_changes(config, &text));
    CHECK_TEXT(text.data, "optimizer.lr = 0.5 (f0.json:1; otherwise 1e-06)\n"
                          "algorithm.type = \"beta\" (command line; otherwise \"alpha\")\n"
                          "algorithm.surrogate.clip_high = 0.3 (command line; otherwise 0.28)\n");
    cn_str_clear(&text);
    CHECK_OK(config_print_values(config, &text));
    CHECK(strstr(text.data, "optimizer.steps") != NULL);
    cn_str_free(&text);
    config_close(config);
}

TEST(a_run_goes_on_only_where_nothing_unsafe_changed)
{
    struct config *config = NULL, *other = NULL;
    struct cn_json *before = NULL;
    CHECK_OK(open_config(&config, GIVEN("{\"optimizer\":{\"lr\":0.5}}", "algorithm=beta")));
    CHECK_OK(config_resolve(config, &before));
    CHECK_OK(config_check_resume(config, before, "runs/x", false));
    CHECK_OK(
        open_config(&other, GIVEN("{\"optimizer\":{\"lr\":0.5,\"steps\":99}}", "algorithm=beta")));
    CHECK_OK(config_check_resume(other, before, "runs/x", false));
    config_close(other);
    CHECK_OK(open_config(&other, GIVEN("optimizer.lr=0.25", "algorithm=alpha")));
    CHECK_FAILS(config_check_resume(other, before, "runs/x", false), CN_ERR_CONFIG,
                "runs/x cannot be continued with another configuration: optimizer.lr = 0.25 "
                "(command line), was 0.5; "
                "algorithm.type = \"alpha\" (command line), was \"beta\"");
    CHECK_FAILS(config_check_resume(other, before, "runs/x", false), CN_ERR_CONFIG, "or --force");
    CHECK_OK(config_check_resume(other, before, "runs/x", true));
    config_close(other);
    cn_json_close(before);
    config_close(config);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
