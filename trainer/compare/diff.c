/* carnot diff: the first thing in which two runs differ.
 *
 * Compared are the configuration (but for the names of the run and how it is spread over ranks and
 * threads), every sampled token, every metric that is not a time, and the weights of the newest
 * checkpoint of the same step. */
#include "../command.h"
#include "diff_tokens.h"
#include "../filters/filter.h"
#include "../run/history.h"
#include "../model/safetensors.h"

#include <dirent.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

struct diff {
    const char *folder[2];
    struct cn_arena arena;
    struct cn_str out;    /* the report */
    char first[512];      /* the first difference; empty: none yet */
    uint64_t differences; /* kinds that differ */
};

static enum cn_status say(struct diff *d, bool same, const char *kind, const char *text)
{
    if (!same) {
        if (!d->differences) snprintf(d->first, sizeof d->first, "%s: %s", kind, text);
        d->differences++;
    }
    return cn_str_format(&d->out, "%-14s %s: %s\n", kind, same ? "same" : "DIFFERENT", text);
}

/* ---- configuration ------------------------------------------------------- */

/* Keys that name a run or spread it, and change nothing that is computed. */
static bool is_free(const char *path)
{
    static const char *const keys[] = {"run.dir", "run.name", "run.resume", "run.max_hours"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        if (strcmp(path, keys[i]) == 0) return true;
    return strncmp(path, "parallel.", 9) == 0;
}

/* Whether two values print the same; both texts are left in `text`. */
static enum cn_status compare_values(const struct cn_json *a, const struct cn_json *b,
                                     struct cn_str text[2], bool *same)
{
    const struct cn_json *both[] = {a, b};
    for (int k = 0; k < 2; k++) {
        cn_str_clear(&text[k]);
        CN_TRY(both[k] ? cn_json_print(both[k], false, &text[k]) : cn_str_add(&text[k], "absent"));
    }
    *same = cn_text_equal(cn_str_text(&text[0]), cn_str_text(&text[1]));
    return CN_OK;
}

/* First member below `path` that differs; found stays empty if there is none. */
static enum cn_status compare_objects(const struct cn_json *a, const struct cn_json *b,
                                      const char *path, char found[400])
{
    struct cn_str text[2] = {{0}, {0}};
    enum cn_status status = CN_OK;
    const struct cn_json *sides[] = {a, b};
    for (int side = 0; side < 2; side++)
        for (const struct cn_json *m = cn_json_first(sides[side]);
             m && status == CN_OK && !found[0]; m = cn_json_next(m)) {
            char here[256];
            bool same = true;
            const char *key = cn_json_key(m);
            const struct cn_json *x = cn_json_get(a, key), *y = cn_json_get(b, key);
            snprintf(here, sizeof here, "%s%s%s", path, *path ? "." : "", key);
            if (is_free(here)) continue;
            if (cn_json_kind(x) == CN_JSON_OBJECT && cn_json_kind(y) == CN_JSON_OBJECT) {
                status = compare_objects(x, y, here, found);
                continue;
            }
            status = compare_values(x, y, text, &same);
            if (status == CN_OK && !same)
                snprintf(found, 400, "%.120s is %.120s and %.120s", here, text[0].data,
                         text[1].data);
        }
    cn_str_free(&text[0]);
    cn_str_free(&text[1]);
    return status;
}

static enum cn_status compare_configurations(struct diff *d)
{
    struct cn_json *config[2] = {NULL, NULL};
    char found[400] = "";
    enum cn_status status = CN_OK;
    for (int k = 0; k < 2 && status == CN_OK; k++) {
        status = history_file(d->folder[k], "config.resolved.json", &config[k]);
        if (status == CN_OK && !config[k])
            status = cn_fail(CN_ERR_DATA, "%s is no run folder: it has no config.resolved.json",
                             d->folder[k]);
    }
    if (status == CN_OK) status = compare_objects(config[0], config[1], "", found);
    cn_json_close(config[0]);
    cn_json_close(config[1]);
    CN_TRY(status);
    return say(d, !found[0], "configuration", found[0] ? found : "but for run and parallel");
}

/* ---- tokens -------------------------------------------------------------- */

static bool same_sequence(const struct diff_sequence *x, const struct diff_sequence *y, size_t *at)
{
    *at = 0;
    if (x->step != y->step || x->group != y->group || x->sample != y->sample ||
        x->part != y->part || x->prompt != y->prompt)
        return false;
    while (*at < x->n && *at < y->n && x->token[*at] == y->token[*at])
        ++*at;
    return *at == x->n && *at == y->n;
}

static enum cn_status compare_tokens(struct diff *d)
{
    struct diff_tokens run[2];
    char text[400];
    size_t i = 0, at = 0;
    for (int k = 0; k < 2; k++)
        CN_TRY(diff_tokens_read(d->folder[k], &d->arena, &run[k]));
    const size_t n = run[0].count < run[1].count ? run[0].count : run[1].count;
    while (i < n && same_sequence(&run[0].item[i], &run[1].item[i], &at))
        i++;
    const bool same = i == run[0].count && i == run[1].count;
    if (same)
        snprintf(text, sizeof text, "%zu sampled tokens in %zu sequences", run[0].tokens,
                 run[0].count);
    else if (i == n)
        snprintf(text, sizeof text, "%zu and %zu sequences, the first %zu of which are the same",
                 run[0].count, run[1].count, n);
    else
        snprintf(text, sizeof text,
                 "step %" PRIu64 " and %" PRIu64 ", prompt %" PRIu64 " and %" PRIu64
                 ", sample %" PRIu32 " and %" PRIu32 ", token %zu",
                 run[0].item[i].step, run[1].item[i].step, run[0].item[i].prompt,
                 run[1].item[i].prompt, run[0].item[i].sample, run[1].item[i].sample, at);
    return say(d, same, "tokens", text);
}

/* ---- metrics ------------------------------------------------------------- */

/* Rows of a metrics.jsonl, kept. */
struct rows {
    struct cn_arena *arena;
    struct cn_json **item;
    size_t count, capacity;
};

static enum cn_status keep_row(void *self, struct cn_json *row, bool *keep)
{
    struct rows *rows = self;
    if (rows->count == rows->capacity) {
        const size_t capacity = 2 * rows->capacity + 64;
        struct cn_json **item;
        CN_TRY(CN_NEW(rows->arena, capacity, &item));
        if (rows->count) memcpy(item, rows->item, rows->count * sizeof *item);
        rows->item = item;
        rows->capacity = capacity;
    }
    rows->item[rows->count++] = row;
    *keep = true;
    return CN_OK;
}

static bool is_time(const char *name)
{
    return strncmp(name, "time/", 5) == 0 || strncmp(name, "perf/", 5) == 0;
}

/* First metric that differs between two rows; false: none. */
static bool find_difference(const struct cn_json *a, const struct cn_json *b, char text[400])
{
    const struct cn_json *sides[] = {a, b};
    const double step = cn_json_number(cn_json_get(a, "step"));
    for (int side = 0; side < 2; side++)
        for (const struct cn_json *m = cn_json_first(sides[side]); m; m = cn_json_next(m)) {
            const char *key = cn_json_key(m);
            const struct cn_json *x = cn_json_get(a, key), *y = cn_json_get(b, key);
            if (is_time(key)) continue;
            if (x && y && cn_json_number(x) == cn_json_number(y)) continue;
            if (!x || !y)
                snprintf(text, 400, "step %.0f: %.120s is in one run only", step, key);
            else
                snprintf(text, 400, "step %.0f: %.120s is %.17g and %.17g", step, key,
                         cn_json_number(x), cn_json_number(y));
            return true;
        }
    return false;
}

static enum cn_status compare_metrics(struct diff *d)
{
    struct rows run[2] = {{.arena = &d->arena}, {.arena = &d->arena}};
    char path[4096], text[400];
    enum cn_status status = CN_OK;
    size_t damaged, i = 0;
    for (int k = 0; k < 2 && status == CN_OK; k++) {
        snprintf(path, sizeof path, "%s/metrics.jsonl", d->folder[k]);
        status = history_lines(path, keep_row, &run[k], &damaged);
    }
    const size_t n = run[0].count < run[1].count ? run[0].count : run[1].count;
    while (status == CN_OK && i < n && !find_difference(run[0].item[i], run[1].item[i], text))
        i++;
    const bool same = i == run[0].count && i == run[1].count;
    if (same)
        snprintf(text, sizeof text, "%zu rows, but for times", n);
    else if (i == n)
        snprintf(text, sizeof text, "%zu and %zu rows, the first %zu of which are the same",
                 run[0].count, run[1].count, n);
    for (int k = 0; k < 2; k++)
        for (size_t r = 0; r < run[k].count; r++)
            cn_json_close(run[k].item[r]);
    CN_TRY(status);
    return say(d, same, "metrics", text);
}

/* ---- weights ------------------------------------------------------------- */

/* The newest step of which both runs have a checkpoint; -1: none. */
static long long common_step(const struct diff *d)
{
    char path[4096];
    long long newest = -1, step;
    snprintf(path, sizeof path, "%s/checkpoints", d->folder[0]);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && (e = readdir(dir));) {
        struct safetensors *file;
        char rest;
        if (sscanf(e->d_name, "step_%lld%c", &step, &rest) != 1 || step <= newest) continue;
        snprintf(path, sizeof path, "%s/checkpoints/step_%06lld", d->folder[1], step);
        if (safetensors_open(path, &file) == CN_OK) {
            safetensors_close(file);
            newest = step;
        } else {
            cn_fail_clear();
        }
    }
    if (dir) closedir(dir);
    return newest;
}

