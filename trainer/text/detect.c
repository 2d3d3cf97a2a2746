/* Which family a chat template belongs to, by the markers in its text and the form of what it
 * writes.
 *
 * A wrong guess would train a model on a text it was never meant to see, without any error, so a
 * family is only taken if its own markers are there, a message has the form that template.c gives
 * it, and nothing is there that changes the text in a way this folder does not reproduce. */
#include "jinja.h"
#include "template.h"

#include <stdio.h>
#include <string.h>

static const char qwen_system[] =
    "You are Qwen, created by Alibaba Cloud. You are a helpful assistant.";
static const char smollm2_system[] =
    "You are a helpful AI assistant named SmolLM, trained by Hugging Face";

enum cn_status chat_template_named(const char *name, struct chat_template *out)
{
    static const struct {
        struct chat_template chat;
        const char *system;
    } known[] = {
        {{.name = "plain", .style = CHAT_PLAIN}, NULL},
        {{.name = "chatml", .style = CHAT_CHATML}, NULL},
        {{.name = "qwen2", .style = CHAT_CHATML, .has_system = true, .tool_responses = true},
         qwen_system},
        {{.name = "smollm2", .style = CHAT_CHATML, .has_system = true}, smollm2_system},
        {{.name = "qwen3", .style = CHAT_QWEN3}, NULL},
        {{.name = "llama3", .style = CHAT_LLAMA3}, NULL},
        {{.name = "llama3.1", .style = CHAT_LLAMA3, .dated = true}, NULL},
    };
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i].chat.name, name) != 0) continue;
        *out = known[i].chat;
        return known[i].system ? cn_str_add(&out->system, known[i].system) : CN_OK;
    }
    return cn_fail(CN_ERR_CONFIG,
                   "template \"%s\" is not known; use auto, chatml, qwen2, qwen3, llama3, "
                   "llama3.1, smollm2 or plain",
                   name);
}

static bool has(struct cn_text text, const char *needle)
{
    return text.length && memmem(text.data, text.length, needle, strlen(needle)) != NULL;
}

static bool has_any(struct cn_text text, const char *const *needles, const char **found)
{
    for (; *needles; needles++)
        if (has(text, *needles)) {
            *found = *needles;
            return true;
        }
    return false;
}

static enum cn_status refuse(struct chat_template *out, const char *why)
{
    chat_template_free(out);
    *out = (struct chat_template){.style = CHAT_UNKNOWN, .name = "unsupported"};
    return cn_str_format(&out->reason, "this model's chat template is not supported (%s)", why);
}

static enum cn_status refuse_part(struct chat_template *out, const char *part)
{
    char why[96];
    snprintf(why, sizeof why, "it uses \"%s\"", part);
    return refuse(out, why);
}

/* Where a literal text ends: at a quote, at Jinja, or at `end`. */
static const char *literal_end(const char *p, const char *end)
{
    for (; p < end && *p != '\'' && *p != '"'; p += *p == '\\' && p + 1 < end ? 2 : 1)
        if (*p == '{' && p + 1 < end && (p[1] == '{' || p[1] == '%')) break;
    return p;
}

/* The text T of "<|im_start|>system\nT<|im_end|>" where the template says it as a literal: the
 * system message of conversations that bring none.  A newline and a backslash may be written as
 * Jinja escapes. */
static enum cn_status default_system(struct cn_text text, struct chat_template *out)
{
    static const char head[] = "<|im_start|>system", tail[] = "<|im_end|>";
    const char *end = text.data + text.length, *p = text.data;
    while ((p = memmem(p, (size_t)(end - p), head, sizeof head - 1)) != NULL) {
        p += sizeof head - 1;
        if (end - p > 2 && p[0] == '\\' && p[1] == 'n')
            p += 2;
        else if (end - p > 1 && p[0] == '\n')
            p++;
        else
            continue;
        const char *stop = memmem(p, (size_t)(end - p), tail, sizeof tail - 1);
        const char *q = literal_end(p, stop ? stop : end);
        if (q == p)
            continue; /* the end of a literal: a system message of the conversation follows */
        if (q != stop) return refuse(out, "its own system text is not one literal");
        out->has_system = true;
        for (; p < stop; p++) {
            bool escaped = *p == '\\' && p + 1 < stop;
            if (escaped) p++;
            CN_TRY(cn_str_append(&out->system, escaped && *p == 'n' ? "\n" : p, 1));
        }
        return CN_OK;
    }
    return CN_OK;
}

