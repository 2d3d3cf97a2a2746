/* Questions: the rows of the section `data`, one turn each. */
#include "carnot/env.h"
#include "carnot/json.h"

#include <stdlib.h>
#include <string.h>

struct settings {
    const char *instruction;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "instruction", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, instruction), .fallback = "null", .nullable = true,
     .help = "text added to the last message of every prompt, such as \"\\nPut the final answer in \\\\boxed{}.\""},
    {0},
};
// clang-format on

struct questions {
    const struct cn_data *data;
    const char *instruction;
};

static enum cn_status questions_open(const struct cn_env_setup *setup, void **shared)
{
    const struct settings *settings = setup->settings;
    if (!setup->data)
        return cn_fail(CN_ERR_CONFIG,
                       "env questions needs rows: name files in data.train and data.eval");
    struct questions *questions = calloc(1, sizeof *questions);
    if (!questions) return cn_fail(CN_ERR_MEMORY, "out of memory: env questions");
    questions->data = setup->data;
    questions->instruction = settings->instruction;
    *shared = questions;
    return CN_OK;
}

static uint64_t questions_count(const void *shared)
{
    const struct questions *questions = shared;
    return cn_data_count(questions->data);
}

/* A copy of the messages with `instruction` behind the last one. */
static enum cn_status add_instruction(const struct cn_messages *from, const char *instruction,
                                      struct cn_arena *arena, struct cn_messages *out)
{
    struct cn_message *copy;
    CN_TRY(CN_NEW(arena, from->count, &copy));
    memcpy(copy, from->item, from->count * sizeof *copy);
    struct cn_text *last = &copy[from->count - 1].content;
    size_t n = strlen(instruction);
    char *text;
    CN_TRY(cn_arena_alloc(arena, last->length + n + 1, 1, &text));
    if (last->length) memcpy(text, last->data, last->length);
    memcpy(text + last->length, instruction, n);
    *last = (struct cn_text){text, last->length + n};
    *out = (struct cn_messages){copy, from->count};
    return CN_OK;
}

static enum cn_status questions_reset(void *shared, void *state, uint64_t task, struct cn_rng *rng,
                                      struct cn_arena *arena, struct cn_task *out)
{
    const struct questions *questions = shared;
    (void)state, (void)rng;
    struct cn_row row;
    uint64_t count = cn_data_count(questions->data);
    if (task >= count)
        return cn_fail(CN_ERR_BUG, "env questions: task %llu of %llu", (unsigned long long)task,
                       (unsigned long long)count);
    CN_TRY(cn_data_row(questions->data, task, arena, &row));
    struct cn_messages messages = row.messages;
    if (questions->instruction && row.rendered.length)
        return cn_fail(CN_ERR_CONFIG,
                       "%s line %zu: the prompt is ready-made text, so env.instruction cannot be "
                       "added; remove "
                       "env.instruction or the field \"rendered\"",
                       row.file, row.line);
    if (questions->instruction && messages.count)
        CN_TRY(add_instruction(&row.messages, questions->instruction, arena, &messages));
    *out = (struct cn_task){.messages = messages,
                            .rendered = row.rendered,
                            .ground_truth = row.ground_truth,
                            .row = row.raw,
                            .demonstration = row.answer};
    return CN_OK;
}

/* The text of the row's field "paraphrase", copied to `arena`. */
static enum cn_status read_paraphrase(const struct cn_row *row, struct cn_arena *arena,
                                      struct cn_text *out)
{
    struct cn_json *json;
    char *copy;
    CN_TRY(cn_json_parse(row->raw, row->file, &json));
    const struct cn_json *field = cn_json_get(json, "paraphrase");
    const struct cn_text text = cn_json_text(field);
    enum cn_status status =
        cn_json_kind(field) != CN_JSON_TEXT || text.length == 0
            ? cn_fail(CN_ERR_DATA,
                      "%s line %zu has no field \"paraphrase\", which holds the question in other "
                      "words",
                      row->file, row->line)
            : cn_arena_text(arena, text.data, text.length, &copy);
    if (status == CN_OK) *out = (struct cn_text){copy, text.length};
    cn_json_close(json);
    return status;
}

/* The row with its last message, or its ready-made prompt, replaced by the paraphrase. */
static enum cn_status questions_view(void *shared, uint64_t task, struct cn_rng *rng,
                                     struct cn_arena *arena, struct cn_task *out)
{
    const struct questions *questions = shared;
    struct cn_text paraphrase;
    struct cn_message *copy;
    struct cn_row row;
    CN_TRY(cn_data_row(questions->data, task, arena, &row));
    CN_TRY(questions_reset(shared, NULL, task, rng, arena, out));
    CN_TRY(read_paraphrase(&row, arena, &paraphrase));
    if (row.rendered.length) {
        out->rendered = paraphrase;
        return CN_OK;
    }
    struct cn_messages messages = row.messages;
    CN_TRY(CN_NEW(arena, messages.count, &copy));
    memcpy(copy, messages.item, messages.count * sizeof *copy);
    copy[messages.count - 1].content = paraphrase;
    messages.item = copy;
    out->messages = messages;
    return questions->instruction
               ? add_instruction(&messages, questions->instruction, arena, &out->messages)
               : CN_OK;
}

static void questions_close(void *shared)
{
    free(shared);
}

const struct cn_env cn_env_questions = {
    .name = "questions",
    .summary = "prompts from the rows of `data`, one turn",
    .options = options,
    .settings_size = sizeof(struct settings),
    .needs_data = true,
    .open = questions_open,
    .count = questions_count,
    .reset = questions_reset,
    .view = questions_view,
    .close = questions_close,
};
