/* A square of floats turned in registers, for the kernels of the decode engine and of the torch
 * back end.  Whoever includes it defines LANES, floats of a vector, by the same instruction sets.
 */
#ifndef CARNOT_MODEL_TRANSPOSE_H
#define CARNOT_MODEL_TRANSPOSE_H

#include <string.h>

#if defined(__AVX512F__) || (defined(__AVX2__) && defined(__FMA__))
#include <immintrin.h>
#endif

typedef float lanes_row __attribute__((vector_size(4 * LANES)));

/* Rows become columns: lane j of t[i] <-> lane i of t[j]. */
#if defined(__AVX512F__)
static inline __attribute__((always_inline)) void lanes_transpose(lanes_row t[LANES])
{
    __m512 u[16];
    for (int i = 0; i < 16; i += 2) {
        u[i] = _mm512_unpacklo_ps(t[i], t[i + 1]);
        u[i + 1] = _mm512_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        __m512d a = _mm512_castps_pd(u[i]), b = _mm512_castps_pd(u[i + 1]);
        __m512d c = _mm512_castps_pd(u[i + 2]), d = _mm512_castps_pd(u[i + 3]);
        t[i] = _mm512_castpd_ps(_mm512_unpacklo_pd(a, c));
        t[i + 1] = _mm512_castpd_ps(_mm512_unpackhi_pd(a, c));
        t[i + 2] = _mm512_castpd_ps(_mm512_unpacklo_pd(b, d));
        t[i + 3] = _mm512_castpd_ps(_mm512_unpackhi_pd(b, d));
    }
    /* Now lane group g of t[4 i + j] holds column 4 g + j of rows 4 i .. 4 i + 3: transpose the 4 x
     * 4 of groups. */
    for (int j = 0; j < 4; j++) {
        __m512 a = _mm512_shuffle_f32x4(t[j], t[4 + j], 0x88);
        __m512 b = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0x88);
        __m512 c = _mm512_shuffle_f32x4(t[j], t[4 + j], 0xdd);
        __m512 d = _mm512_shuffle_f32x4(t[8 + j], t[12 + j], 0xdd);
        u[j] = _mm512_shuffle_f32x4(a, b, 0x88);
        u[8 + j] = _mm512_shuffle_f32x4(a, b, 0xdd);
        u[4 + j] = _mm512_shuffle_f32x4(c, d, 0x88);
        u[12 + j] = _mm512_shuffle_f32x4(c, d, 0xdd);
    }
    for (int i = 0; i < 16; i++)
        t[i] = u[i];
}
#elif defined(__AVX2__) && defined(__FMA__)
static inline __attribute__((always_inline)) void lanes_transpose(lanes_row t[LANES])
{
    __m256 u[8];
    for (int i = 0; i < 8; i += 2) {
        u[i] = _mm256_unpacklo_ps(t[i], t[i + 1]);
        u[i + 1] = _mm256_unpackhi_ps(t[i], t[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        t[i] = _mm256_shuffle_ps(u[i], u[i + 2], 0x44);
        t[i + 1] = _mm256_shuffle_ps(u[i], u[i + 2], 0xee);
        t[i + 2] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0x44);
        t[i + 3] = _mm256_shuffle_ps(u[i + 1], u[i + 3], 0xee);
    }
    for (int j = 0; j < 4; j++) {
        __m256 low = _mm256_permute2f128_ps(t[j], t[4 + j], 0x20);
        __m256 high = _mm256_permute2f128_ps(t[j], t[4 + j], 0x31);
        t[j] = low;
        t[4 + j] = high;
    }
}
#else
static inline __attribute__((always_inline)) void lanes_transpose(lanes_row t[LANES])
{
    float a[LANES][LANES], b[LANES][LANES];
    memcpy(a, t, sizeof a);
    for (int i = 0; i < LANES; i++)
        for (int j = 0; j < LANES; j++)
            b[j][i] = a[i][j];
    memcpy(t, b, sizeof b);
}
#endif

#endif
