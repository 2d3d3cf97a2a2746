/* The head in chunks; see torch_head.h. */
#include "torch_head.h"

#include "torch_blocks.h"

#include <cstring>

namespace
{

constexpr size_t chunk_bytes = size_t(64) << 20, keep_bytes = size_t(64) << 20;

size_t chunk_rows(size_t vocab)
{
    size_t rows = chunk_bytes / (vocab * sizeof(float)) / 8 * 8;
    return std::min<size_t>(std::max<size_t>(rows, 64), 4096);
}

size_t padded(size_t rows)
{
    return (rows + 7) / 8 * 8;
}

/* A run of head rows. */
struct chunk {
    size_t begin, end;
};

/* Hidden rows of a chunk side by side, padded to a multiple of 8 with zeros. */
at::Tensor gather(const torch_head_pass &p, chunk k)
{
    const size_t width = (size_t)p.hidden.size(1), n = k.end - k.begin;
    at::Tensor x = p.c.slab.matrix(padded(n), width);
    float *to = data(x);
    const float *from = data(p.hidden);
    for (size_t i = 0; i < n; i++)
        memcpy(to + i * width, from + (size_t)p.plan.head_row[k.begin + i] * width,
               width * sizeof(float));
    memset(to + n * width, 0, (padded(n) - n) * width * sizeof(float));
    return x;
}

kernel_head kernel_of(const torch_head_pass &p, torch_head_saved &saved, chunk k,
                      const at::Tensor &logits)
{
    kernel_head a = {};
    a.vocab = (size_t)p.head.size(0);
    a.logits = data(logits);
    a.scale = (float)(1.0 / saved.temperature);
    if (saved.channels & CN_LIVE_BIT(entropy_top))
        a.top = saved.top.form == CN_TOP_NONE                                    ? KERNEL_TOP_NONE
                : saved.top.form == CN_TOP_P || saved.top.form == CN_TOP_P_BELOW ? KERNEL_TOP_P
                                                                                 : KERNEL_TOP_K;
    a.top_amount = a.top == KERNEL_TOP_K ? cn_top_count(&saved.top, a.vocab) : saved.top.amount;
    a.top_exclusive = saved.top.form == CN_TOP_P_BELOW;
    a.top_renormalised = saved.top.renormalised;
    a.rows = saved.rows.data() + k.begin;
    return a;
}

void clear(double *column, const torch_plan &plan)
{
    if (column) std::fill(column + plan.token_begin, column + plan.token_end, 0.0);
}

void write_channels(const torch_head_pass &p, const kernel_head &a, chunk k, const cn_live_out &out,
                    const torch_head_saved &saved)
{
    const bool top = a.top != KERNEL_TOP_NONE;
    for (size_t r = k.begin; r < k.end; r++) {
        const kernel_head_row &row = saved.rows[r];
        const float *z = a.logits + (r - k.begin) * a.vocab;
        for (size_t i = p.plan.item_start[r]; i < p.plan.item_start[r + 1]; i++) {
            const plan_item &item = p.plan.items[i];
            if (out.logp) out.logp[item.token] = (double)(z[item.target] * a.scale - row.lse);
            if (out.entropy) out.entropy[item.token] = (double)row.entropy;
            if (out.entropy_top)
                out.entropy_top[item.token] = (double)(top ? row.top_entropy : row.entropy);
        }
    }
}

/* Sums dL/dchannel over the tokens that a row predicts. */
void gather_gradient(const torch_plan &plan, const cn_token_grad &grad, torch_head_saved &saved)
{
    const bool top = saved.top.form != CN_TOP_NONE;
    for (size_t r = 0; r < saved.rows.size(); r++) {
        double logp = 0, entropy = 0, restricted = 0;
        for (size_t i = plan.item_start[r]; i < plan.item_start[r + 1]; i++) {
            const size_t t = plan.items[i].token;
            if (grad.d_logp) logp += grad.d_logp[t];
            if (grad.d_entropy) entropy += grad.d_entropy[t];
            if (grad.d_entropy_top && (saved.channels & CN_LIVE_BIT(entropy_top)))
                (top ? restricted : entropy) += grad.d_entropy_top[t];
        }
        saved.rows[r].d_logp = (float)logp;
        saved.rows[r].d_entropy = (float)entropy;
        saved.rows[r].d_top = (float)restricted;
    }
}

/* Logits -> dL/dlogits, in place. */
void gradient_rows(const torch_head_pass &p, const cn_token_grad &grad, const kernel_head &a,
                   chunk k)
{
    const size_t n = k.end - k.begin;
    torch_rows(n, 4, [&](size_t begin, size_t end) {
        p.c.k->head_backward(&a, begin, end);
        for (size_t r = begin; r < end; r++)
            for (size_t i = p.plan.item_start[k.begin + r];
                 i < p.plan.item_start[k.begin + r + 1] && grad.d_logp; i++) {
                const plan_item &item = p.plan.items[i];
                a.logits[r * a.vocab + (size_t)item.target] +=
                    (float)grad.d_logp[item.token] * a.scale;
            }
    });
    memset(a.logits + n * a.vocab, 0, (padded(n) - n) * a.vocab * sizeof(float));
}

void scatter(const torch_head_pass &p, chunk k, const at::Tensor &rows, const at::Tensor &d_hidden)
{
    const size_t width = (size_t)rows.size(1);
    for (size_t i = k.begin; i < k.end; i++)
        memcpy(data(d_hidden) + (size_t)p.plan.head_row[i] * width,
               data(rows) + (i - k.begin) * width, width * sizeof(float));
}

} // namespace

