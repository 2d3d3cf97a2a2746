/* GGUF in: metadata, and tensors turned into floats.
 *
 *     "GGUF" | u32 version | u64 tensors | u64 pairs | pairs | tensor infos | padding | data
 *
 * all little-endian.
 *
 * Format: docs/gguf.md of github.com/ggml-org/ggml.  Versions 2 and 3; tensor types F32, F16, BF16,
 * Q4_0, Q4_1, Q8_0. */
#ifndef CARNOT_MODEL_GGUF_H
#define CARNOT_MODEL_GGUF_H

#include "carnot/arena.h"
#include "carnot/buffer.h"
#include "carnot/str.h"

#ifdef __cplusplus
extern "C" {
#endif

struct model_shape;
struct shape_tensor;

/* An open file, mapped read-only. */
struct gguf;

/* name, number in the file, elements of a block, bytes of a block */
#define GGUF_TYPES(X)                                                                              \
    X(F32, 0, 1, 4)                                                                                \
    X(F16, 1, 1, 2)                                                                                \
    X(Q4_0, 2, 32, 18)                                                                             \
    X(Q4_1, 3, 32, 20)                                                                             \
    X(Q8_0, 8, 32, 34)                                                                             \
    X(BF16, 30, 1, 2)

enum gguf_type {
#define X(name, number, elements, bytes) GGUF_##name = (number),
    GGUF_TYPES(X)
#undef X
};

struct gguf_tensor {
    const char *name;
    enum gguf_type type;
    int rank;
    int64_t shape[CN_TENSOR_RANK_MAX]; /* slowest first, as in Hugging Face files (GGUF stores
                                          fastest first) */
    size_t count;                      /* elements */
    const unsigned char *data;         /* read-only; lives until close */
};

/* Fails: CN_ERR_IO (missing), CN_ERR_MODEL naming file, place and reason for anything truncated,
 * out of range, of an unknown type or version, or twice there.  Everything in the file is checked
 * here; later calls cannot run out of it. */
enum cn_status gguf_open(const char *path, struct gguf **out);
void gguf_close(struct gguf *take_file);
const char *gguf_path(const struct gguf *file);

const struct gguf_tensor *gguf_find(const struct gguf *file, const char *name); /* NULL if absent */
const struct gguf_tensor *gguf_tensors(const struct gguf *file, size_t *n);

/* tensor->count floats, bit for bit what the gguf Python package gives. */
void gguf_read_f32(const struct gguf_tensor *tensor, float *out);

/* Metadata; false if the key is absent or of another kind.  Texts live until close. */
bool gguf_text(const struct gguf *file, const char *key, struct cn_text *out);
bool gguf_number(const struct gguf *file, const char *key,
                 double *out); /* any number, or 0 and 1 for a bool */

/* A list; read one after the other with the two functions below. */
struct gguf_list {
    size_t count;
    bool texts; /* texts, or numbers and bools */
    uint32_t kind;
    const unsigned char *at; /* the next element */
};
bool gguf_list(const struct gguf *file, const char *key, struct gguf_list *out);
struct cn_text gguf_next_text(struct gguf_list *list); /* count must have been respected */
double gguf_next_number(struct gguf_list *list);

/* ---- gguf_model.c: a file as a model of Hugging Face's kind -------------- */

/* The shape that the metadata describe.  pad is the file's, or, where the file has none or repeats
 * eos (which would hide ends from trainers that mask padding), its unknown token. Fails:
 * CN_ERR_MODEL naming file and key for what is missing, out of range or not supported. */
enum cn_status gguf_shape(const struct gguf *file, struct model_shape *out);

/* The tensor of the shape's list, as floats in Hugging Face's order of rows (llama files interleave
 * the two halves of each query and key head; this is undone).  out (tensor->count). Fails:
 * CN_ERR_MODEL if it is absent, of another shape, or has a value that is not finite. */
enum cn_status gguf_read_tensor(const struct gguf *file, const struct model_shape *shape,
                                const struct shape_tensor *tensor, float *out);

#ifdef __cplusplus
}
#endif
#endif
