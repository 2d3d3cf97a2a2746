/* SIREN: the entropy of the plausible tokens at the uncertain places is held at an anchor.
 *
 *     H_t     entropy of the distribution renormalised over its nucleus of mass `mass`
 *     S_i     places of answer i with H_t >= its tau-quantile over the answer (linear)
 *     Hbar    mean over the B answers of the mean of H_t over S_i; an empty S_i counts as 0
 *     L      += coefficient (Hbar - anchor)^2
 *     dL/dH_t = 2 coefficient (Hbar - anchor) / (B |S_i|)  for t in S_i
 *
 * Nucleus, quantile and anchor are constants.  Hbar goes over the main answers of the optimizer
 * step, so prepare computes it, and the loss is written as its tangent: the same value and slope at
 * the present policy, and a sum over atoms.  The anchor is Hbar over the run's first rollout before
 * its first update: the initial policy's, over all mini-batches; it is part of the checkpoint.
 * Below the anchor the term raises the entropy, above it lowers it.
 *
 * Paper and code: the code's nucleus leaves out the token that reaches the mass, so a distribution
 * whose first token does has entropy 0 (nucleus=exclusive); it selects strictly above the quantile
 * (quantile=above); Hbar is of a micro-batch, which also punishes its spread (scope=micro); and it
 * looks at the 10,000 most likely tokens only.  SIREN 2025, arXiv 2509.25133, equations 7 to 11. */
#include "tokens.h"

#include <math.h>

enum { NUCLEUS_INCLUSIVE, NUCLEUS_EXCLUSIVE };
enum { QUANTILE_AT_LEAST, QUANTILE_ABOVE };

struct siren_settings {
    double coefficient, mass, tau, anchor;
    int nucleus, quantile, scope;
};

struct siren_state {
    double anchor, aggregate, answers; /* answers: B of the step */
    bool anchored;
};

static const struct cn_option options[] = {
    {TOKENS_REAL(siren_settings, coefficient, 0, 1e6), .fallback = "0.005",
     .unit = "reward per squared nat", .help = "weight of the squared distance to the anchor"},
    {TOKENS_REAL(siren_settings, mass, 1e-9, 1), .fallback = "0.8",
     .help = "probability mass of the nucleus"},
    {TOKENS_REAL(siren_settings, tau, 0, 1), .fallback = "0.8",
     .help = "places from this quantile of the answer's entropies on are selected"},
    {TOKENS_REAL(siren_settings, anchor, 0, 1e6), .fallback = "null", .nullable = true,
     .unit = "nats", .help = "what the entropy is held at; null: its value over the first rollout"},
    {TOKENS_CHOICE(siren_settings, nucleus, "inclusive exclusive"), .fallback = "\"inclusive\"",
     .help = "with the token that reaches the mass, or, as the released code, without"},
    {TOKENS_CHOICE(siren_settings, quantile, "at_least above"), .fallback = "\"at_least\"",
     .help = "whether a place at the quantile itself is selected; the released code: above"},
    {TOKENS_CHOICE(siren_settings, scope, "step micro"), .fallback = "\"step\"",
     .help = "mean over the whole optimizer step, or, as the released code, per atom"},
    {0}};

enum { SIREN_STEP, SIREN_MICRO };

static enum cn_status check(const void *settings)
{
    if (((const struct siren_settings *)settings)->scope == SIREN_MICRO)
        tokens_warn("siren", SCOPE_MICRO);
    return CN_OK;
}

static struct cn_top top(const void *settings)
{
    const struct siren_settings *s = settings;
    return (struct cn_top){s->nucleus == NUCLEUS_EXCLUSIVE ? CN_TOP_P_BELOW : CN_TOP_P, s->mass,
                           true};
}

/* Whether sequence s is a main answer with a trained token: one of the B. */
static bool counts(const struct cn_batch *batch, size_t s)
{
    bool any = false;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1] && !any; t++)
        any = cn_batch_trained(batch, s, t);
    return any && batch->part[s] == CN_PART_MAIN;
}

/* Hbar over the answers of a span, by these entropies; its places are marked or not. */
struct look {
    const double *entropy;
    bool mark;
    struct token_report report;
    struct cn_sum means;
};

