/* Added tokens: whole strings of a text that are tokens by themselves ("<|im_end|>"), found before
 * anything else.
 *
 * Hugging Face finds those with normalized=false in the text as it came, then the others in what is
 * left after normalisation; at each place the longest one wins and the search goes on behind it. */
#ifndef CARNOT_TEXT_ADDED_H
#define CARNOT_TEXT_ADDED_H

#include "carnot/str.h"

/* Flags as in tokenizer.json. */
struct added_token {
    int32_t id;
    struct cn_text content; /* in the set's own pool */
    struct cn_text needle;  /* what is searched for: content, normalised if `normalized` */
    bool special, normalized, single_word, lstrip, rstrip;
};

struct added_set {
    struct added_token *token; /* in the order of the file */
    size_t count;
    struct added_token **sorted[2]; /* by needle, bytewise; [normalized] */
    size_t n_sorted[2];
    bool first[2][256]; /* whether a needle begins with this byte */
    struct cn_str pool;
};

/* A run of bytes in which no added token may be found: text of a user, not of the template. */
struct added_guard {
    size_t begin, end;
};

/* Where a search stands; zero-initialise but for `normalized`, `text` and the guards (ascending,
 * without overlap). */
struct added_search {
    bool normalized; /* which half of the set */
    struct cn_text text;
    const struct added_guard *guard;
    size_t n_guards;
    size_t at,
        taken; /* where to look next; end of the last match with the white space that it took */
};

struct added_match {
    const struct added_token *token;
    size_t begin, end; /* with the white space that lstrip and rstrip take along */
};

/* Sorts the tokens for searching; their `needle`s are set.  Fails: CN_ERR_MEMORY. */
enum cn_status added_index(struct added_set *set);
void added_free(struct added_set *set);

/* Finds the next added token; false if there is none. */
bool added_next(const struct added_set *set, struct added_search *search,
                struct added_match *match);

/* The token with this id, or NULL. */
const struct added_token *added_find(const struct added_set *set, int32_t id);

#endif
