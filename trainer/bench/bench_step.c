/* carnot bench step: starts `carnot train` as a process of its own, as a user would, and reads what
 * it measured: time split, memory against the plan, time to the first step. */
#include "bench.h"

#include "../clock.h"
#include "../dry_run.h"

#include "carnot/json.h"
#include "carnot/str.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <math.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ARGUMENTS_MAX = 64, PATH_BYTES = 256, TEXT_BYTES = 1024 };

/* The work of a child: its arguments and where it writes. */
struct child {
    const char *folder;
    char metrics[PATH_BYTES];
    char text[12][TEXT_BYTES];
    size_t n_texts;
    char *argv[ARGUMENTS_MAX];
    int argc;
};

static enum cn_status add(struct child *child, char *argument)
{
    if (child->argc + 1 >= ARGUMENTS_MAX)
        return cn_fail(CN_ERR_CONFIG, "bench step: more than %d arguments", ARGUMENTS_MAX - 2);
    child->argv[child->argc++] = argument;
    return CN_OK;
}

static enum cn_status add_format(struct child *child, const char *format, const char *value)
{
    char *text = child->text[child->n_texts++];
    const int n = snprintf(text, TEXT_BYTES, format, value);
    if (n >= TEXT_BYTES) return cn_fail(CN_ERR_CONFIG, "bench step: \"%s\" is too long", value);
    return add(child, text);
}

/* What stands in for a configuration: generated sums, answers of equal length, no evaluation. */
static const char own_config[] =
    "{\"env\": {\"type\": \"arithmetic\"}, \"rewards\": [\"exact_answer\"], \"algorithm\": "
    "\"grpo\",\n"
    " \"data\": {\"max_prompt_tokens\": 64, \"eval\": [{\"name\": \"held_out\", \"tasks\": 1}]},\n"
    " \"rollout\": {\"max_tokens\": 128, \"slots\": 64, \"ignore_eos\": true},\n"
    " \"train\": {\"prompts\": 4, \"samples\": 8}}\n";

static enum cn_status write_own_config(struct child *child)
{
    char *path = child->text[child->n_texts++];
    snprintf(path, TEXT_BYTES, "%s/bench.json", child->folder);
    FILE *file = fopen(path, "w");
    if (!file || fputs(own_config, file) < 0 || fclose(file) != 0)
        return cn_fail(CN_ERR_IO, "cannot write %s: %s", path, strerror(errno));
    return add(child, path);
}

/* Files first, then what this command asks for, then single keys: the later one counts. */
static enum cn_status arguments(const struct bench_options *options, enum cn_dtype dtype,
                                struct child *child)
{
    char number[32];
    int files = 0;
    snprintf(number, sizeof number, "%lld", (long long)(options->steps ? options->steps : 4));
    CN_TRY(add(child, (char *)"carnot"));
    CN_TRY(add(child, (char *)"train"));
    for (; files < options->n_rest && !strchr(options->rest[files], '='); files++)
        CN_TRY(add(child, options->rest[files]));
    if (!files) CN_TRY(write_own_config(child));
    const char *init = bench_model_init(options);
    CN_TRY(init ? add_format(child, "model.init=%s", init)
                : add_format(child, "model.path=%s", options->model));
    CN_TRY(add_format(child, "model.dtype=%s", dtype == CN_DTYPE_F32 ? "f32" : "bf16"));
    CN_TRY(add_format(child, "train.steps=%s", number));
    snprintf(number, sizeof number, "%zu", bench_threads(options));
    CN_TRY(add_format(child, "parallel.threads=%s", number));
    CN_TRY(add_format(child, "update.checkpoint_activations=%s",
                      options->checkpoint ? "true" : "false"));
    CN_TRY(add(child, (char *)"checkpoint.every=0"));
    CN_TRY(add(child, (char *)"eval.every=0"));
    for (int i = files; i < options->n_rest; i++) {
        if (!strchr(options->rest[i], '='))
            return cn_fail(CN_ERR_CONFIG,
                           "bench step: \"%s\" stands behind a key: files come first",
                           options->rest[i]);
        CN_TRY(add(child, options->rest[i]));
    }
    CN_TRY(add_format(child, "run.dir=%s/run", child->folder));
    child->argv[child->argc] = NULL;
    return CN_OK;
}

