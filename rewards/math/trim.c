/* What stands around an answer: white space, dollars, bold marks, quotes, a full stop. */
#include "tree.h"

#include <string.h>

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct cn_text trim_spaces(struct cn_text text)
{
    while (text.length && (is_space(text.data[0]) || text.data[0] == '~'))
        text.data++, text.length--;
    while (text.length &&
           (is_space(text.data[text.length - 1]) || text.data[text.length - 1] == '~'))
        text.length--;
    return text;
}

static bool strip(struct cn_text *text, const char *front, const char *back)
{
    size_t f = strlen(front), b = strlen(back);
    if (text->length < f + b || memcmp(text->data, front, f) != 0 ||
        memcmp(text->data + text->length - b, back, b) != 0)
        return false;
    text->data += f;
    text->length -= f + b;
    return true;
}

struct cn_text trim_answer(struct cn_text text)
{
    static const char *const pairs[][2] = {{"$$", "$$"}, {"\\(", "\\)"}, {"\\[", "\\]"},
                                           {"**", "**"}, {"`", "`"},     {"\"", "\""},
                                           {"__", "__"}};
    for (bool more = true; more;) {
        more = false;
        text = trim_spaces(text);
        if (text.length > 1 && text.data[text.length - 1] == '.' &&
            text.data[text.length - 2] != '.' && text.data[text.length - 2] != '\\')
            text.length--, more = true;
        else if (text.length > 1 && strchr(",;", text.data[text.length - 1]) &&
                 text.data[text.length - 2] != '\\')
            text.length--, more = true;
        for (size_t i = 0; !more && i < sizeof pairs / sizeof *pairs; i++)
            more = strip(&text, pairs[i][0], pairs[i][1]);
        /* one pair of dollars around everything; "$5" and "$a$ or $b$" keep theirs */
        if (!more && text.length > 2 && text.data[0] == '$' && text.data[text.length - 1] == '$' &&
            text.data[text.length - 2] != '\\' && !memchr(text.data + 1, '$', text.length - 2))
            more = strip(&text, "$", "$");
    }
    return text;
}
