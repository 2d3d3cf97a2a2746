/* The sandbox: what programs may do, what they may not, and that nothing of them is left.
 * ctest labels: serial */
#include "check.h"

#include "sandbox_cases.h"

#include <dirent.h>
#include <stdlib.h>
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

/* Processes of a user that are not ours. */
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
        if (pid > 0 && pid != getpid() && stat(path, &info) == 0 && info.st_uid == user) count++;
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

static void run_suite(void)
{
    struct sandbox *sandbox;
    struct sandbox_result result = {0};
    setenv("CARNOT_SECRET", "CARNOT_SECRET", 1);
    CHECK_OK(sandbox_open(&(struct sandbox_settings){0}, &sandbox));
    uid_t user = geteuid() == 0 ? SANDBOX_UID : geteuid();
    for (size_t i = 0; i < N_ESCAPES; i++) {
        const struct escape *e = &escapes[i];
        CHECK_OK(run_python(sandbox, e->program, &result));
        bool same = !e->out || cn_text_is(cn_str_text(&result.out), e->out);
        if (result.end != e->end || !same)
            CHECK_FAILED("%s: %s, exit code %d, %.2f s, %.2f s wall, %zu MB, \"%.*s\" \"%.*s\" %s",
                         e->name, sandbox_end_meaning(result.end), result.exit_code, result.time_s,
                         result.wall_s, result.memory_mb, (int)result.out.length, result.out.data,
                         (int)result.error.length, result.error.data, result.why);
        int left = processes_of(user);
        if (left != 0) CHECK_FAILED("%s: %d processes are left", e->name, left);
        CHECK(result.wall_s < 4);
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
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check_failures = 0;
        if (setgid(ORDINARY_USER) != 0 || setuid(ORDINARY_USER) != 0) _exit(99);
        run_suite();
        fflush(stdout);
        _exit(check_failures ? 1 : 0);
    }
    int status = 0;
    CHECK(waitpid(pid, &status, 0) == pid);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
