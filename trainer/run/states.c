/* The states of plug-ins, in the order of the recipe's lists. */
#include "states.h"

#include <stdio.h>
#include <string.h>

/* Of a plug-in that acts through its hooks alone. */
static enum states_side side_of(const struct cn_hooks *h)
{
    const bool learns = h->judge || h->shape || h->prepare || h->loss || h->adapt;
    return h->plan && !learns ? STATES_SAMPLING : STATES_LEARNING;
}

static enum cn_status visit_list(const struct states_visit *visit, const char *kind,
                                 const struct cn_chosen *list, size_t n)
{
    const bool axis = strcmp(kind, "axis") == 0, shaping = strcmp(kind, "shaping") == 0;
    char name[128];
    for (size_t i = 0; i < n; i++) {
        const struct cn_plugin *plugin = list[i].plugin;
        const bool hooks_alone = !shaping && (!axis || i == CN_AXIS_sampling);
        if (!plugin || !plugin->state_size) continue;
        snprintf(name, sizeof name, "%s.%zu.%s", kind, i, plugin->name);
        CN_TRY(visit->each(visit->self, name, &list[i],
                           hooks_alone ? side_of(&plugin->hooks) : STATES_LEARNING));
    }
    return CN_OK;
}

enum cn_status states_each(const struct cn_recipe *recipe, const struct states_visit *visit)
{
    if (!recipe) return CN_OK;
    CN_TRY(visit_list(visit, "axis", recipe->axis, CN_AXIS_COUNT));
    CN_TRY(visit_list(visit, "shaping", recipe->shaping, recipe->n_shaping));
    CN_TRY(visit_list(visit, "entropy", recipe->entropy, recipe->n_entropy));
    return visit_list(visit, "shadow", recipe->shadow, recipe->n_shadow);
}

/* A walk over the states of one side: what it writes to, or what it reads from. */
struct walk {
    enum states_side side;
    struct cn_str *out;
    struct cn_text from;
};

static enum cn_status put(void *self, const char *name, const struct cn_chosen *chosen,
                          enum states_side side)
{
    struct walk *walk = self;
    (void)name;
    if (side != walk->side) return CN_OK;
    return cn_str_append(walk->out, chosen->state, chosen->plugin->state_size);
}

/* The next `n` bytes. */
static enum cn_status next(struct walk *walk, const char *name, size_t n, const char **bytes)
{
    if (walk->from.length < n)
        return cn_fail(CN_ERR_DATA, "the state of %s is cut off: %zu of %zu bytes", name,
                       walk->from.length, n);
    *bytes = walk->from.data;
    walk->from.data += n;
    walk->from.length -= n;
    return CN_OK;
}

static enum cn_status take(void *self, const char *name, const struct cn_chosen *chosen,
                           enum states_side side)
{
    struct walk *walk = self;
    const char *bytes = NULL;
    if (side != walk->side) return CN_OK;
    CN_TRY(next(walk, name, chosen->plugin->state_size, &bytes));
    memcpy(chosen->state, bytes, chosen->plugin->state_size);
    return CN_OK;
}

static enum cn_status check(void *self, const char *name, const struct cn_chosen *chosen,
                            enum states_side side)
{
    struct walk *walk = self;
    const char *bytes = NULL;
    if (side != walk->side) return CN_OK;
    CN_TRY(next(walk, name, chosen->plugin->state_size, &bytes));
    if (memcmp(chosen->state, bytes, chosen->plugin->state_size) == 0) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "%s changes its state both while answers are sampled and while the policy "
                   "learns: it cannot be used with parallel.rollout_ranks, set it to 0",
                   chosen->plugin->name);
}

enum cn_status states_put(const struct cn_recipe *recipe, enum states_side side, struct cn_str *out)
{
    struct walk walk = {.side = side, .out = out};
    const struct states_visit visit = {put, &walk};
    return states_each(recipe, &visit);
}

enum cn_status states_take(const struct cn_recipe *recipe, enum states_side side,
                           struct cn_text *from)
{
    struct walk walk = {.side = side, .from = *from};
    const struct states_visit visit = {take, &walk};
    CN_TRY(states_each(recipe, &visit));
    *from = walk.from;
    return CN_OK;
}

enum cn_status states_check(const struct cn_recipe *recipe, struct cn_text before)
{
    struct walk walk = {.side = STATES_LEARNING, .from = before};
    const struct states_visit visit = {check, &walk};
    return states_each(recipe, &visit);
}
