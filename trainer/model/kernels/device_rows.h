/* Rows over the vocabulary as a GPU computes them: thread t of a block takes tokens t, t + threads,
 * ..., and what the threads found is merged.
 *
 * C11 and CUDA C: device_rows.cu adds what only a GPU can do (launch, shared memory, barrier), and
 * tests/test_device_rows.c runs the same functions thread after thread on the CPU.  Formulas:
 * head_body.h and decode/choose.h; the draw equals choose_token's, noise bit for bit. */
#ifndef CARNOT_MODEL_DEVICE_ROWS_H
#define CARNOT_MODEL_DEVICE_ROWS_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __CUDACC__
#define ROWS_FUNCTION static inline __host__ __device__
#else
#define ROWS_FUNCTION static inline
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* How rows are drawn, one column per row: rows of `integers` and of `reals`. */
enum device_draw_integer {
    DRAW_KEY0, /* of the draw, the prompt's upper half folded in (rng.h) */
    DRAW_KEY1,
    DRAW_PROMPT, /* lower half */
    DRAW_SAMPLE,
    DRAW_POSITION, /* of the token that is drawn */
    DRAW_GREEDY,
    DRAW_TOP_K, /* vocabulary: all */
    DRAW_INTEGERS
};
enum device_draw_real { DRAW_TEMPERATURE, DRAW_TOP_P, DRAW_REALS };
enum { DRAWN_TOKEN, DRAWN_LOGP, DRAWN_LOGP_TRUNCATED, DRAWN_ENTROPY, DRAWN_VALUES };

struct rows_call {
    float *z; /* (rows, vocab) logits; the gradient takes their place */
    size_t rows, vocab;
    float scale;                     /* 1 / temperature */
    float *lse, *entropy;            /* (rows): of z scale */
    const float *d_logp, *d_entropy; /* (rows): sums over a row's tokens */
};

struct rows_draw_call {
    const float *z;
    size_t rows, vocab, stride; /* stride: columns of integers and reals */
    const int64_t *integers;    /* (DRAW_INTEGERS, stride) */
    const double *reals;        /* (DRAW_REALS, stride) */
    double *out;                /* (rows, DRAWN_VALUES) */
};

/* Launches on a CUDA stream; 0 or a cudaError_t.  The draw knows no top-k and top-p. */
struct device_row_kernels {
    int (*stats)(const struct rows_call *call, void *stream);
    int (*gradient)(const struct rows_call *call, void *stream);
    int (*draw)(const struct rows_draw_call *call, void *stream);
};

/* ---- statistics ---------------------------------------------------------- */

/* Over some tokens: e = exp(z - max), sum of e and of e (z - max). */
struct rows_sum {
    float max;
    double sum, weighted;
};

ROWS_FUNCTION struct rows_sum rows_sum_empty(void)
{
    struct rows_sum s = {-INFINITY, 0, 0};
    return s;
}

/* The same sums relative to a larger maximum. */
ROWS_FUNCTION void rows_sum_raise(struct rows_sum *s, float max)
{
    const double shift = (double)s->max - (double)max, factor = exp(shift);
    if (s->sum != 0) {
        s->weighted = (s->weighted + shift * s->sum) * factor;
        s->sum *= factor;
    }
    s->max = max;
}

ROWS_FUNCTION void rows_sum_add(struct rows_sum *s, float z)
{
    if (z > s->max) rows_sum_raise(s, z);
    const float d = z - s->max, e = expf(d);
    s->sum += (double)e;
    s->weighted += (double)(e * d);
}

ROWS_FUNCTION void rows_sum_merge(struct rows_sum *s, struct rows_sum other)
{
    if (other.sum == 0) return;
    if (other.max > s->max)
        rows_sum_raise(s, other.max);
    else
        rows_sum_raise(&other, s->max);
    s->sum += other.sum;
    s->weighted += other.weighted;
}

ROWS_FUNCTION struct rows_sum rows_stats_thread(const struct rows_call *a, size_t row,
                                                uint32_t thread, uint32_t threads)
{
    struct rows_sum s = rows_sum_empty();
    for (size_t j = thread; j < a->vocab; j += threads)
        rows_sum_add(&s, a->z[row * a->vocab + j] * a->scale);
    return s;
}

ROWS_FUNCTION void rows_stats_finish(const struct rows_call *a, size_t row, struct rows_sum s)
{
    a->lse[row] = (float)((double)s.max + log(s.sum));
    a->entropy[row] = (float)(log(s.sum) - s.weighted / s.sum);
}

/* ---- gradient: -p (d_logp + d_entropy (log p + H)) scale ----------------- */

ROWS_FUNCTION void rows_gradient_thread(const struct rows_call *a, size_t row, uint32_t thread,
                                        uint32_t threads)
{
    const float v = a->d_entropy[row], u = a->d_logp[row] + v * a->entropy[row];
    for (size_t j = thread; j < a->vocab; j += threads) {
        float *z = &a->z[row * a->vocab + j], log_p = *z * a->scale - a->lse[row];
        *z = expf(log_p) * (u + v * log_p) * -a->scale;
    }
}

