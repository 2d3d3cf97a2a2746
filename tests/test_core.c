/* Arena, random streams, exact sums, batch, metrics, files. */
#include "check.h"

#include "carnot/batch.h"
#include "carnot/metrics.h"
#include "carnot/plugin.h"
#include "carnot/rng.h"
#include "carnot/str.h"

#include <stdlib.h>
#include <unistd.h>

/* Known answers of the Random123 distribution, as quoted in Salmon et al.'s test vectors. */
TEST(philox_gives_the_published_known_answers)
{
    const struct {
        uint32_t counter[4], key[2], out[4];
    } known[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff},
         {0xffffffff, 0xffffffff},
         {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        struct cn_rng_key key = {{known[i].key[0], known[i].key[1]}};
        uint32_t out[4];
        cn_philox(known[i].counter, key, out);
        for (int w = 0; w < 4; w++)
            CHECK_INT(out[w], known[i].out[w]);
    }
}

TEST(a_keyed_permutation_visits_everything_once_and_differs_between_keys)
{
    enum { N = 1000 };
    char seen[N] = {0};
    int moved = 0;
    for (uint64_t i = 0; i < N; i++) {
        uint64_t a = cn_rng_permute(cn_rng_key(1, 0, CN_RNG_ORDER), i, N);
        CHECK(a < N && !seen[a]);
        seen[a] = 1;
        moved += a != cn_rng_permute(cn_rng_key(1, 1, CN_RNG_ORDER), i, N);
    }
    CHECK(moved > N / 2);
}

TEST(draws_below_a_limit_are_uniform)
{
    int count[7] = {0};
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(3, 0, CN_RNG_TEST), 5, 0, 0);
    for (int i = 0; i < 70000; i++)
        count[cn_rng_below(&rng, 7)]++;
    double chi2 = 0;
    for (int i = 0; i < 7; i++)
        chi2 += (count[i] - 10000.0) * (count[i] - 10000.0) / 10000.0;
    CHECK(chi2 < 22.5); /* 0.1 % point of chi-square with 6 degrees of freedom */
}

TEST(an_exact_sum_does_not_depend_on_the_order_or_the_grouping)
{
    enum { N = 2000 };
    double x[N];
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(4, 0, CN_RNG_TEST), 0, 0, 0);
    for (int i = 0; i < N; i++)
        x[i] = cn_rng_normal(&rng) * pow(10, (double)cn_rng_below(&rng, 30) - 15);
    struct cn_sum all = {0}, parts[7] = {{{0}, 0, 0}}, merged = {0};
    double naive = 0, backwards = 0;
    for (int i = 0; i < N; i++) {
        cn_sum_add(&all, x[i]);
        cn_sum_add(&parts[(i * 31) % 7], x[N - 1 - i]);
        naive += x[i];
        backwards += x[N - 1 - i];
    }
    for (int i = 0; i < 7; i++)
        cn_sum_merge(&merged, &parts[6 - i]);
    CHECK(naive != backwards); /* what should differ did differ */
    CHECK(cn_sum_value(&all) == cn_sum_value(&merged));
    CHECK_NEAR(cn_sum_value(&all), naive, 1e-12 * fabs(naive));
    CHECK_INT(merged.count, N);
}

TEST(exact_sums_are_correctly_rounded_at_the_edges)
{
    struct cn_sum sum = {0};
    cn_sum_add(&sum, 1e308);
    cn_sum_add(&sum, 1.0);
    cn_sum_add(&sum, 5e-324);
    cn_sum_add(&sum, -1e308);
    CHECK(cn_sum_value(&sum) == 1.0);
    cn_sum_add(&sum, -1.0);
    CHECK(cn_sum_value(&sum) == 5e-324);
    cn_sum_add(&sum, -1e-323);
    CHECK(cn_sum_value(&sum) == -5e-324);
    struct cn_sum tie = {0};
    cn_sum_add(&tie, 9007199254740992.0); /* 2^53 */
    cn_sum_add(&tie, 1.0);
    CHECK(cn_sum_value(&tie) == 9007199254740992.0); /* half to even */
    cn_sum_add(&tie, 1e-300);
    CHECK(cn_sum_value(&tie) == 9007199254740994.0); /* just above half */
    cn_sum_add(&tie, NAN);
    CHECK(isnan(cn_sum_value(&tie)));
}

