/* Packing and the loop over blocks; see torch_blocks.h. */
#include "torch_blocks.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>

namespace
{

constexpr int64_t most_rows = 256, block = 64, depth_unit = 32, depth_part = 1024,
                  tile = depth_unit / 2; /* words */

int64_t padded_depth(int64_t k)
{
    return (k + depth_unit - 1) / depth_unit * depth_unit;
}

uint32_t *words_of(torch_context &c, int64_t rows, int64_t words)
{
    return (uint32_t *)c.slab.ints((size_t)(rows * words));
}

/* A call that does more rows costs less, but every thread should have several. */
int64_t rows_of_a_block(int64_t m, int64_t panels)
{
    int64_t rows = most_rows;
    while (rows > block && (m + rows - 1) / rows * panels < 4 * at::get_num_threads())
        rows /= 2;
    return rows;
}

/* Where an odd k ends. */
template <class element> const element *none()
{
    static const element zeros[block] = {};
    return zeros;
}

/* Words of k 2 w and 2 w + 1 for `count` <= block columns of x (k, n) from `column` on. */
template <class element> struct pair_source {
    const element *x;
    int64_t k, n;
    void (*pairs)(const element *even, const element *odd, uint32_t *out, size_t n);

    void line(int64_t w, int64_t column, int64_t count, uint32_t *out) const
    {
        const element *even = x + 2 * w * n + column;
        if (2 * w < k) pairs(even, 2 * w + 1 < k ? even + n : none<element>(), out, (size_t)count);
        const int64_t filled = 2 * w < k ? count : 0;
        memset(out + filled, 0, (size_t)(block - filled) * sizeof *out);
    }
};

/* Panels of x (k, n). */
template <class element> torch_right panels_of(torch_context &c, const pair_source<element> &from)
{
    const int64_t n = from.n, words = padded_depth(from.k) / 2, panels = (n + block - 1) / block;
    uint32_t *to = words_of(c, panels * block, words);
    torch_rows((size_t)words, 16, [&](size_t begin, size_t end) {
        for (int64_t w = (int64_t)begin; w < (int64_t)end; w++)
            for (int64_t p = 0; p < panels; p++)
                from.line(w, p * block, std::min(block, n - p * block),
                          to + (p * words + w) * block);
    });
    return {to, n, block, 2 * words * block};
}

/* The largest part of the depth that is left, of few sizes: each is another kernel. */
int64_t part_of(int64_t left)
{
    const int64_t part = std::min(depth_part, left);
    return part > depth_unit ? part / depth_unit * depth_unit : part;
}

template <class element>
void multiply_blocks(const at::Tensor &out, const torch_left &left, const torch_right &right,
                     bool add)
{
    const int64_t m = left.rows, n = right.columns, stride = out.stride(0),
                  panels = (n + block - 1) / block, row_block = rows_of_a_block(m, panels),
                  rows = (m + row_block - 1) / row_block;
    const bool rows_outside = m > n; /* the larger operand is read once */
    const element *a = (const element *)left.data, *b = (const element *)right.data;
    float *to = data(out);
    at::parallel_for(0, rows * panels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; q++) {
            const int64_t p = rows_outside ? q % panels : q / rows,
                          i = (rows_outside ? q / panels : q % rows) * row_block, j = p * block;
            for (int64_t k = 0, part; k < left.depth; k += part) {
                part = part_of(left.depth - k);
                at::native::cpublas::brgemm(
                    std::min(row_block, m - i), std::min(block, n - j), part, left.stride,
                    right.stride, stride, add || k > 0, a + i * left.stride + k,
                    b + p * right.panel + k * right.stride, to + i * stride + j);
            }
        }
        at::native::cpublas::brgemm_release();
    });
}

} // namespace

bool torch_blocks_run_here(const torch_context &c, bool half)
{
    static const bool halves = at::native::cpublas::could_pack(at::kBFloat16);
    return half ? halves : c.k->lanes >= 8 && at::hasMKLDNN();
}

torch_left torch_left_in_place(const at::Tensor &x)
{
    return {data(x), x.size(0), x.size(1), x.stride(0), false};
}

torch_right torch_right_in_place(const at::Tensor &x)
{
    return {data(x), x.size(1), x.stride(0), block};
}

