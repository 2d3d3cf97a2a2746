/* Arithmetic, generated: sums, differences, products and exact quotients of whole numbers.
 *
 *     format   prompt                                       for
 *     chat     What is 3 + 5? [instruction]                 models with a chat template
 *     plain    12+7=                                        models that read bytes
 *
 * Which problems exist is decided by the operators, the number and range of the operands and, if
 * wanted, of the result, or by `levels`, a mixture of ready-made choices.  Spaces of up to 2^20
 * problems are listed, and every problem then occurs once per pass; larger ones are drawn.  Held
 * out are problems up to the order of the terms of a sum or product: if 3 + 5 is trained on, 5 + 3
 * is not evaluated. */
#include "split.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TERMS_MAX = 4, LEVELS_MAX = 8, LISTED_MAX = 1 << 20, TRIES = 100000, TEXT_MAX = 256 };
enum format { FORMAT_CHAT, FORMAT_PLAIN };
enum style { STYLE_NONE, STYLE_NUMBER, STYLE_BOXED, STYLE_HASH };

struct settings {
    int format, instruction;
    struct cn_reals levels;
    const char *operators, *system;
    int64_t terms, smallest, largest;
    bool zero_operands;
    double smallest_result, largest_result, held_out;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "format", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, format), .fallback = "\"chat\"",
     .choices = "chat plain", .help = "a question for a chat model (What is 3 + 5?), or bare text (12+7=)"},
    {.name = "instruction", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, instruction), .fallback = "\"none\"",
     .choices = "none number boxed hash", .help = "what is added to the question: nothing, a wish for the number only, for \\boxed{}, or for a line #### answer"},
    {.name = "system", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, system), .fallback = "null", .nullable = true,
     .help = "system message in front of the question"},
    {.name = "levels", .kind = CN_OPTION_REALS, .offset = offsetof(struct settings, levels), .fallback = "[]", .minimum = 1, .maximum = 5,
     .help = "mixture of difficulties, instead of operators, terms, smallest and largest; 1: + and - of digits, 2: + and - up to 20, 3: up to 99, 4: with products up to 99, 5: three terms up to 99"},
    {.name = "operators", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, operators), .fallback = "\"+-\"",
     .help = "which of + - * / occur; quotients are exact"},
    {.name = "terms", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, terms), .fallback = "2", .minimum = 2, .maximum = TERMS_MAX,
     .help = "operands of a problem"},
    {.name = "smallest", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, smallest), .fallback = "0", .minimum = -1e6, .maximum = 1e6,
     .help = "smallest operand"},
    {.name = "largest", .kind = CN_OPTION_INT, .offset = offsetof(struct settings, largest), .fallback = "99", .minimum = -1e6, .maximum = 1e6,
     .help = "largest operand"},
    {.name = "zero_operands", .kind = CN_OPTION_BOOL, .offset = offsetof(struct settings, zero_operands), .fallback = "true",
     .help = "whether 0 may be an operand: then repeating the other one is often right"},
    {.name = "smallest_result", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, smallest_result), .fallback = "null", .nullable = true,
     .help = "problems with a smaller result are left out"},
    {.name = "largest_result", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, largest_result), .fallback = "null", .nullable = true,
     .help = "problems with a larger result are left out"},
    {.name = "held_out", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, held_out), .fallback = "0.2", .minimum = 0, .maximum = 0.9,
     .help = "fraction of the problems that is kept for evaluation"},
    {0},
};
// clang-format on

/* A family of problems. */
struct level {
    const char *operators;
    int64_t terms, smallest, largest;
};

static const struct level level_table[] = {
    {"+-", 2, 0, 9}, {"+-", 2, 0, 20}, {"+-", 2, 0, 99}, {"+-*", 2, 0, 99}, {"+-*", 3, 0, 99},
};

struct problem {
    int64_t terms, operand[TERMS_MAX], result;
    char sign[TERMS_MAX]; /* sign[i] stands behind operand[i] */
};

struct arithmetic {
    struct settings settings;
    enum cn_split split;
    uint64_t seed;
    struct level level[LEVELS_MAX];
    size_t n_levels;
    uint32_t *listed; /* numbers of this split's problems over all levels, NULL if they are drawn */
    size_t n_listed;
};

/* ---- problems ------------------------------------------------------------ */

/* Problems of a level before any is left out; UINT64_MAX if there are too many to count. */
static uint64_t space_of(const struct level *level)
{
    uint64_t space = 1, span = (uint64_t)(level->largest - level->smallest + 1),
             signs = strlen(level->operators);
    for (int64_t i = 0; i < level->terms; i++)
        if (__builtin_mul_overflow(space, span, &space) ||
            (i > 0 && __builtin_mul_overflow(space, signs, &space)))
            return UINT64_MAX;
    return space;
}

