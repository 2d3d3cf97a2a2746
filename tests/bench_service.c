/* Throughput of carnot serve-rewards, client on the same machine:
 *
 *     bench_service [seconds] [samples per request] [connections] [workers] [bytes per answer]
 *
 * Starts build/bin/carnot beside itself with service.cache=0, keeps `connections` requests under
 * way and counts scored samples; every answer is another one.  The client is one thread of raw
 * sockets, so that what it costs is small against what it measures.  Not a test: nothing fails
 * here. */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, REPLY_MAX = 1 << 22 };

struct line {
    int fd;
    char *body; /* request with its head */
    size_t length, sent, got;
    char *reply;
    double begun;
};

struct bench {
    double seconds;
    size_t per_request, connections, workers, bytes;
    struct line line[CONNECTIONS_MAX];
    struct pollfd wait[CONNECTIONS_MAX];
    unsigned long long serial, samples, requests, wrong;
    double *latency;
    size_t n_latency;
    long resident_early, resident_late; /* KiB */
    int port;
    pid_t server;
};

static double now_s(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the server ----------------------------------------------------------------------------- */

static int start_server(struct bench *b, const char *self)
{
    char program[4096], announce[32], workers[64], url[64] = "";
    int ends[2];
    const char *slash = strrchr(self, '/');
    snprintf(program, sizeof program, "%.*scarnot", slash ? (int)(slash - self) + 1 : 0, self);
    if (pipe(ends)) return -1;
    snprintf(announce, sizeof announce, "%d", ends[1]);
    snprintf(workers, sizeof workers, "service.workers=%zu", b->workers);
    b->server = fork();
    if (b->server == 0) {
        close(ends[0]);
        execl(program, program, "serve-rewards", "service.port=0", "service.cache=0",
              "service.code_workers=0", workers, "--announce", announce, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    const ssize_t n = read(ends[0], url, sizeof url - 1);
    close(ends[0]);
    const char *colon = n > 0 ? strrchr(url, ':') : NULL;
    b->port = colon ? atoi(colon + 1) : 0;
    return b->port ? 0 : -1;
}

/* ---- requests ------------------------------------------------------------------------------- */

/* A step of a worked answer, for length. */
static const char filler[] = "First we add the apples of both baskets, 12 + 5 = 17, and then "
                             "we take away those that were eaten, so we must subtract. ";

static void write_request(struct bench *b, struct line *line)
{
    const size_t room = b->per_request * (b->bytes + 256) + 512;
    size_t n = 256; /* the head goes before */
    if (!line->body) line->body = malloc(room);
    char *body = line->body;
    n += (size_t)sprintf(body + n, "{\"items\": [");
    for (size_t i = 0; i < b->per_request; i++) {
        const unsigned long long id = b->serial++;
        n += (size_t)sprintf(body + n,
                             "%s{\"id\": %llu, \"ground_truth\": \"%llu\", \"response\": \"",
                             i ? ", " : "", id, id % 1000);
        for (size_t written = 0; written < b->bytes;) {
            const size_t left = b->bytes - written;
            const size_t piece = left < sizeof filler - 1 ? left : sizeof filler - 1;
            memcpy(body + n, filler, piece);
            n += piece;
            written += piece;
        }
        n += (size_t)sprintf(body + n, "%llu\\n#### %llu\"}", id, id % 2 ? id % 1000 : 1001);
    }
    n += (size_t)sprintf(body + n, "]}");
    char head[256];
    const int h = snprintf(head, sizeof head,
                           "POST /v1/score HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: "
                           "application/json\r\nContent-Length: %zu\r\n\r\n",
                           n - 256);
    memmove(body + h, body + 256, n - 256);
    memcpy(body, head, (size_t)h);
    line->length = n - 256 + (size_t)h;
    line->sent = line->got = 0;
    line->begun = now_s();
}

static size_t count(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *at = text; (at = strstr(at, what)) != NULL; at += strlen(what))
        n++;
    return n;
}

/* Whether the reply is complete; checks it. */
static int complete(struct bench *b, struct line *line)
{
    line->reply[line->got] = 0;
    const char *end = strstr(line->reply, "\r\n\r\n");
    const char *length = end ? strstr(line->reply, "Content-Length: ") : NULL;
    if (!length || line->got < (size_t)(end + 4 - line->reply) + strtoul(length + 16, NULL, 10))
        return 0;
    const size_t right = count(end, "\"verdict\": \"correct\""),
                 wrong = count(end, "\"verdict\": \"wrong\"");
    if (right + wrong != b->per_request || (b->per_request % 2 == 0 && right != wrong)) b->wrong++;
    b->samples += right + wrong;
    b->requests++;
    b->latency[b->n_latency++ % (1 << 20)] = now_s() - line->begun;
    return 1;
}

static int turn(struct bench *b, size_t i)
{
    struct line *line = &b->line[i];
    if (b->wait[i].revents & POLLOUT) {
        const ssize_t n =
            send(line->fd, line->body + line->sent, line->length - line->sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN) return -1;
        line->sent += n > 0 ? (size_t)n : 0;
    }
    if (b->wait[i].revents & (POLLIN | POLLHUP)) {
        const ssize_t n = recv(line->fd, line->reply + line->got, REPLY_MAX - line->got - 1, 0);
        if (n <= 0) return -1;
        line->got += (size_t)n;
        if (complete(b, line)) write_request(b, line);
    }
    b->wait[i].events = line->sent < line->length ? POLLIN | POLLOUT : POLLIN;
    return 0;
}

/* Resident KiB of the server. */
static long resident(const struct bench *b)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)b->server);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / 1024;
}

