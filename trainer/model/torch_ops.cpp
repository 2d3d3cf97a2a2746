/* Memory and matrix products; see torch_ops.h. */
#include "torch_blocks.h"

#include <algorithm>

#include <sys/mman.h>

namespace
{

constexpr size_t alignment = 64, smallest_block = size_t(1) << 22;

/* Memory of large pages, where the system lends them: of small ones, looking up where they lie
 * takes a good part of the time that reading takes. */
at::Tensor new_block(size_t bytes)
{
    at::Tensor x = at::empty({(int64_t)bytes}, at::kByte);
    const uintptr_t page = 4096, begin = ((uintptr_t)x.data_ptr() + page - 1) / page * page,
                    end = ((uintptr_t)x.data_ptr() + bytes) / page * page;
    if (begin < end) madvise((void *)begin, end - begin, MADV_HUGEPAGE);
    return x;
}

} // namespace

at::Tensor torch_zeros(size_t n)
{
    return new_block(n * sizeof(float)).view(at::kFloat).zero_();
}

at::Tensor torch_slab::take(size_t bytes)
{
    bytes = (bytes + alignment - 1) / alignment * alignment;
    while (block < blocks.size() && (size_t)blocks[block].numel() - used < bytes) {
        block++;
        used = 0;
    }
    if (block == blocks.size()) {
        size_t grown = blocks.empty() ? smallest_block : 2 * (size_t)blocks.back().numel();
        blocks.push_back(new_block(std::max(bytes, std::min(grown, size_t(1) << 28))));
        used = 0;
    }
    at::Tensor piece = blocks[block].narrow(0, (int64_t)used, (int64_t)bytes);
    used += bytes;
    return piece;
}

at::Tensor torch_slab::matrix(size_t rows, size_t columns, at::ScalarType type)
{
    size_t bytes = rows * columns * c10::elementSize(type);
    return take(bytes)
        .narrow(0, 0, (int64_t)bytes)
        .view(type)
        .view({(int64_t)rows, (int64_t)columns});
}

float *torch_slab::floats(size_t n)
{
    return (float *)take(n * sizeof(float)).data_ptr();
}

int32_t *torch_slab::ints(size_t n)
{
    return (int32_t *)take(n * sizeof(int32_t)).data_ptr();
}

/* Several blocks become one, so that the next atom of this size finds room in one piece. */
void torch_slab::reset()
{
    block = used = 0;
    if (blocks.size() < 2) return;
    size_t total = 0;
    for (const at::Tensor &b : blocks)
        total += (size_t)b.numel();
    blocks.clear();
    blocks.push_back(new_block(total));
}

torch_slab::mark torch_slab::now() const
{
    return {block, used};
}

void torch_slab::release(mark to)
{
    block = to.block;
    used = to.used;
}

at::Tensor torch_to_half(torch_context &c, const at::Tensor &x)
{
    at::Tensor y = c.slab.matrix((size_t)x.size(0), (size_t)x.size(1), at::kBFloat16);
    const float *from = data(x);
    uint16_t *to = (uint16_t *)y.data_ptr();
    torch_rows((size_t)x.numel(), 1 << 15, [&](size_t begin, size_t end) {
        c.k->to_bf16(from + begin, to + begin, end - begin);
    });
    return y;
}

void torch_from_half(torch_context &c, const at::Tensor &x, const at::Tensor &y)
{
    const uint16_t *from = (const uint16_t *)x.data_ptr();
    float *to = data(y);
    torch_rows((size_t)x.numel(), 1 << 15, [&](size_t begin, size_t end) {
        c.k->from_bf16(from + begin, to + begin, end - begin);
    });
}

