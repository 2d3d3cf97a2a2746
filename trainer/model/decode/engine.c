/* Slots of the decode engine. */
#include "engine.h"

#include "forward.h"

#include <stdlib.h>
#include <string.h>

struct slot {
    bool open;
    struct cn_draw draw;
    int32_t pending; /* not yet computed; its position is the slot's length in the cache */
};

struct engine {
    struct machine machine;
    size_t context;
    struct slot *slots;
    struct row *rows;            /* (slots) of one step */
    struct choose_kept *scratch; /* (HEAD_ROWS, vocab): from the first use on */
    enum cn_status *status;      /* (slots): of one step's draws */
};

/* ---- open and close ------------------------------------------------------ */

static enum cn_status check_settings(const struct engine_settings *settings)
{
    if (settings->slots == 0 || settings->context == 0)
        return cn_fail(CN_ERR_CONFIG,
                       "a sampler needs at least one slot and one token of context "
                       "(%zu slots, %zu tokens asked for)",
                       settings->slots, settings->context);
    if (settings->context > settings->shape->context)
        return cn_fail(CN_ERR_MODEL,
                       "%zu tokens of context are asked for, the model has %zu: shorten "
                       "the prompt or rollout.max_tokens",
                       settings->context, settings->shape->context);
    return CN_OK;
}

static enum cn_status open_machine(struct machine *m, const struct engine_settings *settings,
                                   const struct cn_buffer *buffers, size_t n)
{
    const struct model_shape *shape = settings->shape;
    m->shape = shape;
    m->bf16 = settings->dtype == CN_DTYPE_BF16;
    m->head_unit = kernel_round_up(shape->head_dim, KERNEL_HEAD_UNIT);
    CN_TRY(kernels_pick(settings->isa, &m->kernels));
    CN_TRY(pool_open(settings->threads, &m->pool));
    m->meet = m->pool;
    CN_TRY(pool_open(1, &m->alone));
    CN_TRY(weights_open(&m->weights, shape, settings->dtype));
    CN_TRY(weights_bind(&m->weights, buffers, n, m->kernels, m->pool));
    size_t block_bytes = shape->layers * shape->kv_heads * 2 * KERNEL_TOKENS * m->head_unit *
                         cn_dtype_size(settings->dtype);
    CN_TRY(cache_open(&m->cache, settings->slots, settings->context, KERNEL_TOKENS, block_bytes));
    return machine_open(m, settings->context);
}

void engine_close(struct engine *engine)
{
    if (!engine) return;
    cn_arena_free(&engine->machine.arena);
    cache_close(&engine->machine.cache);
    weights_close(&engine->machine.weights);
    pool_close(engine->machine.pool);
    pool_close(engine->machine.alone);
    free(engine->slots);
    free(engine->rows);
    free(engine->status);
    free(engine->scratch);
    free(engine);
}

enum cn_status engine_open(const struct engine_settings *settings, const struct cn_buffer *buffers,
                           size_t n, struct engine **out)
{
    CN_TRY(check_settings(settings));
    enum cn_status status = CN_OK;
    struct engine *engine = calloc(1, sizeof *engine);
    if (!engine) return cn_fail(CN_ERR_MEMORY, "no memory for the decode engine");
    engine->context = settings->context;
    engine->slots = calloc(settings->slots, sizeof *engine->slots);
    engine->rows = calloc(settings->slots, sizeof *engine->rows);
    engine->status = calloc(settings->slots, sizeof *engine->status);
    if (!engine->slots || !engine->rows || !engine->status) {
        status = cn_fail(CN_ERR_MEMORY, "no memory for %zu slots", settings->slots);
        goto out;
    }
    CN_TRY_GOTO(open_machine(&engine->machine, settings, buffers, n), out);
    *out = engine;
    return CN_OK;
out:
    engine_close(engine);
    return status;
}

