/* A pool of threads.  A generation counter is both the start signal and the barrier: whoever waits
 * for it spins a little and then sleeps; whoever advances it wakes the sleepers, if there are any.
 *
 * No wake-up is lost: a waiter raises `sleepers` and then looks at the counter again under the
 * lock, the other side advances the counter and then looks at `sleepers` (both sequentially
 * consistent), so one of them sees the other. */
#include "pool.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { SPINS = 2000, LINE = 64 };

/* A counter that can be waited for; on cache lines of its own. */
struct signal {
    _Alignas(LINE) atomic_uint count;
    _Alignas(LINE) atomic_uint sleepers;
    pthread_mutex_t lock;
    pthread_cond_t changed;
};

struct pool_thread {
    struct pool *pool;
    size_t index;
    pthread_t handle;
};

struct pool {
    size_t size;
    struct signal start, barrier;
    _Alignas(LINE) atomic_size_t arrived;
    void (*work)(void *context, size_t thread); /* NULL: the threads end */
    void *context;
    size_t started;
    struct pool_thread *threads;
};

#if defined(__x86_64__)
static inline void relax(void)
{
    __builtin_ia32_pause();
}
#else
static inline void relax(void)
{
}
#endif

static void signal_init(struct signal *s)
{
    atomic_init(&s->count, 0);
    atomic_init(&s->sleepers, 0);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
}

static void signal_destroy(struct signal *s)
{
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}

static void signal_advance(struct signal *s)
{
    atomic_fetch_add(&s->count, 1);
    if (atomic_load(&s->sleepers) == 0) return;
    pthread_mutex_lock(&s->lock);
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
}

/* Returns when the count is no longer `old`. */
static void signal_wait(struct signal *s, unsigned old)
{
    for (int i = 0; i < SPINS; i++) {
        if (atomic_load_explicit(&s->count, memory_order_acquire) != old) return;
        relax();
    }
    pthread_mutex_lock(&s->lock);
    atomic_fetch_add(&s->sleepers, 1);
    while (atomic_load(&s->count) == old)
        pthread_cond_wait(&s->changed, &s->lock);
    atomic_fetch_sub(&s->sleepers, 1);
    pthread_mutex_unlock(&s->lock);
}

void pool_barrier(struct pool *pool)
{
    if (pool->size == 1) return;
    unsigned generation = atomic_load_explicit(&pool->barrier.count, memory_order_acquire);
    if (atomic_fetch_add(&pool->arrived, 1) + 1 == pool->size) {
        atomic_store(&pool->arrived, 0);
        signal_advance(&pool->barrier);
    } else {
        signal_wait(&pool->barrier, generation);
    }
}

static void *thread_main(void *argument)
{
    struct pool_thread *self = argument;
    struct pool *pool = self->pool;
    for (unsigned seen = 0;; seen++) {
        signal_wait(&pool->start, seen);
        if (!pool->work) return NULL;
        pool->work(pool->context, self->index);
        pool_barrier(pool);
    }
}

void pool_run(struct pool *pool, void (*work)(void *context, size_t thread), void *context)
{
    pool->work = work;
    pool->context = context;
    if (pool->size > 1) signal_advance(&pool->start);
    work(context, 0);
    pool_barrier(pool);
}

size_t pool_size(const struct pool *pool)
{
    return pool->size;
}

void pool_close(struct pool *pool)
{
    if (!pool) return;
    pool->work = NULL;
    signal_advance(&pool->start);
    for (size_t i = 0; i < pool->started; i++)
        pthread_join(pool->threads[i].handle, NULL);
    signal_destroy(&pool->start);
    signal_destroy(&pool->barrier);
    free(pool->threads);
    free(pool);
}

enum cn_status pool_open(size_t threads, struct pool **out)
{
    CN_BUG_IF(threads == 0);
    struct pool *pool = aligned_alloc(LINE, (sizeof *pool + LINE - 1) / LINE * LINE);
    struct pool_thread *list = calloc(threads, sizeof *list);
    if (!pool || !list) {
        free(pool);
        free(list);
        return cn_fail(CN_ERR_MEMORY, "no memory for %zu threads of the decode engine", threads);
    }
    *pool = (struct pool){.size = threads, .threads = list};
    signal_init(&pool->start);
    signal_init(&pool->barrier);
    atomic_init(&pool->arrived, 0);
    for (; pool->started + 1 < threads; pool->started++) {
        struct pool_thread *thread = &list[pool->started];
        *thread = (struct pool_thread){.pool = pool, .index = pool->started + 1};
        if (pthread_create(&thread->handle, NULL, thread_main, thread) != 0) {
            size_t started = pool->started;
            pool_close(pool);
            return cn_fail(CN_ERR_MEMORY,
                           "the system refuses thread %zu of %zu: lower "
                           "parallel.threads or raise the process limit (ulimit -u)",
                           started + 1, threads);
        }
    }
    *out = pool;
    return CN_OK;
}
