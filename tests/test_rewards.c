/* Rewards: a table of (known answer, reply, verdict) per policy, GSM8K's own answers, forms,
 * lengths, hostile bytes. */
#include "check.h"

#include "reward_bench.h"
#include "rewards_rows.h"

#include <stdlib.h>
#include <unistd.h>

/* ---- the table ----------------------------------------------------------- */

enum { N_ROWS = sizeof rows / sizeof *rows };

TEST(exact_answer_gives_the_verdict_of_every_row)
{
    struct bench bench[N_SETUPS];
    for (int i = 0; i < N_SETUPS; i++)
        CHECK_OK(bench_open(&bench[i], "exact_answer", setups[i]));
    for (size_t i = 0; i < N_ROWS; i++) {
        struct cn_episode episode = {.response = cn_text(rows[i].reply),
                                     .ground_truth = cn_text(rows[i].gold),
                                     .stop = CN_STOP_EOS};
        struct cn_outcome out;
        CHECK_OK(bench_score(&bench[rows[i].setup], &episode, &out));
        if (out.verdict != rows[i].verdict)
            CHECK_FAILED(
                "row %zu (%s): gold \"%s\", reply \"%s\": %s, expected %s (found \"%.*s\")", i,
                setups[rows[i].setup], rows[i].gold, rows[i].reply, cn_verdict_name(out.verdict),
                cn_verdict_name(rows[i].verdict), (int)out.extracted.length, out.extracted.data);
        CHECK(out.has_score == (rows[i].verdict != BAD));
        if (out.has_score) CHECK_NEAR(out.score, rows[i].verdict == OK_ ? 1 : 0, 0);
    }
    CHECK(N_ROWS >= 150);
    for (int i = 0; i < N_SETUPS; i++)
        bench_close(&bench[i]);
}

TEST(a_number_is_extracted_in_one_form)
{
    static const char *const forms[][2] = {
        {"8", "8"},          {"8.0", "8"},      {"$1,234.50", "1234.5"},
        {"-0.050", "-0.05"}, {"1e5", "100000"}, {"-0", "0"},
        {"0", "0"},          {"+007", "7"}};
    struct bench bench;
    CHECK_OK(bench_open(&bench, "exact_answer", "{\"policy\": \"last_number\"}"));
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct cn_episode episode = {
            .response = cn_text(forms[i][0]), .ground_truth = cn_text("1"), .stop = CN_STOP_EOS};
        struct cn_outcome out;
        CHECK_OK(bench_score(&bench, &episode, &out));
        char text[64];
        snprintf(text, sizeof text, "%.*s", (int)out.extracted.length, out.extracted.data);
        CHECK_TEXT(text, forms[i][1]);
    }
    bench_close(&bench);
}

TEST(a_thinking_part_that_the_prompt_opens_must_be_left)
{
    static const struct {
        const char *prompt, *reply;
        enum cn_verdict verdict;
    } cases[] = {{"2 + 3?<think>\n", "maybe \\boxed{5}", CN_VERDICT_NO_ANSWER},
                 {"2 + 3?<think>\n", "maybe 4</think>\\boxed{5}", CN_VERDICT_CORRECT},
                 {"2 + 3?<think>\n", "\\boxed{5}</think>hm", CN_VERDICT_NO_ANSWER},
                 {"<think> 2 + 3?", "\\boxed{5}", CN_VERDICT_CORRECT},
                 {"2 + 3?", "\\boxed{5}", CN_VERDICT_CORRECT},
                 {"2 + 3?", "<think>\\boxed{5}", CN_VERDICT_NO_ANSWER}};
    static const char *const names[] = {"exact_answer", "math"};
    for (size_t r = 0; r < 2; r++) {
        struct bench bench;
        if (bench_open(&bench, names[r], "{\"policy\": \"auto\"}") == CN_OK)
            for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
                const struct cn_episode episode = {.prompt_text = cn_text(cases[i].prompt),
                                                   .response = cn_text(cases[i].reply),
                                                   .ground_truth = cn_text("5"),
                                                   .stop = CN_STOP_EOS};
                struct cn_outcome out;
                CHECK_OK(bench_score(&bench, &episode, &out));
                if (i != 2 || r == 1) /* exact_answer compares the whole reply then */
                    CHECK_INT(out.verdict, cases[i].verdict);
            }
        cn_fail_clear();
        bench_close(&bench);
    }
}

