/* carnot gradient as a filter: the same numbers as the functions, and clear errors. */
#include "check.h"
#include "fixtures.h"

#include "carnot/json.h"
#include "carnot/str.h"

#include <stdlib.h>
#include <unistd.h>

/* Runs `carnot gradient ARGUMENTS` on `input`; out gets standard output.  Returns the exit code. */
static int run_gradient(const char *arguments, const char *input, struct cn_str *out)
{
    char name[] = "/tmp/test_gradient_XXXXXX", command[1024], piece[4096];
    int descriptor = mkstemp(name);
    FILE *file = descriptor < 0 ? NULL : fdopen(descriptor, "w");
    if (!file) return -1;
    fputs(input, file);
    fclose(file);
    snprintf(command, sizeof command, "%s/carnot gradient %s < %s 2>/dev/null", CN_TEST_BIN,
             arguments, name);
    cn_str_clear(out);
    FILE *pipe = popen(command, "r");
    for (size_t n; pipe && (n = fread(piece, 1, sizeof piece, pipe)) > 0;)
        if (cn_str_append(out, piece, n) != CN_OK) break;
    int status = pipe ? pclose(pipe) : -1;
    unlink(name);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static enum cn_status put_array(struct cn_str *out, const char *key, const double *values,
                                const struct cn_batch *b, size_t s)
{
    CN_TRY(cn_str_format(out, ", \"%s\": [", key));
    for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++) {
        if (t > b->seq_start[s]) CN_TRY(cn_str_add(out, ", "));
        CN_TRY(cn_json_real(out, b->role[t] == CN_ROLE_POLICY ? values[t] : (double)NAN, 17));
    }
    return cn_str_add(out, "]");
}

/* A fixture as an input row. */
static enum cn_status put_row(struct cn_str *out, const struct fixture *f)
{
    const struct cn_batch *b = &f->batch;
    CN_TRY(cn_str_add(out, "{\"id\": [7, \"b0\"], \"sequences\": ["));
    for (size_t s = 0; s < b->n_sequences; s++) {
        CN_TRY(cn_str_format(out, "%s{\"group\": %u, \"reward\": %g, \"role\": [", s ? ", " : "",
                             b->group[s], b->reward[s]));
        for (size_t t = b->seq_start[s]; t < b->seq_start[s + 1]; t++)
            CN_TRY(cn_str_format(out, "%s%d", t > b->seq_start[s] ? ", " : "", b->role[t]));
        CN_TRY(cn_str_add(out, "]"));
        CN_TRY(put_array(out, "logp_old", b->logp_old, b, s));
        CN_TRY(put_array(out, "logp_sampled", b->logp_sampled, b, s));
        CN_TRY(put_array(out, "logp_ref", b->logp_ref, b, s));
        CN_TRY(put_array(out, "entropy_old", b->entropy_old, b, s));
        CN_TRY(put_array(out, "value_old", b->value_old, b, s));
        CN_TRY(put_array(out, "logp_new", f->live.logp, b, s));
        CN_TRY(put_array(out, "entropy_new", f->live.entropy, b, s));
        CN_TRY(put_array(out, "entropy_top_new", f->live.entropy_top, b, s));
        CN_TRY(put_array(out, "value_new", f->live.value, b, s));
        CN_TRY(cn_str_add(out, "}"));
    }
    return cn_str_add(out, "]}\n");
}

/* Numbers of all sequences' arrays `key`, end to end; returns how many. */
static size_t read_arrays(const struct cn_json *row, const char *key, double *out, size_t limit)
{
    size_t n = 0;
    const struct cn_json *s = cn_json_first(cn_json_get(row, "sequences"));
    for (; s; s = cn_json_next(s))
        for (const struct cn_json *v = cn_json_first(cn_json_get(s, key)); v && n < limit;
             v = cn_json_next(v))
            out[n++] = cn_json_number(v);
    return n;
}

