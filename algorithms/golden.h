/* The tables of golden vectors that golden.c puts together; each ends with a row whose name is
 * NULL. */
#ifndef CARNOT_ALGORITHMS_GOLDEN_H
#define CARNOT_ALGORITHMS_GOLDEN_H

#include "carnot/golden.h"

extern const struct cn_golden golden_tokens[], golden_parts[];

#endif
