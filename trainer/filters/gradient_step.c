/* An optimizer step's loss and gradient on a batch that somebody else made. */
#include "gradient_step.h"

#include <string.h>

/* ---- what the chosen rows need ------------------------------------------- */

static enum cn_status check_plugin(const char *owner, const struct cn_plugin *plugin,
                                   const struct gradient_batch *in, bool old_is_sampled)
{
    cn_columns missing = plugin->needs & ~in->batch.written & ~CN_NEEDS(value_target);
    if (old_is_sampled && in->batch.written & CN_NEEDS(logp_sampled))
        missing &= ~CN_NEEDS(logp_old);
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (missing & CN_BIT(c))
            return cn_fail(CN_ERR_DATA, "the batch has no \"%s\" (%s), which %s=%s reads",
                           cn_column_table[c].name, cn_column_table[c].meaning, owner,
                           plugin->name);
#define X(channel, text)                                                                           \
    if (plugin->needs_live & CN_LIVE_BIT(channel) && !in->live.channel)                            \
        return cn_fail(CN_ERR_DATA,                                                                \
                       "the batch has no \"" #channel "_new\" (" text "), which %s=%s reads",      \
                       owner, plugin->name);
    CN_LIVE(X)
#undef X
    return CN_OK;
}

static enum cn_status check_needs(const struct cn_recipe *recipe, const struct gradient_batch *in)
{
    const bool sampled = recipe->anchor_sampled;
    const struct {
        const char *name;
        const struct cn_chosen *list;
        size_t n;
    } lists[] = {{"algorithm.shaping", recipe->shaping, recipe->n_shaping},
                 {"entropy.methods", recipe->entropy, recipe->n_entropy},
                 {"entropy.shadow", recipe->shadow, recipe->n_shadow}};
    static const char *const axes[CN_AXIS_COUNT] = {
#define X(name, fallback, text) "algorithm." #name,
        CN_AXES(X)
#undef X
    };
    for (int a = 0; a < CN_AXIS_COUNT; a++)
        CN_TRY(check_plugin(axes[a], recipe->axis[a].plugin, in, sampled));
    for (size_t l = 0; l < sizeof lists / sizeof *lists; l++)
        for (size_t i = 0; i < lists[l].n; i++)
            CN_TRY(check_plugin(lists[l].name, lists[l].list[i].plugin, in, sampled));
    if (sampled && !(in->batch.written & CN_NEEDS(logp_sampled)))
        return cn_fail(CN_ERR_DATA,
                       "the batch has no \"logp_sampled\", which algorithm.anchor=sampled reads");
    return CN_OK;
}

/* ---- the stages of a step ------------------------------------------------ */

static enum cn_status open_gradients(struct gradient_step *step, struct cn_arena *arena)
{
#define X(name, text)                                                                              \
    if (step->in.live.name) CN_TRY(CN_NEW(arena, step->in.batch.n_tokens, &step->grad.d_##name));
    CN_LIVE(X)
#undef X
    return CN_OK;
}

/* The log-probabilities at the start of the updates are the sampler's, and then the new ones
 * default to them as well. */
static enum cn_status use_sampled(struct gradient_step *step, struct cn_arena *arena)
{
    struct cn_batch *batch = &step->in.batch;
    memcpy(batch->logp_old, batch->logp_sampled, batch->n_tokens * sizeof(double));
    batch->written |= CN_NEEDS(logp_old);
    if (step->in.live.logp) return CN_OK;
    double *logp;
    CN_TRY(CN_NEW(arena, batch->n_tokens, &logp));
    memcpy(logp, batch->logp_sampled, batch->n_tokens * sizeof(double));
    step->in.live.logp = logp;
    return CN_OK;
}

static enum cn_status count(const struct gradient_setup *setup, struct gradient_step *step)
{
    return cn_loss_count(&step->in.batch, cn_batch_all(&step->in.batch), setup->length_max,
                         step->call.ranks, setup->scratch, step->counts);
}

/* Atoms of `split` sequences; 0: one of all. */
static enum cn_status cut(const struct gradient_setup *setup, size_t n, struct cn_spans *out)
{
    const size_t size = setup->split ? setup->split : n;
    struct cn_span *item;
    out->count = 0;
    CN_TRY(CN_NEW(setup->arena, n, &item));
    for (size_t s = 0; s < n; s += size)
        item[out->count++] = (struct cn_span){s, s + size < n ? s + size : n};
    out->item = item;
    return CN_OK;
}

static enum cn_status compute(const struct gradient_setup *setup, struct gradient_step *step)
{
    struct cn_batch *batch = &step->in.batch;
    struct cn_spans atoms;
    CN_TRY(cut(setup, batch->n_sequences, &atoms));
    step->call.atoms = &atoms;
    CN_TRY(count(setup, step));
    CN_TRY(cn_loss_shape_reward(&step->call, batch));
    CN_TRY(cn_loss_advantage(&step->call, batch));
    CN_TRY(count(setup, step)); /* shaping may have dropped sequences */
    CN_TRY(cn_loss_prepare(&step->call, batch, cn_batch_all(batch),
                           setup->recipe->prepare_live ? &step->in.live : NULL));
    for (size_t a = 0; a < atoms.count; a++)
        CN_TRY(cn_loss_atom(&step->call, batch, atoms.item[a], &step->in.live, &step->grad));
    step->call.atoms = NULL;
    return CN_OK;
}

enum cn_status gradient_step_run(const struct gradient_setup *setup, const struct cn_json *row,
                                 struct gradient_step *step)
{
    memset(step, 0, sizeof *step);
    cn_metrics_init(&step->metrics, setup->arena);
    CN_TRY(gradient_batch_read(row, setup->arena, &step->in));
    CN_TRY(check_needs(setup->recipe, &step->in));
    if (setup->recipe->anchor_sampled) CN_TRY(use_sampled(step, setup->arena));
    if (!step->in.live.logp)
        return cn_fail(CN_ERR_DATA, "the batch has neither \"logp_new\" nor \"logp_old\"");
    CN_TRY(open_gradients(step, setup->arena));
    step->call = (struct cn_loss_call){.recipe = setup->recipe,
                                       .seed = setup->seed,
                                       .step = step->in.step,
                                       .update = step->in.update,
                                       .counts = step->counts,
                                       .ranks = &cn_reduce_alone,
                                       .scratch = setup->scratch,
                                       .metrics = &step->metrics};
    return compute(setup, step);
}
