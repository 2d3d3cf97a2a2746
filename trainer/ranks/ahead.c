/* Sampled batches as bytes. */
#include "ahead.h"

#include "../run/states.h"

#include <stdlib.h>
#include <string.h>

static const char magic[8] = "CNAHEAD1";
static const size_t file_limit = (size_t)1 << 40;

/* Begins every batch; `columns` are those that follow. */
struct head {
    char magic[8];
    uint64_t step, weights, position, columns, n_sequences, n_tokens, n_metrics, n_shown;
    struct experience_times times;
};

struct metric_head {
    uint64_t name;
    int64_t kind;
    double value;
    struct cn_sum sum;
};

struct shown_head {
    uint64_t prompt, response, ground_truth;
    double score;
};

/* ---- to bytes ------------------------------------------------------------ */

static enum cn_status put(struct cn_str *out, const void *bytes, size_t n)
{
    return n ? cn_str_append(out, bytes, n) : CN_OK;
}

static cn_columns columns_of(const struct cn_batch *batch)
{
    cn_columns columns = 0;
    for (int c = 0; c < CN_COLUMN_COUNT; c++) {
        const enum cn_stage stage = cn_column_table[c].stage;
        if (stage == CN_STAGE_SAMPLE || stage == CN_STAGE_REWARD) columns |= CN_BIT(c);
    }
    return batch->written & columns;
}

static size_t column_bytes(const struct cn_batch *batch, int c)
{
    const struct cn_column_info *info = &cn_column_table[c];
    return info->size * (info->per == CN_PER_TOKEN ? batch->n_tokens : batch->n_sequences);
}

static enum cn_status put_batch(const struct cn_batch *batch, struct cn_str *out)
{
    const cn_columns columns = columns_of(batch);
    for (size_t s = 0; s < batch->n_sequences; s++) {
        const uint64_t length = batch->seq_start[s + 1] - batch->seq_start[s];
        CN_TRY(put(out, &length, sizeof length));
    }
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (columns & CN_BIT(c))
            CN_TRY(put(out, cn_batch_column(batch, (enum cn_column)c), column_bytes(batch, c)));
    return CN_OK;
}

static enum cn_status put_metric(const struct cn_metric *m, struct cn_str *out)
{
    struct metric_head head;
    memset(&head, 0, sizeof head); /* padding of the sum, too */
    head.name = strlen(m->name);
    head.kind = m->kind;
    head.value = m->value;
    head.sum = m->sum;
    CN_TRY(put(out, &head, sizeof head));
    return put(out, m->name, head.name);
}

static enum cn_status put_shown(const struct eval_shown *shown, struct cn_str *out)
{
    const struct shown_head head = {shown->prompt.length, shown->response.length,
                                    shown->ground_truth.length, shown->score};
    CN_TRY(put(out, &head, sizeof head));
    CN_TRY(put(out, shown->prompt.data, head.prompt));
    CN_TRY(put(out, shown->response.data, head.response));
    return put(out, shown->ground_truth.data, head.ground_truth);
}

enum cn_status ahead_pack(const struct experience_result *r, const struct cn_metrics *metrics,
                          const struct cn_recipe *recipe, struct cn_str *out)
{
    struct head head = {.step = r->step,
                        .weights = r->weights,
                        .position = r->position,
                        .columns = columns_of(r->batch),
                        .n_sequences = r->batch->n_sequences,
                        .n_tokens = r->batch->n_tokens,
                        .n_metrics = metrics->count,
                        .n_shown = r->n_shown,
                        .times = r->times};
    memcpy(head.magic, magic, sizeof magic);
    CN_TRY(put(out, &head, sizeof head));
    CN_TRY(put_batch(r->batch, out));
    for (size_t i = 0; i < metrics->count; i++)
        CN_TRY(put_metric(&metrics->item[i], out));
    for (size_t i = 0; i < r->n_shown; i++)
        CN_TRY(put_shown(&r->shown[i], out));
    return states_put(recipe, STATES_SAMPLING, out);
}

