/* carnot bench rewards: what each reward measures of itself, and the throughput of the service with
 * a client on this machine.
 *
 * The client is one thread of raw sockets, so that what it costs is small against what it measures;
 * every answer is another one, and nothing is cached. */
#include "bench.h"

#include "../clock.h"
#include "../scoring/own_service.h"

#include "carnot/log.h"
#include "carnot/reward.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS = 16, PER_REQUEST = 32, ANSWER_BYTES = 1000, REPLY_MAX = 1 << 18, SECONDS = 3 };
enum { HEAD_ROOM = 256, BODY_ROOM = PER_REQUEST * (ANSWER_BYTES + 256) + 2 * HEAD_ROOM };

struct line {
    int fd;
    size_t length, sent, got;
    char body[BODY_ROOM]; /* request with its head */
    char reply[REPLY_MAX];
};

struct load {
    struct line line[CONNECTIONS];
    struct pollfd wait[CONNECTIONS];
    unsigned long long serial, samples, wrong;
};

/* ---- requests ------------------------------------------------------------ */

/* A step of a worked answer, for length. */
static const char filler[] = "First we add the apples of both baskets, 12 + 5 = 17, and then "
                             "we take away those that were eaten, so we must subtract. ";

static size_t write_item(char *body, unsigned long long id, bool first)
{
    size_t n =
        (size_t)sprintf(body, "%s{\"id\": %llu, \"ground_truth\": \"%llu\", \"response\": \"",
                        first ? "" : ", ", id, id % 1000);
    for (size_t written = 0; written < ANSWER_BYTES;) {
        const size_t left = ANSWER_BYTES - written;
        const size_t piece = left < sizeof filler - 1 ? left : sizeof filler - 1;
        memcpy(body + n, filler, piece);
        n += piece;
        written += piece;
    }
    return n + (size_t)sprintf(body + n, "%llu\\n#### %llu\"}", id, id % 2 ? id % 1000 : 1001);
}

static void write_request(struct load *load, struct line *line)
{
    char *body = line->body, head[HEAD_ROOM];
    size_t n = HEAD_ROOM; /* the head goes before */
    n += (size_t)sprintf(body + n, "{\"items\": [");
    for (size_t i = 0; i < PER_REQUEST; i++)
        n += write_item(body + n, load->serial++, i == 0);
    n += (size_t)sprintf(body + n, "]}");
    const size_t h = (size_t)snprintf(head, sizeof head,
                                      "POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                                      "application/json\r\nContent-Length: %zu\r\n\r\n",
                                      n - HEAD_ROOM);
    memmove(body + h, body + HEAD_ROOM, n - HEAD_ROOM);
    memcpy(body, head, h);
    line->length = n - HEAD_ROOM + h;
    line->sent = line->got = 0;
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

/* Whether the reply is complete; half of the answers in it must be right. */
static bool complete(struct load *load, struct line *line)
{
    line->reply[line->got] = 0;
    const char *end = strstr(line->reply, "\r\n\r\n");
    const char *length = end ? strstr(line->reply, "Content-Length: ") : NULL;
    if (!length || line->got < (size_t)(end + 4 - line->reply) + strtoul(length + 16, NULL, 10))
        return false;
    const size_t right = count(end, "\"verdict\": \"correct\""),
                 wrong = count(end, "\"verdict\": \"wrong\"");
    load->wrong += right != wrong || right + wrong != PER_REQUEST;
    load->samples += right + wrong;
    return true;
}

/* ---- connections --------------------------------------------------------- */

static enum cn_status lost(void)
{
    return cn_fail(CN_ERR_IO, "bench rewards: the service hung up: %s", strerror(errno));
}

static enum cn_status turn(struct load *load, size_t i)
{
    struct line *line = &load->line[i];
    if (load->wait[i].revents & POLLOUT) {
        const ssize_t n = send(line->fd, line->body + line->sent, line->length - line->sent,
                               MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno != EAGAIN) return lost();
        line->sent += n > 0 ? (size_t)n : 0;
    }
    if (load->wait[i].revents & (POLLIN | POLLHUP)) {
        const ssize_t n = recv(line->fd, line->reply + line->got, REPLY_MAX - line->got - 1, 0);
        if (n <= 0) return lost();
        line->got += (size_t)n;
        if (complete(load, line)) write_request(load, line);
    }
    load->wait[i].events = line->sent < line->length ? POLLIN | POLLOUT : POLLIN;
    return CN_OK;
}

static enum cn_status connect_lines(struct load *load, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < CONNECTIONS; i++) {
        struct line *line = &load->line[i];
        line->fd = socket(AF_INET, SOCK_STREAM, 0);
        if (line->fd < 0 || connect(line->fd, (struct sockaddr *)&address, sizeof address))
            return lost();
        write_request(load, line);
        load->wait[i] = (struct pollfd){.fd = line->fd, .events = POLLIN | POLLOUT};
    }
    return CN_OK;
}

static enum cn_status run(struct load *load)
{
    struct bench_watch watch;
    bench_watch_start(&watch);
    const double begun = clock_seconds();
    while (clock_seconds() - begun < SECONDS) {
        if (poll(load->wait, CONNECTIONS, 1000) <= 0) return lost();
        for (size_t i = 0; i < CONNECTIONS; i++)
            if (load->wait[i].revents) CN_TRY(turn(load, i));
    }
    bench_row(
        &watch,
        "service: %.0f samples/s of %d bytes, %d a request over %d connections, %llu replies wrong",
        (double)load->samples / (clock_seconds() - begun), ANSWER_BYTES, PER_REQUEST, CONNECTIONS,
        load->wrong);
    return CN_OK;
}

/* The load is the server's too: what it and its workers use is not somebody else's. */
static enum cn_status bench_service(void)
{
    static const char config[] = "{\"service\": {\"cache\": 0, \"code_workers\": 0}}";
    struct own_service *own;
    struct load *load = calloc(1, sizeof *load);
    if (!load) return cn_fail(CN_ERR_MEMORY, "bench rewards: out of memory");
    enum cn_status status = own_service_start(cn_text(config), &own);
    if (status == CN_OK) {
        status = connect_lines(load, atoi(strrchr(own_service_url(own), ':') + 1));
        if (status == CN_OK) status = run(load);
        for (size_t i = 0; i < CONNECTIONS; i++)
            if (load->line[i].fd > 0) close(load->line[i].fd);
        own_service_stop(own);
    }
    free(load);
    return status;
}

/* ---- the rewards --------------------------------------------------------- */

/* A part that this build or machine does not have says so and is left out. */
static enum cn_status left_out(enum cn_status status, const char *what)
{
    if (status != CN_ERR_CONFIG && status != CN_ERR_VERIFIER) return status;
    cn_log_info("%s left out: %s", what, cn_fail_message());
    cn_fail_clear();
    return CN_OK;
}

enum cn_status bench_rewards(const struct bench_options *options)
{
    const char *folder = options->n_rest ? options->rest[0] : "tests/data";
    for (size_t i = 0; cn_rewards[i]; i++)
        if (cn_rewards[i]->bench)
            CN_TRY(left_out(cn_rewards[i]->bench(folder), cn_rewards[i]->name));
    return left_out(bench_service(), "service");
}
