/* Binds, converts and packs weights. */
#include "weights.h"

#include "cache.h"
#include "../dtype.h"

#include <string.h>

enum { WEIGHTS_ALIGN = 64 };

enum cn_status weights_open(struct weights *w, const struct model_shape *shape, enum cn_dtype dtype)
{
    memset(w, 0, sizeof *w);
    if (dtype != CN_DTYPE_F32 && dtype != CN_DTYPE_BF16)
        return cn_fail(CN_ERR_CONFIG, "the decode engine computes in F32 or BF16, not %s",
                       cn_dtype_name(dtype));
    w->shape = shape;
    w->dtype = dtype;
    cn_arena_init(&w->arena);
    CN_TRY(shape_tensors(shape, &w->arena, &w->tensor, &w->count));
    CN_TRY(CN_NEW(&w->arena, (shape->layers + 1) * TENSOR_ROLE_COUNT, &w->data));
    CN_TRY(CN_NEW(&w->arena, w->count, &w->source));
    return CN_NEW(&w->arena, w->count, &w->offset);
}

void weights_close(struct weights *w)
{
    cache_unmap(w->own, w->own_bytes);
    cn_arena_free(&w->arena);
    memset(w, 0, sizeof *w);
}

static enum cn_status find_source(const struct shape_tensor *tensor,
                                  const struct cn_buffer *buffers, size_t n,
                                  const struct cn_buffer **out)
{
    for (size_t i = 0; i < n; i++) {
        const struct cn_buffer *b = &buffers[i];
        if (strcmp(b->name, tensor->name) != 0) continue;
        bool same = b->rank == tensor->rank;
        for (int d = 0; same && d < b->rank; d++)
            same = b->shape[d] == tensor->shape[d];
        if (!same)
            return cn_fail(CN_ERR_MODEL, "tensor %s has another shape than the model's config says",
                           tensor->name);
        if (b->dtype != CN_DTYPE_F32 && b->dtype != CN_DTYPE_BF16)
            return cn_fail(CN_ERR_MODEL, "tensor %s is %s: the decode engine takes F32 or BF16",
                           tensor->name, cn_dtype_name(b->dtype));
        if (b->device >= 0)
            return cn_fail(CN_ERR_MODEL,
                           "tensor %s lies on device %d: the decode engine needs it on "
                           "the host",
                           tensor->name, b->device);
        *out = b;
        return CN_OK;
    }
    return cn_fail(CN_ERR_MODEL, "the model lends no tensor %s", tensor->name);
}

static bool is_packed(const struct weights *w, const struct shape_tensor *tensor)
{
    return w->dtype == CN_DTYPE_BF16 && tensor->rank == 2;
}

/* Bytes of the engine's own copy of a tensor; 0: none. */
static size_t own_bytes(const struct weights *w, size_t i)
{
    const struct shape_tensor *tensor = &w->tensor[i];
    if (tensor->role == TENSOR_EMBED && !w->shape->tied) return 0;
    if (is_packed(w, tensor))
        return kernel_weights_count((size_t)tensor->shape[0], (size_t)tensor->shape[1]) *
               sizeof(uint16_t);
    return w->source[i]->dtype == CN_DTYPE_F32 ? 0 : tensor->count * sizeof(float);
}

/* Places of the own copies, one after the other. */
static enum cn_status reserve(struct weights *w)
{
    size_t bytes = 0;
    for (size_t i = 0; i < w->count; i++) {
        size_t own = own_bytes(w, i);
        w->offset[i] = own ? bytes : SIZE_MAX;
        bytes += kernel_round_up(own, WEIGHTS_ALIGN);
    }
    if (bytes != w->own_bytes) {
        cache_unmap(w->own, w->own_bytes);
        w->own_bytes = 0;
        w->own = bytes ? cache_map(bytes) : NULL;
        if (bytes && !w->own)
            return cn_fail(CN_ERR_MEMORY,
                           "no memory for the decode engine's copy of the weights "
                           "(%.1f MB)",
                           (double)bytes / 1e6);
        w->own_bytes = bytes;
    }
    return CN_OK;
}

struct packing {
    struct weights *w;
    const struct kernels *kernels;
    size_t threads;
};

/* Every thread does its share of every tensor. */
static void pack_share(void *context, size_t thread)
{
    const struct packing *p = context;
    const struct weights *w = p->w;
    for (size_t i = 0; i < w->count; i++) {
        if (w->offset[i] == SIZE_MAX) continue;
        const struct shape_tensor *tensor = &w->tensor[i];
        const struct cn_buffer *from = w->source[i];
        size_t begin, end;
        if (is_packed(w, tensor)) {
            struct kernel_weights pack = {.in = from->data,
                                          .in_bf16 = from->dtype == CN_DTYPE_BF16,
                                          .out = (uint16_t *)(void *)(w->own + w->offset[i]),
                                          .n = (size_t)tensor->shape[0],
                                          .k = (size_t)tensor->shape[1]};
            pool_split(kernel_blocks(pack.n), thread, p->threads, &begin, &end);
            p->kernels->pack_weights(&pack, begin, end);
        } else {
            pool_split(tensor->count, thread, p->threads, &begin, &end);
            const char *in = (const char *)from->data + begin * cn_dtype_size(from->dtype);
            float *out = (float *)(void *)(w->own + w->offset[i]) + begin;
            dtype_to_f32(from->dtype, in, end - begin, out);
        }
    }
}

enum cn_status weights_bind(struct weights *w, const struct cn_buffer *buffers, size_t n,
                            const struct kernels *kernels, struct pool *pool)
{
    for (size_t i = 0; i < w->count; i++) {
        CN_TRY(find_source(&w->tensor[i], buffers, n, &w->source[i]));
        if (w->tensor[i].role == TENSOR_EMBED) w->embed = w->source[i];
    }
    CN_TRY(reserve(w));
    struct packing packing = {w, kernels, pool_size(pool)};
    pool_run(pool, pack_share, &packing);
    for (size_t i = 0; i < w->count; i++) {
        size_t place = (size_t)(w->tensor[i].layer + 1) * TENSOR_ROLE_COUNT + w->tensor[i].role;
        w->data[place] = w->offset[i] == SIZE_MAX ? w->source[i]->data : w->own + w->offset[i];
    }
    return CN_OK;
}

void weights_embed(const struct weights *w, int32_t token, float *out)
{
    const size_t hidden = w->shape->hidden, first = (size_t)token * hidden;
    if (w->embed->dtype == CN_DTYPE_BF16) {
        const uint16_t *row = (const uint16_t *)w->embed->data + first;
        for (size_t i = 0; i < hidden; i++)
            out[i] = dtype_f32_of_bf16(row[i]);
    } else if (w->dtype == CN_DTYPE_BF16) {
        const float *row = (const float *)w->embed->data + first;
        for (size_t i = 0; i < hidden; i++)
            out[i] = dtype_f32_of_bf16(dtype_bf16_of_f32(row[i]));
    } else {
        memcpy(out, (const float *)w->embed->data + first, hidden * sizeof *out);
    }
}
