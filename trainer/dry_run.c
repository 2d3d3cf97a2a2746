/* Batch arithmetic and the memory plan. */
#include "dry_run.h"

#include "filters/filter.h"
#include "model/plan.h"
#include "model/shape.h"

#include "carnot/str.h"

#include <string.h>
#include <unistd.h>

/* Shape from the folder or from model.init; *known is false for models that have none. */
static enum cn_status read_shape(const struct session *s, struct model_shape *shape, bool *known)
{
    const struct model_settings *model = &s->settings.model;
    *known = strcmp(model->type, "torch") == 0;
    if (!*known) return CN_OK;
    if (model->path) {
        CN_TRY(session_check_folder("model.path", model->path));
        return shape_read(model->path, shape);
    }
    if (model->init) return shape_parse(model->init, "model.init", shape);
    return cn_fail(CN_ERR_CONFIG, "no model: set model.path=FOLDER or model.init");
}

/* Most sequences that are sampled at a time: slots beyond the work of a rollout or of an evaluation
 * are never touched.  Entropy methods may ask for further sequences. */
static enum cn_status busy_slots(const struct session *s, size_t *out)
{
    const struct settings *t = &s->settings;
    struct settings_eval_set *sets;
    struct cn_arena arena;
    size_t n = 0;
    int64_t most = t->train.prompts * t->train.samples;
    cn_arena_init(&arena);
    const enum cn_status status = settings_eval_sets(&t->data, &arena, &sets, &n);
    for (size_t i = 0; status == CN_OK && i < n; i++) {
        const int64_t tasks = sets[i].tasks ? sets[i].tasks : t->rollout.slots;
        if (tasks * t->eval.samples > most) most = tasks * t->eval.samples;
    }
    cn_arena_free(&arena);
    if (n == 0 || s->recipe.n_entropy || most > t->rollout.slots) most = t->rollout.slots;
    *out = (size_t)most + 1;
    return status;
}

/* What sampling and the batch of a rollout need beyond the model. */
static enum cn_status plan_rollout(const struct session *s, struct plan_settings *plan)
{
    const struct settings *t = &s->settings;
    plan->top = s->recipe.top.form != CN_TOP_NONE;
    plan->frozen = (s->recipe.needs & CN_NEEDS(logp_ref) ? 1u : 0u) +
                   (s->recipe.needs & CN_NEEDS(logp_anchor) ? 1u : 0u);
    plan->context = plan->longest;
    plan->sequences = (size_t)(t->train.prompts * t->train.samples);
    plan->waiting = (size_t)t->parallel.max_staleness;
    return busy_slots(s, &plan->slots);
}

/* Tokens that the atoms of a step hold together at most, a group's prompt once; without limit if
 * answers may be added later. */
static size_t step_tokens(const struct session *s, const struct supervised_settings *supervised)
{
    const struct settings *t = &s->settings;
    const int64_t prompt = t->data.max_prompt_tokens, answer = t->rollout.max_tokens;
    if (supervised) return (size_t)(supervised->rows * (prompt + answer));
    if (s->recipe.n_entropy || s->recipe.axis[CN_AXIS_sampling].plugin->hooks.plan) return SIZE_MAX;
    return (size_t)(t->train.prompts * (prompt + t->train.samples * answer));
}

/* What a rank does without that does one thing only. */
static void plan_side(const struct roles *roles, struct plan_settings *plan)
{
    if (!roles->samples) plan->slots = 0;
    if (roles->learns) return;
    plan->trainable = plan->exact_sum = plan->top = false;
    plan->frozen = plan->atom_tokens = plan->longest = 0;
    plan->critic = NULL;
}

static enum cn_status make_plan(const struct session *s,
                                const struct supervised_settings *supervised,
                                const struct roles *roles, const struct model_shape *shape,
                                struct plan *plan)
{
    const struct settings *t = &s->settings;
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    struct model_shape critic = *shape;
    struct plan_settings settings = {
        .trainable = true,
        .exact_sum = t->run.deterministic,
        .shards = t->parallel.shard_optimizer ? (size_t)cn_comm_size(s->roles.side) : 1,
        .checkpoint_activations = t->update.checkpoint_activations,
        .atom_tokens = (size_t)t->update.atom_tokens,
        .longest = (size_t)(t->data.max_prompt_tokens + t->rollout.max_tokens),
        .threads = t->parallel.threads ? (int)t->parallel.threads : (int)(cores > 0 ? cores : 1)};
    if (!supervised) CN_TRY(session_check_context(s, shape->context));
    CN_TRY(session_dtype(s, &settings.dtype));
    settings.engine_dtype = settings.dtype;
    if (supervised)
        settings.sequences = (size_t)supervised->rows;
    else
        CN_TRY(plan_rollout(s, &settings));
    if (!supervised && session_has_critic(s)) {
        if (t->critic.path) {
            CN_TRY(session_check_folder("critic.path", t->critic.path));
            CN_TRY(shape_read(t->critic.path, &critic));
        }
        settings.critic = &critic;
    }
    settings.tokens = settings.sequences * settings.longest;
    if (settings.atom_tokens > step_tokens(s, supervised))
        settings.atom_tokens = step_tokens(s, supervised);
    plan_side(roles, &settings);
    return plan_make(shape, &settings, plan);
}

enum cn_status dry_run_bytes(const struct session *s, uint64_t *bytes)
{
    struct model_shape shape;
    struct plan plan = {.total = 0};
    bool known;
    CN_TRY(read_shape(s, &shape, &known));
    const struct roles both = roles_together(NULL);
    if (known) CN_TRY(make_plan(s, NULL, &both, &shape, &plan));
    *bytes = plan.total;
    return CN_OK;
}

