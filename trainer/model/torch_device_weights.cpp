/* Flat weights on a device: views by place in the network, AdamW, and the way to and from files.
 *
 * The layout is that of torch_weights.h, so a checkpoint of one path opens in the other. */
#include "torch_device.h"

#include <cmath>

namespace
{

/* The second and third of tensors that lie side by side have no view of their own. */
bool is_joined(tensor_role role)
{
    return role == TENSOR_K || role == TENSOR_V || role == TENSOR_UP || role == TENSOR_K_BIAS ||
           role == TENSOR_V_BIAS;
}

int64_t rows_of(const struct model_shape &shape, const shape_tensor &tensor)
{
    const int64_t qkv = (int64_t)((shape.heads + 2 * shape.kv_heads) * shape.head_dim);
    if (tensor.role == TENSOR_Q || tensor.role == TENSOR_Q_BIAS) return qkv;
    return tensor.role == TENSOR_GATE ? 2 * tensor.shape[0] : tensor.shape[0];
}

/* Views of `flat`; norms and biases of `vectors`, where that is apart. */
std::vector<device_tensors> views_of(const torch_model &host, const at::Tensor &flat,
                                     const at::Tensor &vectors)
{
    const torch_layout &layout = *host.layout;
    std::vector<device_tensors> layers(host.shape.layers + 1);
    for (size_t i = 0; i < layout.n; i++) {
        const shape_tensor &t = layout.tensors[i];
        if (is_joined(t.role)) continue;
        const int64_t rows = rows_of(host.shape, t), at = (int64_t)layout.offset[i];
        layers[t.layer < 0 ? host.shape.layers : (size_t)t.layer][t.role] =
            t.rank == 2 ? flat.narrow(0, at, rows * t.shape[1]).view({rows, t.shape[1]})
                        : vectors.narrow(0, at - (int64_t)layout.n_matrices, rows);
    }
    if (host.shape.tied) layers.back()[TENSOR_HEAD] = layers.back()[TENSOR_EMBED];
    return layers;
}

at::Tensor vectors_part(const torch_model &host, const at::Tensor &flat)
{
    const int64_t begin = (int64_t)host.layout->n_matrices;
    return flat.narrow(0, begin, (int64_t)host.layout->size - begin);
}

} // namespace

device_weights device_weights_of(const device_model &model, const at::Tensor &master, bool copy)
{
    const torch_model &host = *model.host;
    device_weights w;
    w.flat = master.to(model.type, false, copy);
    w.vectors = vectors_part(host, w.flat).to(at::kFloat); /* rounded as the matrices are */
    w.layers = views_of(host, w.flat, w.vectors);
    return w;
}

void device_weights_take(device_model &model, const at::Tensor &flat)
{
    model.weights.flat.copy_(flat);
    model.weights.vectors.copy_(vectors_part(*model.host, model.weights.flat));
}

void device_weights_refresh(device_model &model)
{
    if (model.type != at::kFloat) /* else they are the master */
        device_weights_take(model, model.master);
}

/* A leaf of BF16 collects its gradient in the F32 view that is put there beforehand. */
void device_weights_train(device_model &model)
{
    model.gradients =
        views_of(*model.host, model.gradient, vectors_part(*model.host, model.gradient));
    for (size_t l = 0; l < model.gradients.size(); l++)
        for (size_t role = 0; role < TENSOR_ROLE_COUNT; role++) {
            if (!model.gradients[l][role].defined() || role == TENSOR_EMBED || role == TENSOR_HEAD)
                continue; /* embedding and head are back-propagated by hand */
            at::Tensor &leaf = model.weights.layers[l][role];
            leaf = leaf.detach().requires_grad_(true);
            leaf.mutable_grad() = model.gradients[l][role];
        }
}

/* ---- optimizer ----------------------------------------------------------- */

