/* Replies of the three protocols. */
#include "request.h"

#include "code.h"
#include "frame.h"

#include <stdio.h>

static enum cn_status add(struct cn_str *out, const char *text)
{
    return cn_str_add(out, text);
}

static struct cn_text text_of(const struct cn_str *buffer, struct piece piece)
{
    return (struct cn_text){piece.length ? buffer->data + piece.at : "", piece.length};
}

static enum cn_status read_result(const struct service_item *item, struct cn_service_result *out)
{
    if (item->result.length)
        return frame_read_result(text_of(&item->request->results, item->result), out);
    *out = (struct cn_service_result){.verdict = item->error.length ? CN_VERDICT_UNSCORED
                                                                    : CN_VERDICT_TIMEOUT};
    return CN_OK;
}

static enum cn_status number_or_null(struct cn_str *out, bool there, double value)
{
    return there ? cn_json_real(out, value, 17) : add(out, "null");
}

static enum cn_status add_word(struct cn_str *out, const char *key, struct cn_text word)
{
    if (!word.length) return CN_OK;
    CN_TRY(cn_str_format(out, ", \"%s\": ", key));
    return cn_json_quote(out, word);
}

/* ---- ours ---------------------------------------------------------------- */

static enum cn_status score_item(const struct service_item *item,
                                 const struct cn_service_result *result, struct cn_str *out)
{
    const struct cn_text id = text_of(&item->request->notes, item->id),
                         error = text_of(&item->request->notes, item->error);
    CN_TRY(add(out, "{"));
    if (id.length) {
        CN_TRY(add(out, "\"id\": "));
        CN_TRY(cn_str_append(out, id.data, id.length));
        CN_TRY(add(out, ", "));
    }
    CN_TRY(add(out, "\"score\": "));
    CN_TRY(number_or_null(out, result->has_score, result->score));
    CN_TRY(add(out, ", \"reward\": "));
    CN_TRY(number_or_null(out, result->has_reward, result->reward));
    CN_TRY(cn_str_format(
        out, ", \"verdict\": \"%s\", \"extracted\": ", cn_verdict_name(result->verdict)));
    CN_TRY(result->extracted.length ? cn_json_quote(out, result->extracted) : add(out, "null"));
    CN_TRY(add_word(out, "gold_type", result->gold_type));
    CN_TRY(add_word(out, "tier", result->tier));
    if (result->ops) CN_TRY(cn_str_format(out, ", \"ops\": %u", result->ops));
    CN_TRY(add(out, ", \"metrics\": {"));
    for (size_t i = 0; i < result->n_metrics; i++) {
        CN_TRY(add(out, i ? ", " : ""));
        CN_TRY(cn_json_quote(out, result->metric[i].name));
        CN_TRY(add(out, ": "));
        CN_TRY(cn_json_real(out, result->metric[i].value, 17));
    }
    CN_TRY(add(out, "}"));
    if (error.length) {
        CN_TRY(add(out, ", \"error\": "));
        CN_TRY(cn_json_quote(out, error));
    }
    return add(out, "}");
}

static enum cn_status write_score(const struct service_request *request,
                                  const struct reply_setup *setup, struct cn_str *out)
{
    CN_TRY(add(out, "{\"items\": ["));
    for (size_t i = 0; i < request->n; i++) {
        struct cn_service_result result;
        CN_TRY(read_result(&request->item[i], &result));
        CN_TRY(add(out, i ? ", " : ""));
        CN_TRY(score_item(&request->item[i], &result, out));
    }
    return cn_str_format(out, "], \"server\": {\"version\": \"%s\", \"rules\": \"%s\"}}",
                         CN_VERSION, setup->rules);
}

/* ---- the others ---------------------------------------------------------- */

/* In [0, 1]: what filters by difficulty read. */
static double clamped(double score)
{
    return score < 0 ? 0 : score > 1 ? 1 : score;
}

/* One list of the reply to /get_reward: a number per item. */
enum column { COLUMN_REWARD, COLUMN_SCORE, COLUMN_CORRECT, COLUMN_UNSCORED };

static double cell(const struct cn_service_result *result, enum column column, double unscored)
{
    switch (column) {
    case COLUMN_REWARD:
        return result->has_reward ? result->reward : unscored;
    case COLUMN_SCORE:
        return clamped(result->has_score ? result->score : unscored);
    case COLUMN_CORRECT:
        return result->verdict == CN_VERDICT_CORRECT;
    default:
        return !result->has_reward;
    }
}

static enum cn_status write_column(const struct service_request *request, enum column column,
                                   double unscored, struct cn_str *out)
{
    CN_TRY(add(out, "["));
    for (size_t i = 0; i < request->n; i++) {
        struct cn_service_result result;
        CN_TRY(read_result(&request->item[i], &result));
        CN_TRY(add(out, i ? ", " : ""));
        CN_TRY(cn_json_real(out, cell(&result, column, unscored), 17));
    }
    return add(out, "]");
}

/* The client makes tensors of these lists: numbers only, and the same keys every time. */
static enum cn_status write_get_reward(const struct service_request *request,
                                       const struct reply_setup *setup, struct cn_str *out)
{
    static const struct {
        const char *before;
        enum column column;
    } lists[] = {{"{\"rewards\": ", COLUMN_REWARD},
                 {", \"scores\": ", COLUMN_SCORE},
                 {", \"extra_logs\": {\"correct\": ", COLUMN_CORRECT},
                 {", \"unscored\": ", COLUMN_UNSCORED}};
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
        CN_TRY(add(out, lists[i].before));
        CN_TRY(write_column(request, lists[i].column, setup->unscored, out));
    }
    return add(out, "}}");
}

static enum cn_status write_rm(const struct service_request *request,
                               const struct reply_setup *setup, struct cn_str *out)
{
    struct cn_service_result result;
    CN_TRY(read_result(&request->item[0], &result));
    return cn_json_real(out, cell(&result, COLUMN_REWARD, setup->unscored), 17);
}

static enum cn_status write_run_code(const struct service_request *request,
                                     const struct reply_setup *setup, struct cn_str *out)
{
    struct cn_service_result result;
    char message[64];
    (void)setup;
    CN_TRY(read_result(&request->item[0], &result));
    if (result.extracted.length)
        return cn_str_append(out, result.extracted.data, result.extracted.length);
    snprintf(message, sizeof message, "the program could not be run: %s",
             cn_verdict_name(result.verdict));
    return code_reply_error(out, message);
}

enum cn_status reply_write(const struct service_request *request, const struct reply_setup *setup,
                           struct cn_str *out, struct reply_counts *counts)
{
    static enum cn_status (*const writers[])(const struct service_request *,
                                             const struct reply_setup *, struct cn_str *) = {
        [SERVICE_SCORE] = write_score,
        [SERVICE_GET_REWARD] = write_get_reward,
        [SERVICE_RM] = write_rm,
        [SERVICE_RUN_CODE] = write_run_code};
    *counts = (struct reply_counts){0};
    for (size_t i = 0; i < request->n; i++) {
        struct cn_service_result result;
        CN_TRY(read_result(&request->item[i], &result));
        counts->unscored += !result.has_reward;
    }
    return writers[request->form](request, setup, out);
}

enum cn_status reply_error(struct cn_str *out, const char *message)
{
    CN_TRY(add(out, "{\"error\": {\"message\": "));
    CN_TRY(cn_json_quote(out, cn_text(message)));
    return add(out, "}}");
}
