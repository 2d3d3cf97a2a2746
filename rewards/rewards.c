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

enum cn_status cn_reward_open(const struct cn_json *node, const char *path, const char *const *ours,
                              struct cn_arena *arena, struct cn_reward_entry *out)
{
    const struct cn_json *options = cn_json_kind(node) == CN_JSON_OBJECT ? node : NULL;
    const struct cn_reward *reward;
    void *settings;
    const char *fault; /* a reward that this build cannot run says so now, not after a rollout */
    if (find(node, &reward) != CN_OK) return cn_fail_context(CN_ERR_CONFIG, "%s", path);
    CN_TRY(cn_arena_alloc(arena, 1, reward->settings_size + 1, &settings));
    CN_TRY(cn_option_read(reward->options, options, path, ours, arena, settings));
    enum cn_status status = reward->open ? reward->open(settings, arena) : CN_OK;
    if (status == CN_OK && reward->check_gold)
        status = reward->check_gold(settings, cn_text("1"), arena, &fault);
    if (status != CN_OK) return cn_fail_context(status, "%s", path);
    *out = (struct cn_reward_entry){reward, settings};
    return CN_OK;
}

void cn_reward_close(struct cn_reward_entry *entry)
{
    if (entry->reward && entry->reward->close) entry->reward->close(entry->settings);
    *entry = (struct cn_reward_entry){NULL, NULL};
}
