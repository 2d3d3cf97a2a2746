/* Exact rational values.  Every operation first checks that its result is short: GMP ends the
 * process when memory runs out, so nothing long is ever asked of it. */
#include "work.h"

static slong bits(const fmpq_t x)
{
    return (slong)(fmpz_bits(fmpq_numref(x)) + fmpz_bits(fmpq_denref(x)));
}

static bool is_short(const fmpq_t x)
{
    return bits(x) <= LIMIT_BITS;
}

/* An integer that fits a long of at most `limit` in size. */
static bool small_integer(const fmpq_t x, long limit, long *out)
{
    if (!fmpz_is_one(fmpq_denref(x)) || !fmpz_fits_si(fmpq_numref(x))) return false;
    *out = fmpz_get_si(fmpq_numref(x));
    return *out <= limit && *out >= -limit;
}

/* base^(p/q): q must be a root that comes out even. */
static bool power(const fmpq_t base, const fmpq_t exponent, fmpq_t out)
{
    long q, p;
    if (!fmpz_fits_si(fmpq_numref(exponent)) || !fmpz_fits_si(fmpq_denref(exponent))) return false;
    p = fmpz_get_si(fmpq_numref(exponent));
    q = fmpz_get_si(fmpq_denref(exponent));
    if (fmpq_is_zero(base)) {
        if (p < 0) return false;
        fmpq_set_si(out, p == 0, 1);
        return true;
    }
    if (q > 64 || (q > 1 && fmpq_sgn(base) < 0)) return false;
    if (q > 1) { /* a root only if raising it gives the operand again; out may be base */
        fmpq_t root, back;
        fmpq_init(root);
        fmpq_init(back);
        fmpz_root(fmpq_numref(root), fmpq_numref(base), q);
        fmpz_root(fmpq_denref(root), fmpq_denref(base), q);
        fmpq_pow_si(back, root, q);
        bool even = fmpq_equal(back, base);
        if (even) fmpq_set(out, root);
        fmpq_clear(root);
        fmpq_clear(back);
        if (!even) return false;
    } else {
        fmpq_set(out, base);
    }
    bool one = fmpz_is_pm1(fmpq_numref(out)) && fmpz_is_one(fmpq_denref(out));
    if (one) p = p % 2 ? 1 : 2;
    long size = p < 0 ? -p : p;
    if (size > LIMIT_BITS || bits(out) * size > LIMIT_BITS) return false;
    fmpq_pow_si(out, out, p);
    return true;
}

static bool factorial(const fmpq_t x, fmpq_t out)
{
    long n;
    if (!small_integer(x, 900, &n) || n < 0) return false;
    fmpz_fac_ui(fmpq_numref(out), (ulong)n);
    fmpz_one(fmpq_denref(out));
    return true;
}

static bool binomial(const fmpq_t x, const fmpq_t y, fmpq_t out)
{
    long n, k;
    if (!small_integer(x, 4000, &n) || !small_integer(y, 4000, &k) || n < 0) return false;
    fmpz_one(fmpq_denref(out));
    if (k < 0 || k > n)
        fmpz_zero(fmpq_numref(out));
    else
        fmpz_bin_uiui(fmpq_numref(out), (ulong)n, (ulong)k);
    return true;
}

/* Functions of one argument. */
static bool call_one(uint8_t function, const fmpq_t x, fmpq_t out)
{
    switch (function) {
    case FUNCTION_ABS:
        fmpq_abs(out, x);
        return true;
    case FUNCTION_FLOOR:
    case FUNCTION_CEIL:
        if (function == FUNCTION_FLOOR)
            fmpz_fdiv_q(fmpq_numref(out), fmpq_numref(x), fmpq_denref(x));
        else
            fmpz_cdiv_q(fmpq_numref(out), fmpq_numref(x), fmpq_denref(x));
        fmpz_one(fmpq_denref(out));
        return true;
    case FUNCTION_FACTORIAL:
        return factorial(x, out);
    case FUNCTION_SGN:
        fmpq_set_si(out, fmpq_sgn(x), 1);
        return true;
    case FUNCTION_RE:
    case FUNCTION_CONJ:
        fmpq_set(out, x);
        return true;
    case FUNCTION_IM:
        fmpq_zero(out);
        return true;
    default:
        return false;
    }
}

