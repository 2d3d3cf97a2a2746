/* Forking tokens, 80/20: only the tokens of highest entropy are trained.
 *
 *     S = the K trained tokens of largest H_t;  K = round(fraction N)
 *     L = sum over t in S of c_t l_t                      all tokens stay in the denominator
 *
 * H and S are constants.  Of equal entropies the earlier token is taken.
 *
 * Paper and code: the paper divides by all tokens, the code by the selected ones, which is a step
 * 1 / fraction as large (denominator=selected); its quota is max(1, ceil(fraction N)) over a
 * micro-batch: rounding=up, at_least=1, scope=micro.  Wang et al. 2025, arXiv 2506.01939. */
#include "tokens.h"

enum { DENOMINATOR_ALL, DENOMINATOR_SELECTED };

struct forking_settings {
    struct quota quota;
    int denominator, scope;
};

struct forking_state {
    bool told;
};

static const struct cn_option options[] = {
    TOKENS_QUOTA(forking_settings, "0.2", "share of the trained tokens that keeps its gradient"),
    {TOKENS_CHOICE(forking_settings, denominator, "all selected"), .fallback = "\"all\"",
     .help = "which tokens the loss is a mean over"},
    TOKENS_SCOPE(forking_settings),
    {0}};

static enum cn_status check(const void *settings)
{
    tokens_warn("forking", ((const struct forking_settings *)settings)->scope);
    return CN_OK;
}

static bool reads_live(const void *settings)
{
    return ((const struct forking_settings *)settings)->scope != SCOPE_STORED;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct forking_settings *settings = context->settings;
    struct forking_state *state = context->state;
    const struct cn_live values = tokens_values(settings->scope, batch, live);
    struct token_report report = {{.count = 0}, {.count = 0}};
    struct token_sets sets;
    CN_TRY(token_sets(context, batch, span, settings->scope, &sets));
    for (size_t i = 0; i < sets.count; i++) {
        const struct token_set *set = &sets.item[i];
        const size_t k = quota_of(&settings->quota, set->tokens);
        const bool all = settings->denominator == DENOMINATOR_ALL || k == 0;
        const double kept = all ? 1 : set->tokens / (double)k;
        uint8_t *chosen;
        CN_TRY(CN_NEW(context->scratch, set->n, &chosen));
        quota_tell("forking", &settings->quota, set->tokens, &state->told);
        CN_TRY(token_set_largest(set, context, values.entropy + set->begin, k, chosen));
        FOR_TOKENS(set, s, t)
        {
            const bool fork = chosen[t - set->begin];
            token_touch(context, batch, t, fork ? kept : 0, fork, &report);
        }
    }
    return token_report_write(context, "forking", &report);
}

const struct cn_entropy cn_entropy_forking = {
    .name = "forking",
    .summary = "only the tokens of highest entropy are trained",
    .reference = "Wang et al. 2025, arXiv 2506.01939",
    .needs = CN_NEEDS(entropy_old),
    .needs_live = CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct forking_settings),
    .state_size = sizeof(struct forking_state),
    .check = check,
    .prepare_live = reads_live,
    .hooks = {.prepare = prepare},
};
