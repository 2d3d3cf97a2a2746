/* Rounds of plan, sample, reward.
 *
 * Round 0 asks for train.samples answers to each of train.prompts prompts, and for what the plan
 * hooks add.  Later rounds are the hooks' alone: they see the batch so far, may drop sequences, and
 * ask again.  A request whose prompt is UINT64_MAX takes the next prompt of the run's order;
 * consecutive requests with rising `sample` share it. */
#include "experience.h"

#include "carnot/log.h"
#include "clock.h"

#include <string.h>

struct rounds {
    struct experience *experience;
    const struct cn_loss_call *call;
    struct cn_arena *arena;
    struct wishes wishes;
    struct answer *answers;
    struct scored *scored;
    size_t n;          /* answered */
    uint32_t n_groups; /* numbered so far */
    uint32_t version;
    struct cn_batch *batch;
    struct experience_times times;
};

static enum cn_status next_prompt(struct rounds *r, struct posed **out)
{
    CN_TRY(CN_NEW(r->arena, 1, out));
    return tasks_next(r->experience->tasks, &r->experience->position, r->arena, *out);
}

static enum cn_status ask_for_groups(struct rounds *r)
{
    const struct train_settings *train = &r->experience->settings->train;
    for (int64_t p = 0; p < train->prompts; p++) {
        struct posed *posed;
        CN_TRY(next_prompt(r, &posed));
        for (uint32_t sample = 0; sample < (uint32_t)train->samples; sample++) {
            struct wish wish = {.posed = posed,
                                .sample = sample,
                                .temperature = r->experience->settings->rollout.temperature,
                                .part = CN_PART_MAIN,
                                .group = r->n_groups};
            CN_TRY(wishes_add(&r->wishes, wish));
        }
        r->n_groups++;
    }
    return CN_OK;
}

/* The prompt that an earlier wish of this step posed; NULL if there is none. */
static const struct wish *find_posed(const struct rounds *r, uint64_t prompt)
{
    for (size_t i = 0; i < r->wishes.count; i++)
        if (r->wishes.item[i].posed->task == prompt) return &r->wishes.item[i];
    return NULL;
}

static enum cn_status add_requests(struct rounds *r, const struct cn_requests *requests)
{
    const struct posed *posed = NULL;
    uint32_t group = 0;
    for (size_t i = 0; i < requests->count; i++) {
        const struct cn_request *q = &requests->item[i];
        if (q->parent >= 0)
            return cn_fail(CN_ERR_BUG, "a plan hook asked for a branch, which nothing samples");
        const struct wish *known = q->prompt == CN_PROMPT_NEXT ? NULL : find_posed(r, q->prompt);
        if (known) {
            posed = known->posed;
            group = known->group;
        } else if (q->prompt != CN_PROMPT_NEXT) {
            return cn_fail(CN_ERR_BUG, "a plan hook asked for prompt %llu, which this step has not",
                           (unsigned long long)q->prompt);
        } else if (q->sample == 0 || !posed) {
            struct posed *next;
            CN_TRY(next_prompt(r, &next));
            posed = next;
            group = r->n_groups++;
        }
        const double usual = r->experience->settings->rollout.temperature;
        struct wish wish = {.posed = posed,
                            .sample = q->sample,
                            .temperature = q->temperature > 0 ? (double)q->temperature : usual,
                            .greedy = q->greedy,
                            .part = q->part,
                            .group = group};
        CN_TRY(wishes_add(&r->wishes, wish));
    }
    return CN_OK;
}

/* Grows an array of the rounds from n to count elements. */
static enum cn_status grow(struct cn_arena *arena, size_t n, size_t count, size_t size, void *array)
{
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    CN_TRY(cn_arena_alloc(arena, count, size, &grown));
    if (n) memcpy(grown, old, n * size);
    memcpy(array, &grown, sizeof grown);
    return CN_OK;
}

static enum cn_status sample_new(struct rounds *r)
{
    const struct experience *e = r->experience;
    const struct rollout_settings *rollout = &e->settings->rollout;
    const struct rollout_options options = {
        .sampler = e->sampler,
        .tokenizer = e->tokenizer,
        .key = cn_rng_key(r->call->seed, r->call->step, CN_RNG_SAMPLING),
        .slots = (size_t)rollout->slots,
        .max_tokens = (size_t)rollout->max_tokens,
        .top_p = 1,
        .stop = rollout->stop,
        .ignore_eos = rollout->ignore_eos,
        .progress = e->progress,
        .progress_self = e->progress_self,
        .finished = scorer_add,
        .finished_self = e->scorer};
    double start = clock_seconds();
    CN_TRY(rollout_collect(&options, &r->wishes, r->n, r->arena, r->answers + r->n));
    r->times.rollout += clock_seconds() - start;
    return CN_OK;
}

