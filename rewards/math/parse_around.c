/* The parser's words around mathematics: labels in front, units and remarks in brackets behind. */
#include "parse.h"

#include <string.h>

/* Whether words bound or deny what they stand beside: "at least 5", "not 5", "5 or more". */
static bool is_bound(struct cn_text words)
{
    static const char *const bounds[] = {"not",     "least",  "most", "than",
                                         "between", "except", "or",   NULL};
    for (size_t i = 0; i < words.length;) {
        size_t begin = i;
        while (i < words.length && words.data[i] != ' ')
            i++;
        for (const char *const *b = bounds; *b; b++)
            if (cn_text_is((struct cn_text){words.data + begin, i - begin}, *b)) return true;
        i++;
    }
    return false;
}

/* "Answer: 5", "the area is 5": words in front of mathematics are a label. */
void parse_label(struct parser *p)
{
    int16_t begin = p->at;
    const struct token *first = parse_peek(p);
    bool bound = false;
    while (parse_is(p, TOKEN_TEXT, -1) || (parse_is(p, TOKEN_WORD, -1) && !begin)) {
        bound |= is_bound(parse_peek(p)->text);
        p->at++;
    }
    bool label = p->at > begin + 1 || first->kind == TOKEN_TEXT || first->text.length > 4;
    if (p->at > begin) parse_accept(p, TOKEN_SIGN, ':');
    const struct token *next = parse_peek(p);
    bool mathematics = next->kind != TOKEN_END && next->kind != TOKEN_RELATION &&
                       next->kind != TOKEN_JOIN && next->kind != TOKEN_DEGREE &&
                       (next->kind != TOKEN_SIGN || strchr("+-p", next->id));
    if (!label || !mathematics)
        p->at = begin;
    else if (bound)
        parse_fail(p, FAULT_SYNTAX);
}

/* Whether the token begins a unit behind a complete number: \text{...}, or a word that is one. */
bool parse_starts_unit(const struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (token->kind == TOKEN_TEXT || token->kind == TOKEN_CURRENCY) return true;
    if (token->kind == TOKEN_NAME && token->roman && token->text.length == 1) return true;
    bool foreign = token->text.length && (unsigned char)token->text.data[0] >= 0x80;
    return token->kind == TOKEN_WORD &&
           (token->text.length > 4 || foreign || unit_known(token->text));
}

/* Wraps a term in the unit that follows: words, powers of words, words behind a slash. */
int16_t parse_unit(struct parser *p, int16_t term)
{
    int16_t node = parse_node(p, NODE_UNIT, 0), begin = p->at;
    for (bool first = true;; first = false) {
        const struct token *token = parse_peek(p);
        bool word = token->kind == TOKEN_TEXT || token->kind == TOKEN_WORD ||
                    token->kind == TOKEN_CURRENCY || (token->kind == TOKEN_NAME && !first) ||
                    (token->kind == TOKEN_NAME && token->roman) || token->kind == TOKEN_DEGREE;
        bool power = !first && token->kind == TOKEN_SIGN && token->id == '^';
        bool joined = !first && token->kind == TOKEN_SIGN && strchr("*/", token->id) &&
                      (token[1].kind == TOKEN_TEXT || token[1].kind == TOKEN_WORD ||
                       token[1].kind == TOKEN_NAME);
        if (power) {
            p->at++;
            bool group = parse_accept(p, TOKEN_OPEN, '{');
            parse_accept(p, TOKEN_SIGN, '-');
            if (!parse_expect(p, TOKEN_NUMBER, -1)) return -1;
            if (group && !parse_expect(p, TOKEN_CLOSE, '}')) return -1;
        } else if (word || joined) {
            if (is_bound(token->text)) return parse_fail(p, FAULT_SYNTAX);
            p->at++;
        } else {
            break;
        }
    }
    if (node < 0) return -1;
    p->tree->node[node].unit = begin;
    p->tree->node[node].unit_end = p->at;
    return parse_adopt(p, node, term);
}

/* Whether words in brackets follow: "6 (six)", "5 (in metres)". */
bool parse_starts_remark(const struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (token->kind != TOKEN_OPEN || token->id != '(') return false;
    const struct token *first = ++token;
    while (token->kind == TOKEN_TEXT || token->kind == TOKEN_COUNT || token->kind == TOKEN_SCALE ||
           (token->kind == TOKEN_WORD && token->text.length > 3) ||
           (token > first && (token->kind == TOKEN_JOIN || token->kind == TOKEN_WORD)))
        token++;
    return token > first && token->kind == TOKEN_CLOSE && token->id == ')';
}

/* Steps over the words; a number among them must be the one that they explain. */
bool parse_remark(struct parser *p, int16_t node)
{
    p->at++;
    if (parse_is(p, TOKEN_COUNT, -1)) {
        int16_t words = parse_atom(p);
        const struct node *a = &p->tree->node[node];
        if (words < 0 || a->kind != NODE_NUMBER ||
            !fmpq_equal(&a->value, &p->tree->node[words].value))
            return false;
    }
    while (parse_is(p, TOKEN_TEXT, -1) || parse_is(p, TOKEN_WORD, -1) ||
           parse_is(p, TOKEN_JOIN, -1))
        p->at++;
    return parse_accept(p, TOKEN_CLOSE, ')');
}

/* "for all x", "where k is an integer": says for what the mathematics in front of it holds. */
bool parse_starts_tail(const struct parser *p)
{
    static const char *const tails[] = {"for all", "for any", "for every", "where", NULL};
    static const char *const quantifiers[] = {"all", "any", "every", NULL};
    const struct token *token = parse_peek(p);
    if (token->kind == TOKEN_UNKNOWN) return cn_text_is(token->text, "forall");
    if (token->kind != TOKEN_TEXT && token->kind != TOKEN_WORD) return false;
    for (const char *const *t = tails; *t; t++) {
        struct cn_text front = token->text;
        if (front.length > strlen(*t)) front.length = strlen(*t);
        if (cn_text_is(front, *t)) return true;
    }
    if (!cn_text_is(token->text, "for")) return false;
    for (const char *const *q = quantifiers; *q; q++)
        if (cn_text_is(token[1].text, *q)) return true;
    return false;
}

void parse_skip(struct parser *p)
{
    for (int depth = 0; !parse_is(p, TOKEN_END, -1); p->at++) {
        const struct token *token = parse_peek(p);
        if (token->kind == TOKEN_OPEN) depth++;
        if (token->kind == TOKEN_CLOSE && --depth < 0) return;
        bool separator =
            (token->kind == TOKEN_SIGN && strchr(",;", token->id)) || token->kind == TOKEN_JOIN;
        if (!depth && separator) return;
    }
}
