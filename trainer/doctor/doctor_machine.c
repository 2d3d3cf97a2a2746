/* carnot doctor: processor, cores, memory, disk, and environment variables that are traps. */
#include "doctor.h"

#include "../model/plan.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

enum { LINE_BYTES = 512 };

/* ---- processor ----------------------------------------------------------- */

#if defined(__x86_64__)
/* Instruction sets that some kernel makes use of. */
#define FEATURES(X) X(avx2) X(fma) X(avx512f) X(avx512bw) X(avx512vl) X(avx512dq) X(avx512bf16)
static void add_features(char *out, size_t size)
{
    size_t used = 0;
    __builtin_cpu_init();
#define X(name)                                                                                    \
    if (__builtin_cpu_supports(#name) && used < size)                                              \
        used += (size_t)snprintf(out + used, size - used, " " #name);
    FEATURES(X)
#undef X
}

static bool has_fast_kernels(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}
#else
static void add_features(char *out, size_t size)
{
    snprintf(out, size, " portable");
}

static bool has_fast_kernels(void)
{
    return false;
}
#endif

/* The first line "KEY...: VALUE" of a file; false if there is none. */
static bool find_line(const char *path, const char *key, char *out, size_t size)
{
    char line[LINE_BYTES];
    bool found = false;
    FILE *file = fopen(path, "r");
    if (!file) return false;
    while (!found && fgets(line, sizeof line, file)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, key, strlen(key)) != 0 || !colon) continue;
        line[strcspn(line, "\n")] = 0;
        snprintf(out, size, "%s", colon + 1 + strspn(colon + 1, " \t"));
        found = true;
    }
    fclose(file);
    return found;
}

void doctor_processor(char *out, size_t size)
{
    if (!find_line("/proc/cpuinfo", "model name", out, size)) snprintf(out, size, "unknown model");
}

static void processor(struct doctor *d)
{
    char model[200], features[200] = "";
    doctor_processor(model, sizeof model);
    add_features(features, sizeof features);
    doctor_say(d, DOCTOR_OK, "processor", "%s:%s", model,
               *features ? features : " none of avx2, avx512");
    if (!has_fast_kernels())
        doctor_say(d, DOCTOR_WARN, "processor",
                   "no avx2: the portable kernels run, several times slower");
}

/* ---- cores --------------------------------------------------------------- */

/* Cores that the control group's quota allows; 0: no quota. */
static double quota(void)
{
    double limit = 0, period = 0;
    char word[64];
    FILE *file = fopen("/sys/fs/cgroup/cpu.max", "r");
    if (file) {
        if (fscanf(file, "%63s %lf", word, &period) == 2) limit = strtod(word, NULL);
        fclose(file);
        return limit > 0 && period > 0 ? limit / period : 0;
    }
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "r");
    if (!file || fscanf(file, "%lf", &limit) != 1) limit = 0;
    if (file) fclose(file);
    file = fopen("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "r");
    if (!file || fscanf(file, "%lf", &period) != 1) period = 0;
    if (file) fclose(file);
    return limit > 0 && period > 0 ? limit / period : 0;
}

static void load(struct doctor *d)
{
    double one[1];
    if (getloadavg(one, 1) != 1) return;
    if (one[0] > 0.5 * d->cores)
        doctor_say(
            d, DOCTOR_WARN, "cores",
            "load is %.1f on %d cores: other work makes parallel loops wait, up to ten times "
            "slower; measure nothing now",
            one[0], d->cores);
}

static void cores(struct doctor *d)
{
    const long online = sysconf(_SC_NPROCESSORS_ONLN);
    const char *local = getenv("OMPI_COMM_WORLD_LOCAL_SIZE");
    cpu_set_t set;
    d->cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : (int)online;
    if (d->cores < 1) d->cores = 1;
    double allowed = quota();
    doctor_say(d, DOCTOR_OK, "cores", "%d in the affinity mask, %ld online", d->cores, online);
    if (allowed > 0 && allowed < d->cores)
        doctor_say(d, DOCTOR_WARN, "cores",
                   "a quota allows %.1f cores' time: parallel.threads=%d avoids being put to sleep",
                   allowed, allowed < 1 ? 1 : (int)allowed);
    if (local && d->cores == 1 && online > 1)
        doctor_say(
            d, DOCTOR_WARN, "cores",
            "mpirun bound this rank to one core: give it --bind-to none, or --map-by slot:PE=%ld",
            online / (atol(local) > 0 ? atol(local) : 1));
    else if (d->cores < online)
        doctor_say(d, DOCTOR_NOTE, "cores",
                   "the mask (taskset, Slurm, mpirun) leaves %ld of %ld unused", online - d->cores,
                   online);
    load(d);
}

/* ---- environment --------------------------------------------------------- */

enum trap_kind { TRAP_THREADS, TRAP_VALUE, TRAP_SET };

static const struct trap {
    const char *variable;
    enum trap_kind kind;
    const char *value; /* TRAP_VALUE: what it must not be */
    enum doctor_level level;
    const char *why;
} traps[] = {
    {"OMP_NUM_THREADS", TRAP_THREADS, NULL, DOCTOR_WARN, ""},
    {"MKL_NUM_THREADS", TRAP_THREADS, NULL, DOCTOR_WARN, ""},
    {"OMP_WAIT_POLICY", TRAP_VALUE, "active", DOCTOR_WARN,
     "idle threads spin and take the cores of the decode engine: unset it"},
    {"OMP_PROC_BIND", TRAP_SET, NULL, DOCTOR_NOTE,
     "binds OpenMP threads; two ranks on one machine may then share cores"},
    {"GOMP_CPU_AFFINITY", TRAP_SET, NULL, DOCTOR_NOTE,
     "binds OpenMP threads; two ranks on one machine may then share cores"},
    {"OPENBLAS_CORETYPE", TRAP_SET, NULL, DOCTOR_NOTE,
     "halves fp32 products of a libtorch built on OpenBLAS (PyTorch's wheel has MKL: no effect)"},
    {"MKL_CBWR", TRAP_VALUE, "COMPATIBLE", DOCTOR_WARN,
     "makes fp32 products half as fast; unset it, or AUTO"},
    {"MKL_CBWR", TRAP_SET, NULL, DOCTOR_NOTE,
     "changes the last bits of fp32 products: compare only runs with the same value"},
    {"MKL_ENABLE_INSTRUCTIONS", TRAP_SET, NULL, DOCTOR_NOTE, "may switch off wide vectors in MKL"},
    {"ONEDNN_MAX_CPU_ISA", TRAP_SET, NULL, DOCTOR_NOTE,
     "may switch off wide vectors in bf16 products"},
    {"ATEN_CPU_CAPABILITY", TRAP_SET, NULL, DOCTOR_NOTE, "chooses libtorch's loops by hand"},
    {"LD_PRELOAD", TRAP_SET, NULL, DOCTOR_NOTE,
     "another library comes first: allocator, OpenMP, BLAS?"},
    {"CN_TORCH_SO", TRAP_SET, NULL, DOCTOR_NOTE, "another libcarnot_torch.so is used"},
};

void doctor_traps(struct doctor *d)
{
    size_t found = 0;
    for (size_t i = 0; i < sizeof traps / sizeof *traps; i++) {
        const struct trap *t = &traps[i];
        const char *value = getenv(t->variable);
        if (!value || !*value) continue;
        if (t->kind == TRAP_VALUE && strcasecmp(value, t->value) != 0) continue;
        if (t->kind == TRAP_SET && i > 0 && traps[i - 1].kind == TRAP_VALUE &&
            strcmp(traps[i - 1].variable, t->variable) == 0 &&
            strcasecmp(value, traps[i - 1].value) == 0)
            continue; /* has been said with more weight */
        found++;
        if (t->kind != TRAP_THREADS)
            doctor_say(d, t->level, "threads", "%s=%s: %s", t->variable, value, t->why);
        else if (atol(value) > d->cores)
            doctor_say(d, DOCTOR_WARN, "threads",
                       "%s=%s on %d cores: threads wait for each other, up to a hundred times "
                       "slower; unset it",
                       t->variable, value, d->cores);
        else
            doctor_say(d, DOCTOR_NOTE, "threads", "%s=%s: parallel.threads decides in Carnot",
                       t->variable, value);
    }
    if (!found)
        doctor_say(d, DOCTOR_OK, "threads",
                   "no variable interferes; Carnot takes %d threads (parallel.threads)", d->cores);
}

/* ---- memory and disk ----------------------------------------------------- */

static double gigabytes(uint64_t bytes)
{
    return (double)bytes / 1e9;
}

static void memory(struct doctor *d)
{
    const uint64_t total = plan_machine_memory(""), available = plan_available(""),
                   limit = plan_group_limit("");
    if (!available) {
        doctor_say(d, DOCTOR_NOTE, "memory",
                   "cannot be read here; the check before a run is skipped");
        return;
    }
    char group[100] = "";
    if (limit) snprintf(group, sizeof group, ", control group limit %.1f GB", gigabytes(limit));
    doctor_say(
        d, available < 1500000000u ? DOCTOR_WARN : DOCTOR_OK, "memory",
        "%.1f GB available of %.1f GB%s; carnot train CONFIG --dry-run plans what a run needs",
        gigabytes(available), gigabytes(total), group);
}

static void disk(struct doctor *d, const char *folder, double need)
{
    struct statvfs info;
    if (statvfs(folder, &info) != 0) {
        doctor_say(d, DOCTOR_WARN, "disk", "%s: %s", folder, strerror(errno));
        return;
    }
    double free_gb = gigabytes((uint64_t)info.f_bavail * info.f_frsize);
    bool writable = access(folder, W_OK) == 0;
    doctor_say(d, writable && free_gb >= need ? DOCTOR_OK : DOCTOR_WARN, "disk",
               "%s: %.1f GB free%s%s", folder, free_gb, writable ? "" : ", not writable",
               free_gb < need ? ": too little for checkpoints" : "");
}

void doctor_machine(struct doctor *d)
{
    const char *temporary = getenv("TMPDIR");
    processor(d);
    cores(d);
    memory(d);
    disk(d, ".", 5);
    disk(d, temporary && *temporary ? temporary : "/tmp", 0.5);
}
