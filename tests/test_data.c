/* Rows of data files: every shape, every way to be broken, and the order in which a run draws them.
 */
#include "check.h"

#include "carnot/data.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Writes `text` to a file of this process; returns its path, one of two slots. */
static const char *file_with(int slot, const char *text, size_t length)
{
    static char path[2][64];
    snprintf(path[slot], sizeof path[slot], "test_data.%d.%d.jsonl", (int)getpid(), slot);
    if (cn_file_replace(path[slot], text, length) != CN_OK) CHECK_FAILED("%s", cn_fail_message());
    return path[slot];
}

static enum cn_status open_text(const char *text, size_t length, const char *system,
                                struct cn_data **out)
{
    const char *path = file_with(0, text, length);
    enum cn_status status = cn_data_open(&path, NULL, 1, system, out);
    unlink(path);
    return status;
}

static bool is(struct cn_text text, const char *expected)
{
    if (cn_text_is(text, expected)) return true;
    printf("  found \"%.*s\", expected \"%s\"\n", (int)text.length, text.data ? text.data : "",
           expected);
    return false;
}

/* One row of each shape: line, number of messages, last content, ground truth, answer. */
static const struct shape {
    const char *line;
    size_t messages;
    const char *content, *truth, *answer;
} shapes[] = {
    {"{\"data_source\":\"m\",\"prompt\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":"
     "\"user\",\"content\":\"Q\"}],\"reward_model\":{\"style\":\"rule\",\"ground_truth\":\"42\"}}",
     2, "Q", "42", ""},
    {"{\"prompt\":\"Q\",\"reward_spec\":{\"ground_truth\":{\"target\":[1, 2.50]}}}", 1, "Q",
     "{\"target\":[1, 2.50]}", ""},
    {"{\"prompt\":\"Q\",\"solution\":\"so 7\",\"level\":3}", 1, "Q", "so 7", "so 7"},
    {"{\"prompt\":\"Q\",\"answer\":12345678901234567890}", 1, "Q", "12345678901234567890", ""},
    {"{\"prompt\":[{\"role\":\"user\",\"content\":\"Q\"}],\"completion\":[{\"role\":\"assistant\","
     "\"content\":\"C\"}],\"ground_truth\":\"g\"}",
     1, "Q", "g", "C"},
    {"{\"input\":\"Q\",\"label\":\"L\"}", 1, "Q", "L", "L"},
    {"{\"input\":\"Q\",\"answer\":\"x #### 5\"}", 1, "Q", "x #### 5", "x #### 5"},
    {"{\"question\":\"Q\",\"answer\":\"a\\n#### b #### 1,234 \\n\"}", 1, "Q", "1,234",
     "a\n#### b #### 1,234 \n"},
    {"{\"problem\":\"P\",\"solution\":\"s \\\\boxed{3}\",\"answer\":\"3\"}", 1, "P", "3",
     "s \\boxed{3}"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":\"Q\"},{\"role\":\"assistant\",\"content\":"
     "\"A\"}]}",
     1, "Q", "", "A"},
    {"{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\"Q\"},{\"type\":"
     "\"text\",\"text\":\"R\"}]}],\"ground_truth\":\"g\",\"dataset\":\"d\"}",
     1, "QR", "g", ""},
    {"{\"prompt\":\"\\ud83d\\ude00 \\u00e9\",\"label\":\"\"}", 1, "\xF0\x9F\x98\x80 \xC3\xA9", "",
     ""},
};

TEST(every_shape_gives_prompt_ground_truth_and_answer)
{
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
        const struct shape *shape = &shapes[i];
        struct cn_data *data;
        struct cn_arena arena;
        struct cn_row row;
        CHECK_OK(open_text(shape->line, strlen(shape->line), NULL, &data));
        cn_arena_init(&arena);
        CHECK_OK(cn_data_row(data, 0, &arena, &row));
        CHECK_INT(row.messages.count, shape->messages);
        CHECK(is(row.messages.item[row.messages.count - 1].content, shape->content));
        CHECK(is(row.ground_truth, shape->truth));
        CHECK(is(row.answer, shape->answer));
        CHECK(is(row.raw, shape->line));
        CHECK_INT(row.line, 1);
        cn_arena_free(&arena);
        cn_data_close(data);
    }
}

