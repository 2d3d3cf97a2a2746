/* The transformer over the packed rows of an atom: forward, and gradients written by hand.
 *
 *     x  = embed[id]
 *     x += o(attention(rotate(qkv(norm(x)))))      each layer
 *     x += down(gated(gate_up(norm(x))))
 *     norm(x)
 *
 * Everything between two matrix products is float.  Backward makes cheap things again (norm
 * outputs, the gated unit, attention probabilities); with checkpointing it makes the whole layer
 * again from its input, with the same bits. */
#ifndef CARNOT_MODEL_TORCH_LAYERS_H
#define CARNOT_MODEL_TORCH_LAYERS_H

#include "torch_plan.h"
#include "torch_weights.h"

#include <functional>

/* What a layer's backward reads. */
struct torch_layer_saved {
    at::Tensor x, qkv, raw, attention, middle,
        gate_up; /* raw: qkv before the norm of the heads, else undefined */
    float *input_rstd = nullptr, *head_rstd = nullptr, *lse = nullptr, *post_rstd = nullptr;
};

struct torch_activations {
    std::vector<torch_layer_saved> layers; /* with checkpointing only x of each is kept */
    torch_layer_saved shared;              /* of the layer at hand, if not kept */
    at::Tensor last, out;                  /* input and output of the final norm */
    float *final_rstd = nullptr;
};

/* Cosine and sine of every position used so far. */
struct torch_rotation {
    std::vector<float> frequency, cosine, sine;
    size_t positions = 0;
    void grow(size_t positions);
};

enum class torch_keep { nothing, inputs, everything };

/* One network on one packed atom. */
struct torch_pass {
    torch_context &c;
    const struct model_shape &shape;
    const torch_rotation &rotation;
    const torch_view &weights;
    const torch_plan &plan;
};

/* Fills `a`; memory comes from the slab of the context. */
void torch_forward(const torch_pass &pass, torch_keep keep, torch_activations &a);

/* d_out (padded rows, hidden): gradient of a.out; adds the gradient of every weight into `gradient`
 * (float). */
void torch_backward(const torch_pass &pass, torch_activations &a, const at::Tensor &d_out,
                    const torch_view &gradient, const std::function<void(size_t)> &layer_done);

#endif
