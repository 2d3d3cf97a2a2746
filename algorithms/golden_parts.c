/* Golden vectors of the methods that look at restricted entropies or at parts of the batch, and
 * special cases.
 *
 * r1, r2: the nucleus entropies of eight rows of logits.  v1, v6, v7: two answers, with auxiliary
 * ones, as stale ones, with another wording.  Made by an independent script in double precision,
 * which checked its own gradients by differences (methods-entropy-1, section 6; methods-entropy-2).
 * "By hand": from the other vectors, by what the name says, or so simple that it can be seen. */
#include "golden.h"

#define JSON(...) #__VA_ARGS__

// clang-format off
static const char case_r1[] =
    JSON({"sequences": [{"group": 0, "reward": 0, "role": [1, 1, 1, 1, 1], "logp_old": [-1,
    -1, -1, -1, -1], "entropy_top_new": [0, 1.085411017, 0.662847319, 1.374963617, 0]},
    {"group": 1, "reward": 0, "role": [1, 1, 1], "logp_old": [-1, -1, -1], "entropy_top_new":
    [0.691898741, 0.682022489, 0]}]});

static const char case_r2[] =
    JSON({"sequences": [{"group": 0, "reward": 0, "role": [1, 1, 1, 1, 1], "logp_old": [-1,
    -1, -1, -1, -1], "entropy_top_new": [0, 1.338714406, 1.043054844, 1.594087321, 0]},
    {"group": 1, "reward": 0, "role": [1, 1, 1], "logp_old": [-1, -1, -1], "entropy_top_new":
    [0.982389139, 1.083477363, 0]}]});

static const char case_on[] =
    JSON({"sequences": [{"group": 0, "reward": 1, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.1, -1.2, -0.5, -2.3], "entropy_old": [0.35, 1.6, 0.9,
    2.2]}, {"group": 1, "reward": -1.5, "role": [1, 1], "logp_old": [-0.05, -3], "logp_new":
    [-0.05, -3], "entropy_old": [0.2, 2.5]}]});

static const char case_zero[] =
    JSON({"sequences": [{"group": 0, "reward": 0, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.08, -1, -0.55, -2], "entropy_old": [0.35, 1.6, 0.9,
    2.2]}, {"group": 1, "reward": 0, "role": [1, 1], "logp_old": [-0.05, -3], "logp_new":
    [-0.04, -3.4], "entropy_old": [0.2, 2.5]}]});

static const char case_small[] =
    JSON({"sequences": [{"group": 0, "reward": 0.004, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.08, -1, -0.55, -2], "entropy_old": [0.35, 1.6, 0.9,
    2.2]}, {"group": 1, "reward": -0.006, "role": [1, 1], "logp_old": [-0.05, -3], "logp_new":
    [-0.04, -3.4], "entropy_old": [0.2, 2.5]}]});

static const char case_top[] =
    JSON({"sequences": [{"group": 0, "reward": 0, "role": [1, 1, 1], "logp_old": [-1, -1, -1],
    "entropy_top_new": [0.5, 1, 1.5]}]});

static const char case_v1[] =
    JSON({"sequences": [{"group": 0, "part": "main", "reward": 1, "role": [1, 1, 1, 2],
    "logp_old": [-0.5, -1.2, -0.9, -2], "logp_new": [-0.1, -1.1, -1.3, -1.5], "logp_sampled":
    [-0.5, -1.2, -0.9, -2], "entropy_old": [0.3, 1.1, 0.6, 2]}, {"group": 1, "part": "main",
    "reward": -0.8, "role": [1, 1, 1, 1], "logp_old": [-1, -0.7, -2.6, -0.3], "logp_new":
    [-0.6, -1.2, -1.3, -0.35], "logp_sampled": [-1, -0.7, -2.6, -0.3], "entropy_old": [1.5,
    0.2, 2.4, 0.45]}, {"group": 2, "part": "auxiliary", "reward": 1, "role": [1, 1, 1, 1],
    "logp_old": [-1.5, -0.3, -2, -0.8], "logp_new": [-1.3, -0.2, -1.7, -0.9], "logp_sampled":
    [-1.5, -0.3, -2, -0.8], "entropy_old": [1, 1, 1, 1]}, {"group": 2, "part": "auxiliary",
    "reward": 0, "role": [1, 1, 1], "logp_old": [-0.9, -1.1, -0.4], "logp_new": [-0.8, -1,
    -0.3], "logp_sampled": [-0.9, -1.1, -0.4], "entropy_old": [1, 1, 1]}]});

