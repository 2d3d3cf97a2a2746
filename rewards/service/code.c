/* Programs for other people's rewards. */
#include "code.h"

#include "sandbox/sandbox.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { FILES_MAX = SANDBOX_FILES_MAX - 1, BINARY_KB = 1 << 16, OUTPUT_KB = 1 << 10 };
static const double longest_s = 300;

/* How a language is compiled and run; the compiler writes the program to its standard output. */
struct language {
    const char *name, *file;
    const char *const *compile; /* NULL: not compiled */
    const char *const *run;
};

#define WORDS(...)                                                                                 \
    (const char *const[])                                                                          \
    {                                                                                              \
        __VA_ARGS__, NULL                                                                          \
    }
#define COMPILER(line) WORDS("/usr/bin/sh", "-c", line " && cat main")

static const struct language languages[] = {
    {"python", "main.py", NULL, WORDS("/usr/bin/python3", "main.py")},
    {"pytest", "main.py", NULL, WORDS("/usr/bin/python3", "-m", "pytest", "main.py")},
    {"bash", "main.sh", NULL, WORDS("/usr/bin/bash", "main.sh")},
    {"perl", "main.pl", NULL, WORDS("/usr/bin/perl", "main.pl")},
    {"c", "main.c", COMPILER("/usr/bin/gcc -O2 -o main main.c -lm"), WORDS("./main")},
    {"cpp", "main.cpp", COMPILER("/usr/bin/g++ -std=c++17 -O2 -o main main.cpp"), WORDS("./main")}};

/* ---- reading ------------------------------------------------------------- */

enum cn_status code_read(const struct cn_json *body, struct cn_arena *arena, struct cn_episode *out)
{
    static const char *const kept[] = {"compile_timeout", "run_timeout", "memory_limit_MB", "files",
                                       "fetch_files"};
    const struct cn_json *code = cn_json_get(body, "code"),
                         *language = cn_json_get(body, "language");
    struct cn_str row = {NULL, 0, 0};
    char *copy = NULL;
    if (cn_json_kind(code) != CN_JSON_TEXT || cn_json_kind(language) != CN_JSON_TEXT)
        return cn_fail(CN_ERR_DATA,
                       "the body must be {\"code\": \"...\", \"language\": \"python\", \"stdin\": "
                       "\"...\", \"compile_timeout\": s, \"run_timeout\": s}");
    enum cn_status status = cn_episode_set(language, code, cn_json_get(body, "stdin"), arena, out);
    for (size_t i = 0; i < sizeof kept / sizeof *kept && status == CN_OK; i++) {
        status = cn_str_format(&row, "%s\"%s\": ", i ? ", " : "{", kept[i]);
        if (status == CN_OK) status = cn_json_print(cn_json_get(body, kept[i]), false, &row);
    }
    if (status == CN_OK) status = cn_str_add(&row, "}");
    if (status == CN_OK) status = cn_arena_text(arena, row.data, row.length, &copy);
    if (status == CN_OK) out->row = (struct cn_text){copy, row.length};
    cn_str_free(&row);
    return status;
}

/* What a worker needs of a request. */
struct order {
    const struct language *language;
    double compile_s, run_s, memory_mb;
    struct sandbox_file file[FILES_MAX + 1];
    size_t n_files;
};

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z') return c - 'A';
    if (c >= 'a' && c <= 'z') return c - 'a' + 26;
    if (c >= '0' && c <= '9') return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* RFC 4648, section 4; line breaks are skipped. */
static enum cn_status base64(struct cn_text text, struct cn_arena *arena, struct cn_text *out)
{
    char *bytes;
    uint32_t bits = 0;
    size_t n = 0, digits = 0;
    CN_TRY(cn_arena_alloc(arena, text.length / 4 * 3 + 3, 1, &bytes));
    for (size_t i = 0; i < text.length; i++) {
        const int digit = base64_digit(text.data[i]);
        if (digit < 0 && strchr("=\r\n", text.data[i])) continue;
        if (digit < 0) return cn_fail(CN_ERR_DATA, "a file that is not base64");
        bits = bits << 6 | (uint32_t)digit;
        if (++digits % 4 != 1) bytes[n++] = (char)(bits >> (6 - 2 * ((digits - 1) % 4)));
    }
    *out = (struct cn_text){bytes, n};
    return CN_OK;
}

