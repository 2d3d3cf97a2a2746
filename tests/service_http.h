/* For tests of the service: a server in a child, and an HTTP client of raw sockets. */
#ifndef CARNOT_SERVICE_HTTP_H
#define CARNOT_SERVICE_HTTP_H

#include "carnot/service.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static inline double http_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static inline void http_pause(double seconds)
{
    const struct timespec t = {(time_t)seconds, (long)(1e9 * (seconds - (double)(time_t)seconds))};
    nanosleep(&t, NULL);
}

/* ---- the server ---------------------------------------------------------- */

struct http_server {
    pid_t pid;
    int port;
    char url[64];
};

/* Serves `scorer` in a child until it is stopped.  Fails: CN_ERR_IO if it does not come up. */
static inline enum cn_status http_start(const struct cn_service_settings *settings,
                                        const struct cn_service_scorer *scorer,
                                        struct http_server *out)
{
    int ends[2];
    memset(out, 0, sizeof *out);
    if (pipe(ends)) return cn_fail(CN_ERR_IO, "pipe");
    fflush(NULL);
    out->pid = fork();
    if (out->pid == 0) {
        close(ends[0]);
        freopen("/dev/null", "w", stderr);
        const enum cn_status status = cn_service_run(settings, scorer, ends[1]);
        _exit(cn_status_exit_code(status));
    }
    close(ends[1]);
    ssize_t n = read(ends[0], out->url, sizeof out->url - 1);
    close(ends[0]);
    if (n <= 1) return cn_fail(CN_ERR_IO, "the server says nothing");
    out->url[n - 1] = 0;
    out->port = atoi(strrchr(out->url, ':') + 1);
    return CN_OK;
}

/* Ends the server with a signal; its exit code, or -1 if it did not exit. */
static inline int http_stop(const struct http_server *server, int number)
{
    int status = 0;
    if (server->pid <= 0) return -1;
    kill(server->pid, number);
    waitpid(server->pid, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

/* Processes whose parent is `pid` (workers), at most `most`; returns how many. */
static inline size_t http_children(pid_t pid, pid_t *out, size_t most)
{
    char path[64];
    size_t n = 0;
    long child;
    snprintf(path, sizeof path, "/proc/%d/task/%d/children", (int)pid, (int)pid);
    FILE *file = fopen(path, "r");
    while (file && n < most && fscanf(file, "%ld", &child) == 1)
        out[n++] = (pid_t)child;
    if (file) fclose(file);
    return n;
}

/* ---- the client ---------------------------------------------------------- */

static inline int http_connect(int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address)) {
        close(fd);
        return -1;
    }
    return fd;
}

static inline bool http_send(int fd, const char *data, size_t length)
{
    for (size_t done = 0; done < length;) {
        const ssize_t n = send(fd, data + done, length - done, MSG_NOSIGNAL);
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

/* Reads one reply; its code, 0 if the connection ended before it was complete.  Keep-alive works.
 * The body (may be NULL) is the caller's to free. */
static inline unsigned http_receive(int fd, struct cn_str *head, struct cn_str *body)
{
    struct cn_str all = {NULL, 0, 0};
    char piece[16384];
    size_t need = SIZE_MAX, begin = 0;
    unsigned code = 0;
    while (all.length < need) {
        const ssize_t n = recv(fd, piece, sizeof piece, 0);
        if (n <= 0 || cn_str_append(&all, piece, (size_t)n) != CN_OK) break;
        const char *end = need == SIZE_MAX ? strstr(all.data, "\r\n\r\n") : NULL;
        if (!end) continue;
        const char *length = strcasestr(all.data, "\r\nContent-Length: ");
        begin = (size_t)(end + 4 - all.data);
        need = begin + (length && length < end ? strtoul(length + 18, NULL, 10) : 0);
    }
    if (need != SIZE_MAX && all.length >= need) code = (unsigned)atoi(all.data + 9);
    if (head) cn_str_clear(head);
    if (body) cn_str_clear(body);
    if (code && head) cn_str_append(head, all.data, begin);
    if (code && body) cn_str_append(body, all.data + begin, all.length - begin);
    cn_str_free(&all);
    return code;
}

static inline bool http_send_post(int fd, const char *path, const char *headers,
                                  struct cn_text body)
{
    struct cn_str head = {NULL, 0, 0};
    cn_str_format(&head,
                  "POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
                  "%sContent-Length: %zu\r\n\r\n",
                  path, headers, body.length);
    cn_str_append(&head, body.data, body.length); /* one piece: no wait for an acknowledgement */
    const bool sent = http_send(fd, head.data, head.length);
    cn_str_free(&head);
    return sent;
}

/* One request on a connection of its own; code 0: no complete reply. */
static inline unsigned http_post(int port, const char *path, const char *text, struct cn_str *body)
{
    const int fd = http_connect(port);
    unsigned code = 0;
    if (fd < 0) return 0;
    if (http_send_post(fd, path, "", cn_text(text))) code = http_receive(fd, NULL, body);
    close(fd);
    return code;
}

static inline unsigned http_get(int port, const char *path, const char *headers,
                                struct cn_str *body)
{
    char request[1024];
    const int fd = http_connect(port);
    unsigned code = 0;
    if (fd < 0) return 0;
    const int n = snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
                           path, headers);
    if (http_send(fd, request, (size_t)n)) code = http_receive(fd, NULL, body);
    close(fd);
    return code;
}

/* The number behind `name ` at the beginning of a line of /metrics; -1: not there. */
static inline double http_metric(int port, const char *name)
{
    struct cn_str page = {NULL, 0, 0};
    double value = -1;
    if (http_get(port, "/metrics", "", &page) == 200)
        for (const char *line = page.data; line; line = strchr(line, '\n')) {
            line += *line == '\n';
            if (strncmp(line, name, strlen(name)) == 0 && line[strlen(name)] == ' ')
                value = strtod(line + strlen(name), NULL);
        }
    cn_str_free(&page);
    return value;
}

#endif
