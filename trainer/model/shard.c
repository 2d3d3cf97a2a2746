/* Shares of the flat parameter space. */
#include "shard.h"

#include <stdlib.h>
#include <string.h>

enum { WINDOW = 1 << 20 }; /* elements that travel at a time in shard_collect */

static size_t blocks_of(size_t n)
{
    return (n + SHARD_BLOCK - 1) / SHARD_BLOCK;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

void cn_shard_start(size_t n, size_t count, size_t *start)
{
    for (size_t r = 0; r <= count; r++)
        start[r] = smaller(n, blocks_of(n) * r / count * SHARD_BLOCK);
}

bool shard_is_part(const struct shard *shard)
{
    return shard->link.count > 1;
}

enum cn_status shard_open(struct shard *s, const struct cn_shard *link, size_t n)
{
    s->link = *link;
    s->n = n;
    if (s->link.count == 0) s->link.count = 1;
    const size_t count = s->link.count;
    CN_BUG_IF(s->link.index >= count || (count > 1 && !s->link.gather));
    s->start = calloc(count + 1, sizeof *s->start);
    s->block = calloc(count + 1, sizeof *s->block);
    s->squares = calloc(blocks_of(n) + 1, sizeof *s->squares);
    s->window = count > 1 ? malloc(WINDOW * sizeof *s->window) : NULL;
    if (!s->start || !s->block || !s->squares || (count > 1 && !s->window)) {
        shard_close(s);
        return cn_fail(CN_ERR_MEMORY, "out of memory: shares of the optimizer");
    }
    cn_shard_start(n, count, s->start);
    for (size_t r = 0; r <= count; r++)
        s->block[r] = blocks_of(s->start[r]);
    s->begin = s->start[s->link.index];
    s->end = s->start[s->link.index + 1];
    return CN_OK;
}

void shard_close(struct shard *s)
{
    free(s->start);
    free(s->block);
    free(s->squares);
    free(s->window);
    memset(s, 0, sizeof *s);
}

static enum cn_status gather(const struct shard *s, const struct cn_buffer *whole,
                             const size_t *start)
{
    return shard_is_part(s) ? s->link.gather(s->link.self, whole, start) : CN_OK;
}

enum cn_status shard_squares(struct shard *s, double *sum)
{
    const size_t n = blocks_of(s->n);
    const struct cn_buffer all = {.name = "norm of the gradient",
                                  .dtype = CN_DTYPE_F64,
                                  .count = n,
                                  .data = s->squares,
                                  .device = -1};
    CN_TRY(gather(s, &all, s->block));
    *sum = 0;
    for (size_t b = 0; b < n; b++)
        *sum += s->squares[b];
    return CN_OK;
}

enum cn_status shard_gather(const struct shard *s, enum cn_dtype dtype, void *whole)
{
    const struct cn_buffer all = {
        .name = "new weights", .dtype = dtype, .count = s->n, .data = whole, .device = -1};
    return gather(s, &all, s->start);
}

/* Elements [at, at + n), at most WINDOW. */
static enum cn_status collect(const struct shard *s, const float *own, size_t at, size_t n)
{
    const struct cn_buffer all = {.name = "state of the optimizer",
                                  .dtype = CN_DTYPE_F32,
                                  .count = n,
                                  .data = s->window,
                                  .device = -1};
    size_t *start = malloc((s->link.count + 1) * sizeof *start);
    if (!start) return cn_fail(CN_ERR_MEMORY, "out of memory: state of the optimizer");
    for (size_t r = 0; r <= s->link.count; r++)
        start[r] = s->start[r] < at ? 0 : smaller(s->start[r] - at, n);
    const size_t first = start[s->link.index], last = start[s->link.index + 1];
    if (first < last)
        memcpy(s->window + first, own + (at + first - s->begin), (last - first) * sizeof *own);
    enum cn_status status = gather(s, &all, start);
    free(start);
    return status;
}

enum cn_status shard_collect(const struct shard *s, const float *own, size_t at, size_t n,
                             float *out)
{
    CN_BUG_IF(!shard_is_part(s));
    for (size_t i = 0; i < n; i += WINDOW) {
        const size_t some = smaller(n - i, WINDOW);
        CN_TRY(collect(s, own, at + i, some));
        if (out) memcpy(out + i, s->window, some * sizeof *out);
    }
    return CN_OK;
}
