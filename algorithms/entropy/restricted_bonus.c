/* Entropy bonus over the plausible tokens only: L -= coefficient * aggregate(H_S).
 *
 * S is the smallest set of tokens with probability mass `amount` (form top_p), or the `amount` most
 * likely ones (form top_k); membership has no gradient.  H_S is the entropy of the distribution
 * renormalised over S, or the partial sum of -p log p over S.  The tail of a large vocabulary,
 * which swallows the plain bonus, is left alone. AEnt 2025, arXiv 2509.03493 (a count of tokens,
 * renormalised); TRE-P, TRE-K (a mass, a count). */
#include "term.h"

#include <math.h>

enum { FORM_TOP_P, FORM_TOP_K };

struct restricted_settings {
    double coefficient, amount;
    int form;
    bool renormalised;
};

static const struct cn_option options[] = {
    {.name = "coefficient",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct restricted_settings, coefficient),
     .fallback = "0.001",
     .minimum = -1e6,
     .maximum = 1e6,
     .unit = "reward per nat",
     .help = "weight of the entropy; negative values lower it"},
    {.name = "form",
     .kind = CN_OPTION_CHOICE,
     .offset = offsetof(struct restricted_settings, form),
     .fallback = "\"top_p\"",
     .choices = "top_p top_k",
     .help = "what `amount` means: probability mass, or number of tokens"},
    {.name = "amount",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct restricted_settings, amount),
     .fallback = "0.9",
     .minimum = 1e-9,
     .maximum = 1e9,
     .help = "mass in (0, 1] for top_p, whole number of tokens for top_k"},
    {.name = "renormalised",
     .kind = CN_OPTION_BOOL,
     .offset = offsetof(struct restricted_settings, renormalised),
     .fallback = "true",
     .help = "entropy of the renormalised distribution; otherwise the partial sum"},
    {0}};

static enum cn_status restricted_check(const void *settings)
{
    const struct restricted_settings *s = settings;
    if (s->form == FORM_TOP_P && s->amount > 1)
        return cn_fail(CN_ERR_CONFIG,
                       "amount=%g: with form=top_p it is a probability mass, at "
                       "most 1; use form=top_k for a number of tokens",
                       s->amount);
    if (s->form == FORM_TOP_K && (s->amount < 1 || s->amount != floor(s->amount)))
        return cn_fail(CN_ERR_CONFIG, "amount=%g: with form=top_k it is a whole number of tokens",
                       s->amount);
    return CN_OK;
}

static struct cn_top restricted_top(const void *settings)
{
    const struct restricted_settings *s = settings;
    struct cn_top top = {s->form == FORM_TOP_P ? CN_TOP_P : CN_TOP_K, s->amount, s->renormalised};
    return top;
}

static enum cn_status restricted_loss(const struct cn_context *context,
                                      const struct cn_batch *batch, struct cn_span atom,
                                      const struct cn_live *live, struct cn_token_grad *grad)
{
    const struct restricted_settings *settings = context->settings;
    const struct entropy_term term = {batch,
                                      atom,
                                      context->coefficient,
                                      settings->coefficient,
                                      live->entropy_top,
                                      grad->d_entropy_top};
    struct cn_sum entropy = {0};
    grad->loss += entropy_term_add(&term);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) cn_sum_add(&entropy, live->entropy_top[t]);
    return cn_metrics_merge(context->metrics, "entropy/restricted_bonus/entropy", &entropy);
}

const struct cn_entropy cn_entropy_restricted_bonus = {
    .name = "restricted_bonus",
    .summary = "a fixed reward for the entropy of the most likely tokens",
    .reference = "AEnt 2025, arXiv 2509.03493; TRE-P, TRE-K",
    .needs_live = CN_LIVE_BIT(entropy_top),
    .options = options,
    .settings_size = sizeof(struct restricted_settings),
    .check = restricted_check,
    .hooks = {.loss = restricted_loss},
    .top = restricted_top,
};
