/* Reads run folders for a comparison. */
#include "compare.h"

#include "../run/history.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* What the rows of one run leave behind. */
struct reading {
    struct cn_arena *arena;
    struct compare_run *run;
    struct series reward, touched, time;
};

/* A row's number, NaN if it has none. */
static double number_of(const struct cn_json *row, const char *key)
{
    const struct cn_json *node = cn_json_get(row, key);
    return cn_json_kind(node) == CN_JSON_NUMBER ? cn_json_number(node) : (double)NAN;
}

/* eval/<set>/<what>@<k> -> k; 0 if the key is no such thing.  Sets behind the first are left out:
 * every row names them in the same order. */
static int64_t reads_at(const char *key, const char *what, char set[64])
{
    char found[64], word[16];
    int64_t k;
    int used = 0;
    if (sscanf(key, "eval/%63[^/]/%15[a-z]@%ld%n", found, word, &k, &used) != 3 || key[used])
        return 0;
    if (strcmp(word, what) != 0) return 0;
    if (!set[0]) memcpy(set, found, sizeof found);
    return strcmp(set, found) == 0 ? k : 0;
}

static void take_evaluation(struct compare_run *run, const struct cn_json *row)
{
    char set[64] = "";
    int64_t largest = 0;
    for (const struct cn_json *m = cn_json_first(row); m; m = cn_json_next(m)) {
        const int64_t pass = reads_at(cn_json_key(m), "pass", set);
        const int64_t distinct = reads_at(cn_json_key(m), "distinct", set);
        if (pass == 1) run->value[COMPARE_PASS_1] = cn_json_number(m);
        if (pass > largest) {
            largest = run->k = pass;
            run->value[COMPARE_PASS_K] = cn_json_number(m);
        }
        if (!distinct) continue;
        run->samples = distinct;
        run->value[COMPARE_DISTINCT] = cn_json_number(m);
    }
}

static enum cn_status take_row(void *self, struct cn_json *row, bool *keep)
{
    struct reading *r = self;
    (void)keep;
    take_evaluation(r->run, row);
    if (isnan(number_of(row, "time/step_s"))) return CN_OK; /* not a step */
    double entropy = number_of(row, "policy/entropy");
    if (isnan(entropy)) entropy = number_of(row, "policy/entropy_sampled");
    CN_TRY(series_add(&r->run->entropy, r->arena, entropy));
    CN_TRY(series_add(&r->reward, r->arena, number_of(row, "reward/mean")));
    CN_TRY(series_add(&r->touched, r->arena, number_of(row, "entropy/touched_frac")));
    return series_add(&r->time, r->arena, number_of(row, "time/step_s"));
}

/* Mean of entries [from, to); those that were not measured are left out. */
static double mean_of(const struct series *series, size_t from, size_t to)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = from; i < to && i < series->n; i++) {
        if (isnan(series->value[i])) continue;
        sum += series->value[i];
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

static void summarise(struct reading *r)
{
    struct compare_run *run = r->run;
    const size_t n = run->entropy.n, third = n / 3, last = n - third;
    run->value[COMPARE_REWARD] = mean_of(&r->reward, last, n);
    run->value[COMPARE_START] = mean_of(&run->entropy, 0, 1);
    run->value[COMPARE_MIDDLE] = mean_of(&run->entropy, third, last);
    run->value[COMPARE_END] = mean_of(&run->entropy, last, n);
    run->value[COMPARE_TOUCHED] = mean_of(&r->touched, 0, n);
    run->value[COMPARE_TIME] = mean_of(&r->time, 0, n);
}

/* Name and seed that the run was started with. */
static enum cn_status read_name(const char *folder, struct cn_arena *arena, struct compare_run *out)
{
    struct cn_json *config;
    char *copy;
    CN_TRY(history_file(folder, "config.resolved.json", &config));
    const struct cn_json *run = cn_json_get(config, "run");
    const struct cn_text name = cn_json_text(cn_json_get(run, "name"));
    out->seed = (int64_t)cn_json_number(cn_json_get(run, "seed"));
    enum cn_status status =
        config ? cn_arena_text(arena, name.data, name.length, &copy)
               : cn_fail(CN_ERR_DATA, "%s is no run folder: config.resolved.json cannot be read",
                         folder);
    cn_json_close(config);
    if (status == CN_OK) out->name = copy;
    return status;
}

static enum cn_status read_run(const char *folder, struct cn_arena *arena, struct compare_run *out)
{
    struct cn_str path = {0};
    struct reading reading = {.arena = arena, .run = out};
    size_t damaged;
    *out = (struct compare_run){.folder = folder};
    for (int i = 0; i < COMPARE_COUNT; i++)
        out->value[i] = (double)NAN;
    CN_TRY(read_name(folder, arena, out));
    enum cn_status status = cn_str_format(&path, "%s/metrics.jsonl", folder);
    if (status == CN_OK) status = history_lines(path.data, take_row, &reading, &damaged);
    cn_str_free(&path);
    CN_TRY(status);
    if (out->entropy.n < 3)
        return cn_fail(CN_ERR_DATA, "%s has %zu steps of training; a comparison needs at least 3",
                       folder, out->entropy.n);
    summarise(&reading);
    return CN_OK;
}

/* Files a run under its method and seed. */
static enum cn_status file_run(struct comparison *c, const struct compare_run *run)
{
    size_t m = 0, s = 0;
    while (m < c->n_methods && strcmp(c->method[m], run->name) != 0)
        m++;
    while (s < c->n_seeds && c->seed[s] != run->seed)
        s++;
    const struct compare_run *other = m < c->n_methods ? compare_find(c, m, run->seed) : NULL;
    if (other)
        return cn_fail(CN_ERR_DATA, "%s and %s both have run.name=%s and run.seed=%lld",
                       other->folder, run->folder, run->name, (long long)run->seed);
    if (m == c->n_methods) c->method[c->n_methods++] = run->name;
    if (s == c->n_seeds) c->seed[c->n_seeds++] = run->seed;
    c->n++;
    return CN_OK;
}

enum cn_status compare_read(const char *const *folder, size_t n, struct cn_arena *arena,
                            struct comparison *out)
{
    struct comparison c = {.n = 0};
    CN_TRY(CN_NEW(arena, n, &c.run));
    CN_TRY(CN_NEW(arena, n, &c.method));
    CN_TRY(CN_NEW(arena, n, &c.seed));
    for (size_t i = 0; i < n; i++) {
        CN_TRY(read_run(folder[i], arena, &c.run[i]));
        CN_TRY(file_run(&c, &c.run[i]));
    }
    *out = c;
    return CN_OK;
}

const struct compare_run *compare_find(const struct comparison *c, size_t method, int64_t seed)
{
    for (size_t i = 0; i < c->n; i++)
        if (c->run[i].seed == seed && strcmp(c->run[i].name, c->method[method]) == 0)
            return &c->run[i];
    return NULL;
}

double compare_entropy(const struct comparison *c, size_t method, size_t at)
{
    double sum = 0;
    size_t n = 0;
    for (size_t s = 0; s < c->n_seeds; s++) {
        const struct compare_run *run = compare_find(c, method, c->seed[s]);
        if (!run || at >= run->entropy.n || isnan(run->entropy.value[at])) continue;
        sum += run->entropy.value[at];
        n++;
    }
    return n ? sum / (double)n : (double)NAN;
}

size_t compare_steps(const struct comparison *c)
{
    size_t steps = 0;
    for (size_t i = 0; i < c->n; i++)
        if (c->run[i].entropy.n > steps) steps = c->run[i].entropy.n;
    return steps;
}