TEST(a_reply_that_was_cut_off_counts_only_with_a_complete_answer)
{
    struct bench score, mask;
    CHECK_OK(bench_open(&score, "exact_answer", "{\"wrong\": -1}"));
    CHECK_OK(bench_open(&mask, "exact_answer", "{\"truncated\": \"mask\"}"));
    struct cn_episode whole = {.response = cn_text("#### 18\nLet me"),
                               .ground_truth = cn_text("18"),
                               .stop = CN_STOP_LENGTH};
    struct cn_episode cut = whole, none = whole;
    cut.response = cn_text("the answer is 18");
    none.response = cn_text("<think> it may be 18");
    struct cn_outcome out;
    CHECK_OK(bench_score(&score, &whole, &out));
    CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
    CHECK_OK(bench_score(&score, &cut, &out)); /* 18 may be the front of 180 */
    CHECK_INT(out.verdict, CN_VERDICT_TRUNCATED);
    CHECK(out.has_score);
    CHECK_NEAR(out.score, -1, 0);
    CHECK_OK(bench_score(&score, &none, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TRUNCATED);
    CHECK_OK(bench_score(&mask, &whole, &out));
    CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
    CHECK_OK(bench_score(&mask, &cut, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TRUNCATED);
    CHECK(!out.has_score);
    cut.stop = CN_STOP_EOS;
    CHECK_OK(bench_score(&mask, &cut, &out));
    CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
    bench_close(&score);
    bench_close(&mask);
}

TEST(a_number_of_a_thousand_digits_is_compared_and_a_longer_one_refused)
{
    struct bench bench;
    CHECK_OK(bench_open(&bench, "exact_answer", "{}"));
    char gold[1001], reply[1100];
    memset(gold, '7', 1000);
    gold[1000] = 0;
    memcpy(reply, gold, sizeof gold);
    struct cn_episode episode = {
        .response = cn_text(reply), .ground_truth = cn_text(gold), .stop = CN_STOP_EOS};
    struct cn_outcome out;
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
    reply[999] = '8';
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_WRONG);
    memset(reply, '7', 1050);
    reply[1050] = 0;
    episode.response = cn_text(reply);
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TOO_LARGE);
    episode.response = cn_text("1e999999999");
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TOO_LARGE);
    episode.response = cn_text("1e-999999999");
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TOO_LARGE);
    bench_close(&bench);
}

/* Pieces that force every branch of the readers, repeated to a megabyte: the work stays linear, so
 * this ends at once. */
TEST(hostile_replies_of_a_megabyte_are_scored)
{
    static const char *const pieces[] = {
        "\\boxed{", "\\boxed{1}", "####",    "#### 1\n", "1,234,", "1.",   ".",
        "-",        "$",          "{",       "}",        "1 or ",  "1e",   "=",
        "**",       "\\text{",    "<think>", "</think>", "9",      "\xff", "1/",
        "^2",       "1st ",       "a1",      "\\",       "0",      "1\\,", "\\boxed 1 "};
    enum { SIZE = 1 << 20 };
    char *reply = malloc(SIZE);
    if (!reply) SKIP("no memory");
    for (int setup = 0; setup < N_SETUPS; setup++) {
        struct bench bench;
        CHECK_OK(bench_open(&bench, "exact_answer", setups[setup]));
        for (size_t p = 0; p < sizeof pieces / sizeof *pieces; p++) {
            size_t n = strlen(pieces[p]);
            for (size_t i = 0; i < SIZE; i++)
                reply[i] = pieces[p][i % n];
            struct cn_episode episode = {.response = {reply, SIZE},
                                         .ground_truth = cn_text("123456789"),
                                         .stop = CN_STOP_EOS};
            struct cn_outcome out;
            CHECK_OK(bench_score(&bench, &episode, &out));
            CHECK(out.verdict != CN_VERDICT_CORRECT && out.verdict != CN_VERDICT_BAD_GOLD);
        }
        bench_close(&bench);
    }
    free(reply);
}

