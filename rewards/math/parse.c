/* The parser: from the whole answer down to one factor.  Recursive descent with a counted depth.
 *
 *     answer    item { (, | ; | and | or) item }
 *     item      [label] side { relation side }
 *     side      sum { (union | intersection | difference) sum }
 *     sum       term { (+ | - | +-) term }
 *     term      factor { [* | / | :] factor }       a unit may end it
 *     factor    atom { ! | % | degree | prime } [^ argument]
 */
#include "parse.h"

#include <string.h>

const struct token *parse_peek(const struct parser *p)
{
    return &p->tree->token[p->at];
}

bool parse_is(const struct parser *p, enum token_kind kind, int id)
{
    const struct token *token = parse_peek(p);
    return token->kind == kind && (id < 0 || token->id == id);
}

bool parse_accept(struct parser *p, enum token_kind kind, int id)
{
    if (!parse_is(p, kind, id)) return false;
    p->at++;
    return true;
}

bool parse_expect(struct parser *p, enum token_kind kind, int id)
{
    if (parse_accept(p, kind, id)) return true;
    bool cut = parse_is(p, TOKEN_END, -1) && kind == TOKEN_CLOSE;
    parse_fail(p, cut ? FAULT_UNBALANCED : FAULT_SYNTAX);
    return false;
}

int16_t parse_fail(struct parser *p, enum fault fault)
{
    if (!p->fault) p->fault = fault;
    return -1;
}

bool parse_enter(struct parser *p)
{
    if (++p->depth <= LIMIT_DEPTH) return true;
    parse_fail(p, FAULT_TOO_LARGE);
    return false;
}

/* ---- nodes --------------------------------------------------------------- */

int16_t parse_node(struct parser *p, enum node_kind kind, int id)
{
    struct tree *tree = p->tree;
    if (p->fault) return -1;
    if (tree->n_nodes - p->cells >= LIMIT_NODES || tree->n_nodes >= NODES_ROOM)
        return parse_fail(p, FAULT_TOO_LARGE);
    struct node *node = &tree->node[tree->n_nodes];
    memset(node, 0, sizeof *node);
    fmpq_init(&node->value);
    node->kind = (uint8_t)kind;
    node->id = (uint8_t)id;
    node->child = node->next = -1;
    node->digits = -1;
    node->unit = node->unit_end = -1;
    return tree->n_nodes++;
}

int16_t parse_adopt(struct parser *p, int16_t parent, int16_t child)
{
    if (parent < 0 || child < 0) return -1;
    int16_t *link = &p->tree->node[parent].child;
    while (*link >= 0)
        link = &p->tree->node[*link].next;
    *link = child;
    return parent;
}

int16_t parse_binary(struct parser *p, enum node_kind kind, int16_t a, int16_t b)
{
    if (a < 0 || b < 0) return -1;
    int16_t node = parse_node(p, kind, 0);
    if (node < 0) return -1;
    p->tree->node[node].child = a;
    p->tree->node[a].next = b;
    return node;
}

int16_t parse_integer(struct parser *p, long value)
{
    int16_t node = parse_node(p, NODE_NUMBER, 0);
    if (node >= 0) fmpz_set_si(fmpq_numref(&p->tree->node[node].value), value);
    return node;
}

int16_t parse_symbol(struct parser *p, struct cn_text name, enum node_kind kind)
{
    struct names *names = p->tree->names;
    size_t i = 0;
    if (name.length >= LIMIT_NAME) name.length = LIMIT_NAME - 1;
    while (i < names->n && !cn_text_is(name, names->text[i]))
        i++;
    if (i == names->n) {
        if (i == LIMIT_NAMES) return parse_fail(p, FAULT_TOO_LARGE);
        memcpy(names->text[i], name.data, name.length);
        names->text[i][name.length] = 0;
        names->n++;
    }
    return parse_node(p, kind, (int)i);
}

/* ---- factors and terms --------------------------------------------------- */

