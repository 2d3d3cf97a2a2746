/* The sandbox: what programs may do, what they may not, and that nothing of them is left.
 * ctest labels: serial */
#include "check.h"

#include "sandbox_cases.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

enum { N_ESCAPES = sizeof escapes / sizeof *escapes, ORDINARY_USER = 54321 };

static const char *const python[] = {"/usr/bin/python3", "main.py", NULL};

static const struct sandbox_limits small = {.time_s = 0.5,
                                            .wall_s = 1.5,
                                            .memory_mb = 256,
                                            .disk_mb = 64,
                                            .output_kb = 256,
                                            .processes = 32};

static enum cn_status run_python(struct sandbox *sandbox, const char *program,
                                 struct sandbox_result *result)
{
    const struct sandbox_file file = {"main.py", cn_text(program), false};
    const struct sandbox_job job = {
        .argv = python, .files = &file, .n_files = 1, .input = cn_text("40 2\n"), .limits = small};
    return sandbox_run(sandbox, &job, 1, result);
}

/* Whether a process lives in another process namespace than this test, or starts those that do. */
static bool is_of_sandbox(const char *folder)
{
    char path[320], ours[64] = "", other[64] = "", name[32] = "";
    snprintf(path, sizeof path, "%s/ns/pid", folder);
    bool known = readlink("/proc/self/ns/pid", ours, sizeof ours - 1) > 0 &&
                 readlink(path, other, sizeof other - 1) > 0;
    snprintf(path, sizeof path, "%s/comm", folder);
    FILE *file = fopen(path, "r");
    if (file && !fgets(name, sizeof name, file)) name[0] = 0;
    if (file) fclose(file);
    return !known || strcmp(ours, other) != 0 || strcmp(name, "bwrap\n") == 0;
}

/* Processes of programs that a user runs in a sandbox. */
static int processes_of(uid_t user)
{
    DIR *folder = opendir("/proc");
    int count = 0;
    if (!folder) return -1;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char path[300];
        struct stat info;
        snprintf(path, sizeof path, "/proc/%s", entry->d_name);
        long pid = strtol(entry->d_name, NULL, 10);
        bool other = pid > 0 && pid != getpid() && stat(path, &info) == 0 && info.st_uid == user;
        if (other && is_of_sandbox(path)) count++;
    }
    closedir(folder);
    return count;
}

static bool can_isolate(void)
{
    struct sandbox *sandbox;
    bool can = access(python[0], X_OK) == 0 &&
               sandbox_open(&(struct sandbox_settings){0}, &sandbox) == CN_OK;
    if (can) sandbox_close(sandbox);
    return can;
}

#define NEED_SANDBOX()                                                                             \
    if (!can_isolate()) SKIP("%s", *cn_fail_message() ? cn_fail_message() : "no /usr/bin/python3")

/* Runs `inside` in a child of ours as somebody who is not root; its failed checks are ours. */
static void as_ordinary_user(void (*inside)(void))
{
    int status = 0;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check_failures = 0;
        if (geteuid() == 0 && (setgid(ORDINARY_USER) != 0 || setuid(ORDINARY_USER) != 0)) _exit(99);
        inside();
        fflush(stdout);
        _exit(check_failures ? 1 : 0);
    }
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

static void run_suite(void)
{
    struct sandbox *sandbox;
    struct sandbox_result result = {0};
    setenv("CARNOT_SECRET", "CARNOT_SECRET", 1);
    CHECK_OK(sandbox_open(&(struct sandbox_settings){0}, &sandbox));
    uid_t user = geteuid() == 0 ? SANDBOX_UID : geteuid();
    const int before = processes_of(user); /* of a user who has others that cannot be looked at */
    for (size_t i = 0; i < N_ESCAPES; i++) {
        const struct escape *e = &escapes[i];
        CHECK_OK(run_python(sandbox, e->program, &result));
        bool same = !e->out || cn_text_is(cn_str_text(&result.out), e->out);
        if (result.end != e->end || !same)
            CHECK_FAILED("%s: %s, exit code %d, %.2f s, %.2f s wall, %zu MB, \"%.*s\" \"%.*s\" %s",
                         e->name, sandbox_end_meaning(result.end), result.exit_code, result.time_s,
                         result.wall_s, result.memory_mb, (int)result.out.length, result.out.data,
                         (int)result.error.length, result.error.data, result.why);
        int left = processes_of(user) - before;
        if (left > 0) CHECK_FAILED("%s: %d processes are left", e->name, left);
        CHECK(result.wall_s < 8);
        CHECK(result.out.length <= small.output_kb << 10);
    }
    sandbox_result_free(&result);
    sandbox_close(sandbox);
}

