/* Golden vectors through the same functions as `carnot gradient`. */
#include "../filters/gradient_step.h"
#include "selftest_checks.h"

#include "carnot/golden.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* One vector while it is compared. */
struct comparing {
    const struct cn_golden *golden;
    struct cn_arena recipe_arena, arena, scratch;
    struct cn_recipe recipe;
    struct gradient_step step;
    double worst;
};

static enum cn_status differs(const struct comparing *c, const char *what, double found,
                              double expected)
{
    return cn_fail(CN_ERR_BUG, "selftest: golden vector %s: %s is %.17g, expected %.17g",
                   c->golden->name, what, found, expected);
}

static enum cn_status compare(struct comparing *c, const char *what, double found, double expected)
{
    const double error = fabs(found - expected);
    c->worst = fmax(c->worst, error);
    return error <= c->golden->tolerance ? CN_OK : differs(c, what, found, expected);
}

/* The array that the output calls so; NULL if there is none. */
static const double *array_of(const struct gradient_step *step, const char *key)
{
    const struct cn_token_grad *grad = &step->grad;
#define X(name, text)                                                                              \
    if (strcmp(key, "d_" #name) == 0) return grad->d_##name;
    CN_LIVE(X)
#undef X
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (strcmp(cn_column_table[c].name, key) == 0 && cn_column_table[c].is_double)
            return cn_batch_column(&step->in.batch, (enum cn_column)c);
    return NULL;
}

static enum cn_status compare_array(struct comparing *c, const struct cn_json *list)
{
    const double *found = array_of(&c->step, cn_json_key(list));
    char what[96];
    size_t t = 0;
    if (!found || cn_json_count(list) != c->step.in.batch.n_tokens)
        return cn_fail(CN_ERR_BUG, "golden vector %s: no array %s of this length", c->golden->name,
                       cn_json_key(list));
    for (const struct cn_json *v = cn_json_first(list); v; v = cn_json_next(v), t++) {
        snprintf(what, sizeof what, "%s[%zu]", cn_json_key(list), t);
        CN_TRY(compare(c, what, found[t], cn_json_number(v)));
    }
    return CN_OK;
}

static enum cn_status compare_all(struct comparing *c, const struct cn_json *expected)
{
    for (const struct cn_json *n = cn_json_first(expected); n; n = cn_json_next(n)) {
        if (cn_json_kind(n) == CN_JSON_LIST) CN_TRY(compare_array(c, n));
        if (cn_json_kind(n) == CN_JSON_NUMBER)
            CN_TRY(compare(c, "the loss", c->step.grad.loss, cn_json_number(n)));
        if (cn_json_kind(n) != CN_JSON_OBJECT) continue;
        for (const struct cn_json *m = cn_json_first(n); m; m = cn_json_next(m))
            CN_TRY(compare(c, cn_json_key(m),
                           cn_metrics_value(&c->step.metrics, cn_json_key(m), NAN),
                           cn_json_number(m)));
    }
    return CN_OK;
}

enum { ALGORITHM, ENTROPY, BATCH, EXPECTED, TEXTS };

static enum cn_status run(struct comparing *c, struct cn_json *json[TEXTS])
{
    const struct cn_golden *g = c->golden;
    const char *const texts[TEXTS] = {g->algorithm, g->entropy, g->batch, g->expected};
    for (int i = 0; i < TEXTS; i++)
        if (texts[i]) CN_TRY(cn_json_parse(cn_text(texts[i]), g->name, &json[i]));
    CN_TRY(cn_recipe_read(json[ALGORITHM], json[ENTROPY], &c->recipe_arena, &c->recipe));
    const struct gradient_setup setup = {
        .recipe = &c->recipe, .length_max = 4, .arena = &c->arena, .scratch = &c->scratch};
    CN_TRY(gradient_step_run(&setup, json[BATCH], &c->step));
    return compare_all(c, json[EXPECTED]);
}

enum cn_status golden_check(const struct cn_golden *golden, double *worst)
{
    struct comparing c = {.golden = golden};
    struct cn_json *json[TEXTS] = {NULL};
    cn_arena_init(&c.recipe_arena);
    cn_arena_init(&c.arena);
    cn_arena_init(&c.scratch);
    enum cn_status status = run(&c, json);
    for (int i = 0; i < TEXTS; i++)
        cn_json_close(json[i]);
    cn_arena_free(&c.recipe_arena);
    cn_arena_free(&c.arena);
    cn_arena_free(&c.scratch);
    *worst = fmax(*worst, c.worst);
    return status == CN_OK ? CN_OK : cn_fail_context(status, "golden vector %s", golden->name);
}
