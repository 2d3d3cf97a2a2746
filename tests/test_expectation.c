/* Exact expectations: a tabular policy of three symbols and two positions has nine answers, and a
 * group of three is one of 729.  Every group goes through the functions of a training step, and the
 * mean gradient, weighted by the groups' probabilities, is compared with the true one of the
 * expected reward: within 1e-10 for estimators that claim to be unbiased, and with the bias that
 * their sources state for the others (methods-base 4). */
#include "check.h"
#include "fixtures.h"

enum { SYMBOLS = 3, ANSWERS = 9, GROUP = 3, PARAMETERS = 12 };

/* Row 0: logits of the first symbol; row 1 + a: of the second behind a. */
static const double logits[SYMBOLS + 1][SYMBOLS] = {
    {0.3, -0.5, 0.9}, {1.1, 0.2, -0.7}, {-0.4, 0.6, 0.1}, {0.0, 0.8, -1.2}};

static double probability(const double *row, size_t j)
{
    double sum = 0;
    for (size_t k = 0; k < SYMBOLS; k++)
        sum += exp(row[k]);
    return exp(row[j]) / sum;
}

static const double *row_behind(size_t answer)
{
    return logits[1 + answer / SYMBOLS];
}

static double chance(size_t answer)
{
    return probability(logits[0], answer / SYMBOLS) *
           probability(row_behind(answer), answer % SYMBOLS);
}

/* Adds w d log pi(symbol) / d theta of position 0 or 1 of an answer to gradient (PARAMETERS). */
static void add_score(size_t answer, int position, double w, double *gradient)
{
    const size_t first = answer / SYMBOLS, symbol = position ? answer % SYMBOLS : first;
    const size_t row = position ? 1 + first : 0;
    for (size_t j = 0; j < SYMBOLS; j++)
        gradient[row * SYMBOLS + j] += w * ((j == symbol) - probability(logits[row], j));
}

/* d/d theta of sum over answers of chance times value. */
static void true_gradient(const double *value, double *gradient)
{
    memset(gradient, 0, PARAMETERS * sizeof *gradient);
    for (size_t a = 0; a < ANSWERS; a++)
        for (int position = 0; position < 2; position++)
            add_score(a, position, chance(a) * value[a], gradient);
}

/* The group (and a greedy answer as baseline) as a batch on which the policy has not moved. */
static enum cn_status pose(struct fixture *f, const size_t answer[GROUP + 1], const double *reward)
{
    struct cn_batch *b = &f->batch;
    for (size_t s = 0; s < GROUP + 1; s++) {
        b->drop[s] = s < GROUP ? CN_DROP_NONE : CN_DROP_BASELINE;
        b->part[s] = s < GROUP ? CN_PART_MAIN : CN_PART_BASELINE;
        b->score[s] = b->reward[s] = reward[answer[s]];
        b->sample[s] = (uint32_t)s;
        b->stop[s] = CN_STOP_EOS;
        b->temperature[s] = 1;
        for (size_t i = 0; i < 2; i++) {
            const size_t t = b->seq_start[s] + i, first = answer[s] / SYMBOLS;
            b->role[t] = CN_ROLE_POLICY;
            b->token_reward[t] = 0;
            b->logp_old[t] = b->logp_sampled[t] = f->channel[CN_CHANNEL_logp][t] =
                log(i ? probability(row_behind(answer[s]), answer[s] % SYMBOLS)
                      : probability(logits[0], first));
            b->entropy_old[t] = f->channel[CN_CHANNEL_entropy][t] = 1;
        }
    }
    return CN_OK;
}

static enum cn_status open_groups(struct fixture *f, const char *algorithm)
{
    static const size_t length[GROUP + 1] = {2, 2, 2, 2};
    fixture_open(f);
    CN_TRY(fixture_random(f, 1, 1, 16)); /* arrays that are long enough */
    CN_TRY(cn_batch_init(&f->batch, &f->arena, length, GROUP + 1));
    for (int c = 0; c < CN_COLUMN_COUNT; c++)
        if (cn_column_table[c].stage <= CN_STAGE_SCORE) f->batch.written |= CN_BIT(c);
    f->atom = GROUP + 1;
    return fixture_recipe(f, algorithm, NULL);
}

