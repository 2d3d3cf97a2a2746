/* Reading a batch from JSON. */
#include "gradient_batch.h"

#include <math.h>
#include <string.h>

/* Arrays per token, and where they go. */
struct field {
    const char *key;
    int column;  /* enum cn_column, or -1 */
    int channel; /* enum cn_channel, or -1 */
};

static const struct field fields[] = {
    {"token", CN_COLUMN_token, -1},
    {"turn", CN_COLUMN_turn, -1},
    {"token_reward", CN_COLUMN_token_reward, -1},
    {"logp_old", CN_COLUMN_logp_old, -1},
    {"logp_sampled", CN_COLUMN_logp_sampled, -1},
    {"logp_ref", CN_COLUMN_logp_ref, -1},
    {"logp_anchor", CN_COLUMN_logp_anchor, -1},
    {"entropy_old", CN_COLUMN_entropy_old, -1},
    {"entropy_top_old", CN_COLUMN_entropy_top_old, -1},
    {"entropy_sampled", CN_COLUMN_entropy_sampled, -1},
    {"value_old", CN_COLUMN_value_old, -1},
    {"logp_new", -1, CN_CHANNEL_logp},
    {"entropy_new", -1, CN_CHANNEL_entropy},
    {"entropy_top_new", -1, CN_CHANNEL_entropy_top},
    {"value_new", -1, CN_CHANNEL_value},
};

enum { FIELDS = sizeof fields / sizeof *fields };

/* Members of a sequence that are not arrays. */
static const char *const scalars[] = {"group",  "reward", "score",   "part",
                                      "drop",   "stop",   "role",    "temperature",
                                      "prompt", "sample", "version", "answer"};

struct reading {
    struct gradient_batch *out;
    double *channel[CN_CHANNEL_COUNT]; /* allocated when first met */
    const struct cn_json **sequence;   /* (S) */
    struct cn_arena *arena;
};

/* ---- one value ----------------------------------------------------------- */

/* A sequence of the input and its place in the list. */
struct row {
    const struct cn_json *json;
    size_t s;
};

static enum cn_status read_whole(const struct row *row, const char *key, double maximum,
                                 double fallback, double *out)
{
    const struct cn_json *node = cn_json_get(row->json, key);
    *out = fallback;
    if (cn_json_kind(node) == CN_JSON_NULL) return CN_OK;
    *out = cn_json_number(node);
    if (cn_json_kind(node) != CN_JSON_NUMBER || *out < 0 || *out > maximum || *out != floor(*out))
        return cn_fail(CN_ERR_DATA, "sequence %zu: \"%s\" must be a whole number from 0 to %.0f",
                       row->s, key, maximum);
    return CN_OK;
}

/* A word of a list, or its number. */
static enum cn_status read_word(const struct row *row, const char *key,
                                const char *(*word)(unsigned), unsigned count, uint8_t *out)
{
    const struct cn_json *node = cn_json_get(row->json, key);
    double number;
    if (cn_json_kind(node) == CN_JSON_TEXT) {
        for (unsigned i = 0; i < count; i++)
            if (cn_text_is(cn_json_text(node), word(i))) {
                *out = (uint8_t)i;
                return CN_OK;
            }
        return cn_fail(CN_ERR_DATA, "sequence %zu: \"%s\" is \"%s\", not one of the known words",
                       row->s, key, cn_json_text(node).data);
    }
    CN_TRY(read_whole(row, key, count - 1, 0, &number));
    *out = (uint8_t)number;
    return CN_OK;
}

static enum cn_status read_real(const struct row *row, const char *key, double fallback,
                                double *out)
{
    const struct cn_json *node = cn_json_get(row->json, key);
    *out = fallback;
    if (cn_json_kind(node) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(node) != CN_JSON_NUMBER)
        return cn_fail(CN_ERR_DATA, "sequence %zu: \"%s\" must be a number", row->s, key);
    *out = cn_json_number(node);
    return CN_OK;
}

