/* JSON: what must be refused is refused with its place, and what is written reads back as it was.
 */
#include "check.h"

#include "carnot/json.h"

#include <stdlib.h>

static struct cn_json *read_or_null(const char *text)
{
    struct cn_json *root = NULL;
    if (cn_json_parse(cn_text(text), "t", &root) != CN_OK)
        CHECK_FAILED("%s: %s", text, cn_fail_message());
    cn_fail_clear();
    return root;
}

/* Parses and prints again; the caller frees. */
static char *round_trip(const char *text)
{
    struct cn_json *root = read_or_null(text);
    struct cn_str out = {0};
    if (cn_json_print(root, false, &out) != CN_OK) CHECK_FAILED("cannot print %s", text);
    cn_json_close(root);
    return out.data;
}

TEST(valid_documents_print_as_they_were)
{
    static const char *const documents[] = {
        "null",
        "true",
        "false",
        "0",
        "-0",
        "1.5",
        "-12",
        "[]",
        "{}",
        "\"\"",
        "\"a\"",
        "[1,[2,[3]],{}]",
        "{\"a\":{\"b\":[null,true]},\"\":1}",
        "\"\\\"\\\\\\b\\f\\n\\r\\t\\u0001\"",
        "1e+300",
        "4.94065645841247e-324",
        "0.1",
        "123456789012345",
        "9007199254740993e0",
    };
    for (size_t i = 0; i < sizeof documents / sizeof *documents; i++) {
        char *back = round_trip(documents[i]);
        const char *expected = documents[i];
        if (strcmp(expected, "9007199254740993e0") == 0) expected = "9007199254740992";
        CHECK_TEXT(back, expected);
        free(back);
    }
}

TEST(escapes_become_utf8)
{
    char *back = round_trip("\"\\u0041\\u00e9\\u20AC\\ud83d\\ude00\\/\"");
    CHECK_TEXT(back, "\"A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80/\"");
    free(back);
}

TEST(a_text_may_contain_zero_bytes)
{
    struct cn_json *root = read_or_null("\"a\\u0000b\"");
    struct cn_json *copy = NULL;
    CHECK_INT(cn_json_text(root).length, 3);
    CHECK_OK(cn_json_copy(root, &copy));
    CHECK_INT(cn_json_text(copy).length, 3);
    CHECK(memcmp(cn_json_text(copy).data, "a\0b", 4) == 0);
    struct cn_str out = {0};
    CHECK_OK(cn_json_print(copy, false, &out));
    CHECK_TEXT(out.data, "\"a\\u0000b\"");
    cn_str_free(&out);
    cn_json_close(copy);
    cn_json_close(root);
}

