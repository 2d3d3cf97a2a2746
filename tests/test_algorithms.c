/* Axes and rows against the golden numbers of methods-base (sections 2 to 8), and what must hold
 * for every row. */
#include "check.h"
#include "fixtures.h"

static const double digits7 = 6e-8; /* the references print seven decimals */

#define OPEN(f)                                                                                    \
    struct fixture f;                                                                              \
    fixture_open(&f);                                                                              \
    CHECK_OK(fixture_b0(&f))

/* ---- golden losses and seeds dL/dlogp ------------------------------------ */

struct golden {
    const char *name, *algorithm;
    double loss, d_logp[FIXTURE_B0_TOKENS];
};

// clang-format off
static const struct golden goldens[] = {
    {"grpo (4.1)", "\"grpo\"", 0.1207739300,
     {-0.0708966, 0, -0.0610213, 0, 0.1597389, 0.0337195, 0, 0.0290226, 0.0354483, -0.0356426, -0.0558987, 0, -0.0320750, -0.0327229, 0.0915319, 0.1365496}},
    {"grpo with 0.1 k3 (4.1)", "{\"type\": \"grpo\", \"kl\": {\"type\": \"k3\", \"coefficient\": 0.1}}", 0.1291753759,
     {-0.0698896, 0.0005287, -0.0611905, -0.0047359, 0.1663898, 0.0335503, 0, 0.0297965, 0.0357193, -0.0369912, -0.0551057, 0.0006772, -0.0316478, -0.0327788, 0.0933753, 0.1377104}},
    {"dr_grpo (4.2)", "\"dr_grpo\"", 0.0019884431,
     {-0.0153496, 0, -0.0132115, 0, 0.0230564, 0.0073005, 0, 0.0062836, 0.0076748, -0.0051446, -0.0080683, 0, -0.0069444, -0.0070847, 0.0132115, 0.0197093}},
    {"rloo (4.3 a)", "\"rloo\"", -0.1933333333,
     {-0.1666667, -0.1666667, -0.1666667, 0.0833333, 0.0833333, 0.0833333, 0, 0.0833333, 0.0833333, -0.0833333, -0.0833333, -0.0833333, -0.0833333, -0.0833333, 0.1666667, 0.1666667}},
    {"rloo of TRL (4.3 b)", "{\"type\": \"rloo\", \"ratio\": \"seq_product\", \"surrogate\": \"ppo\", \"aggregation\": \"seq_mean_token_mean\"}", 0.1458236539,
     {0, 0, 0, 0.2049669, 0.2049669, 0.0876059, 0, 0.0876059, 0.0876059, -0.0717257, -0.0717257, 0, 0, 0, 0.2249765, 0.2249765}},
    {"gpg (4.8)", "{\"type\": \"rloo\", \"advantage\": \"group_mean\", \"aggregation\": \"token_mean\"}", -0.0515555556,
     {-0.0444444, -0.0444444, -0.0444444, 0.0222222, 0.0222222, 0.0222222, 0, 0.0222222, 0.0222222, -0.0222222, -0.0222222, -0.0222222, -0.0222222, -0.0222222, 0.0444444, 0.0444444}},
    {"dapo (5.1)", "{\"type\": \"dapo\", \"shaping\": []}", 0.0017834632,
     {-0.0850759, 0, -0.0732255, 0, 0.1277911, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, -0.0447189, 0, -0.0384900, -0.0392675, 0.0732255, 0.1092397}},
    {"dapo by prompts (5.1)", "{\"type\": \"dapo\", \"shaping\": [], \"aggregation\": \"prompt_mean\"}", -0.0007109085,
     {-0.0797587, 0, -0.0686490, 0, 0.1198042, 0.0379344, 0, 0.0326505, 0.0398794, -0.0305508, -0.0479132, 0, -0.0412392, -0.0420723, 0.0784559, 0.1170425}},
    {"dapo with dual clip (5.1)", "{\"type\": \"dapo\", \"shaping\": [], \"surrogate\": {\"dual_clip\": 3}}", -0.0105378216,
     {-0.0850759, 0, -0.0732255, 0, 0, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, -0.0447189, 0, -0.0384900, -0.0392675, 0.0732255, 0.1092397}},
    {"gspo (5.2)", "{\"type\": \"grpo\", \"ratio\": \"seq_geo\", \"surrogate\": {\"clip_low\": 0.05, \"clip_high\": 0.06}}", 0.0770803147,
     {0, 0, 0, 0.0754553, 0.0754553, 0.0326140, 0, 0.0326140, 0.0326140, -0.0446360, -0.0446360, 0, 0, 0, 0.1117974, 0.1117974}},
    {"gspo-token (5.2)", "{\"type\": \"grpo\", \"ratio\": \"seq_geo_token\", \"surrogate\": {\"clip_low\": 0.05, \"clip_high\": 0.06}}", 0.0770803147,
     {0, 0, 0, 0.0754553, 0.0754553, 0.0326140, 0, 0.0326140, 0.0326140, -0.0446360, -0.0446360, 0, 0, 0, 0.1117974, 0.1117974}},
    {"luspo (5.2)", "{\"type\": \"grpo\", \"ratio\": \"seq_geo\", \"surrogate\": {\"clip_low\": 0.05, \"clip_high\": 0.06}, \"aggregation\": \"seq_mean_token_sum\"}", -0.0539924181,
     {0, 0, 0, 0.1509106, 0.1509106, 0.0978421, 0, 0.0978421, 0.0978421, -0.0892720, -0.0892720, 0, 0, 0, 0.2235947, 0.2235947}},
    {"cispo (5.3)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"surrogate\": {\"type\": \"cispo\", \"clip_high\": 0.2}}", -0.0681893879,
     {-0.0850759, -0.0923759, -0.0732255, 0.0285141, 0.0461879, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, -0.0447189, -0.0461879, -0.0384900, -0.0392675, 0.0732255, 0.0923759}},
    {"gmpo (5.4)", "{\"type\": \"grpo\", \"ratio\": {\"type\": \"clipped_geo\", \"clip_low\": 0.22, \"clip_high\": 0.22}, \"surrogate\": \"importance\"}", 0.0744214673,
     {-0.0701912, 0, -0.0701912, 0, 0.0785347, 0.0326140, 0, 0.0326140, 0.0326140, -0.0446360, -0.0446360, 0, -0.0347464, -0.0347464, 0.1117974, 0.1117974}},
    {"sapo (5.5)", "{\"type\": \"grpo\", \"surrogate\": \"sapo\"}", 0.0339081372,
     {-0.0707009, -0.0839967, -0.0609850, 0.0349907, 0.0472735, 0.0336951, 0, 0.0289503, 0.0353405, -0.0350506, -0.0555343, -0.0403655, -0.0320750, -0.0327196, 0.0914720, 0.1301476}},
    {"is_reinforce (5.6)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"surrogate\": \"is_reinforce\"}", -0.1299389293,
     {-0.0850759, -0.1039120, -0.0732255, 0.0285141, 0.1277911, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, -0.0447189, -0.0494221, -0.0384900, -0.0392675, 0.0732255, 0.1092397}},
    {"dppo (5.6)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"surrogate\": {\"type\": \"dppo\", \"low\": 0.106, \"high\": 0.106}}", -0.1097532022,
     {-0.0850759, -0.1039120, -0.0732255, 0, 0.1277911, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, 0, -0.0494221, -0.0384900, -0.0392675, 0.0732255, 0.1092397}},
    /* Tokens 3 and 10: KL(old || new) is 0.0292 and 0.0310, the other way round 0.0281 and 0.0285. */
    {"dppo by the binary KL (5.6)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"surrogate\": {\"type\": \"dppo\", \"divergence\": \"kl\", \"low\": 0.0287, \"high\": 0.0287}}", -0.1097532022,
     {-0.0850759, -0.1039120, -0.0732255, 0, 0.1277911, 0.0404634, 0, 0.0348271, 0.0425380, -0.0285141, 0, -0.0494221, -0.0384900, -0.0392675, 0.0732255, 0.1092397}},
    {"dro (5.6)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"surrogate\": \"dro\"}", -0.0827786870,
     {-0.0763132, -0.0749799, -0.0773132, 0.0364900, 0.0464900, 0.0388233, 0, 0.0378233, 0.0391566, -0.0404900, -0.0374900, -0.0368233, -0.0384900, -0.0383566, 0.0766466, 0.0793132}},
    {"vespo (5.6)", "{\"type\": \"grpo\", \"aggregation\": \"token_mean\", \"ratio\": \"seq_product_token\", \"surrogate\": \"vespo\"}", -0.1729331537,
     {-0.0440948, -0.0440948, -0.0440948, 0.0309134, 0.0309134, 0.0403606, 0, 0.0403606, 0.0403606, -0.0433052, -0.0433052, -0.0260627, -0.0260627, -0.0260627, 0.0940500, 0.0940500}},
    {"tis (8.2)", "{\"type\": \"dapo\", \"shaping\": [], \"correction\": \"truncate\"}", 0.0278361991,
     {-0.0867946, 0, -0.0732255, 0, 0.1343431, 0.0447189, 0, 0.0156488, 0.0421147, -0.0296777, -0.0421147, 0, -0.0396621, -0.0384900, 0.0793243, 0.1049563}},
    {"icepop (8.2)", "{\"type\": \"dapo\", \"shaping\": [], \"correction\": \"mask\"}", 0.0263394337,
     {-0.0867946, 0, -0.0732255, 0, 0.1343431, 0.0447189, 0, 0, 0.0421147, -0.0296777, -0.0421147, 0, -0.0396621, -0.0384900, 0.0793243, 0.1049563}},
    {"tis by sequences (8.2)", "{\"type\": \"dapo\", \"shaping\": [], \"correction\": {\"type\": \"truncate\", \"level\": \"sequence\"}}", 0.1106433612,
     {-0.0842294, 0, -0.0724969, 0, 0.2555823, 0.0198936, 0, 0.0171226, 0.0209135, -0.0279494, -0.0438334, 0, -0.0388768, -0.0396621, 0.0762139, 0.1136978}},
};
// clang-format on

