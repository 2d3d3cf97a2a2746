/* Merging: one canonical form of every value, and a tree into which values are merged with their
 * origin. */
#include "config_parts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- paths --------------------------------------------------------------- */

enum cn_status config_join(const char *prefix, const char *name, char out[CONFIG_PATH_MAX])
{
    size_t a = strlen(prefix), b = strlen(name), dot = a && b;
    if (a + dot + b >= CONFIG_PATH_MAX)
        return cn_fail(CN_ERR_CONFIG, "%.40s...: key of more than %d letters", prefix,
                       CONFIG_PATH_MAX);
    memmove(out, prefix, a);
    if (dot) out[a] = '.';
    memcpy(out + a + dot, name, b + 1);
    return CN_OK;
}

/* Copies the first component of *path and moves *path behind it; false at the end. */
static bool next_part(const char **path, char out[CONFIG_PATH_MAX])
{
    if (!**path) return false;
    size_t length = strcspn(*path, ".");
    size_t kept = length < CONFIG_PATH_MAX ? length : CONFIG_PATH_MAX - 1;
    memcpy(out, *path, kept);
    out[kept] = 0;
    *path += length;
    *path += **path == '.';
    return true;
}

static bool is_index(const char *part)
{
    return *part && strlen(part) < 7 && strspn(part, "0123456789") == strlen(part);
}

static struct cn_json *child(const struct cn_json *node, const char *part)
{
    if (cn_json_kind(node) != CN_JSON_LIST) return (struct cn_json *)cn_json_get(node, part);
    if (!is_index(part)) return NULL;
    const struct cn_json *n = cn_json_first(node);
    for (long i = strtol(part, NULL, 10); i > 0 && n; i--)
        n = cn_json_next(n);
    return (struct cn_json *)n;
}

struct cn_json *config_find(const struct cn_json *root, const char *path)
{
    char part[CONFIG_PATH_MAX];
    const struct cn_json *node = root;
    while (node && next_part(&path, part))
        node = child(node, part);
    return (struct cn_json *)node;
}

/* Replaces the contents of a list's item by moving the others into a new list. */
static enum cn_status set_item(struct cn_json *parent, const char *key, struct cn_json *list,
                               size_t index, struct cn_json *take_value)
{
    struct cn_json *changed = NULL, *copy;
    size_t i = 0;
    enum cn_status status = cn_json_new(CN_JSON_LIST, &changed);
    for (const struct cn_json *n = cn_json_first(list); n && status == CN_OK;
         n = cn_json_next(n), i++) {
        status = cn_json_copy(i == index ? take_value : n, &copy);
        if (status == CN_OK) status = cn_json_push(changed, copy);
    }
    cn_json_close(take_value);
    if (status != CN_OK) {
        cn_json_close(changed);
        return status;
    }
    return cn_json_set(parent, key, changed);
}

static enum cn_status new_container(const char *rest, struct cn_json **out)
{
    char part[CONFIG_PATH_MAX];
    return cn_json_new(next_part(&rest, part) && is_index(part) ? CN_JSON_LIST : CN_JSON_OBJECT,
                       out);
}

/* Stores into the list `list` = parent[key]: replaces item `part` or appends it. */
static enum cn_status store_item(struct cn_json *parent, const char *key, struct cn_json *list,
                                 const char *part, struct cn_json *take_value)
{
    size_t count = cn_json_count(list), index = is_index(part) ? strtoul(part, NULL, 10) : SIZE_MAX;
    if (index > count || !parent) {
        cn_json_close(take_value);
        return cn_fail(CN_ERR_CONFIG, "%s.%s: the list has %zu items; 0 to %zu can be set", key,
                       part, count, count);
    }
    return index == count ? cn_json_push(list, take_value)
                          : set_item(parent, key, list, index, take_value);
}

enum cn_status config_store(struct cn_json *root, const char *path, struct cn_json *take_value)
{
    char part[CONFIG_PATH_MAX], last_key[CONFIG_PATH_MAX] = "";
    struct cn_json *node = root, *parent = NULL, *below;
    while (next_part(&path, part)) {
        bool list = cn_json_kind(node) == CN_JSON_LIST;
        if (!list && cn_json_kind(node) != CN_JSON_OBJECT) {
            cn_json_close(take_value);
            return cn_fail(CN_ERR_CONFIG, "%s: is a single value and has no part \"%s\"", last_key,
                           part);
        }
        if (!*path)
            return list ? store_item(parent, last_key, node, part, take_value)
                        : cn_json_set(node, part, take_value);
        below = child(node, part);
        if (!below) {
            enum cn_status status = new_container(path, &below);
            if (status == CN_OK)
                status = list ? store_item(parent, last_key, node, part, below)
                              : cn_json_set(node, part, below);
            if (status != CN_OK) {
                cn_json_close(take_value);
                return status;
            }
        }
        parent = list ? NULL : node; /* lists directly in lists are not addressed */
        strcpy(last_key, part);
        node = below;
    }
    cn_json_close(take_value);
    return cn_fail(CN_ERR_CONFIG, "an empty key");
}

/* ---- origins ------------------------------------------------------------- */

/* True if `path` is `prefix` or lies inside it. */
static bool within(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    return strncmp(path, prefix, length) == 0 && (!path[length] || path[length] == '.' || !length);
}

void config_forget(struct config *config, const char *path)
{
    size_t kept = 0;
    for (size_t i = 0; i < config->n_origins; i++)
        if (!within(config->origins[i].path, path)) config->origins[kept++] = config->origins[i];
    config->n_origins = kept;
}

