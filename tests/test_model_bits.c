/* The size at which a matrix product is really split: the gradient of a whole atom and the weights
 * after steps have the same bits on any number of threads and with or without checkpointing; and
 * logits are really made in several chunks. */
/* ctest labels: torch */
#include "check.h"
#include "device.h"

#include "carnot/json.h"
#include "carnot/model.h"

#include <stdlib.h>

static const char init_text[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": "
                                "\"llama\", \"vocab_size\": 259, \"hidden_size\": 128,"
                                " \"intermediate_size\": 384, \"num_hidden_layers\": 2, "
                                "\"num_attention_heads\": 4, \"num_key_value_heads\": 2,"
                                " \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5, "
                                "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\","
                                " \"tie_word_embeddings\": true, \"initializer_range\": 0.05}";

enum { GROUPS = 12, SAMPLES = 8, PROMPT = 9 };

/* Groups that share prompts, answers of 1 to 40 tokens. */
static enum cn_status make_batch(struct cn_batch *batch, struct cn_arena *arena)
{
    size_t lengths[GROUPS * SAMPLES];
    for (size_t s = 0; s < GROUPS * SAMPLES; s++)
        lengths[s] = PROMPT + 1 + (s * 17) % 40;
    CN_TRY(cn_batch_init(batch, arena, lengths, GROUPS * SAMPLES));
    for (size_t s = 0; s < GROUPS * SAMPLES; s++) {
        batch->group[s] = (uint32_t)(s / SAMPLES);
        for (size_t i = 0; i < lengths[s]; i++) {
            const size_t t = batch->seq_start[s] + i;
            batch->token[t] = (int32_t)((i < PROMPT ? s / SAMPLES * 31 + i * 7 : t * 13 + s) % 259);
            batch->role[t] = i < PROMPT ? CN_ROLE_PROMPT : CN_ROLE_POLICY;
        }
    }
    return CN_OK;
}

struct result {
    double logp[8192];
    float *weights; /* all tensors, after two steps */
    size_t n;
    double moved; /* largest change of a weight */
};

static enum cn_status copy_weights(struct cn_model *model, struct result *out)
{
    const struct cn_buffer *buffers;
    size_t count, at = 0;
    CN_TRY(cn_model_weights(model, &buffers, &count));
    out->n = cn_model_info(model)->n_parameters;
    if (!out->weights) out->weights = calloc(out->n, sizeof *out->weights);
    for (size_t k = 0; k < count; k++)
        for (size_t j = 0; j < buffers[k].count; j++, at++) {
            const float w = ((const float *)buffers[k].data)[j];
            out->moved = fmax(out->moved, fabs((double)w - (double)out->weights[at]));
            out->weights[at] = w;
        }
    return CN_OK;
}

static enum cn_status two_steps(struct cn_model *model, const struct cn_batch *batch,
                                struct cn_arena *arena, struct result *out)
{
    const struct cn_step_options options = {
        .lr = 1e-3, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .clip_norm = 1};
    struct cn_live_out live = {.logp = out->logp};
    struct cn_token_grad grad = {0};
    struct cn_step_result stepped;
    CN_TRY(CN_NEW(arena, batch->n_tokens, &live.entropy));
    CN_TRY(CN_NEW(arena, batch->n_tokens, &grad.d_logp));
    CN_TRY(CN_NEW(arena, batch->n_tokens, &grad.d_entropy));
    for (size_t t = 0; t < batch->n_tokens; t++) {
        grad.d_logp[t] = 1e-3 * ((double)(t * 7 % 13) - 6);
        grad.d_entropy[t] = 1e-4 * (double)(t % 3);
    }
    const struct cn_atom atom = {.batch = batch,
                                 .span = cn_batch_all(batch),
                                 .temperature = 1,
                                 .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy)};
    for (int step = 0; step < 2; step++) {
        CN_TRY(cn_model_zero_gradients(model));
        CN_TRY(cn_model_forward(model, &atom, &live));
        CN_TRY(cn_model_backward(model, &grad));
        CN_TRY(cn_model_step(model, &options, &stepped));
    }
    return CN_OK;
}

