/* The device path on CPU tensors against the CPU path: the same weights must give the same numbers
 * and draw the same tokens; and what it says when something does not fit or is not there.
 * ctest labels: torch */
#include "check.h"
#include "device.h"

#include "carnot/json.h"
#include "carnot/model.h"
#include "trainer/ranks/gradient_sum.h"

#include <stdlib.h>
#include <unistd.h>

static const char init_text[] =
    "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", \"vocab_size\": 211, "
    "\"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 2, "
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 96, "
    "\"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\", "
    "\"tie_word_embeddings\": true, \"initializer_range\": 0.4}";

enum { CONTEXT = 40, SLOTS = 3, PROMPT = 6, VOCAB = 211 };

struct bench {
    struct cn_model *model;
    struct cn_sampler *sampler;
};

static enum cn_status open_model(const char *device, enum cn_dtype dtype, struct cn_model **out)
{
    struct cn_json *init;
    CN_TRY(cn_json_parse(cn_text(init_text), "init", &init));
    const struct cn_model_settings settings = {.type = "torch",
                                               .init = init,
                                               .device = device,
                                               .dtype = dtype,
                                               .threads = 2,
                                               .trainable = true,
                                               .seed = 12};
    enum cn_status status = cn_model_open(&settings, out);
    cn_json_close(init);
    return status;
}

static enum cn_status bench_open(struct bench *b, const char *device, enum cn_engine engine,
                                 enum cn_dtype dtype)
{
    memset(b, 0, sizeof *b);
    CN_TRY(open_model(device, dtype, &b->model));
    const struct cn_sampler_settings settings = {
        .engine = engine, .slots = SLOTS, .context = CONTEXT, .threads = 2, .dtype = dtype};
    return cn_sampler_open(b->model, &settings, &b->sampler);
}

static void bench_close(struct bench *b)
{
    cn_sampler_close(b->sampler);
    cn_model_close(b->model);
}

/* The device path where this build can run it: on a GPU if there is one. */
static const char *operators(void)
{
    return strcmp(test_device(), "cpu") == 0 ? "cpu-operators" : test_device();
}

static struct cn_draw draw_of(uint32_t sample)
{
    return (struct cn_draw){.key = cn_rng_key(8, 1, CN_RNG_SAMPLING),
                            .prompt = ((uint64_t)3 << 32) + 5,
                            .sample = sample,
                            .temperature = 0.8 + 0.1 * sample,
                            .top_p = 1};
}

static const int32_t prompt[PROMPT] = {4, 9, 1, 200, 0, 77};

/* Draws with every kind of setting at once, until the slots are full: past several runs ahead. */
static enum cn_status sample(struct cn_sampler *sampler, struct cn_drawn out[][SLOTS])
{
    size_t slots[SLOTS];
    struct cn_draw draws[SLOTS] = {draw_of(0), draw_of(1), draw_of(2)};
    draws[1].top_k = 20;
    draws[1].top_p = 0.7;
    draws[2].greedy = true;
    for (int s = 0; s < SLOTS; s++)
        CN_TRY(cn_slot_open(sampler, prompt, PROMPT, &draws[s], &slots[s]));
    for (int t = PROMPT; t < CONTEXT; t++)
        CN_TRY(cn_sampler_step(sampler, slots, SLOTS, out[t - PROMPT]));
    for (int s = 0; s < SLOTS; s++)
        cn_slot_close(sampler, slots[s]);
    return CN_OK;
}

TEST(the_device_draws_what_the_cpu_draws)
{
    struct bench cpu, device;
    static struct cn_drawn expected[CONTEXT][SLOTS], found[2][CONTEXT][SLOTS];
    CHECK_OK(bench_open(&cpu, "cpu", CN_ENGINE_AUTO, CN_DTYPE_F32));
    CHECK_OK(bench_open(&device, operators(), CN_ENGINE_AUTO, CN_DTYPE_F32));
    CHECK_OK(sample(cpu.sampler, expected));
    CHECK_OK(sample(device.sampler, found[0]));
    CHECK_OK(sample(device.sampler, found[1])); /* in a used cache */
    for (int t = 0; t < CONTEXT - PROMPT; t++)
        for (int s = 0; s < SLOTS; s++) {
            CHECK_INT(found[0][t][s].token, expected[t][s].token);
            CHECK_NEAR(found[0][t][s].logp, expected[t][s].logp, 1e-4);
            CHECK_NEAR(found[0][t][s].logp_truncated, expected[t][s].logp_truncated, 1e-4);
            CHECK_NEAR(found[0][t][s].entropy, expected[t][s].entropy, 1e-4);
            CHECK_INT(found[1][t][s].token, found[0][t][s].token);
            CHECK_NEAR(found[1][t][s].logp, found[0][t][s].logp, 0);
        }
    bench_close(&cpu);
    bench_close(&device);
}