/* A reply of random bytes from the alphabet of the readers; under the sanitizers this is a fuzz
 * run. */
TEST(random_replies_never_read_outside_the_text)
{
    static const char alphabet[] = "0123456789.,-+$%#{}\\=*/ \n^eboxedfrac\xe2\x88\x92";
    struct bench bench[N_SETUPS];
    for (int i = 0; i < N_SETUPS; i++)
        CHECK_OK(bench_open(&bench[i], "exact_answer", setups[i]));
    uint32_t state = 1;
    for (int round = 0; round < 20000; round++) {
        state = state * 1664525u + 1013904223u;
        size_t length = (state >> 20) % 40;
        char *exact = malloc(
            length ? length : 1); /* exactly as long, so that a sanitizer sees one byte too far */
        if (!exact) break;
        for (size_t i = 0; i < length; i++) {
            state = state * 1664525u + 1013904223u;
            exact[i] = alphabet[(state >> 16) % (sizeof alphabet - 1)];
        }
        struct cn_episode reply = {
            .response = {exact, length}, .ground_truth = cn_text("7"), .stop = CN_STOP_EOS};
        struct cn_episode gold = {
            .response = cn_text("7"), .ground_truth = {exact, length}, .stop = CN_STOP_EOS};
        struct cn_outcome out;
        CHECK_OK(bench_score(&bench[round % N_SETUPS], &reply, &out));
        CHECK_OK(bench_score(&bench[round % N_SETUPS], &gold, &out));
        free(exact);
    }
    for (int i = 0; i < N_SETUPS; i++)
        bench_close(&bench[i]);
}

/* ---- GSM8K --------------------------------------------------------------- */

/* Scores every row's own solution against the row; returns the number of rows, or 0 if the file is
 * absent. */
static size_t verify_file(struct bench *bench, const char *path, size_t *correct)
{
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    char *line = NULL;
    size_t capacity = 0, n = 0;
    ssize_t length;
    while ((length = getline(&line, &capacity, file)) > 0) {
        struct cn_json *row = NULL;
        if (cn_json_parse((struct cn_text){line, (size_t)length}, path, &row) != CN_OK) break;
        struct cn_text answer = cn_json_text(cn_json_get(row, "answer"));
        struct cn_episode episode = {
            .response = answer, .ground_truth = answer, .stop = CN_STOP_EOS};
        struct cn_outcome out;
        if (bench_score(bench, &episode, &out) == CN_OK && out.verdict == CN_VERDICT_CORRECT)
            ++*correct;
        cn_json_close(row);
        n++;
    }
    free(line);
    fclose(file);
    return n;
}

TEST(every_solution_of_gsm8k_verifies_against_itself)
{
    static const char *const policies[] = {"gsm8k", "auto", "last_number"};
    static const struct {
        const char *path;
        size_t rows;
    } files[] = {{CN_TEST_SOURCE "/../shared/data/gsm8k/train.jsonl", 7473},
                 {CN_TEST_SOURCE "/../shared/data/gsm8k/test.jsonl", 1319}};
    for (int f = 0; f < 2; f++) {
        for (int p = 0; p < 3; p++) {
            struct bench bench;
            char json[64];
            snprintf(json, sizeof json, "{\"policy\": \"%s\"}", policies[p]);
            CHECK_OK(bench_open(&bench, "exact_answer", json));
            size_t correct = 0, n = verify_file(&bench, files[f].path, &correct);
            bench_close(&bench);
            if (!n) SKIP("no GSM8K at %s", files[f].path);
            CHECK_INT(n, files[f].rows);
            CHECK_INT(correct, n);
        }
    }
}

/* ---- form and length ----------------------------------------------------- */

