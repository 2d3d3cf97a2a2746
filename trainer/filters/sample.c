/* carnot sample: answers of a model; a filter, or one prompt streamed to a terminal. */
#include "../command.h"
#include "filter.h"
#include "../session.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct sample_settings {
    struct session_folder folder;
    const char *prompt, *system;
    int64_t n, max_tokens, top_k, slots, seed;
    double temperature, top_p;
    struct cn_texts stop;
    int engine;
};

// clang-format off
#define FIELD(field) .name = #field, .offset = offsetof(struct sample_settings, field)
static const struct cn_option options[] = {
    {FIELD(prompt), .kind = CN_OPTION_TEXT, .fallback = "null", .nullable = true, .help = "answer this user message and stop, instead of reading rows"},
    {FIELD(system), .kind = CN_OPTION_TEXT, .fallback = "null", .nullable = true, .help = "system message for --prompt"},
    {FIELD(n), .kind = CN_OPTION_INT, .minimum = 1, .maximum = 65536, .fallback = "1", .help = "answers per row"},
    {FIELD(max_tokens), .kind = CN_OPTION_INT, .minimum = 1, .maximum = 1e6, .fallback = "256", .help = "longest answer"},
    {FIELD(temperature), .kind = CN_OPTION_REAL, .minimum = 0, .maximum = 100, .fallback = "1", .help = "0: greedy"},
    {FIELD(top_p), .kind = CN_OPTION_REAL, .minimum = 1e-6, .maximum = 1, .fallback = "1", .help = "nucleus"},
    {FIELD(top_k), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 1e9, .fallback = "0", .help = "most likely tokens only; 0: all"},
    {FIELD(stop), .kind = CN_OPTION_TEXTS, .fallback = "[]", .help = "texts that end an answer"},
    {FIELD(seed), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 9e15, .fallback = "0", .help = "the same seed gives the same answers"},
    {FIELD(slots), .kind = CN_OPTION_INT, .minimum = 1, .maximum = 65536, .fallback = "16", .help = "answers of a row sampled at a time"},
    {FIELD(engine), .kind = CN_OPTION_CHOICE, .choices = "auto decode torch", .fallback = "\"auto\"", .help = "what samples"},
    SESSION_FOLDER_OPTIONS(struct sample_settings),
    {0}};
// clang-format on

struct sample {
    struct session session;
    struct sample_settings flags;
    struct cn_arena arena; /* one row */
    bool own_seed;         /* the row has a seed of its own */
    uint64_t rows;         /* read so far: rows without a seed of their own draw different noise */
};

static enum cn_status row_int(const struct cn_json *row, const char *key, int64_t low, int64_t high,
                              int64_t *value)
{
    return cn_json_int_or(row, key, low, high, *value, value);
}

/* A row's own fields win over the flags. */
static enum cn_status row_settings(struct sample *s, const struct cn_json *row,
                                   struct sample_settings *out)
{
    const struct cn_json *stop = cn_json_get(row, "stop");
    *out = s->flags;
    s->own_seed = cn_json_kind(cn_json_get(row, "seed")) != CN_JSON_NULL;
    CN_TRY(row_int(row, "n", 1, 65536, &out->n));
    CN_TRY(row_int(row, "max_tokens", 1, 1000000, &out->max_tokens));
    CN_TRY(row_int(row, "top_k", 0, 1000000000, &out->top_k));
    CN_TRY(row_int(row, "seed", 0, INT64_C(9000000000000000), &out->seed));
    CN_TRY(cn_json_real_or(row, "temperature", out->temperature, &out->temperature));
    CN_TRY(cn_json_real_or(row, "top_p", out->top_p, &out->top_p));
    if (!(out->temperature >= 0 && out->temperature <= 100))
        return cn_fail(CN_ERR_DATA, "\"temperature\" is %g, allowed 0 to 100", out->temperature);
    if (!(out->top_p > 0 && out->top_p <= 1))
        return cn_fail(CN_ERR_DATA, "\"top_p\" is %g, allowed above 0 to 1", out->top_p);
    if (cn_json_kind(stop) == CN_JSON_NULL) return CN_OK;
    const bool one = cn_json_kind(stop) == CN_JSON_TEXT;
    if (!one && cn_json_kind(stop) != CN_JSON_LIST)
        return cn_fail(CN_ERR_DATA, "\"stop\" must be a text or a list of texts");
    size_t count = one ? 1 : cn_json_count(stop), i = 0;
    const char **texts;
    CN_TRY(CN_NEW(&s->arena, count, &texts));
    for (const struct cn_json *t = one ? stop : cn_json_first(stop); i < count;
         t = cn_json_next(t), i++) {
        const struct cn_text text = cn_json_text(t);
        if (text.length == 0 || memchr(text.data, 0, text.length))
            return cn_fail(CN_ERR_DATA, "\"stop\"[%zu] is not a text, empty, or has a zero byte",
                           i);
        texts[i] = text.data;
    }
    out->stop = (struct cn_texts){texts, count};
    return CN_OK;
}

