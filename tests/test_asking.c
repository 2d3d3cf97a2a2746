/* Methods that ask for sequences: what they ask for, and what the trainer makes of it. */
#include "check.h"
#include "fixtures.h"

/* Requests of round 1 on a random batch of 2 groups of 3. */
static enum cn_status ask(struct fixture *f, const char *entropy, uint64_t step,
                          struct cn_requests *out)
{
    CN_TRY(fixture_random(f, 5, 2, 3));
    CN_TRY(fixture_recipe(f, NULL, entropy));
    for (size_t s = 0; s < f->batch.n_sequences; s++) {
        size_t t = f->batch.seq_start[s];
        while (f->batch.role[t] == CN_ROLE_PROMPT)
            t++;
        f->batch.branch_at[s] = (uint32_t)(t - f->batch.seq_start[s]);
        f->batch.parent[s] = -1;
    }
    f->call.step = step;
    *out = (struct cn_requests){.arena = &f->arena};
    return cn_loss_plan(&f->call, 1, &f->batch, out);
}

TEST(aepo_asks_hotter_below_its_target_and_colder_above)
{
    static const struct {
        const char *entropy;
        double temperature;
    } cases[] = {{"[{\"type\": \"aepo\", \"target\": 9, \"share\": 1}]", 1.2},
                 {"[{\"type\": \"aepo\", \"target\": 0, \"share\": 1}]", 0.8},
                 {"[{\"type\": \"aepo\", \"target\": 9, \"share\": 1, \"high\": 3}]", 3},
                 {"[{\"type\": \"aepo\", \"target\": 9, \"regulation\": \"linear\"}]", 1.2}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct cn_requests requests;
        fixture_open(&f);
        CHECK_OK(ask(&f, cases[i].entropy, 1, &requests));
        CHECK_INT(requests.count, i == 3 ? 3 : 6); /* a quarter of two groups is one group */
        for (size_t r = 0; r < requests.count; r++) {
            CHECK_NEAR(requests.item[r].temperature, cases[i].temperature, 1e-6);
            CHECK_INT(requests.item[r].part, CN_PART_AUXILIARY);
            CHECK_INT(requests.item[r].sample, 3 + r % 3); /* not those of the main answers */
        }
        fixture_close(&f);
    }
}

/* T(H) at target 0.5 of methods-entropy-2, V1. */
TEST(aepos_linear_temperature_follows_the_entropy)
{
    static const double entropy[] = {.10, .30, .45, .50, .60, .70, 1.0};
    static const double temperature[] = {1.2, 1.2, 1.05, 1.0, 0.9, 0.8, 0.8};
    for (size_t i = 0; i < 7; i++) {
        struct fixture f;
        struct cn_requests requests = {0};
        fixture_open(&f);
        CHECK_OK(fixture_b0(&f));
        CHECK_OK(fixture_recipe(&f, NULL, "[{\"type\": \"aepo\", \"regulation\": \"linear\"}]"));
        for (size_t t = 0; t < f.batch.n_tokens; t++)
            f.batch.entropy_sampled[t] = entropy[i];
        requests.arena = &f.arena;
        CHECK_OK(cn_loss_plan(&f.call, 1, &f.batch, &requests));
        CHECK(requests.count == 3);
        CHECK_NEAR(requests.item[0].temperature, temperature[i], 1e-6);
        CHECK_NEAR(cn_metrics_value(&f.metrics, "entropy/aepo/actual", -1), entropy[i], 1e-15);
        fixture_close(&f);
    }
}

enum { V3_TOKENS = 8 };

