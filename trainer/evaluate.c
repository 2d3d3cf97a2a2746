/* Evaluation of one set of tasks, and `carnot eval`. */
#include "evaluate.h"

#include "clock.h"
#include "command.h"
#include "core/statistics.h"
#include "filters/filter.h"
#include "ranks/ranks.h"
#include "run/report.h"
#include "session.h"
#include "ranks/share.h"

#include "carnot/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct work {
    const struct evaluation *e;
    const struct eval_set *set;
    struct cn_arena *arena;
    struct wishes wishes;
    struct answer *answers; /* (n_tasks x samples), task by task; so is `scored` */
    struct scored *scored;
    struct posed *posed; /* (n_tasks) */
    size_t n_tasks;      /* of the set that are not over-long */
    size_t samples;
};

static enum cn_status pose_all(struct work *w)
{
    const double temperature = w->e->settings->eval.temperature;
    CN_TRY(CN_NEW(w->arena, w->set->n_tasks, &w->posed));
    for (size_t i = 0; i < w->set->n_tasks; i++) {
        struct posed *posed = &w->posed[w->n_tasks];
        CN_TRY(tasks_pose(w->set->tasks, i, w->arena, posed));
        if (posed->over_long) continue;
        for (uint32_t k = 0; k < w->samples; k++) {
            const struct wish wish = {.posed = posed,
                                      .parent = -1,
                                      .sample = k,
                                      .temperature = temperature > 0 ? temperature : 1,
                                      .greedy = temperature <= 0,
                                      .group = (uint32_t)w->n_tasks};
            CN_TRY(wishes_add(&w->wishes, wish));
        }
        w->n_tasks++;
    }
    if (w->n_tasks) return CN_OK;
    return cn_fail(CN_ERR_DATA,
                   "data.eval set \"%s\": none of its %llu prompts is within "
                   "data.max_prompt_tokens=%lld",
                   w->set->name, (unsigned long long)w->set->n_tasks,
                   (long long)w->e->settings->data.max_prompt_tokens);
}

static enum cn_status sample_all(struct work *w)
{
    const struct settings *s = w->e->settings;
    const struct rollout_options options = {.sampler = w->e->sampler,
                                            .tokenizer = w->e->tokenizer,
                                            .key =
                                                cn_rng_key((uint64_t)s->run.seed, 0, CN_RNG_EVAL),
                                            .slots = (size_t)s->rollout.slots,
                                            .max_tokens = (size_t)s->rollout.max_tokens,
                                            .top_p = s->eval.top_p,
                                            .top_k = s->eval.top_k,
                                            .stop = s->rollout.stop,
                                            .progress = w->e->progress,
                                            .progress_self = w->e->progress_self};
    CN_TRY(CN_NEW(w->arena, w->wishes.count, &w->answers));
    CN_TRY(CN_NEW(w->arena, w->wishes.count, &w->scored));
    struct share_round round = {.comm = w->e->comm,
                                .first = w->e->first,
                                .scorer = w->e->scorer,
                                .options = &options,
                                .wishes = &w->wishes,
                                .answers = w->answers,
                                .scored = w->scored};
    return share_answering(&round);
}

/* Right answers of a task. */
static size_t right_of(const struct work *w, size_t task)
{
    size_t right = 0;
    for (size_t k = 0; k < w->samples; k++)
        right += w->scored[task * w->samples + k].score >= 1;
    return right;
}

/* Buffers of the votes on one task. */
struct votes {
    struct cn_text *text; /* (samples) each */
    int32_t *answer;
    bool *right;
};

static void collect_votes(const struct work *w, size_t task, const struct votes *votes)
{
    for (size_t k = 0; k < w->samples; k++) {
        const struct scored *scored = &w->scored[task * w->samples + k];
        votes->text[k] = scored->extracted;
        votes->right[k] = scored->score >= 1;
    }
    statistics_same(votes->text, w->samples, votes->answer);
}

/* Different right answers among the votes. */
static size_t distinct_right(const struct work *w, const struct votes *votes)
{
    size_t distinct = 0;
    for (size_t k = 0; k < w->samples; k++) {
        bool fresh = votes->right[k] && votes->answer[k] >= 0;
        for (size_t j = 0; fresh && j < k; j++)
            fresh = !votes->right[j] || votes->answer[j] != votes->answer[k];
        distinct += fresh;
    }
    return distinct;
}

