/* Ranks over MPI.
 *
 * Small sums and maxima are the library's.  A large sum is a pairwise exchange: in round s, a rank
 * sends to rank + s the elements that are that rank's and adds what rank - s sends, piece by piece.
 * With the gather that follows it moves each element twice, like the best all-reduce, but adds
 * out of the cache: measured half the time of the library's all-reduce on one host (2 ranks, 128
 * MB).  Every wait polls, so that a deadline can end it. */
#include "backend.h"

#include <mpi.h>

#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TAG_DATA = 1,
    TAG_LETTER = 2,
    PIECE = 1 << 16,      /* elements of a piece that is added */
    COPY_PIECE = 1 << 22, /* elements of a piece that is copied */
    SMALL = 1 << 17,      /* bytes up to which the library's own algorithm is used */
    SPINS = 2000,         /* polls before a patient wait leaves the core to others */
    SLEEPS = 20000,       /* polls after which it sleeps in between */
    SLEEP_NS = 100000,
    TICK = 512 /* polls between two looks at the clock */
};

struct mpi {
    struct comm_wait wait;
    MPI_Comm all, letters; /* diagnosis has its own, so that it never meets data; a part has none */
    int rank, size, n_begun;
    unsigned char *piece; /* PIECE elements of up to 8 bytes */
    MPI_Comm sums;       /* of those that go on: MPI matches by order, and a rank may fail before */
    MPI_Request *begun;  /* (n_begun) sums that go on */
    MPI_Win counter;     /* one number, in rank 0's memory; MPI_WIN_NULL: not asked for yet */
    uint64_t one, taken; /* of a take that goes on */
};

/* ---- waiting ------------------------------------------------------------- */

static enum cn_status check(int code, const char *call)
{
    char text[MPI_MAX_ERROR_STRING] = "";
    int length = 0;
    if (code == MPI_SUCCESS) return CN_OK;
    MPI_Error_string(code, text, &length);
    return cn_fail(CN_ERR_COMM, "%s: %s", call, text);
}

static void rest(long polls, bool patient)
{
    const struct timespec pause = {0, SLEEP_NS};
    if (polls > SLEEPS && patient)
        nanosleep(&pause, NULL);
    else if (polls > SPINS)
        sched_yield();
}

/* Polls until `n` (1 or 2) requests are done.  A wait that is given up leaves them open: the run
 * ends. */
static enum cn_status finish(struct mpi *m, MPI_Request *requests, int n, bool patient)
{
    MPI_Status statuses[2]; /* of no use; gcc takes MPICH's MPI_STATUSES_IGNORE for an overflow */
    for (long polls = 1;; polls++) {
        int done = 0;
        CN_TRY(check(MPI_Testall(n, requests, &done, statuses), "MPI_Testall"));
        if (done) return CN_OK;
        if (polls % TICK == 0 || polls > SLEEPS) CN_TRY(m->wait.tick(m->wait.self));
        rest(polls, patient);
    }
}

/* ---- types --------------------------------------------------------------- */

/* Type and number of elements as MPI counts them; types without a sum travel as bytes. */
struct typed {
    MPI_Datatype type;
    size_t size, factor; /* bytes of an MPI element; MPI elements per element */
};

static struct typed typed_of(enum cn_dtype dtype)
{
    switch (dtype) {
    case CN_DTYPE_F32:
        return (struct typed){MPI_FLOAT, 4, 1};
    case CN_DTYPE_F64:
        return (struct typed){MPI_DOUBLE, 8, 1};
    case CN_DTYPE_I64:
        return (struct typed){MPI_INT64_T, 8, 1};
    case CN_DTYPE_U64:
        return (struct typed){MPI_UINT64_T, 8, 1};
    default:
        return (struct typed){MPI_BYTE, 1, cn_dtype_size(dtype)};
    }
}

static void add(enum cn_dtype dtype, void *into, const void *from, size_t n)
{
    switch (dtype) {
    case CN_DTYPE_F32:
        for (size_t i = 0; i < n; i++)
            ((float *)into)[i] += ((const float *)from)[i];
        break;
    case CN_DTYPE_F64:
        for (size_t i = 0; i < n; i++)
            ((double *)into)[i] += ((const double *)from)[i];
        break;
    default: /* two's complement: signed sums are unsigned sums */
        for (size_t i = 0; i < n; i++)
            ((uint64_t *)into)[i] += ((const uint64_t *)from)[i];
    }
}