TEST(golden_losses_and_seeds_of_the_references_are_met)
{
    for (size_t i = 0; i < sizeof goldens / sizeof *goldens; i++) {
        const struct golden *g = &goldens[i];
        int before = check_failures;
        OPEN(f);
        CHECK_OK(fixture_run(&f, g->algorithm, NULL));
        CHECK_NEAR(f.grad.loss, g->loss, 2e-10);
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            CHECK_NEAR(f.grad.d_logp[t], g->d_logp[t], digits7);
        CHECK(f.grad.d_logp[6] == 0);
        if (check_failures != before) printf("  in %s\n", g->name);
        fixture_close(&f);
    }
}

TEST(golden_critic_loss_and_ppo_loss_are_met)
{
    static const double d_value[] = {-0.0332613, 0,          -0.0265333, 0.0638513,
                                     0.0160000,  0.0261154,  0,          0.0208582,
                                     0.0063333,  -0.0308252, -0.0170000, -0.0292409,
                                     -0.0263281, -0.0102000, 0.0294260,  0};
    static const double d_logp[] = {
        -0.0930093, 0,          -0.0399249, 0, 0.2167807,  0.0866215,  0,         0.0473464,
        0.0359273,  -0.0453395, -0.0598986, 0, -0.0549045, -0.0265251, 0.0863201, 0.1021987};
    OPEN(f);
    CHECK_OK(fixture_run(&f,
                         "{\"type\": \"ppo\", \"advantage\": {\"type\": \"gae\", \"gamma\": 0.99}, "
                         "\"critic\": \"clipped\", \"kl\": {\"type\": \"k1\", \"coefficient\": "
                         "0.1}}",
                         NULL));
    CHECK_NEAR(f.grad.loss, 0.1376845951 + 0.0868806535, 2e-10);
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
        CHECK_NEAR(f.grad.d_value[t], d_value[t], digits7);
        CHECK_NEAR(f.grad.d_logp[t], d_logp[t], digits7);
    }
    CHECK_NEAR(cn_metrics_value(&f.metrics, "critic/clip_frac", -1), .1333333, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "critic/explained_variance", -1), .3910423, digits7);
    fixture_close(&f);
}

