/* Exact sums of doubles.
 *
 * A statistic over the batch must not depend on how the batch was cut into atoms or ranks.  A
 * floating-point sum does; this one does not: every double is an integer multiple of 2^-1074, so it
 * is added into a wide integer, and integer addition is associative.  The value is rounded once,
 * when it is read. (Kulisch 1981; the same idea as the superaccumulators of Neal 2015, "Fast exact
 * summation".) */
#ifndef CARNOT_SUM_H
#define CARNOT_SUM_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CN_SUM_DIGITS = 70 };

/* Zero-initialised means 0.  digit[i] counts 2^(32 i - 1152); digits overlap by 32 bits, which
 * leaves room for 2^30 additions or merged accumulators between normalisations. */
struct cn_sum {
    int64_t digit[CN_SUM_DIGITS];
    int64_t count;      /* values added */
    int64_t not_finite; /* of which NaN or infinite: left out of the sum */
};

void cn_sum_add(struct cn_sum *sum, double value);
void cn_sum_merge(struct cn_sum *sum, const struct cn_sum *other);
double cn_sum_value(const struct cn_sum *sum); /* nearest double; NaN if any value was not finite */
double cn_sum_mean(const struct cn_sum *sum);  /* 0 if nothing was added */

#ifdef __cplusplus
}
#endif
#endif
