/* Shaping: changes of the reward after scoring; any number of entries act in order.
 *
 * `score` stays what the verifier said; only `reward`, which the advantage uses, changes. */
#include "axes.h"
#include "groups.h"

#include <math.h>

/* ---- soft overlong punishment ------------------------------------------------------------------
 *
 *      0 |-----------.                      length l of the answer, limit L, buffer C
 *        |            \                     0                  if l <= L - C
 *  -scale|             '---                 (L - C - l) / C    if l <= L
 *        +----------L-C---L---              -1                 beyond                           */

struct soft_overlong_settings {
    double buffer, scale;
};

static const struct cn_option soft_overlong_options[] = {
    {AXIS_REAL(soft_overlong_settings, buffer, 1, 1e9), .fallback = "null", .nullable = true,
     .unit = "tokens",
     .help = "length of the slope before rollout.max_tokens; null: a fifth of it, as in the paper"},
    {AXIS_REAL(soft_overlong_settings, scale, 0, 1e6), .fallback = "1", .unit = "reward",
     .help = "punishment at the limit"},
    {0}};

static enum cn_status soft_overlong_apply(const struct cn_context *context, struct cn_batch *batch)
{
    const struct soft_overlong_settings *settings = context->settings;
    CN_BUG_IF(!context->counts);
    double limit = context->counts[CN_PART_MAIN].length_max;
    double buffer = isnan(settings->buffer) ? limit / 5 : settings->buffer;
    if (buffer > limit)
        return cn_fail(CN_ERR_CONFIG,
                       "algorithm.shaping soft_overlong: buffer=%g is longer than the longest "
                       "answer, rollout.max_tokens=%g; use at most that, or null for a fifth of it",
                       buffer, limit);
    struct cn_sum punished = {0};
    for (size_t s = 0; s < batch->n_sequences; s++) {
        if (batch->part[s] != CN_PART_MAIN || !groups_scored(batch, s)) continue;
        double length = (double)groups_length(batch, s);
        double slope = buffer > 0 ? (limit - buffer - length) / buffer : 0;
        double change = settings->scale * fmin(0, fmax(-1, slope));
        cn_sum_add(&punished, change < 0);
        batch->reward[s] += change;
    }
    return cn_metrics_merge(context->metrics, "shaping/soft_overlong_frac", &punished);
}

static const struct cn_shaping soft_overlong = {
    .name = "soft_overlong",
    .summary = "a punishment that grows over the last tokens before the limit",
    .reference = "Yu et al. 2025, DAPO, arXiv 2503.14476, equation 13",
    .options = soft_overlong_options,
    .settings_size = sizeof(struct soft_overlong_settings),
    .apply = soft_overlong_apply,
};

/* ---- overlong filter ---------------------------------------------------------------------------
 */

/* Answers that were cut off are not trained on; their rewards still count in the group. */
static enum cn_status overlong_filter_apply(const struct cn_context *context,
                                            struct cn_batch *batch)
{
    struct cn_sum dropped = {0};
    for (size_t s = 0; s < batch->n_sequences; s++) {
        bool cut = batch->stop[s] == CN_STOP_LENGTH || batch->stop[s] == CN_STOP_TRUNCATED;
        cn_sum_add(&dropped, cut);
        if (cut && batch->drop[s] == CN_DROP_NONE) batch->drop[s] = CN_DROP_OVERLONG;
    }
    return cn_metrics_merge(context->metrics, "shaping/overlong_frac", &dropped);
}

static const struct cn_shaping overlong_filter = {
    .name = "overlong_filter",
    .summary = "answers cut at the limit are not trained on, but count in their group",
    .reference = "Yu et al. 2025, DAPO, arXiv 2503.14476, section 3.4",
    .apply = overlong_filter_apply,
};

const struct cn_plugin *const axis_shaping[] = {AXIS_HEAD(soft_overlong),
                                                AXIS_HEAD(overlong_filter), NULL};
