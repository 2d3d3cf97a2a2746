/* Known answers that must keep their scores. */
#include "canary.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_MAX = 16 << 20 };

struct canary {
    size_t line;
    struct cn_episode episode;
    bool wants_score, wants_null, wants_verdict;
    double score;
    enum cn_verdict verdict;
    struct cn_outcome first; /* what came before the first step; its texts are not kept */
};

struct canaries {
    const struct cn_reward_entry *used;
    const char *file;
    uint64_t every;
    struct canary *canary;
    size_t n;
    struct cn_json **row; /* (n) the episodes borrow their texts */
    struct cn_arena scratch;
    bool tried;
};

static enum cn_status read_expectation(const struct cn_json *row, struct canary *out)
{
    const struct cn_json *score = cn_json_get(row, "score"), *member;
    const struct cn_text verdict = cn_json_text(cn_json_get(row, "verdict"));
    for (member = cn_json_first(row); member; member = cn_json_next(member))
        if (strcmp(cn_json_key(member), "score") == 0) out->wants_score = true;
    out->wants_null = out->wants_score && cn_json_kind(score) == CN_JSON_NULL;
    out->score = cn_json_number(score);
    if (out->wants_score && !out->wants_null && cn_json_kind(score) != CN_JSON_NUMBER)
        return cn_fail(CN_ERR_DATA, "\"score\" is neither a number nor null");
    for (unsigned v = 0; verdict.length && v < CN_VERDICT_COUNT; v++)
        if (cn_text_is(verdict, cn_verdict_name((enum cn_verdict)v))) {
            out->wants_verdict = true;
            out->verdict = (enum cn_verdict)v;
        }
    if (verdict.length && !out->wants_verdict)
        return cn_fail(CN_ERR_DATA, "there is no verdict \"%.*s\"", (int)verdict.length,
                       verdict.data);
    if (!out->wants_score && !out->wants_verdict)
        return cn_fail(CN_ERR_DATA, "it has neither \"score\" nor \"verdict\"");
    return CN_OK;
}

static enum cn_status read_line(struct canaries *c, struct cn_text text, size_t line,
                                struct cn_arena *arena)
{
    char name[64];
    struct cn_json *row = NULL;
    struct canary *canary = &c->canary[c->n];
    snprintf(name, sizeof name, "line %zu", line);
    CN_TRY(cn_json_parse_line(text, name, &row));
    c->row[c->n++] = row;
    canary->line = line;
    enum cn_status status = cn_episode_read(row, arena, &canary->episode);
    if (status == CN_OK) status = read_expectation(row, canary);
    return status == CN_OK ? CN_OK : cn_fail_context(status, "%s", name);
}

static enum cn_status read_file(struct canaries *c, struct cn_arena *arena)
{
    struct cn_str text = {0};
    size_t lines = 1, line = 0;
    enum cn_status status = cn_file_read(c->file, FILE_MAX, &text);
    for (size_t i = 0; i < text.length; i++)
        lines += text.data[i] == '\n';
    if (status == CN_OK) status = CN_NEW(arena, lines, &c->canary);
    if (status == CN_OK) status = CN_NEW(arena, lines, &c->row);
    for (size_t at = 0; status == CN_OK && at < text.length;) {
        const char *end = memchr(text.data + at, '\n', text.length - at);
        size_t n = end ? (size_t)(end - text.data) - at : text.length - at;
        struct cn_text row = {text.data + at, n};
        line++;
        at += n + 1;
        if (strspn(row.data, " \t\r") < n) status = read_line(c, row, line, arena);
    }
    cn_str_free(&text);
    if (status == CN_OK && !c->n) status = cn_fail(CN_ERR_DATA, "it has no rows");
    return status;
}

enum cn_status canaries_open(const struct cn_json *entry, const char *path,
                             const struct cn_reward_entry *used, struct cn_arena *arena,
                             struct canaries **out)
{
    const struct cn_json *file = cn_json_get(entry, "canaries");
    int64_t every;
    *out = NULL;
    if (cn_json_int_or(entry, "canary_every", 0, INT32_MAX, 50, &every) != CN_OK)
        return cn_fail_context(CN_ERR_CONFIG, "%s", path);
    if (cn_json_kind(file) == CN_JSON_NULL) return CN_OK;
    if (cn_json_kind(file) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_CONFIG, "%s.canaries must be the path of a file", path);
    struct canaries *c = calloc(1, sizeof *c);
    if (!c) return cn_fail(CN_ERR_MEMORY, "out of memory: canaries");
    *c = (struct canaries){.used = used, .every = (uint64_t)every};
    cn_arena_init(&c->scratch);
    char *name;
    enum cn_status status =
        cn_arena_text(arena, cn_json_text(file).data, cn_json_text(file).length, &name);
    c->file = status == CN_OK ? name : "";
    if (status == CN_OK) status = read_file(c, arena);
    if (status == CN_OK) {
        *out = c;
        return CN_OK;
    }
    cn_fail_context(status, "%s.canaries=%s", path, c->file);
    canaries_close(c);
    return status;
}

void canaries_close(struct canaries *take_canaries)
{
    struct canaries *c = take_canaries;
    if (!c) return;
    for (size_t i = 0; i < c->n; i++)
        cn_json_close(c->row[i]);
    cn_arena_free(&c->scratch);
    free(c);
}

static void print_score(char *out, size_t size, bool has, double score)
{
    if (has)
        snprintf(out, size, "%.17g", score);
    else
        snprintf(out, size, "null");
}

/* What the first outcome must be, and every later one. */
static enum cn_status compare(const struct canaries *c, struct canary *canary,
                              const struct cn_outcome *now, uint64_t step)
{
    const struct cn_outcome *first = &canary->first;
    bool has = c->tried ? first->has_score : !canary->wants_null;
    double score = c->tried ? first->score : canary->score;
    enum cn_verdict verdict = c->tried ? first->verdict : canary->verdict;
    bool check_score = c->tried || canary->wants_score;
    bool check_verdict = c->tried || canary->wants_verdict;
    bool same = (!check_score || (now->has_score == has && (!has || now->score == score))) &&
                (!check_verdict || now->verdict == verdict);
    if (!c->tried) canary->first = *now;
    if (same) return CN_OK;
    char was[32], is[32];
    print_score(was, sizeof was, has, score);
    print_score(is, sizeof is, now->has_score, now->score);
    return cn_fail(
        CN_ERR_VERIFIER,
        "step %llu: the canary in line %zu of %s scores %s (%s), %s %s%s%s%s: the reward %s is "
        "not what it was taken for",
        (unsigned long long)step, canary->line, c->file, is, cn_verdict_name(now->verdict),
        c->tried ? "at the start it scored" : "expected", check_score ? was : "",
        check_verdict ? " (" : "", check_verdict ? cn_verdict_name(verdict) : "",
        check_verdict ? ")" : "", c->used->reward->name);
}

enum cn_status canaries_check(struct canaries *c, uint64_t step)
{
    if (!c || (c->tried && (!c->every || step % c->every != 0))) return CN_OK;
    for (size_t i = 0; i < c->n; i++) {
        struct cn_outcome now = {0};
        cn_arena_reset(&c->scratch);
        CN_TRY(cn_reward_score(c->used, &c->canary[i].episode, 1, &c->scratch, &now));
        CN_TRY(compare(c, &c->canary[i], &now, step));
    }
    c->tried = true;
    return CN_OK;
}
