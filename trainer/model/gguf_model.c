/* A GGUF file as a model of Hugging Face's kind: shape, names, and the order of rows.
 *
 * llama.cpp rotates neighbours (2j, 2j+1) of a head where Hugging Face rotates halves (j, j + D/2);
 * its converter reorders the rows of query and key projections of the llama family (not of qwen).
 *
 *     row h D + b D/2 + j of Hugging Face = row h D + 2 j + b of the file    b in {0, 1}, j < D/2 */
#include "gguf.h"

#include "shape.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads "<architecture>.<key>". */
static bool family_number(const struct gguf *file, enum model_family family, const char *key,
                          double *out)
{
    char full[128];
    snprintf(full, sizeof full, "%s.%s", shape_family_name(family), key);
    return gguf_number(file, full, out);
}

static const struct size_key {
    const char *key;
    size_t offset;
    double maximum;
    bool required;
} size_keys[] = {
    {"embedding_length", offsetof(struct model_shape, hidden), 262144, true},
    {"feed_forward_length", offsetof(struct model_shape, intermediate), 1048576, true},
    {"block_count", offsetof(struct model_shape, layers), 4096, true},
    {"attention.head_count", offsetof(struct model_shape, heads), 4096, true},
    {"attention.head_count_kv", offsetof(struct model_shape, kv_heads), 4096, false},
    {"attention.key_length", offsetof(struct model_shape, head_dim), 65536, false},
    {"context_length", offsetof(struct model_shape, context), 2147483647, true},
};

static enum cn_status read_sizes(const struct gguf *file, struct model_shape *shape)
{
    for (size_t k = 0; k < sizeof size_keys / sizeof *size_keys; k++) {
        const struct size_key *key = &size_keys[k];
        size_t *place = (size_t *)(void *)((char *)shape + key->offset);
        double value = 0;
        bool found = family_number(file, shape->family, key->key, &value);
        if (!found && !key->required) continue;
        if (!found || !(value >= 1) || value > key->maximum || value != floor(value))
            return cn_fail(CN_ERR_MODEL, "%s: key %s.%s is %s; a number from 1 to %.0f is needed",
                           gguf_path(file), shape_family_name(shape->family), key->key,
                           found ? "out of range" : "missing (or a list per layer)", key->maximum);
        *place = (size_t)value;
    }
    if (!shape->kv_heads) shape->kv_heads = shape->heads;
    if (!shape->head_dim && shape->hidden % shape->heads == 0)
        shape->head_dim = shape->hidden / shape->heads;
    double rotated = (double)shape->head_dim;
    family_number(file, shape->family, "rope.dimension_count", &rotated);
    if (!shape->head_dim || shape->heads % shape->kv_heads || shape->head_dim % 2 ||
        rotated != (double)shape->head_dim)
        return cn_fail(CN_ERR_MODEL,
                       "%s: %zu heads, %zu key heads of size %zu, of which %g rotated, for an "
                       "embedding of %zu: not supported",
                       gguf_path(file), shape->heads, shape->kv_heads, shape->head_dim, rotated,
                       shape->hidden);
    return CN_OK;
}

/* The shortest decimal number that is the same float: 1e-5, not 9.99999974737875163e-06. */
static double shortest(double value)
{
    char text[40];
    for (int digits = 1; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        if (strtof(text, NULL) == (float)value) break;
    }
    return strtod(text, NULL);
}

/* llama.cpp stores Llama 3's scaling as a divisor per frequency.  The parameters are found by
 * trying those that have been published (low 1, high 4, original context 8192): they must give the
 * same numbers. */
static enum cn_status read_rope_factors(const struct gguf *file, const struct gguf_tensor *factors,
                                        struct model_shape *shape)
{
    size_t half = shape->head_dim / 2;
    enum cn_status status = CN_OK;
    float *values = calloc(3 * half, sizeof *values);
    if (!values || factors->count != half) {
        status = cn_fail(values ? CN_ERR_MODEL : CN_ERR_MEMORY,
                         "%s: rope_freqs.weight has %zu values, expected %zu", gguf_path(file),
                         factors->count, half);
        goto out;
    }
    gguf_read_f32(factors, values);
    struct model_shape plain = *shape, scaled = *shape;
    for (size_t i = 0; i < half; i++)
        if (values[i] > (float)scaled.rope_factor) scaled.rope_factor = (double)values[i];
    scaled.rope = ROPE_LLAMA3;
    scaled.rope_low_factor = 1;
    scaled.rope_high_factor = 4;
    scaled.rope_original_context = 8192;
    shape_rope_frequencies(&plain, values + half);
    shape_rope_frequencies(&scaled, values + 2 * half);
    for (size_t i = 0; i < half; i++) {
        double expected = (double)values[half + i] / (double)values[2 * half + i];
        if (fabs((double)values[i] - expected) <= 1e-3 * expected) continue;
        status = cn_fail(CN_ERR_MODEL,
                         "%s: rope_freqs.weight[%zu] is %g, Llama 3's scaling by %g gives %g: not "
                         "supported",
                         gguf_path(file), i, (double)values[i], scaled.rope_factor, expected);
        goto out;
    }
    *shape = scaled;
out:
    free(values);
    return status;
}