enum cn_status engine_refresh(struct engine *engine, const struct cn_buffer *buffers, size_t n)
{
    for (size_t i = 0; i < engine->machine.cache.slots; i++)
        CN_BUG_IF(engine->slots[i].open);
    cache_wake(&engine->machine.cache);
    return weights_bind(&engine->machine.weights, buffers, n, engine->machine.kernels,
                        engine->machine.pool);
}

void engine_rest(struct engine *engine)
{
    cache_rest(&engine->machine.cache);
}

const char *engine_isa(const struct engine *engine)
{
    return engine->machine.kernels->name;
}

size_t engine_blocks_used(const struct engine *engine, size_t *all)
{
    const struct cache *cache = &engine->machine.cache;
    *all = cache->slots * cache->slot_blocks;
    return *all - cache->n_spare;
}

/* ---- slots --------------------------------------------------------------- */

static enum cn_status check_ids(const struct engine *engine, const int32_t *ids, size_t n,
                                size_t already)
{
    const size_t vocab = engine->machine.shape->vocab;
    if (n > engine->context || already > engine->context - n)
        return cn_fail(CN_ERR_MODEL,
                       "a sequence of %zu tokens exceeds the sampler's context of %zu", already + n,
                       engine->context);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= vocab)
            return cn_fail(CN_ERR_MODEL,
                           "token id %d at position %zu is outside the vocabulary of %zu", ids[i],
                           already + i, vocab);
    return CN_OK;
}

static enum cn_status find_slot(struct engine *engine, size_t *out)
{
    for (size_t i = 0; i < engine->machine.cache.slots; i++)
        if (!engine->slots[i].open) {
            *out = i;
            return CN_OK;
        }
    return cn_fail(CN_ERR_BUG, "all %zu slots are open", engine->machine.cache.slots);
}

struct span_sink {
    void (*sink)(const struct pass *, size_t, const float *, void *);
    void *context;
};

/* Computes ids at the end of a slot, PASS_ROWS at a time; logits of every one go to the sink, if
 * there is one. */
static enum cn_status compute(struct engine *engine, size_t slot, const int32_t *ids, size_t n,
                              const struct span_sink *sink)
{
    struct row rows[PASS_ROWS];
    for (size_t done = 0; done < n;) {
        size_t count = n - done < PASS_ROWS ? n - done : PASS_ROWS;
        size_t length = engine->machine.cache.length[slot];
        CN_TRY(cache_extend(&engine->machine.cache, slot, count));
        for (size_t i = 0; i < count; i++)
            rows[i] = (struct row){ids[done + i], (uint32_t)slot, length + i, done + i};
        struct pass pass = {
            .machine = &engine->machine, .rows = rows, .n = count, .distinct = count == 1};
        if (sink) {
            pass.sink = sink->sink;
            pass.context = sink->context;
        }
        forward_run(&pass);
        done += count;
    }
    return CN_OK;
}

enum cn_status engine_slot_open(struct engine *engine, const int32_t *ids, size_t n,
                                const struct cn_draw *draw, size_t *slot)
{
    CN_BUG_IF(n == 0);
    CN_TRY(choose_check(draw));
    CN_TRY(check_ids(engine, ids, n, 0));
    size_t free_slot = 0;
    CN_TRY(find_slot(engine, &free_slot));
    CN_TRY(compute(engine, free_slot, ids, n - 1, NULL));
    engine->slots[free_slot] = (struct slot){true, *draw, ids[n - 1]};
    *slot = free_slot;
    return CN_OK;
}

enum cn_status engine_slot_fork(struct engine *engine, size_t from, const struct cn_draw *draw,
                                size_t *slot)
{
    CN_BUG_IF(from >= engine->machine.cache.slots || !engine->slots[from].open);
    CN_TRY(choose_check(draw));
    size_t free_slot = 0;
    CN_TRY(find_slot(engine, &free_slot));
    cache_share(&engine->machine.cache, from, free_slot);
    engine->slots[free_slot] = (struct slot){true, *draw, engine->slots[from].pending};
    *slot = free_slot;
    return CN_OK;
}

