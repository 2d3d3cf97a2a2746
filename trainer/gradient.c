/* carnot gradient: loss and gradient per token of a batch that somebody else made, through the same
 * functions as a training step. */
#include "command.h"
#include "filter.h"
#include "gradient_batch.h"
#include "schema.h"
#include "settings.h"

#include "carnot/algorithm.h"
#include "core/config.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS = 17 };

struct gradient {
    struct settings settings;
    struct cn_recipe recipe; /* with the states that live from row to row */
    struct cn_arena run, row, scratch;
    size_t split; /* sequences per atom; 0: all */
};

/* One row while it is worked on. */
struct step {
    struct gradient_batch in;
    struct cn_counts counts[CN_PART_COUNT];
    struct cn_metrics metrics;
    struct cn_token_grad grad;
    struct cn_loss_call call;
};

/* ---- what the chosen rows need -----------------------------------------------------------------
 */

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

/* ---- the stages of a step ----------------------------------------------------------------------
 */

static enum cn_status open_gradients(struct step *step, struct cn_arena *arena)
{
#define X(name, text)                                                                              \
    if (step->in.live.name) CN_TRY(CN_NEW(arena, step->in.batch.n_tokens, &step->grad.d_##name));
    CN_LIVE(X)
#undef X
    return CN_OK;
}

/* The log-probabilities at the start of the updates are the sampler's, and then the new ones
 * default to them as well. */
static enum cn_status use_sampled(struct step *step, struct cn_arena *arena)
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

static enum cn_status count(struct gradient *g, struct step *step)
{
    return cn_loss_count(&step->in.batch, cn_batch_all(&step->in.batch),
                         (double)g->settings.rollout.max_tokens, step->call.ranks, &g->scratch,
                         step->counts);
}

static enum cn_status compute(struct gradient *g, struct step *step)
{
    struct cn_batch *batch = &step->in.batch;
    const struct cn_span all = cn_batch_all(batch);
    const size_t atom = g->split ? g->split : batch->n_sequences;
    CN_TRY(count(g, step));
    CN_TRY(cn_loss_shape_reward(&step->call, batch));
    CN_TRY(cn_loss_advantage(&step->call, batch));
    CN_TRY(count(g, step)); /* shaping may have dropped sequences */
    CN_TRY(
        cn_loss_prepare(&step->call, batch, all, g->recipe.prepare_live ? &step->in.live : NULL));
    for (size_t s = 0; s < batch->n_sequences; s += atom) {
        struct cn_span span = {s, s + atom < batch->n_sequences ? s + atom : batch->n_sequences};
        CN_TRY(cn_loss_atom(&step->call, batch, span, &step->in.live, &step->grad));
    }
    return CN_OK;
}

/* ---- the output row ----------------------------------------------------------------------------
 */

/* An array of one sequence, or null if nobody computed it. */
static enum cn_status put(struct cn_str *out, const char *key, const double *values,
                          struct cn_span tokens)
{
    CN_TRY(filter_key(out, key));
    if (!values) return cn_str_add(out, "null");
    return filter_reals(out, values + tokens.begin, tokens.end - tokens.begin, 0, DIGITS);
}

static enum cn_status put_touched(struct cn_str *out, const struct cn_recipe *recipe,
                                  const uint32_t *touched, struct cn_span tokens)
{
    CN_TRY(filter_key(out, "touched"));
    CN_TRY(cn_str_add(out, "["));
    for (size_t t = tokens.begin; t < tokens.end; t++) {
        bool first = true;
        CN_TRY(cn_str_add(out, t > tokens.begin ? ", [" : "["));
        for (size_t i = 0; i < recipe->n_entropy + recipe->n_shadow; i++) {
            if (!(touched[t] & 1u << i)) continue;
            const struct cn_chosen *method = i < recipe->n_entropy
                                                 ? &recipe->entropy[i]
                                                 : &recipe->shadow[i - recipe->n_entropy];
            CN_TRY(cn_str_format(out, "%s\"%s\"", first ? "" : ", ", method->plugin->name));
            first = false;
        }
        CN_TRY(cn_str_add(out, "]"));
    }
    return cn_str_add(out, "]");
}

static enum cn_status put_sequence(struct cn_str *out, const struct gradient *g,
                                   const struct step *step, size_t s)
{
    const struct cn_batch *b = &step->in.batch;
    const struct cn_span tokens = {b->seq_start[s], b->seq_start[s + 1]};
    const bool target = b->written & CN_NEEDS(value_target);
    CN_TRY(cn_str_add(out, s ? ", {" : "{"));
    CN_TRY(put(out, "advantage", b->advantage, tokens));
    CN_TRY(put(out, "value_target", target ? b->value_target : NULL, tokens));
    CN_TRY(put(out, "correction", b->correction, tokens));
    CN_TRY(put(out, "weight", b->weight, tokens));
    CN_TRY(put_touched(out, &g->recipe, b->touched, tokens));
#define X(name, text) CN_TRY(put(out, "d_" #name, step->grad.d_##name, tokens));
    CN_LIVE(X)
#undef X
    CN_TRY(filter_key(out, "drop"));
    return cn_str_format(out, "\"%s\"}", cn_drop_name(b->drop[s]));
}

static enum cn_status put_metrics(struct cn_str *out, const struct cn_metrics *metrics)
{
    CN_TRY(filter_key(out, "metrics"));
    CN_TRY(cn_str_add(out, "{"));
    for (size_t i = 0; i < metrics->count; i++) {
        CN_TRY(filter_key(out, metrics->item[i].name));
        CN_TRY(cn_json_real(out, cn_metric_value(&metrics->item[i]), DIGITS));
    }
    return cn_str_add(out, "}");
}

static enum cn_status put_row(struct cn_str *out, const struct cn_json *row,
                              const struct gradient *g, const struct step *step)
{
    CN_TRY(filter_begin(out, row));
    CN_TRY(filter_key(out, "loss"));
    CN_TRY(cn_json_real(out, step->grad.loss, DIGITS));
    CN_TRY(filter_key(out, "sequences"));
    CN_TRY(cn_str_add(out, "["));
    for (size_t s = 0; s < step->in.batch.n_sequences; s++)
        CN_TRY(put_sequence(out, g, step, s));
    CN_TRY(cn_str_add(out, "]"));
    CN_TRY(put_metrics(out, &step->metrics));
    return filter_end(out);
}

static enum cn_status one_row(void *self, const struct cn_json *row, struct cn_str *out)
{
    struct gradient *g = self;
    struct step step;
    memset(&step, 0, sizeof step);
    cn_arena_reset(&g->row);
    cn_arena_reset(&g->scratch);
    cn_metrics_init(&step.metrics, &g->row);
    CN_TRY(gradient_batch_read(row, &g->row, &step.in));
    CN_TRY(check_needs(&g->recipe, &step.in));
    if (g->recipe.anchor_sampled) CN_TRY(use_sampled(&step, &g->row));
    if (!step.in.live.logp)
        return cn_fail(CN_ERR_DATA, "the batch has neither \"logp_new\" nor \"logp_old\"");
    CN_TRY(open_gradients(&step, &g->row));
    step.call = (struct cn_loss_call){.recipe = &g->recipe,
                                      .seed = (uint64_t)g->settings.run.seed,
                                      .step = step.in.step,
                                      .update = step.in.update,
                                      .counts = step.counts,
                                      .ranks = &cn_reduce_alone,
                                      .scratch = &g->scratch,
                                      .metrics = &step.metrics};
    CN_TRY(compute(g, &step));
    return put_row(out, row, g, &step);
}

/* ---- the command -------------------------------------------------------------------------------
 */

/* Takes --split N out of the arguments; the rest is left in place. */
static enum cn_status take_split(int *argc, char **argv, size_t *split)
{
    int kept = 0;
    *split = 0;
    for (int i = 0; i < *argc; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], "--split=", 8) == 0) value = argv[i] + 8;
        if (strcmp(argv[i], "--split") == 0) value = i + 1 < *argc ? argv[++i] : "";
        if (!value) {
            argv[kept++] = argv[i];
            continue;
        }
        char *end;
        long number = strtol(value, &end, 10);
        if (end == value || *end || number < 1)
            return cn_fail(CN_ERR_CONFIG,
                           "--split \"%s\": expected the sequences of an atom, 1 or "
                           "more",
                           value);
        *split = (size_t)number;
    }
    *argc = kept;
    return CN_OK;
}

