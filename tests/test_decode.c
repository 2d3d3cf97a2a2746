/* The C decode engine: equal to transformers on tiny models (golden numbers:
 * tests/data/make_models.py), and the promise that a sample's bits depend on nothing but itself.
 * Random models are made here. */
#include "check.h"

#include "trainer/model/decode/engine.h"
#include "trainer/model/decode/kernels.h"
#include "trainer/model/dtype.h"
#include "trainer/model/safetensors.h"

#include <stdlib.h>

static const char *const sets[] = {"portable", "avx2", "avx512f", "avx512bf16"};
enum { SETS = sizeof sets / sizeof *sets };

static bool runs_here(const char *isa)
{
    const struct kernels *kernels;
    bool runs = kernels_pick(isa, &kernels) == CN_OK;
    cn_fail_clear();
    return runs;
}

/* ---- golden models
 * ------------------------------------------------------------------------------------------- */

static const char *const golden_models[] = {"llama_tied", "llama3_scaled", "llama_linear_bias",
                                            "qwen2", "qwen3"};
enum { GOLDEN_MODELS = 5 };

static void check_golden(const char *name, const char *isa, enum cn_dtype dtype, double tolerance)
{
    char folder[512], path[600];
    struct safetensors *weights, *golden;
    struct model_shape shape;
    struct engine *engine;
    snprintf(folder, sizeof folder, "%s/models/%s", CN_TEST_DATA, name);
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    CHECK_OK(shape_read(folder, &shape));
    CHECK_OK(safetensors_open(folder, &weights));
    CHECK_OK(safetensors_open(path, &golden));
    size_t n, sequences = safetensors_find(golden, "group")->count;
    const struct cn_buffer *buffers = safetensors_tensors(weights, &n);
    struct engine_settings settings = {
        .shape = &shape, .slots = 2, .context = 128, .threads = 2, .dtype = dtype, .isa = isa};
    CHECK_OK(engine_open(&settings, buffers, n, &engine));
    double temperature = atof(safetensors_metadata(golden, "temperature")), worst = 0, sum = 0;
    int compared = 0;
    for (size_t s = 0; s < sequences; s++) {
        int64_t start[2];
        int32_t ids[128];
        double logp[128], entropy[128], expected[2][128];
        uint8_t role[128];
        memcpy(start, (const char *)safetensors_find(golden, "seq_start")->data + 8 * s, 16);
        size_t first = (size_t)start[0], length = (size_t)(start[1] - start[0]);
        memcpy(ids, (const char *)safetensors_find(golden, "token")->data + 4 * first, 4 * length);
        memcpy(role, (const char *)safetensors_find(golden, "role")->data + first, length);
        memcpy(expected[0], (const char *)safetensors_find(golden, "logp")->data + 8 * first,
               8 * length);
        memcpy(expected[1], (const char *)safetensors_find(golden, "entropy")->data + 8 * first,
               8 * length);
        struct engine_score score = {ids, length, temperature, 0, logp, entropy, NULL, NULL};
        CHECK_OK(engine_score(engine, &score));
        for (size_t t = 1; t < length; t++) {
            if (role[t] != 1) continue;
            worst = fmax(worst,
                         fmax(fabs(logp[t] - expected[0][t]), fabs(entropy[t] - expected[1][t])));
            sum += fabs(logp[t] - expected[0][t]);
            compared++;
        }
    }
    CHECK(compared > 50);
    if (!(worst < tolerance && sum / compared < tolerance / 5))
        CHECK_FAILED("%s, %s: differs by %g, on average %g", name, isa, worst, sum / compared);
    engine_close(engine);
    safetensors_close(golden);
    safetensors_close(weights);
}

TEST(every_family_and_option_equals_transformers_in_fp32)
{
    for (int s = 0; s < SETS; s++)
        for (int i = 0; i < GOLDEN_MODELS && runs_here(sets[s]); i++)
            check_golden(golden_models[i], sets[s], CN_DTYPE_F32, 1e-5);
}

