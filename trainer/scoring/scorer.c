/* One thread between the sampler and the rewards. */
#include "scorer.h"

#include "../clock.h"
#include "own_service.h"

#include "carnot/service.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double drive_s = 1; /* longest wait of the client; a new answer ends it */

enum { BATCH_MAX = 64 };

struct scorer {
    const struct scoring *scoring;
    const struct cn_service_settings *service;
    struct cn_text config;
    struct own_service *own;          /* service.mode=spawn */
    struct cn_service_client *client; /* NULL: in process */
    bool overlap;                     /* no reward sees groups */
    bool programs;                    /* a reward runs programs: many at a time use many cores */
    /* a round */
    struct scoring_work work;
    struct cn_arena arena;            /* of the thread */
    struct cn_service_result *result; /* (n) */
    size_t *ready;                    /* (n) answers in the order they finished */
    size_t n_ready, n_taken;
    bool *added;            /* (n) */
    bool running, last;     /* a thread is there; no more answers come */
    _Atomic bool abandoned; /* nobody wants the rest */
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    enum cn_status status;
    char message[1024];
    double busy;
};

/* ---- the thread ---------------------------------------------------------- */

/* New answers [*begin, *end) of `ready`; waits for some unless `poll`.  False: there are no more.
 */
static bool take(struct scorer *s, bool poll, size_t *begin, size_t *end)
{
    pthread_mutex_lock(&s->lock);
    while (!poll && s->n_taken == s->n_ready && !s->last)
        pthread_cond_wait(&s->changed, &s->lock);
    *begin = s->n_taken;
    *end = s->n_taken = s->n_ready;
    const bool more = !s->abandoned && (*end > *begin || !s->last);
    pthread_mutex_unlock(&s->lock);
    return more;
}

/* Answers ready[begin, end) in one call. */
static enum cn_status score_batch(struct scorer *s, size_t begin, size_t end)
{
    struct cn_episode *episodes;
    struct cn_service_result *results;
    CN_TRY(CN_NEW(&s->arena, end - begin, &episodes));
    CN_TRY(CN_NEW(&s->arena, end - begin, &results));
    for (size_t i = begin; i < end; i++)
        scoring_describe(&s->work, s->ready[i], &episodes[i - begin]);
    CN_TRY(scoring_episodes(s->scoring, episodes, end - begin, &s->arena, results));
    for (size_t i = begin; i < end; i++)
        s->result[s->ready[i]] = results[i - begin];
    return CN_OK;
}

static enum cn_status score_here(struct scorer *s)
{
    size_t begin, end;
    while (take(s, false, &begin, &end)) {
        const double start = clock_seconds();
        for (size_t next; begin < end && !s->abandoned; begin = next) {
            next = s->programs && end - begin < BATCH_MAX ? end
                                                          : begin + (s->programs ? BATCH_MAX : 1);
            CN_TRY(score_batch(s, begin, next));
        }
        s->busy += clock_seconds() - start;
    }
    return CN_OK;
}

static enum cn_status score_there(struct scorer *s)
{
    size_t begin, end, pending = 0;
    for (bool more = true; (more || pending) && !s->abandoned;) {
        more = take(s, pending > 0, &begin, &end);
        for (; begin < end; begin++) {
            struct cn_episode episode;
            scoring_describe(&s->work, s->ready[begin], &episode);
            CN_TRY(
                cn_service_client_add(s->client, &episode, &s->arena, &s->result[s->ready[begin]]));
            pending++;
        }
        const double start = clock_seconds();
        if (pending) CN_TRY(cn_service_client_drive(s->client, drive_s, &pending));
        s->busy += clock_seconds() - start;
    }
    return CN_OK;
}

static void *run_thread(void *self)
{
    struct scorer *s = self;
    s->status = s->client ? score_there(s) : score_here(s);
    if (s->status != CN_OK) snprintf(s->message, sizeof s->message, "%s", cn_fail_message());
    return NULL;
}

/* ---- a round ------------------------------------------------------------- */

/* A service of our own that has died is started again. */
static enum cn_status connect_client(struct scorer *s)
{
    const char *url = NULL;
    if (s->service->mode == CN_SERVICE_IN_PROCESS) return CN_OK;
    if (s->service->mode == CN_SERVICE_URLS) {
        if (s->client) return CN_OK;
        return cn_service_client_open(s->service, s->service->urls.value, s->service->urls.count,
                                      &s->client);
    }
    if (s->own && own_service_is_alive(s->own)) return CN_OK;
    cn_service_client_close(s->client);
    own_service_stop(s->own);
    s->client = NULL;
    s->own = NULL;
    CN_TRY(own_service_start(s->config, &s->own));
    url = own_service_url(s->own);
    return cn_service_client_open(s->service, &url, 1, &s->client);
}

