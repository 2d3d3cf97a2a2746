/* Reading a run folder without trusting it. */
#include "history.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const curves[] = {"reward/mean", "policy/entropy", "sft/loss",
                                     "sft/validation_loss"};
enum { N_CURVES = sizeof curves / sizeof *curves, FILE_MAX = 64 << 20 };

enum cn_status history_lines(const char *path,
                             enum cn_status (*visit)(void *, struct cn_json *, bool *), void *self,
                             size_t *damaged)
{
    *damaged = 0;
    FILE *file = fopen(path, "r");
    if (!file && errno == ENOENT) return CN_OK;
    if (!file) return cn_fail(CN_ERR_IO, "cannot open %s: %s", path, strerror(errno));
    char *line = NULL;
    size_t capacity = 0;
    enum cn_status status = CN_OK;
    for (ssize_t length; status == CN_OK && (length = getline(&line, &capacity, file)) > 0;) {
        struct cn_json *row = NULL;
        bool keep = false;
        if (line[length - 1] == '\n') length--;
        if (length == 0) continue;
        if (cn_json_parse((struct cn_text){line, (size_t)length}, path, &row) != CN_OK) {
            cn_fail_clear();
            ++*damaged;
            continue;
        }
        if (cn_json_kind(row) == CN_JSON_OBJECT)
            status = visit(self, row, &keep);
        else
            ++*damaged;
        if (!keep) cn_json_close(row);
    }
    free(line);
    fclose(file);
    return status;
}

enum cn_status history_file(const char *folder, const char *name, struct cn_json **out)
{
    struct cn_str path = {NULL, 0, 0}, text = {NULL, 0, 0};
    *out = NULL;
    enum cn_status status = cn_str_format(&path, "%s/%s", folder, name);
    if (status == CN_OK && (cn_file_read(path.data, FILE_MAX, &text) != CN_OK ||
                            cn_json_parse(cn_str_text(&text), path.data, out) != CN_OK)) {
        cn_fail_clear();
        *out = NULL;
    }
    cn_str_free(&path);
    cn_str_free(&text);
    return status;
}

/* ---- metrics ------------------------------------------------------------- */

static enum cn_status find_series(struct history *history, const char *name,
                                  struct history_series **out)
{
    for (size_t i = 0; i < history->n_series; i++)
        if (strcmp(history->series[i].name, name) == 0) {
            *out = &history->series[i];
            return CN_OK;
        }
    if (history->n_series == history->series_capacity) {
        size_t wanted = 2 * history->series_capacity + 8;
        struct history_series *bigger = realloc(history->series, wanted * sizeof *bigger);
        if (!bigger) return cn_fail(CN_ERR_MEMORY, "out of memory: history of a run");
        history->series = bigger;
        history->series_capacity = wanted;
    }
    struct history_series series = {.name = strdup(name)};
    if (!series.name) return cn_fail(CN_ERR_MEMORY, "out of memory: history of a run");
    history->series[history->n_series] = series;
    *out = &history->series[history->n_series++];
    return CN_OK;
}

static enum cn_status add_point(struct history *history, const char *name, double step,
                                double value)
{
    struct history_series *series = NULL;
    CN_TRY(find_series(history, name, &series));
    if (series->n == series->capacity) {
        size_t wanted = 2 * series->capacity + 64;
        double *steps = realloc(series->step, wanted * sizeof *steps);
        if (steps) series->step = steps;
        double *values = realloc(series->value, wanted * sizeof *values);
        if (values) series->value = values;
        if (!steps || !values) return cn_fail(CN_ERR_MEMORY, "out of memory: history of a run");
        series->capacity = wanted;
    }
    series->step[series->n] = step;
    series->value[series->n++] = value;
    return CN_OK;
}

static bool is_evaluation(const char *name)
{
    size_t n = strlen(name), m = strlen("/pass@1");
    return strncmp(name, "eval/", 5) == 0 && n > m + 5 && strcmp(name + n - m, "/pass@1") == 0;
}

static void add_waits(struct history *history, const struct cn_json *row)
{
    const struct cn_json *rollout = cn_json_get(row, "time/rollout_wait_s");
    if (cn_json_kind(rollout) != CN_JSON_NUMBER) return;
    history->rollout_wait += cn_json_number(rollout);
    history->learner_wait += cn_json_number(cn_json_get(row, "time/learner_wait_s"));
    history->waited_in += cn_json_number(cn_json_get(row, "time/step_s"));
}

static enum cn_status take_row(void *self, struct cn_json *row, bool *keep)
{
    struct history *history = self;
    const struct cn_json *step = cn_json_get(row, "step");
    bool trains = false;
    history->rows++;
    if (cn_json_kind(step) != CN_JSON_NUMBER) return CN_OK;
    for (int i = 0; i < N_CURVES; i++) {
        const struct cn_json *value = cn_json_get(row, curves[i]);
        if (cn_json_kind(value) != CN_JSON_NUMBER) continue;
        CN_TRY(add_point(history, curves[i], cn_json_number(step), cn_json_number(value)));
        trains = true;
    }
    for (const struct cn_json *m = cn_json_first(row); m; m = cn_json_next(m))
        if (cn_json_kind(m) == CN_JSON_NUMBER && is_evaluation(cn_json_key(m)))
            CN_TRY(add_point(history, cn_json_key(m), cn_json_number(step), cn_json_number(m)));
    add_waits(history, row);
    if (!trains && history->last) return CN_OK;
    cn_json_close(history->last);
    history->last = row;
    *keep = true;
    return CN_OK;
}

enum cn_status history_read(const char *folder, struct history *out)
{
    struct cn_str path = {NULL, 0, 0};
    struct history history = {.series = NULL};
    struct history_series *unused;
    enum cn_status status = cn_str_format(&path, "%s/metrics.jsonl", folder);
    for (int i = 0; i < N_CURVES && status == CN_OK; i++)
        status = find_series(&history, curves[i], &unused);
    if (status == CN_OK) status = history_lines(path.data, take_row, &history, &history.damaged);
    cn_str_free(&path);
    if (status == CN_OK)
        *out = history;
    else
        history_free(&history);
    return status;
}

void history_free(struct history *history)
{
    for (size_t i = 0; i < history->n_series; i++) {
        free(history->series[i].name);
        free(history->series[i].step);
        free(history->series[i].value);
    }
    free(history->series);
    cn_json_close(history->last);
    *history = (struct history){.series = NULL};
}
