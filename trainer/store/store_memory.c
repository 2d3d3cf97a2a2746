/* The store without dependencies: rows wait in memory and become one safetensors file at close.
 *
 *     8 bytes  length of the header, little-endian
 *     header   JSON: {"/tokens/token": {"dtype": "I32", "shape": [n],
 *                                       "data_offsets": [begin, end]}, ...,
 *                     "__metadata__": {"/|schema_name": "...", "/tokens/token|description": "..."}}
 *     data     every array, end to end
 *
 * Any reader of safetensors opens it.  https://github.com/huggingface/safetensors, "Format". */
#include "store.h"

#include "carnot/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100 << 20 };

struct memory {
    int fd;
    struct cn_json *header; /* of a file that is read */
    uint64_t data_begin;
};

/* ---- writing ------------------------------------------------------------- */

static enum cn_status start(struct cn_store *store, const char *path, int flags,
                            struct memory **out)
{
    struct memory *memory = calloc(1, sizeof *memory);
    if (!memory) return cn_fail(CN_ERR_MEMORY, "out of memory: store");
    memory->fd = open(path, flags | O_CLOEXEC, 0666);
    if (memory->fd < 0) {
        free(memory);
        return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    }
    store->self = *out = memory;
    return CN_OK;
}

static enum cn_status memory_create(struct cn_store *store)
{
    struct memory *memory;
    return start(store, store->temporary, O_RDWR | O_CREAT | O_TRUNC, &memory);
}

static enum cn_status write_all(const struct cn_store *store, const void *data, size_t length)
{
    const struct memory *memory = store->self;
    const char *at = data;
    while (length) {
        ssize_t n = write(memory->fd, at, length);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0)
            return cn_fail(CN_ERR_IO, "cannot write %s: %s", store->temporary,
                           n ? strerror(errno) : "no space");
        at += n;
        length -= (size_t)n;
    }
    return CN_OK;
}

static size_t series_bytes(const struct store_series *series)
{
    return series->rows * series->row_elements * cn_dtype_size(series->dtype);
}

static enum cn_status write_metadata(const struct cn_store *store, struct cn_str *header)
{
    CN_TRY(cn_str_add(header, "{\"__metadata__\":{"));
    for (size_t i = 0; i < store->n_attributes; i++) {
        const struct store_attribute *a = &store->attributes[i];
        struct cn_str key = {NULL, 0, 0};
        enum cn_status status = cn_str_format(&key, "%s|%s", a->name, a->key);
        if (status == CN_OK && i) status = cn_str_add(header, ",");
        if (status == CN_OK) status = cn_json_quote(header, cn_str_text(&key));
        if (status == CN_OK) status = cn_str_add(header, ":");
        if (status == CN_OK) status = cn_json_quote(header, cn_text(a->value));
        cn_str_free(&key);
        CN_TRY(status);
    }
    return cn_str_add(header, "}");
}

static enum cn_status write_header(const struct cn_store *store, struct cn_str *header)
{
    size_t offset = 0;
    CN_TRY(write_metadata(store, header));
    for (size_t i = 0; i < store->n_series; i++) {
        const struct store_series *series = &store->series[i];
        CN_TRY(cn_str_add(header, ","));
        CN_TRY(cn_json_quote(header, cn_text(series->name)));
        CN_TRY(cn_str_format(header, ":{\"dtype\":\"%s\",\"shape\":[%zu",
                             cn_dtype_name(series->dtype), series->rows));
        for (int d = 1; d < series->rank; d++)
            CN_TRY(cn_str_format(header, ",%lld", (long long)series->shape[d]));
        CN_TRY(cn_str_format(header, "],\"data_offsets\":[%zu,%zu]}", offset,
                             offset + series_bytes(series)));
        offset += series_bytes(series);
    }
    CN_TRY(cn_str_add(header, "}"));
    while (header->length % 8)
        CN_TRY(cn_str_add(header, " "));
    return CN_OK;
}

static enum cn_status memory_finish(struct cn_store *store)
{
    struct cn_str header = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    CN_TRY_GOTO(write_header(store, &header), out);
    unsigned char length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (unsigned char)((uint64_t)header.length >> (8 * i));
    CN_TRY_GOTO(write_all(store, length, sizeof length), out);
    CN_TRY_GOTO(write_all(store, header.data, header.length), out);
    for (size_t i = 0; i < store->n_series; i++)
        CN_TRY_GOTO(write_all(store, store->series[i].pending, series_bytes(&store->series[i])),
                    out);
out:
    cn_str_free(&header);
    return status;
}

/* ---- reading ------------------------------------------------------------- */

static enum cn_status read_at(const struct cn_store *store, uint64_t offset, void *out,
                              size_t length)
{
    const struct memory *memory = store->self;
    char *at = out;
    while (length) {
        ssize_t n = pread(memory->fd, at, length, (off_t)offset);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return cn_fail(CN_ERR_IO, "cannot read %s: %s", store->path, strerror(errno));
        if (n == 0)
            return cn_fail(CN_ERR_DATA, "%s is cut off at byte %llu", store->path,
                           (unsigned long long)offset);
        at += n;
        offset += (uint64_t)n;
        length -= (size_t)n;
    }
    return CN_OK;
}

static enum cn_status find_dtype(const struct cn_store *store, const char *name, const char *text,
                                 enum cn_dtype *out)
{
    for (int d = 0; d < CN_DTYPE_COUNT; d++)
        if (strcmp(cn_dtype_name((enum cn_dtype)d), text) == 0) {
            *out = (enum cn_dtype)d;
            return CN_OK;
        }
    return cn_fail(CN_ERR_DATA, "%s: %s has the unknown type %s", store->path, name, text);
}

