/* Environments: where prompts come from and what happens after an answer.  They work in text and do
 * not know the model. */
#ifndef CARNOT_ENV_H
#define CARNOT_ENV_H

#include "carnot/data.h"
#include "carnot/option.h"
#include "carnot/rng.h"

#ifdef __cplusplus
extern "C" {
#endif

enum cn_split { CN_SPLIT_TRAIN, CN_SPLIT_HELD_OUT };

/* What an environment is opened with; borrowed until close. */
struct cn_env_setup {
    const void *settings;
    const struct cn_data
        *data;           /* rows of the section `data` for this split; NULL if the run has none */
    enum cn_split split; /* generated tasks of the two splits never meet */
    uint64_t seed;
};

/* A task as the environment poses it; pieces live in the arena that reset was given. */
struct cn_task {
    struct cn_messages messages;
    struct cn_text rendered;     /* ready-made prompt instead of messages, or empty */
    struct cn_text ground_truth; /* for the rewards; empty if there is none */
    struct cn_text row;          /* raw JSON for the rewards; empty if there is none */
    struct cn_text
        demonstration; /* a right answer, for a supervised warm start; empty if unknown */
};

enum cn_turn_kind {
    CN_TURN_GOING_ON,
    CN_TURN_TERMINATED,
    CN_TURN_TRUNCATED,
    CN_TURN_ERROR /* infrastructure: the sequence is dropped, never scored 0 */
};

struct cn_turn {
    enum cn_turn_kind kind;
    double reward;   /* of this turn */
    const char *why; /* of TRUNCATED and ERROR */
};

struct cn_env {
    const char *name, *summary;
    const struct cn_option *options;
    size_t settings_size, state_size; /* state: one episode; plain bytes */
    bool needs_data;                  /* `data.train` must name rows */
    enum cn_status (*open)(const struct cn_env_setup *setup, void **shared);
    /* Number of tasks of the split; 0: without end.  Optional. */
    uint64_t (*count)(const void *shared);
    /* Poses task `task` (of `count`, or any number).  rng is the task's own stream. */
    enum cn_status (*reset)(void *shared, void *state, uint64_t task, struct cn_rng *rng,
                            struct cn_arena *arena, struct cn_task *out);
    /* The same task, with the same ground truth, in other words.  NULL: it has none.  Fails:
     * CN_ERR_CONFIG or CN_ERR_DATA if this task has none. */
    enum cn_status (*view)(void *shared, uint64_t task, struct cn_rng *rng, struct cn_arena *arena,
                           struct cn_task *out);
    /* Answers the policy's text.  NULL: one turn, the episode is over after the first answer. */
    enum cn_status (*step)(void *shared, void *state, struct cn_text action, struct cn_arena *arena,
                           struct cn_messages *observation, struct cn_turn *turn);
    void (*close)(void *shared);
};

extern const struct cn_env *const cn_envs[]; /* NULL-terminated */
const struct cn_env *cn_env_find(const char *name);

#ifdef __cplusplus
}
#endif
#endif
