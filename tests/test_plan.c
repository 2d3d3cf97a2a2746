/* The memory plan: arithmetic by hand, limits from a made-up machine, and the peak of a real model.
 */
#include "check.h"

#include "carnot/json.h"
#include "carnot/model.h"
#include "trainer/model/plan.h"
#include "trainer/model/shape.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* 10 x 4 embedding, tied; per layer q 16, k 8, v 8, o 16, gate up down 60, norms 8; final norm 4:
 * 272 parameters. */
static const struct model_shape tiny = {.family = MODEL_LLAMA,
                                        .vocab = 10,
                                        .hidden = 4,
                                        .intermediate = 5,
                                        .layers = 2,
                                        .heads = 2,
                                        .kv_heads = 1,
                                        .head_dim = 2,
                                        .context = 64,
                                        .tied = true};

TEST(weights_gradients_and_moments_follow_from_the_parameters)
{
    struct plan plan;
    struct plan_settings s = {.dtype = CN_DTYPE_F32, .trainable = true, .threads = 1};
    CHECK_OK(plan_make(&tiny, &s, &plan));
    const uint64_t n = 40 + 2 * (48 + 60 + 8) + 4;
    CHECK_INT(plan.parameters, n);
    CHECK_INT(plan.bytes[PLAN_MASTER], 0); /* F32: the weights that compute are the master */
    CHECK_INT(plan.bytes[PLAN_COMPUTE], 4 * n);
    CHECK_INT(plan.bytes[PLAN_GRADIENT], 4 * n);
    CHECK_INT(plan.bytes[PLAN_MOMENTS], 8 * n);
    CHECK_INT(plan.bytes[PLAN_ACTIVATIONS], 0);
    s.dtype = CN_DTYPE_BF16;
    s.frozen = 2;
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_INT(plan.bytes[PLAN_MASTER], 4 * n);
    CHECK_INT(plan.bytes[PLAN_COMPUTE], 2 * n + 4 * 20); /* norms also as floats */
    CHECK_INT(plan.bytes[PLAN_FROZEN], 2 * (2 * n + 4 * 20));
    s.trainable = false;
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_INT(plan.bytes[PLAN_MASTER] + plan.bytes[PLAN_GRADIENT] + plan.bytes[PLAN_MOMENTS], 0);
    CHECK_INT(plan.bytes[PLAN_LOADING], 4 * n); /* floats before they are rounded */
}

TEST(the_cache_has_keys_and_values_of_every_slot_in_whole_blocks)
{
    struct plan plan;
    struct plan_settings s = {.dtype = CN_DTYPE_F32,
                              .slots = 3,
                              .context = 33,
                              .engine_dtype = CN_DTYPE_F32,
                              .sequences = 5,
                              .tokens = 100};
    CHECK_OK(plan_make(&tiny, &s, &plan));
    /* 3 slots x 64 tokens x 2 layers x (key + value) x 1 head of 16 (padded) x 4 bytes */
    CHECK_INT(plan.bytes[PLAN_CACHE], 3 * 64 * 2 * 2 * 16 * 4);
    CHECK_INT(plan.bytes[PLAN_ENGINE], 0); /* F32 weights are used in place */
    CHECK(plan.bytes[PLAN_BATCH] > 100 * 100);
    CHECK_INT(plan.bytes[PLAN_WAITING], 0);
    s.engine_dtype = CN_DTYPE_BF16;
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_INT(plan.bytes[PLAN_CACHE], 3 * 64 * 2 * 2 * 16 * 2);
    CHECK_INT(plan.bytes[PLAN_ENGINE], 2 * 256);
}

