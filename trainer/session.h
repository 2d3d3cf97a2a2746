/* What a command works with: configuration, plug-ins, tokenizer, model, sampler, tasks; opened in
 * this order, closed in the reverse one.  Each command opens as much as it needs. */
#ifndef CARNOT_SESSION_H
#define CARNOT_SESSION_H

#include "core/config.h"
#include "evaluate.h"
#include "ranks/gradient_sum.h"
#include "ranks/roles.h"
#include "scoring/scorer.h"
#include "config/settings.h"
#include "tasks.h"

#include "carnot/algorithm.h"
#include "carnot/env.h"
#include "carnot/model.h"

struct session {
    struct cn_arena arena; /* lives as long as the session */
    struct cn_comm *comm;  /* the ranks of this run (ranks.h); NULL: one */
    struct roles roles;    /* what they do: all the same, but for carnot train */
    struct config *config;
    struct settings settings;
    struct cn_recipe recipe;
    struct scoring scoring;
    struct scorer *scorer;
    const struct cn_env *env;
    const void *env_settings;
    struct cn_str resolved; /* config.resolved.json */
    struct cn_str service;  /* the part of it that a reward service reads */
    struct cn_tokenizer *tokenizer;
    struct cn_token_facts facts; /* of its ids; empty unless recipe.needs_facts */
    struct cn_model *model;
    struct cn_model *critic;               /* gives values; NULL: none, or a head on `model` */
    struct gradient_sum *sum, *critic_sum; /* of trainable models */
    struct cn_sampler *sampler;
    struct cn_data *train_data;
    struct tasks *train;
    struct eval_set *sets;
    size_t n_sets;
    bool supervised; /* answers are learned: tasks must fit the model's context with them */
    const struct session_folder *folder; /* of session_open_folder */
    size_t context;                      /* of session_need_sampler's sampler */
};

/* Reads configuration files and overrides; `session` is zeroed first.  Cheap: nothing of the model
 * is touched. Fails: CN_ERR_CONFIG, CN_ERR_IO. */
enum cn_status session_configure(struct session *session, int argc, char **argv);

/* Opens what scores answers.  Before the model, while the process is small and has one thread: a
 * service of our own is forked from it.  Fails: CN_ERR_CONFIG, CN_ERR_VERIFIER. */
enum cn_status session_open_scorer(struct session *session);

/* Opens tokenizer and model; trainable: with optimizer, and a value head if the algorithm needs one
 * there.  Fails: CN_ERR_MODEL, CN_ERR_DATA (a tokenizer that does not fit the embedding),
 * CN_ERR_CONFIG. */
enum cn_status session_open_model(struct session *session, bool trainable);

/* Fails with CN_ERR_DATA if the tokenizer has ids that the model's embedding lacks. */
enum cn_status session_check_fit(const struct session *session);

/* Whether a second model gives values. */
bool session_has_critic(const struct session *session);

/* Opens that model: critic.path, else `start` (a folder of the policy's weights), else what the
 * policy was opened from.  Fails: CN_ERR_MODEL, CN_ERR_CONFIG for another vocabulary than the
 * policy's. */
enum cn_status session_open_critic(struct session *session, const char *start);

/* Fails with CN_ERR_CONFIG, naming `key`, if the tokenizer in a model's folder is not the policy's:
 * other ids, or other texts.  A folder without tokenizer.json is taken on trust. */
enum cn_status session_check_vocabulary(const struct session *session, const char *key,
                                        const char *folder);

/* Fails: CN_ERR_CONFIG if data.max_prompt_tokens + rollout.max_tokens exceed the model's context. */
enum cn_status session_check_context(const struct session *session, size_t context);

/* Opens the sampler: rollout.slots + 1 slots of data.max_prompt_tokens + rollout.max_tokens.
 * Fails: as session_check_context. */
enum cn_status session_open_sampler(struct session *session);

/* Opens the tasks to train on, and the evaluation sets.  Needs the tokenizer. */
enum cn_status session_open_train(struct session *session);
enum cn_status session_open_sets(struct session *session);

/* Closes everything that is open. */
void session_close(struct session *session);

/* The dtype that model.dtype names.  Fails: CN_ERR_CONFIG. */
enum cn_status session_dtype(const struct session *session, enum cn_dtype *out);

/* ---- session_folder.c: commands that take a model's folder instead of a configuration (sample,
 * score) ---- */

/* Flags that they share. */
struct session_folder {
    const char *device, *dtype, *template_name;
    int64_t threads;
};

// clang-format off
/* Rows of an option table for the member `folder` of a command's settings. */
#define SESSION_FOLDER_OPTIONS(type)                                                               \
    {.name = "threads", .offset = offsetof(type, folder.threads), .kind = CN_OPTION_INT, .minimum = 0, .maximum = 4096, .fallback = "0", .help = "0: cores of the affinity mask"}, \
    {.name = "device", .offset = offsetof(type, folder.device), .kind = CN_OPTION_TEXT, .fallback = "\"cpu\"", .help = "cpu or cuda"}, \
    {.name = "dtype", .offset = offsetof(type, folder.dtype), .kind = CN_OPTION_TEXT, .fallback = "\"f32\"", .help = "f32 or bf16"}, \
    {.name = "template", .offset = offsetof(type, folder.template_name), .kind = CN_OPTION_TEXT, .fallback = "\"auto\"", .help = "chat template"}
// clang-format on

/* Whether the folder of a model is there: `key` is what named it ("model.path").  Fails:
 * CN_ERR_DATA saying what stands there instead.  Not collective. */
enum cn_status session_check_folder(const char *key, const char *folder);

struct session_call {
    const char *command;
    bool needs_no_text;                  /* a folder without tokenizer.json will do */
    const struct cn_option *options;     /* with SESSION_FOLDER_OPTIONS */
    void *settings;                      /* read by `options` */
    const struct session_folder *folder; /* in `settings`; borrowed until session_close */
};

/* Reads argv = COMMAND MODEL [flags] into call->settings and opens tokenizer (NULL if the folder has
 * none and need have none) and model.  Fails: CN_ERR_CONFIG, and as session_open_model. */
enum cn_status session_open_folder(struct session *session, const struct session_call *call,
                                   int argc, char **argv);

/* A sampler of `slots` slots that holds sequences of `needed` tokens; grown by doubling, so that
 * its cache fits the rows.  `needed` is at most the model's context. */
enum cn_status session_need_sampler(struct session *session, enum cn_engine engine, size_t slots,
                                    size_t needed);

#endif
