/* The k largest of many values, and quantiles, in time proportional to their number. */
#ifndef CARNOT_SELECT_H
#define CARNOT_SELECT_H

#include "carnot/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How the parts of a selection that is spread over ranks are put together. */
struct cn_select_ranks {
    void *self;
    size_t rank, size;
    /* Adds counts (n) over ranks, in place.  Collective. */
    enum cn_status (*sum)(void *self, uint64_t *counts, size_t n);
};

/* Marks the `k` largest of all ranks' values (all of them if there are fewer): chosen (n) gets 0
 * or 1.  Of equal values the earlier ones are taken, on the lower rank first, so the choice does
 * not depend on how the values are cut over ranks.  NaN is less than every number.
 * ranks: NULL if there is one.  Radix selection: four passes over the values, each one sum of
 * 65,536 counts.  Fails: CN_ERR_MEMORY, or as `sum`.  Logically collective. */
enum cn_status cn_select_largest(const double *values, size_t n, size_t k,
                                 const struct cn_select_ranks *ranks, struct cn_arena *scratch,
                                 uint8_t *chosen);

/* The q-quantile (q in [0, 1]) of values (n >= 1, none NaN), linear between the two neighbours of
 * place q (n - 1).  Reorders `values`.  Quickselect.  Not collective. */
double cn_select_quantile(double *values, size_t n, double q);

#ifdef __cplusplus
}
#endif
#endif
