/* The C decode engine: equal to transformers on tiny models (golden numbers:
 * tests/data/make_models.py), to itself over dtypes, instruction sets and refreshed weights;
 * refusals. */
#include "decode_toy.h"

#include "trainer/model/dtype.h"
#include "trainer/model/safetensors.h"

#include <stdlib.h>

/* ---- golden models ------------------------------------------------------- */

static const char *const golden_models[] = {"llama_tied", "llama3_scaled", "llama_linear_bias",
                                            "qwen2", "qwen3"};
enum { GOLDEN_MODELS = 5 };

static void check_golden(const char *name, const char *isa, enum cn_dtype dtype, double tolerance)
{
    char folder[512], path[600];
    struct safetensors *weights, *golden;
    struct model_shape shape;
    struct engine *engine;
    snprintf(folder, sizeof folder, "%s/models/%s", CN_TEST_DATA, name);
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    CHECK_OK(shape_read(folder, &shape));
    CHECK_OK(safetensors_open(folder, &weights));
    CHECK_OK(safetensors_open(path, &golden));
    size_t n, sequences = safetensors_find(golden, "group")->count;
    const struct cn_buffer *buffers = safetensors_tensors(weights, &n);
    struct engine_settings settings = {
        .shape = &shape, .slots = 2, .context = 128, .threads = 2, .dtype = dtype, .isa = isa};
    CHECK_OK(engine_open(&settings, buffers, n, &engine));
    double temperature = atof(safetensors_metadata(golden, "temperature")), worst = 0, sum = 0;
    int compared = 0;
    for (size_t s = 0; s < sequences; s++) {
        int64_t start[2];
        int32_t ids[128];
        double logp[128], entropy[128], expected[2][128];
        uint8_t role[128];
        memcpy(start, (const char *)safetensors_find(golden, "seq_start")->data + 8 * s, 16);
        size_t first = (size_t)start[0], length = (size_t)(start[1] - start[0]);
        memcpy(ids, (const char *)safetensors_find(golden, "token")->data + 4 * first, 4 * length);
        memcpy(role, (const char *)safetensors_find(golden, "role")->data + first, length);
        memcpy(expected[0], (const char *)safetensors_find(golden, "logp")->data + 8 * first,
               8 * length);
        memcpy(expected[1], (const char *)safetensors_find(golden, "entropy")->data + 8 * first,
               8 * length);
        struct engine_score score = {ids, length, temperature, 0, logp, entropy, NULL, NULL};
        CHECK_OK(engine_score(engine, &score));
        for (size_t t = 1; t < length; t++) {
            if (role[t] != 1) continue;
            worst = fmax(worst,
                         fmax(fabs(logp[t] - expected[0][t]), fabs(entropy[t] - expected[1][t])));
            sum += fabs(logp[t] - expected[0][t]);
            compared++;
        }
    }
    CHECK(compared > 50);
    if (!(worst < tolerance && sum / compared < tolerance / 5))
        CHECK_FAILED("%s, %s: differs by %g, on average %g", name, isa, worst, sum / compared);
    engine_close(engine);
    safetensors_close(golden);
    safetensors_close(weights);
}

TEST(every_family_and_option_equals_transformers_in_fp32)
{
    for (int s = 0; s < SETS; s++)
        for (int i = 0; i < GOLDEN_MODELS && runs_here(sets[s]); i++)
            check_golden(golden_models[i], sets[s], CN_DTYPE_F32, 1e-5);
}

TEST(bf16_weights_and_cache_stay_near_transformers)
{
    for (int s = 0; s < SETS; s++)
        for (int i = 0; i < GOLDEN_MODELS && runs_here(sets[s]); i++)
            check_golden(golden_models[i], sets[s], CN_DTYPE_BF16, 0.1);
}

