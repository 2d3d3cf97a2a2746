/* Flags of commands that take a model's folder: --name value, in any order. */
#ifndef CARNOT_ARGUMENTS_H
#define CARNOT_ARGUMENTS_H

#include "carnot/option.h"

/* Reads `--key value` and `--flag` (booleans) of argv[1..] by an option table, dashes in names
 * standing for underscores; what is no flag is collected in positional (at most n_positional).
 * Fails: CN_ERR_CONFIG naming the flag, its range, or the nearest known one. */
struct arguments {
    const struct cn_option *table;
    const char **positional;
    size_t n_positional, found; /* found: how many there were */
};
enum cn_status arguments_read(struct arguments *arguments, int argc, char **argv,
                              struct cn_arena *arena, void *settings);

/* Takes a bare flag such as "--dry-run" out of argv; true if it was there. */
bool arguments_take(int *argc, char **argv, const char *flag);

/* Cores of this process's affinity mask. */
int arguments_cores(void);

/* Fails: CN_ERR_CONFIG if more threads are asked for than that. */
enum cn_status arguments_check_threads(int64_t threads);

#endif
