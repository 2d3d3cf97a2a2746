/* Update: prepare; per atom forward, loss gradient, backward; optimizer. */
#include "update.h"

#include "carnot/log.h"
#include "clock.h"
#include "ranks/share.h"

#include <math.h>
#include <string.h>

enum cn_status update_live(const struct cn_batch *batch, uint32_t channels, struct cn_arena *arena,
                           struct cn_live_out *out, struct cn_live *view)
{
    memset(out, 0, sizeof *out);
    memset(view, 0, sizeof *view);
#define X(name, text)                                                                              \
    if (channels & CN_LIVE_BIT(name)) CN_TRY(CN_NEW(arena, batch->n_tokens, &out->name));          \
    view->name = out->name;
    CN_LIVE(X)
#undef X
    return CN_OK;
}

static double training_temperature(const struct settings *settings)
{
    return isnan(settings->train.temperature) ? settings->rollout.temperature
                                              : settings->train.temperature;
}

static struct cn_atom atom_of(const struct update *u, const struct cn_batch *batch,
                              struct cn_span span, uint32_t channels)
{
    struct cn_atom atom = {.batch = batch,
                           .span = span,
                           .temperature = training_temperature(u->settings),
                           .top = u->recipe->top,
                           .channels = channels};
    return atom;
}

/* A forward-only pass: of which weights, over what, into which arrays. */
struct score {
    struct cn_model *model;
    int copy; /* frozen copy, or -1: the live weights */
    struct cn_span span;
    const struct cn_live_out *out;
};

static enum cn_status score_pass(struct update *u, const struct cn_batch *batch,
                                 const struct score *score, struct cn_arena *arena)
{
    const struct cn_live_out *out = score->out;
    struct cn_spans atoms;
    struct share_atoms share;
    uint32_t channels = 0;
#define X(name, text) channels |= out->name ? CN_LIVE_BIT(name) : 0u;
    CN_LIVE(X)
#undef X
    CN_TRY(
        update_atoms(batch, score->span, (size_t)u->settings->update.atom_tokens, arena, &atoms));
    CN_TRY(share_atoms(u->comm, batch, &atoms, arena, &share));
    for (size_t a = 0; a < share.own.count; a++) {
        const struct cn_atom atom = atom_of(u, batch, share.own.item[a], channels);
        CN_TRY(cn_model_score(score->model, score->copy, &atom, out));
    }
#define X(name, text) CN_TRY(share_column(u->comm, &share, out->name));
    CN_LIVE(X)
#undef X
    return CN_OK;
}

static bool has_channels(const struct cn_live_out *out)
{
    bool any = false;
#define X(name, text) any = any || out->name;
    CN_LIVE(X)
#undef X
    return any;
}

/* A pass over the live weights; values come from whoever gives them. */
static enum cn_status score_live(struct update *u, const struct cn_batch *batch,
                                 struct cn_span span, const struct cn_live_out *out,
                                 struct cn_arena *arena)
{
    const struct cn_live_out values = {.value = out->value};
    struct cn_live_out own = *out;
    if (u->critic) own.value = NULL;
    const struct score policy = {u->model, -1, span, &own}, critic = {u->critic, -1, span, &values};
    if (has_channels(&own)) CN_TRY(score_pass(u, batch, &policy, arena));
    return u->critic && values.value ? score_pass(u, batch, &critic, arena) : CN_OK;
}

