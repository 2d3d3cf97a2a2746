/* Comparison by structure: the known answer decides the type, this file walks down to the scalars.
 *
 *     list, set       same size and a perfect matching of members
 *     tuple, matrix   same shape, member by member
 *     set of numbers  sorted pieces (compare_set.c)
 *     relation        compare_relation.c
 *     text            folded
 *     anything else   compare_scalar.c
 */
#include "compare.h"

#include "units.h"

#include <string.h>

bool tokens_equal(const struct tree *a, const struct tree *b)
{
    if (a->n_tokens != b->n_tokens || !a->n_tokens) return false;
    for (int i = 0; i < a->n_tokens; i++) {
        const struct token *x = &a->token[i], *y = &b->token[i];
        bool same = x->kind == y->kind && x->id == y->id && cn_text_equal(x->text, y->text);
        /* "(" and "\left(" are spelled differently */
        bool sign = x->kind == y->kind && x->id == y->id && x->kind >= TOKEN_FRACTION &&
                    x->kind != TOKEN_UNKNOWN && x->kind != TOKEN_CURRENCY &&
                    x->kind != TOKEN_FINISH;
        if (!same && !sign) return false;
    }
    return true;
}

/* ---- members ---- */

struct members {
    struct term item[LIMIT_LIST];
    int n;
    bool too_many;
};

static bool has_plus_minus(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind == NODE_PLUS_MINUS) return true;
    for (int16_t child = node->child; child >= 0; child = t.tree->node[child].next)
        if (has_plus_minus(term_at(t, child))) return true;
    return false;
}

/* The value that is meant: of an assignment, of a set with one member. */
static struct term unwrap(struct term t)
{
    for (int i = 0; i < 4; i++) {
        struct term value = assigned(t);
        if (value.node >= 0)
            t = value;
        else if (term_node(t)->kind == NODE_SET && tree_count(t.tree, t.node) == 1)
            t = term_child(t, 0);
        else
            break;
    }
    return t;
}

static void push(struct members *out, struct term t)
{
    if (out->n == LIMIT_LIST)
        out->too_many = true;
    else
        out->item[out->n++] = t;
}

/* Members of a list or set; a scalar is its only member; "a +- b" has two.  A set inside a set is
 * one member; a list inside a list, or a set that a name is assigned, is spread out. */
static void collect(struct term t, bool inside, struct members *out)
{
    struct term value = unwrap(t);
    const struct node *node = term_node(value);
    bool one = inside && term_node(t)->kind == NODE_SET;
    if (!one && (node->kind == NODE_LIST || node->kind == NODE_SET)) {
        for (int16_t child = node->child; child >= 0; child = t.tree->node[child].next)
            collect(term_at(value, child), true, out);
    } else if (t.sign == 0 && has_plus_minus(value)) {
        struct term plus = value, minus = value;
        plus.sign = 1;
        minus.sign = -1;
        push(out, plus);
        push(out, minus);
    } else {
        push(out, t);
    }
}

static bool is_list(struct term t)
{
    const struct node *node = term_node(t);
    return node->kind == NODE_LIST || node->kind == NODE_SET || (!t.sign && has_plus_minus(t));
}

/* A perfect matching, by augmenting paths (Kuhn 1955). */
struct matching {
    uint64_t equal[LIMIT_LIST]; /* bit a of row g: known answer g equals answer a */
    int partner[LIMIT_LIST];
};

static bool augment(struct matching *m, int n, int g, uint64_t *seen)
{
    for (int a = 0; a < n; a++) {
        uint64_t bit = (uint64_t)1 << a;
        if (!(m->equal[g] & bit) || (*seen & bit)) continue;
        *seen |= bit;
        if (m->partner[a] < 0 || augment(m, n, m->partner[a], seen)) {
            m->partner[a] = g;
            return true;
        }
    }
    return false;
}

static bool members_match(struct work *w, const struct members *gold, const struct members *answer)
{
    struct matching m;
    int n = gold->n;
    if (gold->too_many || answer->too_many || n != answer->n) return false;
    for (int g = 0; g < n; g++) {
        m.equal[g] = 0;
        m.partner[g] = -1;
        /* same place first: lists are mostly in the same order, and one partner is enough */
        for (int k = 0; k < n && !w->exhausted; k++) {
            int a = (g + k) % n;
            if (!terms_equal(w, gold->item[g], answer->item[a])) continue;
            m.equal[g] |= (uint64_t)1 << a;
            if (k == 0) break;
        }
        if (!m.equal[g]) return false;
    }
    for (int g = 0; g < n; g++) {
        uint64_t seen = 0;
        if (!augment(&m, n, g, &seen)) return false;
    }
    w->tier = "structure";
    return true;
}

