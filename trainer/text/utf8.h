/* UTF-8, character by character, and the two character classes that tokenizers ask about. */
#ifndef CARNOT_TEXT_UTF8_H
#define CARNOT_TEXT_UTF8_H

#include "carnot/str.h"

#define UTF8_INVALID 0xFFFFFFFFu
#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD */

/* Reads one character at p < end: its code point, or UTF8_INVALID for bytes that are not UTF-8 (a
 * "maximal subpart" in the words of the Unicode standard, section 3.9: what one U+FFFD stands for).
 * Returns the bytes read, at least 1. */
size_t utf8_step(const char *p, const char *end, uint32_t *code);

/* Code point of the last character of [begin, end), UTF8_INVALID if there is none. */
uint32_t utf8_last(const char *begin, const char *end);

/* Writes a code point <= 0x10FFFF as 1 to 4 bytes; returns how many. */
size_t utf8_put(uint32_t code, char out[4]);

/* Appends `text` with every run of bytes that is not UTF-8 replaced by U+FFFD.  Fails:
 * CN_ERR_MEMORY. */
enum cn_status utf8_repair(struct cn_text text, struct cn_str *out);

bool utf8_is_space(
    uint32_t code); /* property White_Space: what \s means in Hugging Face's patterns */
bool utf8_is_python_space(uint32_t code); /* what Python's str.strip() takes away */
bool utf8_is_word(
    uint32_t code); /* what \w means there: letters, marks, digits, connectors, joiners */

/* `text` without Python's white space at both ends. */
struct cn_text utf8_strip(struct cn_text text);

#endif
