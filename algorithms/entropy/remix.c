/* ReMix: some updates go over answers of recent policies, held near the base and the last policy.
 *
 *     with probability `share` an optimizer step before step T trains on a rollout i steps old,
 *     i drawn from 1..window, instead of the fresh one
 *     stale     L = -min(r A, clip(r, rho - clip, rho + clip) A)
 *               r = pi / pi_i,  rho = pi_old / pi_i: the bounds move with the present policy
 *     KLC      += kl [ lambda k3(pi || base) + (1 - lambda) k3(pi || last) ]     on what is trained
 *     entropy  -= bonus mean H
 *     lambda    = max(1 - 0.1 ceil(max(step - 50, 0) / 10), 0.5)
 *     at T      base := pi, and no stale answers any more
 *
 * The fresh part is the algorithm's loss; stale answers are of the part replay, with the advantage
 * among their own group, and are taken over: their weight is 0.  The choice of an optimizer step is
 * by parts: the other part has weight 0 in it.  pi_i is what the answer's sampler saw.  Further
 * passes over a rollout (the paper's two) are train.epochs, which does not end at T.
 *
 * There is no released code; clip, kl and bonus are not in what is published: PPO's 0.2 and 0.001.
 * The paper leaves open how i is drawn (here evenly) and whether the choice is per answer or per
 * batch (here per batch).  ReMix 2025, arXiv 2507.06892. */
#include "clipped.h"
#include "tokens.h"

struct remix_settings {
    double share, clip, kl, bonus;
    int64_t window, steps;
};

struct remix_state {
    uint8_t part; /* trained by this optimizer step */
    bool renewed;
};

static const struct cn_option options[] = {
    {TOKENS_REAL(remix_settings, share, 0, 1), .fallback = "0.4",
     .help = "probability that an optimizer step trains on stale answers"},
    {.name = "window",
     .kind = CN_OPTION_INT,
     .minimum = 1,
     .maximum = 64,
     .offset = offsetof(struct remix_settings, window),
     .fallback = "2",
     .unit = "rollouts",
     .help = "how old stale answers may be"},
    {.name = "steps",
     .kind = CN_OPTION_INT,
     .minimum = 0,
     .maximum = 1e9,
     .offset = offsetof(struct remix_settings, steps),
     .fallback = "50",
     .unit = "rollouts",
     .help = "T: then the base becomes the present policy, and only fresh answers are trained"},
    {TOKENS_REAL(remix_settings, clip, 0, 1e6), .fallback = "0.2", .unit = "ratio",
     .help = "clip of stale answers around the present policy's ratio"},
    {TOKENS_REAL(remix_settings, kl, 0, 1e6), .fallback = "0.001", .unit = "reward per nat",
     .help = "weight of the distance to the base and to the last policy"},
    {TOKENS_REAL(remix_settings, bonus, 0, 1e6), .fallback = "0.001", .unit = "reward per nat",
     .help = "weight of the entropy"},
    {0}};

static size_t depth(const void *settings)
{
    return (size_t)((const struct remix_settings *)settings)->window;
}

static bool mixing(const struct cn_context *context)
{
    const struct remix_settings *settings = context->settings;
    return context->step < (uint64_t)settings->steps;
}

static enum cn_status plan(const struct cn_context *context, uint32_t round,
                           struct cn_batch *so_far, struct cn_requests *out)
{
    const struct remix_settings *settings = context->settings;
    struct cn_rng rng;
    (void)so_far;
    if (round != 1 || !mixing(context) || settings->share == 0) return CN_OK;
    cn_rng_open(&rng, context->rng, 0, 0, 0);
    const struct cn_request request = {.parent = -1,
                                       .part = CN_PART_REPLAY,
                                       .age = 1 + cn_rng_below(&rng, (uint32_t)settings->window)};
    return cn_requests_add(out, request);
}

/* Which part this optimizer step trains: by lot, if it has tokens of both. */
static uint8_t choose(const struct cn_context *context)
{
    const struct remix_settings *settings = context->settings;
    struct cn_rng rng;
    if (context->counts[CN_PART_REPLAY].tokens == 0) return CN_PART_MAIN;
    if (context->counts[CN_PART_MAIN].tokens == 0) return CN_PART_REPLAY;
    cn_rng_open(&rng, context->rng, 1, (uint32_t)context->update, 0);
    return cn_rng_uniform(&rng) < settings->share ? CN_PART_REPLAY : CN_PART_MAIN;
}