bool parse_starts_atom(const struct parser *p)
{
    const struct token *token = parse_peek(p);
    switch (token->kind) {
    case TOKEN_NUMBER:
    case TOKEN_NAME:
    case TOKEN_WORD:
    case TOKEN_COUNT:
    case TOKEN_CONSTANT:
    case TOKEN_FUNCTION:
    case TOKEN_FRACTION:
    case TOKEN_VULGAR:
    case TOKEN_ACCENT:
    case TOKEN_BIG:
    case TOKEN_BEGIN:
        return !(token->kind == TOKEN_FUNCTION && token->id == FUNCTION_MOD);
    case TOKEN_OPEN: /* but not the end of "[1, 2[" */
        return token->id != '[' || (token[1].kind != TOKEN_END && token[1].kind != TOKEN_SIGN &&
                                    token[1].kind != TOKEN_CLOSE);
    case TOKEN_BAR:
        return token->id != 'r' && !p->bars && !p->no_bar;
    default:
        return false;
    }
}

/* The sign of degrees: a factor where an angle is meant, else a unit. */
static int16_t degrees(struct parser *p, int16_t number)
{
    if (p->in_angle) {
        int16_t full = parse_integer(p, 180), pi = parse_node(p, NODE_CONSTANT, CONSTANT_PI);
        return parse_binary(p, NODE_MULTIPLY, number, parse_binary(p, NODE_DIVIDE, pi, full));
    }
    int16_t node = parse_node(p, NODE_UNIT, 'd'), begin = p->at;
    if (node < 0) return -1;
    struct cn_text scale = parse_peek(p)->text; /* of temperature */
    p->at = (int16_t)(p->at + (cn_text_is(scale, "C") || cn_text_is(scale, "F")));
    p->tree->node[node].unit = begin;
    p->tree->node[node].unit_end = p->at;
    return parse_adopt(p, node, number);
}

/* "5^{th}" is 5. */
static bool is_ordinal(const struct token *token)
{
    static const char *const ordinals[] = {"st", "nd", "rd", "th"};
    for (size_t i = 0; i < sizeof ordinals / sizeof *ordinals; i++)
        if (cn_text_is(token->text, ordinals[i])) return true;
    return false;
}

/* "^" has been read: degrees, primes, or an exponent. */
static int16_t exponent(struct parser *p, int16_t base)
{
    if (parse_accept(p, TOKEN_DEGREE, -1)) return degrees(p, base);
    bool group = parse_is(p, TOKEN_OPEN, '{');
    const struct token *inner = parse_peek(p) + 1;
    if (group && inner->kind == TOKEN_DEGREE && inner[1].kind == TOKEN_CLOSE) {
        p->at++;
        int16_t node = exponent(p, base);
        p->at++;
        return node;
    }
    if (parse_accept(p, TOKEN_PRIME, -1)) return base;
    if (group && is_ordinal(inner) && inner[1].kind == TOKEN_CLOSE) {
        p->at = (int16_t)(p->at + 3);
        return base;
    }
    bool minus = !group && parse_accept(p, TOKEN_SIGN, '-');
    int16_t power = minus ? parse_power(p) : parse_argument(p);
    if (!minus && parse_accept(p, TOKEN_SIGN, '^')) power = exponent(p, power);
    if (minus) power = parse_adopt(p, parse_node(p, NODE_NEGATE, 0), power);
    return parse_binary(p, NODE_POWER, base, power);
}

/* What may stand behind an atom; the token has been seen. */
static int16_t behind(struct parser *p, int16_t node, bool *more)
{
    *more = true;
    if (parse_accept(p, TOKEN_SIGN, '^')) return exponent(p, node);
    if (parse_accept(p, TOKEN_SIGN, '!')) {
        if (parse_is(p, TOKEN_SIGN, '!')) return parse_fail(p, FAULT_SYNTAX); /* no (n!)! */
        return parse_adopt(p, parse_node(p, NODE_CALL, FUNCTION_FACTORIAL), node);
    }
    if (parse_accept(p, TOKEN_SIGN, '%'))
        return parse_adopt(p, parse_node(p, NODE_PERCENT, 0), node);
    if (parse_accept(p, TOKEN_DEGREE, -1)) return degrees(p, node);
    *more = false;
    return node;
}

