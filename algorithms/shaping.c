/* Shaping: changes of the reward after scoring; any number of entries act in order.
 *
 * `score` stays what the verifier said; only `reward`, which the advantage uses, changes. */
#include "axes.h"
#include "groups.h"

#include <math.h>
#include <string.h>

/* ---- soft overlong punishment ------------------------------------------------------------------
 *
 *      0 |-----------.                      length l of the answer, limit L, buffer C
 *        |            \                     0                  if l <= L - C
 *  -scale|             '---                 (L - C - l) / C    if l <= L
 *        +----------L-C---L---              -1                 beyond                           */

struct soft_overlong_settings {
    double buffer, scale;
};

static const struct cn_option soft_overlong_options[] = {
    {AXIS_REAL(soft_overlong_settings, buffer, 1, 1e9), .fallback = "null", .nullable = true,
     .unit = "tokens",
     .help = "length of the slope before rollout.max_tokens; null: a fifth of it, as in the paper"},
    {AXIS_REAL(soft_overlong_settings, scale, 0, 1e6), .fallback = "1", .unit = "reward",
     .help = "punishment at the limit"},
    {0}};

static enum cn_status soft_overlong_apply(const struct cn_context *context, struct cn_batch *batch)
{
    const struct soft_overlong_settings *settings = context->settings;
    CN_BUG_IF(!context->counts);
    double limit = context->counts[CN_PART_MAIN].length_max;
    double buffer = isnan(settings->buffer) ? limit / 5 : settings->buffer;
    if (buffer > limit)
        return cn_fail(CN_ERR_CONFIG,
                       "algorithm.shaping soft_overlong: buffer=%g is longer than the longest "
                       "answer, rollout.max_tokens=%g; use at most that, or null for a fifth of it",
                       buffer, limit);
    struct cn_sum punished = {0};
    for (size_t s = 0; s < batch->n_sequences; s++) {
        if (batch->part[s] != CN_PART_MAIN || !groups_scored(batch, s)) continue;
        double length = (double)groups_length(batch, s);
        double slope = buffer > 0 ? (limit - buffer - length) / buffer : 0;
        double change = settings->scale * fmin(0, fmax(-1, slope));
        cn_sum_add(&punished, change < 0);
        batch->reward[s] += change;
    }
    return cn_metrics_merge(context->metrics, "shaping/soft_overlong_frac", &punished);
}

static const struct cn_shaping soft_overlong = {
    .name = "soft_overlong",
    .summary = "a punishment that grows over the last tokens before the limit",
    .reference = "Yu et al. 2025, DAPO, arXiv 2503.14476, equation 13",
    .options = soft_overlong_options,
    .settings_size = sizeof(struct soft_overlong_settings),
    .apply = soft_overlong_apply,
};

/* ---- overlong filter ----------------------------------------------------- */

/* Answers that were cut off are not trained on; their rewards still count in the group. */
static enum cn_status overlong_filter_apply(const struct cn_context *context,
                                            struct cn_batch *batch)
{
    struct cn_sum dropped = {0};
    for (size_t s = 0; s < batch->n_sequences; s++) {
        bool cut = batch->stop[s] == CN_STOP_LENGTH || batch->stop[s] == CN_STOP_TRUNCATED;
        cn_sum_add(&dropped, cut);
        if (cut && batch->drop[s] == CN_DROP_NONE) batch->drop[s] = CN_DROP_OVERLONG;
    }
    return cn_metrics_merge(context->metrics, "shaping/overlong_frac", &dropped);
}

static const struct cn_shaping overlong_filter = {
    .name = "overlong_filter",
    .summary = "answers cut at the limit are not trained on, but count in their group",
    .reference = "Yu et al. 2025, DAPO, arXiv 2503.14476, section 3.4",
    .apply = overlong_filter_apply,
};

/* ---- clip ---------------------------------------------------------------- */

struct clip_settings {
    double low, high;
};

static const struct cn_option clip_options[] = {
    {AXIS_REAL(clip_settings, low, -1e9, 1e9), .fallback = "-10", .unit = "reward",
     .help = "smallest reward"},
    {AXIS_REAL(clip_settings, high, -1e9, 1e9), .fallback = "10", .unit = "reward",
     .help = "largest reward"},
    {0}};

