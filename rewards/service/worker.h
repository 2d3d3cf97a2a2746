/* A worker: a process that scores one answer after the other and can be killed at any time. */
#ifndef CARNOT_SERVICE_WORKER_H
#define CARNOT_SERVICE_WORKER_H

#include "carnot/service.h"

#include <stdatomic.h>

/* Shared with the parent: which answer is being scored, so that a death is blamed on the right one.
 * The parent believes nothing else from it. */
struct worker_progress {
    _Atomic uint64_t started; /* ticket of the newest answer whose scoring began; 0: none */
};

struct worker_start {
    const struct cn_service_scorer *scorer;
    struct worker_progress *progress;
    int socket;
    size_t extracted_max; /* longer extracted answers are cut */
    size_t memory;        /* bytes, see confine.h */
    long parent;          /* process id of who must be alive */
};

/* The life of a worker, in the child: confines itself, then reads frames, scores, answers in the
 * same order, until the socket ends. */
_Noreturn void worker_main(const struct worker_start *start);

#endif
