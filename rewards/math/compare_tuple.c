/* What is compared member by member: tuples, proportions, assignments, matrices. */
#include "work.h"

bool children_equal(struct work *w, struct term gold, struct term answer)
{
    int16_t g = term_node(gold)->child, a = term_node(answer)->child;
    for (; g >= 0 && a >= 0; g = gold.tree->node[g].next, a = answer.tree->node[a].next)
        if (!terms_equal(w, term_at(gold, g), term_at(answer, a))) return false;
    w->tier = "structure";
    return g < 0 && a < 0;
}

/* "1 : 2 : 3" and "2 : 4 : 6": every member by the same factor. */
bool proportions_equal(struct work *w, struct term gold, struct term answer)
{
    fmpq_t a, b, first_a, first_b;
    int n = tree_count(gold.tree, gold.node);
    if (term_node(answer)->kind != NODE_PROPORTION || n != tree_count(answer.tree, answer.node))
        return false;
    fmpq_init(a);
    fmpq_init(b);
    fmpq_init(first_a);
    fmpq_init(first_b);
    bool exact = exact_value(w, term_child(gold, 0), first_a) &&
                 exact_value(w, term_child(answer, 0), first_b) && !fmpq_is_zero(first_a) &&
                 !fmpq_is_zero(first_b);
    bool equal = exact;
    for (int i = 1; i < n && equal; i++) {
        exact = exact_value(w, term_child(gold, i), a) && exact_value(w, term_child(answer, i), b);
        fmpq_mul(a, a, first_b);
        fmpq_mul(b, b, first_a);
        equal = exact && fmpq_equal(a, b);
    }
    fmpq_clear(a);
    fmpq_clear(b);
    fmpq_clear(first_a);
    fmpq_clear(first_b);
    w->tier = "exact";
    return equal || (!exact && children_equal(w, gold, answer));
}

/* "x = 2, y = 3" where a tuple is known: by the names that it is assigned to, where it has some,
 * else in order. */
bool assignments_equal(struct work *w, struct term names, struct term gold, struct term answer)
{
    uint64_t seen = 0;
    int n = tree_count(gold.tree, gold.node);
    if (n != tree_count(answer.tree, answer.node)) return false;
    for (int16_t at = term_node(answer)->child, i = 0; at >= 0;
         at = answer.tree->node[at].next, i++) {
        struct term value = assigned(term_at(answer, at));
        const struct node *name =
            value.node >= 0 ? term_node(term_child(term_at(answer, at), 0)) : NULL;
        if (!name || name->kind != NODE_SYMBOL || (seen >> name->id & 1u)) return false;
        seen |= (uint64_t)1 << name->id;
        int place = names.node < 0 ? i : 0;
        while (names.node >= 0 && place < n && term_node(term_child(names, place))->id != name->id)
            place++;
        if (place == n || !terms_equal(w, term_child(gold, place), value)) return false;
    }
    w->tier = "structure";
    return true;
}

bool tuples_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold), *a = term_node(answer);
    int n = tree_count(gold.tree, gold.node);
    if (a->kind == NODE_LIST) return assignments_equal(w, term_at(gold, -1), gold, answer);
    if (a->kind == NODE_INTERVAL && n == 2 && g->flag == '(') return sets_equal(w, gold, answer);
    if (a->kind != NODE_TUPLE || a->flag != g->flag) return false;
    return children_equal(w, gold, answer);
}

/* A matrix may be answered as a bracket of rows, one row or column as a tuple. */
bool matrices_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold), *a = term_node(answer);
    if (a->kind == NODE_MATRIX)
        return g->id == a->id && g->flag == a->flag && children_equal(w, gold, answer);
    bool vector = g->id == 1 || g->flag == 1;
    if (vector && a->kind == NODE_TUPLE && a->flag == '(' &&
        tree_count(answer.tree, answer.node) == g->id * g->flag)
        return children_equal(w, gold, answer);
    if (tree_count(answer.tree, answer.node) != g->id) return false;
    int16_t cell = g->child;
    for (int row = 0; row < g->id; row++) {
        struct term line = term_child(answer, row);
        uint8_t kind = term_node(line)->kind;
        bool bracket = kind == NODE_TUPLE || kind == NODE_INTERVAL;
        if (!bracket || tree_count(answer.tree, line.node) != g->flag) return false;
        for (int column = 0; column < g->flag; column++, cell = gold.tree->node[cell].next)
            if (!terms_equal(w, term_at(gold, cell), term_child(line, column))) return false;
    }
    w->tier = "structure";
    return true;
}
