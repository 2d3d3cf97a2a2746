/* The commands show and grade, run as a user runs them. */
#include "check.h"

#include "carnot/str.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* Runs `carnot ARGUMENTS < input` and returns its standard output and exit code; standard error
 * goes with it. */
static int carnot(const char *arguments, const char *input, struct cn_str *out)
{
    char path[] = "/tmp/carnot_test_show_XXXXXX", command[1024], buffer[4096];
    int fd = mkstemp(path);
    if (fd < 0 || write(fd, input, strlen(input)) != (ssize_t)strlen(input)) return -1;
    close(fd);
    snprintf(command, sizeof command, "LC_ALL=C %s/carnot %s < %s 2>&1", CN_TEST_BIN, arguments,
             path);
    FILE *pipe = popen(command, "r");
    if (!pipe) return -1;
    cn_str_clear(out);
    for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;)
        if (cn_str_append(out, buffer, n) != CN_OK) break;
    int status = pclose(pipe);
    unlink(path);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

#define CHECK_HAS(str, part)                                                                       \
    ((str).data && strstr((str).data, part)                                                        \
         ? (void)0                                                                                 \
         : (void)CHECK_FAILED("\"%s\" lacks \"%s\"", (str).data, part))

TEST(grade_answers_every_row_and_goes_on_after_a_bad_one)
{
    struct cn_str out = {NULL, 0, 0};
    int code = carnot("grade --reward exact_answer --policy=auto --wrong -1",
                      "{\"id\": 7, \"response\": \"#### 1,000\", \"ground_truth\": \"1000\"}\n"
                      "{\"id\": [1], \"response\": \"3 or 4\", \"ground_truth\": 4}\n"
                      "not json\n"
                      "{\"id\": null, \"response\": \"4\"}\n"
                      "{\"response\": \"\", \"ground_truth\": \"?\", \"prompt\": [{\"role\": "
                      "\"user\", \"content\": \"q\"}]}\n"
                      "{\"response\": \"4\", \"ground_truth\": \" \"}\n",
                      &out);
    CHECK_INT(code, 3);
    CHECK_HAS(out, "{\"id\": 7, \"score\": 1, \"verdict\": \"correct\", \"extracted\": \"1000\", "
                   "\"metrics\": {\"hedged\": 0}}\n");
    CHECK_HAS(out, "{\"id\": [1], \"score\": -1, \"verdict\": \"wrong\", \"extracted\": \"4\", "
                   "\"metrics\": {\"hedged\": 1}}\n");
    CHECK_HAS(out, "\"error\": {\"kind\": ");
    CHECK_HAS(out, "no \\\"ground_truth\\\"");
    CHECK_HAS(
        out, "{\"score\": -1, \"verdict\": \"no_answer\", \"extracted\": null, \"metrics\": {}}\n");
    CHECK_HAS(out, "{\"score\": null, \"verdict\": \"bad_gold\"");
    code = carnot("grade --reward length --form overlong --buffer 4",
                  "{\"response\": \"x\", \"response_tokens\": 9, \"max_tokens\": 10}\n", &out);
    CHECK_INT(code, 0);
    CHECK_HAS(out, "\"score\": -0.75");
    cn_str_free(&out);
}

TEST(an_id_is_copied_as_it_is_written_and_so_is_a_long_number)
{
    struct cn_str out = {NULL, 0, 0};
    int code = carnot(
        "grade --reward exact_answer",
        "{\"response\": \"#### 9007199254740993\", \"ground_truth\": "
        "9007199254740993, \"id\": 9007199254740993}\n"
        "{\"id\":{\"a\": [1.0, 1e2,\"\\u00e9\\/\"] },\"response\": \"#### 9007199254740992\", "
        "\"ground_truth\": 9007199254740993}\n"
        "{\"id\": -0.10, \"response\": 5}\n",
        &out);
    CHECK_INT(code, 3);
    CHECK_HAS(out, "{\"id\": 9007199254740993, \"score\": 1, \"verdict\": \"correct\"");
    CHECK_HAS(out,
              "{\"id\": {\"a\": [1.0, 1e2,\"\\u00e9\\/\"] }, \"score\": 0, \"verdict\": \"wrong\"");
    CHECK_HAS(out, "{\"id\": -0.10, \"error\"");
    CHECK_HAS(out, "no text \\\"response\\\"");
    cn_str_free(&out);
}

