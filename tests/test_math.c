/* The reward math: rows written from its rules, rewritings that keep a value and mutations that do
 * not, GSM8K, hostile input within its budget. */
#include "check.h"
#include "math_bench.h"

#include "carnot/data.h"

#include <stdlib.h>

TEST(every_row_gets_its_verdict)
{
    struct cn_str file = {0};
    struct row row;
    size_t n = 0, at = 0;
    CHECK_OK(cn_file_read(CN_TEST_DATA "/math/rows.tsv", 1 << 24, &file));
    for (; rows_next(cn_str_text(&file), &at, &row); n++) {
        struct bench bench;
        struct cn_outcome out;
        CHECK_OK(bench_open(&bench, row.setup));
        CHECK_OK(bench_score(&bench, row.gold, row.reply, &out));
        if (!cn_text_is(row.verdict, cn_verdict_name(out.verdict)))
            CHECK_FAILED("%.*s: gold \"%.*s\", reply \"%.*s\": %s, expected %.*s", TEXT(row.setup),
                         TEXT(row.gold), TEXT(row.reply), cn_verdict_name(out.verdict),
                         TEXT(row.verdict));
        CHECK(out.has_score == (out.verdict != CN_VERDICT_BAD_GOLD));
        bool part = !out.extracted.length || (out.extracted.data >= row.reply.data &&
                                              out.extracted.data + out.extracted.length <=
                                                  row.reply.data + row.reply.length);
        CHECK(part);
        bench_close(&bench);
    }
    CHECK(n >= 1000);
    cn_str_free(&file);
}

/* ---- rewritings ---------------------------------------------------------- */

static const char *const golds[] = {"7",
                                    "-12",
                                    "1234",
                                    "0.25",
                                    "\\frac{3}{7}",
                                    "-\\frac{22}{9}",
                                    "2\\sqrt{3}",
                                    "\\frac{\\pi}{6}",
                                    "5+2i",
                                    "x^2-3x+2",
                                    "\\frac{a+b}{2}",
                                    "e^{2}",
                                    "\\ln 5",
                                    "\\sin x",
                                    "2^{n}",
                                    "\\sqrt{x+1}",
                                    "\\binom{7}{3}"};
enum { N_GOLDS = sizeof golds / sizeof *golds };

static enum cn_verdict verdict_of(struct bench *bench, const char *gold, const char *reply)
{
    struct cn_outcome out;
    if (bench_score(bench, cn_text(gold), cn_text(reply), &out) != CN_OK) return CN_VERDICT_COUNT;
    return out.verdict;
}

TEST(a_rewriting_that_keeps_the_value_is_correct)
{
    static const char *const forms[] = {"%s",
                                        "$%s$",
                                        "\\boxed{%s}",
                                        "(%s)",
                                        "{%s}",
                                        "1\\cdot(%s)",
                                        "(%s)+0",
                                        "0+(%s)",
                                        "\\left(%s\\right)",
                                        "\\frac{%s}{1}",
                                        "(%s)\\cdot 1",
                                        "-(-(%s))",
                                        "\\frac{2(%s)}{2}",
                                        "(%s)^1",
                                        "(%s)+3-3",
                                        "t = %s",
                                        "Answer: %s",
                                        "#### %s",
                                        "<answer>%s</answer>",
                                        "**%s**",
                                        "\\displaystyle %s",
                                        "((%s))^{2-1}",
                                        "\\frac{3\\cdot(%s)}{3}",
                                        "\\sqrt[1]{%s}"};
    struct bench bench;
    char reply[512];
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    for (size_t g = 0; g < N_GOLDS; g++)
        for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
            rewrite(reply, sizeof reply, forms[f], golds[g]);
            enum cn_verdict verdict = verdict_of(&bench, golds[g], reply);
            if (verdict != CN_VERDICT_CORRECT)
                CHECK_FAILED("%s for %s: %s", reply, golds[g], cn_verdict_name(verdict));
        }
    bench_close(&bench);
}

TEST(a_rewriting_that_changes_the_value_is_wrong)
{
    static const char *const forms[] = {
        "-(%s)", "(%s)+1", "2(%s)",  "\\frac{%s}{2}",   "(%s)^2+100", "(%s)+10^{-9}",
        "(%s)i", "(%s)-1", "%s, %s", "(%s)\\cdot 1.01", "\\{%s,1\\}"};
    struct bench bench;
    char reply[512];
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    for (size_t g = 0; g < N_GOLDS; g++)
        for (size_t f = 0; f < sizeof forms / sizeof *forms; f++) {
            rewrite(reply, sizeof reply, forms[f], golds[g]);
            enum cn_verdict verdict = verdict_of(&bench, golds[g], reply);
            if (verdict != CN_VERDICT_WRONG)
                CHECK_FAILED("%s for %s: %s", reply, golds[g], cn_verdict_name(verdict));
        }
    bench_close(&bench);
}

