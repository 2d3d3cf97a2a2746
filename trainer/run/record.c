/* The token record: columns of the batch into the segments of a rank. */
#include "record.h"

#include "carnot/store.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    SEGMENT_TOKENS = 1 << 20, /* a segment is closed after about this many: 30 to 60 MB */
    FILLER = 4096,
    CONFIG_MAX = 59000 /* an attribute must stay below 60,000 bytes */
};

struct record {
    char *folder, *config;
    const char *type;
    int attempt, rank;
    struct cn_store *store; /* of the open segment, or NULL */
    uint64_t first, last;
    size_t rows[2];                 /* tokens and sequences in the segment, by enum cn_per */
    size_t filled[CN_COLUMN_COUNT]; /* rows of each column */
};

/* ---- open and close ------------------------------------------------------ */

static void record_free(struct record *record)
{
    free(record->folder);
    free(record->config);
    free(record);
}

enum cn_status record_open(const struct record_options *options, struct record **out)
{
    const char *type = options->type ? options->type : cn_store_best();
    if (!cn_store_ending(type))
        return cn_fail(CN_ERR_CONFIG, "no store \"%s\" in this program", type);
    struct cn_str tokens = {NULL, 0, 0};
    struct record *record = calloc(1, sizeof *record);
    if (!record) return cn_fail(CN_ERR_MEMORY, "out of memory: record");
    enum cn_status status = CN_OK;
    *record = (struct record){.type = type, .attempt = options->attempt, .rank = options->rank};
    record->folder = strdup(options->folder);
    record->config =
        strndup(options->config.length ? options->config.data : "", options->config.length);
    if (!record->folder || !record->config)
        CN_TRY_GOTO(cn_fail(CN_ERR_MEMORY, "out of memory: record"), out);
    CN_TRY_GOTO(cn_str_format(&tokens, "%s/tokens", options->folder), out);
    CN_TRY_GOTO(cn_folder_make(tokens.data), out);
    *out = record;
out:
    cn_str_free(&tokens);
    if (status != CN_OK) record_free(record);
    return status;
}

/* "open" stands for the last step until it is known. */
static enum cn_status segment_path(const struct record *record, bool closed, struct cn_str *out)
{
    char last[24] = "open";
    if (closed) snprintf(last, sizeof last, "%06" PRIu64, record->last);
    return cn_str_format(out, "%s/tokens/attempt_%d_steps_%06" PRIu64 "_%s_rank_%04d%s",
                         record->folder, record->attempt, record->first, last, record->rank,
                         cn_store_ending(record->type));
}

/* ---- columns ------------------------------------------------------------- */

static enum cn_dtype dtype_in_memory(const struct cn_column_info *info)
{
    static const enum cn_dtype types[] = {
        [CN_DISK_U1] = CN_DTYPE_U8,  [CN_DISK_U2] = CN_DTYPE_U16, [CN_DISK_U4] = CN_DTYPE_U32,
        [CN_DISK_U8] = CN_DTYPE_U64, [CN_DISK_I4] = CN_DTYPE_I32, [CN_DISK_I8] = CN_DTYPE_I64,
        [CN_DISK_F4] = CN_DTYPE_F32};
    return info->is_double ? CN_DTYPE_F64 : types[info->disk];
}

static void column_name(const struct cn_column_info *info, char out[64])
{
    snprintf(out, 64, "/%s/%s", info->per == CN_PER_TOKEN ? "tokens" : "sequences", info->name);
}

static enum cn_status append_rows(struct record *record, enum cn_column column, void *data,
                                  size_t rows)
{
    const struct cn_column_info *info = &cn_column_table[column];
    char name[64];
    column_name(info, name);
    struct cn_buffer buffer = {.name = name,
                               .dtype = dtype_in_memory(info),
                               .rank = 1,
                               .shape = {(int64_t)rows},
                               .count = rows,
                               .data = data,
                               .device = -1};
    CN_TRY(cn_store_append(record->store, &buffer, info->disk));
    record->filled[column] += rows;
    return CN_OK;
}

