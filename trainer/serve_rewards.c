/* carnot serve-rewards: the rewards of a configuration as an HTTP service. */
#include "command.h"
#include "config/schema.h"
#include "scoring.h"
#include "config/settings.h"

#include "core/config.h"

#include "carnot/service.h"

#include <stdlib.h>
#include <string.h>

static enum cn_status score(void *self, const struct cn_episode *episode, struct cn_arena *arena,
                            struct cn_service_result *out)
{
    return scoring_episodes(self, episode, 1, arena, out);
}

/* Takes "--announce FD" out of the arguments. */
static enum cn_status take_announce(int *argc, char **argv, int *out)
{
    for (int i = 1; i < *argc; i++) {
        if (strcmp(argv[i], "--announce") != 0) continue;
        char *end = NULL;
        const long fd = i + 1 < *argc ? strtol(argv[i + 1], &end, 10) : -1;
        if (fd < 0 || fd > 1 << 20 || *end)
            return cn_fail(CN_ERR_CONFIG, "--announce needs the number of an open descriptor");
        *out = (int)fd;
        memmove(argv + i, argv + i + 2, (size_t)(*argc - i - 1) * sizeof *argv);
        *argc -= 2;
        return CN_OK;
    }
    return CN_OK;
}

/* What is served, for /version: the section as it stands in the configuration. */
static enum cn_status print_rules(const struct scoring *scoring, const struct cn_json *section,
                                  struct cn_str *out)
{
    if (cn_json_kind(section) == CN_JSON_LIST) return cn_json_print(section, false, out);
    return cn_str_format(out, "[\"%s\"]", scoring->entry[0].used.reward->name);
}

static enum cn_status serve(const struct config *config, struct cn_arena *arena, int announce)
{
    const struct cn_json *section = config_section(config, "rewards");
    struct settings settings;
    struct scoring scoring;
    struct cn_str rules = {NULL, 0, 0};
    struct cn_service_scorer scorer = {.self = &scoring, .score = score};
    CN_TRY(settings_read(config_root(config), arena, &settings));
    CN_TRY(scoring_read(section, arena, &scoring));
    if (scoring_scope(&scoring) != CN_SCOPE_EPISODE) {
        scoring_close(&scoring);
        return cn_fail(CN_ERR_CONFIG, "one of the rewards compares the answers of a group; a "
                                      "service sees one answer at a time");
    }
    for (size_t e = 0; e < scoring.n; e++)
        scorer.starts_programs |= scoring.entry[e].used.reward->starts_programs;
    enum cn_status status = print_rules(&scoring, section, &rules);
    scorer.rules = rules.data;
    if (status == CN_OK) status = cn_service_run(&settings.service, &scorer, announce);
    cn_str_free(&rules);
    scoring_close(&scoring);
    return status;
}

static enum cn_status run(int argc, char **argv)
{
    struct config *config = NULL;
    struct cn_arena arena;
    int announce = -1;
    cn_arena_init(&arena);
    CN_TRY(take_announce(&argc, argv, &announce));
    CN_TRY(config_open(schema_all(), (const char *const *)argv + 1, (size_t)argc - 1, &config));
    const enum cn_status status = serve(config, &arena, announce);
    config_close(config);
    cn_arena_free(&arena);
    return status;
}

const struct cn_command command_serve_rewards = {
    .name = "serve-rewards",
    .summary = "the rewards of a configuration as an HTTP service",
    .usage =
        "usage: carnot serve-rewards [CONFIG...] [key=value | --key value]... [--announce FD]\n\n"
        "Scores answers with the rewards of the section `rewards` until SIGTERM, in processes of "
        "their own.\nkeys: carnot config list keys service\n\n"
        "  POST /v1/score    {\"items\": [{\"id\", \"response\", \"ground_truth\", \"prompt\"}]}\n"
        "  POST /get_reward  OpenRLHF     POST /rm  slime     POST /run_code  SandboxFusion\n"
        "  GET  /health  /metrics  /version\n\n"
        "  curl -s localhost:8080/v1/score -d "
        "'{\"items\": [{\"response\": \"#### 18\", \"ground_truth\": \"18\"}]}'\n\n"
        "--announce FD  writes the address to that descriptor once it listens (service.port=0: any "
        "free port)\n",
    .run = run};
