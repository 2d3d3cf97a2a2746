/* The shape of a model: reading config.json, and the list of tensors that follows from it. */
#include "shape.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct family {
    const char *type, *architecture;
};

static const struct family families[] = {
#define X(name, type, architecture) {type, architecture},
    MODEL_FAMILIES(X)
#undef X
};

/* Whole numbers of config.json.  `fallback` < 0: the key must be there. */
static const struct size_key {
    const char *key;
    size_t offset;
    double maximum, fallback;
} size_keys[] = {
    {"vocab_size", offsetof(struct model_shape, vocab), 16777216, -1},
    {"hidden_size", offsetof(struct model_shape, hidden), 262144, -1},
    {"intermediate_size", offsetof(struct model_shape, intermediate), 1048576, -1},
    {"num_hidden_layers", offsetof(struct model_shape, layers), 4096, -1},
    {"num_attention_heads", offsetof(struct model_shape, heads), 4096, -1},
    {"num_key_value_heads", offsetof(struct model_shape, kv_heads), 4096, 0},
    {"head_dim", offsetof(struct model_shape, head_dim), 65536, 0},
    {"max_position_embeddings", offsetof(struct model_shape, context), 2147483647, -1},
};

const char *shape_family_name(enum model_family family)
{
    return (unsigned)family < MODEL_FAMILY_COUNT ? families[family].type : "?";
}

static bool absent(const struct cn_json *node)
{
    return cn_json_kind(node) == CN_JSON_NULL;
}

/* ---- reading ------------------------------------------------------------- */

/* A whole number from 1 to `maximum`; absent gives `fallback` unless that is negative. */
static enum cn_status read_size(const struct cn_json *config, const char *file,
                                const struct size_key *key, size_t *out)
{
    const struct cn_json *node = cn_json_get(config, key->key);
    if (absent(node) && key->fallback >= 0) {
        *out = (size_t)key->fallback;
        return CN_OK;
    }
    if (cn_json_kind(node) != CN_JSON_NUMBER)
        return cn_fail(CN_ERR_MODEL, "%s: key \"%s\" is %s; a whole number is needed", file,
                       key->key, absent(node) ? "missing" : "not a number");
    double value = cn_json_number(node);
    if (!(value >= 1) || value > key->maximum || value != floor(value))
        return cn_fail(CN_ERR_MODEL, "%s: \"%s\" is %g; allowed are whole numbers from 1 to %.0f",
                       file, key->key, value, key->maximum);
    *out = (size_t)value;
    return CN_OK;
}

/* A finite number above zero; absent gives `fallback` unless that is negative. */
static enum cn_status read_positive(const struct cn_json *object, const char *file, const char *key,
                                    double fallback, double *out)
{
    const struct cn_json *node = cn_json_get(object, key);
    if (absent(node) && fallback >= 0) {
        *out = fallback;
        return CN_OK;
    }
    double value = cn_json_number(node);
    if (cn_json_kind(node) != CN_JSON_NUMBER)
        return cn_fail(CN_ERR_MODEL, "%s: key \"%s\" is %s; a number above zero is needed", file,
                       key, absent(node) ? "missing" : "not a number");
    if (!(value > 0) || !isfinite(value))
        return cn_fail(CN_ERR_MODEL, "%s: \"%s\" is %g; a number above zero is needed", file, key,
                       value);
    *out = value;
    return CN_OK;
}

static enum cn_status read_family(const struct cn_json *config, const char *file,
                                  struct model_shape *out)
{
    const struct cn_json *type = cn_json_get(config, "model_type");
    const struct cn_json *architecture = cn_json_first(cn_json_get(config, "architectures"));
    if (absent(type) && absent(architecture))
        return cn_fail(CN_ERR_MODEL, "%s: neither \"model_type\" nor \"architectures\" is given",
                       file);
    for (size_t f = 0; f < MODEL_FAMILY_COUNT; f++) {
        bool type_fits = absent(type) || cn_text_is(cn_json_text(type), families[f].type);
        bool architecture_fits = absent(architecture) ||
                                 cn_text_is(cn_json_text(architecture), families[f].architecture);
        if (!type_fits || !architecture_fits) continue;
        out->family = (enum model_family)f;
        return CN_OK;
    }
    return cn_fail(CN_ERR_MODEL,
                   "%s: model_type \"%s\" with architecture \"%s\" is not supported; supported are "
                   "LlamaForCausalLM, Qwen2ForCausalLM and Qwen3ForCausalLM",
                   file, absent(type) ? "" : cn_json_text(type).data,
                   absent(architecture) ? "" : cn_json_text(architecture).data);
}

