/* A chat template in one spelling.  Both
 *
 *     {{- '<|im_start|>' + message["role"] }}   and   <|im_start|>{{ message.role }}
 *
 * become <|im_start|>{message.role}. */
#include "jinja.h"

#include <string.h>

struct speller {
    const char *at, *end;
    struct cn_str *out, code; /* code: of the tag that is being read */
    size_t floor;             /* in out: behind the last tag, where stripping ends */
    bool line_start;          /* nothing but out[floor..] stands in this line so far */
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* Takes blanks from the end of the text before a tag: all of them, or those that indent the tag. */
static void strip_before(struct speller *s, bool all)
{
    struct cn_str *out = s->out;
    size_t length = out->length;
    while (length > s->floor && is_blank(out->data[length - 1]) &&
           (all || out->data[length - 1] != '\n'))
        length--;
    bool starts_line = length > s->floor ? out->data[length - 1] == '\n' : s->line_start;
    if (!all && !starts_line) return;
    out->length = length;
    if (out->data) out->data[length] = 0;
}

/* A string literal, decoded; s->at is at its opening quote. */
static enum cn_status read_string(struct speller *s, struct cn_str *out)
{
    const char quote = *s->at++;
    for (; s->at < s->end && *s->at != quote; s->at++) {
        char c = *s->at;
        if (c == '\\' && s->at + 1 < s->end) {
            c = *++s->at;
            if (c == 'n') c = '\n';
        }
        CN_TRY(cn_str_append(out, &c, 1));
    }
    s->at += s->at < s->end;
    return CN_OK;
}

/* The expression read so far. */
static enum cn_status flush_code(struct speller *s)
{
    if (s->code.length) CN_TRY(cn_str_format(s->out, "{%s}", s->code.data));
    cn_str_clear(&s->code);
    return CN_OK;
}

/* A string in a tag: a member's name, a text that is written, or a part of the code. */
static enum cn_status add_string(struct speller *s, bool written)
{
    struct cn_str text = {0};
    enum cn_status status = read_string(s, &text);
    const char *data = text.data ? text.data : "";
    bool member = s->code.length && s->code.data[s->code.length - 1] == '[' && s->at < s->end &&
                  *s->at == ']';
    if (status == CN_OK && member) {
        s->code.data[s->code.length - 1] = '.';
        status = cn_str_append(&s->code, data, text.length);
        s->at++;
    } else if (status == CN_OK && written && !s->code.length) {
        status = cn_str_append(s->out, data, text.length);
    } else if (status == CN_OK) {
        status = cn_str_format(&s->code, "'%s'", data);
    }
    cn_str_free(&text);
    return status;
}

/* The inside of a tag up to "}}" or "%}"; `expression`: of the former kind. */
static enum cn_status read_code(struct speller *s, bool expression)
{
    const char *close = expression ? "}}" : "%}";
    int depth = 0;
    cn_str_clear(&s->code);
    while (s->at < s->end) {
        size_t dash = *s->at == '-';
        if ((size_t)(s->end - s->at) >= dash + 2 && memcmp(s->at + dash, close, 2) == 0) break;
        const char c = *s->at;
        depth += (c == '(' || c == '[' || c == '{') - (c == ')' || c == ']' || c == '}');
        if (c == '\'' || c == '"') {
            CN_TRY(add_string(s, expression && depth == 0));
            if (s->at[-1] == ']') depth--;
            continue;
        }
        s->at++;
        if (expression && depth == 0 && (c == '+' || c == '~'))
            CN_TRY(flush_code(s));
        else if (!is_blank(c))
            CN_TRY(cn_str_append(&s->code, &c, 1));
    }
    if (expression) return flush_code(s);
    return s->code.length ? cn_str_format(s->out, "{%%%s%%}", s->code.data) : CN_OK;
}

static enum cn_status read_tag(struct speller *s)
{
    const char kind = s->at[1];
    s->at += 2;
    bool all = s->at < s->end && *s->at == '-';
    s->at += all;
    if (all || kind != '{') strip_before(s, all);
    if (kind == '#') {
        const char *close = memmem(s->at, (size_t)(s->end - s->at), "#}", 2);
        s->at = close ? close : s->end;
        all = close && close[-1] == '-';
    } else {
        CN_TRY(read_code(s, kind == '{'));
        all = s->at < s->end && *s->at == '-';
        s->at += all;
    }
    s->at += s->end - s->at >= 2 ? 2 : s->end - s->at;
    s->line_start = !all && kind != '{' && s->at < s->end && *s->at == '\n';
    s->at += s->line_start;
    while (all && s->at < s->end && is_blank(*s->at))
        s->at++;
    s->floor = s->out->length;
    return CN_OK;
}

enum cn_status jinja_spell(struct cn_text text, struct cn_str *out)
{
    struct speller s = {text.data, text.data + text.length, out, {0}, out->length, true};
    enum cn_status status = CN_OK;
    while (status == CN_OK && s.at < s.end) {
        bool tag = s.end - s.at >= 2 && *s.at == '{' && strchr("{%#", s.at[1]) && s.at[1];
        status = tag ? read_tag(&s) : cn_str_append(out, s.at++, 1);
    }
    cn_str_free(&s.code);
    return status;
}
