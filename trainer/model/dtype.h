/* Conversion between number formats: element by element, data of any alignment. */
#ifndef CARNOT_MODEL_DTYPE_H
#define CARNOT_MODEL_DTYPE_H

#include "carnot/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* n elements of F32, F16, BF16 or F64 -> floats; false for another dtype. */
bool dtype_to_f32(enum cn_dtype dtype, const void *data, size_t n, float *out);

/* n floats -> F32, BF16 or F16, rounded to nearest even; false for another dtype. */
bool dtype_from_f32(enum cn_dtype dtype, const float *data, size_t n, void *out);

/* Finds "F32", "BF16" ... as safetensors spells it; false if unknown. */
bool dtype_find(const char *name, size_t length, enum cn_dtype *out);

/* torch's word: "float32", "bfloat16" ...; NULL for a dtype that weights do not have. */
const char *dtype_torch_name(enum cn_dtype dtype);

static inline float dtype_f32_from_bits(uint32_t bits)
{
    float value;
    __builtin_memcpy(&value, &bits, sizeof value);
    return value;
}

static inline uint32_t dtype_bits_of_f32(float value)
{
    uint32_t bits;
    __builtin_memcpy(&bits, &value, sizeof bits);
    return bits;
}

static inline float dtype_f32_of_bf16(uint16_t half)
{
    return dtype_f32_from_bits((uint32_t)half << 16);
}

/* Round to nearest even; a NaN stays a NaN. */
static inline uint16_t dtype_bf16_of_f32(float value)
{
    uint32_t bits = dtype_bits_of_f32(value);
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (uint16_t)((bits >> 16) | 0x40u);
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

float dtype_f32_of_f16(uint16_t half);
uint16_t dtype_f16_of_f32(float value); /* overflow gives infinity, as IEEE 754 says */

#ifdef __cplusplus
}
#endif
#endif
