/* The model seam: weights, their log-probabilities and gradients, and sampling from them.
 *
 * Back ends: `torch` (trainer/model/torch_*.cpp, one shared object opened on first use) and `table`
 * (plain C, exact). Host arrays in and out; only trainer/model knows devices, tensors and the shift
 * by one.  Every call is made by one thread at a time.  Not collective. */
#ifndef CARNOT_MODEL_H
#define CARNOT_MODEL_H

#include "carnot/buffer.h"
#include "carnot/entropy.h"
#include "carnot/rng.h"
#include "carnot/token_grad.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_model;

/* A rank's share of what the optimizer keeps.  The flat space of all parameters (but those of a
 * value head, which every rank keeps) is cut into blocks, and blocks are dealt out in runs; each
 * rank has moments, and an F32 master copy where the weights that compute are BF16, of its own run
 * only, steps it, and gets the rest of the new weights from the others.  The bits are those of one
 * rank. */
struct cn_shard {
    size_t index, count; /* rank and number of ranks; a count of 0 or 1: everything is kept */
    /* Everybody's own elements [start[r], start[r + 1]) -> all elements everywhere, in place. */
    enum cn_status (*gather)(void *self, const struct cn_buffer *whole, const size_t *start);
    void *self;
};

/* start (count + 1): the shares of n flat elements. */
void cn_shard_start(size_t n, size_t count, size_t *start);

/* The section `model`, plus what it takes from `run` and `parallel`. */
struct cn_model_settings {
    const char *type; /* "torch" or "table" */
    const char *path; /* Hugging Face folder; NULL: random start from `init` */
    const struct cn_json
        *init; /* a config.json as an object: the shape of a random start; NULL if path is set */
    const char *device;  /* "cpu", "cuda" */
    int gpu;             /* "cuda": which of those that this process sees, modulo their number */
    enum cn_dtype dtype; /* of the weights that compute: F32 or BF16 (with F32 master) */
    int threads;         /* 0: cores of the affinity mask */
    bool checkpoint_activations; /* recompute each layer in backward */
    bool trainable;              /* false: no master copy, gradients or moments */
    bool value_head; /* gives the channel value; its weights are 0, or path/state's where those are
                        (cn_model_value_save) */
    uint64_t seed;   /* of a random start */
    struct cn_shard shard; /* if trainable; then step, save and state_save are collective */
};

enum cn_status cn_model_open(const struct cn_model_settings *settings, struct cn_model **out);
void cn_model_close(struct cn_model *take_model);

/* Facts about an open model; lives as long as the model. */
struct cn_model_info {
    const char *family; /* "llama", "qwen2", "qwen3", "table" */
    size_t vocab_size, context_length, hidden_size, n_layers, n_parameters;
    bool tied, value_head;
};
const struct cn_model_info *cn_model_info(const struct cn_model *model);

/* ---- scoring and training ------------------------------------------------ */

/* Some sequences of a batch, computed in one go.  Head and channels are evaluated for tokens whose
 * role is CN_ROLE_POLICY, all other entries become 0.  Consecutive sequences of one group whose
 * leading prompt tokens are the same share the forward of that prompt. */
struct cn_atom {
    const struct cn_batch *batch; /* reads token, role, group, seq_start */
    struct cn_span span;
    double temperature; /* logits are divided by it */
    struct cn_top top;  /* restriction of entropy_top */
    uint32_t channels;  /* CN_LIVE_BIT(...) wanted */
};

/* Destination of channels: arrays over the whole batch (T) or NULL. */
struct cn_live_out {
#define X(name, text) double *name;
    CN_LIVE(X)
#undef X
};

/* Forward only, under the current weights (copy < 0) or a frozen copy.  Fills the atom's entries of
 * `out`. Fails: CN_ERR_MODEL for a token id outside the vocabulary or a sequence longer than the
 * context, CN_ERR_MEMORY. */
enum cn_status cn_model_score(struct cn_model *model, int copy, const struct cn_atom *atom,
                              const struct cn_live_out *out);

/* The same, keeping what `backward` needs.  One atom is pending at a time. */
enum cn_status cn_model_forward(struct cn_model *model, const struct cn_atom *atom,
                                const struct cn_live_out *out);

/* Adds dL/dtheta of the pending atom to the gradient, from d_channel (T) of the atom's tokens. */
enum cn_status cn_model_backward(struct cn_model *model, const struct cn_token_grad *grad);

