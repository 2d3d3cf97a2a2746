/* Chat templates: rendering.  Which family a folder has is decided in detect.c. */
#include "template.h"

#include "utf8.h"

#include <stdlib.h>
#include <string.h>

static const struct cn_text think_open = {"<think>", 7}, think_close = {"</think>", 8},
                            tool_open = {"<tool_response>", 15},
                            tool_close = {"</tool_response>", 16};

/* The date in Llama-3.1's template; 3.2's asks a clock and falls back to the same one.  A prompt
 * that changes overnight would make a run unrepeatable, so it is always this one. */
static const char llama_date[] = "26 Jul 2024";

/* Where the text goes. */
struct writer {
    struct cn_str *out;
    struct chat_guards *guards;
};

static enum cn_status marker(const struct writer *writer, const char *text)
{
    return cn_str_add(writer->out, text);
}

/* Text of a message: repaired to UTF-8, and remembered as not the template's own. */
static enum cn_status content(const struct writer *writer, struct cn_text text)
{
    size_t begin = writer->out->length;
    CN_TRY(utf8_repair(text, writer->out));
    struct chat_guards *guards = writer->guards;
    if (!guards || writer->out->length == begin) return CN_OK;
    if (guards->count == guards->capacity) {
        size_t capacity = guards->capacity ? 2 * guards->capacity : 16;
        struct added_guard *grown = realloc(guards->item, capacity * sizeof *grown);
        if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: %zu messages", capacity);
        guards->item = grown;
        guards->capacity = capacity;
    }
    guards->item[guards->count++] = (struct added_guard){begin, writer->out->length};
    return CN_OK;
}

static bool is_role(const struct cn_message *message, const char *role)
{
    return strcmp(message->role, role) == 0;
}

static enum cn_status plain_render(const struct writer *writer, struct cn_messages messages)
{
    for (size_t i = 0; i < messages.count; i++) {
        CN_TRY(content(writer, messages.item[i].content));
        CN_TRY(marker(writer, "\n"));
    }
    return CN_OK;
}

static enum cn_status chatml_turn(const struct writer *writer, const char *role,
                                  struct cn_text text)
{
    CN_TRY(marker(writer, "<|im_start|>"));
    CN_TRY(marker(writer, role));
    CN_TRY(marker(writer, "\n"));
    CN_TRY(content(writer, text));
    return marker(writer, "<|im_end|>\n");
}

/* Qwen: tool messages in a row share one user turn. */
static enum cn_status tool_response(const struct writer *writer, struct cn_messages messages,
                                    size_t i)
{
    bool first = i == 0 || !is_role(&messages.item[i - 1], "tool");
    bool last = i + 1 == messages.count || !is_role(&messages.item[i + 1], "tool");
    if (first) CN_TRY(marker(writer, "<|im_start|>user"));
    CN_TRY(marker(writer, "\n<tool_response>\n"));
    CN_TRY(content(writer, messages.item[i].content));
    CN_TRY(marker(writer, "\n</tool_response>"));
    return last ? marker(writer, "<|im_end|>\n") : CN_OK;
}

static enum cn_status chatml_render(const struct chat_template *chat, const struct writer *writer,
                                    struct cn_messages messages)
{
    if (chat->has_system && !is_role(&messages.item[0], "system")) {
        CN_TRY(marker(writer, "<|im_start|>system\n"));
        CN_TRY(cn_str_append(writer->out, chat->system.data, chat->system.length));
        CN_TRY(marker(writer, "<|im_end|>\n"));
    }
    for (size_t i = 0; i < messages.count; i++) {
        const struct cn_message *message = &messages.item[i];
        if (chat->tool_responses && is_role(message, "tool"))
            CN_TRY(tool_response(writer, messages, i));
        else
            CN_TRY(chatml_turn(writer, message->role, message->content));
    }
    return CN_OK;
}

