/* Golden vectors of the entropy methods; see carnot/golden.h.
 *
 * Cases a and b: two answers of four and two tokens, with the advantage as their reward; C1, K1 to
 * K3, S1 to S3 and the selections of F also came out of the authors' released code.  r1, r2: the
 * nucleus entropies of eight rows of logits.  b0: six answers in two groups, with a token of the
 * environment.  Made by an independent script in double precision, which checked its own gradients
 * by differences (methods-entropy-1, section 6; methods-entropy-2; methods-base, section 11).
 * v1, v6, v7: two answers, with auxiliary ones, as stale ones, with another wording.  "By hand":
 * so simple that the numbers can be seen. */
#include "carnot/golden.h"

#include <stddef.h>

#define JSON(...) #__VA_ARGS__

// clang-format off
static const char case_a[] =
    JSON({"sequences": [{"group": 0, "reward": 1, "role": [1, 1, 1, 1], "logp_old": [-0.1,
    -1.2, -0.5, -2.3], "logp_new": [-0.08, -1, -0.55, -2], "logp_ref": [-0.25, -1.05, -0.65,
    -2.15], "entropy_old": [0.35, 1.6, 0.9, 2.2]}, {"group": 1, "reward": -1.5, "role": [1,
    1], "logp_old": [-0.05, -3], "logp_new": [-0.04, -3.4], "logp_ref": [-0.2, -2.85],
    "entropy_old": [0.2, 2.5]}]});

static const char case_b[] =
    JSON({"sequences": [{"group": 0, "reward": 2.5, "role": [1, 1, 1, 1], "logp_old": [-0.02,
    -2.5, -0.3, -5], "logp_new": [-0.01, -1.7, -0.35, -5.3], "logp_ref": [-0.17, -2.35, -0.45,
    -4.85], "entropy_old": [0.05, 1.9, 0.6, 3.1]}, {"group": 1, "reward": -1, "role": [1, 1],
    "logp_old": [-0.7, -1.5], "logp_new": [-0.6, -0.6], "logp_ref": [-0.85, -1.35],
    "entropy_old": [0.8, 1.7]}]});

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

static const char case_b0[] =
    JSON({"sequences": [{"group": 0, "reward": 1, "role": [1, 1, 1], "logp_old": [-0.5, -1.2,
    -0.1], "logp_new": [-0.4, -0.9, -0.15], "entropy_old": [0.9, 1.4, 0.3], "entropy_top_new":
    [0.9, 1.4, 0.3]}, {"group": 0, "reward": 0, "role": [1, 1], "logp_old": [-0.8, -2],
    "logp_new": [-1.1, -0.8], "entropy_old": [1.15, 2], "entropy_top_new": [1.15, 2]},
    {"group": 0, "reward": 0, "role": [1, 2, 1, 1], "logp_old": [-0.3, -0.9, -1.6, -0.2],
    "logp_new": [-0.25, -0.5, -1.7, -0.1], "entropy_old": [0.7, 1, 1.8, 0.45],
    "entropy_top_new": [0.7, 1, 1.8, 0.45]}, {"group": 1, "reward": 1, "role": [1, 1],
    "logp_old": [-0.7, -0.4], "logp_new": [-1, -0.25], "entropy_old": [1.05, 0.8],
    "entropy_top_new": [1.05, 0.8]}, {"group": 1, "reward": 1, "role": [1, 1, 1], "logp_old":
    [-1, -0.6, -0.15], "logp_new": [-0.75, -0.6, -0.13], "entropy_old": [1.3, 0.9, 0.35],
    "entropy_top_new": [1.3, 0.9, 0.35]}, {"group": 1, "reward": 0, "role": [1, 1],
    "logp_old": [-1.4, -0.9], "logp_new": [-1.45, -0.55], "entropy_old": [1.6, 1.2],
    "entropy_top_new": [1.6, 1.2]}]});

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

static const char clip_higher[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"type": "ppo",
    "clip_low": 0.2, "clip_high": 0.28, "dual_clip": 10}});

static const char clip[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"type": "ppo",
    "clip_low": 0.2, "clip_high": 0.2, "dual_clip": 10}});

static const char clip_wide[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"type": "ppo",
    "clip_low": 1, "clip_high": 1}});

static const char clip_higher_only[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"type": "ppo",
    "clip_low": 0.2, "clip_high": 0.28}});

