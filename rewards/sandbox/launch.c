/* Starting a job: the arguments of bwrap, and one vfork.
 *
 * vfork because carnot may hold a model: fork would copy its page tables for every program.  The
 * child shares our memory until it is replaced, so it makes plain system calls only (glibc's
 * setresuid would wake every thread of ours).  All that bwrap is to know goes through
 * descriptors: its command line is visible in the sandbox's /proc. */
#include "parts.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Descriptors of the child; those of ours are made above FD_HIGH, so that none is in the way. */
enum { FD_STATUS = 10, FD_BLOCK, FD_FILTER, FD_FILES, FD_HIGH = 100 };
enum { FD_MAX = FD_FILES + SANDBOX_FILES_MAX + 1, ARGUMENTS_MAX = 64 };

static const char *const environment[] = {"PATH=/usr/local/bin:/usr/bin:/bin",
                                          "HOME=/tmp",
                                          "TMPDIR=/tmp",
                                          "LANG=C.UTF-8",
                                          "PYTHONHASHSEED=0", /* the order of sets is the same */
                                          "PYTHONDONTWRITEBYTECODE=1",
                                          NULL};

/* Everything that the child needs, made before it exists. */
struct start {
    const struct sandbox *sandbox;
    const struct sandbox_limits *limits;
    const char *program, *folder;
    const char *const *argv;
    int fd[FD_MAX]; /* descriptor of ours that becomes number i, or -1 */
    const char *step;
    int fault; /* errno of `step`, written by the child */
};

/* The same descriptor above FD_HIGH; closes the old one. */
static int lift(int fd)
{
    int high = fd < 0 ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, FD_HIGH);
    if (fd >= 0) close(fd);
    return high;
}

/* A file in memory with these bytes, read from its start; -1 on failure. */
static int memory_file(struct cn_text data)
{
    int fd = lift(memfd_create("carnot", MFD_CLOEXEC));
    for (size_t done = 0; fd >= 0 && done < data.length;) {
        ssize_t n = write(fd, data.data + done, data.length - done);
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) {
            close(fd);
            return -1;
        }
        done += (size_t)n;
    }
    if (fd >= 0) lseek(fd, 0, SEEK_SET);
    return fd;
}

/* A pipe whose end `ours` (0: we read, 1: we write) is returned, the other put into the start. */
static int make_pipe(struct start *start, int number, int ours)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) return -1;
    start->fd[number] = lift(ends[1 - ours]);
    int mine = lift(ends[ours]);
    if (mine >= 0) fcntl(mine, F_SETFL, O_NONBLOCK);
    return mine;
}

/* ---- the child ----------------------------------------------------------- */

static int limit(int what, double soft, double hard)
{
    const struct rlimit both = {(rlim_t)soft, (rlim_t)hard};
    return (int)syscall(SYS_prlimit64, 0, what, &both, NULL);
}

/* Limits that also hold where the watcher looks only now and then.  The number of processes is set
 * from outside once the namespace exists, see let_go: here it would count the user's others. */
static int child_limits(const struct start *start)
{
    const struct sandbox_limits *l = start->limits;
    const double mb = 1024 * 1024, seconds = ceil(l->time_s) + 1;
    return limit(RLIMIT_CPU, seconds, seconds + 1) | limit(RLIMIT_CORE, 0, 0) |
           limit(RLIMIT_AS, (double)l->memory_mb * mb, (double)l->memory_mb * mb) |
           limit(RLIMIT_FSIZE, (double)l->disk_mb * mb, (double)l->disk_mb * mb) |
           limit(RLIMIT_NOFILE, 256, 256) | limit(RLIMIT_MEMLOCK, 0, 0) |
           limit(RLIMIT_STACK, 64 * mb, 64 * mb) | limit(RLIMIT_MSGQUEUE, 0, 0);
}

