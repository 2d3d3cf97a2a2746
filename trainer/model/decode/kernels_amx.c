/* The loops of the decode engine for AVX-512 with matrix tiles of BF16 (flags: CMakeLists.txt). */
#include "product_body.h"
#include "bf16_body.h"
#include "product_amx_body.h"
#include "rows_body.h"
#include "attention_body.h"

const struct kernels decode_kernels_amx = {
    .name = "amx",
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
