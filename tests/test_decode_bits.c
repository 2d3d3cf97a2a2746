/* The decode engine's promise: a sample's bits depend on nothing but itself. */
#include "decode_toy.h"

/* All prompts together: slots are refilled as they finish, every step takes a random part of them
 * in random order. sizes[n] counts steps of n rows. */
static enum cn_status sample_crowd(struct engine *engine, size_t slots, uint64_t seed,
                                   struct sample *out, int *sizes)
{
    struct {
        size_t slot, prompt;
        int t;
    } live[PROMPTS];
    size_t n_live = 0, next = 0, done = 0;
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(seed, 3, CN_RNG_TEST), 0, 0, 0);
    while (done < PROMPTS) {
        while (n_live < slots && next < PROMPTS) {
            int32_t ids[200];
            size_t prompt = cn_rng_permute(cn_rng_key(seed, 4, CN_RNG_TEST), next++, PROMPTS);
            size_t n = prompt_ids(prompt, ids);
            struct cn_draw draw = toy_draw(prompt, 0);
            live[n_live].prompt = prompt;
            live[n_live].t = 0;
            CN_TRY(engine_slot_open(engine, ids, n, &draw, &live[n_live++].slot));
        }
        size_t chosen[PROMPTS], rows[PROMPTS], n = 0;
        size_t turn = cn_rng_below(&rng, (uint32_t)n_live);
        bool all = cn_rng_below(&rng, 3) == 0;
        for (size_t i = 0; i < n_live; i++) {
            size_t place = (i + turn) % n_live;
            if (!all && i > 0 && cn_rng_below(&rng, 2)) continue;
            chosen[n] = place;
            rows[n++] = live[place].slot;
        }
        struct cn_drawn drawn[PROMPTS];
        CN_TRY(engine_step(engine, rows, n, drawn));
        sizes[n]++;
        for (size_t i = 0; i < n; i++)
            out[live[chosen[i]].prompt].drawn[live[chosen[i]].t++] = drawn[i];
        for (size_t i = n_live; i-- > 0;) {
            if (live[i].t < STEPS) continue;
            engine_slot_close(engine, live[i].slot);
            live[i] = live[--n_live];
            done++;
        }
    }
    return CN_OK;
}

static void compare_samples(const struct sample *a, const struct sample *b, struct kind kind,
                            size_t slots)
{
    for (size_t p = 0; p < PROMPTS; p++)
        for (int t = 0; t < STEPS; t++)
            if (!same_drawn(&a[p].drawn[t], &b[p].drawn[t])) {
                CHECK_FAILED("%s %s, %zu threads, %zu slots: prompt %zu differs at token %d",
                             kind.isa, cn_dtype_name(kind.dtype), kind.threads, slots, p, t);
                return;
            }
}

static struct sample alone[PROMPTS], crowd[PROMPTS];

static void check_crowds(const struct toy *toy, const char *isa, enum cn_dtype dtype)
{
    struct engine *engine;
    struct kind kind = {isa, dtype, 1, 1};
    CHECK_OK(toy_engine(toy, kind, &engine));
    for (size_t p = 0; p < PROMPTS; p++)
        CHECK_OK(sample_alone(engine, p, 0, &alone[p]));
    engine_close(engine);
    int distinct = 0;
    for (size_t p = 0; p < PROMPTS; p++)
        for (int t = 1; t < STEPS; t++)
            distinct += alone[p].drawn[t].token != alone[p].drawn[t - 1].token;
    CHECK(distinct > PROMPTS * STEPS / 3);
    static const size_t slots[] = {2, 5, 13}, threads[] = {1, 2, 3};
    int sizes[PROMPTS + 1] = {0}, many = 0;
    for (int i = 0; i < 3; i++) {
        kind.threads = threads[i];
        kind.slots = slots[i];
        CHECK_OK(toy_engine(toy, kind, &engine));
        memset(crowd, 0, sizeof crowd);
        CHECK_OK(sample_crowd(engine, slots[i], (uint64_t)i, crowd, sizes));
        compare_samples(alone, crowd, kind, slots[i]);
        size_t all;
        CHECK_INT(engine_blocks_used(engine, &all), 0);
        engine_close(engine);
    }
    /* The batches really differed: many sizes occurred, on both sides of the kernels' limits. */
    for (int n = 1; n <= PROMPTS; n++)
        many += sizes[n] > 0;
    CHECK(many >= 10);
    CHECK(sizes[1] && sizes[2] && sizes[4] && sizes[5] && sizes[8] && sizes[9]);
}

TEST(a_sample_has_the_same_bits_in_any_batch_slot_order_and_number_of_threads)
{
    for (int s = 0; s < SETS; s++) {
        struct toy toy;
        if (!runs_here(sets[s])) continue;
        CHECK_OK(toy_open(&toy, (uint64_t)s));
        check_crowds(&toy, sets[s], CN_DTYPE_F32);
        check_crowds(&toy, sets[s], CN_DTYPE_BF16);
        cn_arena_free(&toy.arena);
    }
}

