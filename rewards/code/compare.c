/* Whether a program printed what it should have. */
#include "code.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f' || c == '\v';
}

/* Takes the next word, or false. */
static bool take_word(struct cn_text *text, struct cn_text *word)
{
    while (text->length && is_space(*text->data))
        text->data++, text->length--;
    *word = (struct cn_text){text->data, 0};
    while (word->length < text->length && !is_space(text->data[word->length]))
        word->length++;
    text->data += word->length;
    text->length -= word->length;
    return word->length > 0;
}

/* Takes the next line without white space at its end, or false behind the last one. */
static bool take_line(struct cn_text *text, struct cn_text *line)
{
    if (!text->length) return false;
    const char *end = memchr(text->data, '\n', text->length);
    size_t n = end ? (size_t)(end - text->data) : text->length;
    *line = (struct cn_text){text->data, n};
    text->data += end ? n + 1 : n;
    text->length -= end ? n + 1 : n;
    while (line->length && is_space(line->data[line->length - 1]))
        line->length--;
    return true;
}

/* A finite decimal number that is the whole word. */
static bool read_number(struct cn_text word, double *out)
{
    char text[64], *end;
    if (!word.length || word.length >= sizeof text) return false;
    memcpy(text, word.data, word.length);
    text[word.length] = 0;
    if (strspn(text, "+-.0123456789eE") != word.length) return false;
    *out = strtod(text, &end);
    return !*end && isfinite(*out);
}

static bool same_word(double tolerance, struct cn_text a, struct cn_text b)
{
    double x, y;
    if (cn_text_equal(a, b)) return true;
    if (!(tolerance > 0) || !read_number(a, &x) || !read_number(b, &y)) return false;
    return fabs(x - y) <= tolerance * fmax(1, fabs(y));
}

static bool same_words(double tolerance, struct cn_text a, struct cn_text b)
{
    struct cn_text x, y;
    for (;;) {
        bool more_a = take_word(&a, &x), more_b = take_word(&b, &y);
        if (!more_a || !more_b) return more_a == more_b;
        if (!same_word(tolerance, x, y)) return false;
    }
}

bool code_same(const struct code_rules *rules, struct cn_text output, struct cn_text expected)
{
    struct cn_text a = {"", 0}, b = {"", 0};
    if (rules->tokens) return same_words(rules->tolerance, output, expected);
    for (;;) {
        bool more_a = take_line(&output, &a), more_b = take_line(&expected, &b);
        while (more_a && !more_b && !a.length)
            more_a = take_line(&output, &a);
        while (more_b && !more_a && !b.length)
            more_b = take_line(&expected, &b);
        if (!more_a || !more_b) return more_a == more_b;
        bool same =
            cn_text_equal(a, b) || (rules->tolerance > 0 && same_words(rules->tolerance, a, b));
        if (!same) return false;
    }
}
