/* The user's own program as a reward, in any language.
 *
 *     carnot  --  one JSON object per line  -->  program  --  one JSON object per line  -->  carnot
 *
 *     in   {"id": 0, "prompt": ..., "response": "...", "ground_truth": "...", "row": {...},
 *           "stop": "eos", "response_tokens": 12, "max_tokens": 64}
 *     out  {"id": 0, "score": 1, "verdict": "correct", "extracted": "...", "metrics": {"name": 1}}
 *
 * Started once, at the first answer, and again when it died.  Rows are sent ahead of the replies; a
 * reply may come in any order.  If none comes within the time limit the oldest open row is
 * `timeout`, if the program ends or answers nonsense it is `crashed`; both are left out of
 * training, the program is started anew and gets the other rows again.  A program that fails
 * several times in a row without a single reply ends the run. */
#include "carnot/json.h"
#include "carnot/log.h"
#include "carnot/reward.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 1 << 20, FAILURES_MAX = 3 };

/* The running program; pid 0: none. */
struct helper {
    pid_t pid;
    int in, out;          /* its input and output, ours to write and read; not blocking */
    struct cn_str unread; /* what it wrote, up to the last whole line that was taken */
    int failures;         /* in a row, without a reply between */
    pthread_mutex_t lock;
};

struct settings {
    struct cn_texts program;
    double time_s;
    int64_t ahead;
    struct helper *helper;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "program", .kind = CN_OPTION_TEXTS, .offset = offsetof(struct settings, program), .fallback = "[]",
     .help = "the program and its arguments: [\"python3\", \"my_reward.py\"]; found through PATH, started in the current folder"},
    {.name = "time_s", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, time_s), .fallback = "10", .minimum = 0.01, .maximum = 86400,
     .unit = "s", .help = "longest wait for the next reply"},
    {.name = "ahead", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, ahead), .fallback = "64", .minimum = 1, .maximum = 1e6,
     .unit = "rows", .help = "how many rows may be on the way at a time; 1 if the program starts to work at once and must not be blamed for the next row"},
    {0},
};
// clang-format on