/* Folds one more argument of gcd, lcm, min, max into `out`. */
static bool fold(uint8_t function, const fmpq_t x, fmpq_t out)
{
    bool integers = fmpz_is_one(fmpq_denref(x)) && fmpz_is_one(fmpq_denref(out));
    if (function == FUNCTION_MIN || function == FUNCTION_MAX) {
        if ((fmpq_cmp(x, out) < 0) == (function == FUNCTION_MIN)) fmpq_set(out, x);
        return true;
    }
    if (!integers) return false;
    if (function == FUNCTION_GCD)
        fmpz_gcd(fmpq_numref(out), fmpq_numref(out), fmpq_numref(x));
    else
        fmpz_lcm(fmpq_numref(out), fmpq_numref(out), fmpq_numref(x));
    return is_short(out);
}

static bool modulo(const fmpq_t a, const fmpq_t b, fmpq_t out)
{
    if (!fmpz_is_one(fmpq_denref(a)) || !fmpz_is_one(fmpq_denref(b)) || fmpq_is_zero(b))
        return false;
    fmpz_mod(fmpq_numref(out), fmpq_numref(a), fmpq_numref(b));
    fmpz_one(fmpq_denref(out));
    return true;
}

/* Determinant by elimination; a matrix of at most 16 x 16. */
static bool determinant(struct work *w, struct term matrix, fmpq_t out)
{
    const struct node *node = term_node(matrix);
    slong n = node->id;
    bool exact =
        node->kind == NODE_MATRIX && node->id == node->flag && work_spend(w, (uint32_t)(n * n * n));
    fmpq_mat_t m;
    fmpq_mat_init(m, n, n);
    int16_t cell = node->child;
    for (slong i = 0; exact && i < n * n; i++, cell = matrix.tree->node[cell].next) {
        exact = exact_value(w, term_at(matrix, cell), fmpq_mat_entry(m, i / n, i % n)) &&
                bits(fmpq_mat_entry(m, i / n, i % n)) <= LIMIT_BITS / 16;
    }
    if (exact) fmpq_mat_det(out, m);
    fmpq_mat_clear(m);
    return exact;
}

static bool call(struct work *w, struct term t, fmpq_t out)
{
    const struct node *node = term_node(t);
    uint8_t function = node->id;
    if (function == FUNCTION_DET) return determinant(w, term_child(t, 0), out);
    int16_t child = node->child;
    if (!exact_value(w, term_at(t, child), out)) return false;
    child = t.tree->node[child].next;
    fmpq_t x;
    fmpq_init(x);
    bool exact = true;
    if (function == FUNCTION_SQRT) {
        fmpq_set_si(x, 2, 1);
        if (child >= 0) exact = exact_value(w, term_at(t, child), x) && fmpq_sgn(x) > 0;
        if (exact) fmpq_inv(x, x);
        bool negative = exact && fmpq_sgn(out) < 0 && fmpz_is_odd(fmpq_denref(x)) &&
                        fmpz_is_one(fmpq_numref(x));
        if (negative) fmpq_neg(out, out); /* the real root of odd degree */
        exact = exact && power(out, x, out);
        if (exact && negative) fmpq_neg(out, out);
    } else if (function == FUNCTION_BINOM || function == FUNCTION_MOD) {
        exact = child >= 0 && exact_value(w, term_at(t, child), x);
        if (exact) exact = function == FUNCTION_MOD ? modulo(out, x, out) : binomial(out, x, out);
    } else if (function >= FUNCTION_GCD && function <= FUNCTION_MAX) {
        for (; exact && child >= 0; child = t.tree->node[child].next)
            exact = exact_value(w, term_at(t, child), x) && fold(function, x, out);
    } else {
        fmpq_set(x, out);
        exact = call_one(function, x, out);
    }
    fmpq_clear(x);
    return exact && is_short(out);
}

