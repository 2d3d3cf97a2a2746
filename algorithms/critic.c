/* Axis `critic`: the loss of the value function.
 *
 *     v_t = 1/2 max((V - ret)^2, (clip(V, V_old - clip, V_old + clip) - ret)^2)
 *     dv_t/dV = V - ret, or 0 where the clipped branch is strictly larger
 *
 * ret is value_target.  The mean over tokens is the aggregation's, times `scale`. */
#include "axes.h"

#include <math.h>

struct critic_settings {
    double clip, scale;
    int64_t warmup_steps;
};

static const struct cn_option clipped_options[] = {
    {AXIS_REAL(critic_settings, clip, 0, 1e9), .fallback = "0.2", .unit = "reward",
     .help = "how far the value may move from the old one before its gradient stops"},
    {AXIS_REAL(critic_settings, scale, 0, 1e6), .fallback = "1",
     .help = "weight of the value loss beside the policy's"},
    {AXIS_INT(critic_settings, warmup_steps, 0, 1e9), .fallback = "0", .unit = "optimizer steps",
     .help = "only the value function learns in the first steps of the run; VAPO: about 50"},
    {0}};

static uint64_t clipped_warmup(const void *settings)
{
    return (uint64_t)((const struct critic_settings *)settings)->warmup_steps;
}

static enum cn_status clipped_add(const struct cn_context *context, const struct cn_batch *batch,
                                  struct cn_span atom, const struct cn_live *live,
                                  const double *coefficient, struct cn_token_grad *grad)
{
    const struct critic_settings *settings = context->settings;
    struct cn_sum clipped = {0}, loss = {0};
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const double old = batch->value_old[t], target = batch->value_target[t];
            const double bounded =
                fmax(old - settings->clip, fmin(old + settings->clip, live->value[t]));
            const double free_error = live->value[t] - target, error = bounded - target;
            const bool stopped = error * error > free_error * free_error;
            const double value = 0.5 * fmax(error * error, free_error * free_error);
            const double weight = settings->scale * coefficient[t];
            grad->loss += weight * value;
            grad->d_value[t] += stopped ? 0 : weight * free_error;
            cn_sum_add(&clipped, stopped);
            cn_sum_add(&loss, value);
        }
    CN_TRY(cn_metrics_merge(context->metrics, "critic/loss", &loss));
    return cn_metrics_merge(context->metrics, "critic/clip_frac", &clipped);
}

static const struct cn_critic none = {
    .name = "none",
    .summary = "no value function",
    .reference = "",
};

static const struct cn_critic clipped = {
    .name = "clipped",
    .summary = "squared error, clipped around the old value",
    .reference = "Schulman et al. 2017, PPO; methods-base 3.5",
    .needs = CN_NEEDS(value_old) | CN_NEEDS(value_target),
    .needs_live = CN_LIVE_BIT(value),
    .options = clipped_options,
    .settings_size = sizeof(struct critic_settings),
    .warmup = clipped_warmup,
    .add = clipped_add,
};

const struct cn_plugin *const axis_critic[] = {AXIS_HEAD(none), AXIS_HEAD(clipped), NULL};