enum cn_status config_remember(struct config *config, const char *path,
                               const struct config_origin *origin)
{
    if (config->n_origins == config->origins_capacity) {
        size_t capacity = 2 * config->origins_capacity + 64;
        struct config_origin *grown = realloc(config->origins, capacity * sizeof *grown);
        if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory while reading a configuration");
        config->origins = grown;
        config->origins_capacity = capacity;
    }
    char *path_copy, *where_copy;
    CN_TRY(cn_arena_text(&config->arena, path, strlen(path), &path_copy));
    CN_TRY(cn_arena_text(&config->arena, origin->where, strlen(origin->where), &where_copy));
    config->origins[config->n_origins++] =
        (struct config_origin){path_copy, where_copy, origin->from_override, origin->order};
    return CN_OK;
}

static enum cn_status remember(struct config *config, const char *path, const struct cn_json *value,
                               const struct config_reading *reading)
{
    size_t line = cn_json_line(value) ? cn_json_line(value) : cn_json_line(cn_json_first(value));
    struct cn_str where = {0};
    enum cn_status status = !reading->file ? cn_str_add(&where, "command line")
                            : line         ? cn_str_format(&where, "%s:%zu", reading->file, line)
                                           : cn_str_add(&where, reading->file);
    struct config_origin origin = {path, where.data, !reading->file, reading->order};
    if (status == CN_OK) status = config_remember(config, path, &origin);
    cn_str_free(&where);
    return status;
}

/* Origins of every value at and inside `path`: lists of objects item by item. */
static enum cn_status remember_all(struct config *config, const char *path,
                                   const struct cn_json *value,
                                   const struct config_reading *reading)
{
    bool object = cn_json_kind(value) == CN_JSON_OBJECT && cn_json_first(value);
    bool objects =
        cn_json_kind(value) == CN_JSON_LIST && cn_json_kind(cn_json_first(value)) == CN_JSON_OBJECT;
    if (!object && !objects) return remember(config, path, value, reading);
    size_t index = 0;
    for (const struct cn_json *n = cn_json_first(value); n; n = cn_json_next(n), index++) {
        char number[24], inner[CONFIG_PATH_MAX];
        snprintf(number, sizeof number, "%zu", index);
        CN_TRY(config_join(path, object ? cn_json_key(n) : number, inner));
        CN_TRY(remember_all(config, inner, n, reading));
    }
    return CN_OK;
}

const struct config_origin *config_origin(const struct config *config, const char *path)
{
    const struct config_origin *inside = NULL, *around = NULL;
    for (size_t i = 0; i < config->n_origins; i++) {
        const struct config_origin *o = &config->origins[i];
        if (strcmp(o->path, path) == 0) return o;
        if (within(o->path, path)) inside = inside ? inside : o;
        if (within(path, o->path)) around = o;
    }
    return inside ? inside : around;
}

bool config_overridden(const struct config *config, const char *path)
{
    for (size_t i = 0; i < config->n_origins; i++)
        if (config->origins[i].from_override && within(config->origins[i].path, path)) return true;
    return false;
}

void config_remove(struct config *config, const char *path)
{
    const char *dot = strrchr(path, '.');
    char parent[CONFIG_PATH_MAX] = "";
    if (dot && (size_t)(dot - path) < sizeof parent) memcpy(parent, path, (size_t)(dot - path));
    cn_json_remove(config_find(config->root, parent), dot ? dot + 1 : path);
    config_forget(config, path);
}

/* ---- merging ------------------------------------------------------------- */

/* Null is a value where an option may be null, inside the value of a JSON option, and at a key that
 * nobody knows (which is reported later); elsewhere it clears. */
static bool null_is_a_value(const struct config_schema *schema, const char *path)
{
    const char *rest;
    bool below;
    const struct cn_option *option = config_schema_option(schema, path, &below);
    if (option) return below || option->nullable;
    const struct config_section *owner = config_schema_owner(schema, path, &rest);
    return !owner || (*rest && owner->form != CONFIG_NAMED);
}

enum cn_status config_merge(struct config *config, const char *path, const struct cn_json *value,
                            const struct config_reading *reading)
{
    const struct cn_json *old = config_find(config->root, path);
    enum cn_json_kind kind = cn_json_kind(value);
    if (kind == CN_JSON_NULL && !null_is_a_value(config->schema, path)) {
        config_remove(config, path);
        return CN_OK;
    }
    bool objects = kind == CN_JSON_OBJECT && cn_json_kind(old) == CN_JSON_OBJECT;
    if (!objects) {
        struct cn_json *copy;
        config_forget(config, path);
        CN_TRY(kind == CN_JSON_OBJECT ? cn_json_new(CN_JSON_OBJECT, &copy)
                                      : cn_json_copy(value, &copy));
        CN_TRY(config_store(config->root, path, copy));
    }
    if (kind != CN_JSON_OBJECT || (!objects && !cn_json_first(value)))
        return remember_all(config, path, value, reading);
    for (const struct cn_json *m = cn_json_first(value); m; m = cn_json_next(m)) {
        char inner[CONFIG_PATH_MAX];
        if (!*cn_json_key(m) || strchr(cn_json_key(m), '.'))
            return cn_fail(CN_ERR_CONFIG, "%s: the key \"%s\" is empty or has a dot in it", path,
                           cn_json_key(m));
        CN_TRY(config_join(path, cn_json_key(m), inner));
        CN_TRY(config_merge(config, inner, m, reading));
    }
    return CN_OK;
}
