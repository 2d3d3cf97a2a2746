/* The front of the store: picks the back end, converts and collects rows, and gives a finished file
 * its name. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ATTRIBUTE_MAX = 60000 /* HDF5 keeps attributes of up to 64 kB in the object's header */ };

static const struct store_backend *const backends[] = {
#ifdef CN_WITH_HDF5
    &store_backend_hdf5,
#endif
    &store_backend_memory, NULL};

static const struct store_backend *find_backend(const char *type)
{
    for (int i = 0; backends[i]; i++)
        if (strcmp(backends[i]->name, type) == 0) return backends[i];
    return NULL;
}

const char *cn_store_best(void)
{
    return backends[0]->name;
}

const char *cn_store_ending(const char *type)
{
    const struct store_backend *backend = find_backend(type);
    return backend ? backend->ending : NULL;
}

static enum cn_status copy_text(const char *text, char **out)
{
    char *copy = strdup(text);
    if (!copy) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    *out = copy;
    return CN_OK;
}

static enum cn_status with_ending(const char *path, char **out)
{
    size_t n = strlen(path);
    char *text = malloc(n + sizeof ".tmp");
    if (!text) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    memcpy(text, path, n);
    memcpy(text + n, ".tmp", sizeof ".tmp");
    *out = text;
    return CN_OK;
}

/* One more element of a growing list of `size` bytes each. */
static enum cn_status grow(void *list, size_t count, size_t *capacity, size_t size)
{
    if (count < *capacity) return CN_OK;
    size_t wanted = *capacity ? 2 * *capacity : 16;
    void *old, *bigger;
    memcpy(&old, list, sizeof old);
    bigger = realloc(old, wanted * size);
    if (!bigger) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    memcpy(list, &bigger, sizeof bigger);
    *capacity = wanted;
    return CN_OK;
}

static void store_free(struct cn_store *store)
{
    for (size_t i = 0; i < store->n_series; i++) {
        free(store->series[i].name);
        free(store->series[i].pending);
    }
    for (size_t i = 0; i < store->n_attributes; i++) {
        free(store->attributes[i].name);
        free(store->attributes[i].key);
        free(store->attributes[i].value);
    }
    free(store->series);
    free(store->attributes);
    free(store->path);
    free(store->temporary);
    free(store);
}

/* ---- opening ------------------------------------------------------------- */

static enum cn_status store_start(const char *type, const char *path, bool writing,
                                  struct cn_store **out)
{
    const struct store_backend *backend = find_backend(type);
    if (!backend)
        return cn_fail(CN_ERR_CONFIG, "no store \"%s\" in this program; built in: %s%s%s", type,
                       backends[0]->name, backends[1] ? ", " : "",
                       backends[1] ? backends[1]->name : "");
    struct cn_store *store = calloc(1, sizeof *store);
    if (!store) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    enum cn_status status = CN_OK;
    store->backend = backend;
    CN_TRY_GOTO(copy_text(path, &store->path), out);
    if (writing) CN_TRY_GOTO(with_ending(path, &store->temporary), out);
    CN_TRY_GOTO(writing ? backend->create(store) : backend->open(store), out);
    *out = store;
    return CN_OK;
out:
    store_free(store);
    return status;
}

enum cn_status cn_store_create(const char *type, const char *path, struct cn_store **out)
{
    return store_start(type, path, true, out);
}

enum cn_status cn_store_open(const char *type, const char *path, struct cn_store **out)
{
    return store_start(type, path, false, out);
}

enum cn_status cn_store_rename(struct cn_store *store, const char *path)
{
    CN_BUG_IF(!store->temporary);
    char *copy = NULL;
    CN_TRY(copy_text(path, &copy));
    free(store->path);
    store->path = copy;
    return CN_OK;
}

/* ---- series -------------------------------------------------------------- */

static struct store_series *find_series(const struct cn_store *store, const char *name)
{
    for (size_t i = 0; i < store->n_series; i++)
        if (strcmp(store->series[i].name, name) == 0) return &store->series[i];
    return NULL;
}

enum cn_status store_series_add(struct cn_store *store, const struct cn_buffer *like,
                                struct store_series **out)
{
    const char *name = like->name;
    const int rank = like->rank;
    const int64_t *shape = like->shape;
    if (rank < 1 || rank > CN_TENSOR_RANK_MAX)
        return cn_fail(CN_ERR_DATA, "%s: %s has %d dimensions; 1 to %d are known", store->path,
                       name, rank, CN_TENSOR_RANK_MAX);
    CN_TRY(grow(&store->series, store->n_series, &store->series_capacity, sizeof *store->series));
    struct store_series series = {.dtype = like->dtype, .rank = rank, .row_elements = 1};
    for (int i = 1; i < rank; i++) {
        series.shape[i] = shape[i];
        if (shape[i] <= 0 ||
            __builtin_mul_overflow(series.row_elements, (size_t)shape[i], &series.row_elements))
            return cn_fail(CN_ERR_DATA, "%s: %s has a dimension of %lld", store->path, name,
                           (long long)shape[i]);
    }
    CN_TRY(copy_text(name, &series.name));
    store->series[store->n_series] = series;
    *out = &store->series[store->n_series++];
    return CN_OK;
}

