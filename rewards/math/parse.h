/* What the files of the parser share.  A node is named by its index; -1 is a fault, which the
 * parser has noted. */
#ifndef REWARDS_MATH_PARSE_H
#define REWARDS_MATH_PARSE_H

#include "tree.h"

struct parser {
    struct tree *tree;
    int16_t at;    /* token that comes next */
    int depth;     /* of recursion through brackets, powers and signs */
    int bars;      /* open |...| : a bar closes */
    bool no_bar;   /* in a set: a bar parts element and condition */
    bool in_angle; /* in the argument of sin, cos ...: degrees count */
    int16_t cells; /* nodes that do not count: cells of matrices */
    enum fault fault;
};

const struct token *parse_peek(const struct parser *p);
bool parse_is(const struct parser *p, enum token_kind kind, int id); /* id -1: any */
bool parse_accept(struct parser *p, enum token_kind kind, int id);   /* and step over it */
bool parse_expect(struct parser *p, enum token_kind kind, int id);   /* or a fault */
int16_t parse_fail(struct parser *p, enum fault fault);              /* -1 */
bool parse_enter(struct parser *p);                                  /* one level deeper */

int16_t parse_node(struct parser *p, enum node_kind kind, int id);
int16_t parse_adopt(struct parser *p, int16_t parent, int16_t child); /* appends; parent or -1 */
int16_t parse_binary(struct parser *p, enum node_kind kind, int16_t a, int16_t b);
int16_t parse_integer(struct parser *p, long value);
int16_t parse_symbol(struct parser *p, struct cn_text name, enum node_kind kind);

int16_t parse_relation(struct parser *p); /* a chain, or one set or expression */
int16_t parse_sum(struct parser *p);      /* terms joined by + - */
int16_t parse_term(struct parser *p);     /* factors; signs in front */
int16_t parse_power(struct parser *p);    /* one factor with exponent and what is behind it */
int16_t parse_atom(struct parser *p);     /* parse_atom.c */
int16_t parse_argument(struct parser *p); /* of \frac, ^, _: a group or one token */
/* What a bracket opens and its end restores; set: in one, a bar parts element and condition. */
struct parse_context {
    int bars;
    bool no_bar;
};
static inline struct parse_context parse_open(struct parser *p, bool set)
{
    struct parse_context before = {p->bars, p->no_bar};
    p->bars = 0;
    p->no_bar = set;
    return before;
}
static inline void parse_close(struct parser *p, struct parse_context before)
{
    p->bars = before.bars;
    p->no_bar = before.no_bar;
}

int16_t parse_bracket(struct parser *p); /* parse_group.c: ( [ \{ { | and matrices */
int16_t parse_matrix(struct parser *p);  /* parse_matrix.c */
/* An operation, cell by cell where one side or both are matrices. */
int16_t parse_operation(struct parser *p, enum node_kind kind, int16_t a, int16_t b);
int16_t parse_negate(struct parser *p, int16_t node);
int16_t parse_big(struct parser *p); /* sum and product */
int16_t parse_function(struct parser *p);
bool parse_starts_atom(const struct parser *p); /* a factor may follow without a sign */

/* parse_count.c: "two thousand three hundred and forty"; scale words behind a number; "and a half"
 * behind a whole one.  parse_parts: into how many parts the word at a token divides one, 0: none;
 * parse_part: so many of the parts that the word at the cursor names. */
int16_t parse_count(struct parser *p);
int16_t parse_scaled(struct parser *p, int16_t node);
int16_t parse_and_part(struct parser *p, int16_t whole);
int parse_parts(const struct token *token);
int16_t parse_part(struct parser *p, long count);

void parse_label(struct parser *p); /* parse_around.c: steps over one */
bool parse_starts_tail(const struct parser *p);
void parse_skip(struct parser *p); /* up to the next separator outside of brackets */
bool parse_starts_unit(const struct parser *p);
int16_t parse_unit(struct parser *p, int16_t term);
bool parse_starts_remark(const struct parser *p);
bool parse_remark(struct parser *p, int16_t node);

bool unit_known(struct cn_text word); /* units.c */

#endif
