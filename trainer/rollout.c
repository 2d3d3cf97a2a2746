/* Rollout: slots are refilled in the order of the wishes.
 *
 * A prompt is computed once: its first wish opens a base slot, later wishes fork it, and the last
 * one uses the base itself.  So at most one slot more than the answers under way is needed. */
#include "rollout.h"

#include <string.h>

/* An answer under way. */
struct running {
    size_t wish, slot;
    struct cn_str text; /* decoded so far; the buffer stays with the place */
};

struct run {
    struct cn_sampler *sampler;
    struct cn_tokenizer *tokenizer;
    const struct rollout_options *options;
    const struct wish *wishes;
    size_t next, end;             /* of the wishes that have not begun */
    size_t asked, finished, most; /* most: as many as were under way at once */
    bool drained;                 /* there are no more than those */
    struct cn_arena *arena;
    struct answer *answers;
    struct running *running;
    size_t n_running;
    bool has_base;
    size_t base; /* slot of the prompt of wishes[next], kept until its last wish has started */
    const int32_t *stops;
    size_t n_stops;
    size_t *slots;
    struct cn_drawn *drawn;
};

static struct cn_draw draw_of(const struct run *run, const struct wish *wish)
{
    /* The epoch keeps two passes over the same row within one step apart. */
    struct cn_draw draw = {.key = run->options->key,
                           .prompt = wish->posed->task,
                           .sample = wish->sample | (uint32_t)(wish->posed->epoch << 16),
                           .temperature = wish->greedy ? 1.0 : wish->temperature,
                           .top_k = run->options->top_k,
                           .top_p = run->options->top_p,
                           .greedy = wish->greedy};
    return draw;
}

/* Starts the next wish: a fork of the base while its prompt has further wishes, the base itself at
 * the last. */
static enum cn_status start_next(struct run *run)
{
    const struct wish *wish = &run->wishes[run->next];
    const struct cn_draw draw = draw_of(run, wish);
    const bool last = run->next + 1 == run->end || run->wishes[run->next + 1].posed != wish->posed;
    struct running *place = &run->running[run->n_running];
    place->wish = run->next;
    run->answers[run->next] = (struct answer){.n = 0};
    cn_str_clear(&place->text);
    if (wish->n_begun && !wish->own_text)
        CN_TRY(cn_tokenizer_decode(run->tokenizer,
                                   wish->posed->ids + wish->posed->n_ids - wish->n_begun,
                                   wish->n_begun, true, &place->text));
    if (last && !run->has_base) {
        CN_TRY(
            cn_slot_open(run->sampler, wish->posed->ids, wish->posed->n_ids, &draw, &place->slot));
    } else {
        if (!run->has_base)
            CN_TRY(cn_slot_open(run->sampler, wish->posed->ids, wish->posed->n_ids, &draw,
                                &run->base));
        run->has_base = true;
        CN_TRY(cn_slot_fork(run->sampler, run->base, &draw, &place->slot));
        if (last) {
            cn_slot_close(run->sampler, run->base);
            run->has_base = false;
        }
    }
    run->n_running++;
    run->next++;
    if (run->n_running > run->most) run->most = run->n_running;
    return CN_OK;
}

/* More wishes once half of the places are free: later, their batch would be small; sooner, a rank
 * that happens to be first would take what a slow one has no time for. */
static enum cn_status ask_for_more(struct run *run)
{
    struct cn_span more;
    if (run->drained || run->n_running > run->most / 2) return CN_OK;
    CN_TRY(run->options->more(run->options->more_self, &more));
    run->next = more.begin;
    run->end = more.end;
    run->asked += more.end - more.begin;
    run->drained = more.begin == more.end;
    return CN_OK;
}

static enum cn_status refill(struct run *run)
{
    while (run->n_running < run->options->slots) {
        if (run->next == run->end) CN_TRY(ask_for_more(run));
        if (run->next == run->end) return CN_OK;
        CN_TRY(start_next(run));
    }
    return CN_OK;
}

static enum cn_status grow(struct run *run, struct answer *answer)
{
    if (answer->n < answer->capacity) return CN_OK;
    size_t capacity = answer->capacity ? 2 * (size_t)answer->capacity : 32;
    if (capacity > run->options->max_tokens) capacity = run->options->max_tokens;
    int32_t *ids;
    double *logp, *entropy;
    CN_TRY(CN_NEW(run->arena, capacity, &ids));
    CN_TRY(CN_NEW(run->arena, capacity, &logp));
    CN_TRY(CN_NEW(run->arena, capacity, &entropy));
    if (answer->n) {
        memcpy(ids, answer->ids, answer->n * sizeof *ids);
        memcpy(logp, answer->logp, answer->n * sizeof *logp);
        memcpy(entropy, answer->entropy, answer->n * sizeof *entropy);
    }
    answer->ids = ids;
    answer->logp = logp;
    answer->entropy = entropy;
    answer->capacity = (uint32_t)capacity;
    return CN_OK;
}

static bool is_stop(const struct run *run, int32_t id)
{
    for (size_t i = 0; i < run->n_stops; i++)
        if (run->stops[i] == id) return true;
    return false;
}

