/* The system calls that a sandboxed program may use: what CPython and the C and C++ compilers and
 * their programs need.  Everything else fails with ENOSYS, as on a kernel that lacks it, so that
 * the C library falls back (clone3 to clone).  Not on the list, on purpose:
 *
 *   ptrace process_vm_* kcmp pidfd_getfd             other processes' memory
 *   unshare setns mount* umount2 pivot_root chroot
 *     clone with CLONE_NEW*                          namespaces
 *   bpf perf_event_open io_uring_* userfaultfd
 *     keyctl add_key request_key                     the kernel's large doors
 *   socket but for AF_UNIX                           the network, a second time
 *   memfd_create shmget msgget mq_open vmsplice      memory that no limit counts
 *   ioctl but for a few                              TIOCSTI, devices
 *   personality, modules, swap, clocks, reboot, quotas, handles, x32 and 32-bit calls */
#include "parts.h"

#include <asm/termbits.h>
#include <errno.h>
#include <sched.h>
#include <seccomp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

static const char *const allowed[] = {
    /* files */
    "access", "chdir", "chmod", "chown", "close", "close_range", "copy_file_range", "creat", "dup",
    "dup2", "dup3", "faccessat", "faccessat2", "fadvise64", "fallocate", "fchdir", "fchmod",
    "fchmodat", "fchown", "fchownat", "fcntl", "fdatasync", "fgetxattr", "flistxattr", "flock",
    "fstat", "fstatfs", "fsync", "ftruncate", "futimesat", "getcwd", "getdents", "getdents64",
    "getxattr", "lchown", "lgetxattr", "link", "linkat", "listxattr", "llistxattr", "lseek",
    "lstat", "mkdir", "mkdirat", "newfstatat", "open", "openat", "openat2", "pread64", "preadv",
    "preadv2", "pwrite64", "pwritev", "pwritev2", "read", "readahead", "readlink", "readlinkat",
    "readv", "rename", "renameat", "renameat2", "rmdir", "sendfile", "stat", "statfs", "statx",
    "symlink", "symlinkat", "sync_file_range", "truncate", "umask", "unlink", "unlinkat", "utime",
    "utimensat", "utimes", "write", "writev",
    /* memory */
    "brk", "madvise", "mincore", "mmap", "mprotect", "mremap", "msync", "munmap", "pkey_alloc",
    "pkey_free", "pkey_mprotect", "membarrier",
    /* processes and threads */
    "arch_prctl", "execve", "execveat", "exit", "exit_group", "fork", "futex", "futex_waitv",
    "get_robust_list", "getcpu", "getpgid", "getpgrp", "getpid", "getppid", "getpriority",
    "getrlimit", "getrusage", "getsid", "gettid", "pidfd_open", "pidfd_send_signal", "prctl",
    "prlimit64", "rseq", "sched_get_priority_max", "sched_get_priority_min", "sched_getaffinity",
    "sched_getattr", "sched_getparam", "sched_getscheduler", "sched_setaffinity", "sched_yield",
    "set_robust_list", "set_tid_address", "setpgid", "setpriority", "setrlimit", "setsid",
    "sysinfo", "times", "uname", "vfork", "wait4", "waitid",
    /* users */
    "capget", "getegid", "geteuid", "getgid", "getgroups", "getresgid", "getresuid", "getuid",
    /* signals and time */
    "alarm", "clock_getres", "clock_gettime", "clock_nanosleep", "getitimer", "gettimeofday",
    "kill", "nanosleep", "pause", "restart_syscall", "rt_sigaction", "rt_sigpending",
    "rt_sigprocmask", "rt_sigqueueinfo", "rt_sigreturn", "rt_sigsuspend", "rt_sigtimedwait",
    "rt_tgsigqueueinfo", "setitimer", "sigaltstack", "tgkill", "time", "timer_create",
    "timer_delete", "timer_getoverrun", "timer_gettime", "timer_settime", "timerfd_create",
    "timerfd_gettime", "timerfd_settime", "tkill", "signalfd", "signalfd4",
    /* waiting, pipes, sockets within the sandbox */
    "accept", "accept4", "bind", "connect", "epoll_create", "epoll_create1", "epoll_ctl",
    "epoll_pwait", "epoll_pwait2", "epoll_wait", "eventfd", "eventfd2", "getpeername",
    "getsockname", "getsockopt", "inotify_add_watch", "inotify_init", "inotify_init1",
    "inotify_rm_watch", "listen", "pipe", "pipe2", "poll", "ppoll", "pselect6", "recvfrom",
    "recvmmsg", "recvmsg", "select", "sendmmsg", "sendmsg", "sendto", "setsockopt", "shutdown",
    "splice", "tee", "getrandom", NULL};

static const unsigned long requests[] = {TCGETS,  TIOCGWINSZ, TIOCGPGRP, FIONREAD,
                                         FIONBIO, FIOCLEX,    FIONCLEX};

enum {
    NAMESPACES = CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER |
                 CLONE_NEWPID | CLONE_NEWNET | 0x80 /* CLONE_NEWTIME */
};

/* 0, or a negative errno. */
static int add_rules(scmp_filter_ctx filter)
{
    static const char *const unix_only[] = {"socket", "socketpair", NULL};
    int fault = 0;
    for (const char *const *name = allowed; *name && !fault; name++) {
        int call = seccomp_syscall_resolve_name(*name);
        if (call != __NR_SCMP_ERROR) fault = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 0);
    }
    for (const char *const *name = unix_only; *name && !fault; name++)
        fault = seccomp_rule_add(filter, SCMP_ACT_ALLOW, seccomp_syscall_resolve_name(*name), 1,
                                 SCMP_A0(SCMP_CMP_EQ, AF_UNIX, 0));
    for (size_t i = 0; i < sizeof requests / sizeof *requests && !fault; i++)
        fault = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(ioctl), 1,
                                 SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, requests[i]));
    if (!fault)
        fault = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, NAMESPACES, 0));
    return fault;
}

/* Reads a file in memory from its start. */
static enum cn_status read_back(int fd, struct cn_str *out)
{
    char piece[4096];
    ssize_t n;
    lseek(fd, 0, SEEK_SET);
    while ((n = read(fd, piece, sizeof piece)) > 0)
        CN_TRY(cn_str_append(out, piece, (size_t)n));
    return CN_OK;
}

enum cn_status sandbox_filter(struct cn_str *out)
{
    int fd = memfd_create("filter", MFD_CLOEXEC), fault = fd < 0 ? -errno : 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    enum cn_status status = CN_OK;
    if (!filter && !fault) fault = -ENOMEM;
    if (!fault) fault = add_rules(filter);
    if (!fault) fault = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (!fault) fault = seccomp_export_bpf(filter, fd);
    if (!fault) status = read_back(fd, out);
    if (fault)
        status = cn_fail(CN_ERR_CONFIG, "libseccomp cannot make the list of system calls: %s",
                         strerror(-fault));
    if (filter) seccomp_release(filter);
    if (fd >= 0) close(fd);
    return status;
}
