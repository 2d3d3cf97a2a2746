/* Reading safetensors: map the file, check every range, lend the data.
 *
 * Nothing in the header is believed: ranges must tile the data exactly, in agreement with shape and
 * dtype, as the reference implementation demands. */
#include "safetensors.h"

#include "dtype.h"

#include "carnot/arena.h"
#include "carnot/json.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADER_MAX = 100 * 1000 * 1000, INDEX_MAX = 1 << 28, SHARDS_MAX = 4096 };
static const double offset_max = 9007199254740992.0; /* 2^53: exact in a JSON number */

struct mapping {
    const char *path;
    unsigned char *data;
    size_t size;
};

struct safetensors {
    struct cn_arena arena; /* names, paths */
    const char *path;
    struct mapping *mapping; /* [n_mappings] */
    size_t n_mappings;
    struct cn_buffer *tensor; /* [n_tensors], sorted by name once open */
    size_t n_tensors, capacity;
    struct safetensors_pair *metadata; /* of the first file */
    size_t n_metadata;
};

struct range {
    uint64_t begin, end;
    const char *name;
};

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct cn_buffer *)a)->name, ((const struct cn_buffer *)b)->name);
}

static int by_place(const void *a, const void *b)
{
    const struct range *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

/* ---- one file ------------------------------------------------------------ */

static enum cn_status map_file(struct safetensors *file, const char *path)
{
    struct stat info;
    struct mapping *mapping = &file->mapping[file->n_mappings];
    char *copy;
    CN_TRY(cn_arena_text(&file->arena, path, strlen(path), &copy));
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode)) {
        close(fd);
        return cn_fail(CN_ERR_IO, "%s is not a regular file", path);
    }
    if (info.st_size < 8) {
        close(fd);
        return cn_fail(
            CN_ERR_MODEL,
            "%s has %lld bytes: too short for safetensors (half-written or not fetched?)", path,
            (long long)info.st_size);
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED) return cn_fail(CN_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    mapping->path = copy;
    mapping->data = data;
    mapping->size = (size_t)info.st_size;
    file->n_mappings++;
    return CN_OK;
}

/* A whole number from 0 to 2^53. */
static bool read_whole(const struct cn_json *node, uint64_t *out)
{
    double value = cn_json_number(node);
    if (cn_json_kind(node) != CN_JSON_NUMBER || !(value >= 0) || value > offset_max ||
        value != floor(value))
        return false;
    *out = (uint64_t)value;
    return true;
}

/* dtype and shape of one header entry. */
static enum cn_status read_kind(const struct cn_json *entry, const char *path,
                                struct cn_buffer *tensor)
{
    struct cn_text dtype = cn_json_text(cn_json_get(entry, "dtype"));
    if (!dtype.data || !dtype_find(dtype.data, dtype.length, &tensor->dtype))
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s has dtype \"%s\", which is not read", path,
                       tensor->name, dtype.data ? dtype.data : "");
    const struct cn_json *shape = cn_json_get(entry, "shape");
    if (cn_json_kind(shape) != CN_JSON_LIST || cn_json_count(shape) > CN_TENSOR_RANK_MAX)
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s: shape must be a list of at most %d numbers",
                       path, tensor->name, CN_TENSOR_RANK_MAX);
    tensor->count = 1;
    for (const struct cn_json *d = cn_json_first(shape); d; d = cn_json_next(d)) {
        uint64_t size;
        if (!read_whole(d, &size) || __builtin_mul_overflow(tensor->count, size, &tensor->count))
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s has an impossible shape", path,
                           tensor->name);
        tensor->shape[tensor->rank++] = (int64_t)size;
    }
    return CN_OK;
}

