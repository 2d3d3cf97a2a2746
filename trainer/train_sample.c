/* Sampling on ranks of its own, ahead of learning by at most K = parallel.max_staleness steps.
 *
 * Batch s is sampled with the weights after step max(0, s - 1 - K), whatever the number of ranks
 * and wherever a checkpoint was written: batches that wait for their turn are part of it.  With K =
 * 2:
 *
 *     step                        1                2           3
 *     ranks that learn     wait   batch 1          batch 2     batch 3
 *     ranks that sample    1      2 3              4           5
 *     their weights        0      0 0              1           2
 *
 * Both sides meet at the bars: batches go one way, weights the other.  With K = 0 the sides take
 * turns.  Sampling goes on beyond the last step, so that a run that is made longer later is the
 * same as one that was planned so. */
#include "train.h"

#include "clock.h"
#include "run/states.h"

#include "carnot/log.h"

#include <string.h>

static uint64_t staleness(const struct train *t)
{
    return (uint64_t)t->session.settings.parallel.max_staleness;
}

/* ---- the ranks that sample ----------------------------------------------- */

/* Samples the batch of `call` with the present weights. */
static enum cn_status collect(struct train *t, const struct cn_loss_call *call,
                              struct experience_result *out)
{
    CN_TRY(experience_collect(&t->experience, call, (uint32_t)t->update.optimizer_steps, &t->arena,
                              out));
    out->weights = t->state.step;
    return CN_OK;
}

/* Puts the batch of `step` in a row, packed: on the rank that will send it. */
static enum cn_status collect_packed(struct train *t, uint64_t step, struct cn_str *bytes)
{
    struct session *s = &t->session;
    struct cn_metrics metrics;
    struct experience_result result;
    struct cn_loss_call call = train_call(t, step);
    cn_metrics_init(&metrics, &t->arena);
    call.metrics = &metrics;
    CN_TRY(states_put(&s->recipe, STATES_LEARNING, bytes)); /* as they were before */
    CN_TRY(collect(t, &call, &result));
    CN_TRY(states_check(&s->recipe, cn_str_text(bytes)));
    cn_str_clear(bytes);
    if (cn_comm_rank(s->comm) == s->roles.first)
        CN_TRY(ahead_pack(&result, &metrics, &s->recipe, bytes));
    return ahead_add(&t->ahead, bytes);
}

static enum cn_status sample_packed(struct train *t, uint64_t step)
{
    struct cn_str bytes = {NULL, 0, 0};
    const struct cn_arena_mark mark = cn_arena_mark(&t->arena);
    const enum cn_status status = collect_packed(t, step, &bytes);
    cn_arena_release(&t->arena, mark);
    cn_str_free(&bytes);
    return status;
}

enum cn_status train_sample_ahead(struct train *t, uint64_t step)
{
    for (uint64_t s = t->state.sampled + 1; s <= step + staleness(t); s++)
        CN_TRY(sample_packed(t, s));
    return scoring_canaries(&t->session.scoring, step);
}

/* ---- the ranks that learn ------------------------------------------------ */

/* A batch has come: it will wait for its turn, but what sampling has left behind counts now. */
static enum cn_status receive(struct train *t, struct cn_str *take_bytes)
{
    struct cn_metrics unused;
    struct experience_result result;
    const struct cn_arena_mark mark = cn_arena_mark(&t->arena);
    cn_metrics_init(&unused, &t->arena);
    CN_TRY(ahead_unpack(cn_str_text(take_bytes), &t->session.recipe, &t->arena, &unused, &result));
    CN_TRY(experience_remember(t->experience.replay, result.batch));
    t->experience.position = result.position;
    cn_arena_release(&t->arena, mark);
    return ahead_add(&t->ahead, take_bytes);
}

enum cn_status train_take(struct train *t, const struct cn_loss_call *call,
                          struct experience_result *out)
{
    if (t->ahead.n) return ahead_next(&t->ahead, call->step, &t->arena, &t->metrics, out);
    CN_TRY(collect(t, call, out));
    t->state.sampled = call->step;
    return CN_OK;
}

/* ---- both ---------------------------------------------------------------- */

/* The next sampled batch goes to the ranks that learn. */
static enum cn_status deliver(struct train *t)
{
    struct roles *roles = &t->session.roles;
    struct cn_str bytes = {NULL, 0, 0};
    if (roles->samples) CN_TRY(ahead_pop(&t->ahead, &bytes));
    enum cn_status status = roles_send_batch(roles, &bytes);
    if (status == CN_OK && roles->learns) status = receive(t, &bytes);
    cn_str_free(&bytes);
    t->state.sampled++;
    return status;
}

enum cn_status train_sample(struct train *t, const struct cn_loss_call *call)
{
    struct roles *roles = &t->session.roles;
    roles->waited = 0; /* what was waited between two steps is not of this one */
    if (!roles->divided || t->state.sampled >= call->step) return CN_OK;
    const enum cn_status status = roles->samples ? sample_packed(t, call->step) : CN_OK;
    CN_TRY(roles_meet(roles, "a batch", status));
    return deliver(t);
}

/* Weights, and what else sampling must know of learning. */
enum cn_status train_send_weights(struct train *t)
{
    struct session *s = &t->session;
    struct cn_str note = {NULL, 0, 0};
    const uint64_t steps = t->update.optimizer_steps;
    if (!s->roles.divided) return CN_OK;
    enum cn_status status = cn_str_append(&note, (const char *)&steps, sizeof steps);
    if (status == CN_OK) status = states_put(&s->recipe, STATES_LEARNING, &note);
    const struct roles_weights weights = {s->model, s->sampler, note.data, note.length};
    if (status == CN_OK) status = roles_send_weights(&s->roles, &weights);
    if (status == CN_OK && s->roles.samples) {
        struct cn_text states = {note.data + sizeof steps, note.length - sizeof steps};
        memcpy(&t->update.optimizer_steps, note.data, sizeof steps);
        status = states_take(&s->recipe, STATES_LEARNING, &states);
    }
    cn_str_free(&note);
    return status;
}

enum cn_status train_exchange(struct train *t, uint64_t step, enum cn_status status)
{
    struct roles *roles = &t->session.roles;
    struct roles_waits waits;
    if (!roles->divided) return status;
    CN_TRY(roles_meet(roles, "a step", status));
    while (t->state.sampled < step + staleness(t))
        CN_TRY(deliver(t));
    CN_TRY(train_send_weights(t));
    CN_TRY(roles_waits(roles, &waits));
    CN_TRY(cn_metrics_set(&t->metrics, "time/rollout_wait_s", waits.rollout));
    return cn_metrics_set(&t->metrics, "time/learner_wait_s", waits.learner);
}
