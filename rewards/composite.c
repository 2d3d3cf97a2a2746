/* Several rewards as one.
 *
 *   sum       sum over parts of weight_i * score_i
 *   product   product over parts of score_i ^ weight_i: a gate, 0 as soon as one part is 0
 *   first     the score of the first part that has one (a fallback when a verifier cannot judge)
 *
 * A part of weight 0 is a metric only.  A part with "verify": true does not count either: it is a
 * second opinion.  An answer that the composite pays (a score above 0) although a second opinion
 * says wrong is flagged in the metric `exploit`: a rising share means that the policy has found a
 * hole in one of the two.  An answer that a counting part could not judge has no score (but see
 * `first`). */
#include "carnot/reward.h"

#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

enum how { HOW_SUM, HOW_PRODUCT, HOW_FIRST };

struct part {
    struct cn_reward_entry used;
    double weight;
    bool verify;
};

struct settings {
    int how;
    const struct cn_json *parts;
    struct part *part; /* (n), by open */
    size_t n;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "how", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, how), .fallback = "\"sum\"",
     .choices = "sum product first", .help = "how the scores of the parts become one"},
    {.name = "parts", .kind = CN_OPTION_JSON, .offset = offsetof(struct settings, parts), .fallback = "null", .nullable = true,
     .help = "the rewards: [{\"type\": \"format\"}, {\"type\": \"exact_answer\", \"weight\": 1, \"verify\": false}]"},
    {0},
};
// clang-format on

static enum cn_status open_part(const struct cn_json *node, size_t place, struct cn_arena *arena,
                                struct part *out)
{
    static const char *const ours[] = {"type", "weight", "verify", NULL};
    const struct cn_json *object = cn_json_kind(node) == CN_JSON_OBJECT ? node : NULL;
    char path[64];
    snprintf(path, sizeof path, "parts.%zu", place);
    if (cn_json_real_or(object, "weight", 1, &out->weight) != CN_OK ||
        cn_json_bool_or(object, "verify", false, &out->verify) != CN_OK)
        return cn_fail_context(CN_ERR_CONFIG, "%s", path);
    CN_TRY(cn_reward_open(node, path, ours, arena, &out->used));
    if (out->used.reward->scope != CN_SCOPE_EPISODE)
        return cn_fail(CN_ERR_CONFIG, "%s: %s compares answers of a group and cannot be a part",
                       path, out->used.reward->name);
    return CN_OK;
}

static void composite_close(void *given)
{
    struct settings *settings = given;
    for (size_t i = 0; i < settings->n; i++)
        cn_reward_close(&settings->part[i].used);
}

static enum cn_status composite_open(void *given, struct cn_arena *arena)
{
    struct settings *settings = given;
    size_t n = cn_json_count(settings->parts), counting = 0;
    if (cn_json_kind(settings->parts) != CN_JSON_LIST || n == 0)
        return cn_fail(CN_ERR_CONFIG, "parts must be a list of at least one reward: [{\"type\": "
                                      "\"format\"}, {\"type\": \"exact_answer\"}]");
    CN_TRY(CN_NEW(arena, n, &settings->part));
    for (const struct cn_json *node = cn_json_first(settings->parts); node;
         node = cn_json_next(node)) {
        struct part *part = &settings->part[settings->n];
        enum cn_status status = open_part(node, settings->n++, arena, part);
        if (status != CN_OK) {
            composite_close(settings);
            return status;
        }
        counting += !part->verify && part->weight != 0;
    }
    if (counting) return CN_OK;
    composite_close(settings);
    return cn_fail(CN_ERR_CONFIG, "no part counts: each has weight 0 or \"verify\": true");
}

/* How far the parts have come with one answer. */
struct total {
    double score;
    bool has_score, decided;         /* decided: of `first`, a part has scored */
    bool masked;                     /* of the others, a part could not judge */
    bool doubted;                    /* a second opinion says wrong */
    const struct cn_outcome *speaks; /* whose verdict and answer are shown */
};

