/* Statistics of evaluations. */
#include "statistics.h"

#include <math.h>

double statistics_pass_at_k(size_t n, size_t c, size_t k)
{
    if (k < 1 || k > n || c > n) return NAN;
    if (n - c < k) return 1; /* fewer than k wrong ones: any k hold a right one */
    double none = 1;
    for (size_t i = n - c + 1; i <= n; i++)
        none *= 1 - (double)k / (double)i;
    return 1 - none;
}

double statistics_majority(const int32_t *answer, const bool *right, size_t n)
{
    size_t best = 0, tied = 0, good = 0;
    for (size_t i = 0; i < n; i++) {
        if (answer[i] < 0) continue;
        size_t votes = 0;
        bool first = true;
        for (size_t k = 0; k < n; k++) {
            if (answer[k] != answer[i]) continue;
            votes++;
            if (k < i) first = false;
        }
        if (!first) continue; /* the candidate has been counted where it first stands */
        if (votes > best) {
            best = votes;
            tied = good = 0;
        }
        if (votes == best) {
            tied++;
            good += right[i];
        }
    }
    return tied ? (double)good / (double)tied : 0;
}

void statistics_same(const struct cn_text *text, size_t n, int32_t *answer)
{
    int32_t next = 0;
    for (size_t i = 0; i < n; i++) {
        size_t k = 0;
        while (k < i && !(text[k].length && cn_text_equal(text[k], text[i])))
            k++;
        answer[i] = !text[i].length ? -1 : k < i ? answer[k] : next++;
    }
}

/* ---- quantiles ----------------------------------------------------------- */

double statistics_normal_quantile(double p)
{
    if (!(p > 0 && p < 1)) return NAN;
    double low = -40,
           high = 40; /* erfc is monotone; 80 halvings leave no more than its own rounding */
    for (int i = 0; i < 80; i++) {
        double middle = 0.5 * (low + high);
        if (0.5 * erfc(-middle / sqrt(2)) < p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* Continued fraction of the incomplete beta function, by Lentz's method; x < (a + 1) / (a + b + 2).
 */
static double beta_fraction(double a, double b, double x)
{
    const double tiny = 1e-300;
    double c = 1, d = 1 - (a + b) * x / (a + 1), value;
    d = 1 / (fabs(d) < tiny ? tiny : d);
    value = d;
    for (int m = 1; m < 500; m++) {
        double even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
        double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
        double before = value;
        for (int half = 0; half < 2; half++) {
            double term = half ? odd : even;
            d = 1 + term * d;
            c = 1 + term / c;
            d = 1 / (fabs(d) < tiny ? tiny : d);
            if (fabs(c) < tiny) c = tiny;
            value *= d * c;
        }
        if (fabs(value - before) < 1e-15 * fabs(value)) break;
    }
    return value;
}

/* Upper tail of Student's t, t >= 0: half of I_x(df/2, 1/2) at x = df / (df + t^2). */
static double t_tail(double t, double df)
{
    double a = df / 2, b = 0.5, x = df / (df + t * t);
    if (x >= 1) return 0.5;
    double front = exp(lgamma(a + b) - lgamma(a) - lgamma(b) + a * log(x) + b * log1p(-x));
    double share = x < (a + 1) / (a + b + 2) ? front * beta_fraction(a, b, x) / a
                                             : 1 - front * beta_fraction(b, a, 1 - x) / b;
    return 0.5 * share;
}

double statistics_t_quantile(double p, double df)
{
    if (!(p > 0 && p < 1) || !(df > 0)) return NAN;
    if (p < 0.5) return -statistics_t_quantile(1 - p, df);
    double low = 0, high = 1;
    while (t_tail(high, df) > 1 - p && high < 1e300)
        high *= 2;
    for (int i = 0; i < 200; i++) {
        double middle = 0.5 * (low + high);
        if (t_tail(middle, df) > 1 - p)
            low = middle;
        else
            high = middle;
    }
    return 0.5 * (low + high);
}

/* ---- intervals ----------------------------------------------------------- */

struct statistics_interval statistics_wilson(double count, double n, double level)
{
    struct statistics_interval out = {0, 0, 1};
    if (!(n > 0)) return out;
    double z = statistics_normal_quantile(0.5 + 0.5 * level), p = count / n, zz = z * z / n;
    double centre = (p + 0.5 * zz) / (1 + zz);
    double half = z * sqrt(fmax(0, p * (1 - p) / n + zz / (4 * n))) / (1 + zz);
    out.value = p;
    out.low =
        count <= 0 ? 0 : fmax(0, centre - half); /* exact at the ends, where rounding is not */
    out.high = count >= n ? 1 : fmin(1, centre + half);
    return out;
}

/* Mean and variance of the mean (s^2 / n); two passes, because the values are often equal. */
static double mean_of(const double *value, size_t n, double *variance_of_mean)
{
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += value[i];
    double mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (value[i] - mean) * (value[i] - mean);
    *variance_of_mean = n > 1 ? squares / ((double)n * (double)(n - 1)) : 0;
    return mean;
}

struct statistics_interval statistics_mean(const double *value, size_t n, double level)
{
    if (!n) return statistics_wilson(0, 0, level);
    double variance, mean = mean_of(value, n, &variance), spread = mean * (1 - mean);
    double trials = variance > 0 && spread > 0 ? spread / variance : (double)n;
    return statistics_wilson(mean * trials, trials, level);
}

struct statistics_interval statistics_difference_paired(const double *before, const double *after,
                                                        size_t n, double level)
{
    struct statistics_interval out = {0, -1, 1};
    if (!n) return out;
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++)
        sum += after[i] - before[i];
    out.value = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        double off = after[i] - before[i] - out.value;
        squares += off * off;
    }
    if (n < 2) return out;
    double half = squares > 0 ? statistics_t_quantile(0.5 + 0.5 * level, (double)(n - 1)) *
                                    sqrt(squares / ((double)n * (double)(n - 1)))
                              : 1 - pow(1 - level, 1 / (double)n);
    out.low = fmax(-1, out.value - half);
    out.high = fmin(1, out.value + half);
    return out;
}
