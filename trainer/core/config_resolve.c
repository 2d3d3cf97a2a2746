/* The resolved configuration: every value that somebody reads, whether it was given, preset or a
 * default. */
#include "config_canonical.h"
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

struct walk {
    struct config *config;
    enum cn_status (*visit)(void *self, const struct config_value *value);
    void *self;
};

/* ---- one value ----------------------------------------------------------- */

/* Hands one value on.  `given` may be NULL; preset and fallback are JSON text or NULL. */
static enum cn_status emit(struct walk *walk, struct config_value value,
                           const struct cn_json *given, const char *preset, const char *fallback)
{
    struct cn_json *otherwise = NULL;
    const char *text = preset ? preset : fallback;
    char row_name[CONFIG_PATH_MAX];
    if (text) CN_TRY(cn_json_parse(cn_text(text), value.path, &otherwise));
    value.otherwise = otherwise;
    value.value = given ? given : otherwise;
    if (given) {
        const struct config_origin *origin = config_origin(walk->config, value.path);
        value.source = origin && origin->from_override ? CONFIG_FROM_OVERRIDE : CONFIG_FROM_FILE;
        value.where = origin ? origin->where : "given";
    } else if (preset) {
        const struct config_schema *schema = walk->config->schema;
        const char *row;
        CN_TRY(config_picked(walk->config, config_schema_section(schema, schema->preset_section),
                             schema->preset_section, &row));
        snprintf(row_name, sizeof row_name, "preset %s", row);
        value.source = CONFIG_FROM_PRESET;
        value.where = row_name;
    } else {
        value.source = CONFIG_FROM_DEFAULT;
        value.where = "default";
    }
    enum cn_status status = value.value ? walk->visit(walk->self, &value) : CN_OK;
    cn_json_close(otherwise);
    return status;
}

static enum cn_status emit_option(struct walk *walk, const char *path,
                                  const struct cn_option *option)
{
    char full[CONFIG_PATH_MAX];
    const char *preset;
    CN_TRY(config_join(path, option->name, full));
    CN_TRY(config_preset(walk->config, full, &preset));
    const struct cn_json *given = config_find(walk->config->root, full);
    if (given && cn_json_kind(given) == CN_JSON_NULL && !option->nullable) given = NULL;
    struct config_value value = {.path = full, .option = option};
    return emit(walk, value, given, preset, option->fallback);
}

static enum cn_status emit_table(struct walk *walk, const char *path, const struct cn_option *table)
{
    for (const struct cn_option *o = table; o && o->name; o++)
        CN_TRY(emit_option(walk, path, o));
    return CN_OK;
}

/* ---- sections ------------------------------------------------------------ */

static enum cn_status emit_type(struct walk *walk, const struct config_section *section,
                                const char *path)
{
    char full[CONFIG_PATH_MAX];
    struct cn_str quoted = {0};
    const char *preset = NULL;
    CN_TRY(config_join(path, "type", full));
    if (section->form == CONFIG_PICK) CN_TRY(config_preset(walk->config, path, &preset));
    const char *otherwise = preset ? preset : section->fallback;
    if (otherwise) CN_TRY(cn_json_quote(&quoted, cn_text(otherwise)));
    struct config_value value = {.path = full};
    enum cn_status status = emit(walk, value, config_find(walk->config->root, full),
                                 preset ? quoted.data : NULL, quoted.data);
    cn_str_free(&quoted);
    return status;
}

static enum cn_status emit_pick(struct walk *walk, const struct config_section *section,
                                const char *path)
{
    const char *type;
    CN_TRY(config_picked(walk->config, section, path, &type));
    if (!*type) return CN_OK;
    const struct config_entry *entry = config_schema_entry(section, type);
    CN_TRY(emit_type(walk, section, path));
    CN_TRY(emit_table(walk, path, section->options));
    return emit_table(walk, path, entry ? entry->options : NULL);
}

/* A value that a preset's list sets; `json` may be NULL: the option's own default. */
static enum cn_status emit_preset(struct walk *walk, const char *path, const char *name,
                                  const struct cn_option *option, const struct cn_json *json)
{
    char full[CONFIG_PATH_MAX];
    struct cn_str text = {0};
    CN_TRY(config_join(path, name, full));
    struct config_value value = {.path = full, .option = option};
    enum cn_status status = json ? cn_json_print(json, false, &text) : CN_OK;
    if (status == CN_OK)
        status = emit(walk, value, NULL, text.data, option ? option->fallback : NULL);
    cn_str_free(&text);
    return status;
}

static enum cn_status emit_preset_item(struct walk *walk, const struct config_section *section,
                                       const char *path, const struct cn_json *item)
{
    const struct cn_json *type = cn_json_get(item, "type");
    const struct config_entry *entry = config_schema_entry(section, cn_json_text(type).data);
    CN_BUG_IF(!entry);
    CN_TRY(emit_preset(walk, path, "type", NULL, type));
    for (const struct cn_option *o = section->options; o && o->name; o++)
        CN_TRY(emit_preset(walk, path, o->name, o, cn_json_get(item, o->name)));
    for (const struct cn_option *o = entry->options; o && o->name; o++)
        CN_TRY(emit_preset(walk, path, o->name, o, cn_json_get(item, o->name)));
    return CN_OK;
}

