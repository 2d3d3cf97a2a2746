/* The head on operators, in chunks of rows; the CPU path's twin is torch_head.cpp.
 *
 * One copy to the host per atom: the channels of all its tokens, at the end. */
#include "torch_device.h"

namespace
{

/* On CPU tensors, which only tests use, chunks are small so that these meet more than one. */
constexpr int64_t chunk_bytes_cpu = int64_t(8) << 20, chunk_bytes_device = int64_t(1) << 30;

/* a b in F32.  On CUDA, BF16 factors are multiplied into F32; on the CPU they are widened first. */
at::Tensor product(const at::Tensor &a, const at::Tensor &b)
{
    if (a.scalar_type() == at::kFloat) return at::mm(a, b);
    if (a.is_cuda()) return at::mm(a, b, at::kFloat);
    return at::mm(a.to(at::kFloat), b.to(at::kFloat));
}

/* Head rows [begin, end) and the items they predict. */
struct chunk {
    size_t begin, end;
    at::Tensor rows, item_row, target; /* packed rows; row within the chunk and token id per item */
    size_t first, items;               /* of plan.items */
};

chunk chunk_at(const device_model &model, const torch_plan &plan, size_t begin)
{
    const size_t end = std::min(begin + (size_t)device_chunk_rows(model), plan.head_row.size());
    const size_t first = plan.item_start[begin], last = plan.item_start[end];
    std::vector<size_t> item_row;
    std::vector<int32_t> target;
    for (size_t r = begin; r < end; r++)
        for (size_t i = plan.item_start[r]; i < plan.item_start[r + 1]; i++) {
            item_row.push_back(r - begin);
            target.push_back(plan.items[i].target);
        }
    const std::vector<int32_t> rows(plan.head_row.begin() + (ptrdiff_t)begin,
                                    plan.head_row.begin() + (ptrdiff_t)end);
    return {begin,
            end,
            device_upload(model, rows),
            device_upload(model, item_row),
            device_upload(model, target),
            first,
            last - first};
}

bool wants_top(const device_pending &p)
{
    return (p.channels & CN_LIVE_BIT(entropy_top)) && p.top.form != CN_TOP_NONE;
}

/* Columns (items): log-probability, entropy, restricted entropy. */
at::Tensor channels_of(const device_pending &p, const chunk &c, const at::Tensor &z)
{
    const double scale = 1 / p.temperature;
    device_stats stats = device_row_stats(z, scale);
    at::Tensor chosen = z.index({c.item_row, c.target}),
               logp = chosen * scale - stats.lse.index_select(0, c.item_row),
               entropy = stats.entropy.index_select(0, c.item_row), top = entropy;
    if (wants_top(p))
        top = device_row_top(z, scale, stats, p.top).entropy.index_select(0, c.item_row);
    return at::stack({logp, entropy, top}).to(at::kDouble);
}

void clear(double *column, const torch_plan &plan)
{
    if (column) std::fill(column + plan.token_begin, column + plan.token_end, 0.0);
}

void write(double *column, const torch_plan &plan, const at::Tensor &from)
{
    const double *value = from.data_ptr<double>();
    for (size_t i = 0; column && i < plan.items.size(); i++)
        column[plan.items[i].token] = value[i];
}

/* d_channel of the plan's items, on the device; rows: log-probability, entropy, restricted. */
at::Tensor upload_slopes(const device_model &model, const device_pending &p,
                         const cn_token_grad &grad)
{
    const double *columns[] = {grad.d_logp, grad.d_entropy,
                               p.channels & CN_LIVE_BIT(entropy_top) ? grad.d_entropy_top
                                                                     : nullptr};
    const size_t n = p.plan.items.size();
    at::Tensor host = at::zeros({3, (int64_t)n}, at::kDouble);
    for (size_t c = 0; c < 3; c++)
        for (size_t i = 0; columns[c] && i < n; i++)
            host.data_ptr<double>()[c * n + i] = columns[c][p.plan.items[i].token];
    return host.to(model.of(at::kFloat));
}

/* z -> dL/dz, in place. */
void gradient_of(const device_pending &p, const chunk &c, at::Tensor &z, const at::Tensor &slopes)
{
    const double scale = 1 / p.temperature;
    device_stats stats = device_row_stats(z, scale);
    at::Tensor sums = at::zeros({z.size(0), 3}, slopes.options());
    device_add_rows(sums, c.item_row, slopes.t());
    sums = sums.t().contiguous();
    device_row_slopes d = {sums[0], sums[1], sums[2]};
    at::Tensor more;
    if (wants_top(p))
        more = device_top_gradient(z, scale, stats, device_row_top(z, scale, stats, p.top),
                                   p.top.renormalised)
                   .mul_(d.top.unsqueeze(-1));
    else
        d.entropy = d.entropy + d.top; /* S is everything */
    device_row_gradient(z, scale, stats, d);
    if (more.defined()) z.add_(more);
    z.index_put_({c.item_row, c.target}, slopes[0] * scale, true);
}

} // namespace

