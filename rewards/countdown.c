/* Countdown and the game of 24: an expression over given numbers that has a given value.
 *
 * Known answer: {"target": 24, "nums": [4, 6, 1, 1]} ("numbers" and "input" mean "nums"); target 24
 * if there is none.  Grammar: integers without leading zeros, + - * / (also the signs of
 * mathematics), and parentheses; one "= 24" behind it is dropped.  Powers, //, decimals, letters
 * and "2(3)" are not in it. Values are exact fractions, so that 8/(3-8/3) is 24.  Every given
 * number is used exactly once, or with use=some at most once: what the number check forgets,
 * policies find (6*4*1*1 whatever was given). */
#include "carnot/json.h"
#include "carnot/reward.h"

#include "answer.h"

#include <math.h>
#include <stddef.h>
#include <string.h>

enum { NUMBERS_MAX = 16, EXPRESSION_MAX = 512, DEPTH_MAX = 64 };
enum use { USE_ALL, USE_SOME };

struct settings {
    int use;
    double format;
};

// clang-format off
static const struct cn_option options[] = {
    {.name = "use", .kind = CN_OPTION_CHOICE, .offset = offsetof(struct settings, use), .fallback = "\"all\"",
     .choices = "all some", .help = "whether every given number must be used, or may be"},
    {.name = "format", .kind = CN_OPTION_REAL, .offset = offsetof(struct settings, format), .fallback = "0", .minimum = -1e6, .maximum = 1e6,
     .help = "score of an expression that can be read but is not right (TinyZero: 0.1)"},
    {0},
};
// clang-format on

__extension__ typedef __int128 wide; /* holds a product of two 64-bit numbers */

/* A fraction in lowest terms, den > 0. */
struct fraction {
    int64_t num, den;
};

struct problem {
    struct fraction target;
    int64_t number[NUMBERS_MAX];
    size_t n;
};

struct parser {
    const char *at, *end;
    int depth;
    int64_t used[NUMBERS_MAX];
    size_t n;
    bool too_large, divided_by_zero;
};

/* num / den in lowest terms; false if that does not fit 64 bits. */
static bool reduce(wide num, wide den, struct fraction *out)
{
    wide a = num < 0 ? -num : num, b = den < 0 ? -den : den;
    while (b) {
        wide rest = a % b;
        a = b;
        b = rest;
    }
    if (a == 0) return false;
    if (den < 0) a = -a;
    num /= a;
    den /= a;
    if (num > INT64_MAX || num < -INT64_MAX || den > INT64_MAX) return false;
    *out = (struct fraction){(int64_t)num, (int64_t)den};
    return true;
}

static bool apply(struct parser *p, char sign, struct fraction b, struct fraction *a)
{
    const wide an = a->num, ad = a->den, bn = b.num, bd = b.den;
    wide num, den = ad * bd;
    if (sign == '/' && b.num == 0) {
        p->divided_by_zero = true;
        return false;
    }
    if (sign == '*' || sign == '/') {
        num = sign == '*' ? an * bn : an * bd;
        den = sign == '*' ? ad * bd : ad * bn;
    } else {
        /* each product is below 2^126, so that their sum fits */
        num = sign == '+' ? an * bd + bn * ad : an * bd - bn * ad;
    }
    if (reduce(num, den, a)) return true;
    p->too_large = true;
    return false;
}

/* ---- reading ------------------------------------------------------------- */

static void skip_space(struct parser *p)
{
    while (p->at < p->end && strchr(" \t\r\n", *p->at))
        p->at++;
}

/* The operator at the place, as one of + - * / ( ), or 0; *length is its bytes. */
static char sign_at(struct parser *p, size_t *length)
{
    static const struct {
        const char *text;
        char sign;
    } signs[] = {{"+", '+'},       {"-", '-'},      {"*", '*'},    {"/", '/'}, {"(", '('},
                 {")", ')'},       {"×", '*'},      {"÷", '/'},    {"−", '-'}, {"·", '*'},
                 {"\\times", '*'}, {"\\cdot", '*'}, {"\\div", '/'}};
    skip_space(p);
    for (size_t i = 0; i < sizeof signs / sizeof *signs; i++) {
        *length = strlen(signs[i].text);
        if ((size_t)(p->end - p->at) >= *length && memcmp(p->at, signs[i].text, *length) == 0)
            return signs[i].sign;
    }
    return 0;
}

