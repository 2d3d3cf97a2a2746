/* carnot score: log-probability and entropy of every token of given rows. */
#include "../command.h"
#include "filter.h"
#include "../session.h"

#include "carnot/batch.h"

#include <string.h>

enum { ENGINE_TORCH, ENGINE_DECODE };

struct score_settings {
    struct session_folder folder;
    int engine;
    double temperature;
    int64_t top;
};

// clang-format off
#define FIELD(field) .name = #field, .offset = offsetof(struct score_settings, field)
static const struct cn_option options[] = {
    {FIELD(engine), .kind = CN_OPTION_CHOICE, .choices = "torch decode", .fallback = "\"torch\"", .help = "what computes: libtorch, or the C decode engine"},
    {FIELD(temperature), .kind = CN_OPTION_REAL, .minimum = 1e-3, .maximum = 100, .fallback = "1", .help = "logits are divided by it"},
    {FIELD(top), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 1000, .fallback = "0", .help = "also the N largest log-probabilities of each position"},
    SESSION_FOLDER_OPTIONS(struct score_settings),
    {0}};
// clang-format on

struct score {
    struct session session;
    struct score_settings settings;
    struct cn_arena arena; /* one row */
};

static enum cn_status read_row(struct score *s, const struct cn_json *row, struct cn_ids *ids)
{
    const struct cn_json *list, *text, *conversation;
    struct cn_messages messages;
    bool prompt;
    CN_TRY(filter_read_member(row, "ids", CN_JSON_LIST, &list));
    CN_TRY(filter_read_member(row, "text", CN_JSON_TEXT, &text));
    CN_TRY(filter_read_member(row, "messages", CN_JSON_LIST, &conversation));
    CN_TRY(cn_json_bool_or(row, "add_generation_prompt", false, &prompt));
    if (list) return filter_read_ids(list, "ids", ids);
    if ((text || conversation) && !s->session.tokenizer)
        return cn_fail(CN_ERR_DATA, "the model's folder has no tokenizer.json: rows need \"ids\"");
    if (text) return cn_tokenizer_encode(s->session.tokenizer, cn_json_text(text), true, ids);
    if (!conversation) return cn_fail(CN_ERR_DATA, "a row needs \"ids\", \"text\" or \"messages\"");
    CN_TRY(filter_read_messages(conversation, &s->arena, &messages));
    return cn_tokenizer_chat(s->session.tokenizer, messages, prompt, true, ids);
}

struct scores {
    double *logp, *entropy; /* (n) */
    int32_t *top_ids;       /* (n x top) or NULL */
    double *top_logp;
};

/* One sequence through the training engine: every token but the first is scored. */
static enum cn_status score_torch(struct score *s, const struct cn_ids *ids, struct scores *out)
{
    struct cn_batch batch;
    CN_TRY(cn_batch_init(&batch, &s->arena, &ids->count, 1));
    memcpy(batch.token, ids->item, ids->count * sizeof *ids->item);
    for (size_t t = 1; t < ids->count; t++)
        batch.role[t] = CN_ROLE_POLICY;
    const struct cn_atom atom = {.batch = &batch,
                                 .span = {0, 1},
                                 .temperature = s->settings.temperature,
                                 .channels = CN_LIVE_BIT(logp) | CN_LIVE_BIT(entropy)};
    const struct cn_live_out live = {.logp = out->logp, .entropy = out->entropy};
    return cn_model_score(s->session.model, -1, &atom, &live);
}

static enum cn_status compute(struct score *s, const struct cn_ids *ids, struct scores *out)
{
    const size_t n = ids->count, top = (size_t)s->settings.top;
    CN_TRY(CN_NEW(&s->arena, n, &out->logp));
    CN_TRY(CN_NEW(&s->arena, n, &out->entropy));
    if (top) {
        CN_TRY(CN_NEW(&s->arena, n * top, &out->top_ids));
        CN_TRY(CN_NEW(&s->arena, n * top, &out->top_logp));
    }
    if (s->settings.engine == ENGINE_DECODE || top) {
        const bool decode = s->settings.engine == ENGINE_DECODE;
        CN_TRY(
            session_need_sampler(&s->session, decode ? CN_ENGINE_DECODE : CN_ENGINE_TORCH, 1, n));
        CN_TRY(cn_sampler_score(s->session.sampler, ids->item, n, s->settings.temperature, top,
                                out->logp, out->entropy, out->top_ids, out->top_logp));
    }
    return s->settings.engine == ENGINE_TORCH ? score_torch(s, ids, out) : CN_OK;
}

