/* carnot sft: supervised fine-tuning on right answers. */
#include "config/arguments.h"
#include "clock.h"
#include "command.h"
#include "dry_run.h"
#include "ranks/ranks.h"
#include "run/resume.h"
#include "supervised.h"

#include "carnot/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { VALIDATION_ROWS = 64 };

struct sft {
    struct session session;
    struct run_folder *run;
    struct supervised supervised;
    struct checkpoint checkpoint;
    struct checkpoint_state state;
    struct cn_arena arena; /* one step */
    struct cn_metrics metrics;
    uint64_t steps;
    double loss; /* of the newest validation, else of the newest step; NaN: none yet */
    bool opened; /* everything stands; STATUS.json is this start's */
};

/* Every row that is to be learned from has an answer: said before anything is computed. */
static enum cn_status check_answers(const struct cn_data *data)
{
    struct cn_arena arena;
    size_t missing = 0, first = 0;
    char file[256] = "";
    enum cn_status status = CN_OK;
    cn_arena_init(&arena);
    for (size_t i = 0; data && status == CN_OK && i < cn_data_count(data); i++) {
        struct cn_row row;
        status = cn_data_row(data, i, &arena, &row);
        if (status == CN_OK && row.answer.length == 0 && missing++ == 0) {
            snprintf(file, sizeof file, "%s", row.file);
            first = row.line;
        }
        cn_arena_reset(&arena);
    }
    cn_arena_free(&arena);
    CN_TRY(status);
    if (!missing) return CN_OK;
    return cn_fail(CN_ERR_DATA,
                   "%zu of %zu rows have no answer to learn from, the first in %s, line %zu: "
                   "supervised rows need completion, response, solution, answer or label, or a "
                   "last message of the assistant",
                   missing, cn_data_count(data), file, first);
}

static void connect(struct sft *t)
{
    struct session *s = &t->session;
    t->supervised = (struct supervised){.settings = &s->settings,
                                        .plan = &s->settings.sft,
                                        .model = s->model,
                                        .comm = s->comm,
                                        .sum = s->sum,
                                        .tokenizer = s->tokenizer,
                                        .tasks = s->train,
                                        .seed = (uint64_t)s->settings.run.seed};
    t->checkpoint = (struct checkpoint){.run_path = run_path(t->run),
                                        .model = s->model,
                                        .comm = s->comm,
                                        .tokenizer = s->tokenizer,
                                        .resolved = cn_str_text(&s->resolved)};
    t->state.best = t->state.base = (double)NAN;
}

static enum cn_status write_status(struct sft *t, const char *state, enum cn_status outcome,
                                   const char *message)
{
    const struct run_status now = {.state = state,
                                   .step = t->state.step,
                                   .objective = t->loss,
                                   .best = t->state.best,
                                   .exit_code = cn_status_exit_code(outcome),
                                   .message = message};
    return run_status_write(t->run, &now);
}

static enum cn_status open_session(struct session *s)
{
    CN_TRY(session_open_model(s, true));
    s->supervised = true;
    CN_TRY(session_open_train(s));
    if (s->settings.data.eval) CN_TRY(session_open_sets(s));
    CN_TRY(check_answers(s->train_data));
    return s->n_sets ? check_answers(s->sets[0].data) : CN_OK;
}

static enum cn_status open_all(struct sft *t, char **argv)
{
    struct session *s = &t->session;
    const struct run_start start = {.settings = &s->settings,
                                    .resolved = cn_str_text(&s->resolved),
                                    .command = (const char *const *)argv,
                                    .comm = s->comm,
                                    .deny_existing = strcmp(s->settings.run.resume, "never") == 0};
    struct resume resume;
    CN_TRY(dry_run_check(s, &s->settings.sft));
    CN_TRY(run_open(&start, &t->run));
    cn_log_info("run folder: %s", run_path(t->run));
    CN_TRY(cn_comm_agree(s->comm, "resume", resume_find(s, t->run, &resume)));
    t->state.step = resume.step;
    CN_TRY(run_begin(t->run, &start));
    CN_TRY(cn_comm_agree(s->comm, "model and data", open_session(s)));
    connect(t);
    CN_TRY(session_dtype(s, &t->checkpoint.dtype));
    CN_TRY(resume_load(s, &resume, &t->checkpoint, &t->state));
    t->supervised.position = t->state.position;
    t->opened = true;
    return write_status(t, "running", CN_OK, "");
}

/* Loss on rows that are not trained on: of the first evaluation set, or of what sft.validation
 * holds out. */
static enum cn_status validate(struct sft *t, uint64_t step)
{
    double loss;
    struct tasks *tasks = t->session.n_sets ? t->session.sets[0].tasks : t->session.train;
    struct supervised view = t->supervised;
    struct supervised_settings plan = *view.plan;
    if (!t->session.n_sets && plan.validation <= 0) return CN_OK;
    if (t->session.n_sets) plan.validation = 0;
    view.plan = &plan;
    size_t rows = t->session.n_sets && t->session.sets[0].n_tasks < VALIDATION_ROWS
                      ? (size_t)t->session.sets[0].n_tasks
                      : VALIDATION_ROWS;
    CN_TRY(supervised_validate(&view, tasks, rows, &t->arena, &loss));
    CN_TRY(cn_metrics_set(&t->metrics, "sft/validation_loss", loss));
    t->loss = loss;
    cn_log_info("validation at step %llu: loss %.4f nats per token over %zu rows",
                (unsigned long long)step, loss, rows);
    return CN_OK;
}

