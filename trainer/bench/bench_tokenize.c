/* carnot bench tokenize: megabytes of text per second, one thread. */
#include "bench.h"

#include "../clock.h"

#include "carnot/log.h"
#include "carnot/tokenizer.h"

#include <stdio.h>
#include <string.h>

/* Words and numbers in ever new order: about what a data set of problems looks like. */
static enum cn_status make_text(struct cn_str *out)
{
    static const char *const words[] = {
        "Natalia sold",   " clips to",  " friends in April, and then",
        " half as many",  " in May.",   " How many altogether?\n",
        " The answer is", " therefore", " $x^2 + 3x$",
        " per hour"};
    uint32_t state = 1;
    while (out->length < (size_t)4 << 20) {
        state = state * 1664525u + 1013904223u;
        CN_TRY(cn_str_add(out, words[(state >> 24) % (sizeof words / sizeof *words)]));
        if (state & 1u << 20) CN_TRY(cn_str_format(out, " %u", state >> 22));
    }
    return CN_OK;
}

static enum cn_status encode_row(struct cn_tokenizer *tokenizer, struct cn_text text)
{
    struct cn_ids ids = {0};
    double best = 1e30;
    struct bench_watch watch;
    bench_watch_start(&watch);
    enum cn_status status = CN_OK;
    for (int i = 0; i < 4 && status == CN_OK; i++) {
        const double start = clock_seconds();
        ids.count = 0;
        status = cn_tokenizer_encode(tokenizer, text, true, &ids);
        const double took = clock_seconds() - start;
        best = took < best ? took : best;
    }
    if (status == CN_OK) {
        bench_row(&watch, "tokenize: %.1f MB/s, %.2f million ids/s, %.2f bytes per id",
                  1e-6 * (double)text.length / best, 1e-6 * (double)ids.count / best,
                  (double)text.length / (double)ids.count);
    }
    cn_ids_free(&ids);
    return status;
}

enum cn_status bench_tokenize(const struct bench_options *options)
{
    struct cn_tokenizer *tokenizer = NULL;
    struct cn_str text = {0};
    const double start = clock_seconds();
    CN_TRY(cn_tokenizer_open(options->model, "auto", &tokenizer));
    cn_log_info("open %s: %.3f s, %zu ids", options->model, clock_seconds() - start,
                cn_tokenizer_size(tokenizer));
    enum cn_status status = make_text(&text);
    if (status == CN_OK) status = encode_row(tokenizer, cn_str_text(&text));
    cn_str_free(&text);
    cn_tokenizer_close(tokenizer);
    return status;
}
