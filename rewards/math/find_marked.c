/* Answers that a reply marks: \boxed{}, "####", <answer>, $...$. */
#include "find.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static bool has(struct cn_text text, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= text.length && text.length - at >= n && memcmp(text.data + at, what, n) == 0;
}

struct cn_text find_slice(struct cn_text text, size_t begin, size_t end)
{
    struct cn_text part = {text.data + begin, end - begin};
    return part;
}

struct cn_text find_trim(struct cn_text text)
{
    while (text.length && is_space(text.data[0]))
        text.data++, text.length--;
    while (text.length && is_space(text.data[text.length - 1]))
        text.length--;
    return text;
}

size_t find_text(struct cn_text text, size_t from, const char *what)
{
    if (from >= text.length) return SIZE_MAX;
    const char *at = memmem(text.data + from, text.length - from, what, strlen(what));
    return at ? (size_t)(at - text.data) : SIZE_MAX;
}

size_t find_last(struct cn_text text, const char *what)
{
    size_t n = strlen(what);
    for (size_t at = text.length >= n ? text.length - n + 1 : 0; at-- > 0;)
        if (text.data[at] == what[0] && memcmp(text.data + at, what, n) == 0) return at;
    return SIZE_MAX;
}

struct found find_none(void)
{
    struct found none;
    none.text = (struct cn_text){"", 0};
    none.n = 0;
    none.either = none.cut = false;
    return none;
}

struct found find_one(struct cn_text text)
{
    struct found one = find_none();
    text = find_trim(text);
    if (!text.length) return one;
    one.text = one.part[0] = text;
    one.n = 1;
    return one;
}

bool find_joins(struct cn_text gap, bool *either)
{
    static const char *const joints[] = {
        "\\text{and}", "\\text{or}", "\\text{ and }", "\\text{ or }", "\\quad", "\\qquad",
        "and",         "or",         "\\,",           "\\;",          NULL};
    for (size_t i = 0; i < gap.length;) {
        const char *const *j = joints;
        while (*j && !has(gap, i, *j))
            j++;
        if (*j) {
            *either |= strstr(*j, "or") != NULL;
            i += strlen(*j);
        } else if (strchr(" \t\r\n,;$&", gap.data[i]) && gap.data[i]) {
            i++;
        } else {
            return false;
        }
    }
    return true;
}

/* Adds a place that ends the run so far, or starts a new one. */
static void extend(struct found *run, struct cn_text reply, struct cn_text piece, size_t begin,
                   size_t end)
{
    size_t before = run->n ? (size_t)(run->text.data - reply.data) + run->text.length : 0;
    bool either = run->either;
    bool joined = run->n && find_joins(find_slice(reply, before, begin), &either);
    if (joined && cn_text_equal(run->part[run->n - 1], piece)) { /* said twice */
        run->text.length = (size_t)(reply.data + end - run->text.data);
        return;
    }
    if (joined && run->n < FIND_RUN_MAX) {
        run->part[run->n++] = piece;
        run->either = either;
        run->text.length = (size_t)(reply.data + end - run->text.data);
        return;
    }
    run->part[0] = piece;
    run->n = 1;
    run->either = false;
    run->text = find_slice(reply, begin, end);
}

/* What is extracted: a run from its first mark to its last, a single place without its mark. */
static struct found finish(struct found run)
{
    if (run.n == 1) run.text = run.part[0];
    if (run.n == 1 && !run.text.length) run.n = 0;
    return run;
}

/* End of the group that opens at `open`; SIZE_MAX: it never closes.  \{ and \} do not count. */
static size_t close_brace(struct cn_text text, size_t open)
{
    size_t depth = 0;
    for (size_t i = open; i < text.length; i++) {
        if (text.data[i] == '\\')
            i++;
        else if (text.data[i] == '{')
            depth++;
        else if (text.data[i] == '}' && --depth == 0)
            return i;
    }
    return SIZE_MAX;
}