namespace
{

void need_trainable(const device_model &model)
{
    if (!model.host->trainable)
        torch_check(
            cn_fail(CN_ERR_BUG, "this model was opened for scoring only (trainable = false)"));
}

/* [begin, end) of the flat arrays. */
void step_range(device_model &model, const cn_step_options &o, int64_t begin, int64_t end)
{
    const auto part = [&](const at::Tensor &x) {
        return std::vector<at::Tensor>{x.narrow(0, begin, end - begin)};
    };
    const bool decays = begin == 0; /* matrices come first, and only they decay */
    const at::Tensor steps = at::full({}, (double)model.host->steps, model.of(at::kFloat));
    at::_fused_adamw_(part(model.master), part(model.gradient), part(model.m), part(model.v), {},
                      {steps}, o.lr, o.beta1, o.beta2, decays ? o.weight_decay : 0.0, o.epsilon,
                      false, false);
}

} // namespace

void device_step(device_model &model, const cn_step_options &options, cn_step_result &result)
{
    need_trainable(model);
    struct adamw &value = model.host->value.all;
    const int64_t matrices = (int64_t)model.host->layout->n_matrices,
                  size = (int64_t)model.host->layout->size;
    const bool body = options.part != CN_STEP_VALUE, head = options.part != CN_STEP_BODY && value.n;
    model.part = PLAN_MOMENTS;
    result.grad_norm = 0;
    if (body)
        result.grad_norm =
            at::linalg_vector_norm(model.gradient, 2, std::nullopt, false, at::kDouble)
                .item<double>();
    if (head) result.grad_norm = std::hypot(result.grad_norm, std::sqrt(adamw_squares(&value)));
    result.skipped = !std::isfinite(result.grad_norm);
    if (result.skipped) return;
    const double clip = adamw_clip(&options, result.grad_norm);
    if (head) adamw_step(&value, &options, clip);
    if (!body) return;
    model.host->steps++;
    if (clip < 1) model.gradient.mul_(clip);
    step_range(model, options, 0, matrices);
    step_range(model, options, matrices, size);
    device_weights_refresh(model);
}

/* ---- files: the CPU path's own code, on copies in host memory ------------ */

namespace
{

/* `flat`: the weights. */
void host_copy(const device_model &model, const at::Tensor &flat, bool state, torch_model &copy)
{
    copy.shape = model.host->shape;
    copy.source = model.host->source;
    copy.trainable = model.host->trainable;
    copy.steps = model.host->steps;
    copy.layout = std::make_unique<torch_layout>(copy.shape);
    copy.master = flat.to(at::kCPU, at::kFloat);
    if (!state) return;
    const cn_shard everything = {};
    torch_check(shard_open(&copy.shard, &everything, copy.layout->size));
    copy.m = model.m.to(at::kCPU);
    copy.v = model.v.to(at::kCPU);
}

} // namespace

const device_weights &device_weights_at(const device_model &model, int copy)
{
    if (copy < 0) return model.weights;
    if ((size_t)copy >= model.copies.size())
        torch_check(cn_fail(CN_ERR_BUG, "frozen copy %d does not exist: there are %zu", copy,
                            model.copies.size()));
    return model.copies[(size_t)copy];
}

void device_save(device_model &model, int copy, const char *folder, cn_dtype dtype)
{
    if (!folder) return; /* another rank writes, and has everything */
    torch_model host;
    host_copy(model,
              copy < 0 && model.master.defined() ? model.master
                                                 : device_weights_at(model, copy).flat,
              false, host);
    torch_save(host, -1, folder, dtype);
}

void device_state_save(device_model &model, const char *path)
{
    need_trainable(model);
    if (!path) return;
    torch_model copy;
    host_copy(model, model.master, true, copy);
    torch_state_save(copy, path);
}

void device_state_load(device_model &model, const char *path)
{
    need_trainable(model);
    torch_model copy;
    host_copy(model, model.master, true, copy);
    torch_state_load(copy, path);
    model.master.copy_(copy.master);
    model.m.copy_(copy.m);
    model.v.copy_(copy.v);
    model.host->steps = copy.steps;
    device_weights_refresh(model);
}
