/* One line of a data file -> a row: which keys people use for prompt, ground truth and answer. */
#include "row.h"

#include "carnot/json.h"
#include "scan.h"

#include <string.h>

/* In order of preference.  A key with a dot is a member of an object. */
static const char *const prompt_keys[] = {"prompt", "input", "question", "problem"};
static const char *const truth_keys[] = {"reward_model.ground_truth",
                                         "reward_spec.ground_truth",
                                         "ground_truth",
                                         "label",
                                         "expected_answer",
                                         "answer",
                                         "solution"};
static const char *const answer_keys[] = {"completion", "response", "solution", "answer", "label"};

enum { N_PROMPT = 4, N_TRUTH = 7, N_ANSWER = 5 };

struct reader {
    struct cn_arena *arena;
    const struct cn_json *root;
    struct cn_row *row;
    const char *system;
};

static enum cn_status keep(const struct reader *reader, struct cn_text text, struct cn_text *out)
{
    char *copy;
    CN_TRY(cn_arena_text(reader->arena, text.data ? text.data : "", text.length, &copy));
    *out = (struct cn_text){copy, text.length};
    return CN_OK;
}

/* Splits "a.b"; returns the node or NULL. */
static const struct cn_json *node_at(const struct cn_json *root, const char *path)
{
    const char *dot = strchr(path, '.');
    if (!dot) return cn_json_get(root, path);
    char first[32];
    size_t length = (size_t)(dot - path);
    memcpy(first, path, length);
    first[length] = 0;
    const struct cn_json *inner = cn_json_get(root, first);
    return cn_json_kind(inner) == CN_JSON_OBJECT ? cn_json_get(inner, dot + 1) : NULL;
}

/* Exact text of a value that is not a string: a number keeps all its digits. */
static enum cn_status raw_at(struct cn_text line, const char *path, struct cn_text *out)
{
    struct scan scan;
    const char *dot = strchr(path, '.');
    char first[32];
    size_t length = dot ? (size_t)(dot - path) : strlen(path);
    memcpy(first, path, length);
    first[length] = 0;
    const char *keys[] = {first};
    scan_init(&scan, line, path, line.data);
    CN_TRY(scan_members(&scan, keys, 1, out));
    if (!dot) return CN_OK;
    scan_init(&scan, *out, path, out->data);
    keys[0] = dot + 1;
    return scan_members(&scan, keys, 1, out);
}

/* GSM8K: what stands after the last "####", white space cut, commas kept. */
static bool after_hashes(struct cn_text text, struct cn_text *out)
{
    const char *found = NULL, *end = text.data + text.length;
    for (const char *p = text.data; p && (p = memmem(p, (size_t)(end - p), "####", 4)) != NULL;)
        found = p += 4;
    if (!found) return false;
    while (found < end && strchr(" \t\r\n", *found))
        found++;
    while (end > found && strchr(" \t\r\n", end[-1]))
        end--;
    *out = (struct cn_text){found, (size_t)(end - found)};
    return true;
}

static enum cn_status read_truth(const struct reader *reader)
{
    for (size_t i = 0; i < N_TRUTH; i++) {
        const struct cn_json *node = node_at(reader->root, truth_keys[i]);
        if (cn_json_kind(node) == CN_JSON_NULL) continue;
        struct cn_text text = cn_json_text(node);
        if (cn_json_kind(node) != CN_JSON_TEXT)
            CN_TRY(raw_at(reader->row->raw, truth_keys[i], &text));
        else if (strcmp(truth_keys[i], "answer") == 0 && cn_json_get(reader->root, "question"))
            after_hashes(text, &text);
        return keep(reader, text, &reader->row->ground_truth);
    }
    return CN_OK;
}

/* Content of a message: text, null, or a list of {"type": "text", "text": ...}. */
static enum cn_status read_content(const struct reader *reader, const struct cn_json *node,
                                   struct cn_text *out)
{
    if (cn_json_kind(node) == CN_JSON_TEXT) return keep(reader, cn_json_text(node), out);
    if (cn_json_kind(node) == CN_JSON_NULL) return keep(reader, (struct cn_text){"", 0}, out);
    if (cn_json_kind(node) != CN_JSON_LIST) return cn_fail(CN_ERR_DATA, "content must be text");
    struct cn_str joined = {0};
    enum cn_status status = CN_OK;
    for (const struct cn_json *n = cn_json_first(node); n && status == CN_OK; n = cn_json_next(n)) {
        struct cn_text text = cn_json_text(cn_json_get(n, "text"));
        if (!cn_text_is(cn_json_text(cn_json_get(n, "type")), "text"))
            status = cn_fail(CN_ERR_DATA, "content has a part that is not text");
        else
            status = cn_str_append(&joined, text.data ? text.data : "", text.length);
    }
    if (status == CN_OK) status = keep(reader, cn_str_text(&joined), out);
    cn_str_free(&joined);
    return status;
}

