/* carnot selftest: is every gradient right, on this machine, with this build?
 *
 * Families of checks over everything that is registered; no file is read.  A combination that the
 * recipe refuses is counted, not skipped in silence. */
#include "../command.h"
#include "../filters/filter.h"
#include "selftest_checks.h"

#include "carnot/golden.h"
#include "carnot/log.h"
#include "carnot/nearest.h"

#include <string.h>
#include <time.h>

/* Applies the combination and checks it, or counts that it is refused. */
static enum cn_status try_spec(struct tester *tester, const struct spec *spec,
                               check_function *check)
{
    bool refused;
    CN_TRY(spec_apply(spec, &tester->trial, &refused));
    tester->refused += refused;
    tester->cases += !refused;
    return refused ? CN_OK : check(tester, spec);
}

/* ---- which combinations -------------------------------------------------- */

/* Rows x aggregations x entropy methods, and rows x aggregations x divergences. */
static enum cn_status over_rows(struct tester *tester, check_function *check)
{
    const struct cn_plugin *const *aggregations = cn_axis_entries(CN_AXIS_aggregation);
    const struct cn_plugin *const *divergences = cn_axis_entries(CN_AXIS_kl);
    for (size_t r = 0; cn_algorithms[r]; r++)
        for (size_t a = 0; aggregations[a]; a++)
            for (size_t k = 0; divergences[k]; k++)
                for (size_t e = 0; e == 0 || (k == 0 && cn_entropies[e - 1]); e++) {
                    struct spec spec = {.row = cn_algorithms[r], .strong = true};
                    spec.axis[CN_AXIS_aggregation] = aggregations[a];
                    spec.axis[CN_AXIS_kl] = divergences[k];
                    if (e) spec.entropy = (const struct cn_plugin *)cn_entropies[e - 1];
                    CN_TRY(try_spec(tester, &spec, check));
                }
    return CN_OK;
}

/* Every entry of the axis pairs whose functions meet in the loss, under the first row. */
static enum cn_status over_axes(struct tester *tester, check_function *check)
{
    static const enum cn_axis_index pairs[][2] = {{CN_AXIS_ratio, CN_AXIS_surrogate},
                                                  {CN_AXIS_surrogate, CN_AXIS_correction},
                                                  {CN_AXIS_advantage, CN_AXIS_critic},
                                                  {CN_AXIS_advantage, CN_AXIS_surrogate},
                                                  {CN_AXIS_critic, CN_AXIS_aggregation}};
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++) {
        const struct cn_plugin *const *first = cn_axis_entries(pairs[p][0]);
        const struct cn_plugin *const *second = cn_axis_entries(pairs[p][1]);
        for (size_t i = 0; first[i]; i++)
            for (size_t j = 0; second[j]; j++) {
                struct spec spec = {.row = cn_algorithms[0], .strong = true};
                spec.axis[pairs[p][0]] = first[i];
                spec.axis[pairs[p][1]] = second[j];
                CN_TRY(try_spec(tester, &spec, check));
            }
    }
    return CN_OK;
}

/* ---- families ------------------------------------------------------------ */

static enum cn_status over_everything(struct tester *tester, check_function *check)
{
    CN_TRY(over_rows(tester, check));
    return over_axes(tester, check);
}

static enum cn_status over_bare_rows(struct tester *tester, check_function *check)
{
    const struct cn_plugin *const *aggregations = cn_axis_entries(CN_AXIS_aggregation);
    for (size_t r = 0; cn_algorithms[r]; r++)
        for (size_t a = 0; aggregations[a]; a++) {
            struct spec spec = {.row = cn_algorithms[r]};
            spec.axis[CN_AXIS_aggregation] = aggregations[a];
            spec.axis[CN_AXIS_kl] = cn_axis_entries(CN_AXIS_kl)[0]; /* none */
            CN_TRY(try_spec(tester, &spec, check));
        }
    return CN_OK;
}

static enum cn_status over_ratios(struct tester *tester, check_function *check)
{
    const struct cn_plugin *const *ratios = cn_axis_entries(CN_AXIS_ratio);
    const struct cn_plugin *const *surrogates = cn_axis_entries(CN_AXIS_surrogate);
    CN_TRY(over_bare_rows(tester, check));
    for (size_t i = 0; ratios[i]; i++)
        for (size_t j = 0; surrogates[j]; j++) {
            struct spec spec = {.row = cn_algorithms[0]};
            spec.axis[CN_AXIS_ratio] = ratios[i];
            spec.axis[CN_AXIS_surrogate] = surrogates[j];
            CN_TRY(try_spec(tester, &spec, check));
        }
    return CN_OK;
}