static const char case_v6[] =
    JSON({"step": 65, "sequences": [{"group": 0, "part": "replay", "reward": 1, "role": [1, 1,
    1, 2], "logp_sampled": [-0.5, -1.2, -0.9, -2], "logp_old": [-0.1, -1.45, -1.05, -1.8],
    "logp_new": [-0.1, -1.1, -1.3, -1.5], "logp_ref": [-0.4, -1, -1, -1], "logp_anchor":
    [-0.1, -1.45, -1.05, -1.8], "entropy_old": [0.3, 1.1, 0.6, 2]}, {"group": 1, "part":
    "replay", "reward": -0.8, "role": [1, 1, 1, 1], "logp_sampled": [-1, -0.7, -2.6, -0.3],
    "logp_old": [-0.8, -0.9, -1.9, -0.32], "logp_new": [-0.6, -1.2, -1.3, -0.35], "logp_ref":
    [-0.8, -1, -1.6, -0.4], "logp_anchor": [-0.8, -0.9, -1.9, -0.32], "entropy_old": [1.5,
    0.2, 2.4, 0.45]}]});

static const char case_v7[] =
    JSON({"sequences": [{"group": 0, "part": "main", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 0, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 3, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "main", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 0, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 4, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 2, "role": [1],
    "logp_old": [-1]}, {"group": 0, "part": "view", "reward": 0, "answer": 1, "role": [1],
    "logp_old": [-1]}]});

static const char case_v7_loss[] =
    JSON({"sequences": [{"group": 0, "part": "main", "reward": 1, "role": [1, 1, 1, 2],
    "logp_old": [-0.5, -1.2, -0.9, -2], "logp_new": [-0.1, -1.1, -1.3, -1.5], "logp_ref":
    [-0.4, -1, -1, -1]}, {"group": 1, "part": "main", "reward": -0.8, "role": [1, 1, 1, 1],
    "logp_old": [-1, -0.7, -2.6, -0.3], "logp_new": [-0.6, -1.2, -1.3, -0.35], "logp_ref":
    [-0.8, -1, -1.6, -0.4]}, {"group": 0, "part": "view", "reward": 1, "role": [1, 1, 1, 1],
    "logp_old": [-1.5, -0.3, -2, -0.8], "logp_new": [-1.3, -0.2, -1.7, -0.9], "logp_ref":
    [-1.5, -0.3, -2, -0.8]}, {"group": 1, "part": "view", "reward": -1, "role": [1, 1, 1],
    "logp_old": [-0.9, -1.1, -0.4], "logp_new": [-0.8, -1, -0.3], "logp_ref": [-0.9, -1.1,
    -0.4]}]});

static const char case_empty[] =
    JSON({"sequences": [{"group": 0, "reward": 0, "role": [1, 1, 1, 1, 1], "logp_old": [-1,
    -1, -1, -1, -1], "entropy_top_new": [0, 1.085411017, 0.662847319, 1.374963617, 0]},
    {"group": 1, "reward": 0, "role": [1, 1, 1], "logp_old": [-1, -1, -1], "entropy_top_new":
    [0, 0, 0]}]});

static const char case_fork[] =
    JSON({"sequences": [{"group": 0, "reward": 1, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.08, -1, -0.55, -2], "entropy_old": [0.35, 1.6, 0.9,
    2.2], "entropy_new": [2.2, 0.9, 1.6, 0.35]}, {"group": 1, "reward": -1.5, "role": [1, 1],
    "logp_old": [-0.05, -3], "logp_new": [-0.04, -3.4], "entropy_old": [0.2, 2.5],
    "entropy_new": [2.5, 0.2]}]});

static const char case_sampled[] =
    JSON({"sequences": [{"group": 0, "reward": 1, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.08, -1, -0.55, -2], "logp_ref": [-0.25, -1.05, -0.65,
    -2.15], "logp_sampled": [-0.7931471805599453, -1.8931471805599451, -1.1931471805599454,
    -2.993147180559945], "entropy_old": [0.35, 1.6, 0.9, 2.2]}, {"group": 1, "reward": -1.5,
    "role": [1, 1], "logp_old": [-0.05, -3], "logp_new": [-0.04, -3.4], "logp_ref": [-0.2,
    -2.85], "logp_sampled": [-0.7431471805599453, -3.6931471805599454], "entropy_old": [0.2,
    2.5]}]});

