/* Reading config.json, refusing what is not supported, and the list of tensors. */
#include "check.h"

#include "trainer/model/shape.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BASE                                                                                       \
    "\"vocab_size\": 100, \"hidden_size\": 24, \"intermediate_size\": 40, "                        \
    "\"num_hidden_layers\": 2, \"num_attention_heads\": 4, \"max_position_embeddings\": 64"

static enum cn_status parse(const char *text, struct model_shape *out)
{
    struct cn_json *root = NULL;
    enum cn_status status = cn_json_parse(cn_text(text), "test", &root);
    if (status == CN_OK) status = shape_parse(root, "config.json", out);
    cn_json_close(root);
    return status;
}

static const struct shape_tensor *find(const struct shape_tensor *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].name, name) == 0) return &list[i];
    return NULL;
}

TEST(a_llama_config_without_optional_keys_takes_the_defaults_of_transformers)
{
    struct model_shape s;
    CHECK_OK(parse("{\"model_type\": \"llama\", " BASE "}", &s));
    CHECK_INT(s.family, MODEL_LLAMA);
    CHECK_INT(s.kv_heads, 4);
    CHECK_INT(s.head_dim, 6);
    CHECK_NEAR(s.rope_theta, 10000, 0);
    CHECK_NEAR(s.rms_eps, 1e-6, 0);
    CHECK_NEAR(s.initializer_range, 0.02, 0);
    CHECK(!s.tied && !s.qkv_bias && !s.o_bias && !s.qk_norm);
    CHECK_INT(s.bos, -1);
    CHECK_INT(s.n_eos, 0);
}

TEST(families_differ_in_biases_norms_and_head_size)
{
    struct model_shape s;
    CHECK_OK(parse("{\"architectures\": [\"Qwen2ForCausalLM\"], \"use_sliding_window\": false, "
                   "\"sliding_window\": 8, \"eos_token_id\": [7, 9], " BASE "}",
                   &s));
    CHECK_INT(s.family, MODEL_QWEN2);
    CHECK(s.qkv_bias && !s.o_bias && !s.qk_norm);
    CHECK_INT(s.n_eos, 2);
    CHECK_INT(s.eos[1], 9);
    CHECK_OK(parse("{\"model_type\": \"qwen3\", \"attention_bias\": true, " BASE "}", &s));
    CHECK(s.qkv_bias && s.o_bias && s.qk_norm);
    CHECK_INT(s.head_dim, 128);
    CHECK_OK(parse("{\"model_type\": \"llama\", \"attention_bias\": true, " BASE "}", &s));
    CHECK(s.qkv_bias && s.o_bias);
}

TEST(classic_and_new_rope_keys_give_the_same_shape)
{
    struct model_shape old, new;
    memset(&old, 0, sizeof old);
    memset(&new, 0, sizeof new);
#define LLAMA3                                                                                     \
    "\"factor\": 8.0, \"low_freq_factor\": 1.0, \"high_freq_factor\": 4.0, "                       \
    "\"original_max_position_embeddings\": 32, \"rope_type\": \"llama3\""
    CHECK_OK(parse("{\"model_type\": \"llama\", \"rope_theta\": 500000.0, "
                   "\"rope_scaling\": {" LLAMA3 "}, " BASE "}",
                   &old));
    CHECK_OK(parse("{\"model_type\": \"llama\", "
                   "\"rope_parameters\": {\"rope_theta\": 500000.0, " LLAMA3 "}, " BASE "}",
                   &new));
    CHECK_INT(old.rope, ROPE_LLAMA3);
    CHECK_INT(new.rope, ROPE_LLAMA3);
    CHECK_NEAR(old.rope_theta, 500000, 0);
    CHECK_NEAR(new.rope_theta, 500000, 0);
    CHECK_NEAR(old.rope_factor, new.rope_factor, 0);
    CHECK_NEAR(new.rope_original_context, 32, 0);
    CHECK_OK(parse("{\"model_type\": \"llama\", \"rope_scaling\": {\"type\": \"linear\", "
                   "\"factor\": 2}, " BASE "}",
                   &old));
    CHECK_INT(old.rope, ROPE_LINEAR);
    CHECK_NEAR(old.rope_factor, 2, 0);
}

