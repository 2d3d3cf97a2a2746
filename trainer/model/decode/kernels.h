/* Loops of the decode engine, compiled once per instruction set (kernels_*.c) and chosen at run
 * time.
 *
 * The promise behind every one of them: a row's result depends on that row alone.  A matrix product
 * forms each output as ONE chain of multiply-adds over k = 0, 1, 2 ...; vectors hold different
 * outputs or different rows, never parts of one sum.  So neither the number of rows, nor a row's
 * place, nor the split over threads changes a bit.
 *
 * Rows of activations are row-major floats; `packed` input is what kernels->pack makes of them for
 * the products. */
#ifndef CARNOT_DECODE_KERNELS_H
#define CARNOT_DECODE_KERNELS_H

#include "choose.h"

enum {
    KERNEL_COLUMNS = 16,    /* outputs of a matrix product that belong to one thread */
    KERNEL_TOKENS = 32,     /* tokens of one block of the cache */
    KERNEL_KEY_TOKENS = 16, /* keys of so many lie together: a block begun is not read to its end */
    KERNEL_QUERIES = 4,     /* of a row that are attended to side by side */
    KERNEL_HEAD_UNIT = 16,  /* head_dim in the cache is rounded up to this */
    KERNEL_ROW_UNIT = 32,   /* packed input has room for rows rounded up to this */
    KERNEL_DEPTH_UNIT =
        32 /* k of a packed BF16 matrix and its input is rounded up to this, zeros */
};

/* One matrix of a product: out[r, j] (+)= bias[j] + sum_k input[r, k] weights[j, k], j < n. */
struct kernel_part {
    const void *weights; /* F32: row-major (n, k), in place; BF16: made by pack_weights */
    const float *bias;   /* (n) or NULL */
    size_t n;
    float *out; /* (rows, stride) */
    size_t stride;
    bool add; /* add to what is there */
};

struct kernel_product {
    const void *input; /* packed (rows, k) */
    size_t rows, k;
    const struct kernel_part *parts;
    size_t n_parts;
    const void *then; /* weights that this thread will want next: asked for in time; or NULL */
};

/* A rectangle of input of a product: columns [column, column_end) of rows [row, row_end). */
struct kernel_pack {
    const float *in; /* (rows, stride) */
    size_t stride;
    void *out;
    size_t rows, k; /* of the whole input */
    size_t row, row_end, column, column_end;
};

/* Packs rows [16 begin, 16 end) of a matrix (n, k) for a BF16 product, rounding to nearest even. */
struct kernel_weights {
    const void *in; /* row-major (n, k) */
    bool in_bf16;   /* else floats */
    uint16_t *out;  /* kernel_weights_count elements in all */
    size_t n, k;
};

/* Heads of one row: RMS norm of the head if norm is not NULL, then the rotation of its position. */
struct kernel_rotate {
    float *x; /* (heads, head_dim), in place */
    size_t heads, head_dim;
    const float *norm; /* (head_dim) or NULL */
    float eps;
    const float *cosine, *sine; /* (head_dim / 2) of the position */
};

/* Where one token's key and value of one head go: block layout key (2, head_unit, 16), value
 * (32, head_unit). */
struct kernel_keep {
    const float *key, *value; /* (head_dim) */
    void *key_block, *value_block;
    size_t at; /* token within the block */
    size_t head_dim, head_unit;
    bool bf16;
};

/* Queries of rows, each with the past of its own slot. */
struct kernel_attention {
    const float *q; /* (rows, q_stride): heads first */
    size_t q_stride;
    float *out; /* (rows, out_stride) */
    size_t out_stride;
    size_t group; /* query heads per key head */
    size_t head_dim, head_unit;
    float scale;
    bool bf16;
    const char *cache;  /* first block, at this layer's first head */
    size_t block_bytes; /* from one block to the next */
    size_t head_bytes;  /* from one key head to the next; keys first, values in the second half */
    const uint32_t *const *table; /* per row: its blocks */
    const size_t *length;         /* per row: tokens it sees, itself included */
};

/* Key heads and rows that are attended to in one call. */
struct kernel_piece {
    size_t kv_head, kv_head_end, row, row_end;
};

struct kernels {
    const char *name;
    struct choose_loops choose;
    /* Column blocks [begin, end) of 16 outputs, counted over the parts one after the other; each
     * part starts a block. */
    void (*product)(const struct kernel_product *, size_t begin, size_t end);
    void (*product_bf16)(const struct kernel_product *, size_t begin, size_t end);
    void (*pack)(const struct kernel_pack *);
    void (*pack_bf16)(const struct kernel_pack *);
    void (*pack_weights)(const struct kernel_weights *, size_t begin, size_t end);
    void (*norm)(const float *x, const float *weight, size_t n, float eps, float *out);
    void (*rotate)(const struct kernel_rotate *);
    void (*keep)(const struct kernel_keep *);
    /* gate = silu(gate) up, n elements. */
    void (*gated)(float *gate, const float *up, size_t n);
    /* scratch: kernel_attention_scratch floats.  Rows whose tables begin with the same blocks
     * should be neighbours: the block is then read from memory once. */
    void (*attention)(const struct kernel_attention *, const struct kernel_piece *, float *scratch);
};

static inline size_t kernel_round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* Rows k of a packed BF16 matrix. */
static inline size_t kernel_depth(size_t k)
{
    return kernel_round_up(k, KERNEL_DEPTH_UNIT);
}

static inline size_t kernel_blocks(size_t n)
{
    return (n + KERNEL_COLUMNS - 1) / KERNEL_COLUMNS;
}

/* uint16_t elements of a packed BF16 matrix (n, k). */
static inline size_t kernel_weights_count(size_t n, size_t k)
{
    return kernel_blocks(n) * KERNEL_COLUMNS * kernel_depth(k);
}

/* Key heads of a piece: as many as fill KERNEL_QUERIES queries, which are computed side by side. */
static inline size_t kernel_heads(size_t group, size_t kv_heads)
{
    const size_t fill = group < KERNEL_QUERIES ? KERNEL_QUERIES / group : 1;
    return fill < kv_heads ? fill : kv_heads;
}

/* queries: of a row, over all key heads of the piece. */
static inline size_t kernel_attention_scratch(size_t rows, size_t queries, size_t head_unit)
{
    return rows * queries * (head_unit + 2);
}

/* Bytes of packed input (rows, k), either dtype. */
static inline size_t kernel_pack_bytes(size_t rows, size_t k)
{
    return kernel_round_up(rows, KERNEL_ROW_UNIT) * kernel_depth(k) * sizeof(float);
}

/* The best set of this machine (isa NULL), or the named one: "portable", "avx2", "avx512f",
 * "avx512bf16", "amx"; "avx512" is the better of the two that begin with it. Fails: CN_ERR_CONFIG
 * if the name is unknown or this processor lacks it. */
enum cn_status kernels_pick(const char *isa, const struct kernels **out);

extern const struct kernels decode_kernels_portable, decode_kernels_avx2, decode_kernels_avx512f,
    decode_kernels_avx512bf16, decode_kernels_amx;

#endif
