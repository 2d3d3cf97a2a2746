/* The table's optimizer step and files. */
#include "model_table.h"
#include "safetensors.h"
#include "state.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- step ---------------------------------------------------------------- */

/* This rank's elements [begin, end) of the flat space. */
static struct adamw own_part(const struct table *t, size_t begin, size_t end)
{
    return (struct adamw){.n = end - begin,
                          .n_decayed = end - begin, /* a table is all matrix */
                          .weight = t->body.weight + begin,
                          .gradient = t->body.gradient + begin,
                          .m = t->body.m + (begin - t->shard.begin),
                          .v = t->body.v + (begin - t->shard.begin),
                          .steps = t->body.steps};
}

static enum cn_status squares_of_body(struct table *t, double *sum)
{
    struct shard *shard = &t->shard;
    for (size_t begin = shard->begin; begin < shard->end; begin += SHARD_BLOCK) {
        const size_t left = shard->end - begin, n = left < SHARD_BLOCK ? left : SHARD_BLOCK;
        const struct adamw block = own_part(t, begin, begin + n);
        shard->squares[begin / SHARD_BLOCK] = adamw_squares(&block);
    }
    return shard_squares(shard, sum);
}

enum cn_status table_step(void *self, const struct cn_step_options *o,
                          struct cn_step_result *result)
{
    struct table *t = self;
    double squares = 0;
    CN_TRY(table_need_trainable(t));
    const bool body = o->part != CN_STEP_VALUE;
    const bool head = o->part != CN_STEP_BODY && t->value.all.n;
    if (body) CN_TRY(squares_of_body(t, &squares));
    result->grad_norm = sqrt(squares + (head ? adamw_squares(&t->value.all) : 0));
    result->skipped = !isfinite(result->grad_norm);
    if (result->skipped) return CN_OK;
    t->pending = false;
    const double clip = adamw_clip(o, result->grad_norm);
    if (head) adamw_step(&t->value.all, o, clip);
    if (!body) return CN_OK;
    struct adamw own = own_part(t, t->shard.begin, t->shard.end);
    adamw_step(&own, o, clip);
    t->body.steps = own.steps;
    return shard_gather(&t->shard, CN_DTYPE_F32, t->body.weight);
}

/* ---- files --------------------------------------------------------------- */

enum cn_status table_read_weights(const struct table *t, const char *folder, float *out)
{
    const struct cn_buffer *table = t->weight_buffer;
    struct safetensors *file;
    CN_TRY(safetensors_open(folder, &file));
    enum cn_status status = safetensors_read_f32(file, table->name, 2, table->shape, out);
    safetensors_close(file);
    return status;
}

enum cn_status table_freeze(void *self, const char *path, int *copy)
{
    struct table *t = self;
    if (*copy < 0) {
        float **grown = realloc(t->copies, (t->n_copies + 1) * sizeof *grown);
        if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: a frozen copy");
        t->copies = grown;
        CN_TRY(CN_NEW(&t->arena, t->body.n, &t->copies[t->n_copies]));
        *copy = (int)t->n_copies++;
    }
    if (path) return table_read_weights(t, path, t->copies[*copy]);
    memcpy(t->copies[*copy], t->body.weight, t->body.n * sizeof **t->copies);
    return CN_OK;
}

enum cn_status table_weights_of(const struct table *t, int copy, float **out)
{
    if (copy >= 0 && (size_t)copy >= t->n_copies)
        return cn_fail(CN_ERR_BUG, "frozen copy %d does not exist: there are %zu", copy,
                       t->n_copies);
    *out = copy < 0 ? t->body.weight : t->copies[copy];
    return CN_OK;
}

enum cn_status table_save(void *self, int copy, const char *folder, enum cn_dtype dtype)
{
    struct table *t = self;
    struct cn_str text = {0}, path = {0};
    const struct safetensors_target target = {.path = folder, .dtype = dtype};
    struct cn_buffer table = t->weight_buffer[0];
    float *weight = NULL;
    enum cn_status status;
    if (!folder) return CN_OK; /* every rank has all weights */
    CN_TRY(table_weights_of(t, copy, &weight));
    table.data = weight;
    CN_TRY_GOTO(safetensors_save(&target, &table, 1), out);
    CN_TRY_GOTO(cn_str_format(&text,
                              "{\n  \"type\": \"table\",\n  \"vocab_size\": %zu,\n  \"order\": "
                              "%lld,\n  \"states\": %lld,\n"
                              "  \"context\": %zu\n}\n",
                              t->info.vocab_size, (long long)t->order, (long long)t->states,
                              t->info.context_length),
                out);
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", folder), out);
    status = cn_file_replace(path.data, text.data, text.length);
out:
    cn_str_free(&text);
    cn_str_free(&path);
    return status;
}

static struct model_state state_of(struct table *t)
{
    static const size_t offset[] = {0};
    return (struct model_state){.shard = &t->shard,
                                .tensors = t->weight_buffer,
                                .offset = offset,
                                .n_tensors = 1,
                                .weight = t->body.weight,
                                .weight_whole = true,
                                .m = t->body.m,
                                .v = t->body.v,
                                .steps = &t->body.steps};
}

enum cn_status table_state_save(void *self, const char *path)
{
    CN_TRY(table_need_trainable(self));
    const struct model_state state = state_of(self);
    return state_save(&state, path);
}

enum cn_status table_state_load(void *self, const char *path)
{
    struct table *t = self;
    CN_TRY(table_need_trainable(t));
    const struct model_state state = state_of(t);
    t->pending = false;
    return state_load(&state, path);
}
