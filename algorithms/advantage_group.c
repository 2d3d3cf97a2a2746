/* Estimators over groups: from the rewards R of one group to one advantage per sequence.
 *
 *     reward            R
 *     batch_mean        R - mean of all rewards of the part
 *     group_mean        R - mean of the group, optionally times S / S with spread
 *     group_mean_std    (R - mean) / (std + epsilon)
 *     loo               R - mean of the others
 *     length_weighted   R - sum T R / sum T                      T: tokens of the answer
 *     mean_scaled       (R - mean) / mean, 0 if the mean is 0
 *     quantile          (R - q-quantile) / (std + epsilon)
 *     confidence        group_mean_std times mean entropy of the group over that of the answer
 *     pass_at_k         credit of a sample for the success of k of the n samples
 *     signed_reward     positive if right, -1 if wrong
 *
 * Means and deviations are exact sums, so the order of sequences does not matter. */
#include "advantage.h"
#include "groups.h"

#include <math.h>
#include <stdlib.h>

static double exact_mean(const double *values, size_t n)
{
    struct cn_sum sum = {0};
    for (size_t i = 0; i < n; i++)
        cn_sum_add(&sum, values[i]);
    return cn_sum_mean(&sum);
}

static double exact_std(const double *values, size_t n, double mean)
{
    struct cn_sum sum = {0};
    if (n < 2 || !groups_spread(values, n)) return 0;
    for (size_t i = 0; i < n; i++)
        cn_sum_add(&sum, (values[i] - mean) * (values[i] - mean));
    return sqrt(cn_sum_value(&sum) / (double)(n - 1));
}

/* (R - baseline) / (std + epsilon) with the deviation that `scale` names. */
static void normalise(const struct group_case *group, double mean, double baseline,
                      double *advantage)
{
    double std = group->settings->scale == SCALE_BATCH ? group->batch_std
                                                       : exact_std(group->reward, group->n, mean);
    double divisor = std + group->settings->epsilon;
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = divisor > 0 ? (group->reward[i] - baseline) / divisor : 0;
}

void group_reward(const struct group_case *group, double *advantage)
{
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i];
}

void group_batch_mean(const struct group_case *group, double *advantage)
{
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] - group->batch_mean;
}

void group_group_mean(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->reward, group->n);
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->rescale * (group->reward[i] - mean);
}

void group_group_mean_std(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->reward, group->n);
    normalise(group, mean, mean, advantage);
}

void group_loo(const struct group_case *group, double *advantage)
{
    struct cn_sum sum = {0};
    for (size_t i = 0; i < group->n; i++)
        cn_sum_add(&sum, group->reward[i]);
    for (size_t i = 0; i < group->n; i++) {
        struct cn_sum others = sum;
        cn_sum_add(&others, -group->reward[i]);
        advantage[i] = group->reward[i] - cn_sum_value(&others) / (double)(group->n - 1);
    }
}

void group_length_weighted(const struct group_case *group, double *advantage)
{
    struct cn_sum weighted = {0}, lengths = {0};
    for (size_t i = 0; i < group->n; i++) {
        cn_sum_add(&weighted, group->length[i] * group->reward[i]);
        cn_sum_add(&lengths, group->length[i]);
    }
    double total = cn_sum_value(&lengths);
    double baseline = total > 0 ? cn_sum_value(&weighted) / total : 0;
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] - baseline;
}

void group_mean_scaled(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->reward, group->n);
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = mean != 0 ? (group->reward[i] - mean) / mean : 0;
}

/* ---- quantile ------------------------------------------------------------ */

/* How many values are below x, and how many at most x. */
static void rank_of(const double *values, size_t n, double x, size_t *below, size_t *at_most)
{
    *below = *at_most = 0;
    for (size_t i = 0; i < n; i++) {
        *below += values[i] < x;
        *at_most += values[i] <= x;
    }
}

/* The value at a place of the sorted list, without sorting: groups are small. */
static double sorted_at(const double *values, size_t n, size_t place)
{
    for (size_t i = 0; i < n; i++) {
        size_t below, at_most;
        rank_of(values, n, values[i], &below, &at_most);
        if (below <= place && place < at_most) return values[i];
    }
    return 0;
}

/* step: the smallest value x with F(x) >= q.  linear: between the neighbours of q (n - 1). */
static double quantile(const double *values, size_t n, double q, int interpolation)
{
    if (interpolation == QUANTILE_STEP) {
        double place = ceil(q * (double)n - 1e-9) - 1; /* 0.4 * 5 is 2, not a little more */
        return sorted_at(values, n, place > 0 ? (size_t)place : 0);
    }
    double place = q * (double)(n - 1);
    double low = sorted_at(values, n, (size_t)place);
    double high = sorted_at(values, n, (size_t)place + 1 < n ? (size_t)place + 1 : n - 1);
    return low + (place - floor(place)) * (high - low);
}

void group_quantile(const struct group_case *group, double *advantage)
{
    const struct advantage_settings *s = group->settings;
    normalise(group, exact_mean(group->reward, group->n),
              quantile(group->reward, group->n, s->quantile, s->interpolation), advantage);
}

/* ---- confidence, pass@k, sign -------------------------------------------- */

void group_confidence(const struct group_case *group, double *advantage)
{
    double mean = exact_mean(group->entropy, group->n);
    group_group_mean_std(group, advantage);
    for (size_t i = 0; i < group->n; i++)
        advantage[i] *= mean / fmax(group->entropy[i], 1e-6);
}

/* C(a, b) / C(n, k), 0 where a choice does not exist. */
static double choose_ratio(double a, double b, double n, double k)
{
    if (b < 0 || b > a) return 0;
    return exp(lgamma(a + 1) - lgamma(b + 1) - lgamma(a - b + 1) -
               (lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1)));
}

/* Probability that k of n samples, c of them right, contain a right one. */
static double pass_rate(double n, double c, double k)
{
    return 1 - choose_ratio(n - c, k, n, k);
}

void group_pass_at_k(const struct group_case *group, double *advantage)
{
    const struct advantage_settings *s = group->settings;
    const double n = (double)group->n, k = fmin((double)s->k, n);
    double c = 0, right = 0, wrong = 0;
    for (size_t i = 0; i < group->n; i++)
        c += group->reward[i] >= s->correct_from;
    double rate = pass_rate(n, c, k), std = sqrt(fmax(0, rate * (1 - rate)));
    if (s->form == PASS_PKPO) {
        right = k / n;
        wrong = k > 1 ? k / n * pass_rate(n - 1, c, k - 1) : 0;
    } else if (s->form == PASS_PKPO_LOO) {
        right = choose_ratio(n - c, k - 1, n, k);
    } else if (std > 1e-7) {
        right = (1 - rate) / std;
        wrong = (1 - rate - choose_ratio(n - c - 1, k - 1, n - 1, k - 1)) / std;
    }
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] >= s->correct_from ? right : wrong;
}

void group_signed_reward(const struct group_case *group, double *advantage)
{
    const struct advantage_settings *s = group->settings;
    for (size_t i = 0; i < group->n; i++)
        advantage[i] = group->reward[i] >= s->correct_from ? s->positive : -1;
}
