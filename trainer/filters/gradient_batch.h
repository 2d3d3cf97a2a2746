/* A batch that somebody else made: the input row of `carnot gradient`. */
#ifndef CARNOT_GRADIENT_BATCH_H
#define CARNOT_GRADIENT_BATCH_H

#include "carnot/json.h"
#include "carnot/token_grad.h"

struct gradient_batch {
    struct cn_batch batch; /* `written` has the columns that the row gives or implies */
    struct cn_live live;   /* channels that it gives or implies; else NULL */
    uint64_t step, update;
};

/* Reads {"step", "update", "sequences": [...]}.  Arrays of a sequence have the length of its
 * "role"; entries whose role is not 1 (policy) are ignored and may be null, and become NaN in
 * columns of doubles.  An array has to stand in every sequence or in none.
 *
 * Implied: score = reward; reward null = dropped as unscored; logp_new, entropy_new,
 * entropy_top_new and value_new are the old ones (exactly on policy), entropy_top_old the new one
 * if only that is there; entropy_sampled = entropy_old; token_reward 0.
 *
 * Memory from `arena`.  Fails: CN_ERR_DATA naming sequence and key.  Not collective. */
enum cn_status gradient_batch_read(const struct cn_json *row, struct cn_arena *arena,
                                   struct gradient_batch *out);

#endif
