/* AdamW in double over float arrays: the plain form, for what is small.  Loshchilov & Hutter 2019,
 * "Decoupled Weight Decay Regularization", with bias correction. */
#ifndef CARNOT_MODEL_ADAMW_H
#define CARNOT_MODEL_ADAMW_H

#include "carnot/model.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Numbers that learn together. */
struct adamw {
    size_t n, n_decayed;              /* all; those at the front that decay */
    float *weight, *gradient, *m, *v; /* (n) */
    uint64_t steps;                   /* taken so far */
};

/* Sum of the squares of the gradient. */
double adamw_squares(const struct adamw *numbers);

/* One step on gradient * clip. */
void adamw_step(struct adamw *numbers, const struct cn_step_options *options, double clip);

/* Factor that brings a gradient of this norm to at most options->clip_norm. */
double adamw_clip(const struct cn_step_options *options, double norm);

#ifdef __cplusplus
}
#endif
#endif