static enum cn_dtype dtype_of(enum cn_disk disk)
{
    static const enum cn_dtype types[] = {
        [CN_DISK_U1] = CN_DTYPE_U8,  [CN_DISK_U2] = CN_DTYPE_U16, [CN_DISK_U4] = CN_DTYPE_U32,
        [CN_DISK_U8] = CN_DTYPE_U64, [CN_DISK_I4] = CN_DTYPE_I32, [CN_DISK_I8] = CN_DTYPE_I64,
        [CN_DISK_F4] = CN_DTYPE_F32};
    return types[disk];
}

/* The series of `data`, created by the first call; later calls must agree with it. */
static enum cn_status series_for(struct cn_store *store, const struct cn_buffer *data,
                                 enum cn_disk disk, struct store_series **out)
{
    struct store_series *series = find_series(store, data->name);
    if (!series) {
        struct cn_buffer like = *data;
        like.dtype = dtype_of(disk);
        return store_series_add(store, &like, out);
    }
    bool same = series->dtype == dtype_of(disk) && series->rank == data->rank;
    for (int i = 1; same && i < data->rank; i++)
        same = series->shape[i] == data->shape[i];
    if (!same)
        return cn_fail(CN_ERR_BUG, "%s: %s is appended to with another type or shape", store->path,
                       data->name);
    *out = series;
    return CN_OK;
}

static enum cn_status reserve_rows(struct store_series *series, size_t rows)
{
    if (rows <= series->capacity_rows) return CN_OK;
    size_t wanted = 2 * series->capacity_rows > rows ? 2 * series->capacity_rows : rows, bytes;
    if (__builtin_mul_overflow(wanted, series->row_elements * cn_dtype_size(series->dtype), &bytes))
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu rows of %s", wanted, series->name);
    void *bigger = realloc(series->pending, bytes ? bytes : 1);
    if (!bigger)
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu bytes for %s", bytes, series->name);
    series->pending = bigger;
    series->capacity_rows = wanted;
    return CN_OK;
}

/* Gives whole chunks to the back end and moves the rest to the front. */
static enum cn_status write_chunks(struct cn_store *store, struct store_series *series)
{
    size_t chunk = STORE_CHUNK / series->row_elements ? STORE_CHUNK / series->row_elements : 1;
    size_t rows = series->pending_rows / chunk * chunk,
           row_size = series->row_elements * cn_dtype_size(series->dtype);
    if (!store->backend->write || !rows) return CN_OK;
    CN_TRY(store->backend->write(store, series, rows));
    series->pending_rows -= rows;
    memmove(series->pending, series->pending + rows * row_size, series->pending_rows * row_size);
    return CN_OK;
}

static enum cn_status append(struct cn_store *store, const struct cn_buffer *data,
                             enum cn_disk disk)
{
    struct store_series *series;
    CN_TRY(series_for(store, data, disk, &series));
    size_t rows = (size_t)data->shape[0], size = cn_dtype_size(series->dtype);
    CN_BUG_IF(data->count != rows * series->row_elements);
    CN_TRY(reserve_rows(series, series->pending_rows + rows));
    void *place = series->pending + series->pending_rows * series->row_elements * size;
    enum cn_status status =
        store_convert(data->data, data->dtype, place, series->dtype, data->count);
    if (status != CN_OK) return cn_fail_context(status, "%s: %s", store->path, data->name);
    series->pending_rows += rows;
    series->rows += rows;
    return write_chunks(store, series);
}

enum cn_status cn_store_append(struct cn_store *store, const struct cn_buffer *data,
                               enum cn_disk disk)
{
    CN_BUG_IF(!store->temporary || store->broken || data->rank < 1 || data->shape[0] < 0 ||
              data->device >= 0);
    enum cn_status status = append(store, data, disk);
    if (status != CN_OK) store->broken = true; /* its series no longer have the same length */
    return status;
}

enum cn_status cn_store_count(struct cn_store *store, const char *name, size_t *rows)
{
    const struct store_series *series = find_series(store, name);
    if (!series) return cn_fail(CN_ERR_DATA, "%s has no %s", store->path, name);
    *rows = series->rows;
    return CN_OK;
}

