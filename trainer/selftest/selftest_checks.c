/* What must hold for the gradient of one combination. */
#include "selftest_checks.h"

#include <math.h>
#include <string.h>

static enum cn_status failed(const struct spec *spec, const char *what, double found,
                             double expected)
{
    struct cn_str text = {0};
    CN_TRY(spec_describe(spec, &text));
    enum cn_status status = cn_fail(CN_ERR_BUG, "selftest: %s: %s is %.17g, expected %.17g",
                                    text.data, what, found, expected);
    cn_str_free(&text);
    return status;
}

static bool trained(const struct trial *trial, size_t s, size_t t)
{
    return cn_batch_trained(&trial->batch, s, t);
}

static enum cn_status difference(struct trial *trial, double *value, double *slope)
{
    const double h = 1e-5, middle = *value;
    *value = middle + h;
    CN_TRY(trial_loss(trial));
    double above = trial->grad.loss;
    *value = middle - h;
    CN_TRY(trial_loss(trial));
    *slope = (above - trial->grad.loss) / (2 * h);
    *value = middle;
    return CN_OK;
}

/* What is not trained, and what nobody reads, may be anything. */
static enum cn_status check_ignored(struct tester *tester, const struct spec *spec)
{
    struct trial *trial = &tester->trial;
    const struct cn_batch *b = &trial->batch;
    double before = trial->grad.loss;
    for (int sign = 1; sign >= -1; sign -= 2) {
        for (size_t s = 0; s < b->n_sequences; s++)
            for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
                for (int c = 0; c < CN_CHANNEL_COUNT; c++)
                    if (!trained(trial, s, t) || !(trial->recipe.needs_live & 1u << c))
                        trial->channel[c][t] += sign;
        if (sign > 0) CN_TRY(trial_loss(trial));
    }
    if (trial->grad.loss != before)
        return failed(spec, "loss after a change that nobody may see", trial->grad.loss, before);
    return CN_OK;
}

static enum cn_status check_token(struct tester *tester, const struct spec *spec, int channel,
                                  size_t t, double expected)
{
    double slope;
    CN_TRY(difference(&tester->trial, &tester->trial.channel[channel][t], &slope));
    double error = fabs(slope - expected) / (1 + fabs(slope));
    tester->worst = fmax(tester->worst, error);
    return error < 1e-8 ? CN_OK : failed(spec, cn_channel_name[channel], expected, slope);
}

enum cn_status check_differences(struct tester *tester, const struct spec *spec)
{
    struct trial *trial = &tester->trial;
    const struct cn_batch *b = &trial->batch;
    double *saved[CN_CHANNEL_COUNT];
    CN_TRY(trial_prepare(trial));
    CN_TRY(trial_loss(trial));
    for (int c = 0; c < CN_CHANNEL_COUNT; c++) {
        CN_TRY(CN_NEW(&trial->recipes, b->n_tokens, &saved[c]));
        memcpy(saved[c], trial->d_channel[c], b->n_tokens * sizeof(double));
    }
    CN_TRY(check_ignored(tester, spec));
    for (size_t s = 0; s < b->n_sequences; s++)
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
            for (int c = 0; c < CN_CHANNEL_COUNT; c++) {
                if (trained(trial, s, t) && trial->recipe.needs_live & 1u << c)
                    CN_TRY(check_token(tester, spec, c, t, saved[c][t]));
                else if (saved[c][t] != 0)
                    return failed(spec, "gradient of what is not trained", saved[c][t], 0);
            }
    return CN_OK;
}

/* Whether an axis adds a term of its own to the loss, which is no multiple of the advantage. */
static bool adds_terms(const struct cn_recipe *recipe)
{
    for (int a = 0; a < CN_AXIS_COUNT; a++)
        if (recipe->axis[a].plugin->hooks.loss) return true;
    return false;
}

