/* What a command works with: configuration, plug-ins, tokenizer, model, sampler, tasks; opened in
 * this order, closed in the reverse one.  Each command opens as much as it needs. */
#ifndef CARNOT_SESSION_H
#define CARNOT_SESSION_H

#include "core/config.h"
#include "evaluate.h"
#include "scoring.h"
#include "settings.h"
#include "tasks.h"

#include "carnot/algorithm.h"
#include "carnot/env.h"
#include "carnot/model.h"

struct session {
    struct cn_arena arena; /* lives as long as the session */
    struct config *config;
    struct settings settings;
    struct cn_recipe recipe;
    struct scoring scoring;
    const struct cn_env *env;
    const void *env_settings;
    struct cn_str resolved; /* config.resolved.json */
    struct cn_tokenizer *tokenizer;
    struct cn_model *model;
    struct cn_sampler *sampler;
    struct cn_data *train_data;
    struct tasks *train;
    struct eval_set *sets;
    size_t n_sets;
};

/* Reads configuration files and overrides; `session` is zeroed first.  Cheap: nothing of the model
 * is touched. Fails: CN_ERR_CONFIG, CN_ERR_IO. */
enum cn_status session_configure(struct session *session, int argc, char **argv);

/* Opens tokenizer and model; trainable: with optimizer.  Fails: CN_ERR_MODEL, CN_ERR_DATA (a
 * tokenizer that does not fit the embedding), CN_ERR_CONFIG. */
enum cn_status session_open_model(struct session *session, bool trainable);

/* Opens the sampler: rollout.slots + 1 slots of data.max_prompt_tokens + rollout.max_tokens.
 * Fails: CN_ERR_CONFIG if that exceeds the model's context. */
enum cn_status session_open_sampler(struct session *session);

/* Opens the tasks to train on, and the evaluation sets.  Needs the tokenizer. */
enum cn_status session_open_train(struct session *session);
enum cn_status session_open_sets(struct session *session);

/* Closes everything that is open. */
void session_close(struct session *session);

/* The dtype that model.dtype names.  Fails: CN_ERR_CONFIG. */
enum cn_status session_dtype(const struct session *session, enum cn_dtype *out);

/* Commands that take a model's folder instead of a configuration (sample, score): opens tokenizer
 * and model. */
struct session_folder {
    const char *path, *dtype, *template_name;
    int threads;
};
enum cn_status session_open_folder(struct session *session, const struct session_folder *folder);

#endif
