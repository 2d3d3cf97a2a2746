/* carnot bench: the machine's roofs, who else is busy, and the models that are measured. */
#include "bench.h"

#include "../config/arguments.h"
#include "../clock.h"
#include "../doctor/doctor.h"
#include "../model/backend.h"
#include "../model/decode/cache.h"
#include "../model/decode/kernels.h"
#include "../model/decode/pool.h"

#include "carnot/json.h"
#include "carnot/log.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* ---- roofs --------------------------------------------------------------- */

struct reading {
    const char *memory;
    size_t bytes, threads;
    uint64_t sink[256];
};

enum { READ_AHEAD = 2048, LINE = 64, STRIDE = 256 };

static void read_share(void *context, size_t thread)
{
    typedef uint64_t words __attribute__((vector_size(LINE)));
    struct reading *r = context;
    size_t begin, end;
    pool_split(r->bytes / STRIDE, thread, r->threads, &begin, &end);
    words sum[STRIDE / LINE] = {0};
    for (size_t i = begin; i < end; i++) {
        const char *at = r->memory + i * STRIDE;
        for (int j = 0; j < STRIDE / LINE; j++) {
            words word;
            __builtin_prefetch(at + READ_AHEAD + LINE * j, 0, 2);
            memcpy(&word, at + LINE * j, sizeof word);
            sum[j] ^= word;
        }
    }
    for (int j = 1; j < STRIDE / LINE; j++)
        sum[0] ^= sum[j];
    r->sink[thread % 256] = sum[0][0];
}

/* Bytes per second of the best of several readings of 1 GB (large pages). */
static enum cn_status measure_reading(size_t threads, double *out)
{
    struct reading r = {.bytes = (size_t)1 << 30, .threads = threads};
    char *memory = cache_map(r.bytes);
    struct pool *pool = NULL;
    if (!memory) return cn_fail(CN_ERR_MEMORY, "bench: no memory for the read roof (1 GB)");
    enum cn_status status = pool_open(threads, &pool);
    memset(memory, 1, r.bytes);
    r.memory = memory;
    for (int i = 0; i < 4 && status == CN_OK; i++) {
        const double start = clock_seconds();
        pool_run(pool, read_share, &r);
        const double rate = (double)r.bytes / (clock_seconds() - start);
        if (rate > *out) *out = rate;
    }
    pool_close(pool);
    cache_unmap(memory, r.bytes);
    return status;
}

enum cn_status bench_roofs_raise(int threads, struct bench_roofs *roofs)
{
    struct torch_facts facts;
    CN_TRY(measure_reading((size_t)threads, &roofs->read));
    CN_TRY(model_torch_facts(0.15, &facts));
    if (1e9 * facts.gflops_f32 > roofs->f32) roofs->f32 = 1e9 * facts.gflops_f32;
    if (1e9 * facts.gflops_bf16 > roofs->bf16) roofs->bf16 = 1e9 * facts.gflops_bf16;
    return CN_OK;
}

/* ---- who else is busy ---------------------------------------------------- */

static double own_seconds(void)
{
    double sum = 0;
    static const int who[] = {RUSAGE_SELF, RUSAGE_CHILDREN};
    for (int i = 0; i < 2; i++) {
        struct rusage usage;
        getrusage(who[i], &usage);
        sum += (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
               1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec);
    }
    return sum;
}

/* Core seconds of this machine since its start that were not idle, time stolen by other guests
 * included. */
static double busy_seconds(void)
{
    double field[8] = {0};
    FILE *file = fopen("/proc/stat", "r");
    if (!file) return 0;
    const int n = fscanf(file, "cpu %lf %lf %lf %lf %lf %lf %lf %lf", &field[0], &field[1],
                         &field[2], &field[3], &field[4], &field[5], &field[6], &field[7]);
    fclose(file);
    if (n < 8) return 0;
    return (field[0] + field[1] + field[2] + field[5] + field[6] + field[7]) /
           (double)sysconf(_SC_CLK_TCK);
}

void bench_watch_start(struct bench_watch *watch)
{
    *watch = (struct bench_watch){clock_seconds(), own_seconds(), busy_seconds()};
}