static int child_user(const struct sandbox *sandbox)
{
    if (!sandbox->as_root) return 0;
    if (syscall(SYS_setgroups, 0, NULL) != 0) return -1;
    if (syscall(SYS_setresgid, sandbox->uid, sandbox->uid, sandbox->uid) != 0) return -1;
    return (int)syscall(SYS_setresuid, sandbox->uid, sandbox->uid, sandbox->uid);
}

static int child_descriptors(const struct start *start)
{
    int last = 2;
    for (int i = 0; i < FD_MAX; i++) {
        if (start->fd[i] < 0) continue;
        if (dup2(start->fd[i], i) < 0) return -1; /* the copy stays open over exec */
        last = i;
    }
    for (int i = 3; i < last; i++)
        if (start->fd[i] < 0) close(i);
    return (int)syscall(SYS_close_range, (unsigned)last + 1, ~0u, 0u);
}

static void child(void *argument)
{
    struct start *start = argument;
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++) {
        const struct sigaction usual = {.sa_handler = SIG_DFL};
        sigaction(number, &usual, NULL);
    }
    start->step = "make a session";
    if (setsid() < 0) goto failed;
    start->step = "arrange descriptors";
    if (child_descriptors(start) != 0) goto failed;
    start->step = "set limits";
    if (child_limits(start) != 0) goto failed;
    start->step = "become the sandbox's user";
    if (child_user(start->sandbox) != 0) goto failed;
    if (start->sandbox->insecure)
        limit(RLIMIT_NPROC, (double)start->limits->processes, (double)start->limits->processes);
    start->step = "enter its folder";
    if (chdir(start->folder) != 0) goto failed;
    sigprocmask(SIG_SETMASK, &none, NULL);
    start->step = "execute it";
    execve(start->program, (char *const *)(uintptr_t)start->argv,
           (char *const *)(uintptr_t)environment);
failed:
    start->fault = errno;
    _exit(127);
}

