/* Axis `advantage`: how much better than expected the choice of a token was.
 *
 * Estimators over groups are pure functions (advantage_group.c), fed here with the rewards of one
 * group after the other; those over tokens stand in advantage_token.c.  A reward includes what
 * stands in token_reward.  A group whose rewards are equal gets exactly 0 where the estimator
 * subtracts a mean, and so does a group that is too small. */
#include "advantage.h"
#include "groups.h"

#include <math.h>

/* ---- whitening ----------------------------------------------------------- */

static enum cn_status whiten_part(const struct cn_context *context, struct cn_batch *batch,
                                  uint8_t part, int form)
{
    struct cn_sum sum = {0}, squares = {0};
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (batch->part[s] == part && cn_batch_trained(batch, s, t))
                cn_sum_add(&sum, batch->advantage[t]);
    CN_TRY(context->ranks->sum(context->ranks->self, &sum, 1));
    double mean = cn_sum_mean(&sum), n = (double)sum.count;
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (batch->part[s] == part && cn_batch_trained(batch, s, t)) {
                batch->advantage[t] -= mean;
                cn_sum_add(&squares, batch->advantage[t] * batch->advantage[t]);
            }
    CN_TRY(context->ranks->sum(context->ranks->self, &squares, 1));
    if (n < 2) return CN_OK; /* one token has no variance: it keeps A - mean */
    double variance = cn_sum_value(&squares) / (form == WHITEN_UNBIASED ? n - 1 : n);
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (batch->part[s] == part && cn_batch_trained(batch, s, t))
                batch->advantage[t] /= sqrt(variance + 1e-8);
    return CN_OK;
}

enum cn_status advantage_whiten(const struct cn_context *context, struct cn_batch *batch)
{
    const struct advantage_settings *settings = context->settings;
    if (settings->whiten != WHITEN_NONE)
        for (uint8_t part = 0; part < CN_PART_COUNT; part++)
            CN_TRY(whiten_part(context, batch, part, settings->whiten));
    return CN_OK;
}

/* ---- statistics of all rewards ------------------------------------------- */

/* Per part, over all ranks. */
struct rollout {
    double mean[CN_PART_COUNT], std[CN_PART_COUNT], rescale[CN_PART_COUNT];
};

static bool group_has_spread(const struct cn_batch *batch, const struct groups *groups, size_t g)
{
    const size_t *member = groups->member + groups->start[g];
    for (size_t i = 1; i < groups->start[g + 1] - groups->start[g]; i++)
        if (groups_return(batch, member[i]) != groups_return(batch, member[0])) return true;
    return false;
}

/* Sequences over sequences in groups with spread: the alpha of GPG. */
static enum cn_status measure_rescale(const struct cn_context *context,
                                      const struct cn_batch *batch, const struct groups *groups,
                                      struct rollout *out)
{
    struct cn_sum *all, *useful;
    CN_TRY(CN_NEW(context->scratch, CN_PART_COUNT, &all));
    CN_TRY(CN_NEW(context->scratch, CN_PART_COUNT, &useful));
    for (size_t g = 0; g < groups->count; g++) {
        uint8_t part = batch->part[groups->member[groups->start[g]]];
        double n = (double)(groups->start[g + 1] - groups->start[g]);
        cn_sum_add(&all[part], n);
        cn_sum_add(&useful[part], group_has_spread(batch, groups, g) ? n : 0);
    }
    CN_TRY(context->ranks->sum(context->ranks->self, all, CN_PART_COUNT));
    CN_TRY(context->ranks->sum(context->ranks->self, useful, CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++) {
        double n = cn_sum_value(&useful[p]);
        out->rescale[p] = n > 0 ? cn_sum_value(&all[p]) / n : 1;
    }
    return CN_OK;
}

static enum cn_status measure_rewards(const struct cn_context *context,
                                      const struct cn_batch *batch, struct rollout *out)
{
    struct cn_sum *sum, *squares;
    CN_TRY(CN_NEW(context->scratch, CN_PART_COUNT, &sum));
    CN_TRY(CN_NEW(context->scratch, CN_PART_COUNT, &squares));
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s)) cn_sum_add(&sum[batch->part[s]], groups_return(batch, s));
    CN_TRY(context->ranks->sum(context->ranks->self, sum, CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++)
        out->mean[p] = cn_sum_mean(&sum[p]);
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s)) {
            double distance = groups_return(batch, s) - out->mean[batch->part[s]];
            cn_sum_add(&squares[batch->part[s]], distance * distance);
        }
    CN_TRY(context->ranks->sum(context->ranks->self, squares, CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++) {
        double n = (double)sum[p].count;
        out->std[p] = n > 1 ? sqrt(cn_sum_value(&squares[p]) / (n - 1)) : 0;
        out->rescale[p] = 1;
    }
    return CN_OK;
}

