/* Vectors of floats as wide as the instruction set this file is compiled for, and the few
 * operations that the compiler does not form by itself.  + - * on `vf` are lane by lane. */
#ifndef CARNOT_DECODE_SIMD_H
#define CARNOT_DECODE_SIMD_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
enum { LANES = 16, TILE_COLUMNS = 12, VALUE_VECTORS = 4, BF16_ROWS = 8, FEW_ROWS = 8 };
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
enum { LANES = 8, TILE_COLUMNS = 6, VALUE_VECTORS = 2, BF16_ROWS = 4, FEW_ROWS = 4 };
#else
enum { LANES = 4, TILE_COLUMNS = 6, VALUE_VECTORS = 2, BF16_ROWS = 2, FEW_ROWS = 4 };
#endif

#include "../transpose.h"

#define INLINE static inline __attribute__((always_inline))

typedef float vf __attribute__((vector_size(4 * LANES)));
typedef int32_t vi __attribute__((vector_size(4 * LANES)));
typedef uint64_t vu __attribute__((vector_size(4 * LANES)));

INLINE vf vf_load(const float *p)
{
    vf r;
    memcpy(&r, p, sizeof r);
    return r;
}

INLINE void vf_store(float *p, vf x)
{
    memcpy(p, &x, sizeof x);
}

INLINE vf vf_all(float x)
{
    return x - (vf){0};
}

INLINE vf vf_select(vi mask, vf yes, vf no)
{
    return (vf)((mask & (vi)yes) | (~mask & (vi)no));
}

/* Lane by lane; where a is NaN the result is b. */
INLINE vf vf_max(vf a, vf b)
{
#if defined(__AVX512F__)
    return _mm512_max_ps(a, b);
#elif defined(__AVX2__)
    return _mm256_max_ps(a, b);
#else
    return vf_select(a > b, a, b);
#endif
}

/* a b + c: one rounding with AVX2 and AVX-512, two without. */
INLINE vf vf_fma(vf a, vf b, vf c)
{
#if defined(__AVX512F__)
    return _mm512_fmadd_ps(a, b, c);
#elif defined(__AVX2__) && defined(__FMA__)
    return _mm256_fmadd_ps(a, b, c);
#else
    return a * b + c;
#endif
}

/* The first n < LANES entries. */
INLINE void vf_store_part(float *p, vf x, size_t n)
{
#if defined(__AVX512F__)
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), x);
#else
    float lane[LANES];
    vf_store(lane, x);
    for (size_t i = 0; i < n; i++)
        p[i] = lane[i];
#endif
}

/* The rest is 0. */
INLINE vf vf_load_part(const float *p, size_t n)
{
#if defined(__AVX512F__)
    return _mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    float lane[LANES] = {0};
    for (size_t i = 0; i < n; i++)
        lane[i] = p[i];
    return vf_load(lane);
#endif
}

/* LANES floats from LANES bf16. */
INLINE vf vf_from_bf16(const uint16_t *p)
{
#if defined(__AVX512F__)
    __m256i half;
    memcpy(&half, p, sizeof half);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(half), 16));
#elif defined(__AVX2__)
    __m128i half;
    memcpy(&half, p, sizeof half);
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(half), 16));
#else
    vi wide;
    for (int i = 0; i < LANES; i++)
        wide[i] = (int32_t)((uint32_t)p[i] << 16);
    return (vf)wide;
#endif
}

/* Sum and maximum of the lanes, always in the same order: halves are folded. */
#if defined(__AVX2__) && defined(__FMA__)
INLINE float quarter_sum(__m128 x)
{
    x = _mm_add_ps(x, _mm_movehl_ps(x, x));
    return _mm_cvtss_f32(_mm_add_ss(x, _mm_shuffle_ps(x, x, 1)));
}

INLINE float quarter_largest(__m128 x)
{
    x = _mm_max_ps(_mm_movehl_ps(x, x), x);
    return _mm_cvtss_f32(_mm_max_ss(_mm_shuffle_ps(x, x, 1), x));
}

INLINE float half_sum(__m256 x)
{
    return quarter_sum(_mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1)));
}

INLINE float half_largest(__m256 x)
{
    return quarter_largest(_mm_max_ps(_mm256_extractf128_ps(x, 1), _mm256_castps256_ps128(x)));
}
#endif

INLINE float vf_sum(vf x)
{
#if defined(__AVX512F__)
    return half_sum(_mm256_add_ps(_mm512_castps512_ps256(x), _mm512_extractf32x8_ps(x, 1)));
#elif defined(__AVX2__) && defined(__FMA__)
    return half_sum(x);
#else
    return (x[0] + x[2]) + (x[1] + x[3]);
#endif
}

INLINE float vf_largest(vf x)
{
#if defined(__AVX512F__)
    return half_largest(_mm256_max_ps(_mm512_extractf32x8_ps(x, 1), _mm512_castps512_ps256(x)));
#elif defined(__AVX2__) && defined(__FMA__)
    return half_largest(x);
#else
    float a = x[2] > x[0] ? x[2] : x[0], b = x[3] > x[1] ? x[3] : x[1];
    return b > a ? b : a;
#endif
}

INLINE vu vu_all(uint64_t x)
{
    return x - (vu){0};
}

/* Product of the lower halves of each lane; the upper halves are 0. */
INLINE vu vu_multiply(vu a, vu b)
{
#if defined(__AVX512F__)
    return (vu)_mm512_mul_epu32((__m512i)a, (__m512i)b);
#elif defined(__AVX2__)
    return (vu)_mm256_mul_epu32((__m256i)a, (__m256i)b);
#else
    return a * b;
#endif
}

/* e^x within about 1 unit in the last place for -87 <= x <= 88, clamped there: x = n ln 2 + r, |r|
 * <= ln 2 / 2, Taylor polynomial of degree 7 (remainder below 6e-9 relative), times 2^n. */
INLINE vf vf_exp(vf x)
{
    const vf magic = vf_all(12582912.0f); /* 1.5 2^23: adding it rounds to an integer */
    const vf low = vf_all(-87.0f), high = vf_all(88.0f);
    x = vf_select(x < low, low, x);
    x = vf_select(x > high, high, x);
    vf shifted = vf_fma(x, vf_all(1.44269504f), magic);
    vf n = shifted - magic;
    vf r = vf_fma(n, vf_all(-0.693359375f), x);
    r = vf_fma(n, vf_all(2.12194440e-4f), r);
    vf p = vf_fma(r, vf_all(1.0f / 5040), vf_all(1.0f / 720));
    p = vf_fma(p, r, vf_all(1.0f / 120));
    p = vf_fma(p, r, vf_all(1.0f / 24));
    p = vf_fma(p, r, vf_all(1.0f / 6));
    p = vf_fma(p, r, vf_all(0.5f));
    p = vf_fma(p, r, vf_all(1.0f));
    p = vf_fma(p, r, vf_all(1.0f));
    vi exponent = ((vi)shifted - (vi)magic + 127) << 23;
    return p * (vf)exponent;
}

#endif
