/* A reward with its settings, read from JSON as a configuration would be. */
#ifndef TESTS_REWARD_BENCH_H
#define TESTS_REWARD_BENCH_H

#include "check.h"

#include "carnot/reward.h"

struct bench {
    struct cn_reward_entry used;
    struct cn_arena arena;
    struct cn_json *root;
};

/* Close it in any case. */
static inline enum cn_status bench_open(struct bench *bench, const char *name, const char *json)
{
    static const char *const ours[] = {"type", NULL};
    struct cn_json *type = NULL;
    memset(bench, 0, sizeof *bench);
    cn_arena_init(&bench->arena);
    CN_TRY(cn_json_parse(cn_text(json), "test", &bench->root));
    CN_TRY(cn_json_new_text(cn_text(name), &type));
    CN_TRY(cn_json_set(bench->root, "type", type));
    return cn_reward_open(bench->root, "rewards.0", ours, &bench->arena, &bench->used);
}

static inline void bench_close(struct bench *bench)
{
    cn_reward_close(&bench->used);
    cn_json_close(bench->root);
    cn_arena_free(&bench->arena);
}

static inline enum cn_status bench_score(struct bench *bench, const struct cn_episode *episode,
                                         struct cn_outcome *out)
{
    memset(out, 0x5a, sizeof *out); /* a reward fills all of it */
    return cn_reward_score(&bench->used, episode, 1, &bench->arena, out);
}

#endif
