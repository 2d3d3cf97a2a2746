/* An open tokenizer: opening, encoding, decoding, saving. */
#include "impl.h"
#include "nfc.h"
#include "utf8.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_BYTES_MAX = 1 << 28 };

const char *tokenizer_file_name(enum tokenizer_file file)
{
    static const char *const names[] = {
#define X(name, text, copied) text,
        TOKENIZER_FILES(X)
#undef X
    };
    return names[file];
}

static enum cn_status read_files(struct cn_tokenizer *tokenizer, const char *folder)
{
    struct cn_str path = {0};
    enum cn_status status = cn_str_add(&tokenizer->folder, folder);
    for (int i = 0; i < FILE_COUNT && status == CN_OK; i++) {
        struct stat info;
        cn_str_clear(&path);
        status = cn_str_format(&path, "%s/%s", folder, tokenizer_file_name(i));
        if (status != CN_OK || (i != FILE_TOKENIZER && stat(path.data, &info) != 0)) continue;
        status = cn_file_read(path.data, FILE_BYTES_MAX, &tokenizer->file[i]);
        if (status == CN_OK && !cn_utf8_valid(cn_str_text(&tokenizer->file[i])))
            status = cn_fail(CN_ERR_DATA, "%s is not UTF-8", path.data);
    }
    cn_str_free(&path);
    return status;
}

enum cn_status tokenizer_build(struct cn_tokenizer *tokenizer, const char *template_name)
{
    tokenizer->end = -1;
    CN_TRY(tokenizer_build_model(tokenizer));
    return tokenizer_build_config(tokenizer, template_name);
}

enum cn_status cn_tokenizer_open(const char *folder, const char *template_name,
                                 struct cn_tokenizer **out)
{
    struct cn_tokenizer *tokenizer = calloc(1, sizeof *tokenizer);
    if (!tokenizer) return cn_fail(CN_ERR_MEMORY, "out of memory: a tokenizer");
    enum cn_status status = read_files(tokenizer, folder);
    if (status == CN_OK) status = tokenizer_build(tokenizer, template_name);
    if (status == CN_OK)
        *out = tokenizer;
    else
        cn_tokenizer_close(tokenizer);
    return status;
}

void cn_tokenizer_close(struct cn_tokenizer *tokenizer)
{
    if (!tokenizer) return;
    bpe_close(&tokenizer->bpe);
    pretokenize_close(&tokenizer->pretokenize);
    added_free(&tokenizer->added);
    vocab_free(&tokenizer->vocab);
    chat_template_free(&tokenizer->chat);
    cn_ids_free(&tokenizer->stops);
    for (int i = 0; i < FILE_COUNT; i++)
        cn_str_free(&tokenizer->file[i]);
    cn_str_free(&tokenizer->folder);
    cn_str_free(&tokenizer->repaired);
    cn_str_free(&tokenizer->normalized);
    free(tokenizer);
}

enum cn_status cn_tokenizer_save(const struct cn_tokenizer *tokenizer, const char *folder)
{
    static const bool copied[] = {
#define X(name, text, copy) copy,
        TOKENIZER_FILES(X)
#undef X
    };
    struct cn_str path = {0};
    enum cn_status status = cn_folder_make(folder);
    for (int i = 0; i < FILE_COUNT && status == CN_OK; i++) {
        const struct cn_str *file = &tokenizer->file[i];
        if (!copied[i] || file->length == 0) continue;
        cn_str_clear(&path);
        status = cn_str_format(&path, "%s/%s", folder, tokenizer_file_name(i));
        if (status == CN_OK) status = cn_file_replace(path.data, file->data, file->length);
    }
    cn_str_free(&path);
    return status;
}

size_t cn_tokenizer_size(const struct cn_tokenizer *tokenizer)
{
    return tokenizer->vocab.size;
}

const char *cn_tokenizer_template(const struct cn_tokenizer *tokenizer)
{
    return tokenizer->chat.name;
}

const int32_t *cn_tokenizer_stops(const struct cn_tokenizer *tokenizer, size_t *count)
{
    *count = tokenizer->stops.count;
    return tokenizer->stops.item;
}

int32_t cn_tokenizer_end(const struct cn_tokenizer *tokenizer)
{
    return tokenizer->end;
}

bool cn_tokenizer_is_special(const struct cn_tokenizer *tokenizer, int32_t id)
{
    return id >= 0 && (size_t)id < tokenizer->vocab.size && tokenizer->vocab.token[id].special;
}

/* Normalised text between added tokens of the first kind: looks for the second kind, then cuts and
 * merges. */