/* The divergences are computed alone by taking the same batch without them away. */
TEST(golden_kl_terms_are_met)
{
    static const struct {
        const char *kl;
        double loss, d_first, d_fourth;
    } cases[] = {{"{\"type\": \"k2\", \"coefficient\": 1}", 0.0993400000, 0.0133333, 0.1066667},
                 {"{\"type\": \"k3\", \"coefficient\": 1}", 0.0682710472, 0.0120846, 0.0532069},
                 {"{\"type\": \"k3\", \"coefficient\": 1, \"importance\": true}", 0.1906511670,
                  0.0147356, 0.3541458},
                 {"{\"type\": \"straight_through\", \"coefficient\": 1}", 0.0682710472, 0.0133333,
                  0.1066667}};
    OPEN(plain);
    CHECK_OK(fixture_run(&plain, "{\"aggregation\": \"token_mean\"}", NULL));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        OPEN(f);
        snprintf(text, sizeof text, "{\"aggregation\": \"token_mean\", \"kl\": %s}", cases[i].kl);
        CHECK_OK(fixture_run(&f, text, NULL));
        CHECK_NEAR(f.grad.loss - plain.grad.loss, cases[i].loss, 2e-10);
        CHECK_NEAR(f.grad.d_logp[0] - plain.grad.d_logp[0], cases[i].d_first, digits7);
        CHECK_NEAR(f.grad.d_logp[4] - plain.grad.d_logp[4], cases[i].d_fourth, digits7);
        fixture_close(&f);
    }
    fixture_close(&plain);
}

