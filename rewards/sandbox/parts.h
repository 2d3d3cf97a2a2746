/* What the files of the sandbox share: the running process and the steps of its life. */
#ifndef REWARDS_SANDBOX_PARTS_H
#define REWARDS_SANDBOX_PARTS_H

#include "sandbox.h"

#include <sys/types.h>

#define SANDBOX_BWRAP "/usr/bin/bwrap"

struct sandbox {
    bool insecure;  /* asked for, and needed: there is no isolation */
    bool as_root;   /* carnot is root: programs run as `uid` */
    bool no_userns; /* this bubblewrap can forbid user namespaces inside */
    uint32_t uid;
    struct cn_str filter; /* the system call list as a BPF program */
};

/* A job that runs.  Descriptors are -1 when closed. */
struct sandbox_process {
    const struct sandbox *sandbox;
    const struct sandbox_job *job;
    struct sandbox_result *result;
    pid_t pid;                     /* bwrap; the program itself if insecure; 0 when it was reaped */
    pid_t inside;                  /* the first process of the namespace; 0: not known yet */
    int pid_fd, inside_fd;         /* of pid and of inside */
    int out, error, status, block; /* our ends of its pipes; block is written to let it go */
    int channel;                   /* its end of the stream to the other job, or -1 */
    int proc, tmp;                 /* its /proc and /tmp as folders of ours */
    bool ended;                    /* reaped, and both outputs read to the end */
    bool killed;                   /* result->end is the reason */
    bool let_go;
    char folder[64]; /* of an insecure job */
    double start;
    double cpu_s, waited_s; /* as last seen by the watcher */
    struct cn_str report;   /* what bwrap writes to `status` */
};

/* The system calls that a program may use, as a BPF program; filter_seccomp.c or filter_none.c.
 * Fails: CN_ERR_CONFIG if this build cannot. */
enum cn_status sandbox_filter(struct cn_str *out);

/* Starts the job; a job that cannot be started has ended BROKEN.  Fails: CN_ERR_MEMORY. */
enum cn_status sandbox_launch(const struct sandbox *sandbox, struct sandbox_process *process);

/* Sets how many processes and threads the namespace of `inside` may hold; 0, or errno. */
int sandbox_limit_processes(const struct sandbox *sandbox, pid_t inside, size_t count);

/* Ends everything that is left, and sets the reason unless there is one. */
void sandbox_kill(struct sandbox_process *process, enum sandbox_end why);

/* Waits until all have ended; when one has, the others are killed.  Fails: CN_ERR_MEMORY. */
enum cn_status sandbox_watch(struct sandbox_process *processes, size_t n);

/* Looks at the processes of one job: what they used, and whether it was too much. */
void sandbox_measure(struct sandbox_process *process);

double sandbox_clock(void); /* seconds, monotonic */

#endif
