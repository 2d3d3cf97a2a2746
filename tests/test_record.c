/* The token record over every back end: contents, kills, resuming. */
#include "check.h"

#include "carnot/str.h"
#include "store_bench.h"
#include "trainer/run/record.h"

#include <signal.h>

/* ---- the record ---------------------------------------------------------- */

enum { SEQUENCES = 6 };

/* A batch whose numbers tell the step: 6 sequences of 3 to 8 tokens. */
static enum cn_status make_batch(struct cn_arena *arena, uint64_t step, bool after_update,
                                 struct cn_batch *batch)
{
    size_t lengths[SEQUENCES];
    for (size_t s = 0; s < SEQUENCES; s++)
        lengths[s] = 3 + (step + s) % 6;
    CN_TRY(cn_batch_init(batch, arena, lengths, SEQUENCES));
    for (size_t t = 0; t < batch->n_tokens; t++) {
        batch->token[t] = (int32_t)(1000 * step + t);
        batch->role[t] = t % 3 ? CN_ROLE_POLICY : CN_ROLE_PROMPT;
        batch->logp_sampled[t] = -0.5 * (double)t;
        batch->logp_new[t] = 0.25 * (double)t;
    }
    for (size_t s = 0; s < SEQUENCES; s++) {
        batch->prompt[s] = 100 * step + s;
        batch->reward[s] = (double)s;
        batch->verdict[s] = CN_VERDICT_WRONG;
    }
    batch->written = CN_NEEDS(token) | CN_NEEDS(role) | CN_NEEDS(logp_sampled) | CN_NEEDS(prompt) |
                     CN_NEEDS(reward) | CN_NEEDS(verdict);
    if (after_update) batch->written |= CN_NEEDS(logp_new);
    return CN_OK;
}

static enum cn_status record_steps(struct record *record, uint64_t first, uint64_t end)
{
    struct cn_arena arena;
    cn_arena_init(&arena);
    enum cn_status status = CN_OK;
    for (uint64_t step = first; step < end && status == CN_OK; step++) {
        struct cn_batch batch;
        status = make_batch(&arena, step, step % 4 == 3, &batch);
        if (status == CN_OK) status = record_step(record, &batch, cn_batch_all(&batch), step);
        cn_arena_reset(&arena);
    }
    cn_arena_free(&arena);
    return status;
}

static struct record_options options_of(const char *type)
{
    struct record_options options = {.folder = folder, .type = type, .attempt = 2, .rank = 3};
    return options;
}

/* Tokens of the steps first..last in a segment must be what make_batch wrote. */
static void check_segment(const char *type, uint64_t first, uint64_t last, bool with_new)
{
    char name[128];
    snprintf(name, sizeof name, "tokens/attempt_2_steps_%06llu_%06llu_rank_0003%s",
             (unsigned long long)first, (unsigned long long)last, cn_store_ending(type));
    struct cn_store *store;
    CHECK_OK(cn_store_open(type, in_folder(name), &store));
    size_t n_tokens = 0, n_sequences = 0, n_offsets = 0;
    CHECK_OK(cn_store_count(store, "/tokens/token", &n_tokens));
    CHECK_OK(cn_store_count(store, "/sequences/prompt", &n_sequences));
    CHECK_OK(cn_store_count(store, "/sequences/offset", &n_offsets));
    CHECK_INT(n_sequences, SEQUENCES * (last - first + 1));
    CHECK_INT(n_offsets, n_sequences + 1);
    static int32_t token[1024];
    static double fresh[1024];
    static int64_t offset[1024], step[1024];
    CHECK(n_tokens < 1024 && n_offsets < 1024);
    struct cn_buffer a = series("/tokens/token", CN_DTYPE_I32, token, n_tokens);
    struct cn_buffer b = series("/sequences/offset", CN_DTYPE_I64, offset, n_offsets);
    struct cn_buffer c = series("/sequences/step", CN_DTYPE_I64, step, n_sequences);
    struct cn_buffer d = series("/tokens/logp_new", CN_DTYPE_F64, fresh, n_tokens);
    CHECK_OK(cn_store_read(store, 0, &a));
    CHECK_OK(cn_store_read(store, 0, &b));
    CHECK_OK(cn_store_read(store, 0, &c));
    if (with_new) CHECK_OK(cn_store_read(store, 0, &d));
    CHECK_INT(offset[0], 0);
    CHECK_INT(offset[n_sequences], n_tokens);
    for (size_t s = 0; s < n_sequences; s++) {
        CHECK_INT(step[s], first + s / SEQUENCES);
        CHECK_INT(offset[s + 1] - offset[s], 3 + ((uint64_t)step[s] + s % SEQUENCES) % 6);
        int64_t base = offset[s - s % SEQUENCES]; /* of the step */
        for (int64_t t = offset[s]; t < offset[s + 1]; t++) {
            CHECK_INT(token[t], 1000 * step[s] + (t - base));
            if (!with_new) continue;
            if (step[s] % 4 == 3)
                CHECK_NEAR(fresh[t], 0.25 * (double)(t - base), 0);
            else
                CHECK(isnan(fresh[t])); /* steps without the column are filled with NaN */
        }
    }
    CHECK_OK(cn_store_close(store));
}

