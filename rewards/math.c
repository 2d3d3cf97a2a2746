/* Maths answers, compared as mathematics: 1/2 = 0.5 = \frac{2}{4}, \sqrt{8} = 2\sqrt{2}, (x+1)^2 =
 * x^2+2x+1.  The work is done in rewards/math/; this file gives verdicts their worth.
 *
 * Only `correct` and `wrong` say something about the answer.  Every other verdict has a worth of
 * its own, or null: the sequence is left out of training.  A known answer that cannot be graded is
 * always left out.  A budget is counted in operations, so what exceeds it is the answer's doing and
 * not the machine's. */
#include "answer.h"

#include "math_verify.h"

#include <math.h>
#include <stddef.h>

struct settings {
    struct math_rules rules;
    const char *after;
    double correct, wrong, no_answer, unparsable, too_large, budget, truncated;
};

// clang-format off
#define RULE(field) offsetof(struct settings, rules.field)
#define WORTH(field, fallback_, help_) \
    {.name = #field, .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, field), .fallback = fallback_, .nullable = true, .help = help_}

static const struct cn_option options[] = {
    {.name = "policy", .kind = CN_OPTION_CHOICE, .offset = RULE(policy), .fallback = "\"auto\"",
     .choices = "auto boxed_last gsm8k_hash answer_tag answer_line final_answer_is last_math last_number mcq whole",
     .help = "where the answer stands; auto: box, ####, <answer>, a line that says answer, the whole reply, the last formula, the last number"},
    {.name = "after", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, after), .fallback = "\"</think>\"", .nullable = true,
     .help = "only what follows the last occurrence of this text is searched; a reply that opens <think>, or whose prompt does, and never closes it has no answer"},
    {.name = "percent", .kind = CN_OPTION_CHOICE, .offset = RULE(percent), .fallback = "\"bare\"", .choices = "value bare lenient",
     .help = "28% is 0.28 and nothing else; also 28 if one of both has a percent sign; also 28 for 0.28 without any sign"},
    {.name = "units", .kind = CN_OPTION_CHOICE, .offset = RULE(units), .fallback = "\"agree\"", .choices = "agree ignore",
     .help = "whether two units must name the same one; a missing unit never matters"},
    {.name = "tolerance", .kind = CN_OPTION_REAL, .offset = RULE(tolerance), .fallback = "0", .minimum = 0, .maximum = 0.5,
     .help = "relative difference that numbers may have (physics: 1e-4); 0: a decimal must be what the exact value rounds to"},
    {.name = "set_relation", .kind = CN_OPTION_BOOL, .offset = RULE(set_relation), .fallback = "false",
     .help = "accept an inequality where the known answer is an interval"},
    {.name = "bare_bases", .kind = CN_OPTION_BOOL, .offset = RULE(bare_bases), .fallback = "false",
     .help = "accept a number without its base where the known answer has one"},
    WORTH(correct, "1", "score of a right answer"),
    WORTH(wrong, "0", "score of a wrong answer"),
    WORTH(no_answer, "0", "score if no answer is found; null: left out of training"),
    WORTH(unparsable, "0", "score if the answer cannot be read; null: left out of training"),
    WORTH(too_large, "0", "score if the answer exceeds a limit of size; null: left out of training"),
    WORTH(budget, "0", "score if comparing takes too many operations; null: left out of training"),
    WORTH(truncated, "0", "score if the reply was cut off before a complete answer; null: left out of training"),
    {0},
};
// clang-format on

/* What a verdict is worth; NaN: nothing, the sequence is masked. */
static double worth(const struct settings *settings, enum cn_verdict verdict)
{
    switch (verdict) {
    case CN_VERDICT_CORRECT:
        return settings->correct;
    case CN_VERDICT_WRONG:
        return settings->wrong;
    case CN_VERDICT_NO_ANSWER:
        return settings->no_answer;
    case CN_VERDICT_UNPARSABLE:
        return settings->unparsable;
    case CN_VERDICT_TOO_LARGE:
        return settings->too_large;
    case CN_VERDICT_BUDGET:
        return settings->budget;
    case CN_VERDICT_TRUNCATED:
        return settings->truncated;
    default:
        return NAN;
    }
}

/* The question as the policy saw it: the last message, or the text. */
static struct cn_text question_of(const struct cn_episode *episode)
{
    const struct cn_messages *messages = &episode->prompt;
    return messages->count ? messages->item[messages->count - 1].content : episode->prompt_text;
}

static enum cn_status math_score(const void *given, const struct cn_episode *episodes, size_t n,
                                 struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    for (size_t i = 0; i < n; i++) {
        const struct cn_episode *episode = &episodes[i];
        const struct math_question question = {.reply = answer_final_part(episode, settings->after),
                                               .gold = episode->ground_truth,
                                               .prompt = question_of(episode),
                                               .cut = episode->stop == CN_STOP_LENGTH ||
                                                      episode->stop == CN_STOP_TRUNCATED};
        struct math_result result;
        CN_TRY(math_verify(&settings->rules, &question, arena, &result));
        double score = worth(settings, result.verdict);
        out[i] = (struct cn_outcome){.score = isnan(score) ? 0 : score,
                                     .has_score = !isnan(score),
                                     .verdict = result.verdict,
                                     .extracted = result.extracted,
                                     .gold_type = result.gold_type,
                                     .tier = result.tier,
                                     .ops = result.ops};
        out[i].metric[0] = (struct cn_named){"ops", (double)result.ops};
        out[i].n_metrics = 1;
    }
    return CN_OK;
}

static enum cn_status math_gold(const void *settings, struct cn_text ground_truth,
                                struct cn_arena *arena, const char **fault)
{
    (void)settings;
    return math_check_gold(ground_truth, arena, fault);
}

const struct cn_reward cn_reward_math = {
    .name = "math",
    .summary = "1 if the answer found in the reply is mathematically the known one",
    .reference = "exact rationals, ball arithmetic (Johansson 2017) and identity testing (Schwartz "
                 "1980, Zippel 1979)",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .score = math_score,
    .check_gold = math_gold,
};
