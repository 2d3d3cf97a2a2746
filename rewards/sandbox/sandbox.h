/* Runs a program that nobody trusts, and says how it ended.
 *
 *     carnot ── vfork ── bwrap (empty environment, own uid if carnot is root)
 *                          └─ pid 1 of a new pid, user, net, ipc, uts, cgroup and mount namespace
 *                               └─ the program: /usr read-only, /tmp its own, seccomp list, rlimits
 *
 * The program sees no file of the host but /usr, no network, no process but its own, and nothing of
 * what it is tested with except what is sent to it.  A watcher outside adds up processor time,
 * memory, disk and output over all its processes and kills the whole namespace at a limit.
 * What this does not protect from stands in rewards/README.md. */
#ifndef REWARDS_SANDBOX_H
#define REWARDS_SANDBOX_H

#include "carnot/str.h"

enum { SANDBOX_FILES_MAX = 8, SANDBOX_JOBS_MAX = 2, SANDBOX_CHANNEL = 3 };

/* name, what happened */
#define SANDBOX_ENDS(X)                                                                            \
    X(EXITED, "exited by itself or by a signal of its own")                                        \
    X(TIME, "used up its processor time")                                                          \
    X(WALL, "ran longer than the wall-clock limit, without being short of processors")             \
    X(MEMORY, "used more memory than allowed")                                                     \
    X(DISK, "wrote more, or more files, than allowed")                                             \
    X(OUTPUT, "printed more than allowed")                                                         \
    X(STOPPED, "was ended because the job that it served was over")                                \
    X(STARVED, "waited for processors until the wall-clock backstop: the machine's fault")         \
    X(BROKEN, "could not be started or watched: the machine's fault, see `why`")

enum sandbox_end {
#define X(name, meaning) SANDBOX_END_##name,
    SANDBOX_ENDS(X)
#undef X
        SANDBOX_END_COUNT
};

const char *sandbox_end_meaning(enum sandbox_end end);

/* Limits of one job, over all its processes together unless said otherwise. */
struct sandbox_limits {
    double time_s;    /* processor time */
    double wall_s;    /* wall clock, not counting time spent waiting for a processor; at 4 times
                         this it ends in any case */
    size_t memory_mb; /* resident, files in /tmp included; also the address space of each process */
    size_t disk_mb;   /* of /tmp */
    size_t output_kb; /* of standard output and standard error, each */
    size_t processes; /* threads count too */
};

extern const struct sandbox_limits sandbox_limits_default;

/* A file that stands in the program's folder (/tmp) when it starts. */
struct sandbox_file {
    const char *name; /* no slash */
    struct cn_text data;
    bool executable;
};

/* A program to run.  Everything is borrowed for the call. */
struct sandbox_job {
    const char *const *argv; /* NULL-terminated; argv[0] below /usr, or relative to /tmp */
    const struct sandbox_file *files;
    size_t n_files;       /* at most SANDBOX_FILES_MAX */
    struct cn_text input; /* standard input: a file of these bytes */
    struct sandbox_limits limits;
};

/* How it ended; the two strings are the caller's to free (sandbox_result_free), whatever end. */
struct sandbox_result {
    enum sandbox_end end;
    int exit_code; /* of EXITED: 128 + number if a signal ended it */
    double time_s, wall_s;
    size_t memory_mb;         /* most that was seen */
    struct cn_str out, error; /* what it printed, any bytes, up to the limit */
    char why[256];            /* of BROKEN */
};

/* How jobs are isolated; zero-initialised is the default. */
struct sandbox_settings {
    bool insecure; /* run WITHOUT isolation where there is none: rlimits and a folder only */
    uint32_t uid;  /* who runs it if carnot is root; 0: SANDBOX_UID */
};

enum { SANDBOX_UID = 65521 }; /* outside of the ranges that Debian and systemd give away */

struct sandbox;

/* Finds out whether this machine can isolate, by isolating one program.
 * Fails: CN_ERR_CONFIG saying what is missing and what to do, unless `insecure` is set.
 * *out is the caller's to close. */
enum cn_status sandbox_open(const struct sandbox_settings *settings, struct sandbox **out);
void sandbox_close(struct sandbox *take_sandbox);
bool sandbox_is_insecure(const struct sandbox *sandbox); /* whether jobs run without isolation */

/* Runs n jobs side by side (at most SANDBOX_JOBS_MAX), each in a sandbox of its own, until the
 * first one ends; the others are then ended (STOPPED).  With two jobs, descriptor SANDBOX_CHANNEL
 * of each is one end of a stream between them.  result (n) must be zero-initialised or used before.
 * Whatever the program does is data; fails with CN_ERR_MEMORY and CN_ERR_BUG only.
 * Makes this process the reaper of its orphans (PR_SET_CHILD_SUBREAPER).
 * Several threads may call this at once.  Returns when every process of the jobs is gone. */
enum cn_status sandbox_run(struct sandbox *sandbox, const struct sandbox_job *jobs, size_t n,
                           struct sandbox_result *result);
void sandbox_result_free(struct sandbox_result *result);

#endif
