/* CURE: answers are begun again at uncertain tokens, and both are trained.
 *
 *     stage 1   each main answer of a prompt is cut at a critical token: one of its `candidates`
 *               places of highest entropy, drawn with equal chances; `branches` continuations of
 *               what stands before it are sampled
 *     stage 2   after `steps` rollouts: as many further answers from the prompt instead
 *
 * 4 answers with 3 branches are a group of 16 with one baseline, so all belong to the part main; a
 * branch's beginning is its prompt: it is trained in the answer that it comes from, once.  Not a
 * candidate are the first token and the one that ends the answer; without a candidate the
 * continuation begins at the prompt.  The loss is the algorithm's (DAPO in the paper).
 *
 * Paper and code: the paper calls tokens critical by their entropy; the released code passes over
 * special ones and those whose text, stripped of white space, has at most one character
 * (critical=long; special is here what tokenizer.json flags, there what the tokenizer has a name
 * for, which is the same for tokens that occur in answers).  Its branches' verifier sees the
 * continuation only (judge=continuation), where here the whole answer is judged and its budget is
 * what the beginning left; place=random is the paper's ablation.  With dynamic sampling a prompt is
 * kept or given up by its first answers, the paper looks at all 16.
 * CURE 2025, arXiv 2508.11016. */
#include "asking.h"
#include "tokens.h"

#include "carnot/select.h"

enum { PLACE_ENTROPY, PLACE_RANDOM };
enum { CRITICAL_ANY, CRITICAL_LONG };
enum { JUDGE_WHOLE, JUDGE_CONTINUATION };

struct cure_settings {
    int64_t branches, candidates, steps;
    int place, critical, judge;
};

static const struct cn_option options[] = {
    {.name = "branches",
     .kind = CN_OPTION_INT,
     .minimum = 1,
     .maximum = 1000,
     .offset = offsetof(struct cure_settings, branches),
     .fallback = "3",
     .help = "continuations of each answer"},
    {.name = "candidates",
     .kind = CN_OPTION_INT,
     .minimum = 1,
     .maximum = 1e6,
     .offset = offsetof(struct cure_settings, candidates),
     .fallback = "20",
     .unit = "tokens",
     .help = "places of highest entropy among which one is drawn"},
    {.name = "steps",
     .kind = CN_OPTION_INT,
     .minimum = 0,
     .maximum = 1e9,
     .offset = offsetof(struct cure_settings, steps),
     .fallback = "300",
     .unit = "rollouts",
     .help = "length of stage 1"},
    {TOKENS_CHOICE(cure_settings, place, "entropy random"), .fallback = "\"entropy\"",
     .help = "where answers are cut: at an uncertain token, or anywhere"},
    {TOKENS_CHOICE(cure_settings, critical, "any long"), .fallback = "\"any\"",
     .help =
         "tokens at which answers may be cut: any, or, as the released code, those that are not "
         "special and have more than one character besides white space"},
    {TOKENS_CHOICE(cure_settings, judge, "whole continuation"), .fallback = "\"whole\"",
     .help = "what the rewards see of a branch: the whole answer, or, as the released code, the "
             "continuation"},
    {0}};

/* Whether critical=long passes over the token. */
static bool passed_over(const struct cn_context *context, int32_t token)
{
    return cn_token_bits(&context->facts, token) & (CN_TOKEN_SPECIAL | CN_TOKEN_SHORT);
}

/* Places (n) at which a sequence may be cut, from its start, ascending, and the entropy there. */
struct places {
    size_t n, *at;
    double *entropy;
};

static enum cn_status list_places(const struct cn_context *context, const struct cn_batch *batch,
                                  size_t s, struct places *out)
{
    const struct cure_settings *settings = context->settings;
    const size_t begin = batch->seq_start[s];
    const size_t end = batch->seq_start[s + 1] - begin - (batch->stop[s] == CN_STOP_EOS);
    out->n = 0;
    CN_TRY(CN_NEW(context->scratch, end, &out->at));
    CN_TRY(CN_NEW(context->scratch, end, &out->entropy));
    for (size_t at = batch->branch_at[s] + 1; at < end; at++) {
        const size_t t = begin + at;
        if (settings->critical == CRITICAL_LONG && passed_over(context, batch->token[t])) continue;
        out->at[out->n] = at;
        out->entropy[out->n++] = batch->entropy_sampled[t];
    }
    return CN_OK;
}

