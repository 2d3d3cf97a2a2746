/* Ranks of a run: the same program, the same configuration, cores of their own. */
#include "ranks.h"

#include "../run/run.h"

#include "carnot/log.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

enum { PRINTED = 64 }; /* lines of the map */

/* What every rank tells about itself. */
struct rank_facts {
    uint64_t program, configuration; /* hashes */
    char host[64], cores[64];        /* cores: "0-3,8" */
    int32_t n_cores, online, node;
};

/* ---- this rank ----------------------------------------------------------- */

static uint64_t mix(uint64_t hash, const void *data, size_t n)
{
    const unsigned char *bytes = data; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        hash = (hash ^ bytes[i]) * 0x100000001b3u;
    return hash;
}

static uint64_t hash_of_program(void)
{
    static const uint64_t start = 0xcbf29ce484222325u;
    unsigned char block[1 << 16];
    uint64_t hash = start;
    FILE *file = fopen("/proc/self/exe", "rb");
    if (!file) return 0;
    for (size_t n; (n = fread(block, 1, sizeof block, file)) > 0;)
        hash = mix(hash, block, n);
    fclose(file);
    return hash;
}

/* "0-3,8" */
static void print_cores(const cpu_set_t *set, char *out, size_t size)
{
    size_t at = 0;
    out[0] = 0;
    for (size_t i = 0; i < CPU_SETSIZE && at + 24 < size; i++) {
        if (!CPU_ISSET(i, set)) continue;
        size_t last = i;
        while (last + 1 < CPU_SETSIZE && CPU_ISSET(last + 1, set))
            last++;
        at += (size_t)snprintf(out + at, size - at, last > i ? "%s%zu-%zu" : "%s%zu", at ? "," : "",
                               i, last);
        i = last;
    }
}

static void describe(const struct session *s, struct rank_facts *out)
{
    struct utsname host;
    cpu_set_t set;
    unsigned node = 0;
    const struct cn_text text = cn_str_text(&s->resolved);
    memset(out, 0, sizeof *out);
    uname(&host);
    snprintf(out->host, sizeof out->host, "%.63s", host.nodename);
    out->online = (int32_t)sysconf(_SC_NPROCESSORS_ONLN);
    out->n_cores = out->online;
    if (sched_getaffinity(0, sizeof set, &set) == 0) {
        out->n_cores = CPU_COUNT(&set);
        print_cores(&set, out->cores, sizeof out->cores);
    }
    getcpu(NULL, &node);
    out->node = (int32_t)node;
    out->configuration = mix(0xcbf29ce484222325u, text.data, text.length);
    if (cn_comm_size(s->comm) > 1) out->program = hash_of_program();
}

/* ---- all ranks ----------------------------------------------------------- */

static enum cn_status exchange(struct session *s, struct rank_facts *facts)
{
    const size_t n = (size_t)cn_comm_size(s->comm);
    size_t *start;
    CN_TRY(CN_NEW(&s->arena, n + 1, &start));
    for (size_t r = 0; r <= n; r++)
        start[r] = r * sizeof *facts;
    const struct cn_comm_data data = {"facts", CN_DTYPE_U8, facts, n * sizeof *facts};
    return cn_comm_gather(s->comm, &data, start);
}

static enum cn_status check_same(const struct session *s, const struct rank_facts *facts)
{
    for (int r = 1; r < cn_comm_size(s->comm); r++) {
        const bool program = facts[r].program != facts[0].program;
        if (!program && facts[r].configuration == facts[0].configuration) continue;
        return cn_fail(CN_ERR_CONFIG,
                       "rank %d (host %s) runs another %s than rank 0 (host %s): all ranks need "
                       "the same %s",
                       r, facts[r].host, program ? "program" : "configuration", facts[0].host,
                       program ? "build of carnot" : "files and overrides");
    }
    return CN_OK;
}

/* Ranks that compute on the same cores as rank r, r included. */
static int sharers(const struct rank_facts *facts, int size, int r)
{
    int n = 0;
    for (int k = 0; k < size; k++)
        n += strcmp(facts[k].host, facts[r].host) == 0 &&
             strcmp(facts[k].cores, facts[r].cores) == 0;
    return n;
}

