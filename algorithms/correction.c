/* Axis `correction`: a constant weight for the difference between the policy that sampled and the
 * policy at the start of the updates, w = g(exp(logp_old - logp_sampled)).
 *
 *     truncate   w = min(r, cap)                     truncated importance sampling
 *     mask       w = r if low <= r <= high, else 0   rejects instead
 *     clamp      w = clip(r, low, high)
 *     m2po       w = 0 for the tokens of largest log-ratio, until their mean square is small
 *     reject     w = 0 where an estimate of the divergence is out of bounds, else 1
 *     opsm       w = 0 for sequences of negative advantage whose policy has moved too far
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

enum { ESTIMATOR_K1, ESTIMATOR_K2, ESTIMATOR_K3 };
enum { REDUCE_TOKEN, REDUCE_SUM, REDUCE_MEAN, REDUCE_MAX };

struct correction_settings {
    double cap, low, high, threshold;
    int level, estimator, reduce;
    bool normalise;
};

// clang-format off
#define LEVEL                                                                                      \
    {AXIS_CHOICE(correction_settings, level, "token sequence geometric"), .fallback = "\"token\"", \
     .help = "whose ratio: the token's, the sequence's, or its geometric mean"}
#define NORMALISE                                                                                  \
    {AXIS_BOOL(correction_settings, normalise), .fallback = "false",                               \
     .help = "divide by the mean weight of the trained tokens of the optimizer step"}

static const struct cn_option truncate_options[] = {
    {AXIS_REAL(correction_settings, cap, 1e-9, 1e9), .fallback = "2", .unit = "ratio",
     .help = "largest weight"},
    LEVEL,
    NORMALISE,
    {0}};
static const struct cn_option bounds_options[] = {
    {AXIS_REAL(correction_settings, low, 0, 1e9), .fallback = "0.5", .unit = "ratio",
     .help = "smallest ratio"},
    {AXIS_REAL(correction_settings, high, 0, 1e9), .fallback = "5", .unit = "ratio",
     .help = "largest ratio"},
    LEVEL,
    NORMALISE,
    {0}};
static const struct cn_option m2po_options[] = {
    {AXIS_REAL(correction_settings, threshold, 0, 1e6), .fallback = "0.04", .unit = "nats^2",
     .help = "largest mean square of the log-ratios of the tokens that are kept"},
    {0}};
// clang-format on

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

/* ---- second moment trust region ------------------------------------------ */

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

/* ---- rejection by divergence --------------------------------------------- */

static const struct cn_option reject_options[] = {
    {AXIS_CHOICE(correction_settings, estimator, "k1 k2 k3"), .fallback = "\"k3\"",
     .help = "of the divergence between sampler and trainer, with d = logp_old - logp_sampled: -d, "
             "d^2/2, or exp(d) - 1 - d"},
    {AXIS_CHOICE(correction_settings, reduce, "token sum mean max"), .fallback = "\"mean\"",
     .help = "what is compared and dropped: each token, or the sequence by sum, mean or maximum"},
    {AXIS_REAL(correction_settings, low, -1e9, 1e9), .fallback = "null", .nullable = true,
     .unit = "nats", .help = "smallest estimate that is kept; null: no bound"},
    {AXIS_REAL(correction_settings, high, -1e9, 1e9), .fallback = "0.01", .nullable = true,
     .unit = "nats", .help = "largest estimate that is kept; null: no bound"},
    {0}};

static double estimate(int estimator, double d)
{
    if (estimator == ESTIMATOR_K1) return -d;
    if (estimator == ESTIMATOR_K2) return 0.5 * d * d;
    return expm1(fmax(-20, fmin(20, d))) - d;
}

static double estimate_sequence(const struct correction_settings *settings,
                                const struct cn_batch *batch, size_t s)
{
    double sum = 0, largest = -INFINITY, n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
        if (!cn_batch_trained(batch, s, t)) continue;
        double value = estimate(settings->estimator, log_ratio(batch, t));
        sum += value;
        largest = fmax(largest, value);
        n++;
    }
    if (settings->reduce == REDUCE_MAX) return largest;
    return settings->reduce == REDUCE_MEAN && n > 0 ? sum / n : sum;
}

static enum cn_status reject_fill(const struct cn_context *context, struct cn_batch *batch,
                                  struct cn_span span)
{
    const struct correction_settings *settings = context->settings;
    const bool by_token = settings->reduce == REDUCE_TOKEN;
    double mean;
    for (size_t s = span.begin; s < span.end; s++) {
        double whole = by_token ? 0 : estimate_sequence(settings, batch, s);
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            double value = by_token ? estimate(settings->estimator, log_ratio(batch, t)) : whole;
            batch->correction[t] = !(value < settings->low) && !(value > settings->high);
        }
    }
    return measure(context, batch, span, &mean);
}

/* ---- off-policy sequence mask -------------------------------------------- */

static const struct cn_option opsm_options[] = {
    {AXIS_REAL(correction_settings, threshold, 0, 1e6), .fallback = "1e-4", .unit = "nats",
     .help = "largest mean of logp_sampled - logp of a sequence of negative advantage"},
    {0}};

/* The current policy is compared, so this is a prepare hook: it gets live values. */
static enum cn_status opsm_prepare(const struct cn_context *context, struct cn_batch *batch,
                                   struct cn_span span, const struct cn_live *live)
{
    const struct correction_settings *settings = context->settings;
    double mean;
    for (size_t s = span.begin; s < span.end; s++) {
        double moved = 0, advantage = 0, n = 0;
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            moved += batch->logp_sampled[t] - live->logp[t];
            advantage += batch->advantage[t];
            n++;
        }
        if (!(advantage < 0 && moved > settings->threshold * n)) continue;
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            batch->correction[t] = 0;
    }
    return measure(context, batch, span, &mean);
}

/* ---- entries ------------------------------------------------------------- */

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

ENTRY(reject, "drops tokens or sequences by an estimate of the divergence",
      "verl rollout_rs; trust-region masking, arXiv 2512.23075", .options = reject_options,
      .check = bounds_check);

static const struct cn_correction opsm = {
    .name = "opsm",
    .summary = "drops sequences of negative advantage whose policy has moved too far",
    .reference = "DeepSeek-V3.2 2025, arXiv 2512.02556",
    .needs = CN_NEEDS(logp_sampled),
    .needs_live = CN_LIVE_BIT(logp),
    .options = opsm_options,
    .settings_size = sizeof(struct correction_settings),
    .hooks = {.prepare = opsm_prepare},
};

const struct cn_plugin *const axis_correction[] = {
    AXIS_HEAD(none), AXIS_HEAD(truncate), AXIS_HEAD(mask), AXIS_HEAD(clamp),
    AXIS_HEAD(m2po), AXIS_HEAD(reject),   AXIS_HEAD(opsm), NULL};
