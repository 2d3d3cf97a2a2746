/* safetensors: round trips, shards, and files that must be refused. */
#include "check.h"

#include "carnot/str.h"
#include "trainer/model/dtype.h"
#include "trainer/model/safetensors.h"

#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* A folder of its own per test, removed with everything in it. */
struct folder {
    char path[64], file[96];
};

static void folder_make(struct folder *f)
{
    strcpy(f->path, "/tmp/carnot-st-XXXXXX");
    CHECK(mkdtemp(f->path) != NULL);
    snprintf(f->file, sizeof f->file, "%s/x.safetensors", f->path);
}

static size_t folder_count(const struct folder *f, const char *part)
{
    size_t n = 0;
    DIR *folder = opendir(f->path);
    for (struct dirent *e = readdir(folder); e; e = readdir(folder))
        n += e->d_name[0] != '.' && strstr(e->d_name, part) != NULL;
    closedir(folder);
    return n;
}

static void folder_remove(const struct folder *f)
{
    char path[400];
    DIR *folder = opendir(f->path);
    for (struct dirent *e = readdir(folder); e; e = readdir(folder)) {
        snprintf(path, sizeof path, "%s/%s", f->path, e->d_name);
        if (e->d_name[0] != '.') unlink(path);
    }
    closedir(folder);
    rmdir(f->path);
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return *state >> 33;
}

/* Writes a file with this header text and so many bytes of data, and opens it. */
static enum cn_status open_made(const char *header, size_t data, int64_t claimed)
{
    struct folder f;
    struct safetensors *file = NULL;
    struct cn_str text = {0};
    uint64_t length = claimed >= 0 ? (uint64_t)claimed : strlen(header);
    char start[8];
    folder_make(&f);
    for (int i = 0; i < 8; i++)
        start[i] = (char)(length >> 8 * i);
    CHECK(cn_str_append(&text, start, 8) == CN_OK);
    CHECK(cn_str_add(&text, header) == CN_OK);
    for (size_t i = 0; i < data; i++)
        CHECK(cn_str_append(&text, "\0", 1) == CN_OK);
    CHECK(cn_file_replace(f.file, text.data, text.length) == CN_OK);
    enum cn_status status = safetensors_open(f.file, &file);
    safetensors_close(file);
    cn_str_free(&text);
    folder_remove(&f);
    return status;
}

TEST(halves_convert_both_ways_for_every_bit_pattern)
{
    int wrong = 0;
    for (uint32_t h = 0; h < 65536; h++) {
        bool nan16 = (h & 0x7c00) == 0x7c00 && (h & 0x3ff),
             nanb = (h & 0x7f80) == 0x7f80 && (h & 0x7f);
        float f = dtype_f32_of_f16((uint16_t)h), b = dtype_f32_of_bf16((uint16_t)h);
        if (nan16 ? f == f : dtype_f16_of_f32(f) != h) wrong++;
        if (nanb ? b == b : dtype_bf16_of_f32(b) != h) wrong++;
        if (!nan16 && (h & 0x7c00) != 0x7c00) {
            int exponent = (int)(h >> 10 & 31);
            double fraction = (double)(h & 1023) / 1024;
            double value = exponent ? ldexp(1 + fraction, exponent - 15) : ldexp(fraction, -14);
            if ((double)f != (h & 0x8000 ? -value : value)) wrong++;
        }
    }
    CHECK_INT(wrong, 0);
}

TEST(rounding_to_halves_is_to_the_nearest_and_ties_go_to_even)
{
    CHECK_INT(dtype_bf16_of_f32(1.00390625f), 0x3f80); /* tie: 1 + 2^-8 -> 1 */
    CHECK_INT(dtype_bf16_of_f32(1.01171875f), 0x3f82); /* tie: 1 + 3 2^-8 -> 1 + 2^-6 */
    CHECK_INT(dtype_bf16_of_f32(1.00390637f), 0x3f81); /* just above the tie */
    CHECK_INT(dtype_bf16_of_f32(3.4e38f), 0x7f80);     /* above the largest bf16 */
    CHECK_INT(dtype_f16_of_f32(65519.0f), 0x7bff);
    CHECK_INT(dtype_f16_of_f32(65520.0f), 0x7c00);
    CHECK_INT(dtype_f16_of_f32(1.00048828125f), 0x3c00); /* tie: 1 + 2^-11 */
    CHECK_INT(dtype_f16_of_f32(0x1p-25f), 0);            /* half of the smallest subnormal */
    CHECK_INT(dtype_f16_of_f32(0x1.8p-24f), 2);          /* tie between 1 and 2 */
    CHECK_INT(dtype_f16_of_f32(-0x1p-24f), 0x8001);
    CHECK_INT(dtype_f16_of_f32(0x1.fffp-15f), 0x0400); /* rounds up into the normal range */
}

