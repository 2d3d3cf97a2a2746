/* The reference sampler: slots are lists of ids, and every step asks the back end for the logits of
 * whole sequences. Slow by design and right by simplicity; what the table back end uses and the
 * decode engine is tested against. */
#include "backend.h"

#include "decode/kernels.h"

#include <stdlib.h>
#include <string.h>

struct plain_slot {
    bool open;
    struct cn_draw draw;
    size_t n;     /* tokens, the pending one included */
    int32_t *ids; /* (context) */
};

struct plain {
    struct cn_model *model;
    const struct kernels *kernels;
    size_t slots, context, vocab;
    struct plain_slot *slot;
    int32_t *ids;  /* of one call, end to end */
    size_t *start; /* (slots + 1) */
    float *logits; /* grows */
    size_t logits_rows;
    struct choose_kept *scratch; /* (vocab) */
};

static void plain_close(void *self)
{
    struct plain *p = self;
    for (size_t i = 0; p->slot && i < p->slots; i++)
        free(p->slot[i].ids);
    free(p->slot);
    free(p->ids);
    free(p->start);
    free(p->logits);
    free(p->scratch);
    free(p);
}

static enum cn_status plain_allocate(struct plain *p)
{
    p->slot = calloc(p->slots, sizeof *p->slot);
    p->ids = calloc(p->slots, p->context * sizeof *p->ids);
    p->start = calloc(p->slots + 1, sizeof *p->start);
    p->scratch = calloc(p->vocab, sizeof *p->scratch);
    bool complete = p->slot && p->ids && p->start && p->scratch;
    for (size_t i = 0; complete && i < p->slots; i++) {
        p->slot[i].ids = calloc(p->context, sizeof *p->slot[i].ids);
        complete = p->slot[i].ids != NULL;
    }
    return complete ? CN_OK
                    : cn_fail(CN_ERR_MEMORY, "no memory for %zu slots of %zu tokens", p->slots,
                              p->context);
}

static enum cn_status plain_open(struct cn_model *model, const struct cn_sampler_settings *settings,
                                 void **self)
{
    const struct cn_model_info *info = cn_model_info(model);
    if (info->context_length && settings->context > info->context_length)
        return cn_fail(
            CN_ERR_MODEL,
            "%zu tokens of context are asked for, the model has %zu: shorten the prompt or "
            "rollout.max_tokens",
            settings->context, info->context_length);
    const struct kernels *kernels = NULL;
    CN_TRY(kernels_pick(settings->isa, &kernels));
    struct plain *p = calloc(1, sizeof *p);
    if (!p) return cn_fail(CN_ERR_MEMORY, "no memory for a sampler");
    *p = (struct plain){.model = model,
                        .kernels = kernels,
                        .slots = settings->slots,
                        .context = settings->context,
                        .vocab = info->vocab_size};
    enum cn_status status = plain_allocate(p);
    if (status != CN_OK) {
        plain_close(p);
        return status;
    }
    *self = p;
    return CN_OK;
}

static enum cn_status plain_refresh(void *self)
{
    const struct plain *p = self;
    for (size_t i = 0; i < p->slots; i++)
        CN_BUG_IF(p->slot[i].open);
    return CN_OK;
}

static enum cn_status check_ids(const struct plain *p, const int32_t *ids, size_t n, size_t already)
{
    if (n > p->context || already > p->context - n)
        return cn_fail(CN_ERR_MODEL,
                       "a sequence of %zu tokens exceeds the sampler's context of %zu", already + n,
                       p->context);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= p->vocab)
            return cn_fail(CN_ERR_MODEL,
                           "token id %d at position %zu is outside the vocabulary of %zu", ids[i],
                           already + i, p->vocab);
    return CN_OK;
}

static enum cn_status find_slot(const struct plain *p, size_t *out)
{
    for (size_t i = 0; i < p->slots; i++)
        if (!p->slot[i].open) {
            *out = i;
            return CN_OK;
        }
    return cn_fail(CN_ERR_BUG, "all %zu slots are open", p->slots);
}

static enum cn_status fill_slot(struct plain *p, const int32_t *ids, size_t n,
                                const struct cn_draw *draw, size_t *slot)
{
    size_t place = 0;
    CN_TRY(find_slot(p, &place));
    struct plain_slot *s = &p->slot[place];
    memcpy(s->ids, ids, n * sizeof *ids);
    s->n = n;
    s->draw = *draw;
    s->open = true;
    *slot = place;
    return CN_OK;
}

static enum cn_status plain_slot_open(void *self, const int32_t *ids, size_t n,
                                      const struct cn_draw *draw, size_t *slot)
{
    struct plain *p = self;
    CN_TRY(check_ids(p, ids, n, 0));
    return fill_slot(p, ids, n, draw, slot);
}

