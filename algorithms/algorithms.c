/* The rows: an algorithm is one choice per axis and the defaults of its options.  The first is the
 * default of a configuration that names none.
 *
 * A row names only what differs from the axis's own default (CN_AXES); any axis and option can be
 * overridden in the configuration.  KL to a reference is off in every row, as in most recipes for
 * verifiable rewards: "algorithm.kl": {"type": "k3", "coefficient": 0.04} is the GRPO paper's. */
#include "axes.h"

#include <string.h>

#define DEFAULTS(...) ((const struct cn_default[]){__VA_ARGS__, {NULL, NULL}})

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
     .defaults = DEFAULTS({"surrogate.clip_high", "0.28"})},
    {.name = "ppo",
     .summary = "clipped token ratio, whitened advantages from a critic",
     .reference = "Schulman et al. 2017, arXiv 1707.06347; without a critic: reinforce_pp",
     .advantage = "gae",
     .critic = "clipped"},
    {.name = "vapo",
     .summary = "PPO with a critic warmed up on returns, lambda by length, imitation of right "
                "answers",
     .reference = "Yue et al. 2025, arXiv 2504.05118; critic: VC-PPO, arXiv 2503.01491",
     .advantage = "gae",
     .critic = "clipped",
     .defaults = DEFAULTS({"advantage.lambda_alpha", "0.05"}, {"advantage.critic_lambda", "1"},
                          {"advantage.imitation", "0.1"}, {"surrogate.clip_high", "0.28"},
                          {"critic.warmup_steps", "50"})},
    {.name = "reinforce_pp",
     .summary = "REINFORCE++: whitened reward to go with KL in the reward, clipped token ratio",
     .reference = "Hu 2025, arXiv 2501.03262",
     .advantage = "rtg",
     .kl = "k1",
     .defaults = DEFAULTS({"advantage.whiten", "\"unbiased\""})},
    {.name = "reinforce_pp_baseline",
     .summary = "REINFORCE++ with the group's mean as baseline, whitened, KL in the loss",
     .reference = "Hu 2025, arXiv 2501.03262; k2 in the loss as in the paper",
     .advantage = "group_mean",
     .kl = "k2",
     .defaults = DEFAULTS({"advantage.whiten", "\"unbiased\""})},
    {.name = "remax",
     .summary = "REINFORCE with the reward of a greedy sample as baseline",
     .reference = "Li et al. 2023, arXiv 2310.10505",
     .advantage = "greedy",
     .ratio = "none",
     .surrogate = "reinforce",
     .aggregation = "seq_mean_token_mean"},
    {.name = "opo",
     .summary = "strictly on-policy REINFORCE with the length-weighted baseline",
     .reference = "Hao et al. 2025, arXiv 2505.23585",
     .advantage = "length_weighted",
     .ratio = "none",
     .surrogate = "reinforce"},
    {.name = "gpg",
     .summary = "REINFORCE with the group's mean, rescaled for groups without spread",
     .reference = "Chu et al. 2025, arXiv 2504.02546",
     .advantage = "group_mean",
     .ratio = "none",
     .surrogate = "reinforce",
     .defaults = DEFAULTS({"advantage.rescale", "true"})},
    {.name = "gspo",
     .summary = "clipped geometric mean of the token ratios of a sequence",
     .reference = "Zheng et al. 2025, arXiv 2507.18071, equation 5",
     .ratio = "seq_geo",
     .aggregation = "seq_mean_token_mean",
     .defaults = DEFAULTS({"surrogate.clip_low", "3e-4"}, {"surrogate.clip_high", "4e-4"})},
    {.name = "gspo_token",
     .summary = "GSPO's ratio with the gradient of each token: advantages may differ",
     .reference = "Zheng et al. 2025, arXiv 2507.18071, equation 13",
     .ratio = "seq_geo_token",
     .aggregation = "seq_mean_token_mean",
     .defaults = DEFAULTS({"surrogate.clip_low", "3e-4"}, {"surrogate.clip_high", "4e-4"})},
    {.name = "luspo",
     .summary = "GSPO's ratio, weighted by length",
     .reference = "LUSPO 2026, arXiv 2602.05261",
     .ratio = "seq_geo",
     .aggregation = "seq_mean_token_sum",
     .defaults = DEFAULTS({"surrogate.clip_low", "2e-3"}, {"surrogate.clip_high", "2.5e-3"})},
    {.name = "cispo",
     .summary = "the clipped ratio is a constant weight",
     .reference = "MiniMax-M1 2025, arXiv 2506.13585",
     .surrogate = "cispo"},
    {.name = "gmpo",
     .summary = "geometric mean of clipped token ratios",
     .reference = "Zhao et al. 2025, arXiv 2507.20673",
     .ratio = "clipped_geo",
     .surrogate = "importance",
     .aggregation = "seq_mean_token_mean"},
    {.name = "sapo",
     .summary = "a smooth gate instead of a clip",
     .reference = "SAPO 2025, arXiv 2511.20347",
     .surrogate = "sapo",
     .aggregation = "seq_mean_token_mean"},
    {.name = "dppo",
     .summary = "drops tokens whose probability has moved too far",
     .reference = "DPPO 2026, arXiv 2602.04879",
     .surrogate = "dppo"},
    {.name = "maxrl",
     .summary = "advantage over the group's mean reward: weight on hard prompts",
     .reference = "MaxRL 2026, arXiv 2602.02710",
     .advantage = "mean_scaled"},
    {.name = "pass_at_k",
     .summary = "trains the success of any of k samples",
     .reference = "Chen et al. 2025, arXiv 2508.10751; form=pkpo: arXiv 2505.15201",
     .advantage = "pass_at_k"},
    {.name = "w_reinforce",
     .summary = "wrong answers count ten times as much as right ones",
     .reference = "Zhu et al. 2025, RLVR-Decomposed",
     .advantage = "signed_reward",
     .ratio = "none",
     .surrogate = "reinforce"},
    {.name = "qae",
     .summary = "quantile baseline: most advantages are exactly zero",
     .reference = "QAE 2025, arXiv 2509.22611",
     .advantage = "quantile",
     .defaults = DEFAULTS({"surrogate.clip_high", "0.28"})},
    {.name = "edge_grpo",
     .summary = "GRPO with larger advantages for answers that were more certain",
     .reference = "EDGE-GRPO 2025",
     .advantage = "confidence",
     .aggregation = "seq_mean_token_mean"},
};

enum { ROWS = sizeof rows / sizeof *rows };

/* A table of pointers to the rows, ended by NULL. */
#define AT(i) &rows[i]
const struct cn_algorithm *const cn_algorithms[ROWS + 1] = {
    AT(0),  AT(1),  AT(2),  AT(3),  AT(4),  AT(5),  AT(6),  AT(7),  AT(8),  AT(9),  AT(10), AT(11),
    AT(12), AT(13), AT(14), AT(15), AT(16), AT(17), AT(18), AT(19), AT(20), AT(21), AT(22), AT(23)};

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
