/* Attention of one segment and one key head; included by kernels_*.c once per instruction set.
 *
 * Keys of the prompt and of the segment are put side by side in scratch, transposed, so that the
 * lanes run over keys in Q K^T and over the head dimension in P V.  A block of queries holds its
 * whole row of scores: softmax is exact and needs no rescaling.  Everything is float; sums run in a
 * fixed order. */

enum { QUERY_BLOCK = 32 };

static size_t round_up(size_t n, size_t unit)
{
    return (n + unit - 1) / unit * unit;
}

/* A (m, k) with strides (row, column), B (k, n) and C (m, n) row-major, n a multiple of LANES. */
struct product {
    size_t m, n, k;
    const float *a;
    size_t a_row, a_column;
    const float *b;
    size_t ldb;
    float *c;
    size_t ldc;
    bool add; /* C += A B instead of C = A B */
};

/* C[i..i+rows)[j..j+columns LANES): sums over k stay in registers. */
static inline __attribute__((always_inline)) void tile(const struct product *p, size_t i, size_t j,
                                                       const size_t rows, const size_t columns)
{
    vec sum[TILE_ROWS][2];
    const float *a = p->a + i * p->a_row, *b = p->b + j;
    float *c = p->c + i * p->ldc + j;
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < columns; s++)
            sum[r][s] = p->add ? vec_load(c + r * p->ldc + s * LANES) : (vec){0};
    for (size_t k = 0; k < p->k; k++, b += p->ldb) {
        vec right[2];
        for (size_t s = 0; s < columns; s++)
            right[s] = vec_load(b + s * LANES);
        for (size_t r = 0; r < rows; r++)
            for (size_t s = 0; s < columns; s++)
                sum[r][s] += a[r * p->a_row + k * p->a_column] * right[s];
    }
    for (size_t r = 0; r < rows; r++)
        for (size_t s = 0; s < columns; s++)
            vec_store(c + r * p->ldc + s * LANES, sum[r][s]);
}

static void multiply(const struct product *p)
{
    for (size_t j = 0; j < p->n; j += 2 * LANES) {
        bool pair = p->n - j >= 2 * LANES;
        size_t i = 0;
        if (pair)
            for (; i + TILE_ROWS <= p->m; i += TILE_ROWS)
                tile(p, i, j, TILE_ROWS, 2);
        else
            for (; i + TILE_ROWS <= p->m; i += TILE_ROWS)
                tile(p, i, j, TILE_ROWS, 1);
        for (; i + 2 <= p->m; i += 2)
            if (pair)
                tile(p, i, j, 2, 2);
            else
                tile(p, i, j, 2, 1);
        if (i < p->m) {
            if (pair)
                tile(p, i, j, 1, 2);
            else
                tile(p, i, j, 1, 1);
        }
    }
}

/* Scratch of one task.  D = head_dim and K = keys, both rounded up to LANES. */
struct attention_scratch {
    size_t d, keys, stride;       /* D, keys of this task, K */
    float *key_t, *value_t;       /* (head_dim, K) */
    float *key, *value;           /* (keys, D) */
    float *d_key, *d_value;       /* (keys, D) */
    float *score, *d_score;       /* (QUERY_BLOCK, K) */
    float *query, *d_out, *block; /* (QUERY_BLOCK, D) */
};

static struct attention_scratch attention_layout(const struct kernel_attention *a,
                                                 const struct kernel_segment *s, float *memory)
{
    struct attention_scratch x;
    x.d = round_up(a->head_dim, LANES);
    x.keys = s->parent_length + s->length;
    x.stride = round_up(x.keys, LANES);
    float **parts[] = {&x.key_t, &x.value_t, &x.key, &x.value, &x.d_key, &x.d_value};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++, memory += x.d * x.stride)
        *parts[i] = memory;
    x.score = memory, memory += QUERY_BLOCK * x.stride;
    x.d_score = memory, memory += QUERY_BLOCK * x.stride;
    x.query = memory, memory += QUERY_BLOCK * x.d;
    x.d_out = memory, memory += QUERY_BLOCK * x.d;
    x.block = memory;
    return x;
}

/* Row of the packed matrix that holds key j of segment s. */
static size_t key_row(const struct kernel_segment *s, size_t j)
{
    return j < s->parent_length ? s->parent + j : s->start + (j - s->parent_length);
}

