/* The one loop that composes the axes and entropy methods into a loss and its gradient per token.
 *
 *     for t: (l, k) = surrogate(u_t, A_t);  q = c_t w_t h_t;  L += q l;  d_u = q k
 *     ratio.back(d_u) -> d_logp;  then KL, critic and entropy methods add their terms
 *
 * with aggregation coefficient c, off-policy correction w and entropy weight h.  Coefficients are
 * of the whole optimizer step, so atoms and ranks just add up.  What stands at untrained tokens is
 * never read: it may be NaN. */
#include "loss.h"

#include "chosen.h"

#include <math.h>
#include <string.h>

/* ---- loss and gradient of an atom ---------------------------------------- */

/* Work arrays of an atom, indexed like the batch; only the atom's part is used. */
struct work {
    double *u, *u_frozen, *coefficient, *d_u;
};

/* Numbers of the trained main tokens of an atom. */
struct tally {
    double tokens, low, high, dual, active; /* counts */
    struct cn_sum k3, entropy, reference;
    double ratio_max;
};

static enum cn_status not_finite(const struct cn_batch *batch, size_t s, size_t t, const char *what,
                                 double value)
{
    return cn_fail(CN_ERR_NUMERIC,
                   "sequence %zu (prompt %llu, sample %u), token %zu of %zu: %s is %g", s,
                   (unsigned long long)batch->prompt[s], batch->sample[s], t - batch->seq_start[s],
                   batch->seq_start[s + 1] - batch->seq_start[s], what, value);
}

static enum cn_status check_live(const struct cn_loss_call *call, const struct cn_batch *batch,
                                 struct cn_span atom, const struct cn_live *live)
{
    const double *channels[CN_CHANNEL_COUNT] = {
#define X(name, text) [CN_CHANNEL_##name] = live->name,
        CN_LIVE(X)
#undef X
    };
    const uint32_t needs = call->recipe->needs_live | CN_LIVE_BIT(logp);
    const bool old = call->recipe->axis[CN_AXIS_ratio].plugin->needs & CN_NEEDS(logp_old);
    for (int c = 0; c < CN_CHANNEL_COUNT; c++)
        if (needs & 1u << c && !channels[c])
            return cn_fail(CN_ERR_BUG, "the model gave no channel %s, which the loss reads",
                           cn_channel_name[c]);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            for (int c = 0; c < CN_CHANNEL_COUNT; c++)
                if (needs & 1u << c && !isfinite(channels[c][t]))
                    return not_finite(batch, s, t, cn_channel_name[c], channels[c][t]);
            if (!isfinite(batch->advantage[t]))
                return not_finite(batch, s, t, "advantage", batch->advantage[t]);
            if (old && !isfinite(batch->logp_old[t]))
                return not_finite(batch, s, t, "logp_old", batch->logp_old[t]);
        }
    return CN_OK;
}

static enum cn_status open_work(const struct cn_loss_call *call, const struct cn_batch *batch,
                                struct work *work)
{
    double **const arrays[] = {&work->u, &work->u_frozen, &work->coefficient, &work->d_u};
    for (size_t i = 0; i < sizeof arrays / sizeof *arrays; i++)
        CN_TRY(cn_arena_alloc_raw(call->scratch, batch->n_tokens, sizeof(double), arrays[i]));
    return CN_OK;
}

