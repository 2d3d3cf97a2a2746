/* A lent piece of memory: what model, comm and store exchange without knowing each other. */
#ifndef CARNOT_BUFFER_H
#define CARNOT_BUFFER_H

#include "carnot/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* name, bytes of an element */
// clang-format off
#define CN_DTYPES(X)                                                                               \
    X(F32, "F32", 4) X(BF16, "BF16", 2) X(F16, "F16", 2) X(F64, "F64", 8) X(I64, "I64", 8)         \
    X(I32, "I32", 4) X(I16, "I16", 2) X(I8, "I8", 1) X(U64, "U64", 8) X(U32, "U32", 4)             \
    X(U16, "U16", 2) X(U8, "U8", 1) X(BOOL, "BOOL", 1)
// clang-format on

enum cn_dtype {
#define X(name, text, size) CN_DTYPE_##name,
    CN_DTYPES(X)
#undef X
        CN_DTYPE_COUNT
};

size_t cn_dtype_size(enum cn_dtype dtype);
const char *cn_dtype_name(enum cn_dtype dtype); /* as safetensors spells it */

enum { CN_TENSOR_RANK_MAX = 4 };

/* A named, row-major, packed array on the host (device < 0) or a device.  Borrowed. */
struct cn_buffer {
    const char *name;
    enum cn_dtype dtype;
    int rank;
    int64_t shape[CN_TENSOR_RANK_MAX];
    size_t count; /* elements */
    void *data;
    int device; /* -1: host memory */
};

#ifdef __cplusplus
}
#endif
#endif
