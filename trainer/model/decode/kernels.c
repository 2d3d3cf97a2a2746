/* Chooses among the instruction sets. */
#include "kernels.h"

#include <string.h>

/* Best first. */
static const struct kernels *const sets[] = {&decode_kernels_avx512bf16, &decode_kernels_avx512f,
                                             &decode_kernels_avx2, &decode_kernels_portable};

static bool runs_here(const struct kernels *set)
{
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (set == &decode_kernels_avx512bf16) return wide && __builtin_cpu_supports("avx512bf16");
    if (set == &decode_kernels_avx512f) return wide;
    if (set == &decode_kernels_avx2)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    return true;
}

static bool is_named(const struct kernels *set, const char *isa)
{
    if (!isa || strcmp(isa, set->name) == 0) return true;
    return strcmp(isa, "avx512") == 0 && strncmp(set->name, isa, strlen(isa)) == 0;
}

enum cn_status kernels_pick(const char *isa, const struct kernels **out)
{
    bool known = false;
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        if (!is_named(sets[i], isa)) continue;
        known = true;
        if (!runs_here(sets[i])) continue;
        *out = sets[i];
        return CN_OK;
    }
    if (known)
        return cn_fail(CN_ERR_CONFIG,
                       "this processor has no %s: choose \"portable\" or let the "
                       "program choose",
                       isa);
    return cn_fail(CN_ERR_CONFIG,
                   "unknown instruction set \"%s\": known are portable, avx2, avx512, "
                   "avx512f, avx512bf16",
                   isa ? isa : "");
}
