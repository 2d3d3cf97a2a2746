/* Opens what a command works with. */
#include "session.h"

#include "config/schema.h"

#include "carnot/log.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static enum cn_status read_env(struct session *s)
{
    static const char *const ours[] = {"type", NULL};
    const struct cn_json *section = config_section(s->config, "env");
    const struct cn_json *type = cn_json_get(section, "type");
    const char *name = type ? cn_json_text(type).data : cn_envs[0]->name;
    void *settings;
    s->env = cn_env_find(name);
    if (!s->env)
        return cn_fail(CN_ERR_CONFIG,
                       "env.type: unknown environment \"%s\"; carnot config list "
                       "envs shows them",
                       name);
    CN_TRY(cn_arena_alloc(&s->arena, 1, s->env->settings_size + 1, &settings));
    CN_TRY(cn_option_read(s->env->options, section, "env", ours, &s->arena, settings));
    s->env_settings = settings;
    return CN_OK;
}

/* Facts of token ids are asked for, and every id of the policy's tokenizer has one. */
static enum cn_status refuse_facts(const struct session *s)
{
    const char *path = s->settings.model.path;
    return cn_fail(CN_ERR_CONFIG,
                   "%s passes over special tokens and tokens of one character, and %s%s has no "
                   "others: set model.path to a folder whose tokenizer.json has longer ones, or "
                   "leave that setting at its default",
                   s->recipe.needs_facts,
                   path ? "the tokenizer of model.path="
                        : "the built-in tokenizer, a byte a token,",
                   path ? path : "");
}

/* What is sampled must be what is trained. */
static enum cn_status check_sampling(const struct session *s)
{
    if (s->settings.rollout.top_p < 1 || s->settings.rollout.top_k > 0)
        return cn_fail(CN_ERR_CONFIG,
                       "rollout.top_p=%g and rollout.top_k=%lld: training samples from the full "
                       "distribution, because its log-probabilities are what is trained; truncate "
                       "in eval.top_p or eval.top_k only",
                       s->settings.rollout.top_p, (long long)s->settings.rollout.top_k);
    if ((size_t)s->settings.train.samples < s->recipe.group_minimum)
        return cn_fail(CN_ERR_CONFIG,
                       "train.samples=%lld: the advantage of algorithm %s compares answers to the "
                       "same prompt and needs at least %zu",
                       (long long)s->settings.train.samples, s->recipe.row->name,
                       s->recipe.group_minimum);
    if (s->recipe.needs_views && !s->env->view)
        return cn_fail(CN_ERR_CONFIG,
                       "%s asks every question in two wordings, and env.type=%s has only one: use "
                       "env.type=questions with rows that have a field \"paraphrase\"",
                       s->recipe.needs_views->name, s->env->name);
    if (s->recipe.needs_facts && !s->settings.model.path) return refuse_facts(s);
    if (s->recipe.branches)
        return cn_fail(CN_ERR_CONFIG,
                       "%s forks answers while they are sampled (hook `branch`), which this "
                       "version cannot: ask for continuations in `plan` instead (branch_at)",
                       s->recipe.branches->name);
    const struct cn_plugin *several = s->recipe.needs_updates;
    const int64_t updates = s->settings.train.mini_batches * s->settings.train.epochs;
    if (several && updates < (int64_t)several->updates_minimum)
        return cn_fail(CN_ERR_CONFIG,
                       "%s changes nothing with train.mini_batches x train.epochs = %lld optimizer "
                       "step%s per rollout, since new and old policy are the same at the first: "
                       "use train.mini_batches=%zu or more",
                       several->name, (long long)updates, updates == 1 ? "" : "s",
                       several->updates_minimum);
    return CN_OK;
}

enum cn_status session_configure(struct session *s, int argc, char **argv)
{
    memset(s, 0, sizeof *s);
    CN_TRY(config_open(schema_all(), (const char *const *)argv, (size_t)argc, &s->config));
    CN_TRY(settings_read(config_root(s->config), &s->arena, &s->settings));
    CN_TRY(cn_recipe_read(config_section(s->config, "algorithm"),
                          config_section(s->config, "entropy"), &s->arena, &s->recipe));
    CN_TRY(scoring_read(config_section(s->config, "rewards"), &s->arena, &s->scoring));
    CN_TRY(read_env(s));
    CN_TRY(config_print_resolved(s->config, &s->resolved));
    return check_sampling(s);
}

