/* Sampling, as carnot/model.h declares it: picks the engine, checks arguments and forwards every
 * call. */
#include "backend.h"

#include "decode/choose.h"

#include <stdlib.h>

struct cn_sampler {
    const struct cn_sampler_backend *backend;
    void *self;
};

/* AUTO is the back end's own sampler, else the C decode engine for whatever is a transformer. */
static const struct cn_sampler_backend *pick(const struct cn_model *model, enum cn_engine engine)
{
    if (engine == CN_ENGINE_DECODE) return &cn_sampler_decode;
    if (engine == CN_ENGINE_AUTO && model_sampler(model)) return model_sampler(model);
    if (engine == CN_ENGINE_AUTO && model_shape(model)) return &cn_sampler_decode;
    return &cn_sampler_plain;
}

enum cn_status cn_sampler_open(struct cn_model *model, const struct cn_sampler_settings *settings,
                               struct cn_sampler **out)
{
    if (settings->slots == 0 || settings->context == 0)
        return cn_fail(CN_ERR_CONFIG,
                       "a sampler needs at least one slot and one token of context (%zu slots, %zu "
                       "tokens asked for)",
                       settings->slots, settings->context);
    struct cn_sampler_settings resolved = *settings;
    if (resolved.threads <= 0) resolved.threads = model_threads(model);
    struct cn_sampler *sampler = calloc(1, sizeof *sampler);
    if (!sampler) return cn_fail(CN_ERR_MEMORY, "no memory for a sampler");
    sampler->backend = pick(model, settings->engine);
    enum cn_status status = sampler->backend->open(model, &resolved, &sampler->self);
    if (status != CN_OK) {
        free(sampler);
        return status;
    }
    *out = sampler;
    return CN_OK;
}

void cn_sampler_close(struct cn_sampler *sampler)
{
    if (!sampler) return;
    sampler->backend->close(sampler->self);
    free(sampler);
}

enum cn_status cn_sampler_refresh(struct cn_sampler *sampler)
{
    return sampler->backend->refresh(sampler->self);
}

void cn_sampler_rest(struct cn_sampler *sampler)
{
    if (sampler->backend->rest) sampler->backend->rest(sampler->self);
}

enum cn_status cn_slot_open(struct cn_sampler *sampler, const int32_t *ids, size_t n,
                            const struct cn_draw *draw, size_t *slot)
{
    CN_BUG_IF(n == 0);
    CN_TRY(choose_check(draw));
    return sampler->backend->slot_open(sampler->self, ids, n, draw, slot);
}

enum cn_status cn_slot_fork(struct cn_sampler *sampler, size_t from, const struct cn_draw *draw,
                            size_t *slot)
{
    CN_TRY(choose_check(draw));
    return sampler->backend->slot_fork(sampler->self, from, draw, slot);
}

enum cn_status cn_slot_append(struct cn_sampler *sampler, size_t slot, const int32_t *ids, size_t n)
{
    return sampler->backend->slot_append(sampler->self, slot, ids, n);
}

void cn_slot_close(struct cn_sampler *sampler, size_t slot)
{
    sampler->backend->slot_close(sampler->self, slot);
}

enum cn_status cn_sampler_step(struct cn_sampler *sampler, const size_t *slots, size_t n,
                               struct cn_drawn *out)
{
    return sampler->backend->step(sampler->self, slots, n, out);
}

enum cn_status cn_sampler_score(struct cn_sampler *sampler, const int32_t *ids, size_t n,
                                double temperature, size_t top, double *logp, double *entropy,
                                int32_t *top_ids, double *top_logp)
{
    return sampler->backend->score(sampler->self, ids, n, temperature, top, logp, entropy, top_ids,
                                   top_logp);
}
