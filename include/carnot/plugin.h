/* What axes and entropy methods have in common: the context of a call, the collectives they may
 * use, sampling requests, and the hooks through which a method acts without the trainer knowing its
 * name. */
#ifndef CARNOT_PLUGIN_H
#define CARNOT_PLUGIN_H

#include "carnot/metrics.h"
#include "carnot/option.h"
#include "carnot/rng.h"
#include "carnot/sum.h"
#include "carnot/token_facts.h"
#include "carnot/token_grad.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Counts of one optimizer step over all ranks, per part of the batch: the only normalisers there
 * are. */
struct cn_counts {
    double tokens;       /* trained tokens */
    double sequences;    /* trained sequences with at least one trained token */
    double groups;       /* groups with at least one trained sequence */
    double length_max;   /* rollout.max_tokens: the constant of Dr. GRPO */
    struct cn_span span; /* this rank's sequences of the optimizer step */
};

/* The only collectives that a plug-in can reach.  All are logically collective. */
struct cn_reduce {
    void *self;
    /* Exact sums, merged over ranks in place. */
    enum cn_status (*sum)(void *self, struct cn_sum *sums, size_t n);
    /* Element-wise maxima over ranks, in place. */
    enum cn_status (*max)(void *self, double *values, size_t n);
    /* Everybody's values end to end in global sequence order; `mine` is where this rank's begin. */
    enum cn_status (*gather)(void *self, const double *values, size_t n, struct cn_arena *arena,
                             const double **all, size_t *n_all, size_t *mine);
    /* Marks the `k` largest of all ranks' values: chosen (n) is set to 0 or 1.  Ties go to the
     * earlier token. */
    enum cn_status (*select_largest)(void *self, const double *values, size_t n, size_t k,
                                     struct cn_arena *scratch, uint8_t *chosen);
};

/* The one-rank form of the collectives; implemented in trainer/core. */
extern const struct cn_reduce cn_reduce_alone;

/* What the trainer hands to every plug-in call.
 *
 * A stop-gradient needs no graph: a plug-in that treats a live value as a constant reads it from
 * `frozen` (the same numbers in a training step) and what it differentiates from its argument
 * `live`, so that a check may move `live` alone and compare differences with the gradient. */
struct cn_context {
    const void *settings; /* the plug-in's own struct, parsed from its option table */
    void *state; /* its own plain bytes, zeroed at start, checkpointed; NULL if state_size is 0 */
    struct cn_arena *scratch;       /* emptied after the call */
    struct cn_rng_key rng;          /* (seed, step, SELECTION) */
    uint64_t step, update;          /* rollout step; which optimizer step within it */
    uint32_t bit;                   /* this method's bit in the column `touched` */
    const struct cn_counts *counts; /* [CN_PART_COUNT] */
    const struct cn_reduce *ranks;
    struct cn_token_facts facts;  /* of token ids; empty unless somebody's needs_facts asks */
    struct cn_metrics *metrics;   /* where the plug-in may add named numbers; may be NULL */
    const struct cn_live *frozen; /* in the loss: live values behind a stop-gradient */
    const double *coefficient;    /* in the loss: the aggregation's c (T), 0 where untrained */
    const struct cn_spans *atoms; /* in prepare: what the step is computed in; never NULL there */
    const uint8_t *stopped; /* in prepare, if there are live values: 1 (T) where the surrogate stops
                               the gradient; else NULL */
};

/* A wish for one sequence.
 *
 * The trainer itself asks for train.prompts x train.samples main samples in round 0, in which
 * `so_far` is empty.  Hooks may add auxiliary samples of the prompts of `so_far` (by number) or
 * new groups: prompt CN_PROMPT_NEXT is the next prompt of the run's order, and the samples 0..n-1
 * of one group stand one after the other with the same parent -1; a request with sample 0 begins a
 * new group.  Every rank asks for the same list; the trainer gives each its share. */
#define CN_PROMPT_NEXT UINT64_MAX
struct cn_request {
    uint64_t prompt;
    uint32_t sample;
    int64_t parent;     /* sequence to branch from, numbered over all ranks, or -1 */
    uint32_t branch_at; /* place in the parent at which the sequence's own tokens begin */
    float temperature;  /* 0: the run's */
    bool greedy;
    uint8_t part;
    uint32_t view; /* 0: the task as it is posed; 1: in other words, if the environment has them */
    bool own_text; /* of a branch: rewards see what it wrote itself, not the beginning */
    uint32_t age;  /* of part replay: all main answers of the rollout so many steps ago, as far as
                      they are remembered; everything else is ignored */
};

