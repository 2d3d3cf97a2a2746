/* Opening the sandbox: what this machine permits, and exactly why if it does not. */
#include "parts.h"

#include "carnot/log.h"
#include "carnot/reward.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

const struct sandbox_limits sandbox_limits_default = {
    .time_s = 5, .wall_s = 20, .memory_mb = 512, .disk_mb = 64, .output_kb = 256, .processes = 32};

const char *sandbox_end_meaning(enum sandbox_end end)
{
    static const char *const meanings[] = {
#define X(name, meaning) meaning,
        SANDBOX_ENDS(X)
#undef X
    };
    return (unsigned)end < SANDBOX_END_COUNT ? meanings[end] : "";
}

/* ---- what this machine permits ------------------------------------------- */

/* The number in a file of /proc/sys; -1 if this kernel has no such switch. */
static long kernel_switch(const char *name)
{
    char path[128];
    struct cn_str text = {0};
    snprintf(path, sizeof path, "/proc/sys/%s", name);
    if (access(path, R_OK) != 0) return -1;
    long value = cn_file_read(path, 64, &text) == CN_OK ? strtol(text.data, NULL, 10) : -1;
    cn_str_free(&text);
    return value;
}

/* What stops a namespace that bwrap could not make: the kernel's switches, in the order asked. */
static const char *diagnosis(void)
{
    static const struct {
        const char *name;
        long bad;
        const char *advice;
    } switches[] = {
        {"user/max_user_namespaces", 0,
         "user namespaces are switched off; as root: sysctl -w user.max_user_namespaces=10000"},
        {"kernel/unprivileged_userns_clone", 0,
         "only root may make user namespaces; as root: sysctl -w "
         "kernel.unprivileged_userns_clone=1"},
        {"kernel/apparmor_restrict_unprivileged_userns", 1,
         "AppArmor forbids it; as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, "
         "or give /usr/bin/bwrap a profile with \"userns,\""}};
    for (size_t i = 0; i < sizeof switches / sizeof *switches; i++)
        if (kernel_switch(switches[i].name) == switches[i].bad) return switches[i].advice;
    return "the kernel's switches allow it, so a container around carnot forbids it: start that "
           "with --security-opt seccomp=unconfined --security-opt systempaths=unconfined, or run "
           "carnot outside of it";
}

/* Runs one program in isolation, and sees from outside and inside that it is isolated. */
static enum cn_status probe(struct sandbox *sandbox, char *why, size_t size)
{
    static const char *const argv[] = {"/bin/sh", "-c", "read a < /proc/self/status; echo $$",
                                       NULL};
    const struct sandbox_job job = {.argv = argv, .limits = sandbox_limits_default};
    struct sandbox_result result = {0};
    enum cn_status status = sandbox_run(sandbox, &job, 1, &result);
    bool good = status == CN_OK && result.end == SANDBOX_END_EXITED && result.exit_code == 0 &&
                cn_text_is(cn_str_text(&result.out), "2\n");
    if (status == CN_OK && !good) {
        bool broken = result.end == SANDBOX_END_BROKEN;
        snprintf(why, size, "%s", broken ? result.why : "a program inside is not process 2");
        status = CN_ERR_CONFIG;
    }
    sandbox_result_free(&result);
    return status;
}

/* CN_ERR_CONFIG with the reason recorded if programs cannot be isolated. */
static enum cn_status isolate(struct sandbox *sandbox)
{
    char why[256] = "", first[256] = "";
    CN_TRY(sandbox_filter(&sandbox->filter));
    if (access(SANDBOX_BWRAP, X_OK) != 0)
        return cn_fail(CN_ERR_CONFIG,
                       "there is no " SANDBOX_BWRAP ": as root, apt-get install bubblewrap");
    sandbox->no_userns = true; /* bubblewrap 0.8; the system call list forbids the same */
    if (probe(sandbox, first, sizeof first) == CN_OK) return CN_OK;
    sandbox->no_userns = false;
    enum cn_status status = probe(sandbox, why, sizeof why);
    if (status != CN_ERR_CONFIG) return status;
    if (strstr(why, "nknown option"))
        return cn_fail(CN_ERR_CONFIG, "bubblewrap is too old (%s): version 0.8 is needed", why);
    return cn_fail(CN_ERR_CONFIG, "%s; %s", why, diagnosis());
}

