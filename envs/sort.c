/* Sorting digits, for models that read bytes:  "306152>"  ->  "012356".
 *
 * Prompt and answer have fixed lengths, every answer is checkable, and a random policy is right
 * about once in 10^digits. Held out are multisets: no permutation of a held-out string is trained
 * on, so its answer was never seen. */
#include "split.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS_MAX = 64, LISTED_DIGITS_MAX = 6 /* 10^6 strings are listed, more are drawn */ };

struct settings {
    int64_t digits;
    double held_out;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "digits", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, digits), .fallback = "6", .minimum = 2, .maximum = DIGITS_MAX,
     .help = "how many digits are to be sorted"},
    {.name = "held_out", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, held_out), .fallback = "0.1", .minimum = 0, .maximum = 0.9,
     .help = "fraction of the sets of digits that is kept for evaluation"},
    {0},
};
// clang-format on

struct sort {
    struct settings settings;
    enum cn_split split;
    uint64_t seed;
    uint32_t *listed; /* strings of this split as numbers, NULL if there are too many to list */
    size_t n_listed;
};

/* Digits in ascending order by counting. */
static void sort_digits(const char *digits, size_t n, char *out)
{
    size_t count[10] = {0};
    for (size_t i = 0; i < n; i++)
        count[digits[i] - '0']++;
    for (char c = '0'; c <= '9'; c++)
        for (size_t k = count[c - '0']; k > 0; k--)
            *out++ = c;
}

static bool belongs(const struct sort *sort, const char *digits)
{
    char sorted[DIGITS_MAX];
    size_t n = (size_t)sort->settings.digits;
    sort_digits(digits, n, sorted);
    return split_of("sort", sorted, n, sort->settings.held_out) == sort->split;
}

static void write_number(uint64_t number, size_t n, char *digits)
{
    for (size_t i = n; i-- > 0; number /= 10)
        digits[i] = (char)('0' + number % 10);
}

/* The next arrangement of the digits in ascending order of the strings; false behind the last one.
 */
static bool next_arrangement(char *digits, size_t n)
{
    size_t i = n - 1, k = n - 1;
    while (i > 0 && digits[i - 1] >= digits[i])
        i--;
    if (i == 0) return false;
    while (digits[k] <= digits[i - 1])
        k--;
    char swap = digits[k];
    digits[k] = digits[i - 1];
    digits[i - 1] = swap;
    for (k = n - 1; i < k; i++, k--) {
        swap = digits[i];
        digits[i] = digits[k];
        digits[k] = swap;
    }
    return true;
}

/* The next set of digits, written in ascending order; false behind 99...9. */
static bool next_set(char *digits, size_t n)
{
    size_t i = n;
    while (i > 0 && digits[i - 1] == '9')
        i--;
    if (i == 0) return false;
    char digit = (char)(digits[i - 1] + 1);
    for (i--; i < n; i++)
        digits[i] = digit;
    return true;
}

/* Lists every string of the split: all arrangements of its sets, so that each set is judged once.
 */
static enum cn_status list_all(struct sort *sort)
{
    size_t n = (size_t)sort->settings.digits, space = 1;
    for (size_t i = 0; i < n; i++)
        space *= 10;
    sort->listed = malloc(space * sizeof *sort->listed);
    if (!sort->listed)
        return cn_fail(CN_ERR_MEMORY, "out of memory: env sort lists %zu strings", space);
    char set[LISTED_DIGITS_MAX], digits[LISTED_DIGITS_MAX];
    memset(set, '0', sizeof set);
    do {
        if (!belongs(sort, set)) continue;
        memcpy(digits, set, n);
        do {
            uint32_t number = 0;
            for (size_t i = 0; i < n; i++)
                number = 10 * number + (uint32_t)(digits[i] - '0');
            sort->listed[sort->n_listed++] = number;
        } while (next_arrangement(digits, n));
    } while (next_set(set, n));
    return CN_OK;
}

static void sort_close(void *shared)
{
    struct sort *sort = shared;
    if (sort) free(sort->listed);
    free(sort);
}

static enum cn_status sort_open(const struct cn_env_setup *setup, void **shared)
{
    struct sort *sort = calloc(1, sizeof *sort);
    if (!sort) return cn_fail(CN_ERR_MEMORY, "out of memory: env sort");
    enum cn_status status = CN_OK;
    sort->settings = *(const struct settings *)setup->settings;
    sort->split = setup->split;
    sort->seed = setup->seed;
    if (sort->settings.held_out <= 0 && sort->split == CN_SPLIT_HELD_OUT)
        CN_TRY_GOTO(cn_fail(CN_ERR_CONFIG, "env.held_out is 0: there is nothing to evaluate on"),
                    out);
    if (sort->settings.digits <= LISTED_DIGITS_MAX) CN_TRY_GOTO(list_all(sort), out);
    if (sort->listed && !sort->n_listed)
        CN_TRY_GOTO(cn_fail(CN_ERR_CONFIG, "env.held_out %g leaves no task in one of the splits",
                            sort->settings.held_out),
                    out);
    *shared = sort;
    return CN_OK;
out:
    sort_close(sort);
    return status;
}

static uint64_t sort_count(const void *shared)
{
    const struct sort *sort = shared;
    return sort->n_listed;
}

/* Draws until the split is right: one in ten at worst by default, one in 10^4 at the limits of
 * held_out. */
static enum cn_status draw(const struct sort *sort, struct cn_rng *rng, char *digits)
{
    enum { TRIES = 100000 };
    for (int i = 0; i < TRIES; i++) {
        for (int64_t k = 0; k < sort->settings.digits; k++)
            digits[k] = (char)('0' + cn_rng_below(rng, 10));
        if (belongs(sort, digits)) return CN_OK;
    }
    return cn_fail(CN_ERR_CONFIG,
                   "env sort: no task found in %d draws; raise env.held_out above %g", TRIES,
                   sort->settings.held_out);
}

static enum cn_status sort_reset(void *shared, void *state, uint64_t task, struct cn_rng *rng,
                                 struct cn_arena *arena, struct cn_task *out)
{
    const struct sort *sort = shared;
    (void)state;
    size_t n = (size_t)sort->settings.digits;
    char *prompt, *answer;
    CN_TRY(cn_arena_alloc(arena, n + 2, 1, &prompt));
    CN_TRY(cn_arena_alloc(arena, n + 1, 1, &answer));
    if (sort->listed)
        write_number(sort->listed[split_place(sort->split, sort->seed, task, sort->n_listed)], n,
                     prompt);
    else
        CN_TRY(draw(sort, rng, prompt));
    sort_digits(prompt, n, answer);
    prompt[n] = '>';
    *out = (struct cn_task){
        .rendered = {prompt, n + 1}, .ground_truth = {answer, n}, .demonstration = {answer, n}};
    return CN_OK;
}

const struct cn_env cn_env_sort = {
    .name = "sort",
    .summary = "sort digits, for models that read bytes: \"306152>\" -> \"012356\"",
    .options = options,
    .settings_size = sizeof(struct settings),
    .open = sort_open,
    .count = sort_count,
    .reset = sort_reset,
    .close = sort_close,
};
