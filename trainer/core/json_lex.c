/* The letters and words of JSON (RFC 8259), strictly. */
#include "json_lex.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- places and complaints ----------------------------------------------- */

size_t json_lex_line(struct json_lexer *p, const char *place)
{
    for (; p->counted_to < place; p->counted_to++)
        if (*p->counted_to == '\n') p->line++;
    return p->line;
}

enum cn_status json_lex_complain(const struct json_lexer *p, const char *place, const char *what)
{
    const char *line_start = place;
    while (line_start > p->start && line_start[-1] != '\n')
        line_start--;
    size_t column = (size_t)(place - line_start) + 1;
    size_t line = 1;
    if (p->one_line) return cn_fail(CN_ERR_DATA, "%s, column %zu: %s", p->name, column, what);
    for (const char *c = p->start; c < line_start; c++)
        line += *c == '\n';
    return cn_fail(CN_ERR_DATA, "%s:%zu:%zu: %s", p->name, line, column, what);
}

/* ---- strings ------------------------------------------------------------- */

size_t json_utf8_length(const unsigned char *c, const unsigned char *end)
{
    size_t left = (size_t)(end - c);
    if (c[0] < 0x80) return 1;
    if (c[0] >= 0xC2 && c[0] <= 0xDF) return left > 1 && (c[1] & 0xC0) == 0x80 ? 2 : 0;
    if (c[0] >= 0xE0 && c[0] <= 0xEF) {
        if (left < 3 || (c[1] & 0xC0) != 0x80 || (c[2] & 0xC0) != 0x80) return 0;
        bool overlong = c[0] == 0xE0 && c[1] < 0xA0, surrogate = c[0] == 0xED && c[1] > 0x9F;
        return overlong || surrogate ? 0 : 3;
    }
    if (c[0] >= 0xF0 && c[0] <= 0xF4) {
        if (left < 4 || (c[1] & 0xC0) != 0x80 || (c[2] & 0xC0) != 0x80 || (c[3] & 0xC0) != 0x80)
            return 0;
        bool overlong = c[0] == 0xF0 && c[1] < 0x90, too_large = c[0] == 0xF4 && c[1] > 0x8F;
        return overlong || too_large ? 0 : 4;
    }
    return 0;
}

static size_t utf8_write(uint32_t code, char *out)
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    size_t more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
    static const uint32_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    out[0] = (char)(lead[more] | code >> 6 * more);
    for (size_t i = 1; i <= more; i++)
        out[i] = (char)(0x80 | (code >> 6 * (more - i) & 0x3F));
    return more + 1;
}

static bool hex4(const char *c, const char *end, uint32_t *code)
{
    if (end - c < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; i++) {
        char h = c[i];
        uint32_t digit;
        if (h >= '0' && h <= '9')
            digit = (uint32_t)(h - '0');
        else if (h >= 'a' && h <= 'f')
            digit = (uint32_t)(h - 'a' + 10);
        else if (h >= 'A' && h <= 'F')
            digit = (uint32_t)(h - 'A' + 10);
        else
            return false;
        *code = *code << 4 | digit;
    }
    return true;
}

/* The escape behind a backslash at p->at; writes at most 4 bytes. */
static enum cn_status parse_escape(struct json_lexer *p, char *out, size_t *written)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    const char *place = p->at - 1;
    const char *known = p->at < p->end && *p->at ? strchr(from, *p->at) : NULL;
    if (known) {
        *out = to[known - from];
        *written = 1;
        p->at++;
        return CN_OK;
    }
    uint32_t code, low;
    if (p->at >= p->end || *p->at != 'u' || !hex4(p->at + 1, p->end, &code))
        return json_lex_complain(p, place, "unknown escape in a string");
    p->at += 5;
    if (code >= 0xD800 && code <= 0xDBFF) {
        bool pair = p->end - p->at >= 6 && p->at[0] == '\\' && p->at[1] == 'u' &&
                    hex4(p->at + 2, p->end, &low) && low >= 0xDC00 && low <= 0xDFFF;
        if (!pair) return json_lex_complain(p, place, "half of a surrogate pair in a string");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        p->at += 6;
    } else if (code >= 0xDC00 && code <= 0xDFFF)
        return json_lex_complain(p, place, "half of a surrogate pair in a string");
    *written = utf8_write(code, out);
    return CN_OK;
}

