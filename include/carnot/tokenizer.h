/* Text to ids and back: byte-level BPE of a Hugging Face tokenizer.json, and chat templates. */
#ifndef CARNOT_TOKENIZER_H
#define CARNOT_TOKENIZER_H

#include "carnot/arena.h"
#include "carnot/str.h"
#include "carnot/token_facts.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One message of a conversation; role "system", "user", "assistant" or "tool". */
struct cn_message {
    const char *role;
    struct cn_text content;
};

/* Borrowed list of messages. */
struct cn_messages {
    const struct cn_message *item;
    size_t count;
};

struct cn_ids {
    int32_t *item; /* owned by whoever zero-initialised the struct; free with cn_ids_free */
    size_t count, capacity;
};
enum cn_status cn_ids_append(struct cn_ids *ids, const int32_t *item, size_t count);
void cn_ids_free(struct cn_ids *ids);

struct cn_tokenizer;

/* Opens tokenizer.json (and tokenizer_config.json, generation_config.json, config.json where
 * present) of a folder. template_name: "auto" detects from the folder; else "chatml", "qwen2",
 * "qwen3", "llama3", "llama3.1", "smollm2", "plain". Fails: CN_ERR_DATA naming file and key for
 * anything that is not byte-level BPE or cannot be reproduced exactly. */
enum cn_status cn_tokenizer_open(const char *folder, const char *template_name,
                                 struct cn_tokenizer **out);

/* The built-in tokenizer of models trained from a random start: one token per byte (id = byte),
 * then <|pad|> 256, <|bos|> 257, <|eos|> 258; 259 of `vocab_size` >= 259 ids are used; template
 * "plain". */
enum cn_status cn_tokenizer_open_bytes(struct cn_tokenizer **out);
void cn_tokenizer_close(struct cn_tokenizer *take_tokenizer);

/* Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json so that transformers
 * loads the same thing: copies of the opened files, or those of the built-in one. */
enum cn_status cn_tokenizer_save(const struct cn_tokenizer *tokenizer, const char *folder);

size_t
cn_tokenizer_size(const struct cn_tokenizer *tokenizer); /* largest id + 1, added tokens included */
const char *cn_tokenizer_template(const struct cn_tokenizer *tokenizer);

/* Ids that end an answer (eos of tokenizer and generation config, and the template's end of turn),
 * ascending; lives as long as the tokenizer. */
const int32_t *cn_tokenizer_stops(const struct cn_tokenizer *tokenizer, size_t *count);
/* The id that closes an assistant's turn in training (the template's end of turn, else eos); -1:
 * none. */
int32_t cn_tokenizer_end(const struct cn_tokenizer *tokenizer);
bool cn_tokenizer_is_special(const struct cn_tokenizer *tokenizer, int32_t id);

/* Facts of every id below cn_tokenizer_size; they live in `arena`.  Characters are Unicode's; bytes
 * that are not UTF-8 are what a decoder makes of them, one U+FFFD for each maximal subpart: a token
 * that is a piece of one character has one character, two stray continuation bytes are two. */
enum cn_status cn_tokenizer_facts(const struct cn_tokenizer *tokenizer, struct cn_arena *arena,
                                  struct cn_token_facts *out);

/* Appends the ids of `text`; no BOS or EOS is added.  parse_special: added tokens in the text are
 * recognised, as Hugging Face does; otherwise their text is plain text.  Bytes that are not UTF-8
 * are replaced by U+FFFD. */
enum cn_status cn_tokenizer_encode(struct cn_tokenizer *tokenizer, struct cn_text text,
                                   bool parse_special, struct cn_ids *out);

/* Appends the exact bytes of `ids`; special tokens are written as their text.  skip_special: they
 * are left out, and so are ids beyond the vocabulary, which a model can sample if its embedding is
 * padded.  Fails: CN_ERR_DATA for an id outside the vocabulary. */
enum cn_status cn_tokenizer_decode(const struct cn_tokenizer *tokenizer, const int32_t *ids,
                                   size_t count, bool skip_special, struct cn_str *out);

/* Renders a conversation as the model's template does, default system text included.
 * Fails: CN_ERR_DATA for a role or an order of roles that the template does not know. */
enum cn_status cn_tokenizer_render(const struct cn_tokenizer *tokenizer,
                                   struct cn_messages messages, bool add_generation_prompt,
                                   struct cn_str *out);

/* Renders and encodes: the template's own markers are special tokens, message content is encoded as
 * plain text unless `trust_content` (equal to Hugging Face's apply_chat_template(tokenize=True)
 * only then). */
enum cn_status cn_tokenizer_chat(struct cn_tokenizer *tokenizer, struct cn_messages messages,
                                 bool add_generation_prompt, bool trust_content,
                                 struct cn_ids *out);

/* Length of the longest prefix of `text` that ends at a whole UTF-8 character: what may be
 * streamed. */
size_t cn_utf8_complete(struct cn_text text);
bool cn_utf8_valid(struct cn_text text);

#ifdef __cplusplus
}
#endif
#endif
