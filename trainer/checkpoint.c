/* Checkpoints: complete or absent. */
#include "checkpoint.h"

#include "run/checkpoint_files.h"
#include "run/states.h"

#include "carnot/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { PATH_SIZE = 4096, STATE_LIMIT = 1 << 26 };
static const char OPTIMIZER_FILE[] = "state/optimizer.safetensors";
static const char VALUE_HEAD_FILE[] = "state/value_head.safetensors"; /* cn_model_open finds it */

static int remove_entry(const char *path, const struct stat *info, int kind, struct FTW *place)
{
    (void)info, (void)kind, (void)place;
    return remove(path);
}

static const char replay_name[] = "state/replay.bin";
static const char ahead_name[] = "state/ahead.bin";

static void remove_tree(const char *path)
{
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
}

static enum cn_status path_of(char out[PATH_SIZE], const char *folder, const char *name)
{
    int n = snprintf(out, PATH_SIZE, "%s/%s", folder, name);
    if (n < 0 || n >= PATH_SIZE) return cn_fail(CN_ERR_IO, "path too long: %s/%s", folder, name);
    return CN_OK;
}

static enum cn_status write_state(void *self, const char *name, const struct cn_chosen *chosen,
                                  enum states_side side)
{
    (void)side;
    struct cn_str *out = self;
    CN_TRY(cn_str_format(out, "%s    \"%s\": \"", out->data[out->length - 2] == '{' ? "" : ",\n",
                         name));
    const unsigned char *bytes = chosen->state;
    for (size_t i = 0; i < chosen->plugin->state_size; i++)
        CN_TRY(cn_str_format(out, "%02x", bytes[i]));
    return cn_str_add(out, "\"");
}

static enum cn_status read_state(void *self, const char *name, const struct cn_chosen *chosen,
                                 enum states_side side)
{
    (void)side;
    struct cn_text hex = cn_json_text(cn_json_get(self, name));
    size_t size = chosen->plugin->state_size;
    if (hex.length != 2 * size)
        return cn_fail(CN_ERR_DATA,
                       "state of %s has %zu bytes, expected %zu: another version wrote it", name,
                       hex.length / 2, size);
    unsigned char *bytes = chosen->state;
    for (size_t i = 0; i < size; i++) {
        char pair[3] = {hex.data[2 * i], hex.data[2 * i + 1], 0}, *end;
        unsigned long value = strtoul(pair, &end, 16);
        if (*end) return cn_fail(CN_ERR_DATA, "state of %s is not hexadecimal", name);
        bytes[i] = (unsigned char)value;
    }
    return CN_OK;
}

/* A double as text that comes back to the same bits; null if it is NaN. */
static enum cn_status state_text(const struct checkpoint *c, const struct checkpoint_state *s,
                                 struct cn_str *out)
{
    const struct states_visit visit = {write_state, out};
    CN_TRY(cn_str_format(out,
                         "{\n  \"format\": 1,\n  \"step\": %" PRIu64 ",\n  \"position\": \"%" PRIu64
                         "\",\n  \"optimizer_steps\": %" PRIu64 ",\n  \"bad_steps\": %" PRIu32
                         ",\n  \"best\": ",
                         s->step, s->position, s->optimizer_steps, s->bad_steps));
    CN_TRY(cn_json_real(out, s->best, 17));
    CN_TRY(cn_str_add(out, ",\n  \"base\": "));
    CN_TRY(cn_json_real(out, s->base, 17));
    CN_TRY(cn_str_add(out, ",\n  \"plugins\": {\n"));
    CN_TRY(states_each(c->recipe, &visit));
    return cn_str_add(out, "\n  }\n}\n");
}

static enum cn_status write_text(const char *folder, const char *name, struct cn_text text)
{
    char path[PATH_SIZE];
    CN_TRY(path_of(path, folder, name));
    return cn_file_replace(path, text.data, text.length);
}

