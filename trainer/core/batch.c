/* The packed batch: allocation and checks, all made from the column list. */
#include "carnot/batch.h"
#include "carnot/token_grad.h"

#include <math.h>
#include <string.h>

#define IS_DOUBLE(type) _Generic((type)0, double : true, default : false)

const struct cn_column_info cn_column_table[CN_COLUMN_COUNT] = {
#define X(name, type, per, stage, disk, text)                                                      \
    [CN_COLUMN_##name] = {#name,          #type,          text,                                    \
                          sizeof(type),   CN_PER_##per,   CN_STAGE_##stage,                        \
                          CN_DISK_##disk, IS_DOUBLE(type)},
    CN_BATCH_COLUMNS(X)
#undef X
};

const char *const cn_channel_name[CN_CHANNEL_COUNT] = {
#define X(name, text) #name,
    CN_LIVE(X)
#undef X
};

static const char *const stage_names[CN_STAGE_COUNT] = {"SAMPLE",    "REWARD",  "SCORE",
                                                        "ADVANTAGE", "PREPARE", "RECORD"};

const char *cn_stage_name(enum cn_stage stage)
{
    return (unsigned)stage < CN_STAGE_COUNT ? stage_names[stage] : "?";
}

#define NAMES(function, list, count)                                                               \
    const char *function(unsigned value)                                                           \
    {                                                                                              \
        static const char *const names[] = {list(WORD)};                                           \
        return value < (count) ? names[value] : "?";                                               \
    }
#define WORD(name, text) text,
NAMES(cn_part_name, CN_PARTS, CN_PART_COUNT)
NAMES(cn_stop_name, CN_STOPS, CN_STOP_COUNT)
NAMES(cn_drop_name, CN_DROPS, CN_DROP_COUNT)
NAMES(cn_verdict_name, CN_VERDICTS, CN_VERDICT_COUNT)

enum cn_status cn_batch_init(struct cn_batch *batch, struct cn_arena *arena, const size_t *lengths,
                             size_t n_sequences)
{
    memset(batch, 0, sizeof *batch);
    batch->n_sequences = n_sequences;
    CN_TRY(CN_NEW(arena, n_sequences + 1, &batch->seq_start));
    for (size_t s = 0; s < n_sequences; s++)
        batch->seq_start[s + 1] = batch->seq_start[s] + lengths[s];
    batch->n_tokens = batch->seq_start[n_sequences];
    const size_t rows[] = {[CN_PER_TOKEN] = batch->n_tokens, [CN_PER_SEQ] = n_sequences};
#define X(name, type, per, stage, disk, text)                                                      \
    CN_TRY(CN_NEW(arena, rows[CN_PER_##per], &batch->name));
    CN_BATCH_COLUMNS(X)
#undef X
    for (int c = 0; c < CN_COLUMN_COUNT; c++) {
        if (!cn_column_table[c].is_double) continue;
        double *values = cn_batch_column(batch, (enum cn_column)c);
        for (size_t i = 0; i < rows[cn_column_table[c].per]; i++)
            values[i] = NAN;
    }
    for (size_t s = 0; s < n_sequences; s++)
        batch->parent[s] = -1;
    return CN_OK;
}

void *cn_batch_column(const struct cn_batch *batch, enum cn_column column)
{
    switch (column) {
#define X(name, type, per, stage, disk, text)                                                      \
    case CN_COLUMN_##name:                                                                         \
        return batch->name;
        CN_BATCH_COLUMNS(X)
#undef X
    case CN_COLUMN_COUNT:
        break;
    }
    return NULL;
}

enum cn_status cn_batch_require(const struct cn_batch *batch, cn_columns columns,
                                const char *reader)
{
    cn_columns missing = columns & ~batch->written;
    if (!missing) return CN_OK;
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (missing & CN_BIT(c))
            return cn_fail(CN_ERR_BUG, "%s reads column %s, which stage %s has not written", reader,
                           cn_column_table[c].name, cn_stage_name(cn_column_table[c].stage));
    return CN_OK;
}
