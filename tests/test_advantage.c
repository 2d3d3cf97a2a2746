/* Advantage estimators against the golden numbers of methods-base (section 4) and methods-entropy-1
 * (sections 4.7 to 4.9 and 6.4). */
#include "check.h"
#include "fixtures.h"

static const double digits7 = 6e-8; /* the references print seven decimals */

#define OPEN(f)                                                                                    \
    struct fixture f;                                                                              \
    fixture_open(&f);                                                                              \
    CHECK_OK(fixture_b0(&f))

/* ---- golden advantages --------------------------------------------------- */

struct golden_advantage {
    const char *name, *algorithm;
    double advantage[FIXTURE_B0_TOKENS];
};

#define BY_SEQUENCE(a, b, c, d, e, f)                                                              \
    {                                                                                              \
        a, a, a, b, b, c, 0, c, c, d, d, e, e, e, f, f                                             \
    }
// clang-format off
static const struct golden_advantage golden_advantages[] = {
    {"group_mean_std", "\"grpo\"", BY_SEQUENCE(1.154698538, -0.577349269, -0.577349269, 0.577349269, 0.577349269, -1.154698538)},
    {"group_mean_std of TRL", "{\"advantage\": {\"epsilon\": 1e-4}}", BY_SEQUENCE(1.154500573, -.577250287, -.577250287, .577250287, .577250287, -1.154500573)},
    {"group_mean_std by the batch", "{\"advantage\": {\"epsilon\": 1e-4, \"scale\": \"batch\"}}", BY_SEQUENCE(1.216939057, -.608469529, -.608469529, .608469529, .608469529, -1.216939057)},
    {"length_weighted (4.6)", "\"opo\"", BY_SEQUENCE(0.625000000, -0.375000000, -0.375000000, 0.285714286, 0.285714286, -0.714285714)},
    {"mean_scaled (4.9)", "\"maxrl\"", BY_SEQUENCE(2, -1, -1, .5, .5, -1)},
    {"signed_reward", "\"w_reinforce\"", BY_SEQUENCE(.1, -1, -1, .1, .1, -1)},
    {"group_mean", "\"dr_grpo\"", BY_SEQUENCE(0.666666667, -0.333333333, -0.333333333, 0.333333333, 0.333333333, -0.666666667)},
    {"loo", "\"rloo\"", BY_SEQUENCE(1, -0.5, -0.5, 0.5, 0.5, -1)},
    {"reward", "\"reinforce\"", BY_SEQUENCE(1, 0, 0, 1, 1, 0)},
    {"batch_mean", "{\"advantage\": \"batch_mean\"}", BY_SEQUENCE(0.5, -0.5, -0.5, 0.5, 0.5, -0.5)},
    {"reinforce++ to go (4.4)", "{\"advantage\": \"rtg\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}",
     {1.0080000, 1.0180000, 0.9980000, -0.0250000, -0.0400000, -0.0120000, 0, -0.0200000, 0.0050000, 0.9900000, 1.0050000, 1.0070000, 0.9950000, 1.0030000, -0.0100000, 0.0200000}},
    {"reinforce++ (4.4)", "{\"type\": \"reinforce_pp\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}",
     {0.9128984, 0.9319754, 0.8938214, -1.0577565, -1.0863720, -1.0329564, 0, -1.0482180, -1.0005255, 0.8785598, 0.9071753, 0.9109907, 0.8880983, 0.9033599, -1.0291410, -0.9719100}},
    {"reinforce++ baseline (4.4)", "{\"advantage\": {\"type\": \"group_mean\", \"whiten\": \"unbiased\"}}",
     BY_SEQUENCE(1.2808816, -0.7776781, -0.7776781, 0.5946950, 0.5946950, -1.4638647)},
    {"gae (3.2)", "{\"advantage\": {\"type\": \"gae\", \"gamma\": 0.99, \"whiten\": \"none\"}, \"critic\": \"clipped\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}",
     {0.5489195, 0.4932690, 0.2980000, -0.3577700, -0.3400000, -0.4417316, 0, -0.2628725, -0.1450000, 0.4123775, 0.3550000, 0.4586137, 0.3749215, 0.2030000, -0.4913900, -0.3800000}},
    {"gae whitened (3.3)", "{\"advantage\": {\"type\": \"gae\", \"gamma\": 0.99}, \"critic\": \"clipped\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}",
     {1.2623742, 1.1220289, 0.6295790, -1.0242108, -0.9793965, -1.2359539, 0, -0.7848883, -0.4876250, 0.9180282, 0.7733276, 1.0346314, 0.8235677, 0.3899980, -1.3611877, -1.0802727}},
    {"gae whitened by population (3.3)", "{\"advantage\": {\"type\": \"gae\", \"gamma\": 0.99, \"whiten\": \"population\"}, \"critic\": \"clipped\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}",
     {1.3066814, 1.1614102, 0.6516762, -1.0601589, -1.0137717, -1.2793339, 0, -0.8124365, -0.5047398, 0.9502495, 0.8004701, 1.0709453, 0.8524736, 0.4036863, -1.4089632, -1.1181885}},
    {"vapo (4.11)", "{\"advantage\": {\"type\": \"gae\", \"whiten\": \"none\", \"lambda_alpha\": 0.5, \"critic_lambda\": 1}, \"critic\": \"clipped\"}",
     {0.2000000, 0.3000000, 0.3000000, -0.0500000, -0.3000000, -0.2500000, 0, -0.1500000, -0.1500000, 0.1000000, 0.3500000, 0.1888889, 0.2666667, 0.2000000, -0.1000000, -0.4000000}},
};
// clang-format on

