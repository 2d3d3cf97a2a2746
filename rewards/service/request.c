/* Bodies of the three protocols. */
#include "request.h"

#include "code.h"
#include "frame.h"

#include <stdlib.h>
#include <string.h>

/* What the readers of one body share. */
struct reading {
    struct service_request *request;
    struct cn_arena arena;
    struct cn_texts special_tokens;
};

/* ---- pieces -------------------------------------------------------------- */

static bool ends_with(struct cn_text text, const char *end, size_t n)
{
    return n && text.length >= n && memcmp(text.data + text.length - n, end, n) == 0;
}

/* Bytes of a <|...|> at the end of the text, or 0. */
static size_t bar_token(struct cn_text text)
{
    enum { LONGEST = 64 };
    if (!ends_with(text, "|>", 2)) return 0;
    for (size_t n = 5; n <= text.length && n <= LONGEST; n++) {
        const char *at = text.data + text.length - n;
        if (at[0] == '<' && at[1] == '|') return n;
        if (at[0] == '>' || at[0] == '\n') return 0;
    }
    return 0;
}

/* Bytes of a special token at the end of the text, or 0. */
static size_t last_token(struct cn_text text, struct cn_texts special_tokens)
{
    for (size_t i = 0; i < special_tokens.count; i++) {
        const size_t n = strlen(special_tokens.value[i]);
        if (ends_with(text, special_tokens.value[i], n)) return n;
    }
    return bar_token(text);
}

struct cn_text request_strip(struct cn_text text, struct cn_texts special_tokens)
{
    for (;;) {
        struct cn_text end = text; /* white space between tokens goes with them */
        while (end.length && strchr(" \n\r\t", end.data[end.length - 1]))
            end.length--;
        const size_t n = last_token(end, special_tokens);
        if (!n) return text;
        text.length = end.length - n;
    }
}

static enum cn_status new_items(struct service_request *request, size_t n)
{
    request->item = calloc(n ? n : 1, sizeof *request->item);
    if (!request->item) return cn_fail(CN_ERR_MEMORY, "out of memory for %zu answers", n);
    request->n = request->left = n;
    for (size_t i = 0; i < n; i++)
        request->item[i].request = request;
    return CN_OK;
}

/* Keeps the item's episode, or why it has none: `status` is the reader's. */
static enum cn_status keep(struct reading *r, size_t i, enum cn_status status,
                           const struct cn_episode *episode)
{
    struct service_request *request = r->request;
    struct service_item *item = &request->item[i];
    item->frame.at = request->frames.length;
    if (status == CN_OK) status = frame_episode(episode, &request->frames);
    item->frame.length = request->frames.length - item->frame.at;
    cn_arena_reset(&r->arena);
    if (status != CN_ERR_DATA) return status;
    item->frame.length = 0;
    request->frames.length = item->frame.at;
    item->error.at = request->notes.length;
    CN_TRY(cn_str_add(&request->notes, cn_fail_message()));
    item->error.length = request->notes.length - item->error.at;
    request->left--;
    cn_fail_clear();
    return CN_OK;
}

/* ---- the protocols ------------------------------------------------------- */

static enum cn_status read_score(struct reading *r, const struct cn_json *body)
{
    const struct cn_json *items = cn_json_get(body, "items");
    struct service_request *request = r->request;
    int64_t deadline_ms;
    size_t i = 0;
    if (cn_json_kind(items) != CN_JSON_LIST)
        return cn_fail(CN_ERR_DATA, "the body must be {\"items\": [{\"id\", \"response\", "
                                    "\"ground_truth\", ...}, ...]}");
    CN_TRY(cn_json_int_or(body, "deadline_ms", 1, 86400000, 0, &deadline_ms));
    request->deadline = 1e-3 * (double)deadline_ms;
    CN_TRY(new_items(request, cn_json_count(items)));
    for (const struct cn_json *node = cn_json_first(items); node; node = cn_json_next(node), i++) {
        const struct cn_json *id = cn_json_get(node, "id");
        struct cn_episode episode;
        request->item[i].id.at = request->notes.length;
        if (id) CN_TRY(cn_json_print(id, false, &request->notes));
        request->item[i].id.length = request->notes.length - request->item[i].id.at;
        const enum cn_status status = cn_episode_read(node, &r->arena, &episode);
        CN_TRY(keep(r, i, status, &episode));
    }
    return CN_OK;
}

/* The answer without the prompt in front of it.  A tokenizer may have put its start tokens first;
 * where the prompt is not found, all of the text is the answer. */
static struct cn_text behind(struct cn_text text, struct cn_text prompt)
{
    enum { START_TOKENS = 64 };
    const size_t reach = prompt.length + START_TOKENS;
    const size_t searched = text.length < reach ? text.length : reach;
    const char *found =
        prompt.length ? memmem(text.data, searched, prompt.data, prompt.length) : NULL;
    if (!found) return text;
    const size_t skip = (size_t)(found - text.data) + prompt.length;
    return (struct cn_text){text.data + skip, text.length - skip};
}

