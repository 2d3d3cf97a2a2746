/* The table back end: a softmax policy with one row of logits per state, in plain C, with exact
 * gradients.
 *
 * The state of a token is its last `order` predecessors: their digits in base `vocab_size` where
 * vocab_size^order states fit, a hash of them otherwise (rows are then shared).  It learns a bandit
 * in milliseconds and lets everything above the seam be tested without libtorch.  Settings, from
 * model.init or the config.json of model.path: { "type": "table", "vocab_size": 32, "order": 2,
 * "states": 4096, "context": 4096, "initializer_range": 0.01 } */
#include "model_table.h"

#include "carnot/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ORDER_MAX = 16 };

/* ---- states -------------------------------------------------------------- */

/* Row of the table for the token after ids[0..n). */
static size_t state_of(const struct table *t, const int32_t *ids, size_t n)
{
    const uint64_t vocab = t->info.vocab_size, states = (uint64_t)t->states;
    uint64_t exact = 0, mixed = 0x9e3779b97f4a7c15u, reach = 1;
    bool fits = true;
    for (size_t k = (size_t)t->order; k > 0; k--) {
        uint64_t id = k <= n ? (uint64_t)ids[n - k] : 0;
        exact = exact * vocab + id;
        mixed = (mixed ^ (id + 1)) * 0xbf58476d1ce4e5b9u;
        mixed ^= mixed >> 29;
        fits = fits && reach <= states / vocab;
        reach *= fits ? vocab : 1;
    }
    return (size_t)(fits ? exact : mixed % states);
}

enum cn_status table_need_trainable(const struct table *t)
{
    if (t->trainable) return CN_OK;
    return cn_fail(CN_ERR_BUG, "this model was opened for scoring only (trainable = false)");
}

static enum cn_status check_ids(const struct table *t, const int32_t *ids, size_t n, size_t index)
{
    if (n > t->info.context_length)
        return cn_fail(CN_ERR_MODEL, "sequence %zu has %zu tokens, the model's context is %zu",
                       index, n, t->info.context_length);
    for (size_t i = 0; i < n; i++)
        if (ids[i] < 0 || (size_t)ids[i] >= t->info.vocab_size)
            return cn_fail(CN_ERR_MODEL,
                           "token %zu of sequence %zu has id %d, the model's vocabulary has %zu", i,
                           index, (int)ids[i], t->info.vocab_size);
    return CN_OK;
}

/* Collects the policy tokens of an atom. */
static enum cn_status collect(struct table *t, const struct cn_atom *atom)
{
    const struct cn_batch *batch = atom->batch;
    t->n_items = 0;
    if (atom->channels & CN_LIVE_BIT(value) && !t->value.all.n)
        return cn_fail(CN_ERR_MODEL,
                       "no value head: channel value was asked for, but this model has none");
    if (!(atom->temperature > 0))
        return cn_fail(CN_ERR_BUG, "temperature of an atom is %g, it must be positive",
                       atom->temperature);
    size_t most = batch->seq_start[atom->span.end] - batch->seq_start[atom->span.begin];
    if (most > t->items_capacity) {
        struct item *grown = realloc(t->items, most * sizeof *grown);
        if (!grown) return cn_fail(CN_ERR_MEMORY, "out of memory: an atom of %zu tokens", most);
        t->items = grown;
        t->items_capacity = most;
    }
    for (size_t s = atom->span.begin; s < atom->span.end; s++) {
        const size_t begin = batch->seq_start[s], end = batch->seq_start[s + 1];
        CN_TRY(check_ids(t, batch->token + begin, end - begin, s));
        for (size_t i = begin + 1; i < end; i++)
            if (batch->role[i] == CN_ROLE_POLICY)
                t->items[t->n_items++] =
                    (struct item){state_of(t, batch->token + begin, i - begin), i, batch->token[i]};
    }
    return CN_OK;
}

/* ---- scoring and training ------------------------------------------------ */

static void fill(struct table *t, const float *weight, const struct cn_atom *atom,
                 const struct cn_live_out *out)
{
    double *const columns[] = {out->logp, out->entropy, out->entropy_top, out->value};
    const size_t begin = atom->batch->seq_start[atom->span.begin],
                 end = atom->batch->seq_start[atom->span.end];
    for (size_t c = 0; c < sizeof columns / sizeof *columns; c++)
        for (size_t i = begin; columns[c] && i < end; i++)
            columns[c][i] = 0;
    const struct cn_top top = atom->channels & CN_LIVE_BIT(entropy_top)
                                  ? atom->top
                                  : (struct cn_top){.form = CN_TOP_NONE};
    for (size_t k = 0; k < t->n_items; k++) {
        const struct item *item = &t->items[k];
        table_row_forward(&t->row, weight + item->state * t->info.vocab_size, atom->temperature,
                          &top);
        if (out->logp) out->logp[item->token] = t->row.log_p[item->target];
        if (out->entropy) out->entropy[item->token] = t->row.entropy;
        if (out->entropy_top) out->entropy_top[item->token] = t->row.top_entropy;
        if (out->value) out->value[item->token] = (double)t->value.all.weight[item->state];
    }
}

