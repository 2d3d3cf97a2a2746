/* The parent's side of the workers: a queue of answers, who scores what, who died of what.
 *
 * An answer is at one worker at a time.  If a worker dies, the answer it was scoring is `crashed`
 * (`timeout` if the crew killed it for taking too long); the others that it had go back to the head
 * of the queue in their order, and a new worker takes its place. */
#ifndef CARNOT_SERVICE_CREW_H
#define CARNOT_SERVICE_CREW_H

#include "work.h"

#include "carnot/service.h"

struct crew;

struct crew_setup {
    const struct cn_service_scorer *scorer;
    size_t workers, memory; /* memory: bytes per worker */
    size_t extracted_max;   /* bytes; longer extracted answers are cut */
    double item_timeout_s;
    void *secret; /* zeroed in every worker before it starts; may be NULL */
    size_t secret_size;
    /* Called from crew_run with the body of a result frame; `work` is the caller's again. */
    void (*done)(void *self, struct work *work, struct cn_text result);
    void *self;
};

/* What happened so far. */
struct crew_counts {
    uint64_t started, crashed, timed_out, requeued; /* workers started and lost; answers put back */
    size_t queued, scoring, alive;                  /* now */
};

/* Starts the workers and waits until each is confined.  The process must have one thread.
 * Fails: CN_ERR_IO with a worker's own complaint. */
enum cn_status crew_open(const struct crew_setup *setup, struct crew **out);
void crew_close(struct crew *take_crew); /* kills the workers */

int crew_fd(const struct crew *crew); /* readable: crew_run has something to do */

/* Puts an answer at the end of the queue; crew_run hands it out. */
void crew_add(struct crew *crew, struct work *work);

/* Takes an answer out of the queue; false: a worker has it, and `done` will be called. */
bool crew_cancel(struct crew *crew, struct work *work);

/* Hands out, sends, receives, kills, respawns; never waits.  now: monotonic, s.
 * Fails: CN_ERR_IO, CN_ERR_MEMORY. */
enum cn_status crew_run(struct crew *crew, double now);

/* Seconds until crew_run must be called even if nothing happens; at most 1. */
double crew_patience(const struct crew *crew, double now);

struct crew_counts crew_counts(const struct crew *crew);
const struct work *crew_oldest(const struct crew *crew); /* head of the queue; NULL: empty */

#endif
