/* Everything that a recipe chose, in one order: axes, shaping, entropy methods, shadows. */
#ifndef CARNOT_CHOSEN_H
#define CARNOT_CHOSEN_H

#include "carnot/algorithm.h"

/* A plug-in of the recipe, with its part in it. */
struct chosen_item {
    const struct cn_chosen *chosen;
    uint32_t bit; /* of an entropy method */
    bool shadow;  /* only reports what it would do */
};

size_t chosen_count(const struct cn_recipe *recipe);
struct chosen_item chosen_at(const struct cn_recipe *recipe, size_t i);

/* What a call of the item's functions is handed; `live` is what a stop-gradient reads unless the
 * call says otherwise. */
struct cn_context chosen_context(const struct cn_loss_call *call, const struct chosen_item *item,
                                 const struct cn_live *live);
struct cn_context chosen_axis_context(const struct cn_loss_call *call, enum cn_axis_index axis,
                                      const struct cn_live *live);

/* The entry of an axis, as its own struct: CHOSEN_ENTRY(cn_kl, recipe, CN_AXIS_kl). */
#define CHOSEN_ENTRY(type, recipe, axis_index)                                                     \
    ((const struct type *)(recipe)->axis[axis_index].plugin)

#endif
