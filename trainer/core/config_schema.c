/* Look-ups in a schema by path. */
#include "config_schema.h"

#include <string.h>

const struct config_section *config_schema_section(const struct config_schema *schema,
                                                   const char *path)
{
    for (size_t i = 0; i < schema->n_sections; i++)
        if (strcmp(schema->sections[i].path, path) == 0) return &schema->sections[i];
    return NULL;
}

const struct config_entry *config_schema_entry(const struct config_section *section,
                                               const char *name)
{
    for (size_t i = 0; i < section->n_entries; i++)
        if (strcmp(section->entries[i].name, name) == 0) return &section->entries[i];
    return NULL;
}

/* What follows `prefix` and a dot in `path`, "" if they are equal, NULL if it is no prefix. */
static const char *after(const char *path, const char *prefix)
{
    size_t length = strlen(prefix);
    if (strncmp(path, prefix, length) != 0) return NULL;
    if (!path[length]) return path + length;
    return path[length] == '.' ? path + length + 1 : NULL;
}

const struct config_section *config_schema_owner(const struct config_schema *schema,
                                                 const char *path, const char **rest)
{
    const struct config_section *best = NULL;
    for (size_t i = 0; i < schema->n_sections; i++) {
        const struct config_section *section = &schema->sections[i];
        const char *tail = after(path, section->path);
        if (!tail || (best && strlen(best->path) > strlen(section->path))) continue;
        best = section;
        *rest = tail;
    }
    return best;
}

bool config_schema_inside(const struct config_section *section, const struct config_section *outer,
                          const char **name)
{
    const char *tail = after(section->path, outer->path);
    if (!tail || !*tail || strchr(tail, '.')) return false;
    *name = tail;
    return true;
}

/* The option that the first component of `rest` names; *below if more components follow. */
static const struct cn_option *first_option(const struct cn_option *table, const char *rest,
                                            bool *below)
{
    for (const struct cn_option *o = table; o && o->name; o++) {
        const char *tail = after(rest, o->name);
        if (!tail) continue;
        *below = *tail != 0;
        return !*below || o->kind == CN_OPTION_JSON || o->kind == CN_OPTION_REALS ||
                       o->kind == CN_OPTION_TEXTS
                   ? o
                   : NULL;
    }
    return NULL;
}

static const struct cn_option *entry_option(const struct config_section *section, const char *rest,
                                            bool *below)
{
    for (size_t i = 0; i < section->n_entries; i++) {
        const struct config_entry *entry = &section->entries[i];
        const char *tail = section->form == CONFIG_NAMED ? after(rest, entry->name) : rest;
        const struct cn_option *option = tail ? first_option(entry->options, tail, below) : NULL;
        if (option) return option;
    }
    return NULL;
}

const struct cn_option *config_schema_option(const struct config_schema *schema, const char *path,
                                             bool *below)
{
    const char *rest;
    *below = false;
    const struct config_section *section = config_schema_owner(schema, path, &rest);
    if (!section) return NULL;
    if (section->form == CONFIG_LIST) { /* "0.weight" */
        rest += strspn(rest, "0123456789");
        rest += *rest == '.';
    }
    const struct cn_option *option = first_option(section->options, rest, below);
    if (!option) option = entry_option(section, rest, below);
    for (size_t i = 0; i < schema->n_sections && !option; i++) {
        const char *name;
        const struct config_section *inner = &schema->sections[i];
        if (config_schema_inside(inner, section, &name) && inner->form == CONFIG_PICK)
            option = entry_option(inner, rest, below);
    }
    return option;
}
