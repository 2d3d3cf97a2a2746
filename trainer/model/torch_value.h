/* The value head of the torch back end: V of a token is w . h + b over the final hidden row h that
 * predicts it, so it judges the state before the token is chosen. */
#ifndef CARNOT_MODEL_TORCH_VALUE_H
#define CARNOT_MODEL_TORCH_VALUE_H

#include "torch_head.h"
#include "value_head.h"

/* Fills the channel of the atom's policy tokens; the others are 0. */
void torch_value_forward(const torch_plan &plan, const at::Tensor &hidden, const value_head &head,
                         double *value);

/* d_hidden (padded rows, hidden) and the head's gradient are added to. */
void torch_value_backward(const torch_head_pass &pass, const double *d_value, value_head &head,
                          const at::Tensor &d_hidden);

#endif
