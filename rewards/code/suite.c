/* Tests as data sets write them. */
#include "code.h"

#include <string.h>

static bool has(const struct cn_json *object, const char *key)
{
    return cn_json_kind(cn_json_get(object, key)) != CN_JSON_NULL;
}

static bool is_list(const struct cn_json *node)
{
    return cn_json_kind(node) == CN_JSON_LIST;
}

static bool all_are(const struct cn_json *list, enum cn_json_kind kind)
{
    for (const struct cn_json *node = cn_json_first(list); node; node = cn_json_next(node))
        if (cn_json_kind(node) != kind) return false;
    return cn_json_count(list) > 0;
}

/* [{"input": "3 4", "output": "7"}, ...] */
static const char *read_pairs(const struct cn_json *list, struct code_suite *out)
{
    out->kind = CODE_STDIO;
    for (const struct cn_json *test = cn_json_first(list); test; test = cn_json_next(test)) {
        if (cn_text_is(cn_json_text(cn_json_get(test, "testtype")), "functional") ||
            cn_json_kind(cn_json_get(test, "input")) != CN_JSON_TEXT)
            out->kind = CODE_PROGRAM;
        if (!has(test, "input") || !has(test, "output"))
            return "a test of the list lacks \"input\" or \"output\"";
        if (out->kind == CODE_STDIO && cn_json_kind(cn_json_get(test, "output")) != CN_JSON_TEXT)
            return "\"output\" of a test is not text";
    }
    out->n = cn_json_count(list);
    out->input = out->output = cn_json_first(list);
    return NULL;
}

/* {"inputs": ["3 4", ...], "outputs": ["7", ...]}, for a function if "fn_name" is there */
static const char *read_columns(const struct cn_json *object, struct code_suite *out)
{
    const struct cn_json *inputs = cn_json_get(object, "inputs"),
                         *outputs = cn_json_get(object, "outputs");
    if (!is_list(inputs) || !is_list(outputs)) return "\"inputs\" and \"outputs\" are not lists";
    if (cn_json_count(inputs) != cn_json_count(outputs) || !cn_json_count(inputs))
        return "\"inputs\" and \"outputs\" are not of one length, or empty";
    if (has(object, "fn_name")) return NULL;
    if (!all_are(inputs, CN_JSON_TEXT) || !all_are(outputs, CN_JSON_TEXT))
        return "\"inputs\" and \"outputs\" of programs that read and print are not all text";
    out->kind = CODE_STDIO;
    out->n = cn_json_count(inputs);
    out->input = cn_json_first(inputs);
    out->output = cn_json_first(outputs);
    out->paired = true;
    return NULL;
}

static const char *read_object(const struct cn_json *object, struct code_suite *out)
{
    static const char *const programs[] = {"test_list", "assert_case", "tests", "test", NULL};
    struct cn_text language = cn_json_text(cn_json_get(object, "language"));
    for (int l = 0; l < CODE_LANGUAGE_COUNT; l++)
        if (cn_text_is(language, code_language_name((enum code_language)l))) {
            out->has_language = true;
            out->language = (enum code_language)l;
        }
    if (language.length && !out->has_language) return "\"language\" is not python, c or cpp";
    if (has(object, "inputs")) return read_columns(object, out);
    for (const char *const *key = programs; *key; key++)
        if (has(object, *key)) {
            const struct cn_json *tests = cn_json_get(object, *key);
            if (cn_json_kind(tests) == CN_JSON_TEXT) return NULL;
            if (is_list(tests) && all_are(tests, CN_JSON_OBJECT)) return read_pairs(tests, out);
            return all_are(tests, CN_JSON_TEXT) ? NULL : "the tests are not a list of texts";
        }
    return "it has none of inputs, test_list, assert_case, tests, test";
}

enum cn_status code_suite_read(struct cn_text ground_truth, struct code_suite *out,
                               const char **fault)
{
    size_t blank = 0;
    *out = (struct code_suite){.kind = CODE_PROGRAM, .text = ground_truth};
    *fault = NULL;
    while (blank < ground_truth.length && strchr(" \t\r\n", ground_truth.data[blank]))
        blank++;
    if (blank == ground_truth.length) {
        *fault = "it is empty";
        return CN_OK;
    }
    enum cn_status status = cn_json_parse(ground_truth, "tests", &out->root);
    if (status == CN_ERR_MEMORY) return status;
    if (status != CN_OK) { /* a program of assertions as plain text */
        cn_fail_clear();
        if (strchr("[{", ground_truth.data[blank])) *fault = "it looks like JSON and is not";
        return CN_OK;
    }
    const struct cn_json *root = out->root;
    if (cn_json_kind(root) == CN_JSON_OBJECT)
        *fault = read_object(root, out);
    else if (is_list(root) && all_are(root, CN_JSON_OBJECT))
        *fault = read_pairs(root, out);
    else if (!(is_list(root) && all_are(root, CN_JSON_TEXT)) && cn_json_kind(root) != CN_JSON_TEXT)
        *fault = "it is no list of tests";
    return CN_OK;
}

void code_suite_close(struct code_suite *suite)
{
    cn_json_close(suite->root);
    suite->root = NULL;
}
