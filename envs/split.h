/* Which generated tasks are held out: a keyed hash of the problem itself decides, so the two splits
 * never meet, whatever the seed, the number of ranks or the format of the prompt. */
#ifndef ENVS_SPLIT_H
#define ENVS_SPLIT_H

#include "carnot/env.h"

/* FNV-1a over the canonical problem, keyed by `kind`, then a 64-bit mixer (Steele et al. 2014,
 * SplitMix64), because the upper bits of FNV alone are poor for short texts.  A larger fraction
 * holds out a superset. */
static inline enum cn_split split_of(const char *kind, const char *problem, size_t length,
                                     double fraction)
{
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *kind; kind++)
        hash = (hash ^ (unsigned char)*kind) * 0x100000001b3u;
    for (size_t i = 0; i < length; i++)
        hash = (hash ^ (unsigned char)problem[i]) * 0x100000001b3u;
    hash = (hash ^ (hash >> 30)) * 0xbf58476d1ce4e5b9u;
    hash = (hash ^ (hash >> 27)) * 0x94d049bb133111ebu;
    hash ^= hash >> 31;
    return (double)(hash >> 11) * 0x1p-53 < fraction ? CN_SPLIT_HELD_OUT : CN_SPLIT_TRAIN;
}

/* Place of task `task` in a list of `count`: the training split is walked in the order of the seed,
 * the held-out split in the same order in every run, so that "the first 1,000" are the same
 * problems. */
static inline uint64_t split_place(enum cn_split split, uint64_t seed, uint64_t task,
                                   uint64_t count)
{
    return cn_rng_permute(cn_rng_key(split == CN_SPLIT_TRAIN ? seed : 0, 0, CN_RNG_TASK),
                          task % count, count);
}

#endif