/* ---- draw ---------------------------------------------------------------- */

/* Philox4x32-10, as trainer/core/rng.c; one block. */
ROWS_FUNCTION void rows_philox(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    for (int round = 0; round < 10; round++) {
        const uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
        c[0] = (uint32_t)(b >> 32) ^ c[1] ^ k0;
        c[2] = (uint32_t)(a >> 32) ^ c[3] ^ k1;
        c[1] = (uint32_t)b;
        c[3] = (uint32_t)a;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

/* The logarithm of decode/choose.c: one fixed sequence of double operations, not contracted. */
ROWS_FUNCTION double rows_log(double x)
{
    uint64_t bits;
    double m, sum = 0;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m = m / 2;
        exponent++;
    }
    const double s = (m - 1) / (m + 1), s2 = s * s;
    for (int odd = 23; odd > 0; odd -= 2) {
        sum = sum * s2;
        sum = sum + 1.0 / odd;
    }
    double series = 2 * s;
    series = series * sum;
    const double scaled = (double)exponent * 0.6931471805599453;
    return scaled + series;
}

ROWS_FUNCTION double rows_gumbel(uint32_t word24)
{
    const double u = ((double)word24 + 0.5) / 16777216.0;
    return -rows_log(-rows_log(u));
}

/* At least rows_gumbel(word24), for the price of two single logarithms: u is off by half a unit of
 * 2^-24, which near 1 is 0.7 nats at most. */
ROWS_FUNCTION float rows_gumbel_bound(uint32_t word24)
{
    return -logf(-logf(((float)word24 + 0.5f) / 16777216.0f)) + 0.75f;
}

struct rows_best {
    double score;
    uint32_t id;
};

/* Ties go to the lower id, in whatever order tokens are offered. */
ROWS_FUNCTION void rows_best_offer(struct rows_best *best, double score, uint32_t id)
{
    if (score > best->score || (score == best->score && id < best->id)) {
        best->score = score;
        best->id = id;
    }
}

struct rows_drawing {
    struct rows_sum sum;
    struct rows_best best;
};

ROWS_FUNCTION int64_t rows_integer(const struct rows_draw_call *a, size_t row,
                                   enum device_draw_integer which)
{
    return a->integers[which * a->stride + row];
}

ROWS_FUNCTION struct rows_drawing rows_draw_thread(const struct rows_draw_call *a, size_t row,
                                                   uint32_t thread, uint32_t threads)
{
    const float *z = a->z + row * a->vocab;
    const double temperature = a->reals[DRAW_TEMPERATURE * a->stride + row];
    const int greedy = rows_integer(a, row, DRAW_GREEDY) != 0;
    struct rows_drawing d = {rows_sum_empty(), {-INFINITY, UINT32_MAX}};
    for (uint32_t block = thread; (size_t)block * 4 < a->vocab; block += threads) {
        uint32_t word[4] = {block, (uint32_t)rows_integer(a, row, DRAW_POSITION),
                            (uint32_t)rows_integer(a, row, DRAW_SAMPLE),
                            (uint32_t)rows_integer(a, row, DRAW_PROMPT)};
        rows_philox(word, (uint32_t)rows_integer(a, row, DRAW_KEY0),
                    (uint32_t)rows_integer(a, row, DRAW_KEY1));
        for (uint32_t i = 0; i < 4 && (size_t)block * 4 + i < a->vocab; i++) {
            const uint32_t id = block * 4 + i, noise = word[i] >> 8;
            const double scaled = (double)z[id] / temperature;
            rows_sum_add(&d.sum, (float)scaled);
            if (greedy)
                rows_best_offer(&d.best, (double)z[id], id);
            else if (scaled + (double)rows_gumbel_bound(noise) >= d.best.score)
                rows_best_offer(&d.best, scaled + rows_gumbel(noise), id);
        }
    }
    return d;
}

ROWS_FUNCTION void rows_draw_merge(struct rows_drawing *d, const struct rows_drawing *other)
{
    rows_sum_merge(&d->sum, other->sum);
    rows_best_offer(&d->best, other->best.score, other->best.id);
}

ROWS_FUNCTION void rows_draw_finish(const struct rows_draw_call *a, size_t row,
                                    const struct rows_drawing *d)
{
    double *out = a->out + row * DRAWN_VALUES;
    const uint32_t id = d->best.id < a->vocab ? d->best.id : 0; /* NaN everywhere: logp tells */
    const double scaled =
        (double)a->z[row * a->vocab + id] / a->reals[DRAW_TEMPERATURE * a->stride + row];
    out[DRAWN_TOKEN] = (double)id;
    out[DRAWN_LOGP] = out[DRAWN_LOGP_TRUNCATED] = scaled - (double)d->sum.max - log(d->sum.sum);
    out[DRAWN_ENTROPY] = log(d->sum.sum) - d->sum.weighted / d->sum.sum;
}

#ifdef __cplusplus
}
#endif
#endif
