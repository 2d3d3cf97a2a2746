/* Sums of gradients in fixed point. */
#include "gradient_sum.h"

#include "../model/decode/pool.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    BLOCK = 4096, /* elements looked at together */
    BUCKET =
        25 * (1 << 20) / 4, /* floats whose sum begins together; at the end up to twice as many */
    PLAIN = 0x43000000 /* bits of 128: below it, the conversion needs no check (see `add_plain`) */
};

/* Elements of a gradient that lie together; the first of them is element `at` of the sum. */
struct piece {
    size_t at, n;
    float *data;
};

struct gradient_sum {
    struct gradient_sum_options options;
    struct pool *pool;
    struct cn_buffer array[2]; /* the model's gradient: flat space and value head */
    size_t n_arrays;
    struct cn_buffer fixed; /* exact: integers of the flat space, if the model keeps them */
    size_t first, n;        /* the first array whose integers are here; elements of all of these */
    int64_t *sum;           /* (n), the arrays end to end; floats: NULL */
    size_t *start[2];       /* (ranks + 1) shares of each array */
    double limit;           /* largest element that n_atoms of them cannot overflow */
    bool *spoiled;          /* (threads) an element that does not fit was met */
    struct piece range;     /* what all threads read or copy */
    struct cn_ready ready;
    size_t n_buckets, next; /* of floats; those that have begun */
    enum cn_status begun;   /* how beginning went */
};

/* ---- adding -------------------------------------------------------------- */

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

static void add_piece(struct gradient_sum *g, size_t thread, const struct piece *p)
{
    for (size_t i = 0; i < p->n; i += BLOCK) {
        const size_t n = p->n - i < BLOCK ? p->n - i : BLOCK;
        if (!take_block(g->sum + p->at + i, p->data + i, n, g->limit)) g->spoiled[thread] = true;
    }
}

/* This thread's part of a piece: whole blocks. */
static struct piece part_of(const struct gradient_sum *g, const struct piece *p, size_t thread)
{
    size_t begin, end;
    pool_split((p->n + BLOCK - 1) / BLOCK, thread, g->options.threads, &begin, &end);
    begin *= BLOCK;
    end = end * BLOCK < p->n ? end * BLOCK : p->n;
    return (struct piece){p->at + begin, end - begin, p->data + begin};
}

/* A whole array. */
static struct piece array_of(const struct gradient_sum *g, size_t a)
{
    const size_t at = a > g->first ? g->array[0].count : 0;
    return (struct piece){at, g->array[a].count, g->array[a].data};
}

static void add_thread(void *self, size_t thread)
{
    struct gradient_sum *g = self;
    for (size_t a = g->first; a < g->n_arrays; a++) {
        const struct piece whole = array_of(g, a), part = part_of(g, &whole, thread);
        add_piece(g, thread, &part);
    }
}

enum cn_status gradient_sum_add(struct gradient_sum *g)
{
    if (!g->options.exact) return CN_OK;
    pool_run(g->pool, add_thread, g);
    return g->first ? cn_model_fixed_add(g->options.model, g->limit) : CN_OK;
}

/* ---- reading ------------------------------------------------------------- */

static void read_thread(void *self, size_t thread)
{
    struct gradient_sum *g = self;
    const struct piece p = part_of(g, &g->range, thread);
    for (size_t i = 0; i < p.n; i++)
        p.data[i] = (float)((double)g->sum[p.at + i] * CN_FIXED_UNIT);
}

/* The sums of other ranks' shares come as floats, which lie in the memory of the integers. */
static void copy_thread(void *self, size_t thread)
{
    struct gradient_sum *g = self;
    const struct piece p = part_of(g, &g->range, thread);
    const size_t from = (size_t)(p.data - g->range.data);
    memcpy(p.data, (const float *)(const void *)(g->sum + g->range.at) + from,
           p.n * sizeof *p.data);
}

/* Own share of an array, integers to floats in place: element i is written below where it is read.
 */
static void halve(struct gradient_sum *g, size_t a)
{
    const int rank = cn_comm_rank(g->options.comm);
    char *bytes = (char *)(g->sum + array_of(g, a).at);
    for (size_t i = g->start[a][rank]; i < g->start[a][rank + 1]; i++) {
        int64_t whole;
        memcpy(&whole, bytes + i * sizeof whole, sizeof whole);
        const float value = (float)((double)whole * CN_FIXED_UNIT);
        memcpy(bytes + i * sizeof value, &value, sizeof value);
    }
}

