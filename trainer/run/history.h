/* What a run folder says about itself, read while the run goes on or after it died: damaged and
 * half-written parts are counted and left out, never an error. */
#ifndef CARNOT_HISTORY_H
#define CARNOT_HISTORY_H

#include "carnot/json.h"

/* One metric over the steps; owned by the history. */
struct history_series {
    char *name;
    double *step, *value; /* (n) */
    size_t n, capacity;
};

struct history {
    /* reward/mean, policy/entropy, sft/loss, sft/validation_loss, each perhaps empty; then
     * eval/<set>/pass@1 in order of appearance */
    struct history_series *series;
    size_t n_series, series_capacity;
    /* Sums over the steps, s: of ranks that sample and of ranks that learn, waiting for each other;
     * and of whole steps that have these. */
    double rollout_wait, learner_wait, waited_in;
    struct cn_json *last; /* newest whole row that is not an evaluation alone; may be NULL */
    size_t rows, damaged; /* of metrics.jsonl */
};

/* Reads FOLDER/metrics.jsonl; a missing file is an empty history.  Fails: CN_ERR_MEMORY, CN_ERR_IO.
 */
enum cn_status history_read(const char *folder, struct history *out);
void history_free(struct history *history);

/* Calls `visit` for every whole JSON object of a file of lines; *damaged counts the other lines
 * that are not empty. A missing file is empty.  The object is closed after the call unless `visit`
 * sets *keep. */
enum cn_status history_lines(const char *path,
                             enum cn_status (*visit)(void *self, struct cn_json *row, bool *keep),
                             void *self, size_t *damaged);

/* Parses FOLDER/name if it is there and whole, else *out is NULL. */
enum cn_status history_file(const char *folder, const char *name, struct cn_json **out);

#endif
