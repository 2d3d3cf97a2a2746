/* Everything before the first step of `carnot train`. */
#include "train.h"

#include "clock.h"
#include "dry_run.h"
#include "ranks/ranks.h"
#include "run/resume.h"
#include "supervised.h"

#include "carnot/log.h"

#include <math.h>
#include <string.h>

static struct run_start start_of(const struct train *t, char **argv)
{
    const struct run_start start = {.settings = &t->session.settings,
                                    .resolved = cn_str_text(&t->session.resolved),
                                    .command = (const char *const *)argv,
                                    .comm = t->session.comm,
                                    .deny_existing =
                                        strcmp(t->session.settings.run.resume, "never") == 0};
    return start;
}

/* Enters the run folder and decides where to go on; only a start that nothing refuses is written
 * down. */
static enum cn_status open_run(struct train *t, char **argv, struct resume *resume)
{
    const struct run_start start = start_of(t, argv);
    CN_TRY(run_open(&start, &t->run));
    cn_log_info("run folder: %s", run_path(t->run));
    CN_TRY(cn_comm_agree(t->session.comm, "resume", resume_find(&t->session, t->run, resume)));
    t->state.step = resume->step; /* if the start fails, this is how far the run is */
    return run_begin(t->run, &start);
}

static enum cn_status go_on(struct train *t, const struct resume *resume)
{
    CN_TRY(resume_load(&t->session, resume, &t->checkpoint, &t->state));
    t->resumed = resume->folder != NULL;
    if (!t->resumed) return CN_OK;
    t->experience.position = t->state.position;
    t->update.optimizer_steps = t->state.optimizer_steps;
    t->update.bad_steps = t->state.bad_steps;
    t->saved = t->state.step;
    if (!t->session.roles.learns) ahead_free(&t->ahead); /* it waits on those that learn */
    return t->session.roles.divided ? CN_OK : cn_sampler_refresh(t->session.sampler);
}

/* A second model for the values: at a fresh start from the policy's weights, unless it has a folder
 * of its own; `start` is NULL where a checkpoint replaces its weights anyhow. */
static enum cn_status open_critic(struct train *t, const char *start)
{
    if (!session_has_critic(&t->session)) return CN_OK;
    CN_TRY(session_open_critic(&t->session, start));
    t->update.critic = t->checkpoint.critic = t->session.critic;
    t->update.critic_sum = t->session.critic_sum;
    return CN_OK;
}

/* What is made from the weights that reinforcement starts from. */
static enum cn_status open_from_start(struct train *t)
{
    struct checkpoint exact = t->checkpoint;
    struct cn_str start = {0};
    exact.dtype = CN_DTYPE_F32;
    if (train_needs_start(t) || session_has_critic(&t->session))
        CN_TRY(checkpoint_export(&exact, "start"));
    enum cn_status status = cn_str_format(&start, "%s/checkpoints/start", run_path(t->run));
    if (status == CN_OK) status = open_critic(t, start.data);
    cn_str_free(&start);
    return status;
}

/* Supervised steps before reinforcement; their numbers go to warm_start.jsonl.  Ranks that only
 * sample come along, so that nobody waits for longer than a step. */
static enum cn_status warm_start(struct train *t)
{
    const struct supervised_settings *plan = &t->session.settings.warm_start;
    struct roles *roles = &t->session.roles;
    struct supervised supervised = {.settings = &t->session.settings,
                                    .plan = plan,
                                    .model = t->session.model,
                                    .comm = roles->side,
                                    .sum = t->session.sum,
                                    .tokenizer = t->session.tokenizer,
                                    .tasks = t->session.train,
                                    .position = (uint64_t)1 << 40, /* other tasks than RL's */
                                    .seed = (uint64_t)t->session.settings.run.seed};
    double start = clock_seconds(), printed = 0;
    for (int64_t step = 1; step <= plan->steps; step++) {
        struct supervised_result result = {0};
        double warm = plan->warmup_steps ? (double)step / (double)plan->warmup_steps : 1;
        enum cn_status status = CN_OK;
        if (roles->learns)
            status =
                supervised_step(&supervised, plan->lr * (warm < 1 ? warm : 1), &t->arena, &result);
        CN_TRY(roles_meet(roles, "warm start", status));
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
        int signal;
        CN_TRY(ranks_signal(&t->session, &signal));
        if (signal)
            return cn_fail(CN_STOPPED, "stopped by signal %d during the warm start", signal);
    }
    return plan->steps && !roles->divided ? cn_sampler_refresh(t->session.sampler) : CN_OK;
}

