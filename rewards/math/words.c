/* What words, LaTeX commands and characters mean: tables, searched by name. */
#include "tree.h"

#include <stdlib.h>
#include <string.h>

struct entry {
    const char *name;
    uint8_t kind, id;
    const char *text; /* of a name: how it is spelled; NULL: as the entry */
};

#define F(name) TOKEN_FUNCTION, FUNCTION_##name, NULL
#define R(name) TOKEN_RELATION, RELATION_##name, NULL
#define C(name) TOKEN_CONSTANT, CONSTANT_##name, NULL
#define SIGN(c) TOKEN_SIGN, c, NULL
#define OPEN(c) TOKEN_OPEN, c, NULL
#define CLOSE(c) TOKEN_CLOSE, c, NULL
#define NAME(text) TOKEN_NAME, 0, text

// clang-format off
/* Words of plain text, lower case, sorted. */
static const struct entry words[] = {
    {"abs", F(ABS)}, {"acos", F(ACOS)}, {"and", TOKEN_JOIN, 'a', NULL}, {"arccos", F(ACOS)}, {"arccot", F(ACOT)}, {"arccsc", F(ACSC)},
    {"arcosh", F(ACOSH)}, {"arcsec", F(ASEC)}, {"arcsin", F(ASIN)}, {"arctan", F(ATAN)}, {"arctg", F(ATAN)}, {"arg", F(ARG)},
    {"arsinh", F(ASINH)}, {"artanh", F(ATANH)}, {"asin", F(ASIN)}, {"atan", F(ATAN)}, {"binom", F(BINOM)}, {"binomial", F(BINOM)},
    {"cbrt", TOKEN_FUNCTION, FUNCTION_SQRT, "3"}, {"ceil", F(CEIL)}, {"ceiling", F(CEIL)}, {"conj", F(CONJ)}, {"cos", F(COS)}, {"cosh", F(COSH)}, {"cot", F(COT)},
    {"coth", F(COTH)}, {"csc", F(CSC)}, {"ctg", F(COT)}, {"deg", TOKEN_DEGREE, 0, NULL}, {"degree", TOKEN_DEGREE, 0, NULL}, {"degrees", TOKEN_DEGREE, 0, NULL}, {"det", F(DET)},
    {"eight", TOKEN_COUNT, 8, NULL}, {"eighteen", TOKEN_COUNT, 18, NULL}, {"eighty", TOKEN_COUNT, 80, NULL}, {"eleven", TOKEN_COUNT, 11, NULL}, {"exp", F(EXP)},
    {"factorial", F(FACTORIAL)}, {"fifteen", TOKEN_COUNT, 15, NULL}, {"fifty", TOKEN_COUNT, 50, NULL}, {"five", TOKEN_COUNT, 5, NULL}, {"floor", F(FLOOR)}, {"forty", TOKEN_COUNT, 40, NULL},
    {"four", TOKEN_COUNT, 4, NULL}, {"fourteen", TOKEN_COUNT, 14, NULL}, {"gcd", F(GCD)}, {"hundred", TOKEN_SCALE, 2, NULL},
    {"im", F(IM)}, {"inf", C(INFINITY)}, {"infinity", C(INFINITY)}, {"infty", C(INFINITY)}, {"lcm", F(LCM)}, {"lg", F(LG)}, {"ln", F(LN)}, {"log", F(LOG)}, {"max", F(MAX)},
    {"million", TOKEN_SCALE, 6, NULL}, {"billion", TOKEN_SCALE, 9, NULL}, {"min", F(MIN)}, {"mod", F(MOD)}, {"nine", TOKEN_COUNT, 9, NULL}, {"nineteen", TOKEN_COUNT, 19, NULL}, {"ninety", TOKEN_COUNT, 90, NULL},
    {"oder", TOKEN_JOIN, 'o', NULL}, {"one", TOKEN_COUNT, 1, NULL}, {"oo", C(INFINITY)}, {"or", TOKEN_JOIN, 'o', NULL}, {"ou", TOKEN_JOIN, 'o', NULL}, {"pct", SIGN('%')}, {"percent", SIGN('%')}, {"percentage", SIGN('%')},
    {"pi", C(PI)}, {"re", F(RE)}, {"sec", F(SEC)}, {"seven", TOKEN_COUNT, 7, NULL}, {"seventeen", TOKEN_COUNT, 17, NULL}, {"seventy", TOKEN_COUNT, 70, NULL}, {"sgn", F(SGN)}, {"sign", F(SGN)},
    {"sin", F(SIN)}, {"sinh", F(SINH)}, {"six", TOKEN_COUNT, 6, NULL}, {"sixteen", TOKEN_COUNT, 16, NULL}, {"sixty", TOKEN_COUNT, 60, NULL}, {"sqrt", F(SQRT)},
    {"tan", F(TAN)}, {"tanh", F(TANH)}, {"ten", TOKEN_COUNT, 10, NULL}, {"tg", F(TAN)}, {"thirteen", TOKEN_COUNT, 13, NULL}, {"thirty", TOKEN_COUNT, 30, NULL}, {"thousand", TOKEN_SCALE, 3, NULL},
    {"three", TOKEN_COUNT, 3, NULL}, {"trillion", TOKEN_SCALE, 12, NULL}, {"twelve", TOKEN_COUNT, 12, NULL}, {"twenty", TOKEN_COUNT, 20, NULL}, {"two", TOKEN_COUNT, 2, NULL},
    {"und", TOKEN_JOIN, 'a', NULL}, {"union", SIGN('u')}, {"zero", TOKEN_COUNT, 0, NULL},
};

