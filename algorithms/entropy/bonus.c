/* Entropy bonus: L -= coefficient * aggregate(H), so dL/dH_t = -coefficient c_t.
 *
 * The aggregation is the policy loss's.  Williams and Peng 1991; Mnih et al. 2016, A3C.
 * With large vocabularies the gradient is spread over the tail: 1e-3 often does nothing and 5e-3
 * may explode (Cui et al. 2025, arXiv 2505.22617; SIREN, arXiv 2509.25133). */
#include "term.h"

struct bonus_settings {
    double coefficient;
};

static const struct cn_option options[] = {
    {.name = "coefficient",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct bonus_settings, coefficient),
     .fallback = "0.001",
     .minimum = -1e6,
     .maximum = 1e6,
     .unit = "reward per nat",
     .help = "weight of the entropy; negative values lower it"},
    {0}};

static enum cn_status bonus_loss(const struct cn_context *context, const struct cn_batch *batch,
                                 struct cn_span atom, const struct cn_live *live,
                                 struct cn_token_grad *grad)
{
    const struct bonus_settings *settings = context->settings;
    const struct entropy_term term = {
        batch, atom, context->coefficient, settings->coefficient, live->entropy, grad->d_entropy};
    grad->loss += entropy_term_add(&term);
    return CN_OK;
}

const struct cn_entropy cn_entropy_bonus = {
    .name = "bonus",
    .summary = "a fixed reward for entropy",
    .reference = "Williams and Peng 1991; Mnih et al. 2016, arXiv 1602.01783",
    .needs_live = CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct bonus_settings),
    .hooks = {.loss = bonus_loss},
};
