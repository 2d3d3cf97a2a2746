/* The tables of the axes: one file each, put together by algorithms.c.  And what their entries
 * share: the spelling of option rows. */
#ifndef CARNOT_AXES_H
#define CARNOT_AXES_H

#include "carnot/algorithm.h"

/* NULL-terminated heads of the entries of each axis. */
#define X(name, fallback, text) extern const struct cn_plugin *const axis_##name[];
CN_AXES(X)
#undef X
extern const struct cn_plugin *const axis_shaping[];

/* The head of an entry. */
#define AXIS_HEAD(entry) ((const struct cn_plugin *)&(entry))

/* Beginnings of option rows: {AXIS_REAL(ppo_settings, clip_low, 0, 1), .fallback = "0.2", .help =
 * "..."}. */
#define AXIS_FIELD(settings, field) .name = #field, .offset = offsetof(struct settings, field)
#define AXIS_REAL(settings, field, low, high)                                                      \
    AXIS_FIELD(settings, field), .kind = CN_OPTION_REAL, .minimum = (low), .maximum = (high)
#define AXIS_INT(settings, field, low, high)                                                       \
    AXIS_FIELD(settings, field), .kind = CN_OPTION_INT, .minimum = (low), .maximum = (high)
#define AXIS_BOOL(settings, field) AXIS_FIELD(settings, field), .kind = CN_OPTION_BOOL
#define AXIS_CHOICE(settings, field, words)                                                        \
    AXIS_FIELD(settings, field), .kind = CN_OPTION_CHOICE, .choices = (words)

#endif
