/* The schema of the whole program, what `carnot config` says about it, and names from other
 * frameworks. */
#include "check.h"

#include "trainer/config/config_explain.h"
#include "trainer/config/config_names.h"
#include "trainer/core/config.h"
#include "trainer/config/schema.h"
#include "trainer/config/settings.h"

#include "carnot/algorithm.h"
#include "carnot/env.h"
#include "carnot/reward.h"

#include <stdio.h>

static bool has_entry(const char *section, const char *entry)
{
    const struct config_section *s = config_schema_section(schema_all(), section);
    return s && config_schema_entry(s, entry);
}

TEST(every_section_and_plug_in_has_its_place)
{
    for (const struct settings_section *s = settings_sections; s->name; s++)
        CHECK(config_schema_section(schema_all(), s->name) != NULL);
    for (size_t i = 0; cn_algorithms[i]; i++)
        CHECK(has_entry("algorithm", cn_algorithms[i]->name));
    for (size_t i = 0; cn_entropies[i]; i++)
        CHECK(has_entry("entropy", cn_entropies[i]->name));
    for (size_t i = 0; cn_rewards[i]; i++)
        CHECK(has_entry("rewards", cn_rewards[i]->name));
    for (size_t i = 0; cn_envs[i]; i++)
        CHECK(has_entry("env", cn_envs[i]->name));
    for (int axis = 0; axis < CN_AXIS_COUNT; axis++) {
        char path[64];
        snprintf(path, sizeof path, "algorithm.%s", cn_axis_name((enum cn_axis_index)axis));
        for (size_t i = 0; cn_axis_entries((enum cn_axis_index)axis)[i]; i++)
            CHECK(has_entry(path, cn_axis_entries((enum cn_axis_index)axis)[i]->name));
    }
    for (size_t i = 0; cn_shaping_entries()[i]; i++)
        CHECK(has_entry("algorithm.shaping", cn_shaping_entries()[i]->name));
}

/* A default that its own table would refuse would make every run fail; a row without help explains
 * nothing. */
static void check_table(const char *path, const struct cn_option *table)
{
    for (const struct cn_option *o = table; o && o->name; o++) {
        struct cn_json *fallback = NULL;
        if (!o->fallback || cn_json_parse(cn_text(o->fallback), o->name, &fallback) != CN_OK) {
            CHECK_FAILED("%s.%s: the default \"%s\" is not JSON", path, o->name, o->fallback);
            cn_fail_clear();
            continue;
        }
        if (cn_option_check(o, fallback, path) != CN_OK) CHECK_FAILED("%s", cn_fail_message());
        if (!o->help || !*o->help) CHECK_FAILED("%s.%s has no help", path, o->name);
        cn_fail_clear();
        cn_json_close(fallback);
    }
}

TEST(every_default_is_a_value_that_its_option_allows)
{
    const struct config_schema *schema = schema_all();
    for (size_t i = 0; i < schema->n_sections; i++) {
        const struct config_section *section = &schema->sections[i];
        check_table(section->path, section->options);
        for (size_t e = 0; e < section->n_entries; e++)
            check_table(section->path, section->entries[e].options);
    }
}

TEST(every_row_resolves_and_reads_back_as_itself)
{
    for (size_t i = 0; cn_algorithms[i]; i++) {
        char override[64];
        const char *arguments[] = {override}, *file[] = {"resolved.json"};
        struct config *config = NULL, *again = NULL;
        struct cn_str first = {0}, second = {0};
        snprintf(override, sizeof override, "algorithm=%s", cn_algorithms[i]->name);
        CHECK_OK(config_open(schema_all(), arguments, 1, &config));
        CHECK_OK(config_print_resolved(config, &first));
        CHECK_OK(cn_file_replace(file[0], first.data, first.length));
        CHECK_OK(config_open(schema_all(), file, 1, &again));
        CHECK_OK(config_print_resolved(again, &second));
        CHECK_TEXT(second.data, first.data);
        CHECK(strstr(first.data, cn_algorithms[i]->name) != NULL);
        remove(file[0]);
        config_close(config);
        config_close(again);
        cn_str_free(&first);
        cn_str_free(&second);
    }
}

/* True if a settings struct is plain numbers: two readings of the same values are then the same
 * bytes. */
static bool plain(const struct cn_option *table)
{
    for (const struct cn_option *o = table; o && o->name; o++)
        if (o->kind == CN_OPTION_TEXT || o->kind == CN_OPTION_REALS || o->kind == CN_OPTION_TEXTS ||
            o->kind == CN_OPTION_JSON)
            return false;
    return true;
}

