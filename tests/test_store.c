/* The store: the same checks against every back end, full disks, kills, damaged files, and the
 * token record. */
#include "check.h"

#include "carnot/json.h"
#include "carnot/store.h"
#include "trainer/record.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *const types[] = {
#ifdef CN_WITH_HDF5
    "hdf5",
#endif
    "memory"};
enum { N_TYPES = sizeof types / sizeof *types };

/* A folder of its own for a test, removed at its end. */
static char folder[64];

static void folder_open(void)
{
    strcpy(folder, "/tmp/carnot_test_store_XXXXXX");
    CHECK(mkdtemp(folder) != NULL);
}

static void folder_clear(const char *path)
{
    DIR *dir = opendir(path);
    if (!dir) return;
    for (struct dirent *e; (e = readdir(dir));) {
        char inner[512];
        if (e->d_name[0] == '.') continue;
        snprintf(inner, sizeof inner, "%.200s/%.200s", path, e->d_name);
        if (unlink(inner) != 0) folder_clear(inner);
    }
    closedir(dir);
    rmdir(path);
}

static const char *in_folder(const char *name)
{
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static size_t files_in(const char *path, const char *ending)
{
    size_t n = 0;
    DIR *dir = opendir(path);
    if (!dir) return 0;
    for (struct dirent *e; (e = readdir(dir));) {
        size_t length = strlen(e->d_name), m = strlen(ending);
        n += length >= m && strcmp(e->d_name + length - m, ending) == 0 && e->d_name[0] != '.';
    }
    closedir(dir);
    return n;
}

static struct cn_buffer series(const char *name, enum cn_dtype dtype, void *data, size_t rows)
{
    struct cn_buffer buffer = {.name = name,
                               .dtype = dtype,
                               .rank = 1,
                               .shape = {(int64_t)rows},
                               .count = rows,
                               .data = data,
                               .device = -1};
    return buffer;
}

/* ---- conformance
 * ------------------------------------------------------------------------------------------------
 */

TEST(what_is_appended_in_pieces_is_read_back_whole)
{
    enum { N = 200001 }; /* three whole chunks and a rest */
    static double x[N], x_back[N];
    static int32_t token[N], token_back[N];
    static uint64_t prompt[N], prompt_back[N];
    static int64_t wide[N];
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i * 0.25 - 1000);
        token[i] = i * 7919 - 3;
        prompt[i] = UINT64_MAX - (uint64_t)i;
    }
    x[5] = NAN;
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct cn_store *store;
        CHECK_OK(cn_store_create(types[t], in_folder("a.file"), &store));
        for (size_t i = 0, n; i < N; i += n) {
            n = i % 977 + 1 < N - i ? i % 977 + 1 : N - i;
            struct cn_buffer a = series("/tokens/x", CN_DTYPE_F64, x + i, n);
            struct cn_buffer b = series("/tokens/token", CN_DTYPE_I32, token + i, n);
            struct cn_buffer c = series("/sequences/prompt", CN_DTYPE_U64, prompt + i, n);
            CHECK_OK(cn_store_append(store, &a, CN_DISK_F4));
            CHECK_OK(cn_store_append(store, &b, CN_DISK_I4));
            CHECK_OK(cn_store_append(store, &c, CN_DISK_U8));
        }
        struct cn_buffer none = series("/tokens/empty", CN_DTYPE_U8, x, 0);
        CHECK_OK(cn_store_append(store, &none, CN_DISK_U1));
        CHECK_OK(cn_store_attribute(store, "/", "schema_name", "old"));
        CHECK_OK(cn_store_attribute(store, "/", "schema_name", "carnot \xc3\xa9 | test"));
        CHECK_OK(cn_store_attribute(store, "/tokens/x", "unit", ""));
        CHECK_INT(files_in(folder, ".tmp"), 1);
        CHECK_INT(files_in(folder, ".file"), 0);
        CHECK_OK(cn_store_close(store));
        CHECK_INT(files_in(folder, ".tmp"), 0);

        CHECK_OK(cn_store_open(types[t], in_folder("a.file"), &store));
        size_t rows = 0;
        CHECK_OK(cn_store_count(store, "/tokens/x", &rows));
        CHECK_INT(rows, N);
        CHECK_OK(cn_store_count(store, "/tokens/empty", &rows));
        CHECK_INT(rows, 0);
        struct cn_buffer a = series("/tokens/x", CN_DTYPE_F64, x_back, N);
        struct cn_buffer b = series("/tokens/token", CN_DTYPE_I32, token_back, N);
        struct cn_buffer c = series("/sequences/prompt", CN_DTYPE_U64, prompt_back, N);
        CHECK_OK(cn_store_read(store, 0, &a));
        CHECK_OK(cn_store_read(store, 0, &b));
        CHECK_OK(cn_store_read(store, 0, &c));
        CHECK(isnan(x_back[5]));
        x_back[5] = x[5];
        CHECK(memcmp(x, x_back, sizeof x) == 0);
        CHECK(memcmp(token, token_back, sizeof token) == 0);
        CHECK(memcmp(prompt, prompt_back, sizeof prompt) == 0);
        struct cn_buffer part =
            series("/tokens/token", CN_DTYPE_I64, wide, 10); /* widened, from the middle */
        CHECK_OK(cn_store_read(store, 70000, &part));
        for (int i = 0; i < 10; i++)
            CHECK_INT(wide[i], token[70000 + i]);
        struct cn_str text = {NULL, 0, 0};
        CHECK_OK(cn_store_attribute_read(store, "/", "schema_name", &text));
        CHECK_TEXT(text.data, "carnot \xc3\xa9 | test");
        cn_str_clear(&text);
        CHECK_OK(cn_store_attribute_read(store, "/tokens/x", "unit", &text));
        CHECK_INT(text.length, 0);
        CHECK_FAILS(cn_store_attribute_read(store, "/", "nothing", &text), CN_ERR_DATA,
                    "no attribute nothing");
        CHECK_FAILS(cn_store_count(store, "/nothing", &rows), CN_ERR_DATA, "has no /nothing");
        CHECK_FAILS(cn_store_read(store, N - 5, &part), CN_ERR_DATA, "200001 rows");
        struct cn_buffer narrow = series("/tokens/token", CN_DTYPE_U8, wide, 10);
        CHECK_FAILS(cn_store_read(store, 0, &narrow), CN_ERR_DATA, "does not fit");
        struct cn_buffer wrong = series("/tokens/token", CN_DTYPE_F32, wide, 10);
        CHECK_FAILS(cn_store_read(store, 0, &wrong), CN_ERR_CONFIG,
                    "no conversion from I32 to F32");
        cn_str_free(&text);
        CHECK_OK(cn_store_close(store));
        folder_clear(folder);
    }
}

