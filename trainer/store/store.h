/* What the front of the store (store.c) and its back ends share: series that wait in memory,
 * attributes, and the verbs of a back end. */
#ifndef TRAINER_STORE_H
#define TRAINER_STORE_H

#include "carnot/store.h"

enum { STORE_CHUNK = 65536 /* elements */ };

/* One array that grows by rows.  While writing, `pending` holds the rows that are not in the file
 * yet, already in the type of the file. */
struct store_series {
    char *name;
    enum cn_dtype dtype;               /* in the file */
    int rank;                          /* of the whole array */
    int64_t shape[CN_TENSOR_RANK_MAX]; /* shape[0] is unused: `rows` */
    size_t row_elements, rows;         /* rows: written and pending */
    unsigned char *pending;
    size_t pending_rows, capacity_rows;
    int64_t handle; /* the back end's; 0 until it uses it */
};

struct store_attribute {
    char *name, *key, *value;
};

struct store_backend {
    const char *name, *ending;
    /* Opens store->temporary for writing, or store->path for reading, in which case it fills the
     * series. */
    enum cn_status (*create)(struct cn_store *store);
    enum cn_status (*open)(struct cn_store *store);
    /* Appends the first `rows` pending rows to the file.  NULL: everything waits for finish. */
    enum cn_status (*write)(struct cn_store *store, struct store_series *series, size_t rows);
    /* Writes what waits and the attributes. */
    enum cn_status (*finish)(struct cn_store *store);
    /* Rows [begin, begin + rows) in the type of the file. */
    enum cn_status (*read)(struct cn_store *store, const struct store_series *series, size_t begin,
                           size_t rows, void *out);
    enum cn_status (*attribute)(struct cn_store *store, const char *name, const char *key,
                                struct cn_str *out);
    /* Closes the file (a file that is being written may be left incomplete) and frees store->self.
     * Can fail while writing: flushing can. */
    enum cn_status (*close)(struct cn_store *store);
};

extern const struct store_backend store_backend_memory, store_backend_hdf5;

struct cn_store {
    const struct store_backend *backend;
    char *path, *temporary; /* temporary: NULL while reading */
    void *self;
    struct store_series *series;
    size_t n_series, series_capacity;
    struct store_attribute *attributes;
    size_t n_attributes, attribute_capacity;
    bool broken; /* a write has failed: the file will not be given its name */
};

/* Adds an empty series with name (copied), dtype, rank and shape of `like`, whose data is not
 * looked at. */
enum cn_status store_series_add(struct cn_store *store, const struct cn_buffer *like,
                                struct store_series **out);

/* n elements from one type to another: floats among each other, integers where the value fits.
 * Fails: CN_ERR_DATA naming the value that does not fit, CN_ERR_CONFIG for other pairs. */
enum cn_status store_convert(const void *from, enum cn_dtype from_type, void *to,
                             enum cn_dtype to_type, size_t n);

#endif
