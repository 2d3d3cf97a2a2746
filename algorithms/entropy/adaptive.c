/* Adaptive entropy bonus: holds the entropy e_k of rollout k above a target by moving the
 * coefficient, and switches itself off while the entropy is above.
 *
 *     paper      a_k = c_k 1[e_k <= target];   c_{k+1} = c_k + step if e_k < target,
 *                                                        c_k - step if e_k > target
 *     released   one rollout later: a_k = c_k 1[e_{k-1} < target], and c falls at equality too
 *
 * c stays in [0, maximum] and a_k is the coefficient of the bonus, dL/dH_t = -a_k c_t.  e_k is the
 * mean entropy that the sampler saw, so no pass over the model is needed; the released code takes
 * -logp of the sampled tokens instead.
 *
 *     target 0.2, step 1e-4      e   .35 .25 .18   .15   .19   .20   .21   .17
 *                                a     0   0   0  1e-4  2e-4  3e-4     0  2e-4
 *
 * Skywork-OR1 2025, arXiv 2505.22312, section 3. */
#include "term.h"

#include <math.h>

enum { FORM_PAPER, FORM_RELEASED };

struct adaptive_settings {
    double target, step, initial, maximum;
    int form;
};

struct adaptive_state {
    double coefficient, used, last_entropy;
    uint64_t rollouts; /* seen so far */
};

static const struct cn_option options[] = {
    {.name = "target",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct adaptive_settings, target),
     .fallback = "0.2",
     .minimum = 0,
     .maximum = 1e6,
     .unit = "nats",
     .help = "entropy below which the bonus acts"},
    {.name = "step",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct adaptive_settings, step),
     .fallback = "1e-4",
     .minimum = 0,
     .maximum = 1e6,
     .unit = "reward per nat",
     .help = "change of the coefficient per rollout"},
    {.name = "initial",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct adaptive_settings, initial),
     .fallback = "0",
     .minimum = 0,
     .maximum = 1e6,
     .unit = "reward per nat",
     .help = "coefficient at the start"},
    {.name = "maximum",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct adaptive_settings, maximum),
     .fallback = "0.005",
     .minimum = 0,
     .maximum = 1e6,
     .unit = "reward per nat",
     .help = "largest coefficient"},
    {.name = "form",
     .kind = CN_OPTION_CHOICE,
     .offset = offsetof(struct adaptive_settings, form),
     .fallback = "\"paper\"",
     .choices = "paper released",
     .help = "paper: acts on the entropy of the same rollout; released: on the one before"},
    {0}};

/* Mean entropy of the trained tokens, as far as it is known, over all ranks. */
static enum cn_status rollout_entropy(const struct cn_context *context,
                                      const struct cn_batch *batch, double *out)
{
    struct cn_sum sum = {0};
    const bool released = ((const struct adaptive_settings *)context->settings)->form;
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (batch->part[s] == CN_PART_MAIN && cn_batch_trained(batch, s, t))
                cn_sum_add(&sum, released ? -batch->logp_sampled[t] : batch->entropy_sampled[t]);
    CN_TRY(context->ranks->sum(context->ranks->self, &sum, 1));
    *out = cn_sum_mean(&sum);
    if (sum.count && !isfinite(*out))
        return cn_fail(CN_ERR_NUMERIC,
                       "entropy adaptive: column %s has trained tokens that are not finite",
                       released ? "logp_sampled" : "entropy_sampled");
    return CN_OK;
}

/* Coefficient after a rollout of entropy e. */
static double moved(const struct adaptive_settings *settings, double coefficient, double e)
{
    bool down = settings->form == FORM_RELEASED ? e >= settings->target : e > settings->target;
    double change = e < settings->target ? settings->step : down ? -settings->step : 0;
    return fmin(settings->maximum, fmax(0, coefficient + change));
}

/* Once per rollout: settle the coefficient from the rollout before, and see whether it acts now. */
static enum cn_status adaptive_shape(const struct cn_context *context, struct cn_batch *batch)
{
    const struct adaptive_settings *settings = context->settings;
    struct adaptive_state *state = context->state;
    double entropy;
    CN_TRY(rollout_entropy(context, batch, &entropy));
    if (state->rollouts == 0)
        state->coefficient = fmin(settings->initial, settings->maximum);
    else
        state->coefficient = moved(settings, state->coefficient, state->last_entropy);
    bool enabled = settings->form == FORM_PAPER
                       ? entropy <= settings->target
                       : state->rollouts == 0 || state->last_entropy < settings->target;
    state->used = enabled ? state->coefficient : 0;
    state->last_entropy = entropy;
    state->rollouts++;
    CN_TRY(cn_metrics_set(context->metrics, "entropy/adaptive/coefficient", state->used));
    CN_TRY(cn_metrics_set(context->metrics, "entropy/adaptive/target", settings->target));
    return cn_metrics_set(context->metrics, "entropy/adaptive/actual", entropy);
}

static enum cn_status adaptive_loss(const struct cn_context *context, const struct cn_batch *batch,
                                    struct cn_span atom, const struct cn_live *live,
                                    struct cn_token_grad *grad)
{
    const struct adaptive_state *state = context->state;
    const struct entropy_term term = {batch,       atom,          context->coefficient,
                                      state->used, live->entropy, grad->d_entropy};
    grad->loss += entropy_term_add(&term);
    return CN_OK;
}

const struct cn_entropy cn_entropy_adaptive = {
    .name = "adaptive",
    .summary = "a bonus whose coefficient holds the entropy above a target",
    .reference = "Skywork-OR1 2025, arXiv 2505.22312",
    .needs = CN_NEEDS(entropy_sampled),
    .needs_live = CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct adaptive_settings),
    .state_size = sizeof(struct adaptive_state),
    .hooks = {.shape = adaptive_shape, .loss = adaptive_loss},
};
