/* Algorithms: a row of choices, one entry per axis.
 *
 *   advantage -> ratio -> surrogate -> aggregation, plus kl and the entropy methods
 *
 * For trained token t with effective log-ratio u_t, surrogate (l_t, k_t = dl_t/du_t), aggregation
 * coefficient c_t, correction w_t and entropy weight h_t:
 *
 *   L = sum_t c_t w_t h_t l_t + KL and entropy terms        d_logp = ratio.back(c_t w_t h_t k_t)
 *
 * algorithms/loss.c holds the one loop that composes them. */
#ifndef CARNOT_ALGORITHM_H
#define CARNOT_ALGORITHM_H

#include "carnot/entropy.h"
#include "carnot/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The axes in the order in which they act, and the default of a row that names none. */
#define CN_AXES(X)                                                                                 \
    X(sampling, "fixed", "which prompts are sampled and which groups are kept")                    \
    X(advantage, "group_mean_std", "how much better than expected a token's choice was")           \
    X(ratio, "token", "the effective log-ratio u of new and old policy")                           \
    X(surrogate, "ppo", "loss per token as a function of u and the advantage")                     \
    X(aggregation, "token_mean", "the coefficient of each token in the step's loss")               \
    X(kl, "none", "distance to the reference policy")                                              \
    X(correction, "none", "weight for the difference between sampler and trainer")                 \
    X(critic, "none", "value function")

enum cn_axis_index {
#define X(name, fallback, text) CN_AXIS_##name,
    CN_AXES(X)
#undef X
        CN_AXIS_COUNT
};

/* `shaping` is a list (zero or more entries act in order) and stands beside the axes. */

struct cn_sampling_rule {
    CN_PLUGIN_FIELDS /* acts through hooks.plan */
};

struct cn_shaping {
    CN_PLUGIN_FIELDS
    /* Changes `reward` (and may set `drop`) after scoring; never `score`.  Not collective. */
    enum cn_status (*apply)(const struct cn_context *context, struct cn_batch *batch);
};

struct cn_advantage {
    CN_PLUGIN_FIELDS
    /* Fills `advantage` (and value_target with a critic) of every trained token, 0 elsewhere;
     * groups are complete on the rank.  Logically collective. */
    enum cn_status (*fill)(const struct cn_context *context, struct cn_batch *batch);
    bool per_token;       /* may differ between the tokens of a sequence */
    size_t group_minimum; /* samples per prompt without which the baseline does not exist; 0 or 1:
                             none */
};

/* u (T): effective log-ratio.  back: d_u (T) = dL/du -> added to d_logp (T).  Untrained entries of
 * u are 0; `back` must not read untrained entries of live->logp. */
struct cn_ratio {
    CN_PLUGIN_FIELDS
    void (*forward)(const struct cn_context *context, const struct cn_batch *batch,
                    struct cn_span span, const struct cn_live *live, double *u);
    void (*back)(const struct cn_context *context, const struct cn_batch *batch,
                 struct cn_span span, const struct cn_live *live, const double *d_u,
                 double *d_logp);
    bool per_sequence; /* one value per sequence: a token-varying advantage is refused */
};

/* One token as a surrogate sees it. */
struct cn_point {
    double u;        /* effective log-ratio, differentiated */
    double u_frozen; /* the same number behind a stop-gradient: differences in u alone check the
                        slope */
    double advantage;
    double logp, logp_old; /* constants, behind a stop-gradient */
};

/* Loss and its derivative in u; `clipped` says which side of the trust region stopped the gradient:
 * -1, 0, +1, or 2 for a second bound beyond the upper one (dual clip). */
struct cn_slope {
    double loss, d_u;
    int clipped;
};

struct cn_surrogate {
    CN_PLUGIN_FIELDS
    struct cn_slope (*eval)(const void *settings, const struct cn_point *point);
};

struct cn_aggregation {
    CN_PLUGIN_FIELDS
    /* Coefficients c (T) of the tokens of `span`; untrained entries are set to 0.  Whole-step
     * counts only. */
    void (*fill)(const struct cn_context *context, const struct cn_batch *batch,
                 struct cn_span span, double *coefficient);
};

struct cn_kl {
    CN_PLUGIN_FIELDS
    /* Adds KL terms: coefficient (T) from the aggregation -> grad.  Optional (KL in the reward uses
     * `reward`). */
    enum cn_status (*add)(const struct cn_context *context, const struct cn_batch *batch,
                          struct cn_span atom, const struct cn_live *live,
                          const double *coefficient, struct cn_token_grad *grad);
    /* Writes token_reward before the advantage.  Optional. */
    enum cn_status (*reward)(const struct cn_context *context, struct cn_batch *batch);
};

struct cn_correction {
    CN_PLUGIN_FIELDS
    /* Fills `correction` (and may set it to 0 to mask).  Logically collective. */
    enum cn_status (*fill)(const struct cn_context *context, struct cn_batch *batch,
                           struct cn_span span);
};

struct cn_critic {
    CN_PLUGIN_FIELDS
    /* Optimizer steps at the start of a run in which only the value function learns.  Optional. */
    uint64_t (*warmup)(const void *settings);
    /* Adds the value loss and d_value. */
    enum cn_status (*add)(const struct cn_context *context, const struct cn_batch *batch,
                          struct cn_span atom, const struct cn_live *live,
                          const double *coefficient, struct cn_token_grad *grad);
};

/* A default that a row sets: option path below `algorithm` and value as JSON text. */
struct cn_default {
    const char *path, *value; /* { "surrogate.clip_high", "0.28" } */
};

