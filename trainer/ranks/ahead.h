/* Batches that were sampled before their turn: as bytes, which travel from the ranks that sample to
 * those that learn, wait there, and are a file of the checkpoint.
 *
 *   head | lengths | SAMPLE and REWARD columns | metrics of sampling | texts to show | states
 *
 * Bytes are of this machine's order. */
#ifndef CARNOT_AHEAD_H
#define CARNOT_AHEAD_H

#include "../experience.h"

enum { AHEAD_MAX = 64 }; /* largest parallel.max_staleness */

/* Batches in the order of their steps; zero-initialise. */
struct ahead {
    struct cn_str item[AHEAD_MAX + 1];
    size_t n;
};
void ahead_free(struct ahead *ahead);

/* Appends a batch with the metrics of its sampling and the states of the sampling side. */
enum cn_status ahead_pack(const struct experience_result *result, const struct cn_metrics *metrics,
                          const struct cn_recipe *recipe, struct cn_str *out);

/* The batch again, in `arena`; its metrics are added.  recipe: gets the states; NULL: they are left
 * alone.  Fails: CN_ERR_DATA if the bytes are not of such a batch; CN_ERR_MEMORY. */
enum cn_status ahead_unpack(struct cn_text bytes, const struct cn_recipe *recipe,
                            struct cn_arena *arena, struct cn_metrics *metrics,
                            struct experience_result *out);

/* Puts a packed batch behind the others.  Fails: CN_ERR_BUG if there are AHEAD_MAX + 1 already. */
enum cn_status ahead_add(struct ahead *ahead, struct cn_str *take_bytes);

/* Takes out the first batch.  Fails: CN_ERR_BUG if there is none. */
enum cn_status ahead_pop(struct ahead *ahead, struct cn_str *out);

/* Unpacks the first batch and takes it out; states are left alone.  Fails: as ahead_unpack;
 * CN_ERR_BUG if it is not of `step`. */
enum cn_status ahead_next(struct ahead *ahead, uint64_t step, struct cn_arena *arena,
                          struct cn_metrics *metrics, struct experience_result *out);

/* All batches as a file, and back; *last: step of the last one, 0 if there is none.
 * Fails: CN_ERR_IO; CN_ERR_DATA naming the file. */
enum cn_status ahead_save(const struct ahead *ahead, const char *path);
enum cn_status ahead_load(struct ahead *ahead, const char *path, uint64_t *last);

#endif
