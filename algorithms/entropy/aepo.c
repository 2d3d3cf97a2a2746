/* AEPO: the entropy is held at a target by imitating right answers drawn at another temperature.
 *
 *     grad J = grad J_policy + coefficient E_{o ~ pi^T} [ R(o) 1/|o| sum_t grad log pi(o_t) ]
 *     T      = high if H < target, else low                                (regulation=switch)
 *     T      = clamp(1 + target - H, low, high)                            (regulation=linear)
 *
 * pi^T samples from logits / T, but the gradient is of log pi at the training temperature, without
 * an importance ratio: its expected step in the logits is pi^T - pi, which flattens pi for T > 1
 * and sharpens it for T < 1.  H is the entropy of the main answers that have just been sampled. The
 * samples are of the part auxiliary: `share` of the groups, drawn at random, as many answers of
 * each as it has, G' in the optimizer step; of those only the right ones (R = 1) have a gradient:
 *
 *     dL/dlogp_t = -coefficient / (G' |o|)          times r_t, 0 above 1 + clip, with loss=clip
 *
 * Paper and code: versions 1 to 4 are the defaults; the revision SCOPE-RL is regulation=linear,
 * loss=clip, share=0.015625.  The released code replaces the first 60 rows of the batch, half of
 * them at the low temperature, by rows whose advantage among the new answers exceeds 0.05
 * (positive=advantage); its H is the last step's mean of -logp, 0 at first (monitor=released). Wang
 * et al. 2025, AEPO, arXiv 2510.08141. */
#include "asking.h"
#include "clipped.h"
#include "tokens.h"

#include "carnot/select.h"

enum { REGULATION_SWITCH, REGULATION_LINEAR };
enum { LOSS_REINFORCE, LOSS_CLIP };
enum { POSITIVE_SCORE, POSITIVE_ADVANTAGE };
enum { MONITOR_ENTROPY, MONITOR_RELEASED };

struct aepo_settings {
    double coefficient, target, high, low, share, clip;
    int regulation, loss, positive, monitor;
};

struct aepo_state {
    double seen; /* monitor=released: mean of -logp over the last rollout */
};

static const struct cn_option options[] = {
    {TOKENS_REAL(aepo_settings, coefficient, 0, 1e6), .fallback = "0.015625",
     .help = "weight of the imitation"},
    {TOKENS_REAL(aepo_settings, target, 0, 1e6), .fallback = "0.5", .unit = "nats",
     .help = "entropy that is held"},
    {TOKENS_REAL(aepo_settings, high, 1, 100), .fallback = "1.2",
     .help = "temperature below the target, relative to the main answers'"},
    {TOKENS_REAL(aepo_settings, low, 0.01, 1), .fallback = "0.8", .help = "above the target"},
    {TOKENS_REAL(aepo_settings, share, 0, 1), .fallback = "0.25",
     .help = "share of the groups that get further answers, at least one group"},
    {TOKENS_REAL(aepo_settings, clip, 0, 1e6), .fallback = "0.2", .unit = "ratio",
     .help = "upper clip of the ratio with loss=clip"},
    {TOKENS_CHOICE(aepo_settings, regulation, "switch linear"), .fallback = "\"switch\"",
     .help = "two temperatures, or one that follows the distance to the target"},
    {TOKENS_CHOICE(aepo_settings, loss, "reinforce clip"), .fallback = "\"reinforce\"",
     .help = "log-probability, or the clipped ratio"},
    {TOKENS_CHOICE(aepo_settings, positive, "score advantage"), .fallback = "\"score\"",
     .help = "answers of score 1, or, as the released code, above their group's mean"},
    {TOKENS_CHOICE(aepo_settings, monitor, "entropy released"), .fallback = "\"entropy\"",
     .help = "entropy of this rollout, or the released code's: last rollout's mean of -logp"},
    {0}};

/* Means of the sampler's entropy (main answers) and of -logp (all) over the policy's tokens. */
static enum cn_status measure(const struct cn_context *context, const struct cn_batch *batch,
                              double *entropy, double *surprise)
{
    struct cn_sum sums[2] = {{.count = 0}};
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (batch->role[t] != CN_ROLE_POLICY) continue;
            if (batch->part[s] == CN_PART_MAIN) cn_sum_add(&sums[0], batch->entropy_sampled[t]);
            cn_sum_add(&sums[1], -batch->logp_sampled[t]);
        }
    CN_TRY(context->ranks->sum(context->ranks->self, sums, 2));
    *entropy = cn_sum_mean(&sums[0]);
    *surprise = cn_sum_mean(&sums[1]);
    return CN_OK;
}

static double temperature_of(const struct aepo_settings *s, double entropy)
{
    if (s->regulation == REGULATION_LINEAR)
        return fmin(fmax(1 + s->target - entropy, s->low), s->high);
    return entropy < s->target ? s->high : s->low;
}

