/* What stands behind carnot/model.h: a table of functions per back end, and one per kind of
 * sampler.
 *
 *   model.c          struct cn_model = (backend, its state); picks the back end, forwards calls
 *   sampler.c        struct cn_sampler = (sampler back end, its state); picks the engine, likewise
 *   torch_*.cpp      cn_model_backend_torch, in libcarnot_torch.so, which is opened on first use
 *   model_table.c    cn_model_backend_table
 *   decode/          cn_sampler_decode: the C decode engine over lent weights
 *   sampler_plain.c  cn_sampler_plain: slots over a back end's `logits`; recomputes, slow, the
 *                    reference */
#ifndef CARNOT_MODEL_BACKEND_H
#define CARNOT_MODEL_BACKEND_H

#include "carnot/model.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_sampler_backend;
struct model_shape;
struct value_head;

/* Token ids of `n` sequences, end to end; start (n+1) cuts them.  Each has at least one token. */
struct backend_rows {
    const int32_t *ids;
    const size_t *start;
    size_t n;
    bool all; /* logits of every position; false: of the last position of each sequence */
};

/* All required unless said otherwise; arguments, results and failures are those of the function of
 * the same name in carnot/model.h.  `self` is what `open` returned. */
struct cn_model_backend {
    const char *name;
    enum cn_status (*open)(const struct cn_model_settings *settings, void **self);
    void (*close)(void *self);
    const struct cn_model_info *(*info)(const void *self);

    enum cn_status (*score)(void *self, int copy, const struct cn_atom *atom,
                            const struct cn_live_out *out);
    enum cn_status (*forward)(void *self, const struct cn_atom *atom,
                              const struct cn_live_out *out);
    /* ready: NULL, or whom to tell; a back end need not. */
    enum cn_status (*backward)(void *self, const struct cn_token_grad *grad,
                               const struct cn_ready *ready);
    enum cn_status (*zero_gradients)(void *self);
    enum cn_status (*gradients)(void *self, const struct cn_buffer **out, size_t *n);
    enum cn_status (*weights)(void *self, const struct cn_buffer **out, size_t *n);
    enum cn_status (*flat_gradient)(void *self, struct cn_buffer out[2], size_t *n);
    /* All three, or none: the gradient lies in host memory. */
    enum cn_status (*fixed)(void *self, struct cn_buffer *out, bool *fits);
    enum cn_status (*fixed_add)(void *self, double limit);
    enum cn_status (*fixed_read)(void *self, bool fits);
    enum cn_status (*step)(void *self, const struct cn_step_options *options,
                           struct cn_step_result *result);
    enum cn_status (*freeze)(void *self, const char *path, int *copy);
    enum cn_status (*save)(void *self, int copy, const char *folder, enum cn_dtype dtype);
    enum cn_status (*state_save)(void *self, const char *path);
    enum cn_status (*state_load)(void *self, const char *path);

    /* The value head of an open model; its n is 0 if the model was opened without one. */
    struct value_head *(*value_head)(void *self);

    /* Logits (positions x vocabulary) under the current weights, not divided by a temperature. */
    enum cn_status (*logits)(void *self, const struct backend_rows *rows, float *out);

    /* In the order of shape_tensors: the decode engine packs them.  Absent: `weights`, but for
     * those of the value head. */
    enum cn_status (*compute_weights)(void *self, const struct cn_buffer **out, size_t *n);
    /* Absent: what compute_weights lends is what computes. */
    enum cn_status (*weights_changed)(void *self);
    /* Threads that compute, > 0; absent: one. */
    int (*threads)(const void *self);
    /* The shape of a transformer; NULL (or absent) for others.  Lives as long as the model. */
    const struct model_shape *(*shape)(const void *self);
    /* What samples from this back end unless another engine is asked for.  Optional. */
    const struct cn_sampler_backend *sampler;
};

extern const struct cn_model_backend cn_model_backend_table;

/* Symbols of the shared object, each a const struct cn_model_backend: for device "cpu", and for
 * "cuda" and "cpu-operators" (torch_device.h). */
#define CN_MODEL_BACKEND_TORCH_SYMBOL "cn_model_backend_torch"
#define CN_MODEL_BACKEND_DEVICE_SYMBOL "cn_model_backend_torch_device"

/* ---- samplers: struct cn_sampler forwards to one of these ---------------- */

/* Arguments, results and failures as in carnot/model.h; `self` is what `open` returned. */
struct cn_sampler_backend {
    const char *name;
    /* settings->threads is resolved (> 0); model lives longer than the sampler. */
    enum cn_status (*open)(struct cn_model *model, const struct cn_sampler_settings *settings,
                           void **self);
    void (*close)(void *self);
    enum cn_status (*refresh)(void *self);
    void (*rest)(void *self); /* may be NULL */
    enum cn_status (*slot_open)(void *self, const int32_t *ids, size_t n,
                                const struct cn_draw *draw, size_t *slot);
    enum cn_status (*slot_fork)(void *self, size_t from, const struct cn_draw *draw, size_t *slot);
    enum cn_status (*slot_append)(void *self, size_t slot, const int32_t *ids, size_t n);
    void (*slot_close)(void *self, size_t slot);
    enum cn_status (*step)(void *self, const size_t *slots, size_t n, struct cn_drawn *out);
    enum cn_status (*score)(void *self, const int32_t *ids, size_t n, double temperature,
                            size_t top, double *logp, double *entropy, int32_t *top_ids,
                            double *top_logp);
};

extern const struct cn_sampler_backend cn_sampler_decode; /* trainer/model/decode/ */
extern const struct cn_sampler_backend cn_sampler_plain;  /* over model_logits, any back end */

/* ---- what samplers may ask of a model ------------------------------------ */

const struct model_shape *model_shape(const struct cn_model *model); /* NULL: not a transformer */
int model_threads(const struct cn_model *model);                     /* resolved, > 0 */
void *model_self(struct cn_model *model); /* for the back end's own sampler */
const struct cn_sampler_backend *model_sampler(const struct cn_model *model); /* NULL: none */
/* As the back end's function of the same name. */
enum cn_status model_logits(struct cn_model *model, const struct backend_rows *rows, float *out);

/* ---- facts about libtorch, for carnot doctor ----------------------------- */

struct torch_facts {
    char version[32]; /* that was compiled against */
    char blas[80];    /* what multiplies matrices, and on which path */
    char cuda[160];   /* devices that it can use, or why there are none */
    int cuda_devices, threads;
    double gflops_f32, gflops_bf16; /* best product of two 1024 x 1024 matrices: at::mm, training */
};

/* Opens the shared object and measures for about `seconds` per number.
 * Fails: CN_ERR_MODEL if there is no usable libtorch. */
enum cn_status model_torch_facts(double seconds, struct torch_facts *out);

/* Symbol of the shared object: enum cn_status (double seconds, struct torch_facts *). */
#define CN_MODEL_TORCH_FACTS_SYMBOL "cn_model_torch_facts"

#ifdef __cplusplus
}
#endif
#endif
