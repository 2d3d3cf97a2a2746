/* Sums with the right value: the known answer is a number, and the reply must write it as a sum of
 * so many positive whole numbers, "12+20+5" for 37.  Any such sum is right. */
#include "answer.h"

#include "carnot/reward.h"

#include <stddef.h>

enum { TERMS_MAX = 8, VALUE_MAX = 1000000000 };
enum where { WHERE_WHOLE, WHERE_LAST };

struct settings {
    int64_t terms;
    int where;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "terms", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, terms), .fallback = "3", .minimum = 2, .maximum = TERMS_MAX,
     .help = "how many numbers the sum must have"},
    {.name = "where", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, where), .fallback = "\"whole\"", .choices = "whole last",
     .help = "whole: the reply is the sum alone; last: the last sum in the reply counts"},
    {0},
};
// clang-format on

struct sum {
    int64_t value;
    int64_t terms;
    struct cn_text text;
};

static bool is_digit(struct cn_text text, size_t at)
{
    return at < text.length && text.data[at] >= '0' && text.data[at] <= '9';
}

static size_t skip_blanks(struct cn_text text, size_t at)
{
    while (at < text.length && (text.data[at] == ' ' || text.data[at] == '\t'))
        at++;
    return at;
}

/* A positive whole number without leading zeros at `at`; 0 if there is none or it is too large. */
static int64_t read_term(struct cn_text text, size_t *at)
{
    int64_t value = 0;
    if (!is_digit(text, *at) || text.data[*at] == '0') return 0;
    while (is_digit(text, *at)) {
        if (value < VALUE_MAX) value = 10 * value + (text.data[*at] - '0');
        ++*at;
    }
    return value <= VALUE_MAX ? value : 0;
}

/* The sum that begins at `at`, as far as it goes; *end is behind it.  Blanks may stand around '+'.
 */
static bool read_sum(struct cn_text text, size_t at, struct sum *out, size_t *end)
{
    struct sum sum = {0};
    for (size_t next = at;;) {
        const int64_t term = read_term(text, &next);
        if (!term) break;
        sum.terms++;
        if (sum.value <= VALUE_MAX) sum.value += term;
        *end = next;
        next = skip_blanks(text, next);
        if (next == text.length || text.data[next] != '+') break;
        next = skip_blanks(text, next + 1);
    }
    if (sum.terms == 0) return false;
    sum.text = (struct cn_text){text.data + at, *end - at};
    *out = sum;
    return true;
}

static bool find_sum(const struct settings *settings, struct cn_text reply, struct sum *out)
{
    struct cn_text text = answer_trim(reply);
    bool found = false;
    size_t end = 0;
    if (settings->where == WHERE_WHOLE)
        return text.length && read_sum(text, 0, out, &end) && end == text.length;
    if (text.length > ANSWER_SCAN_MAX)
        text = (struct cn_text){text.data + text.length - ANSWER_SCAN_MAX, ANSWER_SCAN_MAX};
    for (size_t at = 0; at < text.length;) {
        struct sum sum;
        if (read_sum(text, at, &sum, &end)) {
            if (sum.terms > 1) *out = sum;
            found = found || sum.terms > 1;
            at = end;
        } else {
            at++;
            while (at && is_digit(text, at - 1) && is_digit(text, at))
                at++; /* the rest of a number that is no term */
        }
    }
    return found;
}

static enum cn_verdict judge(const struct settings *settings, const struct cn_episode *episode,
                             struct sum *found)
{
    const struct cn_text gold = answer_trim(episode->ground_truth);
    size_t at = 0;
    const int64_t wanted = gold.length ? read_term(gold, &at) : 0;
    if (!wanted || at != gold.length) return CN_VERDICT_BAD_GOLD;
    if (!find_sum(settings, episode->response, found)) return CN_VERDICT_NO_ANSWER;
    return found->terms == settings->terms && found->value == wanted ? CN_VERDICT_CORRECT
                                                                     : CN_VERDICT_WRONG;
}

static enum cn_status terms_score(const void *given, const struct cn_episode *episodes, size_t n,
                                  struct cn_arena *arena, struct cn_outcome *out)
{
    (void)arena;
    for (size_t i = 0; i < n; i++) {
        struct sum found = {0};
        const enum cn_verdict verdict = judge(given, &episodes[i], &found);
        out[i] = (struct cn_outcome){.score = verdict == CN_VERDICT_CORRECT,
                                     .has_score = verdict != CN_VERDICT_BAD_GOLD,
                                     .verdict = verdict,
                                     .extracted = found.text};
    }
    return CN_OK;
}

const struct cn_reward cn_reward_terms = {
    .name = "terms",
    .summary = "1 if the reply writes the known number as a sum of so many positive numbers",
    .reference =
        "the task of launch/ablation; after Countdown, Gandhi et al. 2024, arXiv 2404.03683",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .score = terms_score,
};
