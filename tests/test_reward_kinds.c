/* The smaller rewards: tables of (settings, known answer, reply, score, verdict), and the user's
 * own program with all the ways in which it can fail. */
#include "reward_bench.h"

#include "carnot/batch.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define OK_ CN_VERDICT_CORRECT
#define NO CN_VERDICT_WRONG
#define NONE CN_VERDICT_NO_ANSWER
#define ODD CN_VERDICT_UNPARSABLE
#define BIG CN_VERDICT_TOO_LARGE
#define BAD CN_VERDICT_BAD_GOLD
#define LONG CN_VERDICT_BUDGET

#define WITHIN "{\"form\": \"within\"}"
#define F1 "{\"form\": \"f1\"}"
#define GAME "{\"target\": 24, \"nums\": [4, 6, 1, 1]}"
#define A30 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"

static const struct row {
    const char *reward, *json, *gold, *reply;
    double score;
    enum cn_verdict verdict;
} rows[] = {
    /* countdown */
    {"countdown", "{}", GAME, "4*6*1*1", 1, OK_},
    {"countdown", "{}", GAME, "<answer>(4 * 6) / 1 / 1</answer>", 1, OK_},
    {"countdown", "{}", GAME, "so\n4 \xc3\x97 6 \xc3\xb7 1 \xc3\x97 1 = 24", 1, OK_},
    {"countdown", "{}", GAME, "\\boxed{4 \\times 6 \\cdot 1 \\cdot 1}", 1, OK_},
    {"countdown", "{}", GAME, "<answer>1+1</answer> no <answer>4*6*1*1</answer>", 1, OK_},
    {"countdown", "{}", "{\"target\": 24, \"nums\": [3, 3, 8, 8]}", "8/(3-8/3)", 1, OK_},
    {"countdown", "{}", "{\"target\": 24, \"nums\": [3, 3, 8, 8]}", "8/(3-8/3)*8/8", 0, NO},
    {"countdown", "{}", "[3, 3, 8, 8]", "8 / (3 - 8 / 3)", 1, OK_},
    {"countdown", "{}", "{\"numbers\": [5, 5, 5, 1]}", "5*(5-1/5)", 1, OK_},
    {"countdown", "{}", "{\"target\": -2, \"nums\": [1, 3]}", "1-3", 1, OK_},
    {"countdown", "{}", GAME, "4*6*1", 0, NO},
    {"countdown", "{\"use\": \"some\"}", GAME, "4*6*1", 1, OK_},
    {"countdown", "{}", GAME, "6*4*1*1*1", 0, NO},
    {"countdown", "{}", "{\"target\": 24, \"nums\": [2, 3, 5, 7]}", "6*4*1*1", 0, NO},
    {"countdown", "{}", GAME, "24", 0, NO},
    {"countdown", "{}", "{\"target\": 24, \"nums\": [24]}", "24", 1, OK_},
    {"countdown", "{\"format\": 0.1}", GAME, "4+6+1+1", 0.1, NO},
    {"countdown", "{\"format\": 0.1}", GAME, "4+", 0, ODD},
    {"countdown", "{}", GAME, "4**6", 0, ODD},
    {"countdown", "{}", GAME, "99**98**97", 0, ODD},
    {"countdown", "{}", GAME, "4//6", 0, ODD},
    {"countdown", "{}", GAME, "4^6", 0, ODD},
    {"countdown", "{}", GAME, "4(6)(1)(1)", 0, ODD},
    {"countdown", "{}", GAME, "4*06*1*1", 0, ODD},
    {"countdown", "{}", GAME, "4.0*6*1*1", 0, ODD},
    {"countdown", "{}", GAME, "__import__('os')", 0, ODD},
    {"countdown", "{}", GAME, "4*6*1*1 = 25", 0, ODD},
    {"countdown", "{}", GAME, "4*6*1*1 or 24", 0, ODD},
    {"countdown", "{}", GAME, "6/(1-1)*4", 0, NO},
    {"countdown", "{}", GAME,
     "((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((4", 0, ODD},
    {"countdown", "{}", GAME,
     "999999999999999*999999999999999*999999999999999*999999999999999*999999999999999", 0, BIG},
    {"countdown", "{}", GAME, "", 0, NONE},
    {"countdown", "{}", GAME, "<answer></answer>", 0, NONE},
    {"countdown", "{}", GAME, "<answer>4*6*1*1", 0, NONE},
    {"countdown", "{}", "24", "24", 0, BAD},
    {"countdown", "{}", "{\"target\": 24}", "24", 0, BAD},
    {"countdown", "{}", "{\"target\": 1.5, \"nums\": [1]}", "1", 0, BAD},
    {"countdown", "{}", "{\"target\": 24, \"nums\": [\"4\"]}", "4", 0, BAD},
    /* match */
    {"match", "{}", "Paris", "paris", 1, OK_},
    {"match", "{}", "The Eiffel Tower", "eiffel tower.", 1, OK_},
    {"match", "{}", "Paris", "It is Paris", 0, NO},
    {"match", "{}", "[\"NYC\", \"New York\"]", "new  york!", 1, OK_},
    {"match", "{}", "{\"target\": [\"NYC\", \"New York\"]}", "nyc", 1, OK_},
    {"match", "{}", "Paris", "London</think>Paris", 1, OK_},
    {"match", "{}", "Paris", "", 0, NONE},
    {"match", "{}", "Paris", "the", 0, NO},
    {"match", "{}", "", "Paris", 0, BAD},
    {"match", "{}", "[]", "Paris", 0, BAD},
    {"match", "{\"answer\": \"tag\"}", "Paris", "no <answer>Paris</answer>", 1, OK_},
    {"match", "{\"answer\": \"tag\"}", "Paris", "Paris", 0, NONE},
    {"match", "{\"answer\": \"tag\"}", "Paris", "<answer>Paris", 0, NONE},
    {"match", WITHIN, "Paris", "It is Paris.", 1, OK_},
    {"match", WITHIN, "Paris", "It is Parisian.", 0, NO},
    {"match", WITHIN, "New York", "York is new", 0, NO},
    {"match", WITHIN, "the", "the", 0, NO},
    {"match", F1, "a b c d", "b c", 0.8, NO},
    {"match", F1, "x y", "x y", 1, OK_},
    {"match", F1, "x x y", "x y y", 2.0 / 3, NO},
    {"match", F1, "x", "y", 0, NO},
    {"match", F1, "[\"q\", \"x y\"]", "x", 2.0 / 3, NO},
    /* regex */
    {"regex", "{\"pattern\": \"^yes\"}", "", "yes, it is", 1, OK_},
    {"regex", "{\"pattern\": \"^yes\"}", "", "oh yes", 0, NONE},
    {"regex", "{\"pattern\": \"answer: (\\\\w+)\", \"group\": 1}", "7", "answer: 6, no, answer: 7",
     1, OK_},
    {"regex", "{\"pattern\": \"answer: (\\\\w+)\", \"group\": 1}", "6", "answer: 6, no, answer: 7",
     0, NO},
    {"regex", "{\"pattern\": \"answer: (\\\\w+)\", \"group\": 1}", " ", "answer: 6", 0, BAD},
    {"regex", "{\"pattern\": \"(x)?\", \"group\": 1}", "x", "", 0, NO},
    {"regex", "{\"pattern\": \"^(a+)+$\"}", "", A30 A30 "!", 0, LONG},
    {"regex", "{\"pattern\": \"b\"}", "", "\xff\xfe b \x80", 1, OK_},
    {"regex", "{\"pattern\": \"b\", \"after\": \"</think>\"}", "", "b</think>a", 0, NONE},
    /* repetition */
    {"repetition", "{\"n\": 1}", "", "a b c d", 0, OK_},
    {"repetition", "{\"n\": 1}", "", "a a a a", -0.75, NO},
    {"repetition", "{\"n\": 2, \"penalty\": 2}", "", "a b a b a", -1, NO},
    {"repetition", "{\"n\": 3}", "", "a b", 0, OK_},
    {"repetition", "{\"n\": 3}", "", "", 0, OK_},
    {"repetition", "{\"n\": 1}", "", "ab a b aba", 0, OK_},
    /* composite */
    {"composite",
     "{\"parts\": [{\"type\": \"format\"}, {\"type\": \"exact_answer\", \"weight\": 2}]}", "7",
     "\\boxed{7}", 3, OK_},
    {"composite",
     "{\"parts\": [{\"type\": \"format\"}, {\"type\": \"exact_answer\", \"weight\": 2}]}", "7", "7",
     2, NO},
    {"composite", "{\"how\": \"product\", \"parts\": [\"format\", \"exact_answer\"]}", "7", "7", 0,
     NO},
    {"composite", "{\"how\": \"product\", \"parts\": [\"format\", \"exact_answer\"]}", "7",
     "\\boxed{7}", 1, OK_},
    {"composite", "{\"how\": \"product\", \"parts\": [\"format\", \"exact_answer\"]}", "7",
     "\\boxed{8}", 0, NO},
    {"composite", "{\"how\": \"product\", \"parts\": [\"format\", \"exact_answer\"]}", "",
     "\\boxed{8}", 0, BAD},
    {"composite", "{\"how\": \"first\", \"parts\": [\"countdown\", \"exact_answer\"]}", "7", "7", 1,
     OK_},
    {"composite", "{\"how\": \"first\", \"parts\": [\"countdown\", \"exact_answer\"]}", GAME,
     "4*6*1*1", 1, OK_},
    {"composite", "{\"how\": \"first\", \"parts\": [\"countdown\", \"exact_answer\"]}", GAME, "4*6",
     0, NO},
    {"composite", "{\"parts\": [\"exact_answer\", {\"type\": \"length\", \"weight\": 0}]}", "7",
     "7", 1, OK_},
};

