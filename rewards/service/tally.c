/* Counters, and the page that shows them. */
#include "tally.h"

#include <string.h>

static const unsigned codes[TALLY_CODES] = {200, 400, 401, 403, 404, 405, 408,
                                            411, 413, 500, 501, 503, 504, 0};

static const double bounds[TALLY_BUCKETS] = {0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05,
                                             0.1,    0.5,    1,     5,     10,   60};

static const char *const labels[] = {
#define X(name, label, path) label,
    SERVICE_ROUTES(X)
#undef X
};

void tally_answer(struct tally *tally, enum service_route route, unsigned code)
{
    size_t i = 0;
    while (i + 1 < TALLY_CODES && codes[i] && codes[i] != code)
        i++;
    tally->answered[route][i]++;
}

void tally_seconds(struct tally *tally, double seconds)
{
    size_t i = 0;
    while (i < TALLY_BUCKETS && seconds > bounds[i])
        i++;
    tally->bucket[i]++;
    tally->seconds += seconds;
}

void tally_result(struct tally *tally, const struct cn_service_result *result)
{
    tally->verdicts[result->verdict]++;
    if (!result->has_score) return;
    tally->score_sum += result->score;
    tally->score_count++;
}

/* ---- the page ------------------------------------------------------------ */

static enum cn_status head(struct cn_str *out, const char *name, const char *type, const char *help)
{
    return cn_str_format(out, "# HELP carnot_%s %s\n# TYPE carnot_%s %s\n", name, help, name, type);
}

static enum cn_status one(struct cn_str *out, const char *name, const char *help, double value)
{
    const size_t length = strlen(name);
    const bool counts = length > 6 && strcmp(name + length - 6, "_total") == 0;
    CN_TRY(head(out, name, counts ? "counter" : "gauge", help));
    return cn_str_format(out, "carnot_%s %.17g\n", name, value);
}

static enum cn_status requests(const struct tally *tally, struct cn_str *out)
{
    CN_TRY(head(out, "requests_total", "counter", "answered requests"));
    for (size_t r = 0; r < ROUTE_COUNT; r++)
        for (size_t c = 0; c < TALLY_CODES; c++)
            if (tally->answered[r][c])
                CN_TRY(
                    cn_str_format(out, "carnot_requests_total{endpoint=\"%s\",code=\"%u\"} %llu\n",
                                  labels[r], codes[c], (unsigned long long)tally->answered[r][c]));
    return CN_OK;
}

static enum cn_status verdicts(const struct tally *tally, struct cn_str *out)
{
    CN_TRY(head(out, "items_total", "counter", "scored answers by verdict"));
    for (unsigned v = 0; v < CN_VERDICT_COUNT; v++)
        CN_TRY(cn_str_format(out, "carnot_items_total{verdict=\"%s\"} %llu\n", cn_verdict_name(v),
                             (unsigned long long)tally->verdicts[v]));
    return CN_OK;
}

static enum cn_status seconds(const struct tally *tally, struct cn_str *out)
{
    uint64_t sum = 0;
    CN_TRY(
        head(out, "request_seconds", "histogram", "from the last byte in to the first byte out"));
    for (size_t i = 0; i < TALLY_BUCKETS; i++) {
        sum += tally->bucket[i];
        CN_TRY(cn_str_format(out, "carnot_request_seconds_bucket{le=\"%g\"} %llu\n", bounds[i],
                             (unsigned long long)sum));
    }
    sum += tally->bucket[TALLY_BUCKETS];
    return cn_str_format(out,
                         "carnot_request_seconds_bucket{le=\"+Inf\"} %llu\n"
                         "carnot_request_seconds_sum %.9g\ncarnot_request_seconds_count %llu\n",
                         (unsigned long long)sum, tally->seconds, (unsigned long long)sum);
}

enum cn_status tally_page(const struct tally *t, const struct tally_now *now, struct cn_str *out)
{
    const struct {
        const char *name, *help;
        double value;
    } rows[] = {
        {"queue_items", "answers that wait for a worker", (double)now->crew.queued},
        {"queue_age_seconds", "how long the oldest of them has waited", now->queue_age_s},
        {"scoring_items", "answers at workers", (double)now->crew.scoring},
        {"open_items", "answers accepted and not replied", (double)now->open_items},
        {"waiting_requests", "requests that wait for room in the queue",
         (double)now->waiting_requests},
        {"connections", "open connections", (double)now->connections},
        {"buffered_bytes", "request bodies in memory", (double)now->buffered_bytes},
        {"up_seconds", "since the start", now->up_s},
        {"workers", "workers alive", (double)now->crew.alive},
        {"workers_started_total", "workers started, the first ones included",
         (double)now->crew.started},
        {"worker_crash_total", "workers that died", (double)now->crew.crashed},
        {"worker_timeout_total", "workers killed because an answer took too long",
         (double)now->crew.timed_out},
        {"items_requeued_total", "answers given to another worker after a death",
         (double)now->crew.requeued},
        {"cache_hits_total", "answers whose result was known", (double)t->cache_hits},
        {"cache_shared_total", "answers that waited for the same answer", (double)t->cache_shared},
        {"unscored_numbers_total",
         "answers without a score that a protocol made the number service.unscored",
         (double)t->unscored_numbers},
        {"body_bytes_total", "bytes of request bodies", (double)t->body_bytes},
        {"score_sum", "sum of all scores", t->score_sum},
        {"score_count", "answers with a score", (double)t->score_count},
    };
    CN_TRY(head(out, "info", "gauge", "version and fingerprint of the rewards"));
    CN_TRY(
        cn_str_format(out, "carnot_info{version=\"%s\",rules=\"%s\"} 1\n", CN_VERSION, now->rules));
    CN_TRY(requests(t, out));
    CN_TRY(verdicts(t, out));
    CN_TRY(seconds(t, out));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CN_TRY(one(out, rows[i].name, rows[i].help, rows[i].value));
    return CN_OK;
}
