/* carnot doctor: the optional parts.  Each is looked for with dlopen, so that a machine without it
 * only loses a line. */
#include "doctor.h"

#include "../model/backend.h"

#include "carnot/reward.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(CN_WITH_TORCH)
static const bool built_torch = true;
#else
static const bool built_torch = false;
#endif
#if defined(CN_WITH_HDF5)
static const bool built_hdf5 = true;
#else
static const bool built_hdf5 = false;
#endif
#if defined(CN_WITH_MATH)
static const bool built_math = true;
#else
static const bool built_math = false;
#endif
#if defined(CN_WITH_SERVICE)
static const bool built_service = true;
#else
static const bool built_service = false;
#endif
#if defined(CN_WITH_MPI)
static const bool built_mpi = true;
#else
static const bool built_mpi = false;
#endif
#if defined(CN_WITH_NCCL)
static const bool built_nccl = true;
#else
static const bool built_nccl = false;
#endif

/* Seconds of each product of matrices: one of 1024 takes about 10 ms on two cores. */
static const double product_s = 0.05;

/* The first library of a NULL-ended list that opens; NULL: none. */
static void *open_first(const char *const *names)
{
    for (; *names; names++) {
        void *library = dlopen(*names, RTLD_LAZY | RTLD_LOCAL);
        if (library) return library;
    }
    return NULL;
}

/* Sets a function pointer to a symbol; false if it is not there.  (ISO C has no cast for this.) */
static bool find_function(void *library, const char *name, void *function_pointer)
{
    void *symbol = dlsym(library, name);
    if (symbol) memcpy(function_pointer, &symbol, sizeof symbol);
    return symbol != NULL;
}

static bool in_path(const char *program)
{
    const char *path = getenv("PATH");
    char full[1024];
    while (path && *path) {
        size_t length = strcspn(path, ":");
        if (length + strlen(program) + 2 < sizeof full) {
            memcpy(full, path, length);
            full[length] = '/';
            strcpy(full + length + 1, program);
            if (access(full, X_OK) == 0) return true;
        }
        path += length + (path[length] == ':');
    }
    return false;
}

static void torch_part(struct doctor *d)
{
    struct torch_facts facts = {0};
    if (!built_torch) {
        doctor_say(d, DOCTOR_MISSING, "libtorch",
                   "built without it: no transformer is trained; launch/setup brings it");
        return;
    }
    if (model_torch_facts(product_s, &facts) != CN_OK) {
        doctor_say(d, DOCTOR_MISSING, "libtorch", "%s (launch/setup brings it)", cn_fail_message());
        cn_fail_clear();
        return;
    }
    doctor_say(d, DOCTOR_OK, "libtorch", "%s; %s", facts.version, facts.blas);
    doctor_say(d, facts.cuda_devices ? DOCTOR_OK : DOCTOR_NOTE, "libtorch", "run.device=cuda: %s",
               facts.cuda);
    /* 10 GFLOP/s a core: half of what avx2 without fma gives, ten times what a reference BLAS
     * gives. */
    bool slow = facts.gflops_f32 < 10.0 * d->cores;
    doctor_say(d, slow ? DOCTOR_WARN : DOCTOR_OK, "libtorch",
               "product of matrices, %d threads: %.0f GFLOP/s f32, %.0f bf16%s", facts.threads,
               facts.gflops_f32, facts.gflops_bf16,
               slow ? ": far too slow; a reference BLAS, or a busy machine?" : "");
    if (facts.gflops_bf16 < 0.8 * facts.gflops_f32) /* less is noise, or the cost of widening */
        doctor_say(d, DOCTOR_NOTE, "libtorch", "bf16 is slower than f32 here: use model.dtype=f32");
}

static void mpi_part(struct doctor *d)
{
    static const char *const names[] = {"libmpi.so.40", "libmpi.so.12", "libmpi.so", NULL};
    int (*version)(char *, int *);
    char text[8192] = "";
    int length = 0;
    void *library = open_first(names);
    if (library && find_function(library, "MPI_Get_library_version", &version) &&
        version(text, &length) == 0)
        text[strcspn(text, ",\n")] = 0;
    if (!library)
        doctor_say(
            d, DOCTOR_MISSING, "MPI",
            "no library: one rank only; as root, apt-get install libopenmpi-dev openmpi-bin");
    else if (!in_path("mpirun") && !in_path("srun"))
        doctor_say(d, DOCTOR_MISSING, "MPI",
                   "%s, but no mpirun: as root, apt-get install openmpi-bin", text);
    else
        doctor_say(d, built_mpi ? DOCTOR_OK : DOCTOR_NOTE, "MPI", "%s%s", *text ? text : "found",
                   built_mpi ? "" : "; this build has one rank only");
}

/* Name and memory of the first device. */
static void cuda_device(struct doctor *d, void *library, int count)
{
    int (*get)(int *, int), (*name)(char *, int, int), (*memory)(size_t *, int);
    int device = 0;
    size_t bytes = 0;
    char text[100] = "?";
    if (find_function(library, "cuDeviceGet", &get) &&
        find_function(library, "cuDeviceGetName", &name) &&
        find_function(library, "cuDeviceTotalMem_v2", &memory) && get(&device, 0) == 0) {
        name(text, sizeof text, device);
        memory(&bytes, device);
    }
    doctor_say(d, DOCTOR_OK, "CUDA", "%d device%s; first: %s, %.0f GB", count,
               count == 1 ? "" : "s", text, (double)bytes / 1e9);
}

