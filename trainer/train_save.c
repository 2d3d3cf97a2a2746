/* What a run leaves behind: evaluations, checkpoints, text samples, status. */
#include "train.h"

#include "measure.h"
#include "ranks/share.h"

#include "carnot/log.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

/* One line per shown or sampled answer. */
static enum cn_status answer_row(struct cn_str *out, const struct eval_shown *shown)
{
    CN_TRY(cn_str_add(out, "{\"prompt\": "));
    CN_TRY(cn_json_quote(out, shown->prompt));
    CN_TRY(cn_str_add(out, ", \"response\": "));
    CN_TRY(cn_json_quote(out, shown->response));
    CN_TRY(cn_str_add(out, ", \"ground_truth\": "));
    CN_TRY(cn_json_quote(out, shown->ground_truth));
    CN_TRY(cn_str_add(out, ", \"score\": "));
    CN_TRY(cn_json_real(out, shown->score, 9));
    return CN_OK;
}

/* eval/step_N/<set>.json */
static enum cn_status write_evaluation(struct train *t, const struct eval_set *set, uint64_t step,
                                       const struct eval_result *e)
{
    char path[4096];
    struct cn_str text = {0};
    if (cn_comm_rank(t->session.comm) != 0) return CN_OK;
    int n = snprintf(path, sizeof path, "%s/eval/step_%06" PRIu64, run_path(t->run), step);
    if (n < 0 || (size_t)n + strlen(set->name) + 8 > sizeof path)
        return cn_fail(CN_ERR_IO, "path too long: %s", path);
    CN_TRY(cn_folder_make(path));
    snprintf(path + n, sizeof path - (size_t)n, "/%s.json", set->name);
    enum cn_status status =
        cn_str_format(&text,
                      "{\"step\": %" PRIu64 ", \"tasks\": %zu, \"samples\": %zu, \"pass@1\": %.9g, "
                      "\"ci_low\": %.9g, \"ci_high\": %.9g, \"answers\": [",
                      step, e->n_tasks, e->n_samples, e->pass_1, e->low, e->high);
    for (size_t i = 0; status == CN_OK && i < e->n_shown; i++) {
        status = cn_str_add(&text, i ? ",\n  " : "\n  ");
        if (status == CN_OK) status = answer_row(&text, &e->shown[i]);
        if (status == CN_OK) status = cn_str_add(&text, "}");
    }
    if (status == CN_OK) status = cn_str_add(&text, "\n]}\n");
    if (status == CN_OK) status = cn_file_replace(path, text.data, text.length);
    cn_str_free(&text);
    return status;
}

static const char *objective_name(const struct train *t, char out[160])
{
    if (t->session.settings.eval.keep_best) return t->session.settings.eval.keep_best;
    if (t->session.n_sets == 0) return "reward/mean";
    snprintf(out, 160, "eval/%s/pass@1", t->session.sets[0].name);
    return out;
}

/* Exports the policy if it is the best so far. */
static enum cn_status keep_best(struct train *t)
{
    char name[160];
    const char *objective = objective_name(t, name);
    double value = cn_metrics_value(&t->metrics, objective, (double)NAN);
    if (isnan(value) && strncmp(objective, "eval/", 5) == 0)
        return cn_fail(CN_ERR_CONFIG,
                       "eval.keep_best=%s: no evaluation gives this number; it is "
                       "eval/<set>/pass@k with a set of data.eval and a k of eval.k, or mean@n or "
                       "maj@n with n = eval.samples",
                       objective);
    if (isnan(value) || (!isnan(t->state.best) && value <= t->state.best)) return CN_OK;
    t->state.best = value;
    return checkpoint_export(&t->checkpoint, "best");
}