TEST(no_program_escapes)
{
    NEED_SANDBOX();
    run_suite();
}

/* The same as somebody who is not root, in a child of ours. */
TEST(no_program_of_an_ordinary_user_escapes)
{
    if (geteuid() != 0) SKIP("not root: the suite above ran as an ordinary user already");
    NEED_SANDBOX();
    as_ordinary_user(run_suite);
}

/* ---- death of the parent, and machines without isolation ----------------- */

TEST(programs_die_with_whoever_runs_them)
{
    NEED_SANDBOX();
    const uid_t user = geteuid() == 0 ? SANDBOX_UID : geteuid();
    if (geteuid() != 0) SKIP("not root: the programs run as the user of this test");
    pid_t pid = fork();
    if (pid == 0) {
        struct sandbox *sandbox;
        struct sandbox_result result = {0};
        const struct sandbox_file file = {"main.py", cn_text("import time; time.sleep(60)"), false};
        struct sandbox_job job = {
            .argv = python, .files = &file, .n_files = 1, .limits = sandbox_limits_default};
        job.limits.wall_s = 60;
        if (sandbox_open(&(struct sandbox_settings){0}, &sandbox) == CN_OK)
            sandbox_run(sandbox, &job, 1, &result);
        _exit(0);
    }
    int tries = 0;
    for (; tries < 500 && processes_of(user) < 3; tries++)
        usleep(10000);
    CHECK(tries < 500);
    kill(pid, SIGKILL);
    for (tries = 0; tries < 500; tries++) {
        while (waitpid(-1, NULL, WNOHANG) > 0) /* orphans come to us */
            ;
        if (processes_of(user) == 0) break;
        usleep(10000);
    }
    CHECK(tries < 500);
}

static bool write_file(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    bool good = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
    if (fd >= 0) close(fd);
    return good;
}

static void without_isolation(void)
{
    char map[64];
    struct sandbox *sandbox;
    struct sandbox_result result = {0};
    snprintf(map, sizeof map, "%u %u 1\n", (unsigned)geteuid(), (unsigned)geteuid());
    prctl(PR_SET_DUMPABLE, 1);
    CHECK(unshare(CLONE_NEWUSER) == 0);
    CHECK(write_file("/proc/self/uid_map", map));
    CHECK(write_file("/proc/sys/user/max_user_namespaces", "0"));
    CHECK_FAILS(sandbox_open(&(struct sandbox_settings){0}, &sandbox), CN_ERR_CONFIG,
                "user namespaces are switched off");
    CHECK_OK(sandbox_open(&(struct sandbox_settings){.insecure = true}, &sandbox));
    CHECK(sandbox_is_insecure(sandbox));
    CHECK_OK(run_python(sandbox, "print(sum(map(int, input().split())))", &result));
    CHECK_INT(result.end, SANDBOX_END_EXITED);
    CHECK(cn_text_is(cn_str_text(&result.out), "42\n"));
    CHECK_OK(run_python(sandbox, "while True: pass", &result));
    CHECK(result.end == SANDBOX_END_TIME ||
          result.end == SANDBOX_END_WALL); /* whole seconds only */
    CHECK_OK(run_python(sandbox, "import time; time.sleep(60)", &result));
    CHECK_INT(result.end, SANDBOX_END_WALL);
    CHECK_OK(run_python(sandbox, "while True: print('x' * 1000)", &result));
    CHECK_INT(result.end, SANDBOX_END_OUTPUT);
    CHECK_OK(run_python(sandbox, "import os; print(os.getcwd())", &result));
    CHECK(result.out.length > 1);
    if (result.out.length > 1) {
        result.out.data[result.out.length - 1] = 0;
        CHECK(access(result.out.data, F_OK) != 0); /* its folder is gone */
    }
    sandbox_result_free(&result);
    sandbox_close(sandbox);
}

TEST(without_isolation_nothing_runs_unless_insecure_is_asked_for)
{
    NEED_SANDBOX();
    as_ordinary_user(without_isolation);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
