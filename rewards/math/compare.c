/* Comparison by structure: the known answer decides the type, this file walks down to the scalars.
 *
 *     list, set       same size and a perfect matching of members
 *     tuple, matrix   same shape, member by member (compare_tuple.c)
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

/* ---- members ------------------------------------------------------------- */

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

/* "k in Z": says what a name may be, and is no member. */
static bool is_condition(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind != NODE_RELATION || tree_count(t.tree, t.node) != 2) return false;
    const struct node *set = term_node(term_child(t, 1));
    return set->relation == RELATION_IN && set->kind == NODE_SET_NAME && set->id &&
           term_node(term_child(t, 0))->kind == NODE_SYMBOL;
}

/* Drops the conditions of one side that has more members for them. */
static void drop_conditions(struct members *longer, const struct members *shorter)
{
    int kept = 0;
    for (int i = 0; i < shorter->n; i++)
        if (is_condition(shorter->item[i])) return;
    for (int i = 0; i < longer->n; i++)
        kept += !is_condition(longer->item[i]);
    if (kept != shorter->n || !kept) return;
    longer->n = 0;
    for (int i = 0; longer->n < kept; i++)
        if (!is_condition(longer->item[i])) longer->item[longer->n++] = longer->item[i];
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
    /* of inequalities: "x < 1 or x > 3" is not "x < 1 and x > 3" */
    uint8_t joined = term_node(gold)->flag;
    bool lists = bare_gold && node->kind == NODE_LIST && is_inequality(term_child(gold, 0));
    if (lists && joined && node->flag && joined != node->flag) return false;
    collect(gold, false, &a);
    collect(answer, false, &b);
    if (a.n > b.n) drop_conditions(&a, &b);
    if (b.n > a.n) drop_conditions(&b, &a);
    return members_match(w, &a, &b);
}

/* ---- words, bases, units ------------------------------------------------- */

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

/* Whether "5 m" may mean a number and its unit: a letter behind a space that is one. */
static bool has_letter_unit(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind != NODE_MULTIPLY) return false;
    struct term letter = term_child(t, 1);
    bool power = term_node(letter)->kind == NODE_POWER && !free_names(term_child(letter, 1));
    const struct node *last = term_node(power ? term_child(letter, 0) : letter);
    if (last->kind != NODE_SYMBOL || free_names(term_child(t, 0))) return false;
    const struct token *token = last->unit >= 0 ? &t.tree->token[last->unit] : NULL;
    return token && token->space && strchr("mgshLJNWVKA", token->text.data[0]) &&
           token->text.length == 1;
}

/* A value and the unit behind it; unit.node -1: none. */
struct quantity {
    struct term value, unit;
};

static struct quantity quantity(struct term t, bool letters)
{
    struct quantity out = {t, term_at(t, -1)};
    if (letters && has_letter_unit(t)) {
        out.value = term_child(t, 0);
        out.unit = term_child(t, 1);
        return out;
    }
    for (; term_node(out.value)->kind == NODE_UNIT; out.value = term_child(out.value, 0))
        if (out.unit.node < 0) out.unit = out.value;
    return out;
}

/* "5%" is no amount of dollars. */
static bool percent_meets_unit(struct quantity one, struct quantity other)
{
    return other.unit.node >= 0 && term_node(one.value)->kind == NODE_PERCENT &&
           term_node(other.value)->kind != NODE_PERCENT;
}

/* Splits the units off; false: both have one and they differ. */
static bool strip_units(struct work *w, struct term *gold, struct term *answer)
{
    struct quantity g = quantity(*gold, term_node(*answer)->kind == NODE_UNIT);
    struct quantity a = quantity(*answer, !free_names(*gold));
    *gold = g.value;
    *answer = a.value;
    if (percent_meets_unit(g, a) || percent_meets_unit(a, g)) return false;
    return g.unit.node < 0 || a.unit.node < 0 || w->rules->units == MATH_UNITS_IGNORE ||
           units_agree(g.unit.tree, g.unit.node, a.unit.tree, a.unit.node);
}

/* The digits of a number, as they are written. */
static struct cn_text digits_of(struct term t)
{
    const struct node *node = term_node(t);
    bool plain = node->kind == NODE_NUMBER && node->unit >= 0 && node->digits < 0;
    return plain ? t.tree->token[node->unit].text : cn_text("");
}

/* Whether "a:b" is a time and no ratio: two digits of minutes, which begin with 0 or could be
 * cancelled against the hours.  A time is not reduced: 3:30 is not 1:10. */
static bool is_time(struct term t)
{
    if (term_node(t)->kind != NODE_RATIO) return false;
    struct cn_text hours = digits_of(term_child(t, 0)), minutes = digits_of(term_child(t, 1));
    if (!hours.length || hours.length > 2 || minutes.length != 2) return false;
    const fmpz *h = fmpq_numref(&term_node(term_child(t, 0))->value),
               *m = fmpq_numref(&term_node(term_child(t, 1))->value);
    ulong a = fmpz_get_ui(h), b = fmpz_get_ui(m);
    return a <= 24 && b < 60 && (minutes.data[0] == '0' || n_gcd(a, b) > 1);
}

