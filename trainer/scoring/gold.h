/* Known answers that a reward cannot grade: found when data are loaded, not when a step is wasted.
 */
#ifndef TRAINER_GOLD_H
#define TRAINER_GOLD_H

#include "carnot/data.h"
#include "carnot/reward.h"

/* What to check with, and what is told about each bad row; `row` and `fault` live for the call. */
struct gold {
    const struct cn_reward *reward;
    const void *settings;
    enum cn_status (*fault)(void *self, const struct cn_row *row, const char *fault);
    void *self;
};

/* Checks every row; *bad is how many known answers cannot be graded.  A reward without check_gold
 * has none.  Fails: as `fault` and the reward.  Not collective. */
enum cn_status gold_check(const struct gold *gold, const struct cn_data *data, size_t *bad);

/* The same for training: the first rows are named in warnings.  Fails: CN_ERR_DATA if no row is
 * good. */
enum cn_status gold_warn(const struct cn_reward *reward, const void *settings,
                         const struct cn_data *data);

#endif
