/* The tokenizer inside a GGUF file -> Hugging Face's tokenizer.json and its companions.
 *
 * A GGUF file names its pre-tokenizer by a word; what the word means is the tokenizer.json of the
 * model it comes from. */
#include "convert.h"

#include "carnot/json.h"
#include "carnot/str.h"
#include "model/gguf.h"
#include "model/shape.h"

#include <stdlib.h>
#include <string.h>

/* tokenizer.ggml.token_type */
enum { TOKEN_CONTROL = 3, TOKEN_USER = 4, TOKEN_UNUSED = 5 };

#define LETTERS "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|"
#define REST "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

/* What the words of tokenizer.ggml.pre stand for.  pattern NULL: GPT-2's own, inside ByteLevel. */
static const struct pre {
    const char *word, *pattern;
    bool digits;       /* split digits one by one first */
    bool nfc;          /* normalise to NFC */
    bool whole_pieces; /* ignore_merges: a piece that is a token is not merged */
    bool begin;        /* text starts with BOS unless the file says otherwise */
} pres[] = {
    {"gpt-2", NULL, false, false, false, false},
    {"smollm", NULL, true, false, false, false},
    {"llama-bpe", LETTERS "\\p{N}{1,3}" REST, false, false, true, true},
    {"llama3", LETTERS "\\p{N}{1,3}" REST, false, false, true, true},
    {"llama-v3", LETTERS "\\p{N}{1,3}" REST, false, false, true, true},
    {"qwen2", LETTERS "\\p{N}" REST, false, true, false, false},
};

struct tokens {
    struct cn_text *text; /* [n] */
    uint8_t *type;        /* [n] */
    size_t n;
};

static enum cn_status find_pre(const struct gguf *file, const struct pre **out)
{
    struct cn_text model = {0}, word = {0};
    if (!gguf_text(file, "tokenizer.ggml.model", &model) || !cn_text_is(model, "gpt2"))
        return cn_fail(
            CN_ERR_MODEL,
            "%s: tokenizer.ggml.model is \"%.*s\"; only \"gpt2\" (byte-level BPE) can be "
            "converted (--no-tokenizer leaves it out)",
            gguf_path(file), (int)(model.length < 40 ? model.length : 40),
            model.data ? model.data : "");
    if (gguf_text(file, "tokenizer.ggml.pre", &word))
        for (size_t i = 0; i < sizeof pres / sizeof *pres; i++)
            if (cn_text_is(word, pres[i].word)) {
                *out = &pres[i];
                return CN_OK;
            }
    return cn_fail(
        CN_ERR_MODEL,
        "%s: tokenizer.ggml.pre is \"%.*s\"; known are gpt-2, smollm, llama-bpe and qwen2 "
        "(--no-tokenizer leaves the tokenizer out)",
        gguf_path(file), (int)(word.length < 40 ? word.length : 40), word.data ? word.data : "");
}

static enum cn_status read_tokens(const struct gguf *file, size_t vocab, struct tokens *out)
{
    struct gguf_list texts, types;
    if (!gguf_list(file, "tokenizer.ggml.tokens", &texts) || !texts.texts)
        return cn_fail(CN_ERR_MODEL, "%s: key tokenizer.ggml.tokens is missing", gguf_path(file));
    if (texts.count > vocab)
        return cn_fail(CN_ERR_MODEL, "%s: %zu tokens do not fit an embedding of %zu rows",
                       gguf_path(file), texts.count, vocab);
    bool typed = gguf_list(file, "tokenizer.ggml.token_type", &types) && !types.texts;
    if (typed && types.count != texts.count)
        return cn_fail(CN_ERR_MODEL, "%s: %zu tokens but %zu token types", gguf_path(file),
                       texts.count, types.count);
    out->n = texts.count;
    out->text = calloc(texts.count + 1, sizeof *out->text);
    out->type = calloc(texts.count + 1, 1);
    if (!out->text || !out->type)
        return cn_fail(CN_ERR_MEMORY, "out of memory: %zu tokens", texts.count);
    for (size_t i = 0; i < texts.count; i++) {
        double type = typed ? gguf_next_number(&types) : 1;
        out->text[i] = gguf_next_text(&texts);
        out->type[i] = type >= 0 && type < 256 ? (uint8_t)type : 0;
    }
    return CN_OK;
}

/* ---- tokenizer.json ------------------------------------------------------ */

