/* The exact answer: finds it in the reply, reads it, and compares it with the known one.
 *
 *     reply -> final part -> extraction policy -> number or text -> compare -> verdict -> score
 *
 * The known answer decides the type: a number is compared exactly as a decimal (3.0 = 3, 1,000 =
 * 1000; no tolerance), anything else as text.  The verdict says what happened; the score says what
 * it is worth.  A reply that hedges
 * ("3 or 4", two boxes that differ, a list of candidates) is wrong even if one candidate is right.
 *
 * The policies follow common practice: the line "#### 18" of GSM8K (Cobbe et al. 2021), \boxed{} of
 * MATH (Hendrycks et al. 2021), the last number.  Two deviations are deliberate: answers that
 * disagree are not repaired by taking the last one, and a last box that is cut off is no answer. */
#include "carnot/json.h"
#include "carnot/reward.h"

#include "answer.h"

#include <stddef.h>
#include <string.h>

enum policy { POLICY_AUTO, POLICY_GSM8K, POLICY_LAST_NUMBER, POLICY_BOXED, POLICY_WHOLE };
enum compare { COMPARE_AUTO, COMPARE_NUMBER, COMPARE_TEXT };

struct settings {
    int policy, compare;
    double correct, wrong;
    const char *after;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "policy", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, policy), .fallback = "\"auto\"",
     .choices = "auto gsm8k last_number boxed whole",
     .help = "where the answer stands: behind ####, the last number, \\boxed{}, the whole reply; auto: box, else ####, else last number or whole reply"},
    {.name = "compare", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, compare), .fallback = "\"auto\"",
     .choices = "auto number text",
     .help = "how answers are compared; auto: as numbers if the known answer is one that is written without leading zeros"},
    {.name = "correct", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, correct), .fallback = "1",
     .help = "score of a right answer"},
    {.name = "wrong", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, wrong), .fallback = "0",
     .help = "score of a wrong, missing or unreadable answer"},
    {.name = "after", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, after), .fallback = "\"</think>\"", .nullable = true,
     .help = "only what follows the last occurrence of this text is searched; a reply that opens <think> and never closes it has no answer"},
    {0},
};
// clang-format on

/* The known answer: what stands behind the last #### or in the last box, else all of it. */
static struct cn_text find_gold(struct cn_text text)
{
    struct answer_found found = answer_hash(text);
    if (!found.count) found = answer_boxed(text);
    return answer_trim(found.count && !found.cut_off ? found.text : text);
}

/* "007" and "012356" are names, not numbers. */
static bool leading_zero(struct cn_text text)
{
    return text.length > 1 && text.data[0] == '0' && text.data[1] >= '0' && text.data[1] <= '9';
}

/* The part of the reply that is searched. */
static struct cn_text searched(const struct settings *settings, const struct cn_episode *episode)
{
    struct cn_text reply = answer_final_part(episode, settings->after);
    if (reply.length > ANSWER_SCAN_MAX) {
        reply.data += reply.length - ANSWER_SCAN_MAX;
        reply.length = ANSWER_SCAN_MAX;
    }
    return reply;
}

static struct answer_found find_whole(struct cn_text reply)
{
    struct answer_found found = {answer_trim(reply), 0, false, false};
    found.count = found.text.length > 0;
    return found;
}

/* The first policy that finds a place decides; a box and a #### line that differ are a hedge. */
static struct answer_found find_auto(struct cn_text reply, bool numeric)
{
    struct answer_found box = answer_boxed(reply), hash = answer_hash(reply);
    if (box.count || box.cut_off) {
        if (hash.count && !answer_equal(box.text, hash.text)) box.hedged = true;
        return box;
    }
    if (hash.count) return hash;
    return numeric ? answer_last_number(reply) : find_whole(reply);
}

static struct answer_found find_answer(int policy, struct cn_text reply, bool numeric)
{
    switch (policy) {
    case POLICY_GSM8K:
        return answer_hash(reply);
    case POLICY_LAST_NUMBER:
        return answer_last_number(reply);
    case POLICY_BOXED:
        return answer_boxed(reply);
    case POLICY_WHOLE:
        return find_whole(reply);
    default:
        return find_auto(reply, numeric);
    }
}

/* Compares the answer with the known one.  `gold` is read already if `numeric`. */
static enum cn_verdict judge(const struct answer_found *found, const struct answer_number *gold,
                             struct cn_text gold_text, bool numeric, struct answer_number *read)
{
    if (!found->count || found->cut_off || !found->text.length) return CN_VERDICT_NO_ANSWER;
    if (found->text.length > ANSWER_TEXT_MAX) return CN_VERDICT_TOO_LARGE;
    if (!numeric) {
        bool same = !found->hedged && answer_text_equal(found->text, gold_text);
        return same ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
    }
    enum answer_kind kind = answer_number_read(found->text, read);
    if (kind == ANSWER_TOO_LARGE) return CN_VERDICT_TOO_LARGE;
    if (kind == ANSWER_NOT_A_NUMBER) return CN_VERDICT_UNPARSABLE;
    bool same = !found->hedged && answer_number_equal(read, gold);
    return same ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
}