namespace
{

/* MKL cuts the depth of a tiny product by the number of threads on some processors, whatever
 * MKL_CBWR says, so the calling thread does it alone: inside a parallel region MKL starts no
 * others. */
template <class body_type> void multiply(const at::Tensor &out, body_type body)
{
    constexpr int64_t tiny = 64 * 64;
    if (out.numel() > tiny)
        body();
    else
        at::parallel_for(0, 2, 1, [&](int64_t begin, int64_t) {
            if (begin == 0) body();
        });
}

/* out = a b of bf16 matrices, rounded once. */
void half_product(torch_context &c, const at::Tensor &out, const at::Tensor &a, const at::Tensor &b)
{
    at::Tensor half = c.slab.matrix((size_t)out.size(0), (size_t)out.size(1), at::kBFloat16);
    at::mm_out(half, a, b);
    torch_from_half(c, half, out);
}

/* Whether the processor has instructions for bf16. */
#ifdef __x86_64__
bool mm_of_half_is_fast()
{
    return __builtin_cpu_supports("avx512bf16");
}
#else
bool mm_of_half_is_fast()
{
    return true;
}
#endif

/* How a product with w is computed. */
enum class way { half_blocks, half_mm, floats };

/* Blocks of bf16 need pairs of k in one word.  Without instructions for bf16 libtorch's product of
 * them is slow (an eighth of the float one's speed on a Zen 3), so w is widened. */
way way_of(const torch_context &c, const at::Tensor &w)
{
    if (w.scalar_type() == at::kFloat) return way::floats;
    if (torch_blocks_run_here(c, true) && w.size(1) % 2 == 0) return way::half_blocks;
    return mm_of_half_is_fast() ? way::half_mm : way::floats;
}

/* w in floats: as it lies, or in the slab. */
at::Tensor wide(torch_context &c, const at::Tensor &w)
{
    if (w.scalar_type() == at::kFloat) return w;
    at::Tensor y = c.slab.matrix((size_t)w.size(0), (size_t)w.size(1));
    torch_from_half(c, w, y);
    return y;
}

/* [0, n) in parts whose packed or widened operand, `width` floats each, stays in a cache. */
template <class body_type> void in_parts(torch_context &c, int64_t n, int64_t width, body_type body)
{
    constexpr int64_t floats = 1 << 20, unit = 64;
    const int64_t step = std::max(unit, floats / width / unit * unit);
    for (int64_t begin = 0; begin < n; begin += step) {
        torch_slab::mark mark = c.slab.now();
        body(begin, std::min(step, n - begin));
        c.slab.release(mark);
    }
}

/* y = x w^T, computed in floats. */
void float_product(torch_context &c, const at::Tensor &y, const at::Tensor &x, const at::Tensor &w)
{
    in_parts(c, w.size(0), w.size(1), [&](int64_t begin, int64_t n) {
        at::Tensor out = y.narrow(1, begin, n), part = wide(c, w.narrow(0, begin, n));
        if (torch_blocks_run_here(c, false))
            torch_blocks_product(out, torch_left_in_place(x), torch_right_transposed(c, part),
                                 false);
        else
            multiply(out, [&] { at::mm_out(out, x, part.t()); });
    });
}

/* d_x (+)= d_y w of floats. */
void add_product(torch_context &c, const at::Tensor &d_x, const at::Tensor &d_y,
                 const at::Tensor &w, bool add)
{
    at::Tensor out = d_x;
    if (torch_blocks_run_here(c, false))
        torch_blocks_product(d_x, torch_left_in_place(d_y), torch_right_in_place(w), add);
    else
        multiply(d_x, [&] { at::addmm_out(out, out, d_y, w, add ? 1 : 0); });
}

/* d_x = d_y w, computed in floats. */
void float_input_gradient(torch_context &c, const at::Tensor &d_x, const at::Tensor &d_y,
                          const at::Tensor &w)
{
    if (w.scalar_type() == at::kFloat) {
        add_product(c, d_x, d_y, w, false);
        return;
    }
    in_parts(c, w.size(0), w.size(1), [&](int64_t begin, int64_t n) {
        add_product(c, d_x, d_y.narrow(1, begin, n), wide(c, w.narrow(0, begin, n)), begin > 0);
    });
}

void add_bias(const at::Tensor &y, const float *bias)
{
    size_t width = (size_t)y.size(1);
    float *out = data(y);
    torch_rows((size_t)y.size(0), 64, [&](size_t begin, size_t end) {
        for (size_t row = begin; row < end; row++)
            for (size_t i = 0; i < width; i++)
                out[row * width + i] += bias[i];
    });
}

} // namespace

void torch_linear(torch_context &c, const at::Tensor &y, const at::Tensor &x, const at::Tensor &w,
                  const float *bias)
{
    torch_slab::mark mark = c.slab.now();
    switch (way_of(c, w)) {
    case way::half_blocks:
        torch_blocks_product(y, torch_left_of(c, x), torch_right_transposed(c, w), false);
        break;
    case way::half_mm:
        half_product(c, y, torch_to_half(c, x), w.t());
        break;
    case way::floats:
        float_product(c, y, x, w);
        break;
    }
    c.slab.release(mark);
    if (bias) add_bias(y, bias);
}