TEST(batches_sampled_ahead_hold_their_columns)
{
    struct plan one, three;
    struct plan_settings s = {.dtype = CN_DTYPE_F32, .sequences = 5, .tokens = 100, .waiting = 1};
    CHECK_OK(plan_make(&tiny, &s, &one));
    s.waiting = 3;
    CHECK_OK(plan_make(&tiny, &s, &three));
    CHECK(one.bytes[PLAN_WAITING] > 100 * 8);
    CHECK_INT(one.bytes[PLAN_BATCH] - one.bytes[PLAN_WAITING], 100 * 8 * 8); /* no live values */
    CHECK_INT(three.bytes[PLAN_WAITING], 3 * one.bytes[PLAN_WAITING]);
    CHECK_INT(three.total - one.total, 2 * one.bytes[PLAN_WAITING]);
}

TEST(a_large_cache_and_activations_take_turns)
{
    struct plan plan;
    struct cn_str text = {0};
    struct plan_settings s = {.dtype = CN_DTYPE_F32,
                              .engine_dtype = CN_DTYPE_F32,
                              .trainable = true,
                              .threads = 1,
                              .slots = 1000,
                              .context = 32,
                              .atom_tokens = 1024,
                              .longest = 32};
    uint64_t sum = 0;
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_INT(plan.never_at_once, 0); /* 8 MB of keys and values */
    s.slots = 10000;
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_INT(plan.never_at_once, plan.bytes[PLAN_ACTIVATIONS] + plan.bytes[PLAN_WORK]);
    for (int i = 0; i < PLAN_PART_COUNT; i++)
        sum += plan.bytes[i];
    CHECK_INT(plan.total, sum - plan.never_at_once);
    CHECK_OK(plan_print(&plan, "", 0, &text));
    CHECK(strstr(text.data, "never at once"));
    cn_str_free(&text);
}

TEST(checkpointing_and_smaller_atoms_need_less)
{
    struct plan all, few, small;
    struct plan_settings s = {
        .dtype = CN_DTYPE_F32, .trainable = true, .threads = 2, .atom_tokens = 4096, .longest = 64};
    CHECK_OK(plan_make(&tiny, &s, &all));
    s.checkpoint_activations = true;
    CHECK_OK(plan_make(&tiny, &s, &few));
    CHECK(few.bytes[PLAN_ACTIVATIONS] < all.bytes[PLAN_ACTIVATIONS]);
    s.atom_tokens = 1024;
    CHECK_OK(plan_make(&tiny, &s, &small));
    CHECK(small.total < few.total);
    s.atom_tokens = 1; /* an atom holds at least one sequence */
    s.longest = 1024;
    CHECK_OK(plan_make(&tiny, &s, &few));
    CHECK_INT(few.bytes[PLAN_ACTIVATIONS], small.bytes[PLAN_ACTIVATIONS]);
}

TEST(a_plan_that_does_not_fit_says_what_is_largest_and_what_helps)
{
    struct plan plan;
    struct cn_str text = {0};
    struct plan_settings s = {
        .dtype = CN_DTYPE_F32, .slots = 100000, .context = 8192, .engine_dtype = CN_DTYPE_F32};
    CHECK_OK(plan_make(&tiny, &s, &plan));
    CHECK_OK(plan_check(&plan, plan.total));
    CHECK_OK(plan_check(&plan, 0));
    CHECK_FAILS(plan_check(&plan, plan.total - 1), CN_ERR_MEMORY, "rollout.slots");
    CHECK_OK(plan_print(&plan, "", 0, &text));
    CHECK(strstr(text.data, "keys and values") && strstr(text.data, "unknown"));
    CHECK(!strstr(text.data, "gradients")); /* empty parts are left out */
    cn_str_free(&text);
    s.slots = SIZE_MAX;
    CHECK_FAILS(plan_make(&tiny, &s, &plan), CN_ERR_CONFIG, "beyond all bounds");
}

