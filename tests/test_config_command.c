/* `carnot config` as a user runs it: what is printed where, and the exit code. */
#include "check.h"

#include "carnot/str.h"

#include <glob.h>
#include <stdio.h>
#include <sys/wait.h>

/* Runs `carnot ARGUMENTS`; returns the exit code.  Standard error goes into the text too if `both`.
 */
static int carnot(const char *arguments, bool both, struct cn_str *out)
{
    char command[1024], piece[4096];
    size_t n;
    cn_str_clear(out);
    snprintf(command, sizeof command, "{ %s/carnot %s; } %s", CN_TEST_BIN, arguments,
             both ? "2>&1" : "2>/dev/null");
    FILE *pipe = popen(command, "r");
    if (!pipe) return -1;
    while ((n = fread(piece, 1, sizeof piece, pipe)) > 0)
        if (cn_str_append(out, piece, n) != CN_OK) CHECK_FAILED("%s", cn_fail_message());
    int status = pclose(pipe);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void expect(const char *arguments, int code, const char *part)
{
    struct cn_str out = {0};
    CHECK_INT(carnot(arguments, code != 0, &out), code);
    if (!out.data || !strstr(out.data, part))
        CHECK_FAILED("carnot %s: \"%s\" lacks \"%s\"", arguments, out.data ? out.data : "", part);
    cn_str_free(&out);
}

TEST(list_explain_and_show_print_to_standard_output)
{
    expect("config list", 0, "entropy: ");
    expect("config list axes", 0, "algorithm.surrogate: ");
    expect("config list keys", 0, "optimizer.lr");
    expect("config explain optimizer.lr", 0, "read by   carnot train");
    expect("config explain num_generations", 0, "is called train.samples here");
    expect("config show optimizer.lr=0.5", 0, "command line");
    expect("config show --json train.samples=16 --train.prompts 4", 0, "\"samples\": 16");
}

TEST(mistakes_end_with_exit_code_2_and_a_message_that_helps)
{
    expect("config", 2, "expected list, explain or show");
    expect("config list nothing", 2, "expected algorithms, axes");
    expect("config explain optimizer.lrr", 2, "nearest is \"lr\"");
    expect("config show nowhere.json", 2, "nowhere.json");
    expect("config show optimizer.lrr=1", 2, "nearest is \"optimizer.lr\"");
    expect("config show train.samples=0", 2, "train.samples = 0: expected a whole number from 1");
    expect("config show --dry-runn 1", 2, "\"dry-runn\" is not a key");
}

/* Every file of configs/ opens, and nothing in it is ignored. */
TEST(the_configurations_that_we_ship_open_without_a_warning)
{
    glob_t files = {0};
    CHECK_INT(glob(CN_TEST_SOURCE "/configs/*.json", 0, NULL, &files), 0);
    glob(CN_TEST_SOURCE "/configs/*/*.json", GLOB_APPEND, NULL, &files);
    CHECK(files.gl_pathc > 3);
    for (size_t i = 0; i < files.gl_pathc; i++) {
        char arguments[512];
        struct cn_str out = {0};
        snprintf(arguments, sizeof arguments, "config show '%s' 2>&1 >/dev/null",
                 files.gl_pathv[i]);
        CHECK_INT(carnot(arguments, true, &out), 0);
        if (out.length) CHECK_FAILED("%s: %s", files.gl_pathv[i], out.data);
        cn_str_free(&out);
    }
    globfree(&files);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
