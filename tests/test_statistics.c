/* Statistics against enumeration, published numbers and coverage. */
#include "check.h"

#include "carnot/rng.h"
#include "trainer/core/statistics.h"

/* Share of the subsets of k of n answers (the first c right) that hold a right one, by enumeration.
 */
static double enumerate_pass(unsigned n, unsigned c, unsigned k)
{
    unsigned all = 0, good = 0;
    for (unsigned set = 0; set < 1u << n; set++) {
        if ((unsigned)__builtin_popcount(set) != k) continue;
        all++;
        good += (set & ((1u << c) - 1)) != 0;
    }
    return (double)good / all;
}

TEST(pass_at_k_equals_the_share_of_all_subsets)
{
    for (unsigned n = 1; n <= 10; n++)
        for (unsigned c = 0; c <= n; c++)
            for (unsigned k = 1; k <= n; k++)
                CHECK_NEAR(statistics_pass_at_k(n, c, k), enumerate_pass(n, c, k), 1e-14);
    CHECK_NEAR(statistics_pass_at_k(200, 1, 1), 0.005, 1e-15);
    CHECK_NEAR(statistics_pass_at_k(100000, 1, 50000), 0.5, 1e-12); /* binomials would overflow */
}

TEST(pass_at_k_outside_its_range_is_not_a_number)
{
    CHECK(isnan(statistics_pass_at_k(4, 2, 0)));
    CHECK(isnan(statistics_pass_at_k(4, 2, 5)));
    CHECK(isnan(statistics_pass_at_k(4, 5, 1)));
}

TEST(majority_counts_votes_and_shares_ties)
{
    const bool right[6] = {true, false, false, true, false, true};
    CHECK_NEAR(statistics_majority((int32_t[]){0, 1, 1, 0, 2, 0}, right, 6), 1,
               0); /* 0 has three */
    CHECK_NEAR(statistics_majority((int32_t[]){0, 1, 1, 0, 2}, right, 5), 0.5,
               0); /* 0 and 1 have two */
    CHECK_NEAR(statistics_majority((int32_t[]){-1, 1, -1, -1, -1}, right, 5), 0,
               0); /* one vote, wrong */
    CHECK_NEAR(statistics_majority((int32_t[]){0, -1, -1, -1, -1}, right, 5), 1,
               0); /* silence does not vote */
    CHECK_NEAR(statistics_majority((int32_t[]){-1, -1, -1}, right, 3), 0, 0);
    CHECK_NEAR(statistics_majority((int32_t[]){0, 1, 2}, right, 3), 1.0 / 3, 1e-15);
    CHECK_NEAR(statistics_majority(NULL, NULL, 0), 0, 0);
}

TEST(equal_texts_get_equal_numbers)
{
    struct cn_text text[6] = {cn_text("8"), cn_text(""), cn_text("9"),
                              cn_text("8"), cn_text(""), cn_text("88")};
    int32_t answer[6];
    const int32_t expected[6] = {0, -1, 1, 0, -1, 2};
    statistics_same(text, 6, answer);
    for (int i = 0; i < 6; i++)
        CHECK_INT(answer[i], expected[i]);
}

/* Tables of the normal and the t distribution, as every textbook prints them. */
TEST(quantiles_match_the_tables)
{
    CHECK_NEAR(statistics_normal_quantile(0.975), 1.959963984540054, 1e-12);
    CHECK_NEAR(statistics_normal_quantile(0.5), 0, 1e-12);
    CHECK_NEAR(statistics_normal_quantile(0.001), -3.090232306167813, 1e-12);
    CHECK_NEAR(statistics_t_quantile(0.975, 1), 12.706204736, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.975, 2), 4.302652730, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.975, 5), 2.570581836, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.975, 30), 2.042272456, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.95, 10), 1.812461123, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.05, 10), -1.812461123, 1e-8);
    CHECK_NEAR(statistics_t_quantile(0.975, 1e6), 1.959966, 2e-6);
    CHECK(isnan(statistics_normal_quantile(0)));
    CHECK(isnan(statistics_t_quantile(0.9, 0)));
}