static void zero_gradients(const struct cn_batch *batch, struct cn_span atom,
                           struct cn_token_grad *grad)
{
    size_t begin = batch->seq_start[atom.begin];
    size_t bytes = (batch->seq_start[atom.end] - begin) * sizeof(double);
#define X(name, text)                                                                              \
    if (grad->d_##name) memset(grad->d_##name + begin, 0, bytes);
    CN_LIVE(X)
#undef X
}

static void tally_token(struct tally *tally, const struct cn_slope *slope, double x)
{
    tally->tokens++;
    tally->low += slope->clipped == -1;
    tally->high += slope->clipped == 1;
    tally->dual += slope->clipped == 2;
    if (!isfinite(x)) return; /* no old policy was given */
    double bounded = fmax(-20, fmin(20, x));
    cn_sum_add(&tally->k3, expm1(bounded) - bounded);
    tally->ratio_max = fmax(tally->ratio_max, exp(bounded));
}

enum cn_status loss_stopped(const struct cn_loss_call *call, const struct cn_batch *batch,
                            struct cn_span span, const struct cn_live *live,
                            const uint8_t **stopped)
{
    const struct cn_chosen *chosen = &call->recipe->axis[CN_AXIS_surrogate];
    const struct cn_surrogate *surrogate =
        CHOSEN_ENTRY(cn_surrogate, call->recipe, CN_AXIS_surrogate);
    const struct cn_ratio *ratio = CHOSEN_ENTRY(cn_ratio, call->recipe, CN_AXIS_ratio);
    const struct cn_context context = chosen_axis_context(call, CN_AXIS_ratio, live);
    uint8_t *out;
    double *u;
    CN_TRY(CN_NEW(call->scratch, batch->n_tokens, &out));
    struct cn_arena_mark mark = cn_arena_mark(call->scratch);
    CN_TRY(cn_arena_alloc_raw(call->scratch, batch->n_tokens, sizeof *u, &u));
    ratio->forward(&context, batch, span, live, u);
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            const struct cn_point point = {u[t], u[t], batch->advantage[t], live->logp[t],
                                           batch->logp_old[t]};
            const struct cn_slope slope = surrogate->eval(chosen->settings, &point);
            out[t] = slope.clipped != 0 && slope.d_u == 0;
        }
    cn_arena_release(call->scratch, mark);
    *stopped = out;
    return CN_OK;
}

/* What the terms of one atom's loss read, and where they add. */
struct terms {
    const struct cn_batch *batch;
    struct cn_span atom;
    const struct cn_live *live;
    const struct work *work;
    struct cn_token_grad *grad;
};

/* The policy term: surrogate, weights, and the way back through the ratio. */
static void policy_term(const struct cn_loss_call *call, const struct terms *terms,
                        struct tally *tally)
{
    const struct cn_batch *batch = terms->batch;
    const struct cn_live *live = terms->live;
    const struct cn_span atom = terms->atom;
    const struct work *work = terms->work;
    struct cn_token_grad *grad = terms->grad;
    const struct cn_recipe *recipe = call->recipe;
    const struct cn_surrogate *surrogate = CHOSEN_ENTRY(cn_surrogate, recipe, CN_AXIS_surrogate);
    const struct cn_ratio *ratio = CHOSEN_ENTRY(cn_ratio, recipe, CN_AXIS_ratio);
    const void *settings = recipe->axis[CN_AXIS_surrogate].settings;
    struct cn_context context = chosen_axis_context(call, CN_AXIS_ratio, live);
    ratio->forward(&context, batch, atom, live, work->u);
    ratio->forward(&context, batch, atom, context.frozen, work->u_frozen);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            work->d_u[t] = 0;
            if (!cn_batch_trained(batch, s, t)) continue;
            const struct cn_point point = {work->u[t], work->u_frozen[t], batch->advantage[t],
                                           context.frozen->logp[t], batch->logp_old[t]};
            const struct cn_slope slope = surrogate->eval(settings, &point);
            const double q = work->coefficient[t] * batch->correction[t] * batch->weight[t];
            grad->loss += q * slope.loss;
            work->d_u[t] = q * slope.d_u;
            if (batch->part[s] == CN_PART_MAIN)
                tally_token(tally, &slope, live->logp[t] - batch->logp_old[t]);
        }
    ratio->back(&context, batch, atom, live, work->d_u, grad->d_logp);
}

static enum cn_status other_terms(const struct cn_loss_call *call, const struct terms *terms)
{
    const struct cn_batch *batch = terms->batch;
    const struct cn_live *live = terms->live;
    const struct cn_span atom = terms->atom;
    const double *coefficient = terms->work->coefficient;
    struct cn_token_grad *grad = terms->grad;
    const struct cn_kl *kl = CHOSEN_ENTRY(cn_kl, call->recipe, CN_AXIS_kl);
    const struct cn_critic *critic = CHOSEN_ENTRY(cn_critic, call->recipe, CN_AXIS_critic);
    struct cn_context context = chosen_axis_context(call, CN_AXIS_kl, live);
    if (kl->add) CN_TRY(kl->add(&context, batch, atom, live, coefficient, grad));
    context = chosen_axis_context(call, CN_AXIS_critic, live);
    if (critic->add) CN_TRY(critic->add(&context, batch, atom, live, coefficient, grad));
    for (size_t i = 0; i < chosen_count(call->recipe); i++) {
        struct chosen_item item = chosen_at(call->recipe, i);
        if (!item.chosen->plugin->hooks.loss || item.shadow) continue;
        struct cn_arena_mark mark = cn_arena_mark(call->scratch);
        context = chosen_context(call, &item, live);
        context.coefficient = coefficient;
        CN_TRY(item.chosen->plugin->hooks.loss(&context, batch, atom, live, grad));
        cn_arena_release(call->scratch, mark);
    }
    return CN_OK;
}

