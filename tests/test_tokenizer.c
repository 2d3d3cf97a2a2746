/* Text to ids and back, against Hugging Face's tokenizers (tests/data/make_tokenizer.py), and
 * everything that can be wrong with a tokenizer.json. */
#include "check.h"
#include "text_folder.h"

#include "carnot/json.h"
#include "carnot/tokenizer.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { FILE_MAX = 1 << 28 };

/* ---- the strings of make_tokenizer.py ------------------------------------ */

static const uint32_t pools[][2] = {
    {0x20, 0x7e},     {0, 0x17f},         {0x370, 0x52f},     {0x590, 0x6ff},
    {0x900, 0x97f},   {0xe00, 0xe7f},     {0x1100, 0x11ff},   {0x1e00, 0x20ff},
    {0x2100, 0x2bff}, {0x3000, 0x30ff},   {0x4e00, 0x9fff},   {0xac00, 0xd7a3},
    {0xfb00, 0xffef}, {0x1f300, 0x1faff}, {0x10000, 0x1ffff}, {0x300, 0x36f}};
static const char *const parts[] = {" ",
                                    "  ",
                                    "\n",
                                    "\r\n",
                                    "\t",
                                    "'s",
                                    "'LL",
                                    "1",
                                    "23",
                                    "456",
                                    " a",
                                    "the",
                                    "The",
                                    " the",
                                    "<|im_end|>",
                                    "<|eot_id|>",
                                    "<think>",
                                    "e\u0301",
                                    "\u0301",
                                    "!",
                                    "?!",
                                    "...",
                                    "_",
                                    "\u00a0",
                                    "\u3000",
                                    "ing",
                                    "\u042f\u0417",
                                    "\u6f22\u5b57",
                                    "\U0001f642",
                                    "\u200d",
                                    "-",
                                    "\\",
                                    "{",
                                    "}",
                                    "$",
                                    "x^2",
                                    "0.5",
                                    "=",
                                    "\u2028",
                                    "<m>",
                                    "<r>",
                                    "<b>",
                                    "word",
                                    "e\u0301toile"};

static uint64_t below(uint64_t *state, uint64_t n)
{
    uint64_t z = *state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (z ^ z >> 31) % n;
}

static void put_code(struct cn_str *out, uint32_t code)
{
    char b[4];
    size_t n = code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
    if (n == 1) b[0] = (char)code;
    for (size_t i = n - 1; n > 1 && i > 0; i--, code >>= 6)
        b[i] = (char)(0x80 | (code & 63));
    if (n > 1) b[0] = (char)((n == 2 ? 0xC0 : n == 3 ? 0xE0 : 0xF0) | code);
    cn_str_append(out, b, n);
}

static void generate(uint64_t i, struct cn_str *out)
{
    static const size_t lengths[] = {1, 2, 3, 5, 8, 13, 30, 80};
    uint64_t state = i, n = lengths[below(&state, 8)], pool = below(&state, 16);
    cn_str_clear(out);
    cn_str_add(out, "");
    while (n--) {
        uint32_t low, high;
        if (i % 4 == 0) pool = below(&state, 16);
        low = i % 4 == 3 ? 0 : pools[pool][0];
        high = i % 4 == 3 ? 0x10ffff : pools[pool][1];
        if (i % 4 == 1 || (i % 4 == 2 && below(&state, 5) < 2)) {
            cn_str_add(out, parts[below(&state, sizeof parts / sizeof *parts)]);
            continue;
        }
        uint32_t code = low + (uint32_t)below(&state, high - low + 1);
        if (code < 0xd800 || code >= 0xe000) put_code(out, code);
    }
}

/* ---- helpers ------------------------------------------------------------- */

static struct cn_json *read_json(const char *path)
{
    struct cn_str text = {0};
    struct cn_json *root = NULL;
    if (cn_file_read(path, FILE_MAX, &text) != CN_OK ||
        cn_json_parse(cn_str_text(&text), path, &root) != CN_OK)
        CHECK_FAILED("%s", cn_fail_message());
    cn_str_free(&text);
    return root;
}

