/* Axis `advantage`: how much better than expected the choice of a token was.
 *
 * Estimators over groups see the rewards R of one group and give one number per sequence:
 *
 *     reward            A = R
 *     batch_mean        A = R - mean over all sequences of the part
 *     group_mean        A = R - mean of the group
 *     group_mean_std    A = (R - mean) / (std + epsilon)
 *     loo               A = R - mean of the others
 *
 * Estimators over tokens walk each sequence from its end:
 *
 *     rtg               A_t = r_t + gamma A_{t+1}                     r: token rewards, R on the
 * last gae               d_t = r_t + gamma V_{t+1} - V_t,  A_t = d_t + gamma lambda A_{t+1}
 *
 * R includes what stands in token_reward.  Means and deviations are exact sums, so the order of
 * sequences does not matter; a group whose rewards are equal gets exactly 0.  A group of one gets 0
 * where a baseline needs two. */
#include "axes.h"
#include "groups.h"

#include <math.h>

enum { SCALE_GROUP, SCALE_BATCH };
enum { WHITEN_NONE, WHITEN_UNBIASED, WHITEN_POPULATION };

/* One struct for all entries; each has the options that it reads. */
struct advantage_settings {
    double epsilon, gamma, lambda, lambda_alpha, critic_lambda;
    int scale, whiten;
};

#define WHITEN(default_word)                                                                       \
    {                                                                                              \
        AXIS_CHOICE(advantage_settings, whiten, "none unbiased population"),                       \
            .fallback = "\"" default_word "\"",                                                    \
            .help = "give the trained tokens of the rollout mean 0 and variance 1, with n-1 or n"  \
    }
#define GAMMA                                                                                      \
    {                                                                                              \
        AXIS_REAL(advantage_settings, gamma, 0, 1), .fallback = "1",                               \
                                                    .help = "discount per trained token"           \
    }

static const struct cn_option whiten_options[] = {WHITEN("none"), {0}};
static const struct cn_option mean_std_options[] = {
    {AXIS_REAL(advantage_settings, epsilon, 0, 1e6), .fallback = "1e-6", .unit = "reward",
     .help = "added to the standard deviation"},
    {AXIS_CHOICE(advantage_settings, scale, "group batch"), .fallback = "\"group\"",
     .help = "whose standard deviation divides: the group's, or that of all rewards of the step"},
    WHITEN("none"),
    {0}};
static const struct cn_option rtg_options[] = {GAMMA, WHITEN("none"), {0}};
static const struct cn_option gae_options[] = {
    GAMMA,
    {AXIS_REAL(advantage_settings, lambda, 0, 1), .fallback = "0.95",
     .help = "decay of the temporal-difference errors"},
    {AXIS_REAL(advantage_settings, lambda_alpha, 1e-9, 1e9), .fallback = "null", .nullable = true,
     .help = "VAPO: lambda = 1 - 1/(alpha n) for an answer of n tokens instead; needs "
             "critic_lambda 1"},
    {AXIS_REAL(advantage_settings, critic_lambda, 0, 1), .fallback = "null", .nullable = true,
     .help = "lambda of the critic's target; null: the same as the policy's"},
    WHITEN("unbiased"),
    {0}};

/* ---- over groups -------------------------------------------------------------------------------
 */

/* The rewards of one group, and what an estimator may need beside them. */
struct group_case {
    const struct advantage_settings *settings;
    const double *reward; /* (n) */
    size_t n;
    double batch_mean, batch_std; /* of all rewards of the part */
};

/* Fills advantage (n). */
typedef void estimator(const struct group_case *group, double *advantage);

static double exact_mean(const double *values, size_t n)
{
    struct cn_sum sum = {0};
    for (size_t i = 0; i < n; i++)
        cn_sum_add(&sum, values[i]);
    return cn_sum_mean(&sum);
}

static double exact_std(const double *values, size_t n, double mean)
{
    struct cn_sum sum = {0};
    if (n < 2 || !groups_spread(values, n)) return 0;
    for (size_t i = 0; i < n; i++)
        cn_sum_add(&sum, (values[i] - mean) * (values[i] - mean));
    return sqrt(cn_sum_value(&sum) / (double)(n - 1));
}

static void reward_of_group(const struct group_case *group, double *advantage)
{
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i];
}

static void batch_mean_of_group(const struct group_case *group, double *advantage)
{
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] - group->batch_mean;
}

static void group_mean_of_group(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->reward, group->n);
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] - mean;
}

static void group_mean_std_of_group(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->reward, group->n);
    double std = group->settings->scale == SCALE_BATCH ? group->batch_std
                                                       : exact_std(group->reward, group->n, mean);
    double divisor = std + group->settings->epsilon;
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = divisor > 0 ? (group->reward[i] - mean) / divisor : 0;
}