TEST(wilson_solves_its_own_equation)
{
    /* the limits are the proportions q at which the observation stands z standard errors away */
    for (int n = 1; n <= 60; n += 7)
        for (int c = 0; c <= n; c++) {
            struct statistics_interval i = statistics_wilson(c, n, 0.95);
            double z = statistics_normal_quantile(0.975), p = (double)c / n;
            CHECK_NEAR(i.value, p, 1e-15);
            CHECK(i.low >= 0 && i.low <= p && p <= i.high && i.high <= 1);
            if (c > 0) CHECK_NEAR((p - i.low) / sqrt(i.low * (1 - i.low) / n), z, 1e-6);
            if (c < n) CHECK_NEAR((i.high - p) / sqrt(i.high * (1 - i.high) / n), z, 1e-6);
        }
    /* Newcombe 1998, Statistics in Medicine 17:857, table I: 81 of 263 and 0 of 20, to four places
     */
    struct statistics_interval a = statistics_wilson(81, 263, 0.95),
                               b = statistics_wilson(0, 20, 0.95);
    CHECK_NEAR(a.low, 0.2553, 5e-5);
    CHECK_NEAR(a.high, 0.3662, 5e-5);
    CHECK_NEAR(b.low, 0, 0);
    CHECK_NEAR(b.high, 0.1611, 5e-5);
    struct statistics_interval none = statistics_wilson(0, 0, 0.95);
    CHECK(none.low == 0 && none.high == 1);
}

TEST(the_mean_of_zeros_and_ones_has_nearly_the_interval_of_a_proportion)
{
    double value[40];
    for (int i = 0; i < 40; i++)
        value[i] = i < 13;
    struct statistics_interval a = statistics_mean(value, 40, 0.95),
                               b = statistics_wilson(13, 40, 0.95);
    CHECK_NEAR(a.value, b.value, 1e-15);
    CHECK_NEAR(a.low, b.low, 3e-3); /* s^2 divides by n - 1 */
    CHECK_NEAR(a.high, b.high, 3e-3);
    for (int i = 0; i < 40; i++)
        value[i] = 1;
    a = statistics_mean(value, 40, 0.95);
    CHECK(a.value == 1 && a.high == 1 && a.low < 0.92 && a.low > 0.9);
    for (int i = 0; i < 40; i++)
        value[i] = 0.5; /* no spread between problems */
    a = statistics_mean(value, 40, 0.95);
    CHECK(a.low < 0.4 && a.high > 0.6);
    a = statistics_mean(value, 0, 0.95);
    CHECK(a.value == 0 && a.low == 0 && a.high == 1);
}

TEST(a_paired_difference_is_student_s_interval)
{
    const double before[4] = {0, 0.25, 0.5, 0.25}, after[4] = {0.5, 0.25, 1, 0.5};
    /* differences 0.5 0 0.5 0.25: mean 0.3125, s^2 = 0.171875 / 3, t(0.975, 3) = 3.182446305 */
    struct statistics_interval d = statistics_difference_paired(before, after, 4, 0.95);
    double half = 3.182446305 * sqrt(0.171875 / 3 / 4);
    CHECK_NEAR(d.value, 0.3125, 1e-15);
    CHECK_NEAR(d.low, 0.3125 - half, 1e-8);
    CHECK_NEAR(d.high, 0.3125 + half, 1e-8);
    d = statistics_difference_paired(before, before, 4, 0.95);
    CHECK(d.value == 0 && d.low < -0.5 && d.high > 0.5); /* four equal pairs prove little */
    d = statistics_difference_paired(before, after, 1, 0.95);
    CHECK(d.low == -1 && d.high == 1);
}

/* The promise of an interval: about 95 of 100 repetitions hold the truth. */
TEST(intervals_cover_the_truth_as_often_as_they_say)
{
    enum { REPEATS = 2000, N = 60 };
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(1, 0, CN_RNG_TEST), 0, 0, 0);
    int mean = 0, paired = 0;
    for (int r = 0; r < REPEATS; r++) {
        double a[N], b[N];
        for (int i = 0; i < N; i++) {
            double level = cn_rng_uniform(
                &rng); /* how easy the problem is: E = 1/2; afterwards 0.2 + 0.8 of it */
            a[i] = b[i] = 0;
            for (int s = 0; s < 4; s++)
                a[i] += 0.25 * (cn_rng_uniform(&rng) < level);
            for (int s = 0; s < 4; s++)
                b[i] += 0.25 * (cn_rng_uniform(&rng) < 0.2 + 0.8 * level);
        }
        struct statistics_interval i = statistics_mean(a, N, 0.95);
        mean += i.low <= 0.5 && 0.5 <= i.high;
        i = statistics_difference_paired(a, b, N, 0.95);
        paired += i.low <= 0.1 && 0.1 <= i.high;
    }
    /* 95 % of 2000 with four standard errors of 0.5 % */
    CHECK_NEAR((double)mean / REPEATS, 0.95, 0.02);
    CHECK_NEAR((double)paired / REPEATS, 0.95, 0.02);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
