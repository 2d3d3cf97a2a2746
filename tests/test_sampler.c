/* The sampling half of the model seam: the same checks for every engine over every back end. */
#include "check.h"
#include "device.h"

#include "carnot/json.h"
#include "carnot/model.h"

#include <stdlib.h>

/* A small random model and an engine over it. */
struct subject {
    const char *type, *init;
    enum cn_engine engine;
    enum cn_dtype dtype;
    double near; /* of the model's own log-probabilities, nats */
};

#define TABLE                                                                                      \
    "{\"type\": \"table\", \"vocab_size\": 23, \"order\": 2, \"states\": 529, \"context\": 96, "   \
    "\"initializer_range\": 0.9}"
#define QWEN3                                                                                      \
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", \"vocab_size\": 23, "  \
    "\"hidden_size\": 16, \"intermediate_size\": 24, \"num_hidden_layers\": 2, "                   \
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"head_dim\": 8, "                    \
    "\"max_position_embeddings\": 96, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, "           \
    "\"hidden_act\": \"silu\", \"tie_word_embeddings\": false, \"initializer_range\": 0.4}"

static const struct subject subjects[] = {
    {"table", TABLE, CN_ENGINE_AUTO, CN_DTYPE_F32, 1e-5},
#ifdef CN_WITH_TORCH
    {"torch", QWEN3, CN_ENGINE_AUTO, CN_DTYPE_F32, 1e-4},
    {"torch", QWEN3, CN_ENGINE_DECODE, CN_DTYPE_BF16, 0.15},
    {"torch", QWEN3, CN_ENGINE_TORCH, CN_DTYPE_F32, 1e-4},
#endif
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects, VOCAB = 23, SLOTS = 8 };

/* A table computes on the CPU whatever transformers do. */
static const char *device_of(const struct subject *subject)
{
    return strcmp(subject->type, "torch") == 0 ? test_device() : "cpu";
}

struct bench {
    struct cn_model *model;
    struct cn_sampler *sampler;
};

static enum cn_status bench_open(struct bench *b, const struct subject *subject)
{
    memset(b, 0, sizeof *b);
    struct cn_json *init;
    CN_TRY(cn_json_parse(cn_text(subject->init), "init", &init));
    const struct cn_model_settings settings = {.type = subject->type,
                                               .init = init,
                                               .device = device_of(subject),
                                               .dtype = CN_DTYPE_F32,
                                               .threads = 1,
                                               .trainable = true,
                                               .seed = 3};
    enum cn_status status = cn_model_open(&settings, &b->model);
    cn_json_close(init);
    CN_TRY(status);
    const struct cn_sampler_settings sampler = {.engine = subject->engine,
                                                .slots = SLOTS,
                                                .context = 90,
                                                .threads = 2,
                                                .dtype = subject->dtype};
    return cn_sampler_open(b->model, &sampler, &b->sampler);
}

static void bench_close(struct bench *b)
{
    cn_sampler_close(b->sampler);
    cn_model_close(b->model);
}

static struct cn_draw make_draw(uint64_t prompt, uint32_t sample)
{
    return (struct cn_draw){.key = cn_rng_key(8, 1, CN_RNG_SAMPLING),
                            .prompt = prompt,
                            .sample = sample,
                            .temperature = 0.9,
                            .top_p = 1};
}

/* The model's own log-probabilities and entropies (n) of `ids` at temperature 0.9. */
static enum cn_status model_says(struct cn_model *model, const int32_t *ids, size_t n, double *logp,
                                 double *entropy)
{
    struct cn_arena arena;
    struct cn_batch batch;
    cn_arena_init(&arena);
    CN_TRY(cn_batch_init(&batch, &arena, &n, 1));
    memcpy(batch.token, ids, n * sizeof *ids);
    memset(batch.role, CN_ROLE_POLICY, n);
    const struct cn_atom atom = {.batch = &batch,
                                 .span = cn_batch_all(&batch),
                                 .temperature = 0.9,
                                 .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy)};
    enum cn_status status =
        cn_model_score(model, -1, &atom, &(struct cn_live_out){.logp = logp, .entropy = entropy});
    cn_arena_free(&arena);
    return status;
}

static const int32_t prompt_ids[6] = {4, 9, 1, 22, 0, 7};