/* A member that is true or false; absent or null is false. */
static enum cn_status read_flag(const struct cn_json *config, const char *file, const char *key,
                                bool *out)
{
    enum cn_status status = cn_json_bool_or(config, key, false, out);
    return status == CN_OK ? CN_OK : cn_fail_context(CN_ERR_MODEL, "%s", file);
}

/* Refuses what would change the computation and is not implemented. */
static enum cn_status refuse_unsupported(const struct cn_json *config, const char *file,
                                         const struct model_shape *shape)
{
    const struct cn_json *activation = cn_json_get(config, "hidden_act");
    if (!absent(activation) && !cn_text_is(cn_json_text(activation), "silu") &&
        !cn_text_is(cn_json_text(activation), "swish"))
        return cn_fail(
            CN_ERR_MODEL, "%s: \"hidden_act\" is \"%s\"; only \"silu\" is supported", file,
            cn_json_kind(activation) == CN_JSON_TEXT ? cn_json_text(activation).data : "?");
    bool mlp_bias, sliding;
    CN_TRY(read_flag(config, file, "mlp_bias", &mlp_bias));
    CN_TRY(read_flag(config, file, "use_sliding_window", &sliding));
    if (mlp_bias) return cn_fail(CN_ERR_MODEL, "%s: \"mlp_bias\": true is not supported", file);
    if (!absent(cn_json_get(config, "quantization_config")))
        return cn_fail(CN_ERR_MODEL,
                       "%s: \"quantization_config\" is given; quantized weights are not supported, "
                       "use the unquantized model (or a GGUF file through carnot convert)",
                       file);
    if (shape->family != MODEL_LLAMA && sliding && !absent(cn_json_get(config, "sliding_window"))) {
        const struct cn_json *first = cn_json_get(config, "max_window_layers");
        if (absent(first) || cn_json_number(first) < (double)shape->layers)
            return cn_fail(CN_ERR_MODEL, "%s: \"use_sliding_window\": true is not supported", file);
    }
    const struct cn_json *types = cn_json_get(config, "layer_types");
    for (const struct cn_json *t = cn_json_first(types); t; t = cn_json_next(t))
        if (!cn_text_is(cn_json_text(t), "full_attention"))
            return cn_fail(CN_ERR_MODEL,
                           "%s: \"layer_types\" has \"%s\"; only \"full_attention\" is supported",
                           file, cn_json_kind(t) == CN_JSON_TEXT ? cn_json_text(t).data : "?");
    return CN_OK;
}

/* rope_theta and the scaling, from rope_parameters (transformers 5) or the classic keys. */
static enum cn_status read_rope(const struct cn_json *config, const char *file,
                                struct model_shape *out)
{
    double theta = 0, partial = 1;
    CN_TRY(read_positive(config, file, "rope_theta", 10000, &theta));
    const char *key = "rope_parameters";
    if (absent(cn_json_get(config, key))) key = "rope_scaling";
    const struct cn_json *scaling = cn_json_get(config, key);
    if (!absent(scaling) && cn_json_kind(scaling) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_MODEL, "%s: \"%s\" is not an object", file, key);
    for (const struct cn_json *n = cn_json_first(scaling); n; n = cn_json_next(n))
        if (cn_json_kind(n) == CN_JSON_OBJECT) /* one rotation per type of layer */
            return cn_fail(CN_ERR_MODEL,
                           "%s: \"%s\" of \"%s\" is an object; one set of values for "
                           "all layers is supported",
                           file, cn_json_key(n), key);
    CN_TRY(read_positive(scaling, file, "rope_theta", theta, &out->rope_theta));
    CN_TRY(read_positive(config, file, "partial_rotary_factor", 1, &partial));
    CN_TRY(read_positive(scaling, file, "partial_rotary_factor", partial, &partial));
    if (partial != 1)
        return cn_fail(CN_ERR_MODEL, "%s: \"partial_rotary_factor\" is %g; only 1 is supported",
                       file, partial);
    const struct cn_json *kind = cn_json_get(scaling, "rope_type");
    if (absent(kind)) kind = cn_json_get(scaling, "type");
    out->rope = ROPE_PLAIN;
    out->rope_factor = 1;
    if (absent(kind) || cn_text_is(cn_json_text(kind), "default")) return CN_OK;
    if (cn_text_is(cn_json_text(kind), "linear")) {
        out->rope = ROPE_LINEAR;
        return read_positive(scaling, file, "factor", -1, &out->rope_factor);
    }
    if (!cn_text_is(cn_json_text(kind), "llama3"))
        return cn_fail(CN_ERR_MODEL,
                       "%s: rope type \"%s\" is not supported; supported are \"default\", "
                       "\"linear\" and \"llama3\"",
                       file, cn_json_kind(kind) == CN_JSON_TEXT ? cn_json_text(kind).data : "?");
    out->rope = ROPE_LLAMA3;
    CN_TRY(read_positive(scaling, file, "factor", -1, &out->rope_factor));
    CN_TRY(read_positive(scaling, file, "low_freq_factor", -1, &out->rope_low_factor));
    CN_TRY(read_positive(scaling, file, "high_freq_factor", -1, &out->rope_high_factor));
    CN_TRY(read_positive(scaling, file, "original_max_position_embeddings", (double)out->context,
                         &out->rope_original_context));
    if (out->rope_high_factor <= out->rope_low_factor)
        return cn_fail(CN_ERR_MODEL,
                       "%s: \"high_freq_factor\" %g must exceed \"low_freq_factor\" %g", file,
                       out->rope_high_factor, out->rope_low_factor);
    return CN_OK;
}

