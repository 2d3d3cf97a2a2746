/* Cuts a text into the pieces that BPE works on. */
#include "pretokenize.h"

#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

/* GPT-2's pattern: what ByteLevel with use_regex means.
 * Radford et al. 2019, "Language Models are Unsupervised Multitask Learners", section 2.2. */
static const char gpt2_pattern[] =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

enum { JIT_STACK_BYTES = 8 << 20 };

struct pretokenize_stage {
    pcre2_code *code; /* NULL: the piece is not cut */
    pcre2_match_data *match;
    pcre2_match_context *context;
    pcre2_jit_stack *stack;
    bool jit;
    bool prefix_space; /* a piece that does not begin with a space gets one */
};

static void stage_close(struct pretokenize_stage *stage)
{
    if (!stage) return;
    pcre2_jit_stack_free(stage->stack);
    pcre2_match_context_free(stage->context);
    pcre2_match_data_free(stage->match);
    pcre2_code_free(stage->code);
    free(stage);
}

static enum cn_status stage_compile(struct pretokenize_stage *stage, struct cn_text pattern)
{
    struct cn_str translated = {0};
    int error = 0;
    size_t at = 0;
    enum cn_status status = pretokenize_translate(pattern, &translated);
    if (status == CN_OK) {
        stage->code =
            pcre2_compile((PCRE2_SPTR)translated.data, translated.length,
                          PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C, &error, &at, NULL);
        if (!stage->code) {
            PCRE2_UCHAR message[160] = "";
            pcre2_get_error_message(error, message, sizeof message);
            status = cn_fail(CN_ERR_DATA, "pattern '%.*s' does not compile: %s",
                             (int)pattern.length, pattern.data, (char *)message);
        }
    }
    cn_str_free(&translated);
    CN_TRY(status);
    uint32_t empty = 0;
    pcre2_pattern_info(stage->code, PCRE2_INFO_MATCHEMPTY, &empty);
    if (empty)
        return cn_fail(CN_ERR_DATA, "pattern '%.*s' can match nothing, which is not supported",
                       (int)pattern.length, pattern.data);
    stage->match = pcre2_match_data_create(1, NULL);
    stage->context = pcre2_match_context_create(NULL);
    stage->stack = pcre2_jit_stack_create(1 << 15, JIT_STACK_BYTES, NULL);
    if (!stage->match || !stage->context || !stage->stack)
        return cn_fail(CN_ERR_MEMORY, "out of memory: a pattern of the tokenizer");
    pcre2_jit_stack_assign(stage->context, NULL, stage->stack);
    stage->jit = pcre2_jit_compile(stage->code, PCRE2_JIT_COMPLETE) == 0;
    return CN_OK;
}

/* Adds a step that cuts by `pattern` (NULL: does not cut). */
static enum cn_status stage_add(struct pretokenize *pretokenize, const struct cn_text *pattern,
                                bool prefix_space)
{
    if (pretokenize->count == PRETOKENIZE_STAGES)
        return cn_fail(CN_ERR_DATA, "more than %d steps", PRETOKENIZE_STAGES);
    struct pretokenize_stage *stage = calloc(1, sizeof *stage);
    if (!stage) return cn_fail(CN_ERR_MEMORY, "out of memory: a step of the tokenizer");
    pretokenize->stage[pretokenize->count++] = stage;
    stage->prefix_space = prefix_space;
    return pattern ? stage_compile(stage, *pattern) : CN_OK;
}

static enum cn_status add_split(struct pretokenize *pretokenize, const struct cn_json *step)
{
    const struct cn_json *pattern = cn_json_get(step, "pattern");
    const struct cn_json *regex = cn_json_get(pattern, "Regex"),
                         *string = cn_json_get(pattern, "String");
    const char *behavior;
    CN_TRY(cn_json_need_text(step, "behavior", &behavior));
    if (strcmp(behavior, "Isolated") != 0)
        return cn_fail(CN_ERR_DATA, "behavior \"%s\" is not supported (only Isolated)", behavior);
    /* With Isolated both matches and what lies between become pieces, so `invert` changes nothing.
     */
    if (cn_json_kind(regex) == CN_JSON_TEXT) {
        struct cn_text text = cn_json_text(regex);
        return stage_add(pretokenize, &text, false);
    }
    if (cn_json_kind(string) != CN_JSON_TEXT || cn_json_text(string).length == 0)
        return cn_fail(CN_ERR_DATA, "pattern must be {\"Regex\": text} or {\"String\": text}");
    struct cn_text plain = cn_json_text(string);
    struct cn_str quoted = {0};
    enum cn_status status = CN_OK;
    for (size_t i = 0; i < plain.length && status == CN_OK; i++) {
        if (strchr("\\^$.|?*+()[]{}#", plain.data[i])) status = cn_str_add(&quoted, "\\");
        if (status == CN_OK) status = cn_str_append(&quoted, plain.data + i, 1);
    }
    struct cn_text text = cn_str_text(&quoted);
    if (status == CN_OK) status = stage_add(pretokenize, &text, false);
    cn_str_free(&quoted);
    return status;
}

