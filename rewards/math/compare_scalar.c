/* Numbers and expressions: exact where possible, then the field, then balls.
 *
 *     both rational        exact comparison, and the rules for decimals
 *     field values equal   a proof of equality; different and rational: of a difference
 *     no free variables    balls at 128, 256, 512, 1024 bits
 *     free variables       balls at keyed points, real of both signs and complex
 */
#include "units.h"
#include "work.h"

#include <math.h>

enum {
    PRECISION_FIRST = 128,
    PRECISION_LAST = 1024,
    PRECISION_POINTS = 512,
    POINTS_REAL = 6,
    POINTS_COMPLEX = 2,
    POINTS_NEEDED = 3,
    DIGITS_NEEDED = 3, /* significant digits of a rounded number */
    DIGITS_CUT = 6,    /* behind the point: so long a number may be cut off instead of rounded */
    FIELD_ROUNDS = 2
};

uint64_t free_names(struct term t)
{
    const struct node *node = term_node(t);
    uint64_t names = 0;
    if (node->kind == NODE_SYMBOL || node->kind == NODE_APPLY) names |= (uint64_t)1 << node->id;
    for (int16_t child = node->child; child >= 0; child = t.tree->node[child].next)
        names |= free_names(term_at(t, child));
    if (node->kind == NODE_SUM || node->kind == NODE_PRODUCT) names &= ~((uint64_t)1 << node->id);
    return names;
}

/* ---- decimals ------------------------------------------------------------ */

/* A number written with a decimal point, behind signs, units and a percent sign. */
struct decimal {
    bool is;
    int digits, significant; /* behind the point; from the first that is not 0 */
};

static struct decimal decimal_of(struct term t)
{
    int shift = 0;
    for (;;) {
        const struct node *node = term_node(t);
        if (node->kind == NODE_PERCENT) shift = 2;
        if (node->kind != NODE_PERCENT && node->kind != NODE_NEGATE && node->kind != NODE_UNIT) {
            struct decimal out = {node->kind == NODE_NUMBER && node->digits >= 0,
                                  node->digits + shift, node->significant};
            return out;
        }
        t = term_child(t, 0);
    }
}

/* Whether the value rounds to the number that was written with so many digits. */
static bool rounds_to(const fmpq_t value, const fmpq_t written, struct decimal as)
{
    if (as.significant < DIGITS_NEEDED || as.digits > LIMIT_DIGITS) return false;
    fmpq_t difference, half;
    fmpq_init(difference);
    fmpq_init(half);
    fmpq_sub(difference, value, written);
    fmpq_abs(difference, difference);
    fmpz_set_ui(fmpq_denref(half), 10);
    fmpz_pow_ui(fmpq_denref(half), fmpq_denref(half), (ulong)as.digits);
    if (as.digits < DIGITS_CUT) fmpz_mul_ui(fmpq_denref(half), fmpq_denref(half), 2);
    fmpz_one(fmpq_numref(half)); /* 0.5 * 10^-digits */
    bool close = fmpq_cmp(difference, half) <= 0;
    fmpq_clear(difference);
    fmpq_clear(half);
    return close;
}

static bool within(double tolerance, const fmpq_t gold, const fmpq_t answer)
{
    if (!(tolerance > 0)) return false;
    double a = fmpq_get_d(gold), b = fmpq_get_d(answer);
    return isfinite(a) && isfinite(b) && fabs(a - b) <= tolerance * fabs(a);
}

/* Two exact values.  An integer must be met exactly; a decimal is met by what rounds to it. */
static bool exact_equal(const struct work *w, struct term gold, const fmpq_t a, struct term answer,
                        const fmpq_t b)
{
    if (fmpq_equal(a, b)) return true;
    if (within(w->rules->tolerance, a, b)) return true;
    struct decimal one = decimal_of(gold), two = decimal_of(answer);
    if (fmpz_is_one(fmpq_denref(a))) return false;
    if (one.is && two.is) return two.digits >= one.digits && rounds_to(b, a, one);
    if (one.is) return rounds_to(b, a, one);
    if (two.is) return rounds_to(a, b, two);
    return false;
}

/* ---- balls --------------------------------------------------------------- */

/* Whether the difference is certainly not zero, or so near to it that it is. */
enum verdict { VERDICT_DIFFERENT, VERDICT_EQUAL, VERDICT_OPEN };

