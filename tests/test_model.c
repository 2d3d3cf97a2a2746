/* The model seam: the same checks against every back end that is built in. */
#include "check.h"
#include "device.h"

#include "carnot/json.h"
#include "carnot/model.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* A back end and a small random start of it. */
struct subject {
    const char *type, *init;
    double slack; /* of a slope found with steps of 2e-3 */
};

static const struct subject subjects[] = {
    {"table",
     "{\"type\": \"table\", \"vocab_size\": 11, \"order\": 2, \"states\": 121, \"context\": 64,"
     " \"initializer_range\": 0.7}",
     1e-3},
    {"table",
     "{\"type\": \"table\", \"vocab_size\": 11, \"order\": 3, \"states\": 37, \"context\": 64,"
     " \"initializer_range\": 0.7}",
     1e-3}, /* hashed states */
#ifdef CN_WITH_TORCH
    {"torch",
     "{\"architectures\": [\"Qwen2ForCausalLM\"], \"model_type\": \"qwen2\", "
     "\"vocab_size\": 11, \"hidden_size\": 8,"
     " \"intermediate_size\": 12, \"num_hidden_layers\": 2, \"num_attention_heads\": 2, "
     "\"num_key_value_heads\": 1,"
     " \"max_position_embeddings\": 64, \"rms_norm_eps\": 1e-6, \"rope_theta\": 10000.0, "
     "\"hidden_act\": \"silu\","
     " \"tie_word_embeddings\": true, \"initializer_range\": 0.3}",
     1e-2},
#endif
};
enum { SUBJECTS = sizeof subjects / sizeof *subjects, SEQUENCES = 5, TOKENS_MAX = 64 };

/* A model, a batch of two groups and room for channels and their gradients. */
struct bench {
    struct cn_arena arena;
    struct cn_model *model;
    struct cn_batch batch;
    struct cn_atom atom;
    struct cn_live_out out;
    struct cn_token_grad grad;
};

static enum cn_status open_with(const struct subject *subject, const char *path, uint64_t seed,
                                bool learns, struct cn_model **out)
{
    struct cn_json *init;
    CN_TRY(cn_json_parse(cn_text(subject->init), "init", &init));
    const struct cn_model_settings settings = {
        .type = subject->type,
        .path = path,
        .init = path ? NULL : init,
        .device = strcmp(subject->type, "torch") == 0 ? test_device() : "cpu",
        .dtype = CN_DTYPE_F32,
        .threads = 1,
        .trainable = learns,
        .value_head = learns,
        .seed = seed};
    enum cn_status status = cn_model_open(&settings, out);
    cn_json_close(init);
    return status;
}

static enum cn_status open_model(const struct subject *subject, const char *path, uint64_t seed,
                                 struct cn_model **out)
{
    return open_with(subject, path, seed, true, out);
}

static enum cn_status open_plain(const struct subject *subject, struct cn_model **out)
{
    return open_with(subject, NULL, 1, false, out);
}

static enum cn_status bench_columns(struct bench *b)
{
    double **columns[] = {&b->out.logp,           &b->out.entropy, &b->out.entropy_top,
                          &b->out.value,          &b->grad.d_logp, &b->grad.d_entropy,
                          &b->grad.d_entropy_top, &b->grad.d_value};
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        CN_TRY(CN_NEW(&b->arena, b->batch.n_tokens, columns[c]));
    for (size_t t = 0; t < b->batch.n_tokens; t++) {
        b->grad.d_logp[t] = 0.1 * (double)((t * 7) % 11) - 0.5;
        b->grad.d_entropy[t] = 0.05 * (double)((t * 5) % 13) - 0.3;
        b->grad.d_entropy_top[t] = 0.07 * (double)((t * 3) % 7) - 0.2;
        b->grad.d_value[t] = 0.09 * (double)((t * 11) % 5) - 0.16;
    }
    return CN_OK;
}

