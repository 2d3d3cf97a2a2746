/* The states of plug-ins: plain bytes that live as long as a run and are part of a checkpoint. */
#ifndef CARNOT_STATES_H
#define CARNOT_STATES_H

#include "carnot/algorithm.h"
#include "carnot/str.h"

/* Where a state is changed.  A plug-in that acts through `plan` alone changes it while answers are
 * sampled, every other while the policy learns; its `plan` may read it only. */
enum states_side { STATES_SAMPLING, STATES_LEARNING };

/* Calls `each` for every chosen plug-in that has a state, with a name that stays the same between
 * runs. */
struct states_visit {
    enum cn_status (*each)(void *self, const char *name, const struct cn_chosen *chosen,
                           enum states_side side);
    void *self;
};
enum cn_status states_each(const struct cn_recipe *recipe, const struct states_visit *visit);

/* Appends the states of one side end to end, and takes them back: *from is moved behind them.
 * Fails: CN_ERR_MEMORY; CN_ERR_DATA if fewer bytes are left. */
enum cn_status states_put(const struct cn_recipe *recipe, enum states_side side,
                          struct cn_str *out);
enum cn_status states_take(const struct cn_recipe *recipe, enum states_side side,
                           struct cn_text *from);

/* Fails with CN_ERR_CONFIG, naming the plug-in, if a state of the learning side is not as in
 * `before` (states_put): its `plan` has changed it, and the other side would not know. */
enum cn_status states_check(const struct cn_recipe *recipe, struct cn_text before);

#endif