/* The text has `form`, in which each % stands for the name that the template gives a message. */
static bool has_form(struct cn_text spelled, struct cn_text name, const char *form)
{
    struct cn_str text = {0};
    enum cn_status status = CN_OK;
    for (; *form && status == CN_OK; form++)
        status = *form == '%' ? cn_str_append(&text, name.data, name.length)
                              : cn_str_append(&text, form, 1);
    bool found =
        status == CN_OK && memmem(spelled.data, spelled.length, text.data, text.length) != NULL;
    cn_str_free(&text);
    return found;
}

/* N of the first "{%for N in messages%}"; empty if there is none. */
static struct cn_text message_name(struct cn_text spelled)
{
    const char *tail = memmem(spelled.data, spelled.length, "inmessages%}", 12);
    if (!tail) tail = memmem(spelled.data, spelled.length, "inloop_messages%}", 17);
    if (!tail) return (struct cn_text){0};
    const char *name = tail;
    while (name > spelled.data && name[-1] != '%')
        name--;
    if (name - spelled.data < 2 || tail - name < 4 || memcmp(name - 2, "{%for", 5) != 0)
        return (struct cn_text){0};
    return (struct cn_text){name + 3, (size_t)(tail - name) - 3};
}

/* A filter other than tojson; the bars of <|im_start|> are none. */
static bool filters(struct cn_text spelled)
{
    const char *end = spelled.data + spelled.length;
    for (const char *c = spelled.data; c < end; c++) {
        bool marker = (c > spelled.data && c[-1] == '<') || (c + 1 < end && c[1] == '>');
        if (*c == '|' && !marker && (end - c < 7 || memcmp(c, "|tojson", 7) != 0)) return true;
    }
    return false;
}

/* Why a spelled ChatML template writes something else than chatml_render; NULL: it does not. */
static const char *odd_chatml(struct cn_text spelled)
{
    static const char tail[] =
        "{%endfor%}{%ifadd_generation_prompt%}<|im_start|>assistant\n{%endif%}";
    const struct cn_text name = message_name(spelled);
    if (!name.length) return "it does not loop over messages";
    if (!has_form(spelled, name, "<|im_start|>{%.role}\n{%.content}<|im_end|>\n{") &&
        !has_form(spelled, name, "<|im_start|>{%.role}\n{content}<|im_end|>\n{"))
        return "its messages are not <|im_start|>ROLE\\nCONTENT<|im_end|>\\n";
    if (has_form(spelled, name, "%.role!='system'")) return "it leaves system messages out";
    if (filters(spelled)) return "it changes texts by filters";
    if (spelled.data[0] != '{' && spelled.data[0] != '<') return "it begins with a text of its own";
    if (spelled.length < sizeof tail - 1 ||
        memcmp(spelled.data + spelled.length - (sizeof tail - 1), tail, sizeof tail - 1) != 0)
        return "it does not end with <|im_start|>assistant\\n where an answer is asked for";
    return NULL;
}

/* A spelled Llama-3 template writes something else than llama3_render. */
static bool odd_llama3(struct cn_text spelled)
{
    const struct cn_text name = message_name(spelled);
    return !name.length ||
           (!has_form(
                spelled, name,
                "<|start_header_id|>{%.role}<|end_header_id|>\n\n{%.content|trim}<|eot_id|>{") &&
            !has_form(spelled, name,
                      "'<|start_header_id|>'+%.role+'<|end_header_id|>\n\n'+%.content|trim+"
                      "'<|eot_id|>'"));
}

