/* The scorer: answers are scored while others are sampled, and when does not change what.
 * ctest labels: serial */
#include "check.h"

#include "trainer/clock.h"
#include "trainer/scoring/scorer.h"

#include <stdlib.h>
#include <time.h>

enum { N = 12 };
static const double slow_s = 0.02;

static void pause_s(double seconds)
{
    const struct timespec t = {0, (long)(1e9 * seconds)};
    nanosleep(&t, NULL);
}

/* Scores the number in the answer, slowly; "bad" fails, "none" has no score. */
static enum cn_status slow_score(const void *settings, const struct cn_episode *episodes, size_t n,
                                 struct cn_arena *arena, struct cn_outcome *out)
{
    (void)settings, (void)arena;
    for (size_t i = 0; i < n; i++) {
        pause_s(slow_s);
        if (cn_text_is(episodes[i].response, "bad"))
            return cn_fail(CN_ERR_NUMERIC, "this answer is bad");
        out[i] = (struct cn_outcome){.has_score = !cn_text_is(episodes[i].response, "none"),
                                     .score = strtod(episodes[i].response.data, NULL),
                                     .verdict = CN_VERDICT_WRONG,
                                     .extracted = episodes[i].response,
                                     .metric = {{"calls", (double)n}},
                                     .n_metrics = 1};
    }
    return CN_OK;
}

static const struct cn_reward slow = {
    .name = "slow", .scope = CN_SCOPE_EPISODE, .score = slow_score};
static const struct cn_reward grouped = {
    .name = "grouped", .scope = CN_SCOPE_GROUP, .score = slow_score};

/* A round of N answers over `reward`. */
struct round {
    struct scoring_entry entry;
    struct scoring scoring;
    struct cn_service_settings service;
    struct posed posed;
    struct wish wish[N];
    struct answer answer[N];
    char text[N][16];
    struct scoring_work work;
    struct scorer *scorer;
    struct cn_arena arena;
    struct cn_metrics metrics;
    struct scored scored[N];
    struct scorer_times times;
};

static enum cn_status open_round(struct round *r, const struct cn_reward *reward)
{
    memset(r, 0, sizeof *r);
    r->entry = (struct scoring_entry){.used = {.reward = reward}, .weight = 2};
    r->scoring = (struct scoring){&r->entry, 1};
    for (uint32_t i = 0; i < N; i++) {
        r->wish[i] = (struct wish){.posed = &r->posed, .group = i / 4};
        snprintf(r->text[i], sizeof r->text[i], "%u", i);
        r->answer[i].text = cn_text(r->text[i]);
    }
    r->work = (struct scoring_work){.wishes = r->wish, .answers = r->answer, .n = N};
    cn_metrics_init(&r->metrics, &r->arena);
    return scorer_open(&r->scoring, &r->service, cn_text("{}"), &r->scorer);
}

static void close_round(struct round *r)
{
    scorer_close(r->scorer);
    cn_arena_free(&r->arena);
}

static enum cn_status finish(struct round *r)
{
    return scorer_finish(r->scorer, &r->arena, &r->metrics, r->scored, &r->times);
}

TEST(scoring_overlaps_sampling)
{
    struct round r;
    CHECK_OK(open_round(&r, &slow));
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    for (size_t i = 0; i < N; i++) {
        pause_s(1.3 * slow_s); /* the others are being sampled */
        scorer_add(r.scorer, i);
    }
    CHECK_OK(finish(&r));
    CHECK(r.times.busy >= N * slow_s);
    CHECK(r.times.added < 0.5 * N * slow_s);
    for (size_t i = 0; i < N; i++) {
        CHECK_NEAR(r.scored[i].score, (double)i, 0);
        CHECK_NEAR(r.scored[i].reward, 2 * (double)i, 0);
        CHECK_INT(r.scored[i].drop, CN_DROP_NONE);
        CHECK(cn_text_is(r.scored[i].extracted, r.text[i]));
    }
    CHECK_NEAR(cn_metrics_value(&r.metrics, "reward/slow/mean", -1), (N - 1) / 2.0, 1e-12);
    CHECK_NEAR(cn_metrics_value(&r.metrics, "reward/slow/calls", -1), 1, 0);
    close_round(&r);
}

TEST(the_order_of_finishing_changes_nothing_and_rounds_follow_each_other)
{
    struct round r;
    CHECK_OK(open_round(&r, &slow));
    for (size_t round = 0; round < 3; round++) {
        CHECK_OK(scorer_begin(r.scorer, &r.work));
        for (size_t i = 0; i < N; i += round + 1) /* some are never handed over by hand */
            scorer_add(r.scorer, N - 1 - i);
        scorer_add(r.scorer, 3); /* twice does no harm */
        CHECK_OK(finish(&r));
        for (size_t i = 0; i < N; i++)
            CHECK_NEAR(r.scored[i].score, (double)i, 0);
    }
    close_round(&r);
}

