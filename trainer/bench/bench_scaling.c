/* carnot bench scaling-model: what a step would cost on many GPUs, by plain arithmetic.
 *
 *     compute    (6 + 2 scored) N tokens / (GPUs x peak x share)
 *                6 N a token forward and backward, 2 N for each time that it is scored
 *     decode     steps of decoding x the longer of
 *                    2 N bytes / (memory bandwidth x its share)    weights are read once a step
 *                    2 N sequences / (GPUs x peak x share)
 *     exchange   2 (P-1)/P x bytes of the sum / bandwidth + 2 (P-1) x latency
 *     step       their sum: nothing overlaps
 *     memory     weights + gradient + sum of integers if there is one + optimizer + activations
 *                ZeRO-1 divides the optimizer by P
 *
 * The bandwidth is that of a GPU's own link inside a host and its share of the network beyond it;
 * an exchange over several hosts goes at the slower one. */
#include "bench.h"

#include "carnot/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct input {
    const char *name;
    double value;
    const char *source;
} defaults[] = {
    {"peak_tflops", 989, "H100 SXM data sheet, bf16 dense"},
    {"share", 0.4, "assumed: share of the peak that training reaches"},
    {"memory_gbs", 3350, "H100 SXM data sheet, GB/s"},
    {"decode_share", 0.6, "assumed: share of the memory bandwidth that decoding reaches"},
    {"memory_gb", 80, "H100 SXM data sheet"},
    {"gpus_per_host", 8, "assumed"},
    {"inside_gbs", 450, "NVLink 4 data sheet, GB/s each way and GPU"},
    {"between_gbs", 50, "assumed: one 400 Gbit/s port for each GPU, GB/s"},
    {"latency_us", 10, "assumed: one message between hosts"},
    {"sequences", 1024, "assumed: answers a step, of all GPUs"},
    {"tokens", 2048, "assumed: tokens of an answer, its prompt included"},
    {"gradient_bytes", 8, "deterministic sums of 64-bit integers; 4: run.deterministic=false"},
    {"activation_gb", 8, "assumed: activations of one atom and caches"},
    {"scored", 1, "assumed: scoring passes a step; 0: one update per rollout, no reference"},
    {"parameters", 0, "0: 0.494e9 and 7.6e9 (Qwen2.5-0.5B and 7B)"},
    {"gpus", 0, "0: 8, 64 and 512"},
};
enum {
    PEAK,
    SHARE,
    MEMORY_RATE,
    DECODE_SHARE,
    MEMORY,
    PER_HOST,
    INSIDE,
    BETWEEN,
    LATENCY,
    SEQUENCES,
    TOKENS,
    GRADIENT,
    ACTIVATIONS,
    SCORED,
    PARAMETERS,
    GPUS,
    INPUTS
};

static const double models[] = {0.494e9, 7.6e9}, gpus[] = {8, 64, 512};
enum { MODELS = sizeof models / sizeof *models, WORLDS = sizeof gpus / sizeof *gpus };

/* Value i of a list, or the one that takes its place. */
static double or_one(double one, const double *list, int i)
{
    return one > 0 ? one : list[i];
}

struct cost {
    double compute, decode, exchange, plain_gb, sharded_gb;
};

/* Of a parameter, on every GPU: bf16 weight, float gradient of the atoms here, and their sum as an
 * integer. */
static double fixed_bytes(const double in[INPUTS])
{
    return 2 + 4 + (in[GRADIENT] > 4 ? in[GRADIENT] : 0);
}

static struct cost cost_of(const double in[INPUTS], double n, double p)
{
    const double tokens = in[SEQUENCES] * in[TOKENS];
    const double rate = 1e9 * (p > in[PER_HOST] ? in[BETWEEN] : in[INSIDE]);
    const double fixed = n * fixed_bytes(in) / 1e9 + in[ACTIVATIONS];
    const double optimizer = n * 12 / 1e9; /* master weights and two moments in floats */
    const double flops = 1e12 * in[PEAK] * in[SHARE];
    const double reading = 2 * n / (1e9 * in[MEMORY_RATE] * in[DECODE_SHARE]),
                 computing = 2 * n * in[SEQUENCES] / (p * flops);
    return (struct cost){.compute = (6 + 2 * in[SCORED]) * n * tokens / (p * flops),
                         .decode = in[TOKENS] * (reading > computing ? reading : computing),
                         .exchange = 2 * (p - 1) / p * n * in[GRADIENT] / rate +
                                     2 * (p - 1) * 1e-6 * in[LATENCY],
                         .plain_gb = fixed + optimizer,
                         .sharded_gb = fixed + optimizer / p};
}

static enum cn_status change(const char *argument, double in[INPUTS])
{
    const char *equals = strchr(argument, '=');
    for (int i = 0; equals && i < INPUTS; i++) {
        char *end;
        if (strlen(defaults[i].name) != (size_t)(equals - argument) ||
            strncmp(defaults[i].name, argument, (size_t)(equals - argument)) != 0)
            continue;
        in[i] = strtod(equals + 1, &end);
        const bool enough = i == SCORED ? in[i] >= 0 : in[i] > 0;
        if (equals[1] && !*end && enough && in[i] < 1e15) return CN_OK;
        return cn_fail(CN_ERR_CONFIG, "bench scaling-model: %s: expected a number %s", argument,
                       i == SCORED ? "from 0" : "above 0");
    }
    return cn_fail(
        CN_ERR_CONFIG,
        "bench scaling-model does not know \"%s\": without arguments it lists its inputs",
        argument);
}

enum cn_status bench_scaling(const struct bench_options *options)
{
    double in[INPUTS];
    for (int i = 0; i < INPUTS; i++)
        in[i] = defaults[i].value;
    for (int i = 0; i < options->n_rest; i++)
        CN_TRY(change(options->rest[i], in));
    for (int i = 0; i < INPUTS; i++)
        cn_log_info("input  %-14s %8g  %s", defaults[i].name, in[i],
                    in[i] < defaults[i].value || in[i] > defaults[i].value ? "command line"
                                                                           : defaults[i].source);
    const int n_models = in[PARAMETERS] > 0 ? 1 : MODELS, n_worlds = in[GPUS] > 0 ? 1 : WORLDS;
    for (int m = 0; m < n_models; m++)
        for (int g = 0; g < n_worlds; g++) {
            const double n = or_one(in[PARAMETERS], models, m), p = or_one(in[GPUS], gpus, g);
            const struct cost c = cost_of(in, n, p);
            cn_log_info("%.3gB on %3g GPUs: step %8.2f s = compute %8.2f + decode %.2f + exchange "
                        "%.3f; memory %.1f GB, with ZeRO-1 %.1f GB (%s in %g)",
                        1e-9 * n, p, c.compute + c.decode + c.exchange, c.compute, c.decode,
                        c.exchange, c.plain_gb, c.sharded_gb,
                        c.plain_gb <= in[MEMORY]     ? "both fit"
                        : c.sharded_gb <= in[MEMORY] ? "only ZeRO-1 fits"
                                                     : "neither fits",
                        in[MEMORY]);
        }
    for (int g = 0; g < n_worlds; g++) {
        const double p = or_one(in[GPUS], gpus, g), each = fixed_bytes(in) + 12 / p;
        cn_log_info("ZeRO-1 on %3g GPUs fits up to %.1fB parameters", p,
                    (in[MEMORY] - in[ACTIVATIONS]) / each);
    }
    return CN_OK;
}
