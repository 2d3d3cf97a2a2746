/* GGUF: every tensor type bit for bit, names and order of rows, conversion, and files that must be
 * refused. Golden files: tests/data/make_gguf.py. */
#include "check.h"

#include "carnot/json.h"
#include "trainer/model/gguf.h"
#include "trainer/model/safetensors.h"
#include "trainer/model/shape.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *const golden_names[] = {"gguf_llama", "gguf_qwen2", "gguf_qwen3"};
enum { GOLDENS = 3 };

static void golden_path(size_t index, const char *suffix, char *out, size_t size)
{
    snprintf(out, size, "%s/%s.%s", CN_TEST_DATA, golden_names[index], suffix);
}

/* Compares every tensor of the shape with the golden file, bit for bit. */
static void compare_tensors(const struct gguf *file, const struct model_shape *shape,
                            const char *golden)
{
    struct safetensors *expected = NULL;
    struct cn_arena arena;
    const struct shape_tensor *list;
    size_t n, n_expected;
    cn_arena_init(&arena);
    CHECK_OK(safetensors_open(golden, &expected));
    CHECK_OK(shape_tensors(shape, &arena, &list, &n));
    safetensors_tensors(expected, &n_expected);
    CHECK_INT(n, n_expected);
    for (size_t i = 0; i < n; i++) {
        float *a, *b;
        CHECK_OK(CN_NEW(&arena, list[i].count, &a));
        CHECK_OK(CN_NEW(&arena, list[i].count, &b));
        CHECK_OK(gguf_read_tensor(file, shape, &list[i], a));
        CHECK_OK(safetensors_read_f32(expected, list[i].name, list[i].rank, list[i].shape, b));
        if (memcmp(a, b, list[i].count * sizeof *a) != 0) CHECK_FAILED("%s differs", list[i].name);
    }
    safetensors_close(expected);
    cn_arena_free(&arena);
}

TEST(every_tensor_type_gives_the_floats_of_the_gguf_package_in_the_order_of_hugging_face)
{
    for (size_t i = 0; i < GOLDENS; i++) {
        char path[512], golden[512];
        struct gguf *file = NULL;
        struct model_shape shape;
        golden_path(i, "gguf", path, sizeof path);
        golden_path(i, "safetensors", golden, sizeof golden);
        CHECK_OK(gguf_open(path, &file));
        CHECK_OK(gguf_shape(file, &shape));
        compare_tensors(file, &shape, golden);
        gguf_close(file);
    }
}

TEST(the_golden_files_contain_every_tensor_type)
{
    unsigned long long seen = 0;
    for (size_t i = 0; i < GOLDENS; i++) {
        char path[512];
        struct gguf *file = NULL;
        size_t n;
        golden_path(i, "gguf", path, sizeof path);
        CHECK_OK(gguf_open(path, &file));
        const struct gguf_tensor *tensors = gguf_tensors(file, &n);
        for (size_t t = 0; t < n; t++)
            seen |= 1ull << tensors[t].type;
        gguf_close(file);
    }
#define X(name, number, elements, bytes) CHECK(seen >> (number)&1);
    GGUF_TYPES(X)
#undef X
}

TEST(shapes_follow_from_metadata_and_tensors)
{
    char path[512];
    struct gguf *file = NULL;
    struct model_shape s;
    golden_path(0, "gguf", path, sizeof path);
    CHECK_OK(gguf_open(path, &file));
    CHECK_OK(gguf_shape(file, &s));
    CHECK_INT(s.family, MODEL_LLAMA);
    CHECK(!s.tied && !s.qkv_bias);
    CHECK_NEAR(s.rms_eps, 1e-5, 0); /* not 9.9999997e-06 */
    CHECK_INT(s.rope, ROPE_LLAMA3); /* found from rope_freqs.weight */
    CHECK_NEAR(s.rope_factor, 32, 0);
    CHECK_NEAR(s.rope_theta, 500000, 0);
    CHECK_INT(s.n_eos, 1);
    gguf_close(file);
    golden_path(1, "gguf", path, sizeof path);
    CHECK_OK(gguf_open(path, &file));
    CHECK_OK(gguf_shape(file, &s));
    CHECK(s.family == MODEL_QWEN2 && s.tied && s.qkv_bias && !s.o_bias);
    gguf_close(file);
    golden_path(2, "gguf", path, sizeof path);
    CHECK_OK(gguf_open(path, &file));
    CHECK_OK(gguf_shape(file, &s));
    CHECK(s.family == MODEL_QWEN3 && s.qk_norm && s.head_dim == 8);
    gguf_close(file);
}

static void remove_folder(const char *path)
{
    char command[200];
    snprintf(command, sizeof command, "rm -rf '%s'", path);
    CHECK_INT(system(command), 0);
}

