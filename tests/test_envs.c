/* Environments: determinism per seed, splits that never meet, right demonstrations, and what
 * echoing would score. */
#include "check.h"

#include "carnot/env.h"
#include "carnot/reward.h"

#include <stdlib.h>
#include <unistd.h>

/* An environment of one split with its settings. */
struct world {
    const struct cn_env *env;
    struct cn_arena arena;
    void *shared;
};

static enum cn_status world_open_with(struct world *world, const char *name, const char *json,
                                      struct cn_env_setup setup)
{
    cn_arena_init(&world->arena);
    world->shared = NULL;
    world->env = cn_env_find(name);
    if (!world->env) return cn_fail(CN_ERR_CONFIG, "no environment %s", name);
    void *settings;
    CN_TRY(cn_arena_alloc(&world->arena, world->env->settings_size, 1, &settings));
    struct cn_json *root = NULL;
    CN_TRY(cn_json_parse(cn_text(json), "test", &root));
    enum cn_status status =
        cn_option_read(world->env->options, root, "env", NULL, &world->arena, settings);
    cn_json_close(root);
    if (status != CN_OK) return status;
    setup.settings = settings;
    return world->env->open(&setup, &world->shared);
}

static enum cn_status world_open(struct world *world, const char *name, const char *json,
                                 enum cn_split split, uint64_t seed)
{
    return world_open_with(world, name, json, (struct cn_env_setup){.split = split, .seed = seed});
}

static void world_close(struct world *world)
{
    if (world->shared) world->env->close(world->shared);
    cn_arena_free(&world->arena);
}

static enum cn_status world_task(struct world *world, uint64_t seed, uint64_t index,
                                 struct cn_task *out)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(seed, 0, CN_RNG_TASK), index, 0, 0);
    return world->env->reset(world->shared, NULL, index, &rng, &world->arena, out);
}

/* The prompt as text, whichever way it is posed. */
static struct cn_text prompt_of(const struct cn_task *task)
{
    return task->rendered.length ? task->rendered
                                 : task->messages.item[task->messages.count - 1].content;
}

static const struct {
    const char *name, *json;
    bool finite;
} setups[] = {
    {"sort", "{\"digits\": 3}", true},
    {"sort", "{\"digits\": 6}", true},
    {"sort", "{\"digits\": 20}", false},
    {"arithmetic", "{}", true},
    {"arithmetic", "{\"format\": \"plain\", \"largest\": 9}", true},
    {"arithmetic", "{\"operators\": \"+-*/\", \"terms\": 3, \"smallest\": -9, \"largest\": 9}",
     true},
    {"arithmetic", "{\"operators\": \"*\", \"terms\": 4, \"largest\": 999}", false},
    {"arithmetic", "{\"levels\": [1, 2, 4]}", true},
    {"arithmetic", "{\"levels\": [1, 5], \"instruction\": \"hash\"}", false},
};
enum { N_SETUPS = sizeof setups / sizeof *setups };

TEST(the_same_seed_poses_the_same_tasks_and_another_seed_others)
{
    for (int i = 0; i < N_SETUPS; i++) {
        struct world a, b, c;
        CHECK_OK(world_open(&a, setups[i].name, setups[i].json, CN_SPLIT_TRAIN, 7));
        CHECK_OK(world_open(&b, setups[i].name, setups[i].json, CN_SPLIT_TRAIN, 7));
        CHECK_OK(world_open(&c, setups[i].name, setups[i].json, CN_SPLIT_TRAIN, 8));
        CHECK((a.env->count(a.shared) > 0) == setups[i].finite);
        int differ = 0;
        for (uint64_t task = 0; task < 50; task++) {
            struct cn_task x, y, z;
            CHECK_OK(world_task(&a, 7, task, &x));
            CHECK_OK(world_task(&b, 7, task, &y));
            CHECK_OK(world_task(&c, 8, task, &z));
            CHECK(cn_text_equal(prompt_of(&x), prompt_of(&y)));
            CHECK(cn_text_equal(x.ground_truth, y.ground_truth));
            differ += !cn_text_equal(prompt_of(&x), prompt_of(&z));
        }
        CHECK(differ > 25);
        world_close(&a), world_close(&b), world_close(&c);
    }
}