static void check_scores(struct bench *b, const struct subject *subject)
{
    int32_t ids[40], top_ids[40 * VOCAB];
    double logp[40], entropy[40], top_logp[40 * VOCAB], expected[2][40];
    for (int i = 0; i < 40; i++)
        ids[i] = (i * 7 + i / 5) % VOCAB;
    CHECK_OK(cn_sampler_score(b->sampler, ids, 40, 0.9, VOCAB, logp, entropy, top_ids, top_logp));
    CHECK_OK(model_says(b->model, ids, 40, expected[0], expected[1]));
    for (int t = 1; t < 40; t++) {
        CHECK_NEAR(logp[t], expected[0][t], subject->near);
        CHECK_NEAR(entropy[t], expected[1][t], subject->near);
        double sum = 0;
        for (int i = 0; i < VOCAB; i++) {
            sum += exp(top_logp[t * VOCAB + i]);
            if (top_ids[t * VOCAB + i] == ids[t])
                CHECK_NEAR(top_logp[t * VOCAB + i], logp[t], 1e-12);
        }
        CHECK_NEAR(sum, 1, 1e-5);
    }
}

TEST(scores_are_the_models_own)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        CHECK_OK(bench_open(&b, &subjects[i]));
        check_scores(&b, &subjects[i]);
        bench_close(&b);
    }
}

TEST(after_a_training_step_and_a_refresh_scores_follow_the_model)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        double before[6], after[6], entropy[6];
        const struct cn_buffer *gradient;
        size_t n;
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_OK(cn_sampler_score(b.sampler, prompt_ids, 6, 0.9, 0, before, entropy, NULL, NULL));
        CHECK_OK(cn_model_zero_gradients(b.model));
        CHECK_OK(cn_model_gradients(b.model, &gradient, &n));
        for (size_t g = 0; g < n; g++) {
            static float values[1 << 14];
            CHECK(gradient[g].count <= sizeof values / sizeof *values);
            for (size_t j = 0; j < gradient[g].count; j++)
                values[j] = (float)((j * 7 + g) % 13) - 6;
            CHECK(buffer_write(&gradient[g], values));
        }
        const struct cn_step_options options = {
            .lr = 0.05, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8};
        struct cn_step_result result;
        CHECK_OK(cn_model_step(b.model, &options, &result));
        CHECK_OK(cn_sampler_refresh(b.sampler));
        check_scores(&b, &subjects[i]);
        CHECK_OK(cn_sampler_score(b.sampler, prompt_ids, 6, 0.9, 0, after, entropy, NULL, NULL));
        CHECK(fabs(after[3] - before[3]) > 1e-3);
        bench_close(&b);
    }
}

/* Pearson's statistic as a standard normal number (Wilson & Hilferty 1931). */
static double chi_square(const int *count, const double *p, int draws)
{
    double statistic = 0, width = 2.0 / (9 * (VOCAB - 1));
    for (int j = 0; j < VOCAB; j++) {
        double expected = p[j] * draws;
        statistic += (count[j] - expected) * (count[j] - expected) / expected;
    }
    return (cbrt(statistic / (VOCAB - 1)) - (1 - width)) / sqrt(width);
}

TEST(draws_follow_the_scored_distribution)
{
    for (int i = 0; i < SUBJECTS; i++) {
        enum { ROUNDS = 600 };
        struct bench b;
        int count[VOCAB] = {0};
        int32_t ids[7], top_ids[7 * VOCAB];
        double logp[7], entropy[7], top_logp[7 * VOCAB], p[VOCAB];
        size_t slots[SLOTS];
        struct cn_drawn drawn[SLOTS];
        CHECK_OK(bench_open(&b, &subjects[i]));
        memcpy(ids, prompt_ids, sizeof prompt_ids);
        ids[6] = 3;
        CHECK_OK(cn_sampler_score(b.sampler, ids, 7, 0.9, VOCAB, logp, entropy, top_ids, top_logp));
        for (int j = 0; j < VOCAB; j++)
            p[top_ids[6 * VOCAB + j]] = exp(top_logp[6 * VOCAB + j]);
        for (uint32_t round = 0; round < ROUNDS; round++) {
            struct cn_draw draw = make_draw(5, round * SLOTS);
            CHECK_OK(cn_slot_open(b.sampler, prompt_ids, 6, &draw, &slots[0]));
            for (uint32_t s = 1; s < SLOTS; s++) {
                draw.sample = round * SLOTS + s;
                CHECK_OK(cn_slot_fork(b.sampler, slots[0], &draw, &slots[s]));
            }
            CHECK_OK(cn_sampler_step(b.sampler, slots, SLOTS, drawn));
            for (int s = 0; s < SLOTS; s++) {
                count[drawn[s].token]++;
                CHECK_NEAR(drawn[s].logp, log(p[drawn[s].token]), 1e-5);
                CHECK_NEAR(drawn[s].entropy, entropy[6], 1e-5);
                cn_slot_close(b.sampler, slots[s]);
            }
        }
        double z = chi_square(count, p, ROUNDS * SLOTS);
        if (!(z < 4)) CHECK_FAILED("subject %d: chi-square is %.1f deviations off", i, z);
        bench_close(&b);
    }
}

enum { STEPS = 50 };

