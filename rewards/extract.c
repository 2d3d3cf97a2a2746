/* Where a reply states its answer: boxes, the "####" line, the last number.
 *
 * A reply that offers different answers in several places hedges; the searches report that, and the
 * reward pays nothing for it.  One pass over the text each. */
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
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* ---- the final part ------------------------------------------------------ */

static const char thinking[] = "<think>";

/* Whether the prompt ends with the opening of a thinking part, as some chat templates do. */
static bool opens_thinking(struct cn_text prompt)
{
    const size_t n = sizeof thinking - 1;
    prompt = answer_trim(prompt);
    return prompt.length >= n && memcmp(prompt.data + prompt.length - n, thinking, n) == 0;
}

struct cn_text answer_final_part(const struct cn_episode *episode, const char *after)
{
    static const struct cn_text none = {"", 0};
    struct cn_text reply = episode->response;
    if (!after || !*after) return reply;
    size_t at = answer_find_last(reply, after);
    if (at == SIZE_MAX) {
        bool open =
            opens_thinking(episode->prompt_text) || answer_find(reply, 0, thinking) != SIZE_MAX;
        return open ? none : reply;
    }
    at += strlen(after);
    return (struct cn_text){reply.data + at, reply.length - at};
}

/* ---- places -------------------------------------------------------------- */

static bool in_set(char c, const char *set)
{
    return c && strchr(set, c);
}

static struct cn_text slice(struct cn_text text, size_t begin, size_t end)
{
    struct cn_text part = {text.data + begin, end - begin};
    return part;
}

static bool starts_with(struct cn_text text, size_t at, const char *what)
{
    size_t n = strlen(what);
    return text.length >= at && text.length - at >= n && memcmp(text.data + at, what, n) == 0;
}

/* Notes one more place.  Comparing with the place before finds every disagreement: equality is
 * transitive. */
static void offer(struct answer_found *found, struct cn_text text)
{
    text = answer_trim(text);
    if (found->count++ && !answer_equal(found->text, text)) found->hedged = true;
    found->text = text;
}

/* End of the group that opens at `open`, which is a brace; SIZE_MAX if it never closes.  \{ and \}
 * do not count. */
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

struct answer_found answer_boxed(struct cn_text text)
{
    struct answer_found found = {{NULL, 0}, 0, false, false};
    for (size_t i = 0; i < text.length;) {
        size_t n = starts_with(text, i, "\\boxed") ? 6 : starts_with(text, i, "\\fbox") ? 5 : 0;
        if (!n) {
            i++;
            continue;
        }
        i += n;
        while (i < text.length && text.data[i] == ' ')
            i++;
        if (i < text.length && text.data[i] == '{') {
            size_t end = close_brace(text, i);
            if (end == SIZE_MAX) {
                found.cut_off = true;
                return found;
            }
            offer(&found, slice(text, i + 1, end));
            i = end + 1;
        } else {
            size_t begin = i;
            while (i < text.length && !is_space(text.data[i]) && text.data[i] != '$')
                i++;
            offer(&found, slice(text, begin, i));
            found.cut_off = i == begin;
        }
    }
    return found;
}

struct answer_found answer_hash(struct cn_text text)
{
    struct answer_found found = {{NULL, 0}, 0, false, false};
    for (size_t at = answer_find(text, 0, "####"); at != SIZE_MAX;
         at = answer_find(text, at, "####")) {
        while (at < text.length && text.data[at] == '#')
            at++;
        size_t begin = at;
        while (at < text.length && text.data[at] != '\n' && !starts_with(text, at, "####"))
            at++;
        offer(&found, slice(text, begin, at));
        found.cut_off = !found.text.length;
    }
    return found;
}

/* ---- the last number ----------------------------------------------------- */

enum { GAP_MAX = 32 };

/* Whether the text between two numbers makes them alternatives or parts of one expression: only
 * white space, punctuation, operators, and the words "or", "and", "to" ...; "=", and every other
 * word, starts something new. */
static bool gap_joins(struct cn_text gap)
{
    static const char *const symbols[] = {"×",     "÷",      "−",      "–",      "—",
                                          "±",     "·",      "\\text", "\\cdot", "\\times",
                                          "\\div", "\\quad", "\\pm",   NULL};
    static const char *const words[] = {"or",     "and",     "to",    "vs",   "maybe",
                                        "either", "perhaps", "times", "plus", "minus",
                                        "over",   "x",       NULL};
    if (gap.length > GAP_MAX) return false;
    bool question = false, word = false;
    for (size_t i = 0; i < gap.length;) {
        const char *const *s = symbols;
        while (*s && !starts_with(gap, i, *s))
            s++;
        if (*s) {
            i += strlen(*s);
        } else if (is_letter(gap.data[i])) {
            size_t begin = i;
            while (i < gap.length && is_letter(gap.data[i]))
                i++;
            const char *const *w = words;
            while (*w && !(strlen(*w) == i - begin && memcmp(*w, gap.data + begin, i - begin) == 0))
                w++;
            if (!*w) return false;
            word = true;
        } else if (in_set(gap.data[i], " \t\r\n,;/|&~+-*:.!^{}()[]$%\\'\"")) {
            i++;
        } else if (gap.data[i] == '?') {
            question = true;
            i++;
        } else {
            return false;
        }
    }
    return word || !question; /* "3 + 5? 8" answers a question, "3? or 4?" does not */
}