TEST(what_is_not_supported_is_refused_by_name)
{
    static const struct {
        const char *keys, *message;
    } cases[] = {
        {"\"model_type\": \"mistral\"", "\"mistral\""},
        {"\"model_type\": \"llama\", \"architectures\": [\"LlamaForSequenceClassification\"]",
         "LlamaForSequenceClassification"},
        {"\"x\": 1", "model_type"},
        {"\"model_type\": \"qwen2\", \"use_sliding_window\": true, \"sliding_window\": 8, "
         "\"max_window_layers\": 1",
         "use_sliding_window"},
        {"\"model_type\": \"qwen3\", \"layer_types\": [\"full_attention\", \"sliding_attention\"]",
         "sliding_attention"},
        {"\"model_type\": \"llama\", \"hidden_act\": \"gelu\"", "gelu"},
        {"\"model_type\": \"llama\", \"mlp_bias\": true", "mlp_bias"},
        {"\"model_type\": \"llama\", \"quantization_config\": {\"bits\": 4}",
         "quantization_config"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 2}",
         "yarn"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"linear\"}", "factor"},
        {"\"model_type\": \"llama\", \"rope_scaling\": {\"rope_type\": \"linear\", \"factor\": -2}",
         "\"factor\" is -2"},
        {"\"model_type\": \"llama\", \"rope_theta\": \"1e4\"", "\"rope_theta\" is not a number"},
        {"\"model_type\": \"llama\", \"rope_parameters\": 5",
         "\"rope_parameters\" is not an object"},
        {"\"model_type\": \"qwen2\", \"rope_parameters\": {\"full_attention\": {\"rope_theta\": "
         "5}}",
         "\"full_attention\" of \"rope_parameters\" is an object"},
        {"\"model_type\": \"llama\", \"partial_rotary_factor\": 0.5", "partial_rotary_factor"},
        {"\"model_type\": \"llama\", \"num_key_value_heads\": 3", "num_key_value_heads 3"},
        {"\"model_type\": \"llama\", \"head_dim\": 5", "odd"},
        {"\"model_type\": \"llama\", \"head_dim\": 1e300", "head_dim"},
        {"\"model_type\": \"llama\", \"rms_norm_eps\": \"small\"", "rms_norm_eps"},
        {"\"model_type\": \"llama\", \"eos_token_id\": 100", "eos_token_id"},
        {"\"model_type\": \"llama\", \"eos_token_id\": [1,2,3,4,5,6,7,8,9]", "at most 8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct model_shape s;
        char text[1024];
        snprintf(text, sizeof text, "{%s, " BASE "}", cases[i].keys);
        CHECK_FAILS(parse(text, &s), CN_ERR_MODEL, cases[i].message);
    }
    struct model_shape s;
    CHECK_FAILS(parse("{\"model_type\": \"llama\"}", &s), CN_ERR_MODEL, "vocab_size");
    CHECK_FAILS(parse("[1]", &s), CN_ERR_MODEL, "object");
    CHECK_FAILS(parse("{\"model_type\": \"llama\", \"vocab_size\": 2.5}", &s), CN_ERR_MODEL,
                "vocab_size\" is 2.5");
}

TEST(the_list_of_tensors_has_every_name_once_and_sums_to_the_parameters)
{
    struct model_shape s;
    struct cn_arena arena;
    const struct shape_tensor *list, *t;
    size_t n, total = 0;
    cn_arena_init(&arena);
    CHECK_OK(parse("{\"model_type\": \"qwen3\", \"num_key_value_heads\": 2, \"head_dim\": 8, "
                   "\"attention_bias\": true, " BASE "}",
                   &s));
    CHECK_OK(shape_tensors(&s, &arena, &list, &n));
    CHECK_INT(n, 2 * 15 + 3);
    for (size_t i = 0; i < n; i++) {
        total += list[i].count;
        CHECK(find(list, n, list[i].name) == &list[i]);
    }
    CHECK_INT(total, shape_parameters(&s));
    t = find(list, n, "model.layers.1.self_attn.k_proj.weight");
    CHECK(t && t->shape[0] == 16 && t->shape[1] == 24 && t->layer == 1 && t->rank == 2);
    t = find(list, n, "model.layers.0.self_attn.q_norm.weight");
    CHECK(t && t->shape[0] == 8 && t->rank == 1);
    CHECK(find(list, n, "lm_head.weight") != NULL);
    s.tied = true;
    CHECK_OK(shape_tensors(&s, &arena, &list, &n));
    CHECK(find(list, n, "lm_head.weight") == NULL);
    cn_arena_free(&arena);
}