/* The sections that a service reads. */
static enum cn_status service_sections(const struct session *s, struct cn_str *out)
{
    static const char *const names[] = {"rewards", "service"};
    const char *before = "{";
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const struct cn_json *section = config_section(s->config, names[i]);
        if (cn_json_kind(section) == CN_JSON_NULL) continue;
        CN_TRY(cn_str_format(out, "%s\"%s\": ", before, names[i]));
        CN_TRY(cn_json_print(section, false, out));
        before = ", ";
    }
    return cn_str_add(out, out->length ? "}" : "{}");
}

enum cn_status session_open_scorer(struct session *s)
{
    CN_TRY(service_sections(s, &s->service));
    return scorer_open(&s->scoring, &s->settings.service, cn_str_text(&s->service), &s->scorer);
}

enum cn_status session_dtype(const struct session *s, enum cn_dtype *out)
{
    const char *name = s->settings.model.dtype;
    if (strcmp(name, "f32") == 0)
        *out = CN_DTYPE_F32;
    else if (strcmp(name, "bf16") == 0)
        *out = CN_DTYPE_BF16;
    else
        return cn_fail(CN_ERR_CONFIG, "model.dtype=\"%s\": choose f32 or bf16", name);
    return CN_OK;
}

static enum cn_status open_tokenizer(struct session *s)
{
    if (!s->settings.model.path) return cn_tokenizer_open_bytes(&s->tokenizer);
    CN_TRY(session_check_folder("model.path", s->settings.model.path));
    return cn_tokenizer_open(s->settings.model.path, s->settings.data.template_name, &s->tokenizer);
}

static enum cn_status open_facts(struct session *s)
{
    CN_TRY(cn_tokenizer_facts(s->tokenizer, &s->arena, &s->facts));
    for (size_t id = 0; id < s->facts.n; id++)
        if (!s->facts.bits[id]) return CN_OK;
    return refuse_facts(s);
}

enum cn_status session_check_fit(const struct session *s)
{
    size_t ids = cn_tokenizer_size(s->tokenizer), rows = cn_model_info(s->model)->vocab_size;
    if (ids > rows)
        return cn_fail(CN_ERR_DATA,
                       "the tokenizer has ids up to %zu, but the model's embedding has %zu rows: "
                       "tokenizer and weights are not of the same model",
                       ids - 1, rows);
    return CN_OK;
}

/* Whether the ranks share out the optimizer. */
static bool is_sharded(const struct session *s)
{
    return s->settings.parallel.shard_optimizer && s->roles.learns &&
           cn_comm_size(s->roles.side) > 1;
}

static enum cn_status open_sum(const struct session *s, struct cn_model *model,
                               struct gradient_sum **out)
{
    const int64_t threads = s->settings.parallel.threads;
    const struct gradient_sum_options options = {.model = model,
                                                 .comm = s->roles.side,
                                                 .threads = threads > 0 ? (size_t)threads : 1,
                                                 .exact = s->settings.run.deterministic,
                                                 .sharded = is_sharded(s)};
    return gradient_sum_open(&options, out);
}

static enum cn_status gather_shares(void *self, const struct cn_buffer *whole, const size_t *start)
{
    const struct cn_comm_data data = {whole->name, whole->dtype, whole->data, whole->count};
    return cn_comm_gather(self, &data, start);
}

/* Settings of a trained model, but for where it comes from. */
static enum cn_status training_model(const struct session *s, struct cn_model_settings *out)
{
    *out = (struct cn_model_settings){.type = s->settings.model.type,
                                      .device = s->settings.run.device,
                                      .gpu = cn_comm_local_rank(s->comm),
                                      .threads = (int)s->settings.parallel.threads,
                                      .checkpoint_activations =
                                          s->settings.update.checkpoint_activations,
                                      .seed = (uint64_t)s->settings.run.seed};
    if (is_sharded(s))
        out->shard = (struct cn_shard){.index = (size_t)cn_comm_rank(s->roles.side),
                                       .count = (size_t)cn_comm_size(s->roles.side),
                                       .gather = gather_shares,
                                       .self = s->roles.side};
    return session_dtype(s, &out->dtype);
}

static bool needs_values(const struct session *s)
{
    return s->recipe.needs_live & CN_LIVE_BIT(value);
}

bool session_has_critic(const struct session *s)
{
    return needs_values(s) && s->settings.critic.type == SETTINGS_CRITIC_MODEL;
}