TEST(bf16_weights_and_cache_stay_near_transformers)
{
    for (int s = 0; s < SETS; s++)
        for (int i = 0; i < GOLDEN_MODELS && runs_here(sets[s]); i++)
            check_golden(golden_models[i], sets[s], CN_DTYPE_BF16, 0.1);
}

/* ---- random models
 * ------------------------------------------------------------------------------------------- */

enum { BUFFERS_MAX = 64 };

/* A shape whose sizes are no multiple of anything convenient: prime vocabulary, odd head dimension
 * halves, 3 queries per key head, tiles and blocks that end early. */
struct toy {
    struct model_shape shape;
    struct cn_buffer buffer[BUFFERS_MAX];
    size_t n;
    struct cn_arena arena;
};

static void toy_fill(struct toy *toy, uint64_t seed)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(seed, 0, CN_RNG_TEST), 0, 0, 0);
    for (size_t i = 0; i < toy->n; i++)
        for (size_t j = 0; j < toy->buffer[i].count; j++) {
            double value = toy->buffer[i].rank == 1 ? 1 + 0.1 * cn_rng_normal(&rng)
                                                    : 0.2 * cn_rng_normal(&rng);
            ((float *)toy->buffer[i].data)[j] = (float)value;
        }
}

static enum cn_status toy_open(struct toy *toy, uint64_t seed)
{
    memset(toy, 0, sizeof *toy);
    toy->shape = (struct model_shape){.family = MODEL_QWEN3,
                                      .vocab = 263,
                                      .hidden = 44,
                                      .intermediate = 75,
                                      .layers = 3,
                                      .heads = 6,
                                      .kv_heads = 2,
                                      .head_dim = 18,
                                      .context = 400,
                                      .rms_eps = 1e-6,
                                      .rope_theta = 10000,
                                      .qk_norm = true,
                                      .qkv_bias = true,
                                      .tied = seed % 2 == 0};
    const struct shape_tensor *tensor;
    CN_TRY(shape_tensors(&toy->shape, &toy->arena, &tensor, &toy->n));
    CN_BUG_IF(toy->n > BUFFERS_MAX);
    for (size_t i = 0; i < toy->n; i++) {
        float *data;
        CN_TRY(CN_NEW(&toy->arena, tensor[i].count, &data));
        toy->buffer[i] = (struct cn_buffer){.name = tensor[i].name,
                                            .dtype = CN_DTYPE_F32,
                                            .rank = tensor[i].rank,
                                            .shape = {tensor[i].shape[0], tensor[i].shape[1]},
                                            .count = tensor[i].count,
                                            .data = data,
                                            .device = -1};
    }
    toy_fill(toy, seed);
    return CN_OK;
}

struct kind {
    const char *isa;
    enum cn_dtype dtype;
    size_t threads, slots;
};

static enum cn_status toy_engine(const struct toy *toy, struct kind kind, struct engine **out)
{
    struct engine_settings settings = {.shape = &toy->shape,
                                       .slots = kind.slots,
                                       .context = 300,
                                       .threads = kind.threads,
                                       .dtype = kind.dtype,
                                       .isa = kind.isa};
    return engine_open(&settings, toy->buffer, toy->n, out);
}

/* What one prompt and its samples are. */
enum { STEPS = 40, PROMPTS = 13 };
struct sample {
    struct cn_drawn drawn[STEPS];
};

static size_t prompt_ids(size_t prompt, int32_t *ids)
{
    static const size_t lengths[PROMPTS] = {1, 2, 5, 31, 32, 33, 64, 7, 150, 130, 3, 20, 45};
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(9, 9, CN_RNG_TEST), prompt, 0, 0);
    for (size_t i = 0; i < lengths[prompt]; i++)
        ids[i] = (int32_t)cn_rng_below(&rng, 263);
    return lengths[prompt];
}

