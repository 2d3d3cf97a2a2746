/* Options whose values are lists or objects of their own: data.train, data.eval, model.frozen. */
#include "settings.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

// clang-format off
#define FIELD(type, field) .name = #field, .offset = offsetof(struct type, field)
#define TEXT_OR_NULL .kind = CN_OPTION_TEXT, .fallback = "null", .nullable = true

static const struct cn_option train_options[] = {
    {FIELD(settings_train_file, path), TEXT_OR_NULL, .help = "file of rows"},
    {FIELD(settings_train_file, weight), .kind = CN_OPTION_REAL, .minimum = 1e-9, .maximum = 1e9, .fallback = "1", .help = "share in the mixture"},
    {0}};

static const struct cn_option eval_options[] = {
    {FIELD(settings_eval_set, name), TEXT_OR_NULL, .help = "of its metrics and of its file in eval/"},
    {FIELD(settings_eval_set, path), TEXT_OR_NULL, .help = "file of rows; null: generated tasks"},
    {FIELD(settings_eval_set, tasks), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 10000000, .fallback = "0", .help = "the first N; 0: all rows, or 256 generated tasks"},
    {0}};

static const struct cn_option frozen_options[] = {
    {FIELD(settings_frozen, reference), TEXT_OR_NULL, .help = "folder of the reference; null: the start weights"},
    {FIELD(settings_frozen, replace_every), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 1e9, .fallback = "0", .unit = "rollout steps", .help = "the policy becomes the reference each time; 0: never"},
    {0}};
// clang-format on

enum { NAME_MAX_LENGTH = 64 };

static enum cn_status check_list(const struct cn_json *list, const char *path, const char *example)
{
    if (cn_json_kind(list) == CN_JSON_NULL || cn_json_kind(list) == CN_JSON_LIST) return CN_OK;
    return cn_fail(CN_ERR_CONFIG, "%s must be a list: %s", path, example);
}

enum cn_status settings_train_files(const struct data_settings *data, struct cn_arena *arena,
                                    struct settings_train_file **out, size_t *n)
{
    size_t i = 0;
    CN_TRY(check_list(data->train, "data.train", "[{\"path\": FILE, \"weight\": 1}]"));
    *n = cn_json_count(data->train);
    CN_TRY(CN_NEW(arena, *n, out));
    for (const struct cn_json *e = cn_json_first(data->train); e; e = cn_json_next(e), i++) {
        char path[48];
        struct settings_train_file *file = &(*out)[i];
        snprintf(path, sizeof path, "data.train.%zu", i);
        const bool bare = cn_json_kind(e) == CN_JSON_TEXT;
        CN_TRY(cn_option_read(train_options, bare ? NULL : e, path, NULL, arena, file));
        if (bare) file->path = cn_json_text(e).data;
        if (!file->path || !file->path[0])
            return cn_fail(CN_ERR_CONFIG, "%s.path is missing: which file is to be read?", path);
    }
    return CN_OK;
}

/* A name becomes part of metrics and of a file's name. */
static enum cn_status check_name(const struct settings_eval_set *sets, size_t i)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.";
    const char *name = sets[i].name;
    if (!name)
        return cn_fail(CN_ERR_CONFIG,
                       "data.eval.%zu.name is missing: its metrics are eval/<name>/...", i);
    const size_t length = strlen(name);
    if (!length || length > NAME_MAX_LENGTH || name[0] == '.' || strspn(name, allowed) != length)
        return cn_fail(CN_ERR_CONFIG,
                       "data.eval.%zu.name=\"%.80s\": a name has 1 to %d letters, digits, '_', '-' "
                       "and '.', and does not begin with '.'",
                       i, name, NAME_MAX_LENGTH);
    for (size_t j = 0; j < i; j++)
        if (strcmp(sets[j].name, name) == 0)
            return cn_fail(CN_ERR_CONFIG, "data.eval.%zu and data.eval.%zu are both named \"%s\"",
                           j, i, name);
    return CN_OK;
}

enum cn_status settings_eval_sets(const struct data_settings *data, struct cn_arena *arena,
                                  struct settings_eval_set **out, size_t *n)
{
    size_t i = 0;
    CN_TRY(check_list(data->eval, "data.eval",
                      "[{\"name\": \"test\", \"path\": FILE}] or [{\"name\": \"held_out\", "
                      "\"tasks\": N}]"));
    *n = cn_json_count(data->eval);
    CN_TRY(CN_NEW(arena, *n, out));
    for (const struct cn_json *e = cn_json_first(data->eval); e; e = cn_json_next(e), i++) {
        char path[48];
        snprintf(path, sizeof path, "data.eval.%zu", i);
        CN_TRY(cn_option_read(eval_options, e, path, NULL, arena, &(*out)[i]));
        CN_TRY(check_name(*out, i));
    }
    return CN_OK;
}

enum cn_status settings_frozen(const struct model_settings *model, struct cn_arena *arena,
                               struct settings_frozen *out)
{
    return cn_option_read(frozen_options, model->frozen, "model.frozen", NULL, arena, out);
}
