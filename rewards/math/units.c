/* Units: which short words are one, and whether two spellings mean the same.  Nothing is converted.
 */
#include "units.h"

#include "parse.h"

#include <string.h>

/* Every spelling of a unit in one line, the first is its name.  Sorted by kind only. */
static const char *const units[] = {"cm centimeter centimeters centimetre centimetres",
                                    "mm millimeter millimeters millimetre",
                                    "km kilometer kilometers kilometre kilometres",
                                    "m meter meters metre metres",
                                    "in inch inches",
                                    "ft foot feet",
                                    "yd yard yards",
                                    "mi mile miles",
                                    "kg kilogram kilograms",
                                    "g gram grams",
                                    "mg milligram milligrams",
                                    "lb lbs pound pounds £",
                                    "oz ounce ounces",
                                    "t ton tons tonne tonnes",
                                    "s sec secs second seconds",
                                    "min mins minute minutes",
                                    "h hr hrs hour hours",
                                    "day days",
                                    "week weeks wk",
                                    "month months",
                                    "year years yr yrs",
                                    "dollar dollars $ usd",
                                    "cent cents",
                                    "euro euros €",
                                    "yuan ¥ ￥",
                                    "rupee rupees rs ₹",
                                    "degree degrees d deg",
                                    "rad radian radians",
                                    "mi/h mph",
                                    "km/h kph kmh",
                                    "L l liter liters litre litres",
                                    "mL ml milliliter milliliters",
                                    "unit units",
                                    "sq square",
                                    "cubic cu",
                                    "gal gallon gallons",
                                    "qt quart quarts",
                                    "pt pint pints",
                                    "cup cups",
                                    "N newton newtons",
                                    "J joule joules",
                                    "W watt watts",
                                    "V volt volts",
                                    "A ampere amperes amp amps",
                                    "Hz hertz",
                                    "Pa pascal pascals",
                                    "K kelvin",
                                    "mol mole moles",
                                    "kJ",
                                    "kW",
                                    "ms",
                                    "ns",
                                    "nm",
                                    "eV",
                                    "time times",
                                    "way ways",
                                    "per /",
                                    NULL};

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
}

static bool same_letters(struct cn_text a, const char *b, size_t n)
{
    if (a.length != n) return false;
    for (size_t i = 0; i < n; i++)
        if (n > 1 ? lower(a.data[i]) != lower(b[i]) : a.data[i] != b[i]) return false;
    return true;
}

/* The line of the table that has the word; -1: none. */
static int unit_line(struct cn_text word)
{
    for (int line = 0; units[line]; line++)
        for (const char *at = units[line]; *at;) {
            size_t n = strcspn(at, " ");
            if (same_letters(word, at, n)) return line;
            at += n + (at[n] == ' ');
        }
    return -1;
}

bool unit_known(struct cn_text word)
{
    return unit_line(word) >= 0;
}

/* A unit in one spelling: words of the table by their first name, others in lower case without the
 * plural's s; powers kept. */
struct spelling {
    char text[128];
    size_t n;
    bool square, cubic;
};

static void add(struct spelling *s, const char *text, size_t n)
{
    for (size_t i = 0; i < n && s->n + 1 < sizeof s->text; i++)
        s->text[s->n++] = text[i];
}

static void add_word(struct spelling *s, struct cn_text word)
{
    int line = unit_line(word);
    const char *name = line >= 0 ? units[line] : NULL;
    if (name && strncmp(name, "sq ", 3) == 0) {
        s->square = true;
    } else if (name && strncmp(name, "cubic ", 6) == 0) {
        s->cubic = true;
    } else if (name && strncmp(name, "per ", 4) == 0) {
        add(s, "/", 1);
    } else if (name) {
        add(s, name, strcspn(name, " "));
    } else {
        size_t n = word.length;
        if (n > 3 && lower(word.data[n - 1]) == 's') n--;
        for (size_t i = 0; i < n; i++) {
            char c = lower(word.data[i]);
            add(s, &c, 1);
        }
    }
}

static void add_words(struct spelling *s, struct cn_text text)
{
    for (size_t i = 0; i < text.length;) {
        size_t begin = i;
        while (i < text.length && !strchr(" ./^", text.data[i]))
            i++;
        if (i > begin) add_word(s, (struct cn_text){text.data + begin, i - begin});
        if (i < text.length && text.data[i] == '/') add(s, "/", 1);
        i++;
    }
}

static void spell_unit(const struct tree *tree, int16_t node, struct spelling *out)
{
    const struct node *unit = &tree->node[node];
    out->n = 0;
    out->square = out->cubic = false;
    if (unit->kind == NODE_SYMBOL) add_word(out, tree->token[unit->unit].text); /* "5 m" */
    if (unit->kind == NODE_POWER) {                                             /* "5 m^2" */
        const struct node *base = &tree->node[unit->child], *power = &tree->node[base->next];
        add_word(out, tree->token[base->unit].text);
        out->square = fmpq_cmp_si(&power->value, 2) == 0;
        out->cubic = fmpq_cmp_si(&power->value, 3) == 0;
    }
    if (unit->id == 'd') add(out, "degree", 6);
    for (int16_t i = unit->unit; unit->kind == NODE_UNIT && i < unit->unit_end; i++) {
        const struct token *token = &tree->token[i];
        if (token->kind == TOKEN_CURRENCY && (!token->text.length || token->text.data[0] == '$'))
            add(out, "dollar", 6);
        else if (token->kind == TOKEN_SIGN && token->id == '/')
            add(out, "/", 1);
        else if (token->kind == TOKEN_NUMBER)
            add(out, token->text.data, token->text.length);
        else if (token->kind != TOKEN_SIGN && token->kind != TOKEN_OPEN &&
                 token->kind != TOKEN_CLOSE)
            add_words(out, token->text);
    }
    if (out->square) add(out, "2", 1);
    if (out->cubic) add(out, "3", 1);
}

bool units_agree(const struct tree *a, int16_t unit_a, const struct tree *b, int16_t unit_b)
{
    struct spelling one, two;
    spell_unit(a, unit_a, &one);
    spell_unit(b, unit_b, &two);
    return one.n == two.n && memcmp(one.text, two.text, one.n) == 0;
}
