/* What stands behind carnot/comm.h: a table of functions per back end.  comm.c counts the calls,
 * compares them between ranks, measures and explains; a back end only moves bytes. */
#ifndef CARNOT_COMM_BACKEND_H
#define CARNOT_COMM_BACKEND_H

#include "carnot/comm.h"

/* Asked by a back end while it waits.  CN_OK: go on waiting. */
struct comm_wait {
    enum cn_status (*tick)(void *self);
    void *self;
};

/* Facts that `open` finds out. */
struct comm_facts {
    int rank, size, local_rank, local_size;
    char name[80];
};

/* All required but what says so.  In place, as in carnot/comm.h; `patient`: other ranks may come
 * much later, so waiting must leave them the cores. */
struct comm_backend {
    const char *name;
    enum cn_status (*open)(const struct comm_wait *wait, void **self, struct comm_facts *facts);
    /* A part of the ranks of `self`, which are in this call together; `facts` are its own.
     * Optional; a part neither tells nor hears nor aborts. */
    enum cn_status (*split)(void *self, int color, const struct comm_wait *wait, void **part,
                            struct comm_facts *facts);
    void (*close)(void *self); /* collective */
    /* Ends every rank's process, now. */
    void (*abort)(void *self, int exit_code);
    enum cn_status (*maximum)(void *self, const struct cn_comm_data *data, bool patient);
    enum cn_status (*sum)(void *self, const struct cn_comm_data *data);
    /* All three, or none: cn_comm_sum_begin then calls `sum`. */
    enum cn_status (*sum_begin)(void *self, const struct cn_comm_data *data);
    void (*progress)(void *self);
    enum cn_status (*sum_finish)(void *self);
    enum cn_status (*broadcast)(void *self, const struct cn_comm_data *data, int root);
    enum cn_status (*gather)(void *self, const struct cn_comm_data *data, const size_t *start);
    enum cn_status (*scatter_sum)(void *self, const struct cn_comm_data *data, const size_t *start);
    /* Letters outside of the collectives, for diagnosis: sends one to every other rank without
     * waiting; takes one that has come, if any. */
    void (*tell)(void *self, const void *letter, size_t bytes);
    bool (*hear)(void *self, void *letter, size_t bytes);
};

extern const struct comm_backend comm_backend_self;
extern const struct comm_backend comm_backend_mpi; /* built with CN_WITH_MPI */

#endif