/* Asks for answers to groups that are chosen by lot. */
static enum cn_status ask(const struct cn_context *context, const struct asking *asking,
                          double temperature, struct cn_requests *out)
{
    const struct aepo_settings *settings = context->settings;
    double *lot;
    uint8_t *chosen;
    double groups = 0;
    size_t size;
    CN_TRY(CN_NEW(context->scratch, asking->n, &lot));
    CN_TRY(CN_NEW(context->scratch, asking->n, &chosen));
    for (size_t i = 0; i < asking->n; i++) {
        struct cn_rng rng;
        if (!asking_first(asking, i, &size)) continue;
        cn_rng_open(&rng, context->rng, (uint64_t)asking->prompt[i], (uint32_t)asking->group[i], 0);
        lot[i] = cn_rng_uniform(&rng);
        groups++;
    }
    const size_t k = quota_of(&(struct quota){settings->share, 1, ROUNDING_NEAREST}, groups);
    CN_TRY(cn_select_largest(lot, asking->n, k, NULL, context->scratch, chosen));
    for (size_t i = 0; i < asking->n; i++) {
        if (!chosen[i] || !asking_first(asking, i, &size)) continue;
        for (uint32_t sample = 0; sample < (uint32_t)size; sample++) {
            const struct cn_request request = {.prompt = (uint64_t)asking->prompt[i],
                                               .sample = (uint32_t)size + sample,
                                               .parent = -1,
                                               .temperature = (float)temperature,
                                               .part = CN_PART_AUXILIARY};
            CN_TRY(cn_requests_add(out, request));
        }
    }
    return CN_OK;
}

static enum cn_status plan(const struct cn_context *context, uint32_t round,
                           struct cn_batch *so_far, struct cn_requests *out)
{
    const struct aepo_settings *settings = context->settings;
    const struct aepo_state *state = context->state;
    double entropy, surprise;
    struct asking asking;
    if (round != 1) return CN_OK;
    CN_TRY(measure(context, so_far, &entropy, &surprise));
    if (settings->monitor == MONITOR_RELEASED) entropy = state->seen;
    const double factor = temperature_of(settings, entropy);
    CN_TRY(asking_gather(context, so_far, NULL, &asking));
    CN_TRY(cn_metrics_set(context->metrics, "entropy/aepo/temperature", factor));
    CN_TRY(tokens_control(context, "aepo", settings->coefficient, settings->target, entropy));
    return ask(context, &asking, so_far->n_sequences ? factor * so_far->temperature[0] : 1, out);
}

/* Of the auxiliary part, right answers get advantage 1, others 0. */
static enum cn_status shape(const struct cn_context *context, struct cn_batch *batch)
{
    const struct aepo_settings *settings = context->settings;
    struct aepo_state *state = context->state;
    double entropy;
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (batch->part[s] != CN_PART_AUXILIARY || !cn_batch_trained(batch, s, t)) continue;
            const bool right = settings->positive == POSITIVE_SCORE ? batch->score[s] >= 1
                                                                    : batch->advantage[t] > 0.05;
            batch->advantage[t] = right;
        }
    return measure(context, batch, &entropy, &state->seen);
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    struct token_report report = {{.count = 0}, {.count = 0}};
    (void)live;
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const bool own = batch->part[s] == CN_PART_AUXILIARY;
            token_touch(context, batch, t, !own, own && batch->advantage[t] > 0, &report);
        }
    return token_report_write(context, "aepo", &report);
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct aepo_settings *settings = context->settings;
    const struct clipped upper = {0, 1 + settings->clip, NAN};
    const double weight = settings->coefficient / context->counts[CN_PART_AUXILIARY].sequences;
    for (size_t s = atom.begin; s < atom.end; s++) {
        double length = 0;
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            length += cn_batch_trained(batch, s, t);
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t) || !(batch->touched[t] & context->bit)) continue;
            const double w = weight / length, logp = live->logp[t];
            struct clipped_slope slope = {-logp, -1};
            if (settings->loss == LOSS_CLIP)
                slope = clipped_eval(&upper, 1, logp - batch->logp_old[t]);
            grad->loss += w * slope.loss;
            grad->d_logp[t] += w * slope.d_u;
        }
    }
    return CN_OK;
}

const struct cn_entropy cn_entropy_aepo = {
    .name = "aepo",
    .summary = "imitates right answers of another temperature, so that the entropy meets a target",
    .reference = "Wang et al. 2025, arXiv 2510.08141",
    .needs = CN_NEEDS(score) | CN_NEEDS(entropy_sampled) | CN_NEEDS(logp_sampled),
    .options = options,
    .settings_size = sizeof(struct aepo_settings),
    .state_size = sizeof(struct aepo_state),
    .hooks = {.plan = plan, .shape = shape, .prepare = prepare, .loss = loss},
};
