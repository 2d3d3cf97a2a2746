/* safetensors in and out: one file, or a folder with model.safetensors or shards and their index.
 *
 *     u64 little-endian N | N bytes of JSON: name -> dtype, shape, data_offsets | the data
 *
 * Data is packed and row-major.
 *
 * Format: the README of github.com/huggingface/safetensors. */
#ifndef CARNOT_MODEL_SAFETENSORS_H
#define CARNOT_MODEL_SAFETENSORS_H

#include "carnot/buffer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Open files, mapped read-only. */
struct safetensors;

/* Opens a file, or the weights of a Hugging Face folder.
 * Fails: CN_ERR_IO (missing, unreadable), CN_ERR_MODEL naming file and tensor for a truncated file,
 * a header over 100 MB, ranges that overlap, leave holes or do not fit shape and dtype, duplicate
 * names, dtypes unknown to buffer.h, a rank over CN_TENSOR_RANK_MAX, an index that does not fit its
 * shards.  Not collective. */
enum cn_status safetensors_open(const char *path, struct safetensors **out);
void safetensors_close(struct safetensors *take_file);

/* Tensors, sorted by name.  Entries and data live until close; `data` is read-only and MAY BE
 * UNALIGNED. */
const struct cn_buffer *safetensors_tensors(const struct safetensors *file, size_t *n);

/* One tensor; NULL if absent. */
const struct cn_buffer *safetensors_find(const struct safetensors *file, const char *name);

/* A value of __metadata__ (of the only or the first file); NULL if absent. */
const char *safetensors_metadata(const struct safetensors *file, const char *key);

/* Copies a tensor of dtype F32, F16, BF16 or F64 to out (product of shape) floats.
 * Fails: CN_ERR_MODEL naming file, tensor, expected and found shape; an absent tensor; another
 * dtype; a value that is not finite. */
enum cn_status safetensors_read_f32(const struct safetensors *file, const char *name, int rank,
                                    const int64_t *shape, float *out);

/* The same of `count` elements from `begin` on. */
struct safetensors_part {
    const char *name;
    int rank;
    const int64_t *shape; /* of the whole tensor */
    size_t begin, count;
};
enum cn_status safetensors_read_part_f32(const struct safetensors *file,
                                         const struct safetensors_part *part, float *out);

struct safetensors_pair {
    const char *key, *value;
};

/* Where and how to write. */
struct safetensors_target {
    const char *path; /* ends in ".safetensors": that one file; else an existing folder:
                         model.safetensors, or shards */
    bool absent;      /* another rank writes: `load` is called as often as there, and that is all */
    enum cn_dtype dtype; /* what F32 tensors become: F32, BF16 or F16; other tensors are written as
                            they are */
    const struct safetensors_pair *metadata; /* besides {"format": "pt"} */
    size_t n_metadata;
    uint64_t shard_bytes; /* most bytes of data in one shard of a folder; 0: 5 GB */
    /* Fills out (NULL if absent) with the floats of tensor `index` (of the caller's list) whose
     * `data` is NULL; in an order that depends on the list alone.  Optional. */
    enum cn_status (*load)(void *context, size_t index, float *out);
    void *context;
};

/* Writes F32, or other, tensors: temporary name, fsync, rename; a kill leaves the old or the new
 * file.  In a folder, weight files of another layout are removed after the new ones are in place.
 * Fails: CN_ERR_IO naming path and reason (a full disk included), CN_ERR_MEMORY, what `load`
 * returns. */
enum cn_status safetensors_save(const struct safetensors_target *target,
                                const struct cn_buffer *tensors, size_t n);

#ifdef __cplusplus
}
#endif
#endif
