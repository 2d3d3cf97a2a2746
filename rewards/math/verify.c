/* The pipeline: the final segment of a reply, a place that states the answer, a tree, a verdict. */
#include "compare.h"
#include "find.h"

#include "carnot/arena.h"

#include <string.h>

enum { SCAN_MAX = 64 * 1024, COPY_MIN = 16, SPECIAL_MAX = 40 };

static const char special_open[] = "<|";

/* Both sides of a comparison. */
struct verifier {
    struct work work;
    struct tree gold, gold_other; /* the other: a comma that can be read both ways */
    struct tree answer, answer_other;
    char joined[LIMIT_TEXT + 64]; /* the pieces of a run as one text */
    bool gold_is_tree, gold_is_words;
    char gold_choice;
    const char *gold_type;
    struct cn_text gold_text;
};

/* ---- the known answer ---------------------------------------------------- */

/* Where a known answer stands in its field: behind ####, in a box, or all of it. */
static struct cn_text gold_place(struct cn_text gold)
{
    struct found hash = find_hash(gold), box = find_boxed(gold);
    if (hash.n) return hash.text;
    return box.n == 1 && !box.cut ? box.text : box.n > 1 ? box.text : find_trim(gold);
}

static char single_choice(struct cn_text text)
{
    static const char *const forms[] = {
        "", "(", "\\text{", "\\text{(", "\\textbf{", "\\textbf{(", "\\mathrm{", "\\mathbf{", NULL};
    text = trim_answer(text);
    for (const char *const *f = forms; *f; f++) {
        size_t n = strlen(*f);
        if (text.length <= n || memcmp(text.data, *f, n) != 0) continue;
        struct cn_text rest = {text.data + n + 1, text.length - n - 1};
        bool closed = rest.length == 0 ? n == 0
                                       : cn_text_is(rest, ")") || cn_text_is(rest, "}") ||
                                             cn_text_is(rest, ")}");
        char c = text.data[n];
        if (c >= 'A' && c <= 'J' && closed) return c;
    }
    return 0;
}

static uint64_t hash_text(struct cn_text text)
{
    uint64_t hash = 0x6361726e6f74u;
    for (size_t i = 0; i < text.length; i++)
        hash = mix(hash ^ (unsigned char)text.data[i]);
    return hash;
}

static const char *read_tree(struct verifier *v)
{
    struct work *w = &v->work;
    enum fault fault = parse_text(v->gold_text, COMMAS_SEPARATE, &w->names, &v->gold);
    if (fault == FAULT_SYNTAX) { /* prose around one formula */
        struct found formula = find_math(v->gold_text);
        if (formula.n == 1) {
            struct cn_text all = v->gold_text;
            tree_clear(&v->gold);
            v->gold_text = formula.text;
            fault = parse_text(v->gold_text, COMMAS_SEPARATE, &w->names, &v->gold);
            if (fault) {
                tree_clear(&v->gold);
                v->gold_text = all;
                fault = parse_text(v->gold_text, COMMAS_SEPARATE, &w->names, &v->gold);
            }
        }
    }
    if (fault == FAULT_TOO_LARGE) return "it is too large: see the limits in rewards/math/tree.h";
    if (fault == FAULT_UNBALANCED) return "a brace is not closed";
    v->gold_is_words = is_words(&v->gold);
    v->gold_is_tree = fault == FAULT_NONE && !v->gold_is_words;
    if (v->gold_is_tree && v->gold.comma_unclear)
        parse_text(v->gold_text, COMMAS_DECIMAL, &w->names, &v->gold_other);
    if (fault && !v->gold_is_words && !v->gold.n_tokens) return "it is empty";
    return NULL;
}

