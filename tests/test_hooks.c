/* Two fake plug-ins, an axis entry and an entropy method, that use every hook: the loss functions
 * must call each of them, in order, with the context that the headers promise. */
#include "check.h"
#include "fixtures.h"

#include "carnot/rng.h"

/* How often each hook was called; lives in the plug-in's state, so states are covered as well. */
struct fake_state {
    uint64_t plan, branch, shape, prepare, loss, adapt;
    double last_reward;
};

struct fake_settings {
    double factor;
};

static const struct cn_option fake_options[] = {
    {.name = "factor",
     .kind = CN_OPTION_REAL,
     .offset = offsetof(struct fake_settings, factor),
     .fallback = "2",
     .minimum = 0,
     .maximum = 100,
     .help = "what the fake method multiplies weights by"},
    {0}};

static enum cn_status fake_plan(const struct cn_context *context, uint32_t round,
                                struct cn_batch *so_far, struct cn_requests *out)
{
    struct fake_state *state = context->state;
    state->plan++;
    if (round != 1) return CN_OK;
    so_far->drop[0] = CN_DROP_SURPLUS;
    struct cn_request request = {.prompt = so_far->prompt[1],
                                 .sample = 7,
                                 .parent = -1,
                                 .greedy = true,
                                 .part = CN_PART_BASELINE};
    return cn_requests_add(out, request);
}

static enum cn_status fake_branch(const struct cn_context *context, const struct cn_sampling *now,
                                  struct cn_forks *out)
{
    struct fake_state *state = context->state;
    state->branch++;
    out->count = now->entropy > 1 ? 2 : 0;
    return CN_OK;
}

