/* What methods share that ask for sequences of their own: the same list of wishes on every rank. */
#ifndef CARNOT_ENTROPY_ASKING_H
#define CARNOT_ENTROPY_ASKING_H

#include "carnot/entropy.h"

/* The sequences of all ranks, in global order, as far as asking needs them. */
struct asking {
    size_t n;
    const double *prompt, *group, *sample; /* (n) numbers */
    const double *value;                   /* (n) the caller's */
    const double *main;                    /* (n) 1: main, its own beginning, and not given up */
};

/* value (sequences of so_far): one number of each; NULL: 0.  Memory from the context's scratch.
 * Collective. */
enum cn_status asking_gather(const struct cn_context *context, const struct cn_batch *so_far,
                             const double *value, struct asking *out);

/* Whether i is the first main sequence of its group; the groups' main sequences follow each other.
 * size: how many they are. */
bool asking_first(const struct asking *asking, size_t i, size_t *size);

#endif
