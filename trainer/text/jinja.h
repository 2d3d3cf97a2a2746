/* A chat template in one spelling, so that forms of it can be looked for as text. */
#ifndef CARNOT_JINJA_H
#define CARNOT_JINJA_H

#include "carnot/str.h"

/* Appends what the template writes, with code in between: what stands outside of tags and the texts
 * that {{ }} joins, as they come out (blanks around tags taken out as transformers does), other
 * expressions as {code}, statements as {%code%}.  Code has no blanks, single quotes, and x.y for
 * x['y'].  Fails: CN_ERR_MEMORY. */
enum cn_status jinja_spell(struct cn_text text, struct cn_str *out);

#endif
