/* What a configuration may contain: sections, their option tables, and the tables that sections
 * pick from. The schema is data; who fills it (trainer/config/schema.c) knows the lists of
 * plug-ins, config.c does not. */
#ifndef CARNOT_CONFIG_SCHEMA_H
#define CARNOT_CONFIG_SCHEMA_H

#include "carnot/option.h"

enum config_form {
    CONFIG_TABLE, /* an object of options: "optimizer": {"lr": 1e-6} */
    CONFIG_PICK,  /* "type" picks an entry, whose options stand beside it: "env": {"type": "x",
                     "rows": 8} */
    CONFIG_LIST,  /* a list of picks: "rewards": [{"type": "x", "weight": 1}] */
    CONFIG_NAMED  /* a list of names; each has an object of options: "entropy": {"methods": ["x"],
                     "x": {"a": 1}} */
};

/* An entry that "type" or a list of names can pick. */
struct config_entry {
    const char *name, *summary, *reference; /* reference may be NULL */
    const struct cn_option *options;        /* may be NULL */
};

struct config_section {
    const char *path; /* "optimizer", "algorithm.surrogate" (inside the section "algorithm") */
    const char *summary, *readers; /* readers: which commands use it */
    enum config_form form;
    const struct cn_option *options; /* of the section itself, whatever is picked; may be NULL */
    const struct config_entry *entries;
    size_t n_entries;
    const char *
        fallback; /* what "type" is if nobody says, the one item of an absent list; NULL: nothing */
};

struct config_schema {
    const struct config_section *sections;
    size_t n_sections;
    /* The section whose entries are presets ("algorithm"), or NULL: values that a preset sets
     * inside its section. */
    const char *preset_section;
    /* What `entry` sets at `path` below the preset section, NULL if nothing: the bare name of a
     * type for the path of a section ("surrogate"), JSON text for a list section or an option
     * ("surrogate.clip_high"). */
    const char *(*preset)(const char *entry, const char *path);
};

const struct config_section *config_schema_section(const struct config_schema *schema,
                                                   const char *path);
const struct config_entry *config_schema_entry(const struct config_section *section,
                                               const char *name);

/* The section whose path is the longest prefix of `path`; *rest is what follows ("clip_low", "" if
 * nothing). */
const struct config_section *config_schema_owner(const struct config_schema *schema,
                                                 const char *path, const char **rest);

/* The option at a full path, whichever entry has it (the first that does); NULL if there is none.
 * *below: the path goes on inside the value of a JSON option.  `algorithm.clip_low` is found as
 * `algorithm.surrogate.clip_low` is. */
const struct cn_option *config_schema_option(const struct config_schema *schema, const char *path,
                                             bool *below);

/* True if `section` lies directly inside the section `outer` ("algorithm.kl" in "algorithm"); *name
 * is "kl". */
bool config_schema_inside(const struct config_section *section, const struct config_section *outer,
                          const char **name);

#endif