TEST(instruction_sets_agree_and_bf16_is_close)
{
    enum { LENGTH = 150 };
    struct toy toy;
    struct engine *engine;
    int32_t ids[LENGTH];
    double first[LENGTH], logp[LENGTH], entropy[LENGTH];
    CHECK_OK(toy_open(&toy, 7));
    prompt_ids(8, ids);
    for (int d = 0; d < 2; d++)
        for (int s = 0; s < SETS; s++) {
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 1, 1}, &engine));
            CHECK_TEXT(engine_isa(engine), sets[s]);
            struct engine_score score = {ids, LENGTH, 1, 0, logp, entropy, NULL, NULL};
            CHECK_OK(engine_score(engine, &score));
            double mean = 0;
            for (int t = 1; t < LENGTH; t++) {
                if (d == 0 && s == 0) first[t] = logp[t];
                mean += fabs(logp[t] - first[t]) / LENGTH;
                if (d == 0) CHECK_NEAR(logp[t], first[t], 1e-4);
            }
            if (d) CHECK(mean > 0 && mean < 0.05);
            engine_close(engine);
        }
    cn_arena_free(&toy.arena);
}

TEST(refreshed_weights_are_the_ones_used)
{
    for (int d = 0; d < 2; d++) {
        struct toy toy;
        struct engine *engine, *fresh;
        struct sample before, after, expected;
        struct kind kind = {NULL, d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, 2};
        CHECK_OK(toy_open(&toy, 11));
        CHECK_OK(toy_engine(&toy, kind, &engine));
        CHECK_OK(sample_alone(engine, 3, 0, &before));
        toy_fill(&toy, 12);
        CHECK_OK(engine_refresh(engine, toy.buffer, toy.n));
        CHECK_OK(sample_alone(engine, 3, 0, &after));
        CHECK_OK(toy_engine(&toy, kind, &fresh));
        CHECK_OK(sample_alone(fresh, 3, 0, &expected));
        for (int t = 0; t < STEPS; t++)
            CHECK(same_drawn(&after.drawn[t], &expected.drawn[t]));
        CHECK(!same_drawn(&before.drawn[0], &after.drawn[0]));
        int32_t id = 1;
        size_t slot;
        struct cn_draw draw = toy_draw(0, 0);
        CHECK_OK(engine_slot_open(engine, &id, 1, &draw, &slot));
        CHECK_FAILS(engine_refresh(engine, toy.buffer, toy.n), CN_ERR_BUG, "open");
        engine_close(fresh);
        engine_close(engine);
        cn_arena_free(&toy.arena);
    }
}

static long resident_pages(void)
{
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fscanf(file, "%ld %ld", &size, &resident) == 2);
    if (file) fclose(file);
    return resident;
}

/* The context is long enough for a cache that rests; few of its pages are ever touched. */
TEST(a_rest_gives_pages_back_and_changes_no_token)
{
    enum { CONTEXT = 60000 };
    struct toy toy;
    struct engine *engine;
    struct sample before, after;
    struct cn_draw draw = toy_draw(0, 0);
    static int32_t ids[CONTEXT];
    size_t slot;
    CHECK_OK(toy_open(&toy, 11));
    toy.shape.context = CONTEXT;
    const struct engine_settings settings = {
        .shape = &toy.shape, .slots = 2, .context = CONTEXT, .threads = 1};
    CHECK_OK(engine_open(&settings, toy.buffer, toy.n, &engine));
    CHECK_OK(sample_alone(engine, 3, 0, &before));
    CHECK_OK(engine_slot_open(engine, ids, 3000, &draw, &slot));
    const long used = resident_pages();
    engine_rest(engine); /* a slot is open: nothing happens */
    CHECK(resident_pages() > used - 100);
    engine_slot_close(engine, slot);
    engine_rest(engine);
    CHECK(resident_pages() < used - 100);
    CHECK_OK(sample_alone(engine, 3, 0, &after));
    for (int t = 0; t < STEPS; t++)
        CHECK(same_drawn(&after.drawn[t], &before.drawn[t]));
    engine_close(engine);
    cn_arena_free(&toy.arena);
}

