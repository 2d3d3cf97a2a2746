/* The transformer on operators.
 *
 * Each layer is an autograd graph of its own, from a leaf (its input) to its output; backward walks
 * the layers.  With checkpointing the graph is made in backward, from the same leaf by the same
 * operators, so the bits are the same. */
#include "torch_device.h"

#include <torch/csrc/autograd/autograd.h>

namespace
{

at::Tensor linear(const device_net &n, const at::Tensor &x, const at::Tensor &w,
                  const at::Tensor &bias)
{
    at::Tensor y = at::linear(x.to(n.model.type), w);
    return bias.defined() ? y + bias : y; /* biases are F32, and so is the sum */
}

at::Tensor norm(const device_net &n, const at::Tensor &x, const at::Tensor &weight)
{
    return at::rms_norm(x, {x.size(-1)}, weight, n.model.host->shape.rms_eps);
}

/* Pairs i, i + D / 2 of each head turn by the position's angle. */
at::Tensor rotate(const device_net &n, const at::Tensor &x)
{
    const int64_t half = x.size(-1) / 2;
    at::Tensor a = x.narrow(-1, 0, half), b = x.narrow(-1, half, half);
    return at::cat({a * n.cosine - b * n.sine, b * n.cosine + a * n.sine}, -1);
}

at::Tensor attention(const device_net &n, size_t layer, const at::Tensor &x)
{
    const struct model_shape &s = n.model.host->shape;
    const device_tensors &w = n.weights.layers[layer];
    const int64_t rows = x.size(0), heads = (int64_t)s.heads, kv = (int64_t)s.kv_heads,
                  width = (int64_t)s.head_dim;
    at::Tensor qkv =
        linear(n, x, w[TENSOR_Q], w[TENSOR_Q_BIAS]).view({rows, heads + 2 * kv, width});
    at::Tensor q = qkv.narrow(1, 0, heads), k = qkv.narrow(1, heads, kv),
               v = qkv.narrow(1, heads + kv, kv);
    if (s.qk_norm) {
        q = norm(n, q.to(at::kFloat), w[TENSOR_Q_NORM]);
        k = norm(n, k.to(at::kFloat), w[TENSOR_K_NORM]);
    }
    at::Tensor out = n.attend(layer, rotate(n, q).to(n.model.type), rotate(n, k).to(n.model.type),
                              v.to(n.model.type).contiguous());
    return linear(n, out.reshape({rows, heads * width}), w[TENSOR_O], w[TENSOR_O_BIAS]);
}

at::Tensor gated_unit(const device_net &n, size_t layer, const at::Tensor &x)
{
    const device_tensors &w = n.weights.layers[layer];
    const int64_t width = (int64_t)n.model.host->shape.intermediate;
    at::Tensor gate_up = linear(n, x, w[TENSOR_GATE], {});
    at::Tensor hidden = at::silu(gate_up.narrow(1, 0, width)) * gate_up.narrow(1, width, width);
    return linear(n, hidden, w[TENSOR_DOWN], {});
}

at::Tensor embed(const device_net &n, const at::Tensor &ids)
{
    return n.weights.layers.back()[TENSOR_EMBED].detach().index_select(0, ids).to(at::kFloat);
}

device_attend packed(const device_spans &spans)
{
    return [&spans](size_t, const at::Tensor &q, const at::Tensor &k, const at::Tensor &v) {
        return device_attention(q, k, v, spans);
    };
}

/* A layer whose gradients are recorded, from its leaf. */
at::Tensor record(const device_net &n, size_t layer, const at::Tensor &leaf)
{
    c10::AutoGradMode on(true);
    return device_layer(n, layer, leaf);
}

} // namespace

device_net device_net_of(device_model &model, const device_weights &weights,
                         const at::Tensor &position, device_attend attend)
{
    at::Tensor cosine = model.cosine.index_select(0, position).unsqueeze(1),
               sine = model.sine.index_select(0, position).unsqueeze(1);
    return {model, weights, cosine, sine, std::move(attend)};
}