static enum cn_status save(struct sft *t)
{
    t->state.position = t->supervised.position;
    return checkpoint_save(&t->checkpoint, &t->state, &t->session.settings.checkpoint);
}

static enum cn_status one_step(struct sft *t, uint64_t step)
{
    const struct settings *s = &t->session.settings;
    struct supervised_result result;
    struct optimizer_settings schedule = s->optimizer;
    double start = clock_seconds();
    schedule.lr = s->sft.lr;
    schedule.warmup_steps = s->sft.warmup_steps;
    double lr = update_lr(&schedule, step - 1, t->steps);
    cn_metrics_init(&t->metrics, &t->arena);
    CN_TRY(supervised_step(&t->supervised, lr, &t->arena, &result));
    double seconds = clock_seconds() - start;
    t->state.step = step;
    t->loss = result.loss;
    CN_TRY(cn_metrics_set(&t->metrics, "sft/loss", result.loss));
    CN_TRY(cn_metrics_set(&t->metrics, "optim/grad_norm", result.grad_norm));
    CN_TRY(cn_metrics_set(&t->metrics, "optim/lr", lr));
    CN_TRY(cn_metrics_set(&t->metrics, "perf/tok_s", result.tokens / seconds));
    cn_log_info("step %4llu/%llu  loss %.4f nats per token  norm %.3f  %.0f answer tok/s  %.2f s",
                (unsigned long long)step, (unsigned long long)t->steps, result.loss,
                result.grad_norm, result.tokens / seconds, seconds);
    if (step == t->steps || (s->sft.every && step % (uint64_t)s->sft.every == 0))
        CN_TRY(validate(t, step));
    CN_TRY(run_metrics_write(t->run, "metrics.jsonl", step, &t->metrics));
    CN_TRY(write_status(t, "running", CN_OK, ""));
    if (step == t->steps || (s->checkpoint.every && step % (uint64_t)s->checkpoint.every == 0))
        CN_TRY(save(t));
    cn_arena_reset(&t->arena);
    return CN_OK;
}

static enum cn_status check_stop(struct sft *t, uint64_t step)
{
    double wish[] = {run_has_pruned(t->run), run_signal()};
    const struct cn_comm_data data = {"wishes to stop", CN_DTYPE_F64, wish, 2};
    CN_TRY(cn_comm_max(t->session.comm, &data));
    if (wish[0] > 0) {
        CN_TRY(save(t));
        return cn_fail(CN_PRUNED, "pruned at step %llu: a file PRUNE stands in %s",
                       (unsigned long long)step, run_path(t->run));
    }
    if (!(wish[1] > 0)) return CN_OK;
    CN_TRY(save(t));
    return cn_fail(CN_STOPPED, "stopped by signal %d after step %llu; the same command goes on",
                   (int)wish[1], (unsigned long long)step);
}

static enum cn_status loop(struct sft *t)
{
    if (t->state.step == 0) {
        cn_metrics_init(&t->metrics, &t->arena);
        CN_TRY(validate(t, 0));
        CN_TRY(run_metrics_write(t->run, "metrics.jsonl", 0, &t->metrics));
    }
    for (uint64_t step = t->state.step + 1; step <= t->steps; step++) {
        CN_TRY(one_step(t, step));
        if (step < t->steps) CN_TRY(check_stop(t, step));
    }
    cn_log_info("model: %s/checkpoints/step_%06llu", run_path(t->run),
                (unsigned long long)t->steps);
    return CN_OK;
}

static enum cn_status work(struct sft *t, char **argv)
{
    static const char *const words[] = {
        [CN_OK] = "done", [CN_STOPPED] = "stopped", [CN_PRUNED] = "pruned"};
    run_signals_catch();
    enum cn_status status = open_all(t, argv);
    if (status == CN_OK) status = loop(t);
    status = ranks_outcome(&t->session, status);
    const bool ended = status == CN_OK || status == CN_STOPPED || status == CN_PRUNED;
    /* A start that is refused leaves the status of the run that stands in the folder as it is. */
    if (t->run && (t->opened || status != CN_ERR_CONFIG))
        write_status(t, ended ? words[status] : "failed", status, cn_fail_message());
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    static struct sft sft; /* large, and one per process */
    struct sft *t = &sft;
    const bool dry = arguments_take(&argc, argv, "--dry-run");
    t->loss = (double)NAN;
    enum cn_status status = ranks_configure(&t->session, argc - 1, argv + 1);
    t->steps = (uint64_t)t->session.settings.sft.steps;
    if (status == CN_OK) roles_keep(&t->session.settings.parallel);
    if (status == CN_OK && t->steps == 0)
        status = cn_fail(CN_ERR_CONFIG, "sft.steps is 0: say how many optimizer steps to take");
    if (status == CN_OK)
        status = dry ? dry_run_print(&t->session, &t->session.settings.sft) : work(t, argv);
    run_close(t->run);
    cn_arena_free(&t->arena);
    return ranks_close(&t->session, status);
}

const struct cn_command command_sft = {
    .name = "sft",
    .summary = "supervised fine-tuning on chat or prompt/answer rows",
    .usage =
        "usage: carnot sft CONFIG... [key=value | --key value]... [--dry-run]\n\n"
        "Trains on the answers of data.train only (loss on answer tokens, the end token\n"
        "included); sft.steps, sft.rows and sft.lr say how long and how fast.  The result is a\n"
        "Hugging Face folder in RUN/checkpoints.\n"
        "--dry-run  resolve everything, print batch arithmetic and the memory plan, exit\n",
    .run = run};
