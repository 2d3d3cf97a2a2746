/* Shaping of rewards and off-policy correction against the golden numbers of methods-base, sections
 * 8 and 10. */
#include "check.h"
#include "fixtures.h"

#define OPEN(f)                                                                                    \
    struct fixture f;                                                                              \
    fixture_open(&f);                                                                              \
    CHECK_OK(fixture_b0(&f))

/* ---- correction ---------------------------------------------------------- */

TEST(m2po_drops_the_golden_tokens)
{
    /* Without token 3 the squares sum to 0.6684: a mean of 0.0477 over the 14 tokens that are left,
     * though of 0.0446 over all 15. */
    static const char *const corrections[] = {
        "{\"correction\": \"m2po\"}",
        "{\"correction\": {\"type\": \"m2po\", \"threshold\": 0.0446}}"};
    for (size_t i = 0; i < 2; i++) {
        OPEN(f);
        CHECK_OK(fixture_recipe(&f, corrections[i], NULL));
        CHECK_OK(fixture_prepare(&f));
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            CHECK_NEAR(f.batch.correction[t], t != 3 && t != 6 && t != 7, 0);
        fixture_close(&f);
    }
}

TEST(a_sequences_weight_is_the_product_or_the_geometric_mean_of_its_ratios)
{
    /* Sums of logp_old - logp_sampled of the six responses of B0, without the environment's. */
    static const double sum[] = {-.01, .95, -.71, -.02, .01, .04}, length[] = {3, 2, 3, 2, 3, 2};
    static const char *const levels[] = {"sequence", "geometric"};
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        OPEN(f);
        snprintf(text, sizeof text,
                 "{\"correction\": {\"type\": \"truncate\", \"cap\": 9, \"level\": \"%s\"}}",
                 levels[i]);
        CHECK_OK(fixture_recipe(&f, text, NULL));
        CHECK_OK(fixture_prepare(&f));
        for (size_t s = 0; s < 6; s++)
            CHECK_NEAR(f.batch.correction[f.batch.seq_start[s]], exp(sum[s] / (i ? length[s] : 1)),
                       1e-12);
        fixture_close(&f);
    }
}