static enum cn_status fake_shape(const struct cn_context *context, struct cn_batch *batch)
{
    struct fake_state *state = context->state;
    state->shape++;
    for (size_t s = 0; s < batch->n_sequences; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            if (cn_batch_trained(batch, s, t)) batch->advantage[t] += 0.25;
    return CN_OK;
}

/* Marks the tokens of largest entropy, through the collectives. */
static enum cn_status fake_prepare(const struct cn_context *context, struct cn_batch *batch,
                                   struct cn_span span, const struct cn_live *live)
{
    const struct fake_settings *settings = context->settings;
    struct fake_state *state = context->state;
    size_t begin = batch->seq_start[span.begin], n = batch->seq_start[span.end] - begin;
    double *values;
    uint8_t *chosen;
    state->prepare++;
    CN_BUG_IF(!live || !live->entropy || !context->counts || !context->bit);
    CN_TRY(CN_NEW(context->scratch, n, &values));
    CN_TRY(CN_NEW(context->scratch, n, &chosen));
    for (size_t s = span.begin; s < span.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++)
            values[t - begin] = cn_batch_trained(batch, s, t) ? live->entropy[t] : -1e300;
    CN_TRY(context->ranks->select_largest(context->ranks->self, values, n, 3, context->scratch,
                                          chosen));
    for (size_t i = 0; i < n; i++)
        if (chosen[i]) {
            batch->weight[begin + i] *= settings->factor;
            batch->touched[begin + i] |= context->bit;
        }
    return CN_OK;
}

static enum cn_status fake_loss(const struct cn_context *context, const struct cn_batch *batch,
                                struct cn_span atom, const struct cn_live *live,
                                struct cn_token_grad *grad)
{
    struct fake_state *state = context->state;
    state->loss++;
    CN_BUG_IF(!context->coefficient || !context->frozen);
    for (size_t s = atom.begin; s < atom.end; s++)
        for (size_t t = batch->seq_start[s]; t < batch->seq_start[s + 1]; t++) {
            if (!cn_batch_trained(batch, s, t)) continue;
            grad->loss += context->coefficient[t] * live->entropy[t] * live->entropy[t];
            grad->d_entropy[t] += 2 * context->coefficient[t] * live->entropy[t];
        }
    return CN_OK;
}

static enum cn_status fake_adapt(const struct cn_context *context,
                                 const struct cn_step_summary *summary)
{
    struct fake_state *state = context->state;
    state->adapt++;
    state->last_reward = summary->reward;
    return CN_OK;
}

#define FAKE_HOOKS                                                                                 \
    {                                                                                              \
        .plan = fake_plan, .branch = fake_branch, .shape = fake_shape, .prepare = fake_prepare,    \
        .loss = fake_loss, .adapt = fake_adapt                                                     \
    }

static const struct cn_entropy fake_method = {.name = "fake_method",
                                              .needs_live = CN_LIVE_BIT(entropy),
                                              .options = fake_options,
                                              .settings_size = sizeof(struct fake_settings),
                                              .state_size = sizeof(struct fake_state),
                                              .hooks = FAKE_HOOKS};

/* A sampling rule with the same hooks: an axis entry is called before every entropy method. */
static const struct cn_sampling_rule fake_rule = {.name = "fake_rule",
                                                  .needs_live = CN_LIVE_BIT(entropy),
                                                  .settings_size = sizeof(struct fake_settings),
                                                  .state_size = sizeof(struct fake_state),
                                                  .hooks = {.plan = fake_plan,
                                                            .branch = fake_branch,
                                                            .shape = fake_shape,
                                                            .loss = fake_loss,
                                                            .adapt = fake_adapt}};

struct fakes {
    struct fake_settings settings;
    struct fake_state method, rule, shadow;
    struct cn_chosen entropy[1], shadows[1];
};

/* Puts the fakes into the recipe of a fixture as if the configuration had named them. */
static void install(struct fixture *f, struct fakes *fakes, bool in_shadow)
{
    memset(fakes, 0, sizeof *fakes);
    fakes->settings.factor = 2;
    struct cn_chosen method = {(const struct cn_plugin *)&fake_method, &fakes->settings,
                               &fakes->method};
    struct cn_chosen rule = {(const struct cn_plugin *)&fake_rule, &fakes->settings, &fakes->rule};
    fakes->entropy[0] = method;
    fakes->shadows[0] = method;
    fakes->shadows[0].state = &fakes->shadow;
    if (!in_shadow) {
        f->recipe.axis[CN_AXIS_sampling] = rule;
        f->recipe.entropy = fakes->entropy;
        f->recipe.n_entropy = 1;
    } else {
        f->recipe.shadow = fakes->shadows;
        f->recipe.n_shadow = 1;
    }
    f->recipe.needs_live |= CN_LIVE_BIT(entropy);
    f->recipe.prepare_live = true;
}

static void open_b0(struct fixture *f)
{
    fixture_open(f);
    CHECK_OK(fixture_b0(f));
    CHECK_OK(fixture_recipe(f, "{\"aggregation\": \"token_mean\"}", NULL));
}

TEST(plan_hooks_see_the_batch_may_drop_and_may_ask)
{
    struct fixture f;
    struct fakes fakes;
    open_b0(&f);
    install(&f, &fakes, false);
    for (uint32_t round = 0; round < 2; round++) {
        struct cn_requests requests = {.arena = &f.arena};
        CHECK_OK(cn_loss_plan(&f.call, round, &f.batch, &requests));
        CHECK_INT(requests.count, round ? 2 : 0);
        if (!round) continue;
        CHECK(requests.item[1].greedy && requests.item[1].sample == 7);
        CHECK_INT(requests.item[1].part, CN_PART_BASELINE);
        CHECK_INT(f.batch.drop[0], CN_DROP_SURPLUS);
    }
    CHECK_INT(fakes.rule.plan, 2);
    CHECK_INT(fakes.method.plan, 2);
    fixture_close(&f);
}

TEST(branch_hooks_add_their_forks)
{
    struct fixture f;
    struct fakes fakes;
    struct cn_forks forks;
    const struct cn_sampling certain = {.entropy = 0.5}, open = {.entropy = 1.5};
    open_b0(&f);
    install(&f, &fakes, false);
    CHECK_OK(cn_loss_branch(&f.call, &certain, &forks));
    CHECK_INT(forks.count, 0);
    CHECK_OK(cn_loss_branch(&f.call, &open, &forks));
    CHECK_INT(forks.count, 4);
    fixture_close(&f);
}

TEST(shape_prepare_and_loss_hooks_act_in_their_stages)
{
    struct fixture plain, f;
    struct fakes fakes;
    open_b0(&plain);
    open_b0(&f);
    install(&f, &fakes, false);
    CHECK_OK(fixture_prepare(&plain));
    CHECK_OK(fixture_prepare(&f));
    CHECK_NEAR(f.batch.advantage[0], plain.batch.advantage[0] + 0.5, 1e-15); /* rule and method */
    CHECK(f.batch.advantage[6] == 0);
    /* The three largest entropies of B0 are those of tokens 4, 7 and 14. */
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++) {
        bool chosen = t == 4 || t == 7 || t == 14;
        CHECK_INT(f.batch.touched[t], chosen);
        CHECK_NEAR(f.batch.weight[t], t == 6 ? 0 : chosen ? 2 : 1, 0);
    }
    f.atom = 1;
    CHECK_OK(fixture_loss(&f));
    CHECK_INT(fakes.method.loss, 6);
    CHECK_INT(fakes.rule.loss, 6);
    CHECK_NEAR(f.grad.d_entropy[4], 2 * 2 * 2.0 / 15, 1e-15); /* twice 2 c H */
    CHECK(f.grad.d_entropy[6] == 0);
    fixture_close(&plain);
    fixture_close(&f);
}