static void fnv(uint32_t *hash, uint32_t word)
{
    for (int i = 0; i < 4; i++, word >>= 8)
        *hash = (*hash ^ (word & 255)) * 0x01000193u;
}

/* Whether decoding gives the bytes back; only asked where the tokenizer changes no text. */
static bool comes_back(const struct cn_tokenizer *tokenizer, const struct cn_ids *ids,
                       struct cn_text text)
{
    struct cn_str back = {0};
    bool same = cn_tokenizer_decode(tokenizer, ids->item, ids->count, false, &back) == CN_OK &&
                back.length == text.length &&
                (text.length == 0 || memcmp(back.data, text.data, text.length) == 0);
    cn_str_free(&back);
    return same;
}

/* Compares the ids of every string with the hashes, block by block; returns how many strings. */
static size_t compare(struct cn_tokenizer *tokenizer, const struct cn_json *golden,
                      const struct cn_json *entry, bool lossless)
{
    const char *hashes = cn_json_text(cn_json_get(entry, "hashes")).data;
    size_t block = (size_t)cn_json_number(cn_json_get(golden, "block")), n = 0, wrong = 0;
    size_t n_generated = (size_t)cn_json_number(cn_json_get(golden, "generated"));
    struct cn_ids ids = {0};
    struct cn_str text = {0};
    uint32_t hash = 0x811c9dc5;
    const struct cn_json *hand = cn_json_first(cn_json_get(golden, "hand"));
    for (size_t i = 0; hand || i < n_generated;) {
        if (hand) {
            cn_str_clear(&text);
            cn_str_append(&text, cn_json_text(hand).data, cn_json_text(hand).length);
            hand = cn_json_next(hand);
        } else {
            generate(i++, &text);
        }
        ids.count = 0;
        if (cn_tokenizer_encode(tokenizer, cn_str_text(&text), true, &ids) != CN_OK)
            CHECK_FAILED("%s", cn_fail_message());
        if (lossless && !comes_back(tokenizer, &ids, cn_str_text(&text)))
            CHECK_FAILED("string %zu does not come back", n);
        fnv(&hash, (uint32_t)ids.count);
        for (size_t k = 0; k < ids.count; k++)
            fnv(&hash, (uint32_t)ids.item[k]);
        bool last = !hand && i == n_generated;
        if (++n % block == 0 || last) {
            char expected[9] = {0}, found[9];
            memcpy(expected, hashes + (n - 1) / block * 8, 8);
            snprintf(found, sizeof found, "%08x", hash);
            if (strcmp(found, expected) != 0 && wrong++ < 3)
                CHECK_FAILED("block %zu: %s, expected %s", (n - 1) / block, found, expected);
            hash = 0x811c9dc5;
        }
    }
    cn_str_free(&text);
    cn_ids_free(&ids);
    return n;
}

/* ---- equality with Hugging Face ------------------------------------------ */

/* "a b" strings instead of pairs, in the text of the tiny tokenizer: ["x","y"] -> "x y". */
static void merges_as_text(struct cn_str *json)
{
    char *at = strstr(json->data, "\"merges\":[[");
    if (!at) return;
    char *from = at + 10, *to = from;
    while (*from != ']') {
        if (*from == ',') *to++ = *from++;
        from++; /* [ */
        while (memcmp(from, "\",\"", 3) != 0)
            *to++ = *from++;
        *to++ = ' ';
        from += 3;
        while (memcmp(from, "\"]", 2) != 0)
            *to++ = *from++;
        *to++ = '"';
        from += 2;
    }
    memmove(to, from, strlen(from) + 1);
    json->length = strlen(json->data);
}

static void replace(struct cn_str *json, const struct cn_json *pair)
{
    const char *old = cn_json_text(cn_json_first(pair)).data;
    const char *new = cn_json_text(cn_json_next(cn_json_first(pair))).data;
    char *at = strstr(json->data, old);
    struct cn_str out = {0};
    if (!at) {
        CHECK_FAILED("the tiny tokenizer lacks %s", old);
        return;
    }
    cn_str_append(&out, json->data, (size_t)(at - json->data));
    cn_str_add(&out, new);
    cn_str_add(&out, at + strlen(old));
    cn_str_free(json);
    *json = out;
}

