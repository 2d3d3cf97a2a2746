/* The table of functions of the device path, which model.c finds in the shared object.
 *
 * A model is opened by the CPU path (which checks, reads and draws the weights) and then moved. */
#include "torch_cuda.h"
#include "torch_device.h"

#include <ATen/Context.h>

#include <cstring>

extern "C" const struct cn_model_backend cn_model_backend_torch;

enum cn_status device_failed(const device_model *model, enum cn_status status)
{
    if (status != CN_ERR_MEMORY) return status;
    const enum plan_part part = model ? model->part : PLAN_MASTER;
    return cn_fail_context(status, "\"%s\" did not fit (try %s)", plan_part_name(part),
                           plan_part_advice(part));
}

namespace
{

device_model &model_of(void *self)
{
    return *(device_model *)self;
}

/* ---- open ---------------------------------------------------------------- */

at::Device find_device(const cn_model_settings &s)
{
    std::string description;
    if (strcmp(s.device, "cpu-operators") == 0) return at::kCPU;
    const int n = cuda_devices(description), gpu = n ? s.gpu % n : 0;
    if (n == 0)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "run.device=cuda: %s (carnot doctor tells more); use run.device=cpu",
                            description.c_str()));
    cuda_use(gpu);
    if (s.dtype == CN_DTYPE_BF16 && cuda_capability() < 80)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "run.device=cuda: model.dtype=bf16 needs compute capability 8.0, this "
                            "device has %d.%d: use model.dtype=f32",
                            cuda_capability() / 10, cuda_capability() % 10));
    return at::Device(at::kCUDA, (at::DeviceIndex)gpu);
}

/* Weights in host memory, F32. */
std::unique_ptr<torch_model> open_host(const cn_model_settings &s)
{
    cn_model_settings settings = s;
    void *self = nullptr;
    if (s.dtype != CN_DTYPE_F32 && s.dtype != CN_DTYPE_BF16)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "model.dtype is %s, the device path computes in F32 or BF16",
                            cn_dtype_name(s.dtype)));
    settings.device = "cpu";
    /* The reference path has one thread: what autograd multiplies is cut by their number. */
    if (strcmp(s.device, "cpu-operators") == 0) settings.threads = 1;
    settings.dtype = CN_DTYPE_F32;
    settings.trainable = false;
    torch_check(cn_model_backend_torch.open(&settings, &self));
    std::unique_ptr<torch_model> host((torch_model *)self);
    host->trainable = s.trainable;
    host->checkpoint = s.checkpoint_activations;
    host->compute = torch_compute();
    if (s.value_head) { /* opened above without what a step needs */
        const struct value_head_size size = {host->shape.hidden, true, s.trainable};
        value_head_close(&host->value);
        host->value = {};
        torch_check(value_head_open(&host->value, &size));
    }
    return host;
}

void fill_rotation(device_model &model)
{
    torch_rotation &r = model.host->rotation;
    const int64_t half = (int64_t)r.frequency.size();
    r.grow(model.host->shape.context + 1);
    const auto move = [&](std::vector<float> &from) {
        return at::from_blob(from.data(), {(int64_t)r.positions, half}, at::kFloat)
            .to(model.of(at::kFloat), false, true);
    };
    model.cosine = move(r.cosine);
    model.sine = move(r.sine);
}

void open_model(device_model &model, const cn_model_settings &s)
{
    if (s.shard.count > 1)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "parallel.shard_optimizer=true: on run.device=%s every rank keeps the "
                            "whole optimizer; leave the key out",
                            s.device));
    model.device = find_device(s);
    model.type = s.dtype == CN_DTYPE_BF16 ? at::kBFloat16 : at::kFloat;
    model.host = open_host(s);
    model.master = model.host->master.to(model.device, at::kFloat, false, true);
    model.host->master = at::Tensor();
    model.part = PLAN_COMPUTE;
    model.weights = device_weights_of(model, model.master, false);
    fill_rotation(model);
    if (!s.trainable) {
        if (model.type != at::kFloat) model.master = at::Tensor();
        return;
    }
    model.part = PLAN_GRADIENT;
    model.gradient = at::zeros_like(model.master);
    model.part = PLAN_MOMENTS;
    model.m = at::zeros_like(model.master);
    model.v = at::zeros_like(model.master);
    device_weights_train(model);
}

enum cn_status device_open(const struct cn_model_settings *settings, void **self)
{
    auto *model = new (std::nothrow) device_model();
    if (!model) return cn_fail(CN_ERR_MEMORY, "out of memory opening a model");
    enum cn_status status = device_guard(model, [&] { open_model(*model, *settings); });
    if (status == CN_OK)
        *self = model;
    else
        (void)guard([&] { delete model; });
    return status;
}

void device_close(void *self)
{
    (void)guard([&] { delete (device_model *)self; });
}

const struct cn_model_info *device_info(const void *self)
{
    return &((const device_model *)self)->host->info;
}

