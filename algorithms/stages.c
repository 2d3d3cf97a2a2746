/* The stages of a step around the loss: counts, plan, reward, advantage, prepare, adapt.
 *
 * Each calls the chosen entry of its axis and then the hooks of everything chosen, in order.
 * Scratch memory is given back after every call. */
#include "chosen.h"
#include "groups.h"
#include "loss.h"

#include <math.h>
#include <string.h>

/* ---- counts -------------------------------------------------------------- */

/* Adds 1 to the group count of each part for each group of the span with a trained token. */
static enum cn_status count_groups(const struct cn_batch *batch, struct cn_span span,
                                   struct cn_arena *scratch, struct cn_sum *sums)
{
    uint64_t *seen; /* open addressing: part and group, plus one */
    size_t slots = 16;
    while (slots < 2 * (span.end - span.begin))
        slots *= 2;
    CN_TRY(CN_NEW(scratch, slots, &seen));
    for (size_t s = span.begin; s < span.end; s++) {
        if (!groups_trained(batch, s)) continue;
        uint64_t key = ((uint64_t)batch->part[s] << 32 | batch->group[s]) + 1;
        size_t slot = (size_t)(key * 0x9E3779B97F4A7C15u >> 20) & (slots - 1);
        while (seen[slot] && seen[slot] != key)
            slot = (slot + 1) & (slots - 1);
        if (seen[slot]) continue;
        seen[slot] = key;
        cn_sum_add(&sums[batch->part[s]], 1);
    }
    return CN_OK;
}

enum cn_status cn_loss_count(const struct cn_batch *batch, struct cn_span span, double length_max,
                             const struct cn_reduce *ranks, struct cn_arena *scratch,
                             struct cn_counts counts[CN_PART_COUNT])
{
    enum { TOKENS, SEQUENCES, GROUPS, KINDS };
    struct cn_sum *sums;
    struct cn_arena_mark mark = cn_arena_mark(scratch);
    CN_TRY(cn_batch_require(batch, CN_NEEDS(role) | CN_NEEDS(group), "cn_loss_count"));
    CN_TRY(CN_NEW(scratch, (size_t)KINDS * CN_PART_COUNT, &sums));
    for (size_t s = span.begin; s < span.end; s++) {
        size_t n = groups_trained(batch, s);
        if (!n) continue;
        cn_sum_add(&sums[TOKENS * CN_PART_COUNT + batch->part[s]], (double)n);
        cn_sum_add(&sums[SEQUENCES * CN_PART_COUNT + batch->part[s]], 1);
    }
    CN_TRY(count_groups(batch, span, scratch, sums + GROUPS * CN_PART_COUNT));
    CN_TRY(ranks->sum(ranks->self, sums, (size_t)KINDS * CN_PART_COUNT));
    for (int p = 0; p < CN_PART_COUNT; p++)
        counts[p] =
            (struct cn_counts){.tokens = cn_sum_value(&sums[TOKENS * CN_PART_COUNT + p]),
                               .sequences = cn_sum_value(&sums[SEQUENCES * CN_PART_COUNT + p]),
                               .groups = cn_sum_value(&sums[GROUPS * CN_PART_COUNT + p]),
                               .length_max = length_max,
                               .span = span};
    cn_arena_release(scratch, mark);
    return CN_OK;
}

/* ---- plan, branch, adapt ------------------------------------------------- */

enum cn_status cn_loss_plan(const struct cn_loss_call *call, uint32_t round,
                            struct cn_batch *so_far, struct cn_requests *out)
{
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        struct cn_context context = chosen_context(call, &item, NULL);
        if (!item.chosen->plugin->hooks.plan || item.shadow) continue;
        CN_BUG_IF(out->arena == call->scratch); /* requests would be released with the scratch */
        struct cn_arena_mark mark = cn_arena_mark(call->scratch);
        CN_TRY(item.chosen->plugin->hooks.plan(&context, round, so_far, out));
        cn_arena_release(call->scratch, mark);
    }
    return CN_OK;
}

enum cn_status cn_loss_branch(const struct cn_loss_call *call, const struct cn_sampling *now,
                              struct cn_forks *out)
{
    out->count = 0;
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        struct cn_context context = chosen_context(call, &item, NULL);
        struct cn_forks forks = {0};
        if (!item.chosen->plugin->hooks.branch || item.shadow) continue;
        struct cn_arena_mark mark = cn_arena_mark(call->scratch);
        CN_TRY(item.chosen->plugin->hooks.branch(&context, now, &forks));
        cn_arena_release(call->scratch, mark);
        out->count += forks.count;
    }
    return CN_OK;
}

enum cn_status cn_loss_adapt(const struct cn_loss_call *call, const struct cn_step_summary *summary)
{
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        struct cn_context context = chosen_context(call, &item, NULL);
        if (!item.chosen->plugin->hooks.adapt) continue;
        struct cn_arena_mark mark = cn_arena_mark(call->scratch);
        CN_TRY(item.chosen->plugin->hooks.adapt(&context, summary));
        cn_arena_release(call->scratch, mark);
    }
    return CN_OK;
}