/* First (or last) place of `needle`, NULL if it is not there. */
static const char *find(struct cn_text text, struct cn_text needle, bool last)
{
    const char *found = NULL;
    for (size_t at = 0; at + needle.length <= text.length; at++)
        if (memcmp(text.data + at, needle.data, needle.length) == 0) {
            found = text.data + at;
            if (!last) break;
        }
    return found;
}

static struct cn_text strip_newlines(struct cn_text text, bool left, bool right)
{
    while (left && text.length && text.data[0] == '\n')
        text.data++, text.length--;
    while (right && text.length && text.data[text.length - 1] == '\n')
        text.length--;
    return text;
}

/* Index of the last message of a user that is not a wrapped tool response: assistant turns after it
 * keep their reasoning. */
static size_t last_query(struct cn_messages messages)
{
    for (size_t i = messages.count; i-- > 0;) {
        struct cn_text text = messages.item[i].content;
        bool wrapped = text.length >= tool_open.length &&
                       memcmp(text.data, tool_open.data, tool_open.length) == 0 &&
                       text.length >= tool_close.length &&
                       memcmp(text.data + text.length - tool_close.length, tool_close.data,
                              tool_close.length) == 0;
        if (is_role(&messages.item[i], "user") && !wrapped) return i;
    }
    return messages.count - 1;
}

/* Separates "<think>reasoning</think>answer" as Qwen3's template does. */
static void split_reasoning(struct cn_text text, struct cn_text *reasoning, struct cn_text *answer)
{
    *answer = text;
    *reasoning = (struct cn_text){0};
    const char *first = find(text, think_close, false), *last = find(text, think_close, true);
    if (!first) return;
    const char *end = text.data + text.length;
    last += think_close.length;
    *answer = strip_newlines((struct cn_text){last, (size_t)(end - last)}, true, false);
    struct cn_text before =
        strip_newlines((struct cn_text){text.data, (size_t)(first - text.data)}, false, true);
    const char *open = find(before, think_open, true);
    if (open) {
        open += think_open.length;
        before = (struct cn_text){open, (size_t)(before.data + before.length - open)};
    }
    *reasoning = strip_newlines(before, true, true);
}

static enum cn_status qwen3_assistant(const struct writer *writer, struct cn_text text,
                                      bool after_query, bool last)
{
    struct cn_text reasoning, answer;
    split_reasoning(text, &reasoning, &answer);
    CN_TRY(marker(writer, "<|im_start|>assistant\n"));
    if (after_query && (last || reasoning.length)) {
        CN_TRY(marker(writer, "<think>\n"));
        CN_TRY(content(writer, reasoning));
        CN_TRY(marker(writer, "\n</think>\n\n"));
        answer = strip_newlines(answer, true, false);
    }
    CN_TRY(content(writer, answer));
    return marker(writer, "<|im_end|>\n");
}

static enum cn_status qwen3_render(const struct writer *writer, struct cn_messages messages)
{
    size_t query = last_query(messages);
    for (size_t i = 0; i < messages.count; i++) {
        const struct cn_message *message = &messages.item[i];
        if (is_role(message, "tool"))
            CN_TRY(tool_response(writer, messages, i));
        else if (is_role(message, "assistant"))
            CN_TRY(qwen3_assistant(writer, message->content, i > query, i + 1 == messages.count));
        else
            CN_TRY(chatml_turn(writer, message->role, message->content));
    }
    return CN_OK;
}

static enum cn_status llama3_header(const struct writer *writer, const char *role)
{
    CN_TRY(marker(writer, "<|start_header_id|>"));
    CN_TRY(marker(writer, role));
    return marker(writer, "<|end_header_id|>\n\n");
}