enum cn_status update_score(struct update *u, struct cn_batch *batch, struct cn_arena *arena)
{
    const struct cn_span all = cn_batch_all(batch);
    const bool several = u->settings->train.mini_batches * u->settings->train.epochs > 1;
    const cn_columns needs = u->recipe->needs;
    if (u->recipe->anchor_sampled) {
        memcpy(batch->logp_old, batch->logp_sampled, batch->n_tokens * sizeof(double));
        batch->written |= CN_NEEDS(logp_old);
    }
    const bool entropy = needs & CN_NEEDS(entropy_old) || u->recipe->prepare_live;
    const bool logp =
        !u->recipe->anchor_sampled && (several || entropy || needs & CN_NEEDS(logp_old));
    const bool value = needs & CN_NEEDS(value_old);
    const bool top = u->recipe->prepare_live && u->recipe->needs_live & CN_LIVE_BIT(entropy_top);
    const struct cn_live_out live = {.logp = logp ? batch->logp_old : NULL,
                                     .entropy = entropy ? batch->entropy_old : NULL,
                                     .entropy_top = top ? batch->entropy_top_old : NULL,
                                     .value = value ? batch->value_old : NULL};
    CN_TRY(score_live(u, batch, all, &live, arena));
    batch->written |= (logp ? CN_NEEDS(logp_old) : 0) | (entropy ? CN_NEEDS(entropy_old) : 0) |
                      (top ? CN_NEEDS(entropy_top_old) : 0) | (value ? CN_NEEDS(value_old) : 0);
    if (needs & CN_NEEDS(logp_ref)) {
        CN_BUG_IF(u->reference < 0);
        struct cn_live_out out = {.logp = batch->logp_ref};
        const struct score score = {u->model, u->reference, all, &out};
        CN_TRY(score_pass(u, batch, &score, arena));
        batch->written |= CN_NEEDS(logp_ref);
    }
    if (needs & CN_NEEDS(logp_anchor)) {
        struct cn_live_out out = {.logp = batch->logp_anchor};
        const struct score score = {u->model, u->last, all, &out};
        CN_TRY(score_pass(u, batch, &score, arena));
        CN_TRY(cn_model_freeze(u->model, NULL, &u->last));
        batch->written |= CN_NEEDS(logp_anchor);
    }
    return CN_OK;
}

/* Live values of a whole optimizer step for prepare hooks: the scored columns at a rollout's first
 * update (the weights have not moved), a forward-only pass later, or where logp_old is not theirs.
 */
static enum cn_status whole_step(struct update *u, const struct cn_loss_call *call,
                                 struct cn_batch *batch, struct cn_span span, struct cn_live *view)
{
    struct cn_live_out out;
    if (call->update == 0 && !u->recipe->anchor_sampled) {
        memset(view, 0, sizeof *view);
        view->logp = batch->logp_old;
        view->entropy = batch->entropy_old;
        view->entropy_top =
            batch->written & CN_NEEDS(entropy_top_old) ? batch->entropy_top_old : NULL;
        view->value = batch->written & CN_NEEDS(value_old) ? batch->value_old : NULL;
        return CN_OK;
    }
    CN_TRY(update_live(batch, u->recipe->needs_live, call->scratch, &out, view));
    return score_live(u, batch, span, &out, call->scratch);
}

/* The planted fault: what every framework without global counts does. */
static enum cn_status local_counts(const struct update *u, const struct cn_loss_call *call,
                                   const struct cn_batch *batch, const struct cn_spans *atoms,
                                   struct cn_counts counts[CN_PART_COUNT])
{
    struct share_atoms share;
    const struct cn_span span = counts[CN_PART_MAIN].span;
    CN_TRY(share_atoms(u->comm, batch, atoms, call->scratch, &share));
    if (!share.own.count) return CN_OK;
    const struct cn_span own = {share.own.item[0].begin, share.own.item[share.own.count - 1].end};
    CN_TRY(cn_loss_count(batch, own, counts[CN_PART_MAIN].length_max, call->ranks, call->scratch,
                         counts));
    for (int p = 0; p < CN_PART_COUNT; p++) {
        counts[p].span = span;
        counts[p].tokens *= cn_comm_size(u->comm);
    }
    return CN_OK;
}

/* Buffers of one optimizer step, over the whole batch. */
struct buffers {
    struct cn_live_out out;
    struct cn_live live;
    struct cn_token_grad grad; /* of the atom under way */
    struct cn_sum loss;
    double lost; /* 1: an atom was not finite */
    bool last;   /* the atom under way is this rank's last */
};

static enum cn_status open_buffers(const struct update *u, const struct cn_batch *batch,
                                   struct cn_arena *arena, struct buffers *b)
{
    struct cn_live_out d;
    struct cn_live unused;
    memset(b, 0, sizeof *b);
    /* The entropy channel costs nothing beside the log-probability and is always reported. */
    uint32_t channels = u->recipe->needs_live | CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy);
    CN_TRY(update_live(batch, channels, arena, &b->out, &b->live));
    CN_TRY(update_live(batch, channels, arena, &d, &unused));
#define X(name, text) b->grad.d_##name = d.name;
    CN_LIVE(X)
#undef X
    return CN_OK;
}

/* Without a scoring pass the live forward of the first update is the old policy. */
static void fill_old(struct cn_batch *batch, struct cn_span atom, const struct cn_live *live)
{
    for (size_t t = batch->seq_start[atom.begin]; t < batch->seq_start[atom.end]; t++) {
        batch->logp_old[t] = live->logp[t];
        batch->entropy_old[t] = live->entropy[t];
    }
}

