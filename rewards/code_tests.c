/* Code that must pass tests: finds the program in the reply, runs it in a sandbox, counts what
 * passes.
 *
 *     reply -> final part -> program -> sandbox (once per test, or with a checker) -> verdict
 *
 * correct: every test passed.  wrong: one did not, or the program failed by itself.  timeout: it
 * used up its processor time, or slept.  budget: it went over memory, disk or output.  unparsable:
 * it does not compile.  crashed: the sandbox failed or the machine starved it; left out of
 * training.  A machine that cannot isolate is an error before the first step, not a verdict.
 *
 * Shapes of tests: rewards/README.md.  Protocol: rewards/code/judge.c.
 * Isolation: rewards/sandbox. */
#include "carnot/reward.h"

#include "answer.h"
#include "code/code.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { WORKERS_MAX = 64 };
enum language_choice { LANGUAGE_AUTO }; /* behind it, enum code_language + 1 */
enum score_choice { SCORE_ALL, SCORE_FRACTION };

struct settings {
    int language, score, compare;
    int64_t memory_mb, disk_mb, output_kb, processes, tests_max, workers;
    double time_s, wall_s, tolerance;
    bool insecure, bare;
    const char *python, *entry, *after;
    struct sandbox *sandbox; /* opened by code_tests_open */
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "language", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, language), .fallback = "\"auto\"",
     .choices = "auto python c cpp", .help = "what programs are written in; auto: what the tests or the block of the reply say, else python"},
    {.name = "score", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, score), .fallback = "\"all\"",
     .choices = "all fraction", .help = "all: 1 if every test passes, else 0; fraction: the share of tests that pass"},
    {.name = "compare", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, compare), .fallback = "\"lines\"",
     .choices = "lines words", .help = "how an output is compared: by lines without white space at their end, or by words"},
    {.name = "tolerance", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, tolerance), .fallback = "0", .minimum = 0, .maximum = 1,
     .help = "how far printed numbers may be off, relative to the larger of 1 and the expected one; 0: as text"},
    {.name = "tests_max", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, tests_max), .fallback = "0", .minimum = 0, .maximum = 1e6,
     .unit = "tests", .help = "run only so many tests of programs that read and print; 0: all"},
    {.name = "entry", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, entry), .fallback = "\"\"",
     .help = "name of the function under test where the tests do not say it"},
    {.name = "after", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, after), .fallback = "\"</think>\"", .nullable = true,
     .help = "only what follows the last occurrence of this text is searched"},
    {.name = "bare", .kind = CN_OPTION_BOOL, .offset = offsetof(struct settings, bare), .fallback = "true",
     .help = "a reply without any ``` block is a program as a whole"},
    {.name = "time_s", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, time_s), .fallback = "5", .minimum = 0.05, .maximum = 3600,
     .unit = "s", .help = "processor time of a program, over all its processes"},
    {.name = "wall_s", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, wall_s), .fallback = "0", .minimum = 0, .maximum = 36000,
     .unit = "s", .help = "wall clock without waiting for a processor; 0: 3 times time_s and 2 more"},
    {.name = "memory_mb", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, memory_mb), .fallback = "512", .minimum = 32, .maximum = 1e6,
     .unit = "MiB", .help = "memory of a program, over all its processes, its files included"},
    {.name = "disk_mb", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, disk_mb), .fallback = "64", .minimum = 1, .maximum = 1e6,
     .unit = "MiB", .help = "files that a program may write"},
    {.name = "output_kb", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, output_kb), .fallback = "256", .minimum = 1, .maximum = 1e6,
     .unit = "KiB", .help = "what a program may print"},
    {.name = "processes", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, processes), .fallback = "32", .minimum = 1, .maximum = 4096,
     .help = "processes and threads of a program"},
    {.name = "workers", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, workers), .fallback = "0", .minimum = 0, .maximum = WORKERS_MAX,
     .help = "programs that run at a time; 0: as many as there are processors"},
    {.name = "python", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, python), .fallback = "\"/usr/bin/python3\"",
     .help = "the Python that runs programs; it must lie below /usr, the only folder that they see"},
    {.name = "insecure", .kind = CN_OPTION_BOOL, .offset = offsetof(struct settings, insecure), .fallback = "false",
     .help = "run programs WITHOUT isolation where the machine has none: they can read and destroy what this user can; marked in metrics"},
    {0},
};
// clang-format on

static enum cn_status code_tests_open(void *given, struct cn_arena *arena)
{
    struct settings *settings = given;
    const struct sandbox_settings wanted = {.insecure = settings->insecure};
    (void)arena;
    if (access(settings->python, X_OK) != 0)
        return cn_fail(CN_ERR_CONFIG,
                       "rewards.code_tests: there is no %s: as root, apt-get install "
                       "python3, or set python",
                       settings->python);
    return sandbox_open(&wanted, &settings->sandbox);
}

static void code_tests_close(void *given)
{
    struct settings *settings = given;
    sandbox_close(settings->sandbox);
    settings->sandbox = NULL;
}

static struct code_rules rules_of(const struct settings *s)
{
    return (struct code_rules){.limits = {.time_s = s->time_s,
                                          .wall_s = s->wall_s > 0 ? s->wall_s : 3 * s->time_s + 2,
                                          .memory_mb = (size_t)s->memory_mb,
                                          .disk_mb = (size_t)s->disk_mb,
                                          .output_kb = (size_t)s->output_kb,
                                          .processes = (size_t)s->processes},
                               .python = s->python,
                               .entry = s->entry,
                               .tokens = s->compare == 1,
                               .tolerance = s->tolerance,
                               .all = s->score == SCORE_ALL,
                               .tests_max = (size_t)s->tests_max};
}

