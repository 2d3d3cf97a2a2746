/* Stands in for libcarnot_nccl.so where there is no GPU: ranks of one host sum in a file that they
 * share.  So test_comm tries everything around NCCL: who meets, what is said, which waits end.
 *
 * A device of FAKE_ABSENT cannot be described, with FAKE_REFUSES a rank cannot join, with
 * FAKE_STALLS it never takes part in a sum; others are plugged in where their number says. */
#include "fake_gpus.h"

#include "trainer/comm/backend.h"

#include <fcntl.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PIECE = 1 << 17, TICK = 256 }; /* bytes of a rank's place in the file */

struct fake {
    struct comm_wait wait;
    int device, rank, size;
    unsigned char *file; /* a counter, then a piece per rank */
    size_t bytes;
    int meetings;
    bool settled;
};

static enum cn_status fake_describe(int device, struct comm_gpu *out)
{
    if (device == FAKE_ABSENT) return cn_fail(CN_ERR_COMM, "no GPU %d", device);
    snprintf(out->bus, sizeof out->bus, "0000:%02X:00.0", (unsigned)device & 0xff);
    snprintf(out->name, sizeof out->name, "fake");
    gethostname(out->host, sizeof out->host - 1);
    return CN_OK;
}

static enum cn_status fake_invite(unsigned char id[COMM_ID])
{
    const char *folder = getenv("FAKE_GPUS_FOLDER");
    char path[COMM_ID] = "";
    snprintf(path, sizeof path, "%s/fake_gpus_XXXXXX", folder ? folder : "/tmp");
    const int file = mkstemp(path);
    if (file < 0) return cn_fail(CN_ERR_IO, "cannot make %s", path);
    close(file);
    memcpy(id, path, COMM_ID);
    return CN_OK;
}

static enum cn_status meet(struct fake *f)
{
    atomic_int *arrived = (atomic_int *)(void *)f->file;
    const int awaited = ++f->meetings * f->size;
    atomic_fetch_add(arrived, 1);
    for (long polls = 1; atomic_load(arrived) < awaited; polls++) {
        if (polls % TICK == 0) CN_TRY(f->wait.tick(f->wait.self));
        sched_yield();
    }
    return CN_OK;
}

static void fake_close(void *self, bool together)
{
    struct fake *f = self;
    (void)together;
    if (f->file) munmap(f->file, f->bytes);
    free(f);
}

static enum cn_status join(struct fake *f, const char *path)
{
    if (f->device == FAKE_REFUSES) return cn_fail(CN_ERR_COMM, "GPU %d cannot join", f->device);
    const int file = open(path, O_RDWR);
    f->bytes = (size_t)(f->size + 1) * PIECE;
    if (file < 0 || ftruncate(file, (off_t)f->bytes) != 0)
        return cn_fail(CN_ERR_IO, "cannot open %s", path);
    void *map = mmap(NULL, f->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    close(file);
    if (map == MAP_FAILED) return cn_fail(CN_ERR_IO, "cannot map %s", path);
    f->file = map;
    CN_TRY(meet(f));
    if (f->rank == 0) unlink(path);
    return CN_OK;
}

static enum cn_status fake_open(const struct comm_device_place *place, void **self)
{
    struct fake *f = calloc(1, sizeof *f);
    if (!f) return cn_fail(CN_ERR_MEMORY, "out of memory");
    f->wait = *place->wait;
    f->device = place->device;
    f->rank = place->rank;
    f->size = place->size;
    const enum cn_status status = join(f, (const char *)place->id);
    if (status == CN_OK)
        *self = f;
    else
        fake_close(f, false);
    return status;
}

static enum cn_status fake_settle(void *self)
{
    struct fake *f = self;
    f->settled = true;
    return CN_OK;
}

static void add(const struct fake *f, enum cn_dtype dtype, void *into, size_t n)
{
    memset(into, 0, n * cn_dtype_size(dtype));
    for (int r = 0; r < f->size; r++) {
        const void *from = f->file + (size_t)(r + 1) * PIECE;
        for (size_t i = 0; i < n; i++)
            if (dtype == CN_DTYPE_I64)
                ((uint64_t *)into)[i] += ((const uint64_t *)from)[i];
            else
                ((float *)into)[i] += ((const float *)from)[i];
    }
}

static enum cn_status fake_sum(void *self, const struct cn_comm_data *data)
{
    struct fake *f = self;
    const size_t size = cn_dtype_size(data->dtype), most = PIECE / size;
    CN_BUG_IF(!f->settled || (data->dtype != CN_DTYPE_I64 && data->dtype != CN_DTYPE_F32));
    f->settled = false;
    while (f->device == FAKE_STALLS)
        CN_TRY(f->wait.tick(f->wait.self));
    for (size_t at = 0, n; at < data->count; at += n) {
        char *piece = (char *)data->data + at * size;
        n = data->count - at < most ? data->count - at : most;
        memcpy(f->file + (size_t)(f->rank + 1) * PIECE, piece, n * size);
        CN_TRY(meet(f));
        add(f, data->dtype, piece, n);
        CN_TRY(meet(f));
    }
    return CN_OK;
}

extern const struct comm_device comm_device_nccl;
const struct comm_device comm_device_nccl = {.describe = fake_describe,
                                             .invite = fake_invite,
                                             .open = fake_open,
                                             .close = fake_close,
                                             .settle = fake_settle,
                                             .sum = fake_sum};
