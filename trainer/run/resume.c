/* Where a run goes on. */
#include "resume.h"

#include "history.h"
#include "record.h"

#include "carnot/log.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A checkpoint goes on only under the configuration that made it, but for what is safe to change.
 */
static enum cn_status check_configuration(const struct session *s, const struct run_folder *run,
                                          const char *folder)
{
    struct cn_json *before;
    CN_TRY(history_file(folder, "config.resolved.json", &before));
    if (!before)
        return cn_fail(CN_ERR_DATA,
                       "%s/config.resolved.json is missing or damaged: the configuration cannot be "
                       "compared; run.resume=%s goes on without that",
                       folder, folder);
    enum cn_status status =
        config_check_resume(s->config, before, run_path(run), s->settings.run.force);
    cn_json_close(before);
    return status;
}

/* Whether the run was last started with the same run.resume. */
static enum cn_status started_from(const struct run_folder *run, const char *choice, bool *same)
{
    struct cn_json *before;
    CN_TRY(history_file(run_path(run), "config.resolved.json", &before));
    *same = cn_text_is(cn_json_text(cn_json_get(cn_json_get(before, "run"), "resume")), choice);
    cn_json_close(before);
    return CN_OK;
}

/* Whether `path` lies in the folder of the run. */
static bool lies_in(const struct run_folder *run, const char *path)
{
    char *inner = realpath(path, NULL), *outer = realpath(run_path(run), NULL);
    size_t n = outer ? strlen(outer) : 0;
    bool inside = inner && outer && strncmp(inner, outer, n) == 0 && inner[n] == '/';
    free(inner);
    free(outer);
    return inside;
}

/* The step in the name of a run's own checkpoint. */
static uint64_t step_of(const char *folder)
{
    uint64_t step = 0;
    const char *name = strrchr(folder, '/');
    sscanf(name ? name : "", "/step_%" SCNu64, &step);
    return step;
}

enum cn_status resume_find(struct session *s, const struct run_folder *run, struct resume *out)
{
    const char *choice = s->settings.run.resume;
    const bool automatic = strcmp(choice, "auto") == 0;
    bool same = automatic;
    *out = (struct resume){.folder = NULL};
    if (strcmp(choice, "never") == 0) return CN_OK;
    if (!automatic) CN_TRY(started_from(run, choice, &same));
    if (same || !lies_in(run, choice))
        CN_TRY(checkpoint_find(run_path(run), UINT64_MAX, &s->arena, &out->folder));
    if (out->folder && !same)
        return cn_fail(
            CN_ERR_CONFIG,
            "run folder %s has checkpoints of its own, which did not start from "
            "run.resume=%s; choose another run.dir or run.name, or run.resume=auto to go "
            "on from %s",
            run_path(run), choice, out->folder);
    out->own = out->folder != NULL;
    if (!out->own) {
        out->folder = automatic ? NULL : choice;
        return CN_OK;
    }
    out->step = step_of(out->folder);
    return check_configuration(s, run, out->folder);
}

static bool is_damage(enum cn_status status)
{
    return status == CN_ERR_DATA || status == CN_ERR_MODEL || status == CN_ERR_IO;
}

/* Loads the newest checkpoint that is not damaged; *folder is the one that was loaded. */
static enum cn_status load(struct session *s, const struct resume *resume,
                           const struct checkpoint *checkpoint, struct checkpoint_state *state,
                           const char **folder)
{
    enum cn_status status = checkpoint_load(checkpoint, *folder, state);
    while (resume->own && is_damage(status)) {
        cn_log_warn("checkpoint %s is damaged and passed over: %s", *folder, cn_fail_message());
        cn_fail_clear();
        CN_TRY(checkpoint_find(checkpoint->run_path, step_of(*folder), &s->arena, folder));
        status = checkpoint_load(checkpoint, *folder, state);
    }
    if (is_damage(status))
        return cn_fail_context(status,
                               "run.resume=%s (a folder checkpoints/step_N of a run is needed; for "
                               "the weights of any other folder use model.path)",
                               *folder);
    return status;
}

/* Every rank has gone back to the same step: one may have found damage where another did not. */
static enum cn_status check_same(const struct session *s, uint64_t step)
{
    uint64_t both[2] = {step, ~step};
    const struct cn_comm_data data = {"step", CN_DTYPE_U64, both, 2};
    CN_TRY(cn_comm_max(s->comm, &data));
    if (cn_comm_size(s->comm) == 1 || both[0] == ~both[1]) return CN_OK;
    return cn_fail(CN_ERR_IO,
                   "ranks read different checkpoints: steps %" PRIu64 " to %" PRIu64
                   "; is the run folder on a file system that all hosts share?",
                   ~both[1], both[0]);
}

/* Rank 0 makes the run forget everything behind `state` (NULL: everything). */
static enum cn_status forget(const struct session *s, const char *run_path,
                             const struct checkpoint_state *state)
{
    enum cn_status status = CN_OK;
    if (cn_comm_rank(s->comm) == 0) {
        status = record_truncate(run_path, state ? state->step + 1 : 0);
        if (status == CN_OK && state) status = checkpoint_forget(run_path, state->step);
    }
    return cn_comm_agree(s->comm, "resume", status);
}

enum cn_status resume_load(struct session *s, const struct resume *resume,
                           const struct checkpoint *checkpoint, struct checkpoint_state *state)
{
    const char *folder = resume->folder;
    if (!folder) return forget(s, checkpoint->run_path, NULL);
    CN_TRY(cn_comm_agree(s->comm, "resume", load(s, resume, checkpoint, state, &folder)));
    CN_TRY(check_same(s, state->step));
    CN_TRY(forget(s, checkpoint->run_path, state));
    cn_log_info("going on after step %" PRIu64 " from %s", state->step, folder);
    return CN_OK;
}
