/* Conversion between number formats. */
#include "dtype.h"

#include <string.h>

bool dtype_find(const char *name, size_t length, enum cn_dtype *out)
{
    for (int d = 0; d < CN_DTYPE_COUNT; d++) {
        const char *known = cn_dtype_name((enum cn_dtype)d);
        if (strlen(known) == length && memcmp(known, name, length) == 0) {
            *out = (enum cn_dtype)d;
            return true;
        }
    }
    return false;
}

const char *dtype_torch_name(enum cn_dtype dtype)
{
    switch (dtype) {
    case CN_DTYPE_F32:
        return "float32";
    case CN_DTYPE_BF16:
        return "bfloat16";
    case CN_DTYPE_F16:
        return "float16";
    case CN_DTYPE_F64:
        return "float64";
    default:
        return NULL;
    }
}

float dtype_f32_of_f16(uint16_t half)
{
    uint32_t sign = (uint32_t)(half & 0x8000u) << 16, exponent = (half >> 10) & 0x1fu,
             fraction = half & 0x3ffu;
    if (exponent == 0x1f) return dtype_f32_from_bits(sign | 0x7f800000u | fraction << 13);
    if (exponent) return dtype_f32_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
    /* Subnormal: fraction 2^-24, exact in float. */
    float value = (float)fraction * 0x1p-24f;
    return sign ? -value : value;
}

uint16_t dtype_f16_of_f32(float value)
{
    uint32_t bits = dtype_bits_of_f32(value), sign = bits >> 16 & 0x8000u,
             rest = bits & 0x7fffffffu;
    if (rest > 0x7f800000u) return (uint16_t)(sign | 0x7e00u);
    if (rest >= 0x477ff000u)
        return (uint16_t)(sign | 0x7c00u); /* at least 65520 rounds to infinity */
    if (rest < 0x38800000u) {
        /* Below 2^-14: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits of the sum.
         */
        float sum = dtype_f32_from_bits(rest) + 0.5f;
        return (uint16_t)(sign | (dtype_bits_of_f32(sum) - 0x3f000000u));
    }
    rest += 0xfffu + (rest >> 13 & 1u);
    return (uint16_t)(sign | ((rest - 0x38000000u) >> 13));
}

static float read_one(enum cn_dtype dtype, const unsigned char *at)
{
    uint16_t half;
    double real;
    switch (dtype) {
    case CN_DTYPE_F16:
        memcpy(&half, at, sizeof half);
        return dtype_f32_of_f16(half);
    case CN_DTYPE_BF16:
        memcpy(&half, at, sizeof half);
        return dtype_f32_of_bf16(half);
    default:
        memcpy(&real, at, sizeof real);
        return (float)real;
    }
}

bool dtype_to_f32(enum cn_dtype dtype, const void *data, size_t n, float *out)
{
    const unsigned char *at = data;
    switch (dtype) {
    case CN_DTYPE_F32:
        if (n) memcpy(out, data, n * sizeof *out);
        return true;
    case CN_DTYPE_F16:
        for (size_t i = 0; i < n; i++)
            out[i] = read_one(CN_DTYPE_F16, at + 2 * i);
        return true;
    case CN_DTYPE_BF16:
        for (size_t i = 0; i < n; i++)
            out[i] = read_one(CN_DTYPE_BF16, at + 2 * i);
        return true;
    case CN_DTYPE_F64:
        for (size_t i = 0; i < n; i++)
            out[i] = read_one(CN_DTYPE_F64, at + 8 * i);
        return true;
    default:
        return false;
    }
}

bool dtype_from_f32(enum cn_dtype dtype, const float *data, size_t n, void *out)
{
    unsigned char *at = out;
    uint16_t half;
    switch (dtype) {
    case CN_DTYPE_F32:
        if (n) memcpy(out, data, n * sizeof *data);
        return true;
    case CN_DTYPE_BF16:
        for (size_t i = 0; i < n; i++) {
            half = dtype_bf16_of_f32(data[i]);
            memcpy(at + 2 * i, &half, sizeof half);
        }
        return true;
    case CN_DTYPE_F16:
        for (size_t i = 0; i < n; i++) {
            half = dtype_f16_of_f32(data[i]);
            memcpy(at + 2 * i, &half, sizeof half);
        }
        return true;
    default:
        return false;
    }
}
