/* One comparison at work: both trees, the rules, the budget, and the points where free variables
 * stand.
 *
 * Everything is counted in operations and bits, nothing in seconds, so a verdict does not depend
 * on the load of a machine. */
#ifndef REWARDS_MATH_WORK_H
#define REWARDS_MATH_WORK_H

#include "math_verify.h"
#include "tree.h"

/* A subexpression: where it is, and which of two values a "plus or minus" in it takes. */
struct term {
    const struct tree *tree;
    int16_t node; /* -1: none */
    int8_t sign;  /* +1, -1; 0: both, not yet told apart */
};

struct work {
    const struct math_rules *rules;
    struct names names;
    const char *tier; /* what decided last: token, exact, rational, ball, points, structure, text */
    uint64_t key;     /* hash of the known answer: seeds the points */
    uint32_t ops;
    bool exhausted; /* the budget is spent: nothing is equal any more, the verdict is budget */

    const fmpq *bound[LIMIT_NAMES]; /* the running variable of a sum, else NULL */
    ulong field[LIMIT_NAMES];       /* values of names in the field */
    acb_struct point[LIMIT_NAMES];  /* values of names as balls */
};

/* Spends `cost` operations; false: the budget is gone. */
static inline bool work_spend(struct work *w, uint32_t cost)
{
    w->ops += cost;
    if (w->ops > LIMIT_OPS) w->exhausted = true;
    return !w->exhausted;
}

static inline const struct node *term_node(struct term t)
{
    return &t.tree->node[t.node];
}

static inline struct term term_child(struct term t, int k)
{
    t.node = tree_child(t.tree, t.node, k);
    return t;
}

static inline struct term term_at(struct term t, int16_t node)
{
    t.node = node;
    return t;
}

/* A 64-bit mixer (SplitMix64, Steele et al. 2014). */
static inline uint64_t mix(uint64_t x)
{
    x += 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Free variables of a term: bit per name. */
uint64_t free_names(struct term t);

/* The exact rational value; false: it has none that is short enough, or it is undefined. */
bool exact_value(struct work *w, struct term t, fmpq_t out);

/* The value in a prime field with a square root of -1, at the points w->field.  pi, e and every
 * function that is not rational stand for elements that depend on their arguments only: equal
 * values prove equality (up to a chance of degree / 2^62), different ones prove a difference only
 * if *rational stays true.  False: it has none. */
bool field_value(struct work *w, struct term t, ulong *out, bool *rational);
void field_points(struct work *w, uint64_t round);
ulong field_subtract(ulong a, ulong b);
ulong field_multiply(ulong a, ulong b);

/* The value as a complex ball at the points w->point; false: undefined, not finite, or the budget
 * is spent. */
bool ball_value(struct work *w, struct term t, acb_t out, slong prec);

/* ---- comparison; true: equal for sure or beyond doubt -------------------- */

bool scalars_equal(struct work *w, struct term gold, struct term answer);   /* compare_scalar.c */
bool equations_equal(struct work *w, struct term gold, struct term answer); /* compare_relation.c */
bool inequalities_equal(struct work *w, struct term gold, struct term answer);
bool sets_equal(struct work *w, struct term gold, struct term answer);     /* compare_set.c */
bool children_equal(struct work *w, struct term gold, struct term answer); /* compare_tuple.c */
bool tuples_equal(struct work *w, struct term gold, struct term answer);
bool proportions_equal(struct work *w, struct term gold, struct term answer);
bool assignments_equal(struct work *w, struct term names, struct term gold, struct term answer);
bool matrices_equal(struct work *w, struct term gold, struct term answer);
bool is_set(struct term t); /* an interval, a union, a set with a name ... */
bool terms_equal(struct work *w, struct term gold, struct term answer); /* compare.c */
bool is_inequality(struct term t);
struct term assigned(struct term t); /* the value of "x = 5", "x in S"; node -1: no assignment */
double rough_value(struct work *w, struct term t); /* NaN: not a real constant */
int infinite(struct term t);                       /* -1, +1, 0: finite */

#endif
