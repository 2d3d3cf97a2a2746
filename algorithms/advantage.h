/* What the files of the axis `advantage` share: settings, whitening, and the estimators of a group.
 */
#ifndef CARNOT_ADVANTAGE_H
#define CARNOT_ADVANTAGE_H

#include "axes.h"

enum { SCALE_GROUP, SCALE_BATCH };
enum { WHITEN_NONE, WHITEN_UNBIASED, WHITEN_POPULATION };
enum { PASS_ANALYTIC, PASS_PKPO, PASS_PKPO_LOO };
enum { QUANTILE_STEP, QUANTILE_LINEAR };

/* One struct for all entries; each has the options that it reads. */
struct advantage_settings {
    double epsilon, gamma, lambda, lambda_alpha, critic_lambda, imitation, correct_from, positive,
        quantile;
    int64_t k;
    int scale, whiten, form, interpolation;
    bool rescale;
};

// clang-format off
#define ADVANTAGE_WHITEN(default_word)                                                             \
    {AXIS_CHOICE(advantage_settings, whiten, "none unbiased population"),                          \
     .fallback = "\"" default_word "\"",                                                           \
     .help = "give the trained tokens of the rollout mean 0 and variance 1, with n-1 or n"}
#define ADVANTAGE_GAMMA                                                                            \
    {AXIS_REAL(advantage_settings, gamma, 0, 1), .fallback = "1",                                  \
     .help = "discount per trained token"}
#define ADVANTAGE_EPSILON                                                                          \
    {AXIS_REAL(advantage_settings, epsilon, 0, 1e6), .fallback = "1e-6", .unit = "reward",         \
     .help = "added to the standard deviation"}
#define ADVANTAGE_CORRECT_FROM                                                                     \
    {AXIS_REAL(advantage_settings, correct_from, -1e9, 1e9), .fallback = "0.5", .unit = "reward",  \
     .help = "an answer of at least this reward is right"}
// clang-format on

/* Mean 0 and variance 1 over the trained tokens of each part, over all ranks (methods-base 3.3). */
enum cn_status advantage_whiten(const struct cn_context *context, struct cn_batch *batch);

/* Entries that walk over tokens. */
extern const struct cn_advantage advantage_rtg, advantage_gae, advantage_greedy;

/* The rewards of one group, and what an estimator may need beside them. */
struct group_case {
    const struct advantage_settings *settings;
    const double *reward;  /* (n) */
    const double *length;  /* (n) tokens that the policy wrote */
    const double *entropy; /* (n) mean entropy of the trained tokens, nats; only if asked for */
    size_t n;
    double batch_mean, batch_std; /* of all rewards of the part */
    double rescale; /* sequences over sequences in groups with spread; 1 if not asked */
};

/* Fills advantage (n). */
typedef void group_estimator(const struct group_case *group, double *advantage);

// clang-format off
/*    entry             estimates without spread?  smallest group */
#define GROUP_ESTIMATORS(X)                                                                        \
    X(reward,           true,  1)                                                                  \
    X(batch_mean,       true,  1)                                                                  \
    X(group_mean,       false, 2)                                                                  \
    X(group_mean_std,   false, 2)                                                                  \
    X(loo,              false, 2)                                                                  \
    X(length_weighted,  false, 2)                                                                  \
    X(mean_scaled,      false, 2)                                                                  \
    X(quantile,         false, 2)                                                                  \
    X(confidence,       false, 2)                                                                  \
    X(pass_at_k,        true,  2)                                                                  \
    X(signed_reward,    true,  1)
// clang-format on

#define X(name, always, minimum) group_estimator group_##name;
GROUP_ESTIMATORS(X)
#undef X

#endif