enum cn_scope scorer_scope(const struct scorer *s)
{
    return scoring_scope(s->scoring);
}

enum cn_status scorer_begin(struct scorer *s, const struct scoring_work *work)
{
    CN_BUG_IF(s->running);
    CN_TRY(connect_client(s));
    s->work = *work;
    s->n_ready = s->n_taken = 0;
    s->last = false;
    s->abandoned = false;
    s->status = CN_OK;
    s->busy = 0;
    cn_arena_reset(&s->arena);
    CN_TRY(CN_NEW(&s->arena, work->n, &s->result));
    CN_TRY(CN_NEW(&s->arena, work->n, &s->ready));
    CN_TRY(CN_NEW(&s->arena, work->n, &s->added));
    if (!s->overlap) return CN_OK;
    const int failure = pthread_create(&s->thread, NULL, run_thread, s);
    if (failure) return cn_fail(CN_ERR_MEMORY, "no thread to score in: %s", strerror(failure));
    s->running = true;
    return CN_OK;
}

void scorer_add(void *self, size_t i)
{
    struct scorer *s = self;
    if (!s->overlap || s->added[i]) return;
    pthread_mutex_lock(&s->lock);
    s->added[i] = true;
    s->ready[s->n_ready++] = i;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->client) cn_service_client_wake(s->client);
}

/* Tells the thread that nothing more comes, and waits for it. */
static void join(struct scorer *s)
{
    if (!s->running) return;
    pthread_mutex_lock(&s->lock);
    s->last = true;
    pthread_cond_signal(&s->changed);
    pthread_mutex_unlock(&s->lock);
    if (s->client) cn_service_client_wake(s->client);
    pthread_join(s->thread, NULL);
    s->running = false;
}

static bool is_own(const struct scorer *s, size_t i)
{
    return !s->work.own || s->work.own[i];
}

static enum cn_status score_together(struct scorer *s)
{
    const double start = clock_seconds();
    for (size_t i = 0; i < s->work.n; i++)
        if (is_own(s, i)) s->ready[s->n_ready++] = i;
    const enum cn_status status = score_batch(s, 0, s->n_ready);
    s->busy = clock_seconds() - start;
    return status;
}

enum cn_status scorer_finish(struct scorer *s, struct cn_arena *arena, struct cn_metrics *metrics,
                             struct scored *out, struct scorer_times *times)
{
    const double start = clock_seconds();
    if (s->overlap) {
        for (size_t i = 0; i < s->work.n; i++)
            if (is_own(s, i)) scorer_add(s, i);
        join(s);
        if (s->status != CN_OK) return cn_fail(s->status, "%s", s->message);
    } else {
        CN_TRY(score_together(s));
    }
    for (size_t i = 0; i < s->work.n; i++)
        if (is_own(s, i)) CN_TRY(scoring_take(&s->result[i], arena, metrics, &out[i]));
    *times = (struct scorer_times){.added = clock_seconds() - start, .busy = s->busy};
    return CN_OK;
}

void scorer_abandon(struct scorer *s)
{
    if (!s || !s->running) return;
    s->abandoned = true;
    join(s);
}

/* ---- opening and closing ------------------------------------------------- */

enum cn_status scorer_open(const struct scoring *scoring, const struct cn_service_settings *service,
                           struct cn_text config, struct scorer **out)
{
    const bool alone = scoring_scope(scoring) == CN_SCOPE_EPISODE;
    if (!alone && service->mode != CN_SERVICE_IN_PROCESS)
        return cn_fail(CN_ERR_CONFIG,
                       "a reward of this run compares the answers of a group, and a service sees "
                       "one answer at a time: use service.mode=in_process");
    struct scorer *s = calloc(1, sizeof *s);
    if (!s) return cn_fail(CN_ERR_MEMORY, "out of memory for a scorer");
    s->scoring = scoring;
    s->service = service;
    s->config = config;
    s->overlap = alone;
    for (size_t e = 0; e < scoring->n; e++)
        s->programs |= scoring->entry[e].used.reward->starts_programs;
    cn_arena_init(&s->arena);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    const enum cn_status status = connect_client(s);
    if (status == CN_OK)
        *out = s;
    else
        scorer_close(s);
    return status;
}

void scorer_close(struct scorer *take_scorer)
{
    struct scorer *s = take_scorer;
    if (!s) return;
    join(s);
    cn_service_client_close(s->client);
    own_service_stop(s->own);
    cn_arena_free(&s->arena);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
    free(s);
}
