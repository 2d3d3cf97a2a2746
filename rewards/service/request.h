/* One HTTP request to score something: its body read into items, its results written as the reply
 * that its protocol expects. */
#ifndef CARNOT_SERVICE_REQUEST_H
#define CARNOT_SERVICE_REQUEST_H

#include "memo.h"
#include "crew.h"

enum service_form {
    SERVICE_SCORE,      /* /v1/score: ours */
    SERVICE_GET_REWARD, /* /get_reward: OpenRLHF */
    SERVICE_RM,         /* /rm: slime */
    SERVICE_RUN_CODE,   /* /run_code: SandboxFusion */
    SERVICE_FORM_COUNT
};

/* A piece of one of the request's buffers. */
struct piece {
    size_t at, length;
};

struct service_request;

struct service_item {
    struct work work;
    struct service_request *request;
    struct piece frame;       /* of request->frames */
    struct piece id;          /* of request->notes: JSON; length 0: none */
    struct piece error;       /* of request->notes: why the item cannot be read; length 0: it can */
    struct piece result;      /* of request->results: body of a result frame; length 0: not yet */
    struct memo_entry *entry; /* pending: this item is the one being scored for it */
    struct service_item *next_waiting; /* further items with the same content */
    bool waiting, handed;              /* waits for another item; is with the crew */
};

struct service_request {
    enum service_form form;
    struct service_item *item;
    size_t n, left; /* items; without a result */
    size_t held;    /* items that the crew has: the memory must stay */
    struct cn_str frames, notes, results;
    double arrived, deadline;                /* monotonic, s; deadline 0: none */
    void *owner;                             /* the connection's side; NULL once it has gone */
    struct service_request *next, *previous; /* in the desk's lists */
};

/* Reads a body.  An item that cannot be read becomes one with an error, never a failed request;
 * bytes that are not UTF-8 and halves of surrogate pairs become U+FFFD.
 * Fails: CN_ERR_DATA if the body is not JSON or not of the form's shape; CN_ERR_MEMORY. */
enum cn_status request_read(enum service_form form, struct cn_text body,
                            struct cn_texts special_tokens, struct service_request **out);
void request_close(struct service_request *take_request);

/* Keeps the result of an item: the body of a result frame.  Fails: CN_ERR_MEMORY. */
enum cn_status request_settle(struct service_item *item, struct cn_text result);

/* Text without the special tokens at its end: <|...|> and those of the list. */
struct cn_text request_strip(struct cn_text text, struct cn_texts special_tokens);

/* What a reply says about itself. */
struct reply_setup {
    double unscored;   /* what protocols without a word for it get */
    const char *rules; /* fingerprint of the rewards */
};

struct reply_counts {
    size_t unscored; /* items without a score or reward */
};

/* Writes the reply; items without a result are `timeout`. */
enum cn_status reply_write(const struct service_request *request, const struct reply_setup *setup,
                           struct cn_str *out, struct reply_counts *counts);

/* {"error": {"message": ...}} */
enum cn_status reply_error(struct cn_str *out, const char *message);

#endif
