/* Everything that can be wrong with the folder of a tokenizer: refused with file and reason, never
 * a crash. */
#include "check.h"
#include "text_folder.h"

#include "carnot/tokenizer.h"

enum { FILE_MAX = 1 << 28 };

/* A whole tokenizer.json with two tokens and one merge; %s: vocab, merges, further keys. */
#define WHOLE(vocab, merges, rest)                                                                 \
    "{\"model\":{\"type\":\"BPE\",\"vocab\":" vocab ",\"merges\":" merges "},"                     \
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"                       \
    "\"decoder\":{\"type\":\"ByteLevel\"}" rest "}"
#define VOCAB "{\"a\":0,\"b\":1,\"ab\":2}"

static const struct {
    const char *json, *message;
} hostile[] = {
    {"", "expected an object"},
    {"{", "truncated"},
    {"[]", "expected an object"},
    {"{}", "model is missing"},
    {"{\"model\":null}", "expected an object"},
    {"{\"model\":{}}", "model.vocab is missing"},
    {"{\"model\":{\"vocab\":{\"a\":0}}}", "model.merges is missing"},
    {"{\"model\":{\"type\":\"WordPiece\",\"vocab\":{},\"merges\":[]}}", "WordPiece"},
    {"{\"model\":{\"vocab\":[],\"merges\":[]}}", "expected an object"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"vocab\":{\"a\":0},\"merges\":[]}}", "twice"},
    {WHOLE("{}", "[]", ""), "model.vocab is empty"},
    {WHOLE("{\"a\":\"0\"}", "[]", ""), "whole number"},
    {WHOLE("{\"a\":-1}", "[]", ""), "whole number"},
    {WHOLE("{\"a\":0.5}", "[]", ""), "whole number"},
    {WHOLE("{\"a\":99999999999999999999}", "[]", ""), "too large"},
    {WHOLE("{\"a\":0,\"b\":2}", "[]", ""), "no token has id 1"},
    {WHOLE("{\"a\":0,\"b\":0}", "[]", ""), "id 0 to two tokens"},
    {WHOLE("{\"a\":0,\"a\":1}", "[]", ""), "one token twice"},
    {WHOLE("{\"a\":0,\"\\ud800\":1}", "[]", ""), "surrogate"},
    {WHOLE("{\"a\":0,\"\\q\":1}", "[]", ""), "unknown escape"},
    {WHOLE("{\"a\":0,}", "[]", ""), "expected a string"},
    {WHOLE(VOCAB, "{}", ""), "expected a list"},
    {WHOLE(VOCAB, "[5]", ""), "expected a list"},
    {WHOLE(VOCAB, "[\"ab\"]", ""), "one space between"},
    {WHOLE(VOCAB, "[\"a b c\"]", ""), "one space between"},
    {WHOLE(VOCAB, "[[\"a\"]]", ""), "list of two"},
    {WHOLE(VOCAB, "[[\"a\",\"b\",\"c\"]]", ""), "list of two"},
    {WHOLE(VOCAB, "[\"a x\"]", ""), "merge 0: its right token"},
    {WHOLE(VOCAB, "[\"a b\",\"b a\"]", ""), "merge 1: the token it makes"},
    {WHOLE(VOCAB, "[\"a \\u4e00\"]", ""), "not byte-level"},
    {WHOLE(VOCAB, "[\"a b\"],\"dropout\":0.1", ""), "model.dropout is 0.1"},
    {WHOLE(VOCAB, "[\"a b\"],\"fuse_unk\":3", ""), "model.fuse_unk"},
    {WHOLE(VOCAB, "[\"a b\"],\"byte_fallback\":true", ""), "byte_fallback"},
    {WHOLE(VOCAB, "[\"a b\"],\"unk_token\":\"zz\"", ""), "unk_token \"zz\""},
    {WHOLE(VOCAB, "[\"a b\"],\"end_of_word_suffix\":\"</w>\"", ""), "end_of_word_suffix"},
    {WHOLE(VOCAB, "[]", ",\"normalizer\":{\"type\":\"Lowercase\"}"), "normalizer: type"},
    {WHOLE(VOCAB, "[]", ",\"normalizer\":5"), "normalizer"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":{}"), "must be a list"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":[5]"), "added_tokens[0]"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":[{\"content\":\"x\"}]"), "id"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":[{\"content\":\"x\",\"id\":7}]"), "next free one is 3"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":[{\"content\":\"a\",\"id\":3}]"), "it has 0"},
    {WHOLE(VOCAB, "[]", ",\"added_tokens\":[{\"content\":\"\",\"id\":3}]"), "content is empty"},
    {WHOLE(VOCAB, "[]", "} x"), "something"},
    {"{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]}}", "pre_tokenizer"},
};

TEST(a_hostile_tokenizer_json_is_refused_with_file_and_reason)
{
    for (size_t i = 0; i < sizeof hostile / sizeof *hostile; i++) {
        struct cn_tokenizer *tokenizer = NULL;
        CHECK_FAILS(open_text(cn_text(hostile[i].json), NULL, &tokenizer), CN_ERR_DATA,
                    hostile[i].message);
        CHECK(tokenizer == NULL);
        enum cn_status status = open_text(cn_text(hostile[i].json), NULL, &tokenizer);
        CHECK(status != CN_OK && strstr(cn_fail_message(), "/tokenizer.json"));
        cn_fail_clear();
    }
}

