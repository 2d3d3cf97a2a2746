/* Everything before the first step of `carnot train`. */
#include "train.h"

#include "clock.h"
#include "dry_run.h"
#include "history.h"
#include "supervised.h"

#include "carnot/log.h"

#include <math.h>
#include <string.h>

static enum cn_status open_run(struct train *t, char **argv)
{
    const struct run_start start = {.settings = &t->session.settings,
                                    .resolved = cn_str_text(&t->session.resolved),
                                    .command = (const char *const *)argv,
                                    .deny_existing =
                                        strcmp(t->session.settings.run.resume, "never") == 0};
    CN_TRY(run_open(&start, &t->run));
    cn_log_info("run folder: %s", run_path(t->run));
    return CN_OK;
}

/* The folder to go on from; NULL: a fresh start. */
static enum cn_status find_start(struct train *t, const char **folder)
{
    const char *resume = t->session.settings.run.resume;
    bool found = false;
    *folder = NULL;
    if (strcmp(resume, "never") == 0) return CN_OK;
    if (strcmp(resume, "auto") == 0)
        return checkpoint_find(run_path(t->run), &t->session.arena, &found, folder);
    *folder = resume;
    return CN_OK;
}

/* A checkpoint goes on only under the configuration that made it, but for what is safe to change.
 */
static enum cn_status check_configuration(struct train *t, const char *folder)
{
    struct cn_json *before;
    CN_TRY(history_file(folder, "config.resolved.json", &before));
    if (!before)
        return cn_fail(CN_ERR_DATA,
                       "%s/config.resolved.json is missing or damaged: the configuration cannot be "
                       "compared; run.resume=%s goes on without that",
                       folder, folder);
    enum cn_status status = config_check_resume(t->session.config, before, run_path(t->run));
    cn_json_close(before);
    return status;
}

static enum cn_status resume(struct train *t, const char *folder)
{
    CN_TRY(checkpoint_load(&t->checkpoint, folder, &t->state));
    CN_TRY(record_truncate(run_path(t->run), t->state.step + 1));
    t->experience.position = t->state.position;
    t->update.optimizer_steps = t->state.optimizer_steps;
    t->update.bad_steps = t->state.bad_steps;
    t->saved = t->state.step;
    t->resumed = true;
    CN_TRY(cn_sampler_refresh(t->session.sampler));
    cn_log_info("going on after step %llu from %s", (unsigned long long)t->state.step, folder);
    return CN_OK;
}

/* The frozen reference: a folder, or the weights that reinforcement starts from.  The latter are
 * kept in the run, because a resumed run cannot make them again. */
static enum cn_status freeze_reference(struct train *t, bool fresh)
{
    const struct cn_json *frozen = t->session.settings.model.frozen;
    struct cn_str start = {0};
    t->update.reference = -1;
    if (!(t->session.recipe.needs & CN_NEEDS(logp_ref))) return CN_OK;
    const struct cn_json *path = cn_json_get(frozen, "reference");
    if (cn_json_kind(path) == CN_JSON_TEXT)
        return cn_model_freeze(t->session.model, cn_json_text(path).data, &t->update.reference);
    if (fresh) {
        struct checkpoint exact = t->checkpoint;
        exact.dtype = CN_DTYPE_F32;
        CN_TRY(checkpoint_export(&exact, "start"));
    }
    enum cn_status status = cn_str_format(&start, "%s/checkpoints/start", run_path(t->run));
    if (status == CN_OK)
        status = cn_model_freeze(t->session.model, start.data, &t->update.reference);
    cn_str_free(&start);
    return status;
}

