/* Experience: rounds of plan, sample, reward, until nobody asks for more; the result is one batch.
 */
#ifndef CARNOT_EXPERIENCE_H
#define CARNOT_EXPERIENCE_H

#include "evaluate.h"
#include "replay.h"
#include "rollout.h"
#include "scoring/scorer.h"
#include "tasks.h"

#include "carnot/algorithm.h"
#include "carnot/comm.h"

struct experience {
    const struct settings *settings;
    const struct cn_recipe *recipe;
    struct scorer *scorer;
    struct tasks *tasks;
    struct cn_tokenizer *tokenizer;
    struct cn_sampler *sampler;
    struct replay *replay; /* NULL: nobody asks for past rollouts */
    struct cn_comm *comm;  /* ranks that share the wishes; NULL: one */
    uint64_t position;     /* next place in the order of prompts; part of a checkpoint */
    void (*progress)(void *self, size_t finished, size_t wishes); /* may be NULL */
    void *progress_self;
};

/* Times of one collection, s. */
struct experience_times {
    double rollout;
    double reward;      /* what scoring added: waited for after sampling had ended */
    double reward_busy; /* answers were being scored, most of it while others were sampled */
};

struct experience_result {
    uint64_t step;     /* rollout step that it is for */
    uint64_t weights;  /* rollout step after which the weights were taken that sampled it */
    uint64_t position; /* in the order of prompts, behind it */
    struct cn_batch *batch;
    const struct eval_shown *shown; /* texts of the first sequences: record.samples of them */
    size_t n_shown;
    struct experience_times times;
};

/* Samples and scores the rollout of call->step; SAMPLE and REWARD columns of the batch are written,
 * sequences stand in the order of their groups.  version: optimizer steps of the weights.
 * out->weights is the caller's.  Everything lives in the step arena `arena`.  Logically collective.
 */
enum cn_status experience_collect(struct experience *experience, const struct cn_loss_call *call,
                                  uint32_t version, struct cn_arena *arena,
                                  struct experience_result *out);

/* Remembers the main answers that are trained, from SAMPLE and REWARD columns; NULL: nobody asks
 * for them.  experience_collect does so itself. */
enum cn_status experience_remember(struct replay *replay, const struct cn_batch *batch);

/* A batch of SAMPLE columns from wishes and answers (n); used by experience, evaluation and
 * supervised training. */
enum cn_status experience_batch(const struct wish *wishes, const struct answer *answers, size_t n,
                                struct cn_arena *arena, struct cn_batch *batch);

#endif