/* Reads the known answer.  NULL, or why it cannot be graded. */
static const char *read_gold(struct verifier *v, struct cn_text gold)
{
    v->gold_text = gold_place(gold);
    v->gold_is_tree = v->gold_is_words = false;
    v->gold_type = "none";
    v->gold_choice = 0;
    if (!trim_answer(v->gold_text).length) return "it is empty";
    if (v->gold_text.length > LIMIT_TEXT) return "it is longer than 2048 bytes";
    v->work.key = hash_text(v->gold_text);
    const char *fault = read_tree(v);
    if (fault) return fault;
    v->gold_choice = single_choice(v->gold_text);
    const struct term root = {&v->gold, v->gold.root, 0};
    v->gold_type = v->gold_choice     ? "choice"
                   : v->gold_is_tree  ? term_type(root)
                   : v->gold_is_words ? "text"
                                      : "raw";
    return NULL;
}

/* ---- comparing one candidate --------------------------------------------- */

/* The pieces of a run as one list. */
static struct cn_text join_pieces(struct verifier *v, const struct found *found)
{
    size_t n = 0;
    if (found->n == 1) return found->part[0];
    for (int i = 0; i < found->n; i++) {
        const char *joint = !i ? "" : found->either ? " or " : " , ";
        size_t mark = strlen(joint), length = found->part[i].length;
        if (n + mark + length > sizeof v->joined) return found->text; /* too large: so is this */
        memcpy(v->joined + n, joint, mark);
        memcpy(v->joined + n + mark, found->part[i].data, length);
        n += mark + length;
    }
    return (struct cn_text){v->joined, n};
}

static bool words_equal(struct verifier *v)
{
    char a[FOLD_MAX], b[FOLD_MAX];
    size_t n = fold_tokens(&v->gold, 0, v->gold.n_tokens, a);
    bool same = n && n == fold_tokens(&v->answer, 0, v->answer.n_tokens, b) && memcmp(a, b, n) == 0;
    if (same) v->work.tier = "text";
    return same;
}

/* Whether the text is spelled letter by letter. */
static bool only_letters(const struct tree *tree)
{
    for (int i = 0; i < tree->n_tokens; i++)
        if (tree->token[i].text.length != 1 ||
            (tree->token[i].kind != TOKEN_NAME && tree->token[i].kind != TOKEN_CONSTANT))
            return false;
    return tree->n_tokens > 2;
}

/* Every pair of readings of an unclear comma. */
static bool trees_equal(struct verifier *v)
{
    const struct tree *golds[] = {&v->gold, &v->gold_other};
    const struct tree *answers[] = {&v->answer, &v->answer_other};
    for (int g = 0; g < 2; g++)
        for (int a = 0; a < 2; a++) {
            const struct term gold = {golds[g], golds[g]->root, 0};
            const struct term answer = {answers[a], answers[a]->root, 0};
            if (gold.node < 0 || answer.node < 0 || golds[g]->dots != answers[a]->dots) continue;
            if (terms_equal(&v->work, gold, answer)) return true;
        }
    return false;
}

static enum cn_verdict compare(struct verifier *v, enum fault fault)
{
    v->work.tier = "token";
    if (fault == FAULT_TOO_LARGE) return CN_VERDICT_TOO_LARGE;
    if (tokens_equal(&v->gold, &v->answer)) return CN_VERDICT_CORRECT;
    if (v->gold_is_words || (!v->gold_is_tree && is_words(&v->answer))) {
        v->work.tier = "text";
        return words_equal(v) ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
    }
    if (!v->gold_is_tree) return CN_VERDICT_WRONG;
    if (fault) return CN_VERDICT_UNPARSABLE;
    bool equal = trees_equal(v);
    if (v->work.exhausted) return CN_VERDICT_BUDGET;
    if (!equal && only_letters(&v->gold)) equal = words_equal(v); /* "E v e n" */
    return equal ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
}

