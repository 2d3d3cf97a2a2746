/* Weights, moments and step count on disk. */
#include "state.h"

#include "safetensors.h"

#include "carnot/arena.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ARRAYS = 3, WINDOW = 1 << 18 }; /* elements that are looked at together */
static const char *const prefixes[ARRAYS] = {"", "exp_avg.", "exp_avg_sq."};
static const char step_name[] = "step";

/* An array of the state: this rank's elements [begin, end) of the flat space. */
struct array {
    float *data;
    size_t begin, end;
    bool whole; /* on every rank */
};

static struct array array_of(const struct model_state *s, size_t index)
{
    const struct shard *shard = s->shard;
    float *const data[ARRAYS] = {s->weight, s->m, s->v};
    if (!shard_is_part(shard) || (index == 0 && s->weight_whole))
        return (struct array){data[index], 0, shard->n, true};
    return (struct array){data[index], shard->begin, shard->end, false};
}

/* ---- writing ------------------------------------------------------------- */

/* What a tensor that is nowhere whole is made of; index: array x n_tensors + tensor. */
static enum cn_status load(void *context, size_t index, float *out)
{
    const struct model_state *s = context;
    const struct array array = array_of(s, index / s->n_tensors);
    const size_t tensor = index % s->n_tensors;
    return shard_collect(s->shard, array.data, s->offset[tensor], s->tensors[tensor].count, out);
}

static enum cn_status list(const struct model_state *s, size_t n_arrays, struct cn_arena *arena,
                           struct cn_buffer *out)
{
    char name[512];
    for (size_t a = 0; a < n_arrays; a++) {
        const struct array array = array_of(s, a);
        for (size_t i = 0; i < s->n_tensors; i++, out++) {
            char *copy;
            int n = snprintf(name, sizeof name, "%s%s", prefixes[a], s->tensors[i].name);
            CN_BUG_IF(n < 0 || n >= (int)sizeof name);
            CN_TRY(cn_arena_text(arena, name, (size_t)n, &copy));
            *out = s->tensors[i];
            out->name = copy;
            out->dtype = CN_DTYPE_F32;
            out->data = array.whole ? array.data + s->offset[i] : NULL;
        }
    }
    return CN_OK;
}

static enum cn_status save(const struct model_state *s, size_t n_arrays,
                           const struct safetensors_target *target)
{
    struct cn_arena arena;
    struct cn_buffer *all;
    int64_t steps = (int64_t)*s->steps;
    size_t n = n_arrays * s->n_tensors;
    enum cn_status status;
    cn_arena_init(&arena);
    CN_TRY_GOTO(CN_NEW(&arena, n + 1, &all), out);
    CN_TRY_GOTO(list(s, n_arrays, &arena, all), out);
    if (n_arrays == ARRAYS)
        all[n++] = (struct cn_buffer){.name = step_name,
                                      .dtype = CN_DTYPE_I64,
                                      .rank = 1,
                                      .shape = {1},
                                      .count = 1,
                                      .data = &steps,
                                      .device = -1};
    status = safetensors_save(target, all, n);
out:
    cn_arena_free(&arena);
    return status;
}

enum cn_status state_save_weights(const struct model_state *s, const char *folder,
                                  enum cn_dtype dtype)
{
    const struct safetensors_target target = {.path = folder ? folder : "folder",
                                              .absent = !folder,
                                              .dtype = dtype,
                                              .load = load,
                                              .context = (void *)(uintptr_t)s};
    return save(s, 1, &target);
}

enum cn_status state_save(const struct model_state *s, const char *path)
{
    if (!path && !shard_is_part(s->shard)) return CN_OK;
    const struct safetensors_target target = {.path = path ? path : "state.safetensors",
                                              .absent = !path,
                                              .dtype = CN_DTYPE_F32,
                                              .load = load,
                                              .context = (void *)(uintptr_t)s};
    return save(s, ARRAYS, &target);
}

/* ---- reading ------------------------------------------------------------- */

static enum cn_status read_steps(const struct safetensors *file, const char *path, uint64_t *out)
{
    int64_t steps;
    const struct cn_buffer *counter = safetensors_find(file, step_name);
    if (!counter || counter->dtype != CN_DTYPE_I64 || counter->count != 1)
        return cn_fail(CN_ERR_MODEL, "%s: no step count (I64, one element): not an optimizer state",
                       path);
    memcpy(&steps, counter->data, sizeof steps);
    if (steps < 0)
        return cn_fail(CN_ERR_MODEL, "%s: the step count is %lld", path, (long long)steps);
    *out = (uint64_t)steps;
    return CN_OK;
}

/* Reads elements of a tensor piece by piece to `out`, or only looks at them, if it is NULL. */
static enum cn_status read_part(const struct safetensors *file, struct safetensors_part part,
                                float *scratch, float *out)
{
    const size_t end = part.begin + part.count;
    for (size_t at = part.begin; at < end; at += part.count) {
        part.begin = at;
        part.count = end - at < WINDOW ? end - at : WINDOW;
        CN_TRY(safetensors_read_part_f32(file, &part, out ? out : scratch));
        if (out) out += part.count;
    }
    return CN_OK;
}

/* This rank's part of each tensor of array `index`; `place`: it is put there, not only looked at.
 */
static enum cn_status read_array(const struct model_state *s, const struct safetensors *file,
                                 size_t index, float *scratch, bool place)
{
    const struct array array = array_of(s, index);
    char name[512];
    for (size_t i = 0; i < s->n_tensors; i++) {
        const struct cn_buffer *t = &s->tensors[i];
        const size_t at = s->offset[i], stop = at + t->count;
        const size_t first = at > array.begin ? at : array.begin;
        const size_t last = stop < array.end ? stop : array.end;
        if (first >= last) continue;
        snprintf(name, sizeof name, "%s%s", prefixes[index], t->name);
        const struct safetensors_part part = {.name = name,
                                              .rank = t->rank,
                                              .shape = t->shape,
                                              .begin = first - at,
                                              .count = last - first};
        CN_TRY(read_part(file, part, scratch, place ? array.data + (first - array.begin) : NULL));
    }
    return CN_OK;
}

/* Twice, so that nothing has changed if the file will not do, and no second copy is needed. */
enum cn_status state_load(const struct model_state *s, const char *path)
{
    struct safetensors *file;
    uint64_t steps = 0;
    CN_TRY(safetensors_open(path, &file));
    float *scratch = malloc(WINDOW * sizeof *scratch);
    enum cn_status status = CN_OK;
    if (!scratch) status = cn_fail(CN_ERR_MEMORY, "out of memory: %s", path);
    if (status == CN_OK) status = read_steps(file, path, &steps);
    for (int place = 0; place < 2; place++)
        for (size_t a = 0; a < ARRAYS && status == CN_OK; a++)
            status = read_array(s, file, a, scratch, place);
    if (status == CN_OK) *s->steps = steps;
    free(scratch);
    safetensors_close(file);
    return status;
}
