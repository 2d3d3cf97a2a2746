/* carnot grade: scores answers that somebody else made with one of the rewards. */
#include "../command.h"
#include "filter.h"
#include "../scoring/gold.h"

#include "carnot/arena.h"
#include "carnot/log.h"
#include "carnot/reward.h"

#include <string.h>

struct grade {
    struct cn_reward_entry entry;
    const char *check_gold;   /* --check-gold: a data file to look through instead of grading */
    struct cn_arena run, row; /* settings; what one row needs */
};

/* ---- arguments ----------------------------------------------------------- */

/* The value of a flag: JSON, or text where it is not JSON. */
static enum cn_status flag_value(const char *text, struct cn_json **out)
{
    if (cn_json_parse(cn_text(text), "value", out) == CN_OK) return CN_OK;
    cn_fail_clear();
    struct cn_str quoted = {NULL, 0, 0};
    enum cn_status status = cn_json_quote(&quoted, cn_text(text));
    if (status == CN_OK) status = cn_json_parse(cn_str_text(&quoted), "value", out);
    cn_str_free(&quoted);
    return status;
}

/* Splits "--some-name=value" or "--some-name" "value"; dashes inside the name become underscores.
 */
static enum cn_status split_flag(int argc, char **argv, int *at, char name[64], const char **value)
{
    const char *flag = argv[*at];
    if (strncmp(flag, "--", 2) != 0)
        return cn_fail(CN_ERR_CONFIG,
                       "grade reads rows from standard input; \"%s\" is not an option", flag);
    const char *equals = strchr(flag, '=');
    size_t length = equals ? (size_t)(equals - flag) - 2 : strlen(flag) - 2;
    if (length == 0 || length > 63) return cn_fail(CN_ERR_CONFIG, "grade: bad option \"%s\"", flag);
    for (size_t i = 0; i < length; i++)
        name[i] = flag[i + 2] == '-' ? '_' : flag[i + 2];
    name[length] = 0;
    *value = equals ? equals + 1 : *at + 1 < argc ? argv[++*at] : NULL;
    return *value ? CN_OK : cn_fail(CN_ERR_CONFIG, "grade: --%s needs a value", name);
}

/* Everything but --reward and --check-gold is an option of the reward. */
static enum cn_status read_flags(struct grade *grade, int argc, char **argv, struct cn_json *given)
{
    for (int i = 1; i < argc; i++) {
        char name[64];
        const char *text;
        CN_TRY(split_flag(argc, argv, &i, name, &text));
        if (strcmp(name, "check_gold") == 0) {
            grade->check_gold = text;
            continue;
        }
        struct cn_json *value = NULL;
        CN_TRY(flag_value(text, &value));
        CN_TRY(cn_json_set(given, strcmp(name, "reward") == 0 ? "type" : name, value));
    }
    if (!cn_json_get(given, "type"))
        return cn_fail(CN_ERR_CONFIG,
                       "grade needs --reward NAME; carnot config list rewards names them");
    return CN_OK;
}

static enum cn_status read_arguments(struct grade *grade, int argc, char **argv)
{
    static const char *const ours[] = {"type", NULL};
    struct cn_json *given = NULL;
    enum cn_status status = CN_OK;
    CN_TRY(cn_json_new(CN_JSON_OBJECT, &given));
    CN_TRY_GOTO(read_flags(grade, argc, argv, given), out);
    CN_TRY_GOTO(cn_reward_open(given, "grade", ours, &grade->run, &grade->entry), out);
out:
    cn_json_close(given);
    return status;
}

/* ---- rows ---------------------------------------------------------------- */

static enum cn_status read_episode(const struct grade *grade, const struct filter_row *row,
                                   struct cn_arena *arena, struct cn_episode *out)
{
    CN_TRY(cn_episode_read(row->tree, arena, out));
    if (grade->entry.reward->needs_ground_truth &&
        cn_json_kind(cn_json_get(row->tree, "ground_truth")) == CN_JSON_NULL)
        return cn_fail(CN_ERR_DATA, "the row has no \"ground_truth\", which %s needs",
                       grade->entry.reward->name);
    return CN_OK;
}

static enum cn_status write_outcome(const struct filter_row *row, const struct cn_outcome *outcome,
                                    struct cn_str *out)
{
    CN_TRY(filter_begin(out, row));
    CN_TRY(filter_key(out, "score"));
    CN_TRY(outcome->has_score ? cn_json_real(out, outcome->score, 17) : cn_str_add(out, "null"));
    CN_TRY(filter_key(out, "verdict"));
    CN_TRY(cn_json_quote(out, cn_text(cn_verdict_name(outcome->verdict))));
    CN_TRY(filter_key(out, "extracted"));
    CN_TRY(outcome->extracted.length ? cn_json_quote(out, outcome->extracted)
                                     : cn_str_add(out, "null"));
    CN_TRY(filter_key(out, "metrics"));
    CN_TRY(cn_str_add(out, "{"));
    for (size_t i = 0; i < outcome->n_metrics; i++) {
        CN_TRY(cn_str_add(out, i ? ", " : ""));
        CN_TRY(cn_json_quote(out, cn_text(outcome->metric[i].name)));
        CN_TRY(cn_str_add(out, ": "));
        CN_TRY(cn_json_real(out, outcome->metric[i].value, 17));
    }
    CN_TRY(cn_str_add(out, "}"));
    if (outcome->gold_type) {
        CN_TRY(cn_str_format(out, ", \"gold_type\": \"%s\", \"tier\": ", outcome->gold_type));
        CN_TRY(outcome->tier ? cn_str_format(out, "\"%s\"", outcome->tier)
                             : cn_str_add(out, "null"));
        CN_TRY(cn_str_format(out, ", \"ops\": %u", (unsigned)outcome->ops));
    }
    return filter_end(out);
}

