/* The share of the flat parameter space whose optimizer state a rank keeps; see struct cn_shard.
 *
 *     flat space  [ block 0 | block 1 | ... | last block ]     BLOCK elements each
 *     shares      [  rank 0         |  rank 1  | rank 2  ]     whole blocks
 *
 * Sums of squares are added within blocks, then block after block, so that the norm has the same
 * bits for any number of shares. */
#ifndef CARNOT_MODEL_SHARD_H
#define CARNOT_MODEL_SHARD_H

#include "carnot/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { SHARD_BLOCK = 1 << 14 };

struct shard {
    struct cn_shard link;
    size_t n;              /* flat elements */
    size_t begin, end;     /* own: whole blocks, but at the end of the space */
    size_t *start, *block; /* (count + 1) elements, and blocks, of each rank */
    double *squares;       /* (blocks) own entries are filled before shard_squares */
    float *window;         /* of shard_collect; NULL if everything is kept */
};

/* Fails: CN_ERR_MEMORY.  shard_close also takes a zeroed struct. */
enum cn_status shard_open(struct shard *shard, const struct cn_shard *link, size_t n);
void shard_close(struct shard *shard);

/* Whether other ranks keep a part. */
bool shard_is_part(const struct shard *shard);

/* The sum over all blocks.  Collective, like the next two, if shard_is_part. */
enum cn_status shard_squares(struct shard *shard, double *sum);

/* Own elements of `whole` (n) -> all of them everywhere. */
enum cn_status shard_gather(const struct shard *shard, enum cn_dtype dtype, void *whole);

/* Elements [at, at + n) of the flat space to out, or to nowhere if it is NULL; `own` are this
 * rank's. No rank needs memory for them all. */
enum cn_status shard_collect(const struct shard *shard, const float *own, size_t at, size_t n,
                             float *out);

#ifdef __cplusplus
}
#endif
#endif
