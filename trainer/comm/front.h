/* What comm.c (the calls), device.c (those on GPUs) and meet.c (comparing, waiting, explaining)
 * share. */
#ifndef CARNOT_COMM_FRONT_H
#define CARNOT_COMM_FRONT_H

#include "backend.h"

#include <time.h>

enum { MESSAGE = 1024, WORDS = 40 };

/* What a rank is about to do, as others are told it. */
struct place {
    uint64_t sequence, step, bytes;
    int32_t rank, timed_out;                                  /* rank: in the whole */
    char kind[WORDS], what[WORDS], phase[WORDS], part[WORDS]; /* part: "" for the whole */
};

/* What ranks tell each other once they know that something is wrong. */
struct report {
    struct place place;
    int32_t code;
    char message[MESSAGE];
};

struct cn_comm {
    struct cn_comm *whole; /* itself, or what it is a part of */
    struct cn_comm *next;  /* another part of the same whole; the whole: its first part */
    int *member;           /* (size) numbers in the whole */
    struct cn_comm_settings settings;
    const struct comm_backend *backend;
    void *self;
    const struct comm_device *device_backend; /* NULL: cn_comm_device_open was not called */
    void *device;
    int device_number;
    struct comm_facts facts;
    struct place place;
    struct cn_comm_cost cost;
    char *logs;
    bool skip;      /* the next call is left out */
    bool begun;     /* a sum goes on */
    bool counter;   /* the back end has its counter ... */
    bool uncounted; /* ... or can have none */
    uint64_t taken; /* numbers that this rank took from it */
    /* The first failure, returned by every later call; `gone`: others may still be waiting. */
    enum cn_status failed;
    char message[2 * MESSAGE];
    bool gone;
    double began;
    /* Of the whole.  A wait that takes too long: what the others have told. */
    bool told;
    struct place letter, *known; /* known (size): sequence 0 is nothing */
};

static inline double comm_seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Begins a collective; *skip: this rank leaves it out. */
enum cn_status comm_enter(struct cn_comm *comm, const char *kind, const struct cn_comm_data *data,
                          bool *skip);

/* Ends it: a failure inside the back end leaves the others waiting. */
enum cn_status comm_leave(struct cn_comm *comm, enum cn_status status);

/* Keeps the first failure of this communication and returns it. */
enum cn_status comm_remember(struct cn_comm *comm, enum cn_status status, const char *message);
enum cn_status comm_fail_again(const struct cn_comm *comm);

/* The same where others may still be waiting for this rank: its whole has failed, too. */
enum cn_status comm_give_up(struct cn_comm *comm, enum cn_status status, const char *message);

/* Compares what all ranks are about to do (comm->place), and learns of failures; `status` is this
 * rank's.  Not CN_OK is the same on every rank, but for waits that were given up. */
enum cn_status comm_meet(struct cn_comm *comm, enum cn_status status);

/* While a back end waits: the deadline, letters of others, signals.  self: struct cn_comm. */
enum cn_status comm_tick(void *self);

#endif
