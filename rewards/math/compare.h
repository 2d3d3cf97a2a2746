/* The comparison as a whole, and what it shares with the pipeline. */
#ifndef REWARDS_MATH_COMPARE_H
#define REWARDS_MATH_COMPARE_H

#include "work.h"

enum { FOLD_MAX = 512 };

/* Whether both texts are the same but for spaces and decorations. */
bool tokens_equal(const struct tree *a, const struct tree *b);

/* "integer", "interval" ...: the type that the known answer decides. */
const char *term_type(struct term t);

/* Letters and digits of tokens [begin, end), letters in lower case, without spaces and
 * punctuation; returns the length. */
size_t fold_tokens(const struct tree *tree, int begin, int end, char out[FOLD_MAX]);

/* Whether the text consists of words: there is nothing to calculate in it. */
bool is_words(const struct tree *tree);

/* The letter A to J that a text chooses, 0: none; *hedged: it names several.  "C", "(C)", "C.
 * text",
 * "**C**", "\text{(C)}". */
char choice_letter(struct cn_text text, bool *hedged);

#endif
