/* Rollout: what is sampled does not depend on how many are sampled at a time. */
#include "check.h"

#include "trainer/rollout.h"

#include "carnot/model.h"

/* A tabular policy over bytes, and the prompts of the environment `sort`. */
struct scene {
    struct cn_arena arena;
    struct cn_tokenizer *tokenizer;
    struct cn_model *model;
    struct cn_sampler *sampler;
    struct tasks *tasks;
    struct cn_json *init;
    struct data_settings limits;
    struct posed posed[5];
};

static enum cn_status open_scene(struct scene *s, size_t slots)
{
    const struct cn_env *env = cn_env_find("sort");
    void *env_settings;
    memset(s, 0, sizeof *s);
    s->limits.max_prompt_tokens = 16;
    CN_TRY(cn_json_parse(cn_text("{\"type\": \"table\", \"vocab_size\": 259, \"order\": 2}"),
                         "init", &s->init));
    const struct cn_model_settings model = {
        .type = "table", .init = s->init, .device = "cpu", .dtype = CN_DTYPE_F32, .threads = 1};
    const struct cn_sampler_settings sampler = {.slots = slots + 1, .context = 32};
    CN_TRY(cn_tokenizer_open_bytes(&s->tokenizer));
    CN_TRY(cn_model_open(&model, &s->model));
    CN_TRY(cn_sampler_open(s->model, &sampler, &s->sampler));
    CN_TRY(cn_arena_alloc(&s->arena, 1, env->settings_size, &env_settings));
    CN_TRY(cn_option_read(env->options, NULL, "env", NULL, &s->arena, env_settings));
    const struct tasks_setup setup = {
        .env = env, .env_settings = env_settings, .tokenizer = s->tokenizer, .limits = &s->limits};
    CN_TRY(tasks_open(&setup, &s->tasks));
    for (uint64_t i = 0; i < 5; i++)
        CN_TRY(tasks_pose(s->tasks, i, &s->arena, &s->posed[i]));
    return CN_OK;
}

static void close_scene(struct scene *s)
{
    tasks_close(s->tasks);
    cn_sampler_close(s->sampler);
    cn_model_close(s->model);
    cn_tokenizer_close(s->tokenizer);
    cn_json_close(s->init);
    cn_arena_free(&s->arena);
}

enum { PROMPTS = 5, SAMPLES = 3, WISHES = PROMPTS * SAMPLES };

static enum cn_status wish_for_all(struct scene *s, struct wishes *out)
{
    *out = (struct wishes){.arena = &s->arena};
    for (uint32_t i = 0; i < WISHES; i++) {
        const struct wish wish = {
            .posed = &s->posed[i / SAMPLES], .sample = i % SAMPLES, .temperature = 1, .parent = -1};
        CN_TRY(wishes_add(out, wish));
    }
    return CN_OK;
}

static struct rollout_options options_of(const struct scene *s, size_t slots)
{
    const struct rollout_options options = {.sampler = s->sampler,
                                            .tokenizer = s->tokenizer,
                                            .key = cn_rng_key(1, 2, CN_RNG_SAMPLING),
                                            .slots = slots,
                                            .max_tokens = 8,
                                            .top_p = 1};
    return options;
}

static enum cn_status collect(struct scene *s, size_t slots, struct cn_texts stop,
                              struct answer *answers)
{
    struct wishes wishes;
    struct rollout_options options = options_of(s, slots);
    CN_TRY(wish_for_all(s, &wishes));
    options.stop = stop;
    return rollout_collect(&options, wishes.item, (struct cn_span){0, wishes.count}, &s->arena,
                           answers);
}

static bool answers_equal(const struct answer *a, const struct answer *b)
{
    return a->n == b->n && a->stop == b->stop && cn_text_equal(a->text, b->text) &&
           memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0 &&
           memcmp(a->logp, b->logp, a->n * sizeof *a->logp) == 0 &&
           memcmp(a->entropy, b->entropy, a->n * sizeof *a->entropy) == 0;
}

