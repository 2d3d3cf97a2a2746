/* Token choice: the distribution of draws, the numbers reported with them, and that shortcuts
 * change nothing. */
#include "check.h"

#include "trainer/model/decode/kernels.h"

#include <stdlib.h>

static const char *const sets[] = {"portable", "avx2", "avx512f", "avx512bf16", "amx"};
enum { SETS = sizeof sets / sizeof *sets, VOCAB_MAX = 3000 };

/* NULL if this processor lacks it. */
static const struct kernels *find_set(const char *name)
{
    const struct kernels *kernels = NULL;
    if (kernels_pick(name, &kernels) != CN_OK) cn_fail_clear();
    return kernels;
}

static void fill_logits(float *logits, size_t n, double spread, uint64_t seed)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(seed, 0, CN_RNG_TEST), 0, 0, 0);
    for (size_t j = 0; j < n; j++)
        logits[j] = (float)(spread * cn_rng_normal(&rng));
}

static struct cn_draw plain_draw(double temperature)
{
    return (struct cn_draw){.key = cn_rng_key(5, 6, CN_RNG_SAMPLING),
                            .prompt = 77,
                            .sample = 3,
                            .temperature = temperature,
                            .top_p = 1};
}

static struct choose_kept scratch[VOCAB_MAX];

static struct choose_call make_call(const struct kernels *kernels, const float *logits,
                                    size_t vocab, const struct cn_draw *draw)
{
    return (struct choose_call){.loops = &kernels->choose,
                                .logits = logits,
                                .vocab = vocab,
                                .position = 9,
                                .draw = draw,
                                .scratch = scratch};
}

/* Probabilities (vocab) after top-k and top-p, straight from the definition: repeatedly the
 * largest, lower id first. */
static void define_kept(const float *logits, size_t vocab, const struct cn_draw *draw, double *p)
{
    double full[VOCAB_MAX], mass_k = 0, sum = 0, max = -INFINITY;
    size_t order[VOCAB_MAX], k = draw->top_k > 0 ? (size_t)draw->top_k : vocab, kept = 0;
    bool used[VOCAB_MAX] = {false};
    for (size_t j = 0; j < vocab; j++)
        max = fmax(max, (double)logits[j]);
    for (size_t j = 0; j < vocab; j++) {
        full[j] = exp(((double)logits[j] - max) / draw->temperature);
        p[j] = 0;
    }
    for (size_t i = 0; i < k && i < vocab; i++) {
        size_t best = vocab;
        for (size_t j = 0; j < vocab; j++)
            if (!used[j] && (best == vocab || logits[j] > logits[best])) best = j;
        used[best] = true;
        order[i] = best;
        mass_k += full[best];
    }
    double kept_mass = 0;
    for (; kept < k && kept < vocab; kept++) {
        if (kept > 0 && kept_mass >= draw->top_p * mass_k) break;
        kept_mass += full[order[kept]];
    }
    for (size_t i = 0; i < kept; i++)
        sum += full[order[i]];
    for (size_t i = 0; i < kept; i++)
        p[order[i]] = full[order[i]] / sum;
}

/* Pearson's statistic of `draws` draws against p as a standard normal number (Wilson & Hilferty
 * 1931, "The Distribution of Chi-Square"). */
static double chi_square(const int *count, const double *p, size_t vocab, int draws)
{
    double statistic = 0;
    int cells = 0;
    for (size_t j = 0; j < vocab; j++) {
        if (p[j] == 0) {
            if (count[j]) return INFINITY;
            continue;
        }
        double expected = p[j] * draws;
        statistic += (count[j] - expected) * (count[j] - expected) / expected;
        cells++;
    }
    if (cells < 2) return 0;
    double width = 2.0 / (9 * (cells - 1));
    return (cbrt(statistic / (cells - 1)) - (1 - width)) / sqrt(width);
}

