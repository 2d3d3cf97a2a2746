/* The loops of the torch back end, compiled for avx2 (flags: CMakeLists.txt). */
#include "kernels.h"
#include "vector.h"

#include "rows_body.h"
#include "pack_body.h"
#include "attention_body.h"
#include "head_body.h"

const struct torch_kernels torch_kernels_avx2 = {
    .name = "avx2",
    .lanes = LANES,
    .norm_forward = norm_forward,
    .norm_apply = norm_apply,
    .norm_backward = norm_backward,
    .rotate_forward = rotate_forward,
    .rotate_backward = rotate_backward,
    .gated_forward = gated_forward,
    .gated_backward = gated_backward,
    .column_sum = column_sum,
    .reduce = reduce,
    .attention_forward = attention_forward,
    .attention_backward = attention_backward,
    .head_forward = head_forward,
    .head_backward = head_backward,
    .adamw = adamw,
    .sum_squares = sum_squares,
    .to_bf16 = to_bf16,
    .from_bf16 = from_bf16,
    .add_bf16 = add_bf16,
    .pairs = pairs,
    .pairs_of_halves = pairs_of_halves,
    .transpose = transpose,
};
