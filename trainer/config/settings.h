/* The trainer's own settings: one struct and one option table per section of the configuration.
 * Sections of plug-ins (algorithm, entropy, env, rewards) belong to their plug-ins. */
#ifndef CARNOT_SETTINGS_H
#define CARNOT_SETTINGS_H

#include "carnot/option.h"
#include "carnot/service.h"

enum { SETTINGS_RESUME_AUTO, SETTINGS_RESUME_NEVER };
enum { SETTINGS_OVER_LONG_DROP, SETTINGS_OVER_LONG_ERROR };
enum { SETTINGS_SCHEDULE_CONSTANT, SETTINGS_SCHEDULE_LINEAR, SETTINGS_SCHEDULE_COSINE };
enum { SETTINGS_TOKENS_NONE, SETTINGS_TOKENS_ALL };
enum {
    SETTINGS_FAULT_NONE,
    SETTINGS_FAULT_SKIP,
    SETTINGS_FAULT_STALL,
    SETTINGS_FAULT_LOCAL_MEAN,
    SETTINGS_FAULT_SLOW
};
enum { SETTINGS_ENGINE_AUTO, SETTINGS_ENGINE_DECODE, SETTINGS_ENGINE_TORCH };

struct run_settings {
    const char *dir, *name, *device, *resume;
    int64_t seed;
    bool deterministic, force;
    double max_hours;
};

struct train_settings {
    int64_t steps, prompts, samples, mini_batches, epochs;
    double temperature;
};

struct model_settings {
    const char *type, *path, *dtype;
    const struct cn_json *init, *frozen;
};

enum { SETTINGS_CRITIC_HEAD, SETTINGS_CRITIC_MODEL };

struct critic_settings {
    int type;
    const char *path;
};

struct data_settings {
    const struct cn_json *train, *eval;
    int64_t max_prompt_tokens;
    int over_long;
    const char *template_name, *system;
};

struct rollout_settings {
    int64_t max_tokens, top_k, slots;
    double temperature, top_p, mismatch_stop;
    struct cn_texts stop;
    int engine;
    bool ignore_eos;
};

struct optimizer_settings {
    int type, schedule;
    double lr, min_lr, epsilon, weight_decay, clip_norm;
    int64_t warmup_steps;
    struct cn_reals betas;
};

struct update_settings {
    int64_t atom_tokens, bad_steps_max;
    bool checkpoint_activations;
};

struct parallel_settings {
    int64_t threads, rollout_ranks, max_staleness;
    bool oversubscribe, shard_optimizer;
    double timeout_s;
    int fault;
};

struct eval_settings {
    int64_t every, samples, top_k;
    struct cn_reals k;
    double temperature, top_p;
    const char *keep_best;
};

struct checkpoint_settings {
    int64_t every, keep, keep_every;
};

struct record_settings {
    int tokens;
    int64_t every, samples;
};

/* Supervised training: all of `carnot sft`, and the warm start of `carnot train`, which validates
 * nothing (validation and every are 0). */
struct supervised_settings {
    int64_t steps, rows;
    double lr;
    int64_t warmup_steps;
    double validation;
    int64_t every;
};

/* name (of the section, its member and its option table), struct prefix, what it is about */
#define SETTINGS_SECTIONS(X)                                                                       \
    X(run, run, "the run: folder, seed, device")                                                   \
    X(train, train, "how many steps, prompts, samples")                                            \
    X(model, model, "which weights")                                                               \
    X(data, data, "rows to train on and to evaluate on")                                           \
    X(rollout, rollout, "how answers are sampled")                                                 \
    X(optimizer, optimizer, "how weights change")                                                  \
    X(critic, critic, "what gives values, if the algorithm has a critic")                          \
    X(critic_optimizer, optimizer, "how the critic's weights change")                              \
    X(update, update, "how a step is computed")                                                    \
    X(parallel, parallel, "ranks and threads")                                                     \
    X(eval, eval, "when and how the policy is evaluated")                                          \
    X(checkpoint, checkpoint, "when and how many checkpoints are kept")                            \
    X(record, record, "what is written about every token")                                         \
    X(warm_start, supervised, "supervised steps before reinforcement")                             \
    X(sft, supervised, "supervised fine-tuning (carnot sft)")                                      \
    X(service, cn_service, "the reward service: where answers are scored, and how it listens")

struct settings {
#define X(name, type, text) struct type##_settings name;
    SETTINGS_SECTIONS(X)
#undef X
};

/* What the list says about a section. */
struct settings_section {
    const char *name, *summary;
    const struct cn_option *options;
    size_t offset; /* in struct settings */
};
extern const struct settings_section settings_sections[]; /* ends with a NULL name */

/* ---- settings_lists.c: what stands inside JSON options; texts live in `arena`, items of *out too.
 * Each fails with CN_ERR_CONFIG naming the place, the nearest known key, or the range ---- */

/* An item of data.train: an object, or the path alone. */
struct settings_train_file {
    const char *path;
    double weight;
};
enum cn_status settings_train_files(const struct data_settings *data, struct cn_arena *arena,
                                    struct settings_train_file **out, size_t *n);

/* An item of data.eval; names are fit for metrics and files, and differ. */
struct settings_eval_set {
    const char *name, *path; /* path: NULL for generated tasks */
    int64_t tasks;           /* 0: all rows, or the default number of generated tasks */
};
enum cn_status settings_eval_sets(const struct data_settings *data, struct cn_arena *arena,
                                  struct settings_eval_set **out, size_t *n);

/* The members of model.frozen. */
struct settings_frozen {
    const char *reference; /* folder; NULL: the weights that reinforcement starts from */
    int64_t replace_every; /* rollout steps after which it becomes the policy of then; 0: never */
};
enum cn_status settings_frozen(const struct model_settings *model, struct cn_arena *arena,
                               struct settings_frozen *out);

/* Reads every section of the merged configuration tree.  Texts live in `arena`, JSON values as long
 * as `root`. Fails: CN_ERR_CONFIG, also for sections that contradict each other. */
enum cn_status settings_read(const struct cn_json *root, struct cn_arena *arena,
                             struct settings *out);

#endif