/* Finds the closing quote; p->at stands behind the opening one. */
static const char *string_end(const struct json_lexer *p)
{
    for (const char *c = p->at; c < p->end; c++) {
        if (*c == '"') return c;
        if (*c == '\\') c++;
    }
    return NULL;
}

enum cn_status json_lex_string(struct json_lexer *p, char **out, size_t *out_length)
{
    const char *open = p->at++, *close = string_end(p);
    if (!close) return json_lex_complain(p, open, "a string without its closing quote");
    char *text = malloc((size_t)(close - p->at) + 1); /* no escape is shorter than what it means */
    if (!text) return cn_fail(CN_ERR_MEMORY, "out of memory while reading JSON");
    enum cn_status status = CN_OK;
    size_t n = 0, step = 0;
    while (p->at < close) {
        unsigned char c = (unsigned char)*p->at;
        if (c == '\\') {
            p->at++;
            CN_TRY_GOTO(parse_escape(p, text + n, &step), out);
            n += step;
            continue;
        }
        if (c < 0x20) {
            status = json_lex_complain(p, p->at,
                                       "a control character in a string; write it as an escape");
            goto out;
        }
        step = json_utf8_length((const unsigned char *)p->at, (const unsigned char *)close);
        if (!step) {
            status = json_lex_complain(p, p->at, "bytes that are not UTF-8 in a string");
            goto out;
        }
        memcpy(text + n, p->at, step);
        n += step;
        p->at += step;
    }
    p->at = close + 1;
    text[n] = 0;
    *out = text;
    *out_length = n;
    return CN_OK;
out:
    free(text);
    return status;
}

/* ---- blanks, numbers, words ---------------------------------------------- */

static enum cn_status skip_comment(struct json_lexer *p)
{
    const char *open = p->at;
    p->at += 2;
    if (open[1] == '/') {
        while (p->at < p->end && *p->at != '\n')
            p->at++;
        return CN_OK;
    }
    for (; p->end - p->at >= 2; p->at++)
        if (p->at[0] == '*' && p->at[1] == '/') {
            p->at += 2;
            return CN_OK;
        }
    return json_lex_complain(p, open, "a comment without its end");
}

enum cn_status json_lex_blanks(struct json_lexer *p)
{
    for (; p->at < p->end; p->at++) {
        while (p->relaxed && p->end - p->at >= 2 && p->at[0] == '/' &&
               (p->at[1] == '/' || p->at[1] == '*')) {
            CN_TRY(skip_comment(p));
            if (p->at == p->end) return CN_OK;
        }
        if (*p->at != ' ' && *p->at != '\n' && *p->at != '\t' && *p->at != '\r') break;
    }
    return CN_OK;
}

/* The end of the number at `c` by the grammar of JSON, or NULL. */
static const char *number_end(const char *c, const char *end)
{
#define DIGIT(place) ((place) < end && *(place) >= '0' && *(place) <= '9')
    if (c < end && *c == '-') c++;
    if (!DIGIT(c)) return NULL;
    if (*c == '0')
        c++;
    else
        while (DIGIT(c))
            c++;
    if (c < end && *c == '.') {
        if (!DIGIT(c + 1)) return NULL;
        for (c++; DIGIT(c); c++) {
        }
    }
    if (c < end && (*c == 'e' || *c == 'E')) {
        c++;
        if (c < end && (*c == '+' || *c == '-')) c++;
        if (!DIGIT(c)) return NULL;
        while (DIGIT(c))
            c++;
    }
    return c;
#undef DIGIT
}

enum cn_status json_lex_number(struct json_lexer *p, double *out)
{
    const char *end = number_end(p->at, p->end);
    if (!end || (end < p->end && ((*end >= '0' && *end <= '9') || *end == '.')))
        return json_lex_complain(p, p->at, "not a number as JSON writes it");
    size_t length = (size_t)(end - p->at);
    char near[64], *copy = length < sizeof near ? near : malloc(length + 1);
    if (!copy) return cn_fail(CN_ERR_MEMORY, "out of memory while reading JSON");
    memcpy(copy, p->at, length);
    copy[length] = 0;
    double value = strtod(copy, NULL);
    if (copy != near) free(copy);
    if (!isfinite(value)) return json_lex_complain(p, p->at, "a number too large for a double");
    p->at = end;
    *out = value;
    return CN_OK;
}
