/* Matrix products of the decode engine; included by kernels_*.c once per instruction set.
 *
 *     out[r, j] = sum over k of x[r, k] w[j, k]
 *
 * always as the one chain acc = fma(x, w, acc), k = 0, 1, 2 ...
 *
 *   few rows   <= FEW_ROWS.  Lanes are outputs: LANES rows of w are transposed in registers, x is
 *              broadcast.  The weights stay in place and stream once: the memory's speed.
 *   more rows  Lanes are rows: x is packed (k, lanes), w is broadcast straight from its place.  A
 *              tile is TILE_COLUMNS outputs x 2 vectors of rows in registers: the arithmetic's
 *              speed.
 *
 * Packed x of many rows: blocks of 2 LANES, at the end LANES, rows: block at row b starts at float
 * b k, entry [k][row]. */
#include "kernels.h"
#include "simd.h"

enum { LINE_FLOATS = 16 }; /* of a cache line */

INLINE size_t block_width(size_t rows_left)
{
    return rows_left > LANES ? 2 * LANES : LANES;
}

/* ---- input --------------------------------------------------------------- */

static void pack_block(const struct kernel_pack *p, size_t block, size_t width)
{
    float *out = (float *)p->out + block * p->k;
    size_t row = p->row > block ? p->row : block;
    size_t row_end = p->row_end < block + width ? p->row_end : block + width;
    while (row < row_end) {
        size_t lane = row - block, column = p->column;
        const float *in = p->in + row * p->stride;
        if (lane % LANES == 0 && row_end - row >= LANES) {
            for (; column + LANES <= p->column_end; column += LANES) {
                vf t[LANES];
                for (size_t i = 0; i < LANES; i++)
                    t[i] = vf_load(in + i * p->stride + column);
                lanes_transpose(t);
                for (size_t i = 0; i < LANES; i++)
                    vf_store(out + (column + i) * width + lane, t[i]);
            }
            for (size_t i = 0; i < LANES; i++)
                for (size_t c = column; c < p->column_end; c++)
                    out[c * width + lane + i] = in[i * p->stride + c];
            row += LANES;
        } else {
            for (; column < p->column_end; column++)
                out[column * width + lane] = in[column];
            row++;
        }
    }
}

static void pack(const struct kernel_pack *p)
{
    if (p->rows <= FEW_ROWS) {
        for (size_t r = p->row; r < p->row_end; r++)
            memcpy((float *)p->out + r * p->k + p->column, p->in + r * p->stride + p->column,
                   (p->column_end - p->column) * sizeof(float));
        return;
    }
    for (size_t block = 0, width; block < p->rows; block += width) {
        width = block_width(p->rows - block);
        if (block < p->row_end && p->row < block + width) pack_block(p, block, width);
    }
}

/* ---- few rows ------------------------------------------------------------ */

/* LANES outputs of `rows` (a constant after inlining) rows; w: LANES row pointers. */
INLINE void few_tile(const struct kernel_product *p, const float *const w[LANES], const float *next,
                     size_t rows, vf acc[FEW_ROWS])
{
    const size_t depth = p->k;
    const float *x = p->input;
    for (size_t r = 0; r < rows; r++)
        acc[r] = vf_all(0);
    size_t k = 0;
    for (; k + LANES <= depth; k += LANES) {
        vf t[LANES];
        for (size_t i = 0; i < LANES; i++) {
            t[i] = vf_load(w[i] + k);
            /* The next outputs' weights, in the order of their addresses: as many bytes as are used
             * here. */
            if (i * LANES % LINE_FLOATS == 0) __builtin_prefetch(next + (k + i) * LANES, 0, 2);
        }
        lanes_transpose(t);
        for (size_t i = 0; i < LANES; i++)
            for (size_t r = 0; r < rows; r++)
                acc[r] = vf_fma(vf_all(x[r * depth + k + i]), t[i], acc[r]);
    }
    for (; k < depth; k++) {
        float column[LANES];
        for (size_t i = 0; i < LANES; i++)
            column[i] = w[i][k];
        vf t = vf_load(column);
        for (size_t r = 0; r < rows; r++)
            acc[r] = vf_fma(vf_all(x[r * depth + k]), t, acc[r]);
    }
}

INLINE void few_store(const struct kernel_part *part, size_t r, size_t j, size_t count, vf value)
{
    float *out = part->out + r * part->stride + j;
    if (count == LANES) {
        if (part->bias) value += vf_load(part->bias + j);
        if (part->add) value = vf_load(out) + value;
        vf_store(out, value);
    } else {
        if (part->bias) value += vf_load_part(part->bias + j, count);
        if (part->add) value = vf_load_part(out, count) + value;
        vf_store_part(out, value, count);
    }
}

/* Outputs of one part that a thread computes, and the weights it will read after them. */
struct share {
    const struct kernel_part *part;
    size_t begin, end;
    const void *then; /* never NULL */
};

INLINE void few_rows(const struct kernel_product *p, const struct share *share, size_t rows)
{
    const struct kernel_part *part = share->part;
    const float *weights = part->weights;
    const size_t end = share->end;
    for (size_t j = share->begin; j < end; j += LANES) {
        size_t count = end - j < LANES ? end - j : LANES;
        const float *w[LANES];
        for (size_t i = 0; i < LANES; i++)
            w[i] = weights + (j + (i < count ? i : count - 1)) * p->k;
        const float *next = j + LANES < end ? weights + (j + LANES) * p->k : share->then;
        vf acc[FEW_ROWS];
        few_tile(p, w, next, rows, acc);
        for (size_t r = 0; r < rows; r++)
            few_store(part, r, j, count, acc[r]);
    }
}

