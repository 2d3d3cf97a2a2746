/* One sample with a broken character must not fail its batch: it is repaired the same way always.
 */
#include "carnot/json.h"

#include <string.h>

static const char replacement[] = "\xEF\xBF\xBD";

/* Bytes of the UTF-8 character at `at`, 0 if the bytes are none. */
static size_t character(const unsigned char *at, size_t left)
{
    static const struct {
        unsigned char low, high, second_low, second_high;
        size_t length;
    } forms[] = {{0xC2, 0xDF, 0x80, 0xBF, 2}, {0xE0, 0xE0, 0xA0, 0xBF, 3},
                 {0xE1, 0xEC, 0x80, 0xBF, 3}, {0xED, 0xED, 0x80, 0x9F, 3},
                 {0xEE, 0xEF, 0x80, 0xBF, 3}, {0xF0, 0xF0, 0x90, 0xBF, 4},
                 {0xF1, 0xF3, 0x80, 0xBF, 4}, {0xF4, 0xF4, 0x80, 0x8F, 4}};
    if (at[0] < 0x80) return 1;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        if (at[0] < forms[i].low || at[0] > forms[i].high) continue;
        if (left < forms[i].length) return 0;
        if (at[1] < forms[i].second_low || at[1] > forms[i].second_high) return 0;
        for (size_t k = 2; k < forms[i].length; k++)
            if ((at[k] & 0xC0) != 0x80) return 0;
        return forms[i].length;
    }
    return 0;
}

/* The code of \uXXXX at `at`, or -1. */
static long escaped(const char *at, size_t left)
{
    long code = 0;
    if (left < 6 || at[0] != '\\' || at[1] != 'u') return -1;
    for (int i = 2; i < 6; i++) {
        const char c = at[i];
        const int digit = c >= '0' && c <= '9'   ? c - '0'
                          : c >= 'a' && c <= 'f' ? c - 'a' + 10
                          : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                                 : -1;
        if (digit < 0) return -1;
        code = code * 16 + digit;
    }
    return code;
}

/* Bytes of the piece at `at`; *keep: it stays as it is. */
static size_t piece(const char *at, size_t left, bool *keep)
{
    const long code = escaped(at, left);
    *keep = true;
    if (code >= 0xD800 && code <= 0xDBFF) {
        const long low = escaped(at + 6, left - 6);
        *keep = low >= 0xDC00 && low <= 0xDFFF;
        return *keep ? 12 : 6;
    }
    if (code >= 0) {
        *keep = code < 0xDC00 || code > 0xDFFF;
        return 6;
    }
    if (*at == '\\' && left > 1 && (unsigned char)at[1] < 0x80) return 2;
    const size_t n = character((const unsigned char *)at, left);
    *keep = n > 0;
    return n ? n : 1;
}

enum cn_status cn_json_repair(struct cn_text body, struct cn_str *out, bool *changed)
{
    size_t plain = 0;
    *changed = false;
    CN_TRY(cn_str_reserve(out, out->length + body.length));
    for (size_t i = 0; i < body.length;) {
        bool keep;
        const size_t n = piece(body.data + i, body.length - i, &keep);
        if (!keep) {
            CN_TRY(cn_str_append(out, body.data + plain, i - plain));
            CN_TRY(cn_str_add(out, replacement));
            plain = i + n;
            *changed = true;
        }
        i += n;
    }
    return cn_str_append(out, body.data + plain, body.length - plain);
}
