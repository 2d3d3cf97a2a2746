/* The row kernels of the GPU, thread after thread on the CPU: the numbers of rng.h, the draw of
 * decode/choose.h, and the statistics and slopes of a row. */
#include "check.h"

#include "trainer/model/decode/choose.h"
#include "trainer/model/decode/kernels.h"
#include "trainer/model/kernels/device_rows.h"

#include <stdlib.h>

enum { VOCAB = 1003, THREADS = 64 };

/* Logits with a few that stand out and some that are equal. */
static void fill(float *z, uint32_t row)
{
    struct cn_rng rng;
    cn_rng_open(&rng, cn_rng_key(11, 0, CN_RNG_TEST), row, 0, 0);
    for (int j = 0; j < VOCAB; j++)
        z[j] = (float)(3 * cn_rng_normal(&rng)) + (j % 97 == 0 ? 6.0f : 0.0f);
    z[5] = z[900] = 11;
}

/* Merges as device_rows.cu does. */
static struct rows_drawing merged(struct rows_drawing *found)
{
    for (unsigned half = THREADS / 2; half > 0; half /= 2)
        for (unsigned t = 0; t < half; t++)
            rows_draw_merge(&found[t], &found[t + half]);
    return found[0];
}

static void stats(const struct rows_call *call)
{
    struct rows_drawing found[THREADS];
    for (uint32_t t = 0; t < THREADS; t++)
        found[t] = (struct rows_drawing){rows_stats_thread(call, 0, t, THREADS), {-INFINITY, 0}};
    rows_stats_finish(call, 0, merged(found).sum);
}

static void draw(const struct rows_draw_call *call, size_t row)
{
    struct rows_drawing found[THREADS];
    for (uint32_t t = 0; t < THREADS; t++)
        found[t] = rows_draw_thread(call, row, t, THREADS);
    const struct rows_drawing all = merged(found);
    rows_draw_finish(call, row, &all);
}

TEST(words_and_noise_are_those_of_the_cpu)
{
    for (uint32_t i = 0; i < 2000; i++) {
        const uint32_t counter[4] = {i * 77, i, i * i, 5 - i};
        const struct cn_rng_key key = cn_rng_key(i, 3, CN_RNG_TEST);
        uint32_t expected[4], found[4];
        cn_philox(counter, key, expected);
        memcpy(found, counter, sizeof found);
        rows_philox(found, key.word[0], key.word[1]);
        CHECK(memcmp(found, expected, sizeof found) == 0);
    }
    for (uint32_t word = 0; word < 1u << 24; word += word < 100 || word > 16777000 ? 1 : 4099) {
        const double noise = rows_gumbel(word), expected = choose_gumbel(word);
        if (memcmp(&noise, &expected, sizeof noise) != 0)
            CHECK_FAILED("noise of word %u: %.17g, expected %.17g", word, noise, expected);
        if (!((double)rows_gumbel_bound(word) >= noise))
            CHECK_FAILED("bound of word %u: %g is below %g", word, (double)rows_gumbel_bound(word),
                         noise);
    }
}

TEST(a_block_of_threads_draws_what_the_cpu_draws)
{
    enum { ROWS = 40 };
    static float z[ROWS * VOCAB];
    static int64_t integers[DRAW_INTEGERS * ROWS];
    double reals[DRAW_REALS * ROWS], out[ROWS * DRAWN_VALUES];
    struct cn_draw draws[ROWS];
    const struct kernels *kernels = NULL;
    CHECK_OK(kernels_pick("portable", &kernels));
    for (uint32_t r = 0; r < ROWS; r++) {
        struct cn_rng rng;
        fill(z + r * VOCAB, r);
        draws[r] = (struct cn_draw){.key = cn_rng_key(8, 1, CN_RNG_SAMPLING),
                                    .prompt = ((uint64_t)r << 33) + 7,
                                    .sample = r,
                                    .temperature = 0.5 + 0.1 * r,
                                    .top_p = 1,
                                    .greedy = r % 8 == 7};
        cn_rng_open(&rng, draws[r].key, draws[r].prompt, r, 100 + r);
        const int64_t column[DRAW_INTEGERS] = {
            rng.key.word[0], rng.key.word[1], rng.counter[3], rng.counter[2],
            rng.counter[1],  draws[r].greedy, VOCAB};
        for (int i = 0; i < DRAW_INTEGERS; i++)
            integers[i * ROWS + (int)r] = column[i];
        reals[DRAW_TEMPERATURE * ROWS + r] = draws[r].temperature;
        reals[DRAW_TOP_P * ROWS + r] = 1;
    }
    const struct rows_draw_call call = {z, ROWS, VOCAB, ROWS, integers, reals, out};
    for (uint32_t r = 0; r < ROWS; r++) {
        const struct choose_call expected = {.loops = &kernels->choose,
                                             .logits = z + r * VOCAB,
                                             .vocab = VOCAB,
                                             .position = 100 + r,
                                             .draw = &draws[r]};
        struct cn_drawn drawn;
        CHECK_OK(choose_token(&expected, &drawn));
        draw(&call, r);
        CHECK_INT((int)out[r * DRAWN_VALUES + DRAWN_TOKEN], drawn.token);
        CHECK_NEAR(out[r * DRAWN_VALUES + DRAWN_LOGP], drawn.logp, 2e-6);
        CHECK_NEAR(out[r * DRAWN_VALUES + DRAWN_ENTROPY], drawn.entropy, 2e-6);
    }
}

TEST(a_row_without_finite_logits_says_so)
{
    float z[VOCAB];
    int64_t integers[DRAW_INTEGERS] = {0};
    double reals[DRAW_REALS] = {1, 1}, out[DRAWN_VALUES];
    for (int j = 0; j < VOCAB; j++)
        z[j] = j == 500 ? 1.0f : NAN;
    draw(&(struct rows_draw_call){z, 1, VOCAB, 1, integers, reals, out}, 0);
    CHECK(!isfinite(out[DRAWN_LOGP]) && !isfinite(out[DRAWN_ENTROPY]));
    CHECK(out[DRAWN_TOKEN] >= 0 && out[DRAWN_TOKEN] < VOCAB);
}

/* Slopes of d_logp log p(a) + d_entropy H without the term of the chosen token a. */
TEST(slopes_of_a_row_are_those_of_its_statistics)
{
    static float z[VOCAB], slope[VOCAB];
    float lse, entropy, d_logp = 0.7f, d_entropy = -0.4f;
    fill(z, 3);
    memcpy(slope, z, sizeof z);
    struct rows_call call = {slope, 1, VOCAB, 1 / 0.9f, &lse, &entropy, &d_logp, &d_entropy};
    stats(&call);
    double sum = 0, h = 0;
    for (int j = 0; j < VOCAB; j++)
        sum += exp((double)z[j] / 0.9);
    for (int j = 0; j < VOCAB; j++)
        h -= exp((double)z[j] / 0.9) / sum * ((double)z[j] / 0.9 - log(sum));
    CHECK_NEAR((double)lse, log(sum), 2e-6);
    CHECK_NEAR((double)entropy, h, 2e-6);
    for (uint32_t t = 0; t < THREADS; t++)
        rows_gradient_thread(&call, 0, t, THREADS);
    for (int j = 0; j < VOCAB; j++) {
        const double log_p = (double)z[j] / 0.9 - log(sum), p = exp(log_p);
        CHECK_NEAR((double)slope[j], -p * (0.7 - 0.4 * (log_p + h)) / 0.9, 1e-6);
    }
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