/* Supervised steps before reinforcement; their numbers go to warm_start.jsonl. */
static enum cn_status warm_start(struct train *t)
{
    const struct supervised_settings *plan = &t->session.settings.warm_start;
    struct supervised supervised = {.settings = &t->session.settings,
                                    .plan = plan,
                                    .model = t->session.model,
                                    .tokenizer = t->session.tokenizer,
                                    .tasks = t->session.train,
                                    .position = (uint64_t)1 << 40, /* other tasks than RL's */
                                    .seed = (uint64_t)t->session.settings.run.seed};
    double start = clock_seconds(), printed = 0;
    for (int64_t step = 1; step <= plan->steps; step++) {
        struct supervised_result result;
        double warm = plan->warmup_steps ? (double)step / (double)plan->warmup_steps : 1;
        CN_TRY(supervised_step(&supervised, plan->lr * (warm < 1 ? warm : 1), &t->arena, &result));
        cn_metrics_init(&t->metrics, &t->arena);
        CN_TRY(cn_metrics_set(&t->metrics, "sft/loss", result.loss));
        CN_TRY(cn_metrics_set(&t->metrics, "optim/grad_norm", result.grad_norm));
        CN_TRY(run_metrics_write(t->run, "warm_start.jsonl", (uint64_t)step, &t->metrics));
        double now = clock_seconds();
        if (step == 1 || step == plan->steps || now - printed > 1) {
            cn_log_info("warm start %lld/%lld  loss %.3f nats per token  %.1f s", (long long)step,
                        (long long)plan->steps, result.loss, now - start);
            printed = now;
        }
        cn_arena_reset(&t->arena);
        if (run_signal())
            return cn_fail(CN_STOPPED, "stopped by signal %d during the warm start", run_signal());
    }
    return plan->steps ? cn_sampler_refresh(t->session.sampler) : CN_OK;
}

static enum cn_status open_record(struct train *t)
{
    if (t->session.settings.record.tokens == SETTINGS_TOKENS_NONE) return CN_OK;
    const struct record_options options = {.folder = run_path(t->run),
                                           .attempt = run_attempt(t->run),
                                           .rank = 0,
                                           .config = cn_str_text(&t->session.resolved)};
    return record_open(&options, &t->record);
}

static void connect(struct train *t)
{
    struct session *s = &t->session;
    t->experience = (struct experience){.settings = &s->settings,
                                        .recipe = &s->recipe,
                                        .scoring = &s->scoring,
                                        .tasks = s->train,
                                        .tokenizer = s->tokenizer,
                                        .sampler = s->sampler,
                                        .progress = report_progress,
                                        .progress_self = &t->report};
    t->update = (struct update){
        .settings = &s->settings, .recipe = &s->recipe, .model = s->model, .reference = -1};
    t->checkpoint = (struct checkpoint){.run_path = run_path(t->run),
                                        .model = s->model,
                                        .tokenizer = s->tokenizer,
                                        .recipe = &s->recipe,
                                        .resolved = cn_str_text(&s->resolved)};
    t->report = (struct report){.arena = &s->arena, .steps = (uint64_t)s->settings.train.steps};
    t->state.best = t->state.base = (double)NAN;
    t->saved = UINT64_MAX;
}

enum cn_status train_open(struct train *t, int argc, char **argv)
{
    const char *folder;
    (void)argc;
    t->started = clock_seconds();
    run_signals_catch();
    CN_TRY(dry_run_check(&t->session));
    CN_TRY(open_run(t, argv));
    CN_TRY(session_open_model(&t->session, true));
    CN_TRY(session_open_sampler(&t->session));
    CN_TRY(session_open_train(&t->session));
    CN_TRY(session_open_sets(&t->session));
    connect(t);
    CN_TRY(session_dtype(&t->session, &t->checkpoint.dtype));
    CN_TRY(find_start(t, &folder));
    if (folder && strcmp(t->session.settings.run.resume, "auto") == 0)
        CN_TRY(check_configuration(t, folder));
    if (folder)
        CN_TRY(resume(t, folder));
    else
        CN_TRY(record_truncate(run_path(t->run), 0));
    if (!folder) CN_TRY(warm_start(t));
    CN_TRY(freeze_reference(t, !folder));
    t->report.first = t->state.step + 1;
    return open_record(t);
}

void train_close(struct train *t)
{
    if (t->record) record_close(t->record);
    session_close(&t->session);
    run_close(t->run);
    cn_arena_free(&t->arena);
    cn_arena_free(&t->scratch);
    cn_arena_free(&t->shown);
}