/* ---- collectives --------------------------------------------------------- */

static enum cn_status mpi_maximum(void *self, const struct cn_comm_data *data, bool patient)
{
    struct mpi *m = self;
    MPI_Request request;
    CN_BUG_IF(data->count > SMALL);
    CN_TRY(check(MPI_Iallreduce(MPI_IN_PLACE, data->data, (int)data->count,
                                typed_of(data->dtype).type, MPI_MAX, m->all, &request),
                 "MPI_Iallreduce"));
    return finish(m, &request, 1, patient);
}

static enum cn_status mpi_broadcast(void *self, const struct cn_comm_data *data, int root)
{
    struct mpi *m = self;
    const struct typed t = typed_of(data->dtype);
    const size_t n = data->count * t.factor;
    for (size_t at = 0, some; at < n; at += some) {
        some = n - at < COPY_PIECE ? n - at : COPY_PIECE;
        MPI_Request request;
        CN_TRY(check(
            MPI_Ibcast((char *)data->data + at * t.size, (int)some, t.type, root, m->all, &request),
            "MPI_Ibcast"));
        CN_TRY(finish(m, &request, 1, false));
    }
    return CN_OK;
}

/* Elements [begin, end) that one rank sends and another receives; counted as MPI counts. */
struct part {
    size_t begin, end;
};

static struct part part_of(const size_t *start, int rank, size_t factor)
{
    return (struct part){start[rank] * factor, start[rank + 1] * factor};
}

/* One round of a gather: own elements to `to`, those of `from` come in. */
static enum cn_status copy_round(struct mpi *m, const struct cn_comm_data *data,
                                 const size_t *start, int round)
{
    const struct typed t = typed_of(data->dtype);
    const int to = (m->rank + round) % m->size, from = (m->rank - round + m->size) % m->size;
    struct part out = part_of(start, m->rank, t.factor), in = part_of(start, from, t.factor);
    char *bytes = data->data;
    while (out.begin < out.end || in.begin < in.end) {
        MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        size_t n_out = out.end - out.begin, n_in = in.end - in.begin;
        if (n_out > COPY_PIECE) n_out = COPY_PIECE;
        if (n_in > COPY_PIECE) n_in = COPY_PIECE;
        if (n_in)
            CN_TRY(check(MPI_Irecv(bytes + in.begin * t.size, (int)n_in, t.type, from, TAG_DATA,
                                   m->all, &requests[0]),
                         "MPI_Irecv"));
        if (n_out)
            CN_TRY(check(MPI_Isend(bytes + out.begin * t.size, (int)n_out, t.type, to, TAG_DATA,
                                   m->all, &requests[1]),
                         "MPI_Isend"));
        CN_TRY(finish(m, requests, 2, false));
        out.begin += n_out;
        in.begin += n_in;
    }
    return CN_OK;
}

static enum cn_status small_gather(struct mpi *m, const struct cn_comm_data *data,
                                   const size_t *start)
{
    const struct typed t = typed_of(data->dtype);
    int *counts = malloc(2 * (size_t)m->size * sizeof *counts), *places;
    MPI_Request request;
    if (!counts) return cn_fail(CN_ERR_MEMORY, "out of memory: a gather over %d ranks", m->size);
    places = counts + m->size;
    for (int r = 0; r < m->size; r++) {
        counts[r] = (int)((start[r + 1] - start[r]) * t.factor);
        places[r] = (int)(start[r] * t.factor);
    }
    enum cn_status status = check(MPI_Iallgatherv(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, data->data,
                                                  counts, places, t.type, m->all, &request),
                                  "MPI_Iallgatherv");
    if (status == CN_OK) status = finish(m, &request, 1, false);
    free(counts);
    return status;
}

