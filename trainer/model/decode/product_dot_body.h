/* Products with BF16 weights through the processor's dot product of pairs: one chain acc = dot(x
 * pair, w pair) + acc over k / 2.  Included by kernels_bf16_avx512.c.
 *
 * Packed weights: bf16_body.h.  Packed input: row-major words of two bf16, k rounded up to even
 * with a zero. */

static void pack_bf16(const struct kernel_pack *p)
{
    const size_t depth = kernel_round_up(p->k, 2);
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
        if (p->column_end == p->k && depth > p->k) out[p->k] = 0;
    }
}

enum { DOT_ROWS = 8, DOT_BLOCKS = 3 };

INLINE __m512bh dot_pair(uint32_t word)
{
    return (__m512bh)_mm512_set1_epi32((int32_t)word);
}

/* `rows` x `blocks` (constants after inlining): 16 outputs a block.  ahead: how many bytes further
 * to prefetch. */
INLINE void dot_tile(const struct kernel_product *p, const uint16_t *w, size_t row, size_t rows,
                     size_t blocks, ptrdiff_t ahead, vf acc[DOT_ROWS][DOT_BLOCKS])
{
    const size_t words = kernel_round_up(p->k, 2) / 2, block_size = words * KERNEL_COLUMNS * 2;
    const uint32_t *x = (const uint32_t *)p->input + row * words;
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks; b++)
            acc[r][b] = vf_all(0);
    for (size_t k = 0; k < words; k++) {
        __m512bh weight[DOT_BLOCKS];
        for (size_t b = 0; b < blocks; b++) {
            const uint16_t *at = w + b * block_size + k * KERNEL_COLUMNS * 2;
            memcpy(&weight[b], at, sizeof weight[b]);
            if (ahead) __builtin_prefetch((const char *)at + ahead, 0, 2);
        }
        for (size_t r = 0; r < rows; r++) {
            __m512bh pair = dot_pair(x[r * words + k]);
            for (size_t b = 0; b < blocks; b++)
                acc[r][b] = _mm512_dpbf16_ps(acc[r][b], pair, weight[b]);
        }
    }
}

INLINE void dot_store(const struct kernel_part *part, size_t row, size_t rows, size_t j, size_t end,
                      size_t blocks, vf acc[DOT_ROWS][DOT_BLOCKS])
{
    for (size_t r = 0; r < rows; r++)
        for (size_t b = 0; b < blocks; b++) {
            size_t left = end - j - b * KERNEL_COLUMNS;
            few_store(part, row + r, j + b * KERNEL_COLUMNS, left < LANES ? left : LANES,
                      acc[r][b]);
        }
}

INLINE void dot_rows(const struct kernel_product *p, const struct share *share, size_t j,
                     size_t blocks)
{
    const struct kernel_part *part = share->part;
    const size_t depth = kernel_round_up(p->k, 2), end = share->end;
    const size_t width = blocks * KERNEL_COLUMNS;
    const uint16_t *w = (const uint16_t *)part->weights + j * depth;
    /* Weights come from memory with the first rows only; the next ones are asked for meanwhile. */
    const char *next = j + width < end ? (const char *)(w + width * depth) : share->then;
    ptrdiff_t ahead = next - (const char *)w;
    vf acc[DOT_ROWS][DOT_BLOCKS];
    size_t row = 0;
    for (; row + DOT_ROWS <= p->rows; row += DOT_ROWS) {
        dot_tile(p, w, row, DOT_ROWS, blocks, row ? 0 : ahead, acc);
        dot_store(part, row, DOT_ROWS, j, end, blocks, acc);
    }
    for (; row + 4 <= p->rows; row += 4) {
        dot_tile(p, w, row, 4, blocks, row ? 0 : ahead, acc);
        dot_store(part, row, 4, j, end, blocks, acc);
    }
    for (; row + 2 <= p->rows; row += 2) {
        dot_tile(p, w, row, 2, blocks, row ? 0 : ahead, acc);
        dot_store(part, row, 2, j, end, blocks, acc);
    }
    if (row < p->rows) {
        dot_tile(p, w, row, 1, blocks, row ? 0 : ahead, acc);
        dot_store(part, row, 1, j, end, blocks, acc);
    }
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