/* Memory of what computes: a rank has a GPU of its own, or its share of what the host has. */
static uint64_t available(const struct session *s)
{
    if (strcmp(s->settings.run.device, "cuda") == 0) return plan_device_memory();
    return plan_available("") / (uint64_t)cn_comm_local_size(s->comm);
}

enum cn_status dry_run_check(const struct session *s, const struct supervised_settings *supervised)
{
    struct model_shape shape;
    struct plan plan;
    bool known;
    CN_TRY(read_shape(s, &shape, &known));
    if (!known) return CN_OK;
    CN_TRY(make_plan(s, supervised, &s->roles, &shape, &plan));
    return plan_check(&plan, available(s));
}

/* ---- the page ------------------------------------------------------------ */

static enum cn_status print_supervised(const struct session *s,
                                       const struct supervised_settings *plan, struct cn_str *out)
{
    CN_TRY(cn_str_format(
        out,
        "%lld rows a step x %lld steps = %lld rows, in atoms of %lld tokens; prompts of at most "
        "%lld tokens\n",
        (long long)plan->rows, (long long)plan->steps, (long long)(plan->rows * plan->steps),
        (long long)s->settings.update.atom_tokens, (long long)s->settings.data.max_prompt_tokens));
    return cn_str_format(out, "learning rate %g, %g %% of the rows held out for validation\n",
                         plan->lr, 100 * plan->validation);
}

static enum cn_status print_arithmetic(const struct session *s, struct cn_str *out)
{
    const struct train_settings *t = &s->settings.train;
    const long long sequences = t->prompts * t->samples;
    const long long longest = s->settings.data.max_prompt_tokens + s->settings.rollout.max_tokens;
    CN_TRY(cn_str_format(
        out,
        "%lld prompts x %lld samples = %lld sequences a step = %lld optimizer steps x %lld "
        "sequences (%lld epochs x %lld mini-batches)\n",
        (long long)t->prompts, (long long)t->samples, sequences,
        (long long)(t->epochs * t->mini_batches), sequences / (long long)t->mini_batches,
        (long long)t->epochs, (long long)t->mini_batches));
    CN_TRY(cn_str_format(
        out,
        "%lld sequences x at most (%lld prompt + %lld answer) tokens = at most %lld tokens a step, "
        "in atoms of %lld; %lld steps\n",
        sequences, (long long)s->settings.data.max_prompt_tokens,
        (long long)s->settings.rollout.max_tokens, sequences * longest,
        (long long)s->settings.update.atom_tokens, (long long)t->steps));
    CN_TRY(cn_str_format(out, "algorithm %s: %s\n", s->recipe.row->name, s->recipe.row->summary));
    if (s->settings.parallel.rollout_ranks == 0) return CN_OK;
    return cn_str_format(out,
                         "ranks that only sample: %lld, ahead of the others by at most %lld "
                         "steps\n",
                         (long long)s->settings.parallel.rollout_ranks,
                         (long long)s->settings.parallel.max_staleness);
}

static enum cn_status print_changes(const struct session *s, struct cn_str *out)
{
    CN_TRY(cn_str_add(out, "\nvalues that differ from preset and default\n"));
    const size_t before = out->length;
    CN_TRY(config_print_changes(s->config, out));
    return out->length == before ? cn_str_add(out, "none\n") : CN_OK;
}

/* Of a rank that does what `roles` says. */
static enum cn_status print_side(const struct session *s,
                                 const struct supervised_settings *supervised,
                                 const struct roles *roles, const struct model_shape *shape,
                                 struct cn_str *out)
{
    const char *const whose = roles->samples && roles->learns ? ""
                              : roles->learns                 ? " of a rank that learns"
                                                              : " of a rank that samples";
    struct plan plan;
    CN_TRY(make_plan(s, supervised, roles, shape, &plan));
    CN_TRY(cn_str_add(out, "\n"));
    CN_TRY(plan_print(&plan, whose, available(s), out));
    return plan_check(&plan, available(s));
}

static enum cn_status print_memory(const struct session *s,
                                   const struct supervised_settings *supervised, struct cn_str *out)
{
    const struct roles learns = {.learns = true}, samples = {.samples = true};
    struct model_shape shape;
    bool known;
    CN_TRY(read_shape(s, &shape, &known));
    if (!known)
        return cn_str_format(out, "\nmemory: model type %s is not planned\n",
                             s->settings.model.type);
    if (supervised || s->settings.parallel.rollout_ranks == 0)
        return print_side(s, supervised, &s->roles, &shape, out);
    CN_TRY(print_side(s, NULL, &learns, &shape, out));
    return print_side(s, NULL, &samples, &shape, out);
}

/* Whatever fails, what stands before is printed: a plan that does not fit, for one. */
enum cn_status dry_run_print(struct session *s, const struct supervised_settings *supervised)
{
    struct cn_str out = {0};
    enum cn_status status =
        supervised ? print_supervised(s, supervised, &out) : print_arithmetic(s, &out);
    if (status == CN_OK) status = print_changes(s, &out);
    if (status == CN_OK) status = print_memory(s, supervised, &out);
    if (cn_comm_rank(s->comm) == 0) {
        const enum cn_status written = filter_write(cn_str_text(&out));
        if (status == CN_OK) status = written;
    }
    cn_str_free(&out);
    return status;
}