static enum cn_status mpi_gather(void *self, const struct cn_comm_data *data, const size_t *start)
{
    struct mpi *m = self;
    if (data->count * cn_dtype_size(data->dtype) <= SMALL) return small_gather(m, data, start);
    for (int round = 1; round < m->size; round++)
        CN_TRY(copy_round(m, data, start, round));
    return CN_OK;
}

/* One round of a sum: what `to` owns goes out, what `from` has of our own is added. */
static enum cn_status add_round(struct mpi *m, const struct cn_comm_data *data, const size_t *start,
                                int round)
{
    const struct typed t = typed_of(data->dtype);
    const int to = (m->rank + round) % m->size, from = (m->rank - round + m->size) % m->size;
    struct part out = part_of(start, to, 1), own = part_of(start, m->rank, 1);
    char *bytes = data->data;
    while (out.begin < out.end || own.begin < own.end) {
        MPI_Request requests[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
        size_t n_out = out.end - out.begin, n_in = own.end - own.begin;
        if (n_out > PIECE) n_out = PIECE;
        if (n_in > PIECE) n_in = PIECE;
        if (n_in)
            CN_TRY(
                check(MPI_Irecv(m->piece, (int)n_in, t.type, from, TAG_DATA, m->all, &requests[0]),
                      "MPI_Irecv"));
        if (n_out)
            CN_TRY(check(MPI_Isend(bytes + out.begin * t.size, (int)n_out, t.type, to, TAG_DATA,
                                   m->all, &requests[1]),
                         "MPI_Isend"));
        CN_TRY(finish(m, requests, 2, false));
        add(data->dtype, bytes + own.begin * t.size, m->piece, n_in);
        out.begin += n_out;
        own.begin += n_in;
    }
    return CN_OK;
}

static enum cn_status mpi_scatter_sum(void *self, const struct cn_comm_data *data,
                                      const size_t *start)
{
    struct mpi *m = self;
    CN_BUG_IF(typed_of(data->dtype).type == MPI_BYTE);
    for (int round = 1; round < m->size; round++)
        CN_TRY(add_round(m, data, start, round));
    return CN_OK;
}

static enum cn_status mpi_sum(void *self, const struct cn_comm_data *data)
{
    struct mpi *m = self;
    const struct typed t = typed_of(data->dtype);
    CN_BUG_IF(t.type == MPI_BYTE);
    if (data->count * t.size <= SMALL) {
        MPI_Request request;
        CN_TRY(check(MPI_Iallreduce(MPI_IN_PLACE, data->data, (int)data->count, t.type, MPI_SUM,
                                    m->all, &request),
                     "MPI_Iallreduce"));
        return finish(m, &request, 1, false);
    }
    size_t *start = malloc(((size_t)m->size + 1) * sizeof *start);
    if (!start) return cn_fail(CN_ERR_MEMORY, "out of memory: a sum over %d ranks", m->size);
    for (int r = 0; r <= m->size; r++)
        start[r] = data->count * (size_t)r / (size_t)m->size;
    enum cn_status status = mpi_scatter_sum(m, data, start);
    if (status == CN_OK) status = mpi_gather(m, data, start);
    free(start);
    return status;
}

/* The library's own sum, since an exchange of pieces goes on only while somebody polls it. */
static enum cn_status mpi_sum_begin(void *self, const struct cn_comm_data *data)
{
    struct mpi *m = self;
    const struct typed t = typed_of(data->dtype);
    CN_BUG_IF(t.type == MPI_BYTE || data->count > INT_MAX);
    MPI_Request *grown = realloc(m->begun, (size_t)(m->n_begun + 1) * sizeof *grown);
    if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: a sum over %d ranks", m->size);
    m->begun = grown;
    CN_TRY(check(MPI_Iallreduce(MPI_IN_PLACE, data->data, (int)data->count, t.type, MPI_SUM,
                                m->sums, &m->begun[m->n_begun]),
                 "MPI_Iallreduce"));
    m->n_begun++;
    return CN_OK;
}

static void mpi_progress(void *self)
{
    struct mpi *m = self;
    MPI_Status status;
    int done; /* a failure is told again at the end */
    for (int i = 0; i < m->n_begun; i++)
        MPI_Test(&m->begun[i], &done, &status);
    MPI_Iprobe(MPI_ANY_SOURCE, TAG_LETTER, m->sums, &done, MPI_STATUS_IGNORE); /* serves takes */
}

static enum cn_status mpi_sum_finish(void *self)
{
    struct mpi *m = self;
    for (int i = 0; i < m->n_begun; i++)
        CN_TRY(finish(m, &m->begun[i], 1, false));
    m->n_begun = 0;
    return CN_OK;
}

/* The counter of the queues. */
static enum cn_status mpi_counter(void *self)
{
    struct mpi *m = self;
    uint64_t *number;
    const int code = MPI_Win_allocate(m->rank ? 0 : 8, sizeof *number, MPI_INFO_NULL, m->all,
                                      &number, &m->counter);
    if (code != MPI_SUCCESS) m->counter = MPI_WIN_NULL;
    CN_TRY(check(code, "MPI_Win_allocate"));
    MPI_Win_set_errhandler(m->counter, MPI_ERRORS_RETURN);
    CN_TRY(check(MPI_Win_lock_all(MPI_MODE_NOCHECK, m->counter), "MPI_Win_lock_all"));
    if (m->rank == 0) *number = 0;
    return check(MPI_Win_sync(m->counter), "MPI_Win_sync");
}

/* MPI_Fetch_and_op would need a flush, which no deadline can end. */
static enum cn_status mpi_take(void *self, uint64_t *number)
{
    struct mpi *m = self;
    MPI_Request request;
    m->one = 1;
    CN_TRY(check(MPI_Rget_accumulate(&m->one, 1, MPI_UINT64_T, &m->taken, 1, MPI_UINT64_T, 0, 0, 1,
                                     MPI_UINT64_T, MPI_SUM, m->counter, &request),
                 "MPI_Rget_accumulate"));
    CN_TRY(finish(m, &request, 1, false));
    *number = m->taken;
    return CN_OK;
}

/* ---- letters ------------------------------------------------------------- */

static void mpi_tell(void *self, const void *letter, size_t bytes)
{
    struct mpi *m = self;
    for (int r = 0; r < m->size; r++) {
        MPI_Request request;
        if (r != m->rank && MPI_Isend(letter, (int)bytes, MPI_BYTE, r, TAG_LETTER, m->letters,
                                      &request) == MPI_SUCCESS)
            MPI_Request_free(&request);
    }
}

static bool mpi_hear(void *self, void *letter, size_t bytes)
{
    struct mpi *m = self;
    int there = 0;
    MPI_Status from;
    if (MPI_Iprobe(MPI_ANY_SOURCE, TAG_LETTER, m->letters, &there, &from) != MPI_SUCCESS || !there)
        return false;
    return MPI_Recv(letter, (int)bytes, MPI_BYTE, from.MPI_SOURCE, TAG_LETTER, m->letters,
                    MPI_STATUS_IGNORE) == MPI_SUCCESS;
}

/* ---- open and close ------------------------------------------------------ */

/* "Open MPI v4.1.4" out of a longer text. */
static void library_name(char out[80])
{
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    int length = 0;
    MPI_Get_library_version(text, &length);
    snprintf(out, 80, "%.*s", (int)strcspn(text, ",\n"), text);
    for (char *c = out; *c; c++)
        if (*c == '\t') *c = ' ';
}

static enum cn_status join(struct mpi *m, struct comm_facts *facts)
{
    MPI_Comm host;
    CN_TRY(check(MPI_Comm_dup(MPI_COMM_WORLD, &m->all), "MPI_Comm_dup"));
    CN_TRY(check(MPI_Comm_dup(MPI_COMM_WORLD, &m->letters), "MPI_Comm_dup"));
    CN_TRY(check(MPI_Comm_dup(m->all, &m->sums), "MPI_Comm_dup"));
    MPI_Comm_set_errhandler(m->all, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(m->letters, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(m->sums, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->all, &m->rank);
    MPI_Comm_size(m->all, &m->size);
    CN_TRY(check(MPI_Comm_split_type(m->all, MPI_COMM_TYPE_SHARED, m->rank, MPI_INFO_NULL, &host),
                 "MPI_Comm_split_type"));
    MPI_Comm_rank(host, &facts->local_rank);
    MPI_Comm_size(host, &facts->local_size);
    MPI_Comm_free(&host);
    facts->rank = m->rank;
    facts->size = m->size;
    library_name(facts->name);
    return CN_OK;
}

static enum cn_status allocate(const struct comm_wait *wait, struct mpi **out)
{
    struct mpi *m = calloc(1, sizeof *m);
    if (m) m->piece = malloc((size_t)PIECE * 8);
    if (!m || !m->piece) {
        free(m);
        return cn_fail(CN_ERR_MEMORY, "out of memory: communication");
    }
    m->all = m->letters = m->sums = MPI_COMM_NULL;
    m->counter = MPI_WIN_NULL;
    m->wait = *wait;
    *out = m;
    return CN_OK;
}

static enum cn_status mpi_open(const struct comm_wait *wait, void **self, struct comm_facts *facts)
{
    int level = MPI_THREAD_SINGLE;
    struct mpi *m = NULL;
    enum cn_status status;
    CN_TRY(allocate(wait, &m));
    CN_TRY_GOTO(check(MPI_Init_thread(NULL, NULL, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread"),
                out);
    if (level < MPI_THREAD_FUNNELED)
        status = cn_fail(CN_ERR_COMM, "this MPI does not allow threads beside the one that calls "
                                      "it (MPI_THREAD_FUNNELED): use another build of it");
    if (status == CN_OK) status = join(m, facts);
    *self = m;
out:
    if (status != CN_OK) {
        free(m->piece);
        free(m);
    }
    return status;
}

static enum cn_status mpi_split(void *self, int color, const struct comm_wait *wait, void **part,
                                struct comm_facts *facts)
{
    const struct mpi *whole = self;
    struct mpi *m = NULL;
    CN_TRY(allocate(wait, &m));
    enum cn_status status =
        check(MPI_Comm_split(whole->all, color, whole->rank, &m->all), "MPI_Comm_split");
    if (status == CN_OK) status = check(MPI_Comm_dup(m->all, &m->sums), "MPI_Comm_dup");
    if (status != CN_OK) {
        free(m->piece);
        free(m);
        return status;
    }
    MPI_Comm_set_errhandler(m->all, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(m->sums, MPI_ERRORS_RETURN);
    MPI_Comm_rank(m->all, &m->rank);
    MPI_Comm_size(m->all, &m->size);
    facts->rank = m->rank;
    facts->size = m->size;
    *part = m;
    return CN_OK;
}

static void mpi_close(void *self)
{
    struct mpi *m = self;
    const bool whole = m->letters != MPI_COMM_NULL;
    if (m->counter != MPI_WIN_NULL) {
        MPI_Win_unlock_all(m->counter);
        MPI_Win_free(&m->counter);
    }
    MPI_Comm_free(&m->sums);
    MPI_Comm_free(&m->all);
    if (whole) MPI_Comm_free(&m->letters);
    if (whole) MPI_Finalize();
    free(m->begun);
    free(m->piece);
    free(m);
}

static void mpi_abort(void *self, int exit_code)
{
    const struct timespec pause = {0, 100000000};
    (void)self;
    nanosleep(&pause, NULL);              /* a launcher drops words that it has not read yet */
    MPI_Abort(MPI_COMM_WORLD, exit_code); /* of a copy, MPICH ends this rank alone */
}

const struct comm_backend comm_backend_mpi = {.name = "mpi",
                                              .open = mpi_open,
                                              .split = mpi_split,
                                              .close = mpi_close,
                                              .abort = mpi_abort,
                                              .maximum = mpi_maximum,
                                              .sum = mpi_sum,
                                              .sum_begin = mpi_sum_begin,
                                              .progress = mpi_progress,
                                              .sum_finish = mpi_sum_finish,
                                              .broadcast = mpi_broadcast,
                                              .gather = mpi_gather,
                                              .scatter_sum = mpi_scatter_sum,
                                              .counter = mpi_counter,
                                              .take = mpi_take,
                                              .tell = mpi_tell,
                                              .hear = mpi_hear};