int16_t parse_power(struct parser *p)
{
    if (!parse_enter(p)) return -1;
    int16_t node = parse_atom(p);
    for (bool more = true; node >= 0 && more;)
        node = behind(p, node, &more);
    p->depth--;
    return node;
}

/* A sign in front of a term: minus, plus (kind NODE_ADD), plus or minus. */
static int16_t negated(struct parser *p, enum node_kind kind)
{
    if (!parse_enter(p)) return -1;
    int16_t operand = parse_term(p);
    p->depth--;
    if (kind == NODE_ADD) return operand;
    if (kind == NODE_NEGATE) return parse_negate(p, operand);
    return parse_binary(p, kind, parse_integer(p, 0), operand);
}

/* Whether what was read is a number and no more: a literal, perhaps with a percent sign. */
static bool bare_number(const struct parser *p, int16_t node)
{
    const struct node *n = &p->tree->node[node];
    return n->kind == NODE_NUMBER && !n->paren;
}

static bool is_ratio(const struct parser *p, int16_t node)
{
    const struct node *n = &p->tree->node[node];
    return (n->kind == NODE_RATIO || n->kind == NODE_PROPORTION) && !n->paren;
}

/* "7 mod 5", "2 (mod 5)" */
static bool starts_modulus(const struct parser *p)
{
    const struct token *token = parse_peek(p);
    if (token->kind == TOKEN_OPEN && token->id == '(') token++;
    return token->kind == TOKEN_FUNCTION && token->id == FUNCTION_MOD;
}

int16_t parse_term(struct parser *p)
{
    if (parse_accept(p, TOKEN_SIGN, '-')) return negated(p, NODE_NEGATE);
    if (parse_accept(p, TOKEN_SIGN, '+')) return negated(p, NODE_ADD);
    if (parse_accept(p, TOKEN_SIGN, 'p')) return negated(p, NODE_PLUS_MINUS);
    int16_t node = parse_power(p);
    while (node >= 0) {
        if (parse_starts_tail(p)) break;
        bool divide = parse_is(p, TOKEN_SIGN, '/'), ratio = parse_is(p, TOKEN_SIGN, ':');
        if (ratio && p->no_bar) break; /* "{x : x > 1}" */
        if (divide || ratio || parse_is(p, TOKEN_SIGN, '*')) {
            p->at++;
            bool minus = parse_accept(p, TOKEN_SIGN, '-'); /* "2 * -3" */
            int16_t factor = parse_power(p);
            if (minus) factor = parse_adopt(p, parse_node(p, NODE_NEGATE, 0), factor);
            if (ratio && is_ratio(p, node)) { /* "1 : 2 : 3" */
                p->tree->node[node].kind = NODE_PROPORTION;
                node = parse_adopt(p, node, factor);
                continue;
            }
            node = parse_operation(p,
                                   divide  ? NODE_DIVIDE
                                   : ratio ? NODE_RATIO
                                           : NODE_MULTIPLY,
                                   node, factor);
        } else if (parse_starts_unit(p)) {
            node = parse_unit(p, node);
        } else if (starts_modulus(p)) {
            bool bracket = parse_accept(p, TOKEN_OPEN, '(');
            p->at++;
            int16_t call = parse_adopt(p, parse_node(p, NODE_CALL, FUNCTION_MOD), node);
            node = parse_adopt(p, call, parse_power(p));
            if (bracket && !parse_expect(p, TOKEN_CLOSE, ')')) return -1;
        } else if (parse_starts_remark(p)) {
            if (!parse_remark(p, node)) return parse_fail(p, FAULT_SYNTAX);
        } else if (parse_starts_atom(p)) {
            if (parse_is(p, TOKEN_COUNT, -1)) return parse_fail(p, FAULT_SYNTAX);
            /* two bare numbers side by side are no product, nor is "5 feet 6 inches" */
            bool digits = parse_is(p, TOKEN_NUMBER, -1) || parse_is(p, TOKEN_FRACTION, -1) ||
                          parse_is(p, TOKEN_VULGAR, -1);
            if ((parse_is(p, TOKEN_NUMBER, -1) && bare_number(p, node)) ||
                (digits && p->tree->node[node].kind == NODE_UNIT))
                return parse_fail(p, FAULT_SYNTAX);
            int16_t factor = parse_power(p);
            bool point = factor >= 0 && p->tree->node[node].kind == NODE_SYMBOL &&
                         (p->tree->node[factor].kind == NODE_TUPLE ||
                          p->tree->node[factor].kind == NODE_INTERVAL);
            node = point ? factor : parse_operation(p, NODE_MULTIPLY, node, factor); /* P(1, 2) */
        } else {
            break;
        }
    }
    return node;
}

