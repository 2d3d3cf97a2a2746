/* The service from outside: order, deaths, loops, broken bodies, limits, stopping.
 * ctest labels: serial */
#include "check.h"
#include "service_scorer.h"

/* ---- bodies and replies -------------------------------------------------- */

static struct cn_service_settings settings;
static struct http_server server;
static struct cn_str reply;

static enum cn_status start(const char *json)
{
    static struct cn_arena arena;
    struct cn_json *root = NULL;
    CN_TRY(cn_json_parse(cn_text(json), "test", &root));
    enum cn_status status =
        cn_option_read(cn_service_options, root, "service", NULL, &arena, &settings);
    cn_json_close(root);
    settings.port = settings.code_workers = 0;
    CN_TRY(status);
    return http_start(&settings, &test_scorer, &server);
}

/* Members of item i of the reply. */
static struct cn_json *parsed;
static const struct cn_json *item(size_t i)
{
    cn_json_close(parsed);
    parsed = NULL;
    if (cn_json_parse(cn_str_text(&reply), "reply", &parsed) != CN_OK) return NULL;
    const struct cn_json *node = cn_json_first(cn_json_get(parsed, "items"));
    for (; node && i; i--)
        node = cn_json_next(node);
    return node;
}

static const char *verdict(size_t i)
{
    return cn_json_text(cn_json_get(item(i), "verdict")).data;
}

static double score(size_t i)
{
    const struct cn_json *value = cn_json_get(item(i), "score");
    return cn_json_kind(value) == CN_JSON_NUMBER ? cn_json_number(value) : -1;
}

/* A body of answers, the words of `words` (NULL-terminated), `extra` behind the list. */
static struct cn_str body_of(const char *const *words, const char *extra)
{
    struct cn_str body = {NULL, 0, 0};
    cn_str_add(&body, "{\"items\": [");
    for (size_t i = 0; words[i]; i++)
        cn_str_format(&body, "%s{\"id\": %zu, \"response\": \"%s\"}", i ? ", " : "", i, words[i]);
    cn_str_format(&body, "]%s}", extra);
    return body;
}

static unsigned ask(const char *const *words, const char *extra)
{
    struct cn_str body = body_of(words, extra);
    const unsigned code = http_post(server.port, "/v1/score", body.data, &reply);
    cn_str_free(&body);
    return code;
}

#define ASK(...) ask((const char *const[]){__VA_ARGS__, NULL}, "")

/* ---- what is promised ---------------------------------------------------- */

