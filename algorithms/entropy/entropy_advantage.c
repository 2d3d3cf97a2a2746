/* Entropy-augmented advantage: uncertain tokens gain, but never so much that the sign turns.
 *
 *     A'_t = A_t + min(coefficient H_t, |A_t| / kappa)                      H a constant
 *
 * A surrogate that is positively homogeneous in the advantage, l(w A) = w l(A) for w >= 0, gives
 * with A' exactly A'/A times what it gives with A.  So the method is a weight,
 *
 *     w_t = A'_t / A_t = 1 + sign(A_t) min(coefficient H_t / |A_t|, 1 / kappa),      1 if A_t = 0
 *
 * which may follow the present policy's H at every update without touching the advantage column;
 * kappa >= 1 keeps w >= 0.  The surrogate dro is not homogeneous and is refused.
 *
 * Paper and code: the paper has kappa 2, with coefficient 0.4 under GRPO and 0.1 under PPO; the
 * re-implementation in SIREN's code has kappa 1, where a wrong answer's uncertain tokens get
 * exactly 0.  Cheng et al. 2025, arXiv 2506.14758. */
#include "tokens.h"

#include <math.h>

struct entropy_advantage_settings {
    double coefficient, kappa;
    int scope;
};

static const struct cn_option options[] = {
    {TOKENS_REAL(entropy_advantage_settings, coefficient, 0, 1e6), .fallback = "0.4",
     .unit = "reward per nat", .help = "advantage added per nat of entropy"},
    {TOKENS_REAL(entropy_advantage_settings, kappa, 1, 1e9), .fallback = "2",
     .help = "at most this part of the advantage's size is added: 1 / kappa"},
    {TOKENS_CHOICE(entropy_advantage_settings, scope, "step stored"), .fallback = "\"step\"",
     .help = "entropy of the present policy, or at the rollout's first update (no further pass)"},
    {0}};

static bool reads_live(const void *settings)
{
    return ((const struct entropy_advantage_settings *)settings)->scope != SCOPE_STORED;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct entropy_advantage_settings *settings = context->settings;
    const struct cn_live values = tokens_values(settings->scope, batch, live);
    struct token_report report = {{.count = 0}, {.count = 0}};
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const double a = batch->advantage[t];
            const double psi =
                fmin(settings->coefficient * values.entropy[t], fabs(a) / settings->kappa);
            token_touch(context, batch, t, a == 0 ? 1 : (a + psi) / a, a != 0 && psi != 0, &report);
        }
    CN_TRY(tokens_control(context, "entropy_advantage", settings->coefficient, NAN, NAN));
    return token_report_write(context, "entropy_advantage", &report);
}

const struct cn_entropy cn_entropy_entropy_advantage = {
    .name = "entropy_advantage",
    .summary = "the advantage of uncertain tokens is raised, within its sign",
    .reference = "Cheng et al. 2025, arXiv 2506.14758",
    .needs = CN_NEEDS(entropy_old),
    .needs_live = CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct entropy_advantage_settings),
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare},
};