static enum cn_status set_metric(const struct work *w, struct cn_metrics *m, const char *what,
                                 double value)
{
    char name[192];
    snprintf(name, sizeof name, "eval/%s/%s", w->set->name, what);
    return cn_metrics_set(m, name, value);
}

static enum cn_status pass_at_k(const struct work *w, struct cn_metrics *m)
{
    char what[64];
    const struct cn_reals *ks = &w->e->settings->eval.k;
    for (size_t i = 0; i < ks->count; i++) {
        struct cn_sum sum = {0};
        const size_t k = (size_t)ks->value[i];
        for (size_t task = 0; task < w->n_tasks; task++)
            cn_sum_add(&sum, statistics_pass_at_k(w->samples, right_of(w, task), k));
        snprintf(what, sizeof what, "pass@%zu", k);
        CN_TRY(set_metric(w, m, what, cn_sum_mean(&sum)));
    }
    return CN_OK;
}

/* pass@1 with the interval over tasks, mean score, majority vote. */
static enum cn_status summarise(struct work *w, struct cn_metrics *m, struct eval_result *out)
{
    struct cn_sum mean = {0}, maj = {0}, length = {0}, distinct = {0};
    struct votes votes;
    double *share;
    char what[64];
    CN_TRY(CN_NEW(w->arena, w->samples, &votes.text));
    CN_TRY(CN_NEW(w->arena, w->samples, &votes.answer));
    CN_TRY(CN_NEW(w->arena, w->samples, &votes.right));
    CN_TRY(CN_NEW(w->arena, w->n_tasks, &share));
    for (size_t task = 0; task < w->n_tasks; task++) {
        share[task] = (double)right_of(w, task) / (double)w->samples;
        collect_votes(w, task, &votes);
        cn_sum_add(&maj, statistics_majority(votes.answer, votes.right, w->samples));
        cn_sum_add(&distinct, (double)distinct_right(w, &votes));
    }
    for (size_t i = 0; i < w->wishes.count; i++) {
        cn_sum_add(&mean, w->scored[i].score);
        cn_sum_add(&length, (double)w->answers[i].n);
        out->sampled_tokens += (double)w->answers[i].n;
    }
    const struct statistics_interval interval = statistics_mean(share, w->n_tasks, 0.95);
    out->pass_1 = interval.value;
    out->low = interval.low;
    out->high = interval.high;
    out->maj = cn_sum_mean(&maj);
    out->length = cn_sum_mean(&length);
    snprintf(what, sizeof what, "mean@%zu", w->samples);
    CN_TRY(set_metric(w, m, what, cn_sum_value(&mean) / (double)(w->n_tasks * w->samples)));
    snprintf(what, sizeof what, "maj@%zu", w->samples);
    CN_TRY(set_metric(w, m, what, out->maj));
    snprintf(what, sizeof what, "distinct@%zu", w->samples);
    CN_TRY(set_metric(w, m, what, cn_sum_mean(&distinct)));
    if (w->n_tasks < w->set->n_tasks)
        CN_TRY(set_metric(w, m, "over_long", (double)(w->set->n_tasks - w->n_tasks)));
    CN_TRY(set_metric(w, m, "pass@1", out->pass_1));
    CN_TRY(set_metric(w, m, "ci_low", out->low));
    CN_TRY(set_metric(w, m, "ci_high", out->high));
    CN_TRY(set_metric(w, m, "len_mean", out->length));
    return pass_at_k(w, m);
}

static enum cn_status keep(struct work *w, struct eval_result *out)
{
    const size_t n = w->n_tasks * w->samples;
    CN_TRY(CN_NEW(w->arena, n, &out->right));
    for (size_t i = 0; i < n; i++)
        out->right[i] = w->scored[i].score >= 1;
    for (size_t task = 0; task < w->n_tasks && out->n_shown < EVAL_SHOWN; task++)
        out->shown[out->n_shown++] =
            (struct eval_shown){.prompt = w->posed[task].prompt_text,
                                .response = w->answers[task * w->samples].text,
                                .ground_truth = w->posed[task].content.ground_truth,
                                .score = w->scored[task * w->samples].score};
    return CN_OK;
}