TEST(ids_equal_hugging_face_for_every_variant_of_a_tiny_tokenizer)
{
    struct cn_json *golden = read_json(CN_TEST_DATA "/tokenizer_golden.json");
    struct cn_str base = {0};
    size_t n_variants = 0;
    CHECK_OK(cn_file_read(CN_TEST_DATA "/tokenizer_tiny.json", FILE_MAX, &base));
    for (const struct cn_json *v = cn_json_first(cn_json_get(golden, "variants")); v;
         v = cn_json_next(v)) {
        struct cn_str json = {0};
        struct cn_tokenizer *tokenizer;
        const char *name = cn_json_text(cn_json_get(v, "name")).data;
        cn_str_append(&json, base.data, base.length);
        for (const struct cn_json *r = cn_json_first(cn_json_get(v, "replace")); r;
             r = cn_json_next(r))
            replace(&json, r);
        if (strcmp(name, "merges_as_text") == 0) merges_as_text(&json);
        int before = check_failures;
        CHECK_OK(open_text(cn_str_text(&json), NULL, &tokenizer));
        CHECK(compare(tokenizer, golden, v, false) > 6000);
        if (check_failures != before) printf("  in variant %s\n", name);
        n_variants++;
        cn_tokenizer_close(tokenizer);
        cn_str_free(&json);
    }
    CHECK(n_variants >= 15);
    cn_str_free(&base);
    cn_json_close(golden);
}

TEST(ids_equal_hugging_face_for_the_real_tokenizers)
{
    const char *folder = getenv("CN_TEST_TOKENIZERS");
    if (!folder)
        SKIP("CN_TEST_TOKENIZERS names no folder (tests/data/make_tokenizer.py fetch FOLDER)");
    struct cn_json *golden = read_json(CN_TEST_DATA "/tokenizer_golden.json");
    for (const struct cn_json *f = cn_json_first(cn_json_get(golden, "families")); f;
         f = cn_json_next(f)) {
        const char *name = cn_json_text(cn_json_get(f, "name")).data;
        struct cn_tokenizer *tokenizer;
        struct stat info;
        char path[4096];
        snprintf(path, sizeof path, "%s/%s", folder, name);
        if (stat(path, &info) != 0) {
            printf("  SKIPPED: %s is not there\n", path);
            continue;
        }
        CHECK_OK(cn_tokenizer_open(path, "auto", &tokenizer));
        bool lossless = strncmp(name, "llama3", 6) == 0;
        printf("  %s: %zu strings, template %s\n", name, compare(tokenizer, golden, f, lossless),
               cn_tokenizer_template(tokenizer));
        cn_tokenizer_close(tokenizer);
    }
    cn_json_close(golden);
}

/* ---- the byte tokenizer -------------------------------------------------- */

TEST(bytes_are_their_own_ids)
{
    struct cn_tokenizer *tokenizer;
    struct cn_ids ids = {0};
    struct cn_str back = {0};
    size_t n_stops;
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    CHECK_OK(cn_tokenizer_encode(tokenizer, cn_text("a\xC3\xA9<|eos|>"), true, &ids));
    CHECK_INT(ids.count, 4);
    CHECK_INT(ids.item[0], 'a');
    CHECK_INT(ids.item[1], 0xC3);
    CHECK_INT(ids.item[3], 258);
    CHECK_OK(cn_tokenizer_decode(tokenizer, ids.item, ids.count, false, &back));
    CHECK_TEXT(back.data, "a\xC3\xA9<|eos|>");
    cn_str_clear(&back);
    CHECK_OK(cn_tokenizer_decode(tokenizer, ids.item, ids.count, true, &back));
    CHECK_TEXT(back.data, "a\xC3\xA9");
    CHECK_INT(cn_tokenizer_size(tokenizer), 259);
    CHECK_INT(cn_tokenizer_stops(tokenizer, &n_stops)[0], 258);
    CHECK_INT(n_stops, 1);
    CHECK(cn_tokenizer_is_special(tokenizer, 258) && !cn_tokenizer_is_special(tokenizer, 65));
    CHECK_TEXT(cn_tokenizer_template(tokenizer), "plain");
    cn_str_free(&back);
    cn_ids_free(&ids);
    cn_tokenizer_close(tokenizer);
}