static enum cn_status read_rope(const struct gguf *file, struct model_shape *shape)
{
    char key[64];
    struct cn_text kind = {0};
    const struct gguf_tensor *factors = gguf_find(file, "rope_freqs.weight");
    double theta = 10000;
    family_number(file, shape->family, "rope.freq_base", &theta);
    shape->rope_theta = shortest(theta);
    shape->rope_factor = 1;
    snprintf(key, sizeof key, "%s.rope.scaling.type", shape_family_name(shape->family));
    if (factors) return read_rope_factors(file, factors, shape);
    if (!gguf_text(file, key, &kind) || cn_text_is(kind, "none")) return CN_OK;
    double factor = 0;
    if (!cn_text_is(kind, "linear") ||
        !family_number(file, shape->family, "rope.scaling.factor", &factor) || !(factor > 0))
        return cn_fail(CN_ERR_MODEL,
                       "%s: %s is \"%.*s\"; only \"linear\" with a factor is supported",
                       gguf_path(file), key, (int)(kind.length < 40 ? kind.length : 40), kind.data);
    shape->rope = ROPE_LINEAR;
    shape->rope_factor = shortest(factor);
    return CN_OK;
}

/* A token id of the metadata; -1 if absent. */
static enum cn_status read_id(const struct gguf *file, const char *key, size_t vocab, int32_t *out)
{
    double value;
    *out = -1;
    if (!gguf_number(file, key, &value)) return CN_OK;
    if (!(value >= 0) || value >= (double)vocab || value != floor(value))
        return cn_fail(CN_ERR_MODEL, "%s: %s is %g, the vocabulary has %zu", gguf_path(file), key,
                       value, vocab);
    *out = (int32_t)value;
    return CN_OK;
}

static enum cn_status read_ids(const struct gguf *file, struct model_shape *shape)
{
    static const char *const ends[] = {"tokenizer.ggml.eos_token_id",
                                       "tokenizer.ggml.eot_token_id"};
    int32_t unknown, id;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        CN_TRY(read_id(file, ends[i], shape->vocab, &id));
        if (id >= 0 && (!shape->n_eos || shape->eos[0] != id)) shape->eos[shape->n_eos++] = id;
    }
    CN_TRY(read_id(file, "tokenizer.ggml.bos_token_id", shape->vocab, &shape->bos));
    CN_TRY(read_id(file, "tokenizer.ggml.padding_token_id", shape->vocab, &shape->pad));
    CN_TRY(read_id(file, "tokenizer.ggml.unknown_token_id", shape->vocab, &unknown));
    bool hides_end = shape->pad < 0;
    for (size_t i = 0; i < shape->n_eos; i++)
        hides_end |= shape->pad == shape->eos[i];
    if (hides_end && unknown >= 0) shape->pad = unknown;
    return CN_OK;
}

enum cn_status gguf_shape(const struct gguf *file, struct model_shape *out)
{
    struct model_shape shape = {.initializer_range = 0.02};
    struct cn_text architecture = {0};
    double eps = 0;
    int family = 0;
    if (!gguf_text(file, "general.architecture", &architecture))
        return cn_fail(CN_ERR_MODEL, "%s: key general.architecture is missing", gguf_path(file));
    while (family < MODEL_FAMILY_COUNT &&
           !cn_text_is(architecture, shape_family_name((enum model_family)family)))
        family++;
    if (family == MODEL_FAMILY_COUNT)
        return cn_fail(
            CN_ERR_MODEL,
            "%s: architecture \"%.*s\" is not supported; supported are llama, qwen2, qwen3",
            gguf_path(file), (int)(architecture.length < 40 ? architecture.length : 40),
            architecture.data);
    shape.family = (enum model_family)family;
    const struct gguf_tensor *embed = gguf_find(file, "token_embd.weight");
    if (!embed || embed->rank != 2 || embed->shape[0] < 1 || embed->shape[0] > INT32_MAX)
        return cn_fail(CN_ERR_MODEL, "%s: tensor token_embd.weight is missing or not a matrix",
                       gguf_path(file));
    shape.vocab = (size_t)embed->shape[0];
    CN_TRY(read_sizes(file, &shape));
    if (!family_number(file, shape.family, "attention.layer_norm_rms_epsilon", &eps) || !(eps > 0))
        return cn_fail(CN_ERR_MODEL, "%s: key %s.attention.layer_norm_rms_epsilon is missing",
                       gguf_path(file), shape_family_name(shape.family));
    shape.rms_eps = shortest(eps);
    CN_TRY(read_rope(file, &shape));
    CN_TRY(read_ids(file, &shape));
    shape.tied = !gguf_find(file, "output.weight");
    shape.qkv_bias = shape.family == MODEL_QWEN2 || gguf_find(file, "blk.0.attn_q.bias");
    shape.o_bias = gguf_find(file, "blk.0.attn_output.bias") != NULL;
    shape.qk_norm = shape.family == MODEL_QWEN3;
    if (shape.family != MODEL_QWEN2 && shape.qkv_bias != shape.o_bias)
        return cn_fail(CN_ERR_MODEL, "%s: biases on some attention projections only: not supported",
                       gguf_path(file));
    *out = shape;
    return CN_OK;
}

