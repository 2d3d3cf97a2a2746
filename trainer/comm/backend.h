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
    /* A number that starts at 0 and grows by one with each take.  counter: once, collective; it is
     * there when every rank has come back; not every MPI can.  One rank counts by itself: `self`
     * has neither. */
    enum cn_status (*counter)(void *self);
    enum cn_status (*take)(void *self, uint64_t *number);
    /* Letters outside of the collectives, for diagnosis: sends one to every other rank without
     * waiting; takes one that has come, if any. */
    void (*tell)(void *self, const void *letter, size_t bytes);
    bool (*hear)(void *self, void *letter, size_t bytes);
};

extern const struct comm_backend comm_backend_self;
extern const struct comm_backend comm_backend_mpi; /* built with CN_WITH_MPI */

/* ---- memory of GPUs: beside a back end, which meets, compares, explains and moves host memory ---- */

enum { COMM_ID = 128 };

/* A rank's GPU, as the others are told of it. */
struct comm_gpu {
    char host[64], bus[32], name[64]; /* bus: where it is plugged in, "0000:1B:00.0" */
};

/* What a rank needs to join the others; `id` is the same for all of them. */
struct comm_device_place {
    int device, rank, size;
    unsigned char id[COMM_ID];
    const struct comm_wait *wait;
};

/* All required. */
struct comm_device {
    enum cn_status (*describe)(int device, struct comm_gpu *out);
    enum cn_status (*invite)(unsigned char id[COMM_ID]); /* one rank makes the id of all */
    enum cn_status (*open)(const struct comm_device_place *place, void **self);
    void (*close)(void *self, bool together); /* together: every rank is here, and none failed */
    enum cn_status (*settle)(void *self);     /* waits for what this process has launched */
    enum cn_status (*sum)(void *self, const struct cn_comm_data *data); /* after `settle` */
};

/* Symbol of libcarnot_nccl.so (trainer/comm/comm_nccl.c): const struct comm_device. */
#define COMM_DEVICE_SYMBOL "comm_device_nccl"

/* No two of the ranks `member` (n) may have the same of the GPUs `gpu` (n): NCCL hangs or refuses.
 * Fails: CN_ERR_CONFIG, which names the first two and what to set. */
enum cn_status comm_check_gpus(const struct comm_gpu *gpu, const int *member, int n);

#endif