static enum cn_status row_prompt(struct sample *s, const struct cn_json *row, struct cn_ids *ids)
{
    const struct cn_json *prompt, *list, *conversation;
    struct cn_messages messages;
    CN_TRY(filter_read_member(row, "ids", CN_JSON_LIST, &list));
    CN_TRY(filter_read_member(row, "prompt", CN_JSON_TEXT, &prompt));
    CN_TRY(filter_read_member(row, "messages", CN_JSON_LIST, &conversation));
    if (list) return filter_read_ids(list, "ids", ids);
    if (prompt) return cn_tokenizer_encode(s->session.tokenizer, cn_json_text(prompt), true, ids);
    if (!conversation)
        return cn_fail(CN_ERR_DATA, "a row needs \"prompt\", \"messages\" or \"ids\"");
    CN_TRY(filter_read_messages(conversation, &s->arena, &messages));
    return cn_tokenizer_chat(s->session.tokenizer, messages, true, false, ids);
}

static enum cn_status check_length(const struct sample *s, const struct sample_settings *settings,
                                   size_t n_ids)
{
    size_t context = cn_model_info(s->session.model)->context_length;
    if (n_ids == 0) return cn_fail(CN_ERR_DATA, "the prompt has no tokens");
    if (n_ids + (size_t)settings->max_tokens > context)
        return cn_fail(CN_ERR_DATA,
                       "prompt of %zu tokens and max_tokens=%lld exceed the model's context of "
                       "%zu tokens",
                       n_ids, (long long)settings->max_tokens, context);
    return CN_OK;
}

static enum cn_status need_sampler(struct sample *s, size_t needed)
{
    return session_need_sampler(&s->session, (enum cn_engine)s->flags.engine,
                                (size_t)s->flags.slots + 1, needed);
}

static enum cn_status write_answer(const struct filter_row *row, size_t sample,
                                   const struct answer *answer, struct cn_str *out)
{
    CN_TRY(filter_begin(out, row));
    CN_TRY(filter_key(out, "sample"));
    CN_TRY(cn_str_format(out, "%zu", sample));
    CN_TRY(filter_key(out, "text"));
    CN_TRY(cn_json_quote(out, answer->text));
    CN_TRY(filter_key(out, "ids"));
    CN_TRY(filter_ints(out, answer->ids, answer->n));
    CN_TRY(filter_key(out, "logp"));
    CN_TRY(filter_reals(out, answer->logp, answer->n, 0, 9));
    CN_TRY(filter_key(out, "entropy"));
    CN_TRY(filter_reals(out, answer->entropy, answer->n, 0, 9));
    CN_TRY(filter_key(out, "stop"));
    CN_TRY(cn_str_format(out, "\"%s\"", cn_stop_name(answer->stop)));
    return filter_end(out);
}

static enum cn_status sample_ids(struct sample *s, const struct sample_settings *settings,
                                 const struct cn_ids *ids, struct answer *answers)
{
    const struct posed posed = {
        .task = s->own_seed ? 0 : s->rows, .ids = ids->item, .n_ids = ids->count};
    const struct rollout_options rollout = {
        .sampler = s->session.sampler,
        .tokenizer = s->session.tokenizer,
        .key = cn_rng_key((uint64_t)settings->seed, 0, CN_RNG_SAMPLING),
        .slots = (size_t)s->flags.slots,
        .max_tokens = (size_t)settings->max_tokens,
        .top_p = settings->top_p,
        .top_k = settings->top_k,
        .stop = settings->stop};
    struct wishes wishes = {.arena = &s->arena};
    for (uint32_t k = 0; k < (uint32_t)settings->n; k++) {
        const struct wish wish = {.posed = &posed,
                                  .parent = -1,
                                  .sample = k,
                                  .temperature =
                                      settings->temperature > 0 ? settings->temperature : 1,
                                  .greedy = settings->temperature <= 0};
        CN_TRY(wishes_add(&wishes, wish));
    }
    return rollout_collect(&rollout, wishes.item, (struct cn_span){0, wishes.count}, &s->arena,
                           answers);
}

