/* The parser's atoms: numbers in all their spellings, names, words, fractions. */
#include "parse.h"

#include <string.h>

/* ---- numbers ------------------------------------------------------------- */

static bool integer_literal(const struct parser *p, int16_t node)
{
    const struct node *n = &p->tree->node[node];
    return n->kind == NODE_NUMBER && n->digits < 0 && fmpz_is_one(fmpq_denref(&n->value));
}

/* "0.1\overline{6}": the digits in the group repeat for ever. */
static int16_t repeating(struct parser *p, int16_t node)
{
    p->at++;
    bool group = parse_accept(p, TOKEN_OPEN, '{');
    struct cn_text period = parse_peek(p)->text;
    if (!parse_expect(p, TOKEN_NUMBER, -1)) return -1;
    if (group && !parse_expect(p, TOKEN_CLOSE, '}')) return -1;
    if (period.length > 64 || memchr(period.data, '.', period.length))
        return parse_fail(p, FAULT_SYNTAX);
    struct node *out = &p->tree->node[node], tail = {.digits = 0};
    fmpz_t scale;
    fmpq_init(&tail.value);
    enum fault fault = number_value(period, &tail);
    fmpz_init_set_ui(scale, 10);
    fmpz_pow_ui(scale, scale, period.length);
    fmpz_sub_ui(scale, scale, 1); /* 10^m - 1 */
    fmpz_set(fmpq_denref(&tail.value), scale);
    fmpz_set_ui(scale, 10);
    fmpz_pow_ui(scale, scale, out->digits > 0 ? (ulong)out->digits : 0);
    fmpz_mul(fmpq_denref(&tail.value), fmpq_denref(&tail.value), scale);
    fmpq_canonicalise(&tail.value);
    fmpq_add(&out->value, &out->value, &tail.value);
    out->digits = -1;
    fmpq_clear(&tail.value);
    fmpz_clear(scale);
    return fault ? parse_fail(p, fault) : node;
}

static int16_t vulgar(struct parser *p)
{
    uint8_t id = parse_peek(p)->id;
    int16_t node = parse_node(p, NODE_NUMBER, 0);
    p->at++;
    if (node >= 0) fmpq_set_si(&p->tree->node[node].value, id >> 4, id & 15u);
    return node;
}

/* Behind an integer: a fraction of integers makes a mixed number. */
static int16_t mixed(struct parser *p, int16_t whole)
{
    const struct token *next = parse_peek(p);
    int16_t fraction = -1;
    if (next->kind == TOKEN_VULGAR) {
        fraction = vulgar(p);
    } else if (next->kind == TOKEN_FRACTION) {
        fraction = parse_atom(p);
        if (fraction < 0) return -1;
        const struct node *n = &p->tree->node[fraction];
        bool plain = n->kind == NODE_DIVIDE && integer_literal(p, n->child) &&
                     integer_literal(p, p->tree->node[n->child].next);
        if (!plain) return parse_binary(p, NODE_MULTIPLY, whole, fraction);
    } else if (next->kind == TOKEN_NUMBER && next->space && next[1].kind == TOKEN_SIGN &&
               next[1].id == '/' && next[2].kind == TOKEN_NUMBER) {
        fraction = parse_atom(p);
        p->at++;
        fraction = parse_binary(p, NODE_DIVIDE, fraction, parse_atom(p));
    } else {
        return whole;
    }
    return parse_binary(p, NODE_ADD, whole, fraction);
}

