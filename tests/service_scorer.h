/* A scorer for tests of the service, whose answers say what is to happen to the worker:
 *
 *     17           score 17                    crash        a null pointer is written to
 *     spin MS      takes that long             loop         never ends
 *     count        how many were counted       fail         the reward fails
 *     memory MB    takes that much             do CALL      open socket fork kill exec code
 */
#ifndef CARNOT_SERVICE_SCORER_H
#define CARNOT_SERVICE_SCORER_H

#include "service_http.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>

static inline bool starts_with(struct cn_text text, const char *word)
{
    return text.length >= strlen(word) && memcmp(text.data, word, strlen(word)) == 0;
}

/* What a confined worker must not be able to do; returning from here is a failure of the test. */
static inline void forbidden(struct cn_text what)
{
    char *argv[] = {NULL};
    if (cn_text_is(what, "do open")) open("/etc/passwd", O_RDONLY);
    if (cn_text_is(what, "do socket")) socket(AF_INET, SOCK_STREAM, 0);
    if (cn_text_is(what, "do fork") && fork() == 0) _exit(0);
    if (cn_text_is(what, "do kill")) kill(getppid(), 0);
    if (cn_text_is(what, "do exec")) execv("/bin/true", argv);
    if (cn_text_is(what, "do code"))
        mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static inline enum cn_status test_score(void *self, const struct cn_episode *episode,
                                        struct cn_arena *arena, struct cn_service_result *out)
{
    static unsigned counted;
    const struct cn_text text = episode->response;
    char number[32] = "";
    const char *space = memchr(text.data, ' ', text.length);
    const size_t n = space ? text.length - (size_t)(space + 1 - text.data) : text.length;
    (void)self;
    memcpy(number, space ? space + 1 : text.data, n < 31 ? n : 31);
    double value = starts_with(text, "count") ? ++counted : strtod(number, NULL);
    if (space && text.data[0] >= '0' && text.data[0] <= '9') value = text.data[0] - '0';
    if (starts_with(text, "crash")) *(volatile int *)(uintptr_t)(text.length & 1) = 1;
    while (starts_with(text, "loop"))
        atomic_signal_fence(memory_order_seq_cst);
    if (starts_with(text, "fail")) return cn_fail(CN_ERR_DATA, "asked to fail");
    if (starts_with(text, "do ")) forbidden(text);
    for (const double until = http_now() + value / 1e3;
         starts_with(text, "spin") && http_now() < until;) {
    }
    if (starts_with(text, "memory")) {
        char *block;
        CN_TRY(cn_arena_alloc(arena, (size_t)value << 20, 1, &block));
        memset(block, 1, (size_t)value << 20);
    }
    *out = (struct cn_service_result){.score = value,
                                      .reward = value,
                                      .has_score = true,
                                      .has_reward = true,
                                      .verdict = CN_VERDICT_WRONG,
                                      .extracted = text};
    return CN_OK;
}

static const struct cn_service_scorer test_scorer = {.score = test_score, .rules = "[\"test\"]"};

/* Whether this build has the service; says so if not. */
static inline bool service_is_built(void)
{
    struct cn_service_client *client;
    const struct cn_service_settings none = {.token_file = NULL};
    const char *url = "http://127.0.0.1:1";
    const bool built = cn_service_client_open(&none, &url, 1, &client) == CN_OK;
    if (built)
        cn_service_client_close(client);
    else
        printf("SKIPPED: %s\n", cn_fail_message());
    cn_fail_clear();
    return built;
}

#endif
