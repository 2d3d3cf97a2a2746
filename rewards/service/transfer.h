/* One request of the client: some answers, their JSON, and the reply. */
#ifndef CARNOT_SERVICE_TRANSFER_H
#define CARNOT_SERVICE_TRANSFER_H

#include "carnot/service.h"

#include <curl/curl.h>

struct transfer_item {
    struct cn_str json;
    struct cn_arena *arena;
    struct cn_service_result *out;
    double deadline; /* monotonic, s */
    bool alone;      /* goes in a request of its own */
    struct transfer_item *next;
};

struct transfer_list {
    struct transfer_item *first, *last;
};

struct transfer {
    CURL *easy;
    struct transfer_list items;
    size_t server;
    struct cn_str body, reply;
    struct transfer *next;
};

void transfer_list_add(struct transfer_list *list, struct transfer_item *item);
void transfer_list_free(struct transfer_list *list); /* the items too */

/* Appends an answer as an item of /v1/score. */
enum cn_status transfer_write_item(const struct cn_episode *episode, struct cn_str *out);

/* Takes up to `most` answers out of `waiting` into a request that is ready but for address and
 * headers; it may last until the first deadline.  Fails: CN_ERR_MEMORY, nothing is taken then. */
enum cn_status transfer_open(struct transfer_list *waiting, size_t most, double now,
                             struct transfer **out);

/* Puts the answers back at the head of `waiting`. */
void transfer_take_back(struct transfer *transfer, struct transfer_list *waiting);

/* Reads the reply into the answers' results.  Fails: CN_ERR_DATA if it is not the reply to this
 * request. */
enum cn_status transfer_read(struct transfer *transfer);

void transfer_close(struct transfer *take_transfer); /* with the answers it still has */

#endif