TEST(a_system_text_is_put_before_conversations_that_have_none)
{
    struct cn_data *data;
    struct cn_arena arena;
    struct cn_row row;
    const char *text = "{\"prompt\":\"Q\"}\n{\"prompt\":[{\"role\":\"user\",\"content\":\"Q\"}]}\n"
                       "{\"prompt\":[{\"role\":\"system\",\"content\":\"own\"},{\"role\":\"user\","
                       "\"content\":\"Q\"}]}\n{\"rendered\":\"R\",\"label\":\"1\"}\n";
    CHECK_OK(open_text(text, strlen(text), "SYS", &data));
    CHECK_INT(cn_data_count(data), 4);
    cn_arena_init(&arena);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_OK(cn_data_row(data, i, &arena, &row));
        CHECK_INT(row.messages.count, 2);
        CHECK_TEXT(row.messages.item[0].role, "system");
        CHECK(is(row.messages.item[0].content, i < 2 ? "SYS" : "own"));
        CHECK_INT(row.rendered.length, 0);
    }
    CHECK_OK(cn_data_row(data, 3, &arena, &row));
    CHECK_INT(row.messages.count, 0);
    CHECK(is(row.rendered, "R"));
    CHECK(is(row.ground_truth, "1"));
    cn_arena_free(&arena);
    cn_data_close(data);
}

TEST(byte_order_mark_carriage_returns_and_blank_lines_are_left_out)
{
    struct cn_data *data;
    struct cn_arena arena;
    struct cn_row row;
    const char *text = "\xEF\xBB\xBF{\"prompt\":\"a\"}\r\n\r\n \t\n{\"prompt\":\"b\"}";
    CHECK_OK(open_text(text, strlen(text), NULL, &data));
    CHECK_INT(cn_data_count(data), 2);
    cn_arena_init(&arena);
    CHECK_OK(cn_data_row(data, 1, &arena, &row));
    CHECK_INT(row.line, 4);
    CHECK(is(row.messages.item[0].content, "b"));
    cn_arena_free(&arena);
    cn_data_close(data);
}

