/* What a configuration of any command may contain: the trainer's own sections and the lists of
 * plug-ins. */
#ifndef CARNOT_SCHEMA_H
#define CARNOT_SCHEMA_H

#include "../core/config_schema.h"

/* The one schema of the program, in the order in which a configuration is written; lives for ever.
 * Put together from the lists at the first call, which must not happen on two threads at once. */
const struct config_schema *schema_all(void);

#endif
