/* The tokenizer's commands: \text{...}, environments, spaces, sizes, and names that the tables
 * know. */
#include "lex.h"

static void skip_space(struct lexer *l)
{
    while (lex_blank(lex_peek(l, 0)))
        l->at++;
}

/* The raw text of the group {...} or the one character at the cursor. */
static bool raw_group(struct lexer *l, struct cn_text *out)
{
    skip_space(l);
    if (lex_peek(l, 0) != '{') {
        *out = (struct cn_text){l->text.data + l->at, l->at < l->text.length};
        l->at += out->length;
        return out->length > 0;
    }
    size_t depth = 0, begin = l->at + 1;
    for (; l->at < l->text.length; l->at++) {
        char c = l->text.data[l->at];
        if (c == '\\') {
            l->at++;
        } else if (c == '{') {
            depth++;
        } else if (c == '}' && --depth == 0) {
            *out = (struct cn_text){l->text.data + begin, l->at - begin};
            l->at++;
            return true;
        }
    }
    l->at = l->text.length;
    l->fault = FAULT_UNBALANCED;
    return false;
}

/* "(six)", "(the number of edges)": words in brackets. */
static bool is_remark(struct cn_text text)
{
    bool remark = text.length > 4 && text.data[0] == '(' && text.data[text.length - 1] == ')';
    for (size_t i = 1; remark && i + 1 < text.length; i++)
        remark = lex_letter(text.data[i]) || lex_blank(text.data[i]) || text.data[i] == '-';
    return remark;
}

/* Its brackets and its words, one token each, as if they stood outside of \text{...}. */
static void lex_remark(struct lexer *l, struct cn_text remark)
{
    const struct token open = {.kind = TOKEN_OPEN, .id = '(', .text = {remark.data, 1}};
    const struct token close = {
        .kind = TOKEN_CLOSE, .id = ')', .text = {remark.data + remark.length - 1, 1}};
    lex_put(l, &open);
    for (size_t i = 1; i + 1 < remark.length;) {
        size_t begin = i;
        while (lex_letter(remark.data[i]))
            i++;
        const struct cn_text word = {remark.data + begin, i - begin};
        struct token token = {.kind = TOKEN_TEXT, .text = word};
        if (word.length) {
            word_token(word, &token);
            token.text = word;
            lex_put(l, &token);
        } else {
            i++;
        }
    }
    lex_put(l, &close);
}

/* \text{...}, \mathrm{...}: a word, a unit, a joining word, or mathematics in another font. */
static void lex_text_command(struct lexer *l)
{
    size_t begin = l->at;
    struct cn_text content;
    if (!raw_group(l, &content)) return;
    struct cn_text word = trim_spaces(content);
    l->space |= word.length < content.length || !word.length;
    if (!word.length) return;
    bool mathematics = lex_digit(word.data[0]);
    if (is_remark(word)) {
        lex_remark(l, word);
        return;
    }
    if (word.length == 1 && strchr(",;", word.data[0])) {
        const struct token mark = {.kind = TOKEN_SIGN, .id = (uint8_t)word.data[0], .text = word};
        lex_put(l, &mark);
        return;
    }
    for (size_t i = 0; i < word.length; i++)
        mathematics |= strchr("$\\{}^_=([+-", word.data[i]) != NULL;
    if (mathematics) { /* read it as if the command were not there */
        l->at = begin;
        return;
    }
    struct token token = {.kind = TOKEN_TEXT, .text = word};
    if (word.length == 1 && lex_letter(word.data[0])) token.kind = TOKEN_NAME;
    if (word.length == 1 && word.data[0] == 'e') token.kind = TOKEN_CONSTANT, token.id = CONSTANT_E;
    if (word.length == 1 && word.data[0] == 'i') token.kind = TOKEN_CONSTANT, token.id = CONSTANT_I;
    if (word.length > 1 && !word_token(word, &token)) {
        struct token one;
        if (character_token(word, 0, &one) == word.length && one.kind != TOKEN_UNKNOWN) token = one;
    } else if (token.kind != TOKEN_FUNCTION) {
        token.text = word; /* not the copy in lower case */
    }
    l->roman = true;
    lex_put(l, &token);
    l->roman = false;
}