/* What a setting did to a combination. */
struct effect {
    bool changed, refused;
};

static enum cn_status acts(struct tester *tester, struct spec *spec,
                           const struct spec_setting *setting, uint64_t before, struct effect *out)
{
    uint64_t after;
    bool refused;
    spec->setting[spec->n_settings++] = *setting;
    enum cn_status status = spec_apply(spec, &tester->trial, &refused);
    if (status == CN_OK && !refused) {
        status = trial_signature(&tester->trial, &after);
        refused = status == CN_ERR_CONFIG;
        out->changed = status == CN_OK && after != before;
        if (refused) {
            cn_fail_clear();
            status = CN_OK;
        }
    }
    out->refused = refused;
    spec->n_settings--;
    return status;
}

enum { CANDIDATES = 16 };

/* The option that is tried; done: one of its values acts, or all are refused. */
struct try_option {
    const struct cn_plugin *owner;
    const struct cn_option *option;
    bool *done;
};

static enum cn_status try_values(struct tester *tester, struct spec *spec,
                                 const struct try_option *try)
{
    struct spec_setting values[CANDIDATES];
    size_t n = spec_candidates(try->owner, try->option, values, CANDIDATES), n_refused = 0;
    uint64_t before;
    bool refused;
    CN_TRY(spec_apply(spec, &tester->trial, &refused));
    if (refused) return CN_OK;
    enum cn_status status = trial_signature(&tester->trial, &before);
    if (status == CN_ERR_CONFIG) {
        cn_fail_clear();
        return CN_OK;
    }
    CN_TRY(status);
    for (size_t i = 0; i < n && !*try->done; i++) {
        struct effect effect = {false, false};
        CN_TRY(acts(tester, spec, &values[i], before, &effect));
        n_refused += effect.refused;
        *try->done = effect.changed;
    }
    if (n > 0 && n_refused == n) *try->done = true;
    return CN_OK;
}

/* An option that acts only beside `more` others is tried with values of each of them. */
static enum cn_status try_beside(struct tester *tester, struct spec *spec,
                                 const struct try_option *try, const struct cn_option *from,
                                 size_t more)
{
    if (more == 0) return try_values(tester, spec, try);
    for (const struct cn_option *o = from; o->name && !*try->done; o++) {
        struct spec_setting values[CANDIDATES];
        size_t n = o == try->option ? 0 : spec_candidates(try->owner, o, values, CANDIDATES);
        for (size_t i = 0; i < n && !*try->done; i++) {
            spec->setting[spec->n_settings++] = values[i];
            CN_TRY(try_beside(tester, spec, try, o + 1, more - 1));
            spec->n_settings--;
        }
    }
    return CN_OK;
}

static enum cn_status check_options(struct tester *tester, struct spec *spec,
                                    const struct cn_plugin *owner)
{
    for (const struct cn_option *o = owner->options; o && o->name; o++) {
        bool done = false;
        const struct try_option try = {owner, o, &done};
        for (size_t others = 0; others < SPEC_SETTINGS && !done; others++)
            CN_TRY(try_beside(tester, spec, &try, owner->options, others));
        tester->cases++;
        if (!done) {
            struct cn_str text = {0};
            CN_TRY(spec_describe(spec, &text));
            enum cn_status status =
                cn_fail(CN_ERR_BUG, "selftest: %s: option %s changes nothing and is not refused",
                        text.data, o->name);
            cn_str_free(&text);
            return status;
        }
    }
    return CN_OK;
}

/* Completes a combination that is refused by one entry of another axis that makes it allowed. */
static enum cn_status complete(struct tester *tester, struct spec *spec, bool *found)
{
    bool refused;
    CN_TRY(spec_apply(spec, &tester->trial, &refused));
    *found = !refused;
    for (int a = 0; a < CN_AXIS_COUNT && !*found; a++) {
        if (spec->axis[a]) continue;
        const struct cn_plugin *const *entries = cn_axis_entries((enum cn_axis_index)a);
        for (size_t i = 0; entries[i] && !*found; i++) {
            spec->axis[a] = entries[i];
            CN_TRY(spec_apply(spec, &tester->trial, &refused));
            *found = !refused;
        }
        if (!*found) spec->axis[a] = NULL;
    }
    return CN_OK;
}

static enum cn_status options_of(struct tester *tester, struct spec spec,
                                 const struct cn_plugin *owner)
{
    bool found;
    CN_TRY(complete(tester, &spec, &found));
    tester->refused += !found; /* an entry that is refused everywhere */
    return found ? check_options(tester, &spec, owner) : CN_OK;
}