bool rollout_stops(const struct cn_texts *stop, struct cn_text text, size_t fresh, size_t *at)
{
    const size_t before = text.length - fresh;
    for (size_t i = 0; i < stop->count; i++) {
        const size_t n = strlen(stop->value[i]);
        const size_t from = n && before >= n ? before - n + 1 : 0; /* no earlier one ends in it */
        const char *found =
            text.length ? memmem(text.data + from, text.length - from, stop->value[i], n) : NULL;
        if (!found) continue;
        *at = (size_t)(found - text.data);
        return true;
    }
    return false;
}

/* Takes one drawn token and its bytes; sets answer->stop when it was the last. */
static enum cn_status take(struct run *run, struct running *place, const struct cn_drawn *drawn)
{
    struct answer *answer = &run->answers[place->wish];
    const size_t before = place->text.length;
    size_t at;
    CN_TRY(grow(run, answer));
    answer->ids[answer->n] = drawn->token;
    answer->logp[answer->n] = drawn->logp;
    answer->entropy[answer->n] = drawn->entropy;
    answer->n++;
    if (!run->options->ignore_eos && is_stop(run, drawn->token)) {
        answer->stop = CN_STOP_EOS;
        return CN_OK;
    }
    CN_TRY(cn_tokenizer_decode(run->tokenizer, &drawn->token, 1, true, &place->text));
    const struct cn_text text = cn_str_text(&place->text);
    const size_t begun = run->wishes[place->wish].n_begun;
    if (rollout_stops(&run->options->stop, text, text.length - before, &at)) {
        answer->stop = CN_STOP_STRING;
        place->text.length = at;
    } else if (begun + answer->n >= run->options->max_tokens) {
        answer->stop = CN_STOP_LENGTH;
    }
    return CN_OK;
}

/* Keeps the text of an answer that has ended; its slot is free again. */
static enum cn_status finish(struct run *run, struct running *place)
{
    struct answer *answer = &run->answers[place->wish];
    char *text;
    cn_slot_close(run->sampler, place->slot);
    place->slot = SIZE_MAX;
    const struct cn_text decoded = cn_str_text(&place->text);
    CN_TRY(cn_arena_text(run->arena, decoded.data, decoded.length, &text));
    answer->text = (struct cn_text){text, decoded.length};
    run->finished++;
    if (run->options->finished)
        run->options->finished(run->options->finished_self, (size_t)(answer - run->answers));
    return CN_OK;
}

/* One token for everybody under way; finished answers leave their slots. */
static enum cn_status advance(struct run *run)
{
    for (size_t i = 0; i < run->n_running; i++)
        run->slots[i] = run->running[i].slot;
    CN_TRY(cn_sampler_step(run->sampler, run->slots, run->n_running, run->drawn));
    size_t kept = 0;
    for (size_t i = 0; i < run->n_running; i++) {
        struct running *place = &run->running[i];
        CN_TRY(take(run, place, &run->drawn[i]));
        if (run->answers[place->wish].stop != CN_STOP_NONE) {
            CN_TRY(finish(run, place));
            continue;
        }
        const struct running going_on = *place; /* swapped: every place keeps a buffer */
        *place = run->running[kept];
        run->running[kept++] = going_on;
    }
    run->n_running = kept;
    return CN_OK;
}

static enum cn_status work(struct run *run)
{
    for (;;) {
        CN_TRY(refill(run));
        if (run->n_running == 0) return CN_OK;
        CN_TRY(advance(run));
        if (run->options->progress)
            run->options->progress(run->options->progress_self, run->finished, run->asked);
    }
}

enum cn_status wishes_add(struct wishes *wishes, struct wish wish)
{
    if (wishes->count == wishes->capacity) {
        size_t capacity = wishes->capacity ? 2 * wishes->capacity : 256;
        struct wish *item;
        CN_TRY(CN_NEW(wishes->arena, capacity, &item));
        if (wishes->count) memcpy(item, wishes->item, wishes->count * sizeof *item);
        wishes->item = item;
        wishes->capacity = capacity;
    }
    wishes->item[wishes->count++] = wish;
    return CN_OK;
}

enum cn_status rollout_collect(const struct rollout_options *options, const struct wish *wishes,
                               struct cn_span own, struct cn_arena *arena, struct answer *answers)
{
    struct run run = {.sampler = options->sampler,
                      .tokenizer = options->tokenizer,
                      .options = options,
                      .wishes = wishes,
                      .next = own.begin,
                      .end = own.end,
                      .asked = own.end - own.begin,
                      .drained = !options->more,
                      .arena = arena,
                      .answers = answers};
    run.stops = cn_tokenizer_stops(options->tokenizer, &run.n_stops);
    CN_TRY(CN_NEW(arena, options->slots, &run.running));
    CN_TRY(CN_NEW(arena, options->slots, &run.slots));
    CN_TRY(CN_NEW(arena, options->slots, &run.drawn));
    enum cn_status status = work(&run);
    for (size_t i = 0; i < run.n_running; i++)
        if (run.running[i].slot != SIZE_MAX) cn_slot_close(options->sampler, run.running[i].slot);
    if (run.has_base) cn_slot_close(options->sampler, run.base);
    for (size_t i = 0; i < options->slots; i++)
        cn_str_free(&run.running[i].text);
    return status;
}
