/* The value function's own numbers; see value_head.h. */
#include "value_head.h"

#include "safetensors.h"

#include <stdlib.h>
#include <string.h>

/* The arrays of a state, and how their tensors are named. */
static const struct {
    const char *weight, *bias;
} tensor_names[] = {{"value_head.weight", "value_head.bias"},
                    {"exp_avg.value_head.weight", "exp_avg.value_head.bias"},
                    {"exp_avg_sq.value_head.weight", "exp_avg_sq.value_head.bias"}};
enum { ARRAYS = sizeof tensor_names / sizeof *tensor_names };
static const char step_name[] = "value_head.step";

enum cn_status value_head_open(struct value_head *head, const struct value_head_size *size)
{
    const size_t n = size->inputs + size->bias, arrays = size->trainable ? 4 : 1;
    float *memory = calloc(n * arrays, sizeof *memory);
    if (!memory) return cn_fail(CN_ERR_MEMORY, "out of memory: a value head of %zu numbers", n);
    head->all = (struct adamw){.n = n, .n_decayed = size->inputs, .weight = memory};
    if (size->trainable) {
        head->all.gradient = memory + n;
        head->all.m = memory + 2 * n;
        head->all.v = memory + 3 * n;
    }
    return CN_OK;
}

void value_head_close(struct value_head *head)
{
    free(head->all.weight); /* the other arrays are parts of it */
    memset(head, 0, sizeof *head);
}

/* ---- files --------------------------------------------------------------- */

static size_t buffers_of(const struct value_head *head, size_t array, float *data,
                         struct cn_buffer *out)
{
    const size_t n = head->all.n_decayed;
    if (!head->all.n) return 0;
    out[0] = (struct cn_buffer){.name = tensor_names[array].weight,
                                .dtype = CN_DTYPE_F32,
                                .rank = 2,
                                .shape = {1, (int64_t)n},
                                .count = n,
                                .data = data,
                                .device = -1};
    out[1] = (struct cn_buffer){.name = tensor_names[array].bias,
                                .dtype = CN_DTYPE_F32,
                                .rank = 1,
                                .shape = {1},
                                .count = 1,
                                .data = data + n,
                                .device = -1};
    return n < head->all.n ? 2 : 1;
}

size_t value_head_buffers(const struct value_head *head, float *data, struct cn_buffer *out)
{
    return buffers_of(head, 0, data, out);
}

size_t value_head_flat_gradient(const struct value_head *head, struct cn_buffer *out)
{
    if (!head->all.n) return 0;
    *out = (struct cn_buffer){.name = "value_head",
                              .dtype = CN_DTYPE_F32,
                              .rank = 1,
                              .shape = {(int64_t)head->all.n},
                              .count = head->all.n,
                              .data = head->all.gradient,
                              .device = -1};
    return 1;
}

static enum cn_status need_head(const struct value_head *head)
{
    if (head->all.m) return CN_OK;
    return cn_fail(CN_ERR_BUG, "this model was opened without a trainable value head");
}

enum cn_status value_head_save(const struct value_head *head, const char *path)
{
    struct cn_buffer all[ARRAYS * VALUE_HEAD_TENSORS + 1];
    float *const arrays[ARRAYS] = {head->all.weight, head->all.m, head->all.v};
    int64_t steps = (int64_t)head->all.steps;
    size_t n = 0;
    CN_TRY(need_head(head));
    for (size_t a = 0; a < ARRAYS; a++)
        n += buffers_of(head, a, arrays[a], all + n);
    all[n++] = (struct cn_buffer){.name = step_name,
                                  .dtype = CN_DTYPE_I64,
                                  .rank = 1,
                                  .shape = {1},
                                  .count = 1,
                                  .data = &steps,
                                  .device = -1};
    const struct safetensors_target target = {.path = path, .dtype = CN_DTYPE_F32};
    return safetensors_save(&target, all, n);
}

static enum cn_status read_steps(const struct safetensors *file, const char *path, uint64_t *out)
{
    int64_t steps = -1;
    const struct cn_buffer *counter = safetensors_find(file, step_name);
    if (counter && counter->dtype == CN_DTYPE_I64 && counter->count == 1)
        memcpy(&steps, counter->data, sizeof steps);
    if (steps < 0)
        return cn_fail(CN_ERR_MODEL, "%s: no tensor %s (I64, one element, 0 or more)", path,
                       step_name);
    *out = (uint64_t)steps;
    return CN_OK;
}

enum cn_status value_head_load(struct value_head *head, const char *path, bool moments)
{
    struct safetensors *file;
    struct cn_buffer want[VALUE_HEAD_TENSORS];
    float *const arrays[ARRAYS] = {head->all.weight, head->all.m, head->all.v};
    const size_t wanted = moments ? ARRAYS : 1;
    uint64_t steps = 0;
    if (moments) CN_TRY(need_head(head));
    CN_TRY(safetensors_open(path, &file));
    enum cn_status status = CN_OK;
    float *fresh = malloc(ARRAYS * head->all.n * sizeof *fresh);
    if (!fresh) status = cn_fail(CN_ERR_MEMORY, "out of memory: a value head");
    for (size_t a = 0; status == CN_OK && a < wanted; a++) {
        const size_t n = buffers_of(head, a, fresh + a * head->all.n, want);
        for (size_t i = 0; status == CN_OK && i < n; i++)
            status =
                safetensors_read_f32(file, want[i].name, want[i].rank, want[i].shape, want[i].data);
    }
    if (status == CN_OK && moments) status = read_steps(file, path, &steps);
    if (status == CN_OK) {
        for (size_t a = 0; a < wanted; a++)
            memcpy(arrays[a], fresh + a * head->all.n, head->all.n * sizeof *fresh);
        head->all.steps = steps;
    }
    free(fresh);
    safetensors_close(file);
    return status;
}
