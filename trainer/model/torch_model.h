/* The state behind one open model of the torch back end. */
#ifndef CARNOT_MODEL_TORCH_MODEL_H
#define CARNOT_MODEL_TORCH_MODEL_H

#include "backend.h"
#include "shard.h"
#include "torch_head.h"
#include "torch_layers.h"
#include "torch_value.h"

#include <memory>
#include <string>

/* Buffers lent to C, with the memory of their names. */
struct torch_lent {
    std::vector<std::string> names;
    std::vector<cn_buffer> buffers;
};

/* An atom between forward and backward. */
struct torch_pending {
    torch_plan plan;
    torch_activations activations;
    torch_head_saved head;
};

struct torch_model {
    torch_model() = default;
    torch_model(const torch_model &) = delete;
    ~torch_model()
    {
        value_head_close(&value);
        shard_close(&shard);
    }
    torch_context context;
    struct model_shape shape = {};
    struct cn_model_info info = {};
    std::string source; /* folder the weights came from; empty: random start */
    bool trainable = false, checkpoint = false;
    int threads = 1;
    std::unique_ptr<torch_layout> layout;
    at::Tensor master, gradient, m, v; /* float, flat; the last three if trainable.  Of m, v and, in
                                          BF16, master only this rank's share */
    struct shard shard = {};
    uint64_t steps = 0;
    torch_compute compute;
    torch_view gradient_view;
    struct value_head value = {};
    std::vector<torch_compute> copies;
    torch_rotation rotation;
    std::unique_ptr<torch_pending> pending;
    torch_lent lent_gradient, lent_weights, lent_compute;
};

/* Whether `master` is the whole flat array: always where it is what computes. */
bool torch_master_whole(const torch_model &model);

/* The current weights (copy < 0) or a frozen copy.  Throws torch_failure: CN_ERR_BUG if there is
 * none. */
const torch_compute &torch_weights_at(const torch_model &model, int copy);

/* Optimizer and files; arguments and failures as in carnot/model.h, thrown as torch_failure. */
void torch_step(torch_model &model, const cn_step_options &options, cn_step_result &result);
void torch_save(torch_model &model, int copy, const char *folder, cn_dtype dtype);
void torch_state_save(torch_model &model, const char *path);
void torch_state_load(torch_model &model, const char *path);

#endif
