/* Variable-length attention over packed rows, a prompt's keys and values shared by the segments
 * that continue it.
 *
 * On CUDA the two products and the softmax are libtorch's flash operators; elsewhere (CPU tensors,
 * F32, odd head sizes) a loop over the segments that keeps the same contract.  Everything around
 * them, keys gathered by row and gradients added back, is one code for both.
 * Dao 2023, "FlashAttention-2". */
#include "torch_device.h"

#include <torch/csrc/autograd/custom_function.h>

#include <cmath>
#include <limits>

namespace
{

struct attended {
    at::Tensor out, lse, rng, unused;
};

double scale_of(const at::Tensor &q)
{
    return 1 / std::sqrt((double)q.size(2));
}

/* ---- plain: one segment after the other, in F32 -------------------------- */

struct plain_segment {
    int64_t q, n_q, k, n_k;
};

std::vector<plain_segment> plain_segments(const device_spans &s)
{
    at::Tensor cu_q = s.cu_q.cpu(), cu_k = s.cu_k.cpu();
    at::Tensor used = s.used.defined() ? s.used.cpu() : at::Tensor();
    const int32_t *q = cu_q.data_ptr<int32_t>(), *k = cu_k.data_ptr<int32_t>();
    std::vector<plain_segment> segments;
    for (int64_t i = 0; i + 1 < cu_q.numel(); i++) {
        int64_t n = used.defined() ? used.data_ptr<int32_t>()[i] : k[i + 1] - k[i];
        if (q[i + 1] > q[i]) segments.push_back({q[i], q[i + 1] - q[i], k[i], n});
    }
    return segments;
}

/* Rows [at, at + n) as (heads, n, D), F32; each key head repeated for the queries that share it. */
at::Tensor heads_first(const at::Tensor &x, int64_t at, int64_t n, int64_t repeat)
{
    at::Tensor y = x.narrow(0, at, n).transpose(0, 1).to(at::kFloat);
    return repeat == 1 ? y : y.repeat_interleave(repeat, 0);
}

/* (heads, n_q, n_k): exp of the scaled scores less lse (undefined: their log-sum-exp, returned). */
at::Tensor plain_weights(const at::Tensor &q, const at::Tensor &k, double scale, at::Tensor &lse)
{
    const int64_t n_q = q.size(1), n_k = k.size(1);
    at::Tensor hidden = at::ones({n_q, n_k}, q.options().dtype(at::kBool)).triu(n_k - n_q + 1);
    at::Tensor scores = at::bmm(q, k.transpose(1, 2))
                            .mul_(scale)
                            .masked_fill_(hidden, -std::numeric_limits<double>::infinity());
    if (!lse.defined()) lse = scores.logsumexp(-1);
    return scores.sub_(lse.unsqueeze(-1)).exp_();
}

attended plain_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                       const device_spans &s)
{
    const int64_t repeat = q.size(1) / k.size(1);
    at::Tensor out = at::zeros_like(q),
               lse = at::zeros({q.size(1), q.size(0)}, q.options().dtype(at::kFloat));
    for (const plain_segment &g : plain_segments(s)) {
        at::Tensor row_lse,
            p = plain_weights(heads_first(q, g.q, g.n_q, 1), heads_first(k, g.k, g.n_k, repeat),
                              scale_of(q), row_lse);
        out.narrow(0, g.q, g.n_q)
            .copy_(at::bmm(p, heads_first(v, g.k, g.n_k, repeat)).transpose(0, 1));
        lse.narrow(1, g.q, g.n_q).copy_(row_lse);
    }
    return {out, lse, {}, {}};
}

/* d_k, d_v of a segment: heads that share a key head are added. */
void add_keys(const at::Tensor &to, const plain_segment &g, const at::Tensor &d, int64_t repeat)
{
    at::Tensor sum = repeat == 1 ? d : d.view({-1, repeat, d.size(1), d.size(2)}).sum(1);
    to.narrow(0, g.k, g.n_k).add_(sum.transpose(0, 1));
}

struct attention_inputs {
    const at::Tensor &q, &k, &v;
};
struct attention_slopes {
    at::Tensor q, k, v;
};

