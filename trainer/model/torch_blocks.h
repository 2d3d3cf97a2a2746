/* Matrix products from oneDNN's kernels of one block as ATen lends them, summed in floats: of bf16
 * matrices, by matrix tiles (at::mm would round the result to bf16), and of floats (at::mm took an
 * AVX2 kernel where it was measured, on a Zen 5: half of what it can do).
 *
 *     out (m, n) = left (m, depth) right (depth, n)     blocks of 256 x 64, depth in parts of 1,024
 *
 * (less rows if threads would go without a block).  A block is one thread's, and the sum of an
 * element runs over the depth in order, whatever the rows: bits do not depend on threads.
 * Operands of bf16 are packed, in the slab, and their depth is rounded up to a multiple of 32 with
 * zeros; floats are read where they lie, or are turned. */
#ifndef CARNOT_MODEL_TORCH_BLOCKS_H
#define CARNOT_MODEL_TORCH_BLOCKS_H

#include "torch_ops.h"

/* Rows of `depth` elements: uint16_t if half, else floats. */
struct torch_left {
    const void *data;
    int64_t rows, depth, stride;
    bool half;
};

/* Panels of 64 columns, `panel` elements apart, each [depth][stride]; of bf16: [depth / 2][64][2].
 */
struct torch_right {
    const void *data;
    int64_t columns, stride, panel;
};

/* Whether this processor has such kernels: of bf16 (half), matrix tiles. */
bool torch_blocks_run_here(const torch_context &c, bool half);

/* ---- bf16
 *
 * x (m, k) float; rest: what rounding it to bf16 leaves out (x - bf16(x)), rounded to bf16. */
torch_left torch_left_of(torch_context &c, const at::Tensor &x, bool rest = false);
/* The transpose of x (k, m), float, rounded to bf16. */
torch_left torch_left_transposed(torch_context &c, const at::Tensor &x);
/* x (k, n), bf16 or rounded to it. */
torch_right torch_right_of(torch_context &c, const at::Tensor &x);

/* ---- floats
 *
 * x (m, k) and x (k, n) as they lie, and the transpose of x (k, m). */
torch_left torch_left_in_place(const at::Tensor &x);
torch_right torch_right_in_place(const at::Tensor &x);
torch_left torch_left_turned(torch_context &c, const at::Tensor &x);

/* ---- both
 *
 * The transpose of w (n, k), bf16 with even k or float; its rows lie one after the other. */
torch_right torch_right_transposed(torch_context &c, const at::Tensor &w);

/* out (m, n), floats in rows, = or += left right, both of one type. */
void torch_blocks_product(const at::Tensor &out, const torch_left &left, const torch_right &right,
                          bool add);

/* The head as an operand of torch_logits: floats, or panels. */
struct torch_head_operand {
    at::Tensor wide;
    torch_right panels;
};
torch_head_operand torch_head_operand_of(torch_context &c, const at::Tensor &w);

/* out (N, vocab) = x (N, hidden) w^T with the accuracy of floats: a bf16 x would round logits to 8
 * bits, which is more than the policy ratio can bear.  With panels x is split into two bf16 parts,
 * which keep 16 bits of it. */
void torch_logits(torch_context &c, const at::Tensor &out, const at::Tensor &x,
                  const torch_head_operand &w);

#endif
