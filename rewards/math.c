/* Maths answers, compared as mathematics: 1/2 = 0.5 = \frac{2}{4}, \sqrt{8} = 2\sqrt{2}, (x+1)^2 =
 * x^2+2x+1.  The work is done in rewards/math/; this file gives verdicts their worth.
 *
 * A budget is counted in operations, so what exceeds it is the answer's doing and not the
 * machine's: it is worth what a wrong answer is, unless the entry says otherwise. */
#include "answer.h"

#include "math_verify.h"

#include <stddef.h>

struct settings {
    struct math_rules rules;
    const char *after;
    double correct, wrong;
};

// clang-format off
#define RULE(field) offsetof(struct settings, rules.field)

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
    {.name = "correct", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, correct), .fallback = "1", .help = "score of a right answer"},
    {.name = "wrong", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, wrong), .fallback = "0", .help = "score of a wrong, missing or unreadable answer"},
    {0},
};
// clang-format on

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
        out[i] = (struct cn_outcome){
            .score = result.verdict == CN_VERDICT_CORRECT ? settings->correct : settings->wrong,
            .has_score = result.verdict != CN_VERDICT_BAD_GOLD,
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
    .bench = math_bench,
};
