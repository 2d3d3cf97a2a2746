/* Loops of the torch back end on the CPU: everything between two matrix products.
 *
 * Each function works on rows (or tasks) [begin, end), so that the caller can spread them over
 * threads; a row's or task's result depends on nothing else, and sums over rows go into one partial
 * sum per block of KERNEL_BLOCK rows that kernel reduce adds in order.  So the bits do not depend
 * on the number of threads.
 *
 * Matrices are row-major floats; N rows are the packed tokens of an atom.  The same source is
 * compiled for several instruction sets (kernels_*.c); torch_kernels_pick chooses one at run time.
 */
#ifndef CARNOT_MODEL_KERNELS_H
#define CARNOT_MODEL_KERNELS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { KERNEL_BLOCK = 64 }; /* rows of one partial sum */

/* RMS norm: out = weight x / sqrt(mean(x^2) + eps).  Zhang & Sennrich 2019, "Root Mean Square Layer
 * Normalization". */
struct kernel_norm {
    size_t width;
    float eps;
    const float *x;      /* (N, width) */
    const float *add;    /* (N, width) or NULL: x + add is what is normalised ... */
    float *sum;          /* ... and stored here; may be x */
    const float *weight; /* (width) */
    float *out;          /* (N, width) */
    float *rstd;         /* (N): 1 / sqrt(...) */
    const float *d_out;  /* backward: (N, width) */
    float *d_x;          /* backward: (N, width), added to */
    float *partial;      /* backward: (blocks, width), overwritten: the block's part of d_weight */
};

/* Optional RMS norm of each query and key head, then the rotation of position (pairs i, i +
 * head_dim / 2). Su et al. 2021, "RoFormer". */
struct kernel_rotate {
    size_t heads, query_heads,
        head_dim;               /* heads: of queries and keys together, first in each row */
    const int32_t *position;    /* (N) */
    const float *cosine, *sine; /* (positions, head_dim / 2) */
    const float *x;             /* (N, x_stride): before */
    float *y;                   /* (N, y_stride): after; may be x if there is no norm */
    size_t x_stride, y_stride;
    const float *query_weight, *key_weight; /* (head_dim) or NULL: no norm */
    float eps;
    float *rstd; /* (N, heads), if there is a norm */
    float *d;    /* backward: (N, d_stride): gradient of y in, of x out */
    size_t d_stride;
    float *partial; /* backward: (blocks, 2, head_dim): parts of d_query_weight, d_key_weight */
};

/* hidden = silu(gate) up, with gate and up side by side in one row.  Shazeer 2020, "GLU Variants".
 */
struct kernel_gated {
    size_t width;
    const float *gate_up; /* (N, 2 width) */
    float *hidden;        /* (N, width); backward makes it again */
    const float *d_hidden;
    float *d_gate_up;
};

/* Rows of a packed atom that attend: queries [start, start + length) see keys [parent, parent +
 * parent_length), the prompt they continue, and their own causally. */
struct kernel_segment {
    size_t start, length, parent, parent_length;
    size_t pool; /* where the parent's key and value gradients of this segment go, in floats */
};

struct kernel_attention {
    const struct kernel_segment *segments;
    size_t heads, kv_heads, head_dim;
    const float *q, *k, *v; /* (N, stride): first head of each */
    size_t q_stride, k_stride, v_stride;
    float *out; /* (N, heads head_dim) */
    float *lse; /* (N, heads): log of the sum of exponentials of a query's scores */
    const float *d_out;
    float *d_q, *d_k, *d_v; /* (N, d_stride) */
    size_t d_stride;
    float *pool; /* per segment with a parent: (kv_heads, 2, parent_length, head_dim) */
};

/* How a head row's restricted entropy is formed, and the result of its forward. */
enum kernel_top { KERNEL_TOP_NONE, KERNEL_TOP_P, KERNEL_TOP_K };
struct kernel_head_row {
    float lse, entropy;
    float top_mass, top_entropy;    /* sum of p over the set S; the channel's value */
    uint32_t top_key;               /* S: logits above this one (as an ordered integer) ... */
    uint32_t top_ties;              /* ... and so many equal to it, lower token ids first */
    float d_logp, d_entropy, d_top; /* backward: sums over the row's tokens of dL/dchannel */
};

