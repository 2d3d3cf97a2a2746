/* What the tests of store and record share: a folder of their own, series, children that are
 * killed. */
#ifndef TESTS_STORE_BENCH_H
#define TESTS_STORE_BENCH_H

#include "check.h"

#include "carnot/store.h"

#include <dirent.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const types[] = {
#ifdef CN_WITH_HDF5
    "hdf5",
#endif
    "memory"};
enum { N_TYPES = sizeof types / sizeof *types };

/* A folder of its own for a test, removed at its end. */
static char folder[64];

static inline void folder_open(void)
{
    strcpy(folder, "/tmp/carnot_test_store_XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static inline void folder_clear(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        char inner[512];
        if (e->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%.200s/%.200s", path, e->d_name);
        if (unlink(inner) != 0) folder_clear(inner);
    }
    closedir(dir);
    rmdir(path);
}

static inline const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static inline size_t files_in(const char *path, const char *ending)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    if (!dir) return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t length = strlen(e->d_name), m = strlen(ending);
        n += length >= m && strcmp(e->d_name + length - m, ending) == 0 && e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static inline struct cn_buffer series(const char *name, enum cn_dtype dtype, void *data,
                                      size_t rows)
{
    struct cn_buffer buffer = {.name = name,
                               .dtype = dtype,
                               .rank = 1,
                               .shape = {(int64_t)rows},
                               .count = rows,
                               .data = data,
                               .device = -1};
    return buffer;
}

/* Runs `body` in a child; returns its wait status. */
static inline int in_child(void (*body)(const char *type), const char *type)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        body(type);
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

#endif