static enum cn_status write_model(const struct checkpoint *c, const char *folder)
{
    CN_TRY(cn_folder_make(folder));
    CN_TRY(cn_model_save(c->model, -1, folder, c->dtype));
    return c->tokenizer ? cn_tokenizer_save(c->tokenizer, folder) : CN_OK;
}

/* What a model needs to go on learning, below its folder. */
static enum cn_status write_learning(struct cn_model *model, const char *folder)
{
    char path[PATH_SIZE];
    CN_TRY(path_of(path, folder, "state"));
    CN_TRY(cn_folder_make(path));
    CN_TRY(path_of(path, folder, OPTIMIZER_FILE));
    CN_TRY(cn_model_state_save(model, path));
    if (!cn_model_info(model)->value_head) return CN_OK;
    CN_TRY(path_of(path, folder, VALUE_HEAD_FILE));
    return cn_model_value_save(model, path);
}

static enum cn_status read_learning(struct cn_model *model, const char *folder)
{
    char path[PATH_SIZE], head[PATH_SIZE];
    const bool value_head = cn_model_info(model)->value_head;
    CN_TRY(path_of(path, folder, OPTIMIZER_FILE));
    CN_TRY(path_of(head, folder, VALUE_HEAD_FILE));
    if (value_head && access(head, R_OK) != 0)
        return cn_fail(CN_ERR_DATA,
                       "%s: %s; the run that wrote the checkpoint had no such critic: start from "
                       "its weights instead, with model.path=FOLDER",
                       head, strerror(errno));
    CN_TRY(cn_model_state_load(model, path));
    return value_head ? cn_model_value_load(model, head) : CN_OK;
}

static enum cn_status write_critic(const struct checkpoint *c, const char *folder)
{
    char path[PATH_SIZE];
    if (!c->critic) return CN_OK;
    CN_TRY(path_of(path, folder, "critic"));
    CN_TRY(cn_folder_make(path));
    CN_TRY(cn_model_save(c->critic, -1, path, c->dtype));
    return write_learning(c->critic, path);
}

/* The policy of the rollout before is a frozen copy, whole on every rank and in the type that
 * computes, which F32 holds exactly. */
static enum cn_status write_last(const struct checkpoint *c, const char *folder)
{
    char path[PATH_SIZE];
    if (!c->last || *c->last < 0) return CN_OK;
    CN_TRY(path_of(path, folder, "last"));
    CN_TRY(cn_folder_make(path));
    return cn_model_save(c->model, *c->last, path, CN_DTYPE_F32);
}

/* Without one, a run of other settings wrote the checkpoint: as at the start of a run, the policy
 * itself is the last. */
static enum cn_status read_last(const struct checkpoint *c, const char *folder)
{
    char path[PATH_SIZE];
    CN_TRY(path_of(path, folder, "last"));
    if (!c->last || access(path, R_OK) != 0) return CN_OK;
    return cn_model_freeze(c->model, path, c->last);
}

static enum cn_status write_all(const struct checkpoint *c, const struct checkpoint_state *state,
                                const char *folder)
{
    char path[PATH_SIZE];
    struct cn_str text = {0};
    CN_TRY(write_model(c, folder));
    CN_TRY(write_learning(c->model, folder));
    CN_TRY(write_critic(c, folder));
    CN_TRY(write_last(c, folder));
    CN_TRY(path_of(path, folder, replay_name));
    if (c->replay) CN_TRY(replay_save(c->replay, path));
    CN_TRY(path_of(path, folder, ahead_name));
    if (c->ahead && c->ahead->n) CN_TRY(ahead_save(c->ahead, path));
    CN_TRY(write_text(folder, "config.resolved.json", c->resolved));
    enum cn_status status = state_text(c, state, &text);
    if (status == CN_OK) status = write_text(folder, "state/state.json", cn_str_text(&text));
    cn_str_free(&text);
    return status == CN_OK ? checkpoint_seal(folder) : status;
}

/* On ranks that do not write: gives rank 0 their shares of a model and of its optimizer, in the
 * order of write_all. */