static enum cn_status look_at(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, struct look *look)
{
    const struct siren_settings *settings = context->settings;
    const double *entropy = look->entropy;
    for (size_t s = span.begin; s < span.end; s++) {
        double threshold, sum = 0, n = 0;
        if (!counts(batch, s)) continue;
        CN_TRY(tokens_quantile(context, batch, s, entropy, settings->tau, &threshold));
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const bool high = settings->quantile == QUANTILE_ABOVE ? entropy[t] > threshold
                                                                   : entropy[t] >= threshold;
            if (look->mark) token_touch(context, batch, t, 1, high, &look->report);
            sum += high ? entropy[t] : 0;
            n += high;
        }
        cn_sum_add(&look->means, n > 0 ? sum / n : 0);
    }
    return context->ranks->sum(context->ranks->self, &look->means, 1);
}

static enum cn_status set_anchor(const struct cn_context *context, struct cn_batch *batch)
{
    const struct siren_settings *settings = context->settings;
    struct siren_state *state = context->state;
    struct look first = {.entropy = batch->entropy_top_old};
    CN_TRY(look_at(context, batch, cn_batch_all(batch), &first));
    state->anchored = first.means.count > 0;
    state->anchor = isnan(settings->anchor) ? cn_sum_mean(&first.means) : settings->anchor;
    return CN_OK;
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct siren_settings *settings = context->settings;
    struct siren_state *state = context->state;
    struct look now = {.entropy = live->entropy_top, .mark = true};
    if (!state->anchored) CN_TRY(set_anchor(context, batch));
    CN_TRY(look_at(context, batch, span, &now));
    state->aggregate = cn_sum_mean(&now.means);
    state->answers = (double)now.means.count;
    CN_TRY(token_report_write(context, "siren", &now.report));
    return tokens_control(context, "siren", settings->coefficient, state->anchor, state->aggregate);
}

static bool selected(const struct cn_context *context, const struct cn_batch *batch, size_t s,
                     size_t t)
{
    return cn_batch_trained(batch, s, t) && batch->touched[t] & context->bit;
}

/* Mean of `entropy` over S_i; 0 if it is empty.  n: |S_i|. */
static double answer_mean(const struct cn_context *context, const struct cn_batch *batch, size_t s,
                          const double *entropy, double *n)
{
    double sum = 0;
    *n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        if (selected(context, batch, s, t)) {
            sum += entropy[t];
            ++*n;
        }
    return *n > 0 ? sum / *n : 0;
}

/* Sum of the means of an atom's answers, and how many there are. */
static struct cn_sum sum_means(const struct cn_context *context, const struct cn_batch *batch,
                               struct cn_span atom, const double *entropy)
{
    struct cn_sum sum = {.count = 0};
    for (size_t s = atom.begin; s < atom.end; s++) {
        double n, mean = answer_mean(context, batch, s, entropy, &n);
        if (counts(batch, s)) cn_sum_add(&sum, mean);
    }
    return sum;
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct siren_settings *settings = context->settings;
    const struct siren_state *state = context->state;
    const struct cn_sum sum = sum_means(context, batch, atom, context->frozen->entropy_top);
    const double mean = settings->scope == SIREN_MICRO ? cn_sum_mean(&sum) : state->aggregate;
    const double error = mean - state->anchor, share = 1 / fmax(1, state->answers);
    grad->loss += settings->coefficient * error * error * share * (double)sum.count;
    for (size_t s = atom.begin; s < atom.end; s++) {
        double n;
        answer_mean(context, batch, s, live->entropy_top, &n);
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!selected(context, batch, s, t)) continue;
            const double slope = 2 * settings->coefficient * error * share / n;
            grad->loss += slope * (live->entropy_top[t] - context->frozen->entropy_top[t]);
            grad->d_entropy_top[t] += slope;
        }
    }
    return CN_OK;
}

const struct cn_entropy cn_entropy_siren = {
    .name = "siren",
    .summary = "the nucleus entropy at uncertain places is held at its initial value",
    .reference = "SIREN 2025, arXiv 2509.25133",
    .needs = CN_NEEDS(entropy_top_old),
    .needs_live = CN_LIVE_BIT(entropy_top),
    .options = options,
    .settings_size = sizeof(struct siren_settings),
    .state_size = sizeof(struct siren_state),
    .check = check,
    .hooks = {.prepare = prepare, .loss = loss},
    .top = top,
};
