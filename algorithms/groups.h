/* Groups: the sequences that share a baseline, and the sums over a sequence that several axes need.
 *
 * Statistics never mix parts of the batch: a group is the scored sequences of one `part` with one
 * `group` number.  A sequence that is dropped from training (overlong, say) still counts in its
 * group's statistics, unless it has no valid score. */
#ifndef CARNOT_GROUPS_H
#define CARNOT_GROUPS_H

#include "carnot/batch.h"
#include "carnot/plugin.h"

struct groups {
    size_t *member; /* sequences, group after group, in the order of the batch within a group */
    size_t *start;  /* (count + 1) places in `member` */
    size_t count;
};

/* Whether a sequence counts in the statistics of its group. */
bool groups_scored(const struct cn_batch *batch, size_t sequence);

/* The groups of the scored sequences of a batch, ordered by part and number.  Memory from `arena`.
 * Fails: CN_ERR_MEMORY.  Not collective. */
enum cn_status groups_find(const struct cn_batch *batch, struct cn_arena *arena,
                           struct groups *out);

/* Trained tokens of a sequence. */
size_t groups_trained(const struct cn_batch *batch, size_t sequence);

/* Tokens that the policy wrote, trained or not. */
size_t groups_length(const struct cn_batch *batch, size_t sequence);

/* Reward of a sequence plus what stands on its policy tokens, reward units. */
double groups_return(const struct cn_batch *batch, size_t sequence);

/* Spread of values: whether the largest differs from the smallest.  A standard deviation would be
 * about 1e-8 instead of 0 for equal values that are not exact in binary. */
bool groups_spread(const double *values, size_t n);

#endif
