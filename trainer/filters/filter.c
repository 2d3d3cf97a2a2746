/* The row loop of the filters. */
#include "filter.h"

#include "../text/scan.h"

#include "carnot/arena.h"
#include "carnot/log.h"
#include "carnot/nearest.h"
#include "carnot/tokenizer.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cn_status filter_begin(struct cn_str *out, const struct filter_row *row)
{
    CN_TRY(cn_str_add(out, "{"));
    if (row->id.length == 0) return CN_OK;
    CN_TRY(filter_key(out, "id"));
    return cn_str_append(out, row->id.data, row->id.length);
}

enum cn_status filter_key(struct cn_str *out, const char *key)
{
    bool first = out->length > 0 && out->data[out->length - 1] == '{';
    return cn_str_format(out, "%s\"%s\": ", first ? "" : ", ", key);
}

enum cn_status filter_end(struct cn_str *out)
{
    return cn_str_add(out, "}\n");
}

enum cn_status filter_ints(struct cn_str *out, const int32_t *values, size_t count)
{
    CN_TRY(cn_str_add(out, "["));
    for (size_t i = 0; i < count; i++)
        CN_TRY(cn_str_format(out, "%s%d", i ? ", " : "", (int)values[i]));
    return cn_str_add(out, "]");
}

enum cn_status filter_reals(struct cn_str *out, const double *values, size_t count, size_t nulls,
                            int digits)
{
    CN_TRY(cn_str_add(out, "["));
    for (size_t i = 0; i < count; i++) {
        if (i) CN_TRY(cn_str_add(out, ", "));
        CN_TRY(cn_json_real(out, i < nulls ? (double)NAN : values[i], digits));
    }
    return cn_str_add(out, "]");
}

enum cn_status filter_write(struct cn_text text)
{
    if (fwrite(text.data, 1, text.length, stdout) != text.length || fflush(stdout))
        return cn_fail(CN_ERR_IO, "cannot write to standard output: %s", strerror(errno));
    return CN_OK;
}

enum cn_status filter_read_ids(const struct cn_json *list, const char *key, struct cn_ids *out)
{
    if (cn_json_kind(list) != CN_JSON_LIST)
        return cn_fail(CN_ERR_DATA, "\"%s\" must be a list of token ids", key);
    size_t place = 0;
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n), place++) {
        double value = cn_json_number(n);
        if (cn_json_kind(n) != CN_JSON_NUMBER || value != floor(value) || value < 0 ||
            value > INT32_MAX)
            return cn_fail(CN_ERR_DATA, "\"%s\"[%zu] is not a token id", key, place);
        int32_t id = (int32_t)value;
        CN_TRY(cn_ids_append(out, &id, 1));
    }
    return CN_OK;
}

enum cn_status filter_read_member(const struct cn_json *row, const char *key,
                                  enum cn_json_kind kind, const struct cn_json **out)
{
    const struct cn_json *member = cn_json_get(row, key);
    *out = NULL;
    if (cn_json_kind(member) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(member) != kind)
        return cn_fail(CN_ERR_DATA, "\"%s\" must be a %s", key,
                       kind == CN_JSON_TEXT ? "text" : "list");
    *out = member;
    return CN_OK;
}

enum cn_status filter_read_messages(const struct cn_json *list, struct cn_arena *arena,
                                    struct cn_messages *out)
{
    size_t count = cn_json_count(list), i = 0;
    if (cn_json_kind(list) != CN_JSON_LIST || count == 0)
        return cn_fail(CN_ERR_DATA, "\"messages\" must be a list of at least one "
                                    "{\"role\": ..., \"content\": ...}");
    struct cn_message *item;
    CN_TRY(CN_NEW(arena, count, &item));
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n), i++) {
        const struct cn_json *content = cn_json_get(n, "content");
        if (cn_json_kind(content) != CN_JSON_TEXT ||
            cn_json_kind(cn_json_get(n, "role")) != CN_JSON_TEXT)
            return cn_fail(CN_ERR_DATA, "message %zu needs \"role\" and \"content\" as texts", i);
        item[i].role = cn_json_text(cn_json_get(n, "role")).data;
        item[i].content = cn_json_text(content);
    }
    *out = (struct cn_messages){item, count};
    return CN_OK;
}

/* The line that stands for a row that failed; takes the message. */
static enum cn_status write_error(struct cn_str *out, const struct filter_row *row,
                                  enum cn_status failure)
{
    struct cn_str message = {0};
    enum cn_status status = cn_str_add(&message, cn_fail_message());
    cn_fail_clear();
    cn_str_clear(out);
    if (status == CN_OK) status = filter_begin(out, row);
    if (status == CN_OK) status = filter_key(out, "error");
    if (status == CN_OK)
        status = cn_str_format(out, "{\"kind\": \"%s\", \"message\": ", cn_status_name(failure));
    if (status == CN_OK) status = cn_json_quote(out, cn_str_text(&message));
    if (status == CN_OK) status = cn_str_add(out, "}");
    if (status == CN_OK) status = filter_end(out);
    cn_str_free(&message);
    return status;
}

