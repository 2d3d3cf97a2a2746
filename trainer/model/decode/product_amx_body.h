/* Products with BF16 weights on the processor's matrix tiles (AMX).  Included by kernels_amx.c.
 *
 * A tile holds 16 rows of 64 bytes.  One step adds, to 16 rows x 16 outputs, the products of 32
 * elements of k: those of even and those of odd k in a chain each, then their sum.  An output
 * depends on its own row and column alone, so the promise of kernels.h holds.  Subnormal numbers
 * count as 0.
 *
 *            B0  B1      32 outputs: 1 KB of packed weights (bf16_body.h) per 32 k and 16 outputs
 *     A0     C0  C1      32 rows
 *     A1     C2  C3
 *
 * Packed input: tiles of 16 rows x 32 k, [row / 16][k / 32][16][32]; k is rounded up to
 * KERNEL_DEPTH_UNIT with zeros, rows that do not exist hold anything. */
enum { AMX_ROWS = 16, AMX_DEPTH = 32, AMX_TILE = AMX_ROWS * AMX_DEPTH, AMX_LINES = 16 };

static void pack_bf16(const struct kernel_pack *p)
{
    const size_t steps = kernel_depth(p->k) / AMX_DEPTH;
    for (size_t r = p->row; r < p->row_end; r++) {
        uint16_t *out =
            (uint16_t *)p->out + r / AMX_ROWS * steps * AMX_TILE + r % AMX_ROWS * AMX_DEPTH;
        const float *in = p->in + r * p->stride;
        size_t c = p->column;
        for (; c + LANES <= p->column_end && c % LANES == 0; c += LANES) {
            __m256bh half = _mm512_cvtneps_pbh(vf_load(in + c));
            memcpy(out + c / AMX_DEPTH * AMX_TILE + c % AMX_DEPTH, &half, sizeof half);
        }
        for (; c < p->column_end; c++)
            out[c / AMX_DEPTH * AMX_TILE + c % AMX_DEPTH] = bf16_round(in[c]);
        for (; p->column_end == p->k && c < steps * AMX_DEPTH; c++)
            out[c / AMX_DEPTH * AMX_TILE + c % AMX_DEPTH] = 0;
    }
}

/* What the processor reads to shape its tiles: palette 1; tiles 0 to 3 are C, 4 and 5 A, 6 and 7 B.
 */
struct amx_shape {
    uint8_t palette, start, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

static void amx_configure(size_t rows)
{
    struct amx_shape shape = {.palette = 1};
    for (int i = 0; i < 8; i++) {
        shape.row_bytes[i] = 64;
        shape.rows[i] = i < 6 ? (uint8_t)(rows < AMX_ROWS ? rows : AMX_ROWS) : AMX_ROWS;
    }
    _tile_loadconfig(&shape);
}

/* Up to 32 rows from `row` on x up to 32 outputs from `j` on. */
struct amx {
    const struct kernel_product *product;
    const struct kernel_part *part;
    const uint16_t *w; /* weights of output j */
    ptrdiff_t ahead;   /* how many bytes further on to ask for weights; 0: nowhere */
    size_t j, end, row;
};

/* The weights that are wanted next, as many as one step uses here. */
INLINE void amx_ask(const struct amx *t, const uint16_t *w)
{
    if (t->ahead)
        for (int i = 0; i < AMX_LINES; i++)
            __builtin_prefetch((const char *)w + t->ahead + 64 * i, 0, 2);
}

INLINE void amx_store(const struct amx *t, size_t row, size_t j, const float *sums)
{
    const size_t left = t->end - j, count = left < LANES ? left : LANES;
    for (size_t r = 0; r < AMX_ROWS && row + r < t->product->rows; r++)
        few_store(t->part, row + r, j, count, vf_load(sums + r * LANES));
}

/* rows, columns: how many tiles of each (1 or 2, constants after inlining). */
INLINE void amx_tiles(const struct amx *t, int rows, int columns)
{
    const size_t depth = kernel_depth(t->product->k), steps = depth / AMX_DEPTH;
    const uint16_t *a = (const uint16_t *)t->product->input + t->row * depth, *w = t->w;
    const size_t next_block = depth * KERNEL_COLUMNS;
    _Alignas(64) float sums[4][AMX_ROWS * LANES];
    _tile_zero(0);
    if (columns > 1) _tile_zero(1);
    if (rows > 1) _tile_zero(2);
    if (rows > 1 && columns > 1) _tile_zero(3);
    for (size_t s = 0; s < steps; s++, a += AMX_TILE, w += AMX_TILE) {
        _tile_loadd(4, a, 64);
        _tile_loadd(6, w, 64);
        amx_ask(t, w);
        _tile_dpbf16ps(0, 4, 6);
        if (rows > 1) {
            _tile_loadd(5, a + steps * AMX_TILE, 64);
            _tile_dpbf16ps(2, 5, 6);
        }
        if (columns > 1) {
            _tile_loadd(7, w + next_block, 64);
            amx_ask(t, w + next_block);
            _tile_dpbf16ps(1, 4, 7);
        }
        if (rows > 1 && columns > 1) _tile_dpbf16ps(3, 5, 7);
    }
    _tile_stored(0, sums[0], 64);
    amx_store(t, t->row, t->j, sums[0]);
    if (columns > 1) {
        _tile_stored(1, sums[1], 64);
        amx_store(t, t->row, t->j + KERNEL_COLUMNS, sums[1]);
    }
    if (rows > 1) {
        _tile_stored(2, sums[2], 64);
        amx_store(t, t->row + AMX_ROWS, t->j, sums[2]);
    }
    if (rows > 1 && columns > 1) {
        _tile_stored(3, sums[3], 64);
        amx_store(t, t->row + AMX_ROWS, t->j + KERNEL_COLUMNS, sums[3]);
    }
}

INLINE void amx_rows(struct amx t, int columns)
{
    const size_t rows = t.product->rows;
    for (; t.row < rows; t.row += 2 * AMX_ROWS) {
        if (rows - t.row > AMX_ROWS)
            amx_tiles(&t, 2, columns);
        else
            amx_tiles(&t, 1, columns);
        t.ahead = 0; /* weights come from memory with the first rows only */
    }
}

static void amx_part(const struct kernel_product *p, const struct share *share)
{
    const size_t depth = kernel_depth(p->k);
    for (size_t j = share->begin; j < share->end;) {
        const bool two = share->end - j > KERNEL_COLUMNS;
        const size_t width = two ? 2 * KERNEL_COLUMNS : KERNEL_COLUMNS;
        const uint16_t *w = (const uint16_t *)share->part->weights + j * depth;
        const char *next = j + width < share->end ? (const char *)(w + width * depth) : share->then;
        const struct amx t = {p, share->part, w, next - (const char *)w, j, share->end, 0};
        if (two)
            amx_rows(t, 2);
        else
            amx_rows(t, 1);
        j += width;
    }
}

static void product_bf16(const struct kernel_product *p, size_t begin, size_t end)
{
    amx_configure(p->rows);
    each_part(p, begin, end, amx_part);
    _tile_release();
}