TEST(kl_controller_follows_its_golden_trace)
{
    OPEN(f);
    CHECK_OK(fixture_recipe(&f,
                            "{\"kl\": {\"type\": \"k1\", \"coefficient\": 0.001, \"target\": 0.1, "
                            "\"horizon\": 58.59375}}",
                            NULL));
    /* 6 sequences and a horizon of 58.59375 are 1024 and 10000 of methods-base 3.6. */
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
        f.batch.logp_ref[t] = f.batch.logp_old[t] - 0.15;
    CHECK_OK(fixture_prepare(&f));
    CHECK_NEAR(cn_metrics_value(&f.metrics, "kl/coefficient", 0), 0.001, 0);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "kl/reward_kl", 0), 0.15, 1e-15);
    CHECK_OK(fixture_prepare(&f));
    CHECK_NEAR(cn_metrics_value(&f.metrics, "kl/coefficient", 0), 0.00102048, 1e-15);
    fixture_close(&f);
}

TEST(golden_metrics_are_met)
{
    OPEN(f);
    CHECK_OK(fixture_run(&f,
                         "{\"type\": \"dapo\", \"shaping\": [], \"surrogate\": {\"dual_clip\": 3}, "
                         "\"correction\": \"truncate\"}",
                         "\"bonus\""));
    CHECK_NEAR(cn_metrics_value(&f.metrics, "policy/clip_frac_high", -1), .1333333, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "policy/clip_frac_low", -1), .0666667, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "policy/clip_frac_dual", -1), .0666667, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "policy/approx_kl", -1), .0923767, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "policy/entropy", -1), 1.06, 1e-12);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "correction/ess", -1), .9256446, digits7);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "group/zero_std_frac", -1), 0, 0);
    CHECK_OK(
        fixture_run(&f, "{\"type\": \"dapo\", \"shaping\": [], \"correction\": \"mask\"}", NULL));
    CHECK_NEAR(cn_metrics_value(&f.metrics, "correction/ess", -1), .8387128, digits7);
    fixture_close(&f);
}

/* ---- what must hold for every row ---------------------------------------- */

/* A row's text without parts that need more than a batch. */
static const char *row_text(const struct cn_algorithm *row, char *out, size_t size)
{
    snprintf(out, size, "\"%s\"", row->name);
    return out;
}

TEST(no_row_sees_what_stands_at_untrained_tokens)
{
    char text[64];
    for (const struct cn_algorithm *const *row = cn_algorithms; *row; row++) {
        struct fixture clean, poisoned;
        fixture_open(&clean);
        fixture_open(&poisoned);
        CHECK_OK(fixture_random(&clean, 7, 3, 4));
        CHECK_OK(fixture_random(&poisoned, 7, 3, 4));
        fixture_poison(&poisoned);
        CHECK_OK(fixture_run(&clean, row_text(*row, text, sizeof text), "\"bonus\""));
        CHECK_OK(fixture_run(&poisoned, text, "\"bonus\""));
        CHECK(clean.grad.loss == poisoned.grad.loss);
        for (size_t t = 0; t < clean.batch.n_tokens; t++)
            CHECK(clean.grad.d_logp[t] == poisoned.grad.d_logp[t]);
        fixture_close(&clean);
        fixture_close(&poisoned);
    }
}

TEST(atoms_change_no_bit_of_the_gradient)
{
    char text[64];
    for (const struct cn_algorithm *const *row = cn_algorithms; *row; row++) {
        struct fixture whole, split;
        fixture_open(&whole);
        fixture_open(&split);
        CHECK_OK(fixture_random(&whole, 11, 3, 6));
        CHECK_OK(fixture_random(&split, 11, 3, 6));
        split.atom = 1;
        for (size_t q = 0; q < whole.batch.n_sequences; q++)
            whole.batch.reward[q] = split.batch.reward[q] = whole.batch.score[q] =
                split.batch.score[q] = q % 3 == 0;
        /* Close to the old policy, so that no row's bound stops every sequence. */
        for (size_t t = 0; t < whole.batch.n_tokens; t++)
            whole.channel[CN_CHANNEL_logp][t] = split.channel[CN_CHANNEL_logp][t] =
                whole.batch.logp_old[t] + 1e-4 * (double)((int)(t % 5) - 2);
        CHECK_OK(fixture_run(&whole, row_text(*row, text, sizeof text), NULL));
        CHECK_OK(fixture_run(&split, text, NULL));
        CHECK_NEAR(whole.grad.loss, split.grad.loss, 1e-14);
        bool any = false;
        for (size_t t = 0; t < whole.batch.n_tokens; t++) {
            CHECK(whole.grad.d_logp[t] == split.grad.d_logp[t]);
            any = any || whole.grad.d_logp[t] != 0;
        }
        /* A greedy baseline has nothing to compare with here, and says so. */
        CHECK(any || cn_metrics_value(&whole.metrics, "advantage/without_baseline", 0) > 0);
        CHECK(cn_metrics_value(&whole.metrics, "policy/approx_kl", 0) ==
              cn_metrics_value(&split.metrics, "policy/approx_kl", 1));
        fixture_close(&whole);
        fixture_close(&split);
    }
}

