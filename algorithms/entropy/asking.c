/* See asking.h. */
#include "asking.h"

/* One number per sequence, end to end over ranks. */
static enum cn_status gather(const struct cn_context *context, const double *mine, size_t n,
                             const double **all, size_t *n_all)
{
    size_t place;
    return context->ranks->gather(context->ranks->self, mine, n, context->scratch, all, n_all,
                                  &place);
}

enum cn_status asking_gather(const struct cn_context *context, const struct cn_batch *so_far,
                             const double *value, struct asking *out)
{
    const size_t n = so_far->n_sequences;
    double *prompt, *group, *sample, *mine, *main;
    CN_TRY(CN_NEW(context->scratch, n, &prompt));
    CN_TRY(CN_NEW(context->scratch, n, &group));
    CN_TRY(CN_NEW(context->scratch, n, &sample));
    CN_TRY(CN_NEW(context->scratch, n, &mine));
    CN_TRY(CN_NEW(context->scratch, n, &main));
    for (size_t s = 0; s < n; s++) {
        prompt[s] = (double)so_far->prompt[s];
        group[s] = so_far->group[s];
        sample[s] = so_far->sample[s];
        mine[s] = value ? value[s] : 0;
        main[s] = so_far->part[s] == CN_PART_MAIN && so_far->parent[s] < 0 &&
                  so_far->drop[s] != CN_DROP_NO_SPREAD && so_far->drop[s] != CN_DROP_SURPLUS;
    }
    CN_TRY(gather(context, prompt, n, &out->prompt, &out->n));
    CN_TRY(gather(context, group, n, &out->group, &out->n));
    CN_TRY(gather(context, sample, n, &out->sample, &out->n));
    CN_TRY(gather(context, mine, n, &out->value, &out->n));
    return gather(context, main, n, &out->main, &out->n);
}

bool asking_first(const struct asking *asking, size_t i, size_t *size)
{
    const double group = asking->group[i];
    if (!asking->main[i] || (i > 0 && asking->main[i - 1] && asking->group[i - 1] == group))
        return false;
    *size = 0;
    for (size_t j = i; j < asking->n && asking->main[j] && asking->group[j] == group; j++)
        ++*size;
    return true;
}
