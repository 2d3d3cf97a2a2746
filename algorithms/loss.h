/* What the composition of the loss tells the stages around it. */
#ifndef CARNOT_LOSS_H
#define CARNOT_LOSS_H

#include "carnot/algorithm.h"

/* stopped (T): 1 where the surrogate, at the values `live`, gives a trained token of `span` no
 * gradient because a bound stops it; 0 elsewhere.  Memory from the call's scratch.  Not collective.
 */
enum cn_status loss_stopped(const struct cn_loss_call *call, const struct cn_batch *batch,
                            struct cn_span span, const struct cn_live *live,
                            const uint8_t **stopped);

#endif
