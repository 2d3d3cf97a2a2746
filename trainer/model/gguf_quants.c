/* GGUF blocks -> floats.
 *
 *     Q4_0   f16 d | 16 bytes           x[j]      = d (low nibble of byte j - 8)
 *                                       x[j + 16] = d (high nibble - 8)
 *     Q4_1   f16 d | f16 m | 16 bytes   x[j]      = d (low nibble of byte j) + m
 *                                       x[j + 16] = d (high nibble) + m
 *     Q8_0   f16 d | 32 int8            x[j]      = d q[j]
 *
 * Product and sum are rounded one after the other (ISO C mode contracts nothing), as in the gguf
 * Python package. */
#include "gguf.h"

#include "dtype.h"

enum { BLOCK = 32, HALF = BLOCK / 2 };

static float half_at(const unsigned char *at)
{
    return dtype_f32_of_f16((uint16_t)(at[0] | at[1] << 8));
}

static void read_q4_0(const unsigned char *at, size_t blocks, float *out)
{
    for (; blocks; blocks--, at += 2 + HALF, out += BLOCK) {
        const float d = half_at(at);
        for (int j = 0; j < HALF; j++) {
            out[j] = d * (float)((at[2 + j] & 15) - 8);
            out[j + HALF] = d * (float)((at[2 + j] >> 4) - 8);
        }
    }
}

static void read_q4_1(const unsigned char *at, size_t blocks, float *out)
{
    for (; blocks; blocks--, at += 4 + HALF, out += BLOCK) {
        const float d = half_at(at), m = half_at(at + 2);
        for (int j = 0; j < HALF; j++) {
            out[j] = d * (float)(at[4 + j] & 15) + m;
            out[j + HALF] = d * (float)(at[4 + j] >> 4) + m;
        }
    }
}

static void read_q8_0(const unsigned char *at, size_t blocks, float *out)
{
    for (; blocks; blocks--, at += 2 + BLOCK, out += BLOCK) {
        const float d = half_at(at);
        for (int j = 0; j < BLOCK; j++)
            out[j] = d * (float)(int8_t)at[2 + j];
    }
}

void gguf_read_f32(const struct gguf_tensor *tensor, float *out)
{
    const size_t n = tensor->count;
    switch (tensor->type) {
    case GGUF_F32:
        dtype_to_f32(CN_DTYPE_F32, tensor->data, n, out);
        break;
    case GGUF_F16:
        dtype_to_f32(CN_DTYPE_F16, tensor->data, n, out);
        break;
    case GGUF_BF16:
        dtype_to_f32(CN_DTYPE_BF16, tensor->data, n, out);
        break;
    case GGUF_Q4_0:
        read_q4_0(tensor->data, n / BLOCK, out);
        break;
    case GGUF_Q4_1:
        read_q4_1(tensor->data, n / BLOCK, out);
        break;
    case GGUF_Q8_0:
        read_q8_0(tensor->data, n / BLOCK, out);
        break;
    }
}
