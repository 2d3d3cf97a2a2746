/* The run folder: one process at a time, what it was started with, how it stands, what it measured.
 *
 *   config.resolved.json  overrides.txt  env.json  STATUS.json  metrics.jsonl  run.lock
 *   checkpoints/  tokens/  samples/  eval/  logs/attempt_N/rank_0000.log */
#ifndef CARNOT_RUN_H
#define CARNOT_RUN_H

#include "../config/settings.h"

#include "carnot/comm.h"
#include "carnot/metrics.h"

struct run_folder;

/* What a run is started with. */
struct run_start {
    const struct settings *settings;
    struct cn_text resolved;    /* config.resolved.json */
    const char *const *command; /* argv, NULL-terminated: overrides.txt; [0]: the subcommand */
    struct cn_comm *comm;       /* ranks of the run: rank 0 owns the folder, the others only log */
    bool deny_existing;         /* run.resume=never: a folder with a run in it is an error */
};

/* Creates or enters the folder ({name} and {seed} of run.dir are replaced), takes its lock, opens
 * the log; what stands in the folder is not touched.  start->command is borrowed until run_close.
 * Fails: CN_ERR_CONFIG if another process holds it (host and pid are named), if it holds another
 * command's run, or a run although run.resume=never; CN_ERR_IO.  Collective; from then on, what
 * the run writes is written by rank 0 alone: calls of other ranks do nothing. */
enum cn_status run_open(const struct run_start *start, struct run_folder **out);

/* Writes config.resolved.json, overrides.txt and env.json: only once nothing can refuse the start.
 * Fails: CN_ERR_IO. */
enum cn_status run_begin(const struct run_folder *run, const struct run_start *start);

/* Gives the lock back. */
void run_close(struct run_folder *take_run);

const char *run_path(const struct run_folder *run);
int run_attempt(const struct run_folder *run);     /* 1 for the first start */
bool run_has_pruned(const struct run_folder *run); /* a file PRUNE stands in the folder */

/* How the run stands; written to STATUS.json at once, with the command that it belongs to. */
struct run_status {
    const char *state; /* running, done, stopped, pruned, failed */
    uint64_t step;
    double objective, best; /* NaN: none yet */
    int exit_code;
    const char *message;
};
enum cn_status run_status_write(struct run_folder *run, const struct run_status *status);

/* Appends one object to `file` ("metrics.jsonl") of the run: {"step": N, ...}; numbers that are not
 * finite are left out and counted in "not_finite".  The line is complete or absent after a kill.
 * Fails: CN_ERR_IO. */
enum cn_status run_metrics_write(struct run_folder *run, const char *file, uint64_t step,
                                 const struct cn_metrics *metrics);

/* Appends a line to a file of the run ("samples/step_000010.jsonl"). */
enum cn_status run_append(struct run_folder *run, const char *file, struct cn_text lines);

/* ---- signals: SIGINT, SIGTERM and SIGUSR1 ask to finish the step, save and stop; the second one
 * exits at once ---- */

void run_signals_catch(void);
int run_signal(void);      /* the signal that asked, or 0 */
bool run_terminated(void); /* it was SIGTERM: little time is left, and other ranks may be gone */

#endif
