/* The store: the same checks against every back end, full disks, damaged files. */
#include "check.h"

#include "carnot/store.h"
#include "carnot/str.h"
#include "store_bench.h"

#include <signal.h>
#include <sys/resource.h>

/* HDF5 asks for absurd amounts of memory when a damaged file says so; that must be an error, not
 * the end of the test. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}

/* The library forgets some of its own memory when it refuses a damaged file. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libhdf5";
}

/* ---- conformance --------------------------------------------------------- */

enum { N = 200001 }; /* three whole chunks and a rest */
static double x[N], x_back[N];
static int32_t token[N], token_back[N];
static uint64_t prompt[N], prompt_back[N];

/* Three series in pieces of many sizes, an empty one, and attributes. */
static void write_pieces(const char *type)
{
    struct cn_store *store;
    CHECK_OK(cn_store_create(type, in_folder("a.file"), &store));
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
}

static void read_whole(struct cn_store *store)
{
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
    CHECK_FAILS(cn_store_count(store, "/nothing", &rows), CN_ERR_DATA, "has no /nothing");
}

/* Other types, a part from the middle, and what must be refused. */
static void read_parts(struct cn_store *store)
{
    int64_t wide[10];
    struct cn_buffer part = series("/tokens/token", CN_DTYPE_I64, wide, 10);
    CHECK_OK(cn_store_read(store, 70000, &part));
    for (int i = 0; i < 10; i++)
        CHECK_INT(wide[i], token[70000 + i]);
    CHECK_FAILS(cn_store_read(store, N - 5, &part), CN_ERR_DATA, "200001 rows");
    struct cn_buffer narrow = series("/tokens/token", CN_DTYPE_U8, wide, 10);
    CHECK_FAILS(cn_store_read(store, 0, &narrow), CN_ERR_DATA, "does not fit");
    struct cn_buffer wrong = series("/tokens/token", CN_DTYPE_F32, wide, 10);
    CHECK_FAILS(cn_store_read(store, 0, &wrong), CN_ERR_CONFIG, "no conversion from I32 to F32");
    struct cn_str text = {NULL, 0, 0};
    CHECK_OK(cn_store_attribute_read(store, "/", "schema_name", &text));
    CHECK_TEXT(text.data, "carnot \xc3\xa9 | test");
    cn_str_clear(&text);
    CHECK_OK(cn_store_attribute_read(store, "/tokens/x", "unit", &text));
    CHECK_INT(text.length, 0);
    CHECK_FAILS(cn_store_attribute_read(store, "/", "nothing", &text), CN_ERR_DATA,
                "no attribute nothing");
    cn_str_free(&text);
}

TEST(what_is_appended_in_pieces_is_read_back_whole)
{
    for (int i = 0; i < N; i++) {
        x[i] = (float)(i * 0.25 - 1000);
        token[i] = i * 7919 - 3;
        prompt[i] = UINT64_MAX - (uint64_t)i;
    }
    x[5] = NAN;
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct cn_store *store;
        memset(x_back, 0, sizeof x_back);
        memset(token_back, 0, sizeof token_back);
        memset(prompt_back, 0, sizeof prompt_back);
        write_pieces(types[t]);
        CHECK_OK(cn_store_open(types[t], in_folder("a.file"), &store));
        read_whole(store);
        read_parts(store);
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
    double value[100];
    for (int i = 0; i < 100; i++)
        value[i] = i;
    for (int t = 0; t < N_TYPES; t++) {
        struct cn_str a = {NULL, 0, 0}, b = {NULL, 0, 0};
        folder_open();
        for (int k = 0; k < 2; k++) {
            struct cn_store *store;
            CHECK_OK(cn_store_create(types[t], in_folder(k ? "b" : "a"), &store));
            struct cn_buffer data = series("/g/x", CN_DTYPE_F64, value, 100);
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
    double value[300];
    for (int i = 0; i < 300; i++)
        value[i] = sin(i);
    for (int t = 0; t < N_TYPES; t++) {
        folder_open();
        struct cn_store *store;
        CHECK_OK(cn_store_create(types[t], in_folder("good"), &store));
        struct cn_buffer data = series("/g/x", CN_DTYPE_F64, value, 300);
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

/* ---- full disks and kills ------------------------------------------------ */

/* Files may not grow beyond 64 kB here: a write fails as it does on a full disk. */
static void write_to_a_full_disk(const char *type)
{
    static double value[100000];
    for (int i = 0; i < 100000; i++)
        value[i] = sin(i * 1.7) * i;
    signal(SIGXFSZ, SIG_IGN);
    struct rlimit limit = {65536, 65536};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(10);
    struct cn_store *store;
    if (cn_store_create(type, in_folder("full"), &store) != CN_OK) _exit(11);
    struct cn_buffer data = series("/x", CN_DTYPE_F64, value, 100000);
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

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
