/* An answer as a tree: what the tokenizer and the parser make of a text, within fixed limits.
 *
 *     text -> tokens (lex.c) -> tree (parse*.c) -> exact, field or ball values -> comparison
 *
 * Nothing here allocates but the numbers of FLINT; a tree is plain memory of the caller that is
 * reset by parse_text and given back by tree_clear. */
#ifndef REWARDS_MATH_TREE_H
#define REWARDS_MATH_TREE_H

#include "numbers.h"

#include "carnot/str.h"

enum {
    LIMIT_TEXT = 2048,   /* bytes of an answer */
    LIMIT_TOKENS = 512,  /* of one answer */
    LIMIT_NODES = 256,   /* of one tree, cells of a matrix aside */
    LIMIT_DEPTH = 64,    /* of brackets and powers */
    LIMIT_DIGITS = 1000, /* of one number */
    LIMIT_LIST = 64,     /* members of a list, set, tuple, union or chain */
    LIMIT_MATRIX = 16,   /* rows, columns */
    LIMIT_NAMES = 48,    /* different variables of both answers together */
    LIMIT_NAME = 24,     /* bytes of a variable's name */
    LIMIT_BITS = 8192,   /* of an exact number */
    LIMIT_TERMS = 10000, /* of a sum or product */
    LIMIT_OPS = 20000,   /* primitive evaluations of one comparison */
    NODES_ROOM = LIMIT_NODES + 2 * LIMIT_MATRIX * LIMIT_MATRIX
};

/* ---- tokens -------------------------------------------------------------- */

enum token_kind {
    TOKEN_END,
    TOKEN_NUMBER,   /* text: the digits as written */
    TOKEN_NAME,     /* one variable; text: its name */
    TOKEN_WORD,     /* letters that are no known word */
    TOKEN_TEXT,     /* what stood in \text{...} and is no known word */
    TOKEN_COUNT,    /* a number word; id: its value */
    TOKEN_SCALE,    /* hundred, thousand ...; id: power of ten */
    TOKEN_CONSTANT, /* id: enum constant */
    TOKEN_FUNCTION, /* id: enum function */
    TOKEN_FRACTION, /* \frac */
    TOKEN_VULGAR,   /* one character such as a half; id: numerator * 16 + denominator */
    TOKEN_ACCENT,   /* \overline, \hat ... */
    TOKEN_BIG,      /* id: 's' sum, 'p' product */
    TOKEN_SET_NAME, /* id: 'R', 'Z' ...; 0 is the empty set */
    TOKEN_BEGIN,    /* \begin{matrix}; id: its bracket */
    TOKEN_FINISH,   /* \end{matrix} */
    TOKEN_CURRENCY,
    TOKEN_DEGREE,
    TOKEN_PRIME,
    TOKEN_DOTS,
    TOKEN_JOIN,     /* and, or; id: 'o' or 'a' */
    TOKEN_RELATION, /* id: enum relation */
    TOKEN_OPEN,     /* id: ( [ { (a group) s (a set) f (floor) c (ceiling) */
    TOKEN_CLOSE,    /* id: ) ] } s f c */
    TOKEN_BAR,
    TOKEN_SIGN,   /* id: + - * / ^ _ ! % , ; : & \n (row end) u (union) n (intersection)
                   * d (difference) p (plus or minus) q (minus or plus) O (\over) C (\choose) */
    TOKEN_UNKNOWN /* a command that nobody here knows */
};

enum constant { CONSTANT_PI, CONSTANT_E, CONSTANT_I, CONSTANT_INFINITY };

enum relation {
    RELATION_NONE,
    RELATION_EQUAL,
    RELATION_UNEQUAL,
    RELATION_LESS,
    RELATION_GREATER,
    RELATION_LESS_EQUAL,
    RELATION_GREATER_EQUAL,
    RELATION_IN,
    RELATION_ABOUT
};

// clang-format off
#define FUNCTIONS(X) \
    X(SQRT, "sqrt") X(ABS, "abs") X(FLOOR, "floor") X(CEIL, "ceil") X(EXP, "exp") X(LN, "ln") X(LOG, "log") X(LG, "lg") \
    X(SIN, "sin") X(COS, "cos") X(TAN, "tan") X(COT, "cot") X(SEC, "sec") X(CSC, "csc") \
    X(ASIN, "arcsin") X(ACOS, "arccos") X(ATAN, "arctan") X(ACOT, "arccot") X(ASEC, "arcsec") X(ACSC, "arccsc") \
    X(SINH, "sinh") X(COSH, "cosh") X(TANH, "tanh") X(COTH, "coth") X(ASINH, "arsinh") X(ACOSH, "arcosh") X(ATANH, "artanh") \
    X(GCD, "gcd") X(LCM, "lcm") X(MIN, "min") X(MAX, "max") X(BINOM, "binom") X(MOD, "mod") X(DET, "det") X(FACTORIAL, "factorial") \
    X(RE, "re") X(IM, "im") X(ARG, "arg") X(CONJ, "conj") X(SGN, "sgn")
// clang-format on
enum function {
#define X(name, text) FUNCTION_##name,
    FUNCTIONS(X)
#undef X
        FUNCTION_COUNT
};

struct token {
    uint8_t kind, id;
    bool space; /* white space stood before it */
    bool roman; /* it stood in \text or \mathrm */
    struct cn_text text;
};

/* ---- trees --------------------------------------------------------------- */

