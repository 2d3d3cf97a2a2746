/* Axis `sampling`: which prompts are sampled and which groups are kept.
 *
 * Dynamic sampling keeps the groups whose scores differ, because only they carry a gradient, and
 * asks for further prompts until there are as many as were asked for at first:
 *
 *     round   so far   with spread   asked for        8 groups wanted
 *       0        0          0        8 (trainer)
 *       1        8          3        8                5 missing, 3/8 good: 14, but at most 8
 *       2       16          9        -                one of the nine is surplus
 *
 * Groups are kept in the order in which they were asked for, not in the order in which they were
 * finished, which would favour short answers. */
#include "axes.h"
#include "groups.h"

#include <math.h>
#include <stdlib.h>

struct dynamic_settings {
    int64_t max_rounds;
};

struct dynamic_state {
    int64_t target; /* groups of the first round, over all ranks */
};

static const struct cn_option dynamic_options[] = {
    {AXIS_INT(dynamic_settings, max_rounds, 1, 1000000), .fallback = "10", .unit = "rounds",
     .help =
         "rounds of sampling per step, the first included; then the step trains on what it has"},
    {0}};

/* What a round has found, over all ranks. */
struct tally {
    double sampled, kept, group_size;
};

static bool main_group(const struct cn_batch *batch, const struct groups *groups, size_t g)
{
    return batch->part[groups->member[groups->start[g]]] == CN_PART_MAIN;
}

static bool has_spread(const struct cn_batch *batch, const struct groups *groups, size_t g)
{
    const size_t *member = groups->member + groups->start[g];
    size_t n = groups->start[g + 1] - groups->start[g];
    for (size_t i = 1; i < n; i++)
        if (batch->score[member[i]] != batch->score[member[0]]) return true;
    return false;
}

static void drop_group(struct cn_batch *batch, const struct groups *groups, size_t g,
                       enum cn_drop why)
{
    for (size_t i = groups->start[g]; i < groups->start[g + 1]; i++)
        if (batch->drop[groups->member[i]] == CN_DROP_NONE)
            batch->drop[groups->member[i]] = (uint8_t)why;
}

/* Drops the groups without spread; ids (G) gets the numbers of the others, in rising order. */
static enum cn_status keep_spread(const struct cn_context *context, struct cn_batch *batch,
                                  const struct groups *groups, double *ids, size_t *n_ids,
                                  struct tally *tally)
{
    struct cn_sum *sums;
    CN_TRY(CN_NEW(context->scratch, 2, &sums));
    *n_ids = 0;
    tally->group_size = 0;
    for (size_t g = 0; g < groups->count; g++) {
        if (!main_group(batch, groups, g)) continue;
        bool keep = has_spread(batch, groups, g);
        double size = (double)(groups->start[g + 1] - groups->start[g]);
        tally->group_size = fmax(tally->group_size, size);
        cn_sum_add(&sums[0], 1);
        cn_sum_add(&sums[1], keep);
        if (keep)
            ids[(*n_ids)++] = batch->group[groups->member[groups->start[g]]];
        else
            drop_group(batch, groups, g, CN_DROP_NO_SPREAD);
    }
    CN_TRY(context->ranks->sum(context->ranks->self, sums, 2));
    CN_TRY(context->ranks->max(context->ranks->self, &tally->group_size, 1));
    tally->sampled = cn_sum_value(&sums[0]);
    tally->kept = cn_sum_value(&sums[1]);
    return CN_OK;
}

