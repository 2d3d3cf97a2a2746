/* One request after the other: who may ask what, its body, its place at the desk, its reply. */
#include "server.h"

#include "code.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RETRY_AFTER_S = 1, BYTES_PER_S = 16384 /* slowest body, after service.idle_s */ };

static const char *const paths[] = {
#define X(name, label, path) path,
    SERVICE_ROUTES(X)
#undef X
};

/* ---- replies ------------------------------------------------------------- */

static enum cn_status set_error(struct exchange *x, unsigned code, const char *message)
{
    x->state = EXCHANGE_READY;
    x->code = code;
    cn_str_clear(&x->reply);
    return reply_error(&x->reply, message);
}

static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
    MHD_add_response_header(response, name, value); /* without memory the reply goes without it */
}

/* Sends what stands in x->reply. */
static enum MHD_Result send_reply(struct exchange *x)
{
    const bool post = x->route <= ROUTE_RUN_CODE;
    char number[24];
    struct MHD_Response *response = MHD_create_response_from_buffer(
        x->reply.length, x->reply.data ? x->reply.data : "",
        x->reply.data ? MHD_RESPMEM_MUST_FREE : MHD_RESPMEM_PERSISTENT);
    if (!response) return MHD_NO;
    x->reply = (struct cn_str){NULL, 0, 0}; /* the response's now */
    add_header(response, "Content-Type",
               x->route == ROUTE_METRICS && x->code == MHD_HTTP_OK
                   ? "text/plain; version=0.0.4; charset=utf-8"
                   : "application/json");
    snprintf(number, sizeof number, "%d", RETRY_AFTER_S);
    if (x->code == MHD_HTTP_SERVICE_UNAVAILABLE) add_header(response, "Retry-After", number);
    if (x->code == MHD_HTTP_METHOD_NOT_ALLOWED)
        add_header(response, "Allow", post ? "POST" : "GET, HEAD");
    if (x->code == MHD_HTTP_UNAUTHORIZED) add_header(response, "WWW-Authenticate", "Bearer");
    snprintf(number, sizeof number, "%zu", x->unscored);
    if (x->unscored) add_header(response, "X-Carnot-Unscored", number);
    if (x->server->stopping) add_header(response, "Connection", "close");
    const enum MHD_Result result = MHD_queue_response(x->connection, x->code, response);
    MHD_destroy_response(response);
    tally_answer(&x->server->tally, x->route, x->code);
    if (x->begun > 0) tally_seconds(&x->server->tally, x->server->now - x->begun);
    return result;
}

static void count_bytes(struct exchange *x, size_t bytes)
{
    x->server->buffered += bytes - x->counted;
    x->counted = bytes;
}

static void wake(struct exchange *x)
{
    if (!x->suspended) return;
    MHD_resume_connection(x->connection);
    x->suspended = false;
    x->server->resumed = true;
}

/* ---- at the desk --------------------------------------------------------- */

void exchange_finished(void *self, struct service_request *request)
{
    struct server *server = self;
    struct exchange *x = request->owner;
    const struct reply_setup setup = {.unscored = server->settings->unscored,
                                      .rules = server->rules};
    struct reply_counts counts;
    cn_str_clear(&x->reply);
    x->code = MHD_HTTP_OK;
    x->state = EXCHANGE_READY;
    if (reply_write(request, &setup, &x->reply, &counts) == CN_OK) {
        x->unscored = counts.unscored;
        if (request->form == SERVICE_RUN_CODE) x->unscored = 0;
        if (request->form != SERVICE_SCORE) server->tally.unscored_numbers += x->unscored;
    } else {
        set_error(x, MHD_HTTP_INTERNAL_SERVER_ERROR, cn_fail_message());
        cn_fail_clear();
    }
    x->request = NULL;
    desk_leave(x->desk, request);
    count_bytes(x, x->reply.length);
    wake(x);
}

static void leave_waiting_room(struct exchange *x)
{
    struct server *server = x->server;
    if (x->next)
        x->next->previous = x->previous;
    else
        server->waiting_last = x->previous;
    if (x->previous)
        x->previous->next = x->next;
    else
        server->waiting = x->next;
    x->next = x->previous = NULL;
    server->n_waiting--;
}

static void enter_waiting_room(struct exchange *x)
{
    struct server *server = x->server;
    x->state = EXCHANGE_WAITING;
    x->give_up_at = server->now + server->settings->queue_wait_s;
    x->previous = server->waiting_last;
    if (x->previous)
        x->previous->next = x;
    else
        server->waiting = x;
    server->waiting_last = x;
    server->n_waiting++;
}

