/* The front of the communication: every call, and who takes part. */
#include "front.h"

#include "carnot/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void say(char out[WORDS], const char *text)
{
    snprintf(out, WORDS, "%s", text);
}

/* Nothing begins after a failure, be it that of the whole. */
static enum cn_status check_failed(const struct cn_comm *c)
{
    if (c->failed != CN_OK) return comm_fail_again(c);
    return c->whole->failed == CN_OK ? CN_OK : comm_fail_again(c->whole);
}

/* The next collective is this. */
static void next_place(struct cn_comm *c, const char *kind, const char *what, uint64_t bytes)
{
    c->place.sequence++;
    c->place.bytes = bytes;
    c->place.step = c->whole->place.step;
    say(c->place.kind, kind);
    say(c->place.what, what);
    if (c->whole != c) say(c->place.phase, c->whole->place.phase);
}

enum cn_status comm_enter(struct cn_comm *c, const char *kind, const struct cn_comm_data *data,
                          bool *skip)
{
    *skip = !c || c->skip || c->facts.size == 1;
    if (!c) return CN_OK;
    c->skip = false;
    CN_TRY(check_failed(c));
    if (*skip) return CN_OK;
    next_place(c, kind, data->what, data->count * cn_dtype_size(data->dtype));
    c->cost.calls++;
    c->cost.bytes += (double)c->place.bytes;
    CN_TRY(comm_meet(c, CN_OK));
    c->began = comm_seconds();
    return CN_OK;
}

enum cn_status comm_leave(struct cn_comm *c, enum cn_status status)
{
    c->cost.move_s += comm_seconds() - c->began;
    if (status == CN_OK || c->failed != CN_OK) return status;
    return comm_give_up(c, status, cn_fail_message());
}

/* ---- the calls ----------------------------------------------------------- */