int16_t parse_sum(struct parser *p)
{
    if (!parse_enter(p)) return -1;
    int16_t node = parse_term(p);
    while (node >= 0) {
        const struct token *token = parse_peek(p);
        if (token->kind != TOKEN_SIGN || !strchr("+-pq", token->id)) break;
        p->at++;
        int16_t right = parse_term(p);
        node = parse_operation(p,
                               token->id == '+'   ? NODE_ADD
                               : token->id == '-' ? NODE_SUBTRACT
                                                  : NODE_PLUS_MINUS,
                               node, right);
        if (node >= 0 && token->id == 'q') p->tree->node[node].flag = 1;
    }
    p->depth--;
    return node;
}

static int16_t parse_side(struct parser *p)
{
    int16_t node = parse_sum(p);
    if (node >= 0 && parse_accept(p, TOKEN_SIGN, 'O')) /* {a + b \over c} */
        return parse_binary(p, NODE_DIVIDE, node, parse_sum(p));
    if (node >= 0 && parse_accept(p, TOKEN_SIGN, 'C')) {
        int16_t call = parse_adopt(p, parse_node(p, NODE_CALL, FUNCTION_BINOM), node);
        return parse_adopt(p, call, parse_sum(p));
    }
    while (node >= 0) {
        const struct token *token = parse_peek(p);
        if (token->kind != TOKEN_SIGN || !strchr("und", token->id)) break;
        p->at++;
        node = parse_binary(p,
                            token->id == 'u'   ? NODE_UNION
                            : token->id == 'n' ? NODE_INTERSECTION
                                               : NODE_DIFFERENCE,
                            node, parse_sum(p));
    }
    return node;
}

/* "k in Z" */
static void name_set(struct parser *p, int16_t operand)
{
    struct node *node = &p->tree->node[operand];
    const char *name = node->kind == NODE_SYMBOL ? p->tree->names->text[node->id] : "";
    if (!name[0] || name[1] || !strchr("NZQRC", name[0])) return;
    node->kind = NODE_SET_NAME;
    node->id = (uint8_t)name[0];
}

int16_t parse_relation(struct parser *p)
{
    int16_t node = parse_side(p), chain = -1;
    int count = 1;
    while (node >= 0 && parse_is(p, TOKEN_RELATION, -1)) {
        uint8_t relation = parse_peek(p)->id;
        p->at++;
        bool name =
            p->tree->node[node].kind == NODE_SYMBOL || p->tree->node[node].kind == NODE_APPLY;
        if (relation == RELATION_ABOUT && (!name || chain >= 0)) {
            parse_skip(p);
            break;
        }
        if (relation == RELATION_ABOUT) relation = RELATION_EQUAL;
        if (parse_is(p, TOKEN_END, -1)) return parse_fail(p, FAULT_SYNTAX);
        int16_t operand = parse_side(p);
        if (operand < 0) return -1;
        if (relation == RELATION_IN) name_set(p, operand);
        if (++count > LIMIT_LIST) return parse_fail(p, FAULT_TOO_LARGE);
        p->tree->node[operand].relation = relation;
        if (chain < 0) chain = parse_adopt(p, parse_node(p, NODE_RELATION, 0), node);
        if (parse_adopt(p, chain, operand) < 0) return -1;
    }
    return node < 0 ? -1 : chain >= 0 ? chain : node;
}

