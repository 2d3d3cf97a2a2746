/* Values as complex balls (Johansson 2017, "Arb: efficient arbitrary-precision midpoint-radius
 * interval arithmetic"): every result comes with an error bound, so two disjoint balls prove a
 * difference.  Towers such as 9^9^9^9 give a ball without bound, not a hang. */
#include "work.h"

/* Operations that a function costs at 128 bits; a multiplication costs one. */
enum { COST_FUNCTION = 12, COST_GAMMA = 150 };

static bool spend(struct work *w, uint32_t cost, slong prec)
{
    return work_spend(w, cost * (uint32_t)(prec / 128));
}

static bool small_integer(struct work *w, struct term t, long *out)
{
    fmpq_t value;
    fmpq_init(value);
    bool good = exact_value(w, t, value) && fmpz_is_one(fmpq_denref(value)) &&
                fmpz_bits(fmpq_numref(value)) < 31;
    if (good) *out = fmpz_get_si(fmpq_numref(value));
    fmpq_clear(value);
    return good;
}

static bool power(struct work *w, struct term t, acb_t out, slong prec)
{
    struct term base = term_child(t, 0), exponent = term_child(t, 1);
    long n;
    if (!ball_value(w, base, out, prec)) return false;
    if (small_integer(w, exponent, &n)) {
        if (n < 0 && acb_contains_zero(out)) return false;
        acb_pow_si(out, out, n, prec);
        return spend(w, 4, prec);
    }
    acb_t e;
    acb_init(e);
    bool good = ball_value(w, exponent, e, prec) && spend(w, 2 * COST_FUNCTION, prec);
    if (good && acb_is_zero(out))
        good = arb_is_positive(acb_realref(e)); /* 0^e = 0 */
    else if (good)
        acb_pow(out, out, e, prec);
    acb_clear(e);
    return good;
}

/* The n-th root; real where the operand is real and the degree odd. */
static bool root(struct work *w, struct term t, acb_t x, slong prec)
{
    struct term degree = term_child(t, 1);
    long n = 2;
    if (!spend(w, COST_FUNCTION, prec)) return false;
    if (degree.node >= 0 && !small_integer(w, degree, &n)) {
        acb_t e;
        acb_init(e);
        bool good = ball_value(w, degree, e, prec) && !acb_contains_zero(e);
        if (good) {
            acb_inv(e, e, prec);
            acb_pow(x, x, e, prec);
        }
        acb_clear(e);
        return good;
    }
    if (n == 2) {
        acb_sqrt(x, x, prec);
        return true;
    }
    if (n < 1 || n > 10000) return false;
    bool negative = n % 2 && acb_is_real(x) && arb_is_negative(acb_realref(x));
    if (negative) acb_neg(x, x);
    acb_root_ui(x, x, (ulong)n, prec);
    if (negative) acb_neg(x, x);
    return true;
}

static bool logarithm(struct work *w, struct term t, acb_t x, slong prec)
{
    const struct node *node = term_node(t);
    struct term base = term_child(t, 1);
    acb_t b;
    if (acb_contains_zero(x) || !spend(w, 2 * COST_FUNCTION, prec)) return false;
    acb_log(x, x, prec);
    if (node->id == FUNCTION_LN) return true;
    acb_init(b);
    acb_set_ui(b, 10);
    bool good = base.node < 0 || ball_value(w, base, b, prec);
    if (good) acb_log(b, b, prec);
    good = good && !acb_contains_zero(b);
    if (good) acb_div(x, x, b, prec);
    acb_clear(b);
    return good;
}

/* Functions that have their own routine. */
static const struct {
    uint8_t function;
    void (*of)(acb_t out, const acb_t x, slong prec);
    bool invert_argument, invert_result;
} routines[] = {
    {FUNCTION_EXP, acb_exp, false, false},     {FUNCTION_SIN, acb_sin, false, false},
    {FUNCTION_COS, acb_cos, false, false},     {FUNCTION_TAN, acb_tan, false, false},
    {FUNCTION_COT, acb_cot, false, false},     {FUNCTION_SEC, acb_cos, false, true},
    {FUNCTION_CSC, acb_sin, false, true},      {FUNCTION_ASIN, acb_asin, false, false},
    {FUNCTION_ACOS, acb_acos, false, false},   {FUNCTION_ATAN, acb_atan, false, false},
    {FUNCTION_ACOT, acb_atan, true, false},    {FUNCTION_ASEC, acb_acos, true, false},
    {FUNCTION_ACSC, acb_asin, true, false},    {FUNCTION_SINH, acb_sinh, false, false},
    {FUNCTION_COSH, acb_cosh, false, false},   {FUNCTION_TANH, acb_tanh, false, false},
    {FUNCTION_COTH, acb_coth, false, false},   {FUNCTION_ASINH, acb_asinh, false, false},
    {FUNCTION_ACOSH, acb_acosh, false, false}, {FUNCTION_ATANH, acb_atanh, false, false}};

