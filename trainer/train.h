/* The training loop and what it is made of. */
#ifndef CARNOT_TRAIN_H
#define CARNOT_TRAIN_H

#include "ranks/ahead.h"
#include "checkpoint.h"
#include "evaluate.h"
#include "experience.h"
#include "run/record.h"
#include "run/report.h"
#include "run/run.h"
#include "session.h"
#include "update.h"

struct train {
    struct session session;
    struct run_folder *run;
    struct record *record; /* NULL: nothing is recorded */
    struct experience experience;
    struct ahead ahead; /* waits for its turn; on ranks that only sample: to be sent */
    struct update update;
    struct checkpoint checkpoint;
    struct checkpoint_state state;
    struct settings_frozen frozen;
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
void train_close(struct train *t); /* all but the session */

/* The call that every plug-in of a step sees. */
struct cn_loss_call train_call(struct train *t, uint64_t step);

/* ---- train_sample.c: batches and weights between the ranks that sample and those that learn ---- */

/* Sees to it that the batch of `step` exists; collective. */
enum cn_status train_sample(struct train *t, const struct cn_loss_call *call);
/* Ranks that learn: takes that batch, or, if they sample themselves, makes it. */
enum cn_status train_take(struct train *t, const struct cn_loss_call *call,
                          struct experience_result *out);
/* Ranks that only sample: batches that come after `step`, while the others learn from that of
 * `step`. */
enum cn_status train_sample_ahead(struct train *t, uint64_t step);
/* After either of them ended with `status`: new batches one way, weights the other; collective. */
enum cn_status train_exchange(struct train *t, uint64_t step, enum cn_status status);
enum cn_status train_send_weights(struct train *t);

/* train_reference.c: the frozen reference, if somebody reads logp_ref.  It is the weights that
 * reinforcement started from, kept as checkpoints/start; those of a folder; or, replaced every N
 * steps or by a method, those of step K, kept as checkpoints/reference_K while a checkpoint needs
 * them.
 * resumed: the checkpoint that the run goes on from, or NULL.
 * Fails: CN_ERR_CONFIG for another vocabulary, CN_ERR_MODEL for another shape, CN_ERR_IO. */
bool train_needs_start(const struct train *t);
enum cn_status train_open_reference(struct train *t, const char *resumed);
/* After a step: the policy becomes the reference if that is due. */
enum cn_status train_replace_reference(struct train *t);

/* train_save.c: evaluation rows, checkpoints, records, samples, times, status. */
enum cn_status train_evaluate(struct train *t, uint64_t step, struct eval_result *first);
/* A checkpoint, unless this rank has failed with `status` or there is one of this step; returns the
 * first failure of any rank. */
enum cn_status train_save(struct train *t, enum cn_status status);
/* Saves what can be saved and says how the run stands; returns how it ended. */
enum cn_status train_finish(struct train *t, enum cn_status status);
enum cn_status train_record(struct train *t, const struct experience_result *result);
enum cn_status train_times(struct train *t, const struct experience_result *experience,
                           const struct update_times *update, double seconds);
enum cn_status train_write_status(struct train *t, const char *state, enum cn_status outcome,
                                  const char *message);

#endif