TEST(every_row_gets_its_score_and_verdict)
{
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct row *row = &rows[i];
        struct bench bench;
        struct cn_outcome out;
        struct cn_episode episode = {.response = cn_text(row->reply),
                                     .ground_truth = cn_text(row->gold),
                                     .stop = CN_STOP_EOS};
        CHECK_OK(bench_open(&bench, row->reward, row->json));
        CHECK_OK(bench_score(&bench, &episode, &out));
        const bool has = row->verdict != BAD;
        if (out.verdict != row->verdict || out.has_score != has ||
            (has && fabs(out.score - row->score) > 1e-12))
            CHECK_FAILED("%s %s: gold \"%s\", reply \"%s\": %g %s, expected %g %s", row->reward,
                         row->json, row->gold, row->reply, out.score, cn_verdict_name(out.verdict),
                         row->score, cn_verdict_name(row->verdict));
        bench_close(&bench);
    }
}

TEST(settings_that_cannot_work_are_refused)
{
    static const struct {
        const char *reward, *json, *message;
    } cases[] = {
        {"regex", "{}", "pattern is empty"},
        {"regex", "{\"pattern\": \"(\"}", "byte 1"},
        {"regex", "{\"pattern\": \"a\", \"group\": 1}", "the pattern has 0 groups"},
        {"command", "{}", "program is empty"},
        {"composite", "{}", "parts must be a list"},
        {"composite", "{\"parts\": [\"nothing\"]}", "parts.0: unknown reward \"nothing\""},
        {"composite", "{\"parts\": [{\"type\": \"format\", \"stile\": 1}]}", "stile"},
        {"composite", "{\"parts\": [{\"type\": \"format\", \"verify\": true}]}", "no part counts"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        CHECK_FAILS(bench_open(&bench, cases[i].reward, cases[i].json), CN_ERR_CONFIG,
                    cases[i].message);
        bench_close(&bench);
    }
}

static double metric(const struct cn_outcome *out, const char *name)
{
    for (size_t i = 0; i < out->n_metrics; i++)
        if (strcmp(out->metric[i].name, name) == 0) return out->metric[i].value;
    return -1;
}

TEST(a_verdict_is_worth_what_its_key_says)
{
    static const struct {
        const char *reward, *options, *gold, *reply;
        enum cn_verdict verdict;
        bool scored;
        double score;
    } cases[] = {
        {"exact_answer", "{\"wrong\": -1}", "5", "hm", CN_VERDICT_NO_ANSWER, true, -1},
        {"exact_answer", "{\"no_answer\": \"mask\"}", "5", "hm", CN_VERDICT_NO_ANSWER, false, 0},
        {"exact_answer", "{\"wrong\": -1, \"no_answer\": \"zero\"}", "5", "hm",
         CN_VERDICT_NO_ANSWER, true, 0},
        {"exact_answer", "{\"no_answer\": \"mask\"}", "5", "6", CN_VERDICT_WRONG, true, 0},
        {"exact_answer", "{}", "", "6", CN_VERDICT_BAD_GOLD, false, 0},
        {"exact_answer", "{\"bad_gold\": -0.5}", "", "6", CN_VERDICT_BAD_GOLD, true, -0.5},
        {"match", "{\"no_answer\": 0.25}", "Paris", " ", CN_VERDICT_NO_ANSWER, true, 0.25},
        {"regex", "{\"pattern\": \"b\", \"no_answer\": \"mask\"}", "", "a", CN_VERDICT_NO_ANSWER,
         false, 0},
        {"countdown", "{\"unparsable\": -2}", "{\"target\": 24, \"nums\": [4, 6, 1, 1]}", "hm",
         CN_VERDICT_UNPARSABLE, true, -2},
        {"math", "{\"unparsable\": -0.5}", "1", "\\boxed{1 +}", CN_VERDICT_UNPARSABLE, true, -0.5},
        {"math", "{\"correct\": 2}", "1", "\\boxed{1}", CN_VERDICT_CORRECT, true, 2},
        {"composite", "{\"parts\": [{\"type\": \"exact_answer\", \"no_answer\": \"mask\"}]}", "5",
         "hm", CN_VERDICT_NO_ANSWER, false, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct bench bench;
        struct cn_outcome out;
        const struct cn_episode episode = {.response = cn_text(cases[i].reply),
                                           .ground_truth = cn_text(cases[i].gold),
                                           .stop = CN_STOP_EOS};
        if (bench_open(&bench, cases[i].reward, cases[i].options) == CN_OK) {
            CHECK_OK(bench_score(&bench, &episode, &out));
            CHECK_TEXT(cn_verdict_name(out.verdict), cn_verdict_name(cases[i].verdict));
            CHECK_INT(out.has_score, cases[i].scored);
            if (cases[i].scored) CHECK_NEAR(out.score, cases[i].score, 0);
        } else { /* only a build without GMP lacks one */
            CHECK_TEXT(cases[i].reward, "math");
            cn_fail_clear();
        }
        bench_close(&bench);
    }
    struct bench bench;
    CHECK_FAILS(bench_open(&bench, "exact_answer", "{\"crashed\": \"nought\"}"), CN_ERR_CONFIG,
                "rewards.0.crashed: expected \"mask\", \"zero\" or a number");
    bench_close(&bench);
}

TEST(an_answer_that_a_second_opinion_calls_wrong_is_flagged)
{
    struct bench bench;
    struct cn_outcome out;
    struct cn_episode hack = {
        .response = cn_text("17 18"), .ground_truth = cn_text("18"), .stop = CN_STOP_EOS};
    CHECK_OK(bench_open(&bench, "composite",
                        "{\"parts\": [{\"type\": \"match\", \"form\": \"within\"}, {\"type\": "
                        "\"exact_answer\", \"verify\": true}]}"));
    CHECK_OK(bench_score(&bench, &hack, &out));
    CHECK_NEAR(out.score, 1, 0);
    CHECK_NEAR(metric(&out, "exploit"), 1, 0);
    hack.response = cn_text("18");
    CHECK_OK(bench_score(&bench, &hack, &out));
    CHECK_NEAR(out.score, 1, 0);
    CHECK_NEAR(metric(&out, "exploit"), 0, 0);
    hack.response = cn_text("19");
    CHECK_OK(bench_score(&bench, &hack, &out));
    CHECK_NEAR(metric(&out, "exploit"), 0, 0);
    bench_close(&bench);
}

/* ---- the user's own program ---------------------------------------------- */

/* A shell program as a reward; each line of its input in $line. */
static enum cn_status open_shell(struct bench *bench, const char *body, double time_s)
{
    struct cn_str json = {0}, script = {0};
    enum cn_status status = cn_str_format(&script, "while IFS= read -r line; do %s; done", body);
    if (status == CN_OK) status = cn_str_add(&json, "{\"program\": [\"/bin/sh\", \"-c\", ");
    if (status == CN_OK) status = cn_json_quote(&json, cn_str_text(&script));
    if (status == CN_OK) status = cn_str_format(&json, "], \"time_s\": %g}", time_s);
    if (status == CN_OK) status = bench_open(bench, "command", json.data);
    cn_str_free(&json);
    cn_str_free(&script);
    return status;
}

#define ID "id=${line#*: }; id=${id%%,*}; "

static enum cn_status score_many(struct bench *bench, const char *const *replies, size_t n,
                                 struct cn_outcome *out)
{
    struct cn_episode episodes[16] = {0};
    for (size_t i = 0; i < n; i++)
        episodes[i] = (struct cn_episode){.response = cn_text(replies[i]), .stop = CN_STOP_EOS};
    memset(out, 0, n * sizeof *out);
    return cn_reward_score(&bench->used, episodes, n, &bench->arena, out);
}

TEST(a_program_scores_every_row)
{
    static const char *const replies[] = {"good", "bad", "\xff\n\"", "good"};
    struct bench bench;
    struct cn_outcome out[4];
    CHECK_OK(open_shell(&bench,
                        ID "case $line in *good*) echo \"{\\\"id\\\": $id, \\\"score\\\": 2, "
                           "\\\"extracted\\\": \\\"x\\\", \\\"metrics\\\": {\\\"m\\\": 3}}\";; "
                           "*) echo \"{\\\"id\\\": $id, \\\"score\\\": 0}\";; esac",
                        5));
    for (int round = 0; round < 3; round++) {
        CHECK_OK(score_many(&bench, replies, 4, out));
        for (int i = 0; i < 4; i++) {
            bool good = strcmp(replies[i], "good") == 0;
            CHECK(out[i].has_score);
            CHECK_NEAR(out[i].score, good ? 2 : 0, 0);
            CHECK_INT(out[i].verdict, good ? OK_ : NO);
        }
        CHECK_NEAR(metric(&out[0], "m"), 3, 0);
        CHECK(cn_text_is(out[0].extracted, "x"));
    }
    bench_close(&bench);
}

TEST(a_program_that_dies_or_stalls_costs_one_row_only)
{
    static const char *const bodies[] = {"exit 1", "sleep 60", "echo nonsense",
                                         "echo '{\"id\": 99, \"score\": 1}'",
                                         "echo '{\"id\": 0, \"score\": \"high\"}'"};
    static const char *const replies[] = {"good", "evil", "good", "good"};
    for (size_t b = 0; b < sizeof bodies / sizeof *bodies; b++) {
        struct bench bench;
        struct cn_outcome out[4];
        char body[256];
        snprintf(
            body, sizeof body,
            ID "case $line in *evil*) %s;; *) echo \"{\\\"id\\\": $id, \\\"score\\\": 1}\";; esac",
            bodies[b]);
        CHECK_OK(open_shell(&bench, body, 0.5));
        CHECK_OK(score_many(&bench, replies, 4, out));
        for (int i = 0; i < 4; i++) {
            bool evil = i == 1;
            CHECK(out[i].has_score == !evil);
            CHECK_INT(out[i].verdict, !evil    ? OK_
                                      : b == 1 ? CN_VERDICT_TIMEOUT
                                               : CN_VERDICT_CRASHED);
        }
        bench_close(&bench);
    }
}

TEST(a_program_that_never_works_ends_the_run)
{
    static const char *const replies[] = {"a", "b", "c", "d"};
    struct bench bench;
    struct cn_outcome out[4];
    CHECK_OK(open_shell(&bench, "exit 1", 5));
    CHECK_FAILS(score_many(&bench, replies, 4, out), CN_ERR_VERIFIER, "3 times in a row");
    bench_close(&bench);
    CHECK_OK(bench_open(&bench, "command", "{\"program\": [\"/nonexistent/program\"]}"));
    CHECK_FAILS(score_many(&bench, replies, 1, out), CN_ERR_VERIFIER, "cannot start");
    bench_close(&bench);
}

TEST(a_program_may_answer_in_any_order_and_give_no_score)
{
    static const char *const replies[] = {"a", "b"};
    struct bench bench;
    struct cn_outcome out[2];
    CHECK_OK(open_shell(
        &bench,
        "read -r other; echo '{\"id\": 1, \"score\": null, \"verdict\": \"bad_gold\"}'; echo "
        "'{\"id\": 0, \"score\": -1, \"verdict\": \"no_answer\"}'",
        5));
    CHECK_OK(score_many(&bench, replies, 2, out));
    CHECK(!out[1].has_score && out[0].has_score);
    CHECK_INT(out[1].verdict, CN_VERDICT_BAD_GOLD);
    CHECK_INT(out[0].verdict, CN_VERDICT_NO_ANSWER);
    CHECK_NEAR(out[0].score, -1, 0);
    bench_close(&bench);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
