/* Estimators over tokens: each sequence is walked from its end.
 *
 *     rtg       A_t = r_t + gamma A_{t+1}                r: token rewards, and R on the last token
 *     greedy    the same with gamma 1, minus the reward of one greedy sample of the prompt
 *     gae       d_t = r_t + gamma V_{t+1} - V_t          A_t = d_t + gamma lambda A_{t+1}
 *
 * t + 1 is the next trained token: spans of the environment take no time. */
#include "advantage.h"
#include "groups.h"

#include <math.h>
#include <string.h>

/* Reward of a policy token: its own, and the sequence's on the last one. */
static double token_reward(const struct cn_batch *batch, size_t s, size_t t, bool last)
{
    double reward = batch->written & CN_NEEDS(token_reward) ? batch->token_reward[t] : 0;
    return last ? reward + batch->reward[s] : reward;
}

static void to_go(struct cn_batch *batch, size_t s, double gamma, double baseline)
{
    bool last = true;
    double sum = 0;
    for (size_t t = batch->seq_start[s + 1]; t-- > batch->seq_start[s];) {
        batch->advantage[t] = 0;
        if (!cn_batch_trained(batch, s, t)) continue;
        sum = token_reward(batch, s, t, last) + gamma * sum;
        batch->advantage[t] = sum - baseline;
        last = false;
    }
}

/* ---- reward to go -------------------------------------------------------- */

static const struct cn_option rtg_options[] = {ADVANTAGE_GAMMA, ADVANTAGE_WHITEN("none"), {0}};

static enum cn_status rtg_fill(const struct cn_context *context, struct cn_batch *batch)
{
    const struct advantage_settings *settings = context->settings;
    for (size_t s = 0; s < batch->n_sequences; s++)
        to_go(batch, s, settings->gamma, 0);
    return advantage_whiten(context, batch);
}

const struct cn_advantage advantage_rtg = {
    .name = "rtg",
    .summary = "discounted reward to go",
    .reference = "Hu 2025, REINFORCE++, arXiv 2501.03262",
    .options = rtg_options,
    .settings_size = sizeof(struct advantage_settings),
    .fill = rtg_fill,
    .per_token = true,
};

/* ---- greedy baseline ----------------------------------------------------- */

static const struct cn_option greedy_options[] = {ADVANTAGE_WHITEN("none"), {0}};

/* The scored greedy sample of a group; n_sequences if there is none. */
static size_t find_greedy(const struct cn_batch *batch, uint32_t group)
{
    size_t s = 0;
    while (s < batch->n_sequences && (batch->part[s] != CN_PART_BASELINE ||
                                      batch->group[s] != group || !groups_scored(batch, s)))
        s++;
    return s;
}

/* Asks for one greedy sample of every prompt that has none; greedy samples are not trained on. */
static enum cn_status greedy_plan(const struct cn_context *context, uint32_t round,
                                  struct cn_batch *so_far, struct cn_requests *out)
{
    (void)context, (void)round;
    struct groups groups;
    for (size_t s = 0; s < so_far->n_sequences; s++)
        if (so_far->part[s] == CN_PART_BASELINE && so_far->drop[s] == CN_DROP_NONE)
            so_far->drop[s] = CN_DROP_BASELINE;
    CN_TRY(groups_find(so_far, context->scratch, &groups));
    for (size_t g = 0; g < groups.count; g++) {
        const size_t first = groups.member[groups.start[g]];
        bool asked = false;
        if (so_far->part[first] != CN_PART_MAIN || so_far->drop[first] == CN_DROP_NO_SPREAD ||
            so_far->drop[first] == CN_DROP_SURPLUS)
            continue;
        for (size_t s = 0; s < so_far->n_sequences && !asked; s++)
            asked = so_far->part[s] == CN_PART_BASELINE && so_far->group[s] == so_far->group[first];
        struct cn_request request = {.prompt = so_far->prompt[first],
                                     .parent = -1,
                                     .greedy = true,
                                     .part = CN_PART_BASELINE};
        if (!asked) CN_TRY(cn_requests_add(out, request));
    }
    return CN_OK;
}

static enum cn_status greedy_fill(const struct cn_context *context, struct cn_batch *batch)
{
    size_t missing = 0;
    for (size_t s = 0; s < batch->n_sequences; s++) {
        size_t greedy = find_greedy(batch, batch->group[s]);
        bool known = greedy < batch->n_sequences;
        to_go(batch, s, 1, known ? batch->reward[greedy] : 0);
        if (known || !groups_trained(batch, s)) continue;
        missing++; /* its greedy sample could not be scored: no advantage rather than a wrong one */
        memset(batch->advantage + batch->seq_start[s], 0,
               (batch->seq_start[s + 1] - batch->seq_start[s]) * sizeof(double));
    }
    CN_TRY(cn_metrics_sum(context->metrics, "advantage/without_baseline", (double)missing));
    return advantage_whiten(context, batch);
}

const struct cn_advantage advantage_greedy = {
    .name = "greedy",
    .summary = "reward to go minus the reward of a greedy sample of the prompt",
    .reference = "Li et al. 2023, ReMax, arXiv 2310.10505",
    .options = greedy_options,
    .settings_size = sizeof(struct advantage_settings),
    .hooks = {.plan = greedy_plan},
    .fill = greedy_fill,
    .per_token = true,
};

