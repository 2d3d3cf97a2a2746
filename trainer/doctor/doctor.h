/* What carnot doctor is made of: a page of findings, and the checks that write it. */
#ifndef CARNOT_DOCTOR_H
#define CARNOT_DOCTOR_H

#include "carnot/str.h"

/* level, word at the start of the line, what it means */
#define DOCTOR_LEVELS(X)                                                                           \
    X(OK, "ok", "as it should be")                                                                 \
    X(NOTE, "note", "worth knowing")                                                               \
    X(WARN, "WARN", "will cost speed or end a run")                                                \
    X(MISSING, "MISSING", "a part that is not there")

enum doctor_level {
#define X(name, word, text) DOCTOR_##name,
    DOCTOR_LEVELS(X)
#undef X
        DOCTOR_LEVEL_COUNT
};

/* Zero-initialise; `page` is freed by the owner. */
struct doctor {
    struct cn_str page;
    size_t count[DOCTOR_LEVEL_COUNT];
    enum cn_status status; /* first failure to write; later lines are left out */
    int cores;             /* that this process may use */
};

/* Appends a line about `topic`. */
void doctor_say(struct doctor *doctor, enum doctor_level level, const char *topic,
                const char *format, ...) CN_PRINTF(4, 5);

/* What the processor calls itself. */
void doctor_processor(char *out, size_t size);

void doctor_machine(struct doctor *doctor); /* processor, cores, threads, memory, disk */
void doctor_traps(struct doctor *doctor);   /* environment variables that change speed or results */
void doctor_parts(struct doctor *doctor);   /* libtorch, MPI, CUDA, NCCL, HDF5, the service */

#endif
