/* Builds a tokenizer from tokenizer.json.  What would change ids and is not reproduced exactly is
 * refused by name. */
#include "impl.h"
#include "nfc.h"

#include <stdlib.h>
#include <string.h>

enum { PART_MODEL, PART_ADDED, PART_NORMALIZER, PART_PRETOKENIZER, PART_DECODER, PART_COUNT };
static const char *const part_name[PART_COUNT] = {"model", "added_tokens", "normalizer",
                                                  "pre_tokenizer", "decoder"};

/* Members of "model" that matter. */
#define MODEL_PARTS(X)                                                                             \
    X(TYPE, "type")                                                                                \
    X(VOCAB, "vocab")                                                                              \
    X(MERGES, "merges")                                                                            \
    X(DROPOUT, "dropout")                                                                          \
    X(UNKNOWN, "unk_token")                                                                        \
    X(PREFIX, "continuing_subword_prefix")                                                         \
    X(SUFFIX, "end_of_word_suffix")                                                                \
    X(FUSE, "fuse_unk")                                                                            \
    X(FALLBACK, "byte_fallback")                                                                   \
    X(IGNORE, "ignore_merges")

enum {
#define X(name, key) MODEL_##name,
    MODEL_PARTS(X)
#undef X
        MODEL_COUNT
};
static const char *const model_key[MODEL_COUNT] = {
#define X(name, key) key,
    MODEL_PARTS(X)
#undef X
};

/* A file or a part of one, by name for messages. */
static enum cn_status path_of(const struct cn_tokenizer *tokenizer, struct cn_str *out)
{
    return cn_str_format(out, "%s/tokenizer.json", tokenizer->folder.data);
}

/* Whether a raw value is absent, null, or one of the harmless texts given. */
static bool is_default(struct cn_text raw, const char *harmless)
{
    return raw.length == 0 || cn_text_is(raw, "null") || cn_text_is(raw, harmless);
}

static enum cn_status read_flag(struct cn_text raw, const char *key, bool *out)
{
    if (!is_default(raw, "false") && !cn_text_is(raw, "true"))
        return cn_fail(CN_ERR_DATA, "model.%s must be true or false, not %.*s", key,
                       (int)(raw.length < 40 ? raw.length : 40), raw.data);
    *out = cn_text_is(raw, "true");
    return CN_OK;
}

static enum cn_status check_model(const struct cn_text *raw)
{
    static const struct {
        int part;
        const char *harmless;
    } fixed[] = {{MODEL_DROPOUT, "0.0"}, {MODEL_PREFIX, "\"\""}, {MODEL_SUFFIX, "\"\""}};
    if (raw[MODEL_TYPE].length && !cn_text_is(raw[MODEL_TYPE], "\"BPE\""))
        return cn_fail(CN_ERR_DATA, "model.type is %.*s; only \"BPE\" (byte-level) is supported",
                       (int)(raw[MODEL_TYPE].length < 40 ? raw[MODEL_TYPE].length : 40),
                       raw[MODEL_TYPE].data);
    for (int i = MODEL_VOCAB; i <= MODEL_MERGES; i++)
        if (!raw[i].length) return cn_fail(CN_ERR_DATA, "model.%s is missing", model_key[i]);
    for (size_t i = 0; i < sizeof fixed / sizeof *fixed; i++) {
        struct cn_text value = raw[fixed[i].part];
        if (!is_default(value, fixed[i].harmless))
            return cn_fail(CN_ERR_DATA, "model.%s is %.*s, which is not supported",
                           model_key[fixed[i].part], (int)(value.length < 40 ? value.length : 40),
                           value.data);
    }
    return CN_OK;
}

static enum cn_status read_unknown(struct cn_tokenizer *tokenizer, struct cn_text raw)
{
    struct cn_str buffer = {0};
    struct cn_text written;
    struct scan scan;
    tokenizer->bpe.unknown = VOCAB_NONE;
    if (is_default(raw, "null")) return CN_OK;
    scan_init(&scan, raw, "model.unk_token", raw.data);
    enum cn_status status = scan_string(&scan, &buffer, &written);
    if (status == CN_OK) {
        tokenizer->bpe.unknown = vocab_find_written(&tokenizer->vocab, written);
        if (tokenizer->bpe.unknown == VOCAB_NONE)
            status = cn_fail(CN_ERR_DATA, "model.unk_token \"%.*s\" is not in model.vocab",
                             (int)written.length, written.data);
    }
    cn_str_free(&buffer);
    return status;
}

