/* Axis `aggregation`: the coefficient c of each trained token in the loss of the optimizer step.
 *
 *     token_mean                1 / N             N trained tokens, S trained sequences, G groups
 *     token_sum                 1                 of the whole step, over all atoms and ranks
 *     seq_mean_token_sum        1 / S             n trained tokens of the sequence
 *     seq_mean_token_mean       1 / (S n)         n_g trained tokens of the group in this step
 *     seq_mean_token_sum_norm   1 / (S L)         L = rollout.max_tokens, a constant
 *     prompt_mean               1 / (G n_g)
 *
 * Counts are per part of the batch and made before any off-policy rejection, so a rejected token
 * does not make the others heavier (methods-base 7.1).  No coefficient depends on atoms. */
#include "axes.h"
#include "groups.h"

/* One coefficient for all trained tokens of a sequence. */
static void give(const struct cn_batch *batch, size_t s, double value, double *coefficient)
{
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        coefficient[t] = cn_batch_trained(batch, s, t) ? value : 0;
}

static double inverse(double x)
{
    return x > 0 ? 1 / x : 0;
}

static const struct cn_counts *counts_of(const struct cn_context *context,
                                         const struct cn_batch *batch, size_t s)
{
    return &context->counts[batch->part[s]];
}

static void token_mean_fill(const struct cn_context *context, const struct cn_batch *batch,
                            struct cn_span span, double *coefficient)
{
    for (size_t s = span.begin; s < span.end; s++)
        give(batch, s, inverse(counts_of(context, batch, s)->tokens), coefficient);
}

static void token_sum_fill(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span span, double *coefficient)
{
    (void)context;
    for (size_t s = span.begin; s < span.end; s++)
        give(batch, s, 1, coefficient);
}

static void seq_mean_token_sum_fill(const struct cn_context *context, const struct cn_batch *batch,
                                    struct cn_span span, double *coefficient)
{
    for (size_t s = span.begin; s < span.end; s++)
        give(batch, s, inverse(counts_of(context, batch, s)->sequences), coefficient);
}

static void seq_mean_token_mean_fill(const struct cn_context *context, const struct cn_batch *batch,
                                     struct cn_span span, double *coefficient)
{
    for (size_t s = span.begin; s < span.end; s++)
        give(batch, s,
             inverse(counts_of(context, batch, s)->sequences * (double)groups_trained(batch, s)),
             coefficient);
}

static void seq_mean_token_sum_norm_fill(const struct cn_context *context,
                                         const struct cn_batch *batch, struct cn_span span,
                                         double *coefficient)
{
    for (size_t s = span.begin; s < span.end; s++) {
        const struct cn_counts *counts = counts_of(context, batch, s);
        give(batch, s, inverse(counts->sequences * counts->length_max), coefficient);
    }
}

/* Trained tokens of the sequences of this optimizer step that share a group with `s`. */
static double group_tokens(const struct cn_batch *batch, struct cn_span step, size_t s)
{
    double n = 0;
    for (size_t other = step.begin; other < step.end; other++)
        if (batch->group[other] == batch->group[s] && batch->part[other] == batch->part[s])
            n += (double)groups_trained(batch, other);
    return n;
}

static void prompt_mean_fill(const struct cn_context *context, const struct cn_batch *batch,
                             struct cn_span span, double *coefficient)
{
    double tokens = 0;
    for (size_t s = span.begin; s < span.end; s++) {
        const struct cn_counts *counts = counts_of(context, batch, s);
        bool same = s > span.begin && batch->group[s] == batch->group[s - 1] &&
                    batch->part[s] == batch->part[s - 1];
        if (!same) tokens = group_tokens(batch, counts->span, s);
        give(batch, s, inverse(counts->groups * tokens), coefficient);
    }
}

#define ENTRY(entry, text, source)                                                                 \
    static const struct cn_aggregation entry = {                                                   \
        .name = #entry, .summary = text, .reference = source, .fill = entry##_fill}

ENTRY(token_mean, "every trained token of the step counts the same",
      "DAPO as verl, TRL and OpenRLHF compute it");
ENTRY(token_sum, "no normaliser at all", "verl token-sum");
ENTRY(seq_mean_token_sum, "mean over sequences of their sums", "REINFORCE on sequences, RLOO");
ENTRY(seq_mean_token_mean, "mean over sequences of their means",
      "Shao et al. 2024, GRPO, arXiv 2402.03300, equation 3");
ENTRY(seq_mean_token_sum_norm, "mean over sequences of sums over a constant length",
      "Liu et al. 2025, Dr. GRPO, arXiv 2503.20783");
ENTRY(prompt_mean, "mean over groups of their token means",
      "Yu et al. 2025, DAPO, arXiv 2503.14476, equation 8 as printed");

const struct cn_plugin *const axis_aggregation[] = {AXIS_HEAD(token_mean),
                                                    AXIS_HEAD(token_sum),
                                                    AXIS_HEAD(seq_mean_token_sum),
                                                    AXIS_HEAD(seq_mean_token_mean),
                                                    AXIS_HEAD(seq_mean_token_sum_norm),
                                                    AXIS_HEAD(prompt_mean),
                                                    NULL};
