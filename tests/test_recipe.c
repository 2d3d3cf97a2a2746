/* Recipes: what a configuration chooses, what is refused, and rounds of dynamic sampling. */
#include "check.h"
#include "fixtures.h"

#define OPEN(f)                                                                                    \
    struct fixture f;                                                                              \
    fixture_open(&f);                                                                              \
    CHECK_OK(fixture_b0(&f))

/* ---- recipes ------------------------------------------------------------- */

TEST(an_override_of_an_option_keeps_the_rows_other_defaults)
{
    OPEN(f);
    CHECK_OK(fixture_recipe(&f, "{\"type\": \"dapo\", \"surrogate\": {\"clip_low\": 0.1}}", NULL));
    const double *clip = f.recipe.axis[CN_AXIS_surrogate].settings;
    CHECK_NEAR(clip[0], 0.1, 0);
    CHECK_NEAR(clip[1], 0.28, 0);
    CHECK_INT(f.recipe.n_shaping, 1);
    CHECK_INT(f.recipe.group_minimum, 2);
    /* Another surrogate does not inherit the row's clip. */
    CHECK_OK(fixture_recipe(&f, "{\"type\": \"dapo\", \"surrogate\": \"sapo\"}", NULL));
    CHECK_TEXT(f.recipe.axis[CN_AXIS_surrogate].plugin->name, "sapo");
    CHECK_OK(fixture_recipe(&f, NULL, NULL));
    CHECK_TEXT(f.recipe.row->name, "grpo");
    CHECK(f.recipe.needs == 0 && f.recipe.needs_live == CN_LIVE_BIT(logp));
    fixture_close(&f);
}

TEST(unknown_names_are_refused_with_the_nearest_known_one)
{
    OPEN(f);
    CHECK_FAILS(fixture_recipe(&f, "\"gprpo\"", NULL), CN_ERR_CONFIG, "did you mean \"grpo\"");
    CHECK_FAILS(fixture_recipe(&f, "{\"surogate\": \"ppo\"}", NULL), CN_ERR_CONFIG, "surrogate");
    CHECK_FAILS(fixture_recipe(&f, "{\"surrogate\": {\"clip_lo\": 0.1}}", NULL), CN_ERR_CONFIG,
                "clip_low");
    CHECK_FAILS(fixture_recipe(&f, "{\"surrogate\": {\"clip_low\": 2}}", NULL), CN_ERR_CONFIG,
                "algorithm.surrogate.clip_low");
    CHECK_FAILS(fixture_recipe(&f, NULL, "{\"methods\": [\"bonis\"]}"), CN_ERR_CONFIG, "bonus");
    CHECK_FAILS(fixture_recipe(&f, NULL, "{\"bonos\": {}}"), CN_ERR_CONFIG, "bonus");
    CHECK_FAILS(fixture_recipe(&f, "{\"anchor\": \"new\"}", NULL), CN_ERR_CONFIG, "sampled");
    fixture_close(&f);
}

