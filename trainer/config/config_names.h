/* Names of settings in other frameworks and in common speech, with Carnot's key for each. */
#ifndef CARNOT_CONFIG_NAMES_H
#define CARNOT_CONFIG_NAMES_H

struct config_name {
    const char *theirs; /* words separated by spaces */
    const char *ours;   /* path of a key or of a section */
    const char *note;   /* what is different; NULL: nothing */
};

extern const struct config_name config_names[]; /* ends with NULL */

#endif
