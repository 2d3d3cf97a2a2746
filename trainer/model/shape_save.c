/* Writing config.json: the one a model came with, or one made from its shape. */
#include "shape.h"

#include "dtype.h"

#include <unistd.h>

static enum cn_status add_ids(const struct model_shape *s, struct cn_str *json)
{
    if (s->bos >= 0) CN_TRY(cn_str_format(json, "  \"bos_token_id\": %d,\n", s->bos));
    if (s->pad >= 0) CN_TRY(cn_str_format(json, "  \"pad_token_id\": %d,\n", s->pad));
    if (s->n_eos == 1) CN_TRY(cn_str_format(json, "  \"eos_token_id\": %d,\n", s->eos[0]));
    if (s->n_eos < 2) return CN_OK;
    CN_TRY(cn_str_add(json, "  \"eos_token_id\": ["));
    for (size_t i = 0; i < s->n_eos; i++)
        CN_TRY(cn_str_format(json, "%s%d", i ? ", " : "", s->eos[i]));
    return cn_str_add(json, "],\n");
}

static enum cn_status add_real(struct cn_str *json, const char *before, double value)
{
    CN_TRY(cn_str_add(json, before));
    return cn_json_real(json, value, 17);
}

/* The classic keys: transformers 4 and 5 and other readers know them. */
static enum cn_status add_rope(const struct model_shape *s, struct cn_str *json)
{
    CN_TRY(add_real(json, "  \"rope_theta\": ", s->rope_theta));
    if (s->rope == ROPE_PLAIN) return cn_str_add(json, ",\n");
    CN_TRY(add_real(json, ",\n  \"rope_scaling\": {\"factor\": ", s->rope_factor));
    if (s->rope == ROPE_LINEAR) return cn_str_add(json, ", \"rope_type\": \"linear\"},\n");
    CN_TRY(add_real(json, ", \"low_freq_factor\": ", s->rope_low_factor));
    CN_TRY(add_real(json, ", \"high_freq_factor\": ", s->rope_high_factor));
    return cn_str_format(
        json, ", \"original_max_position_embeddings\": %.0f, \"rope_type\": \"llama3\"},\n",
        s->rope_original_context);
}

static enum cn_status make_config(const struct model_shape *s, enum cn_dtype dtype,
                                  struct cn_str *json)
{
    static const char *const architectures[] = {
#define X(name, type, architecture) architecture,
        MODEL_FAMILIES(X)
#undef X
    };
    CN_TRY(cn_str_format(json, "{\n  \"architectures\": [\"%s\"],\n  \"model_type\": \"%s\",\n",
                         architectures[s->family], shape_family_name(s->family)));
    CN_TRY(cn_str_format(json,
                         "  \"vocab_size\": %zu,\n  \"hidden_size\": %zu,\n"
                         "  \"intermediate_size\": %zu,\n  \"num_hidden_layers\": %zu,\n"
                         "  \"num_attention_heads\": %zu,\n  \"num_key_value_heads\": %zu,\n"
                         "  \"head_dim\": %zu,\n  \"max_position_embeddings\": %zu,\n",
                         s->vocab, s->hidden, s->intermediate, s->layers, s->heads, s->kv_heads,
                         s->head_dim, s->context));
    CN_TRY(add_ids(s, json));
    CN_TRY(add_rope(s, json));
    CN_TRY(add_real(json, "  \"rms_norm_eps\": ", s->rms_eps));
    CN_TRY(add_real(json, ",\n  \"initializer_range\": ", s->initializer_range));
    if (s->family != MODEL_QWEN2)
        CN_TRY(cn_str_format(json, ",\n  \"attention_bias\": %s", s->o_bias ? "true" : "false"));
    if (s->family == MODEL_LLAMA) CN_TRY(cn_str_add(json, ",\n  \"mlp_bias\": false"));
    return cn_str_format(json,
                         ",\n  \"hidden_act\": \"silu\",\n  \"attention_dropout\": 0.0,\n"
                         "  \"tie_word_embeddings\": %s,\n  \"use_cache\": true,\n"
                         "  \"torch_dtype\": \"%s\"\n}\n",
                         s->tied ? "true" : "false", dtype_torch_name(dtype));
}

static enum cn_status set_text(struct cn_json *object, const char *key, const char *value)
{
    struct cn_json *node = NULL;
    CN_TRY(cn_json_new_text(cn_text(value), &node));
    return cn_json_set(object, key, node);
}

/* The source's config.json with nothing but the dtype changed. */
static enum cn_status copy_config(const char *path, enum cn_dtype dtype, struct cn_str *json)
{
    struct cn_str text = {0};
    struct cn_json *config = NULL;
    enum cn_status status;
    CN_TRY_GOTO(cn_file_read(path, 1 << 24, &text), out);
    CN_TRY_GOTO(cn_json_parse(cn_str_text(&text), path, &config), out);
    bool new_key = cn_json_get(config, "dtype") != NULL;
    if (new_key) CN_TRY_GOTO(set_text(config, "dtype", dtype_torch_name(dtype)), out);
    if (!new_key || cn_json_get(config, "torch_dtype"))
        CN_TRY_GOTO(set_text(config, "torch_dtype", dtype_torch_name(dtype)), out);
    CN_TRY_GOTO(cn_json_print(config, true, json), out);
    status = cn_str_add(json, "\n");
out:
    cn_json_close(config);
    cn_str_free(&text);
    return status;
}

enum cn_status shape_save(const struct model_shape *shape, const char *source, enum cn_dtype dtype,
                          const char *folder)
{
    struct cn_str path = {0}, json = {0};
    enum cn_status status;
    CN_BUG_IF(!dtype_torch_name(dtype));
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", source ? source : "."), out);
    if (source && access(path.data, F_OK) == 0)
        CN_TRY_GOTO(copy_config(path.data, dtype, &json), out);
    else
        CN_TRY_GOTO(make_config(shape, dtype, &json), out);
    cn_str_clear(&path);
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", folder), out);
    status = cn_file_replace(path.data, json.data, json.length);
out:
    cn_str_free(&json);
    cn_str_free(&path);
    return status;
}
