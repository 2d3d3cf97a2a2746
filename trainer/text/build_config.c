/* The small files beside tokenizer.json: which tokens end an answer, and the chat
 * template. */
#include "impl.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Parses a file of the folder; *out stays NULL if there is none. */
static enum cn_status parse(const struct cn_tokenizer *tokenizer, enum tokenizer_file file,
                            struct cn_json **out)
{
    if (tokenizer->file[file].length == 0) return CN_OK;
    struct cn_str path = {0};
    enum cn_status status =
        cn_str_format(&path, "%s/%s", tokenizer->folder.data, tokenizer_file_name(file));
    if (status == CN_OK)
        status = cn_json_parse(cn_str_text(&tokenizer->file[file]), path.data, out);
    cn_str_free(&path);
    if (status == CN_OK && cn_json_kind(*out) != CN_JSON_OBJECT)
        status = cn_fail(CN_ERR_DATA, "%s/%s must hold an object", tokenizer->folder.data,
                         tokenizer_file_name(file));
    return status;
}

static enum cn_status add_stop(struct cn_tokenizer *tokenizer, int32_t id)
{
    struct cn_ids *stops = &tokenizer->stops;
    size_t at = 0;
    while (at < stops->count && stops->item[at] < id)
        at++;
    if (at < stops->count && stops->item[at] == id) return CN_OK;
    CN_TRY(cn_ids_append(stops, &id, 1));
    memmove(stops->item + at + 1, stops->item + at, (stops->count - 1 - at) * sizeof id);
    stops->item[at] = id;
    return CN_OK;
}

/* A token of tokenizer_config.json: text, or an object with "content".  Length 0: none. */
static struct cn_text token_text(const struct cn_json *config, const char *key)
{
    const struct cn_json *node = cn_json_get(config, key);
    if (cn_json_kind(node) == CN_JSON_OBJECT) node = cn_json_get(node, "content");
    return cn_json_text(node);
}

/* "eos_token_id" of a file: an id or a list of ids; absent or null: none. */
static enum cn_status add_stop_ids(struct cn_tokenizer *tokenizer, enum tokenizer_file file,
                                   const struct cn_json *config)
{
    const struct cn_json *node = cn_json_get(config, "eos_token_id");
    const bool list = cn_json_kind(node) == CN_JSON_LIST;
    if (cn_json_kind(node) == CN_JSON_NULL) return CN_OK;
    for (const struct cn_json *n = list ? cn_json_first(node) : node; n;
         n = list ? cn_json_next(n) : NULL) {
        double id = cn_json_number(n);
        if (cn_json_kind(n) != CN_JSON_NUMBER || id != floor(id))
            return cn_fail(CN_ERR_DATA, "%s/%s: eos_token_id must be an id or a list of ids",
                           tokenizer->folder.data, tokenizer_file_name(file));
        if (!(id >= 0 && id < (double)tokenizer->vocab.size))
            return cn_fail(CN_ERR_DATA, "%s/%s: eos_token_id is %g, but tokenizer.json has %zu ids",
                           tokenizer->folder.data, tokenizer_file_name(file), id,
                           tokenizer->vocab.size);
        CN_TRY(add_stop(tokenizer, (int32_t)id));
    }
    return CN_OK;
}

/* Tokens that transformers would add on top of tokenizer.json would get ids that this folder does
 * not know. */
static enum cn_status check_added(const struct cn_tokenizer *tokenizer,
                                  const struct cn_json *config)
{
    const struct cn_json *list = cn_json_get(config, "added_tokens_decoder");
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n)) {
        struct cn_text content = cn_json_text(cn_json_get(n, "content"));
        int32_t id = vocab_find_written(&tokenizer->vocab, content);
        if (content.length == 0 || (id != VOCAB_NONE && id == (int32_t)atol(cn_json_key(n))))
            continue;
        return cn_fail(CN_ERR_DATA,
                       "%s/tokenizer_config.json: added_tokens_decoder gives \"%.*s\" the id %s, "
                       "which tokenizer.json does not",
                       tokenizer->folder.data, (int)content.length, content.data, cn_json_key(n));
    }
    return CN_OK;
}