TEST(the_record_holds_every_token_of_every_step)
{
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct record_options options = options_of(types[t]);
        struct record *record;
        CHECK_OK(record_open(&options, &record));
        CHECK_OK(record_steps(record, 0, 7));
        CHECK_OK(record_close_segment(record));
        CHECK_OK(record_close_segment(record)); /* nothing is open: nothing happens */
        CHECK_OK(record_steps(record, 7, 9));
        CHECK_OK(record_close(record));
        CHECK_INT(files_in(in_folder("tokens"), ""), 2);
        check_segment(types[t], 0, 6, true);
        check_segment(types[t], 7, 8, true);
        struct cn_store *store;
        char name[128];
        snprintf(name, sizeof name, "tokens/attempt_2_steps_000007_000008_rank_0003%s",
                 cn_store_ending(types[t]));
        CHECK_OK(cn_store_open(types[t], in_folder(name), &store));
        static const struct {
            const char *name, *key, *value;
        } attributes[] = {{"/", "schema_name", "carnot.tokens"},
                          {"/", "first_step", "7"},
                          {"/", "last_step", "8"},
                          {"/", "rank", "3"},
                          {"/", "attempt", "2"},
                          {"/tokens/role", "enumeration", "0=prompt 1=policy 2=environment"},
                          {"/tokens/token", "description", "token id"}};
        for (size_t i = 0; i < sizeof attributes / sizeof *attributes; i++) {
            struct cn_str text = {NULL, 0, 0};
            CHECK_OK(cn_store_attribute_read(store, attributes[i].name, attributes[i].key, &text));
            CHECK_TEXT(text.data, attributes[i].value);
            cn_str_free(&text);
        }
        CHECK_OK(cn_store_close(store));
        folder_clear(folder);
    }
}

static void append_until_killed(const char *type)
{
    struct record_options options = options_of(type);
    struct record *record;
    if (record_open(&options, &record) != CN_OK) _exit(1);
    for (uint64_t step = 0;; step += 3) {
        if (record_steps(record, step, step + 3) != CN_OK || record_close_segment(record) != CN_OK)
            _exit(2);
        if (step == 30) {
            if (record_steps(record, 33, 35) != CN_OK) _exit(3);
            kill(getpid(), SIGKILL); /* two steps stand in an open segment */
        }
    }
}

TEST(a_kill_loses_no_segment_that_was_closed)
{
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        int status = in_child(append_until_killed, types[t]);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        CHECK_INT(files_in(in_folder("tokens"), cn_store_ending(types[t])), 11);
        CHECK_INT(files_in(in_folder("tokens"), ".tmp"), 1);
        for (uint64_t step = 0; step <= 30; step += 3)
            check_segment(types[t], step, step + 2, step % 4 != 0);
        CHECK_OK(record_truncate(folder, 33)); /* what a resume does: the debris goes */
        CHECK_INT(files_in(in_folder("tokens"), ".tmp"), 0);
        CHECK_INT(files_in(in_folder("tokens"), cn_store_ending(types[t])), 11);
        folder_clear(folder);
    }
}

