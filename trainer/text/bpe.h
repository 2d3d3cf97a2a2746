/* Byte-pair encoding of one piece of text: start with one token per byte and merge, again and
 * again, the neighbours whose merge has the lowest rank, the leftmost first, until none can merge.
 * Sennrich et al. 2016, "Neural Machine Translation of Rare Words with Subword Units". */
#ifndef CARNOT_TEXT_BPE_H
#define CARNOT_TEXT_BPE_H

#include "carnot/tokenizer.h"
#include "vocab.h"

struct bpe_cache_line;
struct bpe_scratch;

struct bpe {
    const struct vocab *vocab; /* borrowed */
    bool ignore_merges;        /* a piece that is a token stays whole even if no merges make it */
    bool fuse_unknown;
    int32_t unknown; /* token of bytes that the vocabulary lacks; VOCAB_NONE: they vanish, as in
                        Hugging Face */
    struct bpe_cache_line *cache;
    struct bpe_scratch *scratch;
};

/* Sets up cache and scratch; the other fields are the caller's.  Fails: CN_ERR_MEMORY. */
enum cn_status bpe_open(struct bpe *bpe);
void bpe_close(struct bpe *bpe);

/* Appends the ids of one piece.  Fails: CN_ERR_MEMORY. */
enum cn_status bpe_piece(struct bpe *bpe, struct cn_text piece, struct cn_ids *out);

#endif
