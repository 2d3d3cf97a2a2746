/* PPO with a value head on tiny models: the gradient of every weight against autograd.  Golden
 * numbers: tests/data/make_value.py, computed in double. */
/* ctest labels: torch */
#include "check.h"

#include "carnot/algorithm.h"
#include "carnot/model.h"
#include "trainer/model/safetensors.h"

#include <stdlib.h>

static const char *const models[] = {"llama_tied", "qwen2", "qwen3"};
enum { MODELS = sizeof models / sizeof *models };

struct golden {
    struct safetensors *shape, *value; /* batch and temperature; constants and gradients */
    struct cn_arena arena, scratch;
    struct cn_json *algorithm;
    struct cn_recipe recipe;
    struct cn_batch batch;
    struct cn_atom atom;
    struct cn_model *model;
    struct cn_live_out out;
    struct cn_token_grad grad;
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_loss_call call;
};

static const void *tensor(const struct safetensors *file, const char *name)
{
    return safetensors_find(file, name)->data;
}

static enum cn_status open_files(struct golden *g, const char *folder)
{
    char path[600];
    snprintf(path, sizeof path, "%s/golden.safetensors", folder);
    CN_TRY(safetensors_open(path, &g->shape));
    snprintf(path, sizeof path, "%s/value.safetensors", folder);
    return safetensors_open(path, &g->value);
}

/* The batch, and the columns that the stages before the loss would have written. */
static enum cn_status open_batch(struct golden *g)
{
    size_t n = safetensors_find(g->shape, "group")->count, lengths[64];
    int64_t start[65];
    CN_BUG_IF(n > 64);
    memcpy(start, tensor(g->shape, "seq_start"), (n + 1) * sizeof *start);
    for (size_t s = 0; s < n; s++)
        lengths[s] = (size_t)(start[s + 1] - start[s]);
    CN_TRY(cn_batch_init(&g->batch, &g->arena, lengths, n));
    struct cn_batch *b = &g->batch;
    const struct {
        const char *name;
        double *column;
    } constants[] = {{"logp_old", b->logp_old},
                     {"advantage", b->advantage},
                     {"value_old", b->value_old},
                     {"value_target", b->value_target}};
    for (size_t c = 0; c < sizeof constants / sizeof *constants; c++)
        memcpy(constants[c].column, tensor(g->value, constants[c].name),
               b->n_tokens * sizeof(double));
    memcpy(b->token, tensor(g->shape, "token"), b->n_tokens * sizeof(int32_t));
    memcpy(b->role, tensor(g->shape, "role"), b->n_tokens);
    memcpy(b->group, tensor(g->shape, "group"), n * sizeof(uint32_t));
    for (size_t s = 0; s < n; s++) {
        b->score[s] = b->reward[s] = 0;
        if (b->role[b->seq_start[s]] == CN_ROLE_POLICY) /* nothing predicts a first token */
            b->role[b->seq_start[s]] = CN_ROLE_PROMPT;
    }
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage <= CN_STAGE_ADVANTAGE) b->written |= CN_BIT(c);
    return CN_OK;
}

static enum cn_status open_loss(struct golden *g)
{
    struct cn_batch *b = &g->batch;
    CN_TRY(cn_json_parse(cn_text("{\"type\": \"ppo\"}"), "algorithm", &g->algorithm));
    CN_TRY(cn_recipe_read(g->algorithm, NULL, &g->arena, &g->recipe));
    g->call = (struct cn_loss_call){.recipe = &g->recipe,
                                    .counts = g->counts,
                                    .ranks = &cn_reduce_alone,
                                    .scratch = &g->scratch};
    CN_TRY(cn_loss_count(b, cn_batch_all(b), 64, g->call.ranks, &g->scratch, g->counts));
    CN_TRY(cn_loss_prepare(&g->call, b, cn_batch_all(b), NULL));
    CN_TRY(CN_NEW(&g->arena, b->n_tokens, &g->out.logp));
    CN_TRY(CN_NEW(&g->arena, b->n_tokens, &g->out.value));
    CN_TRY(CN_NEW(&g->arena, b->n_tokens, &g->grad.d_logp));
    return CN_NEW(&g->arena, b->n_tokens, &g->grad.d_value);
}

