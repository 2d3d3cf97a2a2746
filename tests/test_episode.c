/* Answers to score as JSON objects: what is read, what is refused, what becomes the row. */
#include "check.h"

#include "carnot/reward.h"

struct reading {
    struct cn_arena arena;
    struct cn_json *root;
    struct cn_episode episode;
};

static enum cn_status read_one(const char *json, struct reading *out)
{
    cn_arena_init(&out->arena);
    out->root = NULL;
    CN_TRY(cn_json_parse(cn_text(json), "row", &out->root));
    return cn_episode_read(out->root, &out->arena, &out->episode);
}

static void finish(struct reading *reading)
{
    cn_json_close(reading->root);
    cn_arena_free(&reading->arena);
}

static bool is(struct cn_text text, const char *expected)
{
    if (cn_text_is(text, expected)) return true;
    printf("  found \"%.*s\", expected \"%s\"\n", (int)text.length, text.data, expected);
    return false;
}

TEST(texts_and_limits_are_read)
{
    struct reading r;
    CHECK_OK(read_one(
        "{\"id\": 3, \"response\": \"#### 18\", \"ground_truth\": \"18\", \"prompt\": \"p\","
        " \"stop\": \"length\", \"response_tokens\": 5, \"max_tokens\": 7}",
        &r));
    CHECK(is(r.episode.response, "#### 18"));
    CHECK(is(r.episode.ground_truth, "18"));
    CHECK(is(r.episode.prompt_text, "p"));
    CHECK(is(r.episode.row, ""));
    CHECK_INT(r.episode.stop, CN_STOP_LENGTH);
    CHECK_INT(r.episode.response_tokens, 5);
    CHECK_INT(r.episode.max_tokens, 7);
    finish(&r);
}

TEST(numbers_beyond_a_double_keep_their_digits)
{
    struct reading r;
    CHECK_OK(read_one("{\"response\": \"\", \"ground_truth\": 12345678901234567890}", &r));
    CHECK(is(r.episode.ground_truth, "12345678901234567890"));
    finish(&r);
    CHECK_OK(read_one("{\"response\": \"\", \"ground_truth\": [9007199254740993, 1.5]}", &r));
    CHECK(is(r.episode.ground_truth, "[9007199254740993,1.5]"));
    finish(&r);
    CHECK_OK(read_one("{\"response\": \"\", \"row\": {\"x\": 9007199254740993}}", &r));
    CHECK(is(r.episode.row, "{\"x\":9007199254740993}"));
    finish(&r);
}

TEST(other_members_become_the_row)
{
    struct reading r;
    CHECK_OK(read_one(
        "{\"id\": 1, \"response\": \"\", \"nums\": [1, 2], \"big\": 9007199254740993}", &r));
    CHECK(is(r.episode.row, "{\"nums\":[1,2],\"big\":9007199254740993}"));
    finish(&r);
}

TEST(a_prompt_may_be_messages)
{
    struct reading r;
    CHECK_OK(read_one(
        "{\"response\": \"\", \"prompt\": [{\"role\": \"user\", \"content\": \"hi\"}]}", &r));
    CHECK_INT(r.episode.prompt.count, 1);
    CHECK_TEXT(r.episode.prompt.item[0].role, "user");
    CHECK(is(r.episode.prompt.item[0].content, "hi"));
    finish(&r);
}

TEST(what_cannot_be_read_is_named)
{
    static const char *const rows[][2] = {
        {"[]", "object"},
        {"{}", "no text \"response\""},
        {"{\"response\": 5}", "no text \"response\""},
        {"{\"response\": \"\", \"stop\": \"tired\"}", "\"tired\""},
        {"{\"response\": \"\", \"prompt\": [{\"content\": \"\"}]}", "prompt message 0"},
        {"{\"response\": \"\", \"response_tokens\": -1}", "response_tokens"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct reading r;
        CHECK_FAILS(read_one(rows[i][0], &r), CN_ERR_DATA, rows[i][1]);
        finish(&r);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
