/* Loops over single rows: norm, rotation, gate, softmax statistics, noise.  Included by
 * kernels_*.c. */
#include <math.h>

/* RMS norm.  Zhang & Sennrich 2019, "Root Mean Square Layer Normalization". */
static void norm(const float *x, const float *weight, size_t n, float eps, float *out)
{
    vf sum = vf_all(0);
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf v = vf_load(x + i);
        sum = vf_fma(v, v, sum);
    }
    if (i < n) {
        vf v = vf_load_part(x + i, n - i);
        sum = vf_fma(v, v, sum);
    }
    float scale = 1.0f / sqrtf(vf_sum(sum) / (float)n + eps);
    for (i = 0; i < n; i++)
        out[i] = weight[i] * (x[i] * scale);
}

/* Pairs (i, i + head_dim / 2) turn by their angle.  Su et al. 2021, "RoFormer". */
static void rotate(const struct kernel_rotate *p)
{
    const size_t half = p->head_dim / 2;
    for (size_t h = 0; h < p->heads; h++) {
        float *x = p->x + h * p->head_dim;
        if (p->norm) norm(x, p->norm, p->head_dim, p->eps, x);
        size_t i = 0;
        for (; i + LANES <= half; i += LANES) {
            vf a = vf_load(x + i), b = vf_load(x + i + half);
            vf cosine = vf_load(p->cosine + i), sine = vf_load(p->sine + i);
            vf_store(x + i, a * cosine - b * sine);
            vf_store(x + i + half, b * cosine + a * sine);
        }
        for (; i < half; i++) {
            float a = x[i], b = x[i + half];
            x[i] = a * p->cosine[i] - b * p->sine[i];
            x[i + half] = b * p->cosine[i] + a * p->sine[i];
        }
    }
}

/* Entry of token `at` in dimension d of a key block. */
INLINE size_t key_place(size_t unit, size_t d, size_t at)
{
    return (at / KERNEL_KEY_TOKENS * unit + d) * KERNEL_KEY_TOKENS + at % KERNEL_KEY_TOKENS;
}

static void keep(const struct kernel_keep *p)
{
    const size_t first = key_place(p->head_unit, 0, p->at);
    if (p->bf16) {
        uint16_t *key = (uint16_t *)p->key_block + first;
        uint16_t *value = (uint16_t *)p->value_block + p->at * p->head_unit;
        for (size_t d = 0; d < p->head_dim; d++) {
            key[d * KERNEL_KEY_TOKENS] = bf16_round(p->key[d]);
            value[d] = bf16_round(p->value[d]);
        }
    } else {
        float *key = (float *)p->key_block + first;
        for (size_t d = 0; d < p->head_dim; d++)
            key[d * KERNEL_KEY_TOKENS] = p->key[d];
        memcpy((float *)p->value_block + p->at * p->head_unit, p->value,
               p->head_dim * sizeof(float));
    }
}

/* silu(g) u = g u / (1 + e^-g).  Shazeer 2020, "GLU Variants Improve Transformer". */
static void gated(float *gate, const float *up, size_t n)
{
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        vf g = vf_load(gate + i);
        vf_store(gate + i, g / (vf_all(1) + vf_exp(-g)) * vf_load(up + i));
    }
    if (i < n) {
        vf g = vf_load_part(gate + i, n - i);
        vf_store_part(gate + i, g / (vf_all(1) + vf_exp(-g)) * vf_load_part(up + i, n - i), n - i);
    }
}

enum { STATS_BLOCK = 64 * LANES }; /* floats of one partial sum; partial sums are added in double */

static void stats_block(const float *z, size_t n, vf max, vf scale, double sums[2])
{
    vf sum = vf_all(0), weighted = vf_all(0);
    const vf low = vf_all(-87.0f);
    for (size_t i = 0; i < n; i += LANES) {
        vf d = vf_all(0), e;
        if (n - i >= LANES) {
            d = (vf_load(z + i) - max) * scale;
            d = vf_max(low, d); /* NaN stays NaN */
            e = vf_exp(d);
        } else {
            float lane[LANES] = {0};
            for (size_t j = 0; j < n - i; j++)
                lane[j] = (z[i + j] - max[0]) * scale[0];
            d = vf_max(low, vf_load(lane));
            vf_store(lane, vf_exp(d));
            for (size_t j = n - i; j < LANES; j++)
                lane[j] = 0;
            e = vf_load(lane);
        }
        sum += e;
        weighted = vf_fma(e, d, weighted);
    }
    sums[0] += (double)vf_sum(sum);
    sums[1] += (double)vf_sum(weighted);
}

/* With d = (z - max) / temperature and S = sum e^d:  entropy = log S - (sum e^d d) / S. */
static void stats(const float *z, size_t vocab, double temperature, struct choose_stats *out)
{
    vf best = vf_all(z[0]);
    size_t i = 0;
    for (; i + LANES <= vocab; i += LANES)
        best = vf_max(vf_load(z + i), best);
    float max = vf_largest(best);
    for (; i < vocab; i++)
        max = z[i] > max ? z[i] : max;
    double sums[2] = {0, 0};
    for (i = 0; i < vocab; i += STATS_BLOCK) {
        size_t n = vocab - i < STATS_BLOCK ? vocab - i : STATS_BLOCK;
        stats_block(z + i, n, vf_all(max), vf_all((float)(1 / temperature)), sums);
    }
    out->max = (double)max;
    out->log_sum = log(sums[0]);
    out->entropy = out->log_sum - sums[1] / sums[0];
}

/* 16 Philox blocks (rng.h), integers only; a lane of 64 bits holds one word of a block. */
static void noise(struct cn_rng_key key, const uint32_t tail[3], uint32_t first,
                  uint32_t out[CHOOSE_NOISE_TOKENS])
{
    enum { BLOCKS = LANES / 2 };
    const vu low = vu_all(0xffffffff), m0 = vu_all(0xD2511F53), m1 = vu_all(0xCD9E8D57);
    for (uint32_t part = 0; part < CHOOSE_NOISE_TOKENS / 4; part += BLOCKS) {
        vu c0, c1 = vu_all(tail[0]), c2 = vu_all(tail[1]), c3 = vu_all(tail[2]);
        for (uint32_t i = 0; i < BLOCKS; i++)
            c0[i] = (uint32_t)(first + part + i);
        uint32_t k0 = key.word[0], k1 = key.word[1];
        for (int round = 0; round < 10; round++) {
            vu a = vu_multiply(c0, m0), b = vu_multiply(c2, m1);
            c0 = (b >> 32) ^ c1 ^ vu_all(k0);
            c1 = b & low;
            c2 = (a >> 32) ^ c3 ^ vu_all(k1);
            c3 = a & low;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        uint64_t pair[2][BLOCKS];
        vu even = c0 | c1 << 32, odd = c2 | c3 << 32;
        memcpy(pair[0], &even, sizeof even);
        memcpy(pair[1], &odd, sizeof odd);
        for (uint32_t i = 0; i < BLOCKS; i++)
            for (uint32_t j = 0; j < 2; j++) {
                out[4 * (part + i) + 2 * j] = (uint32_t)pair[j][i];
                out[4 * (part + i) + 2 * j + 1] = (uint32_t)(pair[j][i] >> 32);
            }
    }
}