/* rows (N, stride) -> plain (keys, D) and transposed (head_dim, K), zero where nothing is. */
static void gather_keys(const struct kernel_attention *a, const struct kernel_segment *s,
                        const struct attention_scratch *x, const float *rows, size_t stride,
                        float *plain, float *transposed)
{
    const size_t n = a->head_dim;
    for (size_t j = 0; j < x->keys; j++) {
        const float *row = rows + key_row(s, j) * stride;
        if (plain) {
            memcpy(plain + j * x->d, row, n * sizeof *row);
            for (size_t i = n; i < x->d; i++)
                plain[j * x->d + i] = 0;
        }
        if (transposed)
            for (size_t i = 0; i < n; i++)
                transposed[i * x->stride + j] = row[i];
    }
    if (transposed)
        for (size_t i = 0; i < n; i++)
            for (size_t j = x->keys; j < x->stride; j++)
                transposed[i * x->stride + j] = 0;
}

static void gather_block(const float *rows, size_t stride, size_t n, size_t width, size_t padded,
                         float *out)
{
    for (size_t r = 0; r < n; r++) {
        memcpy(out + r * padded, rows + r * stride, width * sizeof *out);
        for (size_t i = width; i < padded; i++)
            out[r * padded + i] = 0;
    }
}

static void scatter_block(const float *block, size_t n, size_t width, size_t padded, float *rows,
                          size_t stride, bool add)
{
    for (size_t r = 0; r < n; r++)
        for (size_t i = 0; i < width; i++)
            rows[r * stride + i] = block[r * padded + i] + (add ? rows[r * stride + i] : 0.0f);
}

/* row[0..n) -> exp(scale row - lse) with lse = log sum exp, or the given one; zero up to `stride`.
 */
static float softmax_row(float *row, size_t n, size_t stride, float scale, const float *known_lse)
{
    float lse;
    for (size_t j = n; j < stride; j++)
        row[j] = -INFINITY; /* vec_exp makes e^-87 of it; overwritten below */
    if (known_lse) {
        lse = *known_lse;
    } else {
        vec top = vec_all(-INFINITY), sum = {0};
        for (size_t j = 0; j < stride; j += LANES)
            top = vec_max(vec_load(row + j) * scale, top);
        float largest = vec_largest(top);
        for (size_t j = 0; j < n; j += LANES) {
            vec e = vec_exp(vec_load(row + j) * scale - largest);
            sum += n - j < LANES ? vec_keep(e, n - j) : e;
        }
        lse = largest + logf(vec_sum(sum));
    }
    for (size_t j = 0; j < n; j += LANES)
        vec_store(row + j, vec_exp(vec_load(row + j) * scale - lse));
    for (size_t j = n; j < stride; j++)
        row[j] = 0;
    return lse;
}

/* Scores of queries [i, i + rows) of one head, then their probabilities. */
static void block_probabilities(const struct kernel_attention *a, const struct kernel_segment *s,
                                const struct attention_scratch *x, size_t head, size_t i,
                                size_t rows, bool known)
{
    const float scale = 1.0f / sqrtf((float)a->head_dim);
    size_t keys = round_up(s->parent_length + i + rows, LANES);
    const float *q = a->q + (s->start + i) * a->q_stride + head * a->head_dim;
    multiply(&(struct product){.m = rows,
                               .n = keys,
                               .k = a->head_dim,
                               .a = q,
                               .a_row = a->q_stride,
                               .a_column = 1,
                               .b = x->key_t,
                               .ldb = x->stride,
                               .c = x->score,
                               .ldc = x->stride});
    for (size_t r = 0; r < rows; r++) {
        float *lse = a->lse + (s->start + i + r) * a->heads + head;
        *lse = softmax_row(x->score + r * x->stride, s->parent_length + i + r + 1, keys, scale,
                           known ? lse : NULL);
    }
}

static void attention_forward(const struct kernel_attention *a, size_t task, float *scratch)
{
    const struct kernel_segment *s = &a->segments[task / a->kv_heads];
    const size_t kv_head = task % a->kv_heads, group = a->heads / a->kv_heads, n = a->head_dim;
    struct attention_scratch x = attention_layout(a, s, scratch);
    gather_keys(a, s, &x, a->k + kv_head * n, a->k_stride, NULL, x.key_t);
    gather_keys(a, s, &x, a->v + kv_head * n, a->v_stride, x.value, NULL);
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t i = 0; i < s->length; i += QUERY_BLOCK) {
            size_t rows = least(QUERY_BLOCK, s->length - i);
            block_probabilities(a, s, &x, head, i, rows, false);
            multiply(&(struct product){.m = rows,
                                       .n = x.d,
                                       .k = s->parent_length + i + rows,
                                       .a = x.score,
                                       .a_row = x.stride,
                                       .a_column = 1,
                                       .b = x.value,
                                       .ldb = x.d,
                                       .c = x.block,
                                       .ldc = x.d});
            scatter_block(x.block, rows, n, x.d, a->out + (s->start + i) * a->heads * n + head * n,
                          a->heads * n, false);
        }
}