/* ---- one sequence -------------------------------------------------------- */

static enum cn_status check_keys(const struct cn_json *sequence, size_t s)
{
    for (const struct cn_json *n = cn_json_first(sequence); n; n = cn_json_next(n)) {
        bool known = false;
        for (size_t i = 0; i < sizeof scalars / sizeof *scalars; i++)
            known = known || strcmp(scalars[i], cn_json_key(n)) == 0;
        for (size_t i = 0; i < FIELDS; i++)
            known = known || strcmp(fields[i].key, cn_json_key(n)) == 0;
        if (!known)
            return cn_fail(CN_ERR_DATA, "sequence %zu: unknown key \"%s\"", s, cn_json_key(n));
    }
    return CN_OK;
}

static enum cn_status read_role(struct cn_batch *batch, const struct cn_json *sequence, size_t s)
{
    size_t t = batch->seq_start[s];
    const struct cn_json *list = cn_json_get(sequence, "role");
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n), t++) {
        double role = cn_json_number(n);
        if (cn_json_kind(n) != CN_JSON_NUMBER || (role != 0 && role != 1 && role != 2))
            return cn_fail(CN_ERR_DATA,
                           "sequence %zu: \"role\"[%zu] must be 0 (prompt), 1 (policy) or 2 "
                           "(environment)",
                           s, t - batch->seq_start[s]);
        batch->role[t] = (uint8_t)role;
    }
    return CN_OK;
}

static enum cn_status read_scalars(struct cn_batch *b, const struct cn_json *sequence, size_t s)
{
    const struct row row = {sequence, s};
    double group, prompt, sample, version, temperature, answer;
    if (cn_json_kind(cn_json_get(sequence, "group")) == CN_JSON_NULL)
        return cn_fail(CN_ERR_DATA, "sequence %zu: \"group\" is missing", s);
    CN_TRY(read_whole(&row, "group", UINT32_MAX, 0, &group));
    CN_TRY(read_whole(&row, "prompt", 9007199254740992.0, group, &prompt));
    CN_TRY(read_whole(&row, "sample", UINT32_MAX, (double)s, &sample));
    CN_TRY(read_whole(&row, "version", UINT32_MAX, 0, &version));
    CN_TRY(read_whole(&row, "answer", UINT32_MAX, 0, &answer));
    CN_TRY(read_real(&row, "temperature", 1, &temperature));
    CN_TRY(read_word(&row, "part", cn_part_name, CN_PART_COUNT, &b->part[s]));
    CN_TRY(read_word(&row, "drop", cn_drop_name, CN_DROP_COUNT, &b->drop[s]));
    CN_TRY(read_word(&row, "stop", cn_stop_name, CN_STOP_COUNT, &b->stop[s]));
    CN_TRY(read_real(&row, "reward", NAN, &b->reward[s]));
    CN_TRY(read_real(&row, "score", b->reward[s], &b->score[s]));
    if (isnan(b->reward[s]) && b->drop[s] == CN_DROP_NONE) b->drop[s] = CN_DROP_UNSCORED;
    b->group[s] = (uint32_t)group;
    b->prompt[s] = (uint64_t)prompt;
    b->sample[s] = (uint32_t)sample;
    b->temperature[s] = (float)temperature;
    b->answer[s] = (uint32_t)answer;
    for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
        b->version[t] = (uint32_t)version;
    return CN_OK;
}

static void store(struct reading *r, const struct field *field, size_t t, double value)
{
    struct cn_batch *b = &r->out->batch;
    if (field->channel >= 0)
        r->channel[field->channel][t] = value;
    else if (field->column == CN_COLUMN_token)
        b->token[t] = isfinite(value) ? (int32_t)value : 0;
    else if (field->column == CN_COLUMN_turn)
        b->turn[t] = isfinite(value) ? (uint16_t)value : 0;
    else
        ((double *)cn_batch_column(b, (enum cn_column)field->column))[t] = value;
}

