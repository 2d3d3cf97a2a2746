/* carnot score: log-probability and entropy of every token of given rows. */
#include "arguments.h"
#include "command.h"
#include "filter.h"
#include "session.h"

#include "carnot/batch.h"

#include <string.h>

enum { ENGINE_TORCH, ENGINE_DECODE };

struct score_settings {
    int engine;
    double temperature;
    int64_t top, threads;
    const char *dtype, *template_name;
};

static const struct cn_option options[] = {
    {.name = "engine",
     .kind = CN_OPTION_CHOICE,
     .offset = offsetof(struct score_settings, engine),
     .choices = "torch decode",
     .fallback = "\"torch\"",
     .help = "what computes: libtorch, or the C decode engine"},
    {.name = "temperature",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct score_settings, temperature),
     .minimum = 1e-3,
     .maximum = 100,
     .fallback = "1",
     .help = "logits are divided by it"},
    {.name = "top",
     .kind = CN_OPTION_INT,
     .offset = offsetof(struct score_settings, top),
     .minimum = 0,
     .maximum = 1000,
     .fallback = "0",
     .help = "also the N largest log-probabilities of each position"},
    {.name = "threads",
     .kind = CN_OPTION_INT,
     .offset = offsetof(struct score_settings, threads),
     .minimum = 0,
     .maximum = 4096,
     .fallback = "0",
     .help = "0: cores of the affinity mask"},
    {.name = "dtype",
     .kind = CN_OPTION_TEXT,
     .offset = offsetof(struct score_settings, dtype),
     .fallback = "\"f32\"",
     .help = "f32 or bf16"},
    {.name = "template",
     .kind = CN_OPTION_TEXT,
     .offset = offsetof(struct score_settings, template_name),
     .fallback = "\"auto\"",
     .help = "chat template"},
    {0}};

struct score {
    struct session session;
    struct score_settings settings;
    struct cn_arena arena; /* one row */
    size_t context;        /* that the sampler was opened with */
};

static enum cn_status read_row(struct score *s, const struct cn_json *row, struct cn_ids *ids)
{
    const struct cn_json *list = cn_json_get(row, "ids"), *text = cn_json_get(row, "text");
    struct cn_messages messages;
    if (list) return filter_read_ids(list, "ids", ids);
    if (text && cn_json_kind(text) == CN_JSON_TEXT)
        return cn_tokenizer_encode(s->session.tokenizer, cn_json_text(text), true, ids);
    if (!cn_json_get(row, "messages"))
        return cn_fail(CN_ERR_DATA, "a row needs \"ids\", \"text\" or \"messages\"");
    CN_TRY(filter_read_messages(cn_json_get(row, "messages"), &s->arena, &messages));
    return cn_tokenizer_chat(s->session.tokenizer, messages,
                             cn_json_bool_or(row, "add_generation_prompt", false), true, ids);
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

/* A sampler of one slot, for the decode engine and for `top`. */
static enum cn_status need_sampler(struct score *s, size_t needed)
{
    const size_t most = cn_model_info(s->session.model)->context_length;
    if (s->session.sampler && needed <= s->context) return CN_OK;
    if (s->session.sampler) cn_sampler_close(s->session.sampler);
    s->session.sampler = NULL;
    s->context = needed > 2 * s->context ? needed : 2 * s->context;
    if (s->context > most) s->context = most;
    const struct cn_sampler_settings settings = {
        .engine = s->settings.engine == ENGINE_DECODE ? CN_ENGINE_DECODE : CN_ENGINE_TORCH,
        .slots = 1,
        .context = s->context,
        .threads = (int)s->settings.threads,
        .dtype = strcmp(s->settings.dtype, "bf16") == 0 ? CN_DTYPE_BF16 : CN_DTYPE_F32};
    return cn_sampler_open(s->session.model, &settings, &s->session.sampler);
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
        CN_TRY(need_sampler(s, n));
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

static enum cn_status write_row(const struct score *s, const struct cn_json *row,
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

static enum cn_status score_row(void *self, const struct cn_json *row, struct cn_str *out)
{
    struct score *s = self;
    struct cn_ids ids = {0};
    struct scores scores = {0};
    cn_arena_reset(&s->arena);
    enum cn_status status = read_row(s, row, &ids);
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
    const char *folder[1];
    struct arguments arguments = {.table = options, .positional = folder, .n_positional = 1};
    enum cn_status status;
    CN_TRY_GOTO(arguments_read(&arguments, argc, argv, &s->session.arena, &s->settings), out);
    if (arguments.found != 1) {
        status = cn_fail(CN_ERR_CONFIG, "usage: carnot score MODEL [flags] < rows");
        goto out;
    }
    const struct session_folder open = {.path = folder[0],
                                        .dtype = s->settings.dtype,
                                        .template_name = s->settings.template_name,
                                        .threads = (int)s->settings.threads};
    CN_TRY_GOTO(session_open_folder(&s->session, &open), out);
    const struct filter filter = {score_row, s};
    status = filter_run(&filter);
out:
    session_close(&s->session);
    cn_arena_free(&s->arena);
    return status;
}

const struct cn_command command_score = {
    .name = "score",
    .summary = "filter: log-probability and entropy of given tokens",
    .usage = "usage: carnot score MODEL [--engine torch|decode] [--temperature T] [--top N]\n"
             "                    [--dtype f32|bf16] [--threads N] < rows > rows\n\n"
             "in   {\"ids\": [...]}, {\"text\": ...} or {\"messages\": [...]}\n"
             "out  {\"ids\": [...], \"logp\": [null, ...], \"entropy\": [null, ...]}, in nats\n",
    .run = run};
