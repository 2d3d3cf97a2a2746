/* The comm seam: the same checks for every back end and any number of ranks.  Alone it is one rank;
 * check_comm.sh starts it under mpirun.
 *
 *   test_comm             the conformance checks
 *   test_comm act SCENE   one of the faults below; ends with the exit code that a command would */
#include "check.h"
#include "fake_gpus.h"

#include "carnot/comm.h"
#include "carnot/log.h"
#include "trainer/comm/backend.h"

#include <stdlib.h>
#include <unistd.h>

/* An MPI keeps some of its own memory to the end, much of it of plug-ins that are unloaded by then:
 * only a whole stack shows that the library asked for it. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "fast_unwind_on_malloc=0";
}
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libmpi\nleak:libopen-\nleak:libpmix\nleak:libhwloc\nleak:libevent";
}

static struct cn_comm *comm;
static int rank, size;

static struct cn_comm_data data_of(enum cn_dtype dtype, void *data, size_t count)
{
    return (struct cn_comm_data){"numbers", dtype, data, count};
}

/* Any number, different per rank and place. */
static int64_t number(int r, size_t i)
{
    return (int64_t)((uint64_t)(r + 1) * 0x9E3779B97F4A7C15u ^ i * 0xBF58476D1CE4E5B9u) >> 8;
}

/* Lengths around the sizes at which an implementation may change its way. */
static const size_t lengths[] = {0, 1, 2, 7, 1000, 16384, 16385, 65536, 300001, 5000011};
enum { LENGTHS = sizeof lengths / sizeof *lengths };

TEST(sums_of_integers_are_exact_at_every_length)
{
    for (size_t k = 0; k < LENGTHS; k++) {
        const size_t n = lengths[k];
        int64_t *x = malloc((n + 1) * sizeof *x);
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            x[i] = number(rank, i);
        x[n] = 77;
        const struct cn_comm_data data = data_of(CN_DTYPE_I64, x, n);
        CHECK_OK(cn_comm_sum(comm, &data));
        for (size_t i = 0; i < n; i++) {
            int64_t expected = 0;
            for (int r = 0; r < size; r++)
                expected += number(r, i);
            wrong += x[i] != expected;
        }
        CHECK_INT(wrong, 0);
        CHECK_INT(x[n], 77);
        free(x);
    }
}

TEST(sums_of_reals_are_the_same_on_every_rank)
{
    for (size_t k = 0; k < LENGTHS; k++) {
        const size_t n = lengths[k];
        float *x = malloc((n + 1) * sizeof *x);
        double checksum[2] = {0, 0};
        for (size_t i = 0; i < n; i++)
            x[i] = (float)number(rank, i) * 1e-12f;
        const struct cn_comm_data data = data_of(CN_DTYPE_F32, x, n);
        CHECK_OK(cn_comm_sum(comm, &data));
        for (size_t i = 0; i < n; i++) {
            double expected = 0;
            for (int r = 0; r < size; r++)
                expected += (double)((float)number(r, i) * 1e-12f);
            if (fabs((double)x[i] - expected) >
                1e-6 * size * fabs((double)number(0, i) * 1e-12) + 3e3)
                CHECK_NEAR((double)x[i], expected, 3e3);
            checksum[0] += (double)x[i] * (double)(i % 31);
        }
        checksum[1] = -checksum[0];
        const struct cn_comm_data both = data_of(CN_DTYPE_F64, checksum, 2);
        CHECK_OK(cn_comm_max(comm, &both));
        CHECK(checksum[0] == -checksum[1]);
        free(x);
    }
}

/* Other collectives may come between begin and finish, and finish without begin is allowed. */
TEST(sums_that_go_on_are_there_at_the_finish)
{
    enum { SUMS = 24, N = 40001 };
    int64_t *x[SUMS], largest = rank;
    size_t wrong = 0;
    for (int k = 0; k < SUMS; k++) {
        x[k] = malloc(N * sizeof **x);
        for (size_t i = 0; i < N; i++)
            x[k][i] = number(rank, i + (size_t)k);
        const struct cn_comm_data data = data_of(CN_DTYPE_I64, x[k], N);
        CHECK_OK(cn_comm_sum_begin(comm, &data));
        cn_comm_progress(comm);
    }
    const struct cn_comm_data between = data_of(CN_DTYPE_I64, &largest, 1);
    CHECK_OK(cn_comm_max(comm, &between));
    CHECK_INT(largest, size - 1);
    CHECK_OK(cn_comm_sum_finish(comm, "numbers"));
    CHECK_OK(cn_comm_sum_finish(comm, "nothing"));
    for (int k = 0; k < SUMS; k++) {
        for (size_t i = 0; i < N; i++) {
            int64_t expected = 0;
            for (int r = 0; r < size; r++)
                expected += number(r, i + (size_t)k);
            wrong += x[k][i] != expected;
        }
        free(x[k]);
    }
    CHECK_INT(wrong, 0);
}