/* Words for parts of one, behind a count: into how many. */
static const struct entry parts[] = {
    {"half", 0, 2, NULL}, {"halves", 0, 2, NULL}, {"third", 0, 3, NULL}, {"thirds", 0, 3, NULL}, {"fourth", 0, 4, NULL}, {"fourths", 0, 4, NULL}, {"quarter", 0, 4, NULL}, {"quarters", 0, 4, NULL}, {"fifth", 0, 5, NULL}, {"fifths", 0, 5, NULL},
    {"sixth", 0, 6, NULL}, {"sixths", 0, 6, NULL}, {"seventh", 0, 7, NULL}, {"sevenths", 0, 7, NULL}, {"eighth", 0, 8, NULL}, {"eighths", 0, 8, NULL}, {"ninth", 0, 9, NULL}, {"ninths", 0, 9, NULL}, {"tenth", 0, 10, NULL}, {"tenths", 0, 10, NULL},
};

/* Commands without their backslash. */
static const struct entry commands[] = {
    {"frac", TOKEN_FRACTION, 0, NULL}, {"nicefrac", TOKEN_FRACTION, 0, NULL}, {"sfrac", TOKEN_FRACTION, 0, NULL}, {"dfrac", TOKEN_FRACTION, 0, NULL}, {"tfrac", TOKEN_FRACTION, 0, NULL}, {"cfrac", TOKEN_FRACTION, 0, NULL},
    {"sqrt", F(SQRT)}, {"binom", F(BINOM)}, {"dbinom", F(BINOM)}, {"tbinom", F(BINOM)},
    {"pi", C(PI)}, {"infty", C(INFINITY)}, {"infin", C(INFINITY)},
    {"cdot", SIGN('*')}, {"times", SIGN('*')}, {"ast", SIGN('*')}, {"star", SIGN('*')}, {"div", SIGN('/')}, {"over", SIGN('O')}, {"choose", SIGN('C')},
    {"pm", SIGN('p')}, {"mp", SIGN('q')}, {"cup", SIGN('u')}, {"bigcup", SIGN('u')}, {"cap", SIGN('n')}, {"bigcap", SIGN('n')}, {"setminus", SIGN('d')}, {"backslash", SIGN('d')}, {"smallsetminus", SIGN('d')}, {"colon", SIGN(':')},
    {"le", R(LESS_EQUAL)}, {"leq", R(LESS_EQUAL)}, {"leqslant", R(LESS_EQUAL)}, {"leqq", R(LESS_EQUAL)}, {"ge", R(GREATER_EQUAL)}, {"geq", R(GREATER_EQUAL)}, {"geqslant", R(GREATER_EQUAL)}, {"geqq", R(GREATER_EQUAL)},
    {"lt", R(LESS)}, {"gt", R(GREATER)}, {"ne", R(UNEQUAL)}, {"neq", R(UNEQUAL)}, {"in", R(IN)}, {"approx", R(ABOUT)}, {"simeq", R(ABOUT)}, {"approxeq", R(ABOUT)}, {"equiv", R(EQUAL)}, {"Leftrightarrow", R(EQUAL)}, {"iff", R(EQUAL)},
    {"to", R(EQUAL)}, {"rightarrow", R(EQUAL)}, {"mapsto", R(EQUAL)}, {"Rightarrow", R(EQUAL)}, {"implies", R(EQUAL)},
    {"lbrace", OPEN('s')}, {"rbrace", CLOSE('s')}, {"lbrack", OPEN('[')}, {"rbrack", CLOSE(']')}, {"langle", OPEN('(')}, {"rangle", CLOSE(')')}, {"lparen", OPEN('(')}, {"rparen", CLOSE(')')},
    {"lfloor", OPEN('f')}, {"rfloor", CLOSE('f')}, {"lceil", OPEN('c')}, {"rceil", CLOSE('c')}, {"mid", TOKEN_BAR, 0, NULL}, {"vert", TOKEN_BAR, 0, NULL}, {"lvert", TOKEN_BAR, 'l', NULL}, {"rvert", TOKEN_BAR, 'r', NULL}, {"Vert", TOKEN_BAR, 0, NULL},
    {"land", TOKEN_JOIN, 'a', NULL}, {"wedge", TOKEN_JOIN, 'a', NULL}, {"lor", TOKEN_JOIN, 'o', NULL}, {"vee", TOKEN_JOIN, 'o', NULL},
    {"sum", TOKEN_BIG, 's', NULL}, {"prod", TOKEN_BIG, 'p', NULL}, {"ldots", TOKEN_DOTS, 0, NULL}, {"dots", TOKEN_DOTS, 0, NULL}, {"cdots", TOKEN_DOTS, 0, NULL}, {"dotsc", TOKEN_DOTS, 0, NULL},
    {"emptyset", TOKEN_SET_NAME, 0, NULL}, {"varnothing", TOKEN_SET_NAME, 0, NULL}, {"O", TOKEN_SET_NAME, 0, NULL}, {"R", TOKEN_SET_NAME, 'R', NULL}, {"Reals", TOKEN_SET_NAME, 'R', NULL}, {"reals", TOKEN_SET_NAME, 'R', NULL}, {"N", TOKEN_SET_NAME, 'N', NULL}, {"Z", TOKEN_SET_NAME, 'Z', NULL}, {"Q", TOKEN_SET_NAME, 'Q', NULL},
    {"circ", TOKEN_DEGREE, 0, NULL}, {"degree", TOKEN_DEGREE, 0, NULL}, {"prime", TOKEN_PRIME, 0, NULL},
    {"overline", TOKEN_ACCENT, 'o', NULL}, {"bar", TOKEN_ACCENT, 'o', NULL}, {"dot", TOKEN_ACCENT, 'o', NULL}, {"hat", TOKEN_ACCENT, 'h', NULL}, {"widehat", TOKEN_ACCENT, 'h', NULL}, {"vec", TOKEN_ACCENT, 'v', NULL}, {"overrightarrow", TOKEN_ACCENT, 'v', NULL}, {"tilde", TOKEN_ACCENT, 't', NULL}, {"underline", TOKEN_ACCENT, 'u', NULL},
    {"arccos", F(ACOS)}, {"arcsin", F(ASIN)}, {"arctan", F(ATAN)}, {"arccot", F(ACOT)}, {"sin", F(SIN)}, {"cos", F(COS)}, {"tan", F(TAN)}, {"cot", F(COT)}, {"sec", F(SEC)}, {"csc", F(CSC)}, {"tg", F(TAN)}, {"ctg", F(COT)},
    {"sinh", F(SINH)}, {"cosh", F(COSH)}, {"tanh", F(TANH)}, {"coth", F(COTH)}, {"log", F(LOG)}, {"ln", F(LN)}, {"lg", F(LG)}, {"exp", F(EXP)}, {"gcd", F(GCD)}, {"min", F(MIN)}, {"max", F(MAX)}, {"det", F(DET)}, {"arg", F(ARG)}, {"Re", F(RE)}, {"Im", F(IM)}, {"bmod", F(MOD)}, {"pmod", F(MOD)}, {"mod", F(MOD)}, {"lcm", F(LCM)},
    {"alpha", NAME("alpha")}, {"beta", NAME("beta")}, {"gamma", NAME("gamma")}, {"delta", NAME("delta")}, {"epsilon", NAME("epsilon")}, {"varepsilon", NAME("epsilon")}, {"zeta", NAME("zeta")}, {"eta", NAME("eta")}, {"theta", NAME("theta")}, {"vartheta", NAME("theta")}, {"iota", NAME("iota")}, {"kappa", NAME("kappa")}, {"lambda", NAME("lambda")}, {"mu", NAME("mu")}, {"nu", NAME("nu")}, {"xi", NAME("xi")}, {"rho", NAME("rho")}, {"varrho", NAME("rho")}, {"sigma", NAME("sigma")}, {"tau", NAME("tau")}, {"upsilon", NAME("upsilon")}, {"phi", NAME("phi")}, {"varphi", NAME("phi")}, {"chi", NAME("chi")}, {"psi", NAME("psi")}, {"omega", NAME("omega")},
    {"Gamma", NAME("Gamma")}, {"Delta", NAME("Delta")}, {"Theta", NAME("Theta")}, {"Lambda", NAME("Lambda")}, {"Xi", NAME("Xi")}, {"Pi", NAME("Pi")}, {"Sigma", NAME("Sigma")}, {"Phi", NAME("Phi")}, {"Psi", NAME("Psi")}, {"Omega", NAME("Omega")}, {"ell", NAME("ell")}, {"hbar", NAME("hbar")}, {"angle", NAME("angle")}, {"triangle", NAME("triangle")}, {"imath", C(I)},
    {"%", SIGN('%')}, {"{", OPEN('s')}, {"}", CLOSE('s')}, {"|", TOKEN_BAR, 0, NULL}, {"\\", SIGN('\n')}, {"$", TOKEN_CURRENCY, 0, NULL}, {"_", SIGN('_')}, {"cr", SIGN('\n')},
    {"pounds", TOKEN_CURRENCY, 0, NULL}, {"euro", TOKEN_CURRENCY, 0, NULL},
};