static enum cn_status read_message(const struct reader *reader, const struct cn_json *node,
                                   struct cn_message *out)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    const char *role;
    if (cn_json_kind(node) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_DATA, "must be an object with role and content");
    CN_TRY(cn_json_need_text(node, "role", &role));
    out->role = NULL;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++)
        if (strcmp(role, roles[i]) == 0) out->role = roles[i];
    if (!out->role)
        return cn_fail(CN_ERR_DATA, "role \"%s\" is not one of system, user, assistant, tool",
                       role);
    const struct cn_json *calls = cn_json_get(node, "tool_calls");
    if (cn_json_count(calls) > 0)
        return cn_fail(CN_ERR_DATA, "tool_calls are not supported; give the prompt rendered");
    return read_content(reader, cn_json_get(node, "content"), &out->content);
}

/* A list of messages; a system message is put before them if one is asked for and none is there. */
static enum cn_status read_messages(const struct reader *reader, const char *key,
                                    const struct cn_json *list)
{
    struct cn_message *item;
    size_t count = 0, n = cn_json_count(list);
    if (n == 0) return cn_fail(CN_ERR_DATA, "%s is an empty list", key);
    CN_TRY(CN_NEW(reader->arena, n + 1, &item));
    for (const struct cn_json *node = cn_json_first(list); node; node = cn_json_next(node)) {
        enum cn_status status = read_message(reader, node, &item[count + 1]);
        if (status != CN_OK) return cn_fail_context(status, "%s[%zu]", key, count);
        count++;
    }
    bool add = reader->system && strcmp(item[1].role, "system") != 0;
    item[0] = (struct cn_message){"system", cn_text(reader->system ? reader->system : "")};
    reader->row->messages =
        add ? (struct cn_messages){item, count + 1} : (struct cn_messages){item + 1, count};
    return CN_OK;
}

static enum cn_status read_question(const struct reader *reader, const struct cn_json *text)
{
    struct cn_message *item;
    CN_TRY(CN_NEW(reader->arena, 2, &item));
    item[0] = (struct cn_message){"system", cn_text(reader->system ? reader->system : "")};
    item[1].role = "user";
    CN_TRY(keep(reader, cn_json_text(text), &item[1].content));
    reader->row->messages =
        reader->system ? (struct cn_messages){item, 2} : (struct cn_messages){item + 1, 1};
    return CN_OK;
}

/* The last message of the assistant is what a supervised run learns to say. */
static void split_answer(struct cn_row *row)
{
    size_t last = row->messages.count - 1;
    if (last == 0 || strcmp(row->messages.item[last].role, "assistant") != 0) return;
    row->answer = row->messages.item[last].content;
    row->messages.count = last;
}

static enum cn_status read_prompt(const struct reader *reader)
{
    const struct cn_json *node = cn_json_get(reader->root, "rendered");
    if (cn_json_kind(node) == CN_JSON_TEXT)
        return keep(reader, cn_json_text(node), &reader->row->rendered);
    if (cn_json_kind(node) != CN_JSON_NULL) return cn_fail(CN_ERR_DATA, "rendered must be text");
    node = cn_json_get(reader->root, "messages");
    if (cn_json_kind(node) == CN_JSON_LIST) {
        CN_TRY(read_messages(reader, "messages", node));
        split_answer(reader->row);
        return CN_OK;
    }
    for (size_t i = 0; i < N_PROMPT; i++) {
        node = cn_json_get(reader->root, prompt_keys[i]);
        if (cn_json_kind(node) == CN_JSON_NULL) continue;
        if (cn_json_kind(node) == CN_JSON_LIST) return read_messages(reader, prompt_keys[i], node);
        if (cn_json_kind(node) == CN_JSON_TEXT) return read_question(reader, node);
        return cn_fail(CN_ERR_DATA, "%s must be text or a list of messages", prompt_keys[i]);
    }
    return cn_fail(CN_ERR_DATA, "no prompt: none of the keys rendered, messages, prompt, input, "
                                "question, problem is there");
}

/* Text, or (TRL's completion) a list of one message of the assistant. */
static enum cn_status read_answer(const struct reader *reader)
{
    struct cn_message message;
    for (size_t i = 0; i < N_ANSWER && !reader->row->answer.data; i++) {
        const struct cn_json *node = cn_json_get(reader->root, answer_keys[i]);
        if (cn_json_kind(node) == CN_JSON_TEXT) {
            CN_TRY(keep(reader, cn_json_text(node), &reader->row->answer));
        } else if (i == 0 && cn_json_kind(node) == CN_JSON_LIST && cn_json_count(node) == 1) {
            enum cn_status status = read_message(reader, cn_json_first(node), &message);
            if (status != CN_OK) return cn_fail_context(status, "%s[0]", answer_keys[i]);
            reader->row->answer = message.content;
        }
    }
    return CN_OK;
}

enum cn_status row_read(struct cn_text line, const char *name, const char *system,
                        struct cn_arena *arena, struct cn_row *out)
{
    struct cn_json *root = NULL;
    struct cn_row row = {.raw = line};
    CN_TRY(cn_json_parse_line(line, name, &root));
    struct reader reader = {arena, root, &row, system};
    enum cn_status status = CN_OK;
    if (cn_json_kind(root) != CN_JSON_OBJECT)
        status = cn_fail(CN_ERR_DATA, "every line must be one JSON object");
    if (status == CN_OK) status = read_prompt(&reader);
    if (status == CN_OK) status = read_truth(&reader);
    if (status == CN_OK) status = read_answer(&reader);
    if (status == CN_OK)
        *out = row;
    else
        status = cn_fail_context(status, "%s", name);
    cn_json_close(root);
    return status;
}
