/* Axis `ratio`: the effective log-ratio u of new and old policy, and how dL/du comes back to the
 * log-probabilities.  With x_t = logp_t - logp_old_t over the n trained tokens of a sequence:
 *
 *     none                 u_t = logp_t            back: d_t
 *     token                u_t = x_t               back: d_t
 *     seq_geo              u_t = mean of x         back: (1/n) sum of d
 *     seq_geo_token        the same value          back: d_t        (mean behind a stop-gradient)
 *     seq_product          u_t = sum of x          back: sum of d
 *     seq_product_token    the same value          back: d_t
 *     clipped_geo          u_t = mean of clipped x back: (1/n) sum of d where x was not clipped
 *
 * A sequence is never split over atoms, so every sum is local. */
#include "axes.h"
#include "groups.h"

#include <math.h>

/* One sequence of a call. */
struct run {
    const struct cn_batch *batch;
    size_t s, begin, end; /* tokens [begin, end) */
};

static struct run run_of(const struct cn_batch *batch, size_t s)
{
    struct run run = {batch, s, batch->seq_start[s], batch->seq_start[s + 1]};
    return run;
}

static bool trained(const struct run *run, size_t t)
{
    return cn_batch_trained(run->batch, run->s, t);
}

static double sum_log_ratio(const struct run *run, const double *logp)
{
    double sum = 0;
    for (size_t t = run->begin; t < run->end; t++)
        if (trained(run, t)) sum += logp[t] - run->batch->logp_old[t];
    return sum;
}

static double sum_gradient(const struct run *run, const double *d_u)
{
    double sum = 0;
    for (size_t t = run->begin; t < run->end; t++)
        if (trained(run, t)) sum += d_u[t];
    return sum;
}

static void spread(const struct run *run, double value, double *out)
{
    for (size_t t = run->begin; t < run->end; t++)
        out[t] = trained(run, t) ? value : 0;
}

static void add_spread(const struct run *run, double value, double *out)
{
    for (size_t t = run->begin; t < run->end; t++)
        if (trained(run, t)) out[t] += value;
}

/* ---- per token ----------------------------------------------------------- */

static void none_forward(const struct cn_context *context, const struct cn_batch *batch,
                         struct cn_span span, const struct cn_live *live, double *u)
{
    (void)context;
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            u[t] = cn_batch_trained(batch, s, t) ? live->logp[t] : 0;
}

static void token_forward(const struct cn_context *context, const struct cn_batch *batch,
                          struct cn_span span, const struct cn_live *live, double *u)
{
    (void)context;
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            u[t] = cn_batch_trained(batch, s, t) ? live->logp[t] - batch->logp_old[t] : 0;
}

static void token_back(const struct cn_context *context, const struct cn_batch *batch,
                       struct cn_span span, const struct cn_live *live, const double *d_u,
                       double *d_logp)
{
    (void)context, (void)live;
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) d_logp[t] += d_u[t];
}

static const struct cn_ratio none = {
    .name = "none",
    .summary = "no ratio: the log-probability itself",
    .reference = "Williams 1992, REINFORCE",
    .forward = none_forward,
    .back = token_back,
};

static const struct cn_ratio token = {
    .name = "token",
    .summary = "log-ratio of each token",
    .reference = "Schulman et al. 2017, PPO, arXiv 1707.06347",
    .needs = CN_NEEDS(logp_old),
    .forward = token_forward,
    .back = token_back,
};

/* ---- per sequence -------------------------------------------------------- */

static void seq_geo_forward(const struct cn_context *context, const struct cn_batch *batch,
                            struct cn_span span, const struct cn_live *live, double *u)
{
    (void)context;
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        size_t n = groups_trained(batch, s);
        spread(&run, n ? sum_log_ratio(&run, live->logp) / (double)n : 0, u);
    }
}

static void seq_geo_back(const struct cn_context *context, const struct cn_batch *batch,
                         struct cn_span span, const struct cn_live *live, const double *d_u,
                         double *d_logp)
{
    (void)context, (void)live;
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        size_t n = groups_trained(batch, s);
        if (n) add_spread(&run, sum_gradient(&run, d_u) / (double)n, d_logp);
    }
}

static void seq_product_forward(const struct cn_context *context, const struct cn_batch *batch,
                                struct cn_span span, const struct cn_live *live, double *u)
{
    (void)context;
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        spread(&run, sum_log_ratio(&run, live->logp), u);
    }
}

static void seq_product_back(const struct cn_context *context, const struct cn_batch *batch,
                             struct cn_span span, const struct cn_live *live, const double *d_u,
                             double *d_logp)
{
    (void)context, (void)live;
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        add_spread(&run, sum_gradient(&run, d_u), d_logp);
    }
}

/* Adds what a token's own log-probability contributes to a value behind a stop-gradient. */
static void add_own(const struct cn_context *context, const struct cn_batch *batch,
                    struct cn_span span, const struct cn_live *live, double *u)
{
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) u[t] += live->logp[t] - context->frozen->logp[t];
}