TEST(rows_may_be_wider_than_one_element)
{
    float data[6][3], back[2][3];
    for (int i = 0; i < 18; i++)
        data[i / 3][i % 3] = (float)i;
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct cn_store *store;
        CHECK_OK(cn_store_create(types[t], in_folder("wide"), &store));
        struct cn_buffer rows = {.name = "/top",
                                 .dtype = CN_DTYPE_F32,
                                 .rank = 2,
                                 .shape = {3, 3},
                                 .count = 9,
                                 .data = data,
                                 .device = -1};
        CHECK_OK(cn_store_append(store, &rows, CN_DISK_F4));
        rows.data = data[3];
        CHECK_OK(cn_store_append(store, &rows, CN_DISK_F4));
        rows.shape[1] = 9, rows.shape[0] = 1;
        CHECK_FAILS(cn_store_append(store, &rows, CN_DISK_F4), CN_ERR_BUG, "another type or shape");
        CHECK_FAILS(cn_store_close(store), CN_ERR_IO,
                    "given up"); /* half a row group must not look whole */
        CHECK_INT(files_in(folder, ""), 0);

        CHECK_OK(cn_store_create(types[t], in_folder("wide"), &store));
        rows = (struct cn_buffer){.name = "/top",
                                  .dtype = CN_DTYPE_F32,
                                  .rank = 2,
                                  .shape = {6, 3},
                                  .count = 18,
                                  .data = data,
                                  .device = -1};
        CHECK_OK(cn_store_append(store, &rows, CN_DISK_F4));
        CHECK_OK(cn_store_close(store));
        CHECK_OK(cn_store_open(types[t], in_folder("wide"), &store));
        rows.shape[0] = 2, rows.count = 6, rows.data = back;
        CHECK_OK(cn_store_read(store, 3, &rows));
        CHECK(back[0][0] == 9 && back[1][2] == 14);
        CHECK_OK(cn_store_close(store));
        folder_clear(folder);
    }
}

TEST(equal_contents_are_equal_files)
{
    double x[100];
    for (int i = 0; i < 100; i++)
        x[i] = i;
    for (int t = 0; t < N_TYPES; t++) {
        struct cn_str a = {NULL, 0, 0}, b = {NULL, 0, 0};
        folder_open();
        for (int k = 0; k < 2; k++) {
            struct cn_store *store;
            CHECK_OK(cn_store_create(types[t], in_folder(k ? "b" : "a"), &store));
            struct cn_buffer data = series("/g/x", CN_DTYPE_F64, x, 100);
            CHECK_OK(cn_store_append(store, &data, CN_DISK_F4));
            CHECK_OK(cn_store_attribute(store, "/g/x", "key", "value"));
            CHECK_OK(cn_store_close(store));
        }
        CHECK_OK(cn_file_read(in_folder("a"), 1 << 20, &a));
        CHECK_OK(cn_file_read(in_folder("b"), 1 << 20, &b));
        CHECK(cn_text_equal(cn_str_text(&a), cn_str_text(&b)));
        cn_str_free(&a), cn_str_free(&b);
        folder_clear(folder);
    }
}