TEST(senseless_combinations_are_refused_with_a_reason)
{
    static const struct {
        const char *algorithm, *entropy, *reason;
    } cases[] = {
        {"{\"advantage\": \"gae\"}", NULL, "algorithm.advantage=rtg"},
        {"{\"critic\": \"clipped\"}", NULL, "nobody reads"},
        {"{\"ratio\": \"none\"}", NULL, "algorithm.ratio=token"},
        {"{\"ratio\": \"seq_geo\", \"advantage\": \"rtg\"}", NULL, "seq_geo_token"},
        {"{\"ratio\": \"seq_product\", \"surrogate\": \"cispo\"}", NULL, "_token"},
        {"{\"kl\": {\"type\": \"k1\", \"place\": \"loss\"}}", NULL, "gradient zero"},
        {"{\"kl\": {\"type\": \"k3\", \"place\": \"reward\"}}", NULL, "type=k1"},
        {"{\"kl\": \"abs\"}", NULL, "type=k2"},
        {"{\"anchor\": \"sampled\", \"correction\": \"truncate\"}", NULL, "twice"},
        {"{\"surrogate\": \"vespo\", \"correction\": \"truncate\"}", NULL, "twice"},
        {"{\"shaping\": [\"soft_overlong\", \"overlong_filter\"]}", NULL, "choose one"},
        {"{\"correction\": {\"type\": \"mask\", \"low\": 6}}", NULL, "above high"},
        {NULL, "[\"bonus\", \"adaptive\"]", "two coefficients"},
        {NULL, "[\"bonus\", \"bonus\"]", "twice"},
        {NULL, "{\"methods\": \"restricted_bonus\", \"restricted_bonus\": {\"amount\": 4}}",
         "form=top_k"},
    };
    OPEN(f);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_FAILS(fixture_recipe(&f, cases[i].algorithm, cases[i].entropy), CN_ERR_CONFIG,
                    cases[i].reason);
    fixture_close(&f);
}

/* ---- dynamic sampling ---------------------------------------------------- */

static void set_scores(struct fixture *f, size_t g, double first, double others)
{
    for (size_t s = 0; s < f->batch.n_sequences; s++)
        if (f->batch.group[s] == g) f->batch.score[s] = f->batch.sample[s] ? others : first;
}

/* Groups 0..n-1 have spread where the digit is 1. */
static enum cn_status dynamic_round(struct fixture *f, const char *spread, uint32_t round,
                                    struct cn_requests *out)
{
    struct cn_recipe recipe = f->recipe;
    fixture_close(f);
    fixture_open(f);
    CN_TRY(fixture_random(f, 3, strlen(spread), 4));
    f->recipe = recipe;
    for (size_t g = 0; spread[g]; g++)
        set_scores(f, g, spread[g] == '1', 0);
    *out = (struct cn_requests){.arena = &f->arena};
    return cn_loss_plan(&f->call, round, &f->batch, out);
}

TEST(dynamic_sampling_asks_until_enough_groups_have_spread)
{
    struct fixture kept, f;
    struct cn_requests requests = {0};
    fixture_open(&kept);
    fixture_open(&f);
    CHECK_OK(
        fixture_recipe(&kept, "{\"type\": \"dapo\", \"sampling\": {\"max_rounds\": 3}}", NULL));
    f.recipe = kept.recipe;
    CHECK_OK(dynamic_round(&f, "", 0, &requests));
    CHECK_INT(requests.count, 0);
    CHECK_OK(dynamic_round(&f, "0100", 1, &requests));
    CHECK_INT(requests.count, 4 * 4); /* 3 missing, a quarter were good: 12, at most 4 */
    CHECK(requests.count > 3 && requests.item[0].prompt == CN_PROMPT_NEXT &&
          requests.item[3].sample == 3);
    CHECK_INT(f.batch.drop[0], CN_DROP_NO_SPREAD);
    CHECK_INT(f.batch.drop[4], CN_DROP_NONE);
    CHECK_OK(dynamic_round(&f, "01001111", 2, &requests));
    CHECK_INT(requests.count, 0); /* five are good, four were wanted: the last is surplus */
    CHECK_INT(f.batch.drop[6 * 4], CN_DROP_NONE);
    CHECK_INT(f.batch.drop[7 * 4], CN_DROP_SURPLUS);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "sampling/short", -1), 0, 0);
    CHECK_OK(dynamic_round(&f, "010000000000", 3, &requests));
    CHECK_INT(requests.count, 0); /* the third round was the last that is allowed */
    CHECK_NEAR(cn_metrics_value(&f.metrics, "sampling/short", -1), 1, 0);
    CHECK_NEAR(cn_metrics_value(&f.metrics, "sampling/rounds", -1), 3, 0);
    fixture_close(&f);
    fixture_close(&kept);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