/* Environments that only break lines: what stands in them is a list. */
static bool is_lines(struct cn_text name)
{
    static const char *const names[] = {"cases", "aligned",  "align",     "align*", "gathered",
                                        "split", "equation", "equation*", NULL};
    for (const char *const *n = names; *n; n++)
        if (cn_text_is(name, *n)) return true;
    return false;
}

static void lex_begin(struct lexer *l)
{
    static const struct {
        const char *name;
        uint8_t bracket;
    } environments[] = {{"pmatrix", '('},  {"bmatrix", '['}, {"matrix", 'm'}, {"Bmatrix", '{'},
                        {"vmatrix", '|'},  {"Vmatrix", '|'}, {"array", 'm'},  {"smallmatrix", 'm'},
                        {"pmatrix*", '('}, {NULL, 0}};
    struct cn_text name, columns;
    if (!raw_group(l, &name)) return;
    const struct token unknown = {.kind = TOKEN_UNKNOWN, .text = name};
    if (is_lines(name) || (l->system && cn_text_is(name, "array"))) {
        if (cn_text_is(name, "array") && !raw_group(l, &columns)) return;
        l->lines = l->space = true;
        return;
    }
    for (size_t i = 0; environments[i].name; i++)
        if (cn_text_is(name, environments[i].name)) {
            const struct token token = {
                .kind = TOKEN_BEGIN, .id = environments[i].bracket, .text = name};
            if (cn_text_is(name, "array") && !raw_group(l, &columns)) return;
            lex_put(l, &token);
            l->nested++;
            return;
        }
    lex_put(l, &unknown);
}

static void lex_end(struct lexer *l)
{
    struct token token = {.kind = TOKEN_FINISH};
    if (!raw_group(l, &token.text)) return;
    if (l->lines) {
        l->lines = l->system = false;
        return;
    }
    lex_put(l, &token);
    if (l->nested > 0) l->nested--;
}

static void lex_blackboard(struct lexer *l)
{
    struct cn_text name;
    if (!raw_group(l, &name)) return;
    struct cn_text letter = trim_spaces(name);
    const struct token token = {.kind = TOKEN_SET_NAME,
                                .id = letter.length == 1 ? (uint8_t)letter.data[0] : '?',
                                .text = letter};
    lex_put(l, &token);
}

static void skip_group(struct lexer *l)
{
    struct cn_text dropped;
    raw_group(l, &dropped);
}

static void skip_bracket(struct lexer *l) /* \left. and \right. */
{
    skip_space(l);
    if (lex_peek(l, 0) == '.' && !lex_digit(lex_peek(l, 1))) l->at++;
    /* "\left\{\begin{array}{l}...\right." is a system: a list */
    if (!lex_has(l, "\\{")) return;
    struct cn_text rest = {l->text.data + l->at + 2, l->text.length - l->at - 2};
    rest = trim_spaces(rest);
    if (rest.length < 6 || memcmp(rest.data, "\\begin", 6) != 0) return;
    l->at = (size_t)(rest.data - l->text.data);
    l->system = true;
}

static void skip_nothing(struct lexer *l)
{
    (void)l;
}

static void lex_space(struct lexer *l)
{
    l->space = true;
}

/* Behind the end of a row: "[1ex]". */
static void skip_gap(struct lexer *l)
{
    size_t n = 1;
    if (lex_peek(l, 0) != '[') return;
    while (lex_digit(lex_peek(l, n)) || (lex_peek(l, n) && strchr("-.", lex_peek(l, n))))
        n++;
    bool unit = n > 1 && lex_letter(lex_peek(l, n)) && lex_letter(lex_peek(l, n + 1));
    if (unit && lex_peek(l, n + 2) == ']') l->at += n + 3;
}