static enum cn_status build_bpe(struct cn_tokenizer *tokenizer, struct cn_text model,
                                const char *path)
{
    struct cn_text raw[MODEL_COUNT];
    struct scan scan;
    bool fallback;
    struct bpe *bpe = &tokenizer->bpe;
    const char *origin = tokenizer->file[FILE_TOKENIZER].data;
    scan_init(&scan, model, path, origin);
    CN_TRY(scan_members(&scan, model_key, MODEL_COUNT, raw));
    CN_TRY(check_model(raw));
    CN_TRY(vocab_read(&tokenizer->vocab, raw[MODEL_VOCAB], raw[MODEL_MERGES], path, origin));
    CN_TRY(read_flag(raw[MODEL_FUSE], "fuse_unk", &bpe->fuse_unknown));
    CN_TRY(read_flag(raw[MODEL_IGNORE], "ignore_merges", &bpe->ignore_merges));
    CN_TRY(read_flag(raw[MODEL_FALLBACK], "byte_fallback", &fallback));
    CN_TRY(read_unknown(tokenizer, raw[MODEL_UNKNOWN]));
    for (int byte = 0; fallback && byte < 256; byte++)
        if (tokenizer->vocab.byte_id[byte] == VOCAB_NONE)
            return cn_fail(CN_ERR_DATA, "model.byte_fallback is not supported");
    bpe->vocab = &tokenizer->vocab;
    return bpe_open(bpe);
}

/* Null, NFC, or a Sequence of those. */
static enum cn_status read_normalizer(struct cn_tokenizer *tokenizer, const struct cn_json *node,
                                      int depth)
{
    const char *type;
    if (cn_json_kind(node) == CN_JSON_NULL) return CN_OK;
    CN_TRY(cn_json_need_text(node, "type", &type));
    if (strcmp(type, "NFC") == 0) {
        tokenizer->nfc = true;
        return CN_OK;
    }
    const struct cn_json *list = cn_json_get(node, "normalizers");
    if (strcmp(type, "Sequence") != 0 || cn_json_kind(list) != CN_JSON_LIST || depth > 4)
        return cn_fail(CN_ERR_DATA, "type \"%s\" is not supported (only NFC or none)", type);
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n))
        CN_TRY(read_normalizer(tokenizer, n, depth + 1));
    return CN_OK;
}

static enum cn_status check_decoder(const struct cn_json *node)
{
    const char *type;
    if (cn_json_kind(node) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_DATA, "there is none, so this is not byte-level BPE");
    CN_TRY(cn_json_need_text(node, "type", &type));
    const struct cn_json *list = cn_json_get(node, "decoders");
    if (strcmp(type, "Sequence") == 0 && cn_json_count(list) == 1)
        return check_decoder(cn_json_first(list));
    if (strcmp(type, "ByteLevel") != 0)
        return cn_fail(CN_ERR_DATA, "type \"%s\" is not supported (only ByteLevel)", type);
    return CN_OK;
}

/* Where tokenizers would put a token that is not in the vocabulary: behind it and behind the added
 * ones so far. */
struct expected_id {
    int64_t next;
};

static enum cn_status read_added(struct cn_tokenizer *tokenizer, const struct cn_json *node,
                                 struct added_token *token, struct expected_id *expected)
{
    const char *content;
    int64_t id;
    CN_TRY(cn_json_need_text(node, "content", &content));
    CN_TRY(cn_json_need_int(node, "id", 0, VOCAB_ID_MAX - 1, &id));
    struct cn_text text = cn_json_text(cn_json_get(node, "content"));
    if (text.length == 0) return cn_fail(CN_ERR_DATA, "content is empty");
    int32_t known = vocab_find_written(&tokenizer->vocab, text);
    int64_t meant = known != VOCAB_NONE ? known : expected->next;
    if (id != meant)
        return cn_fail(CN_ERR_DATA,
                       "\"%s\" has id %lld, but %s %lld; Hugging Face would use the latter",
                       content, (long long)id,
                       known != VOCAB_NONE ? "in model.vocab it has" : "the next free one is",
                       (long long)meant);
    if (known == VOCAB_NONE) CN_TRY(vocab_add(&tokenizer->vocab, (int32_t)id, text));
    if (id >= expected->next) expected->next = id + 1;
    size_t start = tokenizer->added.pool.length;
    CN_TRY(cn_str_append(&tokenizer->added.pool, text.data, text.length));
    *token = (struct added_token){
        .id = (int32_t)id,
        .content = {NULL, text.length},
        .needle = {NULL, start}, /* places in the pool, which may still move */
    };
    CN_TRY(cn_json_bool_or(node, "special", false, &token->special));
    CN_TRY(cn_json_bool_or(node, "normalized", true, &token->normalized));
    CN_TRY(cn_json_bool_or(node, "single_word", false, &token->single_word));
    CN_TRY(cn_json_bool_or(node, "lstrip", false, &token->lstrip));
    CN_TRY(cn_json_bool_or(node, "rstrip", false, &token->rstrip));
    tokenizer->vocab.token[id].added = true;
    tokenizer->vocab.token[id].special = token->special;
    return CN_OK;
}

