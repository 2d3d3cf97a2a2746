/* What the reader of recipes hands to the checker of combinations. */
#ifndef CARNOT_RECIPE_H
#define CARNOT_RECIPE_H

#include "carnot/algorithm.h"

/* Refuses combinations that make no sense, with the reason and the nearest sensible one.
 * Fails: CN_ERR_CONFIG. */
enum cn_status recipe_check(const struct cn_recipe *recipe);

#endif