TEST(answers_do_not_depend_on_the_number_of_slots)
{
    static const size_t slots[] = {1, 2, 4, 64};
    struct answer first[WISHES], again[WISHES];
    struct scene scene;
    size_t different = 0;
    CHECK_OK(open_scene(&scene, 64));
    CHECK_OK(collect(&scene, 64, (struct cn_texts){0}, first));
    for (size_t i = 1; i < WISHES; i++)
        different += first[i].ids[0] != first[0].ids[0];
    CHECK(different > 0); /* the answers are not all the same */
    for (size_t k = 0; k < sizeof slots / sizeof *slots; k++) {
        CHECK_OK(collect(&scene, slots[k], (struct cn_texts){0}, again));
        for (size_t i = 0; i < WISHES; i++)
            CHECK(answers_equal(&again[i], &first[i]));
    }
    close_scene(&scene);
}

TEST(an_answer_ends_at_a_stop_string_which_its_text_does_not_contain)
{
    struct answer free_running[WISHES], stopped[WISHES];
    struct scene scene;
    CHECK_OK(open_scene(&scene, 8));
    CHECK_OK(collect(&scene, 8, (struct cn_texts){0}, free_running));
    size_t chosen = WISHES;
    char stop[2] = {0};
    for (size_t i = 0; i < WISHES && chosen == WISHES;
         i++) /* a plain byte in the middle of an answer */
        if (free_running[i].n == 8 && free_running[i].ids[3] > ' ' && free_running[i].ids[3] < 127)
            chosen = i, stop[0] = (char)free_running[i].ids[3];
    if (chosen == WISHES) SKIP("no answer has a printable byte in its middle");
    const char *list[] = {stop};
    CHECK_OK(collect(&scene, 8, (struct cn_texts){list, 1}, stopped));
    CHECK(stopped[chosen].n <= 4);
    CHECK_INT(stopped[chosen].stop, CN_STOP_STRING);
    CHECK(!memchr(stopped[chosen].text.data, stop[0], stopped[chosen].text.length));
    for (size_t i = 0; i < WISHES; i++)
        CHECK(memcmp(stopped[i].ids, free_running[i].ids, stopped[i].n * sizeof(int32_t)) == 0);
    close_scene(&scene);
}

/* The first stop string of the list that the text contains, read from its beginning each time. */
static bool stops_naively(const struct cn_texts *stop, struct cn_text text, size_t *at)
{
    for (size_t i = 0; i < stop->count; i++) {
        const char *found =
            text.length ? memmem(text.data, text.length, stop->value[i], strlen(stop->value[i]))
                        : NULL;
        if (!found) continue;
        *at = (size_t)(found - text.data);
        return true;
    }
    return false;
}

TEST(stop_strings_are_found_in_the_fresh_bytes_as_in_the_whole_text)
{
    const char *list[] = {"abab", "ba", "cc", "a\nb"};
    const struct cn_texts stop = {list, 4};
    struct cn_rng rng;
    size_t found = 0;
    cn_rng_open(&rng, cn_rng_key(7, 0, CN_RNG_TASK), 0, 0, 0);
    for (int trial = 0; trial < 5000; trial++) {
        char text[24];
        size_t length = 0, fresh, slow = 0, fast = 0;
        bool ended = false;
        while (!ended && length + 4 <= sizeof text) {
            fresh = cn_rng_below(&rng, 5); /* a token may add nothing */
            for (size_t i = 0; i < fresh; i++)
                text[length++] = "abc\n"[cn_rng_below(&rng, 4)];
            const struct cn_text now = {text, length};
            ended = stops_naively(&stop, now, &slow);
            CHECK_INT(rollout_stops(&stop, now, fresh, &fast), ended);
            if (ended) CHECK_INT(fast, slow);
        }
        found += ended;
    }
    CHECK(found > 4000);
}