static int rising(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

/* Drops the good groups beyond the first `target` in the order of asking. */
static enum cn_status drop_surplus(const struct cn_context *context, struct cn_batch *batch,
                                   const struct groups *groups, const double *ids, size_t n_ids,
                                   size_t target)
{
    const double *all;
    double *sorted;
    size_t n_all, mine;
    CN_TRY(context->ranks->gather(context->ranks->self, ids, n_ids, context->scratch, &all, &n_all,
                                  &mine));
    if (n_all <= target) return CN_OK;
    CN_TRY(CN_NEW(context->scratch, n_all, &sorted));
    for (size_t i = 0; i < n_all; i++)
        sorted[i] = all[i];
    qsort(sorted, n_all, sizeof *sorted, rising);
    for (size_t g = 0; g < groups->count; g++)
        if (main_group(batch, groups, g) &&
            (double)batch->group[groups->member[groups->start[g]]] >= sorted[target])
            drop_group(batch, groups, g, CN_DROP_SURPLUS);
    return CN_OK;
}

/* Asks for as many prompts as will probably fill the step, at most as many as at first. */
static enum cn_status ask(const struct dynamic_state *state, const struct tally *tally,
                          struct cn_requests *out)
{
    double rate = fmax(tally->kept / tally->sampled, 0.1);
    double missing = (double)state->target - tally->kept;
    double prompts = fmin(ceil(missing / rate), (double)state->target);
    for (double p = 0; p < prompts; p++)
        for (uint32_t sample = 0; sample < (uint32_t)tally->group_size; sample++) {
            struct cn_request request = {
                .prompt = CN_PROMPT_NEXT, .sample = sample, .parent = -1, .part = CN_PART_MAIN};
            CN_TRY(cn_requests_add(out, request));
        }
    return CN_OK;
}

static enum cn_status finish(const struct cn_context *context, uint32_t round,
                             const struct tally *tally, bool enough)
{
    CN_TRY(cn_metrics_set(context->metrics, "sampling/rounds", round));
    CN_TRY(cn_metrics_set(context->metrics, "sampling/groups", tally->sampled));
    CN_TRY(cn_metrics_set(context->metrics, "sampling/spread_frac",
                          tally->sampled > 0 ? tally->kept / tally->sampled : 0));
    return cn_metrics_set(context->metrics, "sampling/short", !enough);
}

static enum cn_status dynamic_plan(const struct cn_context *context, uint32_t round,
                                   struct cn_batch *so_far, struct cn_requests *out)
{
    const struct dynamic_settings *settings = context->settings;
    struct dynamic_state *state = context->state;
    struct groups groups;
    struct tally tally;
    double *ids;
    size_t n_ids;
    if (round == 0) {
        state->target = 0;
        return CN_OK;
    }
    CN_TRY(cn_batch_require(so_far, CN_NEEDS(score) | CN_NEEDS(reward) | CN_NEEDS(drop),
                            "sampling dynamic"));
    CN_TRY(groups_find(so_far, context->scratch, &groups));
    CN_TRY(CN_NEW(context->scratch, groups.count, &ids));
    CN_TRY(keep_spread(context, so_far, &groups, ids, &n_ids, &tally));
    if (round == 1) state->target = (int64_t)tally.sampled;
    if (tally.sampled > 0 && tally.group_size < 2)
        return cn_fail(CN_ERR_CONFIG, "algorithm.sampling=dynamic keeps groups whose scores "
                                      "differ, but a group has one sample: set train.samples to "
                                      "2 or more, or algorithm.sampling=fixed");
    if (tally.kept >= (double)state->target) {
        CN_TRY(drop_surplus(context, so_far, &groups, ids, n_ids, (size_t)state->target));
        return finish(context, round, &tally, true);
    }
    if (round >= settings->max_rounds || tally.sampled == 0)
        return finish(context, round, &tally, false);
    return ask(state, &tally, out);
}

static const struct cn_sampling_rule fixed = {
    .name = "fixed",
    .summary = "every sampled group is trained on",
    .reference = "",
};

static const struct cn_sampling_rule dynamic = {
    .name = "dynamic",
    .summary = "asks again until enough groups have answers of different score",
    .reference = "Yu et al. 2025, DAPO, arXiv 2503.14476, equation 11; the surplus is dropped",
    .options = dynamic_options,
    .settings_size = sizeof(struct dynamic_settings),
    .state_size = sizeof(struct dynamic_state),
    .hooks = {.plan = dynamic_plan},
};

const struct cn_plugin *const axis_sampling[] = {AXIS_HEAD(fixed), AXIS_HEAD(dynamic), NULL};
