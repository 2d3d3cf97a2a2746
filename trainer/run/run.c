/* The run folder and the wish to stop. */
#include "run.h"

#include "history.h"

#include "carnot/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

struct run_folder {
    char *path;
    const char *command; /* that the run belongs to */
    int lock;            /* file descriptor of run.lock; -1: another rank holds it */
    int attempt, rank;
};

static enum cn_status join(const struct run_folder *run, const char *name, struct cn_str *out)
{
    cn_str_clear(out);
    return cn_str_format(out, "%s/%s", run->path, name);
}

static bool exists(const struct run_folder *run, const char *name)
{
    struct cn_str path = {0};
    struct stat info;
    bool there = join(run, name, &path) == CN_OK && stat(path.data, &info) == 0;
    cn_str_free(&path);
    return there;
}

/* run.dir with {name} and {seed} replaced. */
static enum cn_status expand(const struct run_settings *run, struct cn_str *out)
{
    for (const char *c = run->dir; *c; c++) {
        if (strncmp(c, "{name}", 6) == 0) {
            CN_TRY(cn_str_add(out, run->name));
            c += 5;
        } else if (strncmp(c, "{seed}", 6) == 0) {
            CN_TRY(cn_str_format(out, "%lld", (long long)run->seed));
            c += 5;
        } else {
            CN_TRY(cn_str_append(out, c, 1));
        }
    }
    return CN_OK;
}

static enum cn_status write_file(const struct run_folder *run, const char *name,
                                 struct cn_text text)
{
    struct cn_str path = {0};
    if (run->rank != 0) return CN_OK;
    enum cn_status status = join(run, name, &path);
    if (status == CN_OK) status = cn_file_replace(path.data, text.data, text.length);
    cn_str_free(&path);
    return status;
}

static enum cn_status take_lock(struct run_folder *run)
{
    struct cn_str path = {0};
    struct utsname host;
    char holder[256] = "";
    CN_TRY(join(run, "run.lock", &path));
    run->lock = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int reason = errno;
    cn_str_free(&path);
    if (run->lock < 0)
        return cn_fail(CN_ERR_IO, "cannot open %s/run.lock: %s", run->path, strerror(reason));
    if (flock(run->lock, LOCK_EX | LOCK_NB)) {
        ssize_t n = pread(run->lock, holder, sizeof holder - 1, 0);
        holder[n > 0 ? n : 0] = 0;
        return cn_fail(CN_ERR_CONFIG,
                       "run folder %s is in use by %s; wait for it, or choose another run.dir or "
                       "run.name",
                       run->path, holder[0] ? holder : "another process");
    }
    uname(&host);
    int n = snprintf(holder, sizeof holder, "host %s pid %ld", host.nodename, (long)getpid());
    if (ftruncate(run->lock, 0) || pwrite(run->lock, holder, (size_t)n, 0) != n)
        return cn_fail(CN_ERR_IO, "cannot write %s/run.lock: %s", run->path, strerror(errno));
    return CN_OK;
}

static enum cn_status write_environment(const struct run_folder *run)
{
    struct cn_str text = {0};
    struct utsname host;
    uname(&host);
    enum cn_status status =
        cn_str_format(&text,
                      "{\n  \"version\": \"%s\",\n  \"host\": \"%s\",\n  \"kernel\": \"%s %s\",\n"
                      "  \"machine\": \"%s\",\n  \"cores\": %ld,\n  \"attempt\": %d\n}\n",
                      CN_VERSION, host.nodename, host.sysname, host.release, host.machine,
                      sysconf(_SC_NPROCESSORS_ONLN), run->attempt);
    if (status == CN_OK) status = write_file(run, "env.json", cn_str_text(&text));
    cn_str_free(&text);
    return status;
}

enum cn_status run_begin(const struct run_folder *run, const struct run_start *start)
{
    struct cn_str command = {0};
    enum cn_status status = write_file(run, "config.resolved.json", start->resolved);
    for (size_t i = 0; status == CN_OK && start->command[i]; i++)
        status = cn_str_format(&command, "%s\n", start->command[i]);
    if (status == CN_OK) status = write_file(run, "overrides.txt", cn_str_text(&command));
    cn_str_free(&command);
    CN_TRY(status);
    return write_environment(run);
}

