/* The stages of a step around the loss, on an input row of `carnot gradient`: what that command and
 * the golden vectors of `carnot selftest` go through. */
#ifndef CARNOT_GRADIENT_STEP_H
#define CARNOT_GRADIENT_STEP_H

#include "gradient_batch.h"

#include "carnot/algorithm.h"

struct gradient_setup {
    const struct cn_recipe *recipe; /* its states live from row to row */
    uint64_t seed;
    double length_max; /* rollout.max_tokens */
    size_t split;      /* sequences per atom; 0: all */
    struct cn_arena *arena, *scratch;
};

/* What came of a row; everything lives in the setup's arena. */
struct gradient_step {
    struct gradient_batch in; /* with advantage, weight ... filled */
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_metrics metrics;
    struct cn_token_grad grad;
    struct cn_loss_call call;
};

/* Reads the row and computes it.  Fails: CN_ERR_DATA if the row lacks what the recipe reads, or as
 * the stages do.  `step` must not move afterwards.  Not collective. */
enum cn_status gradient_step_run(const struct gradient_setup *setup, const struct cn_json *row,
                                 struct gradient_step *step);

#endif