static enum verdict judge(const acb_t a, const acb_t b, slong prec)
{
    acb_t d;
    arb_t size, scale;
    enum verdict verdict = VERDICT_OPEN;
    acb_init(d);
    arb_init(size);
    arb_init(scale);
    acb_sub(d, a, b, prec);
    if (!acb_contains_zero(d)) {
        verdict = VERDICT_DIFFERENT;
    } else { /* radius below 2^(-p/2) max(|a|, |b|) */
        acb_get_mag(arb_radref(size), d);
        acb_abs(scale, a, prec);
        arb_mul_2exp_si(scale, scale, -prec / 2);
        if (acb_contains_zero(a) && acb_contains_zero(b)) { /* zero itself has no scale */
            arb_one(scale);
            arb_mul_2exp_si(scale, scale, -prec / 2);
        }
        arf_t radius;
        arf_init(radius);
        arf_set_mag(radius, arb_radref(size));
        if (arf_cmp(radius, arb_midref(scale)) < 0) verdict = VERDICT_EQUAL;
        arf_clear(radius);
    }
    acb_clear(d);
    arb_clear(size);
    arb_clear(scale);
    return verdict;
}

/* A decimal that the other side, a real constant, rounds to; or a tolerance that covers both. */
static bool approximates(const struct work *w, struct term gold, const acb_t a, struct term answer,
                         const acb_t b)
{
    struct decimal one = decimal_of(gold), two = decimal_of(answer), as = two.is ? two : one;
    double x = arf_get_d(arb_midref(acb_realref(a)), ARF_RND_NEAR);
    double y = arf_get_d(arb_midref(acb_realref(b)), ARF_RND_NEAR);
    if (!acb_is_real(a) || !acb_is_real(b)) return false;
    if (w->rules->tolerance > 0 && fabs(x - y) <= w->rules->tolerance * fabs(x)) return true;
    if (!as.is || (one.is && two.is) || as.significant < DIGITS_NEEDED || as.digits > 300)
        return false;
    arb_t difference, half;
    arb_init(difference);
    arb_init(half);
    arb_sub(difference, acb_realref(a), acb_realref(b), PRECISION_LAST);
    arb_abs(difference, difference);
    arb_set_ui(half, 10);
    arb_pow_ui(half, half, (ulong)as.digits, PRECISION_LAST);
    if (as.digits < DIGITS_CUT) arb_mul_2exp_si(half, half, 1);
    arb_inv(half, half, PRECISION_LAST);
    bool close = arb_lt(difference, half);
    arb_clear(difference);
    arb_clear(half);
    return close;
}

/* Both without free variables: more and more bits until the balls part. */
static bool constants_equal(struct work *w, struct term gold, struct term answer)
{
    acb_t a, b;
    enum verdict verdict = VERDICT_OPEN;
    bool close = false;
    acb_init(a);
    acb_init(b);
    for (slong prec = PRECISION_FIRST; prec <= PRECISION_LAST; prec *= 2) {
        if (!ball_value(w, gold, a, prec) || !ball_value(w, answer, b, prec)) break;
        verdict = judge(a, b, prec);
        if (prec == PRECISION_FIRST) close = approximates(w, gold, a, answer, b);
        if (verdict == VERDICT_DIFFERENT || close) break;
        if (verdict == VERDICT_OPEN && prec == PRECISION_LAST) break;
    }
    acb_clear(a);
    acb_clear(b);
    w->tier = "ball";
    return !w->exhausted && (close || verdict == VERDICT_EQUAL);
}

/* Keyed points: magnitudes 0.2 to 3.2, both signs; the last ones complex. */
static void set_points(struct work *w, int round)
{
    for (size_t i = 0; i < w->names.n; i++) {
        uint64_t random = mix(w->key ^ mix(((uint64_t)round << 32) + i));
        long real = (long)(random % 3001) + 200, imaginary = (long)((random >> 16) % 3001) + 200;
        bool complex = round >= POINTS_REAL;
        /* every round has another pattern of signs, so that each pair of names meets all four */
        bool minus = ((unsigned)round >> (i % 2)) & 1u;
        acb_set_si(&w->point[i], minus ? -real : real);
        if (complex) arb_set_si(acb_imagref(&w->point[i]), imaginary);
        acb_div_ui(&w->point[i], &w->point[i], 1000, PRECISION_LAST);
    }
}

/* Whether a function in the term has a meaning for real numbers only. */
static bool real_only(struct term t)
{
    const struct node *node = term_node(t);
    bool real =
        node->kind == NODE_CALL &&
        (node->id == FUNCTION_ABS || node->id == FUNCTION_FLOOR || node->id == FUNCTION_CEIL ||
         node->id == FUNCTION_MIN || node->id == FUNCTION_MAX || node->id == FUNCTION_SGN);
    for (int16_t child = node->child; !real && child >= 0; child = t.tree->node[child].next)
        real = real_only(term_at(t, child));
    return real;
}

