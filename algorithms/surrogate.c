/* Axis `surrogate`: loss l of one token as a function of its effective log-ratio u and advantage A,
 * and its slope k = dl/du.  With r = exp(u), at u = 0 every slope is -A (methods-base 1):
 *
 *     reinforce      l = -A u                              k = -A
 *     importance     l = -A r                              k = -A r
 *     is_reinforce   l = -A sg(r) logp                     k = -A r
 *     ppo            l = max(-A r, -A clip(r)), dual clip  k = -A r, or 0 where the bound is active
 *     cispo          l = -A sg(clip(r)) logp               k = -A clip(r)
 *     sapo           l = -A 4/tau sigma(tau (r - 1))       k = -A 4 p (1 - p) r
 *     dppo           l = -A sg(min(r, c)) logp if kept     k = -A min(r, c) or 0
 *     dro            l = -A logp + beta/2 u^2              k = -A + beta u
 *     vespo          l = -A sg(phi(u)) logp                k = -A phi(u)
 *
 * sg(.) is a constant: it is computed from u_frozen.  A test that stops the gradient is strict: at
 * r = 1 + clip_high exactly it still flows.  exp is guarded by |u| <= 20, outside of which the
 * slope of a differentiated r is 0. */
#include "axes.h"

#include <math.h>

static const double u_limit = 20;

static double guarded_exp(double u)
{
    return exp(fmax(-u_limit, fmin(u_limit, u)));
}

static bool guarded(double u)
{
    return fabs(u) > u_limit;
}

/* logp, differentiable through u: the same number, with slope 1. */
static double live_logp(const struct cn_point *p)
{
    return p->logp + (p->u - p->u_frozen);
}

static struct cn_slope weighted_logp(const struct cn_point *p, double weight, int clipped)
{
    struct cn_slope slope = {-weight * p->advantage * live_logp(p), -weight * p->advantage,
                             clipped};
    return slope;
}

/* ---- without a trust region ---------------------------------------------- */

static struct cn_slope reinforce_eval(const void *settings, const struct cn_point *p)
{
    (void)settings;
    struct cn_slope slope = {-p->advantage * p->u, -p->advantage, 0};
    return slope;
}

static struct cn_slope importance_eval(const void *settings, const struct cn_point *p)
{
    (void)settings;
    double loss = -p->advantage * guarded_exp(p->u);
    struct cn_slope slope = {loss, guarded(p->u) ? 0 : loss, 0};
    return slope;
}

static struct cn_slope is_reinforce_eval(const void *settings, const struct cn_point *p)
{
    (void)settings;
    return weighted_logp(p, guarded_exp(p->u_frozen), 0);
}

static const struct cn_surrogate reinforce = {
    .name = "reinforce",
    .summary = "advantage times log-probability",
    .reference = "Williams 1992",
    .eval = reinforce_eval,
};

static const struct cn_surrogate importance = {
    .name = "importance",
    .summary = "advantage times ratio, differentiated, without a bound",
    .reference = "Schulman et al. 2017, PPO, arXiv 1707.06347, equation 6",
    .eval = importance_eval,
};

static const struct cn_surrogate is_reinforce = {
    .name = "is_reinforce",
    .summary = "log-probability weighted by advantage and constant ratio",
    .reference = "methods-base 5.6",
    .eval = is_reinforce_eval,
};

/* ---- ppo ----------------------------------------------------------------- */

struct ppo_settings {
    double clip_low, clip_high, dual_clip;
};

static const struct cn_option ppo_options[] = {
    {AXIS_REAL(ppo_settings, clip_low, 0, 1), .fallback = "0.2", .unit = "ratio",
     .help = "how far below one the ratio may fall before its gradient stops"},
    {AXIS_REAL(ppo_settings, clip_high, 0, 1e9), .fallback = "0.2", .unit = "ratio",
     .help = "how far above one the ratio may rise before its gradient stops; more than clip_low "
             "is Clip-Higher"},
    {AXIS_REAL(ppo_settings, dual_clip, 1, 1e9), .fallback = "null", .nullable = true,
     .unit = "ratio",
     .help = "ratio above which tokens of negative advantage have no gradient; null: none"},
    {0}};