int64_t device_chunk_rows(const device_model &model)
{
    const int64_t bytes = model.device.is_cpu() ? chunk_bytes_cpu : chunk_bytes_device,
                  rows = bytes / ((int64_t)model.host->shape.vocab * 4) / 8 * 8;
    return std::min<int64_t>(std::max<int64_t>(rows, 64), 8192);
}

at::Tensor device_logits(const device_weights &weights, const at::Tensor &x)
{
    const at::Tensor &head = weights.layers.back()[TENSOR_HEAD];
    return product(x.to(head.scalar_type()), head.t());
}

void device_head_forward(device_model &model, const device_weights &weights, device_pending &p,
                         const cn_live_out &out)
{
    model.part = PLAN_WORK;
    double *const columns[] = {out.logp, out.entropy, out.entropy_top};
    p.vocabulary = true;
    for (double *column : columns)
        clear(column, p.plan);
    std::vector<at::Tensor> parts;
    for (size_t begin = 0; begin < p.plan.head_row.size();) {
        const chunk c = chunk_at(model, p.plan, begin);
        at::Tensor z = device_logits(weights, p.hidden.index_select(0, c.rows));
        parts.push_back(channels_of(p, c, z));
        if (c.end - c.begin == p.plan.head_row.size()) p.logits = z;
        begin = c.end;
    }
    if (parts.empty()) return;
    at::Tensor host = at::cat(parts, 1).to(at::kCPU);
    for (int i = 0; i < 3; i++)
        write(columns[i], p.plan, host[i]);
}

at::Tensor device_head_backward(device_model &model, device_pending &p, const cn_token_grad &grad)
{
    model.part = PLAN_WORK;
    const at::Tensor &head = model.weights.layers.back()[TENSOR_HEAD];
    at::Tensor d_hidden = at::zeros_like(p.hidden), slopes = upload_slopes(model, p, grad);
    for (size_t begin = 0; begin < p.plan.head_row.size();) {
        const chunk c = chunk_at(model, p.plan, begin);
        at::Tensor x = p.hidden.index_select(0, c.rows),
                   z = p.logits.defined() ? std::move(p.logits) : device_logits(model.weights, x);
        gradient_of(p, c, z, slopes.narrow(1, (int64_t)c.first, (int64_t)c.items));
        at::Tensor d = z.to(model.type);
        d_hidden.index_copy_(0, c.rows, product(d, head));
        model.gradients.back()[TENSOR_HEAD].add_(product(d.t(), x.to(model.type)));
        begin = c.end;
    }
    return d_hidden;
}

namespace
{

/* Hidden rows that predict something, and the head's weights. */
struct value_operands {
    at::Tensor rows, x, w; /* (n) int64; (n, hidden), (hidden) double */
};

value_operands value_of(const device_model &model, const device_pending &p)
{
    const struct adamw &head = model.host->value.all;
    at::Tensor w = at::from_blob(head.weight, {(int64_t)head.n_decayed}, at::kFloat),
               rows = device_upload(model, p.plan.head_row);
    return {rows, p.hidden.index_select(0, rows).to(at::kDouble), w.to(model.of(at::kDouble))};
}

} // namespace

void device_value_forward(device_model &model, const device_pending &p, double *value)
{
    clear(value, p.plan);
    if (!p.plan.rows) return;
    const struct adamw &head = model.host->value.all;
    const value_operands v = value_of(model, p);
    const at::Tensor host = v.x.mv(v.w).to(at::kCPU);
    for (size_t r = 0; r < p.plan.head_row.size(); r++)
        for (size_t i = p.plan.item_start[r]; i < p.plan.item_start[r + 1]; i++)
            value[p.plan.items[i].token] =
                host.data_ptr<double>()[r] + (double)head.weight[head.n_decayed];
}

void device_value_backward(device_model &model, const device_pending &p, const double *d_value,
                           at::Tensor &d_hidden)
{
    const struct adamw &head = model.host->value.all;
    const value_operands v = value_of(model, p);
    at::Tensor sums = at::zeros({(int64_t)p.plan.head_row.size()}, at::kDouble);
    for (size_t r = 0; r < p.plan.head_row.size(); r++)
        for (size_t i = p.plan.item_start[r]; i < p.plan.item_start[r + 1]; i++)
            sums.data_ptr<double>()[r] += d_value[p.plan.items[i].token];
    const at::Tensor d = sums.to(model.device);
    device_add_rows(d_hidden, v.rows, d.outer(v.w).to(at::kFloat));
    const at::Tensor own = v.x.t().mv(d).to(at::kCPU);
    for (size_t i = 0; i < head.n_decayed; i++)
        head.gradient[i] += (float)own.data_ptr<double>()[i];
    head.gradient[head.n_decayed] += (float)sums.sum().item<double>();
}