static enum cn_status choose_threads(struct session *s, const struct rank_facts *facts)
{
    struct parallel_settings *parallel = &s->settings.parallel;
    const int size = cn_comm_size(s->comm), rank = cn_comm_rank(s->comm);
    const int n = sharers(facts, size, rank), cores = facts[rank].n_cores;
    if (parallel->threads == 0) {
        parallel->threads = cores / n > 1 ? cores / n : 1;
    } else if (parallel->threads * n > cores && parallel->threads > 1 && !parallel->oversubscribe) {
        return cn_fail(CN_ERR_CONFIG,
                       "%d rank%s on host %s x %lld threads (parallel.threads) share the %d core%s "
                       "%s: at most %d threads each, or parallel.oversubscribe=true",
                       n, n > 1 ? "s" : "", facts[rank].host, (long long)parallel->threads, cores,
                       cores > 1 ? "s" : "", facts[rank].cores, cores / n > 1 ? cores / n : 1);
    }
    return CN_OK;
}

/* One line per rank, by rank 0. */
static void print_map(const struct session *s, const struct rank_facts *facts)
{
    const int size = cn_comm_size(s->comm);
    if (size == 1) return;
    cn_log_info("%d ranks over %s", size, cn_comm_name(s->comm));
    for (int r = 0; r < size && r < PRINTED; r++)
        cn_log_info("  rank %d: host %s, cores %s, NUMA node %d, device %s", r, facts[r].host,
                    facts[r].cores, (int)facts[r].node, s->settings.run.device);
    if (size > PRINTED) cn_log_info("  ... and %d more", size - PRINTED);
    cn_log_info("  %lld threads each", (long long)s->settings.parallel.threads);
    for (int r = 0; r < size; r++) {
        if (facts[r].n_cores > 1 || facts[r].online <= size) continue;
        cn_log_warn("rank %d is bound to one of %d cores of %s and others idle: give mpirun "
                    "--bind-to none, or --map-by slot:PE=%d; launch/mpirun does",
                    r, (int)facts[r].online, facts[r].host, (int)facts[r].online / size);
        break;
    }
}

static enum cn_status meet(struct session *s)
{
    struct rank_facts *facts;
    CN_TRY(CN_NEW(&s->arena, (size_t)cn_comm_size(s->comm), &facts));
    describe(s, &facts[cn_comm_rank(s->comm)]);
    CN_TRY(exchange(s, facts));
    CN_TRY(check_same(s, facts));
    CN_TRY(cn_comm_agree(s->comm, "threads", choose_threads(s, facts)));
    print_map(s, facts);
    return CN_OK;
}

/* ---- start and end ------------------------------------------------------- */

enum cn_status ranks_configure(struct session *s, int argc, char **argv)
{
    const struct cn_comm_settings settings = {.timeout_s = 60, .leave = run_terminated};
    struct cn_comm *comm = NULL;
    memset(s, 0, sizeof *s);
    CN_TRY(cn_comm_open(&settings, &comm));
    enum cn_status status = session_configure(s, argc, argv);
    s->comm = comm;
    s->roles = roles_together(comm);
    CN_TRY(cn_comm_agree(comm, "configuration", status));
    cn_comm_timeout(comm, s->settings.parallel.timeout_s);
    return meet(s);
}

enum cn_status ranks_close(struct session *s, enum cn_status status)
{
    struct cn_comm *comm = s->comm;
    session_close(s);
    return cn_comm_close(comm, status);
}

enum cn_status ranks_outcome(const struct session *s, enum cn_status status)
{
    const bool asked = status == CN_STOPPED || status == CN_PRUNED;
    enum cn_status shared = cn_comm_agree(s->comm, "outcome", asked ? CN_OK : status);
    return shared == CN_OK ? status : shared;
}

enum cn_status ranks_signal(const struct session *s, int *signal)
{
    double caught = run_signal();
    const struct cn_comm_data data = {"signals", CN_DTYPE_F64, &caught, 1};
    CN_TRY(cn_comm_max(s->comm, &data));
    *signal = (int)caught;
    return CN_OK;
}

void ranks_fault(const struct session *s, uint64_t step)
{
    const int fault = s->settings.parallel.fault;
    if (step != 2 || cn_comm_rank(s->comm) != cn_comm_size(s->comm) - 1) return;
    if (fault == SETTINGS_FAULT_SKIP) cn_comm_skip_next(s->comm);
    while (fault == SETTINGS_FAULT_STALL)
        pause();
}
