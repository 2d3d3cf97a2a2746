/* All weights of a model in one flat array, and views of it by place in the network.
 *
 *   [ matrices: embed | layer 0: q k v | o | gate up | down | layer 1 ... | head ]
 *   [ vectors: norms, biases ]
 *
 * Matrices that multiply the same input lie side by side, so that one product serves them; decay is
 * a prefix. */
#ifndef CARNOT_MODEL_TORCH_WEIGHTS_H
#define CARNOT_MODEL_TORCH_WEIGHTS_H

#include "carnot/model.h"
#include "shape.h"
#include "torch_ops.h"

#include <vector>

/* Where each tensor lies; pieces start at multiples of 16 elements, so that rows are aligned as the
 * GEMM likes it. */
struct torch_layout {
    cn_arena arena = {};
    const shape_tensor *tensors = nullptr; /* in the order of shape_tensors */
    size_t n = 0;
    std::vector<size_t> offset; /* (n) */
    size_t n_matrices = 0;      /* elements of the matrices' part, padding included */
    size_t size = 0;            /* elements in all */

    explicit torch_layout(const struct model_shape &shape);
    ~torch_layout();
    torch_layout(const torch_layout &) = delete;
};

struct torch_layer_view {
    at::Tensor qkv, o, gate_up, down; /* (out, in) */
    float *qkv_bias = nullptr, *o_bias = nullptr, *q_norm = nullptr, *k_norm = nullptr,
          *input_norm = nullptr, *post_norm = nullptr;
};

struct torch_view {
    at::Tensor embed, head; /* head is embed if tied */
    float *final_norm = nullptr;
    std::vector<torch_layer_view> layers;
};

/* flat: the whole layout, or at least its matrices, in any type; vectors: the layout's vectors as
 * floats. */
torch_view torch_view_of(const torch_layout &layout, const struct model_shape &shape,
                         const at::Tensor &flat, float *vectors);

/* Weights that compute: `flat` in F32 or BF16; with BF16 the vectors have a float copy. */
struct torch_compute {
    at::Tensor flat, vectors;
    torch_view view;
};

/* From a float array of the layout (borrowed in F32 unless `copy`). */
torch_compute torch_compute_of(torch_context &c, const torch_layout &layout,
                               const struct model_shape &shape, const at::Tensor &master,
                               bool copy);
/* BF16: the float copy of the vectors again, after flat has changed. */
void torch_compute_refresh(torch_context &c, const torch_layout &layout, torch_compute &compute);

/* Reads a Hugging Face folder into `master`.  Throws: CN_ERR_MODEL naming a missing, misshapen,
 * unknown or non-finite tensor, what safetensors_open fails with. */
void torch_weights_load(const torch_layout &layout, const struct model_shape &shape,
                        const char *folder, float *master);

/* normal(0, initializer_range) matrices, norms 1, biases 0; one Philox stream per row of each
 * tensor. */
void torch_weights_init(const torch_layout &layout, const struct model_shape &shape, uint64_t seed,
                        float *master);

/* Buffers over a flat array, in the order of the layout; `prefix` (may be "") is put before names
 * kept in `names`. */
std::vector<cn_buffer> torch_buffers(const torch_layout &layout, const at::Tensor &flat,
                                     const char *prefix, std::vector<std::string> &names);

/* A flat array as one buffer. */
cn_buffer torch_flat(const at::Tensor &flat);

#endif
