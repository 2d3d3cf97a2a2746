/* carnot train: plan -> sample -> reward -> score -> advantage -> prepare -> loss gradient ->
 * backward -> optimizer -> record, until the last step. */
#include "train.h"

#include "config/arguments.h"
#include "clock.h"
#include "command.h"
#include "dry_run.h"
#include "measure.h"
#include "ranks/ranks.h"

#include "carnot/log.h"

#include <math.h>
#include <string.h>

struct cn_loss_call train_call(struct train *t, uint64_t step)
{
    struct cn_loss_call call = {.recipe = &t->session.recipe,
                                .seed = (uint64_t)t->session.settings.run.seed,
                                .step = step,
                                .ranks = &cn_reduce_alone,
                                .scratch = &t->scratch,
                                .facts = t->session.facts,
                                .metrics = &t->metrics};
    return call;
}

/* What is sampled must be what is trained; older weights differ, so only a limit of their own ends
 * the run.  In bf16 both engines round at different places, and through tens of layers that alone
 * makes 0.015 nats (SmolLM2-135M, mean of a step; up to 0.02 after some training). */
static enum cn_status check_mismatch(const struct train *t, const struct experience_result *e)
{
    double limit = t->session.settings.rollout.mismatch_stop;
    double gap = cn_metrics_value(&t->metrics, "mismatch/logprob_abs_mean", 0);
    enum cn_dtype dtype;
    CN_TRY(session_dtype(&t->session, &dtype));
    if (isnan(limit) && e->weights != e->step - 1) return CN_OK;
    if (isnan(limit)) limit = dtype == CN_DTYPE_F32 ? 1e-4 : 5e-2;
    if (!(gap > limit)) return CN_OK;
    return cn_fail(
        CN_ERR_NUMERIC,
        "step %llu: the sampler's log-probabilities differ from the trainer's by %g nats "
        "on average (rollout.mismatch_stop=%g): what is sampled is not what is trained; "
        "if mismatch/logprob_abs_mean of the steps before is close to that, it is rounding: "
        "raise the limit",
        (unsigned long long)e->step, gap, limit);
}

/* SCORE and ADVANTAGE stages. */
static enum cn_status credit(struct train *t, const struct cn_loss_call *call,
                             struct cn_batch *batch, struct update_times *times)
{
    double start = clock_seconds();
    CN_TRY(update_score(&t->update, batch, &t->scratch));
    times->score = clock_seconds() - start;
    start += times->score;
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_loss_call here = *call;
    here.counts = counts;
    CN_TRY(cn_loss_count(batch, cn_batch_all(batch), (double)t->session.settings.rollout.max_tokens,
                         call->ranks, &t->scratch, counts));
    CN_TRY(cn_loss_shape_reward(&here, batch));
    CN_TRY(measure_rewards(batch, &t->metrics));
    CN_TRY(cn_loss_advantage(&here, batch));
    times->algorithm = clock_seconds() - start;
    return CN_OK;
}

/* Answers of weights that are older than parallel.max_staleness allows are not trained: after a
 * start from another run's checkpoint. */
static enum cn_status drop_stale(struct train *t, const struct experience_result *e)
{
    const uint64_t most = (uint64_t)t->session.settings.parallel.max_staleness,
                   age = e->step - 1 - e->weights;
    for (size_t s = 0; s < e->batch->n_sequences && age > most; s++)
        if (e->batch->drop[s] == CN_DROP_NONE && e->batch->part[s] != CN_PART_REPLAY)
            e->batch->drop[s] = CN_DROP_STALE;
    return age || most ? cn_metrics_set(&t->metrics, "rollout/staleness", (double)age) : CN_OK;
}

/* A step of a rank that learns, which samples, too, unless other ranks do. */
static enum cn_status learn(struct train *t, const struct cn_loss_call *call,
                            struct experience_result *e, struct update_times *times)
{
    const struct settings *s = &t->session.settings;
    struct cn_comm *comm = t->session.comm;
    const uint64_t step = call->step;
    const struct update_rates rates = {
        .policy = update_lr(&s->optimizer, step - 1, (uint64_t)t->report.steps),
        .critic = update_lr(&s->critic_optimizer, step - 1, (uint64_t)t->report.steps)};
    CN_TRY(train_take(t, call, e));
    CN_TRY(drop_stale(t, e));
    cn_log_status_line(NULL);
    if (t->session.roles.samples) cn_sampler_rest(t->session.sampler);
    cn_comm_place(comm, step, "scoring");
    CN_TRY(credit(t, call, e->batch, times));
    cn_comm_place(comm, step, "training");
    CN_TRY(update_policy(&t->update, call, e->batch, &rates, times));
    if (t->session.roles.samples) CN_TRY(cn_sampler_refresh(t->session.sampler));
    CN_TRY(measure_mismatch(e->batch, &t->metrics));
    CN_TRY(check_mismatch(t, e));
    if (t->session.recipe.n_entropy) CN_TRY(measure_touched(e->batch, &t->metrics));
    cn_comm_place(comm, step, "recording");
    CN_TRY(train_record(t, e));
    if (t->session.roles.samples) CN_TRY(scoring_canaries(&t->session.scoring, step));
    t->state.optimizer_steps = t->update.optimizer_steps;
    t->state.bad_steps = t->update.bad_steps;
    return CN_OK;
}

