/* Archer: uncertain tokens move freely, certain ones stay near the reference.
 *
 *     high_t   H_t > the tau-quantile of the entropies of its answer (linear)
 *     high     the surrogate's loss with clip bounds 1 - clip, 1 + clip instead of its own
 *     low      the surrogate as it is, and  L += kl_low mean over low tokens of k3(logp_ref - logp)
 *     k3(d) = exp(d) - d - 1;   dL/dlogp = kl_low / n_low (1 - exp(d)),  n_low over the whole step
 *
 * and kl_high likewise on the high ones.  High tokens are taken over: their weight is 0, their loss
 * is this file's.  So algorithm.surrogate says how low tokens are clipped (0.2 in the paper's
 * code).
 *
 * H is the entropy at the rollout's first update, as in the released code, whose mask names are the
 * other way round but used consistently.  ArcherCodeR 2025, arXiv 2507.15778. */
#include "clipped.h"
#include "tokens.h"

struct archer_settings {
    double tau, clip, dual_clip, kl_low, kl_high;
};

struct archer_state {
    double low, high; /* tokens of the step, over all parts and ranks */
};

static const struct cn_option options[] = {
    {TOKENS_REAL(archer_settings, tau, 0, 1), .fallback = "0.8",
     .help = "tokens above this quantile of their answer's entropies are uncertain"},
    {TOKENS_REAL(archer_settings, clip, 0, 1), .fallback = "0.5", .unit = "ratio",
     .help = "clip of uncertain tokens on both sides"},
    {TOKENS_REAL(archer_settings, dual_clip, 1, 1e9), .fallback = "10", .nullable = true,
     .unit = "ratio", .help = "dual clip of uncertain tokens; null: none"},
    {TOKENS_REAL(archer_settings, kl_low, 0, 1e6), .fallback = "0.001", .unit = "reward per nat",
     .help = "weight of the distance to the reference on certain tokens"},
    {TOKENS_REAL(archer_settings, kl_high, 0, 1e6), .fallback = "0", .unit = "reward per nat",
     .help = "weight of the distance to the reference on uncertain tokens"},
    {0}};

/* The loss reads logp, prepare only what is stored. */
static bool reads_live(const void *settings)
{
    (void)settings;
    return false;
}

static enum cn_status mark(const struct cn_context *context, struct cn_batch *batch,
                           const struct token_set *set, struct token_report *report)
{
    const struct archer_settings *settings = context->settings;
    double threshold = 0;
    size_t of = SIZE_MAX; /* the sequence that the threshold is of */
    FOR_TOKENS(set, s, t)
    {
        if (of != s)
            CN_TRY(
                tokens_quantile(context, batch, s, batch->entropy_old, settings->tau, &threshold));
        of = s;
        const bool high = batch->entropy_old[t] > threshold;
        token_touch(context, batch, t, high ? 0 : 1, high, report);
    }
    return CN_OK;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    struct archer_state *state = context->state;
    struct token_report report = {{.count = 0}, {.count = 0}};
    struct token_sets sets;
    (void)live;
    CN_TRY(token_sets(context, batch, span, SCOPE_STORED, &sets));
    for (size_t i = 0; i < sets.count; i++)
        CN_TRY(mark(context, batch, &sets.item[i], &report));
    struct cn_sum sums[2] = {report.selected, report.factor};
    CN_TRY(context->ranks->sum(context->ranks->self, sums, 2));
    state->high = cn_sum_value(&sums[0]);
    state->low = cn_sum_value(&sums[1]);
    return token_report_write(context, "archer", &report);
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct archer_settings *settings = context->settings;
    const struct archer_state *state = context->state;
    const struct clipped wide = {1 - settings->clip, 1 + settings->clip, settings->dual_clip};
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const bool high = batch->touched[t] & context->bit;
            const struct clipped_slope k3 = k3_eval(live->logp[t], batch->logp_ref[t]);
            const double beta =
                high ? settings->kl_high / state->high : settings->kl_low / state->low;
            grad->loss += beta * k3.loss;
            grad->d_logp[t] += beta * k3.d_u;
            if (!high) continue;
            const double c = context->coefficient[t] * batch->correction[t];
            const struct clipped_slope policy =
                clipped_eval(&wide, batch->advantage[t], live->logp[t] - batch->logp_old[t]);
            grad->loss += c * policy.loss;
            grad->d_logp[t] += c * policy.d_u;
        }
    return CN_OK;
}

const struct cn_entropy cn_entropy_archer = {
    .name = "archer",
    .summary = "uncertain tokens are clipped less, certain ones are held near the reference",
    .reference = "ArcherCodeR 2025, arXiv 2507.15778",
    .needs = CN_NEEDS(logp_old) | CN_NEEDS(entropy_old) | CN_NEEDS(logp_ref),
    .needs_live = CN_LIVE_BIT(logp),
    .options = options,
    .settings_size = sizeof(struct archer_settings),
    .state_size = sizeof(struct archer_state),
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare, .loss = loss},
};
