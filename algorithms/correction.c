/* Axis `correction`: a constant weight for the difference between the policy that sampled and the
 * policy at the start of the updates, w = g(exp(logp_old - logp_sampled)).
 *
 *     truncate   w = min(r, cap)                     truncated importance sampling
 *     mask       w = r if low <= r <= high, else 0   rejects instead
 *     clamp      w = clip(r, low, high)
 *     m2po       w = 0 for the tokens of largest log-ratio, until their mean square is small
 *
 * level=token takes each token's ratio, level=sequence the product over the sequence,
 * level=geometric its geometric mean.  The weight multiplies the policy term after clipping;
 * denominators do not change.  Yao et al., "Your efficient RL framework secretly brings you
 * off-policy RL training". */
#include "axes.h"
#include "groups.h"

#include <math.h>
#include <stdlib.h>

enum { LEVEL_TOKEN, LEVEL_SEQUENCE, LEVEL_GEOMETRIC };

struct correction_settings {
    double cap, low, high, threshold;
    int level;
    bool normalise;
};

#define LEVEL                                                                                      \
    {                                                                                              \
        AXIS_CHOICE(correction_settings, level, "token sequence geometric"),                       \
            .fallback = "\"token\"",                                                               \
            .help = "whose ratio: the token's, the sequence's, or its geometric mean"              \
    }
#define NORMALISE                                                                                  \
    {                                                                                              \
        AXIS_BOOL(correction_settings, normalise),                                                 \
            .fallback = "false",                                                                   \
            .help = "divide by the mean weight of the trained tokens of the optimizer step"        \
    }
#define BOUNDS(lowest, highest)                                                                    \
    {AXIS_REAL(correction_settings, low, 0, 1e9), .fallback = lowest, .unit = "ratio",             \
     .help = "smallest ratio"},                                                                    \
    {                                                                                              \
        AXIS_REAL(correction_settings, high, 0, 1e9), .fallback = highest, .unit = "ratio",        \
                                                      .help = "largest ratio"                      \
    }

static const struct cn_option truncate_options[] = {{AXIS_REAL(correction_settings, cap, 1e-9, 1e9),
                                                     .fallback = "2", .unit = "ratio",
                                                     .help = "largest weight"},
                                                    LEVEL,
                                                    NORMALISE,
                                                    {0}};
static const struct cn_option bounds_options[] = {BOUNDS("0.5", "5"), LEVEL, NORMALISE, {0}};
static const struct cn_option m2po_options[] = {
    {AXIS_REAL(correction_settings, threshold, 0, 1e6), .fallback = "0.04", .unit = "nats^2",
     .help = "largest mean square of the log-ratios of the tokens that are kept"},
    {0}};

typedef double weigh(const struct correction_settings *settings, double ratio);

static double truncate_weight(const struct correction_settings *settings, double ratio)
{
    return fmin(ratio, settings->cap);
}

static double mask_weight(const struct correction_settings *settings, double ratio)
{
    return ratio >= settings->low && ratio <= settings->high ? ratio : 0;
}

static double clamp_weight(const struct correction_settings *settings, double ratio)
{
    return fmax(settings->low, fmin(settings->high, ratio));
}

static double log_ratio(const struct cn_batch *batch, size_t t)
{
    return batch->logp_old[t] - batch->logp_sampled[t];
}

/* Log-ratio of a whole sequence. */
static double sequence_log_ratio(const struct cn_batch *batch, size_t s, int level)
{
    double sum = 0, n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        if (cn_batch_trained(batch, s, t)) {
            sum += log_ratio(batch, t);
            n++;
        }
    return level == LEVEL_GEOMETRIC && n > 0 ? sum / n : sum;
}

/* Mean weight and effective share of the sample, over all ranks:
 * ESS / n = (sum w)^2 / (n sum w^2). */
static enum cn_status measure(const struct cn_context *context, const struct cn_batch *batch,
                              struct cn_span span, double *mean)
{
    struct cn_sum sums[3] = {{{0}, 0, 0}, {{0}, 0, 0}, {{0}, 0, 0}};
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) {
                double w = batch->correction[t];
                cn_sum_add(&sums[0], w);
                cn_sum_add(&sums[1], w * w);
                cn_sum_add(&sums[2], w == 0);
            }
    CN_TRY(context->ranks->sum(context->ranks->self, sums, 3));
    double squares = cn_sum_mean(&sums[1]);
    *mean = cn_sum_mean(&sums[0]);
    CN_TRY(cn_metrics_set(context->metrics, "correction/weight_mean", *mean));
    CN_TRY(cn_metrics_set(context->metrics, "correction/rejected_frac", cn_sum_mean(&sums[2])));
    return cn_metrics_set(context->metrics, "correction/ess",
                          squares > 0 ? *mean * *mean / squares : 0);
}

