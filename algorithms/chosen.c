/* Walking through what a recipe chose. */
#include "chosen.h"

size_t chosen_count(const struct cn_recipe *recipe)
{
    return CN_AXIS_COUNT + recipe->n_shaping + recipe->n_entropy + recipe->n_shadow;
}

struct chosen_item chosen_at(const struct cn_recipe *recipe, size_t i)
{
    struct chosen_item item = {NULL, 0, false};
    if (i < CN_AXIS_COUNT) {
        item.chosen = &recipe->axis[i];
        return item;
    }
    i -= CN_AXIS_COUNT;
    if (i < recipe->n_shaping) {
        item.chosen = &recipe->shaping[i];
        return item;
    }
    i -= recipe->n_shaping;
    item.bit = 1u << i;
    item.shadow = i >= recipe->n_entropy;
    item.chosen = item.shadow ? &recipe->shadow[i - recipe->n_entropy] : &recipe->entropy[i];
    return item;
}

struct cn_context chosen_context(const struct cn_loss_call *call, const struct chosen_item *item,
                                 const struct cn_live *live)
{
    struct cn_context context = {.settings = item->chosen->settings,
                                 .state = item->chosen->state,
                                 .scratch = call->scratch,
                                 .rng = cn_rng_key(call->seed, call->step, CN_RNG_SELECTION),
                                 .step = call->step,
                                 .update = call->update,
                                 .bit = item->bit,
                                 .counts = call->counts,
                                 .ranks = call->ranks,
                                 .facts = call->facts,
                                 .metrics = call->metrics,
                                 .frozen = call->frozen ? call->frozen : live};
    return context;
}

struct cn_context chosen_axis_context(const struct cn_loss_call *call, enum cn_axis_index axis,
                                      const struct cn_live *live)
{
    struct chosen_item item = chosen_at(call->recipe, axis);
    return chosen_context(call, &item, live);
}
