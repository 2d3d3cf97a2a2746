/* KL-Cov: tokens that would lower the entropy most are pulled back to the old policy.
 *
 *     S = the K tokens of largest cov_t = (logp_t - mean logp) (A_t - mean A);  K = round(fraction
 * N) L += coefficient sum over t in S of c_t |logp_t - logp_old_t| dL/dlogp_t += coefficient c_t
 * sign(logp_t - logp_old_t),  sign(0) = 0
 *
 * with the aggregation's c_t; the absolute log-ratio stands for KL(old || new) on the sampled
 * token. The policy's own term has no clip in the paper: algorithm.surrogate=importance.  At a
 * rollout's first update new and old policy are the same and the term is 0, so with one update per
 * rollout the method does nothing, which the trainer refuses.
 *
 * Paper and code: the code's quota is max(1, floor(fraction N)) over a micro-batch: rounding=down,
 * at_least=1, scope=micro; its k_percent is in percent.  fraction is 2e-3 for 7B and 2e-4 for 32B.
 * Cui et al. 2025, arXiv 2505.22617, section 4.3. */
#include "tokens.h"

#include <math.h>

struct kl_cov_settings {
    struct quota quota;
    double coefficient;
    int scope;
};

struct kl_cov_state {
    bool told;
};

static const struct cn_option options[] = {
    TOKENS_QUOTA(kl_cov_settings, "2e-3", "share of the trained tokens that is pulled back"),
    {TOKENS_REAL(kl_cov_settings, coefficient, 0, 1e6), .fallback = "1", .unit = "reward per nat",
     .help = "weight of the absolute log-ratio"},
    TOKENS_SCOPE(kl_cov_settings),
    {0}};

static enum cn_status check(const void *settings)
{
    tokens_warn("kl_cov", ((const struct kl_cov_settings *)settings)->scope);
    return CN_OK;
}

static bool reads_live(const void *settings)
{
    return ((const struct kl_cov_settings *)settings)->scope != SCOPE_STORED;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct kl_cov_settings *settings = context->settings;
    struct kl_cov_state *state = context->state;
    const struct cn_live values = tokens_values(settings->scope, batch, live);
    struct token_report report = {{.count = 0}, {.count = 0}};
    struct token_sets sets;
    CN_TRY(token_sets(context, batch, span, settings->scope, &sets));
    for (size_t i = 0; i < sets.count; i++) {
        const struct token_set *set = &sets.item[i];
        double *cov;
        uint8_t *chosen;
        CN_TRY(CN_NEW(context->scratch, set->n, &cov));
        CN_TRY(CN_NEW(context->scratch, set->n, &chosen));
        CN_TRY(token_set_covariance(set, values.logp, cov));
        quota_tell("kl_cov", &settings->quota, set->tokens, &state->told);
        CN_TRY(
            token_set_largest(set, context, cov, quota_of(&settings->quota, set->tokens), chosen));
        FOR_TOKENS(set, s, t)
        token_touch(context, batch, t, 1, chosen[t - set->begin], &report);
    }
    CN_TRY(tokens_control(context, "kl_cov", settings->coefficient, NAN, NAN));
    return token_report_write(context, "kl_cov", &report);
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct kl_cov_settings *settings = context->settings;
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t) || !(batch->touched[t] & context->bit)) continue;
            const double x = live->logp[t] - batch->logp_old[t];
            const double weight = settings->coefficient * context->coefficient[t];
            grad->loss += weight * fabs(x);
            grad->d_logp[t] += weight * ((x > 0) - (x < 0));
        }
    return CN_OK;
}

const struct cn_entropy cn_entropy_kl_cov = {
    .name = "kl_cov",
    .summary = "the tokens of highest covariance of log-probability and advantage are pulled back",
    .reference = "Cui et al. 2025, arXiv 2505.22617, section 4.3",
    .needs = CN_NEEDS(logp_old),
    .needs_live = CN_LIVE_BIT(logp),
    .options = options,
    .settings_size = sizeof(struct kl_cov_settings),
    .state_size = sizeof(struct kl_cov_state),
    .updates_minimum = 2,
    .check = check,
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare, .loss = loss},
};
