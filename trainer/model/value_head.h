/* The value function's own numbers: a weight per input, perhaps a bias, their gradient and moments.
 *
 *     torch    V = w . h + b over the final hidden row h that predicts the token: hidden + 1 numbers
 *     table    V = w[state]: one number per state, no bias
 *
 * They start at 0, so that a policy's first advantages are those without a critic.  Both back ends
 * hold one; it is saved in a file of its own, because no reader of a policy's folder expects it
 * there. */
#ifndef CARNOT_MODEL_VALUE_HEAD_H
#define CARNOT_MODEL_VALUE_HEAD_H

#include "adamw.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { VALUE_HEAD_TENSORS = 2 }; /* value_head.weight and value_head.bias */

/* The bias stands last and does not decay.  n is 0 if there is no head; gradient and moments are
 * NULL if it is not trainable. */
struct value_head {
    struct adamw all;
};

struct value_head_size {
    size_t inputs;
    bool bias, trainable;
};

/* Allocates, zeroed.  Fails: CN_ERR_MEMORY.  value_head_close also takes a zeroed struct. */
enum cn_status value_head_open(struct value_head *head, const struct value_head_size *size);
void value_head_close(struct value_head *head);

/* Buffers (VALUE_HEAD_TENSORS) over `data`, the weights or the gradient; returns how many there
 * are, 0 without a head. */
size_t value_head_buffers(const struct value_head *head, float *data, struct cn_buffer *out);

/* The gradient as one buffer; returns 1, 0 without a head. */
size_t value_head_flat_gradient(const struct value_head *head, struct cn_buffer *out);

/* Weights, moments and step count as one safetensors file, and back.  Loading without `moments`
 * takes the weights only: the start of another run.  Everything is read before anything is
 * replaced.  Fails: CN_ERR_BUG without a head, CN_ERR_IO, CN_ERR_MODEL naming file and tensor. */
enum cn_status value_head_save(const struct value_head *head, const char *path);
enum cn_status value_head_load(struct value_head *head, const char *path, bool moments);

#ifdef __cplusplus
}
#endif
#endif