/* ---- open, run, close ---------------------------------------------------- */

enum cn_status sandbox_open(const struct sandbox_settings *settings, struct sandbox **out)
{
    struct sandbox *sandbox = calloc(1, sizeof *sandbox);
    if (!sandbox) return cn_fail(CN_ERR_MEMORY, "out of memory: sandbox");
    sandbox->as_root = geteuid() == 0;
    sandbox->uid = settings->uid ? settings->uid : SANDBOX_UID;
    enum cn_status status = isolate(sandbox);
    if (status == CN_ERR_CONFIG && settings->insecure) {
        cn_log_warn("programs run WITHOUT isolation (insecure): %s", cn_fail_message());
        cn_fail_clear();
        sandbox->insecure = true;
        status = CN_OK;
    }
    if (status != CN_OK) {
        sandbox_close(sandbox);
        return cn_fail_context(status,
                               "programs cannot be isolated on this machine, so none is run");
    }
    *out = sandbox;
    return CN_OK;
}

enum cn_status cn_sandbox_check(void)
{
    struct sandbox *sandbox;
    CN_TRY(sandbox_open(&(struct sandbox_settings){.insecure = false}, &sandbox));
    sandbox_close(sandbox);
    return CN_OK;
}

void sandbox_close(struct sandbox *take_sandbox)
{
    if (take_sandbox) cn_str_free(&take_sandbox->filter);
    free(take_sandbox);
}

bool sandbox_is_insecure(const struct sandbox *sandbox)
{
    return sandbox->insecure;
}

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    remove(path);
    return 0;
}

/* Ends what is left after a failure of ours, and gives back what the job took. */
static void let_loose(struct sandbox_process *p)
{
    if (p->pid > 0) {
        sandbox_kill(p, SANDBOX_END_BROKEN);
        waitpid(p->pid, NULL, 0);
    }
    int *const ours[] = {&p->pid_fd, &p->inside_fd, &p->out,  &p->error, &p->status,
                         &p->block,  &p->channel,   &p->proc, &p->tmp};
    for (size_t i = 0; i < sizeof ours / sizeof *ours; i++)
        if (*ours[i] >= 0) close(*ours[i]);
    cn_str_free(&p->report);
    if (p->folder[0]) nftw(p->folder, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

enum cn_status sandbox_run(struct sandbox *sandbox, const struct sandbox_job *jobs, size_t n,
                           struct sandbox_result *result)
{
    struct sandbox_process processes[SANDBOX_JOBS_MAX] = {0};
    enum cn_status status = CN_OK;
    int stream[2] = {-1, -1};
    CN_BUG_IF(n < 1 || n > SANDBOX_JOBS_MAX);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* bwrap leaves its child behind: we reap it */
    if (n == 2 && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, stream) != 0)
        return cn_fail(CN_ERR_MEMORY, "no descriptors for a sandbox: %s", strerror(errno));
    for (size_t i = 0; i < n; i++) {
        CN_BUG_IF(jobs[i].n_files > SANDBOX_FILES_MAX);
        struct sandbox_result *r = &result[i];
        cn_str_clear(&r->out);
        cn_str_clear(&r->error);
        *r = (struct sandbox_result){.out = r->out, .error = r->error};
        processes[i] = (struct sandbox_process){.sandbox = sandbox,
                                                .job = &jobs[i],
                                                .result = r,
                                                .pid_fd = -1,
                                                .inside_fd = -1,
                                                .out = -1,
                                                .error = -1,
                                                .status = -1,
                                                .block = -1,
                                                .channel = stream[i],
                                                .proc = -1,
                                                .tmp = -1};
    }
    for (size_t i = 0; i < n && status == CN_OK; i++)
        status = sandbox_launch(sandbox, &processes[i]);
    if (status == CN_OK) status = sandbox_watch(processes, n);
    for (size_t i = 0; i < n; i++)
        let_loose(&processes[i]);
    return status;
}

void sandbox_result_free(struct sandbox_result *result)
{
    cn_str_free(&result->out);
    cn_str_free(&result->error);
}
