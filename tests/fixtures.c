#include "fixtures.h"

#include "carnot/rng.h"

#include <math.h>
#include <string.h>

void fixture_open(struct fixture *f)
{
    memset(f, 0, sizeof *f);
    cn_arena_init(&f->arena);
    cn_arena_init(&f->scratch);
}

void fixture_close(struct fixture *f)
{
    cn_arena_free(&f->arena);
    cn_arena_free(&f->scratch);
}

/* Live arrays, gradients, metrics and the call of a fixture whose batch exists. */
static enum cn_status finish(struct fixture *f)
{
    for (int c = 0; c < CN_CHANNEL_COUNT; c++) {
        CN_TRY(CN_NEW(&f->arena, f->batch.n_tokens, &f->channel[c]));
        CN_TRY(CN_NEW(&f->arena, f->batch.n_tokens, &f->d_channel[c]));
    }
#define X(name, text)                                                                              \
    f->live.name = f->channel[CN_CHANNEL_##name];                                                  \
    f->grad.d_##name = f->d_channel[CN_CHANNEL_##name];
    CN_LIVE(X)
#undef X
    cn_metrics_init(&f->metrics, &f->arena);
    f->call = (struct cn_loss_call){.recipe = &f->recipe,
                                    .counts = f->counts,
                                    .ranks = &cn_reduce_alone,
                                    .scratch = &f->scratch,
                                    .metrics = &f->metrics};
    f->atom = f->batch.n_sequences;
    /* What a rollout and its scoring have written before the loss begins. */
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage <= CN_STAGE_SCORE) f->batch.written |= CN_BIT(c);
    return CN_OK;
}

enum cn_status fixture_b0(struct fixture *f)
{
    static const size_t length[] = {3, 2, 4, 2, 3, 2};
    static const double reward[] = {1, 0, 0, 1, 1, 0};
    static const double old[] = {-.50, -1.20, -.10, -.80,  -2.00, -.30, -.90,  -1.60,
                                 -.20, -.70,  -.40, -1.00, -.60,  -.15, -1.40, -.90};
    static const double moved[] = {.10, .30,  -.05, -.30, 1.20, .05, .40,  -.10,
                                   .10, -.30, .15,  .25,  0,    .02, -.05, .35};
    static const double mismatch[] = {.02,  -.03, 0,    .90, .05, .10,  .50, -.80,
                                      -.01, .04,  -.06, 0,   .03, -.02, .08, -.04};
    static const double reference[] = {-.10, .20,  -.02, .15, -.40, .08, .30,  -.25,
                                       .05,  -.15, .05,  .12, -.08, .03, -.30, .20};
    static const double value_old[] = {.40, .50, .70, .35, .30, .45, .99, .25,
                                       .15, .55, .65, .50, .60, .80, .50, .40};
    static const double value[] = {.45, .80, .60, .95, .20, .40, -.50, .30,
                                   .10, .50, .75, .52, .58, .85, .45,  .10};
    static const double entropy[] = {.9,  1.4,  .3, 1.15, 2.0, .7,  1.0, 1.8,
                                     .45, 1.05, .8, 1.3,  .9,  .35, 1.6, 1.2};
    CN_TRY(cn_batch_init(&f->batch, &f->arena, length, 6));
    CN_TRY(finish(f));
    struct cn_batch *b = &f->batch;
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
        b->token[t] = (int32_t)t;
        b->role[t] = t == 6 ? CN_ROLE_ENVIRONMENT : CN_ROLE_POLICY;
        b->logp_old[t] = old[t];
        b->logp_sampled[t] = old[t] - mismatch[t];
        b->logp_ref[t] = old[t] + reference[t];
        b->value_old[t] = value_old[t];
        b->entropy_old[t] = b->entropy_sampled[t] = entropy[t];
        b->entropy_top_old[t] = 0.8 * entropy[t];
        b->token_reward[t] = 0;
        f->channel[CN_CHANNEL_logp][t] = old[t] + moved[t];
        f->channel[CN_CHANNEL_entropy][t] = entropy[t];
        f->channel[CN_CHANNEL_entropy_top][t] = 0.8 * entropy[t];
        f->channel[CN_CHANNEL_value][t] = value[t];
    }
    for (size_t s = 0; s < 6; s++) {
        b->score[s] = b->reward[s] = reward[s];
        b->group[s] = s >= 3;
        b->prompt[s] = s >= 3;
        b->sample[s] = (uint32_t)s % 3;
        b->stop[s] = CN_STOP_EOS;
        b->temperature[s] = 1;
    }
    f->length_max = 8;
    return CN_OK;
}

