/* A training step around the update, without rollouts: a fixed batch of groups whose rewards follow
 * from their tokens, scored, credited and trained on by any recipe, model and critic. */
#ifndef CARNOT_UPDATE_SCENE_H
#define CARNOT_UPDATE_SCENE_H

#include "carnot/algorithm.h"
#include "carnot/model.h"
#include "trainer/update.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { SCENE_GROUPS = 6, SCENE_SAMPLES = 4, SCENE_PROMPT = 5, SCENE_LENGTH = 24 };

struct scene_setup {
    const char *type, *init;         /* of the model: "table" or "torch" and its shape */
    const char *config;              /* sections train, update, optimizer ... as JSON; NULL: none */
    const char *algorithm, *entropy; /* as JSON; NULL: absent */
    bool second_model;               /* the critic is a model of its own */
    int threads;                     /* 0: 1 */
    bool checkpoint_activations;
};

struct scene {
    struct cn_arena arena, scratch;
    struct cn_json *root, *init;
    struct settings settings;
    struct cn_recipe recipe;
    struct cn_model *model, *critic;
    struct gradient_sum *sum, *critic_sum;
    struct cn_batch batch;
    struct update update;
    struct cn_metrics metrics;
    struct cn_counts counts[CN_PART_COUNT];
    uint64_t step;
    uint8_t drop; /* enum cn_drop of every sequence */
};

static inline enum cn_status scene_read(struct scene *s, const struct scene_setup *setup)
{
    struct cn_json *algorithm = NULL, *entropy = NULL;
    CN_TRY(cn_json_parse(cn_text(setup->config ? setup->config : "{}"), "config", &s->root));
    CN_TRY(cn_json_parse(cn_text(setup->init), "init", &s->init));
    CN_TRY(settings_read(s->root, &s->arena, &s->settings));
    if (setup->algorithm)
        CN_TRY(cn_json_parse_config(cn_text(setup->algorithm), "algorithm", &algorithm));
    if (setup->entropy) CN_TRY(cn_json_parse_config(cn_text(setup->entropy), "entropy", &entropy));
    enum cn_status status = cn_recipe_read(algorithm, entropy, &s->arena, &s->recipe);
    cn_json_close(algorithm);
    cn_json_close(entropy);
    return status;
}

static inline enum cn_status scene_models(struct scene *s, const struct scene_setup *setup)
{
    const bool values = s->recipe.needs_live & CN_LIVE_BIT(value);
    struct cn_model_settings settings = {.type = setup->type,
                                         .init = s->init,
                                         .device = "cpu",
                                         .dtype = CN_DTYPE_F32,
                                         .threads = setup->threads ? setup->threads : 1,
                                         .checkpoint_activations = setup->checkpoint_activations,
                                         .trainable = true,
                                         .value_head = values && !setup->second_model,
                                         .seed = 3};
    CN_TRY(cn_model_open(&settings, &s->model));
    struct gradient_sum_options sum = {.model = s->model, .threads = 1, .exact = true};
    CN_TRY(gradient_sum_open(&sum, &s->sum));
    if (!setup->second_model) return CN_OK;
    settings.value_head = true;
    CN_TRY(cn_model_open(&settings, &s->critic));
    sum.model = s->critic;
    return gradient_sum_open(&sum, &s->critic_sum);
}

