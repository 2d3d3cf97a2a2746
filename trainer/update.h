/* Update: whole-step statistics, then per atom forward, loss gradient and backward, then the
 * optimizer. */
#ifndef CARNOT_UPDATE_H
#define CARNOT_UPDATE_H

#include "ranks/gradient_sum.h"
#include "config/settings.h"

#include "carnot/algorithm.h"
#include "carnot/model.h"

/* Cuts `span` into atoms: runs of whole groups of at most `atom_tokens` computed tokens (a group's
 * common prompt counts once); a longer group is cut between sequences, a longer sequence is an atom
 * of its own.  Depends on the batch and atom_tokens only.  The list lies in `arena`. */
enum cn_status update_atoms(const struct cn_batch *batch, struct cn_span span, size_t atom_tokens,
                            struct cn_arena *arena, struct cn_spans *out);

/* Times of a rollout step, s. */
struct update_times {
    double score;     /* the scoring stage */
    double train;     /* all optimizer steps */
    double pass;      /* of it, forward-only passes for whole-step statistics */
    double algorithm; /* what algorithm and entropy methods compute, from shaping on: of `train`,
                         but for rewards and advantages */
};

struct update {
    const struct settings *settings;
    const struct cn_recipe *recipe;
    struct cn_model *model;
    struct cn_model *critic; /* gives values; NULL: the policy's own head does, if it has one */
    struct cn_comm *comm;    /* the ranks among which atoms are divided; NULL: one */
    struct gradient_sum *sum, *critic_sum; /* of `model` and `critic` over `comm` */
    int reference;                         /* frozen copy, or -1 */
    int last;                   /* frozen copy: the policy of the rollout before, or -1; part of a
                                   checkpoint */
    bool renewed;               /* a method made the present policy the reference in this step */
    uint64_t optimizer_steps;   /* taken so far in this run; part of a checkpoint */
    uint32_t bad_steps;         /* skipped in a row */
    struct update_times *times; /* of the step under way */
};

/* Allocates the live channels `channels` over the whole batch, zeroed, as model output and as
 * reader's view. */
enum cn_status update_live(const struct cn_batch *batch, uint32_t channels, struct cn_arena *arena,
                           struct cn_live_out *out, struct cn_live *view);

/* SCORE columns that somebody needs before the loss: logp_old and entropy_old if a later update or
 * a prepare hook reads them, entropy_top_old, logp_ref from the reference, value_old.  Logically
 * collective. */
enum cn_status update_score(struct update *update, struct cn_batch *batch, struct cn_arena *arena);

/* Mini-batch `part` of `parts`: a run of sequences with an equal share of the trained ones; the
 * parts cover the batch. */
struct cn_span update_part(const struct cn_batch *batch, size_t part, size_t parts);

/* Learning rates of a rollout step. */
struct update_rates {
    double policy, critic;
};

/* All optimizer steps of one rollout: train.epochs x train.mini_batches.  A step whose loss or
 * gradient is not finite is skipped and counted (update/skipped); CN_ERR_NUMERIC after
 * update.bad_steps_max in a row. Writes PREPARE columns, and logp_old where it was not scored.  In
 * the first recipe->critic_warmup optimizer steps of the run only the value function learns.
 * Logically collective. */
enum cn_status update_policy(struct update *update, const struct cn_loss_call *call,
                             struct cn_batch *batch, const struct update_rates *rates,
                             struct update_times *times);

/* Learning rate at `step` of `steps` (rollout steps): linear warm-up, then the schedule. */
double update_lr(const struct optimizer_settings *optimizer, uint64_t step, uint64_t steps);

/* A step of the policy; a value head on it learns by critic_optimizer. */
struct cn_step_options update_step_options(const struct optimizer_settings *optimizer, double lr);

#endif
