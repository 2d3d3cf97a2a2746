/* Cuts a text into the pieces that BPE works on, as the "pre_tokenizer" of tokenizer.json says: a
 * sequence of splits by regular expressions, each applied to the pieces of the one before. */
#ifndef CARNOT_TEXT_PRETOKENIZE_H
#define CARNOT_TEXT_PRETOKENIZE_H

#include "bpe.h"
#include "carnot/json.h"

enum { PRETOKENIZE_STAGES = 16 };

struct pretokenize_stage; /* a compiled pattern */

struct pretokenize {
    struct pretokenize_stage *stage[PRETOKENIZE_STAGES];
    size_t count;
    bool bytes; /* a ByteLevel step was seen: nothing may follow it */
};

/* Reads the description.  Supported: Sequence, Split (Regex or String, behavior Isolated), Digits,
 * ByteLevel (last). Fails: CN_ERR_DATA naming the key and what is not supported; CN_ERR_MEMORY. */
enum cn_status pretokenize_open(struct pretokenize *pretokenize, const struct cn_json *description);
void pretokenize_close(struct pretokenize *pretokenize);

/* Cuts `text` (UTF-8) and appends the ids of every piece.  Fails: CN_ERR_MEMORY, CN_ERR_DATA (a
 * pattern that gave up). */
enum cn_status pretokenize_run(struct pretokenize *pretokenize, struct bpe *bpe,
                               struct cn_text text, struct cn_ids *out);

/* Translates a pattern from the dialect of Hugging Face (Oniguruma) to PCRE2's where they agree on
 * the meaning. Fails: CN_ERR_DATA naming the construct for anything else. */
enum cn_status pretokenize_translate(struct cn_text pattern, struct cn_str *out);

#endif