/* Sum or product between two integers. */
static bool series(struct work *w, struct term t, fmpq_t out)
{
    const struct node *node = term_node(t);
    long from = 0, to = 0;
    fmpq_t k, term;
    fmpq_init(k);
    fmpq_init(term);
    bool exact = exact_value(w, term_child(t, 0), k) && small_integer(k, 1000000, &from) &&
                 exact_value(w, term_child(t, 1), k) && small_integer(k, 1000000, &to) &&
                 to - from < LIMIT_TERMS;
    const fmpq *outer = w->bound[node->id];
    fmpq_set_si(out, node->kind == NODE_PRODUCT, 1);
    w->bound[node->id] = k;
    for (long i = from; exact && i <= to; i++) {
        fmpq_set_si(k, i, 1);
        exact = exact_value(w, term_child(t, 2), term);
        if (exact && node->kind == NODE_SUM) fmpq_add(out, out, term);
        if (exact && node->kind == NODE_PRODUCT) fmpq_mul(out, out, term);
        exact = exact && is_short(out) && work_spend(w, (uint32_t)(bits(out) >> 7));
    }
    w->bound[node->id] = outer;
    fmpq_clear(k);
    fmpq_clear(term);
    return exact;
}

static bool binary(struct work *w, struct term t, fmpq_t out)
{
    const struct node *node = term_node(t);
    fmpq_t y;
    if (!exact_value(w, term_at(t, node->child), out)) return false;
    fmpq_init(y);
    bool exact = exact_value(w, term_at(t, t.tree->node[node->child].next), y);
    if (exact) {
        switch (node->kind) {
        case NODE_ADD:
            fmpq_add(out, out, y);
            break;
        case NODE_SUBTRACT:
            fmpq_sub(out, out, y);
            break;
        case NODE_PLUS_MINUS:
            if ((t.sign >= 0) != (node->flag != 0))
                fmpq_add(out, out, y);
            else
                fmpq_sub(out, out, y);
            break;
        case NODE_MULTIPLY:
            fmpq_mul(out, out, y);
            break;
        case NODE_POWER:
            exact = power(out, y, out);
            break;
        default: /* divide, ratio */
            exact = !fmpq_is_zero(y);
            if (exact) fmpq_div(out, out, y);
        }
    }
    fmpq_clear(y);
    return exact && is_short(out) && work_spend(w, (uint32_t)(bits(out) >> 7));
}

bool exact_value(struct work *w, struct term t, fmpq_t out)
{
    const struct node *node = term_node(t);
    if (!work_spend(w, 1 + (uint32_t)(bits(&node->value) >> 9))) return false;
    switch (node->kind) {
    case NODE_NUMBER:
        fmpq_set(out, &node->value);
        return true;
    case NODE_SYMBOL:
        if (!w->bound[node->id]) return false;
        fmpq_set(out, w->bound[node->id]);
        return true;
    case NODE_ADD:
    case NODE_SUBTRACT:
    case NODE_PLUS_MINUS:
    case NODE_MULTIPLY:
    case NODE_DIVIDE:
    case NODE_RATIO:
    case NODE_POWER:
        return binary(w, t, out);
    case NODE_NEGATE:
        if (!exact_value(w, term_child(t, 0), out)) return false;
        fmpq_neg(out, out);
        return true;
    case NODE_PERCENT:
        if (!exact_value(w, term_child(t, 0), out)) return false;
        fmpq_div_fmpz(out, out, (const fmpz[]){100});
        return true;
    case NODE_UNIT:
        return exact_value(w, term_child(t, 0), out);
    case NODE_CALL:
        return call(w, t, out);
    case NODE_SUM:
    case NODE_PRODUCT:
        return series(w, t, out);
    default:
        return false;
    }
}
