/* Named numbers that merge across atoms and ranks: a metric is an exact sum and a count. */
#ifndef CARNOT_METRICS_H
#define CARNOT_METRICS_H

#include "carnot/arena.h"
#include "carnot/sum.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cn_metric_kind {
    CN_METRIC_MEAN, /* sum / count over all ranks */
    CN_METRIC_SUM,
    CN_METRIC_MAX,
    CN_METRIC_LAST /* rank 0's value: times, rates, learning rate */
};

struct cn_metric {
    const char *name; /* with slashes: "policy/clip_frac_high" */
    enum cn_metric_kind kind;
    struct cn_sum sum;
    double value; /* MAX and LAST */
};

/* Owned by the caller; entries live in `arena` in order of first use. */
struct cn_metrics {
    struct cn_arena *arena;
    struct cn_metric *item;
    size_t count, capacity;
};

void cn_metrics_init(struct cn_metrics *metrics, struct cn_arena *arena);

/* Each does nothing when `metrics` is NULL.  Fails: CN_ERR_MEMORY; CN_ERR_BUG if a name changes its
 * kind. */
enum cn_status cn_metrics_mean(struct cn_metrics *metrics, const char *name, double value);
enum cn_status cn_metrics_sum(struct cn_metrics *metrics, const char *name, double value);
enum cn_status cn_metrics_max(struct cn_metrics *metrics, const char *name, double value);
enum cn_status cn_metrics_set(struct cn_metrics *metrics, const char *name, double value);

/* A mean of many values at once: the accumulator is merged in. */
enum cn_status cn_metrics_merge(struct cn_metrics *metrics, const char *name,
                                const struct cn_sum *values);

/* Adds what another part of the step, or another rank, has under the same name; of LAST, what is
 * there stays. */
enum cn_status cn_metrics_add(struct cn_metrics *metrics, const struct cn_metric *other);

/* Value of a metric; `fallback` if it does not exist. */
double cn_metrics_value(const struct cn_metrics *metrics, const char *name, double fallback);
double cn_metric_value(const struct cn_metric *metric);

#ifdef __cplusplus
}
#endif
#endif
