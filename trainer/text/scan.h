/* A forward-only reader of JSON text, for what is too large to build a tree of (a vocabulary of
 * 150,000 entries) and for the exact spelling of a value (a number of 20 digits).  Everything else
 * goes through carnot/json.h. */
#ifndef CARNOT_TEXT_SCAN_H
#define CARNOT_TEXT_SCAN_H

#include "carnot/str.h"

struct scan {
    const char *begin, *p, *end;
    const char *name; /* what the text is, for messages */
};

/* `origin`: beginning of the whole file, in which `text` stands, so that messages count lines from
 * there. */
void scan_init(struct scan *scan, struct cn_text text, const char *name, const char *origin);

/* Fails with CN_ERR_DATA: "NAME, line L, column C: " and the message. */
enum cn_status scan_fail(const struct scan *scan, const char *message);

/* The next character that is not white space, 0 at the end. */
char scan_peek(struct scan *scan);

/* Takes `open`, '{' or '['; then scan_more tells whether another element follows, taking the comma
 * or `close`.  *count starts at 0. */
enum cn_status scan_open(struct scan *scan, char open);
enum cn_status scan_more(struct scan *scan, char close, size_t *count, bool *more);

/* A string; *out points into the text, or into `buffer` where escapes had to be resolved: valid
 * until the next use of `buffer`. */
enum cn_status scan_string(struct scan *scan, struct cn_str *buffer, struct cn_text *out);

/* A string and the colon after it. */
enum cn_status scan_key(struct scan *scan, struct cn_str *buffer, struct cn_text *out);

/* A whole number from 0 to `maximum`. */
enum cn_status scan_index(struct scan *scan, uint32_t maximum, uint32_t *out);

/* Steps over one value of any kind; *raw is its text.  The value is not checked beyond brackets and
 * strings. */
enum cn_status scan_skip(struct scan *scan, struct cn_text *raw);

/* Raw texts of the members `key[0..n_keys)` of an object, in one pass; length 0 for those that are
 * missing. Fails: CN_ERR_DATA if one stands there twice. */
enum cn_status scan_members(struct scan *object, const char *const *key, size_t n_keys,
                            struct cn_text *raw);

#endif