void torch_input_gradient(torch_context &c, const at::Tensor &d_x, const at::Tensor &d_y,
                          const at::Tensor &w)
{
    torch_slab::mark mark = c.slab.now();
    switch (way_of(c, w)) {
    case way::half_blocks:
        torch_blocks_product(d_x, torch_left_of(c, d_y), torch_right_of(c, w), false);
        break;
    case way::half_mm:
        half_product(c, d_x, torch_to_half(c, d_y), w);
        break;
    case way::floats:
        float_input_gradient(c, d_x, d_y, w);
        break;
    }
    c.slab.release(mark);
}

void torch_weight_gradient(torch_context &c, const at::Tensor &d_w, const at::Tensor &d_y,
                           const at::Tensor &x)
{
    torch_slab::mark mark = c.slab.now();
    if (c.half && torch_blocks_run_here(c, true)) {
        torch_blocks_product(d_w, torch_left_transposed(c, d_y), torch_right_of(c, x), true);
    } else if (c.half && mm_of_half_is_fast()) {
        at::Tensor half = c.slab.matrix((size_t)d_w.size(0), (size_t)d_w.size(1), at::kBFloat16);
        at::mm_out(half, torch_to_half(c, d_y).t(), torch_to_half(c, x));
        const uint16_t *from = (const uint16_t *)half.data_ptr();
        float *to = data(d_w);
        torch_rows((size_t)d_w.numel(), 1 << 15, [&](size_t begin, size_t end) {
            c.k->add_bf16(from + begin, to + begin, end - begin);
        });
    } else if (torch_blocks_run_here(c, false)) {
        in_parts(c, d_w.size(0), x.size(0), [&](int64_t begin, int64_t n) {
            torch_blocks_product(d_w.narrow(0, begin, n),
                                 torch_left_turned(c, d_y.narrow(1, begin, n)),
                                 torch_right_in_place(x), true);
        });
    } else {
        at::Tensor result = d_w;
        multiply(d_w, [&] { at::addmm_out(result, result, d_y.t(), x); });
    }
    c.slab.release(mark);
}

void torch_linear_back(torch_context &c, const torch_linear_gradient &out, const at::Tensor &d_y,
                       const at::Tensor &x, const at::Tensor &w)
{
    torch_weight_gradient(c, out.d_w, d_y, x);
    torch_input_gradient(c, out.d_x, d_y, w);
    if (out.d_bias) torch_column_sum(c, d_y, (size_t)d_y.size(1), out.d_bias);
}

torch_head_operand torch_head_operand_of(torch_context &c, const at::Tensor &w)
{
    if (way_of(c, w) == way::half_blocks) return {at::Tensor(), torch_right_transposed(c, w)};
    return {wide(c, w), {}};
}

void torch_logits(torch_context &c, const at::Tensor &out, const at::Tensor &x,
                  const torch_head_operand &w)
{
    if (w.wide.defined()) {
        float_product(c, out, x, w.wide);
        return;
    }
    torch_slab::mark mark = c.slab.now();
    torch_blocks_product(out, torch_left_of(c, x), w.panels, false);
    torch_blocks_product(out, torch_left_of(c, x, true), w.panels, true);
    c.slab.release(mark);
}

void torch_reduce(torch_context &c, const torch_partials &partials, float *out, size_t width)
{
    torch_rows((width + 63) / 64, 16, [&](size_t begin, size_t end) {
        c.k->reduce(partials.data, partials.blocks, partials.stride, out, begin * 64,
                    std::min(end * 64, width));
    });
}

void torch_column_sum(torch_context &c, const at::Tensor &x, size_t width, float *out)
{
    torch_slab::mark mark = c.slab.now();
    const size_t rows = (size_t)x.size(0), stride = (size_t)x.stride(0),
                 blocks = torch_blocks(rows);
    float *partial = c.slab.floats(blocks * width);
    const float *from = data(x);
    torch_rows(blocks, 1, [&](size_t begin, size_t end) {
        for (size_t b = begin; b < end; b++)
            c.k->column_sum(from + b * KERNEL_BLOCK * stride, stride, width,
                            std::min<size_t>(KERNEL_BLOCK, rows - b * KERNEL_BLOCK),
                            partial + b * width);
    });
    torch_reduce(c, {partial, blocks, width}, out, width);
    c.slab.release(mark);
}
