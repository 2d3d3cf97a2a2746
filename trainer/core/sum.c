/* Exact sums: a double is cut into 32-bit digits of a wide integer. */
#include "carnot/sum.h"

#include <math.h>
#include <string.h>

__extension__ typedef unsigned __int128 uint128;

enum { BIAS = 1152 }; /* digit[0] counts 2^-1152: room for the 53 bits below 2^-1074 */

/* Brings every digit but the last into [0, 2^32) by carrying upwards; the sign lives in the last
 * digit. */
static void normalise(int64_t digit[CN_SUM_DIGITS])
{
    for (int i = 0; i + 1 < CN_SUM_DIGITS; i++) {
        int64_t carry = digit[i] >> 32; /* arithmetic shift: rounds down */
        digit[i] -= carry * ((int64_t)1 << 32);
        digit[i + 1] += carry;
    }
}

void cn_sum_add(struct cn_sum *sum, double value)
{
    sum->count++;
    if (!isfinite(value)) {
        sum->not_finite++;
        return;
    }
    if (value == 0.0) return;
    int exponent;
    double fraction = frexp(fabs(value), &exponent); /* in [0.5, 1) */
    uint64_t mantissa = (uint64_t)ldexp(fraction, 53);
    int position = exponent - 53 + BIAS; /* of the lowest bit of the mantissa */
    int first = position / 32, shift = position % 32;
    uint128 wide = (uint128)mantissa << shift; /* 85 bits at most: three digits */
    int64_t sign = value < 0 ? -1 : 1;
    for (int i = 0; i < 3 && first + i < CN_SUM_DIGITS; i++)
        sum->digit[first + i] += sign * (int64_t)(uint32_t)(wide >> (32 * i));
    if (sum->count % ((int64_t)1 << 29) == 0) normalise(sum->digit);
}

void cn_sum_merge(struct cn_sum *sum, const struct cn_sum *other)
{
    int64_t more[CN_SUM_DIGITS];
    memcpy(more, other->digit, sizeof more);
    normalise(more);
    normalise(sum->digit);
    for (int i = 0; i < CN_SUM_DIGITS; i++)
        sum->digit[i] += more[i];
    sum->count += other->count;
    sum->not_finite += other->not_finite;
}

double cn_sum_value(const struct cn_sum *sum)
{
    if (sum->not_finite) return NAN;
    int64_t digit[CN_SUM_DIGITS];
    memcpy(digit, sum->digit, sizeof digit);
    normalise(digit);
    double sign = 1;
    if (digit[CN_SUM_DIGITS - 1] <
        0) { /* negative: make it positive, so that rounding is symmetric */
        sign = -1;
        for (int i = 0; i < CN_SUM_DIGITS; i++)
            digit[i] = -digit[i];
        normalise(digit);
    }
    int top = CN_SUM_DIGITS - 1;
    while (top >= 0 && digit[top] == 0)
        top--;
    if (top < 0) return 0.0;
    /* Three digits hold at least 65 bits; what lies below only matters as a sticky bit for round to
     * nearest. */
    uint128 wide = 0;
    int low = top - 2;
    for (int i = top; i >= low; i--)
        wide = wide << 32 | (uint32_t)(i >= 0 ? digit[i] : 0);
    bool sticky = false;
    for (int i = 0; i < low; i++)
        sticky = sticky || digit[i] != 0;
    int bits = 0;
    for (uint128 w = wide; w; w >>= 1)
        bits++;
    int drop = bits > 64 ? bits - 64 : 0;
    uint64_t kept = (uint64_t)(wide >> drop);
    if (sticky || (wide & (((uint128)1 << drop) - 1))) kept |= 1;
    return sign * ldexp((double)kept, drop + 32 * low - BIAS);
}

double cn_sum_mean(const struct cn_sum *sum)
{
    return sum->count ? cn_sum_value(sum) / (double)sum->count : 0.0;
}
