/* The reward service: answers come in over HTTP, scores and verdicts go out.  The server scores in
 * confined, killable processes; the client hands the trainer's answers to such servers.
 *
 * Implemented in rewards/service.  A build without CN_WITH_SERVICE refuses both with CN_ERR_CONFIG.
 */
#ifndef CARNOT_SERVICE_H
#define CARNOT_SERVICE_H

#include "carnot/reward.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CN_SERVICE_METRICS_MAX = 64 };

/* What came of one answer: all rewards of the configuration together. */
struct cn_service_metric {
    struct cn_text name; /* "REWARD/what", REWARD/mean is that reward's score */
    double value;
};

struct cn_service_result {
    bool has_score, has_reward; /* false: could not be judged; to be masked, never a 0 */
    double score;               /* the first reward's */
    double reward;              /* the weighted sum */
    enum cn_verdict verdict;
    struct cn_text extracted;       /* may be empty */
    struct cn_text gold_type, tier; /* how the first reward decided; may be empty */
    uint32_t ops;                   /* operations that took */
    struct cn_service_metric metric[CN_SERVICE_METRICS_MAX];
    size_t n_metrics;
};

/* Scores one answer.  Pieces of `out` are borrowed from the episode or live in `arena`.  Must be
 * deterministic unless the cache is switched off.  A failure leaves that answer unscored. */
struct cn_service_scorer {
    void *self;
    enum cn_status (*score)(void *self, const struct cn_episode *episode, struct cn_arena *arena,
                            struct cn_service_result *out);
    const char *rules;    /* what is scored, and how, as JSON: answered by /version */
    bool starts_programs; /* needs fork and exec: its workers run without the system call filter */
};

enum cn_service_mode { CN_SERVICE_IN_PROCESS, CN_SERVICE_SPAWN, CN_SERVICE_URLS };

/* The section `service` of the configuration; the table says what each key means. */
struct cn_service_settings {
    int mode; /* enum cn_service_mode */
    /* client */
    struct cn_texts urls;
    double timeout_s;
    int64_t batch;
    /* client and server */
    const char *token_file;
    /* server */
    const char *host;
    int64_t port, workers, code_workers, queue, cache, connections;
    double item_timeout_s, queue_wait_s, idle_s, stop_s, unscored;
    int64_t body_mb, buffer_mb, memory_mb;
    bool insecure, code_insecure;
    struct cn_texts allow, special_tokens;
};
extern const struct cn_option cn_service_options[];

/* Serves until SIGTERM or SIGINT, then finishes what it has accepted (a second signal ends it at
 * once).  announce: file descriptor that gets "http://HOST:PORT\n" once the port is open, or -1.
 * Returns CN_OK after a graceful stop.  Fails: CN_ERR_CONFIG (an address beyond this machine
 * without a token; a token file that cannot be used), CN_ERR_IO (port in use). */
enum cn_status cn_service_run(const struct cn_service_settings *settings,
                              const struct cn_service_scorer *scorer, int announce);

/* ---- client: many answers at many servers; one thread at a time ---------- */

struct cn_service_client;

/* urls (n): base addresses, "http://127.0.0.1:8080".  Does not connect yet.
 * Fails: CN_ERR_CONFIG naming the address or the token file. */
enum cn_status cn_service_client_open(const struct cn_service_settings *settings,
                                      const char *const *urls, size_t n,
                                      struct cn_service_client **out);
void cn_service_client_close(struct cn_service_client *take_client);

/* Hands one answer over; `episode` is copied, `out` is written by a later call of drive and its
 * pieces live in `arena`.  Fails: CN_ERR_MEMORY. */
enum cn_status cn_service_client_add(struct cn_service_client *client,
                                     const struct cn_episode *episode, struct cn_arena *arena,
                                     struct cn_service_result *out);

/* Sends and receives for at most `wait_s`; *pending: answers that are still under way.  An answer
 * that no server could judge within settings->timeout_s of its hand-over is `unscored`.  Fails:
 * CN_ERR_VERIFIER if a server refuses us for good (401, 403, 404), CN_ERR_MEMORY. */
enum cn_status cn_service_client_drive(struct cn_service_client *client, double wait_s,
                                       size_t *pending);

/* Ends a wait of drive early; the one call that another thread may make. */
void cn_service_client_wake(struct cn_service_client *client);

#ifdef __cplusplus
}
#endif
#endif