/* One header entry -> tensor and its range inside the `available` bytes of data. */
static enum cn_status read_entry(struct safetensors *file, const struct cn_json *entry,
                                 uint64_t available, struct cn_buffer *tensor, struct range *range)
{
    const char *path = file->mapping[file->n_mappings - 1].path, *key = cn_json_key(entry);
    char *name;
    CN_TRY(cn_arena_text(&file->arena, key, strlen(key), &name));
    memset(tensor, 0, sizeof *tensor);
    tensor->name = range->name = name;
    tensor->device = -1;
    CN_TRY(read_kind(entry, path, tensor));
    const struct cn_json *offsets = cn_json_get(entry, "data_offsets");
    const struct cn_json *begin = cn_json_first(offsets);
    size_t bytes;
    if (cn_json_count(offsets) != 2 || !read_whole(begin, &range->begin) ||
        !read_whole(cn_json_next(begin), &range->end) || range->begin > range->end)
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s: data_offsets must be [begin, end]", path,
                       name);
    if (range->end > available)
        return cn_fail(
            CN_ERR_MODEL,
            "%s: tensor %s ends at byte %llu, but the file has %llu bytes of data: it is "
            "truncated, fetch it again",
            path, name, (unsigned long long)range->end, (unsigned long long)available);
    if (__builtin_mul_overflow(tensor->count, cn_dtype_size(tensor->dtype), &bytes) ||
        bytes != range->end - range->begin)
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s: %llu bytes do not fit its shape and dtype %s",
                       path, name, (unsigned long long)(range->end - range->begin),
                       cn_dtype_name(tensor->dtype));
    return CN_OK;
}

/* Ranges must tile 0 .. available: no overlap, no hole. */
static enum cn_status check_tiling(const char *path, struct range *range, size_t n,
                                   uint64_t available)
{
    uint64_t end = 0;
    if (n) qsort(range, n, sizeof *range, by_place);
    for (size_t i = 0; i < n; i++) {
        if (range[i].begin != end)
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s begins at byte %llu, %s byte %llu", path,
                           range[i].name, (unsigned long long)range[i].begin,
                           range[i].begin < end ? "overlapping the one that ends at"
                                                : "leaving a hole after",
                           (unsigned long long)end);
        end = range[i].end;
    }
    if (end != available)
        return cn_fail(CN_ERR_MODEL, "%s: the tensors take %llu bytes, the file has %llu of data",
                       path, (unsigned long long)end, (unsigned long long)available);
    return CN_OK;
}

static enum cn_status read_metadata(struct safetensors *file, const struct cn_json *object)
{
    const char *path = file->mapping[file->n_mappings - 1].path;
    if (cn_json_kind(object) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_MODEL, "%s: __metadata__ is not an object", path);
    if (file->metadata) return CN_OK; /* the first file's counts */
    CN_TRY(CN_NEW(&file->arena, cn_json_count(object) + 1, &file->metadata));
    for (const struct cn_json *m = cn_json_first(object); m; m = cn_json_next(m)) {
        struct cn_text value = cn_json_text(m);
        char *key_copy, *value_copy;
        if (cn_json_kind(m) != CN_JSON_TEXT)
            return cn_fail(CN_ERR_MODEL, "%s: __metadata__ \"%s\" is not a text", path,
                           cn_json_key(m));
        CN_TRY(cn_arena_text(&file->arena, cn_json_key(m), strlen(cn_json_key(m)), &key_copy));
        CN_TRY(cn_arena_text(&file->arena, value.data, value.length, &value_copy));
        file->metadata[file->n_metadata].key = key_copy;
        file->metadata[file->n_metadata++].value = value_copy;
    }
    return CN_OK;
}

static enum cn_status reserve_tensors(struct safetensors *file, size_t more)
{
    size_t need = file->n_tensors + more;
    if (need <= file->capacity) return CN_OK;
    struct cn_buffer *grown = realloc(file->tensor, need * sizeof *grown);
    if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: %zu tensors in %s", need, file->path);
    file->tensor = grown;
    file->capacity = need;
    return CN_OK;
}