/* A head at 0 would pass nothing back into the body. */
static enum cn_status start_value_head(struct bench *b)
{
    const struct cn_buffer *weights;
    size_t n;
    CN_TRY(cn_model_weights(b->model, &weights, &n));
    for (size_t k = 1; k < n; k++)
        for (size_t j = 0; strncmp(weights[k].name, "value_head.", 11) == 0 && j < weights[k].count;
             j++)
            ((float *)weights[k].data)[j] = (float)(0.3 * (double)((j * 7) % 9) - 1);
    return CN_OK;
}

static enum cn_status bench_open(struct bench *b, const struct subject *subject)
{
    static const size_t lengths[SEQUENCES] = {7, 9, 5, 8, 4};
    static const uint32_t groups[SEQUENCES] = {0, 0, 0, 1, 1};
    memset(b, 0, sizeof *b);
    cn_arena_init(&b->arena);
    CN_TRY(open_model(subject, NULL, 1, &b->model));
    CN_TRY(cn_batch_init(&b->batch, &b->arena, lengths, SEQUENCES));
    for (size_t s = 0; s < SEQUENCES; s++) {
        b->batch.group[s] = groups[s];
        for (size_t i = 0; i < lengths[s]; i++) {
            const size_t t = b->batch.seq_start[s] + i;
            b->batch.token[t] = (int32_t)(i < 3 ? 2 + groups[s] + i : (t * 5 + s) % 11);
            b->batch.role[t] = i < 3    ? CN_ROLE_PROMPT
                               : i == 6 ? CN_ROLE_ENVIRONMENT
                                        : CN_ROLE_POLICY;
        }
    }
    b->atom = (struct cn_atom){.batch = &b->batch,
                               .span = cn_batch_all(&b->batch),
                               .temperature = 0.9,
                               .top = {CN_TOP_K, 4, true},
                               .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy) |
                                           CN_LIVE_BIT(entropy_top) | CN_LIVE_BIT(value)};
    CN_TRY(bench_columns(b));
    return start_value_head(b);
}

static void bench_close(struct bench *b)
{
    cn_model_close(b->model);
    cn_arena_free(&b->arena);
}

/* sum over tokens and channels of d_channel channel: what backward differentiates */
static double objective(struct bench *b)
{
    double sum = 0;
    if (cn_model_score(b->model, -1, &b->atom, &b->out) != CN_OK) return NAN;
    for (size_t t = 0; t < b->batch.n_tokens; t++)
        sum += b->grad.d_logp[t] * b->out.logp[t] + b->grad.d_entropy[t] * b->out.entropy[t] +
               b->grad.d_entropy_top[t] * b->out.entropy_top[t] +
               b->grad.d_value[t] * b->out.value[t];
    return sum;
}

static enum cn_status backward(struct bench *b)
{
    CN_TRY(cn_model_forward(b->model, &b->atom, &b->out));
    return cn_model_backward(b->model, &b->grad);
}

static enum cn_status step(struct bench *b)
{
    const struct cn_step_options options = {.lr = 0.01,
                                            .beta1 = 0.9,
                                            .beta2 = 0.99,
                                            .epsilon = 1e-8,
                                            .weight_decay = 0.1,
                                            .clip_norm = 1};
    struct cn_step_result result;
    CN_TRY(cn_model_zero_gradients(b->model));
    CN_TRY(backward(b));
    CN_TRY(cn_model_step(b->model, &options, &result));
    CN_BUG_IF(result.skipped);
    return CN_OK;
}