/* One call of score. */
struct job {
    const struct settings *settings;
    const struct cn_episode *episodes;
    size_t n;
    struct cn_arena *arena;
    struct cn_outcome *out;
    bool *done;        /* (n) */
    size_t sent, open; /* rows given to the program; of those, without a reply */
    struct cn_str unsent;
    size_t unsent_from;
    double deadline;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* ---- the process --------------------------------------------------------- */

static void stop_helper(struct helper *h)
{
    if (h->pid <= 0) return;
    close(h->in);
    close(h->out);
    kill(-h->pid, SIGKILL);
    while (waitpid(h->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    h->pid = 0;
    cn_str_clear(&h->unread);
}

static int spawn_with(const struct settings *settings, int in, int out, pid_t *pid)
{
    extern char **environ;
    char *argv[64] = {0};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    for (size_t i = 0; i < settings->program.count && i < 63; i++)
        argv[i] = (char *)(uintptr_t)settings->program.value[i];
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in, 0);
    posix_spawn_file_actions_adddup2(&actions, out, 1);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
    posix_spawnattr_setsigmask(&attributes, &none);
    int fault = posix_spawnp(pid, argv[0], &actions, &attributes, argv, environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return fault;
}

static enum cn_status start_helper(const struct settings *settings)
{
    struct helper *h = settings->helper;
    int in[2], out[2];
    if (pipe2(in, O_CLOEXEC) != 0)
        return cn_fail(CN_ERR_VERIFIER, "rewards.command: no pipe: %s", strerror(errno));
    if (pipe2(out, O_CLOEXEC) != 0) {
        close(in[0]), close(in[1]);
        return cn_fail(CN_ERR_VERIFIER, "rewards.command: no pipe: %s", strerror(errno));
    }
    int fault = spawn_with(settings, in[0], out[1], &h->pid);
    close(in[0]);
    close(out[1]);
    h->in = in[1];
    h->out = out[0];
    if (fault) {
        close(h->in), close(h->out);
        h->pid = 0;
        return cn_fail(CN_ERR_VERIFIER, "rewards.command: cannot start \"%s\": %s",
                       settings->program.value[0], strerror(fault));
    }
    fcntl(h->in, F_SETFL, O_NONBLOCK);
    fcntl(h->out, F_SETFL, O_NONBLOCK);
    return CN_OK;
}

/* ---- rows ---------------------------------------------------------------- */

static enum cn_status add_text(struct cn_str *out, const char *key, struct cn_text text)
{
    CN_TRY(cn_str_format(out, ", \"%s\": ", key));
    return cn_json_quote(out, text);
}

static enum cn_status add_prompt(struct cn_str *out, const struct cn_episode *e)
{
    if (!e->prompt.count) return add_text(out, "prompt", e->prompt_text);
    CN_TRY(cn_str_add(out, ", \"prompt\": ["));
    for (size_t i = 0; i < e->prompt.count; i++) {
        const struct cn_message *m = &e->prompt.item[i];
        CN_TRY(cn_str_add(out, i ? ", {\"role\": " : "{\"role\": "));
        CN_TRY(cn_json_quote(out, cn_text(m->role)));
        CN_TRY(add_text(out, "content", m->content));
        CN_TRY(cn_str_add(out, "}"));
    }
    return cn_str_add(out, "]");
}

static enum cn_status add_row(struct cn_str *out, size_t id, const struct cn_episode *e)
{
    CN_TRY(cn_str_format(out, "{\"id\": %zu", id));
    CN_TRY(add_prompt(out, e));
    CN_TRY(add_text(out, "response", e->response));
    CN_TRY(add_text(out, "ground_truth", e->ground_truth));
    if (e->row.length) {
        CN_TRY(cn_str_add(out, ", \"row\": "));
        size_t from = out->length;
        CN_TRY(cn_str_append(out, e->row.data, e->row.length));
        for (; from < out->length; from++) /* raw JSON holds line ends between its members only */
            if (out->data[from] == '\n' || out->data[from] == '\r') out->data[from] = ' ';
    }
    return cn_str_format(out,
                         ", \"stop\": \"%s\", \"response_tokens\": %zu, \"max_tokens\": %zu}\n",
                         cn_stop_name(e->stop), e->response_tokens, e->max_tokens);
}

/* ---- replies ------------------------------------------------------------- */

static bool find_verdict(struct cn_text word, enum cn_verdict *out)
{
    for (unsigned v = 0; v < CN_VERDICT_COUNT; v++)
        if (cn_text_is(word, cn_verdict_name((enum cn_verdict)v))) {
            *out = (enum cn_verdict)v;
            return true;
        }
    return false;
}

static enum cn_status take_metrics(const struct cn_json *metrics, struct cn_arena *arena,
                                   struct cn_outcome *out)
{
    for (const struct cn_json *m = cn_json_first(metrics); m; m = cn_json_next(m)) {
        char *name;
        if (cn_json_kind(m) != CN_JSON_NUMBER && cn_json_kind(m) != CN_JSON_BOOL) continue;
        if (out->n_metrics == CN_OUTCOME_METRICS_MAX || !isfinite(cn_json_number(m))) continue;
        CN_TRY(cn_arena_text(arena, cn_json_key(m), strlen(cn_json_key(m)), &name));
        double value = cn_json_kind(m) == CN_JSON_BOOL ? cn_json_bool(m) : cn_json_number(m);
        out->metric[out->n_metrics++] = (struct cn_named){name, value};
    }
    return CN_OK;
}

/* Reads one reply into its outcome; false if it is not one. */
static bool take_reply(struct job *job, const struct cn_json *reply)
{
    const struct cn_json *score = cn_json_get(reply, "score");
    const struct cn_json *verdict = cn_json_get(reply, "verdict");
    const struct cn_text extracted = cn_json_text(cn_json_get(reply, "extracted"));
    const double id = cn_json_number(cn_json_get(reply, "id")), value = cn_json_number(score);
    const bool has = cn_json_kind(score) == CN_JSON_NUMBER;
    char *copy;
    if (cn_json_kind(cn_json_get(reply, "id")) != CN_JSON_NUMBER || !(id >= 0) ||
        !(id < (double)job->sent) || floor(id) != id || job->done[(size_t)id])
        return false;
    if ((!has && cn_json_kind(score) != CN_JSON_NULL) || !isfinite(value)) return false;
    struct cn_outcome out = {.score = value, .has_score = has};
    out.verdict = !has ? CN_VERDICT_UNSCORED : value > 0 ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
    if (cn_json_kind(verdict) != CN_JSON_NULL && !find_verdict(cn_json_text(verdict), &out.verdict))
        return false;
    if (cn_arena_text(job->arena, extracted.data ? extracted.data : "", extracted.length, &copy) !=
            CN_OK ||
        take_metrics(cn_json_get(reply, "metrics"), job->arena, &out) != CN_OK)
        return false;
    out.extracted = (struct cn_text){copy, extracted.length};
    job->out[(size_t)id] = out;
    job->done[(size_t)id] = true;
    job->open--;
    return true;
}

/* Takes whole lines; false if one of them is no reply. */
static bool take_lines(struct job *job)
{
    struct helper *h = job->settings->helper;
    size_t from = 0;
    bool good = true;
    for (const char *end; good && from < h->unread.length;
         from = (size_t)(end - h->unread.data) + 1) {
        struct cn_json *reply = NULL;
        end = memchr(h->unread.data + from, '\n', h->unread.length - from);
        if (!end) break;
        struct cn_text line = {h->unread.data + from, (size_t)(end - h->unread.data) - from};
        good = cn_json_parse(line, "reply", &reply) == CN_OK && take_reply(job, reply);
        cn_json_close(reply);
        if (!good) {
            cn_log_warn("rewards.command: this is no reply: %.*s",
                        (int)(line.length < 200 ? line.length : 200), line.data);
            cn_fail_clear();
        } else {
            job->deadline = now_s() + job->settings->time_s;
            h->failures = 0;
        }
    }
    if (from && h->unread.length) {
        memmove(h->unread.data, h->unread.data + from, h->unread.length - from);
        h->unread.length -= from;
    }
    return good && h->unread.length <= LINE_MAX_BYTES;
}

/* ---- the conversation ---------------------------------------------------- */

/* Gives rows that have no reply yet to a new program, from the first. */
static void rewind_job(struct job *job)
{
    cn_str_clear(&job->unsent);
    job->unsent_from = 0;
    job->sent = 0;
    job->open = 0;
}

static enum cn_status fill_unsent(struct job *job)
{
    if (job->unsent_from == job->unsent.length) {
        cn_str_clear(&job->unsent);
        job->unsent_from = 0;
    }
    for (; job->sent < job->n && job->open < (size_t)job->settings->ahead &&
           job->unsent.length < LINE_MAX_BYTES;
         job->sent++) {
        if (job->done[job->sent]) continue;
        CN_TRY(add_row(&job->unsent, job->sent, &job->episodes[job->sent]));
        job->open++;
    }
    return CN_OK;
}

/* Reads and writes what is possible until the next event.  *fault says what went wrong, if
 * anything. */
static enum cn_status exchange(struct job *job, enum cn_verdict *fault)
{
    struct helper *h = job->settings->helper;
    char piece[65536];
    CN_TRY(fill_unsent(job));
    const size_t left = job->unsent.length - job->unsent_from;
    struct pollfd fds[] = {{.fd = h->out, .events = POLLIN},
                           {.fd = left ? h->in : -1, .events = POLLOUT}};
    const double wait = job->deadline - now_s();
    poll(fds, 2, wait > 0 ? (int)(1e3 * wait) + 1 : 0);
    if (left) {
        ssize_t n = write(h->in, job->unsent.data + job->unsent_from, left);
        if (n > 0) job->unsent_from += (size_t)n;
    }
    ssize_t n = read(h->out, piece, sizeof piece);
    if (n > 0) CN_TRY(cn_str_append(&h->unread, piece, (size_t)n));
    bool ended = n == 0 || (n < 0 && errno != EAGAIN && errno != EINTR);
    if (!take_lines(job) || (ended && job->open))
        *fault = CN_VERDICT_CRASHED;
    else if (now_s() > job->deadline && job->open)
        *fault = CN_VERDICT_TIMEOUT;
    return CN_OK;
}

/* The oldest row without a reply is what the program failed at. */
static enum cn_status blame(struct job *job, enum cn_verdict verdict)
{
    struct helper *h = job->settings->helper;
    size_t i = 0;
    while (i < job->n && job->done[i])
        i++;
    if (i < job->n) {
        job->out[i] = (struct cn_outcome){.verdict = verdict};
        job->done[i] = true;
    }
    stop_helper(h);
    rewind_job(job);
    if (++h->failures < FAILURES_MAX) return CN_OK;
    return cn_fail(
        CN_ERR_VERIFIER,
        "rewards.command: \"%s\" %s %d times in a row without a reply; try it by hand: it "
        "reads one JSON object per line and prints one {\"id\": .., \"score\": ..} for each",
        job->settings->program.value[0],
        verdict == CN_VERDICT_TIMEOUT ? "took longer than time_s" : "ended or printed no reply",
        h->failures);
}

static bool all_done(const struct job *job)
{
    for (size_t i = 0; i < job->n; i++)
        if (!job->done[i]) return false;
    return true;
}

static enum cn_status converse(struct job *job)
{
    struct helper *h = job->settings->helper;
    while (!all_done(job)) {
        enum cn_verdict fault = CN_VERDICT_COUNT;
        if (!h->pid) {
            CN_TRY(start_helper(job->settings));
            job->deadline = now_s() + job->settings->time_s;
        }
        CN_TRY(exchange(job, &fault));
        if (fault != CN_VERDICT_COUNT) CN_TRY(blame(job, fault));
    }
    return CN_OK;
}

/* A program that is gone must not end us when we write to it. */
static void hold_sigpipe(sigset_t *before)
{
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_only, before);
}

static void release_sigpipe(const sigset_t *before)
{
    const struct timespec at_once = {0, 0};
    sigset_t pipe_only;
    sigemptyset(&pipe_only);
    sigaddset(&pipe_only, SIGPIPE);
    if (!sigismember(before, SIGPIPE)) sigtimedwait(&pipe_only, NULL, &at_once);
    pthread_sigmask(SIG_SETMASK, before, NULL);
}

static enum cn_status command_score(const void *given, const struct cn_episode *episodes, size_t n,
                                    struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    struct job job = {
        .settings = settings, .episodes = episodes, .n = n, .arena = arena, .out = out};
    sigset_t before;
    CN_TRY(CN_NEW(arena, n, &job.done));
    pthread_mutex_lock(&settings->helper->lock);
    hold_sigpipe(&before);
    job.deadline = now_s() + settings->time_s;
    enum cn_status status = converse(&job);
    if (status != CN_OK) stop_helper(settings->helper);
    release_sigpipe(&before);
    pthread_mutex_unlock(&settings->helper->lock);
    cn_str_free(&job.unsent);
    return status;
}

static enum cn_status command_open(void *given, struct cn_arena *arena)
{
    struct settings *settings = given;
    if (!settings->program.count || !*settings->program.value[0])
        return cn_fail(CN_ERR_CONFIG,
                       "program is empty: name one, such as [\"python3\", \"my_reward.py\"]");
    CN_TRY(CN_NEW(arena, 1, &settings->helper));
    pthread_mutex_init(&settings->helper->lock, NULL);
    return CN_OK;
}

static void command_close(void *given)
{
    struct settings *settings = given;
    stop_helper(settings->helper);
    cn_str_free(&settings->helper->unread);
    pthread_mutex_destroy(&settings->helper->lock);
}

const struct cn_reward cn_reward_command = {
    .name = "command",
    .summary = "scores by a program of yours: JSON lines in, scores out",
    .reference = "the protocol is that of carnot grade",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .starts_programs = true,
    .open = command_open,
    .close = command_close,
    .score = command_score,
};
