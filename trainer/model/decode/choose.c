/* Token choice by Gumbel-max.  No file of the decode engine but this one decides which token is
 * drawn.
 *
 * Skipping hopeless tokens is exact.  With a best score s so far, token j can only win if g_j >= s
 * - z_j / temperature, that is if its 24-bit word reaches exp(-exp(-(s - z_j / temperature))) 2^24.
 * A threshold for the largest logit of 64 tokens, rounded down, holds for all of them; so one
 * compare per token replaces two logarithms. */
#include "choose.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { THRESHOLD_STEPS = 8, THRESHOLD_COUNT = 24 * THRESHOLD_STEPS };
static const double THRESHOLD_LOW = -4.0; /* below the smallest noise, -2.85 */
static const double GUMBEL_MAX = 17.33;   /* above the largest, 25 ln 2 = 17.3287 */

/* Natural logarithm of a positive normal number as one fixed sequence of double operations (about 1
 * unit in the last place): x = 2^e m, sqrt(1/2) <= m < sqrt(2), log m = 2 atanh s with s = (m - 1)
 * / (m + 1). */
static double fixed_log(double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t exponent = (int64_t)(bits >> 52) - 1023;
    bits = (bits & 0xfffffffffffffu) | 0x3ff0000000000000u;
    double m;
    memcpy(&m, &bits, sizeof m);
    if (m > 1.4142135623730951) {
        m = m / 2;
        exponent++;
    }
    static const double odd[12] = {1.0 / 23, 1.0 / 21, 1.0 / 19, 1.0 / 17, 1.0 / 15, 1.0 / 13,
                                   1.0 / 11, 1.0 / 9,  1.0 / 7,  1.0 / 5,  1.0 / 3,  1.0};
    double s = (m - 1) / (m + 1), s2 = s * s, sum = 0;
    for (int i = 0; i < 12; i++) {
        sum = sum * s2;
        sum = sum + odd[i];
    }
    double series = 2 * s;
    series = series * sum;
    double scaled = (double)exponent * 0.6931471805599453;
    return scaled + series;
}

double choose_gumbel(uint32_t word24)
{
    double u = ((double)word24 + 0.5) / 16777216.0;
    return -fixed_log(-fixed_log(u));
}

enum cn_status choose_check(const struct cn_draw *draw)
{
    if (!(draw->temperature > 0) || !isfinite(draw->temperature))
        return cn_fail(CN_ERR_CONFIG,
                       "temperature is %g: it must be above 0 (use greedy for the "
                       "most probable token)",
                       draw->temperature);
    if (!(draw->top_p > 0 && draw->top_p <= 1))
        return cn_fail(CN_ERR_CONFIG, "top_p is %g: it must be above 0 and at most 1", draw->top_p);
    if (draw->top_k < 0)
        return cn_fail(CN_ERR_CONFIG, "top_k is %lld: it must be 0 (all tokens) or more",
                       (long long)draw->top_k);
    return CN_OK;
}

enum cn_status choose_row(const struct choose_call *call, struct choose_stats *out)
{
    struct choose_stats stats = {0, 0, 0};
    call->loops->stats(call->logits, call->vocab, call->draw->temperature, &stats);
    if (!isfinite(stats.max) || !isfinite(stats.log_sum) || !isfinite(stats.entropy))
        return cn_fail(CN_ERR_NUMERIC,
                       "the model's logits at position %u are not finite: the weights "
                       "hold NaN or infinite values, or training diverged",
                       call->position);
    *out = stats;
    return CN_OK;
}

double choose_logp(const struct choose_call *call, const struct choose_stats *stats, int32_t id)
{
    return ((double)call->logits[id] - stats->max) / call->draw->temperature - stats->log_sum;
}

/* Larger logits first; equal ones by id. */
static bool comes_before(struct choose_kept a, struct choose_kept b)
{
    return a.logit > b.logit || (a.logit == b.logit && a.id < b.id);
}

static int by_rank(const void *a, const void *b)
{
    const struct choose_kept *left = a, *right = b;
    return comes_before(*left, *right) ? -1 : comes_before(*right, *left) ? 1 : 0;
}

static int by_id(const void *a, const void *b)
{
    const struct choose_kept *left = a, *right = b;
    return left->id < right->id ? -1 : left->id > right->id;
}

static void swap_kept(struct choose_kept *a, struct choose_kept *b)
{
    struct choose_kept c = *a;
    *a = *b;
    *b = c;
}

/* Moves the k first in rank to the front (Hoare's selection; ranks are distinct, so the set is
 * unique). */
