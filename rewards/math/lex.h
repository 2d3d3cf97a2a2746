/* What the files of the tokenizer share: the cursor in the text and the tokens so far. */
#ifndef REWARDS_MATH_LEX_H
#define REWARDS_MATH_LEX_H

#include "tree.h"

#include <string.h>

struct lexer {
    struct tree *tree;
    struct cn_text text;
    size_t at;
    int nested; /* open ( [ \{ : a plain comma inside separates */
    bool space, roman;
    bool outside; /* of $...$ */
    bool system;  /* of equations: \left\{ without its other side */
    bool lines;   /* in \begin{cases} or the like: a row end separates, & aligns */
    enum commas commas;
    enum fault fault;
};

static inline bool lex_digit(char c)
{
    return c >= '0' && c <= '9';
}

static inline bool lex_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static inline bool lex_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static inline char lex_peek(const struct lexer *l, size_t ahead)
{
    return l->at + ahead < l->text.length ? l->text.data[l->at + ahead] : 0;
}

static inline bool lex_has(const struct lexer *l, const char *what)
{
    size_t n = strlen(what);
    return l->text.length - l->at >= n && memcmp(l->text.data + l->at, what, n) == 0;
}

void lex_put(struct lexer *l, const struct token *token);
void lex_command(struct lexer *l); /* lex_command.c: what a backslash begins, with its arguments */

#endif
