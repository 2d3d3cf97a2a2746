/* Bodies as lenient clients send them. */
#ifndef CARNOT_SERVICE_REPAIR_H
#define CARNOT_SERVICE_REPAIR_H

#include "carnot/str.h"

/* Appends `body` with every byte that is no UTF-8 and every escaped half of a surrogate pair
 * replaced by U+FFFD; *changed tells whether there was any. */
enum cn_status repair(struct cn_text body, struct cn_str *out, bool *changed);

#endif
