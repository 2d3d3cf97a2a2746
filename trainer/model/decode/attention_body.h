/* Attention of single queries over a cache of blocks; included by kernels_*.c.
 *
 * A query walks its tokens in blocks of 32 that start at multiples of 32, keeping the running
 * maximum m, the sum l of e^(s - m) and the weighted values (Milakov & Gimelshein 2018, "Online
 * normalizer calculation for softmax").  The order of every sum depends on the token's place only,
 * so sharing of blocks, prefill and step give the same bits.
 *
 * Lanes are tokens for the scores (keys lie [2][head_unit][16]) and head dimensions for the
 * values ([32][head_unit]). */

enum { QUERIES = KERNEL_QUERIES, SCORE_VECTORS = 2 };

INLINE vf cache_load(const char *cache, size_t index, bool bf16)
{
    return bf16 ? vf_from_bf16((const uint16_t *)(const void *)cache + index)
                : vf_load((const float *)(const void *)cache + index);
}

/* What the queries of a row have seen so far. */
struct query_state {
    float *max, *sum; /* (queries) */
    float *value;     /* (queries, head_unit) */
};

/* One block of keys and values of a key head; those of the next key head lie head_bytes further. */
struct cache_block {
    const char *key, *value;
    size_t tokens; /* that the query sees, 1 .. 32 */
};

/* Some queries of one row at one block, `each` to a key head: side by side, since the sums of one
 * alone are chains that wait for themselves.  queries, each and bf16 are constants after inlining.
 */
struct attend {
    const struct kernel_attention *a;
    const struct cache_block *block; /* of the first query's key head */
    const float *q;                  /* (queries, head_dim) */
    const struct query_state *state; /* from the first query on */
    size_t queries, each;
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
        for (size_t g = 0; g < t->queries; g++) {
            const char *keys = t->block->key + g / t->each * t->a->head_bytes;
            for (size_t v = 0; v < vectors && g % t->each == 0; v++)
                key[v] = cache_load(keys, key_place(unit, d, token + v * LANES), t->bf16);
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
        for (size_t g = 0; g < t->queries; g++) {
            const char *values = t->block->value + g / t->each * t->a->head_bytes;
            for (size_t v = 0; v < vectors && g % t->each == 0; v++)
                value[v] = cache_load(values, j * unit + column + v * LANES, t->bf16);
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
    const size_t unit = t->a->head_unit;
    float score[QUERIES][KERNEL_TOKENS], factor[QUERIES];
    score_block(t, score);
    for (size_t g = 0; g < t->queries; g++)
        factor[g] = soften(score[g], t->block->tokens, t->state->max + g, t->state->sum + g);
    size_t column = 0;
    for (; column + VALUE_VECTORS * LANES <= unit; column += VALUE_VECTORS * LANES)
        value_columns(t, score, factor, column, VALUE_VECTORS);
    for (; column + VALUE_VECTORS / 2 * LANES <= unit; column += VALUE_VECTORS / 2 * LANES)
        value_columns(t, score, factor, column, VALUE_VECTORS / 2);
    for (; column < unit; column += LANES)
        value_columns(t, score, factor, column, 1);
}

/* Q queries, E to a key head. */
#define ATTEND(Q, E)                                                                               \
    static void attend_##Q##_##E(const struct kernel_attention *a,                                 \
                                 const struct cache_block *block, const float *q,                  \
                                 const struct query_state *state)                                  \
    {                                                                                              \
        if (a->bf16)                                                                               \
            attend_block(&(struct attend){a, block, q, state, Q, E, true});                        \
        else                                                                                       \
            attend_block(&(struct attend){a, block, q, state, Q, E, false});                       \
    }
ATTEND(1, 1)
ATTEND(2, 1)
ATTEND(3, 1)
ATTEND(4, 1)
ATTEND(2, 2)
ATTEND(4, 2)
ATTEND(3, 3)
ATTEND(4, 4)
#undef ATTEND

/* The n queries of a row and piece at one block.  If it has several key heads, all fit side by
 * side (kernel_heads). */
static void attend_row(const struct kernel_attention *a, const struct cache_block *block,
                       const float *q, size_t n, float *scratch)
{
    static void (*const attend[QUERIES + 1][QUERIES + 1])(const struct kernel_attention *,
                                                          const struct cache_block *, const float *,
                                                          const struct query_state *) = {
        [1] = {[1] = attend_1_1},
        [2] = {[1] = attend_2_1, [2] = attend_2_2},
        [3] = {[1] = attend_3_1, [3] = attend_3_3},
        [4] = {[1] = attend_4_1, [2] = attend_4_2, [4] = attend_4_4},
    };
    for (size_t g = 0; g < n; g += QUERIES) {
        const size_t queries = n - g < QUERIES ? n - g : QUERIES;
        const size_t each = a->group < queries ? a->group : queries;
        struct query_state state = {scratch + g, scratch + n + g,
                                    scratch + 2 * n + g * a->head_unit};
        attend[queries][each](a, block, q + g * a->head_dim, &state);
    }
}

static void ask_for(const char *from, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 64)
        __builtin_prefetch(from + i, 0, 2);
}

