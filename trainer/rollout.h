/* Rollout: answers sampled from the model for a list of wishes, over a fixed number of slots. */
#ifndef CARNOT_ROLLOUT_H
#define CARNOT_ROLLOUT_H

#include "tasks.h"

#include "carnot/batch.h"
#include "carnot/model.h"

struct replayed;

/* One answer to sample.  Consecutive wishes for the same `posed` share its prompt. */
struct wish {
    const struct posed *posed; /* borrowed */
    uint32_t sample;
    double temperature; /* > 0, or greedy */
    bool greedy;
    uint8_t part;                 /* enum cn_part */
    uint32_t group;               /* number of the baseline group */
    int64_t parent;               /* wish whose answer it goes on from, or -1 */
    size_t n_begun;               /* how many of posed->ids, at the end, are the parent's answer */
    bool own_text;                /* its text begins behind those */
    bool is_view;                 /* posed in other words */
    double order;                 /* place in the batch */
    const struct replayed *given; /* the answer is there already: it is not sampled */
};

/* What came of a wish; arrays live in the arena of the call. */
struct answer {
    int32_t *ids; /* (n) the tokens sampled, the one that ended it included */
    double *logp, *entropy;
    size_t n;
    enum cn_stop stop;
    struct cn_text text; /* decoded, without end tokens and without the stop string's rest; of a
                            branch with its parent's beginning, unless it is told by its own text */
    uint32_t capacity;
};

struct rollout_options {
    struct cn_sampler *sampler; /* opened with at least slots + 1 slots */
    struct cn_tokenizer *tokenizer;
    struct cn_rng_key key;
    size_t slots, max_tokens;
    double top_p;
    int64_t top_k;
    struct cn_texts stop;
    bool ignore_eos; /* end tokens are tokens like all others */
    /* Called after each decoding step with the number of finished answers; may be NULL. */
    void (*progress)(void *self, size_t finished, size_t wishes);
    void *progress_self;
    /* Called for each finished answer, by its place in `answers`; may be NULL. */
    void (*finished)(void *self, size_t i);
    void *finished_self;
    /* Further wishes to sample, asked for when all have begun and at most half as many are under
     * way as at most were; an empty span: there are no more, and nobody asks again.  May be NULL. */
    enum cn_status (*more)(void *self, struct cn_span *out);
    void *more_self;
};

/* Whether one of `stop` ends in the last `fresh` bytes of the text: the first of the list that
 * does, at its first place.  *at: where it begins.  Called after each token with the bytes that the
 * token added, it finds every stop string without reading the text again. */
bool rollout_stops(const struct cn_texts *stop, struct cn_text text, size_t fresh, size_t *at);

/* Growing list of wishes, in an arena. */
struct wishes {
    struct cn_arena *arena;
    struct wish *item;
    size_t count, capacity;
};
enum cn_status wishes_add(struct wishes *wishes, struct wish wish);

/* Samples the wishes of `own`, and those that options->more gives; each answer stands at its wish's
 * place, other places are left alone.  Answers do not depend on `slots` or on who samples beside
 * them.  Fails: as cn_slot_open, cn_sampler_step and `more`.  All slots are closed again.  Not
 * collective. */
enum cn_status rollout_collect(const struct rollout_options *options, const struct wish *wishes,
                               struct cn_span own, struct cn_arena *arena, struct answer *answers);

#endif
