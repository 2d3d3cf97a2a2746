/* Sums in the memory of GPUs by NCCL, one GPU per rank.
 *
 * Every launch/test compiles this file against the headers of NCCL and CUDA; it has not met a GPU
 * yet (tests/test_nccl.c and tests/check_device_ranks.sh are what it will meet there).
 *
 * The ranks meet over MPI before anything happens here, and MPI never sees this memory.  The
 * communicator is non-blocking: no call of NCCL waits, each may answer ncclInProgress, and this
 * file polls, so that a deadline or another rank's failure ends every wait; ncclCommAbort then
 * makes kernels that wait for other ranks return.  The next call of NCCL, and the look at the
 * stream, come only when the last call has left ncclInProgress.
 *
 * A sum runs alone on a stream of its own: `settle` has waited for everything before it, and it is
 * over when it returns.  So nothing must be known of libtorch's streams.
 *
 * NVIDIA, NCCL User Guide: "Creating a communicator with options", "Finalizing a communicator",
 * "Asynchronous errors and error handling", "Fault Tolerance". */
#include "backend.h"

#include <cuda_runtime.h>
#include <nccl.h>

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    SPINS = 2000, /* polls before a wait sleeps in between */
    PAUSE_NS = 50000,
    TICK = 64,      /* polls between two looks at the clock */
    CLOSE_MS = 5000 /* longest wait for the others at the end */
};

struct nccl {
    struct comm_wait wait;
    int device;
    ncclComm_t comm; /* NULL: given up */
    cudaStream_t stream;
};

_Static_assert(sizeof(ncclUniqueId) == COMM_ID, "what rank 0 tells is NCCL's id");

/* ---- failures and waits -------------------------------------------------- */

/* The runtime keeps its last error, which libtorch would take for one of its own. */
static enum cn_status check_cuda(cudaError_t error, const char *call)
{
    if (error == cudaSuccess) return CN_OK;
    (void)cudaGetLastError();
    return cn_fail(CN_ERR_COMM, "%s: %s", call, cudaGetErrorString(error));
}

static enum cn_status check_nccl(ncclComm_t comm, ncclResult_t result, const char *call)
{
    if (result == ncclSuccess || result == ncclInProgress) return CN_OK;
    return cn_fail(CN_ERR_COMM, "%s: %s: %s (NCCL_DEBUG=INFO says more)", call,
                   ncclGetErrorString(result), ncclGetLastError(comm));
}

/* Between two polls. */
static enum cn_status rest(const struct nccl *n, long polls)
{
    const struct timespec pause = {0, PAUSE_NS};
    if (polls % TICK == 0) CN_TRY(n->wait.tick(n->wait.self));
    if (polls > SPINS)
        nanosleep(&pause, NULL);
    else
        sched_yield();
    return CN_OK;
}

/* Waits until NCCL has taken in a call that answered `result`. */
static enum cn_status finish_call(const struct nccl *n, ncclResult_t result, const char *call)
{
    ncclResult_t state = ncclInProgress;
    CN_TRY(check_nccl(n->comm, result, call));
    for (long polls = 1;; polls++) {
        CN_TRY(check_nccl(n->comm, ncclCommGetAsyncError(n->comm, &state), call));
        CN_TRY(check_nccl(n->comm, state, call));
        if (state == ncclSuccess) return CN_OK;
        CN_TRY(rest(n, polls));
    }
}

/* Waits until the GPU has done what lies on the stream. */
static enum cn_status finish_stream(const struct nccl *n, const char *call)
{
    for (long polls = 1;; polls++) {
        ncclResult_t state = ncclSuccess;
        const cudaError_t done = cudaStreamQuery(n->stream);
        if (done != cudaErrorNotReady) return check_cuda(done, call);
        (void)cudaGetLastError(); /* not ready is no error */
        CN_TRY(check_nccl(n->comm, ncclCommGetAsyncError(n->comm, &state), call));
        CN_TRY(check_nccl(n->comm, state, call));
        CN_TRY(rest(n, polls));
    }
}

/* Ends what goes on, without the other ranks. */
static void give_up(struct nccl *n)
{
    if (n->comm) ncclCommAbort(n->comm);
    n->comm = NULL;
}

/* ---- who and where ------------------------------------------------------- */