/* Gives `wide`, which has a key head for each query head, the weights of `toy`: each key head as
 * often as query heads share it. */
static void repeat_key_heads(const struct toy *toy, struct toy *wide)
{
    const size_t group = toy->shape.heads / toy->shape.kv_heads;
    for (size_t i = 0; i < toy->n; i++) {
        const struct cn_buffer *from = &toy->buffer[i];
        const size_t head = from->count / toy->shape.kv_heads;
        const bool repeated = strstr(from->name, "k_proj") || strstr(from->name, "v_proj");
        const float *in = from->data;
        float *out = wide->buffer[i].data;
        for (size_t j = 0; j < wide->buffer[i].count; j++)
            out[j] = in[repeated ? j / head / group * head + j % head : j];
    }
}

static void check_groups(size_t heads, size_t kv_heads, struct kind kind)
{
    enum { PROMPT = 12 };
    struct toy toy, wide;
    struct engine *engine;
    CHECK_OK(toy_open_heads(&toy, 5, heads, kv_heads));
    CHECK_OK(toy_open_heads(&wide, 5, heads, heads));
    repeat_key_heads(&toy, &wide);
    CHECK_OK(toy_engine(&wide, kind, &engine));
    CHECK_OK(sample_alone(engine, PROMPT, 0, &alone[0]));
    engine_close(engine);
    kind.threads = 2 + heads % 2;
    CHECK_OK(toy_engine(&toy, kind, &engine));
    CHECK_OK(sample_alone(engine, PROMPT, 0, &crowd[0]));
    engine_close(engine);
    for (int t = 0; t < STEPS; t++)
        if (!same_drawn(&alone[0].drawn[t], &crowd[0].drawn[t])) {
            CHECK_FAILED("%s %s: %zu query heads on %zu key heads differ at token %d", kind.isa,
                         cn_dtype_name(kind.dtype), heads, kv_heads, t);
            break;
        }
    cn_arena_free(&toy.arena);
    cn_arena_free(&wide.arena);
}

/* All ways in which queries lie side by side: some of one key head, one each of several, rests. */
TEST(a_shared_key_head_has_the_bits_of_copies_of_it)
{
    for (int s = 0; s < SETS; s++)
        for (size_t heads = 5; heads <= 7 && runs_here(sets[s]); heads++)
            for (size_t kv_heads = 1; kv_heads < heads; kv_heads++) {
                if (heads % kv_heads) continue;
                check_groups(heads, kv_heads, (struct kind){sets[s], CN_DTYPE_F32, 1, 1});
                check_groups(heads, kv_heads, (struct kind){sets[s], CN_DTYPE_BF16, 1, 1});
            }
}

TEST(a_large_batch_has_the_bits_of_single_rows)
{
    /* More rows than a pass, than a block of packed rows, than a chunk of the head.  Two threads
     * share out the rows of so small a model, three share out outputs: 128 rows fill no three
     * slices. */
    enum { MANY = 150 };
    for (int d = 0; d < 4; d++) {
        struct toy toy;
        struct engine *engine;
        static struct cn_drawn single[MANY], drawn[MANY];
        size_t slots[MANY];
        int32_t ids[200];
        CHECK_OK(toy_open(&toy, 4));
        CHECK_OK(toy_engine(
            &toy, (struct kind){NULL, d % 2 ? CN_DTYPE_BF16 : CN_DTYPE_F32, d < 2 ? 2 : 3, MANY},
            &engine));
        for (size_t i = 0; i < MANY; i++) {
            size_t n = prompt_ids(i % PROMPTS, ids);
            struct cn_draw draw = toy_draw(i % PROMPTS, (uint32_t)i);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[i]));
            CHECK_OK(engine_step(engine, &slots[i], 1, &single[i]));
            engine_slot_close(engine, slots[i]);
        }
        for (size_t i = 0; i < MANY; i++) {
            size_t n = prompt_ids(i % PROMPTS, ids);
            struct cn_draw draw = toy_draw(i % PROMPTS, (uint32_t)i);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[i]));
        }
        static const size_t counts[] = {150, 128, 65, 64, 33, 32, 17, 16};
        for (int c = 0; c < 8; c++) {
            CHECK_OK(engine_step(engine, slots, c ? counts[c] : MANY, drawn));
            if (c) continue; /* later steps only move on */
            for (size_t i = 0; i < MANY; i++)
                if (!same_drawn(&single[i], &drawn[i])) CHECK_FAILED("row %zu differs", i);
        }
        engine_close(engine);
        cn_arena_free(&toy.arena);
    }
}