TEST(a_branch_goes_on_from_its_parents_tokens_and_keeps_to_the_budget)
{
    struct answer parent[WISHES], answers[4];
    struct scene scene;
    CHECK_OK(open_scene(&scene, 8));
    CHECK_OK(collect(&scene, 8, (struct cn_texts){0}, parent));
    size_t from = 0;
    while (from + 1 < WISHES && parent[from].n < 8)
        from++;
    CHECK(parent[from].n >= 3);
    struct posed begun = scene.posed[from / SAMPLES];
    int32_t ids[32];
    memcpy(ids, begun.ids, begun.n_ids * sizeof *ids);
    memcpy(ids + begun.n_ids, parent[from].ids, 2 * sizeof *ids);
    begun.ids = ids;
    begun.n_ids += 2;
    struct wishes wishes = {.arena = &scene.arena};
    for (uint32_t i = 0; i < 4; i++) {
        const struct wish wish = {.posed = &begun,
                                  .sample = 10 + i,
                                  .temperature = 1,
                                  .parent = 0,
                                  .n_begun = 2,
                                  .own_text = i >= 2};
        CHECK_OK(wishes_add(&wishes, wish));
    }
    const struct rollout_options options = options_of(&scene, 8);
    CHECK_OK(rollout_collect(&options, wishes.item, (struct cn_span){0, wishes.count}, &scene.arena,
                             answers));
    for (size_t i = 0; i < 4; i++) {
        const size_t ends = answers[i].stop == CN_STOP_EOS;
        CHECK(answers[i].n <= 6);
        if (ids[begun.n_ids - 2] < 128 && ids[begun.n_ids - 1] < 128 && i < 2) {
            CHECK(answers[i].text.length >= 2);
            CHECK_INT(answers[i].text.data[0], ids[begun.n_ids - 2]);
            CHECK_INT(answers[i].text.data[1], ids[begun.n_ids - 1]);
        }
        if (i >= 2) CHECK(answers[i].text.length <= 3 * (answers[i].n - ends));
    }
    close_scene(&scene);
}

/* ---- wishes in pieces ----------------------------------------------------- */

/* Hands out pieces of the wishes, and looks at when it is asked. */
struct pieces {
    const struct cn_span *span; /* the last one is empty, or there is none and the call fails */
    size_t n, given;
    const struct answer *answers; /* of all wishes; capacity UNTOUCHED: not begun */
    size_t finished, most;        /* most: as many as were under way at once */
    size_t early, after_last;     /* asked before it may be, asked again behind the end */
};
enum { UNTOUCHED = 123456 };

static size_t n_begun(const struct pieces *p)
{
    size_t begun = 0;
    for (size_t i = 0; i < WISHES; i++)
        begun += p->answers[i].capacity != UNTOUCHED;
    return begun;
}

static void count_finished(void *self, size_t i)
{
    struct pieces *p = self;
    const size_t under_way = n_begun(p) - p->finished++;
    (void)i;
    if (under_way > p->most) p->most = under_way;
}

static enum cn_status next_piece(void *self, struct cn_span *out)
{
    struct pieces *p = self;
    for (size_t k = 0; k < p->given; k++)
        for (size_t i = p->span[k].begin; i < p->span[k].end; i++)
            p->early += p->answers[i].capacity == UNTOUCHED;
    p->early += n_begun(p) - p->finished > p->most / 2;
    p->after_last += p->given > 1 && p->span[p->given - 1].begin == p->span[p->given - 1].end;
    if (p->given == p->n) return cn_fail(CN_ERR_COMM, "piece %zu is out of reach", p->n);
    *out = p->span[p->given++];
    return CN_OK;
}

