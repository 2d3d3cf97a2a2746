/* The same model on operators of libtorch alone: what run.device=cuda computes with.
 *
 * Nothing here reads a tensor's memory, so the same code runs on CPU tensors:
 * run.device=cpu-operators is the reference path on which the tests compare it with the same golden
 * numbers, where no GPU is; it computes on one thread.
 *
 *   torch_device_weights.cpp    views of the flat weights, AdamW, files
 *   torch_device_fixed.cpp      exact sums of gradients
 *   torch_device_attention.cpp  variable-length attention with shared prompts
 *   torch_device_layers.cpp     the transformer, one autograd graph per layer
 *   torch_device_rows.cpp       rows over the vocabulary: statistics, gradient, draw
 *   torch_device_head.cpp       the head in chunks
 *   torch_device_sampler.cpp    static slots and their keys and values
 *   torch_device_backend.cpp    the table of functions
 *   torch_cuda.cpp              what needs CUDA's own headers: streams, graphs, facts
 *
 * The weights that compute are BF16 (with an F32 master) or F32; what is between two layers, norms,
 * logits and channels is F32. */
#ifndef CARNOT_MODEL_TORCH_DEVICE_H
#define CARNOT_MODEL_TORCH_DEVICE_H

#include "kernels/device_rows.h"
#include "plan.h"
#include "torch_guard.h"
#include "torch_model.h"

#include <c10/core/GradMode.h>

#include <array>
#include <functional>

/* ---- weights ------------------------------------------------------------- */

/* Tensors of one layer by role; q, k, v lie in Q (and Q_BIAS), gate and up in GATE. */
using device_tensors = std::array<at::Tensor, TENSOR_ROLE_COUNT>;

struct device_weights {
    at::Tensor flat, vectors; /* matrices in the type that computes; F32 norms and biases */
    std::vector<device_tensors>
        layers; /* the last entry: EMBED, HEAD (EMBED if tied), FINAL_NORM */
};

/* Where queries of packed rows find their keys.  Segment i's queries are rows [cu_q[i], cu_q[i+1]),
 * its keys [cu_k[i], cu_k[i] + n), n = used[i] or cu_k[i+1] - cu_k[i]; the last query sees all of
 * them, each earlier one a key less. */
struct device_spans {
    at::Tensor cu_q, cu_k, used; /* int32, (segments + 1), (segments); used may be undefined */
    at::Tensor key_rows;         /* int64: key i is row key_rows[i]; undefined: row i */
    int64_t max_q = 0, max_k = 0;
};

/* Packed rows of one pass. */
struct device_rows {
    at::Tensor ids, position; /* (N), int64 */
    device_spans spans;
};

/* An atom between forward and backward. */
struct device_pending {
    torch_plan plan;
    device_rows rows;
    std::vector<at::Tensor> in, out; /* of each layer and of the final norm */
    at::Tensor hidden, logits;       /* logits (head rows, vocabulary) only if they fit one chunk */
    double temperature = 1;
    cn_top top = {};
    uint32_t channels = 0;
    bool vocabulary = false; /* channels but the value were asked for */
};

struct device_model {
    std::unique_ptr<torch_model> host; /* shape, info, layout, source; without its tensors */
    at::Device device = at::kCPU;
    at::ScalarType type = at::kFloat;
    at::Tensor master, gradient, m, v; /* F32, flat; the last three if trainable */
    at::Tensor fixed, misfits;         /* exact sum: I64, flat; whether an element was too large */
    device_weights weights;
    std::vector<device_tensors> gradients; /* views of `gradient` */
    std::vector<device_weights> copies;
    at::Tensor cosine, sine; /* (positions, head_dim / 2) */
    std::unique_ptr<device_pending> pending;
    plan_part part = PLAN_MASTER; /* what is being allocated: named if it does not fit */

    at::TensorOptions of(at::ScalarType t) const
    {
        return at::TensorOptions(device).dtype(t);
    }
};

/* Host integers to the device, as int64 or int32. */
template <class number>
at::Tensor device_upload(const device_model &model, const std::vector<number> &from,
                         at::ScalarType type = at::kLong)
{
    at::Tensor host = at::empty({(int64_t)from.size()}, at::kLong);
    std::copy(from.begin(), from.end(), host.data_ptr<int64_t>());
    return host.to(model.of(type));
}

/* to[rows[i]] += d[i], the same bits each time: CUDA sorts by row and adds one after the other. */
inline void device_add_rows(at::Tensor to, const at::Tensor &rows, const at::Tensor &d)
{
    if (to.is_cuda())
        to.index_put_({rows}, d, true);
    else
        to.index_add_(0, rows, d);
}

/* A failure of memory names the part of the plan that did not fit, and the key to change. */
enum cn_status device_failed(const device_model *model, enum cn_status status);

/* guard, with operators that may record gradients but do so only where asked. */
template <class body_type> enum cn_status device_guard(const device_model *model, body_type body)
{
    return device_failed(model, guard([&] {
                             c10::InferenceMode normal(false);
                             c10::AutoGradMode record(false);
                             body();
                         }));
}

/* Weights from a flat F32 array on the device (borrowed in F32 unless `copy`). */
device_weights device_weights_of(const device_model &model, const at::Tensor &master, bool copy);
/* The weights that compute become those of a flat array of the same type, anywhere. */
void device_weights_take(device_model &model, const at::Tensor &flat);
/* After the master has changed: the weights that compute, in place. */
void device_weights_refresh(device_model &model);
/* Turns the leaves of the weights into collectors of gradients. */
void device_weights_train(device_model &model);