/* Before the baseline: clipping after it would change what the baseline means. */
static enum cn_status clip_apply(const struct cn_context *context, struct cn_batch *batch)
{
    const struct clip_settings *settings = context->settings;
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s))
            batch->reward[s] = fmax(settings->low, fmin(settings->high, batch->reward[s]));
    return CN_OK;
}

static enum cn_status clip_check(const void *settings)
{
    const struct clip_settings *s = settings;
    if (s->low > s->high) return cn_fail(CN_ERR_CONFIG, "low=%g is above high=%g", s->low, s->high);
    return CN_OK;
}

static const struct cn_shaping clip = {
    .name = "clip",
    .summary = "keeps rewards between two bounds",
    .reference = "OpenRLHF reward clip, before instead of after the baseline",
    .options = clip_options,
    .settings_size = sizeof(struct clip_settings),
    .check = clip_check,
    .apply = clip_apply,
};

/* ---- cosine ------------------------------------------------------------------------------------
 *
 * A right answer earns less the longer it is, a wrong one is punished less the longer it is:
 *     low + (high - low)/2 (1 + cos(pi min(l / L, 1))) */

struct cosine_settings {
    double right_short, right_long, wrong_short, wrong_long, correct_from;
};

static const struct cn_option cosine_options[] = {
    {AXIS_REAL(cosine_settings, right_short, -1e9, 1e9), .fallback = "1", .unit = "reward",
     .help = "of a right answer of no length"},
    {AXIS_REAL(cosine_settings, right_long, -1e9, 1e9), .fallback = "0.5", .unit = "reward",
     .help = "of a right answer of rollout.max_tokens"},
    {AXIS_REAL(cosine_settings, wrong_short, -1e9, 1e9), .fallback = "-1", .unit = "reward",
     .help = "of a wrong answer of no length"},
    {AXIS_REAL(cosine_settings, wrong_long, -1e9, 1e9), .fallback = "-0.5", .unit = "reward",
     .help = "of a wrong answer of rollout.max_tokens"},
    {AXIS_REAL(cosine_settings, correct_from, -1e9, 1e9), .fallback = "0.5", .unit = "reward",
     .help = "an answer of at least this score is right"},
    {0}};

static enum cn_status cosine_apply(const struct cn_context *context, struct cn_batch *batch)
{
    const struct cosine_settings *c = context->settings;
    const double pi = 3.14159265358979323846;
    CN_BUG_IF(!context->counts);
    for (size_t s = 0; s < batch->n_sequences; s++) {
        if (batch->part[s] != CN_PART_MAIN || !groups_scored(batch, s)) continue;
        const bool right = batch->score[s] >= c->correct_from;
        const double near = right ? c->right_short : c->wrong_short;
        const double far = right ? c->right_long : c->wrong_long;
        double share = (double)groups_length(batch, s) / context->counts[CN_PART_MAIN].length_max;
        batch->reward[s] = far + 0.5 * (near - far) * (1 + cos(pi * fmin(1, share)));
    }
    return CN_OK;
}

static const struct cn_shaping cosine = {
    .name = "cosine",
    .summary = "reward by rightness and length, along a cosine",
    .reference = "Yeo et al. 2025, arXiv 2502.03373",
    .options = cosine_options,
    .settings_size = sizeof(struct cosine_settings),
    .apply = cosine_apply,
};

/* ---- length within the group --------------------------------------------- */

struct group_length_settings {
    double scale, correct_from;
};

static const struct cn_option group_length_options[] = {
    {AXIS_REAL(group_length_settings, scale, 0, 1e6), .fallback = "1", .unit = "reward",
     .help = "weight of the term"},
    {AXIS_REAL(group_length_settings, correct_from, -1e9, 1e9), .fallback = "0.5", .unit = "reward",
     .help = "an answer of at least this score is right"},
    {0}};

static void add_group_length(const struct group_length_settings *settings, struct cn_batch *batch,
                             const size_t *member, size_t n)
{
    double shortest = INFINITY, longest = 0;
    for (size_t i = 0; i < n; i++) {
        shortest = fmin(shortest, (double)groups_length(batch, member[i]));
        longest = fmax(longest, (double)groups_length(batch, member[i]));
    }
    if (shortest == longest) return;
    for (size_t i = 0; i < n; i++) {
        double length = (double)groups_length(batch, member[i]);
        double term = 0.5 - (length - shortest) / (longest - shortest);
        bool right = batch->score[member[i]] >= settings->correct_from;
        batch->reward[member[i]] += settings->scale * (right ? term : fmin(0, term));
    }
}