static bool take(struct parser *p, char wanted)
{
    size_t length;
    if (sign_at(p, &length) != wanted) return false;
    p->at += length;
    return true;
}

static bool read_sum(struct parser *p, struct fraction *out);

static bool read_atom(struct parser *p, struct fraction *out)
{
    if (take(p, '(')) {
        if (++p->depth > DEPTH_MAX) return false;
        bool good = read_sum(p, out) && take(p, ')');
        p->depth--;
        return good;
    }
    skip_space(p);
    const char *begin = p->at;
    int64_t value = 0;
    for (; p->at < p->end && *p->at >= '0' && *p->at <= '9'; p->at++) {
        if (p->at - begin > 15) return false;
        value = 10 * value + (*p->at - '0');
    }
    bool leading_zero = p->at - begin > 1 && *begin == '0';
    if (p->at == begin || leading_zero || p->n == NUMBERS_MAX) return false;
    p->used[p->n++] = value;
    *out = (struct fraction){value, 1};
    return true;
}

static bool read_product(struct parser *p, struct fraction *out)
{
    if (!read_atom(p, out)) return false;
    for (;;) {
        struct fraction right;
        char sign = take(p, '*') ? '*' : take(p, '/') ? '/' : 0;
        if (!sign) return true;
        if (!read_atom(p, &right) || !apply(p, sign, right, out)) return false;
    }
}

static bool read_sum(struct parser *p, struct fraction *out)
{
    if (!read_product(p, out)) return false;
    for (;;) {
        struct fraction right;
        char sign = take(p, '+') ? '+' : take(p, '-') ? '-' : 0;
        if (!sign) return true;
        if (!read_product(p, &right) || !apply(p, sign, right, out)) return false;
    }
}

/* Behind the expression: nothing, or "= number". */
static bool at_end(struct parser *p, struct fraction target)
{
    skip_space(p);
    if (p->at < p->end && *p->at == '=') {
        struct parser rest = {.at = p->at + 1, .end = p->end};
        struct fraction said;
        bool good = read_sum(&rest, &said) && rest.n == 1;
        skip_space(&rest);
        return good && rest.at == rest.end && said.num == target.num && said.den == target.den;
    }
    return p->at == p->end;
}

static bool read_problem(struct cn_text ground_truth, struct problem *out, const char **fault)
{
    static const char *const keys[] = {"nums", "numbers", "input", NULL};
    struct cn_json *root = NULL;
    const struct cn_json *list = NULL;
    *out = (struct problem){.target = {24, 1}};
    *fault = "it is not JSON: {\"target\": 24, \"nums\": [4, 6, 1, 1]}";
    if (cn_json_parse(ground_truth, "ground_truth", &root) != CN_OK) {
        cn_fail_clear();
        return false;
    }
    *fault = "it has no list \"nums\" of 1 to 16 whole numbers";
    for (const char *const *key = keys; *key && !list; key++)
        list = cn_json_get(root, *key);
    if (cn_json_kind(root) == CN_JSON_LIST) list = root;
    const size_t n = cn_json_kind(list) == CN_JSON_LIST ? cn_json_count(list) : 0;
    bool good = n >= 1 && n <= NUMBERS_MAX;
    for (const struct cn_json *x = good ? cn_json_first(list) : NULL; x; x = cn_json_next(x)) {
        double value = cn_json_number(x);
        good = good && cn_json_kind(x) == CN_JSON_NUMBER && value >= 0 && value < 1e15 &&
               floor(value) == value;
        out->number[out->n++] = (int64_t)value;
    }
    const struct cn_json *target = cn_json_get(root, "target");
    if (cn_json_kind(target) != CN_JSON_NULL) {
        double value = cn_json_number(target);
        bool whole =
            cn_json_kind(target) == CN_JSON_NUMBER && fabs(value) < 1e15 && floor(value) == value;
        if (good && !whole) *fault = "\"target\" is not a whole number";
        good = good && whole;
        out->target.num = (int64_t)value;
    }
    cn_json_close(root);
    if (good) *fault = NULL;
    return good;
}

/* ---- judging ------------------------------------------------------------- */

