/* The service and its clients: requests of other frameworks byte for byte, tokens, sizes, slow and
 * many connections, memory.
 * ctest labels: serial */
#include "check.h"
#include "service_scorer.h"

#include <fcntl.h>
#include <sys/resource.h>

static struct cn_service_settings settings;
static struct http_server server;
static struct cn_str reply, head;

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

/* ---- other frameworks ---------------------------------------------------- */

/* A scorer that shows what it was asked: 1 if response and ground truth are as expected. */
static enum cn_status check_score(void *self, const struct cn_episode *episode,
                                  struct cn_arena *arena, struct cn_service_result *out)
{
    (void)self, (void)arena;
    const bool right =
        (cn_text_is(episode->response, "It is \xe2\x80\x9c"
                                       "18\xe2\x80\x9d.\n#### 18") ||
         cn_text_is(episode->response, "It is \\boxed{18}.")) &&
        cn_text_is(episode->ground_truth, "18") &&
        cn_text_is(episode->prompt_text,
                   "<|im_start|>user\nWhat is 9 + 9?<|im_end|>\n<|im_start|>assistant\n");
    *out = (struct cn_service_result){.score = right,
                                      .reward = right ? 0.5 : -1,
                                      .has_score = true,
                                      .has_reward = true,
                                      .verdict = right ? CN_VERDICT_CORRECT : CN_VERDICT_WRONG};
    return CN_OK;
}