TEST(a_saved_tokenizer_opens_as_the_same_one)
{
    struct cn_tokenizer *bytes, *again;
    const char *folder = scratch_folder(), *text = "x\n\xF0\x9F\x99\x82 <|bos|>\x01 12";
    struct cn_ids a = {0}, b = {0};
    size_t n_stops;
    CHECK_OK(cn_tokenizer_open_bytes(&bytes));
    CHECK_OK(cn_tokenizer_save(bytes, folder));
    CHECK_OK(cn_tokenizer_open(folder, "auto", &again));
    clean_up(folder);
    CHECK_OK(cn_tokenizer_encode(bytes, cn_text(text), true, &a));
    CHECK_OK(cn_tokenizer_encode(again, cn_text(text), true, &b));
    CHECK_INT(a.count, b.count);
    CHECK(a.count == b.count && memcmp(a.item, b.item, a.count * sizeof *a.item) == 0);
    CHECK_TEXT(cn_tokenizer_template(again), "plain");
    cn_tokenizer_stops(again, &n_stops);
    CHECK_INT(n_stops, 1);
    cn_ids_free(&a);
    cn_ids_free(&b);
    cn_tokenizer_close(bytes);
    cn_tokenizer_close(again);
}

/* ---- special tokens in text, bytes that are not UTF-8 -------------------- */

TEST(text_of_special_tokens_is_plain_text_unless_asked_for)
{
    struct cn_tokenizer *tokenizer;
    struct cn_ids ids = {0};
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    CHECK_OK(cn_tokenizer_encode(tokenizer, cn_text("<|eos|>"), false, &ids));
    CHECK_INT(ids.count, 7);
    cn_ids_free(&ids);
    cn_tokenizer_close(tokenizer);
}

TEST(bytes_that_are_not_utf8_become_the_replacement_character)
{
    static const struct {
        const char *text, *expected;
    } cases[] = {{"a\xFFz", "a\xEF\xBF\xBDz"},
                 {"\xE2\x82", "\xEF\xBF\xBD"},
                 {"\xE2\x82z\xC0\x80", "\xEF\xBF\xBDz\xEF\xBF\xBD\xEF\xBF\xBD"},
                 {"\xED\xA0\x80", "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD"},
                 {"\xF0\x9F\x99<|eos|>", "\xEF\xBF\xBD<|eos|>"}};
    struct cn_tokenizer *tokenizer;
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_ids ids = {0};
        struct cn_str back = {0};
        CHECK_OK(cn_tokenizer_encode(tokenizer, cn_text(cases[i].text), true, &ids));
        CHECK_OK(cn_tokenizer_decode(tokenizer, ids.item, ids.count, false, &back));
        CHECK_TEXT(back.data, cases[i].expected);
        cn_str_free(&back);
        cn_ids_free(&ids);
    }
    cn_tokenizer_close(tokenizer);
}

TEST(every_id_outside_the_vocabulary_is_refused)
{
    struct cn_tokenizer *tokenizer;
    struct cn_str out = {0};
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    static const int32_t ids[] = {65, 259, -1};
    CHECK_FAILS(cn_tokenizer_decode(tokenizer, ids, 2, false, &out), CN_ERR_DATA, "id 259");
    CHECK_FAILS(cn_tokenizer_decode(tokenizer, ids + 2, 1, false, &out), CN_ERR_DATA, "id -1");
    CHECK_INT(out.length, 0);
    cn_str_free(&out);
    cn_tokenizer_close(tokenizer);
}

