/* carnot tokenize: text or conversations to token ids and back, JSON lines in and out. */
#include "../command.h"
#include "../session.h"
#include "filter.h"

#include "carnot/arena.h"
#include "carnot/tokenizer.h"

#include <stdio.h>
#include <string.h>

struct tokenize {
    struct cn_tokenizer *tokenizer;
    const char *model, *template_name;
    bool decode, literal;
    struct cn_arena arena; /* of one row */
    struct cn_ids ids;
    struct cn_str text;
};

static enum cn_status write_ids(const struct filter_row *row, const struct tokenize *tokenize,
                                bool with_text, struct cn_str *out)
{
    CN_TRY(filter_begin(out, row));
    if (with_text) {
        CN_TRY(filter_key(out, "text"));
        CN_TRY(cn_json_quote(out, cn_str_text(&tokenize->text)));
    }
    CN_TRY(filter_key(out, "ids"));
    CN_TRY(filter_ints(out, tokenize->ids.item, tokenize->ids.count));
    return filter_end(out);
}

static enum cn_status encode_row(struct tokenize *tokenize, const struct filter_row *row,
                                 struct cn_str *out)
{
    const struct cn_json *list, *text;
    bool prompt;
    CN_TRY(filter_read_member(row->tree, "messages", CN_JSON_LIST, &list));
    CN_TRY(filter_read_member(row->tree, "text", CN_JSON_TEXT, &text));
    CN_TRY(cn_json_bool_or(row->tree, "add_generation_prompt", false, &prompt));
    if (!list) {
        if (!text)
            return cn_fail(CN_ERR_DATA, "a row needs \"text\" (text) or \"messages\" (a list)");
        CN_TRY(cn_tokenizer_encode(tokenize->tokenizer, cn_json_text(text), !tokenize->literal,
                                   &tokenize->ids));
        return write_ids(row, tokenize, false, out);
    }
    struct cn_messages messages;
    CN_TRY(filter_read_messages(list, &tokenize->arena, &messages));
    CN_TRY(cn_tokenizer_render(tokenize->tokenizer, messages, prompt, &tokenize->text));
    CN_TRY(cn_tokenizer_chat(tokenize->tokenizer, messages, prompt, !tokenize->literal,
                             &tokenize->ids));
    return write_ids(row, tokenize, true, out);
}

static enum cn_status decode_row(struct tokenize *tokenize, const struct filter_row *row,
                                 struct cn_str *out)
{
    CN_TRY(filter_read_ids(cn_json_get(row->tree, "ids"), "ids", &tokenize->ids));
    CN_TRY(cn_tokenizer_decode(tokenize->tokenizer, tokenize->ids.item, tokenize->ids.count, false,
                               &tokenize->text));
    struct cn_text bytes = cn_str_text(&tokenize->text);
    CN_TRY(filter_begin(out, row));
    CN_TRY(filter_key(out, "text"));
    CN_TRY(cn_json_quote(out, bytes));
    if (!cn_utf8_valid(bytes)) {
        CN_TRY(filter_key(out, "hex"));
        CN_TRY(cn_str_add(out, "\""));
        for (size_t i = 0; i < bytes.length; i++)
            CN_TRY(cn_str_format(out, "%02x", (unsigned char)bytes.data[i]));
        CN_TRY(cn_str_add(out, "\""));
    }
    return filter_end(out);
}

static enum cn_status tokenize_row(void *self, const struct filter_row *row, struct cn_str *out)
{
    struct tokenize *tokenize = self;
    cn_arena_reset(&tokenize->arena);
    tokenize->ids.count = 0;
    cn_str_clear(&tokenize->text);
    return tokenize->decode ? decode_row(tokenize, row, out) : encode_row(tokenize, row, out);
}

static enum cn_status read_arguments(struct tokenize *tokenize, int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--decode") == 0) {
            tokenize->decode = true;
        } else if (strcmp(argv[i], "--literal") == 0) {
            tokenize->literal = true;
        } else if (strcmp(argv[i], "--template") == 0) {
            if (!argv[i + 1]) return cn_fail(CN_ERR_CONFIG, "--template needs a name");
            tokenize->template_name = argv[++i];
        } else if (argv[i][0] == '-' || tokenize->model) {
            return cn_fail(CN_ERR_CONFIG, "tokenize does not know %s; see carnot tokenize --help",
                           argv[i]);
        } else {
            tokenize->model = argv[i];
        }
    }
    if (!tokenize->model)
        return cn_fail(CN_ERR_CONFIG, "tokenize needs a model folder; see carnot tokenize --help");
    return CN_OK;
}

static enum cn_status run(int argc, char **argv)
{
    struct tokenize tokenize = {.template_name = "auto"};
    static const char *const keys[] = {"messages", "add_generation_prompt", FILTER_WRITTEN, NULL};
    const struct filter filter = {.row = tokenize_row, .self = &tokenize, .keys = keys};
    cn_arena_init(&tokenize.arena);
    enum cn_status status = read_arguments(&tokenize, argc, argv);
    if (status == CN_OK) status = session_check_folder("MODEL", tokenize.model);
    if (status == CN_OK)
        status = cn_tokenizer_open(tokenize.model, tokenize.template_name, &tokenize.tokenizer);
    if (status == CN_OK) status = filter_run(&filter);
    cn_tokenizer_close(tokenize.tokenizer);
    cn_ids_free(&tokenize.ids);
    cn_str_free(&tokenize.text);
    cn_arena_free(&tokenize.arena);
    return status;
}

const struct cn_command command_tokenize = {
    .name = "tokenize",
    .summary = "text or conversations to token ids and back, JSON lines",
    .usage = "usage: carnot tokenize MODEL [--literal] [--template NAME] < rows.jsonl\n"
             "       carnot tokenize MODEL --decode < rows.jsonl\n\n"
             "in   {\"text\": \"...\"}                      out  {\"ids\": [...]}\n"
             "in   {\"messages\": [{\"role\": \"user\", \"content\": \"...\"}], "
             "\"add_generation_prompt\": true}\n"
             "                                           out  {\"text\": \"...\", \"ids\": [...]}\n"
             "in   {\"ids\": [...]}          (--decode)     out  {\"text\": \"...\"}, and \"hex\" "
             "where the bytes are not UTF-8\n\n"
             "MODEL is a Hugging Face folder with tokenizer.json.  No BOS or EOS is added.\n"
             "  --literal        text of special tokens is plain text\n"
             "  --template NAME  auto (from the folder), chatml, qwen2, qwen3, llama3, llama3.1, "
             "smollm2, plain\n"
             "An id of a row is copied through.  A row that cannot be read, or has an unknown key, "
             "gives {\"id\": 1, "
             "\"error\": {...}}; the exit code\nis then 3 at the end.\n",
    .run = run,
};