static enum cn_status add_added_tokens(const struct tokens *tokens, struct cn_str *json)
{
    const char *separator = "\n";
    CN_TRY(cn_str_add(json, "  \"added_tokens\": ["));
    for (size_t i = 0; i < tokens->n; i++) {
        if (tokens->type[i] != TOKEN_CONTROL && tokens->type[i] != TOKEN_USER) continue;
        CN_TRY(cn_str_format(json, "%s    {\"id\": %zu, \"content\": ", separator, i));
        CN_TRY(cn_json_quote(json, tokens->text[i]));
        CN_TRY(cn_str_format(json,
                             ", \"single_word\": false, \"lstrip\": false, \"rstrip\": false, "
                             "\"normalized\": false, \"special\": %s}",
                             tokens->type[i] == TOKEN_CONTROL ? "true" : "false"));
        separator = ",\n";
    }
    return cn_str_add(json, "\n  ],\n");
}

static enum cn_status add_pre_tokenizer(const struct pre *pre, struct cn_str *json)
{
    CN_TRY(
        cn_str_format(json, "  \"normalizer\": %s,\n", pre->nfc ? "{\"type\": \"NFC\"}" : "null"));
    CN_TRY(
        cn_str_add(json, "  \"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [\n"));
    if (pre->digits)
        CN_TRY(cn_str_add(json, "    {\"type\": \"Digits\", \"individual_digits\": true},\n"));
    if (pre->pattern) {
        CN_TRY(cn_str_add(json, "    {\"type\": \"Split\", \"pattern\": {\"Regex\": "));
        CN_TRY(cn_json_quote(json, cn_text(pre->pattern)));
        CN_TRY(cn_str_add(json, "}, \"behavior\": \"Isolated\", \"invert\": false},\n"));
    }
    return cn_str_format(json,
                         "    {\"type\": \"ByteLevel\", \"add_prefix_space\": false, "
                         "\"trim_offsets\": true, \"use_regex\": %s}\n  ]},\n",
                         pre->pattern ? "false" : "true");
}

/* BOS in front of a text, where the model wants it. */
static enum cn_status add_post_processor(const struct tokens *tokens, int32_t bos,
                                         struct cn_str *json)
{
    if (bos < 0 || (size_t)bos >= tokens->n)
        return cn_str_add(
            json, "  \"post_processor\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                  "\"trim_offsets\": false, \"use_regex\": true},\n");
    CN_TRY(cn_str_add(json, "  \"post_processor\": {\"type\": \"TemplateProcessing\", \"single\": "
                            "[{\"SpecialToken\": {\"id\": "));
    CN_TRY(cn_json_quote(json, tokens->text[bos]));
    CN_TRY(cn_str_add(json,
                      ", \"type_id\": 0}}, {\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], "
                      "\"pair\": [{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, "
                      "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {"));
    CN_TRY(cn_json_quote(json, tokens->text[bos]));
    CN_TRY(cn_str_add(json, ": {\"id\": "));
    CN_TRY(cn_json_quote(json, tokens->text[bos]));
    CN_TRY(cn_str_format(json, ", \"ids\": [%d], \"tokens\": [", bos));
    CN_TRY(cn_json_quote(json, tokens->text[bos]));
    return cn_str_add(json, "]}}},\n");
}

static enum cn_status add_model(const struct gguf *file, const struct tokens *tokens,
                                const struct pre *pre, struct cn_str *json)
{
    struct gguf_list merges;
    const char *separator = "\n";
    if (!gguf_list(file, "tokenizer.ggml.merges", &merges) || !merges.texts)
        return cn_fail(CN_ERR_MODEL, "%s: key tokenizer.ggml.merges is missing", gguf_path(file));
    CN_TRY(cn_str_format(json,
                         "  \"model\": {\"type\": \"BPE\", \"dropout\": null, \"unk_token\": null, "
                         "\"continuing_subword_prefix\": null, \"end_of_word_suffix\": null, "
                         "\"fuse_unk\": false, \"byte_fallback\": false, \"ignore_merges\": %s,\n"
                         "    \"vocab\": {",
                         pre->whole_pieces ? "true" : "false"));
    for (size_t i = 0; i < tokens->n; i++) {
        if (tokens->type[i] == TOKEN_UNUSED) continue; /* rows of the embedding without a text */
        CN_TRY(cn_str_add(json, separator));
        CN_TRY(cn_json_quote(json, tokens->text[i]));
        CN_TRY(cn_str_format(json, ": %zu", i));
        separator = ",\n";
    }
    CN_TRY(cn_str_add(json, "\n    },\n    \"merges\": ["));
    for (size_t i = 0; i < merges.count; i++) {
        CN_TRY(cn_str_add(json, i ? ",\n" : "\n"));
        CN_TRY(cn_json_quote(json, gguf_next_text(&merges)));
    }
    return cn_str_add(json, "\n    ]\n  }\n}\n");
}

