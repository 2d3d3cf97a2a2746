/* Characters that Unicode gained in versions 15.0 to 16.0, which Hugging Face knows and Debian 12's
 * libraries do not. */
#ifndef CARNOT_TEXT_NEWER_H
#define CARNOT_TEXT_NEWER_H

#include "carnot/str.h"

/* Appends the characters of a general category ("L", "Nd") as ranges of a PCRE2 class.  Fails:
 * CN_ERR_MEMORY. */
enum cn_status newer_append(struct cn_str *out, const char *category);

/* Whether the character is one of them and of that category. */
bool newer_is(uint32_t code, const char *category);

#endif