enum cn_status engine_slot_append(struct engine *engine, size_t slot, const int32_t *ids, size_t n)
{
    CN_BUG_IF(slot >= engine->machine.cache.slots || !engine->slots[slot].open);
    if (n == 0) return CN_OK;
    struct slot *s = &engine->slots[slot];
    CN_TRY(check_ids(engine, ids, n, engine->machine.cache.length[slot] + 1));
    CN_TRY(compute(engine, slot, &s->pending, 1, NULL));
    CN_TRY(compute(engine, slot, ids, n - 1, NULL));
    s->pending = ids[n - 1];
    return CN_OK;
}

void engine_slot_close(struct engine *engine, size_t slot)
{
    if (slot >= engine->machine.cache.slots || !engine->slots[slot].open) return;
    cache_release(&engine->machine.cache, slot);
    engine->slots[slot].open = false;
}

/* ---- step ---------------------------------------------------------------- */

struct step_draws {
    struct engine *engine;
    struct cn_drawn *out;
};

static struct choose_call draw_call(const struct pass *pass, size_t row, const float *logits,
                                    struct engine *engine)
{
    const struct row *r = &pass->rows[row];
    struct choose_kept *scratch = engine->scratch;
    if (scratch) scratch += logits - engine->machine.logits;
    return (struct choose_call){.loops = &engine->machine.kernels->choose,
                                .logits = logits,
                                .vocab = engine->machine.shape->vocab,
                                .position = (uint32_t)(r->position + 1),
                                .draw = &engine->slots[r->slot].draw,
                                .scratch = scratch};
}

static void draw_row(const struct pass *pass, size_t row, const float *logits, void *context)
{
    struct step_draws *draws = context;
    struct choose_call call = draw_call(pass, row, logits, draws->engine);
    size_t index = pass->rows[row].index;
    draws->engine->status[index] = choose_token(&call, &draws->out[index]);
    if (draws->engine->status[index] != CN_OK)
        cn_fail_clear(); /* told again by the caller's thread */
}

/* Slots that share blocks become neighbours, so that attention reads these once. */
static int by_blocks(const void *a, const void *b, void *context)
{
    const struct cache *cache = context;
    const struct row *left = a, *right = b;
    const uint32_t *one = cache_table(cache, left->slot), *two = cache_table(cache, right->slot);
    size_t shortest = left->position < right->position ? left->position : right->position;
    for (size_t i = 0; i <= shortest / KERNEL_TOKENS; i++)
        if (one[i] != two[i]) return one[i] < two[i] ? -1 : 1;
    if (left->position != right->position) return left->position < right->position ? -1 : 1;
    return left->slot < right->slot ? -1 : left->slot > right->slot;
}

/* Scratch lies as the rows of logits do; it exists if some draw truncates. */
static enum cn_status need_scratch(struct engine *engine)
{
    if (engine->scratch) return CN_OK;
    engine->scratch = calloc(HEAD_ROWS * engine->machine.shape->vocab, sizeof *engine->scratch);
    return engine->scratch ? CN_OK : cn_fail(CN_ERR_MEMORY, "no memory for top-k and top-p");
}

/* Rows of a step, their place in the cache reserved. */
static enum cn_status gather_rows(struct engine *engine, const size_t *slots, size_t n)
{
    struct cache *cache = &engine->machine.cache;
    bool truncates = false;
    for (size_t i = 0; i < n; i++) {
        CN_BUG_IF(slots[i] >= cache->slots || !engine->slots[slots[i]].open);
        const struct cn_draw *draw = &engine->slots[slots[i]].draw;
        truncates = truncates || draw->top_k > 0 || draw->top_p < 1;
        if (cache->length[slots[i]] + 1 > engine->context)
            return cn_fail(CN_ERR_MODEL, "slot %zu is full: %zu tokens are the sampler's context",
                           slots[i], engine->context);
    }
    if (truncates) CN_TRY(need_scratch(engine));
    for (size_t i = 0; i < n; i++) {
        size_t position = cache->length[slots[i]];
        CN_TRY(cache_extend(cache, slots[i], 1));
        engine->rows[i] =
            (struct row){engine->slots[slots[i]].pending, (uint32_t)slots[i], position, i};
    }
    if (n > 1) qsort_r(engine->rows, n, sizeof *engine->rows, by_blocks, cache);
    for (size_t i = 1; i < n; i++)
        CN_BUG_IF(engine->rows[i].slot == engine->rows[i - 1].slot); /* a slot listed twice */
    return CN_OK;
}

