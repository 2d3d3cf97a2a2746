/* Two sides of a run, and what goes from one to the other. */
#include "roles.h"

#include "../clock.h"

#include "carnot/log.h"
#include "carnot/str.h"

#include <stdio.h>

struct roles roles_together(struct cn_comm *comm)
{
    return (struct roles){.all = comm, .side = comm, .samples = true, .learns = true};
}

/* The line below the map of the ranks. */
static void tell(const struct roles *r, long long ahead)
{
    const int last = cn_comm_size(r->all) - 1;
    char learn[64] = "rank 0 learns", sample[64];
    if (r->first > 1) snprintf(learn, sizeof learn, "ranks 0 to %d learn", r->first - 1);
    if (r->first < last)
        snprintf(sample, sizeof sample, "ranks %d to %d sample", r->first, last);
    else
        snprintf(sample, sizeof sample, "rank %d samples", last);
    if (ahead)
        cn_log_info("  %s, %s, at most %lld step%s ahead", learn, sample, ahead,
                    ahead > 1 ? "s" : "");
    else
        cn_log_info("  %s, %s, in turns", learn, sample);
}

enum cn_status roles_divide(struct roles *r, const struct parallel_settings *parallel)
{
    const int rank = cn_comm_rank(r->all), size = cn_comm_size(r->all);
    const long long wanted = parallel->rollout_ranks;
    if (wanted == 0) return CN_OK;
    if (wanted >= size)
        return cn_fail(CN_ERR_CONFIG,
                       "parallel.rollout_ranks=%lld of %d rank%s leaves none to learn: start more "
                       "ranks (launch/mpirun -n %lld or more), or use 0 to let every rank do both",
                       wanted, size, size > 1 ? "s" : "", wanted + 1);
    r->divided = true;
    r->first = size - (int)wanted;
    r->samples = rank >= r->first;
    r->learns = !r->samples;
    CN_TRY(cn_comm_split(r->all, r->samples,
                         r->samples ? "the ranks that sample" : "the ranks that learn", &r->side));
    CN_TRY(cn_comm_split(r->all, rank > r->first, "the way of the batches", &r->batches));
    if (rank > r->first) r->batches = NULL;
    CN_TRY(cn_comm_split(r->all, r->learns && rank > 0, "the way of the weights", &r->weights));
    if (r->learns && rank > 0) r->weights = NULL;
    tell(r, (long long)parallel->max_staleness);
    return CN_OK;
}

void roles_keep(const struct parallel_settings *parallel)
{
    if (parallel->rollout_ranks > 0)
        cn_log_warn(
            "parallel.rollout_ranks=%lld divides the ranks of carnot train only: here every "
            "rank does the same",
            (long long)parallel->rollout_ranks);
}

enum cn_status roles_meet(struct roles *r, const char *what, enum cn_status status)
{
    if (!r->divided) return status;
    status = cn_comm_agree(r->side, what, status);
    const double start = clock_seconds();
    status = cn_comm_agree(r->all, what, status);
    r->waited += clock_seconds() - start;
    return status;
}

enum cn_status roles_send_batch(struct roles *r, struct cn_str *bytes)
{
    uint64_t length = bytes->length;
    const struct cn_comm_data size = {"a batch's size", CN_DTYPE_U64, &length, 1};
    CN_TRY(cn_comm_broadcast(r->all, &size, r->first));
    const bool receives = r->learns;
    enum cn_status status = receives ? cn_str_reserve(bytes, (size_t)length + 1) : CN_OK;
    CN_TRY(cn_comm_agree(r->all, "room for a batch", status));
    if (!r->batches) return CN_OK;
    const struct cn_comm_data data = {"a batch", CN_DTYPE_U8, bytes->data, (size_t)length};
    CN_TRY(cn_comm_broadcast(r->batches, &data, cn_comm_size(r->batches) - 1));
    if (receives) bytes->length = (size_t)length;
    return CN_OK;
}

enum cn_status roles_send_weights(struct roles *r, const struct roles_weights *w)
{
    const struct cn_buffer *buffers = NULL;
    size_t n = 0;
    if (!r->divided) return CN_OK;
    CN_TRY(cn_comm_agree(r->all, "weights", cn_model_compute_weights(w->model, &buffers, &n)));
    if (!r->weights) return CN_OK;
    for (size_t i = 0; i < n; i++) {
        const struct cn_comm_data data = {"weights", buffers[i].dtype, buffers[i].data,
                                          buffers[i].count};
        CN_TRY(cn_comm_broadcast(r->weights, &data, 0));
    }
    const struct cn_comm_data note = {"what goes with the weights", CN_DTYPE_U8, w->note,
                                      w->note_bytes};
    CN_TRY(cn_comm_broadcast(r->weights, &note, 0));
    if (!r->samples) return CN_OK;
    CN_TRY(cn_model_weights_changed(w->model));
    return cn_sampler_refresh(w->sampler);
}

enum cn_status roles_waits(struct roles *r, struct roles_waits *out)
{
    double waits[2] = {r->samples ? r->waited : 0, r->learns ? r->waited : 0};
    const struct cn_comm_data data = {"waits", CN_DTYPE_F64, waits, 2};
    r->waited = 0;
    CN_TRY(cn_comm_max(r->all, &data));
    *out = (struct roles_waits){.rollout = waits[0], .learner = waits[1]};
    return CN_OK;
}