/* A negative score has no power; its sign is kept, so that a penalty stays one. */
static double power(double score, double weight)
{
    return weight == 1 ? score : copysign(pow(fabs(score), weight), score);
}

static void add_part(const struct settings *settings, const struct part *part,
                     const struct cn_outcome *outcome, struct total *total)
{
    if (part->verify) {
        total->doubted = total->doubted || (outcome->has_score && outcome->score <= 0);
        return;
    }
    if (part->weight == 0 || total->decided) return;
    if (!outcome->has_score) {
        if (settings->how != HOW_FIRST) total->masked = true;
        if (!total->speaks || settings->how != HOW_FIRST) total->speaks = outcome;
        return;
    }
    if (settings->how == HOW_PRODUCT)
        total->score = (total->has_score ? total->score : 1) * power(outcome->score, part->weight);
    else
        total->score += part->weight * outcome->score;
    total->has_score = true;
    total->decided = settings->how == HOW_FIRST;
    /* the first part that is not content speaks; a gate that closed says why */
    bool content = outcome->verdict == CN_VERDICT_CORRECT;
    if (!total->speaks || total->decided ||
        (!content && total->speaks->verdict == CN_VERDICT_CORRECT && !total->masked))
        total->speaks = outcome;
}

static enum cn_status add_metric(const char *name, double value, struct cn_outcome *out)
{
    if (out->n_metrics < CN_OUTCOME_METRICS_MAX)
        out->metric[out->n_metrics++] = (struct cn_named){name, value};
    return CN_OK;
}

/* The composite's outcome of answer i; parts (n_parts, n) lie part by part. */
static void conclude(const struct settings *settings, const struct cn_outcome *parts, size_t n,
                     size_t i, struct cn_outcome *out)
{
    struct total total = {0};
    bool verified = false;
    *out = (struct cn_outcome){0};
    for (size_t p = 0; p < settings->n; p++)
        add_part(settings, &settings->part[p], &parts[p * n + i], &total);
    if (total.speaks) {
        out->verdict = total.speaks->verdict;
        out->extracted = total.speaks->extracted;
    }
    out->has_score = total.has_score && !total.masked;
    out->score = out->has_score ? total.score : 0;
    for (size_t p = 0; p < settings->n; p++)
        verified = verified || settings->part[p].verify;
    if (verified) add_metric("exploit", out->has_score && out->score > 0 && total.doubted, out);
    for (size_t p = 0; p < settings->n; p++)
        if (parts[p * n + i].has_score)
            add_metric(settings->part[p].used.reward->name, parts[p * n + i].score, out);
}

static enum cn_status composite_score(const void *given, const struct cn_episode *episodes,
                                      size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    struct cn_outcome *parts;
    CN_TRY(CN_NEW(arena, settings->n * n, &parts));
    for (size_t p = 0; p < settings->n; p++) {
        const struct cn_reward_entry *used = &settings->part[p].used;
        CN_TRY(cn_reward_score(used, episodes, n, arena, parts + p * n));
    }
    for (size_t i = 0; i < n; i++)
        conclude(settings, parts, n, i, &out[i]);
    return CN_OK;
}

static enum cn_status composite_check_gold(const void *given, struct cn_text ground_truth,
                                           struct cn_arena *arena, const char **fault)
{
    const struct settings *settings = given;
    *fault = NULL;
    for (size_t p = 0; p < settings->n && !*fault; p++) {
        const struct cn_reward_entry *used = &settings->part[p].used;
        if (used->reward->check_gold)
            CN_TRY(used->reward->check_gold(used->settings, ground_truth, arena, fault));
    }
    return CN_OK;
}

const struct cn_reward cn_reward_composite = {
    .name = "composite",
    .summary = "several rewards as one: a weighted sum, a product, or the first that can judge",
    .reference = "gate of form and answer: DeepSeek-AI 2025, arXiv 2501.12948, section 2.2.2",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .starts_programs = true, /* a part may */
    .open = composite_open,
    .close = composite_close,
    .score = composite_score,
    .check_gold = composite_check_gold,
};
