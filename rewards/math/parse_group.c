/* The parser's brackets, functions, matrices, sums and products. */
#include "parse.h"

#include <string.h>

/* ---- brackets ------------------------------------------------------------ */

/* Members up to a closing token are appended to `parent`; returns how many, -1 on a fault. */
static int members(struct parser *p, int16_t parent)
{
    int n = 0;
    if (parent < 0) return -1;
    while (!parse_is(p, TOKEN_CLOSE, -1)) {
        if (parse_accept(p, TOKEN_DOTS, -1)) {
            p->tree->dots = true;
            continue;
        }
        if (n == LIMIT_LIST) return parse_fail(p, FAULT_TOO_LARGE);
        if (parse_adopt(p, parent, parse_relation(p)) < 0) return -1;
        n++;
        bool separator = parse_accept(p, TOKEN_SIGN, ',') || parse_accept(p, TOKEN_SIGN, ';') ||
                         parse_accept(p, TOKEN_JOIN, -1);
        if (!separator) break;
    }
    return n;
}

/* {x | condition}: the condition; the bar or colon has been read. */
static int16_t condition(struct parser *p, int16_t element)
{
    enum node_kind kind = p->tree->node[element].kind;
    if (kind != NODE_SYMBOL && kind != NODE_RELATION) return parse_fail(p, FAULT_SYNTAX);
    p->no_bar = false;
    int16_t node = parse_relation(p), list = -1;
    while (node >= 0 && (parse_accept(p, TOKEN_JOIN, 'o') || parse_accept(p, TOKEN_SIGN, ','))) {
        if (list < 0) {
            list = parse_adopt(p, parse_node(p, NODE_LIST, 0), node);
            if (list >= 0) p->tree->node[list].flag = 'o';
        }
        node = parse_relation(p);
        if (parse_adopt(p, list, node) < 0) return -1;
    }
    if (node < 0 || !parse_expect(p, TOKEN_CLOSE, -1)) return -1;
    if (list < 0) p->tree->node[node].flag = SET_BUILDER;
    return list >= 0 ? list : node;
}

static int16_t close_set(struct parser *p, int16_t set, int n)
{
    struct node *node = &p->tree->node[set];
    if (n == 1 && (parse_accept(p, TOKEN_BAR, -1) || parse_accept(p, TOKEN_SIGN, ':')))
        return condition(p, node->child);
    if (!parse_is(p, TOKEN_CLOSE, 's') && !parse_is(p, TOKEN_CLOSE, '}')) {
        parse_expect(p, TOKEN_CLOSE, 's');
        return -1;
    }
    p->at++;
    if (n == 0) {
        node->kind = NODE_SET_NAME;
        node->id = 0;
    }
    return set;
}

/* Round and square brackets: grouping, tuple or interval by the number of members. */
static int16_t close_bracket(struct parser *p, int16_t node, uint8_t open, int n)
{
    struct node *out = &p->tree->node[node];
    const struct token *end = parse_peek(p);
    uint8_t close = end->id;
    bool french = end->kind == TOKEN_OPEN && close == '[' && n == 2;
    if (!french && (end->kind != TOKEN_CLOSE || (close != ')' && close != ']')))
        return parse_expect(p, TOKEN_CLOSE, open == '(' ? ')' : ']') ? -1 : -1;
    p->at++;
    out->flag = open;
    if (n == 1) {
        if ((open == '(') != (close == ')')) return parse_fail(p, FAULT_SYNTAX);
        p->tree->node[out->child].paren = true;
        return out->child;
    }
    bool round = open == '(' && close == ')';
    if (n == 2 && !round) {
        out->kind = NODE_INTERVAL;
        out->flag = (uint8_t)((open == '(' || open == ']' ? OPEN_LEFT : 0) |
                              (close == ')' || french ? OPEN_RIGHT : 0));
        return node;
    }
    if ((open == '(') != (close == ')')) return parse_fail(p, FAULT_SYNTAX);
    return node;
}

