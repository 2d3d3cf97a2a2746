/* From the sections "algorithm" and "entropy" to a recipe.
 *
 *     "algorithm": {"type": "dapo", "surrogate": {"clip_low": 0.1}, "kl": "k3"}
 *
 * The row gives one entry per axis; a text or a "type" replaces it.  An option has, from strongest
 * to weakest: the configuration's value, the row's default (if the entry is still the row's), the
 * option's own default. */
#include "recipe.h"

#include "axes.h"
#include "carnot/nearest.h"

#include <string.h>

static const char *const type_only[] = {"type", NULL};

struct reader {
    struct cn_arena *arena;
    struct cn_recipe *recipe;
};

/* One choice from a table. */
struct choice {
    const char *path;                       /* "algorithm.surrogate" */
    const struct cn_plugin *const *entries; /* NULL-terminated */
    const char *type;                       /* the entry if the configuration names none */
    const struct cn_json *value;            /* text, object or NULL */
    const struct cn_json *more;             /* further options, weaker than those of `value` */
    const struct cn_default *defaults;      /* of the row; may be NULL */
    const char *prefix;                     /* their paths begin with it: "surrogate" */
};

/* ---- names --------------------------------------------------------------- */

/* Fails with the nearest of the known words; `known` ends with NULL. */
static enum cn_status unknown(const char *path, const char *what, const char *word,
                              const char *const *known)
{
    struct cn_nearest nearest = {.word = word};
    struct cn_str list = {0};
    for (size_t i = 0; known[i]; i++) {
        cn_nearest_offer(&nearest, known[i]);
        enum cn_status status = cn_str_format(&list, "%s%s", i ? ", " : "", known[i]);
        if (status != CN_OK) {
            cn_str_free(&list);
            return status;
        }
    }
    const char *best = cn_nearest_found(&nearest);
    enum cn_status status = cn_fail(CN_ERR_CONFIG, "%s: unknown %s \"%s\"%s%s%s; known: %s", path,
                                    what, word, best ? "; did you mean \"" : "", best ? best : "",
                                    best ? "\"?" : "", list.data ? list.data : "");
    cn_str_free(&list);
    return status;
}

static enum cn_status find_entry(const struct choice *choice, struct cn_arena *arena,
                                 const char *name, const struct cn_plugin **out)
{
    size_t n = 0;
    const char **names;
    for (; choice->entries[n]; n++)
        if (strcmp(choice->entries[n]->name, name) == 0) {
            *out = choice->entries[n];
            return CN_OK;
        }
    CN_TRY(CN_NEW(arena, n + 1, &names));
    for (size_t i = 0; i < n; i++)
        names[i] = choice->entries[i]->name;
    return unknown(choice->path, "type", name, names);
}

/* The type that a value names: itself a text, or an object with "type"; else `fallback`. */
static enum cn_status type_of(const struct cn_json *value, const char *path, const char *fallback,
                              const char **out)
{
    const struct cn_json *type = value;
    *out = fallback;
    if (cn_json_kind(value) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(value) == CN_JSON_OBJECT) type = cn_json_get(value, "type");
    if (cn_json_kind(type) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(type) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_CONFIG, "%s must be a name, or an object with \"type\" and options",
                       path);
    *out = cn_json_text(type).data;
    return CN_OK;
}

/* ---- options ------------------------------------------------------------- */

/* Copies the members of `from` into `into`; a null where null is no value changes nothing. */
static enum cn_status add_members(const struct cn_plugin *plugin, const struct cn_json *from,
                                  struct cn_json *into)
{
    if (cn_json_kind(from) != CN_JSON_OBJECT) return CN_OK;
    for (const struct cn_json *n = cn_json_first(from); n; n = cn_json_next(n)) {
        const struct cn_option *option = cn_option_find(plugin->options, cn_json_key(n));
        struct cn_json *copy;
        if (cn_json_kind(n) == CN_JSON_NULL && option && !option->nullable) continue;
        CN_TRY(cn_json_copy(n, &copy));
        CN_TRY(cn_json_set(into, cn_json_key(n), copy));
    }
    return CN_OK;
}