TEST(published_configs_give_the_published_numbers_of_parameters)
{
    static const struct {
        const char *config;
        size_t parameters;
    } models[] = {
        /* Qwen2.5-0.5B-Instruct */
        {"{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"hidden_size\": "
         "896, "
         "\"intermediate_size\": 4864, \"num_hidden_layers\": 24, \"num_attention_heads\": 14, "
         "\"num_key_value_heads\": 2, \"vocab_size\": 151936, \"max_position_embeddings\": 32768, "
         "\"rope_theta\": 1000000.0, \"sliding_window\": 32768, \"max_window_layers\": 21, "
         "\"use_sliding_window\": false, \"tie_word_embeddings\": true, \"eos_token_id\": 151645}",
         494032768},
        /* Qwen3-0.6B */
        {"{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", \"hidden_size\": "
         "1024, "
         "\"intermediate_size\": 3072, \"num_hidden_layers\": 28, \"num_attention_heads\": 16, "
         "\"num_key_value_heads\": 8, \"head_dim\": 128, \"vocab_size\": 151936, "
         "\"max_position_embeddings\": 40960, \"rope_scaling\": null, \"sliding_window\": null, "
         "\"tie_word_embeddings\": true, \"attention_bias\": false, \"eos_token_id\": 151645}",
         596049920},
        /* Llama-3.2-1B-Instruct */
        {"{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": "
         "2048, "
         "\"intermediate_size\": 8192, \"num_hidden_layers\": 16, \"num_attention_heads\": 32, "
         "\"num_key_value_heads\": 8, \"head_dim\": 64, \"vocab_size\": 128256, "
         "\"max_position_embeddings\": 131072, \"rope_theta\": 500000.0, \"rope_scaling\": "
         "{\"factor\": "
         "32.0, \"high_freq_factor\": 4.0, \"low_freq_factor\": 1.0, "
         "\"original_max_position_embeddings\": 8192, \"rope_type\": \"llama3\"}, "
         "\"tie_word_embeddings\": true, \"pretraining_tp\": 1, \"mlp_bias\": false, "
         "\"eos_token_id\": [128001, 128008, 128009]}",
         1235814400},
        /* TinyLlama-1.1B */
        {"{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": "
         "2048, "
         "\"intermediate_size\": 5632, \"num_hidden_layers\": 22, \"num_attention_heads\": 32, "
         "\"num_key_value_heads\": 4, \"vocab_size\": 32000, \"max_position_embeddings\": 2048, "
         "\"tie_word_embeddings\": false, \"bos_token_id\": 1, \"eos_token_id\": 2}",
         1100048384},
    };
    for (size_t i = 0; i < sizeof models / sizeof *models; i++) {
        struct model_shape s;
        CHECK_OK(parse(models[i].config, &s));
        CHECK_INT(shape_parameters(&s), models[i].parameters);
    }
}

TEST(smollm2_has_the_published_number_of_parameters)
{
    /* 134,515,008: sum over the tensors of SmolLM2-135M. */
    const struct model_shape s = {.family = MODEL_LLAMA,
                                  .vocab = 49152,
                                  .hidden = 576,
                                  .intermediate = 1536,
                                  .layers = 30,
                                  .heads = 9,
                                  .kv_heads = 3,
                                  .head_dim = 64,
                                  .context = 8192,
                                  .tied = true};
    CHECK_INT(shape_parameters(&s), 134515008);
}

