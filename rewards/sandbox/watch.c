/* Watching a job from outside: reads what it prints, lets it go once its limits stand, looks at all
 * its processes every few milliseconds, and ends the whole namespace at a limit. */
#include "parts.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { FDS_EACH = 4, TICK_FIRST_MS = 5, TICK_MS = 20, OVERDUE = 4 };

double sandbox_clock(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static void shut(int *fd)
{
    if (*fd >= 0) close(*fd);
    *fd = -1;
}

/* Ends the namespace through its first process, and never bwrap alone: without bwrap that process
 * may wait for ever.  If it is not known yet, let_go does this as soon as it is. */
void sandbox_kill(struct sandbox_process *process, enum sandbox_end why)
{
    if (!process->killed) process->result->end = why;
    process->killed = true;
    if (process->folder[0] && process->pid > 0) kill(-process->pid, SIGKILL);
    if (process->inside_fd >= 0)
        syscall(SYS_pidfd_send_signal, process->inside_fd, SIGKILL, NULL, 0);
}

static void fail(struct sandbox_process *p, const char *what)
{
    if (!p->killed)
        snprintf(p->result->why, sizeof p->result->why, "%s: %s", what, strerror(errno));
    sandbox_kill(p, SANDBOX_END_BROKEN);
}

/* Appends what there is to read, up to `limit` bytes in all; closes the descriptor at its end.
 * True: there was more than the limit. */
static enum cn_status drain(int *fd, size_t limit, struct cn_str *out, bool *over)
{
    char piece[65536];
    ssize_t n = 1;
    while (n > 0) {
        n = read(*fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            n = 1;
        else if (n > 0) {
            size_t room = limit - out->length, take = (size_t)n < room ? (size_t)n : room;
            *over = *over || (size_t)n > room;
            CN_TRY(cn_str_append(out, piece, take));
            if (*over) break;
        }
    }
    if (n == 0 || (n < 0 && errno != EAGAIN)) shut(fd);
    return CN_OK;
}

/* ---- the start ----------------------------------------------------------- */

/* The number behind "key": in a line that bwrap reported, or -1. */
static long reported(const struct sandbox_process *p, const char *key)
{
    const char *at = p->report.data ? strstr(p->report.data, key) : NULL;
    return at && strchr(at, '\n') ? strtol(at + strlen(key), NULL, 10) : -1;
}

/* bwrap has named the first process of the namespace: sets the limit that counts inside only, and
 * lets the program start. */
static void let_go(struct sandbox_process *p)
{
    long inside = reported(p, "\"child-pid\": ");
    if (p->let_go || inside <= 0) return;
    p->let_go = true;
    p->inside = (pid_t)inside;
    p->inside_fd = (int)syscall(SYS_pidfd_open, p->inside, 0);
    if (p->inside_fd < 0 && errno == ESRCH) return; /* over already: bwrap says why */
    if (p->killed) {
        sandbox_kill(p, p->result->end);
        return;
    }
    errno = p->inside_fd < 0
                ? errno
                : sandbox_limit_processes(p->sandbox, p->inside, p->job->limits.processes + 1);
    if (errno) {
        fail(p, "cannot limit its processes");
        return;
    }
    if (write(p->block, "", 1) != 1) fail(p, "cannot start it");
    shut(&p->block);
}

/* ---- the end ------------------------------------------------------------- */

/* The last line that bwrap printed about itself. */
static void take_reason(struct sandbox_process *p)
{
    const char *text = p->result->error.data ? p->result->error.data : "";
    const char *at = strstr(text, "bwrap: ");
    if (!at) at = "bubblewrap ended before the program began";
    snprintf(p->result->why, sizeof p->result->why, "%.*s", (int)strcspn(at, "\n"), at);
    p->result->end = SANDBOX_END_BROKEN;
}

static void take_end(struct sandbox_process *p, int status, const struct rusage *used)
{
    struct sandbox_result *r = p->result;
    const struct sandbox_limits *limits = &p->job->limits;
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    r->wall_s = sandbox_clock() - p->start;
    r->time_s = (double)used->ru_utime.tv_sec + (double)used->ru_stime.tv_sec +
                1e-6 * (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec);
    if (r->time_s < p->cpu_s) r->time_s = p->cpu_s;
    if (r->memory_mb < (size_t)used->ru_maxrss >> 10) r->memory_mb = (size_t)used->ru_maxrss >> 10;
    if (p->killed) return;
    r->exit_code = code;
    r->end = SANDBOX_END_EXITED;
    if (!p->folder[0] && reported(p, "\"exit-code\": ") < 0)
        take_reason(p);
    else if (r->time_s >= limits->time_s)
        r->end = SANDBOX_END_TIME;
    else if (code == 128 + SIGXFSZ)
        r->end = SANDBOX_END_DISK;
}

/* Reads whatever waits in the pipes; too much output ends the job. */
static enum cn_status read_pipes(struct sandbox_process *p)
{
    const size_t limit = p->job->limits.output_kb << 10;
    bool over = false, chatty = false;
    if (p->out >= 0) CN_TRY(drain(&p->out, limit, &p->result->out, &over));
    if (p->error >= 0) CN_TRY(drain(&p->error, limit, &p->result->error, &over));
    if (p->status >= 0) CN_TRY(drain(&p->status, 4096, &p->report, &chatty));
    if (over && !p->ended) sandbox_kill(p, SANDBOX_END_OUTPUT);
    return CN_OK;
}

/* Ends and reaps the first process of the namespace, which ends after everything else in it.  It is
 * our child since bwrap, its parent, is gone (sandbox_open made us the reaper of orphans). */
static void reap_inside(struct sandbox_process *p, struct rusage *used)
{
    struct pollfd gone = {.fd = p->inside_fd, .events = POLLIN};
    pid_t got;
    if (p->inside_fd < 0) return;
    syscall(SYS_pidfd_send_signal, p->inside_fd, SIGKILL, NULL, 0);
    do
        got = wait4(p->inside, NULL, 0, used);
    while (got < 0 && errno == EINTR);
    if (got < 0) poll(&gone, 1, -1);
}

/* Reaps the job if it is over; what the pipes hold then is all there will be. */
static enum cn_status try_reap(struct sandbox_process *p)
{
    struct rusage used;
    int status;
    pid_t got = wait4(p->pid, &status, WNOHANG, &used);
    if (got == 0 || (got < 0 && errno == EINTR)) return CN_OK;
    CN_BUG_IF(got < 0);
    if (p->folder[0]) kill(-p->pid, SIGKILL); /* what it left behind */
    reap_inside(p, &used);
    p->pid = 0;
    p->ended = true;
    CN_TRY(read_pipes(p));
    take_end(p, status, &used);
    return CN_OK;
}

/* ---- the loop ------------------------------------------------------------ */

/* Waits for output, an end, or the next tick. */
static void pause_for(struct sandbox_process *processes, size_t n, int tick_ms)
{
    struct pollfd fds[SANDBOX_JOBS_MAX * FDS_EACH];
    nfds_t count = 0;
    for (size_t i = 0; i < n; i++) {
        const struct sandbox_process *p = &processes[i];
        const int watched[FDS_EACH] = {p->out, p->error, p->status, p->pid_fd};
        for (int k = 0; k < FDS_EACH && !p->ended; k++)
            if (watched[k] >= 0) fds[count++] = (struct pollfd){.fd = watched[k], .events = POLLIN};
    }
    poll(fds, count, tick_ms);
}

static void check_clock(struct sandbox_process *p)
{
    const double wall = sandbox_clock() - p->start, limit = p->job->limits.wall_s;
    if (wall - p->waited_s > limit)
        sandbox_kill(p, SANDBOX_END_WALL);
    else if (wall > OVERDUE * limit)
        sandbox_kill(p, SANDBOX_END_STARVED);
}

static enum cn_status attend(struct sandbox_process *p, bool tick)
{
    if (p->ended) return CN_OK;
    CN_TRY(read_pipes(p));
    let_go(p);
    if (tick && !p->killed) {
        sandbox_measure(p);
        check_clock(p);
    }
    return try_reap(p);
}

enum cn_status sandbox_watch(struct sandbox_process *processes, size_t n)
{
    double next = sandbox_clock() + 1e-3 * TICK_FIRST_MS;
    for (size_t open = n; open > 0;) {
        double left = next - sandbox_clock();
        pause_for(processes, n, left > 0 ? (int)(1e3 * left) + 1 : 0);
        bool tick = sandbox_clock() >= next;
        if (tick) next = sandbox_clock() + 1e-3 * TICK_MS;
        open = 0;
        for (size_t i = 0; i < n; i++) {
            CN_TRY(attend(&processes[i], tick));
            open += !processes[i].ended;
        }
        for (size_t i = 0; i < n && open < n; i++)
            if (!processes[i].ended) sandbox_kill(&processes[i], SANDBOX_END_STOPPED);
    }
    return CN_OK;
}