static enum cn_status detect_qwen3(struct cn_text text, struct chat_template *out)
{
    static const char *const needed[] = {"last_query_index", "loop.last or (not loop.last",
                                         "split('</think>')[-1].lstrip('\\n')",
                                         "reasoning_content.strip('\\n')"};
    for (size_t i = 0; i < sizeof needed / sizeof *needed; i++)
        if (!has(text, needed[i])) return refuse(out, "it handles <think> in a way of its own");
    *out = (struct chat_template){.style = CHAT_QWEN3, .name = "qwen3"};
    out->think_prompt = has(text, "<|im_start|>assistant\\n<think>\\n' }}");
    return CN_OK;
}

static enum cn_status detect_chatml(struct cn_text text, struct chat_template *out)
{
    static const char *const foreign[] = {
        "strftime_now",    "<|im_sep|>", "| trim",    "|trim",     ".strip(",
        "raise_exception", "bos_token",  "eos_token", "documents", NULL};
    static const char *const think[] = {"<think>", "</think>", "reasoning_content", NULL};
    const char *found = NULL;
    if (has_any(text, think, &found) && has(text, "last_query_index"))
        return detect_qwen3(text, out);
    if (found) return refuse_part(out, found);
    if (has_any(text, foreign, &found)) return refuse_part(out, found);
    struct cn_str spelled = {0};
    enum cn_status status = jinja_spell(text, &spelled);
    const char *why = status == CN_OK ? odd_chatml(cn_str_text(&spelled)) : NULL;
    cn_str_free(&spelled);
    CN_TRY(status);
    if (why) return refuse(out, why);
    *out = (struct chat_template){.style = CHAT_CHATML, .name = "chatml"};
    out->tool_responses = has(text, "<tool_response>");
    CN_TRY(default_system(text, out));
    if (out->style == CHAT_UNKNOWN) return CN_OK;
    if (out->tool_responses && out->has_system)
        out->name = "qwen2";
    else if (out->has_system && cn_text_is(cn_str_text(&out->system), smollm2_system))
        out->name = "smollm2";
    return CN_OK;
}

static enum cn_status detect_llama3(struct cn_text text, struct chat_template *out)
{
    static const char *const foreign[] = {"strftime_now", "<think>", "raise_exception", "documents",
                                          "image",        "tool",    "<|python_tag|>",  NULL};
    const char *found;
    *out = (struct chat_template){.style = CHAT_LLAMA3, .name = "llama3"};
    if (has(text, "Cutting Knowledge Date: December 2023\\n") &&
        has(text, "\"Today Date: \" + date_string") && has(text, "\"26 Jul 2024\"")) {
        out->dated = true;
        out->name = "llama3.1";
        if (has(text, "<think>") || has(text, "<|image|>"))
            return refuse(out, "a variant of Llama-3.1's");
        return CN_OK;
    }
    if (has_any(text, foreign, &found)) return refuse_part(out, found);
    struct cn_str spelled = {0};
    enum cn_status status = jinja_spell(text, &spelled);
    bool odd = status == CN_OK && odd_llama3(cn_str_text(&spelled));
    cn_str_free(&spelled);
    CN_TRY(status);
    if (odd) return refuse(out, "Llama-3 with messages of another form");
    out->always_prompt = !has(text, "add_generation_prompt");
    return CN_OK;
}

enum cn_status chat_template_detect(struct cn_text text, struct chat_template *out)
{
    if (has(text, "<|start_header_id|>") && has(text, "<|end_header_id|>") &&
        has(text, "<|eot_id|>"))
        return detect_llama3(text, out);
    if (has(text, "<|im_start|>") && has(text, "<|im_end|>")) return detect_chatml(text, out);
    if (has(text, "message['content'] + '\\n'") && !has(text, "<|") && !has(text, "role"))
        return chat_template_named("plain", out);
    return refuse(out, "it is neither ChatML, Qwen3, Llama-3 nor plain");
}
