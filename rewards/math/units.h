/* Units behind numbers. */
#ifndef REWARDS_MATH_UNITS_H
#define REWARDS_MATH_UNITS_H

#include "tree.h"

/* Whether two nodes of kind NODE_UNIT name the same unit: "cm" and "centimeters", "cm^2" and
 * "square cm". */
bool units_agree(const struct tree *a, int16_t unit_a, const struct tree *b, int16_t unit_b);

#endif
