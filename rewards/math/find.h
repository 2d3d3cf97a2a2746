/* Where a reply states its answer.  Every search reads each byte a bounded number of times. */
#ifndef REWARDS_MATH_FIND_H
#define REWARDS_MATH_FIND_H

#include "math_verify.h"

enum { FIND_RUN_MAX = 6 }; /* boxes, formulas or numbers side by side that make one list */

/* A place that offers an answer. */
struct found {
    struct cn_text text;               /* all of it, part of the reply; empty: none */
    struct cn_text part[FIND_RUN_MAX]; /* its pieces if it is a run of several, else the text */
    int n;
    bool either; /* the pieces are joined by "or" */
    bool cut;    /* the last place is not complete: nothing earlier counts instead */
};

struct found find_boxed(struct cn_text reply); /* find_marked.c */
struct found find_hash(struct cn_text reply);
struct found find_tag(struct cn_text reply);
struct found find_math(struct cn_text reply);
struct found find_line(struct cn_text reply); /* find_plain.c */
struct found find_final(struct cn_text reply);
struct found find_number(struct cn_text reply);
struct found find_whole(struct cn_text reply);
struct found find_choice(struct cn_text reply);

/* Shared by both files. */
struct found find_none(void);
struct found find_one(struct cn_text text);
/* Whether only joining marks and words stand in the gap: "," "and" "or" "$" spaces. */
bool find_joins(struct cn_text gap, bool *either);
size_t find_text(struct cn_text text, size_t from, const char *what); /* SIZE_MAX: absent */
size_t find_last(struct cn_text text, const char *what);
struct cn_text find_slice(struct cn_text text, size_t begin, size_t end);
struct cn_text find_trim(struct cn_text text);

#endif
