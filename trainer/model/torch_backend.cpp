/* The table of functions that model.c finds in the shared object; see backend.h. */
#include "torch_guard.h"
#include "torch_model.h"

#include <ATen/Context.h>

#include <cstring>
#include <sched.h>

namespace
{

int affinity_cores()
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0) return 1;
    return std::max(1, CPU_COUNT(&set));
}

torch_model &model_of(void *self)
{
    torch_model &model = *(torch_model *)self;
    if (at::get_num_threads() != model.threads) at::set_num_threads(model.threads);
    return model;
}

void check_settings(const cn_model_settings &s)
{
    if (s.device && strcmp(s.device, "cpu") != 0)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "model.device is \"%s\", this build computes on \"cpu\" only",
                            s.device));
    if (s.dtype != CN_DTYPE_F32 && s.dtype != CN_DTYPE_BF16)
        torch_check(cn_fail(CN_ERR_CONFIG,
                            "model.dtype is %s, the torch back end computes in F32 or BF16",
                            cn_dtype_name(s.dtype)));
}

void fill_info(torch_model &model)
{
    struct cn_model_info &info = model.info;
    info.family = shape_family_name(model.shape.family);
    info.vocab_size = model.shape.vocab;
    info.context_length = model.shape.context;
    info.hidden_size = model.shape.hidden;
    info.n_layers = model.shape.layers;
    info.n_parameters = shape_parameters(&model.shape);
    info.tied = model.shape.tied;
    info.value_head = model.value.all.n > 0;
}

std::unique_ptr<torch_model> open_model(const cn_model_settings &s)
{
    check_settings(s);
    auto model = std::make_unique<torch_model>();
    if (s.path)
        torch_check(shape_read(s.path, &model->shape));
    else
        torch_check(shape_parse(s.init, "model.init", &model->shape));
    model->source = s.path ? s.path : "";
    model->trainable = s.trainable;
    model->checkpoint = s.checkpoint_activations;
    model->threads = s.threads > 0 ? s.threads : affinity_cores();
    at::set_num_threads(model->threads);
    at::globalContext().setFloat32MatmulPrecision("highest"); /* fp32 means fp32 */
    const struct value_head_size head = {model->shape.hidden, true, s.trainable};
    if (s.value_head) torch_check(value_head_open(&model->value, &head));
    fill_info(*model);
    model->context.k = torch_kernels_pick(nullptr);
    model->context.half = s.dtype == CN_DTYPE_BF16;
    model->layout = std::make_unique<torch_layout>(model->shape);
    const torch_layout &layout = *model->layout;
    model->master = torch_zeros(layout.size);
    if (s.path)
        torch_weights_load(layout, model->shape, s.path, data(model->master));
    else
        torch_weights_init(layout, model->shape, s.seed, data(model->master));
    model->compute = torch_compute_of(model->context, layout, model->shape, model->master, false);
    model->rotation.frequency.resize(model->shape.head_dim / 2);
    shape_rope_frequencies(&model->shape, model->rotation.frequency.data());
    if (!s.trainable) {
        if (model->context.half) model->master = at::Tensor();
        return model;
    }
    torch_check(shard_open(&model->shard, &s.shard, layout.size));
    const int64_t own = (int64_t)(model->shard.end - model->shard.begin);
    if (!torch_master_whole(*model))
        model->master = model->master.narrow(0, (int64_t)model->shard.begin, own).clone();
    model->gradient = torch_zeros(layout.size);
    model->m = torch_zeros((size_t)own);
    model->v = torch_zeros((size_t)own);
    model->gradient_view = torch_view_of(layout, model->shape, model->gradient,
                                         data(model->gradient) + layout.n_matrices);
    return model;
}

torch_plan plan_atom(torch_model &model, const cn_atom &atom)
{
    if (atom.channels & CN_LIVE_BIT(value) && !model.value.all.n)
        torch_check(cn_fail(CN_ERR_MODEL,
                            "no value head: channel value was asked for, but this model has none"));
    if (!(atom.temperature > 0))
        torch_check(cn_fail(CN_ERR_BUG, "temperature of an atom is %g, it must be positive",
                            atom.temperature));
    torch_plan plan =
        torch_plan_atom(atom, model.info, model.shape.kv_heads * model.shape.head_dim);
    model.rotation.grow(plan.longest);
    return plan;
}

/* From the last hidden rows to the channels.  A critic that is a model of its own gives values
 * only, and skips the vocabulary. */
void channels_of(torch_model &model, const torch_head_pass &pass, const cn_atom &atom,
                 const cn_live_out &out, torch_head_saved &saved)
{
    saved.channels = atom.channels;
    if (out.logp || out.entropy || out.entropy_top) torch_head_forward(pass, atom, out, saved);
    if (out.value) torch_value_forward(pass.plan, pass.hidden, model.value, out.value);
}