enum cn_status evaluate_set(const struct evaluation *e, const struct eval_set *set,
                            struct cn_arena *arena, struct cn_metrics *metrics,
                            struct eval_result *out)
{
    struct work w = {.e = e,
                     .set = set,
                     .arena = arena,
                     .wishes = {.arena = arena},
                     .samples = (size_t)e->settings->eval.samples};
    double start = clock_seconds();
    memset(out, 0, sizeof *out);
    out->n_samples = w.samples;
    CN_TRY(pose_all(&w));
    out->n_tasks = w.n_tasks;
    CN_TRY(sample_all(&w));
    CN_TRY(summarise(&w, metrics, out));
    CN_TRY(keep(&w, out));
    out->seconds = clock_seconds() - start;
    return CN_OK;
}

static void print_progress(void *self, size_t finished, size_t wishes)
{
    char line[96];
    (void)self;
    snprintf(line, sizeof line, "sampling %zu of %zu", finished, wishes);
    cn_log_status_line(line);
}

/* The one object on standard output. */
static enum cn_status print_metrics(const struct cn_metrics *metrics)
{
    struct cn_str out = {0};
    enum cn_status status = cn_str_add(&out, "{");
    for (size_t i = 0; status == CN_OK && i < metrics->count; i++) {
        status = filter_key(&out, metrics->item[i].name);
        if (status == CN_OK) status = cn_json_real(&out, cn_metric_value(&metrics->item[i]), 9);
    }
    if (status == CN_OK) status = filter_end(&out);
    if (status == CN_OK) status = filter_write(cn_str_text(&out));
    cn_str_free(&out);
    return status;
}

static enum cn_status evaluate_all(struct session *s)
{
    const struct evaluation evaluation = {.settings = &s->settings,
                                          .scorer = s->scorer,
                                          .sampler = s->sampler,
                                          .comm = s->comm,
                                          .tokenizer = s->tokenizer,
                                          .progress = print_progress};
    struct cn_metrics metrics;
    if (s->n_sets == 0)
        return cn_fail(CN_ERR_CONFIG, "nothing to evaluate on: set data.eval=[{\"name\": \"test\", "
                                      "\"path\": FILE}]");
    cn_metrics_init(&metrics, &s->arena);
    for (size_t i = 0; i < s->n_sets; i++) {
        struct eval_result result;
        CN_TRY(evaluate_set(&evaluation, &s->sets[i], &s->arena, &metrics, &result));
        cn_log_status_line(NULL);
        report_evaluation(&s->sets[i], 0, &result);
    }
    return cn_comm_rank(s->comm) == 0 ? print_metrics(&metrics) : CN_OK;
}

static enum cn_status open_session(struct session *s)
{
    CN_TRY(session_open_scorer(s));
    CN_TRY(session_open_model(s, false));
    CN_TRY(session_open_sampler(s));
    return session_open_sets(s);
}

static enum cn_status run(int argc, char **argv)
{
    struct session session;
    if (argc < 2)
        return cn_fail(CN_ERR_CONFIG, "usage: carnot eval MODEL CONFIG... [key=value]...");
    /* MODEL is a folder: it stands for model.path. */
    char path[4096];
    snprintf(path, sizeof path, "model.path=\"%s\"", argv[1]);
    char clear[] = "model.init=null";
    char **arguments = argv + 1;
    enum cn_status status;
    struct cn_arena arena;
    cn_arena_init(&arena);
    memset(&session, 0, sizeof session);
    CN_TRY_GOTO(CN_NEW(&arena, (size_t)argc + 2, &arguments), out);
    for (int i = 2; i < argc; i++)
        arguments[i - 2] = argv[i];
    arguments[argc - 2] = path;
    arguments[argc - 1] = clear;
    CN_TRY_GOTO(ranks_configure(&session, argc, arguments), out);
    roles_keep(&session.settings.parallel);
    CN_TRY_GOTO(cn_comm_agree(session.comm, "model and data", open_session(&session)), out);
    CN_TRY_GOTO(evaluate_all(&session), out);
out:
    status = ranks_close(&session, status);
    cn_arena_free(&arena);
    return status;
}

const struct cn_command command_eval = {
    .name = "eval",
    .summary = "pass@k, mean@k and maj@k of a model",
    .usage =
        "usage: carnot eval MODEL CONFIG... [key=value | --key value]...\n\n"
        "MODEL is a Hugging Face folder; sets, samples and temperature come from the sections\n"
        "data.eval and eval of the configuration.\n",
    .run = run};