TEST(an_optimizer_that_is_shared_out_needs_a_part_of_the_moments_and_of_a_bf16_master)
{
    struct plan whole, part;
    struct model_shape wide = tiny;
    struct plan_settings s = {.trainable = true, .exact_sum = true};
    wide.vocab = 1 << 22;
    for (int half = 0; half < 2; half++) {
        s.dtype = half ? CN_DTYPE_BF16 : CN_DTYPE_F32;
        s.shards = 0;
        CHECK_OK(plan_make(&wide, &s, &whole));
        s.shards = 4;
        CHECK_OK(plan_make(&wide, &s, &part));
        const double n = (double)whole.parameters;
        CHECK_NEAR((double)part.bytes[PLAN_MOMENTS], 2 * n, 8 * 16384);
        CHECK_NEAR((double)part.bytes[PLAN_MASTER], half ? n : 0, 4 * 16384);
        CHECK(part.bytes[PLAN_SUM] == whole.bytes[PLAN_SUM] &&
              part.bytes[PLAN_COMPUTE] == whole.bytes[PLAN_COMPUTE]);
    }
}

/* ---- a made-up machine --------------------------------------------------- */

static void write_file(const char *root, const char *path, const char *text)
{
    char full[512];
    snprintf(full, sizeof full, "%s%s", root, path);
    char *slash = strrchr(full, '/');
    *slash = 0;
    CHECK(cn_folder_make(full) == CN_OK);
    *slash = '/';
    CHECK(cn_file_replace(full, text, strlen(text)) == CN_OK);
}

