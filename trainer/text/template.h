/* Chat templates: how a conversation becomes the text that a model was trained on.
 *
 * A Hugging Face folder brings a program in the Jinja language.  Carnot does not run it: it knows
 * the few families below by their markers, and refuses everything else with a message that shows
 * the way around (rendered prompts). */
#ifndef CARNOT_TEXT_TEMPLATE_H
#define CARNOT_TEXT_TEMPLATE_H

#include "added.h"
#include "carnot/tokenizer.h"

enum chat_style {
    CHAT_UNKNOWN, /* none, or one that is not supported: rendering fails with `reason` */
    CHAT_PLAIN,   /* contents, a newline after each */
    CHAT_CHATML,  /* <|im_start|>role\ncontent<|im_end|>\n: Qwen2, Qwen2.5, SmolLM2 */
    CHAT_QWEN3,   /* ChatML with <think> handling */
    CHAT_LLAMA3   /* <|start_header_id|>role<|end_header_id|>\n\ncontent<|eot_id|> */
};

struct chat_template {
    enum chat_style style;
    const char *name;    /* as cn_tokenizer_open spells it; static */
    bool has_system;     /* `system` is said where the conversation has no system message first */
    bool tool_responses; /* ChatML: tool messages are wrapped and put into a user turn (Qwen) */
    bool think_prompt;   /* Qwen3: the generation prompt opens <think> */
    bool always_prompt;  /* Llama-3: the generation prompt is written even where it is not asked for
                          */
    bool dated;          /* Llama-3.1 and 3.2: knowledge date and "today" in the system turn */
    struct cn_str system;
    struct cn_str bos;    /* Llama-3: text of the token at the very beginning */
    struct cn_str reason; /* CHAT_UNKNOWN: why */
};

/* Bytes of the output that came from messages, ascending. */
struct chat_guards {
    struct added_guard *item;
    size_t count, capacity;
};

/* The family of that name.  Fails: CN_ERR_CONFIG listing the names. */
enum cn_status chat_template_named(const char *name, struct chat_template *out);

/* The family that a template's text belongs to, CHAT_UNKNOWN with a reason if to none.  Fails:
 * CN_ERR_MEMORY. */
enum cn_status chat_template_detect(struct cn_text text, struct chat_template *out);

/* Text of the token that ends a turn, or NULL. */
const char *chat_template_end(const struct chat_template *chat);

/* Appends the rendered conversation; `guards` (or NULL) collects what came from messages. */
enum cn_status chat_template_render(const struct chat_template *chat, struct cn_messages messages,
                                    bool add_generation_prompt, struct cn_str *out,
                                    struct chat_guards *guards);

void chat_template_free(struct chat_template *chat);
void chat_guards_free(struct chat_guards *guards);

#endif
