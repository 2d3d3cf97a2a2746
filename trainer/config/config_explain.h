/* `carnot config explain KEY` and `carnot config list`: what the schema says, as text. */
#ifndef CARNOT_CONFIG_EXPLAIN_H
#define CARNOT_CONFIG_EXPLAIN_H

#include "../core/config_schema.h"

/* Appends everything known about a key, a section, an entry or a name of another framework.
 * Fails: CN_ERR_CONFIG if nothing is known, naming the nearest key. */
enum cn_status config_explain(const struct config_schema *schema, const char *word,
                              struct cn_str *out);

/* Appends one line per key: path, entry, what is allowed, default, help. */
enum cn_status config_list_keys(const struct config_schema *schema, struct cn_str *out);

/* Appends a section's entries: name, summary, reference. */
enum cn_status config_list_entries(const struct config_section *section, struct cn_str *out);

#endif