enum cn_status train_evaluate(struct train *t, uint64_t step, struct eval_result *first)
{
    const struct evaluation evaluation = {.settings = &t->session.settings,
                                          .scorer = t->session.scorer,
                                          .sampler = t->session.sampler,
                                          .comm = t->session.comm,
                                          .first = t->session.roles.first,
                                          .tokenizer = t->session.tokenizer,
                                          .progress = report_progress,
                                          .progress_self = &t->report};
    enum cn_status status = CN_OK; /* of this rank alone */
    for (size_t i = 0; i < t->session.n_sets; i++) {
        struct eval_result result;
        const struct eval_set *set = &t->session.sets[i];
        CN_TRY(evaluate_set(&evaluation, set, i == 0 && first ? &t->shown : &t->scratch,
                            &t->metrics, &result));
        cn_log_status_line(NULL);
        report_evaluation(set, step, &result);
        if (status == CN_OK) status = write_evaluation(t, set, step, &result);
        if (i == 0 && first) *first = result;
    }
    if (status == CN_OK && t->session.roles.learns) status = keep_best(t);
    return roles_meet(&t->session.roles, "evaluation", status);
}

/* Every rank's record is closed before a checkpoint says that its steps are done. */
static enum cn_status save(struct train *t)
{
    const enum cn_status status = t->record ? record_close_segment(t->record) : CN_OK;
    CN_TRY(cn_comm_agree(t->session.roles.side, "record", status));
    return checkpoint_save(&t->checkpoint, &t->state, &t->session.settings.checkpoint);
}

enum cn_status train_save(struct train *t, enum cn_status status)
{
    const bool due = t->saved != t->state.step && t->session.roles.learns;
    if (status == CN_OK && due) status = save(t);
    CN_TRY(roles_meet(&t->session.roles, "checkpoint", status));
    t->saved = t->state.step;
    return CN_OK;
}

static enum cn_status write_samples(struct train *t, const struct experience_result *r)
{
    char name[64];
    struct cn_str lines = {0};
    enum cn_status status = CN_OK;
    snprintf(name, sizeof name, "samples/step_%06" PRIu64 ".jsonl", t->report.step);
    for (size_t i = 0; status == CN_OK && i < r->n_shown; i++) {
        status = answer_row(&lines, &r->shown[i]);
        if (status == CN_OK)
            status = cn_str_format(&lines,
                                   ", \"reward\": %.9g, \"verdict\": \"%s\", \"stop\": \"%s\", "
                                   "\"prompt_id\": %" PRIu64 ", \"sample\": %" PRIu32 "}\n",
                                   r->batch->reward[i], cn_verdict_name(r->batch->verdict[i]),
                                   cn_stop_name(r->batch->stop[i]), r->batch->prompt[i],
                                   r->batch->sample[i]);
    }
    if (status == CN_OK && lines.length) status = run_append(t->run, name, cn_str_text(&lines));
    cn_str_free(&lines);
    return status;
}

/* A step that was skipped because it was not finite leaves its batch behind. */
static enum cn_status keep_bad_batch(struct train *t, const struct cn_batch *batch, uint64_t step)
{
    struct cn_str text = {0};
    if (cn_metrics_value(&t->metrics, "update/skipped", 0) == 0) return CN_OK;
    enum cn_status status = measure_dump(batch, step, &text);
    if (status == CN_OK) status = run_append(t->run, "bad_batches.jsonl", cn_str_text(&text));
    cn_str_free(&text);
    return status;
}

/* Each rank that learns records its share of the sequences. */
static enum cn_status record_share(struct train *t, const struct cn_batch *batch, uint64_t step)
{
    const struct cn_comm *comm = t->session.roles.side;
    const size_t *start;
    CN_TRY(share_among(comm, NULL, batch->n_sequences, &t->scratch, &start));
    const size_t *own = start + cn_comm_rank(comm);
    return record_step(t->record, batch, (struct cn_span){own[0], own[1]}, step);
}

enum cn_status train_record(struct train *t, const struct experience_result *result)
{
    const struct record_settings *settings = &t->session.settings.record;
    if (t->record && result->step % (uint64_t)settings->every == 0)
        CN_TRY(record_share(t, result->batch, result->step));
    CN_TRY(keep_bad_batch(t, result->batch, result->step));
    return write_samples(t, result);
}