static enum cn_status run_configured(struct gradient *g, const struct config *config)
{
    const struct filter filter = {one_row, g};
    CN_TRY(settings_read(config_root(config), &g->run, &g->settings));
    CN_TRY(cn_recipe_read(config_section(config, "algorithm"), config_section(config, "entropy"),
                          &g->run, &g->recipe));
    return filter_run(&filter);
}

static enum cn_status run(int argc, char **argv)
{
    struct gradient g;
    struct config *config;
    memset(&g, 0, sizeof g);
    cn_arena_init(&g.run);
    cn_arena_init(&g.row);
    cn_arena_init(&g.scratch);
    argc--, argv++;
    CN_TRY(take_split(&argc, argv, &g.split));
    CN_TRY(config_open(schema_all(), (const char *const *)argv, (size_t)argc, &config));
    enum cn_status status = run_configured(&g, config);
    config_close(config);
    cn_arena_free(&g.run);
    cn_arena_free(&g.row);
    cn_arena_free(&g.scratch);
    return status;
}

const struct cn_command command_gradient = {
    .name = "gradient",
    .summary = "loss and gradient per token of a batch on standard input",
    .usage =
        "usage: carnot gradient [CONFIG...] [key=value | --key value]... [--split N] < BATCHES\n\n"
        "One JSON object per line, each a whole optimizer step:\n"
        "  {\"step\": 0, \"update\": 0, \"sequences\": [{\"group\": 7, \"reward\": 1.0,\n"
        "    \"role\": [0, 1, 2], \"logp_old\": [..], \"logp_new\": [..], ...}, ...]}\n"
        "role is 0 prompt, 1 policy (trained), 2 environment; all arrays have its length, and\n"
        "entries whose role is not 1 are ignored and may be null.  Further arrays: token, turn,\n"
        "token_reward, logp_sampled, logp_ref, logp_anchor, entropy_old, entropy_sampled,\n"
        "value_old, entropy_new, entropy_top_new, value_new; further members: score, part, drop,\n"
        "stop, temperature, prompt, sample, version.  logp_new defaults to logp_old.\n\n"
        "Out: {\"loss\", \"sequences\": [{\"advantage\", \"correction\", \"weight\", \"touched\", "
        "\"d_logp\",\n"
        "\"d_entropy\", ...}], \"metrics\"}; d_* are derivatives of the whole step's loss.  "
        "Nothing is\n"
        "sampled: rounds of dynamic sampling are not run.  State (an adaptive coefficient) lives\n"
        "from line to line.\n\n"
        "--split N   compute in atoms of N sequences; changes nothing but the last bits of the "
        "loss\n",
    .run = run,
};
