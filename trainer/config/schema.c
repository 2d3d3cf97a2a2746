/* Puts the schema together: settings.c's sections, then what the public lists of plug-ins offer. */
#include "schema.h"

#include "settings.h"

#include "carnot/algorithm.h"
#include "carnot/env.h"
#include "carnot/reward.h"

#include <stdlib.h>
#include <string.h>

enum { SECTIONS_MAX = 64, ENTRIES_MAX = 1024 };

/* Filled once, constant from then on. */
struct tables {
    struct config_schema schema;
    struct config_section sections[SECTIONS_MAX];
    struct config_entry entries[ENTRIES_MAX];
    size_t n_sections, n_entries;
};

/* ---- options that belong to a section, whatever it picks ----------------- */

static const struct cn_option algorithm_options[] = {
    {.name = "anchor",
     .kind = CN_OPTION_CHOICE,
     .fallback = "\"old\"",
     .choices = "old sampled",
     .help = "what the ratio compares the live policy to: the weights at the start of the updates, "
             "or the log-probabilities as the sampler saw them"},
    {0}};

static const struct cn_option entropy_options[] = {
    {.name = "methods",
     .kind = CN_OPTION_TEXTS,
     .fallback = "[]",
     .help = "entropy methods, in the order in which they act; their options stand beside the list "
             "under the method's name"},
    {.name = "shadow",
     .kind = CN_OPTION_TEXTS,
     .fallback = "[]",
     .help = "methods that only report what they would have done"},
    {0}};

static const struct cn_option reward_options[] = {
    {.name = "weight",
     .kind = CN_OPTION_REAL,
     .fallback = "1",
     .minimum = -1e9,
     .maximum = 1e9,
     .help = "factor of this score in the sequence's reward; 0: only reported"},
    {.name = "canaries",
     .kind = CN_OPTION_TEXT,
     .fallback = "null",
     .nullable = true,
     .help = "JSON lines with known hacks and good answers, and the score or verdict that each "
             "must have; "
             "another one stops the run"},
    {.name = "canary_every",
     .kind = CN_OPTION_INT,
     .fallback = "50",
     .maximum = INT32_MAX,
     .unit = "steps",
     .help = "how often the canaries are scored again; 0: before the first step only"},
#define X(name_, VERDICT, when)                                                                    \
    {.name = #name_,                                                                               \
     .kind = CN_OPTION_JSON,                                                                       \
     .fallback = "null",                                                                           \
     .help = "\"mask\", \"zero\" or a number: what it is worth if " when},
    CN_WORTHS(X)
#undef X
        {0}};

/* ---- presets ------------------------------------------------------------- */

/* What a row of the algorithms sets: the entry of an axis by its bare name, everything else as
 * JSON. */