TEST(the_held_out_tasks_are_the_same_for_every_seed)
{
    struct world a, b;
    CHECK_OK(world_open(&a, "arithmetic", "{}", CN_SPLIT_HELD_OUT, 1));
    CHECK_OK(world_open(&b, "arithmetic", "{}", CN_SPLIT_HELD_OUT, 2));
    for (uint64_t task = 0; task < 100; task++) {
        struct cn_task x, y;
        CHECK_OK(world_task(&a, 1, task, &x));
        CHECK_OK(world_task(&b, 2, task, &y));
        CHECK(cn_text_equal(prompt_of(&x), prompt_of(&y)));
    }
    world_close(&a), world_close(&b);
}

TEST(a_demonstration_is_right)
{
    const struct cn_reward *reward = cn_reward_find("exact_answer");
    for (int i = 0; i < N_SETUPS; i++) {
        struct world world;
        CHECK_OK(world_open(&world, setups[i].name, setups[i].json, CN_SPLIT_TRAIN, 1));
        void *settings;
        CHECK_OK(cn_arena_alloc(&world.arena, reward->settings_size, 1, &settings));
        CHECK_OK(cn_option_read(reward->options, NULL, "rewards.0", NULL, &world.arena, settings));
        for (uint64_t task = 0; task < 200; task++) {
            struct cn_task t;
            CHECK_OK(world_task(&world, 1, task, &t));
            struct cn_episode episode = {
                .response = t.demonstration, .ground_truth = t.ground_truth, .stop = CN_STOP_EOS};
            struct cn_outcome out;
            CHECK_OK(reward->score(settings, &episode, 1, &world.arena, &out));
            CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
        }
        world_close(&world);
    }
}

/* ---- splits -------------------------------------------------------------- */

/* Every prompt of a split into a table of 10^digits marks. */
static size_t mark_sorts(struct world *world, uint8_t *seen, uint8_t mark, size_t digits)
{
    uint64_t n = world->env->count(world->shared);
    size_t fresh = 0;
    for (uint64_t task = 0; task < n; task++) {
        struct cn_task t;
        if (world_task(world, 0, task, &t) != CN_OK || t.rendered.length != digits + 1) return 0;
        size_t number = (size_t)strtoul(t.rendered.data, NULL, 10);
        fresh += !(seen[number] & mark);
        seen[number] |= mark;
    }
    return fresh;
}

TEST(the_splits_of_sort_cover_every_string_once_and_share_no_set_of_digits)
{
    enum { DIGITS = 4, SPACE = 10000 };
    static uint8_t seen[SPACE];
    struct world train, held_out;
    CHECK_OK(world_open(&train, "sort", "{\"digits\": 4, \"held_out\": 0.3}", CN_SPLIT_TRAIN, 3));
    CHECK_OK(
        world_open(&held_out, "sort", "{\"digits\": 4, \"held_out\": 0.3}", CN_SPLIT_HELD_OUT, 3));
    size_t a = mark_sorts(&train, seen, 1, DIGITS), b = mark_sorts(&held_out, seen, 2, DIGITS);
    CHECK_INT(a, train.env->count(train.shared));
    CHECK_INT(b, train.env->count(held_out.shared));
    CHECK_INT(a + b, SPACE);
    CHECK(b > SPACE / 5 && b < SPACE * 2 / 5);
    for (int i = 0; i < SPACE; i++) {
        CHECK(seen[i] == 1 || seen[i] == 2);
        int d[4] = {i / 1000, i / 100 % 10, i / 10 % 10, i % 10};
        int swapped = d[1] * 1000 + d[0] * 100 + d[3] * 10 + d[2];
        CHECK(seen[i] == seen[swapped]);
    }
    world_close(&train), world_close(&held_out);
}

/* Operands and sign of "What is a + b?" or "a+b=". */
static bool read_problem(struct cn_text prompt, int *a, char *sign, int *b)
{
    char text[128];
    snprintf(text, sizeof text, "%.*s", (int)prompt.length, prompt.data);
    return sscanf(text, "What is %d %c %d?", a, sign, b) == 3 ||
           sscanf(text, "%d%c%d=", a, sign, b) == 3;
}