static enum cn_status read_files(const struct cn_json *files, struct cn_arena *arena,
                                 struct order *order)
{
    for (const struct cn_json *f = cn_json_first(files); f; f = cn_json_next(f)) {
        struct sandbox_file *file = &order->file[order->n_files];
        char *name;
        const char *key = cn_json_key(f);
        if (order->n_files > FILES_MAX)
            return cn_fail(CN_ERR_DATA, "more than %d files", FILES_MAX);
        if (!*key || strchr(key, '/') || strcmp(key, "..") == 0 || strcmp(key, ".") == 0)
            return cn_fail(CN_ERR_DATA, "file \"%.100s\": names without slashes only", key);
        if (strcmp(key, order->file[0].name) == 0)
            return cn_fail(CN_ERR_DATA, "file \"%s\" is the program's own", key);
        CN_TRY(cn_arena_text(arena, key, strlen(key), &name));
        file->name = name;
        CN_TRY(base64(cn_json_text(f), arena, &file->data));
        order->n_files++;
    }
    return CN_OK;
}

static double seconds_of(const struct cn_json *row, const char *key)
{
    const struct cn_json *value = cn_json_get(row, key);
    const double s = cn_json_kind(value) == CN_JSON_NUMBER ? cn_json_number(value) : 10;
    return fmin(fmax(s, 0.1), longest_s);
}

static enum cn_status read_order(const struct cn_episode *episode, struct cn_arena *arena,
                                 struct order *order)
{
    struct cn_json *row = NULL;
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++)
        if (cn_text_is(episode->prompt_text, languages[i].name)) order->language = &languages[i];
    if (!order->language)
        return cn_fail(CN_ERR_DATA,
                       "language \"%.*s\" is not supported; python, pytest, bash, perl, c and cpp "
                       "are",
                       episode->prompt_text.length < 40 ? (int)episode->prompt_text.length : 40,
                       episode->prompt_text.data);
    CN_TRY(cn_json_parse(episode->row, "limits", &row));
    order->compile_s = seconds_of(row, "compile_timeout");
    order->run_s = seconds_of(row, "run_timeout");
    order->memory_mb = cn_json_number(cn_json_get(row, "memory_limit_MB"));
    order->file[0] = (struct sandbox_file){order->language->file, episode->response, false};
    order->n_files = 1;
    enum cn_status status = read_files(cn_json_get(row, "files"), arena, order);
    if (status == CN_OK && cn_json_count(cn_json_get(row, "fetch_files")))
        status = cn_fail(CN_ERR_DATA, "fetch_files is not supported");
    cn_json_close(row);
    return status;
}

/* ---- running ------------------------------------------------------------- */

static struct sandbox_limits limits_of(double time_s, double memory_mb)
{
    struct sandbox_limits limits = sandbox_limits_default;
    limits.time_s = time_s;
    limits.wall_s = time_s + 1;
    limits.output_kb = OUTPUT_KB;
    if (memory_mb >= 1 && memory_mb < (double)limits.memory_mb)
        limits.memory_mb = (size_t)memory_mb;
    return limits;
}

static bool machine_failed(const struct sandbox_result *r)
{
    return r->end == SANDBOX_END_BROKEN || r->end == SANDBOX_END_STARVED;
}

/* The word for how a job ended: a program that hits a limit other than time has failed by itself.
 */
static const char *status_word(const struct sandbox_result *r)
{
    if (machine_failed(r)) return "Error";
    return r->end == SANDBOX_END_TIME || r->end == SANDBOX_END_WALL ? "TimeLimitExceeded"
                                                                    : "Finished";
}

static bool succeeded(const struct sandbox_result *r)
{
    return r->end == SANDBOX_END_EXITED && r->exit_code == 0;
}

/* {"status": ..., "execution_time": ..., "return_code": ..., "stdout": ..., "stderr": ...} or null
 */
static enum cn_status write_result(const struct sandbox_result *r, bool with_output,
                                   struct cn_str *out)
{
    const int killed = 128 + 9;
    const bool limit = r && r->end != SANDBOX_END_EXITED;
    if (!r) return cn_str_add(out, "null");
    CN_TRY(cn_str_format(out, "{\"status\": \"%s\", \"execution_time\": %.6f, \"return_code\": ",
                         status_word(r), r->wall_s));
    CN_TRY(cn_str_format(out, "%d, \"stdout\": ", limit ? killed : r->exit_code));
    CN_TRY(cn_json_quote(out, with_output ? cn_str_text(&r->out) : cn_text("")));
    CN_TRY(cn_str_add(out, ", \"stderr\": "));
    struct cn_str error = {NULL, 0, 0};
    enum cn_status status = cn_str_append(&error, r->error.data, r->error.length);
    if (status == CN_OK && limit)
        status = cn_str_format(&error, "\n[%s%s%s]", sandbox_end_meaning(r->end),
                               r->why[0] ? ": " : "", r->why);
    if (status == CN_OK) status = cn_json_quote(out, cn_str_text(&error));
    cn_str_free(&error);
    return status == CN_OK ? cn_str_add(out, "}") : status;
}

