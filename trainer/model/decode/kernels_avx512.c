/* The loops of the decode engine for AVX-512 without BF16 dot products (flags: CMakeLists.txt). */
#include "product_body.h"
#include "bf16_body.h"
#include "product_wide_body.h"
#include "rows_body.h"
#include "attention_body.h"

const struct kernels decode_kernels_avx512f = {
    .name = "avx512f",
    .choose = {stats, noise},
    .product = product,
    .product_bf16 = product_bf16,
    .pack = pack,
    .pack_bf16 = pack_bf16,
    .pack_weights = pack_weights,
    .norm = norm,
    .rotate = rotate,
    .keep = keep,
    .gated = gated,
    .attention = attention,
};
