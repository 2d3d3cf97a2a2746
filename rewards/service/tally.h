/* What the service counts, and its page for Prometheus. */
#ifndef CARNOT_SERVICE_TALLY_H
#define CARNOT_SERVICE_TALLY_H

#include "crew.h"
#include "request.h"

/* name in the labels, path */
#define SERVICE_ROUTES(X)                                                                          \
    X(SCORE, "score", "/v1/score")                                                                 \
    X(GET_REWARD, "get_reward", "/get_reward")                                                     \
    X(RM, "rm", "/rm")                                                                             \
    X(RUN_CODE, "run_code", "/run_code")                                                           \
    X(PING, "ping", "/v1/ping")                                                                    \
    X(HEALTH, "health", "/health")                                                                 \
    X(METRICS, "metrics", "/metrics")                                                              \
    X(VERSION, "version", "/version")                                                              \
    X(OTHER, "other", "")

enum service_route {
#define X(name, label, path) ROUTE_##name,
    SERVICE_ROUTES(X)
#undef X
        ROUTE_COUNT
};

enum { TALLY_CODES = 16, TALLY_BUCKETS = 12 };

struct tally {
    uint64_t answered[ROUTE_COUNT][TALLY_CODES]; /* by route and place in the list of codes */
    uint64_t verdicts[CN_VERDICT_COUNT];
    uint64_t bucket[TALLY_BUCKETS + 1]; /* seconds of requests that score */
    double seconds;
    uint64_t cache_hits, cache_shared, unscored_numbers, body_bytes;
    double score_sum;
    uint64_t score_count;
};

void tally_answer(struct tally *tally, enum service_route route, unsigned code);
void tally_seconds(struct tally *tally, double seconds);
void tally_result(struct tally *tally, const struct cn_service_result *result);

/* What is true now, beside what was counted. */
struct tally_now {
    struct crew_counts crew;
    size_t open_items, waiting_requests, connections, buffered_bytes;
    double queue_age_s, up_s;
    const char *rules;
};

/* Appends the page.  Prometheus text format 0.0.4. */
enum cn_status tally_page(const struct tally *tally, const struct tally_now *now,
                          struct cn_str *out);

#endif