enum cn_status session_open_model(struct session *s, bool trainable)
{
    struct cn_model_settings settings;
    CN_TRY(training_model(s, &settings));
    settings.path = s->settings.model.path;
    settings.init = s->settings.model.init;
    settings.trainable = trainable;
    settings.value_head = trainable && needs_values(s) && !session_has_critic(s);
    if (!settings.path && !settings.init)
        return cn_fail(CN_ERR_CONFIG,
                       "no model: set model.path=FOLDER (config.json, *.safetensors, "
                       "tokenizer.json), or model.init for a random start");
    CN_TRY(open_tokenizer(s));
    if (s->recipe.needs_facts) CN_TRY(open_facts(s));
    CN_TRY(cn_model_open(&settings, &s->model));
    if (trainable) CN_TRY(open_sum(s, s->model, &s->sum));
    return session_check_fit(s);
}

/* The first id that is another text in b than in a, or -1. */
static int32_t differing_id(const struct cn_tokenizer *a, const struct cn_tokenizer *b)
{
    struct cn_str x = {0}, y = {0};
    int32_t differing = -1;
    for (int32_t id = 0; (size_t)id < cn_tokenizer_size(a) && differing < 0; id++) {
        cn_str_clear(&x);
        cn_str_clear(&y);
        bool there = cn_tokenizer_decode(a, &id, 1, false, &x) == CN_OK;
        bool here = cn_tokenizer_decode(b, &id, 1, false, &y) == CN_OK;
        cn_fail_clear();
        if (there != here || x.length != y.length ||
            (x.length && memcmp(x.data, y.data, x.length) != 0))
            differing = id;
    }
    cn_str_free(&x);
    cn_str_free(&y);
    return differing;
}

enum cn_status session_check_vocabulary(const struct session *s, const char *key,
                                        const char *folder)
{
    struct cn_tokenizer *other;
    char path[4096];
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    if (access(path, R_OK) != 0) return CN_OK;
    CN_TRY(cn_tokenizer_open(folder, "plain", &other));
    const size_t ids = cn_tokenizer_size(other), own = cn_tokenizer_size(s->tokenizer);
    const int32_t differing = differing_id(s->tokenizer, other);
    cn_tokenizer_close(other);
    if (ids != own)
        return cn_fail(CN_ERR_CONFIG,
                       "%s=%s has a vocabulary of %zu tokens, the policy one of %zu: it is given "
                       "the policy's token ids, so it must be of the same tokenizer",
                       key, folder, ids, own);
    if (differing >= 0)
        return cn_fail(CN_ERR_CONFIG,
                       "%s=%s: token %d is another text there than in the policy's tokenizer: it "
                       "is given the policy's token ids, so it must be of the same tokenizer",
                       key, folder, (int)differing);
    return CN_OK;
}

enum cn_status session_open_critic(struct session *s, const char *start)
{
    struct cn_model_settings settings;
    const char *path = s->settings.critic.path ? s->settings.critic.path : start;
    CN_TRY(training_model(s, &settings));
    settings.path = path ? path : s->settings.model.path;
    settings.init = path ? NULL : s->settings.model.init;
    settings.trainable = settings.value_head = true;
    if (path) CN_TRY(session_check_folder("critic.path", path));
    if (path) CN_TRY(session_check_vocabulary(s, "critic.path", path));
    enum cn_status status = cn_model_open(&settings, &s->critic);
    if (status != CN_OK) return cn_fail_context(status, "the critic");
    CN_TRY(open_sum(s, s->critic, &s->critic_sum));
    size_t own = cn_model_info(s->critic)->vocab_size, policy = cn_model_info(s->model)->vocab_size;
    if (own < policy)
        return cn_fail(CN_ERR_CONFIG,
                       "critic.path=%s has embeddings of %zu tokens, the policy of %zu: it is "
                       "given the policy's token ids, so it must be of the same tokenizer",
                       settings.path, own, policy);
    return CN_OK;
}

enum cn_status session_check_context(const struct session *s, size_t context)
{
    const long long prompt = s->settings.data.max_prompt_tokens,
                    answer = s->settings.rollout.max_tokens;
    if ((size_t)(prompt + answer) <= context) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "data.max_prompt_tokens + rollout.max_tokens = %lld + %lld exceeds the model's "
                   "context of %zu tokens",
                   prompt, answer, context);
}

enum cn_status session_open_sampler(struct session *s)
{
    const struct rollout_settings *rollout = &s->settings.rollout;
    static const enum cn_engine engines[] = {[SETTINGS_ENGINE_AUTO] = CN_ENGINE_AUTO,
                                             [SETTINGS_ENGINE_DECODE] = CN_ENGINE_DECODE,
                                             [SETTINGS_ENGINE_TORCH] = CN_ENGINE_TORCH};
    const size_t needed = (size_t)s->settings.data.max_prompt_tokens + (size_t)rollout->max_tokens;
    CN_TRY(session_check_context(s, cn_model_info(s->model)->context_length));
    struct cn_sampler_settings settings = {.engine = engines[rollout->engine],
                                           .slots = (size_t)rollout->slots + 1,
                                           .context = needed,
                                           .threads = (int)s->settings.parallel.threads};
    CN_TRY(session_dtype(s, &settings.dtype));
    return cn_sampler_open(s->model, &settings, &s->sampler);
}