/* Whether only the value function learns in the optimizer step at hand. */
static bool warming(const struct update *u)
{
    return u->optimizer_steps < u->recipe->critic_warmup;
}

/* The sums of what learns from an atom; NULL: it does not. */
static struct gradient_sum *policy_sum(const struct update *u)
{
    return u->critic && warming(u) ? NULL : u->sum;
}

static struct gradient_sum *critic_sum(const struct update *u)
{
    return u->critic ? u->critic_sum : NULL;
}

static enum cn_status forward(struct update *u, struct cn_atom atom, const struct cn_live_out *out)
{
    const struct cn_live_out values = {.value = out->value};
    struct cn_live_out own = *out;
    if (!u->critic) return cn_model_forward(u->model, &atom, out);
    own.value = NULL;
    atom.channels &= ~CN_LIVE_BIT(value);
    CN_TRY(cn_model_forward(u->model, &atom, &own));
    atom.channels = CN_LIVE_BIT(value);
    return cn_model_forward(u->critic, &atom, &values);
}

static enum cn_status backward_of(struct cn_model *model, struct gradient_sum *sum,
                                  const struct cn_token_grad *grad, bool last)
{
    if (!sum) return CN_OK;
    CN_TRY(cn_model_backward_ready(model, grad, last ? gradient_sum_ready(sum) : NULL));
    return gradient_sum_add(sum);
}

/* last: of this rank's atoms. */
static enum cn_status backward(struct update *u, const struct cn_token_grad *grad, bool last)
{
    CN_TRY(backward_of(u->model, policy_sum(u), grad, last));
    return backward_of(u->critic, critic_sum(u), grad, last);
}

/* Ends the sums; not wanted: the step is lost. */
static enum cn_status end_sums(struct update *u, bool wanted)
{
    if (policy_sum(u)) CN_TRY(gradient_sum_end(u->sum, wanted));
    return critic_sum(u) ? gradient_sum_end(u->critic_sum, wanted) : CN_OK;
}

/* Forward and loss of one atom, and backward unless the step is lost already. */
static enum cn_status one_atom(struct update *u, const struct cn_loss_call *call,
                               struct cn_batch *batch, struct cn_span span, struct buffers *b)
{
    uint32_t channels = 0;
#define X(name, text) channels |= b->out.name ? CN_LIVE_BIT(name) : 0u;
    CN_LIVE(X)
#undef X
    const struct cn_atom atom = atom_of(u, batch, span, channels);
    CN_TRY(forward(u, atom, &b->out));
    if (!(batch->written & CN_NEEDS(logp_old))) fill_old(batch, span, &b->live);
    b->grad.loss = 0;
    const double start = clock_seconds();
    CN_TRY(cn_loss_atom(call, batch, span, &b->live, &b->grad));
    u->times->algorithm += clock_seconds() - start;
    cn_sum_add(&b->loss, b->grad.loss);
    return b->lost > 0 ? CN_OK : backward(u, &b->grad, b->last);
}

/* This rank's atoms.  One that is not finite costs the whole step, but the others still give their
 * numbers, so that what is reported does not depend on where it stands. */
static enum cn_status own_atoms(struct update *u, const struct cn_loss_call *call,
                                struct cn_batch *batch, const struct cn_spans *own,
                                struct buffers *b)
{
    for (size_t a = 0; a < own->count; a++) {
        b->last = a + 1 == own->count;
        enum cn_status status = one_atom(u, call, batch, own->item[a], b);
        if (status == CN_OK) continue;
        if (status != CN_ERR_NUMERIC) return status;
        if (!b->lost)
            cn_log_warn("step %llu: %s", (unsigned long long)call->step, cn_fail_message());
        b->lost = 1;
        cn_fail_clear();
    }
    return CN_OK;
}

/* Loss, lost steps and numbers of all ranks. */
static enum cn_status merge(struct update *u, const struct cn_loss_call *call,
                            const struct cn_metrics *own, struct buffers *b)
{
    struct cn_sum loss = {0}; /* normalised: its digits leave room for as many ranks as there are */
    cn_sum_merge(&loss, &b->loss);
    const struct cn_comm_data lost = {"lost steps", CN_DTYPE_F64, &b->lost, 1};
    const struct cn_comm_data digits = {"loss", CN_DTYPE_I64, &loss, sizeof loss / sizeof(int64_t)};
    CN_TRY(cn_comm_max(u->comm, &lost));
    CN_TRY(cn_comm_sum(u->comm, &digits));
    b->loss = loss;
    return share_metrics(u->comm, own, call->scratch, call->metrics);
}