/* Brings a request to the desk; false: there is no room yet. */
static bool enter_desk(struct exchange *x)
{
    struct server *server = x->server;
    char message[160];
    x->state = EXCHANGE_SCORING;
    x->request->owner = x;
    const enum desk_answer answer = desk_enter(x->desk, x->request, server->now);
    if (answer == DESK_FULL) return false;
    if (answer == DESK_TAKEN) return true;
    snprintf(message, sizeof message,
             "%zu answers in one request; the queue holds %lld (service.queue)", x->request->n,
             (long long)server->settings->queue);
    request_close(x->request);
    x->request = NULL;
    set_error(x, MHD_HTTP_CONTENT_TOO_LARGE, message);
    return true;
}

void exchange_admit_waiting(struct server *server)
{
    while (server->waiting) {
        struct exchange *x = server->waiting;
        if (server->now < x->give_up_at) {
            leave_waiting_room(x); /* the desk may finish it at once */
            if (!enter_desk(x)) {
                /* Back to its place: the first of the room. */
                x->state = EXCHANGE_WAITING;
                x->next = server->waiting;
                if (x->next)
                    x->next->previous = x;
                else
                    server->waiting_last = x;
                server->waiting = x;
                server->n_waiting++;
                return;
            }
        } else {
            leave_waiting_room(x);
            request_close(x->request);
            x->request = NULL;
            /* SandboxFusion's clients try again after this code only. */
            set_error(x,
                      x->route == ROUTE_RUN_CODE ? MHD_HTTP_GATEWAY_TIMEOUT
                                                 : MHD_HTTP_SERVICE_UNAVAILABLE,
                      "the queue was full for too long");
        }
        if (x->state == EXCHANGE_READY) wake(x);
    }
}

void exchange_give_up(struct server *server)
{
    for (struct exchange *x = server->youngest; x; x = x->older) {
        if (!x->suspended) continue;
        if (x->state == EXCHANGE_WAITING) {
            leave_waiting_room(x);
            request_close(x->request);
            x->request = NULL;
        }
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the service was stopped");
        wake(x);
    }
}

double exchange_patience(const struct server *server)
{
    return server->waiting ? server->waiting->give_up_at - server->now : 3600;
}

/* The body is complete and asks for scores. */
static void score_body(struct exchange *x)
{
    static const enum service_form forms[] = {[ROUTE_SCORE] = SERVICE_SCORE,
                                              [ROUTE_GET_REWARD] = SERVICE_GET_REWARD,
                                              [ROUTE_RM] = SERVICE_RM,
                                              [ROUTE_RUN_CODE] = SERVICE_RUN_CODE};
    const struct server *server = x->server;
    const enum cn_status status = request_read(forms[x->route], cn_str_text(&x->body),
                                               server->settings->special_tokens, &x->request);
    cn_str_free(&x->body);
    if (status != CN_OK) {
        set_error(x, status == CN_ERR_DATA ? MHD_HTTP_BAD_REQUEST : MHD_HTTP_INTERNAL_SERVER_ERROR,
                  cn_fail_message());
        cn_fail_clear();
        return;
    }
    if (server->waiting || !enter_desk(x)) {
        if (x->route != ROUTE_SCORE) {
            enter_waiting_room(x);
            return;
        }
        request_close(x->request);
        x->request = NULL;
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the queue is full");
    }
}

/* ---- routes -------------------------------------------------------------- */

static void answer_page(struct exchange *x)
{
    struct server *server = x->server;
    enum cn_status status = CN_OK;
    x->state = EXCHANGE_READY;
    x->code = MHD_HTTP_OK;
    if (x->route == ROUTE_HEALTH)
        status = page_health(server, &x->reply, &x->code);
    else if (x->route == ROUTE_VERSION)
        status = page_version(server, &x->reply);
    else if (x->route == ROUTE_METRICS)
        status = page_metrics(server, &x->reply);
    else
        status = cn_str_add(&x->reply, "\"pong\"");
    if (status != CN_OK) set_error(x, MHD_HTTP_INTERNAL_SERVER_ERROR, cn_fail_message());
}

/* This machine cannot isolate programs, or was told not to run any. */
static void refuse_code(struct exchange *x)
{
    x->state = EXCHANGE_READY;
    x->code = MHD_HTTP_OK;
    if (code_reply_error(&x->reply, x->server->no_code.data) != CN_OK)
        set_error(x, MHD_HTTP_INTERNAL_SERVER_ERROR, "out of memory");
}

static void complete(struct exchange *x)
{
    x->line->busy = true;
    if (x->route <= ROUTE_RUN_CODE) {
        x->begun = x->server->now;
        x->server->tally.body_bytes += x->body.length;
    }
    if (x->code)
        x->state = EXCHANGE_READY; /* refused while the body came */
    else if (x->route == ROUTE_RUN_CODE && !x->desk)
        refuse_code(x);
    else if (x->route <= ROUTE_RUN_CODE)
        score_body(x);
    else
        answer_page(x);
}

static enum service_route route_of(const char *path)
{
    for (size_t i = 0; i < ROUTE_OTHER; i++)
        if (strcmp(path, paths[i]) == 0) return (enum service_route)i;
    return ROUTE_OTHER;
}