/* What the child said last, without "error: " and its line end. */
static void last_line(const char *log, char *out, size_t room)
{
    FILE *file = fopen(log, "r");
    snprintf(out, room, "no log");
    while (file && fgets(out, (int)room, file))
        out[strcspn(out, "\n")] = 0;
    if (file) fclose(file);
    if (strncmp(out, "error: ", 7) == 0) memmove(out, out + 7, strlen(out + 7) + 1);
}

/* Runs the child; *first: seconds until the row of step 1 stands in its metrics. */
static enum cn_status run_child(struct child *child, double *first, struct rusage *usage)
{
    const double start = clock_seconds();
    int code = 0;
    char log[PATH_BYTES + 16];
    snprintf(log, sizeof log, "%s/log", child->folder);
    pid_t pid;
    posix_spawn_file_actions_t files;
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log, O_WRONLY | O_CREAT | O_TRUNC,
                                     0644);
    posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
    const int failed = posix_spawn(&pid, "/proc/self/exe", &files, NULL, child->argv, environ);
    posix_spawn_file_actions_destroy(&files);
    if (failed) return cn_fail(CN_ERR_MEMORY, "bench step: cannot start: %s", strerror(failed));
    *first = 0;
    while (wait4(pid, &code, WNOHANG, usage) == 0) {
        struct stat info;
        /* One row before the first step may stand there: that of step 0. */
        if (*first == 0 && stat(child->metrics, &info) == 0 && info.st_size > 0) {
            FILE *file = fopen(child->metrics, "r");
            char line[TEXT_BYTES];
            while (file && fgets(line, sizeof line, file))
                if (strstr(line, "{\"step\": 1,") || strstr(line, "{\"step\":1,"))
                    *first = clock_seconds() - start;
            if (file) fclose(file);
        }
        usleep(2000);
    }
    if (WIFEXITED(code) && WEXITSTATUS(code) == 0) return CN_OK;
    char last[TEXT_BYTES];
    last_line(log, last, sizeof last);
    return cn_fail(CN_ERR_CONFIG, "bench step: carnot train ended with code %d: %s (its log: %s)",
                   WIFEXITED(code) ? WEXITSTATUS(code) : 128 + WTERMSIG(code), last, log);
}

/* Sums of what the rows of steps 2, 3 ... say (step 1 warms up). */
static const char *const names[] = {"time/step_s",      "time/rollout_s", "time/reward_s",
                                    "time/logprob_s",   "time/train_s",   "time/pass_s",
                                    "time/algorithm_s", "time/other_s",   "perf/tokens"};
enum { STEP, ROLLOUT, REWARD, LOGPROB, TRAIN, PASS, ALGORITHM, OTHER, TOKENS, NAMES };

static enum cn_status read_metrics(const struct child *child, double sum[NAMES], size_t *n)
{
    FILE *file = fopen(child->metrics, "r");
    char *line = NULL;
    size_t capacity = 0;
    ssize_t length;
    enum cn_status status = CN_OK;
    if (!file) return cn_fail(CN_ERR_IO, "cannot open %s: %s", child->metrics, strerror(errno));
    while (status == CN_OK && (length = getline(&line, &capacity, file)) > 0) {
        struct cn_json *row = NULL;
        double step = 0;
        status = cn_json_parse((struct cn_text){line, (size_t)length}, child->metrics, &row);
        if (status == CN_OK) status = cn_json_real_or(row, "step", 0, &step);
        if (status == CN_OK && step >= 2) {
            ++*n;
            for (int i = 0; i < NAMES && status == CN_OK; i++) {
                double value;
                status = cn_json_real_or(row, names[i], 0, &value);
                sum[i] += value;
            }
        }
        cn_json_close(row);
    }
    free(line);
    fclose(file);
    return status;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *at)
{
    (void)info, (void)kind, (void)at;
    return remove(path);
}

/* The plan for the same arguments. */
static enum cn_status planned(struct child *child, uint64_t *bytes)
{
    struct session session;
    enum cn_status status = session_configure(&session, child->argc - 2, child->argv + 2);
    if (status == CN_OK) status = dry_run_bytes(&session, bytes);
    session_close(&session);
    return status;
}

