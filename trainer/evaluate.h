/* Evaluation: pass@k, mean@k and maj@k of one set of tasks. */
#ifndef CARNOT_EVALUATE_H
#define CARNOT_EVALUATE_H

#include "rollout.h"
#include "scoring/scorer.h"

#include "carnot/comm.h"
#include "carnot/metrics.h"

/* One set; opened from an entry of data.eval. */
struct eval_set {
    const char *name;
    struct tasks *tasks;
    struct cn_data *data; /* or NULL */
    uint64_t n_tasks;
};

struct evaluation {
    const struct settings *settings;
    struct scorer *scorer;
    struct cn_sampler *sampler;
    struct cn_comm *comm; /* ranks that share the answers; NULL: one */
    int first;            /* ranks before it do not sample */
    struct cn_tokenizer *tokenizer;
    void (*progress)(void *self, size_t finished, size_t wishes); /* may be NULL */
    void *progress_self;
};

/* One answer to show to a person; pieces live in the arena of evaluate_set. */
struct eval_shown {
    struct cn_text prompt, response, ground_truth;
    double score;
};
enum { EVAL_SHOWN = 3 };

struct eval_result {
    double pass_1, low, high; /* pass@1 with its 95 % interval */
    double sampled_tokens, seconds;
    double maj, length;
    size_t n_tasks, n_samples; /* tasks that were not over-long */
    struct eval_shown shown[EVAL_SHOWN];
    size_t n_shown;
    uint8_t *right; /* (n_tasks x n_samples) score of at least 1 */
};

/* Samples n = eval.samples answers to each task of the set, scores them and adds
 * eval/<set>/pass@k, mean@n, maj@n, distinct@n (different right answers per task), ci_low, ci_high,
 * len_mean to `metrics`.  The noise is the same at every step, so that differences between steps
 * are paired.  Over-long prompts are left out and counted in over_long.  Fails: CN_ERR_DATA if
 * every prompt is over-long; as rollout and scoring.  Logically collective. */
enum cn_status evaluate_set(const struct evaluation *evaluation, const struct eval_set *set,
                            struct cn_arena *arena, struct cn_metrics *metrics,
                            struct eval_result *out);

#endif
