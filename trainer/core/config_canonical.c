/* The short forms that people write, brought to the one form that everybody reads:
 *     "env": "x"                       {"type": "x"}
 *     "rewards": ["x", {"type": "y"}]  [{"type": "x"}, {"type": "y"}]
 *     "entropy": "x"                   {"methods": ["x"]};  "none" is the empty list
 *     "methods": [{"type": "x", "a": 1}]   "methods": ["x"], "x": {"a": 1}
 *     one value for an option that is a list   a list of one */
#include "config_canonical.h"

#include "config_parts.h"

#include <stdio.h>
#include <string.h>

/* {"key": value}; the value keeps its line. */
static enum cn_status wrap_object(const char *key, struct cn_json *take_value, struct cn_json **out)
{
    struct cn_json *object;
    enum cn_status status = cn_json_new(CN_JSON_OBJECT, &object);
    if (status != CN_OK) {
        cn_json_close(take_value);
        return status;
    }
    status = cn_json_set(object, key, take_value);
    if (status != CN_OK)
        cn_json_close(object);
    else
        *out = object;
    return status;
}

static enum cn_status wrap_list(struct cn_json *take_value, struct cn_json **out)
{
    struct cn_json *list;
    enum cn_status status = cn_json_new(CN_JSON_LIST, &list);
    if (status != CN_OK) {
        cn_json_close(take_value);
        return status;
    }
    CN_TRY(cn_json_push(list, take_value));
    *out = list;
    return CN_OK;
}

/* Replaces *node by `wrap(*node)`. */
static enum cn_status as_type(struct cn_json **node)
{
    struct cn_json *inside = *node;
    *node = NULL;
    return wrap_object("type", inside, node);
}

static enum cn_status as_list(struct cn_json **node)
{
    struct cn_json *inside = *node;
    *node = NULL;
    return wrap_list(inside, node);
}

static enum cn_status members(const struct config_schema *schema, const char *path,
                              struct cn_json **node)
{
    bool object = cn_json_kind(*node) == CN_JSON_OBJECT;
    struct cn_json *changed = NULL, *value;
    size_t index = 0;
    CN_TRY(cn_json_new(cn_json_kind(*node), &changed));
    enum cn_status status = CN_OK;
    for (const struct cn_json *n = cn_json_first(*node); n && status == CN_OK;
         n = cn_json_next(n), index++) {
        char number[24], inner[CONFIG_PATH_MAX];
        snprintf(number, sizeof number, "%zu", index);
        status = config_join(path, object ? cn_json_key(n) : number, inner);
        if (status == CN_OK) status = config_canonical(schema, inner, n, &value);
        if (status == CN_OK)
            status =
                object ? cn_json_set(changed, cn_json_key(n), value) : cn_json_push(changed, value);
    }
    cn_json_close(status == CN_OK ? *node : changed);
    if (status == CN_OK) *node = changed;
    return status;
}

/* The option of a NAMED section that lists names: its first. */
static const char *list_key(const struct config_section *section)
{
    return section->options ? section->options->name : "methods";
}

/* Moves {"type": "x", "a": 1} out of a list of names: a copy of the object without "type" becomes
 * member "x". */
static enum cn_status hoist(struct cn_json *section_node, const struct cn_json *item,
                            struct cn_json *names)
{
    struct cn_json *name, *rest;
    CN_TRY(cn_json_copy(cn_json_get(item, "type"), &name));
    CN_TRY(cn_json_push(names, name));
    CN_TRY(cn_json_copy(item, &rest));
    cn_json_remove(rest, "type");
    if (cn_json_first(rest))
        return cn_json_set(section_node, cn_json_text(cn_json_get(item, "type")).data, rest);
    cn_json_close(rest);
    return CN_OK;
}

