/* The tokenizer: LaTeX, plain text and Unicode alike, one pass from left to right.
 *
 * Decorations (spaces, \left, \displaystyle, \mathbf ...) are dropped here, so that the parser sees
 * mathematics only.  Every rule is a rule about tokens; no text is rewritten. */
#include "lex.h"

void lex_put(struct lexer *l, const struct token *token)
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
    lex_put(l, &token);
    l->at += length;
}

/* "x²" is "x^2", "10⁻³" is "10^{-3}". */
static bool lex_superscript(struct lexer *l)
{
    bool minus;
    size_t n = raised_length(l->text, l->at, &minus);
    if (!n) return false;
    const struct token power = {.kind = TOKEN_SIGN, .id = '^'};
    const struct token sign = {.kind = TOKEN_SIGN, .id = '-'};
    lex_put(l, &power);
    if (minus) lex_put(l, &sign);
    l->at += minus ? RAISED_MINUS : 0;
    put_slice(l, TOKEN_NUMBER, 0, n - (minus ? RAISED_MINUS : 0));
    return true;
}

/* Bytes of the run of letters at the cursor; letters beyond ASCII that the tables do not know
 * belong to it. */
static size_t letters_at(const struct lexer *l)
{
    size_t n = 0;
    while (l->at + n < l->text.length) {
        struct token token;
        bool minus;
        char c = l->text.data[l->at + n];
        if (lex_letter(c)) {
            n++;
        } else if ((unsigned char)c >= 0x80) {
            size_t length = character_token(l->text, l->at + n, &token);
            if (token.kind != TOKEN_UNKNOWN || raised_length(l->text, l->at + n, &minus)) break;
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

static bool ordinal_at(const struct lexer *l, size_t letters)
{
    static const char *const ordinals[] = {"st", "nd", "rd", "th", NULL};
    for (const char *const *o = ordinals; *o && letters == 2; o++)
        if (lex_has(l, *o)) return true;
    return false;
}

static void lex_number(struct lexer *l)
{
    size_t n = 1;
    if (!is_fraction_part(l) || lex_peek(l, 0) == '.')
        n = number_length(l->text, l->at, l->commas, l->nested > 0, &l->tree->comma_unclear);
    /* "2^3 100" is no power with the exponent 3100 */
    const struct token *last = l->tree->token + l->tree->n_tokens;
    const char *gap = memchr(l->text.data + l->at, ' ', n);
    bool raised = l->tree->n_tokens > 0 && last[-1].kind == TOKEN_SIGN && last[-1].id != ',' &&
                  strchr("^_", last[-1].id);
    if (raised && gap) n = (size_t)(gap - (l->text.data + l->at));
    put_slice(l, TOKEN_NUMBER, 0, n);
    if (ordinal_at(l, letters_at(l))) l->at += 2; /* "5th" is 5 */
}

/* "4:30 pm", "6:00 a.m.": the length of what stands behind a time, 0: nothing. */
static size_t clock_at(const struct lexer *l)
{
    const struct token *last = l->tree->token + l->tree->n_tokens;
    if (l->tree->n_tokens < 3 || last[-1].kind != TOKEN_NUMBER || last[-2].id != ':') return 0;
    if (!strchr("aApP", lex_peek(l, 0))) return 0;
    size_t dot = lex_peek(l, 1) == '.', n = 2 + dot;
    if ((lex_peek(l, 1 + dot) | 32) != 'm' || lex_letter(lex_peek(l, n))) return 0;
    return n + (dot && lex_peek(l, n) == '.');
}

/* "9.8 m/s^2" behind a number: the length of such a unit of two letters, 0: none. */
static size_t pair_at(const struct lexer *l)
{
    static const char *const pairs[] = {"m/s", "g/L", "g/mL", NULL};
    const struct token *last = l->tree->token + l->tree->n_tokens;
    if (!l->space || !l->tree->n_tokens || last[-1].kind != TOKEN_NUMBER) return 0;
    for (const char *const *p = pairs; *p; p++)
        if (lex_has(l, *p) && !lex_letter(lex_peek(l, strlen(*p)))) return strlen(*p);
    return 0;
}

/* Whether only the first of n letters is raised: "e^xe^y" is e^x e^y, but "e^pi" and "5^th" are
 * whole. */
static bool is_single_exponent(const struct lexer *l, size_t n)
{
    const struct token *last = l->tree->token + l->tree->n_tokens;
    struct token known;
    if (n < 2 || !lex_letter(lex_peek(l, 0)) || !l->tree->n_tokens) return false;
    bool raised = last[-1].kind == TOKEN_SIGN && last[-1].id == '^';
    return raised && !ordinal_at(l, n) &&
           !word_token((struct cn_text){l->text.data + l->at, n}, &known);
}

static void lex_word(struct lexer *l)
{
    size_t unit = clock_at(l);
    if (!unit) unit = pair_at(l);
    if (unit) {
        put_slice(l, TOKEN_TEXT, 0, unit);
        return;
    }
    size_t n = is_fraction_part(l) && lex_letter(lex_peek(l, 0)) ? 1 : letters_at(l);
    if (is_single_exponent(l, n)) n = 1;
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
    l->roman = l->outside && n == 1 && strchr("mgshLJNWVKA", word.data[0]); /* "$5$ m" */
    lex_put(l, &token);
    l->roman = false;
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
        if (lex_has(l, s->text)) {
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
    if (token.kind == TOKEN_UNKNOWN && (unsigned char)lex_peek(l, 0) >= 0x80) {
        lex_word(l);
        return;
    }
    if (token.kind == TOKEN_END)
        l->space = true;
    else
        lex_put(l, &token);
    l->at += length;
}

static void lex_dollar(struct lexer *l)
{
    if (lex_digit(lex_peek(l, 1)) || (lex_peek(l, 1) == '.' && lex_digit(lex_peek(l, 2))))
        put_slice(l, TOKEN_CURRENCY, 0, 1);
    else
        l->at++, l->space = true, l->outside = !l->outside;
}

/* Whether the text begins outside of $...$: it has such marks, and as many that open as close. */
static bool starts_outside(const struct lexer *l)
{
    size_t marks = 0;
    for (size_t i = 0; i < l->text.length; i++)
        marks += l->text.data[i] == '$' && (!i || l->text.data[i - 1] != '\\');
    return marks && marks % 2 == 0;
}

enum fault lex_text(struct tree *tree, enum commas commas)
{
    struct lexer l = {.tree = tree, .text = tree->text, .commas = commas};
    tree->n_tokens = 0;
    l.outside = starts_outside(&l);
    while (l.at < l.text.length && !l.fault) {
        char c = lex_peek(&l, 0);
        if (lex_blank(c) || c == '~' || c == '`' || c == '"') {
            l.at++;
            l.space = true;
        } else if (lex_digit(c) || (c == '.' && lex_digit(lex_peek(&l, 1)))) {
            lex_number(&l);
        } else if (lex_letter(c)) {
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
