/* Every key of a merged configuration is known, its value fits, and somebody reads it. */
#include "carnot/log.h"
#include "carnot/nearest.h"
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

/* Where in the tree, and by which rules. */
struct place {
    struct config *config;
    const struct config_section *section;
    const char *path; /* of the object: the section's, an item's, or a named entry's */
    const struct config_entry *entry; /* what is picked; may be NULL */
};

/* ---- what is chosen ------------------------------------------------------ */

enum cn_status config_preset(struct config *config, const char *path, const char **out)
{
    const struct config_schema *schema = config->schema;
    *out = NULL;
    size_t length = schema->preset_section ? strlen(schema->preset_section) : 0;
    if (!length || strncmp(path, schema->preset_section, length) != 0 || path[length] != '.')
        return CN_OK;
    const char *row, *rest, *picked, *of_row;
    CN_TRY(config_picked(config, config_schema_section(schema, schema->preset_section),
                         schema->preset_section, &row));
    const struct config_section *section = config_schema_owner(schema, path, &rest);
    *out = schema->preset(row, path + length + 1);
    if (!*out || !*rest || strlen(section->path) <= length || section->form != CONFIG_PICK)
        return CN_OK;
    /* A preset's option belongs to the entry that the preset picks. */
    of_row = schema->preset(row, section->path + length + 1);
    if (!of_row) of_row = section->fallback ? section->fallback : "";
    CN_TRY(config_picked(config, section, section->path, &picked));
    if (strcmp(picked, of_row) != 0) *out = NULL;
    return CN_OK;
}

enum cn_status config_picked(struct config *config, const struct config_section *section,
                             const char *path, const char **out)
{
    const struct cn_json *type = cn_json_get(config_find(config->root, path), "type");
    const char *preset = NULL;
    *out = section->fallback ? section->fallback : "";
    if (cn_json_kind(type) == CN_JSON_TEXT) {
        *out = cn_json_text(type).data;
        return CN_OK;
    }
    if (section->form != CONFIG_PICK) return CN_OK;
    CN_TRY(config_preset(config, path, &preset));
    if (preset) *out = preset;
    return CN_OK;
}

bool config_named(const struct config *config, const struct config_section *section,
                  const char *entry)
{
    const struct cn_json *node = config_find(config->root, section->path);
    for (const struct cn_option *o = section->options; o && o->name; o++) {
        if (o->kind != CN_OPTION_TEXTS) continue;
        const struct cn_json *n = cn_json_first(cn_json_get(node, o->name));
        for (; n; n = cn_json_next(n))
            if (cn_text_is(cn_json_text(n), entry)) return true;
    }
    return false;
}

/* ---- complaints ---------------------------------------------------------- */

static const char *where(const struct config *config, const char *path)
{
    const struct config_origin *origin = config_origin(config, path);
    return origin ? origin->where : "configuration";
}

/* Offers every known key whose last part might have been meant, as a full path below some section.
 */
static const char *key_elsewhere(const struct config_schema *schema, const char *name,
                                 char out[CONFIG_PATH_MAX])
{
    struct cn_nearest nearest = {.word = name};
    const struct config_section *owner = NULL;
    for (size_t i = 0; i < schema->n_sections; i++) {
        const struct config_section *section = &schema->sections[i];
        const char *before = nearest.best;
        for (const struct cn_option *o = section->options; o && o->name; o++)
            cn_nearest_offer(&nearest, o->name);
        for (size_t e = 0; e < section->n_entries && section->form == CONFIG_PICK; e++)
            for (const struct cn_option *o = section->entries[e].options; o && o->name; o++)
                cn_nearest_offer(&nearest, o->name);
        if (nearest.best != before) owner = section;
    }
    const char *best = cn_nearest_found(&nearest);
    if (!best || !owner) return NULL;
    snprintf(out, CONFIG_PATH_MAX, "%s%s.%s", owner->path, owner->form == CONFIG_LIST ? ".0" : "",
             best);
    return out;
}

static const char *key_nearby(const struct place *place, const char *name,
                              char out[CONFIG_PATH_MAX])
{
    struct cn_nearest nearest = {.word = name};
    const struct config_schema *schema = place->config->schema;
    for (const struct cn_option *o = place->section->options; o && o->name; o++)
        cn_nearest_offer(&nearest, o->name);
    if (place->entry)
        for (const struct cn_option *o = place->entry->options; o && o->name; o++)
            cn_nearest_offer(&nearest, o->name);
    if (place->section->form == CONFIG_NAMED)
        for (size_t i = 0; i < place->section->n_entries; i++)
            cn_nearest_offer(&nearest, place->section->entries[i].name);
    for (size_t i = 0; i < schema->n_sections; i++) {
        const char *inner;
        if (config_schema_inside(&schema->sections[i], place->section, &inner))
            cn_nearest_offer(&nearest, inner);
    }
    const char *best = cn_nearest_found(&nearest);
    if (!best) return NULL;
    snprintf(out, CONFIG_PATH_MAX, "%s.%s", place->path, best);
    return out;
}