/* Back again: d_hidden (padded rows, hidden) is overwritten. */
void channels_back(torch_model &model, const torch_head_pass &pass, const cn_token_grad &grad,
                   torch_head_saved &saved, const at::Tensor &d_hidden)
{
    if (saved.rows.empty()) {
        at::Tensor zeroed = d_hidden;
        zeroed.zero_();
    } else {
        torch_head_backward(pass, grad, saved, d_hidden, model.gradient_view.head);
    }
    if (grad.d_value && saved.channels & CN_LIVE_BIT(value))
        torch_value_backward(pass, grad.d_value, model.value, d_hidden);
}

/* Where the matrices of a layer begin; those of the layers behind it follow, then the head. */
size_t layer_begin(const torch_layout &layout, int64_t layer)
{
    size_t begin = layout.n_matrices;
    for (size_t i = 0; i < layout.n; i++)
        if (layout.tensors[i].layer == layer && layout.tensors[i].rank == 2)
            begin = std::min(begin, layout.offset[i]);
    return begin;
}

enum cn_status torch_open(const struct cn_model_settings *settings, void **self)
{
    return guard([&] { *self = open_model(*settings).release(); });
}

void torch_close(void *self)
{
    (void)guard([&] { delete (torch_model *)self; });
}

const struct cn_model_info *torch_info(const void *self)
{
    return &((const torch_model *)self)->info;
}

enum cn_status torch_score(void *self, int copy, const struct cn_atom *atom,
                           const struct cn_live_out *out)
{
    return guard([&] {
        torch_model &model = model_of(self);
        model.pending.reset();
        model.context.slab.reset();
        const torch_compute &weights = torch_weights_at(model, copy);
        torch_plan plan = plan_atom(model, *atom);
        torch_activations activations;
        torch_head_saved saved;
        if (plan.rows)
            torch_forward({model.context, model.shape, model.rotation, weights.view, plan},
                          torch_keep::nothing, activations);
        channels_of(model, {model.context, plan, weights.view.head, activations.out}, *atom, *out,
                    saved);
    });
}

enum cn_status torch_forward_atom(void *self, const struct cn_atom *atom,
                                  const struct cn_live_out *out)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (!model.trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "forward for training: the model was opened for scoring only"));
        model.pending.reset();
        model.context.slab.reset();
        auto pending = std::make_unique<torch_pending>();
        pending->plan = plan_atom(model, *atom);
        if (pending->plan.rows)
            torch_forward(
                {model.context, model.shape, model.rotation, model.compute.view, pending->plan},
                model.checkpoint ? torch_keep::inputs : torch_keep::everything,
                pending->activations);
        channels_of(
            model,
            {model.context, pending->plan, model.compute.view.head, pending->activations.out},
            *atom, *out, pending->head);
        model.pending = std::move(pending);
    });
}

enum cn_status torch_backward_atom(void *self, const struct cn_token_grad *grad,
                                   const struct cn_ready *ready)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (!model.pending) torch_check(cn_fail(CN_ERR_BUG, "backward without a pending forward"));
        std::unique_ptr<torch_pending> pending = std::move(model.pending);
        if (!pending->plan.rows) return;
        at::Tensor d_hidden = model.context.slab.matrix(pending->plan.padded, model.shape.hidden);
        channels_back(
            model,
            {model.context, pending->plan, model.compute.view.head, pending->activations.out},
            *grad, pending->head, d_hidden);
        torch_backward(
            {model.context, model.shape, model.rotation, model.compute.view, pending->plan},
            pending->activations, d_hidden, model.gradient_view, [&](size_t layer) {
                if (ready)
                    ready->tell(ready->self, layer_begin(*model.layout, (int64_t)layer),
                                model.layout->n_matrices);
            });
    });
}

enum cn_status torch_zero_gradients(void *self)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (model.gradient.defined()) model.gradient.zero_();
        const struct adamw &head = model.value.all;
        if (head.gradient) std::fill(head.gradient, head.gradient + head.n, 0.0f);
    });
}

/* Names what is lent, once: `flat`, and the array of the value head that belongs to it, or NULL. */
const torch_lent &lend(torch_model &model, const at::Tensor &flat, float *head, torch_lent &lent)
{
    if (!lent.buffers.empty()) return lent;
    cn_buffer own[VALUE_HEAD_TENSORS];
    const size_t n_own = head ? value_head_buffers(&model.value, head, own) : 0;
    lent.buffers = torch_buffers(*model.layout, flat, "", lent.names);
    lent.buffers.insert(lent.buffers.end(), own, own + n_own);
    return lent;
}

enum cn_status torch_gradients(void *self, const struct cn_buffer **out, size_t *n)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (!model.trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "gradients of a model that was opened for scoring only"));
        const torch_lent &lent =
            lend(model, model.gradient, model.value.all.gradient, model.lent_gradient);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

enum cn_status torch_flat_gradient(void *self, struct cn_buffer out[2], size_t *n)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (!model.trainable)
            torch_check(
                cn_fail(CN_ERR_BUG, "gradients of a model that was opened for scoring only"));
        out[0] = torch_flat(model.gradient);
        *n = 1 + value_head_flat_gradient(&model.value, &out[1]);
    });
}