static enum cn_status emit_preset_list(struct walk *walk, const struct config_section *section,
                                       const char *json)
{
    struct cn_json *given, *list = NULL;
    size_t index = 0;
    char path[CONFIG_PATH_MAX], number[24];
    CN_TRY(cn_json_parse(cn_text(json), section->path, &given));
    enum cn_status status = config_canonical(walk->config->schema, section->path, given, &list);
    cn_json_close(given);
    CN_TRY(status);
    for (const struct cn_json *n = cn_json_first(list); n && status == CN_OK;
         n = cn_json_next(n), index++) {
        snprintf(number, sizeof number, "%zu", index);
        status = config_join(section->path, number, path);
        if (status == CN_OK) status = emit_preset_item(walk, section, path, n);
    }
    cn_json_close(list);
    return status;
}

static enum cn_status emit_list(struct walk *walk, const struct config_section *section)
{
    const struct cn_json *list = config_find(walk->config->root, section->path);
    size_t count = cn_json_count(list);
    const char *preset;
    CN_TRY(config_preset(walk->config, section->path, &preset));
    struct config_value whole = {.path = section->path};
    if (!list && preset) return emit_preset_list(walk, section, preset);
    if (!list && section->fallback) count = 1;
    if (!count) return emit(walk, whole, list, preset, "[]");
    for (size_t i = 0; i < count; i++) {
        char number[24], path[CONFIG_PATH_MAX];
        snprintf(number, sizeof number, "%zu", i);
        CN_TRY(config_join(section->path, number, path));
        CN_TRY(emit_pick(walk, section, path));
    }
    return CN_OK;
}

static enum cn_status emit_named(struct walk *walk, const struct config_section *section)
{
    CN_TRY(emit_table(walk, section->path, section->options));
    for (size_t i = 0; i < section->n_entries; i++) {
        char path[CONFIG_PATH_MAX];
        if (!config_named(walk->config, section, section->entries[i].name)) continue;
        CN_TRY(config_join(section->path, section->entries[i].name, path));
        CN_TRY(emit_table(walk, path, section->entries[i].options));
    }
    return CN_OK;
}

enum cn_status config_each(struct config *config,
                           enum cn_status (*visit)(void *self, const struct config_value *value),
                           void *self)
{
    struct walk walk = {config, visit, self};
    for (size_t i = 0; i < config->schema->n_sections; i++) {
        const struct config_section *section = &config->schema->sections[i];
        if (section->form == CONFIG_PICK)
            CN_TRY(emit_pick(&walk, section, section->path));
        else if (section->form == CONFIG_LIST)
            CN_TRY(emit_list(&walk, section));
        else if (section->form == CONFIG_NAMED)
            CN_TRY(emit_named(&walk, section));
        else
            CN_TRY(emit_table(&walk, section->path, section->options));
    }
    return CN_OK;
}

/* ---- what is made of it -------------------------------------------------- */

static enum cn_status store_value(void *self, const struct config_value *value)
{
    struct cn_json *copy;
    CN_TRY(cn_json_copy(value->value, &copy));
    return config_store(self, value->path, copy);
}

enum cn_status config_resolve(struct config *config, struct cn_json **out)
{
    struct cn_json *root;
    CN_TRY(cn_json_new(CN_JSON_OBJECT, &root));
    enum cn_status status = config_each(config, store_value, root);
    if (status != CN_OK)
        cn_json_close(root);
    else
        *out = root;
    return status;
}

enum cn_status config_print_resolved(struct config *config, struct cn_str *out)
{
    struct cn_json *root;
    CN_TRY(config_resolve(config, &root));
    enum cn_status status = cn_json_print(root, true, out);
    cn_json_close(root);
    return status == CN_OK ? cn_str_append(out, "\n", 1) : status;
}

static enum cn_status print_change(void *self, const struct config_value *value)
{
    struct cn_str *out = self, now = {0}, before = {0};
    enum cn_status status;
    if (value->source < CONFIG_FROM_FILE) return CN_OK;
    CN_TRY_GOTO(cn_json_print(value->value, false, &now), out);
    if (value->otherwise) CN_TRY_GOTO(cn_json_print(value->otherwise, false, &before), out);
    if (!value->otherwise)
        status = cn_str_format(out, "%s = %s (%s)\n", value->path, now.data, value->where);
    else if (strcmp(now.data, before.data) != 0)
        status = cn_str_format(out, "%s = %s (%s; otherwise %s)\n", value->path, now.data,
                               value->where, before.data);
out:
    cn_str_free(&before);
    cn_str_free(&now);
    return status;
}

enum cn_status config_print_changes(struct config *config, struct cn_str *out)
{
    return config_each(config, print_change, out);
}

static enum cn_status print_value(void *self, const struct config_value *value)
{
    struct cn_str *out = self, text = {0};
    enum cn_status status;
    CN_TRY_GOTO(cn_json_print(value->value, false, &text), out);
    status = cn_str_format(out, "%-36s %-28s %s\n", value->path, text.data, value->where);
out:
    cn_str_free(&text);
    return status;
}

enum cn_status config_print_values(struct config *config, struct cn_str *out)
{
    return config_each(config, print_value, out);
}
