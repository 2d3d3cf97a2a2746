/* carnot show: how a run stands, its curves, its last numbers and its answers.  Works while the run
 * goes on, and on what a killed one left behind. */
#include "command.h"
#include "filters/filter.h"
#include "run/history.h"

#include "core/plot.h"

#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct show {
    const char *folder;
    const char *step; /* "last", a number, or NULL: the overview */
    size_t n;         /* answers to show */
};

/* ---- writing what others wrote ------------------------------------------- */

/* A value of any kind: text as it is, everything else as JSON. */
static enum cn_status put_value(struct cn_str *out, const struct cn_json *value,
                                const char *newline)
{
    if (cn_json_kind(value) == CN_JSON_TEXT)
        return cn_str_add_safe(out, cn_json_text(value), newline);
    if (cn_json_kind(value) == CN_JSON_NUMBER)
        return cn_str_format(out, "%.6g", cn_json_number(value));
    struct cn_str printed = {NULL, 0, 0};
    enum cn_status status = cn_json_print(value, false, &printed);
    if (status == CN_OK) status = cn_str_add_safe(out, cn_str_text(&printed), newline);
    cn_str_free(&printed);
    return status;
}

/* ---- the overview -------------------------------------------------------- */

static enum cn_status put_state(const struct show *show, const struct history *history,
                                struct cn_str *out)
{
    static const char *const keys[] = {"objective", "best", "exit_code", "time", "message"};
    struct cn_json *report = NULL, *config = NULL;
    enum cn_status status = CN_OK;
    CN_TRY_GOTO(history_file(show->folder, "STATUS.json", &report), out);
    CN_TRY_GOTO(history_file(show->folder, "config.resolved.json", &config), out);
    const char *section =
        cn_text_is(cn_json_text(cn_json_get(report, "command")), "sft") ? "sft" : "train";
    double steps = cn_json_number(cn_json_get(cn_json_get(config, section), "steps"));
    struct cn_text state = cn_json_text(cn_json_get(report, "state"));
    CN_TRY_GOTO(cn_str_add_safe(out, cn_text(show->folder), "\n"), out);
    CN_TRY_GOTO(cn_str_add(out, ": "), out);
    CN_TRY_GOTO(state.length ? cn_str_add_safe(out, state, "\n")
                             : cn_str_add(out, "state unknown (no STATUS.json that can be read)"),
                out);
    const struct cn_json *step = cn_json_get(report, "step") ? cn_json_get(report, "step")
                                                             : cn_json_get(history->last, "step");
    if (step) CN_TRY_GOTO(cn_str_format(out, ", step %.0f", cn_json_number(step)), out);
    if (step && steps > 0) CN_TRY_GOTO(cn_str_format(out, " of %.0f", steps), out);
    CN_TRY_GOTO(cn_str_add(out, "\n"), out);
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        const struct cn_json *value = cn_json_get(report, keys[i]);
        bool empty = cn_json_kind(value) == CN_JSON_TEXT && !cn_json_text(value).length;
        bool early = strcmp(keys[i], "exit_code") == 0 && cn_text_is(state, "running");
        if (cn_json_kind(value) == CN_JSON_NULL || empty || early) continue;
        CN_TRY_GOTO(cn_str_format(out, "  %-10s ", keys[i]), out);
        CN_TRY_GOTO(put_value(out, value, "\n             "), out);
        CN_TRY_GOTO(cn_str_add(out, "\n"), out);
    }
out:
    cn_json_close(report);
    cn_json_close(config);
    return status;
}

static enum cn_status put_curves(const struct history *history, struct cn_str *out)
{
    for (size_t i = 0; i < history->n_series; i++) {
        const struct history_series *series = &history->series[i];
        if (series->n == 0 && (history->rows || i)) continue; /* not of this kind of run */
        struct cn_str title = {NULL, 0, 0};
        struct plot plot = {.value = series->value, .x = series->step, .n = series->n};
        enum cn_status status = cn_str_add_safe(&title, cn_text(series->name), "\n");
        plot.title = title.data;
        if (status == CN_OK) status = cn_str_add(out, "\n");
        if (status == CN_OK) status = plot_draw(&plot, out);
        cn_str_free(&title);
        CN_TRY(status);
    }
    return CN_OK;
}

