/* Batches that were sampled ahead: bytes and back, in a row, in a file that may be damaged. */
#include "check.h"
#include "fixtures.h"

#include "trainer/ranks/ahead.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct scene {
    struct fixture f;
    struct cn_metrics metrics;
    struct eval_shown shown;
    struct experience_result result;
};

/* A random batch for `step`, with columns of later stages. */
static void scene_open(struct scene *s, uint64_t step)
{
    fixture_open(&s->f);
    CHECK_OK(fixture_random(&s->f, step, 2, 3));
    s->f.batch.written |= CN_NEEDS(advantage);
    cn_metrics_init(&s->metrics, &s->f.arena);
    CHECK_OK(cn_metrics_mean(&s->metrics, "reward/exact/mean", 0.1));
    CHECK_OK(cn_metrics_mean(&s->metrics, "reward/exact/mean", 0.3));
    CHECK_OK(cn_metrics_max(&s->metrics, "most", 4));
    s->shown = (struct eval_shown){cn_text("1+1="), cn_text("2"), cn_text(""), 0.5};
    s->result = (struct experience_result){.step = step,
                                           .weights = step - 2,
                                           .position = 40 + step,
                                           .batch = &s->f.batch,
                                           .shown = &s->shown,
                                           .n_shown = 1,
                                           .times = {1, 2, 3}};
}

static void check_same(const struct scene *s, const struct experience_result *r,
                       const struct cn_metrics *metrics)
{
    const struct cn_batch *a = &s->f.batch, *b = r->batch;
    CHECK_INT(r->step, s->result.step);
    CHECK_INT(r->weights, s->result.weights);
    CHECK_INT(r->position, s->result.position);
    CHECK_NEAR(r->times.reward_busy, 3, 0);
    CHECK_INT(b->n_sequences, a->n_sequences);
    CHECK(memcmp(b->seq_start, a->seq_start, (a->n_sequences + 1) * sizeof *a->seq_start) == 0);
    CHECK(b->written & CN_NEEDS(token) && b->written & CN_NEEDS(reward));
    CHECK(!(b->written & CN_NEEDS(advantage)));
    for (int c = 0; c < CN_COLUMN_COUNT; c++) {
        const struct cn_column_info *info = &cn_column_table[c];
        const size_t n = info->per == CN_PER_TOKEN ? a->n_tokens : a->n_sequences;
        if (b->written & CN_BIT(c))
            CHECK(memcmp(cn_batch_column(a, (enum cn_column)c),
                         cn_batch_column(b, (enum cn_column)c), n * info->size) == 0);
    }
    CHECK_INT(r->n_shown, 1);
    CHECK(cn_text_is(r->shown[0].prompt, "1+1=") && cn_text_is(r->shown[0].response, "2"));
    CHECK_INT(r->shown[0].ground_truth.length, 0);
    CHECK(cn_metrics_value(metrics, "reward/exact/mean", 0) ==
          cn_metrics_value(&s->metrics, "reward/exact/mean", 1));
    CHECK_NEAR(cn_metrics_value(metrics, "most", 0), 4, 0);
}

TEST(a_batch_comes_back_from_its_bytes)
{
    struct scene s;
    struct cn_str bytes = {NULL, 0, 0};
    struct cn_metrics metrics;
    struct experience_result result;
    scene_open(&s, 9);
    cn_metrics_init(&metrics, &s.f.arena);
    CHECK_OK(ahead_pack(&s.result, &s.metrics, NULL, &bytes));
    CHECK_OK(ahead_unpack(cn_str_text(&bytes), NULL, &s.f.arena, &metrics, &result));
    check_same(&s, &result, &metrics);
    cn_str_free(&bytes);
    fixture_close(&s.f);
}

TEST(bytes_that_are_cut_off_or_of_something_else_are_refused)
{
    struct scene s;
    struct cn_str bytes = {NULL, 0, 0};
    struct cn_metrics metrics;
    struct experience_result result;
    scene_open(&s, 9);
    CHECK_OK(ahead_pack(&s.result, &s.metrics, NULL, &bytes));
    for (size_t n = 0; n < bytes.length; n++) {
        const struct cn_text cut = {bytes.data, n};
        cn_metrics_init(&metrics, &s.f.arena);
        CHECK_FAILS(ahead_unpack(cut, NULL, &s.f.arena, &metrics, &result), CN_ERR_DATA, "cut off");
    }
    bytes.data[0] = 'X';
    CHECK_FAILS(ahead_unpack(cn_str_text(&bytes), NULL, &s.f.arena, &metrics, &result), CN_ERR_DATA,
                "no batch");
    cn_str_free(&bytes);
    fixture_close(&s.f);
}

TEST(batches_wait_in_a_file_in_their_order)
{
    char path[] = "/tmp/test_ahead_XXXXXX";
    struct scene s[2];
    struct ahead ahead = {.n = 0}, again = {.n = 0};
    uint64_t last;
    const int file = mkstemp(path);
    CHECK(file >= 0);
    close(file);
    for (uint64_t i = 0; i < 2; i++) {
        struct cn_str bytes = {NULL, 0, 0};
        scene_open(&s[i], 11 + i);
        CHECK_OK(ahead_pack(&s[i].result, &s[i].metrics, NULL, &bytes));
        CHECK_OK(ahead_add(&ahead, &bytes));
    }
    CHECK_OK(ahead_save(&ahead, path));
    CHECK_OK(ahead_load(&again, path, &last));
    CHECK_INT(last, 12);
    for (uint64_t i = 0; i < 2; i++) {
        struct cn_metrics metrics;
        struct experience_result result;
        cn_metrics_init(&metrics, &s[i].f.arena);
        CHECK_OK(ahead_next(&again, 11 + i, &s[i].f.arena, &metrics, &result));
        check_same(&s[i], &result, &metrics);
    }
    CHECK_INT(again.n, 0);
    CHECK(truncate(path, 300) == 0);
    CHECK_FAILS(ahead_load(&again, path, &last), CN_ERR_DATA, path);
    ahead_free(&ahead);
    ahead_free(&again);
    for (int i = 0; i < 2; i++)
        fixture_close(&s[i].f);
    unlink(path);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
