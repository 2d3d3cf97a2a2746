/* Entropy methods: one file each in algorithms/entropy/, one line each in entropies.c. */
#ifndef CARNOT_ENTROPY_H
#define CARNOT_ENTROPY_H

#include "carnot/plugin.h"

#ifdef __cplusplus
extern "C" {
#endif

/* How a method wants the channel entropy_top to be restricted; one setting per run. */
enum cn_top_form {
    CN_TOP_NONE,
    CN_TOP_P,       /* the most likely tokens until their mass reaches `amount` */
    CN_TOP_K,       /* the `amount` most likely tokens */
    CN_TOP_P_BELOW, /* as CN_TOP_P without the token that reaches it: may be empty, with entropy 0
                     */
    CN_TOP_SHARE    /* all but the floor((1 - amount) V) least likely of V tokens */
};
struct cn_top {
    enum cn_top_form form;
    double amount;     /* probability mass or share in (0, 1], or number of tokens */
    bool renormalised; /* H of p/P_S; otherwise the partial sum over S of -p log p */
};

/* Tokens that a restriction by number (CN_TOP_K, CN_TOP_SHARE) keeps of a vocabulary. */
static inline double cn_top_count(const struct cn_top *top, size_t vocab)
{
    if (top->form == CN_TOP_K) return top->amount;
    return (double)(vocab - (size_t)((1 - top->amount) * (double)vocab + 1e-9));
}

struct cn_entropy {
    CN_PLUGIN_FIELDS
    /* Required of methods that need CN_LIVE_BIT(entropy_top): which tokens the channel is
     * restricted to. */
    struct cn_top (*top)(const void *settings);
};

/* All methods, in the order of the list; NULL-terminated. */
extern const struct cn_entropy *const cn_entropies[];

#ifdef __cplusplus
}
#endif
#endif