TEST(a_maximum_is_the_largest_of_all_ranks)
{
    double x[3] = {rank, -rank, 5};
    const struct cn_comm_data data = data_of(CN_DTYPE_F64, x, 3);
    CHECK_OK(cn_comm_max(comm, &data));
    CHECK_NEAR(x[0], size - 1, 0);
    CHECK_NEAR(x[1], 0, 0);
    CHECK_NEAR(x[2], 5, 0);
}

/* Cuts of n elements: even, all with the last rank, growing. */
static void cut(size_t n, int form, size_t *start)
{
    for (int r = 0; r <= size; r++)
        start[r] = form == 0   ? n * (size_t)r / (size_t)size
                   : form == 1 ? (r == size ? n : 0)
                               : n * (size_t)(r * r) / (size_t)(size * size);
}

TEST(a_gather_brings_every_part_to_every_rank)
{
    size_t start[65];
    for (size_t k = 0; k < LENGTHS; k++)
        for (int form = 0; form < 3; form++) {
            const size_t n = lengths[k];
            uint16_t *x = calloc(n + 1, sizeof *x);
            size_t wrong = 0;
            cut(n, form, start);
            for (size_t i = start[rank]; i < start[rank + 1]; i++)
                x[i] = (uint16_t)number(rank, i);
            const struct cn_comm_data data = data_of(CN_DTYPE_U16, x, n);
            CHECK_OK(cn_comm_gather(comm, &data, start));
            for (int r = 0; r < size; r++)
                for (size_t i = start[r]; i < start[r + 1]; i++)
                    wrong += x[i] != (uint16_t)number(r, i);
            CHECK_INT(wrong, 0);
            CHECK_INT(x[n], 0);
            free(x);
        }
}

TEST(a_scattered_sum_leaves_each_rank_the_sum_of_its_part)
{
    size_t start[65];
    for (size_t k = 0; k < LENGTHS; k++)
        for (int form = 0; form < 3; form++) {
            const size_t n = lengths[k];
            int64_t *x = malloc((n + 1) * sizeof *x);
            size_t wrong = 0;
            cut(n, form, start);
            for (size_t i = 0; i < n; i++)
                x[i] = number(rank, i);
            const struct cn_comm_data data = data_of(CN_DTYPE_I64, x, n);
            CHECK_OK(cn_comm_scatter_sum(comm, &data, start));
            for (size_t i = start[rank]; i < start[rank + 1]; i++) {
                int64_t expected = 0;
                for (int r = 0; r < size; r++)
                    expected += number(r, i);
                wrong += x[i] != expected;
            }
            CHECK_INT(wrong, 0);
            free(x);
        }
}

TEST(a_broadcast_brings_the_roots_bytes)
{
    static unsigned char x[5000001];
    for (int root = 0; root<size; root += size> 1 ? size - 1 : 1) {
        memset(x, rank == root ? 7 + root : 0, sizeof x);
        const struct cn_comm_data data = data_of(CN_DTYPE_U8, x, sizeof x);
        CHECK_OK(cn_comm_broadcast(comm, &data, root));
        size_t wrong = 0;
        for (size_t i = 0; i < sizeof x; i++)
            wrong += x[i] != 7 + root;
        CHECK_INT(wrong, 0);
    }
}

TEST(agreement_on_success_is_silent)
{
    CHECK_OK(cn_comm_agree(comm, "nothing", CN_OK));
}

/* The even and the odd ranks; a part of one where there are no more. */
static struct cn_comm *half;

TEST(parts_hold_the_ranks_of_their_color_in_order)
{
    CHECK_INT(cn_comm_size(half), (size + 1 - rank % 2) / 2);
    CHECK_INT(cn_comm_rank(half), rank / 2);
}