/* ---- reward and advantage ------------------------------------------------ */

static enum cn_status check_rewards(const struct cn_batch *batch)
{
    CN_TRY(cn_batch_require(batch,
                            CN_NEEDS(role) | CN_NEEDS(group) | CN_NEEDS(reward) | CN_NEEDS(drop),
                            "the advantage stage"));
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (batch->drop[s] == CN_DROP_NONE && !isfinite(batch->reward[s]))
            return cn_fail(CN_ERR_NUMERIC,
                           "sequence %zu (prompt %llu, sample %u): reward is %g; a sequence "
                           "without a score must be dropped as unscored",
                           s, (unsigned long long)batch->prompt[s], batch->sample[s],
                           batch->reward[s]);
    return CN_OK;
}

/* A baseline over the others needs others: what is left of a group after failures is not trained on
 * if it is too small. */
static enum cn_status drop_small_groups(const struct cn_loss_call *call, struct cn_batch *batch)
{
    struct groups groups;
    double dropped = 0;
    if (call->recipe->group_minimum < 2) return CN_OK;
    CN_TRY(groups_find(batch, call->scratch, &groups));
    for (size_t g = 0; g < groups.count; g++) {
        if (groups.start[g + 1] - groups.start[g] >= call->recipe->group_minimum) continue;
        dropped++;
        for (size_t i = groups.start[g]; i < groups.start[g + 1]; i++)
            if (batch->drop[groups.member[i]] == CN_DROP_NONE)
                batch->drop[groups.member[i]] = CN_DROP_NO_SPREAD;
    }
    return cn_metrics_sum(call->metrics, "group/too_small", dropped);
}

/* Calls a judge hook; a shadow's changes are undone. */
static enum cn_status judge(const struct cn_loss_call *call, const struct chosen_item *item,
                            struct cn_batch *batch)
{
    struct cn_context context = chosen_context(call, item, NULL);
    double *saved = NULL;
    if (!item->chosen->plugin->hooks.judge) return CN_OK;
    if (item->shadow) {
        CN_TRY(CN_NEW(call->scratch, batch->n_sequences, &saved));
        memcpy(saved, batch->reward, batch->n_sequences * sizeof *saved);
    }
    CN_TRY(item->chosen->plugin->hooks.judge(&context, batch));
    if (saved) memcpy(batch->reward, saved, batch->n_sequences * sizeof *saved);
    return CN_OK;
}

enum cn_status cn_loss_shape_reward(const struct cn_loss_call *call, struct cn_batch *batch)
{
    const struct cn_recipe *recipe = call->recipe;
    struct cn_arena_mark mark = cn_arena_mark(call->scratch);
    CN_TRY(check_rewards(batch));
    for (size_t i = 0; i < recipe->n_shaping; i++) {
        struct chosen_item item = {&recipe->shaping[i], 0, false};
        struct cn_context context = chosen_context(call, &item, NULL);
        CN_TRY(((const struct cn_shaping *)item.chosen->plugin)->apply(&context, batch));
        cn_arena_release(call->scratch, mark);
    }
    for (size_t i = 0; i < chosen_count(recipe); i++) {
        struct chosen_item item = chosen_at(recipe, i);
        CN_TRY(judge(call, &item, batch));
        cn_arena_release(call->scratch, mark);
    }
    const struct cn_kl *kl = CHOSEN_ENTRY(cn_kl, recipe, CN_AXIS_kl);
    struct cn_context context = chosen_axis_context(call, CN_AXIS_kl, NULL);
    if (kl->reward) CN_TRY(kl->reward(&context, batch));
    cn_arena_release(call->scratch, mark);
    CN_TRY(drop_small_groups(call, batch));
    cn_arena_release(call->scratch, mark);
    return CN_OK;
}

static enum cn_status advantage_metrics(const struct cn_loss_call *call,
                                        const struct cn_batch *batch)
{
    struct groups groups;
    struct cn_sum equal = {0}, values = {0}, sizes = {0};
    double largest = 0;
    if (!call->metrics) return CN_OK;
    CN_TRY(groups_find(batch, call->scratch, &groups));
    for (size_t g = 0; g < groups.count; g++) {
        const size_t *member = groups.member + groups.start[g];
        size_t n = groups.start[g + 1] - groups.start[g];
        bool spread = false;
        for (size_t i = 1; i < n; i++)
            spread = spread || batch->reward[member[i]] != batch->reward[member[0]];
        if (batch->part[member[0]] == CN_PART_MAIN) cn_sum_add(&equal, !spread);
    }
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) {
                cn_sum_add(&values, batch->advantage[t]);
                cn_sum_add(&sizes, fabs(batch->advantage[t]));
                largest = fmax(largest, fabs(batch->advantage[t]));
            }
    CN_TRY(cn_metrics_merge(call->metrics, "group/zero_std_frac", &equal));
    CN_TRY(cn_metrics_merge(call->metrics, "advantage/mean", &values));
    CN_TRY(cn_metrics_merge(call->metrics, "advantage/abs_mean", &sizes));
    return cn_metrics_max(call->metrics, "advantage/abs_max", largest);
}

