/* Rows over the vocabulary on operators: softmax statistics, the gradient, the draw.
 *
 * These hold a few arrays of the size of a chunk of logits at a time.  Where the row kernels of
 * kernels/device_rows.cu are built they do the same in one pass; formulas: kernels/head_body.h. */
#include "torch_cuda.h"
#include "torch_device.h"

#include <cmath>
#include <limits>

namespace
{

/* The kernels for these rows, or NULL. */
const device_row_kernels *kernels_for(const at::Tensor &z)
{
    return z.is_cuda() ? cuda_row_kernels() : nullptr;
}

void launched(int error)
{
    TORCH_CHECK(error == 0, "a row kernel could not be launched: CUDA error ", error);
}

rows_call call_of(const at::Tensor &z, double scale, const device_stats &stats)
{
    rows_call call = {};
    call.z = z.data_ptr<float>();
    call.rows = (size_t)z.size(0);
    call.vocab = (size_t)z.size(1);
    call.scale = (float)scale;
    call.lse = stats.lse.data_ptr<float>();
    call.entropy = stats.entropy.data_ptr<float>();
    return call;
}

} // namespace

device_stats device_row_stats(const at::Tensor &z, double scale)
{
    if (const device_row_kernels *kernels = kernels_for(z)) {
        device_stats stats = {at::empty({z.size(0)}, z.options()),
                              at::empty({z.size(0)}, z.options())};
        const rows_call call = call_of(z, scale, stats);
        launched(kernels->stats(&call, cuda_stream()));
        return stats;
    }
    at::Tensor y = z * scale, lse = y.logsumexp(-1);
    at::Tensor log_p = y.sub_(lse.unsqueeze(-1));
    return {lse, (log_p.exp() * log_p).sum(-1).neg_()};
}

/* Ranks are those of a stable descending sort: ties go to the lower id. */
device_top device_row_top(const at::Tensor &z, double scale, const device_stats &stats,
                          const cn_top &top)
{
    at::Tensor log_p = z.mul(scale).sub_(stats.lse.unsqueeze(-1)).to(at::kDouble), p = log_p.exp();
    auto [sorted, order] = z.sort(true, -1, true);
    at::Tensor kept;
    if (top.form == CN_TOP_P) {
        at::Tensor mass = p.gather(-1, order);
        kept = (mass.cumsum(-1) - mass) < top.amount;
        kept.select(-1, 0).fill_(true);
    } else if (top.form == CN_TOP_P_BELOW) {
        kept = p.gather(-1, order).cumsum(-1) < top.amount;
    } else {
        at::Tensor rank = at::arange(z.size(-1), z.options().dtype(at::kLong));
        kept =
            (rank < std::max(1.0, std::ceil(cn_top_count(&top, (size_t)z.size(-1))))).expand_as(z);
    }
    at::Tensor in = at::zeros(z.sizes(), z.options().dtype(at::kBool)).scatter_(-1, order, kept);
    at::Tensor mass = (p * in).sum(-1), sum = (p * log_p).masked_fill_(in.logical_not(), 0).sum(-1);
    at::Tensor entropy = top.renormalised ? mass.log() - sum / mass : -sum;
    entropy.masked_fill_(mass <= 0, 0); /* nothing is in S */
    return {in, mass.to(at::kFloat), entropy.to(at::kFloat)};
}

/* -p (d_logp + d_entropy (log p + H)) scale */
void device_row_gradient(at::Tensor &z, double scale, const device_stats &stats,
                         const device_row_slopes &d)
{
    if (const device_row_kernels *kernels = kernels_for(z)) {
        rows_call call = call_of(z, scale, stats);
        call.d_logp = d.logp.data_ptr<float>();
        call.d_entropy = d.entropy.data_ptr<float>();
        launched(kernels->gradient(&call, cuda_stream()));
        return;
    }
    z.mul_(scale).sub_(stats.lse.unsqueeze(-1));
    at::Tensor p = z.exp(), u = d.logp + d.entropy * stats.entropy;
    z.mul_(d.entropy.unsqueeze(-1)).add_(u.unsqueeze(-1)).mul_(p).mul_(-scale);
}

at::Tensor device_top_gradient(const at::Tensor &z, double scale, const device_stats &stats,
                               const device_top &s, bool renormalised)
{
    at::Tensor log_p = z.mul(scale).sub_(stats.lse.unsqueeze(-1)), p = log_p.exp(),
               mass = s.mass.clamp_min(1e-30).unsqueeze(-1), entropy = s.entropy.unsqueeze(-1);
    if (renormalised) return (p / mass * (log_p - mass.log() + entropy)).mul_(s.in).mul_(-scale);
    return (p * (mass - entropy) - (p * (log_p + 1)).mul_(s.in)).mul_(scale);
}

