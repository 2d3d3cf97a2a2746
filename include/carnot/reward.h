/* Rewards: from finished episodes to scores and verdicts.  A verdict is never collapsed into a
 * number. */
#ifndef CARNOT_REWARD_H
#define CARNOT_REWARD_H

#include "carnot/batch.h"
#include "carnot/option.h"
#include "carnot/tokenizer.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A finished episode; everything is borrowed for the call. */
struct cn_episode {
    struct cn_messages prompt;  /* empty if the prompt was ready-made text */
    struct cn_text prompt_text; /* the rendered prompt */
    struct cn_text response; /* all that the policy said, end-of-turn tokens left out; any bytes */
    struct cn_text ground_truth; /* empty if there is none */
    struct cn_text row;          /* raw JSON of the data row; may be empty */
    size_t response_tokens, max_tokens;
    enum cn_stop stop;
    uint32_t group;
};

/* Reads an answer from a JSON object: response, ground_truth, prompt (text or messages), stop or
 * finish_reason, response_tokens, max_tokens; `row` is the object "row", or what else the object
 * holds.  Texts are borrowed from `object` or live in `arena`.
 * Fails: CN_ERR_DATA naming the member. */
enum cn_status cn_episode_read(const struct cn_json *object, struct cn_arena *arena,
                               struct cn_episode *out);

/* The same from its main parts, which another protocol calls otherwise. */
enum cn_status cn_episode_set(const struct cn_json *prompt, const struct cn_json *response,
                              const struct cn_json *ground_truth, struct cn_arena *arena,
                              struct cn_episode *out);

/* A further number that a reward reports, shown as reward/<reward>/<name>. */
struct cn_named {
    const char *name;
    double value;
};

enum { CN_OUTCOME_METRICS_MAX = 7 };

struct cn_outcome {
    double score;   /* meaningless unless has_score */
    bool has_score; /* false: infrastructure or bad gold; the sequence is masked, not scored 0 */
    enum cn_verdict verdict;
    struct cn_text
        extracted; /* the answer found: part of the response, or text in the arena; may be empty */
    struct cn_named metric[CN_OUTCOME_METRICS_MAX];
    size_t n_metrics;
    const char *gold_type,
        *tier;    /* how it was decided; constants; NULL if the reward does not say */
    uint32_t ops; /* primitive operations that took */
};

/* What the episodes of one call are: one or several that do not depend on each other, all of a
 * group, or all of a step. */
enum cn_scope { CN_SCOPE_EPISODE, CN_SCOPE_GROUP, CN_SCOPE_STEP };

/* Deterministic: the same episodes give the same outcomes. */
struct cn_reward {
    const char *name, *summary, *reference;
    const struct cn_option *options;
    size_t settings_size;
    enum cn_scope scope;
    bool needs_ground_truth;
    bool starts_programs; /* needs fork and exec: a worker that scores with it is not confined */

    /* Optional: checks the options together and prepares what `score` uses; the fields of the
     * settings that no option fills are its own.  Fails: CN_ERR_CONFIG. */
    enum cn_status (*open)(void *settings, struct cn_arena *arena);
    void (*close)(void *settings); /* required where `open` takes something */
    enum cn_status (*score)(const void *settings, const struct cn_episode *episodes, size_t n,
                            struct cn_arena *arena, struct cn_outcome *out);

    /* Optional: whether a known answer can be graded, asked for every row when data are loaded.
     * *fault is NULL, or says why not: a constant or text in the arena.  Fails: CN_ERR_CONFIG if
     * this build or machine cannot grade at all. */
    enum cn_status (*check_gold)(const void *settings, struct cn_text ground_truth,
                                 struct cn_arena *arena, const char **fault);

    /* Optional: measures itself and logs a row for each number (carnot bench rewards).  `folder`
     * holds the answers that tests use (tests/data). */
    enum cn_status (*bench)(const char *folder);
};

// clang-format off
/* Keys that every reward understands: what a verdict other than correct and wrong is worth, "mask", "zero" or a number.  Without
 * the key the reward decides: nothing (masked) where infrastructure or the data failed, else what it pays for a wrong answer. */
#define CN_WORTHS(X)                                                                                               \
    X(no_answer, NO_ANSWER, "no answer is found") X(unparsable, UNPARSABLE, "the answer cannot be read")           \
    X(bad_gold, BAD_GOLD, "the known answer cannot be graded") X(too_large, TOO_LARGE, "the answer exceeds a limit of size") \
    X(budget, BUDGET, "grading it takes too many operations, or too much memory") X(timeout, TIMEOUT, "grading it takes too long") \
    X(crashed, CRASHED, "what grades it dies") X(truncated, TRUNCATED, "the reply was cut off before a complete answer") \
    X(unscored, UNSCORED, "the reward gives no score")
// clang-format on

extern const struct cn_reward *const cn_rewards[]; /* NULL-terminated */
const struct cn_reward *cn_reward_find(const char *name);

/* A reward of a configuration: an object with "type", or a name alone.  `path` ("rewards.0") goes
 * into messages; members named in `ours` (NULL-terminated, with "type", at most 7) belong to the
 * caller.
 * Settings live in `arena`; give them to cn_reward_close.  Fails: CN_ERR_CONFIG, also for what this
 * build or machine cannot run. */
struct cn_worth {
    bool given, mask; /* neither: what the reward itself says */
    double score;
};
struct cn_reward_entry {
    const struct cn_reward *reward;
    void *settings;
    struct cn_worth worth[CN_VERDICT_COUNT];
};
enum cn_status cn_reward_open(const struct cn_json *node, const char *path, const char *const *ours,
                              struct cn_arena *arena, struct cn_reward_entry *out);
/* Scores as the reward does, then gives each verdict the worth that the entry says. */
enum cn_status cn_reward_score(const struct cn_reward_entry *entry,
                               const struct cn_episode *episodes, size_t n, struct cn_arena *arena,
                               struct cn_outcome *out);
void cn_reward_close(
    struct cn_reward_entry *entry); /* nothing happens to one that was not opened */

/* Whether programs can be isolated on this machine, as rewards that run them need it.  Fails:
 * CN_ERR_CONFIG saying why not, and what to do. */
enum cn_status cn_sandbox_check(void);

#ifdef __cplusplus
}
#endif
#endif
