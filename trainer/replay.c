/* A ring of rollouts; each has an arena of its own. */
#include "replay.h"

#include <stdlib.h>
#include <string.h>

enum { DEPTH_MAX = 64 };
static const char magic[8] = "CNREPLAY";
static const uint64_t file_limit = (uint64_t)1 << 40;

struct rollout_memory {
    struct cn_arena arena;
    struct replayed *row;
    size_t count, capacity;
};

struct replay {
    size_t depth, begun; /* begun: rollouts so far; the last is at (begun - 1) % depth */
    struct rollout_memory memory[DEPTH_MAX];
};

enum cn_status replay_open(size_t depth, struct replay **out)
{
    CN_BUG_IF(depth < 1 || depth > DEPTH_MAX);
    struct replay *replay = calloc(1, sizeof *replay);
    if (!replay) return cn_fail(CN_ERR_MEMORY, "out of memory: a replay of %zu rollouts", depth);
    replay->depth = depth;
    for (size_t i = 0; i < depth; i++)
        cn_arena_init(&replay->memory[i].arena);
    *out = replay;
    return CN_OK;
}

void replay_close(struct replay *take_replay)
{
    if (!take_replay) return;
    for (size_t i = 0; i < take_replay->depth; i++)
        cn_arena_free(&take_replay->memory[i].arena);
    free(take_replay);
}

enum cn_status replay_begin(struct replay *replay)
{
    struct rollout_memory *memory = &replay->memory[replay->begun++ % replay->depth];
    cn_arena_reset(&memory->arena);
    memory->row = NULL;
    memory->count = memory->capacity = 0;
    return CN_OK;
}

/* A copy of n elements in the arena. */
static enum cn_status keep(struct cn_arena *arena, const void *from, size_t n, size_t size,
                           void *array)
{
    void *copy;
    CN_TRY(cn_arena_alloc(arena, n, size, &copy));
    if (n) memcpy(copy, from, n * size);
    memcpy(array, &copy, sizeof copy);
    return CN_OK;
}

enum cn_status replay_add(struct replay *replay, const struct replayed *row)
{
    CN_BUG_IF(replay->begun == 0);
    struct rollout_memory *memory = &replay->memory[(replay->begun - 1) % replay->depth];
    struct cn_arena *arena = &memory->arena;
    if (memory->count == memory->capacity) {
        const size_t capacity = memory->capacity ? 2 * memory->capacity : 64;
        struct replayed *grown;
        CN_TRY(CN_NEW(arena, capacity, &grown));
        if (memory->count) memcpy(grown, memory->row, memory->count * sizeof *grown);
        memory->row = grown;
        memory->capacity = capacity;
    }
    struct replayed *to = &memory->row[memory->count];
    *to = (struct replayed){.posed = {.task = row->posed.task, .n_ids = row->posed.n_ids},
                            .answer = {.n = row->answer.n, .stop = row->answer.stop},
                            .scored = row->scored,
                            .sample = row->sample,
                            .group = row->group,
                            .version = row->version,
                            .temperature = row->temperature};
    to->scored.extracted = (struct cn_text){NULL, 0};
    CN_TRY(keep(arena, row->posed.ids, to->posed.n_ids, sizeof(int32_t), &to->posed.ids));
    CN_TRY(keep(arena, row->answer.ids, to->answer.n, sizeof(int32_t), &to->answer.ids));
    CN_TRY(keep(arena, row->answer.logp, to->answer.n, sizeof(double), &to->answer.logp));
    CN_TRY(keep(arena, row->answer.entropy, to->answer.n, sizeof(double), &to->answer.entropy));
    memory->count++;
    return CN_OK;
}

const struct replayed *replay_rows(const struct replay *replay, size_t age, size_t *n)
{
    *n = 0;
    if (age < 1 || age > replay->depth || age > replay->begun) return NULL;
    const struct rollout_memory *memory = &replay->memory[(replay->begun - age) % replay->depth];
    *n = memory->count;
    return memory->row;
}

/* ---- file ---------------------------------------------------------------- */

/* What stands in the file before the four arrays of an answer. */
struct head {
    uint64_t task, n_prompt, n_answer;
    double score, reward;
    uint32_t sample, group, version, stop, verdict, drop;
    float temperature;
    uint32_t zero; /* no padding: every byte is written */
};

static struct head head_of(const struct replayed *row)
{
    struct head head = {.task = row->posed.task,
                        .n_prompt = row->posed.n_ids,
                        .n_answer = row->answer.n,
                        .score = row->scored.score,
                        .reward = row->scored.reward,
                        .sample = row->sample,
                        .group = row->group,
                        .version = row->version,
                        .stop = (uint32_t)row->answer.stop,
                        .verdict = (uint32_t)row->scored.verdict,
                        .drop = (uint32_t)row->scored.drop,
                        .temperature = row->temperature};
    return head;
}

static enum cn_status put(struct cn_str *out, const void *bytes, size_t n)
{
    return n ? cn_str_append(out, bytes, n) : CN_OK;
}

