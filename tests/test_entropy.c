/* Entropy methods against their papers' numbers (methods-entropy-1, sections 4 and 6.4). */
#include "check.h"
#include "fixtures.h"

#define OPEN(f)                                                                                    \
    struct fixture f;                                                                              \
    fixture_open(&f);                                                                              \
    CHECK_OK(fixture_b0(&f))

TEST(a_bonus_adds_its_coefficient_times_the_mean_entropy)
{
    OPEN(plain);
    OPEN(f);
    CHECK_OK(fixture_run(&plain, "{\"aggregation\": \"token_mean\"}", NULL));
    CHECK_OK(fixture_run(&f, "{\"aggregation\": \"token_mean\"}",
                         "{\"methods\": [\"bonus\"], \"bonus\": {\"coefficient\": 0.01}}"));
    CHECK_NEAR(f.grad.loss - plain.grad.loss, -0.01 * 1.06, 1e-15); /* mean H of B0 is 1.06 */
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
        CHECK_NEAR(f.grad.d_entropy[t], t == 6 ? 0 : -0.01 / 15, 1e-17);
        CHECK(f.grad.d_logp[t] == plain.grad.d_logp[t]);
    }
    fixture_close(&plain);
    fixture_close(&f);
}

TEST(a_bonus_follows_the_aggregation_of_the_policy_loss)
{
    OPEN(f);
    CHECK_OK(fixture_run(&f, "\"grpo\"", "[{\"type\": \"bonus\", \"coefficient\": 1}]"));
    CHECK_NEAR(f.grad.d_entropy[0], -0.0555556, 6e-8);
    CHECK_NEAR(f.grad.d_entropy[3], -0.0833333, 6e-8);
    fixture_close(&f);
}

TEST(a_restricted_bonus_asks_for_its_channel_and_for_no_other)
{
    OPEN(f);
    CHECK_OK(fixture_run(&f, "{\"aggregation\": \"token_mean\"}",
                         "[{\"type\": \"restricted_bonus\", \"coefficient\": 0.5, \"form\": "
                         "\"top_k\", \"amount\": 20, \"renormalised\": false}]"));
    CHECK_INT(f.recipe.needs_live, CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy_top));
    CHECK_INT(f.recipe.top.form, CN_TOP_K);
    CHECK_NEAR(f.recipe.top.amount, 20, 0);
    CHECK(!f.recipe.top.renormalised);
    CHECK(!f.recipe.prepare_live);
    CHECK_NEAR(f.grad.d_entropy_top[0], -0.5 / 15, 1e-17);
    CHECK(f.grad.d_entropy[0] == 0);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/restricted_bonus/entropy", 0), 0.8 * 1.06,
               1e-12);
    fixture_close(&f);
}

/* Coefficients that the controller uses on a run of rollouts whose entropies are e. */
static void trace(const char *method, const double *e, size_t n, const double *used,
                  const double *coefficient)
{
    OPEN(f);
    CHECK_OK(fixture_recipe(&f, "{\"aggregation\": \"token_mean\"}", method));
    const double *state = f.recipe.entropy[0].state;
    for (size_t k = 0; k < n; k++) {
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
            f.batch.entropy_sampled[t] = e[k];
            f.batch.logp_sampled[t] = -e[k];
        }
        f.call.step = k;
        CHECK_OK(fixture_prepare(&f));
        CHECK_OK(fixture_loss(&f));
        CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/adaptive/actual", -1), e[k], 1e-15);
        CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/adaptive/coefficient", -1), used[k],
                   1e-18);
        CHECK_NEAR(f.grad.d_entropy[0], -used[k] / 15, 1e-18);
        CHECK_NEAR(state[0], coefficient[k], 1e-18);
    }
    fixture_close(&f);
}

static const double falling[] = {.35, .25, .18, .15, .19, .20, .21, .17};
static const double capped[] = {.1, .1, .1, .3, .3, .3};