static void tally_result(const struct cn_batch *batch, struct cn_span atom,
                         const struct cn_live *live, const struct cn_token_grad *grad,
                         struct tally *tally)
{
    const bool reference = batch->written & CN_NEEDS(logp_ref);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t) || batch->part[s] != CN_PART_MAIN) continue;
            tally->active += grad->d_logp[t] != 0;
            if (live->entropy) cn_sum_add(&tally->entropy, live->entropy[t]);
            if (!reference) continue;
            double d = fmax(-20, fmin(20, live->logp[t] - batch->logp_ref[t]));
            cn_sum_add(&tally->reference, expm1(-d) + d);
        }
}

static enum cn_status check_gradients(const struct cn_batch *batch, struct cn_span atom,
                                      const struct cn_token_grad *grad)
{
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
#define X(name, text)                                                                              \
    if (grad->d_##name && !isfinite(grad->d_##name[t]))                                            \
        return not_finite(batch, s, t, "the gradient of " #name, grad->d_##name[t]);
            CN_LIVE(X)
#undef X
        }
    if (!isfinite(grad->loss))
        return cn_fail(CN_ERR_NUMERIC, "the loss of sequences %zu to %zu is %g", atom.begin,
                       atom.end, grad->loss);
    return CN_OK;
}

/* A mean of `tokens` zeros and ones of which `part` are ones. */
static enum cn_status share(struct cn_metrics *metrics, const char *name, double part,
                            double tokens)
{
    struct cn_sum sum = {0};
    cn_sum_add(&sum, part);
    sum.count = (int64_t)tokens;
    return cn_metrics_merge(metrics, name, &sum);
}

static enum cn_status write_metrics(struct cn_metrics *metrics, const struct tally *tally)
{
    CN_TRY(share(metrics, "policy/clip_frac_low", tally->low, tally->tokens));
    CN_TRY(share(metrics, "policy/clip_frac_high", tally->high, tally->tokens));
    CN_TRY(share(metrics, "policy/clip_frac_dual", tally->dual, tally->tokens));
    CN_TRY(share(metrics, "policy/active_frac", tally->active, tally->tokens));
    if (tally->k3.count) {
        CN_TRY(cn_metrics_merge(metrics, "policy/approx_kl", &tally->k3));
        CN_TRY(cn_metrics_max(metrics, "policy/ratio_max", tally->ratio_max));
    }
    if (tally->entropy.count) CN_TRY(cn_metrics_merge(metrics, "policy/entropy", &tally->entropy));
    if (tally->reference.count)
        CN_TRY(cn_metrics_merge(metrics, "policy/kl_ref", &tally->reference));
    return CN_OK;
}

enum cn_status cn_loss_atom(const struct cn_loss_call *call, const struct cn_batch *batch,
                            struct cn_span atom, const struct cn_live *live,
                            struct cn_token_grad *grad)
{
    const struct cn_aggregation *aggregation =
        CHOSEN_ENTRY(cn_aggregation, call->recipe, CN_AXIS_aggregation);
    struct cn_context context = chosen_axis_context(call, CN_AXIS_aggregation, live);
    struct cn_arena_mark mark = cn_arena_mark(call->scratch);
    struct work work;
    struct tally tally = {.ratio_max = 0};
    CN_TRY(cn_batch_require(
        batch, CN_NEEDS(advantage) | CN_NEEDS(correction) | CN_NEEDS(weight) | call->recipe->needs,
        "the loss"));
    CN_TRY(check_live(call, batch, atom, live));
    CN_TRY(open_work(call, batch, &work));
    zero_gradients(batch, atom, grad);
    aggregation->fill(&context, batch, atom, work.coefficient);
    const struct terms terms = {batch, atom, live, &work, grad};
    policy_term(call, &terms, &tally);
    CN_TRY(other_terms(call, &terms));
    CN_TRY(check_gradients(batch, atom, grad));
    tally_result(batch, atom, live, grad, &tally);
    cn_arena_release(call->scratch, mark);
    return write_metrics(call->metrics, &tally);
}