/* On policy, a token's gradient is -c A, or n times that where u is a sum over n tokens. */
enum cn_status check_identity(struct tester *tester, const struct spec *spec)
{
    struct trial *trial = &tester->trial;
    struct cn_batch *b = &trial->batch;
    double coefficient[512];
    CN_BUG_IF(b->n_tokens > 512);
    if (adds_terms(&trial->recipe)) return CN_OK;
    trial_on_policy(trial);
    CN_TRY(trial_prepare(trial));
    for (size_t t = 0; t < b->n_tokens; t++)
        b->correction[t] = 1;
    CN_TRY(trial_loss(trial));
    const struct cn_chosen *chosen = &trial->recipe.axis[CN_AXIS_aggregation];
    const struct cn_context context = {.settings = chosen->settings, .counts = trial->counts};
    ((const struct cn_aggregation *)chosen->plugin)
        ->fill(&context, b, cn_batch_all(b), coefficient);
    for (size_t s = 0; s < b->n_sequences; s++) {
        double n = 0, factor = 0;
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
            n += trained(trial, s, t);
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
            if (!trained(trial, s, t)) continue;
            double usual = -coefficient[t] * b->advantage[t], found = trial->grad.d_logp[t];
            if (factor == 0 && usual != 0) factor = fabs(found / usual - n) < 1e-9 ? n : 1;
            double error = fabs(found - factor * usual);
            tester->worst = fmax(tester->worst, error);
            if (!(error < 1e-12)) return failed(spec, "on-policy gradient", found, factor * usual);
        }
    }
    return CN_OK;
}

static enum cn_status compare(struct tester *tester, const struct spec *spec,
                              const struct trial *other, const size_t *order, double tolerance)
{
    const struct cn_batch *a = &tester->trial.batch, *b = &other->batch;
    for (size_t s = 0; s < b->n_sequences; s++) {
        size_t from = order ? order[s] : s, n = b->seq_start[s + 1] - b->seq_start[s];
        for (size_t i = 0; i < n; i++)
            for (int c = 0; c < CN_CHANNEL_COUNT; c++) {
                double x = tester->trial.d_channel[c][a->seq_start[from] + i];
                double y = other->d_channel[c][b->seq_start[s] + i];
                tester->worst = fmax(tester->worst, fabs(x - y));
                if (!(fabs(x - y) <= tolerance)) return failed(spec, cn_channel_name[c], y, x);
            }
    }
    double error = fabs(tester->trial.grad.loss - other->grad.loss);
    if (!(error <= 1e-13)) return failed(spec, "loss", other->grad.loss, tester->trial.grad.loss);
    return CN_OK;
}

/* Runs the same combination on another trial and compares. */
static enum cn_status against(struct tester *tester, const struct spec *spec, struct trial *other,
                              const size_t *order, double tolerance)
{
    bool refused;
    CN_TRY(spec_apply(spec, other, &refused));
    CN_TRY(trial_prepare(&tester->trial));
    CN_TRY(trial_loss(&tester->trial));
    CN_TRY(trial_prepare(other));
    CN_TRY(trial_loss(other));
    return compare(tester, spec, other, order, tolerance);
}

enum cn_status check_mask(struct tester *tester, const struct spec *spec)
{
    struct trial other;
    CN_TRY(trial_open(&other, NULL));
    trial_poison(&other);
    enum cn_status status = against(tester, spec, &other, NULL, 0);
    trial_close(&other);
    return status;
}

enum cn_status check_split(struct tester *tester, const struct spec *spec)
{
    struct trial other;
    CN_TRY(trial_open(&other, NULL));
    other.atom = 1;
    enum cn_status status = against(tester, spec, &other, NULL, 0);
    trial_close(&other);
    return status;
}

enum cn_status check_permutation(struct tester *tester, const struct spec *spec)
{
    struct trial other;
    size_t order[TRIAL_SEQUENCES];
    for (size_t s = 0; s < TRIAL_SEQUENCES; s++)
        order[s] = (s * 7 + 3) % TRIAL_SEQUENCES;
    CN_TRY(trial_open(&other, order));
    enum cn_status status = against(tester, spec, &other, order, 1e-15);
    trial_close(&other);
    return status;
}

/* Twice the advantage is twice the policy's gradient. */
enum cn_status check_scale(struct tester *tester, const struct spec *spec)
{
    struct trial *trial = &tester->trial;
    struct cn_batch *b = &trial->batch;
    double once[512];
    CN_BUG_IF(b->n_tokens > 512);
    if (adds_terms(&trial->recipe)) return CN_OK;
    CN_TRY(trial_prepare(trial));
    CN_TRY(trial_loss(trial));
    memcpy(once, trial->grad.d_logp, b->n_tokens * sizeof *once);
    for (size_t t = 0; t < b->n_tokens; t++)
        b->advantage[t] *= 2;
    CN_TRY(trial_loss(trial));
    for (size_t t = 0; t < b->n_tokens; t++)
        if (trial->grad.d_logp[t] != 2 * once[t])
            return failed(spec, "gradient at twice the advantage", trial->grad.d_logp[t],
                          2 * once[t]);
    return CN_OK;
}