TEST(the_adaptive_coefficient_follows_the_papers_trace)
{
    trace("\"adaptive\"", falling, 8, (double[]){0, 0, 0, 1e-4, 2e-4, 3e-4, 0, 2e-4},
          (double[]){0, 0, 0, 1e-4, 2e-4, 3e-4, 3e-4, 2e-4});
    trace("[{\"type\": \"adaptive\", \"step\": 0.003}]", capped, 6,
          (double[]){0, .003, .005, 0, 0, 0}, (double[]){0, .003, .005, .005, .002, 0});
}

TEST(the_adaptive_coefficient_follows_the_released_codes_trace)
{
    trace("[{\"type\": \"adaptive\", \"form\": \"released\"}]", falling, 8,
          (double[]){0, 0, 0, 1e-4, 2e-4, 3e-4, 0, 0},
          (double[]){0, 0, 0, 1e-4, 2e-4, 3e-4, 2e-4, 1e-4});
    trace("[{\"type\": \"adaptive\", \"form\": \"released\", \"step\": 0.003}]", capped, 6,
          (double[]){0, .003, .005, .005, 0, 0}, (double[]){0, .003, .005, .005, .002, 0});
}

TEST(only_the_main_part_moves_the_adaptive_coefficient)
{
    OPEN(f);
    for (size_t s = 3; s < 6; s++)
        f.batch.part[s] = CN_PART_AUXILIARY;
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
        f.batch.entropy_sampled[t] = t < 9 ? 1 : 5;
    CHECK_OK(fixture_run(&f, NULL, "\"adaptive\""));
    CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/adaptive/actual", -1), 1, 0);
    fixture_close(&f);
}

TEST(a_method_in_shadow_changes_nothing)
{
    OPEN(plain);
    OPEN(f);
    CHECK_OK(fixture_run(&plain, NULL, NULL));
    CHECK_OK(fixture_run(&f, NULL, "{\"methods\": [], \"shadow\": [\"adaptive\"]}"));
    CHECK_INT(f.recipe.n_shadow, 1);
    CHECK(f.grad.loss == plain.grad.loss);
    CHECK(f.grad.d_entropy[0] == 0);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/adaptive/actual", -1), 1.06, 1e-15);
    fixture_close(&plain);
    fixture_close(&f);
}

TEST(two_restrictions_of_the_entropy_are_refused)
{
    OPEN(f);
    CHECK_FAILS(fixture_recipe(&f, NULL,
                               "{\"methods\": [\"restricted_bonus\"], \"shadow\": [{\"type\": "
                               "\"restricted_bonus\", \"amount\": 0.5}]}"),
                CN_ERR_CONFIG, "one restricted entropy per run");
    fixture_close(&f);
}

TEST(aent_keeps_its_share_of_the_vocabulary_and_steers_the_coefficient_into_the_band)
{
    /* Clamped entropies of five rollouts, and the coefficient that each is trained with. */
    static const double entropy[] = {0.01, 0.04, 0.15, 0.83, 0.33};
    static const double used[] = {0.2, 0.2, 0.205, 0.205, 0.15};
    OPEN(f);
    CHECK_OK(fixture_recipe(&f, "{\"aggregation\": \"token_mean\"}",
                            "[{\"type\": \"aent\", \"coefficient\": 0.2, \"rate\": 1, "
                            "\"largest\": 0.205, \"smallest\": 0.15, \"warmup\": 1, \"clamp\": "
                            "0.3}]"));
    CHECK_INT(f.recipe.top.form, CN_TOP_SHARE);
    CHECK_NEAR(f.recipe.top.amount, 0.7, 1e-15);
    CHECK_NEAR(cn_top_count(&f.recipe.top, 10), 7, 0);
    for (size_t k = 0; k < 5; k++) {
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            f.channel[CN_CHANNEL_entropy_top][t] = entropy[k];
        cn_metrics_init(&f.metrics, &f.arena);
        CHECK_OK(fixture_prepare(&f));
        CHECK_OK(fixture_loss(&f));
        CHECK_NEAR(f.grad.d_entropy_top[0], -used[k] / 15, 1e-15);
        const struct cn_step_summary summary = {.metrics = &f.metrics};
        CHECK_OK(cn_loss_adapt(&f.call, &summary));
    }
    fixture_close(&f);
}