static enum cn_status train_step(struct train *t, uint64_t step)
{
    const struct roles *roles = &t->session.roles;
    const struct cn_loss_call call = train_call(t, step);
    struct experience_result experience;
    struct update_times times = {0};
    const double start = clock_seconds();
    cn_metrics_init(&t->metrics, &t->arena);
    cn_comm_place(t->session.comm, step, "sampling");
    ranks_fault(&t->session, step);
    CN_TRY(train_sample(t, &call));
    enum cn_status status =
        roles->learns ? learn(t, &call, &experience, &times) : train_sample_ahead(t, step);
    if (status == CN_OK) t->state.step = step;
    if (status == CN_OK && roles->learns) status = train_replace_reference(t);
    CN_TRY(train_exchange(t, step, status));
    if (!roles->learns) return CN_OK;
    t->state.position = t->experience.position;
    CN_TRY(train_times(t, &experience, &times, clock_seconds() - start));
    const struct report_step line = {.step = step,
                                     .seconds = clock_seconds() - start,
                                     .tokens = cn_metrics_value(&t->metrics, "perf/tokens", 0)};
    return report_step_line(&t->report, &line, &t->metrics);
}

/* Whether something asks to stop after this step, on whichever rank it was noticed. */
static enum cn_status check_stop(const struct train *t)
{
    enum { PRUNE, SIGNAL, HOURS, WISHES };
    double wish[WISHES] = {run_has_pruned(t->run), run_signal(),
                           (clock_seconds() - t->started) / 3600};
    const struct cn_comm_data data = {"wishes to stop", CN_DTYPE_F64, wish, WISHES};
    CN_TRY(cn_comm_max(t->session.comm, &data));
    if (wish[PRUNE] > 0)
        return cn_fail(CN_PRUNED, "pruned at step %llu: a file PRUNE stands in %s",
                       (unsigned long long)t->state.step, run_path(t->run));
    if (wish[SIGNAL] > 0)
        return cn_fail(CN_STOPPED, "stopped by signal %d after step %llu; the same command goes on",
                       (int)wish[SIGNAL], (unsigned long long)t->state.step);
    if (wish[HOURS] >= t->session.settings.run.max_hours) /* false for NaN */
        return cn_fail(CN_STOPPED, "stopped after %.2f hours (run.max_hours) and step %llu",
                       wish[HOURS], (unsigned long long)t->state.step);
    return CN_OK;
}

/* Evaluation and checkpoint that are due after a step; the step's row is written in between. */
static enum cn_status after_step(struct train *t, bool last)
{
    const struct settings *s = &t->session.settings;
    const uint64_t step = t->state.step;
    const bool evaluate = last || (s->eval.every && step % (uint64_t)s->eval.every == 0);
    const bool save = last || (s->checkpoint.every && step % (uint64_t)s->checkpoint.every == 0);
    cn_comm_place(t->session.comm, step, "evaluating");
    if (evaluate) CN_TRY(train_evaluate(t, step, last ? &t->after : NULL));
    cn_comm_place(t->session.comm, step, "saving");
    enum cn_status status = run_metrics_write(t->run, "metrics.jsonl", step, &t->metrics);
    if (status == CN_OK) status = train_write_status(t, "running", CN_OK, "");
    if (save) return train_save(t, status);
    return roles_meet(&t->session.roles, "rows", status);
}

static enum cn_status train_loop(struct train *t)
{
    const uint64_t steps = t->report.steps;
    if (!t->resumed) {
        cn_metrics_init(&t->metrics, &t->arena);
        CN_TRY(train_evaluate(t, 0, &t->before));
        CN_TRY(run_metrics_write(t->run, "metrics.jsonl", 0, &t->metrics));
    }
    if (t->state.step >= steps)
        cn_log_info("the run has all its %llu steps: raise train.steps to go on, or choose another "
                    "run.name to start anew",
                    (unsigned long long)steps);
    t->report.started = clock_seconds();
    for (uint64_t step = t->state.step + 1; step <= steps; step++) {
        t->report.step = step;
        CN_TRY(train_step(t, step));
        CN_TRY(after_step(t, step == steps));
        cn_arena_reset(&t->arena); /* everything of this step is gone */
        cn_arena_reset(&t->scratch);
        if (step < steps) CN_TRY(check_stop(t));
    }
    return CN_OK;
}

static enum cn_status run(int argc, char **argv)
{
    static struct train train; /* large, and one per process */
    struct train *t = &train;
    const bool dry = arguments_take(&argc, argv, "--dry-run");
    enum cn_status status = ranks_configure(&t->session, argc - 1, argv + 1);
    /* A dry run of one process plans for ranks that are not there. */
    if (status == CN_OK && !(dry && cn_comm_size(t->session.comm) == 1))
        status = roles_divide(&t->session.roles, &t->session.settings.parallel);
    if (status == CN_OK && dry) {
        status = dry_run_print(&t->session, NULL);
    } else if (status == CN_OK) {
        status = train_open(t, argc, argv);
        if (status == CN_OK) status = train_loop(t);
        status = ranks_outcome(&t->session, status);
        if (t->run) status = train_finish(t, status);
        const struct report_end end = {.before =
                                           t->before.n_tasks && !t->resumed ? &t->before : NULL,
                                       .after = t->after.n_tasks ? &t->after : NULL,
                                       .set = t->session.n_sets ? t->session.sets[0].name : "",
                                       .folder = t->run ? run_path(t->run) : ""};
        if (status == CN_OK) status = report_end(&t->report, &end);
    }
    train_close(t);
    return ranks_close(&t->session, status);
}

const struct cn_command command_train = {
    .name = "train",
    .summary = "train a policy by reinforcement learning",
    .usage =
        "usage: carnot train CONFIG... [key=value | --key value]... [--dry-run]\n\n"
        "Files compose left to right, later wins; values are JSON.  `carnot config list keys`\n"
        "shows every key, `carnot config explain KEY` one of them.\n"
        "--dry-run  resolve everything, print batch arithmetic and the memory plan, exit\n",
    .run = run};
