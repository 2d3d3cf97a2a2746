/* Scoring: every entry of `rewards` sees every finished answer. */
#include "scoring.h"

#include "scoring/gold.h"

#include <stdio.h>
#include <string.h>

static enum cn_status read_entry(const struct cn_json *node, size_t place, struct cn_arena *arena,
                                 struct scoring_entry *out)
{
    static const char *const ours[] = {"type", "weight", "canaries", "canary_every", NULL};
    char path[64];
    snprintf(path, sizeof path, "rewards.%zu", place);
    const struct cn_json *options = cn_json_kind(node) == CN_JSON_OBJECT ? node : NULL;
    if (cn_json_real_or(options, "weight", 1.0, &out->weight) != CN_OK)
        return cn_fail_context(CN_ERR_CONFIG, "%s", path);
    CN_TRY(cn_reward_open(node, path, ours, arena, &out->used));
    return canaries_open(options, path, &out->used, arena, &out->canaries);
}

/* The first reward of the list, as it is. */
static enum cn_status read_default(struct cn_arena *arena, struct scoring_entry *out)
{
    struct cn_json *name = NULL;
    CN_TRY(cn_json_new_text(cn_text(cn_rewards[0]->name), &name));
    enum cn_status status = read_entry(name, 0, arena, out);
    cn_json_close(name);
    return status;
}

enum cn_status scoring_read(const struct cn_json *section, struct cn_arena *arena,
                            struct scoring *out)
{
    size_t n = cn_json_count(section), i = 0;
    if (section && cn_json_kind(section) != CN_JSON_NULL &&
        (cn_json_kind(section) != CN_JSON_LIST || n == 0))
        return cn_fail(CN_ERR_CONFIG,
                       "rewards must be a list of at least one reward: [\"exact_answer\"]");
    if (n > SCORING_ENTRIES_MAX)
        return cn_fail(CN_ERR_CONFIG, "rewards lists %zu rewards; at most %d are possible", n,
                       SCORING_ENTRIES_MAX);
    out->n = n ? n : 1;
    CN_TRY(CN_NEW(arena, out->n, &out->entry));
    if (n == 0) return read_default(arena, &out->entry[0]);
    for (const struct cn_json *node = cn_json_first(section); node; node = cn_json_next(node), i++)
        CN_TRY(read_entry(node, i, arena, &out->entry[i]));
    return CN_OK;
}

void scoring_close(struct scoring *scoring)
{
    for (size_t e = 0; e < scoring->n; e++) {
        canaries_close(scoring->entry[e].canaries);
        cn_reward_close(&scoring->entry[e].used);
    }
    scoring->n = 0;
}

enum cn_status scoring_canaries(const struct scoring *scoring, uint64_t step)
{
    for (size_t e = 0; e < scoring->n; e++)
        CN_TRY(canaries_check(scoring->entry[e].canaries, step));
    return CN_OK;
}

enum cn_status scoring_check_gold(const struct scoring *scoring, const struct cn_data *data)
{
    for (size_t e = 0; e < scoring->n; e++)
        CN_TRY(gold_warn(scoring->entry[e].used.reward, scoring->entry[e].used.settings, data));
    return CN_OK;
}

void scoring_describe(const struct scoring_work *work, size_t i, struct cn_episode *out)
{
    const struct wish *wish = &work->wishes[i];
    const struct answer *answer = &work->answers[i];
    *out = (struct cn_episode){.prompt = wish->posed->content.messages,
                               .prompt_text = wish->posed->prompt_text,
                               .response = answer->text,
                               .ground_truth = wish->posed->content.ground_truth,
                               .row = wish->posed->content.row,
                               .response_tokens = answer->n + (wish->own_text ? 0 : wish->n_begun),
                               .max_tokens = work->max_tokens,
                               .stop = answer->stop,
                               .group = wish->group};
}

enum cn_scope scoring_scope(const struct scoring *scoring)
{
    enum cn_scope widest = CN_SCOPE_EPISODE;
    for (size_t e = 0; e < scoring->n; e++)
        if (scoring->entry[e].used.reward->scope > widest)
            widest = scoring->entry[e].used.reward->scope;
    return widest;
}

