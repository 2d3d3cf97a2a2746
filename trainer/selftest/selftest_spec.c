/* Combinations as JSON text. */
#include "selftest_spec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

static const char *const coefficient = "coefficient";

static enum cn_status put_settings(const struct spec *spec, const struct cn_plugin *owner,
                                   struct cn_str *out)
{
    bool own = false;
    for (size_t i = 0; i < spec->n_settings; i++) {
        const struct spec_setting *setting = &spec->setting[i];
        if (setting->owner != owner) continue;
        own = own || strcmp(setting->option->name, coefficient) == 0;
        CN_TRY(cn_str_format(out, ", \"%s\": %s", setting->option->name, setting->value));
    }
    if (spec->strong && !own && cn_option_find(owner->options, coefficient))
        CN_TRY(cn_str_format(out, ", \"%s\": 0.3", coefficient));
    return CN_OK;
}

static enum cn_status put_plugin(const struct spec *spec, const struct cn_plugin *plugin,
                                 struct cn_str *out)
{
    CN_TRY(cn_str_format(out, "{\"type\": \"%s\"", plugin->name));
    CN_TRY(put_settings(spec, plugin, out));
    return cn_str_add(out, "}");
}

static enum cn_status write_algorithm(const struct spec *spec, struct cn_str *out)
{
    CN_TRY(cn_str_format(out, "{\"type\": \"%s\"", spec->row->name));
    for (int a = 0; a < CN_AXIS_COUNT; a++) {
        if (!spec->axis[a]) continue;
        CN_TRY(cn_str_format(out, ", \"%s\": ", cn_axis_name((enum cn_axis_index)a)));
        CN_TRY(put_plugin(spec, spec->axis[a], out));
    }
    if (spec->shaping) {
        CN_TRY(cn_str_add(out, ", \"shaping\": ["));
        CN_TRY(put_plugin(spec, spec->shaping, out));
        CN_TRY(cn_str_add(out, "]"));
    }
    return cn_str_add(out, "}");
}

static enum cn_status write_entropy(const struct spec *spec, struct cn_str *out)
{
    CN_TRY(cn_str_add(out, "{\"methods\": ["));
    if (spec->entropy) CN_TRY(put_plugin(spec, spec->entropy, out));
    return cn_str_add(out, "]}");
}

enum cn_status spec_describe(const struct spec *spec, struct cn_str *out)
{
    CN_TRY(cn_str_add(out, spec->row->name));
    for (int a = 0; a < CN_AXIS_COUNT; a++)
        if (spec->axis[a])
            CN_TRY(cn_str_format(out, " %s=%s", cn_axis_name((enum cn_axis_index)a),
                                 spec->axis[a]->name));
    if (spec->shaping) CN_TRY(cn_str_format(out, " shaping=%s", spec->shaping->name));
    if (spec->entropy) CN_TRY(cn_str_format(out, " entropy=%s", spec->entropy->name));
    for (size_t i = 0; i < spec->n_settings; i++)
        CN_TRY(cn_str_format(out, " %s.%s=%s", spec->setting[i].owner->name,
                             spec->setting[i].option->name, spec->setting[i].value));
    return CN_OK;
}

enum cn_status spec_apply(const struct spec *spec, struct trial *trial, bool *refused)
{
    struct cn_str algorithm = {0}, entropy = {0};
    enum cn_status status = write_algorithm(spec, &algorithm);
    if (status == CN_OK) status = write_entropy(spec, &entropy);
    if (status == CN_OK) status = trial_recipe(trial, algorithm.data, entropy.data);
    cn_str_free(&algorithm);
    cn_str_free(&entropy);
    *refused = status == CN_ERR_CONFIG;
    if (!*refused) return status;
    cn_fail_clear();
    return CN_OK;
}

/* ---- other values of an option ------------------------------------------- */

/* Numbers that are tried, besides multiples of the default. */
static const double numbers[] = {0.05, 0.3, 0.5, 0.9, 1, 1.5, 2, 3, 8, 0, -1};

static bool allowed(const struct cn_option *option, double value)
{
    if (option->kind == CN_OPTION_INT && value != floor(value)) return false;
    if (option->minimum == 0 && option->maximum == 0) return true;
    return value >= option->minimum && value <= option->maximum;
}

static void put_number(const struct cn_plugin *owner, const struct cn_option *option, double value,
                       struct spec_setting *out)
{
    *out = (struct spec_setting){.owner = owner, .option = option};
    snprintf(out->value, sizeof out->value, "%.17g", value);
}

static size_t words(const struct cn_plugin *owner, const struct cn_option *option,
                    struct spec_setting *out, size_t limit)
{
    size_t n = 0;
    for (const char *w = option->choices; w && *w && n < limit;) {
        size_t length = strcspn(w, " ");
        out[n] = (struct spec_setting){.owner = owner, .option = option};
        snprintf(out[n].value, sizeof out[n].value, "\"%.*s\"", (int)length, w);
        if (strcmp(out[n].value, option->fallback) != 0) n++;
        w += length + strspn(w + length, " ");
    }
    return n;
}

size_t spec_candidates(const struct cn_plugin *owner, const struct cn_option *option,
                       struct spec_setting *out, size_t limit)
{
    size_t n = 0;
    double usual = NAN;
    if (option->kind == CN_OPTION_CHOICE) return words(owner, option, out, limit);
    if (option->kind == CN_OPTION_BOOL && limit) {
        out[0] = (struct spec_setting){.owner = owner, .option = option};
        strcpy(out[0].value, strcmp(option->fallback, "true") == 0 ? "false" : "true");
        return 1;
    }
    if (option->kind != CN_OPTION_REAL && option->kind != CN_OPTION_INT) return 0;
    if (sscanf(option->fallback, "%lf", &usual) == 1) {
        static const double factors[] = {0.25, 0.5, 2, 4, 100};
        for (size_t i = 0; i < sizeof factors / sizeof *factors && n < limit; i++)
            if (usual != 0 && allowed(option, usual * factors[i]))
                put_number(owner, option, usual * factors[i], &out[n++]);
    }
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers && n < limit; i++)
        if (numbers[i] != usual && allowed(option, numbers[i]))
            put_number(owner, option, numbers[i], &out[n++]);
    return n;
}
