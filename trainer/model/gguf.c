/* Reading GGUF: one pass over the header that believes nothing, then lookups. */
#include "gguf.h"

#include "dtype.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Kinds of metadata values: bytes of one (0: varies). */
enum { KIND_BOOL = 7, KIND_TEXT = 8, KIND_LIST = 9, KIND_COUNT = 13, ALIGNMENT_DEFAULT = 32 };
static const uint8_t kind_size[KIND_COUNT] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

struct pair {
    struct cn_text key;
    uint32_t kind;
    const unsigned char *value; /* for a list: behind kind and count */
    uint32_t list_kind;
    uint64_t list_count;
};

struct gguf {
    struct cn_arena arena; /* path, pairs, tensors, names */
    const char *path;
    unsigned char *data;
    size_t size, at; /* at: how far the header has been read */
    uint32_t version;
    struct pair *pair;
    size_t n_pairs;
    struct gguf_tensor *tensor; /* sorted by name once open */
    size_t n_tensors;
};

/* ---- steps through the header -------------------------------------------- */

static enum cn_status truncated(const struct gguf *file, const char *what)
{
    return cn_fail(CN_ERR_MODEL, "%s ends inside %s (byte %zu of %zu): truncated, fetch it again",
                   file->path, what, file->at, file->size);
}

static uint64_t little_endian(const unsigned char *at, size_t bytes)
{
    uint64_t value = 0;
    for (size_t i = bytes; i > 0; i--)
        value = value << 8 | at[i - 1];
    return value;
}

static enum cn_status take(struct gguf *file, size_t bytes, const char *what, uint64_t *out)
{
    if (file->size - file->at < bytes) return truncated(file, what);
    *out = little_endian(file->data + file->at, bytes);
    file->at += bytes;
    return CN_OK;
}

static enum cn_status take_text(struct gguf *file, const char *what, struct cn_text *out)
{
    uint64_t length = 0;
    CN_TRY(take(file, 8, what, &length));
    if (length > file->size - file->at) return truncated(file, what);
    out->data = (const char *)file->data + file->at;
    out->length = (size_t)length;
    file->at += (size_t)length;
    return CN_OK;
}

/* Steps over `count` values of a kind that is not a list. */
static enum cn_status skip_values(struct gguf *file, uint32_t kind, uint64_t count)
{
    struct cn_text text = {0};
    if (kind >= KIND_COUNT || kind == KIND_LIST)
        return cn_fail(CN_ERR_MODEL, "%s: metadata of kind %u at byte %zu, which is not read",
                       file->path, kind, file->at);
    if (kind == KIND_TEXT) {
        for (uint64_t i = 0; i < count; i++)
            CN_TRY(take_text(file, "a metadata text", &text));
        return CN_OK;
    }
    if (count > (file->size - file->at) / kind_size[kind])
        return truncated(file, "a metadata value");
    file->at += (size_t)count * kind_size[kind];
    return CN_OK;
}

static enum cn_status take_pair(struct gguf *file, struct pair *pair)
{
    uint64_t number = 0;
    CN_TRY(take_text(file, "a metadata key", &pair->key));
    CN_TRY(take(file, 4, "a metadata kind", &number));
    pair->kind = (uint32_t)number;
    if (pair->kind != KIND_LIST) {
        pair->value = file->data + file->at;
        return skip_values(file, pair->kind, 1);
    }
    CN_TRY(take(file, 4, "a metadata list", &number));
    pair->list_kind = (uint32_t)number;
    CN_TRY(take(file, 8, "a metadata list", &pair->list_count));
    pair->value = file->data + file->at;
    return skip_values(file, pair->list_kind, pair->list_count);
}

/* ---- tensors ------------------------------------------------------------- */

static const struct type_info {
    const char *name;
    uint32_t number;
    size_t elements, bytes;
} type_infos[] = {
#define X(name, number, elements, bytes) {#name, number, elements, bytes},
    GGUF_TYPES(X)
#undef X
};

static const struct type_info *find_type(uint64_t number)
{
    for (size_t i = 0; i < sizeof type_infos / sizeof *type_infos; i++)
        if (type_infos[i].number == number) return &type_infos[i];
    return NULL;
}

