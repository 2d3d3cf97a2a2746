/* Speed of the maths verifier: microseconds of processor time a pair of known answer and reply, on
 * the rows of FOLDER/math/rows.tsv and the hostile texts of FOLDER/math/hostile.tsv. */
#include "math_verify.h"

#include "math_rows.h"

#include "carnot/log.h"

#include <time.h>

enum {
    ROUNDS_ORDINARY = 20,
    ROUNDS_HOSTILE = 3,
    TIMES_MAX = 1 << 16,
    HOSTILE_GOLDS = 3,
    SHOWN = 60
};

/* What is being measured. */
struct bench {
    struct cn_arena arena;
    double *took; /* (TIMES_MAX) microseconds */
    size_t n;
    double slowest;
    char text[SHOWN + 1]; /* the slowest one's beginning */
};

static double now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static int by_size(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The fastest of `rounds` runs: what the pair itself takes, without the machine's other work. */
static enum cn_status time_pair(struct bench *b, struct cn_text gold, struct cn_text reply,
                                int rounds)
{
    static const struct math_rules rules = {.policy = MATH_POLICY_AUTO,
                                            .percent = MATH_PERCENT_BARE};
    const struct math_question question = {.reply = reply, .gold = gold};
    struct math_result result;
    double best = 1e18;
    for (int i = 0; i < rounds; i++) {
        const double start = now_us();
        CN_TRY(math_verify(&rules, &question, &b->arena, &result));
        const double time = now_us() - start;
        best = time < best ? time : best;
    }
    if (best > b->slowest) {
        b->slowest = best;
        const size_t n = reply.length < SHOWN ? reply.length : SHOWN;
        memcpy(b->text, reply.data, n);
        b->text[n] = 0;
    }
    if (b->n < TIMES_MAX) b->took[b->n++] = best;
    return CN_OK;
}

static void report(struct bench *b, const char *what)
{
    double sum = 0;
    if (!b->n) return;
    for (size_t i = 0; i < b->n; i++)
        sum += b->took[i];
    qsort(b->took, b->n, sizeof *b->took, by_size);
    cn_log_info(
        "math %s: %zu pairs, mean %.2f us, median %.2f, 99 %% %.2f, 99.9 %% %.2f, worst %.2f (%s)",
        what, b->n, sum / (double)b->n, b->took[b->n / 2], b->took[b->n - 1 - b->n / 100],
        b->took[b->n - 1 - b->n / 1000], b->took[b->n - 1], b->text);
    b->n = 0;
    b->slowest = 0;
}

static enum cn_status ordinary(struct bench *b, struct cn_text file)
{
    struct row row;
    for (size_t at = 0; rows_next(file, &at, &row);)
        if (cn_text_is(row.setup, "auto"))
            CN_TRY(time_pair(b, row.gold, row.reply, ROUNDS_ORDINARY));
    report(b, "ordinary");
    return CN_OK;
}

static enum cn_status hostile(struct bench *b, struct cn_text file)
{
    static const char *const golds[HOSTILE_GOLDS] = {"123456789", "x^2+\\sqrt{y}",
                                                     "\\{1,2,\\pi\\}"};
    struct cn_str reply = {0};
    enum cn_status status = CN_OK;
    for (size_t at = 0; status == CN_OK && hostile_next(file, &at, &reply);)
        for (size_t g = 0; g < HOSTILE_GOLDS && status == CN_OK; g++)
            status = time_pair(b, cn_text(golds[g]), cn_str_text(&reply), ROUNDS_HOSTILE);
    cn_str_free(&reply);
    if (status == CN_OK) report(b, "hostile");
    return status;
}

enum cn_status math_bench(const char *folder)
{
    static const struct {
        const char *name;
        enum cn_status (*run)(struct bench *b, struct cn_text file);
    } sets[] = {{"rows.tsv", ordinary}, {"hostile.tsv", hostile}};
    struct bench b = {0};
    struct cn_str path = {0}, file = {0};
    enum cn_status status;
    cn_arena_init(&b.arena);
    CN_TRY_GOTO(CN_NEW(&b.arena, TIMES_MAX, &b.took), out);
    for (size_t i = 0; i < 2; i++) {
        cn_str_clear(&path);
        cn_str_clear(&file);
        CN_TRY_GOTO(cn_str_format(&path, "%s/math/%s", folder, sets[i].name), out);
        CN_TRY_GOTO(cn_file_read(path.data, 1 << 24, &file), out);
        CN_TRY_GOTO(sets[i].run(&b, cn_str_text(&file)), out);
    }
out:
    cn_arena_free(&b.arena);
    cn_str_free(&path);
    cn_str_free(&file);
    return status;
}
