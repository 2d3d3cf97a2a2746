/* The comm seam: ranks that compute one run together.
 *
 * Back ends: `mpi` (trainer/comm/comm_mpi.c) and `self` (one rank, no library).  A process that no
 * launcher started as one of several is `self`, and MPI is not touched.
 *
 * Before any data move, the ranks compare what each is about to do: kind, name, type, size and
 * running number.  So a rank that left one out, or that failed, is named at once and by everybody;
 * a rank that does not come within `timeout_s` is named by those who wait.  After a failure every
 * call returns it again: no rank is left waiting.
 *
 * All calls are made by one thread.  Everything but the facts is collective.  A NULL communication
 * is one rank.
 *
 * cn_comm_split makes parts that work at the same time.  A rank that fails in a part ends it for
 * the part (cn_comm_agree); the others learn of it where the whole meets next, so the whole must
 * meet now and then.  Diagnoses name ranks by their number in the whole. */
#ifndef CARNOT_COMM_H
#define CARNOT_COMM_H

#include "carnot/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_comm;

struct cn_comm_settings {
    double timeout_s; /* longest wait for another rank, s; 0: for ever */
    /* Asked while waiting: true gives up with CN_STOPPED (a signal that leaves no time); may be
     * NULL. */
    bool (*leave)(void);
};

/* Joins the ranks that the launcher started (mpirun, srun); else one rank.
 * Fails: CN_ERR_CONFIG if there are several and this build has no MPI; CN_ERR_COMM if the launcher
 * and the library disagree about their number (they belong to different MPIs). */
enum cn_status cn_comm_open(const struct cn_comm_settings *settings, struct cn_comm **out);

/* Ends the communication.  `status` is how this rank fared; the result is the same on every rank:
 * the failure of the first rank that had one, or CN_OK.  A rank that fails in the middle of its
 * work calls this (or cn_comm_agree), and the others learn of it in their next call. */
enum cn_status cn_comm_close(struct cn_comm *take_comm, enum cn_status status);

/* Every rank has done a step that may fail on one alone: all get the first failure and its message,
 * which names the rank. */
enum cn_status cn_comm_agree(struct cn_comm *comm, const char *what, enum cn_status status);

/* Every rank gets the part of those that gave the same `color`, in the same order.  `name` is a
 * constant text that follows "of" in diagnoses: "the ranks that sample".  The part has the deadline
 * of the whole, and lives as long as it; a part is not split again.  Step and phase are said to the
 * whole (cn_comm_place).  Fails: CN_ERR_CONFIG if the back end cannot. */
enum cn_status cn_comm_split(struct cn_comm *comm, int color, const char *name,
                             struct cn_comm **out);

/* Changes the deadline: it is known only once the configuration has been read.  Not collective. */
void cn_comm_timeout(struct cn_comm *comm, double timeout_s);

/* Facts.  local_: among the ranks of this host, of the whole.  Not collective. */
int cn_comm_rank(const struct cn_comm *comm);
int cn_comm_size(const struct cn_comm *comm);
int cn_comm_local_rank(const struct cn_comm *comm);
int cn_comm_local_size(const struct cn_comm *comm);
const char *cn_comm_name(const struct cn_comm *comm); /* "self", or the MPI and its version */

/* Where this rank stands; diagnoses say it.  `phase` is a constant text.  Not collective. */
void cn_comm_place(struct cn_comm *comm, uint64_t step, const char *phase);

/* Where the ranks log: folder/rank_0000.log ...; the diagnosis of a wait shows the last lines of
 * the ranks that did not come.  Not collective. */
void cn_comm_logs(struct cn_comm *comm, const char *folder);

/* Bytes moved and seconds spent since the last call: waiting for other ranks, and moving data.
 * Not collective. */
struct cn_comm_cost {
    double wait_s, move_s, bytes;
    uint64_t calls;
};
struct cn_comm_cost cn_comm_cost(struct cn_comm *comm);

/* What a collective works on, in place.  `what` is a constant text: the name in diagnoses. */
struct cn_comm_data {
    const char *what;
    enum cn_dtype dtype; /* of sums and maxima: F32, F64, I64, U64 */
    void *data;
    size_t count; /* elements */
};

enum cn_status cn_comm_sum(struct cn_comm *comm, const struct cn_comm_data *data);
enum cn_status cn_comm_max(struct cn_comm *comm, const struct cn_comm_data *data);
enum cn_status cn_comm_broadcast(struct cn_comm *comm, const struct cn_comm_data *data, int root);

/* A sum that goes on while this rank computes.  begin: neither waits nor meets the others, and the
 * data must stay as they are until finish, which does both for all that was begun.  The order of
 * begin among the collectives is the same on every rank.  A back end that cannot sums at once.
 * progress moves what can be moved now, for queues (below) as well; not collective. */
enum cn_status cn_comm_sum_begin(struct cn_comm *comm, const struct cn_comm_data *data);
void cn_comm_progress(struct cn_comm *comm);
enum cn_status cn_comm_sum_finish(struct cn_comm *comm, const char *what);

/* start (size + 1), from 0 to count, the same on every rank: elements [start[r], start[r+1]) belong
 * to rank r.  gather: everybody's own elements -> all elements everywhere.  scatter_sum: the sums
 * over all ranks of the own elements; the other elements are spoiled. */
enum cn_status cn_comm_gather(struct cn_comm *comm, const struct cn_comm_data *data,
                              const size_t *start);
enum cn_status cn_comm_scatter_sum(struct cn_comm *comm, const struct cn_comm_data *data,
                                   const size_t *start);

/* A queue of items 0, 1, 2 ... that ranks take while they compute: each item goes to one rank.
 * Begins empty of takers; who takes what depends on time alone, so nothing that is computed may
 * depend on it.  Of parts that exist at the same time, one may have queues: Open MPI 4.1 gives
 * windows of communications without a common rank one backing file.  Collective. */
struct cn_comm_queue {
    bool absent;    /* this MPI counts for nobody between these hosts: do not take */
    bool shared;    /* by several ranks */
    uint64_t begin; /* takes of the queues before */
    uint64_t own;   /* items taken, if it is not shared */
};
enum cn_status cn_comm_queue(struct cn_comm *comm, struct cn_comm_queue *out);

/* The next item.  No rank need come to it: on one host the counter lies in memory that both see;
 * elsewhere rank 0 answers while it waits or calls cn_comm_progress.  Not collective. */
enum cn_status cn_comm_take(struct cn_comm *comm, struct cn_comm_queue *queue, uint64_t *item);

/* ---- memory of GPUs: ranks that have one each sum there
 *
 * NCCL moves these data (trainer/comm/comm_nccl.c, in libcarnot_nccl.so, which is opened on first
 * use); the ranks still meet, wait and complain as above.  What has not met a GPU yet: all of that
 * file.  One rank needs none of it. */

/* Tells which of the GPUs that this process sees holds its data; the same again does nothing.
 * Collective.  Fails: CN_ERR_CONFIG if this build has no NCCL, or if two ranks of `comm` have the
 * same GPU; CN_ERR_COMM. */
enum cn_status cn_comm_device_open(struct cn_comm *comm, int device);

/* cn_comm_sum of data in that memory: F32 or I64.  Begins when everything that this process has
 * launched on the GPU is done, and is over when it returns.  Collective. */
enum cn_status cn_comm_device_sum(struct cn_comm *comm, const struct cn_comm_data *data);

/* Plants a fault, to see that it is found: this rank leaves out its next call.  Not collective. */
void cn_comm_skip_next(struct cn_comm *comm);

#ifdef __cplusplus
}
#endif
#endif