static void cuda_part(struct doctor *d)
{
    static const char *const names[] = {"libcuda.so.1", NULL};
    int (*start)(unsigned), (*devices)(int *);
    int count = 0, failure = -1;
    void *library = open_first(names);
    if (!library) {
        doctor_say(d, DOCTOR_NOTE, "CUDA",
                   "no NVIDIA driver: training and sampling run on the processor");
        return;
    }
    if (find_function(library, "cuInit", &start) &&
        find_function(library, "cuDeviceGetCount", &devices))
        failure = start(0);
    if (failure == 0) failure = devices(&count);
    if (failure != 0)
        doctor_say(d, DOCTOR_WARN, "CUDA",
                   "a driver is there but answers with error %d: is a GPU visible (nvidia-smi)?",
                   failure);
    else if (count == 0)
        doctor_say(d, DOCTOR_NOTE, "CUDA", "a driver, but no device (CUDA_VISIBLE_DEVICES?)");
    else
        cuda_device(d, library, count);
}

static void nccl_part(struct doctor *d)
{
    static const char *const names[] = {"libnccl.so.2", NULL};
    int (*version)(int *);
    int number = 0;
    void *library = open_first(names);
    if (!library || !find_function(library, "ncclGetVersion", &version) || version(&number) != 0)
        doctor_say(d, DOCTOR_NOTE, "NCCL",
                   "not found: needed only for several GPUs (it comes with PyTorch's CUDA wheel)");
    else
        doctor_say(d, built_nccl ? DOCTOR_OK : DOCTOR_NOTE, "NCCL", "%d.%d.%d%s", number / 10000,
                   number / 100 % 100, number % 100,
                   built_nccl ? "; adds up over several GPUs (not tried on any yet)"
                              : "; not used by this build, whose libtorch has no CUDA");
}

static void hdf5_part(struct doctor *d)
{
    static const char *const names[] = {"libhdf5_serial.so.310",
                                        "libhdf5_serial.so.103",
                                        "libhdf5.so.310",
                                        "libhdf5.so.200",
                                        "libhdf5.so.103",
                                        "libhdf5.so",
                                        NULL};
    int (*version)(unsigned *, unsigned *, unsigned *);
    unsigned part[3] = {0};
    if (!built_hdf5) {
        doctor_say(
            d, DOCTOR_MISSING, "HDF5",
            "built without it: tokens are not recorded; as root, apt-get install libhdf5-dev, "
            "then launch/setup -DCN_WITH_HDF5=ON");
        return;
    }
    /* The program itself is linked with it; the list is for a build whose linker left it out. */
    bool found = find_function(RTLD_DEFAULT, "H5get_libversion", &version);
    void *library = found ? NULL : open_first(names);
    if (!found) found = library && find_function(library, "H5get_libversion", &version);
    if (found && version(&part[0], &part[1], &part[2]) >= 0)
        doctor_say(d, DOCTOR_OK, "HDF5", "%u.%u.%u", part[0], part[1], part[2]);
    else
        doctor_say(d, DOCTOR_MISSING, "HDF5", "no library: as root, apt-get install libhdf5-dev");
}

/* The version texts are variables of the libraries. */
static void math_part(struct doctor *d)
{
    const char *const *gmp = dlsym(RTLD_DEFAULT, "__gmp_version");
    const char *flint = dlsym(RTLD_DEFAULT, "flint_version");
    if (built_math)
        doctor_say(d, DOCTOR_OK, "maths", "verifier with FLINT %s and GMP %s", flint ? flint : "",
                   gmp ? *gmp : "");
    else
        doctor_say(d, DOCTOR_MISSING, "maths",
                   "built without the verifier: no reward math; as root, apt-get install "
                   "libgmp-dev libflint-dev libflint-arb-dev, then launch/setup "
                   "-DCN_WITH_MATH=ON");
}

static void service_part(struct doctor *d)
{
    const char *(*server)(void), *(*client)(void);
    if (!built_service)
        doctor_say(d, DOCTOR_MISSING, "service",
                   "built without it: answers are scored in the program itself only; as root, "
                   "apt-get install libmicrohttpd-dev libcurl4-openssl-dev libseccomp-dev, then "
                   "launch/setup -DCN_WITH_SERVICE=ON");
    else if (find_function(RTLD_DEFAULT, "MHD_get_version", &server) &&
             find_function(RTLD_DEFAULT, "curl_version", &client))
        doctor_say(d, DOCTOR_OK, "service", "libmicrohttpd %s, %s", server(), client());
}

static void sandbox_part(struct doctor *d)
{
    if (cn_sandbox_check() == CN_OK)
        doctor_say(d, DOCTOR_OK, "sandbox", "programs that a policy wrote can be isolated");
    else
        doctor_say(d, DOCTOR_NOTE, "sandbox", "%s", cn_fail_message());
    cn_fail_clear();
}

void doctor_parts(struct doctor *d)
{
    torch_part(d);
    mpi_part(d);
    cuda_part(d);
    nccl_part(d);
    hdf5_part(d);
    math_part(d);
    service_part(d);
    sandbox_part(d);
}
