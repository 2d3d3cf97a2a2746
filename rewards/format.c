/* The form of a reply, whatever it says: 1 if it has the form, else 0.
 *
 *   boxed   exactly one \boxed{...}, closed and not empty
 *   gsm8k   the last line with text is "#### NUMBER", and no other line has ####
 *   think   "<think>" first and once, "</think>" once, and text behind it (DeepSeek-R1's form)
 *   tags    each of `tags` opens and closes exactly once, in this order, with text inside
 *   text    starts with `prefix` and ends with `suffix` */
#include "carnot/reward.h"

#include "answer.h"

#include <stddef.h>
#include <string.h>

enum style { STYLE_BOXED, STYLE_GSM8K, STYLE_THINK, STYLE_TAGS, STYLE_TEXT };

struct settings {
    int style;
    struct cn_texts tags;
    const char *prefix, *suffix;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "style", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, style), .fallback = "\"boxed\"",
     .choices = "boxed gsm8k think tags text", .help = "the form that is asked for"},
    {.name = "tags", .kind = CN_OPTION_TEXTS, .offset = offsetof(struct settings, tags), .fallback = "[\"think\", \"answer\"]",
     .help = "names of the tags of style=tags, in order"},
    {.name = "prefix", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, prefix), .fallback = "null", .nullable = true,
     .help = "how a reply of style=text starts"},
    {.name = "suffix", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, suffix), .fallback = "null", .nullable = true,
     .help = "how a reply of style=text ends, white space aside"},
    {0},
};
// clang-format on

enum { TAG_MAX = 64 };

static bool has_text(struct cn_text text, size_t begin, size_t end)
{
    struct cn_text part = {text.data + begin, end - begin};
    return answer_trim(part).length > 0;
}

/* Place of `what` if it occurs exactly once, else SIZE_MAX. */
static size_t find_once(struct cn_text text, const char *what)
{
    size_t at = answer_find(text, 0, what);
    if (at == SIZE_MAX || answer_find(text, at + 1, what) != SIZE_MAX) return SIZE_MAX;
    return at;
}

static bool is_gsm8k(struct cn_text reply)
{
    reply = answer_trim(reply);
    size_t at = find_once(reply, "####");
    if (at == SIZE_MAX || (at > 0 && reply.data[at - 1] != '\n')) return false;
    if (memchr(reply.data + at, '\n', reply.length - at)) return false;
    struct answer_number number;
    return answer_number_read(answer_hash(reply).text, &number) != ANSWER_NOT_A_NUMBER;
}

static bool is_think(struct cn_text reply)
{
    reply = answer_trim(reply);
    size_t open = find_once(reply, "<think>"), close = find_once(reply, "</think>");
    return open == 0 && close != SIZE_MAX &&
           has_text(reply, close + strlen("</think>"), reply.length);
}

static bool is_tags(const struct settings *settings, struct cn_text reply)
{
    size_t after = 0;
    for (size_t i = 0; i < settings->tags.count; i++) {
        char open[TAG_MAX + 3], close[TAG_MAX + 4];
        const char *tag = settings->tags.value[i];
        size_t n = strlen(tag);
        if (n == 0 || n > TAG_MAX) return false;
        open[0] = close[0] = '<';
        close[1] = '/';
        memcpy(open + 1, tag, n);
        memcpy(close + 2, tag, n);
        memcpy(open + 1 + n, ">", 2);
        memcpy(close + 2 + n, ">", 2);
        size_t begin = find_once(reply, open), end = find_once(reply, close);
        if (begin == SIZE_MAX || end == SIZE_MAX || begin < after || end < begin) return false;
        if (!has_text(reply, begin + n + 2, end)) return false;
        after = end + n + 3;
    }
    return true;
}

static bool is_text(const struct settings *settings, struct cn_text reply)
{
    size_t n = settings->prefix ? strlen(settings->prefix) : 0;
    if (reply.length < n || (n && memcmp(reply.data, settings->prefix, n) != 0)) return false;
    struct cn_text rest = {reply.data + n, reply.length - n};
    n = settings->suffix ? strlen(settings->suffix) : 0;
    rest = answer_trim(rest);
    return rest.length >= n &&
           (!n || memcmp(rest.data + rest.length - n, settings->suffix, n) == 0);
}

static bool is_boxed(struct cn_text reply)
{
    struct answer_found found = answer_boxed(reply);
    return found.count == 1 && !found.cut_off && found.text.length > 0;
}

static bool has_form(const struct settings *settings, struct cn_text reply)
{
    switch (settings->style) {
    case STYLE_BOXED:
        return is_boxed(reply);
    case STYLE_GSM8K:
        return is_gsm8k(reply);
    case STYLE_THINK:
        return is_think(reply);
    case STYLE_TAGS:
        return is_tags(settings, reply);
    default:
        return is_text(settings, reply);
    }
}

static enum cn_status format_score(const void *settings, const struct cn_episode *episodes,
                                   size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    (void)arena;
    for (size_t i = 0; i < n; i++) {
        struct cn_text reply = episodes[i].response;
        if (reply.length > ANSWER_SCAN_MAX) reply.length = ANSWER_SCAN_MAX;
        bool good = reply.length == episodes[i].response.length && has_form(settings, reply);
        out[i] = (struct cn_outcome){.score = good ? 1 : 0,
                                     .has_score = true,
                                     .verdict = good ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG};
    }
    return CN_OK;
}

const struct cn_reward cn_reward_format = {
    .name = "format",
    .summary = "1 if the reply has the form that is asked for, whatever it says",
    .reference = "think: DeepSeek-AI 2025, arXiv 2501.12948, section 2.2.2",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .score = format_score,
};