attention_slopes plain_backward(const at::Tensor &d_out, const attention_inputs &in,
                                const attended &a, const device_spans &s)
{
    const int64_t repeat = in.q.size(1) / in.k.size(1);
    const double scale = scale_of(in.q);
    attention_slopes d = {at::zeros_like(in.q), at::zeros_like(in.k), at::zeros_like(in.v)};
    for (const plain_segment &g : plain_segments(s)) {
        at::Tensor q = heads_first(in.q, g.q, g.n_q, 1), k = heads_first(in.k, g.k, g.n_k, repeat),
                   v = heads_first(in.v, g.k, g.n_k, repeat),
                   d_o = heads_first(d_out, g.q, g.n_q, 1), lse = a.lse.narrow(1, g.q, g.n_q),
                   p = plain_weights(q, k, scale, lse);
        at::Tensor delta = (d_o * heads_first(a.out, g.q, g.n_q, 1)).sum(-1, true);
        at::Tensor d_s = at::bmm(d_o, v.transpose(1, 2)).sub_(delta).mul_(p).mul_(scale);
        d.q.narrow(0, g.q, g.n_q).copy_(at::bmm(d_s, k).transpose(0, 1));
        add_keys(d.k, g, at::bmm(d_s.transpose(1, 2), q), repeat);
        add_keys(d.v, g, at::bmm(p.transpose(1, 2), d_o), repeat);
    }
    return d;
}

/* ---- either -------------------------------------------------------------- */

bool is_flash(const at::Tensor &q)
{
    return device_attention_is_flash(q.device(), q.scalar_type(), q.size(2));
}

attended forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                 const device_spans &s)
{
    if (!is_flash(q)) return plain_forward(q, k, v, s);
    std::optional<at::Tensor> used;
    if (s.used.defined()) used = s.used;
    auto [out, lse, rng, unused, debug] =
        at::_flash_attention_forward(q, k, v, s.cu_q, s.cu_k, s.max_q, s.max_k, 0.0, true, false,
                                     scale_of(q), std::nullopt, std::nullopt, used, std::nullopt);
    return {out, lse, rng, unused};
}

attention_slopes backward(const at::Tensor &d_out, const attention_inputs &in, const attended &a,
                          const device_spans &s)
{
    if (!is_flash(in.q)) return plain_backward(d_out, in, a, s);
    auto [q, k, v] = at::_flash_attention_backward(d_out.contiguous(), in.q, in.k, in.v, a.out,
                                                   a.lse, s.cu_q, s.cu_k, s.max_q, s.max_k, 0.0,
                                                   true, a.rng, a.unused, scale_of(in.q));
    return {q, k, v};
}

at::Tensor gather(const at::Tensor &x, const device_spans &s)
{
    return s.key_rows.defined() ? x.index_select(0, s.key_rows) : x;
}

/* Gradients of gathered keys back to their rows; a prompt's are those of every segment that saw it,
 * added in F32. */
at::Tensor scatter(const at::Tensor &d, const at::Tensor &like, const device_spans &s)
{
    if (!s.key_rows.defined()) return d;
    at::Tensor sum = at::zeros(like.sizes(), like.options().dtype(at::kFloat));
    device_add_rows(sum, s.key_rows, d.to(at::kFloat));
    return sum.to(like.scalar_type());
}

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct packed_attention : torch::autograd::Function<packed_attention> {
    static at::Tensor forward(AutogradContext *context, const at::Tensor &q, const at::Tensor &k,
                              const at::Tensor &v, const device_spans &s)
    {
        attended a = ::forward(q, gather(k, s), gather(v, s), s);
        context->save_for_backward(
            {q, k, v, a.out, a.lse, a.rng, a.unused, s.cu_q, s.cu_k, s.key_rows});
        context->saved_data["max_q"] = s.max_q;
        context->saved_data["max_k"] = s.max_k;
        return a.out;
    }

    static variable_list backward(AutogradContext *context, const variable_list &d_out)
    {
        variable_list t = context->get_saved_variables();
        const device_spans s = {t[7],
                                t[8],
                                {},
                                t[9],
                                context->saved_data["max_q"].toInt(),
                                context->saved_data["max_k"].toInt()};
        at::Tensor k = gather(t[1], s), v = gather(t[2], s);
        attention_slopes d = ::backward(d_out[0], {t[0], k, v}, {t[3], t[4], t[5], t[6]}, s);
        return {d.q, scatter(d.k, t[1], s), scatter(d.v, t[2], s), {}};
    }
};

} // namespace

bool device_attention_is_flash(at::Device device, at::ScalarType type, int64_t head_dim)
{
    return device.is_cuda() && type == at::kBFloat16 && head_dim % 8 == 0 && head_dim <= 256;
}

at::Tensor device_attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const device_spans &spans)
{
    return packed_attention::apply(q, k, v, spans);
}

at::Tensor device_attention_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                    const device_spans &spans)
{
    return forward(q, gather(k, spans), gather(v, spans), spans).out;
}
