/* See tokens.h. */
#include "tokens.h"

#include "carnot/log.h"
#include "carnot/select.h"

#include <math.h>
#include <stdio.h>

/* ---- sets ---------------------------------------------------------------- */

void tokens_warn(const char *method, int scope)
{
    if (scope == SCOPE_MICRO)
        cn_log_warn("entropy.%s.scope=micro: statistics per atom, so update.atom_tokens and the "
                    "number of ranks change the method, as in the released codes; scope=step is "
                    "what the paper defines",
                    method);
}

static struct token_set set_of(const struct cn_batch *batch, struct cn_span span, int part)
{
    struct token_set set = {.batch = batch,
                            .span = span,
                            .part = (uint8_t)part,
                            .begin = batch->seq_start[span.begin],
                            .n = batch->seq_start[span.end] - batch->seq_start[span.begin]};
    return set;
}

static void add_atom(const struct cn_batch *batch, struct cn_span atom, struct token_sets *out)
{
    for (int part = 0; part < CN_PART_COUNT; part++) {
        struct token_set set = set_of(batch, atom, part);
        set.ranks = &cn_reduce_alone;
        FOR_TOKENS(&set, s, t)
        set.tokens++;
        if (set.tokens > 0) out->item[out->count++] = set;
    }
}

enum cn_status token_sets(const struct cn_context *context, const struct cn_batch *batch,
                          struct cn_span span, int scope, struct token_sets *out)
{
    const size_t spans = scope == SCOPE_MICRO ? context->atoms->count : 1;
    out->count = 0;
    CN_TRY(CN_NEW(context->scratch, spans * CN_PART_COUNT, &out->item));
    for (size_t a = 0; scope == SCOPE_MICRO && a < spans; a++)
        add_atom(batch, context->atoms->item[a], out);
    for (int part = 0; scope != SCOPE_MICRO && part < CN_PART_COUNT; part++) {
        struct token_set set = set_of(batch, span, part);
        set.ranks = context->ranks;
        set.tokens = context->counts[part].tokens;
        if (set.tokens > 0) out->item[out->count++] = set;
    }
    return CN_OK;
}

struct cn_live tokens_values(int scope, const struct cn_batch *batch, const struct cn_live *live)
{
    if (scope != SCOPE_STORED) return *live;
    return (struct cn_live){.logp = batch->logp_old, .entropy = batch->entropy_old};
}

/* ---- selection ----------------------------------------------------------- */

size_t quota_of(const struct quota *quota, double tokens)
{
    const double exact = quota->fraction * tokens, slack = 1e-9 * (1 + exact);
    double k = quota->rounding == ROUNDING_NEAREST ? floor(exact + 0.5 + slack)
               : quota->rounding == ROUNDING_DOWN  ? floor(exact + slack)
                                                   : ceil(exact - slack);
    k = fmax(k, (double)quota->at_least);
    return (size_t)fmin(k, tokens);
}

void quota_tell(const char *method, const struct quota *quota, double tokens, bool *told)
{
    if (*told || quota->fraction <= 0 || quota_of(quota, tokens) > 0) return;
    *told = true;
    cn_log_info("entropy.%s: fraction %g of the %.0f trained tokens of an optimizer step is none: "
                "%.0f tokens would be needed to select one, or at_least=1",
                method, quota->fraction, tokens,
                ceil((quota->rounding == ROUNDING_DOWN ? 1 : 0.5) / quota->fraction));
}

enum cn_status token_set_largest(const struct token_set *set, const struct cn_context *context,
                                 const double *value, size_t k, uint8_t *chosen)
{
    double *members;
    CN_TRY(CN_NEW(context->scratch, set->n, &members));
    for (size_t i = 0; i < set->n; i++)
        members[i] = -INFINITY;
    FOR_TOKENS(set, s, t)
    members[t - set->begin] = value[t - set->begin];
    return set->ranks->select_largest(set->ranks->self, members, set->n, k, context->scratch,
                                      chosen);
}

