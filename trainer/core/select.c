/* Radix selection and quickselect.
 *
 * The bits of a double, with the sign's meaning turned round, are an integer of the same order. The
 * k-th largest is found 16 bits at a time: count the values of each digit among those that agree
 * with the digits found so far, and walk down from the largest until k are covered.  Counts add
 * over ranks, so nobody needs to see the others' values. */
#include "carnot/select.h"

#include <math.h>
#include <string.h>

enum { DIGIT_BITS = 16, DIGITS = 1 << DIGIT_BITS };

/* Same order as the value; NaN below everything, -0 equal to 0. */
static uint64_t key_of(double value)
{
    uint64_t bits;
    if (isnan(value)) return 0;
    value += 0.0;
    memcpy(&bits, &value, sizeof bits);
    return bits >> 63 ? ~bits : bits | (uint64_t)1 << 63;
}

struct search {
    const double *values;
    size_t n;
    const struct cn_select_ranks *ranks;
    uint64_t *counts;     /* (DIGITS) */
    uint64_t prefix;      /* digits of the k-th largest that are known, in place */
    unsigned known;       /* how many bits */
    uint64_t left, equal; /* still to take among those that agree; how many agree */
};

static enum cn_status find_digit(struct search *search)
{
    const unsigned shift = 64 - DIGIT_BITS - search->known;
    const uint64_t mask = search->known ? ~(uint64_t)0 << (64 - search->known) : 0;
    memset(search->counts, 0, DIGITS * sizeof *search->counts);
    for (size_t i = 0; i < search->n; i++) {
        const uint64_t key = key_of(search->values[i]);
        if ((key & mask) == search->prefix) search->counts[key >> shift & (DIGITS - 1)]++;
    }
    if (search->ranks)
        CN_TRY(search->ranks->sum(search->ranks->self, search->counts, (size_t)DIGITS));
    size_t digit = DIGITS - 1;
    while (digit > 0 && search->counts[digit] < search->left)
        search->left -= search->counts[digit--];
    search->equal = search->counts[digit];
    search->prefix |= (uint64_t)digit << shift;
    search->known += DIGIT_BITS;
    return CN_OK;
}

/* How many of the values that equal the k-th are this rank's to take: the lower ranks go first. */
static enum cn_status share_ties(const struct search *search, struct cn_arena *scratch,
                                 uint64_t *mine)
{
    uint64_t *ties, before = 0;
    *mine = search->left;
    if (!search->ranks) return CN_OK;
    CN_TRY(CN_NEW(scratch, search->ranks->size, &ties));
    for (size_t i = 0; i < search->n; i++)
        ties[search->ranks->rank] += key_of(search->values[i]) == search->prefix;
    CN_TRY(search->ranks->sum(search->ranks->self, ties, search->ranks->size));
    for (size_t r = 0; r < search->ranks->rank; r++)
        before += ties[r];
    *mine = before < search->left ? search->left - before : 0;
    return CN_OK;
}

enum cn_status cn_select_largest(const double *values, size_t n, size_t k,
                                 const struct cn_select_ranks *ranks, struct cn_arena *scratch,
                                 uint8_t *chosen)
{
    struct search search = {.values = values, .n = n, .ranks = ranks, .left = k};
    struct cn_arena_mark mark = cn_arena_mark(scratch);
    uint64_t ties = 0;
    memset(chosen, 0, n);
    if (k == 0) return CN_OK;
    CN_TRY(CN_NEW(scratch, (size_t)DIGITS, &search.counts));
    while (search.known < 64)
        CN_TRY(find_digit(&search));
    CN_TRY(share_ties(&search, scratch, &ties));
    for (size_t i = 0; i < n; i++) {
        const uint64_t key = key_of(values[i]);
        chosen[i] = key > search.prefix || (key == search.prefix && ties > 0);
        ties -= key == search.prefix && ties > 0;
    }
    cn_arena_release(scratch, mark);
    return CN_OK;
}

/* ---- quantiles ----------------------------------------------------------- */

/* Hoare's partition of values[low..high]: the result j is less than high, and
 * values[low..j] <= values[j + 1..high]. */
static size_t split(double *values, size_t low, size_t high)
{
    const double pivot = values[low + (high - low) / 2];
    for (size_t i = low, j = high;; i++, j--) {
        while (values[i] < pivot)
            i++;
        while (values[j] > pivot)
            j--;
        if (i >= j) return j;
        const double kept = values[i];
        values[i] = values[j];
        values[j] = kept;
    }
}

/* Puts the value of ascending place k where it belongs, smaller ones before it, larger behind. */
static void place(double *values, size_t n, size_t k)
{
    size_t low = 0, high = n - 1;
    while (low < high) {
        const size_t middle = split(values, low, high);
        if (k <= middle)
            high = middle;
        else
            low = middle + 1;
    }
}

double cn_select_quantile(double *values, size_t n, double q)
{
    const double at = q * (double)(n - 1);
    const size_t below = (size_t)floor(at);
    place(values, n, below);
    double above = below + 1 < n ? values[below + 1] : values[below];
    for (size_t i = below + 2; i < n; i++)
        above = fmin(above, values[i]);
    return values[below] + (at - (double)below) * (above - values[below]);
}