static void select_first(struct choose_kept *item, size_t n, size_t k)
{
    size_t low = 0, high = n; /* the k-th lies in [low, high) */
    while (high - low > 1) {
        swap_kept(&item[low + (high - low) / 2], &item[high - 1]);
        struct choose_kept pivot = item[high - 1];
        size_t place = low;
        for (size_t i = low; i + 1 < high; i++)
            if (comes_before(item[i], pivot)) swap_kept(&item[i], &item[place++]);
        swap_kept(&item[place], &item[high - 1]);
        if (place == k) return;
        if (place < k)
            low = place + 1;
        else
            high = place;
    }
}

/* All tokens whose logit is at least `floor` -> kept; returns how many. */
static size_t gather(const struct choose_call *call, double floor, struct choose_kept *kept)
{
    size_t n = 0;
    for (size_t j = 0; j < call->vocab; j++) {
        kept[n] = (struct choose_kept){call->logits[j], (int32_t)j};
        n += (double)call->logits[j] >= floor;
    }
    return n;
}

static double relative_mass(const struct choose_call *call, const struct choose_stats *stats,
                            struct choose_kept token)
{
    return exp(((double)token.logit - stats->max) / call->draw->temperature);
}

/* Tokens that survive top-k and top-p -> scratch, ascending ids; *mass: their sum of exp((z - max)
 * / temperature). */
static size_t truncate_row(const struct choose_call *call, const struct choose_stats *stats,
                           double *mass)
{
    const struct cn_draw *draw = call->draw;
    struct choose_kept *kept = call->scratch;
    bool top_k = draw->top_k > 0 && (uint64_t)draw->top_k < call->vocab, top_p = draw->top_p < 1;
    /* All tokens whose probability is below (1 - p) / vocab weigh less than 1 - p together: top-p
     * never needs them. */
    double floor = -INFINITY;
    if (!top_k && top_p)
        floor =
            stats->max + draw->temperature *
                             (stats->log_sum + log(0.5 * (1 - draw->top_p) / (double)call->vocab));
    size_t n = gather(call, floor, kept);
    if (top_k) {
        select_first(kept, n, (size_t)draw->top_k);
        n = (size_t)draw->top_k;
    }
    qsort(kept, n, sizeof *kept, by_rank);
    double all = top_k ? 0 : exp(stats->log_sum);
    for (size_t i = 0; top_k && i < n; i++)
        all += relative_mass(call, stats, kept[i]);
    double sum = 0;
    size_t count = 0;
    while (count < n && (!top_p || count == 0 || sum < draw->top_p * all))
        sum += relative_mass(call, stats, kept[count++]);
    qsort(kept, count, sizeof *kept, by_id);
    *mass = sum;
    return count;
}

/* Key and the counter's last three words of a draw (see cn_rng_open). */
static struct cn_rng_key noise_key(const struct choose_call *call, uint32_t tail[3])
{
    struct cn_rng rng;
    cn_rng_open(&rng, call->draw->key, call->draw->prompt, call->draw->sample, call->position);
    memcpy(tail, rng.counter + 1, 3 * sizeof *tail);
    return rng.key;
}

static int32_t draw_kept(const struct choose_call *call, size_t n)
{
    uint32_t tail[3];
    struct cn_rng_key key = noise_key(call, tail);
    double best = -INFINITY;
    int32_t chosen = call->scratch[0].id;
    for (size_t i = 0; i < n; i++) {
        uint32_t id = (uint32_t)call->scratch[i].id, word[4];
        cn_philox((uint32_t[4]){id / 4, tail[0], tail[1], tail[2]}, key, word);
        double scaled = (double)call->scratch[i].logit / call->draw->temperature;
        double score = scaled + choose_gumbel(word[id % 4] >> 8);
        if (score > best) {
            best = score;
            chosen = (int32_t)id;
        }
    }
    return chosen;
}

/* Smallest 24-bit word whose noise can reach `need`; rounded down, so that no possible winner is
 * lost.  memo (THRESHOLD_COUNT) starts as all ones. */
static uint32_t noise_threshold(double need, uint32_t *memo)
{
    double place = floor((need - THRESHOLD_LOW) * THRESHOLD_STEPS);
    if (!(place >= 0)) return 0;
    size_t index = place < THRESHOLD_COUNT - 1 ? (size_t)place : THRESHOLD_COUNT - 1;
    if (memo[index] == UINT32_MAX) {
        double rounded = THRESHOLD_LOW + (double)index / THRESHOLD_STEPS;
        double word = exp(-exp(-rounded)) * 16777216.0 - 4;
        memo[index] = word > 0 ? (uint32_t)word : 0;
    }
    return memo[index];
}