static enum cn_status sample_row(void *self, const struct filter_row *row, struct cn_str *out)
{
    struct sample *s = self;
    struct sample_settings settings;
    struct answer *answers;
    struct cn_ids ids = {0};
    enum cn_status status;
    cn_arena_reset(&s->arena);
    CN_TRY_GOTO(row_settings(s, row->tree, &settings), out);
    CN_TRY_GOTO(row_prompt(s, row->tree, &ids), out);
    CN_TRY_GOTO(check_length(s, &settings, ids.count), out);
    CN_TRY_GOTO(need_sampler(s, ids.count + (size_t)settings.max_tokens), out);
    CN_TRY_GOTO(CN_NEW(&s->arena, (size_t)settings.n, &answers), out);
    CN_TRY_GOTO(sample_ids(s, &settings, &ids, answers), out);
    for (int64_t k = 0; k < settings.n; k++)
        CN_TRY_GOTO(write_answer(row, (size_t)k, &answers[k], out), out);
    s->rows++;
out:
    cn_ids_free(&ids);
    return status;
}

/* An answer that is written while it is sampled. */
struct stream {
    struct cn_str text;
    size_t written;
    size_t held; /* bytes at the end that may be the beginning of a stop string */
};

/* Writes what is new, complete, and no beginning of a stop string; at the end everything. */
static enum cn_status put_stream(struct stream *stream, bool last)
{
    struct cn_text text = cn_str_text(&stream->text);
    size_t ready = last ? text.length : 0;
    if (!last && text.length > stream->held)
        ready = cn_utf8_complete((struct cn_text){text.data, text.length - stream->held});
    if (ready <= stream->written) return CN_OK;
    const struct cn_text fresh = {text.data + stream->written, ready - stream->written};
    stream->written = ready;
    return filter_write(fresh);
}

/* Takes one token; *ends: an end token, or the text has reached a stop string. */
static enum cn_status take(struct sample *s, int32_t token, struct stream *stream, bool *ends)
{
    size_t n_stops, at, before = stream->text.length;
    const int32_t *stops = cn_tokenizer_stops(s->session.tokenizer, &n_stops);
    for (size_t k = 0; k < n_stops; k++)
        *ends = *ends || stops[k] == token;
    if (*ends) return CN_OK;
    CN_TRY(cn_tokenizer_decode(s->session.tokenizer, &token, 1, true, &stream->text));
    *ends = rollout_stops(&s->flags.stop, cn_str_text(&stream->text), stream->text.length - before,
                          &at);
    if (*ends) stream->text.length = at;
    return put_stream(stream, false);
}

/* One answer, token by token. */
static enum cn_status converse(struct sample *s, const struct cn_ids *prompt, uint32_t sample,
                               struct stream *stream)
{
    const struct sample_settings *f = &s->flags;
    const struct cn_draw draw = {.key = cn_rng_key((uint64_t)f->seed, 0, CN_RNG_SAMPLING),
                                 .sample = sample,
                                 .temperature = f->temperature > 0 ? f->temperature : 1,
                                 .top_k = f->top_k,
                                 .top_p = f->top_p,
                                 .greedy = f->temperature <= 0};
    size_t slot;
    bool ends = false;
    enum cn_status status = CN_OK;
    CN_TRY(cn_slot_open(s->session.sampler, prompt->item, prompt->count, &draw, &slot));
    for (int64_t i = 0; status == CN_OK && !ends && i < f->max_tokens; i++) {
        struct cn_drawn drawn;
        status = cn_sampler_step(s->session.sampler, &slot, 1, &drawn);
        if (status == CN_OK) status = take(s, drawn.token, stream, &ends);
    }
    cn_slot_close(s->session.sampler, slot);
    if (status == CN_OK) status = put_stream(stream, true);
    return status == CN_OK ? filter_write(cn_text("\n")) : status;
}

