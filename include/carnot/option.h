/* Option tables: every module owns a settings struct and one table that says how its fields are
 * spelled. */
#ifndef CARNOT_OPTION_H
#define CARNOT_OPTION_H

#include "carnot/arena.h"
#include "carnot/json.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cn_option_kind {
    CN_OPTION_END,    /* closes a table */
    CN_OPTION_BOOL,   /* bool */
    CN_OPTION_INT,    /* int64_t */
    CN_OPTION_REAL,   /* double; null in JSON is NaN where `nullable` */
    CN_OPTION_TEXT,   /* const char *, run arena; null is NULL where `nullable` */
    CN_OPTION_CHOICE, /* int: index into the words of `choices` */
    CN_OPTION_REALS,  /* struct cn_reals, run arena */
    CN_OPTION_TEXTS,  /* struct cn_texts, run arena */
    CN_OPTION_JSON    /* const struct cn_json *, lives as long as the configuration;
                       * its fallback must be "null": NULL */
};

struct cn_reals {
    const double *value;
    size_t count;
};

struct cn_texts {
    const char *const *value;
    size_t count;
};

/* One row of an option table; a table ends with a row whose name is NULL. */
struct cn_option {
    const char *name;
    enum cn_option_kind kind;
    size_t offset;           /* offsetof(struct settings, field) */
    const char *fallback;    /* the default, as JSON text: "0.2", "\"auto\"", "null", "[1, 4]" */
    double minimum, maximum; /* inclusive range of numbers; both 0: no limit */
    const char *choices;     /* CN_OPTION_CHOICE: "none ppo cispo", in the order of the enum */
    const char *unit;        /* "nats", "tokens", "s"; NULL if none */
    const char *help;        /* one sentence */
    bool nullable;
    bool safe_on_resume; /* may change between a run and its continuation */
};

/* Appends what values are allowed: "a number from 0 to 1 nats", "one of none, ppo, cispo or null".
 */
enum cn_status cn_option_describe(const struct cn_option *option, struct cn_str *out);

/* Checks one value as cn_option_read does, without storing it.  `path` as there. */
enum cn_status cn_option_check(const struct cn_option *option, const struct cn_json *value,
                               const char *path);

/* The row of that name, NULL if there is none; `table` may be NULL. */
const struct cn_option *cn_option_find(const struct cn_option *table, const char *name);

/* Fills `settings` from the members of `object` (may be NULL: all defaults).  `path`
 * ("algorithm.surrogate") goes into messages.  Members named in `ignore` (NULL-terminated, may be
 * NULL) belong to somebody else ("type", "weight").  A null where the option is not nullable means
 * the default.  `table` may be NULL: no options.  Texts and lists are copied to `arena`.
 *
 * Fails: CN_ERR_CONFIG for an unknown key (with the nearest known one), a wrong type, or a value
 * out of range. */
enum cn_status cn_option_read(const struct cn_option *table, const struct cn_json *object,
                              const char *path, const char *const *ignore, struct cn_arena *arena,
                              void *settings);

#ifdef __cplusplus
}
#endif
#endif
