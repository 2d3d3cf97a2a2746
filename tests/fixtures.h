/* The only batch builder of the tests: the golden batch B0, random batches, and a training step's
 * stages around the loss.
 *
 * B0 is the batch of six responses in two groups of `methods-base`, section 2, on which the golden
 * numbers of its sections 3 to 11 were made by an independent script (its appendix B).  Its
 * sequences have no prompt tokens; index 6 is an environment token. */
#ifndef CARNOT_FIXTURES_H
#define CARNOT_FIXTURES_H

#include "carnot/algorithm.h"

enum { FIXTURE_B0_TOKENS = 16 };

/* A batch with live values; arrays over the tokens of the batch. */
struct fixture {
    struct cn_arena arena, scratch;
    struct cn_batch batch;
    double *channel[CN_CHANNEL_COUNT]; /* live values, may be changed */
    double *d_channel[CN_CHANNEL_COUNT];
    struct cn_live live;       /* views of `channel` */
    struct cn_token_grad grad; /* views of `d_channel` */
    struct cn_recipe recipe;
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_metrics metrics;
    struct cn_loss_call call;
    double length_max;
    size_t atom; /* sequences per atom */
};

/* Each must be closed by fixture_close, also after a failure. */
void fixture_open(struct fixture *fixture);
void fixture_close(struct fixture *fixture);

/* The golden batch, with new log-probabilities as live values; logp_sampled, logp_ref, values and
 * entropies as in B0, length_max 8. */
enum cn_status fixture_b0(struct fixture *fixture);

/* A random batch: n_groups groups of group_size sequences with 1 to 4 prompt tokens and 1 to 6
 * others, some of them of the environment, at least one of the policy; rewards 0, 0.5 or 1. */
enum cn_status fixture_random(struct fixture *fixture, uint64_t seed, size_t n_groups,
                              size_t group_size);

/* Puts NaN, and senseless token ids, wherever a loss must not look. */
void fixture_poison(struct fixture *fixture);

/* Reads a recipe from JSON texts ("\"grpo\"" or an object); NULL: absent. */
enum cn_status fixture_recipe(struct fixture *fixture, const char *algorithm, const char *entropy);

/* Reward shaping, advantage and prepare of one optimizer step over the whole batch. */
enum cn_status fixture_prepare(struct fixture *fixture);

/* Loss and gradient of all atoms, after fixture_prepare. */
enum cn_status fixture_loss(struct fixture *fixture);

/* recipe, prepare and loss. */
enum cn_status fixture_run(struct fixture *fixture, const char *algorithm, const char *entropy);

#endif