static enum cn_status make_tokenizer(const struct gguf *file, const struct tokens *tokens,
                                     const struct pre *pre, struct cn_str *json)
{
    double begin = pre->begin, bos = -1;
    gguf_number(file, "tokenizer.ggml.add_bos_token", &begin);
    if (begin != 0) gguf_number(file, "tokenizer.ggml.bos_token_id", &bos);
    if (!(bos >= 0 && bos < (double)tokens->n)) bos = -1;
    CN_TRY(cn_str_add(json, "{\n  \"version\": \"1.0\",\n  \"truncation\": null,\n  \"padding\": "
                            "null,\n"));
    CN_TRY(add_added_tokens(tokens, json));
    CN_TRY(add_pre_tokenizer(pre, json));
    CN_TRY(add_post_processor(tokens, (int32_t)bos, json));
    CN_TRY(cn_str_add(json, "  \"decoder\": {\"type\": \"ByteLevel\", \"add_prefix_space\": true, "
                            "\"trim_offsets\": true, \"use_regex\": true},\n"));
    return add_model(file, tokens, pre, json);
}

/* ---- its companions ------------------------------------------------------ */

static enum cn_status add_token_key(const struct tokens *tokens, const char *key, double id,
                                    struct cn_str *json)
{
    if (!(id >= 0) || id >= (double)tokens->n) return CN_OK;
    CN_TRY(cn_str_format(json, ",\n  \"%s\": ", key));
    return cn_json_quote(json, tokens->text[(size_t)id]);
}

static enum cn_status make_config(const struct gguf *file, const struct model_shape *shape,
                                  const struct tokens *tokens, struct cn_str *json)
{
    struct cn_text template = {0};
    double unknown = -1;
    gguf_number(file, "tokenizer.ggml.unknown_token_id", &unknown);
    CN_TRY(cn_str_format(json,
                         "{\n  \"tokenizer_class\": \"PreTrainedTokenizerFast\",\n"
                         "  \"model_max_length\": %zu,\n  \"clean_up_tokenization_spaces\": false",
                         shape->context));
    CN_TRY(add_token_key(tokens, "bos_token", shape->bos, json));
    CN_TRY(add_token_key(tokens, "eos_token", shape->n_eos ? shape->eos[0] : -1, json));
    CN_TRY(add_token_key(tokens, "pad_token", shape->pad, json));
    CN_TRY(add_token_key(tokens, "unk_token", unknown, json));
    if (gguf_text(file, "tokenizer.chat_template", &template)) {
        CN_TRY(cn_str_add(json, ",\n  \"chat_template\": "));
        CN_TRY(cn_json_quote(json, template));
    }
    return cn_str_add(json, "\n}\n");
}

static enum cn_status make_generation(const struct model_shape *shape, struct cn_str *json)
{
    CN_TRY(cn_str_add(json, "{\n  \"eos_token_id\": ["));
    for (size_t i = 0; i < shape->n_eos; i++)
        CN_TRY(cn_str_format(json, "%s%d", i ? ", " : "", shape->eos[i]));
    CN_TRY(cn_str_add(json, "]"));
    if (shape->bos >= 0) CN_TRY(cn_str_format(json, ",\n  \"bos_token_id\": %d", shape->bos));
    if (shape->pad >= 0) CN_TRY(cn_str_format(json, ",\n  \"pad_token_id\": %d", shape->pad));
    return cn_str_add(json, "\n}\n");
}

static enum cn_status write_file(const char *folder, const char *name, struct cn_str *take_json)
{
    struct cn_str path = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_str_format(&path, "%s/%s", folder, name), out);
    status = cn_file_replace(path.data, take_json->data, take_json->length);
out:
    cn_str_free(&path);
    cn_str_clear(take_json);
    return status;
}

enum cn_status convert_tokenizer(const struct gguf *file, const struct model_shape *shape,
                                 const char *folder)
{
    struct tokens tokens = {0};
    struct cn_str json = {0};
    const struct pre *pre = NULL;
    enum cn_status status;
    CN_TRY_GOTO(find_pre(file, &pre), out);
    CN_TRY_GOTO(read_tokens(file, shape->vocab, &tokens), out);
    CN_TRY_GOTO(make_tokenizer(file, &tokens, pre, &json), out);
    CN_TRY_GOTO(write_file(folder, "tokenizer.json", &json), out);
    CN_TRY_GOTO(make_config(file, shape, &tokens, &json), out);
    CN_TRY_GOTO(write_file(folder, "tokenizer_config.json", &json), out);
    if (shape->n_eos) {
        CN_TRY_GOTO(make_generation(shape, &json), out);
        CN_TRY_GOTO(write_file(folder, "generation_config.json", &json), out);
    }
    status = CN_OK;
out:
    cn_str_free(&json);
    free(tokens.text);
    free(tokens.type);
    return status;
}
