/* What a tokenizer says of its ids, as bits: all that plug-ins learn of text. */
#ifndef CARNOT_TOKEN_FACTS_H
#define CARNOT_TOKEN_FACTS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum {
    CN_TOKEN_SPECIAL = 1, /* marked "special" in tokenizer.json: never text of an answer */
    CN_TOKEN_SHORT = 2    /* decoded alone and stripped of white space: at most one character */
};

/* Read-only view: bits (n) by id; borrowed. */
struct cn_token_facts {
    const uint8_t *bits;
    size_t n;
};

/* The bits of an id.  One beyond the vocabulary, which a model can sample if its embedding is
 * padded, has no text and is short. */
static inline unsigned cn_token_bits(const struct cn_token_facts *facts, int32_t id)
{
    const unsigned beyond = CN_TOKEN_SHORT;
    return id >= 0 && (size_t)id < facts->n ? facts->bits[id] : beyond;
}

#ifdef __cplusplus
}
#endif
#endif