/* A draw failed on some thread: the reason, on this thread. */
static enum cn_status check_draws(struct engine *engine, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (engine->status[i] != CN_OK)
            return cn_fail(engine->status[i],
                           "the model's logits are not finite: its weights hold NaN "
                           "or infinite values, or training diverged");
    return CN_OK;
}

enum cn_status engine_step(struct engine *engine, const size_t *slots, size_t n,
                           struct cn_drawn *out)
{
    if (n == 0) return CN_OK;
    CN_BUG_IF(n > engine->machine.cache.slots);
    CN_TRY(gather_rows(engine, slots, n));
    struct step_draws draws = {engine, out};
    for (size_t first = 0; first < n; first += PASS_ROWS) {
        struct pass pass = {.machine = &engine->machine,
                            .rows = engine->rows + first,
                            .n = n - first < PASS_ROWS ? n - first : PASS_ROWS,
                            .distinct = true,
                            .sink = draw_row,
                            .context = &draws};
        forward_run(&pass);
    }
    CN_TRY(check_draws(engine, n));
    for (size_t i = 0; i < n; i++)
        engine->slots[slots[i]].pending = out[i].token;
    return CN_OK;
}

/* ---- score --------------------------------------------------------------- */

struct score_rows {
    struct engine *engine;
    const struct engine_score *score;
    struct cn_draw draw;
    _Atomic enum cn_status status;
};

/* The row of token i speaks about token i + 1. */
static void score_row(const struct pass *pass, size_t row, const float *logits, void *context)
{
    struct score_rows *rows = context;
    const struct engine_score *score = rows->score;
    struct choose_call call = draw_call(pass, row, logits, rows->engine);
    call.draw = &rows->draw;
    size_t next = pass->rows[row].index + 1;
    struct choose_stats stats;
    enum cn_status status = choose_row(&call, &stats);
    if (status != CN_OK) {
        cn_fail_clear();
        rows->status = status;
        return;
    }
    score->logp[next] = choose_logp(&call, &stats, score->ids[next]);
    score->entropy[next] = stats.entropy;
    if (score->top)
        choose_largest(&call, &stats, score->top, score->top_ids + next * score->top,
                       score->top_logp + next * score->top);
}

enum cn_status engine_score(struct engine *engine, const struct engine_score *score)
{
    if (score->n == 0) return CN_OK;
    struct score_rows rows = {
        .engine = engine, .score = score, .draw = {.temperature = score->temperature, .top_p = 1}};
    CN_TRY(choose_check(&rows.draw));
    CN_TRY(check_ids(engine, score->ids, score->n, 0));
    if (score->top > engine->machine.shape->vocab)
        return cn_fail(CN_ERR_CONFIG,
                       "the %zu largest log-probabilities are asked for, the vocabulary "
                       "has %zu",
                       score->top, engine->machine.shape->vocab);
    if (score->top) CN_TRY(need_scratch(engine));
    size_t slot = 0;
    CN_TRY(find_slot(engine, &slot));
    score->logp[0] = score->entropy[0] = 0;
    for (size_t i = 0; i < score->top; i++) {
        score->top_ids[i] = -1;
        score->top_logp[i] = 0;
    }
    enum cn_status status =
        compute(engine, slot, score->ids, score->n - 1, &(struct span_sink){score_row, &rows});
    cache_release(&engine->machine.cache, slot);
    CN_TRY(status);
    if (rows.status != CN_OK)
        return cn_fail(rows.status,
                       "the model's logits are not finite: its weights hold NaN or infinite "
                       "values, or training diverged");
    return CN_OK;
}