/* The section that a key at the top was meant to be. */
static const char *section_nearby(const struct config_schema *schema, const char *name)
{
    struct cn_nearest nearest = {.word = name};
    for (size_t i = 0; i < schema->n_sections; i++)
        if (!strchr(schema->sections[i].path, '.'))
            cn_nearest_offer(&nearest, schema->sections[i].path);
    return cn_nearest_found(&nearest);
}

static enum cn_status refuse_unknown(const struct place *place, const char *path, const char *name)
{
    char nearest[CONFIG_PATH_MAX];
    const char *best = place->section ? key_nearby(place, name, nearest)
                                      : section_nearby(place->config->schema, name);
    if (!best) best = key_elsewhere(place->config->schema, name, nearest);
    return cn_fail(CN_ERR_CONFIG, "%s: %s: unknown key%s%s%s (carnot config list keys)",
                   where(place->config, path), path, best ? "; nearest is \"" : "",
                   best ? best : "", best ? "\"" : "");
}

static enum cn_status refuse_entry(const struct place *place, const char *path, const char *name)
{
    struct cn_nearest nearest = {.word = name};
    struct cn_str known = {0};
    enum cn_status status = CN_OK;
    for (size_t i = 0; i < place->section->n_entries && status == CN_OK; i++) {
        cn_nearest_offer(&nearest, place->section->entries[i].name);
        status = cn_str_format(&known, "%s%s", i ? ", " : "", place->section->entries[i].name);
    }
    const char *best = cn_nearest_found(&nearest);
    if (status == CN_OK)
        status =
            cn_fail(CN_ERR_CONFIG, "%s: %s = \"%s\": there is no such entry%s%s%s; known are %s",
                    where(place->config, path), path, name, best ? "; nearest is \"" : "",
                    best ? best : "", best ? "\"" : "", known.data ? known.data : "none");
    cn_str_free(&known);
    return status;
}

/* A key that other rows know: fatal from the command line, dropped with a warning from a file. */
static enum cn_status drop_ignored(const struct place *place, const char *path, const char *reader)
{
    const struct config *config = place->config;
    char chosen[CONFIG_PATH_MAX] = "";
    if (place->section->form == CONFIG_NAMED)
        snprintf(chosen, sizeof chosen, "%s does not name %s", place->section->path, reader);
    else
        snprintf(chosen, sizeof chosen, "the chosen %s \"%s\" does not read it (%s does)",
                 place->path, place->entry ? place->entry->name : "", reader);
    if (config_overridden(config, path))
        return cn_fail(CN_ERR_CONFIG, "command line: %s: %s", path, chosen);
    cn_log_warn("%s: %s is ignored: %s", where(config, path), path, chosen);
    config_remove(place->config, path);
    return CN_OK;
}

/* ---- checks -------------------------------------------------------------- */

static enum cn_status check_option(const struct place *place, const struct cn_option *option,
                                   const struct cn_json *value)
{
    char path[CONFIG_PATH_MAX];
    enum cn_status status = cn_option_check(option, value, place->path);
    if (status != CN_ERR_CONFIG) return status;
    CN_TRY(config_join(place->path, option->name, path));
    return cn_fail_context(status, "%s", where(place->config, path));
}

/* Another entry of the section that has an option of that name. */
static const char *other_reader(const struct config_section *section, const char *name)
{
    for (size_t i = 0; i < section->n_entries; i++)
        if (cn_option_find(section->entries[i].options, name)) return section->entries[i].name;
    return NULL;
}

static bool is_inner_section(const struct place *place, const char *path)
{
    const struct config_section *inner = config_schema_section(place->config->schema, path);
    return inner && inner != place->section;
}

static enum cn_status check_members(const struct place *place, const struct cn_json *node);

static enum cn_status check_named(const struct place *place, const struct config_entry *entry,
                                  const char *path, const struct cn_json *node)
{
    if (!config_named(place->config, place->section, entry->name))
        return drop_ignored(place, path, entry->name);
    static const struct config_section plain = {.form = CONFIG_TABLE, .path = ""};
    struct place inner = {place->config, &plain, path, entry};
    return check_members(&inner, node);
}

