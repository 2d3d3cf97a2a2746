/* One canonical form of what a configuration says. */
#ifndef CARNOT_CONFIG_CANONICAL_H
#define CARNOT_CONFIG_CANONICAL_H

#include "config_schema.h"

/* A copy of `value`, which was given for `path` ("" for a whole file), in canonical form.  The
 * caller closes it. */
enum cn_status config_canonical(const struct config_schema *schema, const char *path,
                                const struct cn_json *value, struct cn_json **out);

#endif