static struct tasks_setup tasks_setup_of(struct session *s, const struct cn_data *data,
                                         enum cn_split split)
{
    struct tasks_setup setup = {.env = s->env,
                                .env_settings = s->env_settings,
                                .tokenizer = s->tokenizer,
                                .data = data,
                                .limits = &s->settings.data,
                                .split = split,
                                .seed = (uint64_t)s->settings.run.seed,
                                .context =
                                    s->supervised ? cn_model_info(s->model)->context_length : 0,
                                .sequential = split == CN_SPLIT_HELD_OUT};
    return setup;
}

enum cn_status session_open_train(struct session *s)
{
    struct settings_train_file *files;
    const char **paths;
    double *weights;
    size_t n;
    CN_TRY(settings_train_files(&s->settings.data, &s->arena, &files, &n));
    CN_TRY(CN_NEW(&s->arena, n, &paths));
    CN_TRY(CN_NEW(&s->arena, n, &weights));
    for (size_t i = 0; i < n; i++) {
        paths[i] = files[i].path;
        weights[i] = files[i].weight;
    }
    if (n) CN_TRY(cn_data_open(paths, weights, n, s->settings.data.system, &s->train_data));
    if (n) CN_TRY(scoring_check_gold(&s->scoring, s->train_data));
    const struct tasks_setup setup = tasks_setup_of(s, s->train_data, CN_SPLIT_TRAIN);
    return tasks_open(&setup, &s->train);
}

enum { TASKS_DEFAULT = 256 };

static enum cn_status open_set(struct session *s, const struct settings_eval_set *entry,
                               struct eval_set *set)
{
    const double weight = 1;
    const char *const path = entry->path;
    const uint64_t limit = (uint64_t)entry->tasks;
    set->name = entry->name;
    if (path) CN_TRY(cn_data_open(&path, &weight, 1, s->settings.data.system, &set->data));
    if (path) CN_TRY(scoring_check_gold(&s->scoring, set->data));
    const struct tasks_setup setup = tasks_setup_of(s, set->data, CN_SPLIT_HELD_OUT);
    CN_TRY(tasks_open(&setup, &set->tasks));
    const uint64_t count = tasks_count(set->tasks);
    set->n_tasks = limit ? limit : count && count < TASKS_DEFAULT ? count : TASKS_DEFAULT;
    if (set->data && !limit) set->n_tasks = count;
    if (count && set->n_tasks > count) set->n_tasks = count;
    return CN_OK;
}

enum cn_status session_open_sets(struct session *s)
{
    static const struct settings_eval_set standard = {.name = "held_out"};
    struct settings_eval_set *entries;
    size_t n;
    CN_TRY(settings_eval_sets(&s->settings.data, &s->arena, &entries, &n));
    if (n == 0 && s->env->needs_data) return CN_OK;
    CN_TRY(CN_NEW(&s->arena, n ? n : 1, &s->sets));
    do { /* without entries: one set of generated tasks */
        const struct settings_eval_set *entry = n ? &entries[s->n_sets] : &standard;
        enum cn_status status = open_set(s, entry, &s->sets[s->n_sets]);
        s->n_sets++;
        if (status != CN_OK) return cn_fail_context(status, "data.eval.%zu", s->n_sets - 1);
    } while (s->n_sets < n);
    return CN_OK;
}

void session_close(struct session *s)
{
    scoring_close(&s->scoring);
    for (size_t i = 0; i < s->n_sets; i++) {
        tasks_close(s->sets[i].tasks);
        cn_data_close(s->sets[i].data);
    }
    tasks_close(s->train);
    cn_data_close(s->train_data);
    if (s->sampler) cn_sampler_close(s->sampler);
    gradient_sum_close(s->critic_sum);
    gradient_sum_close(s->sum);
    cn_model_close(s->critic);
    if (s->model) cn_model_close(s->model);
    if (s->tokenizer) cn_tokenizer_close(s->tokenizer);
    if (s->config) config_close(s->config);
    scorer_close(s->scorer);
    cn_str_free(&s->service);
    cn_str_free(&s->resolved);
    cn_arena_free(&s->arena);
    memset(s, 0, sizeof *s);
}