/* Mean over all groups of minus the gradient of the loss. */
static enum cn_status expected_step(const char *algorithm, const double *reward, double *gradient)
{
    struct fixture f;
    size_t answer[GROUP + 1] = {0}, greedy = 0;
    memset(gradient, 0, PARAMETERS * sizeof *gradient);
    for (size_t a = 1; a < ANSWERS; a++)
        if (chance(a) > chance(greedy)) greedy = a;
    enum cn_status status = open_groups(&f, algorithm);
    for (size_t g = 0; status == CN_OK && g < ANSWERS * ANSWERS * ANSWERS; g++) {
        const size_t group[GROUP + 1] = {g % ANSWERS, g / ANSWERS % ANSWERS, g / ANSWERS / ANSWERS,
                                         greedy};
        memcpy(answer, group, sizeof answer);
        const double weight = chance(answer[0]) * chance(answer[1]) * chance(answer[2]);
        cn_arena_reset(&f.scratch);
        cn_metrics_init(&f.metrics, &f.scratch);
        f.call.metrics = NULL;
        status = pose(&f, answer, reward);
        if (status == CN_OK) status = fixture_prepare(&f);
        if (status == CN_OK) status = fixture_loss(&f);
        for (size_t s = 0; status == CN_OK && s < GROUP; s++)
            for (int i = 0; i < 2; i++)
                add_score(answer[s], i, -weight * f.grad.d_logp[2 * s + (size_t)i], gradient);
    }
    fixture_close(&f);
    return status;
}

static double largest_difference(const double *a, const double *b, double factor)
{
    double worst = 0;
    for (size_t i = 0; i < PARAMETERS; i++)
        worst = fmax(worst, fabs(a[i] - factor * b[i]));
    return worst;
}

static double norm(const double *a)
{
    double sum = 0;
    for (size_t i = 0; i < PARAMETERS; i++)
        sum += a[i] * a[i];
    return sqrt(sum);
}

static const double graded[ANSWERS] = {0.2, 1, 0, -0.5, 0.7, 0, 1, 0.1, 0.4};
static const double binary[ANSWERS] = {0, 1, 0, 0, 1, 0, 0, 0, 1};

#define SUMS ", \"aggregation\": \"seq_mean_token_sum\", \"kl\": \"none\"}"

TEST(unbiased_estimators_give_the_true_gradient_and_means_of_the_group_a_known_share)
{
    static const struct {
        const char *algorithm;
        double factor; /* of the true gradient */
    } cases[] = {
        {"{\"type\": \"reinforce\", \"advantage\": \"reward\"" SUMS, 1},
        {"{\"type\": \"rloo\"" SUMS, 1},
        {"{\"type\": \"remax\"" SUMS, 1},
        {"{\"type\": \"grpo\", \"advantage\": \"loo\"" SUMS, 1},
        {"{\"type\": \"gspo\", \"advantage\": \"loo\", \"aggregation\": \"seq_mean_token_sum\", "
         "\"kl\": \"none\"}",
         1},
        {"{\"type\": \"cispo\", \"advantage\": \"loo\"" SUMS, 1},
        {"{\"type\": \"sapo\", \"advantage\": \"loo\"" SUMS, 1},
        /* A mean that contains the answer itself takes 1/n of the gradient away. */
        {"{\"type\": \"grpo\", \"advantage\": \"group_mean\"" SUMS, 2.0 / 3},
        {"{\"type\": \"dr_grpo\"" SUMS, 2.0 / 3},
        {"{\"type\": \"opo\"" SUMS, 2.0 / 3}, /* all answers are of one length */
        {"{\"type\": \"dr_grpo\", \"aggregation\": \"token_mean\", \"kl\": \"none\"}", 1.0 / 3},
    };
    double truth[PARAMETERS], found[PARAMETERS];
    true_gradient(graded, truth);
    CHECK(norm(truth) > 0.1);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(expected_step(cases[i].algorithm, graded, found));
        const double worst = largest_difference(found, truth, cases[i].factor);
        if (!(worst < 1e-10))
            CHECK_FAILED("%s: differs from %g of the true gradient by %g", cases[i].algorithm,
                         cases[i].factor, worst);
    }
}

/* The gradient that a step has if its advantages are a function of the group's rewards, summed
 * without any function of the program. */
static void by_hand(void (*advantage)(const double reward[GROUP], double out[GROUP]),
                    const double *reward, double *gradient)
{
    memset(gradient, 0, PARAMETERS * sizeof *gradient);
    for (size_t g = 0; g < ANSWERS * ANSWERS * ANSWERS; g++) {
        const size_t answer[] = {g % ANSWERS, g / ANSWERS % ANSWERS, g / ANSWERS / ANSWERS};
        double r[GROUP], a[GROUP], weight = 1;
        for (size_t s = 0; s < GROUP; s++) {
            weight *= chance(answer[s]);
            r[s] = reward[answer[s]];
        }
        advantage(r, a);
        for (size_t s = 0; s < GROUP; s++)
            for (int i = 0; i < 2; i++)
                add_score(answer[s], i, weight * a[s] / GROUP, gradient);
    }
}

