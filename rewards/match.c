/* Agreement of words with one of several known answers, as question answering scores it.
 *
 *   exact    1 if the normalised answer is a known one
 *   within   1 if a normalised known answer occurs in the answer as a run of whole words
 *   f1       best harmonic mean of precision and recall over words, counted with repetition
 *
 * Normalised: lower case, without ASCII punctuation, without the words a, an, the, runs of white
 * space as one.  Case folding is ASCII's (the reference's is Unicode's).  Known answers: a text, a
 * JSON list of texts, or {"target": [...]}. */
#include "carnot/json.h"
#include "carnot/reward.h"

#include "answer.h"

#include <stddef.h>
#include <string.h>

enum form { FORM_EXACT, FORM_WITHIN, FORM_F1 };
enum answer_place { PLACE_WHOLE, PLACE_TAG };
enum { WORDS_MAX = 4096 };

struct settings {
    int form, answer;
    const char *after;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "form", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, form), .fallback = "\"exact\"",
     .choices = "exact within f1", .help = "the formula"},
    {.name = "answer", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, answer), .fallback = "\"whole\"",
     .choices = "whole tag", .help = "where the answer stands: the whole reply, or its last <answer>...</answer>"},
    {.name = "after", .kind = CN_OPTION_TEXT, .offset = offsetof(struct settings, after), .fallback = "\"</think>\"", .nullable = true,
     .help = "only what follows the last occurrence of this text is looked at"},
    {0},
};
// clang-format on

/* Normalised words: they lie in `text`, each ended by a zero byte. */
struct words {
    const char **word;
    size_t n;
    bool too_many;
};

static bool is_punctuation(char c)
{
    return (c >= '!' && c <= '/') || (c >= ':' && c <= '@') || (c >= '[' && c <= '`') ||
           (c >= '{' && c <= '~');
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v' || c == 0;
}

static bool is_article(const char *word)
{
    return strcmp(word, "a") == 0 || strcmp(word, "an") == 0 || strcmp(word, "the") == 0;
}

/* Lower case and punctuation first, then articles, as the reference does: "the-cat" is one word. */
static enum cn_status normalise(struct cn_text text, struct cn_arena *arena, struct words *out)
{
    char *copy;
    size_t length = 0;
    CN_TRY(cn_arena_alloc(arena, text.length + 1, 1, &copy));
    CN_TRY(CN_NEW(arena, WORDS_MAX, &out->word));
    out->n = 0;
    out->too_many = false;
    for (size_t i = 0; i <= text.length; i++) {
        char c = i < text.length ? text.data[i] : ' ';
        if (is_punctuation(c)) continue;
        if (!is_space(c)) {
            if (length == 0 || copy[length - 1] == 0) {
                if (out->n == WORDS_MAX) {
                    out->too_many = true;
                    return CN_OK;
                }
                out->word[out->n++] = copy + length;
            }
            copy[length++] = c >= 'A' && c <= 'Z' ? (char)(c + 32) : c;
        } else if (length && copy[length - 1] != 0) {
            copy[length++] = 0;
            if (is_article(out->word[out->n - 1])) out->n--;
        }
    }
    return CN_OK;
}

static bool same_from(const struct words *a, size_t from, const struct words *b)
{
    for (size_t i = 0; i < b->n; i++)
        if (strcmp(a->word[from + i], b->word[i]) != 0) return false;
    return true;
}

static bool occurs(const struct words *answer, const struct words *gold)
{
    for (size_t i = 0; gold->n && i + gold->n <= answer->n; i++)
        if (same_from(answer, i, gold)) return true;
    return false;
}

/* Words that both have, each as often as the one that has it less. */
static enum cn_status common(const struct words *a, const struct words *b, struct cn_arena *arena,
                             size_t *out)
{
    bool *taken;
    CN_TRY(CN_NEW(arena, b->n, &taken));
    *out = 0;
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            if (!taken[k] && strcmp(a->word[i], b->word[k]) == 0) {
                taken[k] = true;
                ++*out;
                break;
            }
    return CN_OK;
}

static enum cn_status agreement(int form, const struct words *answer, const struct words *gold,
                                struct cn_arena *arena, double *out)
{
    size_t both = 0;
    if (form == FORM_EXACT) {
        *out = answer->n == gold->n && same_from(answer, 0, gold);
    } else if (form == FORM_WITHIN) {
        *out = occurs(answer, gold);
    } else {
        CN_TRY(common(answer, gold, arena, &both));
        *out = both ? 2.0 * (double)both / (double)(answer->n + gold->n) : 0;
        if (!answer->n && !gold->n) *out = 1;
    }
    return CN_OK;
}

