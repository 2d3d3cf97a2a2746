/* The program of a reply: the last block between lines of three backquotes. */
#include "code.h"

#include <string.h>

const char *code_language_name(enum code_language language)
{
    static const char *const names[] = {
#define X(name, word, tags) word,
        CODE_LANGUAGES(X)
#undef X
    };
    return names[language];
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\r';
}

/* The line that begins at `at`, without its end; *next is the begin of the one behind it. */
static struct cn_text line_at(struct cn_text text, size_t at, size_t *next)
{
    const char *end = memchr(text.data + at, '\n', text.length - at);
    size_t n = end ? (size_t)(end - text.data) - at : text.length - at;
    *next = end ? at + n + 1 : text.length;
    return (struct cn_text){text.data + at, n};
}

/* Whether a line is a fence; `tag` is what stands behind the backquotes, trimmed. */
static bool is_fence(struct cn_text line, struct cn_text *tag)
{
    size_t i = 0, ticks = 0;
    while (i < line.length && is_blank(line.data[i]))
        i++;
    while (i < line.length && line.data[i] == '`')
        i++, ticks++;
    while (i < line.length && is_blank(line.data[i]))
        i++;
    *tag = (struct cn_text){line.data + i, line.length - i};
    while (tag->length && is_blank(tag->data[tag->length - 1]))
        tag->length--;
    return ticks >= 3 && !(tag->length && memchr(tag->data, '`', tag->length));
}

/* The language that a word means; false if none of ours.  ASCII case does not matter. */
static bool language_of(struct cn_text word, enum code_language *out)
{
    static const char *const tags[] = {
#define X(name, word, tags) tags,
        CODE_LANGUAGES(X)
#undef X
    };
    for (int language = 0; language < CODE_LANGUAGE_COUNT; language++)
        for (const char *at = tags[language]; *at; at += strspn(at, " ")) {
            size_t n = strcspn(at, " ");
            if (n == word.length && strncasecmp(at, word.data, n) == 0) {
                *out = (enum code_language)language;
                return true;
            }
            at += n;
        }
    return false;
}

struct code_found code_find(struct cn_text reply, bool bare)
{
    struct code_found found = {.text = {NULL, 0}}, block = found;
    bool inside = false, any = false, usable = false;
    size_t begin = 0;
    for (size_t at = 0, next; at < reply.length; at = next) {
        struct cn_text tag, line = line_at(reply, at, &next);
        if (!is_fence(line, &tag)) continue;
        if (inside && tag.length) continue; /* a fence within a string of the program */
        if (inside) {
            block.text = (struct cn_text){reply.data + begin, at - begin};
            /* a block that says its language beats later ones that say none */
            if (usable && (block.tagged || !found.tagged)) found = block;
            inside = false;
            continue;
        }
        struct cn_text word = {tag.data, 0};
        while (word.length < tag.length && !is_blank(tag.data[word.length]))
            word.length++;
        block = (struct code_found){.tagged = language_of(word, &block.language),
                                    .language = block.language};
        usable = block.tagged || !tag.length;
        inside = any = true;
        begin = next;
    }
    found.cut_off = inside;
    if (!any && bare) found.text = reply;
    if (inside) found.text.length = 0;
    return found;
}
