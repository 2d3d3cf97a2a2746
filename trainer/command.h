/* A subcommand of `carnot`: one file each, one line each in main.c. */
#ifndef CARNOT_COMMAND_H
#define CARNOT_COMMAND_H

#include "carnot/status.h"

/* argv[0] is the subcommand's name; arguments follow; argv[argc] is NULL. */
struct cn_command {
    const char *name, *summary; /* "train", one line */
    const char *usage;          /* the full text of `carnot NAME --help` */
    enum cn_status (*run)(int argc, char **argv);
};

#endif