/* Largest number that an entry may hold, or infinity. */
static double limit_of(const struct field *field)
{
    if (field->column == CN_COLUMN_token) return INT32_MAX;
    return field->column == CN_COLUMN_turn ? UINT16_MAX : INFINITY;
}

static enum cn_status read_array(struct reading *r, const struct field *field, size_t s)
{
    const struct cn_batch *b = &r->out->batch;
    const struct cn_json *list = cn_json_get(r->sequence[s], field->key);
    const size_t begin = b->seq_start[s], n = b->seq_start[s + 1] - begin;
    if (cn_json_kind(list) != CN_JSON_LIST || cn_json_count(list) != n)
        return cn_fail(CN_ERR_DATA,
                       "sequence %zu: \"%s\" must be a list of %zu numbers, one per entry of "
                       "\"role\"",
                       s, field->key, n);
    size_t t = begin;
    for (const struct cn_json *v = cn_json_first(list); v; v = cn_json_next(v), t++) {
        const bool policy = b->role[t] == CN_ROLE_POLICY, whole = isfinite(limit_of(field));
        double value = cn_json_kind(v) == CN_JSON_NUMBER ? cn_json_number(v) : NAN;
        if (!policy && !whole) value = NAN; /* whoever reads it, shows */
        if (policy && isnan(value))
            return cn_fail(CN_ERR_DATA, "sequence %zu: \"%s\"[%zu] must be a number: its role is 1",
                           s, field->key, t - begin);
        if (whole && isfinite(value) &&
            (value < 0 || value > limit_of(field) || value != floor(value)))
            return cn_fail(CN_ERR_DATA, "sequence %zu: \"%s\"[%zu] must be a whole number from 0",
                           s, field->key, t - begin);
        store(r, field, t, value);
    }
    return CN_OK;
}

/* ---- all of them --------------------------------------------------------- */