/* ---- tensors ------------------------------------------------------------- */

/* The file's name of a tensor of the shape's list. */
static void file_name(const struct shape_tensor *tensor, char *out, size_t size)
{
    static const char *const names[TENSOR_ROLE_COUNT] = {
        [TENSOR_EMBED] = "token_embd.weight",
        [TENSOR_Q] = "attn_q.weight",
        [TENSOR_Q_BIAS] = "attn_q.bias",
        [TENSOR_K] = "attn_k.weight",
        [TENSOR_K_BIAS] = "attn_k.bias",
        [TENSOR_V] = "attn_v.weight",
        [TENSOR_V_BIAS] = "attn_v.bias",
        [TENSOR_O] = "attn_output.weight",
        [TENSOR_O_BIAS] = "attn_output.bias",
        [TENSOR_Q_NORM] = "attn_q_norm.weight",
        [TENSOR_K_NORM] = "attn_k_norm.weight",
        [TENSOR_GATE] = "ffn_gate.weight",
        [TENSOR_UP] = "ffn_up.weight",
        [TENSOR_DOWN] = "ffn_down.weight",
        [TENSOR_INPUT_NORM] = "attn_norm.weight",
        [TENSOR_POST_NORM] = "ffn_norm.weight",
        [TENSOR_FINAL_NORM] = "output_norm.weight",
        [TENSOR_HEAD] = "output.weight",
    };
    if (tensor->layer < 0)
        snprintf(out, size, "%s", names[tensor->role]);
    else
        snprintf(out, size, "blk.%d.%s", tensor->layer, names[tensor->role]);
}

/* Puts the two halves of each head back in order; rows of `columns` floats. */
static enum cn_status order_rows(size_t heads, size_t head_dim, size_t columns, float *data)
{
    float *head = malloc(head_dim * columns * sizeof *head);
    if (!head)
        return cn_fail(CN_ERR_MEMORY, "out of memory: a head of %zu floats", head_dim * columns);
    for (size_t h = 0; h < heads; h++) {
        float *own = data + h * head_dim * columns;
        memcpy(head, own, head_dim * columns * sizeof *head);
        for (size_t b = 0; b < 2; b++)
            for (size_t j = 0; j < head_dim / 2; j++)
                memcpy(own + (b * (head_dim / 2) + j) * columns, head + (2 * j + b) * columns,
                       columns * sizeof *head);
    }
    free(head);
    return CN_OK;
}

enum cn_status gguf_read_tensor(const struct gguf *file, const struct model_shape *shape,
                                const struct shape_tensor *tensor, float *out)
{
    char name[64];
    file_name(tensor, name, sizeof name);
    const struct gguf_tensor *found = gguf_find(file, name);
    if (!found) return cn_fail(CN_ERR_MODEL, "%s: tensor %s is missing", gguf_path(file), name);
    if (found->rank != tensor->rank ||
        memcmp(found->shape, tensor->shape, (size_t)tensor->rank * sizeof *tensor->shape) != 0)
        return cn_fail(
            CN_ERR_MODEL,
            "%s: tensor %s has the wrong shape: expected (%lld, %lld), found rank %d (%lld, "
            "%lld)",
            gguf_path(file), name, (long long)tensor->shape[0], (long long)tensor->shape[1],
            found->rank, (long long)found->shape[0], (long long)found->shape[1]);
    gguf_read_f32(found, out);
    for (size_t i = 0; i < tensor->count; i++)
        if (!isfinite(out[i]))
            return cn_fail(CN_ERR_MODEL,
                           "%s: tensor %s has a value that is not finite at %zu of %zu",
                           gguf_path(file), name, i, tensor->count);
    bool query = tensor->role == TENSOR_Q || tensor->role == TENSOR_Q_BIAS;
    bool key = tensor->role == TENSOR_K || tensor->role == TENSOR_K_BIAS;
    if (shape->family != MODEL_LLAMA || (!query && !key)) return CN_OK;
    return order_rows(query ? shape->heads : shape->kv_heads, shape->head_dim,
                      tensor->rank == 2 ? (size_t)tensor->shape[1] : 1, out);
}
