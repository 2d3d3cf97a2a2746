/* Frames: fixed fields first, then texts as length and bytes. */
#include "frame.h"

#include <math.h>
#include <string.h>

struct episode_fields {
    uint64_t response_tokens, max_tokens;
    uint32_t stop, n_messages;
};

struct result_fields {
    double score, reward;
    uint32_t verdict, has_score, has_reward, n_metrics, ops, zero;
};

/* ---- writing ------------------------------------------------------------- */

static enum cn_status put_text(struct cn_str *out, struct cn_text text)
{
    if (text.length > UINT32_MAX - 64)
        return cn_fail(CN_ERR_DATA, "a text of %zu bytes is too long to be scored", text.length);
    const uint32_t length = (uint32_t)text.length;
    CN_TRY(cn_str_append(out, (const char *)&length, sizeof length));
    return length ? cn_str_append(out, text.data, length) : CN_OK;
}

static enum cn_status begin(struct cn_str *out, const void *fields, size_t size, size_t *start)
{
    const struct frame_head head = {0, 0, 0};
    *start = out->length;
    CN_TRY(cn_str_append(out, (const char *)&head, sizeof head));
    return cn_str_append(out, fields, size);
}

/* Writes the length of the frame that begins at `start` into its head. */
static enum cn_status end(struct cn_str *out, size_t start)
{
    const size_t length = out->length - start - FRAME_HEAD;
    const uint32_t stored = (uint32_t)length;
    if (length > UINT32_MAX) return cn_fail(CN_ERR_DATA, "an answer of %zu bytes", length);
    memcpy(out->data + start, &stored, sizeof stored);
    return CN_OK;
}

enum cn_status frame_episode(const struct cn_episode *episode, struct cn_str *out)
{
    const struct episode_fields fields = {.response_tokens = episode->response_tokens,
                                          .max_tokens = episode->max_tokens,
                                          .stop = episode->stop,
                                          .n_messages = (uint32_t)episode->prompt.count};
    const struct cn_text texts[] = {episode->prompt_text, episode->response, episode->ground_truth,
                                    episode->row};
    size_t start;
    CN_TRY(begin(out, &fields, sizeof fields, &start));
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        CN_TRY(put_text(out, texts[i]));
    for (size_t i = 0; i < episode->prompt.count; i++) {
        CN_TRY(put_text(out, cn_text(episode->prompt.item[i].role)));
        CN_TRY(put_text(out, episode->prompt.item[i].content));
    }
    return end(out, start);
}

enum cn_status frame_result(const struct cn_service_result *result, size_t extracted_max,
                            struct cn_str *out)
{
    const struct result_fields fields = {.score = result->score,
                                         .reward = result->reward,
                                         .verdict = result->verdict,
                                         .has_score = result->has_score,
                                         .has_reward = result->has_reward,
                                         .n_metrics = (uint32_t)result->n_metrics,
                                         .ops = result->ops};
    struct cn_text extracted = result->extracted;
    size_t start;
    if (extracted.length > extracted_max) extracted.length = extracted_max;
    CN_TRY(begin(out, &fields, sizeof fields, &start));
    CN_TRY(put_text(out, extracted));
    CN_TRY(put_text(out, result->gold_type));
    CN_TRY(put_text(out, result->tier));
    for (size_t i = 0; i < result->n_metrics; i++) {
        const struct cn_service_metric *metric = &result->metric[i];
        CN_TRY(cn_str_append(out, (const char *)&metric->value, sizeof metric->value));
        CN_TRY(put_text(out, metric->name));
    }
    return end(out, start);
}

enum cn_status frame_verdict(enum cn_verdict verdict, struct cn_str *out)
{
    const struct cn_service_result result = {.verdict = verdict};
    return frame_result(&result, 0, out);
}

/* ---- reading ------------------------------------------------------------- */

/* A place in a frame; `bad` sticks once the bytes have run out. */
struct reader {
    const char *at;
    size_t left;
    bool bad;
};

static void take(struct reader *r, void *out, size_t size)
{
    if (r->bad || r->left < size) {
        r->bad = true;
        memset(out, 0, size);
        return;
    }
    memcpy(out, r->at, size);
    r->at += size;
    r->left -= size;
}

static struct cn_text take_text(struct reader *r)
{
    uint32_t length;
    struct cn_text text = {"", 0};
    take(r, &length, sizeof length);
    if (r->bad || r->left < length) {
        r->bad = true;
        return text;
    }
    text = (struct cn_text){r->at, length};
    r->at += length;
    r->left -= length;
    return text;
}

static enum cn_status read_messages(struct reader *r, size_t count, struct cn_arena *arena,
                                    struct cn_messages *out)
{
    struct cn_message *item;
    if (count == 0) return CN_OK;
    if (count > r->left / (2 * sizeof(uint32_t)))
        return cn_fail(CN_ERR_DATA, "a frame of %zu bytes names %zu messages", r->left, count);
    CN_TRY(CN_NEW(arena, count, &item));
    for (size_t i = 0; i < count; i++) {
        const struct cn_text role = take_text(r);
        char *copy;
        CN_TRY(cn_arena_text(arena, role.data, role.length, &copy));
        item[i].role = copy;
        item[i].content = take_text(r);
    }
    *out = (struct cn_messages){item, count};
    return CN_OK;
}

enum cn_status frame_read_episode(struct cn_text body, struct cn_arena *arena,
                                  struct cn_episode *out)
{
    struct reader r = {body.data, body.length, false};
    struct episode_fields fields;
    struct cn_episode episode = {.group = 0};
    take(&r, &fields, sizeof fields);
    episode.prompt_text = take_text(&r);
    episode.response = take_text(&r);
    episode.ground_truth = take_text(&r);
    episode.row = take_text(&r);
    episode.response_tokens = (size_t)fields.response_tokens;
    episode.max_tokens = (size_t)fields.max_tokens;
    episode.stop = (enum cn_stop)fields.stop;
    if (!r.bad) CN_TRY(read_messages(&r, fields.n_messages, arena, &episode.prompt));
    if (r.bad || r.left || fields.stop >= CN_STOP_COUNT)
        return cn_fail(CN_ERR_DATA, "a frame of %zu bytes is no answer to score", body.length);
    *out = episode;
    return CN_OK;
}

enum cn_status frame_read_result(struct cn_text body, struct cn_service_result *out)
{
    struct reader r = {body.data, body.length, false};
    struct result_fields fields;
    take(&r, &fields, sizeof fields);
    if (r.bad || fields.verdict >= CN_VERDICT_COUNT || fields.n_metrics > CN_SERVICE_METRICS_MAX)
        return cn_fail(CN_ERR_DATA, "a frame of %zu bytes is no result", body.length);
    *out = (struct cn_service_result){.score = fields.score,
                                      .reward = fields.reward,
                                      .has_score = fields.has_score && isfinite(fields.score),
                                      .has_reward = fields.has_reward && isfinite(fields.reward),
                                      .verdict = (enum cn_verdict)fields.verdict,
                                      .n_metrics = fields.n_metrics,
                                      .ops = fields.ops};
    out->extracted = take_text(&r);
    out->gold_type = take_text(&r);
    out->tier = take_text(&r);
    for (size_t i = 0; i < out->n_metrics; i++) {
        take(&r, &out->metric[i].value, sizeof out->metric[i].value);
        out->metric[i].name = take_text(&r);
    }
    if (r.bad || r.left) return cn_fail(CN_ERR_DATA, "a result has %zu bytes too many", r.left);
    return CN_OK;
}