/* A new folder under the system's temporary one. */
static bool temporary_folder(char *out, size_t size)
{
    snprintf(out, size, "%s/carnot_model_XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
    return mkdtemp(out) != NULL;
}

static void remove_file(const char *folder, const char *name)
{
    char path[600];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    unlink(path);
}

static void remove_folder(const char *folder)
{
    remove_file(folder, "config.json");
    remove_file(folder, "model.safetensors");
    remove_file(folder, "state.safetensors");
    remove_file(folder, "value_head.safetensors");
    remove_file(folder, "state/value_head.safetensors");
    remove_file(folder, "state");
    rmdir(folder);
}

/* Every way to restrict an entropy, and none. */
static const struct cn_top tops[] = {
    {CN_TOP_K, 4, true},       {CN_TOP_K, 3, false},        {CN_TOP_P, 0.7, true},
    {CN_TOP_P, 0.7, false},    {CN_TOP_P_BELOW, 0.7, true}, {CN_TOP_P_BELOW, 0.7, false},
    {CN_TOP_SHARE, 0.6, true}, {CN_TOP_SHARE, 0.6, false},  {CN_TOP_NONE, 0, false}};
enum { TOPS = sizeof tops / sizeof *tops, VOCABULARY = 11 };

static int falling(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x > y ? -1 : x < y;
}

/* The restricted entropy of a distribution, by the definition in entropy.h. */
static double restricted_entropy(const struct cn_top *top, double p[VOCABULARY])
{
    double taken = 0, sum = 0;
    int kept = 0;
    qsort(p, VOCABULARY, sizeof *p, falling);
    switch (top->form) {
    case CN_TOP_NONE:
        kept = VOCABULARY;
        break;
    case CN_TOP_K:
        kept = (int)top->amount;
        break;
    case CN_TOP_SHARE:
        kept = VOCABULARY - (int)floor((1 - top->amount) * VOCABULARY);
        break;
    case CN_TOP_P:
    case CN_TOP_P_BELOW:
        while (taken < top->amount)
            taken += p[kept++];
        kept -= top->form == CN_TOP_P_BELOW;
    }
    taken = 0;
    for (int k = 0; k < kept; k++) {
        taken += p[k];
        sum -= p[k] * log(p[k]);
    }
    return kept && top->renormalised ? sum / taken + log(taken) : sum;
}

static size_t last_policy_token(const struct bench *b, size_t s)
{
    size_t t = b->batch.seq_start[s + 1] - 1;
    while (b->batch.role[t] != CN_ROLE_POLICY)
        t--;
    return t;
}

/* p (SEQUENCES, VOCABULARY): the distribution of the last policy token of each sequence, from the
 * log-probability of every token there. */
static void last_distributions(struct bench *b, double p[SEQUENCES][VOCABULARY])
{
    const struct cn_live_out out = {.logp = b->out.logp};
    struct cn_atom atom = b->atom;
    int32_t own[SEQUENCES];
    atom.channels = CN_LIVE_BIT(logp);
    for (int32_t v = 0; v <= VOCABULARY; v++) {
        for (size_t s = 0; s < SEQUENCES; s++) {
            int32_t *last = &b->batch.token[last_policy_token(b, s)];
            if (v == 0) own[s] = *last;
            *last = v < VOCABULARY ? v : own[s];
        }
        if (v == VOCABULARY) break; /* all is as it was */
        CHECK_OK(cn_model_score(b->model, -1, &atom, &out));
        for (size_t s = 0; s < SEQUENCES; s++)
            p[s][v] = exp(b->out.logp[last_policy_token(b, s)]);
    }
}

TEST(a_restricted_entropy_is_what_its_form_says)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        double p[SEQUENCES][VOCABULARY];
        CHECK_OK(bench_open(&b, &subjects[i]));
        last_distributions(&b, p);
        for (int k = 0; k < TOPS; k++) {
            b.atom.top = tops[k];
            CHECK_OK(cn_model_score(b.model, -1, &b.atom, &b.out));
            for (size_t s = 0; s < SEQUENCES; s++)
                CHECK_NEAR(b.out.entropy_top[last_policy_token(&b, s)],
                           restricted_entropy(&tops[k], p[s]), 2e-6);
        }
        bench_close(&b);
    }
}

TEST(without_the_token_that_reaches_the_mass_nothing_may_be_left)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        const struct cn_buffer *gradients;
        size_t n;
        CHECK_OK(bench_open(&b, &subjects[i]));
        b.atom.top = (struct cn_top){CN_TOP_P_BELOW, 1e-6, true};
        memset(b.grad.d_logp, 0, b.batch.n_tokens * sizeof(double));
        memset(b.grad.d_entropy, 0, b.batch.n_tokens * sizeof(double));
        memset(b.grad.d_value, 0, b.batch.n_tokens * sizeof(double));
        CHECK_OK(cn_model_zero_gradients(b.model));
        CHECK_OK(backward(&b));
        for (size_t t = 0; t < b.batch.n_tokens; t++)
            CHECK(b.out.entropy_top[t] == 0);
        CHECK_OK(cn_model_gradients(b.model, &gradients, &n));
        for (size_t k = 0; k < n; k++) {
            float copy[4096];
            CHECK(gradients[k].count <= 4096 && buffer_read(&gradients[k], copy));
            for (size_t j = 0; j < gradients[k].count; j++)
                CHECK(copy[j] == 0);
        }
        bench_close(&b);
    }
}

