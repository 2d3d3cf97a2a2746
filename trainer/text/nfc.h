/* Unicode normalisation form C. */
#ifndef CARNOT_TEXT_NFC_H
#define CARNOT_TEXT_NFC_H

#include "carnot/str.h"

/* *out is the NFC form of `text` (UTF-8): `text` itself where that is clear at a glance, else the
 * content of `buffer`. Fails: CN_ERR_MEMORY. */
enum cn_status nfc_apply(struct cn_text text, struct cn_str *buffer, struct cn_text *out);

#endif