TEST(the_filter_gives_the_numbers_of_the_functions)
{
    static const struct {
        const char *algorithm, *entropy, *arguments;
    } cases[] = {
        {"\"grpo\"", NULL, "algorithm=grpo"},
        {"{\"type\": \"dapo\", \"shaping\": [], \"correction\": \"truncate\"}", "\"bonus\"",
         "algorithm=dapo 'algorithm.shaping=[]' algorithm.correction=truncate entropy=bonus"},
        {"\"dr_grpo\"", NULL, "algorithm=dr_grpo rollout.max_tokens=8"},
        {"{\"type\": \"ppo\", \"kl\": {\"type\": \"k1\", \"coefficient\": 0.1}}", NULL,
         "algorithm=ppo algorithm.kl=k1 algorithm.kl.coefficient=0.1 --split 1"},
        {"{\"ratio\": \"seq_geo\", \"surrogate\": {\"clip_low\": 0.05, \"clip_high\": 0.06}, "
         "\"kl\": {\"type\": \"k3\", \"coefficient\": 0.1, \"importance\": true}}",
         "[{\"type\": \"restricted_bonus\", \"coefficient\": 0.25}]",
         "algorithm.ratio=seq_geo algorithm.surrogate.clip_low=0.05 "
         "algorithm.surrogate.clip_high=0.06 algorithm.kl=k3 algorithm.kl.coefficient=0.1 "
         "algorithm.kl.importance=true 'entropy.methods=[\"restricted_bonus\"]' "
         "entropy.restricted_bonus.coefficient=0.25 --split=2"},
        {"{\"advantage\": \"gae\", \"critic\": \"clipped\"}", NULL,
         "algorithm.advantage=gae algorithm.critic=clipped"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fixture f;
        struct cn_str input = {0}, output = {0};
        struct cn_json *row;
        double found[64];
        fixture_open(&f);
        CHECK_OK(fixture_b0(&f));
        CHECK_OK(put_row(&input, &f));
        CHECK_OK(fixture_run(&f, cases[i].algorithm, cases[i].entropy));
        CHECK_INT(run_gradient(cases[i].arguments, input.data, &output), 0);
        CHECK_OK(cn_json_parse(cn_str_text(&output), "output", &row));
        CHECK_INT(cn_json_count(cn_json_get(row, "id")), 2);
        CHECK_NEAR(cn_json_number(cn_json_get(row, "loss")), f.grad.loss, 1e-15);
        CHECK_INT(read_arrays(row, "advantage", found, 64), FIXTURE_B0_TOKENS);
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            CHECK_NEAR(found[t], f.batch.advantage[t], 0);
        CHECK_INT(read_arrays(row, "correction", found, 64), FIXTURE_B0_TOKENS);
        for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)
            CHECK_NEAR(found[t], f.batch.correction[t], 0);
#define X(name, text)                                                                              \
    CHECK_INT(read_arrays(row, "d_" #name, found, 64), FIXTURE_B0_TOKENS);                         \
    for (size_t t = 0; t < FIXTURE_B0_TOKENS; t++)                                                 \
        CHECK_NEAR(found[t], f.grad.d_##name[t], 0);
        CN_LIVE(X)
#undef X
        cn_json_close(row);
        cn_str_free(&input);
        cn_str_free(&output);
        fixture_close(&f);
    }
}

/* One sequence group that is enough for errors. */
#define ROW(more)                                                                                  \
    "{\"id\": 1, \"sequences\": [{\"group\": 0, \"reward\": 1, \"role\": [0, 1], \"logp_old\": "   \
    "[null, -1]" more "}, {\"group\": 0, \"reward\": 0, \"role\": [0, 1], \"logp_old\": [null, "   \
    "-2]" more "}]}\n"

TEST(a_bad_row_is_answered_and_the_next_one_still_computed)
{
    static const struct {
        const char *arguments, *row, *message;
    } cases[] = {
        {"algorithm.kl=k3", ROW(""), "which algorithm.kl=k3 reads"},
        {"entropy=bonus", ROW(""), "entropy_new"},
        {"algorithm.correction=truncate", ROW(""), "logp_sampled"},
        {"algorithm.anchor=sampled", ROW(""), "algorithm.anchor=sampled"},
        {"", ROW(", \"logp_new\": [0, null]"), "its role is 1"},
        {"", ROW(", \"logp_new\": [0]"), "list of 2 numbers"},
        {"", ROW(", \"logp_nwe\": [0, 0]"), "unknown key"},
        {"", ROW(", \"part\": \"mian\""), "mian"},
        {"", "{\"sequences\": [{\"role\": [1], \"reward\": 1}]}\n", "group"},
        {"", "{\"sequences\": [{\"role\": [3], \"reward\": 1, \"group\": 0}]}\n", "role"},
        {"", "{\"sequences\": 3}\n", "list of objects"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct cn_str input = {0}, output = {0};
        CHECK_OK(cn_str_format(&input, "%s%s", cases[i].row,
                               "{\"sequences\": [{\"group\": 0, \"reward\": 1, \"role\": [1], "
                               "\"logp_old\": [-1], \"logp_new\": [-1], \"logp_sampled\": [-1], "
                               "\"logp_ref\": [-1], \"entropy_new\": [1]}]}\n"));
        CHECK_INT(run_gradient(cases[i].arguments, input.data, &output), 3);
        CHECK(output.data && strstr(output.data, "\"error\""));
        CHECK(output.data && strstr(output.data, cases[i].message));
        CHECK(output.data && strstr(output.data, "\"loss\""));
        cn_str_free(&input);
        cn_str_free(&output);
    }
}

TEST(without_new_values_the_batch_is_exactly_on_policy)
{
    struct cn_str output = {0};
    struct cn_json *row;
    double found[8];
    CHECK_INT(run_gradient("algorithm=dr_grpo algorithm.aggregation=token_mean", ROW(""), &output),
              0);
    CHECK_OK(cn_json_parse(cn_str_text(&output), "output", &row));
    CHECK_INT(read_arrays(row, "d_logp", found, 8), 4);
    CHECK_NEAR(found[1], -0.25, 0); /* A = 1/2, c = 1/2 */
    CHECK_NEAR(found[3], 0.25, 0);
    CHECK_NEAR(found[0], 0, 0);
    const struct cn_json *metrics = cn_json_get(row, "metrics");
    CHECK_NEAR(cn_json_number(cn_json_get(metrics, "policy/ratio_max")), 1, 0);
    cn_json_close(row);
    cn_str_free(&output);
}

TEST(a_bad_configuration_ends_the_command)
{
    struct cn_str output = {0};
    CHECK_INT(run_gradient("algorithm=gprpo", "", &output), 2);
    CHECK_INT(run_gradient("algorithm.advantage=gae", "", &output), 2);
    CHECK_INT(run_gradient("--split 0", "", &output), 2);
    CHECK_INT(output.length, 0);
    cn_str_free(&output);
}

TEST(the_self_test_passes)
{
    char command[512];
    snprintf(command, sizeof command, "%s/carnot selftest > /dev/null", CN_TEST_BIN);
    CHECK_INT(system(command), 0);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
