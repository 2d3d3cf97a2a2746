/* JSON in and out.  trainer/core/json.c is the only file that knows the JSON library. */
#ifndef CARNOT_JSON_H
#define CARNOT_JSON_H

#include "carnot/str.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A node of a parsed document.  The root owns the tree; every other pointer lives as long as the
 * root. */
struct cn_json;

enum cn_json_kind {
    CN_JSON_NULL,
    CN_JSON_BOOL,
    CN_JSON_NUMBER,
    CN_JSON_TEXT,
    CN_JSON_LIST,
    CN_JSON_OBJECT
};

/* Parses strict JSON; `name` (a path) goes into the message.  *out is a root to be closed.  Fails:
 * CN_ERR_DATA with line and column; duplicate keys, depth over 200 and invalid UTF-8 are errors. */
enum cn_status cn_json_parse(struct cn_text text, const char *name, struct cn_json **out);

/* The same for one line of a file; `name` says which ("FILE, line 12"), and a message adds the
 * column. */
enum cn_status cn_json_parse_line(struct cn_text text, const char *name, struct cn_json **out);

/* The same with // and slash-star comments and trailing commas allowed: configuration files. */
enum cn_status cn_json_parse_config(struct cn_text text, const char *name, struct cn_json **out);

/* Appends JSON of a lenient writer with every byte that is no UTF-8 and every escaped half of a
 * surrogate pair replaced by U+FFFD; *changed: whether there was any. */
enum cn_status cn_json_repair(struct cn_text text, struct cn_str *out, bool *changed);

void cn_json_close(struct cn_json *take_root);

enum cn_json_kind cn_json_kind(const struct cn_json *node); /* NULL is CN_JSON_NULL */
const struct cn_json *cn_json_get(const struct cn_json *object,
                                  const char *key); /* NULL if absent */
size_t cn_json_count(const struct cn_json *list_or_object);

/* Iteration over a list or an object: for (n = cn_json_first(x); n; n = cn_json_next(n)). */
const struct cn_json *cn_json_first(const struct cn_json *list_or_object);
const struct cn_json *cn_json_next(const struct cn_json *node);
const char *cn_json_key(const struct cn_json *member); /* of an object's member */

/* Values; a node of another kind gives false, 0, or an empty text. */
bool cn_json_bool(const struct cn_json *node);
double cn_json_number(const struct cn_json *node);
/* A parsed integer of more than 15 digits as it was written, else empty; printing uses it, so that
 * integers beyond 2^53 keep their digits. */
struct cn_text cn_json_digits(const struct cn_json *node);
struct cn_text
cn_json_text(const struct cn_json *node); /* zero-terminated; lives as long as the root */

/* Reads a member with a check: fails with CN_ERR_DATA naming key, expected kind and what was found.
 * The *_or forms accept an absent or null member. */
enum cn_status cn_json_need_text(const struct cn_json *object, const char *key, const char **out);
enum cn_status cn_json_need_int(const struct cn_json *object, const char *key, int64_t minimum,
                                int64_t maximum, int64_t *out);
enum cn_status cn_json_int_or(const struct cn_json *object, const char *key, int64_t minimum,
                              int64_t maximum, int64_t fallback, int64_t *out);
enum cn_status cn_json_real_or(const struct cn_json *object, const char *key, double fallback,
                               double *out);
enum cn_status cn_json_bool_or(const struct cn_json *object, const char *key, bool fallback,
                               bool *out);

/* Line of the parsed text where the value begins, from 1; 0 if it was not parsed. */
size_t cn_json_line(const struct cn_json *node);

/* Building and changing trees (the configuration is merged this way).  set replaces a member of
 * that key, or appends. A value that is taken is freed when the call fails. */
enum cn_status cn_json_new(enum cn_json_kind kind, struct cn_json **out);
enum cn_status cn_json_new_bool(bool value, struct cn_json **out);
enum cn_status cn_json_new_number(double value, struct cn_json **out);
enum cn_status cn_json_new_text(struct cn_text text, struct cn_json **out);
enum cn_status cn_json_copy(const struct cn_json *node, struct cn_json **out);
enum cn_status cn_json_set(struct cn_json *object, const char *key, struct cn_json *take_value);
enum cn_status cn_json_push(struct cn_json *list, struct cn_json *take_value);
void cn_json_remove(struct cn_json *object, const char *key); /* nothing happens if it is absent */

/* Prints a tree; `pretty` with two spaces a level.  Numbers round-trip (17 digits, shortest form).
 */
enum cn_status cn_json_print(const struct cn_json *node, bool pretty, struct cn_str *out);

/* Pieces for writers of rows, appended to `out`: a quoted, escaped string (bytes that are not UTF-8
 * become U+FFFD); a number (null when not finite) with `digits` significant digits (9 float, 17
 * double). */
enum cn_status cn_json_quote(struct cn_str *out, struct cn_text text);
enum cn_status cn_json_real(struct cn_str *out, double value, int digits);

#ifdef __cplusplus
}
#endif
#endif