enum cn_status torch_weights(void *self, const struct cn_buffer **out, size_t *n)
{
    return guard([&] {
        torch_model &model = model_of(self);
        const torch_lent &lent = lend(
            model,
            model.master.defined() && torch_master_whole(model) ? model.master : model.compute.flat,
            model.value.all.weight, model.lent_weights);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

enum cn_status torch_compute_weights(void *self, const struct cn_buffer **out, size_t *n)
{
    return guard([&] {
        torch_model &model = model_of(self);
        const torch_lent &lent = lend(model, model.compute.flat, nullptr, model.lent_compute);
        *out = lent.buffers.data();
        *n = lent.buffers.size();
    });
}

enum cn_status torch_weights_changed(void *self)
{
    return guard([&] {
        torch_model &model = model_of(self);
        if (model.trainable)
            torch_check(cn_fail(CN_ERR_BUG, "weights of a model that learns were overwritten"));
        model.pending.reset();
        torch_compute_refresh(model.context, *model.layout, model.compute);
    });
}

enum cn_status torch_step_model(void *self, const struct cn_step_options *options,
                                struct cn_step_result *result)
{
    return guard([&] {
        torch_model &model = model_of(self);
        model.pending.reset(); /* its activations belong to the old weights */
        torch_step(model, *options, *result);
    });
}

enum cn_status torch_freeze(void *self, const char *path, int *copy)
{
    return guard([&] {
        torch_model &model = model_of(self);
        const torch_layout &layout = *model.layout;
        torch_compute frozen;
        if (!path) {
            frozen.flat = model.compute.flat.clone();
            frozen.vectors =
                model.compute.vectors.defined() ? model.compute.vectors.clone() : at::Tensor();
            float *vectors = frozen.vectors.defined() ? data(frozen.vectors)
                                                      : data(frozen.flat) + layout.n_matrices;
            frozen.view = torch_view_of(layout, model.shape, frozen.flat, vectors);
        } else {
            at::Tensor master = torch_zeros(layout.size);
            torch_weights_load(layout, model.shape, path, data(master));
            frozen = torch_compute_of(model.context, layout, model.shape, master, false);
        }
        if (*copy < 0) {
            model.copies.emplace_back();
            *copy = (int)model.copies.size() - 1;
        }
        model.copies.at((size_t)*copy) = std::move(frozen);
    });
}

enum cn_status torch_save_model(void *self, int copy, const char *folder, enum cn_dtype dtype)
{
    return guard([&] { torch_save(model_of(self), copy, folder, dtype); });
}

enum cn_status torch_state_save_model(void *self, const char *path)
{
    return guard([&] { torch_state_save(model_of(self), path); });
}

enum cn_status torch_state_load_model(void *self, const char *path)
{
    return guard([&] {
        torch_model &model = model_of(self);
        model.pending.reset();
        torch_state_load(model, path);
    });
}

enum cn_status torch_logits(void *self, const struct backend_rows *rows, float *out)
{
    return guard([&] {
        torch_model &model = model_of(self);
        model.pending.reset();
        model.context.slab.reset();
        torch_plan plan = torch_plan_rows(rows->ids, rows->start, rows->n, rows->all, model.info);
        if (!plan.rows) return;
        model.rotation.grow(plan.longest);
        torch_activations activations;
        torch_forward({model.context, model.shape, model.rotation, model.compute.view, plan},
                      torch_keep::nothing, activations);
        torch_head_logits({model.context, plan, model.compute.view.head, activations.out}, out);
    });
}

struct value_head *torch_value_head(void *self)
{
    return &((torch_model *)self)->value;
}

const struct model_shape *torch_shape(const void *self)
{
    return &((const torch_model *)self)->shape;
}

int torch_threads(const void *self)
{
    return ((const torch_model *)self)->threads;
}

} // namespace

extern "C" __attribute__((visibility("default")))
const struct cn_model_backend cn_model_backend_torch;
const struct cn_model_backend cn_model_backend_torch = {
    .name = "torch",
    .open = torch_open,
    .close = torch_close,
    .info = torch_info,
    .score = torch_score,
    .forward = torch_forward_atom,
    .backward = torch_backward_atom,
    .zero_gradients = torch_zero_gradients,
    .gradients = torch_gradients,
    .weights = torch_weights,
    .flat_gradient = torch_flat_gradient,
    .fixed = nullptr,
    .fixed_add = nullptr,
    .fixed_read = nullptr,
    .step = torch_step_model,
    .freeze = torch_freeze,
    .save = torch_save_model,
    .state_save = torch_state_save_model,
    .state_load = torch_state_load_model,
    .value_head = torch_value_head,
    .logits = torch_logits,
    .compute_weights = torch_compute_weights,
    .weights_changed = torch_weights_changed,
    .threads = torch_threads,
    .shape = torch_shape,
    .sampler = nullptr,
};
