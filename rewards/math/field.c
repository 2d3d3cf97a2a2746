/* Identities in a prime field: expressions as rational functions of their variables, of pi, e and
 * of every function value, evaluated at random points modulo a prime of 62 bits.
 *
 * Two rational functions of degree d that differ agree at a random point with a chance of at most
 * d / 2^62 (Schwartz 1980, Zippel 1979); the points are keyed by the known answer.  The prime is 1
 * modulo 4, so that -1 has a square root and complex numbers are rational too. */
#include "work.h"

static const ulong prime = 4611686018427387817u; /* 2^62 - 87 */
static const ulong root_of_minus_one = 4490822397581186023u;

static nmod_t modulus(void)
{
    nmod_t mod;
    nmod_init(&mod, prime);
    return mod;
}

ulong field_subtract(ulong a, ulong b)
{
    return nmod_sub(a, b, modulus());
}

ulong field_multiply(ulong a, ulong b)
{
    return nmod_mul(a, b, modulus());
}

void field_points(struct work *w, uint64_t round)
{
    for (size_t i = 0; i < w->names.n; i++)
        w->field[i] = mix(w->key ^ mix(round * LIMIT_NAMES + i)) % (prime - 2) + 1;
}

/* An element that stands for a function of given arguments. */
static ulong stand_in(ulong kind, ulong a, ulong b)
{
    return mix(kind ^ mix(a ^ mix(b))) % (prime - 2) + 1;
}

static bool rational_value(const fmpq_t x, ulong *out)
{
    nmod_t mod = modulus();
    ulong over = fmpz_fdiv_ui(fmpq_numref(x), prime), under = fmpz_fdiv_ui(fmpq_denref(x), prime);
    if (!under) return false;
    *out = under == 1 ? over : nmod_div(over, under, mod);
    return true;
}

/* base^exponent: exact for an integer exponent, else a stand-in. */
static bool power(struct work *w, ulong base, struct term exponent, ulong *out, bool *rational)
{
    fmpq_t value;
    fmpq_init(value);
    bool integer = exact_value(w, exponent, value) && fmpz_is_one(fmpq_denref(value));
    bool negative = fmpq_sgn(value) < 0, defined = !(integer && negative && !base);
    if (integer && defined) {
        ulong e = fmpz_fdiv_ui(fmpq_numref(value), prime - 1);
        *out = n_powmod2_ui_preinv(base, e, prime, modulus().ninv);
        if (!base) *out = fmpz_is_zero(fmpq_numref(value)) ? 1u : 0u;
    }
    fmpq_clear(value);
    if (integer || !defined) return defined && work_spend(w, 4);
    ulong e;
    *rational = false;
    if (!field_value(w, exponent, &e, rational)) return false;
    *out = stand_in(1, base, e);
    return true;
}

static bool call(struct work *w, struct term t, ulong *out, bool *rational)
{
    const struct node *node = term_node(t);
    ulong value = 0;
    *rational = false;
    if (node->id == FUNCTION_DET) return false;
    for (int16_t child = node->child; child >= 0; child = t.tree->node[child].next) {
        ulong argument;
        if (!field_value(w, term_at(t, child), &argument, rational)) return false;
        value = value ? stand_in(2, value, argument) : argument + 1;
    }
    if (node->id == FUNCTION_SQRT) { /* the same as a power, so that both spellings agree */
        ulong two = 2, base, degree = 2;
        struct term second = term_child(t, 1);
        field_value(w, term_child(t, 0), &base, rational);
        if (second.node >= 0) field_value(w, second, &degree, rational);
        nmod_t mod = modulus();
        *out = stand_in(1, base, nmod_inv(degree ? degree : two, mod));
        return degree != 0;
    }
    *out = stand_in(16u + node->id, value, 0);
    return true;
}

