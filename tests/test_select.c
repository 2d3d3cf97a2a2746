/* Selection against sorting: alone, over simulated ranks, and its time on ten million values. */
#include "check.h"

#include "carnot/rng.h"
#include "carnot/select.h"

#include <stdlib.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || !defined(__OPTIMIZE__)
#else
#endif

static struct cn_rng stream(uint32_t number)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(11, number, CN_RNG_TEST), 0, 0, 0);
    return rng;
}

/* Values with many ties, both zeros, both infinities and a NaN. */
static void fill(double *values, size_t n, uint32_t number)
{
    struct cn_rng rng = stream(number);
    for (size_t i = 0; i < n; i++) {
        const uint32_t kind = cn_rng_below(&rng, 12);
        values[i] = kind == 0   ? -0.0
                    : kind == 1 ? 0.0
                    : kind == 2 ? -INFINITY
                    : kind == 3 ? INFINITY
                    : kind == 4 ? (double)NAN
                    : kind < 9  ? (double)cn_rng_below(&rng, 5) - 2
                                : cn_rng_normal(&rng);
    }
}

static bool before(const double *values, size_t i, size_t j)
{
    const bool a = isnan(values[i]), b = isnan(values[j]);
    if (a || b) return a == b ? i < j : b;
    return values[i] != values[j] ? values[i] > values[j] : i < j;
}

/* Whether i is among the k first of the order that the header describes. */
static bool among(const double *values, size_t n, size_t k, size_t i)
{
    size_t ahead = 0;
    for (size_t j = 0; j < n; j++)
        ahead += j != i && before(values, j, i);
    return ahead < k;
}

TEST(the_k_largest_are_taken_and_of_equal_ones_the_earlier)
{
    enum { N = 60 };
    struct cn_arena arena;
    double values[N];
    uint8_t chosen[N];
    cn_arena_init(&arena);
    for (uint32_t number = 0; number < 6; number++) {
        fill(values, N, number);
        for (size_t k = 0; k <= N + 2; k++) {
            CHECK_OK(cn_select_largest(values, N, k, NULL, &arena, chosen));
            for (size_t i = 0; i < N; i++)
                CHECK_INT(chosen[i], among(values, N, k, i));
        }
    }
    cn_arena_free(&arena);
}

/* Ranks that take turns: each call of `sum` is answered from a dry run of all of them, so one
 * thread can play every rank.  Round r has seen r sums; the next sum is recorded and ends the run.
 */
struct play {
    uint64_t *answer[8]; /* sums known so far */
    size_t known, seen, length;
    uint64_t *open;
};

static enum cn_status play_sum(void *self, uint64_t *counts, size_t n)
{
    struct play *play = self;
    if (play->seen < play->known) {
        memcpy(counts, play->answer[play->seen++], n * sizeof *counts);
        return CN_OK;
    }
    play->length = n;
    for (size_t i = 0; i < n; i++)
        play->open[i] += counts[i];
    return cn_fail(CN_STOPPED, "the answer is not known yet");
}

TEST(the_choice_does_not_depend_on_how_the_values_are_cut_over_ranks)
{
    enum { N = 48, DIGITS = 1 << 16 };
    static const size_t cut[] = {0, 7, 7, 30, N};
    struct cn_arena arena;
    struct play play = {.known = 0};
    double values[N];
    uint8_t chosen[N];
    cn_arena_init(&arena);
    fill(values, N, 9);
    for (size_t k = 5; k < N; k += 9) {
        play.known = 0;
        for (bool done = false; !done;) {
            CHECK_OK(CN_NEW(&arena, (size_t)DIGITS, &play.open));
            done = true;
            for (size_t r = 0; r < 4; r++) {
                const struct cn_select_ranks ranks = {&play, r, 4, play_sum};
                play.seen = 0;
                enum cn_status status = cn_select_largest(values + cut[r], cut[r + 1] - cut[r], k,
                                                          &ranks, &arena, chosen + cut[r]);
                if (status != CN_OK) cn_fail_clear();
                done = done && status == CN_OK;
            }
            if (!done) play.answer[play.known++] = play.open;
        }
        CHECK_INT(play.known, 5); /* four digits and the ties */
        for (size_t i = 0; i < N; i++)
            CHECK_INT(chosen[i], among(values, N, k, i));
    }
    cn_arena_free(&arena);
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

TEST(quantiles_are_linear_between_the_sorted_values)
{
    enum { N = 41 };
    for (uint32_t number = 0; number < 40; number++) {
        double values[N], sorted[N];
        struct cn_rng rng = stream(number);
        const size_t n = 1 + number;
        for (size_t i = 0; i < n; i++)
            values[i] = number % 2 ? cn_rng_normal(&rng) : (double)cn_rng_below(&rng, 4);
        memcpy(sorted, values, sizeof sorted);
        qsort(sorted, n, sizeof *sorted, ascending);
        for (double q = 0; q <= 1; q += 0.125) {
            const double at = q * (double)(n - 1), low = floor(at);
            const size_t i = (size_t)low, j = i + 1 < n ? i + 1 : i;
            CHECK_NEAR(cn_select_quantile(values, n, q),
                       sorted[i] + (at - low) * (sorted[j] - sorted[i]), 1e-15);
        }
    }
}

/* Prints its time, for a reader: about half a second on a quiet core; no test depends on time. */
TEST(ten_million_values_are_selected_from)
{
    const size_t n = 10000000;
    struct cn_arena arena;
    struct cn_rng rng = stream(77);
    struct timespec start, end;
    double *values;
    uint8_t *chosen;
    size_t taken = 0;
    cn_arena_init(&arena);
    CHECK_OK(cn_arena_alloc_raw(&arena, n, sizeof *values, &values));
    CHECK_OK(cn_arena_alloc_raw(&arena, n, sizeof *chosen, &chosen));
    for (size_t i = 0; i < n; i++)
        values[i] = cn_rng_uniform(&rng) - 0.5;
    clock_gettime(CLOCK_MONOTONIC, &start);
    CHECK_OK(cn_select_largest(values, n, 2000, NULL, &arena, chosen));
    clock_gettime(CLOCK_MONOTONIC, &end);
    for (size_t i = 0; i < n; i++)
        taken += chosen[i];
    CHECK_INT(taken, 2000);
    const double s =
        (double)(end.tv_sec - start.tv_sec) + 1e-9 * (double)(end.tv_nsec - start.tv_nsec);
    printf("selection of 2000 among %zu: %.3f s\n", n, s);
    cn_arena_free(&arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
