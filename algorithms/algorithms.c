/* The rows: an algorithm is one choice per axis and the defaults of its options.  The first is the
 * default of a configuration that names none.
 *
 * A row names only what differs from the axis's own default (CN_AXES); any axis and option can be
 * overridden in the configuration.  KL to a reference is off in every row, as in most recipes for
 * verifiable rewards: "algorithm.kl": {"type": "k3", "coefficient": 0.04} is the GRPO paper's. */
#include "axes.h"

#include <string.h>

static const struct cn_algorithm rows[] = {
    {.name = "grpo",
     .summary = "group-normalised advantage, clipped token ratio, mean over sequences",
     .reference = "Shao et al. 2024, arXiv 2402.03300, equation 3; paper: kl k3 0.04",
     .aggregation = "seq_mean_token_mean"},
    {.name = "reinforce",
     .summary = "reward times log-probability of the sequence, without a baseline",
     .reference = "Williams 1992",
     .advantage = "reward",
     .ratio = "none",
     .surrogate = "reinforce",
     .aggregation = "seq_mean_token_sum"},
    {.name = "rloo",
     .summary = "REINFORCE with the mean of the other samples as baseline",
     .reference = "Ahmadian et al. 2024, arXiv 2402.14740",
     .advantage = "loo",
     .ratio = "none",
     .surrogate = "reinforce",
     .aggregation = "seq_mean_token_sum"},
    {.name = "dr_grpo",
     .summary = "GRPO without the two normalisers that bias it",
     .reference = "Liu et al. 2025, arXiv 2503.20783",
     .advantage = "group_mean",
     .aggregation = "seq_mean_token_sum_norm"},
    {.name = "dapo",
     .summary = "Clip-Higher, token mean, dynamic sampling, soft overlong punishment",
     .reference = "Yu et al. 2025, arXiv 2503.14476; equation 8 as printed: prompt_mean",
     .sampling = "dynamic",
     .shaping = "[{\"type\": \"soft_overlong\"}]",
     .defaults = (const struct cn_default[]){{"surrogate.clip_high", "0.28"}, {NULL, NULL}}},
    {.name = "ppo",
     .summary = "clipped token ratio; without a critic: whitened reward to go",
     .reference = "Schulman et al. 2017, arXiv 1707.06347; without critic as REINFORCE++, "
                  "arXiv 2501.03262",
     .advantage = "rtg",
     .defaults = (const struct cn_default[]){{"advantage.whiten", "\"unbiased\""}, {NULL, NULL}}},
};

enum { ROWS = sizeof rows / sizeof *rows };

const struct cn_algorithm *const cn_algorithms[ROWS + 1] = {&rows[0], &rows[1], &rows[2],
                                                            &rows[3], &rows[4], &rows[5]};

const struct cn_algorithm *cn_algorithm_find(const char *name)
{
    for (const struct cn_algorithm *const *row = cn_algorithms; *row; row++)
        if (strcmp((*row)->name, name) == 0) return *row;
    return NULL;
}

const struct cn_plugin *const *cn_axis_entries(enum cn_axis_index axis)
{
    static const struct cn_plugin *const *const tables[CN_AXIS_COUNT] = {
#define X(name, fallback, text) [CN_AXIS_##name] = axis_##name,
        CN_AXES(X)
#undef X
    };
    return (unsigned)axis < CN_AXIS_COUNT ? tables[axis] : NULL;
}

const struct cn_plugin *const *cn_shaping_entries(void)
{
    return axis_shaping;
}

const char *cn_axis_name(enum cn_axis_index axis)
{
    static const char *const names[CN_AXIS_COUNT] = {
#define X(name, fallback, text) [CN_AXIS_##name] = #name,
        CN_AXES(X)
#undef X
    };
    return (unsigned)axis < CN_AXIS_COUNT ? names[axis] : "?";
}