TEST(fields_of_the_wrong_kind_are_errors_of_their_row)
{
    static const struct {
        const char *row, *message;
    } bad[] = {
        {"{\"response\": \"1\", \"ground_truth\": \"1\", \"stop\": 1}",
         "\\\"stop\\\" must be a text"},
        {"{\"response\": \"1\", \"ground_truth\": \"1\", \"prompt\": 1}",
         "\\\"prompt\\\" must be a text or"},
        {"{\"response\": \"1\", \"ground_truth\": \"1\", \"max_tokens\": \"9\"}",
         "expected a whole number"},
    };
    struct cn_str out = {NULL, 0, 0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(carnot("grade --reward exact_answer", bad[i].row, &out), 3);
        CHECK_HAS(out, bad[i].message);
    }
    cn_str_free(&out);
}

TEST(grade_refuses_what_it_does_not_know)
{
    static const struct {
        const char *arguments, *message;
    } bad[] = {
        {"grade", "--reward NAME"},
        {"grade --reward exact", "there are exact_answer, code_tests"},
        {"grade --reward exact_answer --polic boxed", "nearest is \"policy\""},
        {"grade --reward exact_answer --policy bxed", "policy"},
        {"grade --reward exact_answer --policy", "needs a value"},
        {"grade --reward exact_answer rows.jsonl", "standard input"},
    };
    struct cn_str out = {NULL, 0, 0};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        CHECK_INT(carnot(bad[i].arguments, "", &out), 2);
        CHECK_HAS(out, bad[i].message);
    }
    cn_str_free(&out);
}

/* ---- show ---------------------------------------------------------------- */

static char folder[64];

static void write_file(const char *name, const char *text)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    if (!file) return;
    fputs(text, file);
    fclose(file);
}

static int show(const char *flags, struct cn_str *out)
{
    char arguments[256];
    snprintf(arguments, sizeof arguments, "show %s %s", folder, flags);
    return carnot(arguments, "", out);
}

static void make_run(void)
{
    char path[128];
    strcpy(folder, "/tmp/carnot_test_run_XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/samples", folder);
    CHECK(cn_folder_make(path) == CN_OK);
    write_file("STATUS.json", "{\"state\": \"running\", \"step\": 3, \"objective\": 0.5, \"best\": "
                              "null, \"exit_code\": 0, \"message\": \"\"}");
    write_file("config.resolved.json", "{\"train\": {\"steps\": 40}}");
    write_file("metrics.jsonl",
               "{\"step\": 0, \"eval/test/pass@1\": 0.1}\n"
               "{\"step\": 1, \"reward/mean\": 0.25, \"policy/entropy\": 2}\n"
               "\n{\"step\": 2, \"rew\n[1]\n\xff\xfe\n"
               "{\"step\": 3, \"reward/mean\": 0.75, \"policy/entropy\": 1, \"odd\\u001b[2J\": 5}\n"
               "{\"step\": 4, \"eval/test/pass@1\": 0.9}\n{\"step\": 5, \"reward/me");
    write_file("samples/step_000001.jsonl", "{\"prompt\": \"old\", \"response\": \"old\"}\n");
    write_file("samples/step_000003.jsonl",
               "{\"prompt\": \"12+7=\", \"response\": \"19\\u001b[31m\\u009bred\\nsecond\", "
               "\"ground_truth\": \"19\", \"score\": 1}\n"
               "{\"prompt\": \"1+1=\", \"response\": \"3\", \"score\": 0}\n"
               "{\"prompt\": \"half");
}