static void check_same(const struct model_shape *a, const struct model_shape *b)
{
// clang-format off
#define SIZES(X)                                                                                   \
    X(family) X(vocab) X(hidden) X(intermediate) X(layers) X(heads) X(kv_heads) X(head_dim)        \
    X(context) X(rope) X(tied) X(qkv_bias) X(o_bias) X(qk_norm) X(n_eos) X(bos) X(pad) X(eos[0])   \
    X(eos[1])
#define REALS(X)                                                                                   \
    X(rms_eps) X(rope_theta) X(rope_factor) X(rope_low_factor) X(rope_high_factor)                 \
    X(rope_original_context) X(initializer_range)
// clang-format on
#define X(field) CHECK_INT(a->field, b->field);
    SIZES(X)
#undef X
#define X(field) CHECK_NEAR(a->field, b->field, 0);
    REALS(X)
#undef X
}

TEST(a_config_made_from_a_shape_reads_back_as_that_shape)
{
    static const char *const texts[] = {
        "{\"model_type\": \"qwen3\", \"tie_word_embeddings\": true, \"bos_token_id\": 3, "
        "\"eos_token_id\": [1, 2], \"rms_norm_eps\": 1e-5, " BASE "}",
        "{\"model_type\": \"llama\", \"attention_bias\": true, \"rope_theta\": 500000, "
        "\"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 32, \"low_freq_factor\": 1, "
        "\"high_freq_factor\": 4, \"original_max_position_embeddings\": 8192}, " BASE "}",
        "{\"model_type\": \"qwen2\", \"pad_token_id\": 4, \"rope_scaling\": {\"type\": \"linear\", "
        "\"factor\": 2.5}, \"eos_token_id\": 5, " BASE "}",
    };
    char folder[] = "/tmp/carnot-shape-XXXXXX", path[64];
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/config.json", folder);
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        struct model_shape before, after;
        memset(&before, 0, sizeof before);
        memset(&after, 0, sizeof after);
        CHECK_OK(parse(texts[i], &before));
        CHECK_OK(shape_save(&before, NULL, CN_DTYPE_BF16, folder));
        CHECK_OK(shape_read(folder, &after));
        check_same(&before, &after);
    }
    unlink(path);
    struct model_shape s;
    CHECK_FAILS(shape_read(folder, &s), CN_ERR_IO, "config.json");
    rmdir(folder);
}

TEST(saving_beside_a_source_keeps_unknown_keys_and_changes_the_dtype)
{
    char folder[] = "/tmp/carnot-shape-XXXXXX", path[64];
    const char *text = "{\"model_type\": \"llama\", \"dtype\": \"float32\", \"mine\": 1, " BASE "}";
    struct model_shape s;
    struct cn_str found = {0};
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/config.json", folder);
    CHECK_OK(cn_file_replace(path, text, strlen(text)));
    CHECK_OK(shape_read(folder, &s));
    CHECK_OK(shape_save(&s, folder, CN_DTYPE_BF16, folder));
    CHECK_OK(cn_file_read(path, 4096, &found));
    CHECK(strstr(found.data, "\"dtype\": \"bfloat16\"") != NULL);
    CHECK(strstr(found.data, "\"mine\": 1") != NULL);
    cn_str_free(&found);
    unlink(path);
    rmdir(folder);
}

TEST(rope_frequencies_follow_transformers)
{
    /* llama3: LlamaRotaryEmbedding.inv_freq of transformers 5.23; one wave is kept, one blended,
     * one stretched. */
    struct model_shape s = {.head_dim = 8,
                            .rope_theta = 100,
                            .rope_factor = 8,
                            .rope_low_factor = 1,
                            .rope_high_factor = 4,
                            .rope_original_context = 128};
    static const double plain[4] = {1, 0.31622776601683794, 0.1, 0.031622776601683794};
    static const double llama3[4] = {1.0, 0.3162277638912201, 0.04275117814540863,
                                     0.0039528473280370235};
    float out[4];
    shape_rope_frequencies(&s, out);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(out[i], plain[i], 3e-8);
    s.rope = ROPE_LINEAR;
    shape_rope_frequencies(&s, out);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(out[i], plain[i] / 8, 3e-8);
    s.rope = ROPE_LLAMA3;
    shape_rope_frequencies(&s, out);
    for (int i = 0; i < 4; i++)
        CHECK_NEAR(out[i], llama3[i], 1e-8);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