static void random_token(struct fixture *f, struct cn_rng *rng, size_t t)
{
    struct cn_batch *b = &f->batch;
    b->token[t] = (int32_t)cn_rng_below(rng, 100);
    b->logp_old[t] = -0.05 - 3 * cn_rng_uniform(rng);
    b->logp_sampled[t] = b->logp_old[t] + 0.3 * (cn_rng_uniform(rng) - 0.5);
    b->logp_ref[t] = b->logp_old[t] + 1.2 * (cn_rng_uniform(rng) - 0.5);
    b->entropy_old[t] = b->entropy_sampled[t] = 3 * cn_rng_uniform(rng);
    b->entropy_top_old[t] = 0.7 * b->entropy_old[t];
    b->value_old[t] = cn_rng_uniform(rng);
    b->token_reward[t] = 0;
    f->channel[CN_CHANNEL_logp][t] = b->logp_old[t] + 1.4 * (cn_rng_uniform(rng) - 0.5);
    f->channel[CN_CHANNEL_entropy][t] = b->entropy_old[t] * (0.9 + 0.2 * cn_rng_uniform(rng));
    f->channel[CN_CHANNEL_entropy_top][t] = 0.7 * f->channel[CN_CHANNEL_entropy][t];
    f->channel[CN_CHANNEL_value][t] = b->value_old[t] + 0.6 * (cn_rng_uniform(rng) - 0.5);
}

enum cn_status fixture_random(struct fixture *f, uint64_t seed, size_t n_groups, size_t group_size)
{
    struct cn_rng rng;
    size_t n = n_groups * group_size, *length, *prompt;
    cn_rng_open(&rng, cn_rng_key(seed, 0, CN_RNG_TEST), 0, 0, 0);
    CN_TRY(CN_NEW(&f->arena, n, &length));
    CN_TRY(CN_NEW(&f->arena, n, &prompt));
    for (size_t s = 0; s < n; s++) {
        prompt[s] = s % group_size ? prompt[s - 1] : 1 + cn_rng_below(&rng, 4);
        length[s] = prompt[s] + 1 + cn_rng_below(&rng, 6);
    }
    CN_TRY(cn_batch_init(&f->batch, &f->arena, length, n));
    CN_TRY(finish(f));
    struct cn_batch *b = &f->batch;
    for (size_t s = 0; s < n; s++) {
        b->group[s] = (uint32_t)(s / group_size);
        b->prompt[s] = s / group_size;
        b->sample[s] = (uint32_t)(s % group_size);
        b->score[s] = b->reward[s] = 0.5 * cn_rng_below(&rng, 3);
        b->stop[s] = CN_STOP_EOS;
        b->temperature[s] = 1;
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
            size_t place = t - b->seq_start[s];
            bool environment = place > prompt[s] && cn_rng_below(&rng, 5) == 0;
            b->role[t] = place < prompt[s] ? CN_ROLE_PROMPT
                         : environment     ? CN_ROLE_ENVIRONMENT
                                           : CN_ROLE_POLICY;
            random_token(f, &rng, t);
        }
    }
    f->length_max = 8;
    return CN_OK;
}

void fixture_poison(struct fixture *f)
{
    struct cn_batch *b = &f->batch;
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
            if (cn_batch_trained(b, s, t)) continue;
            for (int c = 0; c < CN_COLUMN_COUNT; c++)
                if (cn_column_table[c].is_double && cn_column_table[c].per == CN_PER_TOKEN)
                    ((double *)cn_batch_column(b, (enum cn_column)c))[t] = NAN;
            for (int c = 0; c < CN_CHANNEL_COUNT; c++)
                f->channel[c][t] = NAN;
            b->token[t] = INT32_MAX;
        }
}

enum cn_status fixture_recipe(struct fixture *f, const char *algorithm, const char *entropy)
{
    struct cn_json *a = NULL, *e = NULL;
    enum cn_status status = CN_OK;
    if (algorithm) status = cn_json_parse_config(cn_text(algorithm), "algorithm", &a);
    if (status == CN_OK && entropy) status = cn_json_parse_config(cn_text(entropy), "entropy", &e);
    if (status == CN_OK) status = cn_recipe_read(a, e, &f->arena, &f->recipe);
    cn_json_close(a);
    cn_json_close(e);
    return status;
}

enum cn_status fixture_prepare(struct fixture *f)
{
    struct cn_batch *b = &f->batch;
    const struct cn_span all = cn_batch_all(b);
    CN_TRY(cn_loss_count(b, all, f->length_max, f->call.ranks, &f->scratch, f->counts));
    CN_TRY(cn_loss_shape_reward(&f->call, b));
    CN_TRY(cn_loss_advantage(&f->call, b));
    CN_TRY(cn_loss_count(b, all, f->length_max, f->call.ranks, &f->scratch, f->counts));
    return cn_loss_prepare(&f->call, b, all, f->recipe.prepare_live ? &f->live : NULL);
}

enum cn_status fixture_loss(struct fixture *f)
{
    f->grad.loss = 0;
    for (size_t s = 0; s < f->batch.n_sequences; s += f->atom) {
        size_t end = s + f->atom < f->batch.n_sequences ? s + f->atom : f->batch.n_sequences;
        struct cn_span atom = {s, end};
        CN_TRY(cn_loss_atom(&f->call, &f->batch, atom, &f->live, &f->grad));
    }
    return CN_OK;
}

enum cn_status fixture_run(struct fixture *f, const char *algorithm, const char *entropy)
{
    CN_TRY(fixture_recipe(f, algorithm, entropy));
    CN_TRY(fixture_prepare(f));
    return fixture_loss(f);
}
