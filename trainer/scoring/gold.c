/* Known answers that a reward cannot grade. */
#include "gold.h"

#include "carnot/log.h"

enum { NAMED_MAX = 5, SHOWN_MAX = 80 };

enum cn_status gold_check(const struct gold *gold, const struct cn_data *data, size_t *bad)
{
    struct cn_arena arena;
    enum cn_status status = CN_OK;
    size_t found = 0;
    cn_arena_init(&arena);
    for (size_t i = 0; gold->reward->check_gold && i < cn_data_count(data); i++) {
        struct cn_row row;
        const char *fault = NULL;
        cn_arena_reset(&arena);
        CN_TRY_GOTO(cn_data_row(data, i, &arena, &row), out);
        CN_TRY_GOTO(gold->reward->check_gold(gold->settings, row.ground_truth, &arena, &fault),
                    out);
        if (!fault) continue;
        found++;
        CN_TRY_GOTO(gold->fault(gold->self, &row, fault), out);
    }
    *bad = found;
out:
    cn_arena_free(&arena);
    return status;
}

/* Names the first few. */
static enum cn_status warn(void *self, const struct cn_row *row, const char *fault)
{
    size_t *named = self;
    int shown = (int)(row->ground_truth.length < SHOWN_MAX ? row->ground_truth.length : SHOWN_MAX);
    if ((*named)++ < NAMED_MAX)
        cn_log_warn("%s line %zu: the known answer \"%.*s\" cannot be graded: %s", row->file,
                    row->line, shown, row->ground_truth.data, fault);
    return CN_OK;
}

enum cn_status gold_warn(const struct cn_reward *reward, const void *settings,
                         const struct cn_data *data)
{
    size_t named = 0, bad, rows = cn_data_count(data);
    const struct gold gold = {
        .reward = reward, .settings = settings, .fault = warn, .self = &named};
    CN_TRY(gold_check(&gold, data, &bad));
    if (bad && bad == rows)
        return cn_fail(CN_ERR_DATA,
                       "reward %s can grade none of the %zu known answers; carnot grade --reward "
                       "%s --check-gold FILE names each",
                       reward->name, rows, reward->name);
    if (bad)
        cn_log_warn("%zu of %zu known answers cannot be graded by %s: answers to these prompts "
                    "are not trained on",
                    bad, rows, reward->name);
    return CN_OK;
}
