/* Between the types of memory and of the file, so that every back end converts alike. */
#include "store.h"

#include <inttypes.h>
#include <string.h>

/* 64 bits of an integer and whether it is signed. */
struct integer {
    uint64_t bits;
    bool negative;
};

static bool is_float(enum cn_dtype type)
{
    return type == CN_DTYPE_F32 || type == CN_DTYPE_F64;
}

static bool is_integer(enum cn_dtype type)
{
    return type >= CN_DTYPE_I64 && type <= CN_DTYPE_U8;
}

/* type, the C type of its elements */
#define INTEGERS(X)                                                                                \
    X(I64, int64_t)                                                                                \
    X(I32, int32_t)                                                                                \
    X(I16, int16_t) X(I8, int8_t) X(U64, uint64_t) X(U32, uint32_t) X(U16, uint16_t) X(U8, uint8_t)

static struct integer load(const void *from, enum cn_dtype type, size_t i)
{
    struct integer out = {0, false};
    switch (type) {
#define X(name, ctype)                                                                             \
    case CN_DTYPE_##name:                                                                          \
        out.negative = ((const ctype *)from)[i] < (ctype)1 && ((const ctype *)from)[i] != 0;       \
        out.bits = (uint64_t)((const ctype *)from)[i];                                             \
        break;
        INTEGERS(X)
#undef X
    default:
        break;
    }
    return out;
}

/* Stores the value; false if it does not fit. */
static bool keep(void *to, enum cn_dtype type, size_t i, struct integer value)
{
    switch (type) {
#define X(name, ctype)                                                                             \
    case CN_DTYPE_##name: {                                                                        \
        ctype kept = (ctype)value.bits;                                                            \
        ((ctype *)to)[i] = kept;                                                                   \
        return (uint64_t)kept == value.bits && (kept < (ctype)1 && kept != 0) == value.negative;   \
    }
        INTEGERS(X)
#undef X
    default:
        return false;
    }
}

static void convert_floats(const void *from, enum cn_dtype from_type, void *to, size_t n)
{
    if (from_type == CN_DTYPE_F64)
        for (size_t i = 0; i < n; i++)
            ((float *)to)[i] = (float)((const double *)from)[i];
    else
        for (size_t i = 0; i < n; i++)
            ((double *)to)[i] = ((const float *)from)[i];
}

enum cn_status store_convert(const void *from, enum cn_dtype from_type, void *to,
                             enum cn_dtype to_type, size_t n)
{
    if (from_type == to_type) {
        if (n) memcpy(to, from, n * cn_dtype_size(to_type));
        return CN_OK;
    }
    if (is_float(from_type) && is_float(to_type)) {
        convert_floats(from, from_type, to, n);
        return CN_OK;
    }
    if (!is_integer(from_type) || !is_integer(to_type))
        return cn_fail(CN_ERR_CONFIG, "no conversion from %s to %s", cn_dtype_name(from_type),
                       cn_dtype_name(to_type));
    for (size_t i = 0; i < n; i++) {
        struct integer value = load(from, from_type, i);
        if (!keep(to, to_type, i, value))
            return cn_fail(CN_ERR_DATA, "element %zu is %s%" PRIu64 ", which does not fit into %s",
                           i, value.negative ? "-" : "",
                           value.negative ? ~value.bits + 1 : value.bits, cn_dtype_name(to_type));
    }
    return CN_OK;
}