TEST(format_pays_for_the_form_only)
{
    static const struct {
        const char *json, *reply;
        int score;
    } forms[] = {
        {"{}", "so \\boxed{7}", 1},
        {"{}", "so 7", 0},
        {"{}", "\\boxed{}", 0},
        {"{}", "\\boxed{7", 0},
        {"{}", "\\boxed{7} \\boxed{7}", 0},
        {"{\"style\": \"gsm8k\"}", "3 + 4 = 7\n#### 7", 1},
        {"{\"style\": \"gsm8k\"}", "#### 7\n", 1},
        {"{\"style\": \"gsm8k\"}", "#### 7\nbye", 0},
        {"{\"style\": \"gsm8k\"}", "see #### 7", 0},
        {"{\"style\": \"gsm8k\"}", "#### seven", 0},
        {"{\"style\": \"gsm8k\"}", "#### 6\n#### 7", 0},
        {"{\"style\": \"gsm8k\"}", "7", 0},
        {"{\"style\": \"think\"}", "<think>hm</think>7", 1},
        {"{\"style\": \"think\"}", "<think></think>7", 1},
        {"{\"style\": \"think\"}", "<think>hm</think>", 0},
        {"{\"style\": \"think\"}", "<think>hm", 0},
        {"{\"style\": \"think\"}", "so <think>hm</think>7", 0},
        {"{\"style\": \"think\"}", "<think>a</think><think>b</think>7", 0},
        {"{\"style\": \"tags\"}", "<think>a</think>\n<answer>7</answer>", 1},
        {"{\"style\": \"tags\"}", "<answer>7</answer><think>a</think>", 0},
        {"{\"style\": \"tags\"}", "<think>a<answer>7</answer></think>", 0},
        {"{\"style\": \"tags\"}", "<think>a</think><answer> </answer>", 0},
        {"{\"style\": \"tags\", \"tags\": [\"a\"]}", "<a>1</a><a>2</a>", 0},
        {"{\"style\": \"tags\", \"tags\": [\"a\"]}", "<a>1</a>", 1},
        {"{\"style\": \"text\", \"prefix\": \"Answer:\"}", "Answer: 7", 1},
        {"{\"style\": \"text\", \"prefix\": \"Answer:\"}", "answer: 7", 0},
        {"{\"style\": \"text\", \"prefix\": \"A\", \"suffix\": \".\"}", "A 7.\n", 1},
        {"{\"style\": \"text\", \"prefix\": \"A\", \"suffix\": \".\"}", "A 7", 0},
        {"{\"style\": \"text\", \"prefix\": \"ab\", \"suffix\": \"ba\"}", "aba", 0},
        {"{\"style\": \"text\", \"prefix\": \"ab\"}", "", 0},
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct bench bench;
        CHECK_OK(bench_open(&bench, "format", forms[i].json));
        struct cn_episode episode = {.response = cn_text(forms[i].reply)};
        struct cn_outcome out;
        CHECK_OK(bench_score(&bench, &episode, &out));
        if (out.score != forms[i].score)
            CHECK_FAILED("%s on \"%s\": %g", forms[i].json, forms[i].reply, out.score);
        bench_close(&bench);
    }
}

TEST(length_follows_its_formulas)
{
    static const struct {
        const char *json;
        size_t tokens, max_tokens;
        double score;
    } cases[] = {
        {"{}", 0, 10, 0},
        {"{}", 1, 10, 1},
        {"{}", 10, 10, 1},
        {"{\"maximum\": 5}", 6, 10, 0},
        {"{\"minimum\": 3}", 2, 10, 0},
        {"{\"form\": \"target\", \"target\": 10}", 10, 100, 1},
        {"{\"form\": \"target\", \"target\": 10}", 5, 100, 0.5},
        {"{\"form\": \"target\", \"target\": 10}", 15, 100, 0.5},
        {"{\"form\": \"target\", \"target\": 10}", 90, 100, 0},
        {"{\"form\": \"overlong\", \"maximum\": 100, \"buffer\": 20}", 80, 200, 0},
        {"{\"form\": \"overlong\", \"maximum\": 100, \"buffer\": 20}", 90, 200, -0.5},
        {"{\"form\": \"overlong\", \"maximum\": 100, \"buffer\": 20}", 100, 200, -1},
        {"{\"form\": \"overlong\", \"maximum\": 100, \"buffer\": 20}", 150, 200, -1},
        {"{\"form\": \"overlong\", \"buffer\": 20}", 95, 100, -0.75},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        CHECK_OK(bench_open(&bench, "length", cases[i].json));
        struct cn_episode episode = {.response_tokens = cases[i].tokens,
                                     .max_tokens = cases[i].max_tokens};
        struct cn_outcome out;
        CHECK_OK(bench_score(&bench, &episode, &out));
        CHECK_NEAR(out.score, cases[i].score, 1e-12);
        bench_close(&bench);
    }
    struct bench bench;
    CHECK_OK(bench_open(&bench, "length", "{\"minimum\": 9, \"maximum\": 3}"));
    struct cn_episode episode = {.response_tokens = 1};
    struct cn_outcome out;
    CHECK_FAILS(bench_score(&bench, &episode, &out), CN_ERR_CONFIG, "minimum 9 is above maximum 3");
    bench_close(&bench);
}