TEST(a_full_slot_is_refused_and_others_go_on)
{
    struct bench b;
    struct cn_drawn drawn[2];
    size_t slots[2];
    const struct cn_draw draw = draw_of(0);
    CHECK_OK(bench_open(&b, operators(), CN_ENGINE_AUTO, CN_DTYPE_F32));
    CHECK_OK(cn_slot_open(b.sampler, prompt, PROMPT, &draw, &slots[0]));
    CHECK_OK(cn_slot_open(b.sampler, prompt, 1, &draw, &slots[1]));
    for (int t = PROMPT; t < CONTEXT; t++)
        CHECK_OK(cn_sampler_step(b.sampler, slots, 2, drawn));
    CHECK_FAILS(cn_sampler_step(b.sampler, slots, 2, drawn), CN_ERR_MODEL,
                "slot 0 is full: 40 tokens are the sampler's context");
    CHECK_OK(cn_sampler_step(b.sampler, &slots[1], 1, drawn));
    bench_close(&b);
}

/* Log-probabilities (CONTEXT) of a sequence that begins with the prompt. */
static enum cn_status score(struct cn_model *model, const int32_t *ids, double *logp)
{
    struct cn_arena arena;
    struct cn_batch batch;
    const size_t n = CONTEXT;
    cn_arena_init(&arena);
    CN_TRY(cn_batch_init(&batch, &arena, &n, 1));
    memcpy(batch.token, ids, n * sizeof *ids);
    memset(batch.role, CN_ROLE_POLICY, n);
    const struct cn_atom atom = {.batch = &batch,
                                 .span = cn_batch_all(&batch),
                                 .temperature = 0.8,
                                 .channels = CN_LIVE_BIT(logp)};
    enum cn_status status = cn_model_score(model, -1, &atom, &(struct cn_live_out){.logp = logp});
    cn_arena_free(&arena);
    return status;
}

TEST(what_is_sampled_in_bf16_is_what_is_trained)
{
    struct bench half, full;
    static struct cn_drawn drawn[CONTEXT][SLOTS];
    int32_t ids[CONTEXT];
    double own[CONTEXT], single[CONTEXT], worst = 0;
    CHECK_OK(bench_open(&half, operators(), CN_ENGINE_AUTO, CN_DTYPE_BF16));
    CHECK_OK(bench_open(&full, "cpu", CN_ENGINE_AUTO, CN_DTYPE_F32));
    CHECK_OK(sample(half.sampler, drawn));
    memcpy(ids, prompt, sizeof prompt);
    for (int t = PROMPT; t < CONTEXT; t++)
        ids[t] = drawn[t - PROMPT][0].token;
    CHECK_OK(score(half.model, ids, own));
    CHECK_OK(score(full.model, ids, single));
    for (int t = PROMPT; t < CONTEXT; t++) {
        CHECK_NEAR(drawn[t - PROMPT][0].logp, own[t], 0.1);
        CHECK_NEAR(own[t], single[t], 0.3);
        worst = fmax(worst, fabs(own[t] - single[t]));
    }
    CHECK(worst > 1e-6); /* it really was another type */
    bench_close(&half);
    bench_close(&full);
}

/* What an element of a gradient may be: ties between two integers, others' signs, and nothing. */
static float gradient_value(size_t i, int round)
{
    static const float odd[] = {0,       0x1p-45f, 3 * 0x1p-45f, -0x1p-45f,
                                200.25f, -1e-7f,   1e-30f,       127.99f};
    if (i % 16 == 4 && i > 8192) return 100.25f; /* the CPU has a faster way below 128 */
    if (i % 16 < 8) return odd[i % 8];
    return (float)((double)((i * 2654435761u + (size_t)round * 97u) % 100003) * 1e-6 - 0.05);
}

static bool fill_gradient(struct cn_model *model, int round)
{
    struct cn_buffer flat[2];
    size_t n;
    if (cn_model_flat_gradient(model, flat, &n) != CN_OK) return false;
    float *x = malloc(flat[0].count * sizeof *x);
    for (size_t i = 0; i < flat[0].count; i++)
        x[i] = gradient_value(i, round);
    const bool written = buffer_write(&flat[0], x);
    free(x);
    return written;
}