static enum cn_status write_top(struct cn_str *out, const struct scores *scores, size_t n,
                                size_t top)
{
    CN_TRY(filter_key(out, "top"));
    CN_TRY(cn_str_add(out, "["));
    for (size_t t = 0; t < n; t++) {
        CN_TRY(cn_str_add(out, t ? ", " : ""));
        if (t == 0) {
            CN_TRY(cn_str_add(out, "null"));
            continue;
        }
        for (size_t k = 0; k < top; k++) {
            CN_TRY(
                cn_str_format(out, "%s[%d, ", k ? ", " : "[", (int)scores->top_ids[t * top + k]));
            CN_TRY(cn_json_real(out, scores->top_logp[t * top + k], 9));
            CN_TRY(cn_str_add(out, "]"));
        }
        CN_TRY(cn_str_add(out, "]"));
    }
    return cn_str_add(out, "]");
}

static enum cn_status write_row(const struct score *s, const struct filter_row *row,
                                const struct cn_ids *ids, const struct scores *scores,
                                struct cn_str *out)
{
    CN_TRY(filter_begin(out, row));
    CN_TRY(filter_key(out, "ids"));
    CN_TRY(filter_ints(out, ids->item, ids->count));
    CN_TRY(filter_key(out, "logp"));
    CN_TRY(filter_reals(out, scores->logp, ids->count, 1, 9));
    CN_TRY(filter_key(out, "entropy"));
    CN_TRY(filter_reals(out, scores->entropy, ids->count, 1, 9));
    if (s->settings.top) CN_TRY(write_top(out, scores, ids->count, (size_t)s->settings.top));
    return filter_end(out);
}

static enum cn_status score_row(void *self, const struct filter_row *row, struct cn_str *out)
{
    struct score *s = self;
    struct cn_ids ids = {0};
    struct scores scores = {0};
    cn_arena_reset(&s->arena);
    enum cn_status status = read_row(s, row->tree, &ids);
    if (status == CN_OK && ids.count == 0)
        status = cn_fail(CN_ERR_DATA, "the row has no tokens: there is nothing to score");
    if (status == CN_OK) status = compute(s, &ids, &scores);
    if (status == CN_OK) status = write_row(s, row, &ids, &scores, out);
    cn_ids_free(&ids);
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    static struct score score;
    struct score *s = &score;
    const struct session_call call = {.command = "score",
                                      .needs_no_text = true,
                                      .options = options,
                                      .settings = &s->settings,
                                      .folder = &s->settings.folder};
    static const char *const keys[] = {"messages", "add_generation_prompt", FILTER_WRITTEN, NULL};
    const struct filter filter = {.row = score_row, .self = s, .keys = keys};
    enum cn_status status = session_open_folder(&s->session, &call, argc, argv);
    if (status == CN_OK) status = filter_run(&filter);
    session_close(&s->session);
    cn_arena_free(&s->arena);
    return status;
}

const struct cn_command command_score = {
    .name = "score",
    .summary = "filter: log-probability and entropy of given tokens",
    .usage =
        "usage: carnot score MODEL [--engine torch|decode] [--temperature T] [--top N]\n"
        "                    [--dtype f32|bf16] [--device cpu|cuda] [--threads N] < rows > rows\n\n"
        "in   {\"ids\": [...]} (no tokenizer.json is needed), {\"text\": ...} or {\"messages\": "
        "[...]}\n"
        "out  {\"ids\": [...], \"logp\": [null, ...], \"entropy\": [null, ...]}, in nats; \"id\" "
        "is "
        "copied\n"
        "     through, a key that no filter reads or writes is an error of its row\n",
    .run = run};
