/* Saying the same again: the share of n-grams of words that occurred before.
 *
 *     score = -penalty * (1 - distinct / all)        0 for a reply of fewer than n words
 *
 * Yeo et al. 2025, arXiv 2502.03373, appendix.  Words are runs without white space; the paper
 * counts tokens.  Each word is numbered once, n-grams are compared by these numbers, exactly. */
#include "carnot/reward.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { N_MAX = 64, BYTES_MAX = 1 << 20 };

struct settings {
    int64_t n;
    double penalty;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "n", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, n), .fallback = "3", .minimum = 1, .maximum = N_MAX,
     .unit = "words", .help = "length of the runs that are compared"},
    {.name = "penalty", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, penalty), .fallback = "1", .minimum = 0, .maximum = 1e6,
     .help = "what a reply of nothing but repetition loses"},
    {0},
};
// clang-format on

/* Open addressing: place of the key that begins at `key`, of `bytes` bytes, or of a free slot (0).
 */
struct table {
    const char **key;
    uint32_t *length, *number; /* number + 1; 0: free */
    size_t mask;
};

static uint64_t hash(const char *data, size_t length)
{
    uint64_t h = 1469598103934665603u; /* FNV-1a */
    for (size_t i = 0; i < length; i++)
        h = (h ^ (unsigned char)data[i]) * 1099511628211u;
    return h ^ h >> 29;
}

static enum cn_status table_open(size_t count, struct cn_arena *arena, struct table *out)
{
    size_t size = 16;
    while (size < 2 * count)
        size *= 2;
    out->mask = size - 1;
    CN_TRY(CN_NEW(arena, size, &out->key));
    CN_TRY(CN_NEW(arena, size, &out->length));
    return CN_NEW(arena, size, &out->number);
}

/* The number of a key; a new one gets `next`. */
static uint32_t table_number(struct table *t, const void *key, size_t length, uint32_t next)
{
    size_t i = hash(key, length) & t->mask;
    for (; t->number[i]; i = (i + 1) & t->mask)
        if (t->length[i] == length && memcmp(t->key[i], key, length) == 0) return t->number[i] - 1;
    t->key[i] = key;
    t->length[i] = (uint32_t)length;
    t->number[i] = next + 1;
    return next;
}

static bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

/* Numbers the words of the text; returns how many there are. */
static enum cn_status number_words(struct cn_text text, struct cn_arena *arena, uint32_t **out,
                                   size_t *count)
{
    struct table words;
    uint32_t distinct = 0;
    size_t n = 0;
    CN_TRY(table_open(text.length / 2 + 1, arena, &words));
    CN_TRY(CN_NEW(arena, text.length / 2 + 1, out));
    for (size_t i = 0; i < text.length;) {
        size_t begin = i;
        while (i < text.length && !is_space(text.data[i]))
            i++;
        if (i > begin) {
            uint32_t number = table_number(&words, text.data + begin, i - begin, distinct);
            distinct += number == distinct;
            (*out)[n++] = number;
        }
        while (i < text.length && is_space(text.data[i]))
            i++;
    }
    *count = n;
    return CN_OK;
}

static enum cn_status share_repeated(const struct settings *settings, struct cn_text text,
                                     struct cn_arena *arena, double *out)
{
    const size_t n = (size_t)settings->n;
    struct table grams;
    uint32_t *word, distinct = 0;
    size_t words;
    *out = 0;
    CN_TRY(number_words(text, arena, &word, &words));
    if (words < n) return CN_OK;
    CN_TRY(table_open(words, arena, &grams));
    for (size_t i = 0; i + n <= words; i++)
        distinct += table_number(&grams, word + i, n * sizeof *word, distinct) == distinct;
    *out = 1 - (double)distinct / (double)(words - n + 1);
    return CN_OK;
}

static enum cn_status repetition_score(const void *given, const struct cn_episode *episodes,
                                       size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    for (size_t i = 0; i < n; i++) {
        struct cn_text text = episodes[i].response;
        struct cn_arena_mark mark = cn_arena_mark(arena);
        double share;
        if (text.length > BYTES_MAX) text.length = BYTES_MAX;
        CN_TRY(share_repeated(settings, text, arena, &share));
        cn_arena_release(arena, mark);
        out[i] = (struct cn_outcome){.score = share > 0 ? -settings->penalty * share : 0,
                                     .has_score = true,
                                     .verdict = share > 0 ? CN_VERDICT_WRONG : CN_VERDICT_CORRECT};
    }
    return CN_OK;
}

const struct cn_reward cn_reward_repetition = {
    .name = "repetition",
    .summary = "punishes runs of words that occurred before",
    .reference = "Yeo et al. 2025, arXiv 2502.03373",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .score = repetition_score,
};
