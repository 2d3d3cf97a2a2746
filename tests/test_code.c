/* Code rewards: the table of code_rows.h, the settings, and how fast programs are run.
 * ctest labels: serial */
#include "reward_bench.h"

#include "code_rows.h"

#include <unistd.h>

enum { N_ROWS = sizeof code_rows / sizeof *code_rows };

static const char settings[] = "{\"time_s\": 0.6, \"wall_s\": 2, \"score\": \"fraction\"}";

#define NEED_CODE(bench, json)                                                                     \
    if (bench_open(bench, "code_tests", json) == CN_ERR_CONFIG) {                                  \
        bench_close(bench);                                                                        \
        SKIP("%s", cn_fail_message());                                                             \
    }

static struct cn_episode episode_of(const char *gold, const char *reply)
{
    return (struct cn_episode){
        .response = cn_text(reply), .ground_truth = cn_text(gold), .stop = CN_STOP_EOS};
}

static double metric(const struct cn_outcome *out, const char *name)
{
    for (size_t i = 0; i < out->n_metrics; i++)
        if (strcmp(out->metric[i].name, name) == 0) return out->metric[i].value;
    return -1;
}

static bool needs_compiler(const struct code_row *row)
{
    return strstr(row->reply, "```c") != NULL && row->verdict != NONE;
}

TEST(a_program_gets_the_verdict_of_every_row)
{
    struct bench bench;
    struct cn_episode episodes[N_ROWS];
    struct cn_outcome out[N_ROWS] = {{0}};
    NEED_CODE(&bench, settings);
    const bool compiler = access("/usr/bin/gcc", X_OK) == 0 && access("/usr/bin/g++", X_OK) == 0;
    for (size_t i = 0; i < N_ROWS; i++)
        episodes[i] = episode_of(code_rows[i].gold, code_rows[i].reply);
    CHECK_OK(cn_reward_score(&bench.used, episodes, N_ROWS, &bench.arena, out));
    for (size_t i = 0; i < N_ROWS; i++) {
        const struct code_row *row = &code_rows[i];
        if (!compiler && needs_compiler(row)) continue;
        int passed = (int)metric(&out[i], "passed");
        if (out[i].verdict != row->verdict || (row->passed >= 0 && passed != row->passed))
            CHECK_FAILED("%s: %s with %d of %g tests, expected %s with %d", row->name,
                         cn_verdict_name(out[i].verdict), passed, metric(&out[i], "tests"),
                         cn_verdict_name(row->verdict), row->passed);
        CHECK(out[i].has_score == (row->verdict != BAD));
        if (row->verdict == OK_) CHECK_NEAR(out[i].score, 1, 0);
        if (row->passed == 0) CHECK_NEAR(out[i].score, 0, 0);
    }
    bench_close(&bench);
}

TEST(a_program_scores_the_share_of_its_tests_or_nothing)
{
    struct bench share, all;
    struct cn_outcome out;
    struct cn_episode half = episode_of(SUMS, PY("print(7)"));
    NEED_CODE(&share, settings);
    CHECK_OK(bench_open(&all, "code_tests", "{}"));
    CHECK_OK(bench_score(&share, &half, &out));
    CHECK_NEAR(out.score, 0.5, 0);
    CHECK_OK(bench_score(&all, &half, &out));
    CHECK_NEAR(out.score, 0, 0);
    bench_close(&share);
    bench_close(&all);
}

TEST(outputs_are_compared_as_the_settings_say)
{
    static const struct {
        const char *json, *expected, *printed;
        bool same;
    } cases[] = {
        {"{}", "1.0", "1.00", false},
        {"{\"tolerance\": 1e-6}", "1.0", "1.00", true},
        {"{\"tolerance\": 1e-6}", "1.0", "1.0001", false},
        {"{\"tolerance\": 1e-3}", "1000", "1000.5", true},
        {"{\"tolerance\": 1e-3}", "a 1", "b 1", false},
        {"{\"tolerance\": 1e-3}", "1", "nan", false},
        {"{}", "1 2", "1  2", false},
        {"{\"compare\": \"words\"}", "1 2", "1  2", true},
        {"{\"compare\": \"words\"}", "1 2", "1\n2", true},
        {"{\"compare\": \"words\"}", "1 2", "1", false},
        {"{}", "", " ", true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        struct cn_outcome out;
        char gold[128], reply[128];
        NEED_CODE(&bench, cases[i].json);
        snprintf(gold, sizeof gold, "[{\"input\": \"\", \"output\": \"%s\"}]", cases[i].expected);
        snprintf(reply, sizeof reply, PY("print('''%s''')"), cases[i].printed);
        struct cn_episode episode = episode_of(gold, reply);
        CHECK_OK(bench_score(&bench, &episode, &out));
        if (out.verdict != (cases[i].same ? OK_ : NO))
            CHECK_FAILED("%s: \"%s\" for \"%s\": %s", cases[i].json, cases[i].printed,
                         cases[i].expected, cn_verdict_name(out.verdict));
        bench_close(&bench);
    }
}

TEST(a_reply_that_was_cut_off_is_no_program)
{
    struct bench bench;
    struct cn_outcome out;
    NEED_CODE(&bench, "{}");
    struct cn_episode episode = episode_of(SUMS, "print(7)");
    episode.stop = CN_STOP_LENGTH;
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, CN_VERDICT_TRUNCATED);
    episode.response = cn_text(SUM "\nand so");
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, OK_);
    bench_close(&bench);
}

TEST(bytes_that_are_no_text_are_scored)
{
    struct bench bench;
    struct cn_outcome out;
    NEED_CODE(&bench, "{}");
    struct cn_episode episode = episode_of(SUMS, "```python\n\xff\xfe\n```");
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK_INT(out.verdict, ODD);
    episode.response = (struct cn_text){"```\nprint(7)\0\n```", 17};
    CHECK_OK(bench_score(&bench, &episode, &out));
    CHECK(out.verdict != OK_);
    bench_close(&bench);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