static enum cn_status gradient(struct update *u, const struct cn_loss_call *call,
                               struct cn_batch *batch, struct buffers *b)
{
    struct share_atoms share;
    struct cn_metrics own;
    struct cn_loss_call here = *call;
    cn_metrics_init(&own, call->metrics->arena); /* scratch is emptied after every call */
    here.metrics = &own;
    CN_TRY(share_atoms(u->comm, batch, call->atoms, call->scratch, &share));
    if (policy_sum(u)) CN_TRY(gradient_sum_begin(u->sum, call->atoms->count));
    if (critic_sum(u)) CN_TRY(gradient_sum_begin(u->critic_sum, call->atoms->count));
    CN_TRY(own_atoms(u, &here, batch, &share.own, b));
    if (policy_sum(u)) CN_TRY(gradient_sum_flush(u->sum));
    if (critic_sum(u)) CN_TRY(gradient_sum_flush(u->critic_sum));
    CN_TRY(merge(u, call, &own, b));
    if (!(batch->written & CN_NEEDS(logp_old))) {
        CN_TRY(share_column(u->comm, &share, batch->logp_old));
        CN_TRY(share_column(u->comm, &share, batch->entropy_old));
    }
    CN_TRY(end_sums(u, !(b->lost > 0)));
    return cn_metrics_set(call->metrics, "update/atoms", (double)call->atoms->count);
}

struct cn_step_options update_step_options(const struct optimizer_settings *o, double lr)
{
    struct cn_step_options options = {.lr = lr,
                                      .beta1 = o->betas.value[0],
                                      .beta2 = o->betas.value[1],
                                      .epsilon = o->epsilon,
                                      .weight_decay = o->weight_decay,
                                      .clip_norm = o->clip_norm,
                                      .part = CN_STEP_BODY};
    return options;
}

/* The value function's step: a model of its own, or the head on the policy. */
static enum cn_status step_critic(struct update *u, const struct cn_loss_call *call, double lr,
                                  bool *skipped)
{
    struct cn_step_result result = {0};
    struct cn_step_options options = update_step_options(&u->settings->critic_optimizer, lr);
    *skipped = false;
    if (!(u->recipe->needs_live & CN_LIVE_BIT(value))) return CN_OK;
    options.part = u->critic ? CN_STEP_ALL : CN_STEP_VALUE;
    CN_TRY(cn_model_step(u->critic ? u->critic : u->model, &options, &result));
    *skipped = result.skipped;
    return cn_metrics_mean(call->metrics, "critic/grad_norm", result.grad_norm);
}

/* Steps of everything that learns.  The value function goes first, so that a policy never moves by
 * the advantages of a critic that is beyond repair. */
static enum cn_status step_all(struct update *u, const struct cn_loss_call *call,
                               const struct update_rates *rates, struct cn_step_result *result)
{
    const struct cn_step_options options =
        update_step_options(&u->settings->optimizer, rates->policy);
    CN_TRY(step_critic(u, call, rates->critic, &result->skipped));
    if (result->skipped || warming(u)) return CN_OK;
    CN_TRY(cn_model_step(u->model, &options, result));
    return cn_metrics_mean(call->metrics, "optim/grad_norm", result->grad_norm);
}

/* A step that cannot be taken is counted; too many in a row end the run. */
static enum cn_status count_bad(struct update *u, const struct cn_loss_call *call, const char *why)
{
    u->bad_steps++;
    CN_TRY(cn_metrics_sum(call->metrics, "update/skipped", 1));
    cn_log_warn("step %llu: optimizer step skipped: %s", (unsigned long long)call->step, why);
    if (u->bad_steps <= u->settings->update.bad_steps_max) {
        cn_fail_clear();
        return CN_OK;
    }
    cn_fail_clear();
    return cn_fail(
        CN_ERR_NUMERIC,
        "%u optimizer steps in a row could not be taken (update.bad_steps_max=%lld); the "
        "last: step %llu, loss or gradient not finite.  Lower optimizer.lr, or look at "
        "the saved batch",
        u->bad_steps, (long long)u->settings->update.bad_steps_max, (unsigned long long)call->step);
}

static enum cn_status summarise(struct update *u, const struct cn_loss_call *call, double grad_norm)
{
    const struct cn_metrics *m = call->metrics;
    const struct cn_step_summary summary = {.reward = cn_metrics_value(m, "reward/mean", 0),
                                            .entropy = cn_metrics_value(m, "policy/entropy", 0),
                                            .approx_kl = cn_metrics_value(m, "policy/approx_kl", 0),
                                            .kl_ref = cn_metrics_value(m, "policy/kl_ref", 0),
                                            .length = cn_metrics_value(m, "response/len_mean", 0),
                                            .grad_norm = grad_norm,
                                            .metrics = m,
                                            .renew_reference = &u->renewed};
    return cn_loss_adapt(call, &summary);
}

