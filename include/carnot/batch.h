/* The packed batch: one step's experience on one rank, as flat arrays on the host.
 *
 *   sequences lie end to end          token   | p p p a a a | p p p a a | ...      T tokens
 *   seq_start (S+1) cuts them         seq     |      0      |     1     | ...      S sequences
 *
 * The list below makes the fields, the allocation, the column bits, the HDF5 layout, the JSON of
 * `carnot gradient` and the documentation.  Each column is written in one stage only.
 *
 * Conventions.  Column t speaks about token t: logp[t] = log pi(token[t] | token[<t]); the shift by
 * one exists only inside trainer/model.  A token is trained on iff its role is CN_ROLE_POLICY and
 * its sequence's drop is 0. */
#ifndef CARNOT_BATCH_H
#define CARNOT_BATCH_H

#include "carnot/arena.h"

#ifdef __cplusplus
extern "C" {
#endif

// clang-format off
/*    column           type      per    written by on disk meaning, unit */
#define CN_BATCH_COLUMNS(X)                                                                                        \
    X(token,           int32_t,  TOKEN, SAMPLE,    I4, "token id")                                                 \
    X(role,            uint8_t,  TOKEN, SAMPLE,    U1, "enum cn_role: prompt, policy (trained) or environment")    \
    X(turn,            uint16_t, TOKEN, SAMPLE,    U2, "turn of the episode")                                      \
    X(version,         uint32_t, TOKEN, SAMPLE,    U4, "optimizer step of the sampling weights")                   \
    X(logp_sampled,    double,   TOKEN, SAMPLE,    F4, "log-probability as the sampler saw it, nats")              \
    X(entropy_sampled, double,   TOKEN, SAMPLE,    F4, "entropy as the sampler saw it, nats")                      \
    X(logp_old,        double,   TOKEN, SCORE,     F4, "log-probability at the start of this rollout's updates")   \
    X(entropy_old,     double,   TOKEN, SCORE,     F4, "entropy, same weights")                                    \
    X(entropy_top_old, double,   TOKEN, SCORE,     F4, "restricted entropy, same weights")                         \
    X(logp_ref,        double,   TOKEN, SCORE,     F4, "log-probability under the reference")                      \
    X(logp_anchor,     double,   TOKEN, SCORE,     F4, "log-probability under a further frozen policy")            \
    X(value_old,       double,   TOKEN, SCORE,     F4, "critic's estimate, reward units")                          \
    X(token_reward,    double,   TOKEN, REWARD,    F4, "reward placed on a token: turn rewards, KL in reward")     \
    X(advantage,       double,   TOKEN, ADVANTAGE, F4, "advantage of having chosen the token")                     \
    X(value_target,    double,   TOKEN, ADVANTAGE, F4, "what the critic should say")                               \
    X(correction,      double,   TOKEN, PREPARE,   F4, "off-policy weight")                                        \
    X(weight,          double,   TOKEN, PREPARE,   F4, "product of the entropy methods' factors")                  \
    X(touched,         uint32_t, TOKEN, PREPARE,   U4, "bit per entropy method: what it did to the token")         \
    X(logp_new,        double,   TOKEN, RECORD,    F4, "after the update; every N steps or on a fixed sample")     \
    X(entropy_new,     double,   TOKEN, RECORD,    F4, "after the update, same rows")                              \
    X(prompt,          uint64_t, SEQ,   SAMPLE,    U8, "row of the data set")                                      \
    X(sample,          uint32_t, SEQ,   SAMPLE,    U4, "which sample of that prompt")                              \
    X(group,           uint32_t, SEQ,   SAMPLE,    U4, "which baseline it belongs to, numbered over all ranks")    \
    X(part,            uint8_t,  SEQ,   SAMPLE,    U1, "enum cn_part: main, auxiliary, replay, baseline or view")  \
    X(parent,          int64_t,  SEQ,   SAMPLE,    I8, "sequence it branched from, or -1")                         \
    X(branch_at,       uint32_t, SEQ,   SAMPLE,    U4, "first token that is its own")                              \
    X(temperature,     float,    SEQ,   SAMPLE,    F4, "of the sampler")                                           \
    X(stop,            uint8_t,  SEQ,   SAMPLE,    U1, "enum cn_stop: why the episode ended")                      \
    X(drop,            uint8_t,  SEQ,   REWARD,    U1, "enum cn_drop: 0, or why it is not trained")                \
    X(score,           double,   SEQ,   REWARD,    F4, "task score before shaping: what filters and pass@k use")   \
    X(reward,          double,   SEQ,   REWARD,    F4, "shaped reward: what the advantage uses")                   \
    X(verdict,         uint8_t,  SEQ,   REWARD,    U1, "enum cn_verdict of the verifier")                           \
    X(answer,          uint32_t, SEQ,   REWARD,    U4, "number of the extracted answer within its group; 0: none")

#define CN_ROLES(X) X(PROMPT, "prompt") X(POLICY, "policy") X(ENVIRONMENT, "environment")
#define CN_PARTS(X) X(MAIN, "main") X(AUXILIARY, "auxiliary") X(REPLAY, "replay") X(BASELINE, "baseline") X(VIEW, "view")
#define CN_STOPS(X) X(NONE, "none") X(EOS, "eos") X(STRING, "stop") X(LENGTH, "length") X(TRUNCATED, "truncated") X(ERROR, "error")
#define CN_DROPS(X) X(NONE, "none") X(OVERLONG, "overlong") X(UNSCORED, "unscored") X(NO_SPREAD, "no_spread") X(SURPLUS, "surplus") X(STALE, "stale") X(NOT_FINITE, "not_finite") X(BASELINE, "baseline")
#define CN_VERDICTS(X)                                                                                             \
    X(UNSCORED, "unscored") X(CORRECT, "correct") X(WRONG, "wrong") X(NO_ANSWER, "no_answer")                      \
    X(UNPARSABLE, "unparsable") X(BAD_GOLD, "bad_gold") X(TOO_LARGE, "too_large") X(BUDGET, "budget")              \
    X(TIMEOUT, "timeout") X(CRASHED, "crashed") X(TRUNCATED, "truncated")
// clang-format on

#define X(name, text) CN_ROLE_##name,
enum cn_role { CN_ROLES(X) CN_ROLE_COUNT };
#undef X
#define X(name, text) CN_PART_##name,
enum cn_part { CN_PARTS(X) CN_PART_COUNT };
#undef X
#define X(name, text) CN_STOP_##name,
enum cn_stop { CN_STOPS(X) CN_STOP_COUNT };
#undef X
#define X(name, text) CN_DROP_##name,
enum cn_drop { CN_DROPS(X) CN_DROP_COUNT };
#undef X
#define X(name, text) CN_VERDICT_##name,
enum cn_verdict { CN_VERDICTS(X) CN_VERDICT_COUNT };
#undef X

/* The words of the lists above ("eos", "no_answer" ...); "?" out of range. */
const char *cn_part_name(unsigned part);
const char *cn_stop_name(unsigned stop);
const char *cn_drop_name(unsigned drop);
const char *cn_verdict_name(unsigned verdict);

enum cn_column {
#define X(name, type, per, stage, disk, text) CN_COLUMN_##name,
    CN_BATCH_COLUMNS(X)
#undef X
        CN_COLUMN_COUNT
};

/* A set of columns: CN_BIT(CN_COLUMN_logp_old) | ... */
typedef uint64_t cn_columns;
#define CN_BIT(column) ((cn_columns)1 << (column))
#define CN_NEEDS(column) CN_BIT(CN_COLUMN_##column)

enum cn_per { CN_PER_TOKEN, CN_PER_SEQ };
enum cn_stage {
    CN_STAGE_SAMPLE,
    CN_STAGE_REWARD,
    CN_STAGE_SCORE,
    CN_STAGE_ADVANTAGE,
    CN_STAGE_PREPARE,
    CN_STAGE_RECORD,
    CN_STAGE_COUNT
};
enum cn_disk { CN_DISK_U1, CN_DISK_U2, CN_DISK_U4, CN_DISK_U8, CN_DISK_I4, CN_DISK_I8, CN_DISK_F4 };

/* What the list says about a column. */
struct cn_column_info {
    const char *name, *type, *meaning;
    size_t size; /* bytes of one entry in memory */
    enum cn_per per;
    enum cn_stage stage;
    enum cn_disk disk;
    bool is_double; /* double in memory: unwritten entries are NaN */
};
extern const struct cn_column_info cn_column_table[CN_COLUMN_COUNT];
const char *cn_stage_name(enum cn_stage stage);

struct cn_batch {
    size_t n_tokens, n_sequences; /* T, S */
    size_t *seq_start;            /* (S+1), seq_start[0] = 0, seq_start[S] = T */
    cn_columns written;           /* columns whose stage has filled them */
#define X(name, type, per, stage, disk, text) type *name;
    CN_BATCH_COLUMNS(X)
#undef X
};

/* A run of sequences [begin, end) of a batch: an atom, a mini-batch, everything. */
struct cn_span {
    size_t begin, end;
};

/* Several of them. */
struct cn_spans {
    const struct cn_span *item;
    size_t count;
};

/* Allocates every column from `arena`; doubles are NaN, `parent` -1, the rest 0; nothing is marked
 * as written. lengths (S): tokens of each sequence.  Fails: CN_ERR_MEMORY.  Not collective. */
enum cn_status cn_batch_init(struct cn_batch *batch, struct cn_arena *arena, const size_t *lengths,
                             size_t n_sequences);

/* Checks that all `columns` are written.  Fails: CN_ERR_BUG naming column, the stage that writes it
 * and `reader`. */
enum cn_status cn_batch_require(const struct cn_batch *batch, cn_columns columns,
                                const char *reader);

/* Pointer to a column's array, by number; for code that loops over the list. */
void *cn_batch_column(const struct cn_batch *batch, enum cn_column column);

/* Whether token t of sequence s is trained on. */
static inline bool cn_batch_trained(const struct cn_batch *batch, size_t s, size_t t)
{
    return batch->role[t] == CN_ROLE_POLICY && batch->drop[s] == CN_DROP_NONE;
}

/* The whole batch as a span. */
static inline struct cn_span cn_batch_all(const struct cn_batch *batch)
{
    struct cn_span span = {0, batch->n_sequences};
    return span;
}

#ifdef __cplusplus
}
#endif
#endif