static const struct {
    const char *name;
    void (*lex)(struct lexer *l);
} directives[] = {{"text", lex_text_command},
                  {"mathrm", lex_text_command},
                  {"textbf", lex_text_command},
                  {"textit", lex_text_command},
                  {"textrm", lex_text_command},
                  {"textnormal", lex_text_command},
                  {"textsf", lex_text_command},
                  {"mbox", lex_text_command},
                  {"hbox", lex_text_command},
                  {"operatorname", lex_text_command},
                  {"mathbf", lex_text_command},
                  {"mathit", lex_text_command},
                  {"mathsf", lex_text_command},
                  {"mathcal", lex_text_command},
                  {"boldsymbol", skip_nothing},
                  {"bm", skip_nothing},
                  {"mathbb", lex_blackboard},
                  {"begin", lex_begin},
                  {"end", lex_end},
                  {"left", skip_bracket},
                  {"right", skip_bracket},
                  {"middle", skip_nothing},
                  {"big", skip_nothing},
                  {"Big", skip_nothing},
                  {"bigg", skip_nothing},
                  {"Bigg", skip_nothing},
                  {"bigl", skip_nothing},
                  {"bigr", skip_nothing},
                  {"Bigl", skip_nothing},
                  {"Bigr", skip_nothing},
                  {"biggl", skip_nothing},
                  {"biggr", skip_nothing},
                  {"displaystyle", skip_nothing},
                  {"textstyle", skip_nothing},
                  {"scriptstyle", skip_nothing},
                  {"limits", skip_nothing},
                  {"nolimits", skip_nothing},
                  {"boxed", skip_nothing},
                  {"fbox", skip_nothing},
                  {"hline", skip_nothing},
                  {"rm", skip_nothing},
                  {"small", skip_nothing},
                  {"large", skip_nothing},
                  {"Large", skip_nothing},
                  {"LARGE", skip_nothing},
                  {"huge", skip_nothing},
                  {"Huge", skip_nothing},
                  {"bf", skip_nothing},
                  {"it", skip_nothing},
                  {"quad", lex_space},
                  {"qquad", lex_space},
                  {"space", lex_space},
                  {"thinspace", lex_space},
                  {"nobreakspace", lex_space},
                  {"color", skip_group},
                  {"textcolor", skip_group},
                  {"hspace", skip_group},
                  {"vspace", skip_group},
                  {"phantom", skip_group},
                  {"tag", skip_group},
                  {"label", skip_group},
                  {",", lex_space},
                  {";", lex_space},
                  {":", lex_space},
                  {"!", skip_nothing},
                  {" ", lex_space},
                  {">", lex_space},
                  {"(", skip_nothing},
                  {")", skip_nothing},
                  {"[", skip_nothing},
                  {"]", skip_nothing},
                  {NULL, NULL}};

void lex_command(struct lexer *l)
{
    size_t begin = ++l->at;
    while (lex_letter(lex_peek(l, 0)))
        l->at++;
    if (l->at == begin && l->at < l->text.length) l->at++;
    const struct cn_text name = {l->text.data + begin, l->at - begin};
    struct token token = {.kind = TOKEN_UNKNOWN, .text = name};
    for (size_t i = 0; directives[i].name; i++)
        if (directives[i].name[0] == (name.length ? name.data[0] : 0) &&
            cn_text_is(name, directives[i].name)) {
            if (lex_peek(l, 0) == '*' && name.length > 3) l->at++; /* \operatorname* */
            directives[i].lex(l);
            return;
        }
    if (!name.length) return; /* a backslash at the end: a space that was trimmed */
    if (name.data[0] == '\\') skip_gap(l);
    if (cn_text_is(name, "not")) {
        skip_space(l);
        bool equal = lex_peek(l, 0) == '=';
        if (equal) l->at++;
        token.kind = equal ? TOKEN_RELATION : TOKEN_UNKNOWN;
        token.id = RELATION_UNEQUAL;
    } else {
        command_token(name, &token);
    }
    lex_put(l, &token);
}