TEST(gradients_are_the_slopes_of_the_channels)
{
    if (strcmp(test_device(), "cuda") == 0) SKIP("moves weights one by one in host memory");
    for (int i = 0; i < SUBJECTS * TOPS; i++) {
        struct bench b;
        const struct cn_buffer *weights, *gradients;
        size_t n;
        CHECK_OK(bench_open(&b, &subjects[i / TOPS]));
        b.atom.top = tops[i % TOPS];
        CHECK_OK(cn_model_zero_gradients(b.model));
        CHECK_OK(backward(&b));
        CHECK_OK(cn_model_gradients(b.model, &gradients, &n));
        CHECK_OK(cn_model_weights(b.model, &weights, &n));
        size_t moved = 0;
        for (size_t k = 0; k < n; k++)
            for (size_t j = 0; j < weights[k].count; j += 1 + weights[k].count / 200) {
                float *w = &((float *)weights[k].data)[j], before = *w;
                const double found = (double)((float *)gradients[k].data)[j];
                volatile float up = before + 2e-3f, down = before - 2e-3f;
                *w = up;
                double high = objective(&b);
                *w = down;
                double low = objective(&b);
                *w = before;
                CHECK_NEAR(found, (high - low) / ((double)up - (double)down),
                           subjects[i / TOPS].slack * (1 + fabs(found)));
                moved += fabs(found) > 1e-2;
            }
        CHECK(moved > 5);
        bench_close(&b);
    }
}

TEST(only_policy_tokens_of_the_atom_are_written)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        CHECK_OK(bench_open(&b, &subjects[i]));
        b.atom.span = (struct cn_span){1, 3};
        for (size_t t = 0; t < b.batch.n_tokens; t++)
            b.out.logp[t] = b.out.entropy[t] = 99;
        CHECK_OK(cn_model_score(b.model, -1, &b.atom, &b.out));
        for (size_t t = 0; t < b.batch.n_tokens; t++) {
            bool inside = t >= b.batch.seq_start[1] && t < b.batch.seq_start[3];
            if (!inside)
                CHECK_NEAR(b.out.logp[t], 99, 0);
            else if (b.batch.role[t] == CN_ROLE_POLICY)
                CHECK(b.out.logp[t] < 0 && b.out.entropy[t] > 0 &&
                      b.out.entropy[t] < log(11) + 1e-6);
            else
                CHECK(b.out.logp[t] == 0 && b.out.entropy[t] == 0);
        }
        bench_close(&b);
    }
}

TEST(atoms_of_one_sequence_sum_to_the_gradient_of_the_whole)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        const struct cn_buffer *gradients;
        size_t n;
        float whole[4096], sum[4096];
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_OK(cn_model_zero_gradients(b.model));
        CHECK_OK(backward(&b));
        CHECK_OK(cn_model_gradients(b.model, &gradients, &n));
        CHECK(buffer_read(&gradients[0], whole));
        CHECK_OK(cn_model_zero_gradients(b.model));
        for (size_t s = 0; s < SEQUENCES; s++) {
            b.atom.span = (struct cn_span){s, s + 1};
            CHECK_OK(backward(&b));
        }
        double scale = 0;
        CHECK(buffer_read(&gradients[0], sum));
        for (size_t j = 0; j < gradients[0].count; j++) {
            CHECK_NEAR(sum[j], whole[j], 2e-6);
            scale = fmax(scale, fabs((double)whole[j]));
        }
        CHECK(scale > 0.01);
        bench_close(&b);
    }
}