TEST(convert_writes_a_folder_that_has_the_same_weights_and_tokens)
{
    char folder[] = "/tmp/carnot-gguf-XXXXXX", path[512], golden[512], out[128], command[2048];
    struct model_shape shape;
    struct cn_str text = {0};
    struct cn_json *root = NULL;
    struct safetensors *weights = NULL;
    static float a[8192], b[8192];
    const int64_t size[2] = {32, 32};
    CHECK(mkdtemp(folder) != NULL);
    golden_path(1, "gguf", path, sizeof path);
    golden_path(1, "safetensors", golden, sizeof golden);
    snprintf(out, sizeof out, "%s/new", folder);
    snprintf(command, sizeof command,
             "'%s/carnot' convert '%s' '%s' --dtype f32 2>/dev/null && "
             "! '%s/carnot' convert '%s' '%s' 2>/dev/null && "
             "'%s/carnot' convert '%s' '%s-16' 2>/dev/null",
             CN_TEST_BIN, path, out, CN_TEST_BIN, path, out, CN_TEST_BIN, out, out);
    CHECK_INT(system(command), 0);
    CHECK_OK(shape_read(out, &shape));
    CHECK(shape.family == MODEL_QWEN2 && shape.tied);
    CHECK_OK(safetensors_open(out, &weights));
    CHECK_OK(safetensors_read_f32(weights, "model.layers.0.self_attn.q_proj.weight", 2, size, a));
    safetensors_close(weights);
    CHECK_OK(safetensors_open(golden, &weights));
    CHECK_OK(safetensors_read_f32(weights, "model.layers.0.self_attn.q_proj.weight", 2, size, b));
    safetensors_close(weights);
    CHECK(memcmp(a, b, 32 * 32 * sizeof *a) == 0);
    snprintf(path, sizeof path, "%s/tokenizer.json", out);
    CHECK_OK(cn_file_read(path, 1 << 20, &text));
    CHECK_OK(cn_json_parse(cn_str_text(&text), path, &root));
    const struct cn_json *model = cn_json_get(root, "model");
    CHECK_INT(cn_json_count(cn_json_get(model, "vocab")), 102);
    CHECK_INT(cn_json_count(cn_json_get(model, "merges")), 4);
    CHECK_INT(cn_json_count(cn_json_get(root, "added_tokens")), 3);
    cn_json_close(root);
    cn_str_free(&text);
    /* The second conversion, folder to folder, copied the tokenizer and halved the weights. */
    snprintf(path, sizeof path, "%s-16/tokenizer.json", out);
    CHECK(access(path, R_OK) == 0);
    snprintf(path, sizeof path, "%s-16", out);
    CHECK_OK(safetensors_open(path, &weights));
    CHECK_INT(safetensors_find(weights, "model.norm.weight")->dtype, CN_DTYPE_BF16);
    safetensors_close(weights);
    remove_folder(folder);
}

/* ---- files that lie ------------------------------------------------------ */

static void put(struct cn_str *out, uint64_t value, int bytes)
{
    for (int i = 0; i < bytes; i++) {
        char byte = (char)(value >> 8 * i);
        CHECK(cn_str_append(out, &byte, 1) == CN_OK);
    }
}

static void put_text(struct cn_str *out, const char *text)
{
    put(out, strlen(text), 8);
    CHECK(cn_str_add(out, text) == CN_OK);
}

static enum cn_status open_bytes(const struct cn_str *bytes)
{
    char path[] = "/tmp/carnot-gguf-XXXXXX";
    struct gguf *file = NULL;
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, bytes->data, bytes->length) == (ssize_t)bytes->length);
    close(fd);
    enum cn_status status = gguf_open(path, &file);
    gguf_close(file);
    unlink(path);
    return status;
}

/* A header that claims so many tensors and pairs. */
static void start(struct cn_str *out, uint64_t version, uint64_t tensors, uint64_t pairs)
{
    cn_str_clear(out);
    CHECK(cn_str_add(out, "GGUF") == CN_OK);
    put(out, version, 4);
    put(out, tensors, 8);
    put(out, pairs, 8);
}

/* One tensor "t" with two dimensions. */
static void put_tensor(struct cn_str *out, uint64_t d0, uint64_t d1, uint64_t type, uint64_t offset)
{
    put_text(out, "t");
    put(out, 2, 4);
    put(out, d0, 8);
    put(out, d1, 8);
    put(out, type, 4);
    put(out, offset, 8);
}

