/* Writing a number as a sum, for tasks with many right answers:  "37="  ->  "12+20+5".
 *
 * Whatever has `terms` positive whole terms and the right sum is right, so a prompt N has
 * (N-1)(N-2)/2 right answers of three terms (order counts), and a policy that keeps its entropy can
 * find more of them than one that repeats itself.  Tasks are endless: task after task asks for the
 * numbers of the split in a keyed order, each time with a demonstration of its own, drawn evenly
 * among all right answers.  Held out are numbers. */
#include "split.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TERMS_MAX = 8, NUMBER_MAX = 99999, TEXT_MAX = 192 };
enum format { FORMAT_BYTES, FORMAT_CHAT };

struct settings {
    int64_t terms, smallest, largest;
    int format;
    double held_out;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "terms", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, terms), .fallback = "3", .minimum = 2, .maximum = TERMS_MAX,
     .help = "how many numbers the sum has; reward terms must ask for as many"},
    {.name = "smallest", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, smallest), .fallback = "10", .minimum = TERMS_MAX, .maximum = NUMBER_MAX,
     .help = "smallest number that is asked for"},
    {.name = "largest", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, largest), .fallback = "99", .minimum = TERMS_MAX, .maximum = NUMBER_MAX,
     .help = "largest number that is asked for"},
    {.name = "format", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, format), .fallback = "\"bytes\"", .choices = "bytes chat",
     .help = "bytes: \"37=\", for models that read bytes; chat: a question in words"},
    {.name = "held_out", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, held_out), .fallback = "0.2", .minimum = 0, .maximum = 0.9,
     .help = "fraction of the numbers that is kept for evaluation"},
    {0},
};
// clang-format on

struct compose {
    struct settings settings;
    enum cn_split split;
    uint64_t seed;
    uint32_t *number; /* those of the split */
    size_t count;
};

static void compose_close(void *shared)
{
    struct compose *compose = shared;
    if (compose) free(compose->number);
    free(compose);
}

static enum cn_status list_numbers(struct compose *compose)
{
    const struct settings *s = &compose->settings;
    if (s->smallest > s->largest)
        return cn_fail(CN_ERR_CONFIG, "env.smallest=%lld is above env.largest=%lld",
                       (long long)s->smallest, (long long)s->largest);
    compose->number = malloc((size_t)(s->largest - s->smallest + 1) * sizeof *compose->number);
    if (!compose->number) return cn_fail(CN_ERR_MEMORY, "out of memory: env compose");
    for (int64_t n = s->smallest; n <= s->largest; n++) {
        char text[16];
        int length = snprintf(text, sizeof text, "%lld", (long long)n);
        if (split_of("compose", text, (size_t)length, s->held_out) == compose->split)
            compose->number[compose->count++] = (uint32_t)n;
    }
    if (compose->count) return CN_OK;
    return cn_fail(CN_ERR_CONFIG,
                   "env.held_out=%g leaves no number from %lld to %lld to %s; change one of them",
                   s->held_out, (long long)s->smallest, (long long)s->largest,
                   compose->split == CN_SPLIT_TRAIN ? "train on" : "evaluate on");
}

static enum cn_status compose_open(const struct cn_env_setup *setup, void **shared)
{
    struct compose *compose = calloc(1, sizeof *compose);
    if (!compose) return cn_fail(CN_ERR_MEMORY, "out of memory: env compose");
    compose->settings = *(const struct settings *)setup->settings;
    compose->split = setup->split;
    compose->seed = setup->seed;
    enum cn_status status = list_numbers(compose);
    if (status == CN_OK)
        *shared = compose;
    else
        compose_close(compose);
    return status;
}

/* A right answer, each with the same probability: the terms lie between `terms` - 1 different cuts
 * of 1 .. n - 1. */
static void demonstrate(uint32_t n, size_t terms, struct cn_rng *rng, char out[TEXT_MAX])
{
    uint32_t cut[TERMS_MAX + 1] = {0};
    for (size_t k = 1; k < terms; k++) {
        uint32_t drawn = 1 + cn_rng_below(rng, n - (uint32_t)k); /* among the cuts that are left */
        size_t place = k;
        for (size_t i = 1; i < k; i++)
            drawn += drawn >= cut[i]; /* cuts ascend: step over those taken */
        for (; place > 1 && cut[place - 1] > drawn; place--)
            cut[place] = cut[place - 1];
        cut[place] = drawn;
    }
    cut[terms] = n;
    size_t length = 0;
    for (size_t k = 1; k <= terms; k++)
        length += (size_t)snprintf(out + length, TEXT_MAX - length, "%s%u", k > 1 ? "+" : "",
                                   cut[k] - cut[k - 1]);
}

static enum cn_status pose(const struct compose *compose, uint32_t n, struct cn_arena *arena,
                           struct cn_task *out)
{
    char text[TEXT_MAX], *copy;
    struct cn_message *message;
    const bool chat = compose->settings.format == FORMAT_CHAT;
    const int length = chat ? snprintf(text, sizeof text,
                                       "Write %u as a sum of %lld positive whole numbers, such as "
                                       "1+2+3. Answer with the sum only.",
                                       n, (long long)compose->settings.terms)
                            : snprintf(text, sizeof text, "%u=", n);
    CN_TRY(cn_arena_text(arena, text, (size_t)length, &copy));
    const struct cn_text prompt = {copy, (size_t)length};
    if (!chat) {
        out->rendered = prompt;
        return CN_OK;
    }
    CN_TRY(CN_NEW(arena, 1, &message));
    *message = (struct cn_message){"user", prompt};
    out->messages = (struct cn_messages){message, 1};
    return CN_OK;
}

static enum cn_status compose_reset(void *shared, void *state, uint64_t task, struct cn_rng *rng,
                                    struct cn_arena *arena, struct cn_task *out)
{
    const struct compose *compose = shared;
    const uint32_t n =
        compose->number[split_place(compose->split, compose->seed, task, compose->count)];
    char number[16], answer[TEXT_MAX], *known, *right;
    (void)state;
    snprintf(number, sizeof number, "%u", n);
    demonstrate(n, (size_t)compose->settings.terms, rng, answer);
    CN_TRY(cn_arena_text(arena, number, strlen(number), &known));
    CN_TRY(cn_arena_text(arena, answer, strlen(answer), &right));
    *out = (struct cn_task){.ground_truth = cn_text(known), .demonstration = cn_text(right)};
    return pose(compose, n, arena, out);
}

const struct cn_env cn_env_compose = {
    .name = "compose",
    .summary = "write a number as a sum, many right answers: \"37=\" -> \"12+20+5\"",
    .options = options,
    .settings_size = sizeof(struct settings),
    .open = compose_open,
    .reset = compose_reset,
    .close = compose_close,
};
