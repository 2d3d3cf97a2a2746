/* The list of entropy methods: one line each. */
#include "carnot/entropy.h"

#define ENTROPIES(X)                                                                               \
    X(bonus)                                                                                       \
    X(adaptive)                                                                                    \
    X(restricted_bonus)                                                                            \
    X(aent)                                                                                        \
    X(clip_cov)                                                                                    \
    X(kl_cov)                                                                                      \
    X(steer)                                                                                       \
    X(siren)                                                                                       \
    X(forking)                                                                                     \
    X(entropy_advantage)                                                                           \
    X(archer)                                                                                      \
    X(aepo)                                                                                        \
    X(cure)                                                                                        \
    X(co_reward)                                                                                   \
    X(remix)

#define X(name) extern const struct cn_entropy cn_entropy_##name;
ENTROPIES(X)
#undef X

const struct cn_entropy *const cn_entropies[] = {
#define X(name) &cn_entropy_##name,
    ENTROPIES(X)
#undef X
        NULL};
