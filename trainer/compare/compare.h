/* Runs side by side: what a set of finished run folders measured, method by method and seed by
 * seed.  A method is a run.name; runs of two methods with the same run.seed are a pair. */
#ifndef CARNOT_COMPARE_H
#define CARNOT_COMPARE_H

#include "../run/report.h"

#include "carnot/str.h"

// clang-format off
/* Numbers of a run: name, heading, whether it is a share that is printed in percent, decimals. */
#define COMPARE_NUMBERS(X)                                                                         \
    X(REWARD,   "reward",   false, 3) /* mean reward of the final third of the steps */            \
    X(PASS_1,   "pass@1",   true,  1) /* of the last evaluation of the first set */                \
    X(PASS_K,   "pass@k",   true,  1) /* the largest k of that evaluation */                       \
    X(DISTINCT, "distinct", false, 2) /* different right answers per task of that evaluation */    \
    X(START,    "H start",  false, 3) /* entropy of the first step, nats per token */              \
    X(MIDDLE,   "H middle", false, 3) /* mean of the middle third */                               \
    X(END,      "H end",    false, 3) /* mean of the final third */                                \
    X(TOUCHED,  "touched",  true,  1) /* share of tokens that entropy methods touched */           \
    X(TIME,     "time",     false, 2) /* time of a step over the baseline's, same seed */
// clang-format on

enum compare_number {
#define X(name, heading, percent, decimals) COMPARE_##name,
    COMPARE_NUMBERS(X)
#undef X
        COMPARE_COUNT
};

struct compare_run {
    const char *folder, *name;
    int64_t seed;
    double value[COMPARE_COUNT]; /* NaN: not measured; TIME in seconds a step */
    int64_t k, samples;          /* of PASS_K and DISTINCT; 0: not measured */
    struct series entropy;       /* step by step */
};

/* All runs; methods in the order in which they were given, the first one is the baseline. */
struct comparison {
    struct compare_run *run; /* (n) */
    size_t n;
    const char **method; /* (n_methods) */
    size_t n_methods;
    int64_t *seed; /* (n_seeds) */
    size_t n_seeds;
};

/* compare_read.c: reads the folders; texts and numbers live in `arena`.  Fails: CN_ERR_DATA for a
 * folder without config.resolved.json or metrics of a training, or two runs with the same name and
 * seed. */
enum cn_status compare_read(const char *const *folder, size_t n, struct cn_arena *arena,
                            struct comparison *out);

/* The run of a method and seed, NULL if there is none. */
const struct compare_run *compare_find(const struct comparison *c, size_t method, int64_t seed);

/* Mean over the seeds of the entropy at step `at`; NaN if no run has it.  *steps: the longest. */
double compare_entropy(const struct comparison *c, size_t method, size_t at);
size_t compare_steps(const struct comparison *c);

/* compare_print.c: means over seeds; paired differences to the baseline with standard errors;
 * entropy curves, one line per method on a common scale. */
enum cn_status compare_print(const struct comparison *c, struct cn_str *out);

/* compare_svg.c: the entropy curves as one SVG file.  Fails: CN_ERR_IO, CN_ERR_MEMORY. */
enum cn_status compare_svg(const struct comparison *c, const char *path);

#endif