/* First tensor whose bytes differ; same: none. */
static bool compare_tensors(const struct safetensors *a, const struct safetensors *b,
                            char text[400])
{
    size_t n, m;
    const struct cn_buffer *x = safetensors_tensors(a, &n), *y = safetensors_tensors(b, &m);
    for (size_t i = 0; i < n && i < m; i++) {
        const size_t bytes = x[i].count * cn_dtype_size(x[i].dtype);
        if (strcmp(x[i].name, y[i].name) != 0 || x[i].count != y[i].count ||
            x[i].dtype != y[i].dtype) {
            snprintf(text, 400, "tensor %.120s and %.120s", x[i].name, y[i].name);
            return false;
        }
        if (memcmp(x[i].data, y[i].data, bytes) == 0) continue;
        const unsigned char *p = x[i].data, *q = y[i].data;
        size_t at = 0;
        while (p[at] == q[at])
            at++;
        snprintf(text, 400, "%.200s, element %zu of %zu", x[i].name, at / cn_dtype_size(x[i].dtype),
                 x[i].count);
        return false;
    }
    snprintf(text, 400, "%zu tensors", n);
    return n == m;
}

static enum cn_status compare_weights(struct diff *d)
{
    const long long step = common_step(d);
    char path[4096], tensor[400], text[480];
    struct safetensors *file[2] = {NULL, NULL};
    enum cn_status status = CN_OK;
    bool same = false;
    if (step < 0) return say(d, true, "weights", "no checkpoint of the same step to compare");
    for (int k = 0; k < 2 && status == CN_OK; k++) {
        snprintf(path, sizeof path, "%s/checkpoints/step_%06lld", d->folder[k], step);
        status = safetensors_open(path, &file[k]);
    }
    if (status == CN_OK) same = compare_tensors(file[0], file[1], tensor);
    for (int k = 0; k < 2; k++)
        if (file[k]) safetensors_close(file[k]);
    CN_TRY(status);
    snprintf(text, sizeof text, "step %lld: %s", step, tensor);
    return say(d, same, "weights", text);
}

