/* Steps from which nothing can be learned: each is counted, none is a division by zero. */
#include "check.h"
#include "update_scene.h"

static const char table[] =
    "{\"type\": \"table\", \"vocab_size\": 23, \"order\": 2, \"states\": 529, \"context\": 64}";
static const char rates[] = "{\"train\": {\"mini_batches\": 2}, \"optimizer\": {\"lr\": 0.05, "
                            "\"weight_decay\": 0}, \"critic_optimizer\": {\"weight_decay\": 0}, "
                            "\"update\": {\"bad_steps_max\": 3}}";
static const char *const rows[] = {"\"grpo\"", "\"gspo\"", "\"gmpo\"", "\"rloo\"",
                                   "{\"type\": \"dapo\", \"shaping\": []}"};
enum { ROWS = sizeof rows / sizeof *rows };

static void open_row(struct scene *s, const char *algorithm)
{
    const struct scene_setup setup = {
        .type = "table", .init = table, .config = rates, .algorithm = algorithm};
    CHECK_OK(scene_open(s, &setup));
}

TEST(an_empty_step_is_counted_and_moves_nothing)
{
    static const char *const all[] = {"\"grpo\"", "\"gspo\"", "\"ppo\"", "\"rloo\""};
    for (size_t i = 0; i < 4; i++) {
        struct scene s;
        open_row(&s, all[i]);
        const uint64_t before = scene_hash(s.model);
        s.drop = CN_DROP_NO_SPREAD;
        CHECK_OK(scene_step(&s));
        CHECK_NEAR(cn_metrics_value(&s.metrics, "update/empty", 0), 2, 0);
        CHECK(scene_hash(s.model) == before);
        CHECK_INT(s.update.optimizer_steps, 0);
        scene_close(&s);
    }
}

TEST(groups_without_spread_give_exactly_no_gradient)
{
    for (size_t i = 0; i < ROWS; i++) {
        struct scene s;
        open_row(&s, rows[i]);
        const uint64_t before = scene_hash(s.model);
        for (size_t q = 0; q < s.batch.n_sequences; q++)
            s.batch.score[q] = 0.1;
        CHECK_OK(scene_step(&s));
        CHECK_NEAR(cn_metrics_value(&s.metrics, "group/zero_std_frac", 0), 1, 0);
        CHECK_NEAR(cn_metrics_value(&s.metrics, "optim/grad_norm", -1), 0, 0);
        CHECK(scene_hash(s.model) == before);
        scene_close(&s);
    }
}

TEST(log_probabilities_that_are_not_finite_skip_the_step_and_end_the_run)
{
    for (size_t i = 0; i < ROWS; i++) {
        struct scene s;
        const struct cn_buffer *weights;
        size_t n;
        open_row(&s, rows[i]);
        CHECK_OK(cn_model_weights(s.model, &weights, &n));
        for (size_t k = 0; k < weights[0].count; k++)
            ((float *)weights[0].data)[k] = NAN;
        CHECK_OK(scene_step(&s)); /* two optimizer steps */
        CHECK_NEAR(cn_metrics_value(&s.metrics, "update/skipped", 0), 2, 0);
        CHECK_INT(s.update.bad_steps, 2);
        CHECK_FAILS(scene_step(&s), CN_ERR_NUMERIC, "update.bad_steps_max=3");
        scene_close(&s);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