/* Two atoms through an exact sum; false if something failed. */
static bool sum_two(struct cn_model *model, struct gradient_sum **sum)
{
    const struct gradient_sum_options options = {.model = model, .threads = 2, .exact = true};
    if (gradient_sum_open(&options, sum) != CN_OK || gradient_sum_begin(*sum, 2) != CN_OK)
        return false;
    for (int round = 0; round < 2; round++)
        if (!fill_gradient(model, round) || gradient_sum_add(*sum) != CN_OK) return false;
    return gradient_sum_flush(*sum) == CN_OK && gradient_sum_end(*sum, true) == CN_OK;
}

TEST(exact_sums_have_the_same_bits_on_the_device)
{
    struct cn_model *cpu, *device;
    struct gradient_sum *sums[2] = {NULL, NULL};
    struct cn_buffer expected[2], found[2], integers;
    size_t n;
    bool fits;
    CHECK_OK(open_model("cpu", CN_DTYPE_F32, &cpu));
    CHECK_OK(open_model(operators(), CN_DTYPE_F32, &device));
    CHECK(sum_two(cpu, &sums[0]));
    CHECK(sum_two(device, &sums[1]));
    CHECK_OK(cn_model_fixed(device, &integers, &fits));
    CHECK(fits && integers.count > 0 && integers.dtype == CN_DTYPE_I64);
    CHECK_OK(cn_model_flat_gradient(cpu, expected, &n));
    CHECK_OK(cn_model_flat_gradient(device, found, &n));
    CHECK(buffers_equal(&expected[0], &found[0]));
    float *x = malloc(found[0].count * sizeof *x);
    CHECK(buffer_read(&found[0], x));
    CHECK_NEAR(x[4], 400.5, 0);
    CHECK_NEAR(x[2], 4 * 0x1p-44, 0); /* a tie goes to the even integer, twice */
    CHECK_NEAR(x[1], 0, 0);
    free(x);
    gradient_sum_close(sums[0]);
    gradient_sum_close(sums[1]);
    cn_model_close(cpu);
    cn_model_close(device);
}

TEST(an_element_that_does_not_fit_spoils_the_sum_on_the_device)
{
    static const float bad[] = {NAN, INFINITY, -INFINITY, 0x1p17f};
    struct cn_model *model;
    struct gradient_sum *sum;
    struct cn_buffer flat[2], first;
    size_t n;
    float value;
    CHECK_OK(open_model(operators(), CN_DTYPE_F32, &model));
    CHECK(sum_two(model, &sum));
    CHECK_OK(cn_model_flat_gradient(model, flat, &n));
    first = flat[0];
    first.count = 1;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) { /* 2^17 is the limit of two atoms */
        CHECK_OK(gradient_sum_begin(sum, 2));
        CHECK(fill_gradient(model, 0) && buffer_write(&first, &bad[i]));
        CHECK_OK(gradient_sum_add(sum));
        CHECK_OK(gradient_sum_end(sum, true));
        CHECK(buffer_read(&first, &value) && isnan(value));
    }
    CHECK_OK(gradient_sum_begin(sum, 2));
    CHECK(fill_gradient(model, 0));
    CHECK_OK(gradient_sum_add(sum));
    CHECK_OK(gradient_sum_end(sum, true));
    CHECK(buffer_read(&first, &value) && value == 0);
    gradient_sum_close(sum);
    cn_model_close(model);
}

TEST(what_does_not_fit_is_named_with_its_key)
{
    struct cn_model *model;
    struct cn_sampler *sampler;
    const struct cn_sampler_settings settings = {.slots = (size_t)1 << 34, .context = CONTEXT};
    CHECK_OK(open_model(operators(), CN_DTYPE_F32, &model));
    CHECK_FAILS(cn_sampler_open(model, &settings, &sampler), CN_ERR_MEMORY,
                "\"decode engine: keys and values\" did not fit (try fewer rollout.slots");
    cn_model_close(model);
}

TEST(a_device_that_is_not_there_is_refused)
{
    struct cn_model *model;
    CHECK_FAILS(open_model("gpu", CN_DTYPE_F32, &model), CN_ERR_CONFIG,
                "run.device is \"gpu\", allowed are \"cpu\" and \"cuda\"");
    CHECK_FAILS(open_model(operators(), CN_DTYPE_F16, &model), CN_ERR_CONFIG, "model.dtype is F16");
    if (access("/dev/nvidiactl", F_OK) == 0) SKIP("there is a GPU");
    CHECK_FAILS(open_model("cuda", CN_DTYPE_F32, &model), CN_ERR_CONFIG, "run.device=cuda: ");
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