static enum cn_status put_row(struct cn_str *out, const struct replayed *row)
{
    const struct head head = head_of(row);
    CN_TRY(put(out, &head, sizeof head));
    CN_TRY(put(out, row->posed.ids, row->posed.n_ids * sizeof(int32_t)));
    CN_TRY(put(out, row->answer.ids, row->answer.n * sizeof(int32_t)));
    CN_TRY(put(out, row->answer.logp, row->answer.n * sizeof(double)));
    return put(out, row->answer.entropy, row->answer.n * sizeof(double));
}

static enum cn_status put_all(const struct replay *replay, struct cn_str *out)
{
    const uint64_t known = replay->begun < replay->depth ? replay->begun : replay->depth;
    CN_TRY(put(out, magic, sizeof magic));
    CN_TRY(put(out, &known, sizeof known));
    for (size_t age = (size_t)known; age >= 1; age--) {
        size_t n;
        const struct replayed *rows = replay_rows(replay, age, &n);
        const uint64_t count = n;
        CN_TRY(put(out, &count, sizeof count));
        for (size_t i = 0; i < n; i++)
            CN_TRY(put_row(out, &rows[i]));
    }
    return CN_OK;
}

enum cn_status replay_save(const struct replay *replay, const char *path)
{
    struct cn_str bytes = {0};
    enum cn_status status = put_all(replay, &bytes);
    if (status == CN_OK) status = cn_file_replace(path, bytes.data, bytes.length);
    cn_str_free(&bytes);
    return status;
}

/* What is left to read. */
struct reading {
    const char *path, *at, *end;
};

static enum cn_status take(struct reading *r, void *out, size_t n)
{
    if ((size_t)(r->end - r->at) < n)
        return cn_fail(CN_ERR_DATA, "%s is cut off: the remembered rollouts are not complete",
                       r->path);
    if (n) memcpy(out, r->at, n);
    r->at += n;
    return CN_OK;
}

static enum cn_status take_array(struct reading *r, struct cn_arena *arena, uint64_t n, size_t size,
                                 void *array)
{
    void *values;
    if (n > (uint64_t)(r->end - r->at) / size)
        return cn_fail(CN_ERR_DATA, "%s is cut off: the remembered rollouts are not complete",
                       r->path);
    CN_TRY(cn_arena_alloc(arena, (size_t)n, size, &values));
    memcpy(array, &values, sizeof values);
    return take(r, values, (size_t)n * size);
}

static enum cn_status take_row(struct reading *r, struct cn_arena *arena, struct replay *replay)
{
    struct head head;
    struct replayed row;
    memset(&row, 0, sizeof row);
    cn_arena_reset(arena);
    CN_TRY(take(r, &head, sizeof head));
    if (head.stop >= CN_STOP_COUNT || head.verdict >= CN_VERDICT_COUNT ||
        head.drop >= CN_DROP_COUNT)
        return cn_fail(CN_ERR_DATA, "%s holds a stop, verdict or drop that does not exist",
                       r->path);
    row.posed.task = head.task;
    row.posed.n_ids = (size_t)head.n_prompt;
    row.answer.n = (size_t)head.n_answer;
    row.answer.stop = (enum cn_stop)head.stop;
    row.scored = (struct scored){.score = head.score,
                                 .reward = head.reward,
                                 .verdict = (enum cn_verdict)head.verdict,
                                 .drop = (enum cn_drop)head.drop};
    row.sample = head.sample;
    row.group = head.group;
    row.version = head.version;
    row.temperature = head.temperature;
    CN_TRY(take_array(r, arena, head.n_prompt, sizeof(int32_t), &row.posed.ids));
    CN_TRY(take_array(r, arena, head.n_answer, sizeof(int32_t), &row.answer.ids));
    CN_TRY(take_array(r, arena, head.n_answer, sizeof(double), &row.answer.logp));
    CN_TRY(take_array(r, arena, head.n_answer, sizeof(double), &row.answer.entropy));
    return replay_add(replay, &row);
}

static enum cn_status take_all(struct reading *r, struct cn_arena *arena, struct replay *replay)
{
    char found[sizeof magic];
    uint64_t rollouts = 0, count = 0;
    CN_TRY(take(r, found, sizeof found));
    CN_TRY(take(r, &rollouts, sizeof rollouts));
    if (memcmp(found, magic, sizeof magic) != 0)
        return cn_fail(CN_ERR_DATA, "%s is not a file of remembered rollouts", r->path);
    for (uint64_t k = 0; k < rollouts; k++) {
        CN_TRY(replay_begin(replay));
        CN_TRY(take(r, &count, sizeof count));
        for (uint64_t i = 0; i < count; i++)
            CN_TRY(take_row(r, arena, replay));
    }
    return CN_OK;
}

enum cn_status replay_load(struct replay *replay, const char *path)
{
    struct cn_str bytes = {0};
    struct cn_arena arena;
    cn_arena_init(&arena);
    enum cn_status status = cn_file_read(path, (size_t)file_limit, &bytes);
    struct reading r = {path, bytes.data, bytes.data ? bytes.data + bytes.length : NULL};
    if (status == CN_OK) status = take_all(&r, &arena, replay);
    cn_arena_free(&arena);
    cn_str_free(&bytes);
    return status;
}
