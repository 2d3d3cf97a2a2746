/* Prompts in a fixed order: position -> task -> messages -> text -> ids. */
#include "tasks.h"

#include "carnot/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct tasks {
    struct tasks_setup setup;
    void *shared;    /* of the environment */
    uint64_t count;  /* of the split; 0: without end */
    uint64_t usable; /* tasks that are not over-long; known for data only */
};

/* Which task stands at a position of the order. */
static enum cn_status locate(const struct tasks *tasks, uint64_t position, struct posed *out)
{
    const struct tasks_setup *s = &tasks->setup;
    if (s->sequential || tasks->count == 0) {
        out->task = tasks->count ? position % tasks->count : position;
        out->epoch = tasks->count ? position / tasks->count : 0;
        return CN_OK;
    }
    if (s->data) return cn_data_draw(s->data, s->seed, position, &out->task, &out->epoch);
    out->epoch = position / tasks->count;
    out->task = cn_rng_permute(cn_rng_key(s->seed, out->epoch, CN_RNG_ORDER),
                               position % tasks->count, tasks->count);
    return CN_OK;
}

static enum cn_status render(struct tasks *tasks, struct cn_arena *arena, struct posed *out)
{
    struct cn_tokenizer *tokenizer = tasks->setup.tokenizer;
    struct cn_str text = {0};
    struct cn_ids ids = {0};
    enum cn_status status;
    int32_t *kept_ids;
    char *kept;
    const bool ready_made = out->content.rendered.length > 0;
    if (ready_made)
        CN_TRY_GOTO(cn_str_append(&text, out->content.rendered.data, out->content.rendered.length),
                    out);
    else
        CN_TRY_GOTO(cn_tokenizer_render(tokenizer, out->content.messages, true, &text), out);
    if (ready_made)
        CN_TRY_GOTO(cn_tokenizer_encode(tokenizer, cn_str_text(&text), true, &ids), out);
    else
        CN_TRY_GOTO(cn_tokenizer_chat(tokenizer, out->content.messages, true, false, &ids), out);
    if (ids.count == 0) {
        status =
            cn_fail(CN_ERR_DATA, "task %llu has an empty prompt", (unsigned long long)out->task);
        goto out;
    }
    CN_TRY_GOTO(cn_arena_text(arena, cn_str_text(&text).data, text.length, &kept), out);
    CN_TRY_GOTO(CN_NEW(arena, ids.count, &kept_ids), out);
    memcpy(kept_ids, ids.item, ids.count * sizeof *kept_ids);
    out->prompt_text = (struct cn_text){kept, text.length};
    out->ids = kept_ids;
    out->n_ids = ids.count;
    out->over_long = ids.count > (size_t)tasks->setup.limits->max_prompt_tokens;
out:
    cn_str_free(&text);
    cn_ids_free(&ids);
    return status;
}

/* Whether prompt, demonstration and end token are more than a supervised row may have. */
static enum cn_status check_context(struct tasks *tasks, struct posed *out)
{
    struct cn_ids ids = {0};
    if (!tasks->setup.context) return CN_OK;
    enum cn_status status =
        cn_tokenizer_encode(tasks->setup.tokenizer, out->content.demonstration, false, &ids);
    if (out->n_ids + ids.count + 1 > tasks->setup.context) out->over_long = true;
    cn_ids_free(&ids);
    return status;
}

enum cn_status tasks_pose(struct tasks *tasks, uint64_t position, struct cn_arena *arena,
                          struct posed *out)
{
    const struct tasks_setup *s = &tasks->setup;
    struct cn_rng rng;
    void *state;
    memset(out, 0, sizeof *out);
    CN_TRY(locate(tasks, position, out));
    CN_TRY(cn_arena_alloc(arena, 1, s->env->state_size ? s->env->state_size : 1, &state));
    cn_rng_open(&rng, cn_rng_key(s->seed, s->split, CN_RNG_TASK), out->task, 0, 0);
    CN_TRY(s->env->reset(tasks->shared, state, out->task, &rng, arena, &out->content));
    CN_TRY(render(tasks, arena, out));
    return check_context(tasks, out);
}

enum cn_status tasks_view(struct tasks *tasks, const struct posed *of, struct cn_arena *arena,
                          struct posed *out)
{
    const struct tasks_setup *s = &tasks->setup;
    struct cn_rng rng;
    CN_BUG_IF(!s->env->view); /* refused at the start */
    memset(out, 0, sizeof *out);
    out->task = of->task;
    out->epoch = of->epoch;
    cn_rng_open(&rng, cn_rng_key(s->seed, s->split, CN_RNG_TASK), out->task, 0, 0);
    CN_TRY(s->env->view(tasks->shared, out->task, &rng, arena, &out->content));
    CN_TRY(render(tasks, arena, out));
    if (!out->over_long) return CN_OK;
    return cn_fail(CN_ERR_DATA,
                   "the other wording of task %llu has %zu tokens, more than "
                   "data.max_prompt_tokens=%lld",
                   (unsigned long long)out->task, out->n_ids,
                   (long long)s->limits->max_prompt_tokens);
}