static struct cn_draw toy_draw(size_t prompt, uint32_t sample)
{
    struct cn_draw draw = {.key = cn_rng_key(1, 2, CN_RNG_SAMPLING),
                           .prompt = prompt,
                           .sample = sample,
                           .temperature = 0.5 + 0.1 * (double)(prompt % 7),
                           .top_p = 1};
    if (prompt % 5 == 3) draw.top_k = 20;
    if (prompt % 5 == 4) draw.top_p = 0.8;
    return draw;
}

static bool same_drawn(const struct cn_drawn *a, const struct cn_drawn *b)
{
    return a->token == b->token && memcmp(&a->logp, &b->logp, sizeof a->logp) == 0 &&
           memcmp(&a->logp_truncated, &b->logp_truncated, sizeof a->logp) == 0 &&
           memcmp(&a->entropy, &b->entropy, sizeof a->entropy) == 0;
}

/* Each prompt alone: one slot, one row at a time. */
static enum cn_status sample_alone(struct engine *engine, size_t prompt, uint32_t number,
                                   struct sample *out)
{
    int32_t ids[200];
    size_t n = prompt_ids(prompt, ids), slot;
    struct cn_draw draw = toy_draw(prompt, number);
    CN_TRY(engine_slot_open(engine, ids, n, &draw, &slot));
    for (int t = 0; t < STEPS; t++)
        CN_TRY(engine_step(engine, &slot, 1, &out->drawn[t]));
    engine_slot_close(engine, slot);
    return CN_OK;
}

/* All prompts together: slots are refilled as they finish, every step takes a random part of them
 * in random order. sizes[n] counts steps of n rows. */
static enum cn_status sample_crowd(struct engine *engine, size_t slots, uint64_t seed,
                                   struct sample *out, int *sizes)
{
    struct {
        size_t slot, prompt;
        int t;
    } live[PROMPTS];
    size_t n_live = 0, next = 0, done = 0;
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(seed, 3, CN_RNG_TEST), 0, 0, 0);
    while (done < PROMPTS) {
        while (n_live < slots && next < PROMPTS) {
            int32_t ids[200];
            size_t prompt = cn_rng_permute(cn_rng_key(seed, 4, CN_RNG_TEST), next++, PROMPTS);
            size_t n = prompt_ids(prompt, ids);
            struct cn_draw draw = toy_draw(prompt, 0);
            live[n_live].prompt = prompt;
            live[n_live].t = 0;
            CN_TRY(engine_slot_open(engine, ids, n, &draw, &live[n_live++].slot));
        }
        size_t chosen[PROMPTS], rows[PROMPTS], n = 0;
        size_t turn = cn_rng_below(&rng, (uint32_t)n_live);
        bool all = cn_rng_below(&rng, 3) == 0;
        for (size_t i = 0; i < n_live; i++) {
            size_t place = (i + turn) % n_live;
            if (!all && i > 0 && cn_rng_below(&rng, 2)) continue;
            chosen[n] = place;
            rows[n++] = live[place].slot;
        }
        struct cn_drawn drawn[PROMPTS];
        CN_TRY(engine_step(engine, rows, n, drawn));
        sizes[n]++;
        for (size_t i = 0; i < n; i++)
            out[live[chosen[i]].prompt].drawn[live[chosen[i]].t++] = drawn[i];
        for (size_t i = n_live; i-- > 0;) {
            if (live[i].t < STEPS) continue;
            engine_slot_close(engine, live[i].slot);
            live[i] = live[--n_live];
            done++;
        }
    }
    return CN_OK;
}

static void compare_samples(const struct sample *a, const struct sample *b, struct kind kind,
                            size_t slots)
{
    for (size_t p = 0; p < PROMPTS; p++)
        for (int t = 0; t < STEPS; t++)
            if (!same_drawn(&a[p].drawn[t], &b[p].drawn[t])) {
                CHECK_FAILED("%s %s, %zu threads, %zu slots: prompt %zu differs at token %d",
                             kind.isa, cn_dtype_name(kind.dtype), kind.threads, slots, p, t);
                return;
            }
}

static struct sample alone[PROMPTS], crowd[PROMPTS];