/* "204_5", "204_{five}", "204 base 5": the base comes next, it is part of the number. */
static int16_t based(struct parser *p, int16_t token)
{
    bool group = parse_accept(p, TOKEN_OPEN, '{');
    const struct token *base = parse_peek(p);
    struct node value = {.digits = 0};
    if (base->kind == TOKEN_COUNT) {
        fmpq_init(&value.value);
        fmpz_set_ui(fmpq_numref(&value.value), base->id);
    } else if (base->kind == TOKEN_NUMBER) {
        fmpq_init(&value.value);
        number_value(base->text, &value);
    } else {
        return parse_fail(p, FAULT_SYNTAX);
    }
    p->at++;
    if (group) {
        while (parse_is(p, TOKEN_TEXT, -1) || parse_is(p, TOKEN_WORD, -1))
            p->at++;
        if (!parse_expect(p, TOKEN_CLOSE, '}')) return -1;
    }
    ulong number =
        fmpz_abs_fits_ui(fmpq_numref(&value.value)) ? fmpz_get_ui(fmpq_numref(&value.value)) : 0;
    fmpq_clear(&value.value);
    if (number < 2 || number > 62) return parse_fail(p, FAULT_SYNTAX);
    int16_t node = parse_node(p, number == 10 ? NODE_NUMBER : NODE_BASE, (int)number);
    if (node < 0) return -1;
    p->tree->node[node].unit = token;
    if (number != 10) return node;
    enum fault fault = number_value(p->tree->token[token].text, &p->tree->node[node]);
    return fault ? parse_fail(p, fault) : node;
}

/* Steps over "_", "base" or "in base" where a base follows. */
static bool accept_base(struct parser *p)
{
    const struct token *token = parse_peek(p);
    int words = 0;
    if (parse_accept(p, TOKEN_SIGN, '_')) return true;
    if (token->kind != TOKEN_WORD && token->kind != TOKEN_TEXT) return false;
    if (cn_text_is(token->text, "in")) words++;
    bool base =
        cn_text_is(token[words].text, "base") || (!words && cn_text_is(token->text, "in base"));
    const struct token *number = &token[words + 1];
    if (!base || (number->kind != TOKEN_NUMBER && number->kind != TOKEN_COUNT)) return false;
    p->at = (int16_t)(p->at + words + 1);
    return true;
}

/* "(204)_5" */
static bool is_based_bracket(const struct parser *p)
{
    const struct token *token = parse_peek(p);
    return token->kind == TOKEN_OPEN && token->id == '(' && token[1].kind == TOKEN_NUMBER &&
           token[2].kind == TOKEN_CLOSE && token[3].kind == TOKEN_SIGN && token[3].id == '_';
}

static int16_t based_bracket(struct parser *p)
{
    int16_t digits = (int16_t)(p->at + 1);
    p->at = (int16_t)(p->at + 4);
    return based(p, digits);
}

/* "2023-05-01" is no difference: a number in a sum does not begin with 0. */
static bool is_date_part(const struct parser *p, int16_t at)
{
    const struct token *token = &p->tree->token[at];
    if (at < 2 || token[-1].kind != TOKEN_SIGN || !strchr("-/", token[-1].id)) return false;
    return token[-2].kind == TOKEN_NUMBER && token->text.length == 2 &&
           token->text.data[0] == '0' && token->text.data[1] != '.';
}

static int16_t number(struct parser *p)
{
    int16_t token = p->at++;
    const struct token *next = parse_peek(p);
    if (accept_base(p)) return based(p, token);
    if (is_date_part(p, token)) return parse_fail(p, FAULT_SYNTAX);
    int16_t node = parse_node(p, NODE_NUMBER, 0);
    if (node < 0) return -1;
    struct node *out = &p->tree->node[node];
    out->unit = token;
    enum fault fault = number_value(p->tree->token[token].text, out);
    if (fault) return parse_fail(p, fault);
    if (next->kind == TOKEN_ACCENT && next->id == 'o' && out->digits >= 0)
        return repeating(p, node);
    if (next->kind == TOKEN_ACCENT && next->id == 'o' && next[1].kind == TOKEN_OPEN &&
        next[2].kind == TOKEN_NUMBER)
        return parse_fail(p, FAULT_SYNTAX);
    if (out->digits >= 0) parse_accept(p, TOKEN_DOTS, -1); /* "0.333..." */
    if (parse_is(p, TOKEN_SCALE, -1)) return parse_scaled(p, node);
    return out->digits < 0 ? parse_and_part(p, mixed(p, node)) : node;
}

/* ---- names and words ----------------------------------------------------- */

struct name {
    char text[LIMIT_NAME];
    size_t n;
};

static void spell(struct name *name, struct cn_text text)
{
    for (size_t i = 0; i < text.length && name->n + 1 < LIMIT_NAME; i++)
        name->text[name->n++] = text.data[i];
}