/* Whatever stands in another part, the main part's weights and marks stay as they are. */
TEST(no_statistic_of_a_method_mixes_parts)
{
    for (size_t m = 0; cn_entropies[m]; m++) {
        double weight[2][512];
        uint32_t touched[2][512];
        char method[128];
        size_t n = 0;
        snprintf(method, sizeof method, "[{\"type\": \"%s\"%s}]", cn_entropies[m]->name,
                 cn_option_find(cn_entropies[m]->options, "fraction") ? ", \"fraction\": 0.3" : "");
        for (int pass = 0; pass < 2; pass++) {
            struct fixture f;
            fixture_open(&f);
            CHECK_OK(fixture_random(&f, 21, 6, 4));
            n = f.batch.n_tokens;
            CHECK(n <= 512);
            for (size_t s = 16; s < 24; s++) {
                f.batch.part[s] = CN_PART_AUXILIARY;
                f.batch.reward[s] *= pass ? 40 : 1;
                for (size_t t = f.batch.seq_start[s]; pass && t < f.batch.seq_start[s + 1]; t++) {
                    for (int c = 0; c < CN_CHANNEL_COUNT; c++)
                        f.channel[c][t] *= 1.7;
                    f.batch.entropy_old[t] *= 1.7;
                }
            }
            CHECK_OK(fixture_recipe(&f, "{\"aggregation\": \"token_mean\"}", method));
            CHECK_OK(fixture_prepare(&f));
            memcpy(weight[pass], f.batch.weight, f.batch.seq_start[16] * sizeof(double));
            memcpy(touched[pass], f.batch.touched, f.batch.seq_start[16] * sizeof(uint32_t));
            n = f.batch.seq_start[16];
            fixture_close(&f);
        }
        for (size_t t = 0; t < n; t++)
            if (weight[0][t] != weight[1][t] || touched[0][t] != touched[1][t]) {
                CHECK_FAILED("%s: weight %.17g and %.17g, touched %u and %u", cn_entropies[m]->name,
                             weight[0][t], weight[1][t], touched[0][t], touched[1][t]);
                break;
            }
    }
}

/* Entropy methods in pairs, or beside an entry of an axis. */
TEST(methods_that_work_against_each_other_are_refused)
{
    static const struct {
        const char *algorithm, *entropy, *reason;
    } cases[] = {
        {NULL, "[\"clip_cov\", \"kl_cov\"]", "highest covariance"},
        {NULL, "[\"siren\", \"bonus\"]", "anchor"},
        {NULL, "[\"steer\", \"archer\"]", "choose one"},
        {NULL, "[\"aepo\", \"cure\"]", "answers of its own"},
        {NULL, "[\"adaptive\", \"aepo\"]", "at a target"},
        {NULL, "[\"aent\", \"bonus\"]", "choose one"},
        {"{\"ratio\": \"seq_geo\"}", "\"entropy_advantage\"", "seq_geo_token"},
        {"{\"surrogate\": \"dro\"}", "\"entropy_advantage\"", "proportional"},
        {"{\"surrogate\": \"cispo\"}", "\"archer\"", "surrogate=ppo"},
        {NULL, "[{\"type\": \"clip_cov\", \"low\": 6}]", "no token"},
        {NULL, "[{\"type\": \"steer\", \"maximum\": 2}]", "map=linear"},
        {NULL, "[{\"type\": \"steer\", \"map\": \"linear\", \"floor\": 1}]", "only the map exp"},
        {NULL, "[{\"type\": \"aent\", \"low\": 1}]", "low=1"},
    };
    OPEN(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_FAILS(fixture_recipe(&f, cases[i].algorithm, cases[i].entropy), CN_ERR_CONFIG,
                    cases[i].reason);
    CHECK_OK(fixture_recipe(&f, NULL, "\"kl_cov\""));
    CHECK(f.recipe.needs_updates && f.recipe.needs_updates->updates_minimum == 2);
    CHECK_OK(fixture_recipe(&f, NULL, "{\"methods\": [], \"shadow\": [\"kl_cov\"]}"));
    CHECK(!f.recipe.needs_updates);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