/* Episodes [begin, end) that one call of an entry sees: a group, or all. */
static size_t call_end(const struct cn_episode *episodes, size_t n, size_t begin,
                       enum cn_scope scope)
{
    size_t end = begin + 1;
    if (scope != CN_SCOPE_GROUP) return n;
    while (end < n && episodes[end].group == episodes[begin].group)
        end++;
    return end;
}

static enum cn_status add_metric(const struct scoring_entry *entry, const char *what, double value,
                                 struct cn_arena *arena, struct cn_service_result *out)
{
    char name[160], *copy;
    const int n = snprintf(name, sizeof name, "%s/%s", entry->used.reward->name, what);
    CN_BUG_IF(n >= (int)sizeof name || out->n_metrics == CN_SERVICE_METRICS_MAX);
    CN_TRY(cn_arena_text(arena, name, (size_t)n, &copy));
    out->metric[out->n_metrics++] =
        (struct cn_service_metric){.name = {copy, (size_t)n}, .value = value};
    return CN_OK;
}

/* Adds one entry's outcome to what the answer has; the first entry also gives score and verdict. */
static enum cn_status combine(const struct scoring_entry *entry, bool first,
                              const struct cn_outcome *outcome, struct cn_arena *arena,
                              struct cn_service_result *out)
{
    if (first)
        *out = (struct cn_service_result){.has_score = outcome->has_score,
                                          .has_reward = true,
                                          .score = outcome->has_score ? outcome->score : 0,
                                          .verdict = outcome->verdict,
                                          .extracted = outcome->extracted,
                                          .gold_type =
                                              cn_text(outcome->gold_type ? outcome->gold_type : ""),
                                          .tier = cn_text(outcome->tier ? outcome->tier : ""),
                                          .ops = outcome->ops};
    if (outcome->has_score) {
        out->reward += entry->weight * outcome->score;
        CN_TRY(add_metric(entry, "mean", outcome->score, arena, out));
    } else if (entry->weight != 0 || first) {
        out->has_reward = false;
    }
    for (size_t m = 0; m < outcome->n_metrics; m++)
        CN_TRY(add_metric(entry, outcome->metric[m].name, outcome->metric[m].value, arena, out));
    return CN_OK;
}

enum cn_status scoring_episodes(const struct scoring *scoring, const struct cn_episode *episodes,
                                size_t n, struct cn_arena *arena, struct cn_service_result *out)
{
    struct cn_outcome *outcomes;
    CN_TRY(CN_NEW(arena, n, &outcomes));
    for (size_t e = 0; e < scoring->n; e++) {
        const struct scoring_entry *entry = &scoring->entry[e];
        memset(outcomes, 0, n * sizeof *outcomes);
        for (size_t begin = 0, end; begin < n; begin = end) {
            end = call_end(episodes, n, begin, entry->used.reward->scope);
            CN_TRY(cn_reward_score(&entry->used, episodes + begin, end - begin, arena,
                                   outcomes + begin));
        }
        for (size_t i = 0; i < n; i++)
            CN_TRY(combine(entry, e == 0, &outcomes[i], arena, &out[i]));
    }
    return CN_OK;
}

enum cn_status scoring_take(const struct cn_service_result *result, struct cn_arena *arena,
                            struct cn_metrics *metrics, struct scored *out)
{
    char name[160], *text;
    CN_TRY(cn_arena_text(arena, result->extracted.data, result->extracted.length, &text));
    *out = (struct scored){.score = result->has_score ? result->score : 0,
                           .reward = result->has_reward ? result->reward : 0,
                           .verdict = result->verdict,
                           .drop = result->has_reward ? CN_DROP_NONE : CN_DROP_UNSCORED,
                           .extracted = {text, result->extracted.length}};
    for (size_t m = 0; metrics && m < result->n_metrics; m++) {
        snprintf(name, sizeof name, "reward/%.*s", (int)result->metric[m].name.length,
                 result->metric[m].name.data);
        CN_TRY(cn_metrics_mean(metrics, name, result->metric[m].value));
    }
    return CN_OK;
}