static void check_crowds(const struct toy *toy, const char *isa, enum cn_dtype dtype)
{
    struct engine *engine;
    struct kind kind = {isa, dtype, 1, 1};
    CHECK_OK(toy_engine(toy, kind, &engine));
    for (size_t p = 0; p < PROMPTS; p++)
        CHECK_OK(sample_alone(engine, p, 0, &alone[p]));
    engine_close(engine);
    int distinct = 0;
    for (size_t p = 0; p < PROMPTS; p++)
        for (int t = 1; t < STEPS; t++)
            distinct += alone[p].drawn[t].token != alone[p].drawn[t - 1].token;
    CHECK(distinct > PROMPTS * STEPS / 3);
    static const size_t slots[] = {2, 5, 13}, threads[] = {1, 2, 3};
    int sizes[PROMPTS + 1] = {0}, many = 0;
    for (int i = 0; i < 3; i++) {
        kind.threads = threads[i];
        kind.slots = slots[i];
        CHECK_OK(toy_engine(toy, kind, &engine));
        memset(crowd, 0, sizeof crowd);
        CHECK_OK(sample_crowd(engine, slots[i], (uint64_t)i, crowd, sizes));
        compare_samples(alone, crowd, kind, slots[i]);
        size_t all;
        CHECK_INT(engine_blocks_used(engine, &all), 0);
        engine_close(engine);
    }
    /* The batches really differed: many sizes occurred, on both sides of the kernels' limits. */
    for (int n = 1; n <= PROMPTS; n++)
        many += sizes[n] > 0;
    CHECK(many >= 10);
    CHECK(sizes[1] && sizes[2] && sizes[4] && sizes[5] && sizes[8] && sizes[9]);
}

TEST(a_sample_has_the_same_bits_in_any_batch_slot_order_and_number_of_threads)
{
    for (int s = 0; s < SETS; s++) {
        struct toy toy;
        if (!runs_here(sets[s])) continue;
        CHECK_OK(toy_open(&toy, (uint64_t)s));
        check_crowds(&toy, sets[s], CN_DTYPE_F32);
        check_crowds(&toy, sets[s], CN_DTYPE_BF16);
        cn_arena_free(&toy.arena);
    }
}

TEST(a_large_batch_has_the_bits_of_single_rows)
{
    /* More rows than a pass, than a block of packed rows, than a chunk of the head. */
    enum { MANY = 150 };
    for (int d = 0; d < 2; d++) {
        struct toy toy;
        struct engine *engine;
        static struct cn_drawn single[MANY], drawn[MANY];
        size_t slots[MANY];
        int32_t ids[200];
        CHECK_OK(toy_open(&toy, 4));
        CHECK_OK(toy_engine(&toy, (struct kind){NULL, d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, MANY},
                            &engine));
        for (size_t i = 0; i < MANY; i++) {
            size_t n = prompt_ids(i % PROMPTS, ids);
            struct cn_draw draw = toy_draw(i % PROMPTS, (uint32_t)i);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[i]));
            CHECK_OK(engine_step(engine, &slots[i], 1, &single[i]));
            engine_slot_close(engine, slots[i]);
        }
        for (size_t i = 0; i < MANY; i++) {
            size_t n = prompt_ids(i % PROMPTS, ids);
            struct cn_draw draw = toy_draw(i % PROMPTS, (uint32_t)i);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[i]));
        }
        static const size_t counts[] = {150, 128, 65, 64, 33, 32, 17, 16};
        for (int c = 0; c < 8; c++) {
            CHECK_OK(engine_step(engine, slots, c ? counts[c] : MANY, drawn));
            if (c) continue; /* later steps only move on */
            for (size_t i = 0; i < MANY; i++)
                if (!same_drawn(&single[i], &drawn[i])) CHECK_FAILED("row %zu differs", i);
        }
        engine_close(engine);
        cn_arena_free(&toy.arena);
    }
}