static void compare_recipes(const struct cn_recipe *a, const struct cn_recipe *b)
{
    CHECK_TEXT(a->row->name, b->row->name);
    CHECK_INT(a->anchor_sampled, b->anchor_sampled);
    CHECK_INT(a->n_shaping, b->n_shaping);
    CHECK_INT(a->n_entropy, b->n_entropy);
    for (int axis = 0; axis < CN_AXIS_COUNT; axis++) {
        const struct cn_plugin *plugin = a->axis[axis].plugin;
        CHECK_TEXT(plugin->name, b->axis[axis].plugin->name);
        if (plugin == b->axis[axis].plugin && plain(plugin->options) &&
            memcmp(a->axis[axis].settings, b->axis[axis].settings, plugin->settings_size) != 0)
            CHECK_FAILED("%s: other settings of %s", a->row->name, plugin->name);
    }
}

/* What `config show` and config.resolved.json claim is what the algorithms read. */
TEST(the_resolved_tree_gives_the_same_recipe_as_the_given_one)
{
    static const char *const extra[] = {"entropy=none", "algorithm.ratio=seq_geo",
                                        "algorithm.surrogate=cispo", "algorithm.clip_high=0.5"};
    for (size_t i = 0; cn_algorithms[i]; i++)
        for (size_t e = 0; e < sizeof extra / sizeof *extra; e++) {
            char override[64];
            const char *arguments[] = {override, extra[e]};
            struct config *config = NULL;
            struct cn_json *resolved = NULL;
            struct cn_arena arena = {0};
            struct cn_recipe given, again;
            snprintf(override, sizeof override, "algorithm=%s", cn_algorithms[i]->name);
            enum cn_status status = config_open(schema_all(), arguments, 2, &config);
            if (status == CN_OK) status = config_resolve(config, &resolved);
            if (status == CN_OK)
                status = cn_recipe_read(config_section(config, "algorithm"),
                                        config_section(config, "entropy"), &arena, &given);
            if (status == CN_OK) {
                CHECK_OK(cn_recipe_read(cn_json_get(resolved, "algorithm"),
                                        cn_json_get(resolved, "entropy"), &arena, &again));
                compare_recipes(&given, &again);
            } else if (status != CN_ERR_CONFIG || e == 0) /* some rows refuse some overrides */
                CHECK_FAILED("%s %s: %s", override, extra[e], cn_fail_message());
            cn_fail_clear();
            cn_json_close(resolved);
            config_close(config);
            cn_arena_free(&arena);
        }
}

static bool explained(const char *word, const char *part)
{
    struct cn_str out = {0};
    bool found = config_explain(schema_all(), word, &out) == CN_OK && strstr(out.data, part);
    cn_fail_clear();
    cn_str_free(&out);
    return found;
}

TEST(keys_are_explained_by_path_and_by_last_word)
{
    CHECK(explained("optimizer.lr", "allowed   a number from 0 to 10"));
    CHECK(explained("lr", "optimizer.lr"));
    CHECK(explained("surrogate.clip_high", "set by"));
    CHECK(explained("rewards.0.weight", "default   1"));
    CHECK(explained("algorithm.surrogate", "one of:"));
    CHECK(explained(cn_algorithms[0]->name, "algorithm.advantage"));
    CHECK(explained(cn_entropies[0]->name, cn_entropies[0]->summary));
    struct cn_str out = {0};
    CHECK_FAILS(config_explain(schema_all(), "optimizer.betsa", &out), CN_ERR_CONFIG,
                "nearest is \"betas\"");
    CHECK_FAILS(config_explain(schema_all(), "qqqqqqqqqqqqqqq", &out), CN_ERR_CONFIG,
                "nothing is called");
    cn_str_free(&out);
}

TEST(names_of_other_frameworks_lead_to_keys_that_exist)
{
    CHECK(explained("actor_rollout_ref.actor.clip_ratio_low", "algorithm.surrogate.clip_low"));
    CHECK(explained("num_generations", "train.samples"));
    for (const struct config_name *n = config_names; n->theirs; n++) {
        char words[512], *rest = NULL;
        struct cn_str out = {0};
        if (config_explain(schema_all(), n->ours, &out) != CN_OK)
            CHECK_FAILED("%s: %s", n->theirs, cn_fail_message());
        cn_fail_clear();
        cn_str_free(&out);
        snprintf(words, sizeof words, "%s", n->theirs);
        for (char *w = strtok_r(words, " ", &rest); w; w = strtok_r(NULL, " ", &rest))
            if (!explained(w, "is called")) CHECK_FAILED("%s is not explained", w);
    }
}

TEST(all_keys_are_listed)
{
    struct cn_str out = {0};
    CHECK_OK(config_list_keys(schema_all(), &out));
    CHECK(strstr(out.data, "\noptimizer.lr ") != NULL);
    CHECK(strstr(out.data, "\nalgorithm.surrogate.clip_low ") != NULL);
    CHECK(strstr(out.data, "\nrewards.0.weight ") != NULL);
    cn_str_free(&out);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
