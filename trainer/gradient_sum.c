/* Sums of gradients in fixed point. */
#include "gradient_sum.h"

#include "model/decode/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    SCALE = 44,        /* an integer counts 2^-SCALE */
    BLOCK = 4096,      /* elements looked at together */
    PLAIN = 0x43000000 /* bits of 128: below it, the conversion needs no check (see `add_plain`) */
};

struct gradient_sum {
    struct gradient_sum_options options;
    struct pool *pool;
    const struct cn_buffer *buffers; /* of the model */
    size_t n_buffers, n;             /* elements in all */
    int64_t *sum;                    /* (n), the buffers end to end; NULL: floats */
    size_t *start;                   /* (ranks + 1) shares of the sum */
    double limit;                    /* largest element that n_atoms of them cannot overflow */
    bool *spoiled;                   /* (threads) an element that does not fit was met */
};

/* ---- adding -----------------------------------------------------------------------------------
 */

static uint32_t bits_of(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits & 0x7fffffff;
}

/* |x| < 128, so |x| 2^44 < 2^51: adding 1.5 2^52 rounds to an integer, which then stands in the low
 * bits of the double. */
static void add_plain(int64_t *sum, const float *x, size_t n)
{
    const double shift = 6755399441055744.0;
    int64_t zero;
    memcpy(&zero, &shift, sizeof zero);
    for (size_t i = 0; i < n; i++) {
        const double shifted = (double)x[i] * 0x1p44 + shift;
        int64_t bits;
        memcpy(&bits, &shifted, sizeof bits);
        sum[i] += bits - zero;
    }
}

static bool add_checked(int64_t *sum, const float *x, size_t n, double limit)
{
    bool fits = true;
    for (size_t i = 0; i < n; i++)
        if (fabs((double)x[i]) < limit)
            sum[i] += llrint((double)x[i] * 0x1p44);
        else
            fits = false; /* NaN comes here too */
    return fits;
}

/* Takes n elements of a gradient, at most BLOCK. */
static bool take_block(int64_t *sum, float *x, size_t n, double limit)
{
    uint32_t largest = 0;
    for (size_t i = 0; i < n; i++) {
        const uint32_t bits = bits_of(x[i]);
        largest = bits > largest ? bits : largest;
    }
    if (!largest) return true; /* rows of the embedding that did not occur */
    bool fits = true;
    if (largest < PLAIN && limit >= 128)
        add_plain(sum, x, n);
    else
        fits = add_checked(sum, x, n, limit);
    memset(x, 0, n * sizeof *x);
    return fits;
}

/* Calls `work` for this thread's part of each buffer: element `at` of the sum is data[0]. */
struct piece {
    size_t at, n;
    float *data;
};

static void each_piece(struct gradient_sum *g, size_t thread,
                       void (*work)(struct gradient_sum *, size_t thread, const struct piece *))
{
    size_t begin, end, at = 0;
    pool_split((g->n + BLOCK - 1) / BLOCK, thread, g->options.threads, &begin, &end);
    begin *= BLOCK;
    end *= BLOCK;
    for (size_t b = 0; b < g->n_buffers; at += g->buffers[b++].count) {
        const size_t count = g->buffers[b].count;
        const size_t first = begin > at ? begin - at : 0, last = end > at ? end - at : 0;
        const size_t stop = last < count ? last : count;
        if (first >= stop) continue;
        const struct piece piece = {at + first, stop - first, (float *)g->buffers[b].data + first};
        work(g, thread, &piece);
    }
}

static void add_piece(struct gradient_sum *g, size_t thread, const struct piece *p)
{
    for (size_t i = 0; i < p->n; i += BLOCK) {
        const size_t n = p->n - i < BLOCK ? p->n - i : BLOCK;
        if (!take_block(g->sum + p->at + i, p->data + i, n, g->limit)) g->spoiled[thread] = true;
    }
}

static void add_thread(void *self, size_t thread)
{
    each_piece(self, thread, add_piece);
}

enum cn_status gradient_sum_add(struct gradient_sum *g)
{
    if (g->sum) pool_run(g->pool, add_thread, g);
    return CN_OK;
}

/* ---- reading ----------------------------------------------------------------------------------
 */

static void read_piece(struct gradient_sum *g, size_t thread, const struct piece *p)
{
    (void)thread;
    for (size_t i = 0; i < p->n; i++)
        p->data[i] = (float)((double)g->sum[p->at + i] * 0x1p-44);
}

static void read_thread(void *self, size_t thread)
{
    each_piece(self, thread, read_piece);
}

/* The sums of other ranks' shares come as floats, which lie in the memory of the integers. */
static void copy_piece(struct gradient_sum *g, size_t thread, const struct piece *p)
{
    (void)thread;
    memcpy(p->data, (const char *)g->sum + p->at * sizeof(float), p->n * sizeof(float));
}

static void copy_thread(void *self, size_t thread)
{
    each_piece(self, thread, copy_piece);
}

