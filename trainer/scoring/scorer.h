/* The scorer: scores finished answers while others are still being sampled.
 *
 *     begin ── add, add, add ... while sampling ── finish: what is left is waited for
 *
 * In process, one thread scores; with a service, that thread talks to it.  Either way results do
 * not depend on when an answer was handed over.  If a reward must see whole groups, everything is
 * scored by `finish`. */
#ifndef CARNOT_SCORER_H
#define CARNOT_SCORER_H

#include "../scoring.h"
#include "../config/settings.h"

struct scorer;

/* config: the resolved configuration, for a service of our own; borrowed, as the rest.
 * service.mode=spawn starts a service now.
 * Fails: CN_ERR_CONFIG (a service cannot see groups; no address; a build without a service),
 * CN_ERR_VERIFIER (a service of our own does not start). */
enum cn_status scorer_open(const struct scoring *scoring, const struct cn_service_settings *service,
                           struct cn_text config, struct scorer **out);
void scorer_close(struct scorer *take_scorer);

/* The widest scope of the rewards. */
enum cn_scope scorer_scope(const struct scorer *scorer);

/* Begins a round over `work`, which is borrowed until finish; answers may be unfinished.
 * Fails: CN_ERR_MEMORY, CN_ERR_VERIFIER. */
enum cn_status scorer_begin(struct scorer *scorer, const struct scoring_work *work);

/* Answer i of the work is finished and will not change.  self: a scorer. */
void scorer_add(void *self, size_t i);

/* Times of a round, s. */
struct scorer_times {
    double added; /* waited for scores after sampling had ended */
    double busy;  /* answers were being scored */
};

/* Waits for the rest; out (n), of which those that are scored are written, texts in `arena`.  Adds
 * reward/... metrics unless `metrics` is NULL. Fails: as the rewards; CN_ERR_VERIFIER if a service
 * refuses us. */
enum cn_status scorer_finish(struct scorer *scorer, struct cn_arena *arena,
                             struct cn_metrics *metrics, struct scored *out,
                             struct scorer_times *times);

/* Ends a round whose sampling has failed; nothing happens without one. */
void scorer_abandon(struct scorer *scorer);

#endif
