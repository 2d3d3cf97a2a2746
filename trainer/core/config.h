/* The configuration of a command: files and overrides, merged, checked, with the origin of every
 * value.
 *
 *     carnot train base.json overlay.json train.samples=16 --optimizer.lr 1e-5
 *
 * Files compose left to right and overrides with them, later wins.  Objects are merged, lists
 * replaced, null clears. A section that picks from a table takes a text for its type.  Values of
 * overrides are JSON; what is not JSON is text.  --force alone stands for run.force=true. */
#ifndef CARNOT_CONFIG_H
#define CARNOT_CONFIG_H

#include "config_schema.h"

struct config;

/* Reads and checks `count` arguments: names of files, key=value, --key=value, --key value.  Keys
 * that nobody knows, wrong types and ranges fail; known keys that the chosen rows ignore fail when
 * they stand on the command line and are dropped with a warning when they stand in a file. Fails:
 * CN_ERR_CONFIG naming file, line and path; CN_ERR_IO.  The schema is borrowed until close.  Not
 * collective. */
enum cn_status config_open(const struct config_schema *schema, const char *const *arguments,
                           size_t count, struct config **out);
void config_close(struct config *take_config);

/* True if config_open takes the argument for an override rather than for the name of a file. */
bool config_is_override(const char *argument);

/* The merged tree as it was given: no defaults in it; types as objects.  Lives as long as the
 * configuration. */
const struct cn_json *config_root(const struct config *config);
const struct cn_json *config_section(const struct config *config, const char *name); /* or NULL */

enum config_source {
    CONFIG_FROM_DEFAULT,
    CONFIG_FROM_PRESET,
    CONFIG_FROM_FILE,
    CONFIG_FROM_OVERRIDE
};

/* One value of the resolved configuration. */
struct config_value {
    const char *path;
    const struct cn_option *option; /* NULL: "type" of a section that picks */
    const struct cn_json *value;
    const struct cn_json *otherwise; /* what preset and defaults alone would give; may be NULL */
    enum config_source source;
    const char *where; /* "gsm8k.json:12", "command line", "preset dapo", "default" */
};

/* Calls `visit` for every value that a run with this configuration reads, in the order of the
 * schema. */
enum cn_status config_each(struct config *config,
                           enum cn_status (*visit)(void *self, const struct config_value *value),
                           void *self);

/* The whole tree with presets and defaults (config.resolved.json); read as a file it gives the same
 * configuration. */
enum cn_status config_resolve(struct config *config, struct cn_json **out);
enum cn_status config_print_resolved(struct config *config, struct cn_str *out);

/* Checks that a run started with the resolved tree `before` may go on: only options that are safe
 * on resume differ; with `force`, others are allowed and named by a warning.  Fails: CN_ERR_CONFIG
 * naming the run and every value that differs. */
enum cn_status config_check_resume(struct config *config, const struct cn_json *before,
                                   const char *name, bool force);

/* One line per value that differs from preset and default: "optimizer.lr = 1e-05 (gsm8k.json:12;
 * otherwise 1e-06)". */
enum cn_status config_print_changes(struct config *config, struct cn_str *out);

/* One line per value, aligned: path, value, origin (carnot config show). */
enum cn_status config_print_values(struct config *config, struct cn_str *out);

#endif