/* Brings a column that some steps did not write up to `rows`: NaN where the column is real, else 0.
 */
static enum cn_status fill_column(struct record *record, enum cn_column column, size_t rows)
{
    double nothing[FILLER];
    for (size_t i = 0; i < FILLER; i++)
        nothing[i] = cn_column_table[column].is_double ? (double)NAN : 0;
    while (record->filled[column] < rows) {
        size_t n = rows - record->filled[column];
        CN_TRY(append_rows(record, column, nothing, n < FILLER ? n : FILLER));
    }
    return CN_OK;
}

static enum cn_status append_column(struct record *record, const struct cn_batch *batch,
                                    struct cn_span span, enum cn_column column)
{
    const struct cn_column_info *info = &cn_column_table[column];
    const bool token = info->per == CN_PER_TOKEN;
    const size_t begin = token ? batch->seq_start[span.begin] : span.begin,
                 end = token ? batch->seq_start[span.end] : span.end;
    CN_TRY(fill_column(record, column, record->rows[info->per]));
    return append_rows(record, column, (char *)cn_batch_column(batch, column) + begin * info->size,
                       end - begin);
}

/* Series of the record's own: where sequences begin, and which step they belong to. */
static enum cn_status append_numbers(struct record *record, const char *name, int64_t *values,
                                     size_t n)
{
    struct cn_buffer buffer = {.name = name,
                               .dtype = CN_DTYPE_I64,
                               .rank = 1,
                               .shape = {(int64_t)n},
                               .count = n,
                               .data = values,
                               .device = -1};
    return cn_store_append(record->store, &buffer, CN_DISK_I8);
}

static enum cn_status append_sequences(struct record *record, const struct cn_batch *batch,
                                       struct cn_span span, uint64_t step)
{
    int64_t values[FILLER];
    const size_t base = batch->seq_start[span.begin];
    for (size_t done = span.begin, n; done < span.end; done += n) {
        n = span.end - done < FILLER ? span.end - done : FILLER;
        for (size_t i = 0; i < n; i++)
            values[i] =
                (int64_t)(record->rows[CN_PER_TOKEN] + batch->seq_start[done + i + 1] - base);
        CN_TRY(append_numbers(record, "/sequences/offset", values, n));
        for (size_t i = 0; i < n; i++)
            values[i] = (int64_t)step;
        CN_TRY(append_numbers(record, "/sequences/step", values, n));
    }
    return CN_OK;
}

/* ---- what the file says about itself ------------------------------------- */

static enum cn_status describe_enumeration(struct cn_store *store, const char *name,
                                           const char *const *words, size_t n)
{
    size_t rows;
    if (cn_store_count(store, name, &rows) != CN_OK) { /* the column was never written */
        cn_fail_clear();
        return CN_OK;
    }
    struct cn_str text = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    for (size_t i = 0; status == CN_OK && i < n; i++)
        status = cn_str_format(&text, "%s%zu=%s", i ? " " : "", i, words[i]);
    if (status == CN_OK) status = cn_store_attribute(store, name, "enumeration", text.data);
    cn_str_free(&text);
    return status;
}

#define X(name, text) text,
static const char *const role_words[] = {CN_ROLES(X)}, *const part_words[] = {CN_PARTS(X)},
                         *const stop_words[] = {CN_STOPS(X)}, *const drop_words[] = {CN_DROPS(X)},
                         *const verdict_words[] = {CN_VERDICTS(X)};
#undef X

static enum cn_status describe_columns(const struct record *record)
{
    struct cn_store *store = record->store;
    for (int column = 0; column < CN_COLUMN_COUNT; column++) {
        char name[64];
        if (!record->filled[column]) continue;
        column_name(&cn_column_table[column], name);
        CN_TRY(cn_store_attribute(store, name, "description", cn_column_table[column].meaning));
    }
    CN_TRY(cn_store_attribute(store, "/sequences/offset", "description",
                              "tokens[offset[s] : offset[s+1]] is sequence s"));
    CN_TRY(cn_store_attribute(store, "/sequences/step", "description", "rollout step"));
    CN_TRY(describe_enumeration(store, "/tokens/role", role_words, CN_ROLE_COUNT));
    CN_TRY(describe_enumeration(store, "/sequences/part", part_words, CN_PART_COUNT));
    CN_TRY(describe_enumeration(store, "/sequences/stop", stop_words, CN_STOP_COUNT));
    CN_TRY(describe_enumeration(store, "/sequences/drop", drop_words, CN_DROP_COUNT));
    return describe_enumeration(store, "/sequences/verdict", verdict_words, CN_VERDICT_COUNT);
}