static const char case_both[] =
    JSON({"step": 3, "sequences": [{"group": 0, "part": "main", "reward": 1, "role": [1, 1, 1,
    2], "logp_sampled": [-0.5, -1.2, -0.9, -2], "logp_old": [-0.5, -1.2, -0.9, -2],
    "logp_new": [-0.1, -1.1, -1.3, -1.5], "logp_ref": [-0.4, -1, -1, -1], "logp_anchor":
    [-0.1, -1.45, -1.05, -1.8], "entropy_old": [0.3, 1.1, 0.6, 2]}, {"group": 1, "part":
    "main", "reward": -0.8, "role": [1, 1, 1, 1], "logp_sampled": [-1, -0.7, -2.6, -0.3],
    "logp_old": [-1, -0.7, -2.6, -0.3], "logp_new": [-0.6, -1.2, -1.3, -0.35], "logp_ref":
    [-0.8, -1, -1.6, -0.4], "logp_anchor": [-0.8, -0.9, -1.9, -0.32], "entropy_old": [1.5,
    0.2, 2.4, 0.45]}, {"group": 2, "part": "replay", "reward": 1, "role": [1, 1, 1, 2],
    "logp_sampled": [-0.5, -1.2, -0.9, -2], "logp_old": [-0.5, -1.2, -0.9, -2], "logp_new":
    [-0.1, -1.1, -1.3, -1.5], "logp_ref": [-0.4, -1, -1, -1], "logp_anchor": [-0.1, -1.45,
    -1.05, -1.8], "entropy_old": [0.3, 1.1, 0.6, 2]}, {"group": 3, "part": "replay", "reward":
    -0.8, "role": [1, 1, 1, 1], "logp_sampled": [-1, -0.7, -2.6, -0.3], "logp_old": [-1, -0.7,
    -2.6, -0.3], "logp_new": [-0.6, -1.2, -1.3, -0.35], "logp_ref": [-0.8, -1, -1.6, -0.4],
    "logp_anchor": [-0.8, -0.9, -1.9, -0.32], "entropy_old": [1.5, 0.2, 2.4, 0.45]}]});

static const char clip_higher[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"type": "ppo",
    "clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10}});

static const char unclipped[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": "importance"});

static const char plain[] =
    JSON({"advantage": "reward", "aggregation": "token_mean"});

static const char sequence_means[] =
    JSON({"advantage": "reward", "aggregation": "seq_mean_token_mean"});

static const char group_token_mean[] =
    JSON({"aggregation": "token_mean"});

static const char with_kl[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"dual_clip": 3},
    "kl": {"type": "k3", "coefficient": 0.005}});

static const char corrected[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"clip_low": 0.2,
    "clip_high": 0.2, "dual_clip": 10}, "correction": {"type": "truncate", "cap": 3}});

static const char dual[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"dual_clip": 3}});

