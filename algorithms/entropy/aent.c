/* AEnt: a bonus for the entropy of the upper part of the vocabulary, with a band for it.
 *
 *     A(s)  the V - floor(clamp V) most likely tokens;  pi~ = pi renormalised over A(s)
 *     L    -= lambda aggregate(H(pi~));    dL/dH~_t = -lambda c_t;    membership has no gradient
 *     lambda <- clamp(lambda - rate (min(0, e - low) + max(0, e - high)), smallest, largest)
 *
 * after each rollout but the first `warmup`, with e the mean clamped entropy of the main tokens
 * over the updates of that rollout.  Inside the band [low, high] the coefficient stays; rate 0
 * fixes it.
 *
 * Paper and code agree; the released code has the adaptive coefficient off unless it is asked for,
 * and its micro-batch means are means of means, where e here is over tokens.
 * Shen 2025, arXiv 2509.03493. */
#include "term.h"
#include "tokens.h"

#include <math.h>

struct aent_settings {
    double coefficient, clamp, low, high, rate, smallest, largest;
    int64_t warmup;
};

struct aent_state {
    double coefficient, entropy; /* entropy: of the rollout's updates so far */
    bool seen;
    uint64_t rollouts;
};

static const struct cn_option options[] = {
    {TOKENS_REAL(aent_settings, coefficient, 0, 1e6), .fallback = "0.0002",
     .unit = "reward per nat", .help = "weight of the clamped entropy at the start"},
    {TOKENS_REAL(aent_settings, clamp, 0, 1), .fallback = "0.4",
     .help = "part of the vocabulary, the least likely, that is left out"},
    {TOKENS_REAL(aent_settings, low, 0, 1e6), .fallback = "0.05", .unit = "nats",
     .help = "below this clamped entropy the coefficient rises"},
    {TOKENS_REAL(aent_settings, high, 0, 1e6), .fallback = "0.23", .unit = "nats",
     .help = "above this clamped entropy the coefficient falls"},
    {TOKENS_REAL(aent_settings, rate, 0, 1e6), .fallback = "0.001",
     .unit = "reward per squared nat",
     .help = "change of the coefficient per nat outside the band"},
    {TOKENS_REAL(aent_settings, smallest, 0, 1e6), .fallback = "1e-5", .unit = "reward per nat",
     .help = "smallest coefficient"},
    {TOKENS_REAL(aent_settings, largest, 0, 1e6), .fallback = "0.003", .unit = "reward per nat",
     .help = "largest coefficient"},
    {.name = "warmup",
     .kind = CN_OPTION_INT,
     .minimum = 0,
     .maximum = 1e9,
     .offset = offsetof(struct aent_settings, warmup),
     .fallback = "0",
     .unit = "rollouts",
     .help = "rollouts before the coefficient moves; 29 in the released configuration"},
    {0}};

static enum cn_status check(const void *settings)
{
    const struct aent_settings *s = settings;
    if (s->clamp >= 1)
        return cn_fail(CN_ERR_CONFIG, "clamp=%g leaves no token: use a number below 1", s->clamp);
    if (s->low > s->high || s->smallest > s->largest)
        return cn_fail(CN_ERR_CONFIG,
                       "low=%g must not be above high=%g, nor smallest=%g above "
                       "largest=%g",
                       s->low, s->high, s->smallest, s->largest);
    return CN_OK;
}

static struct cn_top top(const void *settings)
{
    struct cn_top top = {CN_TOP_SHARE, 1 - ((const struct aent_settings *)settings)->clamp, true};
    return top;
}

/* Before a rollout's first update: move the coefficient by what the rollout before showed. */
static enum cn_status shape(const struct cn_context *context, struct cn_batch *batch)
{
    const struct aent_settings *settings = context->settings;
    struct aent_state *state = context->state;
    (void)batch;
    if (state->rollouts == 0) state->coefficient = settings->coefficient;
    if (state->seen && state->rollouts > (uint64_t)settings->warmup) {
        const double e = state->entropy;
        const double outside = fmin(0, e - settings->low) + fmax(0, e - settings->high);
        state->coefficient =
            fmin(fmax(state->coefficient - settings->rate * outside, settings->smallest),
                 settings->largest);
    }
    state->seen = false;
    state->rollouts++;
    return tokens_control(context, "aent", state->coefficient, NAN, NAN);
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct aent_state *state = context->state;
    const struct entropy_term term = {batch,
                                      atom,
                                      context->coefficient,
                                      state->coefficient,
                                      live->entropy_top,
                                      grad->d_entropy_top};
    struct cn_sum entropy = {.count = 0};
    grad->loss += entropy_term_add(&term);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t) && batch->part[s] == CN_PART_MAIN)
                cn_sum_add(&entropy, live->entropy_top[t]);
    return cn_metrics_merge(context->metrics, "entropy/aent/actual", &entropy);
}

static enum cn_status adapt(const struct cn_context *context, const struct cn_step_summary *summary)
{
    struct aent_state *state = context->state;
    state->entropy = cn_metrics_value(summary->metrics, "entropy/aent/actual", NAN);
    state->seen = !isnan(state->entropy);
    return CN_OK;
}

const struct cn_entropy cn_entropy_aent = {
    .name = "aent",
    .summary = "a bonus for the entropy of the likely part of the vocabulary, held in a band",
    .reference = "Shen 2025, AEnt, arXiv 2509.03493",
    .needs_live = CN_LIVE_BIT(entropy_top),
    .options = options,
    .settings_size = sizeof(struct aent_settings),
    .state_size = sizeof(struct aent_state),
    .check = check,
    .hooks = {.shape = shape, .loss = loss, .adapt = adapt},
    .top = top,
};
