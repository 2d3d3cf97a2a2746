/* The list of rewards: one line per file of this folder. */
#include "carnot/reward.h"

#include <string.h>

// clang-format off
#define REWARDS(X)                                                                                 \
    X(exact_answer) X(code_tests) X(command) X(composite) X(countdown) X(format) X(length)         \
    X(match) X(math) X(regex) X(repetition) X(terms)
// clang-format on

#define X(name) extern const struct cn_reward cn_reward_##name;
REWARDS(X)
#undef X

const struct cn_reward *const cn_rewards[] = {
#define X(name) &cn_reward_##name,
    REWARDS(X)
#undef X
        NULL};

const struct cn_reward *cn_reward_find(const char *name)
{
    for (size_t i = 0; cn_rewards[i]; i++)
        if (strcmp(cn_rewards[i]->name, name) == 0) return cn_rewards[i];
    return NULL;
}

static enum cn_status find(const struct cn_json *node, const struct cn_reward **out)
{
    const char *name = NULL;
    if (cn_json_kind(node) == CN_JSON_TEXT)
        name = cn_json_text(node).data;
    else
        CN_TRY(cn_json_need_text(node, "type", &name));
    *out = cn_reward_find(name);
    if (*out) return CN_OK;
    struct cn_str known = {NULL, 0, 0};
    enum cn_status status = CN_OK;
    for (size_t i = 0; cn_rewards[i] && status == CN_OK; i++)
        status = cn_str_format(&known, "%s%s", i ? ", " : "", cn_rewards[i]->name);
    if (status == CN_OK)
        status = cn_fail(CN_ERR_CONFIG, "unknown reward \"%s\"; there are %s", name, known.data);
    cn_str_free(&known);
    return status;
}

/* ---- what verdicts are worth --------------------------------------------- */

static const struct {
    const char *name;
    enum cn_verdict verdict;
} worths[] = {
#define X(name, VERDICT, when) {#name, CN_VERDICT_##VERDICT},
    CN_WORTHS(X)
#undef X
};
enum { WORTHS = sizeof worths / sizeof *worths, OURS_MAX = 7 };

static enum cn_status read_worth(const struct cn_json *value, const char *path, const char *name,
                                 struct cn_worth *out)
{
    enum cn_json_kind kind = cn_json_kind(value);
    struct cn_text word = kind == CN_JSON_TEXT ? cn_json_text(value) : cn_text("");
    *out = (struct cn_worth){.given = true, .mask = cn_text_is(word, "mask")};
    if (out->mask || cn_text_is(word, "zero")) return CN_OK;
    out->score = cn_json_number(value);
    if (kind == CN_JSON_NUMBER) return CN_OK;
    return cn_fail(CN_ERR_CONFIG, "%s.%s: expected \"mask\", \"zero\" or a number", path, name);
}

static enum cn_status read_options(const struct cn_reward_entry *entry,
                                   const struct cn_json *options, const char *path,
                                   const char *const *ours, struct cn_arena *arena)
{
    const char *ignore[OURS_MAX + WORTHS + 1];
    size_t n = 0;
    while (*ours && n < OURS_MAX)
        ignore[n++] = *ours++;
    for (size_t i = 0; i < WORTHS; i++)
        ignore[n++] = worths[i].name;
    ignore[n] = NULL;
    return cn_option_read(entry->reward->options, options, path, ignore, arena, entry->settings);
}

enum cn_status cn_reward_score(const struct cn_reward_entry *entry,
                               const struct cn_episode *episodes, size_t n, struct cn_arena *arena,
                               struct cn_outcome *out)
{
    CN_TRY(entry->reward->score(entry->settings, episodes, n, arena, out));
    for (size_t i = 0; i < n; i++) {
        const struct cn_worth *worth = &entry->worth[out[i].verdict];
        if (!worth->given) continue;
        out[i].has_score = !worth->mask;
        out[i].score = worth->score;
    }
    return CN_OK;
}

enum cn_status cn_reward_open(const struct cn_json *node, const char *path, const char *const *ours,
                              struct cn_arena *arena, struct cn_reward_entry *out)
{
    const struct cn_json *options = cn_json_kind(node) == CN_JSON_OBJECT ? node : NULL;
    struct cn_reward_entry entry = {0};
    const char *fault; /* a reward that this build cannot run says so now, not after a rollout */
    if (find(node, &entry.reward) != CN_OK) return cn_fail_context(CN_ERR_CONFIG, "%s", path);
    const struct cn_reward *reward = entry.reward;
    CN_TRY(cn_arena_alloc(arena, 1, reward->settings_size + 1, &entry.settings));
    CN_TRY(read_options(&entry, options, path, ours, arena));
    for (size_t i = 0; i < WORTHS; i++) {
        const struct cn_json *value = cn_json_get(options, worths[i].name);
        if (value) CN_TRY(read_worth(value, path, worths[i].name, &entry.worth[worths[i].verdict]));
    }
    enum cn_status status = reward->open ? reward->open(entry.settings, arena) : CN_OK;
    if (status == CN_OK && reward->check_gold)
        status = reward->check_gold(entry.settings, cn_text("1"), arena, &fault);
    if (status != CN_OK) return cn_fail_context(status, "%s", path);
    *out = entry;
    return CN_OK;
}

void cn_reward_close(struct cn_reward_entry *entry)
{
    if (entry->reward && entry->reward->close) entry->reward->close(entry->settings);
    *entry = (struct cn_reward_entry){0};
}
