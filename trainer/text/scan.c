/* A forward-only reader of JSON text. */
#include "scan.h"

#include "utf8.h"

#include <stdio.h>
#include <string.h>

enum { DEPTH_MAX = 200 };

void scan_init(struct scan *scan, struct cn_text text, const char *name, const char *origin)
{
    *scan = (struct scan){origin, text.data, text.data + text.length, name};
}

enum cn_status scan_fail(const struct scan *scan, const char *message)
{
    size_t line = 1;
    const char *start = scan->begin;
    for (const char *p = scan->begin; p < scan->p; p++)
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    return cn_fail(CN_ERR_DATA, "%s, line %zu, column %zu: %s", scan->name, line,
                   (size_t)(scan->p - start) + 1, message);
}

char scan_peek(struct scan *scan)
{
    while (scan->p < scan->end &&
           (*scan->p == ' ' || *scan->p == '\n' || *scan->p == '\r' || *scan->p == '\t'))
        scan->p++;
    return scan->p < scan->end ? *scan->p : 0;
}

static enum cn_status unexpected(const struct scan *scan, const char *wanted)
{
    char message[96];
    snprintf(message, sizeof message, "expected %s, found %s", wanted,
             scan->p >= scan->end ? "the end of the file (is it truncated?)" : "something else");
    return scan_fail(scan, message);
}

enum cn_status scan_open(struct scan *scan, char open)
{
    if (scan_peek(scan) != open)
        return unexpected(scan, open == '{' ? "an object '{'" : "a list '['");
    scan->p++;
    return CN_OK;
}

enum cn_status scan_more(struct scan *scan, char close, size_t *count, bool *more)
{
    char next = scan_peek(scan);
    *more = next != close;
    if (!*more) {
        scan->p++;
        return CN_OK;
    }
    if ((*count)++ == 0) return CN_OK;
    if (next != ',') return unexpected(scan, close == '}' ? "',' or '}'" : "',' or ']'");
    scan->p++;
    return CN_OK;
}

