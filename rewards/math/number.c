/* Numbers as they are written: groups of three, decimal points and commas, exponents. */
#include "tree.h"

#include <string.h>

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static size_t digits_at(struct cn_text text, size_t at)
{
    size_t n = 0;
    while (at + n < text.length && is_digit(text.data[at + n]))
        n++;
    return n;
}

static bool has(struct cn_text text, size_t at, const char *what)
{
    size_t n = strlen(what);
    return at <= text.length && text.length - at >= n && memcmp(text.data + at, what, n) == 0;
}

int raised_digit(struct cn_text text, size_t at)
{
    static const char *const raised[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
    for (int i = 0; i < 10; i++)
        if (has(text, at, raised[i])) return i;
    return -1;
}

static size_t raised_bytes(int digit)
{
    return digit >= 1 && digit <= 3 ? 2 : 3;
}

size_t raised_length(struct cn_text text, size_t at, bool *minus)
{
    size_t i = at;
    int digit;
    *minus = has(text, at, "⁻");
    if (*minus) i += RAISED_MINUS;
    size_t begin = i;
    while ((digit = raised_digit(text, i)) >= 0)
        i += raised_bytes(digit);
    return i > begin ? i - at : 0;
}

/* Length of a separator of groups at `at`; a plain comma only outside brackets. */
static size_t separator_at(struct cn_text text, size_t at, bool nested)
{
    static const char *const separators[] = {"{,}",          ",\\! ", ",\\!",         "\\!",
                                             "\\,",          "_",     "\xe2\x80\x89", "\xc2\xa0",
                                             "\xe2\x80\xaf", NULL};
    for (const char *const *s = separators; *s; s++)
        if (has(text, at, *s)) return strlen(*s);
    return !nested && has(text, at, ",") ? 1 : 0;
}

/* Length of a space between groups at `at`: three digits follow, and neither more of them nor the
 * denominator of a mixed number ("1 100/3"). */
static size_t gap_at(struct cn_text text, size_t at)
{
    size_t n = has(text, at, " ") ? 1 : has(text, at, "\\ ") ? 2 : 0;
    bool group = n && digits_at(text, at + n) == 3 && !has(text, at + n + 3, "/");
    return group ? n : 0;
}

/* Bytes of groups ",123" that follow at `at`. */
static size_t groups_at(struct cn_text text, size_t at, bool nested)
{
    size_t begin = at, n;
    while (((n = separator_at(text, at, nested)) && digits_at(text, at + n) == 3) ||
           (n = gap_at(text, at)))
        at += n + 3;
    /* "1,234,56" is no number but a list */
    if (at > begin && has(text, at, ",") && digits_at(text, at + 1) && !nested) return 0;
    return at - begin;
}

/* A decimal comma at `at`: its length, 0: none. */
static size_t decimal_comma_at(struct cn_text text, size_t at, bool lead_zero, enum commas commas,
                               bool *unclear)
{
    size_t mark = has(text, at, "{,}") ? 3 : has(text, at, ",") ? 1 : 0;
    size_t n = mark ? digits_at(text, at + mark) : 0;
    if (!n || has(text, at + mark + n, ",")) return 0;
    if (mark == 3 || (lead_zero && n != 1)) return mark;
    *unclear = true;
    return commas == COMMAS_DECIMAL ? mark : 0;
}

static size_t exponent_at(struct cn_text text, size_t at)
{
    size_t i = at;
    if (i >= text.length || (text.data[i] | 32) != 'e') return 0;
    i++;
    if (i < text.length && (text.data[i] == '-' || text.data[i] == '+')) i++;
    size_t n = digits_at(text, i);
    return n ? i + n - at : 0;
}

size_t number_length(struct cn_text text, size_t at, enum commas commas, bool nested, bool *unclear)
{
    size_t first = digits_at(text, at), i = at + first;
    char next = i < text.length ? text.data[i] : ' ';
    if (first && (unsigned char)next < 0x80 && !strchr(", {\\_.eE", next)) return first;
    bool lead_zero = first == 1 && text.data[at] == '0';
    if (first >= 1 && first <= 3 && !lead_zero) i += groups_at(text, i, nested);
    bool grouped = i > at + first;
    bool repeats = has(text, i, ".\\overline") || has(text, i, ".\\bar") || has(text, i, ".\\dot{");
    if (first && repeats) return i + 1 - at;
    if (i < text.length && text.data[i] == '.' && digits_at(text, i + 1)) {
        i += 1 + digits_at(text, i + 1);
    } else if (first && !grouped && !nested) {
        size_t comma = decimal_comma_at(text, i, lead_zero, commas, unclear);
        if (comma) i += comma + digits_at(text, i + comma);
    }
    return i == at ? 0 : i + exponent_at(text, i) - at;
}

/* The digits of the mantissa without anything between them. */
struct digits {
    char digit[LIMIT_DIGITS + 1];
    size_t n, behind; /* digits; how many of them stand behind the point */
    bool point;
    long exponent;
};

static enum fault collect(struct cn_text text, struct digits *out)
{
    *out = (struct digits){.n = 0};
    for (size_t i = 0; i < text.length;) {
        char c = text.data[i];
        size_t n;
        int raised = (unsigned char)c >= 0x80 ? raised_digit(text, i) : -1;
        if (is_digit(c) || raised >= 0) {
            if (out->n == LIMIT_DIGITS) return FAULT_TOO_LARGE;
            out->digit[out->n++] = raised < 0 ? c : (char)('0' + raised);
            out->behind += out->point;
            i += raised < 0 ? 1 : raised_bytes(raised);
        } else if (c == '.') {
            out->point = true;
            i++;
        } else if ((c | 32) == 'e') {
            bool negative = i + 1 < text.length && text.data[i + 1] == '-';
            for (i++; i < text.length; i++)
                if (is_digit(text.data[i]) && out->exponent < 1000000)
                    out->exponent = 10 * out->exponent + (text.data[i] - '0');
            if (negative) out->exponent = -out->exponent;
        } else if ((n = separator_at(text, i, false)) || (n = gap_at(text, i))) {
            bool group = !out->point && digits_at(text, i + n) == 3 &&
                         !(out->n == 1 && out->digit[0] == '0');
            if (!group) out->point = true; /* a decimal comma */
            i += n;
        } else {
            return FAULT_SYNTAX;
        }
    }
    out->digit[out->n] = 0;
    return out->n ? FAULT_NONE : FAULT_SYNTAX;
}

enum fault number_value(struct cn_text text, struct node *out)
{
    struct digits digits;
    enum fault fault = collect(text, &digits);
    if (fault) return fault;
    long shift = digits.exponent - (long)digits.behind;
    if (shift > LIMIT_DIGITS || shift < -2 * LIMIT_DIGITS) return FAULT_TOO_LARGE;
    size_t lead = strspn(digits.digit, "0");
    out->digits = digits.point ? (int16_t)(digits.behind > 0 ? digits.behind : 0) : -1;
    if (digits.exponent) out->digits = digits.exponent < (long)digits.behind ? (int16_t)-shift : -1;
    out->significant = (int16_t)(digits.n - lead);
    fmpz_t mantissa, power;
    fmpz_init(mantissa);
    fmpz_init_set_ui(power, 10);
    if (digits.n <= 18) { /* the usual case, without the general reader */
        ulong value = 0;
        for (size_t i = 0; i < digits.n; i++)
            value = 10 * value + (ulong)(digits.digit[i] - '0');
        fmpz_set_ui(mantissa, value);
    } else if (fmpz_set_str(mantissa, digits.digit, 10) != 0) {
        fault = FAULT_SYNTAX;
    }
    fmpz_pow_ui(power, power, (ulong)(shift < 0 ? -shift : shift));
    if (shift > 0) fmpz_mul(mantissa, mantissa, power);
    if (shift >= 0) fmpz_one(power);
    fmpq_set_fmpz_frac(&out->value, mantissa, power);
    fmpz_clear(mantissa);
    fmpz_clear(power);
    return fault;
}
