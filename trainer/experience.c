/* Rounds of plan, sample, reward.
 *
 * Round 0 asks for train.samples answers to each of train.prompts prompts, and for what the plan
 * hooks add.  Later rounds are the hooks' alone: they see the batch so far, may drop sequences, and
 * ask again.  A request whose prompt is UINT64_MAX takes the next prompt of the run's order;
 * consecutive requests with rising `sample` share it.  In the end the sequences are put in the
 * order of their groups, remembered ones among them, so that every mini-batch gets its share of
 * each part. */
#include "experience.h"

#include "carnot/log.h"
#include "clock.h"
#include "ranks/share.h"

#include <stdlib.h>
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
                                .group = r->n_groups,
                                .parent = -1,
                                .order = r->n_groups};
            CN_TRY(wishes_add(&r->wishes, wish));
        }
        r->n_groups++;
    }
    return CN_OK;
}

/* The first wish of this step that posed a prompt as it is; NULL if there is none. */
static const struct wish *find_posed(const struct rounds *r, uint64_t prompt)
{
    for (size_t i = 0; i < r->wishes.count; i++) {
        const struct wish *wish = &r->wishes.item[i];
        if (wish->posed->task == prompt && !wish->given && !wish->is_view && wish->parent < 0)
            return wish;
    }
    return NULL;
}

/* A prompt that goes on into the first tokens of an answer. */
static enum cn_status pose_branch(struct rounds *r, const struct cn_request *q, struct wish *wish)
{
    if ((uint64_t)q->parent >= r->n)
        return cn_fail(CN_ERR_BUG, "a plan hook branches from sequence %lld of %zu",
                       (long long)q->parent, r->n);
    const struct wish *from = &r->wishes.item[q->parent];
    const struct answer *answer = &r->answers[q->parent];
    struct posed *posed;
    int32_t *ids;
    if (q->branch_at < from->posed->n_ids || q->branch_at >= from->posed->n_ids + answer->n)
        return cn_fail(CN_ERR_BUG, "a plan hook branches at %u of a sequence of %zu + %zu tokens",
                       q->branch_at, from->posed->n_ids, answer->n);
    CN_TRY(CN_NEW(r->arena, 1, &posed));
    CN_TRY(CN_NEW(r->arena, q->branch_at, &ids));
    *posed = *from->posed;
    memcpy(ids, from->posed->ids, from->posed->n_ids * sizeof *ids);
    wish->n_begun = from->n_begun + q->branch_at - from->posed->n_ids;
    memcpy(ids + from->posed->n_ids, answer->ids,
           (q->branch_at - from->posed->n_ids) * sizeof *ids);
    posed->ids = ids;
    posed->n_ids = q->branch_at;
    wish->posed = posed;
    wish->own_text = q->own_text;
    wish->parent = q->parent;
    return CN_OK;
}

/* Whether a request begins as the one before it. */
static bool same_beginning(const struct cn_request *a, const struct cn_request *b)
{
    return a->prompt == b->prompt && a->parent == b->parent && a->branch_at == b->branch_at &&
           a->view == b->view;
}

/* Prompt and group of a request for answers to a prompt of this step. */
static enum cn_status pose_known(struct rounds *r, const struct cn_request *q, struct wish *wish)
{
    const struct wish *known = find_posed(r, q->prompt);
    if (!known)
        return cn_fail(CN_ERR_BUG, "a plan hook asked for prompt %llu, which this step has not",
                       (unsigned long long)q->prompt);
    wish->posed = known->posed;
    wish->group = known->group;
    wish->order = known->order;
    if (q->parent >= 0) return pose_branch(r, q, wish);
    if (q->view == 0) return CN_OK;
    struct posed *view;
    CN_TRY(CN_NEW(r->arena, 1, &view));
    CN_TRY(tasks_view(r->experience->tasks, known->posed, r->arena, view));
    wish->posed = view;
    wish->is_view = true;
    return CN_OK;
}

static enum cn_status pose_next(struct rounds *r, struct wish *wish)
{
    struct posed *next;
    CN_TRY(next_prompt(r, &next));
    wish->posed = next;
    wish->order = wish->group = r->n_groups++;
    return CN_OK;
}

/* The answers of an earlier rollout, in groups of their own that stand among the present ones. */
static enum cn_status add_replay(struct rounds *r, uint32_t age)
{
    size_t n;
    const struct replayed *rows = replay_rows(r->experience->replay, age, &n);
    double group = -1;
    for (size_t i = 0; i < n; i++) {
        if (i == 0 || rows[i].group != rows[i - 1].group) {
            r->n_groups++;
            group++;
        }
        const struct wish wish = {.posed = &rows[i].posed,
                                  .sample = rows[i].sample,
                                  .temperature = (double)rows[i].temperature,
                                  .part = CN_PART_REPLAY,
                                  .group = r->n_groups - 1,
                                  .parent = -1,
                                  .order = group,
                                  .given = &rows[i]};
        CN_TRY(wishes_add(&r->wishes, wish));
    }
    return CN_OK;
}

