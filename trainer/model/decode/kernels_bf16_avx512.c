/* The loops of the decode engine for AVX-512 with BF16 dot products (flags: CMakeLists.txt). */
#include "product_body.h"
#include "bf16_body.h"
#include "product_dot_body.h"
#include "rows_body.h"
#include "attention_body.h"

const struct kernels decode_kernels_avx512bf16 = {
    .name = "avx512bf16",
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
