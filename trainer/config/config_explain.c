/* Text from the schema: one key, one section, one entry, or all of them. */
#include "config_explain.h"

#include "config_names.h"

#include "carnot/nearest.h"

#include <stdio.h>
#include <string.h>

/* An option at its place. */
struct found {
    const struct config_section *section;
    const struct config_entry *entry; /* NULL: the section's own */
    const struct cn_option *option;
};

/* Called for every option of the schema, in its order. */
struct walk {
    enum cn_status (*visit)(struct walk *walk, const struct found *found);
    const struct config_schema *schema;
    const char *word;
    struct cn_str *out;
    struct cn_nearest *nearest;
    char last_path[128]; /* of the key explained last: entries that share it go under one heading */
    size_t count;
};

static enum cn_status each_option(struct walk *walk)
{
    for (size_t i = 0; i < walk->schema->n_sections; i++) {
        const struct config_section *section = &walk->schema->sections[i];
        for (const struct cn_option *o = section->options; o && o->name; o++)
            CN_TRY(walk->visit(walk, &(struct found){section, NULL, o}));
        for (size_t e = 0; e < section->n_entries; e++)
            for (const struct cn_option *o = section->entries[e].options; o && o->name; o++)
                CN_TRY(walk->visit(walk, &(struct found){section, &section->entries[e], o}));
    }
    return CN_OK;
}

/* "rewards.0.weight", "entropy.NAME.coef", "optimizer.lr" */
static void path_of(const struct found *f, char *out, size_t size)
{
    if (f->section->form == CONFIG_NAMED && f->entry)
        snprintf(out, size, "%s.%s.%s", f->section->path, f->entry->name, f->option->name);
    else
        snprintf(out, size, "%s%s.%s", f->section->path,
                 f->section->form == CONFIG_LIST ? ".0" : "", f->option->name);
}

/* ---- one key ------------------------------------------------------------- */

static enum cn_status explain_presets(const struct walk *walk, const struct found *f,
                                      const char *path)
{
    const struct config_schema *schema = walk->schema;
    const struct config_section *rows =
        schema->preset_section ? config_schema_section(schema, schema->preset_section) : NULL;
    size_t length = rows ? strlen(rows->path) : 0, count = 0;
    if (!rows || strncmp(path, rows->path, length) != 0 || path[length] != '.') return CN_OK;
    for (size_t i = 0; i < rows->n_entries; i++) {
        const char *row = rows->entries[i].name;
        const char *value = schema->preset(row, path + length + 1);
        const char *inner, *picked = NULL;
        if (config_schema_inside(f->section, rows, &inner)) picked = schema->preset(row, inner);
        if (f->section->fallback && !picked) picked = f->section->fallback;
        bool meant = !f->entry || (picked && strcmp(picked, f->entry->name) == 0);
        if (!value || !meant) continue;
        CN_TRY(cn_str_format(walk->out, "%s%s %s", count++ ? ", " : "    set by    ", row, value));
    }
    return count ? cn_str_add(walk->out, "\n") : CN_OK;
}

static enum cn_status explain_option(struct walk *walk, const struct found *f)
{
    char path[128];
    struct cn_str *out = walk->out;
    path_of(f, path, sizeof path);
    if (strcmp(path, walk->last_path) != 0) {
        CN_TRY(cn_str_format(out, "%s%s\n", walk->count ? "\n" : "", path));
        snprintf(walk->last_path, sizeof walk->last_path, "%s", path);
    }
    walk->count++;
    if (f->entry) CN_TRY(cn_str_format(out, "  of %s %s\n", f->section->path, f->entry->name));
    CN_TRY(cn_str_add(out, "    allowed   "));
    CN_TRY(cn_option_describe(f->option, out));
    CN_TRY(cn_str_format(out, "\n    default   %s\n", f->option->fallback));
    CN_TRY(explain_presets(walk, f, path));
    if (f->option->help) CN_TRY(cn_str_format(out, "    meaning   %s\n", f->option->help));
    return cn_str_format(out, "    read by   carnot %s%s\n", f->section->readers,
                         f->option->safe_on_resume ? "; may change when a run is resumed" : "");
}

