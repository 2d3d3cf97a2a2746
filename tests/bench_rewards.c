/* Speed of the reward math: microseconds of processor time a pair of known answer and reply.
 *
 *     bench_rewards [ROWS.tsv HOSTILE.tsv]
 *
 * Ordinary pairs: the rows of tests/data/math/rows.tsv.  Bars: mean below 20 us, 99.9th percentile
 * below 1 ms, the slowest hostile text below 10 ms. */
#include "math_bench.h"

#include <time.h>

enum { ROUNDS = 20, TIMES_MAX = 1 << 20, HOSTILE_GOLDS = 3 };

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double took[TIMES_MAX];

static void report(const char *what, size_t n)
{
    double sum = 0;
    if (!n) return;
    for (size_t i = 0; i < n; i++)
        sum += took[i];
    qsort(took, n, sizeof *took, by_size);
    printf("%-10s %7zu pairs  mean %8.2f us  median %8.2f  p99 %8.2f  p99.9 %9.2f  worst %9.2f\n",
           what, n, sum / (double)n, took[n / 2], took[n - 1 - n / 100], took[n - 1 - n / 1000],
           took[n - 1]);
}

/* The fastest of `rounds` runs: what the pair itself takes, without the machine's other work. */
static double time_pair(struct bench *bench, struct cn_text gold, struct cn_text reply, int rounds)
{
    double best = 1e18;
    struct cn_outcome out;
    for (int i = 0; i < rounds; i++) {
        double start = now_us();
        if (bench_score(bench, gold, reply, &out) != CN_OK) return -1;
        double time = now_us() - start;
        if (time < best) best = time;
    }
    return best;
}

static int ordinary(const char *path)
{
    struct cn_str file = {0};
    struct bench bench;
    struct row row;
    size_t at = 0, n = 0;
    if (cn_file_read(path, 1 << 24, &file) != CN_OK || bench_open_json(&bench, "{}") != CN_OK)
        return 1;
    while (n < TIMES_MAX && rows_next(cn_str_text(&file), &at, &row)) {
        if (!cn_text_is(row.setup, "auto")) continue;
        took[n++] = time_pair(&bench, row.gold, row.reply, ROUNDS);
    }
    report("ordinary", n);
    bench_close(&bench);
    cn_str_free(&file);
    return 0;
}

static int hostile(const char *path)
{
    static const char *const golds[HOSTILE_GOLDS] = {"123456789", "x^2+\\sqrt{y}",
                                                     "\\{1,2,\\pi\\}"};
    struct cn_str file = {0}, reply = {0}, worst = {0};
    struct bench bench;
    size_t at = 0, n = 0;
    double slowest = 0;
    if (cn_file_read(path, 1 << 24, &file) != CN_OK || bench_open_json(&bench, "{}") != CN_OK)
        return 1;
    while (hostile_next(cn_str_text(&file), &at, &reply))
        for (size_t g = 0; g < HOSTILE_GOLDS && n < TIMES_MAX; g++) {
            took[n] = time_pair(&bench, cn_text(golds[g]), cn_str_text(&reply), 3);
            if (took[n] > slowest) {
                slowest = took[n];
                cn_str_clear(&worst);
                size_t shown = reply.length < 60 ? reply.length : 60;
                if (cn_str_append(&worst, reply.data, shown) != CN_OK) return 1;
            }
            n++;
        }
    report("hostile", n);
    printf("slowest    %s\n", worst.data ? worst.data : "");
    bench_close(&bench);
    cn_str_free(&file);
    cn_str_free(&reply);
    cn_str_free(&worst);
    return 0;
}

int main(int argc, char **argv)
{
    if (!math_is_here()) return 0;
    const char *rows = argc > 1 ? argv[1] : "tests/data/math/rows.tsv";
    const char *texts = argc > 2 ? argv[2] : "tests/data/math/hostile.tsv";
    int failed = ordinary(rows) | hostile(texts);
    if (failed) fprintf(stderr, "bench_rewards: %s\n", cn_fail_message());
    return failed;
}
