/* Which ranks sample and which learn.
 *
 *     parallel.rollout_ranks=2               0   1   2  |  3   4
 *                                              learn      sample
 *
 * With 0 every rank does both.  Else the two sides work at the same time, each on a communication
 * of its own.  They meet when both are done with something: there the failure of one becomes known
 * to the other, and what one has made goes to the other.  So a rank that fails on its side ends up
 * in roles_meet, and one that fails between two meetings in the next collective of all. */
#ifndef CARNOT_ROLES_H
#define CARNOT_ROLES_H

#include "../config/settings.h"

#include "carnot/comm.h"
#include "carnot/model.h"

struct roles {
    struct cn_comm *all, *side; /* side: the ranks that do what this one does */
    /* Between the sides; NULL on ranks that take no part. */
    struct cn_comm
        *batches; /* the first rank that samples, which comes last, and those that learn */
    struct cn_comm *weights; /* rank 0 and those that sample */
    int first;               /* the first rank that samples */
    bool divided, samples, learns;
    double waited; /* for the other side since roles_waits, s */
};

/* Every rank does both. */
struct roles roles_together(struct cn_comm *comm);

/* Divides the ranks as parallel.rollout_ranks says, and tells who does what.
 * Fails: CN_ERR_CONFIG if no rank is left to learn.  Collective. */
enum cn_status roles_divide(struct roles *roles, const struct parallel_settings *parallel);

/* For commands that do not divide them: warns if the configuration asks for it. */
void roles_keep(const struct parallel_settings *parallel);

/* This side is done, with `status`.  Returns the first failure of any rank.  Nothing happens if the
 * ranks are not divided.  Collective. */
enum cn_status roles_meet(struct roles *roles, const char *what, enum cn_status status);

/* Bytes of the first rank that samples come to those that learn, whose `bytes` are empty.
 * Collective, between two meetings. */
enum cn_status roles_send_batch(struct roles *roles, struct cn_str *bytes);

/* Weights of rank 0, and `note` (the same size on every rank), come to the ranks that sample, which
 * refresh their sampler.  Collective, between two meetings. */
struct roles_weights {
    struct cn_model *model;
    struct cn_sampler *sampler; /* of ranks that sample */
    void *note;
    size_t note_bytes;
};
enum cn_status roles_send_weights(struct roles *roles, const struct roles_weights *weights);

/* How long each side has waited for the other since the last call, s: the rank that waited longest.
 * Collective. */
struct roles_waits {
    double rollout, learner;
};
enum cn_status roles_waits(struct roles *roles, struct roles_waits *out);

#endif
