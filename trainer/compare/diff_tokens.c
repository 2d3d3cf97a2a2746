/* Segments of the token record, put into one order. */
#include "diff_tokens.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The columns of one segment. */
struct segment {
    int32_t *token;
    int64_t *offset, *step;
    uint64_t *prompt;
    uint32_t *group, *sample;
    uint8_t *part;
};

static enum cn_status read_column(struct cn_store *store, const char *name, enum cn_dtype dtype,
                                  struct cn_arena *arena, void *out)
{
    size_t rows;
    void *data;
    CN_TRY(cn_store_count(store, name, &rows));
    CN_TRY(cn_arena_alloc_raw(arena, rows + 1, cn_dtype_size(dtype), &data));
    const struct cn_buffer buffer = {.name = name,
                                     .dtype = dtype,
                                     .rank = 1,
                                     .shape = {(int64_t)rows},
                                     .count = rows,
                                     .data = data,
                                     .device = -1};
    CN_TRY(cn_store_read(store, 0, &buffer));
    memcpy(out, &data, sizeof data);
    return CN_OK;
}

static enum cn_status read_segment(struct cn_store *store, struct cn_arena *arena,
                                   struct segment *s, size_t *n)
{
    CN_TRY(cn_store_count(store, "/sequences/step", n));
    CN_TRY(read_column(store, "/tokens/token", CN_DTYPE_I32, arena, &s->token));
    CN_TRY(read_column(store, "/sequences/offset", CN_DTYPE_I64, arena, &s->offset));
    CN_TRY(read_column(store, "/sequences/step", CN_DTYPE_I64, arena, &s->step));
    CN_TRY(read_column(store, "/sequences/prompt", CN_DTYPE_U64, arena, &s->prompt));
    CN_TRY(read_column(store, "/sequences/group", CN_DTYPE_U32, arena, &s->group));
    CN_TRY(read_column(store, "/sequences/sample", CN_DTYPE_U32, arena, &s->sample));
    return read_column(store, "/sequences/part", CN_DTYPE_U8, arena, &s->part);
}

static enum cn_status reserve(struct diff_tokens *out, struct cn_arena *arena, size_t more)
{
    if (out->count + more <= out->capacity) return CN_OK;
    const size_t capacity = 2 * (out->count + more);
    struct diff_sequence *item;
    CN_TRY(CN_NEW(arena, capacity, &item));
    if (out->count) memcpy(item, out->item, out->count * sizeof *item);
    out->item = item;
    out->capacity = capacity;
    return CN_OK;
}

static enum cn_status add_segment(struct cn_store *store, struct cn_arena *arena,
                                  struct diff_tokens *out)
{
    struct segment s;
    size_t n;
    CN_TRY(read_segment(store, arena, &s, &n));
    CN_TRY(reserve(out, arena, n));
    for (size_t i = 0; i < n; i++) {
        out->item[out->count++] =
            (struct diff_sequence){.step = (uint64_t)s.step[i],
                                   .prompt = s.prompt[i],
                                   .group = s.group[i],
                                   .sample = s.sample[i],
                                   .part = s.part[i],
                                   .token = s.token + s.offset[i],
                                   .n = (size_t)(s.offset[i + 1] - s.offset[i])};
        out->tokens += (size_t)(s.offset[i + 1] - s.offset[i]);
    }
    return CN_OK;
}

static int in_order(const void *a, const void *b)
{
    const struct diff_sequence *x = a, *y = b;
    const uint64_t keys[][2] = {{x->step, y->step},
                                {x->group, y->group},
                                {x->part, y->part},
                                {x->sample, y->sample},
                                {x->prompt, y->prompt}};
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++)
        if (keys[k][0] != keys[k][1]) return keys[k][0] < keys[k][1] ? -1 : 1;
    return 0;
}

/* Type of the store that wrote a file of this name; NULL: no segment. */
static const char *type_of(const char *name)
{
    static const char *const types[] = {"hdf5", "memory"};
    const size_t n = strlen(name);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        const char *ending = cn_store_ending(types[i]);
        if (ending && n > strlen(ending) && strcmp(name + n - strlen(ending), ending) == 0)
            return types[i];
    }
    return NULL;
}

enum cn_status diff_tokens_read(const char *folder, struct cn_arena *arena, struct diff_tokens *out)
{
    struct cn_str path = {0};
    enum cn_status status = cn_str_format(&path, "%s/tokens", folder);
    DIR *dir = status == CN_OK ? opendir(path.data) : NULL;
    memset(out, 0, sizeof *out);
    for (struct dirent *e; status == CN_OK && dir && (e = readdir(dir));) {
        struct cn_store *store = NULL;
        const char *type = type_of(e->d_name);
        if (!type) continue;
        cn_str_clear(&path);
        status = cn_str_format(&path, "%s/tokens/%s", folder, e->d_name);
        if (status == CN_OK) status = cn_store_open(type, path.data, &store);
        if (status == CN_OK) status = add_segment(store, arena, out);
        if (status != CN_OK) cn_fail_context(status, "%s", path.data);
        if (store) cn_store_close(store);
    }
    if (dir) closedir(dir);
    cn_str_free(&path);
    if (status == CN_OK && out->count) qsort(out->item, out->count, sizeof *out->item, in_order);
    return status;
}