static int run(struct bench *b)
{
    const double begun = now_s(), until = begun + b->seconds;
    while (now_s() < until) {
        if (!b->resident_early && now_s() > begun + b->seconds / 5) b->resident_early = resident(b);
        if (poll(b->wait, b->connections, 1000) <= 0) return -1;
        for (size_t i = 0; i < b->connections; i++)
            if (b->wait[i].revents && turn(b, i)) return -1;
    }
    return 0;
}

static int open_lines(struct bench *b)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)b->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (size_t i = 0; i < b->connections; i++) {
        b->line[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        b->line[i].reply = malloc(REPLY_MAX);
        if (connect(b->line[i].fd, (struct sockaddr *)&address, sizeof address)) return -1;
        write_request(b, &b->line[i]);
        b->wait[i] = (struct pollfd){.fd = b->line[i].fd, .events = POLLIN | POLLOUT};
    }
    return 0;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double cpu_of(int who)
{
    struct rusage used;
    getrusage(who, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
           1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
}

static double number(int argc, char **argv, int at, double fallback)
{
    return argc > at ? atof(argv[at]) : fallback;
}

int main(int argc, char **argv)
{
    static struct bench b;
    b.seconds = number(argc, argv, 1, 5);
    b.per_request = (size_t)number(argc, argv, 2, 32);
    b.connections = (size_t)number(argc, argv, 3, 16);
    b.workers = (size_t)number(argc, argv, 4, 2);
    b.bytes = (size_t)number(argc, argv, 5, 1000);
    b.latency = malloc((1 << 20) * sizeof *b.latency);
    if (b.connections > CONNECTIONS_MAX || start_server(&b, argv[0]) || open_lines(&b)) return 1;
    const double start = now_s();
    const int failed = run(&b);
    const double seconds = now_s() - start;
    b.resident_late = resident(&b);
    kill(b.server, SIGTERM);
    for (size_t i = 0; i < b.connections; i++)
        close(b.line[i].fd);
    waitpid(b.server, NULL, 0);
    const size_t n = b.n_latency < 1 << 20 ? b.n_latency : 1 << 20;
    qsort(b.latency, n, sizeof *b.latency, ascending);
    printf("%.0f samples/s, %.0f requests/s of %zu samples of %zu bytes over %zu connections, "
           "%zu workers; %llu replies wrong%s\n",
           (double)b.samples / seconds, (double)b.requests / seconds, b.per_request, b.bytes,
           b.connections, b.workers, b.wrong, failed ? "; ENDED EARLY" : "");
    printf("latency of a request: median %.2f ms, 99 %% %.2f ms; cpu: client %.2f s, server and "
           "workers %.2f s of %.2f s\n",
           n ? 1e3 * b.latency[n / 2] : 0, n ? 1e3 * b.latency[n * 99 / 100] : 0,
           cpu_of(RUSAGE_SELF), cpu_of(RUSAGE_CHILDREN), seconds);
    printf("%llu requests; memory of the server: %ld KiB after a fifth, %ld KiB at the end\n",
           b.requests, b.resident_early, b.resident_late);
    return failed || b.wrong;
}