/* The same, and tells while it goes on that elements [begin, end) of the flat gradient are what
 * they will be; `begin` falls.  A back end that does not know tells nothing. */
struct cn_ready {
    void (*tell)(void *self, size_t begin, size_t end);
    void *self;
};
enum cn_status cn_model_backward_ready(struct cn_model *model, const struct cn_token_grad *grad,
                                       const struct cn_ready *ready);

enum cn_status cn_model_zero_gradients(struct cn_model *model);

/* Lends the gradient (F32) or the weights (the F32 master if it is there as a whole): one buffer
 * per tensor with Hugging Face's name, those of the value head last.  The list lives as long as the
 * model, the contents until the next call that changes them. */
enum cn_status cn_model_gradients(struct cn_model *model, const struct cn_buffer **out, size_t *n);
enum cn_status cn_model_weights(struct cn_model *model, const struct cn_buffer **out, size_t *n);

/* Lends the same gradient as it lies in memory: the flat space that is shared out, then a value
 * head's.  A step needs the sum over all ranks in this rank's own share, and in the value head. */
enum cn_status cn_model_flat_gradient(struct cn_model *model, struct cn_buffer out[2], size_t *n);

/* ---- exact sums of the flat space's gradient, for a back end whose gradient the host cannot read
 *
 * One integer per element, which counts CN_FIXED_UNIT (trainer/ranks/gradient_sum.h), lies beside
 * the gradient; cn_model_zero_gradients makes all of them 0. */
#define CN_FIXED_UNIT 0x1p-44

/* Lends the integers (I64); the first call makes them.  *fits: every element that was added was
 * below its limit.  out->count: 0 where a back end has none, since the host can read its gradient.
 * Fails: CN_ERR_MEMORY. */
enum cn_status cn_model_fixed(struct cn_model *model, struct cn_buffer *out, bool *fits);

/* Adds the gradient, rounded to the nearest integer, and makes it 0.  An element that is not below
 * `limit` adds nothing. */
enum cn_status cn_model_fixed_add(struct cn_model *model, double limit);

/* The gradient becomes what the integers say; fits = false: it has an element that is no number. */
enum cn_status cn_model_fixed_read(struct cn_model *model, bool fits);

/* Lends the weights in the dtype that computes (F32 or BF16), in host memory, with Hugging Face's
 * names; the same list for every process that has opened the same model.  Valid until the next step
 * or load. */
enum cn_status cn_model_compute_weights(struct cn_model *model, const struct cn_buffer **out,
                                        size_t *n);

/* What cn_model_compute_weights lent was overwritten: the model computes with that from now on; a
 * sampler needs cn_sampler_refresh.  Not for a trainable model, whose master copy stays: libtorch's
 * fails with CN_ERR_BUG. */
enum cn_status cn_model_weights_changed(struct cn_model *model);

/* What a step changes: a value head on a policy may learn at its own rate, or alone. */
enum cn_step_part { CN_STEP_ALL, CN_STEP_BODY, CN_STEP_VALUE };

struct cn_step_options {
    double lr, beta1, beta2, epsilon, weight_decay;
    double clip_norm;       /* of the part's gradient; 0: no clipping */
    enum cn_step_part part; /* without a value head, ALL is the body */
};

struct cn_step_result {
    double grad_norm; /* before clipping */
    bool skipped;     /* the norm was not finite: nothing was changed */
};

/* Clips, one AdamW step (decoupled decay on matrices only: not on norms and biases), new compute
 * weights.  The norm is added up block by block, in one order for any number of shards.  Loshchilov
 * & Hutter 2019, "Decoupled Weight Decay Regularization", with bias correction. */
enum cn_status cn_model_step(struct cn_model *model, const struct cn_step_options *options,
                             struct cn_step_result *result);

/* Remembers the current weights (path NULL) or those of a folder as a frozen copy.  *copy: the
 * number of a copy to replace, or -1 for a new one, whose number it becomes. */
enum cn_status cn_model_freeze(struct cn_model *model, const char *path, int *copy);

/* Writes a Hugging Face folder's config.json and model*.safetensors (weights only; see checkpoint.c
 * for the rest), in `dtype`: the current weights (copy < 0) or a frozen copy.  The folder exists.
 * Each file is replaced atomically.  One rank writes; the others give NULL, and what the writer
 * lacks: their shares, piece by piece.  So the files do not depend on the number of shards. */