static const char unclipped[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": "importance"});

static const char plain[] =
    JSON({"advantage": "reward", "aggregation": "token_mean"});

static const char grouped[] =
    JSON({"aggregation": "token_mean", "surrogate": {"type": "ppo", "clip_low": 0.2,
    "clip_high": 0.28}});

static const char grouped_unclipped[] =
    JSON({"aggregation": "token_mean", "surrogate": "importance"});

static const char sequence_means[] =
    JSON({"advantage": "reward", "aggregation": "seq_mean_token_mean"});

static const char group_token_mean[] =
    JSON({"aggregation": "token_mean"});

static const char with_kl[] =
    JSON({"advantage": "reward", "aggregation": "token_mean", "surrogate": {"dual_clip": 3},
    "kl": {"type": "k3", "coefficient": 0.005}});

const struct cn_golden cn_goldens[] = {
    {"A.C1", clip_wide,
     JSON([{"type": "clip_cov", "fraction": 0.5, "rounding": "down", "at_least": 1}]),
     case_a,
     JSON({"loss": -0.504602847, "d_logp": [-0.170033557, -0.203567126, -0.158538237,
     -0.224976468, 0.252512542, 0]}), 1.1e-9},
    {"A.K1", unclipped,
     JSON([{"type": "kl_cov", "fraction": 2e-3, "rounding": "down", "at_least": 1}]),
     case_a,
     JSON({"loss": -0.270356168, "d_logp": [-0.170033557, -0.203567126, -0.158538237,
     -0.224976468, 0.252512542, 0.000913345]}), 1.1e-9},
    {"A.K2", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_a,
     JSON({"loss": -0.267022835, "d_logp": [-0.00336689, -0.203567126, -0.158538237,
     -0.224976468, 0.252512542, 0.000913345]}), 1.1e-9},
    {"A.K3", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4, "coefficient": 0.1}]),
     case_a,
     JSON({"loss": -0.330022835, "d_logp": [-0.15336689, -0.203567126, -0.158538237,
     -0.224976468, 0.252512542, 0.150913345]}), 1.1e-9},
    {"A.S1", clip_higher,
     JSON([{"type": "steer", "minimum": 0.8, "form": "released"}]),
     case_a,
     JSON({"loss": -0.29203784, "d_logp": [-0.169117431, -0.18087794, -0.152943108, 0,
     0.251901004, 0], "weight": [0.994612086, 0.888541991, 0.964708015, 0.942189214,
     0.997578188, 0.8]}), 1.1e-9},
    {"A.S2", clip_higher,
     JSON([{"type": "steer", "form": "released"}]),
     case_a,
     JSON({"loss": -0.289218232, "d_logp": [-0.168571574, -0.168528737, -0.149689815, 0,
     0.251535762, 0], "weight": [0.991401797, 0.827877957, 0.944187454, 0.909205635,
     0.996131757, 0.7]}), 1.1e-9},
    {"A.S3", clip_higher,
     JSON([{"type": "steer", "map": "linear", "minimum": 0.8, "maximum": 1.2, "form":
     "released"}]),
     case_a,
     JSON({"loss": -0.35622087, "d_logp": [-0.203122695, -0.201578953, -0.180619462, 0,
     0.30301505, 0], "weight": [1.194603574, 0.990233326, 1.139280118, 1.096475677, 1.2,
     0.8]}), 1.1e-9},
    {"A.S4", clip_higher,
     JSON([{"type": "steer", "map": "asymmetric", "minimum": 0.9, "form": "released"}]),
     case_a,
     JSON({"loss": -0.292929208, "d_logp": [-0.169443539, -0.192683588, -0.15584253, 0,
     0.252512542, 0], "weight": [0.996529996, 0.946535874, 0.982996482, 0.972525435, 1, 0.9]}), 1.1e-9},
    {"A.S theorem", clip_higher,
     JSON([{"type": "steer"}]),
     case_a,
     JSON({"loss": -0.205058293, "d_logp": [-0.16321681, -0.142496988, -0.133743113, 0,
     0.247731951, 0], "weight": [0.959909401, 0.7, 0.843601613, 1, 0.981067907, 1]}), 1.1e-9},
    {"A.E kappa 2", clip_higher_only,
     JSON([{"type": "entropy_advantage"}]),
     case_a,
     JSON({"loss": -0.695755741, "d_logp": [-0.193838255, -0.30535069, -0.215612003, 0,
     0.239045206, 0]}), 1.1e-9},
    {"A.E kappa 1", clip_higher_only,
     JSON([{"type": "entropy_advantage", "kappa": 1}]),
     case_a,
     JSON({"loss": -0.838655139, "d_logp": [-0.193838255, -0.333850087, -0.215612003, 0,
     0.239045206, 0]}), 1.1e-9},
    {"A.E alpha .1", clip_higher,
     JSON([{"type": "entropy_advantage", "coefficient": 0.1}]),
     case_a,
     JSON({"loss": -0.429383569, "d_logp": [-0.175984731, -0.236137867, -0.172806679, 0,
     0.249145708, 0]}), 1.1e-9},
    {"A.F .2 code", clip_higher,
     JSON([{"type": "forking", "denominator": "selected", "rounding": "up", "at_least": 1}]),
     case_a,
     JSON({"loss": -0.04, "d_logp": [0, 0, 0, 0, 0, 0]}), 1.1e-9},
    {"A.F .2 paper", clip_higher,
     JSON([{"type": "forking", "rounding": "up", "at_least": 1}]),
     case_a,
     JSON({"loss": -0.013333333, "d_logp": [0, 0, 0, 0, 0, 0]}), 1.1e-9},
    {"A.F .5 code", clip_higher,
     JSON([{"type": "forking", "fraction": 0.5, "denominator": "selected"}]),
     case_a,
     JSON({"loss": -0.433800919, "d_logp": [0, -0.407134253, 0, 0, 0, 0]}), 1.1e-9},
    {"A.F .5 paper", clip_higher,
     JSON([{"type": "forking", "fraction": 0.5}]),
     case_a,
     JSON({"loss": -0.21690046, "d_logp": [0, -0.203567126, 0, 0, 0, 0]}), 1.1e-9},
    {"A.Archer", clip,
     JSON([{"type": "archer"}]),
     case_a,
     JSON({"loss": -0.33344774, "d_logp": [-0.169994473, 1.2193e-05, -0.158514447,
     -0.224976468, 0.252549506, 0.167580012]}), 6e-9},
    {"B.C1", clip_wide,
     JSON([{"type": "clip_cov", "fraction": 0.5, "rounding": "down", "at_least": 1}]),
     case_b,
     JSON({"loss": -0.547878587, "d_logp": [0, 0, 0, -0.308674259, 0.184195153, 0.409933852]}), 1.1e-9},
    {"B.K1", unclipped,
     JSON([{"type": "kl_cov", "fraction": 2e-3, "rounding": "down", "at_least": 1}]),
     case_b,
     JSON({"loss": -1.457387137, "d_logp": [-0.25418757, -0.92730872, -0.396345594,
     -0.308674259, 0.184195153, 0.409933852]}), 1.1e-9},
    {"B.K2", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_b,
     JSON({"loss": -1.449053804, "d_logp": [-0.25418757, -0.92730872, -0.56301226,
     -0.308674259, 0.184195153, 0.409933852]}), 1.1e-9},
    {"B.K3", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4, "coefficient": 0.1}]),
     case_b,
     JSON({"loss": -1.458053804, "d_logp": [-0.40418757, -0.92730872, -0.41301226,
     -0.308674259, 0.184195153, 0.409933852]}), 1.1e-9},
    {"B.S1", clip_higher,
     JSON([{"type": "steer", "minimum": 0.8, "form": "released"}]),
     case_b,
     JSON({"loss": -1.00111443, "d_logp": [-0.420830957, 0, -0.392533998, -0.246939407,
     0.183186859, 0.383295681], "weight": [0.999944685, 0.951173641, 0.990383151, 0.8,
     0.994525945, 0.935018368]}), 1.1e-9},
    {"B.S2", clip_higher,
     JSON([{"type": "steer", "form": "released"}]),
     case_b,
     JSON({"loss": -0.968704887, "d_logp": [-0.420817026, 0, -0.390270653, -0.216071981,
     0.182586126, 0.368190348], "weight": [0.999911585, 0.92310319, 0.984672617, 0.7,
     0.991264555, 0.898170147]}), 1.1e-9},
    {"B.S3", clip_higher,
     JSON([{"type": "steer", "map": "linear", "minimum": 0.8, "maximum": 1.2, "form":
     "released"}]),
     case_b,
     JSON({"loss": -1.15111857, "d_logp": [-0.505025084, 0, -0.46878671, -0.246939407,
     0.219239602, 0.442576178], "weight": [1.2, 1.110343406, 1.182772604, 0.8, 1.190257171,
     1.079628277]}), 1.1e-9},
    {"B.S4", clip_higher,
     JSON([{"type": "steer", "map": "asymmetric", "minimum": 0.9, "form": "released"}]),
     case_b,
     JSON({"loss": -0.981663228, "d_logp": [-0.386471574, 0, -0.362571339, -0.308674259,
     0.169520712, 0.386533232], "weight": [0.918302682, 0.9, 0.914785846, 1, 0.920332098,
     0.942916108]}), 1.1e-9},
    {"B.S theorem", clip_higher,
     JSON([{"type": "steer"}]),
     case_b,
     JSON({"loss": -1.164552313, "d_logp": [-0.420631351, 0, -0.371080188, -0.305366476,
     0.178905339, 0.286953696], "weight": [0.999470399, 1, 0.936254102, 0.989283904,
     0.971281468, 0.7]}), 1.1e-9},
    {"B.E kappa 2", clip_higher_only,
     JSON([{"type": "entropy_advantage"}]),
     case_b,
     JSON({"loss": -1.685639568, "d_logp": [-0.42422107, 0, -0.434394771, -0.461776691,
     0.125252704, 0.204966926]}), 1.1e-9},
    {"B.E kappa 1", clip_higher_only,
     JSON([{"type": "entropy_advantage", "kappa": 1}]),
     case_b,
     JSON({"loss": -1.759427662, "d_logp": [-0.42422107, 0, -0.434394771, -0.461776691,
     0.125252704, 0.131178833]}), 1.1e-9},
    {"B.E alpha .1", clip_higher,
     JSON([{"type": "entropy_advantage", "coefficient": 0.1}]),
     case_b,
     JSON({"loss": -1.238665728, "d_logp": [-0.421695945, 0, -0.405857888, -0.346949867,
     0.169459541, 0.340245097]}), 1.1e-9},
    {"B.F .2 code", clip_higher,
     JSON([{"type": "forking", "denominator": "selected", "rounding": "up", "at_least": 1}]),
     case_b,
     JSON({"loss": -2.526022776, "d_logp": [0, 0, 0, -0.926022776, 0, 0]}), 1.1e-9},
    {"B.F .2 paper", clip_higher,
     JSON([{"type": "forking", "rounding": "up", "at_least": 1}]),
     case_b,
     JSON({"loss": -0.842007592, "d_logp": [0, 0, 0, -0.308674259, 0, 0]}), 1.1e-9},
    {"B.F .5 code", clip_higher,
     JSON([{"type": "forking", "fraction": 0.5, "denominator": "selected"}]),
     case_b,
     JSON({"loss": -0.86414748, "d_logp": [0, 0, 0, -0.617348517, 0, 0.819867704]}), 1.1e-9},
    {"B.F .5 paper", clip_higher,
     JSON([{"type": "forking", "fraction": 0.5}]),
     case_b,
     JSON({"loss": -0.43207374, "d_logp": [0, 0, 0, -0.308674259, 0, 0.409933852]}), 1.1e-9},
    {"B.Archer", clip,
     JSON([{"type": "archer"}]),
     case_b,
     JSON({"loss": -1.031690627, "d_logp": [-0.420817272, 0.000119489, -0.396321803,
     -0.308674259, 0.184250453, 0.409933852]}), 6e-9},
    {"A.bonus", clip_higher,
     JSON([{"type": "bonus"}]),
     case_a,
     JSON({"loss": -0.294251379, "d_logp": [-0.170033557, -0.203567126, -0.158538237, 0,
     0.252512542, 0], "d_entropy": [-0.000166667, -0.000166667, -0.000166667, -0.000166667,
     -0.000166667, -0.000166667]}), 1.1e-9},
    {"B.bonus", clip_higher,
     JSON([{"type": "bonus"}]),
     case_b,
     JSON({"loss": -1.06643675, "d_logp": [-0.420854236, 0, -0.396345594, -0.308674259,
     0.184195153, 0.409933852], "d_entropy": [-0.000166667, -0.000166667, -0.000166667,
     -0.000166667, -0.000166667, -0.000166667]}), 1.1e-9},
    {"A.adaptive, by hand", clip_higher,
     JSON([{"type": "adaptive", "target": 2, "initial": 0.002}]),
     case_a,
     JSON({"loss": -0.295543045334, "d_entropy": [-0.000333333333, -0.000333333333,
     -0.000333333333, -0.000333333333, -0.000333333333, -0.000333333333]}), 1.1e-9},
    {"aent, by hand", plain,
     JSON([{"type": "aent", "coefficient": 0.3, "smallest": 0, "largest": 1}]),
     case_top,
     JSON({"loss": -0.3, "d_entropy_top": [-0.1, -0.1, -0.1]}), 1.1e-9},
    {"restricted bonus, by hand", plain,
     JSON([{"type": "restricted_bonus", "coefficient": 0.3}]),
     case_top,
     JSON({"loss": -0.3, "d_entropy_top": [-0.1, -0.1, -0.1]}), 1.1e-9},
    {"R1 tau .5", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 1.0, "tau": 0.5, "nucleus":
     "exclusive", "quantile": "above"}]),
     case_r1,
     JSON({"loss": 0.001517646, "d_entropy_top": [0, -0.019478485, 0, -0.019478485, 0,
     -0.038956971, 0, 0], "metrics": {"entropy/siren/actual": 0.961043029}}), 1.5e-9},
    {"R1 tau .8", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 0.6, "tau": 0.8, "nucleus":
     "exclusive", "quantile": "above"}]),
     case_r1,
     JSON({"loss": 0.187862587, "metrics": {"entropy/siren/actual": 1.033431179}}), 1.5e-9},
    {"R2 tau .5", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 1.0, "tau": 0.5, "nucleus":
     "inclusive", "quantile": "at_least"}]),
     case_r2,
     JSON({"loss": 0.032080173, "d_entropy_top": [0, 0.059703129, 0.059703129, 0.059703129, 0,
     0.089554694, 0.089554694, 0], "metrics": {"entropy/siren/actual": 1.179109387}}), 1.5e-9},
    {"R2 tau .8", plain,
     JSON([{"type": "siren", "coefficient": 1, "anchor": 0.6, "tau": 0.8, "nucleus":
     "inclusive", "quantile": "at_least"}]),
     case_r2,
     JSON({"loss": 0.545799349, "metrics": {"entropy/siren/actual": 1.338782342}}), 1.5e-9},
    {"A.K on policy", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_on,
     JSON({"loss": -0.166666667, "d_logp": [-0.166666666667, -0.166666666667, -0.166666666667,
     -0.166666666667, 0.25, 0.25]}), 1.1e-9},
    {"A.K without advantages", unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.4}]),
     case_zero,
     JSON({"loss": 0.036666667, "d_logp": [0.166666666667, 0.166666666667, 0, 0, 0, 0]}), 1.1e-9},
    {"A.S floor", clip_higher,
     JSON([{"type": "steer", "minimum": 0.8, "form": "released"}]),
     case_small,
     JSON({"weight": [0.999055302, 0.979538247, 0.993733929, 0.989636173, 0.999575889,
     0.961714029]}), 1.1e-9},
    {"B0 Clip-Cov", grouped,
     JSON([{"type": "clip_cov", "fraction": 1, "low": 0.25, "high": 0.6}]),
     case_b0,
     JSON({"loss": 0.199352461, "d_logp": [0, 0, 0, 0, 0.1277911, 0.0404634, 0, 0.0348271,
     0.042538, -0.0285141, -0.0447189, 0, -0.03849, 0, 0.0732255, 0.1092397]}), 6e-8},
    {"B0 KL-Cov", grouped_unclipped,
     JSON([{"type": "kl_cov", "fraction": 0.2}]),
     case_b0,
     JSON({"loss": 0.0073062304, "d_logp": [-0.0850759, -0.103912, -0.1398922, 0.0285141,
     0.1277911, 0.0404634, 0, -0.0318395, 0.042538, -0.0285141, -0.0447189, -0.0494221,
     -0.03849, -0.0392675, 0.0065589, 0.1092397]}), 6e-8},
    {"B0 80/20", grouped,
     JSON([{"type": "forking"}]),
     case_b0,
     JSON({"loss": 0.2358438351, "d_logp": [0, 0, 0, 0, 0.1277911, 0, 0, 0.0348271, 0, 0, 0,
     0, 0, 0, 0.0732255, 0]}), 6e-8},
    {"B0 STEER exp", grouped,
     JSON([{"type": "steer", "minimum": 0.8, "form": "released"}]),
     case_b0,
     JSON({"loss": -0.0203713574, "d_logp": [-0.0819809, 0, -0.0729301, 0, 0.1022329,
     0.040035, 0, 0.0345662, 0.042379, -0.0284462, -0.0440806, 0, -0.0379637, -0.0391584,
     0.0716167, 0.1009038], "weight": [0.9636204, 0.9217573, 0.9959653, 0.9974898, 0.8,
     0.9894133, 0, 0.9925065, 0.9962631, 0.9976214, 0.9857265, 0.9628103, 0.9863274, 0.997221,
     0.9780288, 0.9236914]}), 6e-8},
    {"B0 STEER linear", grouped,
     JSON([{"type": "steer", "minimum": 0.8, "maximum": 1.2, "map": "linear", "form":
     "released"}]),
     case_b0,
     JSON({"weight": [1.1371697, 1.056693, 1.1969896, 1.199761, 0.8, 1.1850306, 0, 1.1906863,
     1.1975314, 1.2, 1.1782664, 1.1356458, 1.1793706, 1.1992727, 1.1640613, 1.060491]}), 6e-8},
    {"B0 SIREN", grouped,
     JSON([{"type": "siren", "anchor": 1.2, "quantile": "above"}]),
     case_b0,
     JSON({"d_entropy_top": [0, 0.0005417, 0, 0, 0.0005417, 0, 0, 0.0005417, 0, 0.0005417, 0,
     0.0005417, 0, 0, 0.0005417, 0], "metrics": {"entropy/siren/actual": 1.525}}), 6e-8},
    {"V1 AEPO, REINFORCE", sequence_means,
     JSON([{"type": "aepo", "coefficient": 1}]),
     case_v1,
     JSON({"loss": 0.7078199183, "d_logp": [0, -0.18419515, -0.11172001, 0, 0.14918247, 0,
     0.36692967, 0.09512294, -0.125, -0.125, -0.125, -0.125, 0, 0, 0]}), 6e-9},
    {"V1 AEPO, clipped", sequence_means,
     JSON([{"type": "aepo", "loss": "clip"}]),
     case_v1,
     JSON({"loss": 0.1867066208, "d_logp": [0, -0.18419515, -0.11172001, 0, 0.14918247, 0,
     0.36692967, 0.09512294, 0, -0.00215854, 0, -0.00176726, 0, 0, 0]}), 6e-9},
    {"V6 ReMix", plain,
     JSON([{"type": "remix", "steps": 1000, "kl": 0, "bonus": 0}]),
     case_v6,
     JSON({"loss": 0.3205599582, "d_logp": [-0.21311781, 0, -0.09576001, 0, 0.17049425, 0,
     0.41934819, 0.10871193]}), 6e-9},
    {"V6 ReMix total", plain,
     JSON([{"type": "remix", "steps": 1000}]),
     case_v6,
     JSON({"loss": 0.3196533492, "d_logp": [-0.21308818923, -3.58205e-06, -0.09580810888, 0,
     0.17052014561, -3.529914e-05, 0.41939070187, 0.10871663365], "d_entropy":
     [-0.000142857143, -0.000142857143, -0.000142857143, 0, -0.000142857143, -0.000142857143,
     -0.000142857143, -0.000142857143]}), 6e-9},
    {"V7 Co-Reward, votes", group_token_mean,
     JSON([{"type": "co_reward"}]),
     case_v7,
     JSON({"advantage": [-0.54006056, -0.54006056, 1.62018167, -0.54006056, -0.54006056,
     1.62018167, -0.54006056, -0.54006056, -0.54006056, 1.62018167, -0.54006056, -0.54006056,
     -0.54006056, -0.54006056, -0.54006056, 1.62018167]}), 6e-9},
    {"V7 two parts", with_kl,
     JSON([]),
     case_v7_loss,
     JSON({"loss": 0.1322524636, "d_logp": [0.00018513, -0.15795668, -0.09600991, 0,
     0.17062373, -0.00015814, 0.00018513, 0.10874677, 0.00012948, -0.15781359, 0.00018513,
     -0.12933761, 0.15794953, 0.15794953, 0.15794953]}), 6e-9},
    {0}};