TEST(golden_advantages_of_the_references_are_met)
{
    for (size_t i = 0; i < sizeof golden_advantages / sizeof *golden_advantages; i++) {
        const struct golden_advantage *g = &golden_advantages[i];
        int before = check_failures;
        OPEN(f);
        CHECK_OK(fixture_recipe(&f, g->algorithm, NULL));
        CHECK_OK(fixture_prepare(&f));
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            CHECK_NEAR(f.batch.advantage[t], g->advantage[t], digits7);
        if (check_failures != before) printf("  in %s\n", g->name);
        fixture_close(&f);
    }
}

/* ---- groups of other sizes ----------------------------------------------- */

/* Advantages of one group with these rewards; out (n). */
static enum cn_status of_rewards(const char *algorithm, const double *reward, size_t n, double *out)
{
    struct fixture f;
    fixture_open(&f);
    enum cn_status status = fixture_random(&f, 5, 1, n);
    for (size_t s = 0; status == CN_OK && s < n; s++)
        f.batch.reward[s] = f.batch.score[s] = reward[s];
    if (status == CN_OK) status = fixture_recipe(&f, algorithm, NULL);
    if (status == CN_OK) status = fixture_prepare(&f);
    for (size_t s = 0; status == CN_OK && s < n; s++) {
        size_t t = f.batch.seq_start[s];
        while (f.batch.role[t] != CN_ROLE_POLICY)
            t++;
        out[s] = f.batch.advantage[t];
    }
    fixture_close(&f);
    return status;
}

static const double right[5][4] = {
    {0, 0, 0, 0}, {1, 0, 0, 0}, {1, 1, 0, 0}, {1, 1, 1, 0}, {1, 1, 1, 1}};

TEST(pass_at_k_has_its_golden_values_for_four_samples_and_k_two)
{
    static const struct {
        const char *algorithm;
        double right[5], wrong[5]; /* by the number of right samples */
    } cases[] = {
        {"{\"advantage\": {\"type\": \"pass_at_k\", \"k\": 2, \"form\": \"pkpo\"}}",
         {0, .5, .5, .5, .5},
         {0, .1666667, .3333333, .5, 0}},
        {"{\"advantage\": {\"type\": \"pass_at_k\", \"k\": 2, \"form\": \"pkpo_loo\"}}",
         {0, .5, .3333333, .1666667, 0},
         {0, 0, 0, 0, 0}},
        {"{\"advantage\": {\"type\": \"pass_at_k\", \"k\": 2}}",
         {0, 1, .4472136, 0, 0},
         {0, -.3333333, -.4472136, 0, 0}},
    };
    for (size_t i = 0; i < 3; i++)
        for (size_t c = 0; c <= 4; c++) {
            double found[4];
            CHECK_OK(of_rewards(cases[i].algorithm, right[c], 4, found));
            for (size_t s = 0; s < 4; s++)
                CHECK_NEAR(found[s], s < c ? cases[i].right[c] : cases[i].wrong[c], digits7);
        }
}