/* ---- and back ------------------------------------------------------------ */

static enum cn_status need(const struct cn_text *from, uint64_t n)
{
    if (n <= from->length) return CN_OK;
    return cn_fail(CN_ERR_DATA, "a batch that was sampled ahead is cut off: %zu bytes left of %llu",
                   from->length, (unsigned long long)n);
}

static enum cn_status take(struct cn_text *from, void *out, uint64_t n)
{
    CN_TRY(need(from, n));
    if (n) memcpy(out, from->data, (size_t)n);
    from->data += n;
    from->length -= (size_t)n;
    return CN_OK;
}

static enum cn_status take_text(struct cn_text *from, uint64_t n, struct cn_arena *arena,
                                struct cn_text *out)
{
    char *text;
    CN_TRY(need(from, n));
    CN_TRY(cn_arena_text(arena, from->data, (size_t)n, &text));
    *out = (struct cn_text){text, (size_t)n};
    from->data += n;
    from->length -= (size_t)n;
    return CN_OK;
}

static enum cn_status take_batch(struct cn_text *from, const struct head *head,
                                 struct cn_arena *arena, struct cn_batch *batch)
{
    size_t *lengths;
    CN_TRY(need(from, head->n_sequences)); /* a limit for what is allocated */
    CN_TRY(CN_NEW(arena, (size_t)head->n_sequences, &lengths));
    for (uint64_t s = 0; s < head->n_sequences; s++) {
        uint64_t length;
        CN_TRY(take(from, &length, sizeof length));
        CN_TRY(need(from, length));
        lengths[s] = (size_t)length;
    }
    CN_TRY(cn_batch_init(batch, arena, lengths, (size_t)head->n_sequences));
    if (batch->n_tokens != head->n_tokens)
        return cn_fail(CN_ERR_DATA, "a batch that was sampled ahead has %zu tokens instead of %llu",
                       batch->n_tokens, (unsigned long long)head->n_tokens);
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (head->columns & CN_BIT(c))
            CN_TRY(take(from, cn_batch_column(batch, (enum cn_column)c), column_bytes(batch, c)));
    batch->written = head->columns;
    return CN_OK;
}

static enum cn_status take_metric(struct cn_text *from, struct cn_arena *arena,
                                  struct cn_metrics *metrics)
{
    struct metric_head head;
    struct cn_text name;
    CN_TRY(take(from, &head, sizeof head));
    CN_TRY(take_text(from, head.name, arena, &name));
    const struct cn_metric m = {.name = name.data,
                                .kind = (enum cn_metric_kind)head.kind,
                                .sum = head.sum,
                                .value = head.value};
    return cn_metrics_add(metrics, &m);
}

static enum cn_status take_shown(struct cn_text *from, struct cn_arena *arena,
                                 struct eval_shown *out)
{
    struct shown_head head;
    CN_TRY(take(from, &head, sizeof head));
    CN_TRY(take_text(from, head.prompt, arena, &out->prompt));
    CN_TRY(take_text(from, head.response, arena, &out->response));
    out->score = head.score;
    return take_text(from, head.ground_truth, arena, &out->ground_truth);
}

static enum cn_status take_head(struct cn_text *from, struct head *head)
{
    CN_TRY(take(from, head, sizeof *head));
    if (memcmp(head->magic, magic, sizeof magic) == 0) return CN_OK;
    return cn_fail(CN_ERR_DATA, "these bytes are no batch that was sampled ahead");
}

