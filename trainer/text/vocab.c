/* The table of tokens and merges of a byte-level BPE model. */
#include "vocab.h"

#include "utf8.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t vocab_hash(const char *data, size_t length)
{
    const uint64_t odd = 0x9E3779B97F4A7C15u;
    uint64_t hash = length * odd, word;
    for (; length >= 8; length -= 8, data += 8) {
        memcpy(&word, data, 8);
        hash = (hash ^ word) * odd;
        hash ^= hash >> 29;
    }
    word = 0;
    if (length) memcpy(&word, data, length);
    hash = (hash ^ word) * odd;
    return hash ^ hash >> 32;
}

static bool byte_is_printable(unsigned byte)
{
    return (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
}

uint32_t vocab_char_of_byte(unsigned byte)
{
    if (byte_is_printable(byte)) return byte;
    if (byte <= 32) return 256 + byte;
    return byte == 173 ? 323 : 256 + 33 + (byte - 127);
}

/* The inverse; -1 for a character that stands for no byte. */
static int byte_of_char(uint32_t code)
{
    if (code < 256) return byte_is_printable(code) ? (int)code : -1;
    if (code < 256 + 33) return (int)code - 256;
    if (code < 323) return (int)code - 256 - 33 + 127;
    return code == 323 ? 173 : -1;
}

/* Appends the bytes that `written` stands for; *mapped is false, and the text itself appended, if
 * one of its characters stands for none. */
static enum cn_status append_bytes(struct cn_str *out, struct cn_text written, bool *mapped)
{
    size_t before = out->length;
    CN_TRY(cn_str_reserve(out, before + written.length + 1));
    const char *end = written.data + written.length;
    uint32_t code;
    *mapped = true;
    for (const char *p = written.data; p < end;) {
        p += utf8_step(p, end, &code);
        int byte = byte_of_char(code);
        if (byte < 0) {
            *mapped = false;
            out->length = before;
            return cn_str_append(out, written.data, written.length);
        }
        out->data[out->length++] = (char)byte;
    }
    out->data[out->length] = 0;
    return CN_OK;
}

static int32_t find(const struct vocab *vocab, struct cn_text bytes, bool mapped)
{
    for (size_t i = (size_t)vocab_hash(bytes.data, bytes.length);; i++) {
        uint32_t slot = vocab->slot[i & vocab->slot_mask];
        if (slot == 0) return VOCAB_NONE;
        const struct vocab_token *token = &vocab->token[slot - 1];
        if (token->length == bytes.length && token->mapped == mapped &&
            memcmp(vocab->pool.data + token->start, bytes.data, bytes.length) == 0)
            return (int32_t)(slot - 1);
    }
}

int32_t vocab_find(const struct vocab *vocab, struct cn_text bytes)
{
    return find(vocab, bytes, true);
}

int32_t vocab_find_written(const struct vocab *vocab, struct cn_text written)
{
    struct cn_str bytes = {0};
    bool mapped;
    int32_t id = VOCAB_NONE;
    if (append_bytes(&bytes, written, &mapped) == CN_OK) {
        id = find(vocab, cn_str_text(&bytes), mapped);
        if (id == VOCAB_NONE && mapped) id = find(vocab, written, false);
    } else {
        cn_fail_clear();
    }
    cn_str_free(&bytes);
    return id;
}

struct cn_text vocab_bytes(const struct vocab *vocab, int32_t id)
{
    const struct vocab_token *token = &vocab->token[id];
    return (struct cn_text){vocab->pool.data + token->start, token->length};
}

static void put_slot(struct vocab *vocab, int32_t id)
{
    struct cn_text bytes = vocab_bytes(vocab, id);
    size_t i = (size_t)vocab_hash(bytes.data, bytes.length);
    while (vocab->slot[i & vocab->slot_mask])
        i++;
    vocab->slot[i & vocab->slot_mask] = (uint32_t)id + 1;
}

/* Makes the hash of tokens at most half full with `count` of them. */
static enum cn_status slots_make(struct vocab *vocab, size_t count)
{
    size_t slots = 512;
    while (slots < 2 * count)
        slots *= 2;
    if (vocab->slot && slots <= vocab->slot_mask + 1) return CN_OK;
    free(vocab->slot);
    vocab->slot = calloc(slots, sizeof *vocab->slot);
    if (!vocab->slot) return cn_fail(CN_ERR_MEMORY, "out of memory: a hash of %zu tokens", count);
    vocab->slot_mask = slots - 1;
    for (size_t id = 0; id < vocab->size; id++)
        if (vocab->token[id].present) put_slot(vocab, (int32_t)id);
    return CN_OK;
}

static enum cn_status tokens_reserve(struct vocab *vocab, size_t size)
{
    if (size <= vocab->capacity) return CN_OK;
    size_t capacity = vocab->capacity ? vocab->capacity : 1024;
    while (capacity < size)
        capacity *= 2;
    struct vocab_token *grown = realloc(vocab->token, capacity * sizeof *grown);
    if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: a table of %zu tokens", capacity);
    memset(grown + vocab->capacity, 0, (capacity - vocab->capacity) * sizeof *grown);
    vocab->token = grown;
    vocab->capacity = capacity;
    return CN_OK;
}

/* Puts the bytes at the end of the pool, from `start` on, under `id`. */
static enum cn_status token_put(struct vocab *vocab, uint32_t id, size_t start, bool mapped)
{
    CN_TRY(tokens_reserve(vocab, (size_t)id + 1));
    vocab->token[id] = (struct vocab_token){
        .start = start,
        .length = (uint32_t)(vocab->pool.length - start),
        .present = true,
        .mapped = mapped,
    };
    if (vocab->size <= id) vocab->size = (size_t)id + 1;
    return CN_OK;
}

/* Every member of model.vocab goes to the pool and the table; the hash is built afterwards. */
static enum cn_status read_tokens(struct vocab *vocab, struct scan *scan, struct cn_str *buffer)
{
    size_t count = 0;
    bool more;
    CN_TRY(scan_open(scan, '{'));
    for (;;) {
        struct cn_text written;
        uint32_t id;
        bool mapped;
        CN_TRY(scan_more(scan, '}', &count, &more));
        if (!more) break;
        CN_TRY(scan_key(scan, buffer, &written));
        CN_TRY(scan_index(scan, VOCAB_ID_MAX - 1, &id));
        if (id < vocab->size && vocab->token[id].present)
            return cn_fail(CN_ERR_DATA,
                           "%s: model.vocab gives id %u to two tokens, the second is \"%.*s\"",
                           scan->name, id, (int)written.length, written.data);
        size_t start = vocab->pool.length;
        CN_TRY(append_bytes(&vocab->pool, written, &mapped));
        CN_TRY(token_put(vocab, id, start, mapped));
    }
    vocab->n_model = count;
    return count ? CN_OK : cn_fail(CN_ERR_DATA, "%s: model.vocab is empty", scan->name);
}

static enum cn_status index_tokens(struct vocab *vocab, const char *name)
{
    CN_TRY(slots_make(vocab, vocab->n_model));
    /* slots_make may have kept nothing: with a fresh table every token stands in it now, twins
     * included. */
    for (size_t id = 0; id < vocab->size; id++) {
        struct vocab_token *token = &vocab->token[id];
        if (!token->present) continue;
        struct cn_text bytes = vocab_bytes(vocab, (int32_t)id);
        int32_t first = find(vocab, bytes, token->mapped);
        if (first != (int32_t)id)
            return cn_fail(CN_ERR_DATA,
                           "%s: model.vocab lists one token twice, with ids %d and %zu", name,
                           (int)first, id);
    }
    for (int byte = 0; byte < 256; byte++) {
        char one = (char)byte;
        vocab->byte_id[byte] = vocab_find(vocab, (struct cn_text){&one, 1});
    }
    return CN_OK;
}

static enum cn_status pairs_make(struct vocab *vocab, size_t count)
{
    size_t pairs = 1024;
    while (pairs < 2 * count)
        pairs *= 2;
    if (vocab->pair && pairs <= vocab->pair_mask + 1) return CN_OK;
    struct vocab_pair *old = vocab->pair;
    size_t n_old = old ? vocab->pair_mask + 1 : 0;
    struct vocab_pair *table = malloc(pairs * sizeof *table);
    if (!table) return cn_fail(CN_ERR_MEMORY, "out of memory: a hash of %zu merges", count);
    memset(table, 0xFF, pairs * sizeof *table);
    for (size_t i = 0; i < n_old; i++) {
        if (old[i].key == UINT64_MAX) continue;
        size_t at = (size_t)((old[i].key * 0x9E3779B97F4A7C15u) >> 32);
        while (table[at & (pairs - 1)].key != UINT64_MAX)
            at++;
        table[at & (pairs - 1)] = old[i];
    }
    free(old);
    vocab->pair = table;
    vocab->pair_mask = pairs - 1;
    return CN_OK;
}

/* A pair that is listed twice has the later rank, as in Hugging Face's map. */
static enum cn_status pair_put(struct vocab *vocab, uint64_t key, struct vocab_merge merge)
{
    CN_TRY(pairs_make(vocab, vocab->n_pairs + 1));
    size_t at = (size_t)((key * 0x9E3779B97F4A7C15u) >> 32);
    struct vocab_pair *pair;
    while (pair = &vocab->pair[at & vocab->pair_mask], pair->key != UINT64_MAX && pair->key != key)
        at++;
    if (pair->key == UINT64_MAX) vocab->n_pairs++;
    *pair = (struct vocab_pair){key, merge};
    return CN_OK;
}

/* One merge: a "left right" string or a list of two; the three tokens' bytes lie end to end in
 * `bytes`. */
static enum cn_status read_merge(struct scan *scan, struct cn_str *buffer, struct cn_str *bytes,
                                 size_t *split)
{
    bool mapped, mapped_right, more;
    struct cn_text text;
    size_t count = 0;
    cn_str_clear(bytes);
    if (scan_peek(scan) == '"') {
        CN_TRY(scan_string(scan, buffer, &text));
        const char *space = text.length ? memchr(text.data, ' ', text.length) : NULL;
        const char *end = text.data + text.length;
        if (!space || memchr(space + 1, ' ', (size_t)(end - space - 1)))
            return scan_fail(scan, "a merge must be two tokens with one space between them");
        CN_TRY(
            append_bytes(bytes, (struct cn_text){text.data, (size_t)(space - text.data)}, &mapped));
        *split = bytes->length;
        CN_TRY(append_bytes(bytes, (struct cn_text){space + 1, (size_t)(end - space - 1)},
                            &mapped_right));
    } else {
        CN_TRY(scan_open(scan, '['));
        CN_TRY(scan_more(scan, ']', &count, &more));
        CN_TRY(scan_string(scan, buffer, &text));
        CN_TRY(append_bytes(bytes, text, &mapped));
        *split = bytes->length;
        CN_TRY(scan_more(scan, ']', &count, &more));
        if (!more) return scan_fail(scan, "a merge must be a list of two tokens");
        CN_TRY(scan_string(scan, buffer, &text));
        CN_TRY(append_bytes(bytes, text, &mapped_right));
        CN_TRY(scan_more(scan, ']', &count, &more));
        if (more) return scan_fail(scan, "a merge must be a list of two tokens");
    }
    if (!mapped || !mapped_right)
        return scan_fail(scan, "a merge names a token that is not byte-level");
    return CN_OK;
}

static enum cn_status read_merges(struct vocab *vocab, struct scan *scan, struct cn_str *buffer,
                                  struct cn_str *bytes)
{
    size_t count = 0, split = 0;
    bool more;
    CN_TRY(scan_open(scan, '['));
    for (uint32_t rank = 0;; rank++) {
        CN_TRY(scan_more(scan, ']', &count, &more));
        if (!more) return CN_OK;
        if (rank == UINT32_MAX) return scan_fail(scan, "too many merges");
        CN_TRY(read_merge(scan, buffer, bytes, &split));
        int32_t left = vocab_find(vocab, (struct cn_text){bytes->data, split});
        int32_t right =
            vocab_find(vocab, (struct cn_text){bytes->data + split, bytes->length - split});
        int32_t both = vocab_find(vocab, cn_str_text(bytes));
        if (left < 0 || right < 0 || both < 0) {
            char message[80];
            snprintf(message, sizeof message, "merge %u: %s is not in model.vocab", rank,
                     left < 0    ? "its left token"
                     : right < 0 ? "its right token"
                                 : "the token it makes");
            return scan_fail(scan, message);
        }
        uint64_t key = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
        CN_TRY(pair_put(vocab, key, (struct vocab_merge){rank, both}));
    }
}

enum cn_status vocab_read(struct vocab *vocab, struct cn_text vocab_json,
                          struct cn_text merges_json, const char *name, const char *origin)
{
    struct cn_str buffer = {0}, bytes = {0};
    struct scan scan;
    enum cn_status status;
    CN_TRY(cn_str_reserve(&vocab->pool, vocab_json.length / 2 + 64));
    CN_TRY(tokens_reserve(vocab, vocab_json.length / 24));
    CN_TRY(pairs_make(vocab, merges_json.length / 24));
    scan_init(&scan, vocab_json, name, origin);
    CN_TRY_GOTO(read_tokens(vocab, &scan, &buffer), out);
    CN_TRY_GOTO(index_tokens(vocab, name), out);
    scan_init(&scan, merges_json, name, origin);
    CN_TRY_GOTO(read_merges(vocab, &scan, &buffer, &bytes), out);
out:
    cn_str_free(&bytes);
    cn_str_free(&buffer);
    return status;
}

enum cn_status vocab_add(struct vocab *vocab, int32_t id, struct cn_text content)
{
    size_t index = (size_t)id;
    if (index < vocab->size && vocab->token[index].present)
        return cn_fail(CN_ERR_DATA, "added token \"%.*s\" has id %d, which another token has",
                       (int)content.length, content.data, (int)id);
    size_t start = vocab->pool.length;
    CN_TRY(cn_str_append(&vocab->pool, content.data, content.length));
    CN_TRY(token_put(vocab, (uint32_t)id, start, false));
    CN_TRY(slots_make(vocab, vocab->size));
    put_slot(vocab, id);
    return CN_OK;
}

enum cn_status vocab_check_holes(const struct vocab *vocab, const char *name)
{
    for (size_t id = 0; id < vocab->size; id++)
        if (!vocab->token[id].present)
            return cn_fail(CN_ERR_DATA,
                           "%s: ids must be 0 to %zu without a hole, but no token has id %zu", name,
                           vocab->size - 1, id);
    return CN_OK;
}

void vocab_free(struct vocab *vocab)
{
    cn_str_free(&vocab->pool);
    free(vocab->token);
    free(vocab->slot);
    free(vocab->pair);
    *vocab = (struct vocab){0};
}
