/* Sets of real numbers: intervals, points, unions, and the solutions of simple inequalities, as a
 * sorted list of pieces. */
#include "work.h"

#include <math.h>

enum { PIECES_MAX = 32 };

struct piece {
    struct term low, high; /* node -1: minus or plus infinity */
    double from, to;
    bool open_low, open_high;
};

struct pieces {
    struct piece item[PIECES_MAX];
    int n;
    uint64_t name; /* the name that inequalities bound; 0: none */
};

bool is_set(struct term t)
{
    switch (term_node(t)->kind) {
    case NODE_INTERVAL:
    case NODE_UNION:
    case NODE_INTERSECTION:
    case NODE_DIFFERENCE:
    case NODE_SET_NAME:
        return true;
    default:
        return false;
    }
}

static bool push(struct work *w, struct pieces *set, struct piece piece)
{
    if (set->n == PIECES_MAX) return false;
    piece.from = piece.low.node < 0 ? -INFINITY : rough_value(w, piece.low);
    piece.to = piece.high.node < 0 ? INFINITY : rough_value(w, piece.high);
    if (isinf(piece.from)) piece.open_low = true, piece.low.node = -1;
    if (isinf(piece.to)) piece.open_high = true, piece.high.node = -1;
    /* an end that is no real constant, or ends in the wrong order */
    if (isnan(piece.from) || isnan(piece.to) || piece.from > piece.to) return false;
    set->item[set->n++] = piece;
    return true;
}

static bool push_point(struct work *w, struct pieces *set, struct term t)
{
    return push(w, set, (struct piece){.low = t, .high = t});
}

static bool push_line(struct work *w, struct pieces *set)
{
    const struct term none = {NULL, -1, 1};
    return push(w, set, (struct piece){none, none, 0, 0, true, true});
}

static bool collect(struct work *w, struct term t, struct pieces *out);

/* name REL end: one ray, two for "not equal". */
static bool push_ray(struct work *w, struct pieces *set, uint8_t relation, struct term end)
{
    const struct term none = {NULL, -1, 1};
    bool open = relation == RELATION_LESS || relation == RELATION_GREATER;
    switch (relation) {
    case RELATION_EQUAL:
        return push_point(w, set, end);
    case RELATION_UNEQUAL:
        return push(w, set, (struct piece){none, end, 0, 0, true, true}) &&
               push(w, set, (struct piece){end, none, 0, 0, true, true});
    case RELATION_LESS:
    case RELATION_LESS_EQUAL:
        return push(w, set, (struct piece){none, end, 0, 0, true, open});
    case RELATION_GREATER:
    case RELATION_GREATER_EQUAL:
        return push(w, set, (struct piece){end, none, 0, 0, open, true});
    default:
        return false;
    }
}

static uint8_t mirrored(uint8_t relation)
{
    switch (relation) {
    case RELATION_LESS:
        return RELATION_GREATER;
    case RELATION_GREATER:
        return RELATION_LESS;
    case RELATION_LESS_EQUAL:
        return RELATION_GREATER_EQUAL;
    case RELATION_GREATER_EQUAL:
        return RELATION_LESS_EQUAL;
    default:
        return relation;
    }
}

static bool bind(struct pieces *set, struct term name)
{
    uint64_t bit = (uint64_t)1 << term_node(name)->id;
    if (set->name && set->name != bit) return false;
    set->name = bit;
    return true;
}

/* "x > 3", "3 < x", "1 < x <= 2", "x in S". */
static bool collect_relation(struct work *w, struct term t, struct pieces *out)
{
    int n = tree_count(t.tree, t.node);
    struct term a = term_child(t, 0), b = term_child(t, 1), c = term_child(t, 2);
    uint8_t first = term_node(b)->relation;
    if (n == 2 && term_node(a)->kind == NODE_SYMBOL) {
        if (!bind(out, a)) return false;
        return first == RELATION_IN ? collect(w, b, out) : push_ray(w, out, first, b);
    }
    if (n == 2 && term_node(b)->kind == NODE_SYMBOL)
        return bind(out, b) && push_ray(w, out, mirrored(first), a);
    if (n != 3 || term_node(b)->kind != NODE_SYMBOL || !bind(out, b)) return false;
    uint8_t second = term_node(c)->relation;
    bool rising = (first == RELATION_LESS || first == RELATION_LESS_EQUAL) &&
                  (second == RELATION_LESS || second == RELATION_LESS_EQUAL);
    bool falling = (first == RELATION_GREATER || first == RELATION_GREATER_EQUAL) &&
                   (second == RELATION_GREATER || second == RELATION_GREATER_EQUAL);
    bool open_first = first == RELATION_LESS || first == RELATION_GREATER;
    bool open_second = second == RELATION_LESS || second == RELATION_GREATER;
    if (rising) return push(w, out, (struct piece){a, c, 0, 0, open_first, open_second});
    if (falling) return push(w, out, (struct piece){c, a, 0, 0, open_second, open_first});
    return false;
}

