/* STEER: a token's loss is damped the more its step would change the entropy.
 *
 *     Omega_t = -I_t A_t (p / p_old) p (1 - p) (log p + H_t)          p = pi(y_t); paper, equation
 * 8 exp         lambda_t = clamp(exp(-k |Omega_t|), minimum, 1),  k = -ln(minimum) / max |Omega|
 *     linear      lambda_t falls from maximum at the smallest |Omega| to minimum at the largest
 *     asymmetric  lambda_t rises from minimum at the smallest Omega to maximum at the largest
 *
 * I_t is 0 where the surrogate stops the token, Omega > 0 raises the entropy, and the weight
 * lambda_t is a constant.  max and min go over the optimizer step.  Omega moves the sampled token's
 * logit only; the true change of a softmax step can be twice as large or half.
 *
 * Paper and code (form=released): the code has (A / p_old) p (1 - p) (log p + H_old): a factor p is
 * missing, so rare tokens dominate; I_t is missing too; H is the one at the rollout's first update;
 * p is kept within 1e-8 of 0 and 1; max |Omega| is at least 0.02 (floor; the paper form has none
 * unless it is given); and statistics go over a micro-batch (scope=micro).  Its scripts use
 * minimum 0.8.  asymmetric is a later release, whose formula is from second hand: experimental.
 * STEER 2025, arXiv 2510.10150. */
#include "tokens.h"

#include <math.h>

enum { FORM_PAPER, FORM_RELEASED };
enum { MAP_EXP, MAP_LINEAR, MAP_ASYMMETRIC };

struct steer_settings {
    double minimum, maximum, floor;
    int form, map, scope;
};

static const struct cn_option options[] = {
    {TOKENS_CHOICE(steer_settings, form, "paper released"), .fallback = "\"paper\"",
     .help = "which estimate of the entropy's change"},
    {TOKENS_CHOICE(steer_settings, map, "exp linear asymmetric"), .fallback = "\"exp\"",
     .help = "from the estimate to a weight"},
    {TOKENS_REAL(steer_settings, minimum, 1e-6, 1), .fallback = "0.7", .help = "smallest weight"},
    {TOKENS_REAL(steer_settings, maximum, 1e-6, 1e3), .fallback = "1",
     .help = "largest weight; of the maps linear and asymmetric"},
    {TOKENS_REAL(steer_settings, floor, 0, 1e9), .fallback = "null", .nullable = true,
     .help =
         "the largest change counts as at least this, so that small ones are left alone; of the "
         "map exp; null: 0, or 0.02 with form=released"},
    TOKENS_SCOPE(steer_settings),
    {0}};

static enum cn_status check(const void *settings)
{
    const struct steer_settings *s = settings;
    if (s->map == MAP_EXP && s->maximum != 1)
        return cn_fail(CN_ERR_CONFIG,
                       "maximum=%g: the map exp ends at 1; use map=linear or "
                       "asymmetric for another maximum",
                       s->maximum);
    if (s->map != MAP_EXP && !isnan(s->floor))
        return cn_fail(CN_ERR_CONFIG, "floor=%g: only the map exp has one", s->floor);
    if (s->minimum > s->maximum)
        return cn_fail(CN_ERR_CONFIG, "minimum=%g is above maximum=%g", s->minimum, s->maximum);
    tokens_warn("steer", s->scope);
    return CN_OK;
}

static bool reads_live(const void *settings)
{
    return ((const struct steer_settings *)settings)->scope != SCOPE_STORED;
}

/* Signed estimate for token t, in units of the learning rate. */
static double change(const struct cn_context *context, const struct cn_batch *batch, size_t t,
                     const struct cn_live *values)
{
    const struct steer_settings *settings = context->settings;
    const double a = batch->advantage[t];
    if (settings->form == FORM_RELEASED) {
        const double p = fmin(fmax(exp(values->logp[t]), 1e-8), 1 - 1e-8);
        const double old = fmin(fmax(exp(batch->logp_old[t]), 1e-8), 1);
        return -a / old * p * (1 - p) * (log(p) + batch->entropy_old[t]);
    }
    const double logp = values->logp[t], p = exp(logp);
    const double ratio = exp(fmax(-20, fmin(20, logp - batch->logp_old[t])));
    if (settings->scope != SCOPE_STORED && context->stopped[t]) return 0;
    return -a * ratio * p * -expm1(logp) * (logp + values->entropy[t]);
}

static double weight_of(const struct steer_settings *settings, double mu, double low, double high)
{
    const double span = settings->maximum - settings->minimum;
    const double from_low = high > low ? (mu - low) / (high - low) : 0.5;
    if (settings->map == MAP_ASYMMETRIC) return settings->minimum + span * from_low;
    if (settings->map == MAP_LINEAR) return settings->maximum - span * from_low;
    const double usual = settings->form == FORM_RELEASED ? 0.02 : 0;
    const double top = fmax(high, isnan(settings->floor) ? usual : settings->floor);
    if (top <= 0) return 1;
    return fmin(fmax(exp(log(settings->minimum) * mu / top), settings->minimum), 1);
}

static enum cn_status weigh(const struct cn_context *context, struct cn_batch *batch,
                            const struct token_set *set, const struct cn_live *values,
                            struct token_report *report)
{
    const struct steer_settings *settings = context->settings;
    double *mu, ends[2] = {-INFINITY, -INFINITY}; /* largest, and largest of the negatives */
    CN_TRY(CN_NEW(context->scratch, set->n, &mu));
    FOR_TOKENS(set, s, t)
    {
        double m = change(context, batch, t, values);
        if (!isfinite(m)) m = 0;
        if (settings->map != MAP_ASYMMETRIC) m = fabs(m);
        mu[t - set->begin] = m;
        ends[0] = fmax(ends[0], m);
        ends[1] = fmax(ends[1], -m);
    }
    CN_TRY(set->ranks->max(set->ranks->self, ends, 2));
    FOR_TOKENS(set, s, t)
    {
        const double lambda = weight_of(settings, mu[t - set->begin], -ends[1], ends[0]);
        token_touch(context, batch, t, lambda, lambda != 1, report);
    }
    return cn_metrics_max(context->metrics, "entropy/steer/change_max", fmax(ends[0], ends[1]));
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct steer_settings *settings = context->settings;
    const struct cn_live values = tokens_values(settings->scope, batch, live);
    struct token_report report = {{.count = 0}, {.count = 0}};
    struct token_sets sets;
    CN_TRY(token_sets(context, batch, span, settings->scope, &sets));
    for (size_t i = 0; i < sets.count; i++)
        CN_TRY(weigh(context, batch, &sets.item[i], &values, &report));
    return token_report_write(context, "steer", &report);
}

const struct cn_entropy cn_entropy_steer = {
    .name = "steer",
    .summary = "the loss of a token is damped the more its step would change the entropy",
    .reference = "STEER 2025, arXiv 2510.10150, equation 8",
    .needs = CN_NEEDS(logp_old) | CN_NEEDS(entropy_old),
    .needs_live = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct steer_settings),
    .check = check,
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare},
};