static const char *preset(const char *name, const char *path)
{
    const struct cn_algorithm *row = cn_algorithm_find(name);
    if (!row) return NULL;
#define X(axis, fallback, text)                                                                    \
    if (strcmp(path, #axis) == 0) return row->axis;
    CN_AXES(X)
#undef X
    if (strcmp(path, "shaping") == 0) return row->shaping;
    if (strcmp(path, "anchor") == 0 && row->anchor)
        return strcmp(row->anchor, "sampled") == 0 ? "\"sampled\"" : "\"old\"";
    for (const struct cn_default *d = row->defaults; d && d->path; d++)
        if (strcmp(d->path, path) == 0) return d->value;
    return NULL;
}

/* ---- putting together ---------------------------------------------------- */

static void add_entry(struct tables *t, struct config_entry entry)
{
    if (t->n_entries < ENTRIES_MAX) t->entries[t->n_entries++] = entry;
}

/* Adds a section whose entries are those added since `first_entry`. */
static void add_section(struct tables *t, struct config_section section, size_t first_entry)
{
    if (t->n_sections == SECTIONS_MAX) return;
    section.entries = t->entries + first_entry;
    section.n_entries = t->n_entries - first_entry;
    t->sections[t->n_sections++] = section;
}

static const char *readers_of(const char *section)
{
    static const char *const readers[][2] = {
        {"run", "train, sft, eval"},
        {"train", "train"},
        {"model", "train, sft, eval"},
        {"data", "train, sft, eval"},
        {"rollout", "train, eval"},
        {"optimizer", "train, sft"},
        {"update", "train, sft"},
        {"parallel", "train, sft, eval"},
        {"eval", "train, eval"},
        {"checkpoint", "train, sft"},
        {"record", "train"},
        {"warm_start", "train"},
        {"sft", "sft"},
        {"service", "train, eval, serve-rewards"},
    };
    for (size_t i = 0; i < sizeof readers / sizeof *readers; i++)
        if (strcmp(readers[i][0], section) == 0) return readers[i][1];
    return "train";
}

static void add_settings(struct tables *t)
{
    for (const struct settings_section *s = settings_sections; s->name; s++)
        add_section(t,
                    (struct config_section){.path = s->name,
                                            .summary = s->summary,
                                            .readers = readers_of(s->name),
                                            .form = CONFIG_TABLE,
                                            .options = s->options},
                    t->n_entries);
}

static void add_env_and_rewards(struct tables *t)
{
    size_t first = t->n_entries;
    for (const struct cn_env *const *e = cn_envs; *e; e++)
        add_entry(t, (struct config_entry){(*e)->name, (*e)->summary, NULL, (*e)->options});
    add_section(t,
                (struct config_section){.path = "env",
                                        .summary = "where prompts come from and what answers them",
                                        .readers = "train, sft, eval",
                                        .form = CONFIG_PICK,
                                        .fallback = cn_envs[0] ? cn_envs[0]->name : NULL},
                first);
    first = t->n_entries;
    for (const struct cn_reward *const *r = cn_rewards; *r; r++)
        add_entry(t,
                  (struct config_entry){(*r)->name, (*r)->summary, (*r)->reference, (*r)->options});
    add_section(t,
                (struct config_section){.path = "rewards",
                                        .summary = "what an answer is worth: a weighted sum",
                                        .readers = "train, eval, grade, serve-rewards",
                                        .form = CONFIG_LIST,
                                        .options = reward_options,
                                        .fallback = cn_rewards[0] ? cn_rewards[0]->name : NULL},
                first);
}

static void add_plugins(struct tables *t, const struct cn_plugin *const *plugins)
{
    for (; plugins && *plugins; plugins++) {
        const struct cn_plugin *p = *plugins;
        add_entry(t, (struct config_entry){p->name, p->summary, p->reference, p->options});
    }
}

static void add_axes(struct tables *t)
{
    size_t first;
#define X(axis, standard, text)                                                                    \
    first = t->n_entries;                                                                          \
    add_plugins(t, cn_axis_entries(CN_AXIS_##axis));                                               \
    add_section(t,                                                                                 \
                (struct config_section){.path = "algorithm." #axis,                                \
                                        .summary = text,                                           \
                                        .readers = "train, gradient",                              \
                                        .form = CONFIG_PICK,                                       \
                                        .fallback = standard},                                     \
                first);
    CN_AXES(X)
#undef X
    first = t->n_entries;
    add_plugins(t, cn_shaping_entries());
    add_section(t,
                (struct config_section){.path = "algorithm.shaping",
                                        .summary = "changes of the reward after scoring, in order",
                                        .readers = "train",
                                        .form = CONFIG_LIST},
                first);
}

/* The row of a configuration that names none; rows live for ever. */
static const char *standard_row(void)
{
    struct cn_arena arena = {0};
    struct cn_recipe recipe;
    const char *name = NULL;
    if (cn_recipe_read(NULL, NULL, &arena, &recipe) == CN_OK)
        name = recipe.row->name;
    else
        cn_fail_clear();
    cn_arena_free(&arena);
    return name;
}

static void add_algorithms(struct tables *t)
{
    size_t first = t->n_entries;
    for (const struct cn_algorithm *const *a = cn_algorithms; *a; a++)
        add_entry(t, (struct config_entry){(*a)->name, (*a)->summary, (*a)->reference, NULL});
    add_section(t,
                (struct config_section){.path = "algorithm",
                                        .summary = "a row of choices, one per axis",
                                        .readers = "train, gradient",
                                        .form = CONFIG_PICK,
                                        .options = algorithm_options,
                                        .fallback = standard_row()},
                first);
    add_axes(t);
    first = t->n_entries;
    for (const struct cn_entropy *const *e = cn_entropies; *e; e++)
        add_entry(t,
                  (struct config_entry){(*e)->name, (*e)->summary, (*e)->reference, (*e)->options});
    add_section(t,
                (struct config_section){.path = "entropy",
                                        .summary = "methods that keep the policy's entropy",
                                        .readers = "train, gradient",
                                        .form = CONFIG_NAMED,
                                        .options = entropy_options},
                first);
}

const struct config_schema *schema_all(void)
{
    static struct tables tables;
    struct tables *t = &tables;
    if (t->n_sections) return &t->schema;
    add_settings(t);
    add_env_and_rewards(t);
    add_algorithms(t);
    t->schema = (struct config_schema){t->sections, t->n_sections, "algorithm", preset};
    return &t->schema;
}