static struct cn_slope ppo_eval(const void *settings, const struct cn_point *p)
{
    const struct ppo_settings *s = settings;
    const double a = p->advantage, r = guarded_exp(p->u);
    const double bounded = fmax(1 - s->clip_low, fmin(1 + s->clip_high, r));
    struct cn_slope slope = {fmax(-a * r, -a * bounded), guarded(p->u) ? 0 : -a * r, 0};
    if (a > 0 && r > 1 + s->clip_high) slope = (struct cn_slope){slope.loss, 0, 1};
    if (a < 0 && r < 1 - s->clip_low) slope = (struct cn_slope){slope.loss, 0, -1};
    if (a < 0 && r > s->dual_clip) slope = (struct cn_slope){-a * s->dual_clip, 0, 2};
    return slope;
}

static const struct cn_surrogate ppo = {
    .name = "ppo",
    .summary = "ratio clipped on the side on which the advantage pushes it",
    .reference = "Schulman et al. 2017, arXiv 1707.06347, equation 7; dual clip: Ye et al. 2019, "
                 "arXiv 1912.09729",
    .options = ppo_options,
    .settings_size = sizeof(struct ppo_settings),
    .eval = ppo_eval,
};

/* ---- cispo --------------------------------------------------------------- */

struct cispo_settings {
    double clip_low, clip_high;
};

static const struct cn_option cispo_options[] = {
    {AXIS_REAL(cispo_settings, clip_low, 0, 1), .fallback = "null", .nullable = true,
     .unit = "ratio", .help = "the weight is at least 1 - clip_low; null: no lower bound"},
    {AXIS_REAL(cispo_settings, clip_high, 0, 1e9), .fallback = "4", .unit = "ratio",
     .help = "the weight is at most 1 + clip_high; 4 is ScaleRL's absolute cap of 5"},
    {0}};

static struct cn_slope cispo_eval(const void *settings, const struct cn_point *p)
{
    const struct cispo_settings *s = settings;
    double r = guarded_exp(p->u_frozen);
    if (r > 1 + s->clip_high) return weighted_logp(p, 1 + s->clip_high, 1);
    if (r < 1 - s->clip_low) return weighted_logp(p, 1 - s->clip_low, -1);
    return weighted_logp(p, r, 0);
}

static const struct cn_surrogate cispo = {
    .name = "cispo",
    .summary = "the clipped ratio is a constant weight: no token loses its gradient",
    .reference = "MiniMax-M1 2025, CISPO, arXiv 2506.13585, equation 4; cap: ScaleRL, 2510.13786",
    .options = cispo_options,
    .settings_size = sizeof(struct cispo_settings),
    .eval = cispo_eval,
};

/* ---- sapo ---------------------------------------------------------------- */

struct sapo_settings {
    double tau_positive, tau_negative;
};

static const struct cn_option sapo_options[] = {
    {AXIS_REAL(sapo_settings, tau_positive, 1e-6, 1e6), .fallback = "1",
     .help = "sharpness of the gate where the advantage is positive"},
    {AXIS_REAL(sapo_settings, tau_negative, 1e-6, 1e6), .fallback = "1.05",
     .help = "sharpness of the gate where it is not"},
    {0}};

static struct cn_slope sapo_eval(const void *settings, const struct cn_point *p)
{
    const struct sapo_settings *s = settings;
    double tau = p->advantage > 0 ? s->tau_positive : s->tau_negative;
    double r = guarded_exp(p->u);
    double gate = 1 / (1 + exp(-tau * (r - 1)));
    struct cn_slope slope = {-p->advantage * gate * 4 / tau,
                             guarded(p->u) ? 0 : -p->advantage * 4 * gate * (1 - gate) * r, 0};
    return slope;
}

static const struct cn_surrogate sapo = {
    .name = "sapo",
    .summary = "a smooth gate instead of a clip",
    .reference = "SAPO 2025, arXiv 2511.20347",
    .options = sapo_options,
    .settings_size = sizeof(struct sapo_settings),
    .eval = sapo_eval,
};

/* ---- dppo ---------------------------------------------------------------- */

enum { DPPO_TV, DPPO_KL };

struct dppo_settings {
    double low, high, cap;
    int divergence;
};

static const struct cn_option dppo_options[] = {
    {AXIS_CHOICE(dppo_settings, divergence, "tv kl"), .fallback = "\"tv\"",
     .help = "what is bounded: the change of the token's probability, or the binary KL divergence"},
    {AXIS_REAL(dppo_settings, low, 0, 1e9), .fallback = "0.15",
     .help = "bound where the advantage is not positive; probability or nats"},
    {AXIS_REAL(dppo_settings, high, 0, 1e9), .fallback = "0.15",
     .help = "bound where the advantage is positive; probability or nats"},
    {AXIS_REAL(dppo_settings, cap, 1, 1e9), .fallback = "20", .unit = "ratio",
     .help = "largest weight of a kept token"},
    {0}};