static enum fault read_answer(struct verifier *v, struct cn_text text)
{
    struct names *names = &v->work.names;
    enum fault fault;
    tree_clear(&v->answer);
    tree_clear(&v->answer_other);
    fault = parse_text(text, COMMAS_SEPARATE, names, &v->answer);
    if (!fault && v->answer.comma_unclear)
        parse_text(text, COMMAS_DECIMAL, names, &v->answer_other);
    return fault;
}

static enum cn_verdict judge_choice(struct verifier *v, struct cn_text text)
{
    bool hedged;
    char letter = choice_letter(text, &hedged);
    v->work.tier = "text";
    if (!letter) return CN_VERDICT_UNPARSABLE;
    return letter == v->gold_choice && !hedged ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
}

/* ---- policies ------------------------------------------------------------ */

static struct found (*const searches[MATH_POLICY_COUNT])(struct cn_text reply) = {
    [MATH_POLICY_BOXED] = find_boxed,
    [MATH_POLICY_GSM8K] = find_hash,
    [MATH_POLICY_TAG] = find_tag,
    [MATH_POLICY_LINE] = find_line,
    [MATH_POLICY_FINAL] = find_final,
    [MATH_POLICY_LAST_MATH] = find_math,
    [MATH_POLICY_LAST_NUMBER] = find_number,
    [MATH_POLICY_MCQ] = find_choice,
    [MATH_POLICY_WHOLE] = find_whole,
};

static const enum math_policy automatic[] = {
    MATH_POLICY_BOXED, MATH_POLICY_GSM8K, MATH_POLICY_TAG,       MATH_POLICY_FINAL,
    MATH_POLICY_LINE,  MATH_POLICY_WHOLE, MATH_POLICY_LAST_MATH, MATH_POLICY_LAST_NUMBER,
};

/* A place that a reply marks on purpose is its answer, whatever stands there. */
static bool is_marked(enum math_policy policy)
{
    return policy == MATH_POLICY_BOXED || policy == MATH_POLICY_GSM8K || policy == MATH_POLICY_TAG;
}

/* Whether a word stands in the tree as an operand. */
static bool has_words(const struct tree *tree)
{
    for (int i = 0; i < tree->n_nodes; i++)
        if (tree->node[i].kind == NODE_TEXT) return true;
    return false;
}

/* Judges what one place says.  False: it says nothing that can be read, try the next one. */
static bool judge_place(struct verifier *v, enum math_policy policy, const struct found *found,
                        struct math_result *out)
{
    struct cn_text text = join_pieces(v, found);
    out->policy = policy;
    out->extracted = found->n == 1 ? trim_answer(found->text) : found->text;
    if (text.length > LIMIT_TEXT) {
        out->verdict = CN_VERDICT_TOO_LARGE;
        return is_marked(policy);
    }
    if (v->gold_choice) {
        out->verdict = judge_choice(v, text);
        if (out->verdict != CN_VERDICT_UNPARSABLE) return true;
    }
    enum fault fault = read_answer(v, text);
    out->verdict = compare(v, fault);
    out->tier = v->work.tier;
    if (out->verdict == CN_VERDICT_CORRECT || is_marked(policy)) return true;
    if (v->gold_is_words) return policy != MATH_POLICY_WHOLE;
    /* prose is not an answer where mathematics is wanted */
    return fault == FAULT_NONE && !is_words(&v->answer) && !has_words(&v->answer);
}

/* Inside a marked or announced place: a box, a formula, or a number in a sentence. */
static bool judge_inside(struct verifier *v, enum math_policy policy, const struct found *found,
                         struct math_result *out)
{
    static const enum math_policy inner[] = {MATH_POLICY_BOXED, MATH_POLICY_LAST_MATH,
                                             MATH_POLICY_LAST_NUMBER};
    for (size_t i = 0; i < sizeof inner / sizeof *inner; i++) {
        struct found place = searches[inner[i]](found->text);
        if (!place.n) continue;
        if (judge_place(v, inner[i], &place, out) && out->verdict != CN_VERDICT_UNPARSABLE) {
            out->policy = policy;
            return true;
        }
    }
    return false;
}