enum cn_status cn_comm_sum(struct cn_comm *c, const struct cn_comm_data *data)
{
    bool skip;
    CN_TRY(comm_enter(c, "sum", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->backend->sum(c->self, data));
}

enum cn_status cn_comm_sum_begin(struct cn_comm *c, const struct cn_comm_data *data)
{
    if (!c || c->facts.size == 1) return CN_OK;
    if (!c->backend->sum_begin) return cn_comm_sum(c, data);
    CN_TRY(check_failed(c));
    next_place(c, "sum", data->what, data->count * cn_dtype_size(data->dtype));
    c->cost.calls++;
    c->cost.bytes += (double)c->place.bytes;
    c->begun = true;
    c->began = comm_seconds();
    return comm_leave(c, c->backend->sum_begin(c->self, data));
}

void cn_comm_progress(struct cn_comm *c)
{
    if (!c || (!c->begun && !c->counter)) return;
    c->began = comm_seconds();
    c->backend->progress(c->self);
    c->cost.move_s += comm_seconds() - c->began;
}

enum cn_status cn_comm_sum_finish(struct cn_comm *c, const char *what)
{
    const struct cn_comm_data none = {what, CN_DTYPE_U8, NULL, 0};
    bool skip;
    CN_TRY(comm_enter(c, "end of sums", &none, &skip));
    if (skip) return CN_OK;
    enum cn_status status = c->begun ? c->backend->sum_finish(c->self) : CN_OK;
    c->begun = false;
    return comm_leave(c, status);
}

/* Asks the back end for its counter, once; without one on some rank there is none for anybody.  The
 * first take locks rank 0's memory, in Open MPI's pt2pt without an end if rank 0 does not answer: so
 * it is here, where all have come. */
static enum cn_status find_counter(struct cn_comm *c)
{
    uint64_t unused;
    if (c->counter || c->uncounted) return CN_OK;
    const enum cn_status status = c->backend->counter(c->self);
    double missing = status != CN_OK;
    const struct cn_comm_data data = {"ranks without a counter", CN_DTYPE_F64, &missing, 1};
    CN_TRY(c->backend->maximum(c->self, &data, false));
    c->uncounted = missing > 0;
    c->counter = !c->uncounted;
    if (c->uncounted) {
        cn_log_info("  this MPI has no one-sided communication between these hosts (%s): work is "
                    "divided beforehand, and nobody helps a slow rank (Open MPI 4: "
                    "OMPI_MCA_osc=pt2pt)",
                    status == CN_OK ? "another rank has none" : cn_fail_message());
        return CN_OK;
    }
    c->taken++;
    return c->backend->take(c->self, &unused);
}

/* The counter is never set back: a queue begins where all takes before it ended. */
enum cn_status cn_comm_queue(struct cn_comm *c, struct cn_comm_queue *out)
{
    uint64_t taken = 0;
    const struct cn_comm_data data = {"takes", CN_DTYPE_U64, &taken, 1};
    bool skip;
    *out = (struct cn_comm_queue){.shared = false};
    CN_TRY(comm_enter(c, "queue", &data, &skip));
    if (skip) return CN_OK;
    enum cn_status status = find_counter(c);
    taken = c->taken;
    if (status == CN_OK && c->counter) status = c->backend->sum(c->self, &data);
    out->absent = c->uncounted;
    out->shared = c->counter;
    out->begin = taken;
    return comm_leave(c, status);
}

enum cn_status cn_comm_take(struct cn_comm *c, struct cn_comm_queue *queue, uint64_t *item)
{
    uint64_t number = 0;
    *item = queue->own++;
    if (!queue->shared) return CN_OK;
    CN_TRY(check_failed(c));
    c->began = comm_seconds();
    CN_TRY(comm_leave(c, c->backend->take(c->self, &number)));
    c->taken++;
    *item = number - queue->begin;
    return CN_OK;
}

enum cn_status cn_comm_max(struct cn_comm *c, const struct cn_comm_data *data)
{
    bool skip;
    CN_TRY(comm_enter(c, "maximum", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->backend->maximum(c->self, data, false));
}

enum cn_status cn_comm_broadcast(struct cn_comm *c, const struct cn_comm_data *data, int root)
{
    bool skip;
    CN_TRY(comm_enter(c, "broadcast", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->backend->broadcast(c->self, data, root));
}

enum cn_status cn_comm_gather(struct cn_comm *c, const struct cn_comm_data *data,
                              const size_t *start)
{
    bool skip;
    CN_TRY(comm_enter(c, "gather", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->backend->gather(c->self, data, start));
}

enum cn_status cn_comm_scatter_sum(struct cn_comm *c, const struct cn_comm_data *data,
                                   const size_t *start)
{
    bool skip;
    CN_TRY(comm_enter(c, "scattered sum", data, &skip));
    return skip ? CN_OK : comm_leave(c, c->backend->scatter_sum(c->self, data, start));
}

enum cn_status cn_comm_agree(struct cn_comm *c, const char *what, enum cn_status status)
{
    if (!c) return status;
    CN_TRY(check_failed(c));
    if (c->facts.size == 1) return status;
    next_place(c, "agreement", what, 0);
    return comm_meet(c, status);
}

void cn_comm_skip_next(struct cn_comm *c)
{
    if (c) c->skip = true;
}

void cn_comm_place(struct cn_comm *c, uint64_t step, const char *phase)
{
    if (!c) return;
    c->place.step = step;
    say(c->place.phase, phase);
}

void cn_comm_timeout(struct cn_comm *c, double timeout_s)
{
    c->settings.timeout_s = timeout_s;
}

void cn_comm_logs(struct cn_comm *c, const char *folder)
{
    free(c->logs);
    c->logs = strdup(folder); /* without it, diagnoses have no lines of logs */
}

struct cn_comm_cost cn_comm_cost(struct cn_comm *c)
{
    struct cn_comm_cost cost = {0};
    if (!c) return cost;
    cost = c->cost;
    memset(&c->cost, 0, sizeof c->cost);
    return cost;
}

int cn_comm_rank(const struct cn_comm *c)
{
    return c ? c->facts.rank : 0;
}

int cn_comm_size(const struct cn_comm *c)
{
    return c ? c->facts.size : 1;
}

int cn_comm_local_rank(const struct cn_comm *c)
{
    return c ? c->facts.local_rank : 0;
}

int cn_comm_local_size(const struct cn_comm *c)
{
    return c ? c->facts.local_size : 1;
}

const char *cn_comm_name(const struct cn_comm *c)
{
    return c ? c->facts.name : "self";
}

/* ---- open and close ------------------------------------------------------ */

/* The back end for several ranks; NULL: none is built in. */
static const struct comm_backend *const many_ranks =
#ifdef CN_WITH_MPI
    &comm_backend_mpi;
#else
    NULL;
#endif

/* How many ranks the launcher started, by the variables that it sets in each: Open MPI's and
 * PRRTE's mpirun, Hydra's (MPICH, Intel), srun.  In a batch script, which is one process, Slurm
 * sets the number of tasks too; a step's number is set by srun alone. */
static int launched(void)
{
    static const struct {
        const char *size, *also;
    } names[] = {{"OMPI_COMM_WORLD_SIZE", NULL},
                 {"PMI_SIZE", NULL},
                 {"SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID"}};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const char *size = getenv(names[i].size);
        if (size && (!names[i].also || getenv(names[i].also))) return atoi(size);
    }
    return 1;
}

static enum cn_status check_size(const struct cn_comm *c, int expected)
{
    if (c->facts.size == expected) return CN_OK;
    return cn_fail(CN_ERR_COMM,
                   "the launcher started %d ranks, but %s sees %d: mpirun belongs to another MPI "
                   "than this program, or srun lacks --mpi=pmix",
                   expected, c->facts.name, c->facts.size);
}

/* Frees a whole or a part; `close`: its back end, too, which is collective. */
static void comm_free(struct cn_comm *c, bool close)
{
    if (c->device) c->device_backend->close(c->device, close && c->failed == CN_OK);
    if (close) c->backend->close(c->self);
    free(c->member);
    free(c->logs);
    free(c->known);
    free(c);
}

static enum cn_status open_whole(struct cn_comm *c, int ranks)
{
    c->known = calloc((size_t)c->facts.size, sizeof *c->known);
    c->member = calloc((size_t)c->facts.size, sizeof *c->member);
    if (!c->known || !c->member) return cn_fail(CN_ERR_MEMORY, "out of memory: communication");
    for (int r = 0; r < c->facts.size; r++)
        c->member[r] = r;
    c->place.rank = c->facts.rank;
    return check_size(c, ranks);
}

enum cn_status cn_comm_open(const struct cn_comm_settings *settings, struct cn_comm **out)
{
    const int ranks = launched();
    if (ranks > 1 && !many_ranks)
        return cn_fail(CN_ERR_CONFIG,
                       "the launcher started %d ranks, but this program was built without MPI: "
                       "build it with CN_WITH_MPI=ON (launch/setup), or start it alone",
                       ranks);
    struct cn_comm *c = calloc(1, sizeof *c);
    if (!c) return cn_fail(CN_ERR_MEMORY, "out of memory: communication");
    c->whole = c;
    c->settings = *settings;
    c->backend = ranks > 1 ? many_ranks : &comm_backend_self;
    say(c->place.phase, "start");
    const struct comm_wait wait = {comm_tick, c};
    enum cn_status status = c->backend->open(&wait, &c->self, &c->facts);
    const bool opened = status == CN_OK;
    if (opened) status = open_whole(c, ranks);
    if (status != CN_OK) {
        comm_free(c, opened);
        return status;
    }
    cn_log_rank_set(c->facts.rank);
    *out = c;
    return CN_OK;
}

/* ---- parts --------------------------------------------------------------- */

/* The ranks of the whole that gave this rank's color, in rising order. */
static enum cn_status find_members(struct cn_comm *whole, int color, struct cn_comm *part)
{
    const size_t n = (size_t)whole->facts.size;
    int64_t *colors = calloc(n, sizeof *colors);
    size_t *start = calloc(n + 1, sizeof *start);
    part->member = calloc(n, sizeof *part->member);
    enum cn_status status = CN_OK;
    if (!colors || !start || !part->member)
        CN_TRY_GOTO(cn_fail(CN_ERR_MEMORY, "out of memory: parts of the ranks"), out);
    for (size_t r = 0; r <= n; r++)
        start[r] = r;
    colors[whole->facts.rank] = color;
    const struct cn_comm_data data = {"colors", CN_DTYPE_I64, colors, n};
    CN_TRY_GOTO(cn_comm_gather(whole, &data, start), out);
    for (size_t r = 0, k = 0; r < n; r++)
        if (colors[r] == color) part->member[k++] = (int)r;
out:
    free(colors);
    free(start);
    return status;
}

enum cn_status cn_comm_split(struct cn_comm *c, int color, const char *name, struct cn_comm **out)
{
    *out = NULL;
    if (!c) return CN_OK;
    CN_BUG_IF(c->whole != c);
    if (!c->backend->split)
        return cn_fail(CN_ERR_CONFIG, "ranks over %s cannot be divided into parts", c->facts.name);
    struct cn_comm *part = calloc(1, sizeof *part);
    if (!part) return cn_fail(CN_ERR_MEMORY, "out of memory: parts of the ranks");
    const struct comm_wait wait = {comm_tick, part};
    part->whole = c;
    part->settings = c->settings;
    part->backend = c->backend;
    part->place.rank = c->facts.rank;
    say(part->place.part, name);
    enum cn_status status = find_members(c, color, part);
    if (status == CN_OK)
        status = c->backend->split(c->self, color, &wait, &part->self, &part->facts);
    if (status != CN_OK) {
        comm_free(part, false);
        return status;
    }
    part->facts.local_rank = c->facts.local_rank;
    part->facts.local_size = c->facts.local_size;
    memcpy(part->facts.name, c->facts.name, sizeof c->facts.name);
    part->next = c->next;
    c->next = part;
    *out = part;
    return CN_OK;
}

/* ---- the end ------------------------------------------------------------- */

/* The agreed end is said once, and before a process ends: launchers kill the others when one ends
 * with a failure. */
static void say_end(const struct cn_comm *c, enum cn_status status)
{
    if (status == CN_OK || c->facts.size == 1) return;
    if (status == CN_STOPPED || status == CN_PRUNED)
        cn_log_info("%s", cn_fail_message());
    else if (c->facts.rank == 0 || c->gone)
        cn_log_error("%s", cn_fail_message());
    cn_log_quiet();
}

/* Whether a sum of this communication, or of a part of it, goes on. */
static bool has_begun(const struct cn_comm *c)
{
    for (; c; c = c->next)
        if (c->begun) return true;
    return false;
}

enum cn_status cn_comm_close(struct cn_comm *c, enum cn_status status)
{
    if (!c) return status;
    status = cn_comm_agree(c, "end", status);
    say_end(c, status);
    if (has_begun(c)) { /* its sums will not end: nothing can be closed */
        if (c->facts.rank > 0) nanosleep(&(const struct timespec){2, 0}, NULL); /* rank 0 speaks */
        c->gone = true;
    }
    if (c->gone && status != CN_STOPPED) c->backend->abort(c->self, cn_status_exit_code(status));
    for (struct cn_comm *part = c->next, *next; part; part = next) {
        next = part->next;
        comm_free(part, !c->gone);
    }
    comm_free(c, !c->gone);
    return status;
}