struct found find_boxed(struct cn_text reply)
{
    struct found run = find_none();
    for (size_t i = 0; i < reply.length;) {
        const char *at = memchr(reply.data + i, '\\', reply.length - i);
        if (!at) break;
        i = (size_t)(at - reply.data);
        size_t begin = i, n = has(reply, i, "\\boxed") ? 6 : has(reply, i, "\\fbox") ? 5 : 0;
        i += n ? n : 1;
        if (!n) continue;
        while (i < reply.length && reply.data[i] == ' ')
            i++;
        bool group = i < reply.length && reply.data[i] == '{';
        size_t end = group ? close_brace(reply, i) : i;
        if (end == SIZE_MAX) { /* cut off: an earlier box was not the last word */
            run = find_none();
            run.cut = true;
            return run;
        }
        while (!group && end < reply.length && !is_space(reply.data[end]) && reply.data[end] != '$')
            end++;
        struct cn_text piece = find_trim(find_slice(reply, i + group, end));
        i = end + group;
        extend(&run, reply, piece, begin, i);
        run.cut = !piece.length;
    }
    return finish(run);
}

struct found find_hash(struct cn_text reply)
{
    size_t at = find_last(reply, "####");
    if (at == SIZE_MAX) return find_none();
    at += 4;
    size_t end = at;
    while (end < reply.length && reply.data[end] != '\n')
        end++;
    struct found found = find_one(find_slice(reply, at, end));
    found.cut = !found.n;
    return found;
}

struct found find_tag(struct cn_text reply)
{
    size_t open = find_last(reply, "<answer>"), close = find_last(reply, "</answer>");
    struct found found = find_none();
    if (open == SIZE_MAX) return found;
    if (close == SIZE_MAX || close < open) { /* opened and not closed */
        found.cut = true;
        return found;
    }
    /* of nested tags the innermost: the end that follows the last start */
    close = find_text(reply, open, "</answer>");
    found = find_one(find_slice(reply, open + 8, close));
    found.cut = !found.n;
    return found;
}

/* A formula that begins at `at`: where its content and the whole end; false: none. */
static bool formula(struct cn_text reply, size_t at, size_t *content, size_t *content_end,
                    size_t *end)
{
    static const char *const marks[][2] = {
        {"$$", "$$"}, {"\\(", "\\)"}, {"\\[", "\\]"}, {"$", "$"}, {NULL, NULL}};
    for (size_t m = 0; marks[m][0]; m++) {
        if (!has(reply, at, marks[m][0])) continue;
        size_t begin = at + strlen(marks[m][0]), close = begin;
        do
            close = find_text(reply, close, marks[m][1]);
        while (close != SIZE_MAX && close > begin && reply.data[close - 1] == '\\' && close++);
        if (close == SIZE_MAX || close == begin) return false;
        /* an inline formula does not run over an empty line */
        bool paragraphs = find_text(find_slice(reply, 0, close), begin, "\n\n") != SIZE_MAX;
        if (paragraphs && !marks[m][0][1]) return false;
        *content = begin;
        *content_end = close;
        *end = close + strlen(marks[m][1]);
        return true;
    }
    return false;
}

struct found find_math(struct cn_text reply)
{
    struct found run = find_none();
    size_t misses = 0;
    for (size_t i = 0; i < reply.length && misses < 64; i++) {
        size_t begin, content_end, end;
        char c = reply.data[i];
        if (c == '\\' && i + 1 < reply.length && reply.data[i + 1] == '$') i++;
        if (c != '$' && c != '\\') continue;
        if (c == '\\' && !has(reply, i, "\\(") && !has(reply, i, "\\[")) continue;
        if (!formula(reply, i, &begin, &content_end, &end)) {
            misses++; /* each miss reads on to the end: so many are enough */
            continue;
        }
        extend(&run, reply, find_trim(find_slice(reply, begin, content_end)), i, end);
        i = end - 1;
    }
    return finish(run);
}
