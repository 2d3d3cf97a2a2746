/* The memory plan: bytes of every part that grows with the model or the batch. */
#include "plan.h"

#include "carnot/batch.h"
#include "decode/cache.h"
#include "shape.h"
#include "shard.h"

#include <stdio.h>

/* What a process has before it opens a model: program, libtorch and its libraries (file pages
 * included), thread stacks.  Measured: 112 MB with libtorch 2.13 after its first product; runs of
 * about 1M parameters whose atoms are full end within 10 % of the plan with these. */
static const uint64_t program_bytes = 128u << 20;

/* Sizes of the torch back end (torch_head.cpp, torch_ops.h). */
enum { ROW_UNIT = 8 };
static const uint64_t head_chunk_bytes = 64u << 20, head_keep_bytes = 64u << 20;

/* Sizes of the decode engine (decode/kernels.h, decode/forward.h). */
enum { CACHE_BLOCK = 32, HEAD_UNIT = 16, PASS_ROWS = 128, HEAD_ROWS = 64 };

static const char *const names[] = {
#define X(name, text) text,
    PLAN_PARTS(X)
#undef X
};

static uint64_t round_up(uint64_t n, uint64_t unit)
{
    return (n + unit - 1) / unit * unit;
}

static uint64_t larger(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t smaller(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* ---- weights ------------------------------------------------------------- */

static uint64_t matrix_parameters(const struct model_shape *s)
{
    uint64_t q = s->heads * s->head_dim, kv = s->kv_heads * s->head_dim;
    uint64_t layer = s->hidden * (2 * q + 2 * kv) + 3 * s->hidden * s->intermediate;
    return s->layers * layer + (s->tied ? 1u : 2u) * s->vocab * s->hidden;
}

/* Parameters whose optimizer state one rank keeps. */
static uint64_t own_parameters(const struct plan *plan, const struct plan_settings *s)
{
    const uint64_t shards = s->shards ? s->shards : 1;
    return shards > 1 ? plan->parameters / shards + SHARD_BLOCK : plan->parameters;
}

static void plan_weights(const struct model_shape *shape, const struct plan_settings *s,
                         struct plan *plan)
{
    const uint64_t n = plan->parameters, vectors = n - matrix_parameters(shape);
    const uint64_t own = own_parameters(plan, s);
    const bool half = s->dtype == CN_DTYPE_BF16;
    const uint64_t compute = half ? 2 * n + 4 * vectors : 4 * n;
    /* In F32 the weights that compute are the master itself, and every rank has all of them. */
    plan->bytes[PLAN_MASTER] = s->trainable && half ? 4 * own : 0;
    plan->bytes[PLAN_COMPUTE] = compute;
    plan->bytes[PLAN_GRADIENT] = s->trainable ? 4 * n : 0;
    plan->bytes[PLAN_SUM] = s->trainable && s->exact_sum ? 8 * n : 0;
    plan->bytes[PLAN_MOMENTS] = s->trainable ? 8 * own : 0;
    if (s->trainable && s->shards > 1) plan->bytes[PLAN_SAVING] = 4 * shape->vocab * shape->hidden;
    plan->bytes[PLAN_FROZEN] = s->frozen * compute;
    const bool engine_half = s->engine_dtype == CN_DTYPE_BF16;
    const uint64_t embed = shape->tied ? 0 : shape->vocab * shape->hidden;
    if (s->slots && engine_half)
        plan->bytes[PLAN_ENGINE] = 2 * (matrix_parameters(shape) - embed); /* packed its own way */
    else if (s->slots && half)
        plan->bytes[PLAN_ENGINE] = 4 * n;
}

/* What loading needs for a moment beyond what is allocated later anyhow: floats before they are
 * rounded.  Pages of the files that are read are cache and count as free. */
static void plan_loading(const struct plan_settings *s, struct plan *plan)
{
    const uint64_t later = plan->bytes[PLAN_ACTIVATIONS] + plan->bytes[PLAN_WORK] +
                           plan->bytes[PLAN_ENGINE] + plan->bytes[PLAN_CACHE] +
                           plan->bytes[PLAN_ROWS] + plan->bytes[PLAN_BATCH];
    const uint64_t extra = !s->trainable && s->dtype == CN_DTYPE_BF16 ? 4 * plan->parameters : 0;
    plan->bytes[PLAN_LOADING] = extra > later ? extra - later : 0;
}

/* ---- activations --------------------------------------------------------- */

/* Floats per row of everything that a layer's backward reads, its input included. */
static uint64_t layer_floats(const struct model_shape *s)
{
    uint64_t qkv = (s->heads + 2 * s->kv_heads) * s->head_dim;
    uint64_t floats = 2 * s->hidden + qkv + s->heads * s->head_dim + 2 * s->intermediate;
    floats += 2 + s->heads; /* reciprocal norms, log-sum-exp */
    if (s->qk_norm) floats += qkv + s->heads + s->kv_heads;
    return floats;
}

/* Bytes of the largest moment of a layer, forward or backward, beside what is saved. */
static uint64_t layer_work(const struct model_shape *s, const struct plan_settings *p,
                           uint64_t rows)
{
    const uint64_t h = s->hidden, inner = s->intermediate, q = s->heads * s->head_dim;
    const uint64_t qkv = (s->heads + 2 * s->kv_heads) * s->head_dim;
    const bool half = p->dtype == CN_DTYPE_BF16;
    uint64_t forward = 4 * rows * larger(2 * h, inner);
    if (half) forward += 2 * rows * larger(larger(h, inner) + larger(qkv, h), h + 2 * inner);
    if (!p->trainable) return forward;
    uint64_t mlp = 4 * rows * (4 * inner + 2 * h), attention = 4 * rows * (q + qkv + 2 * h);
    if (half) {
        /* operands in bf16, then the gradient of the weight before it is added in float */
        mlp += 2 * rows * (2 * inner + h) + 2 * (2 * inner * h) + 2 * rows * h;
        attention += 2 * rows * (qkv + h) + 2 * qkv * h + 2 * rows * h;
    }
    return larger(forward, larger(mlp, attention));
}

/* Few rows keep their logits from forward to backward. */
static bool keeps_logits(const struct model_shape *s, uint64_t rows)
{
    return 4 * s->vocab * rows <= head_keep_bytes;
}

/* Logits of a chunk, unless they are kept with the activations, and what belongs to them. */
static uint64_t head_work(const struct model_shape *s, const struct plan_settings *p, uint64_t rows)
{
    uint64_t row_bytes = 4 * s->vocab;
    uint64_t chunk = head_chunk_bytes / row_bytes / ROW_UNIT * ROW_UNIT;
    if (chunk < 64) chunk = 64;
    if (chunk > 4096) chunk = 4096;
    if (chunk > rows) chunk = rows;
    uint64_t bytes = 8 * chunk * s->hidden;
    if (!keeps_logits(s, rows)) bytes += chunk * row_bytes;
    if (p->top) bytes += chunk * row_bytes;
    if (p->dtype == CN_DTYPE_BF16) {
        bytes += row_bytes * s->hidden;                                /* the head as floats */
        if (p->trainable) bytes += 2 * s->vocab * (s->hidden + chunk); /* its gradients in bf16 */
    }
    return bytes;
}

static void plan_activations(const struct model_shape *s, const struct plan_settings *p,
                             struct plan *plan)
{
    const uint64_t rows = round_up(larger(p->atom_tokens, p->longest), ROW_UNIT), h = s->hidden;
    if (!rows) return;
    uint64_t floats = 4 * h + 1; /* first, last and normed rows, what the last layer adds */
    if (!p->trainable)
        floats += layer_floats(s) + h;
    else if (p->checkpoint_activations)
        floats += layer_floats(s) + s->layers * h;
    else
        floats += s->layers * layer_floats(s);
    if (p->trainable) floats += 2 * h; /* gradients of the hidden rows */
    plan->bytes[PLAN_ACTIVATIONS] = 4 * floats * rows;
    if (keeps_logits(s, rows)) plan->bytes[PLAN_ACTIVATIONS] += 4 * s->vocab * rows;
    /* Attention's probabilities of one block, per thread (kernel_attention_scratch). */
    uint64_t d = round_up(s->head_dim, 16), keys = round_up(p->longest, 16);
    uint64_t scratch =
        4 * (6 * d * keys + 64 * keys + 96 * d) * (uint64_t)(p->threads > 0 ? p->threads : 1);
    uint64_t angles = 8 * p->longest * (s->head_dim / 2);
    plan->bytes[PLAN_WORK] =
        larger(layer_work(s, p, rows), head_work(s, p, rows)) + scratch + angles;
}

/* ---- decode engine and batch --------------------------------------------- */

static void plan_engine(const struct model_shape *s, const struct plan_settings *p,
                        struct plan *plan)
{
    const uint64_t size = p->engine_dtype == CN_DTYPE_BF16 ? 2 : 4, h = s->hidden;
    const uint64_t token = 2 * s->layers * s->kv_heads * round_up(s->head_dim, HEAD_UNIT) * size;
    const uint64_t q = s->heads * s->head_dim, qkv = q + 2 * s->kv_heads * s->head_dim;
    if (!p->slots) return;
    plan->bytes[PLAN_CACHE] = p->slots * round_up(p->context, CACHE_BLOCK) * token;
    plan->bytes[PLAN_ROWS] =
        4 * (PASS_ROWS * (2 * h + qkv + q + 3 * s->intermediate + larger(q, h)) +
             HEAD_ROWS * s->vocab + p->context * s->head_dim);
}

/* A cache of keys and values that is worth it gives its pages back before training begins. */
static void plan_turns(struct plan *plan)
{
    const uint64_t sampling = plan->bytes[PLAN_CACHE],
                   training = plan->bytes[PLAN_ACTIVATIONS] + plan->bytes[PLAN_WORK];
    if (sampling >= CACHE_REST) plan->never_at_once = smaller(sampling, training);
}

static void plan_batch(const struct plan_settings *p, struct plan *plan)
{
    uint64_t token = 0, sequence = 0;
#define PER_TOKEN token
#define PER_SEQ sequence
#define X(name, type, per, stage, disk, text) PER_##per += sizeof(type);
    CN_BATCH_COLUMNS(X)
#undef X
#undef PER_TOKEN
#undef PER_SEQ
    plan->bytes[PLAN_WAITING] = p->waiting * (p->tokens * token + p->sequences * sequence);
    token += 8 * sizeof(double); /* live values and their gradients */
    plan->bytes[PLAN_BATCH] = p->tokens * token + p->sequences * sequence;
}

/* A second model has all that the first one has, but no engine, no batch and no restricted entropy.
 */
static void plan_critic(const struct plan_settings *p, struct plan *plan)
{
    struct plan_settings alone = *p;
    if (!p->critic) return;
    alone.slots = alone.frozen = 0;
    alone.top = false;
    struct plan own = {.parameters = shape_parameters(p->critic)};
    plan_weights(p->critic, &alone, &own);
    plan_activations(p->critic, &alone, &own);
    for (int i = 0; i < PLAN_PART_COUNT; i++)
        plan->bytes[PLAN_CRITIC] += own.bytes[i];
}

enum cn_status plan_make(const struct model_shape *shape, const struct plan_settings *settings,
                         struct plan *out)
{
    struct plan plan = {.parameters = shape_parameters(shape)};
    /* Sizes below these limits keep every product above far from 2^64. */
    if (plan.parameters > (uint64_t)1 << 45 ||
        (settings->critic && shape_parameters(settings->critic) > (uint64_t)1 << 45) ||
        settings->atom_tokens > (size_t)1 << 32 || settings->longest > (size_t)1 << 32 ||
        settings->slots > 1 << 24 || settings->context > (size_t)1 << 32 ||
        settings->tokens > (size_t)1 << 40 || settings->sequences > (size_t)1 << 40 ||
        settings->frozen > 64 || settings->waiting > 64 || settings->shards > 1 << 24)
        return cn_fail(
            CN_ERR_CONFIG,
            "the memory plan of %llu parameters, atoms of %zu tokens, %zu slots of %zu and "
            "%zu tokens a step is beyond all bounds",
            (unsigned long long)plan.parameters, settings->atom_tokens, settings->slots,
            settings->context, settings->tokens);
    plan.bytes[PLAN_PROGRAM] = program_bytes;
    plan_weights(shape, settings, &plan);
    plan_activations(shape, settings, &plan);
    plan_critic(settings, &plan);
    plan_engine(shape, settings, &plan);
    plan_turns(&plan);
    plan_batch(settings, &plan);
    plan_loading(settings, &plan);
    for (int i = 0; i < PLAN_PART_COUNT; i++)
        if (__builtin_add_overflow(plan.total, plan.bytes[i], &plan.total))
            return cn_fail(CN_ERR_CONFIG, "the memory plan does not fit 64 bits");
    plan.total -= plan.never_at_once;
    *out = plan;
    return CN_OK;
}

/* ---- words --------------------------------------------------------------- */

static double megabytes(uint64_t bytes)
{
    return (double)bytes / 1e6;
}

enum cn_status plan_print(const struct plan *plan, const char *whose, uint64_t available,
                          struct cn_str *out)
{
    char title[96];
    snprintf(title, sizeof title, "memory plan%s, %llu parameters", whose,
             (unsigned long long)plan->parameters);
    CN_TRY(cn_str_format(out, "%-54s %10s\n", title, "MB"));
    for (int i = 0; i < PLAN_PART_COUNT; i++)
        if (plan->bytes[i])
            CN_TRY(cn_str_format(out, "  %-52s %10.1f\n", names[i], megabytes(plan->bytes[i])));
    if (plan->never_at_once)
        CN_TRY(cn_str_format(out, "  %-52s %10.1f\n", "of these, never at once: sampling, training",
                             -megabytes(plan->never_at_once)));
    CN_TRY(cn_str_format(out, "  %-52s %10.1f\n", "total", megabytes(plan->total)));
    if (!available) return cn_str_format(out, "  %-52s %10s\n", "available", "unknown");
    return cn_str_format(out, "  %-52s %10.1f\n", "available", megabytes(available));
}

const char *plan_part_name(enum plan_part part)
{
    return names[part];
}

const char *plan_part_advice(enum plan_part part)
{
    switch (part) {
    case PLAN_ACTIVATIONS:
        return "update.checkpoint_activations=true, or smaller update.atom_tokens";
    case PLAN_WORK:
        return "smaller update.atom_tokens";
    case PLAN_CACHE:
    case PLAN_ROWS:
        return "fewer rollout.slots or smaller rollout.max_tokens";
    case PLAN_WAITING:
        return "smaller parallel.max_staleness";
    case PLAN_BATCH:
        return "fewer train.prompts or train.samples";
    case PLAN_FROZEN:
        return "no frozen reference (algorithm.kl=none)";
    case PLAN_MASTER:
    case PLAN_MOMENTS:
        return "more ranks that share out the optimizer (parallel.shard_optimizer=true)";
    case PLAN_SUM:
        return "run.deterministic=false";
    case PLAN_CRITIC:
        return "a value head on the policy (critic.type=head)";
    default:
        return "a smaller model, or model.dtype=bf16 where only scoring is needed";
    }
}

enum cn_status plan_check(const struct plan *plan, uint64_t available)
{
    if (!available || plan->total <= available) return CN_OK;
    int worst = PLAN_PROGRAM;
    for (int i = 0; i < PLAN_PART_COUNT; i++)
        if (plan->bytes[i] > plan->bytes[worst]) worst = i;
    return cn_fail(CN_ERR_MEMORY,
                   "the run needs about %.0f MB, %.0f MB are available; the largest part is \"%s\" "
                   "with %.0f MB: try %s (--dry-run shows all parts)",
                   megabytes(plan->total), megabytes(available), names[worst],
                   megabytes(plan->bytes[worst]), plan_part_advice((enum plan_part)worst));
}
