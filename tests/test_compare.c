/* carnot report --compare: numbers of run folders written by hand. */
#include "check.h"

#include "trainer/compare/compare.h"

#include <math.h>
#include <stdlib.h>

static char root[64];

static void write_file(const char *run, const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", root, run);
    CHECK_OK(cn_folder_make(path));
    snprintf(path, sizeof path, "%s/%s/%s", root, run, name);
    CHECK_OK(cn_file_replace(path, text, strlen(text)));
}

/* Six steps whose entropy falls from `top` to top - 5 and whose reward rises from 0 to 5. */
static void write_metrics(const char *run, double top, double seconds)
{
    struct cn_str rows = {0};
    CHECK_OK(cn_str_add(&rows, "{\"step\": 0, \"eval/a/pass@1\": 0.1}\n"));
    for (int step = 0; step < 6; step++)
        CHECK_OK(cn_str_format(&rows,
                               "{\"step\": %d, \"reward/mean\": %d, \"policy/entropy\": %g, "
                               "\"time/step_s\": %g, \"entropy/touched_frac\": 0.5%s}\n",
                               step + 1, step, top - step, seconds,
                               step < 5 ? ""
                                        : ", \"eval/a/pass@1\": 0.5, \"eval/a/pass@8\": 0.75, "
                                          "\"eval/a/distinct@16\": 3, \"eval/b/pass@1\": 0.9"));
    write_file(run, "metrics.jsonl", rows.data);
    cn_str_free(&rows);
}

/* A run folder of method `name`; the path lives as long as the program. */
static const char *write_run(const char *run, const char *name, int seed, double top,
                             double seconds)
{
    static char paths[16][128];
    static int next;
    char config[128];
    snprintf(config, sizeof config, "{\"run\": {\"name\": \"%s\", \"seed\": %d}}", name, seed);
    write_file(run, "config.resolved.json", config);
    write_metrics(run, top, seconds);
    char *path = paths[next++ % 16];
    snprintf(path, 128, "%s/%s", root, run);
    return path;
}

static void begin(void)
{
    strcpy(root, "/tmp/carnot_test_compare_XXXXXX");
    CHECK(mkdtemp(root) != NULL);
}

static void end(struct cn_arena *arena)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", root);
    CHECK_INT(system(command), 0);
    cn_arena_free(arena);
}

TEST(a_run_is_summed_up_in_thirds_and_by_the_first_set)
{
    struct cn_arena arena;
    struct comparison c;
    cn_arena_init(&arena);
    begin();
    const char *folders[] = {write_run("p0", "plain", 0, 10, 2)};
    CHECK_OK(compare_read(folders, 1, &arena, &c));
    const double *value = c.run[0].value;
    CHECK_NEAR(value[COMPARE_REWARD], 4.5, 1e-12); /* steps 5 and 6 */
    CHECK_NEAR(value[COMPARE_START], 10, 1e-12);
    CHECK_NEAR(value[COMPARE_MIDDLE], 7.5, 1e-12);
    CHECK_NEAR(value[COMPARE_END], 5.5, 1e-12);
    CHECK_NEAR(value[COMPARE_PASS_1], 0.5, 1e-12);
    CHECK_NEAR(value[COMPARE_PASS_K], 0.75, 1e-12);
    CHECK_INT(c.run[0].k, 8);
    CHECK_NEAR(value[COMPARE_DISTINCT], 3, 1e-12);
    CHECK_NEAR(value[COMPARE_TOUCHED], 0.5, 1e-12);
    CHECK_NEAR(value[COMPARE_TIME], 2, 1e-12);
    end(&arena);
}

TEST(differences_are_paired_by_seed_with_their_standard_error)
{
    struct cn_arena arena;
    struct comparison c;
    struct cn_str out = {0};
    cn_arena_init(&arena);
    begin();
    /* The seeds differ by 100 nats; their differences are 1 and 3: mean 2, error 1. */
    const char *folders[] = {
        write_run("p0", "plain", 0, 10, 2), write_run("p1", "plain", 1, 110, 2),
        write_run("m1", "me\\u001bthod", 1, 113, 3), write_run("m0", "me\\u001bthod", 0, 11, 3)};
    CHECK_OK(compare_read(folders, 4, &arena, &c));
    CHECK_INT(c.n_methods, 2);
    CHECK_NEAR(compare_entropy(&c, 1, 0), 62, 1e-12);
    CHECK_OK(compare_print(&c, &out));
    CHECK(strstr(out.data, "+2.000 (1.000) ") != NULL); /* not beyond two errors */
    CHECK(strstr(out.data, "+0.000 (0.000) ") != NULL); /* rewards are equal */
    CHECK(strstr(out.data, "1.50\n") != NULL);          /* time of a step over the baseline's */
    CHECK(strchr(out.data, '\x1b') == NULL);
    cn_str_free(&out);
    end(&arena);
}

TEST(runs_that_cannot_be_compared_are_named)
{
    struct cn_arena arena;
    struct comparison c;
    cn_arena_init(&arena);
    begin();
    const char *twice[] = {write_run("a", "plain", 0, 10, 2), write_run("b", "plain", 0, 10, 2)};
    CHECK_FAILS(compare_read(twice, 2, &arena, &c), CN_ERR_DATA, "both have run.name=plain");
    const char *missing[] = {"/nonexistent/run"};
    CHECK_FAILS(compare_read(missing, 1, &arena, &c), CN_ERR_DATA,
                "/nonexistent/run is no run folder");
    write_file("b", "metrics.jsonl", "{\"step\": 1, \"sft/loss\": 1}\n");
    CHECK_FAILS(compare_read(twice + 1, 1, &arena, &c), CN_ERR_DATA, "0 steps of training");
    end(&arena);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
