/* Dividing a step over the ranks, and putting the results together again.
 *
 * Every rank holds the whole batch.  What is expensive is divided: answers are sampled, scored and
 * passed through the model by one rank each; what comes of it is copied to all.  Everything that is
 * decided about the whole step (advantages, statistics, selections) is then computed by every rank
 * from the same numbers, so no plug-in can take a local mean for a global one.  The price is a
 * batch of about 200 bytes a token on each rank.
 *
 * Shares are runs of consecutive items of about equal cost; of the answers, half are a queue that
 * ranks take from when they are done with their own.  Nothing that is computed depends on who does
 * it. */
#ifndef CARNOT_SHARE_H
#define CARNOT_SHARE_H

#include "../rollout.h"
#include "../scoring/scorer.h"

#include "carnot/comm.h"

/* Cuts n items into a share per rank: start (ranks + 1).  cost (n); NULL: all the same. */
void share_cut(const size_t *cost, size_t n, int ranks, size_t *start);

/* The same over the ranks of `comm`, in `arena`. */
enum cn_status share_among(const struct cn_comm *comm, const size_t *cost, size_t n,
                           struct cn_arena *arena, const size_t **start);

/* The atoms of a pass over the batch, divided by the tokens that are computed. */
struct share_atoms {
    struct cn_spans own; /* this rank's */
    size_t first;        /* token with which the pass begins */
    const size_t *token; /* (ranks + 1) cuts the pass's tokens */
};
enum cn_status share_atoms(const struct cn_comm *comm, const struct cn_batch *batch,
                           const struct cn_spans *atoms, struct cn_arena *arena,
                           struct share_atoms *out);

/* column (T): what each rank has written for the tokens of its own atoms, copied to all.  NULL is
 * left alone.  Collective. */
enum cn_status share_column(struct cn_comm *comm, const struct share_atoms *atoms, double *column);

/* One round of sampling and scoring.  Wishes are divided by an estimate of their tokens, at the
 * borders of groups if a reward sees whole groups; if one sees the whole step, every rank scores
 * everything.  Afterwards all answers and scores, and the rewards' metrics, are everywhere; beside
 * them perf/largest_share, the part of the answers that one rank sampled, if there are several. */
struct share_round {
    struct cn_comm *comm;
    int first; /* ranks before it do not sample */
    bool slow; /* planted: this rank rests for 20 ms after each token */
    struct scorer *scorer;
    const struct rollout_options *options; /* but for `finished` */
    const struct wishes *wishes;           /* of which [begin, count) are new */
    size_t begin;
    struct answer *answers;     /* (count - begin) out */
    struct scored *scored;      /* (count - begin) out */
    struct cn_metrics *metrics; /* may be NULL */
    struct scorer_times times;  /* out */
};

/* Texts live in the arena of the wishes.  Collective. */
enum cn_status share_answering(struct share_round *round);

/* Adds every rank's `own` metrics to `all`, in the order of the ranks; the result is the same
 * everywhere.  Collective. */
enum cn_status share_metrics(struct cn_comm *comm, const struct cn_metrics *own,
                             struct cn_arena *arena, struct cn_metrics *all);

#endif
