/* Supervised training on right answers: `carnot sft`, and the warm start of `carnot train`. */
#ifndef CARNOT_SUPERVISED_H
#define CARNOT_SUPERVISED_H

#include "tasks.h"
#include "update.h"

struct supervised {
    const struct settings *settings;
    const struct supervised_settings *plan; /* warm_start or sft */
    struct cn_model *model;
    struct cn_comm *comm;     /* ranks that share the atoms; NULL: one */
    struct gradient_sum *sum; /* of `model` and `comm` */
    struct cn_tokenizer *tokenizer;
    struct tasks *tasks; /* tasks whose content has a demonstration */
    uint64_t position;   /* next place in the order */
    uint64_t seed;       /* decides which tasks plan->validation holds out */
};

struct supervised_result {
    double loss;   /* mean nats per answer token */
    double tokens; /* answer tokens */
    double grad_norm;
};

/* One optimizer step on plan->rows tasks: loss = mean of -logp over all answer tokens of the step,
 * the end token included.  Atoms pack rows up to update.atom_tokens.  lr: of this step. Fails:
 * CN_ERR_DATA if a task has no demonstration; CN_ERR_NUMERIC for a loss that is not finite. */
enum cn_status supervised_step(struct supervised *supervised, double lr, struct cn_arena *arena,
                               struct supervised_result *out);

/* Mean loss over `rows` tasks, without changing anything: of the tasks that are held out if
 * plan->validation > 0, else of `tasks`. */
enum cn_status supervised_validate(const struct supervised *supervised, struct tasks *tasks,
                                   size_t rows, struct cn_arena *arena, double *loss);

#endif