enum cn_status cn_store_read(struct cn_store *store, size_t begin, const struct cn_buffer *data)
{
    CN_BUG_IF(store->temporary || data->rank < 1 || data->shape[0] < 0 || data->device >= 0);
    const struct store_series *series = find_series(store, data->name);
    if (!series) return cn_fail(CN_ERR_DATA, "%s has no %s", store->path, data->name);
    size_t rows = (size_t)data->shape[0], end;
    if (__builtin_add_overflow(begin, rows, &end) || end > series->rows)
        return cn_fail(CN_ERR_DATA, "%s: %s has %zu rows; asked for %zu behind %zu", store->path,
                       data->name, series->rows, rows, begin);
    CN_BUG_IF(data->count != rows * series->row_elements);
    if (!rows) return CN_OK;
    if (data->dtype == series->dtype)
        return store->backend->read(store, series, begin, rows, data->data);
    void *raw = malloc(data->count * cn_dtype_size(series->dtype));
    if (!raw)
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu elements of %s", data->count, data->name);
    enum cn_status status = store->backend->read(store, series, begin, rows, raw);
    if (status == CN_OK) {
        status = store_convert(raw, series->dtype, data->data, data->dtype, data->count);
        if (status != CN_OK) cn_fail_context(status, "%s: %s", store->path, data->name);
    }
    free(raw);
    return status;
}

/* ---- attributes ---------------------------------------------------------- */

enum cn_status cn_store_attribute(struct cn_store *store, const char *name, const char *key,
                                  const char *value)
{
    CN_BUG_IF(!store->temporary);
    if (strlen(value) >= ATTRIBUTE_MAX)
        return cn_fail(CN_ERR_DATA, "%s: attribute %s of %s has %zu bytes; below %d are allowed",
                       store->path, key, name, strlen(value), ATTRIBUTE_MAX);
    if (strcmp(name, "/") != 0 && !find_series(store, name))
        return cn_fail(CN_ERR_BUG, "%s: attribute %s of %s, which has no rows yet", store->path,
                       key, name);
    for (size_t i = 0; i < store->n_attributes; i++) {
        struct store_attribute *old = &store->attributes[i];
        if (strcmp(old->name, name) != 0 || strcmp(old->key, key) != 0) continue;
        char *copy = NULL;
        CN_TRY(copy_text(value, &copy));
        free(old->value);
        old->value = copy;
        return CN_OK;
    }
    CN_TRY(grow(&store->attributes, store->n_attributes, &store->attribute_capacity,
                sizeof *store->attributes));
    struct store_attribute *attribute = &store->attributes[store->n_attributes];
    *attribute = (struct store_attribute){strdup(name), strdup(key), strdup(value)};
    store->n_attributes++;
    if (!attribute->name || !attribute->key || !attribute->value)
        return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    return CN_OK;
}

enum cn_status cn_store_attribute_read(struct cn_store *store, const char *name, const char *key,
                                       struct cn_str *out)
{
    CN_BUG_IF(store->temporary != NULL);
    return store->backend->attribute(store, name, key, out);
}

/* ---- closing ------------------------------------------------------------- */

/* fsync of a file or folder by name. */
static enum cn_status sync_path(const char *path)
{
    int fd = open(path, O_RDONLY);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot open %s to sync it: %s", path, strerror(errno));
    int failed = fsync(fd), reason = errno;
    close(fd);
    if (failed) return cn_fail(CN_ERR_IO, "cannot sync %s: %s", path, strerror(reason));
    return CN_OK;
}

static enum cn_status sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    if (!slash) return sync_path(".");
    if (slash == path) return sync_path("/");
    char *folder = strndup(path, (size_t)(slash - path));
    if (!folder) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    enum cn_status status = sync_path(folder);
    free(folder);
    return status;
}

enum cn_status cn_store_close(struct cn_store *store)
{
    if (!store) return CN_OK;
    if (!store->temporary) {
        enum cn_status closed = store->backend->close(store);
        store_free(store);
        return closed;
    }
    enum cn_status status = CN_OK;
    if (store->broken)
        status = cn_fail(CN_ERR_IO, "%s is given up: an earlier write failed", store->path);
    else
        status = store->backend->finish(store);
    enum cn_status closed = store->backend->close(store);
    if (status == CN_OK) status = closed;
    if (status == CN_OK) status = sync_path(store->temporary);
    if (status == CN_OK && rename(store->temporary, store->path) != 0)
        status = cn_fail(CN_ERR_IO, "cannot rename %s to %s: %s", store->temporary, store->path,
                         strerror(errno));
    if (status == CN_OK)
        status = sync_folder_of(store->path);
    else
        unlink(store->temporary);
    store_free(store);
    return status;
}

void cn_store_discard(struct cn_store *store)
{
    if (!store) return;
    bool failed_before = cn_fail_message()[0] != 0;
    if (store->backend->close(store) != CN_OK && !failed_before)
        cn_fail_clear(); /* nobody wants the file */
    if (store->temporary) unlink(store->temporary);
    store_free(store);
}
