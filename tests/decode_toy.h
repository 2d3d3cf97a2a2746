/* A random model, its engines and samples from it: what the tests of the decode engine share. */
#ifndef CARNOT_DECODE_TOY_H
#define CARNOT_DECODE_TOY_H

#include "check.h"

#include "trainer/model/decode/engine.h"
#include "trainer/model/decode/kernels.h"

static const char *const sets[] = {"portable", "avx2", "avx512f", "avx512bf16", "amx"};
enum { SETS = sizeof sets / sizeof *sets };

static inline bool runs_here(const char *isa)
{
    const struct kernels *kernels;
    bool runs = kernels_pick(isa, &kernels) == CN_OK;
    cn_fail_clear();
    return runs;
}

/* ---- a random model ------------------------------------------------------ */

enum { BUFFERS_MAX = 64 };

/* A shape whose sizes are no multiple of anything convenient: prime vocabulary, odd head dimension
 * halves, 3 queries per key head unless said otherwise, tiles and blocks that end early. */
struct toy {
    struct model_shape shape;
    struct cn_buffer buffer[BUFFERS_MAX];
    size_t n;
    struct cn_arena arena;
};

static inline void toy_fill(struct toy *toy, uint64_t seed)
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

static inline enum cn_status toy_open_heads(struct toy *toy, uint64_t seed, size_t heads,
                                            size_t kv_heads)
{
    memset(toy, 0, sizeof *toy);
    toy->shape = (struct model_shape){.family = MODEL_QWEN3,
                                      .vocab = 263,
                                      .hidden = 44,
                                      .intermediate = 75,
                                      .layers = 3,
                                      .heads = heads,
                                      .kv_heads = kv_heads,
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

static inline enum cn_status toy_open(struct toy *toy, uint64_t seed)
{
    return toy_open_heads(toy, seed, 6, 2);
}

struct kind {
    const char *isa;
    enum cn_dtype dtype;
    size_t threads, slots;
};

static inline enum cn_status toy_engine(const struct toy *toy, struct kind kind,
                                        struct engine **out)
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

static inline size_t prompt_ids(size_t prompt, int32_t *ids)
{
    static const size_t lengths[PROMPTS] = {1, 2, 5, 31, 32, 33, 64, 7, 150, 130, 3, 20, 45};
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(9, 9, CN_RNG_TEST), prompt, 0, 0);
    for (size_t i = 0; i < lengths[prompt]; i++)
        ids[i] = (int32_t)cn_rng_below(&rng, 263);
    return lengths[prompt];
}

static inline struct cn_draw toy_draw(size_t prompt, uint32_t sample)
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

static inline bool same_drawn(const struct cn_drawn *a, const struct cn_drawn *b)
{
    return a->token == b->token && memcmp(&a->logp, &b->logp, sizeof a->logp) == 0 &&
           memcmp(&a->logp_truncated, &b->logp_truncated, sizeof a->logp) == 0 &&
           memcmp(&a->entropy, &b->entropy, sizeof a->entropy) == 0;
}

/* Each prompt alone: one slot, one row at a time. */
static inline enum cn_status sample_alone(struct engine *engine, size_t prompt, uint32_t number,
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

#endif