TEST(parts_work_at_the_same_time_on_their_own_numbers)
{
    const int n = cn_comm_size(half);
    for (int round = 0; round < 3 + 5 * (rank % 2);
         round++) { /* one part does more than the other */
        int64_t x[2] = {rank, 1};
        const struct cn_comm_data data = data_of(CN_DTYPE_I64, x, 2);
        CHECK_OK(cn_comm_sum(half, &data));
        CHECK_INT(x[0], n * (n - 1) + n * (rank % 2));
        CHECK_INT(x[1], n);
    }
    double root = rank;
    const struct cn_comm_data data = data_of(CN_DTYPE_F64, &root, 1);
    CHECK_OK(cn_comm_broadcast(half, &data, n - 1));
    CHECK_NEAR(root, 2 * (n - 1) + rank % 2, 0);
    int64_t all = 1;
    const struct cn_comm_data together = data_of(CN_DTYPE_I64, &all, 1);
    CHECK_OK(cn_comm_sum(comm, &together));
    CHECK_INT(all, size);
}

TEST(a_part_gathers_what_its_ranks_have)
{
    const size_t n = (size_t)cn_comm_size(half);
    size_t start[65];
    int64_t *x = calloc(50000 * n, sizeof *x);
    size_t wrong = 0;
    for (size_t r = 0; r <= n; r++)
        start[r] = 50000 * r;
    for (size_t i = start[rank / 2]; i < start[rank / 2 + 1]; i++)
        x[i] = number(rank, i);
    const struct cn_comm_data data = data_of(CN_DTYPE_I64, x, 50000 * n);
    CHECK_OK(cn_comm_gather(half, &data, start));
    for (size_t r = 0; r < n; r++)
        for (size_t i = start[r]; i < start[r + 1]; i++)
            wrong += x[i] != number(2 * (int)r + rank % 2, i);
    CHECK_INT(wrong, 0);
    free(x);
}

/* Twice over `c`, whose rank `self` of `n` this is: each item goes to exactly one rank. */
static void empty_a_queue(struct cn_comm *c, int self, int n)
{
    enum { ITEMS = 57 };
    for (int round = 0; round < 2; round++) {
        struct cn_comm_queue queue;
        int64_t takers[ITEMS] = {0}, owner[ITEMS] = {0};
        uint64_t item = 0;
        CHECK_OK(cn_comm_queue(c, &queue));
        for (;;) {
            CHECK_OK(cn_comm_take(c, &queue, &item));
            if (item >= ITEMS) break;
            takers[item]++;
            owner[item] = self;
            cn_comm_progress(c);
        }
        const struct cn_comm_data all = data_of(CN_DTYPE_I64, takers, ITEMS);
        const struct cn_comm_data who = data_of(CN_DTYPE_I64, owner, ITEMS);
        CHECK_OK(cn_comm_sum(c, &all));
        CHECK_OK(cn_comm_sum(c, &who));
        for (int i = 0; i < ITEMS; i++) {
            CHECK_INT(takers[i], 1);
            CHECK(owner[i] >= 0 && owner[i] < n);
        }
    }
}

TEST(each_item_of_a_queue_goes_to_one_rank)
{
    empty_a_queue(comm, rank, size);
    if (rank % 2 == 0) empty_a_queue(half, cn_comm_rank(half), cn_comm_size(half));
    empty_a_queue(NULL, 0, 1);
}

TEST(costs_are_counted_and_begin_anew)
{
    double x[4] = {1, 2, 3, 4};
    const struct cn_comm_data data = data_of(CN_DTYPE_F64, x, 4);
    cn_comm_cost(comm);
    CHECK_OK(cn_comm_sum(comm, &data));
    struct cn_comm_cost cost = cn_comm_cost(comm);
    CHECK_INT(cost.calls, size > 1);
    CHECK_NEAR(cost.bytes, size > 1 ? 32 : 0, 0);
    CHECK_INT(cn_comm_cost(comm).calls, 0);
}

/* ---- memory of GPUs: tests/fake_gpus.c stands in for NCCL ---------------- */

static struct comm_gpu gpu_of(const char *host, const char *bus)
{
    struct comm_gpu gpu = {.name = "some GPU"};
    snprintf(gpu.host, sizeof gpu.host, "%s", host);
    snprintf(gpu.bus, sizeof gpu.bus, "%s", bus);
    return gpu;
}

TEST(ranks_with_a_gpu_each_may_sum_there)
{
    const struct comm_gpu gpus[] = {gpu_of("a", "0000:1B:00.0"), gpu_of("a", "0000:1C:00.0"),
                                    gpu_of("b", "0000:1B:00.0"), gpu_of("b", "0001:1B:00.0")};
    const int member[] = {0, 1, 2, 3};
    CHECK_OK(comm_check_gpus(gpus, member, 4));
    CHECK_OK(comm_check_gpus(gpus, member, 1));
}

