/* Names and sizes of number formats: what every seam knows about a buffer. */
#include "carnot/buffer.h"

size_t cn_dtype_size(enum cn_dtype dtype)
{
    static const uint8_t sizes[] = {
#define X(name, text, size) size,
        CN_DTYPES(X)
#undef X
    };
    return (unsigned)dtype < CN_DTYPE_COUNT ? sizes[dtype] : 0;
}

const char *cn_dtype_name(enum cn_dtype dtype)
{
    static const char *const names[] = {
#define X(name, text, size) text,
        CN_DTYPES(X)
#undef X
    };
    return (unsigned)dtype < CN_DTYPE_COUNT ? names[dtype] : "?";
}
