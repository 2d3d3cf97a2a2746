/* JSON out: trees, quoted strings, numbers in their shortest form that reads back as the same
 * value. */
#include "carnot/json.h"

#include "json_lex.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The escape of one byte, or false if the byte stands for itself. */
static bool escape(unsigned char c, char out[8])
{
    static const char from[] = "\"\\\b\f\n\r\t", to[] = "\"\\bfnrt";
    const char *known = c ? strchr(from, c) : NULL;
    if (known)
        snprintf(out, 8, "\\%c", to[known - from]);
    else if (c < 0x20)
        snprintf(out, 8, "\\u%04x", c);
    else
        return false;
    return true;
}

static enum cn_status quote_inside(struct cn_str *out, struct cn_text text)
{
    const char *at = text.data, *end = text.data + text.length, *plain = at;
    while (at < end) {
        char special[8];
        size_t step = json_utf8_length((const unsigned char *)at, (const unsigned char *)end);
        if (step == 0)
            snprintf(special, sizeof special, "\xEF\xBF\xBD");
        else if (!escape((unsigned char)*at, special)) {
            at += step;
            continue;
        }
        CN_TRY(cn_str_append(out, plain, (size_t)(at - plain)));
        CN_TRY(cn_str_add(out, special));
        plain = ++at;
    }
    return cn_str_append(out, plain, (size_t)(at - plain));
}

enum cn_status cn_json_quote(struct cn_str *out, struct cn_text text)
{
    CN_TRY(cn_str_append(out, "\"", 1));
    if (text.length) CN_TRY(quote_inside(out, text));
    return cn_str_append(out, "\"", 1);
}

enum cn_status cn_json_real(struct cn_str *out, double value, int digits)
{
    if (!isfinite(value)) return cn_str_append(out, "null", 4);
    char text[40];
    if (value == floor(value) && fabs(value) < 1e15) {
        int n = snprintf(text, sizeof text, "%.0f", value);
        /* A whole number of no more digits than asked for is exact as it stands. */
        if (n <= digits) return cn_str_append(out, text, (size_t)n);
    }
    for (int d = digits > 2 ? digits - 2 : 1; d <= digits; d++) {
        snprintf(text, sizeof text, "%.*g", d, value);
        double back = strtod(text, NULL);
        if (digits <= 9 ? (float)back == (float)value : back == value) break;
    }
    return cn_str_add(out, text);
}

static enum cn_status new_line(struct cn_str *out, bool pretty, size_t level)
{
    if (!pretty) return CN_OK;
    CN_TRY(cn_str_append(out, "\n", 1));
    for (size_t i = 0; i < level; i++)
        CN_TRY(cn_str_append(out, "  ", 2));
    return CN_OK;
}

/* A list without objects or lists in it stays on one line. */
static bool flat(const struct cn_json *node)
{
    if (cn_json_kind(node) != CN_JSON_LIST) return false;
    for (const struct cn_json *n = cn_json_first(node); n; n = cn_json_next(n))
        if (cn_json_first(n)) return false;
    return true;
}

static enum cn_status print(const struct cn_json *node, bool pretty, size_t level,
                            struct cn_str *out)
{
    enum cn_json_kind kind = cn_json_kind(node);
    if (kind == CN_JSON_NULL) return cn_str_append(out, "null", 4);
    if (kind == CN_JSON_BOOL) return cn_str_add(out, cn_json_bool(node) ? "true" : "false");
    if (kind == CN_JSON_NUMBER && cn_json_digits(node).length)
        return cn_str_append(out, cn_json_digits(node).data, cn_json_digits(node).length);
    if (kind == CN_JSON_NUMBER) return cn_json_real(out, cn_json_number(node), 17);
    if (kind == CN_JSON_TEXT) return cn_json_quote(out, cn_json_text(node));
    bool object = kind == CN_JSON_OBJECT, open = pretty && cn_json_first(node) && !flat(node);
    CN_TRY(cn_str_append(out, object ? "{" : "[", 1));
    for (const struct cn_json *n = cn_json_first(node); n; n = cn_json_next(n)) {
        if (n != cn_json_first(node)) CN_TRY(cn_str_add(out, pretty && !open ? ", " : ","));
        CN_TRY(new_line(out, open, level + 1));
        if (object) {
            CN_TRY(cn_json_quote(out, cn_text(cn_json_key(n))));
            CN_TRY(cn_str_add(out, pretty ? ": " : ":"));
        }
        CN_TRY(print(n, pretty, level + 1, out));
    }
    CN_TRY(new_line(out, open, level));
    return cn_str_append(out, object ? "}" : "]", 1);
}

enum cn_status cn_json_print(const struct cn_json *node, bool pretty, struct cn_str *out)
{
    return print(node, pretty, 0, out);
}