TEST(a_megabyte_without_a_break_is_encoded_in_a_moment)
{
    struct cn_str base = {0}, text = {0};
    struct cn_tokenizer *tokenizer;
    struct cn_ids ids = {0};
    CHECK_OK(cn_file_read(CN_TEST_DATA "/tokenizer_tiny.json", FILE_MAX, &base));
    CHECK_OK(open_text(cn_str_text(&base), NULL, &tokenizer));
    for (int i = 0; i < 250000; i++)
        cn_str_add(&text, i % 3 ? "the" : "rewa");
    CHECK_OK(cn_tokenizer_encode(tokenizer, cn_str_text(&text), true, &ids));
    CHECK(ids.count > 100000 && comes_back(tokenizer, &ids, cn_str_text(&text)));
    cn_ids_free(&ids);
    cn_str_free(&text);
    cn_str_free(&base);
    cn_tokenizer_close(tokenizer);
}

TEST(only_the_beginning_of_a_character_is_held_back)
{
    CHECK_INT(cn_utf8_complete(cn_text("ab\xE2\x82")), 2);
    CHECK_INT(cn_utf8_complete(cn_text("ab\xE2\x82\xAC")), 5);
    CHECK_INT(cn_utf8_complete(cn_text("ab\xFF")), 3);
    CHECK_INT(cn_utf8_complete(cn_text("ab\x82\x82\x82\x82")), 6);
    CHECK_INT(cn_utf8_complete(cn_text("\xF0\x9F\x98")), 0);
    CHECK_INT(cn_utf8_complete(cn_text("\xE0\x80")), 2);
    CHECK_INT(cn_utf8_complete(cn_text("")), 0);
}

/* Output of `carnot tokenize FOLDER arguments` for these rows; *code is its exit code. */
static void run_filter(const char *arguments, const char *rows, struct cn_str *out, int *code)
{
    char command[1024], line[1024];
    write_in(scratch_folder(), "rows", cn_text(rows));
    snprintf(command, sizeof command, "%s/carnot tokenize %s %s < %s/rows 2>/dev/null", CN_TEST_BIN,
             scratch_folder(), arguments, scratch_folder());
    FILE *pipe = popen(command, "r");
    cn_str_clear(out);
    while (pipe && fgets(line, sizeof line, pipe))
        cn_str_add(out, line);
    int status = pipe ? pclose(pipe) : -1;
    *code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    snprintf(command, sizeof command, "%s/rows", scratch_folder());
    unlink(command);
}

static bool begins(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

TEST(the_filter_answers_every_row_on_its_line)
{
    struct cn_tokenizer *tokenizer;
    struct cn_str out = {0};
    int code;
    CHECK_OK(cn_tokenizer_open_bytes(&tokenizer));
    CHECK_OK(cn_tokenizer_save(tokenizer, scratch_folder()));
    cn_tokenizer_close(tokenizer);
    run_filter("",
               "{\"id\": [7], \"text\": \"a<|eos|>\"}\n"
               "{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}\n",
               &out, &code);
    CHECK_INT(code, 0);
    CHECK_TEXT(out.data, "{\"id\": [7], \"ids\": [97, 258]}\n"
                         "{\"text\": \"b\\n\", \"ids\": [98, 10]}\n");
    run_filter("--literal", "{\"text\": \"<|eos|>\"}\n{\"id\": 1}\n{\"text\": \"\"}\n", &out,
               &code);
    CHECK_INT(code, 3);
    CHECK(begins(out.data, "{\"ids\": [60, 124, 101, 111, 115, 124, 62]}\n{\"id\": 1, \"error\""));
    CHECK(strstr(out.data, "\n{\"ids\": []}\n"));
    run_filter("--decode", "{\"ids\": [97, 258]}\n{\"ids\": [255, 98]}\n{\"ids\": [259]}\n", &out,
               &code);
    CHECK_INT(code, 3);
    CHECK(begins(out.data, "{\"text\": \"a<|eos|>\"}\n"
                           "{\"text\": \"\uFFFDb\", \"hex\": \"ff62\"}\n{\"error\""));
    run_filter("--wrong", "", &out, &code);
    CHECK_INT(code, 2);
    clean_up(scratch_folder());
    cn_str_free(&out);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