static bool lists_equal(struct work *w, struct term gold, struct term answer)
{
    struct members a = {.n = 0}, b = {.n = 0};
    const struct node *node = term_node(answer);
    bool bare_gold = term_node(gold)->kind == NODE_LIST;
    /* a bare list may be meant as a tuple, a set not */
    if (node->kind == NODE_TUPLE || (node->kind == NODE_INTERVAL && node->flag == 0)) {
        int n = tree_count(gold.tree, gold.node);
        if (!bare_gold || n != tree_count(answer.tree, answer.node)) return false;
        for (int i = 0; i < n; i++)
            if (!terms_equal(w, term_child(gold, i), term_child(answer, i))) return false;
        return true;
    }
    collect(gold, false, &a);
    collect(answer, false, &b);
    return members_match(w, &a, &b);
}

/* ---- tuples and matrices ---- */

static bool children_equal(struct work *w, struct term gold, struct term answer)
{
    int16_t g = term_node(gold)->child, a = term_node(answer)->child;
    for (; g >= 0 && a >= 0; g = gold.tree->node[g].next, a = answer.tree->node[a].next)
        if (!terms_equal(w, term_at(gold, g), term_at(answer, a))) return false;
    w->tier = "structure";
    return g < 0 && a < 0;
}

static bool tuples_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold), *a = term_node(answer);
    int n = tree_count(gold.tree, gold.node);
    if (a->kind == NODE_INTERVAL && n == 2 && g->flag == '(') return sets_equal(w, gold, answer);
    if (a->kind != NODE_TUPLE || a->flag != g->flag) return false;
    return children_equal(w, gold, answer);
}

/* A matrix may be answered as a bracket of rows. */
static bool matrices_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold), *a = term_node(answer);
    if (a->kind == NODE_MATRIX)
        return g->id == a->id && g->flag == a->flag && children_equal(w, gold, answer);
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

/* ---- words, bases, units ---- */

static bool text_nodes_equal(struct term gold, struct term answer)
{
    char a[FOLD_MAX], b[FOLD_MAX];
    const struct node *g = term_node(gold), *p = term_node(answer);
    if (p->kind != NODE_TEXT) return false;
    size_t n = fold_tokens(gold.tree, g->unit, g->unit_end, a);
    return n && n == fold_tokens(answer.tree, p->unit, p->unit_end, b) && memcmp(a, b, n) == 0;
}

static bool bases_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold), *a = term_node(answer);
    struct cn_text digits = gold.tree->token[g->unit].text;
    w->tier = "token";
    if (a->kind == NODE_BASE)
        return g->id == a->id && cn_text_equal(digits, answer.tree->token[a->unit].text);
    if (!w->rules->bare_bases || a->kind != NODE_NUMBER) return false;
    struct node value = {.digits = 0};
    fmpq_init(&value.value);
    bool same = number_value(digits, &value) == FAULT_NONE && fmpq_equal(&value.value, &a->value);
    fmpq_clear(&value.value);
    return same;
}

/* "5 m": a letter behind a number that is a unit, if the known answer has no names. */
static struct term without_letter_unit(struct term gold, struct term answer)
{
    const struct node *node = term_node(answer);
    if (node->kind != NODE_MULTIPLY || free_names(gold)) return answer;
    struct term number = term_child(answer, 0), letter = term_child(answer, 1);
    const struct node *last = term_node(letter);
    if (last->kind != NODE_SYMBOL || free_names(number)) return answer;
    const struct token *token = last->unit >= 0 ? &answer.tree->token[last->unit] : NULL;
    bool unit = token && token->space && strchr("mgshLJNWVKA", token->text.data[0]) &&
                token->text.length == 1;
    return unit ? number : answer;
}

/* Splits the units off; false: both have one and they differ. */
static bool strip_units(struct work *w, struct term *gold, struct term *answer)
{
    struct term g = *gold, a = *answer;
    bool one = false, two = false;
    while (term_node(g)->kind == NODE_UNIT)
        one = true, g = term_child(g, 0);
    while (term_node(a)->kind == NODE_UNIT)
        two = true, a = term_child(a, 0);
    bool agree = !one || !two || w->rules->units == MATH_UNITS_IGNORE ||
                 units_agree(gold->tree, gold->node, answer->tree, answer->node);
    *gold = g;
    *answer = a;
    return agree;
}

/* ---- the walk ---- */

/* The last member of a chain of equal values: "2 + 3 = 5". */
static struct term last_of_chain(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind != NODE_RELATION) return t;
    struct term last = term_child(t, 0);
    if (free_names(last)) return t; /* an equation to be solved is no value */
    for (int16_t at = t.tree->node[last.node].next; at >= 0; at = t.tree->node[at].next) {
        if (t.tree->node[at].relation != RELATION_EQUAL) return t;
        last = term_at(t, at);
    }
    return last;
}