/* True if `word` is the path, its end, or its last part. */
static bool names(const char *path, const char *word)
{
    size_t p = strlen(path), w = strlen(word);
    return p >= w && strcmp(path + p - w, word) == 0 && (p == w || path[p - w - 1] == '.');
}

static enum cn_status visit_named(struct walk *walk, const struct found *f)
{
    char path[128];
    path_of(f, path, sizeof path);
    return names(path, walk->word) ? explain_option(walk, f) : CN_OK;
}

/* ---- sections and entries ------------------------------------------------ */

enum cn_status config_list_entries(const struct config_section *section, struct cn_str *out)
{
    for (size_t i = 0; i < section->n_entries; i++) {
        const struct config_entry *e = &section->entries[i];
        bool cited = e->reference && *e->reference;
        CN_TRY(cn_str_format(out, "  %-20s %s%s%s%s\n", e->name, e->summary, cited ? " [" : "",
                             cited ? e->reference : "", cited ? "]" : ""));
    }
    return CN_OK;
}

static enum cn_status list_options(const struct cn_option *table, struct cn_str *out)
{
    for (const struct cn_option *o = table; o && o->name; o++)
        CN_TRY(cn_str_format(out, "  %-24s default %-12s %s\n", o->name, o->fallback,
                             o->help ? o->help : ""));
    return CN_OK;
}

static enum cn_status explain_section(struct walk *walk, const struct config_section *section)
{
    static const char *const forms[] = {
        [CONFIG_TABLE] = "an object of options",
        [CONFIG_PICK] = "the name of a type, or an object with \"type\" and its options",
        [CONFIG_LIST] = "a list of names, or of objects with \"type\" and its options",
        [CONFIG_NAMED] = "an object with a list of names, and options under each name",
    };
    struct cn_str *out = walk->out;
    CN_TRY(cn_str_format(out, "%s%s: %s\n  %s; read by carnot %s\n", walk->count++ ? "\n" : "",
                         section->path, section->summary, forms[section->form], section->readers));
    if (section->fallback) CN_TRY(cn_str_format(out, "  default %s\n", section->fallback));
    CN_TRY(list_options(section->options, out));
    for (size_t i = 0; i < walk->schema->n_sections; i++) {
        const char *inner;
        const struct config_section *s = &walk->schema->sections[i];
        if (config_schema_inside(s, section, &inner))
            CN_TRY(cn_str_format(out, "  %-24s %s\n", s->path, s->summary));
    }
    if (section->n_entries) CN_TRY(cn_str_add(out, "one of:\n"));
    return config_list_entries(section, out);
}

/* What a preset row picks inside its section, and what it sets. */
static enum cn_status explain_row(struct walk *walk, const char *row)
{
    const struct config_schema *schema = walk->schema;
    const struct config_section *rows = config_schema_section(schema, schema->preset_section);
    for (size_t i = 0; i < schema->n_sections; i++) {
        const char *inner, *value;
        if (!config_schema_inside(&schema->sections[i], rows, &inner)) continue;
        value = schema->preset(row, inner);
        if (!value) value = schema->sections[i].fallback;
        CN_TRY(cn_str_format(walk->out, "  %-24s %s\n", schema->sections[i].path,
                             value ? value : "[]"));
    }
    return CN_OK;
}

static enum cn_status explain_entry(struct walk *walk, const struct config_section *section,
                                    const struct config_entry *entry)
{
    struct cn_str *out = walk->out;
    CN_TRY(cn_str_format(out, "%s%s (%s): %s\n", walk->count++ ? "\n" : "", entry->name,
                         section->path, entry->summary));
    if (entry->reference && *entry->reference)
        CN_TRY(cn_str_format(out, "  %s\n", entry->reference));
    const char *preset_section = walk->schema->preset_section;
    if (preset_section && strcmp(section->path, preset_section) == 0)
        CN_TRY(explain_row(walk, entry->name));
    return list_options(entry->options, out);
}