/* All entries of a parsed header; the data start at `base` of the mapping. */
static enum cn_status read_header(struct safetensors *file, const struct cn_json *header,
                                  size_t base)
{
    const struct mapping *mapping = &file->mapping[file->n_mappings - 1];
    const uint64_t available = mapping->size - base;
    size_t n = 0, count = cn_json_count(header);
    enum cn_status status = CN_OK;
    if (cn_json_kind(header) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_MODEL, "%s: the header is not an object", mapping->path);
    CN_TRY(reserve_tensors(file, count));
    struct range *range = calloc(count + 1, sizeof *range);
    if (!range)
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu tensors in %s", count, mapping->path);
    for (const struct cn_json *e = cn_json_first(header); e; e = cn_json_next(e)) {
        if (strcmp(cn_json_key(e), "__metadata__") == 0) {
            CN_TRY_GOTO(read_metadata(file, e), out);
            continue;
        }
        struct cn_buffer *tensor = &file->tensor[file->n_tensors];
        CN_TRY_GOTO(read_entry(file, e, available, tensor, &range[n]), out);
        tensor->data = mapping->data + base + range[n].begin;
        file->n_tensors++;
        n++;
    }
    status = check_tiling(mapping->path, range, n, available);
out:
    free(range);
    return status;
}

static enum cn_status read_file(struct safetensors *file, const char *path)
{
    struct cn_json *header = NULL;
    CN_TRY(map_file(file, path));
    const struct mapping *mapping = &file->mapping[file->n_mappings - 1];
    uint64_t length = 0;
    for (int i = 7; i >= 0; i--)
        length = length << 8 | mapping->data[i];
    if (length > HEADER_MAX || length > mapping->size - 8)
        return cn_fail(CN_ERR_MODEL,
                       "%s: the header claims %llu bytes of a file of %zu (limit %d): not "
                       "safetensors, or half-written",
                       path, (unsigned long long)length, mapping->size, HEADER_MAX);
    struct cn_text text = {(const char *)mapping->data + 8, (size_t)length};
    enum cn_status status = cn_json_parse(text, path, &header);
    if (status == CN_ERR_DATA) /* a bad header is a bad model file */
        return cn_fail_context(CN_ERR_MODEL, "the header of a safetensors file is not JSON");
    if (status == CN_OK) status = read_header(file, header, 8 + (size_t)length);
    cn_json_close(header);
    return status;
}

/* ---- folders ------------------------------------------------------------- */

/* Which mapping a tensor's data lie in. */
static const char *owner(const struct safetensors *file, const struct cn_buffer *tensor)
{
    for (size_t i = 0; i < file->n_mappings; i++) {
        const unsigned char *begin = file->mapping[i].data, *at = tensor->data;
        if (at >= begin && at < begin + file->mapping[i].size) return file->mapping[i].path;
    }
    return file->path;
}

/* Opens each shard once; a shard's name must be a plain file name. */
static enum cn_status read_shards(struct safetensors *file, const struct cn_json *map,
                                  const char *index)
{
    struct cn_str path = {0};
    enum cn_status status = CN_OK;
    const char **seen;
    size_t n = 0;
    if (cn_json_kind(map) != CN_JSON_OBJECT || !cn_json_count(map))
        return cn_fail(CN_ERR_MODEL, "%s has no \"weight_map\"", index);
    CN_TRY(CN_NEW(&file->arena, SHARDS_MAX, &seen));
    for (const struct cn_json *m = cn_json_first(map); m; m = cn_json_next(m)) {
        struct cn_text shard = cn_json_text(m);
        if (!shard.length || memchr(shard.data, '/', shard.length))
            return cn_fail(CN_ERR_MODEL, "%s: the shard of %s is not a plain file name", index,
                           cn_json_key(m));
        size_t i = n;
        while (i > 0 && strcmp(seen[i - 1], shard.data) != 0)
            i--;
        if (i > 0) continue;
        if (n == SHARDS_MAX)
            return cn_fail(CN_ERR_MODEL, "%s names more than %d shards", index, SHARDS_MAX);
        seen[n++] = shard.data;
    }
    free(file->mapping);
    file->mapping = calloc(n, sizeof *file->mapping);
    if (!file->mapping) return cn_fail(CN_ERR_MEMORY, "out of memory: %zu shards", n);
    for (size_t i = 0; i < n; i++) {
        cn_str_clear(&path);
        CN_TRY_GOTO(cn_str_format(&path, "%s/%s", file->path, seen[i]), out);
        CN_TRY_GOTO(read_file(file, path.data), out);
    }
out:
    cn_str_free(&path);
    return status;
}

