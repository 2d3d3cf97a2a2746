/* What a person sees of a run: one line per step, a progress bar on a terminal, curves and answers
 * at the end. */
#ifndef CARNOT_REPORT_H
#define CARNOT_REPORT_H

#include "../evaluate.h"

#include "carnot/metrics.h"

/* Numbers of one metric over the steps; zero-initialise. */
struct series {
    double *value; /* (n), in the arena that it grew in */
    size_t n, capacity;
};
enum cn_status series_add(struct series *series, struct cn_arena *arena, double value);

struct report {
    uint64_t first, steps;         /* first step of this process, last of the run */
    double started;                /* clock_seconds() at the first step */
    uint64_t step;                 /* under way; for the progress bar */
    struct series reward, entropy; /* for the curves at the end */
    struct cn_arena *arena;        /* of the run */
};

/* Numbers of a step line that are not metrics. */
struct report_step {
    uint64_t step;
    double seconds, tokens; /* of the step; sampled tokens */
};

/* "step  12/100  reward 0.734  entropy 0.412  length 6.1  clip 0.0 %  12,345 tok/s  ..." */
enum cn_status report_step_line(struct report *report, const struct report_step *step,
                                const struct cn_metrics *metrics);

/* Progress of a rollout, for the callbacks of rollout and evaluation; self is a struct report. */
void report_progress(void *self, size_t finished, size_t wishes);

/* One line about an evaluation: pass@1 with its interval. */
void report_evaluation(const struct eval_set *set, uint64_t step, const struct eval_result *result);

/* Curves of reward and entropy, answers before and after, the run's folder. */
struct report_end {
    const struct eval_result *before, *after; /* NULL: no evaluation */
    const char *set, *folder;
};
enum cn_status report_end(const struct report *report, const struct report_end *end);

#endif