static void check_distribution(const struct kernels *kernels, struct cn_draw draw)
{
    enum { VOCAB = 23, DRAWS = 40000 };
    float logits[VOCAB];
    double p[VOCAB];
    int count[VOCAB] = {0};
    fill_logits(logits, VOCAB, 1.2, 3);
    logits[7] = logits[11] = logits[2]; /* ties */
    define_kept(logits, VOCAB, &draw, p);
    struct choose_call call = make_call(kernels, logits, VOCAB, &draw);
    for (int i = 0; i < DRAWS; i++) {
        struct cn_drawn drawn;
        draw.sample = (uint32_t)i % 200;
        call.position = (uint32_t)i / 200;
        CHECK_OK(choose_token(&call, &drawn));
        count[drawn.token]++;
        if (p[drawn.token] > 0) CHECK_NEAR(drawn.logp_truncated, log(p[drawn.token]), 1e-5);
    }
    double z = chi_square(count, p, VOCAB, DRAWS);
    if (!(z < 4))
        CHECK_FAILED("%s: temperature %g top_k %d top_p %g: chi-square is %.1f deviations off",
                     kernels->name, draw.temperature, (int)draw.top_k, draw.top_p, z);
}

TEST(draws_follow_the_softmax_at_every_temperature_top_k_and_top_p)
{
    for (int s = 0; s < SETS; s++) {
        const struct kernels *kernels = find_set(sets[s]);
        if (!kernels) continue;
        static const double temperatures[] = {0.3, 0.7, 1.0, 2.0};
        for (int t = 0; t < 4; t++)
            check_distribution(kernels, plain_draw(temperatures[t]));
        static const struct {
            int64_t k;
            double p;
        } truncations[] = {{1, 1},    {2, 1},   {5, 1},  {0, 0.9},  {0, 0.5},
                           {0, 0.01}, {6, 0.8}, {50, 1}, {0, 0.999}};
        for (int t = 0; t < 9; t++) {
            struct cn_draw draw = plain_draw(t % 2 ? 0.8 : 1.3);
            draw.top_k = truncations[t].k;
            draw.top_p = truncations[t].p;
            check_distribution(kernels, draw);
        }
    }
}

TEST(a_wrong_distribution_fails_the_chi_square)
{
    /* The same draws against the softmax of another temperature: the test above can fail. */
    enum { VOCAB = 23, DRAWS = 40000 };
    float logits[VOCAB];
    double p[VOCAB];
    int count[VOCAB] = {0};
    fill_logits(logits, VOCAB, 1.2, 3);
    struct cn_draw draw = plain_draw(1.0), other = plain_draw(1.1);
    define_kept(logits, VOCAB, &other, p);
    struct choose_call call = make_call(find_set("portable"), logits, VOCAB, &draw);
    for (int i = 0; i < DRAWS; i++) {
        struct cn_drawn drawn;
        draw.sample = (uint32_t)i;
        CHECK_OK(choose_token(&call, &drawn));
        count[drawn.token]++;
    }
    CHECK(chi_square(count, p, VOCAB, DRAWS) > 4);
}

/* Gumbel-max without any shortcut. */
static int32_t full_scan(const float *logits, size_t vocab, const struct cn_draw *draw,
                         uint32_t position)
{
    double best = -INFINITY;
    int32_t chosen = 0;
    for (size_t j = 0; j < vocab; j++) {
        struct cn_rng rng;
        uint32_t word[4];
        cn_rng_open(&rng, draw->key, draw->prompt, draw->sample, position);
        rng.counter[0] = (uint32_t)(j / 4);
        cn_philox(rng.counter, rng.key, word);
        double score = (double)logits[j] / draw->temperature + choose_gumbel(word[j % 4] >> 8);
        if (score > best) {
            best = score;
            chosen = (int32_t)j;
        }
    }
    return chosen;
}

