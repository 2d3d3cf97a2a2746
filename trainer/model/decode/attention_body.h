/* Attention of single queries over a cache of blocks; included by kernels_*.c.
 *
 * A query walks its tokens in blocks of 32 that start at multiples of 32, keeping the running
 * maximum m, the sum l of e^(s - m) and the weighted values (Milakov & Gimelshein 2018, "Online
 * normalizer calculation for softmax").  The order of every sum depends on the token's place only,
 * so sharing of blocks, prefill and step give the same bits.
 *
 * Lanes are tokens for the scores (keys lie [2][head_unit][16]) and head dimensions for the
 * values ([32][head_unit]). */

enum { QUERIES = 4, SCORE_VECTORS = 2 };

INLINE vf cache_load(const char *cache, size_t index, bool bf16)
{
    return bf16 ? vf_from_bf16((const uint16_t *)(const void *)cache + index)
                : vf_load((const float *)(const void *)cache + index);
}

/* What one query has seen so far. */
struct query_state {
    float *max, *sum; /* (queries) */
    float *value;     /* (queries, head_unit) */
};

/* One block of keys and values, and the one that will be wanted next, or NULL. */
struct cache_block {
    const char *key, *value, *next;
    size_t tokens; /* that the query sees, 1 .. 32 */
};

/* Some queries of one row at one block; queries and bf16 are constants after inlining. */
struct attend {
    const struct kernel_attention *a;
    const struct cache_block *block;
    const float *q; /* (queries, head_dim) */
    const struct query_state *state;
    size_t queries;
    bool bf16;
};

