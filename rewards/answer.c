/* Reading an answer: numbers, and what may stand around them. */
#include "answer.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static struct cn_text tail(struct cn_text text, size_t from)
{
    struct cn_text rest = {text.data + from, text.length - from};
    return rest;
}

/* Bytes of `what` if the text has it at `at`, else 0. */
static size_t at_word(struct cn_text text, size_t at, const char *what)
{
    size_t n = strlen(what);
    return text.length >= at && text.length - at >= n && memcmp(text.data + at, what, n) == 0 ? n
                                                                                              : 0;
}

static size_t at_any(struct cn_text text, size_t at, const char *const *words)
{
    for (; *words; words++) {
        size_t n = at_word(text, at, *words);
        if (n) return n;
    }
    return 0;
}

struct cn_text answer_trim(struct cn_text text)
{
    while (text.length && is_space(text.data[0]))
        text = tail(text, 1);
    while (text.length && is_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

size_t answer_find(struct cn_text text, size_t from, const char *what)
{
    if (from >= text.length) return SIZE_MAX;
    const char *found = memmem(text.data + from, text.length - from, what, strlen(what));
    return found ? (size_t)(found - text.data) : SIZE_MAX;
}

size_t answer_find_last(struct cn_text text, const char *what)
{
    size_t n = strlen(what);
    for (size_t at = text.length >= n ? text.length - n + 1 : 0; at-- > 0;)
        if (text.data[at] == what[0] && memcmp(text.data + at, what, n) == 0) return at;
    return SIZE_MAX;
}

/* ---- numbers ------------------------------------------------------------- */

/* Digits arrive from the left; leading zeros are dropped, zeros behind are dropped by finish(). */
struct builder {
    struct answer_number *out;
    bool point_seen, overflow;
    size_t pending; /* zeros that count only if a further digit comes */
};

static void put_digit(struct builder *b, char c)
{
    struct answer_number *out = b->out;
    if (!b->point_seen && (out->n || b->pending || c != '0')) out->point++;
    if (c == '0') {
        if (out->n)
            b->pending++;
        else if (b->point_seen)
            out->point--; /* 0.00x: the point moves left */
        return;
    }
    if (out->n + b->pending + 1 > ANSWER_DIGITS_MAX) {
        b->overflow = true;
        return;
    }
    memset(out->digit + out->n, '0', b->pending);
    out->n += b->pending;
    b->pending = 0;
    out->digit[out->n++] = c;
}

/* Separator of groups at `at` that is followed by exactly three digits: its length, else 0. */
static size_t group_at(struct cn_text text, size_t at)
{
    static const char *const separators[] = {",\\!", "{,}", "\\,", ",", NULL};
    size_t n = at_any(text, at, separators), i = at + n;
    if (!n || text.length - i < 3) return 0;
    for (size_t k = 0; k < 3; k++)
        if (!is_digit(text.data[i + k])) return 0;
    return i + 3 < text.length && is_digit(text.data[i + 3]) ? 0 : n;
}

/* Reads sign and currency in front; returns the bytes used. */
static size_t scan_front(struct cn_text text, bool *negative)
{
    static const char *const currencies[] = {"\\$", "$", "£", "€", "¥", "₹", NULL};
    size_t i = 0;
    bool sign = false, currency = false;
    for (;;) {
        size_t n;
        if (!sign && ((n = at_word(text, i, "-")) || (n = at_word(text, i, "−")))) {
            *negative = sign = true;
        } else if (!sign && (n = at_word(text, i, "+"))) {
            sign = true;
        } else if (!currency && (n = at_any(text, i, currencies))) {
            currency = true;
        } else {
            return i;
        }
        i += n;
        while (currency && i < text.length && text.data[i] == ' ')
            i++;
    }
}

/* An exponent at `at`: its length and value, or 0. */
static size_t scan_exponent(struct cn_text text, size_t at, int32_t *value)
{
    size_t i = at;
    if (i >= text.length || (text.data[i] != 'e' && text.data[i] != 'E')) return 0;
    i++;
    bool negative = i < text.length && text.data[i] == '-';
    if (i < text.length && (text.data[i] == '-' || text.data[i] == '+')) i++;
    size_t first = i;
    int32_t sum = 0;
    for (; i < text.length && is_digit(text.data[i]); i++)
        if (sum < 1000000) sum = 10 * sum + (text.data[i] - '0');
    if (i == first || (i < text.length && is_letter(text.data[i]))) return 0;
    *value = negative ? -sum : sum;
    return i - at;
}

enum answer_kind answer_number_scan(struct cn_text text, struct answer_number *out, size_t *used)
{
    out->negative = false;
    out->point = 0;
    out->n = 0;
    struct builder b = {.out = out};
    size_t i = scan_front(text, &out->negative), first = i, run = 0;
    for (; i < text.length && is_digit(text.data[i]); i++, run++)
        put_digit(&b, text.data[i]);
    for (size_t n; run >= 1 && run <= 3 && (n = group_at(text, i)) > 0; i += n + 3)
        for (size_t k = 0; k < 3; k++)
            put_digit(&b, text.data[i + n + k]);
    if (i + 1 < text.length && text.data[i] == '.' && is_digit(text.data[i + 1])) {
        b.point_seen = true;
        for (i++; i < text.length && is_digit(text.data[i]); i++)
            put_digit(&b, text.data[i]);
    }
    *used = i;
    if (i == first) return ANSWER_NOT_A_NUMBER;
    int32_t exponent = 0;
    *used += scan_exponent(text, i, &exponent);
    out->point += exponent;
    if (!out->n) { /* zero has one form */
        out->negative = false;
        out->point = 0;
    }
    bool huge = out->point > ANSWER_DIGITS_MAX || out->point < -ANSWER_DIGITS_MAX;
    return b.overflow || huge ? ANSWER_TOO_LARGE : ANSWER_NUMBER;
}

bool answer_number_equal(const struct answer_number *a, const struct answer_number *b)
{
    return a->negative == b->negative && a->point == b->point && a->n == b->n &&
           memcmp(a->digit, b->digit, a->n) == 0;
}

size_t answer_number_print(const struct answer_number *number, char out[ANSWER_PRINT_MAX])
{
    size_t length = 0;
    int32_t n = (int32_t)number->n, point = number->point;
    if (number->negative) out[length++] = '-';
    if (point <= 0) out[length++] = '0';
    for (int32_t i = 0; i < point; i++)
        out[length++] = i < n ? number->digit[i] : '0';
    if (n > point && n > 0) {
        out[length++] = '.';
        for (int32_t i = point; i < n; i++)
            out[length++] = i < 0 ? '0' : number->digit[i];
    }
    return length;
}

/* ---- what may stand around a number -------------------------------------- */

/* Without white space and marks of emphasis or mathematics at both ends. */
static struct cn_text strip_marks(struct cn_text text)
{
    static const char *const fronts[] = {"**", "*", "\\(", "\\[", "\"", "'", "`", "\\displaystyle",
                                         NULL};
    static const char *const backs[] = {"**", "*", "\\)", "\\]", "\"", "'", "`", ".", NULL};
    for (;;) {
        size_t before = text.length, n;
        text = answer_trim(text);
        while ((n = at_any(text, 0, fronts)) > 0)
            text = tail(text, n);
        for (const char *const *w = backs; *w; w++) {
            n = strlen(*w);
            if (text.length >= n && memcmp(text.data + text.length - n, *w, n) == 0)
                text.length -= n;
        }
        /* $x$ is mathematics, a lone $ in front is a currency */
        bool closed = text.length > 1 && text.data[text.length - 1] == '$' &&
                      text.data[text.length - 2] != '\\';
        if (closed) text.length--;
        if (closed && text.data[0] == '$') text = tail(text, 1);
        if (text.length == before) return text;
    }
}

/* Takes \boxed{X}, \fbox{X} and \text{X} off as long as they enclose everything. */
static struct cn_text strip_boxes(struct cn_text text)
{
    static const char *const boxes[] = {"\\boxed{",  "\\fbox{",   "\\text{",
                                        "\\textbf{", "\\mathbf{", NULL};
    for (int level = 0; level < 4; level++) {
        text = strip_marks(text);
        size_t n = at_any(text, 0, boxes);
        if (!n || text.data[text.length - 1] != '}') return text;
        text = tail(text, n);
        text.length--;
    }
    return text;
}

/* Words that make "5 WORD" another number, or no single one. */
static bool word_changes_value(struct cn_text word)
{
    static const char *const words[] = {
        "or",      "and",      "to",       "vs",     "hundred", "thousand", "million",
        "billion", "trillion", "dozen",    "dozens", "half",    "halves",   "third",
        "thirds",  "quarter",  "quarters", "times",  "plus",    "minus",    "over",
        "pi",      "squared",  "cubed",    "sqrt",   "st",      "nd",       "rd",
        "th",      "not",      "maybe",    "either", NULL};
    if (word.length == 1) return !memchr("mgshlLCFKJNWV", word.data[0], 13);
    for (const char *const *w = words; *w; w++) {
        size_t n = strlen(*w), same = 0;
        while (n == word.length && same < n && lower(word.data[same]) == (*w)[same])
            same++;
        if (n == word.length && same == n) return true;
    }
    return false;
}

/* Bytes of one harmless piece behind a number (a unit, a per cent sign ...), or 0. */
static size_t unit_piece(struct cn_text text, size_t at)
{
    static const char *const marks[] = {
        "\\text{", "\\textbf{", "\\mathrm{", "\\%",       "\\$",    "\\,",      "\\!",
        "\\;",     "\\ ",       "^\\circ",   "^{\\circ}", "\\circ", "\\degree", "°",
        "€",       "£",         "¥",         "%",         "$",      "{",        "}",
        ".",       "*",         "'",         "\"",        "\\quad", "~",        NULL};
    static const char *const per[] = {"/", NULL};
    static const char *const powers[] = {"^2", "^3", "^{2}", "^{3}", "²", "³", NULL};
    size_t n = at_any(text, at, marks);
    if (n) return n;
    char c = text.data[at];
    bool unit_before = at > 0 && (is_letter(text.data[at - 1]) || text.data[at - 1] == '}');
    if (unit_before && (n = at_any(text, at, powers)) > 0) return n;
    if (is_space(c)) return 1;
    if (is_letter(c)) {
        struct cn_text word = {text.data + at, 0};
        while (at + word.length < text.length && is_letter(word.data[word.length]))
            word.length++;
        return word_changes_value(word) ? 0 : word.length;
    }
    /* "km/h": a slash between two unit words */
    bool between = at > 0 && is_letter(text.data[at - 1]) && at + 1 < text.length &&
                   is_letter(text.data[at + 1]);
    return between ? at_any(text, at, per) : 0;
}

/* Takes "x =" off; a front that hints at several values keeps the text as it is, which is then no
 * number. */
static struct cn_text strip_name(struct cn_text text)
{
    const char *equals = memchr(text.data, '=', text.length);
    if (!equals) return text;
    size_t front = (size_t)(equals - text.data);
    struct cn_text name = {text.data, front}, rest = answer_trim(tail(text, front + 1));
    if (memchr(rest.data, '=', rest.length)) return text;
    for (size_t i = 0; i < front; i++) {
        if (memchr(",;|", name.data[i], 3)) return text;
        bool starts = is_letter(name.data[i]) && (i == 0 || !is_letter(name.data[i - 1]));
        bool word = starts && (at_word(name, i, "or ") || at_word(name, i, "and ") ||
                               at_word(name, i, "or\\"));
        if (word) return text;
    }
    return rest;
}

enum answer_kind answer_number_read(struct cn_text text, struct answer_number *out)
{
    text = strip_boxes(text);
    if (!text.length) return ANSWER_NOT_A_NUMBER;
    text = strip_name(text);
    size_t used;
    enum answer_kind kind = answer_number_scan(text, out, &used);
    if (kind == ANSWER_NOT_A_NUMBER) return kind;
    while (used < text.length) {
        size_t n = unit_piece(text, used);
        if (!n) return ANSWER_NOT_A_NUMBER;
        used += n;
    }
    return kind;
}

/* Next byte of the folded form, or -1 at the end: lower case, one space for a run of white space.
 */
static int next_folded(struct cn_text text, size_t *at)
{
    if (*at >= text.length) return -1;
    char c = text.data[(*at)++];
    if (!is_space(c)) return (unsigned char)lower(c);
    while (*at < text.length && is_space(text.data[*at]))
        (*at)++;
    return ' ';
}

bool answer_text_equal(struct cn_text a, struct cn_text b)
{
    a = strip_boxes(a);
    b = strip_boxes(b);
    size_t i = 0, j = 0;
    for (;;) {
        int x = next_folded(a, &i), y = next_folded(b, &j);
        if (x != y) return false;
        if (x < 0) return true;
    }
}

bool answer_equal(struct cn_text a, struct cn_text b)
{
    struct answer_number x, y;
    if (answer_number_read(a, &x) == ANSWER_NUMBER && answer_number_read(b, &y) == ANSWER_NUMBER)
        return answer_number_equal(&x, &y);
    return answer_text_equal(a, b);
}
