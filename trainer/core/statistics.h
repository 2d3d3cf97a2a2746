/* Statistics of evaluations: pass@k, mean@k, maj@k, intervals, and differences with intervals. */
#ifndef CARNOT_CORE_STATISTICS_H
#define CARNOT_CORE_STATISTICS_H

#include "carnot/str.h"

/* Unbiased estimate of the probability that at least one of k answers is right, from n answers of
 * which c are: 1 - C(n-c, k) / C(n, k) = 1 - prod over i = n-c+1 .. n of (1 - k/i) Needs 1 <= k <=
 * n and c <= n, else NaN.  Chen et al. 2021, arXiv 2107.03374, equation 1 and its product form. */
double statistics_pass_at_k(size_t n, size_t c, size_t k);

/* Majority vote over n answers: the share of right ones among the answers that tie for the most
 * votes, so a tie of one right and one wrong answer counts 1/2, which is what choosing among them
 * at random earns on average. answer (n): number of the answer, equal numbers are one candidate
 * (statistics_same); negative: no answer, no vote. right (n): whether that answer is right.  Nobody
 * voted: 0. Deviation: Wang et al. 2023 (self-consistency) leave ties open. */
double statistics_majority(const int32_t *answer, const bool *right, size_t n);

/* Numbers equal texts equally, 0, 1, 2 ... in order of first occurrence; an empty text gets -1.
 * text (n) -> answer (n).  Takes n^2 comparisons: n is the samples of one problem. */
void statistics_same(const struct cn_text *text, size_t n, int32_t *answer);

/* An estimate and its confidence interval. */
struct statistics_interval {
    double value, low, high;
};

/* Wilson score interval of a proportion, `count` hits of n independent trials; n = 0 gives 0 in [0,
 * 1]. Wilson 1927, JASA 22:209. */
struct statistics_interval statistics_wilson(double count, double n, double level);

/* Mean of one number in [0, 1] per problem (pass@k, mean@k), problems independent: Wilson's
 * interval for the number of hits of m = p (1 - p) / (s^2 / n) independent trials that have the
 * same standard error (the effective sample size of Korn and Graubard 1998).  m is n where the
 * problems do not vary.  value (n), n = 0 gives 0 in [0, 1]. */
struct statistics_interval statistics_mean(const double *value, size_t n, double level);

/* after - before, where both were measured on the same problems: mean of the n differences with
 * Student's t interval. Where all differences are equal the interval is not a point: a share of up
 * to 1 - (1 - level)^(1/n) of further problems may behave otherwise (by at most 1).  before, after
 * (n), values in [0, 1]; cut to [-1, 1]. */
struct statistics_interval statistics_difference_paired(const double *before, const double *after,
                                                        size_t n, double level);

/* Quantiles of the standard normal distribution and of Student's t with `df` degrees of freedom; p
 * in (0, 1). */
double statistics_normal_quantile(double p);
double statistics_t_quantile(double p, double df);

#endif