/* `n` answers to one prompt, one behind the other; several are numbered. */
static enum cn_status answer_all(struct sample *s, const struct cn_ids *prompt)
{
    size_t longest = 1;
    for (size_t i = 0; i < s->flags.stop.count; i++) {
        const size_t n = strlen(s->flags.stop.value[i]);
        if (n == 0) return cn_fail(CN_ERR_CONFIG, "--stop: an empty text would end every answer");
        if (n > longest) longest = n;
    }
    for (uint32_t k = 0; k < (uint32_t)s->flags.n; k++) {
        struct stream stream = {.held = longest - 1};
        char line[32];
        snprintf(line, sizeof line, "--- %u\n", k + 1);
        enum cn_status status = s->flags.n > 1 ? filter_write(cn_text(line)) : CN_OK;
        if (status == CN_OK) status = converse(s, prompt, k, &stream);
        cn_str_free(&stream.text);
        CN_TRY(status);
    }
    return CN_OK;
}

static enum cn_status answer_prompt(struct sample *s)
{
    const struct cn_message both[2] = {{"system", cn_text(s->flags.system)},
                                       {"user", cn_text(s->flags.prompt)}};
    const size_t skip = s->flags.system ? 0 : 1;
    const struct cn_messages messages = {both + skip, 2 - skip};
    struct cn_ids prompt = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_tokenizer_chat(s->session.tokenizer, messages, true, false, &prompt), out);
    CN_TRY_GOTO(check_length(s, &s->flags, prompt.count), out);
    CN_TRY_GOTO(need_sampler(s, prompt.count + (size_t)s->flags.max_tokens), out);
    CN_TRY_GOTO(answer_all(s, &prompt), out);
out:
    cn_ids_free(&prompt);
    return status;
}

/* A terminal has no rows: every line is a user message. */
static enum cn_status chat(struct sample *s)
{
    char line[65536];
    for (;;) {
        fputs("> ", stderr);
        if (!fgets(line, sizeof line, stdin)) break;
        line[strcspn(line, "\n")] = 0;
        if (!line[0]) continue;
        s->flags.prompt = line;
        CN_TRY(answer_prompt(s));
        s->flags.seed++; /* the same question may get another answer */
    }
    return CN_OK;
}

static enum cn_status run(int argc, char **argv)
{
    static struct sample sample;
    struct sample *s = &sample;
    const struct session_call call = {
        .command = "sample", .options = options, .settings = &s->flags, .folder = &s->flags.folder};
    static const char *const keys[] = {"prompt", "messages",   "ids",         "text",
                                       "n",      "max_tokens", "temperature", "top_p",
                                       "top_k",  "stop",       "seed",        NULL};
    const struct filter filter = {.row = sample_row, .self = s, .keys = keys};
    enum cn_status status = session_open_folder(&s->session, &call, argc, argv);
    if (status == CN_OK && s->flags.prompt)
        status = answer_prompt(s);
    else if (status == CN_OK)
        status = isatty(STDIN_FILENO) ? chat(s) : filter_run(&filter);
    session_close(&s->session);
    cn_arena_free(&s->arena);
    return status;
}

const struct cn_command command_sample = {
    .name = "sample",
    .summary = "filter: answers of a model; --prompt TEXT streams one",
    .usage = "usage: carnot sample MODEL --prompt TEXT [--system TEXT] [flags]\n"
             "       carnot sample MODEL [flags] < rows > rows\n\n"
             "in   {\"prompt\": text} or {\"messages\": [...]} or {\"ids\": [...]}, optional n,\n"
             "     max_tokens, temperature, top_p, top_k, stop, seed (win over the flags)\n"
             "out  one row per sample: sample, text, ids, logp, entropy, stop; \"id\" is copied "
             "through,\n"
             "     another key is an error of its row\n"
             "flags  --n --max-tokens --temperature --top-p --top-k --stop --seed --slots\n"
             "       --threads --engine auto|decode|torch --dtype f32|bf16 --device cpu|cuda\n"
             "       --template NAME\n",
    .run = run};
