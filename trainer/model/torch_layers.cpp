/* Forward and backward of the transformer; see torch_layers.h. */
#include "torch_layers.h"

#include <atomic>
#include <cmath>
#include <cstring>

void torch_rotation::grow(size_t wanted)
{
    if (wanted <= positions) return;
    size_t n = std::max(wanted, 2 * positions), half = frequency.size();
    cosine.resize(n * half);
    sine.resize(n * half);
    for (size_t p = positions; p < n; p++)
        for (size_t i = 0; i < half; i++) {
            float angle = (float)p * frequency[i]; /* rounded to float, as transformers does */
            cosine[p * half + i] = (float)std::cos((double)angle);
            sine[p * half + i] = (float)std::sin((double)angle);
        }
    positions = n;
}

namespace
{

size_t qkv_width(const struct model_shape &s)
{
    return (s.heads + 2 * s.kv_heads) * s.head_dim;
}

void zero_rows(const at::Tensor &x, size_t begin)
{
    size_t width = (size_t)x.size(1), end = (size_t)x.size(0);
    memset(data(x) + begin * width, 0, (end - begin) * width * sizeof(float));
}

/* ---- pieces of a layer --------------------------------------------------- */

/* norm of x (+ add, stored in sum) */
struct norm_call {
    const at::Tensor &x;
    const at::Tensor *add;
    const at::Tensor *sum;
    const float *weight;
    float *rstd;
};

kernel_norm norm_of(const torch_pass &p, const norm_call &n)
{
    kernel_norm a = {};
    a.width = p.shape.hidden;
    a.eps = (float)p.shape.rms_eps;
    a.x = data(n.x);
    a.add = n.add ? data(*n.add) : nullptr;
    a.sum = n.sum ? data(*n.sum) : nullptr;
    a.weight = n.weight;
    a.rstd = n.rstd;
    return a;
}

void norm(const torch_pass &p, const norm_call &n, const at::Tensor &out)
{
    kernel_norm a = norm_of(p, n);
    a.out = data(out);
    torch_rows((size_t)out.size(0), 64,
               [&](size_t begin, size_t end) { p.c.k->norm_forward(&a, begin, end); });
}

/* The output of a norm again. */
at::Tensor norm_again(const torch_pass &p, const norm_call &n)
{
    at::Tensor out = p.c.slab.matrix(p.plan.padded, p.shape.hidden);
    kernel_norm a = norm_of(p, n);
    a.out = data(out);
    torch_rows(p.plan.padded, 64,
               [&](size_t begin, size_t end) { p.c.k->norm_apply(&a, begin, end); });
    return out;
}

/* d_x += ..., d_weight += ... */
void norm_back(const torch_pass &p, const norm_call &n, const at::Tensor &d_out,
               const at::Tensor &d_x, float *d_weight)
{
    const size_t blocks = torch_blocks(p.plan.padded);
    torch_slab::mark mark = p.c.slab.now();
    kernel_norm a = norm_of(p, n);
    a.d_out = data(d_out);
    a.d_x = data(d_x);
    a.partial = p.c.slab.floats(blocks * a.width);
    torch_rows(blocks, 1, [&](size_t begin, size_t end) {
        for (size_t b = begin; b < end; b++)
            p.c.k->norm_backward(&a, b * KERNEL_BLOCK,
                                 std::min((b + 1) * KERNEL_BLOCK, p.plan.padded));
    });
    torch_reduce(p.c, {a.partial, blocks, a.width}, d_weight, a.width);
    p.c.slab.release(mark);
}

kernel_rotate rotate_of(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s)
{
    kernel_rotate a = {};
    a.heads = p.shape.heads + p.shape.kv_heads;
    a.query_heads = p.shape.heads;
    a.head_dim = p.shape.head_dim;
    a.position = p.plan.position.data();
    a.cosine = p.rotation.cosine.data();
    a.sine = p.rotation.sine.data();
    a.x = data(s.raw.defined() ? s.raw : s.qkv);
    a.y = data(s.qkv);
    a.x_stride = a.y_stride = qkv_width(p.shape);
    a.query_weight = w.q_norm;
    a.key_weight = w.k_norm;
    a.eps = (float)p.shape.rms_eps;
    a.rstd = s.head_rstd;
    return a;
}

void rotate(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s)
{
    kernel_rotate a = rotate_of(p, w, s);
    const size_t width = qkv_width(p.shape), keys = a.heads * a.head_dim;
    torch_rows(p.plan.padded, 32, [&](size_t begin, size_t end) {
        p.c.k->rotate_forward(&a, begin, end);
        if (!s.raw.defined()) return;
        for (size_t row = begin; row < end; row++) /* values are not rotated */
            memcpy(a.y + row * width + keys, a.x + row * width + keys,
                   (width - keys) * sizeof(float));
    });
}

void rotate_back(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s,
                 const at::Tensor &d_qkv, const torch_layer_view &gradient)
{
    const size_t blocks = torch_blocks(p.plan.padded);
    torch_slab::mark mark = p.c.slab.now();
    kernel_rotate a = rotate_of(p, w, s);
    a.d = data(d_qkv);
    a.d_stride = qkv_width(p.shape);
    a.partial = w.q_norm ? p.c.slab.floats(blocks * 2 * a.head_dim) : nullptr;
    torch_rows(blocks, 1, [&](size_t begin, size_t end) {
        for (size_t b = begin; b < end; b++)
            p.c.k->rotate_backward(&a, b * KERNEL_BLOCK,
                                   std::min((b + 1) * KERNEL_BLOCK, p.plan.padded));
    });
    if (w.q_norm) {
        const size_t stride = 2 * a.head_dim;
        torch_reduce(p.c, {a.partial, blocks, stride}, gradient.q_norm, a.head_dim);
        torch_reduce(p.c, {a.partial + a.head_dim, blocks, stride}, gradient.k_norm, a.head_dim);
    }
    p.c.slab.release(mark);
}

kernel_attention attention_of(const torch_pass &p, const torch_layer_saved &s)
{
    kernel_attention a = {};
    a.segments = p.plan.segments.data();
    a.heads = p.shape.heads;
    a.kv_heads = p.shape.kv_heads;
    a.head_dim = p.shape.head_dim;
    a.q = data(s.qkv);
    a.k = a.q + a.heads * a.head_dim;
    a.v = a.k + a.kv_heads * a.head_dim;
    a.q_stride = a.k_stride = a.v_stride = qkv_width(p.shape);
    a.out = data(s.attention);
    a.lse = s.lse;
    return a;
}

/* Hands out tasks one by one: segments differ in length.  A task's result does not depend on who
 * computes it. */
template <class body_type> void attention_tasks(const torch_pass &p, body_type body)
{
    const size_t tasks = p.plan.segments.size() * p.shape.kv_heads,
                 threads = (size_t)at::get_num_threads();
    const size_t need = torch_attention_scratch(p.shape.head_dim, p.plan.longest);
    const size_t batch = std::max<size_t>(1, std::min<size_t>(32, tasks / (8 * threads)));
    std::atomic<size_t> next = 0;
    p.c.scratch.resize(threads);
    torch_rows(threads, 1, [&](size_t begin, size_t end) {
        for (size_t thread = begin; thread < end; thread++) {
            std::vector<float> &scratch = p.c.scratch[thread];
            if (scratch.size() < need) scratch.resize(need);
            for (size_t first; (first = next.fetch_add(batch)) < tasks;)
                for (size_t task = first; task < std::min(first + batch, tasks); task++)
                    body(task, scratch.data());
        }
    });
}

void attend(const torch_pass &p, const torch_layer_saved &s)
{
    kernel_attention a = attention_of(p, s);
    zero_rows(s.attention, p.plan.rows);
    attention_tasks(
        p, [&](size_t task, float *scratch) { p.c.k->attention_forward(&a, task, scratch); });
}

/* The prompt's keys and values also serve the segments that continue it: their parts are added in
 * order. */
void add_pools(const torch_pass &p, const kernel_attention &a)
{
    const size_t n = a.head_dim;
    torch_rows(a.kv_heads, 1, [&](size_t begin, size_t end) {
        for (const kernel_segment &s : p.plan.segments)
            for (size_t head = begin; head < end && s.parent_length; head++) {
                const float *pool = a.pool + s.pool + head * 2 * s.parent_length * n;
                for (size_t j = 0; j < s.parent_length; j++)
                    for (size_t i = 0; i < n; i++) {
                        a.d_k[(s.parent + j) * a.d_stride + head * n + i] += pool[j * n + i];
                        a.d_v[(s.parent + j) * a.d_stride + head * n + i] +=
                            pool[(s.parent_length + j) * n + i];
                    }
            }
    });
}

void attend_back(const torch_pass &p, const torch_layer_saved &s, const at::Tensor &d_out,
                 const at::Tensor &d_qkv)
{
    torch_slab::mark mark = p.c.slab.now();
    kernel_attention a = attention_of(p, s);
    a.d_out = data(d_out);
    a.d_q = data(d_qkv);
    a.d_k = a.d_q + a.heads * a.head_dim;
    a.d_v = a.d_k + a.kv_heads * a.head_dim;
    a.d_stride = qkv_width(p.shape);
    a.pool = p.c.slab.floats(p.plan.pool + 1);
    zero_rows(d_qkv, p.plan.rows);
    attention_tasks(
        p, [&](size_t task, float *scratch) { p.c.k->attention_backward(&a, task, scratch); });
    add_pools(p, a);
    p.c.slab.release(mark);
}

kernel_gated gated_of(const torch_pass &p, const torch_layer_saved &s, const at::Tensor &hidden)
{
    kernel_gated a = {};
    a.width = p.shape.intermediate;
    a.gate_up = data(s.gate_up);
    a.hidden = data(hidden);
    return a;
}

/* ---- a layer ------------------------------------------------------------- */

void take_saved(const torch_pass &p, torch_layer_saved &s)
{
    torch_slab &slab = p.c.slab;
    const size_t n = p.plan.padded;
    s.qkv = slab.matrix(n, qkv_width(p.shape));
    if (p.shape.qk_norm) {
        s.raw = slab.matrix(n, qkv_width(p.shape));
        s.head_rstd = slab.floats(n * (p.shape.heads + p.shape.kv_heads));
    }
    s.attention = slab.matrix(n, p.shape.heads * p.shape.head_dim);
    s.middle = slab.matrix(n, p.shape.hidden);
    s.gate_up = slab.matrix(n, 2 * p.shape.intermediate);
    s.input_rstd = slab.floats(n);
    s.lse = slab.floats(n * p.shape.heads);
    s.post_rstd = slab.floats(n);
}

/* From base (+ add) to everything that backward reads, s.x first. */
void layer_inner(const torch_pass &p, const torch_layer_view &w, const norm_call &input,
                 torch_layer_saved &s)
{
    torch_slab::mark mark = p.c.slab.now();
    at::Tensor normed = p.c.slab.matrix(p.plan.padded, p.shape.hidden);
    norm(p, input, normed);
    torch_linear(p.c, s.raw.defined() ? s.raw : s.qkv, normed, w.qkv, w.qkv_bias);
    rotate(p, w, s);
    attend(p, s);
    at::Tensor out = p.c.slab.matrix(p.plan.padded, p.shape.hidden);
    torch_linear(p.c, out, s.attention, w.o, w.o_bias);
    norm(p, {s.x, &out, &s.middle, w.post_norm, s.post_rstd}, normed);
    torch_linear(p.c, s.gate_up, normed, w.gate_up, nullptr);
    p.c.slab.release(mark);
}

/* down: what the layer adds to s.middle */
void layer_outer(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s,
                 const at::Tensor &down)
{
    torch_slab::mark mark = p.c.slab.now();
    at::Tensor hidden = p.c.slab.matrix(p.plan.padded, p.shape.intermediate);
    kernel_gated a = gated_of(p, s, hidden);
    torch_rows(p.plan.padded, 16,
               [&](size_t begin, size_t end) { p.c.k->gated_forward(&a, begin, end); });
    torch_linear(p.c, down, hidden, w.down, nullptr);
    p.c.slab.release(mark);
}

/* The second half backwards: d (N, hidden), gradient of the layer's output, becomes that of
 * s.middle. */
void mlp_back(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s,
              const torch_layer_view &g, const at::Tensor &d)
{
    torch_slab &slab = p.c.slab;
    torch_slab::mark mark = slab.now();
    const size_t n = p.plan.padded, width = p.shape.intermediate;
    at::Tensor hidden = slab.matrix(n, width), d_hidden = slab.matrix(n, width),
               d_gate_up = slab.matrix(n, 2 * width);
    torch_input_gradient(p.c, d_hidden, d, w.down);
    kernel_gated a = gated_of(p, s, hidden);
    a.d_hidden = data(d_hidden);
    a.d_gate_up = data(d_gate_up);
    torch_rows(n, 16, [&](size_t begin, size_t end) { p.c.k->gated_backward(&a, begin, end); });
    torch_weight_gradient(p.c, g.down, d, hidden);
    norm_call call = {s.middle, nullptr, nullptr, w.post_norm, s.post_rstd};
    at::Tensor d_normed = slab.matrix(n, p.shape.hidden);
    torch_linear_back(p.c, {d_normed, g.gate_up, nullptr}, d_gate_up, norm_again(p, call),
                      w.gate_up);
    norm_back(p, call, d_normed, d, g.post_norm);
    slab.release(mark);
}

/* The first half backwards: d, gradient of s.middle, becomes that of s.x. */
void attention_back(const torch_pass &p, const torch_layer_view &w, const torch_layer_saved &s,
                    const torch_layer_view &g, const at::Tensor &d)
{
    torch_slab &slab = p.c.slab;
    torch_slab::mark mark = slab.now();
    const size_t n = p.plan.padded;
    at::Tensor d_attention = slab.matrix(n, p.shape.heads * p.shape.head_dim),
               d_qkv = slab.matrix(n, qkv_width(p.shape));
    torch_linear_back(p.c, {d_attention, g.o, g.o_bias}, d, s.attention, w.o);
    attend_back(p, s, d_attention, d_qkv);
    rotate_back(p, w, s, d_qkv, g);
    norm_call call = {s.x, nullptr, nullptr, w.input_norm, s.input_rstd};
    at::Tensor d_normed = slab.matrix(n, p.shape.hidden);
    torch_linear_back(p.c, {d_normed, g.qkv, g.qkv_bias}, d_qkv, norm_again(p, call), w.qkv);
    norm_back(p, call, d_normed, d, g.input_norm);
    slab.release(mark);
}

/* ---- embedding ----------------------------------------------------------- */

void embed(const torch_pass &p, const at::Tensor &x)
{
    const size_t width = p.shape.hidden;
    const at::Tensor &table = p.weights.embed;
    const bool half = table.scalar_type() == at::kBFloat16;
    const char *from = (const char *)table.data_ptr();
    float *to = data(x);
    torch_rows(p.plan.padded, 64, [&](size_t begin, size_t end) {
        for (size_t row = begin; row < end; row++) {
            size_t id = (size_t)p.plan.ids[row];
            if (p.plan.ids[row] < 0)
                memset(to + row * width, 0, width * sizeof(float));
            else if (half)
                p.c.k->from_bf16((const uint16_t *)from + id * width, to + row * width, width);
            else
                memcpy(to + row * width, (const float *)from + id * width, width * sizeof(float));
        }
    });
}

/* Rows of one token id are added in order; threads share the columns. */
void embed_back(const torch_pass &p, const at::Tensor &d, const at::Tensor &gradient)
{
    const size_t width = p.shape.hidden, columns = 64;
    const float *from = data(d);
    float *to = data(gradient);
    torch_rows((width + columns - 1) / columns, 1, [&](size_t begin, size_t end) {
        for (size_t row = 0; row < p.plan.rows; row++) {
            float *out = to + (size_t)p.plan.ids[row] * width;
            for (size_t i = begin * columns; i < std::min(end * columns, width); i++)
                out[i] += from[row * width + i];
        }
    });
}

} // namespace