/* Steps back from a first digit over sign and currency: where the number begins. */
static size_t number_begin(struct cn_text text, size_t digit, size_t floor)
{
    static const char *const fronts[] = {"$", "\\$", "£", "€", "¥", "₹", "-", "−", "+", NULL};
    size_t begin = digit;
    for (int pieces = 0; pieces < 2; pieces++) {
        for (const char *const *f = fronts; *f; f++) {
            size_t n = strlen(*f);
            if (begin - floor < n || !starts_with(text, begin - n, *f)) continue;
            bool sign = (*f)[0] == '-' || (*f)[0] == '+' || (unsigned char)(*f)[1] == 0x88;
            bool minus_of_two =
                sign && begin > n &&
                (is_digit(text.data[begin - n - 1]) || is_letter(text.data[begin - n - 1]) ||
                 in_set(text.data[begin - n - 1], ")}]"));
            if (minus_of_two) return begin;
            begin -= n;
            break;
        }
    }
    return begin;
}

/* Whether the digits at `begin` belong to a word ("H2O", "x_2") or are the exponent of a unit
 * ("cm^2"). */
static bool part_of_word(struct cn_text text, size_t begin)
{
    if (begin == 0) return false;
    char before = text.data[begin - 1];
    if (before == '^' || (before == '{' && begin > 1 && text.data[begin - 2] == '^')) {
        size_t base = begin - (before == '^' ? 1 : 2);
        return base > 0 && (is_letter(text.data[base - 1]) || text.data[base - 1] == '}');
    }
    return is_letter(before) || before == '_';
}

/* Whether letters or digits behind the number change it: "2nd", "5k", "3x", "1.2.3". */
static bool changed_behind(struct cn_text text, size_t end)
{
    static const char *const ordinals[] = {"st", "nd", "rd", "th", NULL};
    if (end >= text.length) return false;
    bool version = text.data[end] == '.' && end + 1 < text.length && is_digit(text.data[end + 1]);
    if (version || text.data[end] == '_') return true;
    size_t n = 0;
    while (end + n < text.length && n < 3 && is_letter(text.data[end + n]))
        n++;
    if (n == 1) return in_set(text.data[end], "kKMBxyznabc");
    for (const char *const *o = ordinals; *o; o++)
        if (n == 2 && starts_with(text, end, *o)) return true;
    return false;
}

/* End of the letters, digits and points with digits behind them that go on at `i`. */
static size_t word_end(struct cn_text text, size_t i)
{
    for (; i < text.length; i++) {
        bool point = text.data[i] == '.' && i + 1 < text.length && is_digit(text.data[i + 1]);
        if (!is_letter(text.data[i]) && !is_digit(text.data[i]) && !point) break;
    }
    return i;
}

struct answer_found answer_last_number(struct cn_text text)
{
    struct answer_found found = {{NULL, 0}, 0, false, false};
    size_t floor = 0; /* end of the number before: signs are looked for behind it */
    for (size_t i = 0; i < text.length;) {
        bool point = text.data[i] == '.' && i + 1 < text.length && is_digit(text.data[i + 1]);
        if (!is_digit(text.data[i]) && !point) {
            i++;
            continue;
        }
        struct answer_number number;
        size_t begin = number_begin(text, i, floor), used = 0;
        if (answer_number_scan(slice(text, begin, text.length), &number, &used) ==
            ANSWER_NOT_A_NUMBER) {
            i++;
            continue;
        }
        size_t end = begin + used;
        if (part_of_word(text, begin) || changed_behind(text, end)) {
            floor = i = word_end(text, end);
            continue;
        }
        struct cn_text now = slice(text, begin, end);
        size_t gap = found.count ? (size_t)(found.text.data - text.data) + found.text.length : 0;
        bool joined = found.count && gap_joins(slice(text, gap, begin));
        /* a chain of alternatives stays hedged until something new is said */
        found.hedged = joined && (found.hedged || !answer_equal(found.text, now));
        found.text = now;
        found.count++;
        i = floor = end;
    }
    return found;
}
