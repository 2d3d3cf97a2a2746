/* Combinations that make no sense: each with its reason and the nearest sensible one
 * (methods-base 14.3). */
#include "recipe.h"

#include "carnot/log.h"

#include <string.h>

/* Entry of one axis that does not go with an entry of another; several are separated by spaces, and
 * a leading ! means every entry but these. */
struct rule {
    enum cn_axis_index a;
    const char *entries_a;
    enum cn_axis_index b;
    const char *entries_b, *why;
};

static const struct rule rules[] = {
    {CN_AXIS_ratio, "none", CN_AXIS_surrogate, "!reinforce",
     "this surrogate acts on a ratio of new and old policy: use algorithm.ratio=token, or "
     "algorithm.surrogate=reinforce"},
    {CN_AXIS_advantage, "gae", CN_AXIS_critic, "none",
     "GAE reads a critic's values and there is no critic: use algorithm.advantage=rtg with "
     "whiten=unbiased, or algorithm.critic=clipped"},
    {CN_AXIS_critic, "clipped", CN_AXIS_advantage, "!gae",
     "a critic would be trained that nobody reads: use algorithm.advantage=gae, or "
     "algorithm.critic=none"},
    {CN_AXIS_surrogate, "is_reinforce cispo dppo dro vespo", CN_AXIS_ratio,
     "seq_geo seq_product clipped_geo",
     "the surrogate weights each token's own log-probability, which a ratio of the whole sequence "
     "would spread over all of them: use the form of the ratio that ends in _token, or "
     "algorithm.surrogate=importance"},
    {CN_AXIS_surrogate, "vespo", CN_AXIS_correction, "!none",
     "its weight already contains the importance ratio, which would count twice: use "
     "algorithm.correction=none"},
};

static bool named(const char *words, const char *word)
{
    const bool negated = *words == '!';
    size_t length = strlen(word);
    for (const char *w = words + negated; w; w = strchr(w, ' ')) {
        w += *w == ' ';
        if (strncmp(w, word, length) == 0 && (w[length] == ' ' || w[length] == 0)) return !negated;
    }
    return negated;
}

static const char *name_of(const struct cn_recipe *recipe, enum cn_axis_index axis)
{
    return recipe->axis[axis].plugin->name;
}

static enum cn_status check_rules(const struct cn_recipe *recipe)
{
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++) {
        const struct rule *rule = &rules[i];
        const char *a = name_of(recipe, rule->a), *b = name_of(recipe, rule->b);
        if (named(rule->entries_a, a) && named(rule->entries_b, b))
            return cn_fail(CN_ERR_CONFIG, "algorithm.%s=%s does not go with algorithm.%s=%s: %s",
                           cn_axis_name(rule->a), a, cn_axis_name(rule->b), b, rule->why);
    }
    return CN_OK;
}

static enum cn_status check_sequence_ratio(const struct cn_recipe *recipe)
{
    const struct cn_ratio *ratio = (const struct cn_ratio *)recipe->axis[CN_AXIS_ratio].plugin;
    const struct cn_advantage *advantage =
        (const struct cn_advantage *)recipe->axis[CN_AXIS_advantage].plugin;
    if (ratio->per_sequence && advantage->per_token)
        return cn_fail(CN_ERR_CONFIG,
                       "algorithm.ratio=%s has one value per sequence, but algorithm.advantage=%s "
                       "differs between its tokens: use algorithm.ratio=seq_geo_token, or an "
                       "advantage of whole sequences",
                       ratio->name, advantage->name);
    return CN_OK;
}

static enum cn_status check_anchor(const struct cn_recipe *recipe)
{
    const char *correction = name_of(recipe, CN_AXIS_correction);
    if (recipe->anchor_sampled && strcmp(correction, "none") != 0)
        return cn_fail(CN_ERR_CONFIG,
                       "algorithm.anchor=sampled already puts the sampler into the ratio; "
                       "algorithm.correction=%s would count it twice: use anchor=old, or "
                       "correction=none",
                       correction);
    return CN_OK;
}

static bool has(const struct cn_chosen *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(list[i].plugin->name, name) == 0) return true;
    return false;
}

static enum cn_status check_lists(const struct cn_recipe *recipe)
{
    if (has(recipe->shaping, recipe->n_shaping, "soft_overlong") &&
        has(recipe->shaping, recipe->n_shaping, "overlong_filter"))
        return cn_fail(CN_ERR_CONFIG,
                       "algorithm.shaping: overlong_filter masks the answers that soft_overlong "
                       "punishes, so the punishment would only shift the group's mean: choose one");
    return CN_OK;
}

