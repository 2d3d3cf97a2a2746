/* Counter-based randomness: Philox4x32-10.
 * Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3".
 *
 * A number depends on (seed, step, purpose, prompt, sample, position, index) and on nothing else:
 * not on the number of ranks, the order of slots or what was drawn before.  Any of them can be made
 * again at any time. */
#ifndef CARNOT_RNG_H
#define CARNOT_RNG_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a stream is for; a new purpose is a new line at the end, so that old streams keep their
 * numbers. */
#define CN_RNG_PURPOSES(X)                                                                         \
    X(SAMPLING)  /* Gumbel noise of a sampled token */                                             \
    X(INIT)      /* random weights */                                                              \
    X(ORDER)     /* order of the data */                                                           \
    X(TASK)      /* content of a generated task */                                                 \
    X(EVAL)      /* sampling during evaluation */                                                  \
    X(SELECTION) /* a plug-in's random selection of tokens */                                      \
    X(TEST)

enum cn_rng_purpose {
#define X(name) CN_RNG_##name,
    CN_RNG_PURPOSES(X)
#undef X
};

/* Philox key of (seed, step, purpose). */
struct cn_rng_key {
    uint32_t word[2];
};

/* A stream of numbers under a key; plain bytes, so it can be copied and checkpointed. */
struct cn_rng {
    struct cn_rng_key key;
    uint32_t counter[4]; /* counter[0] advances by one per block of four words */
    uint32_t block[4];
    uint32_t left; /* words of `block` not yet handed out */
};

/* One block: ten rounds on `counter` (4 words) under `key`.  out may be counter. */
void cn_philox(const uint32_t counter[4], struct cn_rng_key key, uint32_t out[4]);

struct cn_rng_key cn_rng_key(uint64_t seed, uint64_t step, enum cn_rng_purpose purpose);

/* The stream of one (prompt, sample) under a key: counter = {0, position, sample, prompt}.
 * prompt counts modulo 2^32; its upper half is folded into the key. */
void cn_rng_open(struct cn_rng *rng, struct cn_rng_key key, uint64_t prompt, uint32_t sample,
                 uint32_t position);

uint32_t cn_rng_u32(struct cn_rng *rng);
double cn_rng_uniform(struct cn_rng *rng); /* in (0, 1), 24 bits: (x + 1/2) / 2^24 */
uint32_t cn_rng_below(struct cn_rng *rng, uint32_t limit); /* unbiased, 0 <= result < limit */
double cn_rng_normal(struct cn_rng *rng);                  /* mean 0, variance 1 (Box-Muller) */

/* Place of `index` in a keyed permutation of 0..n-1 (a Feistel walk): no table, any rank can
 * compute its share. */
uint64_t cn_rng_permute(struct cn_rng_key key, uint64_t index, uint64_t n);

#ifdef __cplusplus
}
#endif
#endif