static enum cn_status read_id(const struct cn_json *node, const char *file, const char *key,
                              size_t vocab, int32_t *out)
{
    double value = cn_json_number(node);
    if (cn_json_kind(node) != CN_JSON_NUMBER || value != floor(value) || !(value >= 0) ||
        value >= (double)vocab)
        return cn_fail(CN_ERR_MODEL, "%s: \"%s\" is not a token id below vocab_size %zu", file, key,
                       vocab);
    *out = (int32_t)value;
    return CN_OK;
}

/* Special ids; -1 in some published files means none. */
static enum cn_status read_ids(const struct cn_json *config, const char *file,
                               struct model_shape *out)
{
    const struct cn_json *bos = cn_json_get(config, "bos_token_id"),
                         *pad = cn_json_get(config, "pad_token_id"),
                         *eos = cn_json_get(config, "eos_token_id");
    out->bos = out->pad = -1;
    if (!absent(bos) && cn_json_number(bos) != -1)
        CN_TRY(read_id(bos, file, "bos_token_id", out->vocab, &out->bos));
    if (!absent(pad) && cn_json_number(pad) != -1)
        CN_TRY(read_id(pad, file, "pad_token_id", out->vocab, &out->pad));
    out->n_eos = 0;
    if (absent(eos)) return CN_OK;
    if (cn_json_kind(eos) != CN_JSON_LIST) {
        CN_TRY(read_id(eos, file, "eos_token_id", out->vocab, &out->eos[0]));
        out->n_eos = 1;
        return CN_OK;
    }
    if (cn_json_count(eos) > SHAPE_EOS_MAX)
        return cn_fail(CN_ERR_MODEL, "%s: \"eos_token_id\" lists %zu ids; at most %d are supported",
                       file, cn_json_count(eos), SHAPE_EOS_MAX);
    for (const struct cn_json *e = cn_json_first(eos); e; e = cn_json_next(e))
        CN_TRY(read_id(e, file, "eos_token_id", out->vocab, &out->eos[out->n_eos++]));
    return CN_OK;
}

/* Head counts that other keys imply, and what they must satisfy. */
static enum cn_status complete_heads(const char *file, struct model_shape *shape)
{
    if (!shape->kv_heads) shape->kv_heads = shape->heads;
    if (!shape->head_dim && shape->family == MODEL_QWEN3)
        shape->head_dim = 128; /* transformers' default; not hidden / heads */
    if (!shape->head_dim) {
        if (shape->hidden % shape->heads)
            return cn_fail(CN_ERR_MODEL,
                           "%s: hidden_size %zu is not a multiple of num_attention_heads %zu, and "
                           "head_dim is not given",
                           file, shape->hidden, shape->heads);
        shape->head_dim = shape->hidden / shape->heads;
    }
    if (shape->heads % shape->kv_heads)
        return cn_fail(CN_ERR_MODEL,
                       "%s: num_attention_heads %zu is not a multiple of num_key_value_heads %zu",
                       file, shape->heads, shape->kv_heads);
    if (shape->head_dim % 2)
        return cn_fail(CN_ERR_MODEL, "%s: head_dim %zu is odd; rotary embeddings need pairs", file,
                       shape->head_dim);
    return CN_OK;
}