static bool routine(struct work *w, uint8_t function, acb_t x, slong prec)
{
    for (size_t i = 0; i < sizeof routines / sizeof *routines; i++) {
        if (routines[i].function != function) continue;
        if (!spend(w, COST_FUNCTION, prec)) return false;
        if (routines[i].invert_argument) acb_inv(x, x, prec);
        routines[i].of(x, x, prec);
        if (routines[i].invert_result) acb_inv(x, x, prec);
        return true;
    }
    return false;
}

/* Functions of parts of a complex number, and of real numbers only. */
static bool part(struct work *w, uint8_t function, acb_t x, slong prec)
{
    arb_ptr real = acb_realref(x), imaginary = acb_imagref(x);
    switch (function) {
    case FUNCTION_ABS:
        acb_abs(real, x, prec);
        arb_zero(imaginary);
        return true;
    case FUNCTION_RE:
        arb_zero(imaginary);
        return true;
    case FUNCTION_IM:
        arb_swap(real, imaginary);
        arb_zero(imaginary);
        return true;
    case FUNCTION_CONJ:
        arb_neg(imaginary, imaginary);
        return true;
    case FUNCTION_ARG:
        if (acb_contains_zero(x) || !spend(w, COST_FUNCTION, prec)) return false;
        acb_arg(real, x, prec);
        arb_zero(imaginary);
        return true;
    case FUNCTION_SGN:
        acb_sgn(x, x, prec);
        return true;
    case FUNCTION_FLOOR:
    case FUNCTION_CEIL:
        if (!acb_is_real(x)) return false;
        if (function == FUNCTION_FLOOR)
            arb_floor(real, real, prec);
        else
            arb_ceil(real, real, prec);
        return true;
    case FUNCTION_FACTORIAL:
        if (!spend(w, COST_GAMMA, prec)) return false;
        acb_add_ui(x, x, 1, prec);
        acb_gamma(x, x, prec);
        return true;
    default:
        return false;
    }
}

/* min and max of reals; what gcd, lcm and mod give is exact or nothing. */
static bool extreme(struct work *w, struct term t, acb_t x, slong prec)
{
    acb_t y;
    int16_t child = t.tree->node[term_node(t)->child].next;
    bool good = acb_is_real(x);
    acb_init(y);
    for (; good && child >= 0; child = t.tree->node[child].next) {
        good = ball_value(w, term_at(t, child), y, prec) && acb_is_real(y);
        if (!good) break;
        if (term_node(t)->id == FUNCTION_MIN)
            arb_min(acb_realref(x), acb_realref(x), acb_realref(y), prec);
        else
            arb_max(acb_realref(x), acb_realref(x), acb_realref(y), prec);
    }
    acb_clear(y);
    return good;
}

/* n! / (k! (n - k)!) where k is no integer. */
static bool binomial_of_gammas(struct work *w, struct term t, acb_t n, slong prec)
{
    acb_t k;
    acb_init(k);
    bool good = ball_value(w, term_child(t, 1), k, prec) && spend(w, 3 * COST_GAMMA, prec);
    if (good) {
        acb_t rest;
        acb_init(rest);
        acb_sub(rest, n, k, prec);
        acb_add_ui(rest, rest, 1, prec);
        acb_rgamma(rest, rest, prec);
        acb_add_ui(k, k, 1, prec);
        acb_rgamma(k, k, prec);
        acb_add_ui(n, n, 1, prec);
        acb_gamma(n, n, prec);
        acb_mul(n, n, k, prec);
        acb_mul(n, n, rest, prec);
        acb_clear(rest);
    }
    acb_clear(k);
    return good;
}

static bool binomial(struct work *w, struct term t, acb_t x, slong prec)
{
    acb_t n;
    long k;
    if (!small_integer(w, term_child(t, 1), &k)) return binomial_of_gammas(w, t, x, prec);
    if (k < 0 || k > 500) return false;
    acb_init(n);
    acb_set(n, x);
    acb_one(x);
    bool good = spend(w, (uint32_t)(2 * k + 1), prec);
    for (long i = 0; good && i < k; i++) { /* n (n - 1) ... (n - k + 1) / k! */
        acb_mul(x, x, n, prec);
        acb_div_si(x, x, i + 1, prec);
        acb_sub_ui(n, n, 1, prec);
    }
    acb_clear(n);
    return good;
}