static int16_t group(struct parser *p, uint8_t open)
{
    struct parse_context before = parse_open(p, open == 's');
    int16_t node = parse_node(p, open == 's' || open == '{' ? NODE_SET : NODE_TUPLE, 0);
    int n = members(p, node);
    if (n < 0) return -1;
    if (open == '{' && n == 1 && parse_is(p, TOKEN_CLOSE, '}')) {
        p->at++;
        node = p->tree->node[node].child;
        p->tree->node[node].paren = true;
    } else if (open == '{' || open == 's') {
        node = close_set(p, node, n);
    } else {
        node = close_bracket(p, node, open, n);
    }
    parse_close(p, before);
    return node;
}

/* |x|, floor and ceiling: one operand between two signs. */
static int16_t enclosed(struct parser *p, enum function function, enum token_kind end, int id)
{
    struct parse_context before = parse_open(p, false);
    p->bars = end == TOKEN_BAR;
    int16_t node = parse_adopt(p, parse_node(p, NODE_CALL, (int)function), parse_sum(p));
    if (node >= 0 && !parse_expect(p, end, id)) return -1;
    parse_close(p, before);
    if (node >= 0 && function == FUNCTION_ABS &&
        p->tree->node[p->tree->node[node].child].kind == NODE_MATRIX)
        p->tree->node[node].id = FUNCTION_DET;
    return node;
}

int16_t parse_bracket(struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (!parse_enter(p)) return -1;
    int16_t node;
    p->at++;
    if (token->kind == TOKEN_BAR)
        node = enclosed(p, FUNCTION_ABS, TOKEN_BAR, -1);
    else if (token->id == 'f')
        node = enclosed(p, FUNCTION_FLOOR, TOKEN_CLOSE, 'f');
    else if (token->id == 'c')
        node = enclosed(p, FUNCTION_CEIL, TOKEN_CLOSE, 'c');
    else
        node = group(p, token->id);
    p->depth--;
    return node;
}

/* ---- sums and products --------------------------------------------------- */

int16_t parse_big(struct parser *p)
{
    bool sum = parse_peek(p)->id == 's';
    p->at++;
    if (!parse_expect(p, TOKEN_SIGN, '_')) return -1;
    if (!parse_expect(p, TOKEN_OPEN, '{')) return -1;
    const struct token *name = parse_peek(p);
    if (name->kind != TOKEN_NAME && !(name->kind == TOKEN_CONSTANT && name->id == CONSTANT_I))
        return parse_fail(p, FAULT_SYNTAX);
    p->at++;
    if (!parse_expect(p, TOKEN_RELATION, RELATION_EQUAL)) return -1;
    int16_t node = parse_symbol(p, name->text, sum ? NODE_SUM : NODE_PRODUCT);
    if (parse_adopt(p, node, parse_sum(p)) < 0) return -1;
    if (!parse_expect(p, TOKEN_CLOSE, '}') || !parse_expect(p, TOKEN_SIGN, '^')) return -1;
    if (parse_adopt(p, node, parse_argument(p)) < 0) return -1;
    /* a running "i" is a name inside the body, not the imaginary unit */
    if (name->kind == TOKEN_CONSTANT)
        for (int16_t i = p->at; p->tree->token[i].kind != TOKEN_END; i++)
            if (p->tree->token[i].kind == TOKEN_CONSTANT && p->tree->token[i].id == CONSTANT_I &&
                p->tree->token[i].text.length == 1)
                p->tree->token[i].kind = TOKEN_NAME;
    if (!parse_enter(p)) return -1;
    int16_t body = parse_term(p);
    p->depth--;
    return parse_adopt(p, node, body);
}

/* ---- functions ----------------------------------------------------------- */

static const struct {
    uint8_t function, inverse;
} inverses[] = {{FUNCTION_SIN, FUNCTION_ASIN},   {FUNCTION_COS, FUNCTION_ACOS},
                {FUNCTION_TAN, FUNCTION_ATAN},   {FUNCTION_COT, FUNCTION_ACOT},
                {FUNCTION_SEC, FUNCTION_ASEC},   {FUNCTION_CSC, FUNCTION_ACSC},
                {FUNCTION_SINH, FUNCTION_ASINH}, {FUNCTION_COSH, FUNCTION_ACOSH},
                {FUNCTION_TANH, FUNCTION_ATANH}};

static bool is_angular(uint8_t function)
{
    return function >= FUNCTION_SIN && function <= FUNCTION_CSC;
}

