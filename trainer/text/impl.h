/* What the files of this folder share about an open tokenizer. */
#ifndef CARNOT_TEXT_IMPL_H
#define CARNOT_TEXT_IMPL_H

#include "added.h"
#include "bpe.h"
#include "carnot/json.h"
#include "carnot/tokenizer.h"
#include "pretokenize.h"
#include "template.h"
#include "vocab.h"

/* Files of a folder that describe its tokenizer; all but the first are optional.  name, file,
 * copied by save */
#define TOKENIZER_FILES(X)                                                                         \
    X(TOKENIZER, "tokenizer.json", true)                                                           \
    X(CONFIG, "tokenizer_config.json", true)                                                       \
    X(TEMPLATE, "chat_template.jinja", true)                                                       \
    X(SPECIAL, "special_tokens_map.json", true)                                                    \
    X(GENERATION, "generation_config.json", true)                                                  \
    X(MODEL, "config.json", false)

enum tokenizer_file {
#define X(name, file, copied) FILE_##name,
    TOKENIZER_FILES(X)
#undef X
        FILE_COUNT
};

struct cn_tokenizer {
    struct cn_str folder;           /* for messages */
    struct cn_str file[FILE_COUNT]; /* contents; empty: not there */
    struct vocab vocab;
    struct added_set added;
    struct pretokenize pretokenize;
    struct bpe bpe;
    bool nfc;
    struct chat_template chat;
    struct cn_ids stops;
    int32_t end;                        /* end: closes an assistant turn in training; -1: none */
    struct cn_str repaired, normalized; /* scratch of encode */
};

const char *tokenizer_file_name(enum tokenizer_file file);

/* Builds everything from `file`; template_name as in cn_tokenizer_open. */
enum cn_status tokenizer_build(struct cn_tokenizer *tokenizer, const char *template_name);

/* The parts of that: tokenizer.json, then the small files beside it. */
enum cn_status tokenizer_build_model(struct cn_tokenizer *tokenizer);
enum cn_status tokenizer_build_config(struct cn_tokenizer *tokenizer, const char *template_name);

/* Encodes `text`, which must be UTF-8 where there are guards; no added token is recognised inside a
 * guard. */
enum cn_status tokenizer_encode(struct cn_tokenizer *tokenizer, struct cn_text text,
                                bool parse_special, const struct chat_guards *guards,
                                struct cn_ids *out);

#endif