static enum cn_status hoist_all(struct cn_json *section_node, const char *key)
{
    const struct cn_json *list = cn_json_get(section_node, key);
    if (cn_json_kind(list) != CN_JSON_LIST) return CN_OK;
    struct cn_json *names, *copy;
    CN_TRY(cn_json_new(CN_JSON_LIST, &names));
    enum cn_status status = CN_OK;
    for (const struct cn_json *n = cn_json_first(list); n && status == CN_OK; n = cn_json_next(n)) {
        if (cn_json_kind(cn_json_get(n, "type")) == CN_JSON_TEXT)
            status = hoist(section_node, n, names);
        else if ((status = cn_json_copy(n, &copy)) == CN_OK)
            status = cn_json_push(names, copy);
    }
    if (status == CN_OK) return cn_json_set(section_node, key, names);
    cn_json_close(names);
    return status;
}

/* True for the text "none" where no entry has that name: it stands for the empty list. */
static bool means_nothing(const struct config_section *section, const struct cn_json *node)
{
    return cn_json_kind(node) == CN_JSON_TEXT && cn_text_is(cn_json_text(node), "none") &&
           !config_schema_entry(section, "none");
}

static enum cn_status empty_list(struct cn_json **node)
{
    cn_json_close(*node);
    *node = NULL;
    return cn_json_new(CN_JSON_LIST, node);
}

/* {"type": "x", ...} where a list of names is meant: "type" becomes the list. */
static enum cn_status type_to_list(const struct config_section *section, struct cn_json *node)
{
    const struct cn_json *type = cn_json_get(node, "type");
    struct cn_json *name, *list;
    if (cn_json_kind(type) != CN_JSON_TEXT || cn_json_get(node, list_key(section))) return CN_OK;
    CN_TRY(cn_json_copy(type, &name));
    CN_TRY(wrap_list(name, &list));
    cn_json_remove(node, "type");
    return cn_json_set(node, list_key(section), list);
}

static enum cn_status named_section(const struct config_section *section, struct cn_json **node)
{
    if (cn_json_kind(*node) == CN_JSON_TEXT)
        CN_TRY(means_nothing(section, *node) ? empty_list(node) : as_list(node));
    if (cn_json_kind(*node) == CN_JSON_LIST) {
        struct cn_json *inside = *node;
        *node = NULL;
        CN_TRY(wrap_object(list_key(section), inside, node));
    }
    CN_TRY(type_to_list(section, *node));
    for (const struct cn_option *o = section->options; o && o->name; o++)
        if (o->kind == CN_OPTION_TEXTS) CN_TRY(hoist_all(*node, o->name));
    return CN_OK;
}

/* Brings the node at `path` to its form; its members are not looked at yet. */
static enum cn_status own_form(const struct config_schema *schema, const char *path,
                               struct cn_json **node)
{
    enum cn_json_kind kind = cn_json_kind(*node);
    const struct config_section *section = config_schema_section(schema, path);
    if (section && section->form == CONFIG_PICK && kind == CN_JSON_TEXT) return as_type(node);
    if (section && section->form == CONFIG_NAMED) return named_section(section, node);
    if (section && section->form == CONFIG_LIST) {
        if (means_nothing(section, *node)) return empty_list(node);
        if (kind == CN_JSON_TEXT) CN_TRY(as_type(node));
        return cn_json_kind(*node) == CN_JSON_OBJECT ? as_list(node) : CN_OK;
    }
    const char *rest;
    bool below;
    const struct config_section *owner = config_schema_owner(schema, path, &rest);
    if (owner && owner->form == CONFIG_LIST && *rest && !strchr(rest, '.') && kind == CN_JSON_TEXT)
        return as_type(node); /* an item */
    const struct cn_option *option = config_schema_option(schema, path, &below);
    if (!option || below) return CN_OK;
    bool wrap = (option->kind == CN_OPTION_TEXTS && kind == CN_JSON_TEXT) ||
                (option->kind == CN_OPTION_REALS && kind == CN_JSON_NUMBER);
    return wrap ? as_list(node) : CN_OK;
}

enum cn_status config_canonical(const struct config_schema *schema, const char *path,
                                const struct cn_json *value, struct cn_json **out)
{
    struct cn_json *node = NULL;
    CN_TRY(cn_json_copy(value, &node));
    enum cn_status status = own_form(schema, path, &node);
    bool below;
    if (status == CN_OK && cn_json_first(node) && !config_schema_option(schema, path, &below))
        status = members(schema, path, &node);
    if (status != CN_OK)
        cn_json_close(node);
    else
        *out = node;
    return status;
}