/* Where sequence s is cut; 0: nowhere. */
static enum cn_status cut(const struct cn_context *context, const struct cn_batch *batch, size_t s,
                          double *out)
{
    const struct cure_settings *settings = context->settings;
    struct places places;
    uint8_t *chosen;
    struct cn_rng rng;
    *out = 0;
    CN_TRY(list_places(context, batch, s, &places));
    const size_t n = places.n;
    if (n == 0) return CN_OK;
    const bool random = settings->place == PLACE_RANDOM;
    const size_t k = random || (size_t)settings->candidates > n ? n : (size_t)settings->candidates;
    CN_TRY(CN_NEW(context->scratch, n, &chosen));
    CN_TRY(cn_select_largest(places.entropy, n, k, NULL, context->scratch, chosen));
    cn_rng_open(&rng, context->rng, batch->prompt[s], batch->sample[s], 0);
    uint32_t left = cn_rng_below(&rng, (uint32_t)k);
    for (size_t i = 0; i < n; i++) {
        if (!chosen[i]) continue;
        if (left-- > 0) continue;
        *out = (double)places.at[i];
        break;
    }
    return CN_OK;
}

/* Requests for the group whose first main sequence is i. */
static enum cn_status ask(const struct cn_context *context, const struct asking *asking, size_t i,
                          size_t size, struct cn_requests *out)
{
    const struct cure_settings *settings = context->settings;
    const bool first = context->step <= (uint64_t)settings->steps;
    uint32_t sample = (uint32_t)size;
    for (size_t s = i; s < i + size; s++)
        for (int64_t b = 0; b < settings->branches; b++, sample++) {
            const bool branch = first && asking->value[s] > 0;
            const struct cn_request request = {.prompt = (uint64_t)asking->prompt[s],
                                               .sample = sample,
                                               .parent = branch ? (int64_t)s : -1,
                                               .branch_at = branch ? (uint32_t)asking->value[s] : 0,
                                               .own_text =
                                                   branch && settings->judge == JUDGE_CONTINUATION,
                                               .part = CN_PART_MAIN};
            CN_TRY(cn_requests_add(out, request));
        }
    return cn_metrics_set(context->metrics, "entropy/cure/stage", first ? 1 : 2);
}

/* Groups that are new in this round; those of earlier ones have more sequences than the first. */
static bool begun(const struct asking *asking, size_t i, size_t size)
{
    for (size_t j = 0; j < asking->n; j++)
        if (asking->group[j] == asking->group[i] && asking->sample[j] >= (double)size) return true;
    return false;
}

static const char *needs_facts(const void *settings)
{
    return ((const struct cure_settings *)settings)->critical == CRITICAL_LONG
               ? "entropy.cure.critical=long"
               : NULL;
}

static enum cn_status plan(const struct cn_context *context, uint32_t round,
                           struct cn_batch *so_far, struct cn_requests *out)
{
    struct cn_sum places_cut = {.count = 0};
    struct asking asking;
    double *at;
    size_t size;
    if (round == 0) return CN_OK;
    CN_BUG_IF(needs_facts(context->settings) && context->facts.n == 0);
    CN_TRY(CN_NEW(context->scratch, so_far->n_sequences, &at));
    for (size_t s = 0; s < so_far->n_sequences; s++) {
        CN_TRY(cut(context, so_far, s, &at[s]));
        if (so_far->parent[s] < 0 && at[s] > 0)
            cn_sum_add(&places_cut, so_far->entropy_sampled[so_far->seq_start[s] + (size_t)at[s]]);
    }
    CN_TRY(asking_gather(context, so_far, at, &asking));
    for (size_t i = 0; i < asking.n; i++)
        if (asking_first(&asking, i, &size) && !begun(&asking, i, size))
            CN_TRY(ask(context, &asking, i, size, out));
    return round > 1 ? CN_OK
                     : cn_metrics_merge(context->metrics, "entropy/cure/actual", &places_cut);
}

const struct cn_entropy cn_entropy_cure = {
    .name = "cure",
    .summary = "answers are begun again at uncertain tokens; later as many are sampled anew",
    .reference = "CURE 2025, arXiv 2508.11016",
    .needs = CN_NEEDS(entropy_sampled),
    .options = options,
    .settings_size = sizeof(struct cure_settings),
    .needs_facts = needs_facts,
    .hooks = {.plan = plan},
};
