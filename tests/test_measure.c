/* Numbers of a step: what does not exist is absent, never a 0. */
#include "check.h"

#include "trainer/measure.h"

#include <math.h>

static void measure(bool dropped, struct cn_arena *arena, struct cn_metrics *metrics)
{
    const size_t lengths[] = {3, 3};
    struct cn_batch batch;
    CHECK_OK(cn_batch_init(&batch, arena, lengths, 2));
    for (size_t t = 0; t < batch.n_tokens; t++) {
        batch.role[t] = t % 3 ? CN_ROLE_POLICY : CN_ROLE_PROMPT;
        batch.logp_old[t] = -1;
        batch.logp_sampled[t] = -1.5;
        batch.entropy_sampled[t] = 2;
    }
    batch.drop[0] = batch.drop[1] = dropped ? CN_DROP_UNSCORED : CN_DROP_NONE;
    cn_metrics_init(metrics, arena);
    CHECK_OK(measure_rewards(&batch, metrics));
    CHECK_OK(measure_mismatch(&batch, metrics));
}

TEST(a_step_whose_sequences_were_all_dropped_has_no_mismatch_and_no_reward)
{
    static const char *const names[] = {"mismatch/logprob_abs_mean",
                                        "mismatch/logprob_abs_max",
                                        "mismatch/kl",
                                        "policy/entropy_sampled",
                                        "reward/mean",
                                        "reward/std"};
    struct cn_arena arena;
    struct cn_metrics metrics;
    cn_arena_init(&arena);
    measure(false, &arena, &metrics);
    CHECK_NEAR(cn_metrics_value(&metrics, "mismatch/logprob_abs_mean", 0), 0.5, 1e-12);
    CHECK_NEAR(cn_metrics_value(&metrics, "policy/entropy_sampled", 0), 2, 1e-12);
    measure(true, &arena, &metrics);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!isnan(cn_metrics_value(&metrics, names[i], (double)NAN)))
            CHECK_FAILED("%s is %g, expected none", names[i],
                         cn_metrics_value(&metrics, names[i], (double)NAN));
    cn_arena_free(&arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