enum node_kind {
    NODE_NUMBER,   /* value, digits, significant */
    NODE_SYMBOL,   /* id: index of the name */
    NODE_CONSTANT, /* id: enum constant */
    NODE_ADD,
    NODE_SUBTRACT,
    NODE_MULTIPLY,
    NODE_DIVIDE,
    NODE_NEGATE,
    NODE_POWER,
    NODE_CALL,  /* id: enum function; children: arguments (LOG: argument, base; SQRT: argument,
                 * degree) */
    NODE_APPLY, /* an unknown function; id: index of its name; child: argument */
    NODE_SUM,   /* id: index of the running name; children: from, to, body */
    NODE_PRODUCT,
    NODE_PLUS_MINUS, /* children: a, b; flag: minus first */
    NODE_PERCENT,
    NODE_UNIT,       /* child; tokens [unit, unit_end) */
    NODE_BASE,       /* digits as written: token; id: base */
    NODE_RATIO,      /* a : b */
    NODE_PROPORTION, /* a : b : c ... */
    NODE_TUPLE,      /* flag: the bracket, '(' or '[' */
    NODE_LIST,       /* bare: flag 'o' if joined by or */
    NODE_SET,
    NODE_INTERVAL, /* children: ends; flag: OPEN_LEFT, OPEN_RIGHT */
    NODE_SET_NAME, /* id as the token's */
    NODE_UNION,
    NODE_INTERSECTION,
    NODE_DIFFERENCE,
    NODE_MATRIX,   /* id: rows, flag: columns; children: cells, row by row; unit: the bracket */
    NODE_RELATION, /* chain of operands; the relation before each is its field `relation`;
                    * flag SET_BUILDER: the condition of {x | ...} */
    NODE_TEXT      /* token */
};

enum { OPEN_LEFT = 1, OPEN_RIGHT = 2, SET_BUILDER = 1 };

struct node {
    uint8_t kind, id, flag, relation;
    bool paren;          /* it stood in round brackets */
    int16_t child, next; /* first child, next sibling; -1: none */
    int16_t digits;      /* of a number: digits behind the point; -1: no point */
    int16_t significant; /* of a number: digits from the first that is not 0 */
    int16_t unit, unit_end;
    fmpq value;
};

/* Names of variables, shared by the trees that are compared. */
struct names {
    size_t n;
    char text[LIMIT_NAMES][LIMIT_NAME];
};

struct tree {
    struct cn_text text;
    struct token token[LIMIT_TOKENS + 1];
    struct node node[NODES_ROOM];
    int16_t n_tokens, n_nodes, root; /* root -1: not parsed */
    struct names *names;
    bool answers;       /* an answer, not the known one: its words multiply known names only */
    bool dots;          /* a list leaves members out */
    bool comma_unclear; /* a comma may part a list or be a decimal comma ("1,22") */
};

enum fault { FAULT_NONE, FAULT_SYNTAX, FAULT_UNBALANCED, FAULT_TOO_LARGE };

/* How a comma between digits is read where both readings are possible. */
enum commas { COMMAS_SEPARATE, COMMAS_DECIMAL };

/* Reads a text; names are added to `names`.  After any result, tree_clear gives the numbers back.
 */
enum fault parse_text(struct cn_text text, enum commas commas, struct names *names,
                      struct tree *tree);
void tree_clear(struct tree *tree);

/* The tokenizer alone: fills token and n_tokens. */
enum fault lex_text(struct tree *tree, enum commas commas);

/* Drops what stands around an answer: white space, $...$, \(...\), bold marks, quotes, a full stop.
 */
struct cn_text trim_answer(struct cn_text text);
struct cn_text trim_spaces(struct cn_text text); /* white space and ties (~) only */

/* A word or command of the tables in words.c; false: unknown. */
bool word_token(struct cn_text word, struct token *out);
bool command_token(struct cn_text name, struct token *out);
int part_word(struct cn_text word); /* "thirds": 3; 0: no such word */
/* The character at `at` that is not ASCII: its length, and its token (kind TOKEN_END: white space,
 * TOKEN_UNKNOWN: a letter of a word or something else). */
size_t character_token(struct cn_text text, size_t at, struct token *out);

/* Number as written, without its sign.  Fails: FAULT_SYNTAX, FAULT_TOO_LARGE. */
enum fault number_value(struct cn_text text, struct node *out);

/* The digit that Unicode raises at `at`, -1: none; and the bytes of a run of them, a minus in front
 * of it included, 0: none. */
enum { RAISED_MINUS = 3 }; /* bytes of that minus */
int raised_digit(struct cn_text text, size_t at);
size_t raised_length(struct cn_text text, size_t at, bool *minus);

/* Length of the number at `at`, 0: none; *unclear is set where a comma can be read both ways.
 * nested: inside brackets, where a plain comma separates. */
size_t number_length(struct cn_text text, size_t at, enum commas commas, bool nested,
                     bool *unclear);

static inline int16_t tree_child(const struct tree *tree, int16_t node, int k)
{
    int16_t at = tree->node[node].child;
    while (k-- > 0 && at >= 0)
        at = tree->node[at].next;
    return at;
}

static inline int tree_count(const struct tree *tree, int16_t node)
{
    int n = 0;
    for (int16_t at = tree->node[node].child; at >= 0; at = tree->node[at].next)
        n++;
    return n;
}

#endif