/* One tensor info; *offset is where its data begin behind the start of all data. */
static enum cn_status take_tensor(struct gguf *file, struct gguf_tensor *tensor, uint64_t *offset)
{
    struct cn_text name = {0};
    uint64_t rank = 0, type = 0, size = 0;
    char *copy = NULL;
    CN_TRY(take_text(file, "a tensor's name", &name));
    CN_TRY(cn_arena_text(&file->arena, name.data, name.length, &copy));
    tensor->name = copy;
    CN_TRY(take(file, 4, "a tensor's rank", &rank));
    if (rank < 1 || rank > CN_TENSOR_RANK_MAX)
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s has rank %llu; allowed are 1 to %d", file->path,
                       copy, (unsigned long long)rank, CN_TENSOR_RANK_MAX);
    tensor->rank = (int)rank;
    tensor->count = 1;
    for (int i = tensor->rank - 1; i >= 0; i--) {
        CN_TRY(take(file, 8, "a tensor's shape", &size));
        if (size > INT64_MAX || __builtin_mul_overflow(tensor->count, size, &tensor->count))
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s has an impossible shape", file->path, copy);
        tensor->shape[i] = (int64_t)size;
    }
    CN_TRY(take(file, 4, "a tensor's type", &type));
    const struct type_info *info = find_type(type);
    if (!info)
        return cn_fail(CN_ERR_MODEL,
                       "%s: tensor %s has type %llu; F32, F16, BF16, Q4_0, Q4_1 and Q8_0 are read",
                       file->path, copy, (unsigned long long)type);
    tensor->type = (enum gguf_type)type;
    if ((uint64_t)tensor->shape[tensor->rank - 1] % info->elements)
        return cn_fail(CN_ERR_MODEL, "%s: tensor %s: rows of %lld do not divide into %s blocks",
                       file->path, copy, (long long)tensor->shape[tensor->rank - 1], info->name);
    return take(file, 8, "a tensor's offset", offset);
}

/* Places the data of a tensor, whose info has been checked, behind `start`. */
static enum cn_status place_tensor(const struct gguf *file, uint64_t start, uint64_t offset,
                                   struct gguf_tensor *tensor)
{
    const struct type_info *info = find_type((uint64_t)tensor->type);
    uint64_t available = file->size > start ? file->size - start : 0;
    size_t bytes;
    if (__builtin_mul_overflow(tensor->count / info->elements, info->bytes, &bytes) ||
        offset > available || bytes > available - offset)
        return cn_fail(CN_ERR_MODEL,
                       "%s: tensor %s lies at byte %llu of %llu bytes of data: truncated, fetch it "
                       "again",
                       file->path, tensor->name, (unsigned long long)offset,
                       (unsigned long long)available);
    tensor->data = file->data + start + offset;
    return CN_OK;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct gguf_tensor *)a)->name, ((const struct gguf_tensor *)b)->name);
}

/* ---- the whole file ------------------------------------------------------ */

static enum cn_status map_file(struct gguf *file, const char *path)
{
    struct stat info;
    char *copy;
    CN_TRY(cn_arena_text(&file->arena, path, strlen(path), &copy));
    file->path = copy;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    if (fstat(fd, &info) != 0 || !S_ISREG(info.st_mode) || info.st_size < 24) {
        close(fd);
        return cn_fail(CN_ERR_MODEL, "%s is too short for a GGUF file, or not a file", path);
    }
    void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
    close(fd);
    if (data == MAP_FAILED) return cn_fail(CN_ERR_IO, "cannot map %s: %s", path, strerror(errno));
    file->data = data;
    file->size = (size_t)info.st_size;
    return CN_OK;
}

static enum cn_status read_start(struct gguf *file, uint64_t *n_tensors, uint64_t *n_pairs)
{
    uint64_t version = 0;
    if (memcmp(file->data, "GGUF", 4) != 0)
        return cn_fail(CN_ERR_MODEL, "%s is not a GGUF file", file->path);
    file->at = 4;
    CN_TRY(take(file, 4, "the header", &version));
    if (version != 2 && version != 3)
        return cn_fail(CN_ERR_MODEL,
                       "%s: GGUF version %llu; versions 2 and 3, little-endian, are read",
                       file->path, (unsigned long long)version);
    CN_TRY(take(file, 8, "the header", n_tensors));
    CN_TRY(take(file, 8, "the header", n_pairs));
    /* Each entry takes some bytes of the file, so the counts cannot make us allocate more than a
     * multiple of it. */
    if (*n_tensors > file->size / 32 || *n_pairs > file->size / 13)
        return cn_fail(CN_ERR_MODEL, "%s claims %llu tensors and %llu metadata pairs in %zu bytes",
                       file->path, (unsigned long long)*n_tensors, (unsigned long long)*n_pairs,
                       file->size);
    return CN_OK;
}