/* How far a token has moved in the direction of its advantage; <= 0: not at all. */
static double dppo_moved(const struct dppo_settings *s, const struct cn_point *p)
{
    double now = exp(p->logp), old = exp(p->logp_old);
    double moved = p->advantage > 0 ? now - old : old - now;
    if (s->divergence == DPPO_TV || moved <= 0) return moved;
    double rest_now = fmax(-expm1(p->logp), 1e-300), rest_old = fmax(-expm1(p->logp_old), 1e-300);
    return old * (p->logp_old - p->logp) + rest_old * log(rest_old / rest_now);
}

static struct cn_slope dppo_eval(const void *settings, const struct cn_point *p)
{
    const struct dppo_settings *s = settings;
    bool up = p->advantage > 0;
    if (dppo_moved(s, p) > (up ? s->high : s->low)) return weighted_logp(p, 0, up ? 1 : -1);
    return weighted_logp(p, fmin(guarded_exp(p->u_frozen), s->cap), 0);
}

static const struct cn_surrogate dppo = {
    .name = "dppo",
    .summary = "drops tokens whose probability, not ratio, has moved too far",
    .reference = "DPPO 2026, arXiv 2602.04879",
    .options = dppo_options,
    .settings_size = sizeof(struct dppo_settings),
    .eval = dppo_eval,
};

/* ---- dro, vespo ---------------------------------------------------------- */

struct dro_settings {
    double beta;
};

static const struct cn_option dro_options[] = {
    {AXIS_REAL(dro_settings, beta, 0, 1e6), .fallback = "0.1",
     .help = "strength of the quadratic penalty on the log-ratio"},
    {0}};

static struct cn_slope dro_eval(const void *settings, const struct cn_point *p)
{
    const struct dro_settings *s = settings;
    struct cn_slope slope = {-p->advantage * live_logp(p) + 0.5 * s->beta * p->u * p->u,
                             -p->advantage + s->beta * p->u, 0};
    return slope;
}

static const struct cn_surrogate dro = {
    .name = "dro",
    .summary = "log-probability with a quadratic penalty on the log-ratio",
    .reference = "DRO; methods-base 5.6",
    .options = dro_options,
    .settings_size = sizeof(struct dro_settings),
    .eval = dro_eval,
};

struct vespo_settings {
    double k_positive, lambda_positive, k_negative, lambda_negative;
};

static const struct cn_option vespo_options[] = {
    {AXIS_REAL(vespo_settings, k_positive, 0, 1e3), .fallback = "2",
     .help = "exponent of the weight where the advantage is not negative"},
    {AXIS_REAL(vespo_settings, lambda_positive, 0, 1e3), .fallback = "3",
     .help = "decay of the weight there; it is largest at the ratio k / lambda"},
    {AXIS_REAL(vespo_settings, k_negative, 0, 1e3), .fallback = "3",
     .help = "exponent where the advantage is negative"},
    {AXIS_REAL(vespo_settings, lambda_negative, 0, 1e3), .fallback = "2", .help = "decay there"},
    {0}};

static struct cn_slope vespo_eval(const void *settings, const struct cn_point *p)
{
    const struct vespo_settings *s = settings;
    double k = p->advantage < 0 ? s->k_negative : s->k_positive;
    double lambda = p->advantage < 0 ? s->lambda_negative : s->lambda_positive;
    double u = fmax(log(1e-8), fmin(u_limit, p->u_frozen));
    return weighted_logp(p, exp(lambda + k * u - lambda * exp(u)), 0);
}

static const struct cn_surrogate vespo = {
    .name = "vespo",
    .summary = "a constant weight that is largest near the old policy",
    .reference = "VESPO 2026, arXiv 2602.10693",
    .options = vespo_options,
    .settings_size = sizeof(struct vespo_settings),
    .eval = vespo_eval,
};

const struct cn_plugin *const axis_surrogate[] = {AXIS_HEAD(reinforce),    AXIS_HEAD(importance),
                                                  AXIS_HEAD(is_reinforce), AXIS_HEAD(ppo),
                                                  AXIS_HEAD(cispo),        AXIS_HEAD(sapo),
                                                  AXIS_HEAD(dppo),         AXIS_HEAD(dro),
                                                  AXIS_HEAD(vespo),        NULL};