TEST(requests_of_other_frameworks_are_understood_byte_for_byte)
{
    static const struct cn_service_scorer scorer = {.score = check_score, .rules = "[]"};
    static const char *const files[][2] = {
        {"openrlhf", "{\"rewards\": [0.5], \"scores\": [1], \"extra_logs\": {\"correct\": [1], "
                     "\"unscored\": [0]}}"},
        {"openrlhf_0_8", "{\"rewards\": [0.5], \"scores\": [1], \"extra_logs\": {\"correct\": [1], "
                         "\"unscored\": [0]}}"},
        {"openrlhf_empty",
         "{\"rewards\": [], \"scores\": [], \"extra_logs\": {\"correct\": [], \"unscored\": []}}"},
        {"slime", "0.5"}};
    CHECK_OK(start("{\"workers\": 1}"));
    http_stop(&server, SIGTERM);
    CHECK_OK(http_start(&settings, &scorer, &server));
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct cn_str request = {NULL, 0, 0};
        char path[512];
        snprintf(path, sizeof path, CN_TEST_DATA "/service/%s.http", files[i][0]);
        CHECK_OK(cn_file_read(path, 1 << 20, &request));
        const int fd = http_connect(server.port);
        CHECK(http_send(fd, request.data, request.length));
        CHECK_INT(http_receive(fd, &head, &reply), 200);
        CHECK(strstr(head.data, "Content-Type: application/json\r\n") != NULL);
        CHECK_TEXT(reply.data, files[i][1]);
        close(fd);
        cn_str_free(&request);
    }
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(an_answer_without_score_is_a_number_there_but_counted)
{
    CHECK_OK(start("{\"workers\": 1, \"unscored\": -7}"));
    const int fd = http_connect(server.port);
    CHECK(http_send_post(fd, "/get_reward", "",
                         cn_text("{\"query\": [\"p3\", \"pcrash\"], \"prompts\": [\"p\", \"p\"], "
                                 "\"labels\": [null, {\"any\": 1}]}")));
    CHECK_INT(http_receive(fd, &head, &reply), 200);
    CHECK_TEXT(reply.data, "{\"rewards\": [3, -7], \"scores\": [1, 0], \"extra_logs\": "
                           "{\"correct\": [0, 0], \"unscored\": [0, 1]}}");
    CHECK(strstr(head.data, "X-Carnot-Unscored: 1\r\n") != NULL);
    CHECK_INT(http_metric(server.port, "carnot_unscored_numbers_total"), 1);
    close(fd);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* Member `inner` of member `outer` of the reply, as text. */
static const char *member(const char *outer, const char *inner)
{
    static struct cn_json *root;
    cn_json_close(root);
    root = NULL;
    if (cn_json_parse(cn_str_text(&reply), "reply", &root) != CN_OK) return "no JSON";
    const struct cn_json *node = cn_json_get(root, outer);
    return cn_json_text(inner ? cn_json_get(node, inner) : node).data;
}

TEST(verl_gets_programs_run_and_told_apart)
{
    static const struct {
        const char *body, *status, *run_status, *out;
    } rows[] = {
        {"{\"code\": \"import sys; print(1); sys.exit(3)\", \"language\": \"python\"}", "Failed",
         "Finished", "1\n"},
        {"{\"code\": \"while True: pass\", \"language\": \"python\", \"run_timeout\": 0.3}",
         "Failed", "TimeLimitExceeded", ""},
        {"{\"code\": \"print(open('a.txt').read())\", \"language\": \"python\", \"files\": "
         "{\"a.txt\": \"aGVsbG8=\"}}",
         "Success", "Finished", "hello\n"},
        {"{\"code\": \"read x; echo $((x * 2))\", \"language\": \"bash\", \"stdin\": \"21\"}",
         "Success", "Finished", "42\n"},
        {"{\"code\": \"x\", \"language\": \"cobol\"}", "SandboxError", "", ""},
        {"{\"code\": \"\", \"language\": \"python\", \"files\": {\"../x\": \"\"}}", "SandboxError",
         "", ""}};
    struct cn_str request = {NULL, 0, 0};
    CHECK_OK(start("{\"workers\": 1}"));
    http_stop(&server, SIGTERM);
    settings.code_workers = 2;
    CHECK_OK(http_start(&settings, &test_scorer, &server));
    CHECK_OK(cn_file_read(CN_TEST_DATA "/service/verl.http", 1 << 20, &request));
    const int fd = http_connect(server.port);
    CHECK(http_send(fd, request.data, request.length));
    CHECK_INT(http_receive(fd, NULL, &reply), 200);
    close(fd);
    cn_str_free(&request);
    if (strcmp(member("status", NULL), "SandboxError") == 0) {
        http_stop(&server, SIGTERM);
        SKIP("programs cannot be isolated here: %s", member("message", NULL));
    }
    CHECK_TEXT(member("run_result", "stdout"), "42\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        CHECK_INT(http_post(server.port, "/run_code", rows[i].body, &reply), 200);
        CHECK_TEXT(member("status", NULL), rows[i].status);
        CHECK_TEXT(member("run_result", "status"), rows[i].run_status);
        CHECK_TEXT(member("run_result", "stdout"), rows[i].out);
    }
    CHECK_INT(http_post(server.port, "/run_code", "{\"language\": \"python\"}", &reply), 400);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* ---- who may ask --------------------------------------------------------- */

TEST(a_token_opens_the_door_in_a_header_or_in_the_path)
{
    char path[] = "/tmp/carnot_token_XXXXXX", json[128];
    const int file = mkstemp(path);
    CHECK(write(file, "  s3cret-token\n", 15) == 15);
    close(file);
    snprintf(json, sizeof json, "{\"workers\": 1, \"token_file\": \"%s\"}", path);
    CHECK_OK(start(json));
    static const struct {
        const char *path, *headers;
        unsigned code;
    } rows[] = {{"/version", "", 401},
                {"/version", "Authorization: Bearer s3cret-token\r\n", 200},
                {"/version", "Authorization: Bearer s3cret-toke\r\n", 401},
                {"/version", "Authorization: Bearer s3cret-token2\r\n", 401},
                {"/version", "Authorization: Bearer \r\n", 401},
                {"/version", "Authorization: Basic s3cret-token\r\n", 401},
                {"/t/s3cret-token/version", "", 200},
                {"/t/s3cret-toket/version", "", 401},
                {"/t//version", "", 401},
                {"/t/s3cret-token", "", 404},
                {"/health", "", 200}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK_INT(http_get(server.port, rows[i].path, rows[i].headers, &reply), rows[i].code);
    CHECK_INT(http_post(server.port, "/t/s3cret-token/rm", "{\"response\": \"5\"}", &reply), 200);
    CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 401);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
    unlink(path);
}

TEST(other_machines_are_let_in_only_on_purpose)
{
    CHECK_FAILS(start("{\"host\": \"0.0.0.0\"}"), CN_ERR_IO, "says nothing");
    CHECK_INT(http_stop(&server, 0), 2);
    CHECK_FAILS(start("{\"token_file\": \"/nonexistent\"}"), CN_ERR_IO, "says nothing");
    CHECK_INT(http_stop(&server, 0), 2);
    CHECK_OK(start("{\"workers\": 1, \"host\": \"0.0.0.0\", \"insecure\": true, \"allow\": "
                   "[\"10.0.0.0/8\"]}"));
    CHECK_INT(http_get(server.port, "/health", "", &reply), 403);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
    CHECK_OK(start("{\"workers\": 1, \"allow\": [\"10.0.0.0/8\", \"127.0.0.0/8\"]}"));
    CHECK_INT(http_get(server.port, "/health", "", &reply), 200);
    CHECK_INT(http_get(server.port, "/health", "Origin: http://evil.example\r\n", &reply), 403);
    CHECK_INT(http_get(server.port, "/v1/score", "", &reply), 405);
    CHECK_INT(http_post(server.port, "/health", "", &reply), 405);
    CHECK_INT(http_get(server.port, "/nothing", "", &reply), 404);
    CHECK_INT(http_get(server.port, "/v1/ping", "", &reply), 200);
    CHECK_TEXT(reply.data, "\"pong\"");
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(a_port_in_use_is_an_error)
{
    CHECK_OK(start("{\"workers\": 1}"));
    struct http_server second;
    settings.port = server.port;
    CHECK_FAILS(http_start(&settings, &test_scorer, &second), CN_ERR_IO, "says nothing");
    CHECK_INT(http_stop(&second, 0), 3);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* ---- sizes --------------------------------------------------------------- */

TEST(bodies_of_64_mib_are_taken_and_larger_ones_refused)
{
    const size_t most = 64u << 20;
    static const char front[] = "{\"items\": [{\"response\": \"5 ", back[] = "\"}]}";
    CHECK_OK(start("{\"workers\": 1}"));
    char *body = malloc(most + 1);
    memset(body, 'x', most + 1);
    memcpy(body, front, sizeof front - 1);
    memcpy(body + most - (sizeof back - 1), back, sizeof back - 1);
    int fd = http_connect(server.port);
    CHECK(http_send_post(fd, "/v1/score", "", (struct cn_text){body, most}));
    CHECK_INT(http_receive(fd, NULL, &reply), 200);
    CHECK(reply.length < 1 << 17); /* the extracted answer is cut */
    close(fd);
    fd = http_connect(server.port);
    http_send_post(fd, "/v1/score", "", (struct cn_text){body, 100}); /* a good one on the way */
    CHECK_INT(http_receive(fd, NULL, &reply), 400);
    static const char big[] =
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 67108865\r\n\r\n";
    http_send(fd, big, sizeof big - 1);
    CHECK_INT(http_receive(fd, NULL, &reply), 413);
    close(fd);
    fd = http_connect(server.port);
    static const char chunked[] =
        "POST /v1/score HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    http_send(fd, chunked, sizeof chunked - 1);
    for (int i = 0; i < 65; i++) {
        http_send(fd, "100000\r\n", 8);
        http_send(fd, body, 1 << 20);
        http_send(fd, "\r\n", 2);
    }
    http_send(fd, "0\r\n\r\n", 5);
    CHECK_INT(http_receive(fd, NULL, &reply), 413);
    close(fd);
    free(body);
    CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 200);
    CHECK_INT(http_metric(server.port, "carnot_buffered_bytes"), 0);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(bodies_in_memory_are_bounded)
{
    CHECK_OK(start("{\"workers\": 1, \"buffer_mb\": 2, \"body_mb\": 2}"));
    const size_t n = 3u << 19;
    char *body = malloc(n);
    memset(body, ' ', n);
    int fd[3];
    for (int i = 0; i < 3; i++) { /* unfinished: the last byte is missing */
        char text[128];
        fd[i] = http_connect(server.port);
        const int h =
            snprintf(text, sizeof text,
                     "POST /rm HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n", n + 18);
        http_send(fd[i], text, (size_t)h);
        http_send(fd[i], body, n);
    }
    http_pause(0.2);
    unsigned good = 0, refused = 0;
    for (int i = 0; i < 3; i++) {
        http_send(fd[i], " {\"response\": \"5\"}", 18);
        const unsigned code = http_receive(fd[i], NULL, &reply);
        good += code == 200;
        refused += code == 503;
        close(fd[i]);
    }
    CHECK_INT(good, 1);
    CHECK_INT(refused, 2);
    free(body);
    CHECK_INT(http_metric(server.port, "carnot_buffered_bytes"), 0);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* ---- connections --------------------------------------------------------- */

TEST(a_thousand_connections_are_answered)
{
    enum { N = 1000 };
    static int fd[N];
    struct rlimit files = {0, 0};
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    if (files.rlim_cur < N + 64) SKIP("only %ld descriptors", (long)files.rlim_cur);
    CHECK_OK(start("{\"workers\": 2}"));
    for (int i = 0; i < N; i++)
        fd[i] = http_connect(server.port);
    int wrong = 0;
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            char body[64];
            snprintf(body, sizeof body, "{\"response\": \"%d\"}", i + round);
            wrong += !http_send_post(fd[i], "/rm", "", cn_text(body));
        }
        for (int i = N; i-- > 0;)
            wrong += http_receive(fd[i], NULL, &reply) != 200 || atoi(reply.data) != i + round;
    }
    CHECK_INT(wrong, 0);
    for (int i = 0; i < N; i++)
        close(fd[i]);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(slow_and_half_open_clients_are_hung_up_on)
{
    CHECK_OK(start("{\"workers\": 1, \"idle_s\": 0.5}"));
    static const char *const beginnings[] = {
        "", "POST /rm HT", "POST /rm HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{\"resp",
        "POST /rm HTTP/1.1\r\nHost: x\r\nContent-Length: 18\r\n\r\n{\"response\": \"5\"}"};
    int fd[4];
    char byte;
    for (int i = 0; i < 4; i++) {
        fd[i] = http_connect(server.port);
        http_send(fd[i], beginnings[i], strlen(beginnings[i]));
    }
    for (int i = 0; i < 20; i++) { /* one byte now and then is not enough; others are served */
        http_pause(0.12);
        send(fd[1], "T", 1, MSG_NOSIGNAL);
        send(fd[2], " ", 1, MSG_NOSIGNAL);
        if (i % 5 == 0)
            CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 200);
    }
    for (int i = 0; i < 3; i++)
        CHECK(recv(fd[i], &byte, 1, MSG_DONTWAIT) <= 0 && errno != EAGAIN);
    CHECK_INT(http_receive(fd[3], NULL, &reply), 0); /* 17 of 18 bytes: never answered */
    for (int i = 0; i < 4; i++)
        close(fd[i]);
    http_pause(0.05);
    CHECK_INT(http_metric(server.port, "carnot_connections"), 1);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(clients_that_leave_early_do_no_harm)
{
    CHECK_OK(start("{\"workers\": 1}"));
    for (int i = 0; i < 50; i++) {
        const int fd = http_connect(server.port);
        http_send_post(fd, "/v1/score", "", cn_text("{\"items\": [{\"response\": \"spin 2\"}]}"));
        close(fd);
    }
    http_pause(0.3);
    CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 200);
    CHECK_INT(http_metric(server.port, "carnot_open_items"), 0);
    CHECK_INT(http_metric(server.port, "carnot_buffered_bytes"), 0);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

TEST(random_bytes_do_no_harm)
{
    uint64_t state = 88172645463325252u;
    CHECK_OK(start("{\"workers\": 1}"));
    for (int round = 0; round < 400; round++) {
        char bytes[700] = "POST /v1/score HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\n";
        const size_t keep = (size_t)(round % 5) * 12;
        for (size_t i = keep; i < sizeof bytes; i++) {
            state ^= state << 13, state ^= state >> 7, state ^= state << 17;
            bytes[i] = (char)(state >> 32);
        }
        const int fd = http_connect(server.port);
        http_send(fd, bytes, sizeof bytes);
        close(fd);
    }
    CHECK_INT(http_post(server.port, "/rm", "{\"response\": \"5\"}", &reply), 200);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

/* Resident KiB of a process. */
static long resident(pid_t pid)
{
    char path[64];
    long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)pid);
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %ld", &pages) != 1) pages = 0;
    if (file) fclose(file);
    return pages * sysconf(_SC_PAGESIZE) / 1024;
}

#if defined(__SANITIZE_ADDRESS__)
static const bool keeps_freed_memory = true;
#else
static const bool keeps_freed_memory = false;
#endif

TEST(memory_stays_flat_over_many_requests)
{
    pid_t worker[2];
    long before[2] = {0, 0};
    int wrong = 0;
    if (keeps_freed_memory) SKIP("the address sanitizer keeps what was freed");
    CHECK_OK(start("{\"workers\": 1, \"cache\": 1024}"));
    const int fd = http_connect(server.port);
    for (int i = 0; i < 30000; i++) {
        char body[64];
        snprintf(body, sizeof body, "{\"response\": \"%d\"}", i);
        http_send_post(fd, "/rm", "", cn_text(body));
        wrong += http_receive(fd, NULL, &reply) != 200 || atoi(reply.data) != i;
        if (i != 5000 && i != 29999) continue;
        CHECK_INT(http_children(server.pid, worker, 2), 1);
        const long now[2] = {resident(server.pid), resident(worker[0])};
        if (i == 5000) memcpy(before, now, sizeof now);
        if (i == 29999)
            for (int k = 0; k < 2; k++)
                if (now[k] > before[k] + 256) CHECK_INT(now[k], before[k]);
    }
    CHECK_INT(wrong, 0);
    close(fd);
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    return service_is_built() ? check_main(argc, argv) : 77;
}