static double lambda_of(uint64_t step)
{
    const double past = fmax((double)step - 50, 0);
    return fmax(1 - 0.1 * ceil(past / 10), 0.5);
}

static enum cn_status prepare(const struct cn_context *context, struct cn_batch *batch,
                              struct cn_span span, const struct cn_live *live)
{
    const struct remix_settings *settings = context->settings;
    struct remix_state *state = context->state;
    struct token_report report = {{.count = 0}, {.count = 0}};
    (void)live;
    state->part = choose(context);
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const bool kept = batch->part[s] != CN_PART_REPLAY && state->part == CN_PART_MAIN;
            token_touch(context, batch, t, kept, batch->part[s] == state->part, &report);
        }
    CN_TRY(cn_metrics_mean(context->metrics, "entropy/remix/stale_frac",
                           state->part == CN_PART_REPLAY));
    CN_TRY(tokens_control(context, "remix", settings->kl, lambda_of(context->step), NAN));
    return token_report_write(context, "remix", &report);
}

/* The clipped loss of a stale token. */
static struct clipped_slope stale(const struct remix_settings *settings,
                                  const struct cn_batch *batch, size_t t, double logp)
{
    const double rho = exp(fmax(-20, fmin(20, batch->logp_old[t] - batch->logp_sampled[t])));
    const struct clipped bounds = {fmax(0, rho - settings->clip), rho + settings->clip, NAN};
    return clipped_eval(&bounds, batch->advantage[t], logp - batch->logp_sampled[t]);
}

static enum cn_status loss(const struct cn_context *context, const struct cn_batch *batch,
                           struct cn_span atom, const struct cn_live *live,
                           struct cn_token_grad *grad)
{
    const struct remix_settings *settings = context->settings;
    const double lambda = lambda_of(context->step);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t) || !(batch->touched[t] & context->bit)) continue;
            const double c = context->coefficient[t], logp = live->logp[t];
            const struct clipped_slope base = k3_eval(logp, batch->logp_ref[t]);
            const struct clipped_slope last = k3_eval(logp, batch->logp_anchor[t]);
            struct clipped_slope sum = {
                settings->kl * (lambda * base.loss + (1 - lambda) * last.loss),
                settings->kl * (lambda * base.d_u + (1 - lambda) * last.d_u)};
            if (batch->part[s] == CN_PART_REPLAY) {
                const struct clipped_slope policy = stale(settings, batch, t, logp);
                sum.loss += policy.loss;
                sum.d_u += policy.d_u;
            }
            grad->loss += c * (sum.loss - settings->bonus * live->entropy[t]);
            grad->d_logp[t] += c * sum.d_u;
            grad->d_entropy[t] -= c * settings->bonus;
        }
    return CN_OK;
}

/* Reincarnation: after the updates of step T the base is the present policy. */
static enum cn_status adapt(const struct cn_context *context, const struct cn_step_summary *summary)
{
    const struct remix_settings *settings = context->settings;
    if (context->step == (uint64_t)settings->steps && summary->renew_reference)
        *summary->renew_reference = true;
    return CN_OK;
}

/* The loss reads live values, prepare none. */
static bool reads_live(const void *settings)
{
    (void)settings;
    return false;
}

const struct cn_entropy cn_entropy_remix = {
    .name = "remix",
    .summary = "some updates train on recent policies' answers, near the base and the last policy",
    .reference = "ReMix 2025, arXiv 2507.06892",
    .needs =
        CN_NEEDS(logp_old) | CN_NEEDS(logp_sampled) | CN_NEEDS(logp_ref) | CN_NEEDS(logp_anchor),
    .needs_live = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy),
    .options = options,
    .settings_size = sizeof(struct remix_settings),
    .state_size = sizeof(struct remix_state),
    .prepare_live = reads_live,
    .replay_depth = depth,
    .hooks = {.plan = plan, .prepare = prepare, .loss = loss, .adapt = adapt},
};
