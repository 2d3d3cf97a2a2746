/* `algorithm.clip_high` is short for `algorithm.surrogate.clip_high` if the chosen surrogate is the
 * only chosen entry inside the section `algorithm` that has such an option. */
#include "config_parts.h"

#include <stdio.h>
#include <string.h>

/* Inner sections whose chosen entry has the option. */
struct readers {
    const struct config_section *first;
    size_t count;
    char names[CONFIG_PATH_MAX]; /* "algorithm.kl, algorithm.surrogate" */
};

static enum cn_status find_readers(struct config *config, const struct config_section *outer,
                                   const char *name, struct readers *out)
{
    for (size_t i = 0; i < config->schema->n_sections; i++) {
        const struct config_section *inner = &config->schema->sections[i];
        const char *inner_name, *type;
        if (!config_schema_inside(inner, outer, &inner_name) || inner->form != CONFIG_PICK)
            continue;
        CN_TRY(config_picked(config, inner, inner->path, &type));
        const struct config_entry *entry = config_schema_entry(inner, type);
        if (!entry || !cn_option_find(entry->options, name)) continue;
        size_t used = strlen(out->names);
        snprintf(out->names + used, sizeof out->names - used, "%s%s.%s", used ? ", " : "",
                 inner->path, name);
        if (!out->count++) out->first = inner;
    }
    return CN_OK;
}

/* The first inner section that has an entry with the option, chosen or not. */
static const struct config_section *any_reader(const struct config *config,
                                               const struct config_section *outer, const char *name)
{
    for (size_t i = 0; i < config->schema->n_sections; i++) {
        const struct config_section *inner = &config->schema->sections[i];
        const char *inner_name;
        if (!config_schema_inside(inner, outer, &inner_name) || inner->form != CONFIG_PICK)
            continue;
        for (size_t e = 0; e < inner->n_entries; e++)
            if (cn_option_find(inner->entries[e].options, name)) return inner;
    }
    return NULL;
}

/* Moves a member of the outer section into `inner`; what was set there by a later argument stays.
 */
static enum cn_status move_inside(struct config *config, const struct cn_json *member,
                                  const char *path, const struct config_section *inner)
{
    char target[CONFIG_PATH_MAX];
    CN_TRY(config_join(inner->path, cn_json_key(member), target));
    const struct config_origin *short_form = config_origin(config, path);
    const struct config_origin *long_form =
        config_find(config->root, target) ? config_origin(config, target) : NULL;
    CN_BUG_IF(!short_form);
    if (long_form && long_form->order > short_form->order) {
        config_remove(config, path);
        return CN_OK;
    }
    struct config_origin origin = *short_form;
    struct cn_json *copy;
    CN_TRY(cn_json_copy(member, &copy));
    config_remove(config, path);
    config_forget(config, target);
    CN_TRY(config_store(config->root, target, copy));
    return config_remember(config, target, &origin);
}

static enum cn_status expand_member(struct config *config, const struct config_section *outer,
                                    const struct cn_json *member)
{
    const char *name = cn_json_key(member);
    struct readers readers = {0};
    char path[CONFIG_PATH_MAX];
    CN_TRY(config_join(outer->path, name, path));
    if (strcmp(name, "type") == 0 || cn_option_find(outer->options, name) ||
        config_schema_section(config->schema, path))
        return CN_OK;
    CN_TRY(find_readers(config, outer, name, &readers));
    if (readers.count > 1)
        return cn_fail(CN_ERR_CONFIG, "%s: %s is short for more than one key; say which: %s",
                       config_origin(config, path)->where, path, readers.names);
    if (!readers.count)
        readers.first = any_reader(config, outer, name); /* dropped or refused there */
    return readers.first ? move_inside(config, member, path, readers.first) : CN_OK;
}

enum cn_status config_expand(struct config *config)
{
    for (size_t i = 0; i < config->schema->n_sections; i++) {
        const struct config_section *outer = &config->schema->sections[i];
        const struct cn_json *node = config_find(config->root, outer->path), *next;
        if (outer->form != CONFIG_PICK || cn_json_kind(node) != CN_JSON_OBJECT) continue;
        for (const struct cn_json *m = cn_json_first(node); m; m = next) {
            next = cn_json_next(m);
            CN_TRY(expand_member(config, outer, m));
        }
    }
    return CN_OK;
}