TEST(two_ranks_with_one_gpu_are_named_by_their_numbers_in_the_whole)
{
    const struct comm_gpu gpus[] = {gpu_of("a", "0000:1B:00.0"), gpu_of("b", "0000:1B:00.0"),
                                    gpu_of("b", "0000:1C:00.0"), gpu_of("b", "0000:1B:00.0")};
    const int member[] = {1, 3, 5, 7};
    CHECK_OK(comm_check_gpus(gpus, member, 3));
    CHECK_FAILS(comm_check_gpus(gpus, member, 4), CN_ERR_CONFIG,
                "ranks 3 and 7 have the same GPU, 0000:1B:00.0 (some GPU) of host b");
    cn_fail_clear();
}

static void check_device_sums(struct cn_comm *c, int first, int stride)
{
    for (size_t k = 0; k < LENGTHS - 1; k++) {
        const size_t n = lengths[k];
        int64_t *x = malloc((n + 1) * sizeof *x);
        float one[2] = {0.5f, (float)cn_comm_rank(c)};
        size_t wrong = 0;
        for (size_t i = 0; i < n; i++)
            x[i] = number(rank, i);
        const struct cn_comm_data data = data_of(CN_DTYPE_I64, x, n),
                                  reals = data_of(CN_DTYPE_F32, one, 2);
        CHECK_OK(cn_comm_device_sum(c, &data));
        CHECK_OK(cn_comm_device_sum(c, &reals));
        for (size_t i = 0; i < n; i++) {
            int64_t expected = 0;
            for (int r = first; r < size; r += stride)
                expected += number(r, i);
            wrong += x[i] != expected;
        }
        CHECK_INT(wrong, 0);
        CHECK_NEAR(one[0], 0.5 * cn_comm_size(c), 0);
        CHECK_NEAR(one[1], 0.5 * cn_comm_size(c) * (cn_comm_size(c) - 1), 0);
        free(x);
    }
}

TEST(sums_on_gpus_are_sums)
{
    CHECK_OK(cn_comm_device_open(comm, rank));
    CHECK_OK(cn_comm_device_open(comm, rank));
    check_device_sums(comm, 0, 1);
}

TEST(parts_sum_on_gpus_of_their_own)
{
    CHECK_OK(cn_comm_device_open(half, rank));
    check_device_sums(half, rank % 2, 2);
}

/* ---- faults -------------------------------------------------------------- */

static enum cn_status sum_of(const char *what, size_t n)
{
    static double x[64];
    const struct cn_comm_data data = {what, CN_DTYPE_F64, x, n};
    return cn_comm_sum(comm, &data);
}

/* The middle rank fails between two sums; the others learn of it in the next. */
static enum cn_status act_fail(void)
{
    CN_TRY(sum_of("first", 1));
    if (rank == size / 2) return cn_fail(CN_ERR_MEMORY, "no memory for 17 bytes");
    CN_TRY(sum_of("second", 1));
    return sum_of("third", 1);
}

static enum cn_status act_differ(void)
{
    CN_TRY(sum_of("first", 1));
    CN_TRY(sum_of("second", rank == size / 2 ? 2 : 3));
    return CN_OK;
}

static enum cn_status act_skip(void)
{
    CN_TRY(sum_of("first", 1));
    if (rank == size - 1) cn_comm_skip_next(comm);
    CN_TRY(sum_of("second", 1));
    return sum_of("third", 1);
}

/* The last rank does not come: it sleeps for longer than anybody waits. */
static enum cn_status act_sleep(void)
{
    cn_comm_place(comm, 12, "dreaming");
    CN_TRY(sum_of("first", 1));
    if (rank == size - 1) sleep(60);
    return sum_of("second", 1);
}

/* Rank 0, which keeps the counter of queues, sleeps: the others empty the queue without it. */
static enum cn_status act_queue_sleep(void)
{
    struct cn_comm_queue queue;
    uint64_t item = 0, most = 0;
    cn_comm_place(comm, 12, "dreaming");
    CN_TRY(cn_comm_queue(comm, &queue));
    if (rank == 0) sleep(60);
    for (; !queue.absent && item < 1000; most += item < 1000)
        CN_TRY(cn_comm_take(comm, &queue, &item));
    const struct cn_comm_data data = {"items taken", CN_DTYPE_U64, &most, 1};
    return cn_comm_sum(comm, &data);
}

static enum cn_status act_die(void)
{
    CN_TRY(sum_of("first", 1));
    if (rank == size - 1) _exit(9);
    return sum_of("second", 1);
}

static enum cn_status sum_in(struct cn_comm *part, const char *what)
{
    double x = 1;
    const struct cn_comm_data data = {what, CN_DTYPE_F64, &x, 1};
    return cn_comm_sum(part, &data);
}