static enum cn_status open_channel(struct reading *r, enum cn_channel channel)
{
    CN_TRY(CN_NEW(r->arena, r->out->batch.n_tokens, &r->channel[channel]));
#define X(name, text)                                                                              \
    if (channel == CN_CHANNEL_##name) r->out->live.name = r->channel[channel];
    CN_LIVE(X)
#undef X
    return CN_OK;
}

static enum cn_status read_field(struct reading *r, const struct field *field)
{
    struct cn_batch *b = &r->out->batch;
    size_t have = 0;
    for (size_t s = 0; s < b->n_sequences; s++)
        have += cn_json_get(r->sequence[s], field->key) != NULL;
    if (have == 0) return CN_OK;
    if (have < b->n_sequences)
        return cn_fail(CN_ERR_DATA, "\"%s\" stands in %zu of %zu sequences: give all or none",
                       field->key, have, b->n_sequences);
    if (field->channel >= 0) CN_TRY(open_channel(r, (enum cn_channel)field->channel));
    for (size_t s = 0; s < b->n_sequences; s++)
        CN_TRY(read_array(r, field, s));
    if (field->column >= 0) b->written |= CN_BIT(field->column);
    return CN_OK;
}

/* Copies a column that is there into one, or into a channel, that is not. */
static enum cn_status imply(struct reading *r, int from, int column, int channel)
{
    struct cn_batch *b = &r->out->batch;
    const bool there =
        column >= 0 ? (b->written & CN_BIT(column)) != 0 : r->channel[channel] != NULL;
    if (there || !(b->written & CN_BIT(from))) return CN_OK;
    if (channel >= 0) CN_TRY(open_channel(r, (enum cn_channel)channel));
    double *to = column >= 0 ? cn_batch_column(b, (enum cn_column)column) : r->channel[channel];
    memcpy(to, cn_batch_column(b, (enum cn_column)from), b->n_tokens * sizeof *to);
    if (column >= 0) b->written |= CN_BIT(column);
    return CN_OK;
}

static enum cn_status imply_all(struct reading *r)
{
    struct cn_batch *b = &r->out->batch;
    CN_TRY(imply(r, CN_COLUMN_logp_old, -1, CN_CHANNEL_logp));
    CN_TRY(imply(r, CN_COLUMN_entropy_old, -1, CN_CHANNEL_entropy));
    CN_TRY(imply(r, CN_COLUMN_entropy_top_old, -1, CN_CHANNEL_entropy_top));
    CN_TRY(imply(r, CN_COLUMN_value_old, -1, CN_CHANNEL_value));
    CN_TRY(imply(r, CN_COLUMN_entropy_old, CN_COLUMN_entropy_sampled, -1));
    const double *top = r->channel[CN_CHANNEL_entropy_top];
    if (top && !(b->written & CN_NEEDS(entropy_top_old))) {
        memcpy(b->entropy_top_old, top, b->n_tokens * sizeof *top);
        b->written |= CN_NEEDS(entropy_top_old);
    }
    if (!(b->written & CN_NEEDS(token_reward)))
        for (size_t t = 0; t < b->n_tokens; t++)
            b->token_reward[t] = 0;
    b->written |= CN_NEEDS(token_reward);
    return CN_OK;
}

static enum cn_status open_batch(struct reading *r, const struct cn_json *list)
{
    size_t n = cn_json_count(list), s = 0, *length;
    if (cn_json_kind(list) != CN_JSON_LIST)
        return cn_fail(CN_ERR_DATA, "\"sequences\" must be a list of objects");
    CN_TRY(CN_NEW(r->arena, n, &r->sequence));
    CN_TRY(CN_NEW(r->arena, n, &length));
    for (const struct cn_json *q = cn_json_first(list); q; q = cn_json_next(q), s++) {
        r->sequence[s] = q;
        if (cn_json_kind(q) != CN_JSON_OBJECT ||
            cn_json_kind(cn_json_get(q, "role")) != CN_JSON_LIST)
            return cn_fail(CN_ERR_DATA, "sequence %zu must be an object with a list \"role\"", s);
        length[s] = cn_json_count(cn_json_get(q, "role"));
    }
    return cn_batch_init(&r->out->batch, r->arena, length, n);
}

enum cn_status gradient_batch_read(const struct cn_json *row, struct cn_arena *arena,
                                   struct gradient_batch *out)
{
    int64_t step, update;
    struct reading r = {.out = out, .arena = arena};
    memset(out, 0, sizeof *out);
    CN_TRY(cn_json_int_or(row, "step", 0, INT64_MAX, 0, &step));
    CN_TRY(cn_json_int_or(row, "update", 0, INT64_MAX, 0, &update));
    out->step = (uint64_t)step;
    out->update = (uint64_t)update;
    CN_TRY(open_batch(&r, cn_json_get(row, "sequences")));
    for (size_t s = 0; s < out->batch.n_sequences; s++) {
        CN_TRY(check_keys(r.sequence[s], s));
        CN_TRY(read_role(&out->batch, r.sequence[s], s));
        CN_TRY(read_scalars(&out->batch, r.sequence[s], s));
    }
    out->batch.written = CN_NEEDS(role) | CN_NEEDS(group) | CN_NEEDS(part) | CN_NEEDS(prompt) |
                         CN_NEEDS(sample) | CN_NEEDS(drop) | CN_NEEDS(stop) | CN_NEEDS(score) |
                         CN_NEEDS(reward) | CN_NEEDS(version) | CN_NEEDS(temperature) |
                         CN_NEEDS(parent) | CN_NEEDS(branch_at) | CN_NEEDS(answer);
    for (size_t i = 0; i < FIELDS; i++)
        CN_TRY(read_field(&r, &fields[i]));
    return imply_all(&r);
}
