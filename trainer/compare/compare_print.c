/* The comparison as text: two tables, and one line of entropy per method. */
#include "compare.h"

#include "../core/plot.h"

#include <math.h>
#include <stdio.h>

enum { NAME_WIDTH = 20, CURVE_WIDTH = 64 };

static const struct {
    const char *heading;
    bool percent;
    int decimals;
} columns[] = {
#define X(name, heading, percent, decimals) {heading, percent, decimals},
    COMPARE_NUMBERS(X)
#undef X
};

/* Mean and standard error of the mean; the error is NaN for fewer than two values. */
struct estimate {
    double mean, error;
    size_t n;
};

static struct estimate estimate_of(const double *value, size_t n)
{
    struct estimate e = {.mean = (double)NAN, .error = (double)NAN};
    double sum = 0, squares = 0;
    for (size_t i = 0; i < n; i++) {
        if (isnan(value[i])) continue;
        sum += value[i];
        e.n++;
    }
    if (e.n == 0) return e;
    e.mean = sum / (double)e.n;
    for (size_t i = 0; i < n; i++)
        if (!isnan(value[i])) squares += (value[i] - e.mean) * (value[i] - e.mean);
    if (e.n > 1) e.error = sqrt(squares / (double)(e.n - 1) / (double)e.n);
    return e;
}

/* A number of one method over all seeds: as it is, or minus the baseline's of the same seed; the
 * time of a step is always over the baseline's. */
static enum cn_status collect(const struct comparison *c, size_t method, enum compare_number which,
                              bool difference, struct estimate *out)
{
    double values[256];
    size_t n = 0;
    if (c->n_seeds > sizeof values / sizeof *values)
        return cn_fail(CN_ERR_CONFIG, "%zu seeds, at most 256 can be compared", c->n_seeds);
    for (size_t s = 0; s < c->n_seeds; s++) {
        const struct compare_run *run = compare_find(c, method, c->seed[s]);
        const struct compare_run *base = compare_find(c, 0, c->seed[s]);
        if (!run || (!base && (difference || which == COMPARE_TIME))) continue;
        double value = run->value[which];
        if (which == COMPARE_TIME)
            value /= base->value[which]; /* above 0: the time of a step */
        else if (difference)
            value -= base->value[which];
        values[n++] = value;
    }
    *out = estimate_of(values, n);
    return CN_OK;
}

/* "0.412" or "28.1 %", "-" if there is none. */
static void number(char out[32], enum compare_number which, double value, bool sign)
{
    const double scale = columns[which].percent ? 100 : 1;
    if (isnan(value))
        snprintf(out, 32, "-");
    else
        snprintf(out, 32, sign ? "%+.*f" : "%.*f", columns[which].decimals, scale * value);
}

/* "pass@8", "distinct@16", "touched %" */
static void heading(char out[32], const struct comparison *c, enum compare_number which)
{
    const struct compare_run *first = &c->run[0];
    const char *percent = columns[which].percent ? " %" : "";
    if (which == COMPARE_PASS_K && first->k)
        snprintf(out, 32, "pass@%lld%s", (long long)first->k, percent);
    else if (which == COMPARE_DISTINCT && first->samples)
        snprintf(out, 32, "distinct@%lld", (long long)first->samples);
    else
        snprintf(out, 32, "%s%s", columns[which].heading, percent);
}

/* A method's name, padded to a column. */
static enum cn_status put_name(const struct comparison *c, size_t method, struct cn_str *out)
{
    const struct cn_text name = cn_text(c->method[method]);
    CN_TRY(cn_str_add_safe(out, name, " "));
    return cn_str_format(out, "%*s", name.length < NAME_WIDTH ? (int)(NAME_WIDTH - name.length) : 1,
                         "");
}

static enum cn_status put_means(const struct comparison *c, struct cn_str *out)
{
    char text[32];
    CN_TRY(cn_str_format(out, "%-*s seeds", NAME_WIDTH, "mean over seeds"));
    for (int i = 0; i < COMPARE_COUNT; i++) {
        heading(text, c, (enum compare_number)i);
        CN_TRY(cn_str_format(out, " %11s", text));
    }
    CN_TRY(cn_str_add(out, "\n"));
    for (size_t m = 0; m < c->n_methods; m++) {
        size_t seeds = 0;
        for (size_t s = 0; s < c->n_seeds; s++)
            seeds += compare_find(c, m, c->seed[s]) != NULL;
        CN_TRY(put_name(c, m, out));
        CN_TRY(cn_str_format(out, " %5zu", seeds));
        for (int i = 0; i < COMPARE_COUNT; i++) {
            struct estimate e;
            CN_TRY(collect(c, m, (enum compare_number)i, false, &e));
            number(text, (enum compare_number)i, e.mean, false);
            CN_TRY(cn_str_format(out, " %11s", text));
        }
        CN_TRY(cn_str_add(out, "\n"));
    }
    return CN_OK;
}