/* ---- scoring and training ------------------------------------------------ */

std::unique_ptr<device_pending> plan_atom(device_model &model, const cn_atom &atom)
{
    model.pending.reset();
    model.part = PLAN_ACTIVATIONS;
    if (atom.channels & CN_LIVE_BIT(value) && !model.host->value.all.n)
        torch_check(cn_fail(CN_ERR_MODEL,
                            "no value head: channel value was asked for, but this model has none"));
    if (!(atom.temperature > 0))
        torch_check(cn_fail(CN_ERR_BUG, "temperature of an atom is %g, it must be positive",
                            atom.temperature));
    auto pending = std::make_unique<device_pending>();
    pending->plan = torch_plan_atom(atom, model.host->info, 1);
    pending->temperature = atom.temperature;
    pending->top = atom.top;
    pending->channels = atom.channels;
    if (pending->plan.rows) pending->rows = device_rows_of(model, pending->plan);
    return pending;
}

/* From the last hidden rows to the channels. */
void channels_of(device_model &model, const device_weights &weights, device_pending &pending,
                 const cn_live_out &out)
{
    if (out.logp || out.entropy || out.entropy_top)
        device_head_forward(model, weights, pending, out);
    if (out.value) device_value_forward(model, pending, out.value);
}

enum cn_status device_score(void *self, int copy, const struct cn_atom *atom,
                            const struct cn_live_out *out)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        const device_weights &weights = device_weights_at(model, copy);
        auto pending = plan_atom(model, *atom);
        if (pending->plan.rows) pending->hidden = device_score_rows(model, weights, pending->rows);
        channels_of(model, weights, *pending, *out);
    });
}

enum cn_status device_forward_atom(void *self, const struct cn_atom *atom,
                                   const struct cn_live_out *out)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (!model.host->trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "forward for training: the model was opened for scoring only"));
        auto pending = plan_atom(model, *atom);
        if (pending->plan.rows) device_forward(model, *pending);
        channels_of(model, model.weights, *pending, *out);
        model.pending = std::move(pending);
    });
}

enum cn_status device_backward_atom(void *self, const struct cn_token_grad *grad,
                                    const struct cn_ready *)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (!model.pending) torch_check(cn_fail(CN_ERR_BUG, "backward without a pending forward"));
        std::unique_ptr<device_pending> pending = std::move(model.pending);
        if (!pending->plan.rows) return;
        at::Tensor d_hidden = pending->vocabulary ? device_head_backward(model, *pending, *grad)
                                                  : at::zeros_like(pending->hidden);
        if (grad->d_value && pending->channels & CN_LIVE_BIT(value))
            device_value_backward(model, *pending, grad->d_value, d_hidden);
        model.part = PLAN_ACTIVATIONS;
        device_backward(model, *pending, d_hidden);
    });
}

enum cn_status device_zero_gradients(void *self)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (model.gradient.defined()) model.gradient.zero_();
        if (model.fixed.defined()) {
            model.fixed.zero_();
            model.misfits.zero_();
        }
        const struct adamw &head = model.host->value.all;
        if (head.gradient) std::fill(head.gradient, head.gradient + head.n, 0.0f);
    });
}

/* Buffers over a flat array, wherever it lies, then over the value head's, or NULL. */
const torch_lent &lend(device_model &model, const at::Tensor &flat, float *head, torch_lent &lent)
{
    if (!lent.buffers.empty()) return lent;
    cn_buffer own[VALUE_HEAD_TENSORS];
    const size_t n_own = head ? value_head_buffers(&model.host->value, head, own) : 0;
    lent.buffers = torch_buffers(*model.host->layout, flat, "", lent.names);
    for (cn_buffer &buffer : lent.buffers)
        buffer.device = flat.is_cpu() ? -1 : flat.get_device();
    lent.buffers.insert(lent.buffers.end(), own, own + n_own);
    return lent;
}

enum cn_status device_gradients(void *self, const struct cn_buffer **out, size_t *n)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (!model.host->trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "gradients of a model that was opened for scoring only"));
        const torch_lent &lent =
            lend(model, model.gradient, model.host->value.all.gradient, model.host->lent_gradient);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

enum cn_status device_flat_gradient(void *self, struct cn_buffer out[2], size_t *n)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (!model.host->trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "gradients of a model that was opened for scoring only"));
        out[0] = torch_flat(model.gradient);
        *n = 1 + value_head_flat_gradient(&model.host->value, &out[1]);
    });
}

enum cn_status device_lend_fixed(void *self, struct cn_buffer *out, bool *fits)
{
    return device_guard(&model_of(self), [&] { device_fixed(model_of(self), *out, *fits); });
}

enum cn_status device_add_fixed(void *self, double limit)
{
    return device_guard(&model_of(self), [&] { device_fixed_add(model_of(self), limit); });
}