enum cn_status shape_parse(const struct cn_json *config, const char *file, struct model_shape *out)
{
    struct model_shape shape = {0};
    if (cn_json_kind(config) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_MODEL, "%s: the shape of a model must be an object", file);
    CN_TRY(read_family(config, file, &shape));
    for (size_t k = 0; k < sizeof size_keys / sizeof *size_keys; k++)
        CN_TRY(read_size(config, file, &size_keys[k],
                         (size_t *)(void *)((char *)&shape + size_keys[k].offset)));
    CN_TRY(complete_heads(file, &shape));
    CN_TRY(refuse_unsupported(config, file, &shape));
    CN_TRY(read_positive(config, file, "rms_norm_eps", 1e-6, &shape.rms_eps));
    CN_TRY(read_positive(config, file, "initializer_range", 0.02, &shape.initializer_range));
    CN_TRY(read_rope(config, file, &shape));
    CN_TRY(read_ids(config, file, &shape));
    bool attention_bias;
    CN_TRY(read_flag(config, file, "attention_bias", &attention_bias));
    CN_TRY(read_flag(config, file, "tie_word_embeddings", &shape.tied));
    shape.qk_norm = shape.family == MODEL_QWEN3;
    shape.qkv_bias = shape.family == MODEL_QWEN2 || attention_bias;
    shape.o_bias = shape.family != MODEL_QWEN2 && attention_bias;
    *out = shape;
    return CN_OK;
}

enum cn_status shape_read(const char *folder, struct model_shape *out)
{
    enum cn_status status;
    struct cn_str path = {0}, text = {0};
    struct cn_json *config = NULL;
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", folder), out);
    CN_TRY_GOTO(cn_file_read(path.data, 1 << 24, &text), out);
    CN_TRY_GOTO(cn_json_parse(cn_str_text(&text), path.data, &config), out);
    status = shape_parse(config, path.data, out);
out:
    cn_json_close(config);
    cn_str_free(&text);
    cn_str_free(&path);
    return status;
}

/* ---- the list of tensors ------------------------------------------------- */

/* One layer's tensors in the order of transformers' modules. */
static const struct layer_tensor {
    enum tensor_role role;
    const char *name;
} layer_tensors[] = {
    {TENSOR_Q, "self_attn.q_proj.weight"},
    {TENSOR_Q_BIAS, "self_attn.q_proj.bias"},
    {TENSOR_K, "self_attn.k_proj.weight"},
    {TENSOR_K_BIAS, "self_attn.k_proj.bias"},
    {TENSOR_V, "self_attn.v_proj.weight"},
    {TENSOR_V_BIAS, "self_attn.v_proj.bias"},
    {TENSOR_O, "self_attn.o_proj.weight"},
    {TENSOR_O_BIAS, "self_attn.o_proj.bias"},
    {TENSOR_Q_NORM, "self_attn.q_norm.weight"},
    {TENSOR_K_NORM, "self_attn.k_norm.weight"},
    {TENSOR_GATE, "mlp.gate_proj.weight"},
    {TENSOR_UP, "mlp.up_proj.weight"},
    {TENSOR_DOWN, "mlp.down_proj.weight"},
    {TENSOR_INPUT_NORM, "input_layernorm.weight"},
    {TENSOR_POST_NORM, "post_attention_layernorm.weight"},
};

enum { LAYER_TENSORS = sizeof layer_tensors / sizeof *layer_tensors };

/* Rows and columns (columns 0: a vector); rows 0: this shape has no such tensor. */
static void tensor_size(const struct model_shape *s, enum tensor_role role, size_t *rows,
                        size_t *columns)
{
    size_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    const struct {
        size_t rows, columns;
    } sizes[TENSOR_ROLE_COUNT] = {
        [TENSOR_EMBED] = {s->vocab, s->hidden},
        [TENSOR_Q] = {q, s->hidden},
        [TENSOR_Q_BIAS] = {s->qkv_bias ? q : 0, 0},
        [TENSOR_K] = {kv, s->hidden},
        [TENSOR_K_BIAS] = {s->qkv_bias ? kv : 0, 0},
        [TENSOR_V] = {kv, s->hidden},
        [TENSOR_V_BIAS] = {s->qkv_bias ? kv : 0, 0},
        [TENSOR_O] = {s->hidden, q},
        [TENSOR_O_BIAS] = {s->o_bias ? s->hidden : 0, 0},
        [TENSOR_Q_NORM] = {s->qk_norm ? s->head_dim : 0, 0},
        [TENSOR_K_NORM] = {s->qk_norm ? s->head_dim : 0, 0},
        [TENSOR_GATE] = {s->intermediate, s->hidden},
        [TENSOR_UP] = {s->intermediate, s->hidden},
        [TENSOR_DOWN] = {s->hidden, s->intermediate},
        [TENSOR_INPUT_NORM] = {s->hidden, 0},
        [TENSOR_POST_NORM] = {s->hidden, 0},
        [TENSOR_FINAL_NORM] = {s->hidden, 0},
        [TENSOR_HEAD] = {s->tied ? 0 : s->vocab, s->hidden},
    };
    *rows = sizes[role].rows;
    *columns = sizes[role].columns;
}