/* A sum that does not fit, on any rank, is no number on all of them. */
static enum cn_status check_spoiled(struct gradient_sum *g, bool *spoiled)
{
    bool fits = true;
    if (g->first) CN_TRY(cn_model_fixed(g->options.model, &g->fixed, &fits));
    double flag = !fits;
    for (size_t i = 0; i < g->options.threads; i++)
        if (g->spoiled[i]) flag = 1;
    const struct cn_comm_data data = {"gradient's range", CN_DTYPE_F64, &flag, 1};
    CN_TRY(cn_comm_max(g->options.comm, &data));
    *spoiled = flag > 0;
    return CN_OK;
}

/* Whether this rank needs its own share of array `a` only. */
static bool own_only(const struct gradient_sum *g, size_t a)
{
    return a == 0 && g->options.sharded;
}

/* The last bucket, which is the largest, goes last: norms and biases of all layers are in it. */
static struct piece bucket_of(const struct gradient_sum *g, size_t index)
{
    const size_t last = g->n_buckets - 1, k = index < last ? last - 1 - index : last;
    const size_t begin = k * BUCKET, n = k < last ? BUCKET : g->array[0].count - begin;
    return (struct piece){begin, n, (float *)g->array[0].data + begin};
}

static enum cn_status begin_bucket(struct gradient_sum *g)
{
    const struct piece p = bucket_of(g, g->next++);
    const struct cn_comm_data data = {"gradient", CN_DTYPE_F32, p.data, p.n};
    return cn_comm_sum_begin(g->options.comm, &data);
}

/* Of the model's last backward: [begin, end) will not change any more. */
static void take_ready(void *self, size_t begin, size_t end)
{
    struct gradient_sum *g = self;
    while (g->begun == CN_OK && g->next + 1 < g->n_buckets) {
        const struct piece p = bucket_of(g, g->next);
        if (p.at < begin || p.at + p.n > end) break;
        g->begun = begin_bucket(g);
    }
    cn_comm_progress(g->options.comm);
}

const struct cn_ready *gradient_sum_ready(struct gradient_sum *g)
{
    return g->n_buckets ? &g->ready : NULL;
}

enum cn_status gradient_sum_flush(struct gradient_sum *g)
{
    CN_TRY(g->begun);
    while (g->next < g->n_buckets)
        CN_TRY(begin_bucket(g));
    return CN_OK;
}

/* A sum where the data lie. */
static enum cn_status sum_on(struct gradient_sum *g, int device, const struct cn_comm_data *data)
{
    return device < 0 ? cn_comm_sum(g->options.comm, data)
                      : cn_comm_device_sum(g->options.comm, data);
}

static enum cn_status end_floats(struct gradient_sum *g)
{
    for (size_t a = g->n_arrays; a-- > 0;) {
        const struct cn_comm_data data = {"gradient", CN_DTYPE_F32, g->array[a].data,
                                          g->array[a].count};
        if (a == 0 && g->n_buckets) return cn_comm_sum_finish(g->options.comm, "gradient");
        CN_TRY(own_only(g, a) ? cn_comm_scatter_sum(g->options.comm, &data, g->start[a])
                              : sum_on(g, g->array[a].device, &data));
    }
    return CN_OK;
}

static enum cn_status end_integers(struct gradient_sum *g, size_t a)
{
    const int rank = cn_comm_rank(g->options.comm);
    const size_t *start = g->start[a];
    g->range = array_of(g, a);
    const struct cn_comm_data whole = {"gradient", CN_DTYPE_I64, g->sum + g->range.at, g->range.n};
    CN_TRY(cn_comm_scatter_sum(g->options.comm, &whole, start));
    if (own_only(g, a) || cn_comm_size(g->options.comm) == 1) {
        g->range.at += start[rank];
        g->range.data += start[rank];
        g->range.n = start[rank + 1] - start[rank];
        pool_run(g->pool, read_thread, g);
        return CN_OK;
    }
    halve(g, a);
    const struct cn_comm_data halved = {"gradient", CN_DTYPE_F32, whole.data, whole.count};
    CN_TRY(cn_comm_gather(g->options.comm, &halved, start));
    pool_run(g->pool, copy_thread, g);
    return CN_OK;
}

