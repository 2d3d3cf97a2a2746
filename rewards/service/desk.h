/* The desk between requests and workers: takes requests in while there is room, gives each answer
 * to the crew unless its result is known or on its way, and hands requests back when they are done.
 */
#ifndef CARNOT_SERVICE_DESK_H
#define CARNOT_SERVICE_DESK_H

#include "request.h"
#include "tally.h"

struct desk;

struct desk_setup {
    const struct cn_service_settings *settings;
    const struct cn_service_scorer *scorer;
    size_t extracted_max; /* bytes; longer extracted answers are cut */
    struct tally *tally;
    /* All items of a request have results, or its deadline is over.  The owner must answer and then
     * call desk_leave.  Called from desk_run and, for what the cache knows, from desk_enter. */
    void (*finished)(void *self, struct service_request *request);
    void *self;
    void *secret; /* see crew.h */
    size_t secret_size;
};

enum cn_status desk_open(const struct desk_setup *setup, struct desk **out);
void desk_close(struct desk *take_desk);

enum desk_answer {
    DESK_TAKEN,
    DESK_FULL,   /* not now: the request stays the caller's */
    DESK_TOO_BIG /* never: more answers than the queue can hold */
};
enum desk_answer desk_enter(struct desk *desk, struct service_request *request, double now);

/* The owner is done with a request or has gone; the desk frees it, at the latest when the workers
 * have let go of it. */
void desk_leave(struct desk *desk, struct service_request *request);

/* One turn: workers, deadlines.  Fails: as crew_run. */
enum cn_status desk_run(struct desk *desk, double now);

int desk_fd(const struct desk *desk);
double desk_patience(const struct desk *desk, double now);
size_t desk_open_items(const struct desk *desk);
struct crew_counts desk_crew(const struct desk *desk);
double desk_queue_age(const struct desk *desk, double now); /* s; 0: nothing waits */

#endif
