/* The list of rewards: one line per file of this folder. */
#include "carnot/reward.h"

#include <string.h>

// clang-format off
#define REWARDS(X) X(exact_answer) X(format) X(length) X(math) X(terms)
// clang-format on

#define X(name) extern const struct cn_reward cn_reward_##name;
REWARDS(X)
#undef X

const struct cn_reward *const cn_rewards[] = {
#define X(name) &cn_reward_##name,
    REWARDS(X)
#undef X
        NULL};

const struct cn_reward *cn_reward_find(const char *name)
{
    for (size_t i = 0; cn_rewards[i]; i++)
        if (strcmp(cn_rewards[i]->name, name) == 0) return cn_rewards[i];
    return NULL;
}
