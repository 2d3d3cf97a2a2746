/* Speed of the C decode engine over random weights, as shares of this machine's roofs measured in
 * the same run:
 *
 *     bench_decode [135m|1m] [threads] [steps] [isa] [cpu] [batch]
 *
 * Bandwidth roof: bytes of weights read per second, against a plain read of 1 GB by the same
 * threads.  Arithmetic roof: 2 x matrix weights x tokens per second, against a loop of
 * multiply-adds in registers.  Every slot has a prompt of its own of 32 tokens; sampling is
 * included.  Not a test: nothing fails here. */
#include "trainer/model/decode/cache.h"
#include "trainer/model/decode/engine.h"
#include "trainer/model/decode/kernels.h"
#include "trainer/model/decode/pool.h"

#include <immintrin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static clockid_t clock_used = CLOCK_MONOTONIC;

static double now_s(void)
{
    struct timespec t;
    clock_gettime(clock_used, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- roofs ----------------------------------------------------------------- */

struct roof {
    size_t threads;
    const char *memory;
    size_t bytes;
    uint64_t sink[256];
    float sums[256];
};

enum { READ_AHEAD = 2048 }; /* bytes; the best of several, 10 % over none */

__attribute__((target("avx2"))) static void read_share(void *context, size_t thread)
{
    struct roof *roof = context;
    size_t begin, end;
    pool_split(roof->bytes / 256, thread, roof->threads, &begin, &end);
    __m256i sum[8] = {0};
    for (size_t i = begin; i < end; i++) {
        const __m256i *line = (const __m256i *)(const void *)(roof->memory + 256 * i);
        for (int j = 0; j < 4; j++)
            __builtin_prefetch((const char *)line + READ_AHEAD + 64 * j, 0, 2);
        for (int j = 0; j < 8; j++)
            sum[j] = _mm256_xor_si256(sum[j], _mm256_load_si256(line + j));
    }
    for (int j = 1; j < 8; j++)
        sum[0] = _mm256_xor_si256(sum[0], sum[j]);
    roof->sink[thread % 256] = (uint64_t)_mm256_extract_epi64(sum[0], 0);
}

enum { CHAINS = 24, ROUNDS = 2000000 };

__attribute__((target("avx512f"))) static void fma_share(void *context, size_t thread)
{
    struct roof *roof = context;
    __m512 sum[CHAINS], x = _mm512_set1_ps(0.5f), y = _mm512_set1_ps(1e-3f * (float)thread);
#pragma GCC unroll 24
    for (int j = 0; j < CHAINS; j++)
        sum[j] = y;
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 24
        for (int j = 0; j < CHAINS; j++) {
            sum[j] = _mm512_fmadd_ps(sum[j], x, y);
            __asm__ volatile("" : "+v"(sum[j]));
        }
#pragma GCC unroll 24
    for (int j = 1; j < CHAINS; j++)
        sum[0] = _mm512_add_ps(sum[0], sum[j]);
    roof->sums[thread % 256] = _mm512_reduce_add_ps(sum[0]);
}

__attribute__((target("avx512f,avx512bf16"))) static void dot_share(void *context, size_t thread)
{
    struct roof *roof = context;
    __m512 sum[CHAINS];
    __m512bh x = (__m512bh)_mm512_set1_epi32((int)thread + 0x3f803f80);
#pragma GCC unroll 24
    for (int j = 0; j < CHAINS; j++)
        sum[j] = _mm512_set1_ps(1e-3f);
    for (int i = 0; i < ROUNDS; i++)
#pragma GCC unroll 24
        for (int j = 0; j < CHAINS; j++) {
            sum[j] = _mm512_dpbf16_ps(sum[j], x, x);
            __asm__ volatile("" : "+v"(sum[j]));
        }
#pragma GCC unroll 24
    for (int j = 1; j < CHAINS; j++)
        sum[0] = _mm512_add_ps(sum[0], sum[j]);
    roof->sums[thread % 256] = _mm512_reduce_add_ps(sum[0]);
}

/* Best of three runs, in units of `work` per second. */
static double best_rate(struct pool *pool, void (*share)(void *, size_t), struct roof *roof,
                        double work)
{
    double best = 1e30;
    for (int i = 0; i < 3; i++) {
        double start = now_s();
        pool_run(pool, share, roof);
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    return work / best;
}

struct roofs {
    double read, fma, dot; /* bytes/s, flop/s; 0: not on this processor */
};

static struct roofs measure_roofs(size_t threads)
{
    struct roofs roofs = {0};
    struct roof roof = {.threads = threads, .bytes = (size_t)1 << 30};
    struct pool *pool;
    char *memory = cache_map(roof.bytes); /* large pages */
    if (!memory || pool_open(threads, &pool) != CN_OK) exit(4);
    memset(memory, 1, roof.bytes);
    roof.memory = memory;
    roofs.read = best_rate(pool, read_share, &roof, (double)roof.bytes);
    double flop = 2.0 * 16 * CHAINS * ROUNDS * (double)threads;
    if (__builtin_cpu_supports("avx512f")) roofs.fma = best_rate(pool, fma_share, &roof, flop);
    if (__builtin_cpu_supports("avx512bf16"))
        roofs.dot = best_rate(pool, dot_share, &roof, 2 * flop);
    pool_close(pool);
    cache_unmap(memory, roof.bytes);
    printf("%zu threads: read %.1f GB/s, fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s\n", threads,
           roofs.read / 1e9, roofs.fma / 1e9, roofs.dot / 1e9);
    return roofs;
}

/* ---- models ---------------------------------------------------------------- */

static const struct model_shape shapes[] = {
    {.family = MODEL_LLAMA,
     .vocab = 49152,
     .hidden = 576,
     .intermediate = 1536,
     .layers = 30,
     .heads = 9,
     .kv_heads = 3,
     .head_dim = 64,
     .context = 2048,
     .rms_eps = 1e-5,
     .rope_theta = 1e5,
     .tied = true},
    {.family = MODEL_LLAMA,
     .vocab = 512,
     .hidden = 128,
     .intermediate = 384,
     .layers = 4,
     .heads = 4,
     .kv_heads = 2,
     .head_dim = 32,
     .context = 2048,
     .rms_eps = 1e-5,
     .rope_theta = 1e4,
     .tied = true},
};

struct weights_list {
    struct cn_arena arena;
    struct cn_buffer *buffer;
    size_t n, products; /* products: elements of the matrices that a token is multiplied with */
};

static enum cn_status random_weights(const struct model_shape *shape, struct weights_list *out)
{
    const struct shape_tensor *tensor;
    CN_TRY(shape_tensors(shape, &out->arena, &tensor, &out->n));
    CN_TRY(CN_NEW(&out->arena, out->n, &out->buffer));
    uint32_t state = 1;
    for (size_t i = 0; i < out->n; i++) {
        float *data;
        CN_TRY(CN_NEW(&out->arena, tensor[i].count, &data));
        for (size_t j = 0; j < tensor[i].count; j++) {
            state = state * 1664525u + 1013904223u;
            data[j] = tensor[i].rank == 1 ? 1.0f : ((float)(state >> 8) / 8388608.0f - 1) * 0.1f;
        }
        out->buffer[i] = (struct cn_buffer){.name = tensor[i].name,
                                            .dtype = CN_DTYPE_F32,
                                            .rank = tensor[i].rank,
                                            .shape = {tensor[i].shape[0], tensor[i].shape[1]},
                                            .count = tensor[i].count,
                                            .data = data,
                                            .device = -1};
        if (tensor[i].rank == 2) out->products += tensor[i].count;
    }
    return CN_OK;
}

/* ---- decode ---------------------------------------------------------------- */

struct decode_bench {
    const struct model_shape *shape;
    const struct weights_list *weights;
    const struct roofs *roofs;
    size_t threads, batch;
    int steps;
    enum cn_dtype dtype;
    const char *isa;
};

enum { PROMPT = 32, BATCH_MAX = 64 };

static enum cn_status decode_rate(const struct decode_bench *b, double *prefill, double *decode,
                                  const char **isa)
{
    struct engine_settings settings = {.shape = b->shape,
                                       .slots = b->batch,
                                       .threads = b->threads,
                                       .context = PROMPT + 8 + 3 * (size_t)b->steps,
                                       .dtype = b->dtype,
                                       .isa = b->isa};
    struct engine *engine;
    size_t slots[BATCH_MAX];
    struct cn_drawn drawn[BATCH_MAX];
    CN_TRY(engine_open(&settings, b->weights->buffer, b->weights->n, &engine));
    *isa = engine_isa(engine);
    double start = now_s();
    for (size_t s = 0; s < b->batch; s++) {
        int32_t ids[PROMPT];
        for (int i = 0; i < PROMPT; i++)
            ids[i] = (int32_t)((s * 31 + (size_t)i * 7) % b->shape->vocab);
        struct cn_draw draw = {.key = {{1, 2}}, .prompt = s, .temperature = 1, .top_p = 1};
        CN_TRY(engine_slot_open(engine, ids, PROMPT, &draw, &slots[s]));
    }
    *prefill = (double)(b->batch * (PROMPT - 1)) / (now_s() - start);
    for (int i = 0; i < 2; i++)
        CN_TRY(engine_step(engine, slots, b->batch, drawn));
    double best = 1e30;
    for (int round = 0; round < 3; round++) {
        start = now_s();
        for (int i = 0; i < b->steps; i++)
            CN_TRY(engine_step(engine, slots, b->batch, drawn));
        double took = now_s() - start;
        best = took < best ? took : best;
    }
    *decode = (double)b->batch * b->steps / best;
    start = now_s();
    for (size_t s = 0; s < b->batch; s++)
        engine_slot_close(engine, slots[s]);
    CN_TRY(engine_refresh(engine, b->weights->buffer, b->weights->n));
    if (b->batch == 1)
        printf("refresh of %s: %.1f ms\n", cn_dtype_name(b->dtype), 1e3 * (now_s() - start));
    engine_close(engine);
    return CN_OK;
}

static enum cn_status bench_row(const struct decode_bench *b)
{
    double prefill, decode;
    const char *isa;
    CN_TRY(decode_rate(b, &prefill, &decode, &isa));
    double bytes = (double)(b->weights->products * cn_dtype_size(b->dtype)) / (double)b->batch;
    double roof = b->dtype == CN_DTYPE_BF16 ? b->roofs->dot : b->roofs->fma;
    printf(
        "%-4s %-10s batch %2zu: %8.1f tok/s  %7.3f ms a step  %3.0f %% of read, %3.0f %% of flops;"
        "  prefill %.0f tok/s\n",
        cn_dtype_name(b->dtype), isa, b->batch, decode, 1e3 * (double)b->batch / decode,
        100 * decode * bytes / b->roofs->read,
        roof > 0 ? 100 * decode * 2 * (double)b->weights->products / roof : 0, prefill);
    fflush(stdout);
    return CN_OK;
}

int main(int argc, char **argv)
{
    bool small = argc > 1 && strcmp(argv[1], "1m") == 0;
    size_t threads = argc > 2 ? (size_t)atoi(argv[2]) : 2;
    int steps = argc > 3 ? atoi(argv[3]) : small ? 32 : 10;
    if (argc > 5 && strcmp(argv[5], "cpu") == 0) clock_used = CLOCK_PROCESS_CPUTIME_ID;
    struct roofs roofs = measure_roofs(threads);
    struct weights_list weights = {.n = 0};
    struct decode_bench b = {.shape = &shapes[small],
                             .weights = &weights,
                             .roofs = &roofs,
                             .threads = threads,
                             .steps = steps,
                             .isa = argc > 4 && argv[4][0] ? argv[4] : NULL};
    enum cn_status status = random_weights(b.shape, &weights);
    printf("%s: %zu parameters in products\n", small ? "1m" : "135m", weights.products);
    static const size_t batches[] = {1, 4, 8, 16, 32, 64};
    size_t only = argc > 6 ? (size_t)atoi(argv[6]) : 0;
    for (int d = 0; d < 2; d++)
        for (int i = 0; i < 6 && status == CN_OK; i++) {
            if (only && batches[i] != only) continue;
            b.dtype = d ? CN_DTYPE_BF16 : CN_DTYPE_F32;
            b.batch = batches[i];
            status = bench_row(&b);
        }
    if (status != CN_OK) fprintf(stderr, "%s\n", cn_fail_message());
    cn_arena_free(&weights.arena);
    return cn_status_exit_code(status);
}