/* Problem number `number` of a level: mixed radix, operands and signs in turn. */
static struct problem problem_at(const struct level *level, uint64_t number)
{
    struct problem p = {.terms = level->terms};
    uint64_t span = (uint64_t)(level->largest - level->smallest + 1),
             signs = strlen(level->operators);
    for (int64_t i = 0; i < level->terms; i++) {
        p.operand[i] = level->smallest + (int64_t)(number % span);
        number /= span;
        if (i + 1 == level->terms) break;
        p.sign[i] = level->operators[number % signs];
        number /= signs;
    }
    return p;
}

static struct problem problem_draw(const struct level *level, struct cn_rng *rng)
{
    struct problem p = {.terms = level->terms};
    uint32_t span = (uint32_t)(level->largest - level->smallest + 1),
             signs = (uint32_t)strlen(level->operators);
    for (int64_t i = 0; i < level->terms; i++) {
        p.operand[i] = level->smallest + cn_rng_below(rng, span);
        if (i + 1 < level->terms) p.sign[i] = level->operators[cn_rng_below(rng, signs)];
    }
    return p;
}

/* Products and quotients first, then sums, from the left.  False: a quotient that is not whole, or
 * an overflow. */
static bool evaluate(struct problem *p)
{
    int64_t total = 0, product = p->operand[0];
    bool subtract = false;
    for (int64_t i = 0; i + 1 < p->terms; i++) {
        int64_t next = p->operand[i + 1];
        if (p->sign[i] == '*') {
            if (__builtin_mul_overflow(product, next, &product)) return false;
        } else if (p->sign[i] == '/') {
            if (next == 0 || product % next != 0) return false;
            product /= next;
        } else {
            bool over = subtract ? __builtin_sub_overflow(total, product, &total)
                                 : __builtin_add_overflow(total, product, &total);
            if (over) return false;
            subtract = p->sign[i] == '-';
            product = next;
        }
    }
    return !(subtract ? __builtin_sub_overflow(total, product, &p->result)
                      : __builtin_add_overflow(total, product, &p->result));
}

/* Writes the problem; a negative operand behind a sign stands in parentheses.  Returns its length.
 */
static size_t write_problem(const struct problem *p, const char *space, char text[TEXT_MAX])
{
    int length = 0;
    for (int64_t i = 0; i < p->terms; i++) {
        bool inner = i > 0 && p->operand[i] < 0;
        if (i > 0)
            length += snprintf(text + length, (size_t)(TEXT_MAX - length), "%s%c%s", space,
                               p->sign[i - 1], space);
        length += snprintf(text + length, (size_t)(TEXT_MAX - length),
                           inner ? "(%" PRId64 ")" : "%" PRId64, p->operand[i]);
    }
    return (size_t)length;
}

/* The problem as the split sees it: the terms of a pure sum or product in ascending order. */
static struct problem canonical(const struct problem *given)
{
    struct problem p = *given;
    for (int64_t i = 0; i + 1 < p.terms; i++)
        if (p.sign[i] != p.sign[0] || (p.sign[i] != '+' && p.sign[i] != '*')) return p;
    for (int64_t i = 1; i < p.terms; i++)
        for (int64_t k = i; k > 0 && p.operand[k] < p.operand[k - 1]; k--) {
            int64_t swap = p.operand[k];
            p.operand[k] = p.operand[k - 1];
            p.operand[k - 1] = swap;
        }
    return p;
}

static bool level_contains(const struct level *level, const struct problem *p)
{
    if (level->terms != p->terms) return false;
    for (int64_t i = 0; i < p->terms; i++) {
        if (p->operand[i] < level->smallest || p->operand[i] > level->largest) return false;
        if (i + 1 < p->terms && !strchr(level->operators, p->sign[i])) return false;
    }
    return true;
}

/* Whether the problem may be posed: it has a result in range, belongs to the split, and to no
 * earlier level. */
static bool accept(const struct arithmetic *a, size_t level, struct problem *p)
{
    const struct settings *s = &a->settings;
    for (int64_t i = 0; i < p->terms; i++)
        if (p->operand[i] == 0 && !s->zero_operands) return false;
    for (size_t i = 0; i < level; i++)
        if (level_contains(&a->level[i], p)) return false;
    if (!evaluate(p)) return false;
    if ((double)p->result < s->smallest_result || (double)p->result > s->largest_result)
        return false; /* NaN: no limit */
    struct problem key = canonical(p);
    char text[TEXT_MAX];
    size_t length = write_problem(&key, "", text);
    return split_of("arithmetic", text, length, s->held_out) == a->split;
}

