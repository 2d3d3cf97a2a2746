/* Requests of the client, written and read. */
#include "transfer.h"

#include <stdlib.h>
#include <string.h>

enum { REPLY_MAX = 1 << 28 };

/* ---- lists --------------------------------------------------------------- */

void transfer_list_add(struct transfer_list *list, struct transfer_item *item)
{
    item->next = NULL;
    if (list->last)
        list->last->next = item;
    else
        list->first = item;
    list->last = item;
}

void transfer_list_free(struct transfer_list *list)
{
    for (struct transfer_item *item = list->first, *next; item; item = next) {
        next = item->next;
        cn_str_free(&item->json);
        free(item);
    }
    *list = (struct transfer_list){NULL, NULL};
}

void transfer_take_back(struct transfer *transfer, struct transfer_list *waiting)
{
    if (!transfer->items.first) return;
    transfer->items.last->next = waiting->first;
    if (!waiting->last) waiting->last = transfer->items.last;
    waiting->first = transfer->items.first;
    transfer->items = (struct transfer_list){NULL, NULL};
}

/* ---- writing ------------------------------------------------------------- */

static enum cn_status write_prompt(const struct cn_episode *episode, struct cn_str *out)
{
    if (!episode->prompt.count) return cn_json_quote(out, episode->prompt_text);
    CN_TRY(cn_str_add(out, "["));
    for (size_t i = 0; i < episode->prompt.count; i++) {
        CN_TRY(cn_str_add(out, i ? ", {\"role\": " : "{\"role\": "));
        CN_TRY(cn_json_quote(out, cn_text(episode->prompt.item[i].role)));
        CN_TRY(cn_str_add(out, ", \"content\": "));
        CN_TRY(cn_json_quote(out, episode->prompt.item[i].content));
        CN_TRY(cn_str_add(out, "}"));
    }
    return cn_str_add(out, "]");
}

enum cn_status transfer_write_item(const struct cn_episode *episode, struct cn_str *out)
{
    CN_TRY(cn_str_add(out, "{\"prompt\": "));
    CN_TRY(write_prompt(episode, out));
    CN_TRY(cn_str_add(out, ", \"response\": "));
    CN_TRY(cn_json_quote(out, episode->response));
    CN_TRY(cn_str_add(out, ", \"ground_truth\": "));
    CN_TRY(cn_json_quote(out, episode->ground_truth));
    if (episode->row.length && episode->row.data[0] == '{') {
        CN_TRY(cn_str_add(out, ", \"row\": "));
        CN_TRY(cn_str_append(out, episode->row.data, episode->row.length));
    }
    return cn_str_format(out, ", \"stop\": \"%s\", \"response_tokens\": %zu, \"max_tokens\": %zu}",
                         cn_stop_name(episode->stop), episode->response_tokens,
                         episode->max_tokens);
}

static size_t on_reply(char *data, size_t size, size_t count, void *self)
{
    struct transfer *transfer = self;
    const size_t bytes = size * count;
    if (transfer->reply.length + bytes > REPLY_MAX) return 0;
    return cn_str_append(&transfer->reply, data, bytes) == CN_OK ? bytes : 0;
}

/* Sets what does not depend on the server; false: out of memory. */
static bool set_options(struct transfer *t, double time_s)
{
    const long ms = time_s > 0.001 ? (long)(1e3 * time_s) : 1;
    return curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.length) ==
               CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, t->body.data) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEFUNCTION, on_reply) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_WRITEDATA, t) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, ms) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_NOSIGNAL, 1L) == CURLE_OK &&
           curl_easy_setopt(t->easy, CURLOPT_NOPROXY, "127.0.0.1,localhost,::1") == CURLE_OK;
}