/* In (0, 1), from two words: ties are out of the question. */
static double fine_uniform(struct cn_rng *rng)
{
    const uint64_t high = cn_rng_u32(rng), low = cn_rng_u32(rng);
    return ((double)(high << 20 | low >> 12) + 0.5) / 4503599627370496.0; /* 2^52 */
}

enum cn_status token_set_draw(const struct token_set *set, const struct cn_context *context,
                              const uint8_t *candidate, size_t k, uint8_t *chosen)
{
    struct cn_rng_key key = context->rng;
    struct cn_sum *count;
    double *lot;
    key.word[1] ^= (uint32_t)context->update * 0x9E3779B9u;
    CN_TRY(CN_NEW(context->scratch, 1, &count));
    CN_TRY(CN_NEW(context->scratch, set->n, &lot));
    FOR_TOKENS(set, s, t)
    {
        struct cn_rng rng;
        if (!candidate[t - set->begin]) continue;
        cn_rng_open(&rng, key, set->batch->prompt[s], set->batch->sample[s],
                    (uint32_t)(t - set->batch->seq_start[s]));
        lot[t - set->begin] = fine_uniform(&rng);
        cn_sum_add(count, 1);
    }
    CN_TRY(set->ranks->sum(set->ranks->self, count, 1));
    k = (size_t)fmin((double)k, cn_sum_value(count));
    return set->ranks->select_largest(set->ranks->self, lot, set->n, k, context->scratch, chosen);
}

enum cn_status token_set_covariance(const struct token_set *set, const double *logp, double *cov)
{
    struct cn_sum sums[2] = {{.count = 0}};
    FOR_TOKENS(set, s, t)
    {
        cn_sum_add(&sums[0], logp[t]);
        cn_sum_add(&sums[1], set->batch->advantage[t]);
    }
    CN_TRY(set->ranks->sum(set->ranks->self, sums, 2));
    const double logp_mean = cn_sum_mean(&sums[0]), advantage_mean = cn_sum_mean(&sums[1]);
    FOR_TOKENS(set, s, t)
    cov[t - set->begin] = (logp[t] - logp_mean) * (set->batch->advantage[t] - advantage_mean);
    return CN_OK;
}

enum cn_status tokens_quantile(const struct cn_context *context, const struct cn_batch *batch,
                               size_t s, const double *value, double q, double *out)
{
    double *values;
    size_t n = 0;
    struct cn_arena_mark mark = cn_arena_mark(context->scratch);
    CN_TRY(cn_arena_alloc_raw(context->scratch, batch->seq_start[s + 1] - batch->seq_start[s],
                              sizeof *values, &values));
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        if (cn_batch_trained(batch, s, t)) values[n++] = value[t];
    CN_BUG_IF(n == 0);
    *out = cn_select_quantile(values, n, q);
    cn_arena_release(context->scratch, mark);
    return CN_OK;
}

/* ---- what became of the tokens ------------------------------------------- */

void token_touch(const struct cn_context *context, struct cn_batch *batch, size_t t, double factor,
                 bool selected, struct token_report *report)
{
    batch->weight[t] *= factor;
    if (selected) batch->touched[t] |= context->bit;
    cn_sum_add(&report->selected, selected);
    cn_sum_add(&report->factor, factor);
}

static enum cn_status put(const struct cn_context *context, const char *method, const char *what,
                          double value)
{
    char name[96];
    if (isnan(value)) return CN_OK;
    snprintf(name, sizeof name, "entropy/%s/%s", method, what);
    return cn_metrics_set(context->metrics, name, value);
}

enum cn_status token_report_write(const struct cn_context *context, const char *method,
                                  const struct token_report *report)
{
    char name[96];
    snprintf(name, sizeof name, "entropy/%s/selected_frac", method);
    CN_TRY(cn_metrics_merge(context->metrics, name, &report->selected));
    snprintf(name, sizeof name, "entropy/%s/weight_mean", method);
    return cn_metrics_merge(context->metrics, name, &report->factor);
}

enum cn_status tokens_control(const struct cn_context *context, const char *method,
                              double coefficient, double target, double actual)
{
    CN_TRY(put(context, method, "coefficient", coefficient));
    CN_TRY(put(context, method, "target", target));
    return put(context, method, "actual", actual);
}
