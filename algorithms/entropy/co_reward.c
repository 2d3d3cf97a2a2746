/* Co-Reward: without ground truth, each wording of a question is judged by the other's vote.
 *
 *     v  = majority of the answers to the question,  v' = majority of those to its other wording
 *     reward of an answer to the question      = 1[it is v'];   to the other wording  = 1[it is v]
 *
 * The answers to the other wording are as many, of the part view, in the same group: each part has
 * its own baseline and its own denominator, so L is the sum of both sides' losses.  Of equal counts
 * the answer that came first wins; an answer from which nothing was extracted votes for nothing and
 * is right about nothing; without any vote the other side's rewards are 0.  Answers are compared as
 * extracted texts, as in the paper.  `score` stays what the rewards said and is reported only.
 * The paper has KL to the reference beside it: algorithm.kl=k3 with coefficient 0.005.
 *
 * vote=own is the ablation that votes within one wording.  Zhang et al. 2025, Co-Reward,
 * arXiv 2508.00410, equations 4 to 6. */
#include "asking.h"
#include "groups.h"
#include "tokens.h"

enum { VOTE_CROSSED, VOTE_OWN };

struct co_reward_settings {
    int vote;
};

static const struct cn_option options[] = {
    {TOKENS_CHOICE(co_reward_settings, vote, "crossed own"), .fallback = "\"crossed\"",
     .help = "whose majority an answer is compared with: the other wording's, or its own"},
    {0}};

/* As many answers to the other wording as each group has. */
static enum cn_status plan(const struct cn_context *context, uint32_t round,
                           struct cn_batch *so_far, struct cn_requests *out)
{
    struct asking asking;
    size_t size;
    if (round != 1) return CN_OK;
    CN_TRY(asking_gather(context, so_far, NULL, &asking));
    for (size_t i = 0; i < asking.n; i++) {
        if (!asking_first(&asking, i, &size)) continue;
        for (uint32_t sample = 0; sample < (uint32_t)size; sample++) {
            const struct cn_request request = {.prompt = (uint64_t)asking.prompt[i],
                                               .sample = (uint32_t)size + sample,
                                               .parent = -1,
                                               .view = 1,
                                               .part = CN_PART_VIEW};
            CN_TRY(cn_requests_add(out, request));
        }
    }
    return CN_OK;
}

/* The answer most often given in a group, of equals the one of the lowest sample; 0: none was. */
static uint32_t majority(const struct cn_batch *batch, const size_t *member, size_t n)
{
    size_t best = 0;
    uint32_t winner = 0, sample = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t answer = batch->answer[member[i]];
        size_t votes = 0;
        for (size_t j = 0; j < n; j++)
            votes += batch->answer[member[j]] == answer;
        const bool earlier = votes == best && batch->sample[member[i]] < sample;
        if (answer == 0 || (votes <= best && !earlier)) continue;
        best = votes;
        winner = answer;
        sample = batch->sample[member[i]];
    }
    return winner;
}

/* The group of `part` with the number of group g; groups->count: there is none. */
static size_t other_side(const struct cn_batch *batch, const struct groups *groups, size_t g,
                         int part)
{
    const uint32_t number = batch->group[groups->member[groups->start[g]]];
    for (size_t h = 0; h < groups->count; h++) {
        const size_t s = groups->member[groups->start[h]];
        if (batch->part[s] == part && batch->group[s] == number) return h;
    }
    return groups->count;
}

static enum cn_status judge(const struct cn_context *context, struct cn_batch *batch)
{
    const struct co_reward_settings *settings = context->settings;
    struct cn_sum agreement = {.count = 0};
    struct groups groups;
    CN_TRY(groups_find(batch, context->scratch, &groups));
    for (size_t g = 0; g < groups.count; g++) {
        const size_t *member = groups.member + groups.start[g];
        const int part = batch->part[member[0]];
        if (part != CN_PART_MAIN && part != CN_PART_VIEW) continue;
        const int asked = settings->vote == VOTE_OWN ? part
                          : part == CN_PART_MAIN     ? CN_PART_VIEW
                                                     : CN_PART_MAIN;
        const size_t h = other_side(batch, &groups, g, asked);
        uint32_t vote = 0;
        if (h < groups.count)
            vote = majority(batch, groups.member + groups.start[h],
                            groups.start[h + 1] - groups.start[h]);
        for (size_t i = groups.start[g]; i < groups.start[g + 1]; i++) {
            const size_t s = groups.member[i];
            batch->reward[s] = vote != 0 && batch->answer[s] == vote;
            cn_sum_add(&agreement, batch->reward[s]);
        }
    }
    return cn_metrics_merge(context->metrics, "entropy/co_reward/actual", &agreement);
}

const struct cn_entropy cn_entropy_co_reward = {
    .name = "co_reward",
    .summary = "two wordings of a question judge each other by majority vote",
    .reference = "Co-Reward 2025, arXiv 2508.00410",
    .needs = CN_NEEDS(answer),
    .needs_views = true,
    .options = options,
    .settings_size = sizeof(struct co_reward_settings),
    .hooks = {.plan = plan, .judge = judge},
};