static int hex4(const char *p, const char *end)
{
    int value = 0;
    if (end - p < 4) return -1;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Resolves the escape at scan->p, which stands on the letter after the backslash. */
static enum cn_status scan_escape(struct scan *scan, struct cn_str *buffer)
{
    static const char letters[] = "\"\\/bfnrt", meaning[] = "\"\\/\b\f\n\r\t";
    if (scan->p >= scan->end) return unexpected(scan, "the rest of an escape");
    const char *known = memchr(letters, *scan->p, sizeof letters - 1);
    if (known) {
        scan->p++;
        return cn_str_append(buffer, &meaning[known - letters], 1);
    }
    if (*scan->p != 'u') return scan_fail(scan, "unknown escape in a string");
    int code = hex4(scan->p + 1, scan->end);
    if (code < 0) return scan_fail(scan, "\\u needs four hexadecimal digits");
    scan->p += 5;
    if (code >= 0xD800 && code < 0xE000) {
        int low = scan->end - scan->p >= 6 && scan->p[0] == '\\' && scan->p[1] == 'u'
                      ? hex4(scan->p + 2, scan->end)
                      : -1;
        if (code >= 0xDC00 || low < 0xDC00 || low >= 0xE000)
            return scan_fail(scan, "half a surrogate pair in a string");
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        scan->p += 6;
    }
    char bytes[4];
    return cn_str_append(buffer, bytes, utf8_put((uint32_t)code, bytes));
}

enum cn_status scan_string(struct scan *scan, struct cn_str *buffer, struct cn_text *out)
{
    if (scan_peek(scan) != '"') return unexpected(scan, "a string");
    const char *start = ++scan->p;
    bool copied = false;
    for (;;) {
        const char *p = scan->p;
        while (p < scan->end && *p != '"' && *p != '\\' && (unsigned char)*p >= 0x20)
            p++;
        if (copied) CN_TRY(cn_str_append(buffer, scan->p, (size_t)(p - scan->p)));
        scan->p = p;
        if (p >= scan->end) return unexpected(scan, "the end of a string");
        if (*p == '"') break;
        if (*p != '\\') return scan_fail(scan, "a control character in a string");
        if (!copied) {
            cn_str_clear(buffer);
            CN_TRY(cn_str_append(buffer, start, (size_t)(p - start)));
            copied = true;
        }
        scan->p++;
        CN_TRY(scan_escape(scan, buffer));
    }
    *out = copied ? cn_str_text(buffer) : (struct cn_text){start, (size_t)(scan->p - start)};
    scan->p++;
    return CN_OK;
}

enum cn_status scan_key(struct scan *scan, struct cn_str *buffer, struct cn_text *out)
{
    CN_TRY(scan_string(scan, buffer, out));
    if (scan_peek(scan) != ':') return unexpected(scan, "':'");
    scan->p++;
    return CN_OK;
}

enum cn_status scan_index(struct scan *scan, uint32_t maximum, uint32_t *out)
{
    char first = scan_peek(scan);
    if (first < '0' || first > '9') return unexpected(scan, "a whole number that is not negative");
    uint64_t value = 0;
    for (; scan->p < scan->end && *scan->p >= '0' && *scan->p <= '9'; scan->p++) {
        value = value * 10 + (uint64_t)(*scan->p - '0');
        if (value > maximum) return scan_fail(scan, "the number is too large");
    }
    if (scan->p < scan->end && (*scan->p == '.' || *scan->p == 'e' || *scan->p == 'E'))
        return scan_fail(scan, "expected a whole number");
    *out = (uint32_t)value;
    return CN_OK;
}

enum cn_status scan_skip(struct scan *scan, struct cn_text *raw)
{
    struct cn_str buffer = {0};
    struct cn_text ignored;
    enum cn_status status = CN_OK;
    int depth = 0;
    char first = scan_peek(scan);
    const char *start = scan->p;
    do {
        first = scan_peek(scan);
        if (first == 0) {
            status = unexpected(scan, "a value");
        } else if (first == '"') {
            status = scan_string(scan, &buffer, &ignored);
        } else if (first == '{' || first == '[') {
            scan->p++;
            if (++depth > DEPTH_MAX) status = scan_fail(scan, "nested more than 200 deep");
        } else if (first == '}' || first == ']') {
            if (depth-- == 0)
                status = unexpected(scan, "a value");
            else
                scan->p++;
        } else if (first == ',' || first == ':') {
            if (depth == 0)
                status = unexpected(scan, "a value");
            else
                scan->p++;
        } else {
            while (scan->p < scan->end && !strchr(" \n\r\t,:]}[{\"", *scan->p))
                scan->p++;
            if (scan->p < scan->end && *scan->p == 0) status = unexpected(scan, "a value");
        }
    } while (status == CN_OK && depth > 0);
    cn_str_free(&buffer);
    if (status == CN_OK) *raw = (struct cn_text){start, (size_t)(scan->p - start)};
    return status;
}

static enum cn_status member(struct scan *scan, struct cn_str *buffer, const char *const *key,
                             size_t n_keys, struct cn_text *raw)
{
    struct cn_text name, value;
    CN_TRY(scan_key(scan, buffer, &name));
    size_t which = 0;
    while (which < n_keys && !cn_text_is(name, key[which]))
        which++;
    if (which < n_keys && raw[which].length) {
        char message[80];
        snprintf(message, sizeof message, "key \"%s\" stands there twice", key[which]);
        return scan_fail(scan, message);
    }
    CN_TRY(scan_skip(scan, &value));
    if (which < n_keys) raw[which] = value;
    return CN_OK;
}

enum cn_status scan_members(struct scan *scan, const char *const *key, size_t n_keys,
                            struct cn_text *raw)
{
    struct cn_str buffer = {0};
    enum cn_status status;
    bool more;
    size_t count = 0;
    memset(raw, 0, n_keys * sizeof *raw);
    CN_TRY(scan_open(scan, '{'));
    for (;;) {
        CN_TRY_GOTO(scan_more(scan, '}', &count, &more), out);
        if (!more) break;
        CN_TRY_GOTO(member(scan, &buffer, key, n_keys, raw), out);
    }
out:
    cn_str_free(&buffer);
    return status;
}
