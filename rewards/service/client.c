/* The client: answers gather while requests are under way, so that requests grow with the load.
 *
 *     add -> waiting -> request (at most `batch` answers) -> result
 *                ^            |  no connection, 429, 5xx: that server rests, longer each time
 *                +------------+
 *
 * An answer that has waited for service.timeout_s gets the verdict unscored: its sequence is left
 * out of training.  It is never scored 0. */
#include "carnot/service.h"

#include "auth.h"
#include "transfer.h"

#include "carnot/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { REQUESTS_PER_SERVER = 4 };
static const double rest_first_s = 0.1, rest_most_s = 10;

struct server {
    char *url; /* of /v1/score */
    size_t active;
    unsigned failures;  /* in a row */
    double rests_until; /* s */
};

struct cn_service_client {
    const struct cn_service_settings *settings;
    struct server *server;
    size_t n_servers, next_server;
    CURLM *multi;
    struct curl_slist *headers;
    struct transfer_list waiting;
    struct transfer *active; /* under way */
    size_t pending;
    uint64_t jitter;
};

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Between 0.5 and 1.5: keeps clients from coming back all at once.  Results do not depend on it. */
static double jitter(struct cn_service_client *client)
{
    client->jitter = client->jitter * 6364136223846793005u + 1442695040888963407u;
    return 0.5 + (double)(client->jitter >> 11) * 0x1p-53;
}

/* ---- opening and closing ------------------------------------------------- */

static enum cn_status open_server(const char *url, struct server *out)
{
    size_t length = strlen(url);
    if (strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0)
        return cn_fail(CN_ERR_CONFIG,
                       "service.urls: \"%s\" must begin with http:// or https://, as in "
                       "http://127.0.0.1:8080",
                       url);
    while (length && url[length - 1] == '/')
        length--;
    static const char path[] = "/v1/score";
    out->url = malloc(length + sizeof path);
    if (!out->url) return cn_fail(CN_ERR_MEMORY, "out of memory for an address");
    memcpy(out->url, url, length);
    memcpy(out->url + length, path, sizeof path);
    return CN_OK;
}

static enum cn_status add_header(struct cn_service_client *client, const char *text)
{
    struct curl_slist *grown = curl_slist_append(client->headers, text);
    if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory for a header");
    client->headers = grown;
    return CN_OK;
}

static enum cn_status set_headers(struct cn_service_client *client)
{
    struct auth auth;
    char bearer[sizeof auth.token + 32];
    const struct cn_texts everybody = {NULL, 0};
    CN_TRY(auth_open(client->settings->token_file, everybody, &auth));
    CN_TRY(add_header(client, "Content-Type: application/json"));
    CN_TRY(add_header(client, "Expect:")); /* no round trip before a large body */
    if (!auth.length) return CN_OK;
    memcpy(bearer, "Authorization: Bearer ", 22);
    memcpy(bearer + 22, auth.token, auth.length);
    bearer[22 + auth.length] = 0;
    return add_header(client, bearer);
}

enum cn_status cn_service_client_open(const struct cn_service_settings *settings,
                                      const char *const *urls, size_t n,
                                      struct cn_service_client **out)
{
    struct cn_service_client *client = calloc(1, sizeof *client);
    enum cn_status status = CN_OK;
    if (!client) return cn_fail(CN_ERR_MEMORY, "out of memory for a client");
    client->settings = settings;
    client->jitter = (uint64_t)(1e9 * now_s());
    client->server = calloc(n ? n : 1, sizeof *client->server);
    client->n_servers = n;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) == 0) client->multi = curl_multi_init();
    if (!client->server || !client->multi)
        status = cn_fail(CN_ERR_MEMORY, "out of memory for a client");
    if (status == CN_OK && n == 0)
        status = cn_fail(CN_ERR_CONFIG, "service.mode=urls needs service.urls=[\"http://...\"]");
    for (size_t i = 0; i < n && status == CN_OK; i++)
        status = open_server(urls[i], &client->server[i]);
    if (status == CN_OK) status = set_headers(client);
    if (status == CN_OK)
        *out = client;
    else
        cn_service_client_close(client);
    return status;
}

