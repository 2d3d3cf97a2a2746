/* Answers in running text: a line that says "answer", the last number, the whole reply. */
#include "compare.h"
#include "find.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool has_folded(struct cn_text text, size_t at, const char *what)
{
    size_t n = strlen(what);
    if (at > text.length || text.length - at < n) return false;
    for (size_t i = 0; i < n; i++) {
        char c = text.data[at + i];
        if ((c >= 'A' && c <= 'Z' ? (char)(c + 32) : c) != what[i]) return false;
    }
    return true;
}

/* Length of the first word of the NULL-ended list that stands at `at`; 0: none. */
static size_t word_at(struct cn_text text, size_t at, const char *const *words)
{
    for (; *words; words++)
        if (has_folded(text, at, *words)) return strlen(*words);
    return 0;
}

/* The word for "answer" in some languages. */
static const char *const anchors[] = {"answer",  "答案",     "答え",     "respuesta", "réponse",
                                      "antwort", "resposta", "risposta", "ответ",     "Ответ",
                                      "สรุป",     "jawaban",  NULL};
/* What links it to the answer. */
static const char *const links[] = {"is", "est", "es", "ist", "è", "é", "是", "为",
                                    "為", "は",  ":",  "：",  "=", "–", "—",  NULL};

/* Length of the link at `at`; a word must end there. */
static size_t link_at(struct cn_text text, size_t at)
{
    for (const char *const *link = links; *link; link++) {
        size_t n = strlen(*link);
        bool more = is_letter(**link) && at + n < text.length && is_letter(text.data[at + n]);
        if (has_folded(text, at, *link) && !more) return n;
    }
    return 0;
}

/* Behind an anchor: marks and one or two links.  SIZE_MAX: nothing links. */
static size_t behind_anchor(struct cn_text text, size_t at)
{
    bool linked = false;
    for (size_t n;;) {
        if ((n = link_at(text, at)) > 0) {
            linked = true;
            at += n;
        } else if (has_folded(text, at, "- ") && text.data[at - 1] == ' ') { /* "Answer - 6" */
            linked = true;
            at += 2;
        } else if (at < text.length && strchr(" *_\t", text.data[at])) {
            at++;
        } else {
            return linked ? at : SIZE_MAX;
        }
    }
}

static size_t line_end(struct cn_text text, size_t at)
{
    const char *end = at < text.length ? memchr(text.data + at, '\n', text.length - at) : NULL;
    return end ? (size_t)(end - text.data) : text.length;
}

/* "5 apples, which is more than 3": the part that states the answer. */
static struct cn_text without_clause(struct cn_text text)
{
    static const char *const clauses[] = {", which ", ", because ", " because ",
                                          ", since ", ", not ",     NULL};
    for (const char *const *c = clauses; *c; c++) {
        size_t at = find_text(text, 0, *c);
        if (at != SIZE_MAX) text.length = at;
    }
    return text;
}

/* What follows the last anchor on its line, or on the next line that is not empty.  first: also
 * "final" must stand in front. */
static struct found behind_last_anchor(struct cn_text reply, const char *const *words)
{
    struct cn_text last = {"", 0};
    for (size_t i = 0; i < reply.length; i++) {
        char c = reply.data[i];
        if ((unsigned char)c < 0x80 && !strchr("arjfARJF", c)) continue; /* no word begins so */
        size_t n = word_at(reply, i, words);
        if (!n) continue;
        bool inside = i && is_letter(reply.data[i - 1]) && is_letter(reply.data[i]);
        size_t at = inside ? SIZE_MAX : behind_anchor(reply, i + n);
        i += n - 1;
        if (at == SIZE_MAX) continue;
        size_t end = line_end(reply, at);
        struct cn_text rest = find_trim(find_slice(reply, at, end));
        for (int lines = 0; lines < 3 && end < reply.length && !rest.length; lines++) {
            size_t begin = end + 1;
            end = line_end(reply, begin);
            rest = find_trim(find_slice(reply, begin, end));
        }
        last = rest;
    }
    return find_one(without_clause(last));
}

struct found find_line(struct cn_text reply)
{
    return behind_last_anchor(reply, anchors);
}

struct found find_final(struct cn_text reply)
{
    static const char *const final[] = {"final answer", NULL};
    struct found found = behind_last_anchor(reply, final);
    size_t hope = found.n ? find_text(found.text, 0, ". I hope") : SIZE_MAX;
    return hope == SIZE_MAX ? found : find_one(find_slice(found.text, 0, hope));
}

/* ---- the last number ----------------------------------------------------- */

enum { RANGE_MAX = 40 }; /* bytes in which "between" belongs to the "and" in front of a number */

/* Bytes of sign and currency that end just before `at`. */
static size_t front_of(struct cn_text text, size_t at, size_t floor)
{
    static const char *const fronts[] = {"-", "−", "+", "\\$", "$", "£", "€", "¥", "₹", NULL};
    size_t begin = at;
    char last = at > floor ? text.data[at - 1] : ' ';
    if ((unsigned char)last < 0x80 && !strchr("-+$", last)) return at;
    for (int pieces = 0; pieces < 2; pieces++)
        for (const char *const *f = fronts; *f; f++) {
            size_t n = strlen(*f);
            if (begin - floor < n || memcmp(text.data + begin - n, *f, n) != 0) continue;
            char before = begin > n ? text.data[begin - n - 1] : ' ';
            bool sign = **f == '-' || **f == '+' || (unsigned char)(*f)[1] == 0x88;
            if (sign && (is_digit(before) || is_letter(before) || before == ')' || before == '}'))
                return begin; /* a minus between two operands */
            begin -= n;
            break;
        }
    return begin;
}

