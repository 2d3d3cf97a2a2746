/* Supervised steps: the demonstration of each task becomes the answer. */
#include "supervised.h"

#include "experience.h"
#include "ranks/share.h"

#include <math.h>
#include <string.h>

/* The demonstration as ids, closed by the model's end token. */
static enum cn_status demonstrate(const struct supervised *s, const struct posed *posed,
                                  struct cn_arena *arena, struct answer *out)
{
    struct cn_ids ids = {0};
    const int32_t end = cn_tokenizer_end(s->tokenizer);
    const struct cn_text text = posed->content.demonstration;
    if (text.length == 0)
        return cn_fail(CN_ERR_DATA,
                       "task %llu has no right answer to learn from: supervised rows need an "
                       "answer",
                       (unsigned long long)posed->task);
    enum cn_status status = cn_tokenizer_encode(s->tokenizer, text, false, &ids);
    if (status == CN_OK && end >= 0) status = cn_ids_append(&ids, &end, 1);
    if (status == CN_OK) status = CN_NEW(arena, ids.count, &out->ids);
    if (status == CN_OK) memcpy(out->ids, ids.item, ids.count * sizeof *ids.item);
    out->n = ids.count;
    out->stop = CN_STOP_EOS;
    cn_ids_free(&ids);
    return status;
}

/* Whether a task is held out for validation: decided by its number alone. */
static bool held_out(const struct supervised *s, uint64_t task)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(s->seed, 0, CN_RNG_SELECTION), task, 0, 0);
    return cn_rng_uniform(&rng) < s->plan->validation;
}

/* Which tasks a batch is made of. */
struct source {
    struct tasks *tasks;
    uint64_t *position;
    size_t rows;
    bool validation;
};

static enum cn_status next_task(const struct supervised *s, const struct source *source,
                                struct cn_arena *arena, struct posed *out)
{
    const uint64_t first = *source->position, count = tasks_count(source->tasks);
    do {
        CN_TRY(tasks_next(source->tasks, source->position, arena, out));
        if (count && *source->position - first > 2 * count)
            return cn_fail(CN_ERR_DATA,
                           "no row is left: validation=%g holds out too much of %llu "
                           "rows, or too little",
                           s->plan->validation, (unsigned long long)count);
    } while (s->plan->validation > 0 && held_out(s, out->task) != source->validation);
    return CN_OK;
}

static enum cn_status collect(const struct supervised *s, const struct source *source,
                              struct cn_arena *arena, struct cn_batch *batch)
{
    const size_t rows = source->rows;
    struct wish *wishes;
    struct answer *answers;
    struct posed *posed;
    CN_TRY(CN_NEW(arena, rows, &wishes));
    CN_TRY(CN_NEW(arena, rows, &answers));
    CN_TRY(CN_NEW(arena, rows, &posed));
    for (size_t i = 0; i < rows; i++) {
        CN_TRY(next_task(s, source, arena, &posed[i]));
        wishes[i] =
            (struct wish){.posed = &posed[i], .group = (uint32_t)i, .temperature = 1, .parent = -1};
        CN_TRY(demonstrate(s, &posed[i], arena, &answers[i]));
    }
    return experience_batch(wishes, answers, rows, arena, batch);
}

static size_t answer_tokens(const struct cn_batch *batch)
{
    size_t n = 0;
    for (size_t t = 0; t < batch->n_tokens; t++)
        n += batch->role[t] == CN_ROLE_POLICY;
    return n;
}

static double loss_of(const struct cn_batch *batch, const double *logp, size_t n)
{
    struct cn_sum sum = {0};
    for (size_t t = 0; t < batch->n_tokens; t++)
        if (batch->role[t] == CN_ROLE_POLICY) cn_sum_add(&sum, -logp[t] / (double)n);
    return cn_sum_value(&sum);
}

/* Forward, and backward if `grad` is given, of this rank's atoms; out->logp is filled everywhere.
 */
static enum cn_status pass(const struct supervised *s, const struct cn_batch *batch,
                           struct cn_arena *arena, const struct cn_live_out *out,
                           const struct cn_token_grad *grad)
{
    struct cn_spans atoms;
    struct share_atoms share;
    CN_TRY(update_atoms(batch, cn_batch_all(batch), (size_t)s->settings->update.atom_tokens, arena,
                        &atoms));
    CN_TRY(share_atoms(s->comm, batch, &atoms, arena, &share));
    if (grad) CN_TRY(gradient_sum_begin(s->sum, atoms.count));
    for (size_t a = 0; a < share.own.count; a++) {
        const struct cn_atom atom = {.batch = batch,
                                     .span = share.own.item[a],
                                     .temperature = 1,
                                     .channels = CN_LIVE_BIT(logp)};
        if (grad) {
            CN_TRY(cn_model_forward(s->model, &atom, out));
            const bool last = a + 1 == share.own.count;
            CN_TRY(
                cn_model_backward_ready(s->model, grad, last ? gradient_sum_ready(s->sum) : NULL));
            CN_TRY(gradient_sum_add(s->sum));
        } else {
            CN_TRY(cn_model_score(s->model, -1, &atom, out));
        }
    }
    if (grad) CN_TRY(gradient_sum_flush(s->sum));
    CN_TRY(share_column(s->comm, &share, out->logp));
    return grad ? gradient_sum_end(s->sum, true) : CN_OK;
}

enum cn_status supervised_step(struct supervised *s, double lr, struct cn_arena *arena,
                               struct supervised_result *result)
{
    struct cn_batch batch;
    struct cn_live_out out, d;
    struct cn_live live, unused;
    struct cn_step_result step;
    const struct source source = {s->tasks, &s->position, (size_t)s->plan->rows, false};
    CN_TRY(collect(s, &source, arena, &batch));
    CN_TRY(update_live(&batch, CN_LIVE_BIT(logp), arena, &out, &live));
    CN_TRY(update_live(&batch, CN_LIVE_BIT(logp), arena, &d, &unused));
    const size_t n = answer_tokens(&batch);
    for (size_t t = 0; t < batch.n_tokens; t++)
        d.logp[t] = batch.role[t] == CN_ROLE_POLICY ? -1.0 / (double)n : 0;
    const struct cn_token_grad grad = {.d_logp = d.logp};
    CN_TRY(pass(s, &batch, arena, &out, &grad));
    const struct cn_step_options options = update_step_options(&s->settings->optimizer, lr);
    result->loss = loss_of(&batch, live.logp, n);
    result->tokens = (double)n;
    CN_TRY(cn_model_step(s->model, &options, &step));
    result->grad_norm = step.grad_norm;
    if (!isfinite(result->loss) || step.skipped)
        return cn_fail(CN_ERR_NUMERIC,
                       "supervised loss %g or gradient norm %g is not finite: lower the learning "
                       "rate",
                       result->loss, step.grad_norm);
    return CN_OK;
}

enum cn_status supervised_validate(const struct supervised *s, struct tasks *tasks, size_t rows,
                                   struct cn_arena *arena, double *loss)
{
    struct cn_batch batch;
    struct cn_live_out out;
    struct cn_live live;
    uint64_t position = 0;
    const struct source source = {tasks, &position, rows, true};
    CN_TRY(collect(s, &source, arena, &batch));
    CN_TRY(update_live(&batch, CN_LIVE_BIT(logp), arena, &out, &live));
    CN_TRY(pass(s, &batch, arena, &out, NULL));
    *loss = loss_of(&batch, live.logp, answer_tokens(&batch));
    return CN_OK;
}