static enum cn_status explain_places(struct walk *walk)
{
    for (size_t i = 0; i < walk->schema->n_sections; i++) {
        const struct config_section *section = &walk->schema->sections[i];
        if (names(section->path, walk->word)) CN_TRY(explain_section(walk, section));
        for (size_t e = 0; e < section->n_entries; e++) {
            char path[128];
            snprintf(path, sizeof path, "%s.%s", section->path, section->entries[e].name);
            if (names(path, walk->word)) CN_TRY(explain_entry(walk, section, &section->entries[e]));
        }
    }
    return CN_OK;
}

/* ---- names of others ----------------------------------------------------- */

static bool is_one_of(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *w = words; (w = strstr(w, word)); w += length)
        if ((w == words || w[-1] == ' ') && (w[length] == ' ' || !w[length])) return true;
    return false;
}

static enum cn_status explain_theirs(struct walk *walk)
{
    const char *word = walk->word, *dot = strrchr(word, '.'), *last = dot ? dot + 1 : word;
    for (const struct config_name *n = config_names; n->theirs; n++) {
        if (!*last || !is_one_of(n->theirs, last)) continue;
        CN_TRY(cn_str_format(walk->out, "%s%s is called %s here%s%s\n\n", walk->count ? "\n" : "",
                             word, n->ours, n->note ? ": " : "", n->note ? n->note : ""));
        walk->count = 0;
        walk->word = n->ours;
        CN_TRY(each_option(walk));
        CN_TRY(explain_places(walk));
        walk->word = word;
        walk->count++;
    }
    return CN_OK;
}

static enum cn_status offer_option(struct walk *walk, const struct found *f)
{
    cn_nearest_offer(walk->nearest, f->option->name);
    return CN_OK;
}

static enum cn_status nothing_known(struct walk *walk)
{
    const char *dot = strrchr(walk->word, '.');
    struct cn_nearest nearest = {.word = dot ? dot + 1 : walk->word};
    walk->nearest = &nearest;
    walk->visit = offer_option;
    CN_TRY(each_option(walk));
    for (size_t i = 0; i < walk->schema->n_sections; i++) {
        cn_nearest_offer(&nearest, walk->schema->sections[i].path);
        for (size_t e = 0; e < walk->schema->sections[i].n_entries; e++)
            cn_nearest_offer(&nearest, walk->schema->sections[i].entries[e].name);
    }
    const char *best = cn_nearest_found(&nearest);
    return cn_fail(CN_ERR_CONFIG, "nothing is called \"%s\"%s%s%s; carnot config list keys",
                   walk->word, best ? "; nearest is \"" : "", best ? best : "", best ? "\"" : "");
}

enum cn_status config_explain(const struct config_schema *schema, const char *word,
                              struct cn_str *out)
{
    struct walk walk = {.visit = visit_named, .schema = schema, .word = word, .out = out};
    CN_TRY(each_option(&walk));
    CN_TRY(explain_places(&walk));
    CN_TRY(explain_theirs(&walk));
    return walk.count ? CN_OK : nothing_known(&walk);
}

/* ---- all keys ------------------------------------------------------------ */

static enum cn_status list_key(struct walk *walk, const struct found *f)
{
    char path[128];
    struct cn_str allowed = {0};
    path_of(f, path, sizeof path);
    enum cn_status status = cn_option_describe(f->option, &allowed);
    if (status == CN_OK)
        status = cn_str_format(walk->out, "%-38s %-16s %-14s %s\n", path,
                               f->entry && f->section->form != CONFIG_NAMED ? f->entry->name : "",
                               f->option->fallback, allowed.data);
    cn_str_free(&allowed);
    return status;
}

enum cn_status config_list_keys(const struct config_schema *schema, struct cn_str *out)
{
    struct walk walk = {.visit = list_key, .schema = schema, .out = out};
    CN_TRY(cn_str_format(out, "%-38s %-16s %-14s %s\n", "key", "of", "default", "allowed"));
    return each_option(&walk);
}
