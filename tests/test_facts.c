/* What plug-ins are told of a tokenizer's ids. */
#include "check.h"
#include "text_folder.h"

#include "carnot/tokenizer.h"

enum { FILE_MAX = 1 << 28, LONG = 0, SPECIAL = CN_TOKEN_SPECIAL, SHORT = CN_TOKEN_SHORT };

static const struct row {
    const char *token; /* as tokenizer.json writes it */
    uint8_t bits;
} rows[] = {
    {"a", SHORT},
    {"ab", LONG},
    {"\u0120", SHORT},                   /* a blank */
    {"\u0120\u0120", SHORT},             /* stripped, nothing is left */
    {"\u0120a", SHORT},                  /* stripped, one character */
    {";\u010A\u010A", SHORT},            /* as well: a semicolon and two newlines */
    {"a\u0120b", LONG},                  /* white space within counts */
    {"\u0120ab\u010A", LONG},            /* */
    {"\u00C3\u00A9", SHORT},             /* U+00E9, two bytes */
    {"\u0120\u00E4\u00B8\u0143", SHORT}, /* a blank and U+4E2D, three bytes */
    {"\u00C3\u00A9a", LONG},             /* */
    {"\u00F0\u0141\u013B\u0124", SHORT}, /* U+1F642, four bytes */
    {"\u00F0\u0141\u013B", SHORT},       /* its beginning: decoded alone, one U+FFFD */
    {"\u0120\u00F0\u0141", SHORT},       /* as after a blank */
    {"\u013B\u0124", LONG},              /* its end: two bytes that begin nothing, two U+FFFD */
    {"\u00E3\u0122\u0122", SHORT},       /* U+3000 is white space */
    {"\u00C2\u0142\u00C2\u0142", SHORT}, /* and so is U+00A0 */
};

enum { N_ROWS = sizeof rows / sizeof *rows };

/* tokenizer.json of the rows as its vocabulary, and three added tokens. */
static enum cn_status open_rows(struct cn_tokenizer **out)
{
    struct cn_str json = {0};
    cn_str_add(&json, "{\"model\":{\"type\":\"BPE\",\"merges\":[],\"vocab\":{");
    for (int i = 0; i < N_ROWS; i++)
        cn_str_format(&json, "%s\"%s\":%d", i ? "," : "", rows[i].token, i);
    cn_str_format(&json,
                  "}},\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},"
                  "\"decoder\":{\"type\":\"ByteLevel\"},\"added_tokens\":["
                  "{\"id\":%d,\"content\":\"<|end|>\",\"special\":true},"
                  "{\"id\":%d,\"content\":\"<think>\",\"special\":false},"
                  "{\"id\":%d,\"content\":\"#\",\"special\":true}]}",
                  N_ROWS, N_ROWS + 1, N_ROWS + 2);
    enum cn_status status = open_text(cn_str_text(&json), NULL, out);
    cn_str_free(&json);
    return status;
}

TEST(short_is_counted_in_characters_without_white_space_at_the_ends)
{
    struct cn_arena arena;
    struct cn_tokenizer *tokenizer;
    struct cn_token_facts facts;
    cn_arena_init(&arena);
    CHECK_OK(open_rows(&tokenizer));
    CHECK_OK(cn_tokenizer_facts(tokenizer, &arena, &facts));
    CHECK_INT(facts.n, N_ROWS + 3);
    for (int32_t id = 0; id < N_ROWS; id++) {
        if (cn_token_bits(&facts, id) != rows[id].bits) printf("  token %s\n", rows[id].token);
        CHECK_INT(cn_token_bits(&facts, id), rows[id].bits);
    }
    CHECK_INT(cn_token_bits(&facts, N_ROWS), SPECIAL);
    CHECK_INT(cn_token_bits(&facts, N_ROWS + 1), LONG);
    CHECK_INT(cn_token_bits(&facts, N_ROWS + 2), SPECIAL | SHORT);
    CHECK_INT(cn_token_bits(&facts, N_ROWS + 3), SHORT); /* a padding row of the embedding */
    CHECK_INT(cn_token_bits(&facts, -1), SHORT);
    cn_tokenizer_close(tokenizer);
    cn_arena_free(&arena);
}

/* Specials 0 to 3 and 506; single characters, then merges: two blanks, ";\n", "et", " x" ... */
TEST(the_tiny_tokenizer_has_its_special_and_short_tokens)
{
    static const struct {
        int32_t id;
        int bits;
    } cases[] = {{0, SPECIAL}, {3, SPECIAL}, {4, SHORT},  {19, SHORT},   {256, LONG},
                 {272, SHORT}, {351, SHORT}, {352, LONG}, {354, SHORT},  {355, LONG},
                 {377, SHORT}, {500, LONG},  {505, LONG}, {506, SPECIAL}};
    struct cn_arena arena;
    struct cn_str json = {0};
    struct cn_tokenizer *tokenizer;
    struct cn_token_facts facts;
    size_t special = 0;
    cn_arena_init(&arena);
    CHECK_OK(cn_file_read(CN_TEST_DATA "/tokenizer_tiny.json", FILE_MAX, &json));
    CHECK_OK(open_text(cn_str_text(&json), NULL, &tokenizer));
    CHECK_OK(cn_tokenizer_facts(tokenizer, &arena, &facts));
    CHECK_INT(facts.n, cn_tokenizer_size(tokenizer));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_INT(cn_token_bits(&facts, cases[i].id), cases[i].bits);
    for (size_t id = 0; id < facts.n; id++)
        special += facts.bits[id] & CN_TOKEN_SPECIAL;
    CHECK_INT(special, 5);
    cn_tokenizer_close(tokenizer);
    cn_str_free(&json);
    cn_arena_free(&arena);
}

TEST(every_token_of_the_byte_tokenizer_is_short_or_special)
{
    struct cn_arena arena;
    struct cn_tokenizer *tokenizer;
    struct cn_token_facts facts;
    cn_arena_init(&arena);
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    CHECK_OK(cn_tokenizer_facts(tokenizer, &arena, &facts));
    CHECK_INT(facts.n, 259);
    for (size_t id = 0; id < facts.n; id++)
        CHECK_INT(facts.bits[id], id < 256 ? SHORT : SPECIAL);
    cn_tokenizer_close(tokenizer);
    cn_arena_free(&arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
