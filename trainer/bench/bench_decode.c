/* carnot bench decode: slots with a prompt of their own each sample tokens at temperature 1. */
#include "bench.h"

#include "../clock.h"

#include "carnot/arena.h"

#include <stdio.h>

struct work {
    struct cn_sampler *sampler;
    struct cn_arena *arena;
    size_t slots, prompt, tokens, vocab;
};

/* Samples `tokens` tokens for all slots several times over; the best time of one step. */
static enum cn_status sample(const struct work *w, double *prefill, double *step)
{
    size_t *slots;
    int32_t *ids;
    struct cn_drawn *drawn;
    CN_TRY(CN_NEW(w->arena, w->slots, &slots));
    CN_TRY(CN_NEW(w->arena, w->slots, &drawn));
    CN_TRY(CN_NEW(w->arena, w->prompt, &ids));
    double start = clock_seconds();
    for (size_t s = 0; s < w->slots; s++) {
        const struct cn_draw draw = {.key = {{1, 2}}, .prompt = s, .temperature = 1, .top_p = 1};
        for (size_t i = 0; i < w->prompt; i++)
            ids[i] = (int32_t)((s * 31 + i * 7) % w->vocab);
        CN_TRY(cn_slot_open(w->sampler, ids, w->prompt, &draw, &slots[s]));
    }
    *prefill = clock_seconds() - start;
    *step = 1e30;
    for (int round = 0; round < 4; round++) { /* the first round warms up */
        start = clock_seconds();
        for (size_t i = 0; i < w->tokens / 4; i++)
            CN_TRY(cn_sampler_step(w->sampler, slots, w->slots, drawn));
        const double took = (clock_seconds() - start) / (double)(w->tokens / 4);
        if (round && took < *step) *step = took;
    }
    for (size_t s = 0; s < w->slots; s++)
        cn_slot_close(w->sampler, slots[s]);
    return CN_OK;
}

struct row {
    enum cn_dtype dtype;
    size_t slots;
    struct bench_roofs *roofs;
};

static enum cn_status decode_row(const struct bench_options *options, struct cn_model *model,
                                 const struct row *row)
{
    const struct cn_model_info *info = cn_model_info(model);
    struct cn_arena arena;
    cn_arena_init(&arena);
    struct work w = {.arena = &arena,
                     .slots = row->slots,
                     .prompt = options->prompt ? (size_t)options->prompt : 32,
                     .tokens = options->tokens ? (size_t)options->tokens : 64,
                     .vocab = info->vocab_size};
    const struct cn_sampler_settings settings = {.slots = row->slots,
                                                 .context = w.prompt + w.tokens + 8,
                                                 .threads = (int)bench_threads(options),
                                                 .dtype = row->dtype};
    struct bench_watch watch;
    double prefill = 0, step = 0, refresh = 0;
    bench_watch_start(&watch);
    enum cn_status status = bench_roofs_raise((int)bench_threads(options), row->roofs);
    if (status == CN_OK) status = cn_sampler_open(model, &settings, &w.sampler);
    if (status == CN_OK) status = sample(&w, &prefill, &step);
    if (status == CN_OK) {
        const double start = clock_seconds();
        status = cn_sampler_refresh(w.sampler);
        refresh = clock_seconds() - start;
    }
    if (w.sampler) cn_sampler_close(w.sampler);
    cn_arena_free(&arena);
    if (status == CN_OK) status = bench_roofs_raise((int)bench_threads(options), row->roofs);
    CN_TRY(status);
    const double bytes = (double)(info->n_parameters * cn_dtype_size(row->dtype)) / step;
    const double flop = 2.0 * (double)(info->n_parameters * row->slots) / step;
    const double roof = row->dtype == CN_DTYPE_F32 ? row->roofs->f32 : row->roofs->bf16;
    bench_row(
        &watch,
        "decode %-4s slots %3zu: %8.1f tok/s, %8.3f ms a step; %3.0f %% of %.1f GB/s read, %3.0f "
        "%% of %.0f GFLOP/s; prompts %.0f tok/s; refresh %.1f ms",
        row->dtype == CN_DTYPE_F32 ? "f32" : "bf16", row->slots, (double)row->slots / step,
        1e3 * step, 100 * bytes / row->roofs->read, 1e-9 * row->roofs->read, 100 * flop / roof,
        1e-9 * roof, (double)(row->slots * w.prompt) / prefill, 1e3 * refresh);
    return CN_OK;
}

static enum cn_status decode_rows(const struct bench_options *options, enum cn_dtype dtype,
                                  struct bench_roofs *roofs)
{
    const size_t own = (size_t)options->batch, slots[] = {own ? own : 1, 64};
    struct cn_model *model = NULL;
    CN_TRY(bench_model_open(options, dtype, false, &model));
    enum cn_status status = CN_OK;
    for (int i = 0; i < (own ? 1 : 2) && status == CN_OK; i++)
        status = decode_row(options, model, &(struct row){dtype, slots[i], roofs});
    cn_model_close(model);
    return status;
}

enum cn_status bench_decode(const struct bench_options *options)
{
    return bench_each_dtype(options, decode_rows);
}