/* "2 (mod 5)" */
static bool is_modulus(struct term t)
{
    return term_node(t)->kind == NODE_CALL && term_node(t)->id == FUNCTION_MOD;
}

static bool same_modulus(struct work *w, struct term gold, struct term answer)
{
    return is_modulus(answer) && terms_equal(w, term_child(gold, 1), term_child(answer, 1));
}

/* ---- the walk ------------------------------------------------------------ */

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

/* Whether two names may mean the same: "x" and "x", "x" and "x_1". */
static bool names_agree(const struct work *w, struct term gold, struct term answer)
{
    struct term g = term_child(gold, 0), a = term_child(answer, 0);
    if (term_node(g)->kind != NODE_SYMBOL || term_node(a)->kind != NODE_SYMBOL) return true;
    const char *one = w->names.text[term_node(g)->id], *two = w->names.text[term_node(a)->id];
    size_t n = strcspn(one, "_"), m = strcspn(two, "_");
    return strcmp(one, two) == 0 || (n == m && memcmp(one, two, n) == 0 && (!one[n] || !two[m]));
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
    if (term_node(answer)->kind == NODE_LIST && term_node(value)->kind == NODE_TUPLE &&
        term_node(term_child(gold, 0))->kind == NODE_TUPLE)
        return assignments_equal(w, term_child(gold, 0), value, answer);
    if (!relation) return terms_equal(w, value, answer);
    other = assigned(answer);
    if (other.node < 0) other = last_of_chain(answer);
    return other.node >= 0 && names_agree(w, gold, answer) &&
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

/* "1/2 or 0.5" */
static bool every_member_equals(struct work *w, struct term gold, struct term answer)
{
    for (int16_t at = term_node(answer)->child; at >= 0; at = answer.tree->node[at].next)
        if (!terms_equal(w, gold, term_at(answer, at))) return false;
    return true;
}

bool terms_equal(struct work *w, struct term gold, struct term answer)
{
    const struct node *g = term_node(gold);
    if (!work_spend(w, 1)) return false;
    if (g->kind == NODE_RELATION) {
        struct term value = last_of_chain(gold);
        if (value.node != gold.node && terms_equal(w, value, answer)) return true; /* 3/8 = 0.375 */
        return relations_equal(w, gold, answer);
    }
    bool bracket = g->kind == NODE_TUPLE || g->kind == NODE_INTERVAL;
    if (bracket && term_node(answer)->kind == NODE_MATRIX) return matrices_equal(w, answer, gold);
    if (is_set(gold)) {
        struct term value = assigned(answer);
        return set_answers(w, gold, value.node >= 0 ? value : answer);
    }
    /* "x < 1 or x > 3" */
    if (g->kind == NODE_LIST && g->flag == 'o' && is_inequality(term_child(gold, 0)) &&
        sets_equal(w, gold, answer))
        return true;
    if (g->kind == NODE_SET && is_set(answer)) return sets_equal(w, gold, answer);
    if (g->kind == NODE_TUPLE && is_set(answer) && term_node(answer)->kind != NODE_INTERVAL)
        return sets_equal(w, gold, answer);
    gold = unwrap(gold);
    answer = last_of_chain(unwrap(answer));
    g = term_node(gold);
    if (g->kind == NODE_MATRIX) return matrices_equal(w, gold, answer);
    bool plain = g->kind == NODE_TUPLE && term_node(answer)->kind == NODE_LIST;
    if (term_node(answer)->kind == NODE_LIST && term_node(answer)->flag == 'o' && !is_list(gold))
        return every_member_equals(w, gold, answer);
    if (!plain && (is_list(gold) || is_list(answer))) return lists_equal(w, gold, answer);
    if (g->kind == NODE_TUPLE && is_inequality(answer) &&
        (w->rules->set_relation || term_node(answer)->flag == SET_BUILDER))
        return sets_equal(w, gold, answer);
    if (g->kind == NODE_TUPLE) return tuples_equal(w, gold, answer);
    if (g->kind == NODE_TEXT) return text_nodes_equal(gold, answer);
    if (g->kind == NODE_PROPORTION) return proportions_equal(w, gold, answer);
    if (is_modulus(gold) && !same_modulus(w, gold, answer)) return false;
    if (!strip_units(w, &gold, &answer)) return false;
    if (is_time(gold)) return is_time(answer) && children_equal(w, gold, answer);
    if (term_node(gold)->kind == NODE_BASE) return bases_equal(w, gold, answer);
    if (term_node(gold)->kind == NODE_RATIO && term_node(answer)->kind == NODE_RATIO &&
        children_equal(w, gold, answer))
        return true; /* "12:00" has no value */
    return scalars_equal(w, gold, answer);
}

/* ---- types --------------------------------------------------------------- */

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
