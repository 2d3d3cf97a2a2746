/* The tokenizer: LaTeX, plain text and Unicode alike, one pass from left to right.
 *
 * Decorations (spaces, \left, \displaystyle, \mathbf ...) are dropped here, so that the parser sees
 * mathematics only.  Every rule is a rule about tokens; no text is rewritten. */
#include "tree.h"

#include <string.h>

struct lexer {
    struct tree *tree;
    struct cn_text text;
    size_t at;
    int nested; /* open ( [ \{ : a plain comma inside separates */
    bool space, roman;
    bool lines; /* in \begin{cases} or the like: a row end separates, & aligns */
    enum commas commas;
    enum fault fault;
};

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

static char peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.length ? l->text.data[l->at + ahead] : 0;
}

static bool has(const struct lexer *l, const char *what)
{
    size_t n = strlen(what);
    return l->text.length - l->at >= n && memcmp(l->text.data + l->at, what, n) == 0;
}

static void put(struct lexer *l, const struct token *token)
{
    if (l->tree->n_tokens == LIMIT_TOKENS) {
        l->fault = FAULT_TOO_LARGE;
        return;
    }
    if (l->lines && token->kind == TOKEN_SIGN && token->id == '&') return;
    struct token *out = &l->tree->token[l->tree->n_tokens++];
    *out = *token;
    if (l->lines && token->kind == TOKEN_SIGN && token->id == '\n') out->id = ',';
    out->space = l->space;
    out->roman = l->roman;
    l->space = false;
    if (token->kind == TOKEN_OPEN && token->id != '{') l->nested++;
    if (token->kind == TOKEN_CLOSE && token->id != '}' && l->nested > 0) l->nested--;
}

static void put_slice(struct lexer *l, enum token_kind kind, uint8_t id, size_t length)
{
    const struct token token = {
        .kind = (uint8_t)kind, .id = id, .text = {l->text.data + l->at, length}};
    put(l, &token);
    l->at += length;
}

/* ---- commands with an argument ---- */

static void skip_space(struct lexer *l)
{
    while (is_space(peek(l, 0)))
        l->at++;
}

