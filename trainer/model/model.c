/* The model seam: picks the back end by settings.type and forwards every call to it. */
#include "backend.h"
#include "decode/choose.h"
#include "plan.h"
#include "safetensors.h"
#include "shape.h"
#include "state.h"
#include "value_head.h"

#include "carnot/shared.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

struct cn_model {
    const struct cn_model_backend *backend;
    void *self;
};

/* ---- the shared object --------------------------------------------------- */

typedef void (*any_function)(void);

/* The shared object finds these in the executable.  Naming them here keeps the linker from leaving
 * out the members of the static libraries that define them. */
__attribute__((used)) static const any_function needed_by_torch[] = {
    (any_function)cn_fail,          (any_function)cn_rng_open,      (any_function)cn_dtype_name,
    (any_function)shape_read,       (any_function)shape_save,       (any_function)shape_tensors,
    (any_function)safetensors_open, (any_function)safetensors_save, (any_function)cn_arena_alloc,
    (any_function)value_head_open,  (any_function)adamw_step,       (any_function)plan_part_name,
    (any_function)model_self,       (any_function)choose_check,     (any_function)shard_open,
    (any_function)state_save,
};

/* MKL cuts a product by the number of threads, which changes its last bits, unless this is set
 * before it is loaded; a value that somebody has set stays.  Where MKL does not know the processor
 * it changes nothing. */
static void keep_bits_of_products(void)
{
    __builtin_cpu_init();
    setenv("MKL_CBWR", __builtin_cpu_supports("avx512f") ? "AVX512,STRICT" : "AVX2,STRICT", 0);
}

/* OpenMP's threads turn round and round after a pass and would take cores from sampling: with
 * 50,000 turns the rollout of a 1M model took 46 and 42 ms instead of 48 and 48, and its training
 * as long as before.  Read when the library is loaded; a value that somebody has set stays. */
static void let_threads_rest(void)
{
    setenv("GOMP_SPINCOUNT", "50000", 0);
}

static enum cn_status open_shared(void **out)
{
    char why[2 * PATH_BYTES];
    keep_bits_of_products();
    let_threads_rest();
    void *shared = cn_shared_open("CN_TORCH_SO", "libcarnot_torch.so", why, sizeof why);
    if (!shared)
        return cn_fail(CN_ERR_MODEL,
                       "%s: build with CN_WITH_TORCH=ON (launch/setup), or set CN_TORCH_SO, or use "
                       "model.type = \"table\"",
                       why);
    *out = shared;
    return CN_OK;
}

/* The shared object stays open until the process ends: libtorch cannot be unloaded. */
static enum cn_status find_torch(const char *device, const struct cn_model_backend **out)
{
    void *shared;
    const bool host = strcmp(device, "cpu") == 0;
    const char *name = host ? CN_MODEL_BACKEND_TORCH_SYMBOL : CN_MODEL_BACKEND_DEVICE_SYMBOL;
    if (!host && strcmp(device, "cuda") != 0 && strcmp(device, "cpu-operators") != 0)
        return cn_fail(CN_ERR_CONFIG, "run.device is \"%s\", allowed are \"cpu\" and \"cuda\"",
                       device);
    CN_TRY(open_shared(&shared));
    const void *symbol = dlsym(shared, name);
    if (!symbol)
        return cn_fail(CN_ERR_MODEL, "libcarnot_torch.so has no %s: it is of another build", name);
    *out = symbol;
    return CN_OK;
}

enum cn_status model_torch_facts(double seconds, struct torch_facts *out)
{
    void *shared;
    enum cn_status (*measure)(double, struct torch_facts *);
    CN_TRY(open_shared(&shared));
    void *symbol = dlsym(shared, CN_MODEL_TORCH_FACTS_SYMBOL);
    if (!symbol)
        return cn_fail(CN_ERR_MODEL, "libcarnot_torch.so has no %s: it is of another build",
                       CN_MODEL_TORCH_FACTS_SYMBOL);
    memcpy(&measure, &symbol, sizeof measure);
    return measure(seconds, out);
}

static enum cn_status find_backend(const struct cn_model_settings *settings,
                                   const struct cn_model_backend **out)
{
    const char *type = settings->type, *device = settings->device ? settings->device : "cpu";
    if (type && strcmp(type, "torch") == 0) return find_torch(device, out);
    if (type && strcmp(type, "table") == 0) {
        if (strcmp(device, "cpu") != 0)
            return cn_fail(CN_ERR_CONFIG,
                           "run.device is \"%s\": a model of type table computes on \"cpu\" only",
                           device);
        *out = &cn_model_backend_table;
        return CN_OK;
    }
    return cn_fail(CN_ERR_CONFIG, "model.type is \"%s\", allowed are \"torch\" and \"table\"",
                   type ? type : "");
}

/* ---- open and close ------------------------------------------------------ */

/* Takes the weights of the value head that a checkpoint keeps beside its model files. */
static enum cn_status find_value_head(const struct cn_model *model, const char *folder)
{
    char path[PATH_BYTES];
    int n = snprintf(path, sizeof path, "%s/state/value_head.safetensors", folder);
    if (n < 0 || n >= PATH_BYTES || access(path, R_OK) != 0) return CN_OK;
    return value_head_load(model->backend->value_head(model->self), path, false);
}

