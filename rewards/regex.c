/* A regular expression on the reply (PCRE2, UTF-8 where the reply is UTF-8).
 *
 * Without `group`: 1 if it is found.  With `group`: 1 if what that group caught in the last match
 * equals the known answer, white space at the ends aside.  The work of a match is bounded in steps,
 * not in seconds; beyond it the verdict is `budget`. */
#include "carnot/reward.h"

#include "answer.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>
#include <stddef.h>
#include <string.h>

enum { STEPS_MAX = 1000000, MATCHES_MAX = 1000 };

struct settings {
    const char *pattern, *after;
    int64_t group;
    pcre2_code *code; /* by open */
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "pattern", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, pattern), .fallback = "\"\"",
     .help = "the expression; ^ and $ are the ends of the reply, (?m) makes them ends of lines, (?s) lets . be a line end"},
    {.name = "group", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, group), .fallback = "0", .minimum = 0, .maximum = 99,
     .help = "number of the group that must catch the known answer; 0: the expression must only be found"},
    {.name = "after", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, after), .fallback = "null", .nullable = true,
     .help = "only what follows the last occurrence of this text is searched"},
    {0},
};
// clang-format on

static enum cn_status regex_open(void *given, struct cn_arena *arena)
{
    struct settings *settings = given;
    uint32_t groups = 0;
    int fault;
    size_t at;
    (void)arena;
    if (!*settings->pattern) return cn_fail(CN_ERR_CONFIG, "pattern is empty");
    settings->code = pcre2_compile((PCRE2_SPTR)settings->pattern, PCRE2_ZERO_TERMINATED,
                                   PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &fault, &at, NULL);
    if (!settings->code) {
        char text[128] = "";
        pcre2_get_error_message(fault, (PCRE2_UCHAR *)text, sizeof text);
        return cn_fail(CN_ERR_CONFIG, "pattern, byte %zu: %s", at, text);
    }
    pcre2_pattern_info(settings->code, PCRE2_INFO_CAPTURECOUNT, &groups);
    if ((uint32_t)settings->group <= groups) return CN_OK;
    pcre2_code_free(settings->code);
    settings->code = NULL;
    return cn_fail(CN_ERR_CONFIG, "group=%lld, but the pattern has %u groups",
                   (long long)settings->group, groups);
}

static void regex_close(void *given)
{
    struct settings *settings = given;
    pcre2_code_free(settings->code);
    settings->code = NULL;
}

/* The last match: 1, 0 none, below 0 an error of the library; the group's place in *out. */
static int last_match(const struct settings *settings, pcre2_match_data *data,
                      pcre2_match_context *context, struct cn_text text, struct cn_text *out)
{
    size_t from = 0;
    int found = 0;
    for (int i = 0; i < MATCHES_MAX && from <= text.length; i++) {
        int count =
            pcre2_match(settings->code, (PCRE2_SPTR)text.data, text.length, from, 0, data, context);
        if (count == PCRE2_ERROR_NOMATCH) break;
        if (count < 0) return count;
        const size_t *place = pcre2_get_ovector_pointer(data);
        const size_t begin = place[2 * settings->group], end = place[2 * settings->group + 1];
        found = 1;
        *out = (struct cn_text){"", 0};
        if (count > settings->group && begin != PCRE2_UNSET && end >= begin)
            *out = (struct cn_text){text.data + begin, end - begin};
        if (!settings->group) break; /* found is all that counts */
        from = place[1] > from ? place[1] : from + 1;
    }
    return found;
}

static enum cn_verdict judge(const struct settings *settings, const struct cn_episode *episode,
                             pcre2_match_data *data, pcre2_match_context *context,
                             struct cn_text *caught)
{
    struct cn_text text = answer_final_part(episode, settings->after);
    if (!text.data) text.data = "";
    if (text.length > ANSWER_SCAN_MAX) {
        text.data += text.length - ANSWER_SCAN_MAX;
        text.length = ANSWER_SCAN_MAX;
    }
    if (settings->group && !answer_trim(episode->ground_truth).length) return CN_VERDICT_BAD_GOLD;
    int found = last_match(settings, data, context, text, caught);
    if (found < 0) return CN_VERDICT_BUDGET;
    if (!found) return CN_VERDICT_NO_ANSWER;
    bool right =
        !settings->group || cn_text_equal(answer_trim(*caught), answer_trim(episode->ground_truth));
    return right ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
}

static enum cn_status regex_score(const void *given, const struct cn_episode *episodes, size_t n,
                                  struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    pcre2_match_context *context = pcre2_match_context_create(NULL);
    pcre2_match_data *data = pcre2_match_data_create_from_pattern(settings->code, NULL);
    enum cn_status status = CN_OK;
    (void)arena;
    if (!context || !data) status = cn_fail(CN_ERR_MEMORY, "out of memory: rewards.regex");
    if (context) pcre2_set_match_limit(context, STEPS_MAX);
    for (size_t i = 0; i < n && status == CN_OK; i++) {
        struct cn_text caught = {NULL, 0};
        enum cn_verdict verdict = judge(settings, &episodes[i], data, context, &caught);
        out[i] = (struct cn_outcome){.score = verdict == CN_VERDICT_CORRECT ? 1 : 0,
                                     .has_score = verdict != CN_VERDICT_BAD_GOLD,
                                     .verdict = verdict,
                                     .extracted = caught};
    }
    pcre2_match_data_free(data);
    pcre2_match_context_free(context);
    return status;
}

const struct cn_reward cn_reward_regex = {
    .name = "regex",
    .summary = "1 if a regular expression is found, or catches the known answer",
    .reference = "expressions: pcre2pattern(3)",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .open = regex_open,
    .close = regex_close,
    .score = regex_score,
};
