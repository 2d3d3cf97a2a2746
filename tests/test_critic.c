/* A critic in training: a value head on the policy, or a second model with its own optimizer. */
#include "check.h"
#include "update_scene.h"

static const char table[] =
    "{\"type\": \"table\", \"vocab_size\": 23, \"order\": 2, \"states\": 529, \"context\": 64}";
static const char rates[] = "{\"train\": {\"mini_batches\": 2}, \"optimizer\": {\"lr\": 0.05, "
                            "\"weight_decay\": 0}, \"critic_optimizer\": {\"lr\": 0.05, "
                            "\"weight_decay\": 0}}";

/* Warm-up of `steps` optimizer steps. */
static void open_critic(struct scene *s, bool second_model, int steps)
{
    char algorithm[128];
    snprintf(algorithm, sizeof algorithm, "{\"type\": \"ppo\", \"critic\": {\"warmup_steps\": %d}}",
             steps);
    const struct scene_setup setup = {.type = "table",
                                      .init = table,
                                      .config = rates,
                                      .algorithm = algorithm,
                                      .second_model = second_model};
    CHECK_OK(scene_open(s, &setup));
}

/* What a table of values tends to with lambda 1: the mean return of the trained tokens that share
 * token t's state, its last two predecessors. */
static double mean_return(const struct cn_batch *b, size_t t)
{
    double sum = 0, n = 0;
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t u = b->seq_start[s]; u < b->seq_start[s + 1]; u++)
            if (cn_batch_trained(b, s, u) && b->token[u - 1] == b->token[t - 1] &&
                b->token[u - 2] == b->token[t - 2]) {
                sum += b->reward[s];
                n++;
            }
    return sum / n;
}

TEST(values_tend_to_the_mean_return_of_their_state)
{
    static const char config[] = "{\"optimizer\": {\"lr\": 0.05}, \"critic_optimizer\": {\"lr\": "
                                 "0.02, \"weight_decay\": 0}}";
    for (int second = 0; second < 2; second++) {
        struct scene s;
        const struct scene_setup setup = {.type = "table",
                                          .init = table,
                                          .config = config,
                                          .algorithm =
                                              "{\"type\": \"ppo\", \"advantage\": {\"lambda\": 1}}",
                                          .second_model = second};
        CHECK_OK(scene_open(&s, &setup));
        CHECK_OK(scene_step(&s));
        CHECK(s.batch.written & CN_NEEDS(value_old) && s.batch.written & CN_NEEDS(value_target));
        CHECK_NEAR(cn_metrics_value(&s.metrics, "critic/explained_variance", 9), 0, 1e-3);
        CHECK_NEAR(cn_metrics_value(&s.metrics, "critic/value_mean", 9), 0, 0); /* starts at 0 */
        for (int k = 0; k < 300; k++)
            CHECK_OK(scene_step(&s));
        double worst = 0;
        for (size_t q = 0; q < s.batch.n_sequences; q++)
            for (size_t t = s.batch.seq_start[q]; t < s.batch.seq_start[q + 1]; t++)
                if (cn_batch_trained(&s.batch, q, t))
                    worst = fmax(worst, fabs(s.batch.value_old[t] - mean_return(&s.batch, t)));
        CHECK_NEAR(worst, 0, 2e-3);
        CHECK(cn_metrics_value(&s.metrics, "critic/explained_variance", 0) > 0.2);
        scene_close(&s);
    }
}

TEST(only_the_critic_moves_while_it_warms_up)
{
    for (int second = 0; second < 2; second++)
        for (int steps = 0; steps < 3; steps++) {
            struct scene s;
            open_critic(&s, second, steps);
            /* A table without its values: the policy alone. */
            const struct cn_buffer *weights;
            size_t n;
            CHECK_OK(cn_model_weights(s.model, &weights, &n));
            float first = 0;
            for (int k = 0; k < 2; k++) { /* two optimizer steps each */
                float before[529 * 23];
                memcpy(before, weights[0].data, sizeof before);
                CHECK_OK(scene_step(&s));
                bool moved = memcmp(before, weights[0].data, sizeof before) != 0;
                CHECK_INT(moved, 2 * (k + 1) > steps);
                CHECK_INT(s.update.optimizer_steps, 2 * (k + 1));
                CHECK(cn_metrics_value(&s.metrics, "critic/grad_norm", 0) > 0);
                CHECK((cn_metrics_value(&s.metrics, "optim/grad_norm", -1) >= 0) == moved);
                first += cn_metrics_value(&s.metrics, "critic/value_mean", 0) != 0;
            }
            CHECK(first == 1); /* the second rollout is judged by a critic that has moved */
            scene_close(&s);
        }
}

TEST(a_second_model_leaves_the_policy_without_a_head)
{
    struct scene s;
    const struct cn_buffer *weights;
    size_t n;
    open_critic(&s, true, 0);
    CHECK(!cn_model_info(s.model)->value_head && cn_model_info(s.critic)->value_head);
    CHECK_OK(cn_model_weights(s.model, &weights, &n));
    CHECK_INT(n, 1);
    uint64_t policy = scene_hash(s.model), critic = scene_hash(s.critic);
    CHECK_OK(scene_step(&s));
    CHECK(scene_hash(s.model) != policy && scene_hash(s.critic) != critic);
    scene_close(&s);
}

TEST(a_value_that_is_not_finite_moves_nothing)
{
    for (int second = 0; second < 2; second++) {
        struct scene s;
        const struct cn_buffer *weights;
        size_t n;
        open_critic(&s, second, 0);
        CHECK_OK(scene_step(&s));
        CHECK_OK(cn_model_weights(second ? s.critic : s.model, &weights, &n));
        for (size_t i = 0; i < weights[n - 1].count; i++)
            ((float *)weights[n - 1].data)[i] = NAN;
        uint64_t policy = scene_hash(s.model), critic = scene_hash(s.critic);
        CHECK_OK(scene_step(&s)); /* two optimizer steps that are skipped and counted */
        CHECK_NEAR(cn_metrics_value(&s.metrics, "update/skipped", 0), 2, 0);
        CHECK_FAILS(scene_step(&s), CN_ERR_NUMERIC, "4 optimizer steps in a row");
        CHECK(scene_hash(s.model) == policy && scene_hash(s.critic) == critic);
        scene_close(&s);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