struct kernel_head {
    size_t vocab;
    float *logits; /* (rows, vocab); gradient: overwritten by dL/dlogits but for the chosen tokens'
                      own term */
    float scale;   /* 1 / temperature */
    enum kernel_top top;
    double top_amount;
    bool top_renormalised, top_exclusive;
    struct kernel_head_row *rows;
    float
        *spare; /* backward with a top: (rows, vocab), row `begin` is used; may be NULL otherwise */
};

struct kernel_adamw {
    float *weight, *m, *v;
    const float *gradient;
    float clip;  /* factor on the gradient */
    float decay; /* 1 - lr weight_decay */
    float beta1, beta2, epsilon;
    float rate;       /* lr / (1 - beta1^step) */
    float correction; /* 1 / sqrt(1 - beta2^step) */
    uint16_t *half;   /* bf16 copy of the new weights; NULL: none */
};

/* Words x (rows, columns) and their transpose y (columns, rows). */
struct kernel_words {
    size_t rows, columns;
    const uint32_t *x;
    size_t x_stride;
    uint32_t *y;
    size_t y_stride;
};

struct torch_kernels {
    const char *name;
    size_t lanes;
    void (*norm_forward)(const struct kernel_norm *, size_t begin, size_t end);
    void (*norm_apply)(const struct kernel_norm *, size_t begin,
                       size_t end); /* out again, from rstd */
    void (*norm_backward)(const struct kernel_norm *, size_t begin, size_t end); /* one block */
    void (*rotate_forward)(const struct kernel_rotate *, size_t begin, size_t end);
    void (*rotate_backward)(const struct kernel_rotate *, size_t begin, size_t end); /* one block */
    void (*gated_forward)(const struct kernel_gated *, size_t begin, size_t end);
    void (*gated_backward)(const struct kernel_gated *, size_t begin, size_t end);
    /* One block of rows of x (N, stride): sums its first `width` columns into partial. */
    void (*column_sum)(const float *x, size_t stride, size_t width, size_t rows, float *partial);
    /* out[begin..end) += sum over blocks, in order, of partial (blocks, stride). */
    void (*reduce)(const float *partial, size_t blocks, size_t stride, float *out, size_t begin,
                   size_t end);
    /* Task t = segment t / kv_heads, key head t % kv_heads; scratch of torch_attention_scratch
     * floats. */
    void (*attention_forward)(const struct kernel_attention *, size_t task, float *scratch);
    void (*attention_backward)(const struct kernel_attention *, size_t task, float *scratch);
    void (*head_forward)(const struct kernel_head *, size_t begin, size_t end);
    void (*head_backward)(const struct kernel_head *, size_t begin, size_t end);
    void (*adamw)(const struct kernel_adamw *, size_t begin, size_t end);
    double (*sum_squares)(const float *x, size_t n);
    void (*to_bf16)(const float *x, uint16_t *out, size_t n); /* to nearest even */
    void (*from_bf16)(const uint16_t *x, float *out, size_t n);
    void (*add_bf16)(const uint16_t *x, float *out, size_t n); /* out += x */
    /* Two rows of n as bf16 side by side: out[i] = even[i] | odd[i] << 16. */
    void (*pairs)(const float *even, const float *odd, uint32_t *out, size_t n);
    void (*pairs_of_halves)(const uint16_t *even, const uint16_t *odd, uint32_t *out, size_t n);
    void (*transpose)(const struct kernel_words *);
};

/* Floats of scratch for segments of at most `length` rows that see at most `keys` keys. */
size_t torch_attention_scratch(size_t head_dim, size_t keys);

/* The best set of this machine, or the named one ("portable", "avx2", "avx512"; NULL if it cannot
 * run here). */
const struct torch_kernels *torch_kernels_pick(const char *name);

extern const struct torch_kernels torch_kernels_portable, torch_kernels_avx2, torch_kernels_avx512;

#ifdef __cplusplus
}
#endif
#endif