enum cn_status device_read_fixed(void *self, bool fits)
{
    return device_guard(&model_of(self), [&] { device_fixed_read(model_of(self), fits); });
}

enum cn_status device_lend_weights(void *self, const struct cn_buffer **out, size_t *n)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        const torch_lent &lent =
            lend(model, model.master.defined() ? model.master : model.weights.flat,
                 model.host->value.all.weight, model.host->lent_weights);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

/* A copy in host memory, for the C decode engine. */
enum cn_status device_compute_weights(void *self, const struct cn_buffer **out, size_t *n)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        at::Tensor &copy = model.host->compute.flat;
        if (copy.defined())
            copy.copy_(model.weights.flat);
        else
            copy = model.weights.flat.to(at::kCPU);
        const torch_lent &lent = lend(model, copy, nullptr, model.host->lent_compute);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

/* The copy in host memory goes to the device. */
enum cn_status device_weights_changed(void *self)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        if (model.host->trainable)
            torch_check(cn_fail(CN_ERR_BUG, "weights of a model that learns were overwritten"));
        model.pending.reset();
        device_weights_take(model, model.host->compute.flat);
    });
}

enum cn_status device_step_model(void *self, const struct cn_step_options *options,
                                 struct cn_step_result *result)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        model.pending.reset();
        device_step(model, *options, *result);
    });
}

enum cn_status device_freeze(void *self, const char *path, int *copy)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        model.part = PLAN_FROZEN;
        at::Tensor master = model.master.defined() ? model.master : model.weights.flat;
        if (path) {
            at::Tensor host = at::zeros({(int64_t)model.host->layout->size}, at::kFloat);
            torch_weights_load(*model.host->layout, model.host->shape, path, data(host));
            master = host.to(model.device);
        }
        if (*copy >= 0) {
            model.copies.at((size_t)*copy) = device_weights_of(model, master, true);
            return;
        }
        model.copies.push_back(device_weights_of(model, master, true));
        *copy = (int)model.copies.size() - 1;
    });
}

enum cn_status device_save_model(void *self, int copy, const char *folder, enum cn_dtype dtype)
{
    return device_guard(&model_of(self), [&] { device_save(model_of(self), copy, folder, dtype); });
}

enum cn_status device_state_save_model(void *self, const char *path)
{
    return device_guard(&model_of(self), [&] { device_state_save(model_of(self), path); });
}

enum cn_status device_state_load_model(void *self, const char *path)
{
    return device_guard(&model_of(self), [&] {
        model_of(self).pending.reset();
        device_state_load(model_of(self), path);
    });
}

enum cn_status device_logits_of(void *self, const struct backend_rows *rows, float *out)
{
    device_model &model = model_of(self);
    return device_guard(&model, [&] {
        model.pending.reset();
        model.part = PLAN_WORK;
        torch_plan plan =
            torch_plan_rows(rows->ids, rows->start, rows->n, rows->all, model.host->info);
        if (!plan.rows) return;
        at::Tensor hidden = device_score_rows(model, model.weights, device_rows_of(model, plan))
                                .index_select(0, device_upload(model, plan.head_row));
        const int64_t n = hidden.size(0), step = device_chunk_rows(model),
                      vocab = (int64_t)model.host->shape.vocab;
        at::Tensor to = at::from_blob(out, {n, vocab}, at::kFloat);
        for (int64_t begin = 0; begin < n; begin += step) {
            const int64_t count = std::min(step, n - begin);
            to.narrow(0, begin, count)
                .copy_(device_logits(model.weights, hidden.narrow(0, begin, count)));
        }
    });
}

struct value_head *device_value_head(void *self)
{
    return &model_of(self).host->value;
}

const struct model_shape *device_shape(const void *self)
{
    return &((const device_model *)self)->host->shape;
}

int device_threads(const void *self)
{
    return ((const device_model *)self)->host->threads;
}

} // namespace

extern "C" __attribute__((visibility("default")))
const struct cn_model_backend cn_model_backend_torch_device;
const struct cn_model_backend cn_model_backend_torch_device = {
    .name = "torch",
    .open = device_open,
    .close = device_close,
    .info = device_info,
    .score = device_score,
    .forward = device_forward_atom,
    .backward = device_backward_atom,
    .zero_gradients = device_zero_gradients,
    .gradients = device_gradients,
    .weights = device_lend_weights,
    .flat_gradient = device_flat_gradient,
    .fixed = device_lend_fixed,
    .fixed_add = device_add_fixed,
    .fixed_read = device_read_fixed,
    .step = device_step_model,
    .freeze = device_freeze,
    .save = device_save_model,
    .state_save = device_state_save_model,
    .state_load = device_state_load_model,
    .value_head = device_value_head,
    .logits = device_logits_of,
    .compute_weights = device_compute_weights,
    .weights_changed = device_weights_changed,
    .threads = device_threads,
    .shape = device_shape,
    .sampler = &cn_sampler_device,
};
