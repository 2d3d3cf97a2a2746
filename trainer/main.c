/* carnot: finds the subcommand, runs it, prints the error, chooses the exit code. */
#include "command.h"

#include "carnot/log.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

// clang-format off
/* One line per subcommand; `carnot --help` prints them in this order. */
#define COMMANDS(X)                                                                                \
    X(train)                                                                                       \
    X(sft)                                                                                         \
    X(eval)                                                                                        \
    X(sample)                                                                                      \
    X(score)                                                                                       \
    X(grade)                                                                                       \
    X(tokenize)                                                                                    \
    X(gradient)                                                                                    \
    X(serve_rewards)                                                                               \
    X(show)                                                                                        \
    X(report)                                                                                      \
    X(diff)                                                                                        \
    X(convert)                                                                                     \
    X(config)                                                                                      \
    X(bench)                                                                                       \
    X(doctor)                                                                                      \
    X(selftest)
// clang-format on

#define X(name) extern const struct cn_command command_##name;
COMMANDS(X)
#undef X

static const struct cn_command *const commands[] = {
#define X(name) &command_##name,
    COMMANDS(X)
#undef X
        NULL};

static void print_help(FILE *file)
{
    fputs("carnot " CN_VERSION
          ": trains language-model policies by reinforcement learning and keeps their entropy "
          "under control\n\nusage: carnot COMMAND [arguments]      carnot COMMAND --help\n\n",
          file);
    for (int i = 0; commands[i]; i++)
        fprintf(file, "  %-14s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\nexit codes: 0 done, 2 configuration, 3 data or model, 4 out of memory, 5 diverged, "
          "6 communication,\n            7 verifier, 75 stopped and resumable, 99 pruned\n",
          file);
}

static const struct cn_command *find(const char *name)
{
    for (int i = 0; commands[i]; i++)
        if (strcmp(commands[i]->name, name) == 0) return commands[i];
    return NULL;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) return true;
    return false;
}

/* Leaves without running destructors: libtorch's take 60 ms and change nothing. */
static int leave(int code)
{
    fflush(NULL);
    _exit(code);
}

int main(int argc, char **argv)
{
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        print_help(argc < 2 ? stderr : stdout);
        return leave(argc < 2 ? cn_status_exit_code(CN_ERR_CONFIG) : 0);
    }
    if (strcmp(argv[1], "--version") == 0) {
        printf("carnot " CN_VERSION "\n");
        return leave(0);
    }
    const struct cn_command *command = find(argv[1]);
    if (!command) {
        cn_log_error("unknown command \"%s\"; carnot --help lists the commands", argv[1]);
        return leave(cn_status_exit_code(CN_ERR_CONFIG));
    }
    if (asks_for_help(argc - 1, argv + 1)) {
        fputs(command->usage, stdout);
        return leave(0);
    }
    enum cn_status status = command->run(argc - 1, argv + 1);
    cn_log_status_line(NULL);
    if (status == CN_STOPPED || status == CN_PRUNED)
        cn_log_info("%s", cn_fail_message());
    else if (status != CN_OK)
        cn_log_error("%s", cn_fail_message());
    return leave(cn_status_exit_code(status));
}