/* ---- filling from groups ------------------------------------------------- */

static void broadcast(struct cn_batch *batch, size_t s, double value)
{
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        batch->advantage[t] = cn_batch_trained(batch, s, t) ? value : 0;
}

static double mean_entropy(const struct cn_batch *batch, size_t s)
{
    double sum = 0, n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        if (cn_batch_trained(batch, s, t)) {
            sum += batch->entropy_old[t];
            n++;
        }
    return n > 0 ? sum / n : 0;
}

/* Arrays of the members of one group at a time. */
struct members {
    double *reward, *length, *entropy, *advantage;
};

static enum cn_status open_members(const struct cn_context *context, size_t n, struct members *m)
{
    CN_TRY(CN_NEW(context->scratch, n, &m->reward));
    CN_TRY(CN_NEW(context->scratch, n, &m->length));
    CN_TRY(CN_NEW(context->scratch, n, &m->entropy));
    return CN_NEW(context->scratch, n, &m->advantage);
}

static void load(const struct cn_batch *batch, const size_t *member, size_t n, bool entropy,
                 const struct members *m)
{
    for (size_t i = 0; i < n; i++) {
        m->reward[i] = groups_return(batch, member[i]);
        m->length[i] = (double)groups_length(batch, member[i]);
        m->entropy[i] = entropy ? mean_entropy(batch, member[i]) : 0;
    }
}

/* How an entry estimates. */
struct method {
    group_estimator *estimate;
    bool always; /* also without spread */
    size_t minimum;
};

static enum cn_status fill_groups(const struct cn_context *context, struct cn_batch *batch,
                                  const struct method *method)
{
    const struct advantage_settings *settings = context->settings;
    const bool entropy = method->estimate == group_confidence;
    struct groups groups;
    struct rollout rollout;
    struct members m;
    CN_TRY(groups_find(batch, context->scratch, &groups));
    CN_TRY(open_members(context, batch->n_sequences, &m));
    CN_TRY(measure_rewards(context, batch, &rollout));
    if (settings->rescale) CN_TRY(measure_rescale(context, batch, &groups, &rollout));
    for (size_t s = 0; s < batch->n_sequences; s++)
        broadcast(batch, s, 0);
    for (size_t g = 0; g < groups.count; g++) {
        const size_t *member = groups.member + groups.start[g];
        const uint8_t part = batch->part[member[0]];
        const struct group_case group = {.settings = settings,
                                         .reward = m.reward,
                                         .length = m.length,
                                         .entropy = m.entropy,
                                         .n = groups.start[g + 1] - groups.start[g],
                                         .batch_mean = rollout.mean[part],
                                         .batch_std = rollout.std[part],
                                         .rescale = rollout.rescale[part]};
        load(batch, member, group.n, entropy, &m);
        if (group.n < method->minimum || (!method->always && !groups_spread(m.reward, group.n)))
            continue;
        method->estimate(&group, m.advantage);
        for (size_t i = 0; i < group.n; i++)
            broadcast(batch, member[i], m.advantage[i]);
    }
    return advantage_whiten(context, batch);
}

/* ---- entries ------------------------------------------------------------- */

static const struct cn_option whiten_options[] = {ADVANTAGE_WHITEN("none"), {0}};

static const struct cn_option mean_options[] = {
    {AXIS_BOOL(advantage_settings, rescale), .fallback = "false",
     .help = "multiply by sequences over sequences in groups with spread (GPG's alpha)"},
    ADVANTAGE_WHITEN("none"),
    {0}};

static const struct cn_option mean_std_options[] = {
    ADVANTAGE_EPSILON,
    {AXIS_CHOICE(advantage_settings, scale, "group batch"), .fallback = "\"group\"",
     .help = "whose standard deviation divides: the group's, or that of all rewards of the step"},
    ADVANTAGE_WHITEN("none"),
    {0}};

static const struct cn_option quantile_options[] = {
    {AXIS_REAL(advantage_settings, quantile, 0, 1), .fallback = "0.4",
     .help = "which quantile of the group's rewards is the baseline; 0.6 if entropy collapses"},
    {AXIS_CHOICE(advantage_settings, interpolation, "step linear"), .fallback = "\"step\"",
     .help = "step: the paper's smallest reward x with F(x) >= q; linear: the released code"},
    ADVANTAGE_EPSILON,
    {0}};

