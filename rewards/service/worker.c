/* Reads as many answers as have come, scores each, sends the results together. */
#include "worker.h"

#include "confine.h"
#include "frame.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum {
    READ_BYTES = 1 << 16,
    SEND_BYTES = 1 << 16, /* results are sent at the latest when they are this many bytes */
    KEEP_BYTES = 1 << 22  /* larger buffers are given back after use */
};

static const double hold_s = 0.0005; /* longest that a result waits while quick ones follow */

struct worker {
    const struct worker_start *start;
    struct cn_str in, out;
    size_t used; /* bytes of `in` that are done */
    double sent; /* when results were last sent, s */
    struct cn_arena arena;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static bool send_results(struct worker *w)
{
    for (size_t done = 0; done < w->out.length;) {
        const ssize_t n = write(w->start->socket, w->out.data + done, w->out.length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    cn_str_clear(&w->out);
    w->sent = now_s();
    return true;
}

/* Appends the result of one answer.  A reward that fails leaves it unscored. */
static enum cn_status score(struct worker *w, struct cn_text body, uint64_t ticket)
{
    const struct cn_service_scorer *scorer = w->start->scorer;
    struct cn_service_result result = {.has_score = false};
    struct cn_episode episode;
    const size_t begin = w->out.length;
    CN_TRY(frame_read_episode(body, &w->arena, &episode));
    enum cn_status status = scorer->score(scorer->self, &episode, &w->arena, &result);
    if (status == CN_OK) {
        CN_TRY(frame_result(&result, w->start->extracted_max, &w->out));
    } else {
        CN_TRY(frame_verdict(status == CN_ERR_MEMORY ? CN_VERDICT_TOO_LARGE : CN_VERDICT_UNSCORED,
                             &w->out));
        cn_fail_clear();
    }
    memcpy(w->out.data + begin + offsetof(struct frame_head, ticket), &ticket, sizeof ticket);
    return CN_OK;
}

/* Scores the complete frames of the buffer. */
static bool work(struct worker *w)
{
    struct frame_head head;
    while (w->in.length - w->used >= sizeof head) {
        memcpy(&head, w->in.data + w->used, sizeof head);
        if (w->in.length - w->used - sizeof head < head.length) break;
        const struct cn_text body = {w->in.data + w->used + sizeof head, head.length};
        atomic_store(&w->start->progress->started, head.ticket);
        if (score(w, body, head.ticket) != CN_OK) return false;
        if (w->arena.used > KEEP_BYTES)
            cn_arena_free(&w->arena);
        else
            cn_arena_reset(&w->arena);
        w->used += sizeof head + head.length;
        if ((w->out.length >= SEND_BYTES || now_s() - w->sent > hold_s) && !send_results(w))
            return false;
    }
    return send_results(w);
}

/* Makes room for the rest of the frame that has begun. */
static bool make_room(struct worker *w)
{
    struct frame_head head = {0, 0, 0};
    const size_t left = w->in.length - w->used;
    if (left) memmove(w->in.data, w->in.data + w->used, left);
    if (!left && w->in.capacity > KEEP_BYTES) cn_str_free(&w->in);
    w->in.length = left;
    w->used = 0;
    if (left >= sizeof head) memcpy(&head, w->in.data, sizeof head);
    const size_t frame = sizeof head + head.length;
    return cn_str_reserve(&w->in, (frame > left ? frame : left) + READ_BYTES) == CN_OK;
}

static void serve(struct worker *w)
{
    for (;;) {
        if (!make_room(w)) return;
        const ssize_t n =
            read(w->start->socket, w->in.data + w->in.length, w->in.capacity - w->in.length - 1);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return;
        w->in.length += (size_t)n;
        if (!work(w)) return;
    }
}

/* The first frame, ticket 0: empty, or why this worker cannot work. */
static bool greet(struct worker *w, const char *complaint)
{
    struct frame_head head = {(uint32_t)strlen(complaint), 0, 0};
    return cn_str_append(&w->out, (const char *)&head, sizeof head) == CN_OK &&
           cn_str_add(&w->out, complaint) == CN_OK && send_results(w);
}

_Noreturn void worker_main(const struct worker_start *start)
{
    struct worker worker = {.start = start};
    const struct confinement confinement = {.keep = start->socket,
                                            .memory = start->memory,
                                            .starts_programs = start->scorer->starts_programs};
    cn_arena_init(&worker.arena);
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (getppid() != (pid_t)start->parent) _exit(1);
    if (confine(&confinement) != CN_OK)
        greet(&worker, cn_fail_message());
    else if (greet(&worker, ""))
        serve(&worker);
    _exit(0);
}