/* Appends the tensor if the shape has it. */
static void add_tensor(const struct model_shape *shape, enum tensor_role role, int layer,
                       struct shape_tensor *list, size_t *n)
{
    size_t rows, columns;
    tensor_size(shape, role, &rows, &columns);
    if (!rows) return;
    struct shape_tensor *t = &list[(*n)++];
    t->role = role;
    t->layer = layer;
    t->rank = columns ? 2 : 1;
    t->shape[0] = (int64_t)rows;
    t->shape[1] = columns ? (int64_t)columns : 0;
    t->count = rows * (columns ? columns : 1);
    if (role == TENSOR_EMBED) snprintf(t->name, sizeof t->name, "model.embed_tokens.weight");
    if (role == TENSOR_FINAL_NORM) snprintf(t->name, sizeof t->name, "model.norm.weight");
    if (role == TENSOR_HEAD) snprintf(t->name, sizeof t->name, "lm_head.weight");
    for (size_t i = 0; i < LAYER_TENSORS && layer >= 0; i++)
        if (layer_tensors[i].role == role)
            snprintf(t->name, sizeof t->name, "model.layers.%d.%s", layer, layer_tensors[i].name);
}

enum cn_status shape_tensors(const struct model_shape *shape, struct cn_arena *arena,
                             const struct shape_tensor **out, size_t *n)
{
    struct shape_tensor *list;
    size_t count = 0;
    CN_TRY(CN_NEW(arena, shape->layers * LAYER_TENSORS + 3, &list));
    add_tensor(shape, TENSOR_EMBED, -1, list, &count);
    for (size_t layer = 0; layer < shape->layers; layer++)
        for (size_t i = 0; i < LAYER_TENSORS; i++)
            add_tensor(shape, layer_tensors[i].role, (int)layer, list, &count);
    add_tensor(shape, TENSOR_FINAL_NORM, -1, list, &count);
    add_tensor(shape, TENSOR_HEAD, -1, list, &count);
    *out = list;
    *n = count;
    return CN_OK;
}

size_t shape_parameters(const struct model_shape *shape)
{
    size_t total = 0;
    for (int role = 0; role < TENSOR_ROLE_COUNT; role++) {
        size_t rows, columns;
        tensor_size(shape, (enum tensor_role)role, &rows, &columns);
        bool single = role == TENSOR_EMBED || role == TENSOR_FINAL_NORM || role == TENSOR_HEAD;
        total += rows * (columns ? columns : 1) * (single ? 1 : shape->layers);
    }
    return total;
}

/* Long waves are stretched, short ones kept, those between blended (Llama 3.1). */
static float llama3_frequency(const struct model_shape *shape, float plain)
{
    const float turn = 6.283185307179586f, wave = turn / plain;
    const double original = shape->rope_original_context;
    const float stretched = plain / (float)shape->rope_factor;
    if ((double)wave > original / shape->rope_low_factor) return stretched;
    if ((double)wave < original / shape->rope_high_factor) return plain;
    float smooth = ((float)original / wave - (float)shape->rope_low_factor) /
                   (float)(shape->rope_high_factor - shape->rope_low_factor);
    return (1 - smooth) * stretched + smooth * plain;
}

void shape_rope_frequencies(const struct model_shape *shape, float *out)
{
    const float dim = (float)shape->head_dim, theta = (float)shape->rope_theta;
    for (size_t i = 0; i < shape->head_dim / 2; i++) {
        float plain = 1.0f / powf(theta, (float)(2 * i) / dim);
        out[i] = plain;
        if (shape->rope == ROPE_LINEAR) out[i] = plain / (float)shape->rope_factor;
        if (shape->rope == ROPE_LLAMA3) out[i] = llama3_frequency(shape, plain);
    }
}