TEST(quantile_baselines_have_the_golden_values_of_the_paper_and_of_the_code)
{
    static const struct {
        size_t c; /* right of eight */
        double paper_right, paper_wrong, code_right, code_wrong;
    } cases[] = {{1, 2.828419125, 0, 2.828419125, 0},
                 {3, 1.932179833, 0, 1.932179833, 0},
                 {4, 1.870825193, 0, 1.870825193, 0},
                 {5, 0, -1.932179833, 0.386435967, -1.545743866},
                 {7, 0, -2.828419125, 0, -2.828419125}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        double reward[8] = {0}, found[8];
        for (size_t s = 0; s < cases[i].c; s++)
            reward[s] = 1;
        CHECK_OK(of_rewards("\"qae\"", reward, 8, found));
        CHECK_NEAR(found[0], cases[i].paper_right, 1e-9);
        CHECK_NEAR(found[7], cases[i].paper_wrong, 1e-9);
        CHECK_OK(of_rewards("{\"advantage\": {\"type\": \"quantile\", \"interpolation\": "
                            "\"linear\"}}",
                            reward, 8, found));
        CHECK_NEAR(found[0], cases[i].code_right, 1e-9);
        CHECK_NEAR(found[7], cases[i].code_wrong, 1e-9);
    }
}

TEST(gpg_rescales_for_groups_without_spread)
{
    OPEN(f);
    for (size_t s = 0; s < 3; s++)
        f.batch.reward[s] = 1;
    CHECK_OK(fixture_recipe(&f, "\"gpg\"", NULL));
    CHECK_OK(fixture_prepare(&f));
    CHECK(f.batch.advantage[0] == 0);
    CHECK_NEAR(f.batch.advantage[9], 2.0 / 3, 1e-15); /* alpha is 6/3 */
    fixture_close(&f);
}

/* Case A of methods-entropy-1, section 6.1: sequences of 4 and 2 tokens, mean entropies 1.2625 and
 * 1.35, advantages 1 and -1.5; here as one group, so the advantages are +-1/sqrt 2. */
TEST(confidence_scales_by_the_mean_entropies)
{
    OPEN(f);
    for (size_t s = 2; s < 6; s++)
        f.batch.drop[s] = CN_DROP_UNSCORED;
    for (size_t t = 0; t < 5; t++)
        f.batch.entropy_old[t] = t < 3 ? 1.2625 : 1.35;
    CHECK_OK(fixture_recipe(&f, "\"edge_grpo\"", NULL));
    CHECK_OK(fixture_prepare(&f));
    CHECK_NEAR(f.batch.advantage[0], 1.034653465 * sqrt(0.5), 2e-6);
    CHECK_NEAR(f.batch.advantage[3], -1.451388889 / 1.5 * sqrt(0.5), 2e-6);
    fixture_close(&f);
}

#define VAPO(imitation)                                                                            \
    "{\"advantage\": {\"type\": \"gae\", \"lambda_alpha\": 0.05, \"critic_lambda\": 1, "           \
    "\"imitation\": " imitation "}, \"critic\": \"clipped\"}"

TEST(vapo_imitates_the_right_answers)
{
    OPEN(plain);
    OPEN(f);
    CHECK_OK(fixture_run(&plain, VAPO("0"), NULL));
    CHECK_OK(fixture_run(&f, VAPO("0.1"), NULL));
    CHECK_NEAR(f.grad.loss - plain.grad.loss, 0.0522500000, 1e-12);
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
        bool imitated = t < 3 || (t >= 9 && t < 14);
        CHECK_NEAR(f.grad.d_logp[t] - plain.grad.d_logp[t], imitated ? -.0125 : 0, 1e-15);
    }
    fixture_close(&plain);
    fixture_close(&f);
}