at::Tensor device_layer(const device_net &n, size_t layer, const at::Tensor &x)
{
    const device_tensors &w = n.weights.layers[layer];
    if (layer == n.model.host->shape.layers) return norm(n, x, w[TENSOR_FINAL_NORM]);
    at::Tensor middle = x + attention(n, layer, norm(n, x, w[TENSOR_INPUT_NORM]));
    return middle + gated_unit(n, layer, norm(n, middle, w[TENSOR_POST_NORM]));
}

at::Tensor device_hidden(const device_net &n, const at::Tensor &ids)
{
    at::Tensor x = embed(n, ids);
    for (size_t l = 0; l <= n.model.host->shape.layers; l++)
        x = device_layer(n, l, x);
    return x;
}

device_rows device_rows_of(const device_model &model, const torch_plan &plan)
{
    std::vector<int32_t> ids(plan.ids);
    for (int32_t &id : ids)
        id = std::max(id, 0); /* padding computes something finite that nobody reads */
    std::vector<kernel_segment> segments(plan.segments);
    if (plan.padded > plan.rows) segments.push_back({plan.rows, plan.padded - plan.rows, 0, 0, 0});
    device_rows rows;
    std::vector<size_t> cu_q = {0}, cu_k = {0}, key_rows;
    bool shared = false;
    for (const kernel_segment &s : segments) {
        const size_t keys = s.parent_length + s.length;
        for (size_t i = 0; i < s.parent_length; i++)
            key_rows.push_back(s.parent + i);
        for (size_t i = 0; i < s.length; i++)
            key_rows.push_back(s.start + i);
        cu_q.push_back(cu_q.back() + s.length);
        cu_k.push_back(cu_k.back() + keys);
        shared = shared || s.parent_length > 0;
        rows.spans.max_q = std::max(rows.spans.max_q, (int64_t)s.length);
        rows.spans.max_k = std::max(rows.spans.max_k, (int64_t)keys);
    }
    rows.ids = device_upload(model, ids);
    rows.position = device_upload(model, plan.position);
    rows.spans.cu_q = device_upload(model, cu_q, at::kInt);
    rows.spans.cu_k = device_upload(model, cu_k, at::kInt);
    if (shared) rows.spans.key_rows = device_upload(model, key_rows);
    return rows;
}

at::Tensor device_score_rows(device_model &model, const device_weights &weights,
                             const device_rows &rows)
{
    const device_attend attend = [&rows](size_t, const at::Tensor &q, const at::Tensor &k,
                                         const at::Tensor &v) {
        return device_attention_forward(q, k, v, rows.spans);
    };
    return device_hidden(device_net_of(model, weights, rows.position, attend), rows.ids);
}

void device_forward(device_model &model, device_pending &pending)
{
    const device_net net =
        device_net_of(model, model.weights, pending.rows.position, packed(pending.rows.spans));
    at::Tensor x = embed(net, pending.rows.ids);
    for (size_t l = 0; l <= model.host->shape.layers; l++) {
        at::Tensor leaf = x.detach(), out;
        if (model.host->checkpoint) {
            x = device_layer(net, l, leaf);
        } else {
            out = record(net, l, leaf.requires_grad_(true));
            x = out.detach();
        }
        pending.in.push_back(leaf);
        pending.out.push_back(out);
    }
    pending.hidden = x;
}

void device_backward(device_model &model, device_pending &pending, const at::Tensor &d_hidden)
{
    const device_net net =
        device_net_of(model, model.weights, pending.rows.position, packed(pending.rows.spans));
    at::Tensor d = d_hidden;
    for (size_t l = model.host->shape.layers + 1; l-- > 0;) {
        at::Tensor leaf = std::move(pending.in[l]), out = std::move(pending.out[l]);
        if (!out.defined()) out = record(net, l, leaf.requires_grad_(true));
        torch::autograd::backward({out}, {d});
        d = leaf.grad();
    }
    device_add_rows(model.gradients.back()[TENSOR_EMBED], pending.rows.ids, d);
}