static enum cn_status give_shares(const struct checkpoint *c)
{
    CN_TRY(cn_model_save(c->model, -1, NULL, c->dtype));
    CN_TRY(cn_model_state_save(c->model, NULL));
    if (!c->critic) return CN_OK;
    CN_TRY(cn_model_save(c->critic, -1, NULL, c->dtype));
    return cn_model_state_save(c->critic, NULL);
}

/* Puts `made` in the place of `folder`; between the two renames the old one stands under .old. */
static enum cn_status put_in_place(const char *made, const char *folder)
{
    char old[PATH_SIZE + 8];
    snprintf(old, sizeof old, "%s.old", folder);
    remove_tree(old);
    rename(folder, old); /* fails if there is none */
    if (rename(made, folder))
        return cn_fail(CN_ERR_IO, "cannot rename %s to %s: %s", made, folder, strerror(errno));
    remove_tree(old);
    return CN_OK;
}

/* checkpoints/latest -> step_N, for people and scripts; moved in one step, and made lasting. */
static enum cn_status point_latest(const char *run_path, uint64_t step)
{
    char folder[PATH_SIZE], fresh[PATH_SIZE], latest[PATH_SIZE], name[64];
    CN_TRY(path_of(folder, run_path, "checkpoints"));
    CN_TRY(path_of(fresh, run_path, "checkpoints/latest.tmp"));
    CN_TRY(path_of(latest, run_path, "checkpoints/latest"));
    snprintf(name, sizeof name, "step_%06" PRIu64, step);
    unlink(fresh);
    if (symlink(name, fresh) || rename(fresh, latest))
        return cn_fail(CN_ERR_IO, "cannot point %s to %s: %s", latest, name, strerror(errno));
    int file = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (file >= 0) {
        fsync(file); /* some file systems refuse; the renames themselves have succeeded */
        close(file);
    }
    return CN_OK;
}

/* Step number of a checkpoint's name, or -1. */
static int64_t step_of(const char *name)
{
    long long step;
    char rest;
    if (sscanf(name, "step_%lld%c", &step, &rest) != 1 || step < 0) return -1;
    return step;
}

struct steps {
    int64_t *item; /* descending */
    size_t n;
};