static enum cn_status group_length_apply(const struct cn_context *context, struct cn_batch *batch)
{
    struct groups groups;
    CN_TRY(groups_find(batch, context->scratch, &groups));
    for (size_t g = 0; g < groups.count; g++)
        if (batch->part[groups.member[groups.start[g]]] == CN_PART_MAIN)
            add_group_length(context->settings, batch, groups.member + groups.start[g],
                             groups.start[g + 1] - groups.start[g]);
    return CN_OK;
}

static const struct cn_shaping group_length = {
    .name = "group_length",
    .summary = "shorter than the rest of the group is better; wrong answers only lose",
    .reference = "Kimi k1.5 2025, arXiv 2501.12599",
    .options = group_length_options,
    .settings_size = sizeof(struct group_length_settings),
    .apply = group_length_apply,
};

/* ---- repetition ---------------------------------------------------------- */

struct repetition_settings {
    int64_t words;
    double scale;
};

static const struct cn_option repetition_options[] = {
    {AXIS_INT(repetition_settings, words, 1, 64), .fallback = "3", .unit = "tokens",
     .help = "length of the runs of tokens that are compared"},
    {AXIS_REAL(repetition_settings, scale, 0, 1e6), .fallback = "1", .unit = "reward",
     .help = "punishment of an answer that only repeats itself"},
    {0}};

static size_t hash_run(const int32_t *token, size_t words)
{
    uint64_t hash = 0xCBF29CE484222325u;
    for (size_t i = 0; i < words; i++)
        hash = (hash ^ (uint32_t)token[i]) * 0x100000001B3u;
    return (size_t)(hash ^ hash >> 29);
}

/* Share of the runs of `words` tokens that occurred before; 0 for an answer that is too short. */
static enum cn_status repeated(const int32_t *token, size_t n, size_t words,
                               struct cn_arena *scratch, double *out)
{
    const size_t runs = n >= words ? n - words + 1 : 0;
    size_t slots = 16, again = 0, *seen; /* open addressing: place of a run, plus one */
    while (slots < 2 * runs)
        slots *= 2;
    CN_TRY(CN_NEW(scratch, slots, &seen));
    for (size_t i = 0; i < runs; i++) {
        size_t slot = hash_run(token + i, words) & (slots - 1);
        while (seen[slot] && memcmp(token + i, token + seen[slot] - 1, words * sizeof *token) != 0)
            slot = (slot + 1) & (slots - 1);
        again += seen[slot] != 0;
        if (!seen[slot]) seen[slot] = i + 1;
    }
    *out = runs ? (double)again / (double)runs : 0;
    return CN_OK;
}

static enum cn_status repetition_apply(const struct cn_context *context, struct cn_batch *batch)
{
    const struct repetition_settings *settings = context->settings;
    struct cn_sum share = {0};
    int32_t *own;
    CN_TRY(CN_NEW(context->scratch, batch->n_tokens, &own));
    for (size_t s = 0; s < batch->n_sequences; s++) {
        size_t n = 0;
        double part;
        struct cn_arena_mark mark = cn_arena_mark(context->scratch);
        if (batch->part[s] != CN_PART_MAIN || !groups_scored(batch, s)) continue;
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (batch->role[t] == CN_ROLE_POLICY) own[n++] = batch->token[t];
        CN_TRY(repeated(own, n, (size_t)settings->words, context->scratch, &part));
        cn_arena_release(context->scratch, mark);
        cn_sum_add(&share, part);
        batch->reward[s] -= settings->scale * part;
    }
    return cn_metrics_merge(context->metrics, "shaping/repeated_frac", &share);
}

static const struct cn_shaping repetition = {
    .name = "repetition",
    .summary = "a punishment for runs of tokens that occurred before",
    .reference = "Yeo et al. 2025, arXiv 2502.03373; TRL's repetition penalty",
    .options = repetition_options,
    .settings_size = sizeof(struct repetition_settings),
    .apply = repetition_apply,
};

const struct cn_plugin *const axis_shaping[] = {AXIS_HEAD(soft_overlong),
                                                AXIS_HEAD(overlong_filter),
                                                AXIS_HEAD(clip),
                                                AXIS_HEAD(cosine),
                                                AXIS_HEAD(group_length),
                                                AXIS_HEAD(repetition),
                                                NULL};
