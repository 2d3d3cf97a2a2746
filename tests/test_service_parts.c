/* Parts of the service that need no network: frames, repairs, hashes, requests, tokens, the crew.
 */
#include "check.h"
#include "service_scorer.h"

#include "rewards/service/auth.h"
#include "rewards/service/frame.h"
#include "rewards/service/memo.h"
#include "rewards/service/request.h"

#include <arpa/inet.h>

static const struct cn_texts specials = {(const char *const[]){"</s>", "<eos>"}, 2};

static bool is(struct cn_text text, const char *expected)
{
    if (cn_text_is(text, expected)) return true;
    printf("  found \"%.*s\", expected \"%s\"\n", (int)text.length, text.data, expected);
    return false;
}

/* ---- frames -------------------------------------------------------------- */

TEST(an_episode_survives_its_frame)
{
    const struct cn_message messages[] = {{"system", {"be brief", 8}}, {"user", {"a\0b", 3}}};
    const struct cn_episode episode = {.prompt = {messages, 2},
                                       .prompt_text = {"p", 1},
                                       .response = {"\xff\0z", 3},
                                       .ground_truth = {"", 0},
                                       .row = {"{}", 2},
                                       .response_tokens = 7,
                                       .max_tokens = 1u << 31,
                                       .stop = CN_STOP_LENGTH};
    struct cn_str frame = {NULL, 0, 0};
    struct cn_arena arena;
    struct cn_episode back;
    cn_arena_init(&arena);
    CHECK_OK(frame_episode(&episode, &frame));
    struct cn_text body = {frame.data + FRAME_HEAD, frame.length - FRAME_HEAD};
    CHECK_OK(frame_read_episode(body, &arena, &back));
    CHECK(cn_text_equal(back.response, episode.response));
    CHECK_INT(back.prompt.count, 2);
    CHECK_TEXT(back.prompt.item[1].role, "user");
    CHECK(cn_text_equal(back.prompt.item[1].content, messages[1].content));
    CHECK_INT(back.stop, CN_STOP_LENGTH);
    CHECK_INT(back.max_tokens, 1u << 31);
    for (size_t n = 0; n < body.length; n++) { /* cut anywhere */
        char *copy = malloc(n + 1);
        memcpy(copy, body.data, n);
        CHECK_FAILS(frame_read_episode((struct cn_text){copy, n}, &arena, &back), CN_ERR_DATA,
                    "frame");
        free(copy);
    }
    cn_arena_free(&arena);
    cn_str_free(&frame);
}

TEST(a_result_survives_its_frame_and_lies_are_found)
{
    struct cn_service_result result = {.score = 0.25,
                                       .reward = -1,
                                       .has_score = true,
                                       .verdict = CN_VERDICT_BUDGET,
                                       .extracted = {"x = 3", 5},
                                       .tier = {"exact", 5},
                                       .ops = 12,
                                       .metric[0] = {{"a/b", 3}, 2.5},
                                       .n_metrics = 1},
                             back;
    struct cn_str frame = {NULL, 0, 0};
    CHECK_OK(frame_result(&result, 1000, &frame));
    struct cn_text body = {frame.data + FRAME_HEAD, frame.length - FRAME_HEAD};
    CHECK_OK(frame_read_result(body, &back));
    CHECK(back.has_score && !back.has_reward && back.score == 0.25);
    CHECK(is(back.extracted, "x = 3"));
    CHECK(is(back.tier, "exact"));
    CHECK(is(back.metric[0].name, "a/b"));
    CHECK_INT(back.verdict, CN_VERDICT_BUDGET);
    /* A worker that somebody has taken over may send anything: every byte, changed. */
    for (size_t i = 0; i < body.length; i++)
        for (int bit = 0; bit < 8; bit++) {
            frame.data[FRAME_HEAD + i] = (char)(frame.data[FRAME_HEAD + i] ^ 1 << bit);
            if (frame_read_result(body, &back) == CN_OK)
                CHECK(back.verdict < CN_VERDICT_COUNT && back.n_metrics <= CN_SERVICE_METRICS_MAX);
            cn_fail_clear();
            frame.data[FRAME_HEAD + i] = (char)(frame.data[FRAME_HEAD + i] ^ 1 << bit);
        }
    result.score = NAN;
    cn_str_clear(&frame);
    CHECK_OK(frame_result(&result, 1000, &frame));
    CHECK_OK(frame_read_result((struct cn_text){frame.data + FRAME_HEAD, frame.length - FRAME_HEAD},
                               &back));
    CHECK(!back.has_score);
    cn_str_free(&frame);
}

/* ---- texts --------------------------------------------------------------- */

