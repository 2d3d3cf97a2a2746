/* The sampled tokens of a run, over all its ranks and attempts, in the order of steps and groups.
 */
#ifndef CARNOT_DIFF_TOKENS_H
#define CARNOT_DIFF_TOKENS_H

#include "carnot/arena.h"
#include "carnot/store.h"

struct diff_sequence {
    uint64_t step, prompt;
    uint32_t group, sample;
    uint8_t part;
    const int32_t *token; /* (n) */
    size_t n;
};

struct diff_tokens {
    struct diff_sequence *item; /* in the arena of the call, like their tokens */
    size_t count, capacity, tokens;
};

/* Reads every closed segment of RUN/tokens; none is fine.  Fails: CN_ERR_DATA, CN_ERR_IO naming the
 * segment; CN_ERR_MEMORY. */
enum cn_status diff_tokens_read(const char *folder, struct cn_arena *arena,
                                struct diff_tokens *out);

#endif
