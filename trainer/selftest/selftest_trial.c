/* The batch of the self-test. */
#include "selftest_trial.h"

#include <math.h>
#include <string.h>

enum { PROMPT = 2, CHANNELS = CN_CHANNEL_COUNT };

static const struct {
    uint32_t group;
    enum cn_part part;
} kinds[TRIAL_SEQUENCES] = {
    {0, CN_PART_MAIN},      {0, CN_PART_MAIN},     {0, CN_PART_MAIN},      {0, CN_PART_MAIN},
    {1, CN_PART_MAIN},      {1, CN_PART_MAIN},     {1, CN_PART_MAIN},      {1, CN_PART_MAIN},
    {2, CN_PART_MAIN},      {2, CN_PART_MAIN},     {3, CN_PART_AUXILIARY}, {3, CN_PART_AUXILIARY},
    {3, CN_PART_AUXILIARY}, {0, CN_PART_BASELINE}, {1, CN_PART_BASELINE},  {0, CN_PART_VIEW},
    {0, CN_PART_VIEW},      {4, CN_PART_REPLAY},   {4, CN_PART_REPLAY}};

/* Log-ratios of new and old policy that occur: none within 1e-3 of a usual bound. */
static const double moves[] = {0.07, -0.11, 0.33, -0.47, 1.21, 0.16, -0.05, 0.52, -1.13, 0.02};

static size_t length_of(size_t sequence)
{
    return PROMPT + 1 + (sequence * 5 + 3) % 6;
}

static bool is_environment(size_t sequence, size_t place)
{
    return place == PROMPT + 1 && sequence % 3 == 1;
}

static enum cn_status allocate(struct trial *t)
{
    for (int c = 0; c < CHANNELS; c++) {
        CN_TRY(CN_NEW(&t->arena, t->batch.n_tokens, &t->channel[c]));
        CN_TRY(CN_NEW(&t->arena, t->batch.n_tokens, &t->frozen[c]));
        CN_TRY(CN_NEW(&t->arena, t->batch.n_tokens, &t->d_channel[c]));
    }
    CN_TRY(CN_NEW(&t->arena, t->batch.n_sequences, &t->reward));
    CN_TRY(CN_NEW(&t->arena, t->batch.n_sequences, &t->drop));
#define X(name, text)                                                                              \
    t->live.name = t->channel[CN_CHANNEL_##name];                                                  \
    t->frozen_live.name = t->frozen[CN_CHANNEL_##name];                                            \
    t->grad.d_##name = t->d_channel[CN_CHANNEL_##name];
    CN_LIVE(X)
#undef X
    return CN_OK;
}

static void fill_token(struct trial *trial, struct cn_rng *rng, size_t t, size_t place,
                       double scale)
{
    struct cn_batch *b = &trial->batch;
    b->token[t] = (int32_t)cn_rng_below(rng, 3);
    b->logp_old[t] = -0.1 - 2.5 * cn_rng_uniform(rng);
    b->logp_sampled[t] = b->logp_old[t] + 2.2 * (cn_rng_uniform(rng) - 0.5);
    b->logp_ref[t] = b->logp_old[t] + 0.9 * (cn_rng_uniform(rng) - 0.4);
    b->logp_anchor[t] = b->logp_old[t] + 0.9 * (cn_rng_uniform(rng) - 0.5);
    b->entropy_old[t] = 0.1 + 2 * cn_rng_uniform(rng);
    b->entropy_top_old[t] = 0.6 * b->entropy_old[t];
    b->entropy_sampled[t] = b->entropy_old[t];
    b->value_old[t] = cn_rng_uniform(rng);
    double move = moves[cn_rng_below(rng, sizeof moves / sizeof *moves)] +
                  1e-3 * (double)place / 64 + 2e-4 * cn_rng_uniform(rng);
    trial->channel[CN_CHANNEL_logp][t] = b->logp_old[t] + scale * move;
    trial->channel[CN_CHANNEL_entropy][t] = b->entropy_old[t] * (0.8 + 0.4 * cn_rng_uniform(rng));
    trial->channel[CN_CHANNEL_entropy_top][t] = 0.7 * trial->channel[CN_CHANNEL_entropy][t];
    trial->channel[CN_CHANNEL_value][t] = b->value_old[t] + 0.9 * (cn_rng_uniform(rng) - 0.5);
}

/* Sequence number `made` of the self-test, at place s of the batch. */
static void fill_sequence(struct trial *trial, size_t s, size_t made)
{
    struct cn_batch *b = &trial->batch;
    struct cn_rng rng;
    const bool still = kinds[made].part == CN_PART_MAIN && made % 4 == 3;
    cn_rng_open(&rng, cn_rng_key(2026, 0, CN_RNG_TEST), made, 0, 0);
    b->group[s] = kinds[made].group;
    b->part[s] = (uint8_t)kinds[made].part;
    b->prompt[s] = b->group[s];
    b->sample[s] = (uint32_t)(made % 4);
    b->answer[s] = (uint32_t)(made % 3); /* 0: none was extracted */
    b->branch_at[s] = PROMPT;
    b->temperature[s] = 1;
    b->stop[s] = made == 5 ? CN_STOP_LENGTH : CN_STOP_EOS;
    b->score[s] = b->group[s] == 2 ? 1 : (double)((made * 7 + 2) % 4) / 3;
    trial->reward[s] = b->score[s] + (b->group[s] == 2 ? 0 : 0.1 * (double)((made + 1) % 3));
    trial->drop[s] = made == 6                              ? CN_DROP_STALE
                     : kinds[made].part == CN_PART_BASELINE ? CN_DROP_BASELINE
                                                            : CN_DROP_NONE;
    for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
        size_t place = t - b->seq_start[s];
        b->role[t] = place < PROMPT                ? CN_ROLE_PROMPT
                     : is_environment(made, place) ? CN_ROLE_ENVIRONMENT
                                                   : CN_ROLE_POLICY;
        fill_token(trial, &rng, t, place, still ? 2e-4 : 1);
    }
}

/* The tokens 0 to 2 that occur: text, a special one, a short one. */
static const uint8_t token_bits[] = {0, CN_TOKEN_SPECIAL, CN_TOKEN_SHORT};

enum cn_status trial_open(struct trial *trial, const size_t *order)
{
    size_t length[TRIAL_SEQUENCES];
    memset(trial, 0, sizeof *trial);
    cn_arena_init(&trial->arena);
    cn_arena_init(&trial->recipes);
    cn_arena_init(&trial->scratch);
    for (size_t s = 0; s < TRIAL_SEQUENCES; s++)
        length[s] = length_of(order ? order[s] : s);
    CN_TRY(cn_batch_init(&trial->batch, &trial->arena, length, TRIAL_SEQUENCES));
    CN_TRY(allocate(trial));
    for (size_t s = 0; s < TRIAL_SEQUENCES; s++)
        fill_sequence(trial, s, order ? order[s] : s);
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage <= CN_STAGE_SCORE) trial->batch.written |= CN_BIT(c);
    trial->length_max = 6;
    trial->atom = TRIAL_SEQUENCES;
    trial->call = (struct cn_loss_call){.recipe = &trial->recipe,
                                        .counts = trial->counts,
                                        .ranks = &cn_reduce_alone,
                                        .scratch = &trial->scratch,
                                        .facts = {token_bits, sizeof token_bits},
                                        .metrics = &trial->metrics,
                                        .atoms = &trial->spans,
                                        .frozen = &trial->frozen_live};
    return CN_OK;
}