static enum cn_status check_index(const struct safetensors *file, const struct cn_json *map,
                                  const char *index)
{
    for (const struct cn_json *m = cn_json_first(map); m; m = cn_json_next(m)) {
        const struct cn_buffer *tensor = safetensors_find(file, cn_json_key(m));
        const char *found = tensor ? owner(file, tensor) : "";
        const char *slash = strrchr(found, '/');
        if (!tensor || (tensor->count && strcmp(slash ? slash + 1 : found, cn_json_text(m).data)))
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s is not in %s: index and shards do not fit",
                           index, cn_json_key(m), cn_json_text(m).data);
    }
    return CN_OK;
}

/* Sorts by name and refuses duplicates (two shards may hold the same name). */
static enum cn_status sort_tensors(struct safetensors *file)
{
    if (file->n_tensors) qsort(file->tensor, file->n_tensors, sizeof *file->tensor, by_name);
    for (size_t i = 1; i < file->n_tensors; i++)
        if (strcmp(file->tensor[i - 1].name, file->tensor[i].name) == 0)
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s is there twice", file->path,
                           file->tensor[i].name);
    return CN_OK;
}

static enum cn_status read_index(struct safetensors *file, const char *index)
{
    struct cn_str text = {0};
    struct cn_json *root = NULL;
    enum cn_status status;
    CN_TRY_GOTO(cn_file_read(index, INDEX_MAX, &text), out);
    CN_TRY_GOTO(cn_json_parse(cn_str_text(&text), index, &root), out);
    const struct cn_json *map = cn_json_get(root, "weight_map");
    CN_TRY_GOTO(read_shards(file, map, index), out);
    CN_TRY_GOTO(sort_tensors(file), out);
    status = check_index(file, map, index);
out:
    cn_json_close(root);
    cn_str_free(&text);
    return status;
}

static enum cn_status read_folder(struct safetensors *file)
{
    struct cn_str path = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_str_format(&path, "%s/model.safetensors", file->path), out);
    if (access(path.data, F_OK) == 0) {
        CN_TRY_GOTO(read_file(file, path.data), out);
        status = sort_tensors(file);
        goto out;
    }
    CN_TRY_GOTO(cn_str_add(&path, ".index.json"), out);
    if (access(path.data, F_OK) == 0)
        status = read_index(file, path.data);
    else
        status = cn_fail(CN_ERR_IO,
                         "%s holds neither model.safetensors nor model.safetensors.index.json (for "
                         "a .gguf file: carnot convert FILE DIR)",
                         file->path);
out:
    cn_str_free(&path);
    return status;
}

/* ---- the functions ------------------------------------------------------- */

enum cn_status safetensors_open(const char *path, struct safetensors **out)
{
    struct stat info;
    enum cn_status status;
    char *copy;
    if (stat(path, &info) != 0)
        return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    struct safetensors *file = calloc(1, sizeof *file);
    if (!file) return cn_fail(CN_ERR_MEMORY, "out of memory opening %s", path);
    cn_arena_init(&file->arena);
    CN_TRY_GOTO(cn_arena_text(&file->arena, path, strlen(path), &copy), out);
    file->path = copy;
    file->mapping = calloc(1, sizeof *file->mapping);
    if (!file->mapping) {
        status = cn_fail(CN_ERR_MEMORY, "out of memory opening %s", path);
        goto out;
    }
    if (S_ISDIR(info.st_mode)) {
        CN_TRY_GOTO(read_folder(file), out);
    } else {
        CN_TRY_GOTO(read_file(file, path), out);
        CN_TRY_GOTO(sort_tensors(file), out);
    }
    *out = file;
    return CN_OK;
out:
    safetensors_close(file);
    return status;
}