/* The tokens of a group, or one token, as they are spelled. */
static bool spell_argument(struct parser *p, struct name *name)
{
    if (!parse_accept(p, TOKEN_OPEN, '{')) {
        spell(name, parse_peek(p)->text);
        if (parse_is(p, TOKEN_END, -1)) return false;
        p->at++;
        return true;
    }
    for (int depth = 0; !parse_is(p, TOKEN_END, -1); p->at++) {
        if (parse_is(p, TOKEN_OPEN, '{')) depth++;
        if (parse_is(p, TOKEN_CLOSE, '}') && depth-- == 0) {
            p->at++;
            return true;
        }
        spell(name, parse_peek(p)->text);
    }
    parse_fail(p, FAULT_UNBALANCED);
    return false;
}

/* Subscript and primes are part of a name: "x_1", "x'". */
static int16_t finish_name(struct parser *p, struct name *name)
{
    while (parse_accept(p, TOKEN_PRIME, -1))
        spell(name, cn_text("'"));
    if (parse_accept(p, TOKEN_SIGN, '_')) {
        spell(name, cn_text("_"));
        if (!spell_argument(p, name)) return parse_fail(p, FAULT_SYNTAX);
    }
    while (parse_accept(p, TOKEN_PRIME, -1))
        spell(name, cn_text("'"));
    return parse_symbol(p, (struct cn_text){name->text, name->n}, NODE_SYMBOL);
}

static int16_t symbol(struct parser *p)
{
    struct name name = {.n = 0};
    int16_t token = p->at;
    if (cn_text_is(parse_peek(p)->text, "a") && parse_parts(parse_peek(p) + 1)) { /* "a third" */
        p->at++;
        return parse_part(p, 1);
    }
    spell(&name, parse_peek(p)->text);
    char first = name.n == 1 ? name.text[0] : 0;
    p->at++;
    /* f(x): an unknown function */
    if (first && strchr("fghFG", first) && parse_is(p, TOKEN_OPEN, '(') && !parse_peek(p)->space) {
        int16_t node = parse_symbol(p, (struct cn_text){name.text, name.n}, NODE_APPLY);
        return parse_adopt(p, node, parse_bracket(p));
    }
    int16_t node = finish_name(p, &name);
    if (node >= 0) p->tree->node[node].unit = token;
    return node;
}

static int16_t text(struct parser *p)
{
    int16_t node = parse_node(p, NODE_TEXT, 0), begin = p->at;
    while (parse_is(p, TOKEN_TEXT, -1) || parse_is(p, TOKEN_WORD, -1))
        p->at++;
    if (node < 0) return -1;
    p->tree->node[node].unit = begin;
    p->tree->node[node].unit_end = p->at;
    return node;
}

/* Whether a run of letters is a word and not a product.  The known answer is read first: an answer
 * may multiply the names that occur there. */
static bool is_text_word(const struct parser *p, struct cn_text word)
{
    static const char *const known[] = {"no", "is", "of", "if", "to", "No", "as", "so",
                                        "we", "it", "in", "at", "by", "an", NULL};
    const struct names *names = p->tree->names;
    bool alone = p->at == 0 && p->tree->token[1].kind == TOKEN_END;
    const struct token *next = parse_peek(p) + 1;
    bool indexed = next->kind == TOKEN_SIGN && next->id && strchr("^_", next->id); /* "at^2" */
    if (word.length > 4 || (alone && word.length >= 3)) return true;
    for (const char *const *k = known; *k && !indexed; k++)
        if (cn_text_is(word, *k)) return true;
    for (size_t i = 0; i < word.length; i++) {
        char c = word.data[i];
        bool constant = c == 'e' || c == 'i', found = constant || !p->tree->answers;
        if ((unsigned char)c >= 0x80) return true;
        for (size_t k = 0; k < names->n && !found; k++)
            found = names->text[k][0] == c;
        if (!found) return true;
    }
    return false;
}

