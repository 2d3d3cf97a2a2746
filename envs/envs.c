/* The list of environments: one line per file of this folder. */
#include "carnot/env.h"

#include <string.h>

// clang-format off
#define ENVS(X) X(questions) X(arithmetic) X(sort) X(compose)
// clang-format on

#define X(name) extern const struct cn_env cn_env_##name;
ENVS(X)
#undef X

const struct cn_env *const cn_envs[] = {
#define X(name) &cn_env_##name,
    ENVS(X)
#undef X
        NULL};

const struct cn_env *cn_env_find(const char *name)
{
    for (size_t i = 0; cn_envs[i]; i++)
        if (strcmp(cn_envs[i]->name, name) == 0) return cn_envs[i];
    return NULL;
}