TEST(skipping_hopeless_tokens_changes_no_draw_and_every_set_draws_the_same)
{
    static const double spreads[] = {0.01, 1, 5, 30};
    float logits[VOCAB_MAX];
    int distinct = 0;
    for (int i = 0; i < 400; i++) {
        size_t vocab = i % 3 == 0 ? 1 + (size_t)i : i % 3 == 1 ? 517 : VOCAB_MAX;
        fill_logits(logits, vocab, spreads[i % 4], (uint64_t)i);
        struct cn_draw draw = plain_draw(i % 5 ? 1.0 : 0.4);
        draw.prompt = 0x300000000u + (uint64_t)i;
        int32_t expected = full_scan(logits, vocab, &draw, 9);
        distinct += expected != 0;
        for (int s = 0; s < SETS; s++) {
            const struct kernels *kernels = find_set(sets[s]);
            if (!kernels) continue;
            struct choose_call call = make_call(kernels, logits, vocab, &draw);
            struct cn_drawn drawn;
            CHECK_OK(choose_token(&call, &drawn));
            CHECK_INT(drawn.token, expected);
        }
    }
    CHECK(distinct > 300);
}

TEST(the_noise_is_the_stream_of_the_draw)
{
    for (int s = 0; s < SETS; s++) {
        const struct kernels *kernels = find_set(sets[s]);
        if (!kernels) continue;
        uint32_t tail[3] = {11, 12, 13}, found[CHOOSE_NOISE_TOKENS], expected[4];
        struct cn_rng_key key = {{0x12345678u, 0x9abcdef0u}};
        kernels->choose.noise(key, tail, 0xfffffff8u, found); /* wraps around */
        for (uint32_t b = 0; b < CHOOSE_NOISE_TOKENS / 4; b++) {
            uint32_t counter[4] = {0xfffffff8u + b, 11, 12, 13};
            cn_philox(counter, key, expected);
            for (int i = 0; i < 4; i++)
                CHECK_INT(found[4 * b + (uint32_t)i], expected[i]);
        }
    }
    /* rng.h: u = (x + 1/2) / 2^24 of the upper 24 bits */
    CHECK_NEAR(choose_gumbel(8388608), -log(-log((8388608 + 0.5) / 16777216)), 1e-14);
    CHECK_NEAR(choose_gumbel(0), -log(-log(0.5 / 16777216)), 1e-14);
    CHECK_NEAR(choose_gumbel(16777215), -log(-log(16777215.5 / 16777216)), 1e-8);
    for (uint32_t word = 0; word < 16777215; word += word < 16777000 ? 997 : 1)
        if (!(choose_gumbel(word + 1) > choose_gumbel(word)))
            CHECK_FAILED("not increasing at %u", word);
}

TEST(noise_depends_on_position_sample_prompt_and_key)
{
    float logits[512] = {0};
    struct cn_draw draw = plain_draw(1), other;
    struct choose_call call = make_call(find_set("portable"), logits, 512, &draw);
    struct cn_drawn first, drawn;
    CHECK_OK(choose_token(&call, &first));
    other = draw;
    call.draw = &other;
    CHECK_OK(choose_token(&call, &drawn));
    CHECK_INT(drawn.token, first.token);
    int moved = 0;
    other.prompt += 0x100000000u; /* only the upper half */
    CHECK_OK(choose_token(&call, &drawn));
    moved += drawn.token != first.token;
    other = draw;
    other.sample++;
    CHECK_OK(choose_token(&call, &drawn));
    moved += drawn.token != first.token;
    other = draw;
    call.position++;
    CHECK_OK(choose_token(&call, &drawn));
    moved += drawn.token != first.token;
    call.position--;
    other.key.word[0]++;
    CHECK_OK(choose_token(&call, &drawn));
    moved += drawn.token != first.token;
    CHECK_INT(moved, 4);
}

TEST(logp_and_entropy_are_those_of_the_full_distribution)
{
    static const size_t sizes[] = {1, 2, 15, 16, 17, 300, 2999};
    float logits[VOCAB_MAX];
    for (int s = 0; s < SETS; s++) {
        const struct kernels *kernels = find_set(sets[s]);
        if (!kernels) continue;
        for (int i = 0; i < 7; i++) {
            size_t n = sizes[i];
            double temperature = i % 2 ? 0.6 : 1.7, sum = 0, entropy = 0;
            fill_logits(logits, n, 4, 50 + (uint64_t)i);
            for (size_t j = 0; j < n; j++)
                sum += exp((double)logits[j] / temperature);
            for (size_t j = 0; j < n; j++) {
                double p = exp((double)logits[j] / temperature) / sum;
                entropy -= p * log(p);
            }
            struct cn_draw draw = plain_draw(temperature);
            struct choose_call call = make_call(kernels, logits, n, &draw);
            struct cn_drawn drawn;
            CHECK_OK(choose_token(&call, &drawn));
            CHECK_NEAR(drawn.entropy, entropy, 2e-6);
            CHECK_NEAR(drawn.logp, (double)logits[drawn.token] / temperature - log(sum), 2e-6);
            CHECK_NEAR(drawn.logp_truncated, drawn.logp, 0);
        }
    }
}