TEST(a_fork_continues_as_if_it_had_been_opened_and_shares_its_past)
{
    for (int s = 0; s < SETS; s++)
        for (int d = 0; d < 2; d++) {
            enum { FORKS = 8, PROMPT = 8 };
            struct toy toy;
            struct engine *engine;
            struct sample expected[FORKS];
            size_t slots[FORKS], all;
            int32_t ids[200];
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_open(&toy, 2));
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, FORKS}, &engine));
            for (uint32_t i = 0; i < FORKS; i++)
                CHECK_OK(sample_alone(engine, PROMPT, i, &expected[i]));
            size_t n = prompt_ids(PROMPT, ids); /* 150 tokens: 149 computed, in 5 blocks */
            struct cn_draw draw = toy_draw(PROMPT, 0);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[0]));
            for (uint32_t i = 1; i < FORKS; i++) {
                draw = toy_draw(PROMPT, i);
                CHECK_OK(engine_slot_fork(engine, slots[0], &draw, &slots[i]));
            }
            CHECK_INT(engine_blocks_used(engine, &all), 5);
            struct cn_drawn drawn[FORKS];
            for (int t = 0; t < STEPS; t++) {
                CHECK_OK(engine_step(engine, slots, FORKS, drawn));
                for (int i = 0; i < FORKS; i++)
                    if (!same_drawn(&drawn[i], &expected[i].drawn[t]))
                        CHECK_FAILED("%s: fork %d differs at token %d", sets[s], i, t);
            }
            CHECK(expected[0].drawn[5].token != expected[1].drawn[5].token ||
                  expected[0].drawn[6].token != expected[1].drawn[6].token);
            CHECK_INT(engine_blocks_used(engine, &all),
                      4 + FORKS * 2); /* 189 tokens: 4 shared, 2 of its own */
            /* The parent may go first; a fork of a fork in mid-sequence goes on from there. */
            engine_slot_close(engine, slots[0]);
            size_t child;
            draw = toy_draw(PROMPT, 99);
            CHECK_OK(engine_slot_fork(engine, slots[3], &draw, &child));
            size_t pair[2] = {child, slots[3]};
            for (int t = 0; t < 30; t++)
                CHECK_OK(engine_step(engine, pair, 2, drawn));
            for (int i = 1; i < FORKS; i++)
                engine_slot_close(engine, slots[i]);
            engine_slot_close(engine, child);
            CHECK_INT(engine_blocks_used(engine, &all), 0);
            engine_close(engine);
            cn_arena_free(&toy.arena);
        }
}

TEST(appended_tokens_and_scores_have_the_bits_of_steps)
{
    for (int s = 0; s < SETS; s++)
        for (int d = 0; d < 2; d++) {
            enum { PROMPT = 9, LENGTH = 130 + STEPS };
            struct toy toy;
            struct engine *engine;
            struct sample expected, found;
            int32_t ids[LENGTH + 1], top_ids[LENGTH * 3];
            double logp[LENGTH], entropy[LENGTH], top_logp[LENGTH * 3];
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_open(&toy, 7));
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, 3}, &engine));
            CHECK_OK(sample_alone(engine, PROMPT, 0, &expected));
            size_t n = prompt_ids(PROMPT, ids), slot;
            struct cn_draw draw = toy_draw(PROMPT, 0);
            CHECK_OK(engine_slot_open(engine, ids, 40, &draw, &slot));
            CHECK_OK(engine_slot_append(engine, slot, ids + 40, 1));
            CHECK_OK(engine_slot_append(engine, slot, ids + 41, n - 41));
            for (int t = 0; t < STEPS; t++) {
                CHECK_OK(engine_step(engine, &slot, 1, &found.drawn[t]));
                if (!same_drawn(&found.drawn[t], &expected.drawn[t]))
                    CHECK_FAILED("append differs at %d", t);
            }
            for (int t = 0; t < STEPS; t++)
                ids[n + (size_t)t] = expected.drawn[t].token;
            struct engine_score score = {ids,  LENGTH,  draw.temperature, 3,
                                         logp, entropy, top_ids,          top_logp};
            CHECK_OK(engine_score(engine, &score));
            CHECK_NEAR(logp[0], 0, 0);
            CHECK_INT(top_ids[0], -1);
            for (size_t t = 0; t < STEPS; t++) {
                CHECK_NEAR(logp[n + t], expected.drawn[t].logp, 0);
                CHECK_NEAR(entropy[n + t], expected.drawn[t].entropy, 0);
                for (size_t i = 0; i < 3; i++)
                    if (top_ids[(n + t) * 3 + i] == ids[n + t])
                        CHECK_NEAR(top_logp[(n + t) * 3 + i], logp[n + t], 0);
            }
            engine_close(engine);
            cn_arena_free(&toy.arena);
        }
}