/* Which side of a divided run waits for the other. */
static enum cn_status put_waits(const struct history *h, struct cn_str *out)
{
    if (!(h->waited_in > 0)) return CN_OK;
    return cn_str_format(
        out,
        "\nin %.1f s of steps, ranks that sample waited %.1f s (%.0f %%), ranks that "
        "learn %.1f s (%.0f %%)\n",
        h->waited_in, h->rollout_wait, 100 * h->rollout_wait / h->waited_in, h->learner_wait,
        100 * h->learner_wait / h->waited_in);
}

static enum cn_status put_last(const struct history *history, struct cn_str *out)
{
    if (history->last) CN_TRY(cn_str_add(out, "\nlast metrics\n"));
    for (const struct cn_json *m = cn_json_first(history->last); m; m = cn_json_next(m)) {
        struct cn_str key = {NULL, 0, 0};
        enum cn_status status = cn_str_add_safe(&key, cn_text(cn_json_key(m)), "\n");
        if (status == CN_OK) status = cn_str_format(out, "  %-36s ", key.length ? key.data : "");
        if (status == CN_OK) status = put_value(out, m, "\n  ");
        if (status == CN_OK) status = cn_str_add(out, "\n");
        cn_str_free(&key);
        CN_TRY(status);
    }
    if (history->damaged)
        CN_TRY(cn_str_format(out, "\n%zu line%s of metrics.jsonl cannot be read and %s left out\n",
                             history->damaged, history->damaged == 1 ? "" : "s",
                             history->damaged == 1 ? "is" : "are"));
    return CN_OK;
}

static enum cn_status put_overview(const struct show *show, struct cn_str *out)
{
    struct history history;
    CN_TRY(history_read(show->folder, &history));
    enum cn_status status = put_state(show, &history, out);
    if (status == CN_OK) status = put_curves(&history, out);
    if (status == CN_OK) status = put_waits(&history, out);
    if (status == CN_OK) status = put_last(&history, out);
    if (status == CN_OK) status = cn_str_add(out, "\nanswers: carnot show ");
    if (status == CN_OK) status = cn_str_add_safe(out, cn_text(show->folder), "\n");
    if (status == CN_OK) status = cn_str_add(out, " --step last --n 5\n");
    history_free(&history);
    return status;
}

/* ---- answers ------------------------------------------------------------- */

/* The step to show: the given one, or the newest of samples/. */
static enum cn_status find_step(const struct show *show, uint64_t *out)
{
    char *end;
    if (strcmp(show->step, "last") != 0) {
        *out = strtoull(show->step, &end, 10);
        if (end != show->step && !*end && show->step[0] != '-') return CN_OK;
        return cn_fail(CN_ERR_CONFIG, "--step %s: expected a number or last", show->step);
    }
    struct cn_str path = {NULL, 0, 0};
    CN_TRY(cn_str_format(&path, "%s/samples", show->folder));
    DIR *dir = opendir(path.data);
    cn_str_free(&path);
    bool found = false;
    for (struct dirent *entry; dir && (entry = readdir(dir));) {
        uint64_t step;
        if (sscanf(entry->d_name, "step_%" SCNu64 ".jsonl", &step) != 1) continue;
        if (!found || step > *out) *out = step;
        found = true;
    }
    if (dir) closedir(dir);
    if (found) return CN_OK;
    return cn_fail(CN_ERR_DATA,
                   "%s has no answers in samples/; record.samples says how many are kept",
                   show->folder);
}

struct answers {
    struct cn_str *out;
    size_t shown, wanted;
};

