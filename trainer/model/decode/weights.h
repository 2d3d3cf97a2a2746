/* The engine's view of a model's weights: F32 is used in place; BF16 is packed for the dot
 * products, which is the only second copy.  A model of the other dtype is converted. */
#ifndef CARNOT_DECODE_WEIGHTS_H
#define CARNOT_DECODE_WEIGHTS_H

#include "kernels.h"
#include "pool.h"
#include "../shape.h"

struct weights {
    const struct model_shape *shape;
    enum cn_dtype dtype;               /* of the products: F32 or BF16 */
    const struct shape_tensor *tensor; /* (count) */
    size_t count;
    const void **data;             /* (layers + 1, TENSOR_ROLE_COUNT); row 0: tensors of no layer */
    const struct cn_buffer *embed; /* rows are looked up in the lent buffer */
    const struct cn_buffer **source; /* (count) lent */
    size_t *offset;                  /* (count) into `own`; SIZE_MAX: used in place */
    char *own;
    size_t own_bytes;
    struct cn_arena arena;
};

/* Finds every tensor of `shape` in `buffers` (lent until the next weights_bind) and packs.
 * Fails: CN_ERR_MODEL naming the tensor that is absent or has another shape, dtype or place;
 * CN_ERR_MEMORY. */
enum cn_status weights_open(struct weights *w, const struct model_shape *shape,
                            enum cn_dtype dtype);
enum cn_status weights_bind(struct weights *w, const struct cn_buffer *buffers, size_t n,
                            const struct kernels *kernels, struct pool *pool);
void weights_close(struct weights *w);

/* A tensor as kernels want it, or NULL if the model has none; layer -1 for tensors of no layer. */
static inline const void *weights_get(const struct weights *w, int layer, enum tensor_role role)
{
    return w->data[(size_t)(layer + 1) * TENSOR_ROLE_COUNT + role];
}

/* The output matrix: lm_head, or the embedding where they are tied. */
static inline const void *weights_head(const struct weights *w)
{
    return weights_get(w, -1, w->shape->tied ? TENSOR_EMBED : TENSOR_HEAD);
}

/* Embedding of a token, rounded as the products' weights are. */
void weights_embed(const struct weights *w, int32_t token, float *out);

#endif