void cn_service_client_close(struct cn_service_client *take_client)
{
    struct cn_service_client *client = take_client;
    if (!client) return;
    while (client->active) {
        struct transfer *t = client->active;
        client->active = t->next;
        curl_multi_remove_handle(client->multi, t->easy);
        transfer_close(t);
    }
    transfer_list_free(&client->waiting);
    for (size_t i = 0; client->server && i < client->n_servers; i++)
        free(client->server[i].url);
    free(client->server);
    curl_slist_free_all(client->headers);
    if (client->multi) curl_multi_cleanup(client->multi);
    free(client);
}

/* ---- handing over -------------------------------------------------------- */

enum cn_status cn_service_client_add(struct cn_service_client *client,
                                     const struct cn_episode *episode, struct cn_arena *arena,
                                     struct cn_service_result *out)
{
    struct transfer_item *item = calloc(1, sizeof *item);
    if (!item) return cn_fail(CN_ERR_MEMORY, "out of memory for an answer");
    *item = (struct transfer_item){
        .arena = arena, .out = out, .deadline = now_s() + client->settings->timeout_s};
    enum cn_status status = transfer_write_item(episode, &item->json);
    if (status != CN_OK) {
        cn_str_free(&item->json);
        free(item);
        return status;
    }
    transfer_list_add(&client->waiting, item);
    client->pending++;
    return CN_OK;
}

static void settle(struct cn_service_client *client, struct transfer_item *take_item)
{
    cn_str_free(&take_item->json);
    free(take_item);
    client->pending--;
}

static void give_up(struct cn_service_client *client, struct transfer_item *take_item)
{
    *take_item->out = (struct cn_service_result){.verdict = CN_VERDICT_UNSCORED};
    settle(client, take_item);
}

/* ---- sending ------------------------------------------------------------- */

/* The server with the fewest requests that does not rest; SIZE_MAX: none has room. */
static size_t free_server(struct cn_service_client *client, double now)
{
    size_t best = SIZE_MAX;
    for (size_t k = 0; k < client->n_servers; k++) {
        const size_t i = (client->next_server + k) % client->n_servers;
        const struct server *s = &client->server[i];
        if (now < s->rests_until || s->active >= (s->failures ? 1 : REQUESTS_PER_SERVER)) continue;
        if (best == SIZE_MAX || s->active < client->server[best].active) best = i;
    }
    if (best != SIZE_MAX) client->next_server = best + 1;
    return best;
}

static enum cn_status send_waiting(struct cn_service_client *client, double now)
{
    while (client->waiting.first) {
        const size_t server = free_server(client, now);
        struct transfer *t;
        if (server == SIZE_MAX) return CN_OK;
        CN_TRY(transfer_open(&client->waiting, (size_t)client->settings->batch, now, &t));
        t->server = server;
        curl_easy_setopt(t->easy, CURLOPT_URL, client->server[server].url);
        curl_easy_setopt(t->easy, CURLOPT_HTTPHEADER, client->headers);
        if (curl_multi_add_handle(client->multi, t->easy)) {
            transfer_take_back(t, &client->waiting);
            transfer_close(t);
            return cn_fail(CN_ERR_MEMORY, "out of memory for a request");
        }
        t->next = client->active;
        client->active = t;
        client->server[server].active++;
    }
    return CN_OK;
}

/* Answers whose time is over. */
static void expire(struct cn_service_client *client, double now)
{
    for (struct transfer_item **link = &client->waiting.first; *link;) {
        struct transfer_item *item = *link;
        if (now < item->deadline) {
            link = &item->next;
            continue;
        }
        *link = item->next;
        give_up(client, item);
    }
    client->waiting.last = NULL;
    for (struct transfer_item *i = client->waiting.first; i; i = i->next)
        client->waiting.last = i;
}

/* ---- receiving ----------------------------------------------------------- */