static bool call(struct work *w, struct term t, acb_t out, slong prec)
{
    uint8_t function = term_node(t)->id;
    fmpq_t exact;
    if (function == FUNCTION_DET || function == FUNCTION_GCD || function == FUNCTION_LCM ||
        function == FUNCTION_MOD) {
        fmpq_init(exact);
        bool good = exact_value(w, t, exact);
        if (good) acb_set_fmpq(out, exact, prec);
        fmpq_clear(exact);
        return good;
    }
    if (!ball_value(w, term_child(t, 0), out, prec)) return false;
    if (function == FUNCTION_SQRT) return root(w, t, out, prec);
    if (function == FUNCTION_LN || function == FUNCTION_LOG || function == FUNCTION_LG)
        return logarithm(w, t, out, prec);
    if (function == FUNCTION_MIN || function == FUNCTION_MAX) return extreme(w, t, out, prec);
    if (function == FUNCTION_BINOM) return binomial(w, t, out, prec);
    return routine(w, function, out, prec) || part(w, function, out, prec);
}

static bool series(struct work *w, struct term t, acb_t out, slong prec)
{
    const struct node *node = term_node(t);
    long from, to;
    if (!small_integer(w, term_child(t, 0), &from) || !small_integer(w, term_child(t, 1), &to) ||
        to - from >= LIMIT_TERMS)
        return false;
    const fmpq *outer = w->bound[node->id];
    fmpq_t k;
    acb_t term;
    fmpq_init(k);
    acb_init(term);
    acb_set_ui(out, node->kind == NODE_PRODUCT);
    w->bound[node->id] = k;
    bool good = true;
    for (long i = from; good && i <= to; i++) {
        fmpq_set_si(k, i, 1);
        good = ball_value(w, term_child(t, 2), term, prec);
        if (good && node->kind == NODE_SUM) acb_add(out, out, term, prec);
        if (good && node->kind == NODE_PRODUCT) acb_mul(out, out, term, prec);
    }
    w->bound[node->id] = outer;
    acb_clear(term);
    fmpq_clear(k);
    return good;
}

static bool binary(struct work *w, struct term t, acb_t out, slong prec)
{
    const struct node *node = term_node(t);
    acb_t y;
    if (!ball_value(w, term_at(t, node->child), out, prec)) return false;
    acb_init(y);
    bool good = ball_value(w, term_at(t, t.tree->node[node->child].next), y, prec);
    bool plus = node->kind == NODE_ADD ||
                (node->kind == NODE_PLUS_MINUS && (t.sign >= 0) != (node->flag != 0));
    if (good && node->kind == NODE_MULTIPLY) {
        acb_mul(out, out, y, prec);
    } else if (good && (node->kind == NODE_DIVIDE || node->kind == NODE_RATIO)) {
        good = !acb_contains_zero(y);
        if (good) acb_div(out, out, y, prec);
    } else if (good && plus) {
        acb_add(out, out, y, prec);
    } else if (good) {
        acb_sub(out, out, y, prec);
    }
    acb_clear(y);
    return good;
}

static bool constant(uint8_t id, acb_t out, slong prec)
{
    acb_zero(out);
    if (id == CONSTANT_PI) arb_const_pi(acb_realref(out), prec);
    if (id == CONSTANT_E) arb_const_e(acb_realref(out), prec);
    if (id == CONSTANT_I) arb_one(acb_imagref(out));
    return id != CONSTANT_INFINITY;
}

static bool value(struct work *w, struct term t, acb_t out, slong prec)
{
    const struct node *node = term_node(t);
    switch (node->kind) {
    case NODE_NUMBER:
        acb_set_fmpq(out, &node->value, prec);
        return true;
    case NODE_SYMBOL:
        if (w->bound[node->id])
            acb_set_fmpq(out, w->bound[node->id], prec);
        else
            acb_set(out, &w->point[node->id]);
        return true;
    case NODE_CONSTANT:
        return constant(node->id, out, prec);
    case NODE_ADD:
    case NODE_SUBTRACT:
    case NODE_PLUS_MINUS:
    case NODE_MULTIPLY:
    case NODE_DIVIDE:
    case NODE_RATIO:
        return binary(w, t, out, prec);
    case NODE_POWER:
        return power(w, t, out, prec);
    case NODE_NEGATE:
        if (!ball_value(w, term_child(t, 0), out, prec)) return false;
        acb_neg(out, out);
        return true;
    case NODE_PERCENT:
        if (!ball_value(w, term_child(t, 0), out, prec)) return false;
        acb_div_ui(out, out, 100, prec);
        return true;
    case NODE_UNIT:
        return ball_value(w, term_child(t, 0), out, prec);
    case NODE_CALL:
        return call(w, t, out, prec);
    case NODE_SUM:
    case NODE_PRODUCT:
        return series(w, t, out, prec);
    default:
        return false;
    }
}

bool ball_value(struct work *w, struct term t, acb_t out, slong prec)
{
    return spend(w, 1, prec) && value(w, t, out, prec) && acb_is_finite(out);
}