static enum cn_status grade_row(void *self, const struct filter_row *row, struct cn_str *out)
{
    struct grade *grade = self;
    struct cn_episode episode;
    struct cn_outcome outcome = {0};
    cn_arena_reset(&grade->row);
    CN_TRY(read_episode(grade, row, &grade->row, &episode));
    CN_TRY(cn_reward_score(&grade->entry, &episode, 1, &grade->row, &outcome));
    return write_outcome(row, &outcome, out);
}

static enum cn_status write_fault(void *self, const struct cn_row *row, const char *fault)
{
    struct cn_str out = {NULL, 0, 0};
    enum cn_status status;
    (void)self;
    CN_TRY_GOTO(cn_str_format(&out, "{\"line\": %zu, \"ground_truth\": ", row->line), out);
    CN_TRY_GOTO(cn_json_quote(&out, row->ground_truth), out);
    CN_TRY_GOTO(cn_str_add(&out, ", \"fault\": "), out);
    CN_TRY_GOTO(cn_json_quote(&out, cn_text(fault)), out);
    CN_TRY_GOTO(cn_str_add(&out, "}\n"), out);
    status = filter_write(cn_str_text(&out));
out:
    cn_str_free(&out);
    return status;
}

/* One row out for each bad known answer; CN_ERR_DATA with the count if there is any. */
static enum cn_status check_gold(struct grade *grade)
{
    const double weight = 1;
    const struct gold gold = {
        .reward = grade->entry.reward, .settings = grade->entry.settings, .fault = write_fault};
    struct cn_data *data;
    size_t bad;
    if (!grade->entry.reward->check_gold)
        return cn_fail(CN_ERR_CONFIG, "reward %s has no known answers to check",
                       grade->entry.reward->name);
    CN_TRY(cn_data_open(&grade->check_gold, &weight, 1, NULL, &data));
    enum cn_status status = gold_check(&gold, data, &bad);
    if (status == CN_OK && bad)
        status = cn_fail(CN_ERR_DATA, "%s: %zu of %zu known answers cannot be graded by %s",
                         grade->check_gold, bad, cn_data_count(data), grade->entry.reward->name);
    else if (status == CN_OK)
        cn_log_info("%s: %s can grade all %zu known answers", grade->check_gold,
                    grade->entry.reward->name, cn_data_count(data));
    cn_data_close(data);
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    struct grade grade = {.check_gold = NULL};
    cn_arena_init(&grade.run);
    cn_arena_init(&grade.row);
    const struct filter filter = {.row = grade_row, .self = &grade, .any_bytes = true};
    enum cn_status status = read_arguments(&grade, argc, argv);
    if (status == CN_OK) status = grade.check_gold ? check_gold(&grade) : filter_run(&filter);
    cn_reward_close(&grade.entry);
    cn_arena_free(&grade.row);
    cn_arena_free(&grade.run);
    return status;
}

const struct cn_command command_grade = {
    .name = "grade",
    .summary = "score answers with a reward: JSON lines in, verdicts out",
    .usage =
        "usage: carnot grade --reward NAME [--option value]... < rows.jsonl\n"
        "       carnot grade --reward NAME [--option value]... --check-gold DATA\n\n"
        "in   {\"id\": 1, \"response\": \"... #### 18\", \"ground_truth\": \"18\"}\n"
        "     optional: \"prompt\", \"stop\" (length: the reply was cut off), "
        "\"response_tokens\", \"max_tokens\"\n"
        "out  {\"id\": 1, \"score\": 1, \"verdict\": \"correct\", \"extracted\": \"18\", "
        "\"metrics\": {\"hedged\": 0}}\n"
        "     the reward math adds \"gold_type\", \"tier\" (what decided) and \"ops\" (what "
        "it took)\n\n"
        "--check-gold reads the rows of a data file and prints those whose known answer the "
        "reward cannot grade:\n"
        "     {\"line\": 7, \"ground_truth\": \"\", \"fault\": \"it is empty\"}; the exit code "
        "is then 3.\n\n"
        "Options are those of the reward: carnot config list rewards, carnot config explain "
        "rewards.exact_answer.\n"
        "A row that cannot be read gives {\"id\": 1, \"error\": {...}}; the exit code is then "
        "3 at the end.\n",
    .run = run,
};
