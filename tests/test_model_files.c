/* Folders that a model must refuse, naming what is wrong, and folders it must accept. */
/* ctest labels: torch */
#include "check.h"

#include "carnot/json.h"
#include "carnot/model.h"
#include "trainer/model/safetensors.h"

#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char init_text[] =
    "{\"architectures\": [\"Qwen3ForCausalLM\"], \"model_type\": \"qwen3\", \"vocab_size\": 13, "
    "\"hidden_size\": 8,"
    " \"intermediate_size\": 12, \"num_hidden_layers\": 1, \"num_attention_heads\": 2, "
    "\"num_key_value_heads\": 1,"
    " \"head_dim\": 6, \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-6, \"rope_theta\": "
    "10000.0,"
    " \"hidden_act\": \"silu\", \"tie_word_embeddings\": false, \"initializer_range\": 0.3}";

enum { TENSORS_MAX = 64 };

static enum cn_status open_model(const char *path, const struct cn_json *init, enum cn_dtype dtype,
                                 struct cn_model **out)
{
    const struct cn_model_settings settings = {.type = "torch",
                                               .path = path,
                                               .init = init,
                                               .device = "cpu",
                                               .dtype = dtype,
                                               .threads = 1,
                                               .trainable = true,
                                               .seed = 3};
    return cn_model_open(&settings, out);
}

/* A folder with a saved random start, and its tensors to write again with a change. */
struct folder {
    char path[512], file[600];
    struct cn_model *model;
    struct cn_buffer tensors[TENSORS_MAX + 1];
    size_t n;
};