static bool series(struct work *w, struct term t, ulong *out, bool *rational)
{
    const struct node *node = term_node(t);
    fmpq_t from, to;
    fmpq_init(from);
    fmpq_init(to);
    bool good = exact_value(w, term_child(t, 0), from) && exact_value(w, term_child(t, 1), to) &&
                fmpz_is_one(fmpq_denref(from)) && fmpz_is_one(fmpq_denref(to)) &&
                fmpz_bits(fmpq_numref(from)) < 20 && fmpz_bits(fmpq_numref(to)) < 20;
    long first = good ? fmpz_get_si(fmpq_numref(from)) : 0;
    long last = good ? fmpz_get_si(fmpq_numref(to)) : 0;
    nmod_t mod = modulus();
    const fmpq *outer = w->bound[node->id];
    good = good && last - first < LIMIT_TERMS;
    *out = node->kind == NODE_PRODUCT;
    w->bound[node->id] = from;
    for (long k = first; good && k <= last; k++) {
        ulong value;
        fmpq_set_si(from, k, 1);
        good = field_value(w, term_child(t, 2), &value, rational);
        if (good && node->kind == NODE_SUM) *out = nmod_add(*out, value, mod);
        if (good && node->kind == NODE_PRODUCT) *out = nmod_mul(*out, value, mod);
    }
    w->bound[node->id] = outer;
    fmpq_clear(from);
    fmpq_clear(to);
    return good;
}

static bool binary(struct work *w, struct term t, ulong *out, bool *rational)
{
    const struct node *node = term_node(t);
    nmod_t mod = modulus();
    ulong a, b;
    if (!field_value(w, term_at(t, node->child), &a, rational)) return false;
    struct term second = term_at(t, t.tree->node[node->child].next);
    if (node->kind == NODE_POWER) {
        /* e^x is the exponential function however it is written */
        return power(w, a, second, out, rational);
    }
    if (!field_value(w, second, &b, rational)) return false;
    bool plus = (t.sign >= 0) != (node->flag != 0);
    switch (node->kind) {
    case NODE_ADD:
        *out = nmod_add(a, b, mod);
        return true;
    case NODE_SUBTRACT:
        *out = nmod_sub(a, b, mod);
        return true;
    case NODE_PLUS_MINUS:
        *out = plus ? nmod_add(a, b, mod) : nmod_sub(a, b, mod);
        return true;
    case NODE_MULTIPLY:
        *out = nmod_mul(a, b, mod);
        return true;
    default:
        if (!b) return false;
        *out = nmod_div(a, b, mod);
        return true;
    }
}

static bool constant(uint8_t id, ulong *out, bool *rational)
{
    *out = id == CONSTANT_I ? root_of_minus_one : stand_in(3, id, 0);
    if (id != CONSTANT_I) *rational = false;
    return id != CONSTANT_INFINITY;
}

bool field_value(struct work *w, struct term t, ulong *out, bool *rational)
{
    const struct node *node = term_node(t);
    if (!work_spend(w, 1)) return false;
    switch (node->kind) {
    case NODE_NUMBER:
        return rational_value(&node->value, out);
    case NODE_SYMBOL:
        if (w->bound[node->id]) return rational_value(w->bound[node->id], out);
        *out = w->field[node->id];
        return true;
    case NODE_CONSTANT:
        return constant(node->id, out, rational);
    case NODE_ADD:
    case NODE_SUBTRACT:
    case NODE_PLUS_MINUS:
    case NODE_MULTIPLY:
    case NODE_DIVIDE:
    case NODE_RATIO:
    case NODE_POWER:
        return binary(w, t, out, rational);
    case NODE_NEGATE:
        if (!field_value(w, term_child(t, 0), out, rational)) return false;
        *out = nmod_neg(*out, modulus());
        return true;
    case NODE_PERCENT:
        if (!field_value(w, term_child(t, 0), out, rational)) return false;
        *out = nmod_div(*out, 100, modulus());
        return true;
    case NODE_UNIT:
        return field_value(w, term_child(t, 0), out, rational);
    case NODE_CALL:
        return call(w, t, out, rational);
    case NODE_APPLY:
        if (!field_value(w, term_child(t, 0), out, rational)) return false;
        *out = stand_in(256u + node->id, *out, 0);
        return true;
    case NODE_SUM:
    case NODE_PRODUCT:
        return series(w, t, out, rational);
    default:
        return false;
    }
}
