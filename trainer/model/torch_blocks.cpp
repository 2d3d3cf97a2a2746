/* Packing and the loop over blocks; see torch_blocks.h. */
#include "torch_blocks.h"

#include <ATen/native/CPUBlas.h>

#include <algorithm>
#include <cstring>

namespace
{

constexpr int64_t block = 64, depth_unit = 32, depth_part = 1024, tile = 32;

int64_t padded_depth(int64_t k)
{
    return (k + depth_unit - 1) / depth_unit * depth_unit;
}

uint16_t *halves(torch_context &c, int64_t rows, int64_t depth)
{
    return (uint16_t *)c.slab.matrix((size_t)rows, (size_t)depth, at::kBFloat16).data_ptr();
}

/* Two consecutive elements of k of one row or column. */
uint32_t pair(const uint16_t *even, const uint16_t *odd)
{
    return *even | (odd ? (uint32_t)*odd << 16 : 0);
}

} // namespace

bool torch_blocks_run_here()
{
    static const bool yes = at::native::cpublas::could_pack(at::kBFloat16);
    return yes;
}

torch_left torch_left_of(torch_context &c, const at::Tensor &x, bool rest)
{
    const int64_t rows = x.size(0), k = x.size(1), depth = padded_depth(k);
    uint16_t *to = halves(c, rows, depth);
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
    return {to, rows, depth};
}

torch_left torch_left_transposed(torch_context &c, const at::Tensor &x)
{
    const int64_t k = x.size(0), rows = x.size(1), words = padded_depth(k) / 2;
    uint16_t *to = halves(c, rows, 2 * words);
    const uint16_t *from = (const uint16_t *)x.data_ptr();
    torch_rows((size_t)(rows + tile - 1) / tile, 1, [&](size_t begin, size_t end) {
        const int64_t last = std::min<int64_t>((int64_t)end * tile, rows);
        for (int64_t first = (int64_t)begin * tile; first < last; first += tile)
            for (int64_t w = 0; w < words; w++) {
                const uint16_t *even = from + 2 * w * rows, *odd = even + rows;
                for (int64_t r = first; r < std::min(first + tile, last); r++) {
                    const uint32_t word =
                        2 * w < k ? pair(even + r, 2 * w + 1 < k ? odd + r : nullptr) : 0;
                    memcpy(to + 2 * (r * words + w), &word, sizeof word);
                }
            }
    });
    return {to, rows, 2 * words};
}

torch_right torch_right_of(torch_context &c, const at::Tensor &x)
{
    const int64_t k = x.size(0), n = x.size(1), words = padded_depth(k) / 2,
                  panels = (n + block - 1) / block;
    uint16_t *to = halves(c, panels * block, 2 * words);
    const uint16_t *from = (const uint16_t *)x.data_ptr();
    torch_rows((size_t)words, 16, [&](size_t begin, size_t end) {
        for (int64_t w = (int64_t)begin; w < (int64_t)end; w++)
            for (int64_t p = 0; p < panels; p++) {
                const uint16_t *even = from + 2 * w * n + p * block;
                uint32_t line[block] = {0};
                for (int64_t j = 0; j < std::min(block, n - p * block) && 2 * w < k; j++)
                    line[j] = pair(even + j, 2 * w + 1 < k ? even + n + j : nullptr);
                memcpy(to + 2 * (p * words + w) * block, line, sizeof line);
            }
    });
    return {to, n, 2 * words};
}

torch_right torch_right_transposed(torch_context &c, const at::Tensor &w)
{
    const int64_t n = w.size(0), k = w.size(1), words = padded_depth(k) / 2,
                  panels = (n + block - 1) / block;
    uint16_t *to = halves(c, panels * block, 2 * words);
    const uint16_t *from = (const uint16_t *)w.data_ptr();
    torch_rows((size_t)panels, 1, [&](size_t begin, size_t end) {
        for (int64_t p = (int64_t)begin; p < (int64_t)end; p++) {
            const int64_t columns = std::min(block, n - p * block);
            for (int64_t at = 0; at < words; at++) {
                uint32_t line[block] = {0};
                for (int64_t j = 0; j < columns && 2 * at < k; j++)
                    memcpy(&line[j], from + (p * block + j) * k + 2 * at, sizeof line[j]);
                memcpy(to + 2 * (p * words + at) * block, line, sizeof line);
            }
        }
    });
    return {to, n, 2 * words};
}

void torch_blocks_product(const at::Tensor &out, const torch_left &left, const torch_right &right,
                          bool add)
{
    const int64_t m = left.rows, n = right.columns, depth = left.depth,
                  rows = (m + block - 1) / block, panels = (n + block - 1) / block;
    const bool rows_outside = m > n; /* the larger operand is read once */
    const at::BFloat16 *a = (const at::BFloat16 *)left.data, *b = (const at::BFloat16 *)right.data;
    float *to = data(out);
    at::parallel_for(0, rows * panels, 1, [&](int64_t begin, int64_t end) {
        for (int64_t q = begin; q < end; q++) {
            const int64_t i = (rows_outside ? q / panels : q % rows) * block,
                          j = (rows_outside ? q % panels : q / rows) * block;
            for (int64_t k = 0; k < depth; k += depth_part)
                at::native::cpublas::brgemm(std::min(block, m - i), std::min(block, n - j),
                                            std::min(depth_part, depth - k), depth, block, n,
                                            add || k > 0, a + i * depth + k,
                                            b + j * depth + k * block, to + i * n + j);
        }
        at::native::cpublas::brgemm_release();
    });
}
