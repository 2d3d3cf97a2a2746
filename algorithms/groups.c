/* Finding groups: sort the sequences by part and group number. */
#include "groups.h"

#include <math.h>
#include <stdlib.h>

struct place {
    uint32_t group;
    uint8_t part;
    size_t sequence;
};

bool groups_scored(const struct cn_batch *batch, size_t s)
{
    switch (batch->drop[s]) {
    case CN_DROP_NONE:
    case CN_DROP_OVERLONG:
    case CN_DROP_NO_SPREAD:
    case CN_DROP_SURPLUS:
    case CN_DROP_BASELINE:
        return isfinite(batch->reward[s]);
    default:
        return false;
    }
}

static int by_group(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->part != y->part) return x->part < y->part ? -1 : 1;
    if (x->group != y->group) return x->group < y->group ? -1 : 1;
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

enum cn_status groups_find(const struct cn_batch *batch, struct cn_arena *arena, struct groups *out)
{
    struct place *places;
    size_t n = 0;
    CN_TRY(CN_NEW(arena, batch->n_sequences, &places));
    CN_TRY(CN_NEW(arena, batch->n_sequences, &out->member));
    CN_TRY(CN_NEW(arena, batch->n_sequences + 1, &out->start));
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (groups_scored(batch, s))
            places[n++] = (struct place){batch->group[s], batch->part[s], s};
    if (n) qsort(places, n, sizeof *places, by_group);
    out->count = 0;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || places[i].group != places[i - 1].group ||
            places[i].part != places[i - 1].part)
            out->start[out->count++] = i;
        out->member[i] = places[i].sequence;
    }
    out->start[out->count] = n;
    return CN_OK;
}

size_t groups_trained(const struct cn_batch *batch, size_t s)
{
    size_t n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        n += cn_batch_trained(batch, s, t);
    return n;
}

size_t groups_length(const struct cn_batch *batch, size_t s)
{
    size_t n = 0;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        n += batch->role[t] == CN_ROLE_POLICY;
    return n;
}

double groups_return(const struct cn_batch *batch, size_t s)
{
    double sum = batch->reward[s];
    if (!(batch->written & CN_NEEDS(token_reward))) return sum;
    for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
        if (batch->role[t] == CN_ROLE_POLICY) sum += batch->token_reward[t];
    return sum;
}

bool groups_spread(const double *values, size_t n)
{
    for (size_t i = 1; i < n; i++)
        if (values[i] != values[0]) return true;
    return false;
}
