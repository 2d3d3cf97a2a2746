/* How much memory there is: /proc/meminfo and the limits of control groups. */
#include "plan.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { PATH_BYTES = 1024, LINE_BYTES = 1024 };

/* A value of /proc/meminfo in bytes; 0 if it is not there. */
static uint64_t meminfo(const char *root, const char *key)
{
    char path[PATH_BYTES], line[LINE_BYTES];
    unsigned long long found = 0;
    size_t length = strlen(key);
    snprintf(path, sizeof path, "%s/proc/meminfo", root);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && line[length] == ':') {
            found = strtoull(line + length + 1, NULL, 10);
            break;
        }
    fclose(file);
    return found < UINT64_MAX / 1024 ? found * 1024 : 0;
}

/* A file that holds one number; false if it is missing or says "max". */
static bool read_number(const char *path, uint64_t *out)
{
    char line[64], *end;
    FILE *file = fopen(path, "r");
    if (!file) return false;
    bool found = fgets(line, sizeof line, file) != NULL;
    fclose(file);
    if (!found) return false;
    *out = strtoull(line, &end, 10);
    return end != line;
}

/* A key of a memory.stat file; 0 if it is not there. */
static uint64_t read_stat(const char *path, const char *key)
{
    char line[LINE_BYTES];
    uint64_t value = 0;
    size_t length = strlen(key);
    FILE *file = fopen(path, "r");
    if (!file) return 0;
    while (fgets(line, sizeof line, file))
        if (strncmp(line, key, length) == 0 && line[length] == ' ') {
            value = strtoull(line + length, NULL, 10);
            break;
        }
    fclose(file);
    return value;
}

/* Names of the files of the two versions. */
struct version {
    const char *mount, *limit, *usage, *cache;
};
static const struct version versions[] = {
    {"/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file"},
    {"/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
     "total_inactive_file"},
};

struct group_memory {
    uint64_t limit, left; /* UINT64_MAX: no limit */
};

/* Takes the limit of one group folder into account. */
static void look_at(const struct version *v, const char *folder, struct group_memory *memory)
{
    char path[PATH_BYTES + 64];
    uint64_t limit, used = 0;
    snprintf(path, sizeof path, "%s/%s", folder, v->limit);
    /* Version 1 writes "no limit" as a number near 2^63. */
    if (!read_number(path, &limit) || limit >= (uint64_t)1 << 62) return;
    snprintf(path, sizeof path, "%s/%s", folder, v->usage);
    read_number(path, &used);
    snprintf(path, sizeof path, "%s/memory.stat", folder);
    uint64_t cache = read_stat(path, v->cache);
    used = used > cache ? used - cache : 0;
    uint64_t left = limit > used ? limit - used : 1; /* 0 would mean unknown */
    if (limit < memory->limit) memory->limit = limit;
    if (left < memory->left) memory->left = left;
}

/* The group of this process and all groups above it.  In a container the path may not exist below
 * the mount; the mount itself is then the container's group. */
static void walk_up(const struct version *v, const char *root, char *group,
                    struct group_memory *memory)
{
    char folder[PATH_BYTES];
    for (;;) {
        if (snprintf(folder, sizeof folder, "%s%s%s", root, v->mount, group) < (int)sizeof folder)
            look_at(v, folder, memory);
        char *slash = strrchr(group, '/');
        if (!slash) return;
        *slash = 0;
    }
}

static struct group_memory group_memory(const char *root)
{
    struct group_memory memory = {UINT64_MAX, UINT64_MAX};
    char path[PATH_BYTES], line[LINE_BYTES];
    snprintf(path, sizeof path, "%s/proc/self/cgroup", root);
    FILE *file = fopen(path, "r");
    if (!file) return memory;
    while (fgets(line, sizeof line, file)) { /* "0::/path" or "4:memory:/path" */
        line[strcspn(line, "\n")] = 0;
        char *controllers = strchr(line, ':'),
             *group = controllers ? strchr(controllers + 1, ':') : NULL;
        if (!group) continue;
        *group++ = 0;
        if (strcmp(group, "/") == 0) *group = 0;
        if (strcmp(controllers + 1, "") == 0)
            walk_up(&versions[0], root, group, &memory);
        else if (strcmp(controllers + 1, "memory") == 0)
            walk_up(&versions[1], root, group, &memory);
    }
    fclose(file);
    return memory;
}

/* A function of a shared object by name, without a cast between data and code. */
static bool find_function(void *library, const char *name, void *out)
{
    void *symbol = dlsym(library, name);
    memcpy(out, &symbol, sizeof symbol);
    return symbol != NULL;
}

uint64_t plan_device_memory(void)
{
    int (*start)(unsigned), (*get)(int *, int), (*total)(size_t *, int);
    void *library = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    size_t bytes = 0;
    int device = 0;
    if (library && find_function(library, "cuInit", &start) &&
        find_function(library, "cuDeviceGet", &get) &&
        find_function(library, "cuDeviceTotalMem_v2", &total) && start(0) == 0 &&
        get(&device, 0) == 0 && total(&bytes, device) == 0)
        return bytes;
    return 0;
}

uint64_t plan_machine_memory(const char *root)
{
    return meminfo(root, "MemTotal");
}

uint64_t plan_group_limit(const char *root)
{
    uint64_t limit = group_memory(root).limit;
    return limit == UINT64_MAX ? 0 : limit;
}

uint64_t plan_available(const char *root)
{
    uint64_t available = meminfo(root, "MemAvailable"), left = group_memory(root).left;
    if (left == UINT64_MAX) return available;
    return available && available < left ? available : left;
}
