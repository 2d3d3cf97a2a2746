/* Members of an object, read with a check of their kind. */
#include "carnot/json.h"

#include <math.h>
#include <string.h>

static const double exact_integers =
    9007199254740992.0; /* 2^53: beyond it a double skips integers */

static const char *kind_name(const struct cn_json *node)
{
    static const char *const names[] = {"null",   "true or false", "a number",
                                        "a text", "a list",        "an object"};
    return node ? names[cn_json_kind(node)] : "nothing";
}

static enum cn_status wrong(const char *key, const char *expected, const struct cn_json *found)
{
    return cn_fail(CN_ERR_DATA, "\"%s\": expected %s, found %s", key, expected, kind_name(found));
}

enum cn_status cn_json_need_text(const struct cn_json *object, const char *key, const char **out)
{
    const struct cn_json *node = cn_json_get(object, key);
    if (cn_json_kind(node) != CN_JSON_TEXT) return wrong(key, "a text", node);
    struct cn_text text = cn_json_text(node);
    if (memchr(text.data, 0, text.length))
        return cn_fail(CN_ERR_DATA, "\"%s\": the text contains a zero byte", key);
    *out = text.data;
    return CN_OK;
}

enum cn_status cn_json_need_int(const struct cn_json *object, const char *key, int64_t minimum,
                                int64_t maximum, int64_t *out)
{
    const struct cn_json *node = cn_json_get(object, key);
    if (cn_json_kind(node) != CN_JSON_NUMBER) return wrong(key, "a whole number", node);
    double value = cn_json_number(node);
    if (value != floor(value) || fabs(value) > exact_integers)
        return cn_fail(CN_ERR_DATA, "\"%s\": expected a whole number, found %.17g", key, value);
    if ((int64_t)value < minimum || (int64_t)value > maximum)
        return cn_fail(CN_ERR_DATA, "\"%s\": %lld is not between %lld and %lld", key,
                       (long long)value, (long long)minimum, (long long)maximum);
    *out = (int64_t)value;
    return CN_OK;
}

enum cn_status cn_json_int_or(const struct cn_json *object, const char *key, int64_t minimum,
                              int64_t maximum, int64_t fallback, int64_t *out)
{
    if (cn_json_kind(cn_json_get(object, key)) != CN_JSON_NULL)
        return cn_json_need_int(object, key, minimum, maximum, out);
    *out = fallback;
    return CN_OK;
}

enum cn_status cn_json_real_or(const struct cn_json *object, const char *key, double fallback,
                               double *out)
{
    const struct cn_json *node = cn_json_get(object, key);
    if (cn_json_kind(node) != CN_JSON_NULL && cn_json_kind(node) != CN_JSON_NUMBER)
        return wrong(key, "a number", node);
    *out = cn_json_kind(node) == CN_JSON_NUMBER ? cn_json_number(node) : fallback;
    return CN_OK;
}

enum cn_status cn_json_bool_or(const struct cn_json *object, const char *key, bool fallback,
                               bool *out)
{
    const struct cn_json *node = cn_json_get(object, key);
    if (cn_json_kind(node) != CN_JSON_NULL && cn_json_kind(node) != CN_JSON_BOOL)
        return wrong(key, "true or false", node);
    *out = cn_json_kind(node) == CN_JSON_BOOL ? cn_json_bool(node) : fallback;
    return CN_OK;
}