void safetensors_close(struct safetensors *take_file)
{
    if (!take_file) return;
    for (size_t i = 0; i < take_file->n_mappings; i++)
        munmap(take_file->mapping[i].data, take_file->mapping[i].size);
    free(take_file->mapping);
    free(take_file->tensor);
    cn_arena_free(&take_file->arena);
    free(take_file);
}

const struct cn_buffer *safetensors_tensors(const struct safetensors *file, size_t *n)
{
    *n = file->n_tensors;
    return file->tensor;
}

const struct cn_buffer *safetensors_find(const struct safetensors *file, const char *name)
{
    struct cn_buffer key = {.name = name};
    if (!file->n_tensors) return NULL;
    return bsearch(&key, file->tensor, file->n_tensors, sizeof *file->tensor, by_name);
}

const char *safetensors_metadata(const struct safetensors *file, const char *key)
{
    for (size_t i = 0; i < file->n_metadata; i++)
        if (strcmp(file->metadata[i].key, key) == 0) return file->metadata[i].value;
    return NULL;
}

static enum cn_status add_shape(struct cn_str *text, int rank, const int64_t *shape)
{
    CN_TRY(cn_str_add(text, "("));
    for (int i = 0; i < rank; i++)
        CN_TRY(cn_str_format(text, "%s%lld", i ? ", " : "", (long long)shape[i]));
    return cn_str_add(text, ")");
}

static enum cn_status fail_shape(const struct safetensors *file, const struct cn_buffer *tensor,
                                 int rank, const int64_t *shape)
{
    struct cn_str text = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_str_add(&text, "expected "), out);
    CN_TRY_GOTO(add_shape(&text, rank, shape), out);
    CN_TRY_GOTO(cn_str_add(&text, ", found "), out);
    CN_TRY_GOTO(add_shape(&text, tensor->rank, tensor->shape), out);
    status = cn_fail(CN_ERR_MODEL,
                     "%s: tensor %s has the wrong shape: %s (config.json and weights "
                     "do not fit)",
                     owner(file, tensor), tensor->name, text.data);
out:
    cn_str_free(&text);
    return status;
}

enum cn_status safetensors_read_part_f32(const struct safetensors *file,
                                         const struct safetensors_part *part, float *out)
{
    const struct cn_buffer *tensor = safetensors_find(file, part->name);
    if (!tensor) return cn_fail(CN_ERR_MODEL, "%s: tensor %s is missing", file->path, part->name);
    if (tensor->rank != part->rank ||
        (part->rank > 0 &&
         memcmp(tensor->shape, part->shape, (size_t)part->rank * sizeof *part->shape) != 0))
        return fail_shape(file, tensor, part->rank, part->shape);
    CN_BUG_IF(part->begin > tensor->count || part->count > tensor->count - part->begin);
    const char *data = (const char *)tensor->data + part->begin * cn_dtype_size(tensor->dtype);
    if (!dtype_to_f32(tensor->dtype, data, part->count, out))
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s is %s; F32, F16, BF16 or F64 is needed",
                       owner(file, tensor), part->name, cn_dtype_name(tensor->dtype));
    for (size_t i = 0; i < part->count; i++)
        if (!isfinite(out[i]))
            return cn_fail(CN_ERR_MODEL,
                           "%s: tensor %s has a value that is not finite at %zu of %zu",
                           owner(file, tensor), part->name, part->begin + i, tensor->count);
    return CN_OK;
}

enum cn_status safetensors_read_f32(const struct safetensors *file, const char *name, int rank,
                                    const int64_t *shape, float *out)
{
    struct safetensors_part whole = {.name = name, .rank = rank, .shape = shape, .count = 1};
    for (int i = 0; i < rank; i++)
        whole.count *= (size_t)shape[i];
    return safetensors_read_part_f32(file, &whole, out);
}