TEST(headers_that_lie_are_refused)
{
    struct cn_str s = {0};
    start(&s, 3, 0, 0);
    CHECK_OK(open_bytes(&s));
    start(&s, 2, 0, 0);
    CHECK_OK(open_bytes(&s));
    start(&s, 1, 0, 0);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "version 1");
    start(&s, 0x03000000, 0, 0); /* big-endian */
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "little-endian");
    s.data[0] = 'X';
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "not a GGUF file");
    s.length = 10;
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "too short");
    start(&s, 3, UINT64_MAX, 0);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "claims");
    start(&s, 3, 0, 1);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "metadata key");
    start(&s, 3, 0, 1);
    put(&s, UINT64_MAX, 8); /* a key of that length */
    put(&s, 0, 8);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "truncated");
    start(&s, 3, 0, 1);
    put_text(&s, "key");
    put(&s, 13, 4); /* no such kind */
    put(&s, 0, 8);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "kind 13");
    start(&s, 3, 0, 1);
    put_text(&s, "key");
    put(&s, 9, 4);
    put(&s, 12, 4);
    put(&s, UINT64_MAX / 8, 8); /* a list of that many numbers */
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "truncated");
    start(&s, 3, 0, 1);
    put_text(&s, "key");
    put(&s, 9, 4);
    put(&s, 9, 4); /* a list of lists */
    put(&s, 1, 8);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "kind 9");
    start(&s, 3, 0, 1);
    put_text(&s, "general.alignment");
    put(&s, 4, 4);
    put(&s, 0, 4);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "general.alignment is 0");
    cn_str_free(&s);
}

TEST(tensors_outside_the_file_or_of_impossible_shape_are_refused)
{
    static const struct {
        uint64_t d0, d1, type, offset;
        const char *message;
    } cases[] = {
        {32, 4, 0, 0, "truncated"},
        {32, 1, 0, UINT64_MAX - 31, "truncated"},
        {1ull << 40, 1ull << 40, 0, 0, "impossible shape"},
        {UINT64_MAX, 1, 0, 0, "impossible shape"},
        {1ull << 62, 1, 0, 0, "truncated"},
        {31, 1, 2, 0, "Q4_0 blocks"},
        {32, 1, 12, 0, "type 12"},
    };
    struct cn_str s = {0};
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        start(&s, 3, 1, 0);
        put_tensor(&s, cases[i].d0, cases[i].d1, cases[i].type, cases[i].offset);
        for (int k = 0; k < 128; k++)
            put(&s, 0, 1);
        CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, cases[i].message);
    }
    start(&s, 3, 2, 0);
    put_tensor(&s, 32, 1, 0, 0);
    put_tensor(&s, 32, 1, 0, 0);
    for (int k = 0; k < 256; k++)
        put(&s, 0, 1);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "twice");
    start(&s, 3, 1, 0);
    put_text(&s, "t");
    put(&s, 9, 4);
    for (int k = 0; k < 32; k++)
        put(&s, 0, 8);
    CHECK_FAILS(open_bytes(&s), CN_ERR_MODEL, "rank 9");
    cn_str_free(&s);
}

TEST(random_damage_never_crashes_the_reader)
{
    char path[512], damaged[] = "/tmp/carnot-gguf-XXXXXX";
    struct cn_str good = {0};
    uint64_t state = 3;
    int refused = 0;
    static float values[1 << 16];
    golden_path(2, "gguf", path, sizeof path);
    CHECK_OK(cn_file_read(path, 1 << 20, &good));
    CHECK(mkstemp(damaged) >= 0);
    for (int round = 0; round < 1500; round++) {
        struct gguf *file = NULL;
        struct model_shape shape;
        size_t n = 0, length = good.length;
        char *copy = malloc(good.length);
        memcpy(copy, good.data, good.length);
        for (int k = 0; k <= round % 4; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            copy[(state >> 33) % 4000] = (char)(state >> 20); /* the header */
        }
        if (round % 5 == 0) length = (state >> 35) % good.length;
        FILE *out = fopen(damaged, "wb");
        fwrite(copy, 1, length, out);
        fclose(out);
        free(copy);
        if (gguf_open(damaged, &file) != CN_OK || gguf_shape(file, &shape) != CN_OK) refused++;
        cn_fail_clear();
        if (!file) continue;
        const struct gguf_tensor *tensors = gguf_tensors(file, &n);
        for (size_t t = 0; t < n; t++)
            if (tensors[t].count <= sizeof values / sizeof *values)
                gguf_read_f32(&tensors[t], values);
        struct gguf_list list;
        if (gguf_list(file, "tokenizer.ggml.merges", &list) && list.texts)
            for (size_t i = 0; i < list.count; i++)
                gguf_next_text(&list);
        gguf_close(file);
    }
    CHECK(refused > 300 && refused < 1500);
    unlink(damaged);
    cn_str_free(&good);
}

int main(int argc, char **argv)
{
    return check_main(argc, argv);
}