static int descending(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static enum cn_status list_steps(const char *run_path, struct cn_arena *arena, struct steps *out)
{
    char folder[PATH_SIZE];
    CN_TRY(path_of(folder, run_path, "checkpoints"));
    memset(out, 0, sizeof *out);
    for (int pass = 0; pass < 2; pass++) { /* count, then collect */
        DIR *dir = opendir(folder);
        if (!dir) return CN_OK;
        size_t n = 0;
        for (struct dirent *e; (e = readdir(dir));) {
            if (step_of(e->d_name) < 0) continue;
            if (pass && n < out->n) out->item[n] = step_of(e->d_name);
            n++;
        }
        closedir(dir);
        if (!pass) CN_TRY(CN_NEW(arena, n + 1, &out->item));
        out->n = pass && n > out->n ? out->n : n;
    }
    if (out->n) qsort(out->item, out->n, sizeof *out->item, descending);
    return CN_OK;
}

static enum cn_status remove_old(const struct checkpoint *c, const struct checkpoint_settings *s)
{
    struct cn_arena arena;
    struct steps steps;
    char folder[PATH_SIZE], name[64];
    cn_arena_init(&arena);
    enum cn_status status = list_steps(c->run_path, &arena, &steps);
    for (size_t i = (size_t)s->keep; status == CN_OK && i < steps.n; i++) {
        if (s->keep_every && steps.item[i] % s->keep_every == 0) continue;
        snprintf(name, sizeof name, "checkpoints/step_%06" PRId64, steps.item[i]);
        status = path_of(folder, c->run_path, name);
        if (status == CN_OK) remove_tree(folder);
    }
    cn_arena_free(&arena);
    return status;
}

static enum cn_status save(const struct checkpoint *c, const struct checkpoint_state *state,
                           const struct checkpoint_settings *settings)
{
    char folder[PATH_SIZE], made[PATH_SIZE + 8], name[64];
    snprintf(name, sizeof name, "checkpoints/step_%06" PRIu64, state->step);
    CN_TRY(path_of(folder, c->run_path, name));
    snprintf(made, sizeof made, "%s.tmp", folder);
    remove_tree(made);
    enum cn_status status = write_all(c, state, made);
    if (status != CN_OK) {
        remove_tree(made); /* frees the space on a full disk */
        return cn_fail_context(status, "checkpoint of step %" PRIu64, state->step);
    }
    CN_TRY(put_in_place(made, folder));
    CN_TRY(point_latest(c->run_path, state->step));
    return remove_old(c, settings);
}

enum cn_status checkpoint_save(const struct checkpoint *c, const struct checkpoint_state *state,
                               const struct checkpoint_settings *settings)
{
    const bool writes = cn_comm_rank(c->comm) == 0;
    return cn_comm_agree(c->comm, "checkpoint", writes ? save(c, state, settings) : give_shares(c));
}

static enum cn_status export_model(const struct checkpoint *c, const char *name)
{
    char folder[PATH_SIZE], made[PATH_SIZE + 8], inside[256];
    snprintf(inside, sizeof inside, "checkpoints/%s", name);
    CN_TRY(path_of(folder, c->run_path, inside));
    snprintf(made, sizeof made, "%s.tmp", folder);
    remove_tree(made);
    CN_TRY(write_model(c, made));
    return put_in_place(made, folder);
}

/* The run may have to go on from its oldest checkpoint; before the first, from the start, where it
 * makes every reference anew. */
enum cn_status checkpoint_drop_references(const char *run_path, uint64_t every)
{
    struct cn_arena arena;
    struct steps steps;
    char folder[PATH_SIZE], name[64];
    cn_arena_init(&arena);
    enum cn_status status = list_steps(run_path, &arena, &steps);
    const uint64_t oldest = steps.n ? (uint64_t)steps.item[steps.n - 1] : 0;
    for (uint64_t k = oldest / every * every; status == CN_OK && k > every; k -= every) {
        snprintf(name, sizeof name, "checkpoints/reference_%06" PRIu64, k - every);
        status = path_of(folder, run_path, name);
        if (status == CN_OK && access(folder, F_OK) != 0) break; /* older ones are gone, too */
        if (status == CN_OK) remove_tree(folder);
    }
    cn_arena_free(&arena);
    return status;
}

enum cn_status checkpoint_export(const struct checkpoint *c, const char *name)
{
    const bool writes = cn_comm_rank(c->comm) == 0;
    return cn_comm_agree(c->comm, "export",
                         writes ? export_model(c, name)
                                : cn_model_save(c->model, -1, NULL, c->dtype));
}

static enum cn_status open_state(const char *folder, struct cn_json **out)
{
    char path[PATH_SIZE];
    struct cn_str text = {0};
    CN_TRY(path_of(path, folder, "state/state.json"));
    enum cn_status status = cn_file_read(path, STATE_LIMIT, &text);
    if (status == CN_OK) status = cn_json_parse(cn_str_text(&text), path, out);
    cn_str_free(&text);
    return status;
}

enum cn_status checkpoint_find(const char *run_path, uint64_t below, struct cn_arena *arena,
                               const char **folder)
{
    struct steps steps;
    char path[PATH_SIZE], name[64], *copy;
    *folder = NULL;
    CN_TRY(list_steps(run_path, arena, &steps));
    for (size_t i = 0; i < steps.n; i++) {
        struct cn_json *state = NULL;
        if ((uint64_t)steps.item[i] >= below) continue;
        snprintf(name, sizeof name, "checkpoints/step_%06" PRId64, steps.item[i]);
        CN_TRY(path_of(path, run_path, name));
        if (open_state(path, &state) != CN_OK) {
            cn_log_warn("checkpoint %s is damaged and passed over: %s", path, cn_fail_message());
            cn_fail_clear();
            continue;
        }
        cn_json_close(state);
        CN_TRY(cn_arena_text(arena, path, strlen(path), &copy));
        *folder = copy;
        return CN_OK;
    }
    if (steps.n)
        return cn_fail(CN_ERR_DATA,
                       "no checkpoint in %s/checkpoints can be read; move them away to start anew",
                       run_path);
    return CN_OK;
}

enum cn_status checkpoint_forget(const char *run_path, uint64_t last)
{
    struct cn_arena arena;
    struct steps steps;
    cn_arena_init(&arena);
    enum cn_status status = list_steps(run_path, &arena, &steps);
    for (size_t i = 0; status == CN_OK && i < steps.n; i++) {
        char name[64], folder[PATH_SIZE], old[PATH_SIZE + 8];
        if ((uint64_t)steps.item[i] <= last) continue;
        snprintf(name, sizeof name, "checkpoints/step_%06" PRId64, steps.item[i]);
        status = path_of(folder, run_path, name);
        if (status != CN_OK) break;
        snprintf(old, sizeof old, "%s.old", folder);
        remove_tree(old);
        if (rename(folder, old))
            status = cn_fail(CN_ERR_IO, "cannot rename %s to %s: %s", folder, old, strerror(errno));
        else
            cn_log_warn("%s is behind the step that the run goes on from: kept as %s until that "
                        "step is saved again",
                        folder, old);
    }
    cn_arena_free(&arena);
    return status;
}

static enum cn_status read_numbers(const struct cn_json *state, struct checkpoint_state *out)
{
    int64_t step, optimizer_steps, bad_steps;
    const char *position;
    CN_TRY(cn_json_int_or(state, "step", 0, INT64_C(1) << 52, -1, &step));
    CN_TRY(cn_json_int_or(state, "optimizer_steps", 0, INT64_C(1) << 52, 0, &optimizer_steps));
    CN_TRY(cn_json_int_or(state, "bad_steps", 0, 1 << 30, 0, &bad_steps));
    CN_TRY(cn_json_need_text(state, "position", &position));
    CN_TRY(cn_json_real_or(state, "best", (double)NAN, &out->best));
    CN_TRY(cn_json_real_or(state, "base", (double)NAN, &out->base));
    if (step < 0) return cn_fail(CN_ERR_DATA, "state.json has no \"step\"");
    out->step = (uint64_t)step;
    out->position = strtoull(position, NULL, 10);
    out->optimizer_steps = (uint64_t)optimizer_steps;
    out->bad_steps = (uint32_t)bad_steps;
    return CN_OK;
}

static enum cn_status read_ahead(const struct checkpoint *c, const char *folder,
                                 struct checkpoint_state *out)
{
    char path[PATH_SIZE];
    uint64_t last;
    out->sampled = out->step;
    CN_TRY(path_of(path, folder, ahead_name));
    if (!c->ahead || access(path, R_OK) != 0) return CN_OK;
    CN_TRY(ahead_load(c->ahead, path, &last));
    if (last > out->sampled) out->sampled = last;
    return CN_OK;
}

enum cn_status checkpoint_load(const struct checkpoint *c, const char *folder,
                               struct checkpoint_state *out)
{
    char path[PATH_SIZE];
    struct cn_json *state = NULL;
    CN_TRY(checkpoint_verify(folder));
    CN_TRY(open_state(folder, &state));
    const struct cn_json *plugins = cn_json_get(state, "plugins");
    const struct states_visit visit = {read_state, (void *)(uintptr_t)plugins};
    enum cn_status status = read_numbers(state, out);
    if (status == CN_OK) status = states_each(c->recipe, &visit);
    cn_json_close(state);
    if (status != CN_OK) return cn_fail_context(status, "%s/state/state.json", folder);
    CN_TRY(path_of(path, folder, replay_name));
    if (c->replay) CN_TRY(replay_load(c->replay, path));
    CN_TRY(read_ahead(c, folder, out));
    if (c->model) CN_TRY(read_learning(c->model, folder));
    if (c->model) CN_TRY(read_last(c, folder));
    if (!c->critic) return CN_OK;
    CN_TRY(path_of(path, folder, "critic"));
    return read_learning(c->critic, path);
}