/* What will be read of a block that is wanted next. */
static void ask_for_block(const struct kernel_attention *a, const struct cache_block *next,
                          size_t heads)
{
    const size_t token = a->head_unit * (a->bf16 ? 2 : sizeof(float));
    const size_t keys = kernel_round_up(next->tokens, KERNEL_KEY_TOKENS) * token;
    for (size_t h = 0; h < heads; h++) {
        ask_for(next->key + h * a->head_bytes, keys);
        ask_for(next->value + h * a->head_bytes, next->tokens * token);
    }
}

/* Block b of a row. */
static struct cache_block block_of(const struct kernel_attention *a, const char *cache, size_t row,
                                   size_t b)
{
    const char *here = cache + a->table[row][b] * a->block_bytes;
    const size_t left = a->length[row] - b * KERNEL_TOKENS;
    return (struct cache_block){.key = here,
                                .value = here + a->head_bytes / 2,
                                .tokens = left < KERNEL_TOKENS ? left : KERNEL_TOKENS};
}

static void attention(const struct kernel_attention *a, const struct kernel_piece *piece,
                      float *scratch)
{
    const size_t n = (piece->kv_head_end - piece->kv_head) * a->group; /* queries of a row */
    const size_t state_size = kernel_attention_scratch(1, n, a->head_unit);
    const size_t row = piece->row, row_end = piece->row_end;
    const char *cache = a->cache + piece->kv_head * a->head_bytes;
    const size_t head = piece->kv_head * a->group;
    size_t longest = 0;
    for (size_t r = row; r < row_end; r++) {
        float *state = scratch + (r - row) * state_size;
        for (size_t g = 0; g < n; g++)
            state[g] = -INFINITY;
        memset(state + n, 0, (state_size - n) * sizeof(float));
        longest = a->length[r] > longest ? a->length[r] : longest;
    }
    for (size_t start = 0; start < longest; start += KERNEL_TOKENS)
        for (size_t r = row; r < row_end; r++) {
            if (start >= a->length[r]) continue;
            const size_t b = start / KERNEL_TOKENS;
            const struct cache_block block = block_of(a, cache, r, b);
            if (start + KERNEL_TOKENS < a->length[r]) {
                const struct cache_block next = block_of(a, cache, r, b + 1);
                ask_for_block(a, &next, n / a->group);
            }
            attend_row(a, &block, a->q + r * a->q_stride + head * a->head_dim, n,
                       scratch + (r - row) * state_size);
        }
    for (size_t r = row; r < row_end; r++)
        for (size_t g = 0; g < n; g++) {
            const float *state = scratch + (r - row) * state_size;
            const float *value = state + 2 * n + g * a->head_unit;
            float *out = a->out + r * a->out_stride + (head + g) * a->head_dim;
            float scale = 1.0f / state[n + g];
            for (size_t d = 0; d < a->head_dim; d++)
                out[d] = value[d] * scale;
        }
}