/* ---- the environment ----------------------------------------------------- */

static enum cn_status read_levels(struct arithmetic *a)
{
    const struct settings *s = &a->settings;
    if (s->levels.count > LEVELS_MAX)
        return cn_fail(CN_ERR_CONFIG, "env.levels has %zu entries; at most %d", s->levels.count,
                       LEVELS_MAX);
    for (size_t i = 0; i < s->levels.count; i++) {
        double level = s->levels.value[i];
        if (!(level >= 1 && level <= 5) || level != floor(level))
            return cn_fail(CN_ERR_CONFIG, "env.levels has %g; allowed are the whole numbers 1 to 5",
                           level);
        a->level[a->n_levels++] = level_table[(int)level - 1];
    }
    if (a->n_levels) return CN_OK;
    if (!s->operators[0] || strspn(s->operators, "+-*/") != strlen(s->operators) ||
        strlen(s->operators) > 4)
        return cn_fail(CN_ERR_CONFIG, "env.operators is \"%s\"; allowed are one to four of + - * /",
                       s->operators);
    if (s->smallest > s->largest)
        return cn_fail(CN_ERR_CONFIG, "env.smallest %" PRId64 " is above env.largest %" PRId64,
                       s->smallest, s->largest);
    a->level[a->n_levels++] = (struct level){s->operators, s->terms, s->smallest, s->largest};
    return CN_OK;
}

/* Lists the problems of the split, or leaves listed NULL if there are too many. */
static enum cn_status list_all(struct arithmetic *a)
{
    uint64_t space = 0;
    for (size_t i = 0; i < a->n_levels; i++)
        if (__builtin_add_overflow(space, space_of(&a->level[i]), &space) || space > LISTED_MAX)
            return CN_OK;
    a->listed = malloc((size_t)space * sizeof *a->listed);
    if (!a->listed)
        return cn_fail(CN_ERR_MEMORY, "out of memory: env arithmetic lists %" PRIu64 " problems",
                       space);
    uint32_t first = 0;
    for (size_t i = 0; i < a->n_levels; i++) {
        uint32_t n = (uint32_t)space_of(&a->level[i]);
        for (uint32_t k = 0; k < n; k++) {
            struct problem p = problem_at(&a->level[i], k);
            if (accept(a, i, &p)) a->listed[a->n_listed++] = first + k;
        }
        first += n;
    }
    if (!a->n_listed)
        return cn_fail(CN_ERR_CONFIG,
                       "env arithmetic has no %s problem; widen env.smallest .. env.largest and "
                       "the results, or change "
                       "env.held_out %g",
                       a->split == CN_SPLIT_TRAIN ? "training" : "held-out", a->settings.held_out);
    return CN_OK;
}

static void arithmetic_close(void *shared)
{
    struct arithmetic *a = shared;
    if (a) free(a->listed);
    free(a);
}

static enum cn_status arithmetic_open(const struct cn_env_setup *setup, void **shared)
{
    struct arithmetic *a = calloc(1, sizeof *a);
    if (!a) return cn_fail(CN_ERR_MEMORY, "out of memory: env arithmetic");
    enum cn_status status = CN_OK;
    a->settings = *(const struct settings *)setup->settings;
    a->split = setup->split;
    a->seed = setup->seed;
    CN_TRY_GOTO(read_levels(a), out);
    CN_TRY_GOTO(list_all(a), out);
    *shared = a;
    return CN_OK;
out:
    arithmetic_close(a);
    return status;
}

static uint64_t arithmetic_count(const void *shared)
{
    const struct arithmetic *a = shared;
    return a->n_listed;
}

static enum cn_status choose(const struct arithmetic *a, uint64_t task, struct cn_rng *rng,
                             struct problem *out)
{
    size_t level = 0;
    if (a->listed) {
        uint64_t number = a->listed[split_place(a->split, a->seed, task, a->n_listed)];
        for (; number >= space_of(&a->level[level]); level++)
            number -= space_of(&a->level[level]);
        *out = problem_at(&a->level[level], number);
        return evaluate(out)
                   ? CN_OK
                   : cn_fail(CN_ERR_BUG, "env arithmetic listed a problem without a result");
    }
    for (int i = 0; i < TRIES; i++) {
        level = cn_rng_below(rng, (uint32_t)a->n_levels);
        *out = problem_draw(&a->level[level], rng);
        if (accept(a, level, out)) return CN_OK;
    }
    return cn_fail(CN_ERR_CONFIG,
                   "env arithmetic found no problem in %d draws; widen the limits of the results "
                   "or change env.held_out",
                   TRIES);
}