static void rest(struct cn_service_client *client, struct transfer *t, const char *why)
{
    struct server *server = &client->server[t->server];
    curl_off_t asked = 0;
    double pause = rest_first_s * (double)(1u << (server->failures < 10 ? server->failures : 10));
    if (pause > rest_most_s) pause = rest_most_s;
    pause *= jitter(client);
    curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &asked);
    if (asked > 0 && asked < 60 && pause < (double)asked) pause = (double)asked;
    if (server->failures++ == 0) cn_log_warn("%s: %s; trying again", server->url, why);
    server->rests_until = now_s() + pause;
    transfer_take_back(t, &client->waiting);
}

/* A request that the server does not understand: its answers go alone, one that fails alone is
 * unscored. */
static void divide(struct cn_service_client *client, struct transfer *t, long code)
{
    struct transfer_item *only = t->items.first;
    if (!only->next) {
        cn_log_warn("%s refused an answer (HTTP %ld): %.200s", client->server[t->server].url, code,
                    t->reply.length ? t->reply.data : "");
        t->items = (struct transfer_list){NULL, NULL};
        give_up(client, only);
        return;
    }
    for (struct transfer_item *i = t->items.first; i; i = i->next)
        i->alone = true;
    transfer_take_back(t, &client->waiting);
}

static enum cn_status finish(struct cn_service_client *client, struct transfer *t, CURLcode result)
{
    struct server *server = &client->server[t->server];
    long code = 0;
    char why[64];
    if (result != CURLE_OK) {
        rest(client, t, curl_easy_strerror(result));
        return CN_OK;
    }
    curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &code);
    if (code == 401 || code == 403 || code == 404)
        return cn_fail(CN_ERR_VERIFIER, "%s answers HTTP %ld: %s", server->url, code,
                       code == 404 ? "no reward service is there"
                                   : "set service.token_file to the file with its token");
    if (code == 400 || code == 413) {
        divide(client, t, code);
        return CN_OK;
    }
    if (code == 200 && transfer_read(t) == CN_OK) {
        server->failures = 0;
        while (t->items.first) {
            struct transfer_item *item = t->items.first;
            t->items.first = item->next;
            settle(client, item);
        }
        return CN_OK;
    }
    cn_fail_clear();
    snprintf(why, sizeof why, code == 200 ? "its reply is not ours" : "HTTP %ld", code);
    rest(client, t, why);
    return CN_OK;
}

static enum cn_status receive(struct cn_service_client *client)
{
    int left;
    for (CURLMsg *message; (message = curl_multi_info_read(client->multi, &left)) != NULL;) {
        struct transfer **link = &client->active;
        if (message->msg != CURLMSG_DONE) continue;
        const CURLcode result = message->data.result;
        while ((*link)->easy != message->easy_handle)
            link = &(*link)->next;
        struct transfer *t = *link;
        *link = t->next;
        client->server[t->server].active--;
        curl_multi_remove_handle(client->multi, t->easy);
        const enum cn_status status = finish(client, t, result);
        if (status != CN_OK) transfer_take_back(t, &client->waiting);
        transfer_close(t);
        CN_TRY(status);
    }
    return CN_OK;
}

enum cn_status cn_service_client_drive(struct cn_service_client *client, double wait_s,
                                       size_t *pending)
{
    const double now = now_s();
    int running = 0;
    for (size_t i = 0; i < client->n_servers; i++) {
        const struct server *s = &client->server[i];
        if (client->waiting.first && s->rests_until > now && s->rests_until - now < wait_s)
            wait_s = s->rests_until - now;
    }
    CN_TRY(send_waiting(client, now));
    curl_multi_perform(client->multi, &running);
    CN_TRY(receive(client));
    CN_TRY(send_waiting(client, now_s()));
    curl_multi_perform(client->multi, &running);
    if (client->pending) curl_multi_poll(client->multi, NULL, 0, (int)(1e3 * wait_s), NULL);
    curl_multi_perform(client->multi, &running);
    CN_TRY(receive(client));
    expire(client, now_s());
    *pending = client->pending;
    return CN_OK;
}

void cn_service_client_wake(struct cn_service_client *client)
{
    curl_multi_wakeup(client->multi);
}
