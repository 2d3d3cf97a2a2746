/* How fast programs are run: alone, in the sandbox, and through the reward, one core's worth each.
 *
 *     bench_sandbox [RUNS]
 *
 * "beyond its own": what the sandbox adds to the same program without it. */
#include "carnot/reward.h"

#include "rewards/sandbox/sandbox.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

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
        pid_t pid = vfork();
        if (pid == 0) {
            execv(argv[0], (char *const *)(uintptr_t)argv);
            _exit(127);
        }
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
            printf("run %d: %s %s\n", i, sandbox_end_meaning(result.end), result.why);
    struct cost cost = {(seconds() - start) / runs, (processor() - core) / runs};
    sandbox_result_free(&result);
    return cost;
}

static void compare(struct sandbox *sandbox, const char *name, const char *const *argv, int runs)
{
    struct cost a = alone(argv, runs), b = inside(sandbox, argv, runs);
    printf("%-12s alone %6.2f ms  sandboxed %6.2f ms  beyond its own %5.2f ms = %4.0f a second; "
           "processor %5.2f ms = %4.0f a core second\n",
           name, 1e3 * a.wall, 1e3 * b.wall, 1e3 * (b.wall - a.wall), 1 / (b.wall - a.wall),
           1e3 * (b.core - a.core), 1 / (b.core - a.core));
}

/* Whole replies through the reward; every core has one at a time. */
static void reward(const char *name, const char *gold, const char *reply, size_t runs)
{
    static const char *const ours[] = {"type", NULL};
    struct cn_arena arena;
    struct cn_reward_entry used;
    struct cn_json *node;
    struct cn_episode *episodes;
    struct cn_outcome *out;
    size_t right = 0;
    cn_arena_init(&arena);
    if (cn_json_new_text(cn_text("code_tests"), &node) != CN_OK ||
        cn_reward_open(node, "bench", ours, &arena, &used) != CN_OK ||
        CN_NEW(&arena, runs, &episodes) != CN_OK || CN_NEW(&arena, runs, &out) != CN_OK) {
        printf("%s: %s\n", name, cn_fail_message());
        return;
    }
    for (size_t i = 0; i < runs; i++)
        episodes[i] = (struct cn_episode){
            .response = cn_text(reply), .ground_truth = cn_text(gold), .stop = CN_STOP_EOS};
    double start = seconds();
    enum cn_status status = cn_reward_score(&used, episodes, runs, &arena, out);
    double each = (seconds() - start) / (double)runs;
    for (size_t i = 0; i < runs && status == CN_OK; i++)
        right += out[i].verdict == CN_VERDICT_CORRECT;
    printf("%-12s %6.2f ms each on %ld cores, %zu of %zu right\n", name, 1e3 * each,
           sysconf(_SC_NPROCESSORS_ONLN), right, runs);
    cn_reward_close(&used);
    cn_json_close(node);
    cn_arena_free(&arena);
}

int main(int argc, char **argv)
{
    static const char *const nothing[] = {"/bin/true", NULL};
    static const char *const python[] = {"/usr/bin/python3", "-c", "pass", NULL};
    int runs = argc > 1 ? atoi(argv[1]) : 100;
    struct sandbox *sandbox;
    double start = seconds();
    if (sandbox_open(&(struct sandbox_settings){0}, &sandbox) != CN_OK) {
        printf("%s\n", cn_fail_message());
        return 1;
    }
    printf("open         %6.2f ms\n", 1e3 * (seconds() - start));
    compare(sandbox, "/bin/true", nothing, runs);
    compare(sandbox, "python3", python, runs);
    sandbox_close(sandbox);
    reward("stdio", "[{\"input\": \"3 4\", \"output\": \"7\"}]",
           "```python\nprint(sum(map(int, input().split())))\n```", (size_t)runs);
    reward("assertions", "[\"assert add(3, 4) == 7\"]",
           "```python\ndef add(a, b):\n    return a + b\n```", (size_t)runs);
    return 0;
}