/* Whether the node is the number -1. */
static bool is_minus_one(const struct parser *p, int16_t node)
{
    const struct node *n = &p->tree->node[node];
    return n->kind == NODE_NEGATE && p->tree->node[n->child].kind == NODE_NUMBER &&
           fmpq_is_one(&p->tree->node[n->child].value);
}

/* An argument without brackets: factors side by side, up to a sign or the next function. */
static int16_t tight(struct parser *p)
{
    if (parse_accept(p, TOKEN_SIGN, '-'))
        return parse_adopt(p, parse_node(p, NODE_NEGATE, 0), tight(p));
    int16_t node = parse_power(p);
    while (node >= 0 && parse_starts_atom(p) && !parse_is(p, TOKEN_FUNCTION, -1) &&
           !parse_is(p, TOKEN_OPEN, '(') && !parse_is(p, TOKEN_OPEN, '['))
        node = parse_binary(p, NODE_MULTIPLY, node, parse_power(p));
    return node;
}

/* The arguments: those of a bracket, or what follows tightly. */
static int16_t arguments(struct parser *p, int16_t call, uint8_t function)
{
    bool bracket = parse_is(p, TOKEN_OPEN, '(') || parse_is(p, TOKEN_OPEN, 's') ||
                   parse_is(p, TOKEN_OPEN, '{') || parse_is(p, TOKEN_OPEN, '[');
    if (function == FUNCTION_SQRT && !bracket) return parse_adopt(p, call, parse_atom(p));
    if (!bracket) {
        if (!parse_enter(p)) return -1;
        int16_t argument = tight(p);
        p->depth--;
        return parse_adopt(p, call, argument);
    }
    int16_t argument = parse_bracket(p);
    if (argument < 0) return -1;
    uint8_t kind = p->tree->node[argument].kind;
    bool several = function >= FUNCTION_GCD && function <= FUNCTION_BINOM &&
                   (kind == NODE_TUPLE || kind == NODE_SET || kind == NODE_INTERVAL);
    if (several) argument = p->tree->node[argument].child;
    if (parse_adopt(p, call, argument) < 0) return -1;
    if (function == FUNCTION_BINOM && !several) return parse_adopt(p, call, parse_argument(p));
    return call;
}

/* What may stand between a function's name and its argument: base, degree, exponent. */
struct decoration {
    int16_t base, power;
};

static bool decorations(struct parser *p, uint8_t function, struct decoration *out)
{
    out->base = out->power = -1;
    if (function == FUNCTION_SQRT && parse_accept(p, TOKEN_OPEN, '[')) {
        out->base = parse_sum(p);
        if (out->base < 0 || !parse_expect(p, TOKEN_CLOSE, ']')) return false;
    }
    for (;;) {
        int16_t *which = parse_is(p, TOKEN_SIGN, '_')   ? &out->base
                         : parse_is(p, TOKEN_SIGN, '^') ? &out->power
                                                        : NULL;
        if (!which) return true;
        p->at++;
        bool minus = parse_accept(p, TOKEN_SIGN, '-');
        *which = parse_argument(p);
        if (minus) *which = parse_adopt(p, parse_node(p, NODE_NEGATE, 0), *which);
        if (*which < 0) return false;
    }
}

int16_t parse_function(struct parser *p)
{
    const struct token *token = parse_peek(p);
    uint8_t function = token->id;
    struct decoration with;
    if (!parse_enter(p)) return -1;
    p->at++;
    if (!decorations(p, function, &with)) return -1;
    if (function == FUNCTION_SQRT && token->text.length == 1) with.base = parse_integer(p, 3);
    if (with.power >= 0 && is_minus_one(p, with.power))
        for (size_t i = 0; i < sizeof inverses / sizeof *inverses; i++)
            if (inverses[i].function == function) {
                function = inverses[i].inverse;
                with.power = -1;
                break;
            }
    bool outer = p->in_angle;
    p->in_angle = outer || is_angular(function);
    int16_t call = arguments(p, parse_node(p, NODE_CALL, function), function);
    p->in_angle = outer;
    p->depth--;
    bool based = function == FUNCTION_LOG || function == FUNCTION_SQRT;
    if (with.base >= 0 && !based) return parse_fail(p, FAULT_SYNTAX);
    if (with.base >= 0) call = parse_adopt(p, call, with.base);
    return with.power >= 0 ? parse_binary(p, NODE_POWER, call, with.power) : call;
}