static void standardised(const double r[GROUP], double out[GROUP])
{
    const double mean = (r[0] + r[1] + r[2]) / 3;
    double squares = 0;
    for (size_t s = 0; s < GROUP; s++)
        squares += (r[s] - mean) * (r[s] - mean);
    for (size_t s = 0; s < GROUP; s++)
        out[s] = squares > 0 ? (r[s] - mean) / (sqrt(squares / 2) + 1e-6) : 0;
}

TEST(the_standard_deviation_biases_grpo_as_its_formula_says)
{
    double truth[PARAMETERS], hand[PARAMETERS], found[PARAMETERS];
    true_gradient(graded, truth);
    by_hand(standardised, graded, hand);
    CHECK_OK(expected_step("{\"type\": \"grpo\", \"advantage\": \"group_mean_std\"" SUMS, graded,
                           found));
    CHECK(largest_difference(found, hand, 1) < 1e-10);
    const double share = norm(found) / norm(truth);
    CHECK(largest_difference(found, truth, share) > 1e-3); /* no multiple of the true one */
}

/* PKPO: unbiased for pass@k = 1 - (1 - p)^k, if summed over the group (methods-base 4.10). */
TEST(pkpo_gives_the_gradient_of_pass_at_k)
{
    double p = 0, truth[PARAMETERS], found[PARAMETERS];
    static const char *const forms[] = {"pkpo", "pkpo_loo"};
    for (size_t a = 0; a < ANSWERS; a++)
        p += chance(a) * binary[a];
    true_gradient(binary, truth);
    for (size_t i = 0; i < 2; i++) {
        char algorithm[256];
        snprintf(algorithm, sizeof algorithm,
                 "{\"type\": \"pass_at_k\", \"advantage\": {\"type\": \"pass_at_k\", \"form\": "
                 "\"%s\", \"k\": 2}" SUMS,
                 forms[i]);
        CHECK_OK(expected_step(algorithm, binary, found));
        CHECK(largest_difference(found, truth, 2 * (1 - p) / GROUP) < 1e-10);
    }
}

/* softmax(z / T). */
static double tempered(const double *row, size_t j, double temperature)
{
    double scaled[SYMBOLS];
    for (size_t k = 0; k < SYMBOLS; k++)
        scaled[k] = row[k] / temperature;
    return probability(scaled, j);
}

/* AEPO: right answers drawn at temperature T move the logits of each row by pi^T - pi, weighted by
 * how often the row is met, over the answer's length of two (methods-entropy-2, section 1). */
TEST(aepos_expected_step_is_the_difference_of_the_tempered_policy_and_the_policy)
{
    static const double all_right[ANSWERS] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    const double temperature = 1.3;
    double found[PARAMETERS] = {0}, expected[PARAMETERS] = {0};
    struct fixture f;
    CHECK_OK(open_groups(&f, "{\"type\": \"reinforce\", \"kl\": \"none\"}"));
    CHECK_OK(fixture_recipe(&f, "{\"type\": \"reinforce\", \"kl\": \"none\"}",
                            "[{\"type\": \"aepo\", \"coefficient\": 1}]"));
    f.call.metrics = NULL;
    for (size_t a = 0; a < ANSWERS; a++) {
        const size_t answers[GROUP + 1] = {a, 0, 0, 0};
        const double weight = tempered(logits[0], a / SYMBOLS, temperature) *
                              tempered(row_behind(a), a % SYMBOLS, temperature);
        CHECK_OK(pose(&f, answers, all_right));
        f.batch.part[0] = CN_PART_AUXILIARY;
        for (size_t s = 1; s < GROUP; s++)
            f.batch.drop[s] = CN_DROP_STALE;
        CHECK_OK(fixture_prepare(&f));
        CHECK_OK(fixture_loss(&f));
        for (int i = 0; i < 2; i++)
            add_score(a, i, -weight * f.grad.d_logp[i], found);
    }
    for (size_t row = 0; row <= SYMBOLS; row++)
        for (size_t j = 0; j < SYMBOLS; j++) {
            const double met = row ? tempered(logits[0], row - 1, temperature) : 1;
            expected[row * SYMBOLS + j] =
                met / 2 * (tempered(logits[row], j, temperature) - probability(logits[row], j));
        }
    CHECK(largest_difference(found, expected, 1) < 1e-12);
    CHECK(norm(expected) > 0.01);
    fixture_close(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