/* The conversation: an optional system message and the question. */
static enum cn_status pose(const struct settings *s, const char *problem, struct cn_arena *arena,
                           struct cn_messages *out)
{
    static const char *const instructions[] = {
        [STYLE_NONE] = "",
        [STYLE_NUMBER] = " Answer with the number only.",
        [STYLE_BOXED] = " Put the final answer in \\boxed{}.",
        [STYLE_HASH] = " End with a line that says \"#### \" and the answer.",
    };
    char text[2 * TEXT_MAX], *copy;
    int length =
        snprintf(text, sizeof text, "What is %s?%s", problem, instructions[s->instruction]);
    CN_TRY(cn_arena_text(arena, text, (size_t)length, &copy));
    struct cn_message *message;
    CN_TRY(CN_NEW(arena, 2, &message));
    size_t n = 0;
    if (s->system) message[n++] = (struct cn_message){"system", cn_text(s->system)};
    message[n++] = (struct cn_message){"user", {copy, (size_t)length}};
    *out = (struct cn_messages){message, n};
    return CN_OK;
}

/* A right answer in the asked form. */
static enum cn_status demonstrate(int style, const char *problem, const char *result,
                                  struct cn_arena *arena, struct cn_text *out)
{
    char text[2 * TEXT_MAX], *copy;
    int length = style == STYLE_BOXED ? snprintf(text, sizeof text, "\\boxed{%s}", result)
                 : style == STYLE_HASH
                     ? snprintf(text, sizeof text, "%s = %s\n#### %s", problem, result, result)
                     : snprintf(text, sizeof text, "%s", result);
    CN_TRY(cn_arena_text(arena, text, (size_t)length, &copy));
    *out = (struct cn_text){copy, (size_t)length};
    return CN_OK;
}

static enum cn_status make_task(const struct arithmetic *a, const struct problem *p,
                                struct cn_arena *arena, struct cn_task *out)
{
    bool chat = a->settings.format == FORMAT_CHAT;
    struct cn_task made = {.messages = {NULL, 0}};
    char problem[TEXT_MAX], result[32], *copy;
    size_t n = write_problem(p, chat ? " " : "", problem);
    int n_result = snprintf(result, sizeof result, "%" PRId64, p->result);
    CN_TRY(cn_arena_text(arena, result, (size_t)n_result, &copy));
    made.ground_truth = (struct cn_text){copy, (size_t)n_result};
    CN_TRY(demonstrate(chat ? a->settings.instruction : STYLE_NONE, problem, result, arena,
                       &made.demonstration));
    if (chat) {
        CN_TRY(pose(&a->settings, problem, arena, &made.messages));
    } else {
        problem[n++] = '=';
        CN_TRY(cn_arena_text(arena, problem, n, &copy));
        made.rendered = (struct cn_text){copy, n};
    }
    *out = made;
    return CN_OK;
}

static enum cn_status arithmetic_reset(void *shared, void *state, uint64_t task, struct cn_rng *rng,
                                       struct cn_arena *arena, struct cn_task *out)
{
    struct problem p;
    (void)state;
    CN_TRY(choose(shared, task, rng, &p));
    return make_task(shared, &p, arena, out);
}

/* A sum or product in other words: its terms from right to left. */
static enum cn_status arithmetic_view(void *shared, uint64_t task, struct cn_rng *rng,
                                      struct cn_arena *arena, struct cn_task *out)
{
    struct problem p, other;
    CN_TRY(choose(shared, task, rng, &p));
    other = p;
    for (int64_t i = 0; i < p.terms; i++) {
        other.operand[i] = p.operand[p.terms - 1 - i];
        if (i + 1 < p.terms && (p.sign[i] != p.sign[0] || (p.sign[0] != '+' && p.sign[0] != '*')))
            return cn_fail(CN_ERR_CONFIG,
                           "env arithmetic has another wording of sums and of products only, whose "
                           "terms may be turned round: set env.operators to \"+\" or \"*\"");
    }
    return make_task(shared, &other, arena, out);
}

const struct cn_env cn_env_arithmetic = {
    .name = "arithmetic",
    .summary = "generated sums, differences, products and quotients, with held-out problems",
    .options = options,
    .settings_size = sizeof(struct settings),
    .open = arithmetic_open,
    .count = arithmetic_count,
    .reset = arithmetic_reset,
    .view = arithmetic_view,
    .close = arithmetic_close,
};
