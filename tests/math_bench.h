/* What test_math.c and bench_rewards.c share: the reward with settings, the rows, hostile texts. */
#ifndef TESTS_MATH_BENCH_H
#define TESTS_MATH_BENCH_H

#include "carnot/json.h"
#include "carnot/reward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT(t) (int)(t).length, (t).data

/* A reward with its settings, read from JSON as a configuration would. */
struct bench {
    const struct cn_reward *reward;
    struct cn_arena arena, arena_rows;
    void *settings;
};

static inline enum cn_status bench_open_json(struct bench *bench, const char *json)
{
    struct cn_json *root = NULL;
    cn_arena_init(&bench->arena);
    cn_arena_init(&bench->arena_rows);
    bench->reward = cn_reward_find("math");
    if (!bench->reward) return cn_fail(CN_ERR_CONFIG, "no reward math");
    CN_TRY(cn_arena_alloc(&bench->arena, bench->reward->settings_size, 1, &bench->settings));
    CN_TRY(cn_json_parse(cn_text(json), "test", &root));
    enum cn_status status = cn_option_read(bench->reward->options, root, "rewards.0", NULL,
                                           &bench->arena, bench->settings);
    cn_json_close(root);
    return status;
}

/* A name of the column "setup": some settings, else a policy. */
static inline enum cn_status bench_open(struct bench *bench, struct cn_text setup)
{
    static const char *const named[][2] = {{"percent_value", "{\"percent\": \"value\"}"},
                                           {"percent_lenient", "{\"percent\": \"lenient\"}"},
                                           {"units_ignore", "{\"units\": \"ignore\"}"},
                                           {"bare_bases", "{\"bare_bases\": true}"},
                                           {"set_relation", "{\"set_relation\": true}"},
                                           {"tolerance", "{\"tolerance\": 1e-4}"}};
    char policy[80];
    for (size_t i = 0; i < sizeof named / sizeof *named; i++)
        if (cn_text_is(setup, named[i][0])) return bench_open_json(bench, named[i][1]);
    snprintf(policy, sizeof policy, "{\"policy\": \"%.*s\"}", TEXT(setup));
    return bench_open_json(bench, policy);
}

static inline void bench_close(struct bench *bench)
{
    cn_arena_free(&bench->arena);
    cn_arena_free(&bench->arena_rows);
}

static inline enum cn_status bench_score(struct bench *bench, struct cn_text gold,
                                         struct cn_text reply, struct cn_outcome *out)
{
    const struct cn_episode episode = {
        .response = reply, .ground_truth = gold, .stop = CN_STOP_EOS};
    return bench->reward->score(bench->settings, &episode, 1, &bench->arena_rows, out);
}

static inline bool math_is_here(void)
{
    struct bench bench;
    const char *fault;
    bool here =
        bench_open_json(&bench, "{}") == CN_OK &&
        bench.reward->check_gold(bench.settings, cn_text("1"), &bench.arena, &fault) == CN_OK;
    if (!here) printf("SKIPPED: %s\n", cn_fail_message());
    bench_close(&bench);
    return here;
}

/* ---- rows.tsv: verdict, setup, gold, reply; "⏎" stands for a new line ---- */

struct row {
    struct cn_text verdict, setup, gold, reply;
};

/* The next line that is no comment, its end cut off; false: none. */
static inline bool line_next(struct cn_text file, size_t *at, struct cn_text *line)
{
    while (*at < file.length) {
        const char *begin = file.data + *at, *end = memchr(begin, '\n', file.length - *at);
        size_t length = end ? (size_t)(end - begin) : file.length - *at;
        *at += length + 1;
        *line = (struct cn_text){begin, length};
        if (length && *begin != '#') return true;
    }
    return false;
}

static inline struct cn_text field_next(struct cn_text *line)
{
    const char *tab = memchr(line->data, '\t', line->length);
    struct cn_text field = {line->data, tab ? (size_t)(tab - line->data) : line->length};
    size_t skip = field.length + (tab != NULL);
    line->data += skip;
    line->length -= skip;
    return field;
}

/* Turns "⏎" into a new line and two spaces, in place (the file is the test's own memory). */
static inline void unfold(struct cn_text text)
{
    static const char mark[] = "⏎";
    char *at = (char *)(uintptr_t)text.data;
    for (size_t i = 0; i + 3 <= text.length; i++)
        if (memcmp(at + i, mark, 3) == 0) memcpy(at + i, "\n  ", 3);
}

static inline bool rows_next(struct cn_text file, size_t *at, struct row *row)
{
    struct cn_text line;
    if (!line_next(file, at, &line)) return false;
    row->verdict = field_next(&line);
    row->setup = field_next(&line);
    row->gold = field_next(&line);
    row->reply = line;
    unfold(row->gold);
    unfold(row->reply);
    return true;
}

/* ---- hostile.tsv: front, piece, how often, behind ---- */

static inline bool hostile_next(struct cn_text file, size_t *at, struct cn_str *out)
{
    struct cn_text line;
    cn_str_clear(out);
    if (!line_next(file, at, &line)) return false;
    struct cn_text front = field_next(&line), piece = field_next(&line), count = field_next(&line);
    long n = strtol(count.data, NULL, 10);
    bool good = cn_str_append(out, front.data, front.length) == CN_OK;
    for (long i = 0; good && i < n; i++)
        good = cn_str_append(out, piece.data, piece.length) == CN_OK;
    return good && cn_str_append(out, line.data, line.length) == CN_OK;
}

/* `form` with every %s replaced by `text`. */
static inline void rewrite(char *out, size_t size, const char *form, const char *text)
{
    size_t n = 0;
    for (; *form && n + 1 < size; form++) {
        if (form[0] == '%' && form[1] == 's') {
            n += (size_t)snprintf(out + n, size - n, "%s", text);
            form++;
        } else {
            out[n++] = *form;
        }
    }
    out[n < size ? n : size - 1] = 0;
}

#endif