TEST(instruction_sets_agree_and_bf16_is_close)
{
    enum { LENGTH = 150 };
    struct toy toy;
    struct engine *engine;
    int32_t ids[LENGTH];
    double first[LENGTH], logp[LENGTH], entropy[LENGTH];
    CHECK_OK(toy_open(&toy, 7));
    prompt_ids(8, ids);
    for (int d = 0; d < 2; d++)
        for (int s = 0; s < SETS; s++) {
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 1, 1}, &engine));
            CHECK_TEXT(engine_isa(engine), sets[s]);
            struct engine_score score = {ids, LENGTH, 1, 0, logp, entropy, NULL, NULL};
            CHECK_OK(engine_score(engine, &score));
            double mean = 0;
            for (int t = 1; t < LENGTH; t++) {
                if (d == 0 && s == 0) first[t] = logp[t];
                mean += fabs(logp[t] - first[t]) / LENGTH;
                if (d == 0) CHECK_NEAR(logp[t], first[t], 1e-4);
            }
            if (d) CHECK(mean > 0 && mean < 0.05);
            engine_close(engine);
        }
    cn_arena_free(&toy.arena);
}

TEST(refreshed_weights_are_the_ones_used)
{
    for (int d = 0; d < 2; d++) {
        struct toy toy;
        struct engine *engine, *fresh;
        struct sample before, after, expected;
        struct kind kind = {NULL, d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, 2};
        CHECK_OK(toy_open(&toy, 11));
        CHECK_OK(toy_engine(&toy, kind, &engine));
        CHECK_OK(sample_alone(engine, 3, 0, &before));
        toy_fill(&toy, 12);
        CHECK_OK(engine_refresh(engine, toy.buffer, toy.n));
        CHECK_OK(sample_alone(engine, 3, 0, &after));
        CHECK_OK(toy_engine(&toy, kind, &fresh));
        CHECK_OK(sample_alone(fresh, 3, 0, &expected));
        for (int t = 0; t < STEPS; t++)
            CHECK(same_drawn(&after.drawn[t], &expected.drawn[t]));
        CHECK(!same_drawn(&before.drawn[0], &after.drawn[0]));
        int32_t id = 1;
        size_t slot;
        struct cn_draw draw = toy_draw(0, 0);
        CHECK_OK(engine_slot_open(engine, &id, 1, &draw, &slot));
        CHECK_FAILS(engine_refresh(engine, toy.buffer, toy.n), CN_ERR_BUG, "open");
        engine_close(fresh);
        engine_close(engine);
        cn_arena_free(&toy.arena);
    }
}

TEST(bf16_buffers_serve_both_engines)
{
    struct toy toy;
    struct engine *engine;
    struct sample expected[2], found;
    struct cn_buffer buffers[BUFFERS_MAX];
    CHECK_OK(toy_open(&toy, 5));
    for (size_t i = 0; i < toy.n;
         i++) { /* round the floats, so that both forms hold the same numbers */
        uint16_t *half;
        float *data = toy.buffer[i].data;
        CHECK_OK(CN_NEW(&toy.arena, toy.buffer[i].count, &half));
        for (size_t j = 0; j < toy.buffer[i].count; j++) {
            half[j] = dtype_bf16_of_f32(data[j]);
            data[j] = dtype_f32_of_bf16(half[j]);
        }
        buffers[i] = toy.buffer[i];
        buffers[i].dtype = CN_DTYPE_BF16;
        buffers[i].data = half;
    }
    for (int d = 0; d < 2; d++) {
        struct kind kind = {NULL, d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 1, 1};
        CHECK_OK(toy_engine(&toy, kind, &engine));
        CHECK_OK(sample_alone(engine, 6, 0, &expected[d]));
        CHECK_OK(engine_refresh(engine, buffers, toy.n));
        CHECK_OK(sample_alone(engine, 6, 0, &found));
        for (int t = 0; t < STEPS; t++)
            CHECK(same_drawn(&found.drawn[t], &expected[d].drawn[t]));
        CHECK_OK(engine_refresh(engine, toy.buffer, toy.n));
        engine_close(engine);
    }
    cn_arena_free(&toy.arena);
}