/* Puts the golden head into the model. */
static enum cn_status start_head(struct golden *g)
{
    const struct cn_buffer *weights;
    size_t n, found = 0;
    CN_TRY(cn_model_weights(g->model, &weights, &n));
    for (size_t i = 0; i < n; i++) {
        if (strncmp(weights[i].name, "value_head.", 11) != 0) continue;
        memcpy(weights[i].data, tensor(g->value, weights[i].name),
               weights[i].count * sizeof(float));
        found++;
    }
    CN_BUG_IF(found != 2);
    return CN_OK;
}

static enum cn_status golden_open(struct golden *g, const char *name)
{
    char folder[512];
    memset(g, 0, sizeof *g);
    cn_arena_init(&g->arena);
    cn_arena_init(&g->scratch);
    snprintf(folder, sizeof folder, "%s/models/%s", CN_TEST_DATA, name);
    CN_TRY(open_files(g, folder));
    CN_TRY(open_batch(g));
    CN_TRY(open_loss(g));
    g->atom = (struct cn_atom){.batch = &g->batch,
                               .span = cn_batch_all(&g->batch),
                               .temperature = atof(safetensors_metadata(g->shape, "temperature")),
                               .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(value)};
    const struct cn_model_settings settings = {.type = "torch",
                                               .path = folder,
                                               .device = "cpu",
                                               .dtype = CN_DTYPE_F32,
                                               .threads = 2,
                                               .trainable = true,
                                               .value_head = true};
    CN_TRY(cn_model_open(&settings, &g->model));
    return start_head(g);
}

static void golden_close(struct golden *g)
{
    cn_model_close(g->model);
    safetensors_close(g->shape);
    safetensors_close(g->value);
    cn_json_close(g->algorithm);
    cn_arena_free(&g->arena);
    cn_arena_free(&g->scratch);
}

/* Largest difference of a gradient from autograd's, relative to the largest entry of it. */
static double compare(const struct golden *g, const struct cn_buffer *found)
{
    char name[256];
    double worst = 0, scale = 1e-30;
    snprintf(name, sizeof name, "ppo.%s", found->name);
    const struct cn_buffer *expected = safetensors_find(g->value, name);
    if (!expected || expected->count != found->count) return INFINITY;
    for (size_t i = 0; i < found->count; i++) {
        double x = (double)((const float *)found->data)[i];
        double y = (double)((const float *)expected->data)[i];
        worst = fmax(worst, fabs(x - y));
        scale = fmax(scale, fabs(y));
    }
    return worst / scale;
}

TEST(the_gradient_of_ppo_in_every_weight_is_that_of_autograd)
{
    for (int i = 0; i < MODELS; i++) {
        struct golden g;
        const struct cn_buffer *gradients;
        size_t n;
        double value = 0, worst = 0;
        CHECK_OK(golden_open(&g, models[i]));
        CHECK_OK(cn_model_zero_gradients(g.model));
        CHECK_OK(cn_model_forward(g.model, &g.atom, &g.out));
        const double *expected = tensor(g.value, "value");
        for (size_t t = 0; t < g.batch.n_tokens; t++)
            value = fmax(value, fabs(g.out.value[t] - expected[t]));
        CHECK_NEAR(value, 0, 1e-5);
        const struct cn_live live = {.logp = g.out.logp, .value = g.out.value};
        CHECK_OK(cn_loss_atom(&g.call, &g.batch, g.atom.span, &live, &g.grad));
        CHECK_NEAR(g.grad.loss, *(const double *)tensor(g.value, "loss"), 1e-5);
        CHECK_OK(cn_model_backward(g.model, &g.grad));
        CHECK_OK(cn_model_gradients(g.model, &gradients, &n));
        for (size_t k = 0; k < n; k++) {
            double d = compare(&g, &gradients[k]);
            if (!(d <= 2e-5)) printf("  %s differs by %g\n", gradients[k].name, d);
            worst = fmax(worst, d);
        }
        printf("  %s: %zu tensors, values differ by at most %.1e, gradients by %.1e\n", models[i],
               n, value, worst);
        CHECK_NEAR(worst, 0, 2e-5);
        golden_close(&g);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
