/* How fast programs are run: alone, in the sandbox, and through the reward, as many at a time as
 * there are cores.  "beyond its own": what the sandbox adds to the same program without it. */
#include "code.h"

#include "carnot/log.h"
#include "carnot/reward.h"

#include <spawn.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 100 };

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Processor seconds of this process and of all children that it waited for. */
static double processor(void)
{
    double sum = 0;
    struct rusage used;
    for (int who = RUSAGE_CHILDREN; who <= RUSAGE_SELF; who++) {
        getrusage(who, &used);
        sum += (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    }
    return sum;
}

struct cost {
    double wall, core; /* seconds a run */
};

static struct cost alone(const char *const *argv, int runs)
{
    double start = seconds(), core = processor();
    for (int i = 0; i < runs; i++) {
        pid_t pid;
        if (posix_spawn(&pid, argv[0], NULL, NULL, (char *const *)(uintptr_t)argv, environ)) break;
        waitpid(pid, NULL, 0);
    }
    return (struct cost){(seconds() - start) / runs, (processor() - core) / runs};
}

static struct cost inside(struct sandbox *sandbox, const char *const *argv, int runs)
{
    const struct sandbox_job job = {.argv = argv, .limits = sandbox_limits_default};
    struct sandbox_result result = {0};
    double start = seconds(), core = processor();
    for (int i = 0; i < runs; i++)
        if (sandbox_run(sandbox, &job, 1, &result) != CN_OK || result.end != SANDBOX_END_EXITED)
            cn_log_warn("run %d: %s %s", i, sandbox_end_meaning(result.end), result.why);
    struct cost cost = {(seconds() - start) / runs, (processor() - core) / runs};
    sandbox_result_free(&result);
    return cost;
}

static void compare(struct sandbox *sandbox, const char *name, const char *const *argv, int runs)
{
    struct cost a = alone(argv, runs), b = inside(sandbox, argv, runs);
    cn_log_info("%s: alone %6.2f ms  sandboxed %6.2f ms  beyond its own %5.2f ms = %4.0f a second; "
                "processor %5.2f ms = %4.0f a core second",
                name, 1e3 * a.wall, 1e3 * b.wall, 1e3 * (b.wall - a.wall), 1 / (b.wall - a.wall),
                1e3 * (b.core - a.core), 1 / (b.core - a.core));
}

/* Whole replies through the reward. */
static enum cn_status whole(const char *name, const char *gold, const char *reply)
{
    static const char *const ours[] = {"type", NULL};
    static struct cn_episode episodes[RUNS];
    static struct cn_outcome out[RUNS];
    struct cn_arena arena;
    struct cn_reward_entry used = {0};
    struct cn_json *node = NULL;
    enum cn_status status;
    size_t right = 0;
    cn_arena_init(&arena);
    CN_TRY_GOTO(cn_json_new_text(cn_text("code_tests"), &node), out);
    CN_TRY_GOTO(cn_reward_open(node, "bench", ours, &arena, &used), out);
    for (size_t i = 0; i < RUNS; i++)
        episodes[i] = (struct cn_episode){
            .response = cn_text(reply), .ground_truth = cn_text(gold), .stop = CN_STOP_EOS};
    const double start = seconds();
    CN_TRY_GOTO(cn_reward_score(&used, episodes, RUNS, &arena, out), out);
    const double took = seconds() - start;
    for (size_t i = 0; i < RUNS; i++)
        right += out[i].verdict == CN_VERDICT_CORRECT;
    cn_log_info("%s: %.0f programs a second on %ld cores, %zu of %d right", name, RUNS / took,
                sysconf(_SC_NPROCESSORS_ONLN), right, RUNS);
out:
    cn_reward_close(&used);
    cn_json_close(node);
    cn_arena_free(&arena);
    return status;
}

enum cn_status code_bench(const char *folder)
{
    static const char *const nothing[] = {"/bin/true", NULL};
    static const char *const python[] = {"/usr/bin/python3", "-c", "pass", NULL};
    struct sandbox *sandbox;
    (void)folder;
    const double start = seconds();
    CN_TRY(sandbox_open(&(struct sandbox_settings){0}, &sandbox));
    cn_log_info("code: start-up %.1f ms", 1e3 * (seconds() - start));
    compare(sandbox, "code: /bin/true", nothing, RUNS);
    compare(sandbox, "code: python3", python, RUNS);
    sandbox_close(sandbox);
    CN_TRY(whole("code: tests of input and output", "[{\"input\": \"3 4\", \"output\": \"7\"}]",
                 "```python\nprint(sum(map(int, input().split())))\n```"));
    return whole("code: assertions", "[\"assert add(3, 4) == 7\"]",
                 "```python\ndef add(a, b):\n    return a + b\n```");
}