TEST(broken_documents_are_refused_with_their_place)
{
    static const struct {
        const char *text, *part;
    } cases[] = {
        {"", "t:1:1: the text ends too early"},
        {"  \n ", "t:2:2: the text ends too early"},
        {"{\"a\": 1,\n \"b\": 01}", "t:2:7: not a number"},
        {"[1,]", "t:1:4: expected a value"},
        {"{\"a\":1,}", "t:1:8: expected a key"},
        {"[1 2]", "t:1:4: expected ',' or ']'"},
        {"[1", "t:1:1: '[' is never closed"},
        {"{\"a\":1", "t:1:1: '{' is never closed"},
        {"{a:1}", "t:1:2: expected a key"},
        {"{\"a\" 1}", "t:1:6: expected ':'"},
        {"1 2", "t:1:3: text behind the end"},
        {"// c\n1", "t:1:1: expected a value"},
        {"-", "not a number"},
        {"1.", "not a number"},
        {".5", "expected a value"},
        {"+1", "expected a value"},
        {"1e", "not a number"},
        {"0x10", "text behind the end"},
        {"NaN", "expected a value"},
        {"nul", "expected a value"},
        {"True", "expected a value"},
        {"1e999", "too large for a double"},
        {"\"a", "without its closing quote"},
        {"\"a\\\"", "without its closing quote"},
        {"\"\n\"", "control character"},
        {"\"\\x\"", "unknown escape"},
        {"\"\\u12g4\"", "unknown escape"},
        {"\"\\ud800\"", "half of a surrogate pair"},
        {"\"\\udc00\"", "half of a surrogate pair"},
        {"\"\\ud800\\u0041\"", "half of a surrogate pair"},
        {"\"\xff\"", "t:1:2: bytes that are not UTF-8"},
        {"\"\xc0\x80\"", "not UTF-8"},
        {"\"\xed\xa0\x80\"", "not UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "not UTF-8"},
        {"\"\xe2\x82\"", "not UTF-8"},
        {"\xEF\xBB\xBF{}", "byte order mark"},
        {"{\"a\":1,\"b\":2,\n\"a\":3}", "key \"a\" occurs twice in one object (again in line 2)"},
        {"{\"a\\u0000\":1}", "t:1:2: a zero byte in a key"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_json *root = NULL;
        int before = check_failures;
        CHECK_FAILS(cn_json_parse(cn_text(cases[i].text), "t", &root), CN_ERR_DATA, cases[i].part);
        if (check_failures != before) printf("  in case %zu: %s\n", i, cases[i].text);
    }
}

TEST(a_complaint_about_one_line_of_a_file_adds_the_column)
{
    struct cn_json *root = NULL;
    CHECK_FAILS(cn_json_parse_line(cn_text("{\"a\": tru}"), "f, line 7", &root), CN_ERR_DATA,
                "f, line 7, column 7: ");
    CHECK_FAILS(cn_json_parse_line(cn_text("{\"a\": 1, \"a\": 2}"), "f, line 7", &root),
                CN_ERR_DATA, "f, line 7, column 1: key \"a\" occurs twice in one object");
}

TEST(depth_is_limited)
{
    char text[500];
    struct cn_json *root = NULL;
    memset(text, '[', 201);
    memset(text + 201, ']', 201);
    text[402] = 0;
    CHECK_FAILS(cn_json_parse(cn_text(text), "t", &root), CN_ERR_DATA, "200 levels");
    text[401] = 0;
    CHECK_OK(cn_json_parse(cn_text(text + 1), "t", &root));
    cn_json_close(root);
}

TEST(configuration_allows_comments_and_trailing_commas_and_knows_lines)
{
    static const char text[] = "\xEF\xBB\xBF// first\n{ /* a\n b */ \"a\": [1, 2,], // rest\n"
                               " \"url\": \"http://x\",\n}\n//end";
    struct cn_json *root = NULL;
    CHECK_OK(cn_json_parse_config(cn_text(text), "c", &root));
    CHECK_INT(cn_json_count(cn_json_get(root, "a")), 2);
    CHECK_TEXT(cn_json_text(cn_json_get(root, "url")).data, "http://x");
    CHECK_INT(cn_json_line(cn_json_get(root, "a")), 3);
    CHECK_INT(cn_json_line(cn_json_get(root, "url")), 4);
    cn_json_close(root);
    CHECK_FAILS(cn_json_parse_config(cn_text("{} /* x"), "c", &root), CN_ERR_DATA,
                "c:1:4: a comment without its end");
    CHECK_FAILS(cn_json_parse_config(cn_text("[,]"), "c", &root), CN_ERR_DATA, "expected a value");
}

TEST(numbers_print_in_their_shortest_exact_form)
{
    static const struct {
        double value;
        int digits;
        const char *text;
    } cases[] = {
        {0.1, 17, "0.1"},
        {1.0 / 3.0, 17, "0.3333333333333333"},
        {(double)0.1f, 9, "0.1"},
        {(double)(1.0f / 3.0f), 9, "0.33333334"},
        {-2, 17, "-2"},
        {1e20, 17, "1e+20"},
        {16777216, 9, "16777216"},
        {123456789, 9, "123456789"},
        {NAN, 17, "null"},
        {INFINITY, 9, "null"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_str out = {0};
        CHECK_OK(cn_json_real(&out, cases[i].value, cases[i].digits));
        CHECK_TEXT(out.data, cases[i].text);
        cn_str_free(&out);
    }
    double value = 1.0;
    for (int i = 0; i < 20000; i++) {
        value = value * 1.000813 + 1e-13 * i;
        double odd = i % 2 ? 1 / value : value;
        struct cn_str out = {0};
        CHECK_OK(cn_json_real(&out, odd, 17));
        if (strtod(out.data, NULL) != odd) CHECK_FAILED("%.17g printed as %s", odd, out.data);
        out.length = 0;
        CHECK_OK(cn_json_real(&out, (double)(float)odd, 9));
        if ((float)strtod(out.data, NULL) != (float)odd)
            CHECK_FAILED("float %.9g printed as %s", odd, out.data);
        cn_str_free(&out);
    }
}

TEST(bytes_that_are_not_utf8_are_quoted_as_replacement)
{
    struct cn_str out = {0};
    CHECK_OK(cn_json_quote(&out, (struct cn_text){"a\xff\xc3\xa9\xe2\x82", 6}));
    CHECK_TEXT(out.data, "\"a\xEF\xBF\xBD\xC3\xA9\xEF\xBF\xBD\xEF\xBF\xBD\"");
    cn_str_free(&out);
}

TEST(trees_can_be_changed)
{
    struct cn_json *root = read_or_null("{\"a\":1,\"b\":{\"c\":[1,\"x\",null]},\"d\":false}"),
                   *value, *copy;
    CHECK_OK(cn_json_copy(cn_json_get(root, "b"), &copy));
    CHECK_OK(cn_json_set(root, "a", copy));
    CHECK_OK(cn_json_new_number(2.5, &value));
    CHECK_OK(cn_json_set(root, "e", value));
    CHECK_OK(cn_json_new_bool(true, &value));
    CHECK_OK(cn_json_push((struct cn_json *)cn_json_get(cn_json_get(root, "a"), "c"), value));
    cn_json_remove(root, "d");
    cn_json_remove(root, "absent");
    struct cn_str out = {0};
    CHECK_OK(cn_json_print(root, false, &out));
    CHECK_TEXT(out.data,
               "{\"a\":{\"c\":[1,\"x\",null,true]},\"b\":{\"c\":[1,\"x\",null]},\"e\":2.5}");
    cn_str_clear(&out);
    CHECK_OK(cn_json_print(root, true, &out));
    CHECK_TEXT(out.data, "{\n  \"a\": {\n    \"c\": [1, \"x\", null, true]\n  },\n  \"b\": {\n"
                         "    \"c\": [1, \"x\", null]\n  },\n  \"e\": 2.5\n}");
    CHECK_OK(cn_json_new(CN_JSON_LIST, &value));
    CHECK_FAILS(cn_json_set((struct cn_json *)cn_json_get(root, "e"), "k", value), CN_ERR_BUG, "");
    cn_str_free(&out);
    cn_json_close(root);
}

TEST(members_are_read_with_a_check)
{
    struct cn_json *root = read_or_null(
        "{\"i\":3,\"r\":1.5,\"t\":\"x\",\"n\":null,\"b\":true,\"z\":\"a\\u0000\",\"big\":1e17}");
    int64_t i = 0;
    double r = 0;
    const char *t = NULL;
    CHECK_OK(cn_json_need_int(root, "i", 0, 3, &i));
    CHECK_INT(i, 3);
    CHECK_FAILS(cn_json_need_int(root, "i", 0, 2, &i), CN_ERR_DATA,
                "\"i\": 3 is not between 0 and 2");
    CHECK_FAILS(cn_json_need_int(root, "r", 0, 2, &i), CN_ERR_DATA,
                "\"r\": expected a whole number, found 1.5");
    CHECK_FAILS(cn_json_need_int(root, "t", 0, 2, &i), CN_ERR_DATA, "found a text");
    CHECK_FAILS(cn_json_need_int(root, "big", 0, INT64_MAX, &i), CN_ERR_DATA, "whole number");
    CHECK_FAILS(cn_json_need_int(root, "absent", 0, 2, &i), CN_ERR_DATA, "found nothing");
    CHECK_OK(cn_json_int_or(root, "n", 0, 2, 7, &i));
    CHECK_INT(i, 7);
    CHECK_OK(cn_json_real_or(root, "r", 0, &r));
    CHECK_NEAR(r, 1.5, 0);
    CHECK_FAILS(cn_json_real_or(root, "t", 0, &r), CN_ERR_DATA, "expected a number");
    CHECK_OK(cn_json_need_text(root, "t", &t));
    CHECK_TEXT(t, "x");
    CHECK_FAILS(cn_json_need_text(root, "z", &t), CN_ERR_DATA, "zero byte");
    bool b = false;
    CHECK_OK(cn_json_bool_or(root, "b", false, &b));
    CHECK(b);
    b = false;
    CHECK_OK(cn_json_bool_or(root, "absent", true, &b));
    CHECK(b);
    CHECK_FAILS(cn_json_bool_or(root, "t", true, &b), CN_ERR_DATA, "expected true or false");
    CHECK_INT(cn_json_kind(NULL), CN_JSON_NULL);
    CHECK_INT(cn_json_count(cn_json_get(root, "i")), 0);
    CHECK_TEXT(cn_json_text(cn_json_get(root, "i")).data, "");
    cn_json_close(root);
}

TEST(large_objects_are_read_and_duplicates_in_them_found)
{
    struct cn_str text = {0};
    enum { MEMBERS = 50000 };
    CHECK_OK(cn_str_add(&text, "{"));
    for (int i = 0; i < MEMBERS; i++)
        CHECK_OK(cn_str_format(&text, "\"key%d\":%d,\n", i, i));
    size_t length = text.length;
    CHECK_OK(cn_str_add(&text, "\"last\":0}"));
    struct cn_json *root = NULL;
    CHECK_OK(cn_json_parse(cn_str_text(&text), "t", &root));
    CHECK_INT(cn_json_count(root), MEMBERS + 1);
    CHECK_NEAR(cn_json_number(cn_json_get(root, "key49999")), 49999, 0);
    cn_json_close(root);
    text.length = length;
    CHECK_OK(cn_str_add(&text, "\"key25000\":0}"));
    CHECK_FAILS(cn_json_parse(cn_str_text(&text), "t", &root), CN_ERR_DATA,
                "\"key25000\" occurs twice");
    cn_str_free(&text);
}

TEST(a_text_cut_anywhere_is_refused)
{
    static const char text[] = "{\"a\": [1, -2.5e3, \"x\\u00e9\\n\", true], \"b\": {\"c\": null}}";
    for (size_t n = 0; n < sizeof text - 1; n++) {
        char *cut = malloc(n + 1); /* exact size: a sanitizer sees any read behind it */
        memcpy(cut, text, n);
        struct cn_json *root = NULL;
        CHECK(cn_json_parse((struct cn_text){cut, n}, "t", &root) == CN_ERR_DATA);
        cn_fail_clear();
        free(cut);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
