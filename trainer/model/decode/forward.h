/* One pass of rows through the layers.  Private to the decode engine. */
#ifndef CARNOT_DECODE_FORWARD_H
#define CARNOT_DECODE_FORWARD_H

#include "cache.h"
#include "weights.h"

#include <stdatomic.h>

enum {
    PASS_ROWS = 128,      /* most rows of one pass */
    HEAD_ROWS = 64,       /* rows whose logits exist at a time */
    ATTENTION_CHUNK = 16, /* most rows of one piece of attention */
    FEW_ROWS_MAX =
        4 /* so few rows: every thread normalises them for itself, which saves a barrier */
};

/* What stays the same over passes. */
struct machine {
    const struct model_shape *shape;
    const struct kernels *kernels;
    struct pool *pool, *alone; /* `alone` has one thread, whoever uses it */
    struct pool *meet; /* all threads, in a slice of rows too: there for the keys of others */
    struct weights weights;
    struct cache cache;
    bool bf16, small;                   /* small: rows are shared out rather than outputs */
    size_t head_unit;                   /* head_dim in the cache */
    size_t head_rows;                   /* rows whose logits exist at a time, <= HEAD_ROWS */
    float *cosine, *sine;               /* (context, head_dim / 2) */
    float *x, *normed, *qkv, *attended; /* (PASS_ROWS, ...) activations */
    float *gate, *up;
    void *packed, *packed_gate; /* inputs of products */
    float *logits;              /* (HEAD_ROWS, vocab) */
    char *scratch; /* per thread: normed rows, and where attention's and packed begin */
    size_t attention_at, packed_at;
    size_t scratch_bytes;     /* of one thread */
    atomic_size_t *next_item; /* (threads, layers): attention's next piece of work */
    struct cn_arena arena;
};

/* One token of one slot. */
struct row {
    int32_t token;
    uint32_t slot;
    size_t position; /* of the token */
    size_t index;    /* the caller's */
};

struct pass {
    struct machine *machine;
    const struct row *rows;
    size_t n;      /* <= PASS_ROWS */
    bool distinct; /* every row belongs to another slot */
    /* Called once for each row with its logits (vocab), by any thread; NULL: only keys and values
     * are wanted. */
    void (*sink)(const struct pass *pass, size_t row, const float *logits, void *context);
    void *context;
    const uint32_t *table[PASS_ROWS]; /* filled by forward_run */
    size_t length[PASS_ROWS];
    size_t chunk; /* rows of one piece of attention */
};

/* Allocates everything but weights and cache (machine.c).  Fails: CN_ERR_MEMORY. */
enum cn_status machine_open(struct machine *m, size_t context);

/* Computes the rows: their keys and values are added to the cache (whose slots were extended
 * before), logits go to the sink. */
void forward_run(struct pass *pass);

#endif