static enum cn_status add_defaults(const struct choice *choice, struct cn_json *into)
{
    size_t length = choice->prefix ? strlen(choice->prefix) : 0;
    for (const struct cn_default *d = choice->defaults; d && d->path; d++) {
        struct cn_json *value;
        if (strncmp(d->path, choice->prefix, length) != 0 || d->path[length] != '.') continue;
        CN_TRY(cn_json_parse(cn_text(d->value), d->path, &value));
        CN_TRY(cn_json_set(into, d->path + length + 1, value));
    }
    return CN_OK;
}

static enum cn_status merge_options(const struct choice *choice, const struct cn_plugin *plugin,
                                    struct cn_json *merged)
{
    if (strcmp(plugin->name, choice->type) == 0) CN_TRY(add_defaults(choice, merged));
    CN_TRY(add_members(plugin, choice->more, merged));
    return add_members(plugin, choice->value, merged);
}

/* Finds the entry, reads its options, checks them, makes its state. */
static enum cn_status choose(const struct reader *reader, const struct choice *choice,
                             struct cn_chosen *out)
{
    const char *name;
    const struct cn_plugin *plugin = NULL;
    struct cn_json *merged = NULL;
    char *settings, *state = NULL;
    CN_TRY(type_of(choice->value, choice->path, choice->type, &name));
    CN_TRY(find_entry(choice, reader->arena, name, &plugin));
    CN_TRY(cn_arena_alloc(reader->arena, 1, plugin->settings_size, &settings));
    if (plugin->state_size) CN_TRY(cn_arena_alloc(reader->arena, 1, plugin->state_size, &state));
    CN_TRY(cn_json_new(CN_JSON_OBJECT, &merged));
    enum cn_status status = merge_options(choice, plugin, merged);
    if (status == CN_OK)
        status = cn_option_read(plugin->options, merged, choice->path, type_only, reader->arena,
                                settings);
    cn_json_close(merged);
    CN_TRY(status);
    if (plugin->check && (status = plugin->check(settings)) != CN_OK)
        return cn_fail_context(status, "%s=%s", choice->path, plugin->name);
    *out = (struct cn_chosen){plugin, settings, state};
    return CN_OK;
}

/* ---- algorithm ----------------------------------------------------------- */

static enum cn_status check_keys(const struct cn_json *section)
{
    static const char *const keys[] = {"type", "shaping", "anchor",
#define X(name, fallback, text) #name,
                                       CN_AXES(X)
#undef X
                                           NULL};
    if (cn_json_kind(section) != CN_JSON_OBJECT) return CN_OK;
    for (const struct cn_json *n = cn_json_first(section); n; n = cn_json_next(n)) {
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], cn_json_key(n)) != 0)
            i++;
        if (!keys[i]) return unknown("algorithm", "key", cn_json_key(n), keys);
    }
    return CN_OK;
}

static enum cn_status read_row(const struct reader *reader, const struct cn_json *section)
{
    const char *name;
    CN_TRY(type_of(section, "algorithm", cn_algorithms[0]->name, &name));
    reader->recipe->row = cn_algorithm_find(name);
    if (reader->recipe->row) return CN_OK;
    size_t n = 0;
    const char **names;
    while (cn_algorithms[n])
        n++;
    CN_TRY(CN_NEW(reader->arena, n + 1, &names));
    for (size_t i = 0; i < n; i++)
        names[i] = cn_algorithms[i]->name;
    return unknown("algorithm", "type", name, names);
}

