/* Chooses among the instruction sets. */
#include "kernels.h"

#include <cpuid.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Best first. */
static const struct kernels *const sets[] = {&decode_kernels_amx, &decode_kernels_avx512bf16,
                                             &decode_kernels_avx512f, &decode_kernels_avx2,
                                             &decode_kernels_portable};

/* Tiles of BF16: bits 22 and 24 of leaf 7 (GCC 12 does not know them); Linux lets a process use
 * them once it has asked: arch_prctl(ARCH_REQ_XCOMP_PERM, XTILEDATA). */
static bool has_tiles(void)
{
    enum { BF16_AND_TILES = 1 << 22 | 1 << 24, REQUEST_PERMISSION = 0x1023, TILE_DATA = 18 };
    unsigned a, b, c, d;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & BF16_AND_TILES) != BF16_AND_TILES)
        return false;
    return syscall(SYS_arch_prctl, REQUEST_PERMISSION, TILE_DATA) == 0;
}

static bool runs_here(const struct kernels *set)
{
    bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    const bool dots = wide && __builtin_cpu_supports("avx512bf16");
    if (set == &decode_kernels_amx) return dots && has_tiles();
    if (set == &decode_kernels_avx512bf16) return dots;
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
                   "avx512f, avx512bf16, amx",
                   isa ? isa : "");
}
