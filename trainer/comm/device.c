/* Sums in the memory of GPUs: who has which, and the calls. */
#include "front.h"

#include "carnot/shared.h"

#include <dlfcn.h>
#include <stdlib.h>
#include <string.h>

enum { REASON = 4096 };

static enum cn_status find_backend(int ranks, const struct comm_device **out)
{
    char why[REASON];
    void *shared = cn_shared_open("CN_NCCL_SO", "libcarnot_nccl.so", why, sizeof why);
    if (!shared)
        return cn_fail(
            CN_ERR_CONFIG,
            "run.device=cuda on %d ranks needs NCCL: %s; build with CN_WITH_NCCL=ON and a "
            "libtorch that has CUDA, or start one rank",
            ranks, why);
    *out = dlsym(shared, COMM_DEVICE_SYMBOL);
    if (*out) return CN_OK;
    return cn_fail(CN_ERR_CONFIG, "libcarnot_nccl.so has no %s: it is of another build",
                   COMM_DEVICE_SYMBOL);
}

enum cn_status comm_check_gpus(const struct comm_gpu *gpu, const int *member, int n)
{
    for (int k = 1; k < n; k++)
        for (int r = 0; r < k; r++) {
            if (strcmp(gpu[r].host, gpu[k].host) != 0 || strcmp(gpu[r].bus, gpu[k].bus) != 0)
                continue;
            return cn_fail(CN_ERR_CONFIG,
                           "ranks %d and %d have the same GPU, %s (%s) of host %s, and NCCL needs "
                           "one for each: start at most as many ranks on a host as it has GPUs "
                           "(launch/mpirun -n), and if CUDA_VISIBLE_DEVICES is set, let it list "
                           "one for each",
                           member[r], member[k], gpu[k].bus, gpu[k].name, gpu[k].host);
        }
    return CN_OK;
}

/* Every rank learns of every GPU; the outcome is the same on all. */
static enum cn_status compare(struct cn_comm *c, const struct comm_gpu *own)
{
    const size_t n = (size_t)c->facts.size;
    struct comm_gpu *gpu = calloc(n, sizeof *gpu);
    size_t *start = calloc(n + 1, sizeof *start);
    enum cn_status status = CN_OK;
    if (!gpu || !start)
        CN_TRY_GOTO(cn_fail(CN_ERR_MEMORY, "out of memory: GPUs of the ranks"), out);
    for (size_t r = 0; r <= n; r++)
        start[r] = r * sizeof *gpu;
    gpu[c->facts.rank] = *own;
    const struct cn_comm_data data = {"GPUs", CN_DTYPE_U8, gpu, n * sizeof *gpu};
    CN_TRY_GOTO(cn_comm_gather(c, &data, start), out);
    status = comm_check_gpus(gpu, c->member, c->facts.size);
out:
    free(gpu);
    free(start);
    return status;
}

/* Rank 0 makes the id of the new group and tells it. */
static enum cn_status share_id(struct cn_comm *c, const struct comm_device *backend,
                               unsigned char id[COMM_ID])
{
    const struct cn_comm_data data = {"NCCL's id", CN_DTYPE_U8, id, COMM_ID};
    const enum cn_status status = c->facts.rank == 0 ? backend->invite(id) : CN_OK;
    CN_TRY(cn_comm_agree(c, "NCCL's id", status));
    return cn_comm_broadcast(c, &data, 0);
}

enum cn_status cn_comm_device_open(struct cn_comm *c, int device)
{
    if (!c || c->facts.size == 1) return CN_OK;
    CN_BUG_IF(c->device && c->device_number != device);
    if (c->device) return CN_OK;
    const struct cn_comm_data none = {"NCCL", CN_DTYPE_U8, NULL, 0};
    const struct comm_wait wait = {comm_tick, c};
    struct comm_device_place place = {
        .device = device, .rank = c->facts.rank, .size = c->facts.size, .wait = &wait};
    const struct comm_device *backend = NULL;
    struct comm_gpu own = {.host = ""};
    bool skip;
    enum cn_status status = find_backend(c->facts.size, &backend);
    if (status == CN_OK) status = backend->describe(device, &own);
    CN_TRY(cn_comm_agree(c, "GPUs", status));
    CN_TRY(compare(c, &own));
    CN_TRY(share_id(c, backend, place.id));
    CN_TRY(comm_enter(c, "start", &none, &skip));
    CN_TRY(comm_leave(c, backend->open(&place, &c->device)));
    c->device_backend = backend;
    c->device_number = device;
    return CN_OK;
}

enum cn_status cn_comm_device_sum(struct cn_comm *c, const struct cn_comm_data *data)
{
    bool skip;
    if (!c || c->facts.size == 1) return CN_OK;
    CN_BUG_IF(!c->device);
    CN_TRY(c->device_backend->settle(c->device)); /* who meets has come with all of its data */
    CN_TRY(comm_enter(c, "sum on GPUs", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->device_backend->sum(c->device, data));
}