static enum cn_status add_step(struct pretokenize *pretokenize, const struct cn_json *step,
                               int depth)
{
    const char *type;
    CN_TRY(cn_json_need_text(step, "type", &type));
    if (strcmp(type, "Sequence") == 0) {
        const struct cn_json *list = cn_json_get(step, "pretokenizers");
        if (cn_json_kind(list) != CN_JSON_LIST || depth > 4)
            return cn_fail(CN_ERR_DATA, "pretokenizers must be a list, nested at most 4 deep");
        for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n))
            CN_TRY(add_step(pretokenize, n, depth + 1));
        return CN_OK;
    }
    if (pretokenize->bytes)
        return cn_fail(CN_ERR_DATA, "a step of type \"%s\" after ByteLevel is not supported", type);
    if (strcmp(type, "Split") == 0) return add_split(pretokenize, step);
    if (strcmp(type, "Digits") == 0) {
        /* Rust's own idea of a number, which is of Unicode 17 already. */
        static const char each[] = "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]",
                          run[] = "[\\p{N}\\x{11DE0}-\\x{11DE9}\\x{16FF4}-\\x{16FF6}]+";
        bool single;
        CN_TRY(cn_json_bool_or(step, "individual_digits", false, &single));
        struct cn_text digits = cn_text(single ? each : run);
        return stage_add(pretokenize, &digits, false);
    }
    if (strcmp(type, "ByteLevel") != 0)
        return cn_fail(CN_ERR_DATA,
                       "type \"%s\" is not supported (only Sequence, Split, Digits, ByteLevel)",
                       type);
    pretokenize->bytes = true;
    bool prefix_space, use_regex;
    struct cn_text pattern = cn_text(gpt2_pattern);
    CN_TRY(cn_json_bool_or(step, "add_prefix_space", true, &prefix_space));
    CN_TRY(cn_json_bool_or(step, "use_regex", true, &use_regex));
    if (!use_regex && !prefix_space) return CN_OK;
    return stage_add(pretokenize, use_regex ? &pattern : NULL, prefix_space);
}

enum cn_status pretokenize_open(struct pretokenize *pretokenize, const struct cn_json *description)
{
    enum cn_status status = CN_OK;
    if (cn_json_kind(description) != CN_JSON_OBJECT)
        status = cn_fail(CN_ERR_DATA, "there is none, so this is not byte-level BPE");
    if (status == CN_OK) status = add_step(pretokenize, description, 0);
    if (status == CN_OK && !pretokenize->bytes)
        status = cn_fail(CN_ERR_DATA, "no step of type ByteLevel, so this is not byte-level BPE");
    return status == CN_OK ? CN_OK : cn_fail_context(status, "pre_tokenizer");
}

void pretokenize_close(struct pretokenize *pretokenize)
{
    for (size_t i = 0; i < pretokenize->count; i++)
        stage_close(pretokenize->stage[i]);
    *pretokenize = (struct pretokenize){0};
}

/* What the steps share while a text is cut. */
struct run {
    struct pretokenize *pretokenize;
    struct bpe *bpe;
    struct cn_ids *out;
};

static enum cn_status run_stage(const struct run *run, size_t index, struct cn_text text);

/* Cuts `text` with the pattern of stage `index` and hands the pieces to the next one. */
static enum cn_status run_pattern(const struct run *run, size_t index, struct cn_text text)
{
    struct pretokenize_stage *stage = run->pretokenize->stage[index];
    if (!stage->code) return run_stage(run, index + 1, text);
    const size_t *span = pcre2_get_ovector_pointer(stage->match);
    for (size_t at = 0; at < text.length;) {
        int found = (stage->jit ? pcre2_jit_match
                                : pcre2_match)(stage->code, (PCRE2_SPTR)text.data, text.length, at,
                                               PCRE2_NO_UTF_CHECK, stage->match, stage->context);
        if (found == PCRE2_ERROR_NOMATCH)
            return run_stage(run, index + 1, (struct cn_text){text.data + at, text.length - at});
        if (found < 0)
            return cn_fail(CN_ERR_DATA,
                           "a pattern of the tokenizer gave up on a text of %zu bytes (PCRE2 %d)",
                           text.length, found);
        size_t begin = span[0], end = span[1];
        if (begin > at)
            CN_TRY(run_stage(run, index + 1, (struct cn_text){text.data + at, begin - at}));
        CN_TRY(run_stage(run, index + 1, (struct cn_text){text.data + begin, end - begin}));
        at = end;
    }
    return CN_OK;
}

static enum cn_status run_stage(const struct run *run, size_t index, struct cn_text text)
{
    if (index == run->pretokenize->count) return bpe_piece(run->bpe, text, run->out);
    if (!run->pretokenize->stage[index]->prefix_space || text.data[0] == ' ')
        return run_pattern(run, index, text);
    struct cn_str spaced = {0};
    enum cn_status status = cn_str_add(&spaced, " ");
    if (status == CN_OK) status = cn_str_append(&spaced, text.data, text.length);
    if (status == CN_OK) status = run_pattern(run, index, cn_str_text(&spaced));
    cn_str_free(&spaced);
    return status;
}

enum cn_status pretokenize_run(struct pretokenize *pretokenize, struct bpe *bpe,
                               struct cn_text text, struct cn_ids *out)
{
    struct run run = {pretokenize, bpe, out};
    return text.length ? run_stage(&run, 0, text) : CN_OK;
}