TEST(a_random_start_depends_on_its_seed_only)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct cn_model *model[3];
        const struct cn_buffer *weights[3];
        size_t n;
        for (int k = 0; k < 3; k++) {
            CHECK_OK(open_model(&subjects[i], NULL, k == 2 ? 8 : 7, &model[k]));
            CHECK_OK(cn_model_weights(model[k], &weights[k], &n));
        }
        CHECK(buffers_equal(weights[0], weights[1]));
        CHECK(!buffers_equal(weights[0], weights[2]));
        for (int k = 0; k < 3; k++)
            cn_model_close(model[k]);
    }
}

TEST(weights_that_were_overwritten_compute)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        struct cn_model *other;
        const struct cn_buffer *from, *to;
        size_t n, n_to;
        double learned[TOKENS_MAX];
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_OK(step(&b));
        objective(&b);
        memcpy(learned, b.out.logp, b.batch.n_tokens * sizeof *learned);
        CHECK_OK(open_plain(&subjects[i], &other));
        b.atom.channels = CN_LIVE_BIT(logp);
        const struct cn_live_out out = {.logp = b.out.logp};
        CHECK_OK(cn_model_score(other, -1, &b.atom, &out));
        CHECK(memcmp(learned, b.out.logp, b.batch.n_tokens * sizeof *learned) != 0);
        CHECK_OK(cn_model_compute_weights(b.model, &from, &n));
        CHECK_OK(cn_model_compute_weights(other, &to, &n_to));
        CHECK_INT(n_to, n);
        for (size_t k = 0; k < n; k++) {
            CHECK_INT(to[k].dtype, from[k].dtype);
            CHECK_INT(to[k].count, from[k].count);
            memcpy(to[k].data, from[k].data, from[k].count * cn_dtype_size(from[k].dtype));
        }
        CHECK_OK(cn_model_weights_changed(other));
        CHECK_OK(cn_model_score(other, -1, &b.atom, &out));
        CHECK(memcmp(learned, b.out.logp, b.batch.n_tokens * sizeof *learned) == 0);
        cn_model_close(other);
        bench_close(&b);
    }
}

TEST(a_step_follows_the_gradient_and_a_frozen_copy_stays)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        double before[TOKENS_MAX];
        int copy = -1;
        CHECK_OK(bench_open(&b, &subjects[i]));
        double start = objective(&b);
        memcpy(before, b.out.logp, b.batch.n_tokens * sizeof *before);
        CHECK_OK(cn_model_freeze(b.model, NULL, &copy));
        for (int k = 0; k < 5; k++)
            CHECK_OK(step(&b));
        CHECK(objective(&b) < start - 1e-3); /* steps descend */
        CHECK_OK(cn_model_score(b.model, copy, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.logp, b.batch.n_tokens * sizeof *before) == 0);
        CHECK_FAILS(cn_model_score(b.model, copy + 1, &b.atom, &b.out), CN_ERR_BUG, "frozen copy");
        bench_close(&b);
    }
}

TEST(a_saved_folder_opens_with_the_same_numbers)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        struct cn_model *again;
        char folder[512];
        double before[TOKENS_MAX];
        int copy = -1;
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK(temporary_folder(folder, sizeof folder));
        CHECK_OK(step(&b));
        CHECK_OK(cn_model_save(b.model, -1, folder, CN_DTYPE_F32));
        objective(&b);
        memcpy(before, b.out.logp, b.batch.n_tokens * sizeof *before);
        CHECK_OK(open_model(&subjects[i], folder, 0, &again));
        CHECK_OK(cn_model_score(again, -1, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.logp, b.batch.n_tokens * sizeof *before) == 0);
        CHECK_OK(step(&b));
        CHECK_OK(cn_model_freeze(b.model, folder, &copy));
        CHECK_OK(cn_model_score(b.model, copy, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.logp, b.batch.n_tokens * sizeof *before) == 0);
        cn_model_close(again);
        remove_folder(folder);
        bench_close(&b);
    }
}