static enum cn_status encode_between(struct cn_tokenizer *tokenizer, struct cn_text text,
                                     bool parse_normalized, struct cn_ids *out)
{
    if (tokenizer->nfc) CN_TRY(nfc_apply(text, &tokenizer->normalized, &text));
    struct added_search search = {.normalized = true, .text = text};
    struct added_match match;
    size_t done = 0;
    while (parse_normalized && added_next(&tokenizer->added, &search, &match)) {
        if (match.begin > done)
            CN_TRY(pretokenize_run(&tokenizer->pretokenize, &tokenizer->bpe,
                                   (struct cn_text){text.data + done, match.begin - done}, out));
        CN_TRY(cn_ids_append(out, &match.token->id, 1));
        done = match.end;
    }
    return pretokenize_run(&tokenizer->pretokenize, &tokenizer->bpe,
                           (struct cn_text){text.data + done, text.length - done}, out);
}

static bool touches(const struct chat_guards *guards, size_t begin, size_t end)
{
    for (size_t i = 0; guards && i < guards->count; i++)
        if (guards->item[i].begin < end && guards->item[i].end > begin) return true;
    return false;
}

enum cn_status tokenizer_encode(struct cn_tokenizer *tokenizer, struct cn_text text,
                                bool parse_special, const struct chat_guards *guards,
                                struct cn_ids *out)
{
    if (text.length == 0) return CN_OK;
    if (!cn_utf8_valid(text)) {
        cn_str_clear(&tokenizer->repaired);
        CN_TRY(utf8_repair(text, &tokenizer->repaired));
        text = cn_str_text(&tokenizer->repaired);
    }
    if (!parse_special) return encode_between(tokenizer, text, false, out);
    struct added_search search = {.text = text,
                                  .guard = guards ? guards->item : NULL,
                                  .n_guards = guards ? guards->count : 0};
    struct added_match match;
    size_t done = 0;
    while (added_next(&tokenizer->added, &search, &match)) {
        if (match.begin > done) {
            struct cn_text piece = {text.data + done, match.begin - done};
            CN_TRY(encode_between(tokenizer, piece, !touches(guards, done, match.begin), out));
        }
        CN_TRY(cn_ids_append(out, &match.token->id, 1));
        done = match.end;
    }
    if (done == text.length) return CN_OK;
    struct cn_text rest = {text.data + done, text.length - done};
    return encode_between(tokenizer, rest, !touches(guards, done, text.length), out);
}

enum cn_status cn_tokenizer_encode(struct cn_tokenizer *tokenizer, struct cn_text text,
                                   bool parse_special, struct cn_ids *out)
{
    size_t before = out->count;
    enum cn_status status = tokenizer_encode(tokenizer, text, parse_special, NULL, out);
    if (status != CN_OK) out->count = before;
    return status;
}

enum cn_status cn_tokenizer_decode(const struct cn_tokenizer *tokenizer, const int32_t *ids,
                                   size_t count, bool skip_special, struct cn_str *out)
{
    const struct vocab *vocab = &tokenizer->vocab;
    for (size_t i = 0; i < count; i++)
        if (ids[i] < 0 || ((size_t)ids[i] >= vocab->size && !skip_special))
            return cn_fail(CN_ERR_DATA, "id %d at place %zu is outside the vocabulary of %zu ids",
                           (int)ids[i], i, vocab->size);
    for (size_t i = 0; i < count; i++) {
        if ((size_t)ids[i] >= vocab->size) continue; /* a padding row of the embedding */
        const struct vocab_token *token = &vocab->token[ids[i]];
        if (token->special && skip_special) continue;
        struct cn_text bytes = token->added ? added_find(&tokenizer->added, ids[i])->content
                                            : vocab_bytes(vocab, ids[i]);
        CN_TRY(cn_str_append(out, bytes.data, bytes.length));
    }
    return CN_OK;
}

enum cn_status cn_tokenizer_render(const struct cn_tokenizer *tokenizer,
                                   struct cn_messages messages, bool add_generation_prompt,
                                   struct cn_str *out)
{
    return chat_template_render(&tokenizer->chat, messages, add_generation_prompt, out, NULL);
}

enum cn_status cn_tokenizer_chat(struct cn_tokenizer *tokenizer, struct cn_messages messages,
                                 bool add_generation_prompt, bool trust_content, struct cn_ids *out)
{
    struct cn_str text = {0};
    struct chat_guards guards = {0};
    size_t before = out->count;
    enum cn_status status = chat_template_render(&tokenizer->chat, messages, add_generation_prompt,
                                                 &text, trust_content ? NULL : &guards);
    if (status == CN_OK)
        status = tokenizer_encode(tokenizer, cn_str_text(&text), true, &guards, out);
    if (status != CN_OK) out->count = before;
    chat_guards_free(&guards);
    cn_str_free(&text);
    return status;
}