static enum cn_status check_member(const struct place *place, const struct cn_json *member)
{
    const char *name = cn_json_key(member), *reader;
    const struct config_section *section = place->section;
    char path[CONFIG_PATH_MAX];
    CN_TRY(config_join(place->path, name, path));
    bool picks = section->form == CONFIG_PICK || section->form == CONFIG_LIST;
    if ((picks && strcmp(name, "type") == 0) || is_inner_section(place, path)) return CN_OK;
    const struct cn_option *option = cn_option_find(section->options, name);
    if (!option && place->entry) option = cn_option_find(place->entry->options, name);
    if (option) return check_option(place, option, member);
    if (section->form == CONFIG_NAMED && config_schema_entry(section, name))
        return check_named(place, config_schema_entry(section, name), path, member);
    if (picks && (reader = other_reader(section, name))) return drop_ignored(place, path, reader);
    return refuse_unknown(place, path, name);
}

static enum cn_status check_members(const struct place *place, const struct cn_json *node)
{
    if (!node) return CN_OK;
    if (cn_json_kind(node) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_CONFIG, "%s: %s: expected an object%s",
                       where(place->config, place->path), place->path,
                       place->section->form == CONFIG_PICK ? " or the name of a type" : "");
    const struct cn_json *next;
    for (const struct cn_json *m = cn_json_first(node); m; m = next) {
        next = cn_json_next(m); /* the member may be dropped */
        CN_TRY(check_member(place, m));
    }
    return CN_OK;
}

/* An object with "type": a section that picks, or an item of a list. */
static enum cn_status check_pick(struct config *config, const struct config_section *section,
                                 const char *path)
{
    const struct cn_json *node = config_find(config->root, path);
    struct place place = {config, section, path, NULL};
    const char *type;
    char type_path[CONFIG_PATH_MAX];
    CN_TRY(config_join(path, "type", type_path));
    const struct cn_json *given = cn_json_get(node, "type");
    if (given && cn_json_kind(given) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_CONFIG, "%s: %s: expected the name of a type",
                       where(config, type_path), type_path);
    CN_TRY(config_picked(config, section, path, &type));
    place.entry = config_schema_entry(section, type);
    if (*type && !place.entry) return refuse_entry(&place, type_path, type);
    bool missing = !*type || (section->form == CONFIG_LIST && !given);
    if (missing && cn_json_kind(node) == CN_JSON_OBJECT)
        return cn_fail(CN_ERR_CONFIG, "%s: %s is missing", where(config, path), type_path);
    return check_members(&place, node);
}

static enum cn_status check_list(struct config *config, const struct config_section *section)
{
    const struct cn_json *list = config_find(config->root, section->path);
    size_t count = cn_json_count(list);
    if (list && cn_json_kind(list) != CN_JSON_LIST)
        return cn_fail(CN_ERR_CONFIG, "%s: %s: expected a list", where(config, section->path),
                       section->path);
    for (size_t i = 0; i < count; i++) {
        char number[24], path[CONFIG_PATH_MAX];
        snprintf(number, sizeof number, "%zu", i);
        CN_TRY(config_join(section->path, number, path));
        CN_TRY(check_pick(config, section, path));
    }
    return CN_OK;
}

static enum cn_status check_names(struct config *config, const struct config_section *section)
{
    const struct cn_json *node = config_find(config->root, section->path);
    struct place place = {config, section, section->path, NULL};
    CN_TRY(check_members(&place, node));
    for (const struct cn_option *o = section->options; o && o->name; o++) {
        if (o->kind != CN_OPTION_TEXTS) continue;
        char path[CONFIG_PATH_MAX];
        CN_TRY(config_join(section->path, o->name, path));
        const struct cn_json *n = cn_json_first(cn_json_get(node, o->name));
        for (; n; n = cn_json_next(n))
            if (!config_schema_entry(section, cn_json_text(n).data))
                return refuse_entry(&place, path, cn_json_text(n).data);
    }
    return CN_OK;
}

static enum cn_status check_section(struct config *config, const struct config_section *section)
{
    struct place place = {config, section, section->path, NULL};
    switch (section->form) {
    case CONFIG_PICK:
        return check_pick(config, section, section->path);
    case CONFIG_LIST:
        return check_list(config, section);
    case CONFIG_NAMED:
        return check_names(config, section);
    default:
        return check_members(&place, config_find(config->root, section->path));
    }
}

enum cn_status config_check(struct config *config)
{
    const struct config_schema *schema = config->schema;
    struct place top = {.config = config, .path = ""};
    for (const struct cn_json *m = cn_json_first(config->root); m; m = cn_json_next(m))
        if (!config_schema_section(schema, cn_json_key(m)))
            return refuse_unknown(&top, cn_json_key(m), cn_json_key(m));
    CN_TRY(config_expand(config));
    for (size_t i = 0; i < schema->n_sections; i++)
        CN_TRY(check_section(config, &schema->sections[i]));
    return CN_OK;
}
