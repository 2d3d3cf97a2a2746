/* The child is this program again; it gets its configuration as a file in memory. */
#include "own_service.h"

#include "../clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct own_service {
    pid_t pid; /* 0: gone */
    char url[64];
};

static const double start_s = 60, stop_s = 10;

static enum cn_status failed(const char *what)
{
    return cn_fail(CN_ERR_VERIFIER, "the reward service of this run cannot be started: %s: %s",
                   what, strerror(errno));
}

/* A file in memory with the text, which a child inherits. */
static enum cn_status text_file(struct cn_text text, int *out)
{
    const int fd = memfd_create("config", 0);
    if (fd < 0) return failed("memfd_create");
    for (size_t done = 0; done < text.length;) {
        const ssize_t n = write(fd, text.data + done, text.length - done);
        if (n <= 0) {
            close(fd);
            return failed("memfd");
        }
        done += (size_t)n;
    }
    *out = fd;
    return CN_OK;
}

/* The first line of a pipe, without its end. */
static enum cn_status read_line(int fd, char *line, size_t size)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    const double until = clock_seconds() + start_s;
    for (size_t n = 0; n + 1 < size;) {
        const double left = until - clock_seconds();
        if (left <= 0 || poll(&wait, 1, (int)(1e3 * left) + 1) < 0)
            return cn_fail(CN_ERR_VERIFIER, "the reward service of this run says nothing");
        const ssize_t got = read(fd, line + n, 1);
        if (got <= 0)
            return cn_fail(CN_ERR_VERIFIER,
                           "the reward service of this run ended before it listened; its own "
                           "message stands above");
        if (line[n] == '\n') {
            line[n] = 0;
            return CN_OK;
        }
        n++;
    }
    return cn_fail(CN_ERR_VERIFIER, "the reward service of this run says something odd");
}

/* What the child does between fork and exec: nothing that needs a lock. */
static void become(char *const *argv, int config, int announce, pid_t parent)
{
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    setpgid(0, 0); /* Ctrl-C is for the run, which stops us when it has finished its step */
    fcntl(config, F_SETFD, 0);
    fcntl(announce, F_SETFD, 0);
    if (getppid() == parent) execv("/proc/self/exe", argv);
    _exit(127);
}

enum cn_status own_service_start(struct cn_text config, struct own_service **out)
{
    struct own_service *own = calloc(1, sizeof *own);
    int file = -1, pipes[2] = {-1, -1};
    char path[32], number[16];
    enum cn_status status = CN_OK;
    if (!own) return cn_fail(CN_ERR_MEMORY, "out of memory for a service");
    CN_TRY_GOTO(text_file(config, &file), out);
    if (pipe2(pipes, O_CLOEXEC)) {
        status = failed("pipe");
        goto out;
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    snprintf(number, sizeof number, "%d", pipes[1]);
    char name[] = "carnot", command[] = "serve-rewards", flag[] = "--announce",
         mode[] = "service.mode=in_process", host[] = "service.host=127.0.0.1",
         port[] = "service.port=0", code[] = "service.code_workers=0";
    char *const argv[] = {name, command, path, mode, host, port, code, flag, number, NULL};
    const pid_t parent = getpid();
    own->pid = fork();
    if (own->pid == 0) become(argv, file, pipes[1], parent);
    if (own->pid < 0) {
        own->pid = 0;
        status = failed("fork");
        goto out;
    }
    close(pipes[1]);
    pipes[1] = -1;
    status = read_line(pipes[0], own->url, sizeof own->url);
out:
    if (file >= 0) close(file);
    if (pipes[0] >= 0) close(pipes[0]);
    if (pipes[1] >= 0) close(pipes[1]);
    if (status == CN_OK)
        *out = own;
    else
        own_service_stop(own);
    return status;
}

const char *own_service_url(const struct own_service *own)
{
    return own->url;
}

bool own_service_is_alive(struct own_service *own)
{
    if (own->pid && waitpid(own->pid, NULL, WNOHANG) == own->pid) own->pid = 0;
    return own->pid != 0;
}

void own_service_stop(struct own_service *take_service)
{
    const struct timespec pause = {0, 2000000};
    if (!take_service) return;
    if (own_service_is_alive(take_service)) kill(take_service->pid, SIGTERM);
    const double until = clock_seconds() + stop_s;
    while (own_service_is_alive(take_service) && clock_seconds() < until)
        nanosleep(&pause, NULL);
    if (take_service->pid) {
        kill(take_service->pid, SIGKILL);
        waitpid(take_service->pid, NULL, 0);
    }
    free(take_service);
}
