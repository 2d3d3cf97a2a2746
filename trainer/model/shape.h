/* The shape of a model: what config.json says, and the tensors that follow from it.
 *
 * One list of tensors (shape_tensors) is what the loader expects, the saver writes, the decode
 * engine packs, the optimizer walks and the memory plan counts. */
#ifndef CARNOT_MODEL_SHAPE_H
#define CARNOT_MODEL_SHAPE_H

#include "carnot/arena.h"
#include "carnot/buffer.h"
#include "carnot/json.h"

#ifdef __cplusplus
extern "C" {
#endif

/* model_type and the one architecture that is read */
#define MODEL_FAMILIES(X)                                                                          \
    X(LLAMA, "llama", "LlamaForCausalLM")                                                          \
    X(QWEN2, "qwen2", "Qwen2ForCausalLM")                                                          \
    X(QWEN3, "qwen3", "Qwen3ForCausalLM")

enum model_family {
#define X(name, type, architecture) MODEL_##name,
    MODEL_FAMILIES(X)
#undef X
        MODEL_FAMILY_COUNT
};

/* How inverse frequencies are changed beyond the original context. */
enum rope_kind { ROPE_PLAIN, ROPE_LINEAR, ROPE_LLAMA3 };

enum { SHAPE_EOS_MAX = 8, SHAPE_NAME_MAX = 64 };

struct model_shape {
    enum model_family family;
    size_t vocab, hidden, intermediate, layers;
    size_t heads, kv_heads,
        head_dim;   /* heads is a multiple of kv_heads; head_dim may differ from hidden / heads */
    size_t context; /* max_position_embeddings */
    double rms_eps, rope_theta;
    enum rope_kind rope;
    double rope_factor;                       /* linear and llama3 */
    double rope_low_factor, rope_high_factor; /* llama3: low_freq_factor, high_freq_factor */
    double rope_original_context;             /* llama3: original_max_position_embeddings */
    bool tied;                                /* lm_head is embed_tokens */
    bool qkv_bias, o_bias;                    /* biases of the attention projections */
    bool qk_norm;             /* RMS norm of each query and key head, weight (head_dim) */
    double initializer_range; /* standard deviation of a random start */
    int32_t eos[SHAPE_EOS_MAX];
    size_t n_eos;
    int32_t bos, pad; /* -1: none */
};

/* Reads a config.json that is parsed already; `file` names it in messages.  Both the classic keys
 * (rope_theta, rope_scaling) and transformers 5's rope_parameters are understood. Fails:
 * CN_ERR_MODEL naming file and key for whatever is missing, out of range or not supported
 * (architecture, used sliding window, activation, mlp_bias, quantization, rope types but default,
 * linear and llama3).  Not collective. */
enum cn_status shape_parse(const struct cn_json *config, const char *file, struct model_shape *out);

/* shape_parse of FOLDER/config.json.  Fails also: CN_ERR_IO, CN_ERR_DATA (not JSON). */
enum cn_status shape_read(const char *folder, struct model_shape *out);

/* Writes FOLDER/config.json for weights saved in `dtype`: that of folder `source` with only the
 * dtype changed, or (source NULL, or without a config.json) one made from the shape.  transformers
 * 4 and 5 load it. */
enum cn_status shape_save(const struct model_shape *shape, const char *source, enum cn_dtype dtype,
                          const char *folder);

const char *shape_family_name(enum model_family family); /* "llama" */

/* What a tensor is for: lets a user of the list switch on it instead of on its name. */
enum tensor_role {
    TENSOR_EMBED,  /* (vocab, hidden) */
    TENSOR_Q,      /* (heads head_dim, hidden) */
    TENSOR_Q_BIAS, /* (heads head_dim) */
    TENSOR_K,      /* (kv_heads head_dim, hidden) */
    TENSOR_K_BIAS,
    TENSOR_V,
    TENSOR_V_BIAS,
    TENSOR_O,      /* (hidden, heads head_dim) */
    TENSOR_O_BIAS, /* (hidden) */
    TENSOR_Q_NORM, /* (head_dim) */
    TENSOR_K_NORM,
    TENSOR_GATE,       /* (intermediate, hidden) */
    TENSOR_UP,         /* (intermediate, hidden) */
    TENSOR_DOWN,       /* (hidden, intermediate) */
    TENSOR_INPUT_NORM, /* (hidden) */
    TENSOR_POST_NORM,  /* (hidden): post_attention_layernorm, before the MLP */
    TENSOR_FINAL_NORM, /* (hidden) */
    TENSOR_HEAD,       /* (vocab, hidden); absent if tied */
    TENSOR_ROLE_COUNT
};

struct shape_tensor {
    char name[SHAPE_NAME_MAX]; /* Hugging Face's */
    enum tensor_role role;
    int layer; /* -1: belongs to no layer */
    int rank;  /* 1 or 2 */
    int64_t shape[2];
    size_t count; /* elements */
};

/* Every weight tensor in the order of transformers' state_dict.  *out (n) lives in `arena`.
 * Matrices have rank 2; norms and biases rank 1 (no weight decay).  Fails: CN_ERR_MEMORY. */
enum cn_status shape_tensors(const struct model_shape *shape, struct cn_arena *arena,
                             const struct shape_tensor **out, size_t *n);

/* Elements of all tensors of the list. */
size_t shape_parameters(const struct model_shape *shape);

/* Inverse frequencies of the rotation, out (head_dim / 2): pair i of a head at position p turns by
 * p out[i].  Includes linear and llama3 scaling as transformers computes them (in float). */
void shape_rope_frequencies(const struct model_shape *shape, float *out);

#ifdef __cplusplus
}
#endif
#endif