/* What ranks cost this one: waiting for others, and moving data beside no computation. */
static enum cn_status comm_times(struct train *t)
{
    struct session *s = &t->session;
    struct cn_comm *const each[] = {s->comm, s->roles.side};
    struct cn_comm_cost sum = {0};
    if (cn_comm_size(s->comm) == 1) return CN_OK;
    for (int i = 0; i < (each[0] == each[1] ? 1 : 2); i++) {
        const struct cn_comm_cost cost = cn_comm_cost(each[i]);
        sum.wait_s += cost.wait_s;
        sum.move_s += cost.move_s;
        sum.bytes += cost.bytes;
    }
    CN_TRY(cn_metrics_set(&t->metrics, "time/comm_wait_s", sum.wait_s));
    CN_TRY(cn_metrics_set(&t->metrics, "time/comm_move_s", sum.move_s));
    return cn_metrics_set(&t->metrics, "perf/comm_bytes", sum.bytes);
}

enum cn_status train_times(struct train *t, const struct experience_result *experience,
                           const struct update_times *update, double seconds)
{
    const double sampling = t->session.roles.divided
                                ? cn_metrics_value(&t->metrics, "time/learner_wait_s", 0)
                                : experience->times.rollout + experience->times.reward;
    const double known = sampling + update->score + update->train;
    double tokens = 0;
    for (size_t i = 0; i < experience->batch->n_tokens; i++)
        tokens += experience->batch->role[i] == CN_ROLE_POLICY;
    CN_TRY(cn_metrics_set(&t->metrics, "time/step_s", seconds));
    CN_TRY(cn_metrics_set(&t->metrics, "time/rollout_s", experience->times.rollout));
    CN_TRY(cn_metrics_set(&t->metrics, "time/reward_s", experience->times.reward));
    CN_TRY(cn_metrics_set(&t->metrics, "time/reward_busy_s", experience->times.reward_busy));
    CN_TRY(cn_metrics_set(&t->metrics, "time/logprob_s", update->score));
    CN_TRY(cn_metrics_set(&t->metrics, "time/train_s", update->train));
    CN_TRY(cn_metrics_set(&t->metrics, "time/pass_s", update->pass));
    CN_TRY(cn_metrics_set(&t->metrics, "time/algorithm_s", update->algorithm));
    CN_TRY(cn_metrics_set(&t->metrics, "time/other_s", seconds - known));
    CN_TRY(comm_times(t));
    CN_TRY(cn_metrics_set(&t->metrics, "perf/tokens", tokens));
    return cn_metrics_set(&t->metrics, "perf/tok_s", tokens / seconds);
}

enum cn_status train_write_status(struct train *t, const char *state, enum cn_status outcome,
                                  const char *message)
{
    char name[160];
    const char *objective = objective_name(t, name);
    double value = cn_metrics_value(&t->metrics, objective, (double)NAN);
    if (isnan(value)) value = isnan(t->state.best) ? t->state.base : t->state.best;
    const struct run_status status = {.state = state,
                                      .step = t->state.step,
                                      .objective = value,
                                      .best = t->state.best,
                                      .exit_code = cn_status_exit_code(outcome),
                                      .message = message};
    return run_status_write(t->run, &status);
}

enum cn_status train_finish(struct train *t, enum cn_status status)
{
    static const char *const words[] = {
        [CN_OK] = "done", [CN_STOPPED] = "stopped", [CN_PRUNED] = "pruned"};
    const char *state =
        status == CN_OK || status == CN_STOPPED || status == CN_PRUNED ? words[status] : "failed";
    const bool opened = t->report.first > 0;
    char message[2048];
    strncpy(message, cn_fail_message(), sizeof message - 1);
    message[sizeof message - 1] = 0;
    if (status == CN_STOPPED || status == CN_PRUNED) {
        cn_fail_clear();
        if (opened) CN_TRY(train_save(t, CN_OK)); /* an unfinished warm start begins again */
        cn_fail(status, "%s", message);
    }
    /* A start that is refused leaves the status of the run that stands in the folder as it is. */
    if (opened || status != CN_ERR_CONFIG) train_write_status(t, state, status, message);
    return status;
}