/* Looks where one policy says; false: no answer there. */
static bool try_policy(struct verifier *v, enum math_policy policy, struct cn_text reply,
                       struct math_result *out)
{
    struct found found = searches[policy](reply);
    if (found.cut) {
        out->verdict = CN_VERDICT_NO_ANSWER;
        out->policy = policy;
        return true;
    }
    if (!found.n) return false;
    bool done = judge_place(v, policy, &found, out);
    bool sentence = policy == MATH_POLICY_LINE || policy == MATH_POLICY_FINAL ||
                    policy == MATH_POLICY_TAG || policy == MATH_POLICY_GSM8K;
    bool prose = !done || out->verdict == CN_VERDICT_UNPARSABLE ||
                 (out->verdict == CN_VERDICT_WRONG && !v->gold_is_words && !v->gold_choice &&
                  (is_words(&v->answer) || has_words(&v->answer)));
    if (sentence && prose) {
        struct math_result inside = *out;
        if (judge_inside(v, policy, &found, &inside)) {
            *out = inside;
            return true;
        }
    }
    return done;
}

static void search(struct verifier *v, struct cn_text reply, struct math_result *out)
{
    int policy = v->work.rules->policy;
    out->verdict = CN_VERDICT_NO_ANSWER;
    if (policy != MATH_POLICY_AUTO) {
        try_policy(v, (enum math_policy)policy, reply, out);
        return;
    }
    for (size_t i = 0; i < sizeof automatic / sizeof *automatic; i++) {
        if (automatic[i] == MATH_POLICY_WHOLE && v->gold_choice &&
            try_policy(v, MATH_POLICY_MCQ, reply, out))
            return;
        struct math_result before = *out;
        if (try_policy(v, automatic[i], reply, out)) return;
        if (out->verdict == CN_VERDICT_NO_ANSWER || automatic[i] == MATH_POLICY_WHOLE)
            *out = before; /* prose is no unreadable answer */
    }
    /* words, or what only its spelling can decide: the whole reply is the answer */
    struct cn_text all = find_trim(reply);
    if (out->verdict == CN_VERDICT_NO_ANSWER && all.length && all.length <= LIMIT_TEXT &&
        !v->gold_is_tree && !v->gold_choice) {
        out->verdict = CN_VERDICT_WRONG;
        out->policy = MATH_POLICY_WHOLE;
        out->extracted = all;
    }
}

/* ---- the final segment --------------------------------------------------- */

/* Steps behind every verbatim copy of the question: what it says is not the policy's answer. */
static struct cn_text without_question(struct cn_text reply, struct cn_text question)
{
    question = find_trim(question);
    if (question.length < COPY_MIN) return reply;
    for (;;) {
        const char *at = reply.length >= question.length
                             ? memmem(reply.data, reply.length, question.data, question.length)
                             : NULL;
        if (!at) break;
        size_t end = (size_t)(at - reply.data) + question.length;
        struct cn_text behind = find_slice(reply, end, reply.length);
        if (!find_trim(behind).length) { /* the copy ends the reply */
            reply.length = (size_t)(at - reply.data);
            break;
        }
        reply = behind;
    }
    /* a piece of the question alone */
    struct cn_text rest = find_trim(reply);
    if (rest.length >= COPY_MIN && rest.length <= question.length &&
        memmem(question.data, question.length, rest.data, rest.length))
        reply.length = 0;
    return reply;
}

/* Ends the reply where a special token such as <|im_end|> stands. */
static struct cn_text until_special(struct cn_text reply)
{
    size_t from = 0, at;
    while ((at = find_text(reply, from, special_open)) != SIZE_MAX) {
        size_t near = reply.length - at < SPECIAL_MAX ? reply.length : at + SPECIAL_MAX;
        size_t end = find_text(find_slice(reply, 0, near), at, "|>");
        from = at + 1;
        if (end == SIZE_MAX) continue;
        if (at) {
            reply.length = at;
            break;
        }
        reply = find_slice(reply, end + 2, reply.length); /* one in front is only stepped over */
        from = 0;
    }
    return reply;
}