TEST(a_fork_continues_as_if_it_had_been_opened_and_shares_its_past)
{
    for (int s = 0; s < SETS; s++)
        for (int d = 0; d < 2; d++) {
            enum { FORKS = 8, PROMPT = 8 };
            struct toy toy;
            struct engine *engine;
            struct sample expected[FORKS];
            size_t slots[FORKS], all;
            int32_t ids[200];
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_open(&toy, 2));
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, FORKS}, &engine));
            for (uint32_t i = 0; i < FORKS; i++)
                CHECK_OK(sample_alone(engine, PROMPT, i, &expected[i]));
            size_t n = prompt_ids(PROMPT, ids); /* 150 tokens: 149 computed, in 5 blocks */
            struct cn_draw draw = toy_draw(PROMPT, 0);
            CHECK_OK(engine_slot_open(engine, ids, n, &draw, &slots[0]));
            for (uint32_t i = 1; i < FORKS; i++) {
                draw = toy_draw(PROMPT, i);
                CHECK_OK(engine_slot_fork(engine, slots[0], &draw, &slots[i]));
            }
            CHECK_INT(engine_blocks_used(engine, &all), 5);
            struct cn_drawn drawn[FORKS];
            for (int t = 0; t < STEPS; t++) {
                CHECK_OK(engine_step(engine, slots, FORKS, drawn));
                for (int i = 0; i < FORKS; i++)
                    if (!same_drawn(&drawn[i], &expected[i].drawn[t]))
                        CHECK_FAILED("%s: fork %d differs at token %d", sets[s], i, t);
            }
            CHECK(expected[0].drawn[5].token != expected[1].drawn[5].token ||
                  expected[0].drawn[6].token != expected[1].drawn[6].token);
            CHECK_INT(engine_blocks_used(engine, &all),
                      4 + FORKS * 2); /* 189 tokens: 4 shared, 2 of its own */
            /* The parent may go first; a fork of a fork in mid-sequence goes on from there. */
            engine_slot_close(engine, slots[0]);
            size_t child;
            draw = toy_draw(PROMPT, 99);
            CHECK_OK(engine_slot_fork(engine, slots[3], &draw, &child));
            size_t pair[2] = {child, slots[3]};
            for (int t = 0; t < 30; t++)
                CHECK_OK(engine_step(engine, pair, 2, drawn));
            for (int i = 1; i < FORKS; i++)
                engine_slot_close(engine, slots[i]);
            engine_slot_close(engine, child);
            CHECK_INT(engine_blocks_used(engine, &all), 0);
            engine_close(engine);
            cn_arena_free(&toy.arena);
        }
}

TEST(appended_tokens_and_scores_have_the_bits_of_steps)
{
    for (int s = 0; s < SETS; s++)
        for (int d = 0; d < 2; d++) {
            enum { PROMPT = 9, LENGTH = 130 + STEPS };
            struct toy toy;
            struct engine *engine;
            struct sample expected, found;
            int32_t ids[LENGTH + 1], top_ids[LENGTH * 3];
            double logp[LENGTH], entropy[LENGTH], top_logp[LENGTH * 3];
            if (!runs_here(sets[s])) continue;
            CHECK_OK(toy_open(&toy, 7));
            CHECK_OK(toy_engine(
                &toy, (struct kind){sets[s], d ? CN_DTYPE_BF16 : CN_DTYPE_F32, 2, 3}, &engine));
            CHECK_OK(sample_alone(engine, PROMPT, 0, &expected));
            size_t n = prompt_ids(PROMPT, ids), slot;
            struct cn_draw draw = toy_draw(PROMPT, 0);
            CHECK_OK(engine_slot_open(engine, ids, 40, &draw, &slot));
            CHECK_OK(engine_slot_append(engine, slot, ids + 40, 1));
            CHECK_OK(engine_slot_append(engine, slot, ids + 41, n - 41));
            for (int t = 0; t < STEPS; t++) {
                CHECK_OK(engine_step(engine, &slot, 1, &found.drawn[t]));
                if (!same_drawn(&found.drawn[t], &expected.drawn[t]))
                    CHECK_FAILED("append differs at %d", t);
            }
            for (int t = 0; t < STEPS; t++)
                ids[n + (size_t)t] = expected.drawn[t].token;
            struct engine_score score = {ids,  LENGTH,  draw.temperature, 3,
                                         logp, entropy, top_ids,          top_logp};
            CHECK_OK(engine_score(engine, &score));
            CHECK_NEAR(logp[0], 0, 0);
            CHECK_INT(top_ids[0], -1);
            for (size_t t = 0; t < STEPS; t++) {
                CHECK_NEAR(logp[n + t], expected.drawn[t].logp, 0);
                CHECK_NEAR(entropy[n + t], expected.drawn[t].entropy, 0);
                for (size_t i = 0; i < 3; i++)
                    if (top_ids[(n + t) * 3 + i] == ids[n + t])
                        CHECK_NEAR(top_logp[(n + t) * 3 + i], logp[n + t], 0);
            }
            engine_close(engine);
            cn_arena_free(&toy.arena);
        }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
