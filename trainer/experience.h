/* Experience: rounds of plan, sample, reward, until nobody asks for more; the result is one batch.
 */
#ifndef CARNOT_EXPERIENCE_H
#define CARNOT_EXPERIENCE_H

#include "replay.h"
#include "rollout.h"
#include "scorer.h"
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

/* Samples and scores the rollout of `step`; SAMPLE and REWARD columns of `batch` are written,
 * sequences stand in the order of their groups.  answers: as many as sequences, for text samples.
 * Everything lives in `call->scratch`'s owner, the step arena `arena`.  Logically collective. */
struct experience_result {
    struct cn_batch *batch;
    const struct answer *answers;
    const struct wish *wishes;
    const struct scored *scored;
    struct experience_times times;
};
enum cn_status experience_collect(struct experience *experience, const struct cn_loss_call *call,
                                  uint32_t version, struct cn_arena *arena,
                                  struct experience_result *out);

/* A batch of SAMPLE columns from wishes and answers (n); used by experience, evaluation and
 * supervised training. */
enum cn_status experience_batch(const struct wish *wishes, const struct answer *answers, size_t n,
                                struct cn_arena *arena, struct cn_batch *batch);

#endif