enum cn_status tasks_next(struct tasks *tasks, uint64_t *position, struct cn_arena *arena,
                          struct posed *out)
{
    /* Without a count (generated tasks) a long run of over-long prompts means that none will ever
     * fit. */
    uint64_t patience = tasks->count ? 2 * tasks->count : 10000;
    for (uint64_t tried = 0; tried < patience; tried++) {
        struct cn_arena_mark mark = cn_arena_mark(arena);
        CN_TRY(tasks_pose(tasks, (*position)++, arena, out));
        if (!out->over_long) return CN_OK;
        cn_arena_release(arena, mark);
    }
    return cn_fail(
        CN_ERR_DATA, "no prompt is within data.max_prompt_tokens=%lld%s (the last had %zu tokens)",
        (long long)tasks->setup.limits->max_prompt_tokens,
        tasks->setup.context ? ", or with its answer within the model's context" : "", out->n_ids);
}

/* What the rows of a split are like. */
struct measured {
    size_t longest;             /* prompt */
    uint64_t prompts, answered; /* rows left out for their prompt; for prompt and answer together */
};

static enum cn_status measure_rows(struct tasks *tasks, struct measured *m)
{
    struct cn_arena arena;
    enum cn_status status = CN_OK;
    cn_arena_init(&arena);
    bool sequential = tasks->setup.sequential;
    tasks->setup.sequential = true;
    for (uint64_t i = 0; status == CN_OK && i < tasks->count; i++) {
        struct posed posed;
        cn_arena_reset(&arena);
        status = tasks_pose(tasks, i, &arena, &posed);
        if (status != CN_OK) break;
        const bool prompt = posed.n_ids > (size_t)tasks->setup.limits->max_prompt_tokens;
        m->prompts += prompt;
        m->answered += posed.over_long && !prompt;
        if (posed.n_ids > m->longest) m->longest = posed.n_ids;
    }
    tasks->setup.sequential = sequential;
    cn_arena_free(&arena);
    return status;
}

/* Counts the rows that are too long, before anything is computed. */
static enum cn_status measure(struct tasks *tasks)
{
    const struct data_settings *limits = tasks->setup.limits;
    const bool refuse = limits->over_long == SETTINGS_OVER_LONG_ERROR;
    struct measured m = {0};
    char prompts[160], answered[160];
    CN_TRY(measure_rows(tasks, &m));
    snprintf(prompts, sizeof prompts,
             "%llu of %llu prompts are longer than data.max_prompt_tokens=%lld (longest %zu)",
             (unsigned long long)m.prompts, (unsigned long long)tasks->count,
             (long long)limits->max_prompt_tokens, m.longest);
    snprintf(answered, sizeof answered,
             "%llu of %llu rows, prompt and answer together, exceed the model's context of %zu "
             "tokens",
             (unsigned long long)m.answered, (unsigned long long)tasks->count,
             tasks->setup.context);
    if (m.prompts && refuse)
        return cn_fail(CN_ERR_DATA, "%s; raise it, or set data.over_long=drop", prompts);
    if (m.answered && refuse)
        return cn_fail(CN_ERR_DATA, "%s; shorten them, or set data.over_long=drop", answered);
    if (m.prompts) cn_log_warn("%s: they are left out", prompts);
    if (m.answered) cn_log_warn("%s: they are left out", answered);
    return CN_OK;
}

enum cn_status tasks_open(const struct tasks_setup *setup, struct tasks **out)
{
    const struct cn_env *env = setup->env;
    if (env->needs_data && !setup->data)
        return cn_fail(CN_ERR_CONFIG, "env %s needs rows: set data.%s", env->name,
                       setup->split == CN_SPLIT_TRAIN ? "train" : "eval");
    if (env->step)
        return cn_fail(CN_ERR_CONFIG, "env %s has several turns, which this version cannot run",
                       env->name);
    struct tasks *tasks = calloc(1, sizeof *tasks);
    if (!tasks) return cn_fail(CN_ERR_MEMORY, "out of memory");
    tasks->setup = *setup;
    const struct cn_env_setup env_setup = {.settings = setup->env_settings,
                                           .data = setup->data,
                                           .split = setup->split,
                                           .seed = setup->seed};
    enum cn_status status = env->open(&env_setup, &tasks->shared);
    if (status == CN_OK) {
        tasks->count = env->count ? env->count(tasks->shared) : 0;
        if (setup->data) status = measure(tasks);
    }
    if (status != CN_OK) {
        tasks_close(tasks);
        return status;
    }
    *out = tasks;
    return CN_OK;
}

void tasks_close(struct tasks *take_tasks)
{
    if (!take_tasks) return;
    if (take_tasks->shared && take_tasks->setup.env->close)
        take_tasks->setup.env->close(take_tasks->shared);
    free(take_tasks);
}

uint64_t tasks_count(const struct tasks *tasks)
{
    return tasks->count;
}