torch_left torch_left_turned(torch_context &c, const at::Tensor &x)
{
    const int64_t k = x.size(0), rows = x.size(1), stride = x.stride(0);
    uint32_t *to = words_of(c, rows, k);
    const uint32_t *from = (const uint32_t *)x.data_ptr();
    torch_rows((size_t)(rows + block - 1) / block, 1, [&](size_t begin, size_t end) {
        for (int64_t i = (int64_t)begin * block; i < std::min<int64_t>((int64_t)end * block, rows);
             i += block) {
            const kernel_words turn = {(size_t)k,  (size_t)std::min(block, rows - i),
                                       from + i,   (size_t)stride,
                                       to + i * k, (size_t)k};
            c.k->transpose(&turn);
        }
    });
    return {to, rows, k, k, false};
}

torch_left torch_left_of(torch_context &c, const at::Tensor &x, bool rest)
{
    const int64_t rows = x.size(0), k = x.size(1), depth = padded_depth(k);
    uint16_t *to = (uint16_t *)words_of(c, rows, depth / 2);
    const float *from = data(x);
    torch_rows((size_t)rows, 16, [&](size_t begin, size_t end) {
        std::vector<float> left(rest ? (size_t)k : 0);
        for (size_t r = begin; r < end; r++) {
            const float *row = from + r * (size_t)k;
            uint16_t *out = to + r * (size_t)depth;
            c.k->to_bf16(row, out, (size_t)k);
            if (rest) {
                c.k->from_bf16(out, left.data(), (size_t)k);
                for (int64_t i = 0; i < k; i++)
                    left[(size_t)i] = row[i] - left[(size_t)i];
                c.k->to_bf16(left.data(), out, (size_t)k);
            }
            memset(out + k, 0, (size_t)(depth - k) * sizeof *out);
        }
    });
    return {to, rows, depth, depth, true};
}

torch_left torch_left_transposed(torch_context &c, const at::Tensor &x)
{
    const int64_t k = x.size(0), rows = x.size(1), words = padded_depth(k) / 2;
    uint32_t *to = words_of(c, rows, words);
    const pair_source<float> from = {data(x), k, rows, c.k->pairs};
    torch_rows((size_t)(rows + block - 1) / block, 1, [&](size_t begin, size_t end) {
        for (int64_t first = (int64_t)begin * block;
             first < std::min<int64_t>((int64_t)end * block, rows); first += block)
            for (int64_t w = 0; w < words; w += tile) {
                const int64_t count = std::min(block, rows - first);
                uint32_t lines[tile * block];
                for (int64_t i = 0; i < tile; i++)
                    from.line(w + i, first, count, lines + i * block);
                const kernel_words turn = {(size_t)tile,  (size_t)count,          lines,
                                           (size_t)block, to + first * words + w, (size_t)words};
                c.k->transpose(&turn);
            }
    });
    return {to, rows, 2 * words, 2 * words, true};
}

torch_right torch_right_of(torch_context &c, const at::Tensor &x)
{
    if (x.scalar_type() == at::kFloat)
        return panels_of<float>(c, {data(x), x.size(0), x.size(1), c.k->pairs});
    return panels_of<uint16_t>(
        c, {(const uint16_t *)x.data_ptr(), x.size(0), x.size(1), c.k->pairs_of_halves});
}

torch_right torch_right_transposed(torch_context &c, const at::Tensor &w)
{
    const bool half = w.scalar_type() != at::kFloat;
    const int64_t n = w.size(0), filled = half ? w.size(1) / 2 : w.size(1),
                  words = half ? padded_depth(w.size(1)) / 2 : filled,
                  panels = (n + block - 1) / block;
    uint32_t *to = words_of(c, panels * block, words);
    const uint32_t *from = (const uint32_t *)w.data_ptr();
    torch_rows((size_t)panels, 1, [&](size_t begin, size_t end) {
        for (int64_t p = (int64_t)begin; p < (int64_t)end; p++) {
            const int64_t columns = std::min(block, n - p * block);
            uint32_t *panel = to + p * words * block;
            if (columns < block) memset(panel, 0, (size_t)(words * block) * sizeof *panel);
            const kernel_words turn = {(size_t)columns, (size_t)filled, from + p * block * filled,
                                       (size_t)filled,  panel,          (size_t)block};
            c.k->transpose(&turn);
            memset(panel + filled * block, 0, (size_t)((words - filled) * block) * sizeof *panel);
        }
    });
    return {to, n, block, (half ? 2 : 1) * words * block};
}

void torch_blocks_product(const at::Tensor &out, const torch_left &left, const torch_right &right,
                          bool add)
{
    if (left.half)
        multiply_blocks<at::BFloat16>(out, left, right, add);
    else
        multiply_blocks<float>(out, left, right, add);
}
