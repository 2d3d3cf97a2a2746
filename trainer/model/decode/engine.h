/* The decode engine: slots over a Llama, Qwen2 or Qwen3 transformer on the CPU, in plain C.
 *
 *     engine.c    slots, step, score          forward.c   one pass of rows through the layers
 *     weights.c   lent weights, BF16 copy     kernels*    the loops, per instruction set
 *     cache.c     blocks of keys and values   choose.c    logits -> token          pool.c   threads
 *
 * A row is one token of one slot.  Whatever rows a pass holds, each row's numbers have the same
 * bits (kernels.h). */
#ifndef CARNOT_DECODE_ENGINE_H
#define CARNOT_DECODE_ENGINE_H

#include "carnot/model.h"
#include "../shape.h"

struct engine;

struct engine_settings {
    const struct model_shape *shape; /* lives longer than the engine */
    size_t slots, context;           /* as in struct cn_sampler_settings */
    size_t threads;                  /* > 0 */
    enum cn_dtype dtype;
    const char *isa;
};

/* Opens an engine over lent weights (Hugging Face names), which must stay valid until
 * engine_refresh or engine_close. Fails: CN_ERR_CONFIG, CN_ERR_MODEL, CN_ERR_MEMORY. */
enum cn_status engine_open(const struct engine_settings *settings, const struct cn_buffer *buffers,
                           size_t n, struct engine **out);
void engine_close(struct engine *take_engine);

/* New weights; all slots must be closed. */
enum cn_status engine_refresh(struct engine *engine, const struct cn_buffer *buffers, size_t n);

/* See cn_sampler_rest. */
void engine_rest(struct engine *engine);

/* Arguments, results and failures of the rest: carnot/model.h. */
enum cn_status engine_slot_open(struct engine *engine, const int32_t *ids, size_t n,
                                const struct cn_draw *draw, size_t *slot);
enum cn_status engine_slot_fork(struct engine *engine, size_t from, const struct cn_draw *draw,
                                size_t *slot);
enum cn_status engine_slot_append(struct engine *engine, size_t slot, const int32_t *ids, size_t n);
void engine_slot_close(struct engine *engine, size_t slot);
enum cn_status engine_step(struct engine *engine, const size_t *slots, size_t n,
                           struct cn_drawn *out);

struct engine_score {
    const int32_t *ids; /* (n) */
    size_t n;
    double temperature;
    size_t top;             /* 0: none */
    double *logp, *entropy; /* (n) */
    int32_t *top_ids;       /* (n, top) or NULL; entry 0 is -1 */
    double *top_logp;       /* (n, top) or NULL */
};
enum cn_status engine_score(struct engine *engine, const struct engine_score *score);

/* What was chosen: "avx512bf16" ...; and blocks of the cache in use, of how many (tests). */
const char *engine_isa(const struct engine *engine);
size_t engine_blocks_used(const struct engine *engine, size_t *all);

#endif