namespace
{

/* Integers below 2^32 in int64: products wrap, so their upper words come out right. */
constexpr int64_t word_mask = 0xffffffff;

at::Tensor low(const at::Tensor &x)
{
    return x.bitwise_and(word_mask);
}

at::Tensor high(const at::Tensor &x)
{
    return x.__rshift__(32).bitwise_and_(word_mask);
}

at::Tensor column(const at::Tensor &integers, device_draw_integer which)
{
    return integers.select(0, which).unsqueeze(-1);
}

/* Noise of 24-bit words: -log(-log((w + 1/2) / 2^24)). */
at::Tensor gumbel(const at::Tensor &words)
{
    at::Tensor u = words.__rshift__(8).to(at::kDouble).add_(0.5).div_(16777216.0);
    return u.log_().neg_().log_().neg_();
}

/* Tokens that survive top-k and top-p -> in (n, vocabulary), and the log of their mass. */
struct truncation {
    at::Tensor in, log_mass;
};

truncation truncate(const at::Tensor &log_p, const at::Tensor &z, const at::Tensor &integers,
                    const at::Tensor &reals)
{
    auto [sorted, order] = z.sort(true, -1, true);
    at::Tensor rank = at::arange(z.size(-1), z.options().dtype(at::kLong));
    at::Tensor in_k = rank < column(integers, DRAW_TOP_K);
    at::Tensor p = log_p.gather(-1, order).exp_().mul_(in_k), before = p.cumsum(-1) - p,
               limit = reals.select(0, DRAW_TOP_P).unsqueeze(-1);
    at::Tensor kept = in_k.logical_and(before < limit * p.sum(-1, true)).logical_or_(limit >= 1);
    kept.logical_and_(in_k);
    kept.select(-1, 0).fill_(true);
    at::Tensor in = at::zeros(z.sizes(), z.options().dtype(at::kBool)).scatter_(-1, order, kept);
    return {in, (p * kept).sum(-1).log_()};
}

} // namespace

/* Philox4x32-10, as trainer/core/rng.c: counter {block, position, sample, prompt}. */
at::Tensor device_noise_words(const at::Tensor &integers, int64_t count)
{
    at::Tensor c0 = at::arange((count + 3) / 4, integers.options()).unsqueeze(0),
               c1 = column(integers, DRAW_POSITION), c2 = column(integers, DRAW_SAMPLE),
               c3 = column(integers, DRAW_PROMPT), k0 = column(integers, DRAW_KEY0),
               k1 = column(integers, DRAW_KEY1);
    for (int round = 0; round < 10; round++) {
        at::Tensor a = c0 * 0xD2511F53LL, b = c2 * 0xCD9E8D57LL;
        c0 = high(b).bitwise_xor(c1).bitwise_xor(k0);
        c2 = high(a).bitwise_xor(c3).bitwise_xor(k1);
        c1 = low(b);
        c3 = low(a);
        k0 = low(k0 + 0x9E3779B9LL);
        k1 = low(k1 + 0xBB67AE85LL);
    }
    auto words = at::stack(at::broadcast_tensors({c0, c1, c2, c3}), -1);
    return words.flatten(1).narrow(1, 0, count);
}

at::Tensor device_draw(const at::Tensor &z, const at::Tensor &integers, const at::Tensor &reals,
                       bool truncated)
{
    if (const device_row_kernels *kernels = truncated ? nullptr : kernels_for(z)) {
        at::Tensor out = at::empty({z.size(0), DRAWN_VALUES}, reals.options());
        const rows_draw_call call = {z.data_ptr<float>(),
                                     (size_t)z.size(0),
                                     (size_t)z.size(1),
                                     (size_t)integers.stride(0),
                                     integers.data_ptr<int64_t>(),
                                     reals.data_ptr<double>(),
                                     out.data_ptr<double>()};
        launched(kernels->draw(&call, cuda_stream()));
        return out;
    }
    at::Tensor scaled = z.to(at::kDouble).div_(reals.select(0, DRAW_TEMPERATURE).unsqueeze(-1)),
               log_p = scaled - scaled.logsumexp(-1, true),
               entropy = (log_p.exp() * log_p).sum(-1).neg_();
    at::Tensor score = scaled + gumbel(device_noise_words(integers, z.size(-1)));
    truncation t;
    if (truncated) {
        t = truncate(log_p, z, integers, reals);
        score.masked_fill_(t.in.logical_not(), -std::numeric_limits<double>::infinity());
    }
    at::Tensor token =
        at::where(integers.select(0, DRAW_GREEDY).to(at::kBool), z.argmax(-1), score.argmax(-1));
    at::Tensor logp = log_p.gather(-1, token.unsqueeze(-1)).squeeze(-1);
    return at::stack({token.to(at::kDouble), logp, truncated ? logp - t.log_mass : logp, entropy},
                     -1);
}