/* query = prompt + answer, decoded with special tokens. */
static enum cn_status read_get_reward(struct reading *r, const struct cn_json *body)
{
    static const char *const names[] = {"query", "prompts", "labels"};
    const struct cn_json *list[3], *node[3];
    size_t i = 0;
    for (int k = 0; k < 3; k++) {
        list[k] = cn_json_get(body, names[k]);
        if (cn_json_kind(list[k]) != CN_JSON_LIST ||
            cn_json_count(list[k]) != cn_json_count(list[0]))
            return cn_fail(CN_ERR_DATA, "the body must be {\"query\": [...], \"prompts\": [...], "
                                        "\"labels\": [...]}, lists of one length");
        node[k] = cn_json_first(list[k]);
    }
    CN_TRY(new_items(r->request, cn_json_count(list[0])));
    for (; node[0]; i++) {
        struct cn_episode episode;
        const enum cn_status status =
            cn_episode_set(node[1], node[0], node[2], &r->arena, &episode);
        if (status == CN_OK)
            episode.response =
                request_strip(behind(episode.response, episode.prompt_text), r->special_tokens);
        CN_TRY(keep(r, i, status, &episode));
        for (int k = 0; k < 3; k++)
            node[k] = cn_json_next(node[k]);
    }
    return CN_OK;
}

static enum cn_status read_rm(struct reading *r, const struct cn_json *body)
{
    struct cn_episode episode;
    if (cn_json_kind(cn_json_get(body, "response")) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_DATA,
                       "the body must be {\"prompt\": ..., \"response\": \"...\", \"label\": ...}");
    CN_TRY(new_items(r->request, 1));
    const enum cn_status status =
        cn_episode_set(cn_json_get(body, "prompt"), cn_json_get(body, "response"),
                       cn_json_get(body, "label"), &r->arena, &episode);
    if (status == CN_OK) episode.response = request_strip(episode.response, r->special_tokens);
    return keep(r, 0, status, &episode);
}

static enum cn_status read_run_code(struct reading *r, const struct cn_json *body)
{
    struct cn_episode episode;
    CN_TRY(code_read(body, &r->arena, &episode));
    CN_TRY(new_items(r->request, 1));
    return keep(r, 0, CN_OK, &episode);
}

/* ---- a body -------------------------------------------------------------- */

static enum cn_status parse(struct cn_text body, struct cn_json **out)
{
    struct cn_str repaired = {NULL, 0, 0};
    bool changed = false;
    enum cn_status status = cn_json_parse(body, "body", out);
    if (status != CN_ERR_DATA) return status;
    if (cn_json_repair(body, &repaired, &changed) == CN_OK && changed) {
        cn_fail_clear();
        status = cn_json_parse(cn_str_text(&repaired), "body", out);
    }
    cn_str_free(&repaired);
    return status;
}

enum cn_status request_read(enum service_form form, struct cn_text body,
                            struct cn_texts special_tokens, struct service_request **out)
{
    static enum cn_status (*const readers[])(struct reading *, const struct cn_json *) = {
        [SERVICE_SCORE] = read_score,
        [SERVICE_GET_REWARD] = read_get_reward,
        [SERVICE_RM] = read_rm,
        [SERVICE_RUN_CODE] = read_run_code};
    struct reading reading = {.special_tokens = special_tokens};
    struct cn_json *root = NULL;
    enum cn_status status;
    cn_arena_init(&reading.arena);
    CN_TRY(parse(body, &root));
    reading.request = calloc(1, sizeof *reading.request);
    if (!reading.request) {
        status = cn_fail(CN_ERR_MEMORY, "out of memory for a request");
        goto out;
    }
    reading.request->form = form;
    CN_TRY_GOTO(readers[form](&reading, root), out);
    for (size_t i = 0; i < reading.request->n; i++) { /* the buffer stays where it is now */
        struct service_item *item = &reading.request->item[i];
        if (item->frame.length) /* an item that could not be read has none */
            item->work.frame = reading.request->frames.data + item->frame.at;
        item->work.length = item->frame.length;
        item->work.owner = item;
    }
    *out = reading.request;
out:
    if (status != CN_OK) request_close(reading.request);
    cn_arena_free(&reading.arena);
    cn_json_close(root);
    return status;
}

void request_close(struct service_request *take_request)
{
    if (!take_request) return;
    free(take_request->item);
    cn_str_free(&take_request->frames);
    cn_str_free(&take_request->notes);
    cn_str_free(&take_request->results);
    free(take_request);
}

enum cn_status request_settle(struct service_item *item, struct cn_text result)
{
    struct cn_str *results = &item->request->results;
    CN_BUG_IF(item->result.length);
    const size_t at = results->length;
    CN_TRY(cn_str_append(results, result.data, result.length));
    item->result = (struct piece){at, result.length};
    item->request->left--;
    return CN_OK;
}
