/* carnot bench train: one group with a common prompt through forward, backward and optimizer, and
 * how long the same work takes when every sequence computes the prompt for itself. */
#include "bench.h"

#include "../clock.h"
#include "../update.h"

#include "carnot/arena.h"

#include <stdio.h>
#include <sys/resource.h>

struct work {
    struct cn_model *model;
    struct cn_arena arena;
    struct cn_batch batch;
    struct cn_live_out out;
    struct cn_token_grad grad;
    size_t sequences, prompt, tokens, atom_tokens;
};

/* Times of one step, s. */
struct times {
    double forward, backward, step;
};

/* Sequences with the same prompt; groups apart share nothing. */
static enum cn_status make_batch(struct work *w, bool shared)
{
    const size_t vocab = cn_model_info(w->model)->vocab_size;
    size_t *lengths;
    struct cn_live view, unused;
    struct cn_live_out d;
    const uint32_t channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy);
    CN_TRY(CN_NEW(&w->arena, w->sequences, &lengths));
    for (size_t s = 0; s < w->sequences; s++)
        lengths[s] = w->prompt + w->tokens;
    CN_TRY(cn_batch_init(&w->batch, &w->arena, lengths, w->sequences));
    for (size_t s = 0; s < w->sequences; s++) {
        w->batch.group[s] = shared ? 0 : (uint32_t)s;
        for (size_t i = 0, t = w->batch.seq_start[s]; i < lengths[s]; i++, t++) {
            w->batch.token[t] = (int32_t)((i < w->prompt ? i * 7 : t * 13 + s) % vocab);
            w->batch.role[t] = i < w->prompt ? CN_ROLE_PROMPT : CN_ROLE_POLICY;
        }
    }
    CN_TRY(update_live(&w->batch, channels, &w->arena, &w->out, &view));
    CN_TRY(update_live(&w->batch, channels, &w->arena, &d, &unused));
    w->grad.d_logp = d.logp;
    w->grad.d_entropy = d.entropy;
    for (size_t t = 0; t < w->batch.n_tokens; t++)
        if (w->batch.role[t] == CN_ROLE_POLICY) {
            w->grad.d_logp[t] = 1e-3 * (double)((int)(t % 7) - 3);
            w->grad.d_entropy[t] = 1e-5 * (double)((int)(t % 5) - 2);
        }
    return CN_OK;
}

static enum cn_status one_step(struct work *w, struct times *times)
{
    struct cn_arena scratch;
    struct cn_spans atoms;
    struct cn_step_result result;
    const struct cn_step_options options = {
        .lr = 1e-6, .beta1 = 0.9, .beta2 = 0.999, .epsilon = 1e-8, .clip_norm = 1};
    double at = clock_seconds();
    cn_arena_init(&scratch);
    *times = (struct times){0};
    enum cn_status status =
        update_atoms(&w->batch, cn_batch_all(&w->batch), w->atom_tokens, &scratch, &atoms);
    if (status == CN_OK) status = cn_model_zero_gradients(w->model);
    times->step += clock_seconds() - at;
    for (size_t a = 0; status == CN_OK && a < atoms.count; a++) {
        const struct cn_atom atom = {.batch = &w->batch,
                                     .span = atoms.item[a],
                                     .temperature = 1,
                                     .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy)};
        at = clock_seconds();
        status = cn_model_forward(w->model, &atom, &w->out);
        times->forward += clock_seconds() - at;
        at = clock_seconds();
        if (status == CN_OK) status = cn_model_backward(w->model, &w->grad);
        times->backward += clock_seconds() - at;
    }
    at = clock_seconds();
    if (status == CN_OK) status = cn_model_step(w->model, &options, &result);
    times->step += clock_seconds() - at;
    cn_arena_free(&scratch);
    return status;
}

static double total(const struct times *t)
{
    return t->forward + t->backward + t->step;
}

/* The fastest of `steps` steps; the first one warms up. */
static enum cn_status best_step(struct work *w, int64_t steps, struct times *best)
{
    for (int64_t i = 0; i <= steps; i++) {
        struct times times;
        CN_TRY(one_step(w, &times));
        if (i < 2 || total(&times) < total(best)) *best = times;
    }
    return CN_OK;
}

static enum cn_status measure(struct work *w, bool shared, int64_t steps, struct times *best)
{
    cn_arena_init(&w->arena);
    enum cn_status status = make_batch(w, shared);
    if (status == CN_OK) status = best_step(w, steps, best);
    cn_arena_free(&w->arena);
    return status;
}

/* What a row tells. */
struct row {
    const char *dtype;
    double roof;        /* flop/s */
    struct times t;     /* the common prompt computed once */
    struct times apart; /* once per sequence; zero: not measured */
    struct bench_watch watch;
};

static void print_row(const struct work *w, const struct row *row)
{
    const struct times *t = &row->t;
    const double trained = (double)(w->sequences * w->tokens);
    const double rate = 6 * (double)cn_model_info(w->model)->n_parameters * trained / total(t);
    struct rusage usage;
    char gain[80] = "";
    getrusage(RUSAGE_SELF, &usage);
    if (total(&row->apart) > 0)
        snprintf(gain, sizeof gain, "; %.2f times as fast as with a prompt for each sequence",
                 total(&row->apart) / total(t));
    bench_row(&row->watch,
              "train %-4s %zu x (%zu + %zu): %7.1f tok/s, %7.3f s = forward %.3f + backward %.3f + "
              "optimizer %.3f; 6ND %.0f %% of %.0f GFLOP/s; peak %.0f MB%s",
              row->dtype, w->sequences, w->prompt, w->tokens, trained / total(t), total(t),
              t->forward, t->backward, t->step, 100 * rate / row->roof, 1e-9 * row->roof,
              (double)usage.ru_maxrss / 1024, gain);
}

static enum cn_status train_rows(const struct bench_options *options, enum cn_dtype dtype,
                                 struct bench_roofs *roofs)
{
    struct work w = {.sequences = options->batch ? (size_t)options->batch : 8,
                     .prompt = options->prompt ? (size_t)options->prompt : 1,
                     .tokens = options->tokens ? (size_t)options->tokens : 256,
                     .atom_tokens = 2048};
    const int64_t steps = options->steps ? options->steps : 3;
    const int threads = (int)bench_threads(options);
    struct row row = {.dtype = dtype == CN_DTYPE_F32 ? "f32" : "bf16"};
    bench_watch_start(&row.watch);
    CN_TRY(bench_roofs_raise(threads, roofs));
    CN_TRY(bench_model_open(options, dtype, true, &w.model));
    enum cn_status status = measure(&w, true, steps, &row.t);
    if (status == CN_OK && w.prompt > 1) status = measure(&w, false, steps, &row.apart);
    if (status == CN_OK) status = bench_roofs_raise(threads, roofs);
    row.roof = dtype == CN_DTYPE_F32 ? roofs->f32 : roofs->bf16;
    if (status == CN_OK) print_row(&w, &row);
    cn_model_close(w.model);
    return status;
}

enum cn_status bench_train(const struct bench_options *options)
{
    return bench_each_dtype(options, train_rows);
}