TEST(rejection_compares_the_golden_divergences)
{
    /* Mean k3 of the six responses: .0002156 .2804371 .0848499 .0012877 .0002177 .0020383; mean k1
     * is minus the mean of old - rollout. */
    static const struct {
        const char *correction;
        bool kept[6];
    } cases[] = {
        {"{\"type\": \"reject\", \"high\": 0.05}", {1, 0, 0, 1, 1, 1}},
        {"{\"type\": \"reject\", \"high\": 0.28}", {1, 0, 1, 1, 1, 1}},
        {"{\"type\": \"reject\", \"high\": 0.0021}", {1, 0, 0, 1, 1, 1}},
        {"{\"type\": \"reject\", \"high\": 0.002}", {1, 0, 0, 1, 1, 0}},
        {"{\"type\": \"reject\", \"estimator\": \"k1\", \"high\": null, \"low\": -0.1}",
         {1, 0, 1, 1, 1, 1}},
        {"{\"type\": \"reject\", \"estimator\": \"k1\", \"high\": 0.1}", {1, 1, 0, 1, 1, 1}},
        {"{\"type\": \"reject\", \"estimator\": \"k2\", \"reduce\": \"max\", \"high\": 0.4}",
         {1, 0, 1, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char text[256];
        OPEN(f);
        snprintf(text, sizeof text, "{\"correction\": %s}", cases[i].correction);
        CHECK_OK(fixture_recipe(&f, text, NULL));
        CHECK_OK(fixture_prepare(&f));
        for (size_t s = 0; s < 6; s++)
            CHECK_NEAR(f.batch.correction[f.batch.seq_start[s]], cases[i].kept[s], 0);
        CHECK(f.batch.correction[6] == 0);
        CHECK_NEAR(f.counts[CN_PART_MAIN].tokens, 15, 0); /* rejection changes no denominator */
        fixture_close(&f);
    }
}

TEST(opsm_drops_only_the_golden_response)
{
    /* Response 2: the mean of sampled - new is 0.22, that of sampled - old 0.2367. */
    static const double thresholds[] = {0.05, 0.23};
    for (size_t i = 0; i < 2; i++) {
        char text[128];
        OPEN(f);
        snprintf(text, sizeof text, "{\"correction\": {\"type\": \"opsm\", \"threshold\": %g}}",
                 thresholds[i]);
        CHECK_OK(fixture_recipe(&f, text, NULL));
        CHECK(f.recipe.prepare_live);
        CHECK_OK(fixture_prepare(&f));
        for (size_t s = 0; s < 6; s++)
            CHECK_NEAR(f.batch.correction[f.batch.seq_start[s]], i || s != 2, 0);
        fixture_close(&f);
    }
}

/* ---- shaping ------------------------------------------------------------- */

TEST(soft_overlong_follows_the_golden_slope)
{
    /* DAPO's 20480 and 4096, scaled down to a limit of 8 and a buffer of 4. */
    static const double expected[] = {0, 0, 0, 0, -0.25, -0.5, -0.75, -1, -1};
    for (size_t length = 1; length < 10; length++) {
        struct fixture f;
        fixture_open(&f);
        CHECK_OK(fixture_random(&f, length, 1, 2));
        for (size_t t = 0; t < f.batch.seq_start[1]; t++)
            f.batch.role[t] = t < length ? CN_ROLE_POLICY : CN_ROLE_PROMPT;
        if (f.batch.seq_start[1] >= length) {
            f.batch.reward[0] = 1;
            CHECK_OK(fixture_recipe(
                &f, "{\"shaping\": {\"type\": \"soft_overlong\", \"buffer\": 4}}", NULL));
            CHECK_OK(fixture_prepare(&f));
            CHECK_NEAR(f.batch.reward[0], 1 + expected[length - 1], 0);
        }
        fixture_close(&f);
    }
}

/* One group whose answers have these lengths and scores; reward (n) gets what shaping makes. */
static enum cn_status shaped(const char *shaping, const size_t *length, const double *score,
                             size_t n, double *reward)
{
    struct fixture f;
    char text[256];
    fixture_open(&f);
    enum cn_status status = cn_batch_init(&f.batch, &f.arena, length, n);
    for (size_t s = 0; status == CN_OK && s < n; s++) {
        f.batch.reward[s] = f.batch.score[s] = score[s];
        for (size_t t = f.batch.seq_start[s]; t < f.batch.seq_start[s + 1]; t++) {
            f.batch.role[t] = CN_ROLE_POLICY;
            f.batch.token[t] = (int32_t)(t - f.batch.seq_start[s]) % 3;
        }
    }
    f.batch.written = CN_NEEDS(role) | CN_NEEDS(group) | CN_NEEDS(reward) | CN_NEEDS(drop);
    snprintf(text, sizeof text, "{\"advantage\": \"reward\", \"shaping\": [%s]}", shaping);
    if (status == CN_OK) status = fixture_recipe(&f, text, NULL);
    struct cn_counts counts[CN_PART_COUNT] = {{.length_max = 8}};
    struct cn_loss_call call = {
        .recipe = &f.recipe, .counts = counts, .ranks = &cn_reduce_alone, .scratch = &f.scratch};
    if (status == CN_OK) status = cn_loss_shape_reward(&call, &f.batch);
    for (size_t s = 0; status == CN_OK && s < n; s++)
        reward[s] = f.batch.reward[s];
    fixture_close(&f);
    return status;
}

TEST(cosine_rewards_have_their_golden_values)
{
    static const size_t length[] = {4, 8, 12, 4, 8, 12};
    static const double score[] = {1, 1, 1, 0, 0, 0};
    static const double expected[] = {.75, .5, .5, -.75, -.5, -.5};
    double reward[6];
    CHECK_OK(shaped("\"cosine\"", length, score, 6, reward));
    for (size_t s = 0; s < 6; s++)
        CHECK_NEAR(reward[s], expected[s], 1e-15);
}

TEST(lengths_within_a_group_have_their_golden_terms)
{
    static const size_t length[] = {1, 2, 3, 4}, equal[] = {3, 3};
    static const double score[] = {1, 1, 0, 0};
    static const double expected[] = {.5, .1666667, -.1666667, -.5};
    double reward[4];
    CHECK_OK(shaped("\"group_length\"", length, score, 4, reward));
    for (size_t s = 0; s < 4; s++)
        CHECK_NEAR(reward[s] - score[s], expected[s], 6e-8);
    CHECK_OK(shaped("\"group_length\"", equal, score, 2, reward));
    CHECK_NEAR(reward[0], 1, 0);
}

TEST(repetition_counts_runs_that_occurred_before)
{
    static const size_t length[] = {2, 5, 9};
    static const double score[] = {0, 0, 0};
    double reward[3];
    /* 0 1 2 0 1 has the runs 012 120 201; 0 1 2 0 1 2 0 1 2 repeats four of seven. */
    CHECK_OK(shaped("\"repetition\"", length, score, 3, reward));
    CHECK_NEAR(reward[0], 0, 0);
    CHECK_NEAR(reward[1], 0, 0);
    CHECK_NEAR(reward[2], -4.0 / 7, 1e-15);
}

TEST(clipping_acts_in_the_order_of_the_list)
{
    static const size_t length[] = {4, 4};
    static const double score[] = {5, -5};
    double reward[2];
    CHECK_OK(shaped("{\"type\": \"clip\", \"low\": -1, \"high\": 2}", length, score, 2, reward));
    CHECK_NEAR(reward[0], 2, 0);
    CHECK_NEAR(reward[1], -1, 0);
    CHECK_OK(shaped("{\"type\": \"clip\", \"low\": -1, \"high\": 2}, \"cosine\"", length, score, 2,
                    reward));
    CHECK_NEAR(reward[0], 0.75, 1e-15); /* the cosine looks at the score */
    CHECK_FAILS(shaped("{\"type\": \"clip\", \"low\": 3, \"high\": 2}", length, score, 2, reward),
                CN_ERR_CONFIG, "above high");
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
