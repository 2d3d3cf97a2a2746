/* carnot config: what can be set, what a key means, and what a configuration comes to. */
#include "../command.h"
#include "config_explain.h"
#include "../filters/filter.h"
#include "schema.h"

#include "../core/config.h"

#include <string.h>

/* What `list` shows under a word; the section's entries, or those of every section inside it. */
static const struct {
    const char *word, *section;
    bool inside;
} lists[] = {
    {"algorithms", "algorithm", false},
    {"axes", "algorithm", true},
    {"entropies", "entropy", false},
    {"rewards", "rewards", false},
    {"envs", "env", false},
};

static enum cn_status list_section(const struct config_section *section, struct cn_str *out)
{
    CN_TRY(cn_str_format(out, "%s: %s\n", section->path, section->summary));
    return config_list_entries(section, out);
}

static enum cn_status list_word(const struct config_schema *schema, size_t which,
                                struct cn_str *out)
{
    const struct config_section *section = config_schema_section(schema, lists[which].section);
    CN_BUG_IF(!section);
    if (!lists[which].inside) return list_section(section, out);
    for (size_t i = 0; i < schema->n_sections; i++) {
        const char *name;
        if (config_schema_inside(&schema->sections[i], section, &name))
            CN_TRY(list_section(&schema->sections[i], out));
    }
    return CN_OK;
}

static enum cn_status list(int argc, char **argv, struct cn_str *out)
{
    const struct config_schema *schema = schema_all();
    if (argc > 1)
        return cn_fail(CN_ERR_CONFIG, "config list takes one word, found \"%s\" too", argv[1]);
    if (argc == 1 && strcmp(argv[0], "keys") == 0) return config_list_keys(schema, out);
    bool found = false;
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        if (argc == 1 && strcmp(argv[0], lists[i].word) != 0) continue;
        if (found) CN_TRY(cn_str_add(out, "\n"));
        CN_TRY(list_word(schema, i, out));
        found = true;
    }
    if (found) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "config list %s: expected algorithms, axes, entropies, rewards, "
                   "envs or keys",
                   argv[0]);
}

static enum cn_status explain(int argc, char **argv, struct cn_str *out)
{
    if (argc != 1)
        return cn_fail(CN_ERR_CONFIG, "config explain takes one key: carnot config explain "
                                      "optimizer.lr");
    return config_explain(schema_all(), argv[0], out);
}

static enum cn_status show(int argc, char **argv, struct cn_str *out)
{
    struct config *config;
    bool as_json = argc && strcmp(argv[0], "--json") == 0;
    argc -= as_json, argv += as_json;
    CN_TRY(config_open(schema_all(), (const char *const *)argv, (size_t)argc, &config));
    enum cn_status status =
        as_json ? config_print_resolved(config, out) : config_print_values(config, out);
    config_close(config);
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    static const struct {
        const char *name;
        enum cn_status (*run)(int argc, char **argv, struct cn_str *out);
    } parts[] = {{"list", list}, {"explain", explain}, {"show", show}};
    struct cn_str out = {0};
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (argc < 2 || strcmp(argv[1], parts[i].name) != 0) continue;
        enum cn_status status = parts[i].run(argc - 2, argv + 2, &out);
        if (status == CN_OK) status = filter_write(cn_str_text(&out));
        cn_str_free(&out);
        return status;
    }
    return cn_fail(CN_ERR_CONFIG, "config: expected list, explain or show; carnot config --help");
}

const struct cn_command command_config = {
    .name = "config",
    .summary = "list what can be set, explain a key, show what a configuration comes to",
    .usage =
        "usage: carnot config list [algorithms|axes|entropies|rewards|envs|keys]\n"
        "       carnot config explain KEY\n"
        "       carnot config show [--json] CONFIG... [key=value | --key value]...\n\n"
        "list     names and one line each; keys: every key with default and range\n"
        "explain  a key (optimizer.lr, clip_high), a section (algorithm.surrogate), an entry of a\n"
        "         table (the name of an algorithm, reward ...), or a name from another framework\n"
        "         (num_generations): type, range, unit, default, who reads it\n"
        "show     the resolved configuration with the origin of every value; --json: as it is\n"
        "         written to a run's config.resolved.json\n",
    .run = run,
};
