/* The checks of one combination, and what they share with the families. */
#ifndef CARNOT_SELFTEST_CHECKS_H
#define CARNOT_SELFTEST_CHECKS_H

#include "selftest_spec.h"

struct tester {
    struct trial trial;
    size_t cases, refused;
    double worst; /* largest error so far */
};

/* Checks the recipe that the tester's trial has; `spec` describes it in messages.
 * Fails: CN_ERR_BUG with both numbers. */
typedef enum cn_status check_function(struct tester *tester, const struct spec *spec);

check_function check_differences, check_identity, check_mask, check_split, check_permutation,
    check_scale;

/* Runs a golden vector's row and compares; *worst grows to the largest difference.
 * Fails: CN_ERR_BUG naming vector and entry, with both numbers. */
struct cn_golden;
enum cn_status golden_check(const struct cn_golden *golden, double *worst);

#endif