static enum cn_status run(int threads, bool checkpoint, enum cn_dtype dtype, struct result *out)
{
    struct cn_arena arena;
    struct cn_batch batch;
    struct cn_json *init;
    struct cn_model *model;
    memset(out, 0, sizeof *out);
    cn_arena_init(&arena);
    CN_TRY(make_batch(&batch, &arena));
    CN_BUG_IF(batch.n_tokens > 8192 || batch.n_tokens < 2048);
    CN_TRY(cn_json_parse(cn_text(init_text), "init", &init));
    const struct cn_model_settings settings = {.type = "torch",
                                               .init = init,
                                               .device = test_device(),
                                               .dtype = dtype,
                                               .threads = threads,
                                               .trainable = true,
                                               .seed = 4,
                                               .checkpoint_activations = checkpoint};
    CN_TRY(cn_model_open(&settings, &model));
    CN_TRY(copy_weights(model, out));
    out->moved = 0;
    CN_TRY(two_steps(model, &batch, &arena, out));
    CN_TRY(copy_weights(model, out));
    cn_model_close(model);
    cn_json_close(init);
    cn_arena_free(&arena);
    return CN_OK;
}

static void compare(enum cn_dtype dtype)
{
    static struct result first, other;
    static const struct {
        int threads;
        bool checkpoint;
    } ways[] = {{2, false}, {3, false}, {1, true}, {2, true}};
    CHECK_OK(run(1, false, dtype, &first));
    CHECK(first.moved > 1e-4);
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        CHECK_OK(run(ways[i].threads, ways[i].checkpoint, dtype, &other));
        bool logp = memcmp(first.logp, other.logp, sizeof first.logp) == 0;
        bool weights = memcmp(first.weights, other.weights, first.n * sizeof *first.weights) == 0;
        if (!logp || !weights)
            CHECK_FAILED("%d threads, checkpointing %d: log-probabilities %s, weights %s",
                         ways[i].threads, ways[i].checkpoint, logp ? "equal" : "differ",
                         weights ? "equal" : "differ");
        free(other.weights);
    }
    free(first.weights);
}

TEST(fp32_training_has_the_same_bits_on_any_number_of_threads)
{
    compare(CN_DTYPE_F32);
}

TEST(bf16_training_has_the_same_bits_on_any_number_of_threads)
{
    compare(CN_DTYPE_BF16);
}

/* ---- chunks of the head -------------------------------------------------- */

/* A vocabulary of which 64 rows of logits, the least that a chunk holds, fill it. */
static const char wide_text[] = "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": "
                                "\"llama\", \"vocab_size\": %d, \"hidden_size\": 8,"
                                " \"intermediate_size\": 8, \"num_hidden_layers\": 1, "
                                "\"num_attention_heads\": 1, \"num_key_value_heads\": 1,"
                                " \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5, "
                                "\"rope_theta\": 10000.0, \"hidden_act\": \"silu\","
                                " \"tie_word_embeddings\": false, \"initializer_range\": 0.3}";
enum { CHUNK = 64, WIDE_TOKENS = 2 * (CHUNK + 1) };

struct wide {
    double logp[WIDE_TOKENS], entropy[WIDE_TOKENS], top[WIDE_TOKENS];
    float *head, *embed; /* gradients of the last tensor and of the first one */
    size_t n_head, n_embed;
};

