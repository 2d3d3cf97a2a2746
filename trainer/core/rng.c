/* Philox4x32-10 and what is drawn from it. */
#include "carnot/rng.h"

#include <math.h>

static void philox_round(uint32_t c[4], uint32_t k0, uint32_t k1)
{
    uint64_t a = (uint64_t)0xD2511F53u * c[0], b = (uint64_t)0xCD9E8D57u * c[2];
    uint32_t c1 = c[1], c3 = c[3];
    c[0] = (uint32_t)(b >> 32) ^ c1 ^ k0;
    c[1] = (uint32_t)b;
    c[2] = (uint32_t)(a >> 32) ^ c3 ^ k1;
    c[3] = (uint32_t)a;
}

void cn_philox(const uint32_t counter[4], struct cn_rng_key key, uint32_t out[4])
{
    uint32_t c[4] = {counter[0], counter[1], counter[2], counter[3]};
    uint32_t k0 = key.word[0], k1 = key.word[1];
    for (int round = 0; round < 10; round++) {
        philox_round(c, k0, k1);
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < 4; i++)
        out[i] = c[i];
}

struct cn_rng_key cn_rng_key(uint64_t seed, uint64_t step, enum cn_rng_purpose purpose)
{
    struct cn_rng_key from = {{(uint32_t)seed, (uint32_t)(seed >> 32)}};
    uint32_t counter[4] = {(uint32_t)step, (uint32_t)(step >> 32), (uint32_t)purpose, 0x6b657931u};
    uint32_t out[4];
    cn_philox(counter, from, out);
    struct cn_rng_key key = {{out[0], out[1]}};
    return key;
}

void cn_rng_open(struct cn_rng *rng, struct cn_rng_key key, uint64_t prompt, uint32_t sample,
                 uint32_t position)
{
    rng->key = key;
    rng->key.word[1] ^= (uint32_t)(prompt >> 32);
    rng->counter[0] = 0;
    rng->counter[1] = position;
    rng->counter[2] = sample;
    rng->counter[3] = (uint32_t)prompt;
    rng->left = 0;
}

uint32_t cn_rng_u32(struct cn_rng *rng)
{
    if (rng->left == 0) {
        cn_philox(rng->counter, rng->key, rng->block);
        rng->counter[0]++;
        rng->left = 4;
    }
    return rng->block[4 - rng->left--];
}

double cn_rng_uniform(struct cn_rng *rng)
{
    return ((double)(cn_rng_u32(rng) >> 8) + 0.5) / 16777216.0;
}

uint32_t cn_rng_below(struct cn_rng *rng, uint32_t limit)
{
    /* Lemire 2019, "Fast Random Integer Generation in an Interval": reject the short last run. */
    uint32_t threshold = limit ? (0u - limit) % limit : 0;
    for (;;) {
        uint64_t product = (uint64_t)cn_rng_u32(rng) * limit;
        if ((uint32_t)product >= threshold) return (uint32_t)(product >> 32);
    }
}

double cn_rng_normal(struct cn_rng *rng)
{
    double radius = sqrt(-2.0 * log(cn_rng_uniform(rng)));
    return radius * cos(6.283185307179586 * cn_rng_uniform(rng));
}

uint64_t cn_rng_permute(struct cn_rng_key key, uint64_t index, uint64_t n)
{
    if (n < 2) return 0;
    /* A balanced Feistel network on the smallest even number of bits that holds n; walk until
     * inside. */
    unsigned half = 1;
    while (half < 32 && n - 1 >= (uint64_t)1 << (2 * half))
        half++;
    uint32_t mask = half == 32 ? 0xffffffffu : ((uint32_t)1 << half) - 1;
    do {
        uint32_t left = (uint32_t)(index >> half) & mask, right = (uint32_t)index & mask;
        for (uint32_t round = 0; round < 6; round++) {
            uint32_t counter[4] = {right, round, half, 0x7065726du}, out[4];
            cn_philox(counter, key, out);
            uint32_t next = left ^ (out[0] & mask);
            left = right;
            right = next;
        }
        index = (uint64_t)left << half | right;
    } while (index >= n);
    return index;
}