/* Kills at moments of the scheduler's choosing: whatever stands under a final name is whole. */
static void append_for_ever(const char *type)
{
    struct record_options options = options_of(type);
    struct record *record;
    if (record_open(&options, &record) != CN_OK) _exit(1);
    for (uint64_t step = 0; step < 1000000; step++)
        if (record_steps(record, step, step + 1) != CN_OK || record_close_segment(record) != CN_OK)
            _exit(2);
}

TEST(random_kills_leave_whole_segments_only)
{
    for (int t = 0; t < N_TYPES; t++) {
        for (int k = 0; k < 6; k++) {
            folder_open();
            fflush(stdout);
            pid_t pid = fork();
            if (pid == 0) {
                append_for_ever(types[t]);
                _exit(0);
            }
            while (files_in(in_folder("tokens"), cn_store_ending(types[t])) < (size_t)(1 + k))
                usleep(500);
            kill(pid, SIGKILL);
            waitpid(pid, NULL, 0);
            size_t n = files_in(in_folder("tokens"), cn_store_ending(types[t]));
            CHECK(n >= 1);
            for (uint64_t step = 0; step < n; step++)
                check_segment(types[t], step, step, step % 4 == 3);
            folder_clear(folder);
        }
    }
}

/* ---- resuming ------------------------------------------------------------ */

static void write_text(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "wb");
    CHECK(file != NULL);
    if (!file) return;
    fputs(text, file);
    fclose(file);
}

TEST(a_resume_deletes_later_steps_from_the_record_and_the_metrics)
{
    folder_open();
    const char *type = cn_store_best();
    struct record_options options = options_of(type);
    struct record *record;
    CHECK_OK(record_open(&options, &record));
    for (uint64_t step = 0; step < 12; step += 4) {
        CHECK_OK(record_steps(record, step, step + 4));
        CHECK_OK(record_close_segment(record));
    }
    CHECK_OK(record_close(record));
    write_text("metrics.jsonl", "{\"step\": 0, \"a\": 1}\n{\"step\": 7}\n{\"step\": 8, \"a\": "
                                "2}\n{\"step\": 11}\n{\"step\": 12, \"a");
    write_text("tokens/notes.txt", "mine");
    CHECK_OK(cn_folder_make(in_folder("samples")));
    write_text("samples/step_000007.jsonl", "{}\n");
    write_text("samples/step_000008.jsonl", "{}\n");
    CHECK_OK(record_truncate(folder, 8));
    CHECK_INT(files_in(in_folder("tokens"), cn_store_ending(type)), 2);
    CHECK_INT(files_in(in_folder("samples"), "07.jsonl"), 1);
    CHECK_INT(files_in(in_folder("samples"), "08.jsonl"), 0);
    CHECK_INT(files_in(in_folder("tokens"), "notes.txt"), 1); /* what is not ours stays */
    check_segment(type, 0, 3, true);
    check_segment(type, 4, 7, true);
    struct cn_str text = {NULL, 0, 0};
    CHECK_OK(cn_file_read(in_folder("metrics.jsonl"), 1 << 20, &text));
    CHECK_TEXT(text.data, "{\"step\": 0, \"a\": 1}\n{\"step\": 7}\n");
    cn_str_free(&text);
    CHECK_FAILS(record_truncate(folder, 6), CN_ERR_DATA, "holds steps 4 to 7");
    CHECK_OK(record_truncate(folder, 0));
    CHECK_INT(files_in(in_folder("tokens"), cn_store_ending(type)), 0);
    CHECK_OK(record_truncate(in_folder("no_such_run"), 0));
    folder_clear(folder);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
