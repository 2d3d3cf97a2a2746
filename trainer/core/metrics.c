/* Named numbers: a small list, searched linearly; a step has about a hundred. */
#include "carnot/metrics.h"

#include <math.h>
#include <string.h>

void cn_metrics_init(struct cn_metrics *metrics, struct cn_arena *arena)
{
    memset(metrics, 0, sizeof *metrics);
    metrics->arena = arena;
}

static struct cn_metric *find(const struct cn_metrics *metrics, const char *name)
{
    for (size_t i = 0; i < metrics->count; i++)
        if (strcmp(metrics->item[i].name, name) == 0) return &metrics->item[i];
    return NULL;
}

static enum cn_status find_or_add(struct cn_metrics *metrics, const char *name,
                                  enum cn_metric_kind kind, struct cn_metric **out)
{
    struct cn_metric *metric = find(metrics, name);
    if (!metric) {
        if (metrics->count == metrics->capacity) {
            size_t capacity = metrics->capacity ? 2 * metrics->capacity : 64;
            struct cn_metric *item;
            CN_TRY(CN_NEW(metrics->arena, capacity, &item));
            if (metrics->count) memcpy(item, metrics->item, metrics->count * sizeof *item);
            metrics->item = item;
            metrics->capacity = capacity;
        }
        char *copy;
        CN_TRY(cn_arena_text(metrics->arena, name, strlen(name), &copy));
        metric = &metrics->item[metrics->count++];
        memset(metric, 0, sizeof *metric);
        metric->name = copy;
        metric->kind = kind;
        metric->value = kind == CN_METRIC_MAX ? -INFINITY : 0;
    }
    if (metric->kind != kind) return cn_fail(CN_ERR_BUG, "metric %s is used as two kinds", name);
    *out = metric;
    return CN_OK;
}

enum cn_status cn_metrics_mean(struct cn_metrics *metrics, const char *name, double value)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    CN_TRY(find_or_add(metrics, name, CN_METRIC_MEAN, &metric));
    cn_sum_add(&metric->sum, value);
    return CN_OK;
}

enum cn_status cn_metrics_sum(struct cn_metrics *metrics, const char *name, double value)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    CN_TRY(find_or_add(metrics, name, CN_METRIC_SUM, &metric));
    cn_sum_add(&metric->sum, value);
    return CN_OK;
}

enum cn_status cn_metrics_max(struct cn_metrics *metrics, const char *name, double value)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    CN_TRY(find_or_add(metrics, name, CN_METRIC_MAX, &metric));
    if (value > metric->value || isnan(value)) metric->value = value;
    return CN_OK;
}

enum cn_status cn_metrics_set(struct cn_metrics *metrics, const char *name, double value)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    CN_TRY(find_or_add(metrics, name, CN_METRIC_LAST, &metric));
    metric->value = value;
    return CN_OK;
}

enum cn_status cn_metrics_merge(struct cn_metrics *metrics, const char *name,
                                const struct cn_sum *values)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    CN_TRY(find_or_add(metrics, name, CN_METRIC_MEAN, &metric));
    cn_sum_merge(&metric->sum, values);
    return CN_OK;
}

enum cn_status cn_metrics_add(struct cn_metrics *metrics, const struct cn_metric *other)
{
    struct cn_metric *metric;
    if (!metrics) return CN_OK;
    const bool known = find(metrics, other->name) != NULL;
    CN_TRY(find_or_add(metrics, other->name, other->kind, &metric));
    cn_sum_merge(&metric->sum, &other->sum);
    if (other->kind == CN_METRIC_MAX && (other->value > metric->value || isnan(other->value)))
        metric->value = other->value;
    if (other->kind == CN_METRIC_LAST && !known) metric->value = other->value;
    return CN_OK;
}

double cn_metric_value(const struct cn_metric *metric)
{
    switch (metric->kind) {
    case CN_METRIC_MEAN:
        return cn_sum_mean(&metric->sum);
    case CN_METRIC_SUM:
        return cn_sum_value(&metric->sum);
    case CN_METRIC_MAX:
    case CN_METRIC_LAST:
        break;
    }
    return metric->value;
}

double cn_metrics_value(const struct cn_metrics *metrics, const char *name, double fallback)
{
    const struct cn_metric *metric = find(metrics, name);
    return metric ? cn_metric_value(metric) : fallback;
}