static void remove_run(void)
{
    char command[128];
    snprintf(command, sizeof command, "rm -r %s", folder);
    CHECK_INT(system(command), 0);
}

TEST(show_draws_a_running_run_with_damaged_lines)
{
    struct cn_str out = {NULL, 0, 0};
    make_run();
    CHECK_INT(show("", &out), 0);
    CHECK_HAS(out, "running, step 3 of 40");
    CHECK_HAS(out, "objective  0.5");
    CHECK_HAS(out, "reward/mean   last 0.75");
    CHECK_HAS(out, "policy/entropy   last 1");
    CHECK_HAS(out, "eval/test/pass@1   last 0.9");
    CHECK_HAS(out, "last metrics\n  step                                 3\n");
    CHECK_HAS(out, "4 lines of metrics.jsonl cannot be read");
    CHECK(strchr(out.data, '\x1b') == NULL); /* nothing of the run commands the terminal */
    cn_str_free(&out);
    remove_run();
}

TEST(show_draws_the_losses_of_a_supervised_run)
{
    struct cn_str out = {NULL, 0, 0};
    make_run();
    write_file("STATUS.json", "{\"command\": \"sft\", \"state\": \"running\", \"step\": 2}");
    write_file("config.resolved.json", "{\"train\": {\"steps\": 40}, \"sft\": {\"steps\": 9}}");
    write_file("metrics.jsonl", "{\"step\": 0, \"sft/validation_loss\": 3}\n"
                                "{\"step\": 1, \"sft/loss\": 2.5}\n"
                                "{\"step\": 2, \"sft/loss\": 1.5, \"sft/validation_loss\": 2}\n");
    CHECK_INT(show("", &out), 0);
    CHECK_HAS(out, "running, step 2 of 9");
    CHECK_HAS(out, "sft/loss   last 1.5");
    CHECK_HAS(out, "sft/validation_loss   last 2");
    CHECK(strstr(out.data, "reward/mean") == NULL);
    cn_str_free(&out);
    remove_run();
}

TEST(show_prints_answers_of_a_step_without_control_characters)
{
    struct cn_str out = {NULL, 0, 0};
    make_run();
    CHECK_INT(show("--step last", &out), 0);
    CHECK_HAS(out, "step 3\n");
    CHECK_HAS(out, "--- 1  score 1\n");
    CHECK_HAS(out, "response     19?[31m?red\n             second\n");
    CHECK_HAS(out, "--- 2  score 0\n");
    CHECK_HAS(out, "1 damaged lines");
    CHECK_INT(show("--n 1", &out), 0);
    CHECK(strstr(out.data, "--- 2") == NULL);
    CHECK_INT(show("--step 1", &out), 0);
    CHECK_HAS(out, "response     old");
    CHECK_INT(show("--step 2", &out), 3);
    CHECK_HAS(out, "no answers of step 2");
    CHECK_INT(show("--step x", &out), 2);
    CHECK_INT(show("--n 0", &out), 2);
    CHECK_INT(show("--frobnicate", &out), 2);
    cn_str_free(&out);
    remove_run();
}

TEST(show_survives_an_empty_folder_and_refuses_a_missing_one)
{
    struct cn_str out = {NULL, 0, 0};
    make_run();
    write_file("STATUS.json", "{\"state\": \"run");
    write_file("metrics.jsonl", "");
    CHECK_INT(show("", &out), 0);
    CHECK_HAS(out, "state unknown");
    CHECK_HAS(out, "reward/mean: no values yet");
    CHECK_INT(carnot("show /nonexistent/run", "", &out), 3);
    CHECK_HAS(out, "no run folder /nonexistent/run");
    CHECK_INT(carnot("show", "", &out), 2);
    cn_str_free(&out);
    remove_run();
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