static void loo_of_group(const struct group_case *group, double *advantage)
{
    struct cn_sum sum = {0};
    for (size_t i = 0; i < group->n; i++)
        cn_sum_add(&sum, group->reward[i]);
    for (size_t i = 0; i < group->n; i++) {
        struct cn_sum others = sum;
        cn_sum_add(&others, -group->reward[i]);
        advantage[i] = group->reward[i] - cn_sum_value(&others) / (double)(group->n - 1);
    }
}

/* ---- whitening ---------------------------------------------------------------------------------
 */

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

/* Mean 0 and variance 1 over the trained tokens of each part, over all ranks (methods-base 3.3). */
static enum cn_status whiten(const struct cn_context *context, struct cn_batch *batch)
{
    const struct advantage_settings *settings = context->settings;
    if (settings->whiten != WHITEN_NONE)
        for (uint8_t part = 0; part < CN_PART_COUNT; part++)
            CN_TRY(whiten_part(context, batch, part, settings->whiten));
    return CN_OK;
}

/* ---- filling -----------------------------------------------------------------------------------
 */

static void broadcast(struct cn_batch *batch, size_t s, double value)
{
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        batch->advantage[t] = cn_batch_trained(batch, s, t) ? value : 0;
}

/* Mean and deviation (n-1) of the rewards of each part, over all ranks. */
static enum cn_status batch_statistics(const struct cn_context *context,
                                       const struct cn_batch *batch, double mean[CN_PART_COUNT],
                                       double std[CN_PART_COUNT])
{
    struct cn_sum sum[CN_PART_COUNT], squares[CN_PART_COUNT];
    for (int p = 0; p < CN_PART_COUNT; p++)
        sum[p] = squares[p] = (struct cn_sum){0};
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s)) cn_sum_add(&sum[batch->part[s]], groups_return(batch, s));
    CN_TRY(context->ranks->sum(context->ranks->self, sum, CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++)
        mean[p] = cn_sum_mean(&sum[p]);
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s)) {
            double distance = groups_return(batch, s) - mean[batch->part[s]];
            cn_sum_add(&squares[batch->part[s]], distance * distance);
        }
    CN_TRY(context->ranks->sum(context->ranks->self, squares, CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++)
        std[p] =
            sum[p].count > 1 ? sqrt(cn_sum_value(&squares[p]) / (double)(sum[p].count - 1)) : 0;
    return CN_OK;
}

static enum cn_status fill_groups(const struct cn_context *context, struct cn_batch *batch,
                                  estimator *estimate, size_t minimum)
{
    struct groups groups;
    double mean[CN_PART_COUNT], std[CN_PART_COUNT], *reward, *advantage;
    CN_TRY(groups_find(batch, context->scratch, &groups));
    CN_TRY(CN_NEW(context->scratch, batch->n_sequences, &reward));
    CN_TRY(CN_NEW(context->scratch, batch->n_sequences, &advantage));
    CN_TRY(batch_statistics(context, batch, mean, std));
    for (size_t s = 0; s < batch->n_sequences; s++)
        broadcast(batch, s, 0);
    for (size_t g = 0; g < groups.count; g++) {
        const size_t *member = groups.member + groups.start[g];
        const uint8_t part = batch->part[member[0]];
        struct group_case group = {.settings = context->settings,
                                   .reward = reward,
                                   .n = groups.start[g + 1] - groups.start[g],
                                   .batch_mean = mean[part],
                                   .batch_std = std[part]};
        if (group.n < minimum) continue;
        for (size_t i = 0; i < group.n; i++)
            reward[i] = groups_return(batch, member[i]);
        if (minimum > 1 && !groups_spread(reward, group.n)) continue;
        estimate(&group, advantage);
        for (size_t i = 0; i < group.n; i++)
            broadcast(batch, member[i], advantage[i]);
    }
    return whiten(context, batch);
}

/* ---- over tokens -------------------------------------------------------------------------------
 */

/* Reward of a policy token: its own, and the sequence's on the last one. */
static double token_reward(const struct cn_batch *batch, size_t s, size_t t, bool last)
{
    double reward = batch->written & CN_NEEDS(token_reward) ? batch->token_reward[t] : 0;
    return last ? reward + batch->reward[s] : reward;
}

static enum cn_status rtg_fill(const struct cn_context *context, struct cn_batch *batch)
{
    const struct advantage_settings *settings = context->settings;
    for (size_t s = 0; s < batch->n_sequences; s++) {
        bool last = true;
        double to_go = 0;
        broadcast(batch, s, 0);
        for (size_t t = batch->seq_start[s + 1]; t-- > batch->seq_start[s];) {
            if (!cn_batch_trained(batch, s, t)) continue; /* other spans take no time */
            to_go = token_reward(batch, s, t, last) + settings->gamma * to_go;
            batch->advantage[t] = to_go;
            last = false;
        }
    }
    return whiten(context, batch);
}