/* Requests of a step for one answer of V3: one without a prompt. */
static enum cn_status ask_v3(struct fixture *f, const char *entropy, const int32_t *token,
                             uint64_t step, struct cn_requests *out)
{
    static const double nats[V3_TOKENS] = {2.0, .9, 1.7, .1, 1.7, .05, .8, .6};
    static const uint8_t bits[] = {0, CN_TOKEN_SPECIAL, CN_TOKEN_SHORT};
    static const size_t length[] = {V3_TOKENS};
    CN_TRY(fixture_random(f, 1, 1, 1)); /* for its call */
    CN_TRY(cn_batch_init(&f->batch, &f->arena, length, 1));
    for (size_t t = 0; t < V3_TOKENS; t++) {
        f->batch.token[t] = token[t];
        f->batch.role[t] = CN_ROLE_POLICY;
        f->batch.entropy_sampled[t] = nats[t];
    }
    f->batch.stop[0] = CN_STOP_LENGTH;
    f->call.facts = (struct cn_token_facts){bits, sizeof bits};
    CN_TRY(fixture_recipe(f, NULL, entropy));
    f->call.step = step;
    *out = (struct cn_requests){.arena = &f->arena};
    return cn_loss_plan(&f->call, 1, &f->batch, out);
}

/* Methods-entropy-2, V3: entropies [2, .9, 1.7, .1, 1.7, .05, .8, .6] rank as 0, 2, 4, 1, 6, 7, 3,
 * 5.  Token 0 is long, 1 special, 2 short, 3 beyond the vocabulary; the answers with equal chances
 * are all seen in forty draws.  Cut at place 0 is an answer that begins at the prompt. */
TEST(cure_cuts_at_one_of_the_most_uncertain_places_but_the_first)
{
#define CURE "[{\"type\": \"cure\", \"candidates\": 3"
    static const struct {
        const char *entropy;
        int32_t token[V3_TOKENS];
        const char *cut; /* places that are seen, in order */
    } cases[] = {{CURE "}]", {0}, "124"},
                 {CURE "}]", {0, 2, 1, 0, 2, 0, 3, 0}, "124"},
                 {CURE ", \"critical\": \"long\"}]", {0}, "124"},
                 {CURE ", \"critical\": \"long\"}]", {0, 0, 1}, "146"},
                 {CURE ", \"critical\": \"long\"}]", {0, 0, 0, 0, 2}, "126"},
                 {CURE ", \"critical\": \"long\"}]", {0, 3}, "246"},
                 {CURE ", \"critical\": \"long\"}]", {0, 1, 2, 0, 2, 0, 1, 2}, "35"},
                 {CURE ", \"critical\": \"long\"}]", {0, 1, 2, 3, 2, 1, 1, 2}, "0"},
                 {CURE ", \"critical\": \"long\", \"place\": \"random\"}]", {0, 2, 1}, "34567"}};
#undef CURE
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        bool seen[V3_TOKENS] = {false};
        char cut[V3_TOKENS + 1] = "";
        for (uint64_t step = 1; step <= 40; step++) {
            struct fixture f;
            struct cn_requests requests;
            fixture_open(&f);
            CHECK_OK(ask_v3(&f, cases[i].entropy, cases[i].token, step, &requests));
            CHECK_INT(requests.count, 3);
            if (requests.count != 3) return;
            for (size_t r = 0; r < 3; r++) {
                CHECK_INT(requests.item[r].parent, requests.item[0].branch_at ? 0 : -1);
                CHECK_INT(requests.item[r].branch_at, requests.item[0].branch_at);
                CHECK_INT(requests.item[r].part, CN_PART_MAIN);
            }
            seen[requests.item[0].branch_at] = true;
            fixture_close(&f);
        }
        for (size_t t = 0; t < V3_TOKENS; t++)
            if (seen[t]) cut[strlen(cut)] = (char)('0' + t);
        CHECK_TEXT(cut, cases[i].cut);
    }
}

TEST(only_cure_at_long_tokens_asks_for_facts_of_tokens)
{
    struct fixture f;
    fixture_open(&f);
    CHECK_OK(fixture_recipe(&f, NULL, "\"cure\""));
    CHECK(!f.recipe.needs_facts);
    CHECK_OK(fixture_recipe(&f, NULL, "{\"type\": \"cure\", \"cure\": {\"critical\": \"long\"}}"));
    CHECK_TEXT(f.recipe.needs_facts, "entropy.cure.critical=long");
    fixture_close(&f);
}

TEST(cure_samples_from_the_prompt_in_its_second_stage)
{
    struct fixture f;
    struct cn_requests requests;
    fixture_open(&f);
    CHECK_OK(ask(&f, "[{\"type\": \"cure\", \"steps\": 7}]", 8, &requests));
    CHECK_INT(requests.count, 2 * 3 * 3);
    for (size_t r = 0; r < requests.count; r++) {
        CHECK_INT(requests.item[r].parent, -1);
        CHECK_INT(requests.item[r].sample, 3 + r % 9);
    }
    fixture_close(&f);
}