static enum cn_status write_reply(const struct sandbox_result *compiled,
                                  const struct sandbox_result *ran, struct cn_str *out)
{
    const bool broken = (compiled && machine_failed(compiled)) || (ran && machine_failed(ran));
    const bool good = (!compiled || succeeded(compiled)) && ran && succeeded(ran);
    CN_TRY(cn_str_format(out, "{\"status\": \"%s\", \"message\": \"\", \"compile_result\": ",
                         broken ? "SandboxError"
                         : good ? "Success"
                                : "Failed"));
    CN_TRY(write_result(compiled, false, out));
    CN_TRY(cn_str_add(out, ", \"run_result\": "));
    CN_TRY(write_result(ran, true, out));
    return cn_str_add(out, ", \"executor_pod_name\": null, \"files\": {}}");
}

enum cn_status code_reply_error(struct cn_str *out, const char *message)
{
    CN_TRY(cn_str_add(out, "{\"status\": \"SandboxError\", \"message\": "));
    CN_TRY(cn_json_quote(out, cn_text(message)));
    return cn_str_add(out, ", \"compile_result\": null, \"run_result\": null, "
                           "\"executor_pod_name\": null, \"files\": {}}");
}

static enum cn_status run_order(struct sandbox *sandbox, struct order *order,
                                const struct cn_episode *episode, struct cn_str *out)
{
    struct sandbox_result compiled = {.exit_code = 0}, ran = {.exit_code = 0};
    const struct language *language = order->language;
    enum cn_status status = CN_OK;
    if (language->compile) {
        struct sandbox_job job = {.argv = language->compile,
                                  .files = order->file,
                                  .n_files = order->n_files,
                                  .input = {"", 0},
                                  .limits = limits_of(order->compile_s, 0)};
        job.limits.output_kb = BINARY_KB;
        CN_TRY_GOTO(sandbox_run(sandbox, &job, 1, &compiled), out);
        order->file[0] = (struct sandbox_file){"main", cn_str_text(&compiled.out), true};
    }
    if (!language->compile || succeeded(&compiled)) {
        const struct sandbox_job job = {.argv = language->run,
                                        .files = order->file,
                                        .n_files = order->n_files,
                                        .input = episode->ground_truth,
                                        .limits = limits_of(order->run_s, order->memory_mb)};
        CN_TRY_GOTO(sandbox_run(sandbox, &job, 1, &ran), out);
        status = write_reply(language->compile ? &compiled : NULL, &ran, out);
    } else {
        status = write_reply(&compiled, NULL, out);
    }
out:
    sandbox_result_free(&compiled);
    sandbox_result_free(&ran);
    return status;
}

/* The reply as the item's `extracted`; what cannot be run is answered, not failed. */
static enum cn_status score_code(void *self, const struct cn_episode *episode,
                                 struct cn_arena *arena, struct cn_service_result *out)
{
    struct order order = {.language = NULL};
    struct cn_str reply = {NULL, 0, 0};
    char *copy = NULL;
    enum cn_status status = read_order(episode, arena, &order);
    if (status == CN_OK) {
        status = run_order(self, &order, episode, &reply);
    } else if (status == CN_ERR_DATA) {
        status = code_reply_error(&reply, cn_fail_message());
        cn_fail_clear();
    }
    if (status == CN_OK) status = cn_arena_text(arena, reply.data, reply.length, &copy);
    if (status == CN_OK)
        *out = (struct cn_service_result){.verdict = CN_VERDICT_UNSCORED,
                                          .extracted = {copy, reply.length}};
    cn_str_free(&reply);
    return status;
}

enum cn_status code_open(bool insecure, const struct cn_service_scorer **out, struct cn_str *why)
{
    static struct cn_service_scorer scorer;
    struct sandbox *sandbox;
    const struct sandbox_settings settings = {.insecure = insecure};
    *out = NULL;
    if (sandbox_open(&settings, &sandbox) != CN_OK) {
        CN_TRY(cn_str_add(why, cn_fail_message()));
        cn_fail_clear();
        return CN_OK;
    }
    scorer = (struct cn_service_scorer){
        .self = sandbox, .score = score_code, .rules = "[]", .starts_programs = true};
    *out = &scorer;
    return CN_OK;
}
