/* NCCL itself, on a GPU: one rank alone in its group, and a group that nobody else joins.  What is
 * around it (test_comm) needs no GPU; several ranks are check_device_ranks.sh.
 * ctest labels: torch gpu */
#include "check.h"
#include "device.h"

#include "carnot/json.h"
#include "carnot/model.h"
#include "carnot/shared.h"
#include "trainer/comm/backend.h"

static const char init_text[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 99, "
    "\"hidden_size\": 32, \"intermediate_size\": 48, \"num_hidden_layers\": 1, "
    "\"num_attention_heads\": 2, \"num_key_value_heads\": 2, \"max_position_embeddings\": 32}";

/* The model lends memory of the GPU. */
static enum cn_status open_model(struct cn_model **out)
{
    struct cn_json *init;
    CN_TRY(cn_json_parse(cn_text(init_text), "init", &init));
    const struct cn_model_settings settings = {
        .type = "torch", .init = init, .device = "cuda", .trainable = true, .dtype = CN_DTYPE_F32};
    enum cn_status status = cn_model_open(&settings, out);
    cn_json_close(init);
    return status;
}

static const struct comm_device *nccl(void)
{
    char why[1024] = "";
    void *shared = cn_shared_open("CN_NCCL_SO", "libcarnot_nccl.so", why, sizeof why);
    if (!shared) printf("  %s\n", why);
    return shared ? dlsym(shared, COMM_DEVICE_SYMBOL) : NULL;
}

/* Gives up when it has been asked often enough; never if `left` is negative. */
static enum cn_status tick(void *self)
{
    int *left = self;
    return *left < 0 || (*left)-- > 0 ? CN_OK : cn_fail(CN_ERR_COMM, "nobody came");
}

TEST(one_rank_is_its_own_sum)
{
    const struct comm_device *backend = nccl();
    if (!backend) SKIP("this build has no NCCL");
    struct cn_model *model;
    struct cn_buffer flat[2], integers;
    struct comm_gpu gpu;
    void *group = NULL;
    size_t n;
    bool fits;
    int left = -1;
    const struct comm_wait wait = {tick, &left};
    struct comm_device_place place = {.device = 0, .size = 1, .wait = &wait};
    CHECK_OK(open_model(&model));
    CHECK_OK(cn_model_flat_gradient(model, flat, &n));
    CHECK_OK(cn_model_fixed(model, &integers, &fits));
    const size_t count = flat[0].count;
    float *x = malloc(count * sizeof *x);
    int64_t *y = malloc(count * sizeof *y);
    for (size_t i = 0; i < count; i++) {
        x[i] = (float)i * 0.25f;
        y[i] = ((int64_t)i << 40) - 7;
    }
    CHECK(buffer_write(&flat[0], x) && buffer_write(&integers, y));
    CHECK_OK(backend->describe(0, &gpu));
    CHECK(gpu.bus[0] && gpu.name[0] && gpu.host[0]);
    CHECK_OK(backend->invite(place.id));
    CHECK_OK(backend->open(&place, &group));
    CHECK_OK(backend->settle(group));
    CHECK_OK(backend->sum(group, &(struct cn_comm_data){"x", CN_DTYPE_F32, flat[0].data, count}));
    CHECK_OK(backend->sum(group, &(struct cn_comm_data){"y", CN_DTYPE_I64, integers.data, count}));
    memset(x, 0, count * sizeof *x);
    memset(y, 0, count * sizeof *y);
    CHECK(buffer_read(&flat[0], x) && buffer_read(&integers, y));
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += x[i] != (float)i * 0.25f || y[i] != ((int64_t)i << 40) - 7;
    CHECK_INT(wrong, 0);
    backend->close(group, true);
    cn_model_close(model);
    free(x);
    free(y);
}

TEST(a_group_that_nobody_joins_is_given_up)
{
    const struct comm_device *backend = nccl();
    if (!backend) SKIP("this build has no NCCL");
    int left = 100;
    void *group = NULL;
    const struct comm_wait wait = {tick, &left};
    struct comm_device_place place = {.device = 0, .size = 2, .wait = &wait};
    CHECK_OK(backend->invite(place.id));
    CHECK_FAILS(backend->open(&place, &group), CN_ERR_COMM, "nobody came");
    cn_fail_clear();
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