/* Scores of the tokens from `token` on, `vectors` LANES of them. */
INLINE void score_columns(const struct attend *t, size_t token, size_t vectors,
                          float score[QUERIES][KERNEL_TOKENS])
{
    const size_t head_dim = t->a->head_dim, unit = t->a->head_unit;
    vf acc[QUERIES][SCORE_VECTORS];
    for (size_t g = 0; g < t->queries; g++)
        for (size_t v = 0; v < vectors; v++)
            acc[g][v] = vf_all(0);
    for (size_t d = 0; d < head_dim; d++) {
        vf key[SCORE_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            key[v] = cache_load(t->block->key, key_place(unit, d, token + v * LANES), t->bf16);
        for (size_t g = 0; g < t->queries; g++) {
            vf x = vf_all(t->q[g * head_dim + d]);
            for (size_t v = 0; v < vectors; v++)
                acc[g][v] = vf_fma(x, key[v], acc[g][v]);
        }
    }
    for (size_t g = 0; g < t->queries; g++)
        for (size_t v = 0; v < vectors; v++)
            vf_store(score[g] + token + v * LANES, acc[g][v] * vf_all(t->a->scale));
}

/* score (queries, 32) = scale q . key; -inf for tokens that are not seen, whose keys are not read.
 */
INLINE void score_block(const struct attend *t, float score[QUERIES][KERNEL_TOKENS])
{
    const size_t tokens = t->block->tokens;
    size_t token = 0;
    for (; token + LANES < tokens; token += SCORE_VECTORS * LANES)
        score_columns(t, token, SCORE_VECTORS, score);
    if (token < tokens) score_columns(t, token, 1, score);
    for (size_t g = 0; g < t->queries; g++)
        for (size_t j = tokens; j < KERNEL_TOKENS; j++)
            score[g][j] = -INFINITY;
}

/* score -> e^(score - m) of one query; updates m and l; returns the factor for what was summed
 * before. */
INLINE float soften(float score[KERNEL_TOKENS], size_t tokens, float *max, float *sum)
{
    vf best = vf_load(score);
    for (size_t i = LANES; i < KERNEL_TOKENS; i += LANES)
        best = vf_max(vf_load(score + i), best);
    float largest = vf_largest(best);
    largest = largest > *max ? largest : *max;
    float factor = vf_exp(vf_all(*max - largest))[0];
    for (size_t i = 0; i < KERNEL_TOKENS; i += LANES)
        vf_store(score + i, vf_exp(vf_load(score + i) - vf_all(largest)));
    for (size_t j = tokens; j < KERNEL_TOKENS; j++)
        score[j] = 0; /* e^-87 is not quite 0 */
    vf total = vf_load(score);
    for (size_t i = LANES; i < KERNEL_TOKENS; i += LANES)
        total += vf_load(score + i);
    *max = largest;
    *sum = *sum * factor + vf_sum(total);
    return factor;
}

/* value = factor value + sum over tokens of weight * cached value, columns [column, column +
 * vectors LANES). */
INLINE void value_columns(const struct attend *t, float weight[QUERIES][KERNEL_TOKENS],
                          const float factor[QUERIES], size_t column, size_t vectors)
{
    const size_t unit = t->a->head_unit;
    float *sum = t->state->value + column;
    vf acc[QUERIES][VALUE_VECTORS];
    for (size_t g = 0; g < t->queries; g++)
        for (size_t v = 0; v < vectors; v++)
            acc[g][v] = vf_load(sum + g * unit + v * LANES) * vf_all(factor[g]);
    for (size_t j = 0; j < t->block->tokens; j++) {
        vf value[VALUE_VECTORS];
        for (size_t v = 0; v < vectors; v++)
            value[v] = cache_load(t->block->value, j * unit + column + v * LANES, t->bf16);
        for (size_t g = 0; g < t->queries; g++) {
            vf w = vf_all(weight[g][j]);
            for (size_t v = 0; v < vectors; v++)
                acc[g][v] = vf_fma(w, value[v], acc[g][v]);
        }
    }
    for (size_t g = 0; g < t->queries; g++)
        for (size_t v = 0; v < vectors; v++)
            vf_store(sum + g * unit + v * LANES, acc[g][v]);
}

INLINE void attend_block(const struct attend *t)
{
    float score[QUERIES][KERNEL_TOKENS], factor[QUERIES];
    score_block(t, score);
    for (size_t g = 0; g < t->queries; g++)
        factor[g] = soften(score[g], t->block->tokens, t->state->max + g, t->state->sum + g);
    size_t column = 0;
    for (; column + VALUE_VECTORS * LANES <= t->a->head_unit; column += VALUE_VECTORS * LANES)
        value_columns(t, score, factor, column, VALUE_VECTORS);
    for (; column < t->a->head_unit; column += LANES)
        value_columns(t, score, factor, column, 1);
}

INLINE void attend_some(const struct kernel_attention *a, const struct cache_block *block,
                        const float *q, const struct query_state *state, size_t queries)
{
    if (a->bf16)
        attend_block(&(struct attend){a, block, q, state, queries, true});
    else
        attend_block(&(struct attend){a, block, q, state, queries, false});
}

static void attend_1(const struct kernel_attention *a, const struct cache_block *block,
                     const float *q, const struct query_state *state)
{
    attend_some(a, block, q, state, 1);
}

static void attend_2(const struct kernel_attention *a, const struct cache_block *block,
                     const float *q, const struct query_state *state)
{
    attend_some(a, block, q, state, 2);
}

static void attend_3(const struct kernel_attention *a, const struct cache_block *block,
                     const float *q, const struct query_state *state)
{
    attend_some(a, block, q, state, 3);
}

static void attend_4(const struct kernel_attention *a, const struct cache_block *block,
                     const float *q, const struct query_state *state)
{
    attend_some(a, block, q, state, 4);
}

/* All query heads of the group that reads this key head. */
static void attend_group(const struct kernel_attention *a, const struct cache_block *block,
                         const float *q, float *scratch)
{
    static void (*const attend[])(const struct kernel_attention *, const struct cache_block *,
                                  const float *, const struct query_state *) = {
        NULL, attend_1, attend_2, attend_3, attend_4};
    const size_t bytes = 2 * KERNEL_TOKENS * a->head_unit * (a->bf16 ? 2 : sizeof(float));
    for (size_t i = 0; block->next && i < bytes; i += 64)
        __builtin_prefetch(block->next + i, 0, 2);
    for (size_t g = 0; g < a->group; g += QUERIES) {
        size_t queries = a->group - g < QUERIES ? a->group - g : QUERIES;
        struct query_state state = {scratch + g, scratch + a->group + g,
                                    scratch + 2 * a->group + g * a->head_unit};
        attend[queries](a, block, q + g * a->head_dim, &state);
    }
}

static void attention(const struct kernel_attention *a, size_t kv_head, size_t row, size_t row_end,
                      float *scratch)
{
    const size_t state_size = kernel_attention_scratch(1, a->group, a->head_unit);
    const size_t half = a->head_bytes / 2;
    const char *cache = a->cache + kv_head * a->head_bytes;
    const size_t head = kv_head * a->group;
    size_t longest = 0;
    for (size_t r = row; r < row_end; r++) {
        float *state = scratch + (r - row) * state_size;
        for (size_t g = 0; g < a->group; g++)
            state[g] = -INFINITY;
        memset(state + a->group, 0, (state_size - a->group) * sizeof(float));
        longest = a->length[r] > longest ? a->length[r] : longest;
    }
    for (size_t start = 0; start < longest; start += KERNEL_TOKENS)
        for (size_t r = row; r < row_end; r++) {
            if (start >= a->length[r]) continue;
            size_t left = a->length[r] - start, b = start / KERNEL_TOKENS;
            const char *here = cache + a->table[r][b] * a->block_bytes;
            struct cache_block block = {.key = here, .value = here + half, .tokens = left};
            if (left > KERNEL_TOKENS) {
                block.tokens = KERNEL_TOKENS;
                block.next = cache + a->table[r][b + 1] * a->block_bytes;
            }
            attend_group(a, &block, a->q + r * a->q_stride + head * a->head_dim,
                         scratch + (r - row) * state_size);
        }
    for (size_t r = row; r < row_end; r++)
        for (size_t g = 0; g < a->group; g++) {
            const float *state = scratch + (r - row) * state_size;
            const float *value = state + 2 * a->group + g * a->head_unit;
            float *out = a->out + r * a->out_stride + (head + g) * a->head_dim;
            float scale = 1.0f / state[a->group + g];
            for (size_t d = 0; d < a->head_dim; d++)
                out[d] = value[d] * scale;
        }
}