/* Characters beyond ASCII.  kind TOKEN_END: white space. */
static const struct entry characters[] = {
    {"\xc2\xa0", TOKEN_END, 0, NULL}, {"\xe2\x80\x89", TOKEN_END, 0, NULL}, {"\xe2\x80\xaf", TOKEN_END, 0, NULL}, {"\xe3\x80\x80", TOKEN_END, 0, NULL}, {"\xe2\x80\x8b", TOKEN_END, 0, NULL}, {"\xe2\x81\xa1", TOKEN_END, 0, NULL}, {"\xe2\x81\xa2", TOKEN_END, 0, NULL},
    {"×", SIGN('*')}, {"·", SIGN('*')}, {"⋅", SIGN('*')}, {"∙", SIGN('*')}, {"∗", SIGN('*')}, {"÷", SIGN('/')}, {"∕", SIGN('/')}, {"⁄", SIGN('/')}, {"−", SIGN('-')}, {"–", SIGN('-')}, {"±", SIGN('p')}, {"∓", SIGN('q')},
    {"∪", SIGN('u')}, {"⋃", SIGN('u')}, {"∩", SIGN('n')}, {"∖", SIGN('d')}, {"％", SIGN('%')}, {"，", SIGN(',')}, {"、", SIGN(',')}, {"；", SIGN(';')}, {"：", SIGN(':')}, {"√", F(SQRT)}, {"∛", TOKEN_FUNCTION, FUNCTION_SQRT, "3"}, {"∑", TOKEN_BIG, 's', NULL}, {"∏", TOKEN_BIG, 'p', NULL},
    {"≤", R(LESS_EQUAL)}, {"⩽", R(LESS_EQUAL)}, {"≥", R(GREATER_EQUAL)}, {"⩾", R(GREATER_EQUAL)}, {"≠", R(UNEQUAL)}, {"≈", R(ABOUT)}, {"∈", R(IN)}, {"＝", R(EQUAL)}, {"≡", R(EQUAL)}, {"→", R(EQUAL)}, {"⇒", R(EQUAL)},
    {"∞", C(INFINITY)}, {"π", C(PI)}, {"°", TOKEN_DEGREE, 0, NULL}, {"º", TOKEN_DEGREE, 0, NULL}, {"∘", TOKEN_DEGREE, 0, NULL}, {"′", TOKEN_PRIME, 0, NULL}, {"’", TOKEN_PRIME, 0, NULL}, {"…", TOKEN_DOTS, 0, NULL}, {"⋯", TOKEN_DOTS, 0, NULL},
    {"（", OPEN('(')}, {"）", CLOSE(')')}, {"［", OPEN('[')}, {"］", CLOSE(']')}, {"⟨", OPEN('(')}, {"⟩", CLOSE(')')}, {"⌊", OPEN('f')}, {"⌋", CLOSE('f')}, {"⌈", OPEN('c')}, {"⌉", CLOSE('c')}, {"∣", TOKEN_BAR, 0, NULL}, {"∧", TOKEN_JOIN, 'a', NULL}, {"∨", TOKEN_JOIN, 'o', NULL},
    {"ℝ", TOKEN_SET_NAME, 'R', NULL}, {"ℤ", TOKEN_SET_NAME, 'Z', NULL}, {"ℕ", TOKEN_SET_NAME, 'N', NULL}, {"ℚ", TOKEN_SET_NAME, 'Q', NULL}, {"ℂ", TOKEN_SET_NAME, 'C', NULL}, {"∅", TOKEN_SET_NAME, 0, NULL},
    {"£", TOKEN_CURRENCY, 0, NULL}, {"€", TOKEN_CURRENCY, 0, NULL}, {"¥", TOKEN_CURRENCY, 0, NULL}, {"₹", TOKEN_CURRENCY, 0, NULL}, {"￥", TOKEN_CURRENCY, 0, NULL},
    {"½", TOKEN_VULGAR, 0x12, NULL}, {"⅓", TOKEN_VULGAR, 0x13, NULL}, {"⅔", TOKEN_VULGAR, 0x23, NULL}, {"¼", TOKEN_VULGAR, 0x14, NULL}, {"¾", TOKEN_VULGAR, 0x34, NULL}, {"⅕", TOKEN_VULGAR, 0x15, NULL}, {"⅖", TOKEN_VULGAR, 0x25, NULL}, {"⅗", TOKEN_VULGAR, 0x35, NULL}, {"⅘", TOKEN_VULGAR, 0x45, NULL}, {"⅙", TOKEN_VULGAR, 0x16, NULL}, {"⅚", TOKEN_VULGAR, 0x56, NULL}, {"⅐", TOKEN_VULGAR, 0x17, NULL}, {"⅛", TOKEN_VULGAR, 0x18, NULL}, {"⅜", TOKEN_VULGAR, 0x38, NULL}, {"⅝", TOKEN_VULGAR, 0x58, NULL}, {"⅞", TOKEN_VULGAR, 0x78, NULL}, {"⅑", TOKEN_VULGAR, 0x19, NULL},
    {"α", NAME("alpha")}, {"β", NAME("beta")}, {"γ", NAME("gamma")}, {"δ", NAME("delta")}, {"ε", NAME("epsilon")}, {"θ", NAME("theta")}, {"λ", NAME("lambda")}, {"μ", NAME("mu")}, {"ρ", NAME("rho")}, {"σ", NAME("sigma")}, {"τ", NAME("tau")}, {"φ", NAME("phi")}, {"ϕ", NAME("phi")}, {"χ", NAME("chi")}, {"ψ", NAME("psi")}, {"ω", NAME("omega")}, {"Δ", NAME("Delta")}, {"Σ", NAME("Sigma")}, {"Ω", NAME("Omega")}, {"∠", NAME("angle")}, {"𝑥", NAME("x")}, {"𝑦", NAME("y")}, {"ⅈ", C(I)},
    {"或", TOKEN_JOIN, 'o', NULL}, {"和", TOKEN_JOIN, 'a', NULL}, {"与", TOKEN_JOIN, 'a', NULL}, {"и", TOKEN_JOIN, 'a', NULL},
};
// clang-format on