/* Two sequences of CHUNK answer tokens: one atom of two chunks, or two atoms of one. */
static enum cn_status run_wide(bool apart, enum cn_dtype dtype, struct cn_arena *arena,
                               struct wide *out)
{
    static const size_t lengths[] = {CHUNK + 1, CHUNK + 1};
    const int vocab = strcmp(test_device(), "cpu") == 0 ? 1 << 19 : 1 << 15;
    char text[sizeof wide_text + 16];
    struct cn_batch batch;
    struct cn_json *init;
    struct cn_model *model;
    const struct cn_buffer *gradients;
    double d[WIDE_TOKENS];
    size_t n;
    CN_TRY(cn_batch_init(&batch, arena, lengths, 2));
    for (size_t t = 0; t < WIDE_TOKENS; t++) {
        batch.group[t / (CHUNK + 1)] = (uint32_t)(t / (CHUNK + 1));
        batch.token[t] = (int32_t)(t * 7919 % (size_t)vocab);
        batch.role[t] = t % (CHUNK + 1) ? CN_ROLE_POLICY : CN_ROLE_PROMPT;
        d[t] = 1e-2 * ((double)(t * 7 % 13) - 6);
    }
    snprintf(text, sizeof text, wide_text, vocab);
    CN_TRY(cn_json_parse(cn_text(text), "init", &init));
    const struct cn_model_settings settings = {.type = "torch",
                                               .init = init,
                                               .device = test_device(),
                                               .dtype = dtype,
                                               .threads = 2,
                                               .trainable = true,
                                               .seed = 4};
    CN_TRY(cn_model_open(&settings, &model));
    const struct cn_live_out live = {
        .logp = out->logp, .entropy = out->entropy, .entropy_top = out->top};
    const struct cn_token_grad grad = {.d_logp = d, .d_entropy = d, .d_entropy_top = d};
    CN_TRY(cn_model_zero_gradients(model));
    for (size_t s = 0; s < (apart ? 2 : 1); s++) {
        const struct cn_atom atom = {.batch = &batch,
                                     .span = {s, apart ? s + 1 : 2},
                                     .temperature = 1,
                                     .top = {CN_TOP_P, 0.7, true},
                                     .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy) |
                                                 CN_LIVE_BIT(entropy_top)};
        CN_TRY(cn_model_forward(model, &atom, &live));
        CN_TRY(cn_model_backward(model, &grad));
    }
    CN_TRY(cn_model_gradients(model, &gradients, &n));
    CN_BUG_IF(strcmp(gradients[n - 1].name, "lm_head.weight") != 0);
    out->n_head = gradients[n - 1].count;
    CN_TRY(CN_NEW(arena, out->n_head, &out->head));
    CN_BUG_IF(!buffer_read(&gradients[n - 1], out->head));
    out->n_embed = gradients[0].count;
    CN_TRY(CN_NEW(arena, out->n_embed, &out->embed));
    CN_BUG_IF(!buffer_read(&gradients[0], out->embed));
    cn_model_close(model);
    cn_json_close(init);
    return CN_OK;
}

/* So the chunks of an atom are no more than atoms of their own, in order. */
TEST(an_atom_of_two_chunks_has_the_bits_of_two_atoms_of_one)
{
    struct cn_arena arena;
    struct wide whole, apart;
    double largest = 0;
    if (strcmp(test_device(), "cuda") == 0) SKIP("a chunk of a GPU holds more rows");
    cn_arena_init(&arena);
    CHECK_OK(run_wide(false, CN_DTYPE_F32, &arena, &whole));
    CHECK_OK(run_wide(true, CN_DTYPE_F32, &arena, &apart));
    CHECK(memcmp(whole.logp, apart.logp, sizeof whole.logp) == 0);
    CHECK(memcmp(whole.entropy, apart.entropy, sizeof whole.entropy) == 0);
    CHECK(memcmp(whole.top, apart.top, sizeof whole.top) == 0);
    CHECK_INT(whole.n_head, apart.n_head);
    CHECK(memcmp(whole.head, apart.head, whole.n_head * sizeof *whole.head) == 0);
    for (size_t j = 0; j < whole.n_head; j++)
        largest = fmax(largest, fabs((double)whole.head[j]));
    CHECK(largest > 1e-3);
    cn_arena_free(&arena);
}

static double relative_difference(const float *a, const float *b, size_t n)
{
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        norm += (double)b[i] * b[i];
    }
    return sqrt(difference / norm);
}

/* A head this wide is multiplied, and where the processor has no bf16 widened, in several parts. */
TEST(a_wide_head_in_bf16_is_near_the_one_in_floats)
{
    struct cn_arena arena;
    struct wide half, full;
    cn_arena_init(&arena);
    CHECK_OK(run_wide(false, CN_DTYPE_BF16, &arena, &half));
    CHECK_OK(run_wide(false, CN_DTYPE_F32, &arena, &full));
    for (size_t t = 0; t < WIDE_TOKENS; t++)
        CHECK_NEAR(half.logp[t], full.logp[t], 0.1);
    CHECK_NEAR(relative_difference(half.head, full.head, full.n_head), 0, 0.05);
    CHECK_NEAR(relative_difference(half.embed, full.embed, full.n_embed), 0, 0.05);
    CHECK(memcmp(half.embed, full.embed, full.n_embed * sizeof *full.embed) != 0);
    cn_arena_free(&arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
