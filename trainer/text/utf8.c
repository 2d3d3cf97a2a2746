/* UTF-8, character by character. */
#include "utf8.h"

#include "carnot/tokenizer.h"
#include "newer.h"

#include <string.h>
#include <utf8proc.h>

/* Number of bytes that the first byte announces; 0 for a byte that cannot be first. */
static size_t announced(unsigned char first)
{
    if (first < 0x80) return 1;
    if (first < 0xC2) return 0;
    if (first < 0xE0) return 2;
    if (first < 0xF0) return 3;
    return first < 0xF5 ? 4 : 0;
}

/* Whether `second` may follow `first`: rules out overlong forms, surrogates and codes over
 * 0x10FFFF. */
static bool second_fits(unsigned char first, unsigned char second)
{
    if ((second & 0xC0) != 0x80) return false;
    switch (first) {
    case 0xE0:
        return second >= 0xA0;
    case 0xED:
        return second < 0xA0;
    case 0xF0:
        return second >= 0x90;
    case 0xF4:
        return second < 0x90;
    default:
        return true;
    }
}

size_t utf8_step(const char *p, const char *end, uint32_t *code)
{
    const unsigned char *byte = (const unsigned char *)p;
    size_t left = (size_t)(end - p), length = announced(byte[0]);
    if (length == 1) {
        *code = byte[0];
        return 1;
    }
    *code = UTF8_INVALID;
    if (length == 0 || left < 2 || !second_fits(byte[0], byte[1])) return 1;
    uint32_t value = ((uint32_t)byte[0] & (0x7Fu >> length)) << 6 | (byte[1] & 0x3Fu);
    for (size_t i = 2; i < length; i++) {
        if (i >= left || (byte[i] & 0xC0) != 0x80) return i;
        value = value << 6 | (byte[i] & 0x3Fu);
    }
    *code = value;
    return length;
}

uint32_t utf8_last(const char *begin, const char *end)
{
    const char *p = end;
    while (p > begin && end - p < 4) {
        p--;
        if (((unsigned char)*p & 0xC0) != 0x80) break;
    }
    uint32_t code = UTF8_INVALID;
    if (p < end && utf8_step(p, end, &code) != (size_t)(end - p)) return UTF8_INVALID;
    return code;
}

size_t utf8_put(uint32_t code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t length = code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    for (size_t i = length - 1; i > 0; i--, code >>= 6)
        out[i] = (char)(0x80 | (code & 0x3F));
    out[0] = (char)((0xF00u >> length & 0xF0u) | code);
    return length;
}

/* Length of the longest prefix that is UTF-8. */
static size_t valid_prefix(struct cn_text text)
{
    const char *p = text.data, *end = text.data + text.length;
    while (p < end) {
        uint64_t word;
        if (end - p >= 8 && (memcpy(&word, p, 8), !(word & 0x8080808080808080u))) {
            p += 8;
            continue;
        }
        uint32_t code;
        size_t length = utf8_step(p, end, &code);
        if (code == UTF8_INVALID) break;
        p += length;
    }
    return (size_t)(p - text.data);
}

bool cn_utf8_valid(struct cn_text text)
{
    return text.length == 0 || valid_prefix(text) == text.length;
}

size_t cn_utf8_complete(struct cn_text text)
{
    /* Only a tail that is the beginning of a character is held back; bytes that can never become
     * one are not. */
    size_t back = 0;
    while (back < 3 && back < text.length) {
        back++;
        unsigned char byte = (unsigned char)text.data[text.length - back];
        if ((byte & 0xC0) == 0x80) continue;
        if (announced(byte) <= back) return text.length;
        const char *p = text.data + text.length - back;
        uint32_t code;
        return utf8_step(p, p + back, &code) == back ? text.length - back : text.length;
    }
    return text.length;
}

enum cn_status utf8_repair(struct cn_text text, struct cn_str *out)
{
    while (text.length) {
        size_t good = valid_prefix(text);
        CN_TRY(cn_str_append(out, text.data, good));
        if (good == text.length) break;
        uint32_t code;
        good += utf8_step(text.data + good, text.data + text.length, &code);
        CN_TRY(cn_str_add(out, UTF8_REPLACEMENT));
        text = (struct cn_text){text.data + good, text.length - good};
    }
    return CN_OK;
}

bool utf8_is_space(uint32_t code)
{
    if (code < 0x80) return code == ' ' || (code >= 9 && code <= 13);
    return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
           code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

bool utf8_is_python_space(uint32_t code)
{
    return utf8_is_space(code) || (code >= 0x1C && code <= 0x1F);
}

bool utf8_is_word(uint32_t code)
{
    if (code > 0x10FFFF) return false;
    if (code == 0x200C || code == 0x200D) return true;
    switch (utf8proc_category((utf8proc_int32_t)code)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    default: /* the symbols with property Other_Alphabetic */
        return (code >= 0x24B6 && code <= 0x24E9) || (code >= 0x1F130 && code <= 0x1F149) ||
               (code >= 0x1F150 && code <= 0x1F169) || (code >= 0x1F170 && code <= 0x1F189) ||
               newer_is(code, "L") || newer_is(code, "M") || newer_is(code, "Nd");
    }
}

struct cn_text utf8_strip(struct cn_text text)
{
    if (!text.length) return text;
    const char *p = text.data, *end = text.data + text.length;
    uint32_t code;
    for (size_t n; p < end; p += n) {
        n = utf8_step(p, end, &code);
        if (!utf8_is_python_space(code)) break;
    }
    while (end > p && (code = utf8_last(p, end), utf8_is_python_space(code))) {
        char bytes[4];
        end -= utf8_put(code, bytes);
    }
    return (struct cn_text){p, (size_t)(end - p)};
}