TEST(co_reward_asks_for_the_other_wording_and_remix_for_a_past_rollout)
{
    struct fixture f;
    struct cn_requests requests;
    fixture_open(&f);
    CHECK_OK(ask(&f, "\"co_reward\"", 1, &requests));
    CHECK_INT(requests.count, 6);
    for (size_t r = 0; r < requests.count; r++)
        CHECK(requests.item[r].part == CN_PART_VIEW && requests.item[r].view == 1);
    CHECK(f.recipe.needs_views != NULL);
    fixture_close(&f);
    fixture_open(&f);
    CHECK_OK(ask(&f, "\"remix\"", 1, &requests));
    CHECK_INT(requests.count, 1);
    CHECK(requests.item[0].part == CN_PART_REPLAY);
    CHECK(requests.item[0].age >= 1 && requests.item[0].age <= 2);
    CHECK_INT(f.recipe.replay_depth, 2);
    fixture_close(&f);
    fixture_open(&f);
    CHECK_OK(ask(&f, "\"remix\"", 50, &requests)); /* after step T there is nothing stale */
    CHECK_INT(requests.count, 0);
    fixture_close(&f);
}

/* An empty vote, and the lambda of methods-entropy-2, V6. */
TEST(without_a_vote_the_other_wordings_rewards_are_zero)
{
    struct fixture f;
    fixture_open(&f);
    CHECK_OK(fixture_random(&f, 3, 2, 2));
    CHECK_OK(fixture_recipe(&f, NULL, "\"co_reward\""));
    for (size_t s = 0; s < 4; s++) {
        f.batch.group[s] = 0;
        f.batch.part[s] = s < 2 ? CN_PART_MAIN : CN_PART_VIEW;
        f.batch.answer[s] = s == 2 ? 4 : 0;
    }
    CHECK_OK(
        cn_loss_count(&f.batch, cn_batch_all(&f.batch), 8, f.call.ranks, &f.scratch, f.counts));
    CHECK_OK(cn_loss_shape_reward(&f.call, &f.batch));
    for (size_t s = 0; s < 4; s++)
        CHECK_NEAR(f.batch.reward[s], 0, 0);
    f.batch.answer[0] = 4;
    CHECK_OK(cn_loss_shape_reward(&f.call, &f.batch));
    for (size_t s = 0; s < 4; s++)
        CHECK_NEAR(f.batch.reward[s], s == 0 || s == 2, 0); /* saying nothing is never right */
    fixture_close(&f);
}

TEST(remix_moves_from_the_base_to_the_last_policy)
{
    static const struct {
        uint64_t step;
        double lambda;
    } cases[] = {{1, 1},   {50, 1},  {51, .9}, {60, .9}, {61, .8},
                 {70, .8}, {90, .6}, {91, .5}, {500, .5}};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        fixture_open(&f);
        CHECK_OK(fixture_b0(&f));
        CHECK_OK(fixture_recipe(&f, NULL,
                                "[{\"type\": \"remix\", \"kl\": 1, \"bonus\": 0, \"steps\": 0}]"));
        for (size_t t = 0; t < f.batch.n_tokens; t++)
            f.batch.logp_anchor[t] = f.channel[CN_CHANNEL_logp][t];
        f.call.step = cases[i].step;
        CHECK_OK(fixture_prepare(&f));
        CHECK_OK(fixture_loss(&f));
        struct fixture plain;
        fixture_open(&plain);
        CHECK_OK(fixture_b0(&plain));
        CHECK_OK(fixture_run(&plain, NULL, NULL));
        double d = f.batch.logp_ref[0] - f.channel[CN_CHANNEL_logp][0];
        double c = 1.0 / 6 / 3; /* the row grpo: mean over six answers of means over three tokens */
        CHECK_NEAR(f.grad.d_logp[0] - plain.grad.d_logp[0], cases[i].lambda * c * -expm1(d), 1e-12);
        fixture_close(&plain);
        fixture_close(&f);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