/* One row of algorithms.c.  NULL takes the axis's default. */
struct cn_algorithm {
    const char *name, *summary, *reference;
#define X(name, fallback, text) const char *name;
    CN_AXES(X)
#undef X
    const char *shaping; /* JSON list, e.g. "[{\"type\": \"soft_overlong\"}]"; NULL: none */
    const char *anchor;  /* "old" (default), "sampled": what logp_old means */
    const struct cn_default *defaults; /* ends with a NULL path; may be NULL */
};

extern const struct cn_algorithm *const cn_algorithms[]; /* NULL-terminated */
const struct cn_algorithm *cn_algorithm_find(const char *name);

/* Entries of an axis (NULL-terminated), as plug-in heads; cast to the axis's struct. */
const struct cn_plugin *const *cn_axis_entries(enum cn_axis_index axis);
const struct cn_plugin *const *cn_shaping_entries(void);
const char *cn_axis_name(enum cn_axis_index axis);

/* Everything that was chosen for a run.  Made by cn_recipe_read, lives in its arena. */
struct cn_recipe {
    const struct cn_algorithm *row;
    struct cn_chosen axis[CN_AXIS_COUNT];
    struct cn_chosen *shaping, *entropy,
        *shadow; /* shadow: entropy methods that only report what they would do */
    size_t n_shaping, n_entropy, n_shadow;
    bool anchor_sampled;    /* logp_old is logp_sampled */
    cn_columns needs;       /* union over everything chosen; logp_old only if it is read before the
                               loss, where it always exists */
    uint32_t needs_live;    /* channels that loss or prepare read; always has logp */
    bool prepare_live;      /* somebody's prepare needs live values of the whole step */
    struct cn_top top;      /* restriction of entropy_top */
    uint64_t critic_warmup; /* optimizer steps in which only the value function learns */
    size_t group_minimum;
    size_t replay_depth;                   /* past rollouts that somebody may ask for */
    const struct cn_plugin *needs_views;   /* asks for other wordings of tasks; may be NULL */
    const struct cn_plugin *branches;      /* has the hook `branch`; may be NULL */
    const struct cn_plugin *needs_updates; /* does nothing below its updates_minimum; may be NULL */
    const char *needs_facts; /* a setting that reads facts of token ids; may be NULL */
};

/* Resolves the sections "algorithm" and "entropy" (either may be NULL): row, axes, options, entropy
 * methods; refuses combinations that make no sense, with the reason. Fails: CN_ERR_CONFIG.  The
 * recipe and all settings and states live in `arena`. */
enum cn_status cn_recipe_read(const struct cn_json *algorithm, const struct cn_json *entropy,
                              struct cn_arena *arena, struct cn_recipe *out);

/* What a call needs from the trainer beside the batch. */
struct cn_loss_call {
    const struct cn_recipe *recipe;
    uint64_t seed, step, update;
    const struct cn_counts *counts; /* [CN_PART_COUNT] */
    const struct cn_reduce *ranks;
    struct cn_arena *scratch;
    struct cn_token_facts facts;  /* of the tokenizer; empty unless recipe->needs_facts */
    struct cn_metrics *metrics;   /* may be NULL */
    const struct cn_live *frozen; /* values behind stop-gradients; NULL: the live ones.  Only checks
                                     of derivatives set it */
    const struct cn_spans *atoms; /* of the optimizer step, for prepare; NULL: it is one */
};

/* Counts of the trained tokens of `span`, over all ranks.  Logically collective. */
enum cn_status cn_loss_count(const struct cn_batch *batch, struct cn_span span, double length_max,
                             const struct cn_reduce *ranks, struct cn_arena *scratch,
                             struct cn_counts counts[CN_PART_COUNT]);

/* Between SCORE and ADVANTAGE: shaping entries in order, KL in reward, and what is left of a group
 * after failures is dropped if the baseline needs more samples.  counts: of the whole rollout.
 * Logically collective. */
enum cn_status cn_loss_shape_reward(const struct cn_loss_call *call, struct cn_batch *batch);

/* The ADVANTAGE stage: the estimator, then shape hooks of entropy methods.  counts: of the whole
 * rollout.  Logically collective. */
enum cn_status cn_loss_advantage(const struct cn_loss_call *call, struct cn_batch *batch);

/* The PREPARE stage of one optimizer step over `span`: correction, weight = 1, touched = 0, prepare
 * hooks. live: whole-span live values if recipe->prepare_live, else NULL.  Logically collective. */
enum cn_status cn_loss_prepare(const struct cn_loss_call *call, struct cn_batch *batch,
                               struct cn_span span, const struct cn_live *live);

/* Loss and gradients of one atom: zeroes the atom's part of every d_ array, then adds every term;
 * grad->loss accumulates.  Sums over atoms and ranks need no further factor.  Adds metrics (clip
 * fractions, approx_kl ...). Fails: CN_ERR_NUMERIC naming sequence and token if a trained live
 * value is not finite.  Not collective. */
enum cn_status cn_loss_atom(const struct cn_loss_call *call, const struct cn_batch *batch,
                            struct cn_span atom, const struct cn_live *live,
                            struct cn_token_grad *grad);

/* branch hooks of everything chosen: out->count is the sum of the copies they ask for.  Not
 * collective. */
enum cn_status cn_loss_branch(const struct cn_loss_call *call, const struct cn_sampling *now,
                              struct cn_forks *out);

/* adapt hooks of everything chosen. */
enum cn_status cn_loss_adapt(const struct cn_loss_call *call,
                             const struct cn_step_summary *summary);

/* plan hooks of everything chosen, in order: sampling axis first. */
enum cn_status cn_loss_plan(const struct cn_loss_call *call, uint32_t round,
                            struct cn_batch *so_far, struct cn_requests *out);

#ifdef __cplusplus
}
#endif
#endif
