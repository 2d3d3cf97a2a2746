/* What plug-ins are handed: lists of requests, and the one-rank form of the collectives. */
#include "carnot/plugin.h"
#include "carnot/select.h"

#include <string.h>

enum cn_status cn_requests_add(struct cn_requests *requests, struct cn_request request)
{
    if (requests->count == requests->capacity) {
        size_t capacity = requests->capacity ? 2 * requests->capacity : 256;
        struct cn_request *item;
        CN_TRY(CN_NEW(requests->arena, capacity, &item));
        if (requests->count) memcpy(item, requests->item, requests->count * sizeof *item);
        requests->item = item;
        requests->capacity = capacity;
    }
    requests->item[requests->count++] = request;
    return CN_OK;
}

static enum cn_status alone_sum(void *self, struct cn_sum *sums, size_t n)
{
    (void)self, (void)sums, (void)n;
    return CN_OK;
}

static enum cn_status alone_max(void *self, double *values, size_t n)
{
    (void)self, (void)values, (void)n;
    return CN_OK;
}

static enum cn_status alone_gather(void *self, const double *values, size_t n,
                                   struct cn_arena *arena, const double **all, size_t *n_all,
                                   size_t *mine)
{
    (void)self, (void)arena;
    *all = values;
    *n_all = n;
    *mine = 0;
    return CN_OK;
}

static enum cn_status alone_select(void *self, const double *values, size_t n, size_t k,
                                   struct cn_arena *scratch, uint8_t *chosen)
{
    (void)self;
    return cn_select_largest(values, n, k, NULL, scratch, chosen);
}

const struct cn_reduce cn_reduce_alone = {
    .sum = alone_sum, .max = alone_max, .gather = alone_gather, .select_largest = alone_select};