static void seq_geo_token_forward(const struct cn_context *context, const struct cn_batch *batch,
                                  struct cn_span span, const struct cn_live *live, double *u)
{
    seq_geo_forward(context, batch, span, context->frozen, u);
    add_own(context, batch, span, live, u);
}

static void seq_product_token_forward(const struct cn_context *context,
                                      const struct cn_batch *batch, struct cn_span span,
                                      const struct cn_live *live, double *u)
{
    seq_product_forward(context, batch, span, context->frozen, u);
    add_own(context, batch, span, live, u);
}

static const struct cn_ratio seq_geo = {
    .name = "seq_geo",
    .summary = "geometric mean of the token ratios of a sequence",
    .reference = "Zheng et al. 2025, GSPO, arXiv 2507.18071, equation 7",
    .needs = CN_NEEDS(logp_old),
    .forward = seq_geo_forward,
    .back = seq_geo_back,
    .per_sequence = true,
};

static const struct cn_ratio seq_geo_token = {
    .name = "seq_geo_token",
    .summary = "value of seq_geo, gradient of the token alone",
    .reference = "Zheng et al. 2025, GSPO, arXiv 2507.18071, equation 14 (GSPO-token)",
    .needs = CN_NEEDS(logp_old),
    .forward = seq_geo_token_forward,
    .back = token_back,
};

static const struct cn_ratio seq_product = {
    .name = "seq_product",
    .summary = "ratio of the probabilities of whole sequences",
    .reference = "TRL's RLOO: importance ratio of the sequence",
    .needs = CN_NEEDS(logp_old),
    .forward = seq_product_forward,
    .back = seq_product_back,
    .per_sequence = true,
};

static const struct cn_ratio seq_product_token = {
    .name = "seq_product_token",
    .summary = "value of seq_product, gradient of the token alone",
    .reference = "VESPO 2026, arXiv 2602.10693: the sequence weight is a constant",
    .needs = CN_NEEDS(logp_old),
    .forward = seq_product_token_forward,
    .back = token_back,
};

/* ---- geometric mean of clipped ratios ------------------------------------ */

struct clipped_geo_settings {
    double clip_low, clip_high;
};

static const struct cn_option clipped_geo_options[] = {
    {AXIS_REAL(clipped_geo_settings, clip_low, 0, 20), .fallback = "0.4", .unit = "nats",
     .help = "how far below zero a token's log-ratio counts, where the advantage is negative"},
    {AXIS_REAL(clipped_geo_settings, clip_high, 0, 20), .fallback = "0.4", .unit = "nats",
     .help = "how far above zero a token's log-ratio counts, where the advantage is positive"},
    {0}};

/* x clipped on the side on which the advantage would push it further. */
static double pessimistic(const struct clipped_geo_settings *settings, double x, double advantage)
{
    if (advantage > 0) return fmin(x, settings->clip_high);
    if (advantage < 0) return fmax(x, -settings->clip_low);
    return x;
}

static void clipped_geo_forward(const struct cn_context *context, const struct cn_batch *batch,
                                struct cn_span span, const struct cn_live *live, double *u)
{
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        double sum = 0;
        size_t n = groups_trained(batch, s);
        for (size_t t = run.begin; t < run.end; t++)
            if (trained(&run, t))
                sum += pessimistic(context->settings, live->logp[t] - batch->logp_old[t],
                                   batch->advantage[t]);
        spread(&run, n ? sum / (double)n : 0, u);
    }
}

static void clipped_geo_back(const struct cn_context *context, const struct cn_batch *batch,
                             struct cn_span span, const struct cn_live *live, const double *d_u,
                             double *d_logp)
{
    for (size_t s = span.begin; s < span.end; s++) {
        struct run run = run_of(batch, s);
        size_t n = groups_trained(batch, s);
        double share = n ? sum_gradient(&run, d_u) / (double)n : 0;
        for (size_t t = run.begin; t < run.end; t++) {
            if (!trained(&run, t)) continue;
            double x = live->logp[t] - batch->logp_old[t];
            if (pessimistic(context->settings, x, batch->advantage[t]) == x) d_logp[t] += share;
        }
    }
}

static const struct cn_ratio clipped_geo = {
    .name = "clipped_geo",
    .summary = "geometric mean of token ratios, each clipped in log space first",
    .reference = "GMPO 2025, arXiv 2507.20673, equation 5",
    .needs = CN_NEEDS(logp_old),
    .options = clipped_geo_options,
    .settings_size = sizeof(struct clipped_geo_settings),
    .forward = clipped_geo_forward,
    .back = clipped_geo_back,
    .per_sequence = true,
};

const struct cn_plugin *const axis_ratio[] = {AXIS_HEAD(none),        AXIS_HEAD(token),
                                              AXIS_HEAD(seq_geo),     AXIS_HEAD(seq_geo_token),
                                              AXIS_HEAD(seq_product), AXIS_HEAD(seq_product_token),
                                              AXIS_HEAD(clipped_geo), NULL};
