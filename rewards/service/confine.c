/* Descriptors, limits, privileges; the system call filter comes last. */
#include "confine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static enum cn_status failed(const char *what)
{
    return cn_fail(CN_ERR_IO, "a worker cannot be confined: %s: %s", what, strerror(errno));
}

static enum cn_status close_files(int keep)
{
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0) return failed("/dev/null");
    for (int fd = 0; fd <= 2; fd++)
        if (fd != keep && dup2(null, fd) < 0) return failed("standard streams");
    if (keep > 3 && close_range(3, (unsigned)keep - 1, 0)) return failed("close_range");
    if (close_range(keep < 3 ? 3 : (unsigned)keep + 1, ~0u, 0)) return failed("close_range");
    return CN_OK;
}

/* Bytes of address space in use. */
static size_t mapped(void)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (!file) return 0;
    if (fscanf(file, "%lu", &pages) != 1) pages = 0;
    fclose(file);
    return (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
}

static enum cn_status set_limits(size_t memory)
{
    const struct {
        int what;
        rlim_t most;
        const char *name;
    } limits[] = {{RLIMIT_AS, memory, "RLIMIT_AS"},
                  {RLIMIT_NOFILE, 0, "RLIMIT_NOFILE"},
                  {RLIMIT_NPROC, 0, "RLIMIT_NPROC"},
                  {RLIMIT_FSIZE, 0, "RLIMIT_FSIZE"},
                  {RLIMIT_MSGQUEUE, 0, "RLIMIT_MSGQUEUE"}};
    for (size_t i = 0; i < sizeof limits / sizeof *limits; i++) {
        const struct rlimit limit = {limits[i].most, limits[i].most};
        if (setrlimit((__rlimit_resource_t)limits[i].what, &limit)) return failed(limits[i].name);
    }
    return CN_OK;
}

static void default_signals(void)
{
    sigset_t none;
    sigemptyset(&none);
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
    signal(SIGPIPE, SIG_IGN);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

enum cn_status confine(const struct confinement *c)
{
    const struct rlimit no_core = {0, 0};
    const size_t memory = mapped() + c->memory;
    default_signals();
    CN_TRY(close_files(c->keep));
    if (setrlimit(RLIMIT_CORE, &no_core)) return failed("RLIMIT_CORE");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)) return failed("PR_SET_NO_NEW_PRIVS");
    if (c->starts_programs) return CN_OK;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)) return failed("PR_SET_DUMPABLE");
    CN_TRY(set_limits(memory));
    return confine_calls();
}