static enum cn_status read_axes(const struct reader *reader, const struct cn_json *section)
{
    const struct cn_algorithm *row = reader->recipe->row;
    const struct {
        const char *name, *path, *from_row, *fallback;
    } axes[CN_AXIS_COUNT] = {
#define X(axis, fallback, text) {#axis, "algorithm." #axis, row->axis, fallback},
        CN_AXES(X)
#undef X
    };
    for (int a = 0; a < CN_AXIS_COUNT; a++) {
        const struct choice choice = {.path = axes[a].path,
                                      .entries = cn_axis_entries((enum cn_axis_index)a),
                                      .type =
                                          axes[a].from_row ? axes[a].from_row : axes[a].fallback,
                                      .value = cn_json_get(section, axes[a].name),
                                      .defaults = row->defaults,
                                      .prefix = axes[a].name};
        CN_TRY(choose(reader, &choice, &reader->recipe->axis[a]));
    }
    return CN_OK;
}

/* A list of choices: a text or an object stands for a list of one, "none" for an empty one. */
static enum cn_status choose_list(const struct reader *reader, struct choice choice,
                                  struct cn_chosen **out, size_t *count)
{
    const struct cn_json *list = choice.value;
    const bool many = cn_json_kind(list) == CN_JSON_LIST;
    size_t n = many ? cn_json_count(list) : cn_json_kind(list) != CN_JSON_NULL;
    const char *path = choice.path;
    if (!many && cn_json_kind(list) == CN_JSON_TEXT && cn_text_is(cn_json_text(list), "none"))
        n = 0;
    CN_TRY(CN_NEW(reader->arena, n, out));
    *count = 0;
    const struct cn_json *member = many ? cn_json_first(list) : list;
    for (size_t i = 0; i < n; i++, member = many ? cn_json_next(member) : NULL) {
        struct cn_str at = {0};
        choice.value = member;
        CN_TRY(cn_str_format(&at, many ? "%s.%zu" : "%s", path, i));
        choice.path = at.data;
        enum cn_status status = choose(reader, &choice, &(*out)[i]);
        cn_str_free(&at);
        CN_TRY(status);
        ++*count;
    }
    return CN_OK;
}

static enum cn_status read_shaping(const struct reader *reader, const struct cn_json *section)
{
    struct cn_recipe *recipe = reader->recipe;
    struct cn_json *from_row = NULL;
    struct choice choice = {.path = "algorithm.shaping",
                            .entries = cn_shaping_entries(),
                            .type = "",
                            .value = cn_json_get(section, "shaping")};
    if (!choice.value && recipe->row->shaping) {
        CN_TRY(cn_json_parse(cn_text(recipe->row->shaping), recipe->row->name, &from_row));
        choice.value = from_row;
    }
    enum cn_status status = choose_list(reader, choice, &recipe->shaping, &recipe->n_shaping);
    cn_json_close(from_row);
    return status;
}

static enum cn_status read_anchor(const struct reader *reader, const struct cn_json *section)
{
    static const char *const words[] = {"old", "sampled", NULL};
    const char *fallback = reader->recipe->row->anchor, *word;
    CN_TRY(type_of(cn_json_get(section, "anchor"), "algorithm.anchor", fallback ? fallback : "old",
                   &word));
    reader->recipe->anchor_sampled = strcmp(word, "sampled") == 0;
    if (!reader->recipe->anchor_sampled && strcmp(word, "old") != 0)
        return unknown("algorithm.anchor", "word", word, words);
    return CN_OK;
}

/* ---- entropy ------------------------------------------------------------- */

static enum cn_status entropy_heads(struct cn_arena *arena, const struct cn_plugin ***out)
{
    size_t n = 0;
    while (cn_entropies[n])
        n++;
    CN_TRY(CN_NEW(arena, n + 1, out));
    for (size_t i = 0; i < n; i++)
        (*out)[i] = AXIS_HEAD(*cn_entropies[i]);
    return CN_OK;
}

