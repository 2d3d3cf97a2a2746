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
    enum cn_status status = config_check_resume(s->config, before, run_path(run));
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

enum cn_status resume_load(struct session *s, const struct resume *resume,
                           const struct checkpoint *checkpoint, struct checkpoint_state *state)
{
    const char *folder = resume->folder;
    if (!folder) return record_truncate(checkpoint->run_path, 0);
    enum cn_status status = checkpoint_load(checkpoint, folder, state);
    while (resume->own && is_damage(status)) {
        cn_log_warn("checkpoint %s is damaged and passed over: %s", folder, cn_fail_message());
        cn_fail_clear();
        CN_TRY(checkpoint_find(checkpoint->run_path, step_of(folder), &s->arena, &folder));
        status = checkpoint_load(checkpoint, folder, state);
    }
    if (is_damage(status))
        return cn_fail_context(status,
                               "run.resume=%s (a folder checkpoints/step_N of a run is needed; for "
                               "the weights of any other folder use model.path)",
                               folder);
    CN_TRY(status);
    CN_TRY(record_truncate(checkpoint->run_path, state->step + 1));
    CN_TRY(checkpoint_forget(checkpoint->run_path, state->step));
    cn_log_info("going on after step %" PRIu64 " from %s", state->step, folder);
    return CN_OK;
}