TEST(a_frozen_copy_is_saved_and_read_again_bit_for_bit)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        char folder[512];
        double before[TOKENS_MAX];
        int copy = -1, again = -1;
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK(temporary_folder(folder, sizeof folder));
        CHECK_OK(step(&b));
        objective(&b);
        memcpy(before, b.out.logp, b.batch.n_tokens * sizeof *before);
        CHECK_OK(cn_model_freeze(b.model, NULL, &copy));
        CHECK_OK(step(&b)); /* so that the current weights are others */
        CHECK_FAILS(cn_model_save(b.model, copy + 1, folder, CN_DTYPE_F32), CN_ERR_BUG,
                    "frozen copy");
        CHECK_OK(cn_model_save(b.model, copy, folder, CN_DTYPE_F32));
        CHECK_OK(cn_model_freeze(b.model, folder, &again));
        CHECK_INT(again, copy + 1);
        CHECK_OK(cn_model_score(b.model, again, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.logp, b.batch.n_tokens * sizeof *before) == 0);
        CHECK_OK(cn_model_score(b.model, -1, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.logp, b.batch.n_tokens * sizeof *before) != 0);
        remove_folder(folder);
        bench_close(&b);
    }
}

TEST(a_resumed_state_goes_on_bit_for_bit)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b, c;
        const struct cn_buffer *first, *second;
        size_t n;
        char folder[512], path[600], value[600];
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_OK(bench_open(&c, &subjects[i]));
        CHECK(temporary_folder(folder, sizeof folder));
        snprintf(path, sizeof path, "%s/state.safetensors", folder);
        snprintf(value, sizeof value, "%s/value_head.safetensors", folder);
        for (int k = 0; k < 2; k++)
            CHECK_OK(step(&b));
        CHECK_OK(cn_model_state_save(b.model, path));
        CHECK_OK(cn_model_value_save(b.model, value));
        for (int k = 0; k < 2; k++)
            CHECK_OK(step(&b));
        CHECK_OK(cn_model_state_load(c.model, path));
        CHECK_OK(cn_model_value_load(c.model, value));
        for (int k = 0; k < 2; k++)
            CHECK_OK(step(&c));
        CHECK_OK(cn_model_weights(b.model, &first, &n));
        CHECK_OK(cn_model_weights(c.model, &second, &n));
        for (size_t k = 0; k < n; k++)
            CHECK(buffers_equal(&first[k], &second[k]));
        remove_folder(folder);
        bench_close(&b);
        bench_close(&c);
    }
}

TEST(a_checkpoints_value_head_starts_another_run)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        struct cn_model *again;
        double before[TOKENS_MAX];
        char folder[512], state[600], path[700];
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK(temporary_folder(folder, sizeof folder));
        snprintf(state, sizeof state, "%s/state", folder);
        snprintf(path, sizeof path, "%s/value_head.safetensors", state);
        CHECK_OK(step(&b));
        CHECK_OK(cn_model_save(b.model, -1, folder, CN_DTYPE_F32));
        objective(&b);
        memcpy(before, b.out.value, b.batch.n_tokens * sizeof *before);
        CHECK_OK(open_model(&subjects[i], folder, 0, &again)); /* without the file: at 0 */
        CHECK_OK(cn_model_score(again, -1, &b.atom, &b.out));
        for (size_t t = 0; t < b.batch.n_tokens; t++)
            CHECK(b.out.value[t] == 0);
        cn_model_close(again);
        CHECK(mkdir(state, 0700) == 0);
        CHECK_OK(cn_model_value_save(b.model, path));
        CHECK_OK(open_model(&subjects[i], folder, 0, &again));
        CHECK_OK(cn_model_score(again, -1, &b.atom, &b.out));
        CHECK(memcmp(before, b.out.value, b.batch.n_tokens * sizeof *before) == 0);
        cn_model_close(again);
        unlink(path);
        rmdir(state);
        remove_folder(folder);
        bench_close(&b);
    }
}

/* Weights of body and head after one step of a part, and which of them moved. */
static void moved(struct bench *b, enum cn_step_part part, bool *body, bool *head)
{
    const struct cn_step_options options = {
        .lr = 0.01, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8, .part = part};
    const struct cn_buffer *weights;
    struct cn_step_result result;
    size_t n;
    float before[4096];
    *body = *head = false;
    CHECK_OK(cn_model_zero_gradients(b->model));
    CHECK_OK(backward(b));
    CHECK_OK(cn_model_weights(b->model, &weights, &n));
    for (size_t k = 0; k<n; k += n - 1> 0 ? n - 1 : 1) /* the first tensor and the last */
        memcpy(before + (k ? 2048 : 0), weights[k].data,
               (weights[k].count < 2048 ? weights[k].count : 2048) * sizeof(float));
    CHECK_OK(cn_model_step(b->model, &options, &result));
    for (size_t k = 0; k<n; k += n - 1> 0 ? n - 1 : 1)
        *(k ? head : body) =
            memcmp(before + (k ? 2048 : 0), weights[k].data,
                   (weights[k].count < 2048 ? weights[k].count : 2048) * sizeof(float)) != 0;
}

