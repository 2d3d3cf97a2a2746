/* kill_at N FOLDER COMMAND...: runs COMMAND and kills it with SIGKILL just before its N-th call
 * that writes to, syncs or renames something in FOLDER, as ptrace sees them: whoever makes them,
 * libraries too.  N = 0: never; the last line on standard error is then how many there were.  Exit
 * code: COMMAND's, or 137 if it was killed. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/ptrace.h>

/* The file of argument 0, or the path in argument 0, 1 or 2. */
enum { NOTHING = -2, OF_FILE = -1, OF_FIRST, OF_SECOND, OF_THIRD, PATH_BYTES = 4096 };

/* Calls that count, and where they name what they work on. */
static const struct {
    uint64_t number;
    int kind;
} calls[] = {
    {SYS_write, OF_FILE},      {SYS_pwrite64, OF_FILE},   {SYS_writev, OF_FILE},
    {SYS_pwritev, OF_FILE},    {SYS_fsync, OF_FILE},      {SYS_fdatasync, OF_FILE},
    {SYS_ftruncate, OF_FILE},  {SYS_renameat, OF_SECOND}, {SYS_renameat2, OF_SECOND},
    {SYS_unlinkat, OF_SECOND}, {SYS_symlinkat, OF_THIRD},
#ifdef SYS_rename /* newer machines have only the calls above */
    {SYS_rename, OF_FIRST},    {SYS_unlink, OF_FIRST},    {SYS_symlink, OF_SECOND},
#endif
};

static int kind_of(uint64_t number)
{
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
        if (calls[i].number == number) return calls[i].kind;
    return NOTHING;
}

static void read_path(pid_t pid, uint64_t address, char *out)
{
    const struct iovec here = {out, PATH_BYTES - 1},
                       there = {(void *)(uintptr_t)address, PATH_BYTES - 1};
    ssize_t n = process_vm_readv(pid, &here, 1, &there, 1, 0);
    for (size_t less = 64; n < 0 && less < PATH_BYTES; less += 64) { /* the end of a mapping */
        const struct iovec part = {(void *)(uintptr_t)address, PATH_BYTES - less};
        n = process_vm_readv(pid, &here, 1, &part, 1, 0);
    }
    out[n > 0 ? n : 0] = 0;
}

/* Whether the call that is about to be made changes something in the folder; logs do not count. */
static bool counts(pid_t pid, const struct ptrace_syscall_info *info, const char *folder)
{
    char path[PATH_BYTES] = "", link[64];
    const int kind = kind_of(info->entry.nr);
    if (kind == NOTHING) return false;
    if (kind == OF_FILE) {
        snprintf(link, sizeof link, "/proc/%d/fd/%d", (int)pid, (int)info->entry.args[0]);
        const ssize_t n = readlink(link, path, sizeof path - 1);
        path[n > 0 ? n : 0] = 0;
    } else {
        read_path(pid, info->entry.args[kind], path);
    }
    return strncmp(path, folder, strlen(folder)) == 0 && !strstr(path, "/logs/");
}

static int fault(const char *what)
{
    fprintf(stderr, "kill_at: %s: %s\n", what, strerror(errno));
    return 99;
}

/* One stop of the child: goes on, or kills it.  *seen counts. */
static void pass(pid_t pid, int state, long n, const char *folder, long *seen)
{
    struct ptrace_syscall_info info = {0};
    int signal = WSTOPSIG(state);
    if (signal == (SIGTRAP | 0x80)) {
        signal = 0;
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info) > 0 &&
            info.op == PTRACE_SYSCALL_INFO_ENTRY && counts(pid, &info, folder) && ++*seen == n)
            kill(pid, SIGKILL);
    } else if (signal == SIGTRAP || signal == SIGSTOP) {
        signal = 0;
    }
    ptrace(PTRACE_SYSCALL, pid, NULL, (void *)(intptr_t)signal);
}

int main(int argc, char **argv)
{
    if (argc < 4) return fault("usage: kill_at N FOLDER COMMAND...");
    const long n = atol(argv[1]);
    long seen = 0;
    int state;
    const pid_t child = fork();
    if (child < 0) return fault("fork");
    if (child == 0) {
        if (ptrace(PTRACE_TRACEME, 0, NULL, NULL)) _exit(fault("ptrace"));
        execv(argv[3], argv + 3);
        _exit(fault(argv[3]));
    }
    if (waitpid(child, &state, 0) != child || !WIFSTOPPED(state)) return 99;
    if (ptrace(PTRACE_SETOPTIONS, child, NULL,
               (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL)))
        return fault("PTRACE_SETOPTIONS");
    ptrace(PTRACE_SYSCALL, child, NULL, NULL);
    for (pid_t pid; (pid = waitpid(-1, &state, __WALL)) > 0;) {
        if (WIFSTOPPED(state)) {
            pass(pid, state, n, argv[2], &seen);
        } else if (pid == child) {
            if (n == 0) fprintf(stderr, "%ld\n", seen);
            return WIFSIGNALED(state) ? 128 + WTERMSIG(state) : WEXITSTATUS(state);
        }
    }
    return fault("waitpid");
}