static enum cn_status read_tensors(struct gguf *file, uint64_t n)
{
    double alignment = ALIGNMENT_DEFAULT;
    uint64_t *offset, step;
    CN_TRY(CN_NEW(&file->arena, (size_t)n, &file->tensor));
    CN_TRY(CN_NEW(&file->arena, (size_t)n, &offset));
    gguf_number(file, "general.alignment", &alignment);
    step = alignment >= 1 && alignment <= 1 << 20 ? (uint64_t)alignment : 0;
    if (!step || (step & (step - 1)))
        return cn_fail(CN_ERR_MODEL, "%s: general.alignment is %g; a power of two is needed",
                       file->path, alignment);
    for (uint64_t i = 0; i < n; i++)
        CN_TRY(take_tensor(file, &file->tensor[i], &offset[i]));
    uint64_t start = (file->at + step - 1) / step * step;
    for (uint64_t i = 0; i < n; i++)
        CN_TRY(place_tensor(file, start, offset[i], &file->tensor[i]));
    file->n_tensors = (size_t)n;
    if (n) qsort(file->tensor, (size_t)n, sizeof *file->tensor, by_name);
    for (uint64_t i = 1; i < n; i++)
        if (strcmp(file->tensor[i - 1].name, file->tensor[i].name) == 0)
            return cn_fail(CN_ERR_MODEL, "%s: tensor %s is there twice", file->path,
                           file->tensor[i].name);
    return CN_OK;
}

enum cn_status gguf_open(const char *path, struct gguf **out)
{
    uint64_t n_tensors = 0, n_pairs = 0;
    enum cn_status status;
    struct gguf *file = calloc(1, sizeof *file);
    if (!file) return cn_fail(CN_ERR_MEMORY, "out of memory opening %s", path);
    cn_arena_init(&file->arena);
    CN_TRY_GOTO(map_file(file, path), out);
    CN_TRY_GOTO(read_start(file, &n_tensors, &n_pairs), out);
    CN_TRY_GOTO(CN_NEW(&file->arena, (size_t)n_pairs, &file->pair), out);
    for (; file->n_pairs < n_pairs; file->n_pairs++)
        CN_TRY_GOTO(take_pair(file, &file->pair[file->n_pairs]), out);
    CN_TRY_GOTO(read_tensors(file, n_tensors), out);
    *out = file;
    return CN_OK;
out:
    gguf_close(file);
    return status;
}

void gguf_close(struct gguf *take_file)
{
    if (!take_file) return;
    if (take_file->data) munmap(take_file->data, take_file->size);
    cn_arena_free(&take_file->arena);
    free(take_file);
}

const char *gguf_path(const struct gguf *file)
{
    return file->path;
}

const struct gguf_tensor *gguf_tensors(const struct gguf *file, size_t *n)
{
    *n = file->n_tensors;
    return file->tensor;
}

const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name)
{
    struct gguf_tensor key = {.name = name};
    if (!file->n_tensors) return NULL;
    return bsearch(&key, file->tensor, file->n_tensors, sizeof *file->tensor, by_name);
}

/* ---- metadata ------------------------------------------------------------ */

static const struct pair *find_pair(const struct gguf *file, const char *key)
{
    for (size_t i = 0; i < file->n_pairs; i++)
        if (cn_text_is(file->pair[i].key, key)) return &file->pair[i];
    return NULL;
}

static double number_at(uint32_t kind, const unsigned char *at)
{
    uint64_t bits = little_endian(at, kind_size[kind]);
    double real;
    switch (kind) {
    case 1:
        return (int8_t)bits;
    case 3:
        return (int16_t)bits;
    case 5:
        return (int32_t)bits;
    case 6:
        return (double)dtype_f32_from_bits((uint32_t)bits);
    case 11:
        return (double)(int64_t)bits;
    case 12:
        memcpy(&real, &bits, sizeof real);
        return real;
    default:
        return (double)bits; /* unsigned and bool */
    }
}

bool gguf_number(const struct gguf *file, const char *key, double *out)
{
    const struct pair *pair = find_pair(file, key);
    if (!pair || pair->kind == KIND_TEXT || pair->kind == KIND_LIST) return false;
    *out = number_at(pair->kind, pair->value);
    return true;
}

bool gguf_text(const struct gguf *file, const char *key, struct cn_text *out)
{
    const struct pair *pair = find_pair(file, key);
    if (!pair || pair->kind != KIND_TEXT) return false;
    out->length = (size_t)little_endian(pair->value, 8);
    out->data = (const char *)pair->value + 8;
    return true;
}

bool gguf_list(const struct gguf *file, const char *key, struct gguf_list *out)
{
    const struct pair *pair = find_pair(file, key);
    if (!pair || pair->kind != KIND_LIST) return false;
    out->count = (size_t)pair->list_count;
    out->kind = pair->list_kind;
    out->texts = pair->list_kind == KIND_TEXT;
    out->at = pair->value;
    return true;
}

struct cn_text gguf_next_text(struct gguf_list *list)
{
    struct cn_text text = {(const char *)list->at + 8, (size_t)little_endian(list->at, 8)};
    list->at += 8 + text.length;
    return text;
}

double gguf_next_number(struct gguf_list *list)
{
    double value = number_at(list->kind, list->at);
    list->at += kind_size[list->kind];
    return value;
}
