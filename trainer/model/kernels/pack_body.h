/* Operands of products in blocks (torch_blocks.h): two consecutive k of a row or column are one
 * word, the even one in its low half.  Included by kernels_*.c once per instruction set. */
#include "../transpose.h"

static void pairs(const float *even, const float *odd, uint32_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = half_of(even[i]) | (uint32_t)half_of(odd[i]) << 16;
}

static void pairs_of_halves(const uint16_t *even, const uint16_t *odd, uint32_t *out, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = even[i] | (uint32_t)odd[i] << 16;
}

static void transpose(const struct kernel_words *a)
{
    for (size_t r = 0; r < a->rows; r += LANES)
        for (size_t c = 0; c < a->columns; c += LANES) {
            const uint32_t *x = a->x + r * a->x_stride + c;
            uint32_t *y = a->y + c * a->y_stride + r;
            if (a->rows - r >= LANES && a->columns - c >= LANES) {
                lanes_row t[LANES];
                for (size_t i = 0; i < LANES; i++)
                    memcpy(&t[i], x + i * a->x_stride, sizeof t[i]);
                lanes_transpose(t);
                for (size_t i = 0; i < LANES; i++)
                    memcpy(y + i * a->y_stride, &t[i], sizeof t[i]);
                continue;
            }
            for (size_t i = 0; i < LANES && r + i < a->rows; i++)
                for (size_t j = 0; j < LANES && c + j < a->columns; j++)
                    y[j * a->y_stride + i] = x[i * a->x_stride + j];
        }
}