/* A short run of letters is a product: "xy". */
static int16_t letters(struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (part_word(token->text) == 2) return parse_part(p, 1);
    if (is_text_word(p, token->text)) return text(p);
    int16_t product = -1;
    p->at++;
    for (size_t i = 0; i < token->text.length; i++) {
        char c = token->text.data[i];
        struct name name = {.text = {c}, .n = 1};
        bool last = i + 1 == token->text.length;
        int16_t factor;
        if ((c == 'e' || c == 'i') && !(last && parse_is(p, TOKEN_SIGN, '_')))
            factor = parse_node(p, NODE_CONSTANT, c == 'e' ? CONSTANT_E : CONSTANT_I);
        else if (last)
            factor = finish_name(p, &name);
        else
            factor = parse_symbol(p, (struct cn_text){name.text, 1}, NODE_SYMBOL);
        /* "xy^2": the exponent belongs to y */
        if (last && parse_accept(p, TOKEN_SIGN, '^'))
            factor = parse_binary(p, NODE_POWER, factor, parse_argument(p));
        product = i ? parse_binary(p, NODE_MULTIPLY, product, factor) : factor;
        if (product < 0) return -1;
    }
    return product;
}

static int16_t constant(struct parser *p)
{
    const struct token *token = parse_peek(p);
    struct name name = {.n = 0};
    p->at++;
    if (parse_is(p, TOKEN_SIGN, '_') && token->text.length == 1) { /* "e_1" is a name */
        spell(&name, token->text);
        return finish_name(p, &name);
    }
    return parse_node(p, NODE_CONSTANT, token->id);
}

static int16_t accent(struct parser *p)
{
    struct name name = {.n = 0};
    const char mark[2] = {(char)parse_peek(p)->id, 0};
    p->at++;
    if (mark[0] == 'u') return parse_argument(p); /* underlined */
    if (!spell_argument(p, &name)) return parse_fail(p, FAULT_SYNTAX);
    if (mark[0] == 'v' || mark[0] == 'h') spell(&name, cn_text(mark));
    return finish_name(p, &name);
}

/* ---- fractions, currency, the choice ------------------------------------- */

int16_t parse_argument(struct parser *p)
{
    if (!parse_is(p, TOKEN_OPEN, '{')) return parse_atom(p);
    return parse_bracket(p);
}

static int16_t fraction(struct parser *p)
{
    p->at++;
    int16_t over = parse_argument(p);
    return over < 0 ? -1 : parse_binary(p, NODE_DIVIDE, over, parse_argument(p));
}

static int16_t currency(struct parser *p)
{
    int16_t begin = p->at++;
    int16_t unit = parse_node(p, NODE_UNIT, '$');
    if (unit < 0) return -1;
    p->tree->node[unit].unit = begin;
    p->tree->node[unit].unit_end = p->at;
    bool minus = parse_accept(p, TOKEN_SIGN, '-');
    int16_t amount = parse_atom(p);
    if (minus) amount = parse_adopt(p, parse_node(p, NODE_NEGATE, 0), amount);
    return parse_adopt(p, unit, amount);
}

int16_t parse_atom(struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (p->fault) return -1;
    switch (token->kind) {
    case TOKEN_NUMBER:
        return number(p);
    case TOKEN_COUNT:
        return parse_count(p);
    case TOKEN_VULGAR:
        return vulgar(p);
    case TOKEN_NAME:
        return symbol(p);
    case TOKEN_WORD:
        return letters(p);
    case TOKEN_TEXT:
        return text(p);
    case TOKEN_CONSTANT:
        return constant(p);
    case TOKEN_ACCENT:
        return accent(p);
    case TOKEN_FRACTION:
        return fraction(p);
    case TOKEN_CURRENCY:
        return currency(p);
    case TOKEN_FUNCTION:
        return parse_function(p);
    case TOKEN_BIG:
        return parse_big(p);
    case TOKEN_BEGIN:
        return parse_matrix(p);
    case TOKEN_SET_NAME:
        p->at++;
        return parse_node(p, NODE_SET_NAME, token->id);
    case TOKEN_OPEN:
        return is_based_bracket(p) ? based_bracket(p) : parse_bracket(p);
    case TOKEN_BAR:
        return parse_bracket(p);
    case TOKEN_CLOSE: /* the open interval ]a, b[ */
        return token->id == ']' ? parse_bracket(p) : parse_fail(p, FAULT_SYNTAX);
    default:
        return parse_fail(p, FAULT_SYNTAX);
    }
}
