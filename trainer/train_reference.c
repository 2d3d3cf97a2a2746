/* The frozen reference of a run. */
#include "train.h"

#include "carnot/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096 };

static bool needs_reference(const struct train *t)
{
    return t->session.recipe.needs & CN_NEEDS(logp_ref);
}

bool train_needs_start(const struct train *t)
{
    return needs_reference(t) && !t->frozen.reference;
}

static void name_of(char out[64], uint64_t step)
{
    snprintf(out, 64, step ? "reference_%06" PRIu64 : "start", step);
}

/* The newest step up to `step` at which a method made the policy the reference; 0: none. */
static uint64_t renewed_step(const struct train *t, uint64_t step)
{
    char name[64], path[PATH_SIZE];
    for (; step > 0; step--) {
        name_of(name, step);
        int n = snprintf(path, sizeof path, "%s/checkpoints/%s", run_path(t->run), name);
        if (n > 0 && n < PATH_SIZE && access(path, R_OK) == 0) break;
    }
    return step;
}

/* Step whose policy is the reference after `step`; 0: still the one of the start. */
static uint64_t reference_step(const struct train *t, uint64_t step)
{
    const uint64_t every = (uint64_t)t->frozen.replace_every;
    return every ? step / every * every : renewed_step(t, step);
}

/* The folder of the reference after `step`: in the run, or beside the checkpoint of another run
 * that this one goes on from. */
static enum cn_status find_folder(const struct train *t, uint64_t step, const char *resumed,
                                  char out[PATH_SIZE])
{
    char name[64], probe[PATH_SIZE + 16];
    const uint64_t of = reference_step(t, step);
    name_of(name, of);
    int n = of == 0 && t->frozen.reference
                ? snprintf(out, PATH_SIZE, "%s", t->frozen.reference)
                : snprintf(out, PATH_SIZE, "%s/checkpoints/%s", run_path(t->run), name);
    if (n < 0 || n >= PATH_SIZE) return cn_fail(CN_ERR_IO, "path too long: %s", name);
    snprintf(probe, sizeof probe, "%s/config.json", out);
    if (access(probe, R_OK) == 0 || !resumed) return CN_OK;
    n = snprintf(out, PATH_SIZE, "%s/../%s", resumed, name);
    return n < PATH_SIZE ? CN_OK : cn_fail(CN_ERR_IO, "path too long: %s", name);
}

enum cn_status train_open_reference(struct train *t, const char *resumed)
{
    char folder[PATH_SIZE];
    t->update.reference = -1;
    if (!needs_reference(t)) return CN_OK;
    CN_TRY(find_folder(t, t->state.step, resumed, folder));
    CN_TRY(session_check_vocabulary(&t->session, "model.frozen.reference", folder));
    enum cn_status status = cn_model_freeze(t->session.model, folder, &t->update.reference);
    return status == CN_OK ? CN_OK : cn_fail_context(status, "the reference %s", folder);
}

enum cn_status train_replace_reference(struct train *t)
{
    const uint64_t step = t->state.step;
    struct checkpoint exact = t->checkpoint;
    char name[64];
    const uint64_t every = (uint64_t)t->frozen.replace_every;
    const bool due = t->update.renewed || (every && step % every == 0);
    if (!needs_reference(t) || !step || !due) return CN_OK;
    exact.dtype = CN_DTYPE_F32;
    name_of(name, step);
    CN_TRY(checkpoint_export(&exact, name));
    if (every && cn_comm_rank(t->session.comm) == 0) /* which owns the folder */
        CN_TRY(checkpoint_drop_references(run_path(t->run), every));
    cn_log_info("step %" PRIu64 ": the policy is the reference from now on", step);
    return cn_model_freeze(t->session.model, NULL, &t->update.reference);
}
