/* Sets of four entries, and the hash that a policy cannot aim at. */
#include "memo.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { WAYS = 4 };

/* ---- SipHash-2-4-128 ----------------------------------------------------- */

static uint64_t turn(uint64_t x, int bits)
{
    return x << bits | x >> (64 - bits);
}

static void rounds(uint64_t v[4], int n)
{
    for (int i = 0; i < n; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turn(v[1], 13) ^ v[0];
        v[3] = turn(v[3], 16) ^ v[2];
        v[0] = turn(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turn(v[1], 17) ^ v[2];
        v[3] = turn(v[3], 21) ^ v[0];
        v[2] = turn(v[2], 32);
    }
}

/* Up to eight bytes, least significant first on any machine. */
static uint64_t load(const char *bytes, size_t n)
{
    uint64_t word = 0;
    for (size_t i = 0; i < n; i++)
        word |= (uint64_t)(unsigned char)bytes[i] << (8 * i);
    return word;
}

struct memo_key memo_siphash(const uint64_t secret[2], struct cn_text text)
{
    uint64_t v[4] = {secret[0] ^ 0x736f6d6570736575u, secret[1] ^ 0x646f72616e646f6du ^ 0xee,
                     secret[0] ^ 0x6c7967656e657261u, secret[1] ^ 0x7465646279746573u};
    const size_t whole = text.length / 8 * 8;
    struct memo_key key;
    for (size_t i = 0; i < whole; i += 8) {
        const uint64_t word = load(text.data + i, 8);
        v[3] ^= word;
        rounds(v, 2);
        v[0] ^= word;
    }
    const uint64_t last =
        (uint64_t)text.length << 56 | load(text.data + whole, text.length - whole);
    v[3] ^= last;
    rounds(v, 2);
    v[0] ^= last;
    v[2] ^= 0xee;
    rounds(v, 4);
    key.word[0] = v[0] ^ v[1] ^ v[2] ^ v[3];
    v[1] ^= 0xdd;
    rounds(v, 4);
    key.word[1] = v[0] ^ v[1] ^ v[2] ^ v[3];
    return key;
}

/* ---- entries ------------------------------------------------------------- */

enum cn_status memo_open(size_t entries, struct memo *out)
{
    struct memo memo = {.n_sets = 1};
    if (getrandom(memo.secret, sizeof memo.secret, 0) != (ssize_t)sizeof memo.secret)
        return cn_fail(CN_ERR_IO, "no random numbers: %s", strerror(errno));
    while (memo.n_sets * WAYS < entries)
        memo.n_sets *= 2;
    if (entries) {
        memo.entry = calloc(memo.n_sets * WAYS, sizeof *memo.entry);
        if (!memo.entry)
            return cn_fail(CN_ERR_MEMORY, "out of memory for a cache of %zu results", entries);
    }
    *out = memo;
    return CN_OK;
}

void memo_close(struct memo *memo)
{
    for (size_t i = 0; memo->entry && i < memo->n_sets * WAYS; i++)
        free(memo->entry[i].result);
    free(memo->entry);
    *memo = (struct memo){.entry = NULL};
}

struct memo_key memo_hash(const struct memo *memo, struct cn_text text)
{
    return memo_siphash(memo->secret, text);
}

static struct memo_entry *set_of(const struct memo *memo, struct memo_key key)
{
    return memo->entry + (key.word[0] & (memo->n_sets - 1)) * WAYS;
}

struct memo_entry *memo_find(struct memo *memo, struct memo_key key)
{
    struct memo_entry *set = memo->entry ? set_of(memo, key) : NULL;
    for (size_t i = 0; set && i < WAYS; i++)
        if (set[i].used && set[i].key.word[0] == key.word[0] && set[i].key.word[1] == key.word[1]) {
            set[i].stamp = ++memo->stamp;
            return &set[i];
        }
    return NULL;
}

struct memo_entry *memo_reserve(struct memo *memo, struct memo_key key)
{
    struct memo_entry *set = memo->entry ? set_of(memo, key) : NULL, *oldest = NULL;
    for (size_t i = 0; set && i < WAYS; i++) {
        const bool free_one = !set[i].used;
        if (set[i].pending) continue;
        if (!oldest || free_one || (oldest->used && set[i].stamp < oldest->stamp)) oldest = &set[i];
        if (free_one) break;
    }
    if (!oldest) return NULL;
    free(oldest->result);
    *oldest =
        (struct memo_entry){.key = key, .used = true, .pending = true, .stamp = ++memo->stamp};
    return oldest;
}

void memo_settle(struct memo_entry *entry, struct cn_text result)
{
    char *copy = NULL;
    if (result.length && result.length <= MEMO_RESULT_MAX) copy = malloc(result.length);
    entry->pending = false;
    entry->waiting = NULL;
    entry->used = copy != NULL;
    entry->result = copy;
    entry->length = copy ? (uint32_t)result.length : 0;
    if (copy) memcpy(copy, result.data, result.length);
}
