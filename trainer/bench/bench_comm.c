/* carnot bench comm: each collective between the ranks that mpirun started, at several sizes,
 * beside the least that copying its bytes in memory takes: a sum or a gather must bring every rank
 * the share of (P - 1)/P of the bytes (a sum twice: the parts to add, then the results), a
 * broadcast all of them.  The rate of copying is measured on all ranks at once. */
#include "bench.h"

#include "../clock.h"

#include "carnot/comm.h"
#include "carnot/log.h"

#include <stdlib.h>
#include <string.h>

enum { ROUNDS = 4, SIZES = 4 };
static const size_t sizes[SIZES] = {(size_t)1 << 16, (size_t)1 << 20, (size_t)27 << 20,
                                    (size_t)515 << 20}; /* 540 MB: 135M parameters in floats */

struct bench_comm {
    struct cn_comm *comm;
    void *data, *other;
    size_t *start; /* (size + 1) */
};

static enum cn_status sum(const struct bench_comm *b, const struct cn_comm_data *data)
{
    return cn_comm_sum(b->comm, data);
}

static enum cn_status scatter_sum(const struct bench_comm *b, const struct cn_comm_data *data)
{
    return cn_comm_scatter_sum(b->comm, data, b->start);
}

static enum cn_status gather(const struct bench_comm *b, const struct cn_comm_data *data)
{
    return cn_comm_gather(b->comm, data, b->start);
}

static enum cn_status broadcast(const struct bench_comm *b, const struct cn_comm_data *data)
{
    return cn_comm_broadcast(b->comm, data, 0);
}

/* What is compared with the collectives. */
static enum cn_status copy(const struct bench_comm *b, const struct cn_comm_data *data)
{
    memcpy(b->other, data->data, data->count * cn_dtype_size(data->dtype));
    return CN_OK;
}

static const struct collective {
    const char *name;
    enum cn_dtype dtype;
    double shares, whole; /* bytes that a rank must copy: shares (P - 1)/P + whole */
    enum cn_status (*run)(const struct bench_comm *, const struct cn_comm_data *);
} collectives[] = {{"copy", CN_DTYPE_F32, 0, 1, copy},
                   {"sum f32", CN_DTYPE_F32, 2, 0, sum},
                   {"sum i64", CN_DTYPE_I64, 2, 0, sum},
                   {"scatter_sum i64", CN_DTYPE_I64, 1, 0, scatter_sum},
                   {"gather f32", CN_DTYPE_F32, 1, 0, gather},
                   {"broadcast f32", CN_DTYPE_F32, 0, 1, broadcast}};
enum { COLLECTIVES = sizeof collectives / sizeof *collectives };

/* Seconds of the best round, of the rank that takes longest; the first round warms up. */
static enum cn_status measure(const struct bench_comm *b, const struct collective *c, size_t bytes,
                              double *out)
{
    const int ranks = cn_comm_size(b->comm);
    const struct cn_comm_data data = {c->name, c->dtype, b->data, bytes / cn_dtype_size(c->dtype)};
    *out = 1e30;
    for (int r = 0; r <= ranks; r++)
        b->start[r] = data.count * (size_t)r / (size_t)ranks;
    for (int round = 0; round < ROUNDS; round++) {
        CN_TRY(cn_comm_agree(b->comm, "round", CN_OK));
        const double start = clock_seconds();
        CN_TRY(c->run(b, &data));
        double took = clock_seconds() - start;
        const struct cn_comm_data slowest = {"time", CN_DTYPE_F64, &took, 1};
        CN_TRY(cn_comm_max(b->comm, &slowest));
        if (round && took < *out) *out = took;
    }
    return CN_OK;
}

static enum cn_status size_rows(const struct bench_comm *b, size_t bytes)
{
    const double ranks = cn_comm_size(b->comm);
    double rate = 0;
    for (int i = 0; i < COLLECTIVES; i++) {
        const struct collective *c = &collectives[i];
        double took;
        CN_TRY(measure(b, c, bytes, &took));
        if (i == 0) rate = (double)bytes / took;
        const double moved = (double)bytes * (c->shares * (ranks - 1) / ranks + c->whole);
        cn_log_info("comm  %-15s %11zu bytes: %.6f s, %.2f GB/s, %.2f times the copy of %.0f bytes",
                    c->name, bytes, took, 1e-9 * moved / took, took * rate / moved, moved);
    }
    return CN_OK;
}

static enum cn_status all_rows(struct bench_comm *b)
{
    const int ranks = cn_comm_size(b->comm);
    if (ranks < 2)
        return cn_fail(CN_ERR_CONFIG, "bench comm measures between ranks: launch/mpirun -n 2 bench "
                                      "comm");
    b->data = malloc(sizes[SIZES - 1]);
    b->other = malloc(sizes[SIZES - 1]);
    b->start = calloc((size_t)ranks + 1, sizeof *b->start);
    enum cn_status status = CN_OK;
    if (!b->data || !b->other || !b->start)
        status =
            cn_fail(CN_ERR_MEMORY, "bench comm: no memory for twice %zu bytes", sizes[SIZES - 1]);
    CN_TRY(cn_comm_agree(b->comm, "memory", status));
    /* Pages that were never written are one page, which is read from the cache. */
    memset(b->data, 1, sizes[SIZES - 1]);
    memset(b->other, 1, sizes[SIZES - 1]);
    cn_log_info("comm  %d ranks over %s", ranks, cn_comm_name(b->comm));
    for (int i = 0; i < SIZES; i++)
        CN_TRY(size_rows(b, sizes[i]));
    return CN_OK;
}

enum cn_status bench_comm(const struct bench_options *options)
{
    (void)options;
    struct bench_comm b = {0};
    const struct cn_comm_settings settings = {.timeout_s = 60};
    CN_TRY(cn_comm_open(&settings, &b.comm));
    enum cn_status status = cn_comm_close(b.comm, all_rows(&b));
    free(b.data);
    free(b.other);
    free(b.start);
    return status;
}