/* Advantages of a sequence under one lambda -> out (its tokens), 0 where untrained. */
static void gae_sequence(const struct cn_batch *batch, size_t s, double gamma, double lambda,
                         double *out)
{
    bool last = true;
    double next_value = 0, sum = 0;
    for (size_t t = batch->seq_start[s + 1]; t-- > batch->seq_start[s];) {
        out[t] = 0;
        if (!cn_batch_trained(batch, s, t)) continue;
        double error = token_reward(batch, s, t, last) + gamma * next_value - batch->value_old[t];
        sum = error + gamma * lambda * sum;
        next_value = batch->value_old[t];
        out[t] = sum;
        last = false;
    }
}

static enum cn_status gae_fill(const struct cn_context *context, struct cn_batch *batch)
{
    const struct advantage_settings *settings = context->settings;
    for (size_t s = 0; s < batch->n_sequences; s++) {
        size_t n = groups_trained(batch, s);
        double lambda = settings->lambda;
        if (!isnan(settings->lambda_alpha) && n)
            lambda = fmax(0, 1 - 1 / (settings->lambda_alpha * (double)n));
        double target = isnan(settings->critic_lambda) ? lambda : settings->critic_lambda;
        gae_sequence(batch, s, settings->gamma, target, batch->value_target);
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) batch->value_target[t] += batch->value_old[t];
        gae_sequence(batch, s, settings->gamma, lambda, batch->advantage);
    }
    batch->written |= CN_NEEDS(value_target);
    return whiten(context, batch);
}

static enum cn_status gae_check(const void *settings)
{
    const struct advantage_settings *s = settings;
    if (!isnan(s->lambda_alpha) && s->critic_lambda != 1)
        return cn_fail(CN_ERR_CONFIG,
                       "lambda_alpha (VAPO's length-dependent lambda) is for the policy only: "
                       "the critic's target needs critic_lambda=1");
    return CN_OK;
}

/* ---- entries -----------------------------------------------------------------------------------
 */

#define GROUP_FILL(entry, minimum)                                                                 \
    static enum cn_status entry##_fill(const struct cn_context *context, struct cn_batch *batch)   \
    {                                                                                              \
        return fill_groups(context, batch, entry##_of_group, minimum);                             \
    }

GROUP_FILL(reward, 1)
GROUP_FILL(batch_mean, 1)
GROUP_FILL(group_mean, 2)
GROUP_FILL(group_mean_std, 2)
GROUP_FILL(loo, 2)

#define ENTRY(entry, text, source, ...)                                                            \
    static const struct cn_advantage entry = {.name = #entry,                                      \
                                              .summary = text,                                     \
                                              .reference = source,                                 \
                                              .settings_size = sizeof(struct advantage_settings),  \
                                              .fill = entry##_fill,                                \
                                              __VA_ARGS__}

ENTRY(reward, "the reward itself, no baseline", "Williams 1992, REINFORCE",
      .options = whiten_options);
ENTRY(batch_mean, "reward minus the mean of all rewards of the step",
      "Williams 1992, REINFORCE with a baseline", .options = whiten_options);
ENTRY(group_mean, "reward minus the mean of its group",
      "Liu et al. 2025, Dr. GRPO, arXiv 2503.20783", .options = whiten_options, .group_minimum = 2);
ENTRY(group_mean_std, "reward minus the group's mean, over its standard deviation (n-1)",
      "Shao et al. 2024, GRPO, arXiv 2402.03300", .options = mean_std_options, .group_minimum = 2);
ENTRY(loo, "reward minus the mean of the others of its group",
      "Ahmadian et al. 2024, RLOO, arXiv 2402.14740; Kool et al. 2019", .options = whiten_options,
      .group_minimum = 2);
ENTRY(rtg, "discounted reward to go", "Hu 2025, REINFORCE++, arXiv 2501.03262",
      .options = rtg_options, .per_token = true);
ENTRY(gae, "generalised advantage estimation over a critic's values",
      "Schulman et al. 2015, arXiv 1506.02438; lambda_alpha: VAPO, arXiv 2504.05118",
      .options = gae_options, .per_token = true, .needs = CN_NEEDS(value_old), .check = gae_check);

const struct cn_plugin *const axis_advantage[] = {
    AXIS_HEAD(reward), AXIS_HEAD(batch_mean), AXIS_HEAD(group_mean), AXIS_HEAD(group_mean_std),
    AXIS_HEAD(loo),    AXIS_HEAD(rtg),        AXIS_HEAD(gae),        NULL};