TEST(floats_survive_a_file_bit_for_bit_and_halves_are_rounded)
{
    struct folder f;
    struct safetensors *file = NULL;
    float a[6] = {1, -2, 0.1f, 1e-30f, 3e38f, 0}, b[3] = {7, 8, 9}, back[6];
    const int64_t shape_a[2] = {2, 3}, shape_b[1] = {3};
    const struct cn_buffer tensors[] = {
        {.name = "b.\"quoted\"",
         .dtype = CN_DTYPE_F32,
         .rank = 1,
         .shape = {3},
         .count = 3,
         .data = b},
        {.name = "a", .dtype = CN_DTYPE_F32, .rank = 2, .shape = {2, 3}, .count = 6, .data = a},
        {.name = "empty", .dtype = CN_DTYPE_F32, .rank = 2, .shape = {0, 3}, .count = 0, .data = a},
        {.name = "scalar", .dtype = CN_DTYPE_I64, .rank = 0, .count = 1, .data = &(int64_t){5}},
    };
    const struct safetensors_pair pair = {"step", "12"};
    struct safetensors_target target = {
        .path = f.file, .dtype = CN_DTYPE_F32, .metadata = &pair, .n_metadata = 1};
    folder_make(&f);
    CHECK_OK(safetensors_save(&target, tensors, 4));
    CHECK_OK(safetensors_open(f.file, &file));
    CHECK_OK(safetensors_read_f32(file, "a", 2, shape_a, back));
    CHECK(memcmp(a, back, sizeof a) == 0);
    CHECK_OK(safetensors_read_f32(file, "b.\"quoted\"", 1, shape_b, back));
    CHECK_NEAR(back[2], 9, 0);
    CHECK_TEXT(safetensors_metadata(file, "format"), "pt");
    CHECK_TEXT(safetensors_metadata(file, "step"), "12");
    CHECK(safetensors_metadata(file, "no") == NULL);
    const struct cn_buffer *scalar = safetensors_find(file, "scalar");
    CHECK(scalar && scalar->rank == 0 && scalar->count == 1 && *(int64_t *)scalar->data == 5);
    CHECK(safetensors_find(file, "empty") != NULL);
    CHECK_FAILS(safetensors_read_f32(file, "a", 1, shape_b, back), CN_ERR_MODEL,
                "expected (3), found (2, 3)");
    CHECK_FAILS(safetensors_read_f32(file, "c", 1, shape_b, back), CN_ERR_MODEL, "c is missing");
    CHECK_FAILS(safetensors_read_f32(file, "scalar", 0, NULL, back), CN_ERR_MODEL, "I64");
    safetensors_close(file);
    target.dtype = CN_DTYPE_BF16;
    CHECK_OK(safetensors_save(&target, tensors, 4));
    CHECK_OK(safetensors_open(f.file, &file));
    CHECK_FAILS(safetensors_read_f32(file, "a", 2, (const int64_t[]){3, 2}, back), CN_ERR_MODEL,
                "wrong shape");
    a[4] = 1;
    safetensors_close(file);
    CHECK_OK(safetensors_save(&target, tensors, 4));
    CHECK_OK(safetensors_open(f.file, &file));
    CHECK_OK(safetensors_read_f32(file, "a", 2, shape_a, back));
    CHECK_NEAR(back[2], 0.10009765625, 0); /* 0.1 in bf16 */
    CHECK_INT(safetensors_find(file, "scalar")->dtype, CN_DTYPE_I64);
    safetensors_close(file);
    CHECK_INT(folder_count(&f, ""), 1);
    folder_remove(&f);
}

TEST(weights_that_are_not_finite_are_refused_by_tensor_and_place)
{
    struct folder f;
    struct safetensors *file = NULL;
    float a[3] = {1, 2, NAN}, back[3];
    const int64_t shape[1] = {3};
    const struct cn_buffer tensor = {
        .name = "a", .dtype = CN_DTYPE_F32, .rank = 1, .shape = {3}, .count = 3, .data = a};
    struct safetensors_target target = {.path = f.file, .dtype = CN_DTYPE_BF16};
    folder_make(&f);
    CHECK_OK(safetensors_save(&target, &tensor, 1));
    CHECK_OK(safetensors_open(f.file, &file));
    CHECK_FAILS(safetensors_read_f32(file, "a", 1, shape, back), CN_ERR_MODEL,
                "tensor a has a value that is not finite at 2 of 3");
    safetensors_close(file);
    folder_remove(&f);
}

static enum cn_status load_squares(void *context, size_t index, float *out)
{
    size_t n = *(size_t *)context;
    for (size_t i = 0; i < n; i++)
        out[i] = (float)(index * 1000 + i);
    return CN_OK;
}

