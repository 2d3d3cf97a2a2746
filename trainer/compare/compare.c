/* carnot report --compare: runs side by side. */
#include "compare.h"

#include "../command.h"
#include "../filters/filter.h"

#include "carnot/log.h"

#include <string.h>

struct arguments_of_report {
    const char *svg; /* NULL: none */
    const char **folder;
    size_t n;
    bool compares;
};

static enum cn_status read_arguments(int argc, char **argv, struct cn_arena *arena,
                                     struct arguments_of_report *out)
{
    CN_TRY(CN_NEW(arena, (size_t)argc, &out->folder));
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--compare") == 0) {
            out->compares = true;
        } else if (strcmp(argv[i], "--svg") == 0) {
            if (!argv[i + 1]) return cn_fail(CN_ERR_CONFIG, "report: --svg needs a file");
            out->svg = argv[++i];
        } else if (argv[i][0] == '-') {
            return cn_fail(CN_ERR_CONFIG, "report: unknown flag \"%s\"; carnot report --help",
                           argv[i]);
        } else {
            out->folder[out->n++] = argv[i];
        }
    }
    if (!out->compares)
        return cn_fail(CN_ERR_CONFIG, "report: say --compare; carnot show RUN shows a single run");
    return out->n ? CN_OK : cn_fail(CN_ERR_CONFIG, "report --compare needs run folders");
}

static enum cn_status run(int argc, char **argv)
{
    struct cn_arena arena;
    struct arguments_of_report arguments = {.svg = NULL};
    struct comparison comparison;
    struct cn_str out = {0};
    enum cn_status status;
    cn_arena_init(&arena);
    CN_TRY_GOTO(read_arguments(argc, argv, &arena, &arguments), out);
    CN_TRY_GOTO(compare_read(arguments.folder, arguments.n, &arena, &comparison), out);
    CN_TRY_GOTO(compare_print(&comparison, &out), out);
    CN_TRY_GOTO(filter_write(cn_str_text(&out)), out);
    if (arguments.svg) {
        CN_TRY_GOTO(compare_svg(&comparison, arguments.svg), out);
        cn_log_info("entropy curves: %s", arguments.svg);
    }
out:
    cn_str_free(&out);
    cn_arena_free(&arena);
    return status;
}

const struct cn_command command_report = {
    .name = "report",
    .summary = "runs side by side: table, paired differences, entropy curves",
    .usage =
        "usage: carnot report --compare [--svg FILE] RUN...\n\n"
        "RUN are folders of carnot train.  Runs with the same run.name and different run.seed\n"
        "are one method; the method of the first folder is the baseline, and differences are\n"
        "paired by seed.  --svg also draws the entropy curves into a file.\n",
    .run = run};