void torch_forward(const torch_pass &p, torch_keep keep, torch_activations &a)
{
    torch_slab &slab = p.c.slab;
    const size_t n = p.plan.padded, width = p.shape.hidden;
    a.layers.assign(p.shape.layers, {});
    a.shared = {};
    a.last = slab.matrix(n, width);
    a.out = slab.matrix(n, width);
    a.final_rstd = slab.floats(n);
    at::Tensor base = slab.matrix(n, width), down = slab.matrix(n, width);
    if (keep != torch_keep::everything) take_saved(p, a.shared);
    embed(p, base);
    for (size_t l = 0; l < p.shape.layers; l++) {
        torch_layer_saved own;
        if (keep == torch_keep::everything) take_saved(p, own);
        torch_layer_saved &s = keep == torch_keep::everything ? own : a.shared;
        if (l == 0)
            s.x = base;
        else if (keep != torch_keep::nothing || l == 1)
            s.x = slab.matrix(n, width);
        const torch_layer_view &w = p.weights.layers[l];
        if (l == 0)
            layer_inner(p, w, {s.x, nullptr, nullptr, w.input_norm, s.input_rstd}, s);
        else /* the layer's input is what the one before had in the middle, plus what it added */
            layer_inner(p, w,
                        {keep == torch_keep::everything ? a.layers[l - 1].middle : s.middle, &down,
                         &s.x, w.input_norm, s.input_rstd},
                        s);
        layer_outer(p, w, s, down);
        a.layers[l] = s;
    }
    norm(p, {a.layers.back().middle, &down, &a.last, p.weights.final_norm, a.final_rstd}, a.out);
}

void torch_backward(const torch_pass &p, torch_activations &a, const at::Tensor &d_out,
                    const torch_view &gradient, const std::function<void(size_t)> &layer_done)
{
    at::Tensor d = p.c.slab.matrix(p.plan.padded, p.shape.hidden);
    d.zero_();
    norm_back(p, {a.last, nullptr, nullptr, p.weights.final_norm, a.final_rstd}, d_out, d,
              gradient.final_norm);
    const bool again = a.shared.qkv.defined();
    for (size_t l = p.shape.layers; l-- > 0;) {
        const torch_layer_view &w = p.weights.layers[l];
        torch_layer_saved &s = a.layers[l];
        if (again) layer_inner(p, w, {s.x, nullptr, nullptr, w.input_norm, s.input_rstd}, s);
        mlp_back(p, w, s, gradient.layers[l], d);
        attention_back(p, w, s, gradient.layers[l], d);
        layer_done(l);
    }
    embed_back(p, d, gradient.embed);
}