/* ---- generalised advantage estimation ------------------------------------ */

static const struct cn_option gae_options[] = {
    ADVANTAGE_GAMMA,
    {AXIS_REAL(advantage_settings, lambda, 0, 1), .fallback = "0.95",
     .help = "decay of the temporal-difference errors"},
    {AXIS_REAL(advantage_settings, lambda_alpha, 1e-9, 1e9), .fallback = "null", .nullable = true,
     .help = "VAPO: lambda = 1 - 1/(alpha n) for an answer of n tokens instead; needs "
             "critic_lambda 1"},
    {AXIS_REAL(advantage_settings, critic_lambda, 0, 1), .fallback = "null", .nullable = true,
     .help = "lambda of the critic's target; null: the same as the policy's"},
    {AXIS_REAL(advantage_settings, imitation, 0, 1e6), .fallback = "0",
     .help = "VAPO: weight of the mean -logp of the tokens of right answers, added to the loss"},
    ADVANTAGE_CORRECT_FROM,
    ADVANTAGE_WHITEN("unbiased"),
    {0}};

struct gae_state {
    double correct_tokens; /* of right answers in this optimizer step, over all ranks */
};

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

/* How much of the returns' variance the critic foresaw: 1 - var(target - V) / var(target). */
static enum cn_status measure_critic(const struct cn_context *context, const struct cn_batch *batch)
{
    enum { TARGET, ERROR, VALUE, KINDS };
    struct cn_sum *mean, *square;
    double variance[KINDS];
    CN_TRY(CN_NEW(context->scratch, KINDS, &mean));
    CN_TRY(CN_NEW(context->scratch, KINDS, &square));
    for (int pass = 0; pass < 2; pass++) {
        struct cn_sum *into = pass ? square : mean;
        for (size_t s = 0; s < batch->n_sequences; s++)
            for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
                if (!cn_batch_trained(batch, s, t)) continue;
                const double target = batch->value_target[t], value = batch->value_old[t];
                const double x[KINDS] = {target, target - value, value};
                for (int k = 0; k < KINDS; k++) {
                    const double d = pass ? x[k] - cn_sum_mean(&mean[k]) : 0;
                    cn_sum_add(&into[k], pass ? d * d : x[k]);
                }
            }
        CN_TRY(context->ranks->sum(context->ranks->self, into, KINDS));
    }
    for (int k = 0; k < KINDS; k++)
        variance[k] =
            square[k].count > 1 ? cn_sum_value(&square[k]) / (double)(square[k].count - 1) : 0;
    CN_TRY(cn_metrics_set(context->metrics, "critic/value_mean", cn_sum_mean(&mean[VALUE])));
    CN_TRY(cn_metrics_set(context->metrics, "critic/target_mean", cn_sum_mean(&mean[TARGET])));
    return cn_metrics_set(context->metrics, "critic/explained_variance",
                          1 - variance[ERROR] / (variance[TARGET] + 1e-5));
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
    CN_TRY(measure_critic(context, batch));
    return advantage_whiten(context, batch);
}

static bool is_right(const struct cn_context *context, const struct cn_batch *batch, size_t s)
{
    return batch->score[s] >= ((const struct advantage_settings *)context->settings)->correct_from;
}

static enum cn_status gae_prepare(const struct cn_context *context, struct cn_batch *batch,
                                  struct cn_span span, const struct cn_live *live)
{
    (void)live;
    struct gae_state *state = context->state;
    struct cn_sum tokens = {0};
    for (size_t s = span.begin; s < span.end; s++)
        if (is_right(context, batch, s)) cn_sum_add(&tokens, (double)groups_trained(batch, s));
    CN_TRY(context->ranks->sum(context->ranks->self, &tokens, 1));
    state->correct_tokens = cn_sum_value(&tokens);
    return CN_OK;
}

static enum cn_status gae_loss(const struct cn_context *context, const struct cn_batch *batch,
                               struct cn_span atom, const struct cn_live *live,
                               struct cn_token_grad *grad)
{
    const struct advantage_settings *settings = context->settings;
    const struct gae_state *state = context->state;
    if (settings->imitation == 0 || state->correct_tokens == 0) return CN_OK;
    const double weight = settings->imitation / state->correct_tokens;
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t) || !is_right(context, batch, s)) continue;
            grad->loss -= weight * live->logp[t];
            grad->d_logp[t] -= weight;
        }
    return CN_OK;
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

const struct cn_advantage advantage_gae = {
    .name = "gae",
    .summary = "generalised advantage estimation over a critic's values",
    .reference = "Schulman et al. 2015, arXiv 1506.02438; lambda_alpha and imitation: VAPO, arXiv "
                 "2504.05118",
    .needs = CN_NEEDS(value_old),
    .options = gae_options,
    .settings_size = sizeof(struct advantage_settings),
    .state_size = sizeof(struct gae_state),
    .check = gae_check,
    .hooks = {.prepare = gae_prepare, .loss = gae_loss},
    .fill = gae_fill,
    .per_token = true,
};