TEST(the_splits_of_arithmetic_cover_every_problem_once_and_share_no_sum)
{
    enum { SPAN = 21 };
    static uint8_t seen[2][2][SPAN][SPAN]; /* [format][sign][a][b] */
    static const char *const formats[2] = {"{\"largest\": 20, \"format\": \"chat\"}",
                                           "{\"largest\": 20, \"format\": \"plain\"}"};
    for (int f = 0; f < 2; f++) {
        for (int split = 0; split < 2; split++) {
            struct world world;
            CHECK_OK(world_open(&world, "arithmetic", formats[f],
                                split ? CN_SPLIT_HELD_OUT : CN_SPLIT_TRAIN, 5));
            uint64_t n = world.env->count(world.shared);
            CHECK(split ? n > 100 && n < 250 : n > 600);
            for (uint64_t task = 0; task < n; task++) {
                struct cn_task t;
                int a = 0, b = 0;
                char sign = 0;
                CHECK_OK(world_task(&world, 5, task, &t));
                CHECK(read_problem(prompt_of(&t), &a, &sign, &b));
                CHECK(a >= 0 && a < SPAN && b >= 0 && b < SPAN);
                CHECK(seen[f][sign == '-'][a][b] == 0); /* neither in the other split nor twice */
                seen[f][sign == '-'][a][b] = (uint8_t)(1 + split);
                char result[32], truth[32];
                snprintf(result, sizeof result, "%d", sign == '+' ? a + b : a - b);
                snprintf(truth, sizeof truth, "%.*s", (int)t.ground_truth.length,
                         t.ground_truth.data);
                CHECK_TEXT(truth, result);
            }
            world_close(&world);
        }
    }
    for (int a = 0; a < SPAN; a++)
        for (int b = 0; b < SPAN; b++) {
            CHECK(seen[0][0][a][b] && seen[0][1][a][b]);
            CHECK(seen[0][0][a][b] == seen[0][0][b][a]); /* 3 + 5 and 5 + 3 are one problem */
            CHECK(seen[0][0][a][b] == seen[1][0][a][b]); /* the format does not move a problem */
            CHECK(seen[0][1][a][b] == seen[1][1][a][b]);
        }
}

TEST(drawn_tasks_stay_in_their_split)
{
    /* the same strings drawn by both splits: none may be found twice */
    struct world train, held_out;
    const char *json = "{\"terms\": 3, \"largest\": 200, \"held_out\": 0.5}";
    CHECK_OK(world_open(&train, "arithmetic", json, CN_SPLIT_TRAIN, 1));
    CHECK_OK(world_open(&held_out, "arithmetic", json, CN_SPLIT_HELD_OUT, 1));
    CHECK_INT(train.env->count(train.shared), 0);
    for (uint64_t i = 0; i < 300; i++) {
        struct cn_task a, b;
        CHECK_OK(world_task(&train, 1, i,
                            &a)); /* one stream: the first problem that fits is taken by either */
        CHECK_OK(world_task(&held_out, 1, i, &b));
        CHECK(!cn_text_equal(prompt_of(&a), prompt_of(&b)));
    }
    world_close(&train), world_close(&held_out);
}

/* ---- what echoing would score -------------------------------------------- */

/* Share of the problems whose answer is the first, and the last, operand of the question. */
static enum cn_status echo_baseline(const char *json, enum cn_split split, double *first,
                                    double *last, uint64_t *n)
{
    struct world world;
    CN_TRY(world_open(&world, "arithmetic", json, split, 0));
    uint64_t count = world.env->count(world.shared), hits[2] = {0, 0};
    for (uint64_t task = 0; task < count; task++) {
        struct cn_task t;
        int a = 0, b = 0;
        char sign = 0;
        CN_TRY(world_task(&world, 0, task, &t));
        if (!read_problem(prompt_of(&t), &a, &sign, &b))
            return cn_fail(CN_ERR_BUG, "cannot read the prompt");
        int answer = (int)strtol(t.ground_truth.data, NULL, 10);
        hits[0] += answer == a;
        hits[1] += answer == b;
    }
    *n = count;
    *first = (double)hits[0] / (double)count;
    *last = (double)hits[1] / (double)count;
    world_close(&world);
    return CN_OK;
}