TEST(a_type_that_is_not_built_in_and_a_missing_folder_are_errors)
{
    struct cn_store *store;
    CHECK_FAILS(cn_store_create("netcdf", "/tmp/x", &store), CN_ERR_CONFIG, "no store \"netcdf\"");
    for (int t = 0; t < N_TYPES; t++) {
        CHECK_FAILS(cn_store_create(types[t], "/nonexistent/x", &store), CN_ERR_IO,
                    "/nonexistent/x.tmp");
        CHECK(cn_store_open(types[t], "/nonexistent/x", &store) != CN_OK);
        cn_fail_clear();
        CHECK(cn_store_ending(types[t]) != NULL);
    }
    CHECK(cn_store_ending("netcdf") == NULL);
    CHECK(cn_store_best() != NULL);
}

/* Every prefix of a file, and every file with one byte changed, opens or fails with a message;
 * nothing is read outside. */
TEST(damaged_files_are_errors_and_never_crashes)
{
    double x[300];
    for (int i = 0; i < 300; i++)
        x[i] = sin(i);
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct cn_store *store;
        CHECK_OK(cn_store_create(types[t], in_folder("good"), &store));
        struct cn_buffer data = series("/g/x", CN_DTYPE_F64, x, 300);
        CHECK_OK(cn_store_append(store, &data, CN_DISK_F4));
        CHECK_OK(cn_store_attribute(store, "/", "key", "value"));
        CHECK_OK(cn_store_close(store));
        struct cn_str good = {NULL, 0, 0};
        CHECK_OK(cn_file_read(in_folder("good"), 1 << 20, &good));
        int opened = 0, refused = 0;
        for (size_t k = 0; k < 400; k++) {
            size_t at = k * 7919 % good.length, length = k % 2 ? good.length : at;
            FILE *file = fopen(in_folder("bad"), "wb");
            char old = good.data[at];
            if (k % 2) good.data[at] = (char)(old ^ (1 << k % 8));
            CHECK(file && fwrite(good.data, 1, length, file) == length);
            good.data[at] = old;
            if (file) fclose(file);
            if (cn_store_open(types[t], in_folder("bad"), &store) != CN_OK) {
                CHECK(cn_fail_message()[0] != 0);
                refused++;
            } else {
                double back[300];
                size_t rows = 0;
                struct cn_buffer again = series("/g/x", CN_DTYPE_F64, back, 300);
                if (cn_store_count(store, "/g/x", &rows) == CN_OK && rows == 300)
                    (void)!cn_store_read(store, 0, &again);
                (void)!cn_store_close(store);
                opened++;
            }
            cn_fail_clear();
        }
        CHECK(refused > 150);
        CHECK(opened > 0);
        cn_str_free(&good);
        folder_clear(folder);
    }
}

/* ---- full disks and kills
 * --------------------------------------------------------------------------------------- */

/* Runs `body` in a child; returns its wait status. */
static int in_child(void (*body)(const char *type), const char *type)
{
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        body(type);
        _exit(0);
    }
    int status = -1;
    waitpid(pid, &status, 0);
    return status;
}

/* Files may not grow beyond 64 kB here: a write fails as it does on a full disk. */
static void write_to_a_full_disk(const char *type)
{
    static double x[100000];
    for (int i = 0; i < 100000; i++)
        x[i] = sin(i * 1.7) * i;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {65536, 65536};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(10);
    struct cn_store *store;
    if (cn_store_create(type, in_folder("full"), &store) != CN_OK) _exit(11);
    struct cn_buffer data = series("/x", CN_DTYPE_F64, x, 100000);
    enum cn_status first = cn_store_append(store, &data, CN_DISK_F4), last = cn_store_close(store);
    if (first == CN_OK && last == CN_OK) _exit(12);
    if (!strstr(cn_fail_message(), "full.tmp")) _exit(13);
}

TEST(a_full_disk_is_reported_and_leaves_no_file)
{
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        int status = in_child(write_to_a_full_disk, types[t]);
        CHECK(WIFEXITED(status));
        CHECK_INT(WEXITSTATUS(status), 0);
        CHECK_INT(files_in(folder, ""), 0);
        folder_clear(folder);
    }
}

/* ---- the record
 * -------------------------------------------------------------------------------------------------
 */

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
        if (status == CN_OK) status = record_step(record, &batch, step);
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
        CHECK_OK(record_attribute(record, "config_hash", "abc"));
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
                          {"/", "config_hash", "abc"},
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

/* ---- resuming
 * ---------------------------------------------------------------------------------------------------
 */

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