TEST(a_broken_row_names_file_and_line)
{
    static const struct {
        const char *line, *message;
    } bad[] = {
        {"{\"prompt\":\"a\"", "line 2"},
        {"[1,2]", "one JSON object"},
        {"{\"text\":\"a\"}", "no prompt"},
        {"{\"prompt\":5}", "prompt must be text or a list"},
        {"{\"prompt\":[]}", "prompt is an empty list"},
        {"{\"prompt\":[5]}", "prompt[0]: must be an object"},
        {"{\"prompt\":[{\"role\":\"developer\",\"content\":\"x\"}]}", "role \"developer\""},
        {"{\"prompt\":[{\"role\":\"user\",\"content\":7}]}", "content must be text"},
        {"{\"prompt\":[{\"content\":\"x\"}]}", "role"},
        {"{\"prompt\":[{\"role\":\"user\",\"content\":[{\"type\":\"image\"}]}]}", "not text"},
        {"{\"messages\":[{\"role\":\"assistant\",\"tool_calls\":[{}]}]}", "tool_calls"},
        {"{\"rendered\":[1]}", "rendered must be text"},
        {"{\"prompt\":\"\xFF\"}", "UTF-8"},
        {"{\"prompt\":\"a\",\"prompt\":\"b\"}", "prompt"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct cn_data *data = NULL;
        char text[256];
        int n = snprintf(text, sizeof text, "{\"prompt\":\"fine\"}\n%s\n", bad[i].line);
        CHECK_FAILS(open_text(text, (size_t)n, NULL, &data), CN_ERR_DATA, bad[i].message);
        CHECK(data == NULL);
        enum cn_status status = open_text(text, (size_t)n, NULL, &data);
        CHECK(status != CN_OK && strstr(cn_fail_message(), ".0.jsonl, line 2"));
        cn_fail_clear();
    }
}

TEST(a_file_without_rows_and_bad_weights_are_refused)
{
    struct cn_data *data;
    CHECK_FAILS(open_text("", 0, NULL, &data), CN_ERR_DATA, "no rows");
    CHECK_FAILS(open_text("\n \n", 3, NULL, &data), CN_ERR_DATA, "no rows");
    CHECK_FAILS(open_text("{\"prompt\":\"a\0b\"}", 16, NULL, &data), CN_ERR_DATA, "line 1");
    const char *paths[] = {"no/such/file.jsonl", "."};
    CHECK_FAILS(cn_data_open(paths, NULL, 1, NULL, &data), CN_ERR_IO, "no/such/file.jsonl");
    CHECK_FAILS(cn_data_open(paths + 1, NULL, 1, NULL, &data), CN_ERR_IO, "regular");
    CHECK_FAILS(cn_data_open(paths, NULL, 0, NULL, &data), CN_ERR_CONFIG, "0 data files");
    const char *path = file_with(0, "{\"prompt\":\"a\"}", 14);
    double weights[] = {-1, 0};
    CHECK_FAILS(cn_data_open(&path, weights, 1, NULL, &data), CN_ERR_CONFIG, "weight");
    CHECK_FAILS(cn_data_open(&path, weights + 1, 1, NULL, &data), CN_ERR_CONFIG, "weights");
    unlink(path);
}

/* Two files of 10 and 7 rows. */
static enum cn_status open_two(const double weights[2], struct cn_data **out)
{
    char text[2][2048];
    const char *paths[2];
    for (int f = 0; f < 2; f++) {
        text[f][0] = 0;
        for (int i = 0; i < (f ? 7 : 10); i++)
            snprintf(text[f] + strlen(text[f]), 64, "{\"prompt\":\"%c%d\"}\n", 'a' + f, i);
        paths[f] = file_with(f, text[f], strlen(text[f]));
    }
    enum cn_status status = cn_data_open(paths, weights, 2, NULL, out);
    unlink(paths[0]);
    unlink(paths[1]);
    return status;
}

TEST(every_pass_of_a_file_draws_each_row_once_in_a_new_order)
{
    struct cn_data *data;
    uint64_t order[17] = {0}, again, epoch, differs = 0;
    CHECK_OK(open_two((const double[]){10, 7}, &data));
    for (uint64_t pass = 0; pass < 5; pass++) {
        unsigned seen = 0;
        for (uint64_t i = 0; i < 17; i++) {
            uint64_t index;
            CHECK_OK(cn_data_draw(data, 3, pass * 17 + i, &index, &epoch));
            CHECK_INT(epoch, pass);
            CHECK(index < 17 && !(seen >> index & 1));
            seen |= 1u << index;
            differs += pass > 0 && order[i] != index;
            order[i] = index;
        }
        CHECK_INT(seen, (1u << 17) - 1);
    }
    CHECK(differs > 17);
    CHECK_OK(cn_data_draw(data, 3, 4 * 17 + 5, &again, &epoch));
    CHECK_INT(again, order[5]);
    differs = 0;
    for (uint64_t i = 0; i < 17; i++) {
        CHECK_OK(cn_data_draw(data, 4, 4 * 17 + i, &again, &epoch));
        differs += again != order[i];
    }
    CHECK(differs > 5);
    cn_data_close(data);
}

TEST(files_are_mixed_by_weight_at_every_stretch)
{
    static const double weights[][2] = {{3, 1}, {1, 3}, {0.9, 0.1}, {1, 0}, {M_PI, M_E}, {1, 1e-9}};
    for (size_t w = 0; w < sizeof weights / sizeof *weights; w++) {
        struct cn_data *data;
        double share = weights[w][0] / (weights[w][0] + weights[w][1]);
        CHECK_OK(open_two(weights[w], &data));
        uint64_t index, epoch, first = 0;
        for (uint64_t i = 0; i < 8192; i++) {
            CHECK_OK(cn_data_draw(data, 1, i, &index, &epoch));
            if (index < 10) CHECK_INT(epoch, first++ / 10);
            CHECK_NEAR((double)first, share * (double)(i + 1), 2.1);
        }
        cn_data_close(data);
    }
}

TEST(gsm8k_reads_as_it_is)
{
    const char *path = CN_TEST_SOURCE "/../shared/data/gsm8k/test.jsonl";
    struct stat info;
    if (stat(path, &info) != 0) SKIP("no %s", path);
    struct cn_data *data;
    struct cn_arena arena;
    struct cn_row row;
    CHECK_OK(cn_data_open(&path, NULL, 1, NULL, &data));
    CHECK_INT(cn_data_count(data), 1319);
    cn_arena_init(&arena);
    CHECK_OK(cn_data_row(data, 0, &arena, &row));
    CHECK(is(row.ground_truth, "18"));
    CHECK(row.answer.length > 100);
    for (uint64_t i = 0; i < 1319; i++) {
        CHECK_OK(cn_data_row(data, i, &arena, &row));
        CHECK(row.ground_truth.length > 0 && row.ground_truth.length < 20);
    }
    cn_arena_free(&arena);
    cn_data_close(data);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