TEST(a_batch_comes_back_complete_and_in_order)
{
    struct cn_str body = {NULL, 0, 0};
    CHECK_OK(start("{\"workers\": 3}"));
    cn_str_add(&body, "{\"items\": [");
    for (int i = 0; i < 3000; i++)
        cn_str_format(&body, "%s{\"id\": \"n%d\", \"response\": \"%d\"}", i ? "," : "", i, i);
    cn_str_add(&body, "]}");
    CHECK_INT(http_post(server.port, "/v1/score", body.data, &reply), 200);
    const struct cn_json *node = item(0);
    int wrong = 0, i = 0;
    for (; node; node = cn_json_next(node), i++) {
        char id[16];
        snprintf(id, sizeof id, "n%d", i);
        wrong += !cn_text_is(cn_json_text(cn_json_get(node, "id")), id);
        wrong += cn_json_number(cn_json_get(node, "score")) != i;
    }
    CHECK_INT(i, 3000);
    CHECK_INT(wrong, 0);
    cn_str_free(&body);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_worker_killed_at_an_answer_costs_that_answer_only)
{
    pid_t worker[4];
    CHECK_OK(start("{\"workers\": 1}"));
    const char *const words[] = {"1", "2", "spin 3000", "4", "5", NULL};
    struct cn_str body = body_of(words, "");
    const int fd = http_connect(server.port);
    CHECK(http_send_post(fd, "/v1/score", "", cn_str_text(&body)));
    http_pause(0.3);
    CHECK_INT(http_children(server.pid, worker, 4), 1);
    kill(worker[0], SIGKILL);
    CHECK_INT(http_receive(fd, NULL, &reply), 200);
    close(fd);
    CHECK_TEXT(verdict(2), "crashed");
    CHECK_INT(score(2), -1);
    for (size_t i = 0; i < 5; i++)
        if (i != 2) CHECK_INT(score(i), atoi(words[i]));
    CHECK_INT(http_metric(server.port, "carnot_worker_crash_total"), 1);
    CHECK_INT(http_metric(server.port, "carnot_workers"), 1);
    CHECK_INT(ASK("7"), 200);
    CHECK_INT(score(0), 7);
    cn_str_free(&body);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* Workers of both kinds, so that some start while others are buried. */
TEST(idle_workers_may_be_killed)
{
    pid_t worker[8];
    CHECK_OK(start("{\"workers\": 2}"));
    http_stop(&server, SIGTERM);
    settings.code_workers = 2;
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    for (int round = 0; round < 20; round++) {
        const size_t n = http_children(server.pid, worker, 8);
        for (size_t i = 0; i < n; i++)
            kill(worker[i], SIGKILL);
        CHECK_INT(ASK("1", "2", "3"), 200);
        CHECK_INT(score(2), 3);
    }
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(answers_that_break_or_hang_a_worker_are_told_apart)
{
    CHECK_OK(start("{\"workers\": 2, \"item_timeout_s\": 0.3}"));
    CHECK_INT(ASK("1", "crash", "3", "loop", "fail", "6", "crash 2", "loop 2", "9"), 200);
    const char *const expected[] = {"wrong", "crashed", "wrong",   "timeout", "unscored",
                                    "wrong", "crashed", "timeout", "wrong"};
    for (size_t i = 0; i < 9; i++) {
        CHECK_TEXT(verdict(i), expected[i]);
        CHECK_INT(score(i), strcmp(expected[i], "wrong") == 0 ? (int)i + 1 : -1);
    }
    CHECK_INT(http_metric(server.port, "carnot_worker_crash_total"), 2);
    CHECK_INT(http_metric(server.port, "carnot_worker_timeout_total"), 2);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(workers_reach_no_file_network_or_process)
{
    CHECK_OK(start("{\"workers\": 1}"));
    CHECK_INT(ASK("1", "do open", "do socket", "do fork", "do kill", "do exec", "do code", "8"),
              200);
    for (size_t i = 1; i < 7; i++)
        CHECK_TEXT(verdict(i), "crashed");
    CHECK_INT(score(7), 8);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(memory_of_a_worker_is_bounded)
{
    CHECK_OK(start("{\"workers\": 1, \"memory_mb\": 64}"));
    CHECK_INT(ASK("1", "memory 1000", "3", "memory 10"), 200);
    CHECK(strcmp(verdict(1), "too_large") == 0 || strcmp(verdict(1), "crashed") == 0);
    CHECK_INT(score(2), 3);
    CHECK_INT(score(3), 10);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(one_bad_item_never_fails_a_batch)
{
    CHECK_OK(start("{\"workers\": 1}"));
    static const char body[] =
        "{\"items\": [{\"response\": \"1\"}, {\"response\": 2}, 3, {\"response\": \"4 \\ud800\"}, "
        "{\"response\": \"5 \xff\xc0\"}, {\"response\": \"6\", \"stop\": \"tired\"}, "
        "{\"id\": {\"a\": [null]}, \"response\": \"7\"}]}";
    CHECK_INT(http_post(server.port, "/v1/score", body, &reply), 200);
    const int scores[] = {1, -1, -1, 4, 5, -1, 7};
    for (size_t i = 0; i < 7; i++)
        CHECK_INT(score(i), scores[i]);
    CHECK_TEXT(verdict(1), "unscored");
    CHECK(strstr(cn_json_text(cn_json_get(item(1), "error")).data, "response") != NULL);
    CHECK(strstr(reply.data, "{\"id\": {\"a\":[null]}, \"score\": 7") != NULL);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(bodies_that_are_not_json_are_400_at_every_cut_and_depth)
{
    static const char whole[] =
        "{\"items\": [{\"id\": [1, {\"x\": null}], \"response\": \"1\\u0041\", \"ground_truth\": "
        "-1.5e3, \"prompt\": [{\"role\": \"user\", \"content\": \"\"}]}], \"deadline_ms\": 5000}";
    CHECK_OK(start("{\"workers\": 1}"));
    const int fd = http_connect(server.port);
    for (size_t n = 0; n < sizeof whole - 1; n++) {
        http_send_post(fd, "/v1/score", "", (struct cn_text){whole, n});
        const unsigned code = http_receive(fd, NULL, &reply);
        if (code != 400) CHECK_INT(code, 400);
    }
    http_send_post(fd, "/v1/score", "", cn_text(whole));
    CHECK_INT(http_receive(fd, NULL, &reply), 200);
    for (int depth = 1; depth < 5000; depth = depth < 300 ? depth + 1 : depth * 2) {
        struct cn_str body = {NULL, 0, 0};
        for (int i = 0; i < depth; i++)
            cn_str_add(&body, i % 2 ? "[" : "{\"items\":");
        http_send_post(fd, "/v1/score", "", cn_str_text(&body));
        const unsigned code = http_receive(fd, NULL, &reply);
        if (code != 400) CHECK_INT(code, 400);
        cn_str_free(&body);
    }
    static const char *const shapes[] = {"[]", "{}", "5", "{\"items\": {}}",
                                         "{\"items\": [], \"deadline_ms\": -1}"};
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        CHECK_INT(http_post(server.port, "/v1/score", shapes[i], &reply), 400);
    CHECK_INT(http_post(server.port, "/get_reward",
                        "{\"query\": [\"\"], \"prompts\": [], \"labels\": [\"\"]}", &reply),
              400);
    CHECK_INT(http_post(server.port, "/rm", "{\"prompt\": \"\"}", &reply), 400);
    close(fd);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(equal_answers_are_scored_once_and_give_equal_bytes)
{
    CHECK_OK(start("{\"workers\": 2}"));
    CHECK_INT(ASK("count a", "count a", "count a", "count b"), 200);
    CHECK(score(0) == score(1) && score(1) == score(2));
    CHECK_INT(http_metric(server.port, "carnot_cache_shared_total"), 2);
    CHECK_INT(ASK("count a", "count b"), 200);
    char *first = strdup(reply.data);
    CHECK_INT(ASK("count a", "count b"), 200);
    CHECK_TEXT(reply.data, first);
    free(first);
    CHECK_INT(http_metric(server.port, "carnot_cache_hits_total"), 4);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
    CHECK_OK(start("{\"workers\": 1, \"cache\": 0}"));
    CHECK_INT(ASK("count a", "count a"), 200);
    CHECK(score(0) != score(1));
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_crash_is_not_remembered_and_not_shared)
{
    CHECK_OK(start("{\"workers\": 1}"));
    CHECK_INT(ASK("crash", "crash", "crash", "4"), 200);
    for (size_t i = 0; i < 3; i++)
        CHECK_TEXT(verdict(i), "crashed");
    CHECK_INT(score(3), 4);
    CHECK_INT(http_metric(server.port, "carnot_worker_crash_total"), 3);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_deadline_answers_with_what_there_is)
{
    CHECK_OK(start("{\"workers\": 1}"));
    const char *const words[] = {"1", "spin 1500", "3", NULL};
    const double begun = http_now();
    CHECK_INT(ask(words, ", \"deadline_ms\": 300"), 200);
    CHECK(http_now() - begun < 1.2);
    CHECK(score(0) == 1 || strcmp(verdict(0), "timeout") == 0); /* sent together with the next */
    CHECK_TEXT(verdict(1), "timeout");
    CHECK_TEXT(verdict(2), "timeout");
    CHECK_INT(ASK("9"), 200); /* what was given up does no harm later */
    CHECK_INT(score(0), 9);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_full_queue_refuses_ours_and_lets_the_others_wait)
{
    CHECK_OK(start("{\"workers\": 1, \"queue\": 3, \"queue_wait_s\": 5}"));
    const char *const words[] = {"spin 700", "2", "3", NULL};
    struct cn_str body = body_of(words, ""), head = {NULL, 0, 0};
    const int busy = http_connect(server.port), other = http_connect(server.port);
    CHECK(http_send_post(busy, "/v1/score", "", cn_str_text(&body)));
    http_pause(0.2);
    CHECK(http_send_post(other, "/v1/score", "", cn_text("{\"items\": [{\"response\": \"1\"}]}")));
    CHECK_INT(http_receive(other, &head, &reply), 503);
    CHECK(strstr(head.data, "Retry-After: 1") != NULL);
    CHECK(http_send_post(other, "/rm", "",
                         cn_text("{\"prompt\": \"\", \"response\": \"5\", \"label\": \"\"}")));
    CHECK_INT(http_receive(other, NULL, &reply), 200);
    CHECK_TEXT(reply.data, "5");
    CHECK_INT(http_receive(busy, NULL, &reply), 200);
    CHECK_INT(score(2), 3);
    CHECK_INT(ASK("1", "2", "3", "4"), 413);
    close(busy);
    close(other);
    cn_str_free(&body);
    cn_str_free(&head);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(waiting_for_room_ends)
{
    CHECK_OK(start("{\"workers\": 1, \"queue\": 1, \"queue_wait_s\": 0.3}"));
    const int busy = http_connect(server.port);
    CHECK(http_send_post(busy, "/v1/score", "",
                         cn_text("{\"items\": [{\"response\": \"spin 1000\"}]}")));
    http_pause(0.1);
    CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 503);
    CHECK_INT(http_receive(busy, NULL, &reply), 200);
    close(busy);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_graceful_stop_finishes_what_was_accepted)
{
    CHECK_OK(start("{\"workers\": 1}"));
    const char *const words[] = {"spin 500", "2", "3", NULL};
    struct cn_str body = body_of(words, "");
    const int fd = http_connect(server.port);
    CHECK(http_send_post(fd, "/v1/score", "", cn_str_text(&body)));
    http_pause(0.15);
    kill(server.pid, SIGTERM);
    http_pause(0.1);
    CHECK_INT(http_connect(server.port), -1);
    CHECK_INT(http_receive(fd, NULL, &reply), 200);
    CHECK_INT(score(2), 3);
    close(fd);
    CHECK_INT(http_stop(&server, 0), 0);
    cn_str_free(&body);
}

TEST(a_second_signal_ends_at_once)
{
    CHECK_OK(start("{\"workers\": 1}"));
    const int fd = http_connect(server.port);
    CHECK(http_send_post(fd, "/v1/score", "",
                         cn_text("{\"items\": [{\"response\": \"spin 5000\"}]}")));
    http_pause(0.15);
    const double begun = http_now();
    kill(server.pid, SIGTERM);
    http_pause(0.1);
    kill(server.pid, SIGTERM);
    CHECK_INT(http_receive(fd, NULL, &reply), 503);
    CHECK_INT(http_stop(&server, 0), 0);
    CHECK(http_now() - begun < 2);
    close(fd);
}

TEST(workers_die_with_the_parent)
{
    pid_t worker[4];
    CHECK_OK(start("{\"workers\": 2}"));
    const size_t n = http_children(server.pid, worker, 4);
    CHECK_INT(n, 2);
    http_stop(&server, SIGKILL);
    http_pause(0.2);
    for (size_t i = 0; i < n; i++) {
        char path[64], state = 'X';
        snprintf(path, sizeof path, "/proc/%d/stat", (int)worker[i]);
        FILE *file = fopen(path, "r");
        if (file && fscanf(file, "%*d %*s %c", &state) != 1) state = 'X';
        if (file) fclose(file);
        CHECK(state == 'X' || state == 'Z');
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return service_is_built() ? check_main(argc, argv) : 77;
}