static enum cn_status make_folders(struct run_folder *run)
{
    static const char *const folders[] = {"checkpoints", "tokens", "samples", "eval", "logs", NULL};
    struct cn_str path = {0};
    enum cn_status status = CN_OK;
    for (int i = 0; folders[i] && status == CN_OK; i++) {
        status = join(run, folders[i], &path);
        if (status == CN_OK) status = cn_folder_make(path.data);
    }
    for (run->attempt = 1; status == CN_OK && run->attempt < 100000; run->attempt++) {
        cn_str_clear(&path);
        status = cn_str_format(&path, "%s/logs/attempt_%d", run->path, run->attempt);
        if (status == CN_OK && access(path.data, F_OK) != 0) break;
    }
    if (status == CN_OK) status = cn_folder_make(path.data);
    cn_str_free(&path);
    return status;
}

/* The log of this rank, in the folder of the attempt that rank 0 has made. */
static enum cn_status open_log(struct run_folder *run, struct cn_comm *comm)
{
    struct cn_str path = {0};
    int64_t attempt = run->attempt;
    const struct cn_comm_data data = {"attempt", CN_DTYPE_I64, &attempt, 1};
    CN_TRY(cn_comm_broadcast(comm, &data, 0));
    run->attempt = (int)attempt;
    enum cn_status status = cn_str_format(&path, "%s/logs/attempt_%d", run->path, run->attempt);
    if (status == CN_OK) cn_comm_logs(comm, path.data);
    if (status == CN_OK) status = cn_str_format(&path, "/rank_%04d.log", run->rank);
    if (status == CN_OK) status = cn_log_file(path.data);
    cn_str_free(&path);
    return status;
}

/* A folder belongs to the command that began its run. */
static enum cn_status check_owner(const struct run_folder *run)
{
    struct cn_json *report;
    CN_TRY(history_file(run->path, "STATUS.json", &report));
    const struct cn_text owner = cn_json_text(cn_json_get(report, "command"));
    enum cn_status status = CN_OK;
    if (owner.length && !cn_text_is(owner, run->command))
        status = cn_fail(CN_ERR_CONFIG,
                         "run folder %s holds a run of carnot %.*s; choose another run.dir or "
                         "run.name for carnot %s",
                         run->path, (int)owner.length, owner.data, run->command);
    cn_json_close(report);
    return status;
}

/* Rank 0 takes the folder. */
static enum cn_status enter(struct run_folder *run, const struct run_start *start)
{
    CN_TRY(cn_folder_make(run->path));
    CN_TRY(take_lock(run));
    CN_TRY(check_owner(run));
    if (start->deny_existing && exists(run, "STATUS.json"))
        return cn_fail(CN_ERR_CONFIG,
                       "a run stands in %s already and run.resume=never; choose another "
                       "run.name, or run.resume=auto to go on with it",
                       run->path);
    return make_folders(run);
}

enum cn_status run_open(const struct run_start *start, struct run_folder **out)
{
    struct run_folder *run = calloc(1, sizeof *run);
    struct cn_str path = {0};
    enum cn_status status;
    if (!run) return cn_fail(CN_ERR_MEMORY, "out of memory");
    run->lock = -1;
    run->rank = cn_comm_rank(start->comm);
    run->command = start->command[0];
    CN_TRY_GOTO(expand(&start->settings->run, &path), out);
    run->path = path.data;
    status = run->rank == 0 ? enter(run, start) : CN_OK;
    CN_TRY_GOTO(cn_comm_agree(start->comm, "run folder", status), out);
    CN_TRY_GOTO(open_log(run, start->comm), out);
    *out = run;
    return CN_OK;
out:
    run->path = path.data;
    run_close(run);
    return status;
}

void run_close(struct run_folder *take_run)
{
    if (!take_run) return;
    cn_log_file(NULL);
    if (take_run->lock >= 0) close(take_run->lock);
    free(take_run->path);
    free(take_run);
}