static enum cn_status describe_file(const struct record *record)
{
    struct cn_store *store = record->store;
    const struct {
        const char *key;
        uint64_t value;
    } numbers[] = {{"attempt", (uint64_t)record->attempt},
                   {"rank", (uint64_t)record->rank},
                   {"first_step", record->first},
                   {"last_step", record->last}};
    CN_TRY(cn_store_attribute(store, "/", "schema_name", "carnot.tokens"));
    CN_TRY(cn_store_attribute(store, "/", "schema_version", "1.0.0"));
    CN_TRY(cn_store_attribute(store, "/", "software", "carnot " CN_VERSION));
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        char text[24];
        snprintf(text, sizeof text, "%" PRIu64, numbers[i].value);
        CN_TRY(cn_store_attribute(store, "/", numbers[i].key, text));
    }
    if (record->config[0] && strlen(record->config) < CONFIG_MAX)
        CN_TRY(cn_store_attribute(store, "/", "config", record->config));
    return CN_OK;
}

/* ---- segments ------------------------------------------------------------ */

static enum cn_status open_segment(struct record *record, uint64_t step)
{
    struct cn_str path = {NULL, 0, 0};
    record->first = step;
    memset(record->rows, 0, sizeof record->rows);
    memset(record->filled, 0, sizeof record->filled);
    enum cn_status status = segment_path(record, false, &path);
    if (status == CN_OK) status = cn_store_create(record->type, path.data, &record->store);
    cn_str_free(&path);
    CN_TRY(status);
    int64_t zero = 0;
    return append_numbers(record, "/sequences/offset", &zero, 1);
}

enum cn_status record_step(struct record *record, const struct cn_batch *batch, struct cn_span span,
                           uint64_t step)
{
    if (!record->store) CN_TRY(open_segment(record, step));
    for (int column = 0; column < CN_COLUMN_COUNT; column++)
        if (batch->written & CN_BIT(column))
            CN_TRY(append_column(record, batch, span, (enum cn_column)column));
    CN_TRY(append_sequences(record, batch, span, step));
    record->rows[CN_PER_TOKEN] += batch->seq_start[span.end] - batch->seq_start[span.begin];
    record->rows[CN_PER_SEQ] += span.end - span.begin;
    record->last = step;
    return record->rows[CN_PER_TOKEN] >= SEGMENT_TOKENS ? record_close_segment(record) : CN_OK;
}

static enum cn_status finish_segment(struct record *record)
{
    struct cn_str path = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    for (int column = 0; column < CN_COLUMN_COUNT; column++)
        if (record->filled[column])
            CN_TRY(fill_column(record, (enum cn_column)column,
                               record->rows[cn_column_table[column].per]));
    CN_TRY(describe_columns(record));
    CN_TRY(describe_file(record));
    CN_TRY_GOTO(segment_path(record, true, &path), out);
    CN_TRY_GOTO(cn_store_rename(record->store, path.data), out);
out:
    cn_str_free(&path);
    return status;
}

enum cn_status record_close_segment(struct record *record)
{
    if (!record->store) return CN_OK;
    struct cn_store *store = record->store;
    enum cn_status status = finish_segment(record);
    record->store = NULL;
    if (status == CN_OK) return cn_store_close(store);
    cn_store_discard(store);
    return status;
}

enum cn_status record_close(struct record *record)
{
    if (!record) return CN_OK;
    enum cn_status status = record_close_segment(record);
    record_free(record);
    return status;
}