/* Whether the answer is the last thing of a reply that was cut off: its end may be missing. */
static bool maybe_incomplete(const struct math_result *out, struct cn_text reply)
{
    return out->verdict == CN_VERDICT_NO_ANSWER || !out->extracted.length ||
           out->extracted.data + out->extracted.length == reply.data + reply.length;
}

static void verify(struct verifier *v, const struct math_question *question,
                   struct math_result *out)
{
    struct cn_text reply;
    out->gold_type = "none";
    out->verdict = CN_VERDICT_BAD_GOLD;
    if (read_gold(v, question->gold)) return;
    out->gold_type = v->gold_type;
    out->verdict = question->cut ? CN_VERDICT_TRUNCATED : CN_VERDICT_NO_ANSWER;
    reply = question->reply;
    if (reply.length > SCAN_MAX) reply = find_slice(reply, reply.length - SCAN_MAX, reply.length);
    reply = until_special(without_question(reply, question->prompt));
    search(v, reply, out);
    if (question->cut && maybe_incomplete(out, reply)) out->verdict = CN_VERDICT_TRUNCATED;
    if (out->verdict != CN_VERDICT_CORRECT && out->verdict != CN_VERDICT_WRONG) out->tier = NULL;
}

/* ---- life ---------------------------------------------------------------- */

static enum cn_status open_verifier(const struct math_rules *rules, struct cn_arena *arena,
                                    struct verifier **out)
{
    struct verifier *v;
    CN_TRY(cn_arena_alloc_raw(arena, 1, sizeof *v, &v));
    memset(&v->work.bound, 0, sizeof v->work.bound);
    v->work.rules = rules;
    v->work.names.n = 0;
    v->work.tier = NULL;
    v->work.ops = 0;
    v->work.exhausted = false;
    struct tree *const trees[] = {&v->gold, &v->gold_other, &v->answer, &v->answer_other};
    for (size_t i = 0; i < sizeof trees / sizeof *trees; i++) {
        trees[i]->n_nodes = trees[i]->n_tokens = 0;
        trees[i]->root = -1;
        trees[i]->dots = false;
        trees[i]->answers = i >= 2;
    }
    for (int i = 0; i < LIMIT_NAMES; i++)
        acb_init(&v->work.point[i]);
    *out = v;
    return CN_OK;
}

static void close_verifier(struct verifier *v)
{
    tree_clear(&v->gold);
    tree_clear(&v->gold_other);
    tree_clear(&v->answer);
    tree_clear(&v->answer_other);
    for (int i = 0; i < LIMIT_NAMES; i++)
        acb_clear(&v->work.point[i]);
}

enum cn_status math_verify(const struct math_rules *rules, const struct math_question *question,
                           struct cn_arena *arena, struct math_result *out)
{
    struct cn_arena_mark mark = cn_arena_mark(arena);
    struct verifier *v;
    CN_TRY(open_verifier(rules, arena, &v));
    *out = (struct math_result){.verdict = CN_VERDICT_UNSCORED};
    verify(v, question, out);
    out->ops = v->work.ops;
    close_verifier(v);
    cn_arena_release(arena, mark);
    return CN_OK;
}

enum cn_status math_check_gold(struct cn_text gold, struct cn_arena *arena, const char **fault)
{
    static const struct math_rules rules = {.policy = MATH_POLICY_AUTO};
    struct cn_arena_mark mark = cn_arena_mark(arena);
    struct verifier *v;
    CN_TRY(open_verifier(&rules, arena, &v));
    *fault = read_gold(v, gold);
    close_verifier(v);
    cn_arena_release(arena, mark);
    return CN_OK;
}