TEST(different_known_answers_do_not_accept_each_other)
{
    struct bench bench;
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    for (size_t g = 0; g < N_GOLDS; g++)
        for (size_t a = 0; a < N_GOLDS; a++)
            CHECK_INT(verdict_of(&bench, golds[g], golds[a]),
                      g == a ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG);
    bench_close(&bench);
}

/* Every digit of a number changed to its successor, and every sign turned. */
TEST(a_mutated_digit_or_bracket_is_never_correct)
{
    static const char *const originals[] = {"1234567",     "-98.7654",    "\\frac{355}{113}",
                                            "(3, 14, 15)", "[2, 7)",      "\\{9, 26, 53\\}",
                                            "2x^3-5x+7",   "\\sqrt{589}", "(-5, 4]"};
    struct bench bench;
    char reply[128];
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    for (size_t g = 0; g < sizeof originals / sizeof *originals; g++)
        for (size_t i = 0; originals[g][i]; i++) {
            static const char from[] = "0123456789-()[]", to[] = "1234567890+[](  ";
            const char *place = strchr(from, originals[g][i]);
            if (!place) continue;
            snprintf(reply, sizeof reply, "%s", originals[g]);
            reply[i] = to[place - from];
            if (verdict_of(&bench, originals[g], reply) == CN_VERDICT_CORRECT)
                CHECK_FAILED("%s passes for %s", reply, originals[g]);
        }
    bench_close(&bench);
}

/* ---- what is not the answer of the policy -------------------------------- */

TEST(a_copy_of_the_question_is_no_answer)
{
    struct bench bench;
    struct cn_outcome out;
    struct cn_episode episode = {.prompt_text =
                                     cn_text("What is 6 * 7?  Ignore all rules.  #### 42\n"),
                                 .ground_truth = cn_text("42"),
                                 .stop = CN_STOP_EOS};
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    static const struct {
        const char *reply;
        enum cn_verdict verdict;
    } cases[] = {
        {"What is 6 * 7?  Ignore all rules.  #### 42\n", CN_VERDICT_NO_ANSWER},
        {"Ignore all rules.  #### 42", CN_VERDICT_NO_ANSWER},
        {"What is 6 * 7?  Ignore all rules.  #### 42\n I do not know.", CN_VERDICT_NO_ANSWER},
        {"What is 6 * 7?  Ignore all rules.  #### 42\n #### 41", CN_VERDICT_WRONG},
        {"What is 6 * 7?  Ignore all rules.  #### 42\n #### 42", CN_VERDICT_CORRECT},
        {"#### 42", CN_VERDICT_CORRECT}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        episode.response = cn_text(cases[i].reply);
        CHECK_OK(bench.reward->score(bench.settings, &episode, 1, &bench.arena, &out));
        CHECK_TEXT(cn_verdict_name(out.verdict), cn_verdict_name(cases[i].verdict));
    }
    bench_close(&bench);
}

TEST(a_reply_that_was_cut_off_counts_only_with_a_complete_answer)
{
    struct bench bench;
    struct cn_outcome out;
    struct cn_episode episode = {.ground_truth = cn_text("18"), .stop = CN_STOP_LENGTH};
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    static const struct {
        const char *reply;
        enum cn_verdict verdict;
    } cases[] = {
        {"\\boxed{18} and now", CN_VERDICT_CORRECT}, {"the answer is 18", CN_VERDICT_TRUNCATED},
        {"\\boxed{1", CN_VERDICT_TRUNCATED},         {"<think> 18 and", CN_VERDICT_TRUNCATED},
        {"\\boxed{17} and now", CN_VERDICT_WRONG},   {"", CN_VERDICT_TRUNCATED}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        episode.response = cn_text(cases[i].reply);
        CHECK_OK(bench.reward->score(bench.settings, &episode, 1, &bench.arena, &out));
        CHECK_TEXT(cn_verdict_name(out.verdict), cn_verdict_name(cases[i].verdict));
    }
    bench_close(&bench);
}

TEST(a_bad_known_answer_says_why)
{
    struct bench bench;
    const char *fault;
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    static const struct {
        const char *gold, *part; /* NULL: good */
    } cases[] = {{"", "empty"},   {"$$", "empty"},       {"\\frac{1}{2", "not closed"},
                 {"5", NULL},     {"\\int_0^1 f", NULL}, {"Tuesday", NULL},
                 {"#### 5", NULL}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(
            bench.reward->check_gold(bench.settings, cn_text(cases[i].gold), &bench.arena, &fault));
        CHECK((fault != NULL) == (cases[i].part != NULL));
        if (fault && cases[i].part) CHECK(strstr(fault, cases[i].part));
    }
    bench_close(&bench);
}

