/* Replays the fuzzer's corpus of HTTP requests at the service's door, whole, cut and changed: the
 * server neither ends nor stops answering.
 * ctest labels: serial */
#include "check.h"
#include "service_scorer.h"

enum { CHANGES = 120, CUTS = 40 };

static struct http_server server;

static enum cn_status start(void)
{
    static const char *const allow[] = {"127.0.0.0/8"};
    static struct cn_service_settings settings;
    static struct cn_arena arena;
    CN_TRY(cn_option_read(cn_service_options, NULL, "service", NULL, &arena, &settings));
    settings.port = settings.code_workers = 0;
    settings.workers = settings.body_mb = 1;
    settings.idle_s = 1;
    settings.allow = (struct cn_texts){allow, 1};
    return http_start(&settings, &test_scorer, &server);
}

/* Sends bytes as one connection.  code: the status of the first reply, 0 if none came; NULL: the
 * client hangs up behind them. */
static void send_bytes(const char *bytes, size_t length, unsigned *code)
{
    char reply[64] = "";
    const struct timeval most = {10, 0};
    const int fd = http_connect(server.port);
    CHECK(fd >= 0);
    if (fd < 0) return;
    http_send(fd, bytes, length); /* it may hang up before the end */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &most, sizeof most);
    if (code) *code = recv(fd, reply, sizeof reply - 1, 0) > 12 ? (unsigned)atoi(reply + 9) : 0;
    close(fd);
}

static void replay(const struct cn_str *file)
{
    char *bytes = malloc(file->length + 1);
    if (!bytes) {
        CHECK_FAILED("out of memory");
        return;
    }
    for (size_t i = 0; i < CUTS; i++)
        send_bytes(file->data, file->length * i / CUTS, NULL);
    uint64_t state = 0x9E3779B97F4A7C15u + file->length;
    for (size_t i = 0; i < CHANGES; i++) {
        memcpy(bytes, file->data, file->length);
        for (size_t n = 0; n <= i % 4; n++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            bytes[(size_t)(state >> 33) % file->length] = (char)(state >> 20);
        }
        send_bytes(bytes, file->length, NULL);
    }
    free(bytes);
}

TEST(the_door_survives_its_corpus)
{
    static const struct {
        const char *name;
        unsigned code;
    } files[] = {{"bearer", 100},     {"chunked", 200},   {"get_reward", 200},  {"head", 200},
                 {"health", 200},     {"origin", 403},    {"run_code", 200},    {"score", 200},
                 {"token_path", 200}, {"too_large", 413}, {"wrong_method", 405}};
    CHECK_OK(start());
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        struct cn_str file = {0};
        char path[512];
        unsigned code = 0;
        snprintf(path, sizeof path, CN_TEST_DATA "/fuzz/http/%s", files[i].name);
        CHECK_OK(cn_file_read(path, 1 << 20, &file));
        send_bytes(file.data, file.length, &code);
        if (code != files[i].code)
            CHECK_FAILED("%s: %u, expected %u", files[i].name, code, files[i].code);
        replay(&file);
        CHECK_INT(http_get(server.port, "/health", "", NULL), 200);
        cn_str_free(&file);
    }
    CHECK_INT(http_stop(&server, SIGTERM), 0);
}

int main(int argc, char **argv)
{
    return service_is_built() ? check_main(argc, argv) : 77;
}
