/* BF16: rounding, and the packed form of weights.  Included by kernels_*.c.
 *
 * Packed weights (n, k): blocks of 16 outputs; block = [k / 2][16 outputs][2], so one 32-bit word
 * holds w[j, k] and w[j, k + 1].  k is rounded up to KERNEL_DEPTH_UNIT and n to 16
 * with zeros. */

INLINE uint16_t bf16_round(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    if ((bits & 0x7fffffffu) > 0x7f800000u)
        return (uint16_t)((bits >> 16) | 0x40u); /* NaN stays NaN */
    return (uint16_t)((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16);
}

INLINE float bf16_widen(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* One output's words by themselves: ends of rows and columns. */
static void pack_words(const struct kernel_weights *p, size_t block, size_t from)
{
    const size_t depth = kernel_depth(p->k);
    for (size_t i = 0; i < KERNEL_COLUMNS; i++) {
        size_t j = block * KERNEL_COLUMNS + i;
        uint16_t *out = p->out + block * KERNEL_COLUMNS * depth + 2 * i;
        for (size_t k = from; k < depth; k++) {
            uint16_t value = 0;
            if (j < p->n && k < p->k)
                value = p->in_bf16 ? ((const uint16_t *)p->in)[j * p->k + k]
                                   : bf16_round(((const float *)p->in)[j * p->k + k]);
            out[k / 2 * KERNEL_COLUMNS * 2 + k % 2] = value;
        }
    }
}

/* bf16_round of every lane, left in the upper half of its word.  A NaN stays a NaN. */
INLINE vi round_upper(vf x)
{
    vi bits = (vi)x;
    vi rounded = bits + 0x7fff + ((bits >> 16) & 1);
    vi is_nan = (bits & 0x7fffffff) > 0x7f800000;
    return (is_nan & (bits | 0x400000)) | (~is_nan & rounded);
}

/* LANES outputs x LANES words of a row that is bf16 already. */
INLINE void pack_tile_bf16(const uint16_t *in, size_t stride, uint16_t *out)
{
    vf t[LANES];
    for (size_t i = 0; i < LANES; i++)
        memcpy(&t[i], in + i * stride, sizeof t[i]);
    lanes_transpose(t);
    for (size_t i = 0; i < LANES; i++)
        memcpy(out + i * KERNEL_COLUMNS * 2, &t[i], sizeof t[i]);
}

/* LANES outputs x LANES floats. */
INLINE void pack_tile_f32(const float *in, size_t stride, uint16_t *out)
{
    vf t[LANES];
    for (size_t i = 0; i < LANES; i++)
        t[i] = vf_load(in + i * stride);
    lanes_transpose(t);
    for (size_t i = 0; i < LANES; i += 2) {
        vi low = (round_upper(t[i]) >> 16) & 0xffff;
        vi word = low | (round_upper(t[i + 1]) & ~0xffff);
        memcpy(out + i / 2 * KERNEL_COLUMNS * 2, &word, sizeof word);
    }
}

static void pack_weights(const struct kernel_weights *p, size_t begin, size_t end)
{
    const size_t depth = kernel_depth(p->k), step = p->in_bf16 ? 2 * LANES : LANES;
    for (size_t block = begin; block < end; block++) {
        size_t whole = (block + 1) * KERNEL_COLUMNS <= p->n ? p->k / step * step : 0;
        for (size_t i = 0; i < KERNEL_COLUMNS && whole; i += LANES) {
            size_t first = (block * KERNEL_COLUMNS + i) * p->k;
            uint16_t *out = p->out + block * KERNEL_COLUMNS * depth + 2 * i;
            for (size_t k = 0; k < whole; k += step) {
                uint16_t *to = out + k * KERNEL_COLUMNS;
                if (p->in_bf16)
                    pack_tile_bf16((const uint16_t *)p->in + first + k, p->k, to);
                else
                    pack_tile_f32((const float *)p->in + first + k, p->k, to);
            }
        }
        pack_words(p, block, whole);
    }
}
