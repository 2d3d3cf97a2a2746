/* The parser's number words: "twenty-one", "five million", "two thirds", "three and a half". */
#include "parse.h"

/* "5 million": number words behind a number multiply it. */
int16_t parse_scaled(struct parser *p, int16_t node)
{
    while (node >= 0 && parse_is(p, TOKEN_SCALE, -1)) {
        fmpz_t scale;
        struct node *number = &p->tree->node[node];
        if (fmpz_bits(fmpq_numref(&number->value)) > LIMIT_BITS)
            return parse_fail(p, FAULT_TOO_LARGE);
        fmpz_init_set_ui(scale, 10);
        fmpz_pow_ui(scale, scale, parse_peek(p)->id);
        fmpq_mul_fmpz(&number->value, &number->value, scale);
        fmpz_clear(scale);
        number->digits = -1;
        p->at++;
    }
    return node;
}

int parse_parts(const struct token *token)
{
    bool word = token->kind == TOKEN_WORD || token->kind == TOKEN_TEXT;
    return word ? part_word(token->text) : 0;
}

int16_t parse_part(struct parser *p, long count)
{
    int parts = parse_parts(parse_peek(p));
    p->at++;
    return parse_binary(p, NODE_DIVIDE, parse_integer(p, count), parse_integer(p, parts));
}

int16_t parse_and_part(struct parser *p, int16_t whole)
{
    const struct token *token = parse_peek(p);
    if (whole < 0 || token->kind != TOKEN_JOIN || token->id != 'a') return whole;
    bool one = token[1].kind == TOKEN_NAME && cn_text_is(token[1].text, "a");
    bool count = one || token[1].kind == TOKEN_COUNT;
    if (!count || !parse_parts(token + 2)) return whole;
    p->at = (int16_t)(p->at + 2);
    return parse_binary(p, NODE_ADD, whole, parse_part(p, one ? 1 : token[1].id));
}

/* "seven", "twenty-one", "five million", "two thirds" */
static int16_t small_count(struct parser *p)
{
    long value = parse_peek(p)->id;
    p->at++;
    const struct token *next = parse_peek(p);
    bool hyphen = next->kind == TOKEN_SIGN && next->id == '-' && !next->space;
    const struct token *ones = hyphen ? next + 1 : next;
    if (parse_parts(ones)) {
        p->at = (int16_t)(p->at + hyphen);
        return parse_part(p, value);
    }
    if (value >= 20 && ones->kind == TOKEN_COUNT && ones->id > 0 && ones->id < 10) {
        value += ones->id;
        p->at = (int16_t)(p->at + 1 + hyphen);
    }
    return parse_scaled(p, parse_integer(p, value));
}

int16_t parse_count(struct parser *p)
{
    int16_t node = small_count(p);
    /* what follows a scale is smaller than it */
    while (node >= 0) {
        const struct token *next = parse_peek(p), *last = next - 1;
        bool joined = next->kind == TOKEN_JOIN && next->id == 'a' && next[1].kind == TOKEN_COUNT &&
                      !parse_parts(next + 2);
        if (last->kind != TOKEN_SCALE || (next->kind != TOKEN_COUNT && !joined)) break;
        p->at = (int16_t)(p->at + joined);
        int16_t tail = small_count(p);
        if (tail < 0) return -1;
        fmpz_t scale;
        struct node *whole = &p->tree->node[node], *rest = &p->tree->node[tail];
        fmpz_init_set_ui(scale, 10);
        fmpz_pow_ui(scale, scale, last->id);
        bool smaller = rest->kind == NODE_NUMBER && fmpq_cmp_fmpz(&rest->value, scale) < 0;
        fmpz_clear(scale);
        if (!smaller) return parse_fail(p, FAULT_SYNTAX);
        fmpq_add(&whole->value, &whole->value, &rest->value);
    }
    return parse_and_part(p, node);
}
