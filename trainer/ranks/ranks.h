/* Starting and ending a command that runs on several ranks: who takes part, on which cores, and
 * whether all run the same. */
#ifndef CARNOT_RANKS_H
#define CARNOT_RANKS_H

#include "../session.h"

/* session_configure on every rank, then: the same program and configuration everywhere, threads
 * (parallel.threads is replaced by their number), and the map of the ranks, printed once.  Opens
 * session->comm.  Fails: as session_configure; CN_ERR_CONFIG naming the rank that differs, or for
 * more threads than cores.  Collective. */
enum cn_status ranks_configure(struct session *session, int argc, char **argv);

/* Closes the session and the communication; the result is the same on every rank. */
enum cn_status ranks_close(struct session *session, enum cn_status status);

/* The first failure of any rank, but a wish to stop (which all share) is none.  To be called before
 * the end of a run is written down. */
enum cn_status ranks_outcome(const struct session *session, enum cn_status status);

/* At the start of a step: plants parallel.fault on the last rank in step 2. */
void ranks_fault(const struct session *session, uint64_t step);

/* The signal that any rank has caught; 0: none.  Collective. */
enum cn_status ranks_signal(const struct session *session, int *signal);

#endif