const char *run_path(const struct run_folder *run)
{
    return run->path;
}

int run_attempt(const struct run_folder *run)
{
    return run->attempt;
}

bool run_has_pruned(const struct run_folder *run)
{
    return exists(run, "PRUNE");
}

enum cn_status run_status_write(struct run_folder *run, const struct run_status *status)
{
    struct cn_str text = {0};
    char stamp[32];
    struct tm parts;
    time_t now = time(NULL);
    gmtime_r(&now, &parts);
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%SZ", &parts);
    enum cn_status result = cn_str_format(
        &text,
        "{\n  \"command\": \"%s\",\n  \"state\": \"%s\",\n  \"step\": %llu,\n  \"objective\": ",
        run->command, status->state, (unsigned long long)status->step);
    if (result == CN_OK) result = cn_json_real(&text, status->objective, 9);
    if (result == CN_OK) result = cn_str_add(&text, ",\n  \"best\": ");
    if (result == CN_OK) result = cn_json_real(&text, status->best, 9);
    if (result == CN_OK)
        result =
            cn_str_format(&text, ",\n  \"exit_code\": %d,\n  \"message\": ", status->exit_code);
    if (result == CN_OK) result = cn_json_quote(&text, cn_text(status->message));
    if (result == CN_OK) result = cn_str_format(&text, ",\n  \"time\": \"%s\"\n}\n", stamp);
    if (result == CN_OK) result = write_file(run, "STATUS.json", cn_str_text(&text));
    cn_str_free(&text);
    return result;
}

enum cn_status run_append(struct run_folder *run, const char *file, struct cn_text lines)
{
    struct cn_str path = {0};
    if (run->rank != 0) return CN_OK;
    CN_TRY(join(run, file, &path));
    int fd = open(path.data, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    enum cn_status status = CN_OK;
    if (fd < 0) status = cn_fail(CN_ERR_IO, "cannot open %s: %s", path.data, strerror(errno));
    for (size_t done = 0; status == CN_OK && done < lines.length;) {
        ssize_t wrote = write(fd, lines.data + done, lines.length - done);
        if (wrote < 0 && errno != EINTR)
            status = cn_fail(CN_ERR_IO, "cannot write %s: %s", path.data, strerror(errno));
        done += wrote > 0 ? (size_t)wrote : 0;
    }
    if (fd >= 0) close(fd);
    cn_str_free(&path);
    return status;
}

enum cn_status run_metrics_write(struct run_folder *run, const char *file, uint64_t step,
                                 const struct cn_metrics *metrics)
{
    struct cn_str line = {0};
    size_t not_finite = 0;
    enum cn_status status = cn_str_format(&line, "{\"step\": %llu", (unsigned long long)step);
    for (size_t i = 0; status == CN_OK && i < metrics->count; i++) {
        double value = cn_metric_value(&metrics->item[i]);
        if (!isfinite(value)) not_finite++;
        if (!isfinite(value)) continue;
        status = cn_str_format(&line, ", \"%s\": ", metrics->item[i].name);
        if (status == CN_OK) status = cn_json_real(&line, value, 9);
    }
    if (status == CN_OK && not_finite)
        status = cn_str_format(&line, ", \"not_finite\": %zu", not_finite);
    if (status == CN_OK) status = cn_str_add(&line, "}\n");
    if (status == CN_OK) status = run_append(run, file, cn_str_text(&line));
    cn_str_free(&line);
    return status;
}

static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    if (caught && number != SIGUSR1) _exit(128 + number);
    caught = number;
}

void run_signals_catch(void)
{
    const int numbers[] = {SIGINT, SIGTERM, SIGUSR1};
    struct sigaction action = {.sa_handler = on_signal};
    sigemptyset(&action.sa_mask);
    action.sa_flags = SA_RESTART;
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        sigaction(numbers[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

int run_signal(void)
{
    return caught;
}

bool run_terminated(void)
{
    return caught == SIGTERM;
}
