/* Equations, inequalities, assignments.
 *
 * Two equations are the same if (left - right) of one is a constant that is not zero times that of
 * the other; for inequalities the constant must have the right sign.  Sets of solutions are
 * compared where an inequality bounds one name. */
#include "work.h"

#include <string.h>

static bool is_tuple_of_names(struct term t);

/* Only names: "x", "f(x)", "AB", "\angle ABC": what a value can be assigned to. */
static bool only_names(struct term t)
{
    const struct node *node = term_node(t);
    switch (node->kind) {
    case NODE_SYMBOL:
    case NODE_APPLY:
    case NODE_TEXT:
        return true;
    case NODE_MULTIPLY:
    case NODE_RATIO:
        return only_names(term_child(t, 0)) && only_names(term_child(t, 1));
    case NODE_POWER: /* "f^{-1}(x)" */
        return term_node(term_child(t, 0))->kind == NODE_SYMBOL &&
               strchr("fgh", t.tree->names->text[term_node(term_child(t, 0))->id][0]) != NULL &&
               term_node(term_child(t, 1))->kind == NODE_NEGATE;
    case NODE_PROPORTION:
        return is_tuple_of_names(t);
    case NODE_UNIT:
        return only_names(term_child(t, 0));
    case NODE_CALL: /* "|AB| = 5" */
        return node->id == FUNCTION_ABS && only_names(term_child(t, 0));
    default:
        return false;
    }
}

static bool is_tuple_of_names(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind != NODE_TUPLE && node->kind != NODE_PROPORTION) return only_names(t);
    for (int16_t child = node->child; child >= 0; child = t.tree->node[child].next)
        if (!only_names(term_at(t, child))) return false;
    return true;
}

struct term assigned(struct term t)
{
    const struct node *node = term_node(t);
    struct term none = term_at(t, -1);
    if (node->kind != NODE_RELATION) return none;
    struct term left = term_child(t, 0), last = left;
    bool member = false;
    for (int16_t at = t.tree->node[left.node].next; at >= 0; at = t.tree->node[at].next) {
        uint8_t relation = t.tree->node[at].relation;
        member = relation == RELATION_IN && at == t.tree->node[left.node].next;
        if (relation != RELATION_EQUAL && !member) return none;
        last = term_at(t, at);
    }
    return is_tuple_of_names(left) ? last : none;
}

bool is_inequality(struct term t)
{
    if (term_node(t)->kind != NODE_RELATION) return false;
    int16_t second = t.tree->node[term_node(t)->child].next;
    uint8_t relation = t.tree->node[second].relation;
    return relation >= RELATION_UNEQUAL && relation <= RELATION_GREATER_EQUAL;
}

/* ---- ratio of two differences -------------------------------------------- */

/* left - right of a relation between two sides. */
struct difference {
    struct term left, right;
};

static bool two_sides(struct term t, struct difference *out, uint8_t *relation)
{
    if (term_node(t)->kind != NODE_RELATION || tree_count(t.tree, t.node) != 2) return false;
    out->left = term_child(t, 0);
    out->right = term_child(t, 1);
    *relation = term_node(out->right)->relation;
    return true;
}

static bool field_difference(struct work *w, const struct difference *d, ulong *out)
{
    bool rational = true;
    ulong a, b;
    if (!field_value(w, d->left, &a, &rational) || !field_value(w, d->right, &b, &rational))
        return false;
    *out = field_subtract(a, b);
    return true;
}

/* Whether one difference is a constant times the other, by cross products at two points. */
static bool proportional_in_field(struct work *w, const struct difference *one,
                                  const struct difference *two)
{
    ulong a[2], b[2];
    for (uint64_t round = 0; round < 2; round++) {
        field_points(w, round);
        if (!field_difference(w, one, &a[round]) || !field_difference(w, two, &b[round]))
            return false;
        if (!a[round] || !b[round]) return false;
    }
    return field_multiply(a[0], b[1]) == field_multiply(a[1], b[0]);
}

static bool ball_difference(struct work *w, const struct difference *d, acb_t out)
{
    acb_t right;
    acb_init(right);
    bool good = ball_value(w, d->left, out, 256) && ball_value(w, d->right, right, 256);
    if (good) acb_sub(out, out, right, 256);
    acb_clear(right);
    return good;
}

enum { RATIO_POINTS = 4 };

/* The ratio one / two at keyed real points: constant, and its sign. */
static bool ratio_in_balls(struct work *w, const struct difference *one,
                           const struct difference *two, int *sign)
{
    acb_t a, b, first;
    int seen = 0;
    bool constant = true;
    acb_init(a);
    acb_init(b);
    acb_init(first);
    for (uint64_t round = 0; round < 2 * RATIO_POINTS && constant && seen < RATIO_POINTS; round++) {
        for (size_t i = 0; i < w->names.n; i++) {
            uint64_t random = mix(w->key ^ mix((round + 77) * 64 + i));
            acb_set_si(&w->point[i], (long)(random % 6001) - 3000);
            acb_div_ui(&w->point[i], &w->point[i], 1000, 256);
        }
        if (!ball_difference(w, one, a) || !ball_difference(w, two, b)) continue;
        if (acb_contains_zero(a) || acb_contains_zero(b)) continue;
        acb_div(a, a, b, 256);
        if (seen++ == 0) acb_set(first, a);
        constant = acb_overlaps(a, first) && acb_rel_accuracy_bits(a) > 64;
    }
    *sign = arb_is_positive(acb_realref(first)) ? 1 : arb_is_negative(acb_realref(first)) ? -1 : 0;
    acb_clear(a);
    acb_clear(b);
    acb_clear(first);
    return constant && seen >= 3 && !w->exhausted;
}

bool equations_equal(struct work *w, struct term gold, struct term answer)
{
    struct difference one, two;
    uint8_t first, second;
    int sign;
    if (!two_sides(gold, &one, &first) || !two_sides(answer, &two, &second)) return false;
    if (first != RELATION_EQUAL || second != RELATION_EQUAL) return false;
    w->tier = "rational";
    if (proportional_in_field(w, &one, &two)) return true;
    w->tier = "points";
    return ratio_in_balls(w, &one, &two, &sign);
}

/* ---- inequalities -------------------------------------------------------- */

static uint8_t turned(uint8_t relation)
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

/* Chains of the same length: member by member, forwards or backwards. */
static bool chains_equal(struct work *w, struct term gold, struct term answer)
{
    int n = tree_count(gold.tree, gold.node);
    if (n != tree_count(answer.tree, answer.node)) return false;
    for (int backwards = 0; backwards < 2; backwards++) {
        bool equal = true;
        for (int i = 0; i < n && equal; i++) {
            struct term a = term_child(gold, i), b = term_child(answer, backwards ? n - 1 - i : i);
            uint8_t before = i ? term_node(a)->relation : RELATION_NONE, other = before;
            if (i && !backwards) other = term_node(b)->relation;
            if (i && backwards) other = turned(term_node(term_child(answer, n - i))->relation);
            equal = before == other && scalars_equal(w, a, b);
        }
        if (equal) return true;
    }
    return false;
}

bool inequalities_equal(struct work *w, struct term gold, struct term answer)
{
    struct difference one, two;
    uint8_t first, second;
    int sign;
    if (chains_equal(w, gold, answer)) return true;
    if (!two_sides(gold, &one, &first) || !two_sides(answer, &two, &second)) return false;
    if (!ratio_in_balls(w, &one, &two, &sign)) return false;
    w->tier = "points";
    if (first == RELATION_UNEQUAL) return second == first;
    return sign != 0 && first == (sign > 0 ? second : turned(second));
}
