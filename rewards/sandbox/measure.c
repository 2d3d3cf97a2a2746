/* What all processes of a job use together.
 *
 * The namespace's own /proc, reached from outside through its first process, lists exactly them.
 * Processor time counts children that were waited for; memory is resident pages, each shared page
 * counted once when that decides, plus what stands in /tmp. */
#include "parts.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { INODES_MAX = 8192 }; /* files in /tmp */

struct usage {
    double cpu_s, waited_s;
    size_t resident; /* bytes */
    size_t processes;
};

/* A file below a folder, read whole into `out`, zero-terminated; false if it is gone. */
static bool read_small(int folder, const char *name, char *out, size_t size)
{
    int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);
    if (fd >= 0) close(fd);
    out[n > 0 ? n : 0] = 0;
    return n > 0;
}

/* The /proc and /tmp of the job, once bwrap has changed its root: they are on other devices than
 * ours.  A program cannot move them: its root is read-only and both are mount points. */
static void find_folders(struct sandbox_process *p)
{
    char path[64];
    struct stat ours, theirs;
    if (p->proc >= 0 || p->inside <= 0 || stat("/", &ours) != 0) return;
    snprintf(path, sizeof path, "/proc/%ld/root", (long)p->inside);
    int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0) return;
    if (fstat(root, &theirs) == 0 && theirs.st_dev != ours.st_dev) {
        int proc = openat(root, "proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        int tmp = openat(root, "tmp", O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (proc >= 0 && tmp >= 0 && faccessat(proc, "1/stat", F_OK, 0) == 0) {
            p->proc = proc;
            p->tmp = tmp;
        } else {
            if (proc >= 0) close(proc);
            if (tmp >= 0) close(tmp);
        }
    }
    close(root);
}

/* Adds one process: /proc/PID/stat fields 14 to 17 (ticks) and 24 (pages), behind the name, which
 * may contain anything; /proc/PID/schedstat field 2 (nanoseconds of waiting for a processor). */
static void add_process(int proc, const char *pid, struct usage *usage)
{
    char name[64], text[1024];
    unsigned long utime, stime;
    long cutime, cstime, pages;
    unsigned long long ran, waited = 0;
    snprintf(name, sizeof name, "%s/stat", pid);
    if (!read_small(proc, name, text, sizeof text)) return;
    const char *behind = strrchr(text, ')');
    if (!behind ||
        sscanf(behind + 1,
               " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %*d "
               "%*d %*u %*u %ld",
               &utime, &stime, &cutime, &cstime, &pages) != 5)
        return;
    snprintf(name, sizeof name, "%s/schedstat", pid);
    if (read_small(proc, name, text, sizeof text)) sscanf(text, "%llu %llu", &ran, &waited);
    usage->cpu_s +=
        (double)(utime + stime + (unsigned long)(cutime + cstime)) / (double)sysconf(_SC_CLK_TCK);
    if (1e-9 * (double)waited > usage->waited_s) usage->waited_s = 1e-9 * (double)waited;
    usage->resident += (size_t)pages * (size_t)sysconf(_SC_PAGESIZE);
    usage->processes++;
}

/* The bytes of one process, each shared page divided by the number of its users. */
static size_t proportional(int proc, const char *pid)
{
    char name[64], text[2048];
    snprintf(name, sizeof name, "%s/smaps_rollup", pid);
    const char *at = read_small(proc, name, text, sizeof text) ? strstr(text, "\nPss:") : NULL;
    return at ? (size_t)strtoull(at + 5, NULL, 10) << 10 : 0;
}

/* Goes through all processes; with `exact`, `resident` counts shared pages once. */
static void add_all(const struct sandbox_process *p, bool exact, struct usage *usage)
{
    int copy = openat(p->proc, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *folder = copy < 0 ? NULL : fdopendir(copy);
    if (!folder && copy >= 0) close(copy);
    if (!folder) return;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9') continue;
        if (exact)
            usage->resident += proportional(p->proc, entry->d_name);
        else
            add_process(p->proc, entry->d_name, usage);
    }
    closedir(folder);
}

void sandbox_measure(struct sandbox_process *p)
{
    const struct sandbox_limits *limits = &p->job->limits;
    struct usage usage = {0}, exact = {0};
    struct statvfs disk;
    find_folders(p);
    if (p->proc < 0) return;
    add_all(p, false, &usage);
    if (usage.cpu_s > p->cpu_s) p->cpu_s = usage.cpu_s;
    if (usage.waited_s > p->waited_s) p->waited_s = usage.waited_s;
    size_t files = 0, bytes = 0;
    if (fstatvfs(p->tmp, &disk) == 0) {
        files = (size_t)(disk.f_files - disk.f_ffree);
        bytes = (size_t)(disk.f_blocks - disk.f_bfree) * disk.f_frsize;
    }
    if (usage.processes > 1 && usage.resident + bytes > limits->memory_mb << 20) {
        add_all(p, true, &exact);
        usage.resident = exact.resident;
    }
    size_t megabytes = (usage.resident + bytes) >> 20;
    if (megabytes > p->result->memory_mb) p->result->memory_mb = megabytes;
    if (megabytes > limits->memory_mb)
        sandbox_kill(p, SANDBOX_END_MEMORY);
    else if (files > INODES_MAX)
        sandbox_kill(p, SANDBOX_END_DISK);
    else if (p->cpu_s > limits->time_s)
        sandbox_kill(p, SANDBOX_END_TIME);
}