TEST(bad_requests_are_refused_with_reasons)
{
    struct toy toy;
    struct engine *engine;
    struct cn_draw draw = toy_draw(0, 0);
    int32_t ids[400] = {0};
    size_t slot, other;
    struct cn_drawn drawn;
    CHECK_OK(toy_open(&toy, 5));
    struct kind kind = {NULL, CN_DTYPE_F32, 1, 1};
    CHECK_OK(toy_engine(&toy, kind, &engine));
    CHECK_FAILS(engine_slot_open(engine, ids, 301, &draw, &slot), CN_ERR_MODEL, "301 tokens");
    ids[7] = 263;
    CHECK_FAILS(engine_slot_open(engine, ids, 10, &draw, &slot), CN_ERR_MODEL,
                "id 263 at position 7");
    ids[7] = -1;
    CHECK_FAILS(engine_slot_open(engine, ids, 10, &draw, &slot), CN_ERR_MODEL, "vocabulary of 263");
    ids[7] = 0;
    CHECK_OK(engine_slot_open(engine, ids, 299, &draw, &slot));
    CHECK_FAILS(engine_slot_fork(engine, slot, &draw, &other), CN_ERR_BUG, "slots are open");
    CHECK_FAILS(engine_slot_append(engine, slot, ids, 2), CN_ERR_MODEL, "301 tokens");
    CHECK_OK(engine_step(engine, &slot, 1, &drawn));
    CHECK_OK(engine_step(engine, &slot, 1, &drawn));
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_MODEL, "is full");
    engine_slot_close(engine, slot);
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_BUG, "open");
    draw.temperature = -1;
    CHECK_FAILS(engine_slot_open(engine, ids, 1, &draw, &slot), CN_ERR_CONFIG, "temperature");
    engine_close(engine);
    kind.isa = "sse9";
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_CONFIG, "sse9");
    kind.isa = NULL;
    kind.dtype = CN_DTYPE_F16;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_CONFIG, "F16");
    kind.dtype = CN_DTYPE_F32;
    toy.buffer[2].shape[0]++;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_MODEL, toy.buffer[2].name);
    toy.buffer[2].shape[0]--;
    toy.n--;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_MODEL, toy.buffer[toy.n].name);
    cn_arena_free(&toy.arena);
}

TEST(not_a_number_in_the_weights_is_reported)
{
    struct toy toy;
    struct engine *engine;
    struct cn_draw draw = toy_draw(0, 0);
    int32_t ids[3] = {1, 2, 3};
    size_t slot;
    struct cn_drawn drawn;
    double logp[3], entropy[3];
    CHECK_OK(toy_open(&toy, 5));
    ((float *)toy.buffer[3].data)[5] = NAN;
    CHECK_OK(toy_engine(&toy, (struct kind){NULL, CN_DTYPE_F32, 2, 2}, &engine));
    CHECK_OK(engine_slot_open(engine, ids, 3, &draw, &slot));
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_NUMERIC, "NaN");
    struct engine_score score = {ids, 3, 1, 0, logp, entropy, NULL, NULL};
    CHECK_FAILS(engine_score(engine, &score), CN_ERR_NUMERIC, "NaN");
    engine_close(engine);
    cn_arena_free(&toy.arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
