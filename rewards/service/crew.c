/* Workers as seen by the parent. */
#include "crew.h"

#include "frame.h"
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    HAND_MAX = 64,        /* answers at one worker */
    HAND_BYTES = 1 << 20, /* bytes at one worker, unless it is a single answer */
    TRIES_MAX = 3,        /* workers that may die over an answer before it was begun */
    READ_BYTES = 1 << 16,
    EVENTS_MAX = 64
};
static const double look_s = 0.05;   /* how often a working worker's progress is looked at */
static const double revive_s = 0.05; /* pause after a worker that did nothing */
static const double hand_s = 0.05;   /* work that one worker is given ahead */

struct worker {
    pid_t pid; /* 0: none now */
    int socket;
    struct worker_progress *progress;
    struct work_list hand; /* what it has, in order */
    struct work *writing;  /* first that is not sent completely; NULL: all sent */
    size_t written;        /* bytes of it */
    bool blocked;          /* the socket takes no more for now */
    bool ready;            /* it has greeted */
    uint64_t tickets;      /* given in its life */
    uint64_t seen;         /* progress when last looked */
    double since;          /* when that changed, s */
    size_t answered;       /* results of this turn */
    double mark;           /* end of the turn with the last ones, s */
    double pace;           /* seconds per answer, a running mean */
    double revive_at;      /* when a dead one starts again */
    unsigned early;        /* deaths in a row without a single result */
    struct cn_str in;
};

struct crew {
    struct crew_setup setup;
    struct worker *worker;
    struct work_list queue;
    struct crew_counts counts;
    struct cn_str complaint; /* of the newest worker that could not be confined */
    struct cn_str verdict;   /* scratch */
    int epoll;
    double now;
};

/* ---- life and death ------------------------------------------------------ */

/* The child's half of a start: what belongs to its siblings goes. */
static _Noreturn void become_worker(struct crew *crew, struct worker *self, int socket, long parent)
{
    const struct worker_start start = {.scorer = crew->setup.scorer,
                                       .progress = self->progress,
                                       .socket = socket,
                                       .memory = crew->setup.memory,
                                       .extracted_max = crew->setup.extracted_max,
                                       .parent = parent};
    setpgid(0, 0);
    if (crew->setup.secret) explicit_bzero(crew->setup.secret, crew->setup.secret_size);
    for (size_t i = 0; i < crew->setup.workers; i++)
        if (&crew->worker[i] != self)
            munmap(crew->worker[i].progress, sizeof *crew->worker[i].progress);
    worker_main(&start);
}

static enum cn_status start_worker(struct crew *crew, struct worker *w)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair))
        return cn_fail(CN_ERR_IO, "no socket for a worker: %s", strerror(errno));
    atomic_store(&w->progress->started, 0);
    const long parent = getpid();
    const pid_t pid = fork();
    if (pid == 0) become_worker(crew, w, pair[1], parent);
    close(pair[1]);
    if (pid < 0) {
        close(pair[0]);
        return cn_fail(CN_ERR_IO, "no process for a worker: %s", strerror(errno));
    }
    setpgid(pid, pid); /* either of the two comes first */
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = w};
    if (epoll_ctl(crew->epoll, EPOLL_CTL_ADD, pair[0], &event)) {
        close(pair[0]);
        kill(-pid, SIGKILL);
        waitpid(pid, NULL, 0);
        return cn_fail(CN_ERR_IO, "epoll: %s", strerror(errno));
    }
    w->pid = pid;
    w->socket = pair[0];
    w->tickets = w->seen = 0;
    w->since = crew->now;
    w->ready = w->blocked = false;
    crew->counts.started++;
    crew->counts.alive++;
    return CN_OK;
}

/* Gives `work` back to its owner with a verdict instead of a result. */
static enum cn_status give_up(struct crew *crew, struct work *work, enum cn_verdict verdict)
{
    cn_str_clear(&crew->verdict);
    CN_TRY(frame_verdict(verdict, &crew->verdict));
    const struct cn_text body = {crew->verdict.data + FRAME_HEAD,
                                 crew->verdict.length - FRAME_HEAD};
    crew->setup.done(crew->setup.self, work, body);
    return CN_OK;
}

static enum cn_status receive(struct crew *crew, struct worker *w, bool *broken);

/* Ends a worker's life.  What it has answered counts; the answer it was at gets `verdict`; the rest
 * goes back to the head of the queue. */
