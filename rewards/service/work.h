/* One answer to score on its way through the crew. */
#ifndef CARNOT_SERVICE_WORK_H
#define CARNOT_SERVICE_WORK_H

#include "carnot/status.h"

/* Memory of the caller until `done` or crew_cancel. */
struct work {
    char *frame; /* of frame_episode; the crew writes the ticket into it */
    size_t length;
    void *owner;
    /* the crew's */
    struct work *next, *previous;
    uint64_t ticket;
    unsigned tries;
    bool queued;
};

struct work_list {
    struct work *first, *last;
    size_t n, bytes;
};

void work_add(struct work_list *list, struct work *work, bool front);
void work_remove(struct work_list *list, struct work *work);

#endif