/* The last rank fails in its part: the part learns of it there, the others where all meet. */
static enum cn_status act_part_fail(void)
{
    enum cn_status status = sum_in(half, "first");
    if (rank == size - 1) status = cn_fail(CN_ERR_MEMORY, "no memory for 17 bytes");
    if (status == CN_OK) status = sum_in(half, "second");
    status = cn_comm_agree(half, "half", status);
    return cn_comm_agree(comm, "whole", status);
}

/* The last rank does not come in its part; the others wait in theirs or for all. */
static enum cn_status act_part_sleep(void)
{
    cn_comm_place(comm, 12, "dreaming");
    CN_TRY(sum_in(half, "first"));
    if (rank == size - 1) sleep(60);
    CN_TRY(sum_in(half, "second"));
    return cn_comm_agree(comm, "whole", CN_OK);
}

/* One half does not know of a sum that the other waits for. */
static enum cn_status act_part_apart(void)
{
    if (rank % 2) CN_TRY(sum_in(comm, "everything"));
    CN_TRY(sum_in(half, "first"));
    if (rank % 2 == 0) CN_TRY(sum_in(half, "second"));
    return cn_comm_agree(comm, "whole", CN_OK);
}

static enum cn_status act_stop(void)
{
    CN_TRY(sum_of("first", 1));
    return cn_fail(CN_STOPPED, "stopped together");
}

/* The last rank says `device` of its GPU; then everybody sums. */
static enum cn_status sum_on_gpus(int device)
{
    int64_t x = 1;
    const struct cn_comm_data data = data_of(CN_DTYPE_I64, &x, 1);
    CN_TRY(cn_comm_device_open(comm, rank == size - 1 ? device : rank));
    return cn_comm_device_sum(comm, &data);
}

static enum cn_status act_gpu_shared(void)
{
    return sum_on_gpus(1);
}

static enum cn_status act_gpu_absent(void)
{
    return sum_on_gpus(FAKE_ABSENT);
}

static enum cn_status act_gpu_refuses(void)
{
    return sum_on_gpus(FAKE_REFUSES);
}

static enum cn_status act_gpu_stalls(void)
{
    return sum_on_gpus(FAKE_STALLS);
}

static enum cn_status act_gpu_no_nccl(void)
{
    unsetenv("CN_NCCL_SO");
    return sum_on_gpus(size - 1);
}

static int act(const char *name)
{
    static const struct {
        const char *name;
        enum cn_status (*run)(void);
    } scenes[] = {{"fail", act_fail},
                  {"differ", act_differ},
                  {"skip", act_skip},
                  {"sleep", act_sleep},
                  {"queue_sleep", act_queue_sleep},
                  {"die", act_die},
                  {"stop", act_stop},
                  {"part_fail", act_part_fail},
                  {"part_sleep", act_part_sleep},
                  {"part_apart", act_part_apart},
                  {"gpu_shared", act_gpu_shared},
                  {"gpu_absent", act_gpu_absent},
                  {"gpu_refuses", act_gpu_refuses},
                  {"gpu_stalls", act_gpu_stalls},
                  {"gpu_no_nccl", act_gpu_no_nccl}};
    for (size_t i = 0; i < sizeof scenes / sizeof *scenes; i++) {
        if (strcmp(name, scenes[i].name) != 0) continue;
        enum cn_status status = cn_comm_close(comm, scenes[i].run());
        if (status != CN_OK) cn_log_error("%s", cn_fail_message());
        fflush(NULL);
        _exit(cn_status_exit_code(status));
    }
    return 2;
}

int main(int argc, char **argv)
{
    const struct cn_comm_settings settings = {.timeout_s = 3};
    setenv("CN_NCCL_SO", CN_TEST_BIN "/libfake_gpus.so", 1);
    if (cn_comm_open(&settings, &comm) != CN_OK) {
        printf("FAILED %s\n", cn_fail_message());
        return cn_status_exit_code(CN_ERR_COMM);
    }
    rank = cn_comm_rank(comm);
    size = cn_comm_size(comm);
    if (cn_comm_split(comm, rank % 2, rank % 2 ? "the odd ranks" : "the even ranks", &half) !=
        CN_OK) {
        printf("FAILED %s\n", cn_fail_message());
        return cn_status_exit_code(CN_ERR_COMM);
    }
    if (argc > 2 && strcmp(argv[1], "act") == 0) return act(argv[2]);
    cn_comm_timeout(comm, 60);
    int code = check_main(argc, argv);
    cn_comm_close(comm, CN_OK);
    return code;
}