static enum cn_status bury(struct crew *crew, struct worker *w, enum cn_verdict verdict)
{
    bool broken = false;
    kill(-w->pid, SIGKILL);
    kill(w->pid, SIGKILL); /* its group may not exist yet */
    waitpid(w->pid, NULL, 0);
    enum cn_status status = receive(crew, w, &broken);
    const uint64_t guilty = atomic_load(&w->progress->started);
    const bool worked = w->seen > 0 || guilty > 0;
    /* A child that is being forked has a copy of the socket, so closing alone would not do. */
    epoll_ctl(crew->epoll, EPOLL_CTL_DEL, w->socket, NULL);
    close(w->socket);
    cn_str_free(&w->in);
    w->pid = 0;
    w->writing = NULL;
    w->written = 0;
    crew->counts.alive--;
    w->early = worked ? 0 : w->early + 1;
    w->revive_at = crew->now + (worked ? 0 : revive_s * (1u << (w->early < 6 ? w->early : 6)));
    struct work *oldest = w->hand.first, *blamed = NULL;
    for (struct work *work; (work = w->hand.last) != NULL;) {
        work_remove(&w->hand, work);
        if (work->ticket == guilty) {
            blamed = work;
            continue;
        }
        work->queued = true;
        work_add(&crew->queue, work, true);
        crew->counts.requeued++;
    }
    if (blamed) {
        CN_TRY(status);
        return give_up(crew, blamed, verdict);
    }
    /* Nobody was being scored: an answer that outlives several workers this way is given up. */
    if (oldest && ++oldest->tries >= TRIES_MAX) {
        work_remove(&crew->queue, oldest);
        oldest->queued = false;
        if (status == CN_OK) status = give_up(crew, oldest, CN_VERDICT_CRASHED);
    }
    return status;
}

/* ---- results ------------------------------------------------------------- */

/* One frame of a worker; false if it is not what must come next. */
static bool take_frame(struct crew *crew, struct worker *w, struct frame_head head,
                       struct cn_text body)
{
    struct work *work = w->hand.first;
    struct cn_service_result result;
    if (head.ticket == 0 && !w->ready) {
        w->ready = head.length == 0;
        cn_str_clear(&crew->complaint);
        if (head.length) cn_str_append(&crew->complaint, body.data, body.length);
        return w->ready;
    }
    if (!work || work->ticket != head.ticket || work == w->writing) return false;
    if (frame_read_result(body, &result) != CN_OK) {
        cn_fail_clear();
        return false;
    }
    work_remove(&w->hand, work);
    w->answered++;
    crew->setup.done(crew->setup.self, work, body);
    return true;
}

/* Reads what a worker has sent; *broken: it is dead, or speaks nonsense. */
static enum cn_status receive(struct crew *crew, struct worker *w, bool *broken)
{
    struct frame_head head;
    for (;;) {
        CN_TRY(cn_str_reserve(&w->in, w->in.length + READ_BYTES));
        const ssize_t n = recv(w->socket, w->in.data + w->in.length, READ_BYTES, MSG_DONTWAIT);
        if (n < 0 && errno == EINTR) continue;
        *broken = n == 0 || (n < 0 && errno != EAGAIN);
        if (n <= 0) return CN_OK;
        w->in.length += (size_t)n;
        size_t used = 0;
        while (w->in.length - used >= sizeof head) {
            memcpy(&head, w->in.data + used, sizeof head);
            *broken = head.length > crew->setup.extracted_max + FRAME_REST_MAX;
            if (*broken || w->in.length - used - sizeof head < head.length) break;
            const struct cn_text body = {w->in.data + used + sizeof head, head.length};
            *broken = !take_frame(crew, w, head, body);
            if (*broken) return CN_OK;
            used += sizeof head + head.length;
        }
        memmove(w->in.data, w->in.data + used, w->in.length - used);
        w->in.length -= used;
        if (*broken) return CN_OK;
    }
}

/* ---- handing out --------------------------------------------------------- */

/* Asks to be told when a worker's socket takes more, or not any longer. */
static void watch_writing(struct crew *crew, struct worker *w, bool blocked)
{
    if (blocked == w->blocked) return;
    struct epoll_event event = {.events = EPOLLIN | (blocked ? EPOLLOUT : 0u), .data.ptr = w};
    epoll_ctl(crew->epoll, EPOLL_CTL_MOD, w->socket, &event);
    w->blocked = blocked;
}