enum cn_status cn_model_save(struct cn_model *model, int copy, const char *folder,
                             enum cn_dtype dtype);

/* Master weights, moments and step count as one safetensors file: what a bit-exact resume needs.
 * Saving: as above, NULL where another rank writes.  Loading: every rank reads what it keeps. */
enum cn_status cn_model_state_save(struct cn_model *model, const char *path);
enum cn_status cn_model_state_load(struct cn_model *model, const char *path);

/* The same of the value head, which is in none of the files above.  A checkpoint keeps it as
 * state/value_head.safetensors, where cn_model_open finds it.  Fails: CN_ERR_BUG without a head. */
enum cn_status cn_model_value_save(struct cn_model *model, const char *path);
enum cn_status cn_model_value_load(struct cn_model *model, const char *path);

/* ---- sampling ------------------------------------------------------------ */

struct cn_sampler; /* slots over a model's current weights */

enum cn_engine { CN_ENGINE_AUTO, CN_ENGINE_DECODE, CN_ENGINE_TORCH };

struct cn_sampler_settings {
    enum cn_engine engine; /* AUTO: the C decode engine on CPU */
    size_t slots;          /* sequences at a time */
    size_t context;        /* most tokens of one sequence, prompt included */
    int threads;           /* 0: as the model */
    enum cn_dtype dtype;   /* of the engine's weights and cache: F32 or BF16 */
    const char *isa;       /* NULL: the best here; "portable" or "avx512" force a path (tests) */
};

/* How a slot draws its tokens.  Gumbel-max over logits/temperature with Philox counters (position,
 * sample, prompt). */
struct cn_draw {
    struct cn_rng_key key;
    uint64_t prompt;
    uint32_t sample;
    double temperature; /* > 0 */
    int64_t top_k;      /* 0: all */
    double top_p;       /* 1: all */
    bool greedy;
};

/* One drawn token. */
struct cn_drawn {
    int32_t token;
    double logp;           /* full distribution at the slot's temperature, nats */
    double logp_truncated; /* under top-k and top-p */
    double entropy;        /* full distribution, nats */
};

enum cn_status cn_sampler_open(struct cn_model *model, const struct cn_sampler_settings *settings,
                               struct cn_sampler **out);
void cn_sampler_close(struct cn_sampler *take_sampler);

/* The weights have changed: refreshes the engine's copy, if it has one.  All slots must be closed.
 */
enum cn_status cn_sampler_refresh(struct cn_sampler *sampler);

/* Nothing will be sampled for a while: the engine gives back memory that only open slots need (keys
 * and values), so that sampling and training do not need theirs at once.  Optional. */
void cn_sampler_rest(struct cn_sampler *sampler);

/* Starts a sequence with `ids` (n >= 1): all but the last are computed now, the last is pending.
 * Fails: CN_ERR_BUG if no slot is free, CN_ERR_MODEL if n exceeds the context or an id the
 * vocabulary. */
enum cn_status cn_slot_open(struct cn_sampler *sampler, const int32_t *ids, size_t n,
                            const struct cn_draw *draw, size_t *slot);

/* A second sequence with the same past, drawing on its own; the common past is stored once. */
enum cn_status cn_slot_fork(struct cn_sampler *sampler, size_t from, const struct cn_draw *draw,
                            size_t *slot);

/* Adds tokens that were not sampled (an environment's answer); the last one becomes pending. */
enum cn_status cn_slot_append(struct cn_sampler *sampler, size_t slot, const int32_t *ids,
                              size_t n);
void cn_slot_close(struct cn_sampler *sampler, size_t slot);

/* One token for each listed slot: computes the pending token, draws the next, which becomes
 * pending.  A slot's tokens do not depend on the other slots, their order or the number of threads.
 */
enum cn_status cn_sampler_step(struct cn_sampler *sampler, const size_t *slots, size_t n,
                               struct cn_drawn *out);

/* Log-probability and entropy (n) of given ids as the engine sees them; entry 0 is 0.  top > 0 also
 * gives the `top` largest log-probabilities of each position: top_ids, top_logp (n x top).  Uses
 * one free slot. */
enum cn_status cn_sampler_score(struct cn_sampler *sampler, const int32_t *ids, size_t n,
                                double temperature, size_t top, double *logp, double *entropy,
                                int32_t *top_ids, double *top_logp);

#ifdef __cplusplus
}
#endif
#endif
