/* The row loop of the filters: JSON lines from standard input to standard output.
 *
 * One object per line in, one per line out (or several, for `sample`), in the same order, flushed
 * per line; `id` is copied through as it is written.  A bad row gives {"id": ..., "error": {"kind":
 * ..., "message":
 * ...}} and the loop goes on; at the end the status is then CN_ERR_DATA (exit code 3).  This file
 * is the one writer of rows on standard output. */
#ifndef CARNOT_FILTER_H
#define CARNOT_FILTER_H

#include "carnot/json.h"

/* One row as it came. */
struct filter_row {
    const struct cn_json *tree; /* an object */
    struct cn_text line;        /* its exact text */
    struct cn_text id;          /* the exact text of its "id", whatever it is; empty: none */
};

/* Handles one row.  Appends complete output objects to `out` with filter_begin and filter_end, or
 * fails with a message. `out` is emptied before each row; what stands in it when a row fails is
 * thrown away. */
struct filter {
    enum cn_status (*row)(void *self, const struct filter_row *row, struct cn_str *out);
    void *self;
    bool any_bytes; /* what is no UTF-8 becomes U+FFFD instead of an error */
    /* Names a row may have beside "id", NULL at the end; another one is an error of the row.  NULL:
     * any. */
    const char *const *keys;
};

/* Names that filters write: tokenize and score ignore those that they do not read, so their rows may
 * be another filter's.  To sample they would be settings ("stop"), so it refuses them. */
#define FILTER_WRITTEN "text", "ids", "logp", "entropy", "top", "hex", "sample", "stop"

/* Reads standard input to its end.  A failure with CN_ERR_DATA, CN_ERR_MODEL, CN_ERR_CONFIG or
 * CN_ERR_NUMERIC belongs to its row; anything else ends the loop.  Not collective. */
enum cn_status filter_run(const struct filter *filter);

/* Starts an output object of `row`: writes `{"id": …` if the row has an id, else `{`; members
 * follow, each written with filter_key; filter_end writes `}` and a newline. */
enum cn_status filter_begin(struct cn_str *out, const struct filter_row *row);
enum cn_status filter_key(struct cn_str *out, const char *key);
enum cn_status filter_end(struct cn_str *out);

/* Lists as members' values. */
enum cn_status filter_ints(struct cn_str *out, const int32_t *values, size_t count);

/* Numbers with 9 (float) or 17 (double) digits; what is not finite, and the first `nulls` entries,
 * are null. */
enum cn_status filter_reals(struct cn_str *out, const double *values, size_t count, size_t nulls,
                            int digits);

/* Writes text to standard output at once (streamed samples). */
enum cn_status filter_write(struct cn_text text);

/* Reads a list of integers of a row into `out`.  Fails: CN_ERR_DATA naming key and place. */
struct cn_ids;
enum cn_status filter_read_ids(const struct cn_json *list, const char *key, struct cn_ids *out);

/* A member that must be a text or a list where it is there.  *out: NULL if it is absent or null.
 * Fails: CN_ERR_DATA naming the key. */
enum cn_status filter_read_member(const struct cn_json *row, const char *key,
                                  enum cn_json_kind kind, const struct cn_json **out);

/* Reads "messages" of a row: an array of {"role", "content"}.  Items live in `arena`, texts as long
 * as the row. */
struct cn_messages;
struct cn_arena;
enum cn_status filter_read_messages(const struct cn_json *list, struct cn_arena *arena,
                                    struct cn_messages *out);

#endif