static enum cn_status table_score(void *self, int copy, const struct cn_atom *atom,
                                  const struct cn_live_out *out)
{
    struct table *t = self;
    float *weight = NULL;
    t->pending = false;
    CN_TRY(table_weights_of(t, copy, &weight));
    CN_TRY(collect(t, atom));
    fill(t, weight, atom, out);
    return CN_OK;
}

static enum cn_status table_forward(void *self, const struct cn_atom *atom,
                                    const struct cn_live_out *out)
{
    struct table *t = self;
    CN_TRY(table_need_trainable(t));
    CN_TRY(table_score(t, -1, atom, out));
    t->atom = *atom;
    t->pending = true;
    return CN_OK;
}

static double at(const double *column, size_t i)
{
    return column ? column[i] : 0;
}

static enum cn_status table_backward(void *self, const struct cn_token_grad *grad,
                                     const struct cn_ready *ready)
{
    struct table *t = self;
    (void)ready; /* no part of a table is done before the others */
    if (!t->pending) return cn_fail(CN_ERR_BUG, "backward without a pending forward");
    t->pending = false;
    const bool restricted = t->atom.channels & CN_LIVE_BIT(entropy_top);
    const struct cn_top top = restricted ? t->atom.top : (struct cn_top){.form = CN_TOP_NONE};
    for (size_t k = 0; k < t->n_items; k++) {
        const struct item *item = &t->items[k];
        const size_t row = item->state * t->info.vocab_size;
        table_row_forward(&t->row, t->body.weight + row, t->atom.temperature, &top);
        const struct table_row_gradient d = {
            .target = item->target,
            .d_logp = at(grad->d_logp, item->token),
            .d_entropy = at(grad->d_entropy, item->token),
            .d_top = restricted ? at(grad->d_entropy_top, item->token) : 0};
        table_row_backward(&t->row, &d, t->body.gradient + row);
        if (t->atom.channels & CN_LIVE_BIT(value))
            t->value.all.gradient[item->state] += (float)at(grad->d_value, item->token);
    }
    return CN_OK;
}

static enum cn_status table_zero_gradients(void *self)
{
    struct table *t = self;
    if (t->body.gradient) memset(t->body.gradient, 0, t->body.n * sizeof *t->body.gradient);
    if (t->value.all.gradient)
        memset(t->value.all.gradient, 0, t->value.all.n * sizeof *t->value.all.gradient);
    return CN_OK;
}

static enum cn_status table_gradients(void *self, const struct cn_buffer **out, size_t *n)
{
    struct table *t = self;
    CN_TRY(table_need_trainable(t));
    *out = t->gradient_buffer;
    *n = t->n_buffers;
    return CN_OK;
}

static enum cn_status table_flat_gradient(void *self, struct cn_buffer out[2], size_t *n)
{
    struct table *t = self;
    CN_TRY(table_need_trainable(t));
    out[0] = t->gradient_buffer[0];
    *n = 1 + value_head_flat_gradient(&t->value, &out[1]);
    return CN_OK;
}

static enum cn_status table_weights(void *self, const struct cn_buffer **out, size_t *n)
{
    struct table *t = self;
    *out = t->weight_buffer;
    *n = t->n_buffers;
    return CN_OK;
}

/* ---- open and close ------------------------------------------------------ */

static enum cn_status table_logits(void *self, const struct backend_rows *rows, float *out)
{
    struct table *t = self;
    const size_t vocab = t->info.vocab_size;
    for (size_t s = 0; s < rows->n; s++) {
        const int32_t *ids = rows->ids + rows->start[s];
        const size_t n = rows->start[s + 1] - rows->start[s];
        CN_TRY(check_ids(t, ids, n, s));
        for (size_t i = rows->all ? 1 : n; i <= n; i++, out += vocab)
            memcpy(out, t->body.weight + state_of(t, ids, i) * vocab, vocab * sizeof *out);
    }
    return CN_OK;
}

static struct value_head *table_value_head(void *self)
{
    return &((struct table *)self)->value;
}

static const struct cn_model_info *table_info(const void *self)
{
    return &((const struct table *)self)->info;
}

static void table_close(void *self)
{
    struct table *t = self;
    free(t->copies);
    shard_close(&t->shard);
    value_head_close(&t->value);
    cn_arena_free(&t->arena);
    free(t->items);
    table_row_free(&t->row);
    free(t);
}