/* One array of the header; handle keeps where its data begin. */
static enum cn_status add_series(struct cn_store *store, const struct cn_json *entry,
                                 uint64_t data_size)
{
    const char *name = cn_json_key(entry), *type;
    enum cn_dtype dtype = CN_DTYPE_COUNT;
    CN_TRY(cn_json_need_text(entry, "dtype", &type));
    CN_TRY(find_dtype(store, name, type, &dtype));
    const struct cn_json *shape = cn_json_get(entry, "shape"),
                         *offsets = cn_json_get(entry, "data_offsets");
    struct cn_buffer like = {.name = name, .dtype = dtype, .device = -1};
    size_t rank = cn_json_count(shape), i = 0;
    if (cn_json_kind(shape) != CN_JSON_LIST || rank < 1 || rank > CN_TENSOR_RANK_MAX ||
        cn_json_count(offsets) != 2)
        return cn_fail(CN_ERR_DATA, "%s: %s has a shape or data_offsets that cannot be used",
                       store->path, name);
    for (const struct cn_json *n = cn_json_first(shape); n; n = cn_json_next(n)) {
        double value = cn_json_number(n);
        if (!(value >= 0 && value < 9e15))
            return cn_fail(CN_ERR_DATA, "%s: %s has a dimension of %g", store->path, name, value);
        like.shape[i++] = (int64_t)value;
    }
    double begin = cn_json_number(cn_json_first(offsets)),
           end = cn_json_number(cn_json_next(cn_json_first(offsets)));
    struct store_series *series;
    like.rank = (int)rank;
    CN_TRY(store_series_add(store, &like, &series));
    series->rows = (size_t)like.shape[0];
    double bytes =
        (double)series->rows * (double)series->row_elements * (double)cn_dtype_size(dtype);
    if (!(begin >= 0 && begin <= end && end <= (double)data_size && end - begin == bytes))
        return cn_fail(CN_ERR_DATA,
                       "%s: %s stands at bytes %.0f to %.0f of %llu, but its shape needs %.0f "
                       "bytes: the file is cut off or damaged",
                       store->path, name, begin, end, (unsigned long long)data_size, bytes);
    series->handle = (int64_t)begin;
    return CN_OK;
}

static enum cn_status read_header(struct cn_store *store, struct cn_str *text)
{
    struct memory *memory = store->self;
    struct stat info;
    unsigned char bytes[8];
    if (fstat(memory->fd, &info) != 0)
        return cn_fail(CN_ERR_IO, "cannot read %s: %s", store->path, strerror(errno));
    CN_TRY(read_at(store, 0, bytes, sizeof bytes));
    uint64_t length = 0, size = (uint64_t)info.st_size;
    for (int i = 0; i < 8; i++)
        length |= (uint64_t)bytes[i] << (8 * i);
    if (length > HEADER_MAX || length > size - 8)
        return cn_fail(
            CN_ERR_DATA,
            "%s: a header of %llu bytes in a file of %llu: cut off, or not a safetensors file",
            store->path, (unsigned long long)length, (unsigned long long)size);
    CN_TRY(cn_str_reserve(text, (size_t)length + 1));
    CN_TRY(read_at(store, 8, text->data, (size_t)length));
    CN_TRY(
        cn_json_parse((struct cn_text){text->data, (size_t)length}, store->path, &memory->header));
    memory->data_begin = 8 + length;
    for (const struct cn_json *n = cn_json_first(memory->header); n; n = cn_json_next(n))
        if (strcmp(cn_json_key(n), "__metadata__") != 0)
            CN_TRY(add_series(store, n, size - memory->data_begin));
    return CN_OK;
}

static enum cn_status memory_close(struct cn_store *store)
{
    struct memory *memory = store->self;
    if (!memory) return CN_OK;
    int failed = close(memory->fd), reason = errno;
    cn_json_close(memory->header);
    free(memory);
    store->self = NULL;
    if (failed && store->temporary)
        return cn_fail(CN_ERR_IO, "cannot close %s: %s", store->temporary, strerror(reason));
    return CN_OK;
}

static enum cn_status memory_open(struct cn_store *store)
{
    struct memory *memory;
    CN_TRY(start(store, store->path, O_RDONLY, &memory));
    struct cn_str text = {NULL, 0, 0};
    enum cn_status status = read_header(store, &text);
    cn_str_free(&text);
    if (status != CN_OK) memory_close(store);
    return status;
}

static enum cn_status memory_read(struct cn_store *store, const struct store_series *series,
                                  size_t begin, size_t rows, void *out)
{
    const struct memory *memory = store->self;
    size_t row = series->row_elements * cn_dtype_size(series->dtype);
    return read_at(store, memory->data_begin + (uint64_t)series->handle + begin * row, out,
                   rows * row);
}

static enum cn_status memory_attribute(struct cn_store *store, const char *name, const char *key,
                                       struct cn_str *out)
{
    const struct memory *memory = store->self;
    struct cn_str full = {NULL, 0, 0};
    enum cn_status status = cn_str_format(&full, "%s|%s", name, key);
    const struct cn_json *value = NULL;
    if (status == CN_OK)
        value = cn_json_get(cn_json_get(memory->header, "__metadata__"), full.data);
    cn_str_free(&full);
    CN_TRY(status);
    if (cn_json_kind(value) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_DATA, "%s: %s has no attribute %s", store->path, name, key);
    struct cn_text text = cn_json_text(value);
    return cn_str_append(out, text.data, text.length);
}

const struct store_backend store_backend_memory = {
    .name = "memory",
    .ending = ".safetensors",
    .create = memory_create,
    .open = memory_open,
    .finish = memory_finish,
    .read = memory_read,
    .attribute = memory_attribute,
    .close = memory_close,
};