/* One answer: its numbers on a line, then its texts. */
static enum cn_status put_answer(void *self, struct cn_json *row, bool *keep)
{
    static const char *const texts[] = {"prompt", "response", "ground_truth"};
    struct answers *answers = self;
    struct cn_str *out = answers->out;
    (void)keep;
    if (answers->shown >= answers->wanted) return CN_OK;
    CN_TRY(cn_str_format(out, "\n--- %zu", ++answers->shown));
    for (const struct cn_json *m = cn_json_first(row); m; m = cn_json_next(m)) {
        bool text = false;
        for (int i = 0; i < 3; i++)
            text = text || strcmp(cn_json_key(m), texts[i]) == 0;
        if (text) continue;
        CN_TRY(cn_str_add(out, "  "));
        CN_TRY(cn_str_add_safe(out, cn_text(cn_json_key(m)), "\n"));
        CN_TRY(cn_str_add(out, " "));
        CN_TRY(put_value(out, m, "\n"));
    }
    CN_TRY(cn_str_add(out, "\n"));
    for (int i = 0; i < 3; i++) {
        const struct cn_json *text = cn_json_get(row, texts[i]);
        if (cn_json_kind(text) == CN_JSON_NULL) continue;
        CN_TRY(cn_str_format(out, "%-13s", texts[i]));
        CN_TRY(put_value(out, text, "\n             "));
        CN_TRY(cn_str_add(out, "\n"));
    }
    return CN_OK;
}

static enum cn_status put_answers(const struct show *show, struct cn_str *out)
{
    struct answers answers = {.out = out, .wanted = show->n};
    struct cn_str path = {NULL, 0, 0};
    uint64_t step = 0;
    size_t damaged = 0;
    CN_TRY(find_step(show, &step));
    CN_TRY(cn_str_format(out, "step %" PRIu64 "\n", step));
    enum cn_status status =
        cn_str_format(&path, "%s/samples/step_%06" PRIu64 ".jsonl", show->folder, step);
    if (status == CN_OK) status = history_lines(path.data, put_answer, &answers, &damaged);
    if (status == CN_OK && damaged)
        status = cn_str_format(out, "\n%zu damaged lines are left out\n", damaged);
    if (status == CN_OK && !answers.shown && !damaged)
        status = cn_fail(CN_ERR_DATA, "no answers of step %" PRIu64 ": %s is missing or empty",
                         step, path.data);
    cn_str_free(&path);
    return status;
}

/* ---- the command --------------------------------------------------------- */

static enum cn_status read_arguments(int argc, char **argv, struct show *out)
{
    struct show show = {.n = 5};
    for (int i = 1; i < argc; i++) {
        bool flag = strcmp(argv[i], "--step") == 0 || strcmp(argv[i], "--n") == 0;
        if (flag && i + 1 == argc) return cn_fail(CN_ERR_CONFIG, "show: %s needs a value", argv[i]);
        if (strcmp(argv[i], "--step") == 0) {
            show.step = argv[++i];
        } else if (flag) {
            char *end;
            long n = strtol(argv[++i], &end, 10);
            if (*end || end == argv[i] || n < 1)
                return cn_fail(CN_ERR_CONFIG, "--n %s: expected a number from 1 up", argv[i]);
            show.n = (size_t)n;
            if (!show.step) show.step = "last";
        } else if (argv[i][0] == '-' || show.folder) {
            return cn_fail(CN_ERR_CONFIG, "show: unexpected \"%s\"; carnot show --help", argv[i]);
        } else {
            show.folder = argv[i];
        }
    }
    if (!show.folder) return cn_fail(CN_ERR_CONFIG, "show needs the folder of a run");
    struct stat info;
    if (stat(show.folder, &info) != 0 || !S_ISDIR(info.st_mode))
        return cn_fail(CN_ERR_DATA, "there is no run folder %s", show.folder);
    *out = show;
    return CN_OK;
}

static enum cn_status run(int argc, char **argv)
{
    struct show show = {.folder = NULL};
    struct cn_str out = {NULL, 0, 0};
    CN_TRY(read_arguments(argc, argv, &show));
    enum cn_status status = show.step ? put_answers(&show, &out) : put_overview(&show, &out);
    if (status == CN_OK) status = filter_write(cn_str_text(&out));
    cn_str_free(&out);
    return status;
}

const struct cn_command command_show = {
    .name = "show",
    .summary = "state, curves, last numbers and answers of a run",
    .usage = "usage: carnot show RUN [--step N|last] [--n 5]\n\n"
             "Without --step: the state of the run, curves of reward, entropy and evaluations, the "
             "last metrics.\n"
             "With --step: answers that were kept from that step (record.samples says how many are "
             "kept).\n"
             "Works on a run that goes on, and on what a killed one left behind.\n",
    .run = run,
};
