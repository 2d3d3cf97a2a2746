/* From the last hidden rows to the live channels, and back, without holding tokens x vocabulary.
 *
 * Rows go through the head in chunks; a row's softmax statistics are computed once even if it
 * predicts the first token of many answers.  Backward makes the logits of a chunk again, with the
 * same bits, unless all of them were small enough to keep.
 *
 * The rows of a chunk follow from the vocabulary alone and are no setting: the head's gradient is a
 * sum over chunks in order, so another size would be another order of that sum. */
#ifndef CARNOT_MODEL_TORCH_HEAD_H
#define CARNOT_MODEL_TORCH_HEAD_H

#include "torch_plan.h"
#include "torch_weights.h"

struct torch_head_saved {
    std::vector<kernel_head_row> rows; /* of plan.head_row */
    at::Tensor kept;                   /* logits of all rows, or undefined */
    double temperature = 1;
    cn_top top = {};
    uint32_t channels = 0;
};

struct torch_head_pass {
    torch_context &c;
    const torch_plan &plan;
    const at::Tensor &head;   /* (vocabulary, hidden) */
    const at::Tensor &hidden; /* (padded rows, hidden): output of the final norm */
};

/* Fills `saved` and the wanted channels of the atom's tokens. */
void torch_head_forward(const torch_head_pass &pass, const cn_atom &atom, const cn_live_out &out,
                        torch_head_saved &saved);

/* d_hidden (padded rows, hidden), overwritten; d_head (vocabulary, hidden) is added to. */
void torch_head_backward(const torch_head_pass &pass, const cn_token_grad &grad,
                         torch_head_saved &saved, const at::Tensor &d_hidden,
                         const at::Tensor &d_head);

/* Plain logits of the head rows: out (head rows, vocabulary). */
void torch_head_logits(const torch_head_pass &pass, float *out);

#endif