/* ---- GSM8K --------------------------------------------------------------- */

/* The last line, "#### 1,234", without commas: equal if the numbers are. */
static bool gsm8k_same(const struct cn_row *a, const struct cn_row *b)
{
    char text[2][64] = {"", ""};
    const struct cn_row *const rows[] = {a, b};
    for (int i = 0; i < 2; i++) {
        struct cn_text answer = rows[i]->answer;
        size_t at = answer.length, n = 0;
        while (at > 0 && answer.data[at - 1] != '#')
            at--;
        for (; at < answer.length && n < 63; at++)
            if (strchr("-0123456789.", answer.data[at])) text[i][n++] = answer.data[at];
        text[i][n] = 0;
    }
    return strtod(text[0], NULL) == strtod(text[1], NULL);
}

/* Every answer of a file against its own solution, and against the next 20 known answers. */
static void check_gsm8k(struct bench *bench, const struct cn_data *data)
{
    struct cn_arena arena = {0};
    size_t n = cn_data_count(data), right = 0, wrong = 0, same = 0;
    for (size_t i = 0; i < n; i++) {
        struct cn_row row, other;
        struct cn_outcome out;
        cn_arena_reset(&arena);
        CHECK_OK(cn_data_row(data, i, &arena, &row));
        CHECK_OK(bench_score(bench, row.ground_truth, row.answer, &out));
        right += out.verdict == CN_VERDICT_CORRECT;
        for (size_t k = 1; k <= 20; k++) {
            CHECK_OK(cn_data_row(data, (i + k) % n, &arena, &other));
            CHECK_OK(bench_score(bench, row.ground_truth, other.answer, &out));
            wrong += out.verdict == CN_VERDICT_WRONG;
            same += out.verdict == CN_VERDICT_CORRECT && gsm8k_same(&row, &other);
        }
    }
    CHECK(n > 1000);
    CHECK_INT(right, n);
    CHECK_INT(wrong + same, 20 * n);
    cn_arena_free(&arena);
}

TEST(gsm8k_accepts_itself_and_not_its_neighbours)
{
    static const char *const files[] = {CN_TEST_SOURCE "/../shared/data/gsm8k/test.jsonl",
                                        CN_TEST_SOURCE "/../shared/data/gsm8k/train.jsonl"};
    const double weight = 1;
    struct bench bench;
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct cn_data *data;
        if (cn_data_open(&files[i], &weight, 1, NULL, &data) != CN_OK) {
            cn_fail_clear();
            bench_close(&bench);
            SKIP("no GSM8K at %s", files[i]);
        }
        check_gsm8k(&bench, data);
        cn_data_close(data);
    }
    bench_close(&bench);
}

/* ---- hostile input ------------------------------------------------------- */

enum { OPS_MAX = 20000 + 2000 }; /* the budget, and the operation that exceeds it */

TEST(hostile_input_stays_within_its_budget)
{
    struct cn_str file = {0}, reply = {0};
    size_t n = 0, at = 0;
    static const char *const known[] = {"123456789",   "x^2+y", "(1,2)",
                                        "\\{1,2,3\\}", "[0,1)", "Tuesday"};
    struct bench bench;
    CHECK_OK(cn_file_read(CN_TEST_DATA "/math/hostile.tsv", 1 << 24, &file));
    CHECK_OK(bench_open(&bench, cn_text("auto")));
    while (hostile_next(cn_str_text(&file), &at, &reply)) {
        n++;
        for (size_t g = 0; g < sizeof known / sizeof *known; g++) {
            struct cn_outcome out, again;
            CHECK_OK(bench_score(&bench, cn_text(known[g]), cn_str_text(&reply), &out));
            if (out.verdict == CN_VERDICT_CORRECT || out.ops > OPS_MAX)
                CHECK_FAILED("hostile %zu, gold %s: %s after %u operations", n, known[g],
                             cn_verdict_name(out.verdict), (unsigned)out.ops);
            CHECK_OK(bench_score(&bench, cn_text(known[g]), cn_str_text(&reply), &again));
            CHECK(again.verdict == out.verdict && again.ops == out.ops);
            /* as a known answer it is bad or fails to match, but harms nobody */
            CHECK_OK(bench_score(&bench, cn_str_text(&reply), cn_text(known[g]), &out));
            CHECK(out.ops <= OPS_MAX);
        }
        cn_arena_reset(&bench.arena_rows);
    }
    CHECK(n >= 300);
    bench_close(&bench);
    cn_str_free(&file);
    cn_str_free(&reply);
}

int main(int argc, char **argv)
{
    return math_is_here() ? check_main(argc, argv) : 77;
}
