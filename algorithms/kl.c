/* Axis `kl`: distance to the reference policy, in the loss or in the reward.
 *
 * With d = logp - logp_ref of the sampled token (methods-base 6):
 *
 *     entry             value                 slope in the loss   expected gradient there
 *     k1                d                     1                   0: pure noise
 *     abs               |d|                   sign d              of no divergence
 *     k2                d^2 / 2               d                   of KL(policy || reference)
 *     k3                exp(-d) - 1 + d       1 - exp(-d)         of KL(reference || policy)
 *     k3, importance    r (exp(-d) - 1 + d)   r d                 as k2, and off-policy, too
 *     straight_through  value of k3           d                   as k2
 *
 * In the reward only k1 gives the true gradient: k3 there can push the wrong way.  Pairs that give
 * a wrong gradient are refused.
 *
 * In the reward the coefficient may be adapted towards a target (Ziegler et al. 2019, arXiv
 * 1909.08593): coefficient *= 1 + clip(KL / target - 1, -0.2, 0.2) n / horizon after n sequences.
 */
#include "axes.h"
#include "groups.h"

#include <math.h>

enum { PLACE_LOSS, PLACE_REWARD };
enum form { K1, ABSOLUTE, K2, K3, STRAIGHT_THROUGH };

struct kl_settings {
    double coefficient, target, horizon, clamp;
    int place;
    bool importance;
};

struct kl_state {
    double coefficient;
    uint64_t started;
};

// clang-format off
#define COEFFICIENT                                                                                \
    {AXIS_REAL(kl_settings, coefficient, 0, 1e6), .fallback = "0.001", .unit = "reward per nat",   \
     .help = "weight of the divergence"}
#define PLACE(default_word)                                                                        \
    {AXIS_CHOICE(kl_settings, place, "loss reward"), .fallback = "\"" default_word "\"",           \
     .help = "where it acts: a term of the loss, or subtracted from the reward of each token"}
// clang-format on

static const struct cn_option k1_options[] = {
    COEFFICIENT,
    PLACE("reward"),
    {AXIS_REAL(kl_settings, target, 1e-12, 1e6), .fallback = "null", .nullable = true,
     .unit = "nats", .help = "adapt the coefficient to hold the KL there; null: it is fixed"},
    {AXIS_REAL(kl_settings, horizon, 1, 1e12), .fallback = "10000", .unit = "sequences",
     .help = "how slowly the coefficient is adapted; acts only with a target"},
    {0}};
static const struct cn_option k2_options[] = {COEFFICIENT, PLACE("loss"), {0}};
static const struct cn_option k3_options[] = {
    COEFFICIENT,
    PLACE("loss"),
    {AXIS_BOOL(kl_settings, importance), .fallback = "false",
     .help = "multiply by the ratio to the old policy, differentiated: exact off-policy"},
    {AXIS_REAL(kl_settings, clamp, 1e-12, 1e6), .fallback = "null", .nullable = true,
     .unit = "nats", .help = "largest value of a token, beyond which it has no gradient; verl: 10"},
    {0}};

/* Value and slope of one token. */
struct term {
    double value, slope;
};

static double guarded(double x)
{
    return fmax(-20, fmin(20, x));
}

static double k3_value(double d)
{
    return expm1(-guarded(d)) + guarded(d);
}

static struct term k3_term(const struct kl_settings *settings, double d, double x)
{
    struct term term = {k3_value(d), fabs(d) > 20 ? 0 : -expm1(-d)};
    if (term.value > settings->clamp) return (struct term){settings->clamp, 0};
    if (!settings->importance) return term;
    double ratio = exp(guarded(x));
    struct term weighted = {ratio * term.value, ratio * (term.value + term.slope)};
    return weighted;
}

/* d and x = logp - logp_old are live; d_frozen is d behind a stop-gradient. */
static struct term evaluate(enum form form, const struct kl_settings *settings, double d,
                            double d_frozen, double x)
{
    struct term term = {0.5 * d * d, d};
    switch (form) {
    case K1:
        return (struct term){d, 1};
    case ABSOLUTE:
        return (struct term){fabs(d), d > 0 ? 1 : d < 0 ? -1 : 0};
    case K2:
        return term;
    case K3:
        return k3_term(settings, d, x);
    case STRAIGHT_THROUGH:
        term.value += k3_value(d_frozen) - 0.5 * d_frozen * d_frozen;
        return term;
    }
    return term;
}

/* ---- in the loss --------------------------------------------------------- */

/* Arguments of a call of the hook `add`. */
struct addition {
    const struct cn_context *context;
    const struct cn_batch *batch;
    struct cn_span atom;
    const struct cn_live *live;
    const double *coefficient;
    struct cn_token_grad *grad;
};

static enum cn_status add_form(enum form form, const struct addition *a)
{
    const struct kl_settings *settings = a->context->settings;
    const struct cn_batch *batch = a->batch;
    if (settings->place != PLACE_LOSS) return CN_OK;
    for (size_t s = a->atom.begin; s < a->atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            double reference = batch->logp_ref[t];
            struct term term = evaluate(form, settings, a->live->logp[t] - reference,
                                        a->context->frozen->logp[t] - reference,
                                        a->live->logp[t] - batch->logp_old[t]);
            double weight = settings->coefficient * a->coefficient[t];
            a->grad->loss += weight * term.value;
            a->grad->d_logp[t] += weight * term.slope;
        }
    return CN_OK;
}