enum cn_status transfer_open(struct transfer_list *waiting, size_t most, double now,
                             struct transfer **out)
{
    struct transfer *t = calloc(1, sizeof *t);
    enum cn_status status = CN_OK;
    if (!t) return cn_fail(CN_ERR_MEMORY, "out of memory for a request");
    double until = waiting->first->deadline;
    size_t n = 0;
    status = cn_str_add(&t->body, "{\"items\": [");
    while (waiting->first && n < most && status == CN_OK) {
        struct transfer_item *item = waiting->first;
        if (n && item->alone) break;
        waiting->first = item->next;
        if (!waiting->first) waiting->last = NULL;
        transfer_list_add(&t->items, item);
        if (item->deadline < until) until = item->deadline;
        status = cn_str_add(&t->body, n++ ? ", " : "");
        if (status == CN_OK) status = cn_str_append(&t->body, item->json.data, item->json.length);
        if (item->alone) break;
    }
    if (status == CN_OK)
        status = cn_str_format(&t->body, "], \"deadline_ms\": %.0f}",
                               until - now > 0.001 ? 1e3 * (until - now) : 1);
    t->easy = curl_easy_init();
    if (status == CN_OK && (!t->easy || !set_options(t, until - now)))
        status = cn_fail(CN_ERR_MEMORY, "out of memory for a request");
    if (status == CN_OK) {
        *out = t;
    } else {
        transfer_take_back(t, waiting);
        transfer_close(t);
    }
    return status;
}

void transfer_close(struct transfer *take_transfer)
{
    transfer_list_free(&take_transfer->items);
    if (take_transfer->easy) curl_easy_cleanup(take_transfer->easy);
    cn_str_free(&take_transfer->body);
    cn_str_free(&take_transfer->reply);
    free(take_transfer);
}

/* ---- reading ------------------------------------------------------------- */

static enum cn_status keep_text(struct cn_text text, struct cn_arena *arena, struct cn_text *out)
{
    char *copy;
    *out = (struct cn_text){"", 0};
    if (!text.length) return CN_OK;
    CN_TRY(cn_arena_text(arena, text.data, text.length, &copy));
    *out = (struct cn_text){copy, text.length};
    return CN_OK;
}

static enum cn_status read_verdict(const struct cn_json *node, enum cn_verdict *out)
{
    const struct cn_text word = cn_json_text(cn_json_get(node, "verdict"));
    for (unsigned v = 0; v < CN_VERDICT_COUNT; v++)
        if (cn_text_is(word, cn_verdict_name(v))) {
            *out = (enum cn_verdict)v;
            return CN_OK;
        }
    return cn_fail(CN_ERR_DATA, "an item without a verdict that we know");
}

static enum cn_status read_item(const struct cn_json *node, struct cn_arena *arena,
                                struct cn_service_result *out)
{
    const struct cn_json *score = cn_json_get(node, "score"), *reward = cn_json_get(node, "reward");
    struct cn_service_result r = {.has_score = cn_json_kind(score) == CN_JSON_NUMBER,
                                  .has_reward = cn_json_kind(reward) == CN_JSON_NUMBER,
                                  .score = cn_json_number(score),
                                  .reward = cn_json_number(reward),
                                  .ops = (uint32_t)cn_json_number(cn_json_get(node, "ops"))};
    CN_TRY(read_verdict(node, &r.verdict));
    CN_TRY(keep_text(cn_json_text(cn_json_get(node, "extracted")), arena, &r.extracted));
    CN_TRY(keep_text(cn_json_text(cn_json_get(node, "gold_type")), arena, &r.gold_type));
    CN_TRY(keep_text(cn_json_text(cn_json_get(node, "tier")), arena, &r.tier));
    const struct cn_json *metrics = cn_json_get(node, "metrics");
    for (const struct cn_json *m = cn_json_first(metrics);
         m && r.n_metrics < CN_SERVICE_METRICS_MAX; m = cn_json_next(m)) {
        struct cn_service_metric *metric = &r.metric[r.n_metrics++];
        metric->value = cn_json_number(m);
        CN_TRY(keep_text(cn_text(cn_json_key(m)), arena, &metric->name));
    }
    *out = r;
    return CN_OK;
}

enum cn_status transfer_read(struct transfer *t)
{
    struct cn_json *root;
    CN_TRY(cn_json_parse(cn_str_text(&t->reply), "reply", &root));
    const struct cn_json *node = cn_json_first(cn_json_get(root, "items"));
    struct transfer_item *item = t->items.first;
    enum cn_status status = CN_OK;
    for (; item && node && status == CN_OK; item = item->next, node = cn_json_next(node))
        status = read_item(node, item->arena, item->out);
    if (status == CN_OK && (item || node))
        status = cn_fail(CN_ERR_DATA, "the reply has another number of items than the request");
    cn_json_close(root);
    return status;
}
