/* All golden vectors. */
#include "golden.h"

#include <stddef.h>

const struct cn_golden *const cn_goldens[] = {golden_tokens, golden_parts, NULL};