static enum cn_status check_entropy_keys(const struct reader *reader, const struct cn_json *section,
                                         const struct cn_plugin *const *heads)
{
    size_t n = 0, fixed = 3;
    const char **keys;
    while (heads[n])
        n++;
    CN_TRY(CN_NEW(reader->arena, n + fixed + 1, &keys));
    keys[0] = "methods", keys[1] = "shadow", keys[2] = "type";
    for (size_t i = 0; i < n; i++)
        keys[fixed + i] = heads[i]->name;
    for (const struct cn_json *m = cn_json_first(section); m; m = cn_json_next(m)) {
        size_t i = 0;
        while (keys[i] && strcmp(keys[i], cn_json_key(m)) != 0)
            i++;
        if (!keys[i]) return unknown("entropy", "key", cn_json_key(m), keys);
    }
    return CN_OK;
}

/* A list of names and where it stands. */
struct names {
    const char *path; /* "entropy.shadow" */
    const struct cn_json *list;
};

/* Methods of a list; options stand under the method's name, or beside "type" in the list. */
static enum cn_status read_methods(const struct reader *reader, const struct cn_json *section,
                                   const struct names *names, struct cn_chosen **out, size_t *count)
{
    const struct cn_json *list = names->list;
    const char *path = names->path;
    const struct cn_plugin **heads;
    const bool many = cn_json_kind(list) == CN_JSON_LIST;
    size_t n = many ? cn_json_count(list) : cn_json_kind(list) != CN_JSON_NULL;
    CN_TRY(entropy_heads(reader->arena, &heads));
    if (cn_json_kind(list) == CN_JSON_TEXT && cn_text_is(cn_json_text(list), "none")) n = 0;
    CN_TRY(CN_NEW(reader->arena, n, out));
    *count = 0;
    const struct cn_json *member = many ? cn_json_first(list) : list;
    for (size_t i = 0; i < n; i++, member = many ? cn_json_next(member) : NULL) {
        const char *name;
        struct cn_str at = {0};
        CN_TRY(type_of(member, path, "", &name));
        CN_TRY(cn_str_format(&at, "entropy.%s", name));
        const struct choice choice = {.path = at.data,
                                      .entries = heads,
                                      .type = "",
                                      .value = member,
                                      .more = cn_json_get(section, name)};
        enum cn_status status = choose(reader, &choice, &(*out)[i]);
        cn_str_free(&at);
        CN_TRY(status);
        for (size_t j = 0; j < i; j++)
            if ((*out)[j].plugin == (*out)[i].plugin)
                return cn_fail(CN_ERR_CONFIG, "%s names %s twice", path, name);
        ++*count;
    }
    return CN_OK;
}

static enum cn_status read_entropy(const struct reader *reader, const struct cn_json *section)
{
    struct cn_recipe *recipe = reader->recipe;
    const struct cn_plugin **heads;
    const struct cn_json *methods = section;
    if (cn_json_kind(section) == CN_JSON_OBJECT) {
        CN_TRY(entropy_heads(reader->arena, &heads));
        CN_TRY(check_entropy_keys(reader, section, heads));
        methods = cn_json_get(section, "methods");
        const struct cn_json *type = cn_json_get(section, "type");
        if (type && methods)
            return cn_fail(CN_ERR_CONFIG, "entropy has both \"type\" and \"methods\": keep one");
        if (type) methods = type;
    }
    const struct names acting = {"entropy.methods", methods},
                       shadow = {"entropy.shadow", cn_json_get(section, "shadow")};
    CN_TRY(read_methods(reader, section, &acting, &recipe->entropy, &recipe->n_entropy));
    CN_TRY(read_methods(reader, section, &shadow, &recipe->shadow, &recipe->n_shadow));
    if (recipe->n_entropy + recipe->n_shadow > 32)
        return cn_fail(CN_ERR_CONFIG, "entropy: %zu methods, at most 32 have a bit in `touched`",
                       recipe->n_entropy + recipe->n_shadow);
    return CN_OK;
}

/* ---- what it all needs --------------------------------------------------- */

