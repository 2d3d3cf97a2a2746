/* The client: spreads, retries, gives up without a 0.
 * ctest labels: serial */
#include "check.h"
#include "service_scorer.h"

static struct cn_service_settings settings;
static struct cn_arena arena;

static enum cn_status configure(const char *json)
{
    struct cn_json *root = NULL;
    CN_TRY(cn_json_parse(cn_text(json), "test", &root));
    enum cn_status status =
        cn_option_read(cn_service_options, root, "service", NULL, &arena, &settings);
    cn_json_close(root);
    settings.port = settings.code_workers = 0;
    return status;
}

/* Scores the numbers 0..n-1 at the servers. */
static enum cn_status score_all(const char *const *urls, size_t n_urls, size_t n,
                                struct cn_service_result *out)
{
    struct cn_service_client *client;
    size_t pending = n;
    CN_TRY(cn_service_client_open(&settings, urls, n_urls, &client));
    enum cn_status status = CN_OK;
    for (size_t i = 0; i < n && status == CN_OK; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", i);
        const struct cn_episode episode = {.prompt_text = {"p", 1},
                                           .response = cn_text(text),
                                           .ground_truth = {"", 0},
                                           .row = {"{\"a\": 1}", 8},
                                           .stop = CN_STOP_EOS};
        status = cn_service_client_add(client, &episode, &arena, &out[i]);
    }
    while (pending && status == CN_OK)
        status = cn_service_client_drive(client, 1, &pending);
    cn_service_client_close(client);
    return status;
}

enum { N = 500 };
static struct cn_service_result result[N];

static size_t right(void)
{
    size_t n = 0;
    for (size_t i = 0; i < N; i++)
        n += result[i].has_reward && result[i].reward == (double)i;
    return n;
}

TEST(answers_are_spread_over_servers)
{
    struct http_server one, two;
    CHECK_OK(configure("{\"workers\": 1, \"batch\": 8}"));
    CHECK_OK(http_start(&settings, &test_scorer, &one));
    CHECK_OK(http_start(&settings, &test_scorer, &two));
    const char *const urls[] = {one.url, two.url};
    CHECK_OK(score_all(urls, 2, N, result));
    CHECK_INT(right(), N);
    CHECK(http_metric(one.port, "carnot_score_count") > N / 5);
    CHECK(http_metric(two.port, "carnot_score_count") > N / 5);
    http_stop(&one, SIGTERM);
    http_stop(&two, SIGTERM);
}

TEST(a_dead_server_is_replaced_by_a_living_one)
{
    struct http_server server;
    CHECK_OK(configure("{\"workers\": 1, \"batch\": 8}"));
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    const char *const urls[] = {"http://127.0.0.1:1", server.url, "http://127.0.0.1:2/"};
    CHECK_OK(score_all(urls, 3, N, result));
    CHECK_INT(right(), N);
    http_stop(&server, SIGTERM);
}

TEST(without_a_server_answers_are_unscored_and_never_zero)
{
    const char *const urls[] = {"http://127.0.0.1:1"};
    CHECK_OK(configure("{\"timeout_s\": 0.6}"));
    for (size_t i = 0; i < N; i++)
        result[i].has_reward = true;
    const double begun = http_now();
    CHECK_OK(score_all(urls, 1, N, result));
    CHECK(http_now() - begun >= 0.6);
    CHECK(http_now() - begun < 3);
    for (size_t i = 0; i < N; i++) {
        CHECK(!result[i].has_reward && !result[i].has_score);
        CHECK_INT(result[i].verdict, CN_VERDICT_UNSCORED);
    }
}

TEST(a_server_that_comes_back_is_used_again)
{
    struct http_server server;
    char url[64];
    CHECK_OK(configure("{\"workers\": 1, \"timeout_s\": 20}"));
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    strcpy(url, server.url);
    http_stop(&server, SIGTERM);
    const pid_t late = fork(); /* starts it again while the client tries */
    if (late == 0) {
        http_pause(0.5);
        settings.port = server.port;
        _exit(cn_service_run(&settings, &test_scorer, -1) != CN_OK);
    }
    const char *const urls[] = {url};
    CHECK_OK(score_all(urls, 1, N, result));
    CHECK_INT(right(), N);
    kill(late, SIGTERM);
    waitpid(late, NULL, 0);
}

TEST(a_full_queue_is_waited_for)
{
    struct http_server server;
    CHECK_OK(configure("{\"workers\": 1, \"queue\": 8, \"batch\": 8, \"cache\": 0}"));
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    const char *const urls[] = {server.url};
    CHECK_OK(score_all(urls, 1, 100, result));
    for (size_t i = 0; i < 100; i++)
        CHECK(result[i].has_reward && result[i].reward == (double)i);
    http_stop(&server, SIGTERM);
}

TEST(a_closed_door_ends_the_run_with_a_reason)
{
    struct http_server server;
    char path[] = "/tmp/carnot_token_XXXXXX", json[128];
    const int file = mkstemp(path);
    CHECK(write(file, "abc", 3) == 3);
    close(file);
    snprintf(json, sizeof json, "{\"workers\": 1, \"token_file\": \"%s\"}", path);
    CHECK_OK(configure(json));
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    const char *const urls[] = {server.url};
    CHECK_OK(score_all(urls, 1, N, result));
    CHECK_INT(right(), N);
    settings.token_file = NULL;
    CHECK_FAILS(score_all(urls, 1, N, result), CN_ERR_VERIFIER, "service.token_file");
    char elsewhere[96];
    snprintf(elsewhere, sizeof elsewhere, "%s/t/abc/elsewhere", server.url);
    const char *const wrong[] = {elsewhere};
    CHECK_FAILS(score_all(wrong, 1, N, result), CN_ERR_VERIFIER, "404");
    const char *const bad[] = {"127.0.0.1:8080"};
    CHECK_FAILS(score_all(bad, 1, N, result), CN_ERR_CONFIG, "http://");
    CHECK_FAILS(score_all(NULL, 0, N, result), CN_ERR_CONFIG, "service.urls");
    http_stop(&server, SIGTERM);
    unlink(path);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return service_is_built() ? check_main(argc, argv) : 77;
}