TEST(a_step_changes_the_part_that_it_names)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        bool body, head;
        CHECK_OK(bench_open(&b, &subjects[i]));
        moved(&b, CN_STEP_BODY, &body, &head);
        CHECK(body && !head);
        moved(&b, CN_STEP_VALUE, &body, &head);
        CHECK(!body && head);
        moved(&b, CN_STEP_ALL, &body, &head);
        CHECK(body && head);
        bench_close(&b);
    }
}

TEST(a_gradient_that_is_not_finite_changes_nothing)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        struct cn_step_result result = {0};
        const struct cn_step_options options = {
            .lr = 0.1, .beta1 = 0.9, .beta2 = 0.99, .epsilon = 1e-8};
        CHECK_OK(bench_open(&b, &subjects[i]));
        double start = objective(&b);
        CHECK_OK(cn_model_zero_gradients(b.model));
        for (size_t t = 0; t < b.batch.n_tokens; t++)
            b.grad.d_logp[t] = t == 5 ? NAN : 0.1;
        CHECK_OK(backward(&b));
        CHECK_OK(cn_model_step(b.model, &options, &result));
        CHECK(result.skipped && !isfinite(result.grad_norm));
        CHECK_OK(bench_columns(&b));
        CHECK_NEAR(objective(&b), start, 0);
        bench_close(&b);
    }
}

TEST(bad_input_is_refused_with_its_reason)
{
    for (int i = 0; i < SUBJECTS; i++) {
        struct bench b;
        size_t length = 65;
        struct cn_batch wide;
        struct cn_model *plain;
        CHECK_OK(bench_open(&b, &subjects[i]));
        CHECK_FAILS(cn_model_backward(b.model, &b.grad), CN_ERR_BUG, "without a pending forward");
        b.batch.token[4] = 11;
        CHECK_FAILS(cn_model_score(b.model, -1, &b.atom, &b.out), CN_ERR_MODEL,
                    "has id 11, the model's vocabulary has 11");
        b.batch.token[4] = -1;
        CHECK_FAILS(cn_model_forward(b.model, &b.atom, &b.out), CN_ERR_MODEL, "has id -1");
        b.batch.token[4] = 0;
        CHECK_OK(open_plain(&subjects[i], &plain));
        CHECK_FAILS(cn_model_score(plain, -1, &b.atom, &b.out), CN_ERR_MODEL, "no value head");
        CHECK_FAILS(cn_model_value_save(plain, "/nowhere"), CN_ERR_BUG, "without a trainable");
        cn_model_close(plain);
        b.atom.channels = CN_LIVE_BIT(logp);
        CHECK_OK(cn_batch_init(&wide, &b.arena, &length, 1));
        const struct cn_atom atom = {
            .batch = &wide, .span = {0, 1}, .temperature = 1, .channels = CN_LIVE_BIT(logp)};
        const struct cn_live_out nowhere = {0};
        CHECK_FAILS(cn_model_score(b.model, -1, &atom, &nowhere), CN_ERR_MODEL,
                    "has 65 tokens, the model's context is 64");
        bench_close(&b);
    }
}

TEST(an_unknown_type_is_refused)
{
    const struct subject wrong = {"onnx", "{}", 0};
    struct cn_model *model;
    CHECK_FAILS(open_model(&wrong, NULL, 0, &model), CN_ERR_CONFIG, "model.type is \"onnx\"");
    const struct cn_model_settings empty = {.type = "table"};
    CHECK_FAILS(cn_model_open(&empty, &model), CN_ERR_CONFIG, "model.path is not set");
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
