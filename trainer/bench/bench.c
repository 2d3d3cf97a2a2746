/* carnot bench: speed of the parts, as shares of this machine's roofs. */
#include "bench.h"

#include "../config/arguments.h"
#include "../command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MANY = 1000 };

static const struct part {
    const char *name, *model; /* measured unless --model names another; NULL: none */
    int n_rest;               /* arguments that are no option, at most */
    const char *summary;
    enum cn_status (*run)(const struct bench_options *);
} parts[] = {
    {"decode", "135m", 0, "sampling: tokens/s at several numbers of slots", bench_decode},
    {"train", "135m", 0, "forward, log-probability and entropy of every token, backward, AdamW",
     bench_train},
    {"step", "135m", MANY, "whole steps of carnot train: time split, peak memory, start",
     bench_step},
    {"start", "1m", 0, "from the start of a process to its first optimizer step", bench_start},
    {"tokenize", "135m", 0, "text to ids, MB/s", bench_tokenize},
    {"rewards", "", 1, "time of a verdict, programs and answers a second", bench_rewards},
    {"comm", NULL, 0, "collectives between ranks, beside copying in memory", bench_comm},
    {"scaling-model", NULL, MANY, "step time and memory on many GPUs, by arithmetic",
     bench_scaling},
};
enum { PARTS = sizeof parts / sizeof *parts };

/* Whole-number options and where they go. */
static const struct flag {
    const char *name;
    size_t offset;
} flags[] = {{"--batch", offsetof(struct bench_options, batch)},
             {"--prompt", offsetof(struct bench_options, prompt)},
             {"--tokens", offsetof(struct bench_options, tokens)},
             {"--steps", offsetof(struct bench_options, steps)}};
enum { FLAGS = sizeof flags / sizeof *flags };

static enum cn_status read_count(const char *flag, const char *text, int64_t *out)
{
    char *end;
    const long long value = text ? strtoll(text, &end, 10) : 0;
    if (!text || *end || value < 1 || value > 1000000000)
        return cn_fail(CN_ERR_CONFIG, "bench: %s %s: expected a number from 1", flag,
                       text ? text : "");
    *out = value;
    return CN_OK;
}

static enum cn_status read_option(char **argv, int *i, struct bench_options *out)
{
    const char *flag = argv[*i];
    for (int f = 0; f < FLAGS; f++)
        if (strcmp(flag, flags[f].name) == 0) {
            int64_t *place = (int64_t *)(void *)((char *)out + flags[f].offset);
            return read_count(flag, argv[++*i], place);
        }
    if (strcmp(flag, "--threads") == 0) {
        int64_t threads = 0;
        CN_TRY(read_count(flag, argv[++*i], &threads));
        CN_TRY(arguments_check_threads(threads));
        out->threads = (int)threads;
    } else if (strcmp(flag, "--model") == 0 || strcmp(flag, "--dtype") == 0) {
        if (!argv[*i + 1]) return cn_fail(CN_ERR_CONFIG, "bench: %s needs a value", flag);
        *(flag[2] == 'm' ? &out->model : &out->dtype) = argv[++*i];
    } else if (strcmp(flag, "--checkpoint") == 0) {
        out->checkpoint = true;
    } else {
        out->rest[out->n_rest++] = argv[*i];
    }
    return CN_OK;
}

static enum cn_status read_options(const struct part *part, int argc, char **argv,
                                   struct bench_options *out)
{
    out->model = part->model;
    for (int i = 2; i < argc; i++)
        CN_TRY(read_option(argv, &i, out));
    if (out->dtype && strcmp(out->dtype, "f32") != 0 && strcmp(out->dtype, "bf16") != 0)
        return cn_fail(CN_ERR_CONFIG, "bench: --dtype \"%s\": choose f32 or bf16", out->dtype);
    if (out->n_rest > part->n_rest)
        return cn_fail(CN_ERR_CONFIG, "bench %s does not know %s; see carnot bench --help",
                       part->name, out->rest[part->n_rest]);
    return CN_OK;
}

static enum cn_status run(int argc, char **argv)
{
    struct bench_options options = {.rest = argv + 2};
    char names[PARTS * 16] = "";
    for (int p = 0; p < PARTS; p++) {
        if (argc > 1 && strcmp(argv[1], parts[p].name) == 0) {
            CN_TRY(read_options(&parts[p], argc, argv, &options));
            if (options.model) CN_TRY(bench_print_machine(&options));
            return parts[p].run(&options);
        }
        strcat(strcat(names, p ? ", " : ""), parts[p].name);
    }
    return cn_fail(CN_ERR_CONFIG, "bench: choose one of %s, not \"%s\"", names,
                   argc > 1 ? argv[1] : "");
}

const struct cn_command command_bench = {
    .name = "bench",
    .summary = "speed of decoding, training, whole steps, tokenizing, rewards",
    .usage =
        "usage: carnot bench decode   [--model M] [--dtype f32|bf16] [--batch SLOTS] "
        "[--prompt N] [--tokens N]\n"
        "       carnot bench train    [--model M] [--dtype f32|bf16] [--batch SEQUENCES] "
        "[--prompt N] [--tokens N]\n"
        "                             [--steps N] [--checkpoint]\n"
        "       carnot bench step     [--model M] [--dtype f32|bf16] [--steps N] [CONFIG... "
        "key=value...]\n"
        "       carnot bench start    [--model M] [--dtype f32|bf16]\n"
        "       carnot bench tokenize --model FOLDER\n"
        "       carnot bench rewards  [FOLDER]\n"
        "       launch/mpirun -n P bench comm\n"
        "       carnot bench scaling-model [INPUT=VALUE...]\n\n"
        "M is a shape (1m, 135m, 0.5b: random weights) or a Hugging Face folder; --threads N "
        "for all of them.\n"
        "decode    SLOTS sequences sample N tokens each, sampling included (1 and 64 slots)\n"
        "train     SEQUENCES of one group with a common prompt of N tokens (1) and N tokens "
        "of their own\n"
        "step      carnot train, started anew: 4 prompts x 8 samples x 128 tokens unless "
        "CONFIG says otherwise\n"
        "start     carnot train with a single step of 2 answers of 8 tokens: the shortest of 5\n"
        "rewards   verdicts on the pairs and hostile texts of FOLDER (tests/data), programs in the "
        "sandbox,\n"
        "          the service with a client on this machine\n"
        "comm      each collective at 64 KB to 540 MB, beside copying as many bytes in memory\n"
        "Roofs: plain reading of 1 GB, and the best product of two matrices (at::mm or "
        "training's),\nbefore and after each row.\n"
        "A row during which other processes used more than 5 % of the cores says so: do not "
        "trust it.\n",
    .run = run};
