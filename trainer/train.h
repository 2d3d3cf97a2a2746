/* The training loop and what it is made of. */
#ifndef CARNOT_TRAIN_H
#define CARNOT_TRAIN_H

#include "checkpoint.h"
#include "evaluate.h"
#include "experience.h"
#include "record.h"
#include "report.h"
#include "run.h"
#include "session.h"
#include "update.h"

struct train {
    struct session session;
    struct run_folder *run;
    struct record *record; /* NULL: nothing is recorded */
    struct experience experience;
    struct update update;
    struct checkpoint checkpoint;
    struct checkpoint_state state;
    uint64_t saved; /* step of the newest checkpoint of this process; UINT64_MAX: none */
    bool resumed;
    struct report report;
    struct eval_result before, after; /* of the first set */
    struct cn_arena arena;            /* one step */
    struct cn_arena scratch;          /* one call */
    struct cn_arena shown;            /* answers shown at the end */
    struct cn_metrics metrics;
    double started;
    const char *argv0;
};

/* train_start.c: everything before the first step: run folder, model, tasks, resume, warm start.
 * Fails: as what it opens. */
enum cn_status train_open(struct train *t, int argc, char **argv);
void train_close(struct train *t);

/* train_save.c: evaluation rows, checkpoints, samples, status. */
enum cn_status train_evaluate(struct train *t, uint64_t step, struct eval_result *first);
enum cn_status train_save(struct train *t);
enum cn_status train_write_samples(struct train *t, const struct experience_result *result);
enum cn_status train_write_status(struct train *t, const char *state, enum cn_status outcome,
                                  const char *message);

#endif