#define ADD(entry, form)                                                                           \
    static enum cn_status entry##_add(                                                             \
        const struct cn_context *context, const struct cn_batch *batch, struct cn_span atom,       \
        const struct cn_live *live, const double *coefficient, struct cn_token_grad *grad)         \
    {                                                                                              \
        const struct addition addition = {context, batch, atom, live, coefficient, grad};          \
        return add_form(form, &addition);                                                          \
    }

ADD(k2, K2)
ADD(k3, K3)
ADD(straight_through, STRAIGHT_THROUGH)

/* ---- in the reward ------------------------------------------------------- */

/* Subtracts coefficient * k1 from the tokens of one sequence; returns the mean of k1. */
static double punish(struct cn_batch *batch, size_t s, double coefficient)
{
    double sum = 0, n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
        if (batch->role[t] != CN_ROLE_POLICY) continue;
        double d = batch->logp_old[t] - batch->logp_ref[t];
        batch->token_reward[t] -= coefficient * d;
        sum += d;
        n++;
    }
    return n > 0 ? sum / n : 0;
}

static void adapt(const struct kl_settings *settings, struct kl_state *state, double kl, double n)
{
    if (isnan(settings->target)) return;
    double error = fmax(-0.2, fmin(0.2, kl / settings->target - 1));
    state->coefficient *= 1 + error * n / settings->horizon;
}

static enum cn_status k1_reward(const struct cn_context *context, struct cn_batch *batch)
{
    const struct kl_settings *settings = context->settings;
    struct kl_state *state = context->state;
    struct cn_sum kl = {0};
    CN_TRY(cn_batch_require(batch, CN_NEEDS(logp_old) | CN_NEEDS(logp_ref), "kl k1 in the reward"));
    if (!state->started) *state = (struct kl_state){settings->coefficient, 1};
    if (!(batch->written & CN_NEEDS(token_reward))) {
        for (size_t t = 0; t < batch->n_tokens; t++)
            batch->token_reward[t] = 0;
        batch->written |= CN_NEEDS(token_reward);
    }
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s)) cn_sum_add(&kl, punish(batch, s, state->coefficient));
    CN_TRY(context->ranks->sum(context->ranks->self, &kl, 1));
    CN_TRY(cn_metrics_set(context->metrics, "kl/coefficient", state->coefficient));
    CN_TRY(cn_metrics_set(context->metrics, "kl/reward_kl", cn_sum_mean(&kl)));
    adapt(settings, state, cn_sum_mean(&kl), (double)kl.count);
    return CN_OK;
}

/* ---- which pairs make sense ---------------------------------------------- */

static enum cn_status k1_check(const void *settings)
{
    if (((const struct kl_settings *)settings)->place == PLACE_LOSS)
        return cn_fail(CN_ERR_CONFIG,
                       "k1 in the loss has gradient zero on average, pure noise (its slope is 1 "
                       "whatever the distance): use type=k2 with place=loss, or place=reward");
    return CN_OK;
}

static enum cn_status loss_only_check(const void *settings)
{
    if (((const struct kl_settings *)settings)->place == PLACE_REWARD)
        return cn_fail(CN_ERR_CONFIG,
                       "only k1 in the reward has the gradient of the KL; this estimator there can "
                       "push the policy away from the reference: use type=k1 with place=reward, "
                       "or place=loss");
    return CN_OK;
}

static enum cn_status abs_check(const void *settings)
{
    (void)settings;
    return cn_fail(CN_ERR_CONFIG, "|d| is no estimator of a divergence, and its gradient is that "
                                  "of none, in the loss and in the reward: use type=k2");
}

static const struct cn_kl none = {
    .name = "none",
    .summary = "no reference policy",
    .reference = "",
};

static const struct cn_kl k1 = {
    .name = "k1",
    .summary = "log-ratio, subtracted from the reward",
    .reference = "Ouyang et al. 2022, InstructGPT; controller: Ziegler et al. 2019, 1909.08593",
    .needs = CN_NEEDS(logp_old) | CN_NEEDS(logp_ref),
    .options = k1_options,
    .settings_size = sizeof(struct kl_settings),
    .state_size = sizeof(struct kl_state),
    .check = k1_check,
    .reward = k1_reward,
};

static const struct cn_kl absolute = {
    .name = "abs",
    .summary = "absolute log-ratio; refused everywhere",
    .reference = "verl kl_penalty abs",
    .needs = CN_NEEDS(logp_ref),
    .options = k2_options,
    .settings_size = sizeof(struct kl_settings),
    .check = abs_check,
};

#define ENTRY(entry, text, source, table)                                                          \
    static const struct cn_kl entry = {.name = #entry,                                             \
                                       .summary = text,                                            \
                                       .reference = source,                                        \
                                       .needs = CN_NEEDS(logp_ref),                                \
                                       .options = table,                                           \
                                       .settings_size = sizeof(struct kl_settings),                \
                                       .check = loss_only_check,                                   \
                                       .add = entry##_add}

ENTRY(k2, "half the squared log-ratio, in the loss", "Schulman, Approximating KL divergence",
      k2_options);
ENTRY(k3, "exp(-d) - 1 + d, in the loss, optionally with the importance weight",
      "Shao et al. 2024, GRPO, arXiv 2402.03300, equation 4; importance: DeepSeek-V3.2, 2512.02556",
      k3_options);
ENTRY(straight_through, "value of k3, gradient of k2", "verl k3+", k2_options);

const struct cn_plugin *const axis_kl[] = {AXIS_HEAD(none),
                                           AXIS_HEAD(k1),
                                           AXIS_HEAD(absolute),
                                           AXIS_HEAD(k2),
                                           AXIS_HEAD(k3),
                                           AXIS_HEAD(straight_through),
                                           NULL};