TEST(a_folder_is_cut_into_shards_that_read_back_and_replace_the_old_layout)
{
    struct folder f;
    struct safetensors *file = NULL;
    enum { N = 7, SIZE = 10 };
    size_t size = SIZE;
    char names[N][16];
    struct cn_buffer tensors[N];
    float back[SIZE];
    const int64_t shape[1] = {SIZE};
    struct safetensors_target target = {
        .path = f.path, .dtype = CN_DTYPE_F32, .load = load_squares, .context = &size};
    folder_make(&f);
    memset(tensors, 0, sizeof tensors);
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "t%d", i);
        tensors[i].name = names[i];
        tensors[i].dtype = CN_DTYPE_F32;
        tensors[i].rank = 1;
        tensors[i].shape[0] = SIZE;
        tensors[i].count = SIZE;
    }
    CHECK_OK(safetensors_save(&target, tensors, N));
    CHECK_INT(folder_count(&f, "model.safetensors"), 1);
    target.shard_bytes = 100; /* two tensors of 40 bytes each */
    CHECK_OK(safetensors_save(&target, tensors, N));
    CHECK_INT(folder_count(&f, "-of-00004.safetensors"), 4);
    CHECK_INT(folder_count(&f, ""), 5); /* shards and index; model.safetensors is gone */
    CHECK_OK(safetensors_open(f.path, &file));
    for (int i = 0; i < N; i++) {
        CHECK_OK(safetensors_read_f32(file, names[i], 1, shape, back));
        CHECK_NEAR(back[3], i * 1000 + 3, 0);
    }
    safetensors_close(file);
    target.shard_bytes = 0;
    CHECK_OK(safetensors_save(&target, tensors, N));
    CHECK_INT(folder_count(&f, ""), 1);
    folder_remove(&f);
}

TEST(an_index_that_does_not_fit_its_shards_is_refused)
{
    struct folder f;
    struct safetensors *file = NULL;
    float a[2] = {1, 2};
    char path[128];
    const struct cn_buffer tensor = {
        .name = "a", .dtype = CN_DTYPE_F32, .rank = 1, .shape = {2}, .count = 2, .data = a};
    struct safetensors_target target = {.path = f.file, .dtype = CN_DTYPE_F32};
    static const struct {
        const char *index, *message;
    } cases[] = {
        {"{\"weight_map\": {\"a\": \"x.safetensors\", \"b\": \"x.safetensors\"}}", "tensor b"},
        {"{\"weight_map\": {\"a\": \"../x.safetensors\"}}", "plain file name"},
        {"{\"weight_map\": {\"a\": 3}}", "plain file name"},
        {"{\"weight_map\": {}}", "weight_map"},
        {"{}", "weight_map"},
    };
    folder_make(&f);
    CHECK_FAILS(safetensors_open(f.path, &file), CN_ERR_IO, "neither model.safetensors");
    CHECK_OK(safetensors_save(&target, &tensor, 1));
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", f.path);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        CHECK_OK(cn_file_replace(path, cases[i].index, strlen(cases[i].index)));
        CHECK_FAILS(safetensors_open(f.path, &file), CN_ERR_MODEL, cases[i].message);
    }
    const char *missing = "{\"weight_map\": {\"a\": \"y.safetensors\"}}";
    CHECK_OK(cn_file_replace(path, missing, strlen(missing)));
    CHECK_FAILS(safetensors_open(f.path, &file), CN_ERR_IO, "y.safetensors");
    folder_remove(&f);
}