double bench_watch_others(const struct bench_watch *watch)
{
    const double cores = (double)sysconf(_SC_NPROCESSORS_ONLN);
    const double wall = clock_seconds() - watch->wall;
    const double others = busy_seconds() - watch->busy - (own_seconds() - watch->own);
    return wall > 0 && others > 0 ? others / wall / cores : 0;
}

void bench_row(const struct bench_watch *watch, const char *format, ...)
{
    char row[1024], busy[64] = "";
    const double others = bench_watch_others(watch);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(row, sizeof row, format, arguments);
    va_end(arguments);
    if (others > 0.05)
        snprintf(busy, sizeof busy, "  (others used %.0f %% of the cores)", 100 * others);
    cn_log_info("%s%s", row, busy);
}

enum cn_status bench_print_machine(const struct bench_options *options)
{
    char processor[200];
    struct torch_facts facts;
    const struct kernels *kernels;
    doctor_processor(processor, sizeof processor);
    CN_TRY(model_torch_facts(0, &facts));
    CN_TRY(kernels_pick(NULL, &kernels));
    cn_log_info("%s, %ld cores, %d in the affinity mask, %zu threads; libtorch %s with %s; decode "
                "kernels %s",
                processor, sysconf(_SC_NPROCESSORS_ONLN), arguments_cores(), bench_threads(options),
                facts.version, facts.blas, kernels->name);
    return CN_OK;
}

/* ---- models -------------------------------------------------------------- */

#define LLAMA(vocab, hidden, inner, layers, heads, kv_heads)                                       \
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", "                      \
    "\"vocab_size\": " #vocab ", \"hidden_size\": " #hidden ", \"intermediate_size\": " #inner     \
    ", \"num_hidden_layers\": " #layers ", \"num_attention_heads\": " #heads                       \
    ", \"num_key_value_heads\": " #kv_heads                                                        \
    ", \"max_position_embeddings\": 8192, \"tie_word_embeddings\": true, \"rms_norm_eps\": 1e-5}"

/* SmolLM2-135M's shape; the tiny model of launch/compare-trl; about Qwen2.5-0.5B's size. */
static const struct shape {
    const char *name, *init;
} shapes[] = {{"1m", LLAMA(512, 128, 384, 4, 4, 4)},
              {"135m", LLAMA(49152, 576, 1536, 30, 9, 3)},
              {"0.5b", LLAMA(151936, 896, 4864, 24, 14, 2)}};
enum { SHAPES = sizeof shapes / sizeof *shapes };

const char *bench_model_init(const struct bench_options *options)
{
    for (int i = 0; i < SHAPES; i++)
        if (strcmp(options->model, shapes[i].name) == 0) return shapes[i].init;
    return NULL;
}

size_t bench_threads(const struct bench_options *options)
{
    return (size_t)(options->threads ? options->threads : arguments_cores());
}

enum cn_status bench_model_open(const struct bench_options *options, enum cn_dtype dtype,
                                bool trainable, struct cn_model **out)
{
    struct cn_json *init = NULL;
    struct cn_model_settings settings = {.type = "torch",
                                         .device = "cpu",
                                         .path = options->model,
                                         .dtype = dtype,
                                         .threads = (int)bench_threads(options),
                                         .checkpoint_activations = options->checkpoint,
                                         .trainable = trainable};
    const char *shape = bench_model_init(options);
    if (shape) {
        CN_TRY(cn_json_parse((struct cn_text){shape, strlen(shape)}, options->model, &init));
        settings.init = init;
        settings.path = NULL;
    }
    enum cn_status status = cn_model_open(&settings, out);
    cn_json_close(init);
    return status;
}

enum cn_status bench_each_dtype(const struct bench_options *options, bench_rows *rows)
{
    struct bench_roofs roofs = {0};
    static const struct {
        const char *name;
        enum cn_dtype dtype;
    } types[] = {{"f32", CN_DTYPE_F32}, {"bf16", CN_DTYPE_BF16}};
    for (int i = 0; i < 2; i++)
        if (!options->dtype || strcmp(options->dtype, types[i].name) == 0)
            CN_TRY(rows(options, types[i].dtype, &roofs));
    return CN_OK;
}