/* Exact sums: as cn_model_fixed and those behind it. */
void device_fixed(device_model &model, cn_buffer &out, bool &fits);
void device_fixed_add(device_model &model, double limit);
void device_fixed_read(device_model &model, bool fits);

/* As the functions of the same name in torch_model.h. */
const device_weights &device_weights_at(const device_model &model, int copy);
void device_step(device_model &model, const cn_step_options &options, cn_step_result &result);
void device_save(device_model &model, int copy, const char *folder, cn_dtype dtype);
void device_state_save(device_model &model, const char *path);
void device_state_load(device_model &model, const char *path);

/* ---- attention: q (N, heads, D), k and v (keys, kv_heads, D) -> (N, heads, D), in q's type ---- */

at::Tensor device_attention(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                            const device_spans &spans); /* back-propagates */
at::Tensor device_attention_forward(const at::Tensor &q, const at::Tensor &k, const at::Tensor &v,
                                    const device_spans &spans);
/* Whether libtorch's flash operators serve these tensors (else plain products do). */
bool device_attention_is_flash(at::Device device, at::ScalarType type, int64_t head_dim);

/* ---- layers -------------------------------------------------------------- */

/* Gets rotated queries and keys, and values, of a layer: returns what attention gives. */
using device_attend = std::function<at::Tensor(size_t layer, const at::Tensor &, const at::Tensor &,
                                               const at::Tensor &)>;

struct device_net {
    const device_model &model;
    const device_weights &weights;
    at::Tensor cosine, sine; /* (N, 1, head_dim / 2): of the rows */
    device_attend attend;
};

/* A net over packed rows. */
device_net device_net_of(device_model &model, const device_weights &weights,
                         const at::Tensor &position, device_attend attend);

/* x (N, hidden) through layer `layer`; the one past the last is the final norm. */
at::Tensor device_layer(const device_net &net, size_t layer, const at::Tensor &x);
/* ids (N) through everything: (N, hidden), no gradient. */
at::Tensor device_hidden(const device_net &net, const at::Tensor &ids);

device_rows device_rows_of(const device_model &model, const torch_plan &plan);
/* Last hidden rows of a plan, no gradient. */
at::Tensor device_score_rows(device_model &model, const device_weights &weights,
                             const device_rows &rows);
/* The same into pending.hidden, keeping what backward needs: graphs, or inputs to checkpoint. */
void device_forward(device_model &model, device_pending &pending);
void device_backward(device_model &model, device_pending &pending, const at::Tensor &d_hidden);

/* ---- head ---------------------------------------------------------------- */

/* Logits (n, vocabulary) of hidden rows (n, hidden), F32. */
at::Tensor device_logits(const device_weights &weights, const at::Tensor &x);
/* Rows of logits that one chunk holds. */
int64_t device_chunk_rows(const device_model &model);
/* Channels of the atom's tokens to the host; keeps logits in `pending` if they are few. */
void device_head_forward(device_model &model, const device_weights &weights,
                         device_pending &pending, const cn_live_out &out);
/* Returns d_hidden; adds to the head's gradient. */
at::Tensor device_head_backward(device_model &model, device_pending &pending,
                                const cn_token_grad &grad);

/* The value head (value_head.h; its numbers stay on the host): the channel, and its gradient, which
 * is added to d_hidden and to the head's own. */
void device_value_forward(device_model &model, const device_pending &pending, double *value);
void device_value_backward(device_model &model, const device_pending &pending,
                           const double *d_value, at::Tensor &d_hidden);

/* ---- rows over the vocabulary.  z (n, vocabulary): logits, F32 ----------- */

struct device_stats {
    at::Tensor lse, entropy; /* (n): of z scale */
};
device_stats device_row_stats(const at::Tensor &z, double scale);

/* The set S of a restricted entropy (trainer/model/kernels/head_body.h has the formulas). */
struct device_top {
    at::Tensor in, mass, entropy; /* (n, vocabulary) bool; (n); (n) */
};
device_top device_row_top(const at::Tensor &z, double scale, const device_stats &stats,
                          const cn_top &top);

/* z becomes dL/dz without the chosen tokens' own terms; d (n) are sums over a row's tokens. */
struct device_row_slopes {
    at::Tensor logp, entropy, top;
};
void device_row_gradient(at::Tensor &z, double scale, const device_stats &stats,
                         const device_row_slopes &d);
/* What the restricted entropy adds to it. */
at::Tensor device_top_gradient(const at::Tensor &z, double scale, const device_stats &stats,
                               const device_top &s, bool renormalised);

/* Draws as decode/choose.h does, by columns of `integers` (DRAW_INTEGERS, n) and `reals`
 * (DRAW_REALS, n) of kernels/device_rows.h -> (n, DRAWN_VALUES) double.  Nothing
 * waits for the device. */
at::Tensor device_draw(const at::Tensor &z, const at::Tensor &integers, const at::Tensor &reals,
                       bool truncated);

extern "C" const struct cn_sampler_backend cn_sampler_device; /* torch_device_sampler.cpp */

/* Words of Philox (n, count) int64 for tokens 0 .. count - 1 of each row. */
at::Tensor device_noise_words(const at::Tensor &integers, int64_t count);

#endif