const struct cn_golden golden_parts[] = {
    {"aent, by hand", plain,
     JSON([{"type": "aent", "coefficient": 0.3, "smallest": 0, "largest": 1}]),
     case_top,
     JSON({"loss": -0.3, "d_entropy_top": [-0.1, -0.1, -0.1]}),
     1.1e-9},
    {"restricted bonus, by hand", plain,
     JSON([{"type": "restricted_bonus", "coefficient": 0.3}]),
     case_top,
     JSON({"loss": -0.3, "d_entropy_top": [-0.1, -0.1, -0.1]}),
     1.1e-9},
    {"R1 tau .5", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 1.0, "tau": 0.5, "nucleus":
     "exclusive", "quantile": "above"}]),
     case_r1,
     JSON({"loss": 0.001517646, "d_entropy_top": [0, -0.019478485, 0, -0.019478485, 0,
     -0.038956971, 0, 0], "metrics": {"entropy/siren/actual": 0.961043029}}),
     1.5e-9},
    {"R1 tau .8", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 0.6, "tau": 0.8, "nucleus":
     "exclusive", "quantile": "above"}]),
     case_r1,
     JSON({"loss": 0.187862587, "metrics": {"entropy/siren/actual": 1.033431179}}),
     1.5e-9},
    {"R2 tau .5", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 1.0, "tau": 0.5, "nucleus":
     "inclusive", "quantile": "at_least"}]),
     case_r2,
     JSON({"loss": 0.032080173, "d_entropy_top": [0, 0.059703129, 0.059703129, 0.059703129, 0,
     0.089554694, 0.089554694, 0], "metrics": {"entropy/siren/actual": 1.179109387}}),
     1.5e-9},
    {"R2 tau .8", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 0.6, "tau": 0.8, "nucleus":
     "inclusive", "quantile": "at_least"}]),
     case_r2,
     JSON({"loss": 0.545799349, "metrics": {"entropy/siren/actual": 1.338782342}}),
     1.5e-9},
    {"A.K on policy", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_on,
     JSON({"loss": -0.166666667, "d_logp": [-0.166666666667, -0.166666666667, -0.166666666667,
     -0.166666666667, 0.25, 0.25]}),
     1.1e-9},
    {"A.K without advantages", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_zero,
     JSON({"loss": 0.036666667, "d_logp": [0.166666666667, 0.166666666667, 0, 0, 0, 0]}),
     1.1e-9},
    {"A.S floor", clip_higher,
     JSON([{"type": "steer", "minimum": 0.8, "form": "released"}]),
     case_small,
     JSON({"weight": [0.999055302, 0.979538247, 0.993733929, 0.989636173, 0.999575889,
     0.961714029]}),
     1.1e-9},
    {"V1 AEPO, REINFORCE", sequence_means,
     JSON([{"type": "aepo", "coefficient": 1}]),
     case_v1,
     JSON({"loss": 0.7078199183, "d_logp": [0, -0.18419515, -0.11172001, 0, 0.14918247, 0,
     0.36692967, 0.09512294, -0.125, -0.125, -0.125, -0.125, 0, 0, 0]}),
     6e-9},
    {"V1 AEPO, clipped", sequence_means,
     JSON([{"type": "aepo", "loss": "clip"}]),
     case_v1,
     JSON({"loss": 0.1867066208, "d_logp": [0, -0.18419515, -0.11172001, 0, 0.14918247, 0,
     0.36692967, 0.09512294, 0, -0.00215854, 0, -0.00176726, 0, 0, 0]}),
     6e-9},
    {"V6 ReMix", plain,
     JSON([{"type": "remix", "steps": 1000, "kl": 0, "bonus": 0}]),
     case_v6,
     JSON({"loss": 0.3205599582, "d_logp": [-0.21311781, 0, -0.09576001, 0, 0.17049425, 0,
     0.41934819, 0.10871193]}),
     6e-9},
    {"V6 ReMix total", plain,
     JSON([{"type": "remix", "steps": 1000}]),
     case_v6,
     JSON({"loss": 0.3196533492, "d_logp": [-0.21308818923, -3.58205e-06, -0.09580810888, 0,
     0.17052014561, -3.529914e-05, 0.41939070187, 0.10871663365], "d_entropy":
     [-0.000142857143, -0.000142857143, -0.000142857143, 0, -0.000142857143, -0.000142857143,
     -0.000142857143, -0.000142857143]}),
     6e-9},
    {"V7 Co-Reward, votes", group_token_mean,
     JSON([{"type": "co_reward"}]),
     case_v7,
     JSON({"advantage": [-0.54006056, -0.54006056, 1.62018167, -0.54006056, -0.54006056,
     1.62018167, -0.54006056, -0.54006056, -0.54006056, 1.62018167, -0.54006056, -0.54006056,
     -0.54006056, -0.54006056, -0.54006056, 1.62018167]}),
     6e-9},
    {"V7 two parts", with_kl,
     JSON([]),
     case_v7_loss,
     JSON({"loss": 0.1322524636, "d_logp": [0.00018513, -0.15795668, -0.09600991, 0,
     0.17062373, -0.00015814, 0.00018513, 0.10874677, 0.00012948, -0.15781359, 0.00018513,
     -0.12933761, 0.15794953, 0.15794953, 0.15794953]}),
     6e-9},
    {"R1 with an empty answer, by hand", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 1.0, "tau": 0.5, "quantile":
     "above"}]),
     case_empty,
     JSON({"loss": 0.148152891727, "d_entropy_top": [0, -0.19245317075, 0, -0.19245317075, 0,
     0, 0, 0]}),
     2e-9},
    {"A.F of the present entropy, by hand", clip_higher,
     JSON([{"type": "forking", "fraction": 0.5}]),
     case_fork,
     JSON({"d_logp": [-0.170033557, 0, -0.158538237, 0, 0.252512542, 0]}),
     2e-9},
    {"A.Archer with a correction of 2, by hand", corrected,
     JSON([{"type": "archer"}]),
     case_sampled,
     JSON({"d_logp": [-0.34002803, 1.2193e-05, -0.317052684, -0.449952936, 0.505062048,
     0.335160024]}),
     6e-9},
    {"V0 ReMix, the fresh half", dual,
     JSON([{"type": "remix", "share": 0, "kl": 0, "bonus": 0}]),
     case_both,
     JSON({"loss": 0.2884217619, "d_logp": [0, -0.15788156, -0.09576001, 0, 0.17049425, 0, 0,
     0.10871193, 0, 0, 0, 0, 0, 0, 0, 0]}),
     6e-9},
    {"V6 ReMix, the stale half", dual,
     JSON([{"type": "remix", "share": 1, "kl": 0, "bonus": 0}]),
     case_both,
     JSON({"d_logp": [0, 0, 0, 0, 0, 0, 0, 0, 0, -0.15788156, -0.09576001, 0, 0.17049425, 0,
     0.41934819, 0.10871193]}),
     6e-9},
    {0}};
