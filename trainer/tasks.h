/* Where prompts come from: an environment over one split, posed as token ids in a fixed order. */
#ifndef CARNOT_TASKS_H
#define CARNOT_TASKS_H

#include "config/settings.h"

#include "carnot/env.h"
#include "carnot/tokenizer.h"

struct tasks;

/* How to open a split; everything is borrowed until tasks_close. */
struct tasks_setup {
    const struct cn_env *env;
    const void *env_settings;
    struct cn_tokenizer *tokenizer;
    const struct cn_data *data; /* rows of this split, or NULL */
    const struct data_settings *limits;
    enum cn_split split;
    uint64_t seed;
    size_t context;  /* most tokens of prompt, demonstration and end token; 0: not limited */
    bool sequential; /* position p is task p: evaluation; else a keyed order with epochs */
};

/* One task, ready to be sampled from; pieces live in the arena of the call. */
struct posed {
    uint64_t task;  /* row of the data set, or number of the generated task */
    uint64_t epoch; /* how often the order has come round */
    struct cn_task content;
    struct cn_text prompt_text;
    const int32_t *ids;
    size_t n_ids;
    bool over_long; /* longer than data.max_prompt_tokens, or beyond setup.context */
};

/* Opens the split.  With data, every prompt is measured: how many are too long is logged, and
 * refused if data.over_long is "error".  Fails: CN_ERR_DATA, CN_ERR_CONFIG (an environment that
 * needs data has none). */
enum cn_status tasks_open(const struct tasks_setup *setup, struct tasks **out);
void tasks_close(struct tasks *take_tasks);

uint64_t tasks_count(const struct tasks *tasks); /* 0: without end */

/* Poses the task at `position` of the order.  Not collective. */
enum cn_status tasks_pose(struct tasks *tasks, uint64_t position, struct cn_arena *arena,
                          struct posed *out);

/* Poses the first task at or after *position that is not over-long and moves *position behind it.
 * Fails: CN_ERR_DATA if a whole epoch has none. */
enum cn_status tasks_next(struct tasks *tasks, uint64_t *position, struct cn_arena *arena,
                          struct posed *out);

/* Poses the task of `of` in other words.  Fails: as the environment; CN_ERR_DATA if that is longer
 * than data.max_prompt_tokens. */
enum cn_status tasks_view(struct tasks *tasks, const struct posed *of, struct cn_arena *arena,
                          struct posed *out);

#endif