static enum cn_status parse(struct table *t, const struct cn_json *config)
{
    int64_t vocab, context;
    CN_TRY(cn_json_need_int(config, "vocab_size", 2, 1 << 20, &vocab));
    CN_TRY(cn_json_int_or(config, "order", 0, ORDER_MAX, 2, &t->order));
    CN_TRY(cn_json_int_or(config, "states", 1, 1 << 24, 4096, &t->states));
    CN_TRY(cn_json_int_or(config, "context", 1, 1 << 24, 4096, &context));
    CN_TRY(cn_json_real_or(config, "initializer_range", 0.01, &t->initializer_range));
    t->info = (struct cn_model_info){.family = "table",
                                     .vocab_size = (size_t)vocab,
                                     .context_length = (size_t)context,
                                     .hidden_size = (size_t)t->states,
                                     .n_layers = 1};
    if (t->states > (int64_t)(SIZE_MAX / 64) / vocab || vocab * t->states > ((int64_t)1 << 31))
        return cn_fail(CN_ERR_MODEL,
                       "a table of %lld states x %lld tokens is too large: at most 2^31 numbers",
                       (long long)t->states, (long long)vocab);
    t->body.n = t->body.n_decayed = (size_t)(vocab * t->states);
    t->info.n_parameters = t->body.n;
    return CN_OK;
}

static enum cn_status parse_folder(struct table *t, const char *folder)
{
    struct cn_str path = {0}, text = {0};
    struct cn_json *root = NULL;
    enum cn_status status;
    CN_TRY_GOTO(cn_str_format(&path, "%s/config.json", folder), out);
    CN_TRY_GOTO(cn_file_read(path.data, 1 << 20, &text), out);
    CN_TRY_GOTO(cn_json_parse(cn_str_text(&text), path.data, &root), out);
    status = parse(t, root);
    if (status != CN_OK) status = cn_fail_context(status, "%s", path.data);
out:
    cn_json_close(root);
    cn_str_free(&path);
    cn_str_free(&text);
    return status;
}

static enum cn_status allocate(struct table *t, const struct cn_model_settings *settings)
{
    const struct value_head_size size = {(size_t)t->states, false, t->trainable};
    if (settings->value_head) CN_TRY(value_head_open(&t->value, &size));
    t->info.value_head = settings->value_head;
    CN_TRY(CN_NEW(&t->arena, t->body.n, &t->body.weight));
    if (t->trainable) {
        CN_TRY(shard_open(&t->shard, &settings->shard, t->body.n));
        const size_t own = t->shard.end - t->shard.begin + 1; /* a share may be empty */
        CN_TRY(CN_NEW(&t->arena, t->body.n, &t->body.gradient));
        CN_TRY(CN_NEW(&t->arena, own, &t->body.m));
        CN_TRY(CN_NEW(&t->arena, own, &t->body.v));
    }
    t->weight_buffer[0] = (struct cn_buffer){.name = "table.weight",
                                             .dtype = CN_DTYPE_F32,
                                             .rank = 2,
                                             .shape = {t->states, (int64_t)t->info.vocab_size},
                                             .count = t->body.n,
                                             .data = t->body.weight,
                                             .device = -1};
    t->gradient_buffer[0] = t->weight_buffer[0];
    t->gradient_buffer[0].data = t->body.gradient;
    t->n_buffers = 1 + value_head_buffers(&t->value, t->value.all.weight, t->weight_buffer + 1);
    value_head_buffers(&t->value, t->value.all.gradient, t->gradient_buffer + 1);
    return table_row_init(&t->row, t->info.vocab_size);
}

static void random_start(struct table *t, uint64_t seed)
{
    const struct cn_rng_key key = cn_rng_key(seed, 0, CN_RNG_INIT);
    for (size_t state = 0; state < (size_t)t->states; state++) {
        struct cn_rng rng;
        cn_rng_open(&rng, key, 0, 0, (uint32_t)state);
        for (size_t j = 0; j < t->info.vocab_size; j++)
            t->body.weight[state * t->info.vocab_size + j] =
                (float)(cn_rng_normal(&rng) * t->initializer_range);
    }
}

static enum cn_status table_open(const struct cn_model_settings *settings, void **self)
{
    struct table *t = calloc(1, sizeof *t);
    if (!t) return cn_fail(CN_ERR_MEMORY, "out of memory opening a model");
    cn_arena_init(&t->arena);
    t->trainable = settings->trainable;
    enum cn_status status;
    CN_TRY_GOTO(settings->path ? parse_folder(t, settings->path) : parse(t, settings->init), out);
    CN_TRY_GOTO(allocate(t, settings), out);
    if (settings->path)
        status = table_read_weights(t, settings->path, t->body.weight);
    else
        random_start(t, settings->seed);
out:
    if (status != CN_OK)
        table_close(t);
    else
        *self = t;
    return status;
}

const struct cn_model_backend cn_model_backend_table = {
    .name = "table",
    .open = table_open,
    .close = table_close,
    .info = table_info,
    .score = table_score,
    .forward = table_forward,
    .backward = table_backward,
    .zero_gradients = table_zero_gradients,
    .gradients = table_gradients,
    .weights = table_weights,
    .flat_gradient = table_flat_gradient,
    .step = table_step,
    .freeze = table_freeze,
    .save = table_save,
    .state_save = table_state_save,
    .state_load = table_state_load,
    .value_head = table_value_head,
    .logits = table_logits,
};