/* Growing list of requests, in an arena. */
struct cn_requests {
    struct cn_arena *arena;
    struct cn_request *item;
    size_t count, capacity;
};
enum cn_status cn_requests_add(struct cn_requests *requests, struct cn_request request);

/* One sequence while it is being sampled. */
struct cn_sampling {
    uint64_t prompt;
    uint32_t sample, position; /* position: tokens of its own so far */
    double logp, entropy;      /* of the token just sampled */
};

/* Answer of `branch`: how many copies of the sequence go on independently from here. */
struct cn_forks {
    uint32_t count;
};

/* Merged numbers of a finished optimizer step. */
struct cn_step_summary {
    double reward, entropy, approx_kl, kl_ref, length,
        grad_norm; /* means over trained tokens or sequences */
    const struct cn_metrics *metrics;
    bool *renew_reference; /* set to true: the present policy becomes the reference; may be NULL */
};

/* Ways to act; any may be NULL. */
struct cn_hooks {
    /* Ask for sequences.  Called at the start of each round with what exists so far; no request
     * from anybody ends the rounds.  SAMPLE and REWARD columns of `so_far` are written; it may set
     * `drop`.  Logically collective. */
    enum cn_status (*plan)(const struct cn_context *context, uint32_t round,
                           struct cn_batch *so_far, struct cn_requests *out);
    /* While sampling: fork this sequence here?  Deterministic in what it is given.  Not collective.
     */
    enum cn_status (*branch)(const struct cn_context *context, const struct cn_sampling *now,
                             struct cn_forks *out);
    /* Before the ADVANTAGE stage, after shaping: may replace `reward`, never `score`.  Logically
     * collective. */
    enum cn_status (*judge)(const struct cn_context *context, struct cn_batch *batch);
    /* Within the ADVANTAGE stage, after the estimator.  Logically collective. */
    enum cn_status (*shape)(const struct cn_context *context, struct cn_batch *batch);
    /* Once per optimizer step over `span`, with live values of the whole span if `needs_live` asked
     * for them: fills weight, touched, constants.  For the first update of a rollout these are the
     * scored columns, unless the old log-probabilities are the sampler's.  Logically collective. */
    enum cn_status (*prepare)(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live);
    /* Per atom, after the surrogate: add to or scale the gradient.  Not collective. */
    enum cn_status (*loss)(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad);
    /* After the optimizer step, with merged numbers: change state (coefficients, temperatures,
     * horizons). */
    enum cn_status (*adapt)(const struct cn_context *context,
                            const struct cn_step_summary *summary);
};

/* The head of every axis entry and entropy method.  needs: columns that it reads and that are not
 * always there.  needs_live: channels that `prepare` or `loss` read.  updates_minimum: optimizer
 * steps per rollout without which it changes nothing; 0: any. */
#define CN_PLUGIN_FIELDS                                                                           \
    const char *name, *summary, *reference;                                                        \
    cn_columns needs;                                                                              \
    uint32_t needs_live;                                                                           \
    const struct cn_option *options;                                                               \
    size_t settings_size, state_size, updates_minimum;                                             \
    /* Checks settings against each other once they are parsed; optional. */                       \
    enum cn_status (*check)(const void *settings);                                                 \
    /* Whether `prepare` reads live values under these settings; NULL: if needs_live asks. */      \
    bool (*prepare_live)(const void *settings);                                                    \
    /* The setting by which it reads facts of token ids, "entropy.NAME.key=value"; NULL: none. */  \
    const char *(*needs_facts)(const void *settings);                                              \
    bool needs_views; /* it asks for other wordings of tasks */                                    \
    /* Past rollouts that it may ask for; NULL: 0. */                                              \
    size_t (*replay_depth)(const void *settings);                                                  \
    struct cn_hooks hooks;

struct cn_plugin {
    CN_PLUGIN_FIELDS
};

/* A plug-in with its parsed settings and its state. */
struct cn_chosen {
    const struct cn_plugin *plugin;
    const void *settings;
    void *state;
};

#ifdef __cplusplus
}
#endif
#endif
