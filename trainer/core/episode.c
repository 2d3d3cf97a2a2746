/* An answer to score, as rows of `carnot grade` and items of the reward service write it. */
#include "carnot/reward.h"

#include <stdlib.h>
#include <string.h>

/* A node as text: a text itself, anything else as its JSON; absent or null is empty. */
static enum cn_status as_text(const struct cn_json *node, struct cn_arena *arena,
                              struct cn_text *out)
{
    struct cn_str printed = {NULL, 0, 0};
    char *copy = NULL;
    *out = (struct cn_text){"", 0};
    if (cn_json_kind(node) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(node) == CN_JSON_TEXT) {
        *out = cn_json_text(node);
        return CN_OK;
    }
    enum cn_status status = cn_json_print(node, false, &printed);
    if (status == CN_OK) status = cn_arena_text(arena, printed.data, printed.length, &copy);
    if (status == CN_OK) *out = (struct cn_text){copy, printed.length};
    cn_str_free(&printed);
    return status;
}

static enum cn_status read_messages(const struct cn_json *list, struct cn_arena *arena,
                                    struct cn_messages *out)
{
    const size_t count = cn_json_count(list);
    struct cn_message *item;
    size_t i = 0;
    CN_TRY(CN_NEW(arena, count, &item));
    for (const struct cn_json *m = cn_json_first(list); m; m = cn_json_next(m), i++) {
        if (cn_json_need_text(m, "role", &item[i].role) != CN_OK)
            return cn_fail_context(CN_ERR_DATA, "prompt message %zu", i);
        CN_TRY(as_text(cn_json_get(m, "content"), arena, &item[i].content));
    }
    *out = (struct cn_messages){item, count};
    return CN_OK;
}

/* "stop" as `carnot sample` writes it, or "finish_reason" as chat interfaces do; a row without
 * either has ended by itself. */
static enum cn_status read_stop(const struct cn_json *row, enum cn_stop *out)
{
    static const char *const keys[] = {"stop", "finish_reason"};
    struct cn_text word = {"", 0};
    for (size_t i = 0; i < 2; i++) {
        const struct cn_json *node = cn_json_get(row, keys[i]);
        if (cn_json_kind(node) != CN_JSON_NULL && cn_json_kind(node) != CN_JSON_TEXT)
            return cn_fail(CN_ERR_DATA, "\"%s\" must be a text", keys[i]);
        if (!word.length) word = cn_json_text(node);
    }
    *out = CN_STOP_EOS;
    if (!word.length) return CN_OK;
    for (unsigned stop = 0; stop < CN_STOP_COUNT; stop++)
        if (cn_text_is(word, cn_stop_name(stop))) {
            *out = (enum cn_stop)stop;
            return CN_OK;
        }
    return cn_fail(CN_ERR_DATA,
                   "\"stop\" is \"%.*s\"; known are eos, stop, length, truncated, error",
                   word.length < 64 ? (int)word.length : 64, word.data);
}

static bool is_ours(const char *key)
{
    static const char *const keys[] = {"id",   "response",      "ground_truth",    "prompt",
                                       "stop", "finish_reason", "response_tokens", "max_tokens"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(key, keys[i]) == 0) return true;
    return false;
}

/* The data row: the object "row", else what the object holds beside the members read here. */
static enum cn_status read_row(const struct cn_json *object, struct cn_arena *arena,
                               struct cn_text *out)
{
    const struct cn_json *row = cn_json_get(object, "row");
    struct cn_json *rest = NULL, *copy;
    size_t others = 0;
    if (cn_json_kind(row) == CN_JSON_OBJECT) return as_text(row, arena, out);
    for (const struct cn_json *m = cn_json_first(object); m; m = cn_json_next(m))
        others += !is_ours(cn_json_key(m));
    if (!others) return CN_OK;
    CN_TRY(cn_json_new(CN_JSON_OBJECT, &rest));
    enum cn_status status = CN_OK;
    for (const struct cn_json *m = cn_json_first(object); m; m = cn_json_next(m)) {
        if (is_ours(cn_json_key(m))) continue;
        CN_TRY_GOTO(cn_json_copy(m, &copy), out);
        CN_TRY_GOTO(cn_json_set(rest, cn_json_key(m), copy), out);
    }
    status = as_text(rest, arena, out);
out:
    cn_json_close(rest);
    return status;
}

enum cn_status cn_episode_set(const struct cn_json *prompt, const struct cn_json *response,
                              const struct cn_json *ground_truth, struct cn_arena *arena,
                              struct cn_episode *out)
{
    struct cn_episode episode = {
        .response = cn_json_text(response), .row = {"", 0}, .stop = CN_STOP_EOS};
    if (cn_json_kind(response) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_DATA, "the row has no text \"response\"");
    if (cn_json_kind(prompt) != CN_JSON_NULL && cn_json_kind(prompt) != CN_JSON_TEXT &&
        cn_json_kind(prompt) != CN_JSON_LIST)
        return cn_fail(CN_ERR_DATA, "\"prompt\" must be a text or a list of messages");
    CN_TRY(as_text(ground_truth, arena, &episode.ground_truth));
    episode.prompt_text = (struct cn_text){"", 0};
    if (cn_json_kind(prompt) == CN_JSON_LIST)
        CN_TRY(read_messages(prompt, arena, &episode.prompt));
    else
        CN_TRY(as_text(prompt, arena, &episode.prompt_text));
    *out = episode;
    return CN_OK;
}

enum cn_status cn_episode_read(const struct cn_json *object, struct cn_arena *arena,
                               struct cn_episode *out)
{
    struct cn_episode episode;
    int64_t tokens, max_tokens;
    if (cn_json_kind(object) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_DATA, "an answer to score is a JSON object");
    CN_TRY(cn_episode_set(cn_json_get(object, "prompt"), cn_json_get(object, "response"),
                          cn_json_get(object, "ground_truth"), arena, &episode));
    CN_TRY(cn_json_int_or(object, "response_tokens", 0, INT32_MAX, 0, &tokens));
    CN_TRY(cn_json_int_or(object, "max_tokens", 0, INT32_MAX, 0, &max_tokens));
    CN_TRY(read_stop(object, &episode.stop));
    CN_TRY(read_row(object, arena, &episode.row));
    episode.response_tokens = (size_t)tokens;
    episode.max_tokens = (size_t)max_tokens;
    *out = episode;
    return CN_OK;
}