static enum cn_status llama3_render(const struct chat_template *chat, const struct writer *writer,
                                    struct cn_messages messages)
{
    size_t first = 0;
    CN_TRY(cn_str_append(writer->out, chat->bos.data, chat->bos.length));
    if (chat->dated) {
        CN_TRY(llama3_header(writer, "system"));
        CN_TRY(cn_str_format(
            writer->out, "Cutting Knowledge Date: December 2023\nToday Date: %s\n\n", llama_date));
        if (is_role(&messages.item[0], "system"))
            CN_TRY(content(writer, utf8_strip(messages.item[first++].content)));
        CN_TRY(marker(writer, "<|eot_id|>"));
    }
    for (size_t i = first; i < messages.count; i++) {
        const struct cn_message *message = &messages.item[i];
        if (chat->dated && is_role(message, "tool"))
            return cn_fail(CN_ERR_DATA,
                           "message %zu: role \"tool\" is not supported by template %s", i + 1,
                           chat->name);
        CN_TRY(llama3_header(writer, message->role));
        CN_TRY(content(writer, utf8_strip(message->content)));
        CN_TRY(marker(writer, "<|eot_id|>"));
    }
    return CN_OK;
}

static enum cn_status check_messages(const struct chat_template *chat, struct cn_messages messages)
{
    static const char *const roles[] = {"system", "user", "assistant", "tool"};
    if (chat->style == CHAT_UNKNOWN)
        return cn_fail(CN_ERR_DATA,
                       "%.*s; give prompts that are rendered already ({\"rendered\": \"...\"} in "
                       "data rows, \"prompt\" or \"text\" in filters), or name one of the known "
                       "templates (data.template: chatml, qwen2, qwen3, llama3, llama3.1, smollm2, "
                       "plain)",
                       (int)chat->reason.length, chat->reason.data);
    if (messages.count == 0)
        return cn_fail(CN_ERR_DATA, "a conversation needs at least one message");
    for (size_t i = 0; i < messages.count; i++) {
        bool known = false;
        for (size_t r = 0; r < sizeof roles / sizeof *roles; r++)
            known = known || is_role(&messages.item[i], roles[r]);
        if (!known)
            return cn_fail(CN_ERR_DATA,
                           "message %zu: role \"%s\" is not one of system, user, assistant, tool",
                           i + 1, messages.item[i].role);
    }
    return CN_OK;
}

enum cn_status chat_template_render(const struct chat_template *chat, struct cn_messages messages,
                                    bool add_generation_prompt, struct cn_str *out,
                                    struct chat_guards *guards)
{
    struct writer writer = {out, guards};
    CN_TRY(check_messages(chat, messages));
    switch (chat->style) {
    case CHAT_UNKNOWN:
    case CHAT_PLAIN:
        return plain_render(&writer, messages);
    case CHAT_CHATML:
        CN_TRY(chatml_render(chat, &writer, messages));
        break;
    case CHAT_QWEN3:
        CN_TRY(qwen3_render(&writer, messages));
        break;
    case CHAT_LLAMA3:
        CN_TRY(llama3_render(chat, &writer, messages));
        return add_generation_prompt || chat->always_prompt ? llama3_header(&writer, "assistant")
                                                            : CN_OK;
    }
    if (!add_generation_prompt) return CN_OK;
    return marker(&writer, chat->think_prompt ? "<|im_start|>assistant\n<think>\n"
                                              : "<|im_start|>assistant\n");
}

const char *chat_template_end(const struct chat_template *chat)
{
    switch (chat->style) {
    case CHAT_UNKNOWN:
    case CHAT_PLAIN:
        return NULL;
    case CHAT_CHATML:
    case CHAT_QWEN3:
        return "<|im_end|>";
    case CHAT_LLAMA3:
        return "<|eot_id|>";
    }
    return NULL;
}

void chat_template_free(struct chat_template *chat)
{
    cn_str_free(&chat->system);
    cn_str_free(&chat->bos);
    cn_str_free(&chat->reason);
    *chat = (struct chat_template){0};
}

void chat_guards_free(struct chat_guards *guards)
{
    free(guards->item);
    *guards = (struct chat_guards){0};
}