/* The known answers; a text that is not JSON is one.  NULL-ended list in the arena. */
static enum cn_status read_golds(struct cn_text ground_truth, struct cn_arena *arena,
                                 struct cn_text **out, size_t *n)
{
    struct cn_json *root = NULL;
    const struct cn_json *list = NULL;
    enum cn_status status = cn_json_parse(ground_truth, "ground_truth", &root);
    if (status == CN_ERR_MEMORY) return status;
    if (status == CN_OK)
        list = cn_json_kind(root) == CN_JSON_LIST ? root : cn_json_get(root, "target");
    else
        cn_fail_clear();
    const bool one = cn_json_kind(list) != CN_JSON_LIST;
    struct cn_text single = cn_json_kind(list) == CN_JSON_TEXT   ? cn_json_text(list)
                            : cn_json_kind(root) == CN_JSON_TEXT ? cn_json_text(root)
                                                                 : ground_truth;
    status = CN_NEW(arena, one ? 1 : cn_json_count(list) + 1, out);
    const struct cn_json *node = one ? NULL : cn_json_first(list);
    *n = 0;
    for (; status == CN_OK && (node || (one && *n == 0)); node = node ? cn_json_next(node) : NULL) {
        struct cn_text text = one ? single : cn_json_text(node);
        char *copy;
        status = cn_arena_text(arena, text.data ? text.data : "", text.length, &copy);
        if (status == CN_OK) (*out)[(*n)++] = (struct cn_text){copy, text.length};
        if (one) break;
    }
    cn_json_close(root);
    return status;
}

/* The answer in the reply; false if there is none. */
static bool find_answer(const struct settings *settings, struct cn_text reply, struct cn_text *out)
{
    static const char open[] = "<answer>", close[] = "</answer>";
    if (settings->answer == PLACE_TAG) {
        size_t begin = answer_find_last(reply, open), end;
        if (begin == SIZE_MAX) return false;
        begin += sizeof open - 1;
        end = answer_find(reply, begin, close);
        if (end == SIZE_MAX) return false;
        reply = (struct cn_text){reply.data + begin, end - begin};
    }
    *out = answer_trim(reply);
    return out->length > 0;
}

static enum cn_status score_one(const struct settings *settings, const struct cn_episode *episode,
                                struct cn_arena *arena, struct cn_outcome *out)
{
    struct cn_text *golds, answer;
    struct words said, known;
    size_t n;
    double best = 0;
    CN_TRY(read_golds(episode->ground_truth, arena, &golds, &n));
    out->verdict = CN_VERDICT_BAD_GOLD;
    if (!n || !episode->ground_truth.length) return CN_OK;
    out->has_score = true;
    out->verdict = CN_VERDICT_NO_ANSWER;
    if (!find_answer(settings, answer_final_part(episode, settings->after), &answer)) return CN_OK;
    out->extracted = answer;
    out->verdict = CN_VERDICT_TOO_LARGE;
    CN_TRY(normalise(answer, arena, &said));
    if (said.too_many) return CN_OK;
    for (size_t g = 0; g < n; g++) {
        double now = 0;
        CN_TRY(normalise(golds[g], arena, &known));
        if (!known.too_many) CN_TRY(agreement(settings->form, &said, &known, arena, &now));
        if (now > best) best = now;
    }
    out->score = best;
    out->verdict = best >= 1 ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
    return CN_OK;
}

static enum cn_status match_score(const void *given, const struct cn_episode *episodes, size_t n,
                                  struct cn_arena *arena, struct cn_outcome *out)
{
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct cn_outcome){.score = 0};
        CN_TRY(score_one(given, &episodes[i], arena, &out[i]));
    }
    return CN_OK;
}

static enum cn_status match_check_gold(const void *settings, struct cn_text ground_truth,
                                       struct cn_arena *arena, const char **fault)
{
    struct cn_text *golds;
    size_t n;
    (void)settings;
    CN_TRY(read_golds(ground_truth, arena, &golds, &n));
    *fault = !ground_truth.length ? "it is empty" : !n ? "its list of answers is empty" : NULL;
    return CN_OK;
}

const struct cn_reward cn_reward_match = {
    .name = "match",
    .summary = "agreement of words with a known answer: exact, within, or F1",
    .reference = "Rajpurkar et al. 2016 (SQuAD), arXiv 1606.05250, section 6.1",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .score = match_score,
    .check_gold = match_check_gold,
};