TEST(every_reward_can_be_found_and_reads_its_defaults)
{
    for (size_t i = 0; cn_rewards[i]; i++) {
        struct bench bench;
        const struct cn_reward *reward = cn_rewards[i];
        enum cn_status status = bench_open(&bench, reward->name, "{}");
        CHECK(cn_reward_find(reward->name) == reward);
        CHECK(reward->summary && reward->reference && reward->score);
        if (status == CN_ERR_CONFIG) { /* it needs a setting, or a part that this build lacks */
            CHECK(strstr(cn_fail_message(), "rewards.0"));
            cn_fail_clear();
        } else {
            CHECK_OK(status);
            struct cn_episode empty = {.stop = CN_STOP_EOS};
            struct cn_outcome out;
            CHECK_OK(bench_score(&bench, &empty, &out));
        }
        bench_close(&bench);
    }
    CHECK(cn_reward_find("nothing") == NULL);
}

TEST(terms_takes_every_sum_of_so_many_positive_numbers_with_the_right_value)
{
    static const struct {
        const char *json, *gold, *reply;
        enum cn_verdict verdict;
    } cases[] = {
        {"{}", "37", "12+20+5", OK_},
        {"{}", "37", " 1 + 35 + 1\n", OK_},
        {"{}", "37", "12+20+6", NO},
        {"{}", "37", "17+20", NO},
        {"{}", "37", "10+10+10+7", NO},
        {"{\"terms\": 4}", "37", "10+10+10+7", OK_},
        {"{}", "37", "0+20+17", NONE},
        {"{}", "37", "012+20+5", NONE},
        {"{}", "37", "12+20+5+", NONE},
        {"{}", "37", "12++20+5", NONE},
        {"{}", "37", "-3+20+20", NONE},
        {"{}", "37", "12+20+5=37", NONE},
        {"{}", "37", "", NONE},
        {"{}", "37", "99999999999999999999+1+1", NONE},
        {"{\"where\": \"last\"}", "37", "I take 1+2+3, no: 12 + 20 + 5.", OK_},
        {"{\"where\": \"last\"}", "37", "12+20+5 and then 1+2", NO},
        {"{\"where\": \"last\"}", "37", "12+20+5 is 37", OK_},
        {"{\"where\": \"last\"}", "37", "37", NONE},
        {"{\"where\": \"last\"}", "37", "012+20+5", NO},
        {"{}", "x", "12+20+5", BAD},
        {"{}", "", "12+20+5", BAD},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        struct cn_outcome out;
        CHECK_OK(bench_open(&bench, "terms", cases[i].json));
        const struct cn_episode episode = {.response = cn_text(cases[i].reply),
                                           .ground_truth = cn_text(cases[i].gold),
                                           .stop = CN_STOP_EOS};
        CHECK_OK(bench_score(&bench, &episode, &out));
        if (out.verdict != cases[i].verdict)
            CHECK_FAILED("case %zu \"%s\": %s", i, cases[i].reply, cn_verdict_name(out.verdict));
        CHECK_INT(out.has_score, cases[i].verdict != BAD);
        CHECK_NEAR(out.score, cases[i].verdict == OK_, 0);
        bench_close(&bench);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