/* ---- greedy baseline ----------------------------------------------------- */

/* B0's groups with a greedy sample of reward 0.3 and 0.8; the batch has 8 sequences. */
static enum cn_status with_greedy(struct fixture *f)
{
    CN_TRY(fixture_random(f, 1, 2, 4));
    struct cn_batch *b = &f->batch;
    for (size_t s = 0; s < 8; s++) {
        b->part[s] = s % 4 == 3 ? CN_PART_BASELINE : CN_PART_MAIN;
        b->reward[s] = s == 3 ? 0.3 : s == 7 ? 0.8 : s == 0 || s == 4 || s == 5;
        b->score[s] = b->reward[s];
    }
    return fixture_recipe(f, "\"remax\"", NULL);
}

TEST(a_greedy_sample_is_the_baseline_and_is_not_trained)
{
    static const double expected[] = {0.7, -0.3, -0.3, 0, 0.2, 0.2, -0.8, 0};
    struct fixture f;
    struct cn_requests requests = {0};
    fixture_open(&f);
    CHECK_OK(with_greedy(&f));
    requests.arena = &f.arena;
    CHECK_OK(cn_loss_plan(&f.call, 1, &f.batch, &requests));
    CHECK_INT(requests.count, 0); /* every group has its greedy sample */
    CHECK_INT(f.batch.drop[3], CN_DROP_BASELINE);
    CHECK_OK(fixture_prepare(&f));
    for (size_t s = 0; s < 8; s++)
        for (size_t t = f.batch.seq_start[s]; t < f.batch.seq_start[s + 1]; t++)
            if (f.batch.role[t] == CN_ROLE_POLICY)
                CHECK_NEAR(f.batch.advantage[t], expected[s], 1e-15);
    CHECK_NEAR(f.counts[CN_PART_MAIN].sequences, 6, 0);
    CHECK_NEAR(f.counts[CN_PART_BASELINE].sequences, 0, 0);
    fixture_close(&f);
}

TEST(remax_asks_for_one_greedy_sample_per_prompt)
{
    struct fixture f;
    struct cn_requests requests = {0};
    fixture_open(&f);
    CHECK_OK(fixture_random(&f, 1, 3, 2));
    CHECK_OK(fixture_recipe(&f, "\"remax\"", NULL));
    requests.arena = &f.arena;
    CHECK_OK(cn_loss_plan(&f.call, 1, &f.batch, &requests));
    CHECK_INT(requests.count, 3);
    CHECK(requests.item[2].prompt == f.batch.prompt[4] && requests.item[2].greedy);
    CHECK_INT(requests.item[2].part, CN_PART_BASELINE);
    fixture_close(&f);
}

TEST(each_part_is_whitened_by_itself)
{
    struct fixture f;
    fixture_open(&f);
    CHECK_OK(fixture_b0(&f));
    for (size_t s = 3; s < 6; s++) {
        f.batch.part[s] = CN_PART_AUXILIARY;
        f.batch.reward[s] += 10;
    }
    CHECK_OK(fixture_recipe(
        &f, "{\"advantage\": {\"type\": \"reward\", \"whiten\": \"population\"}}", NULL));
    CHECK_OK(fixture_prepare(&f));
    for (size_t begin = 0; begin < 6; begin += 3) {
        double sum = 0, squares = 0, n = 0;
        for (size_t s = begin; s < begin + 3; s++)
            for (size_t t = f.batch.seq_start[s]; t < f.batch.seq_start[s + 1]; t++) {
                if (!cn_batch_trained(&f.batch, s, t)) continue;
                sum += f.batch.advantage[t];
                squares += f.batch.advantage[t] * f.batch.advantage[t];
                n++;
            }
        CHECK_NEAR(sum / n, 0, 1e-12);
        CHECK_NEAR(squares / n, 1, 1e-6); /* but for the 1e-8 under the root */
    }
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