static enum cn_status fill_weights(const struct cn_context *context, struct cn_batch *batch,
                                   struct cn_span span, weigh *weight)
{
    const struct correction_settings *settings = context->settings;
    for (size_t s = span.begin; s < span.end; s++) {
        double whole =
            settings->level == LEVEL_TOKEN ? 0 : sequence_log_ratio(batch, s, settings->level);
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            batch->correction[t] = 0;
            if (!cn_batch_trained(batch, s, t)) continue;
            double x = settings->level == LEVEL_TOKEN ? log_ratio(batch, t) : whole;
            batch->correction[t] = weight(settings, exp(fmax(-20, fmin(20, x))));
        }
    }
    double mean;
    CN_TRY(measure(context, batch, span, &mean));
    if (settings->normalise && mean > 0)
        for (size_t t = batch->seq_start[span.begin]; t < batch->seq_start[span.end]; t++)
            batch->correction[t] /= mean;
    return CN_OK;
}

#define FILL(entry)                                                                                \
    static enum cn_status entry##_fill(const struct cn_context *context, struct cn_batch *batch,   \
                                       struct cn_span span)                                        \
    {                                                                                              \
        return fill_weights(context, batch, span, entry##_weight);                                 \
    }

FILL(truncate)
FILL(mask)
FILL(clamp)

/* ---- second moment trust region ----------------------------------------------------------------
 */

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Largest square that may stay: squares are taken in rising order while their mean is small enough;
 * equal squares stay or go together. */
static double largest_kept(double *squares, size_t n, double threshold)
{
    double kept = -1, sum = 0;
    if (n) qsort(squares, n, sizeof *squares, rising);
    for (size_t i = 0; i < n; i++) {
        sum += squares[i];
        bool complete = i + 1 == n || squares[i + 1] != squares[i];
        if (complete && sum <= threshold * (double)(i + 1)) kept = squares[i];
    }
    return kept;
}

static enum cn_status m2po_fill(const struct cn_context *context, struct cn_batch *batch,
                                struct cn_span span)
{
    const struct correction_settings *settings = context->settings;
    const double *all;
    double *own, *sorted, mean;
    size_t n = 0, n_all, mine;
    CN_TRY(
        CN_NEW(context->scratch, batch->seq_start[span.end] - batch->seq_start[span.begin], &own));
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) own[n++] = log_ratio(batch, t) * log_ratio(batch, t);
    CN_TRY(context->ranks->gather(context->ranks->self, own, n, context->scratch, &all, &n_all,
                                  &mine));
    CN_TRY(CN_NEW(context->scratch, n_all, &sorted));
    for (size_t i = 0; i < n_all; i++)
        sorted[i] = all[i];
    double limit = largest_kept(sorted, n_all, settings->threshold);
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            bool keep =
                cn_batch_trained(batch, s, t) && log_ratio(batch, t) * log_ratio(batch, t) <= limit;
            batch->correction[t] = keep;
        }
    return measure(context, batch, span, &mean);
}

/* ---- entries -----------------------------------------------------------------------------------
 */

static enum cn_status bounds_check(const void *settings)
{
    const struct correction_settings *s = settings;
    if (s->low > s->high) return cn_fail(CN_ERR_CONFIG, "low=%g is above high=%g", s->low, s->high);
    return CN_OK;
}

static const struct cn_correction none = {
    .name = "none",
    .summary = "the sampler is taken to be the trainer",
    .reference = "",
};

#define ENTRY(entry, text, source, ...)                                                            \
    static const struct cn_correction entry = {                                                    \
        .name = #entry,                                                                            \
        .summary = text,                                                                           \
        .reference = source,                                                                       \
        .needs = CN_NEEDS(logp_old) | CN_NEEDS(logp_sampled),                                      \
        .settings_size = sizeof(struct correction_settings),                                       \
        .fill = entry##_fill,                                                                      \
        __VA_ARGS__}

ENTRY(truncate, "importance weight, at most cap", "Yao et al. 2025, truncated importance sampling",
      .options = truncate_options);
ENTRY(mask, "importance weight, 0 outside of bounds",
      "IcePop, arXiv 2510.18855; masked importance sampling", .options = bounds_options,
      .check = bounds_check);
ENTRY(clamp, "importance weight, clamped to bounds", "OpenRLHF tis", .options = bounds_options,
      .check = bounds_check);
ENTRY(m2po, "drops the tokens of largest log-ratio until the second moment is small",
      "M2PO 2025, arXiv 2510.01161", .options = m2po_options);

const struct cn_plugin *const axis_correction[] = {
    AXIS_HEAD(none), AXIS_HEAD(truncate), AXIS_HEAD(mask), AXIS_HEAD(clamp), AXIS_HEAD(m2po), NULL};
