/* Token choice: one row of logits -> a drawn token with its log-probability and the row's entropy.
 *
 * A draw is Gumbel-max: argmax_j z_j / temperature + g_j with g_j = -log(-log u_j), ties to the
 * lowest id.  Token j's u_j = (x + 1/2) / 2^24 comes from the upper 24 bits of word j % 4 of Philox
 * block counter {j / 4, position, sample, prompt low}, key of the draw with the prompt's upper half
 * folded in (rng.h). So a sample depends on its logits, its key and its place, and on nothing else.
 * The noise is computed in double by one fixed sequence of + - * /, the same on every machine.
 * Gumbel 1954; Maddison et al. 2014, "A* Sampling". */
#ifndef CARNOT_DECODE_CHOOSE_H
#define CARNOT_DECODE_CHOOSE_H

#include "carnot/model.h"

/* What is known about softmax(z / temperature) of one row. */
struct choose_stats {
    double max;     /* largest logit, not divided */
    double log_sum; /* log of the sum of exp((z - max) / temperature) */
    double entropy; /* nats */
};

enum { CHOOSE_NOISE_TOKENS = 64 }; /* words that one call of `noise` makes */

/* The two loops over the vocabulary, compiled per instruction set (decode/kernels.h).  `noise` is
 * integer arithmetic and gives the same words everywhere: those of blocks first .. first + 15 under
 * counter {block, tail[0..2]}. */
struct choose_loops {
    void (*stats)(const float *logits, size_t vocab, double temperature, struct choose_stats *out);
    void (*noise)(struct cn_rng_key key, const uint32_t tail[3], uint32_t first,
                  uint32_t out[CHOOSE_NOISE_TOKENS]);
};

/* A token that survives top-k and top-p. */
struct choose_kept {
    float logit;
    int32_t id;
};

struct choose_call {
    const struct choose_loops *loops;
    const float *logits; /* (vocab), not divided by the temperature */
    size_t vocab;
    uint32_t position; /* index in the sequence of the token that is drawn */
    const struct cn_draw *draw;
    struct choose_kept *scratch; /* (vocab); read only if the draw has a top-k or top-p */
};

/* Checks a draw's settings.  Fails: CN_ERR_CONFIG naming the setting and its range. */
enum cn_status choose_check(const struct cn_draw *draw);

/* Draws one token.  top-k keeps the k largest logits, then top-p the smallest set of most probable
 * tokens whose renormalised mass reaches p (ties: lower id first; never empty), then the draw is
 * among those. Fails: CN_ERR_NUMERIC if a logit is NaN or the largest is not finite. */
enum cn_status choose_token(const struct choose_call *call, struct cn_drawn *out);

/* Statistics of a row, checked.  Fails as choose_token. */
enum cn_status choose_row(const struct choose_call *call, struct choose_stats *out);

/* log-probability of token `id` in the row of `stats`, nats. */
double choose_logp(const struct choose_call *call, const struct choose_stats *stats, int32_t id);

/* The n largest log-probabilities of a row, descending (ties: lower id first): ids (n), logp (n).
 * n <= vocab. */
void choose_largest(const struct choose_call *call, const struct choose_stats *stats, size_t n,
                    int32_t *ids, double *logp);

/* The Gumbel noise of a 24-bit word: what the draw adds.  Increasing in `word24`. */
double choose_gumbel(uint32_t word24);

#endif