/* ---- the command --------------------------------------------------------- */

static enum cn_status compare(struct diff *d)
{
    CN_TRY(compare_configurations(d));
    CN_TRY(compare_tokens(d));
    CN_TRY(compare_metrics(d));
    CN_TRY(compare_weights(d));
    CN_TRY(filter_write(cn_str_text(&d->out)));
    if (!d->differences) return CN_OK;
    return cn_fail(CN_ERR_DATA, "the runs differ; first in %s", d->first);
}

static enum cn_status run(int argc, char **argv)
{
    if (argc != 3) return cn_fail(CN_ERR_CONFIG, "usage: carnot diff RUN_A RUN_B");
    struct diff d = {.folder = {argv[1], argv[2]}};
    cn_arena_init(&d.arena);
    enum cn_status status = compare(&d);
    cn_str_free(&d.out);
    cn_arena_free(&d.arena);
    return status;
}

const struct cn_command command_diff = {
    .name = "diff",
    .summary = "the first thing in which two runs differ",
    .usage = "usage: carnot diff RUN_A RUN_B\n\n"
             "Compares two run folders: configuration (but for run.dir, run.name, run.resume,\n"
             "run.max_hours and parallel), every sampled token, every metric that is not a time,\n"
             "and the weights of the newest step that both have saved.  Exit code 0: nothing\n"
             "differs; 3: something does, and the first difference is named.\n",
    .run = run};