static const struct cn_option confidence_options[] = {ADVANTAGE_EPSILON, {0}};

static const struct cn_option pass_options[] = {
    {AXIS_INT(advantage_settings, k, 1, 1000000), .fallback = "4",
     .help = "samples of which one has to be right; at most train.samples"},
    {AXIS_CHOICE(advantage_settings, form, "analytic pkpo pkpo_loo"), .fallback = "\"analytic\"",
     .help = "normalised over all subsets of k; unbiased; unbiased with a leave-one-out baseline"},
    ADVANTAGE_CORRECT_FROM,
    {0}};

static const struct cn_option signed_options[] = {
    {AXIS_REAL(advantage_settings, positive, 0, 1e6), .fallback = "0.1",
     .help = "advantage of a right answer; 0: negative samples only"},
    ADVANTAGE_CORRECT_FROM,
    {0}};

#define X(name, always, minimum)                                                                   \
    static enum cn_status name##_fill(const struct cn_context *context, struct cn_batch *batch)    \
    {                                                                                              \
        const struct method method = {group_##name, always, minimum};                              \
        return fill_groups(context, batch, &method);                                               \
    }                                                                                              \
    enum { name##_minimum = minimum };
GROUP_ESTIMATORS(X)
#undef X

#define ENTRY(entry, text, source, ...)                                                            \
    static const struct cn_advantage entry = {.name = #entry,                                      \
                                              .summary = text,                                     \
                                              .reference = source,                                 \
                                              .settings_size = sizeof(struct advantage_settings),  \
                                              .fill = entry##_fill,                                \
                                              .group_minimum = entry##_minimum,                    \
                                              __VA_ARGS__}

ENTRY(reward, "the reward itself, no baseline", "Williams 1992, REINFORCE",
      .options = whiten_options);
ENTRY(batch_mean, "reward minus the mean of all rewards of the step",
      "Williams 1992, REINFORCE with a baseline", .options = whiten_options);
ENTRY(group_mean, "reward minus the mean of its group",
      "Liu et al. 2025, Dr. GRPO, arXiv 2503.20783; rescale: GPG, arXiv 2504.02546",
      .options = mean_options);
ENTRY(group_mean_std, "reward minus the group's mean, over its standard deviation (n-1)",
      "Shao et al. 2024, GRPO, arXiv 2402.03300; scale=batch: Lite PPO, arXiv 2508.08221",
      .options = mean_std_options);
ENTRY(loo, "reward minus the mean of the others of its group",
      "Ahmadian et al. 2024, RLOO, arXiv 2402.14740; Kool et al. 2019", .options = whiten_options);
ENTRY(length_weighted, "reward minus the mean weighted by length: the optimal baseline",
      "Hao et al. 2025, OPO, arXiv 2505.23585", .options = whiten_options);
ENTRY(mean_scaled, "reward minus the group's mean, over that mean", "MaxRL 2026, arXiv 2602.02710",
      .options = whiten_options);
ENTRY(quantile, "reward minus a quantile of its group, over the standard deviation",
      "QAE 2025, arXiv 2509.22611", .options = quantile_options);
ENTRY(confidence, "GRPO's advantage, larger where the answer was more certain than its group",
      "EDGE-GRPO 2025; the released code also differentiates the entropy, this does not",
      .options = confidence_options, .needs = CN_NEEDS(entropy_old));
ENTRY(pass_at_k, "credit for the success of any of k samples",
      "Chen et al. 2025, arXiv 2508.10751 (analytic); PKPO, arXiv 2505.15201",
      .options = pass_options);
ENTRY(signed_reward, "a small positive number if right, -1 if wrong",
      "Zhu et al. 2025, W-REINFORCE", .options = signed_options);

const struct cn_plugin *const axis_advantage[] = {
    AXIS_HEAD(reward),           AXIS_HEAD(batch_mean),    AXIS_HEAD(group_mean),
    AXIS_HEAD(group_mean_std),   AXIS_HEAD(loo),           AXIS_HEAD(length_weighted),
    AXIS_HEAD(mean_scaled),      AXIS_HEAD(quantile),      AXIS_HEAD(confidence),
    AXIS_HEAD(pass_at_k),        AXIS_HEAD(signed_reward), AXIS_HEAD(advantage_rtg),
    AXIS_HEAD(advantage_greedy), AXIS_HEAD(advantage_gae), NULL};