/* dS = P (dP - sum over keys of P dP) / sqrt(head_dim), in place of dP.  The sum is d_out . out of
 * the row. */
static void score_gradient(const struct attention_scratch *x, size_t rows, size_t keys, float scale)
{
    for (size_t r = 0; r < rows; r++) {
        const float *p = x->score + r * x->stride;
        float *d = x->d_score + r * x->stride;
        vec dot = {0};
        for (size_t j = 0; j < keys; j += LANES)
            dot += vec_load(p + j) * vec_load(d + j);
        float mean = vec_sum(dot);
        for (size_t j = 0; j < keys; j += LANES)
            vec_store(d + j, vec_load(p + j) * (vec_load(d + j) - mean) * scale);
    }
}

/* One block of queries backwards: d_query of its rows, and its part of d_key and d_value. */
static void attention_block_back(const struct kernel_attention *a, const struct kernel_segment *s,
                                 const struct attention_scratch *x, size_t head, size_t i)
{
    const size_t n = a->head_dim, rows = least(QUERY_BLOCK, s->length - i),
                 keys = s->parent_length + i + rows;
    const size_t first = s->start + i, wide = round_up(keys, LANES);
    block_probabilities(a, s, x, head, i, rows, true);
    gather_block(a->q + first * a->q_stride + head * n, a->q_stride, rows, n, x->d, x->query);
    gather_block(a->d_out + first * a->heads * n + head * n, a->heads * n, rows, n, x->d, x->d_out);
    multiply(&(struct product){.m = rows,
                               .n = wide,
                               .k = n,
                               .a = x->d_out,
                               .a_row = x->d,
                               .a_column = 1,
                               .b = x->value_t,
                               .ldb = x->stride,
                               .c = x->d_score,
                               .ldc = x->stride});
    multiply(&(struct product){.m = keys,
                               .n = x->d,
                               .k = rows,
                               .a = x->score,
                               .a_row = 1,
                               .a_column = x->stride,
                               .b = x->d_out,
                               .ldb = x->d,
                               .c = x->d_value,
                               .ldc = x->d,
                               .add = true});
    score_gradient(x, rows, wide, 1.0f / sqrtf((float)n));
    multiply(&(struct product){.m = rows,
                               .n = x->d,
                               .k = keys,
                               .a = x->d_score,
                               .a_row = x->stride,
                               .a_column = 1,
                               .b = x->key,
                               .ldb = x->d,
                               .c = x->block,
                               .ldc = x->d});
    scatter_block(x->block, rows, n, x->d, a->d_q + first * a->d_stride + head * n, a->d_stride,
                  false);
    multiply(&(struct product){.m = keys,
                               .n = x->d,
                               .k = rows,
                               .a = x->d_score,
                               .a_row = 1,
                               .a_column = x->stride,
                               .b = x->query,
                               .ldb = x->d,
                               .c = x->d_key,
                               .ldc = x->d,
                               .add = true});
}

static void attention_backward(const struct kernel_attention *a, size_t task, float *scratch)
{
    const struct kernel_segment *s = &a->segments[task / a->kv_heads];
    const size_t kv_head = task % a->kv_heads, group = a->heads / a->kv_heads, n = a->head_dim;
    struct attention_scratch x = attention_layout(a, s, scratch);
    gather_keys(a, s, &x, a->k + kv_head * n, a->k_stride, x.key, x.key_t);
    gather_keys(a, s, &x, a->v + kv_head * n, a->v_stride, NULL, x.value_t);
    memset(x.d_key, 0, x.keys * x.d * sizeof(float));
    memset(x.d_value, 0, x.keys * x.d * sizeof(float));
    for (size_t head = kv_head * group; head < (kv_head + 1) * group; head++)
        for (size_t i = 0; i < s->length; i += QUERY_BLOCK)
            attention_block_back(a, s, &x, head, i);
    if (s->parent_length) {
        float *pool = a->pool + s->pool + kv_head * 2 * s->parent_length * n;
        scatter_block(x.d_key, s->parent_length, n, x.d, pool, n, false);
        scatter_block(x.d_value, s->parent_length, n, x.d, pool + s->parent_length * n, n, false);
    }
    const size_t own = s->parent_length * x.d, at = s->start * a->d_stride + kv_head * n;
    scatter_block(x.d_key + own, s->length, n, x.d, a->d_k + at, a->d_stride, false);
    scatter_block(x.d_value + own, s->length, n, x.d, a->d_v + at, a->d_stride, false);
}
