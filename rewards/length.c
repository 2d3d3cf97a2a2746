/* The length of a reply in tokens.
 *
 *   within    1 if minimum <= n <= maximum, else 0
 *   target    max(0, 1 - |n - target| / target)
 *   overlong  0 up to maximum - buffer, then down in a straight line to -1 at `maximum` and behind:
 *             ((maximum - buffer) - n) / buffer
 *             Yu et al. 2025 (DAPO), arXiv 2503.14476, equation 13
 *   cosine    from `first` at length 0 down (or up) to `last` at `maximum`, along half a cosine
 *             Yeo et al. 2025, arXiv 2502.03373, section 4.2; a composite of how=product makes it
 *             depend on the answer, as there
 *
 * `maximum` 0 stands for the limit of the run (rollout.max_tokens). */
#include "carnot/reward.h"

#include <math.h>
#include <stddef.h>

enum form { FORM_WITHIN, FORM_TARGET, FORM_OVERLONG, FORM_COSINE };

struct settings {
    int form;
    int64_t minimum, maximum, target, buffer;
    double first, last;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "form", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, form), .fallback = "\"within\"",
     .choices = "within target overlong cosine", .help = "the formula"},
    {.name = "minimum", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, minimum), .fallback = "1", .minimum = 0, .maximum = 1e9,
     .unit = "tokens", .help = "shortest reply of form=within"},
    {.name = "maximum", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, maximum), .fallback = "0", .minimum = 0, .maximum = 1e9,
     .unit = "tokens", .help = "longest reply; 0: the run's limit"},
    {.name = "target", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, target), .fallback = "100", .minimum = 1, .maximum = 1e9,
     .unit = "tokens", .help = "best length of form=target"},
    {.name = "buffer", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, buffer), .fallback = "64", .minimum = 1, .maximum = 1e9,
     .unit = "tokens", .help = "how far before the maximum form=overlong starts to fall"},
    {.name = "first", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, first), .fallback = "1", .minimum = -1e6, .maximum = 1e6,
     .help = "score of an empty reply of form=cosine"},
    {.name = "last", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, last), .fallback = "0", .minimum = -1e6, .maximum = 1e6,
     .help = "score of form=cosine at the maximum and behind it"},
    {0},
};
// clang-format on

static double length_value(const struct settings *settings, const struct cn_episode *episode)
{
    double n = (double)episode->response_tokens;
    double maximum = settings->maximum ? (double)settings->maximum : (double)episode->max_tokens;
    double target = (double)settings->target, buffer = (double)settings->buffer;
    switch (settings->form) {
    case FORM_TARGET:
        return fmax(0, 1 - fabs(n - target) / target);
    case FORM_COSINE: {
        const double pi = 3.14159265358979323846, part = maximum > 0 ? fmin(1, n / maximum) : 0;
        return settings->last + 0.5 * (settings->first - settings->last) * (1 + cos(pi * part));
    }
    case FORM_OVERLONG:
        return fmax(-1, fmin(0, (maximum - buffer - n) / buffer));
    default:
        return n >= (double)settings->minimum && (maximum <= 0 || n <= maximum) ? 1 : 0;
    }
}

static enum cn_status length_score(const void *given, const struct cn_episode *episodes, size_t n,
                                   struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    (void)arena;
    if (settings->form == FORM_WITHIN && settings->maximum && settings->minimum > settings->maximum)
        return cn_fail(CN_ERR_CONFIG, "rewards.length: minimum %lld is above maximum %lld",
                       (long long)settings->minimum, (long long)settings->maximum);
    for (size_t i = 0; i < n; i++) {
        double best = settings->form == FORM_OVERLONG ? 0
                      : settings->form == FORM_COSINE ? -INFINITY
                                                      : 1,
               score = length_value(settings, &episodes[i]);
        out[i] =
            (struct cn_outcome){.score = score,
                                .has_score = true,
                                .verdict = score >= best ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG};
    }
    return CN_OK;
}

const struct cn_reward cn_reward_length = {
    .name = "length",
    .summary = "rewards or punishes the number of tokens of the reply",
    .reference = "overlong: Yu et al. 2025 (DAPO), arXiv 2503.14476, equation 13",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .score = length_score,
};