/* Starts the child in a folder of its own, which is gone afterwards unless something failed. */
struct measured {
    double sum[NAMES], first; /* of steps 2 ..., and the seconds to the end of step 1 */
    size_t n_steps;
    uint64_t planned; /* bytes */
    struct rusage usage;
};

static enum cn_status measure_child(const struct bench_options *options, enum cn_dtype dtype,
                                    struct measured *out)
{
    char folder[] = "/tmp/carnot-bench-XXXXXX";
    struct child child = {.folder = folder};
    *out = (struct measured){.n_steps = 0};
    if (!mkdtemp(folder)) return cn_fail(CN_ERR_IO, "mkdtemp: %s", strerror(errno));
    snprintf(child.metrics, sizeof child.metrics, "%s/run/metrics.jsonl", folder);
    CN_TRY(arguments(options, dtype, &child));
    CN_TRY(planned(&child, &out->planned));
    CN_TRY(run_child(&child, &out->first, &out->usage));
    CN_TRY(read_metrics(&child, out->sum, &out->n_steps));
    nftw(folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return CN_OK;
}

static enum cn_status step_rows(const struct bench_options *options, enum cn_dtype dtype,
                                struct bench_roofs *roofs)
{
    struct bench_watch watch;
    struct measured m;
    (void)roofs;
    bench_watch_start(&watch);
    CN_TRY(measure_child(options, dtype, &m));
    if (m.n_steps == 0)
        return cn_fail(CN_ERR_CONFIG, "bench step: --steps 2 or more: the first warms up");
    const double k = 1 / (double)m.n_steps, own = m.sum[REWARD] + m.sum[OTHER];
    const double peak = 1024e-6 * (double)m.usage.ru_maxrss, plan = 1e-6 * (double)m.planned;
    bench_row(
        &watch,
        "step  %-4s: %.3f s = rollout %.3f + reward %.4f + score %.3f + train %.3f + other %.4f "
        "(neither decode nor model %.1f %%); passes for methods %.3f s, algorithm %.2f %%; "
        "%.1f tok/s; start to first step %.2f s; peak %.0f "
        "MB, planned %.0f MB (%+.0f %%)",
        dtype == CN_DTYPE_F32 ? "f32" : "bf16", k * m.sum[STEP], k * m.sum[ROLLOUT],
        k * m.sum[REWARD], k * m.sum[LOGPROB], k * m.sum[TRAIN], k * m.sum[OTHER],
        100 * own / m.sum[STEP], k * m.sum[PASS], 100 * m.sum[ALGORITHM] / m.sum[STEP],
        m.sum[TOKENS] / m.sum[STEP], m.first, peak, plan, 100 * (plan / peak - 1));
    return CN_OK;
}

enum cn_status bench_step(const struct bench_options *options)
{
    return bench_each_dtype(options, step_rows);
}

static enum cn_status start_rows(const struct bench_options *options, enum cn_dtype dtype,
                                 struct bench_roofs *roofs)
{
    static const char *const least[] = {"train.prompts=1", "train.samples=2",
                                        "rollout.max_tokens=8", "rollout.slots=2"};
    enum { LEAST = sizeof least / sizeof *least, STARTS = 5 };
    char *rest[LEAST];
    struct bench_options own = *options;
    struct bench_watch watch;
    double best = INFINITY, worst = 0;
    (void)roofs;
    for (int i = 0; i < LEAST; i++)
        rest[i] = (char *)least[i];
    own.rest = rest;
    own.n_rest = LEAST;
    own.steps = 1;
    bench_watch_start(&watch);
    for (int i = 0; i < STARTS; i++) {
        struct measured m;
        CN_TRY(measure_child(&own, dtype, &m));
        best = fmin(best, m.first);
        worst = fmax(worst, m.first);
    }
    bench_row(&watch, "start %-4s: %.3f s to the end of the first step (at worst %.3f s)",
              dtype == CN_DTYPE_F32 ? "f32" : "bf16", best, worst);
    return CN_OK;
}

enum cn_status bench_start(const struct bench_options *options)
{
    return bench_each_dtype(options, start_rows);
}