TEST(an_arena_gives_zeroed_memory_and_takes_it_back_to_a_mark)
{
    struct cn_arena arena;
    cn_arena_init(&arena);
    int *a, *b;
    CHECK_OK(CN_NEW(&arena, 10, &a));
    struct cn_arena_mark mark = cn_arena_mark(&arena);
    for (int round = 0; round < 3; round++) {
        CHECK_OK(CN_NEW(&arena, 3000000, &b));
        CHECK_INT(b[2999999], 0);
        b[2999999] = 7;
        cn_arena_release(&arena, mark);
    }
    CHECK_FAILS(cn_arena_alloc(&arena, SIZE_MAX / 2, 8, &b), CN_ERR_MEMORY, "asked for");
    cn_arena_free(&arena);
}

TEST(a_missing_column_is_named_with_its_writer_and_reader)
{
    struct cn_arena arena;
    cn_arena_init(&arena);
    struct cn_batch batch;
    size_t lengths[] = {3, 0, 2};
    CHECK_OK(cn_batch_init(&batch, &arena, lengths, 3));
    CHECK_INT(batch.n_tokens, 5);
    CHECK_INT(batch.parent[2], -1);
    CHECK(isnan(batch.advantage[4]));
    CHECK_FAILS(cn_batch_require(&batch, CN_NEEDS(logp_old), "kl"), CN_ERR_BUG, "SCORE");
    batch.written |= CN_NEEDS(logp_old);
    CHECK_OK(cn_batch_require(&batch, CN_NEEDS(logp_old), "kl"));
    cn_arena_free(&arena);
}

TEST(metrics_merge_sums_and_keep_their_kind)
{
    struct cn_arena arena;
    cn_arena_init(&arena);
    struct cn_metrics metrics;
    cn_metrics_init(&metrics, &arena);
    CHECK_OK(cn_metrics_mean(&metrics, "a/b", 1));
    CHECK_OK(cn_metrics_mean(&metrics, "a/b", 2));
    CHECK_OK(cn_metrics_max(&metrics, "m", -3));
    CHECK_NEAR(cn_metrics_value(&metrics, "a/b", 0), 1.5, 0);
    CHECK_NEAR(cn_metrics_value(&metrics, "m", 0), -3, 0);
    CHECK_FAILS(cn_metrics_sum(&metrics, "m", 1), CN_ERR_BUG, "two kinds");
    cn_arena_free(&arena);
}

TEST(selection_takes_the_largest_and_the_earlier_of_equals)
{
    struct cn_arena arena;
    cn_arena_init(&arena);
    double values[] = {1, 5, 5, 2, 5};
    uint8_t chosen[5];
    CHECK_OK(cn_reduce_alone.select_largest(NULL, values, 5, 2, &arena, chosen));
    CHECK(!chosen[0] && chosen[1] && chosen[2] && !chosen[3] && !chosen[4]);
    cn_arena_free(&arena);
}

TEST(safe_text_keeps_letters_and_commands_no_terminal)
{
    struct cn_str out = {0};
    /* C0, the C1 control CSI as UTF-8, DEL; the letter U+00A0 begins with the same byte as CSI. */
    CHECK_OK(cn_str_add_safe(&out,
                             cn_text("a\x1b[31m\tb\nc\xc2\x9b"
                                     "d\x7f\xc2\xa0\xc2"),
                             " | "));
    CHECK_TEXT(out.data, "a?[31m\tb | c?d?\xc2\xa0\xc2");
    cn_str_free(&out);
}

TEST(replacing_a_file_reports_what_went_wrong)
{
    char folder[] = "/tmp/carnot_core_XXXXXX", path[64];
    if (!mkdtemp(folder)) SKIP("no temporary folder");
    snprintf(path, sizeof path, "%s/a/b", folder);
    CHECK_FAILS(cn_file_replace(path, "x", 1), CN_ERR_IO, "a/b");
    snprintf(path, sizeof path, "%s/a", folder);
    CHECK_OK(cn_file_replace(path, "xyz", 3));
    struct cn_str text = {0};
    CHECK_OK(cn_file_read(path, 100, &text));
    CHECK_TEXT(text.data, "xyz");
    CHECK_FAILS(cn_file_read(path, 2, &text), CN_ERR_DATA, "larger");
    CHECK_FAILS(cn_folder_make(path), CN_ERR_IO, "not a folder");
    cn_str_free(&text);
    unlink(path);
    rmdir(folder);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