/* ---- the whole answer ---------------------------------------------------- */

static int16_t parse_item(struct parser *p)
{
    parse_label(p);
    if (!parse_accept(p, TOKEN_RELATION, RELATION_ABOUT))
        parse_accept(p, TOKEN_RELATION, RELATION_EQUAL);
    int16_t node = parse_relation(p);
    if (parse_starts_tail(p)) parse_skip(p);
    return node;
}

/* Steps over the separators between two members; "and" behind a comma is one separator. */
static bool separators(struct parser *p, uint8_t *joined)
{
    bool any = false;
    for (;;) {
        if (parse_is(p, TOKEN_JOIN, -1))
            *joined = parse_peek(p)->id;
        else if (!parse_is(p, TOKEN_SIGN, ',') && !parse_is(p, TOKEN_SIGN, ';') &&
                 !parse_is(p, TOKEN_SIGN, '&'))
            return any;
        any = true;
        p->at++;
    }
}

static bool accept_dots(struct parser *p)
{
    bool dots = parse_accept(p, TOKEN_DOTS, -1);
    p->tree->dots |= dots;
    return dots;
}

static int16_t parse_answer(struct parser *p)
{
    uint8_t joined = 0;
    int16_t first = parse_item(p), list = -1;
    int count = 1;
    while (first >= 0 && separators(p, &joined)) {
        if (accept_dots(p)) separators(p, &joined);
        if (parse_starts_tail(p)) {
            parse_skip(p);
            continue;
        }
        if (parse_is(p, TOKEN_END, -1)) break;
        if (list < 0) list = parse_adopt(p, parse_node(p, NODE_LIST, 0), first);
        if (++count > LIMIT_LIST) return parse_fail(p, FAULT_TOO_LARGE);
        if (parse_adopt(p, list, parse_item(p)) < 0) return -1;
    }
    if (count > 1 || !parse_is(p, TOKEN_DOTS, -1))
        accept_dots(p);
    else
        p->at++; /* "7..." is 7 */
    if (!parse_is(p, TOKEN_END, -1)) return parse_fail(p, FAULT_SYNTAX);
    if (list >= 0) p->tree->node[list].flag = joined;
    return list >= 0 ? list : first;
}

/* Whether every bracket of a group { } is closed: what is cut off is not merely odd. */
static bool unbalanced(const struct tree *tree)
{
    int depth = 0;
    for (int i = 0; i < tree->n_tokens; i++) {
        if (tree->token[i].kind == TOKEN_OPEN && tree->token[i].id == '{') depth++;
        if (tree->token[i].kind == TOKEN_CLOSE && tree->token[i].id == '}') depth--;
        if (depth < 0) return true;
    }
    return depth != 0;
}

enum fault parse_text(struct cn_text text, enum commas commas, struct names *names,
                      struct tree *tree)
{
    tree->text = trim_answer(text);
    tree->names = names;
    tree->n_tokens = tree->n_nodes = 0;
    tree->root = -1;
    tree->comma_unclear = tree->dots = false;
    if (tree->text.length > LIMIT_TEXT) return FAULT_TOO_LARGE;
    enum fault fault = lex_text(tree, commas);
    if (fault) return fault;
    struct parser p = {.tree = tree};
    int16_t root = parse_answer(&p);
    if (p.fault == FAULT_SYNTAX && unbalanced(tree)) return FAULT_UNBALANCED;
    if (p.fault || root < 0) return p.fault ? p.fault : FAULT_SYNTAX;
    tree->root = root;
    return FAULT_NONE;
}

void tree_clear(struct tree *tree)
{
    for (int i = 0; i < tree->n_nodes; i++)
        fmpq_clear(&tree->node[i].value);
    tree->n_nodes = 0;
    tree->root = -1;
}
