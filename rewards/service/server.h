/* The HTTP side: one thread, one loop over libmicrohttpd's descriptors, the workers and signals. */
#ifndef CARNOT_SERVICE_SERVER_H
#define CARNOT_SERVICE_SERVER_H

#include "auth.h"
#include "desk.h"
#include "tally.h"

#include <microhttpd.h>

/* A connection, as long as it is open. */
struct line {
    int fd;
    bool busy;         /* a request is being answered: the client owes us nothing */
    double give_up_at; /* when the next request must be complete, s */
    struct line *next, *previous;
};

enum exchange_state {
    EXCHANGE_READING,
    EXCHANGE_WAITING, /* for room in the queue; suspended */
    EXCHANGE_SCORING, /* at the desk; suspended */
    EXCHANGE_READY
};

/* A request and its reply. */
struct exchange {
    struct server *server;
    struct MHD_Connection *connection;
    struct line *line;
    struct desk *desk; /* that the request goes to */
    enum service_route route;
    enum exchange_state state;
    bool suspended;
    struct cn_str body, reply;
    unsigned code;  /* of the reply */
    size_t counted; /* bytes that stand in server->buffered */
    size_t dropped; /* bytes of a body that was refused */
    size_t unscored;
    double begun, give_up_at; /* whole body there; end of the wait for room */
    struct service_request *request;
    struct exchange *next, *previous; /* in the waiting room */
    struct exchange *younger, *older; /* among all */
};

struct server {
    const struct cn_service_settings *settings;
    const struct cn_service_scorer *scorer;
    struct auth auth;
    struct tally tally;
    struct desk *desk;
    struct desk *code; /* of /run_code; NULL: none, see no_code */
    struct cn_service_settings code_settings;
    struct tally code_tally; /* its answers are no verdicts */
    struct cn_str no_code;
    struct MHD_Daemon *daemon;
    struct line *lines;
    size_t n_lines, n_exchanges;
    struct exchange *youngest; /* of all exchanges */
    struct exchange *waiting, *waiting_last;
    size_t n_waiting, buffered;
    bool stopping, resumed;      /* resumed: a connection's reply has become ready */
    double started, now, looked; /* monotonic, s; looked: when slow clients were last sought */
    char rules[17];              /* fingerprint of scorer->rules */
    int listener, signals;
};

/* exchange.c: libmicrohttpd's call-backs and what they lead to. */
enum MHD_Result exchange_handle(void *self, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **context);
void exchange_completed(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code);
void exchange_finished(void *self, struct service_request *request); /* desk_setup.finished */
void exchange_admit_waiting(struct server *server);
void exchange_give_up(struct server *server);          /* 503 to everybody who still waits */
double exchange_patience(const struct server *server); /* until a wait for room ends, s */

/* pages.c: bodies of /health, /version, /metrics; *code is set. */
enum cn_status page_health(const struct server *server, struct cn_str *out, unsigned *code);
enum cn_status page_version(const struct server *server, struct cn_str *out);
enum cn_status page_metrics(const struct server *server, struct cn_str *out);

#endif
