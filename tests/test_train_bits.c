/* Training through the whole update, from scoring to the optimizer, ends with the same bits of
 * every weight on any number of threads and with or without checkpointing: for rows of each kind of
 * ratio, with a critic, and under entropy methods. */
/* ctest labels: torch */
#include "check.h"
#include "update_scene.h"

static const char shape[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"vocab_size\": 131, "
    "\"hidden_size\": 96, \"intermediate_size\": 160, \"num_hidden_layers\": 2, "
    "\"num_attention_heads\": 4, \"num_key_value_heads\": 2, \"max_position_embeddings\": 64, "
    "\"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0, \"hidden_act\": \"silu\", "
    "\"tie_word_embeddings\": true, \"initializer_range\": 0.05}";
static const char config[] = "{\"train\": {\"mini_batches\": 2}, \"optimizer\": {\"lr\": 1e-3}, "
                             "\"critic_optimizer\": {\"lr\": 3e-3}, "
                             "\"update\": {\"atom_tokens\": 128}}";

static const struct {
    const char *algorithm;
    bool second_model;
} rows[] = {{"\"grpo\"", false},
            {"{\"type\": \"ppo\", \"critic\": {\"warmup_steps\": 3}}", false},
            {"{\"type\": \"vapo\", \"critic\": {\"warmup_steps\": 3}}", true},
            {"\"gspo\"", false},
            {"\"gmpo\"", false}};
/* One selects tokens, one weighs them, one differentiates a restricted entropy. */
static const char *const methods[] = {
    NULL,
    "{\"methods\": [\"clip_cov\"], \"clip_cov\": {\"fraction\": 0.1, \"low\": 0, \"high\": 99}}",
    "[\"steer\"]", "[\"siren\"]"};

struct way {
    int threads;
    bool checkpoint;
};

/* Hashes of policy and critic after five rollout steps of two updates each; 0 if refused. */
struct hashes {
    uint64_t policy, critic;
};

static void trained(size_t row, const char *entropy, const struct way *way, struct hashes *out)
{
    struct scene s;
    const struct scene_setup setup = {.type = "torch",
                                      .init = shape,
                                      .config = config,
                                      .algorithm = rows[row].algorithm,
                                      .entropy = entropy,
                                      .second_model = rows[row].second_model,
                                      .threads = way->threads,
                                      .checkpoint_activations = way->checkpoint};
    *out = (struct hashes){0, 0};
    enum cn_status status = scene_open(&s, &setup);
    if (status == CN_ERR_CONFIG) {
        cn_fail_clear(); /* methods that the row's ratio cannot take are refused, not run */
        scene_close(&s);
        return;
    }
    CHECK_OK(status);
    const uint64_t start = scene_hash(s.model);
    for (int step = 0; step < 5; step++)
        CHECK_OK(scene_step(&s));
    *out = (struct hashes){scene_hash(s.model), scene_hash(s.critic)};
    CHECK(out->policy != start);
    scene_close(&s);
}

TEST(weights_after_five_steps_have_one_hash)
{
    static const struct way plain = {1, false}, ways[] = {{2, false}, {1, true}};
    size_t cases = 0, refused = 0;
    uint64_t seen[64];
    for (size_t row = 0; row < sizeof rows / sizeof *rows; row++)
        for (size_t m = 0; m < sizeof methods / sizeof *methods; m++) {
            struct hashes first, other;
            trained(row, methods[m], &plain, &first);
            if (!first.policy) {
                refused++;
                continue;
            }
            for (size_t i = 0; i < cases; i++)
                CHECK(seen[i] != first.policy); /* the cases really differ */
            seen[cases++] = first.policy;
            for (size_t w = 0; w < sizeof ways / sizeof *ways; w++) {
                trained(row, methods[m], &ways[w], &other);
                if (first.policy != other.policy || first.critic != other.critic)
                    CHECK_FAILED("%s with %s: other weights on %d threads, checkpointing %d",
                                 rows[row].algorithm, methods[m] ? methods[m] : "no method",
                                 ways[w].threads, ways[w].checkpoint);
            }
        }
    printf("  %zu combinations, %zu refused\n", cases, refused);
    CHECK(cases >= 12);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