/* The PREPARE stage, with the live values that it may need. */
static enum cn_status prepare(struct update *u, const struct cn_loss_call *call,
                              struct cn_batch *batch, struct cn_span span)
{
    const bool live = u->recipe->prepare_live;
    struct cn_live whole;
    const double start = clock_seconds();
    if (live) CN_TRY(whole_step(u, call, batch, span, &whole));
    const double ready = clock_seconds();
    CN_TRY(cn_loss_prepare(call, batch, span, live ? &whole : NULL));
    u->times->pass += ready - start;
    u->times->algorithm += clock_seconds() - ready;
    return CN_OK;
}

static enum cn_status optimizer_step(struct update *u, const struct cn_loss_call *call,
                                     struct cn_batch *batch, struct cn_span span,
                                     const struct update_rates *rates)
{
    struct cn_counts counts[CN_PART_COUNT];
    struct buffers buffers;
    struct cn_step_result result = {0};
    struct cn_spans atoms;
    struct cn_loss_call here = *call;
    here.counts = counts;
    here.atoms = &atoms;
    CN_TRY(cn_loss_count(batch, span, (double)u->settings->rollout.max_tokens, call->ranks,
                         call->scratch, counts));
    double trained = 0;
    for (int p = 0; p < CN_PART_COUNT; p++)
        trained += counts[p].tokens;
    if (trained == 0) return cn_metrics_sum(call->metrics, "update/empty", 1);
    CN_TRY(
        update_atoms(batch, span, (size_t)u->settings->update.atom_tokens, call->scratch, &atoms));
    if (u->settings->parallel.fault == SETTINGS_FAULT_LOCAL_MEAN)
        CN_TRY(local_counts(u, call, batch, &atoms, counts));
    CN_TRY(prepare(u, &here, batch, span));
    CN_TRY(open_buffers(u, batch, call->scratch, &buffers));
    CN_TRY(gradient(u, &here, batch, &buffers));
    if (buffers.lost > 0) return count_bad(u, call, "its loss is not finite");
    CN_TRY(step_all(u, call, rates, &result));
    CN_TRY(cn_metrics_mean(call->metrics, "policy/loss", cn_sum_value(&buffers.loss)));
    if (result.skipped) return count_bad(u, call, "the gradient's norm is not finite");
    const bool learned = !warming(u);
    u->bad_steps = 0;
    u->optimizer_steps++;
    return learned ? summarise(u, &here, result.grad_norm) : CN_OK;
}

enum cn_status update_policy(struct update *u, const struct cn_loss_call *call,
                             struct cn_batch *batch, const struct update_rates *rates,
                             struct update_times *times)
{
    const size_t parts = (size_t)u->settings->train.mini_batches;
    double start = clock_seconds();
    struct cn_loss_call here = *call;
    here.update = 0;
    u->times = times;
    u->renewed = false;
    for (int64_t epoch = 0; epoch < u->settings->train.epochs; epoch++)
        for (size_t part = 0; part < parts; part++, here.update++) {
            struct cn_arena_mark mark = cn_arena_mark(call->scratch);
            const struct cn_span span = update_part(batch, part, parts);
            CN_TRY(optimizer_step(u, &here, batch, span, rates));
            cn_arena_release(call->scratch, mark);
        }
    batch->written |= CN_NEEDS(logp_old) | CN_NEEDS(entropy_old);
    times->train += clock_seconds() - start;
    return cn_metrics_set(call->metrics, "optim/lr", rates->policy);
}

double update_lr(const struct optimizer_settings *o, uint64_t step, uint64_t steps)
{
    const double warm = (double)o->warmup_steps, at = (double)step;
    if (at < warm) return o->lr * (at + 1) / warm;
    if (o->schedule == SETTINGS_SCHEDULE_CONSTANT || (double)steps <= warm) return o->lr;
    double done = (at - warm) / ((double)steps - warm);
    if (done > 1) done = 1;
    double left = o->schedule == SETTINGS_SCHEDULE_LINEAR
                      ? 1 - done
                      : 0.5 * (1 + cos(3.141592653589793 * done));
    return o->min_lr + (o->lr - o->min_lr) * left;
}
