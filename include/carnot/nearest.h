/* "Did you mean": the known word nearest to a misspelt one. */
#ifndef CARNOT_NEAREST_H
#define CARNOT_NEAREST_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A search in progress: start with {.word = ...}, offer every known word, then ask.  Words are
 * borrowed. */
struct cn_nearest {
    const char *word, *best;
    size_t distance; /* of best: edits and swaps of neighbours */
};

void cn_nearest_offer(struct cn_nearest *nearest, const char *known);

/* The best known word, NULL if none is similar. */
const char *cn_nearest_found(const struct cn_nearest *nearest);

#ifdef __cplusplus
}
#endif
#endif