TEST(headers_that_lie_are_refused)
{
#define T(name, shape, begin, end)                                                                 \
    "\"" name "\": {\"dtype\": \"F32\", \"shape\": " shape ", \"data_offsets\": [" begin ", " end  \
    "]}"
    static const struct {
        const char *header;
        size_t data;
        const char *message;
    } cases[] = {
        {"{" T("a", "[2]", "0", "8") "}", 7, "truncated"},
        {"{" T("a", "[2]", "0", "8") "}", 9, "take 8 bytes"},
        {"{" T("a", "[2]", "0", "8") ", " T("b", "[2]", "4", "12") "}", 12, "overlapping"},
        {"{" T("a", "[1]", "0", "4") ", " T("b", "[1]", "8", "12") "}", 12, "hole"},
        {"{" T("a", "[2]", "0", "4") "}", 4, "do not fit"},
        {"{" T("a", "[4294967296, 4294967296]", "0", "0") "}", 0, "impossible shape"},
        {"{" T("a", "[4611686018427387904]", "0", "0") "}", 0, "impossible shape"},
        {"{" T("a", "[-1]", "0", "0") "}", 0, "impossible shape"},
        {"{" T("a", "[1.5]", "0", "0") "}", 0, "impossible shape"},
        {"{" T("a", "[1,1,1,1,1]", "0", "4") "}", 4, "at most 4"},
        {"{" T("a", "[1]", "8", "4") "}", 8, "begin, end"},
        {"{" T("a", "[1]", "-4", "0") "}", 8, "begin, end"},
        {"{" T("a", "[1]", "0", "4") ", " T("a", "[1]", "4", "8") "}", 8, "JSON"},
        {"{\"a\": {\"dtype\": \"F8_E4M3\", \"shape\": [1], \"data_offsets\": [0, 1]}}", 1,
         "F8_E4M3"},
        {"{\"a\": {\"shape\": [1], \"data_offsets\": [0, 1]}}", 1, "dtype"},
        {"{\"a\": 5}", 0, "dtype"},
        {"{\"__metadata__\": {\"a\": 5}}", 0, "__metadata__"},
        {"[1]", 0, "object"},
        {"{\"a\": ", 0, "JSON"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        CHECK_FAILS(open_made(cases[i].header, cases[i].data, -1), CN_ERR_MODEL, cases[i].message);
    CHECK_FAILS(open_made("{}", 0, 3), CN_ERR_MODEL, "claims 3 bytes");
    CHECK_FAILS(open_made("{}", 0, INT64_MAX), CN_ERR_MODEL, "claims");
    CHECK_OK(open_made("{}", 0, -1));
    CHECK_OK(open_made("{" T("a", "[0]", "0", "0") ", " T("b", "[1]", "0", "4") "}", 4, -1));
}

TEST(random_damage_never_crashes_the_reader)
{
    struct folder f;
    struct cn_str good = {0};
    uint64_t state = 1;
    float a[4] = {1, 2, 3, 4};
    const struct cn_buffer tensors[] = {
        {.name = "a", .dtype = CN_DTYPE_F32, .rank = 1, .shape = {4}, .count = 4, .data = a},
        {.name = "b", .dtype = CN_DTYPE_F32, .rank = 2, .shape = {2, 2}, .count = 4, .data = a}};
    struct safetensors_target target = {.path = f.file, .dtype = CN_DTYPE_BF16};
    int refused = 0;
    folder_make(&f);
    CHECK_OK(safetensors_save(&target, tensors, 2));
    CHECK_OK(cn_file_read(f.file, 4096, &good));
    for (int round = 0; round < 2000; round++) {
        struct safetensors *file = NULL;
        float back[4];
        const int64_t shape[1] = {4};
        char *copy = malloc(good.length);
        size_t length = round % 3 ? good.length : next_random(&state) % good.length;
        memcpy(copy, good.data, good.length);
        for (int k = 0; k <= round % 3; k++)
            copy[next_random(&state) % good.length] = (char)next_random(&state);
        FILE *out = fopen(f.file, "wb");
        fwrite(copy, 1, length, out);
        fclose(out);
        free(copy);
        if (safetensors_open(f.file, &file) != CN_OK ||
            safetensors_read_f32(file, "a", 1, shape, back) != CN_OK)
            refused++;
        cn_fail_clear();
        safetensors_close(file);
    }
    CHECK(refused > 1000 && refused < 2000);
    cn_str_free(&good);
    folder_remove(&f);
}

TEST(a_write_that_fails_leaves_the_old_file_and_no_other)
{
    struct folder f;
    struct safetensors *file = NULL;
    static float big[100000];
    float a[1] = {5}, back[1];
    const int64_t shape[1] = {1};
    const struct cn_buffer old = {
        .name = "a", .dtype = CN_DTYPE_F32, .rank = 1, .shape = {1}, .count = 1, .data = a};
    const struct cn_buffer new = {.name = "a",
                                  .dtype = CN_DTYPE_F32,
                                  .rank = 1,
                                  .shape = {100000},
                                  .count = 100000,
                                  .data = big};
    struct safetensors_target target = {.path = f.path, .dtype = CN_DTYPE_F32};
    struct rlimit before, small;
    folder_make(&f);
    CHECK_OK(safetensors_save(&target, &old, 1));
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    small = before;
    small.rlim_cur = 5000;
    signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    enum cn_status status = safetensors_save(&target, &new, 1);
    setrlimit(RLIMIT_FSIZE, &before);
    signal(SIGXFSZ, SIG_DFL);
    CHECK_INT(status, CN_ERR_IO);
    CHECK(strstr(cn_fail_message(), "cannot write") != NULL);
    cn_fail_clear();
    CHECK_INT(folder_count(&f, ""), 1);
    CHECK_OK(safetensors_open(f.path, &file));
    CHECK_OK(safetensors_read_f32(file, "a", 1, shape, back));
    CHECK_NEAR(back[0], 5, 0);
    safetensors_close(file);
    folder_remove(&f);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
