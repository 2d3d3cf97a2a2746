/* Persistent threads that run one function together, with barriers inside it.
 *
 * Waiting is a short spin and then sleep, so that ranks that share cores do not starve each other.
 * What a thread does is up to the function: with a fixed split the work of thread i is always the
 * same. */
#ifndef CARNOT_DECODE_POOL_H
#define CARNOT_DECODE_POOL_H

#include "carnot/status.h"

struct pool;

/* `threads` >= 1 counts the caller of pool_run; one thread starts nothing.
 * Fails: CN_ERR_MEMORY if a thread cannot be started. */
enum cn_status pool_open(size_t threads, struct pool **out);
void pool_close(struct pool *take_pool);
size_t pool_size(const struct pool *pool);

/* Runs work(context, thread) on every thread, thread 0 being the caller; returns when all have
 * returned. */
void pool_run(struct pool *pool, void (*work)(void *context, size_t thread), void *context);

/* Inside work, called by every thread: returns when all have arrived. */
void pool_barrier(struct pool *pool);

/* Share `part` of `parts` of 0 .. n: [*begin, *end), sizes differ by one at most. */
static inline void pool_split(size_t n, size_t part, size_t parts, size_t *begin, size_t *end)
{
    *begin = n * part / parts;
    *end = n * (part + 1) / parts;
}

#endif
