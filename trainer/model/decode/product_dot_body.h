/* Products with BF16 weights through the processor's dot product of pairs: one chain acc = dot(x
 * pair, w pair) + acc over k / 2.  Included by kernels_bf16_avx512.c.
 *
 * Packed weights: bf16_body.h.  Packed input: row-major words of two bf16, k rounded up to
 * KERNEL_DEPTH_UNIT with zeros. */

static void pack_bf16(const struct kernel_pack *p)
{
    const size_t depth = kernel_depth(p->k);
    for (size_t r = p->row; r < p->row_end; r++) {
        uint16_t *out = (uint16_t *)p->out + r * depth;
        const float *in = p->in + r * p->stride;
        size_t c = p->column;
        for (; c + LANES <= p->column_end; c += LANES) {
            __m256bh half = _mm512_cvtneps_pbh(vf_load(in + c));
            memcpy(out + c, &half, sizeof half);
        }
        for (; c < p->column_end; c++)
            out[c] = bf16_round(in[c]);
        if (p->column_end == p->k) memset(out + p->k, 0, (depth - p->k) * sizeof *out);
    }
}

enum { DOT_ROWS = 8, DOT_BLOCKS = 3 };

INLINE __m512bh dot_pair(uint32_t word)
{
    return (__m512bh)_mm512_set1_epi32((int32_t)word);
}

/* `rows` rows from `row` on x `blocks` blocks of 16 outputs from j on (constants after inlining).
 */
struct dot {
    const struct kernel_product *product;
    const struct kernel_part *part;
    const uint16_t *w; /* weights of output j */
    ptrdiff_t ahead;   /* how many bytes further on to ask for weights; 0: nowhere */
    size_t j, end, blocks, row, rows;
};

INLINE void dot_tile(const struct dot *t, vf acc[DOT_ROWS][DOT_BLOCKS])
{
    const size_t words = kernel_depth(t->product->k) / 2;
    const size_t block_size = words * KERNEL_COLUMNS * 2;
    const uint32_t *x = (const uint32_t *)t->product->input + t->row * words;
    for (size_t r = 0; r < t->rows; r++)
        for (size_t b = 0; b < t->blocks; b++)
            acc[r][b] = vf_all(0);
    for (size_t k = 0; k < words; k++) {
        __m512bh weight[DOT_BLOCKS];
        for (size_t b = 0; b < t->blocks; b++) {
            const uint16_t *at = t->w + b * block_size + k * KERNEL_COLUMNS * 2;
            memcpy(&weight[b], at, sizeof weight[b]);
            if (t->ahead) __builtin_prefetch((const char *)at + t->ahead, 0, 2);
        }
        for (size_t r = 0; r < t->rows; r++) {
            __m512bh pair = dot_pair(x[r * words + k]);
            for (size_t b = 0; b < t->blocks; b++)
                acc[r][b] = _mm512_dpbf16_ps(acc[r][b], pair, weight[b]);
        }
    }
}

INLINE void dot_store(const struct dot *t, vf acc[DOT_ROWS][DOT_BLOCKS])
{
    for (size_t r = 0; r < t->rows; r++)
        for (size_t b = 0; b < t->blocks; b++) {
            size_t j = t->j + b * KERNEL_COLUMNS, left = t->end - j;
            few_store(t->part, t->row + r, j, left < LANES ? left : LANES, acc[r][b]);
        }
}

INLINE void dot_some(struct dot t, size_t rows)
{
    vf acc[DOT_ROWS][DOT_BLOCKS];
    t.rows = rows;
    if (t.row) t.ahead = 0; /* weights come from memory with the first rows only */
    dot_tile(&t, acc);
    dot_store(&t, acc);
}

INLINE void dot_rows(const struct kernel_product *p, const struct share *share, size_t j,
                     size_t blocks)
{
    const size_t depth = kernel_depth(p->k), width = blocks * KERNEL_COLUMNS;
    const uint16_t *w = (const uint16_t *)share->part->weights + j * depth;
    const char *next = j + width < share->end ? (const char *)(w + width * depth) : share->then;
    struct dot t = {p, share->part, w, next - (const char *)w, j, share->end, blocks, 0, 0};
    for (; t.row + DOT_ROWS <= p->rows; t.row += DOT_ROWS)
        dot_some(t, DOT_ROWS);
    for (; t.row + 4 <= p->rows; t.row += 4)
        dot_some(t, 4);
    for (; t.row + 2 <= p->rows; t.row += 2)
        dot_some(t, 2);
    if (t.row < p->rows) dot_some(t, 1);
}

static void dot_part(const struct kernel_product *p, const struct share *share)
{
    size_t j = share->begin;
    for (; j + DOT_BLOCKS * KERNEL_COLUMNS <= share->end; j += DOT_BLOCKS * KERNEL_COLUMNS)
        dot_rows(p, share, j, DOT_BLOCKS);
    for (; j < share->end; j += KERNEL_COLUMNS)
        dot_rows(p, share, j, 1);
}

static void product_bf16(const struct kernel_product *p, size_t begin, size_t end)
{
    each_part(p, begin, end, dot_part);
}