TEST(echoing_an_operand_scores_next_to_nothing_without_zero_operands)
{
    static const char *const within =
        "{\"largest\": 20, \"zero_operands\": false, \"smallest_result\": 0, "
        "\"largest_result\": 20}";
    static const char *const with_zero =
        "{\"largest\": 20, \"smallest_result\": 0, \"largest_result\": 20}";
    double first, last, zero_first, zero_last;
    uint64_t n, all = 0, n_zero;
    for (int split = 0; split < 2; split++) {
        CHECK_OK(
            echo_baseline(within, split ? CN_SPLIT_HELD_OUT : CN_SPLIT_TRAIN, &first, &last, &n));
        printf("  sums and differences within 0..20, no zero operand, %s: %llu problems, echo of "
               "the first operand %.2f %%, "
               "of the last %.2f %%\n",
               split ? "held out" : "training", (unsigned long long)n, 100 * first, 100 * last);
        CHECK_NEAR(first, 0, 0); /* a + b = a and a - b = a need b = 0 */
        CHECK(last < 0.06);      /* a - b = b when a = 2 b: 10 of 400 */
        all += n;
    }
    CHECK_INT(all, 190 + 210);
    CHECK_OK(echo_baseline(with_zero, CN_SPLIT_TRAIN, &zero_first, &zero_last, &n_zero));
    CHECK(zero_first > 0.05); /* the test would see an echo if it paid */
}

/* ---- bad settings -------------------------------------------------------- */

TEST(impossible_settings_are_refused_with_the_reason)
{
    static const struct {
        const char *name, *json, *message;
        enum cn_split split;
    } bad[] = {
        {"arithmetic", "{\"operators\": \"+x\"}", "env.operators is \"+x\"", CN_SPLIT_TRAIN},
        {"arithmetic", "{\"operators\": \"\"}", "env.operators is \"\"", CN_SPLIT_TRAIN},
        {"arithmetic", "{\"smallest\": 5, \"largest\": 4}", "env.smallest 5 is above env.largest 4",
         CN_SPLIT_TRAIN},
        {"arithmetic", "{\"levels\": [1.5]}", "env.levels has 1.5", CN_SPLIT_TRAIN},
        {"arithmetic", "{\"held_out\": 0}", "no held-out problem", CN_SPLIT_HELD_OUT},
        {"arithmetic", "{\"smallest_result\": 1000}", "no training problem", CN_SPLIT_TRAIN},
        {"sort", "{\"held_out\": 0}", "env.held_out is 0", CN_SPLIT_HELD_OUT},
        {"questions", "{}", "data.train", CN_SPLIT_TRAIN},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct world world;
        CHECK_FAILS(world_open(&world, bad[i].name, bad[i].json, bad[i].split, 0), CN_ERR_CONFIG,
                    bad[i].message);
        world_close(&world);
    }
}

/* ---- questions ----------------------------------------------------------- */

TEST(questions_poses_the_rows_of_a_file)
{
    char path[] = "/tmp/carnot_test_envs_XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0);
    static const char rows[] = "{\"question\": \"How many?\", \"answer\": \"2 + 1 = 3\\n#### 3\"}\n"
                               "{\"prompt\": \"Say hi\", \"ground_truth\": \"hi\"}\n";
    CHECK(write(fd, rows, sizeof rows - 1) == (ssize_t)sizeof rows - 1);
    close(fd);
    const char *paths[] = {path};
    double weight = 1;
    struct cn_data *data = NULL;
    CHECK_OK(cn_data_open(paths, &weight, 1, NULL, &data));
    struct world world;
    CHECK_OK(world_open_with(&world, "questions", "{\"instruction\": \" Be brief.\"}",
                             (struct cn_env_setup){.data = data}));
    CHECK_INT(world.env->count(world.shared), 2);
    struct cn_task t;
    CHECK_OK(world_task(&world, 0, 0, &t));
    CHECK(cn_text_is(prompt_of(&t), "How many? Be brief."));
    CHECK(cn_text_is(t.ground_truth, "3"));
    CHECK(t.row.length > 0);
    CHECK_OK(world_task(&world, 0, 1, &t));
    CHECK(cn_text_is(prompt_of(&t), "Say hi Be brief."));
    CHECK(cn_text_is(t.ground_truth, "hi"));
    CHECK_FAILS(world_task(&world, 0, 2, &t), CN_ERR_BUG, "task 2 of 2");
    world_close(&world);
    cn_data_close(data);
    unlink(path);
}

/* ---- compose ------------------------------------------------------------- */

