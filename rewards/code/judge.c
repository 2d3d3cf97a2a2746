/* Running the tests of a program.
 *
 * Programs that read and print: each test is a fresh sandbox; the expected output never enters it.
 * Programs with functions: two sandboxes joined by a stream.  One holds the program and serves
 * calls (solution.py); the other holds the tests and judges (checker.py).  A result counts only
 * behind a secret of 128 random bits that the program's sandbox never holds: ending early, exit
 * code 0 or printing "ok" proves nothing. */
#include "code.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum { SECRET_BYTES = 16, SECRET_TEXT = 2 * SECRET_BYTES + 1 };

static const struct sandbox_limits compiling = {.time_s = 30,
                                                .wall_s = 60,
                                                .memory_mb = 2048,
                                                .disk_mb = 256,
                                                .output_kb = 64 * 1024,
                                                .processes = 16};

/* What an end means for the program's verdict; EXITED is the caller's to judge. */
static enum cn_verdict verdict_of(const struct sandbox_result *result, struct code_result *out)
{
    switch (result->end) {
    case SANDBOX_END_TIME:
    case SANDBOX_END_WALL:
        return CN_VERDICT_TIMEOUT;
    case SANDBOX_END_MEMORY:
    case SANDBOX_END_DISK:
    case SANDBOX_END_OUTPUT:
        return CN_VERDICT_BUDGET;
    case SANDBOX_END_STARVED:
    case SANDBOX_END_BROKEN:
        snprintf(out->why, sizeof out->why, "%s",
                 *result->why ? result->why : sandbox_end_meaning(result->end));
        return CN_VERDICT_CRASHED;
    default:
        return CN_VERDICT_WRONG;
    }
}

/* The first verdict that is not "correct" stays. */
static void settle(struct code_result *out, enum cn_verdict verdict)
{
    if (out->verdict == CN_VERDICT_CORRECT || verdict == CN_VERDICT_CRASHED) out->verdict = verdict;
}

/* ---- programs that read and print ---------------------------------------- */

struct runner {
    struct sandbox *sandbox;
    const struct code_rules *rules;
    const char *argv[4];
    struct sandbox_file file;
    struct code_result *out;
};

/* Compiles to an executable file on standard output; it never touches the host's disk. */
static enum cn_status compile(struct runner *r, const struct code_found *program,
                              struct sandbox_result *result)
{
    const bool cpp = program->language == CODE_CPP;
    static const char *const c[] = {
        "/bin/sh", "-c", "/usr/bin/gcc -O2 -std=gnu17 -w -o a main.c -lm && cat a", NULL};
    static const char *const cxx[] = {
        "/bin/sh", "-c", "/usr/bin/g++ -O2 -std=gnu++17 -w -o a main.cpp && cat a", NULL};
    const struct sandbox_file source = {cpp ? "main.cpp" : "main.c", program->text, false};
    const struct sandbox_job job = {
        .argv = cpp ? cxx : c, .files = &source, .n_files = 1, .limits = compiling};
    CN_TRY(sandbox_run(r->sandbox, &job, 1, result));
    if (result->end != SANDBOX_END_EXITED)
        settle(r->out, verdict_of(result, r->out));
    else if (result->exit_code == 127)
        snprintf(r->out->why, sizeof r->out->why, "there is no /usr/bin/%s", cpp ? "g++" : "gcc"),
            settle(r->out, CN_VERDICT_CRASHED);
    else if (result->exit_code != 0 || !result->out.length)
        settle(r->out, CN_VERDICT_UNPARSABLE);
    r->argv[0] = "./main";
    r->argv[1] = NULL;
    r->file = (struct sandbox_file){"main", cn_str_text(&result->out), true};
    return CN_OK;
}

/* Whether Python could not read the program: it says so last, on a line of its own. */
static bool unreadable(const struct sandbox_result *result)
{
    static const char *const names[] = {"SyntaxError: ", "IndentationError: ", "TabError: "};
    const struct cn_text text = cn_str_text(&result->error);
    const char *last = text.data;
    for (size_t i = 0; i + 1 < text.length; i++)
        if (text.data[i] == '\n') last = text.data + i + 1;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strncmp(last, names[i], strlen(names[i])) == 0) return true;
    return false;
}

static enum cn_status run_test(struct runner *r, struct cn_text input, struct cn_text expected,
                               struct sandbox_result *result)
{
    struct sandbox_job job = {.argv = r->argv,
                              .files = &r->file,
                              .n_files = 1,
                              .input = input,
                              .limits = r->rules->limits};
    CN_TRY(sandbox_run(r->sandbox, &job, 1, result));
    r->out->time_s += result->time_s;
    if (result->end != SANDBOX_END_EXITED)
        settle(r->out, verdict_of(result, r->out));
    else if (result->exit_code != 0)
        settle(r->out, unreadable(result) ? CN_VERDICT_UNPARSABLE : CN_VERDICT_WRONG);
    else if (!code_same(r->rules, cn_str_text(&result->out), expected))
        settle(r->out, CN_VERDICT_WRONG);
    else
        r->out->passed++;
    return CN_OK;
}