/* A prompt alone, or with neighbours that come and go; an environment's answer after ten tokens. */
static enum cn_status sample_one(struct cn_sampler *sampler, bool crowded, struct cn_drawn *out)
{
    size_t slots[3], n = 1;
    struct cn_draw draw = make_draw(5, 2), other = make_draw(6, 0);
    struct cn_drawn drawn[3];
    if (crowded) CN_TRY(cn_slot_open(sampler, prompt_ids + 2, 3, &other, &slots[n++]));
    CN_TRY(cn_slot_open(sampler, prompt_ids, 6, &draw, &slots[0]));
    for (int t = 0; t < STEPS; t++) {
        if (t == 10) CN_TRY(cn_slot_append(sampler, slots[0], prompt_ids, 3));
        if (crowded && t == 20) CN_TRY(cn_slot_fork(sampler, slots[0], &other, &slots[n++]));
        size_t order[3] = {slots[n - 1], slots[n > 1 ? n - 2 : 0], slots[0]};
        CN_TRY(cn_sampler_step(sampler, order, n, drawn));
        out[t] = drawn[n - 1];
    }
    while (n)
        cn_slot_close(sampler, slots[--n]);
    return CN_OK;
}

TEST(a_sample_does_not_depend_on_its_neighbours)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        struct cn_drawn alone[STEPS], crowded[STEPS];
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_OK(sample_one(b.sampler, false, alone));
        CHECK_OK(sample_one(b.sampler, true, crowded));
        for (int t = 0; t < STEPS; t++) {
            CHECK_INT(crowded[t].token, alone[t].token);
            /* The C engine promises the bits, the reference only the numbers. */
            CHECK_NEAR(crowded[t].logp, alone[t].logp,
                       subjects[i].engine == CN_ENGINE_TORCH ? 1e-5 : 0);
        }
        bench_close(&b);
    }
}

TEST(the_decode_engine_draws_what_the_reference_draws)
{
    const struct subject *decode = NULL, *reference = NULL;
    for (int i = 0; i < SUBJECTS; i++) {
        if (subjects[i].engine == CN_ENGINE_TORCH) reference = &subjects[i];
        if (strcmp(subjects[i].type, "torch") == 0 && subjects[i].engine == CN_ENGINE_AUTO)
            decode = &subjects[i];
    }
    if (!decode || !reference) SKIP("this build has no libtorch (CN_WITH_TORCH=OFF)");
    struct bench a, b;
    struct cn_drawn one[STEPS], two[STEPS];
    CHECK_OK(bench_open(&a, decode));
    CHECK_OK(bench_open(&b, reference));
    CHECK_OK(sample_one(a.sampler, false, one));
    CHECK_OK(sample_one(b.sampler, false, two));
    for (int t = 0; t < STEPS; t++) {
        CHECK_INT(one[t].token, two[t].token);
        CHECK_NEAR(one[t].logp, two[t].logp, 1e-4);
    }
    bench_close(&a);
    bench_close(&b);
}

TEST(samplers_refuse_what_cannot_be)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        size_t slot, slots[SLOTS];
        struct cn_draw draw = make_draw(0, 0);
        int32_t ids[100] = {0};
        struct cn_sampler *none;
        struct cn_sampler_settings settings = {
            .engine = subjects[i].engine, .slots = 0, .context = 9};
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_FAILS(cn_sampler_open(b.model, &settings, &none), CN_ERR_CONFIG, "slot");
        settings.slots = 2;
        settings.context = 5000;
        CHECK_FAILS(cn_sampler_open(b.model, &settings, &none), CN_ERR_MODEL, "5000 tokens");
        CHECK_FAILS(cn_slot_open(b.sampler, ids, 91, &draw, &slot), CN_ERR_MODEL, "91 tokens");
        ids[1] = VOCAB;
        CHECK_FAILS(cn_slot_open(b.sampler, ids, 3, &draw, &slot), CN_ERR_MODEL, "id 23");
        ids[1] = 0;
        draw.top_p = 2;
        CHECK_FAILS(cn_slot_open(b.sampler, ids, 3, &draw, &slot), CN_ERR_CONFIG, "top_p");
        draw.top_p = 1;
        for (int s = 0; s < SLOTS; s++)
            CHECK_OK(cn_slot_open(b.sampler, ids, 3, &draw, &slots[s]));
        CHECK_FAILS(cn_slot_open(b.sampler, ids, 3, &draw, &slot), CN_ERR_BUG, "slots are open");
        CHECK_FAILS(cn_sampler_refresh(b.sampler), CN_ERR_BUG, "open");
        for (int s = 0; s < SLOTS; s++)
            cn_slot_close(b.sampler, slots[s]);
        CHECK_OK(cn_sampler_refresh(b.sampler));
        bench_close(&b);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
