/* The gradient of a step: a sum over atoms that does not depend on who adds which atom when.
 *
 * A sum of floats depends on its order, so on the number of ranks.  Here each atom's gradient is
 * turned into integers, multiples of 2^-44, and integers are added: any order and any division
 * gives the same bits.  2^-44 (6e-14) is far below what AdamW can see (its epsilon is 1e-8), and
 * the sum of an element may reach 2^18.  A gradient that does not fit is treated as one that is not
 * finite: the step is skipped, on every rank.
 *
 * Cost: 8 bytes a parameter, and one pass over the gradient per atom.  run.deterministic=false adds
 * floats instead, in whatever order, and needs neither: in buckets of 25 to 50 MB, from the end of
 * the parameters to their beginning, which begin as soon as the last backward is done with them.  A
 * rank whose optimizer is a share of the whole needs the sum of that share only, so half as many
 * bytes travel; but each of its atoms adds to every parameter, so its integers, like its gradient,
 * stay whole.
 *
 * A gradient that lies on a GPU, which the host cannot read, is turned into integers there, by the
 * model, and ranks that have a GPU each add theirs over NCCL (cn_comm_device_sum), after the last
 * backward.  Neither has met a GPU yet: the tests run the first on CPU tensors, the second over a
 * stand-in. */
#ifndef CARNOT_GRADIENT_SUM_H
#define CARNOT_GRADIENT_SUM_H

#include "carnot/comm.h"
#include "carnot/model.h"

struct gradient_sum;

struct gradient_sum_options {
    struct cn_model *model; /* whose gradient it is; borrowed, like comm */
    struct cn_comm *comm;   /* NULL: one rank */
    size_t threads;         /* >= 1 */
    bool exact;             /* integers; false: floats */
    bool sharded;           /* the model's optimizer is shared out among the ranks of `comm` */
};

/* Collective if the gradient is on a GPU.  Fails: CN_ERR_MEMORY, CN_ERR_BUG (the model is not
 * trainable), as cn_comm_device_open. */
enum cn_status gradient_sum_open(const struct gradient_sum_options *options,
                                 struct gradient_sum **out);
void gradient_sum_close(struct gradient_sum *take_sum);

/* Starts a step of `n_atoms` over all ranks. */
enum cn_status gradient_sum_begin(struct gradient_sum *sum, size_t n_atoms);

/* Whom this rank's last backward of the step tells what is ready: sums of it then begin.  NULL:
 * there is nothing to begin early. */
const struct cn_ready *gradient_sum_ready(struct gradient_sum *sum);

/* After each backward: takes the model's gradient, which is zero afterwards if sums are exact. */
enum cn_status gradient_sum_add(struct gradient_sum *sum);

/* After the last backward: begins what has not begun.  Logically collective. */
enum cn_status gradient_sum_flush(struct gradient_sum *sum);

/* Puts the sum over all atoms and ranks where the model's gradient is; sharded: in this rank's
 * share of it.  wanted: false, on all ranks, if the step is lost anyhow.  Collective. */
enum cn_status gradient_sum_end(struct gradient_sum *sum, bool wanted);

#endif