static enum cn_status add_requests(struct rounds *r, const struct cn_requests *requests)
{
    const double usual = r->experience->settings->rollout.temperature;
    struct wish last = {.posed = NULL};
    for (size_t i = 0; i < requests->count; i++) {
        const struct cn_request *q = &requests->item[i];
        struct wish wish = last;
        if (q->part == CN_PART_REPLAY) {
            CN_TRY(add_replay(r, q->age));
            last.posed = NULL;
            continue;
        }
        const bool next = q->prompt == CN_PROMPT_NEXT;
        if (!last.posed || !same_beginning(q, q - 1) || (next && q->sample == 0)) {
            wish = (struct wish){.parent = -1};
            CN_TRY(next ? pose_next(r, &wish) : pose_known(r, q, &wish));
        }
        wish.sample = q->sample;
        wish.temperature = q->temperature > 0 ? (double)q->temperature : usual;
        wish.greedy = q->greedy;
        wish.part = q->part;
        CN_TRY(wishes_add(&r->wishes, wish));
        last = wish;
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

/* Puts the new wishes that are given behind those that are sampled; fresh: how many the latter are.
 */
static enum cn_status part_given(struct rounds *r, size_t *fresh)
{
    struct wish *item = r->wishes.item + r->n, *given;
    const size_t n = r->wishes.count - r->n;
    size_t n_given = 0;
    *fresh = 0;
    CN_TRY(CN_NEW(r->arena, n, &given));
    for (size_t i = 0; i < n; i++)
        if (item[i].given)
            given[n_given++] = item[i];
        else
            item[(*fresh)++] = item[i];
    if (n_given) memcpy(item + *fresh, given, n_given * sizeof *given);
    return CN_OK;
}

/* Samples `fresh` wishes; answers are scored as they finish. */
static enum cn_status answer_fresh(struct rounds *r, size_t fresh)
{
    struct wishes wishes = r->wishes; /* without those that are given */
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
        .progress_self = e->progress_self};
    const bool last = cn_comm_rank(e->comm) == cn_comm_size(e->comm) - 1;
    struct share_round round = {.comm = e->comm,
                                .slow = last && e->settings->parallel.fault == SETTINGS_FAULT_SLOW,
                                .scorer = e->scorer,
                                .options = &options,
                                .wishes = &wishes,
                                .begin = r->n,
                                .answers = r->answers + r->n,
                                .scored = r->scored + r->n,
                                .metrics = r->call->metrics};
    const double start = clock_seconds();
    wishes.count = r->n + fresh;
    CN_TRY(share_answering(&round));
    r->times.rollout += clock_seconds() - start - round.times.added;
    r->times.reward += round.times.added;
    r->times.reward_busy += round.times.busy;
    return CN_OK;
}

/* Answers and scores of the new wishes. */
static enum cn_status answer_new(struct rounds *r)
{
    size_t fresh;
    CN_TRY(part_given(r, &fresh));
    CN_TRY(grow(r->arena, r->n, r->wishes.count, sizeof *r->answers, &r->answers));
    CN_TRY(grow(r->arena, r->n, r->wishes.count, sizeof *r->scored, &r->scored));
    if (fresh) CN_TRY(answer_fresh(r, fresh));
    for (size_t i = r->n + fresh; i < r->wishes.count; i++) {
        r->answers[i] = r->wishes.item[i].given->answer;
        r->scored[i] = r->wishes.item[i].given->scored;
    }
    return CN_OK;
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
        batch->parent[s] = wishes[s].parent;
        batch->branch_at[s] = (uint32_t)posed->n_ids;
        batch->temperature[s] = (float)wishes[s].temperature;
        batch->stop[s] = (uint8_t)answers[s].stop;
    }
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage == CN_STAGE_SAMPLE) batch->written |= CN_BIT(c);
    return CN_OK;
}

/* Numbers the extracted answers of each group, from 1, in the order of the batch. */
static void number_answers(const struct rounds *r, struct cn_batch *batch)
{
    for (size_t s = 0; s < batch->n_sequences; s++) {
        const struct cn_text text = r->scored[s].extracted;
        uint32_t highest = 0;
        batch->answer[s] = 0;
        for (size_t i = 0; i < s && text.length && !batch->answer[s]; i++) {
            if (batch->group[i] != batch->group[s]) continue;
            if (cn_text_equal(r->scored[i].extracted, text)) batch->answer[s] = batch->answer[i];
            if (batch->answer[i] > highest) highest = batch->answer[i];
        }
        if (text.length && !batch->answer[s]) batch->answer[s] = highest + 1;
    }
}