void trial_close(struct trial *trial)
{
    cn_arena_free(&trial->arena);
    cn_arena_free(&trial->recipes);
    cn_arena_free(&trial->scratch);
}

enum cn_status trial_recipe(struct trial *trial, const char *algorithm, const char *entropy)
{
    struct cn_json *a = NULL, *e = NULL;
    enum cn_status status = CN_OK;
    cn_arena_reset(&trial->recipes);
    if (algorithm) status = cn_json_parse(cn_text(algorithm), "algorithm", &a);
    if (status == CN_OK && entropy) status = cn_json_parse(cn_text(entropy), "entropy", &e);
    if (status == CN_OK) status = cn_recipe_read(a, e, &trial->recipes, &trial->recipe);
    cn_json_close(a);
    cn_json_close(e);
    return status;
}

static enum cn_status count(struct trial *trial)
{
    return cn_loss_count(&trial->batch, cn_batch_all(&trial->batch), trial->length_max,
                         trial->call.ranks, &trial->scratch, trial->counts);
}

/* Rewards and drops as made, no metrics. */
static void restore(struct trial *trial)
{
    struct cn_batch *b = &trial->batch;
    cn_arena_reset(&trial->scratch);
    cn_metrics_init(&trial->metrics, &trial->recipes);
    memcpy(b->reward, trial->reward, b->n_sequences * sizeof *b->reward);
    memcpy(b->drop, trial->drop, b->n_sequences * sizeof *b->drop);
    for (size_t t = 0; t < b->n_tokens; t++)
        b->token_reward[t] = 0;
}

enum cn_status trial_prepare(struct trial *trial)
{
    struct cn_batch *b = &trial->batch;
    restore(trial);
    for (int c = 0; c < CHANNELS; c++)
        memcpy(trial->frozen[c], trial->channel[c], b->n_tokens * sizeof(double));
    for (size_t s = trial->spans.count = 0; s < TRIAL_SEQUENCES; s += trial->atom) {
        size_t end = s + trial->atom < TRIAL_SEQUENCES ? s + trial->atom : TRIAL_SEQUENCES;
        trial->span[trial->spans.count++] = (struct cn_span){s, end};
    }
    trial->spans.item = trial->span;
    CN_TRY(count(trial));
    CN_TRY(cn_loss_shape_reward(&trial->call, b));
    CN_TRY(cn_loss_advantage(&trial->call, b));
    CN_TRY(count(trial));
    return cn_loss_prepare(&trial->call, b, cn_batch_all(b),
                           trial->recipe.prepare_live ? &trial->live : NULL);
}

