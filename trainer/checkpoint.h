/* Checkpoints: RUN/checkpoints/step_000100/ is a Hugging Face folder with a folder `state` inside
 * that holds what a bit-exact continuation needs.  It is put together under a temporary name and
 * renamed, so it is complete or absent.
 *
 *   step_000100/  config.json model.safetensors tokenizer.json ...
 *                 state/optimizer.safetensors  state/state.json  config.resolved.json
 *                 state/value_head.safetensors  if values come from a head on the policy
 *                 critic/                       the same for a critic that is a model of its own
 *                 last/                         config.json model.safetensors of the policy before
 *                                               the newest step, if a method compares with it
 *                 state/replay.bin              if a method asks for past rollouts
 *                 state/ahead.bin               if batches were sampled ahead
 *                 state/files.json: sizes and checksums of all of them
 *   latest         a link to the newest
 *   best/         a Hugging Face folder alone */
#ifndef CARNOT_CHECKPOINT_H
#define CARNOT_CHECKPOINT_H

#include "ranks/ahead.h"
#include "config/settings.h"

#include "carnot/algorithm.h"
#include "carnot/comm.h"
#include "carnot/model.h"
#include "carnot/tokenizer.h"

/* The trainer's own numbers. */
struct checkpoint_state {
    uint64_t step;     /* rollout steps done */
    uint64_t sampled;  /* of which the last one sampled is; beyond `step` in state/ahead.bin */
    uint64_t position; /* in the order of prompts, behind what was sampled */
    uint64_t optimizer_steps;
    uint32_t bad_steps;
    double best; /* NaN: none yet */
    double base; /* the objective at step 0; NaN: not measured */
};

/* What a checkpoint is made of; all borrowed. */
struct checkpoint {
    const char *run_path;
    struct cn_model *model;  /* NULL: this rank does not learn, and only loads the rest */
    struct cn_model *critic; /* NULL: none, or a head on the policy */
    int *last;               /* frozen copy of `model`: the policy before the newest step; -1: there
                                has been none; NULL: nobody reads it */
    struct cn_comm *comm; /* rank 0 writes, from all ranks' shares if the optimizer is shared out,
                             and all learn how it went; NULL: one rank */
    const struct cn_tokenizer *tokenizer;
    const struct cn_recipe *recipe; /* states of plug-ins; NULL for supervised runs */
    struct replay *replay;          /* past rollouts; NULL: none are kept */
    struct ahead *ahead;            /* batches that were sampled ahead; NULL: there are never any */
    struct cn_text resolved;        /* config.resolved.json */
    enum cn_dtype dtype;            /* of the exported weights */
};

/* Writes step_N, then removes older ones beyond checkpoint.keep (multiples of keep_every stay).
 * Fails: CN_ERR_IO (a full disk: the older ones are untouched).  Collective. */
enum cn_status checkpoint_save(const struct checkpoint *checkpoint,
                               const struct checkpoint_state *state,
                               const struct checkpoint_settings *settings);

/* Writes a Hugging Face folder RUN/checkpoints/<name>, replacing what stands there.
 * Collective. */
enum cn_status checkpoint_export(const struct checkpoint *checkpoint, const char *name);

/* Removes the folders checkpoints/reference_K that no checkpoint of the run needs any more, with a
 * reference that is replaced every `every` steps. */
enum cn_status checkpoint_drop_references(const char *run_path, uint64_t every);

/* Newest checkpoint of the run before step `below` whose state.json can be read; damaged ones are
 * passed over with a warning that names the file.  folder: in `arena`, NULL if the run has no
 * checkpoint.  Fails: CN_ERR_DATA if it has some, but none of them will do. */
enum cn_status checkpoint_find(const char *run_path, uint64_t below, struct cn_arena *arena,
                               const char **folder);

/* Renames the run's checkpoints behind step `last` to step_N.old, with a warning: they are no
 * longer ahead of the run.  Fails: CN_ERR_IO. */
enum cn_status checkpoint_forget(const char *run_path, uint64_t last);

/* Restores model, plug-in states and numbers from a checkpoint's folder.
 * Fails: CN_ERR_IO, CN_ERR_DATA or CN_ERR_MODEL naming the file. */
enum cn_status checkpoint_load(const struct checkpoint *checkpoint, const char *folder,
                               struct checkpoint_state *out);

#endif