TEST(the_weight_of_a_method_multiplies_the_policys_gradient)
{
    struct fixture once, twice;
    struct fakes fakes_once, fakes_twice;
    open_b0(&once);
    open_b0(&twice);
    install(&once, &fakes_once, false);
    install(&twice, &fakes_twice, false);
    fakes_once.settings.factor = 1;
    CHECK_OK(fixture_prepare(&once));
    CHECK_OK(fixture_prepare(&twice));
    CHECK_OK(fixture_loss(&once));
    CHECK_OK(fixture_loss(&twice));
    CHECK(once.grad.d_logp[4] != 0);
    CHECK(twice.grad.d_logp[4] == 2 * once.grad.d_logp[4]);
    CHECK(twice.grad.d_logp[5] == once.grad.d_logp[5]);
    CHECK(twice.grad.d_entropy[4] == once.grad.d_entropy[4]); /* only the policy's term */
    fixture_close(&once);
    fixture_close(&twice);
}

TEST(adapt_hooks_get_the_summary)
{
    struct fixture f;
    struct fakes fakes;
    const struct cn_step_summary summary = {.reward = 0.75};
    open_b0(&f);
    install(&f, &fakes, false);
    CHECK_OK(cn_loss_adapt(&f.call, &summary));
    CHECK_NEAR(fakes.method.last_reward, 0.75, 0);
    CHECK_NEAR(fakes.rule.last_reward, 0.75, 0);
    fixture_close(&f);
}

TEST(a_method_in_shadow_is_asked_but_only_reports)
{
    struct fixture plain, f;
    struct fakes fakes;
    struct cn_requests requests = {0};
    open_b0(&plain);
    open_b0(&f);
    install(&f, &fakes, true);
    requests.arena = &f.arena;
    CHECK_OK(cn_loss_plan(&f.call, 1, &f.batch, &requests));
    CHECK_INT(requests.count, 0);
    CHECK_OK(fixture_prepare(&plain));
    CHECK_OK(fixture_prepare(&f));
    CHECK_OK(fixture_loss(&plain));
    CHECK_OK(fixture_loss(&f));
    CHECK_INT(fakes.shadow.prepare, 1);
    CHECK_INT(fakes.shadow.shape, 1);
    CHECK_INT(fakes.shadow.loss, 0);
    CHECK(f.grad.loss == plain.grad.loss);
    CHECK_INT(f.batch.touched[4], 1); /* what it would have done */
    CHECK_NEAR(f.batch.weight[4], 1, 0);
    fixture_close(&plain);
    fixture_close(&f);
}

TEST(differences_find_an_error_planted_in_a_hook)
{
    struct fixture f;
    struct fakes fakes;
    const double h = 1e-5;
    open_b0(&f);
    install(&f, &fakes, false);
    CHECK_OK(fixture_prepare(&f));
    CHECK_OK(fixture_loss(&f));
    double slope = f.grad.d_entropy[4], above;
    f.channel[CN_CHANNEL_entropy][4] += h;
    CHECK_OK(fixture_loss(&f));
    above = f.grad.loss;
    f.channel[CN_CHANNEL_entropy][4] -= 2 * h;
    CHECK_OK(fixture_loss(&f));
    double difference = (above - f.grad.loss) / (2 * h);
    CHECK_NEAR(slope, difference, 1e-9);
    CHECK(fabs(0.5 * slope - difference) > 1e-3); /* the planted one */
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