/* The same where the model keeps the integers. */
static enum cn_status end_fixed(struct gradient_sum *g)
{
    const struct cn_comm_data data = {"gradient", CN_DTYPE_I64, g->fixed.data, g->fixed.count};
    CN_TRY(sum_on(g, g->fixed.device, &data));
    return cn_model_fixed_read(g->options.model, true);
}

/* The step is skipped: the gradient is not finite. */
static enum cn_status spoil(struct gradient_sum *g)
{
    for (size_t a = g->first; a < g->n_arrays; a++)
        if (g->array[a].count) ((float *)g->array[a].data)[0] = NAN;
    return g->first ? cn_model_fixed_read(g->options.model, false) : CN_OK;
}

enum cn_status gradient_sum_end(struct gradient_sum *g, bool wanted)
{
    bool spoiled;
    if (!g->options.exact) return end_floats(g);
    if (!wanted) return CN_OK;
    CN_TRY(check_spoiled(g, &spoiled));
    if (spoiled) return spoil(g);
    if (g->first) CN_TRY(end_fixed(g));
    for (size_t a = g->first; a < g->n_arrays; a++)
        CN_TRY(end_integers(g, a));
    return CN_OK;
}

/* ---- begin, open, close -------------------------------------------------- */

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
    g->next = 0;
    g->begun = CN_OK;
    if (!g->options.exact) return CN_OK;
    pool_run(g->pool, clear_thread, g);
    memset(g->spoiled, 0, g->options.threads * sizeof *g->spoiled);
    g->limit = 0x1p62 / 0x1p44 / (double)(n_atoms ? n_atoms : 1);
    return CN_OK;
}

/* Where the ranks' shares of each array begin. */
static enum cn_status share_out(struct gradient_sum *g)
{
    const size_t ranks = (size_t)cn_comm_size(g->options.comm);
    for (size_t a = 0; a < g->n_arrays; a++) {
        g->start[a] = calloc(ranks + 1, sizeof **g->start);
        if (!g->start[a]) return cn_fail(CN_ERR_MEMORY, "out of memory: sum of gradients");
        for (size_t r = 0; r <= ranks; r++)
            g->start[a][r] = g->array[a].count * r / ranks;
    }
    if (g->options.sharded) cn_shard_start(g->array[0].count, ranks, g->start[0]);
    return CN_OK;
}

/* Where the arrays lie, and who keeps their integers. */
static enum cn_status settle_device(struct gradient_sum *g)
{
    bool fits;
    CN_TRY(cn_model_flat_gradient(g->options.model, g->array, &g->n_arrays));
    if (g->options.exact) CN_TRY(cn_model_fixed(g->options.model, &g->fixed, &fits));
    g->first = g->fixed.count > 0;
    CN_BUG_IF(g->options.exact && g->array[0].device >= 0 && !g->first);
    for (size_t a = g->first; a < g->n_arrays; a++)
        g->n += g->array[a].count;
    if (g->array[0].device < 0) return CN_OK;
    return cn_comm_device_open(g->options.comm, g->array[0].device);
}

enum cn_status gradient_sum_open(const struct gradient_sum_options *options,
                                 struct gradient_sum **out)
{
    struct gradient_sum *g = calloc(1, sizeof *g);
    enum cn_status status;
    if (!g) return cn_fail(CN_ERR_MEMORY, "out of memory: sum of gradients");
    g->options = *options;
    CN_TRY_GOTO(settle_device(g), out);
    CN_TRY_GOTO(share_out(g), out);
    g->ready = (struct cn_ready){take_ready, g};
    if (!options->exact && !options->sharded && cn_comm_size(options->comm) > 1 &&
        g->array[0].device < 0)
        g->n_buckets = g->array[0].count < BUCKET ? 1 : g->array[0].count / BUCKET;
    g->spoiled = calloc(options->threads, sizeof *g->spoiled);
    g->sum = options->exact ? malloc((g->n + 1) * sizeof *g->sum) : NULL;
    if (!g->spoiled || (options->exact && !g->sum))
        CN_TRY_GOTO(cn_fail(CN_ERR_MEMORY,
                            "out of memory: %zu bytes for exact sums of the gradient; "
                            "run.deterministic=false does without",
                            g->n * sizeof *g->sum),
                    out);
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
    free(g->start[0]);
    free(g->start[1]);
    free(g);
}