static enum cn_status judge_stdio(struct runner *r, const struct code_suite *suite,
                                  struct sandbox_result *result)
{
    const struct cn_json *input = suite->input, *output = suite->output;
    for (size_t i = 0; i < r->out->tests; i++) {
        const struct cn_json *in = suite->paired ? input : cn_json_get(input, "input");
        const struct cn_json *expected = suite->paired ? output : cn_json_get(output, "output");
        CN_TRY(run_test(r, cn_json_text(in), cn_json_text(expected), result));
        bool over = r->out->verdict == CN_VERDICT_CRASHED ||
                    (r->rules->all && r->out->verdict != CN_VERDICT_CORRECT);
        if (over) break;
        input = cn_json_next(input);
        output = cn_json_next(output);
    }
    return CN_OK;
}

/* ---- programs with functions --------------------------------------------- */

static bool make_secret(char out[SECRET_TEXT])
{
    unsigned char bytes[SECRET_BYTES];
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) return false;
    for (size_t i = 0; i < SECRET_BYTES; i++)
        snprintf(out + 2 * i, 3, "%02x", bytes[i]);
    return true;
}

/* Reads the checker's lines; those without the secret are not its own. */
static void read_report(struct cn_text report, const char *secret, struct code_result *out)
{
    bool whole = false, bad = false, unread = false;
    for (const char *at = report.data, *end = at + report.length, *stop; at < end; at = stop + 1) {
        stop = memchr(at, '\n', (size_t)(end - at));
        if (!stop) break; /* a line that was cut off counts for nothing */
        if ((size_t)(stop - at) < SECRET_TEXT || memcmp(at, secret, SECRET_TEXT - 1) != 0) continue;
        const struct cn_text word = {at + SECRET_TEXT, (size_t)(stop - at) - SECRET_TEXT};
        if (word.length > 6 && memcmp(word.data, "tests ", 6) == 0)
            out->tests = (size_t)strtoul(word.data + 6, NULL, 10);
        out->passed += cn_text_is(word, "ok");
        whole = whole || cn_text_is(word, "end") || cn_text_is(word, "fails");
        bad = bad || cn_text_is(word, "bad");
        unread = unread || cn_text_is(word, "unreadable");
    }
    if (bad)
        out->verdict = CN_VERDICT_BAD_GOLD;
    else if (unread)
        out->verdict = CN_VERDICT_UNPARSABLE;
    else if (!whole || out->passed != out->tests || !out->tests)
        out->verdict = CN_VERDICT_WRONG;
}

static enum cn_status judge_program(struct runner *r, const struct code_suite *suite,
                                    const struct code_found *program, struct sandbox_result *result)
{
    char secret[SECRET_TEXT];
    struct cn_str input = {0};
    /* the checker needs no packages: -S makes it start in half the time */
    const char *const argv[2][4] = {{r->rules->python, "-S", "checker.py", NULL},
                                    {r->rules->python, "solution.py", NULL}};
    const struct sandbox_file checker = {"checker.py", cn_text(code_checker), false};
    const struct sandbox_file files[] = {{"solution.py", cn_text(code_solution), false},
                                         {"main.py", program->text, false}};
    struct sandbox_job jobs[2] = {
        {.argv = argv[0], .files = &checker, .n_files = 1, .limits = r->rules->limits},
        {.argv = argv[1], .files = files, .n_files = 2, .limits = r->rules->limits}};
    enum cn_status status = CN_OK;
    if (!make_secret(secret)) return cn_fail(CN_ERR_BUG, "no random bytes: %s", strerror(errno));
    CN_TRY_GOTO(cn_str_format(&input, "%s\n%s\n", secret, r->rules->entry), out);
    CN_TRY_GOTO(cn_str_append(&input, suite->text.data, suite->text.length), out);
    jobs[0].input = cn_str_text(&input);
    jobs[0].limits.wall_s *= 1.5; /* it waits for the program, whose own limit comes first */
    CN_TRY_GOTO(sandbox_run(r->sandbox, jobs, 2, result), out);
    r->out->time_s = result[1].time_s;
    read_report(cn_str_text(&result[0].out), secret, r->out);
    if (r->out->verdict != CN_VERDICT_WRONG) goto out;
    /* Why it is not right: the program's own end first, then that of its checker. */
    for (int i = 1; i >= 0; i--) {
        bool own = result[i].end != SANDBOX_END_STOPPED && result[i].end != SANDBOX_END_EXITED;
        if (!own) continue;
        r->out->verdict = verdict_of(&result[i], r->out);
        break;
    }
out:
    cn_str_free(&input);
    return status;
}

enum cn_status code_judge(struct sandbox *sandbox, const struct code_rules *rules,
                          const struct code_suite *suite, const struct code_found *program,
                          struct code_result *out)
{
    struct sandbox_result result[3] = {0};
    struct runner r = {.sandbox = sandbox,
                       .rules = rules,
                       .argv = {rules->python, "main.py", NULL},
                       .file = {"main.py", program->text, false},
                       .out = out};
    enum cn_status status = CN_OK;
    *out = (struct code_result){.verdict = CN_VERDICT_CORRECT, .tests = suite->n};
    if (rules->tests_max && out->tests > rules->tests_max) out->tests = rules->tests_max;
    if (suite->kind == CODE_PROGRAM)
        status = judge_program(&r, suite, program, result);
    else if (program->language != CODE_PYTHON)
        status = compile(&r, program, &result[2]);
    if (status == CN_OK && suite->kind == CODE_STDIO && out->verdict == CN_VERDICT_CORRECT)
        status = judge_stdio(&r, suite, result);
    for (size_t i = 0; i < 3; i++)
        sandbox_result_free(&result[i]);
    return status;
}
