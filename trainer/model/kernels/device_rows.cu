/* The launches of device_rows.h.  Built by nvcc with --fmad=false, so that double operations are those
 * of the CPU.  One block of threads per row. */
#include "device_rows.h"

#include <cuda_runtime.h>

enum { THREADS = 512 };

/* What all threads found, merged in a tree whose shape does not depend on timing. */
static __device__ struct rows_drawing merged(struct rows_drawing mine)
{
    __shared__ struct rows_drawing found[THREADS];
    found[threadIdx.x] = mine;
    for (unsigned half = THREADS / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) rows_draw_merge(&found[threadIdx.x], &found[threadIdx.x + half]);
    }
    __syncthreads();
    return found[0];
}

static __global__ void stats_kernel(struct rows_call a)
{
    struct rows_drawing mine = {rows_stats_thread(&a, blockIdx.x, threadIdx.x, THREADS),
                                {-INFINITY, UINT32_MAX}};
    const struct rows_drawing all = merged(mine);
    if (threadIdx.x == 0) rows_stats_finish(&a, blockIdx.x, all.sum);
}

static __global__ void gradient_kernel(struct rows_call a)
{
    rows_gradient_thread(&a, blockIdx.x, threadIdx.x, THREADS);
}

static __global__ void draw_kernel(struct rows_draw_call a)
{
    const struct rows_drawing all =
        merged(rows_draw_thread(&a, blockIdx.x, threadIdx.x, THREADS));
    if (threadIdx.x == 0) rows_draw_finish(&a, blockIdx.x, &all);
}

static int stats(const struct rows_call *a, void *stream)
{
    stats_kernel<<<(unsigned)a->rows, THREADS, 0, (cudaStream_t)stream>>>(*a);
    return cudaGetLastError();
}

static int gradient(const struct rows_call *a, void *stream)
{
    gradient_kernel<<<(unsigned)a->rows, THREADS, 0, (cudaStream_t)stream>>>(*a);
    return cudaGetLastError();
}

static int draw(const struct rows_draw_call *a, void *stream)
{
    draw_kernel<<<(unsigned)a->rows, THREADS, 0, (cudaStream_t)stream>>>(*a);
    return cudaGetLastError();
}

extern "C" const struct device_row_kernels device_row_kernels = {stats, gradient, draw};
