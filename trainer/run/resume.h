/* Where a run goes on (run.resume), for every command that keeps checkpoints.
 *
 *   never   a fresh start (a folder that holds a run is refused earlier)
 *   auto    the run's newest checkpoint, under the configuration that made it
 *   PATH    that checkpoint, under any configuration; but a run that was started from PATH before
 *           goes on as with auto, so that the same command is always the way to go on */
#ifndef CARNOT_RESUME_H
#define CARNOT_RESUME_H

#include "../checkpoint.h"
#include "run.h"
#include "../session.h"

struct resume {
    const char *folder; /* checkpoint to go on from, in the session's arena; NULL: a fresh start */
    bool own;           /* it is the run's newest: if it is damaged, an older one will do */
    uint64_t step;      /* that the run's own checkpoint stands for; else 0 */
};

/* Decides, reading small files only.  Fails: CN_ERR_CONFIG for another configuration than that of
 * the run's checkpoint, or a PATH outside a folder that has checkpoints of its own; CN_ERR_DATA. */
enum cn_status resume_find(struct session *session, const struct run_folder *run,
                           struct resume *out);

/* Loads the checkpoint into what `checkpoint` names, falls back to older ones of the run where that
 * is allowed, and makes the run forget everything behind it (rows of metrics.jsonl, records, newer
 * checkpoints).  A fresh start forgets everything and leaves *state alone.
 * Fails: CN_ERR_DATA, CN_ERR_MODEL, CN_ERR_IO.  Collective. */
enum cn_status resume_load(struct session *session, const struct resume *resume,
                           const struct checkpoint *checkpoint, struct checkpoint_state *state);

#endif