/* Answers of 1 to 19 tokens; the reward is 1 if the first one is small. */
static inline enum cn_status scene_batch(struct scene *s)
{
    enum { N = SCENE_GROUPS * SCENE_SAMPLES };
    const int32_t vocab = (int32_t)cn_model_info(s->model)->vocab_size;
    size_t lengths[N];
    for (size_t q = 0; q < N; q++)
        lengths[q] = SCENE_PROMPT + 1 + (q * 7) % (SCENE_LENGTH - SCENE_PROMPT);
    CN_TRY(cn_batch_init(&s->batch, &s->arena, lengths, N));
    struct cn_batch *b = &s->batch;
    for (size_t q = 0; q < N; q++) {
        b->group[q] = (uint32_t)(q / SCENE_SAMPLES);
        b->prompt[q] = q / SCENE_SAMPLES;
        b->sample[q] = (uint32_t)(q % SCENE_SAMPLES);
        b->stop[q] = CN_STOP_EOS;
        for (size_t i = 0; i < lengths[q]; i++) {
            const size_t t = b->seq_start[q] + i;
            const bool prompt = i < SCENE_PROMPT;
            b->token[t] = (int32_t)(prompt ? q / SCENE_SAMPLES * 3 + i : t * 5 + q) % vocab;
            b->role[t] = prompt ? CN_ROLE_PROMPT : CN_ROLE_POLICY;
            b->logp_sampled[t] = -2;
            b->entropy_sampled[t] = 1;
        }
        b->score[q] = b->token[b->seq_start[q] + SCENE_PROMPT] < vocab / 2;
    }
    return CN_OK;
}

static inline enum cn_status scene_open(struct scene *s, const struct scene_setup *setup)
{
    memset(s, 0, sizeof *s);
    cn_arena_init(&s->arena);
    cn_arena_init(&s->scratch);
    CN_TRY(scene_read(s, setup));
    CN_TRY(scene_models(s, setup));
    CN_TRY(scene_batch(s));
    s->update = (struct update){.settings = &s->settings,
                                .recipe = &s->recipe,
                                .model = s->model,
                                .critic = s->critic,
                                .sum = s->sum,
                                .critic_sum = s->critic_sum,
                                .reference = -1,
                                .last = -1};
    return CN_OK;
}

static inline void scene_close(struct scene *s)
{
    gradient_sum_close(s->critic_sum);
    gradient_sum_close(s->sum);
    cn_model_close(s->critic);
    cn_model_close(s->model);
    cn_json_close(s->root);
    cn_json_close(s->init);
    cn_arena_free(&s->arena);
    cn_arena_free(&s->scratch);
}

/* One rollout step on the same answers, everything after the rewards anew. */
static inline enum cn_status scene_step(struct scene *s)
{
    const struct update_rates rates = {s->settings.optimizer.lr, s->settings.critic_optimizer.lr};
    struct update_times times = {.score = 0};
    struct cn_batch *b = &s->batch;
    cn_arena_reset(&s->scratch);
    cn_metrics_init(&s->metrics, &s->arena);
    struct cn_loss_call call = {.recipe = &s->recipe,
                                .seed = 1,
                                .step = ++s->step,
                                .counts = s->counts,
                                .ranks = &cn_reduce_alone,
                                .scratch = &s->scratch,
                                .metrics = &s->metrics};
    b->written = 0;
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage <= CN_STAGE_REWARD && c != CN_COLUMN_token_reward)
            b->written |= CN_BIT(c);
    for (size_t q = 0; q < b->n_sequences; q++) {
        b->reward[q] = b->score[q];
        b->drop[q] = s->drop;
    }
    CN_TRY(update_score(&s->update, b, &s->scratch));
    CN_TRY(cn_loss_count(b, cn_batch_all(b), (double)s->settings.rollout.max_tokens, call.ranks,
                         &s->scratch, s->counts));
    CN_TRY(cn_loss_shape_reward(&call, b));
    CN_TRY(cn_loss_advantage(&call, b));
    return update_policy(&s->update, &call, b, &rates, &times);
}

/* One number for all weights of a model, its value head included. */
static inline uint64_t scene_hash(struct cn_model *model)
{
    const struct cn_buffer *weights;
    uint64_t hash = 0xCBF29CE484222325u;
    size_t n;
    if (!model || cn_model_weights(model, &weights, &n) != CN_OK) return 0;
    for (size_t k = 0; k < n; k++)
        for (size_t i = 0; i < weights[k].count * sizeof(float); i++)
            hash = (hash ^ ((const unsigned char *)weights[k].data)[i]) * 0x100000001B3u;
    return hash;
}

#endif
