/* The store seam: named arrays in one file, written whole or appended to.  Back ends: `hdf5` and
 * `memory`. */
#ifndef CARNOT_STORE_H
#define CARNOT_STORE_H

#include "carnot/batch.h"
#include "carnot/buffer.h"

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

/* A text attribute of `name` ("/" is the file, "/tokens/token" an array). */
enum cn_status cn_store_attribute(struct cn_store *store, const char *name, const char *key,
                                  const char *value);

/* Adds rows at the end of a series, which the first call creates.  data.name is the path
 * ("/tokens/logp_old"), shape[0] the number of rows.  Whole chunks are written, the rest waits for
 * close.  F64 data may be stored as F32 (`disk`). */
enum cn_status cn_store_append(struct cn_store *store, const struct cn_buffer *data,
                               enum cn_disk disk);

/* Rows of a series, and its rows [begin, begin + n) converted to data->dtype. */
enum cn_status cn_store_count(struct cn_store *store, const char *name, size_t *rows);
enum cn_status cn_store_read(struct cn_store *store, size_t begin, const struct cn_buffer *data);

/* Writes what waits, syncs, renames, frees.  Can fail: CN_ERR_IO (a full disk); the handle is gone
 * either way. */
enum cn_status cn_store_close(struct cn_store *take_store);

#ifdef __cplusplus
}
#endif
#endif