/* Samples the new wishes; answers are scored as they finish. */
static enum cn_status answer_new(struct rounds *r)
{
    struct scorer *scorer = r->experience->scorer;
    struct scorer_times times = {0, 0};
    CN_TRY(grow(r->arena, r->n, r->wishes.count, sizeof *r->answers, &r->answers));
    CN_TRY(grow(r->arena, r->n, r->wishes.count, sizeof *r->scored, &r->scored));
    const struct scoring_work work = {.wishes = r->wishes.item + r->n,
                                      .answers = r->answers + r->n,
                                      .n = r->wishes.count - r->n,
                                      .max_tokens =
                                          (size_t)r->experience->settings->rollout.max_tokens};
    CN_TRY(scorer_begin(scorer, &work));
    enum cn_status status = sample_new(r);
    if (status == CN_OK)
        status = scorer_finish(scorer, r->arena, r->call->metrics, r->scored + r->n, &times);
    scorer_abandon(scorer);
    r->times.reward += times.added;
    r->times.reward_busy += times.busy;
    return status;
}

enum cn_status experience_batch(const struct wish *wishes, const struct answer *answers, size_t n,
                                struct cn_arena *arena, struct cn_batch *batch)
{
    size_t *lengths;
    CN_TRY(CN_NEW(arena, n, &lengths));
    for (size_t s = 0; s < n; s++)
        lengths[s] = wishes[s].posed->n_ids + answers[s].n;
    CN_TRY(cn_batch_init(batch, arena, lengths, n));
    for (size_t s = 0; s < n; s++) {
        const struct posed *posed = wishes[s].posed;
        size_t t = batch->seq_start[s];
        for (size_t i = 0; i < posed->n_ids; i++, t++)
            batch->token[t] = posed->ids[i];
        for (size_t i = 0; i < answers[s].n; i++, t++) {
            batch->token[t] = answers[s].ids[i];
            batch->role[t] = CN_ROLE_POLICY;
            batch->logp_sampled[t] = answers[s].logp ? answers[s].logp[i] : 0;
            batch->entropy_sampled[t] = answers[s].entropy ? answers[s].entropy[i] : 0;
        }
        batch->prompt[s] = posed->task;
        batch->sample[s] = wishes[s].sample;
        batch->group[s] = wishes[s].group;
        batch->part[s] = wishes[s].part;
        batch->branch_at[s] = (uint32_t)posed->n_ids;
        batch->temperature[s] = (float)wishes[s].temperature;
        batch->stop[s] = (uint8_t)answers[s].stop;
    }
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage == CN_STAGE_SAMPLE) batch->written |= CN_BIT(c);
    return CN_OK;
}

/* The batch of everything so far; drops that plan hooks decided on are kept. */
static enum cn_status rebuild(struct rounds *r)
{
    struct cn_batch *batch;
    CN_TRY(CN_NEW(r->arena, 1, &batch));
    CN_TRY(experience_batch(r->wishes.item, r->answers, r->wishes.count, r->arena, batch));
    for (size_t t = 0; t < batch->n_tokens; t++) {
        batch->version[t] = r->version;
        batch->token_reward[t] = 0;
    }
    for (size_t s = 0; s < batch->n_sequences; s++) {
        batch->score[s] = r->scored[s].score;
        batch->reward[s] = r->scored[s].reward;
        batch->verdict[s] = (uint8_t)r->scored[s].verdict;
        batch->drop[s] = s < r->n ? r->batch->drop[s] : (uint8_t)r->scored[s].drop;
    }
    batch->written |= CN_NEEDS(score) | CN_NEEDS(reward) | CN_NEEDS(verdict) | CN_NEEDS(drop) |
                      CN_NEEDS(token_reward);
    r->batch = batch;
    r->n = r->wishes.count;
    return CN_OK;
}

enum cn_status experience_collect(struct experience *experience, const struct cn_loss_call *call,
                                  uint32_t version, struct cn_arena *arena,
                                  struct experience_result *out)
{
    struct rounds r = {.experience = experience,
                       .call = call,
                       .arena = arena,
                       .wishes = {.arena = arena},
                       .version = version};
    struct cn_batch nothing;
    CN_TRY(cn_batch_init(&nothing, arena, NULL, 0));
    r.batch = &nothing;
    for (uint32_t round = 0;; round++) {
        struct cn_requests requests = {.arena = arena};
        if (round == 0) CN_TRY(ask_for_groups(&r));
        CN_TRY(cn_loss_plan(call, round, r.batch, &requests));
        CN_TRY(add_requests(&r, &requests));
        if (r.wishes.count == r.n) break;
        CN_TRY(answer_new(&r));
        CN_TRY(rebuild(&r));
    }
    *out = (struct experience_result){.batch = r.batch,
                                      .answers = r.answers,
                                      .wishes = r.wishes.item,
                                      .scored = r.scored,
                                      .times = r.times};
    return CN_OK;
}
