/* carnot bench: what its parts share.  Speed is told as a share of what this machine was seen to do
 * in the same minutes: bytes read from memory and products of matrices by libtorch. */
#ifndef CARNOT_BENCH_H
#define CARNOT_BENCH_H

#include "carnot/model.h"

/* The command line; what a part does not use it ignores. */
struct bench_options {
    const char *model; /* a shape by name (bench_shapes), or a Hugging Face folder */
    const char *dtype; /* "f32", "bf16" or NULL: both */
    int threads;       /* 0: all cores of the affinity mask */
    int64_t batch;     /* slots, or sequences; 0: the part's own */
    int64_t prompt, tokens, steps;
    bool checkpoint; /* activations */
    char **rest;     /* arguments that no option took: a configuration and its overrides */
    int n_rest;
};

/* What the machine does at best; raised by each call.  bytes/s and flop/s. */
struct bench_roofs {
    double read, f32, bf16;
};
enum cn_status bench_roofs_raise(int threads, struct bench_roofs *roofs);

/* Core time of everybody else between start and end, as a share of all cores. */
struct bench_watch {
    double wall, own, busy;
};
void bench_watch_start(struct bench_watch *watch);
double bench_watch_others(const struct bench_watch *watch);
/* Prints a row, and how busy others were where that is too much to trust it. */
void bench_row(const struct bench_watch *watch, const char *format, ...) CN_PRINTF(2, 3);

/* Opens the model of the options; its weights are random if a shape was named. */
enum cn_status bench_model_open(const struct bench_options *options, enum cn_dtype dtype,
                                bool trainable, struct cn_model **out);

/* config.json of a named shape; NULL: options->model is a folder. */
const char *bench_model_init(const struct bench_options *options);
size_t bench_threads(const struct bench_options *options);

/* Calls part for each dtype that the options want, with the roofs seen so far. */
typedef enum cn_status bench_rows(const struct bench_options *, enum cn_dtype,
                                  struct bench_roofs *);
enum cn_status bench_each_dtype(const struct bench_options *options, bench_rows *rows);

/* One line: processor, threads, affinity, libraries. */
enum cn_status bench_print_machine(const struct bench_options *options);

/* The parts. */
enum cn_status bench_decode(const struct bench_options *options);
enum cn_status bench_train(const struct bench_options *options);
enum cn_status bench_step(const struct bench_options *options);
enum cn_status bench_start(const struct bench_options *options);
enum cn_status bench_tokenize(const struct bench_options *options);
enum cn_status bench_rewards(const struct bench_options *options);
enum cn_status bench_comm(const struct bench_options *options);
enum cn_status bench_scaling(const struct bench_options *options);

#endif
