/* Scoring: finished answers -> score, reward, verdict.
 *
 * The section `rewards` is a list.  `score` (what filters and pass@k use) is the first entry's
 * score; `reward` is the weighted sum of all.  An entry of weight 0 is a metric only.  An answer
 * that an entry with weight could not score is dropped (CN_DROP_UNSCORED), never counted as 0. */
#ifndef CARNOT_SCORING_H
#define CARNOT_SCORING_H

#include "scoring/canary.h"
#include "rollout.h"

#include "carnot/data.h"
#include "carnot/metrics.h"
#include "carnot/service.h"

enum { SCORING_ENTRIES_MAX = CN_SERVICE_METRICS_MAX / (1 + CN_OUTCOME_METRICS_MAX) };

struct scoring_entry {
    struct cn_reward_entry used;
    double weight;
    struct canaries *canaries; /* NULL: none */
};

struct scoring {
    struct scoring_entry *entry; /* in the arena of scoring_read */
    size_t n;
};

struct scored {
    double score, reward;
    enum cn_verdict verdict;
    enum cn_drop drop;
    struct cn_text extracted; /* by the first entry */
};

/* Reads the section `rewards` (NULL: exact_answer alone).  Fails: CN_ERR_CONFIG naming the entry,
 * also for a reward that this build cannot run. */
enum cn_status scoring_read(const struct cn_json *section, struct cn_arena *arena,
                            struct scoring *out);

void scoring_close(struct scoring *scoring);

/* Tries the canaries that are due after `step` (0: before the first).  Fails: CN_ERR_VERIFIER. */
enum cn_status scoring_canaries(const struct scoring *scoring, uint64_t step);

/* Looks through the known answers of a data set; the first bad ones are named in warnings.  Fails:
 * CN_ERR_DATA if an entry can grade none of them. */
enum cn_status scoring_check_gold(const struct scoring *scoring, const struct cn_data *data);

/* What is to be scored: answers (n) of wishes (n). */
struct scoring_work {
    const struct wish *wishes;
    const struct answer *answers;
    size_t n, max_tokens;
    const bool *own; /* (n) those that this rank scores, read when the round ends; NULL: all */
};

/* Answer `i` of the work as the rewards see it. */
void scoring_describe(const struct scoring_work *work, size_t i, struct cn_episode *out);

/* The widest scope of the entries: an answer can be scored before the others have finished only if
 * this is CN_SCOPE_EPISODE. */
enum cn_scope scoring_scope(const struct scoring *scoring);

/* Every entry on every episode; out (n), its pieces live in `arena` or are borrowed from the
 * episodes.  Metrics are named "REWARD/what"; REWARD/mean is that reward's score.
 * Fails: as the rewards.  Not collective. */
enum cn_status scoring_episodes(const struct scoring *scoring, const struct cn_episode *episodes,
                                size_t n, struct cn_arena *arena, struct cn_service_result *out);

/* What the trainer keeps of a result, texts copied to `arena`; adds reward/... metrics unless
 * `metrics` is NULL. */
enum cn_status scoring_take(const struct cn_service_result *result, struct cn_arena *arena,
                            struct cn_metrics *metrics, struct scored *out);

#endif