#undef F
#undef R
#undef C
#undef SIGN
#undef OPEN
#undef CLOSE
#undef NAME

/* The text is the table's own, never the caller's, which may not live as long as the token. */
static bool found(const struct entry *entry, struct token *out)
{
    out->kind = entry->kind;
    out->id = entry->id;
    out->text = cn_text(entry->text ? entry->text : entry->name);
    return true;
}

/* The first byte picks the candidates; the tables are short and hot in the cache. */
static bool look_up(const struct entry *table, size_t n, struct cn_text text, struct token *out)
{
    if (!text.length) return false;
    for (size_t i = 0; i < n; i++)
        if (table[i].name[0] == text.data[0] && cn_text_is(text, table[i].name))
            return found(&table[i], out);
    return false;
}

/* The word in lower case; false: it is too long to be in a table. */
static bool in_lower_case(struct cn_text word, char out[16])
{
    if (word.length >= 16) return false;
    for (size_t i = 0; i < word.length; i++)
        out[i] =
            word.data[i] >= 'A' && word.data[i] <= 'Z' ? (char)(word.data[i] + 32) : word.data[i];
    return true;
}

bool word_token(struct cn_text word, struct token *out)
{
    char lower[16];
    if (!in_lower_case(word, lower)) return false;
    /* "Re", "IM" and "OO" are initials more often than functions */
    if (word.length == 2 && word.data[0] != lower[0]) return false;
    return look_up(words, sizeof words / sizeof *words, (struct cn_text){lower, word.length}, out);
}

int part_word(struct cn_text word)
{
    char lower[16];
    struct token token = {.id = 0};
    if (in_lower_case(word, lower))
        look_up(parts, sizeof parts / sizeof *parts, (struct cn_text){lower, word.length}, &token);
    return token.id;
}

bool command_token(struct cn_text name, struct token *out)
{
    return look_up(commands, sizeof commands / sizeof *commands, name, out);
}

size_t character_token(struct cn_text text, size_t at, struct token *out)
{
    unsigned char first = (unsigned char)text.data[at];
    size_t length = first < 0xc2 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : first < 0xf5 ? 4 : 1;
    if (length > text.length - at) length = 1;
    const struct cn_text character = {text.data + at, length};
    out->kind = TOKEN_UNKNOWN;
    out->id = 0;
    out->text = character;
    if (length > 1) look_up(characters, sizeof characters / sizeof *characters, character, out);
    return length;
}