static enum cn_status put_difference(const struct comparison *c, size_t m,
                                     enum compare_number which, struct cn_str *out)
{
    struct estimate e;
    char mean[32], error[32], both[80];
    CN_TRY(collect(c, m, which, true, &e));
    number(mean, which, e.mean, true);
    number(error, which, e.error, false);
    const bool clear = !isnan(e.error) && fabs(e.mean) > 2 * e.error;
    snprintf(both, sizeof both, "%s (%s)%s", mean, error, clear ? "*" : " ");
    return cn_str_format(out, " %18s", both);
}

static enum cn_status put_differences(const struct comparison *c, struct cn_str *out)
{
    static const enum compare_number shown[] = {COMPARE_REWARD, COMPARE_PASS_1, COMPARE_PASS_K,
                                                COMPARE_DISTINCT, COMPARE_END};
    enum { N_SHOWN = sizeof shown / sizeof *shown };
    char text[32];
    if (c->n_methods < 2) return CN_OK;
    CN_TRY(cn_str_add(out, "\nminus "));
    CN_TRY(cn_str_add_safe(out, cn_text(c->method[0]), " "));
    CN_TRY(cn_str_add(out, " of the same seed: mean (standard error over seeds), * beyond two "
                           "standard errors\n"));
    CN_TRY(cn_str_format(out, "%-*s", NAME_WIDTH, ""));
    for (int i = 0; i < N_SHOWN; i++) {
        heading(text, c, shown[i]);
        CN_TRY(cn_str_format(out, " %18s", text));
    }
    CN_TRY(cn_str_add(out, "\n"));
    for (size_t m = 1; m < c->n_methods; m++) {
        CN_TRY(put_name(c, m, out));
        for (int i = 0; i < N_SHOWN; i++)
            CN_TRY(put_difference(c, m, shown[i], out));
        CN_TRY(cn_str_add(out, "\n"));
    }
    return CN_OK;
}

/* Mean entropy of the steps that fall into column `x` of a line of `width` columns. */
static double column_mean(const struct comparison *c, size_t m, size_t x, size_t width)
{
    const size_t steps = compare_steps(c), from = x * steps / width;
    size_t to = (x + 1) * steps / width, n = 0;
    double sum = 0;
    if (to == from) to = from + 1;
    for (size_t at = from; at < to; at++) {
        const double value = compare_entropy(c, m, at);
        if (isnan(value)) continue;
        sum += value;
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

static enum cn_status put_curve(const struct comparison *c, size_t m, double top,
                                struct cn_str *out)
{
    static const char *const blocks[] = {"▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"},
                             *const letters[] = {"_", ".", ":", "-", "=", "+", "*", "#"};
    const char *const *marks = plot_unicode() ? blocks : letters;
    const size_t steps = compare_steps(c), width = steps < CURVE_WIDTH ? steps : CURVE_WIDTH;
    CN_TRY(put_name(c, m, out));
    CN_TRY(cn_str_format(out, " %6.3f ", column_mean(c, m, 0, width)));
    for (size_t x = 0; x < width; x++) {
        const double value = column_mean(c, m, x, width);
        const double share = top > 0 && value > 0 ? value / top : 0; /* false for NaN */
        const size_t level = share >= 1 ? 7 : (size_t)(8 * share);
        CN_TRY(cn_str_add(out, isnan(value) ? " " : marks[level]));
    }
    return cn_str_format(out, " %.3f\n", column_mean(c, m, width - 1, width));
}

enum cn_status compare_print(const struct comparison *c, struct cn_str *out)
{
    double top = 0;
    CN_TRY(
        cn_str_format(out,
                      "reward and entropy (H, nats per token) over the final third of %zu steps; "
                      "time of a step over that of ",
                      compare_steps(c)));
    CN_TRY(cn_str_add_safe(out, cn_text(c->method[0]), " "));
    CN_TRY(cn_str_add(out, "\n\n"));
    CN_TRY(put_means(c, out));
    CN_TRY(put_differences(c, out));
    for (size_t m = 0; m < c->n_methods; m++)
        for (size_t at = 0; at < compare_steps(c); at++)
            top = fmax(top, compare_entropy(c, m, at)); /* fmax passes over NaN */
    CN_TRY(cn_str_format(out, "\nentropy, mean over seeds, one scale from 0 to %.3f nats\n", top));
    for (size_t m = 0; m < c->n_methods; m++)
        CN_TRY(put_curve(c, m, top, out));
    return CN_OK;
}
