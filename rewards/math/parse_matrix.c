/* The parser's matrices: rows and columns, and what is calculated with whole matrices.
 *
 * "2 M", "M / 3", "-M" and "M + N" are carried out cell by cell while they are read, so that a
 * comparison meets plain matrices only. */
#include "parse.h"

int16_t parse_matrix(struct parser *p)
{
    uint8_t bracket = parse_peek(p)->id;
    int16_t node = parse_node(p, NODE_MATRIX, 0), count = 0;
    int rows = 0, columns = 0, column = 0;
    if (!parse_enter(p) || node < 0) return -1;
    struct parse_context before = parse_open(p, false);
    p->at++;
    while (!parse_is(p, TOKEN_FINISH, -1)) {
        p->cells = (int16_t)(p->cells + (count++ < LIMIT_MATRIX * LIMIT_MATRIX));
        if (parse_adopt(p, node, parse_relation(p)) < 0) return -1;
        column++;
        if (parse_accept(p, TOKEN_SIGN, '&')) continue;
        if (rows++ == 0) columns = column;
        if (column != columns) return parse_fail(p, FAULT_SYNTAX);
        if (rows > LIMIT_MATRIX || columns > LIMIT_MATRIX) return parse_fail(p, FAULT_TOO_LARGE);
        column = 0;
        if (!parse_accept(p, TOKEN_SIGN, '\n') && !parse_is(p, TOKEN_FINISH, -1))
            return parse_fail(p, FAULT_SYNTAX);
    }
    p->at++;
    p->depth--;
    parse_close(p, before);
    if (!rows || column) return parse_fail(p, FAULT_SYNTAX);
    struct node *out = &p->tree->node[node];
    out->id = (uint8_t)rows;
    out->flag = (uint8_t)columns;
    out->unit = bracket;
    if (bracket != '|') return node;
    return parse_adopt(p, parse_node(p, NODE_CALL, FUNCTION_DET), node);
}

static bool is_matrix(const struct parser *p, int16_t node)
{
    return p->tree->node[node].kind == NODE_MATRIX;
}

static int16_t copy(struct parser *p, int16_t node)
{
    int16_t out = parse_node(p, NODE_NUMBER, 0);
    if (out < 0) return -1;
    struct node *to = &p->tree->node[out];
    const struct node *from = &p->tree->node[node];
    fmpq_set(&to->value, &from->value);
    const fmpq value = to->value;
    *to = *from;
    to->value = value;
    to->child = to->next = -1;
    for (int16_t child = from->child; child >= 0; child = p->tree->node[child].next)
        if (parse_adopt(p, out, copy(p, child)) < 0) return -1;
    return out;
}

/* Puts `make(cell)` in the place of every cell.  other: a scalar or, cell by cell, a matrix; -1:
 * none.  first: it stands in front of the cell. */
static int16_t each_cell(struct parser *p, int16_t matrix, enum node_kind kind, int16_t other,
                         bool first)
{
    bool cells = other >= 0 && is_matrix(p, other);
    int16_t partner = cells ? p->tree->node[other].child : other;
    int16_t cell = p->tree->node[matrix].child;
    p->tree->node[matrix].child = -1;
    while (cell >= 0) {
        int16_t next = p->tree->node[cell].next, out;
        int16_t next_partner = cells ? p->tree->node[partner].next : other;
        p->tree->node[cell].next = -1;
        if (other < 0)
            out = parse_adopt(p, parse_node(p, kind, 0), cell);
        else if (first)
            out = parse_binary(p, kind, copy(p, partner), cell);
        else
            out = parse_binary(p, kind, cell, copy(p, partner));
        if (parse_adopt(p, matrix, out) < 0) return -1;
        cell = next;
        partner = next_partner;
    }
    return matrix;
}

int16_t parse_negate(struct parser *p, int16_t node)
{
    if (node >= 0 && is_matrix(p, node)) return each_cell(p, node, NODE_NEGATE, -1, false);
    return parse_adopt(p, parse_node(p, NODE_NEGATE, 0), node);
}

int16_t parse_operation(struct parser *p, enum node_kind kind, int16_t a, int16_t b)
{
    if (a < 0 || b < 0) return -1;
    bool left = is_matrix(p, a), right = is_matrix(p, b);
    const struct node *one = &p->tree->node[a], *two = &p->tree->node[b];
    if (kind == NODE_MULTIPLY && left != right)
        return each_cell(p, left ? a : b, kind, left ? b : a, right);
    if (kind == NODE_DIVIDE && left && !right) return each_cell(p, a, kind, b, false);
    bool same = left && right && one->id == two->id && one->flag == two->flag;
    if ((kind == NODE_ADD || kind == NODE_SUBTRACT) && same) return each_cell(p, a, kind, b, false);
    return parse_binary(p, kind, a, b);
}
