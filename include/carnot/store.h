/* The store seam: named arrays in one file, written whole or appended to.  Back ends: `hdf5` and
 * `memory`. */
#ifndef CARNOT_STORE_H
#define CARNOT_STORE_H

#include "carnot/batch.h"
#include "carnot/buffer.h"
#include "carnot/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_store;

/* Creates `path`; data stand in "path.tmp" until close, so a kill never leaves a spoiled file under
 * the final name. type: "hdf5" or "memory".  Fails: CN_ERR_IO, CN_ERR_CONFIG if the back end is not
 * built in.  Not collective. */
enum cn_status cn_store_create(const char *type, const char *path, struct cn_store **out);

/* Opens an existing file for reading. */
enum cn_status cn_store_open(const char *type, const char *path, struct cn_store **out);

/* Changes the final name of a file that is being written: it may tell what the file came to hold.
 */
enum cn_status cn_store_rename(struct cn_store *store, const char *path);

/* A text attribute of `name` ("/" is the file, "/tokens/token" an array that has been appended to).
 * Shorter than 60,000 bytes. */
enum cn_status cn_store_attribute(struct cn_store *store, const char *name, const char *key,
                                  const char *value);

/* Adds rows at the end of a series, which the first call creates.  data.name is the path
 * ("/tokens/logp_old"), shape[0] the number of rows.  Whole chunks are written, the rest waits for
 * close.  F64 data may be stored as F32 (`disk`). */
enum cn_status cn_store_append(struct cn_store *store, const struct cn_buffer *data,
                               enum cn_disk disk);

/* Appends the value of an attribute of a file that is open for reading to `out`.
 * Fails: CN_ERR_DATA if there is none. */
enum cn_status cn_store_attribute_read(struct cn_store *store, const char *name, const char *key,
                                       struct cn_str *out);

/* Rows of a series, and its rows [begin, begin + n) converted to data->dtype. */
enum cn_status cn_store_count(struct cn_store *store, const char *name, size_t *rows);
enum cn_status cn_store_read(struct cn_store *store, size_t begin, const struct cn_buffer *data);

/* Writes what waits, syncs, renames, frees.  Can fail: CN_ERR_IO (a full disk), and then nothing
 * stands under the final name; the handle is gone either way. */
enum cn_status cn_store_close(struct cn_store *take_store);

/* Gives up a file that is being written: nothing is left of it. */
void cn_store_discard(struct cn_store *take_store);

/* Type of the best back end that is built in ("hdf5", else "memory"), and the ending of the files
 * of a type (".h5", ".safetensors"); NULL for an unknown one. */
const char *cn_store_best(void);
const char *cn_store_ending(const char *type);

#ifdef __cplusplus
}
#endif
#endif
