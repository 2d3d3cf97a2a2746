/* What methods share that look at the tokens of an optimizer step: over which of them a statistic
 * goes, how many a fraction of them is, which ones are the largest, and what became of them.
 *
 *     scope    a statistic goes over                         of the values
 *     step     the whole optimizer step, over all ranks      the policy has now
 *     stored   the same                                      it had at the rollout's first update
 *     micro    one atom on its rank: what the released       the policy has now
 *              codes do, with a hidden knob, the memory
 *
 * Never over tokens of different parts of the batch, and over trained tokens only. */
#ifndef CARNOT_ENTROPY_TOKENS_H
#define CARNOT_ENTROPY_TOKENS_H

#include "carnot/entropy.h"

/* ---- options ------------------------------------------------------------- */

#define TOKENS_FIELD(settings, field) .name = #field, .offset = offsetof(struct settings, field)
#define TOKENS_REAL(settings, field, low, high)                                                    \
    TOKENS_FIELD(settings, field), .kind = CN_OPTION_REAL, .minimum = (low), .maximum = (high)
#define TOKENS_CHOICE(settings, field, words)                                                      \
    TOKENS_FIELD(settings, field), .kind = CN_OPTION_CHOICE, .choices = (words)

enum { SCOPE_STEP, SCOPE_STORED, SCOPE_MICRO };
#define TOKENS_SCOPE(settings)                                                                     \
    {                                                                                              \
        TOKENS_CHOICE(settings, scope, "step stored micro"),                                       \
            .fallback = "\"step\"",                                                                \
            .help = "statistics over the whole optimizer step with the policy's present values, "  \
                    "over the "                                                                    \
                    "step with the values at the rollout's first update (no further pass), or "    \
                    "per atom "                                                                    \
                    "as the released codes do"                                                     \
    }

/* How many of N tokens a fraction x is: nearest is floor(x N + 1/2), down is floor(x N), up is the
 * whole number at or above x N.  Products that are whole up to rounding errors count as whole. */
enum { ROUNDING_NEAREST, ROUNDING_DOWN, ROUNDING_UP };
struct quota {
    double fraction;
    int64_t at_least; /* of a set that has that many */
    int rounding;
};
// clang-format off
#define TOKENS_QUOTA(settings, default_text, text)                                                 \
    {.name = "fraction", .kind = CN_OPTION_REAL, .minimum = 0, .maximum = 1,                       \
     .offset = offsetof(struct settings, quota.fraction), .fallback = default_text, .help = text}, \
    {.name = "rounding", .kind = CN_OPTION_CHOICE, .choices = "nearest down up",                   \
     .offset = offsetof(struct settings, quota.rounding), .fallback = "\"nearest\"",               \
     .help = "from fraction times tokens to a number of tokens"},                                  \
    {.name = "at_least", .kind = CN_OPTION_INT, .minimum = 0, .maximum = 1e9,                      \
     .offset = offsetof(struct settings, quota.at_least), .fallback = "0", .unit = "tokens",       \
     .help = "smallest number that is selected; the released codes have 1"}
// clang-format on

/* Warns that scope micro makes the method depend on update.atom_tokens. */
void tokens_warn(const char *method, int scope);

/* ---- sets ---------------------------------------------------------------- */

/* The trained tokens of one part in one span. */
struct token_set {
    const struct cn_batch *batch;
    struct cn_span span;
    uint8_t part;
    size_t begin, n;               /* tokens of the span on this rank, members or not */
    double tokens;                 /* members, over all ranks of the set */
    const struct cn_reduce *ranks; /* of the set: this rank alone for an atom */
};

struct token_sets {
    struct token_set *item;
    size_t count;
};

/* The sets of a step, none of them empty; the same on every rank unless scope is micro.  Memory
 * from the context's scratch. */
enum cn_status token_sets(const struct cn_context *context, const struct cn_batch *batch,
                          struct cn_span span, int scope, struct token_sets *out);

/* Whether token t of sequence s, which is in the span, is a member. */
static inline bool token_in(const struct token_set *set, size_t s, size_t t)
{
    return set->batch->part[s] == set->part && cn_batch_trained(set->batch, s, t);
}

#define FOR_TOKENS(set, s, t)                                                                      \
    for (size_t s = (set)->span.begin; s < (set)->span.end; s++)                                   \
        for (size_t t = (set)->batch->seq_start[s]; t < (set)->batch->seq_start[s + 1]; t++)       \
            if (token_in(set, s, t))

/* Live values, or the stored ones if that is the scope. */
struct cn_live tokens_values(int scope, const struct cn_batch *batch, const struct cn_live *live);

/* ---- selection ----------------------------------------------------------- */

/* Number of tokens that a quota is of a set. */
size_t quota_of(const struct quota *quota, double tokens);

/* Says once, by the flag `told` of the method's state, that a quota is zero and what batch it would
 * take. */
void quota_tell(const char *method, const struct quota *quota, double tokens, bool *told);

/* chosen (n of the set) = 1 for the k members of largest value; of equal ones, the earlier.
 * value (n of the set), read at members.  Collective over the set's ranks. */
enum cn_status token_set_largest(const struct token_set *set, const struct cn_context *context,
                                 const double *value, size_t k, uint8_t *chosen);

/* chosen (n of the set) = 1 for min(k, candidates) of the members with candidate[i], drawn without
 * replacement, each with the same probability; the draw depends on seed, step, update, prompt,
 * sample and place in the sequence only.  Collective over the set's ranks. */
enum cn_status token_set_draw(const struct token_set *set, const struct cn_context *context,
                              const uint8_t *candidate, size_t k, uint8_t *chosen);

/* cov (n of the set), at members: (logp - mean logp)(advantage - mean advantage).
 * Cui et al. 2025, arXiv 2505.22617, equation of Theorem 2 on sampled tokens.  Collective over the
 * set's ranks. */
enum cn_status token_set_covariance(const struct token_set *set, const double *logp, double *cov);

/* The q-quantile of `value` (T) over the trained tokens of sequence s, which has at least one. */
enum cn_status tokens_quantile(const struct cn_context *context, const struct cn_batch *batch,
                               size_t s, const double *value, double q, double *out);

/* ---- what became of the tokens ------------------------------------------- */

struct token_report {
    struct cn_sum selected, factor; /* of the trained tokens; selected is a sum of 0 and 1 */
};

/* Multiplies the weight of token t by `factor`, marks it if it is selected, and counts it. */
void token_touch(const struct cn_context *context, struct cn_batch *batch, size_t t, double factor,
                 bool selected, struct token_report *report);

/* Metrics entropy/<method>/selected_frac and weight_mean. */
enum cn_status token_report_write(const struct cn_context *context, const char *method,
                                  const struct token_report *report);

/* Metrics entropy/<method>/coefficient, target and actual; NaN leaves one out. */
enum cn_status tokens_control(const struct cn_context *context, const char *method,
                              double coefficient, double target, double actual);

#endif