/* Cuts the points of a finite set out of the pieces. */
static bool subtract(struct work *w, struct pieces *out, int begin, struct term points)
{
    for (int16_t at = term_node(points)->child; at >= 0; at = points.tree->node[at].next) {
        struct term point = term_at(points, at);
        double x = rough_value(w, point);
        if (isnan(x)) return false;
        for (int i = begin; i < out->n; i++) {
            struct piece *piece = &out->item[i];
            bool low = piece->low.node >= 0 && scalars_equal(w, piece->low, point);
            bool high = piece->high.node >= 0 && scalars_equal(w, piece->high, point);
            if (low) piece->open_low = true;
            if (high) piece->open_high = true;
            if (low || high || x < piece->from || x > piece->to) continue;
            struct piece rest = *piece;
            rest.low = point;
            rest.open_low = true;
            piece->high = point;
            piece->to = x;
            piece->open_high = true;
            if (!push(w, out, rest)) return false;
        }
    }
    return true;
}

static bool collect_members(struct work *w, struct term t, struct pieces *out)
{
    for (int16_t at = term_node(t)->child; at >= 0; at = t.tree->node[at].next)
        if (!collect(w, term_at(t, at), out)) return false;
    return true;
}

static bool collect(struct work *w, struct term t, struct pieces *out)
{
    const struct node *node = term_node(t);
    int begin = out->n;
    struct term a = term_child(t, 0), b = a.node >= 0 ? term_child(t, 1) : a;
    switch (node->kind) {
    case NODE_INTERVAL:
        return push(w, out,
                    (struct piece){a, b, 0, 0, (node->flag & OPEN_LEFT) != 0,
                                   (node->flag & OPEN_RIGHT) != 0});
    case NODE_TUPLE:
        return node->flag == '(' && tree_count(t.tree, t.node) == 2 &&
               push(w, out, (struct piece){a, b, 0, 0, true, true});
    case NODE_SET_NAME:
        return node->id == 0 || (node->id == 'R' && push_line(w, out));
    case NODE_LIST:
        /* "x < 1 or x > 3" is a union; with "and" it would be something else */
        if (node->flag != 'o') return false;
        return collect_members(w, t, out);
    case NODE_SET:
    case NODE_UNION:
        return collect_members(w, t, out);
    case NODE_DIFFERENCE:
        return term_node(b)->kind == NODE_SET && collect(w, a, out) && subtract(w, out, begin, b);
    case NODE_RELATION:
        return collect_relation(w, t, out);
    case NODE_INTERSECTION:
    case NODE_TEXT:
    case NODE_MATRIX:
        return false;
    default:
        return push_point(w, out, t);
    }
}

/* Sorts the pieces and joins those that touch. */
static void join(struct work *w, struct pieces *set)
{
    for (int i = 1; i < set->n; i++) {
        struct piece moved = set->item[i];
        int k = i;
        for (; k > 0 && (set->item[k - 1].from > moved.from ||
                         (set->item[k - 1].from == moved.from && set->item[k - 1].to > moved.to));
             k--)
            set->item[k] = set->item[k - 1];
        set->item[k] = moved;
    }
    int last = 0;
    for (int i = 1; i < set->n; i++) {
        struct piece *a = &set->item[last], b = set->item[i];
        bool touch = a->high.node >= 0 && b.low.node >= 0 && scalars_equal(w, a->high, b.low);
        bool meet = (b.from < a->to && !touch) || (touch && !(a->open_high && b.open_low)) ||
                    (a->from == b.from && !touch);
        if (!meet) {
            set->item[++last] = b;
            continue;
        }
        bool same_low = a->low.node >= 0 && b.low.node >= 0 && scalars_equal(w, a->low, b.low);
        if (same_low) a->open_low = a->open_low && b.open_low;
        bool same_high = a->high.node >= 0 && b.high.node >= 0 && scalars_equal(w, a->high, b.high);
        if (same_high) {
            a->open_high = a->open_high && b.open_high;
        } else if (b.to > a->to) {
            a->to = b.to;
            a->high = b.high;
            a->open_high = b.open_high;
        }
    }
    if (set->n) set->n = last + 1;
}

static bool ends_equal(struct work *w, struct term a, struct term b)
{
    if (a.node < 0 || b.node < 0) return a.node < 0 && b.node < 0;
    return scalars_equal(w, a, b);
}

bool sets_equal(struct work *w, struct term gold, struct term answer)
{
    struct pieces a = {.n = 0}, b = {.n = 0};
    const struct node *g = term_node(gold), *p = term_node(answer);
    if (g->kind == NODE_SET_NAME && p->kind == g->kind) return g->id == p->id;
    if (!collect(w, gold, &a) || !collect(w, answer, &b)) return false;
    if (a.name && b.name && a.name != b.name) return false;
    join(w, &a);
    join(w, &b);
    w->tier = "structure";
    if (a.n != b.n) return false;
    for (int i = 0; i < a.n; i++) {
        const struct piece *x = &a.item[i], *y = &b.item[i];
        if (x->open_low != y->open_low || x->open_high != y->open_high ||
            !ends_equal(w, x->low, y->low) || !ends_equal(w, x->high, y->high))
            return false;
    }
    w->tier = "structure";
    return !w->exhausted;
}
