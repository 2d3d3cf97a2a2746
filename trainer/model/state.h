/* Weights, moments and step count on disk, for any back end with flat arrays.
 *
 * The file does not depend on how the optimizer is shared out: it holds NAME, exp_avg.NAME and
 * exp_avg_sq.NAME for each tensor, and step. */
#ifndef CARNOT_MODEL_STATE_H
#define CARNOT_MODEL_STATE_H

#include "shard.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Borrowed arrays of a trainable model. */
struct model_state {
    const struct shard *shard;
    const struct cn_buffer *tensors; /* (n_tensors) names and shapes; `data` is not read */
    const size_t *offset;            /* (n_tensors) place in the flat space */
    size_t n_tensors;
    float *weight;     /* F32: all of the space, or this rank's share of it */
    bool weight_whole; /* which of the two */
    float *m, *v;      /* this rank's share */
    uint64_t *steps;
};

/* The weights alone: a folder, or NULL where another rank writes. */
enum cn_status state_save_weights(const struct model_state *state, const char *folder,
                                  enum cn_dtype dtype);

/* path: a file; NULL where another rank writes.  Loading looks at everything before anything is
 * replaced.  Fails: CN_ERR_IO, CN_ERR_MODEL naming file and tensor, CN_ERR_MEMORY. */
enum cn_status state_save(const struct model_state *state, const char *path);
enum cn_status state_load(const struct model_state *state, const char *path);

#ifdef __cplusplus
}
#endif
#endif
