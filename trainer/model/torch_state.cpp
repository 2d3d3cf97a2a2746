/* Optimizer step, and the state on disk. */
#include "torch_model.h"
#include "safetensors.h"
#include "torch_guard.h"

#include <cmath>
#include <cstring>

namespace
{

constexpr size_t norm_block = 1 << 14;

/* Global norm in double: squares are added within fixed blocks, then block after block. */
double norm_of(const torch_context &c, const float *x, size_t n)
{
    std::vector<double> part((n + norm_block - 1) / norm_block);
    torch_rows(part.size(), 4, [&](size_t begin, size_t end) {
        for (size_t b = begin; b < end; b++)
            part[b] =
                c.k->sum_squares(x + b * norm_block, std::min(norm_block, n - b * norm_block));
    });
    double sum = 0;
    for (double p : part)
        sum += p;
    return std::sqrt(sum);
}

void need_trainable(const torch_model &model)
{
    if (!model.trainable)
        torch_check(
            cn_fail(CN_ERR_BUG, "this model was opened for scoring only (trainable = false)"));
}

} // namespace

void torch_step(torch_model &model, const cn_step_options &options, cn_step_result &result)
{
    need_trainable(model);
    const torch_context &c = model.context;
    const size_t n = model.layout->size, matrices = model.layout->n_matrices;
    const bool body = options.part != CN_STEP_VALUE;
    const bool head = options.part != CN_STEP_BODY && model.value.all.n;
    result.grad_norm = body ? norm_of(c, data(model.gradient), n) : 0;
    if (head)
        result.grad_norm = std::hypot(result.grad_norm, std::sqrt(adamw_squares(&model.value.all)));
    result.skipped = !std::isfinite(result.grad_norm);
    if (result.skipped) return;
    const double clip = adamw_clip(&options, result.grad_norm);
    if (head) adamw_step(&model.value.all, &options, clip);
    if (!body) return;
    model.steps++;
    kernel_adamw a = {};
    a.weight = data(model.master);
    a.m = data(model.m);
    a.v = data(model.v);
    a.gradient = data(model.gradient);
    a.clip = (float)clip;
    a.beta1 = (float)options.beta1;
    a.beta2 = (float)options.beta2;
    a.epsilon = (float)options.epsilon;
    a.rate = (float)(options.lr / (1 - std::pow(options.beta1, (double)model.steps)));
    a.correction = (float)(1 / std::sqrt(1 - std::pow(options.beta2, (double)model.steps)));
    a.half = c.half ? (uint16_t *)model.compute.flat.data_ptr() : nullptr;
    const float decay = (float)(1 - options.lr * options.weight_decay);
    torch_rows((n + norm_block - 1) / norm_block, 1, [&](size_t begin, size_t end) {
        size_t first = begin * norm_block, last = std::min(end * norm_block, n),
               cut = std::min(std::max(first, matrices), last);
        kernel_adamw part = a;
        part.decay = decay;
        c.k->adamw(&part, first, cut);
        part.decay = 1;
        c.k->adamw(&part, cut, last);
    });
    torch_compute_refresh(model.context, *model.layout, model.compute);
}

void torch_save(torch_model &model, const char *folder, cn_dtype dtype)
{
    torch_lent lent;
    at::Tensor flat = model.master.defined() ? model.master : model.compute.flat;
    if (flat.scalar_type() != at::kFloat) flat = flat.to(at::kFloat);
    lent.buffers = torch_buffers(*model.layout, flat, "", lent.names);
    safetensors_target target = {};
    target.path = folder;
    target.dtype = dtype;
    torch_check(safetensors_save(&target, lent.buffers.data(), lent.buffers.size()));
    torch_check(shape_save(&model.shape, model.source.empty() ? nullptr : model.source.c_str(),
                           dtype, folder));
}

/* Tensors of the state: NAME, exp_avg.NAME, exp_avg_sq.NAME for each weight, and step. */
void torch_state_save(torch_model &model, const char *path)
{
    need_trainable(model);
    torch_lent weights, m, v;
    std::vector<cn_buffer> all = torch_buffers(*model.layout, model.master, "", weights.names);
    for (const cn_buffer &b : torch_buffers(*model.layout, model.m, "exp_avg.", m.names))
        all.push_back(b);
    for (const cn_buffer &b : torch_buffers(*model.layout, model.v, "exp_avg_sq.", v.names))
        all.push_back(b);
    int64_t steps = (int64_t)model.steps;
    cn_buffer counter = {};
    counter.name = "step";
    counter.dtype = CN_DTYPE_I64;
    counter.rank = 1;
    counter.shape[0] = 1;
    counter.count = 1;
    counter.data = &steps;
    counter.device = -1;
    all.push_back(counter);
    safetensors_target target = {};
    target.path = path;
    target.dtype = CN_DTYPE_F32;
    torch_check(safetensors_save(&target, all.data(), all.size()));
}

void torch_state_load(torch_model &model, const char *path)
{
    need_trainable(model);
    safetensors *file;
    torch_check(safetensors_open(path, &file));
    std::unique_ptr<safetensors, decltype(&safetensors_close)> owner(file, safetensors_close);
    const cn_buffer *counter = safetensors_find(file, "step");
    int64_t steps;
    if (!counter || counter->dtype != CN_DTYPE_I64 || counter->count != 1)
        torch_check(cn_fail(CN_ERR_MODEL,
                            "%s: no step count (I64, one element): not an optimizer state", path));
    memcpy(&steps, counter->data, sizeof steps);
    if (steps < 0)
        torch_check(cn_fail(CN_ERR_MODEL, "%s: the step count is %lld", path, (long long)steps));
    /* Everything is read before anything is replaced. */
    at::Tensor fresh[] = {at::zeros_like(model.master), at::zeros_like(model.m),
                          at::zeros_like(model.v)};
    const char *prefix[] = {"", "exp_avg.", "exp_avg_sq."};
    for (size_t k = 0; k < 3; k++)
        for (size_t i = 0; i < model.layout->n; i++) {
            const shape_tensor &tensor = model.layout->tensors[i];
            std::string name = std::string(prefix[k]) + tensor.name;
            torch_check(safetensors_read_f32(file, name.c_str(), tensor.rank, tensor.shape,
                                             data(fresh[k]) + model.layout->offset[i]));
        }
    model.master.copy_(fresh[0]);
    model.m.copy_(fresh[1]);
    model.v.copy_(fresh[2]);
    model.steps = (uint64_t)steps;
    if (model.context.half) model.compute.flat.copy_(model.master);
    torch_compute_refresh(model.context, *model.layout, model.compute);
}