/* Whether the answer is the last thing of a reply that was cut off: its end may be missing. */
static bool maybe_incomplete(const struct answer_found *found, struct cn_text reply)
{
    return !found->count || found->cut_off || !found->text.length ||
           found->text.data + found->text.length == reply.data + reply.length;
}

/* Whether there is a text or an object anywhere in a list. */
static bool holds_texts(const struct cn_json *list, int depth)
{
    for (const struct cn_json *n = cn_json_first(list); n; n = cn_json_next(n)) {
        const enum cn_json_kind kind = cn_json_kind(n);
        if (kind == CN_JSON_TEXT || kind == CN_JSON_OBJECT) return true;
        if (kind == CN_JSON_LIST && (depth == 0 || holds_texts(n, depth - 1))) return true;
    }
    return false;
}

/* Whether a known answer is an object or a list of several, as other rewards take them: nobody
 * answers with its JSON.  A list of numbers is an answer, [1, 2] say, and so is the empty set {}. */
static bool is_structure(struct cn_text text)
{
    struct cn_json *root = NULL;
    const struct cn_text bare = answer_trim(text);
    bool found = false;
    if (!bare.length || (bare.data[0] != '{' && bare.data[0] != '[')) return false;
    if (cn_json_parse(bare, "ground_truth", &root) == CN_OK)
        found =
            cn_json_kind(root) == CN_JSON_OBJECT ? cn_json_count(root) > 0 : holds_texts(root, 16);
    else
        cn_fail_clear();
    cn_json_close(root);
    return found;
}

/* Reads the known answer; *out: the part of it that is compared.  NULL, or why it cannot be
 * graded. */
static const char *read_gold(const struct settings *settings, struct cn_text whole,
                             struct cn_text *out, struct answer_number *gold, bool *numeric)
{
    const struct cn_text text = *out = find_gold(whole);
    if (!text.length) return "it is empty";
    if (is_structure(whole))
        return "it is a list or an object: exact_answer compares with one text or number (match "
               "takes a list of answers)";
    if (text.length > ANSWER_TEXT_MAX) return "it is longer than 2048 bytes";
    bool number = answer_number_read(text, gold) == ANSWER_NUMBER;
    *numeric = settings->compare == COMPARE_NUMBER ||
               (settings->compare == COMPARE_AUTO && number && !leading_zero(text));
    if (*numeric && !number) return "it is not a number, and compare=number";
    if (settings->policy == POLICY_LAST_NUMBER && !number)
        return "it is not a number, and policy=last_number";
    return NULL;
}

static enum cn_status exact_answer_check_gold(const void *settings, struct cn_text ground_truth,
                                              struct cn_arena *arena, const char **fault)
{
    struct answer_number gold;
    struct cn_text compared;
    bool numeric;
    (void)arena;
    *fault = read_gold(settings, ground_truth, &compared, &gold, &numeric);
    return CN_OK;
}

static enum cn_verdict grade(const struct settings *settings, const struct cn_episode *episode,
                             struct answer_found *found, struct answer_number *read)
{
    struct cn_text gold_text, reply = {"", 0};
    struct answer_number gold;
    bool numeric, cut = episode->stop == CN_STOP_LENGTH || episode->stop == CN_STOP_TRUNCATED;
    if (read_gold(settings, episode->ground_truth, &gold_text, &gold, &numeric))
        return CN_VERDICT_BAD_GOLD;
    reply = searched(settings, episode);
    *found = find_answer(settings->policy, reply, numeric);
    if (cut && maybe_incomplete(found, reply)) return CN_VERDICT_TRUNCATED;
    return judge(found, &gold, gold_text, numeric, read);
}

static enum cn_status exact_answer_score(const void *given, const struct cn_episode *episodes,
                                         size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    for (size_t i = 0; i < n; i++) {
        struct answer_found found = {{NULL, 0}, 0, false, false};
        struct answer_number read = {.n = SIZE_MAX};
        enum cn_verdict verdict = grade(settings, &episodes[i], &found, &read);
        out[i] =
            (struct cn_outcome){.has_score = verdict != CN_VERDICT_BAD_GOLD, .verdict = verdict};
        out[i].score = verdict == CN_VERDICT_CORRECT ? settings->correct : settings->wrong;
        if (found.text.length <= ANSWER_TEXT_MAX) out[i].extracted = found.text;
        if (verdict == CN_VERDICT_CORRECT || verdict == CN_VERDICT_WRONG) {
            out[i].metric[0] = (struct cn_named){"hedged", found.hedged};
            out[i].n_metrics = 1;
            if (read.n <=
                ANSWER_DIGITS_MAX) { /* canonical, so that votes for 8 and 8.0 are the same vote */
                char text[ANSWER_PRINT_MAX], *copy;
                size_t length = answer_number_print(&read, text);
                CN_TRY(cn_arena_text(arena, text, length, &copy));
                out[i].extracted = (struct cn_text){copy, length};
            }
        }
    }
    return CN_OK;
}

const struct cn_reward cn_reward_exact_answer = {
    .name = "exact_answer",
    .summary = "1 if the answer found in the reply equals the known one exactly",
    .reference =
        "GSM8K: Cobbe et al. 2021, arXiv 2110.14168; MATH: Hendrycks et al. 2021, arXiv 2103.03874",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .score = exact_answer_score,
    .check_gold = exact_answer_check_gold,
};