static enum cn_status nccl_describe(int device, struct comm_gpu *out)
{
    struct cudaDeviceProp facts;
    CN_TRY(check_cuda(cudaGetDeviceProperties(&facts, device), "cudaGetDeviceProperties"));
    CN_TRY(check_cuda(cudaDeviceGetPCIBusId(out->bus, sizeof out->bus, device),
                      "cudaDeviceGetPCIBusId"));
    snprintf(out->name, sizeof out->name, "%.63s", facts.name);
    gethostname(out->host, sizeof out->host - 1);
    return CN_OK;
}

static enum cn_status nccl_invite(unsigned char id[COMM_ID])
{
    ncclUniqueId own;
    CN_TRY(check_nccl(NULL, ncclGetUniqueId(&own), "ncclGetUniqueId"));
    memcpy(id, &own, sizeof own);
    return CN_OK;
}

/* ---- open and close ------------------------------------------------------ */

static enum cn_status join(struct nccl *n, const struct comm_device_place *place)
{
    ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
    ncclUniqueId id;
    memcpy(&id, place->id, sizeof id);
    config.blocking = 0;
    CN_TRY(check_cuda(cudaSetDevice(n->device), "cudaSetDevice"));
    CN_TRY(check_cuda(cudaStreamCreateWithFlags(&n->stream, cudaStreamNonBlocking),
                      "cudaStreamCreateWithFlags"));
    return finish_call(n, ncclCommInitRankConfig(&n->comm, place->size, id, place->rank, &config),
                       "ncclCommInitRankConfig");
}

/* Waits for the others, but not for long: whoever does not come has said why elsewhere. */
static void finalize(struct nccl *n)
{
    const struct timespec pause = {0, 1000000};
    const ncclResult_t begun = ncclCommFinalize(n->comm);
    ncclResult_t state = ncclInProgress;
    if (begun != ncclSuccess && begun != ncclInProgress) return;
    for (int ms = 0; ms < CLOSE_MS && state == ncclInProgress; ms++) {
        if (ncclCommGetAsyncError(n->comm, &state) != ncclSuccess) return;
        if (state == ncclInProgress) nanosleep(&pause, NULL);
    }
    if (state != ncclSuccess) return;
    ncclCommDestroy(n->comm);
    n->comm = NULL;
}

static void nccl_close(void *self, bool together)
{
    struct nccl *n = self;
    if (n->comm && together) finalize(n);
    give_up(n);
    if (n->stream) cudaStreamDestroy(n->stream);
    free(n);
}

static enum cn_status nccl_open(const struct comm_device_place *place, void **self)
{
    struct nccl *n = calloc(1, sizeof *n);
    if (!n) return cn_fail(CN_ERR_MEMORY, "out of memory: communication");
    n->wait = *place->wait;
    n->device = place->device;
    const enum cn_status status = join(n, place);
    if (status == CN_OK)
        *self = n;
    else
        nccl_close(n, false);
    return status;
}

/* ---- sums ---------------------------------------------------------------- */

static enum cn_status nccl_settle(void *self)
{
    const struct nccl *n = self;
    CN_TRY(check_cuda(cudaSetDevice(n->device), "cudaSetDevice"));
    return check_cuda(cudaDeviceSynchronize(), "cudaDeviceSynchronize");
}

static enum cn_status nccl_sum(void *self, const struct cn_comm_data *data)
{
    struct nccl *n = self;
    CN_BUG_IF(!n->comm || (data->dtype != CN_DTYPE_F32 && data->dtype != CN_DTYPE_I64));
    const ncclDataType_t type = data->dtype == CN_DTYPE_F32 ? ncclFloat32 : ncclInt64;
    enum cn_status status = finish_call(
        n, ncclAllReduce(data->data, data->data, data->count, type, ncclSum, n->comm, n->stream),
        "ncclAllReduce");
    if (status == CN_OK) status = finish_stream(n, "ncclAllReduce");
    if (status != CN_OK) give_up(n);
    return status;
}

extern const struct comm_device comm_device_nccl;
const struct comm_device comm_device_nccl = {.describe = nccl_describe,
                                             .invite = nccl_invite,
                                             .open = nccl_open,
                                             .close = nccl_close,
                                             .settle = nccl_settle,
                                             .sum = nccl_sum};
