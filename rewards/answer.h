/* Finding an answer in a reply and reading it as a number: shared by the rewards of this folder.
 *
 * Every function accepts any bytes, reads each byte a bounded number of times, and allocates
 * nothing. */
#ifndef REWARDS_ANSWER_H
#define REWARDS_ANSWER_H

#include "carnot/reward.h"

enum {
    ANSWER_DIGITS_MAX = 1000,    /* a longer number is refused, not compared */
    ANSWER_SCAN_MAX = 64 * 1024, /* only this much of the end of a reply is searched */
    ANSWER_TEXT_MAX = 2 * 1024,  /* a longer answer is refused */
    ANSWER_PRINT_MAX = 2 * ANSWER_DIGITS_MAX + 8
};

/* A decimal number without rounding: 0.d1 d2 ... dn * 10^point, d1 and dn not zero; n = 0 is zero.
 */
struct answer_number {
    bool negative;
    int32_t point;
    size_t n;
    char digit[ANSWER_DIGITS_MAX];
};

enum answer_kind { ANSWER_NUMBER, ANSWER_NOT_A_NUMBER, ANSWER_TOO_LARGE };

/* Number at the start of `text`: sign and currency sign in either order, digits in groups of three
 * (1,234 or 1{,}234 or 1\,234), decimals, exponent (1e5).  *used is the number of bytes read, also
 * when it is too large. */
enum answer_kind answer_number_scan(struct cn_text text, struct answer_number *out, size_t *used);

/* The whole of `text` as one number.  Dropped first: spaces, $...$, \(...\), bold marks, an inner
 * \boxed{}, one "name =" in front, and behind the number a unit, %, or a full stop.  A list, a
 * range, an alternative ("3 or 4"), an expression or a multiplier ("5 million", "5x") is not a
 * number. */
enum answer_kind answer_number_read(struct cn_text text, struct answer_number *out);

bool answer_number_equal(const struct answer_number *a, const struct answer_number *b);

/* Canonical text, such as "-1234.5"; returns its length (at most ANSWER_PRINT_MAX). */
size_t answer_number_print(const struct answer_number *number, char out[ANSWER_PRINT_MAX]);

/* Equal but for ASCII case, runs of white space, surrounding $ and quotes, and a final full stop.
 */
bool answer_text_equal(struct cn_text a, struct cn_text b);

/* Equal as numbers if both are numbers, else as text. */
bool answer_equal(struct cn_text a, struct cn_text b);

/* What a reply says behind its thinking part: all behind the last `after` (NULL or empty: the whole
 * reply).  Empty if the reply, or the end of its prompt, opens <think> and `after` does not occur.
 */
struct cn_text answer_final_part(const struct cn_episode *episode, const char *after);

struct cn_text answer_trim(struct cn_text text); /* without white space at both ends */
size_t answer_find(struct cn_text text, size_t from, const char *what); /* SIZE_MAX: absent */
size_t answer_find_last(struct cn_text text, const char *what);         /* SIZE_MAX: absent */

/* What a search found. */
struct answer_found {
    struct cn_text text; /* the answer; empty if there is none */
    size_t count;        /* how many places offered one */
    bool cut_off; /* the last place is not complete: an open brace, nothing behind the mark */
    bool hedged;  /* several places, or alternatives side by side, that do not agree */
};

/* \boxed{...} and \fbox{...}, balanced, also "\boxed 5". */
struct answer_found answer_boxed(struct cn_text text);

/* What stands behind "####" on its line. */
struct answer_found answer_hash(struct cn_text text);

/* The right-most number that is not part of a word, an ordinal or the exponent of a unit. */
struct answer_found answer_last_number(struct cn_text text);

#endif