/* vfork with every signal held back; what the child runs ends in exec or _exit. */
static pid_t split(void (*child_runs)(void *), void *argument)
{
    sigset_t all, before;
    int dumpable = prctl(PR_GET_DUMPABLE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    pid_t pid = vfork();
    if (pid == 0) child_runs(argument);
    int fault = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    prctl(PR_SET_DUMPABLE, dumpable); /* lost when the child, in our memory, changed its user */
    errno = fault;
    return pid;
}

struct process_limit {
    const struct sandbox *sandbox;
    pid_t pid;
    rlim_t count;
    int fault;
};

static void set_process_limit(void *argument)
{
    struct process_limit *l = argument;
    const struct rlimit both = {l->count, l->count};
    bool failed = syscall(SYS_prlimit64, l->pid, RLIMIT_NPROC, &both, NULL) != 0;
    l->fault = failed ? errno : 0;
}

static void child_process_limit(void *argument)
{
    struct process_limit *l = argument;
    if (child_user(l->sandbox) != 0)
        l->fault = errno;
    else
        set_process_limit(l);
    _exit(127);
}

/* Root may lack CAP_SYS_RESOURCE (in a container, say); the job's own user never needs it. */
int sandbox_limit_processes(const struct sandbox *sandbox, pid_t inside, size_t count)
{
    struct process_limit l = {sandbox, inside, count, 0};
    set_process_limit(&l);
    if (!l.fault || !sandbox->as_root) return l.fault;
    pid_t pid = split(child_process_limit, &l);
    if (pid < 0) return errno;
    while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
        ;
    return l.fault;
}

/* ---- with isolation ------------------------------------------------------ */

// clang-format off
static const char *const fixed[] = {
    "--unshare-user", "--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
    "--uid", "1000", "--gid", "1000", "--hostname", "sandbox", "--cap-drop", "ALL",
    "--die-with-parent", "--new-session",
    "--ro-bind", "/usr", "/usr", "--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev",
    NULL};
// clang-format on

/* Appends words, each ended by a zero byte; the last one is NULL. */
static enum cn_status add(struct cn_str *out, ...)
{
    enum cn_status status = CN_OK;
    va_list words;
    va_start(words, out);
    for (const char *w; status == CN_OK && (w = va_arg(words, const char *)) != NULL;)
        status = cn_str_append(out, w, strlen(w) + 1);
    va_end(words);
    return status;
}

static enum cn_status add_number(struct cn_str *out, const char *option, size_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%zu", number);
    return add(out, option, text, NULL);
}

/* /bin, /lib ... as the host has them: links into /usr, or folders of their own. */
static enum cn_status add_roots(struct cn_str *out)
{
    static const char *const roots[] = {"/bin", "/sbin", "/lib", "/lib32", "/lib64", NULL};
    for (const char *const *root = roots; *root; root++) {
        char target[256] = "";
        if (readlink(*root, target, sizeof target - 1) > 0)
            CN_TRY(add(out, "--symlink", target, *root, NULL));
        else if (access(*root, X_OK) == 0)
            CN_TRY(add(out, "--ro-bind", *root, *root, NULL));
    }
    return CN_OK;
}

/* The arguments of bwrap but for the program's own. */
static enum cn_status add_arguments(const struct sandbox *sandbox, const struct sandbox_job *job,
                                    struct cn_str *out)
{
    for (const char *const *word = fixed; *word; word++)
        CN_TRY(add(out, *word, NULL));
    CN_TRY(add_roots(out));
    if (sandbox->no_userns) CN_TRY(add(out, "--disable-userns", NULL));
    CN_TRY(add_number(out, "--size", job->limits.disk_mb << 20));
    CN_TRY(add(out, "--perms", "1777", "--tmpfs", "/tmp", NULL));
    for (size_t i = 0; i < job->n_files; i++) {
        char path[80];
        snprintf(path, sizeof path, "/tmp/%s", job->files[i].name);
        CN_TRY(add(out, "--perms", job->files[i].executable ? "0755" : "0644", NULL));
        CN_TRY(add_number(out, "--file", FD_FILES + i));
        CN_TRY(add(out, path, NULL));
    }
    CN_TRY(add(out, "--remount-ro", "/", "--chdir", "/tmp", NULL));
    CN_TRY(add_number(out, "--json-status-fd", FD_STATUS));
    CN_TRY(add_number(out, "--block-fd", FD_BLOCK));
    return add_number(out, "--seccomp", FD_FILTER);
}

static void broken(struct sandbox_process *p, const char *what, int fault)
{
    p->result->end = SANDBOX_END_BROKEN;
    p->killed = p->ended = true;
    snprintf(p->result->why, sizeof p->result->why, "%s: %s", what, strerror(fault));
}

/* Pipes and files; the input and the outputs are the same with and without isolation. */
static bool open_descriptors(struct sandbox_process *p, struct start *start)
{
    for (int i = 0; i < FD_MAX; i++)
        start->fd[i] = -1;
    start->fd[0] = memory_file(p->job->input);
    p->out = make_pipe(start, 1, 0);
    p->error = make_pipe(start, 2, 0);
    start->fd[SANDBOX_CHANNEL] = lift(p->channel);
    p->channel = -1;
    return start->fd[0] >= 0 && p->out >= 0 && p->error >= 0 && start->fd[1] >= 0 &&
           start->fd[2] >= 0;
}

static bool open_isolated(const struct sandbox *sandbox, struct sandbox_process *p,
                          struct start *start, struct cn_text arguments)
{
    p->status = make_pipe(start, FD_STATUS, 0);
    p->block = make_pipe(start, FD_BLOCK, 1);
    start->fd[FD_FILTER] = memory_file(cn_str_text(&sandbox->filter));
    start->fd[FD_MAX - 1] = memory_file(arguments);
    bool good = p->status >= 0 && p->block >= 0 && start->fd[FD_STATUS] >= 0 &&
                start->fd[FD_BLOCK] >= 0 && start->fd[FD_FILTER] >= 0 && start->fd[FD_MAX - 1] >= 0;
    for (size_t i = 0; i < p->job->n_files; i++) {
        start->fd[FD_FILES + i] = memory_file(p->job->files[i].data);
        good = good && start->fd[FD_FILES + i] >= 0;
    }
    return good;
}

static void run_start(struct sandbox_process *p, struct start *start)
{
    p->start = sandbox_clock();
    p->pid = split(child, start);
    int fault = p->pid < 0 ? errno : start->fault;
    for (int i = 0; i < FD_MAX; i++)
        if (start->fd[i] >= 0) close(start->fd[i]);
    p->pid_fd = p->pid > 0 ? (int)syscall(SYS_pidfd_open, p->pid, 0) : -1;
    if (p->pid_fd >= 0 && !start->fault) return;
    if (p->pid_fd < 0 && !fault) fault = errno;
    broken(p, p->pid < 0 ? "cannot start a process" : start->step, fault);
}

static enum cn_status launch_isolated(const struct sandbox *sandbox, struct sandbox_process *p)
{
    const char *argv[ARGUMENTS_MAX] = {"bwrap", "--args"};
    char number[16];
    struct cn_str arguments = {0};
    struct start start = {.sandbox = sandbox,
                          .limits = &p->job->limits,
                          .program = SANDBOX_BWRAP,
                          .folder = "/",
                          .argv = argv};
    size_t n = 3;
    snprintf(number, sizeof number, "%d", FD_MAX - 1);
    argv[2] = number;
    for (size_t i = 0; p->job->argv[i] && n < ARGUMENTS_MAX - 1; i++)
        argv[n++] = p->job->argv[i];
    enum cn_status status = add_arguments(sandbox, p->job, &arguments);
    if (status == CN_OK) {
        bool good = open_descriptors(p, &start);
        good = good && open_isolated(sandbox, p, &start, cn_str_text(&arguments));
        if (good)
            run_start(p, &start);
        else
            broken(p, "cannot make pipes and files in memory", errno);
    }
    cn_str_free(&arguments);
    return status;
}

/* ---- without ------------------------------------------------------------- */

/* Writes the job's files into a new folder; 0, or errno. */
static int make_folder(const struct sandbox *sandbox, struct sandbox_process *p)
{
    snprintf(p->folder, sizeof p->folder, "/tmp/carnot-insecure-XXXXXX");
    if (!mkdtemp(p->folder)) {
        p->folder[0] = 0;
        return errno;
    }
    int folder = open(p->folder, O_DIRECTORY | O_CLOEXEC), fault = folder < 0 ? errno : 0;
    for (size_t i = 0; i < p->job->n_files && !fault; i++) {
        const struct sandbox_file *file = &p->job->files[i];
        int fd = openat(folder, file->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                        file->executable ? 0755 : 0644);
        ssize_t n = fd < 0 ? -1 : write(fd, file->data.data, file->data.length);
        if (n != (ssize_t)file->data.length) fault = n < 0 ? errno : ENOSPC;
        if (fd >= 0) close(fd);
    }
    if (!fault && sandbox->as_root && fchown(folder, sandbox->uid, sandbox->uid) != 0)
        fault = errno;
    if (folder >= 0) close(folder);
    return fault;
}

static void launch_insecure(const struct sandbox *sandbox, struct sandbox_process *p)
{
    struct start start = {.sandbox = sandbox,
                          .limits = &p->job->limits,
                          .program = p->job->argv[0],
                          .folder = p->folder,
                          .argv = p->job->argv};
    int fault = make_folder(sandbox, p);
    p->let_go = true;
    if (fault)
        broken(p, "cannot make its folder", fault);
    else if (open_descriptors(p, &start))
        run_start(p, &start);
    else
        broken(p, "cannot make pipes and files in memory", errno);
}

enum cn_status sandbox_launch(const struct sandbox *sandbox, struct sandbox_process *process)
{
    if (!sandbox->insecure) return launch_isolated(sandbox, process);
    launch_insecure(sandbox, process);
    return CN_OK;
}