enum cn_status trial_loss(struct trial *trial)
{
    trial->grad.loss = 0;
    for (size_t a = 0; a < trial->spans.count; a++)
        CN_TRY(
            cn_loss_atom(&trial->call, &trial->batch, trial->span[a], &trial->live, &trial->grad));
    return CN_OK;
}

void trial_poison(struct trial *trial)
{
    struct cn_batch *b = &trial->batch;
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
            if (b->role[t] == CN_ROLE_POLICY && trial->drop[s] == CN_DROP_NONE) continue;
            for (int c = 0; c < CN_COLUMN_COUNT; c++)
                if (cn_column_table[c].is_double && cn_column_table[c].per == CN_PER_TOKEN)
                    ((double *)cn_batch_column(b, (enum cn_column)c))[t] = NAN;
            for (int c = 0; c < CHANNELS; c++)
                trial->channel[c][t] = NAN;
        }
}

void trial_on_policy(struct trial *trial)
{
    const struct cn_batch *b = &trial->batch;
    memcpy(trial->channel[CN_CHANNEL_logp], b->logp_old, b->n_tokens * sizeof(double));
    memcpy(trial->channel[CN_CHANNEL_entropy], b->entropy_old, b->n_tokens * sizeof(double));
    memcpy(trial->channel[CN_CHANNEL_entropy_top], b->entropy_top_old,
           b->n_tokens * sizeof(double));
    memcpy(trial->channel[CN_CHANNEL_value], b->value_old, b->n_tokens * sizeof(double));
}

/* ---- signature ----------------------------------------------------------- */

static void mix(uint64_t *hash, const void *bytes, size_t n)
{
    const unsigned char *p = bytes;
    for (size_t i = 0; i < n; i++)
        *hash = (*hash ^ p[i]) * 0x100000001B3u; /* FNV-1a */
}

/* Rounds of planning on a batch in which no more spread appears, until nobody asks. */
static enum cn_status mix_rounds(struct trial *trial, uint64_t *hash)
{
    for (uint32_t round = 0; round < 12; round++) {
        struct cn_requests requests = {.arena = &trial->recipes};
        CN_TRY(cn_loss_plan(&trial->call, round, &trial->batch, &requests));
        mix(hash, &requests.count, sizeof requests.count);
        for (size_t i = 0; i < requests.count; i++) {
            const struct cn_request *q = &requests.item[i];
            mix(hash, &q->prompt, sizeof q->prompt);
            mix(hash, &q->sample, sizeof q->sample);
            mix(hash, &q->temperature, sizeof q->temperature);
            mix(hash, &q->parent, sizeof q->parent);
            mix(hash, &q->branch_at, sizeof q->branch_at);
            mix(hash, &q->own_text, sizeof q->own_text);
            mix(hash, &q->age, sizeof q->age);
        }
        if (round && !requests.count) break;
    }
    return CN_OK;
}

static void mix_batch(const struct trial *trial, uint64_t *hash)
{
    const struct cn_batch *b = &trial->batch;
    mix(hash, &trial->grad.loss, sizeof trial->grad.loss);
    for (int c = 0; c < CHANNELS; c++)
        mix(hash, trial->d_channel[c], b->n_tokens * sizeof(double));
    mix(hash, b->drop, b->n_sequences);
    mix(hash, b->advantage, b->n_tokens * sizeof *b->advantage);
    mix(hash, b->weight, b->n_tokens * sizeof *b->weight);
}

enum cn_status trial_signature(struct trial *trial, uint64_t *out)
{
    const struct cn_top *top = &trial->recipe.top;
    *out = 0xCBF29CE484222325u;
    mix(out, &top->form, sizeof top->form); /* what the model is asked for */
    mix(out, &top->amount, sizeof top->amount);
    mix(out, &top->renormalised, sizeof top->renormalised);
    mix(out, &trial->recipe.critic_warmup, sizeof trial->recipe.critic_warmup); /* who learns */
    trial->atom = 4; /* statistics of atoms differ from those of the step */
    for (uint64_t step = 0; step < 2; step++) {
        trial->call.step = step;
        restore(trial);
        CN_TRY(mix_rounds(trial, out));
        CN_TRY(trial_prepare(trial));
        CN_TRY(trial_loss(trial));
        mix_batch(trial, out);
        bool renew = false;
        struct cn_step_summary summary = {.reward = 0.5,
                                          .entropy = 1,
                                          .approx_kl = 0.01,
                                          .kl_ref = 0.1,
                                          .length = 4,
                                          .grad_norm = 1,
                                          .metrics = &trial->metrics,
                                          .renew_reference = &renew};
        CN_TRY(cn_loss_adapt(&trial->call, &summary));
        mix(out, &renew, sizeof renew);
    }
    trial->call.step = 0;
    trial->atom = TRIAL_SEQUENCES;
    return CN_OK;
}