static void add_needs(struct cn_recipe *recipe, const struct cn_chosen *chosen, bool in_loss_only)
{
    const struct cn_plugin *plugin = chosen->plugin;
    cn_columns needs = plugin->needs;
    if (in_loss_only) needs &= ~CN_NEEDS(logp_old); /* exists by then */
    recipe->needs |= needs;
    recipe->needs_live |= plugin->needs_live;
    if (plugin->hooks.prepare && plugin->needs_live &&
        (!plugin->prepare_live || plugin->prepare_live(chosen->settings)))
        recipe->prepare_live = true;
    const char *facts = plugin->needs_facts ? plugin->needs_facts(chosen->settings) : NULL;
    if (facts) recipe->needs_facts = facts;
    if (plugin->needs_views) recipe->needs_views = plugin;
    if (plugin->hooks.branch) recipe->branches = plugin;
    const size_t depth = plugin->replay_depth ? plugin->replay_depth(chosen->settings) : 0;
    if (depth > recipe->replay_depth) recipe->replay_depth = depth;
    if (plugin->updates_minimum &&
        (!recipe->needs_updates ||
         recipe->needs_updates->updates_minimum < plugin->updates_minimum))
        recipe->needs_updates = plugin;
}

static enum cn_status add_top(struct cn_recipe *recipe, const struct cn_chosen *chosen)
{
    const struct cn_entropy *method = (const struct cn_entropy *)chosen->plugin;
    if (!method->top) return CN_OK;
    struct cn_top top = method->top(chosen->settings);
    const struct cn_top *have = &recipe->top;
    if (have->form != CN_TOP_NONE && (have->form != top.form || have->amount != top.amount ||
                                      have->renormalised != top.renormalised))
        return cn_fail(CN_ERR_CONFIG,
                       "entropy.%s restricts the entropy to another set of tokens than a method "
                       "before it, but there is one restricted entropy per run: give both the "
                       "same form, amount and renormalised",
                       method->name);
    recipe->top = top;
    return CN_OK;
}

static enum cn_status sum_needs(struct cn_recipe *recipe)
{
    recipe->needs_live = CN_LIVE_BIT(logp);
    for (int a = 0; a < CN_AXIS_COUNT; a++)
        add_needs(recipe, &recipe->axis[a], a == CN_AXIS_ratio || a == CN_AXIS_surrogate);
    for (size_t i = 0; i < recipe->n_shaping; i++)
        add_needs(recipe, &recipe->shaping[i], false);
    for (size_t i = 0; i < recipe->n_entropy; i++) {
        add_needs(recipe, &recipe->entropy[i], false);
        CN_TRY(add_top(recipe, &recipe->entropy[i]));
    }
    const struct cn_plugin *needs_updates = recipe->needs_updates;
    for (size_t i = 0; i < recipe->n_shadow; i++) {
        add_needs(recipe, &recipe->shadow[i], false);
        CN_TRY(add_top(recipe, &recipe->shadow[i]));
    }
    recipe->needs_updates = needs_updates; /* one that only reports may report nothing */
    /* What the ADVANTAGE stage writes itself is nobody else's to provide. */
    recipe->needs &= ~(CN_NEEDS(advantage) | CN_NEEDS(value_target));
    recipe->group_minimum =
        ((const struct cn_advantage *)recipe->axis[CN_AXIS_advantage].plugin)->group_minimum;
    const struct cn_chosen *critic = &recipe->axis[CN_AXIS_critic];
    const struct cn_critic *entry = (const struct cn_critic *)critic->plugin;
    if (entry->warmup) recipe->critic_warmup = entry->warmup(critic->settings);
    return CN_OK;
}

enum cn_status cn_recipe_read(const struct cn_json *algorithm, const struct cn_json *entropy,
                              struct cn_arena *arena, struct cn_recipe *out)
{
    struct reader reader = {arena, out};
    memset(out, 0, sizeof *out);
    CN_TRY(read_row(&reader, algorithm));
    CN_TRY(check_keys(algorithm));
    CN_TRY(read_axes(&reader, algorithm));
    CN_TRY(read_shaping(&reader, algorithm));
    CN_TRY(read_anchor(&reader, algorithm));
    CN_TRY(read_entropy(&reader, entropy));
    CN_TRY(sum_needs(out));
    return recipe_check(out);
}
