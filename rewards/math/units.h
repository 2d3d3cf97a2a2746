/* Units behind numbers. */
#ifndef REWARDS_MATH_UNITS_H
#define REWARDS_MATH_UNITS_H

#include "tree.h"

/* Whether two nodes of kind NODE_UNIT, or a letter (NODE_SYMBOL, NODE_POWER of it), name the same
 * unit: "cm" and "centimeters", "cm^2" and "square cm". */
bool units_agree(const struct tree *a, int16_t unit_a, const struct tree *b, int16_t unit_b);

#endif
