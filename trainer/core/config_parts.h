/* What the files config*.c share. */
#ifndef CARNOT_CONFIG_PARTS_H
#define CARNOT_CONFIG_PARTS_H

#include "config.h"

enum { CONFIG_PATH_MAX = 256 };

/* Where a value of the merged tree came from. */
struct config_origin {
    const char *path, *where; /* where: "gsm8k.json:12", "command line" */
    bool from_override;
    size_t order; /* of the argument that set it */
};

struct config {
    const struct config_schema *schema;
    struct cn_arena arena;
    struct cn_json *root;
    struct config_origin *origins;
    size_t n_origins, origins_capacity;
};

/* The argument that is being read. */
struct config_reading {
    const char *file; /* NULL: an override */
    size_t order;
};

/* "a" and "b" to "a.b"; `prefix` may be empty.  Fails: CN_ERR_CONFIG if it does not fit. */
enum cn_status config_join(const char *prefix, const char *name, char out[CONFIG_PATH_MAX]);

/* The node at a path, list indices included; NULL if there is none. */
struct cn_json *config_find(const struct cn_json *root, const char *path);

/* Sets the node at a path, creating objects and, where an index follows, lists on the way. */
enum cn_status config_store(struct cn_json *root, const char *path, struct cn_json *take_value);

/* Removes the member at a path and forgets its origin. */
void config_remove(struct config *config, const char *path);

/* Merges `value` into the tree at `path` ("" for a whole file). */
enum cn_status config_merge(struct config *config, const char *path, const struct cn_json *value,
                            const struct config_reading *reading);

/* Origin of a path, or of the first value inside or around it; NULL if it was not given. */
const struct config_origin *config_origin(const struct config *config, const char *path);

/* Forgets the origins of every value at and inside a path; records one (which is copied). */
void config_forget(struct config *config, const char *path);
enum cn_status config_remember(struct config *config, const char *path,
                               const struct config_origin *origin);

/* True if a value at or inside the path came from the command line. */
bool config_overridden(const struct config *config, const char *path);

/* The entry that a section (or an item of a list, at `path`) picks: what is given, else the preset,
 * else the section's fallback; "" if nothing.  The text lives as long as the configuration. */
enum cn_status config_picked(struct config *config, const struct config_section *section,
                             const char *path, const char **out);

/* True if a list of names of the section contains the entry. */
bool config_named(const struct config *config, const struct config_section *section,
                  const char *entry);

/* What the chosen preset sets at a full path: JSON text, or NULL. */
enum cn_status config_preset(struct config *config, const char *path, const char **out);

/* Brings `algorithm.clip_high` to its axis. */
enum cn_status config_expand(struct config *config);

/* Expands, then checks every key and value. */
enum cn_status config_check(struct config *config);

#endif