/* Entropy methods that do not act together. */
static const struct pair {
    const char *a, *b, *why;
} pairs[] = {
    {"bonus", "adaptive",
     "they are two coefficients of the same term; choose one (adaptive with \"initial\" starts "
     "from "
     "a given coefficient)"},
    {"bonus aent restricted_bonus adaptive", "siren",
     "it would reward the entropy that siren holds at its anchor; set siren's anchor higher "
     "instead"},
    {"aent", "restricted_bonus adaptive bonus",
     "they are two coefficients of an entropy bonus; choose one"},
    {"aepo cure remix co_reward", "aepo cure remix co_reward",
     "each asks for answers of its own to the same prompts; choose one"},
    {"adaptive siren aent", "aepo", "both hold the entropy at a target; choose one"},
    {"clip_cov", "kl_cov",
     "both treat the tokens of the highest covariance, and a token without a gradient needs no "
     "pulling back; choose one"},
    {"clip_cov kl_cov forking steer entropy_advantage", "archer",
     "archer replaces the loss of uncertain tokens, so the other's weights would not reach them; "
     "choose one"},
};

static enum cn_status check_pairs(const struct cn_recipe *recipe)
{
    for (size_t p = 0; p < sizeof pairs / sizeof *pairs; p++)
        for (size_t i = 0; i < recipe->n_entropy; i++)
            for (size_t j = 0; j < recipe->n_entropy; j++) {
                const char *a = recipe->entropy[i].plugin->name,
                           *b = recipe->entropy[j].plugin->name;
                if (i != j && named(pairs[p].a, a) && named(pairs[p].b, b))
                    return cn_fail(CN_ERR_CONFIG, "entropy.methods: %s does not go with %s: %s", a,
                                   b, pairs[p].why);
            }
    return CN_OK;
}

/* Entropy methods that need something of an axis: its entries are named as in a rule. */
static const struct need {
    const char *method;
    enum cn_axis_index axis;
    const char *refused, *why;
} needs[] = {
    {"entropy_advantage", CN_AXIS_ratio, "seq_geo seq_product clipped_geo",
     "the raised advantage differs between the tokens of an answer, and this ratio has one value "
     "per answer: use algorithm.ratio=token or seq_geo_token"},
    {"entropy_advantage", CN_AXIS_surrogate, "dro",
     "this surrogate is not proportional to the advantage: use algorithm.surrogate=ppo"},
    {"archer", CN_AXIS_ratio, "!token", "its clip bounds are per token: use algorithm.ratio=token"},
    {"archer", CN_AXIS_surrogate, "!ppo",
     "it changes the bounds of the clipped surrogate: use algorithm.surrogate=ppo"},
};

static enum cn_status check_method_needs(const struct cn_recipe *recipe)
{
    for (size_t n = 0; n < sizeof needs / sizeof *needs; n++) {
        const char *entry = name_of(recipe, needs[n].axis);
        if (has(recipe->entropy, recipe->n_entropy, needs[n].method) &&
            named(needs[n].refused, entry))
            return cn_fail(CN_ERR_CONFIG, "entropy.%s does not go with algorithm.%s=%s: %s",
                           needs[n].method, cn_axis_name(needs[n].axis), entry, needs[n].why);
    }
    return CN_OK;
}

/* Not wrong, but hardly meant. */
static void warn(const struct cn_recipe *recipe)
{
    const struct cn_chosen *surrogate = &recipe->axis[CN_AXIS_surrogate];
    const struct cn_option *clip = cn_option_find(surrogate->plugin->options, "clip_high");
    if (clip && has(recipe->entropy, recipe->n_entropy, "kl_cov"))
        cn_log_warn("entropy.kl_cov with algorithm.surrogate=%s: the paper's has no clip "
                    "(algorithm.surrogate=importance)",
                    surrogate->plugin->name);
    if (!clip || !named("seq_geo seq_geo_token", name_of(recipe, CN_AXIS_ratio))) return;
    double value;
    memcpy(&value, (const char *)surrogate->settings + clip->offset, sizeof value);
    if (value >= 0.05)
        cn_log_warn("algorithm.surrogate.clip_high=%g on a geometric-mean ratio practically never "
                    "clips; GSPO uses 4e-4",
                    value);
}

enum cn_status recipe_check(const struct cn_recipe *recipe)
{
    CN_TRY(check_rules(recipe));
    CN_TRY(check_sequence_ratio(recipe));
    CN_TRY(check_anchor(recipe));
    CN_TRY(check_lists(recipe));
    CN_TRY(check_pairs(recipe));
    CN_TRY(check_method_needs(recipe));
    warn(recipe);
    return CN_OK;
}