TEST(greedy_takes_the_largest_and_the_lowest_id_of_equals)
{
    float logits[40];
    fill_logits(logits, 40, 1, 8);
    logits[33] = logits[21] = logits[30] = 9;
    struct cn_draw draw = plain_draw(0.5);
    draw.greedy = true;
    struct choose_call call = make_call(find_set(NULL), logits, 40, &draw);
    struct cn_drawn drawn;
    CHECK_OK(choose_token(&call, &drawn));
    CHECK_INT(drawn.token, 21);
    draw.top_k = 3;
    CHECK_OK(choose_token(&call, &drawn));
    CHECK_INT(drawn.token, 21);
    CHECK_NEAR(drawn.logp_truncated, log(1.0 / 3), 1e-6);
}

TEST(the_largest_log_probabilities_come_in_order)
{
    float logits[700];
    fill_logits(logits, 700, 2, 4);
    logits[650] = logits[3] = logits[400] = 50;
    struct cn_draw draw = plain_draw(1);
    struct choose_call call = make_call(find_set(NULL), logits, 700, &draw);
    struct choose_stats stats;
    int32_t ids[700];
    double logp[700];
    CHECK_OK(choose_row(&call, &stats));
    choose_largest(&call, &stats, 5, ids, logp);
    CHECK_INT(ids[0], 3);
    CHECK_INT(ids[1], 400);
    CHECK_INT(ids[2], 650);
    CHECK(logp[3] >= logp[4] && logp[2] > logp[3]);
    choose_largest(&call, &stats, 700, ids, logp);
    double sum = 0;
    for (int i = 0; i < 700; i++) {
        sum += exp(logp[i]);
        if (i && logp[i] > logp[i - 1]) CHECK_FAILED("entry %d is out of order", i);
    }
    CHECK_NEAR(sum, 1, 1e-5);
    choose_largest(&call, &stats, 0, ids, logp);
}

TEST(bad_logits_and_settings_are_refused)
{
    float logits[100] = {0};
    struct cn_draw draw = plain_draw(1);
    for (int s = 0; s < SETS; s++) {
        const struct kernels *kernels = find_set(sets[s]);
        if (!kernels) continue;
        struct choose_call call = make_call(kernels, logits, 100, &draw);
        struct cn_drawn drawn;
        for (int place = 0; place < 100; place += 33) {
            logits[place] = NAN;
            CHECK_FAILS(choose_token(&call, &drawn), CN_ERR_NUMERIC, "not finite");
            logits[place] = INFINITY;
            CHECK_FAILS(choose_token(&call, &drawn), CN_ERR_NUMERIC, "not finite");
            logits[place] = 0;
        }
        logits[5] = -INFINITY; /* a token that cannot be drawn is no error */
        CHECK_OK(choose_token(&call, &drawn));
        CHECK_NEAR(drawn.entropy, log(99), 1e-5);
        logits[5] = 0;
    }
    draw.temperature = 0;
    CHECK_FAILS(choose_check(&draw), CN_ERR_CONFIG, "temperature");
    draw = plain_draw(NAN);
    CHECK_FAILS(choose_check(&draw), CN_ERR_CONFIG, "temperature");
    draw = plain_draw(1);
    draw.top_p = 0;
    CHECK_FAILS(choose_check(&draw), CN_ERR_CONFIG, "top_p");
    draw = plain_draw(1);
    draw.top_k = -1;
    CHECK_FAILS(choose_check(&draw), CN_ERR_CONFIG, "top_k");
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