/* The raw text of the group {...} or the one character at the cursor. */
static bool raw_group(struct lexer *l, struct cn_text *out)
{
    skip_space(l);
    if (peek(l, 0) != '{') {
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

/* \text{...}, \mathrm{...}: a word, a unit, a joining word, or mathematics in another font. */
static void lex_text_command(struct lexer *l)
{
    size_t begin = l->at;
    struct cn_text content;
    if (!raw_group(l, &content)) return;
    struct cn_text word = trim_spaces(content);
    l->space |= word.length < content.length || !word.length;
    if (!word.length) return;
    bool mathematics = is_digit(word.data[0]);
    if (word.length == 1 && strchr(",;", word.data[0])) {
        const struct token mark = {.kind = TOKEN_SIGN, .id = (uint8_t)word.data[0], .text = word};
        put(l, &mark);
        return;
    }
    for (size_t i = 0; i < word.length; i++)
        mathematics |= strchr("$\\{}^_=([+-", word.data[i]) != NULL;
    if (mathematics) { /* read it as if the command were not there */
        l->at = begin;
        return;
    }
    struct token token = {.kind = TOKEN_TEXT, .text = word};
    if (word.length == 1 && is_letter(word.data[0])) token.kind = TOKEN_NAME;
    if (word.length == 1 && word.data[0] == 'e') token.kind = TOKEN_CONSTANT, token.id = CONSTANT_E;
    if (word.length == 1 && word.data[0] == 'i') token.kind = TOKEN_CONSTANT, token.id = CONSTANT_I;
    if (word.length > 1 && !word_token(word, &token)) {
        struct token one;
        if (character_token(word, 0, &one) == word.length && one.kind != TOKEN_UNKNOWN) token = one;
    } else if (token.kind != TOKEN_FUNCTION) {
        token.text = word; /* not the copy in lower case */
    }
    l->roman = true;
    put(l, &token);
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
    if (is_lines(name)) {
        l->lines = l->space = true;
        return;
    }
    for (size_t i = 0; environments[i].name; i++)
        if (cn_text_is(name, environments[i].name)) {
            const struct token token = {
                .kind = TOKEN_BEGIN, .id = environments[i].bracket, .text = name};
            if (cn_text_is(name, "array") && !raw_group(l, &columns)) return;
            put(l, &token);
            l->nested++;
            return;
        }
    put(l, &unknown);
}

static void lex_end(struct lexer *l)
{
    struct token token = {.kind = TOKEN_FINISH};
    if (!raw_group(l, &token.text)) return;
    if (is_lines(token.text)) {
        l->lines = false;
        return;
    }
    put(l, &token);
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
    put(l, &token);
}

static void skip_group(struct lexer *l)
{
    struct cn_text dropped;
    raw_group(l, &dropped);
}

static void skip_bracket(struct lexer *l) /* \left. and \right. */
{
    skip_space(l);
    if (peek(l, 0) == '.' && !is_digit(peek(l, 1))) l->at++;
}

static void skip_nothing(struct lexer *l)
{
    (void)l;
}

static void lex_space(struct lexer *l)
{
    l->space = true;
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

static void lex_command(struct lexer *l)
{
    size_t begin = ++l->at;
    while (is_letter(peek(l, 0)))
        l->at++;
    if (l->at == begin && l->at < l->text.length) l->at++;
    const struct cn_text name = {l->text.data + begin, l->at - begin};
    struct token token = {.kind = TOKEN_UNKNOWN, .text = name};
    for (size_t i = 0; directives[i].name; i++)
        if (directives[i].name[0] == (name.length ? name.data[0] : 0) &&
            cn_text_is(name, directives[i].name)) {
            if (peek(l, 0) == '*' && name.length > 3) l->at++; /* \operatorname* */
            directives[i].lex(l);
            return;
        }
    if (!name.length) return; /* a backslash at the end: a space that was trimmed */
    if (cn_text_is(name, "not")) {
        skip_space(l);
        bool equal = peek(l, 0) == '=';
        if (equal) l->at++;
        token.kind = equal ? TOKEN_RELATION : TOKEN_UNKNOWN;
        token.id = RELATION_UNEQUAL;
    } else {
        command_token(name, &token);
    }
    put(l, &token);
}

/* ---- words and signs ---- */

/* The digit that Unicode raises at `at`; -1: none. */
static int raised_digit(struct cn_text text, size_t at)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    for (int i = 0; i < 10; i++) {
        size_t n = strlen(raised[i]);
        if (text.length - at >= n && memcmp(text.data + at, raised[i], n) == 0) return i;
    }
    return -1;
}

/* "x²" is "x^2". */
static bool lex_superscript(struct lexer *l)
{
    static const char plain[] = "0123456789";
    int digit = raised_digit(l->text, l->at);
    if (digit < 0) return false;
    const struct token power = {.kind = TOKEN_SIGN, .id = '^'};
    const struct token number = {.kind = TOKEN_NUMBER, .text = {plain + digit, 1}};
    put(l, &power);
    put(l, &number);
    l->at += digit >= 1 && digit <= 3 ? 2 : 3;
    return true;
}

/* Bytes of the run of letters at the cursor; letters beyond ASCII that the tables do not know
 * belong to it. */
static size_t letters_at(const struct lexer *l)
{
    size_t n = 0;
    while (l->at + n < l->text.length) {
        struct token token;
        char c = l->text.data[l->at + n];
        if (is_letter(c)) {
            n++;
        } else if ((unsigned char)c >= 0x80) {
            size_t length = character_token(l->text, l->at + n, &token);
            if (token.kind != TOKEN_UNKNOWN || raised_digit(l->text, l->at + n) >= 0) break;
            n += length;
        } else {
            break;
        }
    }
    return n;
}

/* Whether an argument of \frac comes next: without braces it is one digit or letter. */
static bool is_fraction_part(const struct lexer *l)
{
    const struct token *last = l->tree->token + l->tree->n_tokens;
    if (l->tree->n_tokens > 0 && last[-1].kind == TOKEN_FRACTION) return true;
    return l->tree->n_tokens > 1 && last[-2].kind == TOKEN_FRACTION && last[-1].text.length == 1 &&
           (last[-1].kind == TOKEN_NUMBER || last[-1].kind == TOKEN_NAME);
}

static void lex_number(struct lexer *l)
{
    size_t n = 1;
    if (!is_fraction_part(l) || peek(l, 0) == '.')
        n = number_length(l->text, l->at, l->commas, l->nested > 0, &l->tree->comma_unclear);
    put_slice(l, TOKEN_NUMBER, 0, n);
}

static void lex_word(struct lexer *l)
{
    size_t n = is_fraction_part(l) && is_letter(peek(l, 0)) ? 1 : letters_at(l);
    const struct cn_text word = {l->text.data + l->at, n};
    struct token token = {.kind = TOKEN_WORD, .text = word};
    if (n == 1) {
        char c = word.data[0];
        token.kind = c == 'e' || c == 'i' ? TOKEN_CONSTANT : TOKEN_NAME;
        token.id = c == 'e' ? CONSTANT_E : CONSTANT_I;
    } else {
        word_token(word, &token);
        if (token.kind != TOKEN_FUNCTION) token.text = word; /* not the copy in lower case */
    }
    put(l, &token);
    l->at += n;
}

static const struct sign {
    const char *text;
    uint8_t kind, id;
} signs[] = {{"**", TOKEN_SIGN, '^'},
             {"<=", TOKEN_RELATION, RELATION_LESS_EQUAL},
             {">=", TOKEN_RELATION, RELATION_GREATER_EQUAL},
             {"!=", TOKEN_RELATION, RELATION_UNEQUAL},
             {"==", TOKEN_RELATION, RELATION_EQUAL},
             {"=>", TOKEN_RELATION, RELATION_EQUAL},
             {"->", TOKEN_RELATION, RELATION_EQUAL},
             {"+-", TOKEN_SIGN, 'p'},
             {"...", TOKEN_DOTS, 0},
             {"=", TOKEN_RELATION, RELATION_EQUAL},
             {"<", TOKEN_RELATION, RELATION_LESS},
             {">", TOKEN_RELATION, RELATION_GREATER},
             {"(", TOKEN_OPEN, '('},
             {"[", TOKEN_OPEN, '['},
             {"{", TOKEN_OPEN, '{'},
             {")", TOKEN_CLOSE, ')'},
             {"]", TOKEN_CLOSE, ']'},
             {"}", TOKEN_CLOSE, '}'},
             {"|", TOKEN_BAR, 0},
             {"'", TOKEN_PRIME, 0},
             {"+", TOKEN_SIGN, '+'},
             {"-", TOKEN_SIGN, '-'},
             {"*", TOKEN_SIGN, '*'},
             {"/", TOKEN_SIGN, '/'},
             {"^", TOKEN_SIGN, '^'},
             {"_", TOKEN_SIGN, '_'},
             {"!", TOKEN_SIGN, '!'},
             {"%", TOKEN_SIGN, '%'},
             {",", TOKEN_SIGN, ','},
             {";", TOKEN_SIGN, ';'},
             {":", TOKEN_SIGN, ':'},
             {"&", TOKEN_SIGN, '&'},
             {NULL, 0, 0}};

static bool lex_sign(struct lexer *l)
{
    for (const struct sign *s = signs; s->text; s++)
        if (has(l, s->text)) {
            put_slice(l, s->kind, s->id, strlen(s->text));
            return true;
        }
    return false;
}

static void lex_character(struct lexer *l)
{
    struct token token;
    if (lex_superscript(l)) return;
    size_t length = character_token(l->text, l->at, &token);
    if (token.kind == TOKEN_UNKNOWN && (unsigned char)peek(l, 0) >= 0x80) {
        lex_word(l);
        return;
    }
    if (token.kind == TOKEN_END)
        l->space = true;
    else
        put(l, &token);
    l->at += length;
}

static void lex_dollar(struct lexer *l)
{
    if (is_digit(peek(l, 1)) || (peek(l, 1) == '.' && is_digit(peek(l, 2))))
        put_slice(l, TOKEN_CURRENCY, 0, 1);
    else
        l->at++, l->space = true;
}

enum fault lex_text(struct tree *tree, enum commas commas)
{
    struct lexer l = {.tree = tree, .text = tree->text, .commas = commas};
    tree->n_tokens = 0;
    while (l.at < l.text.length && !l.fault) {
        char c = peek(&l, 0);
        if (is_space(c) || c == '~' || c == '`' || c == '"') {
            l.at++;
            l.space = true;
        } else if (is_digit(c) || (c == '.' && is_digit(peek(&l, 1)))) {
            lex_number(&l);
        } else if (is_letter(c)) {
            lex_word(&l);
        } else if (c == '\\') {
            lex_command(&l);
        } else if (c == '$') {
            lex_dollar(&l);
        } else if (c == '.' && l.at + 1 == l.text.length) {
            l.at++;
        } else if (!lex_sign(&l)) {
            lex_character(&l);
        }
    }
    tree->token[tree->n_tokens] = (struct token){.kind = TOKEN_END};
    return l.fault;
}