static bool belongs_to_row(enum cn_status status)
{
    return status == CN_ERR_DATA || status == CN_ERR_MODEL || status == CN_ERR_CONFIG ||
           status == CN_ERR_NUMERIC;
}

/* Parses a line; its id is kept as text, because a tree has neither the digits of a large number
 * nor the spelling of a text. */
static enum cn_status read_row(struct cn_text line, size_t number, struct cn_json **tree,
                               struct filter_row *out)
{
    static const char *const keys[] = {"id"};
    struct scan scan;
    char name[64];
    *out = (struct filter_row){.line = line};
    snprintf(name, sizeof name, "line %zu", number);
    CN_TRY(cn_json_parse_line(line, name, tree));
    if (cn_json_kind(*tree) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_DATA, "line %zu is not a JSON object", number);
    out->tree = *tree;
    scan_init(&scan, line, name, line.data);
    return scan_members(&scan, keys, 1, &out->id);
}

/* read_row; a line that is refused is read again as `repaired`, if that makes it another. */
static enum cn_status read_any_row(struct cn_text line, size_t number, struct cn_str *repaired,
                                   struct cn_json **tree, struct filter_row *out)
{
    bool changed = false;
    enum cn_status status = read_row(line, number, tree, out);
    if (status != CN_ERR_DATA) return status;
    if (cn_json_repair(line, repaired, &changed) != CN_OK || !changed) return status;
    cn_fail_clear();
    return read_row(cn_str_text(repaired), number, tree, out);
}

/* A row that another filter could not read keeps the reason. */
static enum cn_status pass_on(const struct cn_json *error)
{
    const struct cn_json *message = cn_json_get(error, "message");
    return cn_fail(CN_ERR_DATA, "the filter before failed at this row: %.256s",
                   cn_json_kind(message) == CN_JSON_TEXT ? cn_json_text(message).data
                                                         : "it does not say why");
}

/* Names the first key that the filter does not know. */
static enum cn_status check_keys(const char *const *keys, const struct cn_json *row)
{
    for (const struct cn_json *n = cn_json_first(row); keys && n; n = cn_json_next(n)) {
        struct cn_nearest nearest = {.word = cn_json_key(n)};
        bool known = strcmp(nearest.word, "id") == 0;
        for (const char *const *key = keys; *key && !known; key++) {
            known = strcmp(nearest.word, *key) == 0;
            cn_nearest_offer(&nearest, *key);
        }
        if (known) continue;
        if (strcmp(nearest.word, "error") == 0) return pass_on(n);
        const char *best = cn_nearest_found(&nearest);
        return cn_fail(CN_ERR_DATA,
                       "unknown key \"%.64s\"%s%s%s (what only travels along belongs into \"id\", "
                       "which is copied through)",
                       nearest.word, best ? "; nearest is \"" : "", best ? best : "",
                       best ? "\"" : "");
    }
    return CN_OK;
}

static enum cn_status one_line(const struct filter *filter, struct cn_text line, size_t number,
                               struct cn_str *out, size_t *bad)
{
    struct filter_row row;
    struct cn_json *tree = NULL;
    struct cn_str repaired = {0};
    cn_str_clear(out);
    enum cn_status status = filter->any_bytes ? read_any_row(line, number, &repaired, &tree, &row)
                                              : read_row(line, number, &tree, &row);
    if (status == CN_OK) status = check_keys(filter->keys, tree);
    if (status == CN_OK) status = filter->row(filter->self, &row, out);
    if (belongs_to_row(status)) {
        ++*bad;
        status = write_error(out, &row, status);
    }
    if (status == CN_OK) status = filter_write(cn_str_text(out));
    cn_json_close(tree);
    cn_str_free(&repaired);
    return status;
}

enum cn_status filter_run(const struct filter *filter)
{
    struct cn_str out = {0};
    char *line = NULL;
    size_t capacity = 0, number = 0, rows = 0, bad = 0;
    enum cn_status status = CN_OK;
    for (ssize_t length; status == CN_OK && (length = getline(&line, &capacity, stdin)) >= 0;) {
        number++;
        while (length > 0 && line[length - 1] && strchr(" \t\r\n", line[length - 1]))
            length--;
        struct cn_text text = {line, (size_t)length};
        if (length == 0) continue;
        rows++;
        status = one_line(filter, text, number, &out, &bad);
    }
    if (status == CN_OK && !feof(stdin))
        status = cn_fail(CN_ERR_IO, "cannot read standard input: %s", strerror(errno));
    free(line);
    cn_str_free(&out);
    CN_TRY(status);
    if (bad) return cn_fail(CN_ERR_DATA, "%zu of %zu rows are bad: see their \"error\"", bad, rows);
    return CN_OK;
}