TEST(a_group_of_equal_rewards_gets_exactly_nothing)
{
    static const char *const rows[] = {"\"grpo\"", "\"dr_grpo\"", "\"rloo\"",
                                       "{\"type\": \"dapo\", \"shaping\": []}"};
    for (size_t i = 0; i < 4; i++) {
        OPEN(f);
        for (size_t s = 0; s < 3; s++)
            f.batch.reward[s] = 0.1; /* not exact in binary: a deviation would be about 1e-17 */
        CHECK_OK(fixture_run(&f, rows[i], NULL));
        for (size_t t = 0; t < 9; t++)
            CHECK(f.grad.d_logp[t] == 0);
        CHECK(f.grad.d_logp[9] != 0);
        CHECK_NEAR(cn_metrics_value(&f.metrics, "group/zero_std_frac", -1), 0.5, 0);
        fixture_close(&f);
    }
}

/* ---- sequences that are not trained -------------------------------------- */

TEST(an_overlong_answer_counts_in_its_group_but_is_not_trained)
{
    OPEN(f);
    f.batch.stop[1] = CN_STOP_LENGTH;
    CHECK_OK(fixture_run(&f, "{\"shaping\": \"overlong_filter\"}", NULL));
    CHECK_INT(f.batch.drop[1], CN_DROP_OVERLONG);
    CHECK_NEAR(f.batch.advantage[0], 1.154698538, 1e-9);
    CHECK(f.batch.advantage[3] == 0 && f.grad.d_logp[3] == 0);
    CHECK_NEAR(f.counts[CN_PART_MAIN].sequences, 5, 0);
    CHECK_NEAR(f.counts[CN_PART_MAIN].tokens, 13, 0);
    fixture_close(&f);
}

TEST(an_unscored_answer_counts_nowhere)
{
    OPEN(f);
    f.batch.drop[1] = CN_DROP_UNSCORED;
    f.batch.reward[1] = NAN;
    CHECK_OK(fixture_run(&f, "\"rloo\"", NULL));
    CHECK_NEAR(f.batch.advantage[0], 1, 0);
    CHECK_NEAR(f.batch.advantage[5], -1, 0);
    CHECK(f.grad.d_logp[3] == 0);
    fixture_close(&f);
}

TEST(what_is_left_of_a_group_is_dropped_if_it_is_too_small)
{
    OPEN(f);
    f.batch.drop[0] = f.batch.drop[1] = CN_DROP_UNSCORED;
    CHECK_OK(fixture_run(&f, "\"grpo\"", NULL));
    CHECK_INT(f.batch.drop[2], CN_DROP_NO_SPREAD);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "group/too_small", 0), 1, 0);
    CHECK_NEAR(f.counts[CN_PART_MAIN].groups, 1, 0);
    fixture_close(&f);
}

TEST(a_step_without_trained_tokens_has_no_loss)
{
    OPEN(f);
    memset(f.batch.drop, CN_DROP_SURPLUS, 6);
    CHECK_OK(fixture_run(&f, "\"grpo\"", "\"bonus\""));
    CHECK(f.grad.loss == 0);
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
        CHECK(f.grad.d_logp[t] == 0 && f.grad.d_entropy[t] == 0);
    fixture_close(&f);
}

TEST(a_value_that_is_not_finite_is_named)
{
    OPEN(f);
    f.channel[CN_CHANNEL_logp][4] = NAN;
    CHECK_FAILS(fixture_run(&f, "\"grpo\"", NULL), CN_ERR_NUMERIC, "sequence 1");
    f.channel[CN_CHANNEL_logp][4] = -1;
    f.batch.reward[2] = INFINITY;
    CHECK_FAILS(fixture_run(&f, "\"grpo\"", NULL), CN_ERR_NUMERIC, "reward is inf");
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
