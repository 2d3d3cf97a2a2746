/* Vectors of floats as wide as the instruction set that the file is compiled for. */
#ifndef CARNOT_MODEL_VECTOR_H
#define CARNOT_MODEL_VECTOR_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
enum { LANES = 16, TILE_ROWS = 8 };
#elif defined(__AVX2__) && defined(__FMA__)
enum { LANES = 8, TILE_ROWS = 6 };
#else
enum { LANES = 4, TILE_ROWS = 4 };
#endif

typedef float vec __attribute__((vector_size(4 * LANES)));
typedef int32_t veci __attribute__((vector_size(4 * LANES)));

static inline vec vec_load(const float *p)
{
    vec r;
    memcpy(&r, p, sizeof r);
    return r;
}

static inline void vec_store(float *p, vec x)
{
    memcpy(p, &x, sizeof x);
}

/* The first k <= LANES entries; the rest is 0. */
static inline vec vec_load_part(const float *p, size_t k)
{
    if (__builtin_expect(k >= LANES, 1)) return vec_load(p);
    vec r = {0};
    memcpy(&r, p, k * sizeof(float));
    return r;
}

static inline void vec_store_part(float *p, vec x, size_t k)
{
    if (__builtin_expect(k >= LANES, 1))
        vec_store(p, x);
    else
        memcpy(p, &x, k * sizeof(float));
}

static inline vec vec_all(float x)
{
    return x - (vec){0};
}

static inline vec vec_select(veci mask, vec yes, vec no)
{
    return (vec)((mask & (veci)yes) | (~mask & (veci)no));
}

static inline vec vec_max(vec a, vec b)
{
    return vec_select(a > b, a, b);
}

/* Sum of the lanes, always in the same order: halves are folded. */
static inline float vec_sum(vec x)
{
    float lane[LANES];
    memcpy(lane, &x, sizeof lane);
    for (size_t half = LANES / 2; half; half /= 2)
        for (size_t i = 0; i < half; i++)
            lane[i] += lane[i + half];
    return lane[0];
}

static inline float vec_largest(vec x)
{
    float lane[LANES];
    memcpy(lane, &x, sizeof lane);
    float best = lane[0];
    for (size_t i = 1; i < LANES; i++)
        best = lane[i] > best ? lane[i] : best;
    return best;
}

/* The first k < LANES lanes; the rest becomes 0. */
static inline vec vec_keep(vec x, size_t k)
{
    float lane[LANES];
    vec_store(lane, x);
    for (size_t i = k; i < LANES; i++)
        lane[i] = 0;
    return vec_load(lane);
}

static inline float vec_largest_part(const float *p, size_t k)
{
    float best = p[0];
    for (size_t i = 1; i < k; i++)
        best = p[i] > best ? p[i] : best;
    return best;
}

/* e^x to about 1 unit in the last place for -87 <= x <= 88; below that e^-87; a NaN stays a NaN.
 * x = n ln 2 + r, |r| <= ln 2 / 2; Taylor polynomial of degree 7 in r (remainder < 6e-9 relative),
 * times 2^n. */
static inline vec vec_exp(vec x)
{
    const vec low = vec_all(-87.0f), high = vec_all(88.0f),
              magic = vec_all(12582912.0f); /* 1.5 2^23 */
    x = vec_select(x < low, low, x);
    x = vec_select(x > high, high, x);
    vec t = x * 1.44269504088896341f + magic;
    vec n = t - magic;
    vec r = x - n * 0.693359375f;
    r = r + n * 2.12194440054690583e-4f;
    vec p = r * (1.0f / 5040) + 1.0f / 720;
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    veci exponent = ((veci)t - (veci)magic + 127) << 23;
    return p * (vec)exponent;
}

#endif