TEST(an_answer_without_score_is_dropped_not_zero)
{
    struct round r;
    CHECK_OK(open_round(&r, &slow));
    r.answer[2].text = cn_text("none");
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    CHECK_OK(finish(&r));
    CHECK_INT(r.scored[2].drop, CN_DROP_UNSCORED);
    CHECK_INT(r.scored[3].drop, CN_DROP_NONE);
    CHECK_NEAR(cn_metrics_value(&r.metrics, "reward/slow/mean", -1),
               (N * (N - 1) / 2 - 2) / (N - 1.0), 1e-12);
    close_round(&r);
}

TEST(a_reward_that_fails_ends_the_round_with_its_message)
{
    struct round r;
    CHECK_OK(open_round(&r, &slow));
    r.answer[5].text = cn_text("bad");
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    CHECK_FAILS(finish(&r), CN_ERR_NUMERIC, "this answer is bad");
    close_round(&r);
}

TEST(a_round_can_be_abandoned)
{
    struct round r;
    CHECK_OK(open_round(&r, &slow));
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    for (size_t i = 0; i < N; i++)
        scorer_add(r.scorer, i);
    const double start = clock_seconds();
    scorer_abandon(r.scorer);
    CHECK(clock_seconds() - start < 0.5 * N * slow_s);
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    CHECK_OK(finish(&r));
    CHECK_NEAR(r.scored[N - 1].score, N - 1, 0);
    close_round(&r);
}

/* Scores the answers of `own`; those of others are spoiled before, as if they were not there yet. */
static enum cn_status score_own(struct round *r, const struct cn_reward *reward, const bool *own,
                                bool by_hand)
{
    CN_TRY(open_round(r, reward));
    bool chosen[N] = {false}; /* who answers what shows while the round goes on */
    r->work.own = chosen;
    for (size_t i = 0; i < N; i++) {
        if (!own[i]) r->answer[i].text = cn_text("bad");
        r->scored[i].score = -7;
    }
    CN_TRY(scorer_begin(r->scorer, &r->work));
    memcpy(chosen, own, sizeof chosen);
    for (size_t i = 0; by_hand && i < N; i += 3)
        if (own[i]) scorer_add(r->scorer, i);
    return finish(r);
}

TEST(a_rank_scores_its_own_answers_and_leaves_the_places_of_others_alone)
{
    static const struct cn_reward *rewards[] = {&slow, &grouped};
    for (size_t k = 0; k < 4; k++) {
        struct round r[2];
        bool own[2][N];
        for (size_t i = 0; i < N; i++) { /* whole groups of 4, as the grouped reward needs */
            own[0][i] = k % 2 ? i / 4 == 1 : i % 3 == 1;
            own[1][i] = !own[0][i];
        }
        for (size_t rank = 0; rank < 2; rank++) {
            CHECK_OK(score_own(&r[rank], rewards[k % 2], own[rank], k < 2));
            for (size_t i = 0; i < N; i++)
                CHECK_NEAR(r[rank].scored[i].score, own[rank][i] ? (double)i : -7, 0);
        }
        for (size_t i = 0; i < r[1].metrics.count; i++) /* as when ranks put theirs together */
            CHECK_OK(cn_metrics_add(&r[0].metrics, &r[1].metrics.item[i]));
        CHECK_NEAR(
            cn_metrics_value(&r[0].metrics, k % 2 ? "reward/grouped/mean" : "reward/slow/mean", -1),
            (N - 1) / 2.0, 1e-12);
        for (size_t rank = 0; rank < 2; rank++)
            close_round(&r[rank]);
    }
}

TEST(rewards_of_groups_see_whole_groups_and_no_service)
{
    struct round r;
    CHECK_OK(open_round(&r, &grouped));
    CHECK_OK(scorer_begin(r.scorer, &r.work));
    scorer_add(r.scorer, 1);
    CHECK_OK(finish(&r));
    CHECK_NEAR(cn_metrics_value(&r.metrics, "reward/grouped/calls", -1), 4, 0);
    scorer_close(r.scorer);
    r.service.mode = CN_SERVICE_URLS;
    CHECK_FAILS(scorer_open(&r.scoring, &r.service, cn_text("{}"), &r.scorer), CN_ERR_CONFIG,
                "group");
    cn_arena_free(&r.arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