/* Moves the place of writing `sent` bytes ahead. */
static void advance(struct worker *w, size_t sent)
{
    while (w->writing && sent >= w->writing->length - w->written) {
        sent -= w->writing->length - w->written;
        w->writing = w->writing->next;
        w->written = 0;
    }
    w->written += sent;
}

static void send_work(struct crew *crew, struct worker *w)
{
    while (w->writing) {
        struct iovec part[HAND_MAX];
        struct msghdr message = {.msg_iov = part};
        size_t skip = w->written;
        for (struct work *work = w->writing; work && message.msg_iovlen < HAND_MAX;
             work = work->next, skip = 0)
            part[message.msg_iovlen++] = (struct iovec){work->frame + skip, work->length - skip};
        const ssize_t n = sendmsg(w->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) {
            watch_writing(crew, w, errno == EAGAIN); /* a dead one shows when it is read */
            return;
        }
        advance(w, (size_t)n);
    }
    watch_writing(crew, w, false);
}

static void hand_over(struct crew *crew, struct worker *w, struct work *work)
{
    work_remove(&crew->queue, work);
    work->queued = false;
    work->ticket = ++w->tickets;
    memcpy(work->frame + offsetof(struct frame_head, ticket), &work->ticket, sizeof work->ticket);
    if (!w->hand.n) { /* its time begins now */
        w->since = w->mark = crew->now;
        w->seen = atomic_load(&w->progress->started);
    }
    work_add(&w->hand, work, false);
    if (!w->writing) w->writing = work;
}

/* Whether a worker may have one answer more: an equal share, and no more than it can do soon, so
 * that quick answers do not wait behind slow ones while another worker is free. */
static bool has_room(const struct worker *w, size_t share, size_t bytes)
{
    const double ahead = w->pace > 0 ? hand_s / w->pace : HAND_MAX;
    if (!w->hand.n) return true;
    return w->hand.n < share && w->hand.n < HAND_MAX && (double)w->hand.n < ahead &&
           w->hand.bytes + bytes <= HAND_BYTES;
}

static void hand_out(struct crew *crew)
{
    size_t open = crew->queue.n;
    if (!open || !crew->counts.alive) return;
    for (size_t i = 0; i < crew->setup.workers; i++)
        open += crew->worker[i].hand.n;
    const size_t share = (open + crew->counts.alive - 1) / crew->counts.alive;
    for (size_t i = 0; i < crew->setup.workers; i++) {
        struct worker *w = &crew->worker[i];
        while (w->pid && crew->queue.n && has_room(w, share, crew->queue.first->length))
            hand_over(crew, w, crew->queue.first);
        if (w->pid && w->writing) send_work(crew, w);
    }
}

/* ---- the turn ------------------------------------------------------------ */

/* Kills a worker whose answer takes too long; starts dead ones again. */
static enum cn_status look_after(struct crew *crew, struct worker *w)
{
    if (!w->pid) return crew->now >= w->revive_at ? start_worker(crew, w) : CN_OK;
    const uint64_t started = atomic_load(&w->progress->started);
    if (started != w->seen || !w->hand.n) {
        w->seen = started;
        w->since = crew->now;
    } else if (crew->now - w->since > crew->setup.item_timeout_s) {
        crew->counts.timed_out++;
        return bury(crew, w, CN_VERDICT_TIMEOUT);
    }
    return CN_OK;
}

static void keep_pace(const struct crew *crew, struct worker *w)
{
    if (!w->answered) return;
    w->pace += 0.25 * ((crew->now - w->mark) / (double)w->answered - w->pace);
    w->mark = crew->now;
    w->answered = 0;
}

static enum cn_status take_events(struct crew *crew)
{
    struct epoll_event events[EVENTS_MAX];
    const int n = epoll_wait(crew->epoll, events, EVENTS_MAX, 0);
    for (int i = 0; i < n; i++) {
        struct worker *w = events[i].data.ptr;
        bool broken = false;
        if (!w->pid) continue; /* buried in this very turn */
        if (events[i].events & EPOLLOUT) send_work(crew, w);
        if (events[i].events & ~(uint32_t)EPOLLOUT) CN_TRY(receive(crew, w, &broken));
        keep_pace(crew, w);
        if (!broken) continue;
        crew->counts.crashed++;
        CN_TRY(bury(crew, w, CN_VERDICT_CRASHED));
    }
    return CN_OK;
}

