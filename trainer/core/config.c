/* Opening a configuration: which arguments are files, which are overrides, and what an override's
 * value means. */
#include "config.h"

#include "config_canonical.h"
#include "config_parts.h"

#include <stdlib.h>
#include <string.h>

static const size_t file_limit = 16 << 20; /* bytes; a configuration is written by hand */

static const char key_letters[] =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";

bool config_is_override(const char *argument)
{
    if (strncmp(argument, "--", 2) == 0) return true;
    size_t key = strspn(argument, key_letters);
    return key > 0 && argument[key] == '=';
}

/* ---- values of overrides ------------------------------------------------- */

static enum cn_status text_value(const char *text, struct cn_json **out)
{
    struct cn_json *checked;
    struct cn_str quoted = {0};
    enum cn_status status =
        cn_json_quote(&quoted, cn_text(text)); /* bytes that are not UTF-8 are replaced */
    if (status == CN_OK) status = cn_json_parse(cn_str_text(&quoted), "value", &checked);
    cn_str_free(&quoted);
    if (status == CN_OK) *out = checked;
    return status;
}

/* JSON if it is JSON; the raw text where the option is a text, so that run.name=007 needs no
 * quotes. */
static enum cn_status parse_value(const struct config_schema *schema, const char *key,
                                  const char *text, struct cn_json **out)
{
    bool below;
    const struct cn_option *option = config_schema_option(schema, key, &below);
    bool structured = *text == '[' || *text == '{' || *text == '"';
    bool wants_text = option && !below &&
                      (option->kind == CN_OPTION_TEXT || option->kind == CN_OPTION_CHOICE ||
                       option->kind == CN_OPTION_TEXTS);
    if (wants_text && !structured && strcmp(text, "null") != 0) return text_value(text, out);
    enum cn_status status = cn_json_parse_config(cn_text(text), key, out);
    if (status != CN_ERR_DATA) return status;
    if (structured) return cn_fail_context(CN_ERR_CONFIG, "command line");
    cn_fail_clear();
    return text_value(text, out);
}

static enum cn_status read_override(struct config *config, const char *key, const char *text,
                                    size_t order)
{
    struct cn_json *given = NULL, *value = NULL;
    struct config_reading reading = {NULL, order};
    if (!*key || key[strspn(key, key_letters)] || *key == '.')
        return cn_fail(CN_ERR_CONFIG, "command line: \"%s\" is not a key", key);
    CN_TRY(parse_value(config->schema, key, text, &given));
    enum cn_status status = config_canonical(config->schema, key, given, &value);
    if (status == CN_OK) status = config_merge(config, key, value, &reading);
    if (status == CN_ERR_CONFIG) cn_fail_context(status, "command line");
    cn_json_close(value);
    cn_json_close(given);
    return status;
}

/* ---- files --------------------------------------------------------------- */

static enum cn_status merge_file(struct config *config, const char *path,
                                 const struct cn_json *given, size_t order)
{
    struct cn_json *value = NULL;
    struct config_reading reading = {path, order};
    if (cn_json_kind(given) != CN_JSON_OBJECT)
        return cn_fail(CN_ERR_CONFIG, "%s: a configuration is a JSON object", path);
    enum cn_status status = config_canonical(config->schema, "", given, &value);
    if (status == CN_OK) status = config_merge(config, "", value, &reading);
    if (status == CN_ERR_CONFIG) cn_fail_context(status, "%s", path);
    cn_json_close(value);
    return status;
}

static enum cn_status read_file(struct config *config, const char *path, size_t order)
{
    struct cn_str text = {0};
    struct cn_json *given = NULL;
    enum cn_status status = cn_file_read(path, file_limit, &text);
    if (status != CN_OK) status = cn_fail_context(CN_ERR_CONFIG, "configuration");
    if (status == CN_OK) status = cn_json_parse_config(cn_str_text(&text), path, &given);
    cn_str_free(&text);
    if (status == CN_ERR_DATA) return CN_ERR_CONFIG; /* the message stands */
    if (status == CN_OK) status = merge_file(config, path, given, order);
    cn_json_close(given);
    return status;
}

/* ---- arguments ----------------------------------------------------------- */

/* Reads the argument at *index, which moves on by one or, for `--key value`, by two. */
static enum cn_status read_argument(struct config *config, const char *const *arguments,
                                    size_t count, size_t *index)
{
    size_t order = *index;
    const char *argument = arguments[(*index)++], *equals = strchr(argument, '=');
    if (!config_is_override(argument)) return read_file(config, argument, order);
    if (strcmp(argument, "--force") == 0) return read_override(config, "run.force", "true", order);
    if (argument[0] == '-') argument += 2;
    if (!equals && *index == count)
        return cn_fail(CN_ERR_CONFIG, "command line: --%s needs a value", argument);
    char *key;
    size_t length = equals ? (size_t)(equals - argument) : strlen(argument);
    CN_TRY(cn_arena_text(&config->arena, argument, length, &key));
    return read_override(config, key, equals ? equals + 1 : arguments[(*index)++], order);
}

enum cn_status config_open(const struct config_schema *schema, const char *const *arguments,
                           size_t count, struct config **out)
{
    struct config *config = calloc(1, sizeof *config);
    if (!config) return cn_fail(CN_ERR_MEMORY, "out of memory while reading a configuration");
    config->schema = schema;
    enum cn_status status;
    CN_TRY_GOTO(cn_json_new(CN_JSON_OBJECT, &config->root), out);
    for (size_t i = 0; i < count;)
        CN_TRY_GOTO(read_argument(config, arguments, count, &i), out);
    CN_TRY_GOTO(config_check(config), out);
    *out = config;
    return CN_OK;
out:
    config_close(config);
    return status;
}

void config_close(struct config *take_config)
{
    if (!take_config) return;
    cn_json_close(take_config->root);
    cn_arena_free(&take_config->arena);
    free(take_config->origins);
    free(take_config);
}

const struct cn_json *config_root(const struct config *config)
{
    return config->root;
}

const struct cn_json *config_section(const struct config *config, const char *name)
{
    return cn_json_get(config->root, name);
}
