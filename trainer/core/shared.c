/* Shared objects of the program itself. */
#include "carnot/shared.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_BYTES = 4096 };

/* Folder of the running program; false if it cannot be found out. */
static bool program_folder(char *out, size_t size)
{
    ssize_t n = readlink("/proc/self/exe", out, size - 1);
    if (n <= 0) return false;
    out[n] = 0;
    char *slash = strrchr(out, '/');
    if (!slash) return false;
    *slash = 0;
    return true;
}

static void *load(const char *path, const char *prefix, char *why, size_t size)
{
    void *shared = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!shared) snprintf(why, size, "%s: %s", prefix, dlerror());
    return shared;
}

void *cn_shared_open(const char *variable, const char *name, char *why, size_t size)
{
    const char *chosen = getenv(variable);
    char folder[PATH_BYTES], path[2][PATH_BYTES + 64];
    if (chosen && *chosen) return load(chosen, variable, why, size);
    if (!program_folder(folder, sizeof folder)) {
        snprintf(why, size, "cannot find the program's own folder: set %s to %s", variable, name);
        return NULL;
    }
    snprintf(path[0], sizeof path[0], "%s/%s", folder, name);
    snprintf(path[1], sizeof path[1], "%s/../lib/%s", folder, name);
    for (int i = 0; i < 2; i++)
        if (access(path[i], R_OK) == 0) return load(path[i], path[i], why, size);
    snprintf(why, size, "no %s beside the program (%s)", name, path[0]);
    return NULL;
}