static enum cn_status read_tokens(struct cn_tokenizer *tokenizer, const struct cn_json *config,
                                  const struct cn_json *generation, const struct cn_json *model)
{
    struct cn_text eos = token_text(config, "eos_token");
    if (eos.length) {
        int32_t id = vocab_find_written(&tokenizer->vocab, eos);
        if (id == VOCAB_NONE)
            return cn_fail(CN_ERR_DATA,
                           "%s/tokenizer_config.json: eos_token \"%.*s\" is not in tokenizer.json",
                           tokenizer->folder.data, (int)eos.length, eos.data);
        CN_TRY(add_stop(tokenizer, id));
        tokenizer->end = id;
    }
    CN_TRY(add_stop_ids(tokenizer, generation ? FILE_GENERATION : FILE_MODEL,
                        generation ? generation : model));
    const char *end = chat_template_end(&tokenizer->chat);
    int32_t turn = end ? vocab_find_written(&tokenizer->vocab, cn_text(end)) : VOCAB_NONE;
    if (turn != VOCAB_NONE) CN_TRY(add_stop(tokenizer, turn));
    if (turn != VOCAB_NONE)
        tokenizer->end = turn;
    else if (tokenizer->end < 0 && tokenizer->stops.count)
        tokenizer->end = tokenizer->stops.item[0];
    return CN_OK;
}

/* The template's text: its own file, or in tokenizer_config.json a text or the "default" of a list.
 */
static struct cn_text template_text(const struct cn_tokenizer *tokenizer,
                                    const struct cn_json *config)
{
    const struct cn_str *file = &tokenizer->file[FILE_TEMPLATE];
    if (file->length) return cn_str_text(file);
    const struct cn_json *node = cn_json_get(config, "chat_template");
    for (const struct cn_json *n = cn_json_first(node); n; n = cn_json_next(n))
        if (cn_text_is(cn_json_text(cn_json_get(n, "name")), "default"))
            return cn_json_text(cn_json_get(n, "template"));
    return cn_json_text(node);
}

static enum cn_status choose_template(struct cn_tokenizer *tokenizer, const struct cn_json *config,
                                      const char *name)
{
    struct chat_template *chat = &tokenizer->chat;
    struct cn_text text = template_text(tokenizer, config);
    if (strcmp(name, "auto") != 0) {
        CN_TRY(chat_template_named(name, chat));
    } else if (text.length == 0) {
        *chat = (struct chat_template){.style = CHAT_UNKNOWN, .name = "none"};
        CN_TRY(cn_str_add(&chat->reason, "this model's folder has no chat template"));
    } else {
        CN_TRY(chat_template_detect(text, chat));
    }
    if (chat->style != CHAT_LLAMA3) return CN_OK;
    struct cn_text bos = token_text(config, "bos_token");
    return cn_str_append(&chat->bos, bos.data ? bos.data : "", bos.length);
}

enum cn_status tokenizer_build_config(struct cn_tokenizer *tokenizer, const char *template_name)
{
    struct cn_json *config = NULL, *generation = NULL, *model = NULL;
    enum cn_status status;
    CN_TRY_GOTO(parse(tokenizer, FILE_CONFIG, &config), out);
    CN_TRY_GOTO(parse(tokenizer, FILE_GENERATION, &generation), out);
    CN_TRY_GOTO(parse(tokenizer, FILE_MODEL, &model), out);
    CN_TRY_GOTO(check_added(tokenizer, config), out);
    CN_TRY_GOTO(choose_template(tokenizer, config, template_name), out);
    CN_TRY_GOTO(read_tokens(tokenizer, config, generation, model), out);
out:
    cn_json_close(model);
    cn_json_close(generation);
    cn_json_close(config);
    return status;
}