TEST(a_tokenizer_json_cut_anywhere_or_with_a_byte_changed_never_crashes)
{
    struct cn_str base = {0};
    struct cn_tokenizer *tokenizer;
    size_t refused = 0;
    CHECK_OK(cn_file_read(CN_TEST_DATA "/tokenizer_tiny.json", FILE_MAX, &base));
    for (size_t cut = 1; cut < base.length; cut += cut < 600 ? 7 : 97) {
        enum cn_status status =
            open_text((struct cn_text){base.data, base.length - cut}, NULL, &tokenizer);
        CHECK(status == CN_ERR_DATA);
        cn_fail_clear();
    }
    for (size_t at = 0; at < base.length; at += 13) {
        char old = base.data[at];
        base.data[at] = (char)("\"{}[],:0\\ \xFF"[at % 11]);
        enum cn_status status = open_text(cn_str_text(&base), NULL, &tokenizer);
        if (status == CN_OK)
            cn_tokenizer_close(tokenizer);
        else
            refused++;
        cn_fail_clear();
        base.data[at] = old;
    }
    CHECK(refused > 100);
    cn_str_free(&base);
}

/* Patterns and steps that would cut text in another way than Hugging Face. */
TEST(a_pre_tokenizer_that_cannot_be_reproduced_is_refused)
{
    static const struct {
        const char *step, *message;
    } cases[] = {
        {"{\"type\":\"Whitespace\"}", "type \"Whitespace\""},
        {"{\"type\":\"Sequence\"}", "must be a list"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[]}", "no step of type ByteLevel"},
        {"{\"type\":\"Digits\"}", "no step of type ByteLevel"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"ByteLevel\"},{\"type\":\"Digits\"}]"
         "}",
         "after ByteLevel"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\"},\"behavior\":\"Removed\"}", "Removed"},
        {"{\"type\":\"Split\",\"pattern\":{},\"behavior\":\"Isolated\"}", "pattern must be"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(\"},\"behavior\":\"Isolated\"}", "compile"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a*\"},\"behavior\":\"Isolated\"}",
         "match nothing"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a&&b]\"},\"behavior\":\"Isolated\"}",
         "intersection"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"[a[b]]\"},\"behavior\":\"Isolated\"}",
         "nested class"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\w+\"},\"behavior\":\"Isolated\"}",
         "'\\w'"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"\\\\p{Han}\"},\"behavior\":\"Isolated\"}",
         "'Han'"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"^a\"},\"behavior\":\"Isolated\"}", "anchor"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"(?i)a\"},\"behavior\":\"Isolated\"}",
         "group"},
        {"{\"type\":\"Split\",\"pattern\":{\"Regex\":\"a\\\\\"},\"behavior\":\"Isolated\"}",
         "unfinished"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[1024];
        struct cn_tokenizer *tokenizer;
        snprintf(json, sizeof json,
                 "{\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"pre_tokenizer\":%s,"
                 "\"decoder\":{\"type\":\"ByteLevel\"}}",
                 cases[i].step);
        CHECK_FAILS(open_text(cn_text(json), NULL, &tokenizer), CN_ERR_DATA, cases[i].message);
    }
}

TEST(the_small_files_give_stops_or_are_refused)
{
    static const char json[] = WHOLE(VOCAB, "[\"a b\"]",
                                     ",\"added_tokens\":[{\"id\":3,\"content\":"
                                     "\"<e>\",\"special\":true,\"normalized\":false}]");
    struct cn_tokenizer *tokenizer;
    const char *folder = scratch_folder();
    size_t n;
    CHECK_OK(open_text(cn_text(json), "{\"eos_token\":{\"content\":\"<e>\"}}", &tokenizer));
    CHECK_INT(cn_tokenizer_stops(tokenizer, &n)[0], 3);
    CHECK_INT(n, 1);
    CHECK_TEXT(cn_tokenizer_template(tokenizer), "none");
    cn_tokenizer_close(tokenizer);
    CHECK_FAILS(open_text(cn_text(json), "{\"eos_token\":\"<x>\"}", &tokenizer), CN_ERR_DATA,
                "eos_token \"<x>\"");
    CHECK_FAILS(open_text(cn_text(json), "[]", &tokenizer), CN_ERR_DATA, "tokenizer_config.json");
    CHECK_FAILS(open_text(cn_text(json), "{\"added_tokens_decoder\":{\"4\":{\"content\":\"<y>\"}}}",
                          &tokenizer),
                CN_ERR_DATA, "added_tokens_decoder");
    write_in(folder, "generation_config.json", cn_text("{\"eos_token_id\":[3,1,3]}"));
    CHECK_OK(open_text(cn_text(json), NULL, &tokenizer));
    const int32_t *stops = cn_tokenizer_stops(tokenizer, &n);
    CHECK_INT(n, 2);
    CHECK(n == 2 && stops[0] == 1 && stops[1] == 3);
    cn_tokenizer_close(tokenizer);
    write_in(folder, "config.json", cn_text("{\"eos_token_id\":9}"));
    CHECK_FAILS(open_text(cn_text(json), NULL, &tokenizer), CN_ERR_DATA,
                "/config.json: eos_token_id is 9");
    static const char *const not_ids[] = {"\"3\"", "2.5", "[1, [3]]", "{}"};
    for (size_t i = 0; i < sizeof not_ids / sizeof *not_ids; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"eos_token_id\": %s}", not_ids[i]);
        write_in(folder, "generation_config.json", cn_text(text));
        CHECK_FAILS(open_text(cn_text(json), NULL, &tokenizer), CN_ERR_DATA,
                    "/generation_config.json: eos_token_id must be an id");
    }
    CHECK_FAILS(cn_tokenizer_open("no/such/folder", "auto", &tokenizer), CN_ERR_IO,
                "no/such/folder/tokenizer.json");
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
