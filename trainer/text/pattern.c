/* Translates regular expressions of tokenizer.json, written for Oniguruma, into PCRE2's dialect.
 *
 * The two agree on most of what tokenizers use; where they do not, the pattern is rewritten (\s),
 * or refused with a message, because a silently different split gives silently different ids. */
#include "newer.h"
#include "pretokenize.h"

#include <string.h>

/* White_Space as ranges: PCRE2's \s also takes U+180E, and its name for the property is newer
 * than 10.39. */
#define SPACE                                                                                      \
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}"    \
    "\\x{205f}\\x{3000}"
#define NOT_SPACE                                                                                  \
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-"         \
    "\\x{1fff}\\x{200b}-\\x{2027}\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}"        \
    "\\x{3001}-\\x{10ffff}"

struct pattern {
    const char *p, *end;
    bool in_class;
    struct cn_str *out;
};

static enum cn_status refuse(const char *what, struct cn_text construct)
{
    return cn_fail(CN_ERR_DATA, "%s '%.*s' in a pattern has no exact equal in PCRE2", what,
                   (int)construct.length, construct.data);
}

/* The characters of a category, or all others.  A negated category inside brackets stays as PCRE2
 * knows it. */
static enum cn_status category(struct pattern *pattern, const char *name, bool negated)
{
    if (pattern->in_class && negated) return cn_str_format(pattern->out, "\\P{%s}", name);
    if (!pattern->in_class) CN_TRY(cn_str_add(pattern->out, negated ? "[^" : "["));
    CN_TRY(cn_str_format(pattern->out, "\\p{%s}", name));
    CN_TRY(newer_append(pattern->out, name));
    return pattern->in_class ? CN_OK : cn_str_add(pattern->out, "]");
}

/* \p{L}: general categories only; scripts mean different sets in different versions. */
static enum cn_status property(struct pattern *pattern)
{
    static const char *const categories[] = {
        "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N",  "Nd", "Nl",
        "No", "P",  "Pc", "Pd", "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk",
        "So", "Z",  "Zs", "Zl", "Zp", "C",  "Cc", "Cf", "Cs", "Co", "Cn"};
    const char *start = pattern->p, *name = start + 2;
    const char *close = pattern->end - start > 3 && start[2] == '{'
                            ? memchr(start, '}', (size_t)(pattern->end - start))
                            : NULL;
    if (!close) return refuse("the property", (struct cn_text){start, 2});
    name++;
    bool negated = *name == '^';
    if (negated) name++;
    struct cn_text text = {name, (size_t)(close - name)};
    for (size_t i = 0; i < sizeof categories / sizeof *categories; i++) {
        if (!cn_text_is(text, categories[i])) continue;
        pattern->p = close + 1;
        return category(pattern, categories[i], negated != (start[1] == 'P'));
    }
    return refuse("the property", text);
}

/* \xHH, \x{H...} and \uHHHH; Oniguruma's \x takes at most two digits too. */
static enum cn_status code_point(struct pattern *pattern)
{
    const char *start = pattern->p, *p = start + 2;
    bool braces = start[1] == 'x' && p < pattern->end && *p == '{';
    size_t limit = braces ? 6 : start[1] == 'u' ? 4 : 2, n = 0;
    if (braces) p++;
    while (p + n < pattern->end && n < limit && p[n] && strchr("0123456789abcdefABCDEF", p[n]))
        n++;
    bool closed = !braces || (p + n < pattern->end && p[n] == '}');
    if (n == 0 || !closed || (start[1] == 'u' && n < 4))
        return refuse("the escape", (struct cn_text){start, 2});
    pattern->p = p + n + (braces ? 1 : 0);
    return cn_str_format(pattern->out, "\\x{%.*s}", (int)n, p);
}

static enum cn_status escape(struct pattern *pattern)
{
    struct cn_text two = {pattern->p, 2};
    if (pattern->end - pattern->p < 2)
        return refuse("the unfinished escape", (struct cn_text){"\\", 1});
    char letter = pattern->p[1];
    if (letter == 'p' || letter == 'P') return property(pattern);
    if (letter == 'x' || letter == 'u') return code_point(pattern);
    if (letter == 's' || letter == 'S') {
        const char *ranges = letter == 's' ? SPACE : NOT_SPACE;
        pattern->p += 2;
        return cn_str_format(pattern->out, pattern->in_class ? "%s" : "[%s]", ranges);
    }
    if (letter == 'd' || letter == 'D') {
        pattern->p += 2;
        return category(pattern, "Nd", letter == 'D');
    }
    bool letter_or_digit = (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z') ||
                           (letter >= '0' && letter <= '9') || (unsigned char)letter >= 0x80;
    if (letter_or_digit && !memchr("rntf", letter, 4)) return refuse("the escape", two);
    pattern->p += 2;
    return cn_str_append(pattern->out, two.data, two.length);
}

/* One character that is not an escape, inside brackets. */
static enum cn_status class_character(struct pattern *pattern)
{
    char c = *pattern->p;
    bool twice = pattern->end - pattern->p > 1 && pattern->p[1] == c;
    if (c == '[') return refuse("the nested class", (struct cn_text){pattern->p, 1});
    if (c == '&' && twice) return refuse("the class intersection", (struct cn_text){pattern->p, 2});
    if (c == ']') pattern->in_class = false;
    pattern->p++;
    return cn_str_append(pattern->out, &c, 1);
}

/* Groups: plain, (?: (?= (?! (?<= (?<! (?> and (?i: */
static enum cn_status group(struct pattern *pattern)
{
    static const char *const known[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    size_t left = (size_t)(pattern->end - pattern->p), length = 1;
    if (left > 1 && pattern->p[1] == '*')
        return refuse("the verb", (struct cn_text){pattern->p, 2});
    if (left > 1 && pattern->p[1] == '?') {
        length = 0;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
            size_t n = strlen(known[i]);
            if (n <= left && memcmp(pattern->p, known[i], n) == 0) length = n;
        }
        if (!length) return refuse("the group", (struct cn_text){pattern->p, left < 4 ? left : 4});
    }
    CN_TRY(cn_str_append(pattern->out, pattern->p, length));
    pattern->p += length;
    return CN_OK;
}

static enum cn_status character(struct pattern *pattern)
{
    char c = *pattern->p;
    if (c == '(') return group(pattern);
    if (c == '^' || c == '$') return refuse("the anchor", (struct cn_text){pattern->p, 1});
    if (c == '}' && pattern->end - pattern->p > 1 && pattern->p[1] == '+')
        return refuse("the quantifier", (struct cn_text){pattern->p, 2});
    if (c == '[') {
        pattern->in_class = true;
        bool negated = pattern->end - pattern->p > 1 && pattern->p[1] == '^';
        CN_TRY(cn_str_add(pattern->out, negated ? "[^" : "["));
        pattern->p += negated ? 2 : 1;
        if (pattern->p < pattern->end && *pattern->p == ']')
            return refuse("the class", (struct cn_text){pattern->p - 1, 2});
        return CN_OK;
    }
    pattern->p++;
    return cn_str_append(pattern->out, &c, 1);
}

enum cn_status pretokenize_translate(struct cn_text text, struct cn_str *out)
{
    struct pattern pattern = {text.data, text.data + text.length, false, out};
    while (pattern.p < pattern.end) {
        if (*pattern.p == '\\')
            CN_TRY(escape(&pattern));
        else if (pattern.in_class)
            CN_TRY(class_character(&pattern));
        else
            CN_TRY(character(&pattern));
    }
    return CN_OK;
}