enum cn_status cn_model_open(const struct cn_model_settings *settings, struct cn_model **out)
{
    const struct cn_model_backend *backend = NULL;
    CN_BUG_IF(!needed_by_torch[0]);
    if (!settings->path && !settings->init)
        return cn_fail(
            CN_ERR_CONFIG,
            "model.path is not set: give a Hugging Face folder, or model.init for a random start");
    CN_TRY(find_backend(settings, &backend));
    struct cn_model *model = calloc(1, sizeof *model);
    if (!model) return cn_fail(CN_ERR_MEMORY, "out of memory opening a model");
    model->backend = backend;
    enum cn_status status = backend->open(settings, &model->self);
    if (status != CN_OK) {
        free(model);
        return status;
    }
    if (settings->value_head && settings->path) status = find_value_head(model, settings->path);
    if (status == CN_OK)
        *out = model;
    else
        cn_model_close(model);
    return status;
}

void cn_model_close(struct cn_model *take_model)
{
    if (!take_model) return;
    take_model->backend->close(take_model->self);
    free(take_model);
}

const struct cn_model_info *cn_model_info(const struct cn_model *model)
{
    return model->backend->info(model->self);
}

/* ---- scoring and training ------------------------------------------------ */

enum cn_status cn_model_score(struct cn_model *model, int copy, const struct cn_atom *atom,
                              const struct cn_live_out *out)
{
    return model->backend->score(model->self, copy, atom, out);
}

enum cn_status cn_model_forward(struct cn_model *model, const struct cn_atom *atom,
                                const struct cn_live_out *out)
{
    return model->backend->forward(model->self, atom, out);
}

enum cn_status cn_model_backward(struct cn_model *model, const struct cn_token_grad *grad)
{
    return model->backend->backward(model->self, grad, NULL);
}

enum cn_status cn_model_backward_ready(struct cn_model *model, const struct cn_token_grad *grad,
                                       const struct cn_ready *ready)
{
    return model->backend->backward(model->self, grad, ready);
}

enum cn_status cn_model_zero_gradients(struct cn_model *model)
{
    return model->backend->zero_gradients(model->self);
}

enum cn_status cn_model_gradients(struct cn_model *model, const struct cn_buffer **out, size_t *n)
{
    return model->backend->gradients(model->self, out, n);
}

enum cn_status cn_model_weights(struct cn_model *model, const struct cn_buffer **out, size_t *n)
{
    return model->backend->weights(model->self, out, n);
}

enum cn_status cn_model_flat_gradient(struct cn_model *model, struct cn_buffer out[2], size_t *n)
{
    return model->backend->flat_gradient(model->self, out, n);
}

enum cn_status cn_model_fixed(struct cn_model *model, struct cn_buffer *out, bool *fits)
{
    if (model->backend->fixed) return model->backend->fixed(model->self, out, fits);
    *out = (struct cn_buffer){.dtype = CN_DTYPE_I64, .device = -1};
    *fits = true;
    return CN_OK;
}

enum cn_status cn_model_fixed_add(struct cn_model *model, double limit)
{
    CN_BUG_IF(!model->backend->fixed_add);
    return model->backend->fixed_add(model->self, limit);
}

enum cn_status cn_model_fixed_read(struct cn_model *model, bool fits)
{
    CN_BUG_IF(!model->backend->fixed_read);
    return model->backend->fixed_read(model->self, fits);
}

enum cn_status cn_model_compute_weights(struct cn_model *model, const struct cn_buffer **out,
                                        size_t *n)
{
    const struct value_head *head = model->backend->value_head(model->self);
    struct cn_buffer own[VALUE_HEAD_TENSORS];
    if (model->backend->compute_weights)
        return model->backend->compute_weights(model->self, out, n);
    CN_TRY(cn_model_weights(model, out, n));
    if (head->all.n) *n -= value_head_buffers(head, head->all.weight, own);
    return CN_OK;
}

enum cn_status cn_model_weights_changed(struct cn_model *model)
{
    return model->backend->weights_changed ? model->backend->weights_changed(model->self) : CN_OK;
}

enum cn_status cn_model_step(struct cn_model *model, const struct cn_step_options *options,
                             struct cn_step_result *result)
{
    return model->backend->step(model->self, options, result);
}

enum cn_status cn_model_freeze(struct cn_model *model, const char *path, int *copy)
{
    return model->backend->freeze(model->self, path, copy);
}

enum cn_status cn_model_save(struct cn_model *model, int copy, const char *folder,
                             enum cn_dtype dtype)
{
    return model->backend->save(model->self, copy, folder, dtype);
}

enum cn_status cn_model_state_save(struct cn_model *model, const char *path)
{
    return model->backend->state_save(model->self, path);
}

enum cn_status cn_model_state_load(struct cn_model *model, const char *path)
{
    return model->backend->state_load(model->self, path);
}

enum cn_status cn_model_value_save(struct cn_model *model, const char *path)
{
    return value_head_save(model->backend->value_head(model->self), path);
}

enum cn_status cn_model_value_load(struct cn_model *model, const char *path)
{
    return value_head_load(model->backend->value_head(model->self), path, true);
}

/* ---- what samplers ask --------------------------------------------------- */

const struct model_shape *model_shape(const struct cn_model *model)
{
    return model->backend->shape ? model->backend->shape(model->self) : NULL;
}

int model_threads(const struct cn_model *model)
{
    return model->backend->threads ? model->backend->threads(model->self) : 1;
}

void *model_self(struct cn_model *model)
{
    return model->self;
}

const struct cn_sampler_backend *model_sampler(const struct cn_model *model)
{
    return model->backend->sampler;
}

enum cn_status model_logits(struct cn_model *model, const struct backend_rows *rows, float *out)
{
    return model->backend->logits(model->self, rows, out);
}