void torch_head_forward(const torch_head_pass &p, const cn_atom &atom, const cn_live_out &out,
                        torch_head_saved &saved)
{
    const size_t vocab = (size_t)p.head.size(0), rows = p.plan.head_row.size(),
                 step = chunk_rows(vocab);
    saved.temperature = atom.temperature;
    saved.top = atom.top;
    saved.channels = atom.channels;
    saved.rows.assign(rows, {});
    saved.kept = at::Tensor();
    clear(out.logp, p.plan);
    clear(out.entropy, p.plan);
    clear(out.entropy_top, p.plan);
    clear(out.value, p.plan);
    if (rows <= step && padded(rows) * vocab * sizeof(float) <= keep_bytes)
        saved.kept = p.c.slab.matrix(padded(rows), vocab);
    torch_slab::mark mark = p.c.slab.now();
    torch_head_operand w = torch_head_operand_of(p.c, p.head);
    for (size_t begin = 0; begin < rows; begin += step) {
        chunk k = {begin, std::min(begin + step, rows)};
        torch_slab::mark inner = p.c.slab.now();
        at::Tensor x = gather(p, k);
        at::Tensor logits =
            saved.kept.defined() ? saved.kept : p.c.slab.matrix((size_t)x.size(0), vocab);
        torch_logits(p.c, logits, x, w);
        kernel_head a = kernel_of(p, saved, k, logits);
        torch_rows(k.end - k.begin, 4,
                   [&](size_t first, size_t last) { p.c.k->head_forward(&a, first, last); });
        write_channels(p, a, k, out, saved);
        p.c.slab.release(inner);
    }
    p.c.slab.release(mark);
}

void torch_head_backward(const torch_head_pass &p, const cn_token_grad &grad,
                         torch_head_saved &saved, const at::Tensor &d_hidden,
                         const at::Tensor &d_head)
{
    const size_t vocab = (size_t)p.head.size(0), rows = p.plan.head_row.size(),
                 step = chunk_rows(vocab);
    torch_slab::mark mark = p.c.slab.now();
    torch_head_operand w;
    at::Tensor zeroed = d_hidden;
    if (!saved.kept.defined()) w = torch_head_operand_of(p.c, p.head);
    gather_gradient(p.plan, grad, saved);
    zeroed.zero_();
    for (size_t begin = 0; begin < rows; begin += step) {
        chunk k = {begin, std::min(begin + step, rows)};
        torch_slab::mark inner = p.c.slab.now();
        at::Tensor x = gather(p, k), d_x = p.c.slab.matrix((size_t)x.size(0), (size_t)x.size(1));
        at::Tensor logits = saved.kept;
        if (!logits.defined()) {
            logits = p.c.slab.matrix((size_t)x.size(0), vocab);
            torch_logits(p.c, logits, x, w);
        }
        kernel_head a = kernel_of(p, saved, k, logits);
        if (a.top != KERNEL_TOP_NONE) a.spare = p.c.slab.floats(vocab * (k.end - k.begin));
        gradient_rows(p, grad, a, k);
        torch_linear_back(p.c, {d_x, d_head, nullptr}, logits, x, p.head);
        scatter(p, k, d_x, d_hidden);
        p.c.slab.release(inner);
    }
    p.c.slab.release(mark);
}

void torch_head_logits(const torch_head_pass &p, float *out)
{
    const size_t vocab = (size_t)p.head.size(0), rows = p.plan.head_row.size(),
                 step = chunk_rows(vocab);
    torch_head_operand w = torch_head_operand_of(p.c, p.head);
    for (size_t begin = 0; begin < rows; begin += step) {
        chunk k = {begin, std::min(begin + step, rows)};
        torch_slab::mark inner = p.c.slab.now();
        at::Tensor x = gather(p, k), logits = p.c.slab.matrix((size_t)x.size(0), vocab);
        torch_logits(p.c, logits, x, w);
        memcpy(out + k.begin * vocab, data(logits), (k.end - k.begin) * vocab * sizeof(float));
        p.c.slab.release(inner);
    }
}