static enum cn_status over_options(struct tester *tester, check_function *unused)
{
    (void)unused;
    for (int a = 0; a < CN_AXIS_COUNT; a++) {
        const struct cn_plugin *const *entries = cn_axis_entries((enum cn_axis_index)a);
        for (size_t i = 0; entries[i]; i++) {
            struct spec spec = {.row = cn_algorithms[0]};
            spec.axis[a] = entries[i];
            CN_TRY(options_of(tester, spec, entries[i]));
        }
    }
    for (size_t i = 0; cn_shaping_entries()[i]; i++) {
        struct spec spec = {.row = cn_algorithms[0], .shaping = cn_shaping_entries()[i]};
        CN_TRY(options_of(tester, spec, spec.shaping));
    }
    for (size_t i = 0; cn_entropies[i]; i++) {
        struct spec spec = {.row = cn_algorithms[0],
                            .entropy = (const struct cn_plugin *)cn_entropies[i]};
        CN_TRY(options_of(tester, spec, spec.entropy));
    }
    return CN_OK;
}

static enum cn_status over_goldens(struct tester *tester, check_function *unused)
{
    (void)unused;
    for (const struct cn_golden *const *table = cn_goldens; *table; table++)
        for (const struct cn_golden *g = *table; g->name; g++, tester->cases++)
            CN_TRY(golden_check(g, &tester->worst));
    return CN_OK;
}

/* ---- the command --------------------------------------------------------- */

static const struct family {
    const char *name, *what;
    enum cn_status (*over)(struct tester *tester, check_function *check);
    check_function *check;
} families[] = {
    {"golden", "the references' numbers", over_goldens, NULL},
    {"gradient", "every slope against central differences", over_everything, check_differences},
    {"on-policy", "without a move, the gradient is -c A", over_ratios, check_identity},
    {"mask", "NaN at untrained tokens changes no bit", over_everything, check_mask},
    {"split", "atoms of one sequence change no bit", over_everything, check_split},
    {"permutation", "the order of sequences changes nothing", over_everything, check_permutation},
    {"scale", "twice the advantage, twice the gradient", over_bare_rows, check_scale},
    {"options", "every option acts or is refused", over_options, NULL},
};

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static enum cn_status run_family(const struct family *family)
{
    struct tester tester;
    struct cn_str line = {0};
    double start = seconds();
    memset(&tester, 0, sizeof tester);
    enum cn_status status = trial_open(&tester.trial, NULL);
    if (status == CN_OK) status = family->over(&tester, family->check);
    if (status == CN_OK)
        status = cn_str_format(&line, "%-12s %-42s %6zu cases %5zu refused  worst %.1e  %5.2f s\n",
                               family->name, family->what, tester.cases, tester.refused,
                               tester.worst, seconds() - start);
    if (status == CN_OK && tester.cases == 0)
        status = cn_fail(CN_ERR_BUG, "selftest: family %s had nothing to check", family->name);
    if (status == CN_OK) status = filter_write(cn_str_text(&line));
    cn_str_free(&line);
    trial_close(&tester.trial);
    return status;
}

/* Runs the family of that name. */
static enum cn_status run_named(const char *name)
{
    struct cn_nearest nearest = {.word = name};
    for (size_t i = 0; i < sizeof families / sizeof *families; i++) {
        if (strcmp(families[i].name, name) == 0) return run_family(&families[i]);
        cn_nearest_offer(&nearest, families[i].name);
    }
    const char *best = cn_nearest_found(&nearest);
    return cn_fail(CN_ERR_CONFIG, "selftest has no family \"%s\"%s%s%s", name,
                   best ? "; did you mean \"" : "", best ? best : "", best ? "\"?" : "");
}

static enum cn_status run(int argc, char **argv)
{
    cn_log_level_set(CN_LOG_ERROR); /* refusals and warnings of odd combinations are expected */
    for (int i = 1; i < argc; i++)
        CN_TRY(run_named(argv[i]));
    for (size_t i = 0; argc < 2 && i < sizeof families / sizeof *families; i++)
        CN_TRY(run_family(&families[i]));
    return CN_OK;
}

const struct cn_command command_selftest = {
    .name = "selftest",
    .summary = "check every loss, gradient and option on this machine, without a file",
    .usage =
        "usage: carnot selftest [FAMILY]...\n\n"
        "Checks every algorithm, aggregation, entropy method and divergence, every entry of\n"
        "every axis, and every option, in well under 30 s.  One line per family; the exit\n"
        "code is 0, or the failing case is printed with both numbers.  With names of families,\n"
        "only those run.\n",
    .run = run,
};
