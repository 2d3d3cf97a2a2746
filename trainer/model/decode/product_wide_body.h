/* Products with BF16 weights where the processor has no BF16 dot product: both are widened to
 * floats (exact), then one chain acc = fma(x, w, acc) over k as in product_body.h.  Included by
 * kernels_*.c.
 *
 * Packed weights: bf16_body.h.  Packed input: row-major floats that are rounded to bf16, k rounded
 * up to even with zeros. */

static void pack_bf16(const struct kernel_pack *p)
{
    const size_t depth = kernel_depth(p->k);
    for (size_t r = p->row; r < p->row_end; r++) {
        float *out = (float *)p->out + r * depth;
        for (size_t c = p->column; c < p->column_end; c++)
            out[c] = bf16_widen(bf16_round(p->in[r * p->stride + c]));
        if (p->column_end == p->k) memset(out + p->k, 0, (depth - p->k) * sizeof *out);
    }
}

enum {
    BLOCK_VECTORS = KERNEL_COLUMNS / LANES,
    AHEAD = 64 /* a single row asks for the weights of k + 64, 2 KB further on */
};

INLINE void bf16_tile(const struct kernel_product *p, const uint16_t *w, size_t first, size_t rows,
                      vf acc[BF16_ROWS][BLOCK_VECTORS])
{
    const size_t depth = kernel_depth(p->k);
    const float *x = (const float *)p->input + first * depth;
    for (size_t r = 0; r < rows; r++)
        for (size_t v = 0; v < BLOCK_VECTORS; v++)
            acc[r][v] = vf_all(0);
    for (size_t k = 0; k < depth; k += 2) {
        vf even[BLOCK_VECTORS], odd[BLOCK_VECTORS];
        if (rows == 1) __builtin_prefetch(w + (k + AHEAD) * KERNEL_COLUMNS, 0, 2);
        for (size_t v = 0; v < BLOCK_VECTORS; v++) {
            vi pair;
            memcpy(&pair, w + k * KERNEL_COLUMNS + v * LANES * 2, sizeof pair);
            even[v] = (vf)(pair << 16);
            odd[v] = (vf)(pair & (int32_t)0xffff0000u);
        }
        for (size_t r = 0; r < rows; r++) {
            const vf x0 = vf_all(x[r * depth + k]), x1 = vf_all(x[r * depth + k + 1]);
            for (size_t v = 0; v < BLOCK_VECTORS; v++)
                acc[r][v] = vf_fma(x0, even[v], acc[r][v]);
            for (size_t v = 0; v < BLOCK_VECTORS; v++)
                acc[r][v] = vf_fma(x1, odd[v], acc[r][v]);
        }
    }
}

static void bf16_part(const struct kernel_product *p, const struct share *share)
{
    const struct kernel_part *part = share->part;
    const size_t end = share->end;
    for (size_t j = share->begin; j < end; j += KERNEL_COLUMNS) {
        const uint16_t *w = (const uint16_t *)part->weights + j * kernel_depth(p->k);
        for (size_t row = 0; row < p->rows;) {
            vf acc[BF16_ROWS][BLOCK_VECTORS];
            size_t rows = p->rows - row >= BF16_ROWS ? BF16_ROWS : 1;
            if (rows == BF16_ROWS)
                bf16_tile(p, w, row, BF16_ROWS, acc);
            else
                bf16_tile(p, w, row, 1, acc);
            for (size_t r = 0; r < rows; r++)
                for (size_t v = 0; v < BLOCK_VECTORS && j + v * LANES < end; v++) {
                    size_t left = end - j - v * LANES;
                    few_store(part, row + r, j + v * LANES, left < LANES ? left : LANES, acc[r][v]);
                }
            row += rows;
        }
    }
}

static void product_bf16(const struct kernel_product *p, size_t begin, size_t end)
{
    each_part(p, begin, end, bf16_part);
}