static void choose_language(const struct settings *settings, const struct code_suite *suite,
                            struct code_found *program)
{
    if (settings->language != LANGUAGE_AUTO)
        program->language = (enum code_language)(settings->language - 1);
    else if (suite->has_language)
        program->language = suite->language;
    else if (!program->tagged)
        program->language = CODE_PYTHON;
}

/* Whether the verdict is the program's doing: then it is worth the share of tests that passed. */
static bool is_earned(enum cn_verdict verdict)
{
    return verdict != CN_VERDICT_BAD_GOLD && verdict != CN_VERDICT_CRASHED &&
           verdict != CN_VERDICT_UNSCORED;
}

static void report(const struct settings *settings, const struct code_result *result,
                   struct cn_outcome *out)
{
    const double tests = (double)result->tests;
    const bool counts = settings->score == SCORE_FRACTION && tests > 0;
    out->verdict = result->verdict;
    out->has_score = is_earned(result->verdict);
    out->score = result->verdict == CN_VERDICT_CORRECT ? 1
                 : counts && out->has_score            ? (double)result->passed / tests
                                                       : 0;
    out->metric[0] = (struct cn_named){"tests", tests};
    out->metric[1] = (struct cn_named){"passed", (double)result->passed};
    out->metric[2] = (struct cn_named){"program_s", result->time_s};
    out->n_metrics = 3;
    if (sandbox_is_insecure(settings->sandbox))
        out->metric[out->n_metrics++] = (struct cn_named){"insecure", 1};
}

static enum cn_status judge_one(const struct settings *settings, const struct cn_episode *episode,
                                struct cn_outcome *out)
{
    const struct code_rules rules = rules_of(settings);
    const bool cut = episode->stop == CN_STOP_LENGTH || episode->stop == CN_STOP_TRUNCATED;
    struct code_found program =
        code_find(answer_final_part(episode, settings->after), settings->bare && !cut);
    struct code_suite suite;
    struct code_result result = {.verdict = CN_VERDICT_BAD_GOLD};
    const char *fault;
    enum cn_status status = code_suite_read(episode->ground_truth, &suite, &fault);
    *out = (struct cn_outcome){0};
    choose_language(settings, &suite, &program);
    out->extracted = program.text;
    if (status == CN_OK && !fault) {
        if (!program.text.length || memchr(program.text.data, 0, program.text.length))
            result.verdict = cut ? CN_VERDICT_TRUNCATED : CN_VERDICT_NO_ANSWER;
        else if (suite.kind == CODE_PROGRAM && program.language != CODE_PYTHON)
            result.verdict = CN_VERDICT_UNPARSABLE; /* the tests call Python functions */
        else
            status = code_judge(settings->sandbox, &rules, &suite, &program, &result);
    }
    code_suite_close(&suite);
    if (status == CN_OK) report(settings, &result, out);
    return status;
}

static enum cn_status code_tests_check_gold(const void *settings, struct cn_text ground_truth,
                                            struct cn_arena *arena, const char **fault)
{
    struct code_suite suite;
    (void)settings, (void)arena;
    enum cn_status status = code_suite_read(ground_truth, &suite, fault);
    code_suite_close(&suite);
    return status;
}

/* ---- many at a time ------------------------------------------------------ */

/* Work that threads share: each takes the next episode. */
struct crew {
    const struct settings *settings;
    const struct cn_episode *episodes;
    struct cn_outcome *out;
    size_t n;
    atomic_size_t next;
    atomic_int status; /* of the first failure */
};

static void *work(void *argument)
{
    struct crew *crew = argument;
    for (size_t i; (i = atomic_fetch_add(&crew->next, 1)) < crew->n;) {
        enum cn_status status = judge_one(crew->settings, &crew->episodes[i], &crew->out[i]);
        int none = CN_OK;
        if (status != CN_OK) atomic_compare_exchange_strong(&crew->status, &none, (int)status);
    }
    return NULL;
}

static enum cn_status code_tests_score(const void *given, const struct cn_episode *episodes,
                                       size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    struct crew crew = {.settings = settings, .episodes = episodes, .out = out, .n = n};
    pthread_t threads[WORKERS_MAX];
    long cores = sysconf(_SC_NPROCESSORS_ONLN);
    size_t started = 0,
           wanted = settings->workers ? (size_t)settings->workers : (size_t)(cores > 0 ? cores : 1);
    (void)arena;
    if (wanted > n) wanted = n;
    if (wanted > WORKERS_MAX) wanted = WORKERS_MAX;
    while (started + 1 < wanted && pthread_create(&threads[started], NULL, work, &crew) == 0)
        started++;
    work(&crew);
    while (started > 0)
        pthread_join(threads[--started], NULL);
    enum cn_status status = (enum cn_status)atomic_load(&crew.status);
    return status == CN_OK || *cn_fail_message()
               ? status
               : cn_fail(status, "rewards.code_tests: a worker failed: %s",
                         cn_status_meaning(status));
}

const struct cn_reward cn_reward_code_tests = {
    .name = "code_tests",
    .summary = "runs the program of the reply in a sandbox against the tests of the row",
    .reference = "tests by input and output: Hendrycks et al. 2021 (APPS), arXiv 2105.09938; by "
                 "assertion: Austin et al. 2021 (MBPP), arXiv 2108.07732",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .starts_programs = true,
    .open = code_tests_open,
    .close = code_tests_close,
    .score = code_tests_score,
    .check_gold = code_tests_check_gold,
    .bench = code_bench,
};