static const struct sockaddr *client_of(struct MHD_Connection *connection)
{
    return MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS)->client_addr;
}

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

/* What is refused before a byte of the body is read. */
static void check_head(struct exchange *x, const char *url, const char *method)
{
    struct server *server = x->server;
    const char *path, *length = header_of(x->connection, "Content-Length");
    const bool shown =
        auth_token(&server->auth, header_of(x->connection, "Authorization"), url, &path);
    const size_t most = (size_t)server->settings->body_mb << 20;
    const bool get = strcmp(method, "GET") == 0 || strcmp(method, "HEAD") == 0,
               post = strcmp(method, "POST") == 0;
    x->route = route_of(path);
    x->desk = x->route == ROUTE_RUN_CODE ? server->code : server->desk;
    if (!auth_address(&server->auth, client_of(x->connection)))
        set_error(x, MHD_HTTP_FORBIDDEN, "your address is not in service.allow");
    else if (!shown && x->route != ROUTE_HEALTH)
        set_error(x, MHD_HTTP_UNAUTHORIZED,
                  "show the token: \"Authorization: Bearer TOKEN\" or the path /t/TOKEN/...");
    else if (header_of(x->connection, "Origin"))
        set_error(x, MHD_HTTP_FORBIDDEN, "web pages may not ask");
    else if (x->route == ROUTE_OTHER)
        set_error(x, MHD_HTTP_NOT_FOUND, "no such endpoint");
    else if (x->route <= ROUTE_RUN_CODE ? !post : !get)
        set_error(x, MHD_HTTP_METHOD_NOT_ALLOWED, "this endpoint has another method");
    else if (length && strtoull(length, NULL, 10) > most)
        set_error(x, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than service.body_mb");
    else if (post && server->stopping)
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "the service is stopping");
    else if (post && server->buffered > (size_t)server->settings->buffer_mb << 20)
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too many bodies at a time (service.buffer_mb)");
}

/* Takes a piece of the body; false: the connection is to be closed. */
static bool take_body(struct exchange *x, const char *data, size_t size)
{
    struct server *server = x->server;
    const size_t most = (size_t)server->settings->body_mb << 20;
    x->line->give_up_at += (double)size / BYTES_PER_S;
    if (x->code) return (x->dropped += size) < most; /* a reply must wait for the body's end */
    if (x->body.length + size > most) {
        set_error(x, MHD_HTTP_CONTENT_TOO_LARGE, "the body is larger than service.body_mb");
    } else if (server->buffered + size > (size_t)server->settings->buffer_mb << 20) {
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "too many bodies at a time (service.buffer_mb)");
    } else if (cn_str_append(&x->body, data, size) != CN_OK) {
        set_error(x, MHD_HTTP_SERVICE_UNAVAILABLE, "out of memory");
        cn_fail_clear();
    } else {
        count_bytes(x, x->body.length);
        return true;
    }
    x->state = EXCHANGE_READING;
    cn_str_free(&x->body);
    count_bytes(x, 0);
    return true;
}

enum MHD_Result exchange_handle(void *self, struct MHD_Connection *connection, const char *url,
                                const char *method, const char *version, const char *data,
                                size_t *size, void **context)
{
    struct server *server = self;
    struct exchange *x = *context;
    (void)version;
    if (!x) {
        x = calloc(1, sizeof *x);
        struct line *line =
            MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
        if (!x || !line) {
            free(x);
            return MHD_NO;
        }
        x->line = line;
        x->server = server;
        x->connection = connection;
        server->n_exchanges++;
        x->older = server->youngest;
        if (x->older) x->older->younger = x;
        server->youngest = x;
        *context = x;
        check_head(x, url, method);
        return x->state == EXCHANGE_READY ? send_reply(x) : MHD_YES;
    }
    if (*size) {
        const bool going_on = take_body(x, data, *size);
        *size = 0;
        return going_on ? MHD_YES : MHD_NO;
    }
    if (x->state == EXCHANGE_READING) complete(x);
    if (x->state == EXCHANGE_READY) return send_reply(x);
    x->suspended = true;
    MHD_suspend_connection(connection);
    return MHD_YES;
}

void exchange_completed(void *self, struct MHD_Connection *connection, void **context,
                        enum MHD_RequestTerminationCode code)
{
    struct server *server = self;
    struct exchange *x = *context;
    (void)connection, (void)code;
    if (!x) return;
    if (x->state == EXCHANGE_WAITING) {
        leave_waiting_room(x);
        request_close(x->request);
    } else if (x->request) {
        desk_leave(x->desk, x->request);
    }
    count_bytes(x, 0);
    cn_str_free(&x->body);
    cn_str_free(&x->reply);
    x->line->busy = false;
    x->line->give_up_at = server->now + server->settings->idle_s;
    server->n_exchanges--;
    if (x->older) x->older->younger = x->younger;
    if (x->younger)
        x->younger->older = x->older;
    else
        server->youngest = x->older;
    free(x);
    *context = NULL;
}