TEST(composing_has_many_right_answers_and_its_demonstrations_are_some_of_them)
{
    static const char *const setups_of_compose[] = {
        "{}", "{\"terms\": 2}", "{\"terms\": 8, \"smallest\": 10, \"largest\": 14}",
        "{\"format\": \"chat\", \"largest\": 500}"};
    static const int terms[] = {3, 2, 8, 3};
    const struct cn_reward *reward = cn_reward_find("terms");
    for (int i = 0; i < 4; i++) {
        struct world world;
        char json[32];
        struct cn_json *given;
        void *settings;
        CHECK_OK(world_open(&world, "compose", setups_of_compose[i], CN_SPLIT_TRAIN, 3));
        snprintf(json, sizeof json, "{\"terms\": %d}", terms[i]);
        CHECK_OK(cn_json_parse(cn_text(json), "test", &given));
        CHECK_OK(cn_arena_alloc(&world.arena, reward->settings_size, 1, &settings));
        CHECK_OK(cn_option_read(reward->options, given, "r", NULL, &world.arena, settings));
        cn_json_close(given);
        struct cn_task first = {0};
        size_t same_number = 0, same_answer = 0;
        for (uint64_t task = 0; task < 500; task++) {
            struct cn_task t;
            CHECK_OK(world_task(&world, 3, task, &t));
            if (task == 0) first = t;
            struct cn_episode episode = {
                .response = t.demonstration, .ground_truth = t.ground_truth, .stop = CN_STOP_EOS};
            struct cn_outcome out;
            CHECK_OK(reward->score(settings, &episode, 1, &world.arena, &out));
            CHECK_INT(out.verdict, CN_VERDICT_CORRECT);
            same_number += cn_text_equal(t.ground_truth, first.ground_truth);
            same_answer += cn_text_equal(t.ground_truth, first.ground_truth) &&
                           cn_text_equal(t.demonstration, first.demonstration);
        }
        CHECK(same_number > 1);           /* a number comes again ... */
        CHECK(same_answer < same_number); /* ... with another demonstration */
        world_close(&world);
    }
}

TEST(every_composition_is_demonstrated_equally_often)
{
    /* 8 = a+b+c has 21 compositions; chi-square with 20 degrees of freedom, 99.99 %: 52.4. */
    struct world world;
    CHECK_OK(world_open(&world, "compose", "{\"smallest\": 8, \"largest\": 8, \"held_out\": 0}",
                        CN_SPLIT_TRAIN, 0));
    enum { DRAWS = 4200 };
    double count[9][9] = {{0}}, chi = 0;
    for (uint64_t task = 0; task < DRAWS; task++) {
        struct cn_task t;
        int a, b, c;
        CHECK_OK(world_task(&world, 0, task, &t));
        CHECK_INT(sscanf(t.demonstration.data, "%d+%d+%d", &a, &b, &c), 3);
        CHECK(a > 0 && b > 0 && c > 0 && a + b + c == 8);
        count[a][b]++;
    }
    for (int a = 1; a <= 6; a++)
        for (int b = 1; a + b <= 7; b++)
            chi += (count[a][b] - 200) * (count[a][b] - 200) / 200;
    CHECK(chi < 52.4);
    world_close(&world);
}

TEST(numbers_that_are_composed_in_training_are_never_evaluated)
{
    struct world train, held;
    bool trained[200] = {false};
    size_t met = 0;
    CHECK_OK(world_open(&train, "compose", "{}", CN_SPLIT_TRAIN, 1));
    CHECK_OK(world_open(&held, "compose", "{}", CN_SPLIT_HELD_OUT, 2));
    for (uint64_t task = 0; task < 300; task++) {
        struct cn_task t;
        CHECK_OK(world_task(&train, 1, task, &t));
        trained[atoi(t.ground_truth.data)] = true;
    }
    for (uint64_t task = 0; task < 300; task++) {
        struct cn_task t;
        CHECK_OK(world_task(&held, 2, task, &t));
        CHECK(!trained[atoi(t.ground_truth.data)]);
        met += !trained[atoi(t.ground_truth.data)];
    }
    CHECK_INT(met, 300);
    world_close(&train), world_close(&held);
    CHECK_FAILS(
        world_open(&train, "compose", "{\"smallest\": 50, \"largest\": 20}", CN_SPLIT_TRAIN, 1),
        CN_ERR_CONFIG, "env.smallest=50 is above env.largest=20");
    world_close(&train);
    CHECK_FAILS(world_open(&train, "compose", "{\"held_out\": 0}", CN_SPLIT_HELD_OUT, 1),
                CN_ERR_CONFIG, "leaves no number");
    world_close(&train);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