/* Samples span[0] and what `more` gives of the others. */
static enum cn_status collect_pieces(struct scene *s, size_t slots, struct pieces *p,
                                     struct answer *answers)
{
    struct wishes wishes;
    struct rollout_options options = options_of(s, slots);
    CN_TRY(wish_for_all(s, &wishes));
    for (size_t i = 0; i < WISHES; i++)
        answers[i] = (struct answer){.capacity = UNTOUCHED};
    p->answers = answers;
    p->given = 1;
    p->finished = p->most = p->early = p->after_last = 0;
    options.more = next_piece;
    options.more_self = p;
    options.finished = count_finished;
    options.finished_self = p;
    return rollout_collect(&options, wishes.item, p->span[0], &s->arena, answers);
}

TEST(wishes_in_pieces_get_the_answers_of_one_span_at_their_places)
{
    /* Borders within the answers to one prompt, an empty share, and what others answer between. */
    static const struct cn_span cuts[][6] = {
        {{0, 4}, {4, 5}, {5, 9}, {9, 15}, {15, 15}, {15, 15}},
        {{0, 0}, {1, 2}, {7, 12}, {14, 15}, {15, 15}, {15, 15}},
        {{0, 6}, {8, 9}, {9, 10}, {10, 11}, {11, 13}, {15, 15}},
    };
    static const size_t slots[] = {1, 2, 5, 64};
    struct answer whole[WISHES], answers[WISHES];
    struct scene scene;
    CHECK_OK(open_scene(&scene, 64));
    CHECK_OK(collect(&scene, 64, (struct cn_texts){0}, whole));
    for (size_t k = 0; k < sizeof cuts / sizeof *cuts; k++)
        for (size_t w = 0; w < sizeof slots / sizeof *slots; w++) {
            struct pieces pieces = {.span = cuts[k], .n = 6};
            bool asked[WISHES] = {false};
            CHECK_OK(collect_pieces(&scene, slots[w], &pieces, answers));
            CHECK(pieces.span[pieces.given - 1].begin == pieces.span[pieces.given - 1].end);
            CHECK_INT(pieces.early, 0);
            CHECK_INT(pieces.after_last, 0);
            CHECK(pieces.most <= slots[w]);
            for (size_t i = 0; i < pieces.given; i++)
                for (size_t j = cuts[k][i].begin; j < cuts[k][i].end; j++)
                    asked[j] = true;
            for (size_t i = 0; i < WISHES; i++)
                if (asked[i])
                    CHECK(answers_equal(&answers[i], &whole[i]));
                else
                    CHECK(answers[i].capacity == UNTOUCHED && answers[i].n == 0);
            CHECK_OK(cn_sampler_refresh(scene.sampler)); /* all slots are closed */
        }
    close_scene(&scene);
}

TEST(an_error_of_more_ends_the_collection_and_closes_the_slots)
{
    static const struct cn_span span[] = {{0, 6}, {6, 10}}; /* two are under way at the error */
    struct answer answers[WISHES];
    struct scene scene;
    CHECK_OK(open_scene(&scene, 8));
    for (size_t n = 1; n <= 2; n++) {
        struct pieces pieces = {.span = span, .n = n};
        CHECK_FAILS(collect_pieces(&scene, 4, &pieces, answers), CN_ERR_COMM, "is out of reach");
        CHECK(pieces.finished < span[n - 1].end);
        CHECK_OK(cn_sampler_refresh(scene.sampler));
    }
    CHECK_OK(collect(&scene, 8, (struct cn_texts){0}, answers));
    close_scene(&scene);
}

TEST(an_error_while_a_prompt_waits_for_its_further_answers_closes_all_slots)
{
    struct answer answers[WISHES];
    struct wishes wishes;
    struct scene scene;
    CHECK_OK(open_scene(&scene, 8));
    CHECK_OK(wish_for_all(&scene, &wishes));
    wishes.item[SAMPLES + 1].temperature = -1;
    const struct rollout_options options = options_of(&scene, 8);
    CHECK_FAILS(rollout_collect(&options, wishes.item, (struct cn_span){0, wishes.count},
                                &scene.arena, answers),
                CN_ERR_CONFIG, "temperature");
    CHECK_OK(cn_sampler_refresh(scene.sampler));
    close_scene(&scene);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
