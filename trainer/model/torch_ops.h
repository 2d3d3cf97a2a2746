/* Memory and matrix products of the torch back end, and its loops spread over threads. */
#ifndef CARNOT_MODEL_TORCH_OPS_H
#define CARNOT_MODEL_TORCH_OPS_H

#include "kernels/kernels.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <vector>

/* n floats, all 0, in large pages where the system lends them. */
at::Tensor torch_zeros(size_t n);

/* Memory of one atom: taken piece by piece, given back all at once, kept for the next atom (page
 * faults cost more than the arithmetic of a small model). */
class torch_slab
{
  public:
    at::Tensor matrix(size_t rows, size_t columns,
                      at::ScalarType type = at::kFloat); /* not zeroed */
    float *floats(size_t n);
    int32_t *ints(size_t n);
    void reset();

    struct mark {
        size_t block, used;
    };
    mark now() const;
    void release(mark to); /* gives back what was taken since */

  private:
    at::Tensor take(size_t bytes);
    std::vector<at::Tensor> blocks;
    size_t block = 0, used = 0;
};

/* What every part of the back end computes with. */
struct torch_context {
    const torch_kernels *k = nullptr;
    torch_slab slab;
    bool half = false;                       /* matrices are bf16 */
    std::vector<std::vector<float>> scratch; /* per thread */
};

inline float *data(const at::Tensor &x)
{
    return x.data_ptr<float>();
}

/* y (N, out) = x (N, in) w^T (out, in) + bias.  y and x are float; with half, w is bf16, and x is
 * rounded to it where the processor multiplies bf16; elsewhere w is widened. */
void torch_linear(torch_context &c, const at::Tensor &y, const at::Tensor &x, const at::Tensor &w,
                  const float *bias);

/* Backward of the same: d_x (N, in) = d_y w;  d_w (out, in; float) += d_y^T x;  d_bias += column
 * sums of d_y. */
struct torch_linear_gradient {
    const at::Tensor &d_x, &d_w;
    float *d_bias;
};
void torch_linear_back(torch_context &c, const torch_linear_gradient &out, const at::Tensor &d_y,
                       const at::Tensor &x, const at::Tensor &w);

/* Only d_w, only d_x: where x must be made between the two. */
void torch_input_gradient(torch_context &c, const at::Tensor &d_x, const at::Tensor &d_y,
                          const at::Tensor &w);
void torch_weight_gradient(torch_context &c, const at::Tensor &d_w, const at::Tensor &d_y,
                           const at::Tensor &x);

/* Blocks of KERNEL_BLOCK rows, each with its own part of a sum over rows. */
inline size_t torch_blocks(size_t rows)
{
    return (rows + KERNEL_BLOCK - 1) / KERNEL_BLOCK;
}

/* One partial sum per block: data (blocks, stride). */
struct torch_partials {
    const float *data;
    size_t blocks, stride;
};

/* out (width) += the sum over the blocks, in order. */
void torch_reduce(torch_context &c, const torch_partials &partials, float *out, size_t width);

/* Adds the column sums of x (rows, stride)[0..width) to out. */
void torch_column_sum(torch_context &c, const at::Tensor &x, size_t width, float *out);

/* Float (any shape) -> bf16 matrix of the same shape from the slab, and back into y. */
at::Tensor torch_to_half(torch_context &c, const at::Tensor &x);
void torch_from_half(torch_context &c, const at::Tensor &x, const at::Tensor &y);

/* Calls body(begin, end) over [0, n) in pieces on the threads of libtorch. */
template <class body_type> void torch_rows(size_t n, size_t grain, body_type body)
{
    at::parallel_for(0, (int64_t)n, (int64_t)grain,
                     [&](int64_t begin, int64_t end) { body((size_t)begin, (size_t)end); });
}

#endif