TEST(available_memory_is_the_least_of_the_machine_and_all_control_groups_above)
{
    char root[] = "/tmp/carnot-plan-XXXXXX", command[100];
    CHECK(mkdtemp(root) != NULL);
    CHECK_INT(plan_available(root), 0); /* nothing known */
    write_file(root, "/proc/meminfo", "MemTotal: 1000 kB\nMemFree: 1 kB\nMemAvailable:  800 kB\n");
    CHECK_INT(plan_available(root), 800 * 1024);
    CHECK_INT(plan_machine_memory(root), 1000 * 1024);
    CHECK_INT(plan_group_limit(root), 0);
    write_file(root, "/proc/self/cgroup", "0::/a/b\n");
    write_file(root, "/sys/fs/cgroup/a/b/memory.max", "max\n");
    CHECK_INT(plan_available(root), 800 * 1024);
    write_file(root, "/sys/fs/cgroup/a/memory.max", "500000\n");
    write_file(root, "/sys/fs/cgroup/a/memory.current", "300000\n");
    write_file(root, "/sys/fs/cgroup/a/memory.stat", "anon 200000\ninactive_file 100000\n");
    CHECK_INT(plan_available(root), 300000); /* 500000 - (300000 - 100000 of cache) */
    CHECK_INT(plan_group_limit(root), 500000);
    write_file(root, "/sys/fs/cgroup/a/memory.current", "900000\n");
    CHECK_INT(plan_available(root), 1); /* nothing left; 0 would mean unknown */
    write_file(root, "/proc/self/cgroup", "5:cpu:/x\n4:memory:/job\n0::/elsewhere\n");
    write_file(root, "/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "9223372036854771712\n");
    CHECK_INT(plan_available(root), 800 * 1024);
    write_file(root, "/sys/fs/cgroup/memory/memory.limit_in_bytes", "700000\n");
    write_file(root, "/sys/fs/cgroup/memory/memory.usage_in_bytes", "100000\n");
    CHECK_INT(plan_available(root), 600000);
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    CHECK_INT(system(command), 0);
}

/* ---- the peak of a real model -------------------------------------------- */

static double peak_megabytes(void)
{
    char line[200];
    double kilobytes = 0;
    FILE *file = fopen("/proc/self/status", "r");
    while (file && fgets(line, sizeof line, file))
        if (strncmp(line, "VmHWM:", 6) == 0) kilobytes = atof(line + 6);
    if (file) fclose(file);
    return kilobytes * 1024 / 1e6;
}

static const char config[] =
    "{\"model_type\": \"qwen3\", \"vocab_size\": 8192, \"hidden_size\": 384, "
    "\"intermediate_size\": "
    "1024, \"num_hidden_layers\": 6, \"num_attention_heads\": 6, \"num_key_value_heads\": 2, "
    "\"head_dim\": 64, \"max_position_embeddings\": 512, \"tie_word_embeddings\": true}";

enum { LENGTH = 128, SEQUENCES = 16 };

/* One forward and backward; the peak of this process against the plan. */
static enum cn_status train_once(struct cn_arena *arena, struct plan *plan)
{
    struct cn_json *init = NULL;
    struct cn_model *model = NULL;
    struct cn_batch batch;
    struct model_shape shape;
    size_t lengths[SEQUENCES];
    double *logp, *gradient;
    CN_TRY(cn_json_parse(cn_text(config), "config", &init));
    CN_TRY(shape_parse(init, "config", &shape));
    const struct cn_model_settings settings = {.type = "torch",
                                               .init = init,
                                               .device = "cpu",
                                               .dtype = CN_DTYPE_F32,
                                               .threads = 2,
                                               .trainable = true};
    CN_TRY(cn_model_open(&settings, &model));
    for (size_t i = 0; i < SEQUENCES; i++)
        lengths[i] = LENGTH;
    CN_TRY(cn_batch_init(&batch, arena, lengths, SEQUENCES));
    CN_TRY(CN_NEW(arena, batch.n_tokens, &logp));
    CN_TRY(CN_NEW(arena, batch.n_tokens, &gradient));
    for (size_t t = 0; t < batch.n_tokens; t++) {
        batch.token[t] = (int32_t)(t * 7919 % shape.vocab);
        batch.role[t] = CN_ROLE_POLICY;
        batch.group[t / LENGTH] = (uint32_t)(t / LENGTH);
        gradient[t] = -1;
    }
    const struct cn_atom atom = {.batch = &batch,
                                 .span = cn_batch_all(&batch),
                                 .temperature = 1,
                                 .channels = CN_LIVE_BIT(logp)};
    const struct cn_live_out live = {.logp = logp};
    const struct cn_token_grad grad = {.d_logp = gradient};
    CN_TRY(cn_model_forward(model, &atom, &live));
    CN_TRY(cn_model_backward(model, &grad));
    const struct plan_settings planned = {.dtype = CN_DTYPE_F32,
                                          .trainable = true,
                                          .threads = 2,
                                          .atom_tokens = LENGTH * SEQUENCES,
                                          .longest = LENGTH,
                                          .tokens = batch.n_tokens,
                                          .sequences = SEQUENCES};
    CN_TRY(plan_make(&shape, &planned, plan));
    cn_model_close(model);
    cn_json_close(init);
    return CN_OK;
}

TEST(the_plan_is_within_fifteen_percent_of_the_measured_peak)
{
#if defined(CN_WITH_TORCH) && !defined(__SANITIZE_ADDRESS__)
    fflush(stdout);
    pid_t child = fork(); /* a process of its own: the peak is not that of earlier tests */
    CHECK(child >= 0);
    if (child == 0) {
        struct cn_arena arena;
        struct plan plan;
        cn_arena_init(&arena);
        if (train_once(&arena, &plan) != CN_OK) {
            printf("  FAILED: %s\n", cn_fail_message());
            fflush(stdout);
            _exit(1);
        }
        double ratio = (double)plan.total / 1e6 / peak_megabytes();
        printf("  plan %.0f MB, peak %.0f MB\n", (double)plan.total / 1e6, peak_megabytes());
        fflush(stdout);
        _exit(ratio > 0.85 && ratio < 1.15 ? 0 : 2);
    }
    int state = 0;
    CHECK(waitpid(child, &state, 0) == child);
    CHECK_INT(WIFEXITED(state) ? WEXITSTATUS(state) : 100, 0);
#else
    (void)config;
    (void)train_once;
    (void)peak_megabytes;
    SKIP("built without torch, or with the address sanitizer");
#endif
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
