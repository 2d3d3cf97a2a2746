/* What a worker gives up before it reads a byte that a policy wrote. */
#ifndef CARNOT_SERVICE_CONFINE_H
#define CARNOT_SERVICE_CONFINE_H

#include "carnot/status.h"

struct confinement {
    int keep;             /* the one file descriptor that stays open */
    size_t memory;        /* bytes that may be mapped beyond what is mapped now */
    bool starts_programs; /* needs fork, exec and files: only signals and descriptors are set */
};

/* Closes everything but `keep`, points standard streams at /dev/null, sets limits (memory, files,
 * processes, no core dump), gives up privileges for good and installs the system call filter.
 * Fails: CN_ERR_IO if a limit could not be set; nothing may be scored then. */
enum cn_status confine(const struct confinement *confinement);

/* The system call filter: memory, reading, writing and leaving, everything else kills.
 * confine_seccomp.c; without libseccomp confine_plain.c, which does nothing. */
enum cn_status confine_calls(void);
extern const bool confine_filters; /* whether confine_calls does anything */

#endif