static bool names_agree(struct term gold, struct term answer)
{
    struct term g = term_child(gold, 0), a = term_child(answer, 0);
    return term_node(g)->kind != NODE_SYMBOL || term_node(a)->kind != NODE_SYMBOL ||
           term_node(g)->id == term_node(a)->id;
}

static bool relations_equal(struct work *w, struct term gold, struct term answer)
{
    struct term value = assigned(gold), other;
    bool relation = term_node(answer)->kind == NODE_RELATION;
    if (is_inequality(gold)) {
        if (is_inequality(answer) && inequalities_equal(w, gold, answer)) return true;
        return sets_equal(w, gold, answer);
    }
    if (relation && is_inequality(answer)) return sets_equal(w, gold, answer);
    if (relation && equations_equal(w, gold, answer)) return true;
    if (value.node < 0) return false; /* an equation: no bare value stands for it */
    if (!relation) return terms_equal(w, value, answer);
    other = assigned(answer);
    if (other.node < 0) other = last_of_chain(answer);
    return other.node >= 0 && names_agree(gold, answer) &&
           term_node(other)->kind != NODE_RELATION && terms_equal(w, value, other);
}

static bool set_answers(struct work *w, struct term gold, struct term answer)
{
    bool relation =
        term_node(answer)->kind == NODE_RELATION && term_node(answer)->flag != SET_BUILDER;
    /* the question asked for a set: an inequality that was not solved is no answer */
    if (relation && assigned(answer).node < 0 && !w->rules->set_relation) return false;
    if (term_node(answer)->kind == NODE_LIST && !w->rules->set_relation) return false;
    return sets_equal(w, gold, answer);
}

bool terms_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold);
    if (!work_spend(w, 1)) return false;
    if (g->kind == NODE_RELATION) return relations_equal(w, gold, answer);
    if (is_set(gold)) {
        struct term value = assigned(answer);
        return set_answers(w, gold, value.node >= 0 ? value : answer);
    }
    /* "x < 1 or x > 3" */
    if (g->kind == NODE_LIST && g->flag == 'o' && is_inequality(term_child(gold, 0)) &&
        sets_equal(w, gold, answer))
        return true;
    if (g->kind == NODE_SET && is_set(answer)) return sets_equal(w, gold, answer);
    gold = unwrap(gold);
    answer = last_of_chain(unwrap(answer));
    g = term_node(gold);
    if (g->kind == NODE_MATRIX) return matrices_equal(w, gold, answer);
    if (is_list(gold) || is_list(answer)) return lists_equal(w, gold, answer);
    if (g->kind == NODE_TUPLE && is_inequality(answer) &&
        (w->rules->set_relation || term_node(answer)->flag == SET_BUILDER))
        return sets_equal(w, gold, answer);
    if (g->kind == NODE_TUPLE) return tuples_equal(w, gold, answer);
    if (g->kind == NODE_TEXT) return text_nodes_equal(gold, answer);
    if (!strip_units(w, &gold, &answer)) return false;
    answer = without_letter_unit(gold, answer);
    if (term_node(gold)->kind == NODE_BASE) return bases_equal(w, gold, answer);
    return scalars_equal(w, gold, answer);
}

/* ---- types ---- */

static const char *scalar_type(struct term t)
{
    const struct node *node = term_node(t);
    while (node->kind == NODE_UNIT || node->kind == NODE_NEGATE) {
        t = term_child(t, 0);
        node = term_node(t);
    }
    if (node->kind == NODE_NUMBER)
        return node->digits >= 0                        ? "decimal"
               : fmpz_is_one(fmpq_denref(&node->value)) ? "integer"
                                                        : "fraction";
    if (node->kind == NODE_PERCENT) return "percent";
    if (node->kind == NODE_BASE) return "base";
    if (node->kind == NODE_RATIO) return "ratio";
    if (free_names(t)) return "expression";
    return node->kind == NODE_DIVIDE ? "fraction" : "constant";
}

const char *term_type(struct term t)
{
    if (is_list(t)) return term_node(t)->kind == NODE_SET ? "set" : "list";
    switch (term_node(t)->kind) {
    case NODE_TUPLE:
        return "tuple";
    case NODE_INTERVAL:
        return "interval";
    case NODE_UNION:
    case NODE_INTERSECTION:
    case NODE_DIFFERENCE:
    case NODE_SET_NAME:
        return "union";
    case NODE_MATRIX:
        return "matrix";
    case NODE_TEXT:
        return "text";
    case NODE_RELATION:
        return is_inequality(t) ? "inequality" : assigned(t).node >= 0 ? "assignment" : "equation";
    default:
        return scalar_type(t);
    }
}
