/* The token record: every written column of every recorded step, in per-rank segments
 *
 *     RUN/tokens/attempt_A_steps_X_Y_rank_R.h5        (.safetensors where HDF5 is not built in)
 *       /tokens/<column>        (N)    one entry per token, sequences end to end
 *       /sequences/<column>     (S)    one entry per sequence
 *       /sequences/offset       (S+1)  tokens[offset[s] : offset[s+1]] is sequence s
 *       /sequences/step         (S)    rollout step
 *
 * A segment gets its name when it is closed, so a kill never spoils one; the trainer closes it
 * before every checkpoint, and a resume deletes the later ones.  A column that was not written in
 * some steps of a segment is NaN (or 0) there. Columns, meanings and enumerations come from
 * CN_BATCH_COLUMNS. */
#ifndef CARNOT_RECORD_H
#define CARNOT_RECORD_H

#include "carnot/batch.h"
#include "carnot/str.h"

struct record;

struct record_options {
    const char *folder; /* of the run */
    const char *type;   /* of the store; NULL: the best that is built in */
    int attempt, rank;
    struct cn_text
        config; /* resolved configuration, kept as an attribute of every segment; may be empty */
};

/* Prepares RUN/tokens; no file is opened before the first step.  Fails: CN_ERR_IO, CN_ERR_CONFIG.
 * Not collective. */
enum cn_status record_open(const struct record_options *options, struct record **out);

/* Appends the sequences `span` of a step (with several ranks, each records its own); opens a
 * segment if none is open, closes it if it has grown large.  Fails: CN_ERR_IO. */
enum cn_status record_step(struct record *record, const struct cn_batch *batch, struct cn_span span,
                           uint64_t step);

/* Ends the open segment, if any: it gets its name.  Fails: CN_ERR_IO, and then the segment is gone.
 */
enum cn_status record_close_segment(struct record *record);

/* Ends the open segment and frees the record. */
enum cn_status record_close(struct record *take_record);

/* Makes the run forget the steps `first` and later: deletes their segments and samples, and the
 * unfinished files of a killed process, and cuts metrics.jsonl and bad_batches.jsonl (and
 * warm_start.jsonl if nothing is left of the run: first = 0).  To be called by one rank before
 * anybody records; missing files are fine. Fails: CN_ERR_DATA if a segment holds steps on both
 * sides; CN_ERR_IO. */
enum cn_status record_truncate(const char *folder, uint64_t first);

#endif
