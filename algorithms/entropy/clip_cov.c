/* Clip-Cov: tokens that would lower the entropy most lose their gradient.
 *
 *     cov_t = (logp_t - mean logp) (A_t - mean A)         means over the optimizer step
 *     C = {t : low < cov_t < high, and the surrogate does not stop t}
 *     S = min(K, |C|) of C, drawn without replacement;  K = round(fraction N)
 *     dL/dlogp_t = 0 for t in S;  the denominators still count it
 *
 * To first order a step changes the entropy by minus the covariance of log-probability and
 * advantage (Theorem 2), and few tokens carry most of it.  The draw is fixed by seed, step and
 * place.  Low and high are the authors' for answers of 8,000 tokens; small models need others: they
 * sit near the upper 0.02 % and 0.2 % of cov.  The authors widen the surrogate's clip to 1 on both
 * sides, so that this selection is the only bound (configs/debug/clip_cov.json does too).
 *
 * Paper and code: the paper cuts the gradient and keeps the loss, the code multiplies the loss by
 * 0; the gradients are the same, and the loss here is the code's.  The code's quota is max(1,
 * floor(fraction N)): rounding=down, at_least=1; its statistics go over a micro-batch: scope=micro.
 * Cui et al. 2025, arXiv 2505.22617, section 4.2. */
#include "tokens.h"

struct clip_cov_settings {
    struct quota quota;
    double low, high;
    int scope;
};

struct clip_cov_state {
    bool told;
};

static const struct cn_option options[] = {
    TOKENS_QUOTA(clip_cov_settings, "2e-4", "share of the trained tokens that is drawn"),
    {TOKENS_REAL(clip_cov_settings, low, -1e9, 1e9), .fallback = "1", .unit = "nats reward",
     .help = "candidates have a larger covariance"},
    {TOKENS_REAL(clip_cov_settings, high, -1e9, 1e9), .fallback = "5", .unit = "nats reward",
     .help = "candidates have a smaller covariance"},
    TOKENS_SCOPE(clip_cov_settings),
    {0}};

static enum cn_status check(const void *settings)
{
    const struct clip_cov_settings *s = settings;
    if (s->low >= s->high)
        return cn_fail(CN_ERR_CONFIG, "low=%g is not below high=%g: no token would be a candidate",
                       s->low, s->high);
    tokens_warn("clip_cov", s->scope);
    return CN_OK;
}

static bool reads_live(const void *settings)
{
    return ((const struct clip_cov_settings *)settings)->scope != SCOPE_STORED;
}

/* Marks the candidates of a set. */
static enum cn_status find_candidates(const struct cn_context *context, const struct token_set *set,
                                      const double *logp, uint8_t *candidate)
{
    const struct clip_cov_settings *settings = context->settings;
    const bool stored = settings->scope == SCOPE_STORED;
    double *cov;
    CN_TRY(CN_NEW(context->scratch, set->n, &cov));
    CN_TRY(token_set_covariance(set, logp, cov));
    FOR_TOKENS(set, s, t)
    {
        const double c = cov[t - set->begin];
        const bool stopped = !stored && context->stopped[t];
        candidate[t - set->begin] = settings->low < c && c < settings->high && !stopped;
    }
    return CN_OK;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct clip_cov_settings *settings = context->settings;
    struct clip_cov_state *state = context->state;
    const struct cn_live values = tokens_values(settings->scope, batch, live);
    struct token_report report = {{.count = 0}, {.count = 0}};
    struct token_sets sets;
    CN_TRY(token_sets(context, batch, span, settings->scope, &sets));
    for (size_t i = 0; i < sets.count; i++) {
        const struct token_set *set = &sets.item[i];
        uint8_t *candidate, *chosen;
        CN_TRY(CN_NEW(context->scratch, set->n, &candidate));
        CN_TRY(CN_NEW(context->scratch, set->n, &chosen));
        CN_TRY(find_candidates(context, set, values.logp, candidate));
        quota_tell("clip_cov", &settings->quota, set->tokens, &state->told);
        CN_TRY(token_set_draw(set, context, candidate, quota_of(&settings->quota, set->tokens),
                              chosen));
        FOR_TOKENS(set, s, t)
        {
            const bool drawn = chosen[t - set->begin];
            token_touch(context, batch, t, drawn ? 0 : 1, drawn, &report);
        }
    }
    return token_report_write(context, "clip_cov", &report);
}

const struct cn_entropy cn_entropy_clip_cov = {
    .name = "clip_cov",
    .summary =
        "some tokens of high covariance of log-probability and advantage lose their gradient",
    .reference = "Cui et al. 2025, arXiv 2505.22617, section 4.2",
    .needs = CN_NEEDS(logp_old),
    .needs_live = CN_LIVE_BIT(logp),
    .options = options,
    .settings_size = sizeof(struct clip_cov_settings),
    .state_size = sizeof(struct clip_cov_state),
    .check = check,
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare},
};