/* Steps over what may follow a number: "/ number", a fraction behind an integer, a percent sign. */
static size_t behind_number(struct cn_text text, size_t at)
{
    bool unclear = false;
    size_t i = at, n;
    if (i + 1 < text.length && text.data[i] == ' ' && is_digit(text.data[i + 1])) { /* "3 1/2" */
        size_t whole = number_length(text, i + 1, COMMAS_SEPARATE, true, &unclear);
        size_t slash = i + 1 + whole;
        if (slash + 1 < text.length && text.data[slash] == '/' && is_digit(text.data[slash + 1]))
            at = i = slash;
    }
    if (i + 1 < text.length && text.data[i] == '/' && is_digit(text.data[i + 1])) {
        n = number_length(text, i + 1, COMMAS_SEPARATE, true, &unclear);
        if (n) at = i + 1 + n;
    }
    static const char *const scales[] = {" hundred", " thousand", " million",
                                         " billion", " trillion", NULL};
    if ((n = word_at(text, at, scales)) && (at + n == text.length || !is_letter(text.data[at + n])))
        at += n;
    if (at < text.length && text.data[at] == '%') return at + 1;
    if (at + 1 < text.length && text.data[at] == '\\' && text.data[at + 1] == '%') return at + 2;
    return at;
}

/* Whether letters directly around make the digits part of a word: "H2O", "x_2", "5x", "2nd". */
static bool part_of_word(struct cn_text text, size_t begin, size_t end)
{
    char before = begin ? text.data[begin - 1] : ' ';
    if (is_letter(before) || before == '_' || before == '^' || (unsigned char)before >= 0x80)
        return (unsigned char)before < 0x80 || begin < 3 || text.data[begin - 3] == (char)0xce;
    size_t n = 0;
    while (end + n < text.length && is_letter(text.data[end + n]))
        n++;
    return n && (n > 2 || (n == 1 && !strchr("mgsh", text.data[end])) ||
                 (n == 2 && strchr("snrt", text.data[end]) && strchr("tdh", text.data[end + 1])));
}

/* Whether the word in front of a number denies or bounds it: "not 7", "more than 7", "between 7 and
 * 8". */
static bool is_denied(struct cn_text text, size_t begin)
{
    static const char *const words[] = {"not", "than", "least", "most", "between", NULL};
    size_t end = begin;
    while (end && text.data[end - 1] == ' ')
        end--;
    size_t at = end;
    while (at && is_letter(text.data[at - 1]))
        at--;
    struct cn_text word = find_slice(text, at, end);
    for (const char *const *w = words; *w; w++)
        if (cn_text_is(word, *w)) return true;
    struct cn_text before = find_slice(text, at > RANGE_MAX ? at - RANGE_MAX : 0, at);
    return cn_text_is(word, "and") && find_text(before, 0, "between ") != SIZE_MAX;
}

static bool only_or(struct cn_text gap)
{
    struct cn_text word = find_trim(gap);
    return cn_text_is(word, "or") || cn_text_is(word, "/") || cn_text_is(word, "or maybe") ||
           cn_text_is(word, "or perhaps") || cn_text_is(word, "or possibly");
}

struct found find_number(struct cn_text reply)
{
    struct found run = find_none();
    size_t floor = 0;
    for (size_t i = 0; i < reply.length; i++) {
        bool unclear = false;
        if (!is_digit(reply.data[i]) && reply.data[i] != '.') continue;
        size_t n = number_length(reply, i, COMMAS_SEPARATE, false, &unclear);
        if (!n) continue;
        size_t begin = front_of(reply, i, floor), end = behind_number(reply, i + n);
        i = end - 1;
        if (part_of_word(reply, begin, end) || is_denied(reply, begin)) {
            floor = end;
            continue;
        }
        struct cn_text piece = find_slice(reply, begin, end);
        bool joined = run.n && run.n < FIND_RUN_MAX && only_or(find_slice(reply, floor, begin));
        if (!joined) run.n = 0;
        run.part[run.n++] = piece;
        run.either = joined;
        run.text = find_slice(reply, (size_t)(run.part[0].data - reply.data), end);
        floor = end;
    }
    return run;
}

struct found find_whole(struct cn_text reply)
{
    return find_one(reply);
}

enum { CHOICE_MAX = 200 }; /* bytes behind "option" that are looked at */

/* The last place that names a letter: "the correct option is C", "option C", "(C)". */
struct found find_choice(struct cn_text reply)
{
    static const char *const words[] = {"option", "choice", NULL};
    struct found line = find_line(reply);
    bool hedged;
    if (line.n && choice_letter(line.text, &hedged)) return line;
    for (size_t i = reply.length; i-- > 0;) {
        size_t n = strchr("ocOC", reply.data[i]) ? word_at(reply, i, words) : 0;
        if (!n) continue;
        size_t end = reply.length - i < CHOICE_MAX ? reply.length : i + CHOICE_MAX;
        struct cn_text rest = find_slice(reply, i + n, end);
        rest.length = line_end(rest, 0);
        if (choice_letter(rest, &hedged)) return find_one(rest);
    }
    struct cn_text whole = find_trim(reply);
    if (choice_letter(whole, &hedged)) return find_one(whole);
    for (size_t i = whole.length; i-- > 2;)
        if (whole.data[i] == ')' && whole.data[i - 2] == '(' && whole.data[i - 1] >= 'A' &&
            whole.data[i - 1] <= 'J') {
            size_t begin = i - 2, other = begin;
            /* "(A) or (B)": both are taken, so that the hedge is seen */
            while (other > 2 && strchr(" ,/orand&", whole.data[other - 1]))
                other--;
            if (other > 2 && whole.data[other - 1] == ')' && whole.data[other - 3] == '(')
                begin = other - 3;
            return find_one(find_slice(whole, begin, i + 1));
        }
    return find_none();
}