TEST(bf16_buffers_serve_both_engines)
{
    struct toy toy;
    struct engine *engine;
    struct sample expected[2], found;
    struct cn_buffer buffers[BUFFERS_MAX];
    CHECK_OK(toy_open(&toy, 5));
    for (size_t i = 0; i < toy.n;
         i++) { /* round the floats, so that both forms hold the same numbers */
        uint16_t *half;
        float *data = toy.buffer[i].data;
        CHECK_OK(CN_NEW(&toy.arena, toy.buffer[i].count, &half));
        for (size_t j = 0; j < toy.buffer[i].count; j++) {
            half[j] = dtype_bf16_of_f32(data[j]);
            data[j] = dtype_f32_of_bf16(half[j]);
        }
        buffers[i] = toy.buffer[i];
        buffers[i].dtype = CN_DTYPE_BF16;
        buffers[i].data = half;
    }
    for (int d = 0; d < 2; d++) {
        struct kind kind = {NULL, d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 1, 1};
        CHECK_OK(toy_engine(&toy, kind, &engine));
        CHECK_OK(sample_alone(engine, 6, 0, &expected[d]));
        CHECK_OK(engine_refresh(engine, buffers, toy.n));
        CHECK_OK(sample_alone(engine, 6, 0, &found));
        for (int t = 0; t < STEPS; t++)
            CHECK(same_drawn(&found.drawn[t], &expected[d].drawn[t]));
        CHECK_OK(engine_refresh(engine, toy.buffer, toy.n));
        engine_close(engine);
    }
    cn_arena_free(&toy.arena);
}

TEST(bad_requests_are_refused_with_reasons)
{
    struct toy toy;
    struct engine *engine;
    struct cn_draw draw = toy_draw(0, 0);
    int32_t ids[400] = {0};
    size_t slot, other;
    struct cn_drawn drawn;
    CHECK_OK(toy_open(&toy, 5));
    struct kind kind = {NULL, CN_DTYPE_F32, 1, 1};
    CHECK_OK(toy_engine(&toy, kind, &engine));
    CHECK_FAILS(engine_slot_open(engine, ids, 301, &draw, &slot), CN_ERR_MODEL, "301 tokens");
    ids[7] = 263;
    CHECK_FAILS(engine_slot_open(engine, ids, 10, &draw, &slot), CN_ERR_MODEL,
                "id 263 at position 7");
    ids[7] = -1;
    CHECK_FAILS(engine_slot_open(engine, ids, 10, &draw, &slot), CN_ERR_MODEL, "vocabulary of 263");
    ids[7] = 0;
    CHECK_OK(engine_slot_open(engine, ids, 299, &draw, &slot));
    CHECK_FAILS(engine_slot_fork(engine, slot, &draw, &other), CN_ERR_BUG, "slots are open");
    CHECK_FAILS(engine_slot_append(engine, slot, ids, 2), CN_ERR_MODEL, "301 tokens");
    CHECK_OK(engine_step(engine, &slot, 1, &drawn));
    CHECK_OK(engine_step(engine, &slot, 1, &drawn));
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_MODEL, "is full");
    engine_slot_close(engine, slot);
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_BUG, "open");
    draw.temperature = -1;
    CHECK_FAILS(engine_slot_open(engine, ids, 1, &draw, &slot), CN_ERR_CONFIG, "temperature");
    engine_close(engine);
    kind.isa = "sse9";
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_CONFIG, "sse9");
    kind.isa = NULL;
    kind.dtype = CN_DTYPE_F16;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_CONFIG, "F16");
    kind.dtype = CN_DTYPE_F32;
    toy.buffer[2].shape[0]++;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_MODEL, toy.buffer[2].name);
    toy.buffer[2].shape[0]--;
    toy.n--;
    CHECK_FAILS(toy_engine(&toy, kind, &engine), CN_ERR_MODEL, toy.buffer[toy.n].name);
    cn_arena_free(&toy.arena);
}

TEST(not_a_number_in_the_weights_is_reported)
{
    struct toy toy;
    struct engine *engine;
    struct cn_draw draw = toy_draw(0, 0);
    int32_t ids[3] = {1, 2, 3};
    size_t slot;
    struct cn_drawn drawn;
    double logp[3], entropy[3];
    CHECK_OK(toy_open(&toy, 5));
    ((float *)toy.buffer[3].data)[5] = NAN;
    CHECK_OK(toy_engine(&toy, (struct kind){NULL, CN_DTYPE_F32, 2, 2}, &engine));
    CHECK_OK(engine_slot_open(engine, ids, 3, &draw, &slot));
    CHECK_FAILS(engine_step(engine, &slot, 1, &drawn), CN_ERR_NUMERIC, "NaN");
    struct engine_score score = {ids, 3, 1, 0, logp, entropy, NULL, NULL};
    CHECK_FAILS(engine_score(engine, &score), CN_ERR_NUMERIC, "NaN");
    engine_close(engine);
    cn_arena_free(&toy.arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