/* One point: more bits until it is decided. */
static enum verdict at_point(struct work *w, struct term gold, struct term answer, acb_t a, acb_t b)
{
    for (slong prec = PRECISION_FIRST; prec <= PRECISION_POINTS; prec *= 2) {
        if (!ball_value(w, gold, a, prec) || !ball_value(w, answer, b, prec)) return VERDICT_OPEN;
        enum verdict verdict = judge(a, b, prec);
        if (verdict != VERDICT_OPEN) return verdict;
    }
    return VERDICT_DIFFERENT;
}

static bool points_equal(struct work *w, struct term gold, struct term answer)
{
    int rounds = POINTS_REAL + POINTS_COMPLEX, agreed = 0;
    acb_t a, b;
    acb_init(a);
    acb_init(b);
    if (real_only(gold) || real_only(answer)) rounds = POINTS_REAL;
    for (int round = 0; round < rounds && agreed >= 0; round++) {
        set_points(w, round);
        enum verdict verdict = at_point(w, gold, answer, a, b);
        if (verdict == VERDICT_EQUAL) agreed++;
        if (verdict == VERDICT_DIFFERENT || w->exhausted) agreed = -1;
    }
    acb_clear(a);
    acb_clear(b);
    w->tier = "points";
    return agreed >= POINTS_NEEDED;
}

/* ---- the choice ---------------------------------------------------------- */

/* In the field: 1 equal, 0 different for sure, -1 not decided. */
static int field_equal(struct work *w, struct term gold, struct term answer)
{
    bool rational = true;
    for (uint64_t round = 0; round < FIELD_ROUNDS; round++) {
        ulong a, b;
        field_points(w, round);
        if (!field_value(w, gold, &a, &rational) || !field_value(w, answer, &b, &rational))
            return -1;
        if (a != b) return rational ? 0 : -1;
    }
    return 1;
}

static bool values_equal(struct work *w, struct term gold, struct term answer)
{
    fmpq_t a, b;
    fmpq_init(a);
    fmpq_init(b);
    bool first = exact_value(w, gold, a), second = first && exact_value(w, answer, b),
         equal = false;
    if (second) {
        equal = exact_equal(w, gold, a, answer, b);
        w->tier = "exact";
    }
    bool integer = first && fmpz_is_one(fmpq_denref(a));
    fmpq_clear(a);
    fmpq_clear(b);
    if (second || w->exhausted) return equal && !w->exhausted;
    int field = field_equal(w, gold, answer);
    w->tier = "rational";
    if (field >= 0 || w->exhausted) return field == 1 && !w->exhausted;
    if (free_names(gold) | free_names(answer)) return points_equal(w, gold, answer);
    if (integer && decimal_of(answer).is) return false;
    return constants_equal(w, gold, answer);
}

/* Signs of infinity have no value but can be equal. */
int infinite(struct term t)
{
    const struct node *node = term_node(t);
    if (node->kind == NODE_NEGATE) return -infinite(term_child(t, 0));
    return node->kind == NODE_CONSTANT && node->id == CONSTANT_INFINITY;
}

static bool is_percent(struct term *t)
{
    struct term at = *t;
    if (term_node(at)->kind == NODE_UNIT) at = term_child(at, 0);
    if (term_node(at)->kind != NODE_PERCENT) return false;
    *t = term_child(at, 0);
    return true;
}

bool scalars_equal(struct work *w, struct term gold, struct term answer)
{
    struct term g = gold, a = answer;
    if (infinite(gold) || infinite(answer)) return infinite(gold) == infinite(answer);
    if (values_equal(w, gold, answer)) return true;
    if (w->exhausted || w->rules->percent == MATH_PERCENT_VALUE) return false;
    /* 28% in one of the two: also the bare 28; lenient: 28 for 0.28 without any sign */
    bool percent_gold = is_percent(&g), percent_answer = is_percent(&a);
    if (percent_gold != percent_answer) return values_equal(w, g, a);
    if (percent_gold || w->rules->percent != MATH_PERCENT_LENIENT) return false;
    fmpq_t x, y;
    fmpq_init(x);
    fmpq_init(y);
    bool equal = exact_value(w, gold, x) && exact_value(w, answer, y);
    if (equal) {
        fmpq_mul_fmpz(x, x, (const fmpz[]){100});
        equal = fmpq_equal(x, y);
        fmpq_div_fmpz(x, x, (const fmpz[]){10000});
        equal = equal || fmpq_equal(x, y);
    }
    fmpq_clear(x);
    fmpq_clear(y);
    return equal;
}

double rough_value(struct work *w, struct term t)
{
    double out = NAN;
    acb_t x;
    if (infinite(t)) return infinite(t) < 0 ? -(double)INFINITY : (double)INFINITY;
    if (free_names(t)) return NAN;
    acb_init(x);
    if (ball_value(w, t, x, PRECISION_FIRST) && acb_is_real(x))
        out = arf_get_d(arb_midref(acb_realref(x)), ARF_RND_NEAR);
    acb_clear(x);
    return out;
}