static void few_part(const struct kernel_product *p, const struct share *share)
{
    // clang-format off
    switch (p->rows) {
    case 1: few_rows(p, share, 1); break;
    case 2: few_rows(p, share, 2); break;
    case 3: few_rows(p, share, 3); break;
    case 4: few_rows(p, share, 4); break;
    case 5: few_rows(p, share, FEW_ROWS > 4 ? 5 : 4); break;
    case 6: few_rows(p, share, FEW_ROWS > 4 ? 6 : 4); break;
    case 7: few_rows(p, share, FEW_ROWS > 4 ? 7 : 4); break;
    default: few_rows(p, share, FEW_ROWS);
    }
    // clang-format on
}

/* ---- many rows ----------------------------------------------------------- */

/* `columns` outputs from j on x `vectors` vectors of rows from `row` on (constants after inlining).
 */
struct many {
    const struct kernel_product *product;
    const struct kernel_part *part;
    const float *x;    /* packed block of the rows */
    const float *w;    /* weights of output j */
    const float *next; /* weights to ask for meanwhile, as many as are used here; or NULL */
    size_t j, columns, row, vectors;
};

INLINE void many_tile(const struct many *t, vf acc[TILE_COLUMNS][2])
{
    const size_t depth = t->product->k;
    const float *x = t->x, *w = t->w;
    for (size_t j = 0; j < t->columns; j++)
        for (size_t v = 0; v < t->vectors; v++)
            acc[j][v] = vf_all(0);
    for (size_t k = 0; k < depth;) {
        size_t stop = depth - k < LINE_FLOATS ? depth : k + LINE_FLOATS;
        for (size_t j = 0; t->next && j < t->columns; j++)
            __builtin_prefetch(t->next + k * t->columns + LINE_FLOATS * j, 0, 2);
        for (; k < stop; k++) {
            vf row[2];
            for (size_t v = 0; v < t->vectors; v++)
                row[v] = vf_load(x + (k * t->vectors + v) * LANES);
            for (size_t j = 0; j < t->columns; j++) {
                vf weight = vf_all(w[j * depth + k]);
                for (size_t v = 0; v < t->vectors; v++)
                    acc[j][v] = vf_fma(row[v], weight, acc[j][v]);
            }
        }
    }
}

/* Stores the tile's outputs of the rows that exist. */
INLINE void many_store(const struct many *t, vf acc[TILE_COLUMNS][2])
{
    for (size_t v = 0; v < t->vectors; v++)
        for (size_t c = 0; c < t->columns; c += LANES) {
            size_t count = t->columns - c < LANES ? t->columns - c : LANES;
            size_t row = t->row + v * LANES;
            vf u[LANES];
            for (size_t i = 0; i < LANES; i++)
                u[i] = i < count ? acc[c + i][v] : vf_all(0);
            lanes_transpose(u);
            for (size_t i = 0; i < LANES && row + i < t->product->rows; i++)
                few_store(t->part, row + i, t->j + c, count, u[i]);
        }
}

INLINE void many_columns(const struct kernel_product *p, const struct share *share, size_t j,
                         size_t columns)
{
    const float *w = (const float *)share->part->weights + j * p->k;
    const float *next = j + columns < share->end ? w + columns * p->k : share->then;
    vf acc[TILE_COLUMNS][2];
    for (size_t row = 0, width; row < p->rows; row += width) {
        width = block_width(p->rows - row);
        const float *x = (const float *)p->input + row * p->k;
        if (width == LANES) {
            struct many t = {p, share->part, x, w, row ? NULL : next, j, columns, row, 1};
            many_tile(&t, acc);
            many_store(&t, acc);
        } else {
            struct many t = {p, share->part, x, w, row ? NULL : next, j, columns, row, 2};
            many_tile(&t, acc);
            many_store(&t, acc);
        }
    }
}

static void many_part(const struct kernel_product *p, const struct share *share)
{
    size_t j = share->begin;
    for (; j + TILE_COLUMNS <= share->end; j += TILE_COLUMNS)
        many_columns(p, share, j, TILE_COLUMNS);
    for (; j + 4 <= share->end; j += 4)
        many_columns(p, share, j, 4);
    for (; j < share->end; j++)
        many_columns(p, share, j, 1);
}

/* Walks the parts of a product over column blocks [begin, end). */
INLINE void each_part(const struct kernel_product *p, size_t begin, size_t end,
                      void (*run)(const struct kernel_product *, const struct share *))
{
    size_t first = 0;
    for (size_t i = 0; i < p->n_parts; i++) {
        const struct kernel_part *part = &p->parts[i];
        size_t blocks = kernel_blocks(part->n);
        size_t from = begin > first ? begin - first : 0;
        size_t to = end - first < blocks ? end - first : blocks;
        if (end > first && from < to) {
            size_t last = to * KERNEL_COLUMNS;
            bool goes_on = i + 1 < p->n_parts && end - first > blocks;
            const void *then = goes_on ? p->parts[i + 1].weights : p->then;
            run(p, &(struct share){part, from * KERNEL_COLUMNS, last < part->n ? last : part->n,
                                   then ? then : part->weights});
        }
        first += blocks;
    }
}

static void product(const struct kernel_product *p, size_t begin, size_t end)
{
    each_part(p, begin, end, p->rows <= FEW_ROWS ? few_part : many_part);
}
