/* libFuzzer: bytes at the service's door, from the request line to the body.  launch/fuzz runs it.
 *
 * The server runs in a thread of this program, so that what it does guides the search; each input
 * is one connection that is closed for writing behind it. */
#include "service_http.h"

#include <pthread.h>
#include <stdint.h>

enum { ASK_EVERY = 64, SHORT_MS = 3, LONG_MS = 10000 };

static int door;

static enum cn_status score(void *self, const struct cn_episode *episode, struct cn_arena *arena,
                            struct cn_service_result *out)
{
    (void)self, (void)arena;
    *out = (struct cn_service_result){.has_score = true,
                                      .has_reward = true,
                                      .verdict = CN_VERDICT_CORRECT,
                                      .extracted = episode->response};
    return CN_OK;
}

static void *serve(void *announce)
{
    static const struct cn_service_scorer scorer = {.score = score, .rules = "[]"};
    static const char *const allow[] = {"127.0.0.0/8"};
    struct cn_service_settings settings;
    struct cn_arena arena = {0};
    if (cn_option_read(cn_service_options, NULL, "service", NULL, &arena, &settings) == CN_OK) {
        settings.port = settings.code_workers = 0;
        settings.workers = 1;
        settings.body_mb = 1;
        settings.idle_s = 1;
        settings.allow = (struct cn_texts){allow, 1};
        cn_service_run(&settings, &scorer, *(int *)announce);
    }
    fprintf(stderr, "the server ended: %s\n", cn_fail_message());
    abort();
}

static void start(void)
{
    static int ends[2];
    static pthread_t thread;
    char url[64] = "";
    signal(SIGPIPE, SIG_IGN);
    if (pipe(ends) || pthread_create(&thread, NULL, serve, &ends[1]) ||
        read(ends[0], url, sizeof url - 1) < 8)
        abort();
    door = atoi(strrchr(url, ':') + 1);
}

/* Sends the bytes and reads until nothing comes for so long; returns whether the reply is a 200. */
static bool ask(const uint8_t *bytes, size_t size, int wait_ms)
{
    char reply[4096], head[16] = "";
    const int fd = http_connect(door);
    if (fd < 0) abort();
    for (size_t sent = 0; sent < size;) {
        const ssize_t n = send(fd, bytes + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0) break; /* it hung up: its right */
        sent += (size_t)n;
    }
    shutdown(fd, SHUT_WR);
    const struct timeval most = {wait_ms / 1000, 1000 * (wait_ms % 1000)};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    for (ssize_t n; (n = recv(fd, reply, sizeof reply, 0)) > 0;)
        if (!head[0]) memcpy(head, reply, n < 12 ? (size_t)n : 12);
    close(fd);
    return strcmp(head, "HTTP/1.1 200") == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const char health[] = "GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    static unsigned asked;
    if (!door) start();
    ask(bytes, size, SHORT_MS);
    if (++asked % ASK_EVERY == 0 && !ask((const uint8_t *)health, sizeof health - 1, LONG_MS))
        abort();
    return 0;
}
