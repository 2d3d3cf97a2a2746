/* Answers in words, and multiple choice. */
#include "compare.h"

#include <string.h>

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char upper(char c)
{
    return c >= 'a' && c <= 'z' ? (char)(c - 32) : c;
}

/* Bytes of an article in front of a word, "an ellipse"; *whole: it is a token of its own. */
static size_t article(const struct token *token, bool more, bool *whole)
{
    static const char *const articles[] = {"a", "an", "the", "A", "An", "The", NULL};
    for (const char *const *a = articles; *a; a++) {
        size_t n = strlen(*a);
        struct cn_text text = token->text;
        bool inside = text.length > n + 3 && memcmp(text.data, *a, n) == 0 && text.data[n] == ' ';
        *whole =
            more && cn_text_is(text, *a) && token[1].kind == TOKEN_WORD && token[1].text.length > 2;
        if (inside || *whole) return n;
    }
    return 0;
}

size_t fold_tokens(const struct tree *tree, int begin, int end, char out[FOLD_MAX])
{
    size_t n = 0;
    bool whole = false;
    size_t skip = begin < end ? article(&tree->token[begin], begin + 1 < end, &whole) : 0;
    begin += whole;
    for (int i = begin; i < end; i++) {
        const struct token *token = &tree->token[i];
        bool mark = token->kind == TOKEN_SIGN && token->id == ',';
        if (mark && n < FOLD_MAX) out[n++] = ','; /* parts the members of a list */
        for (size_t k = i == begin && !whole ? skip : 0; k < token->text.length && n < FOLD_MAX;
             k++) {
            char c = token->text.data[k];
            if (is_letter(c)) out[n++] = (char)(c | 32);
            if (is_digit(c) || (unsigned char)c >= 0x80) out[n++] = c;
        }
    }
    return n;
}

/* Whether the word is part of a number: "two thirds", "one-half", "half". */
static bool is_part(const struct tree *tree, int at)
{
    const struct token *token = &tree->token[at];
    int parts = part_word(token->text), before = at - 1;
    if (!parts) return false;
    if (before > 0 && token[-1].kind == TOKEN_SIGN && token[-1].id == '-') before--;
    const struct token *count = before >= 0 ? &tree->token[before] : NULL;
    bool counted = count && (count->kind == TOKEN_COUNT || cn_text_is(count->text, "a"));
    return counted || parts == 2;
}

bool is_words(const struct tree *tree)
{
    bool word = false;
    for (int i = 0; i < tree->n_tokens; i++) {
        const struct token *token = &tree->token[i];
        switch (token->kind) {
        case TOKEN_WORD:
        case TOKEN_TEXT:
            word |= token->text.length > 2 && !is_part(tree, i);
            break;
        case TOKEN_NAME:
        case TOKEN_CONSTANT:
        case TOKEN_COUNT:
        case TOKEN_JOIN:
        case TOKEN_PRIME:
            break;
        case TOKEN_OPEN:
        case TOKEN_CLOSE:
            if (token->id == '[' || token->id == ']') return false;
            break;
        case TOKEN_SIGN:
            if (!strchr("-,;:!", token->id)) return false;
            break;
        default:
            return false;
        }
    }
    return word;
}

/* ---- multiple choice ----------------------------------------------------- */

/* Bytes at `at` that may stand in front of the letter: marks, commands, a few words. */
static size_t front(struct cn_text text, size_t at)
{
    static const char *const words[] = {"option", "choice", "answer", "the", "is", "correct", NULL};
    char c = text.data[at];
    if (strchr(" \t\n*$({[\"'`_#:", c)) return 1;
    if (c == '\\') {
        size_t n = 1;
        while (at + n < text.length && is_letter(text.data[at + n]))
            n++;
        return n > 1 ? n : 2;
    }
    for (const char *const *w = words; *w; w++) {
        size_t n = strlen(*w), i = 0;
        while (i < n && at + i < text.length && (text.data[at + i] | 32) == (*w)[i])
            i++;
        if (i == n && (at + n == text.length || !is_letter(text.data[at + n]))) return n;
    }
    return 0;
}

/* Whether a letter stands alone at `at`, as a choice does: nothing of a word around it. */
static bool stands_alone(struct cn_text text, size_t at)
{
    char before = at ? text.data[at - 1] : ' ',
         after = at + 1 < text.length ? text.data[at + 1] : ' ';
    char c = upper(text.data[at]);
    bool beside = is_letter(before) || is_digit(before) || is_letter(after) || is_digit(after) ||
                  (unsigned char)after >= 0x80 || after == '\'' || after == '_' || after == '^';
    return c >= 'A' && c <= 'J' && !beside;
}

/* Whether another choice follows: "(A) or (B)", "A, B".  marked: one in brackets counts anywhere.
 */
static bool others_follow(struct cn_text text, size_t at, char letter, bool marked)
{
    for (size_t i = at; i < text.length; i++) {
        char c = text.data[i];
        if (c < 'A' || c > 'J' || c == letter || !stands_alone(text, i)) continue;
        char before = text.data[i - 1], after = i + 1 < text.length ? text.data[i + 1] : ' ';
        if (marked && before == '(' && after == ')') return true;
        bool list = true; /* only joining marks and words up to here */
        for (size_t k = at; k < i; k++)
            list &= strchr(" ,/&|.()orandORAND{}$*\\textbf", text.data[k]) != NULL;
        if (list) return true;
    }
    return false;
}

char choice_letter(struct cn_text text, bool *hedged)
{
    size_t at = 0;
    *hedged = false;
    for (size_t n; at < text.length && (n = front(text, at)); at += n)
        continue;
    if (at >= text.length || !stands_alone(text, at)) return 0;
    char letter = upper(text.data[at]);
    size_t rest = at + 1;
    while (rest < text.length && strchr(" \t\n*$)}]\"'`_.:,", text.data[rest]))
        rest++;
    bool alone = rest >= text.length;
    if (alone) return letter;
    if (text.data[at] != letter) return 0; /* a small letter only if nothing follows */
    /* "A dog": words behind a letter need a mark between */
    bool marked = strchr(").:}*]", text.data[at + 1]) != NULL;
    *hedged = others_follow(text, at + 1, letter, marked);
    return marked || *hedged ? letter : 0;
}