static enum cn_status folder_open(struct folder *f)
{
    struct cn_json *init;
    const struct cn_buffer *weights;
    snprintf(f->path, sizeof f->path, "%s/carnot_files_XXXXXX",
             getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    if (!mkdtemp(f->path)) return cn_fail(CN_ERR_IO, "no temporary folder");
    snprintf(f->file, sizeof f->file, "%s/model.safetensors", f->path);
    CN_TRY(cn_json_parse(cn_text(init_text), "init", &init));
    enum cn_status status = open_model(NULL, init, CN_DTYPE_F32, &f->model);
    cn_json_close(init);
    CN_TRY(status);
    CN_TRY(cn_model_save(f->model, -1, f->path, CN_DTYPE_F32));
    CN_TRY(cn_model_weights(f->model, &weights, &f->n));
    CN_BUG_IF(f->n > TENSORS_MAX);
    memcpy(f->tensors, weights, f->n * sizeof *weights);
    return CN_OK;
}

static enum cn_status folder_write(const struct folder *f, size_t n)
{
    const struct safetensors_target target = {.path = f->file, .dtype = CN_DTYPE_F32};
    return safetensors_save(&target, f->tensors, n);
}

static void folder_close(struct folder *f)
{
    char config[600];
    cn_model_close(f->model);
    snprintf(config, sizeof config, "%s/config.json", f->path);
    unlink(f->file);
    unlink(config);
    rmdir(f->path);
}

TEST(a_missing_tensor_is_named)
{
    struct folder f;
    struct cn_model *model;
    CHECK_OK(folder_open(&f));
    CHECK_OK(folder_write(&f, f.n - 1));
    CHECK_FAILS(open_model(f.path, NULL, CN_DTYPE_F32, &model), CN_ERR_MODEL,
                f.tensors[f.n - 1].name);
    folder_close(&f);
}

TEST(a_tensor_without_a_place_is_named)
{
    struct folder f;
    struct cn_model *model;
    CHECK_OK(folder_open(&f));
    f.tensors[f.n] = f.tensors[1];
    f.tensors[f.n].name = "model.layers.7.extra.weight";
    CHECK_OK(folder_write(&f, f.n + 1));
    CHECK_FAILS(open_model(f.path, NULL, CN_DTYPE_F32, &model), CN_ERR_MODEL,
                "model.layers.7.extra.weight");
    folder_close(&f);
}

TEST(a_wrong_shape_is_shown_with_the_expected_one)
{
    struct folder f;
    struct cn_model *model;
    CHECK_OK(folder_open(&f));
    f.tensors[0].shape[0] = 12; /* one token less */
    f.tensors[0].count = 12 * 8;
    CHECK_OK(folder_write(&f, f.n));
    enum cn_status status = open_model(f.path, NULL, CN_DTYPE_F32, &model);
    CHECK(status == CN_ERR_MODEL && strstr(cn_fail_message(), f.tensors[0].name));
    CHECK(strstr(cn_fail_message(), "12") && strstr(cn_fail_message(), "13"));
    cn_fail_clear();
    folder_close(&f);
}

TEST(weights_that_are_not_finite_are_refused)
{
    static const float wrong[] = {NAN, INFINITY};
    for (size_t i = 0; i < 2; i++) {
        struct folder f;
        struct cn_model *model;
        CHECK_OK(folder_open(&f));
        ((float *)f.tensors[2].data)[5] = wrong[i];
        CHECK_OK(folder_write(&f, f.n));
        CHECK_FAILS(open_model(f.path, NULL, CN_DTYPE_F32, &model), CN_ERR_MODEL,
                    f.tensors[2].name);
        folder_close(&f);
    }
}

TEST(a_half_written_file_is_refused)
{
    struct folder f;
    struct cn_model *model;
    CHECK_OK(folder_open(&f));
    CHECK(truncate(f.file, 900) == 0);
    CHECK_FAILS(open_model(f.path, NULL, CN_DTYPE_F32, &model), CN_ERR_MODEL, "model.safetensors");
    unlink(f.file);
    enum cn_status status = open_model(f.path, NULL, CN_DTYPE_F32, &model);
    CHECK(status == CN_ERR_IO || status == CN_ERR_MODEL);
    cn_fail_clear();
    folder_close(&f);
}

TEST(a_state_of_another_model_is_refused_and_changes_nothing)
{
    struct folder f;
    const struct cn_buffer *weights;
    size_t n;
    float before[13 * 8];
    CHECK_OK(folder_open(&f));
    memcpy(before, f.tensors[0].data, sizeof before);
    CHECK_OK(folder_write(&f, f.n)); /* weights only: no moments, no step count */
    CHECK_FAILS(cn_model_state_load(f.model, f.file), CN_ERR_MODEL, "step");
    CHECK_OK(cn_model_weights(f.model, &weights, &n));
    CHECK(memcmp(before, weights[0].data, sizeof before) == 0);
    folder_close(&f);
}

/* Log-probabilities of one fixed sequence. */
static enum cn_status score(struct cn_model *model, int copy, double *logp)
{
    struct cn_arena arena;
    struct cn_batch batch;
    const size_t length = 12;
    cn_arena_init(&arena);
    CN_TRY(cn_batch_init(&batch, &arena, &length, 1));
    for (size_t t = 0; t < length; t++) {
        batch.token[t] = (int32_t)((5 * t) % 13);
        batch.role[t] = CN_ROLE_POLICY;
    }
    const struct cn_atom atom = {
        .batch = &batch, .span = {0, 1}, .temperature = 1, .channels = CN_LIVE_BIT(logp)};
    const struct cn_live_out out = {.logp = logp};
    enum cn_status status = cn_model_score(model, copy, &atom, &out);
    cn_arena_free(&arena);
    return status;
}

TEST(every_dtype_on_disk_opens_with_nearly_the_same_numbers)
{
    static const struct {
        enum cn_dtype disk;
        double slack;
    } rows[] = {{CN_DTYPE_F32, 0}, {CN_DTYPE_F16, 5e-3}, {CN_DTYPE_BF16, 4e-2}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct folder f;
        struct cn_model *again;
        double expected[12], found[12], worst = 0;
        CHECK_OK(folder_open(&f));
        CHECK_OK(cn_model_save(f.model, -1, f.path, rows[i].disk));
        CHECK_OK(open_model(f.path, NULL, CN_DTYPE_F32, &again));
        CHECK_OK(score(f.model, -1, expected));
        CHECK_OK(score(again, -1, found));
        for (size_t t = 0; t < 12; t++)
            worst = fmax(worst, fabs(found[t] - expected[t]));
        CHECK_NEAR(worst, 0, rows[i].slack);
        CHECK(expected[3] < -0.1);
        CHECK(rows[i].disk == CN_DTYPE_F32 || worst > 0); /* the file really was in another dtype */
        cn_model_close(again);
        folder_close(&f);
    }
}

TEST(a_frozen_copy_in_bf16_is_kept_exactly_in_f32)
{
    struct folder f;
    struct cn_model *half;
    double expected[12], found[12];
    int copy = -1, again = -1;
    CHECK_OK(folder_open(&f));
    CHECK_OK(open_model(f.path, NULL, CN_DTYPE_BF16, &half));
    CHECK_OK(cn_model_freeze(half, NULL, &copy));
    CHECK_OK(score(half, copy, expected));
    CHECK_OK(cn_model_save(half, copy, f.path, CN_DTYPE_F32));
    CHECK_OK(cn_model_freeze(half, f.path, &again));
    CHECK_OK(score(half, again, found));
    CHECK(memcmp(expected, found, sizeof found) == 0);
    CHECK_OK(score(f.model, -1, found)); /* BF16 really computes something else */
    CHECK(memcmp(expected, found, sizeof found) != 0);
    cn_model_close(half);
    folder_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
