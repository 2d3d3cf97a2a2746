/* What `carnot selftest` computes on: a small batch that has every kind of token and sequence, and
 * the stages of a training step around the loss. */
#ifndef CARNOT_SELFTEST_TRIAL_H
#define CARNOT_SELFTEST_TRIAL_H

#include "carnot/algorithm.h"

enum { TRIAL_SEQUENCES = 19 };

/* Two main groups of four, one of two with equal scores, one auxiliary group of three, greedy
 * baselines, two answers to another wording and two of an earlier rollout; prompt, environment and
 * policy tokens; one answer that was cut off and one that is dropped; log-ratios on both sides of
 * every usual bound, and some sequences that have hardly moved. */
struct trial {
    struct cn_arena arena, recipes, scratch;
    struct cn_batch batch;
    double *channel[CN_CHANNEL_COUNT], *frozen[CN_CHANNEL_COUNT], *d_channel[CN_CHANNEL_COUNT];
    double *reward; /* (S) before any shaping */
    uint8_t *drop;  /* (S) before any filter */
    double length_max;
    struct cn_live live, frozen_live;
    struct cn_token_grad grad;
    struct cn_recipe recipe;
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_metrics metrics;
    struct cn_loss_call call;
    size_t atom; /* sequences per atom */
    struct cn_span span[TRIAL_SEQUENCES];
    struct cn_spans spans; /* the atoms */
};

/* `order` (TRIAL_SEQUENCES) says which sequence stands where; NULL: as made. */
enum cn_status trial_open(struct trial *trial, const size_t *order);
void trial_close(struct trial *trial);

/* Another recipe, from the sections' JSON texts; NULL: absent. */
enum cn_status trial_recipe(struct trial *trial, const char *algorithm, const char *entropy);

/* Rewards and drops as made, then all stages before the loss; live values become the constants
 * behind stop-gradients. */
enum cn_status trial_prepare(struct trial *trial);

/* Loss and gradients over all atoms. */
enum cn_status trial_loss(struct trial *trial);

/* NaN wherever a loss must not look. */
void trial_poison(struct trial *trial);

/* Makes the live values those of the old policy. */
void trial_on_policy(struct trial *trial);

/* One number for everything that a recipe does in two steps: requests, rewards, drops, advantages,
 * weights, gradients.  Fails as the stages do. */
enum cn_status trial_signature(struct trial *trial, uint64_t *out);

#endif
