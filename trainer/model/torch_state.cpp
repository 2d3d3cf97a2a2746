/* Optimizer step, and the state on disk. */
#include "torch_model.h"
#include "safetensors.h"
#include "state.h"
#include "torch_guard.h"

#include <algorithm>
#include <cmath>

namespace
{

/* Calls work(first, last) for this rank's blocks of the flat space, some at a time. */
template <class work_type> void each_block(const shard &own, int64_t grain, work_type work)
{
    const size_t first = own.begin / SHARD_BLOCK;
    torch_rows((own.end - own.begin + SHARD_BLOCK - 1) / SHARD_BLOCK, grain,
               [&](size_t begin, size_t end) {
                   for (size_t b = first + begin; b < first + end; b++)
                       work(b * SHARD_BLOCK, std::min((b + 1) * SHARD_BLOCK, own.end));
               });
}

/* Global norm in double. */
double norm_of_body(torch_model &model)
{
    double sum;
    const float *x = data(model.gradient);
    each_block(model.shard, 4, [&](size_t first, size_t last) {
        model.shard.squares[first / SHARD_BLOCK] =
            model.context.k->sum_squares(x + first, last - first);
    });
    torch_check(shard_squares(&model.shard, &sum));
    return std::sqrt(sum);
}

/* The weights that compute, from every rank's share of them. */
void publish(torch_model &model)
{
    if (shard_is_part(&model.shard))
        torch_check(shard_gather(&model.shard, model.context.half ? CN_DTYPE_BF16 : CN_DTYPE_F32,
                                 model.compute.flat.data_ptr()));
    torch_compute_refresh(model.context, *model.layout, model.compute);
}

void need_trainable(const torch_model &model)
{
    if (!model.trainable)
        torch_check(
            cn_fail(CN_ERR_BUG, "this model was opened for scoring only (trainable = false)"));
}

/* What is on disk, and where it lies here; `tensors` keeps the names. */
model_state state_of(torch_model &model, std::vector<cn_buffer> &tensors)
{
    model_state state = {};
    tensors.resize(model.layout->n);
    for (size_t i = 0; i < model.layout->n; i++) {
        const shape_tensor &tensor = model.layout->tensors[i];
        tensors[i] = {};
        tensors[i].name = tensor.name;
        tensors[i].rank = tensor.rank;
        tensors[i].shape[0] = tensor.shape[0];
        tensors[i].shape[1] = tensor.rank == 2 ? tensor.shape[1] : 0;
        tensors[i].count = tensor.count;
        tensors[i].device = -1;
    }
    state.shard = &model.shard;
    state.tensors = tensors.data();
    state.offset = model.layout->offset.data();
    state.n_tensors = tensors.size();
    state.weight = data(model.master);
    state.weight_whole = torch_master_whole(model);
    state.m = data(model.m);
    state.v = data(model.v);
    state.steps = &model.steps;
    return state;
}

} // namespace

bool torch_master_whole(const torch_model &model)
{
    return !model.context.half || !shard_is_part(&model.shard);
}

void torch_step(torch_model &model, const cn_step_options &options, cn_step_result &result)
{
    need_trainable(model);
    const torch_context &c = model.context;
    const size_t begin = model.shard.begin, matrices = model.layout->n_matrices;
    const bool body = options.part != CN_STEP_VALUE;
    const bool head = options.part != CN_STEP_BODY && model.value.all.n;
    result.grad_norm = body ? norm_of_body(model) : 0;
    if (head)
        result.grad_norm = std::hypot(result.grad_norm, std::sqrt(adamw_squares(&model.value.all)));
    result.skipped = !std::isfinite(result.grad_norm);
    if (result.skipped) return;
    const double clip = adamw_clip(&options, result.grad_norm);
    if (head) adamw_step(&model.value.all, &options, clip);
    if (!body) return;
    model.steps++;
    kernel_adamw a = {};
    a.clip = (float)clip;
    a.beta1 = (float)options.beta1;
    a.beta2 = (float)options.beta2;
    a.epsilon = (float)options.epsilon;
    a.rate = (float)(options.lr / (1 - std::pow(options.beta1, (double)model.steps)));
    a.correction = (float)(1 / std::sqrt(1 - std::pow(options.beta2, (double)model.steps)));
    const float decay = (float)(1 - options.lr * options.weight_decay);
    const size_t master = torch_master_whole(model) ? 0 : begin; /* where `master` begins */
    each_block(model.shard, 1, [&](size_t first, size_t last) {
        kernel_adamw part = a;
        const size_t cut = std::min(std::max(first, matrices), last) - first;
        part.weight = data(model.master) + (first - master);
        part.m = data(model.m) + (first - begin);
        part.v = data(model.v) + (first - begin);
        part.gradient = data(model.gradient) + first;
        part.half = c.half ? (uint16_t *)model.compute.flat.data_ptr() + first : nullptr;
        part.decay = decay;
        c.k->adamw(&part, 0, cut);
        part.decay = 1;
        c.k->adamw(&part, cut, last - first);
    });
    publish(model);
}

const torch_compute &torch_weights_at(const torch_model &model, int copy)
{
    if (copy < 0) return model.compute;
    if ((size_t)copy >= model.copies.size())
        torch_check(cn_fail(CN_ERR_BUG, "frozen copy %d does not exist: there are %zu", copy,
                            model.copies.size()));
    return model.copies[(size_t)copy];
}

void torch_save(torch_model &model, int copy, const char *folder, cn_dtype dtype)
{
    if (copy < 0 && !torch_master_whole(model)) {
        std::vector<cn_buffer> tensors;
        const model_state state = state_of(model, tensors);
        torch_check(state_save_weights(&state, folder, dtype));
    } else if (folder) {
        torch_lent lent;
        at::Tensor flat =
            copy < 0 && model.master.defined() ? model.master : torch_weights_at(model, copy).flat;
        if (flat.scalar_type() != at::kFloat) flat = flat.to(at::kFloat);
        lent.buffers = torch_buffers(*model.layout, flat, "", lent.names);
        safetensors_target target = {};
        target.path = folder;
        target.dtype = dtype;
        torch_check(safetensors_save(&target, lent.buffers.data(), lent.buffers.size()));
    }
    if (folder)
        torch_check(shape_save(&model.shape, model.source.empty() ? nullptr : model.source.c_str(),
                               dtype, folder));
}

void torch_state_save(torch_model &model, const char *path)
{
    need_trainable(model);
    std::vector<cn_buffer> tensors;
    const model_state state = state_of(model, tensors);
    torch_check(state_save(&state, path));
}

void torch_state_load(torch_model &model, const char *path)
{
    need_trainable(model);
    std::vector<cn_buffer> tensors;
    const model_state state = state_of(model, tensors);
    torch_check(state_load(&state, path));
    if (model.context.half)
        model.compute.flat
            .narrow(0, (int64_t)model.shard.begin, (int64_t)(model.shard.end - model.shard.begin))
            .copy_(model.master);
    publish(model);
}
