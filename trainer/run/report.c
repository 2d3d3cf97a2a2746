/* What a person sees of a run. */
#include "report.h"

#include "../clock.h"
#include "../core/plot.h"
#include "../core/statistics.h"

#include "carnot/log.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum cn_status series_add(struct series *series, struct cn_arena *arena, double value)
{
    if (series->n == series->capacity) {
        size_t capacity = series->capacity ? 2 * series->capacity : 256;
        double *grown;
        CN_TRY(CN_NEW(arena, capacity, &grown));
        if (series->n) memcpy(grown, series->value, series->n * sizeof *grown);
        series->value = grown;
        series->capacity = capacity;
    }
    series->value[series->n++] = value;
    return CN_OK;
}

/* 83 -> "1:23", 4000 -> "1:06:40" */
static void duration(char out[32], double seconds)
{
    long long s = seconds > 0 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(out, 32, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(out, 32, "%lld:%02lld", s / 60, s % 60);
}

enum cn_status report_step_line(struct report *r, const struct report_step *step,
                                const struct cn_metrics *m)
{
    char eta[32];
    /* NaN where every sequence was dropped: there is no such number. */
    double reward = cn_metrics_value(m, "reward/mean", (double)NAN);
    double entropy = cn_metrics_value(m, "policy/entropy",
                                      cn_metrics_value(m, "policy/entropy_sampled", (double)NAN));
    double clipped = cn_metrics_value(m, "policy/clip_frac_low", 0) +
                     cn_metrics_value(m, "policy/clip_frac_high", 0);
    double pace = (clock_seconds() - r->started) / (double)(step->step - r->first + 1);
    duration(eta, pace * (double)(r->steps - step->step));
    CN_TRY(series_add(&r->reward, r->arena, reward));
    CN_TRY(series_add(&r->entropy, r->arena, entropy));
    cn_log_info("step %4llu/%llu  reward %.3f  entropy %.3f  length %.1f  clip %.1f %%  %.0f tok/s"
                "  %.2f s = rollout %.2f + reward %.2f + score %.2f + train %.2f + other %.2f"
                "  ETA %s",
                (unsigned long long)step->step, (unsigned long long)r->steps, reward, entropy,
                cn_metrics_value(m, "response/len_mean", 0), 100 * clipped,
                step->seconds > 0 ? step->tokens / step->seconds : 0, step->seconds,
                cn_metrics_value(m, "time/rollout_s", 0), cn_metrics_value(m, "time/reward_s", 0),
                cn_metrics_value(m, "time/logprob_s", 0), cn_metrics_value(m, "time/train_s", 0),
                cn_metrics_value(m, "time/other_s", 0), eta);
    return CN_OK;
}

void report_progress(void *self, size_t finished, size_t wishes)
{
    const struct report *r = self;
    enum { WIDTH = 30 };
    char line[160], bar[WIDTH + 1];
    size_t full = wishes ? finished * WIDTH / wishes : WIDTH;
    for (size_t i = 0; i < WIDTH; i++)
        bar[i] = i < full ? '#' : '.';
    bar[WIDTH] = 0;
    snprintf(line, sizeof line, "step %llu/%llu  sampling [%s] %zu of %zu",
             (unsigned long long)r->step, (unsigned long long)r->steps, bar, finished, wishes);
    cn_log_status_line(line);
}

void report_evaluation(const struct eval_set *set, uint64_t step, const struct eval_result *e)
{
    cn_log_info(
        "eval %s at step %llu: pass@1 %.1f %% (95 %% interval %.1f to %.1f) over %zu tasks x "
        "%zu samples, %.1f s",
        set->name, (unsigned long long)step, 100 * e->pass_1, 100 * e->low, 100 * e->high,
        e->n_tasks, e->n_samples, e->seconds);
}

static enum cn_status curve(const char *title, const struct series *series)
{
    struct cn_str text = {0};
    const struct plot plot = {.title = title, .value = series->value, .n = series->n};
    enum cn_status status = plot_draw(&plot, &text);
    if (status == CN_OK) cn_log_info("\n%s", text.data);
    cn_str_free(&text);
    return status;
}

/* Text on one line, cut after `most` bytes. */
static enum cn_status one_line(struct cn_str *out, struct cn_text text, size_t most)
{
    const bool cut = text.length > most;
    if (cut) text.length = cn_utf8_complete((struct cn_text){text.data, most});
    CN_TRY(cn_str_add_safe(out, text, " "));
    return cut ? cn_str_add(out, "...") : CN_OK;
}

static enum cn_status show_answers(const char *when, const struct eval_result *e)
{
    struct cn_str line = {0};
    enum cn_status status = CN_OK;
    cn_log_info("\nanswers %s:", when);
    for (size_t i = 0; i < e->n_shown; i++) {
        const struct eval_shown *shown = &e->shown[i];
        cn_str_clear(&line);
        CN_TRY_GOTO(one_line(&line, shown->prompt, 196), out);
        CN_TRY_GOTO(cn_str_add(&line, "  ->  "), out);
        CN_TRY_GOTO(one_line(&line, shown->response, 196), out);
        CN_TRY_GOTO(cn_str_add(&line, "   (right: "), out);
        CN_TRY_GOTO(one_line(&line, shown->ground_truth, 76), out);
        cn_log_info("  %s; score %.3g)", line.data, shown->score);
    }
out:
    cn_str_free(&line);
    return status;
}

/* Share of right answers to task i. */
static double share_right(const struct eval_result *e, size_t i)
{
    double right = 0;
    for (size_t k = 0; k < e->n_samples; k++)
        right += e->right[i * e->n_samples + k];
    return right / (double)e->n_samples;
}

/* What became of pass@1, with the interval of the difference over the same tasks. */
static enum cn_status compare(const char *set, const struct eval_result *before,
                              const struct eval_result *after)
{
    const size_t n = before->n_tasks;
    double *share = malloc(2 * n * sizeof *share);
    if (!share) return cn_fail(CN_ERR_MEMORY, "out of memory: %zu tasks", n);
    for (size_t i = 0; i < n; i++) {
        share[i] = share_right(before, i);
        share[n + i] = share_right(after, i);
    }
    const struct statistics_interval d = statistics_difference_paired(share, share + n, n, 0.95);
    free(share);
    cn_log_info("\n%s: pass@1 %.1f %% -> %.1f %% over %zu held-out tasks, %+.1f points (95 %% "
                "interval %.1f to %.1f)",
                set, 100 * before->pass_1, 100 * after->pass_1, n,
                100 * (after->pass_1 - before->pass_1), 100 * d.low, 100 * d.high);
    return CN_OK;
}

enum cn_status report_end(const struct report *r, const struct report_end *end)
{
    if (r->reward.n > 1) {
        CN_TRY(curve("reward", &r->reward));
        CN_TRY(curve("entropy (nats)", &r->entropy));
    }
    if (end->before && end->after) {
        CN_TRY(show_answers("before", end->before));
        CN_TRY(show_answers("after", end->after));
        CN_TRY(compare(end->set, end->before, end->after));
    }
    cn_log_info("run folder: %s", end->folder);
    return CN_OK;
}
