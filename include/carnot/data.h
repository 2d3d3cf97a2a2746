/* Rows of data files: JSON lines in the shapes that people have.
 *
 *   verl, SkyRL       prompt (text or messages), reward_model.ground_truth or reward_spec
 *   TRL               prompt (text or messages), solution | answer | ground_truth | other columns
 *   OpenRLHF, slime   prompt | input, label | answer
 *   GSM8K             question, answer "... #### 42"
 *   chat              messages whose last one is the assistant's (supervised rows)
 *
 * A row with "rendered": text is a prompt that needs no template. */
#ifndef CARNOT_DATA_H
#define CARNOT_DATA_H

#include "carnot/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

struct cn_row {
    struct cn_messages messages; /* the prompt; empty if `rendered` is set */
    struct cn_text rendered;     /* ready-made prompt text, or empty */
    struct cn_text ground_truth; /* text, or raw JSON of another kind; empty if the row has none */
    struct cn_text answer;       /* what a supervised run learns to say; empty if none */
    struct cn_text raw;          /* the line itself */
    const char *file;            /* where it stands */
    size_t line;                 /* counted from 1 */
};

struct cn_data; /* an opened, checked set of files; rows are reachable by index */

/* Opens files with weights.  Every line is checked now; the text stays mapped.
 * system: text put before every conversation that has no system message, or NULL.
 * Fails: CN_ERR_IO; CN_ERR_DATA naming file and line (not JSON, no prompt, unknown shape, no rows).
 */
enum cn_status cn_data_open(const char *const *paths, const double *weights, size_t n_files,
                            const char *system, struct cn_data **out);
void cn_data_close(struct cn_data *take_data);
size_t cn_data_count(const struct cn_data *data);

/* The row; its pieces live in `arena`. */
enum cn_status cn_data_row(const struct cn_data *data, uint64_t index, struct cn_arena *arena,
                           struct cn_row *out);

/* Row of the `position`-th draw of a run: files are mixed by weight, each is walked in a new keyed
 * permutation every epoch, so any position can be computed alone.  *epoch counts passes of that
 * file. */
enum cn_status cn_data_draw(const struct cn_data *data, uint64_t seed, uint64_t position,
                            uint64_t *index, uint64_t *epoch);

#ifdef __cplusplus
}
#endif
#endif