static enum cn_status plain_slot_fork(void *self, size_t from, const struct cn_draw *draw,
                                      size_t *slot)
{
    struct plain *p = self;
    CN_BUG_IF(from >= p->slots || !p->slot[from].open);
    return fill_slot(p, p->slot[from].ids, p->slot[from].n, draw, slot);
}

static enum cn_status plain_slot_append(void *self, size_t slot, const int32_t *ids, size_t n)
{
    struct plain *p = self;
    CN_BUG_IF(slot >= p->slots || !p->slot[slot].open);
    struct plain_slot *s = &p->slot[slot];
    CN_TRY(check_ids(p, ids, n, s->n));
    memcpy(s->ids + s->n, ids, n * sizeof *ids);
    s->n += n;
    return CN_OK;
}

static void plain_slot_close(void *self, size_t slot)
{
    struct plain *p = self;
    if (slot < p->slots) p->slot[slot].open = false;
}

static enum cn_status need_logits(struct plain *p, size_t rows)
{
    if (rows <= p->logits_rows) return CN_OK;
    free(p->logits);
    p->logits_rows = 0;
    p->logits = calloc(rows, p->vocab * sizeof *p->logits);
    if (!p->logits) return cn_fail(CN_ERR_MEMORY, "no memory for %zu rows of logits", rows);
    p->logits_rows = rows;
    return CN_OK;
}

static struct choose_call row_call(const struct plain *p, size_t row, size_t position,
                                   const struct cn_draw *draw)
{
    return (struct choose_call){.loops = &p->kernels->choose,
                                .logits = p->logits + row * p->vocab,
                                .vocab = p->vocab,
                                .position = (uint32_t)position,
                                .draw = draw,
                                .scratch = p->scratch};
}

static enum cn_status plain_step(void *self, const size_t *slots, size_t n, struct cn_drawn *out)
{
    struct plain *p = self;
    if (n == 0) return CN_OK;
    CN_BUG_IF(n > p->slots);
    CN_TRY(need_logits(p, n));
    size_t total = 0;
    for (size_t i = 0; i < n; i++) {
        CN_BUG_IF(slots[i] >= p->slots || !p->slot[slots[i]].open);
        const struct plain_slot *s = &p->slot[slots[i]];
        memcpy(p->ids + total, s->ids, s->n * sizeof *s->ids);
        p->start[i] = total;
        total += s->n;
    }
    p->start[n] = total;
    struct backend_rows rows = {.ids = p->ids, .start = p->start, .n = n, .all = false};
    CN_TRY(model_logits(p->model, &rows, p->logits));
    for (size_t i = 0; i < n; i++) {
        const struct plain_slot *s = &p->slot[slots[i]];
        struct choose_call call = row_call(p, i, s->n, &s->draw);
        CN_TRY(choose_token(&call, &out[i]));
    }
    for (size_t i = 0; i < n; i++) {
        struct plain_slot *s = &p->slot[slots[i]];
        if (s->n == p->context)
            return cn_fail(CN_ERR_MODEL, "slot %zu is full: %zu tokens are the sampler's context",
                           slots[i], p->context);
        s->ids[s->n++] = out[i].token;
    }
    return CN_OK;
}

static enum cn_status plain_score(void *self, const int32_t *ids, size_t n, double temperature,
                                  size_t top, double *logp, double *entropy, int32_t *top_ids,
                                  double *top_logp)
{
    struct plain *p = self;
    if (n == 0) return CN_OK;
    struct cn_draw draw = {.temperature = temperature, .top_p = 1};
    CN_TRY(choose_check(&draw));
    CN_TRY(check_ids(p, ids, n, 0));
    if (top > p->vocab)
        return cn_fail(CN_ERR_CONFIG,
                       "the %zu largest log-probabilities are asked for, the vocabulary has %zu",
                       top, p->vocab);
    CN_TRY(need_logits(p, n));
    struct backend_rows rows = {.ids = ids, .start = (const size_t[]){0, n}, .n = 1, .all = true};
    CN_TRY(model_logits(p->model, &rows, p->logits));
    logp[0] = entropy[0] = 0;
    for (size_t i = 0; i < top; i++) {
        top_ids[i] = -1;
        top_logp[i] = 0;
    }
    for (size_t t = 1; t < n; t++) {
        struct choose_call call = row_call(p, t - 1, t, &draw);
        struct choose_stats stats;
        CN_TRY(choose_row(&call, &stats));
        logp[t] = choose_logp(&call, &stats, ids[t]);
        entropy[t] = stats.entropy;
        if (top) choose_largest(&call, &stats, top, top_ids + t * top, top_logp + t * top);
    }
    return CN_OK;
}

const struct cn_sampler_backend cn_sampler_plain = {
    .name = "plain",
    .open = plain_open,
    .close = plain_close,
    .refresh = plain_refresh,
    .slot_open = plain_slot_open,
    .slot_fork = plain_slot_fork,
    .slot_append = plain_slot_append,
    .slot_close = plain_slot_close,
    .step = plain_step,
    .score = plain_score,
};