/* The batch of everything so far; drops that plan hooks decided on are kept. */
static enum cn_status rebuild(struct rounds *r)
{
    struct cn_batch *batch;
    for (size_t s = 0; s < r->n; s++)
        r->scored[s].drop = (enum cn_drop)r->batch->drop[s];
    CN_TRY(CN_NEW(r->arena, 1, &batch));
    CN_TRY(experience_batch(r->wishes.item, r->answers, r->wishes.count, r->arena, batch));
    for (size_t t = 0; t < batch->n_tokens; t++)
        batch->token_reward[t] = 0;
    for (size_t s = 0; s < batch->n_sequences; s++) {
        const struct replayed *given = r->wishes.item[s].given;
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            batch->version[t] = given ? given->version : r->version;
        batch->score[s] = r->scored[s].score;
        batch->reward[s] = r->scored[s].reward;
        batch->verdict[s] = (uint8_t)r->scored[s].verdict;
        batch->drop[s] = (uint8_t)r->scored[s].drop;
    }
    number_answers(r, batch);
    batch->written |= CN_NEEDS(score) | CN_NEEDS(reward) | CN_NEEDS(verdict) | CN_NEEDS(drop) |
                      CN_NEEDS(token_reward) | CN_NEEDS(answer);
    r->batch = batch;
    r->n = r->wishes.count;
    return CN_OK;
}

/* A wish and where it came in. */
struct place {
    double order;
    size_t index;
};

static int by_order(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->order != y->order) return x->order < y->order ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

/* Puts wishes, answers and scores in the order of their groups. */
static enum cn_status permute(struct rounds *r, const struct place *place)
{
    const size_t n = r->n;
    struct wish *wishes;
    struct answer *answers;
    struct scored *scored;
    int64_t *moved; /* where each went */
    CN_TRY(CN_NEW(r->arena, n, &wishes));
    CN_TRY(CN_NEW(r->arena, n, &answers));
    CN_TRY(CN_NEW(r->arena, n, &scored));
    CN_TRY(CN_NEW(r->arena, n, &moved));
    for (size_t i = 0; i < n; i++) {
        wishes[i] = r->wishes.item[place[i].index];
        answers[i] = r->answers[place[i].index];
        scored[i] = r->scored[place[i].index];
        moved[place[i].index] = (int64_t)i;
    }
    for (size_t i = 0; i < n; i++)
        if (wishes[i].parent >= 0) wishes[i].parent = moved[wishes[i].parent];
    memcpy(r->wishes.item, wishes, n * sizeof *wishes);
    r->answers = answers;
    r->scored = scored;
    return CN_OK;
}

static enum cn_status arrange(struct rounds *r)
{
    struct place *place;
    bool sorted = true;
    CN_TRY(CN_NEW(r->arena, r->n, &place));
    for (size_t i = 0; i < r->n; i++) {
        place[i] = (struct place){r->wishes.item[i].order, i};
        sorted = sorted && (i == 0 || place[i - 1].order <= place[i].order);
    }
    if (sorted) return CN_OK;
    for (size_t s = 0; s < r->n; s++)
        r->scored[s].drop = (enum cn_drop)r->batch->drop[s];
    qsort(place, r->n, sizeof *place, by_order);
    CN_TRY(permute(r, place));
    r->n = 0; /* drops have moved with the scores */
    return rebuild(r);
}

/* Remembers a sequence as it was sampled. */
static enum cn_status remember(struct replay *replay, const struct cn_batch *batch, size_t s)
{
    const size_t begin = batch->seq_start[s], own = begin + batch->branch_at[s],
                 end = batch->seq_start[s + 1];
    const struct replayed row = {.posed = {.task = batch->prompt[s],
                                           .ids = batch->token + begin,
                                           .n_ids = batch->branch_at[s]},
                                 .answer = {.ids = batch->token + own,
                                            .logp = batch->logp_sampled + own,
                                            .entropy = batch->entropy_sampled + own,
                                            .n = end - own,
                                            .stop = (enum cn_stop)batch->stop[s]},
                                 .scored = {.score = batch->score[s],
                                            .reward = batch->reward[s],
                                            .verdict = (enum cn_verdict)batch->verdict[s]},
                                 .sample = batch->sample[s],
                                 .group = batch->group[s],
                                 .version = batch->version[begin],
                                 .temperature = batch->temperature[s]};
    return replay_add(replay, &row);
}

enum cn_status experience_remember(struct replay *replay, const struct cn_batch *batch)
{
    if (!replay) return CN_OK;
    CN_TRY(replay_begin(replay));
    for (size_t s = 0; s < batch->n_sequences; s++)
        if (batch->part[s] == CN_PART_MAIN && batch->drop[s] == CN_DROP_NONE)
            CN_TRY(remember(replay, batch, s));
    return CN_OK;
}

/* Texts of the first sequences, for people. */
static enum cn_status show(const struct rounds *r, struct experience_result *out)
{
    const size_t wanted = (size_t)r->experience->settings->record.samples;
    struct eval_shown *shown;
    out->n_shown = wanted < r->n ? wanted : r->n;
    CN_TRY(CN_NEW(r->arena, out->n_shown, &shown));
    for (size_t i = 0; i < out->n_shown; i++)
        shown[i] =
            (struct eval_shown){.prompt = r->wishes.item[i].posed->prompt_text,
                                .response = r->answers[i].text,
                                .ground_truth = r->wishes.item[i].posed->content.ground_truth,
                                .score = r->scored[i].score};
    out->shown = shown;
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
    CN_TRY(arrange(&r));
    CN_TRY(experience_remember(experience->replay, r.batch));
    *out = (struct experience_result){
        .step = call->step, .position = experience->position, .batch = r.batch, .times = r.times};
    return show(&r, out);
}
