/* The reward math with settings, read from JSON. */
#ifndef TESTS_MATH_BENCH_H
#define TESTS_MATH_BENCH_H

#include "rewards/math_rows.h"

#include "carnot/json.h"
#include "carnot/reward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(t) (int)(t).length, (t).data

/* A reward with its settings, read from JSON as a configuration would. */
struct bench {
    const struct cn_reward *reward;
    struct cn_arena arena, arena_rows;
    void *settings;
};

static inline enum cn_status bench_open_json(struct bench *bench, const char *json)
{
    struct cn_json *root = NULL;
    cn_arena_init(&bench->arena);
    cn_arena_init(&bench->arena_rows);
    bench->reward = cn_reward_find("math");
    if (!bench->reward) return cn_fail(CN_ERR_CONFIG, "no reward math");
    CN_TRY(cn_arena_alloc(&bench->arena, bench->reward->settings_size, 1, &bench->settings));
    CN_TRY(cn_json_parse(cn_text(json), "test", &root));
    enum cn_status status = cn_option_read(bench->reward->options, root, "rewards.0", NULL,
                                           &bench->arena, bench->settings);
    cn_json_close(root);
    return status;
}

/* A name of the column "setup": some settings, else a policy. */
static inline enum cn_status bench_open(struct bench *bench, struct cn_text setup)
{
    static const char *const named[][2] = {{"percent_value", "{\"percent\": \"value\"}"},
                                           {"percent_lenient", "{\"percent\": \"lenient\"}"},
                                           {"units_ignore", "{\"units\": \"ignore\"}"},
                                           {"bare_bases", "{\"bare_bases\": true}"},
                                           {"set_relation", "{\"set_relation\": true}"},
                                           {"tolerance", "{\"tolerance\": 1e-4}"}};
    char policy[80];
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (cn_text_is(setup, named[i][0])) return bench_open_json(bench, named[i][1]);
    snprintf(policy, sizeof policy, "{\"policy\": \"%.*s\"}", TEXT(setup));
    return bench_open_json(bench, policy);
}

static inline void bench_close(struct bench *bench)
{
    cn_arena_free(&bench->arena);
    cn_arena_free(&bench->arena_rows);
}

static inline enum cn_status bench_score(struct bench *bench, struct cn_text gold,
                                         struct cn_text reply, struct cn_outcome *out)
{
    const struct cn_episode episode = {
        .response = reply, .ground_truth = gold, .stop = CN_STOP_EOS};
    return bench->reward->score(bench->settings, &episode, 1, &bench->arena_rows, out);
}

static inline bool math_is_here(void)
{
    struct bench bench;
    const char *fault;
    bool here =
        bench_open_json(&bench, "{}") == CN_OK &&
        bench.reward->check_gold(bench.settings, cn_text("1"), &bench.arena, &fault) == CN_OK;
    if (!here) printf("SKIPPED: %s\n", cn_fail_message());
    bench_close(&bench);
    return here;
}

/* `form` with every %s replaced by `text`. */
static inline void rewrite(char *out, size_t size, const char *form, const char *text)
{
    size_t n = 0;
    for (; *form && n + 1 < size; form++) {
        if (form[0] == '%' && form[1] == 's') {
            n += (size_t)snprintf(out + n, size - n, "%s", text);
            form++;
        } else {
            out[n++] = *form;
        }
    }
    out[n < size ? n : size - 1] = 0;
}

#endif
