/* One combination of plug-ins that `carnot selftest` tries; made from the registries alone. */
#ifndef CARNOT_SELFTEST_SPEC_H
#define CARNOT_SELFTEST_SPEC_H

#include "selftest_trial.h"

/* An option of one of the combination's plug-ins, and its value as JSON text. */
struct spec_setting {
    const struct cn_plugin *owner;
    const struct cn_option *option;
    char value[48];
};

enum { SPEC_SETTINGS = 3 }; /* an option, and up to two beside which it acts */

/* NULL leaves the choice to the row, or means none. */
struct spec {
    const struct cn_algorithm *row;
    const struct cn_plugin *axis[CN_AXIS_COUNT];
    const struct cn_plugin *shaping, *entropy;
    struct spec_setting setting[SPEC_SETTINGS];
    size_t n_settings;
    bool strong; /* terms get a coefficient that makes an error visible */
};

/* Appends "row axis=entry ... entropy=method owner.option=value". */
enum cn_status spec_describe(const struct spec *spec, struct cn_str *out);

/* Gives the trial the combination's recipe.  refused: the recipe is not allowed; then the result is
 * CN_OK and the message is forgotten. */
enum cn_status spec_apply(const struct spec *spec, struct trial *trial, bool *refused);

/* Up to `limit` values that an option may take beside its default; returns how many. */
size_t spec_candidates(const struct cn_plugin *owner, const struct cn_option *option,
                       struct spec_setting *out, size_t limit);

#endif
