/* The letters and words of JSON: blanks, strings and numbers of a text, with the place of every
 * complaint. */
#ifndef CARNOT_JSON_LEX_H
#define CARNOT_JSON_LEX_H

#include "carnot/str.h"

struct json_lexer {
    const char *start, *at, *end;
    const char *name; /* of the text, for messages */
    bool relaxed;     /* comments are blanks */
    bool one_line;    /* the name says which line of a file the text is */
    const char *counted_to;
    size_t line; /* of counted_to, from 1 */
};

/* Fails with "name:line:column: what", or "name, column N: what" for a text of one line. */
enum cn_status json_lex_complain(const struct json_lexer *lexer, const char *place,
                                 const char *what);

/* Line of `place`, which must not lie before the place of an earlier call. */
size_t json_lex_line(struct json_lexer *lexer, const char *place);

enum cn_status json_lex_blanks(struct json_lexer *lexer);

/* The string whose opening quote is at lexer->at, decoded; *out is from malloc and ends in zero. */
enum cn_status json_lex_string(struct json_lexer *lexer, char **out, size_t *out_length);

enum cn_status json_lex_number(struct json_lexer *lexer, double *out);

/* Length of the UTF-8 character at `c`, 0 if the bytes are not one (overlong forms and surrogates
 * included). */
size_t json_utf8_length(const unsigned char *c, const unsigned char *end);

#endif
