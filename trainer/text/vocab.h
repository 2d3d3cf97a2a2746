/* The table of tokens of a byte-level BPE model: id -> bytes, bytes -> id, and which two tokens
 * merge into which.
 *
 * tokenizer.json writes a token's bytes as printable characters (GPT-2's map: the byte itself where
 * it is printable in Latin-1, else 256 + a counter; byte 0x20 is U+0120).  The table holds the
 * bytes.  A token with a character outside that map can never come out of a text; it is kept as it
 * is written, for decoding and as an added token. */
#ifndef CARNOT_TEXT_VOCAB_H
#define CARNOT_TEXT_VOCAB_H

#include "scan.h"

enum { VOCAB_ID_MAX = 1 << 24, VOCAB_NONE = -1 };

/* Rank of a merge and what it makes; rank UINT32_MAX: the two do not merge. */
struct vocab_merge {
    uint32_t rank;
    int32_t id;
};

struct vocab_token {
    size_t start; /* of its bytes in `pool` */
    uint32_t length;
    bool present, mapped, added, special; /* mapped: its characters stand for bytes */
};

struct vocab_pair {
    uint64_t key; /* left id << 32 | right id; UINT64_MAX: free */
    struct vocab_merge merge;
};

struct vocab {
    struct cn_str pool;
    struct vocab_token *token; /* by id */
    size_t size, capacity;     /* largest id + 1 */
    size_t n_model;            /* entries of model.vocab */
    uint32_t *slot;            /* hash of bytes -> id + 1, 0: free */
    size_t slot_mask;
    struct vocab_pair *pair; /* hash of merges */
    size_t pair_mask, n_pairs;
    int32_t byte_id[256]; /* token of a single byte, VOCAB_NONE if the vocabulary has none */
};

/* Reads model.vocab and model.merges ("a b" strings or ["a", "b"] pairs) from their raw JSON text,
 * which stands in file `name` that begins at `origin`. Fails: CN_ERR_DATA for an id used twice or
 * too large, a token listed twice, a merge of unknown tokens. */
enum cn_status vocab_read(struct vocab *vocab, struct cn_text vocab_json,
                          struct cn_text merges_json, const char *name, const char *origin);
void vocab_free(struct vocab *vocab);

/* Adds a token with plain text (an added token).  Fails: CN_ERR_DATA if the id is taken by another.
 */
enum cn_status vocab_add(struct vocab *vocab, int32_t id, struct cn_text content);

/* Fails with CN_ERR_DATA if an id below the largest has no token. */
enum cn_status vocab_check_holes(const struct vocab *vocab, const char *name);

/* Id of the token with these bytes, VOCAB_NONE if there is none. */
int32_t vocab_find(const struct vocab *vocab, struct cn_text bytes);

/* Id of the token that tokenizer.json writes as `written`, VOCAB_NONE if there is none. */
int32_t vocab_find_written(const struct vocab *vocab, struct cn_text written);

struct cn_text vocab_bytes(const struct vocab *vocab, int32_t id);

/* A hash of bytes; equal on every machine with the same byte order. */
uint64_t vocab_hash(const char *data, size_t length);

/* Character that stands for a byte in tokenizer.json. */
uint32_t vocab_char_of_byte(unsigned byte);

static inline struct vocab_merge vocab_merge(const struct vocab *vocab, int32_t left, int32_t right)
{
    uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t i = (size_t)((key * 0x9E3779B97F4A7C15u) >> 32);; i++) {
        const struct vocab_pair *pair = &vocab->pair[i & vocab->pair_mask];
        if (pair->key == key) return pair->merge;
        if (pair->key == UINT64_MAX) return (struct vocab_merge){UINT32_MAX, VOCAB_NONE};
    }
}

#endif
