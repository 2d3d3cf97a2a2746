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

/* Begins a collective; *skip: this rank leaves it out. */
static enum cn_status enter(struct cn_comm *c, const char *kind, const struct cn_comm_data *data,
                            bool *skip)
{
    *skip = !c || c->skip || c->facts.size == 1;
    if (!c) return CN_OK;
    c->skip = false;
    if (c->failed != CN_OK) return comm_fail_again(c);
    if (*skip) return CN_OK;
    c->place.sequence++;
    c->place.bytes = data->count * cn_dtype_size(data->dtype);
    say(c->place.kind, kind);
    say(c->place.what, data->what);
    c->cost.calls++;
    c->cost.bytes += (double)c->place.bytes;
    CN_TRY(comm_meet(c, CN_OK));
    c->began = comm_seconds();
    return CN_OK;
}

/* Ends it: a failure inside the back end leaves the others waiting. */
static enum cn_status leave(struct cn_comm *c, enum cn_status status)
{
    c->cost.move_s += comm_seconds() - c->began;
    if (status == CN_OK || c->failed != CN_OK) return status;
    c->gone = true;
    return comm_remember(c, status, cn_fail_message());
}

/* ---- the calls --------------------------------------------------------------------------------
 */

enum cn_status cn_comm_sum(struct cn_comm *c, const struct cn_comm_data *data)
{
    bool skip;
    CN_TRY(enter(c, "sum", data, &skip));
    return skip ? CN_OK : leave(c, c->backend->sum(c->self, data));
}

enum cn_status cn_comm_max(struct cn_comm *c, const struct cn_comm_data *data)
{
    bool skip;
    CN_TRY(enter(c, "maximum", data, &skip));
    return skip ? CN_OK : leave(c, c->backend->maximum(c->self, data, false));
}

enum cn_status cn_comm_broadcast(struct cn_comm *c, const struct cn_comm_data *data, int root)
{
    bool skip;
    CN_TRY(enter(c, "broadcast", data, &skip));
    return skip ? CN_OK : leave(c, c->backend->broadcast(c->self, data, root));
}

enum cn_status cn_comm_gather(struct cn_comm *c, const struct cn_comm_data *data,
                              const size_t *start)
{
    bool skip;
    CN_TRY(enter(c, "gather", data, &skip));
    return skip ? CN_OK : leave(c, c->backend->gather(c->self, data, start));
}

enum cn_status cn_comm_scatter_sum(struct cn_comm *c, const struct cn_comm_data *data,
                                   const size_t *start)
{
    bool skip;
    CN_TRY(enter(c, "scattered sum", data, &skip));
    return skip ? CN_OK : leave(c, c->backend->scatter_sum(c->self, data, start));
}

enum cn_status cn_comm_agree(struct cn_comm *c, const char *what, enum cn_status status)
{
    if (!c) return status;
    if (c->failed != CN_OK) return comm_fail_again(c);
    if (c->facts.size == 1) return status;
    c->place.sequence++;
    c->place.bytes = 0;
    say(c->place.kind, "agreement");
    say(c->place.what, what);
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

/* ---- open and close ---------------------------------------------------------------------------
 */

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
    c->settings = *settings;
    c->backend = ranks > 1 ? many_ranks : &comm_backend_self;
    say(c->place.phase, "start");
    const struct comm_wait wait = {comm_tick, c};
    enum cn_status status = c->backend->open(&wait, &c->self, &c->facts);
    if (status != CN_OK) {
        free(c);
        return status;
    }
    c->place.rank = c->facts.rank;
    c->known = calloc((size_t)c->facts.size, sizeof *c->known);
    if (!c->known) status = cn_fail(CN_ERR_MEMORY, "out of memory: communication");
    if (status == CN_OK) status = check_size(c, ranks);
    if (status == CN_OK) {
        cn_log_rank_set(c->facts.rank);
        *out = c;
        return CN_OK;
    }
    c->backend->close(c->self);
    free(c->known);
    free(c);
    return status;
}

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

enum cn_status cn_comm_close(struct cn_comm *c, enum cn_status status)
{
    if (!c) return status;
    status = cn_comm_agree(c, "end", status);
    say_end(c, status);
    if (c->gone && status != CN_STOPPED) c->backend->abort(c->self, cn_status_exit_code(status));
    if (!c->gone) c->backend->close(c->self);
    free(c->logs);
    free(c->known);
    free(c);
    return status;
}
