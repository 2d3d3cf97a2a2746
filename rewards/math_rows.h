/* Reading tests/data/math: pairs with their verdict, and hostile texts. */
#ifndef REWARDS_MATH_ROWS_H
#define REWARDS_MATH_ROWS_H

#include "carnot/str.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows.tsv: verdict, setup, gold, reply; "⏎" stands for a new line ---- */

struct row {
    struct cn_text verdict, setup, gold, reply;
};

/* The next line that is no comment, its end cut off; false: none. */
static inline bool line_next(struct cn_text file, size_t *at, struct cn_text *line)
{
    while (*at < file.length) {
        const char *begin = file.data + *at, *end = memchr(begin, '\n', file.length - *at);
        size_t length = end ? (size_t)(end - begin) : file.length - *at;
        *at += length + 1;
        *line = (struct cn_text){begin, length};
        if (length && *begin != '#') return true;
    }
    return false;
}

static inline struct cn_text field_next(struct cn_text *line)
{
    const char *tab = memchr(line->data, '\t', line->length);
    struct cn_text field = {line->data, tab ? (size_t)(tab - line->data) : line->length};
    size_t skip = field.length + (tab != NULL);
    line->data += skip;
    line->length -= skip;
    return field;
}

/* Turns "⏎" into a new line and two spaces, in place (the file is the test's own memory). */
static inline void unfold(struct cn_text text)
{
    static const char mark[] = "⏎";
    char *at = (char *)(uintptr_t)text.data;
    for (size_t i = 0; i + 3 <= text.length; i++)
        if (memcmp(at + i, mark, 3) == 0) memcpy(at + i, "\n  ", 3);
}

static inline bool rows_next(struct cn_text file, size_t *at, struct row *row)
{
    struct cn_text line;
    if (!line_next(file, at, &line)) return false;
    row->verdict = field_next(&line);
    row->setup = field_next(&line);
    row->gold = field_next(&line);
    row->reply = line;
    unfold(row->gold);
    unfold(row->reply);
    return true;
}

/* ---- hostile.tsv: front, piece, how often, behind ------------------------ */

static inline bool hostile_next(struct cn_text file, size_t *at, struct cn_str *out)
{
    struct cn_text line;
    cn_str_clear(out);
    if (!line_next(file, at, &line)) return false;
    struct cn_text front = field_next(&line), piece = field_next(&line), count = field_next(&line);
    long n = strtol(count.data, NULL, 10);
    bool good = cn_str_append(out, front.data, front.length) == CN_OK;
    for (long i = 0; good && i < n; i++)
        good = cn_str_append(out, piece.data, piece.length) == CN_OK;
    return good && cn_str_append(out, line.data, line.length) == CN_OK;
}

#endif