static enum cn_status open_record(struct train *t)
{
    if (t->session.settings.record.tokens == SETTINGS_TOKENS_NONE) return CN_OK;
    const struct record_options options = {.folder = run_path(t->run),
                                           .attempt = run_attempt(t->run),
                                           .rank = cn_comm_rank(t->session.comm),
                                           .config = cn_str_text(&t->session.resolved)};
    return record_open(&options, &t->record);
}

static void connect(struct train *t)
{
    struct session *s = &t->session;
    t->experience = (struct experience){.settings = &s->settings,
                                        .recipe = &s->recipe,
                                        .scorer = s->scorer,
                                        .tasks = s->train,
                                        .tokenizer = s->tokenizer,
                                        .sampler = s->sampler,
                                        .comm = s->roles.side,
                                        .progress = report_progress,
                                        .progress_self = &t->report};
    t->update = (struct update){.settings = &s->settings,
                                .recipe = &s->recipe,
                                .model = s->model,
                                .comm = s->roles.side,
                                .sum = s->sum,
                                .reference = -1,
                                .last = -1};
    t->checkpoint = (struct checkpoint){.run_path = run_path(t->run),
                                        .model = s->roles.learns ? s->model : NULL,
                                        .comm = s->roles.side,
                                        .tokenizer = s->tokenizer,
                                        .recipe = &s->recipe,
                                        .ahead = &t->ahead,
                                        .resolved = cn_str_text(&s->resolved)};
    if (s->recipe.needs & CN_NEEDS(logp_anchor)) t->checkpoint.last = &t->update.last;
    t->report = (struct report){.arena = &s->arena, .steps = (uint64_t)s->settings.train.steps};
    t->state.best = t->state.base = (double)NAN;
    t->saved = UINT64_MAX;
}

/* Each rank opens its own; one that cannot says so to all. */
static enum cn_status open_session(struct train *t)
{
    CN_TRY(session_open_scorer(&t->session));
    CN_TRY(session_open_model(&t->session, t->session.roles.learns));
    if (t->session.roles.samples) CN_TRY(session_open_sampler(&t->session));
    CN_TRY(session_open_train(&t->session));
    CN_TRY(session_open_sets(&t->session));
    return scoring_canaries(&t->session.scoring, 0);
}

/* What the ranks that learn need beside the policy. */
static enum cn_status open_learning(struct train *t, const struct resume *resume)
{
    const struct cn_recipe *recipe = &t->session.recipe;
    const struct cn_correction *correction =
        (const struct cn_correction *)recipe->axis[CN_AXIS_correction].plugin;
    if (!t->resumed) CN_TRY(open_from_start(t));
    CN_TRY(train_open_reference(t, resume->folder));
    if (t->session.settings.parallel.max_staleness > 0 && !correction->fill &&
        !recipe->anchor_sampled)
        cn_log_warn(
            "parallel.max_staleness=%lld trains on answers of older weights as if they were "
            "the present ones': set algorithm.correction (truncate, say), or "
            "algorithm.anchor=sampled",
            (long long)t->session.settings.parallel.max_staleness);
    return open_record(t);
}

enum cn_status train_open(struct train *t, int argc, char **argv)
{
    struct resume resume;
    (void)argc;
    t->started = clock_seconds();
    run_signals_catch();
    CN_TRY(dry_run_check(&t->session, NULL));
    CN_TRY(open_run(t, argv, &resume));
    CN_TRY(cn_comm_agree(t->session.comm, "model and data", open_session(t)));
    connect(t);
    if (t->session.recipe.replay_depth) {
        CN_TRY(replay_open(t->session.recipe.replay_depth, &t->experience.replay));
        t->checkpoint.replay = t->experience.replay;
    }
    CN_TRY(session_dtype(&t->session, &t->checkpoint.dtype));
    CN_TRY(settings_frozen(&t->session.settings.model, &t->session.arena, &t->frozen));
    if (resume.folder && t->session.roles.learns) CN_TRY(open_critic(t, NULL));
    CN_TRY(go_on(t, &resume));
    CN_TRY(train_write_status(t, "running", CN_OK, ""));
    if (!t->resumed) CN_TRY(warm_start(t));
    const enum cn_status status = t->session.roles.learns ? open_learning(t, &resume) : CN_OK;
    CN_TRY(roles_meet(&t->session.roles, "start", status));
    t->report.first = t->state.step + 1;
    return train_send_weights(t);
}

void train_close(struct train *t)
{
    if (t->record) record_close(t->record);
    replay_close(t->experience.replay);
    ahead_free(&t->ahead);
    run_close(t->run);
    cn_arena_free(&t->arena);
    cn_arena_free(&t->scratch);
    cn_arena_free(&t->shown);
}