/* Turns places in the pool into pointers; what is searched for in normalised text is normalised
 * itself. */
static enum cn_status resolve_added(struct cn_tokenizer *tokenizer)
{
    struct added_set *set = &tokenizer->added;
    struct cn_text normal;
    size_t total = set->pool.length;
    for (size_t i = 0; i < set->count; i++)
        total += 3 * set->token[i].content.length;
    CN_TRY(cn_str_reserve(&set->pool, total + 1));
    for (size_t i = 0; i < set->count; i++) {
        struct added_token *token = &set->token[i];
        token->content.data = set->pool.data + token->needle.length;
        token->needle = token->content;
        if (!token->normalized || !tokenizer->nfc) continue;
        CN_TRY(nfc_apply(token->content, &tokenizer->normalized, &normal));
        if (cn_text_equal(normal, token->content)) continue;
        size_t start = set->pool.length;
        CN_BUG_IF(start + normal.length > total);
        CN_TRY(cn_str_append(&set->pool, normal.data, normal.length));
        token->needle = (struct cn_text){set->pool.data + start, normal.length};
    }
    return added_index(set);
}

static enum cn_status build_added(struct cn_tokenizer *tokenizer, const struct cn_json *list)
{
    struct added_set *set = &tokenizer->added;
    struct expected_id expected = {(int64_t)tokenizer->vocab.n_model};
    if (cn_json_kind(list) != CN_JSON_LIST && cn_json_kind(list) != CN_JSON_NULL)
        return cn_fail(CN_ERR_DATA, "added_tokens must be a list");
    set->token = calloc(cn_json_count(list) + 1, sizeof *set->token);
    if (!set->token) return cn_fail(CN_ERR_MEMORY, "out of memory: added tokens");
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n)) {
        enum cn_status status = read_added(tokenizer, n, &set->token[set->count], &expected);
        if (status != CN_OK) return cn_fail_context(status, "added_tokens[%zu]", set->count);
        set->count++;
    }
    return resolve_added(tokenizer);
}

/* The small parts, as a tree. */
static enum cn_status build_part(struct cn_tokenizer *tokenizer, int part, struct cn_text raw)
{
    struct cn_json *node = NULL;
    enum cn_status status = CN_OK;
    if (raw.length) CN_TRY(cn_json_parse(raw, part_name[part], &node));
    if (part == PART_ADDED) {
        status = build_added(tokenizer, node);
    } else if (part == PART_PRETOKENIZER) {
        status = pretokenize_open(&tokenizer->pretokenize, node);
    } else {
        status =
            part == PART_NORMALIZER ? read_normalizer(tokenizer, node, 0) : check_decoder(node);
        if (status != CN_OK) status = cn_fail_context(status, "%s", part_name[part]);
    }
    cn_json_close(node);
    return status;
}

static enum cn_status build_parts(struct cn_tokenizer *tokenizer, const char *path)
{
    struct cn_text raw[PART_COUNT];
    struct scan scan;
    struct cn_text file = cn_str_text(&tokenizer->file[FILE_TOKENIZER]);
    scan_init(&scan, file, path, file.data);
    CN_TRY(scan_members(&scan, part_name, PART_COUNT, raw));
    if (scan_peek(&scan) != 0 || scan.p != scan.end)
        return scan_fail(&scan, "something follows the object");
    if (!raw[PART_MODEL].length) return cn_fail(CN_ERR_DATA, "model is missing");
    CN_TRY(build_bpe(tokenizer, raw[PART_MODEL], path));
    CN_TRY(build_part(tokenizer, PART_NORMALIZER, raw[PART_NORMALIZER]));
    CN_TRY(build_part(tokenizer, PART_ADDED, raw[PART_ADDED]));
    CN_TRY(build_part(tokenizer, PART_PRETOKENIZER, raw[PART_PRETOKENIZER]));
    CN_TRY(build_part(tokenizer, PART_DECODER, raw[PART_DECODER]));
    return vocab_check_holes(&tokenizer->vocab, path);
}

enum cn_status tokenizer_build_model(struct cn_tokenizer *tokenizer)
{
    struct cn_str path = {0};
    enum cn_status status = path_of(tokenizer, &path);
    if (status == CN_OK) {
        status = build_parts(tokenizer, path.data);
        if (status != CN_OK && !strstr(cn_fail_message(), path.data))
            status = cn_fail_context(status, "%s", path.data);
    }
    cn_str_free(&path);
    return status;
}