enum cn_status crew_run(struct crew *crew, double now)
{
    crew->now = now;
    CN_TRY(take_events(crew));
    for (size_t i = 0; i < crew->setup.workers; i++)
        CN_TRY(look_after(crew, &crew->worker[i]));
    hand_out(crew);
    return CN_OK;
}

double crew_patience(const struct crew *crew, double now)
{
    double patience = 1;
    for (size_t i = 0; i < crew->setup.workers; i++) {
        const struct worker *w = &crew->worker[i];
        if (w->pid && w->hand.n && patience > look_s) patience = look_s;
        if (!w->pid && w->revive_at - now < patience) patience = w->revive_at - now;
    }
    return patience > 0 ? patience : 0;
}

/* ---- opening and closing ------------------------------------------------- */

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Waits for everybody's greeting. */
static enum cn_status await_greetings(struct crew *crew)
{
    struct pollfd wait = {.fd = crew->epoll, .events = POLLIN};
    const double start = crew->now;
    for (size_t ready = 0; ready < crew->setup.workers;) {
        poll(&wait, 1, 100);
        crew->now = now_s();
        CN_TRY(take_events(crew));
        if (crew->counts.crashed || crew->now - start > 30)
            return cn_fail(CN_ERR_IO, "%s",
                           crew->complaint.length ? crew->complaint.data
                                                  : "a worker died before it could score");
        ready = 0;
        for (size_t i = 0; i < crew->setup.workers; i++)
            ready += crew->worker[i].ready;
    }
    return CN_OK;
}

enum cn_status crew_open(const struct crew_setup *setup, struct crew **out)
{
    struct crew *crew = calloc(1, sizeof *crew);
    struct worker *workers = calloc(setup->workers, sizeof *workers);
    enum cn_status status = CN_OK;
    if (!crew || !workers) {
        free(crew);
        free(workers);
        return cn_fail(CN_ERR_MEMORY, "out of memory for %zu workers", setup->workers);
    }
    *crew = (struct crew){.setup = *setup, .worker = workers, .now = now_s()};
    crew->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (crew->epoll < 0) status = cn_fail(CN_ERR_IO, "epoll: %s", strerror(errno));
    for (size_t i = 0; i < setup->workers && status == CN_OK; i++) {
        void *page = mmap(NULL, sizeof *workers->progress, PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (page == MAP_FAILED)
            status = cn_fail(CN_ERR_MEMORY, "no memory shared with a worker: %s", strerror(errno));
        else
            workers[i].progress = page;
    }
    for (size_t i = 0; i < setup->workers && status == CN_OK; i++)
        status = start_worker(crew, &workers[i]);
    if (status == CN_OK) status = await_greetings(crew);
    if (status == CN_OK)
        *out = crew;
    else
        crew_close(crew);
    return status;
}

void crew_close(struct crew *take_crew)
{
    if (!take_crew) return;
    for (size_t i = 0; i < take_crew->setup.workers; i++) {
        struct worker *w = &take_crew->worker[i];
        if (w->pid) {
            kill(-w->pid, SIGKILL);
            kill(w->pid, SIGKILL);
            waitpid(w->pid, NULL, 0);
            close(w->socket);
        }
        cn_str_free(&w->in);
        if (w->progress) munmap(w->progress, sizeof *w->progress);
    }
    if (take_crew->epoll >= 0) close(take_crew->epoll);
    cn_str_free(&take_crew->complaint);
    cn_str_free(&take_crew->verdict);
    free(take_crew->worker);
    free(take_crew);
}

int crew_fd(const struct crew *crew)
{
    return crew->epoll;
}

void crew_add(struct crew *crew, struct work *work)
{
    work->queued = true;
    work_add(&crew->queue, work, false);
}

bool crew_cancel(struct crew *crew, struct work *work)
{
    if (!work->queued) return false;
    work_remove(&crew->queue, work);
    work->queued = false;
    return true;
}

struct crew_counts crew_counts(const struct crew *crew)
{
    struct crew_counts counts = crew->counts;
    counts.queued = crew->queue.n;
    counts.scoring = 0;
    for (size_t i = 0; i < crew->setup.workers; i++)
        counts.scoring += crew->worker[i].hand.n;
    return counts;
}

const struct work *crew_oldest(const struct crew *crew)
{
    return crew->queue.first;
}