TEST(broken_characters_are_repaired_the_same_way_always)
{
#define R "\xEF\xBF\xBD"
    static const char *const rows[][2] = {
        {"plain \\u0041 \\n \\\" \xc3\xa4", "plain \\u0041 \\n \\\" \xc3\xa4"},
        {"\\ud83d\\ude00", "\\ud83d\\ude00"},
        {"\\ud83d x", R " x"},
        {"\\ud83d", R},
        {"\\ude00\\ud83d", R R},
        {"\\ud83d\\ud83d\\ude00", R "\\ud83d\\ude00"},
        {"\\\\ud83d", "\\\\ud83d"},
        {"\xff\xfe", R R},
        {"\xc3", R},
        {"\xe2\x82", R R},
        {"\xed\xa0\x80", R R R},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\xc0\x80", R R},
        {"\\\xff", "\\" R},
        {"\\u12", "\\u12"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cn_str out = {NULL, 0, 0};
        bool changed;
        CHECK_OK(cn_json_repair(cn_text(rows[i][0]), &out, &changed));
        CHECK_TEXT(out.data, rows[i][1]);
        CHECK_INT(changed, strcmp(rows[i][0], rows[i][1]) != 0);
        cn_str_free(&out);
    }
}

TEST(special_tokens_go_from_the_end_only)
{
    static const char *const rows[][2] = {{"18<|im_end|>", "18"},
                                          {"18<|im_end|>\n", "18"},
                                          {"18</s><eos></s>", "18"},
                                          {"18<|a|> <|b|>", "18"},
                                          {"18 \n", "18 \n"},
                                          {"<|im_end|>18", "<|im_end|>18"},
                                          {"a < b |>", "a < b |>"},
                                          {"|>", "|>"},
                                          {"<||>", "<||>"},
                                          {"<|x|>", ""},
                                          {"", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        CHECK(is(request_strip(cn_text(rows[i][0]), specials), rows[i][1]));
}

/* Reference: vectors_sip128 of the SipHash authors' vectors.h; key 00 01 .. 0f, input 00 01 .. */
TEST(the_hash_is_siphash_with_128_bits)
{
    static const unsigned char expected[3][16] = {{0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6,
                                                   0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93},
                                                  {0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44,
                                                   0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45},
                                                  {0x81, 0x77, 0x22, 0x8d, 0xa4, 0xa4, 0x5d, 0xc7,
                                                   0xfc, 0xa3, 0x8b, 0xde, 0xf6, 0x0a, 0xff, 0xe4}};
    const uint64_t secret[2] = {0x0706050403020100u, 0x0f0e0d0c0b0a0908u};
    for (size_t n = 0; n < 3; n++) {
        const struct memo_key key = memo_siphash(secret, (struct cn_text){"\0\1", n});
        for (size_t i = 0; i < 16; i++)
            CHECK_INT(key.word[i / 8] >> (8 * (i % 8)) & 0xff, expected[n][i]);
    }
}

TEST(known_results_make_room_and_pending_ones_stay)
{
    struct memo memo;
    CHECK_OK(memo_open(4, &memo)); /* one set */
    struct memo_key key = {{0, 0}};
    struct memo_entry *pending = memo_reserve(&memo, key);
    for (key.word[1] = 1; key.word[1] < 100; key.word[1]++) {
        struct memo_entry *entry = memo_reserve(&memo, key);
        CHECK(entry != NULL && entry != pending);
        if (entry) memo_settle(entry, (struct cn_text){"result", 6});
    }
    key.word[1] = 0;
    CHECK(memo_find(&memo, key) == pending);
    for (key.word[1] = 97; key.word[1] < 100; key.word[1]++)
        CHECK(memo_find(&memo, key) != NULL);
    key.word[1] = 96;
    CHECK(memo_find(&memo, key) == NULL);
    memo_settle(pending, (struct cn_text){NULL, 0});
    key.word[1] = 0;
    CHECK(memo_find(&memo, key) == NULL);
    for (key.word[1] = 200; key.word[1] < 204; key.word[1]++)
        CHECK(memo_reserve(&memo, key) != NULL);
    CHECK(memo_reserve(&memo, key) == NULL); /* all four are pending */
    memo_close(&memo);
}

/* ---- addresses ----------------------------------------------------------- */

static struct sockaddr_storage address_of(const char *text)
{
    struct sockaddr_storage storage = {.ss_family = AF_INET};
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    if (inet_pton(AF_INET, text, &four.sin_addr) == 1) memcpy(&storage, &four, sizeof four);
    if (inet_pton(AF_INET6, text, &six.sin6_addr) == 1) memcpy(&storage, &six, sizeof six);
    return storage;
}

TEST(addresses_are_compared_by_their_bits)
{
    static const struct {
        const char *range, *address;
        bool inside;
    } rows[] = {{"10.0.0.0/8", "10.255.0.1", true},      {"10.0.0.0/8", "11.0.0.1", false},
                {"10.0.0.0/8", "::ffff:10.1.1.1", true}, {"10.1.2.3", "10.1.2.3", true},
                {"10.1.2.3", "10.1.2.4", false},         {"0.0.0.0/0", "1.2.3.4", true},
                {"0.0.0.0/0", "fd00::1", false},         {"fd00::/8", "fdff::1", true},
                {"fd00::/8", "fe00::1", false},          {"::1", "::1", true},
                {"192.168.4.0/22", "192.168.7.9", true}, {"192.168.4.0/22", "192.168.8.9", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const struct cn_texts allow = {&rows[i].range, 1};
        struct auth auth;
        CHECK_OK(auth_open(NULL, allow, &auth));
        const struct sockaddr_storage who = address_of(rows[i].address);
        if (auth_address(&auth, (const struct sockaddr *)&who) != rows[i].inside)
            CHECK_FAILED("%s in %s", rows[i].address, rows[i].range);
    }
    static const char *const bad[] = {"",        "10.0.0.0/33", "10.0.0/8",  "x",
                                      "::1/129", "1.2.3.4/",    "1.2.3.4/-1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct auth auth;
        CHECK_FAILS(auth_open(NULL, (struct cn_texts){&bad[i], 1}, &auth), CN_ERR_CONFIG,
                    "service.allow.0");
    }
}

/* ---- requests ------------------------------------------------------------ */

TEST(a_prompt_is_cut_from_a_query_and_start_tokens_with_it)
{
    static const char *const rows[][3] = {{"abc", "ab", "c"},
                                          {"<s>abc</s>", "ab", "c"},
                                          {"abc", "", "abc"},
                                          {"abc", "xy", "abc"},
                                          {"ab", "ab", ""}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct cn_str body = {NULL, 0, 0};
        struct service_request *request;
        struct cn_episode episode;
        struct cn_arena arena;
        cn_arena_init(&arena);
        CHECK_OK(cn_str_format(&body,
                               "{\"query\": [\"%s\"], \"prompts\": [\"%s\"], \"labels\": [3]}",
                               rows[i][0], rows[i][1]));
        CHECK_OK(request_read(SERVICE_GET_REWARD, cn_str_text(&body), specials, &request));
        const struct work *work = &request->item[0].work;
        CHECK_OK(frame_read_episode(
            (struct cn_text){work->frame + FRAME_HEAD, work->length - FRAME_HEAD}, &arena,
            &episode));
        CHECK(is(episode.response, rows[i][2]));
        CHECK(is(episode.ground_truth, "3"));
        request_close(request);
        cn_arena_free(&arena);
        cn_str_free(&body);
    }
}

/* ---- the crew ------------------------------------------------------------ */

struct crew_test {
    struct crew *crew;
    struct cn_service_result result[64];
    bool done[64];
    size_t n_done;
};

static void on_done(void *self, struct work *work, struct cn_text body)
{
    struct crew_test *test = self;
    const size_t i = (size_t)(uintptr_t)work->owner;
    frame_read_result(body, &test->result[i]);
    test->done[i] = true;
    test->n_done++;
}

TEST(a_crew_scores_everything_although_its_workers_die)
{
    static struct work work[64];
    static struct cn_str frame[64];
    struct crew_test test = {.crew = NULL};
    const struct crew_setup setup = {.scorer = &test_scorer,
                                     .workers = 2,
                                     .memory = 256u << 20,
                                     .extracted_max = 1000,
                                     .item_timeout_s = 0.3,
                                     .done = on_done,
                                     .self = &test};
    CHECK_OK(crew_open(&setup, &test.crew));
    for (size_t i = 0; i < 64; i++) {
        char text[32];
        const char *word = i % 16 == 3 ? "crash" : i % 16 == 7 ? "loop" : "";
        snprintf(text, sizeof text, "%s %zu", word, i);
        const struct cn_episode episode = {.response = cn_text(*word ? text : text + 1),
                                           .stop = CN_STOP_EOS};
        CHECK_OK(frame_episode(&episode, &frame[i]));
        work[i] = (struct work){
            .frame = frame[i].data, .length = frame[i].length, .owner = (void *)(uintptr_t)i};
        crew_add(test.crew, &work[i]);
    }
    CHECK(crew_cancel(test.crew, &work[63]));
    for (const double begun = http_now(); test.n_done < 63 && http_now() - begun < 20;) {
        CHECK_OK(crew_run(test.crew, http_now()));
        struct pollfd wait = {.fd = crew_fd(test.crew), .events = POLLIN};
        poll(&wait, 1, (int)(1e3 * crew_patience(test.crew, http_now())) + 1);
    }
    CHECK_INT(test.n_done, 63);
    for (size_t i = 0; i < 63; i++) {
        CHECK_INT(test.result[i].verdict, i % 16 == 3   ? CN_VERDICT_CRASHED
                                          : i % 16 == 7 ? CN_VERDICT_TIMEOUT
                                                        : CN_VERDICT_WRONG);
        if (i % 16 != 3 && i % 16 != 7) CHECK_INT(test.result[i].score, i);
    }
    const struct crew_counts counts = crew_counts(test.crew);
    CHECK_INT(counts.crashed, 4);
    CHECK_INT(counts.timed_out, 4);
    CHECK_INT(counts.queued + counts.scoring, 0);
    crew_close(test.crew);
    for (size_t i = 0; i < 64; i++)
        cn_str_free(&frame[i]);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
