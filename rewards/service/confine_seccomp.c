/* The system call filter, with libseccomp. */
#include "confine.h"

#include <errno.h>
#include <seccomp.h>
#include <string.h>
#include <sys/mman.h>

const bool confine_filters = true;

/* What a worker needs: to get memory, to read its socket and answer, to leave.  abort() needs the
 * second line, so that a library's broken invariant ends as what it is. */
static const int allowed[] = {SCMP_SYS(read),
                              SCMP_SYS(write),
                              SCMP_SYS(recvfrom),
                              SCMP_SYS(sendto),
                              SCMP_SYS(rt_sigaction),
                              SCMP_SYS(rt_sigprocmask),
                              SCMP_SYS(rt_sigreturn),
                              SCMP_SYS(gettid),
                              SCMP_SYS(getpid),
                              SCMP_SYS(tgkill),
                              SCMP_SYS(brk),
                              SCMP_SYS(munmap),
                              SCMP_SYS(mremap),
                              SCMP_SYS(madvise),
                              SCMP_SYS(futex),
                              SCMP_SYS(getrandom),
                              SCMP_SYS(clock_gettime),
                              SCMP_SYS(sched_yield),
                              SCMP_SYS(restart_syscall),
                              SCMP_SYS(exit),
                              SCMP_SYS(exit_group)};

/* Memory may be mapped, but not as code. */
static const int mapping[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};

enum cn_status confine_calls(void)
{
    int failure = 0;
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
    if (!filter) return cn_fail(CN_ERR_MEMORY, "out of memory for a system call filter");
    for (size_t i = 0; i < sizeof allowed / sizeof *allowed && !failure; i++)
        failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
    for (size_t i = 0; i < sizeof mapping / sizeof *mapping && !failure; i++)
        failure = seccomp_rule_add(filter, SCMP_ACT_ALLOW, mapping[i], 1,
                                   SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    if (!failure) failure = seccomp_load(filter);
    seccomp_release(filter);
    if (failure)
        return cn_fail(CN_ERR_IO, "a worker's system calls cannot be filtered: %s",
                       strerror(-failure));
    return CN_OK;
}