static float largest_of(const float *z, size_t n)
{
    float lane[8];
    for (size_t i = 0; i < 8; i++)
        lane[i] = z[i < n ? i : 0];
    size_t j = 8;
    for (; j + 8 <= n; j += 8)
        for (size_t i = 0; i < 8; i++)
            lane[i] = z[j + i] > lane[i] ? z[j + i] : lane[i];
    for (; j < n; j++)
        lane[0] = z[j] > lane[0] ? z[j] : lane[0];
    for (size_t i = 1; i < 8; i++)
        lane[0] = lane[i] > lane[0] ? lane[i] : lane[0];
    return lane[0];
}

/* Whether some word reaches `least`; in most blocks none does.  Words of 24 bits compare as signed.
 */
static bool reaches(const uint32_t *word, size_t n, uint32_t least)
{
    int32_t any = 0;
    for (size_t i = 0; i < n; i++)
        any |= -((int32_t)(word[i] >> 8) >= (int32_t)least);
    return any != 0;
}

static int32_t draw_all(const struct choose_call *call)
{
    uint32_t tail[3], memo[THRESHOLD_COUNT], word[CHOOSE_NOISE_TOKENS];
    struct cn_rng_key key = noise_key(call, tail);
    memset(memo, 0xff, sizeof memo);
    const double temperature = call->draw->temperature;
    double best = -INFINITY;
    size_t chosen = 0;
    for (size_t j = 0; j < call->vocab; j += CHOOSE_NOISE_TOKENS) {
        const float *z = call->logits + j;
        size_t n = call->vocab - j < CHOOSE_NOISE_TOKENS ? call->vocab - j : CHOOSE_NOISE_TOKENS;
        const double top = (double)largest_of(z, n) / temperature;
        if (best - top > GUMBEL_MAX) continue;
        uint32_t least = noise_threshold(best - top, memo);
        call->loops->noise(key, tail, (uint32_t)(j / 4), word);
        if (!reaches(word, n, least)) continue;
        for (size_t i = 0; i < n; i++) {
            if (word[i] >> 8 < least) continue;
            double scaled = (double)z[i] / temperature;
            double score = scaled + choose_gumbel(word[i] >> 8);
            if (score > best) {
                best = score;
                chosen = j + i;
                least = noise_threshold(best - top, memo);
            }
        }
    }
    return (int32_t)chosen;
}

static int32_t first_largest(const float *z, size_t n, float largest)
{
    for (size_t j = 0; j < n; j++)
        if (z[j] == largest) return (int32_t)j;
    return 0;
}

enum cn_status choose_token(const struct choose_call *call, struct cn_drawn *out)
{
    const struct cn_draw *draw = call->draw;
    struct choose_stats stats = {0, 0, 0};
    CN_TRY(choose_row(call, &stats));
    bool truncated = draw->top_p < 1 || (draw->top_k > 0 && (uint64_t)draw->top_k < call->vocab);
    double mass = 0;
    size_t kept = truncated ? truncate_row(call, &stats, &mass) : 0;
    int32_t token = draw->greedy ? first_largest(call->logits, call->vocab, (float)stats.max)
                    : truncated  ? draw_kept(call, kept)
                                 : draw_all(call);
    double logp = choose_logp(call, &stats, token);
    out->token = token;
    out->logp = logp;
    out->logp_truncated = truncated ? logp + stats.log_sum - log(mass) : logp;
    out->entropy = stats.entropy;
    return CN_OK;
}

/* Heap whose root is the last in rank. */
static void sink(struct choose_kept *heap, size_t n, size_t at)
{
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= n) return;
        if (child + 1 < n && comes_before(heap[child], heap[child + 1])) child++;
        if (!comes_before(heap[at], heap[child])) return;
        swap_kept(&heap[at], &heap[child]);
        at = child;
    }
}

void choose_largest(const struct choose_call *call, const struct choose_stats *stats, size_t n,
                    int32_t *ids, double *logp)
{
    struct choose_kept *heap = call->scratch;
    for (size_t j = 0; j < n; j++)
        heap[j] = (struct choose_kept){call->logits[j], (int32_t)j};
    for (size_t j = n; j-- > 0;)
        sink(heap, n, j);
    for (size_t j = n; n && j < call->vocab; j++) {
        struct choose_kept token = {call->logits[j], (int32_t)j};
        if (!comes_before(token, heap[0])) continue;
        heap[0] = token;
        sink(heap, n, 0);
    }
    qsort(heap, n, sizeof *heap, by_rank);
    for (size_t i = 0; i < n; i++) {
        ids[i] = heap[i].id;
        logp[i] = choose_logp(call, stats, heap[i].id);
    }
}
