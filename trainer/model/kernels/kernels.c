/* Chooses among the instruction sets. */
#include "kernels.h"

#include <string.h>

/* Layout: attention_layout in attention_body.h, with the widest LANES (16) and QUERY_BLOCK (32). */
size_t torch_attention_scratch(size_t head_dim, size_t keys)
{
    size_t d = (head_dim + 15) / 16 * 16, k = (keys + 15) / 16 * 16;
    return 6 * d * k + 2 * 32 * k + 3 * 32 * d;
}

static bool runs_here(const struct torch_kernels *set)
{
    if (set == &torch_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (set == &torch_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return true;
}

const struct torch_kernels *torch_kernels_pick(const char *name)
{
    static const struct torch_kernels *const sets[] = {&torch_kernels_avx512, &torch_kernels_avx2,
                                                       &torch_kernels_portable};
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++)
        if ((!name || strcmp(name, sets[i]->name) == 0) && runs_here(sets[i])) return sets[i];
    return NULL;
}