enum cn_status ahead_unpack(struct cn_text bytes, const struct cn_recipe *recipe,
                            struct cn_arena *arena, struct cn_metrics *metrics,
                            struct experience_result *out)
{
    struct head head;
    struct eval_shown *shown;
    CN_TRY(take_head(&bytes, &head));
    *out = (struct experience_result){.step = head.step,
                                      .weights = head.weights,
                                      .position = head.position,
                                      .n_shown = (size_t)head.n_shown,
                                      .times = head.times};
    CN_TRY(CN_NEW(arena, 1, &out->batch));
    CN_TRY(take_batch(&bytes, &head, arena, out->batch));
    for (uint64_t i = 0; i < head.n_metrics; i++)
        CN_TRY(take_metric(&bytes, arena, metrics));
    CN_TRY(need(&bytes, head.n_shown));
    CN_TRY(CN_NEW(arena, out->n_shown, &shown));
    for (size_t i = 0; i < out->n_shown; i++)
        CN_TRY(take_shown(&bytes, arena, &shown[i]));
    out->shown = shown;
    return states_take(recipe, STATES_SAMPLING, &bytes);
}

/* ---- in a row ------------------------------------------------------------ */

enum cn_status ahead_add(struct ahead *ahead, struct cn_str *take_bytes)
{
    CN_BUG_IF(ahead->n > AHEAD_MAX);
    ahead->item[ahead->n++] = *take_bytes;
    *take_bytes = (struct cn_str){NULL, 0, 0};
    return CN_OK;
}

enum cn_status ahead_pop(struct ahead *ahead, struct cn_str *out)
{
    CN_BUG_IF(ahead->n == 0);
    *out = ahead->item[0];
    ahead->n--;
    memmove(ahead->item, ahead->item + 1, ahead->n * sizeof *ahead->item);
    return CN_OK;
}

enum cn_status ahead_next(struct ahead *ahead, uint64_t step, struct cn_arena *arena,
                          struct cn_metrics *metrics, struct experience_result *out)
{
    struct cn_str bytes = {NULL, 0, 0};
    CN_TRY(ahead_pop(ahead, &bytes));
    const enum cn_status status = ahead_unpack(cn_str_text(&bytes), NULL, arena, metrics, out);
    cn_str_free(&bytes);
    CN_TRY(status);
    CN_BUG_IF(out->step != step);
    return CN_OK;
}

void ahead_free(struct ahead *ahead)
{
    for (size_t i = 0; i < ahead->n; i++)
        cn_str_free(&ahead->item[i]);
    ahead->n = 0;
}

/* ---- file ---------------------------------------------------------------- */

enum cn_status ahead_save(const struct ahead *ahead, const char *path)
{
    struct cn_str all = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    for (size_t i = 0; status == CN_OK && i < ahead->n; i++) {
        const uint64_t length = ahead->item[i].length;
        status = put(&all, &length, sizeof length);
        if (status == CN_OK) status = put(&all, ahead->item[i].data, ahead->item[i].length);
    }
    if (status == CN_OK) status = cn_file_replace(path, all.data, all.length);
    cn_str_free(&all);
    return status;
}

static enum cn_status read_items(struct ahead *ahead, struct cn_text from, uint64_t *last)
{
    while (from.length) {
        struct cn_str item = {NULL, 0, 0};
        struct cn_text bytes;
        struct head head;
        uint64_t length;
        CN_TRY(take(&from, &length, sizeof length));
        CN_TRY(need(&from, length));
        bytes = (struct cn_text){from.data, (size_t)length};
        CN_TRY(put(&item, from.data, (size_t)length));
        CN_TRY(ahead_add(ahead, &item));
        CN_TRY(take_head(&bytes, &head));
        *last = head.step;
        from.data += length;
        from.length -= (size_t)length;
    }
    return CN_OK;
}

enum cn_status ahead_load(struct ahead *ahead, const char *path, uint64_t *last)
{
    struct cn_str all = {NULL, 0, 0};
    ahead_free(ahead);
    *last = 0;
    CN_TRY(cn_file_read(path, file_limit, &all));
    const enum cn_status status = read_items(ahead, cn_str_text(&all), last);
    cn_str_free(&all);
    return status == CN_OK ? CN_OK : cn_fail_context(status, "%s", path);
}