/* The used numbers are given ones, each as often as it is given. */
static bool uses_given(const struct settings *settings, const struct problem *problem,
                       const struct parser *p)
{
    bool taken[NUMBERS_MAX] = {false};
    for (size_t i = 0; i < p->n; i++) {
        size_t k = 0;
        while (k < problem->n && (taken[k] || problem->number[k] != p->used[i]))
            k++;
        if (k == problem->n) return false;
        taken[k] = true;
    }
    return settings->use == USE_SOME || p->n == problem->n;
}

/* What is read: the last <answer>, else the last box, else the last line with text. */
static struct cn_text find_expression(struct cn_text reply)
{
    static const char open[] = "<answer>", close[] = "</answer>";
    reply = answer_trim(reply);
    size_t begin = answer_find_last(reply, open);
    if (begin != SIZE_MAX) {
        begin += sizeof open - 1;
        size_t end = answer_find(reply, begin, close);
        if (end == SIZE_MAX) return (struct cn_text){"", 0};
        return answer_trim((struct cn_text){reply.data + begin, end - begin});
    }
    struct answer_found box = answer_boxed(reply);
    if (box.count && !box.cut_off) return answer_trim(box.text);
    for (size_t i = reply.length; i-- > 0;)
        if (reply.data[i] == '\n')
            return answer_trim((struct cn_text){reply.data + i + 1, reply.length - i - 1});
    return reply;
}

static enum cn_verdict judge(const struct settings *settings, const struct problem *problem,
                             struct cn_text text, bool *readable)
{
    struct parser p = {.at = text.data, .end = text.data + text.length};
    struct fraction value;
    *readable = false;
    if (!text.length) return CN_VERDICT_NO_ANSWER;
    if (text.length > EXPRESSION_MAX) return CN_VERDICT_TOO_LARGE;
    if (!read_sum(&p, &value)) {
        *readable = p.divided_by_zero;
        return p.too_large         ? CN_VERDICT_TOO_LARGE
               : p.divided_by_zero ? CN_VERDICT_WRONG
                                   : CN_VERDICT_UNPARSABLE;
    }
    if (!at_end(&p, problem->target)) return CN_VERDICT_UNPARSABLE;
    *readable = true;
    bool same = value.num == problem->target.num && value.den == problem->target.den;
    return same && uses_given(settings, problem, &p) ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG;
}

static enum cn_status countdown_score(const void *given, const struct cn_episode *episodes,
                                      size_t n, struct cn_arena *arena, struct cn_outcome *out)
{
    const struct settings *settings = given;
    (void)arena;
    for (size_t i = 0; i < n; i++) {
        struct problem problem;
        const char *fault;
        bool readable = false, good = read_problem(episodes[i].ground_truth, &problem, &fault);
        struct cn_text reply = episodes[i].response;
        if (reply.length > ANSWER_SCAN_MAX) {
            reply.data += reply.length - ANSWER_SCAN_MAX;
            reply.length = ANSWER_SCAN_MAX;
        }
        struct cn_text text = find_expression(reply);
        out[i] = (struct cn_outcome){.verdict = CN_VERDICT_BAD_GOLD, .has_score = good};
        if (good) out[i].verdict = judge(settings, &problem, text, &readable);
        if (text.length <= EXPRESSION_MAX) out[i].extracted = text;
        out[i].score = out[i].verdict == CN_VERDICT_CORRECT ? 1 : readable ? settings->format : 0;
    }
    return CN_OK;
}

static enum cn_status countdown_check_gold(const void *settings, struct cn_text ground_truth,
                                           struct cn_arena *arena, const char **fault)
{
    struct problem problem;
    (void)settings, (void)arena;
    read_problem(ground_truth, &problem, fault);
    return CN_OK;
}

const struct cn_reward cn_reward_countdown = {
    .name = "countdown",
    .summary =
        "1 if an expression over the given numbers has the given value (also the game of 24)",
    .reference = "Gandhi et al. 2024 (Stream of Search), arXiv 2404.03683, section 3",
    .options = options,
    .settings_size = sizeof(struct settings),
    .scope = CN_SCOPE_EPISODE,
    .needs_ground_truth = true,
    .score = countdown_score,
    .check_gold = countdown_check_gold,
};
