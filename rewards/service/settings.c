/* The section `service` of the configuration. */
#include "carnot/service.h"

// clang-format off
#define FIELD(field) .name = #field, .offset = offsetof(struct cn_service_settings, field), .safe_on_resume = true
#define BOOL .kind = CN_OPTION_BOOL
#define INT(low, high) .kind = CN_OPTION_INT, .minimum = low, .maximum = high
#define REAL(low, high) .kind = CN_OPTION_REAL, .minimum = low, .maximum = high
#define TEXTS .kind = CN_OPTION_TEXTS
#define IS .fallback =

const struct cn_option cn_service_options[] = {
    {FIELD(mode), .kind = CN_OPTION_CHOICE, .choices = "in_process spawn urls", IS "\"in_process\"", .help = "where a run's answers are scored: in the program itself, in a service that it starts and stops, or at service.urls"},
    {FIELD(urls), TEXTS, IS "[]", .help = "services to score at: [\"http://127.0.0.1:8080\"]; answers are spread over them"},
    {FIELD(timeout_s), REAL(0.1, 86400), IS "300", .unit = "s", .help = "an answer that no service could score within this time is unscored: left out of training, never a 0"},
    {FIELD(batch), INT(1, 4096), IS "32", .help = "answers in one request of the client"},
    {FIELD(token_file), .kind = CN_OPTION_TEXT, IS "null", .nullable = true, .help = "file with the token that the service asks for and the client shows"},
    {FIELD(host), .kind = CN_OPTION_TEXT, IS "\"127.0.0.1\"", .help = "address to listen at; beyond this machine it needs token_file or insecure"},
    {FIELD(port), INT(0, 65535), IS "8080", .help = "0: any free port"},
    {FIELD(workers), INT(0, 1024), IS "0", .help = "processes that score; 0: one per core"},
    {FIELD(code_workers), INT(0, 1024), IS "2", .help = "programs that /run_code runs at a time; 0: none"},
    {FIELD(code_insecure), BOOL, IS "false", .help = "let /run_code run programs WITHOUT isolation where the machine cannot isolate them"},
    {FIELD(item_timeout_s), REAL(0.05, 3600), IS "10", .unit = "s", .help = "a worker that spends more on one answer is killed; that answer's verdict is timeout"},
    {FIELD(memory_mb), INT(16, 1048576), IS "512", .unit = "MiB", .help = "memory of one worker"},
    {FIELD(queue), INT(1, 1e8), IS "65536", .help = "answers accepted at a time"},
    {FIELD(queue_wait_s), REAL(0, 3600), IS "30", .unit = "s", .help = "how long other frameworks' requests wait for room in the queue; /v1/score is told at once"},
    {FIELD(cache), INT(0, 1e8), IS "65536", .help = "results that are kept; 0: every answer is scored"},
    {FIELD(body_mb), INT(1, 1024), IS "64", .unit = "MiB", .help = "largest request"},
    {FIELD(buffer_mb), INT(1, 1048576), IS "1024", .unit = "MiB", .help = "all requests in memory together"},
    {FIELD(connections), INT(1, 100000), IS "4096", .help = "open connections"},
    {FIELD(idle_s), REAL(0.1, 3600), IS "75", .unit = "s", .help = "time in which a request must come; large bodies have a second more per 16 KiB"},
    {FIELD(stop_s), REAL(0, 86400), IS "60", .unit = "s", .help = "time to finish what was accepted after SIGTERM"},
    {FIELD(unscored), REAL(-1e9, 1e9), IS "0", .help = "what protocols without a word for \"not scored\" are told; counted, and in the header X-Carnot-Unscored"},
    {FIELD(insecure), BOOL, IS "false", .help = "listen beyond this machine without a token"},
    {FIELD(allow), TEXTS, IS "[]", .help = "addresses that may ask: [\"10.0.0.0/8\"]; empty: all"},
    {FIELD(special_tokens), TEXTS, IS "[\"</s>\", \"<eos>\", \"<pad>\", \"<end_of_turn>\"]", .help = "texts cut from the end of answers that come from other frameworks, beside <|...|>"},
    {0}};
// clang-format on