/* Calls a shape hook; a shadow's changes are undone. */
static enum cn_status shape(const struct cn_loss_call *call, const struct chosen_item *item,
                            struct cn_batch *batch)
{
    struct cn_context context = chosen_context(call, item, NULL);
    double *saved = NULL;
    if (!item->chosen->plugin->hooks.shape) return CN_OK;
    if (item->shadow) {
        CN_TRY(CN_NEW(call->scratch, batch->n_tokens, &saved));
        memcpy(saved, batch->advantage, batch->n_tokens * sizeof *saved);
    }
    CN_TRY(item->chosen->plugin->hooks.shape(&context, batch));
    if (saved) memcpy(batch->advantage, saved, batch->n_tokens * sizeof *saved);
    return CN_OK;
}

enum cn_status cn_loss_advantage(const struct cn_loss_call *call, struct cn_batch *batch)
{
    const struct cn_advantage *entry = CHOSEN_ENTRY(cn_advantage, call->recipe, CN_AXIS_advantage);
    struct cn_context context = chosen_axis_context(call, CN_AXIS_advantage, NULL);
    struct cn_arena_mark mark = cn_arena_mark(call->scratch);
    CN_TRY(check_rewards(batch));
    CN_TRY(cn_batch_require(batch, entry->needs, entry->name));
    CN_TRY(entry->fill(&context, batch));
    batch->written |= CN_NEEDS(advantage);
    cn_arena_release(call->scratch, mark);
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        CN_TRY(shape(call, &item, batch));
        cn_arena_release(call->scratch, mark);
    }
    CN_TRY(advantage_metrics(call, batch));
    cn_arena_release(call->scratch, mark);
    return CN_OK;
}

/* ---- prepare ------------------------------------------------------------- */

/* What a prepare hook reads beside the batch. */
struct preparing {
    struct cn_span span;
    const struct cn_live *live;
    const uint8_t *stopped;
};

static enum cn_status prepare(const struct cn_loss_call *call, const struct chosen_item *item,
                              const struct preparing *with, struct cn_batch *batch)
{
    struct cn_context context = chosen_context(call, item, with->live);
    const struct cn_spans whole = {&with->span, 1};
    const size_t begin = batch->seq_start[with->span.begin];
    const size_t n = batch->seq_start[with->span.end] - begin;
    double *saved = NULL;
    context.atoms = call->atoms ? call->atoms : &whole;
    context.stopped = with->stopped;
    if (!item->chosen->plugin->hooks.prepare) return CN_OK;
    if (item->shadow) {
        CN_TRY(CN_NEW(call->scratch, n, &saved));
        memcpy(saved, batch->weight + begin, n * sizeof *saved);
    }
    CN_TRY(item->chosen->plugin->hooks.prepare(&context, batch, with->span, with->live));
    if (saved) memcpy(batch->weight + begin, saved, n * sizeof *saved);
    return CN_OK;
}

/* Correction, weight 1, touched 0. */
static enum cn_status correct(const struct cn_loss_call *call, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct cn_correction *entry =
        CHOSEN_ENTRY(cn_correction, call->recipe, CN_AXIS_correction);
    struct cn_context context = chosen_axis_context(call, CN_AXIS_correction, live);
    CN_TRY(cn_batch_require(batch, CN_NEEDS(advantage) | entry->needs, entry->name));
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            batch->weight[t] = batch->correction[t] = cn_batch_trained(batch, s, t);
            batch->touched[t] = 0;
        }
    if (entry->fill) CN_TRY(entry->fill(&context, batch, span));
    batch->written |= CN_NEEDS(correction) | CN_NEEDS(weight) | CN_NEEDS(touched);
    return CN_OK;
}

enum cn_status cn_loss_prepare(const struct cn_loss_call *call, struct cn_batch *batch,
                               struct cn_span span, const struct cn_live *live)
{
    struct preparing with = {.span = span, .live = live};
    struct cn_arena_mark mark = cn_arena_mark(call->scratch);
    CN_BUG_IF(call->counts[CN_PART_MAIN].span.begin != span.begin ||
              call->counts[CN_PART_MAIN].span.end != span.end);
    CN_TRY(correct(call, batch, span, live));
    cn_arena_release(call->scratch, mark);
    if (live && live->logp) CN_TRY(loss_stopped(call, batch, span, live, &with.stopped));
    struct cn_arena_mark inner = cn_arena_mark(call->scratch);
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        CN_TRY(prepare(call, &item, &with, batch));
        cn_arena_release(call->scratch, inner);
    }
    cn_arena_release(call->scratch, mark);
    return CN_OK;
}
