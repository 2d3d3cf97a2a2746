/* The decode engine as a sampler of carnot/model.h, over the weights that a model lends. */
#include "engine.h"

#include "../backend.h"

#include <stdlib.h>

struct decode {
    struct cn_model *model;
    struct engine *engine;
};

static void decode_close(void *self)
{
    struct decode *d = self;
    engine_close(d->engine);
    free(d);
}

static enum cn_status decode_open(struct cn_model *model,
                                  const struct cn_sampler_settings *settings, void **self)
{
    const struct model_shape *shape = model_shape(model);
    if (!shape)
        return cn_fail(CN_ERR_MODEL,
                       "the decode engine samples from transformers; this model (%s) is "
                       "none",
                       cn_model_info(model)->family);
    const struct cn_buffer *buffers;
    size_t n;
    CN_TRY(cn_model_compute_weights(model, &buffers, &n));
    struct decode *d = calloc(1, sizeof *d);
    if (!d) return cn_fail(CN_ERR_MEMORY, "no memory for the decode engine");
    d->model = model;
    struct engine_settings engine = {.shape = shape,
                                     .slots = settings->slots,
                                     .context = settings->context,
                                     .dtype = settings->dtype,
                                     .threads = (size_t)settings->threads,
                                     .isa = settings->isa};
    enum cn_status status = engine_open(&engine, buffers, n, &d->engine);
    if (status != CN_OK) {
        free(d);
        return status;
    }
    *self = d;
    return CN_OK;
}

static enum cn_status decode_refresh(void *self)
{
    struct decode *d = self;
    const struct cn_buffer *buffers;
    size_t n;
    CN_TRY(cn_model_compute_weights(d->model, &buffers, &n));
    return engine_refresh(d->engine, buffers, n);
}

static void decode_rest(void *self)
{
    engine_rest(((struct decode *)self)->engine);
}

static enum cn_status decode_slot_open(void *self, const int32_t *ids, size_t n,
                                       const struct cn_draw *draw, size_t *slot)
{
    return engine_slot_open(((struct decode *)self)->engine, ids, n, draw, slot);
}

static enum cn_status decode_slot_fork(void *self, size_t from, const struct cn_draw *draw,
                                       size_t *slot)
{
    return engine_slot_fork(((struct decode *)self)->engine, from, draw, slot);
}

static enum cn_status decode_slot_append(void *self, size_t slot, const int32_t *ids, size_t n)
{
    return engine_slot_append(((struct decode *)self)->engine, slot, ids, n);
}

static void decode_slot_close(void *self, size_t slot)
{
    engine_slot_close(((struct decode *)self)->engine, slot);
}

static enum cn_status decode_step(void *self, const size_t *slots, size_t n, struct cn_drawn *out)
{
    return engine_step(((struct decode *)self)->engine, slots, n, out);
}

static enum cn_status decode_score(void *self, const int32_t *ids, size_t n, double temperature,
                                   size_t top, double *logp, double *entropy, int32_t *top_ids,
                                   double *top_logp)
{
    struct engine_score score = {ids, n, temperature, top, logp, entropy, top_ids, top_logp};
    return engine_score(((struct decode *)self)->engine, &score);
}

const struct cn_sampler_backend cn_sampler_decode = {
    .name = "decode",
    .open = decode_open,
    .close = decode_close,
    .refresh = decode_refresh,
    .rest = decode_rest,
    .slot_open = decode_slot_open,
    .slot_fork = decode_slot_fork,
    .slot_append = decode_slot_append,
    .slot_close = decode_slot_close,
    .step = decode_step,
    .score = decode_score,
};