/* Own share, integers to floats in place: element i is written below where it is read. */
static void halve(struct gradient_sum *g)
{
    const int rank = cn_comm_rank(g->options.comm);
    char *bytes = (char *)g->sum;
    for (size_t i = g->start[rank]; i < g->start[rank + 1]; i++) {
        int64_t whole;
        memcpy(&whole, bytes + i * sizeof whole, sizeof whole);
        const float value = (float)((double)whole * 0x1p-44);
        memcpy(bytes + i * sizeof value, &value, sizeof value);
    }
}

/* A sum that does not fit, on any rank, is no number on all of them. */
static enum cn_status check_spoiled(struct gradient_sum *g, bool *spoiled)
{
    double flag = 0;
    for (size_t i = 0; i < g->options.threads; i++)
        if (g->spoiled[i]) flag = 1;
    const struct cn_comm_data data = {"gradient's range", CN_DTYPE_F64, &flag, 1};
    CN_TRY(cn_comm_max(g->options.comm, &data));
    *spoiled = flag > 0;
    return CN_OK;
}

static enum cn_status end_floats(struct gradient_sum *g)
{
    for (size_t b = g->n_buffers; b-- > 0;) {
        const struct cn_comm_data data = {"gradient", CN_DTYPE_F32, g->buffers[b].data,
                                          g->buffers[b].count};
        CN_TRY(cn_comm_sum(g->options.comm, &data));
    }
    return CN_OK;
}

enum cn_status gradient_sum_end(struct gradient_sum *g)
{
    bool spoiled;
    if (!g->sum) return end_floats(g);
    CN_TRY(check_spoiled(g, &spoiled));
    if (spoiled) {
        for (size_t b = 0; b < g->n_buffers; b++) /* the step is skipped: it is not finite */
            if (g->buffers[b].count) ((float *)g->buffers[b].data)[0] = NAN;
        return CN_OK;
    }
    if (cn_comm_size(g->options.comm) == 1) {
        pool_run(g->pool, read_thread, g);
        return CN_OK;
    }
    const struct cn_comm_data whole = {"gradient", CN_DTYPE_I64, g->sum, g->n};
    CN_TRY(cn_comm_scatter_sum(g->options.comm, &whole, g->start));
    halve(g);
    const struct cn_comm_data halved = {"gradient", CN_DTYPE_F32, g->sum, g->n};
    CN_TRY(cn_comm_gather(g->options.comm, &halved, g->start));
    pool_run(g->pool, copy_thread, g);
    return CN_OK;
}

/* ---- begin, open, close -----------------------------------------------------------------------
 */

static void clear_thread(void *self, size_t thread)
{
    struct gradient_sum *g = self;
    size_t begin, end;
    pool_split(g->n, thread, g->options.threads, &begin, &end);
    memset(g->sum + begin, 0, (end - begin) * sizeof *g->sum);
}

enum cn_status gradient_sum_begin(struct gradient_sum *g, size_t n_atoms)
{
    CN_TRY(cn_model_zero_gradients(g->options.model));
    if (!g->sum) return CN_OK;
    pool_run(g->pool, clear_thread, g);
    memset(g->spoiled, 0, g->options.threads * sizeof *g->spoiled);
    g->limit = 0x1p62 / 0x1p44 / (double)(n_atoms ? n_atoms : 1);
    return CN_OK;
}

enum cn_status gradient_sum_open(const struct gradient_sum_options *options,
                                 struct gradient_sum **out)
{
    const size_t ranks = (size_t)cn_comm_size(options->comm);
    struct gradient_sum *g = calloc(1, sizeof *g);
    enum cn_status status;
    if (!g) return cn_fail(CN_ERR_MEMORY, "out of memory: sum of gradients");
    g->options = *options;
    CN_TRY_GOTO(cn_model_gradients(options->model, &g->buffers, &g->n_buffers), out);
    for (size_t b = 0; b < g->n_buffers; b++)
        g->n += g->buffers[b].count;
    g->start = calloc(ranks + 1, sizeof *g->start);
    g->spoiled = calloc(options->threads, sizeof *g->spoiled);
    g->sum = options->exact ? malloc(g->n * sizeof *g->sum) : NULL;
    if (!g->start || !g->spoiled || (options->exact && !g->sum))
        CN_TRY_GOTO(cn_fail(CN_ERR_MEMORY,
                            "out of memory: %zu bytes for exact sums of the gradient; "
                            "run.deterministic=false does without",
                            g->n * sizeof *g->sum),
                    out);
    for (size_t r = 0; r <= ranks; r++)
        g->start[r] = g->n * r / ranks;
    CN_TRY_GOTO(pool_open(options->threads, &g->pool), out);
    *out = g;
    return CN_OK;
out:
    gradient_sum_close(g);
    return status;
}

void gradient_sum_close(struct gradient_sum *g)
{
    if (!g) return;
    if (g->pool) pool_close(g->pool);
    free(g->sum);
    free(g->spoiled);
    free(g->start);
    free(g);
}
