/* carnot gradient: loss and gradient per token of a batch that somebody else made, through the same
 * functions as a training step. */
#include "../command.h"
#include "filter.h"
#include "gradient_step.h"
#include "../config/schema.h"
#include "../config/settings.h"

#include "carnot/algorithm.h"
#include "../core/config.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS = 17 };

struct gradient {
    struct settings settings;
    struct cn_recipe recipe; /* with the states that live from row to row */
    struct cn_arena run, row, scratch;
    size_t split; /* sequences per atom; 0: all */
};

/* ---- the output row ------------------------------------------------------ */

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
                                   const struct gradient_step *step, size_t s)
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

static enum cn_status put_row(struct cn_str *out, const struct filter_row *row,
                              const struct gradient *g, const struct gradient_step *step)
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

static enum cn_status one_row(void *self, const struct filter_row *row, struct cn_str *out)
{
    struct gradient *g = self;
    struct gradient_step step;
    cn_arena_reset(&g->row);
    cn_arena_reset(&g->scratch);
    const struct gradient_setup setup = {.recipe = &g->recipe,
                                         .seed = (uint64_t)g->settings.run.seed,
                                         .length_max = (double)g->settings.rollout.max_tokens,
                                         .split = g->split,
                                         .arena = &g->row,
                                         .scratch = &g->scratch};
    CN_TRY(gradient_step_run(&setup, row->tree, &step));
    return put_row(out, row, g, &step);
}

/* ---- the command --------------------------------------------------------- */

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
    const struct filter filter = {.row = one_row, .self = g};
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
        "token_reward, logp_sampled, logp_ref, logp_anchor, entropy_old, entropy_top_old,\n"
        "entropy_sampled, value_old, entropy_new, entropy_top_new, value_new; further members: "
        "score, part, drop,\n"
        "stop, temperature, prompt, sample, version, answer.  logp_new defaults to logp_old.\n\n"
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
